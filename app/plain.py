"""Show what somebody else wrote as text, whatever it contains.

Names of workflows, functions, planners, tags and errors come from dumps. They may hold HTML, Markdown, LaTeX, ten
thousand characters or marks that turn the writing direction. `plain` is for places that read Markdown (sentences),
`label` for places that do not (options of a select box, axes and legends).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

NONE = "(none)"
_ISOLATE, _POP = "\u2068", "\u2069"


def label(text: object, limit: int = 60) -> str:
    """Return one line of at most `limit` characters: what cannot be printed is escaped, the middle left out."""
    if text is None or text != text or text == "":
        return NONE
    whole = str(text)
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in whole[: 4 * limit]
    )
    if len(shown) > limit or len(whole) > 4 * limit:
        head = limit * 2 // 3
        shown = f"{shown[:head]}…{_tail(whole, limit - head - 1)}"
    return shown


def labels(values: Iterable[object], limit: int = 60) -> dict[str, object]:
    """Return each value under a label of its own: where two would read the same, the later is numbered."""
    named: dict[str, object] = {}
    for value in values:
        name = base = label(value, limit)
        number = 2
        while name in named:
            name = f"{base} ({number})"
            number += 1
        named[name] = value
    return named


def plain(text: object, limit: int = 80) -> str:
    """Return Markdown that shows the text and nothing else: a code span, which no directive, link or formula enters.

    A fence longer than any run of backticks inside cannot be closed by the text, and one space is taken from either side
    of a text that is not all spaces (CommonMark 6.1).
    """
    shown = label(text, limit)
    if shown == NONE:
        return NONE
    if any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in shown):
        shown = f"{_ISOLATE}{shown}{_POP}"
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    padded = shown.strip(" ") and (shown.startswith(("`", " ")) or shown.endswith(("`", " ")))
    padding = " " if padded else ""
    return f"{fence}{padding}{shown}{padding}{fence}"


def _tail(text: str, length: int) -> str:
    end = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[-length:])
    return end[-length:]

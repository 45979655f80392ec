"""How a finding's answer is put: its effect in words, the whole as text for a terminal, as an object for JSON."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from math import isfinite, isnan
from typing import Any

from app import cells
from app.findings.finding import Answer, Effect, Finding
from app.markdown import to_text
from app.units import UNKNOWN, duration, figure, percent, size

MOST_ROWS = 200
"""So many rows of a finding's table are in its object; the object says how many there are."""

SYMBOLS = {
    "holds": "✓", "does not hold": "✗", "mixed": "±", "answered": "•", "not enough data": "?", "not applicable": "–",
}  # fmt: skip
"""A sign for each status, so that none is told by colour alone."""

_INDENT = "     "
_LEAST_WIDTH = 40


def effect(found: Effect) -> str:
    """Return the effect in words: 'makespan: 0.89 times (95 % interval 0.85 to 0.93)'."""
    words = f"{found.name}: {_measured(found.value, found.unit)}"
    low, high = (_end(end) for end in (found.low, found.high))
    if low is None and high is None:
        return f"{words} (no interval)"
    bare = "" if found.unit == "ratio" else found.unit
    lower = "no lower end" if low is None else _measured(low, bare)
    upper = "no upper end" if high is None else _measured(high, bare)
    return f"{words} (95 % interval {lower} to {upper})"


def rests_on(answer: Answer) -> str:
    """Return what an answer rests on: '48 pairs of runs', '1 run'."""
    counted = re.sub(r"(\w)s\b", r"\1", answer.counted, count=1) if answer.n == 1 else answer.counted
    return f"{answer.n:,} {counted}"


def as_object(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON has it."""
    answer, question = finding.answer, finding.question
    names = cells.columns(answer.table)
    found = answer.effect
    return {
        "code": question.code,
        "question": question.text,
        "status": answer.status,
        "answer": to_text(answer.sentence),
        "n": int(answer.n),
        "counted": answer.counted,
        "effect": found
        and {
            "name": found.name,
            "value": cells.as_json(found.value),
            "low": cells.as_json(found.low),
            "high": cells.as_json(found.high),
            "unit": found.unit,
        },
        "left_out": to_text(answer.left_out),
        "caveats": [to_text(caveat) for caveat in answer.caveats],
        "would_change": to_text(answer.would_change),
        "minimum": to_text(question.minimum),
        "page": question.page,
        "table": [dict(zip(names, row, strict=True)) for row in cells.rows(answer.table, MOST_ROWS)],
        "table_rows": len(answer.table),
        "sql": list(finding.statements),
    }


def as_text(finding: Finding, width: int, *, brief: bool = False) -> str:
    """Return a finding as lines of at most `width` characters. Brief: code, status and answer alone."""
    answer = finding.answer
    width = max(width, _LEAST_WIDTH)
    head = f"{finding.code}  {SYMBOLS[answer.status]} {answer.status}"
    lines = [head] if brief else [head, *_wrapped(finding.question.text, width)]
    lines += _wrapped(to_text(answer.sentence), width, "" if brief else "> ")
    if not brief:
        for name, text in (
            ("Effect: ", effect(answer.effect) if answer.effect else ""),
            ("Rests on: ", rests_on(answer)),
            ("Left out: ", to_text(answer.left_out)),
        ):
            lines += _wrapped(text, width, name) if text else []
    return "\n".join(lines)


def _wrapped(text: str, width: int, name: str = "") -> Iterator[str]:
    yield from textwrap.wrap(
        name + _printable(text),
        width,
        initial_indent=_INDENT,
        subsequent_indent=_INDENT + " " * (len(name) if len(name) <= 2 else 0),
    )


def _printable(text: str) -> str:
    """Keep control characters of hostile names from the terminal. The marks that isolate writing directions stay."""
    return "".join(c if c.isprintable() or c in "\u2068\u2069" else c.encode("unicode_escape").decode() for c in text)


def _end(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None


def _measured(value: float, unit: str) -> str:
    if value is None or isnan(value):
        return UNKNOWN
    if not isfinite(value):
        return "without limit"
    match unit:
        case "ratio":
            return f"{figure(value)} times"
        case "share":
            return percent(value)
        case "ms":
            return duration(value)
        case "bytes":
            return size(value)
        case "usd":
            return f"{value:.3g} USD"
        case _:
            return f"{figure(value)} {unit}".strip()

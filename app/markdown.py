"""Turn the Markdown that sentences are written in into text and into HTML.

Pages give Markdown to Streamlit; the command line and JSON want text, the report HTML. Only what our sentences use is read
(CommonMark: emphasis, code spans), HTML in them is text.
"""

from __future__ import annotations

from collections.abc import Iterable

from markdown_it import MarkdownIt
from markdown_it.token import Token

_PARSER = MarkdownIt("commonmark", {"html": False}).disable(["html_block", "html_inline", "autolink", "link", "image"])


def to_html(markdown: str) -> str:
    """Return a sentence as HTML without its paragraph: everything that came from a dump is escaped."""
    return str(_PARSER.renderInline(markdown))


def to_text(markdown: str) -> str:
    """Return a sentence as text, marks of emphasis and code spans left out."""
    return "".join(_texts(_PARSER.parseInline(markdown)))


def _texts(tokens: Iterable[Token]) -> Iterable[str]:
    for token in tokens:
        if token.children:
            yield from _texts(token.children)
        elif token.type in ("text", "code_inline"):
            yield token.content
        elif token.type in ("softbreak", "hardbreak"):
            yield " "

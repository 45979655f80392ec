"""What dumps say is shown as text, in Markdown and outside it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.plain import NONE, label, labels, plain


def _inside(markdown: str) -> str:
    """The content of the one code span that the Markdown is, by CommonMark 6.1."""
    fence = re.match(r"`+", markdown)
    assert fence and markdown.endswith(fence[0])
    inside = markdown[len(fence[0]) : -len(fence[0])]
    assert fence[0] not in re.findall(r"`+", inside), "the text closes the fence"
    if inside.startswith(" ") and inside.endswith(" ") and inside.strip():
        inside = inside[1:-1]
    return inside


@pytest.mark.parametrize(
    "text",
    [
        "UniformPlanner-opt",
        "<b>x</b>",
        "$x^2$",
        ":red[x]",
        ":material/home:",
        "**x**",
        "[a](http://b)",
        "a`b``c",
        "`",
        "``a``",
        "http://x.y",
        " ",
        " a ",
    ],
)
def test_a_name_is_one_code_span_that_holds_it(text: str) -> None:
    assert _inside(plain(text)) == text


@pytest.mark.parametrize("text", [None, "", float("nan")])
def test_nothing_is_said_to_be_nothing(text: object) -> None:
    assert plain(text) == label(text) == NONE


def test_a_long_name_keeps_its_beginning_and_its_end() -> None:
    shown = label("a" * 5_000 + "z" * 5_000, 30)
    assert len(shown) == 30
    assert shown.startswith("aaaa") and shown.endswith("zzzz") and "…" in shown


def test_marks_that_turn_the_writing_direction_become_visible() -> None:
    assert label("a\u202eb\u200fc\nd\0") == "a\\u202eb\\u200fc\\nd\\x00"


def test_right_to_left_names_do_not_turn_the_sentence_around() -> None:
    assert plain("שלום") == "`\u2068שלום\u2069`"


@given(st.text(max_size=300))
def test_no_text_leaves_its_code_span_or_its_line(text: str) -> None:
    shown = plain(text)
    if shown != NONE:
        assert "\n" not in shown
        assert _inside(shown).strip("\u2068\u2069") == label(text, 80).strip("\u2068\u2069")


@given(st.text(max_size=2_000), st.integers(8, 100))
def test_a_label_has_no_more_than_its_limit(text: str, limit: int) -> None:
    assert len(label(text, limit)) <= max(limit, len(NONE))


def test_values_that_read_the_same_keep_labels_of_their_own() -> None:
    named = labels(["a" * 100 + "1" + "z" * 50, "a" * 100 + "2" + "z" * 50, None, "(none)"], 20)
    assert len(named) == 4
    assert list(named.values())[2:] == [None, "(none)"]

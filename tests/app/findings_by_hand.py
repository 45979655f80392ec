"""Findings made by hand, for tests of how findings are shown: whatever the product's own say, these say what the test says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import altair as alt
import numpy as np
import pandas as pd

from app.findings.finding import Answer, Effect, Figure, Finding, Question
from app.plain import label, plain

MADE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def finding(code: str = "F01", answer: Answer | None = None, page: str = "slas", sql: Sequence[str] = ()) -> Finding:
    """A finding with that answer."""
    answer = answer or Answer("answered", "It takes **1.00 s**.", 3)
    return Finding(Question(code, f"What about {code}?", page, "3 runs", lambda _: answer), answer, tuple(sql))


def clipped(names: Sequence[str] = ("a", "b"), title: str = "Makespan (s)") -> alt.LayerChart:
    """A chart with a clip path, which is what gives a drawing ids."""
    frame = pd.DataFrame({"x": range(len(names)), "name": [label(name) for name in names]})
    marks = alt.Chart(frame).mark_bar(clip=True).encode(alt.X("x:Q", title=title), alt.Y("name:N"), alt.Color("name:N"))
    return alt.layer(marks)


def full(code: str, name: str, page: str = "slas") -> Finding:
    """A finding that has everything, with `name` wherever a name from a dump could be."""
    table = pd.DataFrame({"workflow": [name] * 60, name: range(60), "share": [0.5, np.nan, np.inf] * 20})
    answer = Answer(
        "mixed",
        f"Runs of {plain(name)} take **1.00 s**.",
        60,
        "runs",
        Effect(f"makespan of {label(name)}", 0.5, 0.25, float("inf")),
        f"3 runs of {plain(name)}.",
        table,
        (
            Figure(clipped((name, "b")), f"Bars of {label(name)}.", "bars"),
            Figure(clipped((name,)), "One bar.", "bar"),
        ),
        (f"Runs of {plain(name)} are few.",),
        f"More runs of {plain(name)}.",
    )
    return finding(code, answer, page, [f"select '{name.replace(chr(39), chr(39) * 2)}'", "select 2"])

"""When optimisations acted after their worker was ready, as far as the record bounds it."""

from __future__ import annotations

import altair as alt
import pandas as pd

from app.charts.base import PHONE, Drawn
from app.plain import label

BOUNDS = ("at the earliest", "at the latest")
_DASHES = ([5, 4], [1, 0])


def windows(frame: pd.DataFrame) -> Drawn:
    """Draw the share that had acted so long after worker-ready: a curve at the earliest, one at the latest, a band between.

    `frame`: label, bound (one of `BOUNDS`), seconds, share (0 to 1, the same shares for both bounds), n.
    """
    shown = frame.assign(
        shown=[f"{label(name, 30)} (n = {n:,})" for name, n in zip(frame["label"], frame["n"], strict=True)]
    )
    between = shown.pivot(index=["shown", "share"], columns="bound", values="seconds").reset_index()
    between = between.rename(columns=dict(zip(BOUNDS, ("low", "seconds"), strict=True)))
    x = alt.X("seconds:Q", title="After the worker was ready (s)", axis=alt.Axis(tickCount=6, grid=True))
    y = alt.Y("share:Q", title="Had acted (%)", axis=alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1]))
    color = alt.Color("shown:N", legend=alt.Legend(title=None, orient="top", columns=alt.ExprRef(f"{PHONE} ? 1 : 2")))
    dash = alt.StrokeDash(
        "bound:N", scale=alt.Scale(domain=list(BOUNDS), range=list(_DASHES)), legend=alt.Legend(title=None, orient="bottom")
    )  # fmt: skip
    tooltip = [
        alt.Tooltip("shown:N", title="optimisation"),
        alt.Tooltip("bound:N"),
        alt.Tooltip("share:Q", title="had acted", format=".0%"),
        alt.Tooltip("seconds:Q", title="after worker-ready (s)", format=",.3f"),
    ]
    bands = alt.Chart(between).mark_area(opacity=0.18, orient="horizontal").encode(x=x, x2="low:Q", y=y, color=color)
    lines = alt.Chart(shown).mark_line(strokeWidth=2.2).encode(x=x, y=y, order="share:Q", color=color, strokeDash=dash, tooltip=tooltip)  # fmt: skip
    return alt.layer(bands, lines).properties(height=320)

"""How many further runs would decide each comparison."""

from __future__ import annotations

import altair as alt
import pandas as pd

from app.charts.base import NEUTRAL, Drawn, round_steps
from app.plain import label

ASSUMED = ("as seen", "5 % off 1")
"""The ratio that a number of runs rests on: the colour and the shape of its point."""


def further_runs(frame: pd.DataFrame) -> Drawn:
    """Draw further runs on a logarithmic axis, a row per comparison in the order given, a point per ratio assumed.

    `frame`: label, assumed (one of `ASSUMED`), runs (at least 1).
    """
    shown = frame.assign(shown=[label(name, 60) for name in frame["label"]])
    names = list(dict.fromkeys(shown["shown"]))
    low, high = float(shown["runs"].min()) / 1.5, float(shown["runs"].max()) * 1.5
    y = alt.Y("shown:N", sort=names, title=None, axis=alt.Axis(labelLimit=250, ticks=False, domain=False))
    x = alt.X(
        "runs:Q",
        title="Further runs that would decide",
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=alt.Axis(format=",", values=round_steps(low, high, 1), grid=True),
    )  # fmt: skip
    legend = alt.Legend(title="If the ratio is", orient="bottom")
    tooltip = [
        alt.Tooltip("shown:N", title="comparison"),
        alt.Tooltip("assumed:N", title="if the ratio is"),
        alt.Tooltip("runs:Q", title="further runs", format=","),
    ]
    base = alt.Chart(shown)
    points = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=x,
        y=y,
        color=alt.Color("assumed:N", scale=alt.Scale(domain=list(ASSUMED)), legend=legend),
        shape=alt.Shape("assumed:N", scale=alt.Scale(domain=list(ASSUMED), range=["circle", "diamond"]), legend=legend),
        tooltip=tooltip,
    )
    texts = [
        base.mark_text(align="center", dy=dy, fontSize=11, color=NEUTRAL)
        .encode(x=x, y=y, text=alt.Text("runs:Q", format=","))
        .transform_filter(alt.datum.assumed == assumed)
        for assumed, dy in zip(ASSUMED, (-11, 13), strict=True)
    ]
    return alt.layer(points, *texts).properties(height=118 + 34 * len(names))

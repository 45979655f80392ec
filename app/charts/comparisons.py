"""Groups of runs beside each other: medians with their spread, ratios with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from app.charts.base import NEUTRAL, Drawn
from app.plain import label


def makespans(frame: pd.DataFrame, planners: Sequence[str]) -> Drawn:
    """Draw one workflow's makespan per planner: the median as a point, the middle half as a bar, n beside it."""
    shown = frame.assign(shown=[label(name, 28) for name in frame["planner"]])
    names = [label(name, 28) for name in planners]
    y = alt.Y("shown:N", sort=names, title=None, axis=alt.Axis(labelLimit=170, ticks=False, domain=False))
    x_axis = alt.Axis(grid=True, tickCount=5)
    color = alt.Color("shown:N", scale=alt.Scale(domain=names), legend=None)
    tooltip = [
        alt.Tooltip("shown:N", title="planner"),
        alt.Tooltip("n:Q", title="complete runs", format=","),
        alt.Tooltip("median_s:Q", title="median (s)", format=",.2f"),
        alt.Tooltip("low_s:Q", title="first quartile (s)", format=",.2f"),
        alt.Tooltip("high_s:Q", title="third quartile (s)", format=",.2f"),
    ]
    base = alt.Chart(shown)
    bars = base.mark_bar(height=7, opacity=0.45, cornerRadius=3).encode(
        x=alt.X(
            "low_s:Q",
            title="Makespan (s)",
            axis=x_axis,
            scale=alt.Scale(domain=[0, 1.14 * float(shown["high_s"].max())]),
        ),
        x2="high_s:Q",
        y=y,
        color=color,
        tooltip=tooltip,
    )
    points = base.mark_point(filled=True, size=70, opacity=1).encode(x="median_s:Q", y=y, color=color, tooltip=tooltip)
    counts = base.mark_text(align="left", dx=7, fontSize=11, color=NEUTRAL).encode(
        x="high_s:Q", y=y, text=alt.Text("count:N")
    )
    with_counts = alt.layer(bars, points, counts).transform_calculate(count="'n = ' + datum.n")
    return with_counts.properties(height=52 + 26 * max(1, shown["shown"].nunique()))


DECISIONS = ("lower", "higher", "no difference", "undecided")
_DECISION_SHAPES = ("triangle-left", "triangle-right", "square", "circle")


def intervals(
    frame: pd.DataFrame, axis: str, *, none: float | None = 1.0, log: bool = True, form: str = ".2f"
) -> Drawn:
    """Draw estimates with their intervals, one row each: what lies beyond the rule at `none` differs from it.

    `frame`: label, value, low, high, n, and where it is known decision (one of `DECISIONS`: colour and shape of the point).
    A row whose value is not known is left out; an end that is not finite is cut at the axis.
    """
    known = frame[pd.to_numeric(frame["value"]).map(lambda value: 0 < value < float("inf") if log else value == value)]
    finite = [v for name in ("value", "low", "high") for v in known[name].dropna() if 0 < v < 1e6 or not log]
    low, high = min([*finite, none or finite[0]]), max([*finite, none or finite[0]])
    shown = known.assign(
        shown=[label(name, 44) for name in known["label"]],
        low=known["low"].clip(lower=low).fillna(known["value"]),
        high=known["high"].clip(upper=high).fillna(known["value"]),
        decision=known.get("decision", ""),
        text=[f"{value:{form}}" for value in known["value"]],
    )
    names = shown["shown"].tolist()
    y = alt.Y("shown:N", sort=names, title=None, axis=alt.Axis(labelLimit=175, ticks=False, domain=False))
    padding = (high / low) ** 0.06 if log else 1 + 0.06 * (high - low)
    scale = (
        alt.Scale(type="log", domain=[low / padding, high * padding], nice=False)
        if log
        else alt.Scale(domain=[low, high], nice=True)
    )
    x_axis = alt.Axis(format=form, tickCount=6, grid=True)
    coloured = bool(shown["decision"].astype(bool).any())
    color = (
        alt.Color(
            "decision:N",
            scale=alt.Scale(domain=list(DECISIONS)),
            legend=alt.Legend(
                title=None, orient="bottom", columns=2, values=[d for d in DECISIONS if d in set(shown["decision"])]
            ),
        )
        if coloured
        else alt.Undefined
    )
    shape = (
        alt.Shape("decision:N", scale=alt.Scale(domain=list(DECISIONS), range=list(_DECISION_SHAPES)))
        if coloured
        else alt.Undefined
    )
    tooltip = [
        alt.Tooltip("shown:N", title="what"),
        alt.Tooltip("value:Q", format=form),
        alt.Tooltip("low:Q", title="interval from", format=form),
        alt.Tooltip("high:Q", title="interval to", format=form),
        alt.Tooltip("n:Q", title="rests on", format=","),
    ]
    base = alt.Chart(shown)
    bars = base.mark_rule(strokeWidth=2.5).encode(
        x=alt.X("low:Q", title=axis, scale=scale, axis=x_axis), x2="high:Q", y=y, color=color, tooltip=tooltip
    )
    points = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=alt.X("value:Q", scale=scale), y=y, color=color, shape=shape, tooltip=tooltip
    )
    texts = base.mark_text(align="center", dy=-11, fontSize=11, color=NEUTRAL).encode(
        x=alt.X("value:Q", scale=scale), y=y, text="text:N"
    )
    layers: list[alt.Chart] = [bars, points, texts]
    if none is not None:
        layers.insert(
            0,
            alt.Chart(pd.DataFrame({"none": [none]}))
            .mark_rule(color=NEUTRAL, strokeDash=[4, 3])
            .encode(x=alt.X("none:Q", scale=scale)),
        )
    return alt.layer(*layers).properties(height=118 + 34 * len(names))

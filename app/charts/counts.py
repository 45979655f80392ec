"""Counts as bars: what became of what could have been done, and how many of each kind and cause."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from app.charts.base import NEUTRAL, PHONE, Drawn
from app.plain import label, labels

_ROW = 21
_AXIS, _LEGEND_ROW = 84, 28
"""A chart's height holds its axis and legend too: without room for them, rows of bars would make way."""

_ROOM = alt.ExprRef(f"{PHONE} ? 2.2 : width < 700 ? 1.6 : 1.35")
"""Where the axis ends, in lengths of the longest bar: what is written behind it must fit on a phone too."""


def funnel(
    frame: pd.DataFrame,
    axis: str = "Share of the largest step (%)",
    beside: str = "Figures: % of the step before",
) -> Drawn:
    """Draw what is left at each step, one block of bars per group, as shares of the group's largest step.

    `frame`: group, step, n, besides, not_known, text; groups and steps in the order to draw them. `n` is the solid bar,
    `besides` follows it paler, `not_known` as a dashed outline, and `text` is written behind. A group without any is
    drawn as text alone.
    """
    rows: list[dict[str, Any]] = []
    marks: list[dict[str, Any]] = []
    for place, (group, steps) in enumerate(frame.groupby("group", sort=False, dropna=False)):
        total = steps[["n", "besides", "not_known"]].sum(axis=1)
        base = max(float(total.max()), 1.0)
        rows.append({"key": f"{place}|", "header": label(group, 44), "end": 0.0})
        for step in steps.assign(total=total).to_dict("records"):
            key, begin = f"{place}|{step['step']}", 0.0
            for part in ("n", "besides", "not_known"):
                end = begin + float(step[part]) / base
                marks.append(
                    {"key": key, "part": part, "begin": begin, "end": end, "count": step[part], "step": step["step"],
                     "group": label(group, 44)}
                )  # fmt: skip
                begin = end
            rows.append({"key": key, "text": step["text"], "end": begin})
    keys = [str(row["key"]) for row in rows]
    y = alt.Y(
        "key:N", sort=keys, title=None, scale=alt.Scale(domain=keys, paddingInner=0.25),
        axis=alt.Axis(labelExpr="split(datum.label, '|')[1]", ticks=False, domain=False, labelLimit=90, grid=False),
    )  # fmt: skip
    x = alt.X(
        "begin:Q", title=[axis, beside], scale=alt.Scale(domainMin=0, domainMax=_ROOM, nice=False),
        axis=alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format="%", grid=True, titleAnchor="start"),
    )  # fmt: skip
    tooltip = [
        alt.Tooltip("group:N"), alt.Tooltip("step:N"), alt.Tooltip("what:N"), alt.Tooltip("count:Q", format=",")
    ]  # fmt: skip
    names = {"n": "counted", "besides": "others, besides the eligible", "not_known": "not known"}
    drawn = pd.DataFrame(marks, columns=["key", "part", "begin", "end", "count", "step", "group"])
    drawn = drawn[drawn["count"] > 0].assign(what=drawn["part"].map(names))
    styles: dict[str, dict[str, Any]] = {
        "n": {},
        "besides": {"opacity": 0.45},
        "not_known": {"color": NEUTRAL, "fillOpacity": 0.12, "stroke": NEUTRAL, "strokeDash": [3, 2]},
    }
    layers: list[alt.Chart] = [
        alt.Chart(drawn[drawn["part"] == part]).mark_bar(height=13, **style).encode(x=x, x2="end:Q", y=y, tooltip=tooltip)
        for part, style in styles.items()
    ]  # fmt: skip
    texts = pd.DataFrame(rows, columns=["key", "text", "header", "end"])
    layers.append(
        alt.Chart(texts[texts["text"].notna()])
        .mark_text(align="left", dx=5, fontSize=11, color=NEUTRAL)
        .encode(x=alt.X("end:Q"), y=y, text="text:N")
    )
    layers.append(
        alt.Chart(texts[texts["header"].notna()])
        .mark_text(align="left", dy=3, fontSize=11, fontWeight="bold", color=NEUTRAL)
        .encode(x=alt.X("end:Q"), y=y, text="header:N")
    )
    return alt.layer(*layers).properties(height=_ROW * max(2, len(keys)))


def stacked(frame: pd.DataFrame, axis: str, parts: Sequence[str]) -> Drawn:
    """Draw counts as horizontal bars, each split into parts in the order of `parts`; text behind says them as figures.

    `frame`: label, part, n, and text, which is the same for all parts of a label. Labels stand in the order they come.
    """
    named = {name: shown for shown, name in labels(dict.fromkeys(frame["label"]), 40).items()}
    shown = frame.assign(shown=frame["label"].map(named))
    names = list(dict.fromkeys(shown["shown"]))
    shown["place"] = [list(parts).index(part) for part in shown["part"]]
    totals = shown.groupby("shown", sort=False).agg(n=("n", "sum"), text=("text", "first")).reset_index()
    y = alt.Y(
        "shown:N", sort=names, title=None,
        axis=alt.Axis(labelLimit=alt.ExprRef(f"{PHONE} ? 120 : 260"), ticks=False, domain=False),
    )  # fmt: skip
    longest = max(float(totals["n"].max()), 1.0) if len(totals) else 1.0
    x = alt.X(
        "n:Q", title=axis, stack="zero",
        scale=alt.Scale(domainMin=0, domainMax=alt.ExprRef(f"{longest} * ({PHONE} ? 2.5 : 1.4)"), nice=False),
        axis=alt.Axis(format=",.0f", tickCount=4, tickMinStep=1, grid=True, titleAnchor="start"),
    )  # fmt: skip
    several = shown["part"].nunique() > 1
    color = (
        alt.Color(
            "part:N",
            scale=alt.Scale(domain=list(parts)),
            legend=alt.Legend(title=None, orient="bottom", columns=1, labelLimit=260),
        )
        if several
        else alt.Undefined
    )
    bars = (
        alt.Chart(shown)
        .mark_bar(height=15)
        .encode(
            x=x, y=y, color=color, order=alt.Order("place:Q"),
            tooltip=[alt.Tooltip("shown:N", title="what"), alt.Tooltip("part:N"), alt.Tooltip("n:Q", format=",")],
        )
    )  # fmt: skip
    texts = (
        alt.Chart(totals)
        .mark_text(align="left", dx=5, fontSize=11, color=NEUTRAL)
        .encode(x=alt.X("n:Q"), y=y, text="text:N")
    )
    legend = _LEGEND_ROW * len(parts) if several else 0
    return alt.layer(bars, texts).properties(height=_AXIS + legend + 28 * max(1, len(names)))

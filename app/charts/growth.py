"""How the serialised DAG grows with its tasks."""

from __future__ import annotations

import altair as alt
import pandas as pd

from app.charts.base import NEUTRAL, PHONE, SHAPES, Drawn, cycled
from app.plain import labels

_MOST_NAMED = 8


def growth(frame: pd.DataFrame, line: pd.DataFrame, fit: str, limit_bytes: float) -> Drawn:
    """Draw the bytes of DAGs against their tasks, a point per structure named after its workflow, with the fitted line.

    `frame`: workflow, tasks, bytes (median), low, high (smallest and largest), bare (without the arguments written into
    the workflow, may be NaN); `line`: tasks, bytes of the fit at its two ends, empty
    where there is none, and `fit` what is written at its end. The rule at
    `limit_bytes` is drawn where DAGs come near it. Beyond 8 workflows the others share a colour and a shape.
    """
    named = {name: text for text, name in labels(list(dict.fromkeys(frame["workflow"]))[:_MOST_NAMED], 26).items()}
    shown = frame.assign(shown=[named.get(name, "other workflows") for name in frame["workflow"]])
    for name in ("bytes", "low", "high", "bare"):
        shown[f"{name}_kb"] = shown[name].astype(float) / 1000
    names = list(dict.fromkeys(shown["shown"]))
    top = float(shown[["high_kb", "bytes_kb"]].max().max())
    near = top * 2 >= limit_bytes / 1000
    y_scale = alt.Scale(domain=[0, 1.08 * max(top, limit_bytes / 1000 if near else 0)], nice=False)
    least, most = float(shown["tasks"].min()), float(shown["tasks"].max())
    room = max(1.0, 0.08 * (most - least))
    x = alt.X(
        "tasks:Q", title="Tasks of the DAG", axis=alt.Axis(tickMinStep=1, tickCount=8, format=",.0f", grid=True),
        scale=alt.Scale(domain=[max(0, least - room), most + room], nice=False),
    )  # fmt: skip
    y_axis = alt.Axis(format=",.0f" if top > 5 else ",.2~f", tickCount=6, grid=True)
    legend = alt.Legend(
        title=None, orient="bottom", columns=alt.ExprRef(f"{PHONE} ? 2 : 4"), labelLimit=150, symbolOpacity=1
    )
    color = alt.Color("shown:N", scale=alt.Scale(domain=names), legend=legend)
    shape = alt.Shape("shown:N", scale=alt.Scale(domain=names, range=cycled(SHAPES, len(names))), legend=legend)
    tooltip = [
        alt.Tooltip("shown:N", title="workflow"),
        alt.Tooltip("tasks:Q", format=","),
        alt.Tooltip("bytes_kb:Q", title="DAG, median (kB)", format=",.1f"),
        alt.Tooltip("low_kb:Q", title="smallest (kB)", format=",.1f"),
        alt.Tooltip("high_kb:Q", title="largest (kB)", format=",.1f"),
        alt.Tooltip("bare_kb:Q", title="without arguments (kB)", format=",.1f"),
    ]
    base = alt.Chart(shown)
    ranges = base.mark_rule(strokeWidth=2, opacity=0.55).encode(
        x=x, y=alt.Y("low_kb:Q", title="Serialised DAG (kB)", scale=y_scale, axis=y_axis), y2="high_kb:Q", color=color, tooltip=tooltip
    )  # fmt: skip
    points = base.mark_point(filled=True, size=110, opacity=1).encode(
        x=x, y=alt.Y("bytes_kb:Q", scale=y_scale), color=color, shape=shape, tooltip=tooltip
    )
    bare = (
        alt.Chart(shown.dropna(subset=["bare_kb"]))
        .mark_point(filled=False, size=80, strokeWidth=1.8, opacity=1)
        .encode(x=x, y=alt.Y("bare_kb:Q", scale=y_scale), color=color, shape=shape, tooltip=tooltip)
    )
    layers: list[alt.Chart] = [ranges, bare, points]
    if len(line):
        fitted = line.assign(bytes_kb=line["bytes"] / 1000, text=["", fit])
        layers.insert(
            0,
            alt.Chart(fitted)
            .mark_line(color=NEUTRAL, strokeWidth=2, strokeDash=[7, 3])
            .encode(x=x, y=alt.Y("bytes_kb:Q", scale=y_scale)),
        )
        layers.append(
            alt.Chart(fitted)
            .mark_text(align="right", baseline="top", dy=14, fontSize=12, color=NEUTRAL)
            .encode(x=x, y=alt.Y("bytes_kb:Q", scale=y_scale), text="text:N")
        )
    if near:
        limit = pd.DataFrame({"limit": [limit_bytes / 1000], "text": ["too large to pass with an invocation"]})
        rule = alt.Chart(limit).mark_rule(color=NEUTRAL, strokeDash=[2, 3])
        text = alt.Chart(limit).mark_text(align="left", baseline="bottom", dx=5, dy=-3, fontSize=11, color=NEUTRAL)
        y_limit = alt.Y("limit:Q", scale=y_scale)
        layers += [rule.encode(y=y_limit), text.encode(y=y_limit, x=alt.value(0), text="text:N")]
    hollow = "filled: the whole DAG; hollow: without its arguments"
    title = alt.TitleParams(hollow, anchor="start", fontSize=11, fontWeight="normal", color=NEUTRAL)
    drawn = alt.layer(*layers).properties(height=400)
    return drawn.properties(title=title) if shown["bare_kb"].notna().any() else drawn

"""One run: its DAG, and its workers in time."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import pandas as pd

from app.charts.base import NEUTRAL, SHAPES, Drawn, cycled
from app.dag_layout import Place
from app.plain import label
from app.timeline import PHASES, Timeline

_THICKNESS = {"start-up": 7, "input wait": 5, "execution": 14, "upload": 10, "hand-over": 3, "alive, no task": 1.5}
_LANE = 19


def dag(nodes: pd.DataFrame, edges: pd.DataFrame, places: Mapping[str, Place]) -> Drawn:
    """Draw a run's DAG left to right. A hollow node left no metrics; a ring marks the planned critical path.

    `nodes`: task_id, function, left_metrics, on_critical_path, detail columns; `edges`: upstream_task_id, task_id.
    """
    layers = 1 + max((place.layer for place in places.values()), default=0)
    tallest = 1 + 2 * max((abs(place.height) for place in places.values()), default=0)
    functions = sorted({label(name, 40) for name in nodes["function"]})
    drawn = pd.DataFrame(
        {
            "x": [places[task].layer for task in nodes["task_id"]],
            "y": [places[task].height for task in nodes["task_id"]],
            "function": [label(name, 40) for name in nodes["function"]],
            "task": [label(name) for name in nodes["task_id"]],
            "state": ["left metrics" if left else "left no metrics" for left in nodes["left_metrics"]],
            "critical": [value is True for value in nodes["on_critical_path"].tolist()],
            "execution": nodes["execution_ms"],
            "worker": [label(name, 24) for name in nodes["lane"]],
        }
    )
    lines = pd.DataFrame(
        [
            (places[a].layer, places[a].height, places[b].layer, places[b].height)
            for a, b in edges.itertuples(index=False)
            if a in places and b in places
        ],
        columns=["x", "y", "x2", "y2"],
    )
    x_scale = alt.Scale(domain=[-0.45, layers - 0.55], nice=False)
    y_scale = alt.Scale(domain=[-(tallest / 2) - 0.35, tallest / 2 + 0.1], nice=False, reverse=True)
    tooltip = [
        alt.Tooltip("function:N"),
        alt.Tooltip("task:N"),
        alt.Tooltip("worker:N"),
        alt.Tooltip("execution:Q", title="execution (ms)", format=",.1f"),
        alt.Tooltip("state:N", title="metrics"),
        alt.Tooltip("critical:N", title="on the planned critical path"),
    ]
    rules = (
        alt.Chart(lines)
        .mark_rule(color=NEUTRAL, opacity=0.45, strokeWidth=1)
        .encode(
            x=alt.X("x:Q", scale=x_scale, axis=None), y=alt.Y("y:Q", scale=y_scale, axis=None), x2="x2:Q", y2="y2:Q"
        )
    )
    base = alt.Chart(drawn).encode(
        x=alt.X("x:Q", scale=x_scale, axis=None), y=alt.Y("y:Q", scale=y_scale, axis=None), tooltip=tooltip
    )
    rings = base.transform_filter("datum.critical").mark_point(size=260, strokeWidth=2, color=NEUTRAL, filled=False)
    color = alt.Color("function:N", scale=alt.Scale(domain=functions), legend=None)
    shape = alt.Shape(
        "function:N", scale=alt.Scale(domain=functions, range=cycled(SHAPES, len(functions))), legend=None
    )
    filled = base.transform_filter("datum.state == 'left metrics'").mark_point(filled=True, size=110, opacity=1)
    hollow = base.transform_filter("datum.state != 'left metrics'").mark_point(filled=False, size=95, strokeWidth=1.5)
    names = (
        alt.Chart(_named_groups(drawn))
        .mark_text(dy=-14, fontSize=12, fontWeight="bold", limit=alt.ExprRef(f"width / {layers} - 8"), color=NEUTRAL)
        .encode(x=alt.X("x:Q", scale=x_scale, axis=None), y=alt.Y("y:Q", scale=y_scale, axis=None), text="name:N")
    )
    return alt.layer(
        rules, rings, filled.encode(color=color, shape=shape), hollow.encode(color=color, shape=shape), names
    ).properties(height=int(min(1400, max(150, 31 * (tallest + 0.7)))))


def _named_groups(drawn: pd.DataFrame) -> pd.DataFrame:
    """Return one name per group of neighbours that run the same function: at its top, with how many there are."""
    ordered = drawn.sort_values(["x", "y"])
    changes = (ordered[["x", "function"]] != ordered[["x", "function"]].shift()).any(axis=1).cumsum()
    groups = ordered.groupby(changes).agg(
        x=("x", "first"), y=("y", "first"), function=("function", "first"), n=("y", "size")
    )
    groups["name"] = [
        f"{name} ×{n}" if n > 1 else name for name, n in zip(groups["function"], groups["n"], strict=True)
    ]
    return groups


def workers(drawn: Timeline) -> Drawn:
    """Draw the workers' time: one lane each, phases by colour and by thickness."""
    lanes = list(drawn.lanes)
    bars = drawn.bars.assign(
        worker=[label(name, 40) for name in drawn.bars["worker"]], task=[label(name) for name in drawn.bars["task"]]
    )
    color = alt.Color(
        "phase:N",
        scale=alt.Scale(domain=list(PHASES)),
        legend=alt.Legend(
            title=None, orient="top", columns=alt.ExprRef("width < 420 ? 3 : 6"), symbolType="square", labelLimit=140
        ),
    )
    tooltip = [
        alt.Tooltip("phase:N"),
        alt.Tooltip("lasted:Q", title="lasted (ms)", format=",.1f"),
        alt.Tooltip("start_s:Q", title="from (s)", format=",.3f"),
        alt.Tooltip("end_s:Q", title="to (s)", format=",.3f"),
        alt.Tooltip("task:N"),
        alt.Tooltip("worker:N"),
    ]
    layers = [
        alt.Chart(bars[bars["phase"] == phase])
        .mark_bar(height=_THICKNESS[phase], opacity=1)
        .encode(
            x=alt.X("start_s:Q", title="Time since submission (s)", axis=alt.Axis(tickCount=8)),
            x2="end_s:Q",
            y=alt.Y(
                "lane:N",
                sort=lanes,
                scale=alt.Scale(domain=lanes),
                title="Worker",
                axis=alt.Axis(labelOverlap=False, labelFontSize=10, ticks=False, domain=False),
            ),
            color=color,
            tooltip=tooltip,
        )
        for phase in reversed(PHASES)
    ]
    return alt.layer(*layers).properties(height=105 + _LANE * max(2, len(lanes)))

"""One run: its DAG, and its workers in time."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import pandas as pd

from app.charts.base import NEUTRAL, PHONE, SHAPES, Drawn, cycled
from app.dag_layout import Place
from app.plain import label
from app.timeline import PHASES, Timeline
from app.units import duration, known

OBSERVED, PLANNED = "observed critical path", "planned critical path"
MOST_EDGES = 3_000

_COLOURS = ("start-up", "input wait", "execution", "download", "upload", "alive, no task", "kept warm", "hand-over")
"""Phases in the order of the theme's colours, so that doing nothing is grey and its neighbours differ."""
_THICKNESS = {
    "start-up": 7, "input wait": 3, "download": 8, "execution": 14, "upload": 10, "hand-over": 4, "alive, no task": 1.5, "kept warm": 3,
}  # fmt: skip
_LANE = 19


def dag(
    nodes: pd.DataFrame, edges: pd.DataFrame, places: Mapping[str, Place], paths: Mapping[str, Mapping[str, int]]
) -> Drawn:
    """Draw a run's DAG left to right. A hollow node left no metrics.

    A thick line and ring are the observed critical path, a dashed line and outer ring the planned one. `nodes`: task_id,
    function, left_metrics, lane, phases in ms; `edges`: upstream_task_id, task_id; `paths`: 'observed' and 'planned', the
    step of each task on it.
    """
    layers = 1 + max((place.layer for place in places.values()), default=0)
    tallest = 1 + 2 * max((abs(place.height) for place in places.values()), default=0)
    x = alt.X("x:Q", scale=alt.Scale(domain=[-0.45, layers - 0.55], nice=False), axis=None)
    y_domain = [-(tallest / 2) - 0.35, tallest / 2 + 0.1]
    y = alt.Y("y:Q", scale=alt.Scale(domain=y_domain, nice=False, reverse=True), axis=None)
    drawn, lines = _nodes(nodes, places, paths), _lines(edges, places, paths)
    functions = sorted(set(drawn["function"]))
    there = [
        name
        for name, column in ((OBSERVED, "observed"), (PLANNED, "planned"))
        if drawn[column].any() or (lines["path"] == name).any()
    ]

    others = (
        alt.Chart(lines[lines["path"] == ""])
        .mark_rule(color=NEUTRAL, opacity=0.4, strokeWidth=1)
        .encode(x=x, y=y, x2="x2:Q", y2="y2:Q")
    )
    looks = [OBSERVED, PLANNED]
    look = alt.Scale(domain=looks, range=[4, 2])
    dashes = alt.Scale(domain=looks, range=[[1, 0], [5, 4]])
    legend = alt.Legend(title=None, orient="top", symbolType="stroke", symbolSize=900, labelLimit=200, values=there)
    paths_drawn = [
        alt.Chart(lines[lines["path"] == name])
        .mark_rule(color=NEUTRAL, yOffset=aside, y2Offset=aside)
        .encode(
            x=x,
            y=y,
            x2="x2:Q",
            y2="y2:Q",
            strokeWidth=alt.StrokeWidth("path:N", scale=look, legend=legend),
            strokeDash=alt.StrokeDash("path:N", scale=dashes, legend=legend),
        )
        for name, aside in ((OBSERVED, 0), (PLANNED, 6))
        if name in there
    ]
    base = alt.Chart(drawn).encode(
        x=x, y=y, tooltip=["function:N", "task:N", "worker:N", *_DETAILS, "metrics:N", "critical path:N"]
    )
    inner = base.transform_filter("datum.observed").mark_point(size=250, strokeWidth=3.5, color=NEUTRAL, filled=False)
    outer = base.transform_filter("datum.planned").mark_point(
        size=520, strokeWidth=1.5, strokeDash=[4, 3], color=NEUTRAL, filled=False
    )
    color = alt.Color("function:N", scale=alt.Scale(domain=functions), legend=None)
    shapes = alt.Scale(domain=functions, range=cycled(SHAPES, len(functions)))
    marked = base.encode(color=color, shape=alt.Shape("function:N", scale=shapes, legend=None))
    filled = marked.transform_filter("datum.left").mark_point(filled=True, size=110, opacity=1)
    hollow = marked.transform_filter("!datum.left").mark_point(filled=False, size=95, strokeWidth=1.5)
    names = (
        alt.Chart(_named_groups(drawn))
        .mark_text(dy=-18, fontSize=12, fontWeight="bold", limit=alt.ExprRef(f"width / {layers} - 8"), color=NEUTRAL)
        .encode(x=x, y=y, text="name:N")
    )
    return alt.layer(others, *paths_drawn, outer, inner, filled, hollow, names).properties(
        height=int(min(1400, max(150, 34 * (tallest + 0.7))))
    )


_DETAILS = ("input wait:N", "execution:N", "upload:N")


def _nodes(nodes: pd.DataFrame, places: Mapping[str, Place], paths: Mapping[str, Mapping[str, int]]) -> pd.DataFrame:
    tasks = nodes["task_id"].tolist()
    drawn = pd.DataFrame(
        {
            "x": [places[task].layer for task in tasks],
            "y": [places[task].height for task in tasks],
            "function": [label(name, 40) for name in nodes["function"]],
            "task": [label(task) for task in tasks],
            "worker": [label(name, 24) for name in nodes["lane"]],
            "left": nodes["left_metrics"].astype(bool).tolist(),
            "metrics": ["left metrics" if left else "left no metrics" for left in nodes["left_metrics"]],
        }
    )
    for name in ("input wait", "execution", "upload"):
        drawn[name] = [
            duration(value) if known(value) else "none recorded"
            for value in nodes[f"{name.replace(' ', '_')}_ms"].tolist()
        ]
    for path in ("observed", "planned"):
        drawn[path] = [task in paths[path] for task in tasks]
    drawn["critical path"] = [
        "; ".join(f"{path}: step {steps[task]}" for path, steps in paths.items() if task in steps) or "no"
        for task in tasks
    ]
    return drawn


def _lines(edges: pd.DataFrame, places: Mapping[str, Place], paths: Mapping[str, Mapping[str, int]]) -> pd.DataFrame:
    """Return a line for each dependency, evenly thinned where there are too many, and one for each path it is on."""
    between = [
        (places[a].layer, places[a].height, places[b].layer, places[b].height, _of_paths(a, b, paths))
        for a, b in edges[["upstream_task_id", "task_id"]].itertuples(index=False)
        if a in places and b in places
    ]
    rows = [(*line, "") for *line, _ in between[:: max(1, -(-len(between) // MOST_EDGES))]]
    rows += [(*line, name) for *line, on in between for name in on]
    return pd.DataFrame(rows, columns=["x", "y", "x2", "y2", "path"])


def _of_paths(a: str, b: str, paths: Mapping[str, Mapping[str, int]]) -> list[str]:
    named = {"observed": OBSERVED, "planned": PLANNED}
    return [named[path] for path, steps in paths.items() if a in steps and steps.get(b) == steps[a] + 1]


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


def workers(drawn: Timeline, since: str = "submission") -> Drawn:
    """Draw the workers' time: one lane each, phases by colour and by thickness, an estimated one as an outline."""
    lanes = list(drawn.lanes)
    bars = drawn.bars.assign(
        worker=[f"{drawn.names[name]} · {label(name, 40)}" for name in drawn.bars["worker"]],
        task=[label(name) for name in drawn.bars["task"]],
        lasted=[duration(value) for value in drawn.bars["lasted"]],
    )
    there = [phase for phase in PHASES if (bars["phase"] == phase).any()]
    color = alt.Color(
        "phase:N",
        scale=alt.Scale(domain=list(_COLOURS)),
        legend=alt.Legend(
            title=None, orient="top", columns=alt.ExprRef(f"{PHONE} ? 3 : 8"), symbolType="square", labelLimit=140, values=there
        ),
    )  # fmt: skip
    begins = min(0.0, float(bars["start_s"].min())) if len(bars) else 0.0
    x_scale = alt.Scale(domain=[begins, max(drawn.until_s, begins + 0.001)], nice=False, zero=False)
    encoded = {
        "x": alt.X("start_s:Q", title=f"Time since {since} (s)", scale=x_scale, axis=alt.Axis(tickCount=8)),
        "x2": alt.X2("end_s:Q"),
        "y": alt.Y(
            "lane:N", sort=lanes, scale=alt.Scale(domain=lanes), title="Worker",
            axis=alt.Axis(labelOverlap=False, labelFontSize=10, ticks=False, domain=False),
        ),
    }  # fmt: skip
    layers = []
    for phase in sorted(there, key=lambda phase: _THICKNESS[phase]) or PHASES[:1]:
        for estimated in (False, True):
            rows = bars[(bars["phase"] == phase) & (bars["estimated"] == estimated)]
            if rows.empty and (estimated or there):
                continue
            told = ["phase:N", "lasted:N", alt.Tooltip("start_s:Q", title="from (s)", format=",.3f")]
            told += [alt.Tooltip("end_s:Q", title="to (s)", format=",.3f")]
            told += [f"{name}:N" for name in ("task", "note") if rows[name].isin(["", "(none)"]).sum() < len(rows)]
            mark = alt.Chart(rows).mark_bar(
                height=_THICKNESS[phase], opacity=0.45 if phase == "kept warm" else 1, clip=True
            )
            if estimated:
                mark = (
                    alt.Chart(rows)
                    .mark_bar(height=_THICKNESS[phase], fillOpacity=0.25, strokeWidth=1, clip=True, filled=True)
                    .encode(stroke=alt.Stroke("phase:N", scale=alt.Scale(domain=list(_COLOURS)), legend=None))
                )
            layers.append(mark.encode(color=color, tooltip=[*told, "worker:N"], **encoded))
    path = (
        alt.Chart(_through(bars))
        .mark_line(color=NEUTRAL, strokeWidth=3.5, opacity=0.55, interpolate="step-before", clip=True)
        .encode(x=alt.X("at_s:Q", scale=x_scale), y=encoded["y"], order="order:O")
    )
    lost = (
        alt.Chart(drawn.lost)
        .mark_text(text="× never ready", align="left", fontSize=11, color=NEUTRAL)
        .encode(x=alt.X("at_s:Q", scale=x_scale), y=encoded["y"])
    )
    return alt.layer(path, *layers, lost).properties(height=105 + _LANE * max(2, len(lanes)))


def _through(bars: pd.DataFrame) -> pd.DataFrame:
    """Return the points of a line through the tasks of the observed critical path, in the order of its steps."""
    on = bars[bars["step"].notna()].sort_values("step")
    points = [
        (at, lane)
        for start, end, lane in on[["start_s", "end_s", "lane"]].itertuples(index=False)
        for at in (start, end)
    ]
    return pd.DataFrame([(*point, place) for place, point in enumerate(points)], columns=["at_s", "lane", "order"])

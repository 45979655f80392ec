"""The charts, as Altair specifications. Colours come from the theme, units are on the axes, colour is never alone.

Every function takes a frame that is small enough to draw: `thinned` makes it so, and says what it left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import altair as alt
import pandas as pd

from app.dag_layout import Place
from app.plain import label
from app.timeline import PHASES, Timeline

MOST_MARKS = 5_000
NEUTRAL = "#7d8a97"
"""Grey that reads on both backgrounds: edges, idle time, rules."""

Drawn = alt.LayerChart | alt.FacetChart

_DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [4, 4], [12, 2])
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
_THICKNESS = {"start-up": 7, "input wait": 5, "execution": 14, "upload": 10, "hand-over": 3, "alive, no task": 1.5}
_LANE = 19


@dataclass(frozen=True, slots=True)
class Measure:
    """A way to look at prediction errors: the columns it reads, its axis, and where a perfect prediction lies."""

    name: str
    rolling: str
    expanding: str
    axis: str
    format: str
    meaning: str
    perfect: float | None


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure(
            "relative error",
            "rolling_relative_error",
            "expanding_relative_error",
            "Median relative error (%)",
            "%",
            "|predicted − observed| / observed",
            0.0,
        ),
        Measure(
            "log ratio",
            "rolling_log_ratio",
            "expanding_log_ratio",
            "Median predicted / observed (log)",
            ".2~f",
            "above 1 the prediction was too high, below 1 too low; the median of ln(predicted / observed), shown as a ratio",
            1.0,
        ),
        Measure(
            "coverage",
            "rolling_coverage",
            "expanding_coverage",
            "Share with observed ≤ predicted (%)",
            "%",
            "the share of predictions that what happened did not exceed: for p90 it should be 90 %",
            None,
        ),
    )
}


def thinned(frame: pd.DataFrame, most: int = MOST_MARKS) -> tuple[pd.DataFrame, str | None]:
    """Return every n-th row so that at most `most` are left, and a sentence where that left some out."""
    if len(frame) <= most:
        return frame, None
    step = -(-len(frame) // most)
    return frame.iloc[
        ::step
    ], f"The chart draws every {step}th of {len(frame):,} points; the table and the files hold all."


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


def accuracy(frame: pd.DataFrame, measure: Measure, column: str, planners: Sequence[str], slas: Sequence[str]) -> Drawn:
    """Draw a measure over the runs: planner by colour, SLA by dash, and by the shape at the line's end.

    `column` names what is drawn; `planners` are all there are, so that each keeps its colour whatever is selected.
    """
    names = {name: label(name, 28) for name in planners}
    shown = pd.DataFrame(
        {
            "run": frame["run_ordinal"],
            "value": _as_ratio(frame[column]) if measure.name == "log ratio" else frame[column],
            "planner": [names[name] for name in frame["planner"]],
            "sla": [label(name, 16) for name in frame["sla"]],
            "n": frame["rolling_n"],
            "submitted": frame["submitted_at"],
            "run_id": [label(name, 40) for name in frame["run_id"]],
        }
    ).dropna(subset=["value"])
    present = [name for name in names.values() if name in set(shown["planner"])]
    top = _top(frame[column]) if measure.name == "relative error" else None
    highlighted = alt.selection_point(fields=["planner"], bind="legend", name="highlight")
    sla_names = [label(name, 16) for name in slas]
    log = measure.name == "log ratio"
    y = alt.Y(
        "value:Q",
        title=measure.axis,
        axis=alt.Axis(format=measure.format, values=_ratio_ticks(shown["value"]))
        if log
        else alt.Axis(format=measure.format, tickCount=6),
        scale=alt.Scale(type="log", nice=False, padding=12)
        if log
        else alt.Scale(zero=True, nice=True, domainMax=top if top is not None else alt.Undefined),
    )
    color = alt.Color(
        "planner:N",
        scale=alt.Scale(domain=list(names.values())),
        legend=alt.Legend(
            title="Planner (colour)",
            orient="bottom",
            columns=alt.ExprRef("width < 420 ? 1 : 4"),
            labelLimit=180,
            values=present,
            symbolType="stroke",
            symbolStrokeWidth=4,
        ),
    )
    dash = alt.StrokeDash(
        "sla:N",
        scale=alt.Scale(domain=sla_names, range=[_DASHES[i % len(_DASHES)] for i in range(len(sla_names))]),
        legend=alt.Legend(
            title="SLA (dash, end mark)",
            orient="top",
            columns=alt.ExprRef("width < 420 ? 2 : 6"),
            symbolType="stroke",
            symbolStrokeWidth=2,
            symbolSize=600,
        ),
    )
    tooltip = [
        alt.Tooltip("planner:N"),
        alt.Tooltip("sla:N", title="SLA"),
        alt.Tooltip("run:Q", title="run number"),
        alt.Tooltip("value:Q", title=measure.name, format=",.3f" if log else ".1%"),
        alt.Tooltip("n:Q", title="values behind it", format=","),
        alt.Tooltip("submitted:T", title="submitted (UTC)", format="%Y-%m-%d %H:%M:%S"),
        alt.Tooltip("run_id:N", title="run"),
    ]
    base = alt.Chart(shown).encode(
        x=alt.X(
            "run:Q",
            title="Run number, per planner and SLA",
            axis=alt.Axis(tickMinStep=1, tickCount=10, grid=False),
            scale=alt.Scale(nice=False, padding=8),
        ),
        y=y,
    )
    opacity = alt.when(highlighted).then(alt.value(1)).otherwise(alt.value(0.12))
    lines = (
        base.mark_line(strokeWidth=2, clip=True)
        .encode(color=color, strokeDash=dash, tooltip=tooltip, opacity=opacity)
        .add_params(highlighted)
    )
    last = shown.sort_values("run").groupby(["planner", "sla"], as_index=False).tail(1)
    ends = (
        alt.Chart(last.assign(mark=last["sla"]))
        .mark_point(filled=True, size=60, clip=True)
        .encode(
            x="run:Q",
            y="value:Q",
            color=color,
            shape=alt.Shape(
                "mark:N", scale=alt.Scale(domain=sla_names, range=_cycled(_SHAPES, len(sla_names))), legend=None
            ),
            tooltip=tooltip,
            opacity=opacity,
        )
    )
    layers: list[alt.Chart] = [lines, ends]
    if measure.perfect is not None and log:
        layers.insert(
            0, alt.Chart(pd.DataFrame({"value": [measure.perfect]})).mark_rule(color=NEUTRAL).encode(y="value:Q")
        )
    return alt.layer(*layers).properties(height=540)


def beyond(frame: pd.DataFrame, column: str) -> str | None:
    """Return a sentence about the points of `accuracy` that lie above its axis, None where there are none."""
    top = _top(frame[column])
    above = frame[frame[column] > top] if top is not None else frame.head(0)
    if above.empty:
        return None
    return (
        f"{len(above):,} of {len(frame):,} points lie above the axis, up to {100 * above[column].max():,.0f} %; they rest on the "
        f"first {int(above['run_ordinal'].max()):,} runs of a planner at an SLA, and are in the table."
    )


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
        "function:N", scale=alt.Scale(domain=functions, range=_cycled(_SHAPES, len(functions))), legend=None
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


def _top(values: pd.Series[float]) -> float | None:
    """Return where the axis ends: well above nearly all values, so that a few first runs do not flatten the rest."""
    known = values.dropna()
    if len(known) < 20:
        return None
    usual = float(known.quantile(0.97)) * 1.25
    return usual if 0 < usual < float(known.max()) / 1.5 else None


def _as_ratio(values: pd.Series[float]) -> list[float]:
    return [2.718281828459045**value for value in values.astype(float)]


def _ratio_ticks(values: pd.Series[float]) -> list[float]:
    """Return the round ratios (1, 2, 5 times a power of ten) between the smallest and the largest value."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.5, 2.0)
    ticks = [digit * 10.0**power for power in range(-6, 7) for digit in (1, 2, 5)]
    wanted = [tick for tick in ticks if low / 2.5 <= tick <= high * 2.5]
    return wanted[:: 1 + len(wanted) // 12]


def _cycled(values: Sequence[str], length: int) -> list[str]:
    return [values[place % len(values)] for place in range(length)]

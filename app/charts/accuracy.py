"""How prediction accuracy moves as runs come in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import pandas as pd

from app.charts.base import NEUTRAL, PHONE, SHAPES, Drawn, cycled, round_steps
from app.plain import label

_DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [4, 4], [12, 2])


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
            columns=alt.ExprRef(f"{PHONE} ? 1 : 4"),
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
            columns=alt.ExprRef(f"{PHONE} ? 2 : 6"),
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
                "mark:N", scale=alt.Scale(domain=sla_names, range=cycled(SHAPES, len(sla_names))), legend=None
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
    wanted = round_steps(low, high, 2.5)
    return wanted[:: 1 + len(wanted) // 12]

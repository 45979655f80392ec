"""A run replayed and changed on one time axis; what a change does to each of many runs."""

from __future__ import annotations

from collections import Counter
from math import ceil, floor

import altair as alt
import pandas as pd

from app.charts.base import NEUTRAL, Drawn, round_steps
from app.charts.runs import workers
from app.plain import label, labels
from app.timeline import Timeline

VERDICTS = ("shorter", "longer", "not told apart")
"""What a change does to a run's makespan: the colour and the shape of its point."""

_SHAPES = ("triangle-left", "triangle-right", "circle")
_ROW = 54
_STEPS = 7
_SHORT = 5


def beside_in_time(drawn: Timeline, heads: pd.DataFrame) -> Drawn:
    """Draw two simulations of a run on one time axis. `heads`: lane, at_s and text, what stands over each and where it ends."""
    lanes = list(drawn.lanes)
    bars = drawn.bars
    begins = min(0.0, float(bars["start_s"].min())) if len(bars) else 0.0
    scale = alt.Scale(domain=[begins, max(drawn.until_s, begins + 0.001)], nice=False, zero=False)
    x = alt.X("at_s:Q", scale=scale)
    y = alt.Y("lane:N", sort=lanes, scale=alt.Scale(domain=lanes))
    ends = heads.assign(until=[*heads["lane"][1:], lanes[-1]])
    rules = (
        alt.Chart(ends)
        .mark_rule(color=NEUTRAL, strokeDash=[4, 3], strokeWidth=1.5)
        .encode(x=x, y=y, y2=alt.Y2("until:N"))
    )
    texts = (
        alt.Chart(heads)
        .mark_text(align="left", fontSize=12, fontWeight="bold", color=NEUTRAL, limit=alt.ExprRef("width - 4"))
        .encode(x=alt.value(2), y=y, text="text:N")
    )
    whole = workers(drawn)
    return alt.layer(*whole.layer, rules, texts).properties(height=whole.height)


def _ticks(low: float, high: float) -> list[float]:
    """Return round ratios for an axis from `low` to `high`: evenly spaced where it is short, else 1, 2 and 5 times powers of ten."""
    if high > _SHORT * low:
        return round_steps(low, high, 1)
    step = next(
        step
        for step in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
        if high - low <= 8 * step or step == 10
    )
    return [round(step * place, 3) for place in range(ceil(low / step), floor(high / step) + 1)]


def run_ratios(frame: pd.DataFrame) -> Drawn:
    """Draw each run's makespan with a change as a multiple of that without, a row per workflow, its median as a tick.

    `frame`: run_id, workflow, planner, makespan_times, difference_ms and its low and high, verdict (one of `VERDICTS`).
    Points of a row are spread up and down so that they can be told apart: their height means nothing.
    """
    frame = frame.assign(workflow=frame["workflow"].fillna(""))
    counts = Counter(frame["workflow"])
    named = {value: f"{text}, n = {counts[str(value)]:,}" for text, value in labels(counts, 28).items()}
    names = [named[workflow] for workflow, _ in counts.most_common()]
    rows = frame.assign(
        shown=[named[name] for name in frame["workflow"]],
        run=[label(name, 40) for name in frame["run_id"]],
        by=[label(name, 28) for name in frame["planner"]],
        lane=frame.groupby("workflow").cumcount() * 3 % _STEPS,
        **{f"{name}_s": frame[f"{name}_ms"] / 1000 for name in ("difference", "difference_low", "difference_high")},
    )
    low, high = min(1.0, float(rows["makespan_times"].min())), max(1.0, float(rows["makespan_times"].max()))
    room = (high / low) ** 0.05 if high > low else 1.05
    scale = alt.Scale(type="log", domain=[low / room, high * room], nice=False)
    x = alt.X(
        "makespan_times:Q", title="Makespan with the change / without (ratio)", scale=scale, axis=alt.Axis(format=".3~f", values=_ticks(low / room, high * room), grid=True)
    )  # fmt: skip
    y = alt.Y("shown:N", sort=names, scale=alt.Scale(domain=names), title=None, axis=alt.Axis(labelLimit=190, ticks=False, domain=False))  # fmt: skip
    there = [verdict for verdict in VERDICTS if verdict in set(rows["verdict"])]
    legend = alt.Legend(title=None, orient="bottom", values=there)
    tooltip = [
        alt.Tooltip("run:N"),
        alt.Tooltip("shown:N", title="workflow"),
        alt.Tooltip("by:N", title="planner"),
        alt.Tooltip("makespan_times:Q", title="ratio", format=".3f"),
        alt.Tooltip("difference_s:Q", title="difference (s)", format="+,.3f"),
        alt.Tooltip("difference_low_s:Q", title="from (s)", format="+,.3f"),
        alt.Tooltip("difference_high_s:Q", title="to (s)", format="+,.3f"),
        alt.Tooltip("verdict:N", title="in 90 % of plays"),
    ]
    points = (
        alt.Chart(rows)
        .mark_point(filled=True, size=60, opacity=0.75)
        .encode(
            x=x,
            y=y,
            yOffset=alt.YOffset("lane:Q", scale=alt.Scale(domain=[-2, _STEPS + 1])),
            color=alt.Color("verdict:N", scale=alt.Scale(domain=list(VERDICTS)), legend=legend),
            shape=alt.Shape("verdict:N", scale=alt.Scale(domain=list(VERDICTS), range=list(_SHAPES)), legend=legend),
            tooltip=tooltip,
        )
    )
    middle = rows.groupby("shown", as_index=False)["makespan_times"].median()
    ticks = alt.Chart(middle).mark_tick(color=NEUTRAL, thickness=3, size=_ROW - 10).encode(x=x, y=y)
    none = alt.Chart(pd.DataFrame({"none": [1.0]})).mark_rule(color=NEUTRAL, strokeDash=[4, 3]).encode(x=alt.X("none:Q", scale=scale))  # fmt: skip
    return alt.layer(none, ticks, points).properties(height=150 + _ROW * len(names))

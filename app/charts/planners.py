"""Planners beside each other: what they take against what they cost, and how their makespans spread."""

from __future__ import annotations

from collections.abc import Iterator
from math import log
from typing import Literal

import altair as alt
import pandas as pd

from app.charts.base import NEUTRAL, PHONE, SHAPES, Drawn, cycled
from app.plain import labels

_ROW = 21
_WIDTH, _HEIGHT = 720, 360


def trade_off(frame: pd.DataFrame, x_axis: str, y_axis: str) -> Drawn:
    """Draw planners as points, cost across and time up, both as ratios to the best one's; a line joins the frontier.

    `frame`: planner, resource, time (ratios, 1 is best), is_on_frontier. Names stand at the points where there is room; on a
    phone the legend names them alone.
    """
    shown = frame.assign(
        shown=list(labels(frame["planner"], 26)), on=["yes" if on else "no" for on in frame["is_on_frontier"]]
    )
    names = [shown["shown"][place] for place in shown["planner"].sort_values().index]
    most = {axis: max(1.02, float(shown[axis].max())) for axis in ("resource", "time")}
    x, y = (
        alt.X("resource:Q", title=x_axis, scale=_ratios(most["resource"], 1.28), axis=_ticks(most["resource"])),
        alt.Y("time:Q", title=y_axis, scale=_ratios(most["time"], 1.12), axis=_ticks(most["time"])),
    )
    placed = _placed(shown, most)
    legend = alt.Legend(title=None, orient="bottom", columns=alt.ExprRef(f"{PHONE} ? 1 : 3"), labelLimit=230)
    color = alt.Color("shown:N", scale=alt.Scale(domain=names), legend=legend)
    shape = alt.Shape("shown:N", scale=alt.Scale(domain=names, range=cycled(SHAPES, len(names))), legend=legend)
    tooltip = [
        alt.Tooltip("shown:N", title="planner"),
        alt.Tooltip("time:Q", title=y_axis, format=".3f"),
        alt.Tooltip("resource:Q", title=x_axis, format=".3f"),
        alt.Tooltip("on:N", title="on the frontier"),
    ]
    base = alt.Chart(placed)
    frontier = placed[placed["is_on_frontier"].eq(True)].sort_values(["resource", "time"])
    line = (
        alt.Chart(frontier)
        .mark_line(color=NEUTRAL, strokeDash=[5, 3], strokeWidth=1.5, interpolate="step-after")
        .encode(x=x, y=y)
    )
    points = base.mark_point(filled=True, size=150, opacity=1).encode(
        x=x, y=y, color=color, shape=shape, tooltip=tooltip
    )
    texts = [
        alt.Chart(rows)
        .mark_text(align=align, dx=dx, dy=dy, fontSize=12, color=NEUTRAL, opacity=alt.ExprRef(f"{PHONE} ? 0 : 1"))
        .encode(x=x, y=y, text="shown:N")
        for align, dx, dy, rows in _by_place(placed)
    ]  # fmt: skip
    return alt.layer(line, *texts, points).properties(height=_HEIGHT + 60)


def _ratios(most: float, room: float) -> alt.Scale:
    """Return a logarithmic axis from just below 1 to beyond the largest ratio, with room for the name that stands there."""
    return alt.Scale(type="log", domain=[most**-0.1, most**room], nice=False)


def _ticks(most: float) -> alt.Axis:
    steps = (1, 1.02, 1.05, 1.1, 1.2, 1.4, 1.6, 2, 3, 5, 10, 20, 50, 100, 1000)
    values = [step for step in steps if step <= most**1.2]
    kept = values if len(values) <= 7 else [1, *values[1:][-6:]]
    return alt.Axis(values=kept, format=".3~g", grid=True)


def _placed(shown: pd.DataFrame, most: dict[str, float]) -> pd.DataFrame:
    """Return the points with where their name stands: right of the point, else left, above or below, wherever none is yet.

    Names are taken for boxes on a drawing of a usual width, which is enough to keep them apart on others.
    """
    taken: list[tuple[float, float, float, float]] = []
    places = []
    across, up = ((shown[axis].astype(float).map(log) / log(most[axis])) for axis in ("resource", "time"))
    for x, y in zip(across * _WIDTH / 1.38, -up * _HEIGHT / 1.22, strict=True):
        taken.append((x - 7, x + 7, y - 7, y + 7))
    for x, y, name in zip(across * _WIDTH / 1.38, -up * _HEIGHT / 1.22, shown["shown"], strict=True):
        length = 6.6 * len(name)
        options = [
            (box, dx, dy)
            for dy in (0, -15, 15, -29, 29)
            for box, dx in (
                ((x + 9, x + 11 + length, y + dy - 7, y + dy + 7), 11),
                ((x - 11 - length, x - 9, y + dy - 7, y + dy + 7), -11),
            )
            if box[0] > -0.1 * _WIDTH
        ]
        box, dx, dy = next(
            (option for option in options if not any(_cross(option[0], other) for other in taken)), options[0]
        )
        taken.append(box)
        places.append((dx, dy))
    return shown.assign(dx=[dx for dx, _ in places], dy=[dy for _, dy in places])


def _by_place(placed: pd.DataFrame) -> Iterator[tuple[Literal["left", "right"], int, int, pd.DataFrame]]:
    for dx, dy in sorted(set(zip(placed["dx"].tolist(), placed["dy"].tolist(), strict=True))):
        rows = placed[placed["dx"].eq(dx) & placed["dy"].eq(dy)]
        yield "left" if dx > 0 else "right", int(dx), int(dy), rows


def _cross(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


def spreads(frame: pd.DataFrame) -> Drawn:
    """Draw makespans by workflow and planner: the median a point, the middle half a bar, 5th to 95th percentile a line.

    `frame`: workflow, planner, p5, p25, p50, p75, p95 (seconds) and n, in the order to draw them.
    """
    planners = {name: text for text, name in labels(sorted(set(frame["planner"])), 26).items()}
    rows, heads = [], []
    for place, (workflow, of_workflow) in enumerate(frame.groupby("workflow", sort=False)):
        heads.append({"key": f"{place}|", "header": next(iter(labels([workflow], 40)))})
        for row in of_workflow.to_dict("records"):
            rows.append(
                row
                | {
                    "key": f"{place}|{planners[row['planner']]}",
                    "shown": planners[row["planner"]],
                    "head": heads[-1]["header"],
                }
            )
    keys = [
        key
        for head in heads
        for key in (head["key"], *(row["key"] for row in rows if row["key"].split("|")[0] == head["key"][:-1]))
    ]
    drawn = pd.DataFrame(rows)
    low, high = float(drawn["p5"].min()), float(drawn["p95"].max())
    log = low > 0 and high / low > 8
    names = list(planners.values())
    y = alt.Y(
        "key:N", sort=keys, title=None, scale=alt.Scale(domain=keys, paddingInner=0.2),
        axis=alt.Axis(labelExpr="slice(datum.label, indexof(datum.label, '|') + 1)", ticks=False, domain=False, grid=False,
                      labelLimit=alt.ExprRef(f"{PHONE} ? 150 : 190")),
    )  # fmt: skip
    scale = (
        alt.Scale(type="log", domain=[low / 1.1, high * 1.1], nice=False)
        if log
        else alt.Scale(domain=[0, 1.06 * high], nice=False)
    )
    x = alt.X(
        "p5:Q",
        title="Makespan (s)" + (", logarithmic" if log else ""),
        scale=scale,
        axis=alt.Axis(format=",.3~f", tickCount=6, grid=True),
    )
    color = alt.Color("shown:N", scale=alt.Scale(domain=names), legend=None)
    shape = alt.Shape("shown:N", scale=alt.Scale(domain=names, range=cycled(SHAPES, len(names))), legend=None)
    tooltip = [
        alt.Tooltip("head:N", title="workflow"),
        alt.Tooltip("shown:N", title="planner"),
        alt.Tooltip("n:Q", title="complete runs", format=","),
        *(alt.Tooltip(f"{name}:Q", title=f"{text} (s)", format=",.2f")
          for name, text in (("p5", "5th percentile"), ("p25", "first quartile"), ("p50", "median"),
                             ("p75", "third quartile"), ("p95", "95th percentile"))),
    ]  # fmt: skip
    base = alt.Chart(drawn)
    whiskers = base.mark_rule(strokeWidth=1.5).encode(x=x, x2="p95:Q", y=y, color=color, tooltip=tooltip)
    boxes = base.mark_bar(height=10, opacity=0.5, cornerRadius=3).encode(
        x=alt.X("p25:Q", scale=scale), x2="p75:Q", y=y, color=color, tooltip=tooltip
    )
    points = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=alt.X("p50:Q", scale=scale), y=y, color=color, shape=shape, tooltip=tooltip
    )
    headers = (
        alt.Chart(pd.DataFrame(heads).assign(p5=low))
        .mark_text(align="left", dy=3, fontSize=12, fontWeight="bold", color=NEUTRAL)
        .encode(x=alt.X("p5:Q", scale=scale) if log else alt.value(4), y=y, text="header:N")
    )
    return alt.layer(whiskers, boxes, points, headers).properties(height=_ROW * max(2, len(keys)))

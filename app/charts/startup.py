"""How long workers take to start, cold and warm, what they are active for, and when start-up changed."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from app.charts.base import NEUTRAL, PHONE, Drawn, round_steps, thinned
from app.plain import label
from app.units import duration

STATES = ("cold", "warm")
_SHAPES = ("circle", "triangle-up")
PARTS = ("start-up", "busy", "idle")
_CLOCK = {"year": "%Y", "quarter": "%b %Y", "month": "%b %Y", "week": "%d %b", "date": "%d %b", "day": "%d %b", "hours": "%H:%M",
          "minutes": "%H:%M", "seconds": "%H:%M:%S", "milliseconds": "%H:%M:%S.%L"}  # fmt: skip
"""How instants read on an axis: by the 24-hour clock."""


def shares(frame: pd.DataFrame, axis: str) -> Drawn:
    """Draw shares with their intervals, a row each: the share as a point with its figure, the interval as a bar.

    `frame`: label, value, low, high (NULL where there is no interval), n. Rows stand in the order they come.
    """
    shown = frame.assign(
        shown=[label(name, 44) for name in frame["label"]],
        text=[f"{100 * value:.0f} % of {n:,}" for value, n in zip(frame["value"], frame["n"], strict=True)],
        low=frame["low"].fillna(frame["value"]),
        high=frame["high"].fillna(frame["value"]),
    )
    names = shown["shown"].tolist()
    y = alt.Y("shown:N", sort=names, title=None, axis=alt.Axis(labelLimit=_label_room(), ticks=False, domain=False))
    scale = alt.Scale(domain=[0, 1], nice=False)
    tooltip = [
        alt.Tooltip("shown:N", title="where"),
        alt.Tooltip("value:Q", title="share", format=".1%"),
        alt.Tooltip("low:Q", title="interval from", format=".1%"),
        alt.Tooltip("high:Q", title="interval to", format=".1%"),
        alt.Tooltip("n:Q", title="starts", format=","),
    ]
    base = alt.Chart(shown)
    x = alt.X("low:Q", title=axis, scale=scale, axis=alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1]))
    bars = base.mark_bar(height=5, opacity=0.45, cornerRadius=2).encode(x=x, x2="high:Q", y=y, tooltip=tooltip)
    points = base.mark_point(filled=True, size=60, opacity=1).encode(
        x=alt.X("value:Q", scale=scale), y=y, tooltip=tooltip
    )
    side = "datum.value > 0.8 ? {} : datum.value < 0.2 ? {} : {}"
    texts = base.mark_text(
        dy=-11, fontSize=11, color=NEUTRAL, align=alt.ExprRef(side.format("'right'", "'left'", "'center'")),
        dx=alt.ExprRef(side.format("14", "-14", "0")),
    ).encode(x=alt.X("value:Q", scale=scale), y=y, text="text:N")  # fmt: skip
    return alt.layer(bars, points, texts).properties(height=60 + 32 * max(1, len(names)))


def cold_and_warm(frame: pd.DataFrame) -> Drawn:
    """Draw start-up of cold and of warm starts per group: the median as a point, the middle half as a bar.

    `frame`: label, state, low_s, median_s, high_s, n. Groups stand in the order they come.
    """
    shown = frame.assign(shown=[label(name, 40) for name in frame["label"]])
    names = list(dict.fromkeys(shown["shown"]))
    y = alt.Y("shown:N", sort=names, title=None, axis=alt.Axis(labelLimit=_label_room(), ticks=False, domain=False))
    offset = alt.YOffset("state:N", sort=list(STATES), scale=alt.Scale(paddingOuter=0.25))
    color = alt.Color("state:N", scale=alt.Scale(domain=list(STATES)), legend=alt.Legend(title=None, orient="top"))
    shape = alt.Shape("state:N", scale=alt.Scale(domain=list(STATES), range=list(_SHAPES)))
    x_axis = alt.Axis(grid=True, tickCount=5)
    tooltip = [
        alt.Tooltip("shown:N", title="where"),
        alt.Tooltip("state:N"),
        alt.Tooltip("n:Q", title="starts", format=","),
        alt.Tooltip("low_s:Q", title="first quartile (s)", format=",.3f"),
        alt.Tooltip("median_s:Q", title="median (s)", format=",.3f"),
        alt.Tooltip("high_s:Q", title="third quartile (s)", format=",.3f"),
    ]
    base = alt.Chart(shown)
    bars = base.mark_bar(height=5, opacity=0.45, cornerRadius=2).encode(
        x=alt.X("low_s:Q", title="Start-up (s): median, middle half", axis=x_axis, scale=alt.Scale(zero=True)),
        x2="high_s:Q", y=y, yOffset=offset, color=color, tooltip=tooltip,
    )  # fmt: skip
    points = base.mark_point(filled=True, size=55, opacity=1).encode(
        x="median_s:Q", y=y, yOffset=offset, color=color, shape=shape, tooltip=tooltip
    )
    return alt.layer(bars, points).properties(height=90 + 30 * max(1, len(names)))


def active(frame: pd.DataFrame) -> Drawn:
    """Draw what workers were active for as shares of the whole, a bar per group with its figures above it.

    `frame`: label, part (one of `PARTS`), share, seconds; every part of every group. Groups stand in the order they come.
    """
    shown = frame.assign(shown=[label(name, 40) for name in frame["label"]], place=frame["part"].map(PARTS.index))
    shown = shown.sort_values("place", kind="stable")
    shown["end"] = shown.groupby("shown", sort=False)["share"].cumsum()
    shown["begin"] = shown["end"] - shown["share"]
    names = [label(name, 40) for name in dict.fromkeys(frame["label"])]
    figures = pd.DataFrame(
        {
            "shown": names,
            "begin": 0.0,
            "text": [
                " · ".join(f"{100 * share:.0f}" for share in shown["share"][shown["shown"] == name]) + " %"
                for name in names
            ],
        }
    )
    y = alt.Y("shown:N", sort=names, title=None, axis=alt.Axis(labelLimit=_label_room(), ticks=False, domain=False))
    x = alt.X(
        "begin:Q", title=["Share of active time (%)", f"Figures: {' · '.join(PARTS)}"],
        scale=alt.Scale(domain=[0, 1], nice=False), axis=alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1]),
    )  # fmt: skip
    color = alt.Color("part:N", scale=alt.Scale(domain=list(PARTS)), legend=alt.Legend(title=None, orient="top"))
    tooltip = [
        alt.Tooltip("shown:N", title="planner"),
        alt.Tooltip("part:N"),
        alt.Tooltip("share:Q", format=".1%"),
        alt.Tooltip("seconds:Q", title="seconds", format=",.1f"),
    ]
    bars = alt.Chart(shown).mark_bar(height=13).encode(x=x, x2="end:Q", y=y, color=color, tooltip=tooltip)
    texts = (
        alt.Chart(figures)
        .mark_text(align="left", dx=1, dy=-14, fontSize=11, color=NEUTRAL)
        .encode(x=alt.X("begin:Q"), y=y, text="text:N")
    )
    return alt.layer(bars, texts).properties(height=70 + 38 * max(1, len(names)))


def latency(points: pd.DataFrame, levels: pd.DataFrame, changes: Sequence[pd.Timestamp]) -> tuple[Drawn, str | None]:
    """Draw start-up over time: a point per run and state, a line per segment at its median, a rule at each change.

    `points`: at (UTC), state, seconds, n, run_id; `levels`: begin, end, seconds. Return the chart and a sentence about points left out.
    """
    kept, left = thinned(points)
    shown = kept.assign(
        at=_utc(kept["at"]),
        when=[f"{at:%Y-%m-%d %H:%M:%S}" for at in kept["at"]],
        run=[label(name, 40) for name in kept["run_id"]],
    )
    x = alt.X(
        "at:T", title="Submitted (UTC)", scale=alt.Scale(type="utc"),
        axis=alt.Axis(grid=False, labelOverlap="greedy", labelFlush=True, format=_CLOCK, tickCount=alt.ExprRef(f"{PHONE} ? 4 : 9")),
    )  # fmt: skip
    y = alt.Y(
        "seconds:Q", title="Start-up (s), adjusted for environment and memory", scale=_log_scale(points["seconds"]),
        axis=alt.Axis(values=_ticks(points["seconds"]), format="~g"),
    )  # fmt: skip
    color = alt.Color("state:N", scale=alt.Scale(domain=list(STATES)), legend=alt.Legend(title=None, orient="top"))
    shape = alt.Shape("state:N", scale=alt.Scale(domain=list(STATES), range=list(_SHAPES)))
    marks = (
        alt.Chart(shown)
        .mark_point(filled=True, size=22, opacity=0.45)
        .encode(
            x=x, y=y, color=color, shape=shape,
            tooltip=[
                alt.Tooltip("when:N", title="submitted (UTC)"),
                alt.Tooltip("state:N"),
                alt.Tooltip("seconds:Q", title="median, adjusted (s)", format=",.3f"),
                alt.Tooltip("n:Q", title="starts", format=","),
                alt.Tooltip("run:N"),
            ],
        )
    )  # fmt: skip
    lines = levels.assign(begin=_utc(levels["begin"]), end=_utc(levels["end"]))
    lines["state"] = "cold"
    lines["text"] = [duration(1000 * seconds) for seconds in lines["seconds"]]
    base = alt.Chart(lines)
    segments = base.mark_rule(strokeWidth=3.5).encode(x=alt.X("begin:T"), x2="end:T", y="seconds:Q", color=color)
    texts = base.mark_text(align="left", dx=4, fontSize=12, fontWeight="bold", color=NEUTRAL).encode(
        x=alt.X("begin:T"), y=alt.value(10), text="text:N"
    )
    rules = (
        alt.Chart(pd.DataFrame({"at": _utc(pd.Series(list(changes), dtype="datetime64[us]"))}))
        .mark_rule(color=NEUTRAL, strokeDash=[5, 3], strokeWidth=1.5)
        .encode(x=alt.X("at:T"))
    )
    return alt.layer(rules, marks, segments, texts).properties(height=380), left


def _label_room() -> alt.ExprRef:
    return alt.ExprRef(f"{PHONE} ? 130 : 260")


def _utc(values: pd.Series[pd.Timestamp]) -> pd.Series[pd.Timestamp]:
    """Return the instants marked as UTC, which a browser elsewhere would take for its own time."""
    return pd.to_datetime(values).dt.tz_localize("UTC")


def _log_scale(values: pd.Series[float]) -> alt.Scale:
    """Return a scale with room above the points, where the levels are written."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.1, 10.0)
    room = max(1.2, high / low) ** 0.1
    return alt.Scale(type="log", nice=False, domain=[low / room**0.4, high * room])


def _ticks(values: pd.Series[float]) -> list[float]:
    """Return 1, 2, 5 times powers of ten in and just around the values."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.1, 10.0)
    return [round(tick, 7) for tick in round_steps(low, high, 2)]

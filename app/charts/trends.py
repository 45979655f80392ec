"""Predictions as history grows, and what happened against what a percentile promises."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

import altair as alt
import pandas as pd

from app.charts.base import NEUTRAL, PHONE, Drawn, round_steps
from app.plain import label

VERDICTS = ("kept", "broken", "undecided", "too few")
"""What a promise may come to: the colour and the shape of its point."""

_VERDICT_SHAPES = ("circle", "triangle-down", "square", "cross")
_DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [4, 4], [12, 2], [3, 6])
_HEIGHT = 440
_TEXT = 14


def over_history(frame: pd.DataFrame, banded: str) -> Drawn:
    """Draw the median relative error along histories, a line per metric named at its end, on a logarithmic axis.

    `frame`: metric, position (0 to 1, from the first run of a history to its last), median, low, high (the middle half), n.
    The metric `banded` has its middle half as a band. Values of 0 have no place on the axis and are not drawn.
    """
    shown = frame[frame["median"] > 0].assign(shown=[label(name, 20) for name in frame[frame["median"] > 0]["metric"]])
    names = list(dict.fromkeys(shown["shown"]))
    band = shown[shown["metric"] == banded]
    band = band.assign(low=band["low"].clip(lower=float(shown["median"].min())))
    ends = shown.sort_values("position").groupby("shown", as_index=False).tail(1)
    low = min(float(shown["median"].min()), *band["low"])
    high = max(float(shown["median"].max()), *band["high"])
    ends = ends.assign(at=_apart(ends["median"].tolist(), low, high))
    last = float(shown["position"].max())
    x_scale = alt.Scale(domainMin=0, domainMax=alt.ExprRef(f"{PHONE} ? {last + 0.4} : {last + 0.14}"), nice=False)
    y_scale = alt.Scale(type="log", domain=[low, max(high, *ends["at"])], nice=False, padding=8)
    x = alt.X(
        "position:Q",
        title="Position in a history, first run to last",
        scale=x_scale,
        axis=alt.Axis(format="%", values=[0, 1 / 3, 2 / 3, 1], grid=True, titleAnchor="start"),
    )
    y_axis = alt.Axis(format="~%", values=_ticks(low, high))
    color = alt.Color("shown:N", scale=alt.Scale(domain=names), legend=None)
    dash = alt.StrokeDash(
        "shown:N", scale=alt.Scale(domain=names, range=[_DASHES[i % len(_DASHES)] for i in range(len(names))]), legend=None
    )  # fmt: skip
    tooltip = [
        alt.Tooltip("shown:N", title="metric"),
        alt.Tooltip("position:Q", title="position", format=".0%"),
        alt.Tooltip("median:Q", title="median relative error", format=".3~p"),
        alt.Tooltip("low:Q", title="first quartile", format=".3~p"),
        alt.Tooltip("high:Q", title="third quartile", format=".3~p"),
        alt.Tooltip("n:Q", title="runs", format=","),
    ]

    def y(column: str) -> alt.Y:
        return alt.Y(f"{column}:Q", title="Median relative error (%)", scale=y_scale, axis=y_axis)

    area = alt.Chart(band).mark_area(opacity=0.16).encode(x=x, y=y("low"), y2="high:Q", color=color)
    lines = alt.Chart(shown).mark_line(strokeWidth=2.2).encode(x=x, y=y("median"), color=color, strokeDash=dash, tooltip=tooltip)  # fmt: skip
    texts = (
        alt.Chart(ends)
        .mark_text(align="left", dx=6, fontSize=12, clip=False)
        .encode(x=x, y=y("at"), text="shown:N", color=color)
    )
    return alt.layer(area, lines, texts).properties(height=_HEIGHT)


def promises(frame: pd.DataFrame) -> Drawn:
    """Draw the share of runs that stayed within the prediction, a row per promise, against the share that was promised.

    `frame`: label, coverage, low, high, nominal (shares), verdict (one of `VERDICTS`: colour, shape and text), n.
    """
    shown = frame.assign(
        shown=[label(name, 30) for name in frame["label"]],
        text=[f"{round(100 * share)} % {verdict}" for share, verdict in zip(frame["coverage"], frame["verdict"], strict=True)],
    )  # fmt: skip
    names = shown["shown"].tolist()
    present = [verdict for verdict in VERDICTS if verdict in set(shown["verdict"])]
    scale = alt.Scale(domainMin=0, domainMax=alt.ExprRef(f"{PHONE} ? 1.75 : 1.2"), nice=False)
    y = alt.Y("shown:N", sort=names, title=None, axis=alt.Axis(labelLimit=200, ticks=False, domain=False))
    color = alt.Color(
        "verdict:N", scale=alt.Scale(domain=list(VERDICTS)),
        legend=alt.Legend(title=None, orient="bottom", columns=alt.ExprRef(f"{PHONE} ? 2 : 4"), values=present),
    )  # fmt: skip
    shape = alt.Shape("verdict:N", scale=alt.Scale(domain=list(VERDICTS), range=list(_VERDICT_SHAPES)))
    tooltip = [
        alt.Tooltip("shown:N", title="promise"),
        alt.Tooltip("coverage:Q", title="stayed within", format=".1%"),
        alt.Tooltip("low:Q", title="interval from", format=".1%"),
        alt.Tooltip("high:Q", title="interval to", format=".1%"),
        alt.Tooltip("nominal:Q", title="promised", format=".0%"),
        alt.Tooltip("n:Q", title="runs", format=","),
    ]

    def x(column: str) -> alt.X:
        axis = alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1], grid=True, titleAnchor="start")
        return alt.X(
            f"{column}:Q", title=["Runs within the prediction (%)", "Tick: what was promised"], scale=scale, axis=axis
        )

    base = alt.Chart(shown)
    bars = base.mark_rule(strokeWidth=2.5).encode(x=x("low"), x2="high:Q", y=y, color=color, tooltip=tooltip)
    ticks = base.mark_tick(color=NEUTRAL, thickness=3, size=20).encode(x=x("nominal"), y=y, tooltip=tooltip)
    points = base.mark_point(filled=True, size=80, opacity=1).encode(x=x("coverage"), y=y, color=color, shape=shape, tooltip=tooltip)  # fmt: skip
    texts = base.mark_text(align="left", fontSize=11, color=NEUTRAL).encode(x=alt.XDatum(1.06), y=y, text="text:N")
    return alt.layer(ticks, bars, points, texts).properties(height=90 + 22 * max(1, len(names)))


def _apart(values: Sequence[float], low: float, high: float) -> list[float]:
    """Return where names of these values can stand without touching, on a logarithmic axis from `low` to `high`."""
    gap = (log10(high) - log10(low) or 1) * _TEXT / _HEIGHT
    order = sorted(range(len(values)), key=values.__getitem__)
    places = [0.0] * len(values)
    free = log10(low)
    for index in order:
        places[index] = max(log10(values[index]), free)
        free = places[index] + gap
    return [10.0**place for place in places]


def _ticks(low: float, high: float) -> list[float]:
    wanted = round_steps(low, high, 1.5)
    return wanted[:: 1 + len(wanted) // 11]

"""Predictors beside each other: their errors, how these move, what they rest on, what history they need."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

import altair as alt
import pandas as pd

from app.charts.base import NEUTRAL, PHONE, SHAPES, Drawn, cycled, round_steps
from app.plain import label
from app.predicted import ENGINE, in_order, shown

_DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [4, 4], [12, 2], [3, 6])
COVERED = ("as promised", "too few covered", "more than promised", "too few runs")
"""What the coverage of a percentile may come to: the colour and the shape of its point."""

_COVERED_SHAPES = ("circle", "triangle-left", "triangle-right", "cross")
_FEW_TICKS = 3
_DIGITS = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
_ENGINES = "engine"
_OTHERS = "other"


def leaderboard(frame: pd.DataFrame, axis: str, form: str = ".1%") -> Drawn:
    """Draw the error of each predictor with its interval, the smallest first; a rule stands at the error of the engine's plans.

    `frame`: predictor, error, low, high, n. An end that is not known is not drawn. `form` says how an error is written.
    """
    ordered = frame.sort_values("error")
    rows = pd.DataFrame(
        {
            "predictor": [shown(name) for name in ordered["predictor"]],
            "error": ordered["error"].astype(float),
            "low": ordered["low"].astype(float).fillna(ordered["error"].astype(float)),
            "high": ordered["high"].astype(float).fillna(ordered["error"].astype(float)),
            "n": ordered["n"],
            "whose": [_ENGINES if name == ENGINE else _OTHERS for name in ordered["predictor"]],
        }
    )
    y = alt.Y("predictor:N", sort=rows["predictor"].tolist(), title=None, axis=alt.Axis(labelLimit=180, ticks=False, domain=False))  # fmt: skip
    x_axis = alt.Axis(format="~%" if form.endswith("%") else "~g", tickCount=5, grid=True)
    scale = alt.Scale(domainMin=0, domainMax=1.22 * float(rows["high"].max() or 1), nice=False)
    whose = [_OTHERS, _ENGINES]
    color = alt.Color("whose:N", scale=alt.Scale(domain=whose), legend=None)
    shape = alt.Shape("whose:N", scale=alt.Scale(domain=whose, range=["circle", "diamond"]), legend=None)
    tooltip = [
        alt.Tooltip("predictor:N"),
        alt.Tooltip("error:Q", format=form),
        alt.Tooltip("low:Q", title="interval from", format=form),
        alt.Tooltip("high:Q", title="interval to", format=form),
        alt.Tooltip("n:Q", title="predictions", format=","),
    ]
    base = alt.Chart(rows)
    x = alt.X("error:Q", title=axis, scale=scale, axis=x_axis)
    bars = base.mark_rule(strokeWidth=2.5).encode(x=alt.X("low:Q", title=axis, scale=scale, axis=x_axis), x2="high:Q", y=y, color=color, tooltip=tooltip)  # fmt: skip
    points = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=x, y=y, color=color, shape=shape, tooltip=tooltip
    )
    texts = base.mark_text(align="left", dx=8, fontSize=11, color=NEUTRAL).encode(x=alt.X("high:Q", title=axis, scale=scale, axis=x_axis), y=y, text=alt.Text("error:Q", format=form))  # fmt: skip
    layers: list[alt.Chart] = [bars, points, texts]
    engines = rows[rows["whose"] == _ENGINES]
    if len(engines):
        layers.insert(0, alt.Chart(engines).mark_rule(color=NEUTRAL, strokeDash=[4, 3]).encode(x=x))
    return alt.layer(*layers).properties(height=70 + 36 * len(rows))


def coverage(frame: pd.DataFrame, axis: str) -> Drawn:
    """Draw the share that came out at or below a predicted percentile, a row per group; a rule stands at what was promised.

    `frame`: group, coverage, low, high (shares; not known: not drawn), nominal, verdict (one of `COVERED`), n, runs.
    """
    rows = frame.assign(
        shown=[label(name, 34) for name in frame["group"]],
        low=frame["low"].fillna(frame["coverage"]),
        high=frame["high"].fillna(frame["coverage"]),
    )
    nominal = float(rows["nominal"].iloc[0])
    lowest = min(nominal, float(rows["low"].min()))
    scale = alt.Scale(domain=[max(0.0, lowest - 0.06 * (1 - lowest) - 0.01), 1.0], nice=False)
    x_axis = alt.Axis(format="~%", tickCount=6, grid=True, titleAnchor="start")
    y = alt.Y("shown:N", sort=rows["shown"].tolist(), title=None, axis=alt.Axis(labelLimit=175, labelOverlap=False, ticks=False, domain=False))  # fmt: skip
    present = [verdict for verdict in COVERED if verdict in set(rows["verdict"])]
    color = alt.Color("verdict:N", scale=alt.Scale(domain=list(COVERED)), legend=alt.Legend(title=None, orient="bottom", columns=alt.ExprRef(f"{PHONE} ? 2 : 4"), values=present))  # fmt: skip
    shape = alt.Shape("verdict:N", scale=alt.Scale(domain=list(COVERED), range=list(_COVERED_SHAPES)))
    tooltip = [
        alt.Tooltip("shown:N", title="group"),
        alt.Tooltip("coverage:Q", format=".1%"),
        alt.Tooltip("low:Q", title="interval from", format=".1%"),
        alt.Tooltip("high:Q", title="interval to", format=".1%"),
        alt.Tooltip("nominal:Q", title="promised", format=".0%"),
        alt.Tooltip("n:Q", title="predictions", format=","),
        alt.Tooltip("runs:Q", format=","),
    ]
    base = alt.Chart(rows)

    def x(column: str) -> alt.X:
        return alt.X(f"{column}:Q", title=axis, scale=scale, axis=x_axis)

    promised = alt.Chart(rows.head(1)).mark_rule(color=NEUTRAL, strokeDash=[4, 3]).encode(x=x("nominal"))
    bars = base.mark_rule(strokeWidth=2.5).encode(x=x("low"), x2="high:Q", y=y, color=color, tooltip=tooltip)
    points = base.mark_point(filled=True, size=90, opacity=1).encode(x=x("coverage"), y=y, color=color, shape=shape, tooltip=tooltip)  # fmt: skip
    return alt.layer(promised, bars, points).properties(height=130 + 28 * len(rows))


def over_runs(frame: pd.DataFrame) -> Drawn:
    """Draw the rolling median error of each predictor over the runs, on a logarithmic axis: colour, dash and a mark at the end.

    `frame`: predictor, run_ordinal, submitted_at, rolling_relative_error, n.
    """
    rows = pd.DataFrame(
        {
            "predictor": [shown(name) for name in frame["predictor"]],
            "run": frame["run_ordinal"],
            "error": frame["rolling_relative_error"].astype(float),
            "submitted": frame["submitted_at"],
            "n": frame["n"],
        }
    )
    rows = rows[rows["error"] > 0].assign(mark=rows["predictor"])
    names = [shown(name) for name in in_order(set(frame["predictor"]))]
    color, dash, shape = _by_name("predictor", names)
    tooltip = [
        alt.Tooltip("predictor:N"),
        alt.Tooltip("run:Q", title="run number"),
        alt.Tooltip("error:Q", title="median relative error", format=".3~p"),
        alt.Tooltip("n:Q", title="values behind it", format=","),
        alt.Tooltip("submitted:T", title="submitted (UTC)", format="%Y-%m-%d %H:%M:%S"),
    ]
    picked = alt.selection_point(fields=["predictor"], bind="legend", name="highlight")
    opacity = alt.when(picked).then(alt.value(1)).otherwise(alt.value(0.15))
    x = alt.X("run:Q", title="Run number, in order of submission", axis=alt.Axis(tickMinStep=1, tickCount=10, grid=False), scale=alt.Scale(nice=False, padding=8))  # fmt: skip
    y = _error_axis("error", rows["error"].tolist())
    lines = alt.Chart(rows).mark_line(strokeWidth=2).encode(x=x, y=y, color=color, strokeDash=dash, tooltip=tooltip, opacity=opacity).add_params(picked)  # fmt: skip
    last = rows.sort_values("run").groupby("predictor", as_index=False).tail(1)
    ends = alt.Chart(last).mark_point(filled=True, size=60).encode(x=x, y=y, color=color, shape=shape, tooltip=tooltip, opacity=opacity)  # fmt: skip
    return alt.layer(lines, ends).properties(height=380 + _legend(names))


def errors_by(frame: pd.DataFrame, axis: str) -> Drawn:
    """Draw the median error of predictors by size or memory, both axes logarithmic: a point and a line each.

    `frame`: predictor, place (the size in bytes, or the memory in MB), median_relative_error, n.
    """
    rows = pd.DataFrame(
        {
            "predictor": [shown(name) for name in frame["predictor"]],
            "at": frame["place"].astype(float),
            "error": frame["median_relative_error"].astype(float),
            "n": frame["n"],
        }
    )
    rows = rows[(rows["error"] > 0) & (rows["at"] > 0)].assign(mark=rows["predictor"])
    names = [shown(name) for name in in_order(set(frame["predictor"]))]
    color, dash, shape = _by_name("predictor", names)
    places = sorted(rows["at"].unique())
    few = len(places) <= 6
    ticks = places if few else [10.0**power for power in range(16) if places[0] <= 10**power <= places[-1]]
    tooltip = [
        alt.Tooltip("predictor:N"),
        alt.Tooltip("at:Q", title=axis, format=".3~s"),
        alt.Tooltip("error:Q", title="median relative error", format=".3~p"),
        alt.Tooltip("n:Q", title="predictions", format=","),
    ]
    x = alt.X("at:Q", title=axis, scale=alt.Scale(type="log", nice=False, padding=16), axis=alt.Axis(values=ticks, format=",d" if few and places[-1] < 1e6 else "~s", grid=False))  # fmt: skip
    y = _error_axis("error", rows["error"].tolist())
    base = alt.Chart(rows)
    lines = base.mark_line(strokeWidth=1.6).encode(x=x, y=y, color=color, strokeDash=dash)
    points = base.mark_point(filled=True, size=55, opacity=1).encode(
        x=x, y=y, color=color, shape=shape, tooltip=tooltip
    )
    return alt.layer(lines, points).properties(height=290 + 24 * len(names))


def importances(frame: pd.DataFrame) -> Drawn:
    """Draw by how much the error rises when a feature is shuffled, a bar each. `frame`: feature, increase (a share)."""
    rows = pd.DataFrame({"feature": [label(name, 40) for name in frame["feature"]], "increase": frame["increase"].astype(float)})  # fmt: skip
    rows = rows.assign(end=rows["increase"].clip(lower=0), text=[f"{100 * value:+.1f} %" for value in rows["increase"]])
    highest, lowest = max(0.01, float(rows["increase"].max())), min(0.0, float(rows["increase"].min()))
    y = alt.Y("feature:N", sort=rows["feature"].tolist(), title=None, axis=alt.Axis(labelLimit=190, labelOverlap=False, ticks=False, domain=False))  # fmt: skip
    scale = alt.Scale(domain=[1.1 * lowest, alt.ExprRef(f"{PHONE} ? {1.6 * highest} : {1.15 * highest}")], nice=False)
    x = alt.X("increase:Q", title="Rise of the error when shuffled (%)", scale=scale, axis=alt.Axis(format="~%", tickCount=5, grid=True, titleAnchor="start"))  # fmt: skip
    tooltip = [alt.Tooltip("feature:N"), alt.Tooltip("text:N", title="rise of the error")]
    base = alt.Chart(rows)
    bars = base.mark_bar(height=13, cornerRadius=2).encode(x=x, y=y, tooltip=tooltip)
    texts = base.mark_text(align="left", dx=5, fontSize=11, color=NEUTRAL).encode(x=alt.X("end:Q", scale=scale), y=y, text="text:N")  # fmt: skip
    return alt.layer(bars, texts).properties(height=70 + 22 * len(rows))  # fmt: skip


def history_kept(frame: pd.DataFrame, axis: str, close: float) -> Drawn:
    """Draw the error with less history as a multiple of that with all of it, a line per metric; a rule stands at `close`.

    `frame`: target, kept (bytes, or rows), relative_to_all, runs_kept.
    """
    rows = frame.assign(shown=[label(name, 30) for name in frame["target"]])
    rows = rows[(rows["kept"] > 0) & (rows["relative_to_all"] > 0)]
    rows = rows.assign(mark=rows["shown"])
    names = list(dict.fromkeys(rows["shown"]))
    color, dash, shape = _by_name("shown", names)
    low, high = min(1.0, float(rows["relative_to_all"].min())), max(close, float(rows["relative_to_all"].max()))
    places = round_steps(float(rows["kept"].min()), float(rows["kept"].max()), 1.5)
    tooltip = [
        alt.Tooltip("shown:N", title="what"),
        alt.Tooltip("kept:Q", title="kept", format=".3~s"),
        alt.Tooltip("runs_kept:Q", title="runs kept, the mean", format=",.0f"),
        alt.Tooltip("relative_to_all:Q", title="error, as a multiple", format=".3f"),
    ]
    x = alt.X("kept:Q", title=axis, scale=alt.Scale(type="log", nice=False, padding=14), axis=alt.Axis(values=places[:: 1 + len(places) // 7], format="~s", grid=False))  # fmt: skip
    y_scale = alt.Scale(type="log", domain=[low / 1.02, high * 1.03], nice=False)
    y = alt.Y("relative_to_all:Q", title="Error / that with all history (ratio)", scale=y_scale, axis=alt.Axis(format=".2f", tickCount=6))  # fmt: skip
    rule = alt.Chart(pd.DataFrame({"relative_to_all": [close]})).mark_rule(color=NEUTRAL, strokeDash=[4, 3]).encode(y=y)
    base = alt.Chart(rows)
    lines = base.mark_line(strokeWidth=2).encode(x=x, y=y, color=color, strokeDash=dash)
    points = base.mark_point(filled=True, size=45, opacity=1).encode(
        x=x, y=y, color=color, shape=shape, tooltip=tooltip
    )
    return alt.layer(rule, lines, points).properties(height=310 + _legend(names))


def _by_name(field: str, names: Sequence[str]) -> tuple[alt.Color, alt.StrokeDash, alt.Shape]:
    """Return colour, dash and mark by name: one legend, in which none is told by colour alone.

    The mark reads a column of its own, `mark`: of the same column it would take the place of the line in the legend.
    """
    legend = alt.Legend(title=None, orient="bottom", columns=alt.ExprRef(f"{PHONE} ? 1 : 3"), labelLimit=200, symbolType="stroke", symbolStrokeWidth=2, symbolSize=500)  # fmt: skip
    domain = list(names)
    color = alt.Color(f"{field}:N", scale=alt.Scale(domain=domain), legend=legend)
    dash = alt.StrokeDash(f"{field}:N", scale=alt.Scale(domain=domain, range=[_DASHES[place % len(_DASHES)] for place in range(len(domain))]), legend=legend)  # fmt: skip
    shape = alt.Shape("mark:N", scale=alt.Scale(domain=domain, range=cycled(SHAPES, len(domain))), legend=None)
    return color, dash, shape


def _legend(names: Sequence[str]) -> int:
    """Return the height that the legend takes from a chart."""
    return 24 * -(-len(names) // 3)


def _error_axis(field: str, values: Sequence[float]) -> alt.Y:
    low, high = (min(values), max(values)) if values else (0.1, 1.0)
    ticks = round_steps(low, high, 1.1)
    if len(ticks) < _FEW_TICKS:
        ticks = [digit * 10.0**power for power in range(-6, 6) for digit in _DIGITS if low / 1.1 <= digit * 10.0**power <= high * 1.1]  # fmt: skip
    scale = alt.Scale(type="log", domain=[low / 1.1, high * 1.1], nice=False)
    axis = alt.Axis(format="~%" if log10(high) < 3 else ".0e", values=ticks[:: 1 + len(ticks) // 9])
    return alt.Y(f"{field}:Q", title="Median relative error (%)", scale=scale, axis=axis)

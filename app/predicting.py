"""The sections of the Predictors page about predictions: each a question, a chart, a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pandas as pd
import streamlit as st

from app import parts
from app.charts import intervals
from app.charts import predictors as charts
from app.findings.evidence import Evidence
from app.findings.predictors import WHOSE, best_of
from app.findings.statistics import MINIMUM_RUNS, run_share
from app.plain import label, labels, plain
from app.predicted import ENGINE, RULE, SIMPLE, TARGETS, THINGS, Target, called, in_order, knows_more, shown
from app.predictor_queries import BY_MEMORY, BY_SIZE, COVERAGE, FAILING, OVER_TIME, STORED, WORST
from app.store import Store
from app.units import count, figure, percent

PERCENTILES = ("p90", "p75", "p50")
MOST_GROUPS = 20
MOST_POINTS = 600
LEAST = 20
"""Predictions that a group must have to be called one where a predictor fails, and a point to be drawn."""

WORST_SHOWN = 20
BEST = "the best of them"


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the page is looking at: a target, who predicted it, and whose predictions are looked at closely."""

    target: Target
    predictors: tuple[str, ...]
    looked_at: str

    @property
    def beside(self) -> list[str]:
        """The predictor looked at, the plans and the simple rivals: what errors are drawn of."""
        wanted = {self.looked_at, *(name for name in (ENGINE, *SIMPLE) if name in self.predictors)}
        return in_order(wanted)


def choose(predicted: pd.DataFrame, board: pd.DataFrame) -> Chosen:
    """Let a target and a predictor be chosen. `predicted`: level, metric, predictor; `board`: the table of F15."""
    there = set(zip(predicted["level"], predicted["metric"], strict=True))
    known = {one.name: one for one in TARGETS if (one.level, one.metric) in there}
    others = sorted(there - {(one.level, one.metric) for one in TARGETS})
    named = labels([f"{metric} ({level})" for level, metric in others], 40)
    unknown = {
        name: Target(level, metric, name) for name, (level, metric) in zip(named, others, strict=True)
    }  # what no plan predicts
    offered = known | unknown
    parts.say_unknown("target", offered)
    row = st.columns([1.2, 1.2, 0.6])
    picked = offered[str(row[0].selectbox("What is predicted", list(offered), key="target", bind="query-params"))]
    own = predicted[(predicted["level"] == picked.level) & (predicted["metric"] == picked.metric)]
    rows = board[(board["level"] == picked.level) & (board["metric"] == picked.metric)] if len(board) else board
    names = [str(name) for name in own["predictor"]]
    options = {shown(name): name for name in in_order(set(names))}
    parts.say_unknown("looked_at", {BEST, *options})
    looked_at = str(
        row[1].selectbox("Predictor looked at closely", [BEST, *options], key="looked_at", bind="query-params")
    )
    judged = {str(name) for name in rows["predictor"]} if len(rows) else set()
    everybody = tuple(in_order({*names, *judged}))
    return Chosen(picked, everybody, options.get(looked_at) or _best(rows, names))


def _best(rows: pd.DataFrame, names: Sequence[str]) -> str:
    """Return the best predictor that is not the plans, the first that is there where none was judged beside them."""
    own = rows[rows["predictor"] != ENGINE] if len(rows) else rows
    fair = [name for name in names if not knows_more(name)] or list(names)
    return best_of(own) if len(own) and any(not knows_more(name) for name in own["predictor"]) else fair[0]


def leaderboard(store: Store, chosen: Chosen, board: pd.DataFrame) -> None:
    """Show every predictor's error beside the plans', and the scores that were stored."""
    one = chosen.target
    rows = board[(board["level"] == one.level) & (board["metric"] == one.metric)] if len(board) else board
    if rows.empty:
        parts.nothing(
            f"No two predictors, or not the engine's plans where there are any, predicted {one.name} on the same rows."
        )
    else:
        reference = ENGINE if ENGINE in set(rows["predictor"]) else RULE
        whose = WHOSE[reference]
        st.markdown(_standing(rows, one, reference))
        left, right = st.columns(2, gap="large")
        is_chance = one.is_chance
        with left:
            parts.chart(
                charts.leaderboard(rows.rename(columns={"error_low": "low", "error_high": "high"}), "Brier score" if is_chance else "Median relative error (%)", ".3f" if is_chance else ".1%"),
                f"{rows['error_is'].iloc[0]} of {one.name} by predictor, with 95 % intervals: "
                + "; ".join(f"{shown(name)} {_error(error, one)}" for name, error in _by_error(rows, "error")),
                "leaderboard",
            )  # fmt: skip
        ratios = rows[rows["to_engine"].notna()]
        with right:
            if len(ratios):
                parts.chart(_against(ratios, whose), f"Error as a multiple of that of {whose}, on the same rows: {_ratios(ratios)}", "leaderboard-ratio")  # fmt: skip
        all_of = "the plans and every predictor here predicted. Plans stand with every SLA; the table has them at p50 alone too"
        st.caption(
            f"{count(rows['n'].max(), 'prediction')} of {count(rows['runs'].max(), 'run')}, the same for all: what "
            f"{all_of if reference == ENGINE else 'every predictor here predicted'}. Intervals resample runs."
        )
    with st.expander("Every predictor, and the scores that were stored"):
        if len(rows):
            parts.table(_cells(rows), f"Predictors of {one.name}", _formats(rows))
            parts.downloads(rows, f"leaderboard-{one.metric}-{one.level}")
        stored = store.frame(STORED, level=one.level, metric=one.metric)
        if len(stored):
            st.caption(
                "Stored by the last evaluation, over all runs: filters do not apply. `all`: whatever a predictor predicted; `paired`: what plans predicted too."
            )
            parts.table(stored, f"Stored scores of {one.name}", _formats(stored))
            parts.downloads(stored, f"scores-{one.metric}-{one.level}")


def _standing(rows: pd.DataFrame, one: Target, reference: str) -> str:
    best = rows[rows["predictor"] == best_of(rows)].iloc[0]
    name = called(str(best["predictor"]))
    said = f"{name[0].upper()}{name[1:]} predict{'' if name.endswith('s') else 's'} **{one.name}** best: {_error(best['error'], one)}"
    said += " (Brier score)" if one.is_chance else " off at the median"
    if best["predictor"] == reference:
        return f"{said}. No other is closer on the same rows."
    verdicts = {
        "closer": "surely closer",
        "further off": "surely further off",
        "no difference": "no difference beyond 5 %",
    }
    verdict = best["against_engine"] if isinstance(best["against_engine"], str) else ""
    return f"{said}, {figure(best['to_engine'])} times the error of {WHOSE[reference]}: {verdicts.get(verdict, verdict)}." if verdict else f"{said}."  # fmt: skip


def _against(ratios: pd.DataFrame, whose: str) -> Any:
    verdicts = {"closer": "lower", "further off": "higher"}
    ordered = ratios.sort_values("error")
    frame = pd.DataFrame(
        {
            "label": [shown(name) for name in ordered["predictor"]],
            "value": ordered["to_engine"].astype(float),
            "low": ordered["to_engine_low"].astype(float),
            "high": ordered["to_engine_high"].astype(float),
            "decision": [verdicts.get(verdict, verdict) for verdict in ordered["against_engine"]],
            "n": ordered["n"],
        }
    )
    short = whose.removeprefix("the engine's ")
    return intervals(frame, f"Error / that of the {short} (ratio)")


def _ratios(rows: pd.DataFrame) -> str:
    return "; ".join(
        f"{shown(name)} {ratio:.2f} ({low:.2f} to {high:.2f})"
        for name, ratio, low, high in _by_error(rows, "to_engine", "to_engine_low", "to_engine_high")
    )


def _by_error(rows: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    """Return each predictor with these figures, the smallest error first."""
    ordered = rows.sort_values("error")
    return list(zip(ordered["predictor"], *(ordered[name].astype(float) for name in columns), strict=True))


def over_time(evidence: Evidence, chosen: Chosen) -> None:
    """Show how each predictor's error moves as runs come in."""
    one = chosen.target
    st.header("Over time", anchor="over-time")
    frame = evidence.frame(OVER_TIME, level=one.level, metric=one.metric, points=MOST_POINTS)
    if frame.empty:
        parts.nothing(f"No prediction of {one.name} can be placed in time: their runs have no submission time.")
        return
    last = (
        frame.sort_values("run_ordinal").groupby("predictor").tail(1).set_index("predictor")["rolling_relative_error"]
    )
    said = "; ".join(f"{shown(name)} {percent(last[name])}" for name in in_order(set(last.index)))
    over = "Medians (P50) of predictors"
    over += (
        ", plans of every SLA, on the rows that were planned." if ENGINE in last.index else ": no run here was planned."
    )
    st.markdown(
        f"The median error over the last 20 runs, at each run. {over} "
        f"At the end: {'; '.join(f'{called(name)} {percent(last[name])}' for name in in_order(set(last.index)))}."
    )
    parts.chart(charts.over_runs(frame), f"Rolling median relative error of {one.name} by predictor; at the end {said}.", "predictors-over-time")  # fmt: skip
    note = "Runs of all workflows selected follow each other, so a line moves with the mix too: filter by one workflow to see it alone."
    if (most := int(frame["of_runs"].max())) > MOST_POINTS:
        note += f" Drawn: every {-(-most // MOST_POINTS)}th of {most:,} runs."
    st.caption(note)
    parts.downloads(frame.drop(columns="of_runs"), f"over-time-{one.metric}-{one.level}")


def coverage(evidence: Evidence, chosen: Chosen) -> None:
    """Show how often a percentile was kept, by group, and how wide predictions are."""
    one = chosen.target
    st.header("Coverage and sharpness", anchor="coverage")
    row = st.columns([1, 1, 1])
    by_task = one.level != "run"
    groups = [
        "planner",
        "workflow",
        *(["function"] if by_task else []),
        "environment",
        *(["memory"] if by_task else []),
    ]
    groups.sort(
        key=lambda name: name == "planner" and ENGINE not in chosen.predictors
    )  # nobody planned: no planner to tell apart
    for name, offered in (("coverage_by", groups), ("percentile", PERCENTILES)):
        parts.say_unknown(name, offered)
    by = str(row[0].selectbox("By", groups, key="coverage_by", bind="query-params"))
    at = str(row[1].selectbox("Percentile", PERCENTILES, key="percentile", bind="query-params"))
    percentile = float(at.removeprefix("p"))
    counts = evidence.frame(
        COVERAGE, level=one.level, metric=one.metric, predictor=chosen.looked_at, by=by, percentile=percentile
    )
    if counts.empty:
        parts.nothing(f"{shown(chosen.looked_at)}: no prediction of {one.name} at {at} can be judged.")
        return
    frame = _covered(counts, percentile / 100)
    total = frame.attrs["groups"]
    kept = frame[frame["verdict"] == "as promised"]
    judged = frame[frame["verdict"] != "too few runs"]
    st.markdown(
        f"Of what {called(chosen.looked_at)} predicted at {at}, {percent(frame.attrs['covered'])} came out at or below it; it should be "
        f"{percentile:.0f} %. {len(kept):,} of {count(len(judged), by)} with at least {MINIMUM_RUNS} runs {'is' if len(kept) == 1 else 'are'} as promised: "
        "the interval holds the nominal share."
    )
    parts.chart(
        charts.coverage(frame, f"At or below {at} (%)"),
        f"Coverage of {one.name} at {at} by {by}, promised {percentile:.0f} %: "
        + "; ".join(f"{label(name, 30)} {percent(share)}" for name, share in zip(frame["group"], frame["coverage"], strict=True)),
        "coverage",
    )  # fmt: skip
    parts.table(
        frame,
        f"Coverage and sharpness by {by}",
        {
            name: st.column_config.NumberColumn(format="percent")
            for name in ("coverage", "low", "high", "nominal", "sharpness")
        },
    )
    st.caption(
        f"A row of the chart is the share that came out at or below the prediction, with its interval; the rule is what {at} promises. Sharpness: how far above its median a prediction puts the percentile, as a share of the median, in the middle: of two that keep their "
        f"promise the smaller one is better. Intervals hold 95 % and resample runs.{f' Shown: the {MOST_GROUPS} largest of {total:,} groups.' if total > MOST_GROUPS else ''}"
    )
    parts.downloads(frame, f"coverage-{one.metric}-{one.level}-{by}-{at}")


@st.cache_data(max_entries=64, show_spinner=False)
def _covered(counts: pd.DataFrame, nominal: float) -> pd.DataFrame:
    """Return a row per group with its coverage, the interval and what that says, the largest groups first."""
    groups = sorted(
        counts.groupby("group", dropna=False), key=lambda pair: (-int(pair[1]["judged"].sum()), str(pair[0]))
    )
    rows = []
    for name, group in groups[:MOST_GROUPS]:
        found = run_share(group["covered"], group["judged"])
        verdict = "too few runs"
        if found:
            verdict = "too few covered" if found.high < nominal else "more than promised" if found.low > nominal else "as promised"  # fmt: skip
        rows.append(
            {
                "group": label(name, 40),
                "n": int(group["judged"].sum()),
                "runs": len(group),
                "coverage": group["covered"].sum() / group["judged"].sum(),
                "low": found.low if found else None,
                "high": found.high if found else None,
                "nominal": nominal,
                "verdict": verdict,
                "sharpness": group["sharpness"].iloc[0],
            }
        )
    frame = pd.DataFrame(rows)
    frame[["low", "high"]] = frame[["low", "high"]].astype(float)
    frame.attrs = {"groups": len(groups), "covered": float(counts["covered"].sum() / counts["judged"].sum())}
    return frame


def by_size_and_memory(evidence: Evidence, chosen: Chosen) -> None:
    """Show errors by the size of the input and by memory, on rows that all predictors drawn have in common."""
    one = chosen.target
    st.header("By size and memory", anchor="sizes")
    given = {"level": one.level, "metric": one.metric, "predictors": chosen.beside, "least": LEAST}
    sizes = evidence.frame(BY_SIZE, **given) if one.level != "invocation" else pd.DataFrame()
    memory = evidence.frame(BY_MEMORY, **given) if one.level != "run" else pd.DataFrame()
    drawn = [
        ("size", "Input of the run (bytes)" if one.level == "run" else "Input of the task (bytes)", sizes),
        ("memory", "Memory of the worker (MB)", memory),
    ]
    there = [(name, axis, frame) for name, axis, frame in drawn if not frame.empty]
    if not there:
        parts.nothing(f"No size and no memory has {LEAST} predictions of {one.name} that all of these made.")
        return
    columns = st.columns(len(there), gap="large")
    for column, (name, axis, frame) in zip(columns, there, strict=True):
        with column:
            parts.chart(charts.errors_by(frame, axis), f"Median relative error of {one.name} by {name}: {_ends(frame)}", f"errors-by-{name}")  # fmt: skip
            parts.downloads(frame, f"errors-by-{name}-{one.metric}-{one.level}")
    st.caption(
        f"Points rest on at least {LEAST} predictions; sizes are thrown together by half decades. All lines are about the same {THINGS.get(one.level, 'rows')}."
    )


def _ends(frame: pd.DataFrame) -> str:
    parts_ = []
    for name in in_order(set(frame["predictor"])):
        own = frame[frame["predictor"] == name].sort_values("place")["median_relative_error"]
        parts_.append(f"{shown(name)} {percent(own.iloc[0])} at the smallest, {percent(own.iloc[-1])} at the largest")
    return "; ".join(parts_)


def failures(evidence: Evidence, chosen: Chosen) -> None:
    """Show the groups and the single predictions in which a predictor is furthest off."""
    one = chosen.target
    st.header("Where it still fails", anchor="fails")
    given = {"level": one.level, "metric": one.metric, "predictor": chosen.looked_at}
    name = called(chosen.looked_at)
    if not one.is_chance:
        groups = evidence.frame(FAILING, **given, least=LEAST, most=WORST_SHOWN)
        if groups.empty:
            st.markdown(f"No group has {LEAST} predictions of {one.name} by {name}.")
        else:
            st.markdown(_worst_group({str(key): value for key, value in groups.iloc[0].items()}, name, one))
            groups = groups.loc[:, groups.notna().any()]
            parts.table(groups, f"Groups with the largest errors of {one.name}", _formats(groups))
            parts.downloads(groups, f"failing-{one.metric}-{one.level}")
    rows = evidence.frame(WORST, **given, most=WORST_SHOWN)
    if rows.empty:
        return
    st.subheader(f"The {len(rows):,} furthest off", anchor="worst")
    rows = rows.loc[:, rows.notna().any()]
    linked = rows.copy()
    linked.insert(0, "run", [f"run?run={quote(str(run), safe='')}" for run in rows["run_id"]])
    parts.table(
        linked,
        f"Single predictions of {one.name} that are furthest off",
        _formats(rows)
        | {"run": st.column_config.LinkColumn("run", display_text="open")}
        | {name: st.column_config.TextColumn(width="small") for name in ("run_id", "task_id")}
        | {name: st.column_config.NumberColumn(format="%.1f") for name in ("predicted", "observed", "plan")},
    )
    st.caption(
        "By how far off in the metric's own unit, where being off costs most: a large relative error of a millisecond costs nothing."
    )
    parts.downloads(rows, f"worst-{one.metric}-{one.level}")


def _worst_group(row: dict[str, Any], name: str, one: Target) -> str:
    """Say in which group a predictor is furthest off, and whether to one side."""
    columns = ("workflow", "environment", "function", "memory_mb")
    where = ", ".join(
        f"{column.removesuffix('_mb')} {plain(row[column], 40)}{' MB' if column == 'memory_mb' else ''}"
        for column in columns
        if pd.notna(row[column])
    )
    said = (
        f"{name[0].upper()}{name[1:]} {'are' if name.endswith('s') else 'is'} furthest off in {where}: {percent(row['median_relative_error'])} at the median of "
        f"{count(row['n'], 'prediction')} of {one.name}"
    )
    bias = float(row["predicted_to_observed"])
    return f"{said}, at {figure(bias)} times what happened in the middle." if bias == bias else f"{said}."


def _error(value: float, one: Target) -> str:
    return f"{value:.3f}" if one.is_chance else percent(value)


def _cells(rows: pd.DataFrame) -> pd.DataFrame:
    own = rows.drop(columns=["target", "level", "metric"]).sort_values("error", ignore_index=True)
    return own.assign(predictor=[shown(name) for name in own["predictor"]])


def _formats(frame: pd.DataFrame) -> dict[str, Any]:
    return {
        str(name): st.column_config.NumberColumn(format="percent" if "relative_error" in str(name) else "%.3g")
        for name in frame.columns
        if pd.api.types.is_float_dtype(frame[name])
    }

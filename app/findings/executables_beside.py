"""Executables beside functions as a table and as charts: times, spreads, errors of predictions, failures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from app.charts import intervals
from app.charts.spreads import spreads
from app.findings.finding import Figure
from app.findings.kinds import KINDS, ByKind, by_kind
from app.findings.statistics import MINIMUM_RUNS, Interval, run_share
from app.plain import label, labels
from app.predicted import shown
from app.units import count, percent

MOST_DRAWN = 16
"""Functions that are drawn, those of both kinds and with most runs first."""


def of_functions(frame: pd.DataFrame, value: str) -> pd.DataFrame:
    """Return a row per run, function and kind: works are functions, whatever their inputs (spreads and errors are relative)."""
    found = frame.groupby(["kind", "function", "run_id"])[value].median().reset_index(name="value")
    return found.assign(work=found["function"], stratum=found["function"])


def failed(failures: pd.DataFrame, kind: str) -> tuple[int, int, Interval | None]:
    """Return how many attempts of a kind failed, of how many whose end is told, and the share with its interval over runs."""
    rows = failures[failures["kind"] == kind]
    times = rows["runs"].to_numpy(int)
    lost, told = (np.repeat(rows[name].to_numpy(int), times) for name in ("failed", "told"))
    return int(lost.sum()), int(told.sum()), run_share(lost, told)


def table(
    time: ByKind | None, of_works: pd.DataFrame, of_runs: Interval | None, spread: ByKind | None, errors: Mapping[str, ByKind], failures: pd.DataFrame
) -> pd.DataFrame:  # fmt: skip
    """Return what was compared as rows: figures of both kinds, the ratio and its interval.

    `time`: of `of_works`, what it was computed from; `of_runs`: the ratio of whole runs where there is no other; `failures`:
    what `FAILURES` returns.
    """
    rows = []
    if time:
        rows.append(_row("execution time (ms)", "(all the same work)", time))
        if time.works["executable"] > 1:
            each = ((work, by_kind(part)) for work, part in of_works.groupby("work"))
            rows += [
                _row("execution time (ms)", label(work), found) for work, found in each if found and found.is_same_work
            ]
    elif of_runs:
        rows.append({"what": "execution of runs (ratio)", "work": "(runs alike)", **_ratio(of_runs)})
    if spread:
        rows.append(_row("deviation from the median (share)", _work_of(spread), spread))
    rows += [_row(f"error of {shown(name)} (share)", _work_of(found), found) for name, found in errors.items()]
    row: dict[str, Any] = {"what": "failed attempts (share)", "work": "(all)"}
    for kind in KINDS:
        lost, told, found = failed(failures, kind)
        row |= {kind: lost / told if told else None, f"{kind}_low": found.low if found else None, f"{kind}_high": found.high if found else None}  # fmt: skip
    columns = [
        "what",
        "work",
        *(f"{kind}{end}" for kind in KINDS for end in ("", "_low", "_high", "_runs")),
        "ratio",
        "low",
        "high",
        "decision",
    ]
    return pd.DataFrame([*rows, row], columns=columns)


def _work_of(found: ByKind) -> str:
    return "(all the same work)" if found.is_same_work else "(each kind's own)"


def _row(what: str, work: str, found: ByKind) -> dict[str, Any]:
    row: dict[str, Any] = {"what": what, "work": work}
    for kind, one in found.figures.items():
        has_ends = one.n >= MINIMUM_RUNS
        row |= {kind: one.value, f"{kind}_low": one.low if has_ends else None, f"{kind}_high": one.high if has_ends else None, f"{kind}_runs": found.runs[kind]}  # fmt: skip
    return row | _ratio(found.ratio)


def _ratio(ratio: Interval | None) -> dict[str, Any]:
    if ratio is None:
        return {"decision": "not compared"}
    return {"ratio": ratio.value, "low": ratio.low, "high": ratio.high, "decision": ratio.decision}


def figures(rows: pd.DataFrame, executions: pd.DataFrame) -> tuple[Figure, ...]:
    """Return the ratios of the table as a chart, and how far executions are off those alike."""
    return tuple(one for one in (_ratios(rows), _deviations(executions)) if one)


def _ratios(rows: pd.DataFrame) -> Figure | None:
    drawn = rows[rows["ratio"].notna()].head(MOST_DRAWN)
    if drawn.empty:
        return None
    names = [
        f"{row['what'].rsplit(' (', 1)[0]}{', all' if row['work'].startswith('(') else ', ' + row['work']}"
        for row in drawn.to_dict("records")
    ]
    n = drawn[["executable_runs", "function_runs"]].astype(float).sum(axis=1)
    drawn = drawn.assign(label=list(labels(names, 44)), value=drawn["ratio"].astype(float), n=n)
    drawn = drawn.astype({"low": float, "high": float})
    axis = "Executables / functions (ratio)"
    text = f"{axis}, with 95 % intervals: " + "; ".join(
        f"{row.label} {row.value:.2f} ({row.low:.2f} to {row.high:.2f}), {row.decision}" for row in drawn.itertuples()
    )
    columns = ["label", "value", "low", "high", "decision", "n"]
    return Figure(intervals(drawn[columns], axis), f"{text}.", "executables-beside-functions")


def _deviations(executions: pd.DataFrame) -> Figure | None:
    values = of_functions(executions, "deviation").dropna(subset=["value"])
    if values.empty:
        return None
    groups = values.groupby(["work", "kind"])["value"]
    parts = {
        "low": groups.quantile(0.25),
        "middle": groups.median(),
        "high": groups.quantile(0.75),
        "n": groups.count(),
    }
    rows = pd.DataFrame(parts)
    works = rows.groupby("work")["n"].agg(["count", "sum"])
    most = works.sort_values(["count", "sum"], ascending=False, kind="stable").index.tolist()
    names = {work: name for name, work in labels(most, 40).items()}
    drawn = rows.loc[most[:MOST_DRAWN]].reset_index()
    drawn = drawn.assign(label=drawn["work"].map(names), text=drawn["middle"].map(percent))
    said = "; ".join(
        f"{row['label']} as {row['kind']} {row['text']}, n = {row['n']:,}" for row in drawn.to_dict("records")
    )
    left = f" {count(len(most) - MOST_DRAWN, 'function')} more: not drawn." if len(most) > MOST_DRAWN else ""
    axis = ["Off the median of those alike (%)", "Median of runs; bar: middle half"]
    return Figure(
        spreads(drawn, axis, ("first quartile", "median", "third quartile"), KINDS, is_share=True),
        f"How far executions are off the median of those alike, medians of runs: {said}.{left}",
        "spread-of-executions",
    )

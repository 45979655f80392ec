"""Experiments that were run on purpose: with and without task duplication, a limit of tasks, less memory."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from scipy import stats

from app import charts
from app.findings import phrases
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Figure, Question, Status, not_enough
from app.findings.matching import METRICS, RUNS, Compared, Matched, by_workflow, compare, lost, match, tag_values
from app.findings.statistics import MINIMUM_PAIRS, MINIMUM_RUNS
from app.plain import label, plain
from app.units import count, percent

_MINIMUM = (
    f"{MINIMUM_PAIRS} pairs of runs, or {MINIMUM_RUNS} runs on each side within strata of at least 3 on each side"
)


@dataclass(frozen=True, slots=True)
class Groups:
    """Two groups of runs to compare: the runs, the group of each, which is the reference, and what told them apart."""

    runs: pd.DataFrame
    group: pd.Series[Any]
    reference: Hashable
    other: Hashable
    by: str
    told_by: str


def by_tag(runs: pd.DataFrame, names: Sequence[str], reference: Sequence[str], other: Sequence[str]) -> Groups | None:
    """Return the groups that a tag tells apart: the first of `names` that has a value of either list, None without one."""
    for name in names:
        values = tag_values(runs, name)
        wanted = values.map(lambda value: str(value).strip().lower() if isinstance(value, str) else None)
        side = wanted.map(lambda value: False if value in reference else True if value in other else None)
        if {False, True} <= set(side.dropna()):
            return Groups(runs, side, False, True, name, f"the tag {plain(name)}")
    return None


def table(matched: Matched, metrics: Sequence[str] = tuple(METRICS)) -> tuple[dict[str, Compared], pd.DataFrame]:
    """Return every metric's comparison, and the same as a table with the makespan of each workflow below."""
    found = {metric: compare(matched, metric) for metric in metrics}
    rows = [_row(METRICS[metric], result) for metric, result in found.items() if result.n]
    rows += [
        _row(f"makespan of {label(workflow, 30)}", result)
        for workflow, result in by_workflow(matched, "makespan_ms").items()
        if result.n
    ]
    return found, pd.DataFrame(rows)


def _row(name: str, found: Compared) -> dict[str, object]:
    ratio = found.ratio
    return {
        "label": name,
        "value": ratio.value if ratio else None,
        "low": ratio.low if ratio else None,
        "high": ratio.high if ratio else None,
        "decision": ratio.decision if ratio else "too few",
        "n": found.n,
        "needed": ratio.needed() if ratio else None,
        "reference_median": found.reference,
        "other_median": found.other,
        "incomplete": found.incomplete,
    }


def forest(rows: pd.DataFrame, axis: str, text: str, name: str) -> tuple[Figure, ...]:
    """Return the chart of a table of ratios, none where none is known."""
    if rows.empty or rows["value"].isna().all():
        return ()
    return (Figure(charts.intervals(rows.dropna(subset=["value"]), axis), text, name),)

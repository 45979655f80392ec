"""Compare any groups of runs: what the Experiments page does with the tag or column that somebody chooses."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from app.findings import phrases
from app.findings.experiments import every, losses, table
from app.findings.matching import METRICS, Compared, Matched, match, tag_values
from app.plain import plain
from app.units import count

COLUMNS = ("planner", "sla", "environment", "memory_mb", "workflow")
"""What runs can be grouped by besides their tags."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One group beside the reference: how they were laid beside each other, one metric, and all of them as a table."""

    name: str
    matched: Matched
    chosen: Compared
    sentence: str
    rows: pd.DataFrame


def grouped(runs: pd.DataFrame, by: str, *, is_tag: bool) -> pd.Series[Any]:
    """Return each run's group: its value of the tag or column, None where it has none."""
    if is_tag:
        return tag_values(runs, by)
    return runs[by].astype(object).where(runs[by].notna(), None)


def compare_groups(
    runs: pd.DataFrame, groups: pd.Series[Any], reference: Hashable, others: Sequence[Hashable], by: str, metric: str
) -> list[Comparison]:
    """Compare each other group with the reference, at a level that allows for how many comparisons there are.

    Intervals of k comparisons hold 1 - .05 / k each (Bonferroni), so that all of them hold at once with at least 95 %.
    """
    level = 1 - 0.05 / max(1, len(others))
    found = []
    for other in others:
        matched = match(runs, groups, reference, other, by)
        compared = every(matched, level)
        sentence = _sentence(plain(other, 40), plain(reference, 40), matched, compared[metric], level)
        rows = table(matched, compared, level)
        found.append(Comparison(str(other), matched, compared[metric], sentence, rows))
    return found


def _sentence(other: str, reference: str, matched: Matched, chosen: Compared, level: float) -> str:
    if chosen.ratio is None:
        why = (
            f"only {count(chosen.n, 'pair')} of complete runs"
            if matched.way == "paired"
            else f"only {count(chosen.n, 'complete run')} in strata with runs of both"
        )
        return f"{other} cannot be compared with {reference}: {why}. {losses(matched, level).sentence}."
    decision, needed = chosen.ratio.decision, chosen.ratio.needed(level)
    interval = phrases.times(chosen.ratio, level)
    name = METRICS[chosen.metric]
    unit = "pairs" if matched.way == "paired" else "runs"
    ends = {
        "lower": f"**{name} is lower** with {other}",
        "higher": f"**{name} is higher** with {other}",
        "no difference": f"**no difference** in {name} beyond 5 %",
        "undecided": "**undecided**: "
        + (
            f"about {needed - chosen.n:,} more {unit} would decide"
            if needed
            else "how many more would decide cannot be told"
        ),
    }[decision]
    return (
        f"{name[0].upper()}{name[1:]} of {other} is {interval} that of {reference}: {ends}{phrases.but(matched)}. "
        f"{losses(matched, level).sentence}."
    )

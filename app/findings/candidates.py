"""The comparisons that the report makes, each with its runs laid beside each other: what could be run more of."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from app.findings.alike import lay_beside
from app.findings.comparing import grouped
from app.findings.environments import kind
from app.findings.matching import Matched, match, tag_names, unnamed
from app.findings.slas import impact, percentile
from app.findings.standings import CASE, common, fitted
from app.findings.statistics import MINIMUM_RUNS

MOST_LEVELS = 6
"""A tag with more values is an input of runs (a seed, a scale), not a setting; so many planners and environments are compared."""

OF_RUNS = """
-- The engine of each run: what planners and environments of different engines do is not compared.
select run_id, engine
from selected_runs
order by run_id
"""

_OWN = ("planner", "sla", "environment")
_EQUAL = ("workflow", "structure_hash", "planner")


@dataclass(frozen=True, slots=True)
class Candidate:
    """Two groups of runs beside each other.

    `by`: the tag ('tag ...') or column that tells them apart; `runs`: all runs of either, on the index of `is_other`;
    `level`: of its intervals, wider where the same tag or column makes several comparisons (Bonferroni).
    """

    by: str
    reference: str
    other: str
    runs: pd.DataFrame
    is_other: pd.Series[bool]
    matched: Matched
    level: float

    @property
    def beside(self) -> frozenset[tuple[str, bool]]:
        """Which complete runs stand on which side: two tags that tell the same runs apart are one comparison."""
        blocks = self.matched.blocks[self.matched.blocks["is_complete"].eq(True)]
        return frozenset(zip(blocks["run_id"], blocks["is_other"], strict=True))


def candidates(runs: pd.DataFrame) -> list[Candidate]:
    """Return every comparison: of tags, SLAs, planners, environments, memory. Of those with the same pairs the first is kept.

    Runs that name neither their workflow nor its structure are in none: nothing says that two of them did the same.
    `runs`: the columns of `matching.RUNS`, `slas.ASKED` and `OF_RUNS`.
    """
    runs = runs[~unnamed(runs)]
    if runs.empty:
        return []
    found: list[Candidate] = []
    seen: set[frozenset[tuple[str, bool]]] = set()
    for candidate in (*_tags(runs), *_slas(runs), *_planners(runs), *_environments(runs), *_memory(runs)):
        if candidate.beside not in seen or not candidate.beside:
            found.append(candidate)
            seen |= {candidate.beside, frozenset((run, not side) for run, side in candidate.beside)}
    return found


def _tags(runs: pd.DataFrame) -> Iterator[Candidate]:
    """Set every other value of a tag beside its most frequent one: tags of few values first, which say the least at once.

    Tags that only repeat the planner, SLA or environment are left to those.
    """
    groups = {tag: grouped(runs, tag, is_tag=True) for tag in tag_names(runs)}
    for tag, group in sorted(groups.items(), key=lambda item: (item[1].nunique(), item[0])):
        if 2 <= group.nunique() <= MOST_LEVELS and not any(_repeats(group, runs[column]) for column in _OWN):
            yield from _beside_the_most_frequent(runs, group, tag, f"tag {tag}")


def _repeats(group: pd.Series[Any], column: pd.Series[Any]) -> bool:
    """Return whether each value of a tag goes with one value of the column alone, another one each: the column is compared."""
    known = pd.DataFrame({"group": group, "column": column}).dropna().drop_duplicates()
    return len(known) > 1 and known["group"].is_unique and known["column"].is_unique


def _memory(runs: pd.DataFrame) -> Iterator[Candidate]:
    """Set sizes of memory beside the most frequent one, where no tag says which was set."""
    sizes = runs["memory_mb"].dropna().unique()
    if 2 <= len(sizes) <= MOST_LEVELS and not any("memory" in tag.lower() for tag in tag_names(runs)):
        yield from _beside_the_most_frequent(runs, grouped(runs, "memory_mb", is_tag=False), "memory_mb", "memory_mb")


def _beside_the_most_frequent(runs: pd.DataFrame, group: pd.Series[Any], by: str, name: str) -> Iterator[Candidate]:
    sizes = group.dropna().value_counts()
    levels = sorted((level for level in sizes.index if sizes[level] >= MINIMUM_RUNS), key=lambda x: (-sizes[x], str(x)))
    for other in levels[1:]:
        matched = match(runs, group, levels[0], other, by)
        yield _candidate(name, levels[0], other, runs, group, matched, len(levels) - 1)


def _slas(runs: pd.DataFrame) -> Iterator[Candidate]:
    """Set the highest percentile planned at beside the lowest, as F08 does."""
    found = impact(runs, ())
    if found:
        names = runs["sla_percentile"].map(lambda value: percentile(float(value)), na_action="ignore")
        group = names.where(runs["is_planned"].eq(True)).astype(object)
        low, high = percentile(found.low), percentile(found.high)
        yield _candidate("sla", low, high, runs, group, found.matched, 1)


def _planners(runs: pd.DataFrame) -> Iterator[Candidate]:
    """Set the planners that follow beside the fastest one of the engine with most runs, as F23 does."""
    named = runs[runs["planner"].notna()]
    complete = named[named["is_complete"].eq(True) & named["makespan_ms"].gt(0)]
    engines = complete["engine"].fillna("").value_counts()
    if engines.empty:
        return
    engine = min(engines.index, key=lambda name: (-engines[name], name))
    standings = fitted(complete[complete["engine"].fillna("") == engine], "makespan_ms")
    if standings is None:
        return
    overall = standings.overall(*common(standings))
    order = sorted(overall, key=lambda name: (overall[name], name))
    own = named[named["engine"].fillna("") == engine]
    for other in order[1:MOST_LEVELS]:
        matched = lay_beside(own, own["planner"], order[0], other, "planner", always=CASE)
        yield _candidate("planner", order[0], other, own, own["planner"], matched, len(order) * (len(order) - 1) // 2)


def _environments(runs: pd.DataFrame) -> Iterator[Candidate]:
    """Set environments beside the one of their engine with most runs, or remote beside local where names say so, as F09 does."""
    kinds = runs["environment"].map(kind, na_action="ignore")
    groups = kinds if {"local", "remote"} <= set(kinds.dropna()) else runs["environment"]
    wanted = []
    for _, own in runs.groupby("engine", dropna=False):
        sizes = groups[own.index].dropna().value_counts()
        order = sorted(sizes.index, key=lambda name: (name != "local", -sizes[name], name))
        wanted += [(own, order[0], other) for other in order[1:MOST_LEVELS]]
    for own, reference, other in wanted:
        matched = lay_beside(own, groups[own.index], reference, other, "environment", always=_EQUAL)
        yield _candidate("environment", reference, other, own, groups[own.index], matched, len(wanted))


def _candidate(
    by: str, reference: Hashable, other: Hashable, runs: pd.DataFrame, group: pd.Series[Any], matched: Matched, of: int
) -> Candidate:
    own = group.isin([reference, other])
    return Candidate(by, _written(reference), _written(other), runs[own], group[own] == other, matched, 1 - 0.05 / of)


def _written(level: Hashable) -> str:
    return f"{level:g}" if isinstance(level, float) else str(level)

"""Compare groups of runs like with like: pair them where they can be paired, else within strata.

Runs of two groups make a pair where everything that was recorded of their design is the same: workflow, structure, planner,
SLA, environment, and every tag whose values occur in both groups (a seed, an input scale, another switch of the
experiment). Where too few pair up, or many fall together, runs are compared within workflow, structure, memory and environment,
and what differs besides is said.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app.findings.statistics import (
    MINIMUM_IN_STRATUM,
    MINIMUM_PAIRS,
    Interval,
    paired_ratio,
    stratified_ratio,
)

RUNS = """
-- The runs selected, each with the memory of its tasks, else of its workers, else of its plan (NULL where several sizes
-- occur). A run whose last task failed has no result: it counts as incomplete here.
with sizes as (
    select run_id, 1 as source, memory_mb from tasks
    union all
    select run_id, 2, memory_mb from invocations
    union all
    select run_id, 3, memory_mb from planned_tasks
),

by_source as (
    select run_id, source, min(memory_mb) as smallest, max(memory_mb) as largest
    from sizes
    semi join selected_runs on sizes.run_id = selected_runs.run_id
    where memory_mb is not null
    group by run_id, source
),

of_run as (
    select run_id, arg_min(case when smallest = largest then smallest else -1 end, source) as memory_mb
    from by_source
    group by run_id
)

select
    selected_runs.run_id, workflow, structure_hash, planner, sla, environment, tags, submitted_at,
    is_complete and not coalesce(makespan_ms is null and failed_tasks > 0, false) as is_complete,
    nullif(of_run.memory_mb, -1) as memory_mb, makespan_ms, gb_seconds_derived, cost_usd, startup_ms, execution_ms,
    download_ms, upload_ms, input_wait_ms, workers, input_bytes, failed_tasks, killed_workers
from selected_runs
left join of_run on selected_runs.run_id = of_run.run_id
order by selected_runs.submitted_at, selected_runs.run_id
"""

METRICS = {
    "makespan_ms": "makespan",
    "gb_seconds_derived": "GB-seconds",
    "cost_usd": "cost",
    "startup_ms": "start-up (sum)",
    "execution_ms": "execution (sum)",
    "download_ms": "download (sum)",
    "upload_ms": "upload (sum)",
    "workers": "workers",
}
"""What groups of runs are compared by, and how it is called."""

UNITS = {"gb_seconds_derived": "GB-s", "cost_usd": "USD", "workers": "workers"}
"""The units of those that are not milliseconds."""

_DESIGN = ("workflow", "structure_hash", "planner", "sla", "environment")
_FIXED_BY_TAGS = ("planner", "sla", "environment")
_STRATA = ("workflow", "structure_hash", "environment")
_MOST_TAGS = 40
_KEPT = 0.8
_REASONS = ("structure_hash", "planner", "sla", "environment")
_SAME, _CONFOUNDED = 0.02, 0.1
_PAIRED = 4
"""Runs a block may have on average for blocks to be pairs; larger ones are strata."""


Way = Literal["paired", "stratified"]
Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Matched:
    """Two groups of runs laid beside each other.

    `blocks`: the runs with columns `block` (runs of one block are alike in all of `held_equal`) and `is_other`.
    `free`: what was recorded, differs between the groups, and is not held equal; `confounded`: what of it may well be
    the reason for a difference (structure, planner, SLA, environment, where the groups' shares differ by more than a tenth).
    """

    way: Way
    blocks: pd.DataFrame
    held_equal: tuple[str, ...]
    free: tuple[str, ...]
    unmatched: int
    confounded: tuple[str, ...] = ()

    @property
    def pairs(self) -> int:
        """How many blocks have runs of both groups."""
        return int(self.blocks["block"].nunique())

    def among(self, blocks: pd.DataFrame) -> Matched:
        """Return the same of some of the blocks alone."""
        return replace(self, blocks=blocks, unmatched=0, confounded=())


@dataclass(frozen=True, slots=True)
class Compared:
    """One metric of two groups: the ratio other / reference with its interval (None: too few), and what it rests on."""

    metric: str
    way: Way
    ratio: Interval | None
    n: int
    runs: int
    incomplete: int
    reference: float | None
    other: float | None

    def row(self, name: str) -> dict[str, Any]:
        """Return the comparison as a row of a table, and of `charts.intervals`, under that name."""
        return {
            "label": name,
            "value": self.ratio.value if self.ratio else None,
            "low": self.ratio.low if self.ratio else None,
            "high": self.ratio.high if self.ratio else None,
            "decision": self.ratio.decision if self.ratio else "too few",
            "n": self.n,
        }


def match(runs: pd.DataFrame, groups: pd.Series[Any], reference: Hashable, other: Hashable, by: str = "") -> Matched:
    """Lay the runs of two groups beside each other: complete or not, so that who compares can say what is left out.

    `runs`: the columns of `RUNS`; `groups`: the group of each run, on the same index; `by`: the tag or column the groups
    were made by, which is never held equal. Runs that name neither their workflow nor its structure stay unmatched: nothing
    says that two of them did the same.
    """
    wanted = groups.isin([reference, other])
    both = runs[wanted & ~unnamed(runs)].copy()
    both["is_other"] = groups[both.index] == other
    tags = _tags(both)
    keys = _keys(both, tags, by)
    ids = _ids(keys.values())
    kept = _kept(ids, both["is_other"].to_numpy(bool))
    pairs = len(np.unique(ids[kept]))
    if pairs >= MINIMUM_PAIRS and kept.sum() <= _PAIRED * pairs:
        way: Way = "paired"
        held, blocks = tuple(keys), both.assign(block=ids)[kept]
    else:
        way = "stratified"
        held, blocks = _stratified(both, keys, by)
    recorded = {name: both[name] for name in (*_REASONS, "memory_mb")} | tags
    apart = {
        name: _apart(column[blocks.index], blocks["is_other"])
        for name, column in recorded.items()
        if name not in held and _tag_name(name) != by
    }
    free = tuple(name for name, share in apart.items() if share > _SAME)
    confounded = tuple(name for name in _REASONS if apart.get(name, 0) > _CONFOUNDED)
    return Matched(way, blocks, held, free, int(wanted.sum()) - len(blocks), confounded)


def unnamed(runs: pd.DataFrame) -> pd.Series[bool]:
    """Return which runs name neither their workflow nor its structure."""
    return runs["workflow"].isna() & runs["structure_hash"].isna()


def compare(matched: Matched, metric: str, level: float = 0.95, *, lost_rank_last: bool = False) -> Compared:
    """Return how the other group's metric compares with the reference's, over complete runs.

    With `lost_rank_last` an incomplete run counts as one that never ended, instead of being left out: what survivors
    alone would hide.
    """
    runs = matched.blocks
    complete = runs["is_complete"].eq(True).to_numpy(bool)
    value = runs[metric].astype(float).where(complete, float("inf") if lost_rank_last else float("nan"))
    known = runs.assign(value=value).dropna(subset=["value"])
    sides = [known["value"][known["is_other"] == side] for side in (False, True)]
    if matched.way == "paired":
        pairs = _pairs(known)
        ratio, n = paired_ratio(pairs, level), len(pairs)
    elif lost_rank_last:
        ratio, n = None, len(known)  # a mean of strata has no rank for what never ended
    else:
        ratio, n = stratified_ratio(known.rename(columns={"block": "stratum"}), level), len(known)
    return Compared(
        metric, matched.way, ratio, ratio.n if ratio else n, len(known), int((~complete).sum()), *map(_median, sides)
    )


def by_workflow(matched: Matched, metric: str, level: float = 0.95) -> dict[object, Compared]:
    """Return the same comparison within each workflow."""
    return {
        workflow: compare(matched.among(rows), metric, level)
        for workflow, rows in matched.blocks.groupby("workflow", dropna=False)
    }


def lost(matched: Matched) -> list[tuple[int, int, int, int]]:
    """Return per block: incomplete runs of the reference, all of it, incomplete runs of the other group, all of it."""
    runs = matched.blocks.assign(lost=~matched.blocks["is_complete"].eq(True))
    counts = runs.groupby(["block", "is_other"])["lost"].agg(["sum", "count"]).unstack("is_other", fill_value=0)
    if counts.empty:
        return []
    columns = [counts[kind, side] for side in (False, True) for kind in ("sum", "count")]
    return [tuple(map(int, row)) for row in zip(*columns, strict=True)]  # type: ignore[misc]  # four of them


def tag_values(runs: pd.DataFrame, tag: str) -> pd.Series[Any]:
    """Return each run's value of a tag, None where it has none."""
    return pd.Series([tags.get(tag) for tags in tag_dicts(runs)], index=runs.index, dtype=object)


def tag_dicts(runs: pd.DataFrame) -> list[dict[str, str]]:
    """Return the tags of each run, none where none are known."""
    return [tags if isinstance(tags, dict) else {} for tags in runs["tags"]]


def tag_names(runs: pd.DataFrame) -> list[str]:
    """Return the names of all tags, in order."""
    return sorted({name for tags in tag_dicts(runs) for name in tags})


def _keys(both: pd.DataFrame, tags: Mapping[str, pd.Series[Any]], by: str) -> dict[str, Codes]:
    """Return what pairs of runs must have in common, as the number of each run's value (-1: none).

    A tag is a key if some value of it occurs in both groups. A column that the tags already fix is none (a run that died may
    lack its plan, and its planner with it). A tag that keeps apart mostly pairs of which a run was lost says how runs turned
    out rather than how they were set up, and is none.
    """
    is_other = both["is_other"].to_numpy(bool)
    usable = {
        name: codes
        for name, codes in ((name, _codes(column)) for name, column in tags.items() if _tag_name(name) != by)
        if _shared(codes, is_other)
    }
    keys = {name: _codes(both[name]) for name in _DESIGN if name != by} | usable
    if usable:
        by_tags = _ids([_codes(both["workflow"]), *usable.values()])
        repeats = len(np.unique(by_tags)) < len(by_tags)  # a tag of one run each would fix everything
        for name in _FIXED_BY_TAGS:
            if name in keys and ((repeats and _is_fixed(keys[name], by_tags)) or _is_split(keys[name], is_other)):
                del keys[name]
    for name in usable:
        if _is_outcome(keys, name, is_other, both["is_complete"].eq(True).to_numpy(bool)):
            del keys[name]
    return keys


def _stratified(both: pd.DataFrame, keys: Mapping[str, Codes], by: str) -> tuple[tuple[str, ...], pd.DataFrame]:
    """Return what is held equal and the runs in strata: more than workflow, structure, memory and environment where few are lost by it."""
    is_other = both["is_other"].to_numpy(bool)
    chosen = () if by == "planner" or "memory" in by else ("memory_mb",)  # what a planner or a setting chooses itself
    columns = {name: _codes(both[name]) for name in (*_STRATA, *chosen, "planner", "sla") if name != by} | {
        name: codes for name, codes in keys.items() if name.startswith("tag ")
    }
    held: list[str] = []
    ids, kept = np.zeros(len(both), int), np.ones(len(both), bool)
    for name, codes in columns.items():
        if name != "workflow" and _is_split(codes, is_other):
            continue
        finer = _ids([ids, codes])
        finer_kept = _kept(finer, is_other, MINIMUM_IN_STRATUM)
        if name in _STRATA or finer_kept.sum() >= _KEPT * kept.sum():
            held.append(name)
            ids, kept = finer, finer_kept
    return tuple(held), both.assign(block=ids)[kept]


def _is_outcome(keys: Mapping[str, Codes], name: str, is_other: NDArray[np.bool_], complete: NDArray[np.bool_]) -> bool:
    """Return whether leaving a tag free gains pairs of single runs, most of which lost a run: it says how runs turned out."""
    with_it, without = _ids(keys.values()), _ids(codes for other, codes in keys.items() if other != name)
    kept = _kept(without, is_other)
    sizes = [np.bincount(without[kept & (is_other == side)]) for side in (False, True)]
    gained = kept & ~_kept(with_it, is_other)
    pairs, with_a_loss = np.unique(without[gained]), np.unique(without[gained & ~complete])
    return all(size.max(initial=0) <= 1 for size in sizes) and 0 < len(pairs) <= 2 * len(with_a_loss)


def _kept(ids: Codes, is_other: NDArray[np.bool_], least: int = 1) -> NDArray[np.bool_]:
    """Return which runs are in a block that has at least `least` runs of either group."""
    blocks = int(ids.max(initial=-1)) + 1
    sides = [np.bincount(ids[is_other == side], minlength=blocks) for side in (False, True)]
    return np.asarray((np.minimum(*sides) >= least)[ids], bool)


def _pairs(known: pd.DataFrame) -> pd.DataFrame:
    """Return a pair per block: the medians of its sides where it has several runs."""
    sides = known.groupby(["block", "is_other"])["value"].median().unstack("is_other")
    sides = sides.reindex(columns=[False, True]).dropna()
    stratum = known.groupby("block")["workflow"].first()
    return pd.DataFrame({"stratum": stratum[sides.index], "reference": sides[False], "other": sides[True]})


def _codes(column: pd.Series[Any]) -> Codes:
    """Return the number of each value, -1 where there is none."""
    return np.asarray(pd.factorize(column.astype(object))[0], np.int64)


def _ids(keys: Iterable[Codes]) -> Codes:
    """Return the number of each combination of values, from 0."""
    ids: Codes | None = None
    for codes in keys:
        joined = codes if ids is None else ids * (int(codes.max(initial=-1)) + 2) + codes + 1
        ids = np.unique(joined, return_inverse=True)[1]
    return np.zeros(0, np.int64) if ids is None else ids


def _is_fixed(codes: Codes, groups: Codes) -> bool:
    """Return whether every group has at most one value, and some value is known."""
    known = codes >= 0
    pairs = _ids([groups[known], codes[known]])
    return bool(known.any()) and len(np.unique(pairs)) == len(np.unique(groups[known]))


def _shared(codes: Codes, is_other: NDArray[np.bool_]) -> bool:
    return bool(np.intersect1d(codes[is_other & (codes >= 0)], codes[~is_other & (codes >= 0)]).size)


def _is_split(codes: Codes, is_other: NDArray[np.bool_]) -> bool:
    """Return whether the groups have no value in common: it cannot be held equal."""
    return bool((codes >= 0).any()) and not _shared(codes, is_other)


def _apart(column: pd.Series[Any], is_other: pd.Series[bool]) -> float:
    """Return by how much the share of some value differs between the groups, among the runs whose value is known."""
    codes = _codes(column)
    sides = [
        np.bincount(codes[(is_other == side) & (codes >= 0)], minlength=codes.max(initial=0) + 1)
        for side in (False, True)
    ]
    if not all(side.sum() for side in sides):
        return float(any(side.sum() for side in sides))
    return float(np.abs(sides[0] / sides[0].sum() - sides[1] / sides[1].sum()).max())


def _tags(runs: pd.DataFrame) -> dict[str, pd.Series[Any]]:
    return {f"tag {name}": tag_values(runs, name) for name in tag_names(runs)[:_MOST_TAGS]}


def _tag_name(name: str) -> str:
    return name.removeprefix("tag ")


def _median(values: pd.Series[float]) -> float | None:
    return float(values.median()) if len(values) else None

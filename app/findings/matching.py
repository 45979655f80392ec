"""Compare groups of runs like with like: pair them where they can be paired, else within strata.

Runs of two groups make a pair where everything that was recorded of their design is the same: workflow, structure, planner,
SLA, environment, and every tag whose values occur in both groups (a seed, an input scale, another switch of the
experiment). Where too few pair up, or many fall together, runs are compared within workflow, memory and environment instead,
and what differs besides is said.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from app.findings.statistics import (
    MINIMUM_IN_STRATUM,
    MINIMUM_PAIRS,
    Interval,
    paired_ratio,
    stratified_ratio,
)

RUNS = """
-- The runs selected, each with the memory of its tasks (NULL where they had several sizes).
with sizes as (
    select run_id, case when min(memory_mb) = max(memory_mb) then min(memory_mb) end as memory_mb
    from tasks
    group by run_id
)
select
    selected_runs.run_id, workflow, structure_hash, planner, sla, environment, tags, submitted_at, is_complete,
    sizes.memory_mb, makespan_ms, gb_seconds_derived, cost_usd, startup_ms, execution_ms, download_ms, upload_ms,
    input_wait_ms, workers, input_bytes, failed_tasks, killed_workers
from selected_runs
left join sizes on selected_runs.run_id = sizes.run_id
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

_DESIGN = ("workflow", "structure_hash", "planner", "sla", "environment")
_FIXED_BY_TAGS = ("planner", "sla", "environment")
_STRATA = ("workflow", "memory_mb", "environment")
_MOST_TAGS = 40
_KEPT = 0.8

Way = Literal["paired", "stratified"]


@dataclass(frozen=True, slots=True)
class Matched:
    """Two groups of runs laid beside each other.

    `blocks`: the runs with columns `block` (runs of one block are alike in all of `held_equal`) and `is_other`.
    `free`: what was recorded, differs between the groups, and is not held equal.
    """

    way: Way
    blocks: pd.DataFrame
    held_equal: tuple[str, ...]
    free: tuple[str, ...]
    unmatched: int

    @property
    def pairs(self) -> int:
        """How many blocks have runs of both groups."""
        return int(self.blocks["block"].nunique())


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


def match(runs: pd.DataFrame, groups: pd.Series[Any], reference: Hashable, other: Hashable, by: str = "") -> Matched:
    """Lay the runs of two groups beside each other: complete or not, so that who compares can say what is left out.

    `runs`: the columns of `RUNS`; `groups`: the group of each run, on the same index; `by`: the tag or column the groups
    were made by, which is never held equal.
    """
    both = runs[groups.isin([reference, other])].copy()
    both["is_other"] = groups[both.index] == other
    keys = _keys(both, by)
    paired = _blocks(both, keys)
    if paired["block"].nunique() >= MINIMUM_PAIRS and len(paired) < 2 * MINIMUM_IN_STRATUM * paired["block"].nunique():
        way: Way = "paired"
        held = tuple(keys.columns)
        blocks = paired
    else:
        way = "stratified"
        held, blocks = _stratified(both, keys, by)
    free = tuple(
        name for name in ("planner", "sla", "environment", "memory_mb", *_tags(both))
        if name not in held and name != by and _tag_name(name) != by and _differs(blocks, both, name)
    )  # fmt: skip
    return Matched(way, blocks, held, free, len(both) - len(blocks))


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
    else:
        ratio = stratified_ratio(known.rename(columns={"block": "stratum"}), level)
        n = len(known)
    return Compared(
        metric, matched.way, ratio, n, len(known), int((~complete).sum()), *(_median(side) for side in sides)
    )


def by_workflow(matched: Matched, metric: str, level: float = 0.95) -> dict[object, Compared]:
    """Return the same comparison within each workflow."""
    found: dict[object, Compared] = {}
    for workflow, rows in matched.blocks.groupby("workflow", dropna=False):
        part = Matched(matched.way, rows, matched.held_equal, matched.free, 0)
        found[workflow] = compare(part, metric, level)
    return found


def lost(matched: Matched) -> tuple[tuple[int, int], tuple[int, int], int, int]:
    """Return (incomplete, runs) of the reference and of the other group, and of the pairs that lost one side: which side."""
    runs = matched.blocks.assign(lost=~matched.blocks["is_complete"].eq(True))
    sides = [runs["lost"][runs["is_other"] == side] for side in (False, True)]
    each = runs.groupby(["block", "is_other"])["lost"].any().unstack("is_other")
    reference_only = int((each[False] & ~each[True]).sum()) if not each.empty else 0
    other_only = int((each[True] & ~each[False]).sum()) if not each.empty else 0
    return (
        (int(sides[0].sum()), len(sides[0])),
        (int(sides[1].sum()), len(sides[1])),
        reference_only,
        other_only,
    )


def tag_values(runs: pd.DataFrame, tag: str) -> pd.Series[Any]:
    """Return each run's value of a tag, None where it has none."""
    return pd.Series([tags.get(tag) for tags in _dicts(runs["tags"])], index=runs.index, dtype=object)


def _keys(both: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return what pairs of runs must have in common, one column each.

    A tag is a key if some value of it occurs in both groups. A column that the tags already fix is none (a run that died may
    lack its plan, and its planner with it). A tag that is left free without bringing two runs of a group together,
    and without most pairs falling apart, says how runs turned out rather than how they were set up, and is none.
    """
    tags = {
        name: column
        for name, column in _tags(both).items()
        if _tag_name(name) != by and _shared(column, both["is_other"])
    }
    keys = pd.DataFrame({**{name: both[name] for name in _DESIGN if name != by}, **tags})
    by_tags = keys[["workflow", *tags]] if tags else keys[[]]
    for name in _FIXED_BY_TAGS:
        if name not in keys or not tags:
            continue
        known = keys[name].notna()
        groups = _ids(by_tags)
        fixed = known.any() and keys[name][known].groupby(groups[known]).nunique().max() <= 1 and _repeats(groups)
        if fixed or _is_split(keys[name], both["is_other"]):
            keys = keys.drop(columns=name)
    for name in tags:
        if _is_outcome(both, keys, name):
            keys = keys.drop(columns=name)
    return keys


def _stratified(both: pd.DataFrame, keys: pd.DataFrame, by: str) -> tuple[tuple[str, ...], pd.DataFrame]:
    """Return what is held equal and the runs in strata: more than workflow, memory and environment where few are lost by it."""
    columns = {name: both[name] for name in (*_STRATA, "planner", "sla") if name != by} | {
        str(name): keys[name] for name in keys if str(name).startswith("tag ")
    }
    held: list[str] = []
    blocks = both.assign(block=0)
    for name, column in columns.items():
        if name != "workflow" and _is_split(column, both["is_other"]):
            continue
        finer = _blocks(
            both, pd.DataFrame({**{known: columns[known] for known in held}, name: column}), MINIMUM_IN_STRATUM
        )
        if name in _STRATA or len(finer) >= _KEPT * len(blocks):
            held.append(name)
            blocks = finer
    return tuple(held), blocks


def _is_outcome(both: pd.DataFrame, keys: pd.DataFrame, name: str) -> bool:
    with_it, without = _blocks(both, keys), _blocks(both, keys.drop(columns=name))
    if without["block"].nunique() <= with_it["block"].nunique():
        return False
    sizes = without.groupby(["block", "is_other"]).size()
    return bool((sizes == 1).all()) and with_it["block"].nunique() * 2 >= without["block"].nunique()


def _blocks(both: pd.DataFrame, keys: pd.DataFrame, least: int = 1) -> pd.DataFrame:
    """Return the runs whose block has at least `least` runs of either group, with the block's number."""
    block = _ids(keys)
    sizes = pd.crosstab(block, both["is_other"]).reindex(columns=[False, True], fill_value=0)
    kept = sizes.index[(sizes >= least).all(axis=1)]
    return both.assign(block=block)[block.isin(kept)]


def _pairs(known: pd.DataFrame) -> pd.DataFrame:
    """Return a pair per block: the medians of its sides where it has several runs."""
    sides = known.groupby(["block", "is_other"])["value"].median().unstack("is_other")
    sides = sides.reindex(columns=[False, True]).dropna()
    stratum = known.groupby("block")["workflow"].first()
    return pd.DataFrame({"stratum": stratum[sides.index], "reference": sides[False], "other": sides[True]})


def _ids(keys: pd.DataFrame) -> pd.Series[int]:
    if keys.columns.empty:
        return pd.Series(0, index=keys.index)
    return keys.astype(object).groupby(list(keys.columns), dropna=False, sort=False).ngroup()


def _repeats(groups: pd.Series[int]) -> bool:
    """Return whether groups have more than one run anywhere: a tag of one run each would fix everything."""
    return bool(groups.duplicated().any())


def _shared(column: pd.Series[Any], is_other: pd.Series[bool]) -> bool:
    return bool(set(column[is_other].dropna()) & set(column[~is_other].dropna()))


def _is_split(column: pd.Series[Any], is_other: pd.Series[bool]) -> bool:
    """Return whether the groups have no value in common: it cannot be held equal."""
    return bool(column.notna().any()) and not _shared(column, is_other)


def _differs(blocks: pd.DataFrame, both: pd.DataFrame, name: str) -> bool:
    """Return whether the values of the two groups differ in distribution, among the runs compared."""
    column = both[name] if name in both else _tags(both)[name]
    compared = column[blocks.index].astype(object)
    counts = pd.crosstab(compared.fillna("(none)").astype(str), blocks["is_other"], normalize="columns")
    return len(counts.columns) == 2 and bool((counts[True] - counts[False]).abs().max() > 0.02)


def _tags(runs: pd.DataFrame) -> dict[str, pd.Series[Any]]:
    dicts = _dicts(runs["tags"])
    names = sorted({name for tags in dicts for name in tags})[:_MOST_TAGS]
    return {
        f"tag {name}": pd.Series([tags.get(name) for tags in dicts], index=runs.index, dtype=object) for name in names
    }


def _tag_name(name: str) -> str:
    return name.removeprefix("tag ")


def _dicts(tags: Iterable[object]) -> Sequence[Mapping[str, str]]:
    return [found if isinstance(found, dict) else {} for found in tags]


def _median(values: pd.Series[float]) -> float | None:
    return float(values.median()) if len(values) else None

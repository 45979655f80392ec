"""How far each optimisation gets: eligible, assigned, applied, effective; per planner, and by the tags that tell it apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import pandas as pd

from app.findings.statistics import MINIMUM_RUNS, Interval, run_share, share
from app.plain import label
from app.units import percent

PER_RUN = """
-- What each optimisation could have acted on and what became of it: one row per selected run and optimisation.
-- told: assigned ones of which it is known whether they were applied. is_configured: whether the planner (of that
-- engine and version) assigned or applied any optimisation at all in the selection.
with counted as (
    select
        selected_runs.run_id,
        selected_runs.engine,
        runs.engine_version,
        selected_runs.planner,
        optimization,
        count(eligible) as decidable,
        count(*) filter (where eligible) as eligible,
        count(*) filter (where assigned) as assigned,
        count(*) filter (where assigned and eligible) as assigned_eligible,
        count(*) filter (where assigned and applied is not null) as told,
        count(*) filter (where assigned and applied) as applied,
        count(*) filter (where applied and not assigned) as applied_besides,
        count(*) filter (where effective) as effective,
        count(*) filter (where effective is not null and (applied or (assigned and applied is null))) as effective_told,
        count(*) filter (where effective is null and (applied or (assigned and applied is null))) as effective_not_known,
        sum(saved_ms)::double as saved_ms
    from selected_runs
    inner join runs on selected_runs.run_id = runs.run_id
    inner join optimization_opportunities on selected_runs.run_id = optimization_opportunities.run_id
    group by selected_runs.run_id, selected_runs.engine, runs.engine_version, selected_runs.planner, optimization
)

select *, max(assigned + applied_besides) over (partition by engine, engine_version, planner) > 0 as is_configured
from counted
order by optimization, engine, engine_version, planner, run_id
"""

RECORD = """
-- How many of the selected runs have a plan and of how many tasks, and how many records there are of any optimisation.
with planned as (
    select selected_runs.run_id, count(*) as tasks
    from selected_runs
    inner join planned_tasks on selected_runs.run_id = planned_tasks.run_id
    group by selected_runs.run_id
)

select
    (select count(*) from selected_runs) as runs,
    (select count(*) from planned) as planned_runs,
    (select coalesce(sum(tasks), 0)::bigint from planned) as planned_tasks,
    (select count(*) from optimizations where run_id in (select run_id from selected_runs)) as records
"""

TAGS = """
-- The tags of the selected runs, of those tags that have at most $values values: more would name runs, not groups of them.
select selected_runs.run_id, tag, value
from selected_runs
inner join run_tags on selected_runs.run_id = run_tags.run_id
where tag in (
    select tag
    from run_tags
    where run_id in (select run_id from selected_runs)
    group by tag
    having count(distinct value) between 2 and $values
)
order by tag, value, selected_runs.run_id
"""

MOST_VALUES = 12
"""A tag with more values than this names runs rather than groups of them."""

MOST_GROUPS = 8
"""A chart draws the largest groups, as many as this."""

NAMES = {"preload": "pre-load", "prewarm": "pre-warm", "taskdup": "task duplication", "wukong": "WUKONG's own"}
_HALF, _LITTLE = 0.5, 0.25

Verdict = Literal["nothing", "never assigned", "not told", "runs", "does not run", "half", "undecided"]


@dataclass(frozen=True, slots=True)
class Funnel:
    """The counts of one optimisation in a group of runs. `decidable`, `told` and `effective_told` are those
    with an answer at all: whether eligible, whether applied, whether effective. `runs_concerned`: those with any
    eligible, assigned or applied; `runs_unused`: those with eligible ones that assign none.
    """

    runs_concerned: int
    runs_eligible: int
    runs_unused: int
    runs_assigned: int
    runs_applied: int
    decidable: int
    eligible: int
    assigned: int
    assigned_eligible: int
    told: int
    applied: int
    applied_besides: int
    effective: int
    effective_told: int
    effective_not_known: int
    saved_ms: float | None = None
    assigned_share: Interval | None = None
    applied_share: Interval | None = None

    @property
    def not_known(self) -> int:
        """How many assigned ones nobody knows of whether they were applied."""
        return self.assigned - self.told

    @property
    def verdict(self) -> Verdict:
        """What the counts and the interval of applied / assigned allow to say."""
        if not self.assigned:
            return "never assigned" if self.eligible and not self.applied_besides else "nothing"
        if not self.told:
            return "not told"
        found = self.applied_share
        if found is None:
            return "undecided"
        if found.low > _HALF:
            return "runs"
        if found.high < _HALF:
            return "does not run"
        return "half" if found.low > _LITTLE and found.high < 1 - _LITTLE else "undecided"


def of_runs(rows: pd.DataFrame) -> Funnel:
    """Return the funnel of one optimisation over runs (rows of `PER_RUN`), with intervals that resample by run."""
    saved = rows["saved_ms"].dropna()
    return Funnel(
        runs_concerned=int((rows[["eligible", "assigned", "applied_besides"]].sum(axis=1) > 0).sum()),
        runs_eligible=int((rows["eligible"] > 0).sum()),
        runs_unused=int(((rows["eligible"] > 0) & (rows["assigned"] == 0)).sum()),
        runs_assigned=int((rows["assigned"] > 0).sum()),
        runs_applied=int((rows["applied"] + rows["applied_besides"] > 0).sum()),
        saved_ms=float(saved.sum()) if len(saved) else None,
        assigned_share=run_share(rows["assigned_eligible"], rows["eligible"]),
        applied_share=run_share(rows["applied"], rows["told"]),
        **{name: int(rows[name].sum()) for name in SUMMED},
    )


def by_planner(per_run: pd.DataFrame, optimization: str) -> dict[str, Funnel]:
    """Return the funnel of each planner, named with its engine and version where these differ; the largest first."""
    rows = per_run[per_run["optimization"] == optimization]
    keys = ["planner", *(name for name in ("engine", "engine_version") if per_run[name].nunique(dropna=False) > 1)]
    found: dict[str, Funnel] = {}
    for values, group in rows.astype(dict.fromkeys(keys, object)).groupby(keys, dropna=False, sort=False):
        name = base = " · ".join(
            f"{key.replace('_', ' ')} not known" if value is None or value != value else label(value, 40)
            for key, value in zip(keys, values, strict=True)
        )
        number = 2
        while name in found:
            name, number = f"{base} ({number})", number + 1
        found[name] = of_runs(group)
    return dict(sorted(found.items(), key=lambda item: (-item[1].eligible, -item[1].assigned)))


def table(funnels: Iterable[tuple[str, str, Funnel]]) -> pd.DataFrame:
    """Return funnels as a table: optimisation, group, funnel; shares in per cent, empty where they are not known."""
    return pd.DataFrame(
        [
            {
                "optimisation": NAMES.get(name, label(name, 30)),
                "acts on": "workers" if name == "prewarm" else "tasks",
                "runs of": group,
                "runs with any eligible": found.runs_eligible if found.decidable else None,
                "runs that assign it": found.runs_assigned,
                "eligible": found.eligible if found.decidable else None,
                "assigned": found.assigned,
                "assigned besides the eligible": found.assigned - found.assigned_eligible if found.decidable else None,
                "eligible ones assigned (%)": _percent(found.assigned_eligible, found.eligible),
                **_ends("eligible ones assigned", found.assigned_share),
                "applied": found.applied + found.applied_besides if found.told or not found.assigned else None,
                "not known if applied": found.not_known,
                "assigned ones applied (%)": _percent(found.applied, found.told),
                **_ends("assigned ones applied", found.applied_share),
                "effective": found.effective if found.effective_told or not found.effective_not_known else None,
                "not known if effective": found.effective_not_known,
                "effective of those known (%)": _percent(found.effective, found.effective_told),
                "saved, estimate (ms)": None if found.saved_ms is None else round(found.saved_ms, 1),
            }
            for name, group, found in funnels
        ]
    )


def drawn(funnels: Sequence[tuple[str, Funnel]]) -> pd.DataFrame:
    """Return the frame `charts.counts.funnel` draws, of the first `MOST_GROUPS` groups."""
    rows: list[dict[str, Any]] = []
    for name, found in funnels[:MOST_GROUPS]:
        known = found.decidable > 0
        assigned = found.assigned_eligible if known else found.assigned
        besides = found.assigned - assigned
        steps = [
            ("eligible", found.eligible, 0, 0, f"{found.eligible:,}" if known else "not known"),
            ("assigned", assigned, besides, 0, _text(assigned, found.eligible, besides, "others")),
            ("applied", found.applied, found.applied_besides, found.not_known,
             _text(found.applied, found.told, found.not_known, "not known", found.applied_besides)),
            ("effective", found.effective, 0, found.effective_not_known,
             _text(found.effective, found.effective_told, found.effective_not_known, "not known")),
        ]  # fmt: skip
        if not found.assigned and not found.applied_besides:
            steps[1:] = [("assigned", 0, 0, 0, "none")]  # and nothing follows
        rows += [
            dict(zip(("group", "step", "n", "besides", "not_known", "text"), (name, *step), strict=True))
            for step in steps
        ]
    return pd.DataFrame(rows, columns=["group", "step", "n", "besides", "not_known", "text"])


def described(frame: pd.DataFrame) -> str:
    """Say in words what the chart of such a frame shows."""
    return "Percentages are of the step before, of those known. " + " ".join(
        f"{label(group, 44)}: {'; '.join(f'{row.step} {row.text}' for row in steps.itertuples())}."
        for group, steps in frame.groupby("group", sort=False)
    )


def telling_tag(
    tags: pd.DataFrame, rows: pd.DataFrame, whole: str, part: str
) -> tuple[str, dict[str | None, pd.DataFrame]] | None:
    """Return the tag whose values tell best where `part` happens at all, with the runs of each value; None without one.

    `tags`: rows of `TAGS`; `rows`: runs of one optimisation. Of the runs with any `whole`, those of some values must have
    no `part` at all, and of those of the others more than half must have some (Wilson's interval), with at least
    `MINIMUM_RUNS` runs on both sides. The purest tag wins, then the one with fewest values. None is a value: without it.
    """
    known = rows[rows[whole] > 0]
    best: tuple[str, dict[str | None, pd.DataFrame]] | None = None
    best_rank = (0.0, 0)
    for tag, named in tags.groupby("tag", sort=True):
        values = known["run_id"].map(named.drop_duplicates("run_id").set_index("run_id")["value"])
        values = values.astype(object).where(values.notna(), None)
        split = {value: known[values.isna() if value is None else values == value] for value in values.unique()}
        never = [group for group in split.values() if not (group[part] > 0).any()]
        others = [group for group in split.values() if (group[part] > 0).any()]
        happened, of = sum(int((group[part] > 0).sum()) for group in others), sum(map(len, others))
        found = share(happened, of)
        if found is None or found.low <= _HALF or min(of, sum(map(len, never))) < MINIMUM_RUNS:
            continue
        rank = (found.value, -len(split))
        if best is None or rank > best_rank:
            best, best_rank = (str(tag), split), rank
    return best


def _text(n: int, of: int, more: int, called: str, others: int = 0) -> str:
    parts = [f"{n:,} · {percent(n / of)}" if of else f"{n:,}" if n or not (more or others) else ""]
    parts += [f"{others:,} others"] if others else []
    parts += [f"{more:,} {called}"] if more else []
    return " + ".join(part for part in parts if part)


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None


def _ends(name: str, found: Interval | None) -> dict[str, float | None]:
    return {
        f"{name}, 95 % from": None if found is None else round(100 * found.low, 1),
        f"{name}, 95 % to": None if found is None else round(100 * found.high, 1),
    }


SUMMED = tuple(
    name for name in (field.name for field in fields(Funnel))
    if not name.startswith("runs_") and name not in ("saved_ms", "assigned_share", "applied_share")
)  # fmt: skip

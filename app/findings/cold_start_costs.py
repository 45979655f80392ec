"""What cold starts cost in time and money, and what pre-warming saves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from app.findings import phrases
from app.findings.evidence import Evidence
from app.findings.experiments import by_tag
from app.findings.matching import RUNS, compare
from app.findings.statistics import MINIMUM_RUNS, Interval, run_share, stratified_ratio
from app.plain import plain
from app.units import count, duration, figure

LEAST_STARTS = 6
"""Starts of either state that a group needs before cold is compared with warm in it."""

GROUP = ["engine", "environment", "memory_mb"]

PREWARM_TAGS = ("prewarm", "pre_warm", "prewarming", "prewarm_fixed", "prewarm_works")
WITHOUT, WITH = ("off", "false", "no", "0", "none", "broken"), ("on", "true", "yes", "1", "fixed")

BY_GROUP = """
-- Starts by engine, environment and memory: quartiles of start-up, cold and warm, and what cold starts took beyond what warm
-- ones take there on average (extra_ms: what cold starts would have spared, had they taken that; less than 0 where warm ones
-- take longer). extra_on_path_ms: the part of it that was waited for on the observed critical path of a run that reached
-- its sink: at most the wait itself. Groups with fewer than $least cold or warm starts have no extra. The price is the
-- latest of the environment, else of 'default'.
with starts as (
    select
        cold_starts.invocation_id, cold_starts.engine, cold_starts.environment, cold_starts.memory_mb,
        cold_starts.state, cold_starts.startup_ms
    from cold_starts
    inner join selected_runs on cold_starts.run_id = selected_runs.run_id
    where cold_starts.startup_ms is not null and cold_starts.state in ('cold', 'warm')
),

levels as (
    select
        engine,
        environment,
        memory_mb,
        quantile_cont(startup_ms, [0.25, 0.5, 0.75]) filter (where state = 'cold') as cold,
        quantile_cont(startup_ms, [0.25, 0.5, 0.75]) filter (where state = 'warm') as warm,
        count(*) filter (where state = 'cold') as timed_cold,
        count(*) filter (where state = 'warm') as timed_warm,
        case
            when count(*) filter (where state = 'cold') >= $least and count(*) filter (where state = 'warm') >= $least
                then avg(startup_ms) filter (where state = 'warm')
        end as warm_mean_ms
    from starts
    group by engine, environment, memory_mb
),

waits as (
    select invocation_tasks.invocation_id, sum(critical_path.startup_ms) as waited_ms
    from critical_path
    inner join selected_runs on critical_path.run_id = selected_runs.run_id
    inner join invocation_tasks
        on critical_path.run_id = invocation_tasks.run_id and critical_path.task_id = invocation_tasks.task_id
        and invocation_tasks.is_last_attempt
    where critical_path.path = 'observed' and critical_path.reaches_sink and critical_path.startup_ms > 0
    group by invocation_tasks.invocation_id
),

extras as (
    select
        levels.engine,
        levels.environment,
        levels.memory_mb,
        sum(startup_ms - warm_mean_ms) as extra_ms,
        sum(least(waited_ms, startup_ms - warm_mean_ms)) filter (where waited_ms is not null) as extra_on_path_ms
    from starts
    inner join levels
        on starts.engine is not distinct from levels.engine
        and starts.environment is not distinct from levels.environment
        and starts.memory_mb is not distinct from levels.memory_mb
    left join waits on starts.invocation_id = waits.invocation_id
    where state = 'cold' and warm_mean_ms is not null
    group by levels.engine, levels.environment, levels.memory_mb
),

latest_prices as (
    select environment, gb_second_usd, source, as_of
    from (
        select
            environment, gb_second_usd, source, as_of,
            row_number() over (
                partition by environment order by as_of desc nulls last, file_id desc nulls last
            ) as place
        from prices
        where gb_second_usd is not null
    ) as ranked
    where place = 1
)

select
    levels.engine,
    levels.environment,
    levels.memory_mb,
    timed_cold,
    timed_warm,
    cold[1] as cold_low_ms,
    cold[2] as cold_ms,
    cold[3] as cold_high_ms,
    warm[1] as warm_low_ms,
    warm[2] as warm_ms,
    warm[3] as warm_high_ms,
    extra_ms,
    extra_on_path_ms,
    extra_ms / 1000 * levels.memory_mb / 1024 as extra_gb_seconds,
    extra_ms / 1000 * levels.memory_mb / 1024 * coalesce(here.gb_second_usd, everywhere.gb_second_usd) as extra_usd,
    case when here.environment is not null then here.source else everywhere.source end as price_source,
    case when here.environment is not null then here.as_of else everywhere.as_of end as price_as_of
from levels
left join extras
    on levels.engine is not distinct from extras.engine
    and levels.environment is not distinct from extras.environment
    and levels.memory_mb is not distinct from extras.memory_mb
left join latest_prices as here on levels.environment = here.environment
left join latest_prices as everywhere on everywhere.environment = 'default'
order by levels.engine, levels.environment, levels.memory_mb
"""

PREWARMS = """
-- What became of the pre-warms: assigned; told, those of them known to have been applied or not; applied, and without having
-- been assigned (applied_besides); judged, applied ones whose effect is known; effective, and what these may have saved.
select
    count(*) filter (where opportunities.assigned) as assigned,
    count(*) filter (where opportunities.assigned and opportunities.applied is not null) as told,
    count(*) filter (where opportunities.assigned and opportunities.applied) as applied,
    count(*) filter (where opportunities.applied and not opportunities.assigned) as applied_besides,
    count(*) filter (where opportunities.applied and opportunities.effective is not null) as judged,
    count(*) filter (where opportunities.applied and opportunities.effective) as effective,
    count(saved_ms) as estimated,
    coalesce(sum(saved_ms), 0)::double as saved_ms
from optimization_opportunities as opportunities
inner join selected_runs on opportunities.run_id = selected_runs.run_id
where opportunities.optimization = 'prewarm'
"""

ASSIGNED = """
-- The runs in which a pre-warm was assigned: in the others none could act.
select distinct selected_runs.run_id
from selected_runs
inner join optimizations on selected_runs.run_id = optimizations.run_id
where optimizations.optimization = 'prewarm' and optimizations.stage = 'assigned'
order by selected_runs.run_id
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What cold starts took beyond warm ones, over the groups where both can be compared; None where it is not known."""

    slower: Interval | None
    difference_ms: float | None
    compared: int
    extra_ms: float
    on_path_ms: float | None
    gb_seconds: float | None
    without_memory: int
    priced_gb_seconds: float | None
    usd: float | None
    prices: tuple[str, ...]
    warm_is_free: bool = False
    """Whether warm starts take no time at all, as where only an initialisation is recorded, and cold ones do: no ratio says more."""

    @property
    def adds_up(self) -> bool:
        """Whether cold starts take longer in the median and on average: else a total would contradict the median."""
        return self.difference_ms is not None and self.difference_ms > 0 and self.extra_ms > 0


def cold_share(runs: pd.DataFrame) -> Interval | None:
    """Return the share of cold among decided starts, resampled by run. `runs`: run_id, cold, warm."""
    sums = runs.groupby("run_id")[["cold", "warm"]].sum()
    return run_share(sums["cold"], sums.sum(axis=1))


def cost(runs: pd.DataFrame, groups: pd.DataFrame) -> Cost:
    """Add up what cold starts cost. `runs`: what `BY_RUN` returns; `groups`: what `BY_GROUP` returns.

    Slower is the ratio of run medians within groups; the difference is that of the groups' medians, weighted by their cold starts.
    """
    compared = groups.dropna(subset=["extra_ms"])
    weights = compared["timed_cold"].astype(float)
    apart = compared["cold_ms"].astype(float) - compared["warm_ms"].astype(float)
    sides = pd.concat(
        [
            runs[GROUP].assign(is_other=state == "cold", value=runs[f"{state}_ms"].astype(float))
            for state in ("warm", "cold")
        ]
    ).dropna(subset=["value"])
    sides["stratum"] = sides.groupby(GROUP, dropna=False).ngroup()
    priced = compared.dropna(subset=["extra_usd"])
    return Cost(
        stratified_ratio(sides) if len(sides) else None,
        float((apart * weights).sum() / weights.sum()) if weights.sum() else None,
        int(weights.sum()),
        float(compared["extra_ms"].sum()),
        _sum(compared["extra_on_path_ms"]),
        _sum(compared["extra_gb_seconds"]),
        int(weights[compared["extra_gb_seconds"].isna()].sum()),
        _sum(priced["extra_gb_seconds"]),
        _sum(priced["extra_usd"]),
        tuple(sorted({_price(row) for row in priced.to_dict("records")})),
        len(compared) > 0 and bool((compared["warm_high_ms"].eq(0) & compared["cold_low_ms"].gt(0)).all()),
    )


def _sum(values: pd.Series[float]) -> float | None:
    known = values.dropna().astype(float)
    return float(known.sum()) if len(known) else None


def said(costs: Cost, groups: pd.DataFrame) -> str:
    """Say what cold starts cost, to follow what says how many there are. `groups`: what `BY_GROUP` returns."""
    if not costs.compared or costs.difference_ms is None:
        timed = {state: int(groups[f"timed_{state}"].sum()) if len(groups) else 0 for state in ("cold", "warm")}
        none = " or ".join(state for state, number in timed.items() if not number)
        why = f"how long a {none} start took is not recorded" if none else "too few warm starts are beside them"
        return f"; what they cost cannot be told, for {why}"
    if costs.warm_is_free and costs.adds_up:
        took = f"a cold one took {duration(costs.difference_ms)} in the median and a warm one nothing that is recorded"
        return f"; {took}, {duration(costs.extra_ms)} of worker time in all{_spent(costs)}"
    decision = costs.slower.decision if costs.slower else "undecided"
    if decision != "higher":
        undecided = {"lower": "they were faster than warm ones", "no difference": "they took as long as warm ones"}
        return f"; {undecided.get(decision, 'whether they take longer than warm ones is not decided')}"
    if costs.difference_ms <= 0:
        return "; run by run a cold one took longer than a warm one, over all starts it did not, so no cost is told"
    longer = f"; a cold one took {duration(costs.difference_ms)} longer than a warm one in the median"
    if not costs.adds_up:
        return f"{longer} but less long on average, so no total is told"
    return f"{longer}, {duration(costs.extra_ms)} of worker time in all{_spent(costs)}"


def _spent(costs: Cost) -> str:
    if costs.gb_seconds is None:
        return ""
    usd = ""
    if costs.usd is not None and costs.priced_gb_seconds is not None and costs.usd >= 0:
        amount = f"{np.format_float_positional(float(f'{costs.usd:.2g}'), trim='-')} USD"
        is_all = np.isclose(costs.priced_gb_seconds, costs.gb_seconds)
        usd = f" or {amount}" if is_all else f", of which {figure(costs.priced_gb_seconds)} have a price: {amount}"
    return f" ({figure(costs.gb_seconds)} GB-seconds{usd})"


def prewarmed(prewarms: dict[str, Any]) -> str:
    """Say what became of pre-warms and what they are estimated to have saved. `prewarms`: the row of `PREWARMS`."""
    assigned, told, applied, besides = (
        int(prewarms[name]) for name in ("assigned", "told", "applied", "applied_besides")
    )
    if not assigned and not besides:
        return "No pre-warm was assigned"
    parts = []
    if told:
        parts.append(f"of {count(told, 'pre-warm')} assigned that left a record, {applied:,} ran")
    elif assigned:
        parts.append(f"{count(assigned, 'pre-warm was', 'pre-warms were')} assigned, but nothing tells whether any ran")
    if besides:
        parts.append(f"{count(besides, 'pre-warm')} ran without being assigned")
    if judged := int(prewarms["judged"]):
        of = "these" if judged == applied + besides else f"the {judged:,} whose start is known"
        saved = f", saving an estimated {duration(prewarms['saved_ms'])} of start-up" if prewarms["estimated"] else ""
        parts.append(f"{int(prewarms['effective']):,} of {of} met a warm start{saved}")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}"


def before_and_after(evidence: Evidence, starts: pd.DataFrame) -> str:
    """Say what a tag for pre-warming tells apart, among the runs where one was assigned; '' without such a tag."""
    runs = evidence.frame(RUNS)
    groups = by_tag(runs, PREWARM_TAGS, WITHOUT, WITH)
    if groups is None:
        return ""
    acting = set(evidence.frame(ASSIGNED)["run_id"])
    among = by_tag(runs[runs["run_id"].isin(acting)], PREWARM_TAGS, WITHOUT, WITH)
    chosen = among or groups
    told = []
    for side, name in ((chosen.reference, chosen.names[0]), (chosen.other, chosen.names[1])):
        ids = chosen.runs["run_id"][chosen.group == side]
        found = cold_share(starts[starts["run_id"].isin(ids)])
        shown = (
            f"{phrases.share(found)} of starts were cold" if found else f"fewer than {MINIMUM_RUNS} runs left starts"
        )
        told.append(f"with {name} {shown} ({count(len(ids), 'run')})")
    matched = chosen.matched()
    compared = compare(matched, "makespan_ms")
    where = "runs in which a pre-warm was assigned" if among else "runs"
    makespan = (
        f"{phrases.decided(compared)}, from {phrases.rests_on(matched)}"
        if compared.ratio
        else "too few of them are complete and alike to compare makespan"
    )
    return f"Among {where}, whatever else differs: {'; '.join(told)}; {makespan}."


def _price(row: dict[Any, Any]) -> str:
    as_of = "an unknown day" if pd.isna(row["price_as_of"]) else f"{row['price_as_of']:%Y-%m-%d}"
    return f"{plain(row['price_source'], 120)} as of {as_of}"

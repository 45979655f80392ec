"""How often workers start cold, what that costs in time and money, and what pre-warming saves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from app.charts import intervals
from app.charts.startup import STATES, cold_and_warm
from app.findings import phrases
from app.findings.evidence import Evidence
from app.findings.experiments import by_tag
from app.findings.finding import Answer, Effect, Figure, Question, not_enough
from app.findings.matching import RUNS, compare
from app.findings.statistics import MINIMUM_RUNS, Interval, clustered_ratio, stratified_ratio
from app.plain import label, labels, plain
from app.units import count, duration, figure, known, percent

LEAST_STARTS = 6
"""Starts of either state that a group needs before cold is compared with warm in it."""

MOST_DRAWN = 16
"""Groups that are drawn, those with most starts; the table holds all."""

GROUP = ["engine", "environment", "memory_mb"]

PREWARM_TAGS = ("prewarm", "pre_warm", "prewarming", "prewarm_fixed", "prewarm_works")
WITHOUT, WITH = ("off", "false", "no", "0", "none", "broken"), ("on", "true", "yes", "1", "fixed")

BY_RUN = """
-- Each run's starts by engine, environment and memory: how many were cold, warm and unknown, and the median start-up of
-- its cold and of its warm ones.
select
    cold_starts.run_id,
    cold_starts.engine,
    cold_starts.environment,
    cold_starts.memory_mb,
    count(*) filter (where state = 'cold') as cold,
    count(*) filter (where state = 'warm') as warm,
    count(*) filter (where state = 'unknown') as unknown,
    median(cold_starts.startup_ms) filter (where state = 'cold') as cold_ms,
    median(cold_starts.startup_ms) filter (where state = 'warm') as warm_ms
from cold_starts
inner join selected_runs on cold_starts.run_id = selected_runs.run_id
group by cold_starts.run_id, cold_starts.engine, cold_starts.environment, cold_starts.memory_mb
order by cold_starts.run_id, cold_starts.engine, cold_starts.environment, cold_starts.memory_mb
"""

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

SOURCES = """
-- Where the states come from, how many runs record no worker at all, and how long all runs took together.
select
    count(*) filter (where state_source = 'reported') as reported,
    count(*) filter (where state_source = 'init') as init,
    count(*) filter (where state_source = 'container' and state <> 'unknown') as container,
    count(*) filter (where state_source = 'inferred' and state <> 'unknown') as inferred,
    count(*) filter (where state_source = 'never_ready') as never_ready,
    count(distinct selected_runs.run_id) filter (where cold_starts.run_id is null) as runs_without_workers,
    (select sum(makespan_ms) from selected_runs)::double as makespans_ms
from selected_runs
left join cold_starts on selected_runs.run_id = cold_starts.run_id
"""

PREWARMS = """
-- What became of the pre-warms: assigned, applied, effective, and what effective ones are estimated to have saved.
select
    count(*) filter (where opportunities.assigned) as assigned,
    count(*) filter (where opportunities.applied) as applied,
    count(*) filter (where opportunities.effective) as effective,
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
    """What cold starts took beyond warm ones, over the groups where both can be compared."""

    slower: Interval | None
    difference_ms: float | None
    compared: int
    extra_ms: float
    on_path_ms: float
    gb_seconds: float
    usd: float | None
    prices: tuple[str, ...]


def cold_share(runs: pd.DataFrame) -> Interval | None:
    """Return the share of cold among decided starts, resampled by run. `runs`: run_id, cold, warm."""
    sums = runs.groupby("run_id")[["cold", "warm"]].sum()
    decided = sums[sums.sum(axis=1) > 0]
    return clustered_ratio(decided["cold"].tolist(), decided.sum(axis=1).tolist())


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
    )
    sides["stratum"] = sides.groupby(GROUP, dropna=False).ngroup()
    priced = compared.dropna(subset=["extra_usd"])
    return Cost(
        stratified_ratio(sides) if len(sides) else None,
        float((apart * weights).sum() / weights.sum()) if weights.sum() else None,
        int(weights.sum()),
        float(compared["extra_ms"].sum()),
        float(compared["extra_on_path_ms"].astype(float).sum()),
        float(compared["extra_gb_seconds"].astype(float).sum()),
        float(priced["extra_usd"].sum()) if len(priced) else None,
        tuple(sorted({_price(row) for row in priced.to_dict("records")})),
    )


def table(runs: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """Return all starts and those of each engine, environment and memory: shares, start-up, and what cold ones cost."""
    seconds = {
        "cold_median_s": "cold_ms", "warm_median_s": "warm_ms", "extra_s": "extra_ms", "extra_on_critical_path_s": "extra_on_path_ms",
    }  # fmt: skip
    rows = [_share_row(("(all)", "(all)", "(all)"), runs)]
    costs = {_key(row): row for row in groups.to_dict("records")}
    for _, group in runs.groupby(GROUP, dropna=False):
        first = {name: group[name].iloc[0] for name in GROUP}
        row = _share_row(_shown(first), group)
        found = costs.get(_key(first), {})
        row |= {name: found[column] / 1000 for name, column in seconds.items() if known(found.get(column))}
        row |= {name: found[name] for name in ("extra_gb_seconds", "extra_usd") if known(found.get(name))}
        rows.append(row)
    columns = list(dict.fromkeys([*rows[0], *seconds, "extra_gb_seconds", "extra_usd"]))
    whole = pd.DataFrame(rows, columns=columns)
    whole.loc[1:] = whole.loc[1:].sort_values("starts", ascending=False, kind="stable").to_numpy()
    return whole


def _share_row(names: tuple[str, str, str], runs: pd.DataFrame) -> dict[str, Any]:
    cold, warm, unknown = (int(runs[state].sum()) for state in ("cold", "warm", "unknown"))
    interval = cold_share(runs)
    return {
        **dict(zip(GROUP, names, strict=True)),
        "runs": int(runs["run_id"].nunique()),
        "starts": cold + warm + unknown,
        "cold": cold,
        "warm": warm,
        "unknown": unknown,
        "cold_share": cold / (cold + warm) if cold + warm else None,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
    }


def _key(row: dict[Any, Any]) -> tuple[Any, ...]:
    return tuple(None if pd.isna(row[name]) else row[name] for name in GROUP)


def _price(row: dict[Any, Any]) -> str:
    as_of = "an unknown day" if pd.isna(row["price_as_of"]) else f"{row['price_as_of']:%Y-%m-%d}"
    return f"{plain(row['price_source'], 120)} as of {as_of}"


def _f10(evidence: Evidence) -> Answer:
    runs, sources = evidence.frame(BY_RUN), evidence.record(SOURCES)
    cold, warm, unknown = (int(runs[state].sum()) for state in ("cold", "warm", "unknown"))
    if not cold + warm:
        return not_enough(
            f"Of {count(unknown, 'worker start')} of this selection none is known to be cold or warm.",
            "Start records of workers with a state, an initialisation time or a container; or logs long enough to tell it from releases.",
            n=unknown, counted="starts",
        )  # fmt: skip
    groups, prewarms = evidence.frame(BY_GROUP, least=LEAST_STARTS), evidence.record(PREWARMS)
    costs, rows, interval = cost(runs, groups), table(runs, groups), cold_share(runs)
    name = "share of starts that are cold"
    shown = f"({phrases.share(interval).split('(', 1)[1]} " if interval else ""
    return Answer(
        "answered",
        f"**{percent(cold / (cold + warm))}** {shown}of {count(cold + warm, 'worker start')} were cold{_costs(costs)}."
        f" {_prewarming(prewarms)}.",
        cold + warm, "starts",
        phrases.effect(name, interval, "share") or Effect(name, cold / (cold + warm), None, None, "share"),
        _left_out(sources, unknown, cold - costs.compared), rows, _figures(rows, groups),
        _caveats(sources, costs, prewarms, _before_and_after(evidence, runs)),
        _would_change(costs),
    )  # fmt: skip


def _costs(costs: Cost) -> str:
    if not costs.compared or costs.difference_ms is None:
        return "; what they cost cannot be told, for too few warm starts are beside them"
    decision = costs.slower.decision if costs.slower else "undecided"
    if decision != "higher":
        undecided = {"lower": "they were faster than warm ones", "no difference": "they took as long as warm ones"}
        return f"; {undecided.get(decision, 'whether they take longer than warm ones is not decided')}"
    usd = f" or {costs.usd:.2g} USD" if costs.usd is not None else ""
    return (
        f"; a cold one took {duration(costs.difference_ms)} more than a warm one in the median, {duration(costs.extra_ms)} in all "
        f"({duration(costs.on_path_ms)} of it on critical paths), {figure(costs.gb_seconds)} GB-seconds{usd}"
    )


def _prewarming(prewarms: dict[str, Any]) -> str:
    if not prewarms["assigned"] and not prewarms["applied"]:
        return "No pre-warm was assigned"
    saved = f", saving an estimated {duration(prewarms['saved_ms'])} of start-up" if prewarms["estimated"] else ""
    return (
        f"Of {count(prewarms['assigned'], 'pre-warm')} assigned, {int(prewarms['applied']):,} ran and "
        f"{int(prewarms['effective']):,} met a warm start{saved}"
    )


def _left_out(sources: dict[str, Any], unknown: int, not_compared: int) -> str:
    return (
        f"{count(unknown, 'start')} of unknown state ({int(sources['never_ready']):,} never became ready) are in no share; "
        f"{count(not_compared, 'cold start')} of groups with fewer than {LEAST_STARTS} cold or warm starts in no cost; "
        f"{count(sources['runs_without_workers'], 'run')} without a record of workers."
    )


def _caveats(sources: dict[str, Any], costs: Cost, prewarms: dict[str, Any], compared: str) -> tuple[str, ...]:
    told = {"reported": "reported", "init": "from an initialisation time", "container": "from the container", "inferred": "inferred from releases"}  # fmt: skip
    states = ", ".join(f"{int(sources[name]):,} {words}" for name, words in told.items() if sources[name])
    caveats = [
        f"Where states come from: {states}."
        + (
            " Inferred ones can be wrong (`cold_start_inference_quality` says how often)."
            if sources["inferred"]
            else ""
        ),
        "A pre-warmed container reports warm, and start-up includes the time a request queues for a place: cold and warm starts "
        "come closer together where a machine is busy, and where warm ones took longer the extra is less than nothing.",
    ]
    if costs.compared:
        slower = f" Cold over warm, run medians within groups: {phrases.times(costs.slower)}." if costs.slower else ""
        on_path = float(sources["makespans_ms"] or 0)
        part = f" ({percent(costs.on_path_ms / on_path)} of all makespans)" if on_path > 0 else ""
        caveats.append(
            "Extra time is what cold starts took beyond the mean warm start of the same engine, environment and memory; the part on "
            f"critical paths{part} bounds what makespans would gain, for another path may then be the longest.{slower}"
        )
        caveats.append(
            f"USD: {'; '.join(costs.prices)}; of environments with a price only."
            if costs.prices
            else "No price is known for these environments: GB-seconds of extra start-up are told instead. To give one, "
            "`flowscope ingest prices.jsonl` (docs/prices.md)."
        )
    if prewarms["applied"]:
        caveats.append(
            "What pre-warming saved is an ESTIMATE: the median cold start of the same engine, environment and memory less the worker's own "
            "start-up. The worker might have been warm anyway, and what the pre-warmed container itself cost is recorded nowhere."
        )
    return tuple([*caveats, compared] if compared else caveats)


def _before_and_after(evidence: Evidence, starts: pd.DataFrame) -> str:
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


def _would_change(costs: Cost) -> str:
    parts = ["more runs at other loads, which fill and empty the pool of warm containers"]
    if costs.slower is None or costs.slower.decision == "undecided":
        parts.insert(0, "more runs with cold and warm starts of the same engine, environment and memory")
    if costs.usd is None:
        parts.append("a price per GB-second")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _figures(rows: pd.DataFrame, groups: pd.DataFrame) -> tuple[Figure, ...]:
    each = rows[1:].dropna(subset=["cold_share"])
    drawn = each.head(MOST_DRAWN)
    several = each["engine"].nunique() > 1
    names = [
        f"{row['environment']}, {row['memory_mb']} MB{', ' + row['engine'] if several else ''}"
        for row in drawn.to_dict("records")
    ]
    drawn = drawn.assign(
        label=list(labels(names, 44)), value=drawn["cold_share"].astype(float), n=drawn["cold"] + drawn["warm"]
    )
    left = (
        f" {count(len(each) - len(drawn), 'group')} with fewer starts: in the table only."
        if len(each) > len(drawn)
        else ""
    )
    text = (
        "Share of starts that were cold by environment and memory, with 95 % intervals where there are runs enough: "
        + "; ".join(f"{row['label']} {percent(row['value'])} of {row['n']:,}" for row in drawn.to_dict("records"))
    )
    shares = intervals(
        drawn[["label", "value", "low", "high", "n"]].astype({"low": float, "high": float}), "Cold among starts (%)",
        none=None, log=False, form=".0%",
    )  # fmt: skip
    found = [Figure(shares, f"{text}.{left}", "cold-share")]
    times = {_shown(row): row for row in groups.to_dict("records")}
    spreads = [
        {"label": row["label"], "state": state, "low_s": at[f"{state}_low_ms"] / 1000, "median_s": at[f"{state}_ms"] / 1000,
         "high_s": at[f"{state}_high_ms"] / 1000, "n": int(at[f"timed_{state}"])}
        for row in drawn.to_dict("records")
        if (at := times.get((row["engine"], row["environment"], row["memory_mb"])))
        for state in STATES if known(at[f"{state}_ms"])
    ]  # fmt: skip
    if spreads:
        said = "; ".join(f"{row['label']} {row['state']} {duration(1000 * row['median_s'])}" for row in spreads)
        text = f"Start-up of cold (circles) and of warm starts (triangles), median and middle half: {said}."
        found.append(Figure(cold_and_warm(pd.DataFrame(spreads)), f"{text}{left}", "cold-and-warm-start-up"))
    return tuple(found)


def _shown(row: dict[Any, Any]) -> tuple[str, str, str]:
    memory = row["memory_mb"]
    return label(row["engine"]), label(row["environment"]), "(none)" if pd.isna(memory) else f"{memory:g}"


QUESTIONS = (
    Question(
        "F10",
        "How often do workers start cold, what does it cost in time and money, what does pre-warming save?",
        "cold_starts",
        f"One start whose state is known; an interval takes {MINIMUM_RUNS} runs, a cost {LEAST_STARTS} cold and {LEAST_STARTS} warm starts of "
        "one engine, environment and memory, and cold starts that surely take longer (95 % interval of the ratio above 1).",
        _f10,
    ),
)

"""How long after its worker is ready an optimisation acts, and whether acting at worker-ready would be earlier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from app.charts.acting import BOUNDS, windows
from app.findings import phrases, simulated
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Effect, Figure, Question, not_enough
from app.findings.funnels import NAMES
from app.findings.statistics import MINIMUM_RUNS, Interval, median_interval, run_share
from app.plain import label
from app.units import count, duration, percent

SHARES = np.linspace(0, 1, 41)
"""The shares at which the two curves of the chart are drawn."""

NEEDS = {"preload": "the upstream result", "taskdup": "the inputs of the duplicated task"}
"""What has to be there before each can act."""

ACTED = """
-- When each applied pre-load and task duplication acted, in ms after its worker was ready: its recorded time, else between two
-- bounds. available_ms: when what it needs was there, which is the output of the upstream task (pre-load) or the last of the
-- duplicated task's own inputs (-1 where it has none). It cannot have acted before that, nor before its worker was
-- ready (earliest_ms), and had acted once its task had its inputs (latest_ms): at the task's start where a pre-loaded input
-- needed no download any more, else when the wait for inputs ended. upstream_ms: when the upstream task's own output was
-- there. missing: why nothing can be said of it.
with applied as (
    select run_id, optimization, task_id, target_task_id, min(happened_at) as happened_at
    from optimizations
    where stage = 'applied' and optimization in ('preload', 'taskdup')
        and run_id in (select run_id from selected_runs)
    group by run_id, optimization, task_id, target_task_id
),

done as (
    select run_id, task_id, started_at, input_wait_ms, finished_at
    from task_times
    where is_last_attempt and run_id in (select run_id from applied)
),

workers as (
    select invocation_tasks.run_id, invocation_tasks.task_id, invocations.ready_at
    from invocation_tasks
    inner join invocations on invocation_tasks.invocation_id = invocations.invocation_id
    where invocation_tasks.is_last_attempt and invocation_tasks.run_id in (select run_id from applied)
),

duplicated_inputs as (
    select
        edges.run_id, edges.task_id,
        case when count(done.finished_at) = count(*) then max(done.finished_at) end as available_at
    from edges
    semi join applied
        on edges.run_id = applied.run_id and edges.task_id = applied.target_task_id and applied.optimization = 'taskdup'
    left join done on edges.run_id = done.run_id and edges.upstream_task_id = done.task_id
    group by edges.run_id, edges.task_id
),

fetched as (
    select run_id, task_id, upstream_task_id, bool_and(preloaded and download_ms is null) as is_there
    from task_inputs
    where run_id in (select run_id from applied)
    group by run_id, task_id, upstream_task_id
),

instants as (
    select
        applied.run_id, applied.optimization, applied.task_id, applied.target_task_id, applied.happened_at,
        workers.ready_at,
        upstream.finished_at as upstream_at,
        case
            when applied.optimization = 'preload' then upstream.finished_at
            when duplicated_inputs.task_id is not null then duplicated_inputs.available_at
            when upstream.task_id is not null and applied.run_id in (select run_id from edges)
                then workers.ready_at - interval 1 millisecond
        end as available_at,
        done.started_at + to_microseconds(try_cast(round(1000 * case
            when applied.optimization = 'preload' and fetched.is_there then 0 else done.input_wait_ms
        end) as bigint)) as latest_at
    from applied
    left join done on applied.run_id = done.run_id and applied.task_id = done.task_id
    left join workers on applied.run_id = workers.run_id and applied.task_id = workers.task_id
    left join done as upstream on applied.run_id = upstream.run_id and applied.target_task_id = upstream.task_id
    left join duplicated_inputs
        on applied.run_id = duplicated_inputs.run_id and applied.target_task_id = duplicated_inputs.task_id
    left join fetched
        on applied.run_id = fetched.run_id and applied.task_id = fetched.task_id
        and applied.target_task_id = fetched.upstream_task_id
),

delays as (
    select
        *,
        date_diff('microsecond', ready_at, available_at)::double / 1000 as available_ms,
        date_diff('microsecond', ready_at, upstream_at)::double / 1000 as upstream_ms,
        date_diff('microsecond', ready_at, coalesce(happened_at, greatest(ready_at, available_at)))::double / 1000 as earliest_ms,
        date_diff('microsecond', ready_at, coalesce(happened_at, latest_at))::double / 1000 as latest_ms
    from instants
)

select
    delays.run_id, selected_runs.planner, delays.optimization, delays.happened_at is not null as is_timed,
    delays.available_ms, delays.upstream_ms, delays.earliest_ms, delays.latest_ms,
    case
        when delays.ready_at is null then 'ready'
        when delays.happened_at is not null then null
        when delays.available_at is null then 'available'
        when delays.latest_ms is null then 'inputs'
        when delays.latest_ms < delays.earliest_ms then 'clocks'
    end as missing
from delays
inner join selected_runs on delays.run_id = selected_runs.run_id
order by delays.run_id, delays.optimization, delays.task_id, delays.target_task_id
"""

ASSIGNED = """
-- How many tasks of this selection had a pre-load or a task duplication assigned.
select count(distinct (run_id, task_id, optimization)) as assigned
from optimizations
where stage = 'assigned' and optimization in ('preload', 'taskdup') and run_id in (select run_id from selected_runs)
"""

_SAVED = (
    simulated.Change(
        "optimization.preload=off", "without pre-load", had_it=True, cost=True,
        assumes="In a simulation a pre-load fetches as soon as its worker is ready and the result exists, and a task is duplicated as soon as a "
        "worker looks for its result and nobody has begun it: what is saved is by acting at once, not as late as was recorded.",
    ),
    simulated.Change("optimization.preload=on", "with pre-load wherever a task has two inputs from elsewhere", had_it=False),
    simulated.Change("optimization.taskdup=off", "without task duplication", had_it=True, cost=True),
    simulated.Change("optimization.taskdup=on", "with task duplication wherever it is possible", had_it=False),
)  # fmt: skip

_MISSING = {
    "ready": "whose worker's start is not on record",
    "available": "for which it is not known when {needs} existed",
    "inputs": "whose task does not say when it had its inputs",
    "clocks": "recorded as acting before that was possible, for clocks of machines differ",
}


@dataclass(frozen=True, slots=True)
class Middle:
    """The median over runs of their medians, in ms, with its interval where there are runs enough."""

    ms: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Acting:
    """When one optimisation acted, over the applied ones that can be judged.

    It acted between `earliest` and `latest` after worker-ready. Of `told` it is known when what it needs was there: for
    `at_ready` of them by the time the worker was ready, where acting at worker-ready was possible and would be earlier by at most
    `gain`; the others acted at most `after` later than what they need existed. None where there is no such case.
    """

    optimization: str
    applied: int
    judged: int
    timed: int
    runs: int
    told: int
    at_ready: int
    share: Interval | None
    earliest: Middle | None
    latest: Middle | None
    gain: Middle | None
    after: Middle | None


def acting(optimization: str, rows: pd.DataFrame) -> Acting:
    """Return when one optimisation acted. `rows`: what `ACTED` returns of it."""
    judged = rows[rows["missing"].isna()]
    told = judged.dropna(subset=["available_ms"])
    at_ready = told["available_ms"] <= 0
    per_run = told.assign(at_ready=at_ready).groupby("run_id")["at_ready"].agg(["sum", "count"])
    late = told[~at_ready]
    return Acting(
        optimization, len(rows), len(judged), int(judged["is_timed"].sum()), int(judged["run_id"].nunique()),
        len(told), int(at_ready.sum()), run_share(per_run["sum"], per_run["count"]),
        _middle(judged["run_id"], judged["earliest_ms"]), _middle(judged["run_id"], judged["latest_ms"]),
        _middle(told["run_id"][at_ready], told["latest_ms"][at_ready]),
        _middle(late["run_id"], late["latest_ms"] - late["available_ms"]),
    )  # fmt: skip


def _middle(runs: pd.Series[Any], values: pd.Series[float]) -> Middle | None:
    """Return the median of the runs' medians: what one run applied hangs together."""
    medians = values.groupby(runs).median()
    return Middle(float(medians.median()), median_interval(medians.tolist())) if len(medians) else None


def _f12(evidence: Evidence) -> Answer:
    return simulated.beside(evidence, _recorded(evidence), _SAVED, labels="optimization")


def _recorded(evidence: Evidence) -> Answer:
    rows = evidence.frame(ACTED)
    found = [acting(name, rows[rows["optimization"] == name]) for name in NEEDS]
    judged = [one for one in found if one.judged]
    left_out = _left_out(rows)
    if not judged:
        assigned = int(evidence.record(ASSIGNED)["assigned"])
        return not_enough(
            f"Of {count(len(rows), 'applied pre-load or task duplication', 'applied pre-loads and task duplications')} none has a "
            f"time, or bounds of one: {left_out[0].lower()}{left_out[1:]}" if len(rows)
            else f"No pre-load and no task duplication was applied in this selection ({count(assigned, 'assignment')}).",
            "Runs that apply them, with the start of the worker, the end of the upstream tasks and the inputs of the task on record.",
            n=len(rows), counted="applied optimisations",
        )  # fmt: skip
    return Answer(
        "answered",
        " ".join(_said(one) for one in found if one.applied),
        sum(one.judged for one in judged), "applied optimisations",
        _effect(judged[0]), left_out, table(rows), _figure(rows), _caveats(rows, judged),
        "An engine that records when each optimisation acts (`happened_at`): a delay in place of two bounds.",
    )  # fmt: skip


def _said(one: Acting) -> str:
    name = NAMES[one.optimization]
    if one.earliest is None or one.latest is None:
        return f"Of {count(one.applied, f'applied {name}')} none can be judged."
    where = f"{count(one.judged, 'case')} in {count(one.runs, 'run')}"
    if one.timed == one.judged:
        when = f"**{_ms(one.latest)}** after its worker is ready ({_sure(one.latest)}{where}, as recorded)"
    else:
        timed = f", {one.timed:,} of them with a recorded time" if one.timed else ""
        when = (
            f"between **{_ms(one.earliest)}** and **{_ms(one.latest)}** after its worker is ready in the median run "
            f"(bounds{_ends(one.earliest, one.latest)}; {where}{timed})"
        )
    parts = [f"{name[0].upper()}{name[1:]} acts {when}"]
    if one.told:
        share = phrases.share(one.share) if one.share else percent(one.at_ready / one.told)
        possible = (
            f"at worker-ready {NEEDS[one.optimization]} {'was' if one.optimization == 'preload' else 'were'} there in "
            f"**{one.at_ready:,} of {one.told:,}**, {share}"
        )
        most = "" if one.timed == one.judged else "at most "
        if one.gain:
            possible += f", where acting then would have been {most}{_ms(one.gain)}{_interval(one.gain)} earlier"
        if one.after:
            possible += (
                f"; in the other {one.told - one.at_ready:,} there was nothing to act on yet, and it acted "
                f"{most}{_ms(one.after)}{_interval(one.after)} after there was"
            )
        parts.append(possible)
    return f"{'; '.join(parts)}."


def _ms(middle: Middle) -> str:
    return duration(middle.ms)


def _interval(middle: Middle) -> str:
    """Return ' (95 % interval 1.2 ms to 3.4 ms)', '' without one."""
    found = middle.interval
    return f" (95 % interval {duration(found.low)} to {duration(found.high)})" if found else ""


def _sure(middle: Middle) -> str:
    return f"{_interval(middle)[2:-1]}; " if middle.interval else ""


def _ends(earliest: Middle, latest: Middle) -> str:
    if not earliest.interval or not latest.interval:
        return ""
    low, high = earliest.interval, latest.interval
    return f", 95 % intervals {duration(low.low)} to {duration(low.high)} and {duration(high.low)} to {duration(high.high)}"


def _effect(one: Acting) -> Effect | None:
    if not one.told:
        return None
    name = f"share of {NAMES[one.optimization]}s that could act at worker-ready"
    return phrases.effect(name, one.share, "share") or Effect(name, one.at_ready / one.told, None, None, "share")


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return each optimisation in all, and under each planner: a row each."""
    found = []
    for optimization, group in rows.groupby("optimization"):
        found.append(_row("(all)", acting(str(optimization), group)))
        found += [
            _row(label(planner), acting(str(optimization), part))
            for planner, part in group.groupby("planner", dropna=False)
        ]
    return pd.DataFrame(found)


def _row(planner: str, one: Acting) -> dict[str, Any]:
    return {
        "optimization": one.optimization,
        "planner": planner,
        "runs": one.runs,
        "applied": one.applied,
        "judged": one.judged,
        "recorded_time": one.timed,
        "possible_at_ready": one.at_ready,
        "possible_share": one.at_ready / one.told if one.told else None,
        "possible_low": one.share.low if one.share else None,
        "possible_high": one.share.high if one.share else None,
        "earliest_median_ms": one.earliest.ms if one.earliest else None,
        "latest_median_ms": one.latest.ms if one.latest else None,
        "at_most_earlier_at_ready_ms": one.gain.ms if one.gain else None,
        "at_most_after_available_ms": one.after.ms if one.after else None,
    }


def _left_out(rows: pd.DataFrame) -> str:
    parts = []
    for (optimization, missing), group in rows.dropna(subset=["missing"]).groupby(["optimization", "missing"]):
        why = _MISSING[str(missing)].format(needs=NEEDS[str(optimization)])
        parts.append(f"{count(len(group), NAMES[str(optimization)])} {why}")
    return f"Not judged: {'; '.join(parts)}." if parts else "No applied one had to be left out."


def _caveats(rows: pd.DataFrame, judged: list[Acting]) -> tuple[str, ...]:
    caveats = [
        "The interval of each bound is over medians of runs. Between its bounds, anything is possible: a late upper bound is no late "
        "action, and an optimisation that acts the moment its worker is ready may show one too.",
        "Bounds compare clocks of several machines, and are off by as much as these differ.",
        "This is when each acted, not what it was worth: one that acts earlier shortens a run only where its task would have waited.",
    ]
    names = {one.optimization for one in judged}
    if "preload" in names:
        caveats.append(
            "A pre-load whose input needed no download when the task looked for it had acted by then; else it had by the end of the task's "
            "wait for inputs."
        )
    if "taskdup" in names:
        mine = rows[(rows["optimization"] == "taskdup") & rows["missing"].isna() & (rows["available_ms"] <= 0)]
        over = int((mine["upstream_ms"] <= 0).sum())
        caveats.append(
            "Task duplication is recorded when it is attempted, and some attempts fail or are overtaken. Possible at worker-ready means that the "
            f"duplicated task had its inputs by then; {over:,} of these {len(mine):,} had even ended, which leaves nothing to duplicate."
        )
    return tuple(caveats)


def _figure(rows: pd.DataFrame) -> tuple[Figure, ...]:
    judged = rows[rows["missing"].isna()]
    parts, said = [], []
    for optimization, group in judged.groupby("optimization"):
        name = NAMES[str(optimization)]
        bounds = [group[column].quantile(SHARES).to_numpy(float) / 1000 for column in ("earliest_ms", "latest_ms")]
        parts += [
            pd.DataFrame({"label": name, "bound": bound, "seconds": values, "share": SHARES, "n": len(group)})
            for bound, values in zip(BOUNDS, bounds, strict=True)
        ]
        half = [duration(1000 * values[len(SHARES) // 2]) for values in bounds]
        said.append(f"half of {count(len(group), name)} {half[0]} and {half[1]}")
    text = (
        "Share of applied optimisations that had acted so long after their worker was ready, at the latest (solid) and at the "
        f"earliest (dashed) that the record allows: {'; '.join(said)}, earliest and latest."
    )
    return (Figure(windows(pd.concat(parts, ignore_index=True)), text, "acting-after-ready"),)


QUESTIONS = (
    Question(
        "F12",
        "How long after the worker is ready do pre-load and task duplication act, and would acting at worker-ready be earlier?",
        "optimisations",
        "One applied pre-load or task duplication whose time is recorded, or bounded by the start of its worker, the end of the tasks it "
        f"needs, and the time its task had its inputs; an interval takes {MINIMUM_RUNS} runs.",
        _f12,
    ),
)

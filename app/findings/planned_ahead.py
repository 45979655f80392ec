"""How far the engine's plans and simulations made before a run are from what happened: the same runs, side by side.

A plan sets its times first and adds start-up afterwards; a simulation asks for workers in the order of time, so that start-up is
in every time that follows. Both know only what was known when the run was submitted.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from app.findings import phrases
from app.findings.statistics import paired_ratio
from app.units import count, duration, percent

HINT = "Runs simulated before they happened, beside their plans: `flowscope evaluate`."
"""What brings them, said where there are none."""

ERRORS = """
-- How far plan and simulation of each run were from what happened: one row per complete selected run that has a plan to its end
-- and was simulated before it happened. Of the makespan and of workers' active periods relative to what happened, of tasks' starts in ms, of cold
-- starts in number; of tasks and workers the median of those that all three know. Active periods are held against each other twice.
-- active_period_error: all from the first start of the worker's tasks, planned to their last completion, simulated and recorded to
-- its release. active_period_with_startup_error: simulated and recorded from its request; the planned period, which counts no start-up, is
-- the same as before. A plan's cold starts are workers whose first task it plans cold.
with ahead as (
    select simulations.*
    from simulations
    semi join selected_runs on simulations.run_id = selected_runs.run_id
    where scenario = 'ahead'
),

plan as (
    select planned_tasks.*
    from planned_tasks
    semi join ahead on planned_tasks.run_id = ahead.run_id
),

planned_workers as (
    select
        run_id, worker_id,
        max(completion_offset_ms) - min(start_offset_ms) as active_ms,
        arg_min(startup_state, start_offset_ms) = 'cold' as is_cold
    from plan
    group by run_id, worker_id, case when worker_id is null then task_id end
),

planned_runs as (
    select plan.run_id, max(case when plan.task_id = runs.sink_task_id then completion_offset_ms end) as makespan_ms
    from plan
    inner join runs on plan.run_id = runs.run_id
    group by plan.run_id
),

planned_starts as (
    select run_id, count(*) filter (where is_cold) as cold_starts
    from planned_workers
    group by run_id
),

tasks as (
    select
        plan.run_id,
        count(*) as tasks,
        median(abs(plan.start_offset_ms - task_times.start_offset_ms)) as planned_task_start_error_ms,
        median(abs(simulated_tasks.start_offset_ms - task_times.start_offset_ms)) as simulated_task_start_error_ms
    from plan
    inner join simulated_tasks
        on plan.run_id = simulated_tasks.run_id and plan.task_id = simulated_tasks.task_id
        and simulated_tasks.scenario = 'ahead'
    inner join task_times
        on plan.run_id = task_times.run_id and plan.task_id = task_times.task_id and task_times.is_last_attempt
    where plan.start_offset_ms + simulated_tasks.start_offset_ms + task_times.start_offset_ms is not null
    group by plan.run_id
),

simulated_firsts as (
    select simulated_tasks.run_id, worker_id, min(start_offset_ms) as start_offset_ms
    from simulated_tasks
    semi join ahead on simulated_tasks.run_id = ahead.run_id
    where scenario = 'ahead'
    group by simulated_tasks.run_id, worker_id
),

simulated_workers as (
    select
        workers.run_id, workers.worker_id,
        released_offset_ms - requested_offset_ms as active_ms,
        released_offset_ms - start_offset_ms as active_ms_without_startup
    from simulated_invocations as workers
    inner join simulated_firsts as firsts on workers.run_id = firsts.run_id and workers.worker_id = firsts.worker_id
    where workers.scenario = 'ahead'
),

workers as (
    select
        plan.run_id,
        count(*) as workers,
        median(abs(plan.active_ms / periods.active_ms_without_startup - 1)) as planned_active_period_error,
        median(abs(simulated.active_ms_without_startup / periods.active_ms_without_startup - 1))
            as simulated_active_period_error,
        median(abs(plan.active_ms / periods.active_ms - 1)) as planned_active_period_with_startup_error,
        median(abs(simulated.active_ms / periods.active_ms - 1)) as simulated_active_period_with_startup_error
    from planned_workers as plan
    inner join simulated_workers as simulated
        on plan.run_id = simulated.run_id and plan.worker_id = simulated.worker_id
    inner join worker_active_periods as periods
        on plan.run_id = periods.run_id and plan.worker_id = periods.worker_id
    where
        periods.active_ms > 0 and periods.active_ms_without_startup > 0
        and plan.active_ms + simulated.active_ms + simulated.active_ms_without_startup is not null
    group by plan.run_id
)

select
    selected_runs.run_id,
    selected_runs.workflow,
    coalesce(tasks.tasks, 0) as tasks,
    coalesce(workers.workers, 0) as workers,
    abs(planned_runs.makespan_ms / selected_runs.makespan_ms - 1) as planned_makespan_error,
    abs(ahead.makespan_ms / selected_runs.makespan_ms - 1) as simulated_makespan_error,
    planned_active_period_error, simulated_active_period_error,
    planned_active_period_with_startup_error, simulated_active_period_with_startup_error,
    planned_task_start_error_ms, simulated_task_start_error_ms,
    selected_runs.cold_starts::double as observed_cold_starts,
    case when selected_runs.cold_starts is not null then planned_starts.cold_starts end::double as planned_cold_starts,
    case when selected_runs.cold_starts is not null then ahead.cold_starts end as simulated_cold_starts
from ahead
inner join selected_runs on ahead.run_id = selected_runs.run_id
inner join planned_runs on ahead.run_id = planned_runs.run_id
inner join planned_starts on ahead.run_id = planned_starts.run_id
left join tasks on ahead.run_id = tasks.run_id
left join workers on ahead.run_id = workers.run_id
where
    selected_runs.is_complete and selected_runs.makespan_ms > 0
    and planned_runs.makespan_ms is not null and ahead.makespan_ms is not null
order by selected_runs.run_id
"""

_ERRORS = [
    f"{of}_{what}"
    for what in ("makespan_error", "active_period_error", "active_period_with_startup_error", "task_start_error_ms")
    for of in ("planned", "simulated")
]
_COUNTS = [f"{of}_cold_starts" for of in ("observed", "planned", "simulated")]


def said(rows: pd.DataFrame) -> str:
    """Say how far simulations made before the runs, and their plans, are from what happened, '' without any."""
    if rows.empty:
        return ""
    parts = [
        _off(rows, "makespan_error", "makespan is", percent),
        _off(rows, "active_period_error", "active periods from a worker's first task on are", percent),
        _with_startup(rows),
        _off(rows, "task_start_error_ms", "task starts are", duration),
    ]
    if rows[_COUNTS].notna().any(axis=None):
        happened, planned, ahead = rows[_COUNTS].sum()
        parts.append(
            f"{count(round(ahead), 'cold start')} expected where {happened:,.0f} happened (plans: {planned:,.0f})"
        )
    told = "; ".join(part for part in parts if part)
    if len(rows) == 1:
        return f"Simulated before it happened, of the same run: {told}"
    return f"Simulated before they happened, in the median of the same {len(rows):,} runs: {told}"


def _off(rows: pd.DataFrame, what: str, subject: str, unit: Callable[[float], str]) -> str:
    known = pd.DataFrame(
        {"stratum": rows["workflow"], "reference": rows[f"planned_{what}"], "other": rows[f"simulated_{what}"]}
    ).dropna(subset=["reference", "other"])
    if known.empty:
        return ""
    times = paired_ratio(known)
    sure = f", error {phrases.times_decided(times, 0.95)} the plan's" if times else ""
    planned, ahead = (float(known[side].median()) for side in ("reference", "other"))
    return f"{subject} off by **{unit(ahead)}** (plans: {unit(planned)}{sure})"


def _with_startup(rows: pd.DataFrame) -> str:
    """Say the errors of whole active periods, without a ratio: a plan counts no start-up, so much of its error is the definition."""
    sides = rows[[f"{of}_active_period_with_startup_error" for of in ("planned", "simulated")]].dropna()
    if sides.empty:
        return ""
    planned, ahead = sides.median()
    return f"with start-up they are off by **{percent(ahead)}** (plans, which leave it out: {percent(planned)})"


def columns(rows: pd.DataFrame) -> dict[str, float]:
    """Return the median errors of plans and simulations of some runs, and their cold starts, as columns of a table."""
    return {"simulated_runs": len(rows), **rows[_ERRORS].median(), **rows[_COUNTS].sum(min_count=1)}


def caveat(rows: pd.DataFrame) -> str:
    """Say what the comparison rests on and what it cannot tell."""
    return (
        f"Simulated before it happened means: durations predicted from runs known at its submission, medians over draws; {count(int(rows['tasks'].sum()), 'task')} "
        f"and {count(int(rows['workers'].sum()), 'worker')} are in plan, simulation and record. Plans for a high percentile aim high on purpose, and "
        "both err in durations too, so not all of a plan's error is missing start-up. Like with like are active periods from the first task on: "
        "a plan's end at its last completion, those simulated and recorded at the release. With start-up, a plan is held against "
        "time it does not count, so no ratio is drawn. A simulation knows which containers other runs left warm, a plan does not."
    )

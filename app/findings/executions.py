"""What is on record of executables and of functions: executions, predictions of them, failures, starts of their workers."""

from __future__ import annotations

MOST_RUNS = 2_000
"""Runs of one function and kind that are read, drawn by chance: more make no interval worth having narrower."""

TASKS = """
-- Tasks by kind, executions that cannot be compared, and the most runs that a function has.
select
    count(*) as tasks,
    count(*) filter (where kind = 'executable') as executables,
    count(*) filter (where kind = 'function') as functions,
    count(*) filter (
        where kind in ('executable', 'function')
            and (function is null or not coalesce(execution_ms > 0, false) or status in ('failed', 'killed') or exit_code <> 0)
    ) as unusable,
    coalesce((
        select max(runs)
        from (
            select count(distinct run_id) as runs
            from tasks
            where kind in ('executable', 'function') and run_id in (select run_id from selected_runs)
            group by kind, function
        ) as of_functions
    ), 0) as most_runs
from tasks
where run_id in (select run_id from selected_runs)
"""

EXECUTIONS = """
-- Executions of executables and of functions, by run and what is alike: function, kind, workflow, environment, memory and the power of
-- ten of the input's bytes (size_decade; -1: empty, NULL: unknown). Their median time, and how far they are off the median of all
-- alike (deviation, a share, widened for few; NULL of fewer than $least). Failed ones are left out. At most $most runs of a
-- function and kind, drawn by chance.
with executions as (
    select
        task_times.run_id,
        task_times.function,
        task_times.kind,
        selected_runs.workflow,
        selected_runs.environment,
        task_times.memory_mb,
        case when inputs_bytes > 0 then floor(log10(inputs_bytes)) when inputs_bytes = 0 then -1 end as size_decade,
        task_times.execution_ms
    from task_times
    inner join selected_runs on task_times.run_id = selected_runs.run_id
    where task_times.is_last_attempt and task_times.kind in ('executable', 'function') and task_times.function is not null
        and task_times.execution_ms > 0
        and coalesce(task_times.status, 'succeeded') not in ('failed', 'killed') and coalesce(task_times.exit_code, 0) = 0
    qualify dense_rank() over (
        partition by task_times.kind, task_times.function order by md5(task_times.run_id), task_times.run_id
    ) <= $most
),

alike as (
    select
        *,
        count(*) over (partition by function, kind, workflow, environment, memory_mb, size_decade) as n,
        median(execution_ms) over (partition by function, kind, workflow, environment, memory_mb, size_decade) as median_ms
    from executions
)

select
    run_id, function, kind, workflow, environment, memory_mb, size_decade,
    count(*) as executions,
    median(execution_ms) as execution_ms,
    median(case when n >= $least then abs(execution_ms / median_ms - 1) * n / (n - 0.8) end) as deviation
from alike
group by run_id, function, kind, workflow, environment, memory_mb, size_decade
order by run_id, function, kind, workflow, environment, memory_mb, size_decade
"""

PREDICTED = """
-- How far predictions of executions were off, by run, function and kind: the median relative error. Predictors are taken at
-- their median (P50), plans as they are. At most $most runs of a function and kind, drawn by chance.
with errors as (
    select
        prediction_errors.predictor, prediction_errors.run_id, task_times.function, task_times.kind, prediction_errors.relative_error
    from prediction_errors
    inner join task_times
        on prediction_errors.run_id = task_times.run_id and prediction_errors.task_id = task_times.task_id
        and task_times.is_last_attempt
    where prediction_errors.run_id in (select run_id from selected_runs)
        and prediction_errors.level = 'task' and prediction_errors.metric = 'execution'
        and (prediction_errors.predictor = 'engine' or prediction_errors.sla_percentile = 50)
        and isfinite(prediction_errors.relative_error)
        and task_times.kind in ('executable', 'function') and task_times.function is not null
    qualify dense_rank() over (
        partition by prediction_errors.predictor, task_times.kind, task_times.function
        order by md5(prediction_errors.run_id), prediction_errors.run_id
    ) <= $most
)

select predictor, run_id, function, kind, count(*) as executions, median(relative_error) as error
from errors
group by predictor, run_id, function, kind
order by predictor, run_id, function, kind
"""

FAILURES = """
-- How many runs had so many failed attempts of so many whose end is told, by kind. An attempt failed if its status or its exit code says so.
with of_runs as (
    select
        kind,
        run_id,
        count(*) filter (where status in ('failed', 'killed') or exit_code <> 0) as failed,
        count(*) filter (where status is not null or exit_code is not null) as told
    from tasks
    where kind in ('executable', 'function') and run_id in (select run_id from selected_runs)
    group by kind, run_id
)

select kind, failed, told, count(*) as runs
from of_runs
group by kind, failed, told
order by kind, failed, told
"""

EXIT_CODES = """
-- Exit codes other than 0, the most frequent first: how many attempts ended so.
select exit_code, count(*) as attempts
from tasks
where exit_code <> 0 and run_id in (select run_id from selected_runs)
group by exit_code
order by attempts desc, exit_code
"""

STARTS = """
-- Starts of workers by the kind of their tasks, those of one kind only: the median start-up (else init) of those timed (starts of
-- workers), and all of it as a share of what they then execute.
with of_workers as (
    select
        invocation_tasks.invocation_id, min(tasks.kind) as kind, sum(tasks.execution_ms) as execution_ms
    from invocation_tasks
    inner join tasks
        on invocation_tasks.run_id = tasks.run_id and invocation_tasks.task_id = tasks.task_id
        and invocation_tasks.attempt is not distinct from tasks.attempt
    where invocation_tasks.run_id in (select run_id from selected_runs)
    group by invocation_tasks.invocation_id
    having count(distinct tasks.kind) = 1 and count(tasks.kind) = count(*)
),

timed as (
    select of_workers.kind, of_workers.execution_ms, coalesce(cold_starts.startup_ms, worker_times.init_ms) as startup_ms
    from of_workers
    inner join cold_starts on of_workers.invocation_id = cold_starts.invocation_id
    inner join worker_times on of_workers.invocation_id = worker_times.invocation_id
)

select
    kind,
    count(*) as workers,
    count(startup_ms) as starts,
    median(startup_ms) as startup_ms,
    sum(startup_ms) / nullif(sum(execution_ms) filter (where startup_ms is not null), 0) as share
from timed
group by kind
having count(startup_ms) > 0
order by kind
"""

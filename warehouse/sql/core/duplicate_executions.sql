-- Which tasks ran more than once, why, and what it cost. One row per further execution. kind 'attempt': the task was
-- tried again (each attempt but the last; by_task_id is NULL); kind 'taskdup': a worker ran an upstream task itself
-- instead of waiting, for its own task by_task_id. Task duplication is recorded when it is attempted: some attempts
-- fail or are overtaken. was_used: the attempt succeeded, or by_task_id had the whole output without a download; NULL
-- where its status, or that input, is not recorded. worker_id: who ran it; recorded_worker_id: whose execution the
-- task's own metrics tell. execution_ms of a duplicate is not recorded: it is taken to be that of the task itself
-- (is_estimate), and gb_seconds is it times the memory of worker_id. upstream_finished_first: the task's own execution
-- had its output before by_task_id began, so that waiting would have done as well.
with done as (
    select * from task_times where is_last_attempt
),

duplicates as (
    select distinct run_id, target_task_id, task_id
    from optimizations
    where optimization = 'taskdup' and stage = 'applied' and target_task_id is not null
),

-- A task may read several objects of one upstream task.
inputs as (
    select
        run_id,
        task_id,
        upstream_task_id,
        max(case when download_ms is not null or preloaded then 1 else 0 end) = 1 as is_fetched
    from task_inputs
    where upstream_task_id is not null
    group by run_id, task_id, upstream_task_id
),

tried as (
    select
        task_times.run_id,
        task_times.task_id,
        'attempt' as kind,
        task_times.attempt,
        cast(null as varchar) as by_task_id,
        task_times.worker_id,
        done.worker_id as recorded_worker_id,
        task_times.memory_mb,
        task_times.status = 'succeeded' as was_used,
        task_times.execution_ms,
        false as is_estimate,
        cast(null as boolean) as upstream_finished_first
    from task_times
    inner join done on task_times.run_id = done.run_id and task_times.task_id = done.task_id
    where not task_times.is_last_attempt
),

duplicated as (
    select
        duplicates.run_id,
        duplicates.target_task_id,
        'taskdup',
        cast(null as integer),
        duplicates.task_id,
        done_by.worker_id,
        done.worker_id as recorded_worker_id,
        done_by.memory_mb,
        not inputs.is_fetched as was_used,
        done.execution_ms,
        true as is_estimate,
        done.finished_at <= done_by.started_at as upstream_finished_first
    from duplicates
    left join done on duplicates.run_id = done.run_id and duplicates.target_task_id = done.task_id
    left join done as done_by on duplicates.run_id = done_by.run_id and duplicates.task_id = done_by.task_id
    left join inputs
        on duplicates.run_id = inputs.run_id and duplicates.task_id = inputs.task_id
        and duplicates.target_task_id = inputs.upstream_task_id
)

select executions.*, cast(memory_mb as double) / 1024 * execution_ms / 1000 as gb_seconds
from (
    select * from tried
    union all
    select * from duplicated
) as executions

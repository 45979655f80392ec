-- Which invocation ran which task. One row per task attempt whose worker's invocation is recorded. An invocation owns the tasks
-- of its (run_id, worker_id); a worker id launched more than once gives each task to the last launch requested (ready, where the
-- request is not recorded) before the task started (tasks that seem to start before the first request belong to it: clocks
-- differ between machines).
with asked as (
    select
        invocation_id,
        run_id,
        worker_id,
        coalesce(requested_at, ready_at) as requested_at
    from invocations
    where worker_id is not null
),

launches as (
    select
        *,
        row_number() over (
            partition by run_id, worker_id order by requested_at nulls last, invocation_id
        ) as launch,
        lead(requested_at) over (
            partition by run_id, worker_id order by requested_at nulls last, invocation_id
        ) as next_requested_at
    from asked
)

select
    launches.invocation_id,
    task_times.run_id,
    task_times.worker_id,
    task_times.task_id,
    task_times.attempt,
    task_times.is_last_attempt,
    task_times.started_at,
    task_times.finished_at,
    task_times.released_at
from launches
inner join task_times
    on launches.run_id = task_times.run_id and launches.worker_id = task_times.worker_id
    and (launches.launch = 1 or task_times.started_at >= launches.requested_at)
    and (launches.next_requested_at is null or task_times.started_at < launches.next_requested_at)

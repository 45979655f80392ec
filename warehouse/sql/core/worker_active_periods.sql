-- How long each worker was active, and its container stayed warm. One row per invocation; times in ms. active_ms runs from the request to
-- released_at, start-up INCLUDED; released_at is the invocation's recorded end, else the last release of its tasks, and NULL where
-- neither is known. busy_ms: the union of its tasks' intervals; idle_ms: neither starting nor busy. active_ms_without_startup: from the
-- first task's start to the end, all that the engine's planner counts today. outcome: the recorded status, else 'worked',
-- 'never_ready' or 'no_tasks' (`worker_times` tells more). keep_warm_until: its release plus the keep-alive of its
-- environment (from labels where there are any), NULL where that is not known; the container is used again before that where another row
-- names this one as its reused_invocation_id: the invocation whose container a warm start most probably took over.
with keep_alives as (
    select engine, environment, keep_alive_ms
    from (
        select
            engine, environment, keep_alive_ms,
            row_number() over (partition by engine, environment order by basis) as place
        from keep_alive
        where keep_alive_ms is not null
    ) as ranked
    where place = 1
)

select
    worker_times.invocation_id,
    worker_times.run_id,
    worker_times.worker_id,
    worker_times.engine,
    worker_times.environment,
    worker_times.memory_mb,
    worker_times.requested_at,
    worker_times.ready_at,
    worker_times.first_task_at,
    worker_times.last_task_at,
    worker_times.released_at,
    worker_times.tasks,
    worker_times.outcome,
    worker_times.task_before_ready,
    worker_times.startup_ms,
    worker_times.active_ms,
    worker_times.busy_ms,
    worker_times.idle_ms,
    worker_times.active_ms_without_startup,
    worker_times.released_at + to_microseconds(try_cast(round(1000 * keep_alives.keep_alive_ms) as bigint))
        as keep_warm_until,
    case when cold_starts.state = 'warm' then cold_starts.matched_invocation_id end as reused_invocation_id
from worker_times
inner join cold_starts on worker_times.invocation_id = cold_starts.invocation_id
left join keep_alives
    on worker_times.engine is not distinct from keep_alives.engine
    and worker_times.environment is not distinct from keep_alives.environment

-- When each worker was asked for, became ready, worked and ended. One row per invocation; times in ms. released_at: the
-- invocation's recorded end, else the last release of its tasks (is_end_recorded tells which); NULL where neither is
-- known, or where it is before the request (two clocks disagreeing). active_ms: request to released_at, start-up
-- INCLUDED. busy_ms: the union of its tasks' intervals, from started_at to released_at, within that time; idle_ms:
-- neither starting nor busy. outcome: the recorded status, else 'worked' (left a task), 'never_ready' (requested, never
-- ready, left nothing) or 'no_tasks' (ready, left nothing); NULL: it ended, nothing else is known. A source that does
-- not record the request has ready_at in its place as requested_at: the order of arrivals stands; startup_ms, active_ms
-- and its parts are NULL. task_before_ready: a task seems to start before its worker was ready (machines' clocks
-- differ; kept as recorded). engine and environment are those of its run, NULL where the run is unknown.
with ends as (
    select
        invocations.*,
        coalesce(invocations.requested_at, invocations.ready_at) as asked_at,
        runs.engine,
        runs.environment,
        owned.first_task_at,
        owned.last_task_at,
        coalesce(owned.tasks, 0) as tasks,
        case
            when coalesce(invocations.finished_at, owned.last_task_at)
                >= coalesce(invocations.requested_at, invocations.ready_at)
                then coalesce(invocations.finished_at, owned.last_task_at)
        end as released_at
    from invocations
    left join (
        select
            invocation_id,
            count(distinct task_id) as tasks,
            min(started_at) as first_task_at,
            max(released_at) as last_task_at
        from invocation_tasks
        group by invocation_id
    ) as owned
        on invocations.invocation_id = owned.invocation_id
    left join runs on invocations.run_id = runs.run_id
),

-- Each task's interval, cut to the active period.
intervals as (
    select
        ends.invocation_id,
        ends.ready_at,
        greatest(invocation_tasks.started_at, ends.asked_at) as begins_at,
        least(invocation_tasks.released_at, ends.released_at) as ends_at
    from ends
    inner join invocation_tasks on ends.invocation_id = invocation_tasks.invocation_id
    where invocation_tasks.started_at is not null and invocation_tasks.released_at is not null
        and ends.released_at is not null
),

reached as (
    select
        *,
        max(ends_at) over (
            partition by invocation_id order by begins_at, ends_at
            rows between unbounded preceding and 1 preceding
        ) as busy_until
    from intervals
),

-- A union of intervals: each adds what lies beyond the furthest end so far.
busy as (
    select
        invocation_id,
        sum(greatest(0, date_diff('microsecond', greatest(begins_at, busy_until), ends_at))) as busy_us,
        sum(greatest(0, date_diff('microsecond', greatest(begins_at, busy_until, ready_at), ends_at))) as after_ready_us
    from reached
    group by invocation_id
),

measured as (
    select
        ends.*,
        busy.busy_us,
        busy.after_ready_us,
        date_diff('microsecond', requested_at, ready_at) as startup_us,
        date_diff('microsecond', requested_at, released_at) as active_us,
        -- What start-up takes of the active period.
        coalesce(greatest(0, date_diff('microsecond', requested_at, least(ready_at, released_at))), 0) as starting_us
    from ends
    left join busy on ends.invocation_id = busy.invocation_id
)

select
    invocation_id,
    run_id,
    worker_id,
    engine,
    environment,
    function,
    memory_mb,
    asked_at as requested_at,
    ready_at,
    first_task_at,
    last_task_at,
    released_at,
    finished_at is not null as is_end_recorded,
    tasks,
    case
        when status is not null then status
        when tasks > 0 then 'worked'
        when finished_at is not null then null
        when ready_at is null then 'never_ready'
        else 'no_tasks'
    end as outcome,
    first_task_at < ready_at as task_before_ready,
    cast(startup_us as double) / 1000 as startup_ms,
    cast(active_us as double) / 1000 as active_ms,
    case when active_us is not null then cast(coalesce(busy_us, 0) as double) / 1000 end as busy_ms,
    cast(active_us - starting_us - coalesce(after_ready_us, 0) as double) / 1000 as idle_ms,
    cast(date_diff('microsecond', first_task_at, released_at) as double) / 1000 as active_ms_without_startup,
    container_id,
    reported_state,
    init_ms,
    logs_dropped,
    file_id
from measured

-- What failed, why, and what else it took down. One row per failure; kind says what its grain is. Per task attempt:
-- 'task_failed' (the last attempt is recorded as failed or killed) and 'attempt_failed' (an earlier one: it was tried
-- again). Per invocation: 'worker_failed' (it says so: its status is failed, killed, error or timeout, or it has an
-- error_type), 'worker_never_ready' (requested, never ready, left nothing) and 'worker_without_tasks' (ready, left
-- nothing, though it was launched with tasks that left no metrics; where no such list is recorded, though it was
-- planned to run such tasks). Per task of the DAG that left no metrics: 'task_not_run', or 'task_not_recorded' where a
-- task that needs it did run. Per run: 'run_incomplete' (some task of the DAG left no metrics) and 'run_without_sink'
-- (its last task left none: there is no makespan). Every task without metrics is put down to one origin, cause_task_id:
-- going back along the upstream tasks that failed or did not run (failed ones first, then by id), and, where neither
-- these nor a worker of its own explain it, those that were not recorded. cause_kind says what stopped the origin:
-- 'task_failed', else what became of the worker that was launched with it or planned to run it (cause_invocation_id),
-- else 'unknown'. tasks_taken_down: of a task, the other tasks not run that are put down to it; of a worker, all tasks
-- not run that are put down to it; of a run, its tasks without metrics. Rows of different kinds count the same losses:
-- never add them up across kinds. A worker that died after its last task leaves no trace.
with recursive done as (
    select run_id, task_id, status
    from task_times
    where is_last_attempt
),

dag_tasks as (
    select run_id, task_id from edges
    union
    select run_id, upstream_task_id from edges
    union
    select run_id, task_id from planned_tasks
    union
    select run_id, sink_task_id from runs where sink_task_id is not null
),

passed as (
    select distinct edges.run_id, edges.upstream_task_id as task_id
    from edges
    inner join done on edges.run_id = done.run_id and edges.task_id = done.task_id
),

absent as (
    select
        dag_tasks.run_id,
        dag_tasks.task_id,
        case when passed.task_id is null then 'task_not_run' else 'task_not_recorded' end as kind
    from dag_tasks
    left join done on dag_tasks.run_id = done.run_id and dag_tasks.task_id = done.task_id
    left join passed on dag_tasks.run_id = passed.run_id and dag_tasks.task_id = passed.task_id
    where done.task_id is null
),

launches as (
    select
        invocations.run_id,
        invocations.invocation_id,
        invocations.worker_id,
        invocations.function,
        invocations.memory_mb,
        invocations.requested_at,
        invocations.status,
        invocations.error_type,
        invocations.initial_task_ids,
        case
            when invocations.status in ('failed', 'killed', 'error', 'timeout') or invocations.error_type is not null
                then 'worker_failed'
            when known.run_id is null then null
            when worker_times.outcome = 'never_ready' then 'worker_never_ready'
            when worker_times.outcome = 'no_tasks' then 'worker_without_tasks'
        end as kind
    from invocations
    inner join worker_times on invocations.invocation_id = worker_times.invocation_id
    left join (
        select run_id from dag_tasks
        union
        select run_id from done
    ) as known
        on invocations.run_id = known.run_id
),

-- Tasks without metrics that a worker was to run: 0 launched with them, 1 planned to (its list is not recorded),
-- 2 planned to, later than those it was launched with.
given as (
    select launches.invocation_id, absent.run_id, absent.task_id, 0 as priority
    from launches
    inner join absent on launches.run_id = absent.run_id and array_contains(launches.initial_task_ids, absent.task_id)
    union all
    select
        launches.invocation_id, absent.run_id, absent.task_id,
        case when launches.initial_task_ids is null then 1 else 2 end
    from launches
    inner join planned_tasks on launches.run_id = planned_tasks.run_id and launches.worker_id = planned_tasks.worker_id
    inner join absent on planned_tasks.run_id = absent.run_id and planned_tasks.task_id = absent.task_id
),

-- A worker whose first tasks were all run has left something after all: one without an id, or one launched twice.
failed_workers as (
    select *
    from launches
    where kind in ('worker_failed', 'worker_never_ready')
        or (kind = 'worker_without_tasks' and invocation_id in (select invocation_id from given where priority < 2))
),

blamed as (
    select run_id, task_id, invocation_id, kind
    from (
        select
            given.run_id,
            given.task_id,
            failed_workers.invocation_id,
            failed_workers.kind,
            row_number() over (
                partition by given.run_id, given.task_id
                order by given.priority, failed_workers.requested_at desc nulls last, failed_workers.invocation_id
            ) as place
        from failed_workers
        inner join given on failed_workers.invocation_id = given.invocation_id
    ) as ranked
    where place = 1
),

-- Tasks that handed nothing on, or whose worker may not have.
blocking as (
    select run_id, task_id, 0 as priority from done where status in ('failed', 'killed')
    union all
    select run_id, task_id, case kind when 'task_not_run' then 1 else 2 end from absent
),

-- A task without a record may well have handed on its output: it is only suspected where nothing nearer is.
blocked_by as (
    select run_id, task_id, upstream_task_id
    from (
        select
            edges.run_id,
            edges.task_id,
            edges.upstream_task_id,
            row_number() over (
                partition by edges.run_id, edges.task_id order by upstream.priority, edges.upstream_task_id
            ) as place
        from edges
        inner join blocking as upstream
            on edges.run_id = upstream.run_id and edges.upstream_task_id = upstream.task_id
        inner join absent on edges.run_id = absent.run_id and edges.task_id = absent.task_id
        left join blamed on edges.run_id = blamed.run_id and edges.task_id = blamed.task_id
        where edges.upstream_task_id <> edges.task_id and (upstream.priority < 2 or blamed.task_id is null)
    ) as ranked
    where place = 1
),

-- Down from the origins: a task is blocked by one other, so that each is reached once, and none where a DAG bites its
-- own tail.
walk as (
    select blocking.run_id, blocking.task_id, blocking.task_id as origin_task_id
    from blocking
    left join blocked_by on blocking.run_id = blocked_by.run_id and blocking.task_id = blocked_by.task_id
    where blocked_by.task_id is null
    union all
    select walk.run_id, blocked_by.task_id, walk.origin_task_id
    from walk
    inner join blocked_by on walk.run_id = blocked_by.run_id and walk.task_id = blocked_by.upstream_task_id
),

-- There each is its own origin.
origins as (
    select absent.run_id, absent.task_id, absent.kind, coalesce(walk.origin_task_id, absent.task_id) as origin_task_id
    from absent
    left join walk on absent.run_id = walk.run_id and absent.task_id = walk.task_id
),

lost as (
    select
        origins.run_id,
        origins.task_id,
        origins.origin_task_id,
        origins.kind,
        case when done.task_id is not null then 'task_failed' else coalesce(blamed.kind, 'unknown') end as cause_kind,
        case when done.task_id is null then blamed.invocation_id end as cause_invocation_id
    from origins
    left join done on origins.run_id = done.run_id and origins.origin_task_id = done.task_id
    left join blamed on origins.run_id = blamed.run_id and origins.origin_task_id = blamed.task_id
),

taken_down_by_task as (
    select run_id, origin_task_id, count(case when task_id <> origin_task_id then 1 end) as tasks
    from lost
    where kind = 'task_not_run'
    group by run_id, origin_task_id
),

taken_down_by_worker as (
    select cause_invocation_id, count(*) as tasks
    from lost
    where kind = 'task_not_run' and cause_invocation_id is not null
    group by cause_invocation_id
),

incomplete as (
    select
        coalesce(run_summary.run_id, absent_of_run.run_id) as run_id,
        run_summary.submitted_at,
        greatest(coalesce(absent_of_run.tasks, 0), run_summary.tasks_expected - run_summary.tasks_seen) as tasks
    from run_summary
    full join (select run_id, count(*) as tasks from absent group by run_id) as absent_of_run
        on run_summary.run_id = absent_of_run.run_id
    where absent_of_run.tasks > 0 or not run_summary.is_complete
)

select
    task_times.run_id,
    case when task_times.is_last_attempt then 'task_failed' else 'attempt_failed' end as kind,
    task_times.task_id,
    task_times.attempt,
    invocation_tasks.invocation_id,
    task_times.worker_id,
    task_times.function,
    task_times.memory_mb,
    task_times.started_at as happened_at,
    task_times.status,
    task_times.exit_code,
    task_times.error_type,
    task_times.error_message,
    cast(null as varchar) as cause_kind,
    cast(null as varchar) as cause_task_id,
    cast(null as varchar) as cause_invocation_id,
    case when task_times.is_last_attempt then coalesce(taken_down_by_task.tasks, 0) else 0 end as tasks_taken_down
from task_times
left join invocation_tasks
    on task_times.run_id = invocation_tasks.run_id and task_times.task_id = invocation_tasks.task_id
    and task_times.attempt is not distinct from invocation_tasks.attempt
left join taken_down_by_task
    on task_times.run_id = taken_down_by_task.run_id and task_times.task_id = taken_down_by_task.origin_task_id
where task_times.status in ('failed', 'killed')
union all
select
    failed_workers.run_id,
    failed_workers.kind,
    null,
    null,
    failed_workers.invocation_id,
    failed_workers.worker_id,
    failed_workers.function,
    failed_workers.memory_mb,
    failed_workers.requested_at,
    failed_workers.status,
    null,
    failed_workers.error_type,
    null,
    null,
    null,
    null,
    coalesce(taken_down_by_worker.tasks, 0)
from failed_workers
left join taken_down_by_worker on failed_workers.invocation_id = taken_down_by_worker.cause_invocation_id
union all
select
    lost.run_id,
    lost.kind,
    lost.task_id,
    null,
    null,
    planned_tasks.worker_id,
    null,
    planned_tasks.memory_mb,
    null,
    null,
    null,
    null,
    null,
    lost.cause_kind,
    lost.origin_task_id,
    lost.cause_invocation_id,
    coalesce(taken_down_by_task.tasks, 0)
from lost
left join taken_down_by_task
    on lost.run_id = taken_down_by_task.run_id and lost.task_id = taken_down_by_task.origin_task_id
left join planned_tasks on lost.run_id = planned_tasks.run_id and lost.task_id = planned_tasks.task_id
union all
select
    run_id,
    'run_incomplete',
    null,
    null,
    null,
    null,
    null,
    null,
    submitted_at,
    null,
    null,
    null,
    null,
    null,
    null,
    null,
    tasks
from incomplete
union all
select
    runs.run_id,
    'run_without_sink',
    runs.sink_task_id,
    null,
    null,
    null,
    null,
    null,
    runs.submitted_at,
    null,
    null,
    null,
    null,
    lost.cause_kind,
    lost.origin_task_id,
    lost.cause_invocation_id,
    incomplete.tasks
from runs
inner join lost on runs.run_id = lost.run_id and runs.sink_task_id = lost.task_id
inner join incomplete on runs.run_id = incomplete.run_id

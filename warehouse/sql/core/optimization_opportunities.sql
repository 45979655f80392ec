-- What each optimisation could have acted on, and what became of it. One row per (run_id, optimization, task_id,
-- target_worker_id): 'prewarm' acts on a worker, target_worker_id, and task_id is the task that was to launch its
-- container, else the one that did (NULL where neither is; a pre-warm without a worker on record is left out); all
-- others act on a task, task_id. eligible follows from edges and the plan's workers, NULL where there is no plan
-- ('wukong' needs none, for it goes by the edges alone): a 'preload' needs a task on a fixed worker with at least two
-- upstream tasks on other workers; a 'prewarm' a worker predicted cold that runs no root task; a 'taskdup' a task with
-- a downstream task on another worker; 'wukong' (its planners alone) a task with two downstream tasks or more, or one
-- that feeds a task with two upstream tasks or more. Versions of an engine may assign by other rules, so a row may be
-- assigned without being eligible. applied: a worker recorded it; NULL where it did not and the record may be missing:
-- 'wukong' records nothing, nor does a task without metrics (for 'taskdup' the tasks downstream record it). effective,
-- of applied ones: 'preload', some input fetched by it was there before the task looked for it (it has no download
-- time); 'prewarm', the worker was requested after it was triggered and every start of it was warm; 'taskdup', a task
-- that duplicated it had the output without a download; 'wukong', without a record of being applied: fewer workers ran
-- the downstream tasks of a fan-out than there are of them. NULL: not known. saved_ms is an ESTIMATE, of effective
-- ones: for 'preload' by how much the longest of the task's parallel downloads got shorter, for 'taskdup' the download
-- spared, both at the median speed of their size in `transfer_speeds`; for 'prewarm' the median cold start of the same
-- engine, environment and memory less the worker's own start-up.
with done as (
    select run_id, task_id, worker_id
    from task_times
    where is_last_attempt
),

dag as (
    select
        edges.run_id,
        edges.upstream_task_id,
        edges.task_id,
        upstream.worker_id is distinct from planned_tasks.worker_id as is_elsewhere,
        done.task_id is not null as is_recorded,
        done.worker_id as ran_on_worker_id,
        count(*) over (partition by edges.run_id, edges.task_id) as upstream_tasks
    from edges
    left join planned_tasks as upstream on edges.run_id = upstream.run_id and edges.upstream_task_id = upstream.task_id
    left join planned_tasks on edges.run_id = planned_tasks.run_id and edges.task_id = planned_tasks.task_id
    left join done on edges.run_id = done.run_id and edges.task_id = done.task_id
),

above as (
    select run_id, task_id, count(case when is_elsewhere then 1 end) as upstream_elsewhere
    from dag
    group by run_id, task_id
),

below as (
    select
        run_id,
        upstream_task_id as task_id,
        count(*) as downstream_tasks,
        count(case when is_elsewhere then 1 end) as downstream_elsewhere,
        max(upstream_tasks) as widest_fan_in,
        count(case when not is_recorded then 1 end) as downstream_unrecorded
    from dag
    group by run_id, upstream_task_id
),

eligible_tasks as (
    select
        planned_tasks.run_id, 'preload' as optimization, planned_tasks.task_id,
        planned_tasks.worker_id is not null and coalesce(above.upstream_elsewhere, 0) >= 2 as eligible
    from planned_tasks
    left join above on planned_tasks.run_id = above.run_id and planned_tasks.task_id = above.task_id
    union all
    select planned_tasks.run_id, 'taskdup', planned_tasks.task_id, coalesce(below.downstream_elsewhere, 0) >= 1
    from planned_tasks
    left join below on planned_tasks.run_id = below.run_id and planned_tasks.task_id = below.task_id
    union all
    select below.run_id, 'wukong', below.task_id, below.downstream_tasks >= 2 or below.widest_fan_in >= 2
    from below
    inner join run_summary on below.run_id = run_summary.run_id and run_summary.planner like 'WUKONG%'
),

planned_workers as (
    select
        planned_tasks.run_id,
        planned_tasks.worker_id,
        max(case when planned_tasks.startup_state = 'cold' then 1 else 0 end) = 1
        and min(case when above.task_id is null then 0 else 1 end) = 1 as eligible
    from planned_tasks
    left join above on planned_tasks.run_id = above.run_id and planned_tasks.task_id = above.task_id
    where planned_tasks.worker_id is not null
    group by planned_tasks.run_id, planned_tasks.worker_id
),

-- The assigned pre-warms of a task are one record with a list of workers.
assigned_workers as (
    select
        targets.run_id,
        targets.worker_id,
        min(targets.task_id) as task_id,
        count(done.task_id) = count(*) as is_recorded
    from (
        select run_id, task_id, target_worker_id as worker_id
        from optimizations
        where optimization = 'prewarm' and stage = 'assigned' and target_worker_id is not null
        union
        select run_id, task_id, target.worker_id
        from (
            select
                run_id,
                task_id,
                unnest(from_json(json_extract(extra, '$.targets'), '[{"worker_id": "VARCHAR"}]')) as target
            from optimizations
            where optimization = 'prewarm' and stage = 'assigned' and target_worker_id is null
        ) as listed
        where target.worker_id is not null
    ) as targets
    left join done on targets.run_id = done.run_id and targets.task_id = done.task_id
    group by targets.run_id, targets.worker_id
),

applied_workers as (
    select run_id, target_worker_id as worker_id, min(task_id) as task_id, min(happened_at) as happened_at
    from optimizations
    where optimization = 'prewarm' and stage = 'applied' and target_worker_id is not null
    group by run_id, target_worker_id
),

assigned_tasks as (
    select distinct run_id, optimization, task_id
    from optimizations
    where stage = 'assigned' and optimization <> 'prewarm'
),

applied_tasks as (
    select distinct
        run_id, optimization,
        case when optimization = 'taskdup' then coalesce(target_task_id, task_id) else task_id end as task_id
    from optimizations
    where stage = 'applied' and optimization <> 'prewarm'
),

speeds as (
    select
        engine, environment, memory_mb, size_class,
        coalesce(bytes_per_ms, speed_of_all_sizes) as bytes_per_ms
    from transfer_speeds
    where direction = 'download'
),

-- What a download that did not happen, or was not timed, would have taken.
inputs as (
    select
        transfers.run_id,
        transfers.task_id,
        transfers.upstream_task_id,
        transfers.preloaded,
        transfers.ms as download_ms,
        cast(transfers.bytes as double) / nullif(speeds.bytes_per_ms, 0) as estimated_ms
    from transfers
    inner join done on transfers.run_id = done.run_id and transfers.task_id = done.task_id
    inner join runs on transfers.run_id = runs.run_id
    left join speeds
        on transfers.engine is not distinct from speeds.engine
        and transfers.environment is not distinct from speeds.environment
        and transfers.memory_mb is not distinct from speeds.memory_mb
        and transfers.size_class = speeds.size_class
    where transfers.direction = 'download' and transfers.upstream_task_id is not null
),

preloaded as (
    select
        run_id,
        task_id,
        any_untimed = 1 as effective,
        case
            when longest_estimated_ms > coalesce(longest_ms, 0) then longest_estimated_ms - coalesce(longest_ms, 0)
            when longest_estimated_ms is not null then 0
        end as saved_ms
    from (
        select
            run_id,
            task_id,
            max(case when preloaded and download_ms is null then 1 when preloaded then 0 end) as any_untimed,
            max(case when preloaded and download_ms is null then estimated_ms end) as longest_estimated_ms,
            max(download_ms) as longest_ms
        from inputs
        group by run_id, task_id
    ) as longest
),

duplicated as (
    select
        applied.run_id,
        applied.target_task_id as task_id,
        max(case
            when inputs.download_ms is not null or inputs.preloaded then 0
            when inputs.task_id is not null then 1
        end) = 1 as effective,
        max(case
            when inputs.download_ms is not null or inputs.preloaded then null
            else inputs.estimated_ms
        end) as saved_ms
    from optimizations as applied
    left join inputs
        on applied.run_id = inputs.run_id and applied.task_id = inputs.task_id
        and applied.target_task_id = inputs.upstream_task_id
    where applied.optimization = 'taskdup' and applied.stage = 'applied'
    group by applied.run_id, applied.target_task_id
),

clustered as (
    select
        run_id,
        upstream_task_id as task_id,
        case
            when count(distinct ran_on_worker_id) < count(ran_on_worker_id) then true
            when count(ran_on_worker_id) = count(*) then false
        end as effective
    from dag
    group by run_id, upstream_task_id
    having count(*) >= 2
),

started as (
    select
        cold_starts.run_id,
        cold_starts.worker_id,
        min(cold_starts.requested_at) as requested_at,
        case min(cold_starts.state) when 'warm' then true when 'cold' then false end as effective,
        max(typical.cold_ms) - max(cold_starts.startup_ms) as saved_ms
    from cold_starts
    left join (
        select engine, environment, memory_mb, median(startup_ms) as cold_ms
        from cold_starts
        where state = 'cold'
        group by engine, environment, memory_mb
    ) as typical
        on cold_starts.engine is not distinct from typical.engine
        and cold_starts.environment is not distinct from typical.environment
        and cold_starts.memory_mb is not distinct from typical.memory_mb
    where cold_starts.worker_id is not null
    group by cold_starts.run_id, cold_starts.worker_id
),

runs_with_starts as (
    select distinct run_id from started
),

workers as (
    select run_id, worker_id from planned_workers
    union
    select run_id, worker_id from assigned_workers
    union
    select run_id, worker_id from applied_workers
),

tasks_acted_on as (
    select run_id, optimization, task_id from eligible_tasks
    union
    select run_id, optimization, task_id from assigned_tasks
    union
    select run_id, optimization, task_id from applied_tasks
),

judged as (
    select
        workers.run_id,
        'prewarm' as optimization,
        coalesce(assigned_workers.task_id, applied_workers.task_id) as task_id,
        workers.worker_id as target_worker_id,
        planned_workers.eligible,
        assigned_workers.worker_id is not null as assigned,
        case
            when applied_workers.worker_id is not null then true
            when assigned_workers.worker_id is null or assigned_workers.is_recorded then false
        end as applied,
        case
            when runs_with_starts.run_id is not null and started.worker_id is null then false
            when applied_workers.happened_at > started.requested_at then false
            else started.effective
        end as effective_if_applied,
        started.saved_ms
    from workers
    left join planned_workers
        on workers.run_id = planned_workers.run_id and workers.worker_id = planned_workers.worker_id
    left join assigned_workers
        on workers.run_id = assigned_workers.run_id and workers.worker_id = assigned_workers.worker_id
    left join applied_workers
        on workers.run_id = applied_workers.run_id and workers.worker_id = applied_workers.worker_id
    left join runs_with_starts on workers.run_id = runs_with_starts.run_id
    left join started on workers.run_id = started.run_id and workers.worker_id = started.worker_id
    union all
    select
        acted_on.run_id,
        acted_on.optimization,
        acted_on.task_id,
        null,
        eligible_tasks.eligible,
        assigned_tasks.task_id is not null,
        case
            when applied_tasks.task_id is not null then true
            when acted_on.optimization = 'wukong' then null
            when assigned_tasks.task_id is null then false
            when acted_on.optimization = 'taskdup' and below.downstream_unrecorded = 0 then false
            when acted_on.optimization <> 'taskdup' and done.task_id is not null then false
        end,
        case acted_on.optimization
            when 'preload' then preloaded.effective
            when 'taskdup' then duplicated.effective
            when 'wukong' then clustered.effective
        end,
        case acted_on.optimization when 'preload' then preloaded.saved_ms when 'taskdup' then duplicated.saved_ms end
    from tasks_acted_on as acted_on
    left join eligible_tasks
        on acted_on.run_id = eligible_tasks.run_id and acted_on.optimization = eligible_tasks.optimization
        and acted_on.task_id = eligible_tasks.task_id
    left join assigned_tasks
        on acted_on.run_id = assigned_tasks.run_id and acted_on.optimization = assigned_tasks.optimization
        and acted_on.task_id = assigned_tasks.task_id
    left join applied_tasks
        on acted_on.run_id = applied_tasks.run_id and acted_on.optimization = applied_tasks.optimization
        and acted_on.task_id = applied_tasks.task_id
    left join done on acted_on.run_id = done.run_id and acted_on.task_id = done.task_id
    left join below on acted_on.run_id = below.run_id and acted_on.task_id = below.task_id
    left join preloaded on acted_on.run_id = preloaded.run_id and acted_on.task_id = preloaded.task_id
    left join duplicated on acted_on.run_id = duplicated.run_id and acted_on.task_id = duplicated.task_id
    left join clustered on acted_on.run_id = clustered.run_id and acted_on.task_id = clustered.task_id
),

decided as (
    select
        *,
        case
            when applied then effective_if_applied
            when applied is null and optimization = 'wukong' and assigned then effective_if_applied
            when not applied then false
        end as effective
    from judged
)

select
    decided.run_id,
    run_summary.engine,
    run_summary.environment,
    run_summary.workflow,
    run_summary.planner,
    decided.optimization,
    decided.task_id,
    decided.target_worker_id,
    decided.eligible,
    decided.assigned,
    decided.applied,
    decided.effective,
    case when decided.effective then decided.saved_ms end as saved_ms
from decided
left join run_summary on decided.run_id = run_summary.run_id
where decided.eligible or decided.assigned or decided.applied

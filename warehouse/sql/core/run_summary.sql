-- What each run was and what it took. One row per run, incomplete ones included (is_complete says so: every task of its
-- DAG left metrics; where the source records no DAG, true if it records the end of the run, for nothing says that a
-- task is missing, else NULL). Sums are over the task attempts and workers that left metrics and count a phase that did
-- not happen as 0; they are NULL where nothing was left. makespan_ms: from submission until the sink's output was
-- available and its workers were told; where the source names no sink or the sink left no metrics, until the end that
-- it records of the run itself; NULL where neither is known, or that end is before the submission, or the sink, or
-- without one any task's last attempt, failed or was killed. cold_starts, warm_starts and unknown_starts are those of
-- `cold_starts` (reported where the source says, else inferred); NULL where the source records no workers, whose number
-- then is that of the tasks' workers. gb_seconds_derived: memory times active_ms of `worker_active_periods`, or the
-- start-up of a worker that left no task; those that never became ready are left out of it, so it is a lower bound
-- where workers died. NULL where memory or active time of any that ran is not known. cost_usd: the same at the
-- environment's price per GB-second, with a worker's billed duration in place of active_ms where the source records it,
-- plus the price of the invocations. failed_tasks: tasks whose last attempt is recorded as failed or killed. killed_workers:
-- workers that say so, and those of unknown status that never became ready, never finished and left no task. In the
-- recorded dumps (540 runs, 4,299 workers) every one of the 4,272 workers that became ready left a task, and the 27
-- others left none and stand in 19 of the 21 incomplete runs. A death after a worker's last task leaves no trace, and a
-- worker given up because the client died counts too.
with done as (
    select
        run_id,
        count(distinct task_id) as tasks_seen,
        nullif(count(distinct worker_id), 0) as task_workers,
        sum(execution_ms) as execution_ms,
        coalesce(sum(input_wait_ms), 0) as input_wait_ms,
        coalesce(sum(download_ms), 0) as download_ms,
        coalesce(sum(upload_ms), 0) as upload_ms,
        try_cast(sum(downloaded_bytes) as bigint) as downloaded_bytes,
        try_cast(sum(case when upload_ms is null then 0 else output_bytes end) as bigint) as uploaded_bytes,
        try_cast(sum(inputs_bytes) as bigint) as input_bytes,
        try_cast(sum(output_bytes) as bigint) as output_bytes,
        count(case when is_last_attempt and status in ('failed', 'killed') then 1 end) as failed_tasks,
        min(planner) as planner
    from task_times
    group by run_id
),

dag as (
    select
        dag_tasks.run_id,
        count(*) as tasks_in_edges,
        count(case when seen.task_id is null then 1 end) as tasks_missing
    from (
        select run_id, task_id from edges
        union
        select run_id, upstream_task_id from edges
    ) as dag_tasks
    left join (select run_id, task_id from task_times where is_last_attempt) as seen
        on dag_tasks.run_id = seen.run_id and dag_tasks.task_id = seen.task_id
    group by dag_tasks.run_id
),

held as (
    select
        periods.run_id,
        periods.invocation_id,
        periods.startup_ms,
        periods.outcome,
        periods.ready_at is not null or periods.tasks > 0 as ran,
        cast(periods.memory_mb as double) / 1024
        * coalesce(periods.active_ms, case when periods.tasks = 0 then periods.startup_ms end) / 1000 as held_gb_seconds,
        cast(periods.memory_mb as double) / 1024 * coalesce(
            invocations.billed_ms, periods.active_ms, case when periods.tasks = 0 then periods.startup_ms end
        ) / 1000 as billed_gb_seconds
    from worker_active_periods as periods
    inner join invocations on periods.invocation_id = invocations.invocation_id
),

launched as (
    select
        periods.run_id,
        count(*) as workers,
        count(case when cold_starts.state = 'cold' then 1 end) as cold_starts,
        count(case when cold_starts.state = 'warm' then 1 end) as warm_starts,
        count(case when cold_starts.state = 'unknown' then 1 end) as unknown_starts,
        sum(periods.startup_ms) as startup_ms,
        case when count(case when periods.ran and periods.held_gb_seconds is null then 1 end) = 0
            then sum(periods.held_gb_seconds)
        end as gb_seconds_derived,
        case when count(case when periods.ran and periods.billed_gb_seconds is null then 1 end) = 0
            then sum(periods.billed_gb_seconds)
        end as gb_seconds_billed,
        count(case when periods.outcome in ('killed', 'never_ready') then 1 end) as killed_workers
    from held as periods
    inner join cold_starts on periods.invocation_id = cold_starts.invocation_id
    group by periods.run_id
),

sink as (
    select
        runs.run_id,
        case
            when coalesce(task_times.status, '') not in ('failed', 'killed')
                then task_times.finish_offset_ms + coalesce(task_times.invocation_ms, 0)
        end as makespan_ms
    from runs
    inner join task_times
        on runs.run_id = task_times.run_id and runs.sink_task_id = task_times.task_id and task_times.is_last_attempt
),

tags as (
    select run_id, map_from_entries(array_sort(array_agg(struct_pack(k := tag, v := value)))) as tags
    from run_tags
    group by run_id
),

-- Two sources may price one environment: the later price stands.
latest_prices as (
    select environment, gb_second_usd, request_usd
    from (
        select
            environment, gb_second_usd, request_usd,
            row_number() over (
                partition by environment order by as_of desc nulls last, file_id desc nulls last
            ) as place
        from prices
    ) as ranked
    where place = 1
)

select
    runs.run_id,
    runs.engine,
    runs.workflow,
    runs.structure_hash,
    coalesce(plans.planner, runs.planner, done.planner) as planner,
    coalesce(plans.sla, runs.sla) as sla,
    case when plans.sla is not null then plans.sla_percentile else runs.sla_percentile end as sla_percentile,
    runs.environment,
    tags.tags,
    runs.submitted_at,
    coalesce(
        sink.makespan_ms,
        case
            when coalesce(done.failed_tasks, 0) = 0 and runs.finished_at >= runs.submitted_at
                then cast(date_diff('microsecond', runs.submitted_at, runs.finished_at) as double) / 1000
        end
    ) as makespan_ms,
    case
        when runs.expected_tasks is null and dag.run_id is null
            then case when runs.finished_at is not null and done.run_id is not null then true end
        else coalesce(done.tasks_seen, 0) >= coalesce(runs.expected_tasks, dag.tasks_in_edges)
            and coalesce(dag.tasks_missing, 0) = 0
    end as is_complete,
    coalesce(runs.expected_tasks, dag.tasks_in_edges) as tasks_expected,
    coalesce(done.tasks_seen, 0) as tasks_seen,
    coalesce(launched.workers, done.task_workers) as workers,
    launched.cold_starts,
    launched.warm_starts,
    coalesce(launched.unknown_starts, done.task_workers) as unknown_starts,
    launched.startup_ms,
    done.execution_ms,
    done.input_wait_ms,
    done.download_ms,
    done.upload_ms,
    done.downloaded_bytes,
    done.uploaded_bytes,
    done.input_bytes,
    done.output_bytes,
    runs.gb_seconds,
    launched.gb_seconds_derived,
    runs.cpu_seconds,
    launched.gb_seconds_billed * coalesce(here.gb_second_usd, everywhere.gb_second_usd)
    + launched.workers * coalesce(here.request_usd, everywhere.request_usd) as cost_usd,
    coalesce(done.failed_tasks, 0) as failed_tasks,
    coalesce(launched.killed_workers, 0) as killed_workers
from runs
left join plans on runs.run_id = plans.run_id
left join done on runs.run_id = done.run_id
left join dag on runs.run_id = dag.run_id
left join launched on runs.run_id = launched.run_id
left join sink on runs.run_id = sink.run_id
left join tags on runs.run_id = tags.run_id
left join latest_prices as here on runs.environment = here.environment
left join latest_prices as everywhere on everywhere.environment = 'default'

-- What each run was and what it took. One row per run, incomplete ones included (is_complete says so).
-- Sums are over the tasks and workers that left metrics and count a phase that did not happen as 0; they are NULL where
-- nothing was left. makespan_ms: from submission until the sink's output was available and its workers were told.
with done as (
    select
        run_id,
        count(distinct task_id) as tasks_seen,
        count(distinct worker_id) as task_workers,
        coalesce(sum(execution_ms), 0) as execution_ms,
        coalesce(sum(input_wait_ms), 0) as input_wait_ms,
        coalesce(sum(download_ms), 0) as download_ms,
        coalesce(sum(upload_ms), 0) as upload_ms,
        cast(coalesce(sum(downloaded_bytes), 0) as bigint) as downloaded_bytes,
        cast(coalesce(sum(case when upload_ms is not null then output_bytes end), 0) as bigint) as uploaded_bytes,
        cast(coalesce(sum(inputs_bytes), 0) as bigint) as input_bytes,
        cast(coalesce(sum(output_bytes), 0) as bigint) as output_bytes,
        count(case when status = 'failed' then 1 end) as failed_tasks,
        min(planner) as planner
    from task_times
    group by run_id
),

dag as (
    select run_id, count(distinct task_id) as tasks_in_edges
    from (
        select run_id, task_id from edges
        union all
        select run_id, upstream_task_id from edges
    )
    group by run_id
),

released as (
    select run_id, worker_id, count(*) as tasks, max(released_at) as last_released_at
    from task_times
    where worker_id is not null
    group by run_id, worker_id
),

launched as (
    select
        invocations.run_id,
        count(*) as workers,
        count(case when reported_state = 'cold' then 1 end) as cold_starts,
        count(case when reported_state = 'warm' then 1 end) as warm_starts,
        count(case when reported_state is null then 1 end) as unknown_starts,
        coalesce(sum(date_diff('microsecond', requested_at, ready_at)) / 1000.0, 0) as startup_ms,
        sum(
            memory_mb / 1024.0
            * date_diff('microsecond', requested_at, coalesce(finished_at, last_released_at, ready_at)) / 1000000.0
        ) as gb_seconds_derived,
        count(case when invocations.status = 'killed' or (ready_at is null and finished_at is null) then 1 end) as killed_workers
    from invocations
    left join released on invocations.run_id = released.run_id and invocations.worker_id = released.worker_id
    group by invocations.run_id
),

sink as (
    select
        runs.run_id,
        max(task_times.finish_offset_ms + coalesce(task_times.invocation_ms, 0)) as makespan_ms
    from runs
    inner join task_times on runs.run_id = task_times.run_id and runs.sink_task_id = task_times.task_id
    group by runs.run_id
),

tags as (
    select run_id, map_from_entries(list(struct_pack(k := tag, v := value) order by tag)) as tags
    from run_tags
    group by run_id
)

select
    runs.run_id,
    runs.engine,
    runs.workflow,
    runs.structure_hash,
    coalesce(plans.planner, runs.planner, done.planner) as planner,
    coalesce(plans.sla, runs.sla) as sla,
    coalesce(plans.sla_percentile, runs.sla_percentile) as sla_percentile,
    runs.environment,
    tags.tags,
    runs.submitted_at,
    sink.makespan_ms,
    coalesce(done.tasks_seen, 0) >= coalesce(runs.expected_tasks, dag.tasks_in_edges) as is_complete,
    coalesce(runs.expected_tasks, dag.tasks_in_edges) as tasks_expected,
    coalesce(done.tasks_seen, 0) as tasks_seen,
    coalesce(launched.workers, done.task_workers, 0) as workers,
    coalesce(launched.cold_starts, 0) as cold_starts,
    coalesce(launched.warm_starts, 0) as warm_starts,
    coalesce(launched.unknown_starts, 0) as unknown_starts,
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
    launched.gb_seconds_derived * coalesce(here.gb_second_usd, everywhere.gb_second_usd)
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
left join prices as here on runs.environment = here.environment
left join prices as everywhere on everywhere.environment = 'default'

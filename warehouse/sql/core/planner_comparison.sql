-- Which planner is fastest, which cheapest, and which are beaten on both counts. One row per (engine, workflow,
-- planner). Medians are over complete runs (n, of runs; those whose DAG is unknown are in neither count);
-- runs_incomplete, failed_tasks and killed_workers stand beside them, for a planner whose runs die has only its
-- survivors in its medians. gb_seconds: derived from active periods; gb_seconds_recorded: as the engine sampled it,
-- with how often it recorded exactly 0. resource is what is compared beside the makespan: 'cost_usd' where every
-- complete run of the workflow that has gb_seconds has a price too, else 'gb_seconds'. makespan_ratio and
-- resource_ratio: to the planner with the lowest median in that workflow. is_on_frontier: no other planner of the
-- workflow has a lower median makespan without a higher median resource, or the reverse; NULL where either is unknown.
-- Nothing is adjusted: memory, SLA, input size and environment may differ between planners, pre-loaded inputs often
-- lose their download time (preloaded_inputs counts them), and input waits are not recorded on WUKONG's workers (NULL).
with waits as (
    select run_id, sum(input_wait_ms) as waited_ms, avg(cast(memory_mb as double)) as memory_mb
    from task_times
    group by run_id
),

fetched as (
    select
        run_id,
        count(case when preloaded and download_ms is null then 1 end) as preloaded_inputs
    from task_inputs
    group by run_id
),

complete as (
    select
        run_summary.*,
        waits.waited_ms,
        waits.memory_mb,
        coalesce(fetched.preloaded_inputs, 0) as preloaded_inputs
    from run_summary
    left join waits on run_summary.run_id = waits.run_id
    left join fetched on run_summary.run_id = fetched.run_id
    where run_summary.is_complete
),

grouped as (
    select
        run_summary.engine,
        run_summary.workflow,
        run_summary.planner,
        count(*) as runs,
        count(complete.run_id) as n,
        count(case when not run_summary.is_complete then 1 end) as runs_incomplete,
        cast(sum(run_summary.failed_tasks) as bigint) as failed_tasks,
        cast(sum(run_summary.killed_workers) as bigint) as killed_workers,
        count(distinct run_summary.environment) as environments,
        count(distinct run_summary.sla) as slas,
        median(complete.makespan_ms) as makespan_ms,
        percentile_cont(0.25) within group (order by complete.makespan_ms) as makespan_p25_ms,
        percentile_cont(0.75) within group (order by complete.makespan_ms) as makespan_p75_ms,
        median(complete.execution_ms) as execution_ms,
        median(complete.waited_ms) as input_wait_ms,
        median(complete.download_ms) as download_ms,
        median(complete.upload_ms) as upload_ms,
        median(complete.startup_ms) as startup_ms,
        median(complete.workers) as workers,
        median(complete.memory_mb) as memory_mb,
        cast(sum(complete.cold_starts) as double)
        / nullif(sum(complete.cold_starts + complete.warm_starts), 0) as cold_share,
        median(complete.gb_seconds_derived) as gb_seconds,
        median(complete.gb_seconds) as gb_seconds_recorded,
        count(case when complete.gb_seconds = 0 then 1 end) as gb_seconds_recorded_zero,
        median(complete.cost_usd) as cost_usd,
        median(complete.downloaded_bytes) as downloaded_bytes,
        cast(sum(complete.preloaded_inputs) as bigint) as preloaded_inputs
    from run_summary
    left join complete on run_summary.run_id = complete.run_id
    group by run_summary.engine, run_summary.workflow, run_summary.planner
),

-- Costs of some runs must not be compared with times of all.
priced as (
    select
        grouped.*,
        case when workflows.unpriced = 0 and workflows.priced > 0 then 'cost_usd' else 'gb_seconds' end as resource
    from grouped
    left join (
        select
            engine,
            workflow,
            count(cost_usd) as priced,
            count(case when gb_seconds_derived is not null and cost_usd is null then 1 end) as unpriced
        from complete
        group by engine, workflow
    ) as workflows
        on grouped.engine is not distinct from workflows.engine
        and grouped.workflow is not distinct from workflows.workflow
),

placed as (
    select *, case resource when 'cost_usd' then cost_usd else gb_seconds end as resource_value
    from priced
),

-- Beaten: one planner is at least as good on both counts, and better on one.
beaten as (
    select distinct slower.engine, slower.workflow, slower.planner, true as is_beaten
    from placed as slower
    inner join placed as better
        on slower.engine is not distinct from better.engine and slower.workflow is not distinct from better.workflow
        and better.makespan_ms <= slower.makespan_ms and better.resource_value <= slower.resource_value
        and (better.makespan_ms < slower.makespan_ms or better.resource_value < slower.resource_value)
)

select
    placed.*,
    makespan_ms / nullif(min(makespan_ms) over (partition by placed.engine, placed.workflow), 0) as makespan_ratio,
    resource_value / nullif(min(resource_value) over (partition by placed.engine, placed.workflow), 0)
        as resource_ratio,
    case when makespan_ms is not null and resource_value is not null then beaten.is_beaten is null end
        as is_on_frontier
from placed
left join beaten
    on placed.engine is not distinct from beaten.engine
    and placed.workflow is not distinct from beaten.workflow
    and placed.planner is not distinct from beaten.planner

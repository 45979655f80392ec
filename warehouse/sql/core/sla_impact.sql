-- What conservative and optimistic SLAs do to what actually happens. One row per (workflow, planner, sla,
-- sla_percentile, metric): n runs with a value, their median and quartiles, and ratio_of_medians to the reference SLA
-- of the same workflow and planner: 'p50' where there is one, else 'average', else the lowest percentile
-- (reference_sla). Metrics: makespan_ms, execution_ms, input_wait_ms, download_ms, upload_ms, startup_ms, gb_seconds
-- (derived from active periods), cost_usd, workers, memory_mb (of the tasks, mean over a run), cold_share (cold starts
-- among those known). Only complete runs count: runs and runs_incomplete say how many there are and how many that
-- leaves out (those whose DAG is unknown are left out too). Nothing is adjusted: runs of different SLAs may differ in
-- input size or environment (environments counts them), pre-loaded inputs often lose their download time, input waits
-- are not recorded everywhere (then there is no row), and a run without an SLA on record (sla NULL) is mostly one
-- without a plan.
with tasks_of_run as (
    select run_id, sum(input_wait_ms) as waited_ms, avg(cast(memory_mb as double)) as memory_mb
    from task_times
    group by run_id
),

complete as (
    select
        run_summary.*,
        tasks_of_run.waited_ms,
        tasks_of_run.memory_mb,
        cast(cold_starts as double) / nullif(cold_starts + warm_starts, 0) as cold_share
    from run_summary
    left join tasks_of_run on run_summary.run_id = tasks_of_run.run_id
    where run_summary.is_complete
),

measured as (
    select run_id, 'makespan_ms' as metric, makespan_ms as value from complete
    union all
    select run_id, 'execution_ms', execution_ms from complete
    union all
    select run_id, 'input_wait_ms', waited_ms from complete
    union all
    select run_id, 'download_ms', download_ms from complete
    union all
    select run_id, 'upload_ms', upload_ms from complete
    union all
    select run_id, 'startup_ms', startup_ms from complete
    union all
    select run_id, 'gb_seconds', gb_seconds_derived from complete
    union all
    select run_id, 'cost_usd', cost_usd from complete
    union all
    select run_id, 'workers', cast(workers as double) from complete
    union all
    select run_id, 'memory_mb', memory_mb from complete
    union all
    select run_id, 'cold_share', cold_share from complete
),

grouped as (
    select
        workflow,
        planner,
        sla,
        sla_percentile,
        count(*) as runs,
        count(*) - count(case when is_complete then 1 end) as runs_incomplete,
        count(distinct environment) as environments
    from run_summary
    group by workflow, planner, sla, sla_percentile
),

spread as (
    select
        run_summary.workflow,
        run_summary.planner,
        run_summary.sla,
        run_summary.sla_percentile,
        measured.metric,
        count(measured.value) as n,
        median(measured.value) as median_value,
        percentile_cont(0.25) within group (order by measured.value) as p25,
        percentile_cont(0.75) within group (order by measured.value) as p75
    from measured
    inner join run_summary on measured.run_id = run_summary.run_id
    group by run_summary.workflow, run_summary.planner, run_summary.sla, run_summary.sla_percentile, measured.metric
    having count(measured.value) > 0
),

referred as (
    select
        *,
        row_number() over (
            partition by workflow, planner, metric
            order by
                case when sla = 'p50' then 0 when sla = 'average' then 1 when sla is not null then 2 else 3 end,
                sla_percentile nulls last,
                sla nulls last
        ) as place
    from spread
),

compared as (
    select
        *,
        max(case when place = 1 then sla end) over (partition by workflow, planner, metric) as reference_sla,
        max(case when place = 1 then median_value end) over (partition by workflow, planner, metric) as reference_value
    from referred
)

select
    compared.workflow,
    compared.planner,
    compared.sla,
    compared.sla_percentile,
    compared.metric,
    grouped.runs,
    grouped.runs_incomplete,
    grouped.environments,
    compared.n,
    compared.median_value as median,
    compared.p25,
    compared.p75,
    compared.reference_sla,
    case
        when compared.reference_sla is not null and compared.sla is not null
            then compared.median_value / nullif(compared.reference_value, 0)
    end as ratio_of_medians
from compared
inner join grouped
    on compared.workflow is not distinct from grouped.workflow
    and compared.planner is not distinct from grouped.planner
    and compared.sla is not distinct from grouped.sla
    and compared.sla_percentile is not distinct from grouped.sla_percentile

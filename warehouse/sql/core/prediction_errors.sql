-- What was predicted, what happened, and how far apart they are. One row per (predictor, level, run_id, task_id,
-- invocation_id, metric, sla_percentile). Predictor 'engine' is the recorded plan, at the plan's SLA.
-- relative_error is NULL where the actual value is 0 or unknown, log_ratio unless both are positive. Run level adds up
-- the run's tasks and needs a complete run; there errors of single tasks can cancel, at task level they cannot.
with planned_workers as (
    select run_id, worker_id, startup_ms
    from (
        select
            run_id, worker_id, startup_ms,
            row_number() over (partition by run_id, worker_id order by start_offset_ms, task_id) as place
        from planned_tasks
        where startup_ms is not null
    )
    where place = 1
),

planned_runs as (
    select
        planned_tasks.run_id,
        max(case when planned_tasks.task_id = runs.sink_task_id then completion_offset_ms end) as makespan,
        sum(execution_ms) as execution,
        sum(download_ms) as download,
        sum(upload_ms) as upload,
        cast(sum(input_bytes) as double) as input_bytes,
        cast(sum(output_bytes) as double) as output_bytes
    from planned_tasks
    left join runs on planned_tasks.run_id = runs.run_id
    group by planned_tasks.run_id
),

planned_startups as (
    select run_id, sum(startup_ms) as startup
    from planned_workers
    group by run_id
),

engine_runs as (
    select run_id, 'makespan' as metric, makespan as predicted from planned_runs
    union all
    select run_id, 'execution', execution from planned_runs
    union all
    select run_id, 'download', download from planned_runs
    union all
    select run_id, 'upload', upload from planned_runs
    union all
    select run_id, 'input_bytes', input_bytes from planned_runs
    union all
    select run_id, 'output_bytes', output_bytes from planned_runs
    union all
    select run_id, 'startup', startup from planned_startups
),

engine_tasks as (
    select run_id, task_id, 'execution' as metric, execution_ms as predicted from planned_tasks
    union all
    select run_id, task_id, 'download', download_ms from planned_tasks
    union all
    select run_id, task_id, 'upload', upload_ms from planned_tasks
    union all
    select run_id, task_id, 'input_bytes', cast(input_bytes as double) from planned_tasks
    union all
    select run_id, task_id, 'output_bytes', cast(output_bytes as double) from planned_tasks
),

predicted as (
    select
        'engine' as predictor, 'run' as level, engine_runs.run_id, cast(null as varchar) as task_id,
        cast(null as varchar) as invocation_id, metric, plans.sla, plans.sla_percentile, predicted
    from engine_runs
    left join plans on engine_runs.run_id = plans.run_id
    union all
    select
        'engine', 'task', engine_tasks.run_id, engine_tasks.task_id,
        cast(null as varchar), metric, plans.sla, plans.sla_percentile, predicted
    from engine_tasks
    left join plans on engine_tasks.run_id = plans.run_id
    union all
    select
        predictor, level, run_id, task_id, invocation_id, metric,
        concat('p', regexp_replace(cast(sla_percentile as varchar), '[.]0$', '')), sla_percentile, predicted
    from predictions
),

last_attempts as (
    select *
    from (
        select
            run_id, task_id, execution_ms, download_ms, upload_ms, inputs_bytes, output_bytes,
            row_number() over (partition by run_id, task_id order by coalesce(attempt, 1) desc) as place
        from task_times
    )
    where place = 1
),

actual_runs as (
    select run_id, 'makespan' as metric, makespan_ms as actual from run_summary
    union all
    select run_id, 'execution', execution_ms from run_summary where is_complete
    union all
    select run_id, 'download', download_ms from run_summary where is_complete
    union all
    select run_id, 'upload', upload_ms from run_summary where is_complete
    union all
    select run_id, 'input_bytes', cast(input_bytes as double) from run_summary where is_complete
    union all
    select run_id, 'output_bytes', cast(output_bytes as double) from run_summary where is_complete
    union all
    select run_id, 'startup', startup_ms from run_summary where is_complete
),

actual_tasks as (
    select run_id, task_id, 'execution' as metric, execution_ms as actual from last_attempts
    union all
    select run_id, task_id, 'download', coalesce(download_ms, 0) from last_attempts
    union all
    select run_id, task_id, 'upload', coalesce(upload_ms, 0) from last_attempts
    union all
    select run_id, task_id, 'input_bytes', cast(inputs_bytes as double) from last_attempts
    union all
    select run_id, task_id, 'output_bytes', cast(output_bytes as double) from last_attempts
),

actual_invocations as (
    select invocation_id, 'startup' as metric, date_diff('microsecond', requested_at, ready_at) / 1000.0 as actual
    from invocations
),

compared as (
    select
        predicted.*,
        case level
            when 'run' then actual_runs.actual
            when 'task' then actual_tasks.actual
            else actual_invocations.actual
        end as actual
    from predicted
    left join actual_runs
        on predicted.level = 'run' and predicted.run_id = actual_runs.run_id and predicted.metric = actual_runs.metric
    left join actual_tasks
        on predicted.level = 'task' and predicted.run_id = actual_tasks.run_id
        and predicted.task_id = actual_tasks.task_id and predicted.metric = actual_tasks.metric
    left join actual_invocations
        on predicted.level = 'invocation' and predicted.invocation_id = actual_invocations.invocation_id
        and predicted.metric = actual_invocations.metric
)

select
    predictor,
    level,
    run_id,
    task_id,
    invocation_id,
    metric,
    sla,
    sla_percentile,
    case when metric in ('input_bytes', 'output_bytes') then 'bytes' else 'ms' end as unit,
    predicted,
    actual,
    abs(predicted - actual) / nullif(actual, 0) as relative_error,
    case when predicted > 0 and actual > 0 then ln(predicted / actual) end as log_ratio,
    actual <= predicted as covered,
    case
        when actual >= predicted then (actual - predicted) * sla_percentile / 100.0
        else (predicted - actual) * (1 - sla_percentile / 100.0)
    end as pinball_loss
from compared

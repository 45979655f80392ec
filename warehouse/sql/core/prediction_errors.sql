-- What was predicted, what happened, and how far apart they are. One row per (predictor, level, run_id, task_id,
-- invocation_id, metric, sla_percentile). Predictor 'engine' is the recorded plan, at the plan's SLA ('average': no
-- percentile). relative_error and log_ratio are NULL unless the actual value is positive (log_ratio: and the predicted
-- one). Run level adds up the run's tasks and needs a complete run; there errors of single tasks can cancel, at task
-- level they cannot. A task's actual values are those of its last attempt. Metric 'starts' counts the workers launched.
-- Metric 'state' is the probability of a cold start against 1 (cold) or 0 (warm) as `cold_starts` tells it, NULL where
-- it cannot: a class, so it has no error, coverage or loss here. A planned worker's start is predicted at the first of
-- its tasks; tasks planned without a worker each count as one.
with planned_workers as (
    select run_id, worker_id, startup_ms, startup_state
    from (
        select
            run_id, worker_id, startup_ms, startup_state,
            row_number() over (
                partition by run_id, worker_id, case when worker_id is null then task_id end
                order by start_offset_ms nulls last, task_id
            ) as place
        from planned_tasks
        where startup_ms is not null
    ) as ranked
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

planned_starts as (
    select run_id, sum(startup_ms) as startup, cast(count(*) as double) as starts
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
    select run_id, 'startup', startup from planned_starts
    union all
    select run_id, 'starts', starts from planned_starts
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

engine_launches as (
    select
        invocations.run_id,
        invocations.initial_task_ids[1] as task_id,
        invocations.invocation_id,
        planned_workers.startup_ms,
        case planned_workers.startup_state when 'cold' then 1 when 'warm' then 0 end as cold
    from planned_workers
    inner join invocations
        on planned_workers.run_id = invocations.run_id and planned_workers.worker_id = invocations.worker_id
),

engine_invocations as (
    select run_id, task_id, invocation_id, 'startup' as metric, startup_ms as predicted from engine_launches
    union all
    select run_id, task_id, invocation_id, 'state', cast(cold as double) from engine_launches
),

slas as (
    select
        runs.run_id,
        coalesce(plans.sla, runs.sla) as sla,
        case when plans.sla is not null then plans.sla_percentile else runs.sla_percentile end as sla_percentile
    from runs
    left join plans on runs.run_id = plans.run_id
),

engine as (
    select
        'run' as level, run_id, cast(null as varchar) as task_id, cast(null as varchar) as invocation_id,
        metric, predicted
    from engine_runs
    union all
    select 'task', run_id, task_id, cast(null as varchar), metric, predicted from engine_tasks
    union all
    select 'invocation', run_id, task_id, invocation_id, metric, predicted from engine_invocations
),

predicted as (
    select
        'engine' as predictor, level, engine.run_id, task_id, invocation_id, metric, sla, sla_percentile, predicted
    from engine
    left join slas on engine.run_id = slas.run_id
    union all
    select
        predictor, level, run_id, task_id, invocation_id, metric,
        case
            when sla_percentile is null then 'average'
            else concat('p', regexp_replace(cast(sla_percentile as varchar), '[.]0$', ''))
        end,
        sla_percentile, predicted
    from predictions
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
    union all
    select run_id, 'starts', cast(workers as double) from run_summary where is_complete
),

done as (
    select * from task_times where is_last_attempt
),

actual_tasks as (
    select run_id, task_id, 'execution' as metric, execution_ms as actual from done
    union all
    select run_id, task_id, 'download', coalesce(download_ms, 0) from done where downloaded_bytes is not null
    union all
    select run_id, task_id, 'upload', coalesce(upload_ms, 0) from done
    union all
    select run_id, task_id, 'input_bytes', cast(inputs_bytes as double) from done
    union all
    select run_id, task_id, 'output_bytes', cast(output_bytes as double) from done
),

actual_invocations as (
    select invocation_id, 'startup' as metric, startup_ms as actual from cold_starts
    union all
    select invocation_id, 'state', cast(case state when 'cold' then 1 when 'warm' then 0 end as double)
    from cold_starts
),

compared as (
    select
        predicted.*,
        case predicted.level
            when 'run' then actual_runs.actual
            when 'task' then actual_tasks.actual
            when 'invocation' then actual_invocations.actual
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
    case
        when metric in ('input_bytes', 'output_bytes') then 'bytes'
        when metric = 'starts' then 'workers'
        when metric = 'state' then 'probability'
        else 'ms'
    end as unit,
    predicted,
    actual,
    case when actual > 0 and metric <> 'state' then abs(predicted - actual) / actual end as relative_error,
    case when predicted > 0 and actual > 0 and metric <> 'state' then ln(predicted) - ln(actual) end as log_ratio,
    case when metric <> 'state' then actual <= predicted end as covered,
    case
        when metric = 'state' then null
        when actual >= predicted then (actual - predicted) * (sla_percentile / 100)
        else (predicted - actual) * (1 - sla_percentile / 100)
    end as pinball_loss
from compared

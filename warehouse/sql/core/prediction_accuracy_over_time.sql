-- How prediction accuracy moves as runs come in. One row per (predictor, level, workflow, planner, sla, metric) and run,
-- in order of submission (the engine's dag_submission_time_ms); run_ordinal counts from 1. The rolling figures rest on the
-- last 20 runs, the expanding ones on all runs so far: medians of relative_error and log_ratio, and the share covered.
-- rolling_n and n count the relative errors behind them (values predicted where the actual one is 0 or unknown have none).
with errors as (
    select
        prediction_errors.*,
        runs.workflow,
        runs.planner,
        runs.submitted_at
    from prediction_errors
    inner join run_summary as runs on prediction_errors.run_id = runs.run_id
    where runs.submitted_at is not null
),

ordered as (
    select
        *,
        dense_rank() over (
            partition by predictor, level, workflow, planner, sla, metric
            order by submitted_at, run_id
        ) as run_ordinal
    from errors
),

moving as (
    select
        predictor,
        level,
        workflow,
        planner,
        sla,
        metric,
        run_id,
        submitted_at,
        run_ordinal,
        median(relative_error) over last_runs as rolling_relative_error,
        median(log_ratio) over last_runs as rolling_log_ratio,
        avg(cast(covered as int)) over last_runs as rolling_coverage,
        count(relative_error) over last_runs as rolling_n,
        median(relative_error) over all_runs as expanding_relative_error,
        median(log_ratio) over all_runs as expanding_log_ratio,
        avg(cast(covered as int)) over all_runs as expanding_coverage,
        count(relative_error) over all_runs as n,
        median(relative_error) over this_run as relative_error,
        row_number() over (
            partition by predictor, level, workflow, planner, sla, metric, run_ordinal
            order by task_id, invocation_id
        ) as place
    from ordered
    window
        last_runs as (
            partition by predictor, level, workflow, planner, sla, metric
            order by run_ordinal range between 19 preceding and current row
        ),
        all_runs as (
            partition by predictor, level, workflow, planner, sla, metric
            order by run_ordinal range between unbounded preceding and current row
        ),
        this_run as (
            partition by predictor, level, workflow, planner, sla, metric, run_ordinal
        )
)

select
    predictor,
    level,
    workflow,
    planner,
    sla,
    metric,
    run_id,
    submitted_at,
    run_ordinal,
    relative_error,
    rolling_relative_error,
    rolling_log_ratio,
    rolling_coverage,
    rolling_n,
    expanding_relative_error,
    expanding_log_ratio,
    expanding_coverage,
    n
from moving
where place = 1

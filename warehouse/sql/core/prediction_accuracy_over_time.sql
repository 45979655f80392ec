-- How prediction accuracy moves as runs come in. One row per (predictor, level, workflow, planner, sla, metric) and run,
-- in order of submission (the engine's dag_submission_time_ms); run_ordinal counts from 1. The rolling figures rest on the
-- last 20 runs, the expanding ones on all runs so far: medians of relative_error and log_ratio, and the share covered.
-- rolling_n and n count the relative errors behind them (values predicted where the actual one is 0 or unknown have none).
-- Runs without a submission time cannot be placed and are left out, and so is metric 'state', which has no error.
with predicted_runs as (
    select distinct predictor, level, metric, sla, run_id
    from prediction_errors
    where metric <> 'state'
),

numbered as (
    select
        predicted_runs.*,
        run_summary.workflow,
        run_summary.planner,
        run_summary.submitted_at,
        dense_rank() over (
            order by predictor, level, run_summary.workflow, run_summary.planner, predicted_runs.sla, metric
        ) as series
    from predicted_runs
    inner join run_summary on predicted_runs.run_id = run_summary.run_id
    where run_summary.submitted_at is not null
),

ordered as (
    select *, row_number() over (partition by series order by submitted_at, run_id) as run_ordinal
    from numbered
),

errors as (
    select ordered.series, ordered.run_ordinal, relative_error, log_ratio, cast(covered as int) as covered
    from prediction_errors
    inner join ordered
        on prediction_errors.predictor = ordered.predictor and prediction_errors.level = ordered.level
        and prediction_errors.metric = ordered.metric and prediction_errors.run_id = ordered.run_id
        and prediction_errors.sla is not distinct from ordered.sla
),

-- A framed median is the same for all rows of a run: min() below picks it.
medians as (
    select
        series,
        run_ordinal,
        median(relative_error) over last_runs as rolling_relative_error,
        median(log_ratio) over last_runs as rolling_log_ratio,
        median(relative_error) over all_runs as expanding_relative_error,
        median(log_ratio) over all_runs as expanding_log_ratio
    from errors
    window
        last_runs as (
            partition by series order by run_ordinal range between 19 preceding and current row
        ),
        all_runs as (
            partition by series order by run_ordinal range between unbounded preceding and current row
        )
),

medians_by_run as (
    select
        series,
        run_ordinal,
        min(rolling_relative_error) as rolling_relative_error,
        min(rolling_log_ratio) as rolling_log_ratio,
        min(expanding_relative_error) as expanding_relative_error,
        min(expanding_log_ratio) as expanding_log_ratio
    from medians
    group by series, run_ordinal
),

counts as (
    select
        series,
        run_ordinal,
        median(relative_error) as relative_error,
        count(relative_error) as errors,
        count(covered) as judged,
        sum(covered) as covered
    from errors
    group by series, run_ordinal
),

totals as (
    select
        series,
        run_ordinal,
        relative_error,
        cast(sum(errors) over last_runs as bigint) as rolling_n,
        cast(sum(covered) over last_runs as double) / nullif(sum(judged) over last_runs, 0) as rolling_coverage,
        cast(sum(errors) over all_runs as bigint) as n,
        cast(sum(covered) over all_runs as double) / nullif(sum(judged) over all_runs, 0) as expanding_coverage
    from counts
    window
        last_runs as (partition by series order by run_ordinal rows between 19 preceding and current row),
        all_runs as (partition by series order by run_ordinal rows between unbounded preceding and current row)
)

select
    ordered.predictor,
    ordered.level,
    ordered.workflow,
    ordered.planner,
    ordered.sla,
    ordered.metric,
    ordered.run_id,
    ordered.submitted_at,
    ordered.run_ordinal,
    totals.relative_error,
    medians_by_run.rolling_relative_error,
    medians_by_run.rolling_log_ratio,
    totals.rolling_coverage,
    totals.rolling_n,
    medians_by_run.expanding_relative_error,
    medians_by_run.expanding_log_ratio,
    totals.expanding_coverage,
    totals.n
from ordered
inner join totals on ordered.series = totals.series and ordered.run_ordinal = totals.run_ordinal
inner join medians_by_run
    on ordered.series = medians_by_run.series and ordered.run_ordinal = medians_by_run.run_ordinal

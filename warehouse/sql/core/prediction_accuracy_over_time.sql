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

-- A framed median is the same for all rows of a run: min() picks it.
rolling as (
    select
        series,
        run_ordinal,
        min(relative_error) as relative_error,
        min(log_ratio) as log_ratio
    from (
        select
            series,
            run_ordinal,
            median(relative_error) over last_runs as relative_error,
            median(log_ratio) over last_runs as log_ratio
        from errors
        window last_runs as (partition by series order by run_ordinal range between 19 preceding and current row)
    ) as framed
    group by series, run_ordinal
),

-- Without the NULLs: a few of them make DuckDB's expanding median six times slower.
expanding_errors as (
    select series, run_ordinal, min(relative_error) as relative_error
    from (
        select
            series,
            run_ordinal,
            median(relative_error) over (
                partition by series order by run_ordinal range between unbounded preceding and current row
            ) as relative_error
        from errors
        where relative_error is not null
    ) as framed
    group by series, run_ordinal
),

expanding_ratios as (
    select series, run_ordinal, min(log_ratio) as log_ratio
    from (
        select
            series,
            run_ordinal,
            median(log_ratio) over (
                partition by series order by run_ordinal range between unbounded preceding and current row
            ) as log_ratio
        from errors
        where log_ratio is not null
    ) as framed
    group by series, run_ordinal
),

counts as (
    select
        series,
        run_ordinal,
        median(relative_error) as relative_error,
        count(relative_error) as errors,
        count(log_ratio) as ratios,
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
        sum(ratios) over all_runs as ratios_so_far,
        cast(sum(covered) over all_runs as double) / nullif(sum(judged) over all_runs, 0) as expanding_coverage
    from counts
    window
        last_runs as (partition by series order by run_ordinal rows between 19 preceding and current row),
        all_runs as (partition by series order by run_ordinal rows between unbounded preceding and current row)
)

-- A run that adds nothing to an expanding median has that of the run before it: the one with equally many values so far.
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
    rolling.relative_error as rolling_relative_error,
    rolling.log_ratio as rolling_log_ratio,
    totals.rolling_coverage,
    totals.rolling_n,
    max(expanding_errors.relative_error) over (partition by ordered.series, totals.n) as expanding_relative_error,
    max(expanding_ratios.log_ratio) over (partition by ordered.series, totals.ratios_so_far) as expanding_log_ratio,
    totals.expanding_coverage,
    totals.n
from ordered
inner join totals on ordered.series = totals.series and ordered.run_ordinal = totals.run_ordinal
inner join rolling on ordered.series = rolling.series and ordered.run_ordinal = rolling.run_ordinal
left join expanding_errors
    on ordered.series = expanding_errors.series and ordered.run_ordinal = expanding_errors.run_ordinal
left join expanding_ratios
    on ordered.series = expanding_ratios.series and ordered.run_ordinal = expanding_ratios.run_ordinal

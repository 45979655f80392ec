-- Does each SLA keep its promise? One row per (predictor, level, workflow, planner, sla, sla_percentile, metric).
-- coverage: the share of actual values at or below the prediction; nominal: what the percentile promises (NULL for
-- 'average', which promises nothing). n: predictions that can be judged, of n_predicted; runs: the runs they come from.
-- coverage_low and coverage_high: 95 % interval, Wilson's with the effective number of observations that resampling by
-- run gives (delete-one-run jackknife), for rows of one run hang together; with Student's t for that number of runs
-- where runs have several rows; where all or none are covered, or there is a single run, each run counts once.
-- pinball_loss: mean, in the metric's unit, NULL for 'average'. history_fulfilment is another notion, that of the
-- engine's own dashboard: the share of runs whose actual value is at or below that percentile of EARLIER ACTUAL values,
-- whatever was predicted (level 'run' only). Earlier are all runs of the same dump (or server) and workflow with a
-- prediction for any percentile, planners mixed, submitted before. history_n: the runs that have an earlier one.
with judged as (
    select
        errors.predictor,
        errors.level,
        run_summary.workflow,
        run_summary.planner,
        errors.sla,
        errors.sla_percentile,
        errors.metric,
        errors.run_id,
        run_summary.submitted_at,
        errors.actual,
        errors.covered,
        errors.pinball_loss
    from prediction_errors as errors
    inner join run_summary on errors.run_id = run_summary.run_id
    where errors.metric <> 'state' and errors.predicted is not null
),

runs_judged as (
    select
        predictor, level, workflow, planner, sla, sla_percentile, metric, run_id,
        count(*) as n_predicted,
        cast(count(covered) as double) as n,
        cast(count(case when covered then 1 end) as double) as n_covered,
        sum(case when covered is not null then pinball_loss end) as loss
    from judged
    group by predictor, level, workflow, planner, sla, sla_percentile, metric, run_id
),

-- The share without each run in turn.
jackknife as (
    select
        *,
        (sum(n_covered) over promise - n_covered) / nullif(sum(n) over promise - n, 0) as share_without
    from runs_judged
    window promise as (partition by predictor, level, workflow, planner, sla, sla_percentile, metric)
),

counted as (
    select
        predictor, level, workflow, planner, sla, sla_percentile, metric,
        cast(sum(n_predicted) as bigint) as n_predicted,
        sum(n) as n,
        count(case when n > 0 then 1 end) as runs,
        sum(n_covered) / nullif(sum(n), 0) as coverage,
        sum(loss) / nullif(sum(n), 0) as pinball_loss,
        (count(case when n > 0 then 1 end) - 1) * var_pop(case when n > 0 then share_without end) as variance
    from jackknife
    group by predictor, level, workflow, planner, sla, sla_percentile, metric
),

weighed as (
    select
        *,
        case
            when variance > 0 then least(n, 1 + coverage * (1 - coverage) / variance)
            when coverage > 0 and coverage < 1 and runs > 1 then n
            else nullif(runs, 0)
        end as n_effective,
        -- Student's t from the normal quantile (Cornish, Fisher): .1 % too low from 4 runs, .7 % from 3, 11 % from 2.
        1.959964 + case
            when n > runs and runs > 1
                then 2.372271 / (runs - 1) + 2.822550 / power(runs - 1, 2)
                    + 2.555850 / power(runs - 1, 3) + 1.589536 / power(runs - 1, 4)
            else 0
        end as z
    from counted
),

promises as (
    select
        *,
        (coverage + z * z / 2 / n_effective) / (1 + z * z / n_effective) as centre,
        z * sqrt(coverage * (1 - coverage) / n_effective + z * z / 4 / n_effective / n_effective)
        / (1 + z * z / n_effective) as half_width
    from weighed
),

-- The runs of a history, counted from 0 in order of submission: as many as were submitted before.
history as (
    select
        *,
        rank() over (partition by series order by submitted_at) - 1 as ordinal,
        count(*) over (partition by series) as runs
    from (
        select
            *,
            dense_rank() over (order by predictor, store, workflow, metric) as series
        from (
            select distinct
                judged.predictor,
                case when files.key = runs.run_id then files.source else runs.file_id end as store,
                judged.workflow,
                judged.metric,
                judged.run_id,
                judged.submitted_at,
                judged.actual
            from judged
            inner join runs on judged.run_id = runs.run_id
            left join files on runs.file_id = files.file_id
            where judged.level = 'run' and judged.sla_percentile is not null and judged.covered is not null
                and judged.submitted_at is not null
        ) as known
    ) as grouped
),

digits as (
    select 0 as digit
    union all
    select 1
    union all
    select 2
    union all
    select 3
    union all
    select 4
),

-- Blocks of 2, 4, 8, ... runs, each in two halves. Of two runs the earlier stands in the left half and the later in the
-- right half of just one block: what holds of all earlier runs adds up over the blocks in which a run is on the right.
halves as (
    select
        history.series,
        history.run_id,
        history.actual,
        levels.level,
        floor(history.ordinal / power(2, levels.level + 1)) as block,
        floor(history.ordinal / power(2, levels.level)) % 2 as is_right
    from history
    inner join (
        select fives.digit * 5 + ones.digit as level from digits as fives cross join digits as ones
    ) as levels
        on power(2, levels.level) < history.runs
),

-- By value, the right half first among equals: before a run are the lower ones, after it those as high or higher.
compared as (
    select
        series,
        run_id,
        actual,
        is_right,
        count(case when is_right = 0 then 1 end) over block_of_runs as n_lower,
        max(case when is_right = 0 then actual end) over block_of_runs as next_lower,
        count(case when is_right = 0 then 1 end) over (partition by series, level, block) as n,
        min(case when is_right = 0 then actual end) over (
            partition by series, level, block order by actual, is_right desc
            rows between current row and unbounded following
        ) as next_higher
    from halves
    window
        block_of_runs as (
            partition by series, level, block order by actual, is_right desc
            rows between unbounded preceding and current row
        )
),

earlier as (
    select
        series, run_id,
        max(actual) as actual,
        sum(n) as n,
        sum(n_lower) as n_lower,
        max(next_lower) as next_lower,
        min(next_higher) as next_higher
    from compared
    where is_right = 1
    group by series, run_id
    having sum(n) > 0
),

-- At or below the percentile of the earlier values, interpolated linearly between those at floor(wanted) and
-- ceil(wanted), counted from 0: sure unless just the lower of the two is lower than the run's own value.
aimed as (
    select
        predictor, level, workflow, planner, sla, sla_percentile, metric,
        case
            when n_lower <= floor(wanted) then 1
            when n_lower > ceil(wanted) then 0
            when actual <= next_lower + (next_higher - next_lower) * (wanted - floor(wanted)) then 1
            else 0
        end as fulfilled
    from (
        select
            runs_judged.*,
            earlier.actual,
            earlier.n_lower,
            earlier.next_lower,
            earlier.next_higher,
            (earlier.n - 1) * runs_judged.sla_percentile / 100 as wanted
        from runs_judged
        inner join history
            on runs_judged.predictor = history.predictor and runs_judged.metric = history.metric
            and runs_judged.run_id = history.run_id
        inner join earlier on history.series = earlier.series and history.run_id = earlier.run_id
        where runs_judged.level = 'run' and runs_judged.sla_percentile is not null and runs_judged.n > 0
    ) as wanting
),

fulfilments as (
    select
        predictor, level, workflow, planner, sla, sla_percentile, metric,
        count(*) as history_n,
        avg(cast(fulfilled as double)) as history_fulfilment
    from aimed
    group by predictor, level, workflow, planner, sla, sla_percentile, metric
)

select
    promises.predictor,
    promises.level,
    promises.workflow,
    promises.planner,
    promises.sla,
    promises.sla_percentile,
    promises.metric,
    promises.n_predicted,
    cast(promises.n as bigint) as n,
    promises.runs,
    promises.sla_percentile / 100 as nominal,
    promises.coverage,
    case when promises.coverage = 0 then 0 else promises.centre - promises.half_width end as coverage_low,
    case when promises.coverage = 1 then 1 else promises.centre + promises.half_width end as coverage_high,
    promises.pinball_loss,
    fulfilments.history_n,
    fulfilments.history_fulfilment
from promises
left join fulfilments
    on promises.predictor = fulfilments.predictor
    and promises.level = fulfilments.level
    and promises.metric = fulfilments.metric
    and promises.workflow is not distinct from fulfilments.workflow
    and promises.planner is not distinct from fulfilments.planner
    and promises.sla is not distinct from fulfilments.sla
    and promises.sla_percentile is not distinct from fulfilments.sla_percentile

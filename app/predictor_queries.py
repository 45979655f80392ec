"""The SQL of the Predictors page. What is judged is a thing at a level: a task, a worker's start or a run."""

from __future__ import annotations

STORED = """
-- Scores as `flowscope evaluate` stored them, over all runs: of all that each predictor predicted, and of what plans predicted too.
select * exclude (file_id, extra, level, metric)
from predictor_scores
where level = $level and metric = $metric
order by rows_of, group_by, group_value, sla_percentile, predictor
"""

EVALUATED = """
-- What has been evaluated at all, whatever is selected.
select
    (select count(*) from predictions) as predictions,
    (select count(*) from predictor_scores) as scores,
    (select max(predicted_at) from predictions) as latest
"""

PREDICTED = """
-- What was predicted by others than the engine in the runs selected.
select distinct level, metric, predictor
from prediction_errors
semi join selected_runs on prediction_errors.run_id = selected_runs.run_id
where predictor <> 'engine'
order by level, metric, predictor
"""

OVER_TIME = """
-- The rolling median error over the last 20 runs, per predictor: P50 of predictors, plans at every SLA. Where there are plans,
-- on the rows that they predicted. At most $points runs of each predictor, evenly spaced, the last one among them.
with judged as (
    select
        errors.predictor, errors.run_id, runs.submitted_at, errors.relative_error,
        case errors.level when 'task' then errors.task_id when 'invocation' then errors.invocation_id else '' end as thing
    from prediction_errors as errors
    inner join selected_runs as runs on errors.run_id = runs.run_id
    where
        errors.level = $level and errors.metric = $metric and isfinite(errors.relative_error) and runs.submitted_at is not null
        and (errors.predictor = 'engine' or errors.sla_percentile = 50)
),

planned as (
    select run_id, thing from judged where predictor = 'engine'
),

common as (
    select *, dense_rank() over (order by submitted_at, run_id) as run_ordinal
    from judged
    where (run_id, thing) in (from planned) or not exists (from planned)
),

rolling as (
    select
        predictor, run_ordinal, submitted_at,
        median(relative_error) over last_runs as rolling_relative_error,
        count(*) over last_runs as n
    from common
    window last_runs as (partition by predictor order by run_ordinal range between 19 preceding and current row)
),

runs as (
    select
        predictor, run_ordinal, any_value(submitted_at) as submitted_at,
        any_value(rolling_relative_error) as rolling_relative_error, any_value(n) as n,
        count(*) over (partition by predictor) as of_runs,
        row_number() over (partition by predictor order by run_ordinal desc) as from_end
    from rolling
    group by predictor, run_ordinal
)

select predictor, run_ordinal, submitted_at, rolling_relative_error, n, of_runs
from runs
where (from_end - 1) % ceil(of_runs / $points)::bigint = 0
order by predictor, run_ordinal
"""

COVERAGE = """
-- How often what happened stayed within a predicted percentile, per group and run, and how wide predictions were: from
-- their median to the percentile, as a share of the median. A prediction of 0 says that nothing will happen, and promises nothing.
with things as (
    select
        errors.run_id, errors.task_id, errors.invocation_id,
        case $by
            when 'planner' then runs.planner
            when 'workflow' then runs.workflow
            when 'environment' then runs.environment
            when 'function' then task_times.function
            when 'memory' then task_times.memory_mb::varchar
        end as "group",
        any_value(covered) filter (where errors.sla_percentile = $percentile) as is_covered,
        any_value(predicted) filter (where errors.sla_percentile = $percentile) as upper,
        any_value(predicted) filter (where errors.sla_percentile = 50) as middle
    from prediction_errors as errors
    inner join selected_runs as runs on errors.run_id = runs.run_id
    left join task_times
        on errors.run_id = task_times.run_id and errors.task_id = task_times.task_id and task_times.is_last_attempt
    where
        errors.predictor = $predictor and errors.level = $level and errors.metric = $metric and errors.predicted > 0
    group by errors.run_id, errors.task_id, errors.invocation_id, "group"
),

things_apart as (
    select *, (upper - middle) / middle as width from things where is_covered is not null
),

widths as (
    select "group", median(width) as sharpness from things_apart group by "group"
)

select
    things_apart.group, things_apart.run_id,
    count(*) as judged,
    count(*) filter (where is_covered) as covered,
    any_value(widths.sharpness) as sharpness
from things_apart
inner join widths on things_apart.group is not distinct from widths.group
group by things_apart.group, things_apart.run_id
order by things_apart.group nulls last, things_apart.run_id
"""

BY_SIZE = """
-- The median error by size of the input, in half decades of bytes, on rows that all of these predictors predicted.
with judged as (
    select
        errors.predictor, errors.relative_error,
        case when $level = 'run' then runs.input_bytes else task_times.inputs_bytes end as size_bytes,
        count(*) over (partition by errors.run_id, errors.task_id, errors.invocation_id) as present
    from prediction_errors as errors
    inner join selected_runs as runs on errors.run_id = runs.run_id
    left join task_times
        on errors.run_id = task_times.run_id and errors.task_id = task_times.task_id and task_times.is_last_attempt
    where
        list_contains($predictors, errors.predictor) and errors.level = $level and errors.metric = $metric
        and isfinite(errors.relative_error) and (errors.predictor = 'engine' or errors.sla_percentile = 50)
)

select
    predictor, pow(10, floor(2 * log10(size_bytes)) / 2 + 0.25) as place, count(*) as n,
    median(relative_error) as median_relative_error, min(size_bytes) as smallest_bytes, max(size_bytes) as largest_bytes
from judged
where present = len($predictors) and size_bytes > 0
group by predictor, floor(2 * log10(size_bytes))
having count(*) >= $least
order by predictor, place
"""

BY_MEMORY = """
-- The median error by memory of the worker, on rows that all of these predictors predicted.
with judged as (
    select
        errors.predictor, errors.relative_error, coalesce(invocations.memory_mb, task_times.memory_mb) as memory_mb,
        count(*) over (partition by errors.run_id, errors.task_id, errors.invocation_id) as present
    from prediction_errors as errors
    semi join selected_runs on errors.run_id = selected_runs.run_id
    left join task_times
        on errors.run_id = task_times.run_id and errors.task_id = task_times.task_id and task_times.is_last_attempt
    left join invocations on errors.invocation_id = invocations.invocation_id
    where
        list_contains($predictors, errors.predictor) and errors.level = $level and errors.metric = $metric
        and isfinite(errors.relative_error) and (errors.predictor = 'engine' or errors.sla_percentile = 50)
)

select predictor, memory_mb as place, count(*) as n, median(relative_error) as median_relative_error
from judged
where present = len($predictors) and memory_mb > 0
group by predictor, memory_mb
having count(*) >= $least
order by predictor, place
"""

FAILING = """
-- Groups of at least $least predictions with the largest median error of a predictor (P50), the plans' error beside it (of the
-- rows that they predicted too), and how far off it is to one side: predicted / observed.
with judged as (
    select
        errors.run_id, errors.relative_error, errors.log_ratio, plans.relative_error as plans_error,
        runs.workflow, runs.environment, task_times.function, coalesce(invocations.memory_mb, task_times.memory_mb) as memory_mb
    from prediction_errors as errors
    inner join selected_runs as runs on errors.run_id = runs.run_id
    left join prediction_errors as plans
        on plans.predictor = 'engine' and plans.level = $level and plans.metric = $metric and errors.run_id = plans.run_id
        and errors.task_id is not distinct from plans.task_id and errors.invocation_id is not distinct from plans.invocation_id
    left join task_times
        on errors.run_id = task_times.run_id and errors.task_id = task_times.task_id and task_times.is_last_attempt
    left join invocations on errors.invocation_id = invocations.invocation_id
    where
        errors.predictor = $predictor and errors.level = $level and errors.metric = $metric
        and isfinite(errors.relative_error) and (errors.predictor = 'engine' or errors.sla_percentile = 50)
)

select
    workflow, environment, function, memory_mb,
    count(*) as n,
    count(distinct run_id) as runs,
    median(relative_error) as median_relative_error,
    median(plans_error) as plans_median_relative_error,
    exp(median(log_ratio)) as predicted_to_observed
from judged
group by workflow, environment, function, memory_mb
having count(*) >= $least
order by median_relative_error desc, n desc, workflow, environment, function, memory_mb
limit $most
"""

WORST = """
-- The single predictions of a predictor (P50) that are furthest off in the metric's own unit, where being off costs most.
select
    errors.run_id, errors.task_id, runs.workflow, runs.planner, task_times.function, task_times.memory_mb,
    errors.predicted, errors.actual as observed, errors.unit, errors.relative_error, plans.predicted as plan
from prediction_errors as errors
inner join selected_runs as runs on errors.run_id = runs.run_id
left join prediction_errors as plans
    on plans.predictor = 'engine' and plans.level = $level and plans.metric = $metric and errors.run_id = plans.run_id
    and errors.task_id is not distinct from plans.task_id and errors.invocation_id is not distinct from plans.invocation_id
left join task_times
    on errors.run_id = task_times.run_id and errors.task_id = task_times.task_id and task_times.is_last_attempt
where
    errors.predictor = $predictor and errors.level = $level and errors.metric = $metric and errors.actual is not null
    and errors.predicted is not null
    and (errors.predictor = 'engine' or errors.sla_percentile = 50 or errors.sla_percentile is null)
order by abs(errors.predicted - errors.actual) desc, errors.run_id, errors.task_id, errors.invocation_id
limit $most
"""

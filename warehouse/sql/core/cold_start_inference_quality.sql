-- How well cold starts are told when their labels are hidden, from the estimate of the keep-alive too. One row per (engine, environment,
-- memory_mb, function) that has labelled invocations; function is NULL where containers are shared. n: labelled ('reported' or 'init').
-- balanced_accuracy: the mean of the recalls of cold and of warm among decided invocations, NULL unless both labels occur there. precision and
-- recall are those of 'cold', among decided ones. share_unknown: of the labelled.
with labelled as (
    select
        cold_starts.engine,
        cold_starts.environment,
        cold_starts.memory_mb,
        cold_starts.function,
        cold_starts.state as label,
        inference.state as inferred
    from cold_starts
    inner join cold_start_inference as inference on cold_starts.invocation_id = inference.invocation_id
    where inference.basis = 'start-up times' and cold_starts.state_source in ('reported', 'init')
),

counted as (
    select
        engine,
        environment,
        memory_mb,
        function,
        count(*) as n,
        count(case when label = 'cold' then 1 end) as labelled_cold,
        count(case when inferred = 'unknown' then 1 end) as unknown,
        count(case when label = 'cold' and inferred = 'cold' then 1 end) as cold_as_cold,
        count(case when label = 'cold' and inferred = 'warm' then 1 end) as cold_as_warm,
        count(case when label = 'warm' and inferred = 'warm' then 1 end) as warm_as_warm,
        count(case when label = 'warm' and inferred = 'cold' then 1 end) as warm_as_cold
    from labelled
    group by engine, environment, memory_mb, function
)

select
    *,
    (
        cast(cold_as_cold as double) / nullif(cold_as_cold + cold_as_warm, 0)
        + cast(warm_as_warm as double) / nullif(warm_as_warm + warm_as_cold, 0)
    ) / 2 as balanced_accuracy,
    cast(cold_as_cold as double) / nullif(cold_as_cold + warm_as_cold, 0) as precision,
    cast(cold_as_cold as double) / nullif(cold_as_cold + cold_as_warm, 0) as recall,
    cast(unknown as double) / n as share_unknown
from counted

-- How fast data moves between workers and storage, by size. One row per (engine, environment, memory_mb, direction,
-- size_class): direction is 'download' (a task's input, by the memory of the worker that took it in) or 'upload' (a
-- task's output); size_class is the power of ten the size begins at, in bytes (1000: from 1,000 to 9,999), 0 for nothing,
-- NULL where the size is unknown. Speeds are in bytes per ms, of single transfers with a size and a time above 0
-- (measured; bytes and ms are their sums); a task's downloads run in parallel, so each one's speed has the others in it.
-- speed_of_all_sizes: the median over every size class of the same engine, environment, memory and direction. Without a
-- speed: too_short, moved in 0 ms or without anything to move; unsized, a time but no size; preloaded_untimed, inputs
-- that a pre-load fetched, which often lose their time, so that downloads are understated; not_moved, without a time
-- otherwise (on the worker already, or not uploaded).
with moved as (
    select
        task_inputs.run_id,
        task_times.memory_mb,
        'download' as direction,
        task_inputs.input_bytes as bytes,
        task_inputs.download_ms as ms,
        task_inputs.preloaded
    from task_inputs
    left join task_times
        on task_inputs.run_id = task_times.run_id and task_inputs.task_id = task_times.task_id
        and task_times.is_last_attempt
    union all
    select run_id, memory_mb, 'upload', output_bytes, upload_ms, false
    from tasks
),

transfers as (
    select
        runs.engine,
        runs.environment,
        moved.memory_mb,
        moved.direction,
        case
            when moved.bytes > 0 then try_cast(power(10, length(cast(moved.bytes as varchar)) - 1) as bigint)
            when moved.bytes = 0 then 0
        end as size_class,
        case
            when moved.ms is null and moved.preloaded then 'preloaded_untimed'
            when moved.ms is null then 'not_moved'
            when moved.bytes is null or moved.bytes < 0 then 'unsized'
            when moved.bytes > 0 and moved.ms > 0 then 'measured'
            else 'too_short'
        end as kind,
        moved.bytes,
        moved.ms,
        case when moved.bytes > 0 and moved.ms > 0 then cast(moved.bytes as double) / moved.ms end as bytes_per_ms
    from moved
    left join runs on moved.run_id = runs.run_id
),

compared as (
    select
        *,
        median(bytes_per_ms) over (partition by engine, environment, memory_mb, direction) as speed_of_all_sizes
    from transfers
)

select
    engine,
    environment,
    memory_mb,
    direction,
    size_class,
    count(case when kind = 'measured' then 1 end) as measured,
    try_cast(sum(case when kind = 'measured' then bytes end) as bigint) as bytes,
    sum(case when kind = 'measured' then ms end) as ms,
    median(bytes_per_ms) as bytes_per_ms,
    percentile_cont(0.1) within group (order by bytes_per_ms) as p10_bytes_per_ms,
    percentile_cont(0.9) within group (order by bytes_per_ms) as p90_bytes_per_ms,
    min(speed_of_all_sizes) as speed_of_all_sizes,
    count(case when kind = 'too_short' then 1 end) as too_short,
    count(case when kind = 'unsized' then 1 end) as unsized,
    count(case when kind = 'preloaded_untimed' then 1 end) as preloaded_untimed,
    count(case when kind = 'not_moved' then 1 end) as not_moved
from compared
group by engine, environment, memory_mb, direction, size_class

-- How fast data moves between workers and storage, by size. One row per (engine, environment, memory_mb, direction,
-- size_class) of `transfers`, whose comment says what they and the kinds are. Speeds are in bytes per ms, of measured
-- transfers (measured counts them; bytes and ms are their sums); a task's downloads run in parallel, so each one's
-- speed has the others in it. speed_of_all_sizes: the median over every size class of the same engine, environment,
-- memory and direction. too_short, unsized, preloaded_untimed (downloads are understated by these) and not_moved count
-- those without a speed.
with compared as (
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

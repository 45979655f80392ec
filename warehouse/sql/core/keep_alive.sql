-- How long an idle container stays warm, estimated. One row per (engine, environment, basis); times in ms. The keep-alive lies between
-- lower_ms and upper_ms (NULL: not bounded by this log), keep_alive_ms is their middle. Both come from the idle time of the container
-- each start found in `container_reuse`, without those too close to call. Basis 'labels': starts known to be cold or warm (reported, initialised,
-- or in a container seen before). Basis 'start-up times': no label is looked at; starts that found a container idle longer than the
-- keep-alive take longer. Starts that were under way alone are compared, for a busy machine hides the difference. The cut that
-- splits cold from warm (or slow from fast, by the logarithm of the start-up time) is a change point of the mean: the least squares one and
-- all those within 6.63 of twice its log likelihood, 99 % for one parameter. n: the starts compared. A change in start-up times
-- counts from 10 starts and a likelihood ratio of 15 up. Where the bounds that start-up times give an engine's environments all
-- overlap, they share the common part (is_shared). A start faster than every one that was surely cold also proves its container warm,
-- which can raise the lower bound.
with known as (
    select
        container_reuse.*,
        case
            when worker_times.reported_state = 'cold' then 1
            when worker_times.reported_state = 'warm' then 0
            when worker_times.init_ms > 0 then 1
            when container_reuse.matched_by = 'container' then 0
        end as cold
    from container_reuse
    inner join worker_times on container_reuse.invocation_id = worker_times.invocation_id
),

compared as (
    select engine, environment, 'labels' as basis, invocation_id, idle_ms, cast(cold as double) as y
    from known
    where cold is not null and idle_ms >= 0 and not is_just_freed and not is_freed_next
    union all
    select engine, environment, 'start-up times', invocation_id, idle_ms, ln(startup_ms)
    from known
    where is_alone and startup_ms > 0 and idle_ms >= 0 and not is_just_freed
),

centred as (
    select
        engine, environment, basis, invocation_id, idle_ms,
        y - avg(y) over (partition by engine, environment, basis) as y,
        count(*) over (partition by engine, environment, basis) as n,
        max(y) over (partition by engine, environment, basis) as largest,
        min(y) over (partition by engine, environment, basis) as smallest
    from compared
),

-- The cut after each idle time: how many lie up to it, what they add up to, and where the next begins.
cuts as (
    select
        *,
        row_number() over upwards as n_below,
        sum(y) over upwards as y_below,
        sum(y * y) over (partition by engine, environment, basis) as squares,
        lead(idle_ms) over upwards as next_idle_ms
    from centred
    window
        upwards as (
            partition by engine, environment, basis order by idle_ms, invocation_id
            rows between unbounded preceding and current row
        )
),

-- The sum of all y is 0: those above the cut add up to -y_below. Below must be the warm, the fast.
rated as (
    select
        *,
        case
            when squares > 0 and next_idle_ms > idle_ms and y_below < 0
                then n * ln(squares / greatest(
                    squares - y_below * y_below / n_below - y_below * y_below / (n - n_below), squares * 1e-9
                ))
        end as rating
    from cuts
),

best as (
    select *, max(rating) over (partition by engine, environment, basis) as best_rating
    from rated
),

own as (
    select
        engine,
        environment,
        basis,
        max(n) as n,
        case
            when basis = 'labels' and max(largest) = 0 then max(idle_ms)
            when basis = 'labels' or (max(n) >= 10 and max(best_rating) >= 15)
                then min(case when rating >= best_rating - 6.63 then idle_ms end)
        end as lower_ms,
        case
            when basis = 'labels' and max(smallest) = 1 then min(idle_ms)
            when basis = 'labels' or (max(n) >= 10 and max(best_rating) >= 15)
                then max(case when rating >= best_rating - 6.63 then next_idle_ms end)
        end as upper_ms
    from best
    group by engine, environment, basis
),

shared as (
    select
        engine,
        basis,
        max(lower_ms) as lower_ms,
        min(upper_ms) as upper_ms
    from own
    where basis = 'start-up times'
    group by engine, basis
    having max(lower_ms) < min(upper_ms) and count(*) > 1
),

bounded as (
    select
        own.engine,
        own.environment,
        own.basis,
        own.n,
        shared.basis is not null as is_shared,
        coalesce(shared.lower_ms, own.lower_ms) as lower_ms,
        coalesce(shared.upper_ms, own.upper_ms) as upper_ms
    from own
    left join shared on own.engine is not distinct from shared.engine and own.basis = shared.basis
),

surely_cold as (
    select bounded.engine, bounded.environment, bounded.basis, min(container_reuse.startup_ms) as fastest_ms
    from bounded
    inner join container_reuse
        on bounded.engine is not distinct from container_reuse.engine
        and bounded.environment is not distinct from container_reuse.environment
    where bounded.basis = 'start-up times' and container_reuse.is_alone and not container_reuse.is_freed_next
        and container_reuse.since_log_ms >= bounded.upper_ms
        and (container_reuse.idle_ms is null or container_reuse.idle_ms >= bounded.upper_ms)
    group by bounded.engine, bounded.environment, bounded.basis
),

surely_warm as (
    select bounded.engine, bounded.environment, bounded.basis, max(container_reuse.idle_ms) as longest_ms
    from bounded
    inner join surely_cold
        on bounded.engine is not distinct from surely_cold.engine
        and bounded.environment is not distinct from surely_cold.environment and bounded.basis = surely_cold.basis
    inner join container_reuse
        on bounded.engine is not distinct from container_reuse.engine
        and bounded.environment is not distinct from container_reuse.environment
    where container_reuse.startup_ms < surely_cold.fastest_ms and not container_reuse.is_just_freed
        and container_reuse.idle_ms < bounded.upper_ms
    group by bounded.engine, bounded.environment, bounded.basis
)

select
    bounded.engine,
    bounded.environment,
    bounded.basis,
    bounded.n,
    (greatest(bounded.lower_ms, surely_warm.longest_ms) + bounded.upper_ms) / 2 as keep_alive_ms,
    greatest(bounded.lower_ms, surely_warm.longest_ms) as lower_ms,
    bounded.upper_ms,
    bounded.is_shared
from bounded
left join surely_warm
    on bounded.engine is not distinct from surely_warm.engine
    and bounded.environment is not distinct from surely_warm.environment and bounded.basis = surely_warm.basis

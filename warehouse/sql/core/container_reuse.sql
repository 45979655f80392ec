-- Whose container each worker may have taken over, labels unseen. One row per invocation; times in ms. Where the source names
-- containers (matched_by 'container') it is the invocation before it in the same one. Else a request takes the container
-- released most recently in its pool, (engine, environment, memory_mb) and function where each has its own containers. A release,
-- or a pre-warm at its trigger, adds a container. idle_ms: how long the container had been free; all of matched_by,
-- matched_invocation_id (NULL for a pre-warm) and idle_ms are NULL where there was none. Whether it was still warm is for
-- `cold_starts` to say. Most-recent-first is bracket matching: with S the running sum of +1 per release and -1 per request, and
-- D = S - least(0, running minimum of S), an event's level is D at a release and D + 1 at a request; within a level a request
-- finds the release just before it, if there is one. Where only tasks tell when a worker ended, it still has to report and
-- exit: the release counts 400 ms after the last task's. The request then counts after 1 % of its start-up: of several made at once
-- the fastest start is the likeliest to have found a container. Still the order is too close to call where the container found had
-- been free for less than 100 ms (is_just_freed), and where another one of the pool became free less than 300 ms after the
-- request (is_freed_next). These four figures were chosen on half of the runs of a recorded series, see docs/cold-starts.md.
-- since_log_ms: from the beginning of the log to the request. A log is what one source holds of an environment, of a SeBS-Flow source what
-- one file holds: each is an experiment whose calls to warm up were left out. Logs that overlap are one. is_alone: no other
-- start-up was under way in the environment.
with starts as (
    select
        worker_times.*,
        case when files.format = 'sebs-flow' then files.file_id else files.source end as source,
        case
            when not is_end_recorded and startup_ms > 0
                then requested_at + to_microseconds(try_cast(round(10 * startup_ms) as bigint))
            else requested_at
        end as arrived_at,
        case
            when is_end_recorded then worker_times.released_at
            else worker_times.released_at + to_microseconds(400000)
        end as free_at
    from worker_times
    left join files on worker_times.file_id = files.file_id
),

-- Applied pre-warms repeat as recorded: one container each.
prewarms as (
    select distinct
        optimizations.run_id,
        optimizations.happened_at,
        targets.engine,
        targets.environment,
        targets.memory_mb,
        targets.function
    from optimizations
    inner join worker_times as targets
        on optimizations.run_id = targets.run_id and optimizations.target_worker_id = targets.worker_id
    where optimizations.optimization = 'prewarm' and optimizations.stage = 'applied'
        and optimizations.happened_at is not null
),

events as (
    select
        engine, environment, memory_mb, function, arrived_at as happens_at, 1 as is_request, -1 as change,
        invocation_id, 'request' as what, false as is_estimate
    from starts
    where arrived_at is not null
    union all
    select
        engine, environment, memory_mb, function, free_at, 0, 1,
        invocation_id, 'release', not is_end_recorded
    from starts
    where free_at is not null
    union all
    select engine, environment, memory_mb, function, happened_at, 0, 1, null, 'prewarm', false from prewarms
),

sums as (
    select
        *,
        sum(change) over (
            partition by engine, environment, memory_mb, function
            order by happens_at, is_request, what, invocation_id
            rows between unbounded preceding and current row
        ) as s,
        min(case when is_request = 0 and is_estimate then happens_at end) over (
            partition by engine, environment, memory_mb, function
            order by happens_at, is_request, what, invocation_id
            rows between 1 following and unbounded following
        ) as next_estimated_release_at
    from events
),

levels as (
    select
        *,
        s - least(0, min(s) over (
            partition by engine, environment, memory_mb, function
            order by happens_at, is_request, what, invocation_id
            rows between unbounded preceding and current row
        )) + is_request as level
    from sums
),

before as (
    select
        invocation_id,
        is_request,
        happens_at,
        next_estimated_release_at,
        lag(what) over same_level as what_before,
        lag(is_estimate) over same_level as is_estimate,
        lag(invocation_id) over same_level as invocation_before,
        lag(happens_at) over same_level as free_since
    from levels
    window
        same_level as (
            partition by engine, environment, memory_mb, function, level
            order by happens_at, is_request, what, invocation_id
        )
),

found as (
    select
        invocation_id,
        case when what_before <> 'request' then what_before end as matched_by,
        case when what_before <> 'request' then invocation_before end as matched_invocation_id,
        case
            when what_before <> 'request' then cast(date_diff('microsecond', free_since, happens_at) as double) / 1000
        end as idle_ms,
        what_before <> 'request' and is_estimate
        and date_diff('microsecond', free_since, happens_at) < 100000 as is_just_freed,
        date_diff('microsecond', happens_at, next_estimated_release_at) < 300000 as is_freed_next
    from before
    where is_request = 1
),

-- The same container, one invocation before.
named as (
    select
        invocation_id,
        container_id,
        lag(invocation_id) over same_container as invocation_before,
        lag(released_at) over same_container as released_before
    from starts
    where container_id is not null
    window
        same_container as (
            partition by engine, environment, container_id order by requested_at nulls first, invocation_id
        )
),

-- Sources whose times overlap, or touch, are one log.
sources as (
    select
        engine,
        environment,
        source,
        min(requested_at) as begins_at,
        max(greatest(requested_at, coalesce(released_at, requested_at))) as ends_at
    from starts
    where requested_at is not null
    group by engine, environment, source
),

joined as (
    select
        *,
        begins_at > max(ends_at) over (
            partition by engine, environment order by begins_at, ends_at
            rows between unbounded preceding and 1 preceding
        ) as is_new_log
    from sources
),

logs as (
    select
        engine,
        environment,
        source,
        max(case when is_new_log is null or is_new_log then begins_at end) over (
            partition by engine, environment order by begins_at, ends_at
            rows between unbounded preceding and current row
        ) as log_begins_at
    from joined
),

neighbours as (
    select
        invocation_id,
        max(coalesce(ready_at, requested_at)) over (
            partition by engine, environment order by requested_at, invocation_id
            rows between unbounded preceding and 1 preceding
        ) as others_ready_at,
        lead(requested_at) over (
            partition by engine, environment order by requested_at, invocation_id
        ) as next_requested_at
    from starts
    where requested_at is not null
)

select
    starts.invocation_id,
    starts.run_id,
    starts.engine,
    starts.environment,
    starts.memory_mb,
    starts.function,
    starts.requested_at,
    starts.startup_ms,
    case when named.invocation_before is not null then 'container' else found.matched_by end as matched_by,
    coalesce(named.invocation_before, found.matched_invocation_id) as matched_invocation_id,
    case
        when named.invocation_before is not null
            then cast(date_diff('microsecond', named.released_before, starts.requested_at) as double) / 1000
        else found.idle_ms
    end as idle_ms,
    named.invocation_before is null and coalesce(found.is_just_freed, false) as is_just_freed,
    named.invocation_before is null and coalesce(found.is_freed_next, false) as is_freed_next,
    named.container_id is not null as is_container_named,
    coalesce(
        (neighbours.others_ready_at is null or neighbours.others_ready_at <= starts.requested_at)
        and (neighbours.next_requested_at is null or neighbours.next_requested_at >= starts.ready_at),
        false
    ) as is_alone,
    cast(date_diff('microsecond', logs.log_begins_at, starts.requested_at) as double) / 1000 as since_log_ms
from starts
left join found on starts.invocation_id = found.invocation_id
left join named on starts.invocation_id = named.invocation_id
left join neighbours on starts.invocation_id = neighbours.invocation_id
left join logs
    on starts.engine is not distinct from logs.engine
    and starts.environment is not distinct from logs.environment
    and starts.source is not distinct from logs.source

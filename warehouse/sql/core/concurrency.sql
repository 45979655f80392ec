-- How many runs, workers and containers were alive at once. One row per (environment, run_id, changed_at): an instant
-- at which something changed for one of the run's workers; the counts hold from it until the next one of the
-- environment (of the run, for run_workers), so their largest value is the peak: max(workers) by environment,
-- max(run_workers) by run_id. A worker is alive from its request until its release, and starting until it is ready. A
-- worker without a known end is alive until it was ready, one that was never ready not at all: neither may live for
-- ever, and workers_without_end says how many of the environment were requested so far. workers_unplaced: workers of
-- the environment without a request time or, where the source records none, an instant at which they were ready (which
-- then stands for it), in no count. A worker holds one container; from its release one more is kept warm until a later
-- worker takes it over, else until keep_warm_until. Where neither is known it is not counted, nor is one that a
-- pre-warm launched before a worker is in it: containers is then a lower bound. peak_workers and peak_containers:
-- largest so far.
with reused as (
    select reused_invocation_id as invocation_id, min(requested_at) as taken_at
    from worker_active_periods
    where reused_invocation_id is not null and requested_at is not null
    group by reused_invocation_id
),

lives as (
    select
        runs.environment,
        periods.run_id,
        periods.requested_at,
        periods.ready_at,
        periods.released_at,
        coalesce(
            periods.released_at, case when periods.ready_at > periods.requested_at then periods.ready_at end
        ) as ends_at,
        coalesce(reused.taken_at, periods.keep_warm_until) as warm_until
    from worker_active_periods as periods
    left join runs on periods.run_id = runs.run_id
    left join reused on periods.invocation_id = reused.invocation_id
),

-- Start and end of every state, +1 and -1. What begins and ends at one instant adds up to nothing.
events as (
    select
        environment, run_id, requested_at as changed_at,
        case when ends_at is null then 0 else 1 end as worker, 0 as starting, 0 as warm,
        case when released_at is null then 1 else 0 end as endless,
        case when requested_at is null then 1 else 0 end as unplaced
    from lives
    union all
    select environment, run_id, ends_at, -1, 0, 0, 0, 0
    from lives
    where requested_at is not null and ends_at is not null
    union all
    select environment, run_id, requested_at, 0, 1, 0, 0, 0
    from lives
    where ready_at > requested_at and ends_at is not null
    union all
    select environment, run_id, least(ready_at, ends_at), 0, -1, 0, 0, 0
    from lives
    where ready_at > requested_at and ends_at is not null
    union all
    select environment, run_id, released_at, 0, 0, 1, 0, 0
    from lives
    where warm_until > released_at and requested_at is not null
    union all
    select environment, run_id, warm_until, 0, 0, -1, 0, 0
    from lives
    where warm_until > released_at and requested_at is not null
),

changes as (
    select
        environment,
        run_id,
        changed_at,
        cast(sum(worker) as int) as worker,
        cast(sum(starting) as int) as starting,
        cast(sum(warm) as int) as warm,
        cast(sum(endless) as int) as endless,
        cast(sum(sum(unplaced)) over (partition by environment) as bigint) as workers_unplaced
    from events
    group by environment, run_id, changed_at
),

by_run as (
    select
        *,
        cast(sum(worker) over (partition by environment, run_id order by changed_at) as bigint) as run_workers
    from changes
    where changed_at is not null
),

running as (
    select
        *,
        case when run_workers > 0 then 1 else 0 end
        - case when run_workers - worker > 0 then 1 else 0 end as run
    from by_run
),

-- Rows of the same instant are peers: each shows what holds once all of them have happened.
counted as (
    select
        environment,
        run_id,
        changed_at,
        run_workers,
        cast(sum(run) over so_far as bigint) as runs,
        cast(sum(worker) over so_far as bigint) as workers,
        cast(sum(starting) over so_far as bigint) as workers_starting,
        cast(sum(warm) over so_far as bigint) as containers_kept_warm,
        cast(sum(endless) over so_far as bigint) as workers_without_end,
        workers_unplaced
    from running
    window so_far as (partition by environment order by changed_at range between unbounded preceding and current row)
)

select
    environment,
    run_id,
    changed_at,
    run_workers,
    runs,
    workers,
    workers_starting,
    workers - workers_starting as workers_active,
    containers_kept_warm,
    workers + containers_kept_warm as containers,
    workers_without_end,
    workers_unplaced,
    max(workers) over so_far as peak_workers,
    max(workers + containers_kept_warm) over so_far as peak_containers
from counted
window so_far as (partition by environment order by changed_at range between unbounded preceding and current row)

-- Whether each worker started cold or warm, told without its label. One row per (invocation_id, basis), basis being that of the
-- keep-alive used. A start in a container seen before is warm, and one in a container first seen is cold, once the burn-in is over.
-- Where containers have no names: warm if the container that `container_reuse` found had been idle no longer than the keep-alive's lower
-- bound; cold if it had been idle for the upper bound or longer, or if there was none, once the burn-in is over. The burn-in is the first
-- keep-alive of a log: containers may be warm from before it. That is the upper bound; where there is none, or a container was reused
-- after longer, it is twice the longest reuse seen, which itself is but a lower bound. All else is 'unknown',
-- and unknown_because says why: 'never_ready', 'contested', 'near_keep_alive', 'burn_in', 'keep_alive_unknown', 'logs_dropped'
-- (the platform lost log lines around it), 'contradicted'. Where neither the container nor the request is recorded, labels of other starts may
-- tell slow ones from fast ones (`slow_starts`, basis 'labels' only): that decides what the containers leave open, and
-- where it says otherwise than they do, the start is 'contradicted'.
with bases as (
    select 'labels' as basis
    union all
    select 'start-up times'
),

reuses as (
    select
        container_reuse.*,
        max(case when matched_by = 'container' and idle_ms > 0 then idle_ms end) over (
            partition by engine, environment
        ) as longest_reuse_ms
    from container_reuse
),

bounded as (
    select
        reuses.*,
        bases.basis,
        keep_alive.lower_ms,
        keep_alive.upper_ms,
        case
            when keep_alive.upper_ms >= coalesce(reuses.longest_reuse_ms, 0) then keep_alive.upper_ms
            else 2 * greatest(keep_alive.lower_ms, reuses.longest_reuse_ms)
        end as burn_in_ms,
        worker_times.outcome,
        worker_times.logs_dropped,
        case when bases.basis = 'labels' and worker_times.startup_ms is null then slow_starts.is_slow end as is_slow
    from reuses
    cross join bases
    inner join worker_times on reuses.invocation_id = worker_times.invocation_id
    left join keep_alive
        on reuses.engine is not distinct from keep_alive.engine
        and reuses.environment is not distinct from keep_alive.environment and bases.basis = keep_alive.basis
    left join slow_starts on reuses.invocation_id = slow_starts.invocation_id
),

judged as (
    select
        *,
        case
            when logs_dropped then 'logs_dropped'
            when matched_by = 'container' then 'warm'
            when outcome = 'never_ready' and not is_container_named then 'never_ready'
            when is_just_freed and not is_container_named then 'contested'
            when idle_ms <= lower_ms and not is_container_named then 'warm'
            when is_freed_next and not is_container_named then 'contested'
            when burn_in_ms is null then 'keep_alive_unknown'
            when idle_ms < upper_ms and not is_container_named then 'near_keep_alive'
            when idle_ms is not null and upper_ms is null and not is_container_named then 'near_keep_alive'
            when since_log_ms >= burn_in_ms then 'cold'
            else 'burn_in'
        end as verdict_of_containers
    from bounded
),

weighed as (
    select
        *,
        case
            when is_slow is null or is_container_named or verdict_of_containers in ('never_ready', 'logs_dropped')
                then verdict_of_containers
            when verdict_of_containers = case when is_slow then 'warm' else 'cold' end then 'contradicted'
            when is_slow then 'cold'
            else 'warm'
        end as verdict
    from judged
)

select
    invocation_id,
    basis,
    case when verdict in ('cold', 'warm') then verdict else 'unknown' end as state,
    case
        when is_container_named then 'container'
        when verdict = 'never_ready' then 'never_ready'
        else 'inferred'
    end as state_source,
    case when verdict not in ('cold', 'warm') then verdict end as unknown_because
from weighed

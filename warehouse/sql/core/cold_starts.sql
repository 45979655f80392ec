-- Whether each worker started cold or warm. One row per invocation: exactly one state, 'cold', 'warm' or 'unknown', and where it comes
-- from (state_source), the most trusted first: 'reported' label, 'init' duration present (cold), 'container' first or later seen,
-- 'inferred' from when containers of its pool were released (see `cold_start_inference`, which also says why a state is unknown:
-- unknown_because); a worker that never became ready is unknown, its source 'never_ready'. startup_ms: from request to ready.
-- idle_ms: how long the container it most probably took over, that of matched_invocation_id, had been free (`container_reuse`); NULL
-- where none was. The keep-alive behind an inferred state is that from labels where there are any, else from start-up times.
with preferred as (
    select engine, environment, max(case when basis = 'labels' and n > 0 then 1 else 0 end) as has_labels
    from keep_alive
    group by engine, environment
)

select
    reuse.invocation_id,
    reuse.run_id,
    worker_times.worker_id,
    reuse.engine,
    reuse.environment,
    reuse.memory_mb,
    reuse.function,
    reuse.requested_at,
    reuse.startup_ms,
    case
        when worker_times.reported_state in ('cold', 'warm') then worker_times.reported_state
        when worker_times.init_ms > 0 then 'cold'
        else inference.state
    end as state,
    case
        when worker_times.reported_state in ('cold', 'warm') then 'reported'
        when worker_times.init_ms > 0 then 'init'
        else inference.state_source
    end as state_source,
    case
        when worker_times.reported_state in ('cold', 'warm') or worker_times.init_ms > 0 then null
        else inference.unknown_because
    end as unknown_because,
    reuse.matched_by,
    reuse.matched_invocation_id,
    reuse.idle_ms
from container_reuse as reuse
inner join worker_times on reuse.invocation_id = worker_times.invocation_id
left join preferred
    on reuse.engine is not distinct from preferred.engine
    and reuse.environment is not distinct from preferred.environment
inner join cold_start_inference as inference
    on reuse.invocation_id = inference.invocation_id
    and inference.basis = case when preferred.has_labels = 1 then 'labels' else 'start-up times' end

-- What the serialised DAG of a run must carry. One row per run. edges: recorded dependencies; topology_bytes: every task's
-- id once and two numbers for every edge (both NULL without recorded edges); argument_bytes: the arguments given in the
-- workflow itself, NULL unless the run is complete and every task recorded what it was given.
with ids as (
    select run_id, count(*) as tasks, sum(length(task_id)) as id_bytes
    from (
        select run_id, task_id from edges
        union
        select run_id, upstream_task_id from edges
    ) as in_edges
    group by run_id
),

topology as (
    select
        ids.run_id,
        counted.edges,
        ids.id_bytes + 2 * counted.edges * case when ids.tasks <= 256 then 1 when ids.tasks <= 65536 then 2 else 4 end
            as topology_bytes
    from ids
    inner join (select run_id, count(*) as edges from edges group by run_id) as counted on ids.run_id = counted.run_id
),

arguments as (
    select run_id, case when count(literal_bytes) = count(*) then cast(sum(literal_bytes) as double) end as argument_bytes
    from task_times
    where is_last_attempt
    group by run_id
)

select
    run_summary.run_id,
    topology.edges,
    topology.topology_bytes,
    case when run_summary.is_complete then arguments.argument_bytes end as argument_bytes
from run_summary
left join topology on run_summary.run_id = topology.run_id
left join arguments on run_summary.run_id = arguments.run_id

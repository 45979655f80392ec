-- How the serialised DAG grows with its tasks, and what it costs the workers that load it. One row per (engine, workflow,
-- structure_hash, tasks), tasks as in `run_summary`; runs without a recorded load count in runs alone. A load's
-- download_ms is positive where the worker fetched the DAG (loads_downloaded), 0 where it came with the invocation
-- (loads_passed), anything else is loads_unmeasured. loads_over_95_kb: more than some 95 kB cannot be passed with an
-- invocation. Medians over loads: dag_bytes, bytes_per_task, download_ms (of those downloaded), subdag_ms, other_bytes.
-- Medians over runs: edges, topology_bytes, argument_bytes, and what all loads of a run add up to, bytes_per_run and
-- load_ms_per_run.
-- What the DAG must carry, topology_bytes and argument_bytes, is said by `dag_contents`. other_bytes is the rest: the
-- functions' code, and what the serialisation repeats. How much of it is code no dump says, so it is no bound.
with run_loads as (
    select
        run_id,
        cast(sum(dag_bytes) as double) as dag_bytes,
        coalesce(sum(download_ms) + sum(subdag_ms), sum(download_ms), sum(subdag_ms)) as load_ms
    from dag_loads
    group by run_id
),

structures as (
    select
        run_summary.run_id,
        engine,
        workflow,
        structure_hash,
        tasks_expected as tasks,
        edges,
        topology_bytes,
        argument_bytes,
        run_loads.dag_bytes as bytes_of_run,
        run_loads.load_ms as load_ms_of_run
    from run_summary
    inner join dag_contents on run_summary.run_id = dag_contents.run_id
    left join run_loads on run_summary.run_id = run_loads.run_id
),

-- What is known once for a run stands at the first of its loads, so that medians over runs count it once.
loads as (
    select
        structures.*,
        dag_loads.run_id is not null as is_load,
        row_number() over (partition by structures.run_id order by dag_loads.dag_bytes nulls last) = 1 as is_first,
        dag_loads.dag_bytes,
        dag_loads.download_ms,
        dag_loads.subdag_ms
    from structures
    left join dag_loads on structures.run_id = dag_loads.run_id
)

select
    engine,
    workflow,
    structure_hash,
    tasks,
    median(case when is_first then edges end) as edges,
    count(case when is_first then 1 end) as runs,
    count(case when is_first and is_load then 1 end) as runs_with_loads,
    count(case when is_load then 1 end) as loads,
    median(dag_bytes) as dag_bytes,
    min(dag_bytes) as min_dag_bytes,
    max(dag_bytes) as max_dag_bytes,
    median(dag_bytes) / nullif(tasks, 0) as bytes_per_task,
    count(case when download_ms > 0 then 1 end) as loads_downloaded,
    count(case when download_ms = 0 then 1 end) as loads_passed,
    count(case when is_load and (download_ms is null or download_ms < 0) then 1 end) as loads_unmeasured,
    count(case when dag_bytes > 95000 then 1 end) as loads_over_95_kb,
    max(case when download_ms = 0 then dag_bytes end) as largest_passed_bytes,
    min(case when download_ms > 0 then dag_bytes end) as smallest_downloaded_bytes,
    median(case when download_ms > 0 then download_ms end) as download_ms,
    median(subdag_ms) as subdag_ms,
    median(case when is_first then bytes_of_run end) as bytes_per_run,
    median(case when is_first then load_ms_of_run end) as load_ms_per_run,
    median(case when is_first then topology_bytes end) as topology_bytes,
    median(case when is_first then argument_bytes end) as argument_bytes,
    median(cast(dag_bytes as double) - topology_bytes - argument_bytes) as other_bytes
from loads
group by engine, workflow, structure_hash, tasks

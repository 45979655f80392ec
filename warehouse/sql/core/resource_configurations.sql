-- Is CPU a function of memory in this data? One row per (engine, environment, memory_mb) that invocations or tasks ran
-- with; memory_mb is NULL where it is not recorded. CPUs have no column: they are what invocations and tasks keep as
-- `cpus` in `extra`, and anything but a positive number there counts as not recorded. cpus_recorded: how many of those
-- invocations and tasks say their CPUs; cpus_values: how many different numbers they say. is_function_of_memory: they all
-- say the same; NULL where none says any or the memory is unknown, so it can be refuted by this data, never by the
-- engine's rule. cpus_expected: what octoflows derives from memory (1792 MB to a CPU, 6 at most); newer versions record
-- no CPUs and always derive them.
with configured as (
    select run_id, memory_mb, 1 as is_invocation, json_extract_string(extra, '$.cpus') as cpus
    from invocations
    union all
    select run_id, memory_mb, 0, json_extract_string(extra, '$.cpus')
    from tasks
),

numbered as (
    select run_id, memory_mb, is_invocation, try_cast(cpus as double) as cpus
    from configured
),

known as (
    select
        runs.engine,
        runs.environment,
        numbered.run_id,
        numbered.memory_mb,
        numbered.is_invocation,
        case when numbered.cpus > 0 and numbered.cpus < cast('infinity' as double) then numbered.cpus end as cpus
    from numbered
    left join runs on numbered.run_id = runs.run_id
)

select
    engine,
    environment,
    memory_mb,
    count(distinct run_id) as runs,
    count(case when is_invocation = 1 then 1 end) as invocations,
    count(case when is_invocation = 0 then 1 end) as tasks,
    count(cpus) as cpus_recorded,
    count(distinct cpus) as cpus_values,
    min(cpus) as min_cpus,
    max(cpus) as max_cpus,
    case
        when engine = 'octoflows' and memory_mb > 0 then round(least(cast(memory_mb as double) / 1792, 6), 2)
    end as cpus_expected,
    case when memory_mb is not null and count(cpus) > 0 then count(distinct cpus) = 1 end as is_function_of_memory
from known
group by engine, environment, memory_mb

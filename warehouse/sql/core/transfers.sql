-- Every transfer between a worker and storage, and how fast it was. One row per input of a task (direction 'download',
-- by the memory of the worker that took it in; object_id and upstream_task_id say which) and per task attempt
-- (direction 'upload', of its output). size_class is the power of ten the size begins at, in bytes (1000: from 1,000 to
-- 9,999), 0 for nothing, NULL where the size is unknown. kind: 'measured' (a size and a time above 0: bytes_per_ms,
-- NULL otherwise), 'too_short' (moved in 0 ms or without anything to move), 'unsized' (a time but no size),
-- 'preloaded_untimed' (an input that a pre-load fetched, which often loses its time), 'not_moved' (without a time
-- otherwise: on the worker already, or not uploaded).
with moved as (
    select
        task_inputs.run_id,
        task_inputs.task_id,
        task_inputs.object_id,
        task_inputs.upstream_task_id,
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
    select
        run_id, task_id, cast(null as varchar), cast(null as varchar), memory_mb,
        'upload', output_bytes, upload_ms, false
    from tasks
)

select
    moved.run_id,
    moved.task_id,
    moved.object_id,
    moved.upstream_task_id,
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
    moved.preloaded,
    case when moved.bytes > 0 and moved.ms > 0 then cast(moved.bytes as double) / moved.ms end as bytes_per_ms
from moved
left join runs on moved.run_id = runs.run_id

-- When each task's phases ended, and what it moved. One row per task attempt that left metrics.
-- finished_at: its output was available. released_at: it had also told the tasks that wait for it. Offsets are from the
-- run's submission. A phase that did not happen takes no time; download_ms is NULL when nothing was downloaded.
with inputs as (
    select
        run_id,
        task_id,
        cast(sum(input_bytes) as bigint) as input_bytes,
        cast(sum(case when download_ms is not null then input_bytes end) as bigint) as downloaded_bytes,
        sum(download_ms) as download_ms
    from task_inputs
    group by run_id, task_id
),

phases as (
    select
        tasks.*,
        coalesce(inputs.input_bytes, 0) + coalesce(tasks.literal_bytes, 0) as inputs_bytes,
        coalesce(inputs.downloaded_bytes, 0) as downloaded_bytes,
        inputs.download_ms,
        tasks.started_at + to_microseconds(cast(round(1000 * (
            coalesce(tasks.input_wait_ms, 0) + coalesce(tasks.execution_ms, 0) + coalesce(tasks.upload_ms, 0)
        )) as bigint)) as finished_at,
        tasks.started_at + to_microseconds(cast(round(1000 * (
            coalesce(tasks.input_wait_ms, 0) + coalesce(tasks.execution_ms, 0) + coalesce(tasks.upload_ms, 0)
            + coalesce(tasks.counters_ms, 0) + coalesce(tasks.invocation_ms, 0)
        )) as bigint)) as released_at
    from tasks
    left join inputs on tasks.run_id = inputs.run_id and tasks.task_id = inputs.task_id
)

select
    phases.*,
    date_diff('microsecond', runs.submitted_at, phases.started_at) / 1000.0 as start_offset_ms,
    date_diff('microsecond', runs.submitted_at, phases.finished_at) / 1000.0 as finish_offset_ms,
    date_diff('microsecond', runs.submitted_at, phases.released_at) / 1000.0 as release_offset_ms
from phases
left join runs on phases.run_id = runs.run_id

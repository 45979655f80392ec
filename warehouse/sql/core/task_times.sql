-- When each task's phases ended, and what it moved. One row per task attempt that left metrics.
-- duration_ms: from started_at until its output was available (finished_at), NULL where the execution time is unknown; a
-- phase that did not happen takes no time. released_at: it had also told the tasks that wait for it. Offsets are from the
-- run's submission. Sizes and download_ms are those of the task's recorded inputs; a source does not say which attempt read
-- them, so they stand at the last one (is_last_attempt) and are NULL at earlier ones. download_ms is NULL when nothing was
-- downloaded, downloaded_bytes then 0.
with inputs as (
    select
        run_id,
        task_id,
        sum(input_bytes) as input_bytes,
        sum(case when download_ms is null then 0 else input_bytes end) as downloaded_bytes,
        sum(download_ms) as download_ms
    from task_inputs
    group by run_id, task_id
),

attempts as (
    select
        tasks.*,
        row_number() over (
            partition by run_id, task_id
            order by coalesce(attempt, 1) desc, started_at desc nulls last, attempt desc nulls last
        ) = 1 as is_last_attempt,
        coalesce(input_wait_ms, 0) + execution_ms + coalesce(upload_ms, 0) as duration_ms
    from tasks
),

moved as (
    select
        attempts.*,
        case
            when attempts.is_last_attempt
                then try_cast(coalesce(
                    inputs.input_bytes + attempts.literal_bytes, inputs.input_bytes, attempts.literal_bytes
                ) as bigint)
        end as inputs_bytes,
        case
            when inputs.task_id is not null then try_cast(inputs.downloaded_bytes as bigint)
            when attempts.is_last_attempt and attempts.literal_bytes is not null then 0
        end as downloaded_bytes,
        inputs.download_ms
    from attempts
    left join inputs
        on attempts.run_id = inputs.run_id and attempts.task_id = inputs.task_id and attempts.is_last_attempt
),

phases as (
    select
        moved.*,
        started_at + to_microseconds(try_cast(round(1000 * duration_ms) as bigint)) as finished_at,
        started_at + to_microseconds(try_cast(
            round(1000 * (duration_ms + coalesce(counters_ms, 0) + coalesce(invocation_ms, 0))) as bigint
        )) as released_at
    from moved
),

offsets as (
    select
        phases.*,
        cast(date_diff('microsecond', runs.submitted_at, phases.started_at) as double) / 1000 as start_offset_ms
    from phases
    left join runs on phases.run_id = runs.run_id
)

select
    offsets.*,
    start_offset_ms + duration_ms as finish_offset_ms,
    start_offset_ms + duration_ms + coalesce(counters_ms, 0) + coalesce(invocation_ms, 0) as release_offset_ms
from offsets

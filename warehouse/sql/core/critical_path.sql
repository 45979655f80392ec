-- Which chain of tasks decided how long a run took, and what each of them waited for. One row per (run_id, path, step):
-- path 'observed' ends at the sink and goes back, at every task, to the upstream task that finished last; 'planned' is
-- what the planner thought. Where the sink failed or left no metrics the observed path ends at the task that finished
-- last (reaches_sink is false). step counts from 1 at the first task, steps is their number; times in ms, offsets from
-- the run's submission. A step lasts from the finish of the step before it (the first: from the submission) to its own
-- finish; in that time, startup_ms: its worker was starting; handover_ms: the task before still told the tasks that
-- wait for it (at the sink, also its own invocation_ms, which the makespan counts); then input_wait_ms, execution_ms
-- and upload_ms of the task itself. gap_ms is what no measured phase explains: waiting for a place on the worker, an
-- earlier attempt, an upstream task without metrics (upstream_missing counts those), a start-up that is not recorded
-- (startup_ms is then 0), and downloads where input_wait_ms is not recorded (NULL: WUKONG's workers). It is negative
-- where two clocks disagree. All six add up to step_ms, and the steps of an observed path that reaches the sink to the
-- run's makespan_ms; those of a planned path to its last task's finish_offset_ms. What needs an unknown instant is
-- NULL. A planned start-up counts as far as the plan's own times wait for it. on_other_path: the task also stands on
-- the run's other path, NULL where there is none.
with recursive done as (
    select
        task_times.*,
        count(*) over (partition by run_id) as tasks_done,
        row_number() over (partition by run_id order by finished_at desc, task_id) as place_from_end
    from task_times
    where is_last_attempt and finished_at is not null
),

last_upstream as (
    select run_id, task_id, upstream_task_id
    from (
        select
            edges.run_id,
            edges.task_id,
            edges.upstream_task_id,
            row_number() over (
                partition by edges.run_id, edges.task_id order by done.finished_at desc, edges.upstream_task_id
            ) as place
        from edges
        inner join done on edges.run_id = done.run_id and edges.upstream_task_id = done.task_id
        where edges.upstream_task_id <> edges.task_id
    ) as ranked
    where place = 1
),

missing as (
    select edges.run_id, edges.task_id, count(*) as upstream_missing
    from edges
    left join done on edges.run_id = done.run_id and edges.upstream_task_id = done.task_id
    where done.task_id is null
    group by edges.run_id, edges.task_id
),

sinks as (
    select runs.run_id, runs.sink_task_id
    from runs
    inner join done on runs.run_id = done.run_id and runs.sink_task_id = done.task_id
    where done.status is null or done.status not in ('failed', 'killed')
),

ends as (
    select done.run_id, done.task_id, done.tasks_done, sinks.run_id is not null as reaches_sink
    from done
    left join sinks on done.run_id = sinks.run_id
    where done.task_id = sinks.sink_task_id or (sinks.run_id is null and done.place_from_end = 1)
),

-- No path is longer than the tasks there are: a DAG that bites its own tail ends there.
walk as (
    select run_id, task_id, tasks_done, reaches_sink, cast(0 as bigint) as from_sink
    from ends
    union all
    select
        walk.run_id,
        last_upstream.upstream_task_id,
        walk.tasks_done,
        walk.reaches_sink,
        walk.from_sink + 1
    from walk
    inner join last_upstream on walk.run_id = last_upstream.run_id and walk.task_id = last_upstream.task_id
    where walk.from_sink + 1 < walk.tasks_done
),

walked as (
    select run_id, task_id, reaches_sink, min(from_sink) as from_sink
    from walk
    group by run_id, task_id, reaches_sink
),

starting as (
    select
        invocation_tasks.run_id,
        invocation_tasks.task_id,
        cast(date_diff('microsecond', runs.submitted_at, worker_times.requested_at) as double) / 1000 as requested_ms,
        cast(date_diff('microsecond', runs.submitted_at, worker_times.ready_at) as double) / 1000 as ready_ms
    from invocation_tasks
    inner join worker_times on invocation_tasks.invocation_id = worker_times.invocation_id
    inner join runs on invocation_tasks.run_id = runs.run_id
    where invocation_tasks.is_last_attempt
),

placed as (
    select
        done.run_id,
        done.task_id,
        done.worker_id,
        walked.reaches_sink,
        walked.from_sink,
        row_number() over path as step,
        count(*) over (partition by done.run_id) as steps,
        lag(done.task_id) over path as upstream_task_id,
        done.start_offset_ms,
        done.finish_offset_ms,
        case when row_number() over path = 1 then 0 else lag(done.finish_offset_ms) over path end as begins_ms,
        lag(done.release_offset_ms) over path as told_ms,
        starting.requested_ms,
        starting.ready_ms,
        done.input_wait_ms,
        done.execution_ms,
        coalesce(done.upload_ms, 0) as upload_ms,
        case when walked.from_sink = 0 and walked.reaches_sink then coalesce(done.invocation_ms, 0) else 0 end
            as last_invocation_ms
    from walked
    inner join done on walked.run_id = done.run_id and walked.task_id = done.task_id
    left join starting on done.run_id = starting.run_id and done.task_id = starting.task_id
    window path as (partition by done.run_id order by walked.from_sink desc)
),

-- Parts of the time between the task before and this one's start; where both happen, it is the start-up that is
-- waited for.
waits as (
    select
        *,
        case
            when start_offset_ms is null then null
            when requested_ms is null or ready_ms is null then 0
            else greatest(0, least(ready_ms, start_offset_ms) - greatest(requested_ms, begins_ms))
        end as startup_ms,
        case
            when step = 1 then 0
            when told_ms is not null then greatest(0, least(told_ms, start_offset_ms) - begins_ms)
        end as telling_ms,
        case
            when step = 1 or requested_ms is null or ready_ms is null then 0
            else greatest(0, least(ready_ms, told_ms, start_offset_ms) - greatest(requested_ms, begins_ms))
        end as telling_while_starting_ms
    from placed
),

observed as (
    select *, telling_ms - telling_while_starting_ms + last_invocation_ms as handover_ms
    from waits
),

ordered as (
    select
        *,
        row_number() over path as step,
        count(*) over (partition by run_id) as steps,
        lag(task_id) over path as upstream_task_id,
        case when row_number() over path = 1 then 0 else lag(completion_offset_ms) over path end as begins_ms
    from planned_tasks
    where on_critical_path
    window path as (partition by run_id order by start_offset_ms nulls last, completion_offset_ms nulls last, task_id)
),

planned as (
    select
        ordered.*,
        case
            when startup_ms is null then 0
            when start_offset_ms - begins_ms is not null
                then greatest(0, least(startup_ms, start_offset_ms - begins_ms))
        end as waited_startup_ms,
        coalesce(upload_ms, 0) as waited_upload_ms,
        max(case when step = steps and task_id = runs.sink_task_id then 1 else 0 end) over (
            partition by ordered.run_id
        ) = 1 as reaches_sink
    from ordered
    left join runs on ordered.run_id = runs.run_id
)

select
    observed.run_id,
    'observed' as path,
    observed.step,
    observed.steps,
    observed.task_id,
    observed.upstream_task_id,
    observed.worker_id,
    observed.start_offset_ms,
    observed.finish_offset_ms,
    observed.startup_ms,
    observed.handover_ms,
    observed.input_wait_ms,
    observed.execution_ms,
    observed.upload_ms,
    observed.start_offset_ms - observed.begins_ms
    - observed.startup_ms - (observed.handover_ms - observed.last_invocation_ms) as gap_ms,
    observed.finish_offset_ms - observed.begins_ms + observed.last_invocation_ms as step_ms,
    coalesce(missing.upstream_missing, 0) as upstream_missing,
    observed.reaches_sink,
    case when planned_runs.run_id is not null then planned.task_id is not null end as on_other_path
from observed
left join missing on observed.run_id = missing.run_id and observed.task_id = missing.task_id
left join planned on observed.run_id = planned.run_id and observed.task_id = planned.task_id
left join (select distinct run_id from planned) as planned_runs on observed.run_id = planned_runs.run_id
union all
select
    planned.run_id,
    'planned',
    planned.step,
    planned.steps,
    planned.task_id,
    planned.upstream_task_id,
    planned.worker_id,
    planned.start_offset_ms,
    planned.completion_offset_ms,
    planned.waited_startup_ms,
    cast(0 as double),
    planned.input_wait_ms,
    planned.execution_ms,
    planned.waited_upload_ms,
    planned.completion_offset_ms - planned.begins_ms - planned.waited_startup_ms
    - coalesce(planned.input_wait_ms, 0) - planned.execution_ms - planned.waited_upload_ms,
    planned.completion_offset_ms - planned.begins_ms,
    cast(0 as bigint),
    planned.reaches_sink,
    case when walked_runs.run_id is not null then walked.task_id is not null end
from planned
left join walked on planned.run_id = walked.run_id and planned.task_id = walked.task_id
left join (select distinct run_id from walked) as walked_runs on planned.run_id = walked_runs.run_id

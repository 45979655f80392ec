"""What the warehouse holds of earlier runs, as frames that predictors learn from and are judged on.

Every frame is ordered, so that the same generation gives the same frames. A run is known from `known_at` on: the last
instant anything of it was recorded. Whoever predicts a run may use those known by its submission, and no other.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from warehouse.connection import Reader
from warehouse.figures import rounded


@dataclass(frozen=True, slots=True)
class History:
    """Runs with a submission time, in its order, and what belongs to them.

    `runs`: run_id, engine, environment, workflow, structure_hash, planner, sla, sla_percentile, submitted_at, known_at,
    sink_task_id, is_planned, is_complete, makespan_ms and the sums startup_ms, execution_ms, download_ms, upload_ms, store (the dump or server: its runs are the engine's history),
    is_older_engine (the version with task duplication, which measures byte-seconds of memory).
    `tasks`, one row per task of a run's DAG, of the last attempt: run_id, task_id, function, kind, worker_id, memory_mb,
    planned_worker_id, planned_memory_mb, literal_bytes, stored_inputs and stored_bytes (inputs that no task made: the client
    stored them), planned_literal_bytes (NULL without a plan: those of the plan's input_bytes that neither a task nor the client
    stored), preloads (a pre-load was assigned), inputs_bytes, output_bytes, downloaded_bytes, started_at,
    execution_ms, download_ms, upload_ms, input_wait_ms, invocation_ms, left_metrics.
    `edges`: run_id, upstream_task_id, task_id.
    `inputs`, one row per input: run_id, task_id, object_id, upstream_task_id, input_bytes, download_ms.
    `starts`, one row per invocation: invocation_id, run_id, worker_id, function, memory_mb, task_id (the first of its initial
    tasks), initial_tasks, requested_at, startup_ms, state.
    """

    runs: pd.DataFrame
    tasks: pd.DataFrame
    edges: pd.DataFrame
    inputs: pd.DataFrame
    starts: pd.DataFrame

    def only(self, runs: Collection[str]) -> History:
        """Return the part of those runs."""
        frames = (self.runs, self.tasks, self.edges, self.inputs, self.starts)
        return History(*(frame[frame["run_id"].isin(runs)].reset_index(drop=True) for frame in frames))


def read_history(reader: Reader) -> History:
    """Read everything predictors may use from one generation."""
    return History(*(rounded(reader.frame(sql)) for sql in (_RUNS, _TASKS, _EDGES, _INPUTS, _STARTS)))


_RUNS = """
with ends as (
    select run_id, max(ended_at) as ended_at
    from (
        select run_id, max(released_at) as ended_at from task_times group by run_id
        union all
        select run_id, max(coalesce(greatest(ready_at, finished_at), ready_at, requested_at)) from invocations group by run_id
    ) as last_of_each
    group by run_id
)
select
    run_summary.run_id, run_summary.engine, run_summary.environment, run_summary.workflow, run_summary.structure_hash,
    run_summary.planner, run_summary.sla, run_summary.sla_percentile, run_summary.submitted_at,
    greatest(ends.ended_at, runs.finished_at, run_summary.submitted_at + to_microseconds(1)) as known_at, runs.sink_task_id,
    plans.run_id is not null as is_planned, run_summary.is_complete, run_summary.makespan_ms, run_summary.startup_ms,
    run_summary.execution_ms, run_summary.download_ms, run_summary.upload_ms,
    case when files.key = runs.run_id then files.source else runs.file_id end as store,
    coalesce(
        bool_or(json_extract_string(runs.extra, '$.gb_seconds_from') = 'memory_bytes')
        over (partition by case when files.key = runs.run_id then files.source else runs.file_id end),
        false
    ) as is_older_engine
from run_summary
inner join runs on run_summary.run_id = runs.run_id
left join ends on run_summary.run_id = ends.run_id
left join (select distinct run_id from planned_tasks) as plans on run_summary.run_id = plans.run_id
left join files on runs.file_id = files.file_id
where run_summary.submitted_at is not null
order by run_summary.submitted_at, run_summary.run_id
"""

_TASKS = """
with known as (
    select run_id, task_id from tasks
    union
    select run_id, task_id from edges
    union
    select run_id, upstream_task_id from edges
    union
    select run_id, task_id from planned_tasks
),
done as (
    select * from task_times where is_last_attempt
),
stored as (
    select run_id, task_id, count(*) as stored_inputs, sum(input_bytes) as stored_bytes
    from task_inputs where upstream_task_id is null
    group by run_id, task_id
),
planned_sources as (
    select edges.run_id, edges.task_id, sum(planned_tasks.output_bytes) as output_bytes
    from edges
    inner join planned_tasks on edges.run_id = planned_tasks.run_id and edges.upstream_task_id = planned_tasks.task_id
    group by edges.run_id, edges.task_id
),
preloads as (
    select distinct run_id, task_id from optimizations where optimization = 'preload' and stage = 'assigned'
)
select
    known.run_id, known.task_id, done.function, done.kind, done.worker_id, done.memory_mb,
    planned_tasks.worker_id as planned_worker_id, planned_tasks.memory_mb as planned_memory_mb,
    done.literal_bytes, stored.stored_inputs, stored.stored_bytes,
    planned_tasks.input_bytes - coalesce(planned_sources.output_bytes, 0) - coalesce(stored.stored_bytes, 0)
        as planned_literal_bytes,
    preloads.run_id is not null as preloads, done.inputs_bytes, done.output_bytes, done.downloaded_bytes, done.started_at,
    done.execution_ms, done.download_ms, done.upload_ms, done.input_wait_ms, done.invocation_ms, done.status,
    done.run_id is not null as left_metrics
from known
inner join run_summary on known.run_id = run_summary.run_id
left join done on known.run_id = done.run_id and known.task_id = done.task_id
left join planned_tasks on known.run_id = planned_tasks.run_id and known.task_id = planned_tasks.task_id
left join stored on known.run_id = stored.run_id and known.task_id = stored.task_id
left join planned_sources on known.run_id = planned_sources.run_id and known.task_id = planned_sources.task_id
left join preloads on known.run_id = preloads.run_id and known.task_id = preloads.task_id
where run_summary.submitted_at is not null
order by run_summary.submitted_at, known.run_id, known.task_id
"""

_EDGES = """
select edges.run_id, edges.upstream_task_id, edges.task_id
from edges inner join run_summary on edges.run_id = run_summary.run_id
where run_summary.submitted_at is not null
order by run_summary.submitted_at, edges.run_id, edges.upstream_task_id, edges.task_id
"""

_INPUTS = """
select
    task_inputs.run_id, task_inputs.task_id, object_id, upstream_task_id, task_inputs.input_bytes, task_inputs.download_ms
from task_inputs inner join run_summary on task_inputs.run_id = run_summary.run_id
where run_summary.submitted_at is not null
order by run_summary.submitted_at, task_inputs.run_id, task_inputs.task_id, object_id
"""

_STARTS = """
select
    cold_starts.invocation_id, cold_starts.run_id, cold_starts.worker_id, cold_starts.function, cold_starts.memory_mb,
    invocations.initial_task_ids[1] as task_id, coalesce(len(invocations.initial_task_ids), 0) as initial_tasks,
    cold_starts.requested_at, cold_starts.startup_ms, cold_starts.state
from cold_starts
inner join invocations on cold_starts.invocation_id = invocations.invocation_id
inner join run_summary on cold_starts.run_id = run_summary.run_id
where run_summary.submitted_at is not null
order by run_summary.submitted_at, cold_starts.run_id, cold_starts.requested_at, cold_starts.invocation_id
"""

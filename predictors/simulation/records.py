"""Runs as they were recorded and planned, one object each, in the order of submission."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import pandas as pd

from predictors.dags import is_acyclic
from warehouse.connection import Reader

EXIT_MS = 400.0
"""From a worker's last task to its container being free (docs/cold-starts.md)."""
POOL_MS = 30_000.0
"""Containers that have been free for longer are not looked for."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A worker as it was launched: times in ms since the submission, NaN where not recorded."""

    requested: float
    ready: float
    released: float
    state: str
    initial_tasks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Prewarming:
    """A pre-warm: the task whose worker triggers it, the memory of the container, and when (ms after that worker is ready)."""

    task: int
    memory_mb: float
    delay_ms: float


@dataclass(frozen=True, slots=True)
class Record:
    """A run: its DAG (tasks by position), its plan, and what was recorded of it.

    Times are ms since `submitted_at`, NaN where not recorded. `planned_worker` and `worker` are None where there was none or a
    flexible one; `is_flexible`: no task was planned on a worker. `upstream_ms` and `upstream_bytes` are of each task's downloads,
    as `upstream`; `stored_ms` the longest download of an input that no task made. `is_awaited`: another task needs it. `prewarmings` were done, `planned_prewarmings` assigned. `pool`: containers that were free at the
    submission, as (memory in MB, free since). `is_complete`: every task left metrics with a start and an execution.
    """

    run_id: str
    engine: str | None
    environment: str | None
    workflow: str | None
    structure_hash: str | None
    planner: str | None
    sla: str | None
    submitted_at: pd.Timestamp
    makespan_ms: float
    is_complete: bool
    sink: int
    task_ids: tuple[str, ...]
    functions: tuple[str, ...]
    upstream: tuple[tuple[int, ...], ...]
    planned_worker: tuple[str | None, ...]
    planned_memory_mb: tuple[float, ...]
    planned_start: tuple[float, ...]
    planned_finish: tuple[float, ...]
    planned_state: tuple[str | None, ...]
    worker: tuple[str | None, ...]
    memory_mb: tuple[float, ...]
    start: tuple[float, ...]
    wait: tuple[float, ...]
    execution: tuple[float, ...]
    upload: tuple[float, ...]
    counters: tuple[float, ...]
    invocation: tuple[float, ...]
    inputs_bytes: tuple[float, ...]
    output_bytes: tuple[float, ...]
    upstream_ms: tuple[tuple[float, ...], ...]
    upstream_bytes: tuple[tuple[float, ...], ...]
    stored_ms: tuple[float, ...]
    preloads: tuple[bool, ...]
    duplicable: tuple[bool, ...]
    prewarmings: tuple[Prewarming, ...]
    planned_prewarmings: tuple[Prewarming, ...]
    is_awaited: tuple[bool, ...]
    launches: dict[str, Launch]
    pool: tuple[tuple[float, float], ...]

    @property
    def is_flexible(self) -> bool:
        """Whether workers were chosen while the run went on."""
        return not any(self.planned_worker)


def read_records(reader: Reader, runs: Collection[str] | None = None, *, pool_ms: float = POOL_MS) -> list[Record]:
    """Return the runs that have a submission time and a DAG with a sink: those named, or all.

    `pool_ms`: how long before a submission a container may have become free to be in its pool.
    """
    parameters = {"all": runs is None, "runs": list(runs or ())}
    tasks, edges, launches, prewarms, assigned = (
        _by_run(reader.rows(sql, parameters)) for sql in (_TASKS, _INPUTS, _LAUNCHES, _PREWARMS, _ASSIGNED_PREWARMS)
    )
    pools = _by_run(reader.rows(_POOL, {**parameters, "pool_ms": pool_ms, "exit_ms": EXIT_MS}))
    records = []
    for row in reader.rows(_RUNS, parameters):
        run = row[0]
        if run in tasks and (
            record := _record(row, *(each.get(run, []) for each in (tasks, edges, launches, prewarms, assigned, pools)))
        ):
            records.append(record)
    return records


def why_not_read(run_id: str) -> str:
    """Say why a run of the warehouse is not among those that are read."""
    return f"Run {run_id} has no submission time, no sink, or a DAG that bites its own tail."


def _by_run(rows: list[tuple[Any, ...]]) -> dict[str, list[tuple[Any, ...]]]:
    """Return rows, which are in order of their first column, the run, by that."""
    return {run: [row[1:] for row in of_run] for run, of_run in groupby(rows, itemgetter(0))}


Rows = list[tuple[Any, ...]]


def _record(
    row: tuple[Any, ...], tasks: Rows, inputs: Rows, launches: Rows, prewarms: Rows, assigned: Rows, pool: Rows
) -> Record | None:
    """Return the run, or None where its DAG has no such sink or bites its own tail."""
    (run_id, engine, environment, workflow, structure, planner, sla, submitted_at, makespan_ms, is_complete, sink) = row
    columns = list(zip(*tasks, strict=True))
    place = {task: position for position, task in enumerate(columns[0])}
    upstream: list[list[int]] = [[] for _ in place]
    took: list[list[float]] = [[] for _ in place]
    size: list[list[float]] = [[] for _ in place]
    stored = [0.0] * len(place)
    for task, up, ms, bytes_, is_edge in inputs:
        position = place[task]
        if is_edge:
            upstream[position].append(place[up])
            took[position].append(_number(ms))
            size[position].append(_number(bytes_))
        elif ms is not None:
            stored[position] = max(stored[position], ms)
    if sink not in place or not is_acyclic(upstream):
        return None
    numbers = [tuple(_number(value) for value in column) for column in columns[2:]]
    worker, planned_worker, planned_state = columns[2], columns[3], columns[4]
    (memory, planned_memory, planned_start, planned_finish, start, wait, execution, upload, counters, invocation, inputs_bytes,
     output_bytes) = numbers[3:15]  # fmt: skip
    needed = {up for ups in upstream for up in ups}
    found = {
        worker_id: Launch(
            _number(requested), _number(ready), _number(released), state,
            tuple(place[task] for task in initial or () if task in place),
        )
        for worker_id, requested, ready, released, state, initial in launches
    }  # fmt: skip
    whole = all(math.isfinite(a) and math.isfinite(b) for a, b in zip(start, execution, strict=True))
    return Record(
        run_id, engine, environment, workflow, structure, planner, sla, pd.Timestamp(submitted_at), _number(makespan_ms),
        bool(is_complete) and whole and all(each in found for each in worker), place[sink],
        columns[0], columns[1], tuple(map(tuple, upstream)), planned_worker, planned_memory, planned_start, planned_finish,
        planned_state, worker, memory, start, wait, execution, upload, counters, invocation, inputs_bytes, output_bytes,
        tuple(map(tuple, took)), tuple(map(tuple, size)), tuple(stored), columns[17], columns[18],
        tuple(Prewarming(place[task], float(memory), float(delay)) for task, memory, delay in prewarms if task in place),
        tuple(
            Prewarming(place[task], float(memory), float(delay))
            for task, memory, delay in assigned
            if task in place and memory is not None and delay is not None
        ),
        tuple(task in needed for task in range(len(place))),
        found, tuple((float(memory), float(since)) for memory, since in pool),
    )  # fmt: skip


def _number(value: Any) -> float:
    return math.nan if value is None or isinstance(value, str | bool) else float(value)


def iterate_workers(record: Record) -> Iterator[tuple[str, list[int]]]:
    """Yield the workers that were launched, each with its tasks in the order they started."""
    tasks: dict[str, list[int]] = {}
    for task in sorted(range(len(record.task_ids)), key=lambda task: record.start[task]):
        worker = record.worker[task]
        if worker is not None:
            tasks.setdefault(worker, []).append(task)
    yield from tasks.items()


_RUNS = """
select
    run_summary.run_id, engine, environment, workflow, structure_hash, planner, sla, submitted_at, makespan_ms, is_complete,
    runs.sink_task_id
from run_summary inner join (select run_id, sink_task_id from runs) as runs on run_summary.run_id = runs.run_id
where submitted_at is not null and ($all or list_contains($runs, run_summary.run_id))
order by submitted_at, run_summary.run_id
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
    select
        task_times.*,
        date_diff('microsecond', runs.submitted_at, started_at)::double / 1000 as start_ms
    from task_times inner join runs on task_times.run_id = runs.run_id
    where is_last_attempt
),
assigned as (
    select run_id, task_id, bool_or(optimization = 'preload') as preloads, bool_or(optimization = 'taskdup') as is_duplicable
    from optimizations where stage = 'assigned' group by run_id, task_id
)
select
    known.run_id, known.task_id, coalesce(done.function, split_part(known.task_id, '+', 1)) as function, done.worker_id,
    plan.worker_id, plan.startup_state, coalesce(done.memory_mb, workers.memory_mb) as memory_mb, plan.memory_mb, plan.start_offset_ms, plan.completion_offset_ms,
    done.start_ms, done.input_wait_ms, done.execution_ms, done.upload_ms, done.counters_ms, done.invocation_ms,
    done.inputs_bytes, done.output_bytes, coalesce(assigned.preloads, false), coalesce(assigned.is_duplicable, false)
from known
left join done on known.run_id = done.run_id and known.task_id = done.task_id
left join (select run_id, worker_id, max(memory_mb) as memory_mb from invocations group by run_id, worker_id) as workers
    on done.run_id = workers.run_id and done.worker_id = workers.worker_id
left join planned_tasks as plan on known.run_id = plan.run_id and known.task_id = plan.task_id
left join assigned on known.run_id = assigned.run_id and known.task_id = assigned.task_id
where $all or list_contains($runs, known.run_id)
order by known.run_id, known.task_id
"""

_INPUTS = """
with taken as (
    select run_id, task_id, upstream_task_id, max(download_ms) as download_ms, sum(input_bytes) as input_bytes
    from task_inputs
    group by run_id, task_id, upstream_task_id
)
select edges.run_id, edges.task_id, edges.upstream_task_id, taken.download_ms, taken.input_bytes, true as is_edge
from edges
left join taken
    on edges.run_id = taken.run_id and edges.task_id = taken.task_id and edges.upstream_task_id = taken.upstream_task_id
where ($all or list_contains($runs, edges.run_id)) and edges.task_id <> edges.upstream_task_id
union all
select run_id, task_id, null, download_ms, input_bytes, false
from taken
where upstream_task_id is null and ($all or list_contains($runs, run_id))
    and exists (select 1 from tasks where tasks.run_id = taken.run_id and tasks.task_id = taken.task_id)
order by 1, 2, 3
"""

_LAUNCHES = """
select
    worker_times.run_id, worker_times.worker_id,
    date_diff('microsecond', runs.submitted_at, worker_times.requested_at)::double / 1000,
    date_diff('microsecond', runs.submitted_at, worker_times.ready_at)::double / 1000,
    date_diff('microsecond', runs.submitted_at, worker_times.released_at)::double / 1000,
    cold_starts.state, invocations.initial_task_ids
from worker_times
inner join runs on worker_times.run_id = runs.run_id
inner join cold_starts on worker_times.invocation_id = cold_starts.invocation_id
inner join invocations on worker_times.invocation_id = invocations.invocation_id
where worker_times.worker_id is not null and ($all or list_contains($runs, worker_times.run_id))
qualify row_number() over (
    partition by worker_times.run_id, worker_times.worker_id
    order by worker_times.ready_at is null, worker_times.requested_at nulls last, worker_times.invocation_id
) = 1
order by worker_times.run_id, worker_times.requested_at desc, worker_times.invocation_id
"""

_PREWARMS = """
with triggered as (
    select distinct
        optimizations.run_id, optimizations.task_id, optimizations.target_worker_id,
        coalesce(
            target.memory_mb, try_cast(json_extract_string(optimizations.extra, '$.target_memory_mb') as double)
        ) as target_mb,
        date_diff('microsecond', trigger.ready_at, optimizations.happened_at)::double / 1000 as delay_ms
    from optimizations
    inner join (select run_id, task_id, worker_id from task_times where is_last_attempt) as done
        on optimizations.run_id = done.run_id and optimizations.task_id = done.task_id
    inner join worker_times as trigger on done.run_id = trigger.run_id and done.worker_id = trigger.worker_id
    left join worker_times as target
        on optimizations.run_id = target.run_id and optimizations.target_worker_id = target.worker_id
    where optimizations.optimization = 'prewarm' and optimizations.stage = 'applied'
        and ($all or list_contains($runs, optimizations.run_id))
)
select run_id, task_id, coalesce(target_mb, 0), delay_ms
from triggered
where delay_ms >= 0
order by run_id, delay_ms, task_id, target_worker_id
"""

_ASSIGNED_PREWARMS = """
with targets as (
    select run_id, task_id, target_worker_id, null::double as memory_mb, delay_ms
    from optimizations
    where optimization = 'prewarm' and stage = 'assigned' and target_worker_id is not null
        and ($all or list_contains($runs, run_id))
    union all
    select run_id, task_id, target.worker_id, target.memory_mb, target.delay_ms
    from (
        select run_id, task_id, unnest(try_cast(json_extract(extra, '$.targets') as struct(worker_id varchar, memory_mb double, delay_ms double)[])) as target
        from optimizations
        where optimization = 'prewarm' and stage = 'assigned' and ($all or list_contains($runs, run_id))
    ) as listed
),
planned as (
    select run_id, worker_id, max(memory_mb) as memory_mb from planned_tasks group by run_id, worker_id
)
select targets.run_id, targets.task_id, coalesce(targets.memory_mb, planned.memory_mb), targets.delay_ms
from targets
left join planned on targets.run_id = planned.run_id and targets.target_worker_id = planned.worker_id
order by targets.run_id, targets.delay_ms, targets.task_id, targets.target_worker_id
"""

_POOL = """
with periods as (
    select
        periods.run_id, periods.invocation_id, periods.reused_invocation_id, periods.environment, periods.memory_mb,
        periods.requested_at,
        case when worker_times.is_end_recorded then periods.released_at
            else periods.released_at + to_microseconds(try_cast(round(1000 * $exit_ms) as bigint)) end as free_at
    from worker_active_periods as periods
    inner join worker_times on periods.invocation_id = worker_times.invocation_id
    where periods.released_at is not null
),
reused as (
    select reused_invocation_id as invocation_id, min(requested_at) as taken_at
    from periods where reused_invocation_id is not null group by reused_invocation_id
)
select
    run_summary.run_id, coalesce(periods.memory_mb, 0),
    date_diff('microsecond', run_summary.submitted_at, periods.free_at)::double / 1000 as since_ms
from run_summary
inner join periods
    on run_summary.environment is not distinct from periods.environment and run_summary.run_id <> periods.run_id
    and periods.free_at <= run_summary.submitted_at
    and periods.free_at >= run_summary.submitted_at - to_microseconds(try_cast(round(1000 * $pool_ms) as bigint))
left join reused on periods.invocation_id = reused.invocation_id
where (reused.taken_at is null or reused.taken_at >= run_summary.submitted_at)
    and ($all or list_contains($runs, run_summary.run_id))
order by run_summary.run_id, since_ms, periods.memory_mb
"""

"""A recorded run as something to play: its shape as planned or as it ran, and its durations as recorded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from predictors.simulation.behaviour import (
    CONTENTIONS,
    NEVER_MS,
    Behaviour,
    execution_works,
    known,
    size_class,
    text,
    works_of,
)
from predictors.simulation.play import ANY, UNKNOWN_MB, Durations, Prewarm, Shape
from predictors.simulation.records import Record


def shape_as_run(record: Record) -> tuple[Shape, tuple[str, ...]]:
    """Return the shape of a complete run on the workers that ran it, and their ids."""
    return _shape(record, record.worker, record.memory_mb)


def shape_as_planned(record: Record) -> tuple[Shape, tuple[str, ...]]:
    """Return the shape of a run on the workers its planner chose, and their ids; pre-warms as they came.

    Without a plan each task may run on any worker, of the memory that the run is recorded with most.
    """
    memory = record.planned_memory_mb
    if record.is_flexible:
        sizes = [mb for mb in record.memory_mb if math.isfinite(mb)]
        memory = (max(sorted(set(sizes)), key=sizes.count) if sizes else math.nan,) * len(record.task_ids)
    return _shape(record, record.planned_worker, memory)


def shape_ahead(record: Record, behaviour: Behaviour) -> tuple[Shape, tuple[str, ...]]:
    """Return the shape of a run before it happened; pre-warms that were assigned come as late after that as they usually do."""
    late = behaviour.gap("prewarm", record)
    assigned = tuple(
        replace(one, delay_ms=one.delay_ms + late) for one in record.planned_prewarmings if late < NEVER_MS
    )
    return shape_as_planned(replace(record, prewarmings=assigned))


def _shape(record: Record, workers: Sequence[str | None], memory_mb: Sequence[float]) -> tuple[Shape, tuple[str, ...]]:
    ids = tuple(dict.fromkeys(worker for worker in workers if worker is not None))
    place = {worker: position for position, worker in enumerate(ids)}
    worker = tuple(ANY if each is None else place[each] for each in workers)
    sizes = [mb if math.isfinite(mb) else UNKNOWN_MB for mb in memory_mb]
    memory = dict(zip(worker, sizes, strict=True))
    is_open = ANY in memory
    prewarms = tuple(
        Prewarm(worker[one.task], one.memory_mb, one.delay_ms) for one in record.prewarmings if worker[one.task] != ANY
    )
    shape = Shape(
        record.upstream, worker, tuple(memory[position] for position in range(len(ids))) + (tuple(sizes) if is_open else ()),
        record.sink, record.preloads, record.duplicable, prewarms, record.pool,
    )  # fmt: skip
    return shape, ids + (record.task_ids if is_open else ())


class Recording:
    """The durations of a complete run: those recorded, else usual ones.

    Executions and start-ups are the work that, beside each other as recorded, took what is recorded.
    """

    def __init__(self, record: Record, behaviour: Behaviour) -> None:
        self._record, self._behaviour = record, behaviour
        column = CONTENTIONS.index(behaviour.contention_of_starts(record))
        launches = {worker: one for worker, one in record.launches.items() if one.ready > one.requested}
        works = works_of([(one.requested, one.ready) for one in launches.values()])
        self._start = {
            (worker, launches[worker].state): work[column] for worker, work in zip(launches, works, strict=True)
        }
        self._execution = [0.0] * len(record.task_ids)
        column = CONTENTIONS.index(behaviour.execution_contention)
        for on_worker, works in execution_works(record):
            for task, work in zip(on_worker, works, strict=True):
                self._execution[task] = work[column]
        self._download = [
            [
                ms if math.isfinite(ms) else usual_download(behaviour, record, size)
                for ms, size in zip(took, sizes, strict=True)
            ]
            for took, sizes in zip(record.upstream_ms, record.upstream_bytes, strict=True)
        ]

    def durations(self, shape: Shape, ids: tuple[str, ...], level: Sequence[float] | None = None) -> Durations:
        """Return the durations on the workers of a shape; `level`: of each worker, which quantile of the usual start-ups it takes
        in the state it was not recorded in, the median if not given.
        """
        record = self._record
        levels = [0.5] * len(ids) if level is None else level
        return Durations(
            execution=list(self._execution),
            upload=[known(ms) for ms in record.upload],
            counters=[known(ms) for ms in record.counters],
            invocation=[known(ms) for ms in record.invocation],
            download=self._download,
            stored=list(record.stored_ms),
            overhead=[_overhead(record, task) for task in range(len(record.task_ids))],
            cold=self._starts("cold", shape, ids, levels),
            warm=self._starts("warm", shape, ids, levels),
            **self._behaviour.between(record),
        )

    def _starts(self, state: str, shape: Shape, ids: tuple[str, ...], level: Sequence[float]) -> list[float]:
        """Return what each worker's start takes in a state: as recorded in that state, else a usual one of that level."""
        return [
            self._start[worker, state]
            if (worker, state) in self._start
            else self._behaviour.startup(level[place], state, self._record, shape.memory_mb[place])
            for place, worker in enumerate(ids)
        ]


def with_uploads(takes: Durations, record: Record, shape: Shape, behaviour: Behaviour) -> Durations:
    """Return durations in which each task uploads its output if a worker other than its own needs it, or nobody else does.

    What is recorded stays; uploads that were not needed take what they usually take for the size. Flexible tasks are left as recorded.
    """
    upload = list(takes.upload)
    for task, worker in enumerate(shape.worker):
        downs = shape.downstream[task]
        if worker == ANY or any(shape.worker[down] == ANY for down in downs):
            continue
        if downs and all(shape.worker[down] == worker for down in downs):
            upload[task] = 0.0
        elif not math.isfinite(record.upload[task]):
            upload[task] = behaviour.uploads.at(0.5, size_class(record.output_bytes[task]), text(record.environment))
    return replace(takes, upload=upload)


def usual_download(behaviour: Behaviour, record: Record, size: float, level: float = 0.5) -> float:
    """Return what a download of that size (bytes) usually takes (ms)."""
    return behaviour.downloads.at(level, size_class(size), text(record.environment))


def _overhead(record: Record, task: int) -> float:
    """Return what a task waited for its inputs beyond its downloads (ms); none where pre-loads hide it."""
    if not math.isfinite(record.wait[task]) or record.preloads[task]:
        return 0.0
    took = max([record.stored_ms[task], *(ms for ms in record.upstream_ms[task] if math.isfinite(ms))])
    return max(0.0, record.wait[task] - took)

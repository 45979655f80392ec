"""Runs as the engine's planner sees them: the DAG where it was planned, and the samples each run left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictors.dags import levels
from predictors.engine_samples import Floats
from predictors.history import History

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its DAG where it was planned (else where it ran), and the samples it left.

    Arrays have one element per task, in the order of `task_ids`. `upstream` holds positions; `literal_bytes` what comes with
    the submission, -1 where unknown; `listed_bytes` the same as recorded, lists of references included; `stored` the
    sizes of inputs that the client stored. `measured` marks tasks that left metrics and did not fail. Times are ms.
    """

    run_id: str
    store: str
    structure_hash: str
    planner: str
    is_older_engine: bool
    is_complete: bool
    submitted_at: np.datetime64
    known_at: np.datetime64
    task_ids: tuple[str, ...]
    functions: tuple[str, ...]
    workers: tuple[str, ...]
    memory_mb: Ints
    literal_bytes: Floats
    listed_bytes: Floats
    stored: tuple[tuple[float, ...], ...]
    upstream: tuple[tuple[int, ...], ...]
    level: tuple[int, ...]
    order: tuple[int, ...]
    is_sink: npt.NDArray[np.bool_]
    preloads: npt.NDArray[np.bool_]
    measured: npt.NDArray[np.bool_]
    measured_memory_mb: Ints
    inputs_bytes: Floats
    output_bytes: Floats
    execution_ms: Floats
    upload_ms: Floats
    downloads: tuple[Floats, Floats, Ints]
    """Bytes, ms (NaN: no time) and memory of the inputs of its tasks."""
    starts: tuple[tuple[str, ...], Floats, Ints]
    """State, ms and memory of its workers' starts."""

    def remote_upstream(self, task: int) -> list[int]:
        """Return the upstream tasks on other workers."""
        return [up for up in self.upstream[task] if self.workers[up] != self.workers[task]]

    def needs_start(self) -> list[bool]:
        """Tell which tasks have their worker started for them: those with no upstream task on it."""
        return [
            not any(self.workers[up] == worker for up in ups)
            for ups, worker in zip(self.upstream, self.workers, strict=True)
        ]

    def uploads(self) -> npt.NDArray[np.bool_]:
        """Tell which outputs are uploaded: those needed on another worker, and the sink's."""
        needed = self.is_sink.copy()
        for task in range(len(self.task_ids)):
            needed[self.remote_upstream(task)] = True
        return needed


def runs_of(history: History) -> list[Run]:
    """Return the history's runs, in the order of their submission. A worker that nobody knows is one of its own."""
    tasks, edges = _by_run(history.tasks), _by_run(history.edges)
    inputs, starts = _by_run(history.inputs), _by_run(history.starts)
    return [
        _run(row, tasks[row["run_id"]], edges.get(row["run_id"]), inputs.get(row["run_id"]), starts.get(row["run_id"]))
        for row in history.runs.to_dict("records")
        if row["run_id"] in tasks
    ]


def _by_run(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {str(run): rows for run, rows in frame.groupby("run_id", sort=False)}


def _run(
    row: dict[Any, Any],
    tasks: pd.DataFrame,
    edges: pd.DataFrame | None,
    inputs: pd.DataFrame | None,
    starts: pd.DataFrame | None,
) -> Run:
    task_ids = tuple(tasks["task_id"])
    position = {task: number for number, task in enumerate(task_ids)}
    upstream: list[list[int]] = [[] for _ in task_ids]
    if edges is not None:
        for up, task in zip(edges["upstream_task_id"], edges["task_id"], strict=True):
            upstream[position[task]].append(position[up])
    level = tuple(levels(upstream))
    stored: list[list[float]] = [[] for _ in task_ids]
    memory = _whole(tasks["memory_mb"])
    planned_memory = _whole(tasks["planned_memory_mb"])
    downloads: tuple[Floats, Floats, Ints] = (np.empty(0), np.empty(0), np.empty(0, dtype=np.int64))
    if inputs is not None:
        of_task = np.array([position[task] for task in inputs["task_id"]], dtype=np.int64)
        sizes = _numbers(inputs["input_bytes"])
        for task, size in zip(of_task[inputs["upstream_task_id"].isna().to_numpy()],
                              sizes[inputs["upstream_task_id"].isna().to_numpy()], strict=True):  # fmt: skip
            stored[task].append(float(size) if size > 0 else 0.0)
        downloads = (sizes, _numbers(inputs["download_ms"]), memory[of_task])
    workers = tasks["planned_worker_id"].where(tasks["planned_worker_id"].notna(), tasks["worker_id"])
    planned_literals, recorded_literals = _numbers(tasks["planned_literal_bytes"]), _numbers(tasks["literal_bytes"])
    return Run(
        run_id=row["run_id"],
        store=_text(row["store"]),
        structure_hash=_text(row["structure_hash"]) or _text(row["workflow"]),
        planner=_text(row["planner"]),
        is_older_engine=bool(row["is_older_engine"]),
        is_complete=bool(row["is_complete"]),
        submitted_at=row["submitted_at"].to_datetime64(),
        known_at=row["known_at"].to_datetime64(),
        task_ids=task_ids,
        functions=tuple(
            _text(function) or task.partition("+")[0]
            for function, task in zip(tasks["function"], task_ids, strict=True)
        ),
        workers=tuple(_text(worker) or f"of {task}" for worker, task in zip(workers, task_ids, strict=True)),
        memory_mb=np.where(planned_memory > 0, planned_memory, memory),
        literal_bytes=planned_literals,
        listed_bytes=recorded_literals,
        stored=tuple(map(tuple, stored)),
        upstream=tuple(map(tuple, upstream)),
        level=level,
        order=tuple(sorted(range(len(task_ids)), key=level.__getitem__)),
        is_sink=np.array([task == row["sink_task_id"] for task in task_ids]),
        preloads=tasks["preloads"].to_numpy(dtype=bool),
        measured=tasks["left_metrics"].to_numpy(dtype=bool) & ~tasks["status"].isin(["failed", "killed"]).to_numpy(),
        measured_memory_mb=memory,
        inputs_bytes=_numbers(tasks["inputs_bytes"]),
        output_bytes=_numbers(tasks["output_bytes"]),
        execution_ms=_numbers(tasks["execution_ms"]),
        upload_ms=_numbers(tasks["upload_ms"]),
        downloads=downloads,
        starts=_starts(starts),
    )


def _starts(starts: pd.DataFrame | None) -> tuple[tuple[str, ...], Floats, Ints]:
    if starts is None:
        return (), np.empty(0), np.empty(0, dtype=np.int64)
    return tuple(starts["state"]), _numbers(starts["startup_ms"]), _whole(starts["memory_mb"])


def _numbers(column: pd.Series[Any]) -> Floats:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _whole(column: pd.Series[Any]) -> Ints:
    return np.nan_to_num(_numbers(column)).astype(np.int64)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def in_turn(runs: list[Run]) -> Iterator[tuple[Run, list[Run]]]:
    """Yield each run in the order of submission, with the runs that became known since the run before."""
    ahead = sorted(runs, key=lambda run: (run.known_at, run.run_id))
    first = 0
    for run in sorted(runs, key=lambda run: (run.submitted_at, run.run_id)):
        last = first
        while last < len(ahead) and ahead[last].known_at <= run.submitted_at:
            last += 1
        yield run, ahead[first:last]
        first = last

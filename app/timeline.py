"""Lay a run's workers out on a time axis: one lane per worker, more where it ran several tasks at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan

import pandas as pd

PHASES = ("start-up", "input wait", "execution", "upload", "hand-over", "alive, no task")
"""What a bar can be. Hand-over: updating dependency counters and launching the workers of downstream tasks."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Bars to draw (lane, phase, start_s, end_s, worker, task), the lanes from top to bottom, and what was left out."""

    bars: pd.DataFrame
    lanes: tuple[str, ...]
    workers: int
    workers_left_out: int


@dataclass(slots=True)
class _Worker:
    number: int
    first_ms: float
    ready_ms: float | None
    tasks: list[tuple[float, float, dict[str, object]]]


def timeline(workers: pd.DataFrame, tasks: pd.DataFrame, most_lanes: int = 120) -> Timeline:
    """Return the bars of one run.

    `workers`: worker_id, requested_ms, ready_ms; `tasks`: worker_id, task, start_ms and the five phases; all offsets in
    milliseconds from one zero. Lanes are in the order workers were requested; beyond `most_lanes` workers are left out.
    """
    found = _gather(workers, tasks)
    bars: list[dict[str, object]] = []
    lanes: list[str] = []
    drawn = 0
    for number, (worker_id, worker) in enumerate(sorted(found.items(), key=lambda item: item[1].first_ms), start=1):
        worker.number = number
        own_lanes, own_bars = _draw(worker_id, worker)
        if lanes and len(lanes) + len(own_lanes) > most_lanes:
            break
        lanes += own_lanes
        bars += own_bars
        drawn += 1
    columns = ["lane", "phase", "start_s", "end_s", "worker", "task", "lasted"]
    return Timeline(pd.DataFrame(bars, columns=columns), tuple(lanes), len(found), len(found) - drawn)


def _gather(workers: pd.DataFrame, tasks: pd.DataFrame) -> dict[str, _Worker]:
    found: dict[str, _Worker] = {}
    for place, row in enumerate(workers.to_dict("records")):
        requested, ready = _known(row["requested_ms"]), _known(row["ready_ms"])
        name = row["worker_id"] if isinstance(row["worker_id"], str) else f"(unlinked {place + 1})"
        if name not in found:
            found[name] = _Worker(0, requested if requested is not None else ready or 0.0, ready, [])
    for row in tasks.to_dict("records"):
        start = _known(row["start_ms"])
        if start is None:
            continue
        name = row["worker_id"] if isinstance(row["worker_id"], str) else "(none)"
        worker = found.setdefault(name, _Worker(0, start, None, []))
        worker.tasks.append((start, start + sum(_phases(row).values()), {str(key): row[key] for key in row}))
    return found


def _draw(worker_id: str, worker: _Worker) -> tuple[list[str], list[dict[str, object]]]:
    name = f"w{worker.number}"
    ends: list[float] = []
    bars: list[dict[str, object]] = []

    def bar(lane: str, phase: str, start: float, end: float, task: object = "") -> None:
        bars.append(
            {
                "lane": lane,
                "phase": phase,
                "start_s": start / 1000,
                "end_s": end / 1000,
                "worker": worker_id,
                "task": task,
                "lasted": end - start,
            }
        )

    if worker.ready_ms is not None and worker.ready_ms > worker.first_ms:
        bar(name, "start-up", worker.first_ms, worker.ready_ms)
    if worker.tasks:
        alive = worker.ready_ms if worker.ready_ms is not None else min(start for start, _, _ in worker.tasks)
        released = max(end for _, end, _ in worker.tasks)
        if released > alive:
            bar(name, "alive, no task", alive, released)
    for start, end, row in sorted(worker.tasks, key=lambda task: task[:2]):
        place = next((number for number, busy in enumerate(ends) if busy <= start + 0.001), len(ends))
        ends[place : place + 1] = [end]
        lane = name if place == 0 else f"{name} +{place}"
        for phase, lasted in _phases(row).items():
            if lasted > 0:
                bar(lane, phase, start, start + lasted, row["task"])
            start += lasted
    return [name, *(f"{name} +{place}" for place in range(1, len(ends)))], bars


def _phases(row: dict[str, object] | dict[object, object]) -> dict[str, float]:
    values: dict[str, object] = {str(key): value for key, value in row.items()}
    return {
        "input wait": _known(values["input_wait_ms"]) or 0.0,
        "execution": _known(values["execution_ms"]) or 0.0,
        "upload": _known(values["upload_ms"]) or 0.0,
        "hand-over": (_known(values["counters_ms"]) or 0.0) + (_known(values["invocation_ms"]) or 0.0),
    }


def _known(value: object) -> float | None:
    if not isinstance(value, (int, float)) or isnan(value):
        return None
    return float(value)


def never_ready(workers: pd.DataFrame) -> int:
    """Return how many workers were requested and never became ready."""
    return int(sum(_known(value) is None for value in _column(workers, "ready_ms")))


def _column(frame: pd.DataFrame, name: str) -> Iterable[object]:
    return frame[name].tolist()

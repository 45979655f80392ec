"""When the engine's planner would have tasks start and end (FIELD.md, section 3).

A plan is laid out three times over the DAG: without start-ups, then each start-up added to its own task, then later tasks
moved behind their upstream tasks. That order is the known fault: idle workers are judged by times that later move.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from predictors.dags import downstream_of
from predictors.engine_runs import Run
from predictors.engine_samples import Floats, Quirks

StartupMs = Callable[[str, int], float]
"""What a start takes (ms), given its state and the worker's memory (MB)."""


@dataclass(frozen=True, slots=True)
class Durations:
    """What each task takes (ms): execution, upload, and each of its downloads as (upstream position or -1, ms)."""

    execution: Floats
    upload: Floats
    downloads: list[list[tuple[int, float]]]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where tasks lie in time (ms since the plan's begin), and how their workers start (None: it runs already)."""

    wait: Floats
    start: Floats
    completion: Floats
    state: list[str | None]
    startup: Floats


def lay_out(run: Run, durations: Durations, startup_ms: StartupMs, quirks: Quirks) -> Layout:
    """Lay out a plan: start = latest upstream completion; then wait for inputs, execution, upload."""
    wait, start = _without_startup(run, durations)
    busy = wait + durations.execution + durations.upload
    if not quirks.activity_before_startup:
        return _in_time(run, wait, busy, startup_ms, quirks)
    state, startup = _add_startups(run, start, busy, startup_ms, quirks)
    moved = np.zeros(len(start))
    completion = np.zeros(len(start))
    for task in run.order:
        ready = _ready(run, task, completion)
        moved[task] = max(start[task] + startup[task], ready) if quirks.startups_overlap else ready + startup[task]
        completion[task] = moved[task] + busy[task]
    return Layout(wait, moved, completion, state, startup)


def _ready(run: Run, task: int, completion: Floats) -> float:
    return max((float(completion[up]) for up in run.upstream[task]), default=0.0)


def _without_startup(run: Run, durations: Durations) -> tuple[Floats, Floats]:
    """Return waits and starts. Downloads are parallel; pre-loaded ones begin when their upstream task ends."""
    count = len(run.task_ids)
    wait, start, completion = np.zeros(count), np.zeros(count), np.zeros(count)
    for task in run.order:
        start[task] = _ready(run, task, completion)
        ahead = [
            start[task] - completion[up] if up >= 0 and run.preloads[task] else 0.0
            for up, _ in durations.downloads[task]
        ]
        left = (ms - head for (_, ms), head in zip(durations.downloads[task], ahead, strict=True))
        wait[task] = max(left, default=0.0)
        if wait[task] < 0:
            wait[task] = 0.0
        completion[task] = start[task] + wait[task] + durations.execution[task] + durations.upload[task]
    return wait, start


class _Workers:
    """When each worker's last task ends, by memory."""

    def __init__(self, run: Run, ends: Floats) -> None:
        self.number = {worker: number for number, worker in enumerate(dict.fromkeys(run.workers))}
        self.of_task = [self.number[worker] for worker in run.workers]
        self.memory = np.zeros(len(self.number), dtype=np.int64)
        self.last = np.full(len(self.number), -np.inf)
        for task, worker in enumerate(self.of_task):
            self.memory[worker] = run.memory_mb[task]
            self.last[worker] = max(self.last[worker], ends[task])

    def idle(self, task: int, memory_mb: int, now: float, keep_alive_ms: float) -> int:
        """Count other workers of that memory that are done and not yet gone."""
        is_idle = (self.memory == memory_mb) & (self.last <= now) & (now <= self.last + keep_alive_ms)
        return int(is_idle.sum()) - int(is_idle[self.of_task[task]])

    def move(self, task: int, end: float) -> None:
        """Let a task end at that time."""
        worker = self.of_task[task]
        self.last[worker] = max(self.last[worker], end)


def _add_startups(
    run: Run, start: Floats, busy: Floats, startup_ms: StartupMs, quirks: Quirks
) -> tuple[list[str | None], Floats]:
    """Decide the starts one by one, as the engine does, each moving only its own task.

    Within a level of the DAG the engine's order is not recorded: earlier starts go first.
    """
    needs = run.needs_start()
    wanted = Counter((start[task], run.memory_mb[task]) for task, need in enumerate(needs) if need)
    workers = _Workers(run, start + busy)
    state: list[str | None] = [None] * len(needs)
    startup = np.zeros(len(needs))
    for task in sorted(run.order, key=lambda task: (run.level[task], start[task])):
        if needs[task]:
            now, memory = start[task], int(run.memory_mb[task])
            idle = workers.idle(task, memory, now, quirks.keep_alive_ms)
            state[task] = chosen = "warm" if idle > wanted[now, memory] - 1 else "cold"
            startup[task] = startup_ms(chosen, memory)
            workers.move(task, now + busy[task] + startup[task])
    return state, startup


def _in_time(run: Run, wait: Floats, busy: Floats, startup_ms: StartupMs, quirks: Quirks) -> Layout:
    """Decide the starts in the order of time, each after all that comes before it has moved: they cannot overlap."""
    needs = run.needs_start()
    count = len(needs)
    start, completion, startup = np.zeros(count), np.full(count, np.inf), np.zeros(count)
    state: list[str | None] = [None] * count
    workers = _Workers(run, np.full(count, -np.inf))
    missing = [len(ups) for ups in run.upstream]
    downstream = downstream_of(run.upstream)
    ready = [(0.0, task) for task in range(count) if not missing[task]]
    while ready:
        now = ready[0][0]
        batch = []
        while ready and ready[0][0] == now:
            batch.append(heapq.heappop(ready)[1])
        wanted = Counter(int(run.memory_mb[task]) for task in batch if needs[task])
        for task in batch:
            if not needs[task]:
                workers.move(task, now + busy[task])
        idle = {task: workers.idle(task, int(run.memory_mb[task]), now, quirks.keep_alive_ms) for task in batch}
        for task in batch:
            memory = int(run.memory_mb[task])
            if needs[task]:
                state[task] = chosen = "warm" if idle[task] > wanted[memory] - 1 else "cold"
                startup[task] = startup_ms(chosen, memory)
            start[task] = now + startup[task]
            completion[task] = start[task] + busy[task]
            workers.move(task, completion[task])
            for down in downstream[task]:
                missing[down] -= 1
                if not missing[down]:
                    heapq.heappush(ready, (_ready(run, down, completion), down))
    return Layout(wait, start, completion, state, startup)

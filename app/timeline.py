"""Lay a run's workers out on a time axis: one lane per worker, more where it ran several tasks at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Any

import pandas as pd

from app.units import duration

PHASES = ("start-up", "input wait", "download", "execution", "upload", "hand-over", "alive, no task", "kept warm")
"""What a bar can be. Input wait: before the download; hand-over: updating dependency counters and launching the workers
of downstream tasks; kept warm: the container after its worker was released."""

BEYOND = 0.1
"""What part of the run's length the axis goes on after its end, for what is kept warm."""

NO_WORKER = "(none)"
"""Stands for the worker of tasks whose source does not say where they ran; it is called '?'."""

_COLUMNS = ["lane", "phase", "start_s", "end_s", "worker", "task", "lasted", "estimated", "note", "step"]
_ESTIMATED = "estimated: the longest of its downloads, as no wait was recorded"


@dataclass(frozen=True, slots=True)
class Timeline:
    """Bars to draw, the lanes from top to bottom, the names of workers, and what was left out.

    `bars`: lane, phase, start_s, end_s, worker, task, lasted (ms), estimated, note, and step on the
    critical path where a task on it executes; what is kept warm may end after
    `until_s`, where the axis ends. `names`: worker_id -> 'w3', also of workers that were left out; `NO_WORKER` -> '?'.
    `lost`: lane and at_s of each request that no worker became ready for.
    """

    bars: pd.DataFrame
    lanes: tuple[str, ...]
    names: Mapping[str, str]
    lost: pd.DataFrame
    ends_s: float
    workers_left_out: int
    bars_left_out: int

    @property
    def until_s(self) -> float:
        """Where the axis ends: at the end of the run, or a little later where something is kept warm after it."""
        warm = self.bars.loc[self.bars["phase"] == "kept warm", "end_s"]
        begins = min(0.0, float(self.bars["start_s"].min())) if len(self.bars) else 0.0
        return max(
            self.ends_s, min(float(warm.max()), self.ends_s + BEYOND * (self.ends_s - begins)) if len(warm) else 0
        )

    def lasted_ms(self, phase: str) -> float:
        """Return how long a phase lasted, summed over workers and tasks."""
        return float(self.bars.loc[self.bars["phase"] == phase, "lasted"].sum())


@dataclass(slots=True)
class _Worker:
    first_ms: float
    invocations: list[dict[str, Any]] = field(default_factory=list)
    tasks: list[tuple[float, float, dict[str, Any]]] = field(default_factory=list)


def timeline(workers: pd.DataFrame, tasks: pd.DataFrame, most_lanes: int = 120, most_bars: int = 5_000) -> Timeline:
    """Return the bars of one run.

    `workers`, one row per invocation: worker_id, requested_ms, ready_ms, released_ms, keep_warm_ms, reused_ms (when its
    container was used again), reused_here and reused_by (by which worker, of this run or another); `tasks`: worker_id,
    task, start_ms, the phases, longest_download_ms and critical_step; all offsets in milliseconds from one zero. Lanes are in the order
    workers were requested; workers beyond `most_lanes`, and the shortest bars beyond `most_bars`, are left out.
    """
    found = sorted(_gather(workers, tasks).items(), key=lambda item: item[1].first_ms)
    named = [worker_id for worker_id, _ in found if worker_id != NO_WORKER]
    names = {worker_id: f"w{number}" for number, worker_id in enumerate(named, start=1)}
    names |= {NO_WORKER: "?"} if len(named) < len(found) else {}
    bars: list[dict[str, Any]] = []
    lanes: list[str] = []
    drawn = 0
    for worker_id, worker in found:
        own_lanes, own_bars = _draw(worker_id, worker, names)
        if lanes and len(lanes) + len(own_lanes) > most_lanes:
            break
        lanes += own_lanes
        bars += own_bars
        drawn += 1
    everything = pd.DataFrame(bars, columns=_COLUMNS)
    ends_s = everything.loc[everything["phase"] != "kept warm", "end_s"].max() if bars else 0.0
    kept = everything[everything["lane"].isin(lanes[:most_lanes])]
    kept = kept.loc[kept["lasted"].nlargest(most_bars).index.sort_values()] if len(kept) > most_bars else kept
    left_out = len(everything) - len(kept)
    lost = [(names[worker_id], at / 1000) for worker_id, worker in found[:drawn] for at in _lost(worker)]
    return Timeline(
        kept,
        tuple(lanes[:most_lanes]),
        names,
        pd.DataFrame(lost, columns=["lane", "at_s"]),
        float(ends_s),
        len(found) - drawn,
        left_out,
    )


def _gather(workers: pd.DataFrame, tasks: pd.DataFrame) -> dict[str, _Worker]:
    found: dict[str, _Worker] = {}
    for place, row in enumerate(workers.to_dict("records"), start=1):
        name = row["worker_id"] if isinstance(row["worker_id"], str) else f"(unlinked {place})"
        first = next((time for key in ("requested_ms", "ready_ms") if (time := _known(row[key])) is not None), 0.0)
        found.setdefault(name, _Worker(first)).invocations.append({str(key): value for key, value in row.items()})
    for row in tasks.to_dict("records"):
        start = _known(row["start_ms"])
        if start is None:
            continue
        name = row["worker_id"] if isinstance(row["worker_id"], str) else NO_WORKER
        values = {str(key): value for key, value in row.items()}
        end = start + sum(lasted for _, lasted, _ in _phases(values))
        found.setdefault(name, _Worker(start)).tasks.append((start, end, values))
    return found


def _lost(worker: _Worker) -> list[float]:
    times = [(_known(one["requested_ms"]), _known(one["ready_ms"])) for one in worker.invocations]
    return [requested for requested, ready in times if requested is not None and ready is None]


def _draw(worker_id: str, worker: _Worker, names: Mapping[str, str]) -> tuple[list[str], list[dict[str, Any]]]:
    name = names[worker_id]
    ends: list[float] = []
    bars: list[dict[str, Any]] = []

    def bar(
        lane: str, phase: str, start: float, end: float, task: str = "", note: str = "", step: object = None
    ) -> None:
        if end > start:
            estimated, told = note == _ESTIMATED, _known(step)
            values = (lane, phase, start / 1000, end / 1000, worker_id, task, end - start, estimated, note, told)
            bars.append(dict(zip(_COLUMNS, values, strict=True)))

    worker.tasks.sort(key=lambda task: task[:2])
    for start, end, row in worker.tasks:
        place = next((number for number, busy in enumerate(ends) if busy <= start + 0.001), len(ends))
        ends[place : place + 1] = [end]
        lane = name if place == 0 else f"{name} +{place}"
        for phase, lasted, note in _phases(row):
            step = row["critical_step"] if phase == "execution" else None
            bar(lane, phase, start, start + lasted, str(row["task"]), note, step)
            start += lasted
    last = max((end for _, end, _ in worker.tasks), default=None)
    only = len(worker.invocations) == 1
    alive = []
    for one in worker.invocations:
        requested, ready, released = (_known(one[key]) for key in ("requested_ms", "ready_ms", "released_ms"))
        if requested is not None and ready is not None:
            bar(name, "start-up", requested, ready)
        if only and last is not None:
            released = max(last, released if released is not None else last)
        if released is not None:
            alive += [] if ready is None else [(ready, released)]
            until, note = _kept_warm(one, names)
            bar(name, "kept warm", released, released if until is None else until, note=note)
    if not alive and worker.tasks and worker_id != NO_WORKER:
        alive = [(worker.tasks[0][0], last or 0.0)]
    for start, end in _idle(alive, [(start, end) for start, end, _ in worker.tasks]):
        bar(name, "alive, no task", start, end)
    return [name, *(f"{name} +{place}" for place in range(1, len(ends)))], bars


def _idle(alive: Sequence[tuple[float, float]], busy: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Yield the times within the alive ones that none of the busy ones, in order of their start, cover."""
    for begin, end in alive:
        for start, stop in busy:
            if start > begin:
                yield begin, min(start, end)
            begin = max(begin, min(stop, end))
        yield begin, end


def _kept_warm(one: Mapping[str, Any], names: Mapping[str, str]) -> tuple[float | None, str]:
    reused, expires = _known(one["reused_ms"]), _known(one["keep_warm_ms"])
    if reused is not None:
        by = names.get(one["reused_by"], "another worker") + " of this run" if one["reused_here"] else "another run"
        return reused, f"its container was then, most probably, taken over by {by}"
    return expires, "" if expires is None else "until its keep-alive, as estimated, ended"


def _phases(row: Mapping[str, Any]) -> list[tuple[str, float, str]]:
    """Return a task's phases one after the other: name, how long in ms, and a note.

    Inputs are downloaded at once, so the longest download bounds what downloading took of the recorded wait.
    """
    waited, longest = _known(row["input_wait_ms"]), _known(row["longest_download_ms"]) or 0.0
    download = longest if waited is None else min(longest, waited)
    note = (
        _ESTIMATED if waited is None else f"the longest of its downloads; {duration(waited)} waited for inputs in all"
    )
    return [
        ("input wait", (waited or download) - download, ""),
        ("download", download, note),
        ("execution", _known(row["execution_ms"]) or 0.0, ""),
        ("upload", _known(row["upload_ms"]) or 0.0, ""),
        ("hand-over", (_known(row["counters_ms"]) or 0.0) + (_known(row["invocation_ms"]) or 0.0), ""),
    ]


def _known(value: object) -> float | None:
    return None if not isinstance(value, (int, float)) or isnan(value) else float(value)


def never_ready(workers: pd.DataFrame) -> int:
    """Return how many workers were requested and never became ready."""
    return int(workers["ready_ms"].isna().sum())

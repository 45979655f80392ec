"""How the platform behaves between the phases that are recorded: what is measured of each run, and what is usual.

What is usual is learnt from chosen runs only, so that a run can be simulated by what was known before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import nnls

from predictors.simulation.play import SETUP
from predictors.simulation.records import Record, iterate_workers

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]

CONTENTIONS = tuple(round(step / 10, 1) for step in range(11))
"""The exponents that are tried: 0 (what runs beside each other does not notice) to 1 (it shares one place)."""
_LEVELS = np.linspace(0.025, 0.975, 20)
_LEAST = 5
HELPS = 0.95
"""A contention counts if works differ by at most this part of what they differ by without it."""
NEVER_MS = 1e9
"""The delay of a pre-warm that was assigned and not done."""
NEEDED = 100
"""Starts, or executions beside others, from which a contention is learnt."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of runs; `run` is the position of the run. Times in ms.

    `gaps`: run, kind ('submit', 'request', 'local', 'next', 'told', 'counters', 'invocation', 'overhead', 'prewarm', and 'kept', a share), environment, planner, ms. `setups`: run,
    environment, ms, and the counts of SETUP. `downloads`, `uploads`: run, size (class of bytes), environment, ms. `starts`: run, state, environment, memory_mb, and `executions`: run, function,
    memory_mb, size, is_beside (others ran beside it), each with the work by contention, a column for each of CONTENTIONS.
    """

    gaps: pd.DataFrame
    setups: pd.DataFrame
    downloads: pd.DataFrame
    uploads: pd.DataFrame
    starts: pd.DataFrame
    executions: pd.DataFrame


def measure(records: Sequence[Record]) -> Measured:
    """Measure all complete runs."""
    gaps: list[tuple[Any, ...]] = []
    setups: list[tuple[Any, ...]] = []
    downloads: list[tuple[Any, ...]] = []
    uploads: list[tuple[Any, ...]] = []
    starts: list[tuple[Any, ...]] = []
    executions: list[tuple[Any, ...]] = []
    for run, record in enumerate(records):
        if not record.is_complete:
            continue
        of, by = text(record.environment), text(record.planner)
        gaps += [(run, kind, of, by, ms) for kind, ms in _gaps(record) if math.isfinite(ms)]
        setups += [(run, of, *setup) for setup in _setups(record)]
        for took, sizes in zip(record.upstream_ms, record.upstream_bytes, strict=True):
            downloads += [
                (run, size_class(size), of, ms)
                for ms, size in zip(took, sizes, strict=True)
                if math.isfinite(ms) and math.isfinite(size)
            ]
        uploads += [
            (run, size_class(size), of, ms)
            for ms, size in zip(record.upload, record.output_bytes, strict=True)
            if math.isfinite(ms) and math.isfinite(size)
        ]
        launches = [one for one in record.launches.values() if one.ready > one.requested]
        works = works_of([(one.requested, one.ready) for one in launches])
        starts += [
            (run, one.state, of, _whole(record.memory_mb[one.initial_tasks[0]]), *work)
            for one, work in zip(launches, works, strict=True)
            if one.initial_tasks and one.state in ("cold", "warm")
        ]
        for tasks, works in execution_works(record):
            executions += [
                (run, record.functions[task], _whole(record.memory_mb[task]), size_class(record.inputs_bytes[task]), len(tasks) > 1, *work)
                for task, work in zip(tasks, works, strict=True)
            ]  # fmt: skip
    exponents = [str(each) for each in CONTENTIONS]
    return Measured(
        pd.DataFrame(gaps, columns=["run", "kind", "environment", "planner", "ms"]),
        pd.DataFrame(setups, columns=["run", "environment", "ms", *SETUP]),
        pd.DataFrame(downloads, columns=["run", "size", "environment", "ms"]),
        pd.DataFrame(uploads, columns=["run", "size", "environment", "ms"]),
        pd.DataFrame(starts, columns=["run", "state", "environment", "memory_mb", *exponents]),
        pd.DataFrame(executions, columns=["run", "function", "memory_mb", "size", "is_beside", *exponents]),
    )


def waited(record: Record, task: int) -> float:
    """Return how long a task waited for its inputs (ms): as recorded, else its longest download."""
    if math.isfinite(record.wait[task]):
        return record.wait[task]
    return max([record.stored_ms[task], *(ms for ms in record.upstream_ms[task] if math.isfinite(ms))])


def known(ms: float) -> float:
    """Return a duration, 0 where the phase did not happen."""
    return ms if math.isfinite(ms) else 0.0


def text(value: str | None) -> str:
    """Return a name as a key."""
    return "" if value is None else value


def size_class(size: float) -> str:
    """Return the class of sizes (bytes) that are a quarter of a power of ten apart."""
    return "" if not math.isfinite(size) else str(round(4 * math.log10(max(size, 1.0))))


def _whole(number: float) -> str:
    return "" if not math.isfinite(number) else f"{number:g}"


def told_at(record: Record, task: int) -> float:
    """Return when those that wait for a task knew that it was done (ms since the submission)."""
    done = record.start[task] + waited(record, task) + record.execution[task] + known(record.upload[task])
    return done + known(record.counters[task])


def _gaps(record: Record) -> list[tuple[str, float]]:
    """Return what lies between the phases of a run, by kind."""
    gaps: list[tuple[str, float]] = []
    told = [told_at(record, task) for task in range(len(record.task_ids))]
    after: dict[int, list[float]] = {}
    for task, ups in enumerate(record.upstream):
        if record.is_awaited[task]:
            gaps.append(("counters", known(record.counters[task])))
            gaps.append(("invocation", known(record.invocation[task])))
        took = [ms for ms in record.upstream_ms[task] if math.isfinite(ms)]
        if took and math.isfinite(record.wait[task]) and not record.preloads[task]:
            gaps.append(("overhead", record.wait[task] - max(took)))
        launch = record.launches[record.worker[task] or ""]
        last = max(ups, key=told.__getitem__, default=None)
        launching = 0.0 if last is None else known(record.invocation[last])
        if task == (launch.initial_tasks or (None,))[0]:
            before = 0.0 if last is None else told[last] + launching / 2
            gaps.append(("submit" if last is None else "request", launch.requested - before))
        if last is None or told[last] < launch.ready:
            continue
        if record.worker[last] == record.worker[task]:
            after.setdefault(last, []).append(record.start[task])
        else:
            gaps.append(("told", record.start[task] - told[last]))
    for last, begun in after.items():
        begun.sort()
        gaps.append(("local", begun[0] - told[last] - known(record.invocation[last])))
        gaps += [("next", later - earlier) for earlier, later in pairwise(begun)]
    gaps += [("kept", share) for share in _kept(record, told)]
    done = sorted(one.delay_ms for one in record.prewarmings)
    planned = sorted(one.delay_ms for one in record.planned_prewarmings)
    gaps += [("prewarm", after - before) for before, after in zip(planned, done, strict=False)]
    gaps += [("prewarm", NEVER_MS)] * (len(planned) - len(done))
    return [(kind, max(0.0, ms)) for kind, ms in gaps]


def _kept(record: Record, told: list[float]) -> list[float]:
    """Return, of the flexible tasks that each task made ready beside a first one, the share that its worker kept."""
    ready: dict[int, list[bool]] = {}
    for task, ups in enumerate(record.upstream):
        if ups and record.planned_worker[task] is None:
            last = max(ups, key=told.__getitem__)
            ready.setdefault(last, []).append(record.worker[task] == record.worker[last])
    return [(max(sum(own), 1) - 1) / (len(own) - 1) for own in ready.values() if len(own) > 1]


def _setups(record: Record) -> list[tuple[float, ...]]:
    """Return how long each worker took from being ready to its first task (ms), and what it had to set up: SETUP."""
    setups: list[tuple[float, ...]] = []
    for worker, tasks in iterate_workers(record):
        launch = record.launches[worker]
        awaiting = preloaded = duplicable = 0
        for task in tasks:
            if task not in launch.initial_tasks and record.planned_worker[task] is not None:
                remote = [up for up in record.upstream[task] if record.worker[up] != worker]
                awaiting += bool(remote)
                preloaded += record.preloads[task] * len(remote)
                duplicable += sum(record.duplicable[up] for up in remote)
        ms = record.start[tasks[0]] - launch.ready
        if launch.initial_tasks and math.isfinite(ms):
            setups.append((max(0.0, ms), 1.0, awaiting, preloaded, duplicable))
    return setups


def execution_works(record: Record) -> list[tuple[list[int], list[tuple[float, ...]]]]:
    """Return the tasks of each worker, and the work of their executions by contention (CONTENTIONS)."""
    found = []
    for _, tasks in iterate_workers(record):
        begun = [record.start[task] + waited(record, task) for task in tasks]
        found.append(
            (tasks, works_of([(at, at + record.execution[task]) for at, task in zip(begun, tasks, strict=True)]))
        )
    return found


def works_of(intervals: list[Interval]) -> list[tuple[float, ...]]:
    """Return how long each of what happened in these intervals takes alone, by contention.

    k beside each other go at k ** -contention of their speed: the work is the integral of that over the interval.
    """
    if len(intervals) == 1:
        return [(intervals[0][1] - intervals[0][0],) * len(CONTENTIONS)]
    times = np.array(intervals, dtype=np.float64).reshape(-1, 2)
    begin, end = times[:, 0], np.maximum(times[:, 0], times[:, 1])
    instants = np.unique(times)
    beside = np.searchsorted(np.sort(begin), instants[:-1], "right") - np.searchsorted(
        np.sort(end), instants[:-1], "right"
    )
    speeds = np.maximum(beside, 1)[:, None].astype(np.float64) ** -np.array(CONTENTIONS)
    done = np.vstack([np.zeros(len(CONTENTIONS)), np.cumsum(np.diff(instants)[:, None] * speeds, axis=0)])
    works = done[np.searchsorted(instants, end)] - done[np.searchsorted(instants, begin)]
    return [tuple(work) for work in works.tolist()]


@dataclass(frozen=True)
class Usual:
    """Quantiles of values by keys, of the most particular group that has at least five.

    The first keys, which say what the value is, are always kept: a gap that was seen twice is usually what it was then, and
    not what other gaps are.
    """

    groups: dict[str, list[float]]

    @classmethod
    def of(cls, table: pd.DataFrame, keys: Sequence[str], values: str, kept: int = 1) -> Usual:
        """Learn the quantiles of the column `values` by all `keys`, by all but the last, and so on, down to the first `kept`."""
        groups = {}
        for depth in range(len(keys), kept - 1, -1):
            parts = table.groupby(list(keys[:depth]))[values] if depth else [((), table[values])]
            for key, part in parts:
                if len(part) >= _LEAST or (depth == kept and len(part)):
                    groups["\n".join(map(str, key))] = np.quantile(part, _LEVELS).tolist()
        return cls(groups)

    def quantiles(self, *keys: str) -> list[float]:
        """Return the quantiles of the group, else of the one around it; none where nothing was seen."""
        for depth in range(len(keys), -1, -1):
            found = self.groups.get("\n".join(keys[:depth]))
            if found:
                return found
        return []

    def at(self, level: float, *keys: str, otherwise: float = 0.0) -> float:
        """Return one quantile."""
        found = self.quantiles(*keys)
        return float(np.interp(level, _LEVELS, found)) if found else otherwise


@dataclass(frozen=True)
class Behaviour:
    """What is usual, as learnt from some runs: gaps by kind, environment and planner, ms for each of SETUP by environment, downloads and uploads by size and environment, the work of
    starts by state, environment and memory; contention of starts by environment ('' for all) and of executions.
    """

    gaps: Usual
    setup: dict[str, tuple[float, ...]]
    downloads: Usual
    uploads: Usual
    starts: Usual
    startup_contention: dict[str, float]
    execution_contention: float

    @classmethod
    def learn(cls, measured: Measured, chosen: npt.NDArray[np.bool_], latest: int | None = None) -> Behaviour:
        """Learn from the runs that are `chosen`, by position; of starts, from the `latest` of each environment and state if given."""
        gaps, setups, downloads, uploads, starts, executions = (
            table[chosen[table["run"].to_numpy(dtype=np.intp)]]
            for table in (
                measured.gaps,
                measured.setups,
                measured.downloads,
                measured.uploads,
                measured.starts,
                measured.executions,
            )
        )
        if latest is not None:
            starts = starts.groupby(["environment", "state"]).tail(latest)
        beside = executions[executions["is_beside"]]
        contention = {"": _contention(starts, ["environment", "state", "memory_mb"])}
        for environment, part in starts.groupby("environment"):
            if len(part) >= NEEDED:
                contention[str(environment)] = _contention(part, ["state", "memory_mb"])
        work = [
            starts.loc[part.index, str(contention.get(str(environment), contention[""]))]
            for environment, part in starts.groupby("environment")
        ]
        starts = starts.assign(work=pd.concat(work) if work else np.nan)
        return cls(
            Usual.of(gaps, ("kind", "environment", "planner"), "ms"),
            {
                "": _setup(setups),
                **{str(of): _setup(part) for of, part in setups.groupby("environment") if len(part) >= NEEDED},
            },
            Usual.of(downloads, ("size", "environment"), "ms", kept=0),
            Usual.of(uploads, ("size", "environment"), "ms", kept=0),
            Usual.of(starts, ("state", "environment", "memory_mb"), "work"),
            contention,
            _contention(beside, ["function", "memory_mb", "size"]),
        )

    def gap(self, kind: str, record: Record) -> float:
        """Return the usual gap of that kind (ms)."""
        return self.gaps.at(0.5, kind, text(record.environment), text(record.planner))

    def setup_of(self, record: Record) -> tuple[float, ...]:
        """Return what each of SETUP usually takes (ms) where the run was."""
        return self.setup.get(text(record.environment), self.setup[""])

    def between(self, record: Record) -> dict[str, Any]:
        """Return what usually lies between the phases of a run, as the fields of `Durations` that are not of single tasks."""
        gaps = {kind: self.gap(kind, record) for kind in ("local", "next", "told", "request", "submit", "kept")}
        return {"setup": self.setup_of(record), **gaps}

    def startup(self, level: float, state: str, record: Record, memory_mb: float) -> float:
        """Return a quantile of the work of a start (ms)."""
        return self.starts.at(level, state, text(record.environment), _whole(memory_mb))

    def contention_of_starts(self, record: Record) -> float:
        """Return the contention of start-ups where the run was."""
        return self.startup_contention.get(text(record.environment), self.startup_contention[""])


def _setup(setups: pd.DataFrame) -> tuple[float, ...]:
    """Return what each of SETUP takes (ms), none less than nothing: least absolute deviations, by reweighting."""
    if setups.empty:
        return (0.0,) * len(SETUP)
    counts, took = setups[list(SETUP)].to_numpy(dtype=np.float64), setups["ms"].to_numpy()
    weights = np.ones(len(took))
    for _ in range(20):
        takes = nnls(counts * weights[:, None], took * weights)[0]
        weights = 1 / np.sqrt(np.maximum(np.abs(took - counts @ takes), 1.0))
    return tuple(float(ms) for ms in takes)


def _contention(table: pd.DataFrame, alike: list[str]) -> float:
    """Return the exponent with which the works of what is alike differ least; 0 where too little was seen, or it hardly helps."""
    if len(table) < NEEDED:
        return 0.0
    logs = table[[str(exponent) for exponent in CONTENTIONS]].clip(lower=1e-3).apply(np.log)
    groups = logs.groupby([table[name] for name in alike])
    off = (logs - groups.transform("median")).abs()
    spread = off[groups.transform("size") >= _LEAST].median().to_list()
    if not np.isfinite(spread).any():
        return 0.0
    best = int(np.nanargmin(spread))
    return CONTENTIONS[best] if spread[best] <= HELPS * spread[0] else 0.0

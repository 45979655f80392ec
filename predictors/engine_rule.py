"""The engine's own rule for what a run will take, rebuilt from its description (FIELD.md, section 3), faults included.

It learns finished runs one by one, answers for single tasks, and lays out whole plans. docs/engine-rule.md says how much of
the recorded plans it gives again.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from predictors.engine_plan import Durations, lay_out
from predictors.engine_runs import Run
from predictors.engine_samples import Floats, MemorySamples, Quirks, Samples, Sla, check_sla, timed

OLDER_MINIMUM = 5
NEWER_MINIMUM = 6
"""Samples of one memory that suffice, in the older version and in the newer one: what the recorded plans show."""


class Origin(NamedTuple):
    """Whose samples answer for a run: those of its store with its structure and planner, as its version asks for them."""

    store: str
    structure_hash: str
    planner: str
    is_older_engine: bool

    @classmethod
    def of(cls, run: Run) -> Origin:
        """Return a run's."""
        return cls(run.store, run.structure_hash, run.planner, run.is_older_engine)


@dataclass(frozen=True, slots=True)
class SampleCounts:
    """What stands behind a plan, counted as the engine does: runs are executions by tasks of the DAG, uploads are downloads."""

    previous_runs: int
    execution: int
    download: int
    upload: int
    output: int


class EngineRule:
    """What the engine would predict, from the runs learned so far. Times are ms, sizes bytes, memory MB."""

    def __init__(self, quirks: Quirks | None = None) -> None:
        self.quirks = quirks = quirks or Quirks()
        self._execution: dict[tuple[str, ...], MemorySamples] = defaultdict(
            lambda: MemorySamples(-quirks.execution_exponent)
        )
        self._output: dict[tuple[str, ...], Samples] = defaultdict(Samples)
        self._download: dict[tuple[str, ...], MemorySamples] = defaultdict(
            lambda: MemorySamples(quirks.transfer_exponent)
        )
        self._upload: dict[tuple[str, ...], MemorySamples] = defaultdict(
            lambda: MemorySamples(quirks.transfer_exponent)
        )
        self._startup: dict[tuple[str, ...], MemorySamples] = defaultdict(
            lambda: MemorySamples(quirks.startup_exponent)
        )
        self._executions: dict[tuple[str, ...], int] = defaultdict(int)
        self._lists: dict[tuple[str, ...], float] = {}

    def learn(self, run: Run) -> None:
        """Add what a run left: tasks with metrics, timed transfers, starts that became ready."""
        origin = Origin.of(run)
        self._learn_starts(origin, run)
        self._learn_lists(origin, run)
        if not run.is_complete and not self.quirks.incomplete_runs_count:
            return
        self._learn_tasks(origin, run)
        sizes, times, memory = run.downloads
        if not self.quirks.untimed_downloads_left_out:
            times = _at_mean_speed(sizes, times)
        known = timed(sizes, times)
        key = self._tasks(origin)
        self._download[key].add(sizes[known], sizes[known] / times[known], memory[known])
        uploaded = run.measured & timed(run.output_bytes, run.upload_ms)
        sizes, times = run.output_bytes[uploaded], run.upload_ms[uploaded]
        self._upload[key].add(sizes, sizes / times, run.measured_memory_mb[uploaded])

    def _learn_tasks(self, origin: Origin, run: Run) -> None:
        self._executions[self._tasks(origin)] += int(run.measured.sum())
        done = run.measured & (run.inputs_bytes > 0)
        names = np.array(run.functions, dtype=object)
        for function in dict.fromkeys(names[done]):
            mine = done & (names == function)
            key = self._tasks(origin, function)
            ran, gave = mine & ~np.isnan(run.execution_ms), mine & ~np.isnan(run.output_bytes)
            sizes = run.inputs_bytes[ran]
            self._execution[key].add(sizes, run.execution_ms[ran] / sizes, run.measured_memory_mb[ran])
            sizes = run.inputs_bytes[gave]
            self._output[key].add(sizes, run.output_bytes[gave] / sizes)

    def _learn_starts(self, origin: Origin, run: Run) -> None:
        states, times, memory = run.starts
        for state in dict.fromkeys(states):
            mine = np.array([each == state for each in states], dtype=bool) & ~np.isnan(times)
            key = (*self._starts(origin), state)
            self._startup[key].add(np.zeros(int(mine.sum())), times[mine], memory[mine])

    def _learn_lists(self, origin: Origin, run: Run) -> None:
        """Remember by how much the recorded literals of each function exceed the planned ones."""
        excess = run.listed_bytes - run.literal_bytes
        for task in np.flatnonzero(~np.isnan(excess)):
            self._lists[origin.structure_hash, run.functions[task]] = float(excess[task])

    def execution_ms(self, origin: Origin, function: str, input_bytes: float, memory_mb: int, sla: Sla) -> float:
        """Return what a task takes on inputs of that size."""
        samples = self._execution.get(self._tasks(origin, function))
        if samples is None or not len(samples.scaled):
            return self._nothing()
        chosen, factor = samples.choose(memory_mb, self._minimum(origin))
        return chosen.near(input_bytes, check_sla(sla), sla, self.quirks) * input_bytes * factor

    def output_bytes(self, origin: Origin, function: str, input_bytes: float, sla: Sla) -> float:
        """Return the size of a task's output; its input's size without samples."""
        samples = self._output.get(self._tasks(origin, function))
        if samples is None or not len(samples):
            return input_bytes
        size = samples.near(input_bytes, check_sla(sla), sla, self.quirks) * input_bytes
        return float(math.ceil(size)) if self.quirks.output_rounded_up else size

    def download_ms(self, origin: Origin, size_bytes: float, memory_mb: int, sla: Sla) -> float:
        """Return what the download of an object takes."""
        return self._transfer_ms(self._download, origin, size_bytes, memory_mb, sla)

    def upload_ms(self, origin: Origin, size_bytes: float, memory_mb: int, sla: Sla) -> float:
        """Return what the upload of an object takes: as long as a download of it, for the engine."""
        samples = self._download if self.quirks.uploads_from_downloads else self._upload
        return self._transfer_ms(samples, origin, size_bytes, memory_mb, sla)

    def startup_ms(self, origin: Origin, state: str, memory_mb: int, sla: Sla) -> float:
        """Return what a start takes, given its state ('cold', 'warm')."""
        samples = self._startup.get((*self._starts(origin), state))
        if samples is None or not len(samples.scaled):
            return self._nothing()
        chosen, factor = samples.choose(memory_mb, self._minimum(origin))
        return chosen.overall(check_sla(sla)) * factor

    def counts(self, run: Run) -> SampleCounts:
        """Count the samples behind a plan of the run."""
        key = self._tasks(Origin.of(run))
        executions = self._executions.get(key, 0)
        downloads = self._download.get(key)
        timed_downloads = len(downloads.scaled) if downloads else 0
        runs = executions // max(len(run.task_ids), 1)
        return SampleCounts(runs, executions, timed_downloads, timed_downloads, executions)

    def literal_bytes(self, run: Run) -> Floats:
        """Return the literal bytes of each task as a plan counts them: without lists of upstream references, 0 if unknown."""
        if not self.quirks.lists_weigh_nothing:
            return np.nan_to_num(run.listed_bytes)
        lists = np.array([self._lists.get((run.structure_hash, function), 0.0) for function in run.functions])
        without = np.maximum(run.listed_bytes - lists, 0.0)
        return np.nan_to_num(np.where(np.isnan(run.literal_bytes), without, run.literal_bytes))

    def predict(self, run: Run, sla: Sla) -> pd.DataFrame:
        """Return the plan of a run, one row per task.

        Columns: task_id, input_bytes, output_bytes, download_bytes, upload_bytes, execution_ms, download_ms (all its downloads
        one after another), input_wait_ms (they are parallel), upload_ms, startup_state (NULL: the worker runs already),
        startup_ms, start_offset_ms, completion_offset_ms.
        """
        columns = self.columns(run, sla)
        return pd.DataFrame({**columns, "startup_state": pd.Series(columns["startup_state"], dtype=object)})

    def columns(self, run: Run, sla: Sla) -> dict[str, Any]:
        """Return the columns of `predict` as lists and arrays, for whoever asks for many plans."""
        check_sla(sla)
        origin = Origin.of(run)
        memory = [int(each) for each in run.memory_mb]
        inputs, outputs = self._sizes(origin, run, sla)
        execution = np.array([
            self.execution_ms(origin, function, size, memory_mb, sla)
            for function, size, memory_mb in zip(run.functions, inputs, memory, strict=True)
        ])  # fmt: skip
        download_bytes, download_ms, pieces = [], [], []
        for task, memory_mb in enumerate(memory):
            objects = [(up, float(outputs[up])) for up in run.remote_upstream(task)]
            objects += [(-1, size) for size in run.stored[task]]
            parts = [(up, self.download_ms(origin, size, memory_mb, sla)) for up, size in objects]
            size = sum(size for _, size in objects)
            pieces.append(parts)
            download_bytes.append(size)
            download_ms.append(
                self.download_ms(origin, size, memory_mb, sla)
                if self.quirks.downloads_as_one
                else sum(ms for _, ms in parts)
            )
        upload_bytes = np.where(run.uploads(), outputs, 0.0)
        upload = np.array([
            self.upload_ms(origin, size, memory_mb, sla) for size, memory_mb in zip(upload_bytes, memory, strict=True)
        ])  # fmt: skip
        layout = lay_out(
            run,
            Durations(execution, upload, pieces),
            lambda state, memory_mb: self.startup_ms(origin, state, memory_mb, sla),
            self.quirks,
        )
        return {
            "task_id": list(run.task_ids),
            "input_bytes": inputs,
            "output_bytes": outputs,
            "download_bytes": download_bytes,
            "upload_bytes": upload_bytes,
            "execution_ms": execution,
            "download_ms": download_ms,
            "input_wait_ms": layout.wait,
            "upload_ms": upload,
            "startup_state": layout.state,
            "startup_ms": layout.startup,
            "start_offset_ms": layout.start,
            "completion_offset_ms": layout.completion,
        }

    def _sizes(self, origin: Origin, run: Run, sla: Sla) -> tuple[Floats, Floats]:
        """Return sizes of inputs and outputs, from the roots on."""
        inputs = self.literal_bytes(run) + np.array([sum(sizes) for sizes in run.stored])
        outputs = np.zeros(len(run.task_ids))
        for task in run.order:
            inputs[task] += sum(float(outputs[up]) for up in run.upstream[task])
            outputs[task] = self.output_bytes(origin, run.functions[task], float(inputs[task]), sla)
        return inputs, outputs

    def _transfer_ms(
        self, speeds: dict[tuple[str, ...], MemorySamples], origin: Origin, size: float, memory_mb: int, sla: Sla
    ) -> float:
        check_sla(sla)
        if size <= 0:
            return 0.0
        samples = speeds.get(self._tasks(origin))
        if samples is None or not len(samples.scaled):
            return self._nothing()
        chosen, factor = samples.choose(memory_mb, self._minimum(origin))
        pick: Sla = sla if isinstance(sla, str) or self.quirks.percentile_of_speed else 100 - sla
        return size / (chosen.near(size, sla, pick, self.quirks) * factor)

    def _tasks(self, origin: Origin, function: str = "") -> tuple[str, ...]:
        planner = origin.planner if self.quirks.planner_in_key else ""
        return origin.store, origin.structure_hash, planner, function if self.quirks.functions_apart else ""

    def _starts(self, origin: Origin) -> tuple[str, ...]:
        planner = "" if self.quirks.startup_of_all_planners else origin.planner
        return origin.store, origin.structure_hash, planner

    def _minimum(self, origin: Origin) -> int:
        if self.quirks.same_memory_minimum is not None:
            return self.quirks.same_memory_minimum
        return OLDER_MINIMUM if origin.is_older_engine else NEWER_MINIMUM

    def _nothing(self) -> float:
        return 0.0 if self.quirks.zero_without_samples else math.nan


def _at_mean_speed(sizes: Floats, times: Floats) -> Floats:
    """Give downloads without a time that of the mean speed of the others, where there are any."""
    known = timed(sizes, times)
    if not known.any():
        return times
    speed = float(np.mean(sizes[known] / times[known]))
    return np.where(np.isnan(times), sizes / speed, times)

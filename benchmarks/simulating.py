"""Simulation: how fast runs are played, against one core, and against the engine's planner laying out the same runs."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from benchmarks import dumps
from ingest.pipeline import ingest
from predictors.engine_plan import Durations as Planned
from predictors.engine_plan import lay_out
from predictors.engine_runs import Run, runs_of
from predictors.engine_samples import Quirks
from predictors.history import read_history
from predictors.simulation.borrowing import Lenders
from predictors.simulation.changes import read_changes
from predictors.simulation.ensembles import simulate_all
from predictors.simulation.knowledge import Knowledge, learn
from predictors.simulation.play import Durations, Rules, Shape, play
from predictors.simulation.recorded import Recording, shape_as_run
from predictors.simulation.records import Record, read_records
from warehouse.connection import open_current
from warehouse.home import Home

SAMPLES = Path(__file__).parent.parent / "ingest" / "samples"


class Recorded:
    """The recorded runs, ready to be played."""

    def __init__(self, root: Path) -> None:
        home = Home(root / "simulated")
        ingest(home, [str(SAMPLES)], dumps.Silent())
        with open_current(home) as reader:
            self.records: list[Record] = [record for record in read_records(reader) if record.is_complete]
            self.knowledge: Knowledge = learn(reader, self.records)
            chosen = {record.run_id for record in self.records if not record.is_flexible}
            self.plans: list[Run] = [run for run in runs_of(read_history(reader)) if run.run_id in chosen]
        self.ready = [self._ready(record) for record in self.records]

    def _ready(self, record: Record) -> tuple[Shape, Durations, Rules]:
        shape, ids = shape_as_run(record)
        behaviour = self.knowledge.behaviour
        rules = Rules(
            exit_ms=400,
            keep_alive_ms=7000,
            execution_contention=behaviour.execution_contention,
            startup_contention=behaviour.contention_of_starts(record),
        )
        return shape, Recording(record, behaviour).durations(shape, ids), rules

    def seconds_per_100_tasks(self) -> float:
        """Play every run once. Return seconds for each 100 tasks."""
        start = time.perf_counter()
        for shape, durations, rules in self.ready:
            play(shape, durations, rules)
        tasks = sum(len(record.task_ids) for record in self.records)
        return (time.perf_counter() - start) / tasks * 100

    def seconds_per_100_planned_tasks(self) -> float:
        """Lay out the planned runs as the engine's planner does. Return seconds for each 100 tasks."""
        start = time.perf_counter()
        for run in self.plans:
            nothing = np.zeros(len(run.task_ids))
            downloads = [[(up, 1.0) for up in run.remote_upstream(task)] for task in range(len(run.task_ids))]
            lay_out(run, Planned(nothing, nothing, downloads), lambda _state, _memory: 1.0, Quirks())
        tasks = sum(len(run.task_ids) for run in self.plans)
        return (time.perf_counter() - start) / tasks * 100

    def seconds_to_simulate(self, *, cores: int | None, draws: int = 20) -> float:
        """Simulate a change of every run, on one core or on all of them. Return seconds, start of processes included."""
        start = time.perf_counter()
        simulate_all(
            self.records,
            Lenders(()),
            [read_changes(["keep_alive_s=60"])],
            self.knowledge,
            draws=draws,
            seed=0,
            cores=cores,
        )
        return time.perf_counter() - start

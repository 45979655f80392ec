"""Runs of a simulated platform (`tests/simulator.py`), replayed with what their log says, against what happened.

The platform draws at random what no log says: how long after an output is counted each worker is requested and each task
told. A replay takes what is usual instead, so that it is off by that, and by nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from statistics import median

import pytest

from predictors.simulation.changes import Changes
from predictors.simulation.knowledge import Knowledge, learn
from predictors.simulation.records import EXIT_MS, Record, read_records
from predictors.simulation.rows import Simulated
from predictors.simulation.scenarios import Simulator
from tests.predictors.simulation.logs import home_of
from tests.simulator import Run, Start, Truth, World, rows_of, simulate
from warehouse.connection import open_current

KEEP_ALIVE_MS = 7000.0
HOP_MS = 25.0
"""Between two tasks: a worker is requested after up to four draws of 1 to 6 ms, told after up to 5 more; the usual gap and half of
the recorded launches stand for that."""


@dataclass(frozen=True)
class Replayed:
    """A world, what is known of it, its runs as recorded and as replayed."""

    truth: Truth
    knowledge: Knowledge
    records: dict[str, Record]
    runs: dict[str, Simulated]

    def starts(self, run: Run) -> dict[str, Start]:
        return {start.worker_id: start for start in self.truth.starts if start.run_id == run.run_id}

    def is_alone(self, run: Run) -> bool:
        """Whether nobody else used the platform meanwhile: then all that is free is in the run's pool."""
        begin, end = run.submitted_at, max(start.finished_at or 0 for start in self.starts(run).values())
        others = [start for start in self.truth.starts if start.run_id != run.run_id]
        return all((start.finished_at or 0) < begin or start.requested_at > end for start in others)

    def agreements(self, simulated: dict[str, Simulated] | None = None) -> list[bool]:
        """Whether each worker of the runs that were alone started as it did."""
        return [
            row["state"] == self.starts(run)[row["worker_id"]].state
            for run in self.truth.runs
            if self.is_alone(run)
            for row in (simulated or self.runs)[run.run_id].invocations
        ]

    def again(self, keep_alive_ms: float) -> dict[str, Simulated]:
        """The runs replayed on a platform with another keep-alive."""
        known = replace(self.knowledge, keep_alive=dict.fromkeys(self.knowledge.keep_alive, (keep_alive_ms, 0.0)))
        return {run: replayed(record, known) for run, record in self.records.items()}

    def alike(self) -> list[tuple[Run, Simulated]]:
        """The runs whose workers all started as they did."""
        found = []
        for run in self.truth.runs:
            simulated, starts = self.runs[run.run_id], self.starts(run)
            if all(row["state"] == starts[row["worker_id"]].state for row in simulated.invocations):
                found.append((run, simulated))
        return found


def replayed(record: Record, knowledge: Knowledge) -> Simulated:
    return Simulator(record, knowledge).simulate(Changes(), record)


def recovered(world: World, folder: pytest.TempPathFactory) -> Replayed:
    """A world through the door that users take; its tasks tell the memory they ran with."""
    truth = simulate(world)
    rows = rows_of(truth)
    memory = {(start.run_id, start.worker_id): start.memory_mb for start in truth.starts}
    rows["tasks"] = [row | {"memory_mb": memory[row["run_id"], row["worker_id"]]} for row in rows["tasks"]]
    with open_current(home_of(folder.mktemp("replay"), rows)) as reader:
        records = read_records(reader)
        knowledge = learn(reader, records)
    runs = {record.run_id: replayed(record, knowledge) for record in records}
    return Replayed(truth, knowledge, {record.run_id: record for record in records}, runs)


def world(seed: int, **planted: object) -> World:
    """Ends are those of tasks, and containers exit as long after them as is assumed."""
    return World(
        f"replay.{seed}", seed, unseen_runs=4, shows_states=True, shows_ends=False, exit_ms=(EXIT_MS, EXIT_MS),
        keep_alive_ms=KEEP_ALIVE_MS, **planted,
    )  # type: ignore[arg-type] # fmt: skip


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> list[Replayed]:
    """One whose runs are apart, and one whose runs sometimes meet."""
    return [
        recovered(world(1, pause_ms=(4000, 14_000)), tmp_path_factory),
        recovered(world(2), tmp_path_factory),
    ]


def depth(run: Run) -> int:
    """How many tasks there are on the longest way to the sink."""

    @cache
    def of(task: str) -> int:
        return 1 + max((of(up) for up in run.upstream[task]), default=0)

    return of(run.sink)


def makespan_ms(each: Replayed, run: Run) -> float:
    sink = next(one for one in each.truth.attempts if (one.run_id, one.task_id) == (run.run_id, run.sink))
    return (sink.finished_at + sink.invocation_us - run.submitted_at) / 1000


def test_every_run_is_replayed(worlds: list[Replayed]) -> None:
    """And where runs meet, three of four start their workers as they did. Measured: .83."""
    for each in worlds:
        assert each.runs.keys() == {run.run_id for run in each.truth.runs}
        assert len(each.alike()) >= 0.75 * len(each.runs)


def test_a_replay_takes_as_long_as_the_run_but_for_gaps_that_nobody_recorded(worlds: list[Replayed]) -> None:
    """Of runs of seconds: measured, 8.4 ms at most, 5 in nine runs of ten."""
    for each in worlds:
        off = []
        for run, simulated in each.alike():
            off.append(abs(simulated.summary["makespan_ms"] - makespan_ms(each, run)))
            assert off[-1] <= HOP_MS * depth(run)
        assert median(off) <= 5
        assert sorted(off)[int(0.9 * len(off))] <= 10


def test_every_task_of_a_replay_begins_when_it_did_but_for_such_gaps(worlds: list[Replayed]) -> None:
    for each in worlds:
        begun = {(one.run_id, one.task_id): one.started_at for one in each.truth.attempts}
        off = []
        for run, simulated in each.alike():
            for row in simulated.tasks:
                start_ms = (begun[run.run_id, row["task_id"]] - run.submitted_at) / 1000
                off.append(abs(row["start_offset_ms"] - start_ms))
                assert off[-1] <= HOP_MS * depth(run)
        assert median(off) <= 5


def test_where_the_pool_is_known_workers_start_as_they_did(worlds: list[Replayed]) -> None:
    """Runs beside others may take, or leave them, what their own log does not say. Measured: all of them."""
    for each in worlds:
        states = {row["state"] for simulated in each.runs.values() for row in simulated.invocations}
        assert states == {"cold", "warm"}
        agreements = each.agreements()
        assert len(agreements) >= 100
        assert sum(agreements) >= 0.95 * len(agreements)


def test_the_planted_keep_alive_explains_the_starts_better_than_others(worlds: list[Replayed]) -> None:
    for each in worlds:
        (bounds,) = each.knowledge.keep_alive.values()
        assert bounds[0] <= KEEP_ALIVE_MS <= sum(bounds)
        planted, shorter, longer = (each.agreements(each.again(ms)) for ms in (KEEP_ALIVE_MS, 4000, 12_000))
        assert sum(planted) >= 0.99 * len(planted)
        assert sum(planted) > sum(shorter) + 0.05 * len(planted)
        assert sum(planted) > sum(longer) + 0.05 * len(planted)


def test_pre_loads_and_pre_warms_are_replayed_as_well(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The download that a pre-load hid is not recorded (up to 120 ms): a usual one stands for it."""
    each = recovered(world(3, pause_ms=(6000, 20_000), preload=0.6, prewarm=0.5), tmp_path_factory)
    assert any(one.happened_at for one in each.truth.optimizations if one.optimization == "prewarm")
    assert sum(each.agreements()) >= 0.95 * len(each.agreements())
    off = [abs(simulated.summary["makespan_ms"] - makespan_ms(each, run)) for run, simulated in each.alike()]
    assert median(off) <= 6
    assert max(off) <= 150

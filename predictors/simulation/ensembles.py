"""Many runs simulated in many scenarios, on all cores, as rows for the warehouse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from joblib import Parallel, cpu_count, delayed

from predictors.simulation.borrowing import Lenders
from predictors.simulation.changes import Changes
from predictors.simulation.predicted import Quantiles
from predictors.simulation.records import Record
from predictors.simulation.scenarios import CannotSimulate, Knowledge, Simulated, replanned, simulate

TABLES = ("simulations", "simulated_tasks", "simulated_invocations")
_AT_ONCE = 16
_WORTH_IT = 4000
"""Plays below which starting further processes takes longer than it saves."""
_Job = tuple[list[tuple[Record, Record]], Changes]


@dataclass(frozen=True)
class Ensemble:
    """What came of simulating many runs: the simulated ones, and by scenario and run why one could not be."""

    simulated: list[Simulated]
    refused: dict[tuple[str, str], str]

    def tables(self) -> dict[str, pa.Table]:
        """Return the rows of the tables, ready for the warehouse."""
        rows: tuple[list[dict[str, Any]], ...] = (
            [one.summary for one in self.simulated],
            [row for one in self.simulated for row in one.tasks],
            [row for one in self.simulated for row in one.invocations],
        )
        return {name: pa.Table.from_pylist(of) for name, of in zip(TABLES, rows, strict=True)}


def simulate_all(
    records: Sequence[Record],
    lenders: Lenders,
    scenarios: Sequence[Changes],
    knowledge: Knowledge,
    *,
    draws: int,
    seed: int,
    predicted: Mapping[str, Quantiles] | None = None,
    predictor: str = "recorded",
    progress: Callable[[int], None] = lambda _: None,
) -> Ensemble:
    """Simulate every run in every scenario; `progress` is told how many more are done."""
    refused: dict[tuple[str, str], str] = {}
    jobs: list[_Job] = []
    for changes in scenarios:
        planned = []
        for record in records:
            try:
                planned.append((record, replanned(record, changes, lenders)))
            except CannotSimulate as error:
                refused[changes.name, record.run_id] = str(error)
        jobs += [(planned[place : place + _AT_ONCE], changes) for place in range(0, len(planned), _AT_ONCE)]
    simulated: list[Simulated] = []
    plays = sum(len(part) * (2 * draws if changes else 1) for part, changes in jobs)
    workers = cpu_count() if plays >= _WORTH_IT else 1
    asked = (
        delayed(_some)(part, changes, knowledge, draws, seed, _of(part, predicted), predictor) for part, changes in jobs
    )
    done = Parallel(n_jobs=workers, return_as="generator")(asked)
    for (part, _), (found, failed) in zip(jobs, done, strict=True):
        simulated += found
        refused |= failed
        progress(len(part))
    return Ensemble(simulated, refused)


def _of(part: list[tuple[Record, Record]], predicted: Mapping[str, Quantiles] | None) -> dict[str, Quantiles] | None:
    return None if predicted is None else {record.run_id: predicted[record.run_id] for record, _ in part}


def _some(
    part: list[tuple[Record, Record]],
    changes: Changes,
    knowledge: Knowledge,
    draws: int,
    seed: int,
    predicted: dict[str, Quantiles] | None,
    predictor: str,
) -> tuple[list[Simulated], dict[tuple[str, str], str]]:
    found, failed = [], {}
    for record, planned in part:
        quantiles = predicted[record.run_id] if predicted is not None else None
        try:
            one = simulate(
                record, planned, changes, knowledge, draws=draws, seed=seed, predicted=quantiles, predictor=predictor
            )
        except CannotSimulate as error:
            failed[changes.name, record.run_id] = str(error)
        else:
            found.append(one)
    return found, failed

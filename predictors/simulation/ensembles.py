"""Many runs simulated in many scenarios, on all cores, as rows for the warehouse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from joblib import Parallel, cpu_count, delayed

from predictors.simulation.borrowing import Lenders
from predictors.simulation.changes import Changes
from predictors.simulation.knowledge import Knowledge
from predictors.simulation.predicted import Quantiles
from predictors.simulation.records import Record
from predictors.simulation.rows import Simulated
from predictors.simulation.scenarios import CannotSimulate, Simulator, replanned

TABLES = ("simulations", "simulated_tasks", "simulated_invocations")
_AT_ONCE = 16
_WORTH_IT = 4000
"""Plays below which starting further processes takes longer than it saves."""


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
        return {name: _table(of) for name, of in zip(TABLES, rows, strict=True) if of}


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    """Return rows as a table with every column that any of them has."""
    columns = dict.fromkeys(column for row in rows for column in row)
    return pa.table({column: [row.get(column) for row in rows] for column in columns})


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
    cores: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Ensemble:
    """Simulate every run in every scenario; `progress` is told how many more are done. `cores`: all where that pays, if not given."""
    parts = [list(records[place : place + _AT_ONCE]) for place in range(0, len(records), _AT_ONCE)]
    plays = len(records) * draws * (1 + sum(map(bool, scenarios)))
    asked = (
        delayed(_some)(
            [[_replanned(record, changes, lenders) for changes in scenarios] for record in part], part, scenarios, knowledge,
            draws, seed, None if predicted is None else [predicted[record.run_id] for record in part], predictor,
        )
        for part in parts
    )  # fmt: skip
    cores = cores or (cpu_count() if plays >= _WORTH_IT else 1)
    done = Parallel(n_jobs=cores, return_as="generator")(asked)
    simulated: list[Simulated] = []
    refused: dict[tuple[str, str], str] = {}
    for part, (found, failed) in zip(parts, done, strict=True):
        simulated += found
        refused |= failed
        progress(len(part) * len(scenarios))
    return Ensemble(simulated, refused)


def _replanned(record: Record, changes: Changes, lenders: Lenders) -> Record | str:
    """Return the run with the plan that is asked for, or why there is none."""
    try:
        return replanned(record, changes, lenders)
    except CannotSimulate as error:
        return str(error)


def _some(
    planned: list[list[Record | str]],
    records: list[Record],
    scenarios: Sequence[Changes],
    knowledge: Knowledge,
    draws: int,
    seed: int,
    predicted: list[Quantiles] | None,
    predictor: str,
) -> tuple[list[Simulated], dict[tuple[str, str], str]]:
    """Simulate some runs; `planned` holds each as it is planned in each scenario."""
    found: list[Simulated] = []
    failed: dict[tuple[str, str], str] = {}
    for place, (record, plans) in enumerate(zip(records, planned, strict=True)):
        try:
            simulator = Simulator(
                record, knowledge, draws=draws, seed=seed, predicted=predicted[place] if predicted else None, predictor=predictor
            )  # fmt: skip
        except CannotSimulate as error:
            failed |= {(changes.name, record.run_id): str(error) for changes in scenarios}
            continue
        for changes, plan in zip(scenarios, plans, strict=True):
            if isinstance(plan, str):
                failed[changes.name, record.run_id] = plan
                continue
            try:
                found.append(simulator.simulate(changes, plan))
            except CannotSimulate as error:
                failed[changes.name, record.run_id] = str(error)
    return found, failed

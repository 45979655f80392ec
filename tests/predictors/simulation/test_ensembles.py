"""Many runs simulated in many scenarios: the same answer however it is worked out, and a word on those that have none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from predictors.simulation.borrowing import Lenders
from predictors.simulation.changes import Changes, read_changes
from predictors.simulation.ensembles import Ensemble, simulate_all
from predictors.simulation.knowledge import Knowledge, learn
from predictors.simulation.records import Record, read_records
from tests.predictors.worlds import World, home_of
from warehouse.connection import open_current
from warehouse.tables import FACTS

SCENARIOS = (Changes(), read_changes(["memory=512"]), read_changes(["startup_factor=2", "keep_alive_s=60"]))
RUNS = 20


@dataclass(frozen=True)
class Grounds:
    """What runs are simulated on."""

    records: list[Record]
    knowledge: Knowledge

    def simulate(
        self, records: Sequence[Record] | None = None, scenarios: Sequence[Changes] = SCENARIOS, *, seed: int = 3, **more: Any
    ) -> Ensemble:  # fmt: skip
        chosen = self.records if records is None else records
        return simulate_all(chosen, Lenders(self.records), scenarios, self.knowledge, draws=4, seed=seed, **more)


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Grounds:
    """More runs than are simulated at once in one process."""
    with open_current(home_of(tmp_path_factory.mktemp("ensembles"), World(runs=RUNS, gap_s=3.0))) as reader:
        records = read_records(reader)
        return Grounds(records, learn(reader, records))


Rows = dict[str, list[dict[str, str]]]


def rows(ensemble: Ensemble, wanted: Callable[[dict[str, Any]], bool] = lambda row: True) -> Rows:
    """The rows of each table, what they say as text: NaN is NaN."""
    return {
        name: [
            {column: repr(value) for column, value in row.items() if value is not None}
            for row in table.to_pylist()
            if wanted(row)
        ]
        for name, table in ensemble.tables().items()
    }


def makespans(ensemble: Ensemble) -> list[float]:
    return [one.summary["makespan_ms"] for one in ensemble.simulated]


def test_one_core_and_all_cores_give_the_same_rows_in_the_same_order(grounds: Grounds) -> None:
    alone = grounds.simulate(cores=1)
    assert [(one.summary["run_id"], one.summary["scenario"]) for one in alone.simulated] == [
        (record.run_id, changes.name) for record in grounds.records for changes in SCENARIOS
    ]
    assert rows(alone) == rows(grounds.simulate(cores=2))


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(grounds: Grounds) -> None:
    first = rows(grounds.simulate())
    assert first == rows(grounds.simulate())
    assert makespans(grounds.simulate(seed=3)) != makespans(grounds.simulate(seed=4))


def test_what_comes_of_a_run_does_not_depend_on_which_others_are_simulated(grounds: Grounds) -> None:
    every = grounds.simulate()
    one = grounds.records[17]
    alone = grounds.simulate([one], SCENARIOS[1:])
    changed = rows(every, lambda row: row["run_id"] == one.run_id and row["scenario"] != "recorded")
    assert rows(alone) == changed


def test_a_plain_replay_is_the_same_whatever_the_seed(grounds: Grounds) -> None:
    one, other = (rows(grounds.simulate(scenarios=[Changes()], seed=seed)) for seed in (1, 2))
    assert one["simulated_tasks"] == other["simulated_tasks"]
    assert one["simulated_invocations"] == other["simulated_invocations"]


def test_every_run_has_a_row_for_each_scenario_task_and_worker_with_the_columns_of_the_tables(grounds: Grounds) -> None:
    tables = grounds.simulate().tables()
    assert {name: table.num_rows for name, table in tables.items()} == {
        "simulations": RUNS * 3,
        "simulated_tasks": RUNS * 3 * 5,
        "simulated_invocations": sum(len(set(record.worker)) for record in grounds.records) * 3,
    }
    for name, table in tables.items():
        assert set(table.column_names) <= set(FACTS[name].types)
        key = [tuple(row[column] for column in FACTS[name].key) for row in table.to_pylist()]
        assert len(set(key)) == len(key)


def test_progress_is_told_until_everything_is_done(grounds: Grounds) -> None:
    told: list[int] = []
    grounds.simulate(progress=told.append)
    assert sum(told) == RUNS * len(SCENARIOS)
    assert len(told) > 1


def test_a_run_that_is_not_complete_is_refused_in_every_scenario_and_others_are_not(grounds: Grounds) -> None:
    whole, broken = grounds.records[0], replace(grounds.records[1], is_complete=False)
    found = grounds.simulate([whole, broken])
    assert {one.summary["run_id"] for one in found.simulated} == {whole.run_id}
    assert set(found.refused) == {(changes.name, broken.run_id) for changes in SCENARIOS}
    assert set(found.refused.values()) == {
        f"Run {broken.run_id} is not complete, so it cannot be replayed. Hint: --predict needs its DAG only."
    }


def test_a_plan_that_nobody_made_is_refused_in_its_scenario_only(grounds: Grounds) -> None:
    found = grounds.simulate(grounds.records[:3], [Changes(), read_changes(["planner=nobody"])])
    assert len(found.simulated) == 3
    assert set(found.refused) == {("planner=nobody", record.run_id) for record in grounds.records[:3]}
    assert all(f"No plan by nobody for the structure of run {run}" in why for (_, run), why in found.refused.items())


def test_a_run_that_cannot_end_is_refused_and_others_are_not(grounds: Grounds) -> None:
    """Three workers at once are needed by those with a plan that holds its workers until their last task."""
    found = grounds.simulate(scenarios=[read_changes(["max_workers=1"])])
    assert found.refused
    assert len(found.simulated) + len(found.refused) == RUNS
    assert all(why.startswith(f"{run}: ") for (_, run), why in found.refused.items())


def test_nothing_simulated_is_no_table(grounds: Grounds) -> None:
    assert grounds.simulate([]).tables() == {}

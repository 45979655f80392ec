"""What is measured of runs and learnt from them: gaps, set-up, contention, starts."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from predictors.simulation.behaviour import (
    CONTENTIONS,
    NEEDED,
    Behaviour,
    Measured,
    Usual,
    measure,
    size_class,
    works_of,
)
from predictors.simulation.changes import Changes
from predictors.simulation.knowledge import learn
from predictors.simulation.play import SETUP, Rules, play
from predictors.simulation.records import Record, read_records
from predictors.simulation.scenarios import Simulator
from tests.predictors.simulation.logs import diamond, home_of, together
from tests.predictors.simulation.stages import durations, shape
from warehouse.connection import open_current

EXPONENTS = [str(each) for each in CONTENTIONS]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    log = together(diamond(), diamond("without c", 60_000))
    log["tasks"] = [row for row in log["tasks"] if (row["run_id"], row["task_id"]) != ("without c", "c")]
    with open_current(home_of(tmp_path_factory.mktemp("behaviour"), log)) as reader:
        return read_records(reader)


@pytest.fixture(scope="module")
def nothing(records: list[Record]) -> Measured:
    """What is measured where nothing happened."""
    measured = measure(records)
    return Measured(**{each.name: getattr(measured, each.name).iloc[:0] for each in fields(Measured)})


def everything(measured: Measured) -> Behaviour:
    return Behaviour.learn(measured, np.ones(1000, dtype=bool))


def test_gaps_are_what_lies_between_the_recorded_phases(records: list[Record]) -> None:
    """As worked out in `diamond`; of the run that is not complete nothing is measured."""
    gaps = measure(records).gaps
    assert set(gaps["run"]) == {0}
    found = gaps.groupby("kind")["ms"].apply(sorted).to_dict()
    assert found == {
        "submit": [5], "request": [1], "local": [3], "told": [7], "counters": [2, 2, 2], "invocation": [0, 0, 8], "overhead": [4, 4],
    }  # fmt: skip


def test_set_up_is_from_ready_to_the_first_task_beside_what_is_to_be_set_up(records: list[Record]) -> None:
    """w0 has one task that awaits one elsewhere."""
    rows = measure(records).setups[["ms", *SETUP]].to_numpy().tolist()
    assert sorted(rows) == [[10, 1, 0, 0, 0], [25, 1, 1, 0, 0]]


def test_downloads_and_starts_are_measured_where_they_happened(records: list[Record]) -> None:
    measured = measure(records)
    assert sorted(measured.downloads["ms"]) == [20, 30]
    assert measured.starts[["state", "memory_mb", "0.0"]].to_numpy().tolist() == [["cold", "1024", 100]] * 2
    assert measured.executions["is_beside"].tolist() == [True, True, True, False]
    assert sorted(measured.executions["1.0"]) == [40, 50, 60, 70]


def test_a_run_whose_gaps_are_the_usual_ones_is_replayed_exactly(tmp_path: Path) -> None:
    """Five runs, so that each gap is usual."""
    log = together(*(diamond(f"run {number}", 60_000 * number) for number in range(5)))
    with open_current(home_of(tmp_path, log)) as reader:
        records = read_records(reader)
        knowledge = learn(reader, records)
    for record in records:
        found = Simulator(record, knowledge).simulate(Changes(), record)
        assert found.summary["makespan_ms"] == pytest.approx(516)
        assert [row["start_offset_ms"] for row in found.tasks] == pytest.approx([130, 198, 302, 401])
        assert [row["input_wait_ms"] for row in found.tasks] == pytest.approx([0, 0, 24, 34])
        assert [row["requested_offset_ms"] for row in found.invocations] == pytest.approx([5, 192])
        assert [row["ready_offset_ms"] for row in found.invocations] == pytest.approx([105, 292])
        assert [row["released_offset_ms"] for row in found.invocations] == pytest.approx([516, 394])


def test_the_work_of_what_goes_on_beside_each_other_is_what_it_takes_alone() -> None:
    """0 to 10 and 5 to 15: five ms alone, five at 2 ** -c of the speed."""
    first, second = works_of([(0, 10), (5, 15)])
    for place, exponent in enumerate(CONTENTIONS):
        assert first[place] == second[place] == pytest.approx(5 + 5 * 2**-exponent)
    (alone,) = works_of([(3, 10)])
    assert alone == (7,) * len(CONTENTIONS)
    assert works_of([(0, 10), (20, 30)])[1] == pytest.approx((10,) * len(CONTENTIONS))
    assert works_of([]) == []


def two_beside_each_other(contention: float, apart_ms: float) -> list[tuple[float, ...]]:
    """The works of two executions of 100 ms on one worker, as they are taken from when they happened."""
    of = shape([[], []], [0, 0])
    takes = durations(of, execution=100, stored=[0, apart_ms])
    found = play(of, takes, Rules(execution_contention=contention))
    begun = [start + wait for start, wait in zip(found.start, found.wait, strict=True)]
    return works_of([(at, at + took) for at, took in zip(begun, found.execution, strict=True)])


def executions(nothing: Measured, works: list[tuple[float, ...]]) -> Measured:
    rows = [(0, "f", "1024", "12", True, *work) for work in works]
    columns = ["run", "function", "memory_mb", "size", "is_beside", *EXPONENTS]
    return replace(nothing, executions=pd.DataFrame(rows, columns=columns))


@pytest.mark.parametrize("contention", [0.0, 0.3, 0.5, 1.0])
def test_the_contention_of_executions_is_the_one_that_makes_alike_works_alike(
    nothing: Measured, contention: float
) -> None:
    works = [work for apart in range(60) for work in two_beside_each_other(contention, apart)]
    assert everything(executions(nothing, works)).execution_contention == contention
    few = works[: NEEDED - 1]
    assert everything(executions(nothing, few)).execution_contention == 0


def starts(nothing: Measured, rows: list[tuple[object, ...]]) -> Measured:
    return replace(nothing, starts=pd.DataFrame(rows, columns=["run", "state", "environment", "memory_mb", *EXPONENTS]))


def test_starts_contend_as_they_do_in_their_environment_and_else_as_anywhere(
    nothing: Measured, records: list[Record]
) -> None:
    """Where few were seen, as all together do."""

    def seen(environment: str, contention: float, pairs: int) -> list[tuple[object, ...]]:
        works = [work for apart in range(pairs) for work in two_beside_each_other(contention, apart)]
        return [(0, "cold", environment, "1024", *work) for work in works]

    found = everything(starts(nothing, seen("here", 0.5, 60) + seen("aside", 1.0, 10)))
    assert found.contention_of_starts(replace(records[0], environment="here")) == 0.5
    assert found.contention_of_starts(replace(records[0], environment="aside")) == 0.5
    assert found.contention_of_starts(replace(records[0], environment=None)) == 0.5


def test_a_start_usually_takes_what_it_takes_in_that_state_there_with_that_memory(
    nothing: Measured, records: list[Record]
) -> None:
    """Five are enough to speak for themselves; four are not, and stand with the others of their state and environment."""

    def seen(count: int, *key: object, ms: float) -> list[tuple[object, ...]]:
        return [(0, *key, *[ms] * len(EXPONENTS))] * count

    found = everything(
        starts(
            nothing,
            seen(5, "cold", "here", "512", ms=900) + seen(5, "cold", "here", "1024", ms=800) + seen(4, "cold", "here", "2048", ms=100)
            + seen(5, "warm", "here", "1024", ms=200)
        )
    )  # fmt: skip
    record = replace(records[0], environment="here")
    assert found.startup(0.5, "cold", record, 512) == 900
    assert found.startup(0.5, "cold", record, 1024) == 800
    assert found.startup(0.5, "warm", record, 1024) == 200
    assert found.startup(0.5, "warm", record, 4096) == 200
    assert found.startup(0.5, "cold", record, 2048) == found.startup(0.5, "cold", record, 4096) == 800
    assert found.startup(0.0, "cold", record, 4096) == pytest.approx(100)


def test_set_up_is_taken_apart_whatever_a_few_workers_did(nothing: Measured) -> None:
    """10 for the worker, 20, 3 and 5 for the rest; a tenth of the workers were 500 ms late."""
    rng = np.random.default_rng(0)
    counts = np.column_stack([np.ones(200), rng.integers(0, 3, 200), rng.integers(0, 4, 200), rng.integers(0, 2, 200)])
    took = counts @ [10, 20, 3, 5]
    took[::10] += 500
    table = pd.DataFrame({"run": 0, "environment": "here", "ms": took, **dict(zip(SETUP, counts.T, strict=True))})
    found = everything(replace(nothing, setups=table))
    assert found.setup[""] == found.setup["here"] == pytest.approx((10, 20, 3, 5), abs=1)


def test_only_chosen_runs_are_learnt_from(nothing: Measured, records: list[Record]) -> None:
    gaps = [(run, "submit", "here", "p", 10.0 * (run + 1)) for run in (0, 1) for _ in range(5)]
    measured = replace(nothing, gaps=pd.DataFrame(gaps, columns=["run", "kind", "environment", "planner", "ms"]))
    for run in (0, 1):
        found = Behaviour.learn(measured, np.arange(2) == run)
        assert found.gap("submit", records[0]) == 10 * (run + 1)


def test_nothing_seen_takes_nothing(nothing: Measured, records: list[Record]) -> None:
    found = everything(nothing)
    assert found.gap("told", records[0]) == 0
    assert found.setup_of(records[0]) == (0, 0, 0, 0)
    assert (found.execution_contention, found.contention_of_starts(records[0])) == (0, 0)
    assert found.startup(0.5, "cold", records[0], 1024) == 0


def test_where_no_run_is_complete_everything_takes_nothing() -> None:
    assert everything(measure([])).execution_contention == 0


def test_usual_is_the_most_particular_group_that_has_five() -> None:
    """Of x in two there are four: in their stead stand all of x. Of y there are two in all: they stand for themselves."""
    rows = [("x", "one", 3)] * 5 + [("x", "two", 9)] * 4 + [("y", "one", 20)] * 2
    found = Usual.of(pd.DataFrame(rows, columns=["kind", "where", "ms"]), ("kind", "where"), "ms")
    assert (found.at(0.0, "x", "one"), found.at(1.0, "x", "one")) == (3, 3)
    assert (found.at(0.1, "x", "two"), found.at(0.9, "x", "two"), found.at(0.9, "x", "three")) == (3, 9, 9)
    assert (found.at(0.1, "y", "one"), found.at(0.9, "y", "two")) == (20, 20)
    together = Usual.of(pd.DataFrame(rows, columns=["kind", "where", "ms"]), ("kind", "where"), "ms", kept=0)
    assert (together.at(0.1, "y", "one"), together.at(0.7, "y", "one"), together.at(1.0, "z", "one")) == (3, 9, 20)
    nothing = Usual.of(pd.DataFrame(columns=["kind", "ms"]), ("kind",), "ms")
    assert nothing.at(0.5, "x", otherwise=7.0) == 7


def test_a_gap_seldom_seen_is_not_one_of_another_kind(records: list[Record]) -> None:
    found = everything(measure(records))
    gaps = {kind: found.gap(kind, records[0]) for kind in ("submit", "request", "local", "told", "next")}
    assert gaps == {"submit": 5, "request": 1, "local": 3, "told": 7, "next": 0}


def test_sizes_are_alike_within_a_quarter_of_a_power_of_ten() -> None:
    assert size_class(1000) == size_class(1100) == "12"
    assert size_class(1000 * 10**0.25) == "13"
    assert size_class(0) == size_class(1) == "0"
    assert size_class(math.nan) == ""

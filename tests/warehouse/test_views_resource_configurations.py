"""resource_configurations: is CPU a function of memory?"""

import json
from typing import Any

import pytest

from tests.warehouse.views import Row, derived, one

RUNS = [{"run_id": "r", "engine": "octoflows", "environment": "here"}, {"run_id": "s", "engine": "octoflows"}]


def started(number: int, run: str = "r", memory_mb: int | None = 1792, **extra: Any) -> Row:
    return {"invocation_id": f"i{number}", "run_id": run, "memory_mb": memory_mb, "extra": json.dumps(extra)}


def ran(number: int, run: str = "r", memory_mb: int | None = 1792, **extra: Any) -> Row:
    return {"run_id": run, "task_id": f"t{number}", "memory_mb": memory_mb, "extra": json.dumps(extra)}


def configurations(**tables: list[Row]) -> dict[tuple[str | None, int | None], Row]:
    rows = derived("resource_configurations", runs=RUNS, **tables)
    return {(row["environment"], row["memory_mb"]): row for row in rows}


def test_cpu_is_a_function_of_memory_where_one_memory_never_has_two() -> None:
    found = configurations(
        invocations=[started(1, cpus=1.0), started(2, cpus=1), started(3, memory_mb=3584, cpus=2.0)],
        tasks=[ran(1, cpus=1.0), ran(2), ran(3, memory_mb=3584, cpus=3.5), ran(4, run="s", cpus=7)],
    )
    names = ("invocations", "tasks", "cpus_recorded", "cpus_values", "min_cpus", "max_cpus", "is_function_of_memory")
    assert {key: tuple(row[name] for name in names) for key, row in found.items()} == {
        ("here", 1792): (2, 2, 3, 1, 1.0, 1.0, True),
        ("here", 3584): (1, 1, 2, 2, 2.0, 3.5, False),
        (None, 1792): (0, 1, 1, 1, 7.0, 7.0, True),
    }
    assert found["here", 1792]["runs"] == 1


def test_what_no_dump_records_is_no_answer() -> None:
    row = one(list(configurations(invocations=[started(1)], tasks=[ran(1)]).values()))
    assert (row["cpus_recorded"], row["cpus_values"], row["min_cpus"], row["is_function_of_memory"]) == (
        0, 0, None, None,
    )  # fmt: skip


@pytest.mark.parametrize("unset", [-1, 0, "nan", "inf", "two", True, None, [1], {"cpus": 1}])
def test_what_is_not_a_positive_number_is_not_recorded(unset: Any) -> None:
    row = configurations(invocations=[started(1, cpus=unset), started(2, cpus=1)])["here", 1792]
    assert (row["invocations"], row["cpus_recorded"], row["is_function_of_memory"]) == (2, 1, True)


def test_an_unknown_memory_is_a_row_without_an_answer() -> None:
    row = configurations(tasks=[ran(1, memory_mb=None, cpus=1)])["here", None]
    assert (row["tasks"], row["cpus_recorded"], row["cpus_expected"], row["is_function_of_memory"]) == (
        1,
        1,
        None,
        None,
    )


@pytest.mark.parametrize(("memory_mb", "cpus"), [(1024, 0.57), (2048, 1.14), (10240, 5.71), (20000, 6.0), (-1, None)])
def test_octoflows_derives_its_cpus_from_memory(memory_mb: int, cpus: float | None) -> None:
    assert configurations(invocations=[started(1, memory_mb=memory_mb)])["here", memory_mb]["cpus_expected"] == cpus


def test_another_engine_has_no_rule_here() -> None:
    runs = [{"run_id": "r", "engine": "another"}]
    row = one(
        derived("resource_configurations", runs=runs, invocations=[started(1), started(2, run="no such run")])[:1]
    )
    assert row["cpus_expected"] is None


def test_rows_of_no_known_run_stay() -> None:
    rows = derived("resource_configurations", invocations=[started(1), started(2) | {"extra": None}])
    assert [(row["engine"], row["invocations"]) for row in rows] == [(None, 2)]

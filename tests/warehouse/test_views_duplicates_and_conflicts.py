"""duplicate_executions and optimization_conflicts: what ran more than once, and which optimisations get in each other's way."""

import pytest

from tests.warehouse.views import Row, at, derived, one

RUN = {"run_id": "r", "engine": "octoflows", "planner": "P", "workflow": "w"}


def done(task_id: str, start: float, **more: object) -> Row:
    timed = {"started_at": at(start), "execution_ms": 50.0, "memory_mb": 2048}
    return {"run_id": "r", "task_id": task_id, "attempt": 1, "worker_id": f"of {task_id}", **timed, **more}


def acts(task_id: str, optimization: str, stage: str, target: str | None = None) -> Row:
    named = {"optimization": optimization, "stage": stage, "target_task_id": target}
    return {"run_id": "r", "task_id": task_id, **named}


@pytest.mark.parametrize(
    ("taken_in", "used"),
    [
        ([{"download_ms": None}], True),
        ([{"download_ms": 4.0}], False),
        ([{"download_ms": None, "preloaded": True}], False),
        ([], None),
    ],
)
def test_a_duplicate_was_used_where_its_output_was_there_without_a_download(taken_in: list[Row], used: bool | None):
    inputs = [{"run_id": "r", "task_id": "b", "object_id": "a", "upstream_task_id": "a", **row} for row in taken_in]
    applied = acts("b", "taskdup", "applied", "a")
    row = one(
        derived(
            "duplicate_executions",
            runs=[RUN],
            tasks=[done("a", 0), done("b", 100)],
            task_inputs=inputs,
            optimizations=[applied, applied, acts("a", "taskdup", "assigned")],
        )
    )
    assert (row["kind"], row["task_id"], row["by_task_id"], row["was_used"]) == ("taskdup", "a", "b", used)
    assert (row["worker_id"], row["recorded_worker_id"]) == ("of b", "of a")
    assert (row["execution_ms"], row["is_estimate"]) == (50, True)
    assert row["gb_seconds"] == 2048 / 1024 * 0.05
    assert row["upstream_finished_first"]  # a ended at 50, b began at 100


def test_each_attempt_but_the_last_is_a_further_execution():
    rows = derived(
        "duplicate_executions",
        runs=[RUN],
        tasks=[done("a", 0, status="failed"), done("a", 60, worker_id="x", status="succeeded") | {"attempt": 2}],
    )
    row = one(rows)
    assert (row["kind"], row["attempt"], row["was_used"], row["is_estimate"]) == ("attempt", 1, False, False)
    assert (row["worker_id"], row["recorded_worker_id"]) == ("of a", "x")


def conflicts(*rows: Row, **tables: list[Row]) -> list[Row]:
    found = derived("optimization_conflicts", runs=[RUN], optimizations=list(rows), **tables)
    return sorted(found, key=lambda row: row["hook"])


def test_two_optimisations_of_a_task_that_override_the_same_returning_hook_conflict():
    rows = conflicts(
        acts("a", "taskdup", "assigned"),
        acts("a", "wukong", "assigned"),
        acts("b", "taskdup", "applied", "a"),  # b, downstream of a, ran a itself
        tasks=[done("a", 0, upload_ms=3.0), done("b", 90)],
    )
    assert [(row["hook"], row["optimization"], row["other_optimization"]) for row in rows] == [
        ("override_should_upload_output", "taskdup", "wukong"),
        ("update_dependency_counters", "taskdup", "wukong"),
    ]
    assert {(row["applied"], row["other_applied"], row["output_uploaded"]) for row in rows} == {(True, None, True)}


@pytest.mark.parametrize(
    "rows",
    [
        [acts("a", "preload", "assigned"), acts("a", "taskdup", "assigned")],  # other hooks
        [acts("a", "preload", "assigned"), acts("a", "prewarm", "assigned")],  # prewarm's hook returns nothing
        [acts("a", "taskdup", "assigned"), acts("b", "wukong", "assigned")],  # other tasks
        [acts("a", "taskdup", "assigned")],
        [acts("a", "taskdup", "applied", "x"), acts("a", "taskdup", "applied", "y")],  # assigned once, done twice
        [acts("a", "o'ther", "assigned"), acts("a", "wukong", "assigned")],  # not known what it overrides
    ],
)
def test_optimisations_that_share_no_returning_hook_do_not_conflict(rows: list[Row]):
    assert conflicts(*rows) == []


def test_an_optimisation_assigned_twice_to_a_task_conflicts_with_itself():
    rows = conflicts(*[acts("a", "preload", "assigned")] * 3)
    assert [(row["hook"], row["optimization"], row["other_optimization"]) for row in rows] == [
        ("override_handle_inputs", "preload", "preload")
    ]
    assert rows[0]["assigned_pairs"] == 3

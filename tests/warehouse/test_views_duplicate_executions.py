"""duplicate_executions: which tasks ran more than once, why, and what it cost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.views import Row, at, derived, one

RUN = {"run_id": "r", "engine": "octoflows"}


def done(task_id: str, start: float, **more: object) -> Row:
    timed = {"started_at": at(start), "execution_ms": 50.0, "memory_mb": 2048}
    return {"run_id": "r", "task_id": task_id, "attempt": 1, "worker_id": f"of {task_id}", **timed, **more}


def duplicated(task_id: str, by: str, **more: object) -> Row:
    applied = {"run_id": "r", "task_id": by, "optimization": "taskdup", "stage": "applied", "target_task_id": task_id}
    return applied | more


def read(task_id: str, upstream: str | None, download_ms: float | None, **more: object) -> Row:
    row = {"run_id": "r", "task_id": task_id, "object_id": upstream, "upstream_task_id": upstream}
    return row | {"download_ms": download_ms} | more


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
    applied = duplicated("a", "b")
    row = one(
        derived(
            "duplicate_executions",
            runs=[RUN],
            tasks=[done("a", 0), done("b", 100)],
            task_inputs=inputs,
            optimizations=[applied, applied, duplicated("a", "a", stage="assigned", target_task_id=None)],
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


def test_a_task_that_reads_two_objects_of_the_duplicated_task_stands_in_one_row_and_used_it_if_it_downloaded_none():
    tasks = [done("a", 0), *(done(name, 100) for name in "bcd")]
    inputs = [
        read("b", "a", None),
        read("b", "a", None, object_id="a 2"),
        read("c", "a", None),
        read("c", "a", 4.0, object_id="a 2"),
        read("d", "a", None),
        read("d", "a", None, object_id="a 2", preloaded=True),
        read("b", None, 9.0, object_id="literal"),  # not of the upstream task
    ]
    applied = [duplicated("a", by) for by in "bcd"]
    rows = derived("duplicate_executions", runs=[RUN], tasks=tasks, task_inputs=inputs, optimizations=applied)
    assert sorted((row["by_task_id"], row["was_used"]) for row in rows) == [("b", True), ("c", False), ("d", False)]


def test_what_metrics_do_not_tell_is_unknown():
    """Neither the task nor the one that duplicated it left metrics, or one of them did."""
    tasks = [done("a", 0), done("y", 20, memory_mb=None)]
    applied = [duplicated("lost", "gone"), duplicated("lost", "y"), duplicated("a", "gone"), duplicated("a", "y")]
    rows = derived("duplicate_executions", tasks=tasks, optimizations=applied)  # and the run is not known either
    assert sorted(
        (row["task_id"], row["by_task_id"], row["worker_id"], row["recorded_worker_id"], row["execution_ms"])
        for row in rows
    ) == [
        ("a", "gone", None, "of a", 50),
        ("a", "y", "of y", "of a", 50),
        ("lost", "gone", None, None, None),
        ("lost", "y", "of y", None, None),
    ]
    assert {(row["was_used"], row["gb_seconds"]) for row in rows} == {(None, None)}
    early = {(row["task_id"], row["by_task_id"]): row["upstream_finished_first"] for row in rows}
    # a ends at 50, y begins at 20: it did not wait
    assert early == {("a", "gone"): None, ("a", "y"): False, ("lost", "gone"): None, ("lost", "y"): None}


def test_only_a_duplication_that_was_attempted_and_says_of_what_is_a_further_execution():
    events = [
        duplicated("a", "b", stage="assigned"),
        duplicated("a", "b", optimization="preload"),
        {"run_id": "r", "task_id": "b", "optimization": "taskdup", "stage": "applied"},
    ]
    assert derived("duplicate_executions", runs=[RUN], tasks=[done("a", 0), done("b", 9)], optimizations=events) == []


def test_an_attempt_costs_what_it_took_and_whether_it_was_used_is_as_its_status_says():
    tasks = [
        done("a", 0, attempt=None, execution_ms=10.0, memory_mb=1024),  # an unnumbered attempt is a first one
        done("a", 20, attempt=2, execution_ms=20.0, status="succeeded"),
        done("a", 60, attempt=3, execution_ms=30.0, status="failed", worker_id="last"),
    ]
    rows = sorted(
        derived("duplicate_executions", runs=[RUN], tasks=tasks), key=lambda row: row["attempt"] or 1, reverse=True
    )
    assert [(row["attempt"], row["was_used"], row["gb_seconds"]) for row in rows] == [
        (2, True, 2 * 0.020),
        (None, None, 1 * 0.010),
    ]
    assert {(row["worker_id"], row["recorded_worker_id"], row["by_task_id"]) for row in rows} == {
        ("of a", "last", None)
    }


def test_ids_may_be_anything():
    hostile = ["", "'; drop table tasks; --", 'quo"te', "new\nline"]
    tasks = [done(name, 0) for name in hostile]
    inputs = [read("", name, None) for name in hostile[1:]]
    applied = [duplicated(name, "") for name in hostile[1:]]
    rows = derived("duplicate_executions", runs=[RUN], tasks=tasks, task_inputs=inputs, optimizations=applied)
    assert sorted((row["task_id"], row["by_task_id"], row["was_used"]) for row in rows) == sorted(
        (name, "", True) for name in hostile[1:]
    )


@st.composite
def logs(draw: st.DrawFn) -> dict[str, list[Row]]:
    """Two runs that share the ids of their tasks, with attempts, duplications recorded more than once, and inputs."""
    names = st.sampled_from(["a", "b", "c"])
    tables: dict[str, list[Row]] = {"tasks": [], "optimizations": [], "task_inputs": []}
    for run in ({"run_id": "r"}, {"run_id": "s"}):
        for name in draw(st.sets(names)):
            attempts = draw(st.sampled_from([[1], [None], [1, 2, 3], [None, 2]]))
            tables["tasks"] += [done(name, draw(st.integers(0, 99)), attempt=attempt) | run for attempt in attempts]
        tables["optimizations"] += [
            duplicated(task_id, by) | run for task_id, by in draw(st.lists(st.tuples(names, names), max_size=5))
        ]
        for task_id, upstream, object_id in draw(st.sets(st.tuples(names, names, st.sampled_from(["x", "y"])))):
            row = read(task_id, upstream, draw(st.sampled_from([None, 1.0])), object_id=f"{upstream}{object_id}")
            tables["task_inputs"].append(row | run)
    return tables


@settings(max_examples=20, deadline=None)
@given(logs(), st.randoms(use_true_random=False))
def test_every_further_execution_is_one_row(tables: dict[str, list[Row]], random):
    """Every attempt but the last of each task, and every duplication by another task however often it is recorded."""
    rows = derived("duplicate_executions", **tables)
    keys = [(row["run_id"], row["kind"], row["task_id"], row["attempt"], row["by_task_id"]) for row in rows]
    attempts = {(row["run_id"], row["task_id"], row["attempt"]) for row in tables["tasks"]}
    last = {
        (run, task_id): max(n or 1 for r, t, n in attempts if (r, t) == (run, task_id)) for run, task_id, _ in attempts
    }
    expected = {("attempt", run, t, n, None) for run, t, n in attempts if (n or 1) < last[run, t]}
    expected |= {
        ("taskdup", row["run_id"], row["target_task_id"], None, row["task_id"]) for row in tables["optimizations"]
    }
    assert sorted(map(str, keys)) == sorted(str((run, kind, *rest)) for kind, run, *rest in expected)
    shuffled = {name: random.sample(table, len(table)) for name, table in tables.items()}
    assert sorted(map(str, derived("duplicate_executions", **shuffled))) == sorted(map(str, rows))


def test_nothing_ran_twice_where_every_task_ran_once():
    assert derived("duplicate_executions", runs=[RUN], tasks=[done("a", 0), done("b", 0)]) == []
    row = one(derived("duplicate_executions", tasks=[done("a", 0), done("a", 9, attempt=2)]))
    assert (row["kind"], row["is_estimate"], row["upstream_finished_first"]) == ("attempt", False, None)

"""optimization_conflicts: which optimisations of a task get in each other's way."""

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.views import Row, at, derived, one

RUN = {"run_id": "r", "engine": "octoflows", "planner": "P", "workflow": "w"}
HOOKS = {
    "preload": {"override_handle_inputs"},
    "taskdup": {"override_should_upload_output", "update_dependency_counters"},
    "wukong": {"override_should_upload_output", "update_dependency_counters", "override_handle_downstream"},
    "prewarm": set[str](),
    "another": set[str](),
}


def acts(task_id: str, optimization: str, stage: str = "assigned", target: str | None = None) -> Row:
    named = {"optimization": optimization, "stage": stage, "target_task_id": target}
    return {"run_id": "r", "task_id": task_id, **named}


def done(task_id: str, **more: object) -> Row:
    return {"run_id": "r", "task_id": task_id, "attempt": 1, "started_at": at(0), "execution_ms": 1.0, **more}


def conflicts(*rows: Row, runs: list[Row] | None = None, **tables: list[Row]) -> list[Row]:
    runs = [RUN] if runs is None else runs
    found = derived("optimization_conflicts", runs=runs, optimizations=list(rows), **tables)
    return sorted(found, key=lambda row: (row["task_id"], row["hook"], row["optimization"]))


def test_two_optimisations_of_a_task_that_override_the_same_returning_hook_conflict():
    rows = conflicts(
        acts("a", "taskdup", "assigned"),
        acts("a", "wukong", "assigned"),
        acts("b", "taskdup", "applied", "a"),  # b, downstream of a, ran a itself
        tasks=[done("a", upload_ms=3.0), done("b")],
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


EDGES = [{"run_id": "r", "upstream_task_id": "a", "task_id": "b"}]


@pytest.mark.parametrize(
    ("more", "tasks", "applied"),
    [
        ([], [done("a"), done("b")], False),
        ([], [done("a")], None),  # b, which would have recorded it, left no metrics
        ([acts("b", "taskdup", "applied", "a")], [done("b")], True),
        ([acts("a", "taskdup", "applied", "x")], [done("a"), done("b")], False),  # a duplicated another task
    ],
)
def test_a_duplication_is_applied_where_a_task_downstream_recorded_it(more: list[Row], tasks: list[Row], applied):
    rows = conflicts(acts("a", "taskdup"), acts("a", "wukong"), *more, tasks=tasks, edges=EDGES)
    assert [(row["task_id"], row["applied"], row["other_applied"]) for row in rows] == [("a", applied, None)] * 2


def test_a_conflict_is_counted_in_whole_pairs_and_the_output_is_unknown_without_metrics():
    rows = conflicts(*[acts("a", "taskdup")] * 2, *[acts("a", "wukong")] * 3)
    assert [(row["hook"], row["optimization"], row["other_optimization"], row["assigned_pairs"]) for row in rows] == [
        ("override_handle_downstream", "wukong", "wukong", 3),
        ("override_should_upload_output", "taskdup", "taskdup", 1),
        ("override_should_upload_output", "taskdup", "wukong", 6),
        ("override_should_upload_output", "wukong", "wukong", 3),
        ("update_dependency_counters", "taskdup", "taskdup", 1),
        ("update_dependency_counters", "taskdup", "wukong", 6),
        ("update_dependency_counters", "wukong", "wukong", 3),
    ]
    assert {type(row["assigned_pairs"]) for row in rows} == {int}
    assert {(row["output_uploaded"], row["workflow"], row["planner"]) for row in rows} == {(None, "w", "P")}


def test_a_duplication_that_was_done_though_not_assigned_conflicts_without_a_pair_of_assignments():
    rows = conflicts(acts("a", "wukong"), acts("b", "taskdup", "applied", "a"))
    assert {(row["optimization"], row["applied"], row["assigned_pairs"]) for row in rows} == {("taskdup", True, 0)}
    assert len(rows) == 2


@pytest.mark.parametrize(("uploaded", "answer"), [({"upload_ms": 0.0}, True), ({}, False)])
def test_the_last_attempt_tells_whether_the_output_was_uploaded(uploaded: Row, answer: bool):
    tasks = [done("a", upload_ms=3.0) if not answer else done("a"), done("a", **uploaded) | {"attempt": 2}]
    assert one(conflicts(acts("a", "preload"), acts("a", "preload"), tasks=tasks))["output_uploaded"] is answer


def test_a_run_that_is_not_known_has_conflicts_too_and_ids_may_be_anything():
    for name in ("", "'; drop table tasks; --", "new\nline"):
        row = one(conflicts(acts(name, "preload"), acts(name, "preload"), runs=[]))
        assert (row["task_id"], row["workflow"], row["planner"], row["assigned_pairs"]) == (name, None, None, 1)


@st.composite
def assignments(draw: st.DrawFn) -> list[Row]:
    row = st.builds(acts, st.sampled_from(["a", "b"]), st.sampled_from(sorted(HOOKS)))
    runs = st.sampled_from([{"run_id": "r"}, {"run_id": "s"}])
    return [draw(row) | draw(runs) for _ in range(draw(st.integers(0, 9)))]


@settings(max_examples=20, deadline=None)
@given(assignments(), st.randoms(use_true_random=False))
def test_every_pair_of_assignments_that_share_a_returning_hook_is_counted_once(rows: list[Row], random):
    expected: Counter[tuple[str, ...]] = Counter()
    for one_, other in combinations(rows, 2):
        if (one_["run_id"], one_["task_id"]) == (other["run_id"], other["task_id"]):
            names = sorted((one_["optimization"], other["optimization"]))
            for hook in HOOKS[names[0]] & HOOKS[names[1]]:
                expected[one_["run_id"], one_["task_id"], hook, *names] += 1
    found = conflicts(*random.sample(rows, len(rows)), runs=[RUN, RUN | {"run_id": "s"}])
    columns = ("run_id", "task_id", "hook", "optimization", "other_optimization")
    assert len(found) == len(expected)
    assert {tuple(row[name] for name in columns): row["assigned_pairs"] for row in found} == expected

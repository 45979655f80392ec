"""failures: what failed, why, and what else it took down."""

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.views import Row, at, derived, one

RUN = {"run_id": "r", "engine": "e", "submitted_at": at(0), "sink_task_id": "z", "expected_tasks": 4}
DEAD = {"invocation_id": "i", "run_id": "r", "worker_id": "w", "requested_at": at(5), "initial_task_ids": ["b"]}


def done(task_id: str, **more: object) -> Row:
    return {"run_id": "r", "task_id": task_id, "attempt": 1, "started_at": at(0), "execution_ms": 1.0, **more}


def chain(*names: str) -> list[Row]:
    return [
        {"run_id": "r", "upstream_task_id": upstream, "task_id": task_id}
        for upstream, task_id in itertools.pairwise(names)
    ]


def failures(**tables: list[Row]) -> dict[str, list[Row]]:
    """The rows by kind, those of tasks by task."""
    found: dict[str, list[Row]] = {}
    for row in sorted(derived("failures", **({"runs": [RUN]} | tables)), key=lambda row: row["task_id"] or ""):
        found.setdefault(row["kind"], []).append(row)
    return found


def test_a_run_that_went_well_has_no_failure():
    tasks = [done(name) for name in "abcz"]
    assert failures(tasks=tasks, edges=chain("a", "b", "c", "z")) == {}


def test_a_task_that_failed_takes_down_all_that_needs_it():
    tasks = [done("a"), done("b", status="failed", error_type="ValueError", error_message="no", exit_code=3)]
    found = failures(tasks=tasks, edges=chain("a", "b", "c", "z"))
    row = one(found["task_failed"])
    assert (row["task_id"], row["error_type"], row["error_message"], row["exit_code"]) == ("b", "ValueError", "no", 3)
    assert row["tasks_taken_down"] == 2
    assert [(row["task_id"], row["cause_kind"], row["cause_task_id"]) for row in found["task_not_run"]] == [
        ("c", "task_failed", "b"),
        ("z", "task_failed", "b"),
    ]
    assert one(found["run_without_sink"])["cause_task_id"] == "b"
    assert one(found["run_incomplete"])["tasks_taken_down"] == 2


def test_an_attempt_that_was_tried_again_took_nothing_down():
    tasks = [done("a", status="killed"), done("a", status="succeeded") | {"attempt": 2}, *map(done, "bcz")]
    found = failures(tasks=tasks, edges=chain("a", "b", "c", "z"))
    assert found.keys() == {"attempt_failed"}
    assert (one(found["attempt_failed"])["attempt"], one(found["attempt_failed"])["tasks_taken_down"]) == (1, 0)


@pytest.mark.parametrize(
    ("worker", "kind"),
    [
        ({}, "worker_never_ready"),
        ({"ready_at": at(9)}, "worker_without_tasks"),
        ({"ready_at": at(9), "status": "killed"}, "worker_failed"),
        ({"ready_at": at(9), "error_type": "OOM"}, "worker_failed"),
    ],
)
def test_a_worker_that_left_nothing_is_blamed_for_its_tasks_and_what_needs_them(worker: Row, kind: str):
    found = failures(tasks=[done("a")], edges=chain("a", "b", "c", "z"), invocations=[DEAD | worker])
    assert one(found[kind])["tasks_taken_down"] == 3
    assert {
        row["task_id"]: (row["cause_kind"], row["cause_task_id"], row["cause_invocation_id"])
        for row in found["task_not_run"]
    } == dict.fromkeys("bcz", (kind, "b", "i"))
    # the origin took down the other two
    assert [row["tasks_taken_down"] for row in found["task_not_run"]] == [2, 0, 0]


def test_a_worker_is_blamed_for_the_tasks_it_was_planned_to_run():
    planned = [{"run_id": "r", "task_id": "c", "worker_id": "w", "memory_mb": 512}]
    worker = DEAD | {"initial_task_ids": None}
    found = failures(
        tasks=[done("a"), done("b")], edges=chain("a", "b", "c", "z"), planned_tasks=planned, invocations=[worker]
    )
    assert [(row["task_id"], row["cause_task_id"], row["cause_invocation_id"]) for row in found["task_not_run"]] == [
        ("c", "c", "i"),
        ("z", "c", "i"),
    ]


def test_a_task_without_metrics_whose_output_was_used_did_run():
    found = failures(tasks=[done("a"), done("c"), done("z")], edges=chain("a", "b", "c", "z"))
    assert found.keys() == {"task_not_recorded", "run_incomplete"}
    assert (one(found["task_not_recorded"])["task_id"], one(found["task_not_recorded"])["cause_kind"]) == (
        "b",
        "unknown",
    )


def test_what_was_lost_behind_a_task_without_metrics_is_put_down_to_its_dead_worker():
    """b ran on the dead worker and c after it; z and d, which b feeds too, never ran."""
    edges = [*chain("a", "b", "c"), *chain("b", "d", "z")]
    found = failures(tasks=[done("a"), done("c")], edges=edges, invocations=[DEAD])
    assert one(found["task_not_recorded"])["cause_invocation_id"] == "i"
    assert [(row["task_id"], row["cause_task_id"]) for row in found["task_not_run"]] == [("d", "b"), ("z", "b")]
    assert one(found["worker_never_ready"])["tasks_taken_down"] == 2


def test_a_log_of_invocations_alone_has_no_workers_without_tasks():
    assert failures(runs=[{"run_id": "r"}], invocations=[DEAD | {"ready_at": at(9)}]) == {}


def test_a_task_that_failed_comes_before_one_that_did_not_run():
    edges = [*chain("a", "z"), *chain("b", "z")]
    found = failures(tasks=[done("b", status="failed")], edges=edges)
    assert {row["task_id"]: row["cause_task_id"] for row in found["task_not_run"]} == {"a": "a", "z": "b"}


@st.composite
def broken_runs(draw: st.DrawFn) -> tuple[list[str], list[Row], list[Row], list[Row]]:
    """Names, edges (cycles and loops too), tasks that left metrics and workers that may be dead."""
    names = [f"t{number}" for number in range(draw(st.integers(1, 5)))]
    pairs = draw(
        st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), unique=True, min_size=1, max_size=8)
    )
    edges = [{"run_id": "r", "upstream_task_id": a, "task_id": b} for a, b in pairs]
    tasks = [
        done(name, status=draw(st.sampled_from([None, "succeeded", "failed"]))) for name in names if draw(st.booleans())
    ]
    workers = [
        DEAD
        | {
            "invocation_id": f"i{number}",
            "worker_id": f"w{number}",
            "initial_task_ids": draw(st.lists(st.sampled_from(names))),
        }
        for number in range(draw(st.integers(0, 2)))
    ]
    return names, edges, tasks, workers


@settings(max_examples=20, deadline=None)
@given(broken_runs(), st.randoms(use_true_random=False))
def test_every_task_without_metrics_is_counted_once_and_put_down_to_one_origin(broken, random):
    names, edges, tasks, workers = broken
    run = RUN | {"sink_task_id": names[-1], "expected_tasks": None}
    found = failures(runs=[run], edges=edges, tasks=tasks, invocations=workers)
    dag = {row[end] for row in edges for end in ("upstream_task_id", "task_id")} | {names[-1]}
    absent = [*found.get("task_not_run", []), *found.get("task_not_recorded", [])]
    assert Counter(row["task_id"] for row in absent) == Counter(dag - {row["task_id"] for row in tasks})
    assert all(row["cause_task_id"] for row in absent)
    not_run = found.get("task_not_run", [])
    own = sum(row["task_id"] == row["cause_task_id"] for row in not_run)
    taken = sum(row["tasks_taken_down"] for row in [*absent, *found.get("task_failed", [])])
    assert own + taken == len(not_run)
    again = failures(
        runs=[run],
        edges=random.sample(edges, len(edges)),
        tasks=random.sample(tasks, len(tasks)),
        invocations=workers[::-1],
    )
    assert {kind: sorted(map(str, rows)) for kind, rows in again.items()} == {
        kind: sorted(map(str, rows)) for kind, rows in found.items()
    }

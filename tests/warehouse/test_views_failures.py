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


WORKED = {"invocation_id": "j", "run_id": "r", "worker_id": "w", "requested_at": at(7), "ready_at": at(9)}


def test_a_worker_launched_twice_whose_tasks_ran_did_not_fail():
    """Both were ready; the tasks are those of the second launch, the first has none. c is lost for another reason."""
    first = DEAD | {"ready_at": at(8), "initial_task_ids": ["a", "a"]}
    second = WORKED | {"initial_task_ids": ["a"]}
    tasks = [done("a", worker_id="w") | {"started_at": at(10)}]
    planned = [{"run_id": "r", "task_id": name, "worker_id": "w"} for name in "ac"]
    found = failures(
        tasks=tasks, edges=chain("a", "c", "z"), invocations=[first, second], planned_tasks=planned, runs=[RUN]
    )
    assert found.keys() == {"task_not_run", "run_incomplete", "run_without_sink"}
    assert [(row["task_id"], row["cause_kind"], row["worker_id"]) for row in found["task_not_run"]] == [
        ("c", "unknown", "w"),
        ("z", "unknown", None),
    ]


def test_a_worker_that_was_ready_and_left_nothing_failed_if_it_was_given_tasks_that_left_no_metrics():
    """Of a and b, of which only a left metrics: what it was launched with, its id, the worker b was planned on."""
    cases: list[tuple[list[str] | None, str | None, str | None, bool]] = [
        (["b", "b"], "w", None, True),
        (["b"], None, None, True),
        (["a"], None, None, False),  # a flexible worker whose task was run
        (["a"], "w", None, False),
        (["a"], "w", "w", False),  # what it was to run later does not tell
        (None, "w", "w", True),
        (None, "w", "other", False),
        (None, "w", None, False),
        ([], "w", None, False),
    ]
    tables: dict[str, list[Row]] = {"tasks": [], "edges": [], "planned_tasks": [], "invocations": []}
    for number, (launched_with, worker_id, planned_on, _) in enumerate(cases):
        run = {"run_id": f"run {number}"}
        worker = {"invocation_id": f"of {number}", "worker_id": worker_id, "initial_task_ids": launched_with}
        tables["tasks"].append(done("a") | run)
        tables["edges"].append(one(chain("a", "b")) | run)
        tables["planned_tasks"] += [run | {"task_id": "b", "worker_id": planned_on}] if planned_on else []
        tables["invocations"].append(DEAD | {"ready_at": at(9)} | worker | run)
    found = failures(runs=[], **tables)
    assert {row["invocation_id"]: row["tasks_taken_down"] for row in found["worker_without_tasks"]} == {
        f"of {number}": 1 for number, (*_, failed) in enumerate(cases) if failed
    }
    assert {row["run_id"]: row["cause_kind"] for row in found["task_not_run"]} == {
        f"run {number}": "worker_without_tasks" if failed else "unknown" for number, (*_, failed) in enumerate(cases)
    }


def test_of_two_workers_the_one_launched_with_a_task_is_blamed_then_the_later():
    planned = [{"run_id": "r", "task_id": "b", "worker_id": "w2"}]
    workers = [
        DEAD | {"invocation_id": "early"},
        DEAD | {"invocation_id": "late", "requested_at": at(6)},
        DEAD | {"invocation_id": "planned", "worker_id": "w2", "requested_at": at(50), "initial_task_ids": ["a"]},
        DEAD | {"invocation_id": "undated", "requested_at": None},
    ]
    found = failures(tasks=[done("a")], edges=chain("a", "b"), invocations=workers, planned_tasks=planned, runs=[])
    assert one(found["task_not_run"])["cause_invocation_id"] == "late"
    taken_down = {row["invocation_id"]: row["tasks_taken_down"] for row in found["worker_never_ready"]}
    assert taken_down == {"early": 0, "late": 1, "planned": 0, "undated": 0}


@pytest.mark.parametrize(
    ("tables", "lost"),
    [
        ({"runs": [RUN | {"expected_tasks": None}]}, 1),  # the sink alone is known of its DAG
        ({"runs": [RUN | {"expected_tasks": 1}]}, 1),
        ({}, 4),  # four are expected, one is known by name
        ({"edges": chain("a", "z")}, 4),
        ({"edges": chain("a", "b", "c", "d", "z")}, 5),  # more than expected
        ({"edges": chain("a", "z"), "tasks": [done("a")]}, 3),
    ],
)
def test_an_incomplete_run_counts_all_its_tasks_without_metrics(tables: dict[str, list[Row]], lost: int):
    found = failures(**tables)
    assert one(found["run_incomplete"])["tasks_taken_down"] == lost
    assert one(found["run_without_sink"])["tasks_taken_down"] == lost
    assert one(found["run_incomplete"])["happened_at"] == at(0)


def test_a_run_of_which_only_the_edges_are_known_is_incomplete():
    found = failures(runs=[], edges=chain("a", "z"))
    assert {kind: len(rows) for kind, rows in found.items()} == {"task_not_run": 2, "run_incomplete": 1}
    assert one(found["run_incomplete"])["tasks_taken_down"] == 2


@pytest.mark.parametrize("runs", [[], [{"run_id": "r"}]])
def test_a_run_known_from_its_tasks_alone_lost_nothing_that_is_known(runs: list[Row]):
    assert failures(runs=runs, tasks=[done("a")]) == {}


def test_an_unnumbered_attempt_that_failed_is_one_failure_of_its_worker():
    tasks = [done("z", attempt=None, status="killed", worker_id="w", memory_mb=512, function="f")]
    tasks[0]["started_at"] = at(20)
    (row,) = failures(tasks=tasks, invocations=[WORKED], runs=[RUN | {"expected_tasks": 1}])["task_failed"]
    assert (row["attempt"], row["invocation_id"], row["worker_id"], row["status"]) == (None, "j", "w", "killed")
    assert (row["function"], row["memory_mb"], row["happened_at"]) == ("f", 512, at(20))
    assert (row["cause_kind"], row["tasks_taken_down"]) == (None, 0)


def test_tasks_on_a_cycle_are_put_down_to_themselves_and_so_is_what_hangs_on_it():
    found = failures(edges=[*chain("a", "b", "a"), *chain("b", "z")])
    assert [(row["task_id"], row["cause_task_id"], row["tasks_taken_down"]) for row in found["task_not_run"]] == [
        ("a", "a", 0),
        ("b", "b", 0),
        ("z", "z", 0),
    ]


def test_a_task_that_is_said_to_need_itself_is_put_down_to_the_others_it_needs():
    found = failures(edges=[*chain("a", "a"), *chain("x", "a", "z")])
    assert {row["task_id"]: row["cause_task_id"] for row in found["task_not_run"]} == dict.fromkeys("axz", "x")


def test_a_long_chain_is_followed_to_its_beginning():
    names = [f"t{number:04}" for number in range(800)]
    found = failures(edges=chain(*names), runs=[RUN | {"sink_task_id": names[-1]}])
    assert {row["cause_task_id"] for row in found["task_not_run"]} == {names[0]}
    assert [row["tasks_taken_down"] for row in found["task_not_run"]] == [799, *[0] * 799]


def test_ids_may_be_anything():
    hostile = ["", "'; drop table tasks; --", 'quo"te', "new\nline", "\u202e\N{SNOWMAN}", "%_\\"]
    worker = DEAD | {"worker_id": "", "invocation_id": "'", "initial_task_ids": hostile[:1]}
    found = failures(edges=chain(*hostile), invocations=[worker], runs=[RUN | {"sink_task_id": hostile[-1]}])
    assert {row["task_id"]: (row["cause_task_id"], row["cause_invocation_id"]) for row in found["task_not_run"]} == (
        dict.fromkeys(hostile, ("", "'"))
    )
    assert one(found["run_without_sink"])["task_id"] == hostile[-1]


@st.composite
def lost_runs(draw: st.DrawFn) -> dict[str, list[Row]]:
    """Two runs that share their ids: DAGs, plans, attempts and launches, one id launched twice or with a task twice."""
    names = ["a", "b", "c", "d", "e"]
    tables: dict[str, list[Row]] = {"runs": [], "tasks": [], "edges": [], "planned_tasks": [], "invocations": []}
    statuses = st.sampled_from([None, "succeeded", "failed", "killed"])
    for run in ("r", "s"):
        same = {"run_id": run}
        tables["runs"] += draw(st.sampled_from([[], [RUN | same], [RUN | same | {"expected_tasks": None}]]))
        pairs = [(names[a], names[b]) for b in range(len(names)) for a in range(b)]
        for upstream, task_id in draw(st.lists(st.sampled_from(pairs), unique=True, max_size=6)):
            tables["edges"].append(same | {"upstream_task_id": upstream, "task_id": task_id})
        for name in draw(st.sets(st.sampled_from(names))):
            attempts = draw(st.sampled_from([(1,), (None,), (1, 2)]))
            tables["tasks"] += [
                done(name, status=draw(statuses), worker_id=draw(st.sampled_from(["w", "v"])))
                | same
                | {"attempt": attempt}
                for attempt in attempts
            ]
        for name in draw(st.sets(st.sampled_from(names))):
            tables["planned_tasks"].append(
                same | {"task_id": name, "worker_id": draw(st.sampled_from(["w", "v", None]))}
            )
        for number in range(draw(st.integers(0, 3))):
            worker = {
                "invocation_id": f"{run}{number}",
                "worker_id": draw(st.sampled_from(["w", "v", None])),
                "requested_at": draw(st.sampled_from([None, at(0), at(1)])),
                "ready_at": draw(st.sampled_from([None, at(2)])),
                "status": draw(st.sampled_from([None, "succeeded", "timeout"])),
                "initial_task_ids": draw(st.none() | st.lists(st.sampled_from(names), max_size=3)),
            }
            tables["invocations"].append(same | worker)
    return tables


def origin_of(
    task_id: str, upstream: dict[str, list[str]], lost: dict[str, str], failed: set[str], blamed: set[str]
) -> str:
    """Back along the first of the upstream tasks that failed, did not run or, where nothing else explains it, left no record."""
    blocking = sorted(
        (0 if name in failed else 1 if lost[name] == "task_not_run" else 2, name)
        for name in upstream.get(task_id, [])
        if name in failed or (name in lost and (lost[name] == "task_not_run" or task_id not in blamed))
    )
    if task_id in failed or not blocking:
        return task_id
    return origin_of(blocking[0][1], upstream, lost, failed, blamed)


@settings(max_examples=15, deadline=None)
@given(lost_runs())
def test_each_failure_is_one_row_and_each_loss_has_the_origin_found_by_walking_back(tables: dict[str, list[Row]]):
    rows = derived("failures", **tables)
    keys = [(row["run_id"], row["kind"], row["task_id"], row["attempt"]) for row in rows if row["task_id"]]
    keys += [(row["run_id"], row["kind"], row["invocation_id"], None) for row in rows if not row["task_id"]]
    assert len(set(keys)) == len(keys)
    for run in ("r", "s"):
        mine = [row for row in rows if row["run_id"] == run]
        last = {
            row["task_id"]: row["status"]
            for row in sorted(tables["tasks"], key=lambda row: row["attempt"] or 1)
            if row["run_id"] == run
        }
        failed = {name for name, status in last.items() if status in ("failed", "killed")}
        assert {row["task_id"] for row in mine if row["kind"] == "task_failed"} == failed
        upstream: dict[str, list[str]] = {}
        for row in tables["edges"]:
            if row["run_id"] == run:
                upstream.setdefault(row["task_id"], []).append(row["upstream_task_id"])
        known = {name for task_id, names in upstream.items() for name in (task_id, *names)}
        known |= {row["task_id"] for row in tables["planned_tasks"] if row["run_id"] == run}
        known |= {row["sink_task_id"] for row in tables["runs"] if row["run_id"] == run}
        used = {name for task_id, names in upstream.items() if task_id in last for name in names}
        lost = {name: "task_not_recorded" if name in used else "task_not_run" for name in known - last.keys()}
        found = [row for row in mine if row["kind"] in ("task_not_run", "task_not_recorded")]
        assert {row["task_id"]: row["kind"] for row in found} == lost
        dead = {row["invocation_id"]: row for row in mine if row["kind"].startswith("worker_")}
        given_to = [row for row in tables["invocations"] if row["invocation_id"] in dead]
        blamed = {name for row in given_to for name in row["initial_task_ids"] or []}
        their_ids = {row["worker_id"] for row in given_to} - {None}
        planned = [row for row in tables["planned_tasks"] if row["run_id"] == run]
        blamed |= {row["task_id"] for row in planned if row["worker_id"] in their_ids}
        for row in found:
            assert row["cause_task_id"] == origin_of(row["task_id"], upstream, lost, failed, blamed)
            origin = row["cause_task_id"]
            if origin in failed:
                assert (row["cause_kind"], row["cause_invocation_id"]) == ("task_failed", None)
            elif origin in blamed:
                assert row["cause_kind"] == dead[row["cause_invocation_id"]]["kind"]
            else:
                assert (row["cause_kind"], row["cause_invocation_id"]) == ("unknown", None)
        for invocation_id, row in dead.items():
            put_down = [each for each in found if each["cause_invocation_id"] == invocation_id]
            assert row["tasks_taken_down"] == sum(each["kind"] == "task_not_run" for each in put_down)


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


@settings(max_examples=12, deadline=None)
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

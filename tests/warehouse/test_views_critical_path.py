"""critical_path: which chain of tasks decided how long a run took, and what each of them waited for."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.views import Row, at, select, warehouse

RUN = {"run_id": "r", "engine": "e", "submitted_at": at(0), "sink_task_id": "z", "expected_tasks": 3}
PARTS = ("startup_ms", "handover_ms", "input_wait_ms", "execution_ms", "upload_ms", "gap_ms")


def task(task_id: str, start: float, execution: float, worker: str = "w", **more: object) -> Row:
    timed = {"started_at": at(start), "execution_ms": float(execution)}
    return {"run_id": "r", "task_id": task_id, "attempt": 1, "worker_id": worker, **timed, **more}


def edge(upstream: str, task_id: str) -> Row:
    return {"run_id": "r", "upstream_task_id": upstream, "task_id": task_id}


def paths(path: str = "observed", runs: list[Row] | None = None, **tables: list[Row]) -> list[Row]:
    """The steps of run r and, on each, the run's makespan."""
    with warehouse(runs=[RUN] if runs is None else runs, **tables) as connection:
        return select(
            connection,
            "select critical_path.*, makespan_ms from critical_path left join run_summary using (run_id)"
            f" where path = '{path}' order by step",
        )


def parts(row: Row) -> tuple[float | None, ...]:
    return tuple(row[name] for name in PARTS)


def test_it_goes_back_to_the_upstream_that_finished_last_and_says_what_each_step_waited_for():
    """a: 100 to 150; b: 100 to 130; z waits for a, on a worker asked for at 160 and ready at 300, and starts at 320."""
    workers = [
        {"invocation_id": "i1", "run_id": "r", "worker_id": "w", "requested_at": at(10), "ready_at": at(90)},
        {"invocation_id": "i2", "run_id": "r", "worker_id": "w2", "requested_at": at(160), "ready_at": at(300)},
    ]
    first = task("a", 100, 40, input_wait_ms=7.0, upload_ms=3.0, counters_ms=5.0, invocation_ms=15.0)
    last = task("z", 320, 60, "w2", input_wait_ms=8.0, invocation_ms=2.0)
    rows = paths(tasks=[first, task("b", 100, 30), last], invocations=workers, edges=[edge("a", "z"), edge("b", "z")])
    assert [(row["step"], row["steps"], row["task_id"], row["upstream_task_id"]) for row in rows] == [
        (1, 2, "a", None),
        (2, 2, "z", "a"),
    ]
    # a: starting 10 to 90; unexplained 0 to 10 and 90 to 100
    assert parts(rows[0]) == (80, 0, 7, 40, 3, 20)
    # z: a tells until 150 + 5 + 15 = 170, of which 160 to 170 is start-up too; starting 160 to 300; 300 to 320 unexplained;
    # its own invocation counts at the end
    assert parts(rows[1]) == (140, 10 + 2, 8, 60, 0, 20)
    assert [row["step_ms"] for row in rows] == [150, 388 - 150 + 2]
    assert sum(row["step_ms"] for row in rows) == rows[0]["makespan_ms"] == 390


def test_a_task_that_starts_before_its_upstream_finished_has_a_negative_gap():
    rows = paths(tasks=[task("a", 0, 100), task("z", 80, 10)], edges=[edge("a", "z")])
    assert [row["gap_ms"] for row in rows] == [0, -20]
    assert sum(row["step_ms"] for row in rows) == rows[0]["makespan_ms"] == 90


@pytest.mark.parametrize("sink", [[], [task("z", 500, 10, status="failed")]])
def test_a_run_without_a_result_has_the_path_to_the_task_that_finished_last_and_says_so(sink: list[Row]):
    rows = paths(tasks=[task("a", 0, 10), task("b", 20, 30), *sink], edges=[edge("a", "b"), edge("b", "z")])
    assert [row["task_id"] for row in rows] == ["a", "b", *(["z"] if sink else [])]
    assert {row["reaches_sink"] for row in rows} == {False}
    assert rows[0]["makespan_ms"] is None


def test_an_upstream_without_metrics_is_counted_and_leaves_a_gap():
    rows = paths(
        tasks=[task("a", 0, 10), task("z", 90, 10)], edges=[edge("a", "lost"), edge("lost", "z"), edge("a", "z")]
    )
    assert [(row["task_id"], row["upstream_missing"], row["gap_ms"]) for row in rows] == [("a", 0, 0), ("z", 1, 80)]


def test_of_upstreams_that_finish_together_the_first_by_name_is_on_the_path():
    rows = paths(tasks=[task("b", 0, 10), task("a", 0, 10), task("z", 10, 1)], edges=[edge("b", "z"), edge("a", "z")])
    assert [row["task_id"] for row in rows] == ["a", "z"]


def test_an_earlier_attempt_is_in_the_gap():
    again = task("a", 50, 10) | {"attempt": 2}
    rows = paths(tasks=[task("a", 0, 10), again, task("z", 60, 5)], edges=[edge("a", "z")])
    assert [(row["task_id"], row["gap_ms"], row["step_ms"]) for row in rows] == [("a", 50, 60), ("z", 0, 5)]


def test_without_a_submission_durations_stay_and_offsets_are_unknown():
    run = {name: value for name, value in RUN.items() if name != "submitted_at"}
    rows = paths(runs=[run], tasks=[task("a", 0, 10), task("z", 20, 5)], edges=[edge("a", "z")])
    assert [(row["task_id"], row["execution_ms"], row["gap_ms"], row["step_ms"]) for row in rows] == [
        ("a", 10, None, None),
        ("z", 5, None, None),
    ]


@pytest.mark.parametrize("edges", [[edge("z", "z")], [edge("a", "z"), edge("z", "a")], [edge("a'\n;--", "z")]])
def test_a_dag_that_bites_its_own_tail_ends(edges: list[Row]):
    rows = paths(tasks=[task("a", 0, 10), task("z", 20, 5)], edges=edges)
    assert rows[-1]["task_id"] == "z"
    assert len({row["task_id"] for row in rows}) == len(rows) <= 2


def test_the_planned_path_stands_beside_it():
    """Planned: a ends at 30, z may not start before 100 because of its worker; a start-up its times ignore does not count."""
    planned = [
        {"task_id": "a", "startup_ms": 9.0, "start_offset_ms": 0.0, "execution_ms": 30.0, "completion_offset_ms": 30.0},
        {
            "task_id": "z",
            "startup_ms": 70.0,
            "start_offset_ms": 100.0,
            "execution_ms": 5.0,
            "completion_offset_ms": 105.0,
        },
        {"task_id": "b", "start_offset_ms": 0.0, "execution_ms": 1.0, "completion_offset_ms": 1.0},
    ]
    tables = {
        "tasks": [task("b", 0, 50), task("a", 0, 10), task("z", 50, 5)],
        "edges": [edge("a", "z"), edge("b", "z")],
        "planned_tasks": [{"run_id": "r", "on_critical_path": row["task_id"] != "b", **row} for row in planned],
    }
    rows = paths("planned", **tables)
    assert [(row["task_id"], row["startup_ms"], row["gap_ms"], row["step_ms"]) for row in rows] == [
        ("a", 0, 0, 30),
        ("z", 70, 0, 75),
    ]
    assert [row["on_other_path"] for row in rows] == [False, True]
    assert [(row["task_id"], row["on_other_path"]) for row in paths(**tables)] == [("b", False), ("z", True)]


def test_a_run_without_a_plan_has_no_other_path():
    assert [row["on_other_path"] for row in paths(tasks=[task("z", 0, 1)])] == [None]


@st.composite
def dags(draw: st.DrawFn) -> tuple[list[Row], list[Row]]:
    """Tasks t0 to tn, the last being the sink, with edges from lower to higher numbers."""
    size = draw(st.integers(1, 6))
    names = [f"t{number}" for number in range(size)]
    tasks = [
        task(name, draw(st.integers(0, 50)), draw(st.integers(0, 30)), draw(st.sampled_from(["w", "v"])))
        | {"input_wait_ms": draw(st.none() | st.just(3.0)), "invocation_ms": draw(st.none() | st.just(2.0))}
        for name in names
    ]
    pairs = [(a, b) for b in range(size) for a in range(b)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return tasks, [edge(names[a], names[b]) for a, b in edges]


@settings(max_examples=20, deadline=None)
@given(dags(), st.integers(0, 40), st.integers(0, 40), st.randoms(use_true_random=False))
def test_the_steps_are_the_true_ones_and_add_up_to_the_makespan(dag, requested: int, ready: int, random):
    tasks, edges = dag
    finish = {
        row["task_id"]: row["started_at"].timestamp() * 1000 + row["execution_ms"] + (row["input_wait_ms"] or 0)
        for row in tasks
    }
    expected = [tasks[-1]["task_id"]]
    while upstream := [row["upstream_task_id"] for row in edges if row["task_id"] == expected[0]]:
        expected.insert(0, min(upstream, key=lambda name: (-round(finish[name], 3), name)))
    worker = {
        "invocation_id": "i",
        "run_id": "r",
        "worker_id": "w",
        "requested_at": at(requested),
        "ready_at": at(ready),
    }
    shuffled = random.sample(tasks, len(tasks))
    run = RUN | {"sink_task_id": tasks[-1]["task_id"], "expected_tasks": len(tasks)}
    rows = paths(runs=[run], tasks=shuffled, edges=edges, invocations=[worker])
    assert [row["task_id"] for row in rows] == expected
    assert sum(row["step_ms"] for row in rows) == pytest.approx(rows[0]["makespan_ms"], abs=1e-9)
    for row in rows:
        assert sum(value or 0 for value in parts(row)) == pytest.approx(row["step_ms"], abs=1e-9)
        assert row["startup_ms"] >= 0
        assert row["handover_ms"] >= 0

"""critical_path: which chain of tasks decided how long a run took, and what each of them waited for."""

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.views import Row, at, derived, one

RUN = {"run_id": "r", "engine": "e", "submitted_at": at(0), "sink_task_id": "z", "expected_tasks": 3}
PARTS = ("startup_ms", "handover_ms", "input_wait_ms", "execution_ms", "upload_ms", "gap_ms")


def task(task_id: str, start: float, execution: float, worker: str = "w", **more: object) -> Row:
    timed = {"started_at": at(start), "execution_ms": float(execution)}
    return {"run_id": "r", "task_id": task_id, "attempt": 1, "worker_id": worker, **timed, **more}


def edge(upstream: str, task_id: str) -> Row:
    return {"run_id": "r", "upstream_task_id": upstream, "task_id": task_id}


def paths(path: str = "observed", runs: list[Row] | None = None, **tables: list[Row]) -> list[Row]:
    """The steps of run r."""
    rows = derived("critical_path", runs=[RUN] if runs is None else runs, **tables)
    return sorted((row for row in rows if row["path"] == path), key=lambda row: row["step"])


def makespan(runs: list[Row] | None = None, **tables: list[Row]) -> float | None:
    """That of run r in `run_summary`."""
    return one(derived("run_summary", runs=[RUN] if runs is None else runs, **tables))["makespan_ms"]


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
    tables = {"tasks": [first, task("b", 100, 30), last], "invocations": workers}
    rows = paths(edges=[edge("a", "z"), edge("b", "z")], **tables)
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
    assert sum(row["step_ms"] for row in rows) == makespan(**tables) == 390


def test_a_task_that_starts_before_its_upstream_finished_has_a_negative_gap():
    tasks = [task("a", 0, 100), task("z", 80, 10)]
    rows = paths(tasks=tasks, edges=[edge("a", "z")])
    assert [row["gap_ms"] for row in rows] == [0, -20]
    assert sum(row["step_ms"] for row in rows) == makespan(tasks=tasks) == 90


@pytest.mark.parametrize("sink", [[], [task("z", 500, 10, status="failed")]])
def test_a_run_without_a_result_has_the_path_to_the_task_that_finished_last_and_says_so(sink: list[Row]):
    tasks = [task("a", 0, 10), task("b", 20, 30), *sink]
    rows = paths(tasks=tasks, edges=[edge("a", "b"), edge("b", "z")])
    assert [row["task_id"] for row in rows] == ["a", "b", *(["z"] if sink else [])]
    assert {row["reaches_sink"] for row in rows} == {False}
    assert makespan(tasks=tasks) is None


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


def worker(invocation_id: str, worker_id: str | None, requested: float | None, ready: float | None) -> Row:
    times = {
        "requested_at": None if requested is None else at(requested),
        "ready_at": None if ready is None else at(ready),
    }
    return {"invocation_id": invocation_id, "run_id": "r", "worker_id": worker_id, **times}


@pytest.mark.parametrize(
    ("workers", "startup", "gap"),
    [
        ([worker("i", "w", 20, 60)], 40, 60),
        ([worker("i", "w", 60, 20)], 0, 100),  # ready before it was asked for: two clocks
        ([worker("i", "w", 20, 140)], 80, 20),  # a task that starts before its worker is ready: counted until 100
        ([worker("i", "w", -30, 60)], 60, 40),  # asked for before the run was submitted: counted from 0
        ([worker("i", "w", 20, None)], 0, 100),
        ([worker("i", "w", None, 60)], 0, 100),
        ([worker("i", None, 20, 60)], 0, 100),  # a flexible worker whose tasks cannot be told
        ([], 0, 100),
        (
            [worker("i", "w", 10, 30), worker("j", "w", 40, 90), worker("k", "w", 150, 160)],
            50,
            50,
        ),  # the launch before it
    ],
)
def test_a_start_up_counts_where_it_is_recorded_and_else_is_in_the_gap(workers: list[Row], startup: float, gap: float):
    """The task begins at 100."""
    (row,) = paths(tasks=[task("z", 100, 10)], invocations=workers)
    assert (row["startup_ms"], row["gap_ms"], row["step_ms"]) == (startup, gap, 110)


def test_a_dag_of_one_task_is_one_step_and_tells_its_workers_at_the_end():
    tasks = [task("z", 5, 10, counters_ms=3.0, invocation_ms=4.0)]
    (row,) = paths(tasks=tasks)
    assert (row["step"], row["steps"], row["upstream_task_id"], row["reaches_sink"]) == (1, 1, None, True)
    assert parts(row) == (0, 4, None, 10, 0, 5)
    assert row["step_ms"] == makespan(tasks=tasks) == 5 + 10 + 4


@pytest.mark.parametrize(
    ("run", "last"),
    [
        ([{name: value for name, value in RUN.items() if name != "sink_task_id"}], {}),
        ([RUN], {"execution_ms": None}),  # nobody knows when the sink finished
        ([], {}),  # the run is known from its tasks alone
    ],
)
def test_where_no_sink_is_known_to_have_finished_the_path_ends_at_the_last_task_that_did(run: list[Row], last: Row):
    tasks = [task("a", 0, 10), task("b", 10, 20, invocation_ms=9.0), task("z", 10, 5) | last]
    rows = paths(runs=run, tasks=tasks, edges=[edge("a", "b"), edge("a", "z")])
    assert [(row["task_id"], row["reaches_sink"]) for row in rows] == [("a", False), ("b", False)]
    # its invocation_ms is not counted: there is no makespan that would
    assert [row["handover_ms"] for row in rows] == [0, 0 if run else None]
    assert [row["step_ms"] for row in rows] == ([10, 20] if run else [None, None])


def test_what_needs_an_unknown_submission_is_unknown_and_not_zero():
    run = {name: value for name, value in RUN.items() if name != "submitted_at"}
    tasks = [task("a", 0, 10, invocation_ms=4.0), task("z", 20, 5, invocation_ms=2.0)]
    rows = paths(runs=[run], tasks=tasks, edges=[edge("a", "z")], invocations=[worker("i", "w", -20, -10)])
    assert [(row["startup_ms"], row["handover_ms"]) for row in rows] == [(None, 0), (None, None)]
    assert {row["reaches_sink"] for row in rows} == {True}


@pytest.mark.parametrize("runs", [None, []])
def test_a_dag_without_any_task_that_ran_has_no_observed_path(runs: list[Row] | None):
    assert paths(runs=runs, edges=[edge("a", "z")]) == []


def test_a_task_whose_attempt_is_not_numbered_is_on_the_path():
    first = {"attempt": None, "invocation_ms": 3.0}
    tasks = [task("a", 20, 10) | first, task("z", 40, 5) | {"attempt": None}]
    rows = paths(tasks=tasks, edges=[edge("a", "z")], invocations=[worker("i", "w", 0, 15)])
    assert [parts(row) for row in rows] == [(15, 0, None, 10, 0, 5), (0, 3, None, 5, 0, 7)]


def test_a_task_that_is_said_to_need_itself_still_needs_the_others():
    rows = paths(tasks=[task("a", 0, 10), task("z", 20, 5)], edges=[edge("z", "z"), edge("a", "z")])
    assert [(row["task_id"], row["upstream_task_id"]) for row in rows] == [("a", None), ("z", "a")]


HOSTILE = ["", "'; drop table tasks; --", 'quo"te', "new\nline", "\u202e\N{SNOWMAN}", "%_\\"]


def test_ids_may_be_anything():
    tasks = [task(name, 10 * number, 10, name) for number, name in enumerate(HOSTILE)]
    edges = [edge(a, b) for a, b in pairwise(HOSTILE)]
    rows = paths(runs=[RUN | {"sink_task_id": HOSTILE[-1]}], tasks=tasks, edges=edges)
    assert [row["task_id"] for row in rows] == [row["worker_id"] for row in rows] == HOSTILE
    assert {row["gap_ms"] for row in rows} == {0}


def planned(task_id: str, start: float | None, end: float | None, **more: object) -> Row:
    times = {"start_offset_ms": start, "completion_offset_ms": end}
    return {"run_id": "r", "task_id": task_id, "on_critical_path": True, **times, **more}


def test_a_planned_path_reaches_the_sink_if_its_last_task_is_the_sink():
    tables = {"planned_tasks": [planned("a", 0, 10, execution_ms=10.0), planned("z", 10, 15, execution_ms=5.0)]}
    assert [row["reaches_sink"] for row in paths("planned", **tables)] == [True, True]
    elsewhere = [RUN | {"sink_task_id": "a"}]
    assert [row["reaches_sink"] for row in paths("planned", runs=elsewhere, **tables)] == [False, False]
    assert [row["reaches_sink"] for row in paths("planned", runs=[], **tables)] == [False, False]


def test_a_plan_without_times_has_steps_of_unknown_length():
    rows = paths(
        "planned", planned_tasks=[planned("z", None, None, startup_ms=7.0, execution_ms=5.0), planned("a", 0, 9)]
    )
    assert [(row["task_id"], row["startup_ms"], row["gap_ms"], row["step_ms"]) for row in rows] == [
        ("a", 0, None, 9),  # its execution is not known
        ("z", None, None, None),
    ]
    (row,) = paths("planned", planned_tasks=[planned("z", 4, 9, startup_ms=7.0, execution_ms=5.0, upload_ms=None)])
    assert parts(row) == (4, 0, None, 5, 0, 0)


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, list[Row]]:
    """Runs that share the ids of their tasks, with whatever edges, sinks and submissions."""
    names = ["a", "b", "c", "d"]
    tables: dict[str, list[Row]] = {"runs": [], "tasks": [], "edges": [], "planned_tasks": []}
    for run in ("r", "s"):
        known = {"run_id": run, "sink_task_id": draw(st.none() | st.sampled_from([*names, "lost"]))}
        tables["runs"] += draw(st.sampled_from([[], [known | {"submitted_at": at(0)}], [known]]))
        for name in draw(st.sets(st.sampled_from(names))):
            start, took = draw(st.integers(0, 9)), draw(st.integers(0, 3))
            tables["tasks"].append(task(name, start, took) | {"run_id": run, "attempt": draw(st.none() | st.just(1))})
        pairs = st.tuples(st.sampled_from([*names, "lost"]), st.sampled_from(names))
        tables["edges"] += [edge(*pair) | {"run_id": run} for pair in draw(st.lists(pairs, unique=True, max_size=8))]
        for name in draw(st.sets(st.sampled_from(names))):
            tables["planned_tasks"].append(planned(name, draw(st.none() | st.integers(0, 9)), 9) | {"run_id": run})
    return tables


def path_of(run: str, tables: dict[str, list[Row]]) -> list[str]:
    """Back from the sink, or the last task, along the upstream that finished last, until a task comes again."""
    ends = {
        row["task_id"]: row["started_at"] + timedelta(milliseconds=row["execution_ms"])
        for row in tables["tasks"]
        if row["run_id"] == run
    }

    def last(names: list[str]) -> list[str]:
        return sorted(sorted(names), key=lambda name: ends[name], reverse=True)[:1]

    sinks = [row["sink_task_id"] for row in tables["runs"] if row["run_id"] == run and row["sink_task_id"] in ends]
    path: list[str] = []
    here = sinks or last(list(ends))
    while here and here[0] not in path:
        path.insert(0, here[0])
        upstream = [row for row in tables["edges"] if (row["run_id"], row["task_id"]) == (run, path[0])]
        here = last([row["upstream_task_id"] for row in upstream if row["upstream_task_id"] in ends.keys() - {path[0]}])
    return path


@settings(max_examples=15, deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_every_run_has_one_path_of_each_kind_whatever_its_dag(tables: dict[str, list[Row]], random):
    rows = derived("critical_path", **tables)
    assert len({(row["run_id"], row["path"], row["step"]) for row in rows}) == len(rows)
    for run in ("r", "s"):
        for path in ("observed", "planned"):
            mine = [row for row in rows if (row["run_id"], row["path"]) == (run, path)]
            mine.sort(key=lambda row: row["step"])
            found = [row["task_id"] for row in mine]
            assert [(row["step"], row["steps"]) for row in mine] == [(n + 1, len(mine)) for n in range(len(mine))]
            assert [row["upstream_task_id"] for row in mine] == [None, *found][: len(found)]
            if path == "observed":
                assert found == path_of(run, tables)
            else:
                assert sorted(found) == sorted(
                    row["task_id"] for row in tables["planned_tasks"] if row["run_id"] == run
                )
    shuffled = {name: random.sample(table, len(table)) for name, table in tables.items()}
    assert sorted(map(str, derived("critical_path", **shuffled))) == sorted(map(str, rows))


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


@settings(max_examples=12, deadline=None)
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
    assert sum(row["step_ms"] for row in rows) == pytest.approx(makespan([run], tasks=tasks), abs=1e-9)
    for row in rows:
        assert sum(value or 0 for value in parts(row)) == pytest.approx(row["step_ms"], abs=1e-9)
        assert row["startup_ms"] >= 0
        assert row["handover_ms"] >= 0

"""worker_active_periods (and worker_times, invocation_tasks under it): how long each worker was active, and with what."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.views import Row, at, derived, one, select, warehouse

RUN = {"run_id": "r", "environment": "here", "engine": "e", "submitted_at": at(0)}
WORKER = {
    "invocation_id": "i1",
    "run_id": "r",
    "worker_id": "w1",
    "memory_mb": 2048,
    "requested_at": at(100),
    "ready_at": at(900),
}
TASK = {"run_id": "r", "task_id": "a", "attempt": 1, "worker_id": "w1", "started_at": at(1000), "execution_ms": 100.0}


def period(worker: Row | None = None, *tasks: Row, **tables: list[Row]) -> Row:
    rows = derived(
        "worker_active_periods", runs=[RUN], invocations=[WORKER | (worker or {})], tasks=list(tasks), **tables
    )
    return one(rows)


def times(row: Row) -> tuple[float | None, ...]:
    return tuple(row[name] for name in ("startup_ms", "active_ms", "busy_ms", "idle_ms", "active_ms_without_startup"))


def test_a_worker_is_active_from_its_request_to_its_tasks_last_release():
    task = TASK | {"input_wait_ms": 10.0, "upload_ms": 20.0, "counters_ms": 5.0, "invocation_ms": 65.0}
    row = period(None, task)  # the task lasts from 1000 to 1000 + 10 + 100 + 20 + 5 + 65 = 1200
    assert times(row) == (800, 1100, 200, 100, 200)  # idle from 900 to 1000
    assert (row["first_task_at"], row["last_task_at"], row["released_at"]) == (at(1000), at(1200), at(1200))


def test_busy_is_the_union_of_its_tasks_not_their_sum():
    tasks = [
        TASK,  # 1000 to 1100
        TASK | {"task_id": "b", "started_at": at(1050)},  # to 1150
        TASK | {"task_id": "c", "started_at": at(1010), "execution_ms": 20.0},  # inside a
        TASK | {"task_id": "d", "started_at": at(1300), "execution_ms": 50.0},
    ]
    assert times(period(None, *tasks)) == (800, 1250, 200, 250, 350)  # busy 1000-1150 and 1300-1350


def test_the_recorded_end_comes_before_that_of_the_tasks_and_bounds_them():
    assert times(period({"finished_at": at(1500)}, TASK)) == (800, 1400, 100, 500, 500)
    assert times(period({"finished_at": at(1060)}, TASK)) == (800, 960, 60, 100, 60)


def test_a_task_that_seems_to_start_before_its_worker_was_ready_is_flagged_and_kept():
    row = period(None, TASK | {"started_at": at(850)})  # 850 to 950, 50 of them while starting
    assert row["task_before_ready"]
    assert times(row) == (800, 850, 100, 0, 100)
    early = period(
        None, TASK | {"started_at": at(50)}
    )  # even before the request: 100 to 150 is within the active period
    assert times(early) == (800, 50, 50, 0, 100)


@pytest.mark.parametrize(
    ("worker", "tasks"),
    [
        ({}, []),
        ({"ready_at": None}, []),
        ({"finished_at": at(50)}, [TASK]),  # two clocks disagree
        ({"requested_at": None}, [TASK]),
        ({"worker_id": None}, [TASK]),  # its tasks cannot be told
        ({}, [TASK | {"execution_ms": None}]),
        ({}, [TASK | {"started_at": None}]),
    ],
)
def test_a_period_without_two_ends_is_unknown(worker: Row, tasks: list[Row]):
    row = period(worker, *tasks)
    assert (row["active_ms"], row["busy_ms"], row["idle_ms"]) == (None, None, None)


@pytest.mark.parametrize(
    ("worker", "tasks", "outcome"),
    [
        ({}, [TASK], "worked"),
        ({"ready_at": None}, [TASK], "worked"),
        ({}, [], "no_tasks"),
        ({"ready_at": None}, [], "never_ready"),
        ({"ready_at": None, "finished_at": at(2000)}, [], None),  # a log that records no tasks
        ({"status": "killed"}, [TASK], "killed"),
        ({"status": "succeeded"}, [], "succeeded"),
    ],
)
def test_what_became_of_a_worker(worker: Row, tasks: list[Row], outcome: str | None):
    assert period(worker, *tasks)["outcome"] == outcome


def test_without_a_recorded_request_only_the_end_and_the_work_are_known():
    worker = {"requested_at": None, "finished_at": at(3000)}
    row = period(worker, TASK)
    assert (row["requested_at"], row["released_at"]) == (at(900), at(3000))  # asked for no later than it was ready
    assert [row[name] for name in ("startup_ms", "active_ms", "busy_ms", "idle_ms")] == [None] * 4


def test_a_worker_launched_twice_has_the_tasks_started_after_each_was_ready_where_requests_are_not_recorded():
    tasks = [TASK | {"task_id": name, "started_at": at(moment)} for name, moment in (("a", 1000), ("b", 6000))]
    launches = [WORKER | {"requested_at": None, "ready_at": at(900)}]
    launches.append(launches[0] | {"invocation_id": "i2", "ready_at": at(5500)})
    rows = derived("invocation_tasks", runs=[RUN], invocations=launches, tasks=tasks)
    assert {(row["invocation_id"], row["task_id"]) for row in rows} == {(WORKER["invocation_id"], "a"), ("i2", "b")}


def test_a_worker_launched_twice_has_the_tasks_started_after_each_request():
    again = WORKER | {"invocation_id": "i2", "requested_at": at(5000), "ready_at": at(5500)}
    tasks = [
        TASK,
        TASK | {"task_id": "b", "started_at": at(6000)},
        TASK | {"task_id": "early", "started_at": at(20)},  # before any request: the first's, clocks differ
    ]
    owned = derived("invocation_tasks", runs=[RUN], invocations=[WORKER, again], tasks=tasks)
    assert {(row["invocation_id"], row["task_id"]) for row in owned} == {("i1", "a"), ("i1", "early"), ("i2", "b")}


def test_another_runs_worker_of_the_same_name_is_another_worker():
    other = WORKER | {"invocation_id": "i2", "run_id": "r2"}
    owned = derived("invocation_tasks", invocations=[WORKER, other], tasks=[TASK])
    assert [row["invocation_id"] for row in owned] == ["i1"]


def test_a_container_stays_warm_for_the_keep_alive_and_says_who_took_it_over():
    """Labels: warm 4.5 s after its container was free (0.4 s after the first worker's release), cold after 100 s."""
    later = {"requested_at": at(6000), "ready_at": at(6000), "reported_state": "warm"}
    much_later = {"requested_at": at(106400), "ready_at": at(106400), "reported_state": "cold"}
    workers = [
        WORKER | {"reported_state": "cold"},
        WORKER | {"invocation_id": "i2", "worker_id": "w2"} | later,
        WORKER | {"invocation_id": "i3", "worker_id": "w3"} | much_later,
    ]
    tasks = [TASK, TASK | {"task_id": "b", "worker_id": "w2", "started_at": at(5900)}]
    with warehouse(runs=[RUN], invocations=workers, tasks=tasks) as connection:
        rows = {row["invocation_id"]: row for row in select(connection, "from worker_active_periods")}
        bounds = one(select(connection, "from keep_alive where basis = 'labels'"))
    # i1 is released at 1100, free at 1500, i2 comes at 6000: 4500; i2 at 6000, free at 6400, i3 comes at 106400: 100000
    assert (bounds["lower_ms"], bounds["upper_ms"], bounds["keep_alive_ms"]) == (4500, 100000, 52250)
    assert rows["i1"]["keep_warm_until"] == at(1100 + 52250)
    assert [rows[name]["reused_invocation_id"] for name in ("i1", "i2", "i3")] == [None, "i1", None]


@st.composite
def workers_tasks(draw: st.DrawFn) -> list[Row]:
    milliseconds = st.integers(0, 60)
    return [
        TASK
        | {
            "task_id": f"t{number}",
            "started_at": at(draw(milliseconds)),
            "execution_ms": float(draw(milliseconds)),
            "invocation_ms": draw(st.none() | st.just(7.0)),
        }
        for number in range(draw(st.integers(1, 5)))
    ]


@settings(max_examples=25, deadline=None)
@given(workers_tasks(), st.integers(0, 40), st.none() | st.integers(0, 80))
def test_every_millisecond_is_starting_busy_or_idle(tasks: list[Row], ready: int, end: int | None):
    """Against counting milliseconds one by one."""
    worker = {"requested_at": at(10), "ready_at": at(ready), "finished_at": None if end is None else at(end)}
    row = period(worker, *tasks)
    spans = [
        (start, start + int(task["execution_ms"] + (task["invocation_ms"] or 0)))
        for task in tasks
        for start in [round((task["started_at"] - at(0)).total_seconds() * 1000)]
    ]
    last = end if end is not None else max(until for _, until in spans)
    if last < 10:
        assert row["active_ms"] is None
        return
    active = set(range(10, last))
    busy = {moment for start, until in spans for moment in range(start, until)} & active
    starting = set(range(10, ready)) & active
    assert row["active_ms"] == len(active)
    assert row["busy_ms"] == len(busy)
    assert row["idle_ms"] == len(active - busy - starting)

"""run_summary: what each run was and what it took."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.test_views_task_times import attempts, inputs
from tests.warehouse.views import Row, at, derived, one, select, warehouse

RUN = {"run_id": "r", "submitted_at": at(0), "sink_task_id": "b", "expected_tasks": 2, "environment": "here"}
FIRST = {"run_id": "r", "task_id": "a", "attempt": 1, "worker_id": "w1", "started_at": at(1000), "execution_ms": 100.0}
SINK = FIRST | {"task_id": "b", "worker_id": "w2", "started_at": at(2000), "execution_ms": 500.0}
TASKS = [FIRST, SINK]
WORKER = {
    "invocation_id": "i1",
    "run_id": "r",
    "worker_id": "w1",
    "memory_mb": 2048,
    "requested_at": at(100),
    "ready_at": at(900),
}
WORKERS = [WORKER, WORKER | {"invocation_id": "i2", "worker_id": "w2", "requested_at": at(1100), "ready_at": at(1500)}]


def summary(run: Row = RUN, **tables: list[Row]) -> Row:
    return one(derived("run_summary", runs=[run], **tables))


def test_makespan_runs_from_submission_to_the_sinks_last_word():
    sink = SINK | {"input_wait_ms": 10.0, "upload_ms": 5.0, "counters_ms": 99.0, "invocation_ms": 0.5}
    assert summary(tasks=[FIRST, sink])["makespan_ms"] == 2515.5  # 2000 + 10 + 500 + 5 + 0.5; counters are not in it


@pytest.mark.parametrize(
    ("run", "tasks"),
    [
        (RUN, [FIRST]),  # the sink left no metrics
        (RUN | {"submitted_at": None}, TASKS),
        (RUN | {"sink_task_id": None}, TASKS),
        (RUN, [FIRST, SINK | {"started_at": None}]),
    ],
)
def test_makespan_is_null_where_an_end_of_it_is_unknown(run: Row, tasks: list[Row]):
    assert summary(run, tasks=tasks)["makespan_ms"] is None


def test_makespan_is_that_of_the_sinks_last_attempt():
    assert summary(tasks=[*TASKS, SINK | {"attempt": 2, "started_at": at(4000)}])["makespan_ms"] == 4500


@pytest.mark.parametrize(
    ("run", "tasks", "makespan"),
    [
        (RUN | {"sink_task_id": None}, TASKS, 7000),  # no sink is named: the end that the source records
        (RUN, [FIRST], 7000),  # the sink left no metrics
        (RUN, [FIRST, SINK | {"started_at": None}], 7000),
        (RUN, TASKS, 2500),  # the sink says when it ended
        (RUN, [FIRST, SINK | {"status": "failed"}], None),
        (RUN | {"sink_task_id": None}, [FIRST | {"status": "killed"}, SINK], None),
        (RUN | {"sink_task_id": None}, [FIRST | {"status": "killed"}, FIRST | {"attempt": 2}, SINK], 7000),
        (RUN | {"submitted_at": None, "sink_task_id": None}, TASKS, None),
        (RUN | {"submitted_at": at(7001), "sink_task_id": None}, TASKS, None),  # clocks disagree
    ],
)
def test_makespan_ends_as_the_run_is_recorded_to_end_where_no_sink_tells(run: Row, tasks: list[Row], makespan):
    assert summary(run | {"finished_at": at(7000)}, tasks=tasks)["makespan_ms"] == makespan


EDGES = [{"run_id": "r", "upstream_task_id": "a", "task_id": "b"}]


@pytest.mark.parametrize(
    ("expected", "edges", "tasks", "answer"),
    [
        (2, [], TASKS, (True, 2, 2)),
        (2, [], [FIRST], (False, 2, 1)),
        (2, [], [FIRST, FIRST | {"attempt": 2}], (False, 2, 1)),  # two attempts are one task
        (None, EDGES, TASKS, (True, 2, 2)),
        (None, EDGES, [FIRST], (False, 2, 1)),
        (2, EDGES, [FIRST, SINK | {"task_id": "not in the DAG"}], (False, 2, 2)),
        (None, [], TASKS, (None, None, 2)),  # no DAG: it cannot be known
        (2, [], [], (False, 2, 0)),
        (None, [], [], (None, None, 0)),
    ],
)
def test_a_run_is_complete_when_every_task_of_its_dag_left_metrics(expected, edges, tasks, answer):
    row = summary(RUN | {"expected_tasks": expected}, edges=edges, tasks=tasks)
    assert (row["is_complete"], row["tasks_expected"], row["tasks_seen"]) == answer


def test_a_run_without_a_dag_is_complete_where_its_end_is_recorded():
    run = RUN | {"expected_tasks": None, "finished_at": at(7000)}
    assert summary(run, tasks=TASKS)["is_complete"] is True
    assert summary(run)["is_complete"] is None  # no task is known either
    assert summary(run, tasks=[FIRST], edges=EDGES)["is_complete"] is False


def test_sums_are_over_attempts_and_count_a_phase_that_did_not_happen_as_zero():
    row = summary(
        tasks=[
            FIRST | {"input_wait_ms": 1.0, "upload_ms": 2.0, "output_bytes": 10, "literal_bytes": 1},
            SINK | {"output_bytes": 20, "literal_bytes": 2},
            SINK | {"attempt": 2, "output_bytes": 30, "upload_ms": 4.0, "literal_bytes": 2},
        ],
        task_inputs=[
            {"run_id": "r", "task_id": "b", "object_id": "o", "input_bytes": 100, "download_ms": 8.0},
            {"run_id": "r", "task_id": "b", "object_id": "p", "input_bytes": 1000},
        ],
    )
    assert row["execution_ms"] == 1100  # 100 + 500 + 500
    assert (row["input_wait_ms"], row["upload_ms"], row["download_ms"]) == (1, 6, 8)
    assert (row["downloaded_bytes"], row["input_bytes"]) == (100, 1103)  # 1 + (100 + 1000 + 2): read once
    assert (row["output_bytes"], row["uploaded_bytes"]) == (60, 40)  # the second was not uploaded


def test_what_no_task_says_is_unknown():
    row = summary(tasks=[FIRST | {"execution_ms": None}])
    sizes = ("execution_ms", "downloaded_bytes", "input_bytes", "output_bytes")
    assert [row[name] for name in sizes] == [None] * 4
    assert [row[name] for name in ("input_wait_ms", "download_ms", "upload_ms", "uploaded_bytes")] == [0] * 4


SUMS = (
    "execution_ms", "input_wait_ms", "download_ms", "upload_ms", "downloaded_bytes", "uploaded_bytes", "input_bytes",
    "output_bytes", "startup_ms", "gb_seconds_derived", "cost_usd",
)  # fmt: skip


def test_a_run_that_left_nothing_stays_and_its_sums_are_null():
    row = summary(prices=[{"environment": "default", "gb_second_usd": 1.0, "request_usd": 1.0}])
    assert [row[name] for name in SUMS] == [None] * len(SUMS)
    assert [row[name] for name in ("workers", "cold_starts", "warm_starts", "unknown_starts")] == [None] * 4
    assert (row["tasks_seen"], row["failed_tasks"], row["killed_workers"]) == (0, 0, 0)


def test_starts_are_counted_as_reported_and_every_worker_is_in_one_state():
    states = ["cold", "cold", "warm", None, "lukewarm"]
    row = summary(invocations=[WORKER | {"invocation_id": str(i), "reported_state": s} for i, s in enumerate(states)])
    assert [row[n] for n in ("workers", "cold_starts", "warm_starts", "unknown_starts")] == [5, 2, 1, 2]


def test_a_source_without_invocations_has_its_tasks_workers_and_unknown_starts():
    row = summary(tasks=[*TASKS, FIRST | {"task_id": "c"}])
    assert [row[n] for n in ("workers", "cold_starts", "warm_starts", "unknown_starts")] == [2, None, None, 2]
    assert (row["startup_ms"], row["gb_seconds_derived"], row["cost_usd"]) == (None, None, None)
    assert summary(tasks=[FIRST | {"worker_id": None}])["workers"] is None


def test_startup_adds_up_workers_that_became_ready():
    dead = WORKER | {"invocation_id": "i3", "worker_id": "w3", "ready_at": None}
    assert summary(invocations=[*WORKERS, dead])["startup_ms"] == 1200  # 800 + 400
    assert summary(invocations=[dead])["startup_ms"] is None


@pytest.mark.parametrize(
    ("worker", "tasks", "gb_seconds"),
    [
        ({}, [FIRST], 2.0),  # 2 GB from 100 to 1100, when its task ended
        ({}, [FIRST | {"counters_ms": 10.0, "invocation_ms": 490.0}], 3.0),  # until it told the others, at 1600
        ({}, [FIRST, FIRST | {"task_id": "b", "execution_ms": None}], 2.0),
        ({"finished_at": at(600)}, [FIRST], 1.0),  # what the source says comes first
        ({}, [], 1.6),  # nothing but the start: 100 to 900
        ({"ready_at": None}, [], None),  # no end
        ({"finished_at": at(50)}, [FIRST], None),  # clocks disagree
        ({"memory_mb": None}, [FIRST], None),
        ({"requested_at": None}, [FIRST], None),
        ({"worker_id": None}, [FIRST], 1.6),  # its tasks cannot be told
    ],
)
def test_gb_seconds_are_memory_times_request_to_end(worker: Row, tasks: list[Row], gb_seconds: float | None):
    row = summary(invocations=[WORKER | worker], tasks=tasks)
    assert row["gb_seconds_derived"] == (None if gb_seconds is None else pytest.approx(gb_seconds))


def test_a_worker_id_launched_twice_is_paid_for_its_own_tasks():
    again = WORKER | {"invocation_id": "i2", "requested_at": at(5000), "ready_at": at(5500)}
    tasks = [FIRST, FIRST | {"task_id": "b", "started_at": at(6000)}]
    row = summary(invocations=[WORKER, again], tasks=tasks)
    assert row["gb_seconds_derived"] == pytest.approx(4.2)  # 2 GB x (1100 - 100) + 2 GB x (6100 - 5000)
    assert row["workers"] == 2


PRICE = {"gb_second_usd": 10.0, "request_usd": 1.0}


@pytest.mark.parametrize(
    ("environment", "prices", "cost"),
    [
        ("here", [PRICE | {"environment": "here"}], 62.0),  # 6 GB-s x 10 + 2 requests x 1
        ("there", [PRICE | {"environment": "here"}], None),
        ("there", [PRICE | {"environment": "default"}], 62.0),
        (None, [PRICE | {"environment": "default"}], 62.0),
        (
            "here",
            [{"environment": "here", "gb_second_usd": 1.0, "request_usd": 0.0}, PRICE | {"environment": "default"}],
            6.0,
        ),
        ("here", [{"environment": "here", "gb_second_usd": 1.0}, PRICE | {"environment": "default"}], 8.0),
        ("here", [{"environment": "here", "gb_second_usd": 1.0}], None),
        ("here", [], None),
    ],
)
def test_cost_is_priced_per_environment_else_by_default(environment, prices: list[Row], cost: float | None):
    ends = [WORKERS[0] | {"finished_at": at(1100)}, WORKERS[1] | {"finished_at": at(3100)}]  # 1 s and 2 s of 2 GB
    row = summary(RUN | {"environment": environment}, invocations=ends, prices=prices)
    assert row["gb_seconds_derived"] == pytest.approx(6)
    assert row["cost_usd"] == (None if cost is None else pytest.approx(cost))


def test_cost_is_of_the_billed_duration_where_there_is_one():
    billed = WORKER | {"finished_at": at(1100), "billed_ms": 3000.0}
    row = summary(
        tasks=TASKS,
        invocations=[billed, WORKERS[1]],
        prices=[{"environment": "here", "gb_second_usd": 1.0, "request_usd": 10.0}],
    )
    # active: 100 to 1100 and 1100 to 2500, at 2 GB; billed is the first for 3 s
    assert row["gb_seconds_derived"] == pytest.approx(2 * (1.0 + 1.4))
    assert row["cost_usd"] == pytest.approx(2 * (3.0 + 1.4) + 2 * 10)


@pytest.mark.parametrize(
    ("other", "derived_gb_seconds", "billed_gb_seconds"),
    [
        ({}, 2 * (0.8 + 0.4), 2 * (3.0 + 0.4)),  # left no task: nothing but the starts, 100 to 900 and 1100 to 1500
        ({"memory_mb": None}, None, None),
        ({"requested_at": None}, None, None),
        ({"requested_at": None, "billed_ms": 500.0}, None, 2 * (3.0 + 0.5)),
        ({"ready_at": None}, 2 * 0.8, 2 * 3.0),  # never became ready
    ],
)
def test_a_run_is_not_priced_as_if_a_worker_that_ran_had_cost_nothing(
    other: Row, derived_gb_seconds: float | None, billed_gb_seconds: float | None
):
    row = summary(
        invocations=[WORKERS[0] | {"billed_ms": 3000.0}, WORKERS[1] | other],
        prices=[{"environment": "here", "gb_second_usd": 1.0, "request_usd": 0.0}],
    )
    assert row["gb_seconds_derived"] == (None if derived_gb_seconds is None else pytest.approx(derived_gb_seconds))
    assert row["cost_usd"] == (None if billed_gb_seconds is None else pytest.approx(billed_gb_seconds))


def test_an_environment_priced_by_two_sources_has_one_row_and_the_later_price():
    ends = [WORKER | {"finished_at": at(1100)}]
    prices = [
        PRICE | {"environment": "here", "as_of": "2025-01-01", "file_id": "f2"},
        {"environment": "here", "gb_second_usd": 5.0, "request_usd": 0.0, "as_of": "2026-01-01", "file_id": "f1"},
        PRICE | {"environment": "here", "file_id": "f3"},
    ]
    assert summary(invocations=ends, prices=prices)["cost_usd"] == pytest.approx(10)  # 2 GB-s x 5


def test_failed_tasks_are_those_whose_last_attempt_failed_or_was_killed():
    tasks = [
        FIRST | {"status": "failed"},
        FIRST | {"attempt": 2, "status": "succeeded"},
        SINK | {"status": "failed"},
        SINK | {"attempt": 2, "status": "failed"},
        SINK | {"task_id": "c", "status": "killed"},
        SINK | {"task_id": "d", "status": None},
    ]
    assert summary(tasks=tasks)["failed_tasks"] == 2  # b and c


@pytest.mark.parametrize(
    ("worker", "tasks", "killed"),
    [
        ({}, [FIRST], 0),
        ({}, [], 0),  # ready, without a task: it may have been pre-warmed
        ({"ready_at": None}, [], 1),
        ({"ready_at": None}, [FIRST], 0),  # it ran
        ({"ready_at": None, "worker_id": None}, [FIRST], 1),
        ({"ready_at": None, "finished_at": at(1)}, [], 0),
        ({"ready_at": None, "status": "succeeded"}, [], 0),
        ({"status": "killed"}, [FIRST], 1),
    ],
)
def test_killed_workers_say_so_or_leave_nothing(worker: Row, tasks: list[Row], killed: int):
    assert summary(invocations=[WORKER | worker], tasks=tasks)["killed_workers"] == killed


def test_planner_and_sla_are_the_plans_else_the_runs_else_the_tasks():
    run = RUN | {"planner": "of the run", "sla": "p90", "sla_percentile": 90.0}
    plan = {"run_id": "r", "planner": "of the plan", "sla": "average"}
    named = [FIRST | {"planner": "of the tasks"}]
    names = ("planner", "sla", "sla_percentile")
    assert [summary(run, plans=[plan], tasks=named)[n] for n in names] == ["of the plan", "average", None]
    assert [summary(run, plans=[{"run_id": "r"}], tasks=named)[n] for n in names] == ["of the run", "p90", 90]
    assert [summary(run, tasks=named)[n] for n in names] == ["of the run", "p90", 90]
    assert [summary(RUN, tasks=named)[n] for n in names] == ["of the tasks", None, None]
    assert [summary(RUN)[n] for n in names] == [None, None, None]


def test_tags_become_a_map_and_no_tags_are_null():
    tags = [{"run_id": "r", "tag": tag, "value": value} for tag, value in (("seed", "1"), ("fault", None), ("a", "2"))]
    assert list(summary(run_tags=tags)["tags"].items()) == [("a", "2"), ("fault", None), ("seed", "1")]
    assert summary()["tags"] is None


def test_recorded_usage_is_given_as_recorded_zero_included():
    row = summary(RUN | {"gb_seconds": 0.0, "cpu_seconds": 1.5})
    assert (row["gb_seconds"], row["cpu_seconds"]) == (0, 1.5)


def test_rows_of_other_runs_do_not_count_and_rows_without_a_run_are_no_run():
    other = {"run_id": "other"}
    row = summary(
        tasks=[*TASKS, FIRST | other],
        invocations=[WORKER, WORKER | other | {"invocation_id": "x"}],
        task_inputs=[{**other, "task_id": "a", "object_id": "o", "input_bytes": 5, "download_ms": 5.0}],
    )
    assert (row["run_id"], row["execution_ms"], row["workers"], row["download_ms"]) == ("r", 600, 1, 0)


@settings(max_examples=20, deadline=None)
@given(attempts, inputs, st.randoms(use_true_random=False))
def test_sums_are_those_of_task_times_whatever_the_order_of_rows_and_files(
    tasks: list[Row], task_inputs: list[Row], shuffling: random.Random
):
    workers = [WORKER | {"invocation_id": str(i), "worker_id": f"w{i % 2}"} for i in range(3)]
    tables = {"runs": [RUN, {"run_id": "empty"}], "tasks": tasks, "task_inputs": task_inputs, "invocations": workers}
    shuffled = {
        name: [row | {"file_id": str(i)} for i, row in enumerate(shuffling.sample(rows, len(rows)))]
        for name, rows in tables.items()
    }
    with warehouse(**tables) as connection:
        rows = select(connection, "from run_summary order by run_id")
        times = select(connection, "from task_times")
    with warehouse(**shuffled) as connection:
        again = select(connection, "from run_summary order by run_id")
    assert [row["run_id"] for row in rows] == ["empty", "r"]
    for before, after in zip(rows, again, strict=True):
        assert after.pop("submitted_at") == before.pop("submitted_at")
        assert after == pytest.approx(before)
    for name, column in {
        "execution_ms": "execution_ms",
        "upload_ms": "upload_ms",
        "download_ms": "download_ms",
        "downloaded_bytes": "downloaded_bytes",
        "input_bytes": "inputs_bytes",
    }.items():
        total = sum(row[column] or 0 for row in times)
        assert (rows[1][name] or 0) == pytest.approx(total)

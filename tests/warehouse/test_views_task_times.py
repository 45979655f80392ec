"""task_times: when phases ended, what was moved."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.views import Row, at, derived, one

RUN = {"run_id": "r", "submitted_at": at(0)}
TASK = {"run_id": "r", "task_id": "t", "attempt": 1, "started_at": at(1000), "execution_ms": 100.0, "literal_bytes": 7}


def task_times(task: Row, inputs: list[Row] = (), run: Row = RUN) -> Row:
    inputs = [{"run_id": "r", "task_id": "t", "object_id": str(i), **row} for i, row in enumerate(inputs)]
    return one(derived("task_times", runs=[run], tasks=[TASK | task], task_inputs=inputs))


def test_phases_follow_each_other():
    row = task_times({"input_wait_ms": 20.5, "upload_ms": 30.0, "counters_ms": 4.0, "invocation_ms": 0.25})
    assert row["duration_ms"] == 150.5  # 20.5 + 100 + 30
    assert row["finished_at"] == at(1150.5)
    assert row["released_at"] == at(1154.75)  # + 4 + 0.25
    assert (row["start_offset_ms"], row["finish_offset_ms"], row["release_offset_ms"]) == (1000, 1150.5, 1154.75)


def test_a_phase_that_did_not_happen_takes_no_time():
    row = task_times({"input_wait_ms": None, "upload_ms": None, "counters_ms": None, "invocation_ms": None})
    assert row["finished_at"] == row["released_at"] == at(1100)


def test_without_an_execution_time_the_end_is_unknown():
    row = task_times({"execution_ms": None, "upload_ms": 3.0})
    assert row["start_offset_ms"] == 1000
    assert [row[name] for name in ("duration_ms", "finished_at", "released_at", "finish_offset_ms")] == [None] * 4


@pytest.mark.parametrize("run", [{"run_id": "r"}, {"run_id": "another", "submitted_at": at(0)}])
def test_without_a_submission_there_are_no_offsets(run: Row):
    row = task_times({}, run=run)
    assert row["finished_at"] == at(1100)
    assert [row[name] for name in ("start_offset_ms", "finish_offset_ms", "release_offset_ms")] == [None] * 3


def test_a_task_that_seems_to_start_before_the_submission_keeps_its_negative_offset():
    row = task_times({"started_at": at(-5)})
    assert (row["start_offset_ms"], row["finish_offset_ms"]) == (-5, 95)


def test_without_a_start_nothing_has_a_place_in_time():
    row = task_times({"started_at": None})
    assert row["duration_ms"] == 100
    assert [row[name] for name in ("finished_at", "released_at", "start_offset_ms", "finish_offset_ms")] == [None] * 4


def test_only_inputs_with_a_download_time_were_downloaded():
    row = task_times(
        {},
        [
            {"input_bytes": 100, "download_ms": 1.5},
            {"input_bytes": 1000, "download_ms": None},  # it was on the worker
            {"input_bytes": 10, "download_ms": 0.0},
        ],
    )
    assert row["inputs_bytes"] == 1117  # 100 + 1000 + 10 + 7 literal
    assert row["downloaded_bytes"] == 110
    assert row["download_ms"] == 1.5


def test_where_nothing_was_downloaded_the_time_is_null_and_the_bytes_are_zero():
    row = task_times({}, [{"input_bytes": 5}])
    assert (row["inputs_bytes"], row["downloaded_bytes"], row["download_ms"]) == (12, 0, None)
    row = task_times({})
    assert (row["inputs_bytes"], row["downloaded_bytes"], row["download_ms"]) == (7, 0, None)


def test_inputs_of_a_source_that_says_nothing_of_them_are_unknown():
    row = task_times({"literal_bytes": None})
    assert (row["inputs_bytes"], row["downloaded_bytes"], row["download_ms"]) == (None, None, None)
    row = task_times({"literal_bytes": None}, [{"input_bytes": None, "download_ms": 2.0}])
    assert (row["inputs_bytes"], row["downloaded_bytes"], row["download_ms"]) == (None, None, 2.0)
    row = task_times({"literal_bytes": None}, [{"input_bytes": 5, "download_ms": 2.0}])
    assert (row["inputs_bytes"], row["downloaded_bytes"], row["download_ms"]) == (5, 5, 2.0)


def test_inputs_stand_at_the_last_attempt_only():
    rows = derived(
        "task_times",
        runs=[RUN],
        tasks=[TASK | {"attempt": 2}, TASK | {"attempt": 10}, TASK | {"attempt": None}],
        task_inputs=[{"run_id": "r", "task_id": "t", "object_id": "o", "input_bytes": 5, "download_ms": 2.0}],
    )
    found = {
        row["attempt"]: [row[n] for n in ("is_last_attempt", "inputs_bytes", "downloaded_bytes", "download_ms")]
        for row in rows
    }
    assert found == {
        10: [True, 12, 5, 2.0],
        2: [False, None, None, None],
        None: [False, None, None, None],
    }


def test_of_attempts_without_numbers_the_latest_is_the_last():
    rows = derived("task_times", tasks=[TASK | {"attempt": None}, TASK | {"attempt": 1, "started_at": at(2000)}])
    assert {row["started_at"]: row["is_last_attempt"] for row in rows} == {at(1000): False, at(2000): True}


def test_sizes_beyond_64_bits_are_unknown_and_break_nothing():
    big = 2**63 - 1
    row = task_times({}, [{"input_bytes": big, "download_ms": 1.0}, {"input_bytes": big, "download_ms": 1.0}])
    assert (row["inputs_bytes"], row["downloaded_bytes"]) == (None, None)
    assert task_times({"literal_bytes": 1}, [{"input_bytes": big}])["inputs_bytes"] is None
    assert task_times({"execution_ms": float("inf")})["finished_at"] is None
    assert task_times({"execution_ms": 1e300})["released_at"] is None


some_ms = st.none() | st.floats(0, 1e6)
some_bytes = st.none() | st.integers(0, 2**40)
attempts = st.lists(
    st.fixed_dictionaries(
        {
            "task_id": st.sampled_from("abc"),
            "attempt": st.none() | st.integers(1, 3),
            "started_at": st.none() | st.integers(0, 10**6).map(at),
            "input_wait_ms": some_ms,
            "execution_ms": some_ms,
            "upload_ms": some_ms,
            "counters_ms": some_ms,
            "invocation_ms": some_ms,
            "literal_bytes": some_bytes,
        }
    ).map({"run_id": "r"}.__or__),
    max_size=6,
    unique_by=lambda row: (row["task_id"], row["attempt"]),
)
inputs = st.lists(
    st.fixed_dictionaries(
        {
            "task_id": st.sampled_from("abc"),
            "object_id": st.sampled_from("xyz"),
            "input_bytes": some_bytes,
            "download_ms": some_ms,
        }
    ).map({"run_id": "r"}.__or__),
    max_size=6,
    unique_by=lambda row: (row["task_id"], row["object_id"]),
)


@settings(max_examples=25, deadline=None)
@given(attempts, inputs)
def test_there_is_one_row_per_attempt_in_order_and_one_last_attempt_per_task(tasks: list[Row], task_inputs: list[Row]):
    rows = derived("task_times", runs=[RUN], tasks=tasks, task_inputs=task_inputs)
    key = lambda row: (row["task_id"], row["attempt"] or 0)  # noqa: E731
    assert sorted(map(key, rows)) == sorted(map(key, tasks))
    assert sorted(row["task_id"] for row in rows if row["is_last_attempt"]) == sorted({row["task_id"] for row in tasks})
    for row in rows:
        if row["finished_at"] is not None:
            assert row["started_at"] <= row["finished_at"] <= row["released_at"]
        if row["inputs_bytes"] is not None and row["downloaded_bytes"] is not None:
            assert row["downloaded_bytes"] <= row["inputs_bytes"]
    seen = {row["task_id"] for row in tasks}
    assert sum(row["downloaded_bytes"] or 0 for row in rows) == sum(
        row["input_bytes"] or 0 for row in task_inputs if row["download_ms"] is not None and row["task_id"] in seen
    )

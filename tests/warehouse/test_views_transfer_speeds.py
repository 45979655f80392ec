"""transfer_speeds: how fast data moves, by size."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.views import Row, derived, one

RUN = {"run_id": "r", "engine": "e", "environment": "here"}
KINDS = ("measured", "too_short", "unsized", "preloaded_untimed", "not_moved")


def read(number: int, input_bytes: Any, download_ms: Any, **more: Any) -> Row:
    row = {
        "run_id": "r",
        "task_id": "t",
        "object_id": f"o{number}",
        "input_bytes": input_bytes,
        "download_ms": download_ms,
    }
    return {**row, **more}


def wrote(number: int, output_bytes: Any, upload_ms: Any, **more: Any) -> Row:
    row = {
        "run_id": "r",
        "task_id": f"u{number}",
        "memory_mb": 1024,
        "output_bytes": output_bytes,
        "upload_ms": upload_ms,
    }
    return {**row, **more}


TASK = {"run_id": "r", "task_id": "t", "memory_mb": 2048}


def downloads(*inputs: Row, tasks: list[Row] | None = None) -> dict[int | None, Row]:
    rows = derived("transfer_speeds", runs=[RUN], tasks=tasks or [TASK], task_inputs=list(inputs))
    return {row["size_class"]: row for row in rows if row["direction"] == "download"}


def uploads(*tasks: Row) -> dict[int | None, Row]:
    rows = derived("transfer_speeds", runs=[RUN], tasks=list(tasks))
    return {row["size_class"]: row for row in rows}


def test_speeds_are_those_of_single_transfers_by_power_of_ten() -> None:
    found = downloads(read(1, 1000, 10.0), read(2, 9999, 1.0), read(3, 3000, 10.0), read(4, 10_000, 1.0))
    assert sorted(found) == [1000, 10_000]
    row = found[1000]
    assert (row["engine"], row["environment"], row["memory_mb"]) == ("e", "here", 2048)
    assert (row["measured"], row["bytes"], row["ms"]) == (3, 13_999, 21)
    assert row["bytes_per_ms"] == 300  # of 100, 300 and 9999
    assert row["p10_bytes_per_ms"] == pytest.approx(140)  # 0.2 of the way from 100 to 300
    assert row["p90_bytes_per_ms"] == pytest.approx(300 + 0.8 * 9699)
    assert {row["speed_of_all_sizes"] for row in found.values()} == {(300 + 9999) / 2}  # 100, 300, 9999, 10000


@pytest.mark.parametrize(
    ("size", "size_class"),
    [(0, 0), (1, 1), (9, 1), (10, 10), (999, 100), (1000, 1000), (2**63 - 1, 10**18), (None, None), (-1, None)],
)
def test_a_size_belongs_to_the_power_of_ten_it_begins_at(size: int | None, size_class: int | None) -> None:
    assert list(uploads(wrote(1, size, 1.0))) == [size_class]


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (read(1, 1000, 2.0), "measured"),
        (read(1, 1000, 0.0), "too_short"),
        (read(1, 1000, -3.0), "too_short"),  # a clock that went back
        (read(1, 0, 2.0), "too_short"),
        (read(1, None, 2.0), "unsized"),
        (read(1, -1, 2.0), "unsized"),
        (read(1, 1000, None, preloaded=True), "preloaded_untimed"),
        (read(1, 1000, 2.0, preloaded=True), "measured"),  # one that kept its time
        (read(1, 1000, None, preloaded=False), "not_moved"),
        (read(1, 1000, None), "not_moved"),
        (read(1, None, None), "not_moved"),
    ],
)
def test_every_transfer_is_counted_in_one_way_and_only_a_measured_one_has_a_speed(row: Row, kind: str) -> None:
    found = one(list(downloads(row).values()))
    assert {name: found[name] for name in KINDS} == {name: int(name == kind) for name in KINDS}
    is_measured = kind == "measured"
    assert (found["bytes_per_ms"], found["bytes"], found["ms"]) == ((500, 1000, 2) if is_measured else (None,) * 3)
    assert found["speed_of_all_sizes"] == found["bytes_per_ms"]


def test_an_output_that_was_not_uploaded_did_not_move() -> None:
    row = uploads(wrote(1, 100, 2.0), wrote(2, 100, None), wrote(3, 900, 1.0, attempt=2))[100]
    assert (row["measured"], row["not_moved"], row["bytes_per_ms"]) == (2, 1, 475)  # of 50 and 900


def test_inputs_belong_to_the_memory_of_the_last_attempt_and_are_counted_once() -> None:
    attempts = [TASK | {"attempt": 1}, TASK | {"attempt": 2, "memory_mb": 4096}]
    row = downloads(read(1, 100, 1.0), tasks=attempts)[100]
    assert (row["memory_mb"], row["measured"]) == (4096, 1)


def test_inputs_of_tasks_that_left_no_metrics_stay() -> None:
    row = downloads(read(1, 100, 1.0, task_id="lost"), read(2, 100, 1.0, run_id="lost", task_id="lost"))
    assert row[100]["measured"] == 1
    rows = derived("transfer_speeds", task_inputs=[read(1, 100, 1.0)])
    assert [(row["engine"], row["memory_mb"], row["measured"]) for row in rows] == [(None, None, 1)]


def test_huge_sums_are_unknown_and_fail_nothing() -> None:
    row = uploads(wrote(1, 2**63 - 1, 1.0), wrote(2, 2**63 - 1, 1.0))[10**18]
    assert (row["bytes"], row["measured"], row["bytes_per_ms"]) == (None, 2, 2.0**63)


moves = st.tuples(st.none() | st.integers(-2, 10**6), st.none() | st.sampled_from([-1.0, 0.0, 0.5, 2.0]), st.booleans())


@settings(max_examples=20, deadline=None)
@given(st.lists(moves, max_size=12))
def test_every_input_and_output_is_counted_once(sizes: list[tuple[int | None, float | None, bool]]) -> None:
    inputs = [read(n, size, ms, preloaded=preloaded) for n, (size, ms, preloaded) in enumerate(sizes)]
    outputs = [wrote(n, size, ms) for n, (size, ms, _) in enumerate(sizes)]
    rows = derived("transfer_speeds", runs=[RUN], tasks=[TASK, *outputs], task_inputs=inputs)
    counted = {"download": 0, "upload": 0}
    for row in rows:
        counted[row["direction"]] += sum(row[name] for name in KINDS)
    assert counted == {"download": len(sizes), "upload": len(sizes) + 1}
    for direction in counted:
        timed = [size / ms for size, ms, _ in sizes if size and ms and size > 0 and ms > 0]
        measured = sum(row["measured"] for row in rows if row["direction"] == direction)
        assert measured == len(timed)

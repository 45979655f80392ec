"""What a run's workers did, as bars on a time axis."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from app.charts import workers as chart
from app.timeline import BEYOND, NO_WORKER, PHASES, Timeline, never_ready, timeline

NOTHING: dict[str, Any] = {
    "worker_id": "w", "requested_ms": None, "ready_ms": None, "released_ms": None, "keep_warm_ms": None, "reused_ms": None,
    "reused_here": False, "reused_by": None,
}  # fmt: skip


def _workers(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame([{**NOTHING, **row} for row in rows], columns=list(NOTHING))


def _task(start: float, execution: float | None, worker: str | None = "w", **phases: Any) -> dict[str, Any]:
    return {
        "worker_id": worker, "task": "t", "start_ms": start, "input_wait_ms": None, "longest_download_ms": None,
        "execution_ms": execution, "upload_ms": None, "counters_ms": None, "invocation_ms": None, "critical_step": None, **phases,
    }  # fmt: skip


def _tasks(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(_task(0, 0)))


def _spans(drawn: Timeline, *phases: str) -> list[tuple[str, str, float, float]]:
    """Return lane, phase, start and end in ms, in the order of time."""
    bars = drawn.bars[drawn.bars["phase"].isin(phases)].sort_values(["start_s", "end_s"])
    return [
        (lane, phase, round(1000 * start, 6), round(1000 * end, 6))
        for lane, phase, start, end in bars[["lane", "phase", "start_s", "end_s"]].itertuples(index=False)
    ]


def test_a_worker_starts_waits_downloads_executes_uploads_and_hands_over() -> None:
    task = _task(
        60, 20, input_wait_ms=30.0, longest_download_ms=12.0, upload_ms=5.0, counters_ms=1.0, invocation_ms=2.0
    )
    drawn = timeline(_workers({"requested_ms": 0.0, "ready_ms": 50.0}), _tasks(task))
    assert _spans(drawn, *PHASES[:6]) == [
        ("w1", "start-up", 0, 50),
        ("w1", "input wait", 60, 78),
        ("w1", "download", 78, 90),
        ("w1", "execution", 90, 110),
        ("w1", "upload", 110, 115),
        ("w1", "hand-over", 115, 118),
    ]
    assert _spans(drawn, "alive, no task") == [("w1", "alive, no task", 50, 60)]
    assert drawn.ends_s == pytest.approx(0.118)
    assert not drawn.bars["estimated"].any()


def test_a_download_is_never_longer_than_the_wait_that_holds_it() -> None:
    drawn = timeline(_workers(), _tasks(_task(0, 5, input_wait_ms=10.0, longest_download_ms=99.0)))
    assert _spans(drawn, "input wait", "download", "execution") == [
        ("w1", "download", 0, 10),
        ("w1", "execution", 10, 15),
    ]


def test_without_a_recorded_wait_the_longest_download_is_an_estimate() -> None:
    drawn = timeline(_workers(), _tasks(_task(0, 5, longest_download_ms=8.0)))
    assert _spans(drawn, "download", "execution") == [("w1", "download", 0, 8), ("w1", "execution", 8, 13)]
    estimated = drawn.bars[drawn.bars["estimated"]]
    assert estimated["phase"].tolist() == ["download"]
    assert estimated["note"].iloc[0].startswith("estimated")


def test_tasks_at_once_get_lanes_of_their_own_and_later_ones_return_to_the_first() -> None:
    drawn = timeline(
        _workers({"requested_ms": 0.0, "ready_ms": 50.0}), _tasks(_task(60, 20), _task(70, 20), _task(100, 20))
    )
    assert drawn.lanes == ("w1", "w1 +1")
    assert _spans(drawn, "execution") == [
        ("w1", "execution", 60, 80),
        ("w1 +1", "execution", 70, 90),
        ("w1", "execution", 100, 120),
    ]


def _note(drawn: Timeline) -> str:
    (note,) = drawn.bars.loc[drawn.bars["phase"] == "kept warm", "note"]
    return str(note)


WARM = {"requested_ms": 0.0, "ready_ms": 100.0, "released_ms": 1000.0, "keep_warm_ms": 8000.0}


def test_a_container_is_kept_warm_until_its_keep_alive_ends_and_the_axis_goes_little_further_than_the_run() -> None:
    drawn = timeline(_workers(WARM), _tasks(_task(100, 900)))
    assert _spans(drawn, "kept warm") == [("w1", "kept warm", 1000, 8000)]
    assert drawn.ends_s == 1.0
    assert drawn.until_s == pytest.approx(1 + BEYOND)


def test_a_container_is_kept_warm_until_another_run_takes_it_over() -> None:
    drawn = timeline(_workers({**WARM, "reused_ms": 1020.0, "reused_by": "other"}), _tasks(_task(100, 900)))
    assert _spans(drawn, "kept warm") == [("w1", "kept warm", 1000, 1020)]
    assert "another run" in _note(drawn)
    assert drawn.until_s == pytest.approx(1.02)


def test_a_container_taken_over_within_the_run_says_by_which_worker() -> None:
    first = {**WARM, "worker_id": "a", "reused_ms": 1500.0, "reused_here": True, "reused_by": "b"}
    drawn = timeline(_workers(first, {"worker_id": "b", "requested_ms": 1500.0, "ready_ms": 1600.0}), _tasks())
    assert _spans(drawn, "kept warm") == [("w1", "kept warm", 1000, 1500)]
    assert "taken over by w2 of this run" in _note(drawn)


def test_what_is_kept_warm_begins_after_what_is_drawn_of_the_tasks() -> None:
    drawn = timeline(_workers(WARM), _tasks(_task(100, 900, longest_download_ms=50.0)))
    assert _spans(drawn, "kept warm") == [("w1", "kept warm", 1050, 8000)]


def test_a_container_taken_over_before_its_release_by_the_clocks_is_not_kept_warm() -> None:
    drawn = timeline(_workers({**WARM, "reused_ms": 990.0}), _tasks(_task(100, 900)))
    assert _spans(drawn, "kept warm") == []


def test_a_worker_is_idle_where_none_of_its_tasks_runs() -> None:
    tasks = _tasks(_task(20, 30), _task(30, 40), _task(100, 10))
    drawn = timeline(_workers({"requested_ms": 0.0, "ready_ms": 10.0, "released_ms": 150.0}), tasks)
    assert _spans(drawn, "alive, no task") == [
        ("w1", "alive, no task", 10, 20),
        ("w1", "alive, no task", 70, 100),
        ("w1", "alive, no task", 110, 150),
    ]
    assert drawn.lasted_ms("alive, no task") == pytest.approx(80)


def test_a_worker_without_a_start_is_alive_from_its_first_task() -> None:
    assert _spans(timeline(_workers(), _tasks(_task(20, 30), _task(90, 5))), "alive, no task") == [
        ("w1", "alive, no task", 50, 90)
    ]


def test_a_worker_launched_again_has_two_starts() -> None:
    drawn = timeline(
        _workers(
            {"requested_ms": 0.0, "ready_ms": 10.0, "released_ms": 30.0},
            {"requested_ms": 50.0, "ready_ms": 60.0, "released_ms": 90.0},
        ),
        _tasks(_task(10, 20), _task(60, 30)),
    )
    assert drawn.lanes == ("w1",)
    assert _spans(drawn, "start-up") == [("w1", "start-up", 0, 10), ("w1", "start-up", 50, 60)]
    assert _spans(drawn, "alive, no task") == []


def test_a_worker_that_never_was_ready_keeps_its_lane_and_is_marked() -> None:
    workers = _workers(
        {"requested_ms": 3.0}, {"worker_id": None, "requested_ms": 4.0, "ready_ms": 5.0}, {"worker_id": "unknown"}
    )
    drawn = timeline(workers, _tasks())
    assert drawn.lanes == ("w1", "w2", "w3")
    assert drawn.lost.values.tolist() == [["w2", 0.003]]
    assert never_ready(workers) == 2


def test_tasks_without_a_worker_have_lanes_of_their_own_and_no_worker_is_called_alive() -> None:
    drawn = timeline(_workers(), _tasks(_task(0, 10, None), _task(5, 10, None), _task(30, 10, None), _task(1, 2, "w")))
    assert drawn.names == {NO_WORKER: "?", "w": "w1"}
    assert _spans(drawn, "execution") == [
        ("?", "execution", 0, 10), ("w1", "execution", 1, 3), ("? +1", "execution", 5, 15), ("?", "execution", 30, 40),
    ]  # fmt: skip
    assert not _spans(drawn, "alive, no task"), "nobody knows whether one worker ran both"


def test_workers_beyond_the_lanes_are_counted() -> None:
    workers = _workers(*({"worker_id": f"w{n}", "requested_ms": float(n), "ready_ms": n + 5.0} for n in range(10)))
    drawn = timeline(workers, _tasks(), most_lanes=4)
    assert (len(drawn.lanes), len(drawn.names), drawn.workers_left_out, drawn.bars_left_out) == (4, 10, 6, 0)


def test_one_worker_with_more_tasks_at_once_than_lanes_leaves_the_last_ones_out() -> None:
    drawn = timeline(_workers(), _tasks(*(_task(n, 1000) for n in range(10))), most_lanes=4)
    assert (len(drawn.lanes), drawn.workers_left_out, drawn.bars_left_out) == (4, 0, 6)


def test_beyond_the_bars_the_shortest_are_left_out() -> None:
    tasks = (_task(0, 40), _task(40, 10), _task(50, 30), _task(80, 20))
    drawn = timeline(_workers(), _tasks(*tasks), most_bars=2)
    assert _spans(drawn, *PHASES) == [("w1", "execution", 0, 40), ("w1", "execution", 50, 80)]
    assert drawn.bars_left_out == 2
    assert drawn.ends_s == 0.1


@pytest.mark.parametrize(
    "tasks",
    [(), (_task(0, None),), (_task(float("nan"), 3),), (_task(-50, 5, None, critical_step=1.0),), (_task(0, 5, longest_download_ms=8.0),)],
)  # fmt: skip
def test_whatever_is_missing_there_is_a_chart(tasks: tuple[dict[str, Any], ...]) -> None:
    drawn = timeline(_workers({"requested_ms": 0.0}), _tasks(*tasks))
    assert chart(drawn).to_dict()["layer"]
    assert drawn.until_s >= drawn.ends_s


def test_the_line_along_the_critical_path_follows_its_steps_from_worker_to_worker() -> None:
    tasks = _tasks(_task(0, 10, "a", critical_step=1.0), _task(5, 5, "a"), _task(30, 10, "b", critical_step=2.0))
    spec = chart(timeline(_workers(), tasks)).to_dict()
    line = next(layer for layer in spec["layer"] if layer["mark"]["type"] == "line")
    rows = spec["datasets"][line["data"]["name"]]
    assert [(row["at_s"], row["lane"]) for row in rows] == [(0.0, "w1"), (0.01, "w1"), (0.03, "w2"), (0.04, "w2")]

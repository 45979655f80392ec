"""Where tasks are drawn: layers by longest path, and an order that keeps neighbours near."""

from __future__ import annotations

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from app.dag_layout import Place, layout
from app.timeline import never_ready, timeline


def test_a_task_stands_to_the_right_of_its_longest_path() -> None:
    places = layout("abcd", [("a", "b"), ("b", "c"), ("a", "c"), ("c", "d")])
    assert {task: place.layer for task, place in places.items()} == {"a": 0, "b": 1, "c": 2, "d": 3}


def test_parallel_tasks_follow_the_order_of_what_they_read() -> None:
    places = layout(["a", "b", "x", "y"], [("a", "y"), ("b", "x")])
    assert (places["a"].height < places["b"].height) == (places["y"].height < places["x"].height)


def test_a_layer_is_centred() -> None:
    places = layout(["a", "b", "c"], [])
    assert sorted(place.height for place in places.values()) == [-1.0, 0.0, 1.0]


def test_a_cycle_is_drawn_in_one_layer_instead_of_failing() -> None:
    assert {place.layer for place in layout("ab", [("a", "b"), ("b", "a")]).values()} == {0}


def test_edges_of_tasks_left_out_are_left_out() -> None:
    assert layout(["a"], [("a", "gone"), ("a", "a")]) == {"a": Place(0, 0.0)}


@given(st.sets(st.tuples(st.integers(0, 15), st.integers(0, 15)).filter(lambda edge: edge[0] < edge[1]), max_size=40))
def test_every_edge_points_right_and_no_two_tasks_share_a_place(edges: set[tuple[int, int]]) -> None:
    named = [(f"t{start:02d}", f"t{end:02d}") for start, end in edges]
    places = layout({name for edge in named for name in edge} | {"alone"}, named)
    assert all(places[start].layer < places[end].layer for start, end in named)
    assert len(set(places.values())) == len(places)


def _tasks(*rows: tuple[str, float, float]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"worker_id": worker, "task": "t", "start_ms": start, "input_wait_ms": 5.0, "execution_ms": execution,
             "upload_ms": None, "counters_ms": None, "invocation_ms": None}
            for worker, start, execution in rows
        ]
    )  # fmt: skip


def test_tasks_at_once_get_lanes_of_their_own_and_later_ones_return_to_the_first() -> None:
    workers = pd.DataFrame([{"worker_id": "w", "requested_ms": 0.0, "ready_ms": 50.0}])
    drawn = timeline(workers, _tasks(("w", 60, 20), ("w", 70, 20), ("w", 100, 20)))
    assert drawn.lanes == ("w1", "w1 +1")
    executions = drawn.bars[drawn.bars["phase"] == "execution"]
    assert executions[["lane", "start_s", "end_s"]].values.tolist() == [
        ["w1", 0.065, 0.085],
        ["w1 +1", 0.075, 0.095],
        ["w1", 0.105, 0.125],
    ]
    alive = drawn.bars[drawn.bars["phase"] == "alive, no task"].iloc[0]
    assert (alive["start_s"], alive["end_s"]) == (0.05, 0.125)


def test_a_worker_that_never_was_ready_keeps_its_lane() -> None:
    workers = pd.DataFrame(
        [
            {"worker_id": "w", "requested_ms": 0.0, "ready_ms": None},
            {"worker_id": None, "requested_ms": 1.0, "ready_ms": 2.0},
        ]
    )
    drawn = timeline(workers, _tasks())
    assert drawn.lanes == ("w1", "w2")
    assert never_ready(workers) == 1


def test_workers_beyond_the_lanes_are_counted() -> None:
    workers = pd.DataFrame([{"worker_id": f"w{n}", "requested_ms": float(n), "ready_ms": n + 5.0} for n in range(10)])
    drawn = timeline(workers, _tasks(), most_lanes=4)
    assert (len(drawn.lanes), drawn.workers, drawn.workers_left_out) == (4, 10, 6)

"""Where tasks are drawn: layers by longest path, and an order that keeps neighbours near."""

from __future__ import annotations

from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dag_layout import Place, layout


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


def test_a_name_fits_between_neighbours_that_run_different_functions() -> None:
    places = layout(["a", "b", "c"], [], {"a": "f", "b": "f", "c": "g"})
    assert [places[name].height for name in "abc"] == pytest.approx([-1.3, -0.3, 1.3])


def test_thousands_of_edges_are_laid_out_while_one_waits() -> None:
    tasks = [f"t{number:03d}" for number in range(400)]
    edges = [(a, b) for a in tasks[:200] for b in tasks[200:]]
    begun = monotonic()
    places = layout(tasks, edges)
    assert monotonic() - begun < 5
    assert {place.layer for place in places.values()} == {0, 1}

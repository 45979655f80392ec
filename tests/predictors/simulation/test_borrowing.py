"""A plan is borrowed from a recorded run of the same structure, task by task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.simulation.borrowing import Lenders, borrow, match
from predictors.simulation.records import Record
from tests.predictors.simulation.fans import MB, fan, prewarm, record

Upstream = Sequence[tuple[int, ...]]


def dag(functions: Sequence[str], upstream: Upstream) -> Record:
    return record("run", 0, functions, upstream, ["w0"] * len(functions))


def relabelled(one: Record, places: Sequence[int]) -> Record:
    """The same run whose task `n` stands at `places[n]`."""
    task_at = sorted(range(len(places)), key=places.__getitem__)
    upstream = [tuple(places[up] for up in reversed(one.upstream[task])) for task in task_at]
    return dag([one.functions[task] for task in task_at], upstream)


def edges(of: Record) -> set[tuple[int, int]]:
    return {(up, task) for task, ups in enumerate(of.upstream) for up in ups}


@st.composite
def dags(draw: st.DrawFn) -> Record:
    count = draw(st.integers(1, 9))
    functions = draw(st.lists(st.sampled_from("ab"), min_size=count, max_size=count))
    upstream = [tuple(sorted(draw(st.sets(st.integers(0, task - 1), max_size=3)))) if task else () for task in range(count)]  # fmt: skip
    return dag(functions, upstream)


@given(st.data())
def test_a_run_whose_tasks_stand_in_another_order_is_matched_task_by_task(data: st.DataObject) -> None:
    """The match takes functions to functions and edges to edges; where tasks are alike, either may stand for the other."""
    one = data.draw(dags())
    other = relabelled(one, data.draw(st.permutations(range(len(one.functions)))))
    matched = match(one, other)
    assert matched is not None
    assert sorted(matched) == list(range(len(one.functions)))
    assert [other.functions[task] for task in matched] == list(one.functions)
    assert {(matched[up], matched[task]) for up, task in edges(one)} == edges(other)


@given(st.data())
def test_a_run_with_one_edge_or_one_function_changed_is_not_matched(data: st.DataObject) -> None:
    one = data.draw(dags())
    task = data.draw(st.sampled_from(range(len(one.functions))))
    other = relabelled(one, data.draw(st.permutations(range(len(one.functions)))))
    strange = replace(
        other, functions=tuple("c" if place == task else name for place, name in enumerate(other.functions))
    )
    assert match(one, strange) is None
    less = replace(other, upstream=tuple(ups[1:] if place == task else ups for place, ups in enumerate(other.upstream)))
    assert (match(one, less) is None) == bool(other.upstream[task])


def test_a_run_is_matched_with_itself_as_it_stands() -> None:
    assert match(fan(4), fan(4)) == list(range(10))


@pytest.mark.parametrize(
    "other",
    [
        dag("abb", [(), (0,), (0,)]),
        dag("abbc", [(), (0,), (1,), (1, 2)]),
        dag("abcb", [(), (0,), (0,), (1, 2)]),
        dag("abbcc", [(), (0,), (0,), (1, 2), (1, 2)]),
    ],
)
def test_dags_that_differ_are_not_matched(other: Record) -> None:
    assert match(dag("abbc", [(), (0,), (0,), (1, 2)]), other) is None


def ring(sizes: Sequence[int]) -> Record:
    """Tasks `a` in rings of these sizes; of every two neighbours a task `b` takes what both made."""
    count = sum(sizes)
    pairs, first = [], 0
    for size in sizes:
        pairs += [tuple(sorted((first + place, first + (place + 1) % size))) for place in range(size)]
        first += size
    return dag(["a"] * count + ["b"] * count, [()] * count + pairs)


def test_dags_whose_tasks_all_look_alike_but_hang_together_otherwise_are_not_matched() -> None:
    """Two rings of three and one of six: every `a` is needed by two `b`, and every `b` needs two `a`."""
    assert match(ring([3, 3]), ring([6])) is None
    assert match(ring([6]), ring([3, 3])) is None
    assert match(ring([3, 3]), ring([3, 3])) is not None


# what is borrowed


def test_a_borrowed_plan_goes_to_the_tasks_that_stand_in_the_same_places() -> None:
    """cut; work, check; work, check; join, where the lender's tasks are join; cut; work, check; work, check."""
    mine = fan(2, memory_mb=(512.0,) * 6, execution=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0))
    order = [1, 2, 3, 4, 5, 0]
    lender = replace(
        relabelled(mine, order), run_id="lender", planner="q", sla="p90", planned_worker=("z", "z", "y", "y", "x", "x"),
        planned_memory_mb=(1.0, 1.0, 2.0, 2.0, 3.0, 3.0), preloads=(True, False, False, False, False, False),
        duplicable=(False, False, False, True, False, True), prewarmings=(prewarm(1), prewarm(0)),
    )  # fmt: skip
    found = borrow(mine, lender)
    assert found is not None
    assert (found.run_id, found.planner, found.sla) == (mine.run_id, "q", "p90")
    workers = found.planned_worker
    assert (workers[0], workers[5]) == ("z", "z")
    assert (workers[1], workers[3]) in {("x", "y"), ("y", "x")}
    assert (workers[1], workers[3]) == (workers[2], workers[4])
    assert found.planned_memory_mb == tuple({"z": 1.0, "y": 2.0, "x": 3.0}[str(worker)] for worker in workers)
    assert found.preloads == (False, False, False, False, False, True)
    assert found.duplicable == (False, False, True, False, True, False)
    assert [one.task for one in found.prewarmings] == [0, 5]
    assert (found.execution, found.memory_mb, found.upstream) == (mine.execution, mine.memory_mb, mine.upstream)


def test_of_a_run_without_a_plan_the_memory_is_borrowed_that_its_workers_had() -> None:
    lender = flexible(1)
    found = borrow(fan(2), lender)
    assert found is not None
    assert found.is_flexible
    assert found.planned_memory_mb == (2048.0,) * 6


# who lends


def flexible(number: int, **more: Any) -> Record:
    """A run at 2048 MB whose workers were chosen while it went on."""
    columns: dict[str, Any] = {"planned_worker": (None,) * 6, "memory_mb": (2 * MB,) * 6, "is_complete": True}
    return fan(2, number, planner="WUKONGPlanner", **(columns | more))


def lent(record: Record, others: Sequence[Record], planner: str | None = None, sla: str | None = None) -> str | None:
    """The planner and the worker of the first task of the plan that is borrowed; lenders name theirs in the worker."""
    found = Lenders([record, *others]).plan_for(record, planner, sla)
    return None if found is None else f"{found.planner} {found.sla} {found.planned_worker[0]}"


def lender(name: str, number: int, **more: Any) -> Record:
    return fan(2, number, planned_worker=(name,) * 6, **more)


def test_the_plan_of_the_run_nearest_in_time_is_borrowed_before_or_after() -> None:
    others = [lender("early", 0, planner="q"), lender("near", 7, planner="q"), lender("late", 14, planner="q")]
    assert lent(fan(2, 10), others, "q") == "q p50 near"
    assert lent(fan(2, 3), others, "q") == "q p50 early"
    assert lent(fan(2, 11), others, "q") == "q p50 late"


def test_of_lenders_as_near_the_first_by_name_is_taken_whatever_the_order() -> None:
    others = [lender("after", 11, planner="q"), lender("before", 9, planner="q")]
    assert lent(fan(2, 10), others, "q") == lent(fan(2, 10), others[::-1], "q") == "q p50 before"


def test_a_run_that_is_planned_so_keeps_its_own_plan() -> None:
    own = lender("own", 5, planner="q")
    assert lent(own, [lender("other", 6, planner="q")], "q") == "q p50 own"


def test_a_short_name_prefers_the_ending_of_the_runs_own_planner() -> None:
    plain, optimised = lender("plain", 1, planner="UniformPlanner"), lender("opt", 2, planner="UniformPlanner-opt")
    ours, ours_optimised = fan(2, planner="WUKONGPlanner"), fan(2, planner="WUKONGPlanner-opt")
    assert lent(ours, [plain, optimised], "uniform") == "UniformPlanner p50 plain"
    assert lent(ours_optimised, [plain, optimised], "Uniform") == "UniformPlanner-opt p50 opt"
    assert lent(ours_optimised, [plain], "uniform") == "UniformPlanner p50 plain"
    assert lent(ours, [optimised], "uniform") == "UniformPlanner-opt p50 opt"
    assert lent(ours, [optimised], "non-uniform") is None


def test_a_recorded_name_is_that_planner_alone() -> None:
    others = [lender("opt", 1, planner="UniformPlanner-opt"), lender("odd", 2, planner="'; drop table runs; --")]
    assert lent(fan(2), others, "UniformPlanner") is None
    assert lent(fan(2), others, "UniformPlanner-opt") == "UniformPlanner-opt p50 opt"
    assert lent(fan(2), others, "'; drop table runs; --") == "'; drop table runs; -- p50 odd"


def test_what_is_not_asked_for_stays() -> None:
    others = [
        lender("q90", 1, planner="q", sla="p90"), lender("q50", 9, planner="q"),
        lender("p90", 9, sla="p90"), lender("r90", 1, planner="r", sla="p90"),
    ]  # fmt: skip
    assert lent(fan(2), others, "q") == "q p50 q50"
    assert lent(fan(2), others, sla="p90") == "p p90 p90"
    assert lent(fan(2), others, "q", "p90") == "q p90 q90"
    assert lent(fan(2), others, "r") is None


def test_a_run_without_an_sla_borrows_a_plan_at_any_but_an_sla_that_is_asked_for_is_meant() -> None:
    others = [lender("near", 1, planner="q", sla="p90"), lender("far", 2, planner="q", sla=None)]
    assert lent(fan(2, sla=None), others, "q") == "q p90 near"
    assert lent(fan(2, sla=None), others, "q", "p99") is None


def test_a_planner_that_plans_no_workers_lends_at_any_sla_what_ran_to_its_end() -> None:
    assert lent(fan(2), [flexible(1, sla="average")], "wukong") == "WUKONGPlanner average None"
    assert lent(fan(2), [flexible(1, is_complete=False)], "wukong") is None


def test_who_planned_only_some_tasks_does_not_lend() -> None:
    partly = fan(2, 1, planner="q", planned_worker=("w0", None, "w0", "w0", "w0", "w0"))
    assert lent(fan(2), [partly], "q") is None


@pytest.mark.parametrize("other", [{"workflow": "other"}, {"structure_hash": "other"}, {"structure_hash": None}])
def test_only_runs_of_the_same_workflow_and_structure_lend(other: dict[str, Any]) -> None:
    assert lent(fan(2), [lender("q", 1, planner="q", **other)], "q") is None


def test_a_lender_whose_dag_is_another_in_spite_of_its_hash_does_not_lend() -> None:
    other = fan(3, 1, planner="q", structure_hash=fan(2).structure_hash)
    assert lent(fan(2), [other], "q") is None

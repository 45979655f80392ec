"""A run with another width is the same run with more branches, or fewer."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.dags import is_acyclic
from predictors.simulation.records import Record
from predictors.simulation.scenarios import CannotSimulate
from predictors.simulation.widths import Stage, branches, fan_out, learned, stages, varying, with_width
from tests.predictors.simulation.fans import NAN, fan, prewarm, record


def stage_of(run: Record, function: str) -> Stage:
    return next(stage for stage in stages(run) if stage.function == function)


def test_a_stage_is_what_stands_in_one_place_and_the_branch_of_a_member_is_what_descends_from_it_alone() -> None:
    """0 cut; 1 work, 2 check; 3 work, 4 check; 5 join."""
    run = fan(2)
    found = stages(run)
    assert [(stage.function, stage.members) for stage in found] == [
        ("cut", (0,)), ("work", (1, 3)), ("check", (2, 4)), ("join", (5,)),
    ]  # fmt: skip
    assert branches(run, found[1]) == [[1, 2], [3, 4]]
    assert branches(run, found[2]) == [[2], [4]]


def test_tasks_of_one_function_in_different_places_are_different_stages() -> None:
    """A tree of sums: four leaves, two that take two each, one that takes both."""
    tree = record(
        "tree", 0, ["sum"] * 7, [(), (), (), (), (0, 1), (2, 3), (4, 5)], ["w0"] * 7
    )  # fmt: skip
    assert [stage.members for stage in stages(tree)] == [(0, 1, 2, 3), (4, 5), (6,)]


def test_how_many_members_there_are_does_not_tell_stages_apart() -> None:
    """Of two members one is checked by one task, the other by two: their works still stand in one place."""
    uneven = record(
        "uneven", 0, ["cut", "work", "work", "check", "check", "check", "join"], [(), (0,), (0,), (1,), (2,), (2,), (3, 4, 5)],
        ["w0"] * 7,
    )  # fmt: skip
    assert stage_of(uneven, "work").members == (1, 2)
    assert branches(uneven, stage_of(uneven, "work")) == [[1, 3], [2, 4, 5]]


def test_a_wider_run_has_copies_of_branches_on_workers_of_their_own_and_its_join_takes_them_all() -> None:
    run = fan(2, apart=True, planned_prewarmings=(prewarm(0), prewarm(3)))
    wide, made_from = with_width(run, stage_of(run, "work"), 4)
    assert made_from == [0, 1, 2, 3, 4, 5, 1, 2, 3, 4]
    assert Counter(wide.functions) == {"cut": 1, "work": 4, "check": 4, "join": 1}
    assert wide.upstream == ((), (0,), (1,), (0,), (3,), (2, 7, 4, 9), (0,), (6,), (0,), (8,))
    assert wide.planned_worker == ("w0", "w1", "w1", "w2", "w2", "w0", "w1~1", "w1~1", "w2~2", "w2~2")
    assert len(set(wide.task_ids)) == 10
    assert wide.sink == 5 and wide.is_awaited == (True,) * 5 + (False,) + (True,) * 4
    assert [one.task for one in wide.planned_prewarmings] == [0, 3, 8]
    assert [len(each) for each in wide.upstream_ms] == [len(ups) for ups in wide.upstream]


def test_a_narrower_run_lacks_the_last_branches() -> None:
    run = fan(3, apart=True)
    narrow, made_from = with_width(run, stage_of(run, "work"), 1)
    assert made_from == [0, 1, 2, 7]
    assert narrow.upstream == ((), (0,), (1,), (2,))
    assert narrow.planned_worker == ("w0", "w1", "w1", "w0")
    assert narrow.sink == 3


def test_a_worker_that_several_branches_share_takes_the_copies_too() -> None:
    run = fan(2)
    wide, _ = with_width(run, stage_of(run, "work"), 5)
    assert set(wide.planned_worker) == {"w0"}


def test_a_run_of_another_width_did_not_happen() -> None:
    run = fan(2, makespan_ms=100.0, is_complete=True)
    wide, _ = with_width(run, stage_of(run, "work"), 3)
    assert (wide.is_complete, wide.launches, str(wide.makespan_ms)) == (False, {}, str(NAN))


@given(st.integers(2, 8), st.integers(1, 12), st.booleans())
def test_a_run_given_another_width_is_the_run_planned_with_that_width(now: int, width: int, apart: bool) -> None:
    run = fan(now, apart=apart)
    made, made_from = with_width(run, stage_of(run, "work"), width)
    other = fan(width, apart=apart)
    assert fan_out(made) == fan_out(other)
    assert is_acyclic([list(ups) for ups in made.upstream])
    assert sorted(map(len, made.upstream)) == sorted(map(len, other.upstream))
    assert len(set(made.planned_worker)) == len(set(other.planned_worker))
    assert [run.functions[task] for task in made_from] == list(made.functions)
    assert {made.functions[up] for ups in made.upstream for up in ups} == {"cut", "work", "check"}


@pytest.mark.parametrize(("width", "asked"), [(1, 3), (3, 0)])
def test_what_does_not_tell_what_is_its_own_has_no_other_width(width: int, asked: int) -> None:
    run = fan(width)
    with pytest.raises(CannotSimulate, match="has no other width"):
        with_width(run, stage_of(run, "work"), asked)


def test_the_widths_of_earlier_runs_are_learned_as_often_as_they_were_seen() -> None:
    found = learned([fan_out(fan(width)) for width in (3, 2, 3, 3)])
    assert list(found.items()) == [(fan_out(fan(2)), 0.25), (fan_out(fan(3)), 0.75)]


def test_a_function_varies_where_not_all_runs_have_as_many_tasks_of_it() -> None:
    assert varying([fan_out(fan(2)), fan_out(fan(2))]) == set()
    assert varying([fan_out(fan(2)), fan_out(fan(3))]) == {"work", "check"}
    assert varying([(("a", 1),), (("a", 1), ("b", 2))]) == {"b"}

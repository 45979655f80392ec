"""The same work as two static runs, played by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.simulation.behaviour import Behaviour, Usual, measure
from predictors.simulation.play import ANY, Prewarm, Rules, play
from predictors.simulation.two_runs import play_two, pool_after, second_part, with_transfers
from predictors.simulation.widths import stages
from tests.predictors.simulation.fans import fan
from tests.predictors.simulation.stages import COLD_MS, EXECUTION_MS, MB, WARM_MS, durations, shape

FAN = ((), (0,), (0,), (1, 2))
SECOND = [False, True, True, True]
NOTHING_KNOWN = Behaviour.learn(measure([]), np.zeros(0, dtype=bool))


def test_the_second_run_is_the_stage_and_all_that_descends_from_it() -> None:
    """cut; work, check; work, check; join."""
    run = fan(2)
    _, work, check, join = stages(run)
    assert second_part(run, work) == [False, True, True, True, True, True]
    assert second_part(run, check) == [False, False, True, False, True, True]
    assert second_part(run, join) == [False] * 5 + [True]


def test_a_run_that_begins_with_its_stage_cannot_be_split_there() -> None:
    run = fan(2)
    assert second_part(run, stages(run)[0]) is None


def test_a_run_whose_sink_does_not_descend_from_the_stage_cannot_be_split_there() -> None:
    run = replace(fan(2), sink=0)
    assert second_part(run, stages(run)[1]) is None


def test_the_second_run_is_submitted_when_the_first_has_ended_and_its_worker_starts_anew() -> None:
    """Cold 100 and execution 50 end the first at 155, told for 5; the second asks after 3 and takes the container, free since 150:
    20, then both members beside each other for 50 and the join for 50.
    """
    of = shape(FAN, [0, 0, 0, 0])
    takes = durations(of, submit=3.0, invocation=[7, 0, 0, 5])
    played = play_two(of, takes, Rules(keep_alive_ms=1000), SECOND)
    first_end = 3 + COLD_MS + EXECUTION_MS + 5
    assert played.requested == [3, first_end + 3]
    assert played.state == ["cold", "warm"]
    assert played.start == [103, first_end + 23, first_end + 23, first_end + 73]
    assert played.makespan_ms == first_end + 3 + WARM_MS + 2 * EXECUTION_MS + 5
    assert (played.starts("cold"), played.worker) == (1, [0, 1, 1, 1])


def test_a_container_that_the_first_run_took_is_not_there_twice() -> None:
    """Two workers share a pool of one container that is free; the first run takes it and gives it back."""
    of = shape(FAN, [0, 0, 1, 0], pool=[(MB, -5.0)])
    played = play_two(of, durations(of), Rules(keep_alive_ms=1000), SECOND)
    assert played.state == ["warm", "warm", "cold"]


def test_a_container_whose_keep_alive_ends_before_the_second_run_asks_is_gone() -> None:
    of = shape(FAN, [0, 0, 0, 0])
    takes = durations(of, submit=40.0)
    assert play_two(of, takes, Rules(keep_alive_ms=41), SECOND).state == ["cold", "warm"]
    assert play_two(of, takes, Rules(keep_alive_ms=39), SECOND).state == ["cold", "cold"]


def test_sweeps_go_on_at_the_same_instants_in_the_second_run() -> None:
    """The first asks at 15 and ends at 165, the keep-alive of 10 at 175, and the second asks at 180: a sweep at 177 removes the
    container before, sweeps at 90 and 190 do not.
    """
    of = shape(FAN, [0, 0, 0, 0])
    takes = durations(of, submit=15.0)
    rules = Rules(keep_alive_ms=10, sweep_ms=100, sweep_phase=0.9)
    assert play_two(of, takes, rules, SECOND).state == ["cold", "warm"]
    assert play_two(of, takes, replace(rules, sweep_phase=0.77), SECOND).state == ["cold", "cold"]


def test_what_the_second_run_needs_of_the_first_is_downloaded_even_if_one_worker_does_both() -> None:
    """In one run the input is on the worker; in two it takes 30 ms to upload and 40 to download."""
    of = shape(FAN, [0, 0, 0, 0])
    usual = pd.DataFrame({"size": ["12"] * 5, "environment": ["here"] * 5})
    behaviour = replace(
        NOTHING_KNOWN,
        uploads=Usual.of(usual.assign(ms=30.0), ("size", "environment"), "ms"),
        downloads=Usual.of(usual.assign(ms=40.0), ("size", "environment"), "ms"),
    )
    takes = with_transfers(durations(of), of, SECOND, fan(1), [1000.0] * 4, behaviour)
    assert takes.upload == [30, 0, 0, 0]
    assert takes.download == [[], [40], [40], [0, 0]]
    one = play(of, takes, Rules())
    two = play_two(of, takes, Rules(), SECOND)
    assert one.wait[1:3] == [0, 0]
    assert two.wait[1:3] == [40, 40]


def test_a_transfer_that_was_recorded_takes_as_long_as_it_did() -> None:
    of = shape(FAN, [0, 0, 1, 0])
    takes = durations(of, upload=[11, 0, 0, 0], download=[[], [0.0], [22.0], [0.0, 0.0]])
    found = with_transfers(takes, of, SECOND, fan(1), [1000.0] * 4, NOTHING_KNOWN)
    assert (found.upload[0], found.download[2]) == (11, [22])


def test_flexible_tasks_find_new_workers_in_both_runs() -> None:
    of = shape(FAN, [ANY] * 4)
    played = play_two(of, durations(of), Rules(), SECOND)
    assert len(played.launched) == len(set(played.worker)) == 3
    assert played.state[:2] == ["cold", "warm"]


def test_a_pre_warm_is_triggered_once() -> None:
    of = shape(FAN, [0, 0, 1, 0], prewarms=[Prewarm(0, MB, 10.0)])
    played = play_two(of, durations(of), Rules(keep_alive_ms=1000), SECOND)
    assert played.state == ["cold", "warm", "warm"]


def test_the_pool_after_a_run_holds_what_nobody_took() -> None:
    """A warm start takes the most recent of two; its own container is free 5 ms after it ended, at 20 + 3 * 50."""
    of = shape(FAN, [0, 0, 0, 0], pool=[(MB, -30.0), (MB, -10.0), (512.0, -1.0)])
    rules = Rules(exit_ms=5, keep_alive_ms=1000)
    played = play(of, durations(of), rules)
    end = WARM_MS + 3 * EXECUTION_MS
    assert pool_after(of, played, rules, end) == ((MB, -30 - end), (512.0, -1 - end), (MB, 5))


@given(
    st.lists(st.integers(ANY, 2), min_size=6, max_size=6),
    st.lists(st.floats(0, 300), min_size=6, max_size=6),
    st.floats(0, 200),
)
def test_tasks_wait_for_what_they_need_and_those_of_the_second_run_for_its_submission(
    workers: list[int], execution: list[float], keep_alive_ms: float
) -> None:
    """cut; two works, a check of each; join. All that descends from the works is the second run."""
    upstream = ((), (0,), (1,), (0,), (3,), (2, 4))
    of = shape(upstream, workers)
    takes = durations(of, execution=execution, submit=4.0, told=1.0, local=2.0)
    played = play_two(of, takes, Rules(keep_alive_ms=keep_alive_ms), [False] + [True] * 5)
    for task, ups in enumerate(upstream):
        assert all(played.start[task] >= played.finish[up] for up in ups)
        assert played.execution[task] == pytest.approx(execution[task])
    assert all(played.requested[worker] >= played.finish[0] + 4 for worker in played.launched[1:])
    assert played.makespan_ms == played.finish[5]
    assert {played.worker[task] for task in range(6)} == set(played.launched)


@pytest.mark.parametrize("workers", [[0, 0, 0, 0], [0, 1, 2, 0], [ANY] * 4])
def test_without_start_up_transfers_and_gaps_two_runs_take_as_long_as_one(workers: list[int]) -> None:
    of = shape(FAN, workers)
    takes = durations(of, cold=0.0, warm=0.0)
    assert play_two(of, takes, Rules(), SECOND).makespan_ms == play(of, takes, Rules()).makespan_ms

"""Runs played forward, each worked out by hand.

Unless a test says otherwise an execution takes 50 ms, a cold start 100, a warm one 20, all else nothing, and a container is
free as soon as its worker is done.
"""

from __future__ import annotations

import math

import pytest

from predictors.simulation.play import ANY, Played, Prewarm, Rules, Stuck, play
from tests.predictors.simulation.stages import MB, durations, shape
from warehouse.errors import FlowscopeError

NEVER = math.nan
CHAIN = [[], [0], [1]]
APART = shape(CHAIN, [0, 1, 2])


def nearly(*ms: float) -> object:
    return pytest.approx(list(ms), rel=0, abs=1e-9, nan_ok=True)


# One task after the other --------------------------------------------------------------------------------------------


def test_a_chain_on_one_worker_is_one_start_and_its_phases_one_after_the_other() -> None:
    """Requested at 2, ready at 102, set up at 112; 50 ms; the next begins 3 (counters) and 5 (local) ms later."""
    run = shape(CHAIN, [0, 0, 0])
    takes = durations(run, execution=[50, 60, 70], upload=[0, 0, 7], counters=3, setup=(10, 0, 0, 0), local=5, submit=2)
    played = play(run, takes, Rules())
    assert (played.requested, played.ready) == ([2], [102])
    assert played.start == [112, 170, 238]
    assert played.finish == [162, 230, 315]
    assert played.release == [165, 233, 318]
    assert played.execution == [50, 60, 70]
    assert (played.released, played.makespan_ms) == ([318], 315)


def test_a_run_ends_when_its_sink_has_told_the_client_whatever_else_goes_on() -> None:
    """The sink ends at 150 and tells for 9; the other root on another worker goes on until 300."""
    run = shape([[], []], [0, 1])
    played = play(run, durations(run, execution=[200, 50], invocation=[0, 9]), Rules())
    assert played.makespan_ms == 159
    assert played.released == [300, 159]


def test_what_a_run_took_is_summed_over_the_workers_that_were_asked_for() -> None:
    """Worker 0: 0 to 150; worker 2: 0 to 160, with half the memory; nobody asks for worker 1."""
    run = shape([[], []], [0, 2], memory_mb=[2048, 4096, 512])
    played = play(run, durations(run, cold=[100, 100, 110]), Rules())
    assert played.launched == [0, 2]
    assert played.active_ms == 310
    assert played.startup_ms == 210
    assert played.gb_seconds == pytest.approx(2 * 0.150 + 0.5 * 0.160)
    assert (played.starts("cold"), played.starts("warm")) == (2, 0)
    assert played.requested == nearly(0, NEVER, 0)


def test_a_task_waits_for_its_longest_input_and_what_is_lost_beyond() -> None:
    """Of the sink's inputs one is here, the others take 30 and 20 ms; one that no task made takes 25; 4 are lost."""
    run = shape([[], [], [], [0, 1, 2]], [0, 1, 2, 0])
    download = [[], [], [], [999, 30, 20]]
    played = play(run, durations(run, download=download, stored=[0, 0, 0, 25], overhead=[0, 0, 0, 4]), Rules())
    assert (played.start[3], played.wait[3], played.makespan_ms) == (150, 34, 234)
    stored = play(run, durations(run, download=download, stored=[0, 0, 0, 40], overhead=[0, 0, 0, 4]), Rules())
    assert stored.wait[3] == 44


# Who launches and tells whom -----------------------------------------------------------------------------------------


def test_a_fan_out_goes_on_here_and_asks_for_other_workers_half_way_through_its_launches() -> None:
    """The root is done at 155 and counted at 156; launching takes 8: others are requested at 156 + 4 + 1.

    Of the two tasks that stay the first begins at 156 + 8 + 2, the second 3 later. Those elsewhere begin with their
    worker, at 261. The last of the four is told at 341: the sink begins 4 later and downloads for 20.
    """
    run = shape([[], [0], [0], [0], [0], [1, 2, 3, 4]], [0, 0, 1, 2, 0, 0])
    takes = durations(
        run, execution=[50, 50, 50, 60, 50, 30], upload=[5, 0, 5, 5, 0, 0], counters=1, invocation=[8, 0, 0, 0, 0, 0],
        download=[[], [9], [10], [14], [9], [9, 10, 20, 9]], local=2, next=3, told=4, request=1,
    )  # fmt: skip
    played = play(run, takes, Rules())
    assert played.requested == [0, 161, 161]
    assert played.ready == [100, 261, 261]
    assert played.start == [100, 166, 261, 261, 169, 345]
    assert played.wait == [0, 0, 10, 14, 0, 20]
    assert played.finish == [155, 216, 326, 340, 219, 395]
    assert played.release[0] == 164
    assert played.released == [396, 327, 341]


def test_a_join_whose_worker_runs_is_told_by_event_and_nobody_is_launched_again() -> None:
    """Worker 0 idles from 150 on; the other root is done at 200, so that the sink begins at 200 + 4."""
    run = shape([[], [], [0, 1]], [0, 1, 0])
    played = play(run, durations(run, execution=[50, 100, 50], told=4, local=1000), Rules())
    assert played.start == [100, 100, 204]
    assert (played.makespan_ms, played.released) == (254, [254, 200])


def test_a_join_made_complete_by_its_own_worker_goes_on_there() -> None:
    run = shape([[], [], [0, 1]], [0, 1, 0])
    played = play(run, durations(run, execution=[100, 50, 50], told=1000, local=4), Rules())
    assert played.start == [100, 100, 204]


def test_a_task_of_a_worker_that_still_starts_begins_with_it() -> None:
    """Worker 0 is asked for at 0 and ready at 500: the sink, told of at 150, waits for that and not for 4 more."""
    run = shape([[], [], [1]], [0, 1, 0])
    played = play(run, durations(run, cold=[500, 100], told=4), Rules())
    assert (played.requested, played.start) == ([0, 0], [500, 100, 500])


def test_a_worker_with_tasks_to_come_is_not_done() -> None:
    """Worker 0 waits from 150 to 250 for the sink, so its container is not there for worker 1 at 150, nor free before 300."""
    run = shape(CHAIN, [0, 1, 0])
    played = play(run, durations(run), Rules())
    assert played.state == ["cold", "cold"]
    assert (played.start, played.released) == ([100, 250, 300], [350, 300])


def test_a_worker_sets_up_what_its_tasks_to_come_await() -> None:
    """Worker 1 runs a root, and task 3, which awaits two tasks elsewhere: pre-loaded both, of which it may run one itself."""
    run = shape([[], [], [], [0, 2], [1, 3]], [0, 1, 2, 1, 1], preloads=[3], duplicable=[2])
    takes = durations(run, setup=(10, 20, 3, 5), download=0)
    begins = {
        Rules(): 100 + 10 + 20 + 2 * 3 + 5,
        Rules(preload=False): 100 + 10 + 20 + 5,
        Rules(duplicate=False): 100 + 10 + 20 + 2 * 3,
        Rules(duplicate=False, preload=False): 100 + 10 + 20,
    }
    for rules, ms in begins.items():
        played = play(run, takes, rules)
        assert (played.start[0], played.start[1], played.start[2]) == (110, ms, 110)


def test_a_worker_sets_up_nothing_for_tasks_whose_inputs_are_there() -> None:
    """Worker 1 is asked for at 160, by the last task that it awaits."""
    run = shape([[], [0]], [0, 1], preloads=[1], duplicable=[0])
    played = play(run, durations(run, setup=(10, 20, 3, 5)), Rules(exit_ms=1))
    assert played.start == [110, 270]


def test_what_a_worker_sets_up_is_what_was_missing_when_it_was_asked_for() -> None:
    """Task 2 awaits the other root, which is done at 150; worker 1, asked for at 0, is ready at 500."""
    run = shape([[], [], [0], [1, 2]], [0, 1, 1, 1])
    assert play(run, durations(run, cold=[100, 500], setup=(10, 20, 0, 0)), Rules()).start[1] == 530


# Cold and warm -------------------------------------------------------------------------------------------------------


def third_start(rules: Rules) -> str:
    """A chain over three workers: the first is done at 150, the second at 300, when the third is asked for."""
    played = play(APART, durations(APART), rules)
    assert played.requested == [0, 150, 300]
    assert played.state[:2] == ["cold", "cold"]
    assert played.ready[2] == 300 + {"cold": 100, "warm": 20}[played.state[2]]
    return played.state[2]


def test_a_container_is_free_once_it_has_exited() -> None:
    """The first worker's at 150 + exit; the second's not before 300 + exit."""
    assert third_start(Rules(exit_ms=10)) == "warm"
    assert third_start(Rules(exit_ms=150)) == "warm"
    assert third_start(Rules(exit_ms=151)) == "cold"


def test_a_container_is_kept_for_the_keep_alive() -> None:
    """Free since 160, it is idle for 140 ms when it is wanted."""
    assert third_start(Rules(exit_ms=10, keep_alive_ms=141)) == "warm"
    assert third_start(Rules(exit_ms=10, keep_alive_ms=140)) == "cold"


@pytest.mark.parametrize(
    ("phase", "state"),
    [
        (0.0, "cold"),  # sweeps at 210 and 280
        (0.2, "cold"),  # 224 and 294
        (0.25, "cold"),  # 227.5 and 297.5
        (0.3, "warm"),  # 231 and 301: at 231 it has been idle for 71
        (0.5, "warm"),  # 245 and 315
        (0.9, "cold"),  # 203 and 273
    ],
)
def test_a_container_goes_at_the_first_sweep_after_its_keep_alive(phase: float, state: str) -> None:
    """Free since 160 and kept for 100 ms it may go from 260 on, and is wanted at 300; a sweep comes every 70 ms."""
    assert third_start(Rules(exit_ms=10, keep_alive_ms=100, sweep_ms=70, sweep_phase=phase)) == state


def test_a_container_is_taken_by_a_worker_of_its_memory_only() -> None:
    run = shape([[]], [0], memory_mb=[512], pool=[(MB, -10.0)])
    assert play(run, durations(run), Rules()).state == ["cold"]
    run = shape([[]], [0], memory_mb=[512], pool=[(512.0, -10.0)])
    assert play(run, durations(run), Rules()).state == ["warm"]


def test_a_container_keeps_the_memory_of_its_worker() -> None:
    """Worker 0's, of 512 MB, is free from 160 on: worker 2, asked for at 300, is of that memory or another."""
    for memory_mb, state in ((512.0, "warm"), (MB, "cold")):
        run = shape(CHAIN, [0, 1, 2], memory_mb=[512, 2048, memory_mb])
        assert play(run, durations(run), Rules(exit_ms=10)).state[2] == state


def test_a_container_of_the_pool_is_taken_once_and_while_it_is_kept() -> None:
    """Of two roots one finds the only container; idle for 10 ms it is gone if kept for 10."""
    run = shape([[], []], [0, 1], pool=[(MB, -10.0)])
    assert play(run, durations(run), Rules(keep_alive_ms=11)).state == ["warm", "cold"]
    assert play(run, durations(run), Rules(keep_alive_ms=10)).state == ["cold", "cold"]


def second_start(reuse: str, seed: int = 0) -> str:
    """Of containers free since -90 and -10, kept for 100 ms, one is taken at 0; another is wanted at 70, when the first is gone."""
    run = shape([[], [0]], [0, 1], pool=[(MB, -90.0), (MB, -10.0)])
    played = play(run, durations(run), Rules(keep_alive_ms=100, reuse=reuse, seed=seed, exit_ms=1000))
    assert (played.state[0], played.requested[1]) == ("warm", 70)
    return played.state[1]


def test_the_policy_of_reuse_decides_which_container_is_left() -> None:
    assert second_start("most recent") == "cold"
    assert second_start("least recent") == "warm"
    assert {second_start("any", seed) for seed in range(20)} == {"cold", "warm"}


def test_a_pre_warm_makes_the_start_warm_that_comes_after_it() -> None:
    """Worker 0 is ready at 100; worker 1 is asked for at 150."""

    def starts(rules: Rules, delay_ms: float, memory_mb: float = MB) -> list[str]:
        run = shape([[], [0]], [0, 1], prewarms=[Prewarm(0, memory_mb, delay_ms)])
        return play(run, durations(run), rules).state

    assert starts(Rules(exit_ms=1), 10) == ["cold", "warm"]
    assert starts(Rules(exit_ms=1), 49) == ["cold", "warm"]
    assert starts(Rules(exit_ms=1), 51) == ["cold", "cold"]
    assert starts(Rules(exit_ms=1), 10, 512.0) == ["cold", "cold"]
    assert starts(Rules(exit_ms=1, keep_alive_ms=40), 10) == ["cold", "cold"]
    assert starts(Rules(exit_ms=1, prewarm="off"), 10) == ["cold", "cold"]


def test_perfect_pre_warms_leave_only_the_workers_of_roots_cold() -> None:
    run = shape([[], [], [0], [1, 2]], [0, 1, 2, 3])
    played = play(run, durations(run), Rules(prewarm="perfect", exit_ms=10_000))
    assert played.state == ["cold", "cold", "warm", "warm"]
    assert played.start == [100, 100, 150 + 20, 220 + 20]


# Limits --------------------------------------------------------------------------------------------------------------


def test_where_the_platform_is_full_requests_wait_in_order_and_their_start_up_with_them() -> None:
    """Three roots and one place, containers that take long to exit: each start is cold, and begins when another is done."""
    run = shape([[], [], []], [0, 1, 2])
    played = play(run, durations(run), Rules(max_workers=1, exit_ms=1000))
    assert played.requested == [0, 0, 0]
    assert played.ready == [100, 250, 400]
    assert played.released == [150, 300, 450]
    assert played.state == ["cold", "cold", "cold"]
    two = play(run, durations(run), Rules(max_workers=2, exit_ms=1000))
    assert two.ready == [100, 100, 250]


def test_a_request_that_waited_takes_the_container_that_it_waited_for() -> None:
    """Done at 150, its container is free at once: ready at 170; the next from 220 to 240."""
    run = shape([[], [], []], [0, 1, 2])
    played = play(run, durations(run), Rules(max_workers=1))
    assert (played.state, played.ready) == (["cold", "warm", "warm"], [100, 170, 240])


def test_a_worker_runs_no_more_tasks_at_once_than_its_limit() -> None:
    """Three tasks follow the root at 150 on one worker; a place is free when a task is released, 5 ms after its output."""
    run = shape([[], [0], [0], [0], [1, 2, 3]], [0, 0, 0, 0, 0])
    takes = durations(run, counters=5)
    assert play(run, takes, Rules()).start == [100, 155, 155, 155, 210]
    assert play(run, takes, Rules(task_limit=3)).start == [100, 155, 155, 155, 210]
    assert play(run, takes, Rules(task_limit=2)).start == [100, 155, 155, 210, 265]
    assert play(run, takes, Rules(task_limit=1)).start == [100, 155, 210, 265, 320]


@pytest.mark.parametrize("rules", [Rules(max_workers=1), Rules(task_limit=0)])
def test_a_run_that_cannot_end_is_stuck_and_says_what_to_change(rules: Rules) -> None:
    """Worker 0 keeps its place for the sink, so that worker 1 never gets one; or no task may run at all."""
    run = shape(CHAIN, [0, 1, 0])
    with pytest.raises(Stuck, match="Hint: allow more workers, or more tasks on a worker"):
        play(run, durations(run), rules)
    assert issubclass(Stuck, FlowscopeError)
    assert play(run, durations(run), Rules(max_workers=2, task_limit=1)).makespan_ms == 350


# Optimisations -------------------------------------------------------------------------------------------------------


def preloading(rules: Rules, **takes: float) -> Played:
    """The sink's inputs are made elsewhere, at 150 and 300, and take 400 and 100 ms; worker 0 tells itself at 120."""
    run = shape([[], [], [], [0, 1, 2]], [0, 1, 2, 0], preloads=[3])
    executions, download = [20, 50, 200, 50], [[], [], [], [0, 400, 100]]
    return play(run, durations(run, execution=executions, download=download, told=40, **takes), rules)


def test_a_pre_load_hides_what_of_a_download_happens_before_the_task_begins() -> None:
    """The sink begins at 340. From 150 on 400 ms: 210 are left; from 300 on 100 ms: 60."""
    played = preloading(Rules())
    assert (played.start[3], played.wait[3], played.makespan_ms) == (340, 210, 600)
    assert preloading(Rules(preload=False)).wait[3] == 400


def test_a_pre_load_begins_when_its_worker_is_ready() -> None:
    """Worker 0 is ready at 180: 180 + 400 - 340."""
    assert preloading(Rules(), cold=[180, 100, 100]).wait[3] == 240


def test_a_download_that_a_pre_load_hides_wholly_is_not_waited_for() -> None:
    """Both outputs are there at 150 and take 50 ms; the worker, busy until 250, begins the sink then."""
    run = shape([[], [], [], [0, 1, 2]], [0, 1, 2, 0], preloads=[3])
    takes = durations(run, execution=[150, 50, 50, 50], download=50)
    assert play(run, takes, Rules()).wait[3] == 0
    assert play(run, takes, Rules(preload=False)).wait[3] == 50


DUPLICATION = shape([[], [], [0, 1]], [0, 1, 1], duplicable=[0])


def test_a_duplicate_wins_where_the_own_worker_comes_late() -> None:
    """Worker 0 is ready at 1000. Worker 1 has its own input at 150, runs the other itself until 200, then the sink."""
    takes = durations(DUPLICATION, cold=[1000, 100], download=10)
    played = play(DUPLICATION, takes, Rules())
    assert played.worker == [1, 1, 1]
    assert (played.start, played.wait[2], played.makespan_ms) == ([150, 100, 200], 0, 250)
    assert played.released == [1000, 250]
    alone = play(DUPLICATION, takes, Rules(duplicate=False))
    assert (alone.worker, alone.start, alone.makespan_ms) == ([0, 1, 1], [1000, 100, 1050], 1110)


def test_only_a_task_that_may_be_duplicated_and_that_nobody_began_is() -> None:
    """Worker 0 began task 1 at 170, before worker 1, ready at 180, has its own input at 200: it waits, until 220."""
    run = shape([[], [0], [], [1, 2]], [0, 0, 1, 1], duplicable=[1])
    takes = durations(run, cold=[100, 180], download=[[], [100], [], [10, 10]], local=20, execution=[50, 50, 20, 50])
    assert play(run, takes, Rules()).released == [220, 280]
    run = shape([[], [], [0, 1]], [0, 1, 1], duplicable=[1])
    assert play(run, durations(run, cold=[1000, 100]), Rules()).worker == [0, 1, 1]


def test_a_task_is_duplicated_by_a_worker_that_lacks_nothing_else() -> None:
    """Worker 1 awaits two tasks of workers that start for 1000 and 500 ms: it lacks one alone from 550 on."""
    run = shape([[], [], [], [0, 2, 1]], [0, 1, 2, 1], duplicable=[0])
    played = play(run, durations(run, cold=[1000, 100, 500]), Rules())
    assert played.start == [550, 100, 500, 600]


def test_a_worker_without_a_place_for_a_task_duplicates_none() -> None:
    """Worker 1 runs its own root from 100 to 700, and could run beside it what its other task lacks."""
    run = shape([[], [], [0], [1, 2]], [0, 1, 1, 1], duplicable=[0])
    takes = durations(run, cold=[300, 100], execution=[50, 600, 50, 50])
    assert play(run, takes, Rules(task_limit=2)).start == [100, 100, 150, 700]
    assert play(run, takes, Rules(task_limit=1)).start == [300, 100, 700, 750]


def test_a_duplicate_that_loses_costs_time_on_its_worker_only() -> None:
    """Task 1 is told of at 150 and begins at 170 on worker 0, until 220; worker 1 begins it at 150 but has to download

    until 250 and ends at 300. The sink begins at 220 and downloads for 10.
    """
    run = shape([[], [0], [], [1, 2]], [0, 0, 1, 1], duplicable=[1])
    takes = durations(run, download=[[], [100], [], [10, 10]], local=20, execution=[50, 50, 20, 50])
    played = play(run, takes, Rules())
    assert played.worker == [0, 0, 1, 1]
    assert (played.start, played.finish[1]) == ([100, 170, 100, 220], 220)
    assert (played.makespan_ms, played.released) == (280, [220, 300])


def test_a_worker_keeps_its_container_while_it_has_a_task_to_come_or_a_duplicate_to_end() -> None:
    """Worker 1 ends a duplicate at 200 and what needs it at 250; at 260 worker 2 is asked for; the sink is still to come.

    Then, as in the last test but for memory: worker 1 is done with its own at 280, and with a lost duplicate at 300; worker 2
    is asked for at 285.
    """
    run = shape([[], [], [0, 1], [0], [2, 3]], [0, 1, 1, 2, 1], duplicable=[0])
    assert play(run, durations(run, cold=[1000, 100, 100], request=60), Rules()).state == ["cold", "cold", "cold"]
    run = shape([[], [0], [], [1, 2], [3]], [0, 0, 1, 1, 2], memory_mb=[512, MB, MB], duplicable=[1])
    takes = durations(
        run, download=[[], [100], [], [10, 10], [0]], local=20, execution=[50, 50, 20, 50, 50], request=5,
    )  # fmt: skip
    played = play(run, takes, Rules())
    assert (played.finish[3], played.released[1], played.requested[2]) == (280, 300, 285)
    assert played.state[2] == "cold"


def test_a_duplicate_downloads_what_the_own_worker_pre_loads() -> None:
    """Task 2 needs what workers 2 and 3 made at 150 and 200; its own worker comes at 1000. Worker 1 begins it at 200, and

    downloads for 30 though the outputs have been there for up to 50.
    """
    run = shape([[], [], [0, 1], [], [2, 3]], [2, 3, 0, 1, 1], preloads=[2], duplicable=[2])
    takes = durations(run, cold=[1000, 100, 100, 150], download=[[], [], [30, 0], [], [0, 0]])
    played = play(run, takes, Rules(exit_ms=10_000))
    assert (played.worker[2], played.start[2], played.wait[2], played.makespan_ms) == (1, 200, 30, 330)


def test_of_flexible_tasks_one_goes_on_where_they_were_made_and_each_other_launches_a_worker() -> None:
    """The root is done at 150; task 1 begins there at 150 + 8 + 2, others are asked for at 150 + 4 + 1, ready at 255.

    They download for 10; the last, task 3, is done at 325, and the sink goes on there, at 327, with 10 to download.
    """
    run = shape([[], [0], [0], [0], [1, 2, 3]], [ANY] * 5)
    takes = durations(run, execution=[50, 50, 50, 60, 50], invocation=[8, 0, 0, 0, 0], download=10, local=2, request=1)
    played = play(run, takes, Rules())
    assert played.worker == [0, 0, 2, 3, 3]
    assert played.requested == nearly(0, NEVER, 155, 155, NEVER)
    assert played.start == [100, 160, 255, 255, 327]
    assert played.wait == [0, 0, 10, 10, 10]
    assert (played.makespan_ms, played.released) == (387, nearly(210, NEVER, 315, 387, NEVER))


def test_each_flexible_root_has_a_worker_of_its_own_with_its_memory() -> None:
    run = shape([[], [], [0, 1]], [ANY] * 3, memory_mb=[1024, 2048, 512], pool=[(2048.0, -5.0)])
    played = play(run, durations(run), Rules())
    assert (played.worker, played.state) == ([0, 1, 0], ["cold", "warm", ""])


# Contention ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contention", [0.0, 0.5, 1.0])
def test_executions_beside_each_other_share_the_worker(contention: float) -> None:
    """Two of 100 ms begin at 100 and 150. The first has 50 left, which take 50 * 2 ** c; the second is then as far as
    that, and has 50 left, alone.
    """
    run = shape([[], [], [0, 1]], [0, 0, 0])
    takes = durations(run, execution=[100, 100, 0], stored=[0, 50, 0])
    played = play(run, takes, Rules(execution_contention=contention))
    shared = 50 * 2**contention
    assert played.finish[:2] == nearly(150 + shared, 150 + shared + 50)
    assert played.execution[:2] == nearly(50 + shared, shared + 50)


def test_executions_on_other_workers_and_downloads_share_nothing() -> None:
    run = shape([[], [], []], [0, 1, 1])
    takes = durations(run, execution=[100, 100, 100], stored=[0, 0, 100])
    played = play(run, takes, Rules(execution_contention=1.0))
    assert played.execution == [100, 100, 100]


def test_of_three_beside_each_other_each_goes_at_the_third_power() -> None:
    """10, 20 and 30 ms of work at contention 1: done after 3 * 10, then 2 * 10, then 10 ms more."""
    run = shape([[], [], []], [0, 0, 0])
    played = play(run, durations(run, execution=[30, 10, 20]), Rules(execution_contention=1.0))
    assert played.finish == nearly(160, 130, 150)


def test_start_ups_beside_each_other_share_the_platform() -> None:
    """100 and 60 ms of work at once: the shorter is done at 120, the longer has 40 left: 160."""
    run = shape([[], []], [0, 1])
    takes = durations(run, cold=[100, 60])
    assert play(run, takes, Rules(startup_contention=1.0)).ready == nearly(160, 120)
    root = 2**0.5
    assert play(run, takes, Rules(startup_contention=0.5)).ready == nearly(60 * root + 40, 60 * root)
    assert play(run, takes, Rules()).ready == [100, 60]


def test_a_request_that_waits_for_a_place_slows_no_start_up() -> None:
    run = shape([[], []], [0, 1])
    played = play(run, durations(run), Rules(startup_contention=1.0, max_workers=1, exit_ms=1))
    assert played.ready == [100, 250]

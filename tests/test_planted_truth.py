"""What the views make of a log against what was planted in it (`tests/simulator.py`), through the door that users take.

Where a log tells enough the answer must be the planted one. Where it does not, a bound is stated, with what was
measured over 100 such worlds (seeds 5000 to 5099; none is used here). Every world has its own engine and environment.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import mean

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.commands import take_in
from ingest.labels import Labels
from tests.simulator import T0, Attempt, Run, Start, Truth, World, rows_of, simulate, write
from tests.warehouse.views import Row, at, derived, one, select
from warehouse.home import Home
from warehouse.views import core_views

TO_A_MICROSECOND = 1e-6
"""Of a millisecond: everything planted is whole microseconds, so nothing but floats may differ."""

DEATHS = {"never_ready": 0.04, "killed": 0.04, "raises": 0.05}
HELP = {"prewarm": 0.5, "preload": 0.6}
POLICIES = ("most recent", "least recent", "random")


def worlds(name: str, seeds: range, **planted: object) -> list[World]:
    return [World(f"{name}.{seed}", seed, unseen_runs=4, **planted) for seed in seeds]  # type: ignore[arg-type]


KINDS: dict[str, list[World]] = {
    "plain": worlds("plain", range(4)),
    "helped": worlds("helped", range(4), **HELP),
    "deadly": worlds("deadly", range(4), **DEATHS, shows_deaths=True),
    "all": worlds("all", range(3), **DEATHS, **HELP, shows_states=True),
    "all, hidden": worlds("all-hidden", range(3), **DEATHS, **HELP),
    "named": worlds("named", range(2), policy="random", shows_containers=True, **DEATHS),
    "named, no ends": worlds("named-no-ends", range(2), policy="random", shows_containers=True, shows_ends=False),
    "named and pre-warmed": worlds("named-pre-warmed", range(1), shows_containers=True, prewarm=0.5),
} | {
    f"{policy}, {'ends' if ends else 'no ends'}": worlds(
        f"{policy.replace(' ', '-')}-{ends}", range(4), policy=policy, shows_ends=ends
    )
    for policy, ends in [(policy, ends) for policy in POLICIES for ends in (True, False)]
    if (policy, ends) != ("most recent", True)  # that is 'plain'
}


@dataclass(frozen=True)
class Recovered:
    """A world beside what the warehouse says of it."""

    truth: Truth
    ask: Callable[[str], list[Row]] = field(repr=False)

    def __getitem__(self, view: str) -> list[Row]:
        return self.ask(view)

    def by(self, view: str, *key: str) -> dict[object, Row]:
        """The rows of a view by a key that is one."""
        rows = {tuple(row[name] for name in key) if len(key) > 1 else row[key[0]]: row for row in self[view]}
        assert len(rows) == len(self[view])
        return rows

    @cached_property
    def last(self) -> dict[tuple[str, str], Attempt]:
        return {(each.run_id, each.task_id): each for each in self.truth.attempts}

    @cached_property
    def log_begins(self) -> int:
        return min(start.requested_at for start in self.truth.starts)

    def attempts_of(self, key: Run | Start) -> list[Attempt]:
        worker = key.worker_id if isinstance(key, Start) else None
        attempts = self._attempts_by_run[key.run_id]
        return [each for each in attempts if worker is None or each.worker_id == worker]

    @cached_property
    def _attempts_by_run(self) -> dict[str, list[Attempt]]:
        found = defaultdict(list)
        for each in self.truth.attempts:
            found[each.run_id].append(each)
        return found


def recover(home: Home, folder: Path, truths: Iterable[Truth]) -> dict[str, Recovered]:
    """Write worlds down, take them in and ask the published generation, by the world's name."""
    take_in(home, (str(write(folder, *truths)),), Labels())
    connection = duckdb.connect(str(home.current.resolve()), read_only=True)
    cached: dict[str, dict[str, list[Row]]] = {}

    def ask(name: str, view: str) -> list[Row]:
        if view not in cached:
            cached[view] = defaultdict(list)
            for row in select(connection, f"from {view}"):
                world = row["run_id"].rsplit("-", 1)[0] if "run_id" in row else row.get("engine", row.get("workflow"))
                cached[view][world].append(row)
        return cached[view][name]

    return {truth.world.name: Recovered(truth, lambda view, name=truth.world.name: ask(name, view)) for truth in truths}


@pytest.fixture(scope="module")
def recovered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Recovered]]:
    """Every world of every kind, in one warehouse."""
    place = tmp_path_factory.mktemp("planted")
    truths = [simulate(world) for of_kind in KINDS.values() for world in of_kind]
    by_name = recover(Home(place / "home"), place / "dump", truths)
    return {kind: [by_name[world.name] for world in of_kind] for kind, of_kind in KINDS.items()}


@pytest.fixture(scope="module")
def every(recovered: dict[str, list[Recovered]]) -> list[Recovered]:
    return [each for of_kind in recovered.values() for each in of_kind]


def ms(us: int | None) -> float | None:
    return None if us is None else us / 1000


def exactly(expected: float | None) -> object:
    return None if expected is None else pytest.approx(expected, rel=0, abs=TO_A_MICROSECOND)


def overlap(*spans: tuple[float, float]) -> float:
    """The time that all spans have in common."""
    return max(0.0, min(end for _, end in spans) - max(begin for begin, _ in spans))


def test_the_simulator_plants_what_it_promises(recovered: dict[str, list[Recovered]]) -> None:
    """In the worlds of every kind, and nothing else: a world in which nothing happens would prove nothing."""
    for of_kind in recovered.values():
        world, truths = of_kind[0].truth.world, [each.truth for each in of_kind]
        starts = [start for truth in truths for start in truth.starts]
        attempts = [attempt for truth in truths for attempt in truth.attempts]
        assert {start.state for start in starts} == {"cold", "warm"}
        assert {start.fate for start in starts} == ({"worked", "killed", "never_ready"} if world.killed else {"worked"})
        assert bool(world.raises) == any(run.failed for truth in truths for run in truth.runs)
        assert bool(world.raises) == any(attempt.attempt == 2 for attempt in attempts)
        assert bool(world.preload) == any(input_.preloaded for truth in truths for input_ in truth.inputs)
        assert bool(world.prewarm) == any((start.took_over or "").startswith("pre-warm") for start in starts)


def test_the_simulator_runs_a_task_once_all_it_needs_is_there_and_takes_every_other_one_down(
    every: list[Recovered],
) -> None:
    for each in every:
        for run in each.truth.runs:
            assert run.told | run.failed | run.never_run == run.upstream.keys()
            assert run.never_run.isdisjoint({attempt.task_id for attempt in each.attempts_of(run)})
            assert all(
                each.last[run.run_id, other].finished_at <= each.last[run.run_id, task].started_at
                for task, upstream in run.upstream.items()
                if (run.run_id, task) in each.last
                for other in upstream
            )


# Cold and warm -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """How the states of a world's ready workers were told."""

    wrong: tuple[str, ...]
    balanced_accuracy: float
    share_unknown: float
    bounds: tuple[float, float]

    def contains(self, keep_alive: float, slack: float = 0) -> bool:
        return self.bounds[0] - slack <= keep_alive <= self.bounds[1] + slack


def judged(each: Recovered) -> Judged:
    found = each.by("cold_starts", "invocation_id")
    assert found.keys() == {start.invocation_id for start in each.truth.starts}
    ready = [start for start in each.truth.starts if start.ready_at is not None]
    told = Counter((start.state, found[start.invocation_id]["state"]) for start in ready)
    recalls = [told[state, state] / (told[state, "cold"] + told[state, "warm"]) for state in ("cold", "warm")]
    estimate = one([row for row in each["keep_alive"] if row["basis"] == "start-up times"])
    return Judged(
        tuple(s.invocation_id for s in ready if found[s.invocation_id]["state"] not in (s.state, "unknown")),
        mean(recalls),
        sum(n for (_, state), n in told.items() if state == "unknown") / len(ready),
        (estimate["lower_ms"], estimate["upper_ms"]),
    )


@pytest.mark.parametrize("kind", ["plain", "helped"])
def test_where_the_most_recent_container_is_reused_and_ends_are_recorded_no_start_is_told_wrongly(
    recovered: dict[str, list[Recovered]], kind: str
) -> None:
    """As long as the estimated keep-alive holds the planted one; what stays unknown has a reason that is true."""
    told = [(each, judged(each)) for each in recovered[kind]]
    told = [(each, judgement) for each, judgement in told if judgement.contains(each.truth.world.keep_alive_ms)]
    assert len(told) >= len(recovered[kind]) / 2
    for each, judgement in told:
        lower, upper = judgement.bounds
        assert not judgement.wrong
        assert judgement.share_unknown <= 0.15  # measured: .09 at most
        found = each.by("cold_starts", "invocation_id")
        left_at = {start.invocation_id: start.finished_at for start in each.truth.starts}
        for start in each.truth.starts:
            row = found[start.invocation_id]
            if row["unknown_because"] == "burn_in":
                assert ms(start.requested_at - each.log_begins) < upper
            elif row["unknown_because"] == "near_keep_alive":
                assert lower < row["idle_ms"] < upper
            else:
                assert row["unknown_because"] is None and row["state"] == start.state
            if start.took_over in left_at and row["state"] == "warm":
                assert row["matched_invocation_id"] == start.took_over
                assert row["idle_ms"] == exactly(ms(start.requested_at - left_at[start.took_over]))


def test_the_keep_alive_from_start_up_times_holds_the_planted_one(recovered: dict[str, list[Recovered]]) -> None:
    """Nearly always: measured, in 184 of 200 worlds, with bounds .4 s apart in the median, 2.3 s at most."""
    held = [(each, judged(each)) for kind in ("plain", "helped") for each in recovered[kind]]
    assert sum(judgement.contains(each.truth.world.keep_alive_ms) for each, judgement in held) >= len(held) - 3
    assert all(judgement.bounds[1] - judgement.bounds[0] <= 4000 for _, judgement in held)


def test_labels_bound_the_keep_alive_between_the_longest_reuse_and_the_shortest_idle_time_that_went_cold(
    recovered: dict[str, list[Recovered]],
) -> None:
    for each in recovered["all"]:
        row = one([row for row in each["keep_alive"] if row["basis"] == "labels"])
        assert row["lower_ms"] <= each.truth.world.keep_alive_ms <= row["upper_ms"]


@pytest.mark.parametrize("kind", ["named", "named, no ends"])
def test_where_containers_have_names_no_start_is_told_wrongly_whatever_the_policy(
    recovered: dict[str, list[Recovered]], kind: str
) -> None:
    for each in recovered[kind]:
        found = each.by("cold_starts", "invocation_id")
        left_at = {start.invocation_id: start.finished_at for start in each.truth.starts}
        undecided = [start for start in each.truth.starts if found[start.invocation_id]["state"] == "unknown"]
        assert len(undecided) <= 0.1 * len(found)  # measured: .04 at most
        for start in each.truth.starts:
            row = found[start.invocation_id]
            if row["state"] == "unknown":
                assert row["unknown_because"] == "burn_in"
                assert start.took_over not in left_at
            else:
                assert (row["state"], row["state_source"]) == (start.state, "container")
                if start.state == "warm":
                    assert row["matched_invocation_id"] == start.took_over
                    idle = start.requested_at - left_at[start.took_over]
                    assert row["idle_ms"] == exactly(ms(idle)) or not each.truth.world.shows_ends


@pytest.mark.parametrize(
    ("kind", "balanced_accuracy", "share_unknown"),
    [
        # measured: the worst of 100 worlds
        ("least recent, ends", 0.9, 0.15),  # .948 and .070
        ("random, ends", 0.9, 0.15),  # .954 and .090
        ("most recent, no ends", 0.9, 0.25),  # .956 and .198
        ("least recent, no ends", 0.88, 0.25),  # .937 and .161
        ("random, no ends", 0.88, 0.25),  # .938 and .161
        ("deadly", 0.9, 0.15),  # .961 and .069: two requests of one instant are swapped
        ("all, hidden", 0.88, 0.15),  # .967 and .077: pre-warmed, but the worker they are for was never launched
    ],
)
def test_what_a_log_cannot_tell_costs_little(
    recovered: dict[str, list[Recovered]], kind: str, balanced_accuracy: float, share_unknown: float
) -> None:
    """Another policy than the one assumed, an end that only tasks hint at, or deaths."""
    for each in recovered[kind]:
        judgement = judged(each)
        assert judgement.balanced_accuracy >= balanced_accuracy
        assert judgement.share_unknown <= share_unknown


def test_ends_told_by_tasks_move_the_keep_alive_by_less_than_two_seconds(recovered: dict[str, list[Recovered]]) -> None:
    """A worker ends 100 to 700 ms after its last task, 400 are assumed. Measured: 1.4 s beyond the bounds at most."""
    for each in recovered["most recent, no ends"]:
        assert judged(each).contains(each.truth.world.keep_alive_ms, slack=2000)


def test_states_that_are_reported_are_believed_and_the_quality_counts_what_is_inferred_when_they_are_hidden(
    recovered: dict[str, list[Recovered]],
) -> None:
    for each, hidden in zip(recovered["all"], recovered["all, hidden"], strict=True):
        labels = {start.invocation_id: start.state for start in each.truth.starts if start.ready_at is not None}
        found = each.by("cold_starts", "invocation_id")
        assert {name: (found[name]["state"], found[name]["state_source"]) for name in labels} == {
            name: (state, "reported") for name, state in labels.items()
        }
        inferred = {(row["requested_at"], row["worker_id"]): row["state"] for row in hidden["cold_starts"]}
        told = Counter(
            (state, inferred[found[name]["requested_at"], found[name]["worker_id"]]) for name, state in labels.items()
        )
        rows = each["cold_start_inference_quality"]
        assert sum(row["n"] for row in rows) == len(labels)
        assert sum(row["unknown"] for row in rows) == sum(n for (_, state), n in told.items() if state == "unknown")
        for label in ("cold", "warm"):
            for state in ("cold", "warm"):
                assert sum(row[f"{label}_as_{state}"] for row in rows) == told[label, state]


@pytest.mark.xfail(strict=True, reason="a container first seen counts as cold, pre-warmed or not")
def test_a_pre_warmed_container_with_a_name_starts_warm(recovered: dict[str, list[Recovered]]) -> None:
    for each in recovered["named and pre-warmed"]:
        found = each.by("cold_starts", "invocation_id")
        pre_warmed = [start for start in each.truth.starts if (start.took_over or "").startswith("pre-warm")]
        assert all(found[start.invocation_id]["state"] in ("warm", "unknown") for start in pre_warmed)


@pytest.mark.xfail(strict=True, reason="a named container counts as free from its last task on, any other 400 ms later")
def test_names_without_ends_move_the_keep_alive_by_no_more_than_the_end_is_unsure_either(
    recovered: dict[str, list[Recovered]],
) -> None:
    for each in recovered["named, no ends"]:
        for row in [row for row in each["keep_alive"] if row["basis"] == "labels"]:
            assert row["lower_ms"] <= each.truth.world.keep_alive_ms + 300


def started(name: str, asked: float, startup: float, ended: float | None) -> Row:
    """A hand-made invocation: times in ms."""
    ready, finished = at(asked + startup), None if ended is None else at(ended)
    ids = {"invocation_id": name, "run_id": "r", "worker_id": name, "memory_mb": 1024}
    return ids | {"requested_at": at(asked), "ready_at": ready, "finished_at": finished}


RUN = {"run_id": "r", "engine": "e", "environment": "here"}


@pytest.mark.xfail(
    strict=True, reason="a worker whose end is not recorded counts as asked for 1 % of its start-up late"
)
def test_where_ends_are_recorded_a_worker_that_dies_takes_the_container_before_one_asked_for_after_it() -> None:
    invocations = [started("first", 0, 100, 1000), started("dies", 2000, 300, None), started("next", 2002, 1000, 4000)]
    found = {
        row["invocation_id"]: row["matched_invocation_id"]
        for row in derived("container_reuse", runs=[RUN], invocations=invocations)
    }
    assert found == {"first": None, "dies": "first", "next": None}


@pytest.mark.xfail(strict=True, reason="a start faster than the fastest of those surely cold is held to be warm")
def test_a_cold_start_faster_than_those_seen_before_does_not_move_the_keep_alive() -> None:
    """Planted: 7 s; warm in 250 ms, cold in 1001 ms and more, but once, beside another start, in 990."""
    invocations, now = [], 0.0
    for number, gap in enumerate([20000, *range(300, 7000, 300), *range(8600, 10600, 100)]):
        now += gap
        invocations.append(started(f"{number:02}", now, 250 if gap < 7000 else 1001 + number, now + 2000))
        now += 2000
    (before,) = derived("keep_alive", runs=[RUN], invocations=invocations)
    assert (before["lower_ms"], before["upper_ms"]) == (6900, 8600)
    now += 8000
    invocations += [started("fast", now, 990, now + 2000), started("beside it", now + 1, 1100, now + 2100)]
    (after,) = derived("keep_alive", runs=[RUN], invocations=invocations)
    assert after["lower_ms"] == 6900


# Workers -------------------------------------------------------------------------------------------------------------


def test_the_periods_of_workers_are_the_planted_ones(every: list[Recovered]) -> None:
    for each in every:
        found = each.by("worker_active_periods", "invocation_id")
        assert found.keys() == {start.invocation_id for start in each.truth.starts}
        for start in each.truth.starts:
            row, attempts = found[start.invocation_id], each.attempts_of(start)
            released = max((attempt.released_at for attempt in attempts), default=None)
            ends_at = start.finished_at if each.truth.world.shows_ends and start.fate == "worked" else released
            startup = None if start.ready_at is None else start.ready_at - start.requested_at
            active = None if ends_at is None else ends_at - start.requested_at
            busy = union((attempt.started_at, attempt.released_at) for attempt in attempts)
            assert row["startup_ms"] == exactly(ms(startup))
            assert row["active_ms"] == exactly(ms(active))
            assert row["busy_ms"] == (None if active is None else exactly(ms(busy)))
            assert row["idle_ms"] == (None if active is None else exactly(ms(active - startup - busy)))
            assert row["tasks"] == len({attempt.task_id for attempt in attempts})
            assert row["task_before_ready"] in (None, False)
            if start.fate == "worked" and not each.truth.world.shows_ends:
                unseen = ms(start.finished_at - start.requested_at) - row["active_ms"]
                low, high = each.truth.world.exit_ms
                assert low <= unseen <= high or each.truth.world.raises  # a worker that gives up ends later


def union(spans: Iterable[tuple[int, int]]) -> int:
    """How long at least one of the spans lasts."""
    covered, reached = 0, -math.inf
    for begin, end in sorted(spans):
        covered += int(max(0, end - max(begin, reached)))
        reached = max(reached, end)
    return covered


def alive(each: Recovered) -> list[tuple[str, int, int]]:
    """From when to when each worker was alive as far as the log tells: one that died until it was ready, if it was."""
    return [
        (start.run_id, start.requested_at, start.finished_at if start.fate == "worked" else start.ready_at)
        for start in each.truth.starts
        if start.ready_at is not None
    ]


@pytest.mark.parametrize("kind", ["plain", "helped", "deadly", "all", "named"])
def test_concurrency_is_what_counting_gives(recovered: dict[str, list[Recovered]], kind: str) -> None:
    """At every change, over the environment and over the run; so are its peaks."""
    for each in recovered[kind]:
        lives, rows = alive(each), each["concurrency"]
        startups = [(start.requested_at, start.ready_at) for start in each.truth.starts if start.ready_at is not None]
        counted = []
        for row in rows:
            now = (row["changed_at"] - T0).total_seconds() * 1e6
            living = [run for run, begins, ends in lives if begins <= round(now) < ends]
            counted.append((len(living), living.count(row["run_id"])))
            assert (row["workers"], row["run_workers"]) == counted[-1]
            assert row["runs"] == len(set(living))
            assert row["workers_starting"] == sum(begins <= round(now) < ready for begins, ready in startups)
        assert max(row["peak_workers"] for row in rows) == most([(b, e) for _, b, e in lives])
        for run in each.truth.runs:
            peak = max(row["run_workers"] for row in rows if row["run_id"] == run.run_id)
            assert peak == most([(b, e) for name, b, e in lives if name == run.run_id])


def most(spans: list[tuple[int, int]]) -> int:
    """The largest number of spans that hold at once: at the begin of one of them."""
    return max((sum(b <= begin < e for b, e in spans) for begin, _ in spans), default=0)


def test_containers_are_kept_warm_until_they_are_taken_over_or_the_estimated_keep_alive_is_over(
    recovered: dict[str, list[Recovered]],
) -> None:
    for each in recovered["named"]:  # names tell who took over whose
        (keep_alive,) = {row["keep_alive_ms"] for row in each["keep_alive"]} - {None}
        taken_at = {start.took_over: start.requested_at for start in each.truth.starts}
        lives = [
            (start.finished_at, taken_at.get(start.invocation_id, start.finished_at + round(1000 * keep_alive)))
            for start in each.truth.starts
            if start.fate == "worked"
        ]
        for row in each["concurrency"]:
            now = round((row["changed_at"] - T0).total_seconds() * 1e6)
            assert row["containers"] == row["workers"] + sum(begins <= now < ends for begins, ends in lives)


# Runs ----------------------------------------------------------------------------------------------------------------


def test_runs_took_what_was_planted(every: list[Recovered]) -> None:
    for each in every:
        found, world = each.by("run_summary", "run_id"), each.truth.world
        assert found.keys() == {run.run_id for run in each.truth.runs}
        for run in each.truth.runs:
            row, attempts, starts = found[run.run_id], each.attempts_of(run), starts_of(each, run)
            fates = Counter(start.fate for start in starts)
            done = {attempt.task_id for attempt in attempts}
            assert row["workers"] == len(starts)
            assert row["tasks_expected"] == len(run.upstream)
            assert row["tasks_seen"] == len(done)
            assert row["is_complete"] == (done == run.upstream.keys())
            assert row["failed_tasks"] == len(run.failed)
            assert row["killed_workers"] == fates["never_ready"] + (fates["killed"] if world.shows_deaths else 0)
            assert row["startup_ms"] == exactly(
                sum(ms(start.ready_at - start.requested_at) for start in starts if start.ready_at) if starts else None
            ) or not any(start.ready_at for start in starts)
            for name in ("execution", "input_wait", "upload"):
                total = sum(ms(getattr(attempt, f"{name}_us")) or 0 for attempt in attempts)
                assert row[f"{name}_ms"] == (exactly(total) if attempts else None)
            inputs = [input_ for input_ in each.truth.inputs if input_.run_id == run.run_id]
            moved = [input_ for input_ in inputs if input_.download_us is not None]
            if attempts:
                assert row["download_ms"] == exactly(sum(ms(input_.download_us) or 0 for input_ in moved))
                assert (row["downloaded_bytes"] or 0) == sum(input_.input_bytes for input_ in moved)
            if run.sink not in run.failed:
                assert row["makespan_ms"] == exactly(makespan(each, run))
            if world.shows_states:
                states = Counter(start.state if start.ready_at else "unknown" for start in starts)
                assert [row[f"{state}_starts"] for state in ("cold", "warm", "unknown")] == [
                    states[state] for state in ("cold", "warm", "unknown")
                ]


def starts_of(each: Recovered, run: Run) -> list[Start]:
    return [start for start in each.truth.starts if start.run_id == run.run_id]


def makespan(each: Recovered, run: Run) -> float | None:
    """From submission until the result was there; None where it never was."""
    if run.sink not in run.told:
        return None
    sink = each.last[run.run_id, run.sink]
    return ms(sink.finished_at + sink.invocation_us - run.submitted_at)


def test_a_run_whose_sink_raised_has_no_makespan() -> None:
    """It never had an output."""
    run = RUN | {"submitted_at": at(0), "sink_task_id": "t", "expected_tasks": 1}
    task = {"run_id": "r", "task_id": "t", "attempt": 1, "started_at": at(100), "execution_ms": 50.0}
    (succeeded,) = derived("run_summary", runs=[run], tasks=[task | {"status": "succeeded"}])
    (failed,) = derived("run_summary", runs=[run], tasks=[task | {"status": "failed"}])
    assert (succeeded["makespan_ms"], failed["makespan_ms"]) == (150, None)


def test_gb_seconds_are_those_that_containers_were_held_and_a_lower_bound_where_workers_died(
    recovered: dict[str, list[Recovered]],
) -> None:
    """By the end of a worker, where it is recorded: else it is short by what comes after its last task."""
    for kind in ("plain", "helped", "deadly", "named", "most recent, no ends"):
        for each in recovered[kind]:
            world, found = each.truth.world, each.by("run_summary", "run_id")
            for run in each.truth.runs:
                starts, seen = starts_of(each, run), found[run.run_id]["gb_seconds_derived"] or 0
                real = sum(gb_seconds(start, start.finished_at) for start in starts)
                longest = sum(start.memory_mb for start in starts) / 1024 * world.exit_ms[1] / 1000
                if not world.shows_ends:
                    assert real - longest <= seen < real
                elif all(start.fate == "worked" for start in starts):
                    assert seen == pytest.approx(real, rel=1e-12)
                else:
                    assert seen < real


@pytest.mark.parametrize("kind", ["named", "deadly"])
def test_gb_seconds_count_the_start_up_of_a_worker_that_left_no_task(
    recovered: dict[str, list[Recovered]], kind: str
) -> None:
    for each in recovered[kind]:
        found = each.by("run_summary", "run_id")
        for run in each.truth.runs:
            known = sum(
                gb_seconds(start, start.finished_at if start.fate == "worked" else start.ready_at)
                for start in starts_of(each, run)
            )
            assert (found[run.run_id]["gb_seconds_derived"] or 0) == pytest.approx(known, rel=1e-12)


def gb_seconds(start: Start, until: int | None) -> float:
    return 0.0 if until is None else start.memory_mb / 1024 * (until - start.requested_at) / 1e6


# Predictions ---------------------------------------------------------------------------------------------------------


KEY = "predictor", "level", "run_id", "task_id", "invocation_id", "metric", "sla_percentile"


def test_predictions_are_covered_and_wrong_by_as_much_as_planted(every: list[Recovered]) -> None:
    for each in every:
        found = each.by("prediction_errors", *KEY)
        for planted in each.truth.predictions:
            row = found[
                planted.predictor,
                planted.level,
                planted.run_id,
                planted.task_id,
                planted.invocation_id,
                planted.metric,
                planted.sla_percentile,
            ]
            error, share = planted.predicted - planted.actual, (planted.sla_percentile or 0) / 100
            assert row["predicted"] == pytest.approx(planted.predicted, rel=1e-12)
            assert row["actual"] == exactly(planted.actual)
            assert row["covered"] == (error >= 0)
            assert row["relative_error"] == pytest.approx(abs(error) / planted.actual, rel=1e-9)
            assert row["log_ratio"] == pytest.approx(math.log(planted.predicted / planted.actual), abs=1e-9)
            loss = max(-error * share, error * (1 - share)) if planted.sla_percentile else None
            assert row["pinball_loss"] == (None if loss is None else pytest.approx(loss, rel=1e-9))


def test_run_totals_of_a_plan_are_those_of_its_tasks_and_workers(recovered: dict[str, list[Recovered]]) -> None:
    """And are judged in complete runs alone, makespans wherever there is a result."""
    for each in (*recovered["helped"], *recovered["all"]):
        found = each.by("prediction_errors", *KEY)
        planned = defaultdict(list)
        for task in each.truth.planned:
            planned[task.run_id].append(task)
        for run in each.truth.runs[1:]:
            tasks, attempts, starts = planned[run.run_id], each.attempts_of(run), starts_of(each, run)
            is_complete = {attempt.task_id for attempt in attempts} == run.upstream.keys()
            startups = [ms(start.ready_at - start.requested_at) for start in starts if start.ready_at]
            expected = {
                "execution": (sum(task.execution_us for task in tasks), sum(ms(a.execution_us) for a in attempts)),
                "startup": (sum(task.startup_us or 0 for task in tasks), sum(startups)),
                "starts": (1000 * len(run.memory_of), len(starts)),
            }
            for metric, (predicted, actual) in expected.items():
                row = found["engine", "run", run.run_id, None, None, metric, run.sla_percentile]
                assert row["predicted"] == exactly(predicted / 1000)
                assert row["actual"] == (exactly(actual) if is_complete else None)
                assert row["covered"] == (actual <= predicted / 1000 if is_complete else None)
            row = found["engine", "run", run.run_id, None, None, "makespan", run.sla_percentile]
            assert row["predicted"] == exactly(tasks[-1].completion_offset_us / 1000)
            if run.sink not in run.failed:
                assert row["actual"] == exactly(makespan(each, run))


def test_coverage_is_the_planted_share_and_its_interval_holds_the_percentile(every: list[Recovered]) -> None:
    """Decks of 20 have it exactly: what a last deck leaves over is all that may differ."""
    for each in every:
        planted = defaultdict(list)
        for prediction in each.truth.predictions:
            key = prediction.predictor, prediction.level, prediction.metric, prediction.sla_percentile
            planted[key].append(prediction)
        found = each.by("sla_coverage", "predictor", "level", "metric", "sla_percentile", "planner")
        for (predictor, level, metric, percentile), predictions in planted.items():
            # the first run has no plan, and so no planner
            rows = [found.get((predictor, level, metric, percentile, planner)) for planner in ("planted", None)]
            rows = [row for row in rows if row is not None]
            covered = sum(prediction.predicted >= prediction.actual for prediction in predictions)
            assert sum(row["n"] for row in rows) == len(predictions)
            assert sum(row["n"] * row["coverage"] for row in rows) == pytest.approx(covered)
            assert max(row["runs"] for row in rows) <= len({prediction.run_id for prediction in predictions})
            if percentile is not None:
                row = max(rows, key=lambda row: row["n"])
                assert row["nominal"] == percentile / 100
                assert row["coverage_low"] <= row["nominal"] <= row["coverage_high"]
                assert abs(covered / len(predictions) - percentile / 100) <= 5 / len(predictions)


def test_what_the_dashboard_calls_fulfilment_is_counted_on_earlier_runs(recovered: dict[str, list[Recovered]]) -> None:
    """Whatever was predicted: a makespan at or below the percentile of those before it."""
    for each in recovered["deadly"]:
        found = each.by("sla_coverage", "predictor", "level", "metric", "sla_percentile", "planner")
        done = [run for run in each.truth.runs if run.sink in run.told]
        makespans = [makespan(each, run) or 0 for run in done]
        for percentile in (50, 75, 90):
            fulfilled = [
                makespans[place] <= quantile(makespans[:place], percentile / 100)
                for place, run in enumerate(done)
                if place and run is not each.truth.runs[0]
            ]
            row = found["planted", "run", "makespan", percentile, "planted"]
            assert row["history_n"] == len(fulfilled)
            assert row["history_fulfilment"] == pytest.approx(mean(fulfilled))


def quantile(values: list[float], share: float) -> float:
    """Interpolated linearly between the values beside it."""
    ordered, place = sorted(values), share * (len(values) - 1)
    below = math.floor(place)
    return ordered[below] + (ordered[math.ceil(place)] - ordered[below]) * (place - below)


def test_the_state_a_plan_expects_is_held_against_the_one_that_came(recovered: dict[str, list[Recovered]]) -> None:
    for each in recovered["all"]:
        starts = {start.invocation_id: start for start in each.truth.starts}
        runs = {run.run_id: run for run in each.truth.runs}
        rows = [row for row in each["prediction_errors"] if (row["predictor"], row["metric"]) == ("engine", "state")]
        assert {row["invocation_id"] for row in rows} == {
            name for name, start in starts.items() if start.run_id != each.truth.runs[0].run_id
        }
        for row in rows:
            start = starts[row["invocation_id"]]
            assert row["predicted"] == (start.worker_id in runs[start.run_id].thought_cold)
            assert row["actual"] == (None if start.ready_at is None else start.state == "cold")
            assert row["task_id"] == start.initial_task_ids[0]
            assert row["covered"] is None and row["relative_error"] is None and row["pinball_loss"] is None


# Paths and failures --------------------------------------------------------------------------------------------------


def test_the_observed_critical_path_is_the_planted_one(every: list[Recovered]) -> None:
    """Back from the sink to the upstream task that finished last; its steps add up to the makespan."""
    for each in every:
        steps = defaultdict(list)
        for row in each["critical_path"]:
            if row["path"] == "observed":
                steps[row["run_id"]].append(row)
        for run in each.truth.runs:
            rows = sorted(steps.pop(run.run_id, []), key=lambda row: row["step"])
            path = observed_path(each, run)
            assert [row["task_id"] for row in rows] == [attempt.task_id for attempt in path]
            assert [row["step"] for row in rows] == list(range(1, len(path) + 1))
            before: Attempt | None = None
            for row, attempt in zip(rows, path, strict=True):
                check_step(each, run, row, before, attempt)
                before = attempt
            if run.sink in run.told:
                assert sum(row["step_ms"] for row in rows) == exactly(makespan(each, run))
        assert not steps


def observed_path(each: Recovered, run: Run) -> list[Attempt]:
    done = {attempt.task_id: each.last[run.run_id, attempt.task_id] for attempt in each.attempts_of(run)}
    if not done:
        return []
    path = [done[run.sink] if run.sink in done else max(done.values(), key=lambda attempt: attempt.finished_at)]
    while upstream := run.upstream[path[-1].task_id]:
        path.append(max((done[task] for task in upstream), key=lambda attempt: attempt.finished_at))
    return path[::-1]


def check_step(each: Recovered, run: Run, row: Row, before: Attempt | None, attempt: Attempt) -> None:
    """What a step waited for, from the end of the one before."""
    (start,) = [start for start in starts_of(each, run) if start.worker_id == attempt.worker_id]
    begins = before.finished_at if before else run.submitted_at
    waited = begins, attempt.started_at
    starting = start.requested_at, start.ready_at
    telling = (begins, before.released_at) if before else (begins, begins)
    is_result = attempt.task_id == run.sink
    own = attempt.invocation_us if is_result else 0
    assert row["upstream_task_id"] == (before.task_id if before else None)
    assert row["worker_id"] == attempt.worker_id
    assert row["start_offset_ms"] == exactly(ms(attempt.started_at - run.submitted_at))
    assert row["finish_offset_ms"] == exactly(ms(attempt.finished_at - run.submitted_at))
    assert row["startup_ms"] == exactly(overlap(waited, starting) / 1000)
    handover = overlap(waited, telling) - overlap(waited, telling, starting) + own
    assert row["handover_ms"] == exactly(handover / 1000)
    assert row["input_wait_ms"] == exactly(ms(attempt.input_wait_us))
    assert row["execution_ms"] == exactly(ms(attempt.execution_us))
    assert row["upload_ms"] == exactly(ms(attempt.upload_us or 0))
    assert row["step_ms"] == exactly(ms(attempt.finished_at - begins + own))
    parts = ("startup", "handover", "input_wait", "execution", "upload", "gap")
    assert sum(row[f"{part}_ms"] for part in parts) == exactly(row["step_ms"])
    if attempt.attempt == 1:  # a second attempt waits for the first, which is a gap too
        # what passes unseen: up to 6 ms for each worker launched before its own, up to 10 ms to be told to begin
        assert -TO_A_MICROSECOND <= row["gap_ms"] <= 6 * len(run.memory_of) + 10


def test_the_planned_critical_path_is_the_planted_one(every: list[Recovered]) -> None:
    for each in every:
        critical, found = defaultdict(list), defaultdict(list)
        for task in each.truth.planned:
            if task.on_critical_path:
                critical[task.run_id].append(task)
        for row in each["critical_path"]:
            if row["path"] == "planned":
                found[row["run_id"]].append(row)
        assert found.keys() == critical.keys() == {run.run_id for run in each.truth.runs[1:]}
        observed = {(row["run_id"], row["task_id"]) for row in each["critical_path"] if row["path"] == "observed"}
        runs_observed = {run for run, _ in observed}
        for run, tasks in critical.items():
            rows = sorted(found[run], key=lambda row: row["step"])
            tasks = sorted(tasks, key=lambda task: task.completion_offset_us)
            assert [row["task_id"] for row in rows] == [task.task_id for task in tasks]
            assert sum(row["step_ms"] for row in rows) == exactly(tasks[-1].completion_offset_us / 1000)
            for row, task in zip(rows, tasks, strict=True):
                assert row["startup_ms"] == exactly((task.startup_us or 0) / 1000)
                assert row["gap_ms"] == exactly(0.0)
                assert row["on_other_path"] == ((run, task.task_id) in observed if run in runs_observed else None)


def test_every_planted_failure_is_found_and_nothing_else(every: list[Recovered]) -> None:
    for each in every:
        expected: Counter[tuple[str, str, object]] = Counter()
        for run in each.truth.runs:
            expected.update((run.run_id, "task_failed", task) for task in run.failed)
            expected.update((run.run_id, "task_not_run", task) for task in run.never_run)
            expected.update([(run.run_id, "run_incomplete", None)] if run.never_run else [])
            expected.update([(run.run_id, "run_without_sink", run.sink)] if run.sink in run.never_run else [])
        for earlier, later in pairwise(sorted(each.truth.attempts, key=lambda a: (a.run_id, a.task_id, a.attempt))):
            if (earlier.run_id, earlier.task_id) == (later.run_id, later.task_id):
                expected[earlier.run_id, "attempt_failed", earlier.task_id] += 1
        expected.update((start.run_id, kind_of_death(each, start), start.invocation_id) for start in dead(each))
        workers = ("worker_failed", "worker_never_ready", "worker_without_tasks")
        found = Counter(
            (row["run_id"], row["kind"], row["invocation_id"] if row["kind"] in workers else row["task_id"])
            for row in each["failures"]
        )
        assert found == expected
        for row in each["failures"]:
            if row["kind"] in ("task_failed", "attempt_failed"):
                said = row["status"], row["error_type"], row["error_message"], row["attempt"]
                assert said == ("failed", "ValueError", f"planted in {row['task_id']}", 1)
                assert row["invocation_id"] == f"{row['run_id']}/{row['worker_id']}"


def dead(each: Recovered) -> list[Start]:
    return [start for start in each.truth.starts if start.fate != "worked"]


def kind_of_death(each: Recovered, start: Start) -> str:
    if start.fate == "never_ready":
        return "worker_never_ready"
    return "worker_failed" if each.truth.world.shows_deaths else "worker_without_tasks"


def test_every_task_that_never_ran_is_put_down_to_a_failure_that_stopped_it_and_to_one_alone(
    every: list[Recovered],
) -> None:
    for each in every:
        deaths = {start.invocation_id: start for start in dead(each)}
        taken_down: Counter[str] = Counter()
        for row in each["failures"]:
            if row["kind"] in ("task_failed", "worker_failed", "worker_never_ready", "worker_without_tasks"):
                taken_down[row["run_id"]] += row["tasks_taken_down"]
        by_run = {run.run_id: run for run in each.truth.runs}
        for run in each.truth.runs:
            assert taken_down[run.run_id] == len(run.never_run)
        for row in each["failures"]:
            run = by_run[row["run_id"]]
            if row["kind"] not in ("task_not_run", "run_without_sink"):
                assert row["cause_kind"] is None
                continue
            stopped_by = lineage(run, row["task_id"])
            assert row["cause_task_id"] in stopped_by
            if row["cause_kind"] == "task_failed":
                assert row["cause_task_id"] in run.failed
                assert row["cause_invocation_id"] is None
            else:
                death = deaths[row["cause_invocation_id"]]
                assert row["cause_kind"] == kind_of_death(each, death)
                assert run.worker_of[row["cause_task_id"]] == death.worker_id


def lineage(run: Run, task: str) -> set[str]:
    """A task and all that it needs."""
    found, pending = set(), [task]
    while pending:
        if (task := pending.pop()) not in found:
            found.add(task)
            pending += run.upstream[task]
    return found


def test_only_tasks_that_raised_and_were_tried_again_ran_twice(every: list[Recovered]) -> None:
    for each in every:
        first = {
            (attempt.run_id, attempt.task_id): attempt
            for attempt in each.truth.attempts
            if attempt.attempt == 1 and each.last[attempt.run_id, attempt.task_id].attempt == 2
        }
        found = each.by("duplicate_executions", "run_id", "task_id")
        assert found.keys() == first.keys()
        for key, attempt in first.items():
            row = found[key]
            assert (row["kind"], row["was_used"], row["is_estimate"]) == ("attempt", False, False)
            assert (row["worker_id"], row["recorded_worker_id"]) == (attempt.worker_id, attempt.worker_id)
            assert row["execution_ms"] == exactly(ms(attempt.execution_us))


# Optimisations -------------------------------------------------------------------------------------------------------

Steps = tuple[bool | None, bool, bool | None, bool | None]
"""eligible, assigned, applied, effective"""


def opportunities(each: Recovered) -> dict[tuple[str, str, str], Steps]:
    """By run, optimisation, and task or (pre-warms) worker. Without a plan nobody knows what was eligible."""
    found: dict[tuple[str, str, str], Steps] = {}
    for number, run in enumerate(each.truth.runs):
        left_metrics = {attempt.task_id for attempt in each.attempts_of(run)}
        planted = [each_ for each_ in each.truth.optimizations if each_.run_id == run.run_id]
        for task, upstream in run.upstream.items():
            elsewhere = [other for other in upstream if run.worker_of[other] != run.worker_of[task]]
            preloads = [each_ for each_ in planted if (each_.optimization, each_.task_id) == ("preload", task)]
            fetched = [i for i in each.truth.inputs if (i.run_id, i.task_id, i.preloaded) == (run.run_id, task, True)]
            applied: bool | None = any(preload.happened_at is not None for preload in preloads)
            if preloads and not applied and task not in left_metrics:
                applied = None
            effective = None if applied is None else any(input_.download_us is None for input_ in fetched)
            found[run.run_id, "preload", task] = len(elsewhere) >= 2, bool(preloads), applied, effective
            used_elsewhere = any(run.worker_of[other] != run.worker_of[task] for other in run.downstream(task))
            found[run.run_id, "taskdup", task] = used_elsewhere, False, False, False
        starts = {start.worker_id: start for start in starts_of(each, run)}
        for worker in run.memory_of:
            mine = [task for task, name in run.worker_of.items() if name == worker]
            eligible = worker in run.thought_cold and all(run.upstream[task] for task in mine)
            prewarms = [each_ for each_ in planted if each_.target_worker_id == worker]
            applied = any(prewarm.happened_at is not None for prewarm in prewarms)
            if prewarms and not applied and prewarms[0].task_id not in left_metrics:
                applied = None
            effective = applied and prewarm_helped(starts.get(worker), prewarms[0].happened_at)
            found[run.run_id, "prewarm", worker] = eligible, bool(prewarms), applied, effective
        if number == 0:
            for key in [key for key in found if key[0] == run.run_id]:
                found[key] = (None, *found[key][1:])
    return {key: steps for key, steps in found.items() if any(steps[:3])}


def prewarm_helped(start: Start | None, triggered_at: int | None) -> bool | None:
    """Whether its worker came after it and started warm; NULL where that one never was ready."""
    if start is None or triggered_at is None or start.requested_at < triggered_at:
        return False
    return start.state == "warm" if start.ready_at is not None else None


def test_each_step_of_an_optimisation_is_the_planted_one(recovered: dict[str, list[Recovered]]) -> None:
    """Where states are reported: whether a pre-warm helped is seen by the state its worker started in."""
    for each in recovered["all"]:
        expected = opportunities(each)
        found = {
            (row["run_id"], row["optimization"], row["target_worker_id"] or row["task_id"]): (
                row["eligible"],
                row["assigned"],
                row["applied"],
                row["effective"],
            )
            for row in each["optimization_opportunities"]
        }
        assert len(found) == len(each["optimization_opportunities"])
        assert found == expected


def test_the_funnel_counts_the_planted_steps(recovered: dict[str, list[Recovered]]) -> None:
    for each in recovered["all"]:
        first = each.truth.runs[0].run_id
        groups: dict[tuple[str | None, str], list[tuple[str, Steps]]] = defaultdict(list)
        for (run, optimization, _), steps in opportunities(each).items():
            groups[None if run == first else "planted", optimization].append((run, steps))
        found = each.by("optimization_funnel", "planner", "optimization")
        assert found.keys() == groups.keys()
        for key, rows in groups.items():
            steps = [each_ for _, each_ in rows]
            eligible = sum(bool(step[0]) for step in steps)
            assert found[key]["eligible"] == (eligible if key[0] else None)
            assert found[key]["assigned"] == sum(step[1] for step in steps)
            assert found[key]["applied"] == sum(bool(step[2]) for step in steps)
            assert found[key]["effective"] == sum(bool(step[3]) for step in steps)
            assert found[key]["not_known"] == sum(step[1] and step[2] is None for step in steps)
            assert found[key]["effective_not_known"] == sum(bool(step[2]) and step[3] is None for step in steps)
            assert found[key]["runs_applied"] == len({run for run, step in rows if step[2]})
            assert found[key]["runs"] == (len(each.truth.runs) - 1 if key[0] else 1)


# Whatever is planted -------------------------------------------------------------------------------------------------


@st.composite
def any_world(draw: st.DrawFn, name: str = "any", runs: int = 4) -> World:
    share = st.sampled_from([0, 0.2])
    return World(
        name,
        seed=draw(st.integers(0, 10**6)),
        runs=runs,
        unseen_runs=draw(st.integers(0, 2)),
        policy=draw(st.sampled_from(POLICIES)),
        never_ready=draw(share),
        killed=draw(share),
        raises=draw(share),
        prewarm=draw(share) * 3,
        preload=draw(share) * 3,
        shows_states=draw(st.booleans()),
        shows_containers=draw(st.booleans()),
        shows_ends=draw(st.booleans()),
        shows_deaths=draw(st.booleans()),
        clocks_ms=draw(st.sampled_from([0, 50, 5000])),
    )


@settings(max_examples=12, deadline=None)
@given(any_world())
def test_every_worker_has_one_state_and_its_time_is_starting_busy_or_idle(world: World) -> None:
    """Even where the clocks of the workers are off by seconds."""
    truth = simulate(world)
    rows = rows_of(truth)
    names = sorted(start.invocation_id for start in truth.starts)
    states = derived("cold_starts", **rows)
    assert sorted(row["invocation_id"] for row in states) == names
    assert {row["state"] for row in states} <= {"cold", "warm", "unknown"}
    periods = derived("worker_active_periods", **rows)
    assert sorted(row["invocation_id"] for row in periods) == names
    for row in periods:
        if row["active_ms"] is None:
            assert row["busy_ms"] is None and row["idle_ms"] is None
            continue
        ready_ms = row["startup_ms"] if row["startup_ms"] is not None else 0
        starting = min(max(ready_ms, 0), row["active_ms"])
        assert 0 <= row["busy_ms"] <= row["active_ms"]
        assert row["idle_ms"] >= -TO_A_MICROSECOND
        # a task that seems to begin before its worker was ready is busy and starting at once
        both = row["busy_ms"] + row["idle_ms"] + starting
        assert both >= row["active_ms"] - TO_A_MICROSECOND
        if not row["task_before_ready"]:
            assert both == exactly(row["active_ms"])


@settings(max_examples=8, deadline=None)
@given(any_world(), st.floats(1, 1e6))
def test_what_covers_covers_all_the_more_when_more_is_predicted(world: World, more: float) -> None:
    rows = rows_of(simulate(world))
    higher = [row | {"predicted": row["predicted"] + more} for row in rows["predictions"]]
    raised = [row | {"predictor": "higher"} for row in higher]
    found: dict[tuple[object, ...], dict[str, bool | None]] = defaultdict(dict)
    for row in derived("prediction_errors", **rows | {"predictions": rows["predictions"] + raised}):
        if row["predictor"] != "engine":
            key = row["run_id"], row["invocation_id"], row["metric"], row["sla_percentile"]
            found[key][row["predictor"]] = row["covered"]
    assert found
    for covered in found.values():
        assert (covered["planted"] is None) == (covered["higher"] is None)
        assert not covered["planted"] or covered["higher"]


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_another_environment_changes_no_row_and_neither_does_the_order_of_ingest(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Engine, environment and workflow differ, so that nothing pools: views say more, never something else."""
    place = tmp_path_factory.mktemp("order")
    dumps = [
        write(place / name, simulate(data.draw(any_world(name, runs=3), label=name))) for name in ("first", "second")
    ]
    alone, both, reversed_ = (Home(place / name) for name in ("alone", "both", "reversed"))
    take_in(alone, (str(dumps[0]),), Labels())
    for home, order in ((both, dumps), (reversed_, dumps[::-1])):
        for dump in order:
            take_in(home, (str(dump),), Labels())
    before, after, otherwise = (rows_by_view(home) for home in (alone, both, reversed_))
    assert after == otherwise
    assert any(before.values())
    for view, rows in before.items():
        of_runs = [(run, row) for run, row in rows if run is not None]
        assert [(run, row) for run, row in after[view] if run is not None and run.startswith("first-")] == of_runs, view


def rows_by_view(home: Home) -> dict[str, list[tuple[str | None, str]]]:
    """The rows of every core view, each with its run if it has one; floats to nine digits: sums have no order."""
    with duckdb.connect(str(home.current.resolve()), read_only=True) as connection:
        return {
            view.name: sorted(
                ((row.get("run_id"), repr(rounded(row))) for row in select(connection, f"from {view.name}")),
                key=lambda pair: pair[1],
            )
            for view in core_views()
        }


def rounded(value: object) -> object:
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    return float(f"{value:.9g}") if isinstance(value, float) else value

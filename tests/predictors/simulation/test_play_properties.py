"""What holds of every run that is played, whatever its DAG, workers, durations and rules."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from predictors.simulation.behaviour import CONTENTIONS, works_of
from predictors.simulation.play import ANY, Durations, Played, Prewarm, Rules, Shape, Stuck, play
from tests.predictors.simulation.stages import durations

MEMORIES = (512.0, 1024.0)
MS = st.integers(0, 200)


@st.composite
def shapes(draw: st.DrawFn, *, planned: bool = False) -> Shape:
    """Up to eight tasks on up to four workers, the sink needs all that nobody else does; flexible ones unless `planned`."""
    count = draw(st.integers(2, 8))
    upstream = [
        tuple(sorted(draw(st.sets(st.integers(0, task - 1), max_size=3)))) if task else () for task in range(count)
    ]
    needed = {up for ups in upstream for up in ups}
    upstream[-1] = tuple(sorted({*upstream[-1], *(task for task in range(count - 1) if task not in needed)}))
    workers = draw(st.integers(1, 4))
    place = st.integers(0, workers - 1)
    where = draw(st.lists(place if planned else place | st.just(ANY), min_size=count, max_size=count))
    used = max(where) + 1
    of_each = draw(st.lists(st.sampled_from(MEMORIES), min_size=used + count, max_size=used + count))
    memory = tuple(of_each if ANY in where else of_each[:used])
    flags = st.lists(st.booleans(), min_size=count, max_size=count).map(tuple)
    prewarm = st.builds(Prewarm, st.integers(0, max(used - 1, 0)), st.sampled_from(MEMORIES), MS.map(float))
    container = st.tuples(st.sampled_from(MEMORIES), st.integers(-300, 0).map(float))
    return Shape(
        tuple(upstream), tuple(where), memory, count - 1, draw(flags), draw(flags),
        tuple(draw(st.lists(prewarm, max_size=2))), tuple(draw(st.lists(container, max_size=3))),
    )  # fmt: skip


def takes(of: Shape, seed: int) -> Durations:
    """Whole ms, so that sums have one value only."""
    rng = random.Random(seed)

    def each(count: int, low: int, high: int) -> list[float]:
        return [float(rng.randint(low, high)) for _ in range(count)]

    tasks, workers = len(of.upstream), len(of.memory_mb)
    return durations(
        of,
        execution=each(tasks, 1, 200), upload=each(tasks, 0, 9), counters=each(tasks, 0, 9), invocation=each(tasks, 0, 9),
        download=[each(len(ups), 0, 200) for ups in of.upstream], stored=each(tasks, 0, 9), overhead=each(tasks, 0, 9),
        cold=each(workers, 1, 200), warm=each(workers, 1, 200), setup=tuple(each(4, 0, 9)),
        **{name: rng.randint(0, 9) for name in ("local", "next", "told", "request", "submit")},
    )  # fmt: skip


RULES = st.builds(
    Rules,
    exit_ms=st.integers(0, 100).map(float),
    keep_alive_ms=st.integers(1, 400).map(float) | st.just(math.inf),
    sweep_ms=st.sampled_from([0.0, 64.0]),
    sweep_phase=st.sampled_from([0.0, 0.25, 0.75]),
    reuse=st.sampled_from(["most recent", "least recent", "any"]),
    max_workers=st.integers(2, 4).map(float) | st.just(math.inf),
    task_limit=st.integers(1, 3).map(float) | st.just(math.inf),
    execution_contention=st.sampled_from([0.0, 0.5, 1.0]),
    startup_contention=st.sampled_from([0.0, 0.5, 1.0]),
    preload=st.booleans(),
    duplicate=st.booleans(),
    prewarm=st.sampled_from(["as assigned", "off", "perfect"]),
    seed=st.integers(0, 9),
)
ALONE = {"execution_contention": 0.0, "startup_contention": 0.0}
WITHOUT_HELP = {"preload": False, "duplicate": False, "prewarm": "off"}


@st.composite
def runs(draw: st.DrawFn, *, planned: bool = False, **rules: object) -> tuple[Shape, Durations, Rules]:
    """A run and how the platform works, but for `rules` that are said."""
    of = draw(shapes(planned=planned))
    return of, takes(of, draw(st.integers(0, 2**32))), replace(draw(RULES), **rules)  # type: ignore[arg-type]


Run = tuple[Shape, Durations, Rules]


def played(run: Run) -> Played:
    """Play it, or have another drawn where it cannot end."""
    try:
        return play(*run)
    except Stuck:
        assume(False)
        raise


@given(runs())
def test_no_task_begins_before_its_inputs_exist_and_its_worker_is_ready_and_each_ends_once(run: Run) -> None:
    of, durations, _ = run
    found = played(run)
    for task, ups in enumerate(of.upstream):
        start, worker = found.start[task], found.worker[task]
        assert start >= max((found.finish[up] for up in ups), default=0)
        assert start >= found.ready[worker] >= found.requested[worker]
        phases = found.wait[task] + found.execution[task] + durations.upload[task]
        assert found.finish[task] == pytest.approx(start + phases, rel=1e-12)
        assert found.release[task] <= found.released[worker] + 1e-9
        assert found.execution[task] >= durations.execution[task] - 1e-9
    assert max(found.finish) == found.finish[of.sink] < math.inf
    assert found.makespan_ms == found.finish[of.sink] + durations.invocation[of.sink]


@given(runs())
def test_a_worker_is_asked_for_once_something_that_it_is_to_run_has_all_its_inputs(run: Run) -> None:
    """And each that is asked for becomes ready, ends, and has a state."""
    of = run[0]
    found = played(run)
    firsts: dict[int, list[float]] = defaultdict(list)
    for task, ups in enumerate(of.upstream):
        begins = max((found.finish[up] for up in ups), default=0.0)
        for worker in {of.workers + task, found.worker[task]} if of.worker[task] == ANY else {of.worker[task]}:
            firsts[worker].append(begins)
    for worker in found.launched:
        assert found.requested[worker] >= min(firsts[worker])
        assert found.requested[worker] <= found.ready[worker] <= found.released[worker]
        assert found.state[worker] in ("cold", "warm")
    idle = set(range(len(of.memory_mb))) - set(found.launched)
    assert all(math.isnan(found.requested[worker]) for worker in idle)
    assert set(found.worker) <= set(found.launched)


@given(runs(**WITHOUT_HELP))
def test_what_has_no_duplicates_runs_where_it_was_planned(run: Run) -> None:
    of = run[0]
    found = played(run)
    for task, worker in enumerate(of.worker):
        if worker != ANY:
            assert found.worker[task] == worker
        else:
            ups = of.upstream[task]
            assert found.worker[task] in {of.workers + task, *(found.worker[up] for up in ups)}


def launched_at(found: Played, durations: Durations, worker: int) -> float:
    """When a worker got its container, where start-ups do not slow each other."""
    work = durations.cold if found.state[worker] == "cold" else durations.warm
    return found.ready[worker] - work[worker]


@given(runs(startup_contention=0.0))
def test_there_are_never_more_workers_than_allowed_and_a_request_only_waits_where_there_are_as_many(run: Run) -> None:
    _, durations, rules = run
    found = played(run)
    spans = {worker: (launched_at(found, durations, worker), found.released[worker]) for worker in found.launched}
    for worker, (launched, _) in spans.items():
        assert sum(begin <= launched < end - 1e-6 for begin, end in spans.values()) <= rules.max_workers
        if launched > found.requested[worker] + 1e-6:  # else at once, but for rounding
            asked = found.requested[worker]
            assert (
                sum(begin <= asked <= end for other, (begin, end) in spans.items() if other != worker)
                >= rules.max_workers
            )


@given(runs(duplicate=False))
def test_a_worker_never_runs_more_tasks_at_once_than_allowed(run: Run) -> None:
    of, _, rules = run
    found = played(run)
    for task, start in enumerate(found.start):
        beside = [
            other for other in range(len(of.upstream))
            if found.worker[other] == found.worker[task] and found.start[other] <= start < found.release[other]
        ]  # fmt: skip
        assert len(beside) <= rules.task_limit


@given(runs(startup_contention=0.0, keep_alive_ms=math.inf, prewarm="as assigned"))
def test_with_containers_kept_for_ever_each_is_taken_once_and_no_start_is_cold_beside_a_free_one(run: Run) -> None:
    of, durations, rules = run
    found = played(run)
    free = defaultdict(list)
    for memory, since in of.pool:
        free[memory].append(since)
    for worker in found.launched:
        free[of.memory_mb[worker]].append(found.released[worker] + rules.exit_ms)
    for one in of.prewarms:
        if not math.isnan(found.ready[one.worker]):
            free[one.memory_mb].append(found.ready[one.worker] + one.delay_ms)
    for worker in found.launched:
        memory, at = of.memory_mb[worker], launched_at(found, durations, worker)
        alike = [other for other in found.launched if of.memory_mb[other] == memory and found.state[other] == "warm"]
        taken = sum(launched_at(found, durations, other) <= at for other in alike)
        assert taken <= sum(since <= at for since in free[memory])
        if found.state[worker] == "cold":
            assert taken >= sum(since < at for since in free[memory])


@given(runs(prewarm="off", exit_ms=1e6))
def test_without_containers_every_start_is_cold(run: Run) -> None:
    of, durations, rules = run
    assert played((replace(of, pool=()), durations, rules)).starts("warm") == 0


@given(runs(prewarm="perfect", planned=True))
def test_perfect_pre_warms_leave_cold_only_workers_of_roots(run: Run) -> None:
    of = run[0]
    found = played(run)
    of_roots = {worker for worker, ups in zip(of.worker, of.upstream, strict=True) if not ups}
    assert {worker for worker in found.launched if found.state[worker] == "cold"} <= of_roots


@given(runs())
def test_the_same_seed_gives_the_same_run(run: Run) -> None:
    assert repr(played(run)) == repr(play(*run))


def doubled(run: Run) -> Run:
    of, durations, rules = run
    pool = tuple((memory, 2 * since) for memory, since in of.pool)
    prewarms = tuple(replace(one, delay_ms=2 * one.delay_ms) for one in of.prewarms)

    def twice(value: object) -> object:
        if isinstance(value, list | tuple):
            return type(value)(twice(each) for each in value)
        return 2 * value  # type: ignore[operator]

    takes = Durations(**{name: twice(getattr(durations, name)) for name in Durations.__slots__})  # type: ignore[arg-type]
    more = {name: 2 * getattr(rules, name) for name in ("exit_ms", "keep_alive_ms", "sweep_ms")}
    return replace(of, pool=pool, prewarms=prewarms), takes, replace(rules, **more)


@given(runs())
def test_where_everything_takes_twice_as_long_everything_happens_twice_as_late(run: Run) -> None:
    """Twice is exact in floating point."""
    once, twice = played(run), play(*doubled(run))
    assert (twice.worker, twice.state) == (once.worker, once.state)
    for name in ("start", "wait", "execution", "finish", "release", "requested", "ready", "released"):
        assert repr(getattr(twice, name)) == repr([2 * ms for ms in getattr(once, name)])
    assert twice.makespan_ms == 2 * once.makespan_ms


@settings(deadline=None)
@given(runs(duplicate=False, max_workers=math.inf))
def test_what_went_on_beside_each_other_adds_up_to_the_work_that_was_put_in(run: Run) -> None:
    """As `works_of` takes it apart again: of executions on each worker, and of start-ups on the platform."""
    _, durations, rules = run
    found = played(run)
    column = CONTENTIONS.index(rules.execution_contention)
    for worker in found.launched:
        tasks = [task for task, where in enumerate(found.worker) if where == worker]
        begun = [found.start[task] + found.wait[task] for task in tasks]
        works = works_of([(at, at + found.execution[task]) for at, task in zip(begun, tasks, strict=True)])
        assert [work[column] for work in works] == pytest.approx(
            [durations.execution[task] for task in tasks], abs=1e-6
        )
    column = CONTENTIONS.index(rules.startup_contention)
    works = works_of([(found.requested[worker], found.ready[worker]) for worker in found.launched])
    for worker, work in zip(found.launched, works, strict=True):
        expected = (durations.cold if found.state[worker] == "cold" else durations.warm)[worker]
        assert work[column] == pytest.approx(expected, abs=1e-6)


def longest_path(of: Shape, takes: Durations) -> float:
    """The makespan of a planned run whose starts all take `warm`, by recursion: who begins when is the longest way there.

    A worker comes with the first of its tasks whose inputs exist, which may hang on other workers' coming: from what
    roots ask for, what else is asked for is found until nothing comes earlier. Only `request` and `submit` gaps exist.
    """
    comes = [math.inf] * len(of.memory_mb)

    def finishes() -> list[float]:
        @cache
        def finish(task: int) -> float:
            worker = of.worker[task]
            remote = [
                takes.download[task][place]
                for place, up in enumerate(of.upstream[task])
                if of.worker[up] != worker
            ]  # fmt: skip
            begin = max([comes[worker], *(told(up) for up in of.upstream[task])])
            wait = max([takes.stored[task], *remote]) + takes.overhead[task]
            return begin + wait + takes.execution[task] + takes.upload[task]

        def told(task: int) -> float:
            return finish(task) + takes.counters[task]

        asked = [
            max(told(up) for up in ups) + takes.request if ups else takes.submit for ups in of.upstream
        ]  # fmt: skip
        for task, worker in enumerate(of.worker):
            comes[worker] = min(comes[worker], asked[task] + takes.warm[worker] + takes.setup[0])
        return [finish(task) for task in range(len(of.upstream))]

    while True:
        before = list(comes)
        finishes()
        if comes == before:
            return finishes()[of.sink] + takes.invocation[of.sink]


NO_LIMITS = {"max_workers": math.inf, "task_limit": math.inf}


def simple(run: Run) -> Run:
    """All starts alike, and no gaps that depend on who is told by whom."""
    of, takes, rules = run
    nothing = [0.0] * len(of.upstream)
    setup = (takes.setup[0], 0.0, 0.0, 0.0)
    gaps = {"local": 0.0, "next": 0.0, "told": 0.0}
    return of, replace(takes, cold=takes.warm, invocation=nothing, setup=setup, **gaps), rules


@given(runs(planned=True, **ALONE, **NO_LIMITS, **WITHOUT_HELP))
def test_where_nothing_is_scarce_the_makespan_is_the_longest_path(run: Run) -> None:
    of, takes, rules = simple(run)
    assert play(of, takes, rules).makespan_ms == longest_path(of, takes)


@given(runs(planned=True, **ALONE, **NO_LIMITS, duplicate=False))
def test_where_nothing_is_scarce_pre_loads_lose_nothing(run: Run) -> None:
    of, takes, rules = simple(run)
    with_, without = (play(of, takes, replace(rules, preload=preload)) for preload in (True, False))
    assert all(early <= late for early, late in zip(with_.finish, without.finish, strict=True))

"""Play one run forward in time: an event queue over its DAG, its workers and their containers (FIELD.md, section 1).

Everything happens in the order of time, so that no start-up has to be guessed before it is known when its worker is
asked for: when tasks end decides when workers are asked for, and the pool at that moment decides how they start.
Times are ms since the submission of the run, durations ms. The same arguments give the same answer.
"""

from __future__ import annotations

import bisect
import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field

from predictors.dags import downstream_of
from warehouse.errors import FlowscopeError

UNFINISHED = math.inf
ANY = -1
"""The worker of a task that may run on any (flexible): where its upstream task ran, or on a new one."""
UNKNOWN_MB = 0.0
"""The memory of workers of which it is not known."""
SETUP = ("worker", "awaiting", "preloaded", "duplicable")
"""What a worker that is ready has to set up before its first task: itself, and, for its tasks that are still to come, each
that awaits an upstream task elsewhere, each such upstream task that is pre-loaded, each that it might run itself."""


class Stuck(FlowscopeError):
    """The run cannot come to its end under these rules."""


@dataclass(frozen=True, slots=True)
class Prewarm:
    """A container of `memory_mb` is put into the pool `delay_ms` after `worker` is ready."""

    worker: int
    memory_mb: float
    delay_ms: float


@dataclass(frozen=True, slots=True)
class Shape:
    """What a run is before it begins; tasks, workers by position.

    `worker`: of each task, or ANY. `memory_mb`: of each worker, then of each task's own worker should one be launched
    for it (flexible). `preloads`: tasks whose inputs are fetched as soon as they exist. `duplicable`: tasks another worker
    may run itself instead of waiting. `pool`: containers that are free at the submission: memory, and since when (ms, <= 0).
    `downstream` is derived.
    """

    upstream: tuple[tuple[int, ...], ...]
    worker: tuple[int, ...]
    memory_mb: tuple[float, ...]
    sink: int
    preloads: tuple[bool, ...]
    duplicable: tuple[bool, ...]
    prewarms: tuple[Prewarm, ...] = ()
    pool: tuple[tuple[float, float], ...] = ()
    downstream: tuple[tuple[int, ...], ...] = field(init=False)
    workers: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "downstream", tuple(map(tuple, downstream_of(self.upstream))))
        object.__setattr__(self, "workers", max(self.worker, default=ANY) + 1)


@dataclass(frozen=True, slots=True)
class Durations:
    """How long things take (ms). Executions and start-ups are work: what they take with nothing beside them.

    `download`: of each task, by upstream task (as in `Shape.upstream`), should it be on another worker; `stored`: the longest
    download of inputs that no task made; `overhead`: what a task waits for inputs beyond its downloads. `counters`: from an
    output being there to those that wait for it being told; `invocation`: launching others. `cold`, `warm`: start-ups, as
    `Shape.memory_mb`. `setup`: of each of SETUP. `local`: from a worker being able to go on to the beginning of its next task, `next`: to that of each
    further one; `told`: from another worker's task being done to the beginning of a task. `request`: from the middle of an invocation to the request of another worker; `submit`: from the submission to the client's requests.
    `kept`: of the flexible tasks that a task makes ready, the share beside the first that its worker keeps (task clustering).
    """

    execution: list[float]
    upload: list[float]
    counters: list[float]
    invocation: list[float]
    download: list[list[float]]
    stored: list[float]
    overhead: list[float]
    cold: list[float]
    warm: list[float]
    setup: tuple[float, ...]
    local: float
    next: float
    told: float
    request: float
    submit: float
    kept: float = 0.0


@dataclass(frozen=True, slots=True)
class Rules:
    """How the platform works. A container is free `exit_ms` after its worker's last task. One that is free for `keep_alive_ms` goes at the next sweep, `sweep_phase` (0 to 1) into the
    first interval of `sweep_ms`. k executions on one worker, or k start-ups, each go at k ** -contention of their speed.
    """

    exit_ms: float = 0.0
    keep_alive_ms: float = math.inf
    sweep_ms: float = 0.0
    sweep_phase: float = 0.0
    reuse: str = "most recent"
    max_workers: float = math.inf
    task_limit: float = math.inf
    execution_contention: float = 0.0
    startup_contention: float = 0.0
    preload: bool = True
    duplicate: bool = True
    prewarm: str = "as assigned"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Played:
    """When everything happened. Of tasks: `worker`, `start`, `wait`, `execution`, `upload`, `finish` (output there), `release`
    (the others know); of workers (those never asked for have NaN): `requested`, `ready`, `released`, `state` ('cold', 'warm', '').
    """

    makespan_ms: float
    worker: list[int]
    start: list[float]
    wait: list[float]
    execution: list[float]
    finish: list[float]
    release: list[float]
    requested: list[float]
    ready: list[float]
    released: list[float]
    state: list[str]
    memory_mb: tuple[float, ...]

    @property
    def launched(self) -> list[int]:
        """The workers that were asked for."""
        return [worker for worker, state in enumerate(self.state) if state]

    @property
    def active_ms(self) -> float:
        """How long workers were active together, from request to release: start-up included."""
        return sum(self.released[worker] - self.requested[worker] for worker in self.launched)

    @property
    def startup_ms(self) -> float:
        """What start-ups took together."""
        return sum(self.ready[worker] - self.requested[worker] for worker in self.launched)

    @property
    def gb_seconds(self) -> float:
        """Memory times active time; NaN where memory is not known."""
        if any(self.memory_mb[worker] == UNKNOWN_MB for worker in self.launched):
            return math.nan
        return sum(
            self.memory_mb[worker] / 1024 * (self.released[worker] - self.requested[worker]) / 1000
            for worker in self.launched
        )

    def starts(self, state: str) -> int:
        """Count the workers that started in that state."""
        return self.state.count(state)


_REQUEST, _STARTED, _SET_UP, _HANDED, _BEGIN, _INPUTS, _EXECUTED, _FINISH, _COUNTED, _RELEASE, _PREWARM = range(11)


class _Shared:
    """A resource on which k pieces of work each go at k ** -contention of their speed (processor sharing in virtual time)."""

    __slots__ = ("contention", "done", "now", "queue", "version")

    def __init__(self, contention: float) -> None:
        self.contention = contention
        self.now, self.done, self.version = 0.0, 0.0, 0
        self.queue: list[tuple[float, int]] = []

    def enter(self, now: float, work: float, item: int) -> None:
        self._advance(now)
        heapq.heappush(self.queue, (self.done + work, item))

    def leave(self, now: float) -> int:
        """Take out the piece of work that is done."""
        self._advance(now)
        self.done, item = heapq.heappop(self.queue)
        return item

    def next_end(self) -> float:
        """When the next piece of work will be done, if nothing else begins."""
        slowed: float = len(self.queue) ** self.contention
        return self.now + (self.queue[0][0] - self.done) * slowed

    def _advance(self, now: float) -> None:
        if self.queue:
            self.done += (now - self.now) * len(self.queue) ** -self.contention
        self.now = now
        self.version += 1


def play(shape: Shape, durations: Durations, rules: Rules) -> Played:
    """Play the run to its end. Raises `Stuck` where that cannot come."""
    stage = _Stage(shape, durations, rules)
    stage.run()
    if stage.finish[shape.sink] == UNFINISHED:
        raise Stuck(
            "The run cannot end under these rules. Hint: allow more workers, or more tasks on a worker, at once."
        )
    return stage.played()


class _Stage:
    """Tasks, their attempts (a task's own, and duplicates), workers and platform, and what happens next."""

    def __init__(self, shape: Shape, durations: Durations, rules: Rules) -> None:
        tasks, workers = len(shape.upstream), len(shape.memory_mb)
        nan = math.nan
        self.shape, self.takes, self.rules = shape, durations, rules
        self.random = random.Random(rules.seed)  # noqa: S311 (which container is reused is no secret)
        self.events: list[tuple[float, int, int, int]] = []
        self.number, self.now = 0, 0.0
        self.missing = [len(ups) for ups in shape.upstream]
        self.worker = list(shape.worker)
        self.is_told = [False] * tasks
        self.begun = [False] * tasks
        self.made_by = [ANY] * tasks
        self.start, self.wait, self.execution = [nan] * tasks, [nan] * tasks, [nan] * tasks
        self.finish, self.release = [UNFINISHED] * tasks, [nan] * tasks
        self.attempts: list[tuple[int, int, bool]] = []  # task, worker, whether it is a duplicate
        self.attempt_start: list[float] = []
        self.attempt_wait: list[float] = []
        self.attempt_execution: list[float] = []
        self.asked, self.works, self.is_gone = [False] * workers, [False] * workers, [False] * workers
        self.setup = [0.0] * workers
        self.requested, self.ready, self.released = [nan] * workers, [nan] * workers, [nan] * workers
        self.state = [""] * workers
        self.inbox: list[deque[int]] = [deque() for _ in range(workers)]
        self.running, self.left = [0] * workers, [0] * workers
        self.own_tasks: dict[int, list[int]] = {}
        for task, worker in enumerate(shape.worker):
            if worker != ANY:
                self.left[worker] += 1
                self.own_tasks.setdefault(worker, []).append(task)
        self.duplicates: set[tuple[int, int]] = set()
        self.may_duplicate = rules.duplicate and any(shape.duplicable)
        self.cores: dict[int, _Shared] = {}
        self.starting = _Shared(rules.startup_contention)
        self.free: dict[float, list[float]] = {}
        for memory, since in sorted(shape.pool, key=lambda container: container[1]):
            self.free.setdefault(memory, []).append(since)
        self.busy = 0
        self.queue: deque[int] = deque()

    def at(self, when: float, what: int, which: int) -> None:
        self.number += 1
        heapq.heappush(self.events, (when if when > self.now else self.now, self.number, what, which))

    def run(self) -> None:
        """Let the client launch the workers of the root tasks, then let everything take its course."""
        for task, ups in enumerate(self.shape.upstream):
            if not ups:
                self.hand(task, ANY, 0.0, 0.0, stays=False)
        handlers = (
            self.request, self.became_ready, self.is_set_up, self.handed, self.begin, self.got_inputs, self.executed, self.finished, self.counted,
            self.let_go, self.prewarm,
        )  # fmt: skip
        events = self.events
        while events:
            self.now, _, what, which = heapq.heappop(events)
            handlers[what](which)

    def hand(self, task: int, by: int, launching: float, after: float, *, stays: bool) -> None:
        """Bring a task whose inputs all exist to its worker, which is launched if need be; `by`: where the last one was made.

        A flexible task runs there too if it `stays`, else on a worker of its own. `launching`: how long `by` is busy with
        launches, half way through which the workers are requested; `after`: when it goes on with a task of its own.
        """
        worker = self.worker[task]
        if worker == ANY:
            worker = self.worker[task] = by if stays else self.shape.workers + task
            self.left[worker] += 1
        is_ready = self.works[worker]
        self.is_told[task] = is_ready and by != worker
        if worker == by:
            self.at(self.now + after, _HANDED, task)
            return
        self.inbox[worker].append(task)
        if not self.asked[worker]:
            self.asked[worker] = True
            gap = self.takes.submit if by == ANY else self.takes.request
            self.at(self.now + launching / 2 + gap, _REQUEST, worker)
        elif is_ready:
            self.take(worker)

    def handed(self, task: int) -> None:
        worker = self.worker[task]
        self.inbox[worker].append(task)
        self.take(worker)

    def request(self, worker: int) -> None:
        """Ask the platform for a worker; where it is full, wait."""
        self.requested[worker] = self.now
        self.setup[worker] = self.setup_of(worker)
        if self.busy < self.rules.max_workers:
            self.launch(worker)
        else:
            self.queue.append(worker)

    def setup_of(self, worker: int) -> float:
        """Return what a worker has to set up (ms) that is requested now, with the tasks that are ready."""
        awaiting = preloaded = duplicable = 0
        shape = self.shape
        for task in self.own_tasks.get(worker, ()):
            if self.missing[task]:
                remote = [up for up in shape.upstream[task] if shape.worker[up] != worker]
                awaiting += bool(remote)
                if self.rules.preload and shape.preloads[task]:
                    preloaded += len(remote)
                if self.may_duplicate:
                    duplicable += sum(shape.duplicable[up] for up in remote)
        own, of_awaiting, of_preloaded, of_duplicable = self.takes.setup
        return own + awaiting * of_awaiting + preloaded * of_preloaded + duplicable * of_duplicable

    def launch(self, worker: int) -> None:
        """Take a container from the pool, or have one made."""
        self.busy += 1
        is_warm = self.took_container(self.shape.memory_mb[worker])
        if self.rules.prewarm == "perfect" and self.shape.upstream[self.inbox[worker][0]]:
            is_warm = True
        self.state[worker] = "warm" if is_warm else "cold"
        self.starting.enter(self.now, (self.takes.warm if is_warm else self.takes.cold)[worker], worker)
        self.at(self.starting.next_end(), _STARTED, self.starting.version)

    def took_container(self, memory_mb: float) -> bool:
        """Take a free container of that memory, by the policy of reuse. Return whether there was one."""
        kept = [since for since in self.free.get(memory_mb, ()) if self.now < self.goes(since)]
        free = [place for place, since in enumerate(kept) if since <= self.now]
        if free:
            chosen = {"most recent": free[-1], "least recent": free[0]}.get(self.rules.reuse)
            kept.pop(self.random.choice(free) if chosen is None else chosen)
        self.free[memory_mb] = kept
        return bool(free)

    def goes(self, since: float) -> float:
        """Return when a container that is free since then is removed: at the first sweep after its keep-alive."""
        end, sweep = since + self.rules.keep_alive_ms, self.rules.sweep_ms
        if not sweep or math.isinf(end):
            return end
        phase = self.rules.sweep_phase * sweep
        return phase + math.ceil((end - phase) / sweep) * sweep

    def became_ready(self, version: int) -> None:
        starting = self.starting
        if version != starting.version:
            return
        worker = starting.leave(self.now)
        if starting.queue:
            self.at(starting.next_end(), _STARTED, starting.version)
        self.ready[worker] = self.now
        if self.rules.prewarm == "as assigned":
            for number, one in enumerate(self.shape.prewarms):
                if one.worker == worker:
                    self.at(self.now + one.delay_ms, _PREWARM, number)
        self.at(self.now + self.setup[worker], _SET_UP, worker)

    def is_set_up(self, worker: int) -> None:
        self.works[worker] = True
        self.take(worker)
        if self.may_duplicate:
            self.duplicate(worker)

    def prewarm(self, number: int) -> None:
        self.set_free(self.shape.prewarms[number].memory_mb, self.now)

    def set_free(self, memory_mb: float, since: float) -> None:
        bisect.insort(self.free.setdefault(memory_mb, []), since)

    def take(self, worker: int) -> None:
        """Let a ready worker begin what it was handed, as far as it may run tasks beside each other."""
        inbox = self.inbox[worker]
        while inbox and self.running[worker] < self.rules.task_limit:
            task = inbox.popleft()
            if self.finish[task] < UNFINISHED:
                self.leave(worker)
            else:
                self.attempt(task, worker, self.takes.told if self.is_told[task] else 0.0, is_duplicate=False)

    def attempt(self, task: int, worker: int, after: float, *, is_duplicate: bool) -> None:
        self.running[worker] += 1
        self.attempts.append((task, worker, is_duplicate))
        self.attempt_start.append(0.0)
        self.attempt_wait.append(0.0)
        self.attempt_execution.append(0.0)
        if after > 0:
            self.at(self.now + after, _BEGIN, len(self.attempts) - 1)
        else:
            self.begin(len(self.attempts) - 1)

    def begin(self, attempt: int) -> None:
        """Fetch the inputs that are elsewhere, all at once; pre-loaded ones have been on their way since they exist."""
        task, worker, is_duplicate = self.attempts[attempt]
        now, made_by = self.now, self.made_by
        self.begun[task] = True
        wait = self.takes.stored[task]
        is_preloaded = self.rules.preload and self.shape.preloads[task] and not is_duplicate
        for up, left in zip(self.shape.upstream[task], self.takes.download[task], strict=True):
            if made_by[up] == worker:
                continue
            if is_preloaded:
                left += max(self.finish[up], self.ready[worker]) - now
            if left > wait:
                wait = left
        wait += self.takes.overhead[task]
        self.attempt_start[attempt], self.attempt_wait[attempt] = now, wait
        if wait > 0:
            self.at(now + wait, _INPUTS, attempt)
        else:
            self.got_inputs(attempt)

    def got_inputs(self, attempt: int) -> None:
        task, worker, _ = self.attempts[attempt]
        core = self.cores.get(worker)
        if core is None:
            core = self.cores[worker] = _Shared(self.rules.execution_contention)
        self.attempt_execution[attempt] = -self.now
        core.enter(self.now, self.takes.execution[task], attempt)
        self.at(core.next_end(), _EXECUTED, worker + core.version * len(self.state))

    def executed(self, which: int) -> None:
        version, worker = divmod(which, len(self.state))
        core = self.cores[worker]
        if version != core.version:
            return
        attempt = core.leave(self.now)
        if core.queue:
            self.at(core.next_end(), _EXECUTED, worker + core.version * len(self.state))
        self.attempt_execution[attempt] += self.now
        upload = self.takes.upload[self.attempts[attempt][0]]
        if upload > 0:
            self.at(self.now + upload, _FINISH, attempt)
        else:
            self.finished(attempt)

    def finished(self, attempt: int) -> None:
        """The output is there; of two attempts, the first one counts."""
        task, worker, _ = self.attempts[attempt]
        if self.finish[task] < UNFINISHED:
            self.let_go(attempt)
            return
        self.finish[task], self.made_by[task] = self.now, worker
        self.start[task], self.wait[task] = self.attempt_start[attempt], self.attempt_wait[attempt]
        self.execution[task] = self.attempt_execution[attempt]
        self.release[task] = self.now + self.takes.counters[task] + self.takes.invocation[task]
        self.at(self.now + self.takes.counters[task], _COUNTED, attempt)
        self.at(self.release[task], _RELEASE, attempt)

    def counted(self, attempt: int) -> None:
        """Those that wait for a task know that it is done: hand on what has all its inputs now."""
        task, worker, _ = self.attempts[attempt]
        launching = self.takes.invocation[task]
        after = launching + self.takes.local
        ready = []
        for down in self.shape.downstream[task]:
            self.missing[down] -= 1
            if not self.missing[down]:
                ready.append(down)
        flexible = [down for down in ready if self.worker[down] == ANY]
        kept = flexible[: 1 + round(self.takes.kept * (len(flexible) - 1))] if flexible else flexible
        for down in ready:
            self.hand(down, worker, launching, after, stays=down in kept)
            after += self.takes.next if self.worker[down] == worker else 0.0
        if self.may_duplicate:
            for other in self.own_tasks:
                self.duplicate(other)

    def let_go(self, attempt: int) -> None:
        """An attempt is over for its worker."""
        _, worker, is_duplicate = self.attempts[attempt]
        self.running[worker] -= 1
        self.released[worker] = self.now
        if not is_duplicate:
            self.left[worker] -= 1
        self.take(worker)
        self.rest(worker)

    def leave(self, worker: int) -> None:
        """Skip a task that another worker ran."""
        self.left[worker] -= 1
        self.released[worker] = self.now
        self.rest(worker)

    def rest(self, worker: int) -> None:
        """Give the container of a worker that is done back, and let the next request have its place."""
        if self.left[worker] or self.running[worker] or self.is_gone[worker]:
            return
        self.is_gone[worker] = True
        self.set_free(self.shape.memory_mb[worker], self.now + self.rules.exit_ms)
        self.busy -= 1
        if self.queue:
            self.launch(self.queue.popleft())

    def duplicate(self, worker: int) -> None:
        """Let a ready worker itself run a task that is all one of its tasks waits for, and that nobody has begun."""
        if not self.works[worker]:
            return
        for task in self.own_tasks.get(worker, ()):
            if not self.missing[task]:
                continue
            lacking = [up for up in self.shape.upstream[task] if self.finish[up] == UNFINISHED]
            if len(lacking) != 1:
                continue
            up = lacking[0]
            is_possible = self.shape.duplicable[up] and not self.begun[up] and not self.missing[up]
            if is_possible and (worker, up) not in self.duplicates and self.running[worker] < self.rules.task_limit:
                self.duplicates.add((worker, up))
                self.attempt(up, worker, 0.0, is_duplicate=True)

    def played(self) -> Played:
        sink = self.shape.sink
        return Played(
            self.finish[sink] + self.takes.invocation[sink],
            self.made_by, self.start, self.wait, self.execution, self.finish, self.release,
            self.requested, self.ready, self.released, self.state, self.shape.memory_mb,
        )  # fmt: skip

"""A workflow engine in miniature: it plants a truth, plays it event by event, and writes down what a log would hold.

`simulate(world)` returns the `Truth`, `write(folder, *truths)` makes a flowdump that shows as much of it as each world
lets its log show. Runs share pools of containers, one for each memory size: a request takes a free container idle no
longer than the keep-alive, chosen by the policy, else it starts cold; a pre-warm adds one at its trigger. A run is a
DAG of tasks planned on workers. A worker is launched by the task that makes its first one ready, runs its tasks as they
become ready, beside each other if need be, and ends when none can come any more. What dies takes its container along.
Fields are named as the columns they become: instants (`_at`) are whole microseconds since `T0`, durations (`_us`)
microseconds; a world's are milliseconds.
"""

from __future__ import annotations

import heapq
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from warehouse.tables import FACTS

T0 = datetime(2026, 1, 1)
Row = dict[str, Any]
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class World:
    """What is planted, and what the log shows of it: spans in ms, probabilities per worker, task or opportunity."""

    name: str = "world"  # its engine, environment and workflow, and what its run ids begin with
    seed: int = 0
    runs: int = 60
    unseen_runs: int = 0  # played before the log begins: some of their containers are then still warm
    pause_ms: Span = (200, 16000)  # between submissions
    keep_alive_ms: float = 7000
    policy: str = (
        "most recent"  # which free container a request takes: 'most recent', 'least recent' (released), 'random'
    )
    memories: tuple[int, ...] = (512, 2048)
    cold_ms: Span = (700, 1300)
    warm_ms: Span = (150, 350)
    exit_ms: Span = (100, 700)  # from a worker's last task to the release of its container
    never_ready: float = 0
    killed: float = 0
    raises: float = 0
    retried: float = 0.5  # of the tasks that raised: tried once more, with success
    prewarm: float = 0
    preload: float = 0
    percentiles: tuple[float | None, ...] = (None, 50, 75, 90)  # of the runs' plans in turn; None: 'average'
    shows_states: bool = False
    shows_containers: bool = False
    shows_ends: bool = True
    shows_deaths: bool = False
    clocks_ms: float = 0  # by how much each worker's clock may be early or late


@dataclass(frozen=True, slots=True)
class Start:
    """A worker. `took_over`: whose container, if any; `fate`: 'worked', 'never_ready' or 'killed' at its end."""

    invocation_id: str
    run_id: str
    worker_id: str
    memory_mb: int
    initial_task_ids: tuple[str, ...]
    clock: int
    state: str
    container_id: str
    took_over: str | None
    fate: str
    requested_at: int
    ready_at: int | None = None
    finished_at: int | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """A task attempt that left metrics. `finished_at`: its output was there; `released_at`: the others knew."""

    run_id: str
    task_id: str
    attempt: int
    worker_id: str
    status: str
    started_at: int
    input_wait_us: int
    execution_us: int
    upload_us: int | None
    counters_us: int
    output_bytes: int
    invocation_us: int = 0

    @property
    def finished_at(self) -> int:
        return self.started_at + self.input_wait_us + self.execution_us + (self.upload_us or 0)

    @property
    def released_at(self) -> int:
        return self.finished_at + self.counters_us + self.invocation_us


@dataclass(frozen=True, slots=True)
class Input:
    """An input of a task. `download_us`: None where it was on the worker when the task began."""

    run_id: str
    task_id: str
    upstream_task_id: str
    input_bytes: int
    download_us: int | None
    preloaded: bool


@dataclass(frozen=True, slots=True)
class Optimization:
    """A pre-load of an upstream task's output, or a pre-warm for a worker. `happened_at`: None: it was never done."""

    run_id: str
    task_id: str
    optimization: str
    target_task_id: str | None = None
    target_worker_id: str | None = None
    delay_us: int | None = None
    happened_at: int | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A task as the planner saw it."""

    run_id: str
    task_id: str
    worker_id: str
    memory_mb: int
    startup_state: str | None
    startup_us: float | None
    execution_us: float
    start_offset_us: float
    completion_offset_us: float
    on_critical_path: bool


@dataclass(frozen=True, slots=True)
class Prediction:
    """A prediction planted as a multiple of what happened, `actual`; those of 'engine' are the plan's."""

    predictor: str
    level: str
    run_id: str
    task_id: str | None
    invocation_id: str | None
    metric: str
    sla_percentile: float | None
    actual: float
    predicted: float


@dataclass(slots=True)
class _Worker:
    start: Start
    inbox: list[str]
    running: int = 0
    is_leaving: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """A run: its DAG (tasks in topological order, the sink last), where they were planned, and how far it came."""

    run_id: str
    submitted_at: int
    sla_percentile: float | None
    upstream: dict[str, tuple[str, ...]] = field(default_factory=dict)
    worker_of: dict[str, str] = field(default_factory=dict)
    memory_of: dict[str, int] = field(default_factory=dict)
    thought_cold: set[str] = field(default_factory=set)  # workers, by the planner
    workers: dict[str, _Worker | None] = field(default_factory=dict)  # None: about to be requested
    told: set[str] = field(default_factory=set)  # tasks of which those that wait know
    failed: set[str] = field(default_factory=set)
    never_run: set[str] = field(default_factory=set)
    made: dict[str, Attempt] = field(default_factory=dict)  # by whom each output was made

    @property
    def sink(self) -> str:
        return next(reversed(self.upstream))

    def downstream(self, task: str) -> list[str]:
        return [other for other, needed in self.upstream.items() if task in needed]


@dataclass(frozen=True, slots=True)
class Truth:
    """All that was planted in a world and happened in it since its log began."""

    world: World
    runs: tuple[Run, ...]
    starts: tuple[Start, ...]
    attempts: tuple[Attempt, ...]
    inputs: tuple[Input, ...]
    optimizations: tuple[Optimization, ...]
    planned: tuple[Planned, ...]
    predictions: tuple[Prediction, ...]


class _Platform:
    def __init__(self, world: World) -> None:
        self.world, self.rng, self.now = world, random.Random(world.seed), 0
        self.queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self.number = count()
        self.free: dict[int, list[tuple[int, str, str]]] = defaultdict(list)  # since when, which, left by whom
        self.attempts: list[Attempt] = []
        self.inputs: list[Input] = []
        self.optimizations: dict[tuple[str, str, str], Optimization] = {}  # by run, task and target

    def span(self, low: float, high: float) -> int:
        return round(1000 * self.rng.uniform(low, high))

    def luck(self, probability: float) -> bool:
        return self.rng.random() < probability

    def after(self, delay: int, what: Callable[..., object], *args: Any) -> None:
        heapq.heappush(self.queue, (self.now + delay, next(self.number), what, args))

    def play(self, numbers: range) -> list[Run]:
        runs, submitted_at = [], self.now
        for number in numbers:
            submitted_at += self.span(*self.world.pause_ms)
            run = self.plan(number, submitted_at)
            self.after(submitted_at - self.now, self.launch, run, [task for task, up in run.upstream.items() if not up])
            runs.append(run)
        while self.queue:
            self.now, _, what, args = heapq.heappop(self.queue)
            what(*args)
        return runs

    def plan(self, number: int, submitted_at: int) -> Run:
        """Draw a DAG of two to five layers, its workers and its optimisations."""
        percentiles = self.world.percentiles
        run = Run(f"{self.world.name}-{number:03}", submitted_at, percentiles[number % len(percentiles)])
        layer: list[str] = []
        for depth in range(self.rng.randint(1, 4)):
            above, layer = layer, []
            for _ in range(self.rng.randint(1, 4 if depth else 2)):
                layer.append(self.add_task(run, self.rng.sample(above, min(len(above), self.rng.randint(1, 3)))))
        self.add_task(run, [task for task in run.upstream if not run.downstream(task)])
        return run

    def add_task(self, run: Run, upstream: list[str]) -> str:
        """Put a task on the worker of one it needs, with pre-loads perhaps, or on a new one, pre-warmed perhaps."""
        task, worker = f"t{len(run.upstream)}", f"w{len(run.memory_of)}"
        if upstream and self.luck(0.5):
            worker = run.worker_of[self.rng.choice(upstream)]
            others = [other for other in upstream if run.worker_of[other] != worker]
            for other in others if len(others) >= 2 and self.luck(self.world.preload) else ():
                self.note(Optimization(run.run_id, task, "preload", target_task_id=other))
        else:
            run.memory_of[worker] = self.rng.choice(self.world.memories)
            if self.luck(0.7):
                run.thought_cold.add(worker)
                if upstream and self.luck(self.world.prewarm):
                    delay = self.span(50, 2500)
                    self.note(Optimization(run.run_id, upstream[0], "prewarm", target_worker_id=worker, delay_us=delay))
        run.upstream[task], run.worker_of[task] = tuple(upstream), worker
        return task

    def note(self, one: Optimization) -> None:
        self.optimizations[one.run_id, one.task_id, one.target_task_id or one.target_worker_id or ""] = one

    def launch(self, run: Run, tasks: list[str]) -> int:
        """Request the workers of tasks one after the other; return how long that takes."""
        spent = 0
        for name in dict.fromkeys(run.worker_of[task] for task in tasks):
            run.workers[name] = None
            spent += self.span(1, 6)
            self.after(spent, self.request, run, name, [task for task in tasks if run.worker_of[task] == name])
        return spent

    def request(self, run: Run, name: str, tasks: list[str]) -> None:
        world, memory = self.world, run.memory_of[name]
        free = [one for one in self.free[memory] if self.now - one[0] <= 1000 * world.keep_alive_ms]
        self.free[memory] = free
        place = {"most recent": -1, "least recent": 0, "random": self.rng.randrange(len(free) or 1)}[world.policy]
        _, container, left_by = free.pop(place) if free else (0, f"c{next(self.number)}", None)
        fates = {"never_ready": world.never_ready, "killed": world.killed}
        (fate,) = self.rng.choices([*fates, "worked"], [*fates.values(), 1 - sum(fates.values())])
        ids = f"{run.run_id}/{name}", run.run_id, name, memory, tuple(tasks)
        state, clock = "warm" if left_by else "cold", self.span(-world.clocks_ms, world.clocks_ms)
        worker = _Worker(Start(*ids, clock, state, container, left_by, fate, self.now), tasks)
        run.workers[name] = worker
        startup = self.span(*(world.warm_ms if left_by else world.cold_ms))
        self.after(startup, self.lose if fate == "never_ready" else self.become_ready, run, worker)

    def become_ready(self, run: Run, worker: _Worker) -> None:
        worker.start = replace(worker.start, ready_at=self.now)
        if worker.start.fate == "killed":
            self.after(self.span(20, 400), self.lose, run, worker)
            return
        for one in self.optimizations.values():
            is_here = one.run_id == run.run_id and run.worker_of[one.task_id] == worker.start.worker_id
            if one.optimization == "prewarm" and is_here:
                self.after(one.delay_us or 0, self.warm_up, run.memory_of[one.target_worker_id or ""], one)
        for task in worker.inbox:
            self.begin(run, worker, task)

    def warm_up(self, memory: int, one: Optimization) -> None:
        self.note(replace(one, happened_at=self.now))
        self.free[memory].append((self.now, f"c{next(self.number)}", f"pre-warm for {one.target_worker_id}"))

    def lose(self, run: Run, worker: _Worker) -> None:
        worker.start = replace(worker.start, finished_at=self.now)
        self.never(run, [task for task, name in run.worker_of.items() if name == worker.start.worker_id])

    def never(self, run: Run, tasks: list[str]) -> None:
        """Take down tasks that cannot run any more, and all that need them."""
        while tasks:
            if (task := tasks.pop()) not in run.never_run:
                run.never_run.add(task)
                tasks += run.downstream(task)
        for worker in filter(None, run.workers.values()):
            self.leave(run, worker)

    def deliver(self, run: Run, task: str) -> None:
        worker = run.workers[run.worker_of[task]]
        if worker is None:
            self.after(1000, self.deliver, run, task)
        elif worker.start.ready_at is None:
            worker.inbox.append(task)
        elif worker.start.fate == "worked":
            self.begin(run, worker, task)

    def begin(self, run: Run, worker: _Worker, task: str) -> None:
        worker.running += 1
        wait = max((self.take_in(run, worker, task, other) for other in run.upstream[task]), default=0)
        self.attempt(run, worker, task, 1, wait, "failed" if self.luck(self.world.raises) else "succeeded")

    def take_in(self, run: Run, worker: _Worker, task: str, other: str) -> int:
        """Download an output unless it is here: pre-loading began when it was made, if the worker was ready then."""
        made_at, download, wait = run.made[other].finished_at, self.span(5, 120), 0
        preload = self.optimizations.get((run.run_id, task, other))
        is_preloaded = preload is not None and (worker.start.ready_at or 0) <= made_at
        if run.worker_of[other] != worker.start.worker_id:
            wait = (made_at if is_preloaded else self.now) + download - self.now
        if preload and is_preloaded:
            self.note(replace(preload, happened_at=made_at))
        size, shown = run.made[other].output_bytes, download if wait > 0 else None
        self.inputs.append(Input(run.run_id, task, other, size, shown, is_preloaded))
        return max(wait, 0)

    def attempt(self, run: Run, worker: _Worker, task: str, number: int, wait: int, status: str) -> None:
        needed = task == run.sink or any(run.worker_of[task] != run.worker_of[o] for o in run.downstream(task))
        upload = self.span(3, 80) if needed and status == "succeeded" else None
        counters = self.span(0.5, 4) if status == "succeeded" else 0
        phases = self.now, wait, self.span(20, 800), upload, counters, self.rng.randrange(10**6)
        one = Attempt(run.run_id, task, number, worker.start.worker_id, status, *phases)
        self.after(one.released_at - self.now, self.tell if status == "succeeded" else self.fail, run, worker, one)

    def fail(self, run: Run, worker: _Worker, one: Attempt) -> None:
        self.attempts.append(one)
        if self.luck(self.world.retried):
            self.attempt(run, worker, one.task_id, 2, 0, "succeeded")
        else:
            run.failed.add(one.task_id)
            self.never(run, run.downstream(one.task_id))
            self.rest(run, worker)

    def tell(self, run: Run, worker: _Worker, one: Attempt) -> None:
        """Count the task as done: those that now have all they need run where they were planned."""
        run.told.add(one.task_id)
        run.made[one.task_id] = one
        ready = [task for task in run.downstream(one.task_id) if run.told.issuperset(run.upstream[task])]
        ready = [task for task in ready if task not in run.never_run]
        delivered = [task for task in ready if run.worker_of[task] in run.workers]
        spent = self.launch(run, [task for task in ready if task not in delivered])
        spent += self.span(1, 6) if one.task_id == run.sink else 0  # the client is told
        for task in delivered:
            self.after(spent + self.span(0.2, 5), self.deliver, run, task)
        self.attempts.append(replace(one, invocation_us=spent))
        self.after(spent, self.rest, run, worker)

    def rest(self, run: Run, worker: _Worker) -> None:
        worker.running -= 1
        self.leave(run, worker)

    def leave(self, run: Run, worker: _Worker) -> None:
        """End a worker that runs nothing and none of whose tasks can come any more."""
        start, over = worker.start, run.told | run.failed | run.never_run
        comes = any(name == start.worker_id and task not in over for task, name in run.worker_of.items())
        works = start.ready_at is not None and start.fate == "worked"
        if works and not (worker.running or comes or worker.is_leaving):
            worker.is_leaving = True
            self.after(self.span(*self.world.exit_ms), self.release, worker)

    def release(self, worker: _Worker) -> None:
        start = worker.start = replace(worker.start, finished_at=self.now)
        self.free[start.memory_mb].append((self.now, start.container_id, start.invocation_id))


def simulate(world: World) -> Truth:
    """Play a world."""
    platform = _Platform(world)
    platform.play(range(-world.unseen_runs, 0))
    runs = platform.play(range(world.runs))
    names = {run.run_id for run in runs}
    starts = [worker.start for run in runs for worker in filter(None, run.workers.values())]
    attempts = [one for one in platform.attempts if one.run_id in names]
    predictions = list(_predict(platform.rng, runs, starts, attempts))
    executions = {(one.run_id, one.task_id): 1000 * one.predicted for one in predictions if one.predictor == "engine"}
    return Truth(
        world,
        runs=tuple(runs),
        starts=tuple(starts),
        attempts=tuple(attempts),
        inputs=tuple(one for one in platform.inputs if one.run_id in names),
        optimizations=tuple(one for one in platform.optimizations.values() if one.run_id in names),
        planned=tuple(one for run in runs[1:] for one in _plan(run, executions)),
        predictions=tuple(predictions),
    )


def _predict(rng: random.Random, runs: list[Run], starts: list[Start], attempts: list[Attempt]) -> Iterator[Prediction]:
    """Plans that predict executions, and a predictor 'planted' of makespans and start-ups at three percentiles.

    Of every 20 predictions of a metric at a percentile p, p % are above what happened, by 5 to 50 %, the others below.
    """
    decks: dict[tuple[str, float | None], list[bool]] = defaultdict(list)

    def planted(*key: Any, actual_us: int) -> Prediction:
        deck, above = decks[key[-2:]], (key[-1] or 50) / 5
        if not deck:
            deck += rng.sample([number < above for number in range(20)], 20)
        factor = 1 + rng.uniform(0.05, 0.5) * (1 if deck.pop() else -1)
        return Prediction(*key, actual_us / 1000, actual_us / 1000 * factor)

    last = {(one.run_id, one.task_id): one for one in attempts}
    for run in runs[1:]:  # the first has no history to plan from
        for task in filter(lambda task: (run.run_id, task) in last, run.upstream):
            key = "engine", "task", run.run_id, task, None, "execution", run.sla_percentile
            yield planted(*key, actual_us=last[run.run_id, task].execution_us)
    for p in (50, 75, 90):
        for run in runs:
            if run.sink in run.told:
                sink = last[run.run_id, run.sink]
                makespan = sink.finished_at + sink.invocation_us - run.submitted_at
                yield planted("planted", "run", run.run_id, None, None, "makespan", p, actual_us=makespan)
        for start in starts:
            if start.ready_at is not None:
                key = "planted", "invocation", start.run_id, None, start.invocation_id, "startup", p
                yield planted(*key, actual_us=start.ready_at - start.requested_at)


def _plan(run: Run, executions: dict[tuple[str, str | None], float]) -> Iterator[Planned]:
    """The plan: each task begins when all it needs is there and its worker, if it is the first on it, has started."""
    times: dict[str, tuple[float, float, float | None]] = {}
    for task, upstream in run.upstream.items():
        worker = run.worker_of[task]
        is_first = worker not in {run.worker_of[other] for other in times}
        startup = (1e6 if worker in run.thought_cold else 2.5e5) if is_first else None
        begins = max((times[other][1] for other in upstream), default=0) + (startup or 0)
        times[task] = begins, begins + executions.get((run.run_id, task), 1e5), startup
    critical = [run.sink]
    while upstream := run.upstream[critical[-1]]:
        critical.append(max(upstream, key=lambda other: times[other][1]))
    for task, (begins, completes, startup) in times.items():
        worker = run.worker_of[task]
        state = ("cold" if worker in run.thought_cold else "warm") if startup else None
        ids = run.run_id, task, worker, run.memory_of[worker]
        yield Planned(
            *ids, state, startup, executions.get((run.run_id, task), 1e5), begins, completes, task in critical
        )


def rows_of(truth: Truth) -> dict[str, list[Row]]:
    """The rows of every table, as far as the world's log shows them."""
    world, clocks = truth.world, {(start.run_id, start.worker_id): start.clock for start in truth.starts}
    rows: dict[str, list[Row]] = defaultdict(list)
    for number, run in enumerate(truth.runs):
        of_world = {"engine": world.name, "environment": world.name, "workflow": world.name}
        rows["runs"].append(_row("runs", run, sink_task_id=run.sink, expected_tasks=len(run.upstream), **of_world))
        sla = f"p{run.sla_percentile}" if run.sla_percentile else "average"
        rows["plans"] += [_row("plans", run, planner="planted", sla=sla, previous_runs=number)] if number else []
        for task, upstream in run.upstream.items():
            rows["edges"] += [{"run_id": run.run_id, "upstream_task_id": other, "task_id": task} for other in upstream]
    for start in truth.starts:
        hidden: Row = {} if world.shows_containers else {"container_id": None}
        hidden |= {} if world.shows_ends and start.fate == "worked" else {"finished_at": None}
        hidden |= {"reported_state": start.state} if world.shows_states and start.ready_at else {}
        hidden |= {"status": "killed"} if world.shows_deaths and start.fate == "killed" else {}
        rows["invocations"].append(_row("invocations", start, start.clock, **hidden))
    for one in truth.attempts:
        error = {"error_type": "ValueError", "error_message": f"planted in {one.task_id}"}
        more = error if one.status == "failed" else {}
        rows["tasks"].append(_row("tasks", one, clocks[one.run_id, one.worker_id], **more))
    for optimization in truth.optimizations:
        rows["optimizations"].append(_row("optimizations", optimization, stage="assigned", happened_at=None))
        if optimization.happened_at is not None:
            rows["optimizations"].append(_row("optimizations", optimization, stage="applied"))
    rows["task_inputs"] = [_row("task_inputs", one, object_id=one.upstream_task_id) for one in truth.inputs]
    rows["planned_tasks"] = [_row("planned_tasks", one) for one in truth.planned]
    rows["predictions"] = [_row("predictions", one) for one in truth.predictions if one.predictor != "engine"]
    return rows


def _row(table: str, one: Any, clock: int = 0, **more: Any) -> Row:
    """The fields that are columns. A worker's clock tells when it was ready, worked and ended."""
    row = {}
    for name in (each.name for each in fields(one)):
        value = getattr(one, name)
        if name.endswith("_us"):
            row[f"{name.removesuffix('_us')}_ms"] = None if value is None else value / 1000
        elif name in FACTS[table].types:
            moves = clock if name != "requested_at" else 0
            row[name] = _instant(value + moves) if name.endswith("_at") and value is not None else value
    return row | more


def _instant(us: int) -> str:
    return f"{(T0 + timedelta(microseconds=us)).isoformat()}Z"


def write(folder: Path, *truths: Truth) -> Path:
    """Write worlds into one flowdump, a file per table."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[str]] = defaultdict(list)
    for truth in truths:
        for table, rows in rows_of(truth).items():
            lines[table] += [f"{json.dumps(row)}\n" for row in rows]
    for table, of_table in lines.items():
        (folder / f"{table}.jsonl").write_text("".join(of_table))
    return folder

"""Runs simulated: replayed as recorded, or with one thing changed, and set beside each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import numpy as np

from predictors.simulation.behaviour import Behaviour, Measured, measure
from predictors.simulation.borrowing import Lenders
from predictors.simulation.changes import Changes
from predictors.simulation.memory import MemoryEffects
from predictors.simulation.play import ANY, Durations, Played, Rules, Shape, Stuck, play
from predictors.simulation.predicted import Drawn, Quantiles
from predictors.simulation.recorded import Recording, shape_as_planned, shape_as_run, with_uploads
from predictors.simulation.records import EXIT_MS, Record
from warehouse.connection import Reader
from warehouse.errors import FlowscopeError

REPLAYS_WITHIN = 0.05
"""How far a replay's makespan may be from the recorded one, relative to that, for the replay to stand for the run."""
ENGINE_KEEP_ALIVE_MS = {"octoflows": (7000.0, 7000.0 / 3)}
"""For how long the engine keeps free containers, and how often it looks for those that are over (FIELD.md, section 1)."""


class CannotSimulate(FlowscopeError):
    """A run of which this cannot be simulated."""


@dataclass(frozen=True)
class Knowledge:
    """What simulations of a warehouse's runs rest on. `keep_alive`: by engine and environment, (keep-alive, sweep) in ms."""

    behaviour: Behaviour
    memory: MemoryEffects
    keep_alive: dict[tuple[str | None, str | None], tuple[float, float]]
    most_at_once: int


def learn(reader: Reader, records: Sequence[Record], measured: Measured | None = None) -> Knowledge:
    """Learn from all complete runs of a warehouse how its platforms behave."""
    measured = measure(records) if measured is None else measured
    behaviour = Behaviour.learn(measured, np.ones(len(records), dtype=bool))
    return Knowledge(
        behaviour,
        MemoryEffects.learn(measured, behaviour.execution_contention),
        keep_alives(reader),
        max((len(set(tasks)) for record in records if record.is_complete for tasks in _beside(record)), default=0),
    )


def keep_alives(reader: Reader) -> dict[tuple[str | None, str | None], tuple[float, float]]:
    """Return (keep-alive, sweep) in ms by engine and environment: the engine's, else as estimated from the log."""
    found = {
        (engine, environment): ENGINE_KEEP_ALIVE_MS.get(engine or "", (lower, max(0.0, upper - lower)))
        for engine, environment, lower, upper in reader.rows(_KEEP_ALIVES)
    }
    for engine, environment in reader.rows("select distinct engine, environment from runs"):
        if engine in ENGINE_KEEP_ALIVE_MS:
            found[engine, environment] = ENGINE_KEEP_ALIVE_MS[engine]
    return found


_KEEP_ALIVES = """
select engine, environment, lower_ms, upper_ms
from keep_alive
where lower_ms is not null and upper_ms is not null
order by basis desc, n
"""


def _beside(record: Record) -> list[list[int]]:
    """Return the tasks that ran at once on one worker, at the start of each."""
    tasks = range(len(record.task_ids))
    return [
        [other for other in tasks if record.worker[other] == record.worker[task] and record.start[other] <= record.start[task] < _end(record, other)]
        for task in tasks
    ]  # fmt: skip


def _end(record: Record, task: int) -> float:
    wait = record.wait[task]
    return record.start[task] + (wait if math.isfinite(wait) else 0.0) + record.execution[task]


@dataclass(frozen=True)
class Simulated:
    """A run simulated: rows of the tables `simulations`, `simulated_tasks` and `simulated_invocations`."""

    summary: dict[str, Any]
    tasks: list[dict[str, Any]] = field(repr=False)
    invocations: list[dict[str, Any]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Scene:
    """A run ready to be played: its shape, the ids of its workers, durations by draw, and rules by draw."""

    shape: Shape
    ids: tuple[str, ...]
    durations: list[Durations]
    rules: list[Rules]

    def played(self) -> list[Played]:
        return [play(self.shape, takes, rules) for takes, rules in zip(self.durations, self.rules, strict=True)]


def simulate(
    record: Record, planned: Record, changes: Changes, knowledge: Knowledge, *, draws: int = 20, seed: int = 0,
    predicted: Quantiles | None = None, predictor: str = "recorded",
) -> Simulated:  # fmt: skip
    """Simulate a run with its recorded durations, or `predicted` ones, and what is changed; beside it without the change.

    `planned` is the run as it is planned then (`replanned`). A plain replay takes one draw, in which what is not recorded is as it usually is. Raises `CannotSimulate` for a run that is not
    complete (unless predicted) or that cannot end.
    """
    if predicted is None and not record.is_complete:
        raise CannotSimulate(
            f"Run {record.run_id} is not complete, so it cannot be replayed. Hint: --predict needs its DAG only."
        )
    if not changes and predicted is None:
        draws = 1
    chance = np.random.default_rng([seed, int.from_bytes(sha256(record.run_id.encode()).digest()[:8])])
    luck = [_Luck.middle() if draws == 1 else _Luck.by_chance(chance, len(record.task_ids)) for _ in range(draws)]
    try:
        base = _scene(record, record, Changes(), knowledge, luck, predicted)
        before = base.played()
        scene = _scene(record, planned, changes, knowledge, luck, predicted) if changes else base
        after = scene.played() if changes else before
        plain = (
            before[0]
            if draws == 1 or predicted
            else _scene(record, record, Changes(), knowledge, [_Luck.middle()], None).played()[0]
        )
    except Stuck as stuck:
        raise CannotSimulate(f"{record.run_id}: {stuck}") from stuck
    name = changes.name if predicted is None else "predicted" if not changes else f"predicted; {changes.name}"
    replays = None if predicted is not None else replay_error(record, plain) <= REPLAYS_WITHIN
    summary = {
        "run_id": record.run_id,
        "scenario": name,
        "predictor": predictor,
        "draws": draws,
        "seed": seed,
        **_summed(after),
        **(_compared(before, after) if changes else {}),
        "largest_start_error": _largest_start_error(record, plain) if not changes and predicted is None else None,
        "replays": replays,
        "warnings": warnings(record, changes, knowledge),
    }
    order = sorted(range(draws), key=lambda draw: after[draw].makespan_ms)
    middle = after[order[draws // 2]]
    cold = {place: float(np.mean([each.state[place] == "cold" for each in after])) for place in range(len(scene.ids))}
    return Simulated(
        summary, _task_rows(record, name, scene, middle), _invocation_rows(record, name, scene, middle, cold)
    )


def replay_error(record: Record, replayed: Played) -> float:
    """Return how far a replay's makespan is from the recorded one, relative to that."""
    return abs(replayed.makespan_ms - record.makespan_ms) / record.makespan_ms if record.makespan_ms > 0 else math.inf


def _largest_start_error(record: Record, replayed: Played) -> float:
    off = max(abs(a - b) for a, b in zip(replayed.start, record.start, strict=True))
    return off / record.makespan_ms


@dataclass(frozen=True)
class _Luck:
    """What one draw leaves to chance: when sweeps happen, the level of each start that is not recorded, the effect of memory, and
    the durations if they are predicted.
    """

    phase: float
    level: Any
    memory: float
    drawn: Drawn | None
    seed: int

    @staticmethod
    def middle() -> _Luck:
        return _Luck(0.5, None, 0.0, None, 0)

    @staticmethod
    def by_chance(chance: np.random.Generator, tasks: int) -> _Luck:
        return _Luck(
            float(chance.random()), chance.random(2 * tasks), float(chance.normal()), Drawn.of(chance, tasks),
            int(chance.integers(2**31)),
        )  # fmt: skip


def replanned(record: Record, changes: Changes, lenders: Lenders) -> Record:
    """Return the run with the plan that is asked for. Raises `CannotSimulate` where nobody was seen to plan it so."""
    planner, sla = changes.get("planner"), changes.get("sla")
    if not planner and not sla:
        return record
    planned = lenders.plan_for(record, planner, sla)
    if planned is None:
        asked = " at ".join(filter(None, (planner, sla)))
        raise CannotSimulate(
            f"No plan by {asked} for the structure of run {record.run_id} is recorded. Hint: flowscope sql"
            ' "select distinct planner, sla from run_summary" shows which there are.'
        )
    return planned


def _scene(
    record: Record, planned: Record, changes: Changes, knowledge: Knowledge, luck: Sequence[_Luck], predicted: Quantiles | None
) -> _Scene:  # fmt: skip
    """Return a run ready to be played. `planned` differs from `record` where another run's plan is borrowed."""
    behaviour = knowledge.behaviour
    is_open = predicted is not None or planned is not record
    shape, ids = (shape_as_planned if is_open else shape_as_run)(planned)
    shape = _changed(shape, changes)
    factor = float(changes.get("startup_factor", 1.0))
    durations, rules = [], []
    keep_alive_ms, sweep_ms = knowledge.keep_alive.get((record.engine, record.environment), (0.0, 0.0))
    if keep_alive_s := changes.get("keep_alive_s"):
        keep_alive_ms, sweep_ms = 1000 * keep_alive_s, 1000 * keep_alive_s / 3 if sweep_ms else 0.0
    recording = None if predicted is not None else Recording(record, shape, ids, behaviour)
    for one in luck:
        if predicted is not None:
            takes = predicted.durations(record, shape, behaviour, one.drawn, one.level)
        elif recording is not None:
            takes = recording.durations(one.level)
        if is_open and predicted is None:
            takes = with_uploads(takes, record, shape, behaviour)
        takes = _scaled(takes, record, shape, knowledge.memory, one.memory, factor)
        durations.append(takes)
        rules.append(
            Rules(
                exit_ms=EXIT_MS,
                keep_alive_ms=keep_alive_ms,
                sweep_ms=sweep_ms,
                sweep_phase=one.phase,
                reuse=changes.get("reuse", "most-recent").replace("-", " "),
                max_workers=changes.get("max_workers", math.inf),
                task_limit=changes.get("worker.task_limit", math.inf),
                execution_contention=behaviour.execution_contention,
                startup_contention=behaviour.contention_of_starts(record),
                preload=changes.get("optimization.preload") != "off",
                duplicate=changes.get("optimization.taskdup") != "off",
                prewarm=changes.get("optimization.prewarm", "as assigned"),
                seed=one.seed,
            )
        )
    return _Scene(shape, ids, durations, rules)


def _changed(shape: Shape, changes: Changes) -> Shape:
    """Return the shape with what is changed in it: memory, and what optimisations are assigned to."""
    tasks = range(len(shape.upstream))
    if changes.get("optimization.preload") == "on":
        elsewhere = [
            sum(shape.worker[up] not in (ANY, shape.worker[task]) for up in shape.upstream[task]) for task in tasks
        ]
        shape = replace(shape, preloads=tuple(shape.worker[task] != ANY and elsewhere[task] >= 2 for task in tasks))
    if changes.get("optimization.taskdup") == "on":
        shape = replace(
            shape,
            duplicable=tuple(
                any(ANY not in (shape.worker[task], shape.worker[down]) and shape.worker[task] != shape.worker[down] for down in shape.downstream[task])
                for task in tasks
            ),
        )  # fmt: skip
    if memory := changes.get("memory"):
        shape = replace(
            shape,
            memory_mb=(memory,) * len(shape.memory_mb),
            pool=tuple((memory, since) for _, since in shape.pool),
            prewarms=tuple(replace(one, memory_mb=memory) for one in shape.prewarms),
        )
    return shape


def _scaled(
    takes: Durations, record: Record, shape: Shape, effects: MemoryEffects, chance: float, factor: float
) -> Durations:
    """Return the durations with executions as memory makes them, and start-ups that take `factor` times as long."""
    execution = list(takes.execution)
    for task, worker in enumerate(shape.worker):
        new = shape.memory_mb[worker if worker != ANY else shape.workers + task]
        old = record.memory_mb[task] if math.isfinite(record.memory_mb[task]) else record.planned_memory_mb[task]
        if new != old and new > 0 and old > 0:
            effect = effects.of(record.functions[task])
            execution[task] *= (new / old) ** (effect.exponent + chance * effect.error)
    if factor != 1:
        takes = replace(takes, cold=[factor * ms for ms in takes.cold], warm=[factor * ms for ms in takes.warm])
    return replace(takes, execution=execution)


def warnings(record: Record, changes: Changes, knowledge: Knowledge) -> list[str]:
    """Say in what a simulation leaves what was recorded."""
    found = []
    if memory := changes.get("memory"):
        for function in dict.fromkeys(record.functions):
            effect = knowledge.memory.of(function)
            if math.isnan(effect.low_mb) or effect.low_mb == effect.high_mb:
                found.append(f"what memory does to {function} is not known: it was seen at one size only")
            elif not effect.low_mb <= memory <= effect.high_mb:
                found.append(
                    f"{function} was never seen at {memory:g} MB, only at {effect.low_mb:g} to {effect.high_mb:g}"
                )
        if any(memory < mb for mb in record.memory_mb):
            found.append("that less memory may kill a worker is not simulated")
    limit = changes.get("worker.task_limit")
    if limit is not None and limit >= knowledge.most_at_once:
        found.append(
            f"no worker was seen to run more than {knowledge.most_at_once} tasks at once: this limit never binds"
        )
    if (record.engine, record.environment) not in knowledge.keep_alive and not changes.get("keep_alive_s"):
        found.append(
            "for how long containers stay warm is not known here: every start counts as cold unless pre-warmed"
        )
    if changes.get("startup_factor") and not 0.25 <= changes.get("startup_factor") <= 4:
        found.append("start-ups this different were never seen")
    return found


def _summed(played: Sequence[Played]) -> dict[str, Any]:
    makespan = np.array([each.makespan_ms for each in played])
    gb_seconds = np.array([each.gb_seconds for each in played])
    low, middle, high = np.quantile(makespan, [0.05, 0.5, 0.95])
    gb_low, gb_middle, gb_high = np.quantile(gb_seconds, [0.05, 0.5, 0.95])
    return {
        "makespan_ms": middle, "makespan_low_ms": low, "makespan_high_ms": high,
        "gb_seconds": gb_middle, "gb_seconds_low": gb_low, "gb_seconds_high": gb_high,
        "cold_starts": float(np.mean([each.starts("cold") for each in played])),
        "warm_starts": float(np.mean([each.starts("warm") for each in played])),
        "startup_ms": float(np.median([each.startup_ms for each in played])),
        "active_ms": float(np.median([each.active_ms for each in played])),
    }  # fmt: skip


def _compared(before: Sequence[Played], after: Sequence[Played]) -> dict[str, Any]:
    """Return what the change does, draw by draw."""
    differences = [b.makespan_ms - a.makespan_ms for a, b in zip(before, after, strict=True)]
    low, middle, high = np.quantile(differences, [0.05, 0.5, 0.95])
    return {
        "baseline_makespan_ms": float(np.median([each.makespan_ms for each in before])),
        "baseline_gb_seconds": float(np.median([each.gb_seconds for each in before])),
        "baseline_cold_starts": float(np.mean([each.starts("cold") for each in before])),
        "difference_ms": middle, "difference_low_ms": low, "difference_high_ms": high,
    }  # fmt: skip


def _task_rows(record: Record, scenario: str, scene: _Scene, played: Played) -> list[dict[str, Any]]:
    return [
        {
            "run_id": record.run_id, "scenario": scenario, "task_id": record.task_ids[task], "worker_id": scene.ids[played.worker[task]],
            "memory_mb": round(played.memory_mb[played.worker[task]]), "start_offset_ms": played.start[task],
            "input_wait_ms": played.wait[task], "execution_ms": played.execution[task],
            "upload_ms": played.finish[task] - played.start[task] - played.wait[task] - played.execution[task],
            "finish_offset_ms": played.finish[task], "release_offset_ms": played.release[task],
        }
        for task in range(len(record.task_ids))
    ]  # fmt: skip


def _invocation_rows(
    record: Record, scenario: str, scene: _Scene, played: Played, cold: dict[int, float]
) -> list[dict[str, Any]]:
    return [
        {
            "run_id": record.run_id, "scenario": scenario, "worker_id": scene.ids[worker], "memory_mb": round(played.memory_mb[worker]),
            "requested_offset_ms": played.requested[worker], "ready_offset_ms": played.ready[worker],
            "released_offset_ms": played.released[worker], "state": played.state[worker],
            "startup_ms": played.ready[worker] - played.requested[worker], "cold_probability": cold[worker],
        }
        for worker in played.launched
    ]  # fmt: skip

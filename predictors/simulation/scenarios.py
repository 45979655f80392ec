"""Runs simulated: replayed as recorded, or with one thing changed, and set beside each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np

from predictors.simulation.borrowing import Lenders
from predictors.simulation.changes import Changes
from predictors.simulation.knowledge import Knowledge, warnings
from predictors.simulation.memory import MemoryEffects
from predictors.simulation.play import ANY, Durations, Played, Rules, Shape, Stuck, play
from predictors.simulation.predicted import Drawn, Quantiles
from predictors.simulation.recorded import Recording, shape_ahead, shape_as_planned, shape_as_run, with_uploads
from predictors.simulation.records import Record
from predictors.simulation.rows import Simulated, compared, invocation_rows, summed, task_rows
from warehouse.errors import FlowscopeError

REPLAYS_WITHIN = 0.05
"""How far a replay's makespan may be from the recorded one, relative to that, for the replay to stand for the run."""


class CannotSimulate(FlowscopeError):
    """A run of which this cannot be simulated."""


@dataclass(frozen=True, slots=True)
class _Scene:
    """A run ready to be played: its shape, the ids of its workers, durations by draw, and rules by draw."""

    shape: Shape
    ids: tuple[str, ...]
    durations: list[Durations]
    rules: list[Rules]

    def played(self) -> list[Played]:
        return [play(self.shape, takes, rules) for takes, rules in zip(self.durations, self.rules, strict=True)]


class Simulator:
    """One run, played `draws` times with its recorded durations, or `predicted` ones: as it was, and changed.

    Draws differ in what is not recorded: when free containers are looked for, start-ups in a state they were not recorded in, and
    how surely the effect of memory is known. The same draws are made with and without a change.
    Raises `CannotSimulate` for a run that is not complete, unless predicted.
    """

    def __init__(
        self, record: Record, knowledge: Knowledge, *, draws: int = 20, seed: int = 0, predicted: Quantiles | None = None,
        predictor: str = "recorded",
    ) -> None:  # fmt: skip
        if predicted is None and not record.is_complete:
            raise CannotSimulate(
                f"Run {record.run_id} is not complete, so it cannot be replayed. Hint: --predict needs its DAG only."
            )
        self._record, self._knowledge, self._predicted = record, knowledge, predicted
        self._same = {"predictor": predictor, "seed": seed}
        self._luck = draw(record, draws, seed)

    @cached_property
    def _recording(self) -> Recording:
        return Recording(self._record, self._knowledge.behaviour)

    @cached_property
    def _replay(self) -> tuple[_Scene, list[Played]]:
        """The run with its recorded durations, where what is not recorded is as it usually is."""
        scene = self._recorded(self._record, Changes(), [Luck.middle()], is_on_plan=False)
        return scene, scene.played()

    @cached_property
    def _unchanged(self) -> tuple[_Scene, list[Played]]:
        scene = self._scene(self._record, Changes(), is_on_plan=False)
        return scene, scene.played()

    @cached_property
    def _on_plan(self) -> list[Played]:
        """The run on the workers that its own plan chose, so that a borrowed plan is held against one played the same way."""
        return self._scene(self._record, Changes(), is_on_plan=True).played()

    def simulate(self, changes: Changes, planned: Record) -> Simulated:
        """Play the run with what is changed; `planned` is the run as it is planned then (`replanned`); where that is another plan, the run replays only if it does so
        on its own plan too, whose flexible tasks choose their workers anew.

        A plain replay takes one draw. Raises `CannotSimulate` where the run cannot end.
        """
        if changes.get("memory") and not all(mb > 0 for mb in self._record.memory_mb) and self._predicted is None:
            raise CannotSimulate(
                f"The memory of a worker of run {self._record.run_id} is not recorded, so what other memory does cannot be told."
                " Hint: change something else."
            )
        try:
            return self._simulate(changes, planned)
        except Stuck as stuck:
            raise CannotSimulate(f"{self._record.run_id}: {stuck}") from stuck

    def _simulate(self, changes: Changes, planned: Record) -> Simulated:
        record, is_recorded = self._record, self._predicted is None
        if changes:
            is_borrowed = planned is not record
            scene = self._scene(planned, changes, is_on_plan=is_borrowed)
            after = scene.played()
            before = self._on_plan if is_borrowed else self._unchanged[1]
        else:
            scene, after = self._replay if is_recorded else self._unchanged
            before = after
        name = changes.name if is_recorded else f"predicted; {changes.name}" if changes else "predicted"
        summary = {
            "run_id": record.run_id,
            "scenario": name,
            "draws": len(after),
            **self._same,
            **summed(after),
            **(compared(before, after) if changes else {}),
            "warnings": warnings(record, changes, self._knowledge),
        }
        if is_recorded:
            replayed = self._replay[1][0]
            played = [replayed] if planned is record else [replayed, _middle(before)]
            summary["replays"] = all(replay_error(record, each) <= REPLAYS_WITHIN for each in played)
            if not changes:
                summary["largest_start_error"] = largest_start_error(record, replayed)
        middle = _middle(after)
        cold = [float(np.mean([each.state[place] == "cold" for each in after])) for place in range(len(scene.ids))]
        return Simulated(
            summary, task_rows(record, name, scene.ids, middle), invocation_rows(record, name, scene.ids, middle, cold)
        )

    def _scene(self, planned: Record, changes: Changes, *, is_on_plan: bool) -> _Scene:
        """Return the run ready to be played in each draw; `is_on_plan`: on the workers of the plan that `planned` has."""
        if self._predicted is None:
            return self._recorded(planned, changes, self._luck, is_on_plan=is_on_plan)
        record, knowledge = self._record, self._knowledge
        shape, ids = shape_as_planned(planned) if is_on_plan else shape_ahead(record, knowledge.behaviour)
        worked_mb = _memory_of_tasks(shape)
        shape = _changed(shape, changes)
        durations = [
            self._predicted.durations(record, shape, knowledge.behaviour, one.drawn, one.level) for one in self._luck
        ]
        return self._ready(shape, ids, durations, worked_mb, changes, self._luck)

    def _recorded(self, planned: Record, changes: Changes, luck: Sequence[Luck], *, is_on_plan: bool) -> _Scene:
        """Return the run with its recorded durations ready to be played."""
        record = self._record
        shape, ids = shape_as_planned(planned) if is_on_plan else shape_as_run(planned)
        shape = _changed(shape, changes)
        durations = [self._recording.durations(shape, ids, one.level) for one in luck]
        if is_on_plan:
            durations = [with_uploads(takes, record, shape, self._knowledge.behaviour) for takes in durations]
        return self._ready(shape, ids, durations, record.memory_mb, changes, luck)

    def _ready(
        self, shape: Shape, ids: tuple[str, ...], durations: Sequence[Durations], worked_mb: Sequence[float], changes: Changes,
        luck: Sequence[Luck],
    ) -> _Scene:  # fmt: skip
        """Return a scene with what is changed in durations, which tasks had with `worked_mb`, and rules."""
        functions, effects, factor = (
            self._record.functions,
            self._knowledge.memory,
            float(changes.get("startup_factor", 1.0)),
        )
        scaled = [
            _scaled(takes, functions, worked_mb, shape, effects, one.memory, factor)
            for takes, one in zip(durations, luck, strict=True)
        ]
        rules = [
            _ruled(replace(self._knowledge.rules(self._record, one.phase), seed=one.seed), changes) for one in luck
        ]
        return _Scene(shape, ids, scaled, rules)


def _middle(played: Sequence[Played]) -> Played:
    """Return the draw whose makespan is the median."""
    return sorted(played, key=lambda each: each.makespan_ms)[len(played) // 2]


def replay_error(record: Record, replayed: Played) -> float:
    """Return how far a replay's makespan is from the recorded one, relative to that."""
    return abs(replayed.makespan_ms - record.makespan_ms) / record.makespan_ms if record.makespan_ms > 0 else math.inf


def largest_start_error(record: Record, replayed: Played) -> float:
    """Return how far the start of any task is from the recorded one at most, relative to the recorded makespan."""
    off = max(abs(a - b) for a, b in zip(replayed.start, record.start, strict=True))
    return off / record.makespan_ms if record.makespan_ms > 0 else math.inf


@dataclass(frozen=True)
class Luck:
    """What one draw leaves to chance: when sweeps happen, the level of each start that is not recorded, the effect of memory, and
    the durations if they are predicted.
    """

    phase: float
    level: Any
    memory: float
    drawn: Drawn | None
    seed: int

    @staticmethod
    def middle() -> Luck:
        """Return what usually happens."""
        return Luck(0.5, None, 0.0, None, 0)

    @staticmethod
    def by_chance(chance: np.random.Generator, tasks: int) -> Luck:
        """Draw for a run of so many tasks."""
        return Luck(
            float(chance.random()), chance.random(2 * tasks), float(chance.normal()), Drawn.of(chance, tasks),
            int(chance.integers(2**31)),
        )  # fmt: skip


def draw(record: Record, draws: int, seed: int) -> list[Luck]:
    """Return the luck of each draw of a run: the same for the same run and seed; of a single one what is usual."""
    if draws == 1:
        return [Luck.middle()]
    chance = np.random.default_rng([seed, number_of(record.run_id)])
    return [Luck.by_chance(chance, len(record.task_ids)) for _ in range(draws)]


def number_of(run_id: str) -> int:
    """Return a number for a run that is the same in every process."""
    return int.from_bytes(sha256(run_id.encode()).digest()[:8])


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


def _ruled(rules: Rules, changes: Changes) -> Rules:
    """Return the rules with what is changed in them."""
    if keep_alive_s := changes.get("keep_alive_s"):
        keep_alive_ms = 1000 * keep_alive_s
        rules = replace(rules, keep_alive_ms=keep_alive_ms, sweep_ms=keep_alive_ms / 3 if rules.sweep_ms else 0.0)
    return replace(
        rules,
        reuse=changes.get("reuse", "most-recent").replace("-", " "),
        max_workers=changes.get("max_workers", math.inf),
        task_limit=changes.get("worker.task_limit", math.inf),
        preload=changes.get("optimization.preload") != "off",
        duplicate=changes.get("optimization.taskdup") != "off",
        prewarm=changes.get("optimization.prewarm", "as assigned"),
    )


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


def _memory_of_tasks(shape: Shape) -> tuple[float, ...]:
    return tuple(
        shape.memory_mb[worker if worker != ANY else shape.workers + task] for task, worker in enumerate(shape.worker)
    )


def _scaled(
    takes: Durations, functions: Sequence[str], worked_mb: Sequence[float], shape: Shape, effects: MemoryEffects, chance: float, factor: float,
) -> Durations:  # fmt: skip
    """Return the durations, which tasks had with `worked_mb`, as memory makes them, and start-ups that take `factor` times as long."""
    execution = list(takes.execution)
    for task, (old, new) in enumerate(zip(worked_mb, _memory_of_tasks(shape), strict=True)):
        if new != old and new > 0 and old > 0:
            effect = effects.of(functions[task])
            execution[task] *= (new / old) ** (effect.exponent + chance * effect.error)
    if factor != 1:
        takes = replace(takes, cold=[factor * ms for ms in takes.cold], warm=[factor * ms for ms in takes.warm])
    return replace(takes, execution=execution)

"""What simulations of a warehouse's runs rest on, and where they leave it."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from predictors.simulation.behaviour import Behaviour, measure, waited
from predictors.simulation.changes import Changes
from predictors.simulation.memory import MemoryEffects
from predictors.simulation.play import Rules
from predictors.simulation.records import EXIT_MS, POOL_MS, Record, iterate_workers
from warehouse.connection import Reader

ENGINE_KEEP_ALIVE_MS = {"octoflows": (7000.0, 7000.0 / 3)}
"""For how long the engine keeps free containers, and how often it looks for those that are over (FIELD.md, section 1)."""


@dataclass(frozen=True)
class Knowledge:
    """What simulations of a warehouse's runs rest on. `keep_alive`: by engine and environment, (keep-alive, sweep) in ms."""

    behaviour: Behaviour
    memory: MemoryEffects
    keep_alive: dict[tuple[str | None, str | None], tuple[float, float]]
    most_at_once: int

    def rules(self, record: Record, phase: float) -> Rules:
        """Return how the platform works where the run was; `phase`: when free containers are looked for."""
        keep_alive_ms, sweep_ms = self.keep_alive.get((record.engine, record.environment), (0.0, 0.0))
        return Rules(
            exit_ms=EXIT_MS,
            keep_alive_ms=keep_alive_ms,
            sweep_ms=sweep_ms,
            sweep_phase=phase,
            execution_contention=self.behaviour.execution_contention,
            startup_contention=self.behaviour.contention_of_starts(record),
        )


def learn(reader: Reader, records: Sequence[Record]) -> Knowledge:
    """Learn from all complete runs of a warehouse how its platforms behave."""
    measured = measure(records)
    behaviour = Behaviour.learn(measured, np.ones(len(records), dtype=bool))
    return Knowledge(
        behaviour,
        MemoryEffects.learn(measured, behaviour.execution_contention),
        keep_alives(reader),
        max((_most_beside(record) for record in records if record.is_complete), default=0),
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


def pool_ms(reader: Reader, changes: Sequence[Changes] = ()) -> float:
    """Return for how long before a submission containers can have become free and still be warm, under any of the changes."""
    kept = [keep + sweep for keep, sweep in keep_alives(reader).values()]
    return max([POOL_MS, *kept, *(2000 * float(each.get("keep_alive_s", 0)) for each in changes)])


_KEEP_ALIVES = """
select engine, environment, lower_ms, upper_ms
from keep_alive
where lower_ms is not null and upper_ms is not null
order by basis desc, n
"""


def _most_beside(record: Record) -> int:
    """Return how many tasks ran at once on one worker at most."""
    most = 0
    for _, tasks in iterate_workers(record):
        ends: list[float] = []
        for task in tasks:
            while ends and ends[0] <= record.start[task]:
                heapq.heappop(ends)
            heapq.heappush(ends, _end(record, task))
            most = max(most, len(ends))
    return most


def _end(record: Record, task: int) -> float:
    return record.start[task] + waited(record, task) + record.execution[task]


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
        overall = knowledge.memory.of("")
        found.append(
            f"execution is taken to go with memory to the power {overall.exponent:.2f} (standard error {overall.error:.2f}, all functions"
            " together): intervals over several runs leave that error out"
        )
        if any(memory < mb for mb in record.memory_mb):
            found.append("that less memory may kill a worker is not simulated")
    if changes.get("max_workers"):
        found.append("recorded start-ups may hold a wait for a place already: it is then waited for twice")
    if changes.get("optimization.prewarm"):
        found.append(
            "a container that is warmed on purpose costs nothing here: neither its start nor its wait are in GB-seconds"
        )
    limit = changes.get("worker.task_limit")
    if limit is not None and limit >= knowledge.most_at_once:
        found.append(
            f"no worker was seen to run more than {knowledge.most_at_once} tasks at once: this limit never binds"
        )
    *_, of_preloaded, of_duplicable = knowledge.behaviour.setup_of(record)
    for key, cost in (("optimization.preload", of_preloaded), ("optimization.taskdup", of_duplicable)):
        if changes.get(key) == "on" and not cost:
            found.append(f"what {key} costs a worker that starts was never seen here: it counts as nothing")
    if (record.engine, record.environment) not in knowledge.keep_alive and not changes.get("keep_alive_s"):
        found.append(
            "for how long containers stay warm is not known here: every start counts as cold, pre-warmed ones too"
        )
    if changes.get("startup_factor") and not 0.25 <= changes.get("startup_factor") <= 4:
        found.append("start-ups this different were never seen")
    return found

"""Dynamic workflows: what is said of a run before its width is known, and of the same work as two static runs.

A workflow is dynamic where the runs known at a submission, and the run itself, do not all have as many tasks of every function.
Before the width is known each draw takes a fan-out from those of the known runs, and a known run that had it stands in: its
plan, and what was predicted of its tasks. Of the run itself that takes what is known at its submission: its inputs, who plans it, whether it is
planned, its place and pool.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.names import SIMULATION
from predictors.simulation.knowledge import Knowledge
from predictors.simulation.play import Durations, Rules, Shape, Stuck, play
from predictors.simulation.predicted import Drawn, Quantiles
from predictors.simulation.recorded import Recording, shape_ahead, shape_as_run
from predictors.simulation.records import Record
from predictors.simulation.rows import Simulated, compared, summed
from predictors.simulation.scenarios import REPLAYS_WITHIN, CannotSimulate, draw, number_of, replay_error
from predictors.simulation.two_runs import play_two, second_part, with_transfers
from predictors.simulation.widths import FanOut, fan_out, learned, stages, varying, with_width

Floats = npt.NDArray[np.float64]

UNSEEN = "ahead; width unknown"
"""The scenario of runs simulated before their width is known."""
AHEAD_AS_TWO, RECORDED_AS_TWO = "ahead; two static runs", "recorded; two static runs"
"""The scenarios of the same work as two static runs: durations predicted, and as recorded."""
UNSEEN_DRAWS = 40
"""Draws of the width: enough for a 5th and a 95th percentile."""


@dataclass(frozen=True)
class Foreseen:
    """A run with what was predicted of it before it happened.

    `input_bytes`: what comes with its submission for its root tasks; `output_bytes`: what each task is predicted to leave.
    """

    record: Record
    quantiles: Quantiles
    input_bytes: float
    output_bytes: Floats


class FanOuts:
    """What was known when a block of runs was submitted: the runs, and what had been foreseen of those that were foreseen."""

    def __init__(
        self, known: Iterable[Record], foreseen: Iterable[Foreseen], knowledge: Knowledge, seed: int, draws: int
    ) -> None:
        self._knowledge, self._seed, self._draws = knowledge, seed, draws
        self._fan_outs: dict[str, list[FanOut]] = defaultdict(list)
        for record in known:
            if record.workflow is not None:
                self._fan_outs[record.workflow].append(fan_out(record))
        self._lenders: dict[str | None, dict[FanOut, list[Foreseen]]] = defaultdict(dict)
        for one in foreseen:
            self._lenders[one.record.workflow].setdefault(fan_out(one.record), []).append(one)

    def simulate(self, run: Foreseen) -> list[Simulated]:
        """Return the run before its width was known, and as two static runs; nothing of a workflow that is not dynamic."""
        earlier = self._fan_outs.get(run.record.workflow or "", [])
        functions = varying([*earlier, fan_out(run.record)])
        if not earlier or not functions:
            return []
        return [*self._unseen(run, learned(earlier)), *self._as_two(run, functions)]

    def _unseen(self, run: Foreseen, shares: dict[FanOut, float]) -> list[Simulated]:
        """Play stand-ins of fan-outs drawn in proportion to their shares. Only what is known at the submission is asked of `run`."""
        behaviour = self._knowledge.behaviour
        chance = np.random.default_rng([self._seed, number_of(run.record.run_id), UNSEEN_DRAWS])
        drawn = (np.arange(UNSEEN_DRAWS) + chance.random()) / UNSEEN_DRAWS
        places = np.searchsorted(np.cumsum(list(shares.values()))[:-1], drawn, side="right").tolist()
        fan_outs = list(shares)
        stand_ins = {place: self._stand_in(run, fan_outs[place]) for place in sorted(set(places))}
        scenes = {
            place: (one, shape_ahead(one.record, behaviour)[0]) for place, one in stand_ins.items() if one is not None
        }
        played = []
        for place in (place for place in places if place in scenes):
            one, shape = scenes[place]
            phase, levels = float(chance.random()), chance.random(len(shape.memory_mb)).tolist()
            deviates = Drawn.of(chance, len(one.record.task_ids))
            takes = one.quantiles.durations(one.record, shape, behaviour, deviates, levels)
            try:
                played.append(play(shape, takes, self._knowledge.rules(run.record, phase)))
            except Stuck:
                return []
        if not played:
            return []
        missing = UNSEEN_DRAWS - len(played)
        warnings = [f"{missing} of {UNSEEN_DRAWS} draws are of a width that nothing stands in for"] if missing else []
        summary = self._summary(run, UNSEEN, SIMULATION, len(played)) | summed(played) | {"warnings": warnings}
        return [Simulated(summary, [], [])]

    def _stand_in(self, run: Foreseen, wanted: FanOut) -> Foreseen | None:
        """Return a run of that fan-out in the place of `run`: a known one of its planner, else one made from such a run, else any."""
        lenders = self._lenders[run.record.workflow]
        record = run.record
        fitting = lenders.get(wanted, [])
        own = [one for one in fitting if one.record.planner == record.planner]
        lender = nearest(run, own) if own else self._made(run, wanted)
        if lender is None and fitting:
            lender = nearest(run, fitting)
        if lender is None:
            return None
        there = replace(
            lender.record, run_id=record.run_id, engine=record.engine, environment=record.environment, planner=record.planner,
            sla=record.sla, submitted_at=record.submitted_at, pool=record.pool,
        )  # fmt: skip
        return replace(lender, record=there)

    def _made(self, run: Foreseen, wanted: FanOut) -> Foreseen | None:
        """Return a run of that fan-out made from one of the run's planner, of the next number of tasks that can be made so."""
        size = _tasks(wanted)
        lenders = self._lenders[run.record.workflow]
        for has in sorted(lenders, key=lambda one: (abs(_tasks(one) - size), one)):
            own = [one for one in lenders[has] if one.record.planner == run.record.planner]
            if own and (made := widened(nearest(run, own), wanted)):
                return made
        return None

    def _as_two(self, run: Foreseen, functions: set[str]) -> list[Simulated]:
        """Play the run in two, before the first stage whose width varies: with predicted durations, and with recorded ones."""
        record, behaviour = run.record, self._knowledge.behaviour
        is_second = _split(record, functions)
        if is_second is None:
            return []
        shape, _ = shape_ahead(record, behaviour)
        scenes = self._as_ahead(record, shape, run.quantiles)
        found = self._both(run, AHEAD_AS_TWO, shape, scenes, is_second, run.output_bytes.tolist())
        if record.is_complete:
            shape, ids = shape_as_run(record)
            takes = Recording(record, behaviour).durations(shape, ids)
            found += self._both(
                run,
                RECORDED_AS_TWO,
                shape,
                [(takes, self._knowledge.rules(record, 0.5))],
                is_second,
                record.output_bytes,
            )
        return found

    def _both(
        self, run: Foreseen, scenario: str, shape: Shape, scenes: Sequence[tuple[Durations, Rules]], is_second: Sequence[bool],
        output_bytes: Sequence[float],
    ) -> list[Simulated]:  # fmt: skip
        """Return the run as two, with the run as one as its baseline, draw by draw."""
        record, behaviour = run.record, self._knowledge.behaviour
        try:
            as_one = [play(shape, takes, rules) for takes, rules in scenes]
            as_two = [
                play_two(
                    shape, with_transfers(takes, shape, is_second, record, output_bytes, behaviour), rules, is_second
                )
                for takes, rules in scenes
            ]
        except Stuck:
            return []
        is_recorded = scenario == RECORDED_AS_TWO
        summary = self._summary(run, scenario, "recorded" if is_recorded else SIMULATION, len(scenes))
        summary |= summed(as_two) | compared(as_one, as_two) | {"warnings": []}
        if is_recorded:
            summary["replays"] = replay_error(record, as_one[0]) <= REPLAYS_WITHIN
        return [Simulated(summary, [], [])]

    def _as_ahead(self, record: Record, shape: Shape, quantiles: Quantiles) -> list[tuple[Durations, Rules]]:
        """Return the very draws that are made of the run as one: two runs then differ by the split alone."""
        return [
            (
                quantiles.durations(record, shape, self._knowledge.behaviour, one.drawn, one.level),
                self._knowledge.rules(record, one.phase),
            )
            for one in draw(record, self._draws, self._seed)
        ]

    def _summary(self, run: Foreseen, scenario: str, predictor: str, draws: int) -> dict[str, Any]:
        same = {"predictor": predictor, "seed": self._seed}
        return {"run_id": run.record.run_id, "scenario": scenario, "draws": draws, **same}


def nearest(run: Foreseen, lenders: Sequence[Foreseen]) -> Foreseen:
    """Return the lender that is planned as the run is, if any; of these, whose input is nearest to within 10 %; of these, the latest."""

    def far(one: Foreseen) -> tuple[Any, ...]:
        ratio = math.log(max(one.input_bytes, 1.0) / max(run.input_bytes, 1.0))
        return (
            one.record.is_flexible != run.record.is_flexible,
            round(10 * abs(ratio)),
            -one.record.submitted_at.timestamp(),
            one.record.run_id,
        )

    return min(lenders, key=far)


def widened(lender: Foreseen, wanted: FanOut) -> Foreseen | None:
    """Return the run with the stage widened, or narrowed, that makes it of that fan-out; None where no stage does."""
    has, asked = dict(fan_out(lender.record)), dict(wanted)
    for stage in stages(lender.record):
        width = asked.get(stage.function, 0) - has[stage.function] + len(stage.members)
        if width == len(stage.members):
            continue
        try:
            record, made_from = with_width(lender.record, stage, width)
        except CannotSimulate:
            continue
        if fan_out(record) == wanted:
            quantiles = Quantiles(lender.quantiles.median[:, made_from], lender.quantiles.high[:, made_from])
            return replace(lender, record=record, quantiles=quantiles, output_bytes=lender.output_bytes[made_from])
    return None


def _split(record: Record, functions: set[str]) -> list[bool] | None:
    """Return what belongs to the second run where the first stage of one of the functions, with a run before it, begins it."""
    for stage in stages(record):
        if stage.function in functions and (is_second := second_part(record, stage)):
            return is_second
    return None


def _tasks(of: FanOut) -> int:
    return sum(count for _, count in of)

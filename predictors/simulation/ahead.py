"""Every run simulated before it happened: durations predicted, states, starts and active periods from the event queue.

This is planning without circularity: when workers are asked for, how they start and how long they are active come out of
one pass in the order of time. What the platform does between the phases is learnt from the runs known at the submission.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from predictors.names import SIMULATION
from predictors.replay import Errors, Outcome, Predicted, Prepared, forecasts_of_runs, teach
from predictors.simulation.behaviour import Behaviour, measure
from predictors.simulation.changes import Changes
from predictors.simulation.fan_outs import FanOuts, Foreseen
from predictors.simulation.knowledge import Knowledge
from predictors.simulation.memory import MemoryEffects
from predictors.simulation.predicted import METRICS, Quantiles
from predictors.simulation.records import Record
from predictors.simulation.rows import Simulated
from predictors.simulation.scenarios import CannotSimulate, Simulator
from predictors.targets import QUANTILES

Floats = npt.NDArray[np.float64]
AHEAD = "ahead"
"""The scenario of runs simulated before they happened."""
DRAWS = 15
LATEST = 60
"""Starts of each environment and state that the next are expected to be like: platforms change."""
OF_RUN = ("makespan", "startup")
"""What it predicts of a run."""


def combined(simulated: Floats, composed: Floats) -> Floats:
    """Return the geometric mean of two predictions, which are off for different reasons; the first alone where there is no other.

    Combining forecasts with equal weights is hard to beat (Bates and Granger 1969).
    """
    both = np.sqrt(simulated * composed)
    return np.where(np.isfinite(both), both, simulated)


class Ahead:
    """Simulates runs block by block, as a replay of history predicts their tasks; calibrates what it says of runs by the way.

    Runs of dynamic workflows are also simulated before their width is known, and as two static runs (`fan_outs`).
    """

    def __init__(
        self,
        records: Sequence[Record],
        prepared: Prepared,
        keep_alive: dict[tuple[str | None, str | None], tuple[float, float]],
        seed: int,
    ) -> None:
        self._prepared, self._keep_alive, self._seed = prepared, keep_alive, seed
        place = {record.run_id: position for position, record in enumerate(records)}
        self._records = records
        self._place = np.array([place.get(run, -1) for run in prepared.runs["run_id"]])
        self._measured = measure(records)
        self._errors = Errors()
        self._waiting: list[tuple[np.datetime64, list[Outcome]]] = []
        self.simulated: list[Simulated] = []
        self._foreseen: dict[int, Foreseen] = {}
        rows = prepared.dag.rows
        self._tasks = {
            run: dict(zip(part["task_id"], part.index, strict=True))
            for run, part in rows.reset_index(drop=True).groupby("run_id", sort=False)
        }

    def block(self, first: int, end: int, predicted: Sequence[Predicted]) -> list[Predicted]:
        """Simulate the runs from position `first` up to `end`, whose tasks are `predicted`. Return quantiles for those runs."""
        prepared = self._prepared
        known_runs = prepared.runs["known_at"].to_numpy() <= prepared.runs["submitted_at"].to_numpy()[first]
        known = np.zeros(len(self._records), dtype=bool)
        known[self._place[known_runs & (self._place >= 0)]] = True
        if not known.any():
            return []
        behaviour = Behaviour.learn(self._measured, known, LATEST)
        effects = MemoryEffects({})
        knowledge = Knowledge(behaviour, effects, self._keep_alive, 0)
        quantiles, output_bytes = self._quantiles(predicted), self._medians("output_bytes", predicted)
        foreseen = [one for place, one in self._foreseen.items() if known[place]]
        fan_outs = FanOuts(np.array(self._records, dtype=object)[known], foreseen, knowledge, self._seed, DRAWS)
        totals: dict[str, Floats] = {metric: np.full(end - first, np.nan) for metric in OF_RUN}
        for run in range(first, end):
            record = self._records[self._place[run]] if self._place[run] >= 0 else None
            if record is None:
                continue
            tasks = [self._tasks[record.run_id][task] for task in record.task_ids]
            own = Quantiles(quantiles.median[:, tasks], quantiles.high[:, tasks])
            if not np.isfinite(own.median).all():
                continue
            try:
                simulator = Simulator(
                    record, knowledge, draws=DRAWS, seed=self._seed, predicted=own, predictor=SIMULATION
                )
                one = simulator.simulate(Changes(), record)
            except CannotSimulate:
                continue
            self.simulated.append(one.renamed(AHEAD))
            totals["makespan"][run - first] = one.summary["makespan_ms"]
            totals["startup"][run - first] = one.summary["startup_ms"]
            own_run = Foreseen(record, own, self._input_bytes(tasks), output_bytes[tasks])
            self.simulated += fan_outs.simulate(own_run)
            self._foreseen[int(self._place[run])] = own_run
        for metric, total in totals.items():
            totals[metric] = combined(total, self._of_runs(metric, predicted, first, end))
        return self._calibrated(first, end, totals)

    def _of_runs(self, metric: str, predicted: Sequence[Predicted], first: int, end: int) -> Floats:
        """Return the medians predicted of those runs along the longest path; NaN where nothing is."""
        found = np.full(end - first, np.nan)
        for each in predicted:
            if each.level == "run" and each.metric == metric:
                found[each.rows - first] = each.values[:, QUANTILES.index(0.5)]
        return found

    def _quantiles(self, predicted: Sequence[Predicted]) -> Quantiles:
        """Return the medians and 90th percentiles predicted of tasks, by their position in the history; NaN where nothing is."""
        found = np.full((2, len(METRICS), len(self._prepared.dag.rows)), np.nan)
        columns = [QUANTILES.index(0.5), QUANTILES.index(0.9)]
        for each in predicted:
            if each.level == "task" and each.metric in METRICS:
                found[:, METRICS.index(each.metric), each.rows] = each.values[:, columns].T
        return Quantiles(*found)

    def _medians(self, metric: str, predicted: Sequence[Predicted]) -> Floats:
        """Return the medians predicted of a metric of tasks, by their position in the history; NaN where nothing is."""
        found = np.full(len(self._prepared.dag.rows), np.nan)
        for each in predicted:
            if each.level == "task" and each.metric == metric:
                found[each.rows] = each.values[:, QUANTILES.index(0.5)]
        return found

    def _input_bytes(self, tasks: Sequence[int]) -> float:
        """Return the bytes that come with a run's submission for its root tasks."""
        rows = self._prepared.dag.rows.iloc[list(tasks)]
        roots = rows[rows["depth"] == 0]
        return float(np.nansum(roots[["literals", "stored"]].to_numpy(dtype=np.float64)))

    def _calibrated(self, first: int, end: int, totals: dict[str, Floats]) -> list[Predicted]:
        """Return quantiles for each run, calibrated by what simulations of runs known at its submission were off by."""
        prepared = self._prepared
        submitted, known_at = (prepared.runs[name].to_numpy() for name in ("submitted_at", "known_at"))
        simulated = np.isfinite(totals["makespan"])
        forecasts = [
            forecast.only(np.isfinite(totals[forecast.metric]))
            for forecast in forecasts_of_runs(prepared.runs.iloc[first:end], totals)
        ]
        predicted = []
        for run in range(first, end):
            if not simulated[run - first]:
                continue
            for known, outcomes in self._waiting:
                if known <= submitted[run]:
                    teach(outcomes, self._errors)
            self._waiting = [entry for entry in self._waiting if entry[0] > submitted[run]]
            outcomes = [forecast.judge(prepared, self._errors, run, run + 1, QUANTILES) for forecast in forecasts]
            predicted += [outcome.predicted for outcome in outcomes]
            self._waiting.append((known_at[run], outcomes))
        return predicted

"""Durations of a run that has not happened, drawn from predicted quantiles; start-ups and gaps as they usually are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from predictors import registry
from predictors.history import read_history
from predictors.names import MODEL
from predictors.simulation.behaviour import Behaviour
from predictors.simulation.play import ANY, Durations, Shape
from predictors.simulation.records import Record
from predictors.training import knew
from warehouse.connection import Reader
from warehouse.home import Home

Floats = npt.NDArray[np.float64]

METRICS = ("execution", "download", "upload")
TOGETHER = 0.3
"""The part of the variance of durations that all tasks of a run share: a busy machine slows all of them."""
WIDEST = 1.5
"""The most that the spread of a duration (standard deviation of its logarithm) counts in a draw."""
_Z90 = NormalDist().inv_cdf(0.9)


@dataclass(frozen=True)
class Drawn:
    """Standard normal deviates, a row for each of METRICS, a column per task."""

    deviates: Floats

    @staticmethod
    def of(chance: np.random.Generator, tasks: int) -> Drawn:
        """Draw deviates that have a part in common."""
        own, shared = chance.normal(size=(len(METRICS), tasks)), chance.normal()
        return Drawn(math.sqrt(TOGETHER) * shared + math.sqrt(1 - TOGETHER) * own)


@dataclass(frozen=True)
class Quantiles:
    """What is predicted of a run's tasks (ms): the median and the 90th percentile, a row for each of METRICS, a column per task."""

    median: Floats
    high: Floats

    def durations(
        self, record: Record, shape: Shape, behaviour: Behaviour, drawn: Drawn | None, level: Sequence[float] | None
    ) -> Durations:
        """Return one draw of the run's durations; the medians without `drawn`. `level`: the quantile of each start-up."""
        spread = np.log(np.maximum(self.high, 1e-9) / np.maximum(self.median, 1e-9)) / _Z90
        values = self.median
        if drawn is not None:
            values = self.median * np.exp(np.clip(spread, 0, WIDEST) * np.clip(drawn.deviates, -2, 2))
        execution, download, upload = values.tolist()
        levels = [0.5] * len(shape.memory_mb) if level is None else list(level)
        starts = {
            state: [
                behaviour.startup(levels[place % len(levels)], state, record, memory)
                for place, memory in enumerate(shape.memory_mb)
            ]
            for state in ("cold", "warm")
        }
        counters, invocation = behaviour.gap("counters", record), behaviour.gap("invocation", record)
        return Durations(
            execution=execution,
            upload=upload,
            counters=[counters] * len(execution),
            invocation=[invocation if record.is_awaited[task] else 0.0 for task in range(len(execution))],
            download=[self._each(shape, task, download[task]) for task in range(len(execution))],
            stored=[0.0 if record.upstream[task] else download[task] for task in range(len(execution))],
            overhead=[
                behaviour.gap("overhead", record) if record.upstream[task] else 0.0 for task in range(len(execution))
            ],
            cold=starts["cold"],
            warm=starts["warm"],
            **behaviour.between(record),
        )

    def _each(self, shape: Shape, task: int, together: float) -> list[float]:
        """Return what each download of a task takes, given what they take one after the other."""
        remote = sum(
            ANY in (shape.worker[up], shape.worker[task]) or shape.worker[up] != shape.worker[task]
            for up in shape.upstream[task]
        )
        return [together / max(remote, 1)] * len(shape.upstream[task])


def predict_tasks(
    home: Home, reader: Reader, records: Sequence[Record], tell: Callable[[str], None]
) -> tuple[dict[str, Quantiles], str]:
    """Return what the trained predictor says of the tasks of these runs, and its name; `tell` hears what should be known of it.

    Raises `NoModel` where nothing was trained.
    """
    predictor, card = registry.load(home)
    if told := knew(card, [record.submitted_at for record in records]):
        tell(told)
    history = read_history(reader).only([record.run_id for record in records])
    answers = predictor.predict_runs(history, (0.5, 0.9))
    answers = answers[(answers["level"] == "task") & answers["metric"].isin(METRICS)]
    found: dict[str, Quantiles] = {}
    by_run = dict(iter(answers.groupby("run_id")))
    for record in records:
        of_run = by_run[record.run_id].set_index(["metric", "task_id"])
        median, high = (
            np.array(
                [of_run[column].reindex([(metric, task) for task in record.task_ids]).to_numpy() for metric in METRICS]
            )
            for column in ("p50", "p90")
        )
        found[record.run_id] = Quantiles(np.nan_to_num(median), np.nan_to_num(high))
    return found, MODEL


def past_spread(reader: Reader) -> dict[tuple[str, str | None], tuple[float, float]]:
    """Return the 5th and 95th percentile of observed over simulated, by figure ('makespan', 'gb_seconds') and workflow (None: all).

    They come from the runs that `flowscope evaluate` simulated ahead; a workflow needs 20 of them.
    """
    return {(figure, workflow): (low, high) for figure, workflow, low, high in reader.rows(_SPREAD)}


_SPREAD = """
with ratios as (
    select
        run_summary.workflow,
        unnest([
            {'figure': 'makespan', 'ratio': run_summary.makespan_ms / nullif(simulations.makespan_ms, 0)},
            {'figure': 'gb_seconds', 'ratio': run_summary.gb_seconds_derived / nullif(simulations.gb_seconds, 0)}
        ], recursive := true)
    from simulations inner join run_summary on simulations.run_id = run_summary.run_id
    where simulations.scenario = 'ahead' and run_summary.is_complete
)
select figure, workflow, quantile_cont(ratio, 0.05), quantile_cont(ratio, 0.95)
from ratios
where ratio is not null
group by grouping sets ((figure, workflow), (figure))
having count(*) >= 20 and (grouping(workflow) = 1 or workflow is not null)
order by figure, workflow nulls last
"""

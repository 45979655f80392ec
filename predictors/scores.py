"""How good predictions were: the rows of table `predictor_scores`, and the error that even executions alike leave.

Errors are those of view `prediction_errors`. Rows of one run hang together, so intervals come from drawing whole runs
again (cluster bootstrap, percentiles of the draws). The same seed draws the same runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictors.recent import keys_of
from predictors.replay import Prepared
from predictors.rivals import OUTPUT_BYTES, RUN_TOTALS, TIMES, learnable
from warehouse.connection import Reader
from warehouse.results import ENGINE
from warehouse.tables import FACTS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

COLUMNS = [column.name for column in FACTS["predictor_scores"].columns]
CHANCE = "state"
"""The metric that is a probability: it has a Brier score, and no percentile whatever a plan aimed at."""
RESAMPLES = 200
FEWEST_RUNS = 6
"""Runs below which no interval is given: so few drawn again say nothing of others."""
HISTORY = {"0": 0, "1-4": 1, "5-19": 5, "20-99": 20, "100+": 100}
"""Classes of history: from how many earlier runs on."""

_KEY = ["level", "run_id", "thing", "metric"]
_Z = 1.959964
_BATCH = 4_000_000


def score_history(reader: Reader, prepared: Prepared, predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of what was predicted of a generation's runs, with their floors; `prepared` is its history."""
    return score(predictions, read_outcomes(reader), read_engine(reader), floor(prepared))


def read_outcomes(reader: Reader) -> pd.DataFrame:
    """Return what happened: per (level, run_id, task_id, invocation_id, metric) the `actual` value and its groups.

    These are planner, workflow, environment, function, memory_mb, size_bytes (what the metric grows with) and
    earlier_runs (of the same structure, submitted before); NULL where it has none.
    """
    return reader.frame(_OUTCOMES)


def read_engine(reader: Reader) -> pd.DataFrame:
    """Return what the recorded plans predicted, as in `prediction_errors`: key, sla, sla_percentile, predicted."""
    return reader.frame(_ENGINE, {"engine": ENGINE})


def score(
    predictions: pd.DataFrame,
    outcomes: pd.DataFrame,
    engine: pd.DataFrame,
    floors: pd.DataFrame | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the rows of table `predictor_scores` for every predictor of `predictions`, and for the recorded plans.

    `predictions` have the columns of that table (a probability has no percentile); `outcomes` and `engine` are as
    read by `read_outcomes` and `read_engine`, `floors` as returned by `floor`. Rows without a prediction or an
    outcome count nowhere. Relative error and bias judge actual values above 0, coverage judges predictions above 0: a
    quantile of 0 says that most probably nothing happens, which is right or wrong. 'paired' are the rows for which
    there is a plan, whatever it aimed at; there `group_by` 'sla' tells what it aimed at, for a median is best
    compared with plans that aimed at it.
    """
    outcomes = outcomes[outcomes["actual"].notna()].reset_index(drop=True)
    plans = _placed(engine.assign(predictor=ENGINE), outcomes)
    plans.loc[plans["metric"] == CHANCE, "sla_percentile"] = np.nan
    predicted = pd.concat([_placed(predictions, outcomes), plans], ignore_index=True)
    planned = np.full(len(outcomes), np.nan)
    planned[plans["place"]] = plans["predicted"]
    slas = pd.Series(index=outcomes.index, dtype=object)
    slas[plans["place"]] = plans["sla"].to_numpy(dtype=object)
    groups = {**_groups(outcomes), "sla": _Group.of(slas)}
    actual, run = outcomes["actual"].to_numpy(dtype="float64"), pd.factorize(outcomes["run_id"])[0]
    medians = np.empty(len(outcomes))
    found: list[dict[str, Any]] = []
    for (predictor, level, metric), of_metric in predicted.groupby(["predictor", "level", "metric"]):
        medians[:] = np.nan
        middle = of_metric[of_metric["sla_percentile"] == 50]
        medians[middle["place"]] = middle["predicted"]
        for name, rows in of_metric.groupby("sla_percentile", dropna=False):
            percentile = float(str(name))
            place, values = rows["place"].to_numpy(), rows["predicted"].to_numpy(dtype="float64")
            judged = _Judged(
                percentile, metric == CHANCE, place, run[place], values, actual[place],
                medians[place] if percentile != 50 else np.full(len(place), np.nan), planned[place],
            ).by_error()  # fmt: skip
            names = {"predictor": predictor, "level": level, "metric": metric, "sla_percentile": percentile}
            for rows_of, group_by, group_value, part in _parts(judged, groups, predictor == ENGINE):
                group = {"rows_of": rows_of, "group_by": group_by, "group_value": group_value}
                found.append(names | group | part.scores(rows_of == "paired", resamples, seed))
    scores = pd.DataFrame(found, columns=COLUMNS)
    return scores if floors is None else _with_floors(scores, floors)


@dataclass(frozen=True, slots=True)
class _Group:
    """What rows of outcomes are told apart by: the number of each row's name, -1 where it has none."""

    names: list[str]
    codes: Ints

    @staticmethod
    def of(column: pd.Series) -> _Group:
        codes, names = pd.factorize(column, sort=True)
        return _Group([str(name) for name in names], codes)


@dataclass(frozen=True, slots=True)
class _Judged:
    """Predictions of one predictor, metric and percentile, with what happened.

    `place` is that of the outcome, `run` a number for its run; `medians` are what the same predictor says at the 50th
    percentile, `planned` what the recorded plan says (NaN: nothing).
    """

    percentile: float
    is_chance: bool
    place: Ints
    run: Ints
    predicted: Floats
    actual: Floats
    medians: Floats
    planned: Floats

    @property
    def error(self) -> Floats:
        """The relative error; NaN where nothing happened."""
        return _relative_error(self.predicted, self.actual)

    def by_error(self) -> _Judged:
        """Return the rows in order of their error, so that no part has to be put in order."""
        return self.part(np.argsort(self.error, kind="stable"))

    def part(self, rows: Ints | npt.NDArray[np.bool_]) -> _Judged:
        """Return some of the rows."""
        return replace(
            self, place=self.place[rows], run=self.run[rows], predicted=self.predicted[rows], actual=self.actual[rows],
            medians=self.medians[rows], planned=self.planned[rows],
        )  # fmt: skip

    def scores(self, is_paired: bool, resamples: int, seed: int) -> dict[str, Any]:
        """Return the columns of the table that say how good they were."""
        found: dict[str, Any] = {"n": len(self.run), "runs": len(np.unique(self.run))}
        if self.is_chance:
            return found | {"brier_score": float(np.mean((self.predicted - self.actual) ** 2))}
        found["pinball_loss"] = float(np.mean(self._losses()))
        wide = self.medians > 0
        found["sharpness"] = _median(self.predicted[wide] / self.medians[wide] - 1)
        both = (self.predicted > 0) & (self.actual > 0)
        found["median_log_ratio"] = _median(np.log(self.predicted[both]) - np.log(self.actual[both]))
        found |= self._coverage(resamples, seed)
        return found | self._errors(is_paired, resamples, seed)

    def _losses(self) -> Floats:
        """Return the pinball loss of each row (Koenker and Bassett 1978); NaN without a percentile."""
        level, missed = self.percentile / 100, self.actual - self.predicted
        losses: Floats = np.where(missed >= 0, missed * level, -missed * (1 - level))
        return losses

    def _coverage(self, resamples: int, seed: int) -> dict[str, float]:
        judged = self.predicted > 0
        if not judged.any():
            return {}
        runs, run = np.unique(self.run[judged], return_inverse=True)
        counts = np.bincount(run)
        hits = np.bincount(run, self.actual[judged] <= self.predicted[judged])
        share = float(hits.sum() / counts.sum())
        if len(runs) < FEWEST_RUNS:
            low = high = np.nan
        elif share in (0, 1):
            # No draw differs from the others: Wilson's interval, each run counting once.
            off = _Z * _Z / len(runs) / (1 + _Z * _Z / len(runs))
            low, high = (0.0, off) if share == 0 else (1 - off, 1.0)
        else:
            drawn = _draws(len(runs), resamples, seed)
            low, high = _ends((drawn @ hits) / (drawn @ counts))
        return {"coverage": share, "coverage_low": low, "coverage_high": high}

    def _errors(self, is_paired: bool, resamples: int, seed: int) -> dict[str, float]:
        judged = self.actual > 0
        error = self.error[judged]
        if not len(error):
            return {}
        run = np.unique(self.run[judged], return_inverse=True)[1]
        middle, drawn = _median(error), drawn_medians(error, run, resamples, seed)
        low, high = _ends(drawn)
        found = {
            "median_relative_error": middle, "median_relative_error_low": low, "median_relative_error_high": high,
        }  # fmt: skip
        if is_paired:
            plans = _relative_error(self.planned[judged], self.actual[judged])
            order = np.argsort(plans, kind="stable")
            plans_middle, plans_drawn = _median(plans), drawn_medians(plans[order], run[order], resamples, seed)
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio, ratios = np.float64(middle) / plans_middle, drawn / plans_drawn
            low, high = _ends(ratios)
            found |= {
                "engine_median_relative_error": plans_middle,
                "error_ratio": float(ratio) if np.isfinite(ratio) else np.nan,
                "error_ratio_low": low, "error_ratio_high": high,
            }  # fmt: skip
        return found


def drawn_medians(values: Floats, run: Ints, resamples: int, seed: int) -> Floats:
    """Return the medians of `values`, in order, when their runs (numbered from 0) are drawn again; NaN with few."""
    runs = int(run.max(initial=-1)) + 1
    if runs < FEWEST_RUNS:
        return np.full(resamples, np.nan)
    drawn = _draws(runs, resamples, seed)
    medians, batch = np.empty(resamples), max(1, _BATCH // len(values))
    for start in range(0, resamples, batch):
        # How often each value stands in a draw. Added up over all draws, one search finds the middle of each.
        before = np.cumsum(np.take(drawn[start : start + batch], run, axis=1).ravel(), dtype=np.int64)
        ends = before[len(values) - 1 :: len(values)]
        begins = np.concatenate([[0], ends[:-1]])
        size = ends - begins
        lower, upper = (
            np.searchsorted(before, begins + place) % len(values) for place in ((size + 1) // 2, size // 2 + 1)
        )
        medians[start : start + batch] = (values[lower] + values[upper]) / 2
    return medians


@lru_cache(maxsize=512)
def _draws(runs: int, resamples: int, seed: int) -> npt.NDArray[np.int32]:
    """Return how often each of so many runs is drawn, a row per draw of as many."""
    chosen = np.random.default_rng(seed).integers(0, runs, (resamples, runs))
    cells = np.arange(resamples)[:, None] * runs + chosen
    return np.bincount(cells.ravel(), minlength=resamples * runs).reshape(resamples, runs).astype(np.int32)


def _ends(drawn: Floats) -> tuple[float, float]:
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def _median(values: Floats) -> float:
    return float(np.median(values)) if len(values) else np.nan


def _relative_error(predicted: Floats, actual: Floats) -> Floats:
    happened = actual > 0
    errors: Floats = np.abs(predicted - actual) / np.where(happened, actual, np.nan)
    return errors


def _placed(predictions: pd.DataFrame, outcomes: pd.DataFrame) -> pd.DataFrame:
    """Return the predictions that can be compared, with the `place` of their outcome."""
    known = predictions[predictions["predicted"].notna()]
    places = _with_thing(outcomes)[_KEY].assign(place=np.arange(len(outcomes)))
    return _with_thing(known).merge(places, on=_KEY).drop(columns=["run_id", "task_id", "invocation_id", "thing"])


def _with_thing(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with what identifies them within their run: an invocation, else a task, else nothing."""
    thing = rows["invocation_id"].astype("str").fillna(rows["task_id"].astype("str")).fillna("")
    return rows.assign(thing=thing)


def _groups(outcomes: pd.DataFrame) -> dict[str, _Group]:
    columns = {name: outcomes[name] for name in ("planner", "workflow", "function", "environment")}
    size = outcomes["size_bytes"].to_numpy(dtype="float64", na_value=np.nan)
    decade = np.where(size >= 1, 10.0 ** np.floor(np.log10(np.maximum(size, 1))), np.where(size >= 0, 0.0, np.nan))
    earlier = outcomes["earlier_runs"].to_numpy(dtype="float64", na_value=np.nan)
    history = np.where(
        np.isnan(earlier), -1, np.searchsorted([*HISTORY.values()], np.nan_to_num(earlier), side="right") - 1
    )
    return {
        **{name: _Group.of(column) for name, column in columns.items()},
        "memory": _Group.of(outcomes["memory_mb"].astype("Int64")),
        "size": _Group.of(pd.Series(decade).astype("Int64")),
        "history": _Group([*HISTORY], history),
    }


def _parts(judged: _Judged, groups: dict[str, _Group], is_engine: bool) -> Iterator[tuple[str, str, str, _Judged]]:
    """Yield rows_of, group_by, group_value and the rows of each group that has any."""
    paired = judged.part(~np.isnan(judged.planned))
    for rows_of, rows in (("all", judged), ("paired", paired)):
        if not len(rows.run) or (rows_of == "paired" and is_engine):
            continue
        yield rows_of, "all", "", rows
        for group_by, group in groups.items():
            if group_by == "sla" and rows_of == "all":
                continue
            codes = group.codes[rows.place]
            order = np.argsort(codes, kind="stable")
            bounds = np.searchsorted(codes[order], np.arange(len(group.names) + 1))
            for code in np.flatnonzero(np.diff(bounds)):
                yield rows_of, group_by, group.names[code], rows.part(order[bounds[code] : bounds[code + 1]])


def _with_floors(scores: pd.DataFrame, floors: pd.DataFrame) -> pd.DataFrame:
    known = floors.set_index(["level", "metric"])["floor_relative_error"]
    at = pd.MultiIndex.from_frame(scores[["level", "metric"]])
    values = known.reindex(at).to_numpy(dtype="float64")
    return scores.assign(floor_relative_error=np.where(scores["group_by"] == "all", values, np.nan))


NEIGHBOURS = 3
"""Near-identical executions that count on either side in time."""
FEWEST_EXECUTIONS = 20
"""Executions with a neighbour below which no floor is given."""
_SAME_SIZE = 1.01
_ALIKE = {
    "task": ("workflow", "function", "environment", "planner", "memory_mb", "depth", "width"),
    "invocation": ("workflow", "function", "environment", "planner", "memory_mb", "depth", "width"),
    "run": ("structure_hash", "environment", "planner", "log_memory"),
}
_VARIANCE_OF_MEDIAN = np.array([np.nan, 1.0, 0.5, 0.4487, 0.2982, 0.2868, 0.2147])
"""Of so many standard normal values (exact, from order statistics)."""


def floor(prepared: Prepared) -> pd.DataFrame:
    """Return, by level and metric, the relative error that remains where near-identical executions predict each other.

    Alike are tasks of one function, environment, memory, planner and place in the workflow (depth, width) with the
    same size (within 1 %); starts likewise, without a size; runs of one structure, planner, environment, memory and
    size. `n` counts executions that took something and have others alike; the floor is theirs, and NaN where they are
    too few. It rests on later executions too, and on siblings, which know how the run went: a predictor hardly gets
    below it.
    """
    found = []
    for target in (*TIMES, OUTPUT_BYTES, *RUN_TOTALS):
        rows, took, _ = learnable(prepared, target)
        alike = keys_of(rows, _ALIKE[target.level]).to_numpy(dtype=object)
        if target.size:
            class_of_size = np.floor(rows[target.size].to_numpy(dtype="float64") / np.log(_SAME_SIZE))
            alike = alike + "|" + class_of_size.astype(str).astype(object)
        errors = neighbour_errors(alike, rows["run"].to_numpy(), took)
        middle = _median(errors) if len(errors) >= FEWEST_EXECUTIONS else np.nan
        found.append((target.level, target.metric, len(errors), middle))
    return pd.DataFrame(found, columns=["level", "metric", "n", "floor_relative_error"])


def neighbour_errors(alike: npt.NDArray[np.object_], turn: Ints, took: Floats) -> Floats:
    """Return the relative errors of a perfect median, for executions that have others `alike` (`took`: logarithms).

    The best that can be said of an execution is the median m of what such executions take. In place of m stands the
    median of its k nearest neighbours in time, itself left out: siblings in its run and executions of consecutive
    runs, up to `NEIGHBOURS` on either side, so that drift does not count. That strays from m too: measured in the
    spread of the logarithms its variance is v(k), beside 1 of the execution itself, and both are independent. So the
    distance seen is sqrt(1 + v(k)) times that from m: 1.41 times for a pair, 1.10 times for six neighbours. Divided
    by it and taken out of the logarithm, it is the relative error of predicting m. This is exact where logarithms are
    normal; heavier tails leave it up to a fifth too large for pairs, a tenth for more.
    """
    known = np.flatnonzero(~np.isnan(took))
    codes = pd.factorize(alike[known])[0]
    order = np.lexsort((turn[known], codes))
    codes, logs = codes[order], took[known][order]
    around = np.full((len(logs), 2 * NEIGHBOURS), np.nan)
    for step in range(1, NEIGHBOURS + 1):
        same = codes[step:] == codes[:-step]
        around[step:, 2 * step - 2] = np.where(same, logs[:-step], np.nan)
        around[:-step, 2 * step - 1] = np.where(same, logs[step:], np.nan)
    count = (~np.isnan(around)).sum(axis=1)
    around, logs, count = around[count > 0], logs[count > 0], count[count > 0]
    if not len(logs):
        return np.empty(0)
    distance = (np.nanmedian(around, axis=1) - logs) / np.sqrt(1 + _VARIANCE_OF_MEDIAN[count])
    errors: Floats = np.abs(np.expm1(distance))
    return errors


_OUTCOMES = """
with done as (
    select * from task_times where is_last_attempt
),
things as (
    select 'run' as level, run_id, null as task_id, null as invocation_id, 'makespan' as metric, makespan_ms as actual,
        null as function, null as memory_mb, input_bytes as size_bytes from run_summary
    union all
    select 'run', run_id, null, null, 'execution', execution_ms, null, null, input_bytes
    from run_summary where is_complete
    union all
    select 'run', run_id, null, null, 'download', download_ms, null, null, downloaded_bytes
    from run_summary where is_complete
    union all
    select 'run', run_id, null, null, 'upload', upload_ms, null, null, uploaded_bytes from run_summary where is_complete
    union all
    select 'run', run_id, null, null, 'input_bytes', input_bytes, null, null, input_bytes
    from run_summary where is_complete
    union all
    select 'run', run_id, null, null, 'output_bytes', output_bytes, null, null, input_bytes
    from run_summary where is_complete
    union all
    select 'run', run_id, null, null, 'startup', startup_ms, null, null, null from run_summary where is_complete
    union all
    select 'run', run_id, null, null, 'starts', workers, null, null, null from run_summary where is_complete
    union all
    select 'task', run_id, task_id, null, 'execution', execution_ms, function, memory_mb, inputs_bytes from done
    union all
    select 'task', run_id, task_id, null, 'download', coalesce(download_ms, 0), function, memory_mb, downloaded_bytes
    from done where downloaded_bytes is not null
    union all
    select 'task', run_id, task_id, null, 'upload', coalesce(upload_ms, 0), function, memory_mb, output_bytes from done
    union all
    select 'task', run_id, task_id, null, 'input_bytes', inputs_bytes, function, memory_mb, inputs_bytes from done
    union all
    select 'task', run_id, task_id, null, 'output_bytes', output_bytes, function, memory_mb, inputs_bytes from done
    union all
    select 'invocation', run_id, null, invocation_id, 'startup', startup_ms, function, memory_mb, null from cold_starts
    union all
    select 'invocation', run_id, null, invocation_id, 'state', case state when 'cold' then 1 when 'warm' then 0 end,
        function, memory_mb, null
    from cold_starts
),
earlier as (
    select
        run_id, planner, workflow, environment, submitted_at,
        case
            when structure_hash is not null and submitted_at is not null
                then rank() over (partition by structure_hash order by submitted_at) - 1
        end as earlier_runs
    from run_summary
)
select
    level, things.run_id, task_id, invocation_id, metric, cast(actual as double) as actual, planner, workflow,
    environment, function, memory_mb, cast(size_bytes as double) as size_bytes, earlier_runs
from things left join earlier on things.run_id = earlier.run_id
where actual is not null
order by level, submitted_at, things.run_id, task_id, invocation_id, metric
"""

_ENGINE = """
select level, run_id, task_id, invocation_id, metric, sla, sla_percentile, predicted
from prediction_errors
where predictor = $engine and predicted is not null
order by level, run_id, task_id, invocation_id, metric
"""

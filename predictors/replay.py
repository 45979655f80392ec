"""Play history forward: predict every run from the runs known when it was submitted, then learn from it.

Models are fitted again in steps that grow with history; statistics of history are those of each run's own submission,
and calibration learns after every run. Nothing recorded after a run's submission touches its prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictors.boosted import Chance, Median
from predictors.calibration import NEW, Calibrator
from predictors.composition import TOTALS, compose
from predictors.features import Dag, describe_dags, describe_starts, expect_starts, number_runs, with_sizes
from predictors.history import History
from predictors.recent import as_of_submission, keys_of, texts
from predictors.sizes import OutputSize
from predictors.targets import EXECUTION, QUANTILES, START_CATEGORIES, STARTUP, STARTUP_GIVEN_STATE, TIMES, Target

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Prepared:
    """All rows, described as of their runs' submissions, and what they took.

    `tables` and `took` are by metric: rows, and the logarithm of what each took (NaN: unknown, or 0); `happened` is NaN
    where unknown. `expected` are the starts to expect of each run, `output` the recorded output sizes of `dag.rows`.
    """

    runs: pd.DataFrame
    dag: Dag
    expected: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    took: dict[str, Floats]
    happened: dict[str, Floats]
    output: Floats


def prepare(history: History) -> Prepared:
    """Describe everything in the history once."""
    runs = number_runs(history)
    dag = describe_dags(history, runs)
    recorded = history.tasks.set_index(["run_id", "task_id"]).loc[
        pd.MultiIndex.from_frame(dag.rows[["run_id", "task_id"]])
    ]
    output = recorded["output_bytes"].to_numpy(dtype="float64", na_value=np.nan)
    tasks = with_sizes(dag.rows, dag.sizes(output))
    left = recorded["left_metrics"].to_numpy(dtype=bool) & ~recorded["status"].isin(["failed", "killed"]).to_numpy()
    starts = describe_starts(history, runs, dag)
    starts["is_cold"] = starts["state"].map({"cold": 1.0, "warm": 0.0}).astype("float64")
    tables, took, happened = {}, {}, {}
    for target in TIMES:
        rows = tasks if target.level == "task" else starts
        ms = (recorded if target.level == "task" else starts)[target.column].to_numpy(dtype="float64", na_value=np.nan)
        known = left if target.may_be_zero else ~np.isnan(ms)
        happened[target.metric] = np.where(known, np.nan_to_num(ms) > 0, np.nan)
        took[target.metric] = np.where(known & (ms > 0), np.log(np.where(ms > 0, ms, 1.0)), np.nan)
        tables[target.metric] = with_recents(rows, took[target.metric], target, runs)
    expected = expect_starts(runs, dag).assign(is_cold=np.nan)
    expected = with_recents(starts, took["startup"], STARTUP, runs, expected)
    return Prepared(runs, dag, expected, tables, took, happened, output)


def with_recents(
    rows: pd.DataFrame, took: Floats, target: Target, runs: pd.DataFrame, asked: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the rows (or others `asked`) with the target's statistics of history, as of each run's submission."""
    values = recent_values(rows, took, target)
    parts = [as_of_submission(rows, values[recent.value], recent, runs, asked) for recent in target.recents]
    return pd.concat([(rows if asked is None else asked).reset_index(drop=True), *parts], axis=1)


def recent_values(rows: pd.DataFrame, took: Floats, target: Target) -> pd.DataFrame:
    """Return the values that the target's statistics are of."""
    values = pd.DataFrame({"took": took})
    if target.size:
        size = rows[target.size].to_numpy()
        values["rate"] = took - size
        values[target.size] = np.where(np.isnan(took), np.nan, size)
    else:
        cold = rows["is_cold"].to_numpy()
        values["is_cold"] = cold
        values["cold_took"] = np.where(cold == 1, took, np.nan)
        values["warm_took"] = np.where(cold == 0, took, np.nan)
    return values


@dataclass
class Models:
    """Everything that is fitted: a median and, where it may not happen, a chance by metric; sizes; the state of starts."""

    medians: dict[str, Median] = field(default_factory=dict)
    chances: dict[str, Chance] = field(default_factory=dict)
    sizes: OutputSize = field(default_factory=OutputSize)


@dataclass
class Errors:
    """What is learned run by run: calibration by metric (run level: 'run makespan'), and biases of run totals."""

    calibrators: dict[str, Calibrator] = field(default_factory=dict)

    def of(self, name: str) -> Calibrator:
        """Return the calibrator of that name."""
        if name not in self.calibrators:
            self.calibrators[name] = Calibrator(window=40, stand_in=10.0) if name.startswith("run ") else Calibrator()
        return self.calibrators[name]


def fit(
    prepared: Prepared,
    known: npt.NDArray[np.bool_],
    seed: int,
    targets: Sequence[Target] = TIMES,
    done: Callable[[str, int], None] = lambda *_: None,
) -> Models:
    """Fit a model for each target on the rows of the runs that are `known`; `done` is told each metric and its rows."""
    models = Models()
    for target in targets:
        rows, took = prepared.tables[target.metric], prepared.took[target.metric]
        mine = known[rows["run"].to_numpy()]
        learn = mine & ~np.isnan(took)
        if target is STARTUP_GIVEN_STATE:
            learn &= rows["is_cold"].notna().to_numpy()
        table, logs = rows[learn], took[learn]
        models.medians[target.metric] = Median(target, seed).fit(table, logs)
        if target.may_be_zero:
            happened = prepared.happened[target.metric]
            judged = mine & ~np.isnan(happened) & ~target.certain_zero(rows)
            chance = Chance(models.medians[target.metric].categories, models.medians[target.metric].numbers, seed)
            models.chances[target.metric] = chance.fit(rows[judged], happened[judged] > 0)
        done(target.metric, int(learn.sum()))
    if STARTUP in targets:
        done("state", _fit_state(prepared, models, known, seed))
    tasks = prepared.tables["execution"]
    sized = known[tasks["run"].to_numpy()] & ~np.isnan(prepared.output)
    models.sizes.fit(tasks[sized], tasks["log_inputs"].to_numpy()[sized], tasks["log_output"].to_numpy()[sized])
    done("output_bytes", int(sized.sum()))
    return models


def _fit_state(prepared: Prepared, models: Models, known: npt.NDArray[np.bool_], seed: int) -> int:
    """Fit the chance that a start is cold. Return the number of starts whose state is known."""
    starts = prepared.tables["startup"]
    judged = known[starts["run"].to_numpy()] & starts["is_cold"].notna().to_numpy()
    numbers = [*STARTUP.numbers, *(recent.name for recent in STARTUP.recents)]
    chance = Chance(list(START_CATEGORIES), numbers, seed)
    models.chances["state"] = chance.fit(starts[judged], starts["is_cold"].to_numpy()[judged] > 0)
    return int(judged.sum())


def steps(runs: int) -> list[tuple[int, int]]:
    """Return the blocks of runs (first, end) that are predicted with one fit: short while history is short."""
    return blocks_of(runs, lambda first: first + max(1, min(first // 2, 20), first // 20))


def blocks_of(runs: int, end_of: Callable[[int], int]) -> list[tuple[int, int]]:
    """Return blocks of runs (first, end), from the second run on; `end_of` says where the block from a position ends."""
    blocks, first = [], 1
    while first < runs:
        end = min(runs, end_of(first))
        blocks.append((first, end))
        first = end
    return blocks


@dataclass(frozen=True, slots=True)
class Predicted:
    """Quantiles (ms or bytes) predicted for `rows` of the table of `metric`, or for runs where `level` is 'run'."""

    level: str
    metric: str
    rows: npt.NDArray[np.int64]
    values: Floats


def replay(
    prepared: Prepared,
    blocks: list[tuple[int, int]],
    errors: Errors,
    seed: int,
    *,
    at_once: int = 1,
    quantiles: tuple[float, ...] = QUANTILES,
    targets: Sequence[Target] = TIMES,
) -> Iterator[tuple[int, list[Predicted], Floats]]:
    """Yield, block by block: the position after its last run, what was predicted, and the output sizes foreseen.

    `errors` learns on the way, after every `at_once` runs.
    """
    submitted = prepared.runs["submitted_at"].to_numpy()
    known_at = prepared.runs["known_at"].to_numpy()
    waiting: list[tuple[np.datetime64, list[Outcome]]] = []
    for first, end in blocks:
        models = fit(prepared, known_at <= submitted[first], seed, targets)
        outlook, output = foresee(prepared, models, first, end)
        predicted = []
        for start in range(first, end, at_once):
            stop = min(start + at_once, end)
            for known, outcomes in waiting:
                if known <= submitted[start]:
                    teach(outcomes, errors)
            waiting = [entry for entry in waiting if entry[0] > submitted[start]]
            outcomes = [forecast.judge(prepared, errors, start, stop, quantiles) for forecast in outlook]
            predicted += [outcome.predicted for outcome in outcomes]
            waiting.append((known_at[start:stop].max(), outcomes))
        if STARTUP in targets:
            predicted.append(foresee_state(prepared, models, first, end))
        yield end, predicted, output
    for _, outcomes in waiting:
        teach(outcomes, errors)


@dataclass(frozen=True, slots=True)
class Forecast:
    """Medians (logarithms) and chances of nothing, for rows of one table; `rows` are in order of their runs.

    `groups`, `movers` and `keys` are what calibration tells apart: residuals, moved levels, and scales.
    """

    level: str
    metric: str
    rows: npt.NDArray[np.int64]
    run: npt.NDArray[np.int64]
    median: Floats
    zero: Floats
    groups: npt.NDArray[np.object_]
    movers: npt.NDArray[np.object_]
    keys: npt.NDArray[np.object_]

    @property
    def name(self) -> str:
        """The name of its calibration."""
        return f"run {self.metric}" if self.level == "run" else self.metric

    def part(self, first: int, end: int) -> Forecast:
        """Return the forecast of the runs from position `first` up to `end`."""
        return self.only(slice(*np.searchsorted(self.run, [first, end])))

    def only(self, part: slice | npt.NDArray[np.bool_]) -> Forecast:
        """Return the forecast of some of the rows."""
        return Forecast(
            self.level, self.metric, self.rows[part], self.run[part], self.median[part], self.zero[part],
            self.groups[part], self.movers[part], self.keys[part],
        )  # fmt: skip

    def quantiles(self, errors: Errors, nominal: Floats) -> Floats:
        """Return the calibrated quantiles, a column each."""
        calibrator = errors.of(self.name)
        zero = self.zero[:, None]
        levels = np.clip((nominal - zero) / np.maximum(1 - zero, 1e-9), 0, 1)
        offsets = calibrator.offsets(self.groups, self.movers, calibrator.scale(self.keys), levels, nominal)
        values = np.exp(np.clip(self.median[:, None] + offsets, -30, 60))
        return np.where(zero >= nominal, 0.0, np.maximum.accumulate(values, axis=1))

    def judge(self, prepared: Prepared, errors: Errors, first: int, end: int, quantiles: tuple[float, ...]) -> Outcome:
        """Predict the rows of some runs with what calibration knows now."""
        part = self.part(first, end)
        values = part.quantiles(errors, np.array(quantiles))
        scale = errors.of(self.name).scale(part.keys)
        actual = actual_values(prepared, self.level, self.metric, part.rows)
        return Outcome(part, Predicted(self.level, self.metric, part.rows, values), scale, actual, quantiles)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was predicted, and what it took (ms; NaN: unknown), to learn from once the runs are known."""

    forecast: Forecast
    predicted: Predicted
    scale: Floats
    actual: Floats
    quantiles: tuple[float, ...]

    def only(self, part: npt.NDArray[np.bool_]) -> Outcome:
        """Return what came of some of the rows."""
        forecast, predicted = self.forecast.only(part), self.predicted
        predicted = replace(predicted, rows=predicted.rows[part], values=predicted.values[part])
        return Outcome(forecast, predicted, self.scale[part], self.actual[part], self.quantiles)


def teach(outcomes: list[Outcome], errors: Errors) -> None:
    """Let calibration learn what predictions were off by."""
    for outcome in outcomes:
        forecast, actual = outcome.forecast, outcome.actual
        calibrator = errors.of(forecast.name)
        happened = actual > 0
        if happened.any():
            calibrator.learn(
                forecast.groups[happened],
                forecast.keys[happened],
                outcome.scale[happened],
                np.log(actual[happened]) - forecast.median[happened],
            )
        for place, level in enumerate(outcome.quantiles):
            predicted = outcome.predicted.values[:, place]
            judged = ~np.isnan(actual) & (predicted > 0)
            for mover in sorted(set(forecast.movers[judged]) - {NEW}):
                own = judged & (forecast.movers == mover)
                calibrator.move(mover, level, actual[own] <= predicted[own])


def actual_values(prepared: Prepared, level: str, metric: str, rows: npt.NDArray[np.int64]) -> Floats:
    """Return what happened (ms or bytes; NaN: unknown) to rows of the table of a metric."""
    if level == "run":
        complete, total = (prepared.runs[column].iloc[rows] for column in ("is_complete", TOTALS[metric]))
        counts = complete.fillna(False).to_numpy(dtype=bool) | (metric == "makespan")
        return np.where(counts, total.to_numpy(dtype="float64"), np.nan)
    if metric == "output_bytes":
        return prepared.output[rows]
    took, happened = prepared.took[metric][rows], prepared.happened[metric][rows]
    return np.where(np.isnan(took), np.where(happened == 0, 0.0, np.nan), np.exp(np.nan_to_num(took)))


def foresee(prepared: Prepared, models: Models, first: int, end: int) -> tuple[list[Forecast], Floats]:
    """Return the uncalibrated forecasts of the runs from position `first` up to `end`, and the bytes their tasks leave.

    Totals of runs need a model of every target.
    """
    dag = prepared.dag.of_runs(first, end)
    offset = int(np.searchsorted(prepared.dag.rows["run"].to_numpy(), first))
    positions = np.arange(offset, offset + len(dag.rows))
    output = foresee_output(models, dag)
    sizes = dag.sizes(output)
    forecasts: list[Forecast] = []
    parts: dict[str, Floats] = {}
    rows = prepared.tables["execution"].iloc[positions]
    size = forecast_of(EXECUTION, rows, positions, np.log(np.maximum(output, 1.0)), np.zeros(len(rows)))
    forecasts.append(replace(size, metric="output_bytes"))
    for target in (each for each in TIMES if each.metric in models.medians):
        table = prepared.tables[target.metric]
        if target.level == "task":
            where = positions
            rows = with_sizes(table.iloc[positions], sizes)
        else:
            where = np.arange(*np.searchsorted(table["run"].to_numpy(), [first, end]))
            rows = table.iloc[where]
        median, zero = estimate(models, target, rows)
        parts[target.metric] = np.exp(median) * (1 - zero)
        forecasts.append(forecast_of(target, rows, where, median, zero))
    if any(each.metric not in models.medians for each in TIMES):
        return forecasts, output
    starts = prepared.expected.iloc[slice(*np.searchsorted(prepared.expected["run"].to_numpy(), [first, end]))]
    parts["startup"] = np.exp(estimate(models, STARTUP, starts)[0])
    totals = compose(dag, starts["task"].to_numpy() - offset, parts, first, end)
    return [*forecasts, *forecasts_of_runs(prepared.runs.iloc[first:end], totals)], output


def foresee_state(prepared: Prepared, models: Models, first: int, end: int) -> Predicted:
    """Return the probability that each start of those runs is cold."""
    table = prepared.tables["startup"]
    where = np.arange(*np.searchsorted(table["run"].to_numpy(), [first, end]))
    return Predicted("invocation", "state", where, models.chances["state"].predict(table.iloc[where])[:, None])


def forecast_of(
    target: Target, rows: pd.DataFrame, where: npt.NDArray[np.int64], median: Floats, zero: Floats
) -> Forecast:
    """Return the forecast of a table's rows. What has no history is a group of its own."""
    new = rows[f"{target.base}_runs"].to_numpy() == 0
    groups = np.where(new, NEW, texts(rows["planner"]))
    keys = np.where(new, NEW, texts(rows[target.scale_by]))
    return Forecast(target.level, target.metric, where, rows["run"].to_numpy(), median, zero, groups, groups, keys)


def forecasts_of_runs(runs: pd.DataFrame, totals: dict[str, Floats]) -> list[Forecast]:
    """Return the forecasts of runs from the totals of their parts."""
    where = runs["run"].to_numpy()
    new = runs["workflow_runs"].to_numpy() == 0
    groups = np.where(new, NEW, keys_of(runs, ("workflow", "planner")).to_numpy(dtype=object))
    movers = np.where(new, NEW, texts(runs["planner"]))
    keys = np.where(new, NEW, texts(runs["workflow"]))
    certain = np.zeros(len(runs))
    return [
        Forecast("run", metric, where, where, np.log(np.maximum(total, 1e-3)), certain, groups, movers, keys)
        for metric, total in totals.items()
    ]


def foresee_output(models: Models, dag: Dag) -> Floats:
    """Return the bytes each task will leave, derived along the DAG from the inputs known at submission."""
    output = np.full(len(dag.rows), np.nan)
    for level in dag.levels():
        inputs = np.log1p(dag.sizes(output).inputs[level])
        output[level] = np.expm1(models.sizes.predict(dag.rows.iloc[level], inputs))
    return output


def estimate(models: Models, target: Target, rows: pd.DataFrame) -> tuple[Floats, Floats]:
    """Return the median logarithm of what each row takes if it happens, and the chance that it does not."""
    median = models.medians[target.metric].predict(rows)
    if not target.may_be_zero:
        return median, np.zeros(len(rows))
    zero = 1 - models.chances[target.metric].predict(rows)
    return median, np.where(target.certain_zero(rows), 1.0, zero)

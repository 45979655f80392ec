"""A trained predictor: what `flowscope train` saves, and `flowscope predict` and planners ask."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictors.features import (
    START_NUMBERS,
    TASK_NUMBERS,
    Sizes,
    describe_dags,
    expect_starts,
    number_runs,
    with_sizes,
)
from predictors.history import History
from predictors.recent import at_the_end, looked_up, texts
from predictors.replay import (
    Errors,
    Forecast,
    Models,
    Prepared,
    estimate,
    forecast_of,
    foresee,
    recent_values,
)
from predictors.targets import (
    EXECUTION,
    QUANTILES,
    START_CATEGORIES,
    STARTUP,
    STARTUP_GIVEN_STATE,
    TASK_CATEGORIES,
    TIMES,
    Target,
)
from warehouse.errors import FlowscopeError

Floats = npt.NDArray[np.float64]

METRICS = ("execution", "download", "upload", "output_bytes", "startup", "state")
"""What can be predicted of one task; 'startup' and 'state' are of a worker launched for it."""
ASKED = (
    "function",
    "workflow",
    "environment",
    "planner",
    "input_bytes",
    "download_bytes",
    "output_bytes",
    "memory_mb",
    "state",
)
"""What may be told of a task. What is left out is as it usually is for the function."""
_ALL = ""


class BadQuestion(FlowscopeError):
    """What is asked cannot be predicted as it is put."""


@dataclass
class Predictor:
    """Models, calibration, and what history was like when they were fitted.

    `states` (JSON) holds the statistics of history by metric and name, `typical` (JSON) what is usual by level and function,
    `workflows` the runs of each workflow.
    """

    models: Models
    errors: Errors
    states: str
    typical: str
    workflows: dict[str, int]

    def predict(
        self, tasks: pd.DataFrame, metrics: Sequence[str] = METRICS, quantiles: Sequence[float] = QUANTILES
    ) -> pd.DataFrame:
        """Return quantiles for tasks that are known by some of the columns ASKED.

        One row per task and metric, in order: row (position of the task), metric, unit, a column per quantile (`p50`), and
        known_runs: how many earlier runs had that function (start-up: that environment); 0 means that nothing like it was
        seen, and the interval is as wide as first predictions were wrong. 'state' is the probability of a cold start, the
        same in every column. Quantiles are between 0 and 1. Raises `BadQuestion`.
        """
        asked = _checked(tasks, metrics, quantiles)
        self._check_trained(metrics)
        levels = np.array(sorted(quantiles))
        rows, sizes = self._task_rows(asked)
        tables = []
        for metric in metrics:
            if metric in ("startup", "state"):
                values, known = self._starts(asked, metric, levels)
            elif metric == "output_bytes":
                forecast, known = self._forecast(EXECUTION, with_sizes(rows, sizes))
                forecast = replace(forecast, metric=metric, median=np.log(np.maximum(sizes.output, 1.0)))
                values = forecast.quantiles(self.errors, levels)
            else:
                target = next(each for each in TIMES if each.metric == metric)
                forecast, known = self._forecast(target, with_sizes(rows, sizes))
                values = forecast.quantiles(self.errors, levels)
            tables.append(_answers(metric, levels, values, known))
        return pd.concat(tables, ignore_index=True).sort_values("row", kind="stable", ignore_index=True)

    def predict_runs(self, history: History, quantiles: Sequence[float] = QUANTILES) -> pd.DataFrame:
        """Return quantiles for all tasks, expected starts and totals of runs of which only DAG and plan are known.

        One row per thing and metric: run_id, level, task_id (of a start: the task it is launched for), metric, unit, and a
        column per quantile. Nothing that the history says of what happened is used.
        """
        runs = number_runs(history)
        runs["workflow_runs"] = [self.workflows.get(name, 0) for name in texts(runs["workflow"])]
        dag = describe_dags(history, runs)
        unsized = with_sizes(dag.rows, dag.sizes(np.full(len(dag.rows), np.nan)))
        expected = self._with_states(expect_starts(runs, dag).assign(is_cold=np.nan), STARTUP)
        tables = {
            target.metric: self._with_states(unsized, target) if target.level == "task" else expected
            for target in TIMES
        }
        nothing: dict[str, Floats] = {}
        prepared = Prepared(runs, dag, expected, tables, nothing, nothing, np.full(len(dag.rows), np.nan))
        forecasts, _ = foresee(prepared, self.models, 0, len(runs))
        levels = np.array(sorted(_checked_quantiles(quantiles)))
        shown = [each for each in forecasts if each.metric != STARTUP_GIVEN_STATE.metric]
        return pd.concat([self._of_runs(prepared, each, levels) for each in shown], ignore_index=True)

    @property
    def answers(self) -> list[str]:
        """The metrics that the model was trained for."""
        trained = {*self.models.medians, *self.models.chances, "output_bytes"}
        return [metric for metric in METRICS if metric in trained]

    def _check_trained(self, metrics: Sequence[str]) -> None:
        missing = [metric for metric in metrics if metric not in self.answers]
        if missing:
            raise BadQuestion(
                f"This model was not trained for {missing[0]}. Hint: flowscope train, or --metric for others."
            )

    def _of_runs(self, prepared: Prepared, forecast: Forecast, levels: Floats) -> pd.DataFrame:
        whole = forecast.level == "run"
        table = prepared.runs if whole else prepared.dag.rows if forecast.level == "task" else prepared.expected
        rows = table.iloc[forecast.rows]
        answers = _answers(forecast.metric, levels, forecast.quantiles(self.errors, levels), np.zeros(len(rows)))
        answers = answers.drop(columns=["row", "known_runs"])
        answers.insert(0, "task_id", None if whole else rows["task_id"].to_numpy())
        answers.insert(0, "level", forecast.level)
        answers.insert(0, "run_id", rows["run_id"].to_numpy())
        return answers

    def _forecast(self, target: Target, rows: pd.DataFrame) -> tuple[Forecast, Floats]:
        table = self._with_states(rows, target)
        median, zero = estimate(self.models, target, table)
        known: Floats = table[f"{target.base}_runs"].to_numpy()
        return forecast_of(target, table, np.arange(len(table)), median, zero), known

    def _starts(self, asked: pd.DataFrame, metric: str, levels: Floats) -> tuple[Floats, Floats]:
        """Return the quantiles of a start, knowing its state where it is told; or the probability that it is cold."""
        rows = self._typical_rows("invocation", asked, START_CATEGORIES, START_NUMBERS)
        rows["is_cold"] = asked["state"].map({"cold": 1.0, "warm": 0.0}).to_numpy(dtype="float64")
        forecast, known = self._forecast(STARTUP, rows)
        told = rows["is_cold"].notna().to_numpy()
        if metric == "state":
            chance = self.models.chances["state"].predict(self._with_states(rows, STARTUP))
            chance = np.where(told, rows["is_cold"].to_numpy(), chance)
            return np.repeat(chance[:, None], len(levels), axis=1), known
        values = forecast.quantiles(self.errors, levels)
        if told.any():
            given, _ = self._forecast(STARTUP_GIVEN_STATE, rows)
            values = np.where(told[:, None], given.quantiles(self.errors, levels), values)
        return values, known

    def _task_rows(self, asked: pd.DataFrame) -> tuple[pd.DataFrame, Sizes]:
        rows = self._typical_rows("task", asked, TASK_CATEGORIES, TASK_NUMBERS)
        usual, usual_remote = (np.nan_to_num(np.expm1(rows[name].to_numpy())) for name in ("log_inputs", "log_remote"))
        inputs = _given(asked["input_bytes"], usual)
        usual_share = usual_remote / np.maximum(usual, 1.0)
        remote = _given(asked["download_bytes"], inputs * np.clip(usual_share, 0, 1))
        usual_part = rows["log_largest_remote"].to_numpy() - rows["log_remote"].to_numpy()
        largest = remote * np.exp(np.minimum(np.nan_to_num(usual_part), 0))
        rows["remote_inputs"] = np.where(remote > 0, np.maximum(rows["remote_inputs"], 1), 0)
        foreseen = np.expm1(self.models.sizes.predict(rows, np.log1p(inputs)))
        return rows, Sizes(inputs, remote, largest, _given(asked["output_bytes"], foreseen))

    def _typical_rows(
        self, level: str, asked: pd.DataFrame, categories: Sequence[str], numbers: Sequence[str]
    ) -> pd.DataFrame:
        """Return one row per task: what is usual for its function (a start: its environment), and what was told of it."""
        usual: dict[str, dict[str, Any]] = _parsed(self.typical)[level]
        by = texts(asked["function" if level == "task" else "environment"])
        names, codes = np.unique(by.astype(str), return_inverse=True)
        chosen = [usual.get(name, usual.get(_ALL, {})) for name in names]
        rows = pd.DataFrame({
            column: np.array([each.get(column) for each in chosen], dtype="float64" if column in numbers else object)[codes]
            for column in (*numbers, *(name for name in categories if name != "function"))
        })  # fmt: skip
        rows["function"] = texts(asked["function"])
        for column in ("workflow", "environment", "planner"):
            rows[column] = np.where(asked[column].notna(), texts(asked[column]), rows[column])
        usual_memory = np.round(
            np.exp2(rows["log_memory"].to_numpy()), 6
        )  # as it is known by: 1769, not 1769.0000000000002
        memory = _given(asked["memory_mb"], usual_memory)
        return rows.assign(memory_mb=memory, log_memory=np.log2(memory), run=0)

    def _with_states(self, rows: pd.DataFrame, target: Target) -> pd.DataFrame:
        states = _parsed(self.states)[target.metric]
        parts = [looked_up(rows, recent, states[recent.name]) for recent in target.recents]
        return pd.concat([rows.reset_index(drop=True), *parts], axis=1)


@lru_cache(maxsize=8)
def _parsed(text: str) -> Any:
    """Return JSON that is read at every question; nobody writes into it."""
    return json.loads(text)


def finished(prepared: Prepared, models: Models, errors: Errors) -> Predictor:
    """Return the predictor that knows all of a history."""
    states = {}
    for target in TIMES:
        rows, took = prepared.tables[target.metric], prepared.took[target.metric]
        values = recent_values(rows, took, target)
        states[target.metric] = {
            recent.name: at_the_end(rows, values[recent.value], recent, prepared.runs) for recent in target.recents
        }
    typical = {
        "task": _typical(prepared.tables["execution"], "function", TASK_CATEGORIES, TASK_NUMBERS),
        "invocation": _typical(prepared.tables["startup"], "environment", START_CATEGORIES, START_NUMBERS),
    }
    workflows = dict(Counter(texts(prepared.runs["workflow"]).tolist()))
    return Predictor(models, errors, json.dumps(states), json.dumps(typical), workflows)


def _typical(
    rows: pd.DataFrame, by: str, categories: Sequence[str], numbers: Sequence[str]
) -> dict[str, dict[str, float | str | None]]:
    """Return the median of each number and the latest of each category, by function or environment, and of all."""
    latest = rows.groupby(by, sort=True).tail(500)
    parts = [(str(name), part) for name, part in latest.groupby(by, sort=True)]
    usual: dict[str, dict[str, float | str | None]] = {}
    for name, part in [*parts, (_ALL, rows.tail(5_000))]:
        usual[name] = {column: _finite(part[column].median()) for column in numbers}
        usual[name] |= {column: _last(part[column]) for column in categories if column != by or name == _ALL}
    return usual


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _last(column: pd.Series) -> str | None:
    known = column.dropna()
    return str(known.iloc[-1]) if len(known) else None


def _given(told: pd.Series, usual: Floats) -> Floats:
    values = told.to_numpy(dtype="float64", na_value=np.nan)
    return np.where(np.isnan(values), usual, values)


def _answers(metric: str, levels: Floats, values: Floats, known: Floats) -> pd.DataFrame:
    unit = {"output_bytes": "bytes", "state": "probability"}.get(metric, "ms")
    columns = {f"p{100 * level:g}": values[:, place] for place, level in enumerate(levels)}
    return pd.DataFrame(
        {"row": np.arange(len(values)), "metric": metric, "unit": unit} | columns | {"known_runs": known.astype(int)}
    )


def _checked_quantiles(quantiles: Sequence[float]) -> Sequence[float]:
    bad = [level for level in quantiles if not 0 < level < 1]
    if bad or not len(quantiles):
        raise BadQuestion(
            f"{bad[0] if bad else 'Nothing'} is no quantile. Hint: give some between 0 and 1 (percent: 1 to 99)."
        )
    return sorted(set(quantiles))


def _checked(tasks: pd.DataFrame, metrics: Sequence[str], quantiles: Sequence[float]) -> pd.DataFrame:
    """Return the columns ASKED of the tasks, those left out being unknown."""
    _checked_quantiles(quantiles)
    unknown = [metric for metric in metrics if metric not in METRICS]
    if unknown or not metrics:
        raise BadQuestion(f"{unknown[0] if unknown else ''!r} is not predicted. Hint: {', '.join(METRICS)}.")
    if "function" not in tasks:
        raise BadQuestion(f"The tasks have no column 'function'. Hint: columns may be {', '.join(ASKED)}.")
    asked = pd.DataFrame(index=range(len(tasks)))
    for column in ASKED:
        values = (
            tasks[column].reset_index(drop=True)
            if column in tasks
            else pd.Series(None, index=asked.index, dtype=object)
        )
        if column.endswith(("_bytes", "_mb")):
            numbers = _as_numbers(values)
            wrong = (
                (values.notna() & numbers.isna())
                | (numbers < 0)
                | np.isinf(numbers)
                | ((numbers == 0) & (column == "memory_mb"))
            )
            if wrong.any():
                place = int(np.flatnonzero(wrong)[0])
                raise BadQuestion(
                    f"{column} of task {place + 1} is {_shown(values[place])}. Hint: give a number of"
                    f" {'MB, above 0' if column == 'memory_mb' else 'bytes, 0 or more'}."
                )
            asked[column] = numbers
        else:
            asked[column] = values.astype(object).where(values.notna(), None)
    states = asked["state"].dropna()
    if not states.isin(["cold", "warm"]).all():
        raise BadQuestion(
            f"{_shown(states[~states.isin(['cold', 'warm'])].iloc[0])} is no state. Hint: cold, warm, or leave it out."
        )
    return asked


def _as_numbers(values: pd.Series) -> pd.Series:
    """Return values as numbers, NaN what is none; an integer beyond all floats is infinite."""
    try:
        numbers: pd.Series = pd.to_numeric(values, errors="coerce").astype("float64")
    except OverflowError:
        numbers = pd.Series(np.inf, index=values.index)
    return numbers


def _shown(value: object) -> str:
    """Return a value as its author would write it, on one line and not for ever."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 80 else f"{text[:80]}..."

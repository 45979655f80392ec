"""Evaluate: every run of a history predicted from earlier ones by every predictor, as rows of the table `predictions`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from predictors.engine_rule import EngineRule
from predictors.engine_runs import Run, in_turn, runs_of
from predictors.history import History
from predictors.names import ENGINE_RULE, MODEL, MODEL_GIVEN_STATE, SIMULATION
from predictors.replay import Errors, Predicted, Prepared, replay, steps
from predictors.rivals import replay_rivals
from predictors.simulation.ahead import Ahead
from predictors.targets import QUANTILES, STARTUP_GIVEN_STATE

KEY = ["predictor", "level", "run_id", "task_id", "invocation_id", "metric", "sla_percentile"]

Progress = Callable[[str, int, int], None]
"""Told the predictor at work, and how many of how many runs it has predicted."""


def evaluate(
    history: History, prepared: Prepared, progress: Progress, *, seed: int = 0, ahead: Ahead | None = None
) -> pd.DataFrame:
    """Return what each predictor says of each run, from the runs known at its submission; `ahead` simulates each.

    Columns are those of the table `predictions`: one row per predictor, thing, metric and quantile; 'state' is the
    probability of a cold start and has no quantile. The first run has no history, so nobody predicts it.
    """
    runs = len(prepared.runs)
    blocks = steps(runs)
    tables, foreseen = [], [np.full(_tasks_before(prepared, blocks[0][0]), np.nan)] if blocks else []
    for (first, end), (_, predicted, output) in zip(blocks, replay(prepared, blocks, Errors(), seed), strict=True):
        tables += [rows_of(prepared, _name(each), each) for each in predicted]
        foreseen.append(output)
        if ahead:
            tables += [rows_of(prepared, SIMULATION, each) for each in ahead.block(first, end, predicted)]
        progress(MODEL, end, runs)
    if blocks:
        for name, each in replay_rivals(prepared, blocks, np.concatenate(foreseen)):
            tables.append(rows_of(prepared, name, each))
            progress("rivals", runs, runs)
    tables += list(_engine_rule(history, progress))
    if not tables:
        return pd.DataFrame(columns=[*KEY, "predicted", "predicted_at"])
    predictions = pd.concat(tables, ignore_index=True)
    return predictions.merge(_latest_known(prepared.runs), on="run_id", how="left")


def rows_of(prepared: Prepared, predictor: str, predicted: Predicted) -> pd.DataFrame:
    """Return predicted quantiles as rows of the table `predictions`, without predicted_at."""
    table = _table(prepared, predicted)
    is_state = predicted.metric == "state"
    levels = [np.nan] if is_state else [100 * level for level in QUANTILES]
    metric = "startup" if predicted.metric == STARTUP_GIVEN_STATE.metric else predicted.metric
    values = predicted.values.ravel()
    known = ~np.isnan(values)
    place = np.repeat(predicted.rows, len(levels))[known]
    return pd.DataFrame({
        "predictor": predictor,
        "level": predicted.level,
        "run_id": table["run_id"].array.take(place),
        "task_id": None if predicted.level == "run" else table["task_id"].array.take(place),
        "invocation_id": table["invocation_id"].array.take(place) if predicted.level == "invocation" else None,
        "metric": metric,
        "sla_percentile": np.tile(levels, len(predicted.rows))[known],
        "predicted": values[known],
    })  # fmt: skip


def _name(predicted: Predicted) -> str:
    return MODEL_GIVEN_STATE if predicted.metric == STARTUP_GIVEN_STATE.metric else MODEL


def _table(prepared: Prepared, predicted: Predicted) -> pd.DataFrame:
    if predicted.level == "run":
        return prepared.runs
    return prepared.tables["startup"] if predicted.level == "invocation" else prepared.dag.rows


def _tasks_before(prepared: Prepared, run: int) -> int:
    return int(np.searchsorted(prepared.dag.rows["run"].to_numpy(), run))


def _latest_known(runs: pd.DataFrame) -> pd.DataFrame:
    """Return, for each run, the instant of the latest history it could be predicted from."""
    known_at = np.sort(runs["known_at"].to_numpy())
    place = np.searchsorted(known_at, runs["submitted_at"].to_numpy(), side="right") - 1
    latest = np.where(place >= 0, known_at[np.maximum(place, 0)], np.datetime64("NaT"))
    return pd.DataFrame({"run_id": runs["run_id"].to_numpy(), "predicted_at": latest})


def _engine_rule(history: History, progress: Progress) -> Iterator[pd.DataFrame]:
    """Yield what the engine's rule says of each run, at each quantile as its SLA.

    Where a run has no plan, or one that leaves the worker of a task open, nobody said before where its tasks would run:
    then only what does not depend on that. Of a run without any size of an input the rule has nothing to say: it scales sizes.
    """
    rule = EngineRule()
    planned = set(history.tasks["run_id"]) - set(history.tasks.loc[history.tasks["planned_worker_id"].isna(), "run_id"])
    starts = dict(iter(history.starts.groupby("run_id")))
    runs = runs_of(history)
    for place, (run, known) in enumerate(in_turn(runs), start=1):
        for each in known:
            rule.learn(each)
        if rule.counts(run).previous_runs:
            rows = []
            for level in QUANTILES:
                plan = rule.columns(run, 100 * level)
                if not np.any(plan["input_bytes"] > 0):
                    continue
                rows += [
                    (*row, 100 * level) for row in _of_plan(plan, run, run.run_id in planned, starts.get(run.run_id))
                ]
            table = pd.DataFrame(rows, columns=[*_OF_PLAN, "sla_percentile"])
            yield table.assign(predictor=ENGINE_RULE, run_id=run.run_id)[[*KEY, "predicted"]]
        progress(ENGINE_RULE, place, len(runs))


_OF_PLAN = ("level", "task_id", "invocation_id", "metric", "predicted")


def _of_plan(
    plan: dict[str, Any], run: Run, is_planned: bool, starts: pd.DataFrame | None
) -> Iterator[tuple[str, str | None, str | None, str, float]]:
    """Yield level, task, invocation, metric and value of everything a plan says."""
    columns = {"execution": "execution_ms", "output_bytes": "output_bytes"}
    if is_planned:
        columns |= {"download": "download_ms", "upload": "upload_ms"}
    for metric, column in columns.items():
        for task, value in zip(run.task_ids, plan[column], strict=True):
            yield "task", task, None, metric, value
        if metric != "output_bytes":
            yield "run", None, None, metric, np.nansum(plan[column])
    if not is_planned:
        return
    first: dict[str, float] = {}
    for task in np.argsort(plan["start_offset_ms"], kind="stable"):
        first.setdefault(run.workers[task], plan["startup_ms"][task])
    yield "run", None, None, "startup", np.sum([*first.values()])
    yield "run", None, None, "makespan", max(plan["completion_offset_ms"][run.is_sink], default=np.nan)
    if starts is None:
        return
    for worker, task, invocation in zip(starts["worker_id"], starts["task_id"], starts["invocation_id"], strict=True):
        if worker in first:
            yield "invocation", task, invocation, "startup", first[worker]

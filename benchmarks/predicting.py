"""Predictors: one call for a million tasks against the engine's rule asked task by task, and training on a million tasks."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import dumps
from ingest.pipeline import ingest
from predictors.engine_rule import EngineRule, Origin
from predictors.engine_runs import runs_of
from predictors.history import History, read_history
from predictors.predictor import Predictor
from predictors.replay import prepare
from predictors.training import train
from warehouse.connection import open_current
from warehouse.home import Home

SAMPLES = Path(__file__).parent.parent / "ingest" / "samples"
ASKED_ONE_BY_ONE = 2_000


def recorded(root: Path) -> History:
    """Return the history of the recorded runs."""
    home = Home(root / "recorded")
    ingest(home, [str(SAMPLES)], dumps.Silent())
    with open_current(home) as reader:
        return read_history(reader)


def repeated(history: History, times: int) -> History:
    """Return a history that goes through the same runs again and again, one after another."""
    span = history.runs["known_at"].max() - history.runs["submitted_at"].min() + pd.Timedelta(minutes=1)
    instants = ["submitted_at", "known_at", "started_at", "requested_at"]

    def copies(frame: pd.DataFrame) -> pd.DataFrame:
        parts = []
        for time_over in range(times):
            part = frame.assign(run_id=f"{time_over}." + frame["run_id"])
            if "invocation_id" in part:
                part["invocation_id"] = f"{time_over}." + part["invocation_id"]
            for column in part.columns.intersection(instants):
                part[column] = part[column] + time_over * span
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    frames = (history.runs, history.tasks, history.edges, history.inputs, history.starts)
    return History(*(copies(frame) for frame in frames))


def trained(history: History) -> tuple[Predictor, float]:
    """Return a predictor, and the seconds it took to describe the history and to train."""
    start = time.perf_counter()
    predictor, _ = train(history, prepare(history), lambda _: None)
    return predictor, time.perf_counter() - start


def speed_of_one_call(history: History, predictor: Predictor, rows: int) -> float:
    """Return how many times faster a prediction is in one call for many tasks than the engine's rule asked one by one.

    Both are asked the execution time of tasks of the same functions, sizes and memory; the rule at one SLA, the
    predictor for three quantiles.
    """
    runs = runs_of(history)
    rule = EngineRule()
    for run in runs[:-1]:
        rule.learn(run)
    generator = np.random.default_rng(0)
    known = history.tasks[history.tasks["left_metrics"]]
    tasks = known.iloc[generator.integers(0, len(known), rows)]
    asked = pd.DataFrame(
        {"function": tasks["function"], "input_bytes": tasks["inputs_bytes"], "memory_mb": tasks["memory_mb"]}
    ).reset_index(drop=True)
    start = time.perf_counter()
    predictor.predict(asked, ["execution"])
    one_call = (time.perf_counter() - start) / rows
    origins = {run.run_id: Origin.of(run) for run in runs}
    few = tasks.iloc[:ASKED_ONE_BY_ONE]
    questions = list(zip(few["run_id"], few["function"], few["inputs_bytes"], few["memory_mb"], strict=True))
    start = time.perf_counter()
    for run_id, function, size, memory in questions:
        rule.execution_ms(origins[run_id], function, float(size), int(memory), 90)
    one_by_one = (time.perf_counter() - start) / len(questions)
    return one_by_one / one_call

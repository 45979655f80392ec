"""Replay and evaluation: nothing of a run or of later ones touches its prediction, and odd histories give what they can."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

from predictors import evaluation
from predictors.evaluation import KEY, evaluate
from predictors.history import History
from predictors.names import MODEL_GIVEN_STATE
from predictors.replay import Errors, Forecast, prepare, steps
from tests.predictors.worlds import World, changed, poisoned, remembered

NAN = np.nan
WORLD = World(runs=24)
OVERLAPPING = World(runs=24, gap_s=0.4, seed=1)
QUANTILE = ["predictor", "level", "run_id", "task_id", "invocation_id", "metric"]


def predictions(history: History) -> pd.DataFrame:
    return evaluate(history, prepare(history), lambda *_: None)


@cache
def predicted(world: World) -> pd.DataFrame:
    return predictions(remembered(world))


def of_run(table: pd.DataFrame, run: str) -> pd.DataFrame:
    return table[table["run_id"] == run].sort_values(KEY).reset_index(drop=True)


@pytest.fixture(autouse=True)
def _few_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit a few times only, the last times on enough rows for trees."""
    ends = [1, 2, 12, 18, 24]
    monkeypatch.setattr(evaluation, "steps", lambda runs: [(a, min(b, runs)) for a, b in pairwise(ends) if a < runs])


# no leak


@pytest.mark.parametrize(
    ("world", "first"),
    [(WORLD, 2), (WORLD, 18), (WORLD, 23), (OVERLAPPING, 22)],
    ids=["early", "planned", "flexible", "overlapping"],
)
def test_nothing_recorded_of_a_run_or_of_later_ones_touches_its_prediction(world: World, first: int) -> None:
    history = remembered(world)
    run = history.runs["run_id"].iloc[first]
    before, after = (of_run(table, run) for table in (predicted(world), predictions(poisoned(history, first))))
    told = before["predictor"] == MODEL_GIVEN_STATE
    assert len(before) > 90
    assert told.any()
    # Who is told the state of a start is the only one to see any of it.
    pd.testing.assert_frame_equal(before[~told], after[~(after["predictor"] == MODEL_GIVEN_STATE)], check_exact=True)


def test_the_poison_does_reach_what_comes_after() -> None:
    history = remembered(WORLD)
    run = history.runs["run_id"].iloc[20]
    after = of_run(predictions(poisoned_early(history)), run)
    before = of_run(predicted(WORLD), run)
    both = before.merge(after, on=KEY)
    differ = both["predicted_x"] != both["predicted_y"]
    assert {"boosted", "empirical", "log_log", "engine_rule"} <= set(both["predictor"][differ])


def poisoned_early(history: History) -> History:
    tasks = history.tasks
    early = tasks["run_id"].isin(history.runs["run_id"].iloc[:19])
    return replace(history, tasks=changed(tasks, early, execution_ms=tasks["execution_ms"] * 3))


def test_a_run_still_going_teaches_nothing() -> None:
    history = remembered(WORLD)
    runs = history.runs
    # The runs before the last one end only after its submission: what they were like must not matter.
    late = runs["run_id"].isin(runs["run_id"].iloc[12:])
    going = replace(history, runs=changed(runs, late, known_at=runs["submitted_at"].iloc[-1] + pd.Timedelta(days=1)))
    tasks = going.tasks
    of_late = tasks["run_id"].isin(runs["run_id"].iloc[12:])
    other = replace(
        going,
        tasks=changed(tasks, of_late, execution_ms=1e6, output_bytes=1, upload_ms=1e6, download_ms=1e6),
        starts=changed(going.starts, going.starts["run_id"].isin(runs["run_id"].iloc[12:]), startup_ms=1e6),
    )
    before, after = predictions(going), predictions(other)
    for place in (13, 18, 23):
        run = runs["run_id"].iloc[place]
        pd.testing.assert_frame_equal(of_run(before, run), of_run(after, run), check_exact=True)
        assert (of_run(before, run)["predicted_at"] == runs["known_at"].iloc[11]).all()


def test_a_column_that_holds_the_answer_is_not_used() -> None:
    history = remembered(WORLD)
    told = replace(
        history,
        tasks=history.tasks.assign(answer=history.tasks["execution_ms"], log_answer=np.log(history.tasks["execution_ms"])),
        starts=history.starts.assign(answer=history.starts["startup_ms"]),
        runs=history.runs.assign(answer=history.runs["makespan_ms"]),
    )  # fmt: skip
    pd.testing.assert_frame_equal(predictions(told), predicted(WORLD), check_exact=True)


# rows


@pytest.mark.parametrize("world", [WORLD, OVERLAPPING], ids=["apart", "overlapping"])
def test_rows_are_unique_positive_and_in_order_of_their_quantiles(world: World) -> None:
    table = predicted(world)
    assert not table.duplicated(KEY).any()
    assert np.isfinite(table["predicted"]).all()
    assert (table["predicted"] >= 0).all()
    state = table[table["metric"] == "state"]
    assert state["sla_percentile"].isna().all()
    assert state["predicted"].between(0, 1).all()
    wide = table[table["metric"] != "state"].pivot_table(
        index=QUANTILE, columns="sla_percentile", values="predicted", dropna=False, observed=True
    ).dropna()  # fmt: skip
    ours = wide[wide.index.get_level_values("predictor").str.startswith("boosted")]
    assert (np.diff(ours.to_numpy(), axis=1) >= 0).all()
    history = remembered(world)
    assert history.runs["run_id"].iloc[0] not in set(table["run_id"])
    at = history.runs.set_index("run_id")["submitted_at"]
    known = table["predicted_at"].notna()
    assert (table["predicted_at"][known] <= table["run_id"][known].map(at)).all()


def test_every_task_start_and_total_of_every_later_run_is_predicted() -> None:
    table, history = predicted(WORLD), remembered(WORLD)
    ours = table[(table["predictor"] == "boosted") & (table["sla_percentile"].fillna(50) == 50)]
    later = history.runs["run_id"].iloc[1:]
    counts = ours.groupby(["level", "metric"]).size().to_dict()
    tasks, starts = history.tasks["run_id"].isin(later).sum(), history.starts["run_id"].isin(later).sum()
    of_tasks = {("task", metric): tasks for metric in ("execution", "download", "upload", "output_bytes")}
    of_runs = {("run", metric): len(later) for metric in ("execution", "download", "upload", "startup", "makespan")}
    assert counts == of_tasks | of_runs | {("invocation", "startup"): starts, ("invocation", "state"): starts}


def test_planted_times_are_found() -> None:
    table, history = predicted(WORLD), remembered(WORLD)
    late = history.runs["run_id"].iloc[16:]
    ours = table[(table["predictor"] == "boosted") & (table["sla_percentile"] == 50) & (table["metric"] == "execution")]
    ours = ours[(ours["level"] == "task") & ours["run_id"].isin(late)]
    both = ours.merge(history.tasks, on=["run_id", "task_id"])
    assert np.median(np.abs(both["predicted"] / both["execution_ms"] - 1)) < 0.5


def test_blocks_follow_each_other_and_grow() -> None:
    assert steps(0) == steps(1) == []
    for runs in (2, 3, 50, 500):
        blocks = steps(runs)
        assert (blocks[0][0], blocks[-1][1]) == (1, runs)
        assert all(before[1] == after[0] for before, after in pairwise(blocks))
        assert all(end > first for first, end in blocks)


def test_quantiles_of_what_may_not_happen_are_zero_up_to_its_chance_and_in_order() -> None:
    chances = np.array([0.0, 0.4, 0.5, 0.8, 0.95, 1.0])
    some = np.full(len(chances), "p", dtype=object)
    place = np.arange(len(chances))
    forecast = Forecast("task", "download", place, place, np.full(len(chances), 3.0), chances, some, some, some)
    errors = Errors()
    errors.of("download").moved["p|0.5"] = [0.3, 1.0, 1.0]
    errors.of("download").moved["p|0.75"] = [-0.3, 1.0, 1.0]
    values = forecast.quantiles(errors, np.array([0.5, 0.75, 0.9]))
    assert (values == 0).tolist() == [[False] * 3, [False] * 3, [True, False, False], [True, True, False], [True] * 3, [True] * 3]  # fmt: skip
    assert (np.diff(values, axis=1) >= 0).all()
    assert np.isfinite(values).all()


# odd histories


def nothing(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.iloc[:0]


def unplanned(history: History) -> History:
    nobody = {"planned_worker_id": None, "planned_memory_mb": NAN, "planned_literal_bytes": NAN}
    return replace(history, tasks=history.tasks.assign(**nobody), runs=history.runs.assign(is_planned=False))


def bare(history: History) -> History:
    """As another engine's log may be: no plan, edge, input, size, memory or name but the function's."""
    tasks = unplanned(history).tasks.assign(
        memory_mb=NAN, literal_bytes=NAN, stored_inputs=NAN, stored_bytes=NAN, inputs_bytes=NAN, output_bytes=NAN,
        downloaded_bytes=NAN, kind=None, worker_id=None, download_ms=NAN, upload_ms=NAN,
    )  # fmt: skip
    names = ("environment", "planner", "workflow", "structure_hash", "sla", "sink_task_id")
    runs = history.runs.assign(is_planned=False, **dict.fromkeys(names))
    starts = history.starts.assign(memory_mb=NAN, task_id=None, state=None)
    return History(runs, tasks, nothing(history.edges), nothing(history.inputs), starts)


ODD: dict[str, Callable[[History], History]] = {
    "no plans": unplanned,
    "no edges": lambda history: replace(history, edges=nothing(history.edges)),
    "no starts": lambda history: replace(history, starts=nothing(history.starts)),
    "only starts": lambda history: History(
        history.runs, *map(nothing, (history.tasks, history.edges, history.inputs)), history.starts
    ),
    "only runs": lambda history: History(
        history.runs, *map(nothing, (history.tasks, history.edges, history.inputs, history.starts))
    ),
    "bare": bare,
    "some runs without tasks": lambda history: replace(
        history, **{
            name: getattr(history, name)[~getattr(history, name)["run_id"].isin(history.runs["run_id"].iloc[[0, 3, 4, 9, 13]])]
            for name in ("tasks", "edges", "inputs", "starts")
        }
    ),
    "no times": lambda history: replace(
        history, tasks=history.tasks.assign(execution_ms=NAN, download_ms=NAN, upload_ms=NAN, left_metrics=False, function=None)
    ),
    "all failed": lambda history: replace(
        history, tasks=history.tasks.assign(status="failed"),
        runs=history.runs.assign(is_complete=None, makespan_ms=NAN),
    ),
    "all at once": lambda history: replace(
        history, runs=history.runs.assign(submitted_at=history.runs["submitted_at"].iloc[0])
    ),
    "memory of zero": lambda history: replace(
        history, tasks=history.tasks.assign(memory_mb=0, planned_memory_mb=0), starts=history.starts.assign(memory_mb=0)
    ),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_odd_histories_give_what_they_can(odd: str) -> None:
    history = ODD[odd](remembered(WORLD).only(remembered(WORLD).runs["run_id"].iloc[:14]))
    table = predictions(history)
    assert np.isfinite(table["predicted"].astype("float64")).all()
    assert (table["predicted"] >= 0).all()
    assert not table.duplicated(KEY).any()
    ours = set(table["metric"][table["predictor"] == "boosted"])
    assert "makespan" in ours
    if odd not in ("only starts", "only runs"):
        assert "execution" in ours
    if odd not in ("no starts", "only runs"):
        assert {"startup", "state"} <= ours


@pytest.mark.parametrize("runs", [1, 2, 3])
def test_a_short_history_is_predicted_from_its_second_run_on(runs: int) -> None:
    history = remembered(WORLD)
    short = history.only(history.runs["run_id"].iloc[:runs])
    table = predictions(short)
    assert list(table.columns) == list(predicted(WORLD).columns)
    assert sorted(set(table["run_id"])) == list(history.runs["run_id"].iloc[1:runs])


def test_who_ran_what_on_flexible_workers_does_not_matter_to_any_predictor() -> None:
    history = remembered(WORLD)
    tasks = history.tasks
    flexible = tasks["planned_worker_id"].isna()
    assert flexible.any()
    one = predictions(replace(history, tasks=changed(tasks, flexible, worker_id="one for all")))
    levels: Any = ["run", "task"]
    before, after = (table[table["level"].isin(levels)].reset_index(drop=True) for table in (predicted(WORLD), one))
    pd.testing.assert_frame_equal(before, after, check_exact=True)

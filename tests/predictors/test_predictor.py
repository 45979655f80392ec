"""The trained predictor: planted laws are found again, what is unseen is answered wide, and odd questions are refused."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from predictors.model_files import as_bytes
from predictors.predictor import METRICS, BadQuestion, Predictor, finished
from predictors.replay import Errors, fit, prepare, replay
from predictors.targets import EXECUTION
from predictors.training import coarse_steps, train
from tests.predictors.worlds import COLD_MS, WARM_MS, World, execution_ms, poisoned, remembered

NAN = np.nan
WORLD = World(runs=60, memories=(512, 1024, 1769, 2048))
FEW = World(runs=10)


@cache
def trained(world: World = WORLD) -> Predictor:
    history = remembered(world)
    return train(history, prepare(history), lambda _: None)[0]


def ask(
    *tasks: dict[str, Any], metrics: tuple[str, ...] = ("execution",), world: World = WORLD, **more: Any
) -> pd.DataFrame:
    return trained(world).predict(pd.DataFrame(list(tasks)), metrics, **more)


def width(answers: pd.DataFrame) -> Any:
    return np.log(answers["p90"] / answers["p50"])


@pytest.mark.parametrize("memory", [512, 2048])
def test_a_planted_power_law_is_found(memory: int) -> None:
    sizes = np.geomspace(3e5, 2.5e6, 7)
    answers = ask(
        *({"function": "work", "input_bytes": size, "memory_mb": memory, "planner": "first"} for size in sizes)
    )
    truth = np.array([execution_ms("work", size, memory) for size in sizes])
    assert np.median(np.abs(answers["p50"] / truth - 1)) < 0.3
    assert (np.abs(np.log(answers["p50"] / truth)) < 0.7).all()
    assert (answers["known_runs"] == 60).all()


def test_an_unseen_function_is_said_to_be_and_answered_much_wider() -> None:
    task = {"input_bytes": 1e6, "memory_mb": 1024}
    answers = ask({"function": "work", **task}, {"function": "unseen", **task}, {"function": None, **task})
    assert answers["known_runs"].tolist() == [60, 0, 0]
    known, unseen, nameless = width(answers)
    assert min(unseen, nameless) > 3 * known


def test_a_start_is_predicted_better_when_its_state_is_told() -> None:
    answers = ask(
        {"function": "work", "state": "cold"}, {"function": "work", "state": "warm"}, {"function": "work"}, metrics=("startup",)
    )  # fmt: skip
    assert answers["p50"][0] == pytest.approx(COLD_MS, rel=0.25)
    assert answers["p50"][1] == pytest.approx(WARM_MS, rel=0.25)
    assert width(answers)[2] > 2 * max(width(answers)[0], width(answers)[1])


def test_the_probability_of_a_cold_start_is_one_or_none_where_it_is_told() -> None:
    answers = ask(
        {"function": "work", "state": "cold"}, {"function": "work", "state": "warm"}, {"function": "work"}, metrics=("state",)
    )  # fmt: skip
    assert answers["p50"].tolist()[:2] == [1, 0]
    assert 0.05 < answers["p50"][2] < 0.95
    assert (answers["p50"] == answers["p90"]).all()
    assert set(answers["unit"]) == {"probability"}


def test_outputs_are_the_planted_shares() -> None:
    answers = ask(
        {"function": "work", "input_bytes": 1e6}, {"function": "merge", "input_bytes": 5e5}, metrics=("output_bytes",)
    )
    assert answers["p50"].tolist() == pytest.approx([2e5, 1000], rel=0.05)


def test_every_metric_is_answered_in_order_of_tasks_with_quantiles_in_order() -> None:
    tasks = [{"function": name} for name in ("work", "unseen", "split")]
    answers = ask(*tasks, metrics=METRICS, quantiles=(0.99, 0.01, 0.5))
    assert answers["row"].tolist() == [row for row in range(3) for _ in METRICS]
    assert answers["metric"].tolist() == list(METRICS) * 3
    assert [name for name in answers if name.startswith("p")] == ["p1", "p50", "p99"]
    values = answers[["p1", "p50", "p99"]].to_numpy()
    assert (np.isfinite(values) & (values >= 0)).all()
    assert (np.diff(values, axis=1) >= 0).all()


def test_memory_that_is_not_told_is_one_that_was_seen() -> None:
    world = replace(FEW, memories=(1769,))
    told, left_out = ask({"function": "work", "memory_mb": 1769}, {"function": "work"}, world=world)["p50"]
    assert told == left_out
    rows, _ = trained(world)._task_rows(pd.DataFrame({
        "function": ["work"], "memory_mb": [NAN], "input_bytes": [NAN], "download_bytes": [NAN], "output_bytes": [NAN],
        "workflow": [None], "environment": [None], "planner": [None],
    }))  # fmt: skip
    assert rows["memory_mb"].tolist() == [1769]


def test_nothing_to_download_takes_no_time() -> None:
    answers = ask({"function": "split", "download_bytes": 0, "planner": "first"}, metrics=("download",))
    assert answers["p50"].tolist() == [0]


def test_far_beyond_all_sizes_answers_stay_finite() -> None:
    answers = ask(
        *({"function": "work", "input_bytes": size} for size in (0, 1, 1e7, 1e13, 1e300)), metrics=METRICS[:4]
    )
    values = answers[["p50", "p90"]].to_numpy()
    assert np.isfinite(values).all()
    execution = answers[answers["metric"] == "execution"]["p50"].tolist()
    assert execution[2] < execution[3]


# whole runs


def test_a_run_is_predicted_from_its_dag_and_plan_alone() -> None:
    history = remembered(WORLD)
    for run in history.runs["run_id"].iloc[[57, 59]]:
        one = history.only([run])
        answers = trained().predict_runs(one)
        other = poisoned(one, 0)
        pd.testing.assert_frame_equal(answers, trained().predict_runs(other), check_exact=True)
        unrun = replace(
            other,
            tasks=other.tasks.assign(left_metrics=False, execution_ms=NAN, output_bytes=NAN),
            starts=other.starts.iloc[:0],
        )
        pd.testing.assert_frame_equal(answers, trained().predict_runs(unrun), check_exact=True)
        counts = answers.groupby(["level", "metric"]).size().to_dict()
        assert counts == {
            **{("task", metric): 5 for metric in ("execution", "download", "upload", "output_bytes")},
            ("invocation", "startup"): 3,
            **{("run", metric): 1 for metric in ("execution", "download", "upload", "startup", "makespan")},
        }  # fmt: skip
        makespan = answers[answers["metric"] == "makespan"]["p50"].iloc[0]
        assert makespan == pytest.approx(one.runs["makespan_ms"].iloc[0], rel=0.6)


def test_a_workflow_never_seen_is_answered_wider_and_one_without_a_name_is_known_once_seen() -> None:
    nameless = replace(WORLD, runs=30, workflows=(None,), planners=(None,), environments=(None,))
    one = remembered(nameless).only(["run-029"])
    stranger = replace(one, runs=one.runs.assign(workflow="never seen"))
    known, unknown = (trained(nameless).predict_runs(each).query("metric == 'makespan'") for each in (one, stranger))
    assert float(width(unknown).iloc[0]) > 1.2 * float(width(known).iloc[0])


# few, and the same


@pytest.mark.parametrize("runs", [1, 2, 3])
def test_a_predictor_of_few_runs_answers_sanely(runs: int) -> None:
    history = remembered(FEW)
    short = history.only(history.runs["run_id"].iloc[:runs])
    predictor, card = train(short, prepare(short), lambda _: None)
    answers = predictor.predict(pd.DataFrame({"function": ["work", "unseen"]}))
    values = answers[["p50", "p75", "p90"]].to_numpy()
    assert np.isfinite(values).all()
    assert (np.diff(values, axis=1) >= 0).all()
    times = answers[(answers["metric"] == "execution") & (answers["known_runs"] > 0)]
    assert (width(times) > 0.15).all()
    assert card["data"]["runs"] == runs
    assert len(predictor.predict_runs(short)) > 0


def test_the_same_history_and_seed_give_the_same_predictor_to_the_byte() -> None:
    history = remembered(FEW)
    first, second = (as_bytes(train(history, prepare(history), lambda _: None, seed=3)[0]) for _ in range(2))
    assert first == second


def test_a_predictor_knows_the_recent_past_as_a_later_run_would() -> None:
    history = remembered(FEW)
    prepared = prepare(history)
    errors = Errors()
    list(replay(prepared, coarse_steps(10), errors, 0))
    before_last = prepare(history.only(history.runs["run_id"].iloc[:9]))
    predictor = finished(before_last, fit(before_last, np.ones(9, dtype=bool), 0), errors)
    last = prepared.tables["execution"]["run"].to_numpy() == 9
    rows = prepared.tables["execution"][last]
    names = [recent.name for recent in EXECUTION.recents]
    found = predictor._with_states(rows.drop(columns=[*names, *(f"{name}_runs" for name in names)]), EXECUTION)
    pd.testing.assert_frame_equal(found[names], rows[names].reset_index(drop=True))


# questions


@pytest.mark.parametrize(
    ("tasks", "more", "sentence"),
    [
        ({"functions": ["f"]}, {}, "no column 'function'"),
        ({"function": ["f", "f"], "input_bytes": [1, "many"]}, {}, "input_bytes of task 2 is 'many'"),
        ({"function": ["f"], "input_bytes": [-1]}, {}, "input_bytes of task 1 is -1"),
        ({"function": ["f"], "input_bytes": [np.inf]}, {}, "input_bytes of task 1 is inf"),
        ({"function": ["f"], "memory_mb": [0]}, {}, "memory_mb of task 1 is 0"),
        ({"function": ["f"], "output_bytes": [[1, 2]]}, {}, "output_bytes of task 1"),
        ({"function": ["f"], "download_bytes": [{"a": 1}]}, {}, "download_bytes of task 1"),
        ({"function": ["f"], "state": ["tepid"]}, {}, "'tepid' is no state"),
        ({"function": ["f"], "input_bytes": ["x" * 100_000]}, {}, "input_bytes of task 1 is 'xxx"),
        ({"function": ["f"], "state": [["cold"]]}, {}, "is no state"),
        ({"function": ["f"]}, {"metrics": ("speed",)}, "'speed' is not predicted"),
        ({"function": ["f"]}, {"metrics": ()}, "is not predicted"),
        ({"function": ["f"]}, {"quantiles": (1.5,)}, "is no quantile"),
        ({"function": ["f"]}, {"quantiles": (NAN,)}, "is no quantile"),
        ({"function": ["f"]}, {"quantiles": ()}, "is no quantile"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_with_a_sentence(
    tasks: dict[str, Any], more: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadQuestion) as refused:
        trained(FEW).predict(pd.DataFrame(tasks), **more)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "np." not in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    "function", ["two\nlines", "a\x1fb", "\x1e", "\x00new", "\x00all", "x" * 100_000, "", 7, True, ("a", "b"), "ünï"]
)
def test_whatever_a_function_is_called_it_is_answered(function: Any) -> None:
    answers = trained(FEW).predict(
        pd.DataFrame({"function": pd.Series([function], dtype=object), "more": 1}, index=[5])
    )
    assert len(answers) == len(METRICS)
    assert np.isfinite(answers[["p50", "p90"]].to_numpy()).all()


def test_no_tasks_get_no_answers() -> None:
    answers = trained(FEW).predict(pd.DataFrame({"function": []}))
    assert len(answers) == 0
    assert "p50" in answers


def test_rows_with_an_index_of_their_own_are_answered_by_position() -> None:
    tasks = pd.DataFrame({"function": ["work", "work"], "input_bytes": [1e5, 2e6]}, index=["x", "x"])
    answers = trained().predict(tasks, ("execution",))
    assert answers["row"].tolist() == [0, 1]
    assert answers["p50"].is_monotonic_increasing

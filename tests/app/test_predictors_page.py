"""The Predictors page: what it says without anything, of predictions made by hand, and of models; training from it."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

from app import training
from tests.app import dumps
from tests.app.test_pages import said, visit
from warehouse.home import Home
from warehouse.writer import Writer

RUNS = 24


def rows() -> Iterator[dict[str, Any]]:
    """Predictions of the tasks' execution at three percentiles: `boosted` takes 1.1 times what happens for its median, `log_log` 1.4.

    At p75 `boosted` says 1.2 times and at p90 1.3, so nothing is ever above; `log_log` says half of what happens, so all is.
    """
    for number in range(RUNS):
        for task, took in (("f+a", 200.0), ("f+b", 300.0 + 100 * number)):
            for predictor, factors in (("boosted", (1.1, 1.2, 1.3)), ("log_log", (1.4, 0.5, 0.5))):
                for percentile, factor in zip((50.0, 75.0, 90.0), factors, strict=True):
                    yield {
                        "predictor": predictor, "level": "task", "run_id": f"run-wf-{number}", "task_id": task, "metric": "execution",
                        "sla_percentile": percentile, "predicted": factor * took,
                    }  # fmt: skip


def score(**columns: Any) -> dict[str, Any]:
    return {
        "predictor": "boosted", "level": "task", "metric": "execution", "sla_percentile": 50.0, "rows_of": "all",
        "group_by": "all", "group_value": "", "n": 2 * RUNS, "median_relative_error": 0.1, "floor_relative_error": 0.08, **columns,
    }  # fmt: skip


def card(home: Home, number: int, text: str | None = None) -> None:
    """Write a card as training would, and make that version the current one."""
    folder = home.models / f"{number:06d}"
    folder.mkdir(parents=True)
    importance = [{"feature": name, "increase": rise} for name, rise in (("depth", 0.004), ("log_inputs", 0.5))]
    target = {"metric": "execution", "level": "task", "rows": 48, "seconds": 1.5, "features": ["depth", "log_inputs"]}
    whole = {
        "version": number, "created_at": f"2026-01-0{number}T10:00:00+00:00", "seed": 7, "data": {"runs": RUNS, "workflows": [dumps.HOSTILE]},
        "targets": [{**target, "importance": importance}], "scores": [{"metric": "execution", "level": "task", "median_relative_error": 0.25, "coverage": {"90": 0.88}}],
    }  # fmt: skip
    (folder / "card.json").write_text(json.dumps(whole) if text is None else text)
    current = home.models / "current"
    current.unlink(missing_ok=True)
    current.symlink_to(folder.name)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Home:
    root = tmp_path_factory.mktemp("evaluated")
    tables = dumps.merged(*(dumps.one_run(number) for number in range(RUNS)), dumps.one_run(59, "other", planned=False))
    home = dumps.take_in(root / "home", dumps.write(root / "dump", tables))
    with Writer(home) as writer:
        writer.put_results(
            {"predictions": pa.Table.from_pylist(list(rows())), "predictor_scores": pa.Table.from_pylist([score()])}
        )
        writer.publish()
    card(home, 1)
    card(home, 2)
    return home


def tables(at: AppTest, column: str) -> Any:
    """The table on the page that has this column."""
    return next(frame.value for frame in at.dataframe if column in frame.value.columns)


def test_without_an_evaluation_or_a_model_it_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = dumps.take_in(tmp_path / "home", dumps.write(tmp_path / "dump", dumps.one_run(1)))
    at = visit(home, "predictors", monkeypatch)
    assert not at.exception
    assert "Nothing evaluated yet. Hint: flowscope evaluate. Then this page shows which predictor is best" in said(at)
    assert "No model has been trained yet. Hint: flowscope train." in said(at)
    assert {button.label: button.disabled for button in at.button} == {"Train": False, "Evaluate": False}


def test_it_shows_who_is_best_and_by_how_much(evaluated: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(evaluated, "predictors", monkeypatch)
    assert not at.exception
    text = said(at)
    assert "Boosted trees predict **execution of a task** best: 10.0 % off at the median" in text
    assert "surely closer" in text
    assert "48 predictions of 24 runs, the same for all" in text
    board = tables(at, "to_engine")
    assert set(board["predictor"]) >= {"boosted", "log_log", "engine"}
    assert "execution of a task 8.00 % at the median" in text


def test_coverage_is_told_against_what_was_promised(evaluated: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(evaluated, "predictors", monkeypatch, coverage_by="function", percentile="p75")
    assert at.selectbox(key="coverage_by").value == "function"
    table = tables(at, "verdict")
    assert table[["group", "n", "runs", "coverage", "verdict"]].values.tolist() == [
        ["f", 48, 24, 1.0, "more than promised"]
    ]
    assert table["sharpness"][0] == pytest.approx((1.2 - 1.1) / 1.1)
    at = visit(evaluated, "predictors", monkeypatch, looked_at="log-log regression")
    table = tables(at, "verdict")
    assert table[["group", "coverage", "verdict"]].values.tolist() == [["PlannerA", 0.0, "too few covered"]]


def test_where_it_fails_is_named_and_linked(evaluated: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(evaluated, "predictors", monkeypatch, looked_at="log-log regression")
    assert (
        "Log-log regression is furthest off in workflow `wf`, environment `here`, function `f`, memory `1024` MB: 40.0 %"
        in said(at)
    )
    worst = tables(at, "observed")
    assert worst["run"][0] == "run?run=run-wf-23"
    assert worst[["predicted", "observed", "plan"]].iloc[0].tolist() == pytest.approx([1.4 * 2600, 2600, 100])


def test_filters_choose_the_runs_that_are_judged(evaluated: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(evaluated, "predictors", monkeypatch, workflow="other")
    assert not at.exception
    assert "Nothing was predicted of these runs but what the engine planned." in said(at)
    at = visit(evaluated, "predictors", monkeypatch, workflow="wf")
    assert "About 24 of 25 runs" in said(at)
    assert "48 predictions of 24 runs" in said(at)


def test_an_address_of_what_is_not_there_says_so(evaluated: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(evaluated, "predictors", monkeypatch, target="the weather", version="99")
    assert not at.exception
    assert "The address asks for a target that is not among these runs" in said(at)


def test_a_model_shows_what_it_learnt_and_its_card(evaluated: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(evaluated, "predictors", monkeypatch)
    assert at.selectbox(key="version").value == "2 (in use), made 2026-01-02 10:00"
    text = said(at)
    assert (
        "the error of **execution of a task** rises most with `log_inputs`: by 50.0 %. 1 of 2 features moves it by less"
        in text
    )
    facts = dict(tables(at, "what").values.tolist())
    assert (facts["version"], facts["runs it learnt from"], facts["seed"]) == ("2", "24", "7")
    predicted = tables(at, "coverage at p90")
    assert predicted.iloc[0].tolist() == ["execution of a task", 48, 1.5, 2, 0.25, 0.88]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"version": 3}',
        '{"version": 3, "targets": [{"importance": [{"feature": 1}], "features": 2}], "data": 5, "scores": {}}',
    ],
)
def test_an_odd_card_is_no_fault(text: str, evaluated: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(evaluated.root, home.root, symlinks=True)
    card(home, 3, text)
    at = visit(home, "predictors", monkeypatch)
    assert not at.exception
    assert ("The card of model 3 cannot be read" in said(at)) == (text == "{")


# training


def commands(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let the buttons run this script instead of flowscope."""
    monkeypatch.setattr(training, "command", lambda _home, name, *_options: [sys.executable, "-c", script, name])


def finished(at: AppTest, root: Path) -> None:
    """Wait until the command has ended, and draw the page again."""
    job = training.desk(str(root.resolve())).job
    assert job is not None
    end = time.monotonic() + 30
    while job.code is None and time.monotonic() < end:
        time.sleep(0.05)
    at.run()


@pytest.fixture
def small(tmp_path: Path) -> Home:
    return dumps.take_in(tmp_path / "home", dumps.write(tmp_path / "dump", dumps.one_run(1)))


def test_the_button_trains_and_shows_what_is_said(small: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    commands(monkeypatch, "import sys; print(sys.argv[1], 'execution: 48 rows in 1.5 s', file=sys.stderr)")
    at = visit(small, "predictors", monkeypatch)
    at.button(key="start-train").click().run()
    assert not at.exception
    finished(at, small.root)
    assert "flowscope train finished after" in at.success[0].value
    assert "train execution: 48 rows in 1.5 s" in said(at)
    assert not at.button(key="start-evaluate").disabled


def test_one_command_runs_at_a_time_and_can_be_stopped(small: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    commands(monkeypatch, "import time; print('begun', flush=True); time.sleep(60)")
    at = visit(small, "predictors", monkeypatch)
    at.button(key="start-evaluate").click().run()
    assert not at.exception
    assert at.button(key="start-train").disabled and at.button(key="start-evaluate").disabled
    at_desk = training.desk(str(small.root.resolve()))
    with pytest.raises(training.Busy, match="flowscope evaluate is still running"):
        at_desk.start("train")
    assert at_desk.job is not None
    end = time.monotonic() + 20
    while "begun" not in at_desk.job.lines and time.monotonic() < end:
        time.sleep(0.05)
    at.button(key="stop").click().run()
    finished(at, small.root)
    assert "flowscope evaluate was stopped" in at.info[0].value


def test_a_command_that_fails_says_why(small: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    commands(
        monkeypatch, "import sys; sys.exit('Error: The warehouse is being written by process 7. Hint: try again.')"
    )
    at = visit(small, "predictors", monkeypatch)
    at.button(key="start-evaluate").click().run()
    finished(at, small.root)
    assert "flowscope evaluate ended with an error (exit code 1)" in at.error[0].value
    assert "The warehouse is being written by process 7." in said(at)

"""Training: what the card says, which targets are fitted, and the same file whoever trains."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import predictors
from predictors import registry
from predictors.boosted import Median
from predictors.predictor import BadQuestion, Predictor
from predictors.replay import Models, prepare
from predictors.targets import EXECUTION, TIMES
from predictors.training import coarse_steps, data_of, importance, train
from tests.dumps import FLOWSCOPE, ROOT, flowscope
from tests.predictors.worlds import World, changed, home_of, remembered
from warehouse.home import Home

WORLD = World(runs=16)


def trained(history: Any, **more: Any) -> tuple[Predictor, dict[str, Any]]:
    return train(history, prepare(history), lambda _: None, **more)


def test_a_card_says_what_the_data_and_the_features_were_and_how_good_it_is() -> None:
    history = remembered(WORLD)
    told: list[str] = []
    _, card = train(history, prepare(history), told.append)
    assert card["data"] | {"fingerprint": ""} == {
        "runs": 16, "tasks": 80, "starts": 48, "first_submitted_at": "2026-01-01 00:00:00",
        "last_submitted_at": "2026-01-01 00:07:30", "workflows": ["diamond"], "environments": ["here"], "fingerprint": "",
    }  # fmt: skip
    targets = {target["metric"]: target for target in card["targets"]}
    assert list(targets) == [target.metric for target in TIMES]
    assert targets["execution"]["rows"] == 80
    assert {"function", "log_inputs", "log_memory", "function_took"} <= set(targets["execution"]["features"])
    assert targets["execution"]["importance"]
    scores = {(score["level"], score["metric"]): score for score in card["scores"]}
    assert scores["task", "execution"]["n"] == 75
    for score in scores.values():
        assert score["median_relative_error"] >= 0
        assert all(0 <= share <= 1 for share in score["coverage"].values())
    json.dumps(card, allow_nan=False)
    assert any(line.startswith("execution: 80 rows") for line in told)


def test_a_fingerprint_changes_with_any_value_and_with_nothing_else() -> None:
    history = remembered(WORLD)
    one = history.tasks["task_id"].eq("merge") & history.tasks["run_id"].eq("run-003")
    tasks = changed(history.tasks, one, upload_ms=1.25)
    prepared = prepare(history)
    same, other = (
        data_of(replace(history, tasks=each), prepared)["fingerprint"] for each in (history.tasks.copy(), tasks)
    )
    assert same == data_of(history, prepared)["fingerprint"] != other


def test_one_target_alone_is_fitted_and_nothing_else_is_answered() -> None:
    predictor, card = trained(remembered(WORLD), targets=[EXECUTION])
    assert [target["metric"] for target in card["targets"]] == ["execution"]
    tasks = pd.DataFrame({"function": ["work"]})
    assert len(predictor.predict(tasks, ("execution", "output_bytes"))) == 2
    with pytest.raises(BadQuestion, match="not trained for"):
        predictor.predict(tasks, ("startup",))
    answers = predictor.predict_runs(remembered(WORLD).only(["run-003"]))
    assert set(answers["metric"]) == {"execution", "output_bytes"}


def test_what_matters_is_found_to_matter() -> None:
    history = remembered(World(runs=40, noise=0.02))
    prepared = prepare(history)
    rows, took = prepared.tables["execution"], prepared.took["execution"]
    early = rows["run"].to_numpy() < 30
    models = Models({"execution": Median(EXECUTION, 0).fit(rows[early], took[early])})
    found = {each["feature"]: each["increase"] for each in importance(prepared, models, EXECUTION, 30, 0)}
    assert max(found, key=lambda name: found[name]) in {
        "log_inputs",
        "function",
        "function_took",
        "function_rate",
        "log_memory",
    }
    assert all(np.isfinite(list(found.values())))


def test_steps_cover_all_runs_but_the_first() -> None:
    assert coarse_steps(0) == coarse_steps(1) == []
    for runs in (2, 3, 40, 1000):
        blocks = coarse_steps(runs)
        assert [run for first, end in blocks for run in range(first, end)] == list(range(1, runs))


# the command


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a small world, in which models are trained."""
    return home_of(tmp_path_factory.mktemp("training"), WORLD)


def test_train_saves_a_version_that_python_and_rollback_find(home: Home) -> None:
    first, second = (flowscope(home.root, "train", "--seed", seed) for seed in (1, 2))
    assert (first.returncode, first.stdout, second.returncode) == (0, "", 0), first.stderr
    assert "Training on 16 runs, 80 tasks and 48 starts" in first.stderr
    assert "execution: 80 rows" in first.stderr
    before = registry.current(home)
    assert before is not None
    assert f"Saved version {before} in {home.models}" in second.stderr
    assert predictors.load(home.root).workflows == {"diamond": 16}
    assert flowscope(home.root, "train", "--rollback", before - 1).returncode == 0
    assert registry.current(home) == before - 1
    assert registry.load(home)[1]["seed"] == 1
    done = flowscope(home.root, "train", "--rollback", 99)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: No model 99 in ")


@pytest.mark.slow
def test_two_processes_train_the_same_file(home: Home) -> None:
    hashes = []
    for hash_seed in ("1", "2"):
        command = [*FLOWSCOPE, "train", "--seed", "5", "--home", str(home.root)]
        environment = {"PYTHONHASHSEED": hash_seed, "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, done.stderr
        hashes.append(registry.load(home)[1]["sha256"])
    assert hashes[0] == hashes[1]


@pytest.mark.slow
def test_an_interrupted_training_leaves_the_version_before_in_use(home: Home) -> None:
    if registry.current(home) is None:
        flowscope(home.root, "train")
    before, folders = registry.current(home), sorted(path.name for path in home.models.iterdir())
    command = [sys.executable, "-u", *FLOWSCOPE[1:], "train", "--home", str(home.root)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = process.stderr.readline()
        assert "Training on" in said
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) == 1
    assert "Traceback" not in rest
    assert "Interrupted" in rest
    assert registry.current(home) == before
    assert sorted(path.name for path in home.models.iterdir()) == folders
    registry.load(home)


def test_training_without_a_warehouse_or_runs_exits_1_and_says_so(tmp_path: Path) -> None:
    done = flowscope(tmp_path / "none", "train")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: No warehouse in ")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("arguments", [["--seed", "-1"], ["--target", "speed"], ["--rollback", "x"], ["more"]])
def test_wrong_usage_exits_2(home: Home, arguments: list[str]) -> None:
    done = flowscope(home.root, "train", *arguments)
    assert (done.returncode, done.stdout) == (2, "")

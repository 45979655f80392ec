"""F15: which predictor is best, judged on the rows that the engine's plans predicted too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from app.findings.evidence import Selection
from app.findings.finding import Answer
from app.findings.medians import BIN, medians
from app.findings.predictors import leaderboard
from app.markdown import to_html, to_text
from app.plain import plain
from tests.app.dumps import HOSTILE, merged, one_run, take_in, write
from tests.app.findings.homes import answer
from warehouse.home import Home

Tables = dict[str, list[dict[str, Any]]]
RUNS = 8


def predictions(tables: Tables, predictor: str, factor: float, percentile: float = 50, tasks: str = "ab") -> None:
    """Let somebody predict the execution of these tasks of a run as `factor` times what it took."""
    tables.setdefault("predictions", []).extend(
        {
            "predictor": predictor, "level": "task", "run_id": task["run_id"], "task_id": task["task_id"], "metric": "execution",
            "sla_percentile": percentile, "predicted": factor * task["execution_ms"],
        }
        for task in tables["tasks"]
        if task["task_id"][-1] in tasks
    )  # fmt: skip


def runs(**factors: float) -> Iterator[Tables]:
    """Eight runs of two tasks, whose execution each predictor predicts as so many times what it took.

    The plans predict 100 ms of every task. The first takes 200 ms: off by a half. The second takes 300 ms, 400 ms and so on to
    1,000 ms: off by 2/3 to 9/10. So the plans' median error over all sixteen is (1/2 + 2/3) / 2 = 7/12.
    """
    for number in range(RUNS):
        tables = one_run(number)
        for predictor, factor in factors.items():
            predictions(tables, predictor, factor)
        yield tables


def home_of(folder: Path, tables: Iterator[Tables] | list[Tables]) -> Home:
    return take_in(folder / "home", write(folder / "dump", merged(*tables)))


def of_execution(found: Answer) -> pd.DataFrame:
    """The rows of the table about the execution of tasks, by predictor."""
    return found.table[found.table["target"] == "execution of a task"].set_index("predictor")


def test_errors_and_ratios_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    found = answer(home_of(tmp_path, runs(boosted=1.1, log_log=1.2, empirical=0.7)), "F15")
    rows = of_execution(found)
    assert found.status == "answered"
    assert rows["error"].to_dict() == pytest.approx(
        {"engine": 7 / 12, "empirical": 0.3, "log_log": 0.2, "boosted": 0.1}
    )
    assert set(rows["n"]) == {2 * RUNS} and set(rows["runs"]) == {RUNS}
    assert rows["to_engine"]["boosted"] == pytest.approx(0.1 / (7 / 12))
    assert rows["to_simple"]["boosted"] == pytest.approx(0.1 / 0.2)
    assert rows["against_engine"]["boosted"] == rows["against_simple"]["boosted"] == "closer"
    assert found.effect is not None and found.effect.value == pytest.approx(12 / 70)
    text = to_text(found.sentence)
    assert "surely closer than the engine's plans for 1 of 1 thing predicted" in text
    assert "execution of a task 10.0 % off against 58.3 %" in text and "by boosted trees" in text
    assert "surely beats the best simple rival for 1 of 1" in text


def test_everybody_is_judged_on_the_rows_of_all(tmp_path: Path) -> None:
    many = list(runs(boosted=1.1))
    for tables in many:
        predictions(tables, "log_log", 1.2, tasks="b")
    rows = of_execution(answer(home_of(tmp_path, many), "F15"))
    assert set(rows["n"]) == {RUNS}
    # The second tasks alone: the plans are off by 2/3, 3/4, 4/5, 5/6, 6/7, 7/8, 8/9 and 9/10.
    assert rows["error"]["engine"] == pytest.approx((5 / 6 + 6 / 7) / 2)


def test_who_predicted_little_is_left_out_and_named(tmp_path: Path) -> None:
    many = list(runs(boosted=1.1))
    predictions(many[0], "log_log", 1.0)
    found = answer(home_of(tmp_path, many), "F15")
    assert set(of_execution(found).index) == {"engine", "boosted"}
    assert "log-log regression, with fewer than 50.0 % of the plans' rows" in found.left_out.replace("Log", "log")


def test_who_is_told_the_state_is_never_best(tmp_path: Path) -> None:
    found = answer(home_of(tmp_path, runs(boosted=1.2, boosted_given_state=1.01)), "F15")
    assert "20.0 % off" in to_text(found.sentence)
    assert "boosted_given_state" in set(found.table["predictor"])
    assert any("told the state" in caveat for caveat in found.caveats)


def test_plans_at_the_median_are_judged_apart(tmp_path: Path) -> None:
    many = list(runs(boosted=1.1))
    for tables in many[:2]:
        tables["plans"][0] |= {"sla": "p90", "sla_percentile": 90}
    rows = of_execution(answer(home_of(tmp_path, many), "F15"))
    # Six runs are left, off by a half in the first task; by 4/5, 5/6, ... 9/10 in the second: the median is halfway from 1/2 to 4/5.
    assert rows["n_p50"]["boosted"] == 12
    assert rows["to_engine_p50"]["boosted"] == pytest.approx(0.1 / ((1 / 2 + 4 / 5) / 2))


def test_other_percentiles_are_no_medians(tmp_path: Path) -> None:
    many = list(runs())
    for tables in many:
        predictions(tables, "boosted", 1.1, percentile=90)
    found = answer(home_of(tmp_path, many), "F15")
    assert found.status == "not enough data"
    assert "is the only predictor in this selection" in found.sentence


@pytest.mark.parametrize("planned", [True, False])
def test_too_little_says_what_is_missing(planned: bool, tmp_path: Path) -> None:
    many = [one_run(number, planned=planned) for number in range(5)]
    for tables in many:
        predictions(tables, "boosted", 1.1)
    found = answer(home_of(tmp_path, many), "F15")
    assert found.status == "not enough data"
    assert ("of no thing predicted 6 runs" if planned else "did two predict the same 6 runs") in found.sentence
    assert "flowscope evaluate" in found.would_change


def test_the_recorded_runs_alone_have_nothing_to_compare(sample_home: Home) -> None:
    found = answer(sample_home, "F15")
    assert (found.status, found.n > 0) == ("not enough data", True)
    assert "is the only predictor in this selection" in found.sentence


def test_only_the_runs_selected_count(tmp_path: Path) -> None:
    many = list(runs(boosted=1.1)) + [one_run(number, "other") for number in range(RUNS)]
    for tables in many[RUNS:]:
        predictions(tables, "boosted", 9)
    home = home_of(tmp_path, many)
    assert set(of_execution(answer(home, "F15"))["runs"]) == {2 * RUNS}
    chosen = of_execution(answer(home, "F15", Selection(values=(("workflow", ("wf",)),))))
    assert chosen["error"]["boosted"] == pytest.approx(0.1)
    assert set(chosen["runs"]) == {RUNS}
    nothing = answer(home, "F15", Selection(values=(("workflow", ("gone",)),)))
    assert (nothing.status, nothing.n) == ("not enough data", 0)


def test_where_the_plans_are_closest_nobody_is_said_to_beat_them(tmp_path: Path) -> None:
    found = answer(home_of(tmp_path, runs(boosted=3.0)), "F15")
    assert "no predictor is surely closer" in to_text(found.sentence)
    assert "The plans themselves are closest for execution of a task." in found.sentence


def test_a_hostile_name_is_text(tmp_path: Path) -> None:
    many = list(runs())
    for tables in many:
        predictions(tables, HOSTILE, 1.1)
    found = answer(home_of(tmp_path, many), "F15")
    assert f"by {plain(HOSTILE, 30)}" in found.sentence
    assert "<img" not in to_html(found.sentence)


def test_the_chance_of_a_cold_start_has_a_brier_score() -> None:
    # The plans say cold (1) or warm (0) and are wrong once in two: 0.5. The other is off by 0.1 every time: 0.01.
    rows = [
        {"predictor": name, "run_id": f"r{number}", "n": 2, "squared": squared}
        for number in range(8)
        for name, squared in (("engine", 1.0), ("boosted", 0.02))
    ]
    board = leaderboard(pd.DataFrame(columns=["level", "metric"]), pd.DataFrame(rows)).set_index("predictor")
    assert board["error"].to_dict() == pytest.approx({"engine": 0.5, "boosted": 0.01})
    assert board["to_engine"]["boosted"] == pytest.approx(0.02)
    assert set(board["error_is"]) == {"Brier score"}


# intervals


def world(rng: np.random.Generator, runs: int, each: int, ratio: float) -> tuple[pd.DataFrame, dict[str, float]]:
    """Errors of two predictors over the same rows; those of a run have something in common, and so have those of a row."""
    of_run = np.repeat(rng.normal(0, 0.8, runs), each)
    of_row = rng.normal(0, 0.6, runs * each)
    errors = {
        "a": np.exp(-1.5 + of_run + of_row + rng.normal(0, 0.5, runs * each)),
        "b": ratio * np.exp(-1.5 + of_run + of_row + rng.normal(0, 0.5, runs * each)),
    }
    frames = [
        pd.DataFrame(
            {"predictor": name, "block": np.repeat(np.arange(runs), each), "bin": np.floor(np.log(values) / BIN)}
        )
        for name, values in errors.items()
    ]
    counts = pd.concat(frames).value_counts().rename("n").reset_index()
    return counts, {name: float(np.median(values)) for name, values in errors.items()}


def test_intervals_of_ratios_hold_what_they_promise() -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(120):
        counts, seen = world(rng, runs=40, each=8, ratio=0.8)
        found = medians(counts, seen, 40).ratio("b", "a")
        assert found is not None
        held.append(found.low <= 0.8 <= found.high)
    assert 0.9 <= np.mean(held) <= 0.99


def test_equal_predictors_are_not_told_apart() -> None:
    rng = np.random.default_rng(1)
    decided = []
    for _ in range(200):
        counts, seen = world(rng, runs=12, each=5, ratio=1.0)
        found = medians(counts, seen, 12).ratio("b", "a")
        assert found is not None
        decided.append(found.decision in ("lower", "higher"))
    assert np.mean(decided) <= 0.07


def test_few_runs_and_exact_predictions_have_no_interval() -> None:
    counts, seen = world(np.random.default_rng(2), runs=5, each=5, ratio=1.0)
    assert medians(counts, seen, 5).ratio("b", "a") is None
    counts, seen = world(np.random.default_rng(2), runs=12, each=5, ratio=1.0)
    assert medians(counts, {**seen, "a": 0.0}, 12).ratio("b", "a") is None

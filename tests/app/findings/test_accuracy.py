"""F07: how far the plans are off, and whether that moves from the first third of each history to the last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from app.findings import accuracy
from app.findings.evidence import Selection, of_reader
from tests.app.dumps import HOSTILE, merged, one_run, take_in, write
from tests.app.findings.homes import answer
from warehouse.connection import open_current
from warehouse.home import Home


def run_off_by(number: int, factor: float, **run: Any) -> dict[str, list[dict[str, Any]]]:
    """A run of its own input whose makespan was `1 + 0.1 * number` s and was predicted `factor` times as long."""
    tables = one_run(number, **run)
    tables["planned_tasks"][1]["completion_offset_ms"] = (1000 + 100 * number) * factor
    tables["tasks"][0]["literal_bytes"] = 1000 + number
    return tables


def errors(*rows: tuple[str, float, str, int]) -> pd.DataFrame:
    """Errors of makespan: (history, relative error, input, place) of histories of three."""
    return pd.DataFrame(
        [
            {"metric": "makespan", "run_id": f"r{i}", "workflow": "w", "planner": "p", "sla": "p50", "history": history,
             "input": given, "relative_error": error, "predicted_to_actual": 1 + error, "place": place, "length": 3,
             "is_early": place == 1, "is_late": place == 3}
            for i, (history, error, given, place) in enumerate(rows)
        ]
    )  # fmt: skip


def thirds(seed: int, change: float, *, strata: int = 4, histories: int = 3, each: int = 4) -> pd.DataFrame:
    """Errors of the first and last thirds of histories, of lognormal spread, the late ones `change` times as large."""
    rng = np.random.default_rng(seed)
    shape = (strata, histories, 2, each)
    late = np.broadcast_to(np.array([False, True])[:, None], shape)
    stratum = np.broadcast_to(np.arange(strata)[:, None, None, None], shape)
    values = np.exp(rng.normal(-1.5 + 0.3 * stratum, 0.6)) * np.where(late, change, 1.0)
    return pd.DataFrame(
        {"workflow": stratum.ravel(), "planner": "p", "is_early": ~late.ravel(), "is_late": late.ravel(),
         "relative_error": values.ravel(), "predicted_to_actual": 1 + values.ravel()}
    )  # fmt: skip


def test_errors_of_hand_made_runs_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    # Nine runs of one history: off by 80 % in the first third, 40 % in the second, 20 % in the last, always too high.
    factors = [1.8] * 3 + [1.4] * 3 + [1.2] * 3
    home = take_in(tmp_path / "h", write(tmp_path / "d", merged(*(run_off_by(i, f) for i, f in enumerate(factors)))))
    found = answer(home, "F07")
    row = found.table.set_index("metric").loc["makespan"]
    assert (row["runs"], row["runs_early"], row["runs_late"]) == (9, 3, 3)
    assert row["median_relative_error"] == pytest.approx(0.4)
    assert row["early_relative_error"] == pytest.approx(0.8)
    assert row["late_relative_error"] == pytest.approx(0.2)
    assert row["accuracy"] == "too few", "three runs on a side are not six"
    assert found.effect is None
    assert "**40.0 %**" in found.sentence
    assert found.n == 9
    assert "takes 6 runs in the first thirds of histories and as many in the last (here 3 and 3)" in found.sentence


def test_two_planners_with_the_same_improvement_are_called_better(tmp_path: Path) -> None:
    factors = [1.8, 1.81, 1.82, 1.4, 1.4, 1.4, 1.2, 1.21, 1.22]
    runs = [run_off_by(i, f, workflow=w) for w in ("one", "two") for i, f in enumerate(factors)]
    found = answer(take_in(tmp_path / "h", write(tmp_path / "d", merged(*runs))), "F07")
    assert found.effect is not None
    assert found.effect.value == pytest.approx(0.21 / 0.81)
    assert found.effect.high is not None and found.effect.high < 1
    assert ": better" in found.sentence
    assert found.n == 18


def test_a_replayed_experiment_counts_once() -> None:
    one = errors(("a", 0.4, "x", 1), ("a", 0.3, "y", 2), ("a", 0.2, "z", 3))
    again = errors(*[(h, e, i, p) for h in "abcde" for e, i, p in ((0.4, "x", 1), (0.3, "y", 2), (0.2, "z", 3))])
    assert len(accuracy.ends(one)) == len(accuracy.ends(again)) == 2


def test_the_same_input_at_different_places_of_a_history_counts_each_time() -> None:
    same = errors(("a", 0.4, "x", 1), ("a", 0.3, "x", 1), ("a", 0.2, "x", 3), ("a", 0.1, "x", 3))
    assert len(accuracy.ends(same)) == 4


def test_metrics_predicted_exactly_are_told_by_that_share_not_by_a_ratio() -> None:
    rows = pd.concat([errors(*((h, 0.0, h, p) for p in (1, 2, 3))) for h in "abcdefgh"])
    row = accuracy.by_metric(rows).iloc[0]
    assert (row["accuracy"], row["share_exact"], row["late_to_early"]) == ("mostly exact", 1.0, None)


def test_a_few_exact_predictions_keep_their_rank_in_the_ratio() -> None:
    some = thirds(1, 0.5)
    exact = some.assign(
        relative_error=some["relative_error"].where(some["relative_error"] != some["relative_error"].min(), 0)
    )
    a, b = accuracy.compared(some, 0.95), accuracy.compared(exact, 0.95)
    assert a and b
    assert a.n == b.n == len(some)
    assert b.value == pytest.approx(a.value)


def test_halved_errors_are_found_and_unchanged_ones_are_not_called_changed() -> None:
    found = [accuracy.compared(thirds(seed, 0.5), 0.95) for seed in range(200)]
    flat = [accuracy.compared(thirds(seed, 1.0), 0.95) for seed in range(200)]
    assert sum(f is not None and f.decision == "lower" for f in found) >= 0.95 * 200
    assert sum(f is not None and f.decision in ("lower", "higher") for f in flat) <= 0.07 * 200


def metric(name: str, runs: int, off_by: float, **row: Any) -> dict[str, Any]:
    """A row of `by_metric` whose accuracy could not be compared."""
    return {"metric": name, "runs": runs, "runs_early": 0, "runs_late": 0, "median_relative_error": off_by,
            "early_relative_error": off_by, "late_relative_error": off_by, "accuracy": "too few", **row}  # fmt: skip


def test_why_it_cannot_be_told_whether_errors_move_is_the_reason_that_holds() -> None:
    def said(**row: Any) -> str:
        return accuracy._sentence(pd.DataFrame([metric("makespan", 60, 0.1, **row)]), None)

    assert "(here 5 and 5)" in said(runs_early=5, runs_late=5)
    assert "too few workflows and planners have 3 runs in the first" in said(runs_early=12, runs_late=12)
    exact = said(runs_early=12, runs_late=12, accuracy="mostly exact")
    assert "too many predictions are exact" in exact
    assert "workflows" not in exact


def test_thirds_that_are_predicted_exactly_have_no_ratio_though_most_runs_are_not() -> None:
    short = errors(*((f"s{i}", 0.3, f"s{i}", 2) for i in range(200)))
    exact = errors(*((h, 0.0, h, p) for h in "abcdefgh" for p in (1, 3)))
    row = accuracy.by_metric(pd.concat([short, exact])).iloc[0]
    assert (row["accuracy"], row["share_exact"] < accuracy.MOSTLY_EXACT) == ("mostly exact", True)


def test_the_metric_furthest_off_is_not_one_that_a_single_run_tells() -> None:
    rows = [metric("makespan", 20, 0.1), metric("execution", 20, 0.5), metric("start-up", 1, 332.0)]
    assert accuracy._sentence(pd.DataFrame(rows), None).endswith("Furthest off is execution (50.0 %).")
    assert "further off" not in accuracy._sentence(pd.DataFrame([rows[0], rows[2]]), None)


def test_bias_is_too_high_too_low_or_right_within_five_percent() -> None:
    def late(ratios: list[float]) -> pd.DataFrame:
        return pd.DataFrame({"is_late": True, "predicted_to_actual": ratios})

    assert accuracy.bias(late([1.2, 1.3, 1.4, 1.5, 1.6, 1.7]), 0.95)[1] == "too high"
    assert accuracy.bias(late([0.2, 0.3, 0.4, 0.5, 0.6, 0.7]), 0.95)[1] == "too low"
    assert accuracy.bias(late([0.98, 0.99, 1.0, 1.0, 1.01, 1.02]), 0.95)[1] == "within 5 %"
    assert accuracy.bias(late([0.5, 0.6, 0.9, 1.1, 1.4, 1.9]), 0.95)[1] == "undecided"
    assert accuracy.bias(late([0.5] * 5), 0.95) == (None, "too few")


def test_recorded_runs_have_the_errors_that_sql_finds(sample_home: Home) -> None:
    sql = """
        select e.metric, count(*) as n, median(abs(e.predicted - e.actual) / e.actual) as error
        from prediction_errors as e where e.predictor = 'engine' and e.level = 'run' and e.actual > 0 and e.predicted is not null
        group by 1
    """
    with open_current(sample_home) as reader:
        expected = {row["metric"]: row for row in reader.frame(sql, {}).to_dict("records")}
    found = answer(sample_home, "F07")
    assert found.status == "answered"
    for metric, name in accuracy.NAMES.items():
        row = found.table.set_index("metric").loc[name]
        assert row["runs"] == expected[metric]["n"]
        assert row["median_relative_error"] == pytest.approx(expected[metric]["error"])
    assert found.effect is not None
    assert found.n == max(row["n"] for row in expected.values())


def test_a_selection_is_respected(sample_home: Home) -> None:
    part = answer(sample_home, "F07", Selection(values=(("planner", ("UniformPlanner",)),)))
    assert 0 < part.n < answer(sample_home, "F07").n


@pytest.mark.parametrize("name", ["nobody", "WUKONGPlanner"])
def test_selections_without_predictions_say_so(sample_home: Home, name: str) -> None:
    found = answer(sample_home, "F07", Selection(values=(("planner", (name,)),)))
    assert found.status == "not enough data"
    assert "none has a prediction" in found.sentence


def test_a_single_run_and_hostile_names_give_an_answer(tmp_path: Path) -> None:
    one = answer(take_in(tmp_path / "a", write(tmp_path / "da", one_run(1))), "F07")
    assert one.status == "not enough data"
    assert "1 run" in one.sentence
    runs = [run_off_by(i, 1.5, workflow=HOSTILE, planner=HOSTILE) for i in range(12)]
    hostile = answer(take_in(tmp_path / "b", write(tmp_path / "db", merged(*runs))), "F07")
    assert hostile.status == "answered"
    assert "<img" not in hostile.sentence + hostile.left_out + "".join(hostile.caveats)


def test_an_empty_warehouse_of_runs_gives_an_answer(tmp_path: Path) -> None:
    found = answer(take_in(tmp_path / "h", write(tmp_path / "d", one_run(1, planned=False))), "F07")
    assert (found.status, found.n) == ("not enough data", 0)


def test_the_statements_shown_read_the_selected_runs(sample_home: Home) -> None:
    with open_current(sample_home) as reader:
        evidence = of_reader(reader)
        accuracy.QUESTIONS[0].compute(evidence)
    assert evidence.statements
    assert all("selected_runs" in statement for statement in evidence.statements)

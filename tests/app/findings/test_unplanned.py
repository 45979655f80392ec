"""What the answers say of runs that nobody planned, before and after predictors were evaluated on them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from app.findings.evidence import Selection, of_reader
from app.findings.unplanned import Unplanned, asked, unplanned
from app.markdown import to_html
from app.predicted import ENGINE
from tests.app.dumps import HOSTILE, merged, one_run, take_in, write
from tests.app.findings.homes import answer
from warehouse.connection import open_current
from warehouse.home import Home

RUNS = 18


def run(number: int, engine: str | None = "other", **predicted: tuple[float, float, float]) -> dict[str, Any]:
    """A run that nobody planned, of `1 + 0.1 * number` s, which predictors put at these multiples at p50, p75 and p90."""
    tables = one_run(number, planned=False)
    (row,) = tables["runs"]
    row["engine"] = engine
    del row["planner"]
    tables["predictions"] = [
        {"predictor": name, "level": "run", "run_id": row["run_id"], "metric": "makespan", "sla_percentile": percentile,
         "predicted": (1000 + 100 * number) * factor}
        for name, factors in predicted.items()
        for percentile, factor in zip((50, 75, 90), factors, strict=True)
    ]  # fmt: skip
    return tables


def home_of(folder: Path, *runs: dict[str, Any]) -> Home:
    return take_in(folder / "home", write(folder / "dump", merged(*runs)))


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return home_of(tmp_path_factory.mktemp("silent"), *(run(number) for number in range(RUNS)))


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """At p50 the rule is off by 40 %, the model by 20 %, the quantiles by 10 %: too low, and p90 too high."""
    factors = {"engine_rule": (0.6, 0.7, 0.8), "boosted": (0.8, 0.9, 1.5), "empirical": (0.9, 0.95, 1.5)}
    return home_of(tmp_path_factory.mktemp("evaluated"), *(run(number, **factors) for number in range(RUNS)))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Home:
    planned = [one_run(number) for number in range(8)]
    late = run(40, "third")
    late["runs"][0]["submitted_at"] = "2026-02-01T00:00:00"
    return home_of(tmp_path_factory.mktemp("mixed"), *planned, run(20), run(21), late)


@pytest.mark.parametrize("code", ["F07", "F08", "F15", "F23"])
def test_without_plans_the_answer_says_so_once_and_whose_runs_they_are(code: str, silent: Home) -> None:
    found = answer(silent, code)
    assert found.status == "not enough data"
    assert found.sentence.startswith("No plans in this source (`other`): nobody predicted the 18 runs beforehand.")
    if code != "F23":
        assert "flowscope evaluate" in found.would_change


def test_where_one_source_of_several_has_no_plans_it_is_named(mixed: Home) -> None:
    with open_current(mixed) as reader:
        all_runs = unplanned(of_reader(reader))
        assert all_runs == Unplanned(("other", "third"), 3, is_all=False)
        assert all_runs.sentence == "No plans in 3 runs of `other`, `third`: these sources record none."
        january = unplanned(of_reader(reader, Selection(until=date(2026, 1, 31), values=(("planner", (None,)),))))
        assert january.sentence == "No plans in this source (`other`): nobody predicted the 2 runs beforehand."
        assert unplanned(of_reader(reader, Selection(values=(("planner", ("PlannerA",)),)))).sentence == ""
    assert "3 are of `other`, `third`, which record no plans" in answer(mixed, "F07").left_out
    assert answer(mixed, "F07").sentence.startswith("The engine's plans are off by")


def test_an_engine_that_plans_other_runs_is_not_called_a_source_without_plans(tmp_path: Path) -> None:
    home = home_of(tmp_path, one_run(1), one_run(2, planned=False))
    with open_current(home) as reader:
        assert unplanned(of_reader(reader)).sentence == ""


def test_engines_without_a_name_and_hostile_ones_are_told(tmp_path: Path) -> None:
    with open_current(home_of(tmp_path / "a", run(1, None))) as reader:
        assert unplanned(of_reader(reader)).sentence == (
            "No plans in this source (engines without a name): nobody predicted the run beforehand."
        )
    with open_current(home_of(tmp_path / "b", run(1, HOSTILE))) as reader:
        html = to_html(unplanned(of_reader(reader)).sentence)
    assert "<code>&lt;img" in html and "<img" not in html


def test_the_closest_predictor_stands_in_for_plans_that_are_not_there(
    evaluated: Home, mixed: Home, silent: Home
) -> None:
    for home, who in ((evaluated, "empirical"), (mixed, ENGINE), (silent, ENGINE)):
        with open_current(home) as reader:
            assert asked(of_reader(reader)) == who


def test_accuracy_over_time_is_that_of_the_closest_predictor(evaluated: Home) -> None:
    found = answer(evaluated, "F07")
    assert found.status == "answered" and found.n == RUNS
    row = found.table.set_index("metric").loc["makespan"]
    # Off by 10 % in every run: no change from the first third to the last, six runs each.
    assert row["median_relative_error"] == pytest.approx(0.1)
    assert (row["runs_early"], row["runs_late"], row["late_to_early"]) == (6, 6, pytest.approx(1))
    assert (
        "the closest of what was evaluated, quantiles of the group, is off by **10.0 %** in makespan" in found.sentence
    )
    said = " ".join((found.sentence, found.left_out, *found.caveats))
    assert "engine's plans" not in said and "The engine learns" not in said


def test_promises_are_those_of_the_closest_predictor(evaluated: Home) -> None:
    found = answer(evaluated, "F08")
    verdicts = found.table.set_index("sla")["verdict"].to_dict()
    assert verdicts == {"p50": "broken", "p75": "broken", "p90": "undecided"}, (
        "18 of 18 within: Wilson's low end is .82"
    )
    assert found.n == RUNS, "each run once, though it was predicted at three percentiles"
    assert found.effect is None and set(found.table["planner"]) == {"(all)"}
    assert "so no SLA changed any; of what quantiles of the group promised" in found.sentence
    assert "100 % of 18 runs predicted at p90 stayed within" in found.sentence


def test_predictors_are_judged_beside_each_other_and_the_rule(evaluated: Home) -> None:
    found = answer(evaluated, "F15")
    rows = found.table.set_index("predictor")
    assert found.status == "answered"
    assert rows["error"].to_dict() == pytest.approx({"engine_rule": 0.4, "boosted": 0.2, "empirical": 0.1})
    assert rows["to_engine"]["empirical"] == pytest.approx(0.1 / 0.4)
    assert rows["against_engine"]["empirical"] == "closer"
    assert rows["to_engine_p50"].isna().all() and pd.isna(rows["to_engine"]["engine_rule"])
    assert (
        "Closest of what was evaluated, on the same rows: makespan of a run 10.0 % off, by quantiles of the group."
        in found.sentence
    )
    assert found.sentence.startswith("No run here was planned. ")
    assert "Surely closer than the engine's rule, replayed, for 1 of 1 thing" in found.sentence
    assert "engine's plans" not in found.sentence + found.left_out + " ".join(found.caveats)


def test_without_the_rule_predictors_are_still_judged_beside_each_other(tmp_path: Path) -> None:
    factors = {"boosted": (0.8, 0.9, 1.5), "empirical": (0.9, 0.95, 1.5)}
    found = answer(home_of(tmp_path, *(run(number, **factors) for number in range(8))), "F15")
    assert found.status == "answered" and found.effect is None
    assert "by quantiles of the group" in found.sentence and "rule" not in found.sentence

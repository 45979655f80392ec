"""prediction_accuracy_over_time: ordinals, rolling and expanding medians, coverage."""

import random
from math import log
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.views import Row, at, derived


def history(errors: list[float | None], **run: object) -> dict[str, list[Row]]:
    """Runs in order of submission whose makespan is 1000 ms and was predicted with those relative errors (signed)."""
    names = [f"r{i:03d}" for i in range(len(errors))]
    same = {"workflow": "w", "planner": "p", "sink_task_id": "t"} | run
    return {
        "runs": [same | {"run_id": name, "submitted_at": at(i)} for i, name in enumerate(names)],
        "tasks": [
            {"run_id": name, "task_id": "t", "started_at": at(i), "execution_ms": 1000.0} for i, name in enumerate(names)
        ],
        "predictions": [
            {
                "predictor": "m", "level": "run", "run_id": name, "metric": "makespan", "sla_percentile": 50.0,
                "predicted": None if error is None else 1000 * (1 + error),
            }
            for name, error in zip(names, errors, strict=True)
        ],
    }  # fmt: skip


def over_time(tables: dict[str, list[Row]], **wanted: object) -> list[Row]:
    rows = derived("prediction_accuracy_over_time", **tables)
    rows = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return sorted(rows, key=lambda row: row["run_ordinal"])


def test_medians_expand_run_by_run():
    rows = over_time(history([0.5, -0.1, 0.2]))
    assert [row["run_id"] for row in rows] == ["r000", "r001", "r002"]
    assert [row["run_ordinal"] for row in rows] == [1, 2, 3]
    assert [row["n"] for row in rows] == [1, 2, 3]
    assert [row["relative_error"] for row in rows] == pytest.approx([0.5, 0.1, 0.2])
    assert [row["expanding_relative_error"] for row in rows] == pytest.approx(
        [0.5, 0.3, 0.2]
    )  # median .5, .5 .1, .5 .1 .2
    assert [row["expanding_coverage"] for row in rows] == pytest.approx([1, 1 / 2, 2 / 3])  # predicted too low once
    # ln 1.5 = .405465, ln .9 = -.105361, ln 1.2 = .182322
    assert [row["expanding_log_ratio"] for row in rows] == pytest.approx([0.405465, 0.150052, 0.182322], abs=1e-6)


def test_rolling_figures_forget_what_is_older_than_twenty_runs():
    rows = over_time(history([-0.8] * 20 + [0.1] * 20))
    assert [row["rolling_n"] for row in rows] == [*range(1, 21), *[20] * 20]
    assert rows[19]["rolling_relative_error"] == pytest.approx(0.8)
    assert rows[28]["rolling_relative_error"] == pytest.approx(0.8)  # 11 old, 9 new
    assert rows[29]["rolling_relative_error"] == pytest.approx(0.45)  # 10 and 10
    assert rows[30]["rolling_relative_error"] == pytest.approx(0.1)
    assert [rows[i]["rolling_coverage"] for i in (19, 24, 39)] == pytest.approx([0, 0.25, 1])
    assert (rows[39]["n"], rows[39]["expanding_coverage"]) == (40, 0.5)
    assert rows[39]["expanding_relative_error"] == pytest.approx(0.45)


def test_order_is_that_of_submission_and_then_of_names():
    tables = history([0.1, 0.2, 0.3])
    for run, ms in zip(tables["runs"], (5, 1, 1), strict=True):
        run["submitted_at"] = at(ms)
    assert [row["run_id"] for row in over_time(tables)] == ["r001", "r002", "r000"]


def test_a_run_without_an_error_keeps_its_place_and_is_not_counted():
    rows = over_time(history([0.5, None, 0.1]))
    assert [row["n"] for row in rows] == [1, 1, 2]
    assert [row["relative_error"] for row in rows] == [pytest.approx(0.5), None, pytest.approx(0.1)]
    assert [row["expanding_relative_error"] for row in rows] == pytest.approx([0.5, 0.5, 0.3])
    # a prediction of 0 has an error, but no logarithm: ln .5 = -.693147
    ratios = [row["expanding_log_ratio"] for row in over_time(history([-1, -0.5, -1]))]
    assert ratios == [None, pytest.approx(log(0.5)), pytest.approx(log(0.5))]
    (only,) = over_time(history([None]))
    figures = (
        "relative_error",
        "rolling_relative_error",
        "rolling_log_ratio",
        "rolling_coverage",
        "expanding_coverage",
    )
    assert [only[name] for name in figures] == [None] * 5
    assert (only["n"], only["rolling_n"]) == (0, 0)


def test_a_run_without_a_submission_time_has_no_place():
    tables = history([0.1, 0.2])
    del tables["runs"][0]["submitted_at"]
    assert [(row["run_id"], row["run_ordinal"]) for row in over_time(tables)] == [("r001", 1)]


@pytest.mark.parametrize("missing", ["workflow", "planner"])
def test_runs_without_a_workflow_or_planner_make_a_series_too(missing: str):
    assert [row["n"] for row in over_time(history([0.1, 0.2], **{missing: None}))] == [1, 2]


def test_each_workflow_planner_and_sla_has_its_own_series():
    tables = history([0.1, 0.2, 0.3, 0.4])
    tables["runs"][1]["workflow"] = "v"
    tables["runs"][2]["planner"] = "q"
    tables["predictions"] += [row | {"sla_percentile": 90.0} for row in tables["predictions"]]
    tables["predictions"] += [row | {"sla_percentile": None} for row in tables["predictions"][:4]]
    rows = over_time(tables, sla="p50")
    assert sorted((row["run_id"], row["run_ordinal"]) for row in rows) == [
        ("r000", 1),
        ("r001", 1),
        ("r002", 1),
        ("r003", 2),
    ]
    assert {len(over_time(tables, sla=sla)) for sla in ("p50", "p90", "average")} == {4}


def test_the_recorded_plan_of_a_run_without_an_sla_makes_a_series_too():
    tables = history([0.1, 0.2])
    tables["planned_tasks"] = [
        {"run_id": row["run_id"], "task_id": "t", "execution_ms": 1500.0} for row in tables["runs"]
    ]
    rows = over_time(tables, level="task", metric="execution")
    assert [(row["sla"], row["n"], row["expanding_relative_error"]) for row in rows] == [(None, 1, 0.5), (None, 2, 0.5)]


def test_at_task_level_a_run_brings_all_its_tasks_and_has_one_row():
    tables = history([0, 0])
    tables["tasks"] += [row | {"task_id": "u"} for row in tables["tasks"]]
    tables["predictions"] = [
        {
            "predictor": "m", "level": "task", "run_id": run, "task_id": task, "metric": "execution",
            "sla_percentile": 50.0, "predicted": predicted,
        }
        for run, task, predicted in [
            ("r000", "t", 1100.0), ("r000", "u", 1300.0), ("r001", "t", 900.0), ("r001", "u", 2000.0),
        ]
    ]  # fmt: skip
    first, second = over_time(tables)
    assert (first["n"], second["n"]) == (2, 4)
    assert (first["relative_error"], second["relative_error"]) == pytest.approx((0.2, 0.55))  # of .1 .3; of .1 1
    assert (first["expanding_relative_error"], second["expanding_relative_error"]) == pytest.approx(
        (0.2, 0.2)
    )  # of .1 .1 .3 1
    assert (first["expanding_coverage"], second["expanding_coverage"]) == (1, 0.75)


def test_a_state_has_no_accuracy_here():
    tables = history([0.1])
    tables["invocations"] = [{"invocation_id": "i", "run_id": "r000", "reported_state": "cold"}]
    tables["predictions"] = [
        {
            "predictor": "m",
            "level": "invocation",
            "run_id": "r000",
            "invocation_id": "i",
            "metric": "state",
            "predicted": 1.0,
        }
    ]
    assert over_time(tables) == []


@settings(max_examples=10, deadline=None)
@given(st.lists(st.none() | st.floats(-0.9, 3), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_figures_are_those_of_the_definition_whatever_the_order_of_rows(
    errors: list[float | None], shuffling: random.Random
):
    tables = {name: shuffling.sample(rows, len(rows)) for name, rows in history(errors).items()}
    rows = over_time(tables)
    assert [row["run_ordinal"] for row in rows] == list(range(1, len(errors) + 1))
    for i, row in enumerate(rows):
        for prefix, window in (("rolling", errors[max(0, i - 19) : i + 1]), ("expanding", errors[: i + 1])):
            known = [abs(error) for error in window if error is not None]
            assert row["rolling_n" if prefix == "rolling" else "n"] == len(known)
            expected = median(known) if known else None
            assert row[f"{prefix}_relative_error"] == (
                expected if expected is None else pytest.approx(expected, abs=1e-9)
            )

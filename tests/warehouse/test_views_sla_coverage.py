"""sla_coverage: the share covered and its interval, and the engine's own notion of fulfilment beside it."""

import random
from math import sqrt

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.views import Row, at, derived, one
from warehouse.schema import ddl
from warehouse.views import create_views

Tables = dict[str, list[Row]]
KEY = ("predictor", "level", "workflow", "planner", "sla", "sla_percentile", "metric")
Z = 1.959964  # the normal's 97.5 % quantile
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 9: 2.262, 19: 2.093, 60: 2.000}  # textbook, 97.5 %


def promised_runs(*pairs: tuple[float | None, float | None], percentile: float | None = 75, **run: object) -> Tables:
    """Runs a millisecond apart, each of one task: its actual makespan and the predicted one. Without an actual, no task."""
    names = [f"{run.get('workflow', 'w')}{number:04d}" for number in range(len(pairs))]
    same = {"workflow": "w", "planner": "p", "sink_task_id": "t"} | run
    return {
        "runs": [same | {"run_id": name, "submitted_at": at(i)} for i, name in enumerate(names)],
        "tasks": [
            {"run_id": name, "task_id": "t", "started_at": at(i), "execution_ms": actual}
            for i, (name, (actual, _)) in enumerate(zip(names, pairs, strict=True))
            if actual is not None
        ],
        "predictions": [
            {"predictor": "m", "level": "run", "run_id": name, "metric": "makespan"}
            | {"sla_percentile": percentile, "predicted": predicted}
            for name, (_, predicted) in zip(names, pairs, strict=True)
        ],
    }


def promised_tasks(*runs: str, percentile: float | None = 75, workflow: str = "w") -> Tables:
    """Runs of tasks predicted to take 100 ms: '+' took 100 (covered), '-' 140, '?' left no metrics."""
    tables: Tables = {"runs": [], "tasks": [], "predictions": []}
    for number, tasks in enumerate(runs):
        run = f"{workflow}{number}"
        tables["runs"].append({"run_id": run, "workflow": workflow, "planner": "p", "submitted_at": at(number)})
        for task, outcome in enumerate(tasks):
            key = {"run_id": run, "task_id": f"t{task}"}
            if outcome != "?":
                took = 100.0 if outcome == "+" else 140.0
                tables["tasks"].append(key | {"started_at": at(0), "execution_ms": took})
            tables["predictions"].append(
                key
                | {"predictor": "m", "level": "task", "metric": "execution"}
                | {"sla_percentile": percentile, "predicted": 100.0}
            )
    return tables


def together(*parts: Tables) -> Tables:
    return {
        name: [row for part in parts for row in part.get(name, [])] for name in {key for part in parts for key in part}
    }


def coverage(tables: Tables, **wanted: object) -> list[Row]:
    rows = derived("sla_coverage", **tables)
    assert len({tuple(row[name] for name in KEY) for row in rows}) == len(rows)
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def wilson(share: float, n: float, z: float = Z) -> tuple[float, float]:
    """Wilson's interval as textbooks have it."""
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half_width = z / (1 + z**2 / n) * sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return (0 if share == 0 else centre - half_width, 1 if share == 1 else centre + half_width)


def student(df: int, z: float = Z) -> float:
    """Student's t from the normal quantile: Abramowitz and Stegun, 26.7.5."""
    return (
        z
        + (z**3 + z) / 4 / df
        + (5 * z**5 + 16 * z**3 + 3 * z) / 96 / df**2
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384 / df**3
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160 / df**4
    )


def by_run(runs: list[list[bool]]) -> tuple[float, float, float]:
    """The share covered and its interval, each run left out in turn."""
    runs = [run for run in runs if run]
    n = sum(len(run) for run in runs)
    covered = sum(sum(run) for run in runs)
    share = covered / n
    n_effective = float(len(runs))
    if len(runs) > 1 and 0 < share < 1:
        without = [(covered - sum(run)) / (n - len(run)) for run in runs]
        mean = sum(without) / len(runs)
        variance = (len(runs) - 1) / len(runs) * sum((other - mean) ** 2 for other in without)
        n_effective = min(n, 1 + share * (1 - share) / variance) if variance > 1e-12 else n
    z = student(len(runs) - 1) if n > len(runs) > 1 else Z
    return (share, *wilson(share, n_effective, z))


def interval(row: Row) -> tuple[float, float]:
    return row["coverage_low"], row["coverage_high"]


def test_coverage_is_the_share_of_actual_values_at_or_below_the_prediction():
    """Of four runs two stay below, one meets its prediction exactly, one is late by 40."""
    row = one(coverage(promised_runs((90, 100), (100, 100), (140, 100), (10, 100))))
    assert (row["coverage"], row["nominal"]) == (3 / 4, 3 / 4)
    assert (row["n_predicted"], row["n"], row["runs"]) == (4, 4, 4)
    assert (row["predictor"], row["level"], row["metric"], row["sla"]) == ("m", "run", "makespan", "p75")
    # below by 10, 0 and 90 at 1 - .75 of it, late by 40 at .75 of it: (2.5 + 0 + 22.5 + 30) / 4
    assert row["pinball_loss"] == pytest.approx(13.75)


def test_the_interval_of_single_values_is_wilsons():
    """Three of four: (.75 + 3.8415 / 8) / (1 + 3.8415 / 4) = .62754, +- .32680."""
    row = one(coverage(promised_runs((90, 100), (100, 100), (140, 100), (10, 100))))
    assert interval(row) == pytest.approx((0.30064, 0.95441), abs=2e-4)
    assert interval(row) == pytest.approx(wilson(3 / 4, 4))


def test_where_all_or_none_are_covered_the_interval_ends_there_and_each_run_counts_once():
    full = one(coverage(promised_runs(*[(90, 100)] * 10)))
    # z^2 / (10 + z^2) = 3.8415 / 13.8415
    assert (full["coverage"], *interval(full)) == pytest.approx((1, 1 - 0.27754, 1), abs=1e-4)
    none = one(coverage(promised_runs(*[(110, 100)] * 10)))
    assert (none["coverage"], *interval(none)) == pytest.approx((0, 0, 0.27754), abs=1e-4)
    tasks = one(coverage(promised_tasks(*["++++"] * 10)))  # 40 tasks of 10 runs: t of 9, 2.262^2 / (10 + 2.262^2)
    assert (tasks["n"], *interval(tasks)) == pytest.approx((40, 1 - 5.1166 / 15.1166, 1), abs=1e-3)


def test_a_single_run_is_one_observation_however_many_tasks_it_has():
    row = one(coverage(promised_tasks("+++-" * 25)))
    assert (row["coverage"], row["n"], row["runs"]) == (0.75, 100, 1)
    assert interval(row) == pytest.approx(wilson(0.75, 1))
    assert interval(one(coverage(promised_runs((90, 100))))) == pytest.approx((wilson(1, 1)[0], 1))


def test_runs_that_are_all_one_or_the_other_count_as_runs_not_as_tasks():
    """Four runs of ten tasks, covered wholly or not at all: n is 40, but of four observations."""
    row = one(coverage(promised_tasks("+" * 10, "-" * 10, "+" * 10, "-" * 10)))
    # without a + run 1/3, without a - run 2/3: variance 3/4 * 4 * (1/6)^2 = 1/12, 1 + .25 * 12 = 4; t of 3 is 3.182
    assert (row["coverage"], row["n"]) == (0.5, 40)
    assert interval(row) == pytest.approx(wilson(0.5, 4, 3.182), rel=2e-3)
    alike = one(coverage(promised_tasks(*["+-" * 5] * 4)))  # runs do not differ at all: 40 observations
    assert interval(alike) == pytest.approx(wilson(0.5, 40, 3.182), rel=2e-3)


def test_students_t_is_that_of_textbooks():
    assert [student(df) for df in STUDENT if df >= 3] == pytest.approx(
        [STUDENT[df] for df in STUDENT if df >= 3], rel=2e-3
    )
    assert student(2) == pytest.approx(STUDENT[2], rel=0.01)
    assert student(1) == pytest.approx(STUDENT[1], rel=0.12)


@settings(max_examples=4, deadline=None)
@given(st.lists(st.lists(st.lists(st.booleans(), max_size=5), min_size=1, max_size=8), min_size=8, max_size=8))
def test_the_interval_is_that_of_a_jackknife_by_run_and_holds_the_coverage(workflows: list[list[list[bool]]]):
    """Runs without a single task among them. Each workflow is a promise of its own."""
    parts = []
    for number, runs in enumerate(workflows):
        parts.append(promised_tasks(*("".join("-+"[ok] for ok in run) for run in runs), workflow=f"w{number} "))
    found = {row["workflow"]: row for row in coverage(together(*parts))}
    for number, runs in enumerate(workflows):
        if not any(runs):
            assert f"w{number} " not in found
            continue
        row = found[f"w{number} "]
        assert (row["n"], row["runs"]) == (sum(map(len, runs)), sum(map(bool, runs)))
        assert (row["coverage"], *interval(row)) == pytest.approx(by_run(runs), abs=1e-5)
        assert 0 <= row["coverage_low"] <= row["coverage"] <= row["coverage_high"] <= 1


@settings(max_examples=4, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 5)), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_coverage_never_falls_when_more_is_predicted_and_the_order_of_rows_is_irrelevant(
    values: list[tuple[int, int, int]], shuffle: random.Random
):
    tables = promised_runs(*((actual, predicted) for actual, predicted, _ in values))
    for row, (_, predicted, more) in zip(list(tables["predictions"]), values, strict=True):
        tables["predictions"].append(row | {"predictor": "generous", "predicted": predicted + more})
    rows = {row["predictor"]: row for row in coverage(tables)}
    assert rows["m"]["coverage"] <= rows["generous"]["coverage"]
    assert rows["m"]["coverage"] == sum(actual <= predicted for actual, predicted, _ in values) / len(values)
    for row in rows.values():
        assert interval(row) == pytest.approx(wilson(row["coverage"], len(values)), abs=1e-9)
    shuffled = {name: shuffle.sample(rows_of, len(rows_of)) for name, rows_of in tables.items()}
    for row in coverage(shuffled):
        assert {k: v for k, v in row.items() if k in KEY} == {
            k: v for k, v in rows[row["predictor"]].items() if k in KEY
        }
        figures = ("n", "coverage", "coverage_low", "coverage_high", "pinball_loss", "history_n", "history_fulfilment")
        assert [row[name] for name in figures] == pytest.approx([rows[row["predictor"]][name] for name in figures])


def test_the_interval_of_correlated_rows_holds_the_planted_share_where_a_naive_one_does_not():
    """400 replicates, each a workflow of 20 runs of 5 to 30 tasks; a run's own share is Beta, mean .8, ICC .3.

    Measured: the planted share lies inside for 93.0 % of them, inside Wilson's on all rows alike for 52.5 %.
    """
    generator = np.random.default_rng(20260101)
    replicates, icc, planted = 400, 0.3, 0.8
    spread = 1 / icc - 1  # of a Beta with a + b = spread, the correlation within is 1 / (spread + 1)
    sizes = generator.integers(5, 31, size=replicates * 20)
    shares = generator.beta(planted * spread, (1 - planted) * spread, size=sizes.size)
    runs = pd.DataFrame({"run_id": [f"r{number}" for number in range(sizes.size)], "planner": "p"})
    runs["workflow"] = [f"w{number // 20}" for number in range(sizes.size)]
    tasks = pd.DataFrame(
        {"run_id": runs["run_id"].repeat(sizes), "task_id": [f"t{i}" for size in sizes for i in range(size)]}
    )
    tasks["execution_ms"] = np.where(generator.random(len(tasks)) < np.repeat(shares, sizes), 90.0, 110.0)
    promises = tasks[["run_id", "task_id"]].assign(
        level="task", metric="execution", sla_percentile=80.0, predicted=100.0
    )
    promises["predictor"] = "m"
    with duckdb.connect() as connection:
        for statement in ddl():
            connection.execute(statement)
        for table, frame in {"runs": runs, "tasks": tasks, "predictions": promises}.items():
            connection.register("frame", frame)
            connection.execute(f"insert into {table} by name select * from frame")
        create_views(connection)
        rows = connection.execute("select coverage, n, coverage_low, coverage_high from sla_coverage").fetchall()
    assert len(rows) == replicates
    assert np.mean([share for share, *_ in rows]) == pytest.approx(planted, abs=0.01)
    inside = np.mean([low <= planted <= high for _, _, low, high in rows])
    naive = [wilson(share, n) for share, n, _, _ in rows]
    inside_naive = np.mean([low <= planted <= high for low, high in naive])
    assert inside >= 0.9
    assert inside_naive < inside - 0.2


def test_a_prediction_that_cannot_be_judged_is_counted_and_left_out():
    row = one(coverage(promised_runs((90, 100), (None, 100), (110, 100))))
    assert (row["n_predicted"], row["n"], row["runs"], row["coverage"]) == (3, 2, 2, 0.5)
    assert interval(row) == pytest.approx(wilson(0.5, 2))
    assert row["pinball_loss"] == pytest.approx((2.5 + 7.5) / 2)
    tasks = one(coverage(promised_tasks("+?", "-?", "??")))
    assert (tasks["n_predicted"], tasks["n"], tasks["runs"], tasks["coverage"]) == (6, 2, 2, 0.5)


def test_where_nothing_can_be_judged_nothing_is_said():
    row = one(coverage(promised_runs((None, 100))))
    figures = ("coverage", "coverage_low", "coverage_high", "pinball_loss", "history_n", "history_fulfilment")
    assert [row[name] for name in figures] == [None] * 6
    assert (row["n_predicted"], row["n"], row["runs"], row["nominal"]) == (1, 0, 0, 0.75)


def test_what_was_not_predicted_is_no_promise():
    row = one(coverage(promised_runs((90, 100), (90, None))))
    assert (row["n_predicted"], row["n"], row["history_n"]) == (1, 1, None)
    assert coverage(promised_runs((90, None))) == []


def test_an_average_promises_nothing_and_has_its_coverage():
    row = one(coverage(promised_runs((90, 100), (110, 100), percentile=None)))
    assert (row["sla"], row["sla_percentile"], row["nominal"]) == ("average", None, None)
    assert (row["coverage"], row["n"]) == (0.5, 2)
    assert (row["pinball_loss"], row["history_n"], row["history_fulfilment"]) == (None, None, None)


def engine_run(name: str, planned: float, took: float, **run: object) -> Tables:
    """A run the engine planned: 'plan' gives its SLA, as recorded."""
    plan = {"run_id": name, "planner": "p", "sla": "p90", "sla_percentile": 90.0}
    return {
        "runs": [
            {"run_id": name, "workflow": "w", "sink_task_id": "t", "submitted_at": at(0), "expected_tasks": 1} | run
        ],
        "tasks": [{"run_id": name, "task_id": "t", "started_at": at(0), "execution_ms": took}],
        "plans": [plan],
        "planned_tasks": [
            {
                "run_id": name,
                "task_id": "t",
                "worker_id": "w1",
                "execution_ms": planned,
                "completion_offset_ms": planned,
            }
        ],
    }


def test_the_recorded_plan_is_judged_at_its_own_sla_and_a_class_is_not_judged():
    launch = {"run_id": "r", "invocation_id": "i", "worker_id": "w1", "reported_state": "cold"}
    launch |= {"requested_at": at(0), "ready_at": at(50), "initial_task_ids": ["t"]}
    tables = together(engine_run("r", 100, 90), {"invocations": [launch]})
    tables["planned_tasks"][0] |= {"startup_ms": 40.0, "startup_state": "warm"}
    rows = {(row["level"], row["metric"]): row for row in coverage(tables)}
    assert rows["run", "makespan"]["coverage"] == 1
    assert (rows["task", "execution"]["coverage"], rows["task", "execution"]["sla"]) == (1, "p90")
    assert (rows["invocation", "startup"]["coverage"], rows["invocation", "startup"]["n"]) == (0, 1)  # 50 > 40
    assert rows["run", "starts"]["coverage"] == 1
    assert {metric for _, metric in rows}.isdisjoint({"state"})
    assert {row["predictor"] for row in rows.values()} == {"engine"}


def test_runs_without_an_sla_workflow_or_planner_are_promises_too():
    tables = together(engine_run("r", 100, 90, workflow=None), engine_run("s", 100, 110, workflow=None))
    tables["plans"] = []
    for row in coverage(tables, metric="makespan"):
        assert (row["workflow"], row["planner"], row["sla"], row["nominal"]) == (None, None, None, None)
        assert (row["coverage"], row["n"], row["history_n"]) == (0.5, 2, None)
    lost = promised_runs((90, 100), (95, 100), workflow=None, planner=None)
    row = one(coverage(lost))
    assert (row["coverage"], row["history_n"], row["history_fulfilment"]) == (
        1,
        1,
        0,
    )  # 95 is above the only earlier one


def test_each_predictor_workflow_planner_and_percentile_is_a_promise_of_its_own():
    tables = together(promised_runs((90, 100), (90, 100)), promised_runs((110, 100), workflow="v", planner=None))
    tables["runs"][1]["planner"] = "q"
    tables["predictions"] += [row | {"sla_percentile": 90.0} for row in tables["predictions"]]
    tables["predictions"] += [row | {"predictor": "n"} for row in tables["predictions"]]
    rows = coverage(tables)
    assert len(rows) == 12  # 3 promises, 2 percentiles, 2 predictors
    assert {(row["workflow"], row["coverage"], row["n"]) for row in rows} == {("w", 1, 1), ("v", 0, 1)}


def fulfilled(values: list[tuple[int, float]], percentile: float) -> list[bool]:
    """Whether each value is at or below the percentile of those with an earlier time; runs without any are left out."""
    return [
        bool(actual <= np.percentile(earlier, percentile))
        for when, actual in values
        if (earlier := [other for time, other in values if time < when])
    ]


def test_history_fulfilment_compares_with_earlier_actual_values_whatever_was_predicted():
    """Actual 100, 200, 150, 170 at p75: 200 > 100; 150 <= 175; 170 <= 175 (of 100, 150, 200: 150 + .5 * 50)."""
    for predicted in (1, 1000):
        row = one(coverage(promised_runs(*((actual, predicted) for actual in (100, 200, 150, 170)))))
        assert (row["history_n"], row["history_fulfilment"]) == (3, pytest.approx(2 / 3))
        assert row["coverage"] == (predicted == 1000)


def test_runs_submitted_at_the_same_instant_are_not_earlier_than_each_other():
    tables = promised_runs((100, 1), (200, 1), (150, 1), (90, 1))
    for run, ms in zip(tables["runs"], (5, 5, 5, 6), strict=True):
        run["submitted_at"] = at(ms)
    for task, run in zip(tables["tasks"], tables["runs"], strict=True):
        task["started_at"] = run["submitted_at"]
    row = one(coverage(tables))
    assert (row["history_n"], row["history_fulfilment"]) == (1, 1)  # 90 against 100, 150, 200
    for run in tables["runs"]:
        run["submitted_at"] = at(0)
    assert one(coverage(tables))["history_n"] is None


def test_the_history_mixes_planners_and_percentiles_but_not_workflows_predictors_or_averages():
    tables = together(promised_runs((100, 1), (50, 1), (80, 1), (60, 1)), promised_runs((1, 1), workflow="v"))
    tables["runs"][0]["planner"] = "q"
    tables["predictions"][0]["sla_percentile"] = 50.0
    tables["predictions"][1]["sla_percentile"] = None
    # of p the runs of 80 and 60 at p75 are judged: 80 against 100; 60 against 80 and 100; that of 50 is an average
    row = one(coverage(tables, workflow="w", planner="p", sla="p75"))
    assert (row["history_n"], row["history_fulfilment"]) == (2, 1)
    assert one(coverage(tables, workflow="v"))["history_n"] is None
    tables["predictions"][0]["predictor"] = "another"
    row = one(coverage(tables, workflow="w", planner="p", sla="p75"))
    assert (row["history_n"], row["history_fulfilment"]) == (1, 1)  # only 60, against 80


def test_runs_without_an_actual_value_or_a_submission_have_no_part_in_the_history():
    tables = promised_runs((100, 1), (None, 1), (150, 1), (120, 1))
    row = one(coverage(tables))
    assert (row["history_n"], row["history_fulfilment"]) == (2, 0.5)  # 150 > 100; 120 <= 137.5
    tables["runs"][0]["submitted_at"] = None  # then it has no makespan either
    row = one(coverage(tables))
    assert (row["history_n"], row["history_fulfilment"]) == (1, 1)  # 120 <= 150


def test_fulfilment_is_of_level_run_only():
    tables = promised_runs((100, 1), (150, 1))
    tables["predictions"] += [
        row | {"level": "task", "task_id": "t", "metric": "execution"} for row in tables["predictions"]
    ]
    found = {row["level"]: row["history_n"] for row in coverage(tables)}
    assert found == {"run": 1, "task": None}


@settings(max_examples=4, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 12), st.integers(1, 9)), min_size=1, max_size=14), min_size=6, max_size=6
    ),
    st.sampled_from([1.0, 25.0, 50.0, 75.0, 100.0]),
)
def test_history_fulfilment_is_that_of_percentiles_worked_out_run_by_run(
    workflows: list[list[tuple[int, int]]], percentile: float
):
    """Few instants and few values, so that many are equal."""
    parts = []
    for number, values in enumerate(workflows):
        part = promised_runs(*((actual, 5) for _, actual in values), percentile=percentile, workflow=f"w{number} ")
        for run, task, (when, _) in zip(part["runs"], part["tasks"], values, strict=True):
            run["submitted_at"] = task["started_at"] = at(when)
        parts.append(part)
    rows = {row["workflow"]: row for row in coverage(together(*parts))}
    for number, values in enumerate(workflows):
        expected = fulfilled(values, percentile)
        row = rows[f"w{number} "]
        assert row["history_n"] == (len(expected) or None)
        assert row["history_fulfilment"] == (pytest.approx(np.mean(expected)) if expected else None)


def test_the_history_is_all_earlier_runs_however_many():
    """450 runs whose makespan rises and falls: the last 200 or 399 earlier ones would give other figures."""
    values = [(number, 1000 + 3 * (number % 7) + abs(225 - number) + number / 1000) for number in range(450)]
    row = one(coverage(promised_runs(*((actual, 1) for _, actual in values), percentile=90)))
    expected = fulfilled(values, 90)
    assert (row["history_n"], row["history_fulfilment"]) == (449, pytest.approx(np.mean(expected)))
    shorter = [
        actual <= np.percentile([other for _, other in values[max(0, i - 399) : i]], 90) for i, actual in values[1:]
    ]
    assert np.mean(shorter) != pytest.approx(np.mean(expected))


def test_each_dump_has_a_history_of_its_own_and_the_runs_of_a_live_server_share_one():
    """Of a live server each run is a file, named by the run; its source says which server it was."""
    tables = promised_runs((100, 1), (90, 1), (80, 1), (70, 1))
    for run, file in zip(tables["runs"], ("f1", "f1", "f2", "f2"), strict=True):
        run["file_id"] = file
    assert one(coverage(tables))["history_n"] == 2  # the second of each
    for run in tables["runs"]:
        run["file_id"] = f"file of {run['run_id']}"
    tables["files"] = [{"file_id": run["file_id"], "key": run["run_id"], "source": "live"} for run in tables["runs"]]
    assert one(coverage(tables))["history_n"] == 3

"""Scores: worked out by hand, held against views and planted truths; and what even executions alike leave."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from predictors.features import Dag
from predictors.history import read_history
from predictors.replay import Prepared, prepare
from predictors.rivals import TIMES
from predictors.scores import (
    COLUMNS,
    drawn_medians,
    floor,
    neighbour_errors,
    read_engine,
    read_outcomes,
    score,
    score_history,
)
from tests.dumps import answer, put, rows_of_runs
from warehouse.connection import open_current
from warehouse.home import Home
from warehouse.writer import Writer

NAN = float("nan")


def outcome(run: str, actual: float, **columns: Any) -> dict[str, Any]:
    """What a task took, with what it is told apart by."""
    return {
        "level": "task", "run_id": run, "task_id": "t", "invocation_id": None, "metric": "execution", "actual": actual,
        "planner": "p", "workflow": "w", "environment": "e", "function": "f", "memory_mb": 512, "size_bytes": 1500.0,
        "earlier_runs": 3, **columns,
    }  # fmt: skip


def predicted(run: str, value: float, percentile: float = 50.0, **columns: Any) -> dict[str, Any]:
    return {
        "predictor": "mine", "level": "task", "run_id": run, "task_id": "t", "invocation_id": None,
        "metric": "execution", "sla_percentile": percentile, "predicted": value, **columns,
    }  # fmt: skip


def planned(run: str, value: float, percentile: float = 50.0, **columns: Any) -> dict[str, Any]:
    sla = "average" if np.isnan(percentile) else f"p{percentile:g}"
    return {
        name: each for name, each in predicted(run, value, percentile, **columns).items() if name != "predictor"
    } | {"sla": sla}


def scored(
    predictions: Iterable[dict[str, Any]],
    outcomes: Iterable[dict[str, Any]],
    plans: Iterable[dict[str, Any]] = (),
    floors: pd.DataFrame | None = None,
) -> pd.DataFrame:
    return score(
        pd.DataFrame(list(predictions), columns=[*predicted("", 0)]),
        pd.DataFrame(list(outcomes), columns=[*outcome("", 0)]),
        pd.DataFrame(list(plans), columns=[*planned("", 0)]),
        floors,
    )


def one(scores: pd.DataFrame, **names: Any) -> dict[str, Any]:
    """The one row with these names; by default that of all rows at the median."""
    wanted = {
        "predictor": "mine",
        "sla_percentile": 50.0,
        "rows_of": "all",
        "group_by": "all",
        "group_value": "",
    } | names
    chosen = scores
    for name, value in wanted.items():
        chosen = chosen[chosen[name].isna() if value is None else chosen[name] == value]
    ((_, row),) = chosen.iterrows()
    return dict(row)


# by hand


def test_a_median_is_scored_as_worked_out_here() -> None:
    actual = {"a": 100.0, "b": 200.0, "c": 400.0}
    says = {"a": 110.0, "b": 100.0, "c": 500.0}
    row = one(
        scored([predicted(run, value) for run, value in says.items()], [outcome(*each) for each in actual.items()])
    )
    assert (row["n"], row["runs"]) == (3, 3)
    assert row["median_relative_error"] == pytest.approx(0.25)  # .1, .5, .25
    assert row["pinball_loss"] == pytest.approx((10 + 100 + 100) / 2 / 3)
    assert row["coverage"] == pytest.approx(2 / 3)
    assert row["median_log_ratio"] == pytest.approx(np.log(1.1))
    assert np.isnan(row["sharpness"])  # the median is no interval
    assert np.isnan(row["brier_score"])


def test_a_high_percentile_is_scored_with_its_own_loss_and_its_distance_from_the_median() -> None:
    rows = [predicted("a", 100), predicted("a", 150, 90), predicted("b", 10), predicted("b", 30, 90)]
    row = one(
        scored([*rows, predicted("c", 7, 90)], [outcome("a", 140), outcome("b", 50), outcome("c", 7)]),
        sla_percentile=90,
    )
    assert row["sharpness"] == pytest.approx((0.5 + 2) / 2)  # 'c' has no median
    assert row["pinball_loss"] == pytest.approx((10 * 0.1 + 20 * 0.9 + 0) / 3)
    assert row["coverage"] == pytest.approx(2 / 3)


def test_what_took_nothing_has_no_relative_error_and_a_prediction_of_0_is_not_covered_or_not() -> None:
    rows = [predicted("a", 0), predicted("b", 0), predicted("c", 5), predicted("d", 5)]
    row = one(scored(rows, [outcome("a", 0), outcome("b", 10), outcome("c", 0), outcome("d", 10)]))
    assert row["n"] == 4
    assert row["median_relative_error"] == pytest.approx((1 + 0.5) / 2)
    assert row["coverage"] == 0.5  # 'c' is, 'd' is not
    assert row["median_log_ratio"] == pytest.approx(np.log(0.5))
    assert row["pinball_loss"] == pytest.approx((0 + 10 + 5 + 5) / 2 / 4)


def test_predictions_without_an_outcome_and_outcomes_without_a_prediction_count_nowhere() -> None:
    rows = [predicted("a", 1), predicted("gone", 1), predicted("b", NAN), predicted("c", 2)]
    row = one(scored(rows, [outcome("a", 1), outcome("b", 1), outcome("c", NAN), outcome("d", 9)]))
    assert (row["n"], row["runs"], row["median_relative_error"]) == (1, 1, 0)


def test_levels_are_told_apart_by_what_identifies_them() -> None:
    of_run = {"level": "run", "metric": "makespan", "task_id": None}
    start = {"level": "invocation", "metric": "startup"}
    rows = [
        predicted("a", 2), predicted("a", 3, task_id="u"), predicted("a", 20, **of_run),
        # The task of an invocation is told by the predictor, and not by what happened.
        predicted("a", 200, **start, invocation_id="i"), predicted("a", 300, **start, invocation_id="j"),
    ]  # fmt: skip
    outcomes = [
        outcome("a", 1), outcome("a", 1, task_id="u"), outcome("a", 10, **of_run),
        outcome("a", 100, **start, task_id=None, invocation_id="i"),
        outcome("a", 100, **start, task_id=None, invocation_id="j"),
    ]  # fmt: skip
    scores = scored(rows, outcomes)
    errors = {level: one(scores, level=level)["median_relative_error"] for level in ("task", "run", "invocation")}
    assert errors == {"task": 1.5, "run": 1.0, "invocation": 1.5}
    assert one(scores, level="invocation")["n"] == 2


# groups


def test_groups_are_named_as_described() -> None:
    outcomes = [
        outcome("a", 1, size_bytes=0, earlier_runs=0, memory_mb=512),
        outcome("b", 1, size_bytes=1, earlier_runs=4, memory_mb=512),
        outcome("c", 1, size_bytes=999, earlier_runs=5, memory_mb=2048),
        outcome("d", 1, size_bytes=1000, earlier_runs=99, memory_mb=None),
        outcome("e", 1, size_bytes=None, earlier_runs=100, planner=None),
        outcome("f", 1, size_bytes=None, earlier_runs=None, planner="q"),
    ]
    scores = scored([predicted(run, 1) for run in "abcdef"], outcomes)
    found = {
        group: dict(zip(rows["group_value"], rows["n"], strict=True))
        for group, rows in scores[scores["rows_of"] == "all"].groupby("group_by")
    }
    assert found == {
        "all": {"": 6}, "planner": {"p": 4, "q": 1}, "workflow": {"w": 6}, "function": {"f": 6},
        "environment": {"e": 6}, "memory": {"512": 4, "2048": 1}, "size": {"0": 1, "1": 1, "100": 1, "1000": 1},
        "history": {"0": 1, "1-4": 1, "5-19": 1, "20-99": 1, "100+": 1},
    }  # fmt: skip


def test_a_group_is_scored_by_its_own_rows() -> None:
    outcomes = [outcome("a", 10), outcome("b", 10, function="g"), outcome("c", 10, function="g")]
    scores = scored([predicted("a", 11), predicted("b", 12), predicted("c", 14)], outcomes)
    assert one(scores, group_by="function", group_value="f")["median_relative_error"] == pytest.approx(0.1)
    assert one(scores, group_by="function", group_value="g")["median_relative_error"] == pytest.approx(0.3)


# beside the recorded plans


def test_the_plans_are_compared_on_the_rows_that_both_predicted() -> None:
    outcomes = [outcome(run, 100) for run in "abcd"]
    rows = [predicted("a", 110), predicted("b", 130), predicted("c", 900)]
    plans = [planned("a", 120), planned("b", 180, 90), planned("d", 100, NAN)]
    scores = scored(rows, outcomes, plans)
    row = one(scores, rows_of="paired")
    assert row["n"] == 2
    assert row["median_relative_error"] == pytest.approx(0.2)
    assert row["engine_median_relative_error"] == pytest.approx(0.5)
    assert row["error_ratio"] == pytest.approx(0.4)
    alike = one(scores, rows_of="paired", group_by="sla", group_value="p50")
    assert (alike["n"], alike["error_ratio"]) == (1, pytest.approx(0.5))
    assert one(scores, rows_of="paired", group_by="sla", group_value="p90")["error_ratio"] == pytest.approx(0.375)
    assert np.isnan(one(scores)["error_ratio"])
    assert scores[scores["predictor"] == "engine"]["rows_of"].unique().tolist() == ["all"]
    own = {each: one(scores, predictor="engine", sla_percentile=each)["n"] for each in (50.0, 90.0, None)}
    assert own == {50.0: 1, 90.0: 1, None: 1}
    average = one(scores, predictor="engine", sla_percentile=None)
    assert (average["coverage"], np.isnan(average["pinball_loss"])) == (1, True)


def test_no_ratio_is_made_to_plans_without_an_error() -> None:
    outcomes = [outcome(str(run), 100) for run in range(8)]
    scores = scored(
        [predicted(str(run), 110) for run in range(8)], outcomes, [planned(str(run), 100) for run in range(8)]
    )
    row = one(scores, rows_of="paired")
    assert row["engine_median_relative_error"] == 0
    assert np.isnan([row["error_ratio"], row["error_ratio_low"], row["error_ratio_high"]]).all()


def test_a_probability_has_a_brier_score_and_nothing_else() -> None:
    state = {"level": "invocation", "metric": "state"}
    outcomes = [
        outcome("a", 1, **state, invocation_id="i"), outcome("a", 0, **state, invocation_id="j"),
        outcome("b", 1, **state, invocation_id="k"),
    ]  # fmt: skip
    rows = [
        predicted("a", 0.8, NAN, **state, invocation_id="i"), predicted("a", 0.5, NAN, **state, invocation_id="j"),
    ]  # fmt: skip
    plans = [planned("a", 0, 50, **state, invocation_id="i"), planned("b", 1, 90, **state, invocation_id="k")]
    scores = scored(rows, outcomes, plans)
    row = one(scores, sla_percentile=None)
    assert row["brier_score"] == pytest.approx((0.04 + 0.25) / 2)
    assert one(scores, sla_percentile=None, rows_of="paired")["brier_score"] == pytest.approx(0.04)
    # Whatever a plan aimed at, a state is a state.
    assert one(scores, predictor="engine", sla_percentile=None)["brier_score"] == pytest.approx(0.5)
    others = ["median_relative_error", "pinball_loss", "coverage", "sharpness", "median_log_ratio", "error_ratio"]
    assert pd.Series(row)[others].isna().all()


def test_floors_stand_beside_all_rows_only() -> None:
    floors = pd.DataFrame([("task", "execution", 50, 0.07)], columns=["level", "metric", "n", "floor_relative_error"])
    scores = scored([predicted("a", 1)], [outcome("a", 1)], floors=floors)
    assert one(scores)["floor_relative_error"] == 0.07
    assert scores[scores["group_by"] != "all"]["floor_relative_error"].isna().all()


# intervals


@given(
    run=st.lists(st.integers(0, 8), min_size=1, max_size=60),
    data=st.data(),
)
@settings(deadline=None)
def test_drawn_medians_are_those_of_the_rows_of_the_runs_drawn(run: list[int], data: st.DataObject) -> None:
    runs = np.unique(run, return_inverse=True)[1]
    values = np.sort(data.draw(st.lists(st.floats(0, 10), min_size=len(run), max_size=len(run))))
    count = int(runs.max()) + 1
    medians = drawn_medians(values, runs, 50, 7)
    if count < 6:
        assert np.isnan(medians).all()
        return
    chosen = np.random.default_rng(7).integers(0, count, (50, count))
    expected = [np.median(np.concatenate([values[runs == each] for each in draw])) for draw in chosen]
    assert medians.tolist() == pytest.approx(expected)


def test_few_runs_have_no_interval_and_runs_all_covered_have_wilsons() -> None:
    for runs in (5, 20):
        outcomes = [outcome(str(run), 10, task_id=str(task)) for run in range(runs) for task in range(30)]
        row = one(scored([predicted(each["run_id"], 12, task_id=each["task_id"]) for each in outcomes], outcomes))
        assert row["coverage"] == 1
        if runs == 5:
            assert np.isnan([row["coverage_low"], row["coverage_high"], row["median_relative_error_low"]]).all()
        else:
            assert row["coverage_high"] == 1
            assert row["coverage_low"] == pytest.approx(20 / (20 + 1.959964**2))
            assert row["median_relative_error_low"] == row["median_relative_error_high"] == pytest.approx(0.2)


def world(seed: int, runs: int, tasks: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Log-normal durations with an effect of the run, half of the variance; their true quantiles; their runs."""
    rng = np.random.default_rng(seed)
    usual = rng.normal(3, 1, (runs, tasks))
    logs = usual + rng.normal(0, 0.5, (runs, 1)) + rng.normal(0, 0.5, (runs, tasks))
    spread = 0.5 * 2**0.5
    quantiles = np.exp(usual.ravel()[:, None] + spread * np.array([0, 0.674490, 1.281552]))
    return np.exp(logs).ravel(), quantiles, np.repeat(np.arange(runs), tasks)


def scored_world(seed: int, runs: int = 60, tasks: int = 12) -> pd.DataFrame:
    actual, quantiles, run = world(seed, runs, tasks)
    tasks_of = [f"t{place}" for place in range(len(run))]
    outcomes = pd.DataFrame(outcome("", 0), index=range(len(run))).assign(
        run_id=run.astype(str), task_id=tasks_of, actual=actual
    )
    predictions = pd.concat([
        pd.DataFrame(predicted("", 0, level), index=range(len(run))).assign(
            run_id=run.astype(str), task_id=tasks_of, predicted=quantiles[:, place]
        )
        for place, level in enumerate((50.0, 75.0, 90.0))
    ])  # fmt: skip
    return score(predictions, outcomes, pd.DataFrame([], columns=[*planned("", 0)]))


def test_intervals_hold_what_is_true_in_planted_worlds() -> None:
    # The median of |exp(z) - 1|, z normal with the spread of the worlds.
    z = np.abs(np.expm1(0.5 * 2**0.5 * np.random.default_rng(0).normal(size=400_000)))
    true_error, held = np.median(z), []
    for seed in range(40):
        scores = scored_world(seed)
        rows = {level: one(scores, sla_percentile=level) for level in (50.0, 75.0, 90.0)}
        held.append([
            *(rows[level]["coverage_low"] <= level / 100 <= rows[level]["coverage_high"] for level in rows),
            rows[50.0]["median_relative_error_low"] <= true_error <= rows[50.0]["median_relative_error_high"],
        ])  # fmt: skip
    # 95 % of 40 are 38; 34 or fewer of 40 have a chance of 1 in 70 each.
    assert np.sum(held, axis=0).min() >= 34
    assert one(scored_world(1), sla_percentile=90.0)["sharpness"] == pytest.approx(np.expm1(0.5 * 2**0.5 * 1.281552))


def test_rows_that_hang_together_widen_the_interval() -> None:
    wide = one(scored_world(3, 40, 50), sla_percentile=50.0)
    # With independent rows it would be 2 * 1.96 * (.25 / 2000) ** .5.
    assert wide["coverage_high"] - wide["coverage_low"] > 3 * 0.044


def test_the_order_of_rows_does_not_matter() -> None:
    actual, quantiles, run = world(5, 10, 4)
    outcomes = [
        outcome(str(each), value, task_id=str(place))
        for place, (each, value) in enumerate(zip(run, actual, strict=True))
    ]
    rows = [
        predicted(str(each), value, task_id=str(place))
        for place, (each, value) in enumerate(zip(run, quantiles[:, 0], strict=True))
    ]
    plans = [
        planned(str(each), value, task_id=str(place))
        for place, (each, value) in enumerate(zip(run, quantiles[:, 1], strict=True))
    ]
    mixed = np.random.default_rng(1).permutation(len(rows))
    pd.testing.assert_frame_equal(
        scored(rows, outcomes, plans),
        scored([rows[place] for place in mixed], outcomes, [plans[place] for place in mixed]),
    )


# against the warehouse


@pytest.fixture(scope="module")
def recorded(sample_home: Home) -> tuple[pd.DataFrame, pd.DataFrame]:
    with open_current(sample_home) as reader:
        return read_outcomes(reader), read_engine(reader)


def test_outcomes_are_those_of_prediction_errors(
    recorded: tuple[pd.DataFrame, pd.DataFrame], sample_home: Home
) -> None:
    outcomes, _ = recorded
    key = ["level", "run_id", "thing", "metric"]
    outcomes["thing"] = outcomes["invocation_id"].fillna(outcomes["task_id"]).fillna("")
    assert not outcomes.duplicated(key).any()
    sql = """
        select level, run_id, coalesce(invocation_id, task_id, '') as thing, metric, actual from prediction_errors
        where predictor = 'engine' and actual is not null
    """
    with open_current(sample_home) as reader:
        errors = reader.frame(sql)
    both = errors.merge(outcomes, on=key, how="left")
    assert len(both) == len(errors) > 40_000
    assert (both["actual_x"] == both["actual_y"]).all()


def test_the_plans_scores_are_what_sql_makes_of_prediction_errors(
    recorded: tuple[pd.DataFrame, pd.DataFrame], sample_home: Home
) -> None:
    outcomes, plans = recorded
    scores = score(pd.DataFrame(columns=[*predicted("", 0)]), outcomes, plans)
    measures = ["n", "runs", "median_relative_error", "pinball_loss", "coverage", "median_log_ratio"]
    expected = answer(
        sample_home,
        """
        select level, metric, coalesce(errors.sla_percentile, 0), planner, count(*), count(distinct run_id),
            median(relative_error), avg(pinball_loss),
            avg(case when predicted > 0 then cast(covered as integer) end), median(log_ratio)
        from prediction_errors as errors inner join run_summary using (run_id)
        where predictor = 'engine' and metric <> 'state' and predicted is not null and actual is not null
        group by all
        """,
    )
    of_planners = scores[(scores["group_by"] == "planner") & (scores["metric"] != "state")].copy()
    of_planners["sla_percentile"] = of_planners["sla_percentile"].fillna(0)
    found = of_planners.set_index(["level", "metric", "sla_percentile", "group_value"])[measures]
    assert len(found) == len(expected) > 100
    for *name, _, _, _, _, _, _ in expected:
        assert tuple(name) in found.index
    for row in expected:
        values = [np.nan if value is None else float(value) for value in row[4:]]
        assert found.loc[tuple(row[:4])].tolist() == pytest.approx(values, nan_ok=True), row[:4]


def test_a_history_is_scored_with_its_plans_and_its_floors(sample_home: Home) -> None:
    with open_current(sample_home) as reader:
        history = read_history(reader)
        # Whoever says what the plans say is as good as they are.
        predictions = (
            read_engine(reader)
            .query("metric in ['makespan', 'execution', 'startup']")
            .assign(predictor="mine", sla_percentile=50.0)
        )
        scores = score_history(reader, prepare(history), predictions)
    paired = scores.query("predictor == 'mine' and rows_of == 'paired'")
    groups = "all environment function history memory planner size sla workflow"
    assert " ".join(sorted(set(paired["group_by"]))) == groups
    assert paired["error_ratio"].dropna().eq(1).all()
    whole = scores.query("group_by == 'all' and metric != 'starts'").dropna(subset="median_relative_error")
    floors = whole.set_index(["level", "metric"])["floor_relative_error"]
    assert floors.loc[[("run", "makespan"), ("invocation", "startup"), ("task", "execution")]].between(0.01, 0.5).all()


def test_scores_can_be_stored(home: Home) -> None:
    rows = [predicted("r1", 1), predicted("r2", 0, 90, metric="upload")]
    scores = scored(rows, [outcome("r1", 1), outcome("r2", 0, metric="upload")], [planned("r1", 2)])
    assert scores.columns.tolist() == COLUMNS
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1", "r2"))
        counts = writer.put_results({"predictor_scores": pa.Table.from_pandas(scores, preserve_index=False)})
        writer.publish()
    assert counts == {"predictor_scores": len(scores)}
    sql = "select n, coverage, error_ratio from predictor_scores where predictor = 'mine' and group_by = 'sla'"
    assert answer(home, sql) == [(1, 1.0, 0.0)]


def test_nothing_predicted_has_no_scores() -> None:
    assert scored([], [outcome("a", 1)]).empty
    assert scored([predicted("a", 1)], []).empty


# near-identical executions


def errors_of(alike: Sequence[Any], took: Sequence[float], turn: Sequence[int] | None = None) -> list[float]:
    names = np.array([str(each) for each in alike], dtype=object)
    turns = np.arange(len(took)) if turn is None else np.array(turn)
    return neighbour_errors(names, turns, np.log(np.array(took, dtype="float64"))).tolist()


def test_a_pair_is_as_far_apart_as_two_draws_are() -> None:
    apart = np.log(2) / 2**0.5
    assert errors_of("aa", [10, 20]) == pytest.approx([np.expm1(apart), -np.expm1(-apart)])


def test_executions_that_are_alone_unlike_or_unknown_say_nothing() -> None:
    assert errors_of("abc", [1, 2, 3]) == []
    assert errors_of("aab", [1, NAN, 3]) == []
    assert errors_of("ababab", [1, 9, 1, 9, 1, 9]) == [0] * 6


def test_neighbours_are_the_nearest_in_time_so_that_drift_is_no_distance() -> None:
    # It grows by 1 % from one to the next: the median of three on either side is itself.
    values = 1.01 ** np.arange(200)
    mixed = np.random.default_rng(1).permutation(200)
    errors = errors_of(["a"] * 200, values[mixed].tolist(), mixed.tolist())
    assert np.median(errors) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("spread", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("size", [2, 3, 4, 5, 12])
def test_the_floor_is_the_error_of_a_predictor_that_knows_the_median(spread: float, size: int) -> None:
    logs = np.random.default_rng(size).normal(0, spread, 30_000)
    alike = (np.arange(30_000) // size).astype(str).astype(object)
    errors = neighbour_errors(alike, np.arange(30_000), logs)
    assert np.median(errors) == pytest.approx(np.median(np.abs(np.expm1(0 - logs))), rel=0.03)


def test_heavy_tails_make_the_floor_a_fifth_too_high_at_most() -> None:
    rng = np.random.default_rng(1)
    for logs in (rng.laplace(0, 0.3, 30_000), 0.2 * rng.standard_t(3, 30_000)):
        true = np.median(np.abs(np.expm1(0 - logs)))
        for size, most in ((2, 1.2), (7, 1.1), (40, 1.1)):
            alike = (np.arange(30_000) // size).astype(str).astype(object)
            assert 0.97 < np.median(neighbour_errors(alike, np.arange(30_000), logs)) / true < most


def test_a_floor_compares_like_with_like() -> None:
    # Two kinds of task, and sizes a factor apart: each takes its own time, always the same but for the last digit.
    count = 60
    kinds = np.arange(count) % 2
    sizes = np.log([1e3, 1e6])[(np.arange(count) // 2) % 2]
    values = 10.0 ** (1 + kinds + 2 * (sizes > 10)) * (1 + 1e-9 * np.arange(count))
    at = np.datetime64("2026-01-01", "us") + np.arange(count) * np.timedelta64(1, "s")
    usual = dict.fromkeys(("workflow", "environment", "planner", "structure_hash"), "x")
    runs = pd.DataFrame({
        "run": range(count), "run_id": "r", "submitted_at": at, "known_at": at, "is_complete": True, **usual,
        **dict.fromkeys(("makespan_ms", "execution_ms", "download_ms", "upload_ms", "startup_ms"), values),
    })  # fmt: skip
    table = pd.DataFrame({
        "run": range(count), "run_id": "r", "function": kinds.astype(str), "memory_mb": 512.0, "log_memory": 9.0,
        "depth": 0.0, "width": 1.0, "log_inputs": sizes, "log_remote": sizes, "log_output": sizes, "literals": 0.0,
        "stored": 0.0, **usual,
    })  # fmt: skip
    each = {target.metric: table.assign(function=values.round(-1).astype(str)) for target in TIMES}
    each["execution"] = table
    logs = {metric: np.log(values) for metric in each}
    happened = {metric: np.ones(count) for metric in each}
    dag = Dag(table, *np.empty((2, 0), dtype=int), np.empty(0, dtype=bool))
    floors = floor(Prepared(runs, dag, table, each, logs, happened, values)).set_index(["level", "metric"])
    assert floors.loc[("task", "execution"), "floor_relative_error"] < 1e-6
    assert floors.loc[("task", "output_bytes"), "floor_relative_error"] < 1e-6
    # Nothing that is known of these runs tells them apart.
    assert floors.loc[("run", "makespan"), "floor_relative_error"] > 0.5
    assert (floors["n"] == count).all()

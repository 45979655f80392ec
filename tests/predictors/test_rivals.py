"""The rivals: quantiles worked out by hand, lines that do not explode, and a replay that sees earlier runs alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.composition import TOTALS
from predictors.features import Dag
from predictors.replay import Predicted, Prepared
from predictors.rivals import (
    OUTPUT_BYTES,
    RIVALS,
    RUN_TOTALS,
    TIMES,
    Empirical,
    LogLog,
    Rival,
    describe_runs,
    replay_rivals,
)
from predictors.targets import DOWNLOAD, EXECUTION, STARTUP, UPLOAD, Target

NAN = np.nan
MAKESPAN = RUN_TOTALS[0]


def rows(count: int, **columns: Any) -> pd.DataFrame:
    """As many rows of any level, all alike but for the columns given."""
    usual = {
        "run": 0, "function": "f", "workflow": "w", "environment": "e", "planner": "p", "memory_mb": 1024.0,
        "log_memory": 10.0, "is_flexible": 0.0, "is_sink": 0.0, "remote_inputs": 1.0, "remote_outputs": 1.0,
        "log_inputs": 5.0, "log_remote": 5.0, "log_output": 5.0, "log_bytes": 5.0,
    }  # fmt: skip
    return pd.DataFrame({name: columns.get(name, value) for name, value in usual.items()}, index=range(count))


def learned(kind: type[Rival], target: Target, table: pd.DataFrame, values: Sequence[float]) -> Rival:
    """A rival that learned what each row took, 0 and unknown (NaN) included."""
    took = np.array(values, dtype="float64")
    happened = np.where(np.isnan(took), NAN, took > 0)
    return kind(target).fit(table, np.log(np.where(took > 0, took, NAN)), happened)


def median(rival: Rival, table: pd.DataFrame) -> list[float]:
    return rival.predict(table, (0.5,))[:, 0].tolist()


# empirical quantiles


def test_a_quantile_is_the_sample_at_or_below_which_the_next_one_falls_with_that_probability() -> None:
    rival = learned(Empirical, EXECUTION, rows(9), [9, 1, 8, 2, 7, 3, 6, 4, 5])
    # Places (9 + 1) p: the 5th, the 7.5th, the 9th; a place beyond the last is the last.
    assert rival.predict(rows(1), (0.5, 0.75, 0.9, 0.99)) == pytest.approx(np.array([[5, 7.5, 9, 9]]))


@pytest.mark.parametrize(
    ("target", "narrow", "wide"),
    [
        (EXECUTION, "memory_mb", "function"),
        (EXECUTION, "memory_mb", "environment"),
        (EXECUTION, "environment", "function"),
        (STARTUP, "memory_mb", "environment"),
        (MAKESPAN, "planner", "workflow"),
        (OUTPUT_BYTES, "memory_mb", "function"),
        (OUTPUT_BYTES, "environment", "function"),
    ],
)
def test_the_narrowest_group_with_five_samples_speaks(target: Target, narrow: str, wide: str) -> None:
    names = {"memory_mb": [512.0, 2048.0, 4096.0]}.get(narrow, ["a", "b", "c"])
    # Nine of the first narrow group took 1, four of the second 2, all of one wide group; nine of another wide one 3.
    table = rows(22, **{narrow: [names[0]] * 9 + [names[1]] * 4 + [names[2]] * 9, wide: ["x"] * 13 + ["y"] * 9})
    rival = learned(Empirical, target, table, [1.0] * 9 + [2.0] * 4 + [3.0] * 9)
    asked = rows(4, **{narrow: [names[0], names[1], names[2], names[2]], wide: ["x", "x", "y", "z"]})
    # Four samples are too few: the median of all thirteen 'x' is 1. Of 'z' nothing is known: the median of all is 2.
    assert median(rival, asked) == pytest.approx([1, 1, 3, 2])


def test_fewer_samples_than_a_group_needs_still_say_something_and_none_says_nothing() -> None:
    assert median(learned(Empirical, EXECUTION, rows(2), [1, 3]), rows(1)) == pytest.approx([2])
    for kind in RIVALS:
        assert np.isnan(median(learned(kind, EXECUTION, rows(2), [NAN, NAN]), rows(1)))
        assert np.isnan(median(learned(kind, EXECUTION, rows(0), []), rows(1)))


# what does not happen


@pytest.mark.parametrize("kind", RIVALS)
def test_what_the_plan_rules_out_is_0_and_no_sample(kind: type[Rival]) -> None:
    table = rows(16, remote_inputs=[1.0] * 7 + [0.0] * 9)
    rival = learned(kind, DOWNLOAD, table, [40.0] * 7 + [0.0] * 9)
    assert median(rival, rows(2, remote_inputs=[1.0, 0.0])) == pytest.approx([40, 0])
    # A flexible worker may have to download whatever the plan says; the sink uploads to nobody in particular.
    assert median(rival, rows(1, remote_inputs=0.0, is_flexible=1.0)) == pytest.approx([40])
    upload = learned(kind, UPLOAD, rows(7), [40.0] * 7)
    assert median(upload, rows(2, remote_outputs=0.0, is_sink=[0.0, 1.0])) == pytest.approx([0, 40])


@pytest.mark.parametrize("kind", RIVALS)
def test_a_task_that_happens_to_download_nothing_is_a_sample(kind: type[Rival]) -> None:
    rival = learned(kind, DOWNLOAD, rows(20), [0.0] * 12 + [8.0] * 8)
    assert rival.predict(rows(1), (0.5, 0.75, 0.9)) == pytest.approx(np.array([[0, 8, 8]]))


def test_a_line_spreads_its_quantiles_over_what_happens() -> None:
    # Half take nothing; so the 75th percentile of all is the median of those that take something: 1, 2, 4, ..., 64.
    rival = learned(LogLog, DOWNLOAD, rows(14), [0.0] * 7 + [1.0, 2, 4, 8, 16, 32, 64])
    assert rival.predict(rows(1), (0.5, 0.75)) == pytest.approx(np.array([[0, 8]]))


@pytest.mark.parametrize("kind", RIVALS)
def test_what_is_unknown_is_no_sample(kind: type[Rival]) -> None:
    rival = learned(kind, DOWNLOAD, rows(16), [5.0] * 7 + [NAN] * 9)
    assert rival.predict(rows(1), (0.5, 0.9)) == pytest.approx(np.array([[5, 5]]))


# lines


def power_law(sizes: Sequence[float], exponent: float, **columns: Any) -> tuple[pd.DataFrame, list[float]]:
    """Rows of these sizes (bytes), and 3 ms per byte to the exponent."""
    logs = np.log(np.array(sizes))
    return rows(len(sizes), log_inputs=logs, **columns), (3 * np.exp(exponent * logs)).tolist()


def test_a_line_follows_a_power_law_at_sizes_never_seen() -> None:
    table, values = power_law(np.geomspace(10, 1e6, 50).tolist(), 0.8)
    rival = learned(LogLog, EXECUTION, table, values)
    asked, answers = power_law([33.0, 5e3, 4e5], 0.8)
    assert median(rival, asked) == pytest.approx(answers, rel=0.01)


def test_a_line_learns_what_memory_does() -> None:
    memory = np.repeat([9.0, 10.0, 11.0], 200)
    rival = learned(LogLog, EXECUTION, rows(600, log_memory=memory), (1000 * 2.0**-memory).tolist())
    # Memory beyond what was seen changes nothing more: 1000 / 2 ** 11.
    assert median(rival, rows(3, log_memory=[9.0, 11.0, 15.0])) == pytest.approx([1.953, 0.488, 0.488], rel=0.01)


@pytest.mark.parametrize(("exponent", "grows"), [(2.0, 10**1.2), (0.5, 10**0.5), (-1.0, 1.0)])
def test_beyond_the_sizes_seen_a_line_grows_little_more_than_in_proportion_and_never_falls(
    exponent: float, grows: float
) -> None:
    table, values = power_law(np.geomspace(10, 1e4, 400).tolist(), exponent)
    rival = learned(LogLog, EXECUTION, table, values)
    asked = rows(2, log_inputs=np.log([1e4, 1e5]))
    at_the_end, beyond = median(rival, asked)
    assert beyond / at_the_end == pytest.approx(grows, rel=0.01)


def test_sizes_that_hardly_vary_explode_nothing() -> None:
    # Sizes differ in the ninth digit, durations by a factor 100: an unguarded slope is about 1e9.
    noise = np.random.default_rng(1)
    table = rows(30, log_inputs=12 + noise.normal(0, 1e-9, 30))
    values = 10 ** noise.uniform(0, 2, 30)
    rival = learned(LogLog, EXECUTION, table, values.tolist())
    slope = np.polyfit(table["log_inputs"] - 12, np.log(values), 1)[0]
    assert abs(slope) > 1e7
    answers = rival.predict(rows(4, log_inputs=[0.0, 12.0, 12.0001, 20.0]), (0.5, 0.9))
    assert answers.min() > values.min() / 2
    assert answers.max() < values.max() * 2


def test_two_sizes_make_no_slope() -> None:
    rival = learned(LogLog, EXECUTION, rows(8, log_inputs=[1.0, 2.0] * 4), [1.0, 100.0] * 4)
    first, second, beyond = median(rival, rows(3, log_inputs=[1.0, 2.0, 9.0]))
    assert first == second == beyond == pytest.approx(10)


def test_a_group_with_few_rows_uses_the_line_of_all() -> None:
    table, values = power_law(np.geomspace(10, 1e6, 50).tolist(), 0.8, function=["g"] * 45 + ["f"] * 5)
    rival = learned(LogLog, EXECUTION, table, values)
    asked, answers = power_law([40.0, 4e5], 0.8, function=["f", "never seen"])
    assert median(rival, asked) == pytest.approx(answers, rel=0.02)


def test_the_same_function_has_a_line_of_its_own_in_each_environment_with_six_rows() -> None:
    # Of 'near' and 'far' there are enough rows; of 'new' five, too few: the line of the function's 17 rows speaks.
    where = ["near"] * 6 + ["far"] * 6 + ["new"] * 5
    rival = learned(LogLog, EXECUTION, rows(17, environment=where), [10] * 6 + [1000] * 6 + [1] * 5)
    answers = median(rival, rows(4, environment=["near", "far", "new", "never seen"]))
    assert answers == pytest.approx([10, 1000, 10, 10])


def test_a_slope_in_an_environment_is_drawn_to_the_functions_and_that_to_the_slope_of_all() -> None:
    others, of_others = power_law(np.geomspace(10, 1e6, 400).tolist(), 0.0, function="g")
    known, of_known = power_law(np.geomspace(10, 1e6, 200).tolist(), 1.0, environment="here")
    few = rows(6, log_inputs=np.log([1000, 1000, 1001, 1001, 1002, 1002]), environment="there")
    rival = learned(LogLog, EXECUTION, pd.concat([others, known, few]), [*of_others, *of_known, *[50, 60] * 3])
    small, large = median(rival, rows(2, log_inputs=np.log([1002, 100_200]), environment="there"))
    # All rows grow with the power of about a third, the function's with that of 1.
    assert large / small == pytest.approx(100, rel=0.1)


def test_a_groups_slope_is_drawn_to_that_of_all_where_its_own_sizes_tell_little() -> None:
    many, their = power_law(np.geomspace(10, 1e6, 200).tolist(), 1.0, function="g")
    few = rows(6, log_inputs=np.log([1000, 1000, 1001, 1001, 1002, 1002]))
    rival = learned(LogLog, EXECUTION, pd.concat([many, few]), [*their, 50, 60, 50, 60, 50, 60])
    small, large = median(rival, rows(2, log_inputs=np.log([1002, 100_200])))
    assert large / small == pytest.approx(100, rel=0.1)


@given(
    sizes=st.lists(st.floats(0, 30), min_size=1, max_size=40),
    data=st.data(),
)
def test_quantiles_are_numbers_in_order_whatever_the_sizes(sizes: list[float], data: st.DataObject) -> None:
    took = data.draw(st.lists(st.floats(0.01, 1e5), min_size=len(sizes), max_size=len(sizes)))
    for kind in RIVALS:
        rival = learned(kind, EXECUTION, rows(len(sizes), log_inputs=sizes), took)
        answers = rival.predict(rows(3, log_inputs=[0.0, 15.0, 30.0]), (0.5, 0.75, 0.9))
        assert np.isfinite(answers).all()
        assert (np.diff(answers, axis=1) >= -1e-9 * answers[:, :2]).all()


# replay


def prepared(took: Sequence[float], known_at: Sequence[int], outputs: Sequence[float]) -> Prepared:
    """Runs of one task and one start each, submitted second by second, which took as many ms in every respect."""
    count = len(took)
    at = np.datetime64("2026-01-01", "us") + np.arange(count) * np.timedelta64(1, "s")
    values = np.array(took, dtype="float64")
    runs = pd.DataFrame(
        {
            "run": range(count), "workflow": "w", "planner": "p", "environment": "e", "submitted_at": at,
            "known_at": at[0] + np.array(known_at) * np.timedelta64(1, "s"), "is_complete": True,
            **dict.fromkeys(TOTALS.values(), values),
        }
    )  # fmt: skip
    dag = Dag(
        rows(count, run=range(count)).assign(literals=99.0, stored=0.0, log_literals=np.log(100)),
        *np.empty((2, 0), dtype=int),
        np.empty(0, dtype=bool),
    )
    output = np.array(outputs, dtype="float64")
    table = dag.rows.assign(log_inputs=np.log(100), log_remote=0.0, log_output=np.log1p(output))
    each = {target.metric: table for target in TIMES}
    logs = {metric: np.log(values) for metric in each}
    return Prepared(runs, dag, table, each, logs, {metric: np.ones(count) for metric in each}, output)


def replayed(made: Prepared, blocks: list[tuple[int, int]], foreseen: Sequence[float]) -> list[tuple[str, Predicted]]:
    return list(replay_rivals(made, blocks, np.array(foreseen, dtype="float64")))


def medians_of(found: list[tuple[str, Predicted]], rival: str, level: str, metric: str) -> list[float]:
    parts = [
        (one.rows, one.values[:, 0]) for name, one in found if (name, one.level, one.metric) == (rival, level, metric)
    ]
    places = np.concatenate([place for place, _ in parts])
    assert places.tolist() == list(range(1, len(places) + 1))
    return np.concatenate([values for _, values in parts]).tolist()


def test_a_block_is_predicted_from_the_runs_known_when_its_first_one_was_submitted() -> None:
    # The second run ends in second 3: the third and the one submitted with it in a block do not know it.
    made = prepared([10, 1000, 20, 30, 40], [0, 3, 2, 3, 4], [1] * 5)
    found = replayed(made, [(1, 2), (2, 4), (4, 5)], [1] * 5)
    for level, metric in [("task", "execution"), ("invocation", "startup"), ("run", "makespan"), ("run", "download")]:
        # Then 10, 1000, 20 and 30 are known: the median is 25.
        assert medians_of(found, "empirical", level, metric) == pytest.approx([10, 10, 10, 25])
    assert medians_of(found, "empirical", "task", "output_bytes") == pytest.approx([1, 1, 1, 1])


def test_every_metric_is_predicted_by_every_rival_for_every_run() -> None:
    found = replayed(prepared([1] * 4, [0, 1, 2, 3], [1] * 4), [(1, 2), (2, 4)], [1] * 4)
    metrics = {(name, one.level, one.metric) for name, one in found}
    times = {(target.level, target.metric) for target in TIMES}
    runs = {("run", metric) for metric in TOTALS}
    expected = times | runs | {("task", "output_bytes")}
    assert metrics == {(rival.name, *each) for rival in RIVALS for each in expected}
    for name, level, metric in metrics:
        assert len(medians_of(found, name, level, metric)) == 3


def test_sizes_to_predict_are_those_foreseen_and_to_learn_those_recorded() -> None:
    outputs = np.geomspace(10, 1e6, 41)
    foreseen = np.full(41, 999.0)
    made = prepared((outputs + 1).tolist(), list(range(41)), outputs.tolist())
    found = replayed(made, [(40, 41)], foreseen.tolist())
    ((_, last),) = [
        each for each in found if each[0] == "log_log" and each[1].metric == "upload" and each[1].level == "task"
    ]
    # An upload takes 1 ms per byte (and byte 0): the last is foreseen to be 999 bytes, and turns out a million.
    assert last.values[0, 0] == pytest.approx(1000, rel=0.02)
    assert last.rows.tolist() == [40]


def test_nothing_recorded_later_touches_a_prediction() -> None:
    values, outputs = [10.0, 20, 30, 40, 50, 60], [1.0, 5, 2, 8, 3, 9]
    blocks = [(1, 2), (2, 4), (4, 6)]
    first = replayed(prepared(values, list(range(6)), outputs), blocks, outputs)
    changed = replayed(prepared([*values[:4], 1e6, 1e7], list(range(6)), [*outputs[:4], 1e5, 1e6]), blocks, outputs)
    for (name, before), (_, after) in zip(first, changed, strict=True):
        assert np.array_equal(before.values, after.values), (name, before.metric)


def test_an_incomplete_run_has_a_makespan_but_no_sums_to_learn_from() -> None:
    made = prepared([10, 1000, 10], [0, 1, 2], [1] * 3)
    made.runs["is_complete"] = [True, False, True]
    found = replayed(made, [(2, 3)], [1] * 3)
    of_runs = {one.metric: one.values[0, 0] for name, one in found if (name, one.level) == ("empirical", "run")}
    assert of_runs["makespan"] == pytest.approx(505)
    assert of_runs["execution"] == pytest.approx(10)


def test_a_runs_size_is_what_comes_with_its_submission() -> None:
    made = prepared([1, 1], [0, 1], [7, 7])
    made.dag.rows["stored"] = [0.0, 900.0]
    made.dag.rows["literals"] = [NAN, 99.0]
    described = describe_runs(made)
    assert np.exp(described["log_bytes"]).tolist() == pytest.approx([1, 1000])
    assert described["log_memory"].tolist() == [10, 10]

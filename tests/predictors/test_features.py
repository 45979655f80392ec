"""Features: worked out by hand on one diamond, and none of them known only afterwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from predictors.features import (
    CATEGORIES,
    START_NUMBERS,
    TASK_NUMBERS,
    Dag,
    describe_dags,
    describe_starts,
    expect_starts,
    number_runs,
    with_sizes,
)
from predictors.history import History
from tests.predictors.worlds import World, poisoned, remembered

WORLD = World(runs=9)
NAN = np.nan


def dag_of(history: History) -> Dag:
    return describe_dags(history, number_runs(history))


def of_run(number: int, history: History | None = None) -> tuple[History, pd.DataFrame, Dag]:
    history = history or remembered(WORLD)
    one = history.only([history.runs["run_id"].iloc[number]])
    runs = number_runs(one)
    return one, runs, describe_dags(one, runs)


def test_a_planned_diamond_is_described_as_drawn() -> None:
    rows = of_run(0)[2].rows.set_index("task_id")
    expected = pd.DataFrame(
        {
            "depth": [0, 1, 1, 1, 2], "width": [1, 3, 3, 3, 1], "upstream": [0, 1, 1, 1, 3], "downstream": [3, 1, 1, 1, 0],
            "remote_inputs": [0, 0, 1, 1, 2], "remote_outputs": [2, 0, 1, 1, 0], "width_inputs": [0, 2, 2, 2, 2],
            "parallel_workers": [1, 3, 3, 3, 1], "same_worker": 1, "first_on_worker": [1, 0, 1, 1, 0], "is_flexible": 0,
            "is_sink": [0, 0, 0, 0, 1], "dag_tasks": 5,
        },
        index=["split", "work-0", "work-1", "work-2", "merge"],
    ).astype("float64")  # fmt: skip
    found = rows.loc[expected.index, list(expected)].astype("float64")
    pd.testing.assert_frame_equal(found, expected, check_names=False)


def test_of_flexible_workers_nothing_is_said_that_depends_on_who_ran_what() -> None:
    rows = of_run(2)[2].rows
    assert (rows["is_flexible"] == 1).all()
    assert rows[["same_worker", "parallel_workers", "first_on_worker"]].isna().all(axis=None)
    assert rows.set_index("task_id")["remote_inputs"].to_dict() == {"split": 0, "work-0": 1, "work-1": 1, "work-2": 1, "merge": 3}  # fmt: skip


def test_sizes_follow_from_outputs_along_the_edges() -> None:
    history, _, dag = of_run(0)
    output = pd.Series({"split": 900.0, "work-0": 10.0, "work-1": 20.0, "work-2": NAN, "merge": 5.0})
    sizes = dag.sizes(output[dag.rows["task_id"]].to_numpy())
    literal = float(history.tasks["literal_bytes"].max())
    tasks = dag.rows["task_id"]
    assert dict(zip(tasks, sizes.inputs, strict=True)) == {"split": literal, "work-0": 900, "work-1": 900, "work-2": 900, "merge": 30}  # fmt: skip
    assert dict(zip(tasks, sizes.remote, strict=True)) == {"split": 0, "work-0": 0, "work-1": 900, "work-2": 900, "merge": 20}  # fmt: skip
    assert dict(zip(tasks, sizes.largest_remote, strict=True)) == {"split": 0, "work-0": 0, "work-1": 900, "work-2": 900, "merge": 20}  # fmt: skip


@pytest.mark.parametrize("number", [0, 2])
def test_starts_to_expect_are_those_that_come(number: int) -> None:
    history, runs, dag = of_run(number)
    expected = expect_starts(runs, dag)
    assert sorted(expected["task_id"]) == sorted(history.starts["task_id"]) == ["split", "work-1", "work-2"]
    recorded = describe_starts(history, runs, dag).sort_values("task_id")
    columns = [name for name in (*START_NUMBERS, "function", "workflow", "planner") if name != "initial_tasks"]
    pd.testing.assert_frame_equal(
        expected.sort_values("task_id")[columns].reset_index(drop=True), recorded[columns].reset_index(drop=True)
    )


def test_features_are_named_exactly_so_that_a_column_holding_the_answer_is_not_used() -> None:
    known_only_afterwards = ("_ms", "status", "error", "worker_id", "state", "cold", "started", "_at", "answer")
    for name in (*CATEGORIES, *TASK_NUMBERS, *START_NUMBERS):
        assert not any(part in name for part in known_only_afterwards), name


def test_nothing_recorded_of_a_run_changes_what_is_known_of_it_or_of_earlier_runs() -> None:
    history = remembered(WORLD)
    last = len(history.runs) - 1
    for first in (4, last):
        other = poisoned(history, first)
        runs, others = number_runs(history), number_runs(other)
        upto = runs["run"] <= first
        known = ["run_id", "log_gap_s", "workflow_runs"]
        pd.testing.assert_frame_equal(runs[upto][known], others[upto][known])
        dag, changed = dag_of(history), dag_of(other)
        size = np.ones(len(dag.rows))
        names = [*CATEGORIES, *TASK_NUMBERS, "memory_mb", "worker"]
        pd.testing.assert_frame_equal(
            with_sizes(dag.rows, dag.sizes(size))[names], with_sizes(changed.rows, changed.sizes(size))[names]
        )
        early = ["run_id", *START_NUMBERS, "function", "planner"]
        first_starts, other_starts = describe_starts(history, runs, dag), describe_starts(other, others, changed)
        upto = first_starts["run"] <= first
        pd.testing.assert_frame_equal(first_starts[upto][early], other_starts[upto][early])
        pd.testing.assert_frame_equal(
            expect_starts(runs, dag)[["task", *START_NUMBERS]].iloc[: 3 * first],
            expect_starts(others, changed)[["task", *START_NUMBERS]].iloc[: 3 * first],
        )


def test_a_run_still_going_is_none_of_the_earlier_ones_and_leaves_no_gap() -> None:
    history = remembered(WORLD)
    at = pd.to_datetime(["2026-01-01 00:00:00", "2026-01-01 00:00:10", "2026-01-01 00:00:30"])
    known = pd.to_datetime(["2026-01-01 00:00:20", "2026-01-01 00:00:12", "2026-01-01 00:00:31"])
    runs = history.runs.iloc[:3].assign(submitted_at=at, known_at=known, workflow="w", environment=None)
    numbered = number_runs(replace(history, runs=runs))
    assert numbered["workflow_runs"].tolist() == [0, 0, 2]
    assert np.expm1(numbered["log_gap_s"]).tolist() == pytest.approx([NAN, 0, 10], nan_ok=True)


def test_a_cycle_and_an_edge_to_nowhere_are_survived() -> None:
    history, runs, _ = of_run(0)
    run = history.runs["run_id"].iloc[0]
    more = pd.DataFrame({"run_id": run, "upstream_task_id": ["merge", "nobody"], "task_id": ["split", "merge"]})
    dag = describe_dags(replace(history, edges=pd.concat([history.edges, more], ignore_index=True)), runs)
    assert len(dag.upstream) == 7
    assert np.isfinite(dag.rows["depth"]).all()
    assert sum(map(len, dag.levels())) == 5


def test_a_part_of_the_runs_is_described_as_within_the_whole() -> None:
    history = remembered(WORLD)
    dag = dag_of(history)
    part = dag.of_runs(3, 5)
    assert part.rows["run"].unique().tolist() == [3, 4]
    assert (len(part.upstream), part.upstream.min(), part.downstream.max()) == (12, 1, 9)
    names = part.rows["task_id"].to_numpy()
    assert {*zip(names[part.upstream], names[part.downstream], strict=True)} == {
        *zip(history.edges["upstream_task_id"], history.edges["task_id"], strict=True)
    }

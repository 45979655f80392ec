"""Totals of a run, worked out by hand on a diamond."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from predictors.composition import TOTALS, compose
from predictors.features import Dag

SPLIT, LEFT, RIGHT, MERGE = range(4)
EDGES = [(SPLIT, LEFT), (SPLIT, RIGHT), (LEFT, MERGE), (RIGHT, MERGE)]


def diamond(workers: list[int], runs: int = 1, first: int = 0) -> Dag:
    """Diamonds one after the other; a worker of -1 is a flexible one."""
    place = 4 * np.arange(runs)[:, None]
    rows = pd.DataFrame({
        "run": np.repeat(np.arange(first, first + runs), 4),
        "depth": np.tile([0.0, 1, 1, 2], runs),
        "worker": [worker + 10 * run if worker >= 0 else -1 for run in range(runs) for worker in workers],
    })  # fmt: skip
    ends = [np.ravel(place + np.array([edge[end] for edge in EDGES])) for end in (0, 1)]
    return Dag(rows, ends[0], ends[1], np.ones(4 * runs, dtype=bool))


def totals(
    dag: Dag, launched: list[int], startup: list[float], execution: list[float], first: int = 0, **more: Any
) -> Any:
    count = len(dag.rows)
    parts = {"execution": np.array(execution, dtype="float64"), "startup": np.array(startup, dtype="float64")}
    parts |= {name: np.array(more.get(name, np.zeros(count)), dtype="float64") for name in ("download", "upload")}
    runs = int(dag.rows["run"].max()) + 1 if count else first + 1
    return compose(dag, np.array(launched, dtype="int64"), parts, first, runs)


def test_a_makespan_goes_along_the_longest_path_with_start_ups_and_transfers() -> None:
    # split, left and merge share a worker, right has its own, which starts when split is done.
    found = totals(
        diamond([0, 0, 1, 0]), [SPLIT, RIGHT], [100, 50], [10, 40, 20, 5], download=[0, 0, 3, 4], upload=[2, 0, 6, 1]
    )
    # split is done at 100 + 10 + 2 = 112; left at 152; right at 112 + 50 + 3 + 20 + 6 = 191; merge at 191 + 4 + 5 + 1.
    assert {name: value.tolist() for name, value in found.items()} == {
        "execution": [75], "download": [7], "upload": [9], "startup": [150], "makespan": [201],
    }  # fmt: skip
    assert found.keys() == TOTALS.keys()


def test_a_worker_that_starts_slowly_keeps_all_its_tasks_waiting() -> None:
    # left and right share a worker that is launched for left; both wait for it. merge goes on where split was.
    found = totals(diamond([0, 1, 1, 0]), [SPLIT, LEFT], [10, 500], [1, 1, 30, 1])
    assert found["makespan"].tolist() == [10 + 1 + 500 + 30 + 1]


def test_flexible_workers_delay_only_the_task_they_start_for() -> None:
    found = totals(diamond([-1] * 4), [SPLIT, RIGHT], [100, 50], [10, 70, 10, 5])
    # left goes on at 110 and is done at 180; right starts until 160 and is done at 170.
    assert found["makespan"].tolist() == [185]
    assert found["startup"].tolist() == [150]


def test_runs_do_not_mix() -> None:
    dag = diamond([0, 0, 1, 0], runs=3, first=5)
    found = totals(dag, [0, 4, 8], [100, 10, 0], [1] * 4 + [2] * 4 + [3] * 4, first=5)
    assert found["makespan"].tolist() == [103, 16, 9]
    assert found["startup"].tolist() == [100, 10, 0]
    assert found["execution"].tolist() == [4, 8, 12]


@pytest.mark.parametrize("first", [0, 7])
def test_a_run_without_tasks_takes_nothing(first: int) -> None:
    empty = diamond([0, 0, 1, 0], runs=0)
    found = totals(empty, [], [], [], first)
    assert all(found[metric].tolist() == [0] for metric in TOTALS)

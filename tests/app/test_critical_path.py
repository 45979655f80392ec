"""What is said of a run's critical path."""

from __future__ import annotations

from typing import Any

import pandas as pd

from app.charts import dag
from app.critical_path import sentences, table, tasks_on
from app.dag_layout import layout

COLUMNS = (
    "path", "step", "task_id", "worker_id", "startup_ms", "handover_ms", "input_wait_ms", "execution_ms", "upload_ms", "gap_ms",
    "step_ms", "upstream_missing", "reaches_sink", "on_other_path",
)  # fmt: skip


def _step(path: str, step: int, task: str, other: bool | None = None, **parts: Any) -> dict[str, Any]:
    known = {
        "startup_ms": 0.0,
        "handover_ms": 0.0,
        "input_wait_ms": 0.0,
        "execution_ms": 0.0,
        "upload_ms": 0.0,
        "gap_ms": 0.0,
        **parts,
    }
    whole = (
        None if known["gap_ms"] is None else sum(value or 0 for name, value in known.items() if name.endswith("_ms"))
    )
    return {
        "path": path, "step": step, "task_id": task, "worker_id": "w", "upstream_missing": 0, "reaches_sink": True,
        "on_other_path": other, "step_ms": whole, **known,
    }  # fmt: skip


def _paths(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(COLUMNS))


OBSERVED = (
    _step("observed", 1, "f+a", True, startup_ms=600.0, execution_ms=150.0),
    _step("observed", 2, "g+b", False, input_wait_ms=100.0, execution_ms=50.0, upload_ms=120.0, gap_ms=-20.0),
)
PLANNED = (_step("planned", 1, "f+a", True, execution_ms=400.0), _step("planned", 2, "h+c", False, startup_ms=100.0))


def test_the_parts_of_the_observed_path_add_up_to_the_makespan_and_the_longest_is_first() -> None:
    first, second = sentences(_paths(*OBSERVED, *PLANNED), 1000.0, True)
    assert first == (
        "The observed critical path has 2 tasks and takes the whole makespan, **1.00 s**: start-up of workers 600 ms (60.0 %), "
        "execution 200 ms (20.0 %), upload 120 ms (12.0 %), waiting for and downloading inputs 100 ms (10.0 %), "
        "gap -20.0 ms (-2.00 %), negative where two clocks disagree or a task begins before the one it follows has ended, as what a "
        "call calls does."
    )
    assert second == (
        "The planner expected a path of 2 tasks that takes **500 ms**: execution 400 ms (80.0 %), start-up of workers 100 ms "
        "(20.0 %). 1 of the 2 tasks on the observed path is on it."
    )


def test_without_a_plan_only_the_observed_path_is_told() -> None:
    assert len(sentences(_paths(*OBSERVED), 1000.0, False)) == 1


def test_a_plan_without_a_path_says_so() -> None:
    assert sentences(_paths(*OBSERVED), 1000.0, True)[-1] == "The plan names no critical path."


def test_a_run_without_tasks_has_no_path() -> None:
    assert sentences(_paths(), None, False) == [
        "No critical path was observed: no task of this run left the time at which it ended."
    ]


def test_without_a_sink_the_path_ends_at_the_last_task_and_what_was_lost_is_counted() -> None:
    rows = [{**row, "reaches_sink": False, "upstream_missing": 1} for row in OBSERVED]
    (said,) = sentences(_paths(*rows), None, False)
    assert "ends at the task that ended last, `g+b`. It has 2 tasks and takes **1.00 s**" in said
    assert "makespan" not in said
    assert "2 tasks that its tasks waited for left no metrics" in said


def test_without_a_submission_parts_have_no_shares() -> None:
    first = _step("observed", 1, "f+a", execution_ms=150.0, startup_ms=None, gap_ms=None)
    (said,) = sentences(_paths(first, OBSERVED[1]), None, False)
    assert "how long it took is unknown" in said
    assert "execution 200 ms, upload 120 ms" in said


def test_waits_that_were_not_recorded_are_said_to_be_in_the_gap_except_where_nothing_is_waited_for() -> None:
    rows = [{**row, "input_wait_ms": None} for row in OBSERVED]
    (said,) = sentences(_paths(*rows), 1000.0, False)
    assert "1 of its 2 tasks records no wait for inputs: their downloads are in the gap." in said


def test_the_table_names_workers_as_the_drawing_does_and_hostile_names_stay_text() -> None:
    shown = table(_paths(*OBSERVED), {"f+a": "f", "g+b": "<b>" * 100}, {"w": "w3"})
    assert shown["step"].tolist() == [1, 2]
    assert shown["worker"].tolist() == ["w3", "w3"]
    assert shown["planned path"].tolist() == ["on it", "not on it"]
    assert all(len(name) <= 60 for name in shown["function"])
    parts = [name for name in shown.columns if name.endswith("(ms)") and name != "whole step (ms)"]
    assert shown[parts].sum(axis=1).tolist() == shown["whole step (ms)"].tolist()


def test_the_dag_draws_each_path_in_its_own_way() -> None:
    paths = _paths(*OBSERVED, *PLANNED)
    tasks = ["f+a", "g+b", "h+c", "i+d"]
    nodes = pd.DataFrame(
        {"task_id": tasks, "function": tasks, "left_metrics": True, "lane": "w1", "input_wait_ms": None, "execution_ms": 1.0, "upload_ms": None}
    )  # fmt: skip
    edges = pd.DataFrame([("f+a", "g+b"), ("f+a", "h+c"), ("f+a", "i+d")], columns=["upstream_task_id", "task_id"])
    on = {path: tasks_on(paths, path) for path in ("observed", "planned")}
    spec = dag(nodes, edges, layout(tasks, edges.itertuples(index=False, name=None)), on).to_dict()
    drawn = [row["path"] for rows in spec["datasets"].values() for row in rows if "path" in row]
    assert sorted(drawn) == ["", "", "", "observed critical path", "planned critical path"]
    told = {row["task"]: row["critical path"] for rows in spec["datasets"].values() for row in rows if "task" in row}
    assert told == {
        "f+a": "observed: step 1; planned: step 1",
        "g+b": "observed: step 2",
        "h+c": "planned: step 2",
        "i+d": "no",
    }

"""sla_impact: what runs of each SLA took, beside a reference SLA of the same workflow and planner."""

import random
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.views import Row, at, derived, one

Tables = dict[str, list[Row]]
GROUP = ("workflow", "planner", "sla", "sla_percentile")


def recorded(sla: str | None, *makespans: float | None, **run: object) -> Tables:
    """Complete runs of one task under that SLA; without a makespan the task left no metrics."""
    percentile = float(sla[1:]) if sla and sla != "average" else None
    same = {"workflow": "w", "planner": "p", "sla": sla, "sla_percentile": percentile, "environment": "here"}
    same |= {"submitted_at": at(0), "sink_task_id": "t", "expected_tasks": 1} | run
    names = [f"{'/'.join(map(str, same.values()))} {number}" for number in range(len(makespans))]
    return {
        "runs": [same | {"run_id": name} for name in names],
        "tasks": [
            {"run_id": name, "task_id": "t", "started_at": at(0), "execution_ms": float(makespan)}
            for name, makespan in zip(names, makespans, strict=True)
            if makespan is not None
        ],
    }


def together(*parts: Tables) -> Tables:
    return {
        name: [row for part in parts for row in part.get(name, [])] for name in {key for part in parts for key in part}
    }


def impact(*parts: Tables, metric: str | None = "makespan_ms", **wanted: object) -> dict[str | None, Row]:
    """The rows of a metric by their SLA."""
    rows = derived("sla_impact", **together(*parts))
    assert len({tuple(row[name] for name in (*GROUP, "metric")) for row in rows}) == len(rows)
    rows = [row for row in rows if metric in (None, row["metric"]) and all(row[k] == v for k, v in wanted.items())]
    return {row["sla"] if metric else row["metric"]: row for row in rows}


def test_each_sla_has_its_median_and_quartiles_and_their_ratio_to_those_of_p50():
    """p50: 100 200 300 400, median 250, quartiles at 175 and 325. p90: 500, twice as long."""
    rows = impact(recorded("p50", 100, 200, 300, 400), recorded("p90", 500), recorded("average", 25))
    assert [rows["p50"][name] for name in ("n", "runs", "median", "p25", "p75")] == [4, 4, 250, 175, 325]
    assert {sla: (row["reference_sla"], row["ratio_of_medians"]) for sla, row in rows.items()} == {
        "p50": ("p50", 1),
        "p90": ("p50", 2),
        "average": ("p50", 0.1),
    }
    assert {sla: row["sla_percentile"] for sla, row in rows.items()} == {"p50": 50, "p90": 90, "average": None}


@pytest.mark.parametrize(
    ("slas", "reference"),
    [
        (("p90", "average", "p25"), "average"),
        (("p90", "p100", "p75"), "p75"),  # by number: p100 comes last
        (("p9", "p75"), "p9"),
        (("p90", None), "p90"),
    ],
)
def test_without_p50_the_reference_is_the_average_else_the_lowest_percentile(
    slas: tuple[str | None, ...], reference: str
):
    rows = impact(*(recorded(sla, 100 * (number + 1)) for number, sla in enumerate(slas)))
    assert {row["reference_sla"] for row in rows.values()} == {reference}
    base = rows[reference]["median"]
    for sla, row in rows.items():
        assert row["ratio_of_medians"] == (None if sla is None else pytest.approx(row["median"] / base))


def test_runs_without_an_sla_have_a_row_and_are_neither_compared_nor_a_reference():
    rows = impact(recorded(None, 100, 300))
    assert [rows[None][name] for name in ("n", "median", "reference_sla", "ratio_of_medians")] == [2, 200, None, None]
    rows = impact(recorded(None, 100), recorded("p75", 50))
    assert (rows[None]["reference_sla"], rows[None]["ratio_of_medians"]) == ("p75", None)
    assert rows["p75"]["ratio_of_medians"] == 1


def test_only_complete_runs_count_and_those_left_out_are_counted():
    unknown = recorded("p50", 7, environment="unknown")
    unknown["runs"][0]["expected_tasks"] = None  # nobody knows whether that was all
    rows = impact(recorded("p50", 100, 300, None), unknown)
    row = one(list(rows.values()))
    assert [row[name] for name in ("runs", "runs_incomplete", "n", "median")] == [4, 2, 2, 200]
    assert row["environments"] == 2
    assert impact(recorded("p50", None)) == {}  # no run with a value, no row


def test_a_run_that_says_nothing_of_a_metric_is_not_in_its_n():
    runs = recorded("p50", 100, 200, 600)
    for task, wait in zip(runs["tasks"], (None, 4.0, 8.0), strict=True):
        task["input_wait_ms"] = wait
    rows = impact(runs, metric=None)
    assert (rows["input_wait_ms"]["n"], rows["input_wait_ms"]["median"]) == (2, 6)
    assert rows["makespan_ms"]["n"] == 3
    absent = impact(recorded("p50", 100), metric=None)
    assert "input_wait_ms" not in absent  # recorded nowhere: that is not a wait of 0
    assert absent["download_ms"]["median"] == 0  # a download that did not happen took no time


def test_every_metric_of_a_run():
    """Two workers of 1 and 3 GB, one cold, one warm; active from their requests to the ends of their tasks."""
    run = recorded("p50", 100, expected_tasks=2)
    name = run["runs"][0]["run_id"]
    run["tasks"][0] |= {"worker_id": "a", "memory_mb": 1024, "input_wait_ms": 20.0, "upload_ms": 30.0}  # to 150
    run["tasks"].append(run["tasks"][0] | {"task_id": "u", "worker_id": "b", "memory_mb": 3072, "execution_ms": 450.0})
    launch = {"run_id": name, "requested_at": at(-500)}
    run["invocations"] = [
        launch
        | {"invocation_id": "a", "worker_id": "a", "memory_mb": 1024, "ready_at": at(-100), "reported_state": "cold"},
        launch
        | {"invocation_id": "b", "worker_id": "b", "memory_mb": 3072, "ready_at": at(-300), "reported_state": "warm"},
    ]
    run["task_inputs"] = [{"run_id": name, "task_id": "u", "object_id": "t", "input_bytes": 10, "download_ms": 5.0}]
    run["prices"] = [{"environment": "default", "gb_second_usd": 2.0, "request_usd": 0.5}]
    rows = impact(run, metric=None)
    assert {metric: row["median"] for metric, row in rows.items()} == pytest.approx(
        {
            "makespan_ms": 150,
            "execution_ms": 550,
            "input_wait_ms": 40,
            "download_ms": 5,
            "upload_ms": 60,
            "startup_ms": 600,  # 400 and 200
            "gb_seconds": 0.65 + 3.0,  # 1 GB for 650 ms, 3 GB for 1000
            "cost_usd": 2 * 3.65 + 2 * 0.5,
            "workers": 2,
            "memory_mb": 2048,
            "cold_share": 0.5,
        }
    )
    assert {row["n"] for row in rows.values()} == {1}


def test_prices_for_one_environment_only_give_a_cost_to_its_runs_alone():
    runs = [recorded("p50", 100, environment=name) for name in ("here", "there")]
    for part in runs:
        part["tasks"][0] |= {"worker_id": "a"}
        key = {"run_id": part["runs"][0]["run_id"], "worker_id": "a", "memory_mb": 1024}
        part["invocations"] = [key | {"invocation_id": key["run_id"], "requested_at": at(0), "ready_at": at(0)}]
    rows = impact(*runs, {"prices": [{"environment": "here", "gb_second_usd": 10.0, "request_usd": 0.0}]}, metric=None)
    assert (rows["cost_usd"]["n"], rows["cost_usd"]["median"]) == (1, pytest.approx(1))  # .1 GB-seconds
    assert (rows["gb_seconds"]["n"], rows["gb_seconds"]["runs"], rows["gb_seconds"]["environments"]) == (2, 2, 2)


def test_a_reference_of_zero_gives_no_ratio():
    rows = impact(recorded("p50", 0), recorded("p90", 100))
    assert [rows[sla]["ratio_of_medians"] for sla in ("p50", "p90")] == [None, None]


def test_the_reference_is_one_with_a_value_of_that_metric():
    """Waits are recorded under p75 and p90 only."""
    waited = [recorded("p75", 100), recorded("p90", 100)]
    for part, wait in zip(waited, (10.0, 30.0), strict=True):
        part["tasks"][0]["input_wait_ms"] = wait
    rows = impact(recorded("p50", 100), *waited, metric="input_wait_ms")
    assert {sla: (row["reference_sla"], row["ratio_of_medians"]) for sla, row in rows.items()} == {
        "p75": ("p75", 1),
        "p90": ("p75", 3),
    }


def test_the_sla_of_the_plan_comes_before_that_of_the_run():
    part = recorded("p50", 100)
    plan = {"run_id": part["runs"][0]["run_id"], "planner": "q", "sla": "average", "sla_percentile": None}
    row = one(list(impact(part, {"plans": [plan]}).values()))
    assert (row["planner"], row["sla"], row["sla_percentile"]) == ("q", "average", None)


def test_workflows_and_planners_are_not_compared_with_each_other_and_may_be_unknown():
    keys = [("w", "p"), ("w", None), (None, "p"), (None, None)]
    parts = []
    for number, (workflow, planner) in enumerate(keys):
        same = {"workflow": workflow, "planner": planner}
        parts += [recorded("p50", 10 + number, **same), recorded("p90", 3 * (10 + number), **same)]
    for workflow, planner in keys:
        rows = impact(*parts, workflow=workflow, planner=planner)
        assert {sla: (row["runs"], row["ratio_of_medians"]) for sla, row in rows.items()} == {
            "p50": (1, 1),
            "p90": (1, pytest.approx(3)),
        }


@settings(max_examples=10, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["v", "w", None]),
            st.sampled_from(["p50", "p75", "p90", "average", None]),
            st.none() | st.integers(1, 50),
        ),
        min_size=1,
        max_size=25,
    ),
    st.randoms(use_true_random=False),
)
def test_figures_are_those_of_the_runs_whatever_their_order(
    runs: list[tuple[str | None, str | None, int | None]], shuffle: random.Random
):
    parts = [recorded(sla, value, workflow=flow, engine_version=str(i)) for i, (flow, sla, value) in enumerate(runs)]
    shuffle.shuffle(parts)
    rows = [row for row in derived("sla_impact", **together(*parts)) if row["metric"] == "makespan_ms"]
    assert len({tuple(row[name] for name in GROUP) for row in rows}) == len(rows)
    assert len(rows) == len({(flow, sla) for flow, sla, value in runs if value is not None})
    for row in rows:
        mine = [value for flow, sla, value in runs if (flow, sla) == (row["workflow"], row["sla"])]
        values = [value for value in mine if value is not None]
        assert (row["runs"], row["n"], row["runs_incomplete"]) == (len(mine), len(values), len(mine) - len(values))
        assert row["median"] == median(values)
        assert (row["p25"], row["p75"]) == pytest.approx(tuple(np.percentile(values, [25, 75])))
        reference = [
            other for other in rows if (other["workflow"], other["sla"]) == (row["workflow"], row["reference_sla"])
        ]
        expected = row["median"] / one(reference)["median"] if row["reference_sla"] and row["sla"] else None
        assert row["ratio_of_medians"] == (expected if expected is None else pytest.approx(expected))

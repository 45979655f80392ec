"""planner_comparison: which planner is fastest, which cheapest, and the frontier between them."""

import random
from itertools import count
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.views import Row, at, derived

Tables = dict[str, list[Row]]
DEFAULT_PRICE = {"environment": "default", "gb_second_usd": 2.0, "request_usd": 0.0}


def recorded(planner: str | None, *runs: tuple[float | None, float | None], **run: object) -> Tables:
    """Complete runs of one task: makespan in ms (None: no metrics), GB-seconds (None: no worker on record).

    The worker is as large as it takes: active from request to the task's end, it makes those GB-seconds.
    """
    tables: Tables = {"runs": [], "tasks": [], "invocations": []}
    same = {"engine": "e", "workflow": "w", "planner": planner, "environment": "here", "submitted_at": at(0)}
    same |= {"sink_task_id": "t", "expected_tasks": 1} | run
    for number, (makespan, gb_seconds) in enumerate(runs):
        key = {"run_id": f"{'/'.join(map(str, same.values()))} {number}"}
        tables["runs"].append(same | key)
        if makespan is not None:
            tables["tasks"].append(
                key | {"task_id": "t", "worker_id": "a", "started_at": at(0), "execution_ms": float(makespan)}
            )
        if makespan is not None and gb_seconds is not None:
            memory_mb = round(gb_seconds * 1024 * 1000 / makespan)
            launch = {"invocation_id": key["run_id"], "worker_id": "a", "memory_mb": memory_mb}
            tables["invocations"].append(key | launch | {"requested_at": at(0), "ready_at": at(0)})
    return tables


def together(*parts: Tables) -> Tables:
    return {
        name: [row for part in parts for row in part.get(name, [])] for name in {key for part in parts for key in part}
    }


def comparison(*parts: Tables) -> dict[str | None, Row]:
    """The rows by planner, of the only workflow."""
    rows = derived("planner_comparison", **together(*parts))
    found = {row["planner"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def frontier(rows: dict[str | None, Row]) -> dict[str | None, bool | None]:
    return {planner: row["is_on_frontier"] for planner, row in rows.items()}


def test_planners_are_compared_by_the_medians_of_makespan_and_gb_seconds():
    """Slow: makespans 1000 2000 4000, GB-seconds 1 2 3. Quick: 1000, and 4."""
    rows = comparison(recorded("slow", (1000, 1), (2000, 3), (4000, 2)), recorded("quick", (1000, 4)))
    names = ("makespan_ms", "gb_seconds", "resource", "resource_value", "makespan_ratio", "resource_ratio")
    assert [rows["slow"][name] for name in names] == pytest.approx([2000, 2, "gb_seconds", 2, 2, 1])
    assert [rows["quick"][name] for name in names] == pytest.approx([1000, 4, "gb_seconds", 4, 1, 2])
    assert (rows["slow"]["makespan_p25_ms"], rows["slow"]["makespan_p75_ms"]) == (1500, 3000)
    assert frontier(rows) == {"slow": True, "quick": True}


def test_a_planner_beaten_on_both_counts_is_not_on_the_frontier():
    rows = comparison(
        recorded("best", (1000, 1)),
        recorded("as quick", (1000, 2)),
        recorded("as cheap", (2000, 1)),
        recorded("worse", (2000, 2)),
        recorded("cheaper", (4000, 0.5)),
    )
    assert frontier(rows) == {"best": True, "as quick": False, "as cheap": False, "worse": False, "cheaper": True}


def test_planners_with_equal_medians_do_not_beat_each_other():
    rows = comparison(recorded("one", (1000, 1)), recorded("two", (1000, 1)), recorded("three", (2000, 1)))
    assert frontier(rows) == {"one": True, "two": True, "three": False}


def test_a_planner_alone_is_on_the_frontier():
    row = comparison(recorded("p", (1000, 1)))["p"]
    assert [row[name] for name in ("is_on_frontier", "makespan_ratio", "resource_ratio")] == [True, 1, 1]


def test_where_a_resource_is_unknown_the_frontier_says_nothing_and_others_are_compared():
    rows = comparison(recorded("p", (1000, None)), recorded("q", (2000, 1)), recorded("r", (3000, 2)))
    assert frontier(rows) == {"p": None, "q": True, "r": False}
    assert (rows["p"]["makespan_ratio"], rows["p"]["resource_ratio"], rows["q"]["makespan_ratio"]) == (1, None, 2)


def test_survivors_stand_beside_what_was_lost():
    """Of four runs one is incomplete, one of unknown extent; a worker never became ready; a sink failed: no makespan."""
    parts = together(recorded("p", (1000, 1), (3000, 1), (None, None)), recorded("p", (9, 1), expected_tasks=None))
    lost = {"run_id": parts["runs"][2]["run_id"], "invocation_id": "lost", "worker_id": "z", "requested_at": at(0)}
    parts["invocations"].append(lost)
    parts["tasks"][0] |= {"status": "failed"}
    row = comparison(parts)["p"]
    names = ("runs", "n", "runs_incomplete", "failed_tasks", "killed_workers", "makespan_ms")
    assert [row[name] for name in names] == [4, 2, 1, 1, 1, 3000]


def test_a_planner_without_a_complete_run_has_a_row_and_no_place():
    rows = comparison(recorded("p", (None, None)), recorded("q", (1000, 1)))
    names = ("runs", "n", "makespan_ms", "gb_seconds", "makespan_ratio", "is_on_frontier", "preloaded_inputs")
    assert [rows["p"][name] for name in names] == [1, 0, None, None, None, None, None]
    assert frontier(rows)["q"]
    assert comparison(recorded("p", (None, None)))["p"]["resource"] == "gb_seconds"


def test_costs_are_compared_where_every_run_with_gb_seconds_has_a_price():
    """2 dollars per GB-second: 2 and 8 dollars."""
    parts = (recorded("p", (1000, 1)), recorded("q", (500, 4)), recorded("dead", (None, None)))
    rows = comparison(*parts, {"prices": [DEFAULT_PRICE]})
    assert {name: (row["resource"], row["resource_value"]) for name, row in rows.items()} == {
        "p": ("cost_usd", pytest.approx(2)),
        "q": ("cost_usd", pytest.approx(8)),
        "dead": ("cost_usd", None),
    }
    assert rows["q"]["resource_ratio"] == pytest.approx(4)


def test_prices_of_some_environments_only_are_not_compared():
    """Of p the cheap run alone has a price: a median of that would stand beside makespans of all."""
    price = DEFAULT_PRICE | {"environment": "here"}
    p = together(recorded("p", (1000, 1)), recorded("p", (1000, 9), (1000, 9), environment="there"))
    rows = comparison(p, recorded("q", (2000, 3)), {"prices": [price]})
    assert {name: (row["resource"], row["resource_value"]) for name, row in rows.items()} == {
        "p": ("gb_seconds", pytest.approx(9)),
        "q": ("gb_seconds", pytest.approx(3)),
    }
    assert frontier(rows) == {"p": True, "q": True}
    assert (rows["p"]["cost_usd"], rows["q"]["cost_usd"]) == (pytest.approx(2), pytest.approx(6))  # shown all the same
    assert rows["p"]["environments"] == 2


def test_prices_in_one_workflow_do_not_depend_on_another():
    price = DEFAULT_PRICE | {"environment": "here"}
    parts = (recorded("p", (1000, 1)), recorded("p", (1000, 1), workflow="v", environment="there"))
    rows = derived("planner_comparison", **together(*parts, {"prices": [price]}))
    assert {row["workflow"]: row["resource"] for row in rows} == {"w": "cost_usd", "v": "gb_seconds"}


def test_recorded_gb_seconds_stand_beside_the_derived_ones_with_their_zeros():
    parts = recorded("p", (1000, 4), (1000, 6), (1000, 8), (None, None))
    for run, sampled in zip(parts["runs"], (0.0, 0.0, 5.0, 0.0), strict=True):
        run["gb_seconds"] = sampled
    row = comparison(parts)["p"]
    assert [row[name] for name in ("gb_seconds", "gb_seconds_recorded", "gb_seconds_recorded_zero")] == [6, 0, 2]


def test_waits_and_downloads_that_nobody_recorded_are_told():
    """WUKONG's workers record no wait: unknown, not 0. Of three inputs one was pre-loaded and lost its time."""
    parts = together(recorded("WUKONGPlanner", (1000, 1)), recorded("p", (1000, 1), (1000, 1)))
    parts["tasks"][1]["input_wait_ms"] = 10.0
    name = parts["runs"][1]["run_id"]
    read = {"run_id": name, "task_id": "t", "input_bytes": 10}
    parts["task_inputs"] = [
        read | {"object_id": "a", "preloaded": True, "download_ms": None},
        read | {"object_id": "b", "preloaded": True, "download_ms": 4.0},
        read | {"object_id": "c", "preloaded": False, "download_ms": None},
    ]
    rows = comparison(parts)
    names = ("input_wait_ms", "download_ms", "preloaded_inputs")
    assert [rows["WUKONGPlanner"][name] for name in names] == [None, 0, 0]
    assert [rows["p"][name] for name in names] == [10, 2, 1]  # downloads 4 and 0


def test_cold_starts_are_shares_of_all_known_ones():
    parts = recorded("p", (1000, 1), (1000, 1), (1000, 1))
    for launch, state in zip(parts["invocations"], ("cold", "warm", "warm"), strict=True):
        launch["reported_state"] = state
    assert comparison(parts)["p"]["cold_share"] == pytest.approx(1 / 3)
    for launch in parts["invocations"]:
        launch |= {"reported_state": None, "ready_at": None}
    assert comparison(parts)["p"]["cold_share"] is None


def test_memory_slas_and_environments_that_differ_are_shown():
    parts = together(recorded("p", (1000, 1), sla="p50"), recorded("p", (1000, 1), sla="p90", environment="there"))
    for task, memory_mb in zip(parts["tasks"], (1024, 3072), strict=True):
        task["memory_mb"] = memory_mb
    row = comparison(parts)["p"]
    assert [row[name] for name in ("slas", "environments", "memory_mb", "workers")] == [2, 2, 2048, 1]


def test_a_run_without_planner_workflow_or_engine_is_compared_with_its_like():
    unknown = {"workflow": None, "engine": None}
    rows = comparison(recorded(None, (1000, 1), **unknown), recorded("p", (2000, 2), **unknown))
    assert frontier(rows) == {None: True, "p": False}
    assert rows["p"]["makespan_ratio"] == 2


def test_workflows_and_engines_are_not_compared_with_each_other():
    parts = [recorded("p", (1000, 1)), recorded("q", (2000, 2), workflow="v"), recorded("q", (2000, 2), engine="f")]
    rows = derived("planner_comparison", **together(*parts))
    assert {(row["is_on_frontier"], row["makespan_ratio"]) for row in rows} == {(True, 1)}
    assert len(rows) == 3


@st.composite
def planners(draw: st.DrawFn) -> dict[tuple[str, str | None], list[tuple[int | None, int | None]]]:
    """Runs by workflow and planner, of few different values so that many are equal."""
    makespans = st.sampled_from([None, 1000, 2000, 4000])
    runs = st.lists(st.tuples(makespans, st.none() | st.integers(1, 3)), min_size=1, max_size=3)
    keys = st.tuples(st.sampled_from(["v", "w"]), st.sampled_from(["p", "q", "r", "s", None]))
    return draw(st.dictionaries(keys, runs, min_size=1, max_size=10))


@settings(max_examples=10, deadline=None)
@given(planners(), st.booleans(), st.randoms(use_true_random=False))
def test_the_frontier_is_that_of_comparing_every_pair_whatever_the_order_of_rows(
    runs: dict[tuple[str, str | None], list[tuple[int | None, int | None]]], is_priced: bool, shuffle: random.Random
):
    ids = count()
    parts = [
        recorded(planner, *them, workflow=flow, engine_version=str(next(ids))) for (flow, planner), them in runs.items()
    ]
    tables = together(*parts, {"prices": [DEFAULT_PRICE] if is_priced else []})
    rows = derived("planner_comparison", **{name: shuffle.sample(them, len(them)) for name, them in tables.items()})
    found = {(row["workflow"], row["planner"]): row for row in rows}
    assert len(found) == len(rows)
    assert found.keys() == runs.keys()
    medians: dict[tuple[str, str | None], tuple[float | None, float | None]] = {}
    for key, them in runs.items():
        made = [makespan for makespan, _ in them if makespan is not None]
        used = [gb_seconds for makespan, gb_seconds in them if makespan is not None and gb_seconds is not None]
        medians[key] = (median(made) if made else None, median(used) if used else None)
    for key, (makespan, resource) in medians.items():
        assert found[key]["makespan_ms"] == makespan
        assert found[key]["gb_seconds"] == (resource if resource is None else pytest.approx(resource))
        if makespan is None or resource is None:
            assert found[key]["is_on_frontier"] is None
            continue
        others = [other for (flow, _), other in medians.items() if flow == key[0] and None not in other]
        is_beaten = any(
            other[0] <= makespan and other[1] <= resource and other != (makespan, resource) for other in others
        )
        assert found[key]["is_on_frontier"] is not is_beaten
        assert found[key]["makespan_ratio"] >= 1
        assert found[key]["resource_ratio"] >= 1
    for flow in {flow for flow, _ in runs}:
        ratios = [
            row["makespan_ratio"] for row in rows if row["workflow"] == flow and row["makespan_ratio"] is not None
        ]
        assert min(ratios, default=1) == 1
        assert any(row["is_on_frontier"] for row in rows if row["workflow"] == flow) == any(
            flow == key[0] and None not in both for key, both in medians.items()
        )

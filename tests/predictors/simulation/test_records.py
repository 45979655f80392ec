"""What of a log becomes a record, and what of a record is played."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import pytest

from predictors.dags import is_acyclic
from predictors.simulation.play import ANY, Prewarm
from predictors.simulation.recorded import shape_as_planned, shape_as_run
from predictors.simulation.records import Prewarming, Record, iterate_workers, read_records
from tests.predictors.simulation.logs import EDGES, Rows, diamond, home_of, instant, run_log, together
from warehouse.connection import open_current

NAN = math.nan
A, B, C, D = range(4)
TASKS = {
    task: {"worker_id": "w0", "start_ms": 100 * place, "input_wait_ms": 0.0, "execution_ms": 50.0}
    for place, task in enumerate("abcd")
}
ON_ONE = {"w0": {"requested_ms": 0, "ready_ms": 0, "initial_task_ids": ["a"], "container_id": "elsewhere/1"}}


def helped() -> Rows:
    """The diamond with everything assigned: d pre-loads, c may be duplicated; a triggers a pre-warm for w1, at 135."""
    of = {"run_id": "diamond"}
    return diamond() | {
        "optimizations": [
            {**of, "task_id": "d", "optimization": "preload", "stage": "assigned", "target_task_id": "c"},
            {**of, "task_id": "b", "optimization": "preload", "stage": "applied", "target_task_id": "a"},
            {**of, "task_id": "c", "optimization": "taskdup", "stage": "assigned"},
            {**of, "task_id": "a", "optimization": "prewarm", "stage": "assigned", "target_worker_id": "w1"},
            {**of, "task_id": "a", "optimization": "prewarm", "stage": "applied", "target_worker_id": "w1", "happened_at": instant(135)},
            {**of, "task_id": "c", "optimization": "prewarm", "stage": "assigned", "target_worker_id": "w0"},
        ]
    }  # fmt: skip


def all_on_one(run: str, submitted_ms: float, edges: Iterable[tuple[str, str]] = EDGES, **more: object) -> Rows:
    """A run whose tasks run one after the other on one worker, until 352."""
    return run_log(run, submitted_ms, list(edges), TASKS, ON_ONE, environment="elsewhere", **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    three = {task: said for task, said in TASKS.items() if task != "c"}
    log = together(
        helped(),
        diamond("flexible", 10_000, planned=None, planner=None, environment="aside"),
        all_on_one("cyclic", 20_000, [*EDGES, ("d", "a")]),
        all_on_one("endless", 20_000, sink_task_id="z"),
        all_on_one("unsubmitted", 20_000, submitted_at=None),
        run_log("partial", 30_000, EDGES, three, ON_ONE, environment="partial"),
    )
    with open_current(home_of(tmp_path_factory.mktemp("records"), log)) as reader:
        return {record.run_id: record for record in read_records(reader)}


def test_a_run_without_a_submission_or_a_dag_with_its_sink_is_no_record(records: dict[str, Record]) -> None:
    assert list(records) == ["diamond", "flexible", "partial"]


def test_a_record_holds_the_dag_the_plan_and_what_was_recorded(records: dict[str, Record]) -> None:
    found = records["diamond"]
    assert (found.engine, found.environment, found.workflow, found.planner, found.sla) == (
        "hand",
        "here",
        "w",
        "p",
        "p50",
    )
    assert (found.task_ids, found.sink, found.is_complete) == (("a", "b", "c", "d"), D, True)
    assert found.upstream == ((), (A,), (A,), (B, C))
    assert found.is_awaited == (True, True, True, False)
    assert (found.worker, found.planned_worker) == (("w0", "w0", "w1", "w0"),) * 2
    assert (set(found.memory_mb), set(found.planned_memory_mb)) == ({1024}, {2048})
    assert found.start == (130, 198, 302, 401)
    assert (found.wait, found.execution) == ((0, 0, 24, 34), (50, 40, 60, 70))
    assert found.upload == pytest.approx((5, NAN, 6, 5), nan_ok=True)
    assert (found.counters, found.invocation) == ((2, 2, 2, 0), (8, 0, 0, 6))
    assert found.upstream_bytes == ((), (1000,), (1000,), (300, 10_000))
    assert found.upstream_ms[C] == (20,)
    assert found.upstream_ms[D] == pytest.approx((NAN, 30), nan_ok=True)
    assert found.inputs_bytes == (10, 1000, 1000, 10_300)
    assert found.makespan_ms == pytest.approx(516)


def test_a_worker_is_recorded_as_it_was_launched(records: dict[str, Record]) -> None:
    first, second = (records["diamond"].launches[worker] for worker in ("w0", "w1"))
    assert (first.requested, first.ready, first.state, first.initial_tasks) == (5, 105, "cold", (A,))
    assert (second.requested, second.ready, second.initial_tasks) == (192, 292, (C,))
    assert second.released == 394
    assert list(iterate_workers(records["diamond"])) == [("w0", [A, B, D]), ("w1", [C])]


def test_only_what_was_assigned_is_assigned_and_only_pre_warms_that_were_triggered_count(
    records: dict[str, Record],
) -> None:
    """30 ms after w0, the worker of a, was ready."""
    found = records["diamond"]
    assert found.preloads == (False, False, False, True)
    assert found.duplicable == (False, False, True, False)
    assert found.prewarmings == (Prewarming(A, 1024, 30),)
    shape, ids = shape_as_run(found)
    assert shape.prewarms == (Prewarm(ids.index("w0"), 1024, 30),)


def test_a_run_that_lacks_the_metrics_of_a_task_is_a_record_that_is_not_complete(records: dict[str, Record]) -> None:
    found = records["partial"]
    assert (found.is_complete, found.task_ids, found.worker[C]) == (False, ("a", "b", "c", "d"), None)
    assert math.isnan(found.start[C])


def test_a_run_is_played_as_it_ran_on_its_workers_and_their_memory(records: dict[str, Record]) -> None:
    shape, ids = shape_as_run(records["diamond"])
    assert (ids, shape.worker, shape.memory_mb) == (("w0", "w1"), (0, 0, 1, 0), (1024, 1024))
    assert (shape.upstream, shape.downstream) == (((), (A,), (A,), (B, C)), ((B, C), (D,), (D,), ()))


def test_a_worker_has_the_memory_that_its_invocation_tells_where_its_tasks_tell_none(tmp_path: Path) -> None:
    log = diamond()
    for row in log["tasks"]:
        del row["memory_mb"]
    with open_current(home_of(tmp_path, log)) as reader:
        (record,) = read_records(reader)
    assert shape_as_run(record)[0].memory_mb == (1024, 1024)


def test_a_run_is_played_as_planned_with_the_memory_that_was_planned(records: dict[str, Record]) -> None:
    shape, ids = shape_as_planned(records["diamond"])
    assert (ids, shape.worker, shape.memory_mb) == (("w0", "w1"), (0, 0, 1, 0), (2048, 2048))


def test_without_a_plan_each_task_may_run_anywhere_with_the_memory_that_was_used(records: dict[str, Record]) -> None:
    found = records["flexible"]
    assert found.is_flexible and not records["diamond"].is_flexible
    shape, ids = shape_as_planned(found)
    assert (ids, shape.worker, shape.workers) == (found.task_ids, (ANY,) * 4, 0)
    assert shape.memory_mb == (1024,) * 4
    assert shape_as_run(found)[0].worker == (0, 0, 1, 0)


def test_a_dag_that_bites_its_tail_is_told() -> None:
    assert is_acyclic([[], [0], [0, 1]])
    assert not is_acyclic([[], [0, 2], [1]])


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[float, Record]]:
    """The container of `first` is free 400 ms after 352; `second` takes it at 5000, and has done with it 400 ms after 5352."""
    log = together(
        all_on_one("first", 0),
        all_on_one("second", 5000),
        all_on_one("third", 9000),
        all_on_one("long after", 38_000),
        run_log("elsewhere", 9000, EDGES, TASKS, ON_ONE, environment="another"),
    )
    found: dict[str, dict[float, Record]] = {}
    with open_current(home_of(tmp_path_factory.mktemp("pools"), log)) as reader:
        for within_ms in (30_000, 60_000, 100):
            for record in read_records(reader, pool_ms=within_ms):
                found.setdefault(record.run_id, {})[within_ms] = record
        assert [record.run_id for record in read_records(reader, ["third"])] == ["third"]
    return found


def test_the_pool_of_a_run_is_what_others_left_in_its_environment_and_nobody_took(
    pools: dict[str, dict[float, Record]],
) -> None:
    free_at = 352 + 400
    assert pools["first"][30_000].pool == ()
    assert pools["second"][30_000].pool == ((1024, free_at - 5000),)
    assert pools["third"][30_000].pool == ((1024, 5000 + free_at - 9000),)
    assert pools["elsewhere"][30_000].pool == ()


def test_containers_are_looked_for_no_longer_ago_than_asked(pools: dict[str, dict[float, Record]]) -> None:
    """`third`'s is free since 9752, 28.2 s before; it was released 28.6 s before."""
    last = (1024, 9000 + 752 - 38_000)
    assert pools["long after"][30_000].pool == (last,)
    assert pools["long after"][60_000].pool == (last,)
    assert pools["long after"][100].pool == ()


def test_a_container_whose_end_is_recorded_is_free_from_then_on(tmp_path: Path) -> None:
    log = together(all_on_one("first", 0), all_on_one("second", 5000))
    log["invocations"][0]["finished_at"] = instant(900)
    with open_current(home_of(tmp_path, log)) as reader:
        record = read_records(reader)[1]
    assert record.pool == ((1024, 900 - 5000),)

"""From the values octoflows leaves in Redis to rows, on hand-made values and on the real dumps."""

from __future__ import annotations

import csv
import enum
import gzip
import json
import math
import os
import pickle
import shutil
import sys
import types
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.formats import octoflows, octoflows_fields
from ingest.formats.octoflows import read, run_of
from ingest.sources.rdb import RdbKeyspace
from warehouse.batches import Reject, Rows, Skipped, UnknownFields
from warehouse.tables import FACTS, REJECT_REASONS

DATA = Path(__file__).parents[2].parent / "shared/data/octoflows"
ENGINE = types.ModuleType("engine_stub")
U1, U2, U3 = (f"{n}1111111-aaaa-4bbb-8ccc-dddddddddddd" for n in (1, 2, 3))
RUN = f"1767225600000.join.{U1}.{'ab' * 32}"  # 2026-01-01 00:00:00
LOAD, SPLIT, JOIN = f"load+{U1}", f"split+{U2}", f"join+{U3}"
HASH, HEX32 = "cd" * 32, "ef" * 16
START_S = 1767225600


@pytest.fixture(autouse=True)
def _engine_is_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "engine_stub", ENGINE)


def make(class_name: str, **fields: Any) -> Any:
    """An object whose pickle says it is of that class, which may be nested ('Outer.Inner')."""
    owner: Any = ENGINE
    path = class_name.split(".")
    for position, part in enumerate(path):
        if not hasattr(owner, part):
            qualname = ".".join(path[: position + 1])
            setattr(owner, part, type(part, (), {"__module__": "engine_stub", "__qualname__": qualname}))
        owner = getattr(owner, part)
    made = owner()
    made.__dict__.update(fields)
    return made


class Startup(enum.Enum):
    COLD = "cold"


class Runs:
    """A keyspace of pickled values."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.data = {key: value if isinstance(value, bytes) else pickle.dumps(value) for key, value in values.items()}

    def keys(self) -> Iterator[str]:
        yield from self.data

    def values(self, keys: list[str]) -> Iterator[tuple[str, bytes]]:
        yield from ((key, self.data[key]) for key in reversed(keys))


class Loaded:
    """What was read: rows by table and everything else."""

    def __init__(self, values: Any) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.rejects: list[Reject] = []
        self.skipped = 0
        self.unknown: dict[str, int] = {}
        for batch in read(Runs(values) if isinstance(values, dict) else values):
            match batch:
                case Rows(table, rows):
                    self.rows[table] += rows
                case Reject():
                    self.rejects.append(batch)
                case Skipped(count):
                    self.skipped += count
                case UnknownFields(counts):
                    self.unknown |= counts

    def one(self, table: str) -> dict[str, Any]:
        (row,) = self.rows[table]
        return row


def worker(worker_id: str | None = "w1", memory_mb: Any = 2048, **more: Any) -> Any:
    return make("TaskWorkerResourceConfiguration", memory_mb=memory_mb, worker_id=worker_id, **more)


def node_id(task_id: str) -> Any:
    function, _, task = task_id.partition("+")
    return make("DAGTaskNodeId", function_name=function, task_id=task)


def node(task_id: str, *upstream: Any, optimizations: tuple[Any, ...] = (), libraries: Any = frozenset()) -> Any:
    return make(
        "DAGTaskNode",
        id=node_id(task_id),
        upstream_nodes=list(upstream),
        worker_config=worker(),
        optimizations=list(optimizations),
        third_party_libs=set(libraries),
    )


def task(**fields: Any) -> Any:
    usual = {
        "worker_resource_configuration": worker(),
        "started_at_timestamp_s": START_S + 1.5,
        "input_metrics": make(
            "TaskInputMetrics",
            hardcoded_input_size_bytes=12,
            tp_total_time_waiting_for_inputs_ms=7.5,
            input_download_metrics={
                LOAD: make("TaskInputDownloadMetrics", serialized_size_bytes=100, time_ms=2.25),
                SPLIT: make("TaskInputDownloadMetrics", serialized_size_bytes=200, time_ms=None),
                "hardcoded-1": make("TaskInputDownloadMetrics", serialized_size_bytes=5, time_ms=1.0),
            },
        ),
        "tp_execution_time_ms": 40.5,
        "execution_time_per_input_byte_ms": 0.1,
        "update_dependency_counters_time_ms": 0,
        "output_metrics": make("TaskOutputMetrics", serialized_size_bytes=321, tp_time_ms=None),
        "total_invocations_count": 2,
        "total_invocation_time_ms": 3.5,
        "planner_used_name": "UniformPlanner-opt",
        "optimization_metrics": [],
    }
    return make("TaskMetrics", **{**usual, **fields})


def task_key(task_id: str = JOIN, run_id: str = RUN) -> str:
    return f"md-storage-tasks+{task_id}+{run_id}"


def startup(**fields: Any) -> Any:
    usual = {
        "master_dag_id": RUN,
        "resource_configuration": worker(None, 1024),
        "start_time_ms": START_S * 1000 + 250.5,
        "end_time_ms": START_S * 1000 + 1250,
        "state": "cold",
        "initial_task_ids": [LOAD, JOIN],
    }
    return make("WorkerStartupMetrics", **{**usual, **fields})


STARTUP_KEY = f"md-storage-worker-startup+{RUN}_{HASH}"
PLAN_KEY = f"md-storage-plan+{RUN}"
DAG_KEY = f"dag-{RUN}"


def dag() -> Any:
    load = node(LOAD, libraries={"pandas", "numpy"})
    prewarm = make("PreWarmOptimization", target_resource_configs=[(np.float64(0.5), worker("w2", 512))])
    split = node(SPLIT, load, load, optimizations=(prewarm,))
    wukong = make(
        "WukongOptimizations",
        task_clustering_fan_outs=True,
        task_clustering_fan_ins=False,
        delayed_io=True,
        large_output_b=1024,
    )
    duplicate = make("TaskDupOptimization", _lock=None)
    join = node(JOIN, load, split, optimizations=(wukong, make("PreLoadOptimization"), duplicate))
    return make("FullDAG", dag_name="tree", sink_node=join, _all_nodes={LOAD: load, SPLIT: split, JOIN: join})


def test_a_key_names_its_run_or_none() -> None:
    of_the_run = [
        DAG_KEY,
        f"md-storage-user-dag-submission+{RUN}",
        PLAN_KEY,
        task_key(),
        STARTUP_KEY,
        f"md-storage-dag+{RUN}{HEX32}",
        f"md-storage-dag-resource-usage+{RUN}",
    ]
    assert {run_of(key) for key in of_the_run} == {RUN}
    others = [
        f"{RUN}",
        f"dependency-counter-{JOIN}+{RUN}",
        f"taskdup-task-started-{JOIN}+{RUN}",
        f"{JOIN}+{RUN}",
        f"dag-{RUN}x",
        f"dag-{RUN}\n",
        f"md-storage-dag+{RUN}",
        f"md-storage-plan+{RUN}{HEX32}",
        "dag-",
        "",
        "+" * 100_000,
        f"dag-1767225600000.{'a.' * 50_000}",
        f"md-storage-tasks+bad\udcff+{U1}+{RUN}",
    ]
    assert {run_of(key) for key in others} == {None}


def test_a_task_becomes_a_row_and_its_inputs_rows() -> None:
    preload = make("PreLoadOptimization.OptimizationMetrics", preloaded=node_id(SPLIT))
    loaded = Loaded({task_key(): task(optimization_metrics=[preload])})
    assert loaded.one("tasks") == {
        "run_id": RUN,
        "task_id": JOIN,
        "attempt": 1,
        "function": "join",
        "kind": "function",
        "worker_id": "w1",
        "memory_mb": 2048,
        "started_at": datetime(2026, 1, 1, 0, 0, 1, 500000),
        "input_wait_ms": 7.5,
        "execution_ms": 40.5,
        "upload_ms": None,
        "counters_ms": 0.0,
        "invocation_ms": 3.5,
        "launched_workers": 2,
        "literal_bytes": 12,
        "output_bytes": 321,
        "libraries": None,
        "planner": "UniformPlanner-opt",
        "status": "succeeded",
        "extra": {},
    }
    of_task = {"run_id": RUN, "task_id": JOIN, "extra": {}}
    assert loaded.rows["task_inputs"] == [
        {**of_task, "object_id": LOAD, "upstream_task_id": LOAD, "input_bytes": 100, "download_ms": 2.25, "preloaded": False},
        {**of_task, "object_id": SPLIT, "upstream_task_id": SPLIT, "input_bytes": 200, "download_ms": None, "preloaded": True},
        {**of_task, "object_id": "hardcoded-1", "upstream_task_id": None, "input_bytes": 5, "download_ms": 1.0, "preloaded": False},
    ]  # fmt: skip
    assert loaded.rejects == []
    assert loaded.unknown == {}


def test_an_applied_optimisation_is_a_row_each() -> None:
    applied = [
        make("PreLoadOptimization.OptimizationMetrics", preloaded=node_id(SPLIT)),
        make("TaskDupOptimization.OptimizationMetrics", dupped=node_id(LOAD)),
        make(
            "PreWarmOptimization.OptimizationMetrics",
            resource_config=worker("w2", 512),
            absolute_trigger_timestamp_s=START_S + 2.25,
        ),
    ]
    rows = Loaded({task_key(): task(optimization_metrics=applied)}).rows["optimizations"]
    common = {"run_id": RUN, "task_id": JOIN, "stage": "applied"}
    nothing = {"target_task_id": None, "target_worker_id": None, "happened_at": None, "extra": {}}
    assert rows == [
        {**common, **nothing, "optimization": "preload", "target_task_id": SPLIT},
        {**common, **nothing, "optimization": "taskdup", "target_task_id": LOAD},
        {
            **common,
            **nothing,
            "optimization": "prewarm",
            "target_worker_id": "w2",
            "happened_at": datetime(2026, 1, 1, 0, 0, 2, 250000),
            "extra": {"target_memory_mb": 512},
        },
    ]


def test_a_dag_gives_edges_libraries_and_what_was_assigned() -> None:
    loaded = Loaded({task_key(LOAD): task(), DAG_KEY: dag()})
    assert loaded.rows["edges"] == [
        {"run_id": RUN, "upstream_task_id": LOAD, "task_id": SPLIT},
        {"run_id": RUN, "upstream_task_id": LOAD, "task_id": JOIN},
        {"run_id": RUN, "upstream_task_id": SPLIT, "task_id": JOIN},
    ]
    assert loaded.one("tasks")["libraries"] == ["numpy", "pandas"]
    of_join = {"run_id": RUN, "task_id": JOIN, "stage": "assigned"}
    settings = {
        "task_clustering_fan_outs": True,
        "task_clustering_fan_ins": False,
        "delayed_io": True,
        "large_output_b": 1024,
    }
    assert loaded.rows["optimizations"] == [
        {
            "run_id": RUN,
            "task_id": SPLIT,
            "stage": "assigned",
            "optimization": "prewarm",
            "target_worker_id": "w2",
            "delay_ms": 500.0,
            "extra": {"targets": [{"worker_id": "w2", "memory_mb": 512, "delay_ms": 500.0}]},
        },
        {**of_join, "optimization": "wukong", "extra": settings},
        {**of_join, "optimization": "preload", "extra": {}},
        {**of_join, "optimization": "taskdup", "extra": {}},
    ]
    run = loaded.one("runs")
    assert run["workflow"] == "tree"
    assert run["sink_task_id"] == JOIN
    assert run["expected_tasks"] == 3


def test_an_invocation_takes_a_flexible_worker_from_the_first_initial_task_that_left_metrics() -> None:
    """LOAD, the first initial task, left no metrics; JOIN did."""
    flexible = task(worker_resource_configuration=worker("flex-7"))
    loaded = Loaded({STARTUP_KEY: startup(), task_key(JOIN): flexible})
    assert loaded.one("invocations") == {
        "invocation_id": f"{RUN}_{HASH}",
        "run_id": RUN,
        "worker_id": "flex-7",
        "memory_mb": 1024,
        "requested_at": datetime(2026, 1, 1, 0, 0, 0, 250500),
        "ready_at": datetime(2026, 1, 1, 0, 0, 1, 250000),
        "reported_state": "cold",
        "initial_task_ids": [LOAD, JOIN],
        "extra": {},
    }


def test_a_plan_becomes_a_row_and_its_tasks_rows() -> None:
    info = make(
        "PlanningTaskInfo",
        node_ref=node(JOIN),
        serialized_input_size=np.int64(1000),
        serialized_output_size=10.6,
        downloadable_input_size_bytes=900,
        uploadable_output_size_bytes=0,
        worker_startup_state=Startup.COLD,
        tp_worker_startup_time_ms=np.float32(1.5),
        tp_download_time_ms=2.5,
        tp_exec_time_ms=np.float64(30),
        tp_upload_time_ms=0,
        total_download_time_ms=4.5,
        earliest_start_ms=100,
        task_completion_time_ms=np.float64(138.5),
    )
    counts = make(
        "PlanPredictionSampleCounts",
        previous_instances=4,
        for_download_speed=5,
        for_upload_speed=6,
        for_execution_time=7,
        for_output_size=8,
    )
    plan = make(
        "AbstractDAGPlanner.PlanOutput",
        planner_name="NonUniformPlanner",
        sla=make("Percentile", value=99.5),
        nodes_info={JOIN: info},
        critical_path_node_ids=[LOAD, JOIN],
        prediction_sample_counts=counts,
    )
    loaded = Loaded({PLAN_KEY: plan})
    planned = {"planner": "NonUniformPlanner", "sla": "p99.5", "sla_percentile": 99.5}
    assert loaded.one("plans") == {
        "run_id": RUN,
        **planned,
        "previous_runs": 4,
        "execution_samples": 7,
        "download_samples": 5,
        "upload_samples": 6,
        "output_samples": 8,
        "extra": {},
    }
    assert loaded.one("planned_tasks") == {
        "run_id": RUN,
        "task_id": JOIN,
        "worker_id": "w1",
        "memory_mb": 2048,
        "input_bytes": 1000,
        "output_bytes": 11,
        "download_bytes": 900,
        "upload_bytes": 0,
        "startup_state": "cold",
        "startup_ms": 1.5,
        "input_wait_ms": 2.5,
        "execution_ms": 30.0,
        "upload_ms": 0.0,
        "download_ms": 4.5,
        "start_offset_ms": 100.0,
        "completion_offset_ms": 138.5,
        "on_critical_path": True,
        "extra": {},
    }
    assert planned.items() <= loaded.one("runs").items()


@pytest.mark.parametrize(
    ("sla", "expected"),
    [("average", ("average", None)), (make("Percentile", value=50), ("p50", 50.0)), (None, (None, None))],
)
def test_the_sla_is_average_or_a_percentile(sla: Any, expected: tuple[Any, Any]) -> None:
    plan = Loaded({PLAN_KEY: make("PlanOutput", planner_name="P", sla=sla, nodes_info={})}).one("plans")
    assert (plan["sla"], plan["sla_percentile"]) == expected


def test_a_dag_load_is_a_row() -> None:
    prepare = make("FullDAGPrepareTime", download_time_ms=0, create_subdags_time_ms=0.5, serialized_size_bytes=300)
    row = {"run_id": RUN, "dag_bytes": 300, "download_ms": 0.0, "subdag_ms": 0.5, "extra": {}}
    assert Loaded({f"md-storage-dag+{RUN}{HEX32}": prepare}).one("dag_loads") == row


def test_a_run_is_put_together_from_all_its_values() -> None:
    usage = make("DAGResourceUsageMetrics", run_time_seconds=2.5, cpu_seconds=7, gb_seconds=4.0, master_dag_id=RUN)
    loaded = Loaded(
        {
            f"md-storage-user-dag-submission+{RUN}": make(
                "UserDAGSubmissionMetrics", dag_submission_time_ms=START_S * 1000 + 30.25
            ),
            f"md-storage-dag-resource-usage+{RUN}": usage,
            DAG_KEY: dag(),
            task_key(LOAD): task(),
        }
    )
    assert loaded.one("runs") == {
        "run_id": RUN,
        "engine": "octoflows",
        "workflow": "tree",
        "structure_hash": "ab" * 32,
        "planner": "UniformPlanner-opt",
        "submitted_at": datetime(2026, 1, 1, 0, 0, 0, 30250),
        "sink_task_id": JOIN,
        "expected_tasks": 3,
        "monitored_ms": 2500.0,
        "cpu_seconds": 7.0,
        "gb_seconds": 4.0,
        "extra": {},
    }


def test_older_usage_is_byte_seconds() -> None:
    usage = make("DAGResourceUsageMetrics", run_time_seconds=1, cpu_seconds=2.0, memory_bytes=3 * 1024**3, cost=6.0)
    run = Loaded({f"md-storage-dag-resource-usage+{RUN}": usage}).one("runs")
    assert run["gb_seconds"] == 3.0
    assert run["extra"] == {
        "memory_byte_seconds": 3 * 1024**3,
        "cost": 6.0,
        "gb_seconds_from": "memory_bytes",
        "submitted_at_from": "run_id",
    }


def test_a_failed_run_with_only_a_dag_and_a_start_keeps_both() -> None:
    failed = startup(end_time_ms=None, state=None)
    loaded = Loaded({DAG_KEY: dag(), STARTUP_KEY: failed})
    run, invocation = loaded.one("runs"), loaded.one("invocations")
    assert run["submitted_at"] == datetime(2026, 1, 1)
    assert run["extra"] == {"submitted_at_from": "run_id"}
    assert run["planner"] is None
    assert (invocation["ready_at"], invocation["reported_state"], invocation["worker_id"]) == (None, None, None)
    assert loaded.rows["tasks"] == []


def test_without_a_plan_the_planner_is_the_one_most_tasks_name() -> None:
    names = {LOAD: "B", SPLIT: "A", JOIN: None}
    values = {task_key(task_id): task(planner_used_name=name) for task_id, name in names.items()}
    assert Loaded(values).one("runs")["planner"] == "A"


def test_missing_fields_are_null() -> None:
    loaded = Loaded(
        {task_key(): make("TaskMetrics"), STARTUP_KEY: make("WorkerStartupMetrics"), DAG_KEY: make("FullDAG")}
    )
    assert loaded.rejects == []
    assert loaded.one("tasks")["execution_ms"] is None
    assert loaded.one("invocations")["requested_at"] is None
    run = loaded.one("runs")
    assert run["workflow"] == "join"
    assert run.get("expected_tasks") is None


def test_unset_numbers_are_null() -> None:
    row = Loaded({task_key(): task(worker_resource_configuration=worker("w", -1), started_at_timestamp_s=0)}).one(
        "tasks"
    )
    assert (row["memory_mb"], row["started_at"], row["extra"]) == (None, None, {})


@pytest.mark.parametrize(
    ("cpus", "extra"),
    [
        (1.14, {"cpus": 1.14}),
        (np.float64(0.57), {"cpus": 0.57}),
        ("two", {"cpus": "two"}),  # kept as it came: nothing is refused for it
        (math.nan, {"cpus": "nan"}),
        (-1, {}),
        (np.float64(-1), {}),
        (0, {}),
        (None, {}),
    ],
)
def test_a_workers_cpus_are_kept_beside_its_memory(cpus: Any, extra: dict[str, Any]) -> None:
    config = worker(cpus=cpus)
    planned = node(JOIN)
    planned.worker_config = config
    loaded = Loaded(
        {
            task_key(): task(worker_resource_configuration=config),
            STARTUP_KEY: startup(resource_configuration=config),
            PLAN_KEY: make("PlanOutput", nodes_info={JOIN: make("PlanningTaskInfo", node_ref=planned)}),
        }
    )
    assert [loaded.one(table)["extra"] for table in ("tasks", "invocations", "planned_tasks")] == [extra] * 3
    assert (loaded.rejects, loaded.unknown) == ([], {})


def test_nan_infinity_and_implausible_instants_are_null_and_noted() -> None:
    odd = task(tp_execution_time_ms=math.nan, total_invocations_count=math.inf, started_at_timestamp_s=5.0)
    row = Loaded({task_key(): odd}).one("tasks")
    assert (row["execution_ms"], row["launched_workers"], row["started_at"]) == (None, None, None)
    noted = {"tp_execution_time_ms": "nan", "total_invocations_count": "inf", "started_at_timestamp_s": 5.0}
    assert row["extra"] == noted


def test_unknown_fields_are_kept_and_counted() -> None:
    new = task(new_field=3, note="n" * 2000, parts=[1, 2], worker_resource_configuration=worker(zone="eu\ud800"))
    loaded = Loaded({task_key(LOAD): new, task_key(JOIN): task(new_field=math.inf)})
    extras = {row["task_id"]: row["extra"] for row in loaded.rows["tasks"]}
    assert extras[LOAD] == {
        "new_field": 3,
        "note": "n" * 1000,
        "parts": "a list of 2",
        "worker_resource_configuration.zone": "eu\N{REPLACEMENT CHARACTER}",
    }
    assert json.dumps(extras[JOIN], allow_nan=False) == '{"new_field": "inf"}'
    assert loaded.unknown == {
        "TaskMetrics.new_field": 2,
        "TaskMetrics.note": 1,
        "TaskMetrics.parts": 1,
        "TaskWorkerResourceConfiguration.zone": 1,
    }


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">f8", ">i4"])
def test_numpy_numbers_of_every_size_and_byte_order_are_numbers(dtype: str) -> None:
    scalar = np.array([5], dtype=dtype)[0]
    assert Loaded({task_key(): task(tp_execution_time_ms=scalar)}).one("tasks")["execution_ms"] == 5.0


class Stolen:
    def __reduce__(self) -> Any:
        return os.system, ("exit 3",)


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        (Stolen(), "wrong_class", f"{os.name}.system, not a TaskMetrics"),
        (make("FullDAG"), "wrong_class", "an engine_stub.FullDAG, not a TaskMetrics"),
        ({"tp_execution_time_ms": 1}, "wrong_class", "a dict of 1, not a TaskMetrics"),
        (b"started", "not_a_pickle", ""),
        (b"Pid\n.", "forbidden_pickle", ""),
        (task(tp_execution_time_ms="40"), "wrong_type", "tp_execution_time_ms is a str, not a number"),
        (task(tp_execution_time_ms=True), "wrong_type", "tp_execution_time_ms"),
        (task(tp_execution_time_ms=np.bool_(True)), "wrong_type", "tp_execution_time_ms"),
        (task(tp_execution_time_ms=Stolen()), "wrong_type", "posix.system"),
        (task(tp_execution_time_ms=10**400), "wrong_type", "tp_execution_time_ms is a number out of range"),
        (task(total_invocations_count=2**31), "wrong_type", "total_invocations_count is a number out of range"),
        (task(total_invocations_count=1e300), "wrong_type", "total_invocations_count"),
        (task(planner_used_name=7), "wrong_type", "planner_used_name is an int, not a text"),
        (task(planner_used_name=Stolen()), "wrong_type", "planner_used_name"),
        (task(planner_used_name="x" * 2000), "too_large", "planner_used_name"),
        (task(input_metrics=worker()), "wrong_type", "not a TaskInputMetrics"),
        (task(input_metrics=make("TaskInputMetrics", input_download_metrics=[1])), "wrong_type", "not a dict"),
        (task(input_metrics=make("TaskInputMetrics", input_download_metrics={1: 2})), "wrong_type", "name"),
        (task(optimization_metrics=[Stolen()]), "wrong_type", "optimization_metrics"),
        (task(optimization_metrics=5), "wrong_type", "optimization_metrics"),
    ],
)
def test_a_bad_value_is_refused_and_the_rest_of_its_run_loaded(value: Any, reason: str, detail: str) -> None:
    loaded = Loaded({task_key(LOAD): task(), task_key(JOIN): value})
    (reject,) = loaded.rejects
    assert (reject.location, reject.reason) == (task_key(JOIN), reason)
    assert detail in reject.detail
    assert reject.excerpt.isascii()
    assert reject.reason in REJECT_REASONS
    assert loaded.one("tasks")["task_id"] == LOAD
    assert loaded.rows["optimizations"] == []
    assert loaded.one("runs")["run_id"] == RUN


@pytest.mark.parametrize(
    "plan",
    [{"sla": "fast"}, {"sla": 0}, {"sla": make("Percentile", value=101)}, {"nodes_info": {"a": 1}}, {"nodes_info": 3}],
)
def test_a_bad_plan_is_refused(plan: dict[str, Any]) -> None:
    (reject,) = Loaded({PLAN_KEY: make("PlanOutput", **plan)}).rejects
    assert reject.reason == "wrong_type"


def test_a_bad_dag_is_refused() -> None:
    bad = [
        {"_all_nodes": [1]},
        {"_all_nodes": {LOAD: 1}},
        {"_all_nodes": {("a", "b"): node(LOAD)}},
        {"_all_nodes": {LOAD: node(LOAD, 5)}},
        {"_all_nodes": {LOAD: node(LOAD, optimizations=(3,))}},
        {"sink_node": 3.5},
        {"dag_name": "\ud800"},
    ]
    for fields in bad:
        (reject,) = Loaded({DAG_KEY: make("FullDAG", **fields)}).rejects
        assert reject.reason == "wrong_type", fields


def test_a_dag_that_shares_one_long_list_among_its_nodes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(octoflows_fields, "MAX_PARTS", 1000)
    first = node(LOAD)
    many = make("DAGTaskNode", id=node_id(SPLIT), upstream_nodes=[first] * 200)
    nodes = {f"f+{n}": many for n in range(6)}
    (reject,) = Loaded({DAG_KEY: make("FullDAG", _all_nodes=nodes)}).rejects
    assert reject.reason == "too_large"


def test_a_value_of_too_many_rows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(octoflows, "MAX_ROWS_PER_VALUE", 3)
    (reject,) = Loaded({task_key(): task()}).rejects
    assert (reject.reason, reject.detail) == ("too_large", "more than 3 rows")


def test_keys_that_are_no_metrics_are_counted_and_odd_metrics_refused() -> None:
    loaded = Loaded(
        {
            f"dependency-counter-{JOIN}+{RUN}": b"3",
            "dag-of-someone-else": b"x",
            "": b"",
            "md-storage-plan+what": b"",
            f"md-storage-new+{RUN}\udc80": b"",
        }
    )
    assert loaded.skipped == 3
    assert {(reject.reason, reject.detail) for reject in loaded.rejects} == {
        ("unsupported", "not a key of a known form")
    }
    assert all(reject.location.encode() for reject in loaded.rejects)
    assert loaded.rows == {}


def test_rows_of_several_runs_travel_together_and_in_bounded_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(octoflows, "ROWS_PER_BATCH", 4)
    runs = [RUN.replace("1767225600000", str(1767225600000 + n)) for n in range(10)]
    batches = [batch for batch in read(Runs({task_key(JOIN, run): task() for run in runs})) if isinstance(batch, Rows)]
    assert [len(batch.rows) for batch in batches if batch.table == "tasks"] == [4, 4, 2]
    assert [len(batch.rows) for batch in batches if batch.table == "runs"] == [4, 4, 2]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if not DATA.is_dir():
        pytest.skip(f"the recorded dumps are not here: {DATA}")
    folder = tmp_path_factory.mktemp("rdb")

    def unpack(name: str) -> RdbKeyspace:
        path = folder / f"{name}.rdb"
        with gzip.open(DATA / f"{name}.rdb.gz") as packed, path.open("wb") as file:
            shutil.copyfileobj(packed, file)
        return RdbKeyspace(path)

    return unpack


@pytest.fixture(scope="module")
def series_a(unpacked: Any) -> Loaded:
    return Loaded(unpacked("series_a"))


def test_series_a_is_read_whole(series_a: Loaded) -> None:
    assert series_a.rejects == []
    assert series_a.unknown == {}
    assert {table: len(rows) for table, rows in series_a.rows.items()} == {
        "runs": 300,
        "tasks": 6179,
        "task_inputs": 9989,
        "invocations": 2495,
        "edges": 9182,
        "plans": 260,
        "planned_tasks": 3673,
        "optimizations": 810 + 1218,
        "dag_loads": 2476,
    }
    assert series_a.skipped == 2298
    states = Counter(row["reported_state"] for row in series_a.rows["invocations"])
    assert states == {"cold": 1953, "warm": 523, None: 19}
    assert Counter(row["stage"] for row in series_a.rows["optimizations"]) == {"applied": 810, "assigned": 1218}


def test_every_column_read_is_a_column_of_its_table(series_a: Loaded) -> None:
    for table, rows in series_a.rows.items():
        columns = {column.name for column in FACTS[table].columns} | {"extra"}
        assert {name for row in rows for name in row} <= columns


def test_nearly_every_invocation_has_its_worker_and_none_has_it_twice(series_a: Loaded) -> None:
    invocations = series_a.rows["invocations"]
    workers = Counter((row["run_id"], row["worker_id"]) for row in invocations if row["worker_id"])
    assert sum(workers.values()) / len(invocations) > 0.997
    assert max(workers.values()) == 1
    assert all(row["worker_id"] for row in invocations if row["ready_at"])
    assert {(row["run_id"], row["worker_id"]) for row in series_a.rows["tasks"]} <= set(workers)


def test_prewarms_fire_soon_after_their_planned_delay(series_a: Loaded) -> None:
    """Which shows that the delay is recorded in seconds, from the start of the task's worker."""
    started = {(row["run_id"], row["task_id"]): row["started_at"] for row in series_a.rows["tasks"]}
    delays, lags_ms = {}, []
    prewarms = [row for row in series_a.rows["optimizations"] if row["optimization"] == "prewarm"]
    for row in prewarms:
        for target in row["extra"].get("targets", ()):
            delays[row["run_id"], row["task_id"], target["worker_id"]] = target["delay_ms"]
    for row in prewarms:
        if row["stage"] == "applied":
            since_ms = (row["happened_at"] - started[row["run_id"], row["task_id"]]).total_seconds() * 1000
            lags_ms.append(since_ms - delays[row["run_id"], row["task_id"], row["target_worker_id"]])
    assert len(lags_ms) == 32
    assert min(lags_ms) > 0
    assert max(lags_ms) < 1000


def test_sums_over_a_run_are_those_of_the_engines_dashboard(series_a: Loaded) -> None:
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for row in series_a.rows["tasks"]:
        sums[row["run_id"]]["actual_execution_s"] += row["execution_ms"] / 1000
        sums[row["run_id"]]["actual_upload_s"] += (row["upload_ms"] or 0) / 1000
    for row in series_a.rows["task_inputs"]:
        sums[row["run_id"]]["actual_download_s"] += (row["download_ms"] or 0) / 1000
    for row in series_a.rows["planned_tasks"]:
        sums[row["run_id"]]["predicted_execution_s"] += row["execution_ms"] / 1000
        sums[row["run_id"]]["predicted_download_s"] += row["download_ms"] / 1000
    with (DATA / "series_a.engine_dashboard_runs.csv").open() as file:
        dashboard = list(csv.DictReader(file))
    assert len(dashboard) == 260
    for expected in dashboard:
        of_run = sums[expected["master_dag_id"]]
        for name in ("actual_execution_s", "actual_upload_s", "actual_download_s"):
            assert of_run[name] == pytest.approx(float(expected[name]), rel=1e-9), name
        if expected["has_predictions"] == "True":
            for name in ("predicted_execution_s", "predicted_download_s"):
                assert of_run[name] == pytest.approx(float(expected[name]), rel=1e-9), name


def test_series_b_is_read_whole(unpacked: Any) -> None:
    counts: Counter[str] = Counter()
    for path in sorted(DATA.glob("series_b_*.rdb.gz")):
        loaded = Loaded(unpacked(path.name.removesuffix(".rdb.gz")))
        assert loaded.rejects == []
        assert loaded.unknown == {}
        counts.update({table: len(rows) for table, rows in loaded.rows.items()})
        assert all(
            row["extra"].get("gb_seconds_from") for row in loaded.rows["runs"] if row.get("gb_seconds") is not None
        )
    assert (counts["runs"], counts["tasks"], counts["invocations"]) == (240, 5410, 1804)

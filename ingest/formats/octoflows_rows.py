"""Turn the engine's records into rows: one function per class of value, each yielding (table, row) pairs.

What a value says about the run as a whole comes as a row of `runs` that holds only those columns; `octoflows.py` puts
them together. Which field becomes which column, and the units: FIELD.md, sections 2 and 3.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ingest.formats.octoflows_fields import (
    Effort,
    Fields,
    describe,
    enum_value,
    identifier,
    numeric,
    summary,
)
from ingest.formats.pickles import Global, Record, Value
from ingest.records import Refused, clean

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
NAME = r"[^+\s\x00-\x1f\ud800-\udfff]{1,200}"
TASK_ID = re.compile(rf"(?P<function>{NAME})\+{UUID}")

Row = dict[str, Any]
Facts = Iterator[tuple[str, Row]]

_GB = 1024**3
_WUKONG_SETTINGS = ("task_clustering_fan_outs", "task_clustering_fan_ins", "delayed_io", "large_output_b")


def task_rows(run_id: str, task_id: str, record: Value, unknown: Counter[str]) -> Facts:
    """Rows of `tasks`, `task_inputs` and the applied `optimizations` from a TaskMetrics."""
    fields = Fields(record, "TaskMetrics", unknown, {})
    worker = fields.part("worker_resource_configuration", "TaskWorkerResourceConfiguration")
    inputs = fields.part("input_metrics", "TaskInputMetrics")
    output = fields.part("output_metrics", "TaskOutputMetrics")
    applied = [
        _applied(run_id, task_id, metrics, position, unknown)
        for position, metrics in enumerate(fields.sequence("optimization_metrics"))
    ]
    preloaded = {row["target_task_id"] for row in applied if row["optimization"] == "preload"}
    yield (
        "tasks",
        {
            "run_id": run_id,
            "task_id": task_id,
            "attempt": 1,
            "function": task_id.partition("+")[0],
            "kind": "function",
            "worker_id": worker.text("worker_id"),
            "memory_mb": _memory(worker),
            "started_at": fields.instant("started_at_timestamp_s", unit_ms=1000),
            "input_wait_ms": inputs.number("tp_total_time_waiting_for_inputs_ms"),
            "execution_ms": fields.number("tp_execution_time_ms"),
            "upload_ms": output.number("tp_time_ms"),
            "counters_ms": fields.number("update_dependency_counters_time_ms"),
            "invocation_ms": fields.number("total_invocation_time_ms"),
            "launched_workers": fields.small_integer("total_invocations_count"),
            "literal_bytes": inputs.integer("hardcoded_input_size_bytes"),
            "output_bytes": output.integer("serialized_size_bytes"),
            "planner": fields.text("planner_used_name"),
            "status": "succeeded",
            "extra": fields.extra | _cpus(worker),
        },
    )
    for object_id, metrics in inputs.mapping("input_download_metrics"):
        download = Fields(metrics, "TaskInputDownloadMetrics", unknown, {}, f"input {object_id}: ")
        yield (
            "task_inputs",
            {
                "run_id": run_id,
                "task_id": task_id,
                "object_id": object_id,
                "upstream_task_id": object_id if TASK_ID.fullmatch(object_id) else None,
                "input_bytes": download.integer("serialized_size_bytes"),
                "download_ms": download.number("time_ms"),
                "preloaded": object_id in preloaded,
                "extra": download.extra,
            },
        )
    for row in applied:
        yield "optimizations", row


def invocation_rows(run_id: str, invocation_id: str, record: Value, unknown: Counter[str]) -> Facts:
    """The row of `invocations` from a WorkerStartupMetrics. All functions share the containers: no function."""
    fields = Fields(record, "WorkerStartupMetrics", unknown, {})
    worker = fields.part("resource_configuration", "TaskWorkerResourceConfiguration")
    yield (
        "invocations",
        {
            "invocation_id": invocation_id,
            "run_id": run_id,
            "worker_id": worker.text("worker_id"),
            "memory_mb": _memory(worker),
            "requested_at": fields.instant("start_time_ms"),
            "ready_at": fields.instant("end_time_ms"),
            "reported_state": fields.choice("state", "cold", "warm"),
            "initial_task_ids": fields.texts("initial_task_ids"),
            "extra": fields.extra | _cpus(worker),
        },
    )


def dag_load_rows(run_id: str, record: Value, unknown: Counter[str]) -> Facts:
    """The row of `dag_loads` from a FullDAGPrepareTime."""
    fields = Fields(record, "FullDAGPrepareTime", unknown, {})
    yield (
        "dag_loads",
        {
            "run_id": run_id,
            "dag_bytes": fields.integer("serialized_size_bytes"),
            "download_ms": fields.number("download_time_ms"),
            "subdag_ms": fields.number("create_subdags_time_ms"),
            "extra": fields.extra,
        },
    )


def submission_rows(record: Value, unknown: Counter[str]) -> Facts:
    """Columns of `runs` from a UserDAGSubmissionMetrics."""
    fields = Fields(record, "UserDAGSubmissionMetrics", unknown, {})
    yield "runs", {"submitted_at": fields.instant("dag_submission_time_ms"), "extra": fields.extra}


def usage_rows(record: Value, unknown: Counter[str]) -> Facts:
    """Columns of `runs` from a DAGResourceUsageMetrics. Older ones count byte-seconds and call them memory_bytes."""
    fields = Fields(record, "DAGResourceUsageMetrics", unknown, {})
    monitored_seconds = fields.number("run_time_seconds")
    gb_seconds = fields.number("gb_seconds")
    byte_seconds, cost = fields.number("memory_bytes"), fields.number("cost")
    extra = fields.extra
    if byte_seconds is not None:
        extra["memory_byte_seconds"] = byte_seconds
        if gb_seconds is None:
            gb_seconds = byte_seconds / _GB
            extra["gb_seconds_from"] = "memory_bytes"
    if cost is not None:
        extra["cost"] = cost
    yield (
        "runs",
        {
            "monitored_ms": None if monitored_seconds is None else monitored_seconds * 1000,
            "cpu_seconds": fields.number("cpu_seconds"),
            "gb_seconds": gb_seconds,
            "extra": extra,
        },
    )


def plan_rows(run_id: str, record: Value, unknown: Counter[str]) -> Facts:
    """Rows of `plans` and `planned_tasks`, and columns of `runs`, from a PlanOutput."""
    fields = Fields(record, "PlanOutput", unknown, {})
    samples = fields.part("prediction_sample_counts", "PlanPredictionSampleCounts")
    sla, percentile = _sla(fields.raw("sla"))
    planned = {"planner": fields.text("planner_name"), "sla": sla, "sla_percentile": percentile}
    critical = set(fields.texts("critical_path_node_ids") or ())
    yield "runs", planned
    yield (
        "plans",
        {
            "run_id": run_id,
            **planned,
            "previous_runs": samples.integer("previous_instances"),
            "execution_samples": samples.integer("for_execution_time"),
            "download_samples": samples.integer("for_download_speed"),
            "upload_samples": samples.integer("for_upload_speed"),
            "output_samples": samples.integer("for_output_size"),
            "extra": fields.extra,
        },
    )
    for task_id, info in fields.mapping("nodes_info"):
        task = Fields(info, "PlanningTaskInfo", unknown, {}, f"nodes_info {task_id}: ")
        worker = _worker_of_node(task, unknown)
        yield (
            "planned_tasks",
            {
                "run_id": run_id,
                "task_id": task_id,
                "worker_id": worker and worker.text("worker_id"),
                "memory_mb": worker and _memory(worker),
                "input_bytes": task.integer("serialized_input_size"),
                "output_bytes": task.integer("serialized_output_size"),
                "download_bytes": task.integer("downloadable_input_size_bytes"),
                "upload_bytes": task.integer("uploadable_output_size_bytes"),
                "startup_state": task.choice("worker_startup_state", "cold", "warm"),
                "startup_ms": task.number("tp_worker_startup_time_ms"),
                "input_wait_ms": task.number("tp_download_time_ms"),
                "execution_ms": task.number("tp_exec_time_ms"),
                "upload_ms": task.number("tp_upload_time_ms"),
                "download_ms": task.number("total_download_time_ms"),
                "start_offset_ms": task.number("earliest_start_ms"),
                "completion_offset_ms": task.number("task_completion_time_ms"),
                "on_critical_path": task_id in critical,
                "extra": task.extra | (_cpus(worker) if worker else {}),
            },
        )


def dag_rows(run_id: str, record: Record) -> Facts:
    """Rows of `edges` and the assigned `optimizations`, and columns of `runs`, from a FullDAG.

    The columns include `libraries`, {task: its libraries}, which no table of runs has: the tasks take theirs from it.
    """
    dag = record.fields
    nodes, name = dag.get("_all_nodes"), dag.get("dag_name")
    if nodes is not None and not isinstance(nodes, dict):
        raise Refused("wrong_type", f"_all_nodes is {describe(nodes)}, not a dict")
    libraries: dict[str, list[str] | None] = {}
    effort = Effort()
    for key, node in (nodes or {}).items():
        task_id = identifier(key, "_all_nodes")
        if not isinstance(node, Record):
            raise Refused("wrong_type", f"_all_nodes {task_id} is {describe(node)}, not a node")
        fields = node.fields
        libraries[task_id] = _libraries(fields.get("third_party_libs"), effort)
        upstream_ids = (
            _task_id(upstream, "upstream_nodes") for upstream in effort.elements(fields.get("upstream_nodes"))
        )
        for upstream_id in dict.fromkeys(upstream_ids):
            yield "edges", {"run_id": run_id, "upstream_task_id": upstream_id, "task_id": task_id}
        for optimization in effort.elements(fields.get("optimizations")):
            yield "optimizations", _assigned(run_id, task_id, optimization, effort)
    sink = dag.get("sink_node")
    yield (
        "runs",
        {
            "workflow": None if name is None else identifier(name, "dag_name"),
            "sink_task_id": None if sink is None else _task_id(sink, "sink_node"),
            "expected_tasks": None if nodes is None else len(libraries),
            "libraries": libraries,
        },
    )


def _assigned(run_id: str, task_id: str, record: Value, effort: Effort) -> Row:
    """What the planner assigned. The delay of a pre-warm is recorded in seconds after its worker is ready."""
    row: Row = {
        "run_id": run_id,
        "task_id": task_id,
        "optimization": _optimization(record, "optimizations"),
        "stage": "assigned",
        "extra": {},
    }
    fields = record.fields
    if row["optimization"] == "wukong":
        row["extra"] = {name: summary(fields[name]) for name in _WUKONG_SETTINGS if name in fields}
    if row["optimization"] == "prewarm":
        targets = [_prewarm_target(target) for target in effort.elements(fields.get("target_resource_configs"))]
        row["extra"] = {"targets": targets}
        if len(targets) == 1:
            row["target_worker_id"] = targets[0]["worker_id"]
            row["delay_ms"] = targets[0]["delay_ms"]
    return row


def _prewarm_target(target: Value) -> Row:
    if not isinstance(target, (list, tuple)) or len(target) != 2:
        raise Refused("wrong_type", f"target_resource_configs holds {describe(target)}, not a delay and a worker")
    worker = Fields(target[1], "TaskWorkerResourceConfiguration", Counter(), {}, "target_resource_configs.")
    seconds = numeric(target[0], "the delay in target_resource_configs")
    return {
        "worker_id": worker.text("worker_id"),
        "memory_mb": _memory(worker),
        "delay_ms": None if seconds is None or not math.isfinite(seconds) else seconds * 1000.0,
    }


def _applied(run_id: str, task_id: str, record: Value, position: int, unknown: Counter[str]) -> Row:
    """What the worker did: an XOptimization.OptimizationMetrics."""
    fields = Fields(record, "OptimizationMetrics", unknown, {}, f"optimization_metrics {position}: ")
    target = next((fields.raw(name) for name in ("preloaded", "dupped") if fields.raw(name) is not None), None)
    row: Row = {
        "run_id": run_id,
        "task_id": task_id,
        "optimization": _optimization(record, "optimization_metrics"),
        "stage": "applied",
        "target_task_id": None if target is None else _task_id(target, "optimization_metrics"),
        "happened_at": fields.instant("absolute_trigger_timestamp_s", unit_ms=1000),
    }
    worker = fields.part("resource_config", "TaskWorkerResourceConfiguration")
    row["target_worker_id"] = worker.text("worker_id")
    if (memory_mb := _memory(worker)) is not None:
        fields.extra["target_memory_mb"] = memory_mb
    return {**row, "extra": fields.extra}


def _optimization(record: Value, where: str) -> str:
    """Return 'preload' for a PreLoadOptimization and for its OptimizationMetrics, and so for any other class."""
    if not isinstance(record, Record) or not isinstance(record.kind, Global):
        raise Refused("wrong_type", f"{where} holds {describe(record)}, not an optimization")
    outer, _, inner = identifier(record.kind.name, where).rpartition(".")
    name = outer.rpartition(".")[2] if inner == "OptimizationMetrics" else inner
    return re.sub("Optimizations?$", "", name).lower()[:100]


def _worker_of_node(task: Fields, unknown: Counter[str]) -> Fields | None:
    """The worker configuration of the node a PlanningTaskInfo refers to."""
    node = task.raw("node_ref")
    if node is None:
        return None
    if not isinstance(node, Record):
        raise Refused("wrong_type", f"node_ref is {describe(node)}, not a node")
    config = node.fields.get("worker_config")
    if config is None:
        return None
    return Fields(config, "TaskWorkerResourceConfiguration", unknown, task.extra, "node_ref.worker_config.")


def _memory(worker: Fields) -> int | None:
    """The worker's memory; 0 and -1 stand for unset."""
    memory_mb = worker.small_integer("memory_mb")
    return None if memory_mb in (0, -1) else memory_mb


def _cpus(worker: Fields) -> Row:
    """What `extra` keeps of the worker's CPUs, which older engines record beside its memory; 0 and -1 stand for unset."""
    cpus = summary(worker.raw("cpus"))
    return {} if cpus in (None, 0, -1) else {"cpus": cpus}


def _sla(value: Value) -> tuple[str | None, float | None]:
    """Return ('average', None), ('p90', 90.0) or (None, None)."""
    value = enum_value(value)
    if value is None or value == "average":
        return value, None
    percentile = numeric(value.fields.get("value") if isinstance(value, Record) else value, "sla")
    if percentile is None or not 1 <= percentile <= 100:
        raise Refused("wrong_type", f"sla is {describe(value)}, neither 'average' nor a percentile")
    return f"p{percentile:g}", float(percentile)


def _task_id(value: Value, where: str) -> str:
    """Return the id of a DAGTaskNode or a DAGTaskNodeId; a text is taken for the id itself."""
    if isinstance(value, Record) and isinstance(value.fields.get("id"), Record):
        value = value.fields["id"]
    if isinstance(value, Record):
        function, task = value.fields.get("function_name"), value.fields.get("task_id")
        return f"{identifier(function, where)}+{identifier(task, where)}"
    return identifier(value, where)


def _libraries(value: Value, effort: Effort) -> list[str] | None:
    if not isinstance(value, (list, tuple)):
        return None
    return sorted({clean(name[:100]) for name in effort.elements(value) if isinstance(name, str)})

"""WfCommons instances: one JSON document is one recorded run of a workflow (WfFormat 1.5 and 1.6, and the older layouts).

Since 1.5 `workflow.specification` holds tasks and files and `workflow.execution` what happened to them; tasks name each other
by id. Before, `workflow.tasks` (up to 1.2 `workflow.jobs`) held all of it, memory was in kB, and tasks named each other by
name. The document is passed over several times, so that memory is bounded by the names of its tasks and files and by its
edges, never by the document. https://github.com/wfcommons/WfFormat
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import ijson

from ingest.adapters import json_stream, parsing
from ingest.adapters.adapter import MAX_NAME, Document, Fact, excerpt
from ingest.adapters.wfcommons_dag import Dag, read_dag, tasks_of
from ingest.records import Refused, clean
from warehouse.batches import Reject, Skipped
from warehouse.errors import SourceError

NAME = "wfcommons"
PARSER_VERSION = 1

_SPECIFIED = ("workflow.specification.tasks", "workflow.tasks", "workflow.jobs")
_EXECUTED = "workflow.execution.tasks"
_NODE_NAMES = ("workflow.execution.machines.item.nodeName", "workflow.machines.item.nodeName")
_MACHINE_BYTES = ("workflow.execution.machines.item.memoryInBytes", "workflow.machines.item.memoryInBytes")
_SCALARS = {
    "name": "name",
    "createdAt": "created_at",
    "schemaVersion": "schema_version",
    "runtimeSystem.name": "engine",
    "runtimeSystem.version": "engine_version",
    "wms.name": "engine",
    "wms.version": "engine_version",
    "workflow.repo": "repository",
    "workflow.runName": "run_name",
    "workflow.executedAt": "executed_at",
    "workflow.execution.executedAt": "executed_at",
    "workflow.makespan": "makespan",
    "workflow.makespanInSeconds": "makespan",
    "workflow.execution.makespanInSeconds": "makespan",
}
_SMALLEST_MACHINE_BYTES = 512 * parsing.MEBIBYTE
"""No machine with less memory runs such workflows: a document that says so of all of its machines writes kB."""

_MAX_PROGRAM = 200
"""Some instances give the whole script as the program."""

_RUN_NUMBER = re.compile(r"(\.json)?(-[0-9]{8,})?(\.json)?$")

Value = TypeVar("Value")


def recognise(head: str) -> bool:
    """Whether it is a JSON object with a schema version and a workflow of tasks."""
    data = head.encode("utf-8", "replace")
    if not head.lstrip().startswith("{") or json_stream.has_long_numbers(data):
        return False
    seen = set()
    try:
        for path, event, _ in json_stream.steps(io.BytesIO(data), "the head"):
            if event in ("start_array", "string"):
                seen.add(path)
            if "workflow.specification.tasks" in seen or ("schemaVersion" in seen and seen.intersection(_SPECIFIED)):
                return True
    except (ijson.JSONError, ArithmeticError, SourceError):
        pass
    return False


def read(document: Document) -> Iterator[Fact | Reject | Skipped]:
    """Yield the run, its edges, and its tasks with their inputs. A workflow that was not executed is skipped."""
    outline = _outline(document)
    if outline.specified is None:
        raise SourceError("not_the_format", f"{document.name} holds no workflow of tasks. Hint: see docs/adapters.md.")
    has_ids = outline.specified == _SPECIFIED[0]
    executed = _EXECUTED if has_ids else outline.specified
    if executed not in outline.lists:
        yield Skipped(outline.lists[outline.specified])
        return
    dag = yield from read_dag(document, outline.specified, has_ids=has_ids)
    run_id = _run_id(document)
    started: dict[int, datetime] = {}
    for position, location, raw in tasks_of(document, executed):
        task = dag.executed(position, raw) if isinstance(raw, dict) else None
        if task is None:
            yield Reject(location, "missing_key", "it is no task of the workflow's DAG", excerpt(_shown(raw)))
            continue
        try:
            values = _task(raw, outline)
        except Refused as refused:
            yield Reject(location, refused.reason, clean(refused.detail), excerpt(_shown(raw)))
            continue
        if values["started_at"]:
            started[task] = values["started_at"]
        known = {"run_id": run_id, "task_id": dag.ids[task], "function": dag.functions[task]}
        yield Fact("tasks", {**known, "output_bytes": dag.output_bytes(task), **values}, location)
    yield from dag.inputs(document, outline.specified, run_id)
    for upstream, downstream in dag.edges():
        names = {"run_id": run_id, "upstream_task_id": dag.ids[upstream], "task_id": dag.ids[downstream]}
        yield Fact("edges", names, dag.location(downstream))
    yield from _run(run_id, outline, dag, started)


@dataclass(slots=True)
class _Outline:
    """What the document says outside its lists of tasks: which lists it has, its scalars, its machines."""

    lists: dict[str, int] = field(default_factory=dict)
    scalars: dict[str, Any] = field(default_factory=dict)
    machines: set[str] = field(default_factory=set)
    largest_machine_bytes: int = 0

    @property
    def specified(self) -> str | None:
        """The list that holds the DAG."""
        return next((path for path in _SPECIFIED if path in self.lists), None)

    @property
    def writes_kilobytes(self) -> bool:
        """Whether its `memoryInBytes` are kB, as some converters of Pegasus' records write them."""
        return 0 < self.largest_machine_bytes < _SMALLEST_MACHINE_BYTES

    def text(self, name: str) -> str | None:
        """Return a scalar that is a text, cut to a name's length."""
        value = self.scalars.get(name)
        return clean(value[:MAX_NAME]) or None if isinstance(value, str) else None


def _outline(document: Document) -> _Outline:
    outline = _Outline()
    for path, event, value in json_stream.walk(document):
        if event == "start_array" and (path in _SPECIFIED or path == _EXECUTED):
            outline.lists[path] = 0
        elif event == "start_map" and path.removesuffix(".item") in outline.lists:
            outline.lists[path.removesuffix(".item")] += 1
        elif path in _SCALARS and event in ("string", "number"):
            outline.scalars[_SCALARS[path]] = value
        elif path in _NODE_NAMES and isinstance(value, str) and len(outline.machines) < MAX_NAME:
            outline.machines.add(clean(value[:MAX_NAME]))
        elif path in _MACHINE_BYTES and isinstance(value, int):
            outline.largest_machine_bytes = max(outline.largest_machine_bytes, value)
    return outline


def _task(raw: dict[str, Any], outline: _Outline) -> dict[str, Any]:
    """Return the columns of a task's execution. Raises `Refused`."""
    machines = raw.get("machines") if isinstance(raw.get("machines"), list) else [raw.get("machine")]
    machines = [machine for machine in machines or () if isinstance(machine, str)]
    command = raw.get("command")
    program = command.get("program") if isinstance(command, dict) else None
    extra = {
        "cores": _count(raw.get("coreCount", raw.get("cores"))),
        "cpu_percent": _count(raw.get("avgCPU")),
        "read_bytes": _count(raw.get("readBytes")),
        "written_bytes": _count(raw.get("writtenBytes")),
        "priority": _count(raw.get("priority")),
        "program": program[:_MAX_PROGRAM] if isinstance(program, str) else None,
        "machines": machines[:MAX_NAME] if len(machines) > 1 else None,
    }
    return {
        "attempt": 1,
        "kind": "executable",
        "worker_id": machines[0] if len(machines) == 1 else None,
        "started_at": _instant(raw.get("executedAt")),
        "execution_ms": _milliseconds(raw.get("runtimeInSeconds", raw.get("runtime"))),
        "max_memory_mb": _memory_mb(raw, outline),
        "extra": extra,
    }


def _memory_mb(raw: dict[str, Any], outline: _Outline) -> float | None:
    size = raw.get("memoryInBytes")
    unit = parsing.KILOBYTE if outline.writes_kilobytes else 1
    if size is None:
        size, unit = raw.get("memory"), parsing.KILOBYTE  # WfFormat up to 1.3
    return None if size is None else float(parsing.number(size) * unit / parsing.MEBIBYTE)


def _run(run_id: str, outline: _Outline, dag: Dag, started: dict[int, datetime]) -> Iterator[Fact | Reject]:
    submitted_at = makespan_ms = finished_at = None
    try:
        submitted_at = _instant(outline.scalars.get("executed_at"))
        makespan_ms = _milliseconds(outline.scalars.get("makespan"))
        if submitted_at and makespan_ms is not None:
            finished_at = parsing.later(submitted_at, makespan_ms)
    except Refused as refused:
        yield Reject("executedAt or makespan of the run", refused.reason, clean(refused.detail))
    sinks = dag.sinks()
    engine = outline.text("engine")
    name = outline.text("name")
    extra = {
        "instance": name,
        "created_at": outline.text("created_at"),
        "schema_version": outline.text("schema_version"),
        "repository": outline.text("repository"),
        "run_name": outline.text("run_name"),
        "machines": len(outline.machines) or None,
        "makespan_ms": makespan_ms if finished_at is None else None,
        "memory_in_bytes_read_as": "kB" if outline.writes_kilobytes else None,
    }
    values = {
        "run_id": run_id,
        "engine": engine.lower() if engine else None,
        "engine_version": outline.text("engine_version"),
        "workflow": _RUN_NUMBER.sub("", name) if name else None,
        "structure_hash": dag.structure_hash(),
        "submitted_at": submitted_at,
        "finished_at": finished_at,
        "environment": next(iter(outline.machines)) if len(outline.machines) == 1 else None,
        "sink_task_id": dag.ids[sinks[0]] if len(sinks) == 1 and sinks[0] in started else None,
        "expected_tasks": len(dag.ids),
        "extra": extra,
    }
    yield Fact("runs", values, "run")


def _run_id(document: Document) -> str:
    """Return an id of the content: the same document, packed or elsewhere, is the same run."""
    digest = hashlib.sha256()
    with document.open() as file:
        while piece := file.read(1024 * 1024):
            digest.update(piece)
    return f"wfcommons-{digest.hexdigest()[:32]}"


def _instant(value: object) -> datetime | None:
    return _where_told(value, lambda told: parsing.instant(_text(told)))


def _milliseconds(value: object) -> float | None:
    return _where_told(value, lambda told: float(1000 * parsing.number(told)))


def _count(value: object) -> float | int | None:
    """A figure for `extra`, which is left out where it is none."""
    try:
        exact = _where_told(value, parsing.number)
    except Refused:
        return None
    return exact if exact is None else int(exact) if exact == exact.to_integral_value() else float(exact)


def _where_told(value: object, read_it: Callable[[object], Value]) -> Value | None:
    return None if value is None else read_it(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Refused("wrong_type", f"a {type(value).__name__}, not a date and time")
    return value


def _shown(raw: object) -> str:
    return str(raw.get("id", raw.get("name"))) if isinstance(raw, dict) else str(raw)

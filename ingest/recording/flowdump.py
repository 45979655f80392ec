"""What was recorded, as rows of the tables in a flowdump."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from ingest.recording.processes import Ending
from ingest.recording.workflow import Task, Workflow
from ingest.records import clean
from warehouse.durable import make_durable
from warehouse.errors import FlowscopeError

ENGINE = "flowscope record"


@dataclass(frozen=True, slots=True)
class Input:
    """An object that a task read, the task that made it and its size in bytes; None: there before, unknown."""

    object_id: str
    upstream_task_id: str | None
    input_bytes: int | None


@dataclass(frozen=True, slots=True)
class Recorded:
    """One task that ran: how it ended, what it read, and the bytes of all it wrote."""

    task: Task
    ending: Ending
    inputs: tuple[Input, ...]
    output_bytes: int | None


@dataclass(frozen=True)
class Recording:
    """One run of a workflow while it is recorded. Instants are those of one clock, so that the order of tasks stands."""

    workflow: Workflow
    tasks: list[Recorded] = field(default_factory=list)
    submitted_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    submitted: float = field(default_factory=time.perf_counter)
    run_id: str = field(init=False)

    def __post_init__(self) -> None:
        name = re.sub(r"[^\w.-]+", "_", self.workflow.name, flags=re.ASCII)[:60]
        object.__setattr__(self, "run_id", f"{self.submitted_at:%Y%m%dT%H%M%SZ}-{name}-{uuid4().hex[:12]}")

    @property
    def is_complete(self) -> bool:
        """Whether every task of the workflow succeeded."""
        return sum(recorded.ending.status == "succeeded" for recorded in self.tasks) == len(self.workflow.tasks)

    @property
    def seconds(self) -> float:
        """From submission to the end of the last task, in seconds."""
        return max((recorded.ending.ended for recorded in self.tasks), default=self.submitted) - self.submitted

    def sink(self) -> str:
        """Return the task whose end is that of the run: of several, the last to end, or the first that did not succeed."""
        ended = {task.task.task_id: task.ending.ended for task in self.tasks if task.ending.status == "succeeded"}
        return max(self.workflow.ends, key=lambda name: ended.get(name, float("inf")))

    def instant(self, moment: float) -> str:
        """Return an instant of `time.perf_counter` in UTC, in ISO 8601."""
        return (self.submitted_at + timedelta(seconds=moment - self.submitted)).isoformat(timespec="microseconds")


def rows(recording: Recording) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each table, `runs` last: where it is missing, a recording was not written to its end."""
    workflow, run = recording.workflow, {"run_id": recording.run_id}
    ends = [recorded.ending for recorded in recording.tasks]
    cpu_seconds = [ending.cpu_seconds for ending in ends if ending.cpu_seconds is not None]
    return {
        "tasks": [run | _task_row(recording, recorded) for recorded in recording.tasks],
        "task_inputs": [
            run | {"task_id": recorded.task.task_id} | asdict(read)
            for recorded in recording.tasks
            for read in recorded.inputs
        ],
        "edges": [
            run | {"upstream_task_id": upstream, "task_id": task}
            for task, all_upstream in workflow.upstream.items()
            for upstream in sorted(all_upstream)
        ],
        "runs": [
            run
            | {
                "engine": ENGINE,
                "workflow": workflow.name,
                "structure_hash": _structure_hash(workflow),
                "submitted_at": recording.instant(recording.submitted),
                "environment": platform.node() or None,
                "sink_task_id": recording.sink(),
                "expected_tasks": len(workflow.tasks),
                "cpu_seconds": round(sum(cpu_seconds), 6) if cpu_seconds else None,
                "engine_version": version("flowscope"),
            }
        ],
    }


def write(into: Path, recording: Recording) -> None:
    """Write a recording as `<table>-<run id>.jsonl`, each file whole or not at all. Raises `FlowscopeError`."""
    try:
        for table, lines in rows(recording).items():
            if lines:
                _write_whole(into / f"{table}-{recording.run_id}.jsonl", lines)
        make_durable(into)
    except OSError as error:
        raise FlowscopeError(
            f"{into} cannot hold the recording: {error.strerror}. Hint: choose another folder with --into."
        ) from error


def _write_whole(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.writelines(f"{clean(json.dumps(line, ensure_ascii=False))}\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _task_row(recording: Recording, recorded: Recorded) -> dict[str, Any]:
    task, ending = recorded.task, recorded.ending
    return {
        "task_id": task.task_id,
        "attempt": 1,
        "function": task.function,
        "kind": "executable",
        "started_at": recording.instant(ending.started),
        "input_wait_ms": 0.0,  # its process is started when its inputs are there
        "execution_ms": round(1000 * (ending.ended - ending.started), 3),
        "literal_bytes": sum(len(os.fsencode(argument)) for argument in task.command[1:]),
        "output_bytes": recorded.output_bytes,
        "max_memory_mb": ending.max_memory_mb,
        "status": ending.status,
        "exit_code": ending.exit_code,
        "error_type": ending.error_type,
        "error_message": ending.error_message,
        "extra": None if ending.cpu_seconds is None else {"cpu_seconds": round(ending.cpu_seconds, 6)},
    }


def _structure_hash(workflow: Workflow) -> str:
    structure = [
        [task.task_id, task.function, sorted(workflow.upstream[task.task_id])] for task in workflow.tasks.values()
    ]
    return hashlib.sha256(json.dumps(sorted(structure)).encode()).hexdigest()

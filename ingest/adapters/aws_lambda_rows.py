"""Rows of AWS Lambda's requests: what is known of each attempt, and the run, tasks and invocations that it makes.

A request is a run of one task. An attempt is an invocation: the first bears the request's id, the second '<id>#2'. Its request is at
the start of the handler less the init or restore that it waited for. gb_seconds: billed duration times memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ingest.adapters.adapter import Fact
from ingest.adapters.aws_lambda_events import ErrorLogged, Figures

ENGINE = "aws-lambda"
INIT_LIMIT = timedelta(seconds=10)
"""Where an init began longer before its request than it took and this, nobody waited for it: the container was made ready ahead."""
_NO_FIGURES = Figures()


@dataclass(slots=True)
class Init:
    """What a container did before its next request."""

    started_at: datetime | None = None
    kind: str | None = None
    init_ms: float | None = None
    restore_ms: float | None = None
    phases: dict[str, float] = field(default_factory=dict)
    error: ErrorLogged | None = None


@dataclass(slots=True)
class Attempt:
    """One attempt of a request. `reported_at` is when the platform wrote its report, `runtime` what the runtime said of it."""

    location: str
    container_id: str | None
    started_at: datetime | None = None
    has_start: bool = False
    version: str | None = None
    init: Init | None = None
    reported_at: datetime | None = None
    report: Figures | None = None
    runtime: Figures = _NO_FIGURES
    error: ErrorLogged | None = None
    logs_dropped: bool = False


def rows(request_id: str, attempts: Sequence[Attempt], function: str | None, region: str | None) -> Iterator[Fact]:
    """Yield the rows of a request."""
    task_id = function or "request"
    invocations = [_invocation(attempt) for attempt in attempts]
    gb_seconds = [_gb_seconds(attempt) for attempt in attempts]
    finished_at = invocations[-1]["finished_at"]
    yield Fact(
        "runs",
        {
            "run_id": request_id,
            "engine": ENGINE,
            "workflow": function,
            "structure_hash": _structure(function) if function else None,
            "submitted_at": invocations[0]["requested_at"],
            "finished_at": finished_at,
            "environment": region,
            "sink_task_id": task_id if finished_at else None,
            "expected_tasks": 1,
            "gb_seconds": None if None in gb_seconds else sum(value or 0 for value in gb_seconds),
        },
        attempts[0].location,
    )
    for number, (attempt, invocation) in enumerate(zip(attempts, invocations, strict=True), 1):
        invocation_id = request_id if number == 1 else f"{request_id}#{number}"
        figures = attempt.report or _NO_FIGURES
        status, error_type = _ending(attempt)
        common = {
            "run_id": request_id,
            "worker_id": invocation_id,
            "function": function,
            "memory_mb": figures.memory_mb,
            "max_memory_mb": figures.max_memory_mb,
            "status": status,
            "error_type": error_type,
        }
        task = {
            "task_id": task_id,
            "attempt": number,
            "kind": "function",
            "started_at": invocation["ready_at"],
            "execution_ms": figures.duration_ms,
            "error_message": attempt.error.message if attempt.error else None,
        }
        yield Fact("tasks", {**common, **task}, attempt.location)
        own = {"invocation_id": invocation_id, "initial_task_ids": [task_id], "billed_ms": figures.billed_ms}
        yield Fact("invocations", {**common, **own, **invocation}, attempt.location)


def _invocation(attempt: Attempt) -> dict[str, Any]:
    """Return what an attempt's times, state and bill are."""
    report, init = attempt.report or _NO_FIGURES, attempt.init or Init()
    phases = {**report.phases, **attempt.runtime.phases, **init.phases}
    started_at = attempt.started_at
    if started_at is None and attempt.reported_at and report.duration_ms is not None:
        started_at = attempt.reported_at - timedelta(milliseconds=report.duration_ms)
    init_ms = init.init_ms if report.init_ms is None and init.kind != "snap-start" else report.init_ms
    restore_ms = init.restore_ms if report.restore_ms is None else report.restore_ms
    waited_ms = state = None
    if restore_ms is not None:
        phases["restore"], init_ms, waited_ms, state = restore_ms, restore_ms, restore_ms, "cold"
    elif init_ms is not None and _is_ahead(init, init_ms, started_at):
        phases["init_ahead"], init_ms = init_ms, None
        state = "warm"
    elif init_ms is not None:
        waited_ms, state = init_ms, "cold"
    elif "failed_init" in phases or "failed_restore" in phases:
        waited_ms, state = phases.get("failed_init", 0) + phases.get("failed_restore", 0), "cold"
    elif report.is_complete:
        state = "warm"
    if attempt.report is None or (attempt.logs_dropped and state == "warm" and "init_ahead" not in phases):
        state = None
    finished_at = requested_at = started_at
    if started_at is not None and waited_ms is not None:
        requested_at = started_at - timedelta(milliseconds=waited_ms)
    duration_ms = report.duration_ms
    return {
        "container_id": attempt.container_id,
        "requested_at": requested_at,
        "ready_at": started_at,
        "finished_at": finished_at + timedelta(milliseconds=duration_ms)
        if finished_at and duration_ms is not None
        else None,
        "reported_state": state,
        "init_ms": init_ms,
        "logs_dropped": attempt.logs_dropped or None,
        "phases": phases,
        "extra": {**report.extra, **({"version": attempt.version} if attempt.version else {})},
    }


def _is_ahead(init: Init, init_ms: float, started_at: datetime | None) -> bool:
    """Whether the container was ready before anybody asked: provisioned concurrency, or an init long over."""
    if init.kind == "provisioned-concurrency":
        return True
    if init.started_at is None or started_at is None:
        return False
    return started_at - init.started_at > timedelta(milliseconds=init_ms) + INIT_LIMIT


def _ending(attempt: Attempt) -> tuple[str | None, str | None]:
    """Return how an attempt ended, and its error's type.

    A text report without a status says that the request was not cut off; whether the function failed by itself it does not say.
    """
    report, error = attempt.report or _NO_FIGURES, attempt.error
    said = report.status or attempt.runtime.status
    if said == "success":
        return "succeeded", None
    error_type = report.error_type or attempt.runtime.error_type or (error.error_type if error and error.ends else None)
    if said == "timeout" or (said is None and error and error.error_type == "timeout" and error.ends):
        return "killed", report.error_type or attempt.runtime.error_type or "timeout"
    is_ended = said is not None or error_type is not None or (error is not None and error.ends is not None)
    if not is_ended:
        return None, None
    if not error_type and attempt.init and attempt.init.error:
        error_type = attempt.init.error.error_type
    is_killed = "OutOfMemory" in (error_type or "") or (error is not None and error.ends == "killed")
    return "killed" if is_killed else "failed", error_type


def _gb_seconds(attempt: Attempt) -> float | None:
    billed_ms, memory_mb = (attempt.report.billed_ms, attempt.report.memory_mb) if attempt.report else (None, None)
    return None if billed_ms is None or memory_mb is None else billed_ms / 1000 * memory_mb / 1024


def _structure(function: str) -> str:
    return hashlib.sha256(f"{ENGINE} {function}".encode()).hexdigest()[:16]

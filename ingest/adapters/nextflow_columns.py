"""What a line of a Nextflow trace tells on its own: columns of `tasks`, and what has no column. Times are naive, in UTC."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ingest.adapters import parsing
from ingest.adapters.adapter import MAX_NAME
from ingest.records import Refused

_UNKNOWN_EXIT = 2**31 - 1
_SIGNALS = range(129, 129 + 64)
"""Exit codes by which a shell tells that a signal ended the command: 128 and its number."""

_STATUSES = {"COMPLETED": "succeeded", "FAILED": "failed", "ABORTED": "killed"}
_OWN_COLUMNS = frozenset(
    ("task_id", "process", "status", "exit", "attempt", "hostname", "memory", "start", "realtime", "peak_rss")
)
_NEVER_KEPT = frozenset(("script", "env"))
"""Columns that hold whole programs, and variables that may be secret."""


def columns(values: Mapping[str, str], submitted_at: datetime | None, finished_at: datetime | None) -> dict[str, Any]:
    """Return the columns that a line tells on its own."""
    execution_ms = read_value(values, "realtime", parsing.duration_ms)
    started_at = read_value(values, "start", parsing.instant)
    extra = _extra(values)
    if submitted_at and started_at and started_at >= submitted_at:
        extra["queue_ms"] = (started_at - submitted_at).total_seconds() * 1000
    if not started_at and submitted_at and finished_at and execution_ms is not None:
        began = parsing.later(finished_at, -execution_ms)
        if began >= submitted_at:
            started_at, extra["started_at_from"] = began, "the end minus realtime"
    status, exit_code, error_type = _ending(values)
    memory = read_value(values, "memory", parsing.size_bytes)
    peak = read_value(values, "peak_rss", parsing.size_bytes)
    return {
        "function": values.get("process") or values.get("name", "").partition(" (")[0],
        "kind": "executable",
        "worker_id": values.get("hostname"),
        "memory_mb": None if memory is None else round(memory / parsing.MEBIBYTE) or None,
        "started_at": started_at,
        "execution_ms": execution_ms,
        "max_memory_mb": None if peak is None else peak / parsing.MEBIBYTE,
        "status": status,
        "exit_code": exit_code,
        "error_type": error_type,
        "extra": extra,
    }


def _ending(values: Mapping[str, str]) -> tuple[str | None, int | None, str | None]:
    """Return status, exit code and, where a signal ended the command, its name."""
    exit_code = read_value(values, "exit", integer)
    exit_code = None if exit_code == _UNKNOWN_EXIT else exit_code
    status = _STATUSES.get(values.get("status", ""))
    if "status" not in values and exit_code is not None:
        status = "failed" if exit_code else "succeeded"
    if status != "failed" or exit_code not in _SIGNALS:
        return status, exit_code, None
    try:
        return "killed", exit_code, signal.Signals(exit_code - 128).name
    except ValueError:
        return "killed", exit_code, f"signal {exit_code - 128}"


def _extra(values: Mapping[str, str]) -> dict[str, Any]:
    """Return what has no column, by name and unit; a value that cannot be read stays the text it is."""
    extra: dict[str, Any] = {}
    for name, text in values.items():
        if name in _OWN_COLUMNS or name in _NEVER_KEPT:
            continue
        key, read_it = _EXTRA.get(name, (name, None))
        try:
            extra[key] = read_it(text) if read_it else text[:MAX_NAME]
        except Refused:
            extra[name] = text[:MAX_NAME]
    if values.get("status", "COMPLETED") not in ("COMPLETED", "FAILED"):
        extra["status"] = values["status"][:MAX_NAME]
    return extra


def read_value(values: Mapping[str, str], name: str, read_it: Callable[[str], Any]) -> Any:
    """Return a value as it is meant, None where there is none. Raises `Refused`, which names the column."""
    if name not in values:
        return None
    try:
        return read_it(values[name])
    except Refused as refused:
        raise Refused(refused.reason, f"{name}: {refused.detail}") from refused


def integer(text: str) -> int:
    """Return an integer. Raises `Refused`."""
    if not re.fullmatch(r"-?[0-9]{1,18}(\.0)?", text):
        raise Refused("wrong_type", f"{text[:MAX_NAME]!r} is no integer")
    return int(text.partition(".")[0])


def _iso(text: str) -> str:
    return parsing.instant(text).isoformat()


_EXTRA: dict[str, tuple[str, Callable[[str], Any]]] = {
    "submit": ("submitted_at", _iso),
    "complete": ("completed_at", _iso),
    "duration": ("duration_ms", parsing.duration_ms),
    "time": ("time_limit_ms", parsing.duration_ms),
    "cpus": ("cpus", integer),
    "%cpu": ("cpu_percent", parsing.percent),
    "%mem": ("memory_percent", parsing.percent),
    **{name: (f"{name}_bytes", parsing.size_bytes) for name in ("disk", "rss", "vmem", "peak_vmem", "rchar", "wchar")},
    **{name: (name, parsing.size_bytes) for name in ("read_bytes", "write_bytes")},
    **{name: (name, integer) for name in ("syscr", "syscw", "vol_ctxt", "inv_ctxt")},
}
"""Columns of no table, by Nextflow's name: the name in `extra` and how the value is read."""

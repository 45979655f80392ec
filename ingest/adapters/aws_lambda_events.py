"""What AWS Lambda's logs say, in whatever form they say it: one event per line that matters.

Facts of the JSON form are those of the Telemetry API's event schema (docs.aws.amazon.com, Lambda, telemetry-schema-reference) and of
FIELD.md 4. Durations are milliseconds, memory megabytes, instants naive UTC.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ingest.records import EARLIEST, LATEST, Refused

MAX_MS = 1e11
"""Some three years: no request, and no init, takes as long."""
MAX_ID = 200
_MAX_EXTRAS = 20
_ARN = re.compile(r"arn:aws[a-z-]*:(?:lambda|logs):([a-z0-9-]+):")
_ERROR_LEVELS = frozenset({"ERROR", "FATAL", "CRITICAL"})


class Started(NamedTuple):
    """A request reached the function's handler."""

    request_id: str
    version: str | None = None


class Figures(NamedTuple):
    """What a report, or the runtime, says of one request. Whatever it does not say is None."""

    duration_ms: float | None = None
    billed_ms: float | None = None
    memory_mb: int | None = None
    max_memory_mb: float | None = None
    init_ms: float | None = None
    restore_ms: float | None = None
    status: str | None = None
    error_type: str | None = None
    phases: Mapping[str, float] = {}
    extra: Mapping[str, Any] = {}

    @property
    def is_complete(self) -> bool:
        """Whether it has all that every report has, so that a missing init duration means that there was no init."""
        return None not in (self.duration_ms, self.billed_ms, self.memory_mb, self.max_memory_mb)


class Reported(NamedTuple):
    """A request is over, and this is its bill."""

    request_id: str
    figures: Figures


class ReportGoesOn(NamedTuple):
    """What a report says on its second line: the trace."""

    figures: Figures


class RuntimeDone(NamedTuple):
    """The runtime is done with a request; the report may still get lost."""

    request_id: str
    figures: Figures


class InitStarted(NamedTuple):
    """A container begins to initialise, or (`is_restore`) to be restored from a snapshot."""

    kind: str | None = None
    is_restore: bool = False


class InitReported(NamedTuple):
    """An init or restore is over. `phase` is 'init', or 'invoke' where it was repeated within a request after an error."""

    duration_ms: float | None
    phase: str | None = None
    status: str | None = None
    error_type: str | None = None
    kind: str | None = None
    is_restore: bool = False


class LogsDropped(NamedTuple):
    """The platform lost log lines."""


class ErrorLogged(NamedTuple):
    """An error that was printed. `ends` says what it does to the request: 'killed', 'failed', or None (it may go on)."""

    request_id: str | None
    error_type: str | None
    message: str | None
    ends: str | None


Event = Started | Reported | ReportGoesOn | RuntimeDone | InitStarted | InitReported | LogsDropped | ErrorLogged


def platform_event(kind: str, record: object) -> Event | None:
    """Return what a `platform.*` record says, None where it is of no use here.

    Raises `Refused`: wrong_type, out_of_range, missing_key, too_large.
    """
    if kind not in _PLATFORM:
        return None
    if kind == "logsDropped":
        return LogsDropped()
    if not isinstance(record, dict):
        raise Refused("wrong_type", f"record is a {type(record).__name__}, not an object")
    if kind == "start":
        return Started(request_id_of(record.get("requestId")), _text(record, "version"))
    if kind == "report":
        return Reported(request_id_of(record.get("requestId")), _figures(record))
    if kind == "runtimeDone":
        return RuntimeDone(request_id_of(record.get("requestId")), _figures(record))
    is_restore = kind.startswith("restore")
    if kind.endswith("Start"):
        return InitStarted(_text(record, "initializationType"), is_restore)
    metrics = _object(record, "metrics")
    return InitReported(
        milliseconds("durationMs", metrics.get("durationMs")),
        _text(record, "phase"),
        _text(record, "status"),
        _text(record, "errorType"),
        _text(record, "initializationType"),
        is_restore,
    )


def application_error(line: Mapping[str, Any]) -> ErrorLogged | None:
    """Return the error that a function's own JSON log line tells of, None where it tells of none."""
    inner = line.get("message")
    body = inner if isinstance(inner, dict) else line
    error_type, message = body.get("errorType"), body.get("errorMessage", body.get("message"))
    level = line.get("level")
    if not isinstance(error_type, str) and not (isinstance(level, str) and level.upper() in _ERROR_LEVELS):
        return None
    found = line.get("requestId", line.get("AWSRequestId"))
    request_id = found if isinstance(found, str) and found else None
    message = message if isinstance(message, str) else None
    if message and "Task timed out after" in message:
        return ErrorLogged(request_id, "timeout", message, "killed")
    error_type = error_type if isinstance(error_type, str) else None
    return ErrorLogged(request_id, error_type, message, ending(error_type, message) if error_type else None)


def ending(error_type: str | None, message: str | None) -> str:
    """Return what an error does to its request: 'killed' by the platform, or 'failed'."""
    is_killed = "OutOfMemory" in (error_type or "") or "signal: killed" in (message or "")
    return "killed" if is_killed else "failed"


def region_of(text: str) -> str | None:
    """Return the region in the first ARN of a text."""
    found = _ARN.search(text)
    return found[1] if found else None


def instant(value: object) -> datetime | None:
    """Return an instant from ISO text, UTC where it names no zone, None of nothing.

    Raises `Refused`: wrong_type, out_of_range.
    """
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise Refused("wrong_type", f"time is a {type(value).__name__}, not a text")
    try:
        moment = datetime.fromisoformat(value.replace(",", "."))
        moment = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError) as error:
        raise Refused("wrong_type", f"time is no instant: {value[:50]}") from error
    return in_range(moment)


def in_range(moment: datetime) -> datetime:
    """Return the instant. Raises `Refused` 'out_of_range' where no log can be of then."""
    if not EARLIEST <= moment < LATEST:
        raise Refused("out_of_range", f"time is {moment}, outside 2000 to 2199")
    return moment


def milliseconds(name: str, value: object) -> float | None:
    """Return a duration or size, None of nothing. Raises `Refused`: wrong_type, out_of_range."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Refused("wrong_type", f"{name} is a {type(value).__name__}, not a number")
    if not 0 <= value <= MAX_MS:  # NaN too
        raise Refused("out_of_range", f"{name} is out of range")
    return float(value)


def request_id_of(value: object) -> str:
    """Return a request's id. Raises `Refused`: missing_key, wrong_type, too_large."""
    if value is None or value == "":
        raise Refused("missing_key", "requestId is missing")
    if not isinstance(value, str):
        raise Refused("wrong_type", f"requestId is a {type(value).__name__}, not a text")
    if len(value) > MAX_ID:
        raise Refused("too_large", f"requestId is longer than {MAX_ID} characters")
    return value


def _figures(record: Mapping[str, Any]) -> Figures:
    metrics = _object(record, "metrics")
    named = {name: milliseconds(name, metrics.get(key)) for name, key in _METRICS.items()}
    memory = named.pop("memory_mb")
    extra = {
        key: value
        for key, value in list(metrics.items())[:_MAX_EXTRAS]
        if key not in _METRICS.values() and isinstance(value, (int, float, str))
    }
    trace = _object(record, "tracing").get("value")
    if isinstance(trace, str):
        extra["trace_id"] = trace.partition(";")[0].removeprefix("Root=")
    return Figures(
        **named,
        memory_mb=None if memory is None else int(memory),
        status=_text(record, "status"),
        error_type=_text(record, "errorType"),
        phases=_spans(record.get("spans")),
        extra=extra,
    )


def _spans(spans: object) -> dict[str, float]:
    """Return the parts of a request that have a name and a duration."""
    if not isinstance(spans, list):
        return {}
    named = {}
    for span in spans[:_MAX_EXTRAS]:
        name = span.get("name") if isinstance(span, dict) else None
        duration = milliseconds("durationMs of a span", span.get("durationMs")) if isinstance(name, str) else None
        if name and duration is not None:
            named[name[:MAX_ID]] = duration
    return named


def _object(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = record.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refused("wrong_type", f"{name} is a {type(value).__name__}, not an object")
    return value


def _text(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise Refused("wrong_type", f"{name} is a {type(value).__name__}, not a text")
    return value[:MAX_ID]


_PLATFORM = frozenset(
    {"start", "report", "runtimeDone", "initStart", "initReport", "restoreStart", "restoreReport", "logsDropped"}
)
_METRICS = {
    "duration_ms": "durationMs",
    "billed_ms": "billedDurationMs",
    "memory_mb": "memorySizeMB",
    "max_memory_mb": "maxMemoryUsedMB",
    "init_ms": "initDurationMs",
    "restore_ms": "restoreDurationMs",
}

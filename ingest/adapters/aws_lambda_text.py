"""Lines of AWS Lambda's text logs: where a line stands, and what it says.

A line may be the platform's (START, END, REPORT, INIT_*, RESTORE_*), an error that a runtime prints, or the function's own. An export
to S3 puts a timestamp before each message, `aws logs tail` a timestamp and the log stream, `sam logs` the two the other way
round, and tools that read several log groups the group before both.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ingest.adapters.adapter import json_object
from ingest.adapters.aws_lambda_events import (
    ErrorLogged,
    Event,
    Figures,
    InitReported,
    InitStarted,
    Reported,
    ReportGoesOn,
    Started,
    application_error,
    ending,
    milliseconds,
    request_id_of,
)
from ingest.records import Refused

_STREAM = r"\d{4}/\d\d/\d\d/[^\s\[\]]*\[[^\s\[\]]+\][^\s]*"
_TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"
PREFIX = rf"(?:/aws/lambda/[^\s]+\s+)?(?:{_STREAM}\s+)?(?:{_TIME}\s+)?(?:{_STREAM}\s+)?"
_PREFIX = re.compile(rf"(/aws/lambda/[^\s]+\s+)?({_STREAM}\s+)?({_TIME}(?:\s+|$))?({_STREAM}\s+)?")
PLATFORM_LINE = re.compile(
    rf"^{PREFIX}(?:(?:START|END|REPORT) RequestId: ?\S|INIT_START Runtime Version: |INIT_REPORT Init Duration: "
    "|RESTORE_START Runtime Version: |RESTORE_REPORT Restore Duration: )",
    re.MULTILINE,
)
_PLATFORM = re.compile(r"(START|END|REPORT) RequestId: ?(\S*)|(INIT|RESTORE)_(START|REPORT)\s")
_MAX_REPORT = 4_000
_FIELD = re.compile(r"\b([A-Z][A-Za-z]{0,20}(?: [A-Z][A-Za-z]{0,20}){0,3}):[ \t]*(\S{1,200})(?: (ms|MB)\b)?")
_VALUE = re.compile(r"(-?\d+(?:\.\d+)?)(ms|MB)?")
_FIGURES = {
    "Duration": ("duration_ms", "ms"),
    "Billed Duration": ("billed_ms", "ms"),
    "Memory Size": ("memory_mb", "MB"),
    "Max Memory Used": ("max_memory_mb", "MB"),
    "Init Duration": ("init_ms", "ms"),
    "Restore Duration": ("restore_ms", "ms"),
}
_OTHERS = {
    "Billed Restore Duration": "billed_restore_ms",
    "XRAY TraceId": "trace_id",
    "SegmentId": "segment_id",
    "Sampled": "sampled",
}
_TIMED_OUT = re.compile(r"(?:^|\s)(\S{1,200})\s+(Task timed out after [\d.]+ seconds)")
_OF_REQUEST = re.compile(r"RequestId:\s*(\S{1,200})\s+(?:Error:\s*)?(\S.*)")
_LOGGED = re.compile(r"\[(?:ERROR|CRITICAL|FATAL)\]\s+\d{4}-\S+\s+(\S{1,200})\s+(\S.*)")
_RAISED = re.compile(r"\[ERROR\]\s+([A-Za-z_][\w.]{0,200})(?::\s*([^\r]*))?(\r?.{0,10}Traceback)?")
_EXCEPTION = re.compile(r"(?:Runtime|Sandbox|Function)\.\w+|[\w.]*(?:Error|Exception|Exit)$")
_NODE = re.compile(r"(?:^|\s)\d{4}-\S+Z\s+(\S{1,200})\s+(?:ERROR|FATAL)\s+(\S.*)|^(\S{1,200})\t(?:ERROR|FATAL)\t(\S.*)")
_UNCAUGHT = ("Invoke Error", "Uncaught Exception", "Unhandled Promise Rejection")
_BARE_TYPE = re.compile(r"(?:Runtime|Sandbox|Extension|Function)\.\w{1,100}\s*$")


class Placed(NamedTuple):
    """A message without what was put before it: log group, log stream and timestamp as they are written, or None."""

    group: str | None
    stream: str | None
    time: str | None
    message: str


def placed(line: str) -> Placed:
    """Return a line's message and what stands before it."""
    found = _PREFIX.match(line)
    if not found or not found.end():
        return Placed(None, None, None, line)
    group, before, time, after = found.groups()
    stream = before or after
    return Placed(
        group.strip() if group else None,
        stream.strip() if stream else None,
        time.strip() if time else None,
        line[found.end() :],
    )


def may_matter(line: str) -> bool:
    """Whether a line may say anything, told as cheaply as it can be: most lines are the function's own."""
    return (
        "RequestId" in line
        or "rror" in line
        or "ERROR" in line
        or "INIT_" in line
        or "RESTORE_" in line
        or "platform." in line
        or "timed out" in line
        or "Runtime." in line
        or "XRAY TraceId" in line
        or "FATAL" in line
        or "CRITICAL" in line
    )


def event_of(message: str) -> Event | bool:
    """Return what a message says, True for a line of the platform that says nothing more, False for the function's own.

    Raises `Refused`: not_the_format, wrong_type, out_of_range, missing_key, too_large.
    """
    if message[:1] in "SREI" and (found := _PLATFORM.match(message)):
        return _platform(found, message)
    if message.startswith("XRAY TraceId:"):
        return ReportGoesOn(_figures(message[:_MAX_REPORT]))
    return _error(message) or False


def _platform(found: re.Match[str], message: str) -> Event | bool:
    word, request_id, init, part = found.groups()
    rest = message[found.end() : found.end() + _MAX_REPORT]
    if word == "END":
        return True
    if word == "START":
        fields = dict(_fields(rest))
        return Started(request_id_of(request_id), fields.get("Version", (None,))[0])
    if word == "REPORT":
        figures = _figures(rest)
        if figures == Figures():
            raise Refused("not_the_format", "the report has no figures")
        return Reported(request_id_of(request_id), figures)
    is_restore = init == "RESTORE"
    if part == "START":
        return InitStarted(None, is_restore)
    fields = dict(_fields(rest))
    name = "Restore Duration" if is_restore else "Init Duration"
    if name not in fields:
        raise Refused("not_the_format", f"the report has no {name}")
    phase, status, error_type = (fields.get(field, (None,))[0] for field in ("Phase", "Status", "Error Type"))
    return InitReported(_number(name, fields[name], "ms"), phase, status, error_type, None, is_restore)


def _fields(text: str) -> list[tuple[str, tuple[str, str]]]:
    """Return the named fields of a report in their order: the name, its value and its unit ('' where there is none)."""
    return [(name, (value, unit)) for name, value, unit in _FIELD.findall(text)]


def _figures(text: str) -> Figures:
    known: dict[str, float | None] = {}
    said: dict[str, str] = {}
    extra: dict[str, float | str | None] = {}
    for name, field in _fields(text):
        if name in _FIGURES:
            column, unit = _FIGURES[name]
            known[column] = _number(name, field, unit)
        elif name in ("Status", "Error Type"):
            said["status" if name == "Status" else "error_type"] = field[0]
        elif name == "Billed Restore Duration":
            extra[_OTHERS[name]] = _number(name, field, "ms")
        else:
            extra[_OTHERS.get(name) or name.lower().replace(" ", "_")] = f"{field[0]} {field[1]}".strip()
    memory = known.pop("memory_mb", None)
    return Figures(memory_mb=None if memory is None else int(memory), extra=extra, **known, **said)  # type: ignore[arg-type]


def _number(name: str, field: tuple[str, str], unit: str) -> float | None:
    found = _VALUE.fullmatch(field[0])
    if not found or (found[2] or field[1]) != unit:
        raise Refused("not_the_format", f"{name} is '{' '.join(field).strip()[:50]}', not a number of {unit}")
    return milliseconds(name, float(found[1]))


def _error(message: str) -> ErrorLogged | None:
    if found := _TIMED_OUT.search(message):
        return ErrorLogged(found[1], "timeout", found[2], "killed")
    if found := _OF_REQUEST.match(message):
        text = found[2]
        return ErrorLogged(found[1], None, text, ending(None, text)) if "xited" in text or "Error:" in message else None
    if found := _LOGGED.match(message):
        return ErrorLogged(found[1], None, found[2], None)
    if found := _RAISED.match(message):
        if found[3] or _EXCEPTION.match(found[1]):
            return ErrorLogged(None, found[1], found[2] or None, ending(found[1], found[2]))
        return ErrorLogged(None, None, message, None)
    if found := _NODE.search(message):
        return _node_error(found[1] or found[3], found[2] or found[4])
    if message.startswith("{"):
        return _json_error(message)
    if _BARE_TYPE.match(message):
        return ErrorLogged(None, message.strip(), None, ending(message, None))
    return None


def _node_error(request_id: str, text: str) -> ErrorLogged:
    told = _json_error(text[text.find("{") :]) if "{" in text and '"errorType"' in text else None
    is_end = told is not None or text.startswith(_UNCAUGHT)
    error_type, message = (told.error_type, told.message) if told else (None, text)
    known = None if request_id == "undefined" else request_id
    return ErrorLogged(known, error_type, message, ending(error_type, message) if is_end else None)


def _json_error(text: str) -> ErrorLogged | None:
    try:
        return application_error(json_object(text))
    except Refused:
        return None

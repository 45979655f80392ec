"""Say what one span of OTLP/JSON is: its ids, times and kind, and what of its attributes says anything about functions.

Attributes are those of the semantic conventions, and go by their present names: `faas.execution` is `faas.invocation_id`, say. What is
kept of a span is bounded: so many attributes, texts so long.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from ingest.adapters.adapter import MAX_NAME
from ingest.records import EARLIEST, LATEST, Refused, clean

SERVER, CLIENT, PRODUCER, CONSUMER = 2, 3, 4, 5
OTHER, SERVED, STATED, CALLS = range(4)
"""Roles of a span: none; it serves a request, so it is an invocation if its resource is a function; it says itself that it is one; it
is a caller's view of one."""

_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_RENAMED = {
    "faas.execution": "faas.invocation_id",
    "faas.id": "cloud.resource_id",
    "http.request_content_length": "http.request.body.size",
    "http.response_content_length": "http.response.body.size",
    "messaging.message_payload_size_bytes": "messaging.message.body.size",
    "messaging.message.payload_size_bytes": "messaging.message.body.size",
}
_KEPT = {
    *("service.name", "host.name", "error.type"),
    *("http.request.body.size", "http.response.body.size", "messaging.message.body.size"),
}
_MAX_ATTRIBUTES = 64
_MAX_VALUES = 128
_EARLIEST, _LATEST = (int(moment.replace(tzinfo=UTC).timestamp()) * 10**9 for moment in (EARLIEST, LATEST))
_INT64 = 2**63


@dataclass(frozen=True, slots=True)
class Span:
    """One span. Instants are nanoseconds since 1970, ids bytes; `fields` is what it says of functions, errors and links."""

    trace_id: bytes
    span_id: bytes
    parent_id: bytes | None
    kind: int
    started: int | None
    ended: int | None
    name: str
    role: int
    fields: dict[str, Any]


def span_of(value: object) -> Span:
    """Return a span. Raises `Refused`: wrong_type, not_the_format, missing_key, out_of_range."""
    if not isinstance(value, dict):
        raise Refused("wrong_type", f"a span is a {type(value).__name__}, not an object")
    started, ended = _instant(value, "startTimeUnixNano"), _instant(value, "endTimeUnixNano")
    if started and ended and ended < started:
        raise Refused("out_of_range", "the span ends before it starts")
    trace_id, span_id = _id(value, "traceId", 16), _id(value, "spanId", 8)
    if not trace_id or not span_id:
        raise Refused("missing_key", f"{'spanId' if trace_id else 'traceId'} is missing")
    kind, kept, links = _kind(value.get("kind")), attributes(value), _links(value)
    role = _role(kind, kept)
    fields = {**kept, **_outcome(value, kept)} if role else {}
    if links:
        fields["links"] = links
    name = value.get("name")
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=_id(value, "parentSpanId", 8),
        kind=kind,
        started=started,
        ended=ended,
        name=clean(name[:MAX_NAME]) if isinstance(name, str) else "",
        role=role,
        fields=fields,
    )


def attributes(of: object) -> dict[str, Any]:
    """Return what the attributes of a resource or span say of functions and where they run, by present name."""
    found: dict[str, Any] = {}
    entries = of.get("attributes") if isinstance(of, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or not isinstance(key := entry.get("key"), str):
            continue
        name = _RENAMED.get(key, key)
        if not name.startswith(("faas.", "cloud.")) and name not in _KEPT:
            continue
        value = _plain(entry.get("value"))
        if value not in (None, "") and len(found) < _MAX_ATTRIBUTES and (name == key or name not in found):
            found[name[:MAX_NAME]] = value
    return found


def _role(kind: int, kept: Mapping[str, Any]) -> int:
    """Tell what a span is. An internal span with `faas.coldstart` alone is the initialisation of a container, no invocation."""
    if kind in (CLIENT, PRODUCER):
        return CALLS if "faas.invoked_name" in kept else OTHER
    if kept.keys() & {"faas.invocation_id", "faas.trigger"} or (kind == 0 and "faas.coldstart" in kept):
        return STATED
    if kind in (SERVER, CONSUMER):
        return STATED if any(name.startswith("faas.") for name in kept) else SERVED
    return OTHER


def _kind(value: object) -> int:
    if isinstance(value, str):
        name = value.removeprefix("SPAN_KIND_")
        return _KINDS.index(name) if name in _KINDS else 0
    return value if isinstance(value, int) and 0 <= value < len(_KINDS) else 0


def _outcome(value: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return status ('succeeded' or 'failed', nothing where it is unset) and, of what failed, the error."""
    status = value.get("status")
    code = status.get("code") if isinstance(status, dict) else None
    if code in (1, "STATUS_CODE_OK"):
        return {"status": "succeeded"}
    if code not in (2, "STATUS_CODE_ERROR"):
        return {}
    exception: dict[str, Any] = {}
    for event in listed(value.get("events")):
        if isinstance(event, dict) and event.get("name") == "exception":
            exception = {
                entry["key"]: _plain(entry.get("value"))
                for entry in listed(event.get("attributes"))
                if isinstance(entry, dict) and entry.get("key") in ("exception.type", "exception.message")
            }
    return {
        "status": "failed",
        "error_type": exception.get("exception.type") or kept.get("error.type"),
        "error_message": exception.get("exception.message") or text(status.get("message") if status else None),
    }


def _links(value: Mapping[str, Any]) -> list[list[str]]:
    """Return the (trace, span) ids that a span links to, in hex; what is no link is left out."""
    found = []
    for link in listed(value.get("links"))[:_MAX_VALUES]:
        try:
            trace_id, span_id = _id(link, "traceId", 16), _id(link, "spanId", 8)
        except (Refused, AttributeError):
            continue
        if trace_id and span_id:
            found.append([trace_id.hex(), span_id.hex()])
    return found


def text(value: object) -> str | None:
    """Return the value if it is a text, cut to what is kept."""
    return value[:MAX_NAME] or None if isinstance(value, str) else None


def _plain(value: object) -> Any:
    """Return an attribute's value: a text, number, boolean, or list of these. None where it is another, or cannot be."""
    match value:
        case {"arrayValue": {"values": list(values)}}:
            return [plain for entry in values[:_MAX_VALUES] if (plain := _scalar(entry)) is not None]
        case _:
            return _scalar(value)


def _scalar(value: object) -> str | int | float | bool | None:
    match value:
        case {"stringValue": str(string)} | {"bytesValue": str(string)}:
            return text(string)
        case {"boolValue": bool(boolean)}:
            return boolean
        case {"intValue": int() | str() as number} if not isinstance(number, bool):
            return whole if (whole := _integer(number)) is not None and -_INT64 <= whole < _INT64 else None
        case {"doubleValue": int() | float() as number} if not isinstance(number, bool) and abs(number) < _INT64:
            return float(number) if math.isfinite(number) else None
    return None


def _integer(value: int | str) -> int | None:
    if isinstance(value, int):
        return value
    return int(value) if re.fullmatch(r"-?[0-9]{1,20}", value) else None


def _instant(span: Mapping[str, Any], name: str) -> int | None:
    """Return nanoseconds since 1970; 0 is unknown."""
    value = span.get(name)
    if value in (None, "", 0, "0"):
        return None
    number = _integer(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else None
    if number is None:
        raise Refused("wrong_type", f"{name} is no number of nanoseconds")
    if not _EARLIEST <= number < _LATEST:
        raise Refused("out_of_range", f"{name} is outside 2000 to 2199")
    return number


def _id(span: Mapping[str, Any], name: str, size: int) -> bytes | None:
    """Return an id written in hex, as OTLP/JSON has it, or in base64, as protobuf has it; zeros are none."""
    value = span.get(name)
    if value in (None, ""):
        return None
    if not isinstance(value, str):
        raise Refused("wrong_type", f"{name} is a {type(value).__name__}, not a text")
    try:
        if len(value) == 2 * size:
            found = bytes.fromhex(value)
        else:
            found = base64.b64decode(value[: 2 * size] + "=" * (-len(value) % 4), validate=True)
    except (ValueError, binascii.Error) as error:
        raise Refused("not_the_format", f"{name} is no id of {size} bytes") from error
    if len(found) != size:
        raise Refused("not_the_format", f"{name} is no id of {size} bytes")
    return found if any(found) else None


def listed(value: object) -> list[Any]:
    """Return the value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []

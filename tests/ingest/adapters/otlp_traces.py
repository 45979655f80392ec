"""OTLP/JSON written by hand from its grammar: the protocol's JSON encoding and the semantic conventions for functions."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ingest.adapters import opentelemetry
from ingest.adapters.adapter import Document
from tests.ingest.adapters.taking import taken as taken_by

INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = 1, 2, 3, 4, 5
BEGIN = datetime(2024, 5, 4, 10, 0, tzinfo=UTC)
BEGIN_NS = int(BEGIN.timestamp()) * 10**9
Json = dict[str, Any]


def at(ms: float) -> datetime:
    """The instant so many milliseconds after the beginning, as tables hold it."""
    return BEGIN.replace(tzinfo=None) + timedelta(milliseconds=ms)


def hex_of(number: int, trace: int = 1) -> tuple[str, str]:
    """The ids of a trace and of a span in it."""
    return f"{trace:032x}", f"{number:016x}"


def attributes(values: Json) -> list[Json]:
    """Attributes as the protocol's JSON encoding writes them: integers are strings."""
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: object) -> Json:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(entry) for entry in value]}}
    return {"stringValue": value}


def span(
    number: int,
    start_ms: float,
    end_ms: float,
    *,
    kind: int | str = SERVER,
    parent: int | None = None,
    trace: int = 1,
    name: str = "handler",
    said: Json | None = None,
    **others: Any,
) -> Json:
    """A span, its times in milliseconds after the beginning."""
    trace_id, span_id = hex_of(number, trace)
    return {
        "traceId": trace_id,
        "spanId": span_id,
        "parentSpanId": "" if parent is None else hex_of(parent)[1],
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(BEGIN_NS + round(start_ms * 1e6)),
        "endTimeUnixNano": str(BEGIN_NS + round(end_ms * 1e6)),
        "attributes": attributes(said or {}),
        "status": {},
        **others,
    }


def block(resource: Json, *spans: Json) -> Json:
    """The spans of one resource."""
    return {
        "resource": {"attributes": attributes(resource)},
        "scopeSpans": [{"scope": {"name": "by hand"}, "spans": list(spans)}],
    }


def function(name: str, instance: str = "", **others: Any) -> Json:
    """A function's resource."""
    return {"service.name": name, "faas.name": name, "faas.instance": instance, **others}


def line(*blocks: Json) -> str:
    """One line of the collector's file exporter."""
    return json.dumps({"resourceSpans": list(blocks)})


class Taken:
    """What is read of a document: rows by table, and the rest."""

    def __init__(self, document: Document) -> None:
        self.rows = taken_by(opentelemetry.read, document)
        self.rejects = [(reject.location, reject.reason) for reject in self.rows.pop("rejects")]
        self.skipped = sum(self.rows.pop("skipped"))
        self.unknown: dict[str, int] = {name: n for counts in self.rows.pop("unknown") for name, n in counts.items()}

    def one(self, table: str) -> Json:
        """The only row of a table."""
        (row,) = self.rows[table]
        return row

    @property
    def edges(self) -> set[tuple[int, int]]:
        """The edges between spans, by their numbers."""
        return {(int(edge["upstream_task_id"], 16), int(edge["task_id"], 16)) for edge in self.rows["edges"]}

    @property
    def tasks(self) -> dict[int, Json]:
        """The tasks by number of their span, the last attempt where there are several."""
        return {int(task["task_id"], 16): task for task in self.rows["tasks"]}


def taken(folder: Path, content: str | bytes) -> Taken:
    """Read a document of that content."""
    path = folder / "content"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Taken(Document(path, "/traces/spans.json", folder))

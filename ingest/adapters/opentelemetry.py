"""Read OpenTelemetry traces in OTLP/JSON: every invocation of a function becomes a task and an invocation, every trace with one a run.

Spans come in any order, so they are put aside on disk first (`opentelemetry_store`); which of them are invocations, and who called
whom, is told trace by trace (`opentelemetry_calls`). A caller mostly waits for what it calls, so no sink is named; how many tasks a run
should have is said only where a caller names a function it called that left no span. Memory is bounded by one line, or one span
of a document of many lines, by SQLite's cache, and by the invocations of one trace, of which there may be `MAX_CALLS`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from ingest.adapters.adapter import Document, Fact
from ingest.adapters.opentelemetry_calls import Call, Trace
from ingest.adapters.opentelemetry_file import Part, begins_with_traces, parts
from ingest.adapters.opentelemetry_spans import attributes, span_of, text
from ingest.adapters.opentelemetry_store import SpanStore, span_store
from ingest.records import Refused
from warehouse.batches import Reject, Skipped

NAME = "otlp"
PARSER_VERSION = 1
_EPOCH = datetime(1970, 1, 1)
_MIB = 1024 * 1024
_IN_COLUMNS = {
    *("faas.name", "faas.instance", "faas.max_memory", "faas.coldstart"),
    *("http.request.body.size", "http.response.body.size", "messaging.message.body.size"),
    *("status", "error_type", "error_message", "error.type", "links"),
}


def recognise(head: str) -> bool:
    """Whether the document begins as OTLP/JSON and traces are in its beginning."""
    return begins_with_traces(head)


def read(document: Document) -> Iterator[Fact | Reject | Skipped]:
    """Yield the runs of a file, trace by trace. Raises `SourceError` where spans cannot be put aside."""
    with span_store(document.staging) as store:
        yield from _put_aside(document, store)
        calls = 0
        for trace_id in store.traces():
            try:
                trace = Trace.of(store, trace_id)
            except Refused as refused:
                yield Reject(f"trace {trace_id.hex()}", refused.reason, refused.detail)
                continue
            calls += len(trace.calls)
            yield from _facts(trace)
        if passed_over := store.spans - calls + store.repeated:
            yield Skipped(passed_over)


def _put_aside(document: Document, store: SpanStore) -> Iterator[Reject | Skipped]:
    block = 0
    for part in parts(document):
        if not isinstance(part, Part):
            yield part
        elif part.what == "block":
            block += 1
        elif part.what == "resource":
            store.add_resource(block, attributes(part.value))
        else:
            try:
                store.add(span_of(part.value), block, part.location)
            except Refused as refused:
                yield Reject(part.location, refused.reason, refused.detail)
    store.flush()


def _facts(trace: Trace) -> Iterator[Fact]:
    if not trace.calls:
        return
    location = trace.calls[0].span.location
    yield Fact("runs", _run(trace), location)
    for call in trace.calls:
        yield Fact("tasks", _task(trace, call), call.span.location)
        yield Fact("invocations", _invocation(trace, call), call.span.location)
    for upstream, task in sorted(trace.edges):
        yield Fact("edges", {"run_id": trace.run_id, "upstream_task_id": upstream, "task_id": task}, location)


def _run(trace: Trace) -> dict[str, Any]:
    """The run lasts from the first start of any span to the end of its root, or of a function that outlasted it.

    Its root is the one span that no recorded span called. Where there are several, spans between them were lost: others may be
    missing too, and when it ended is unknown.
    """
    extent, first, root = trace.extent, trace.calls[0], trace.extent.root
    is_whole = root is not None and extent.orphans == (0 if extent.is_rooted else 1)
    ends = [root.ended if root and is_whole else None, *(call.span.ended for call in trace.calls)]
    tasks = len({call.task_id for call in trace.calls})
    return {
        "run_id": trace.run_id,
        "engine": "opentelemetry",
        "workflow": root and (root.name or text(root.resource.get("service.name"))),
        "structure_hash": _structure(trace),
        "submitted_at": _instant(extent.started),
        "finished_at": _instant(max(end or 0 for end in ends) if all(ends) else None),
        "environment": _environment(first),
        "expected_tasks": tasks + trace.unseen_calls if trace.unseen_calls else None,
        "extra": {
            "orphaned_spans": extent.orphans or None,
            "calls_without_span": trace.unseen_calls or None,
            "linked_traces": sorted(trace.linked_traces) or None,
        },
    }


def _task(trace: Trace, call: Call) -> dict[str, Any]:
    span, said = call.span, call.said
    request = said.get("http.request.body.size", said.get("messaging.message.body.size"))
    return {
        "run_id": trace.run_id,
        "task_id": call.task_id,
        "attempt": call.attempt,
        "function": call.function,
        "kind": "function",
        "worker_id": span.span_id.hex(),
        "memory_mb": _memory_mb(said.get("faas.max_memory")),
        "started_at": _instant(span.started),
        "execution_ms": (span.ended - span.started) / 1e6 if span.started and span.ended else None,
        "literal_bytes": _size(request),
        "output_bytes": _size(said.get("http.response.body.size")),
        "status": said.get("status"),
        "error_type": text(said.get("error_type")),
        "error_message": text(said.get("error_message")),
        "extra": {"started_nanoseconds": span.started % 1000 or None if span.started else None},
    }


def _invocation(trace: Trace, call: Call) -> dict[str, Any]:
    span, said = call.span, call.said
    environment = _environment(call)
    return {
        "invocation_id": f"{trace.run_id}-{span.span_id.hex()}",
        "run_id": trace.run_id,
        "worker_id": span.span_id.hex(),
        "function": call.function,
        "container_id": text(said.get("faas.instance")),
        "memory_mb": _memory_mb(said.get("faas.max_memory")),
        "requested_at": _instant(call.asked),
        "ready_at": _instant(span.started),
        "finished_at": _instant(span.ended),
        "reported_state": _state(said.get("faas.coldstart")),
        "initial_task_ids": [call.task_id],
        "status": said.get("status"),
        "error_type": text(said.get("error_type")),
        "extra": {
            name: value for name, value in said.items() if name not in _IN_COLUMNS and value not in (None, environment)
        },
    }


def _structure(trace: Trace) -> str:
    """Hash how often which function was called, and by which."""
    functions = {call.task_id: call.function or "" for call in trace.calls}
    called = Counter((functions[upstream], functions[task]) for upstream, task in trace.edges)
    structure = json.dumps([sorted(Counter(functions.values()).items()), sorted(called.items())])
    return hashlib.sha256(structure.encode()).hexdigest()


def _environment(call: Call) -> str | None:
    return text(call.said.get("cloud.region")) or text(call.said.get("cloud.provider"))


def _instant(nanoseconds: int | None) -> datetime | None:
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000) if nanoseconds else None


def _memory_mb(value: object) -> int | None:
    """Bytes; older conventions had MB, and no function has less than one."""
    size = _size(int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value)
    return (size if size < _MIB else size // _MIB) or None if size else None


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _state(value: object) -> str | None:
    return {"true": "cold", "false": "warm"}.get(str(value).lower())

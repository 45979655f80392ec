"""Tell which spans of a trace are invocations of functions, and which invocation called which.

An invocation is a span that says so (`faas.invocation_id` or `faas.trigger`), or one that serves a request (kind SERVER or CONSUMER) and
names a function, itself or in its resource. A span of that kind that another one encloses without a call in between is a part of it
where both are of one invocation id, or of one function and resource (a web framework's own span in a handler, say). A caller's view of a
call, CLIENT or PRODUCER with `faas.invoked_name`, is no invocation: it tells when the call was asked for.

Edges go to an invocation from the nearest one above it, across spans of whatever service, and along links within the trace. Spans of one
function and one invocation id are attempts of one task: platforms try an asynchronous call again under its id.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ingest.adapters.opentelemetry_spans import CALLS, CLIENT, PRODUCER, SERVED, STATED, text
from ingest.adapters.opentelemetry_store import Extent, SpanStore, Stored
from ingest.records import Refused

MAX_CALLS = 100_000
_MAX_LINKED_TRACES = 100


@dataclass(frozen=True, slots=True)
class Call:
    """One invocation: its span, what it and its resource say, which attempt of which task it is, and when it was asked for."""

    span: Stored
    said: dict[str, Any]
    task_id: str
    attempt: int
    asked: int | None

    @property
    def function(self) -> str | None:
        """The function's name."""
        return _function(self.span)


@dataclass(frozen=True, slots=True)
class Trace:
    """The invocations of one trace by their start, and its edges between tasks. `unseen_calls` were made and left no span."""

    run_id: str
    extent: Extent
    calls: list[Call]
    edges: set[tuple[str, str]]
    unseen_calls: int
    linked_traces: set[str]

    @classmethod
    def of(cls, store: SpanStore, trace_id: bytes) -> Trace:
        """Read a trace. Raises `Refused`: too_large, where it has more than `MAX_CALLS` invocations or links."""
        return _Tracing(store, trace_id).result()


@dataclass(slots=True)
class _Tracing:
    store: SpanStore
    trace_id: bytes
    candidates: dict[bytes, Stored] = field(default_factory=dict)
    enclosing: dict[bytes, bytes] = field(default_factory=dict)
    """Of a candidate that has one above it, the nearest."""
    apart: set[bytes] = field(default_factory=set)
    """Candidates whose way to the one that encloses them leads across a call."""
    parts: set[bytes] = field(default_factory=set)
    """Candidates that are part of the one that encloses them."""
    around: dict[bytes, bytes] = field(default_factory=dict)
    """Of a part, what its way led to when it was last gone: calls inside calls take no longer each than the last."""
    answered: set[bytes] = field(default_factory=set)
    """Spans of callers below which there is what they called."""

    def result(self) -> Trace:
        callers, linking = self._noted()
        asked = {span_id: self._look_above(span) for span_id, span in self.candidates.items()}
        self._tell_parts()
        calls = self._calls(asked)
        tasks = {call.span.span_id: call.task_id for call in calls}
        pairs = [(self._owner(self.enclosing.get(span_id)), span_id) for span_id in tasks]
        linked, linked_traces = self._linked(linking)
        edges = {(tasks[up], tasks[down]) for up, down in pairs + linked if up in tasks and down in tasks}
        return Trace(
            run_id=self.trace_id.hex(),
            extent=self.store.extent(self.trace_id),
            calls=calls,
            edges={(up, down) for up, down in edges if up != down},
            unseen_calls=len(callers - self.answered),
            linked_traces=linked_traces,
        )

    def _noted(self) -> tuple[set[bytes], list[Stored]]:
        """Find the candidates; return the spans of callers that name what they called and did not fail, and those that link."""
        callers, linking = set(), []
        for span in self.store.noted(self.trace_id):
            of_function = any(name.startswith("faas.") for name in span.resource)
            if span.role == STATED or (span.role == SERVED and of_function):
                self.candidates[span.span_id] = span
            elif span.role == CALLS and span.fields.get("status") != "failed":
                callers.add(span.span_id)
            if "links" in span.fields:
                linking.append(span)
            if max(len(self.candidates), len(callers), len(linking)) > MAX_CALLS:
                raise Refused("too_large", f"a trace of more than {MAX_CALLS:,} invocations")
        self.candidates = dict(sorted(self.candidates.items(), key=lambda each: (each[1].started or 0, each[0])))
        return callers, linking

    def _look_above(self, span: Stored) -> Stored | None:
        """Note what encloses a candidate; return its parent, where that is a caller."""
        parent = None
        for above in self.store.above(self.trace_id, span.parent_id):
            parent = parent or above
            if above.span_id in self.candidates:
                self.enclosing[span.span_id] = above.span_id
                break
            if above.kind in (CLIENT, PRODUCER):
                self.apart.add(span.span_id)
            if above.role == CALLS:
                self.answered.add(above.span_id)
        return parent if parent and parent.kind == CLIENT else None

    def _tell_parts(self) -> None:
        """Those without an id first: one with an id is compared with that of the invocation around it, across its parts."""
        for span_id in sorted(self.enclosing, key=lambda each: bool(_id(self.candidates[each]))):
            span, above = self.candidates[span_id], self.enclosing[span_id]
            around = self.candidates[self._owner(above) or above]
            both_say = _id(span) and _id(around)
            if _id(span) == _id(around) if both_say else span_id not in self.apart and _is_alike(span, around):
                self.parts.add(span_id)

    def _calls(self, asked: dict[bytes, Stored | None]) -> list[Call]:
        """Return the invocations, attempts numbered. Of several calls below one span of a caller, it asked for the first alone,
        and for none that began before it: two clocks then disagree.
        """
        attempts: Counter[tuple[str | None, str]] = Counter()
        first: dict[tuple[str | None, str], str] = {}
        callers: set[bytes] = set()
        calls = []
        for span_id, span in self.candidates.items():
            if span_id in self.parts:
                continue
            said = {**span.resource, **span.fields}
            of = (_function(span), _id(span) or f"span {span_id.hex()}")
            attempts[of] += 1
            asked_at = None
            if (caller := asked[span_id]) and caller.span_id not in callers:
                callers.add(caller.span_id)
                asked_at = caller.started if (caller.started or 0) <= (span.started or 0) else None
            calls.append(Call(span, said, first.setdefault(of, span_id.hex()), attempts[of], asked_at))
        return calls

    def _owner(self, span_id: bytes | None) -> bytes | None:
        """Return the invocation that a candidate is, or is part of. Spans that are each other's parents are of none."""
        seen = set()
        while span_id in self.parts and span_id not in seen:
            seen.add(span_id)
            span_id = self.around.get(span_id) or self.enclosing[span_id]
        if span_id is None or span_id in seen:
            return None
        self.around.update(dict.fromkeys(seen, span_id))
        return span_id

    def _linked(self, linking: list[Stored]) -> tuple[list[tuple[bytes | None, bytes | None]], set[str]]:
        """Return the pairs of invocations that links of this trace connect, and the other traces linked to."""
        pairs: list[tuple[bytes | None, bytes | None]] = []
        traces: set[str] = set()
        for span in linking:
            here = self._invocation_of(span.span_id)
            for trace_id, span_id in span.fields["links"]:
                if trace_id == self.trace_id.hex():
                    pairs.append((self._invocation_of(bytes.fromhex(span_id)), here))
                elif here and len(traces) < _MAX_LINKED_TRACES:
                    traces.add(trace_id)
        return pairs, traces

    def _invocation_of(self, span_id: bytes) -> bytes | None:
        """Return the invocation within which a span lies."""
        above = self.store.above(self.trace_id, span_id)
        return self._owner(next((span.span_id for span in above if span.span_id in self.candidates), None))


def _id(span: Stored) -> str | None:
    return text({**span.resource, **span.fields}.get("faas.invocation_id"))


def _is_alike(span: Stored, other: Stored) -> bool:
    return span.resource == other.resource and _function(span) == _function(other)


def _function(span: Stored) -> str | None:
    """Return the function's name: given, or that in its ARN, else that of its service, else that of the span."""
    said = {**span.resource, **span.fields}
    _, _, in_arn = (text(said.get("cloud.resource_id")) or "").partition(":function:")
    names = (said.get("faas.name"), in_arn.partition(":")[0], said.get("service.name"), span.name)
    return next((name for name in map(text, names) if name), None)

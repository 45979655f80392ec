"""Spans of one file, put aside on disk so that those of one trace can be had together.

Spans of a trace lie anywhere in a file, callers usually after those they called. A temporary SQLite file holds each span once, by its
ids; memory is SQLite's cache. It is never more than a scratch file: nothing is synchronised.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ingest.adapters.opentelemetry_spans import OTHER, Span
from warehouse.errors import SourceError

_CACHE_KIB = 64 * 1024
_TOGETHER = 5_000
_MAX_WAY = 1_000
_REMEMBERED = 2 * _MAX_WAY
"""Calls of one trace have much of their way up in common."""
_SCHEMA = f"""
pragma journal_mode = off;
pragma synchronous = off;
pragma locking_mode = exclusive;
pragma cache_size = -{_CACHE_KIB};
pragma temp_store = memory;
create table resources (block integer primary key, fields text);
create table spans (
    trace_id blob, span_id blob, parent_id blob, block integer, location text, kind integer, started integer, ended integer,
    name text, role integer, fields text
);
create unique index by_id on spans (trace_id, span_id);
create index with_role on spans (trace_id) where role > {OTHER} or fields is not null;
"""
_SPAN = """
select span_id, parent_id, location, kind, started, ended, name, role, spans.fields, resources.fields
from spans left join resources on spans.block = resources.block
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """A span as it was put aside, and what its resource says."""

    span_id: bytes
    parent_id: bytes | None
    location: str
    kind: int
    started: int | None
    ended: int | None
    name: str
    role: int
    fields: dict[str, Any]
    resource: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Extent:
    """All spans of a trace together, whatever they are of.

    `root` is the earliest span without a parent; where none was recorded (`is_rooted` is false), the earliest of the `orphans`, the spans
    whose parent was not recorded.
    """

    started: int | None
    orphans: int
    root: Stored | None
    is_rooted: bool


class SpanStore:
    """The scratch file. Spans are added, then read trace by trace."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._pending: list[tuple[object, ...]] = []
        self._by_id = lru_cache(_REMEMBERED)(self._span_of)
        self.spans = 0
        """How many spans are kept: each once."""
        self.repeated = 0
        """How many came again."""

    def add_resource(self, block: int, fields: dict[str, Any]) -> None:
        """Keep what is known of the resource of a block of spans."""
        self._connection.execute("insert or ignore into resources values (?, ?)", (block, json.dumps(fields)))

    def add(self, span: Span, block: int, location: str) -> None:
        """Keep a span, unless one of the same ids is."""
        fields = json.dumps(span.fields) if span.fields else None
        ids = (span.trace_id, span.span_id, span.parent_id)
        self._pending.append((*ids, block, location, span.kind, span.started, span.ended, span.name, span.role, fields))
        if len(self._pending) >= _TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Write what was added. Call it before reading."""
        marks = ", ".join("?" * 11)
        added = self._connection.executemany(f"insert or ignore into spans values ({marks})", self._pending).rowcount
        self.spans += max(0, added)
        self.repeated += len(self._pending) - max(0, added)
        self._pending.clear()

    def traces(self) -> Iterator[bytes]:
        """Yield the traces in which some span may be of a function, in the order of their ids."""
        sql = f"select distinct trace_id from spans where role > {OTHER} or fields is not null order by trace_id"
        yield from (trace_id for (trace_id,) in self._connection.execute(sql))

    def noted(self, trace_id: bytes) -> Iterator[Stored]:
        """Yield the spans of a trace that have a role or links, in the order of the file."""
        sql = f"{_SPAN} where trace_id = ? and (role > {OTHER} or spans.fields is not null)"
        yield from (_stored(row) for row in self._connection.execute(sql, (trace_id,)))

    def above(self, trace_id: bytes, parent_id: bytes | None) -> Iterator[Stored]:
        """Yield the span of that id, its parent, and so on, as far as they were recorded."""
        seen: set[bytes] = set()
        while parent_id and parent_id not in seen and len(seen) < _MAX_WAY:
            seen.add(parent_id)
            span = self._by_id(trace_id, parent_id)
            if span is None:
                return
            yield span
            parent_id = span.parent_id

    def _span_of(self, trace_id: bytes, span_id: bytes) -> Stored | None:
        row = self._connection.execute(f"{_SPAN} where trace_id = ? and span_id = ?", (trace_id, span_id)).fetchone()
        return _stored(row) if row else None

    def extent(self, trace_id: bytes) -> Extent:
        """Return what a trace is as a whole."""
        whole = "select min(started), sum(parent_id is null) from spans where trace_id = ?"
        started, roots = self._connection.execute(whole, (trace_id,)).fetchone()
        orphaned = """
            parent_id is not null and not exists (
                select 1 from spans as parents where parents.trace_id = spans.trace_id and parents.span_id = spans.parent_id
            )
        """
        orphans = f"select count(*) from spans where trace_id = ? and {orphaned}"
        first = f"{_SPAN} where trace_id = ? and {'parent_id is null' if roots else orphaned}"
        root = self._connection.execute(
            f"{first} order by started is null, started, span_id limit 1", (trace_id,)
        ).fetchone()
        return Extent(
            started=started,
            orphans=self._connection.execute(orphans, (trace_id,)).fetchone()[0],
            root=_stored(root) if root else None,
            is_rooted=bool(roots),
        )


@contextmanager
def span_store(staging: Path) -> Iterator[SpanStore]:
    """Open a scratch file below `staging`; it is gone afterwards. Raises `SourceError` where it cannot be written."""
    with tempfile.TemporaryDirectory(prefix="spans-", dir=staging) as folder:
        connection = sqlite3.connect(Path(folder) / "spans.sqlite", isolation_level=None)
        try:
            connection.executescript(_SCHEMA)
            connection.execute("begin")
            yield SpanStore(connection)
        except sqlite3.Error as error:
            raise SourceError(
                "unreadable", f"Spans cannot be sorted on disk: {error}. Hint: make room below {staging}."
            ) from error
        finally:
            connection.close()


def _stored(row: tuple[Any, ...]) -> Stored:
    span_id, parent_id, location, kind, started, ended, name, role, fields, resource = row
    said, of_resource = json.loads(fields or "{}"), json.loads(resource or "{}")
    return Stored(span_id, parent_id, location, kind, started, ended, name, role, said, of_resource)

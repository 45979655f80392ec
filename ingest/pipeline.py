"""Bring sources into the warehouse, each object exactly once.

List, compare with the manifest, and for each new or changed object: bring it near, recognise it, and replace its rows
in one transaction. What cannot be read is recorded and the rest goes on. At the end one generation is published.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ingest.formats import FORMATS, recognise
from ingest.labels import Labels
from ingest.records import Item, Source
from ingest.sources import source_for, without_secrets
from warehouse.batches import Batch, Rows
from warehouse.errors import SourceError
from warehouse.home import Home
from warehouse.target import Tally
from warehouse.writer import FileRecord, KnownFile, Read, Writer

_SMALL_BYTES = 1024 * 1024
_GROUP = 64
"""Items up to that size are read up to that many in one transaction."""

_UNLISTED = ""
"""The etag of a record that stands for a source which could not be listed."""


@dataclass(slots=True)
class SourceOutcome:
    """What came of one source: objects by outcome, rows, and sentences on what failed."""

    uri: str
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    missing: int = 0
    failures: list[str] = field(default_factory=list)
    rows: int = 0
    rejected: int = 0
    skipped: int = 0
    file_ids: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether nothing of the source could be had."""
        return bool(self.failures) and not (self.new or self.changed or self.unchanged)


@dataclass(slots=True)
class Outcome:
    """What came of an ingest."""

    sources: list[SourceOutcome] = field(default_factory=list)
    labelled: int = 0
    unknown_runs: list[str] = field(default_factory=list)
    generation: Path | None = None


class Progress(Protocol):
    """Told what is going on, so that somebody can be shown it."""

    def listing(self, uri: str) -> None:
        """A source is being listed."""

    def source(self, uri: str, objects: int) -> None:
        """A source was listed and holds that many objects."""

    def reading(self, name: str) -> None:
        """An object is being read."""

    def rows(self, count: int) -> None:
        """That many more rows were read."""

    def done(self) -> None:
        """An object is done."""

    def publishing(self) -> None:
        """A generation is being made."""


def ingest(
    home: Home,
    addresses: Sequence[str],
    progress: Progress,
    *,
    wanted: str | None = None,
    endpoint_url: str | None = None,
    labels: Labels | None = None,
) -> Outcome:
    """Ingest every address, apply labels, publish. Raises `WarehouseBusy` where somebody else writes."""
    outcome = Outcome()
    with Writer(home) as writer:
        for address in addresses:
            outcome.sources.append(_ingest_source(writer, home, address, progress, wanted, endpoint_url))
        if labels:
            file_ids = [file_id for source in outcome.sources for file_id in source.file_ids]
            outcome.labelled, outcome.unknown_runs = labels.apply(writer, writer.runs_of(file_ids))
        progress.publishing()
        outcome.generation = writer.publish()
    return outcome


def _ingest_source(
    writer: Writer, home: Home, address: str, progress: Progress, wanted: str | None, endpoint_url: str | None
) -> SourceOutcome:
    outcome = SourceOutcome(without_secrets(address))
    source: Source | None = None
    known = writer.known_files()
    try:
        source = source_for(address, endpoint_url=endpoint_url)
        outcome.uri = source.uri
        progress.listing(source.uri)
        items = list(source.items())
    except SourceError as error:
        outcome.failures.append(str(error))
        if source and error.reason == "no_such_path":
            _note_absent(writer, source, [], known, outcome)
        _note_failed_source(writer, outcome.uri, known.get(outcome.uri), error)
        return outcome
    progress.source(source.uri, len(items))
    outcome.skipped += getattr(source, "skipped", 0)
    reading = _Reading(writer, home, source, known, outcome, progress, wanted)
    for group in _grouped(reading.not_current(items)):
        if len(group) == 1 or not reading.together(group):
            for item in group:
                reading.alone(item)
    _note_absent(writer, source, items, known, outcome)
    return outcome


def _grouped(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yield items in order, small neighbours together."""
    group: list[Item] = []
    for item in items:
        small = item.size_bytes is not None and item.size_bytes <= _SMALL_BYTES
        if group and (not small or len(group) == _GROUP):
            yield group
            group = []
        group.append(item)
        if not small:
            yield group
            group = []
    if group:
        yield group


@dataclass(frozen=True, slots=True)
class _Reading:
    """Reads the items of one source into the warehouse."""

    writer: Writer
    home: Home
    source: Source
    known: dict[str, KnownFile]
    outcome: SourceOutcome
    progress: Progress
    wanted: str | None

    def not_current(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items to be read; count the others."""
        for item in items:
            self.outcome.file_ids.append(_file_id(item))
            before = self.known.get(item.uri)
            if before and _is_current(before, item, self.wanted):
                self.outcome.unchanged += 1
                self.progress.done()
            else:
                yield item

    def together(self, items: list[Item]) -> bool:
        """Read small items in one transaction. Return False, with nothing changed, where one of them is at fault."""
        self.progress.reading(items[0].key)
        try:
            with ExitStack() as stack:
                objects = [self._opened(item, stack) for item in items]
                tallies = self.writer.replace_all(objects)
        except (SourceError, OSError):
            return False
        for item, tally in zip(items, tallies, strict=True):
            self._count(item, tally)
        return True

    def alone(self, item: Item) -> None:
        """Read one item, or record why it cannot be read."""
        self.progress.reading(item.key)
        try:
            with ExitStack() as stack:
                self._count(item, self.writer.replace(*self._opened(item, stack)))
        except SourceError as error:
            self._fail(item, error)
        except OSError as error:
            sentence = f"{item.uri} cannot be read: {error.strerror or error}. Hint: check its permissions."
            self._fail(item, SourceError("unreadable", sentence))

    def _opened(self, item: Item, stack: ExitStack) -> tuple[FileRecord, Read]:
        content = stack.enter_context(self.source.open(item, self.home.staging))
        recognised = recognise(content, item.key, self.wanted, place=item.uri, staging=self.home.staging)
        record = _record(self.source.uri, item, recognised.format, content if isinstance(content, Path) else None)
        return record, lambda: _counted(recognised.read(), self.progress)

    def _count(self, item: Item, tally: Tally) -> None:
        self.outcome.new += item.uri not in self.known
        self.outcome.changed += item.uri in self.known
        self.outcome.rows += tally.rows
        self.outcome.rejected += tally.rejected
        self.outcome.skipped += tally.skipped
        self.progress.done()

    def _fail(self, item: Item, error: SourceError) -> None:
        self.outcome.failures.append(str(error))
        self.writer.fail(_record(self.source.uri, item), error.reason, str(error))
        self.progress.done()


def _is_current(known: KnownFile, item: Item, wanted: str | None) -> bool:
    return (
        known.status in ("loaded", "duplicate")
        and known.etag == item.etag
        and known.format is not None
        and known.parser_version == FORMATS.get(known.format)
        and wanted in (None, known.format)
    )


def _note_failed_source(writer: Writer, uri: str, known: KnownFile | None, error: SourceError) -> None:
    """Record that a source could not be listed. An object of that very address that is gone was marked missing instead."""
    if known and known.etag != _UNLISTED and error.reason == "no_such_path":
        return
    item = Item(uri, uri.rpartition("/")[2] or uri, known.etag or "" if known else _UNLISTED, None)
    writer.fail(_record(uri, item), error.reason, str(error))


def _note_absent(
    writer: Writer, source: Source, items: list[Item], known: dict[str, KnownFile], outcome: SourceOutcome
) -> None:
    """Mark what was here before and is gone; drop the record of an earlier failure to list a source that was listed now."""
    here = {item.uri for item in items}
    absent = [file for uri, file in known.items() if uri not in here and (uri == source.uri or source.covers(uri))]
    gone = [file.file_id for file in absent if file.etag != _UNLISTED and file.status != "missing"]
    if gone:
        writer.mark_missing(gone)
        outcome.missing += len(gone)
    listed_now = [file.file_id for file in absent if file.etag == _UNLISTED]
    if listed_now and not outcome.failures:
        writer.forget(listed_now)


def _record(source: str, item: Item, format_name: str | None = None, path: Path | None = None) -> FileRecord:
    return FileRecord(
        file_id=_file_id(item),
        source=source,
        key=item.key,
        uri=item.uri,
        dump=item.uri.rpartition("/")[0] if format_name == "flowdump" else item.uri,
        etag=item.etag,
        size_bytes=item.size_bytes,
        sha256=_sha256(path) if path else None,
        format=format_name,
        parser_version=FORMATS[format_name] if format_name else None,
    )


def _file_id(item: Item) -> str:
    return hashlib.sha256(item.uri.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _counted(batches: Iterable[Batch], progress: Progress) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        if isinstance(batch, Rows):
            progress.rows(len(batch.rows))

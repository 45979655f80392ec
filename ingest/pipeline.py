"""Bring sources into the warehouse, each object exactly once.

List, compare with the manifest, and for each new or changed object: bring it near, recognise it, and replace its rows
in one transaction. What cannot be read is recorded and the rest goes on. At the end one generation is published.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ingest.formats import FORMATS, recognise
from ingest.labels import Labels
from ingest.records import Item, Source
from ingest.sources import source_for
from warehouse.batches import Batch, JsonLines, ParquetFile, Rows
from warehouse.errors import SourceError
from warehouse.home import Home
from warehouse.tables import FACTS
from warehouse.writer import FileRecord, KnownFile, Writer


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
    outcome = SourceOutcome(address)
    known = writer.known_files()
    try:
        source = source_for(address, endpoint_url=endpoint_url)
        outcome.uri = source.uri
        progress.listing(source.uri)
        items = list(source.items())
    except SourceError as error:
        outcome.failures.append(str(error))
        _note_failed_source(writer, outcome.uri, known, error)
        return outcome
    progress.source(source.uri, len(items))
    outcome.skipped += getattr(source, "skipped", 0)
    for item in items:
        _ingest_item(writer, home, source, item, known.get(item.uri), outcome, progress, wanted)
    _note_absent(writer, source, items, known, outcome)
    return outcome


def _ingest_item(
    writer: Writer,
    home: Home,
    source: Source,
    item: Item,
    known: KnownFile | None,
    outcome: SourceOutcome,
    progress: Progress,
    wanted: str | None,
) -> None:
    record = _record(source.uri, item)
    outcome.file_ids.append(record.file_id)
    if known and _is_current(known, item, wanted):
        outcome.unchanged += 1
        progress.done()
        return
    progress.reading(item.key)
    try:
        with source.open(item, home.staging) as content:
            recognised = recognise(content, item.key, wanted)
            record = _record(source.uri, item, recognised.format, content if isinstance(content, Path) else None)
            tally = writer.replace(record, lambda: _counted(recognised.read(), progress))
    except SourceError as error:
        outcome.failures.append(str(error))
        writer.fail(record, error.reason, str(error))
    except OSError as error:
        sentence = f"{item.uri} cannot be read: {error.strerror or error}. Hint: check its permissions."
        outcome.failures.append(sentence)
        writer.fail(record, "unreadable", sentence)
    else:
        outcome.new += known is None
        outcome.changed += known is not None
        outcome.rows += tally.rows
        outcome.rejected += tally.rejected
        outcome.skipped += tally.skipped
    progress.done()


def _is_current(known: KnownFile, item: Item, wanted: str | None) -> bool:
    return (
        known.status in ("loaded", "duplicate")
        and known.etag == item.etag
        and known.format is not None
        and known.parser_version == FORMATS.get(known.format)
        and wanted in (None, known.format)
    )


def _note_failed_source(writer: Writer, uri: str, known: dict[str, KnownFile], error: SourceError) -> None:
    """Record a source that could not be listed; what it held before is marked missing if the source is gone."""
    beneath = [file for address, file in known.items() if address == uri or address.startswith(f"{uri.rstrip('/')}/")]
    if error.reason == "no_such_path" and beneath:
        writer.mark_missing(file.file_id for file in beneath)
    if uri not in known:
        item = Item(uri, uri.rpartition("/")[2] or uri, "", None)
        writer.fail(_record(uri, item), error.reason, str(error))


def _note_absent(
    writer: Writer, source: Source, items: list[Item], known: dict[str, KnownFile], outcome: SourceOutcome
) -> None:
    """Mark what was here before and is gone; drop the record of an earlier failure to list this source."""
    here = {item.uri for item in items}
    gone = [file for uri, file in known.items() if uri not in here and source.covers(uri) and file.status != "missing"]
    if gone:
        writer.mark_missing(file.file_id for file in gone)
        outcome.missing += len(gone)
    earlier = known.get(source.uri)
    if earlier and source.uri not in here and earlier.status == "failed":
        writer.forget([earlier.file_id])


def _record(source: str, item: Item, format_name: str | None = None, path: Path | None = None) -> FileRecord:
    return FileRecord(
        file_id=hashlib.sha256(item.uri.encode("utf-8", "surrogateescape")).hexdigest()[:16],
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _counted(batches: Iterable[Batch], progress: Progress) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        if isinstance(batch, Rows):
            progress.rows(len(batch.rows))
        elif isinstance(batch, (ParquetFile, JsonLines)) and batch.table in FACTS:
            progress.rows(0)

"""Put batches of one object into the fact tables, within the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable

import duckdb

from warehouse.batches import Batch, JsonLines, ParquetFile, Reject, Rows, Skipped, UnknownFields
from warehouse.jsonl import load_by_line, load_clean
from warehouse.parquet import load_parquet
from warehouse.tables import FACTS
from warehouse.target import Tally, Target


def load(connection: duckdb.DuckDBPyConnection, file_id: str, batches: Iterable[Batch], *, strict: bool) -> Tally:
    """Load every batch and return what came of it.

    A strict pass is fast and raises `NotClean` at a bad line; the other pass rejects bad lines one by one.
    """
    tally = Tally()
    for batch in batches:
        match batch:
            case Rows(table, rows):
                Target(connection, FACTS[table], file_id, tally).insert_rows(rows)
            case ParquetFile(table, path):
                load_parquet(Target(connection, FACTS[table], file_id, tally), path)
            case JsonLines(table, path) if strict:
                load_clean(Target(connection, FACTS[table], file_id, tally), path)
            case JsonLines(table, path):
                load_by_line(Target(connection, FACTS[table], file_id, tally), path)
            case Reject():
                tally.reject(batch)
            case Skipped(count):
                tally.skipped += count
            case UnknownFields(counts):
                tally.unknown.update(counts)
    return tally

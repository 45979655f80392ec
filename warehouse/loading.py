"""Put batches of objects into the fact tables, within the caller's transaction."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import duckdb
import pyarrow as pa

from warehouse.batches import Batch, JsonLines, ParquetFile, Reject, Rows, Skipped, UnknownFields
from warehouse.jsonl import load_by_line, load_clean
from warehouse.parquet import load_parquet
from warehouse.schema import arrow_schema
from warehouse.tables import FACTS
from warehouse.target import Tally, Target

_ROWS_AT_A_TIME = 10_000


def load(
    connection: duckdb.DuckDBPyConnection, objects: Mapping[str, Iterable[Batch]], *, strict: bool
) -> dict[str, Tally]:
    """Load the batches of every object, given by file id, and return what came of each.

    A strict pass is fast and raises `NotClean` at a bad line; the other pass rejects bad lines one by one. Rows of small
    objects are put in together.
    """
    tallies = {file_id: Tally() for file_id in objects}
    pending: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for file_id, batches in objects.items():
        tally = tallies[file_id]
        for batch in batches:
            match batch:
                case Rows(table, rows):
                    tally.rows += len(rows)
                    tally.tables.add(table)
                    pending[table].extend({**row, "file_id": file_id, "extra": _as_json(row)} for row in rows)
                    if len(pending[table]) >= _ROWS_AT_A_TIME:
                        _insert(connection, table, pending.pop(table))
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
    for table, rows in pending.items():
        _insert(connection, table, rows)
    return tallies


def _as_json(row: Mapping[str, Any]) -> str | None:
    return json.dumps(row["extra"]) if row.get("extra") else None


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]]) -> None:
    """Insert rows. A batch registered under a name would be held until the transaction ends; one given as a relation is not."""
    batch = pa.Table.from_pylist(rows, schema=arrow_schema(FACTS[table].stored_columns))
    connection.from_arrow(batch.select(connection.table(table).columns)).insert_into(table)

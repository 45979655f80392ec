"""The place rows of one object go to, and the tally of what became of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from warehouse.batches import Reject
from warehouse.schema import arrow_schema, quoted
from warehouse.tables import EXTRA, FILE_ID, Column, Table

MAX_STORED_REJECTS = 10_000
MAX_UNKNOWN_FIELDS = 200


class NotClean(Exception):
    """The strict pass met something that has to be looked at line by line."""


@dataclass(slots=True)
class Tally:
    """What came of one object: counts, and the rejects to store."""

    rows: int = 0
    rejected: int = 0
    skipped: int = 0
    rejects: list[Reject] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)

    def reject(self, reject: Reject) -> None:
        """Count a reject, and keep it while there are not too many."""
        self.rejected += 1
        if len(self.rejects) < MAX_STORED_REJECTS:
            self.rejects.append(reject)


@dataclass(frozen=True, slots=True)
class Target:
    """One fact table, within the caller's transaction, for the rows of one file."""

    connection: duckdb.DuckDBPyConnection
    table: Table
    file_id: str
    tally: Tally

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query within the transaction."""
        return self.connection.execute(sql, parameters).fetchall()

    def insert(self, values: dict[str, str], source: str) -> None:
        """Insert `select <expressions> from <source>`; `values` maps column names to SQL expressions."""
        names = ", ".join(quoted(name) for name in (*values, FILE_ID.name))
        sql = f"insert into {quoted(self.table.name)} ({names}) select {', '.join(values.values())}, ? from {source}"
        self.tally.rows += self.rows(sql, [self.file_id])[0][0]

    def insert_rows(self, rows: Iterable[dict[str, Any]]) -> None:
        """Insert Python rows; `extra` may be a dict."""
        columns = (*self.table.columns, EXTRA)
        as_text = [{**row, "extra": json.dumps(row["extra"]) if row.get("extra") else None} for row in rows]
        self.insert_arrow(pa.Table.from_pylist(as_text, schema=arrow_schema(columns)), columns)

    def insert_arrow(self, batch: pa.Table, columns: Iterable[Column]) -> None:
        """Insert an Arrow table that has those columns."""
        self.connection.register("arrow_batch", batch)
        try:
            self.insert({column.name: quoted(column.name) for column in columns}, "arrow_batch")
        finally:
            self.connection.unregister("arrow_batch")


def unknown_names(table: Table, names: Iterable[str]) -> list[str]:
    """Return the names that the table has no column for, at most MAX_UNKNOWN_FIELDS of them."""
    known = {column.name for column in table.stored_columns}
    return [name for name in names if name not in known][:MAX_UNKNOWN_FIELDS]


def extra_of(unknown: Sequence[str], *, has_extra: bool) -> str:
    """Return the SQL for `extra`: what the source kept there, and its fields that have no column (NULLs left out)."""
    own = f"cast({quoted(EXTRA.name)} as json)" if has_extra else "cast(null as json)"
    if not unknown:
        return own
    fields = ", ".join(f"{_literal(name)}, {quoted(name)}" for name in unknown)
    return f"nullif(json_merge_patch(coalesce({own}, '{{}}'::json), json_object({fields})), '{{}}'::json)"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

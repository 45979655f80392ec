"""The place rows of one object go to, and the tally of what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from warehouse.batches import Reject
from warehouse.schema import literal, quoted
from warehouse.tables import EXTRA, FILE_ID, Table

MAX_STORED_REJECTS = 10_000
MAX_UNKNOWN_FIELDS = 200


class NotClean(Exception):
    """The strict pass met something that has to be looked at line by line."""


@dataclass(slots=True)
class Tally:
    """What came of one object: counts, the tables that got rows, and the rejects to store."""

    rows: int = 0
    rejected: int = 0
    skipped: int = 0
    rejects: list[Reject] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    tables: set[str] = field(default_factory=set)

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
        self.tally.tables.add(self.table.name)


@contextmanager
def registered(connection: duckdb.DuckDBPyConnection, name: str, batch: pa.Table) -> Iterator[None]:
    """Let SQL see an Arrow table under a name. After an error the name leaves when the transaction is rolled back."""
    connection.register(name, batch)
    try:
        yield
    finally:
        with suppress(duckdb.Error):
            connection.unregister(name)


def unknown_names(table: Table, names: Iterable[str]) -> list[str]:
    """Return the names that the table has no column for, at most MAX_UNKNOWN_FIELDS of them."""
    known = {column.name for column in table.stored_columns}
    return [name for name in names if name not in known][:MAX_UNKNOWN_FIELDS]


def extra_of(unknown: Mapping[str, str], *, has_extra: bool) -> str:
    """Return the SQL for `extra`: what the source kept there, and its fields that have no column (NULLs left out).

    `unknown` maps the fields' names to SQL expressions.
    """
    own = f"cast({quoted(EXTRA.name)} as json)" if has_extra else "cast(null as json)"
    if not unknown:
        return own
    fields = ", ".join(f"{literal(name)}, {value}" for name, value in unknown.items())
    return f"nullif(json_merge_patch(coalesce({own}, '{{}}'::json), json_object({fields})), '{{}}'::json)"

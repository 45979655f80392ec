"""What is made from the table descriptions: DDL and Arrow schemas."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from warehouse.tables import TABLES, Column, Table

_ARROW_TYPES: dict[str, pa.DataType] = {
    "VARCHAR": pa.string(),
    "VARCHAR[]": pa.list_(pa.string()),
    "JSON": pa.string(),
    "DOUBLE": pa.float64(),
    "BIGINT": pa.int64(),
    "INTEGER": pa.int32(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us"),
    "DATE": pa.date32(),
    "MAP(VARCHAR, DOUBLE)": pa.map_(pa.string(), pa.float64()),
    "MAP(VARCHAR, BIGINT)": pa.map_(pa.string(), pa.int64()),
}


def quoted(identifier: str) -> str:
    """Return a name as a SQL identifier. Only names from our own descriptions and files come here."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as a SQL literal, for the statements that take no parameters (COMMENT, ATTACH)."""
    return "'" + text.replace("'", "''") + "'"


def arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    """Return the Arrow schema of those columns."""
    return pa.schema([(column.name, _ARROW_TYPES[column.type]) for column in columns])


def ddl() -> Iterator[str]:
    """Yield the statements that bring any older warehouse to today's tables: new tables, new columns, comments."""
    yield "create schema if not exists set_aside"
    for table in TABLES:
        yield from _create(table, quoted(table.name))
        if "run_id" in table.types:
            yield from _create(table, f"set_aside.{quoted(table.name)}")
        yield f"comment on table {quoted(table.name)} is {literal(table.grain)}"
        for column in table.stored_columns:
            yield f"comment on column {quoted(table.name)}.{quoted(column.name)} is {literal(column.meaning)}"


def described() -> set[tuple[str, str, str, str | None]]:
    """Return schema, table, column ('' for the table itself) and comment of all that `ddl` makes, as `FOUND` selects it."""
    tables = {("main", table.name, "", table.grain) for table in TABLES}
    columns = {("main", table.name, column.name, column.meaning) for table in TABLES for column in table.stored_columns}
    aside: set[tuple[str, str, str, str | None]] = {
        ("set_aside", table.name, column.name, None)
        for table in TABLES
        if "run_id" in table.types
        for column in table.stored_columns
    }
    return tables | columns | aside


FOUND = """
select schema_name, table_name, '', comment from duckdb_tables() where database_name = current_database()
union all
select schema_name, table_name, column_name, comment from duckdb_columns() where database_name = current_database()
"""


def _create(table: Table, name: str) -> Iterator[str]:
    columns = [f"{quoted(column.name)} {column.type}" for column in table.stored_columns]
    yield f"create table if not exists {name} ({', '.join(columns)})"
    for column in columns:
        yield f"alter table {name} add column if not exists {column}"

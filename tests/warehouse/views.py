"""A warehouse of hand-made rows: tables from their description, rows as dicts, views on top."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import Any

import duckdb

from warehouse.schema import ddl
from warehouse.tables import TABLES
from warehouse.views import View, core_views, create_views, tables_read

Row = dict[str, Any]

T0 = datetime(2026, 1, 1)


def at(ms: float) -> datetime:
    """The instant so many milliseconds after the one all tests count from."""
    return T0 + timedelta(milliseconds=ms)


def derived(view: str, **rows: list[Row]) -> list[Row]:
    """Put rows into tables (by table name), create a view and those it reads, and return its rows, in no order."""
    with _tables(rows) as connection:
        create_views(connection, _needed(view))
        return select(connection, f"from {view}")


def warehouse(**rows: list[Row]) -> duckdb.DuckDBPyConnection:
    """A warehouse in memory that holds those rows (by table name) and all views."""
    connection = _tables(rows)
    create_views(connection)
    return connection


@cache
def _needed(name: str) -> tuple[View, ...]:
    needed = {name}
    with duckdb.connect() as connection:
        for view in reversed(core_views()):
            if view.name in needed:
                needed |= tables_read(connection, view)
    return tuple(view for view in core_views() if view.name in needed)


def _tables(rows: dict[str, list[Row]]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    types = {table.name: table.types for table in TABLES}
    for statement in ddl():
        if statement.startswith("create table") and "set_aside" not in statement:
            connection.execute(statement)
    for table, table_rows in rows.items():
        for row in table_rows:
            unknown = row.keys() - types[table].keys()
            assert not unknown, f"{table} has no {unknown}"
            marks = ", ".join("?" for _ in row)
            connection.execute(f"insert into {table} ({', '.join(row)}) values ({marks})", list(row.values()))
    return connection


def select(connection: duckdb.DuckDBPyConnection, query: str) -> list[Row]:
    """The rows of a query as dicts."""
    result = connection.execute(query)
    names = [column[0] for column in result.description]
    return [dict(zip(names, values, strict=True)) for values in result.fetchall()]


def one(rows: list[Row]) -> Row:
    """The only row."""
    (row,) = rows
    return row

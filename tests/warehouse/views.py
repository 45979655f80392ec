"""A warehouse of hand-made rows: tables from their description, rows as dicts, views on top."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import duckdb

from warehouse.schema import ddl
from warehouse.tables import FACTS
from warehouse.views import create_views

Row = dict[str, Any]

T0 = datetime(2026, 1, 1)


def at(ms: float) -> datetime:
    """The instant so many milliseconds after the one all tests count from."""
    return T0 + timedelta(milliseconds=ms)


def derived(view: str, **rows: list[Row]) -> list[Row]:
    """Put rows into tables (by table name), create the views and return the rows of one, in no order."""
    with warehouse(**rows) as connection:
        return select(connection, f"from {view}")


def warehouse(**rows: list[Row]) -> duckdb.DuckDBPyConnection:
    """A warehouse in memory that holds those rows (by table name) and all views."""
    connection = duckdb.connect()
    for statement in ddl():
        if statement.startswith("create table") and "set_aside" not in statement:
            connection.execute(statement)
    for table, table_rows in rows.items():
        for row in table_rows:
            unknown = row.keys() - FACTS[table].types.keys()
            assert not unknown, f"{table} has no {unknown}"
            marks = ", ".join("?" for _ in row)
            connection.execute(f"insert into {table} ({', '.join(row)}) values ({marks})", list(row.values()))
    create_views(connection)
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

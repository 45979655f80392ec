"""Connections, and the rules each is opened under.

A reader sees one published generation: read-only, no files, no network, no settings to change, bounded memory.
Every query gets a cursor of its own, which is drained and closed.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa

from warehouse.errors import FlowscopeError, NoWarehouse, QueryRefused
from warehouse.home import Home

_BATCH_ROWS = 10_000
_EXPLAIN = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*explain(?:\s+analyze)?(?:\s*\([^()]*\))?(?=[\s(])", re.IGNORECASE | re.DOTALL
)


class Reader:
    """One published generation. Safe to share between threads: each query opens a cursor."""

    def __init__(self, path: Path, home: Home, *, memory_limit: str = "4GB", threads: int = 2) -> None:
        self.path = path
        self.generation = path.stem
        with suppress(OSError):  # a home that cannot be written can still be read
            home.staging.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = duckdb.connect(
                str(path),
                read_only=True,
                config={
                    "enable_external_access": "false",
                    "allow_community_extensions": "false",
                    "autoinstall_known_extensions": "false",
                    "autoload_known_extensions": "false",
                    "memory_limit": memory_limit,
                    "threads": str(threads),
                    "temp_directory": str(home.spill(_identity(path))),
                    "max_temp_directory_size": "20GB",
                    "lock_configuration": "true",
                },
            )
        except duckdb.Error as error:
            raise FlowscopeError(
                f"{path} cannot be opened: {_first_line(error)}. Hint: flowscope ingest publishes it anew."
            ) from error

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the generation."""
        self._connection.close()

    def frame(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> pd.DataFrame:
        """Return the result of our own SQL as a data frame."""
        with self._connection.cursor() as cursor:
            return cursor.execute(sql, parameters).df()

    def rows(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Return the result of our own SQL as tuples."""
        with self._connection.cursor() as cursor:
            return cursor.execute(sql, parameters).fetchall()

    def value(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> Any:
        """Return the first value of the first row, None where there is none."""
        rows = self.rows(sql, parameters)
        return rows[0][0] if rows else None

    @contextmanager
    def query(self, sql: str, *, seconds: float | None = None) -> Iterator[pa.RecordBatchReader]:
        """Run somebody's SQL: exactly one SELECT or EXPLAIN, stopped after `seconds`.

        Yields the result as record batches. Raises `QueryRefused` with a sentence for a statement that is not allowed,
        fails, or takes too long.
        """
        self._check(sql)
        with self._connection.cursor() as cursor:
            timer = threading.Timer(seconds, cursor.interrupt) if seconds else None
            if timer:
                timer.start()
            try:
                with _stopped_by_ctrl_c(cursor):
                    yield _explained(cursor.sql(sql).to_arrow_reader(_BATCH_ROWS), seconds)
            except duckdb.Error as error:
                raise _refusal(error, seconds) from error
            finally:
                if timer:
                    timer.cancel()

    def runs_where(self, condition: str) -> list[str]:
        """Return the ids of the runs that somebody's condition over `run_summary` chooses, in order.

        Raises `QueryRefused` with a sentence for what is no condition (nothing, more than one expression, not true or
        false), `FlowscopeError` for one that no run meets.
        """
        if not condition.strip():
            raise QueryRefused("The condition is empty. Hint: write one over run_summary, such as workflow = 'x'.")
        with self.query(f"select (\n{condition}\n) as chosen from run_summary limit 0") as batches:
            kinds = batches.schema.types
        if kinds != [pa.bool_()]:
            raise QueryRefused(
                f"The condition is not true or false but {', '.join(map(str, kinds))}. Hint: compare something."
            )
        with self.query(f"select run_id from run_summary where (\n{condition}\n) order by run_id") as batches:
            runs = [run for batch in batches for run in batch.column("run_id").to_pylist()]
        if not runs:
            raise FlowscopeError(
                f'No run matches {condition}. Hint: flowscope sql "select * from run_summary" shows what there is.'
            )
        return runs

    def _check(self, sql: str) -> None:
        statement = self._only_statement(sql)
        if statement.type == duckdb.StatementType.EXPLAIN:
            # EXPLAIN ANALYZE runs what it explains.
            explained = _EXPLAIN.match(statement.query)
            statement = self._only_statement(statement.query[explained.end() :] if explained else "")
        if statement.type != duckdb.StatementType.SELECT:
            kind = str(statement.type).rpartition(".")[2]
            raise QueryRefused(f"{kind} is not allowed: the warehouse is read-only. Hint: give one SELECT or EXPLAIN.")

    def _only_statement(self, sql: str) -> duckdb.Statement:
        try:
            sql.encode()
            with self._connection.cursor() as cursor:
                statements = cursor.extract_statements(sql)
        except UnicodeEncodeError as error:
            raise QueryRefused("The query is not UTF-8. Hint: save it as UTF-8.") from error
        except duckdb.Error as error:
            raise QueryRefused(str(error).strip()) from error
        if len(statements) != 1:
            raise QueryRefused(f"{len(statements)} statements. Hint: give exactly one SELECT or EXPLAIN.")
        return statements[0]


def _explained(batches: pa.RecordBatchReader, seconds: float | None) -> pa.RecordBatchReader:
    """Return the same batches; an error while the query still runs becomes `QueryRefused`."""

    def drained() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except (OSError, pa.ArrowException) as error:
            raise _refusal(error, seconds) from error

    return pa.RecordBatchReader.from_batches(batches.schema, drained())


@contextmanager
def _stopped_by_ctrl_c(cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let Ctrl-C stop the query. While its result is fetched no Python runs, so no handler of Python's would."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    hearing, telling = os.pipe()
    os.set_blocking(telling, False)
    before = signal.set_wakeup_fd(telling, warn_on_full_buffer=False)

    def listen() -> None:
        with os.fdopen(hearing, "rb", buffering=0) as signals:
            while heard := signals.read(64):
                if signal.SIGINT in heard:
                    with suppress(duckdb.Error):  # the query ended by itself in this moment
                        cursor.interrupt()

    threading.Thread(target=listen, daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(telling)


def _refusal(error: Exception, seconds: float | None) -> QueryRefused:
    is_interrupted = "INTERRUPT" in str(error).upper()
    if is_interrupted and not seconds:
        raise KeyboardInterrupt from error
    if is_interrupted:
        return QueryRefused(f"Stopped after {seconds:g} s. Hint: aggregate, filter or add a LIMIT.")
    return QueryRefused(str(error).strip())


def open_current(home: Home, *, memory_limit: str = "4GB") -> Reader:
    """Open the newest published generation. Raises `NoWarehouse` where there is none."""
    try:
        path = home.current.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise NoWarehouse(f"No warehouse in {home.root}. Hint: flowscope ingest PATH, or flowscope demo.") from error
    return Reader(path, home, memory_limit=memory_limit)


def open_writer(path: Path, home: Home) -> duckdb.DuckDBPyConnection:
    """Open a database file for writing, made where it is missing."""
    return duckdb.connect(
        str(path),
        config={
            "storage_compatibility_version": "v1.5.0",
            "memory_limit": "4GB",
            "temp_directory": str(home.spill()),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
        },
    )


def _identity(path: Path) -> str:
    """Return a name of the file itself. DuckDB keeps a file open under its path: one that took its place must look different."""
    try:
        stat = path.stat()
    except OSError:
        return ""
    return f"{path.stem}-{stat.st_ino}-{stat.st_mtime_ns}"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]

"""What pages read from: the current generation, opened once for everybody, its results kept while it is current.

Each rerun looks where `current` points. Generations before it stay open until the last page that reads them is done:
nobody closes a reader, it closes when nobody holds it any more.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import streamlit as st

from warehouse.connection import Reader
from warehouse.errors import FlowscopeError, NoWarehouse
from warehouse.home import Home
from warehouse.output import write

KEPT_GENERATIONS = 2
SHOWN_ROWS = 10_000
SHOWN_BYTES = 20_000_000
EXPORTED_ROWS = 1_000_000
QUERY_SECONDS = 30.0
_EXPORT_SECONDS = 120.0
_NEEDED = frozenset(
    {
        "generation_info",
        "run_summary",
        "prediction_errors",
        "prediction_accuracy_over_time",
        "files",
        "history_budgets",
        "simulations",
    }
)

Format = Literal["csv", "parquet"]


class BrokenGeneration(FlowscopeError):
    """The published generation opens, and does not hold what the pages read."""


@dataclass(frozen=True, slots=True)
class Preview:
    """The beginning of a result: at most `SHOWN_ROWS` rows, whether there was more, and how long it took."""

    table: pa.Table
    truncated: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Store:
    """One generation, and the results kept of it. `key` names it among all there ever were."""

    reader: Reader
    key: str

    def frame(self, sql: str, **parameters: Any) -> pd.DataFrame:
        """Return the result of our own SQL, computed once per generation."""
        return _frame(self.key, sql, tuple(sorted(parameters.items())), self)

    def record(self, sql: str, **parameters: Any) -> dict[str, Any]:
        """Return the first row by column name. Raises `IndexError` where there is none."""
        return {str(name): value for name, value in self.frame(sql, **parameters).iloc[0].to_dict().items()}

    def value(self, sql: str, **parameters: Any) -> Any:
        """Return the first value of the first row, None where there is none."""
        frame = self.frame(sql, **parameters)
        return None if frame.empty else frame.iat[0, 0]

    def preview(self, sql: str, *, seconds: float = QUERY_SECONDS) -> Preview:
        """Run somebody's SQL and return the beginning of its result. Raises `QueryRefused` with a sentence."""
        begun = monotonic()
        with self.reader.query(sql, seconds=seconds) as batches:
            kept, truncated = _beginning(batches, SHOWN_ROWS, SHOWN_BYTES)
            table = pa.Table.from_batches(kept, batches.schema)
        return Preview(table, truncated, monotonic() - begun)

    def export(self, sql: str, how: Format) -> bytes:
        """Return at most `EXPORTED_ROWS` rows of somebody's SQL as a file."""
        file = io.BytesIO()
        with self.reader.query(sql, seconds=_EXPORT_SECONDS) as batches:
            write(pa.RecordBatchReader.from_batches(batches.schema, _at_most(batches, EXPORTED_ROWS)), file, how)
        return file.getvalue()


def home() -> Home:
    """Return the home the app was started with."""
    return Home(Path(os.environ.get("FLOWSCOPE_HOME") or "data").resolve())


def current() -> Store:
    """Return the newest generation. Raises `NoWarehouse`, or another sentence where it cannot be read."""
    here = home()
    try:
        path = here.current.resolve(strict=True)
        stat = path.stat()
    except (OSError, RuntimeError) as error:
        raise NoWarehouse(f"No warehouse in {here.root}. Hint: flowscope ingest PATH, or flowscope demo.") from error
    key = f"{path}:{stat.st_ino}:{stat.st_mtime_ns}"
    try:
        return Store(_reader(key, path, here), key)
    except FlowscopeError:
        _reader.clear()  # DuckDB opens a path once a process: a home made anew has the old one's paths
        return Store(_reader(key, path, here), key)


@st.cache_resource(max_entries=KEPT_GENERATIONS, show_spinner=False)
def _reader(
    key: str,  # noqa: ARG001
    _path: Path,
    _home: Home,
) -> Reader:
    reader = Reader(_path, _home)
    try:
        there = {name for (name,) in reader.rows("select table_name from information_schema.tables")}
    except Exception as error:
        raise BrokenGeneration(_broken(reader, error)) from error
    if missing := sorted(_NEEDED - there):
        raise BrokenGeneration(_broken(reader, f"it has no {', '.join(missing)}"))
    return reader


@st.cache_data(max_entries=256, show_spinner=False)
def _frame(
    key: str,  # noqa: ARG001
    sql: str,
    parameters: tuple[tuple[str, Any], ...],
    _store: Store,
) -> pd.DataFrame:
    try:
        return _store.reader.frame(sql, dict(parameters))
    except Exception as error:
        raise BrokenGeneration(_broken(_store.reader, error)) from error


def _broken(reader: Reader, why: object) -> str:
    first_line = str(why).strip().splitlines()[0]
    return f"Generation {reader.path} cannot be read: {first_line}. Hint: flowscope ingest publishes it anew."


def _beginning(batches: pa.RecordBatchReader, rows: int, size: int) -> tuple[list[pa.RecordBatch], bool]:
    """Return the first rows, bounded in number and in bytes, and whether there were more."""
    kept: list[pa.RecordBatch] = []
    for batch in batches:
        fitting = batch
        if batch.nbytes > size:
            fitting = batch.slice(0, max(1, batch.num_rows * size // batch.nbytes))
        fitting = fitting.slice(0, rows)
        kept.append(fitting)
        rows, size = rows - fitting.num_rows, size - fitting.nbytes
        if fitting.num_rows < batch.num_rows:
            return kept, True
        if rows <= 0 or size <= 0:
            return kept, any(more.num_rows for more in batches)
    return kept, False


def _at_most(batches: pa.RecordBatchReader, rows: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch.slice(0, rows)
        rows -= batch.num_rows
        if rows <= 0:
            return

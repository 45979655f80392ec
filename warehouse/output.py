"""Write a query's result: as CSV, JSON, Parquet, or a table for the eye; a file takes its place when it is whole."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table as RichTable

from warehouse.errors import FlowscopeError

Format = Literal["csv", "json", "table", "parquet"]
_SHOWN_ROWS = 200


def deliver(
    batches: pa.RecordBatchReader, how: Format | None, output: Path | None, width: int, otherwise: Format = "csv"
) -> None:
    """Write a result to stdout, or to the file `output`: as asked, else by the file's ending, else `otherwise` (files: csv).

    Raises `FlowscopeError` for Parquet on a terminal.
    """
    endings: dict[str, Format] = {".json": "json", ".parquet": "parquet"}
    if output is not None:
        with replacing(output) as file:
            write(batches, file, how or endings.get(output.suffix, "csv"), width)
        return
    if how == "parquet" and sys.stdout.isatty():
        raise FlowscopeError("Parquet is not for a terminal. Hint: -o FILE.parquet.")
    write(batches, sys.stdout.buffer, how or otherwise, width)


def write(batches: pa.RecordBatchReader, file: BinaryIO, how: Format, width: int | None = None) -> None:
    """Write a result to a binary file.

    csv: a header row, NULL as an empty field, nested values as JSON. json: one list of objects. parquet: as it is.
    table: at most 200 rows, and a line saying so where there are more.
    """
    if how == "parquet":
        with pq.ParquetWriter(file, batches.schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        return
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    try:
        {"csv": _write_csv, "json": _write_json}.get(how, _write_table)(batches, text, width)
    finally:
        text.detach()


def _write_csv(batches: pa.RecordBatchReader, text: io.TextIOWrapper, _width: int | None) -> None:
    writer = csv.writer(text, lineterminator="\n")
    quoting = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(batches.schema.names)
    for row in _rows(batches):
        fields = [_as_text(value) for value in row]
        # Python before 3.13 leaves a lone carriage return unquoted, and readers then see two rows.
        (quoting if any("\r" in field for field in fields) else writer).writerow(fields)


def _write_json(batches: pa.RecordBatchReader, text: io.TextIOWrapper, _width: int | None) -> None:
    names = _distinct(batches.schema.names)
    text.write("[")
    for number, row in enumerate(_rows(batches)):
        values = {name: _as_json(value) for name, value in zip(names, row, strict=True)}
        text.write(("," if number else "") + "\n" + json.dumps(values, ensure_ascii=False, allow_nan=False))
    text.write("\n]\n")


def _write_table(batches: pa.RecordBatchReader, text: io.TextIOWrapper, width: int | None) -> None:
    table = RichTable(box=None, pad_edge=False, header_style="bold")
    for kind in batches.schema:
        numeric = pa.types.is_integer(kind.type) or pa.types.is_floating(kind.type) or pa.types.is_decimal(kind.type)
        table.add_column(_escaped(kind.name), justify="right" if numeric else "left", overflow="fold")
    more = False
    for number, row in enumerate(_rows(batches)):
        if number == _SHOWN_ROWS:
            more = True
            break
        table.add_row(*(_escaped(_as_text(value)) for value in row))
    console = Console(file=text, width=width, highlight=False, markup=False, emoji=False)
    console.print(table)
    if more:
        console.print(f"Only the first {_SHOWN_ROWS} rows are shown. Hint: --format csv writes them all.")


def _rows(batches: pa.RecordBatchReader) -> Iterator[tuple[Any, ...]]:
    for batch in batches:
        yield from zip(*(column.to_pylist(maps_as_pydicts="lossy") for column in batch.columns), strict=True)


def _distinct(names: list[str]) -> list[str]:
    """Return the names with a number after each that came before: an object holds a name once."""
    distinct: list[str] = []
    for name in names:
        candidate, number = name, 1
        while candidate in distinct:
            candidate, number = f"{name}_{number}", number + 1
        distinct.append(candidate)
    return distinct


def _as_json(value: Any) -> Any:
    """Return a value as JSON has it: whole decimals as integers, others as floats, NaN and infinities as null."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _as_json(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_as_json(part) for part in value]
    if isinstance(value, bytes):
        return _as_text(value)
    return value if isinstance(value, (str, int, type(None))) else str(value)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, bytes):
        return value.decode("ascii", "backslashreplace")
    if isinstance(value, (dict, list)):
        return json.dumps(_as_json(value), ensure_ascii=False)
    return str(value)


def _escaped(text: str) -> str:
    """Keep control characters of hostile values from the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes its place when the block ends well, so that nobody sees half of it.

    '-' is stdout; a link is followed, and a device or a pipe is written to as it is. Raises `FlowscopeError` for a folder.
    """
    if str(path) == "-":
        yield sys.stdout.buffer
        return
    whole = path.resolve()
    if not path.name or whole.is_dir():
        raise FlowscopeError(f"{path} is a folder. Hint: give a file.")
    if not whole.parent.is_dir():
        raise FlowscopeError(f"No folder {whole.parent}. Hint: make it first, or give another -o.")
    if whole.exists() and not whole.is_file():
        with whole.open("wb") as file:
            yield file
        return
    part = whole.with_name(whole.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(whole)
    finally:
        part.unlink(missing_ok=True)

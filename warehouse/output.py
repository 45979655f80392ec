"""Write a query's result: as CSV, JSON, Parquet, or a table for the eye."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table as RichTable

Format = Literal["csv", "json", "table", "parquet"]
_SHOWN_ROWS = 200


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
    writer.writerow(batches.schema.names)
    for row in _rows(batches):
        writer.writerow([_as_text(value) for value in row])


def _write_json(batches: pa.RecordBatchReader, text: io.TextIOWrapper, _width: int | None) -> None:
    names = batches.schema.names
    text.write("[")
    for number, row in enumerate(_rows(batches)):
        values = {name: _as_json(value) for name, value in zip(names, row, strict=True)}
        text.write(("," if number else "") + "\n" + json.dumps(values, ensure_ascii=False, allow_nan=False))
    text.write("\n]\n")


def _write_table(batches: pa.RecordBatchReader, text: io.TextIOWrapper, width: int | None) -> None:
    table = RichTable(box=None, pad_edge=False, header_style="bold")
    for kind in batches.schema:
        numeric = pa.types.is_integer(kind.type) or pa.types.is_floating(kind.type)
        table.add_column(kind.name, justify="right" if numeric else "left", overflow="fold")
    more = False
    for number, row in enumerate(_rows(batches)):
        if number == _SHOWN_ROWS:
            more = True
            break
        table.add_row(*(_escaped(_as_text(value)) for value in row))
    console = Console(file=text, width=width, highlight=False, markup=False)
    console.print(table)
    if more:
        console.print(f"Only the first {_SHOWN_ROWS} rows are shown. Hint: --format csv writes them all.")


def _rows(batches: pa.RecordBatchReader) -> Iterator[tuple[Any, ...]]:
    for batch in batches:
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _as_json(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _as_json(part) for key, part in value.items()}
    if isinstance(value, list) and value and all(isinstance(part, tuple) and len(part) == 2 for part in value):
        return {str(key): _as_json(part) for key, part in value}
    if isinstance(value, list):
        return [_as_json(part) for part in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, (dict, list)):
        return json.dumps(_as_json(value), ensure_ascii=False)
    return str(value)


def _escaped(text: str) -> str:
    """Keep control characters of hostile values from the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

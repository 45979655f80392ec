"""The cells of a table: as JSON has them, as people read them, as a file."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from app.plain import NONE, label
from warehouse.output import write

NOTHING = "–"
"""Stands where nothing is known."""


def columns(frame: pd.DataFrame) -> list[str]:
    """Return the names of the columns, a number after each that came before: an object holds a name once."""
    names: list[str] = []
    for name in map(str, frame.columns):
        candidate, number = name, 1
        while candidate in names:
            candidate, number = f"{name}_{number}", number + 1
        names.append(candidate)
    return names


def rows(frame: pd.DataFrame, most: int | None = None) -> Iterator[list[Any]]:
    """Yield the first rows, each value as JSON has it."""
    for row in frame.head(len(frame) if most is None else most).itertuples(index=False, name=None):
        yield [as_json(value) for value in row]


def as_json(value: Any) -> Any:
    """Return a value as JSON has it: NaN, infinities and what is missing as null, instants in ISO 8601."""
    if isinstance(value, np.ndarray | list | tuple | set):
        return [as_json(part) for part in value]
    if isinstance(value, dict):
        return {str(key): as_json(part) for key, part in value.items()}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)


def shown(value: Any, limit: int = 90) -> str:
    """Return a value of `rows` as people read it: one line, figures with three significant digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 or value == 0 else f"{value:.3g}"
    if isinstance(value, list | dict):
        value = json.dumps(value, ensure_ascii=False)
    text = label(value, limit)
    return NOTHING if text == NONE else text


def is_figure(frame: pd.DataFrame) -> list[bool]:
    """Return of each column whether it holds figures, which stand to the right."""
    return [bool(pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)) for kind in frame.dtypes]


def as_file(frame: pd.DataFrame, how: Literal["csv", "parquet"]) -> bytes:
    """Return a frame as a CSV or Parquet file."""
    file = io.BytesIO()
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    write(table.to_reader(), file, how)
    return file.getvalue()

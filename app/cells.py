"""The cells of a finding's table: as JSON has them, as people read them, as a CSV file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

from app.plain import NONE, label

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


def as_csv(frame: pd.DataFrame) -> bytes:
    """Return the whole frame as CSV: a header row, what is missing as an empty field, nested values as JSON."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    quoting = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(columns(frame))
    for row in rows(frame):
        fields = [_field(value) for value in row]
        # Python before 3.13 leaves a lone carriage return unquoted, and readers then see two rows.
        (quoting if any("\r" in field for field in fields) else writer).writerow(fields)
    return text.getvalue().encode()


def _field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)

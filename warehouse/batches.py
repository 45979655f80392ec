"""What a reader hands to the writer: rows, files to be loaded whole, and what was refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table, as mappings from column name to Python value.

    A missing column is NULL. `extra` may hold a dict of what has no column. TIMESTAMPs are naive datetimes in UTC.
    """

    table: str
    rows: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ParquetFile:
    """A Parquet file whose rows belong to one table."""

    table: str
    path: Path


@dataclass(frozen=True, slots=True)
class JsonLines:
    """A file of one JSON object a line, plain or gzipped, whose rows belong to one table."""

    table: str
    path: Path


@dataclass(frozen=True, slots=True)
class Reject:
    """One line or value that was refused. `reason` is a key of `tables.REJECT_REASONS`."""

    location: str
    reason: str
    detail: str
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Things that are no metrics and were passed over."""

    count: int


@dataclass(frozen=True, slots=True)
class UnknownFields:
    """Fields without a column, by name, and how often they came. Their values are in `extra`."""

    counts: Mapping[str, int]


Batch = Rows | ParquetFile | JsonLines | Reject | Skipped | UnknownFields

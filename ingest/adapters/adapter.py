"""What an adapter reads from, what it yields, and how that becomes checked rows of the tables.

An adapter is one module with a `NAME`, a `PARSER_VERSION`, `recognise(head)` and `read(document)`; docs/adapters.md shows
how to write one. It says what the lines of its format mean. Here is what all of them need: unpacking, lines with their
numbers, JSON, and the check that every value fits its column, so that a line that does not is rejected and the rest goes on.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ingest.records import EARLIEST, LATEST, Refused, clean
from warehouse.batches import Batch, Reject, Rows, Skipped, UnknownFields
from warehouse.tables import EXTRA, FACTS
from warehouse.unpacked import MAX_LINE_BYTES, numbered, unpacked

MAX_TEXT = 10_000
"""Longer texts are cut: messages of errors may be of any length. A text that names something is refused instead."""
MAX_NAME = 1_000
MAX_TEXTS = 10_000
ROWS_PER_BATCH = 5_000
HEAD_BYTES = 64 * 1024
_EXCERPT = 200
_MAX_UNKNOWN_NAMES = 1_000


@dataclass(frozen=True, slots=True)
class Fact:
    """One row of one table, by column name; columns left out, and '' in a text, are NULL. `extra` may hold a dict.

    `location` is where in the document it comes from ('line 7', 'task 3'): what a reject names.
    """

    table: str
    values: Mapping[str, Any]
    location: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text without its end, and its number from 1."""

    number: int
    text: str

    @property
    def location(self) -> str:
        """The line as rejects name it."""
        return f"line {self.number}"

    def json_object(self) -> dict[str, Any]:
        """Return the JSON object on the line. Raises `Refused`: not_json, too_deep."""
        return json_object(self.text)

    def rejected(self, refused: Refused) -> Reject:
        """Return the reject of this line."""
        return Reject(self.location, refused.reason, clean(refused.detail[:MAX_NAME]), excerpt(self.text))


@dataclass(frozen=True, slots=True)
class Document:
    """One object to read: a file, plain or gzipped, and where it stands.

    `place` is its whole address without secrets, with '/' between folders: some formats keep in it what they do not write
    into the file. `staging` is a folder for temporary files that outgrow memory.
    """

    path: Path
    place: str
    staging: Path

    @property
    def name(self) -> str:
        """The last part of its address."""
        return self.place.rpartition("/")[2]

    @property
    def folders(self) -> list[str]:
        """The folders it stands in, the outermost first."""
        return [part for part in self.place.split("/")[:-1] if part]

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the unpacked bytes. Raises `SourceError` 'truncated' where a gzip stream breaks off."""
        with unpacked(self.path, self.name) as file:
            yield file

    def head(self) -> str:
        """Return the beginning of the text, at most `HEAD_BYTES` of it."""
        with self.open() as file:
            return _text(file.read(HEAD_BYTES))

    def lines(self) -> Iterator[Line | Reject]:
        """Yield the lines that are not blank; of one longer than `MAX_LINE_BYTES` a reject.

        Bytes that are no UTF-8 become replacement characters.
        """
        with self.open() as file:
            for number, line in numbered(file):
                if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                    detail = f"longer than {MAX_LINE_BYTES:,} bytes"
                    yield Reject(f"line {number}", "too_large", detail, excerpt(_text(line[:_EXCERPT])))
                    continue
                text = _text(line).strip("\r\n")
                if text.strip():
                    yield Line(number, text)


class Adapter(Protocol):
    """A module that reads one format."""

    NAME: str
    PARSER_VERSION: int

    def recognise(self, head: str) -> bool:
        """Whether a document that begins so (at most `HEAD_BYTES`, it may stop anywhere) is of this format."""

    def read(self, document: Document) -> Iterator[Fact | Reject | Skipped]:
        """Yield the rows of a document. Raises `SourceError` where it cannot be read at all."""


def json_object(text: str) -> dict[str, Any]:
    """Return a JSON object. Raises `Refused`: not_json (other values, NaN and infinities included), too_deep."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        raise Refused("too_deep", "nests deeper than what is read") from error
    except ValueError as error:
        raise Refused("not_json", f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise Refused("not_json", f"a JSON {type(value).__name__}, not an object")
    return value


def batches(read: Callable[[Document], Iterator[Fact | Reject | Skipped]], document: Document) -> Iterator[Batch]:
    """Yield what an adapter reads as batches of rows that fit their tables; what does not fit is rejected.

    Memory is bounded by `ROWS_PER_BATCH` rows of each table and by what the adapter itself keeps.
    """
    pending = _Pending()
    for item in read(document):
        if not isinstance(item, Fact):
            yield item
            continue
        try:
            row = fitted(item.table, item.values)
        except Refused as refused:
            yield Reject(item.location, refused.reason, refused.detail, excerpt(_shown(item.values)))
            continue
        pending.unknown.update(list(row.get("extra") or ())[:_MAX_UNKNOWN_NAMES])
        pending.rows[item.table].append(row)
        if len(pending.rows[item.table]) >= ROWS_PER_BATCH:
            yield Rows(item.table, pending.rows.pop(item.table))
    for table, rows in pending.rows.items():
        yield Rows(table, rows)
    if pending.unknown:
        yield UnknownFields(dict(pending.unknown.most_common(_MAX_UNKNOWN_NAMES)))


def fitted(table: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values as their columns hold them, unknown ones left out.

    Raises `Refused`: wrong_type, out_of_range, too_large, missing_key; KeyError where the adapter names no column.
    """
    checks = _CHECKS[table]
    row = {}
    for name, value in values.items():
        if value is not None and (fitting := checks[name](name, value)) is not None:
            row[name] = fitting
    for name in FACTS[table].required:
        if name not in row:
            raise Refused("missing_key", f"{name} is missing")
    return row


def excerpt(text: str) -> str:
    """Return the beginning of a text, as rejects keep it."""
    return clean(text[:_EXCERPT]).strip()


@dataclass(slots=True)
class _Pending:
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    unknown: Counter[str] = field(default_factory=Counter)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").removeprefix("\N{BYTE ORDER MARK}")


def _no_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value")


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {str(value)[:50]}" for name, value in list(values.items())[:5])


def _number(name: str, value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Refused("wrong_type", f"{name} is a {type(value).__name__}, not a number")
    try:
        number = float(value)
    except OverflowError as error:
        raise Refused("out_of_range", f"{name} is a number out of range") from error
    if not math.isfinite(number):
        raise Refused("wrong_type", f"{name} is {number}")
    if number < 0:
        raise Refused("out_of_range", f"{name} is {number:g}, below 0")
    return number


def _integer(limit: int, *, signed: bool) -> Callable[[str, object], int]:
    def check(name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Refused("wrong_type", f"{name} is a {type(value).__name__}, not an integer")
        if not (-limit if signed else 0) <= value < limit:
            raise Refused("out_of_range", f"{name} is an integer out of range")
        return value

    return check


def _name(name: str, value: object) -> str | None:
    text = _words(name, value)
    if text and len(text) > MAX_NAME:
        raise Refused("too_large", f"{name} is longer than {MAX_NAME:,} characters")
    return text


def _words(name: str, value: object) -> str | None:
    if not isinstance(value, str):
        raise Refused("wrong_type", f"{name} is a {type(value).__name__}, not a text")
    return clean(value[:MAX_TEXT]) or None


def _texts(name: str, value: object) -> list[str]:
    if not isinstance(value, list):
        raise Refused("wrong_type", f"{name} is a {type(value).__name__}, not a list of texts")
    if len(value) > MAX_TEXTS:
        raise Refused("too_large", f"{name} has more than {MAX_TEXTS:,} texts")
    return [text for text in (_name(name, entry) for entry in value) if text]


def _instant(name: str, value: object) -> datetime:
    if not isinstance(value, datetime):
        raise Refused("wrong_type", f"{name} is a {type(value).__name__}, not an instant")
    try:
        moment = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    except OverflowError as error:
        raise Refused("out_of_range", f"{name} is {value}, outside 2000 to 2199") from error
    if not EARLIEST <= moment < LATEST:
        raise Refused("out_of_range", f"{name} is {value}, outside 2000 to 2199")
    return moment


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise Refused("wrong_type", f"{name} is a {type(value).__name__}, not true or false")
    return value


def _phases(name: str, value: object) -> dict[str, float] | None:
    if not isinstance(value, dict):
        raise Refused("wrong_type", f"{name} is a {type(value).__name__}, not a mapping")
    return {
        clean(str(key)[:MAX_NAME]): number
        for key, entry in value.items()
        if entry is not None and (number := _number(f"{name}.{key}", entry)) is not None
    } or None


def _kept(name: str, value: object) -> dict[str, Any] | None:
    """What `extra` keeps: any JSON; lone surrogates, which JSON may escape, are no characters."""
    if not isinstance(value, dict):
        raise Refused("wrong_type", f"{name} is a {type(value).__name__}, not a mapping")
    known = {clean(str(key)[:MAX_NAME]): entry for key, entry in value.items() if entry not in (None, "")}
    try:
        text = json.dumps(known, ensure_ascii=False, allow_nan=False)
    except RecursionError as error:
        raise Refused("too_deep", f"{name} nests deeper than what is read") from error
    except ValueError as error:
        raise Refused("wrong_type", f"{name} holds what JSON cannot: {error}") from error
    return json.loads(clean(text)) if known else None


_BY_TYPE: dict[str, Callable[[str, Any], Any]] = {
    "VARCHAR": _name,
    "VARCHAR[]": _texts,
    "JSON": _kept,
    "DOUBLE": _number,
    "BIGINT": _integer(2**63, signed=False),
    "INTEGER": _integer(2**31, signed=False),
    "BOOLEAN": _boolean,
    "TIMESTAMP": _instant,
    "MAP(VARCHAR, DOUBLE)": _phases,
}
_BY_NAME: dict[str, Callable[[str, Any], Any]] = {
    "error_message": _words,
    "exit_code": _integer(2**31, signed=True),
}
_CHECKS: dict[str, dict[str, Callable[[str, Any], Any]]] = {
    table.name: {
        column.name: _BY_NAME.get(column.name) or _BY_TYPE[column.type]
        for column in (*table.columns, EXTRA)
        if column.type in _BY_TYPE
    }
    for table in FACTS.values()
}
"""How each column's value is checked. Durations, sizes and counts are never negative."""

"""Read one large JSON document piece by piece, however hostile it is.

`ijson` reads it, on three conditions that are checked here first, because its fast backend crashes or fills the memory
without them: no number longer than Python converts, no deep nesting, no byte order mark. `walk` checks them while it
passes over the whole document; only after it, `items` may be asked for the objects of one list.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import ijson

from ingest.adapters.adapter import Document
from ingest.records import clean
from warehouse.errors import SourceError

MAX_DEPTH = 100
READ_BYTES = 1024 * 1024
"""The parser begins a long text anew with every read, so reads are long."""
_MAX_DIGITS = 4_000
_TOO_MANY_DIGITS = re.compile(rb"[0-9]{%d}" % _MAX_DIGITS)


def walk(document: Document) -> Iterator[tuple[str, str, Any]]:
    """Yield every event of the document with its path, as `steps` does. Raises `SourceError` where it is not sound JSON."""
    with _opened(document) as file:
        yield from steps(_WithoutLongNumbers(file, document.name), document.name)


def steps(file: Any, name: str) -> Iterator[tuple[str, str, Any]]:
    """Yield (path, event, value) of JSON: paths as 'workflow.tasks.item.name', events as `ijson` names them.

    A list's and an object's own path is that of their start and end; keys come without an event of their own.
    """
    paths: list[str] = []
    here = ""
    for event, value in ijson.basic_parse(file, use_float=False, buf_size=READ_BYTES):
        if event == "map_key":
            here = f"{paths[-1]}.{value}" if paths[-1] else value
        elif event in ("start_map", "start_array"):
            yield here, event, value
            paths.append(here)
            if len(paths) > MAX_DEPTH:
                raise SourceError("too_deep", f"{name} nests deeper than {MAX_DEPTH} levels, which is not read.")
            here = f"{here}.item" if event == "start_array" else here
        elif event in ("end_map", "end_array"):
            here = paths.pop()
            yield here, event, value
        else:
            yield here, event, value


def items(document: Document, path: str) -> Iterator[Any]:
    """Yield the values of the list at a path, numbers as int or Decimal. The document must have been walked before."""
    with _opened(document) as file:
        yield from ijson.items(file, f"{path}.item", buf_size=READ_BYTES)


def has_long_numbers(data: bytes) -> bool:
    """Whether the bytes hold a run of digits that `ijson` must not be given."""
    return _TOO_MANY_DIGITS.search(data) is not None


def skip_byte_order_mark(file: BinaryIO) -> None:
    """Step over the mark at the beginning of a file, which JSON does not have."""
    if file.read(len(BOM_UTF8)) != BOM_UTF8:
        file.seek(0)


def explained(error: ijson.JSONError) -> tuple[str, str]:
    """Return why the parser stopped, 'truncated' or 'not_json', and the beginning of what it says."""
    sentence = clean(" ".join(str(error).split()[:12]))
    return "truncated" if "premature EOF" in sentence else "not_json", sentence


@contextmanager
def _opened(document: Document) -> Iterator[BinaryIO]:
    try:
        with document.open() as file:
            skip_byte_order_mark(file)
            yield file
    except ijson.JSONError as error:
        reason, sentence = explained(error)
        if reason == "truncated":
            raise SourceError(
                "truncated", f"{document.name} ends before its JSON does. Hint: copy it again."
            ) from error
        raise SourceError("not_json", f"{document.name} is not JSON: {sentence}.") from error
    except UnicodeDecodeError as error:  # of the parser's own, which leaves some damage to whoever makes a text of it
        raise SourceError("not_json", f"{document.name} is not JSON: it holds bytes that are no UTF-8.") from error
    except ArithmeticError as error:
        raise SourceError("out_of_range", f"{document.name} holds a number that is too large to read.") from error


class _WithoutLongNumbers:
    """A file that is refused once a long number comes by."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._tail = b""

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        if has_long_numbers(self._tail + data):
            raise SourceError("out_of_range", f"{self._name} holds a number of {_MAX_DIGITS:,} digits or more.")
        self._tail = (self._tail + data)[-_MAX_DIGITS:]
        return data

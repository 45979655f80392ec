"""Read files that may be gzipped, and the lines in them, with memory bounded whatever a line is like."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from warehouse.errors import SourceError

MAX_LINE_BYTES = 16 * 1024 * 1024


def is_gzip(path: Path) -> bool:
    """Whether the file begins as gzip does."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


@contextmanager
def unpacked(path: Path, name: str) -> Iterator[BinaryIO]:
    """Open the bytes, unpacked. Raises `SourceError` 'truncated', which calls the file `name`, where a gzip stream breaks off."""
    try:
        with cast(BinaryIO, gzip.open(path, "rb")) if is_gzip(path) else path.open("rb") as file:
            yield file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SourceError("truncated", f"{name} ends before its gzip stream does. Hint: copy it again.") from error


def numbered(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the lines with their numbers from 1; of one longer than `MAX_LINE_BYTES` only so many bytes and one more."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        yield number, line
        while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES + 1)

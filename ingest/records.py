"""What travels between sources, formats and the pipeline."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

EARLIEST, LATEST = datetime(2000, 1, 1), datetime(2200, 1, 1)
"""Instants before the one, or from the other on, are no times of runs. Naive UTC, as every instant in the tables."""
SURROGATES = re.compile("[\ud800-\udfff]")
"""Halves of characters, which a text of Python may hold and UTF-8 may not."""


@dataclass(frozen=True, slots=True)
class Item:
    """One object of a source: the unit that is replaced whole.

    `uri` is its whole address without secrets and identifies it; `etag` changes whenever its bytes may have changed.
    """

    uri: str
    key: str
    etag: str
    size_bytes: int | None


class Keyspace(Protocol):
    """Keys and values of a Redis, whether it runs or lies in an RDB file."""

    def keys(self) -> Iterator[str]:
        """Every key that holds a string, each once."""

    def values(self, keys: list[str]) -> Iterator[tuple[str, bytes]]:
        """The values of those keys, in any order; a key that is gone is left out."""


def clean(text: str) -> str:
    """Return the text with each lone surrogate replaced: Arrow holds UTF-8 only."""
    return SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)


class Refused(Exception):
    """A value or a line that cannot become rows. `reason` is one of the reject reasons."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


Content = Path | Keyspace
"""What a source hands over for an item: a staged file, or a keyspace to read from."""


class Source(Protocol):
    """Where objects come from. Every method raises `SourceError` when the source cannot be read."""

    uri: str
    """Address of the source as shown and stored, without secrets."""

    def items(self) -> Iterable[Item]:
        """What the source holds now."""

    def covers(self, uri: str) -> bool:
        """Whether an object of that address would be listed by this source if it existed."""

    def open(self, item: Item, staging: Path) -> AbstractContextManager[Content]:
        """Bring one object near; files it needs are made below `staging` and removed afterwards."""

"""Flowdump: the tables as files, `<table>[-anything].parquet|jsonl|jsonl.gz`.

DuckDB reads the rows itself; here only the name is understood and the kind of file recognised from its first bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from warehouse.batches import Batch, JsonLines, ParquetFile
from warehouse.errors import SourceError
from warehouse.tables import FACTS
from warehouse.unpacked import unpacked

PARSER_VERSION = 1
_NAME = re.compile(rf"^({'|'.join(FACTS)})(-.*)?\.(parquet|jsonl|jsonl\.gz|ndjson|json)$")


def is_named(path: Path) -> bool:
    """Whether the file's name begins with that of a table, as in a flowdump."""
    return _NAME.match(path.name) is not None


def recognise(path: Path) -> bool:
    """Whether the file's first bytes are those of Parquet or of a JSON object."""
    head = _head(path)
    return head.startswith(b"PAR1") or head.lstrip().startswith(b"{")


def read(path: Path) -> Iterator[Batch]:
    """Yield the file as one batch. Raises `SourceError` where its name does not begin with a table's."""
    name = _NAME.match(path.name)
    if not name:
        raise SourceError(
            "unknown_format",
            f"{path.name} names no table. Hint: call it <table>[-anything].parquet, .jsonl or .jsonl.gz; "
            f"the tables are {', '.join(FACTS)}. Other formats are told by their content (docs/adapters.md).",
        )
    table = name[1]
    yield ParquetFile(table, path) if _head(path).startswith(b"PAR1") else JsonLines(table, path)


def _head(path: Path) -> bytes:
    with unpacked(path, path.name) as file:
        return file.read(4096)

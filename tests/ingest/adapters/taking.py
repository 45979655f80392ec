"""What an adapter makes of a document."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ingest.adapters.adapter import Document, Fact, batches
from warehouse.batches import Reject, Rows, Skipped, UnknownFields
from warehouse.tables import FACTS


def taken(read: Callable[[Document], Iterator[Fact | Reject | Skipped]], document: Document) -> dict[str, list[Any]]:
    """What is read of a document: rows by table, and rejects, skipped and unknown."""
    found: dict[str, list[Any]] = {name: [] for name in (*FACTS, "rejects", "skipped", "unknown")}
    for batch in batches(read, document):
        match batch:
            case Rows(table, rows):
                found[table] += rows
            case Reject():
                found["rejects"].append(batch)
            case Skipped(count):
                found["skipped"].append(count)
            case UnknownFields(counts):
                found["unknown"].append(counts)
    return found

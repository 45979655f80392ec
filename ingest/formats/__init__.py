"""What bytes mean: flowdump and octoflows. The format is recognised from the content."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ingest.formats import flowdump, octoflows
from ingest.records import Content
from ingest.sources.rdb import RdbKeyspace
from warehouse.batches import Batch
from warehouse.errors import SourceError

FORMATS = {"flowdump": flowdump.PARSER_VERSION, "octoflows": octoflows.PARSER_VERSION}
"""The formats by name, and the version of each one's reader."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """A format's name and the batches it reads from some content."""

    format: str
    content: Content

    def read(self) -> Iterable[Batch]:
        """Read the content from its beginning."""
        if not isinstance(self.content, Path):
            return octoflows.read(self.content)
        if self.format == "octoflows":
            return octoflows.read(RdbKeyspace(self.content))
        return flowdump.read(self.content)


def recognise(content: Content, name: str, wanted: str | None) -> Recognised:
    """Tell the format of some content. `wanted` names it instead. Raises `SourceError` where no reader fits."""
    if not isinstance(content, Path):
        return Recognised("octoflows", content)
    if content.stat().st_size == 0:
        raise SourceError("empty", f"{name} is empty.")
    if wanted:
        return Recognised(wanted, content)
    with content.open("rb") as file:
        head = file.read(5)
    if head == b"REDIS":
        return Recognised("octoflows", content)
    if flowdump.recognise(content):
        return Recognised("flowdump", content)
    raise SourceError(
        "unknown_format",
        f"{name} has no known format. Hint: Parquet, JSON lines and Redis RDB files are read; tags go to --tags.",
    )

"""What bytes mean: flowdump, octoflows, and what the adapters read. The format is recognised from the content."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ingest.adapters import ADAPTERS
from ingest.adapters.adapter import Document, batches
from ingest.formats import flowdump, octoflows
from ingest.records import Content
from ingest.sources.rdb import RdbKeyspace
from warehouse.batches import Batch
from warehouse.errors import SourceError

_ADAPTERS = {adapter.NAME: adapter for adapter in ADAPTERS}

FORMATS = {
    "flowdump": flowdump.PARSER_VERSION,
    "octoflows": octoflows.PARSER_VERSION,
    **{adapter.NAME: adapter.PARSER_VERSION for adapter in ADAPTERS},
}
"""The formats by name, and the version of each one's reader."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """A format's name and the batches it reads from some content."""

    format: str
    content: Content
    place: str
    staging: Path

    def read(self) -> Iterable[Batch]:
        """Read the content from its beginning."""
        if not isinstance(self.content, Path):
            return octoflows.read(self.content)
        if self.format == "octoflows":
            return octoflows.read(RdbKeyspace(self.content))
        if self.format == "flowdump":
            return flowdump.read(self.content)
        return batches(_ADAPTERS[self.format].read, Document(self.content, self.place, self.staging))


def recognise(content: Content, name: str, wanted: str | None, *, place: str, staging: Path) -> Recognised:
    """Tell the format of some content. `wanted` names it instead, `place` is the whole address.

    Raises `SourceError` where no reader fits.
    """
    if not isinstance(content, Path):
        return Recognised("octoflows", content, place, staging)
    if content.stat().st_size == 0:
        raise SourceError("empty", f"{name} is empty.")
    return Recognised(wanted or _format_of(content, name, place, staging), content, place, staging)


def _format_of(path: Path, name: str, place: str, staging: Path) -> str:
    with path.open("rb") as file:
        if file.read(5) == b"REDIS":
            return "octoflows"
    if flowdump.is_named(path) and flowdump.recognise(path):
        return "flowdump"
    head = Document(path, place, staging).head()
    for adapter in ADAPTERS:
        if adapter.recognise(head):
            return adapter.NAME
    if flowdump.recognise(path):
        return "flowdump"
    raise SourceError(
        "unknown_format",
        f"{name} has no known format. Hint: {', '.join(FORMATS)} are read (docs/adapters.md); tags go to --tags.",
    )

"""Where bytes come from: files, S3, a live Redis."""

from __future__ import annotations

import re

from ingest.records import Source
from warehouse.errors import SourceError


def source_for(address: str, *, endpoint_url: str | None = None) -> Source:
    """Choose the source an address means. `endpoint_url` is that of an S3-compatible store.

    Raises `SourceError`: unsupported. Clients are imported only when they are needed: a local ingest does not pay.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", address)
    match scheme[1].lower() if scheme else "file":
        case "file":
            from ingest.sources.local import LocalSource

            return LocalSource(address)
        case "s3":
            from ingest.sources.s3 import S3Source

            return S3Source(address, endpoint_url=endpoint_url)
        case "redis" | "rediss":
            from ingest.sources.redis_live import RedisSource

            return RedisSource(address)
        case other:
            raise SourceError(
                "unsupported",
                f"Nothing is read from {other}:// addresses. Hint: give a path, a folder, a glob, "
                "s3://BUCKET/PREFIX or redis://HOST:PORT/DB.",
            )

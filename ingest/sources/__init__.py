"""Where bytes come from: files, S3, a live Redis."""

from __future__ import annotations

import re

from ingest.records import Source
from warehouse.errors import SourceError

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*)://")
_NEARLY = re.compile(r"\s*(rediss?|s3)\s*:", re.IGNORECASE)


def without_secrets(address: str) -> str:
    """Return an address that could not be understood as it may be shown and stored: no user, no password, no query."""
    scheme = _SCHEME.match(address) or _NEARLY.match(address)
    if not scheme or scheme[1].lower() == "file":
        return address
    return f"{scheme[1]}://{address[scheme.end() :].rpartition('@')[2].partition('?')[0].lstrip('/')}"


def source_for(address: str, *, endpoint_url: str | None = None) -> Source:
    """Choose the source an address means. `endpoint_url` is that of an S3-compatible store.

    Raises `SourceError`: unsupported. Clients are imported only when they are needed: a local ingest does not pay.
    """
    scheme = _SCHEME.match(address) or _NEARLY.match(address)
    match scheme[1].lower() if scheme else "file":
        case _ if scheme and not address.startswith(f"{scheme[1]}://"):
            raise SourceError(
                "unsupported",
                f"{without_secrets(address)} is misspelt. Hint: s3://BUCKET/PREFIX, redis://HOST:PORT/DB.",
            )
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

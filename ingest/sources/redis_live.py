"""A Redis that runs: its metrics, one object per run.

Keys are found with SCAN, never with KEYS, and values are fetched in small batches, so a server in use stays responsive.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError, ResponseError
from redis.retry import Retry

from ingest.formats.octoflows import run_of
from ingest.records import Content, Item
from warehouse.errors import SourceError

_BATCH_KEYS = 200
_SCAN_COUNT = 1000
_RETRIES = 2


class RedisSource:
    """The metrics in one database of a Redis. The unit that is replaced is the run.

    Passwords are handed to the client and kept nowhere else: `uri` and every message name host, port and database.
    """

    uri: str
    skipped: int
    """How many keys were not metrics, once `items` has been called."""

    def __init__(self, address: str) -> None:
        self.uri, self._client = _connection(address)
        self.skipped = 0
        self._keys_by_run: dict[str, dict[str, bytes]] = {}

    def items(self) -> Iterator[Item]:
        """Scan the keys now, then yield one item per run as its values are read.

        Raises `SourceError`: refused, unavailable, unsupported.
        """
        self._keys_by_run = self._scan()
        return (item for run in sorted(self._keys_by_run) if (item := self._item(run)))

    def covers(self, uri: str) -> bool:
        """Whether a run of that address belongs to this database."""
        return uri.startswith(f"{self.uri}#")

    @contextmanager
    def open(self, item: Item, staging: Path) -> Iterator[Content]:  # noqa: ARG002 - nothing is staged
        """Yield the keys and values of one run. Values are read from the server when they are asked for."""
        if item.key not in self._keys_by_run:
            raise SourceError(
                "no_such_path", f"No run {item.key} in {self.uri}. Hint: it was deleted after it was listed."
            )
        yield _RunKeyspace(self, self._keys_by_run[item.key])

    def values(self, keys: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
        """Fetch values by the raw bytes of their keys; keys without a string are left out."""
        remaining = iter(keys.items())
        while batch := dict(islice(remaining, _BATCH_KEYS)):
            with self._explained():
                values = cast("list[bytes | None]", self._client.mget(list(batch.values())))
            for key, value in zip(batch, values, strict=True):
                if value is not None:
                    yield key, value

    def _scan(self) -> dict[str, dict[str, bytes]]:
        keys_by_run: dict[str, dict[str, bytes]] = {}
        other_keys = set()
        with self._explained():
            for raw in cast("Iterator[bytes]", self._client.scan_iter(count=_SCAN_COUNT)):
                key = raw.decode("utf-8", "backslashreplace")
                run = run_of(key)
                if run is None:
                    other_keys.add(raw)
                else:
                    keys_by_run.setdefault(run, {})[key] = raw
        self.skipped = len(other_keys)
        return {run: dict(sorted(keys.items())) for run, keys in keys_by_run.items()}

    def _item(self, run: str) -> Item | None:
        """Describe a run by a digest of its keys and values; None when none of them holds a string any more."""
        digest = hashlib.sha256()
        size_bytes = 0
        found = {}
        for key, value in self.values(self._keys_by_run[run]):
            digest.update(f"{key}\n{len(value)}\n".encode() + value)
            size_bytes += len(value)
            found[key] = self._keys_by_run[run][key]
        self._keys_by_run[run] = found
        return Item(f"{self.uri}#{run}", run, digest.hexdigest(), size_bytes) if found else None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (AuthenticationError, AuthorizationError, NoPermissionError) as error:
            raise SourceError(
                "refused",
                f"Redis at {self.uri} refused the credentials. Hint: {_scheme(self.uri)}://:PASSWORD@HOST:PORT/DB, "
                "with a user before the colon where it has users.",
            ) from error
        except RedisError as error:
            if isinstance(error.__context__, ConnectionRefusedError):
                raise SourceError(
                    "refused",
                    f"Redis at {self.uri} refused the connection. Hint: is it running, and on this port?",
                ) from error
            if isinstance(error, ResponseError):
                raise SourceError(
                    "unsupported", f"Redis at {self.uri} refused a command. Hint: does it have this database?"
                ) from error
            raise SourceError(
                "unavailable", f"Redis at {self.uri} did not answer or broke off. Hint: ingest again when it is back."
            ) from error


class _RunKeyspace:
    """The `Keyspace` of one run."""

    def __init__(self, source: RedisSource, keys: dict[str, bytes]) -> None:
        self._source = source
        self._keys = keys

    def keys(self) -> Iterator[str]:
        yield from self._keys

    def values(self, keys: list[str]) -> Iterator[tuple[str, bytes]]:
        return self._source.values({key: self._keys[key] for key in keys if key in self._keys})


def _connection(address: str) -> tuple[str, redis.Redis]:
    """Return the address without its secrets, and a client that has not connected yet."""
    try:
        url = urlsplit(address)
        host, port = url.hostname or "localhost", url.port or 6379
        database = int(f"{url.path}#{url.fragment}".strip("/#") or 0)  # nothing follows the database
        client = redis.Redis.from_url(
            address,
            protocol=2,
            socket_timeout=30,
            socket_connect_timeout=5,
            retry=Retry(ExponentialBackoff(cap=1, base=0.1), _RETRIES),
        )
        client.connection_pool.make_connection()
    except (TypeError, ValueError):
        # What the parser complains about may be a part of the password: its message is dropped.
        raise SourceError(
            "unsupported",
            "That Redis address cannot be read. Hint: redis://:PASSWORD@HOST:PORT/DB, DB being a number; signs such as "
            "/ # @ in the password are written as %2F %23 %40.",
        ) from None
    database = client.connection_pool.connection_kwargs.get("db", database)
    shown_host = f"[{host}]" if ":" in host else host
    return f"{url.scheme}://{shown_host}:{port}/{database}", client


def _scheme(uri: str) -> str:
    return uri.partition("://")[0]

"""Objects of an S3 bucket, or of a store that speaks its protocol."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
from boto3.exceptions import RetriesExceededError
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    ResponseStreamingError,
)

from ingest.records import Content, Item
from ingest.sources.gzipped import rdb_unpacked
from ingest.sources.names import is_listed
from warehouse.errors import SourceError

_LONGEST_NAME = 200


class S3Source:
    """Everything below `s3://BUCKET/PREFIX`. Credentials come from the standard chain; without any, none are sent."""

    uri: str

    def __init__(self, address: str, *, endpoint_url: str | None = None) -> None:
        self._bucket, _, self._prefix = address.partition("://")[2].partition("/")
        self._folder = self._prefix[: self._prefix.rfind("/") + 1]
        if {"@", ":"} & set(self._bucket):
            raise SourceError(
                "unsupported",
                "S3 addresses hold no credentials. Hint: s3://BUCKET/PREFIX, with AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY in the environment.",
            )
        self.uri = f"s3://{self._bucket}/{self._prefix}"
        with _explained(self.uri):
            self._client = _client(endpoint_url)

    def items(self) -> list[Item]:
        """Return the objects in the order of their keys.

        Raises `SourceError`: no_such_path (also when nothing has the prefix), refused, unavailable, unsupported.
        """
        with _explained(self.uri):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            found = [entry for page in pages for entry in page.get("Contents", ())]
        if not found:
            raise SourceError("no_such_path", f"Nothing is at {self.uri}. Hint: check the bucket and the prefix.")
        return [self._item(entry) for entry in found if self._selects(entry["Key"])]

    def covers(self, uri: str) -> bool:
        """Whether an object of that address would be listed here if it existed."""
        return uri.startswith(self.uri) and self._selects(uri.removeprefix(f"s3://{self._bucket}/"))

    @contextmanager
    def open(self, item: Item, staging: Path) -> Iterator[Content]:
        """Download one object into a folder of its own below `staging`, whatever its key looks like.

        Raises `SourceError`: truncated when fewer or more bytes arrive than were listed, otherwise as `items` does.
        """
        folder = staging / uuid4().hex
        try:
            folder.mkdir(parents=True)
            with rdb_unpacked(self._download(item, folder), staging, item.uri) as path:
                yield path
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _selects(self, key: str) -> bool:
        names = key[len(self._folder) :].split("/")
        return not key.endswith("/") and (key == self._prefix or is_listed(names))

    def _item(self, entry: dict[str, Any]) -> Item:
        key, size_bytes = entry["Key"], entry["Size"]
        etag = f"{entry['ETag'].strip(chr(34))}-{size_bytes}"
        return Item(f"s3://{self._bucket}/{key}", key[len(self._folder) :], etag, size_bytes)

    def _download(self, item: Item, folder: Path) -> Path:
        part = folder / f"{uuid4().hex}.part"
        key = item.uri.removeprefix(f"s3://{self._bucket}/")
        with _explained(item.uri):
            self._client.download_file(self._bucket, key, str(part))
        arrived_bytes = part.stat().st_size
        if arrived_bytes != item.size_bytes:
            raise SourceError(
                "truncated",
                f"{item.uri} has {arrived_bytes:,} bytes where {item.size_bytes:,} were listed. "
                "Hint: ingest again, it was being replaced or the transfer was cut.",
            )
        whole = folder / _file_name(key)
        part.replace(whole)
        return whole


_SENTENCES = {
    "refused": "The store refused access to {uri}. Hint: check the AWS credentials and the policy of the bucket.",
    "no_such_path": "Nothing is at {uri}. Hint: check the bucket, the key and the endpoint.",
    "unavailable": "The store of {uri} failed or did not answer. Hint: check the endpoint, or ingest again later.",
    "truncated": "{uri} broke off while it was downloaded. Hint: ingest again.",
    "unreadable": "{uri} cannot be stored while it is read. Hint: is there space for temporary files?",
    "checksum": "{uri} does not match the checksum its store sent. Hint: ingest again.",
    "unsupported": "{uri} is no address of an object store. Hint: s3://BUCKET/PREFIX, --endpoint-url http://HOST:PORT",
}


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError, RetriesExceededError, OSError, ValueError) as error:
        reason = _reason(error)
        raise SourceError(reason, _SENTENCES[reason].format(uri=uri)) from error


def _reason(error: Exception | None) -> str:
    match error:
        case ClientError():
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if status == 404:
                return "no_such_path"
            return "refused" if 400 <= status < 500 and status != 429 else "unavailable"
        case RetriesExceededError():
            return _reason(error.last_exception)
        case FlexibleChecksumError():
            return "checksum"
        case IncompleteReadError() | ResponseStreamingError():
            return "truncated"
        case OSError():
            return "unreadable"
        case NoCredentialsError() | PartialCredentialsError() | ProfileNotFound():
            return "refused"
        case ParamValidationError() | ValueError():
            return "unsupported"
        case _:
            return "unavailable"


def _client(endpoint_url: str | None) -> Any:
    session = boto3.session.Session()
    anonymous = {} if session.get_credentials() else {"signature_version": UNSIGNED}
    # A store behind one host name has no host name per bucket.
    addressing = {"s3": {"addressing_style": "path"}} if endpoint_url else {}
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 4},
        connect_timeout=5,
        read_timeout=60,
        **anonymous,
        **addressing,
    )
    return session.client("s3", endpoint_url=endpoint_url, config=config)


def _file_name(key: str) -> str:
    """Return the last name of a key as a file name of plain characters, which keeps its beginning and its suffix."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", key.rpartition("/")[2]).lstrip(".") or "object"
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME // 2] + name[-_LONGEST_NAME // 2 :]

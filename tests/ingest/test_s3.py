from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import botocore.retries.standard
import pytest

from ingest.records import Item
from ingest.sources import source_for
from ingest.sources.s3 import S3Source
from tests.servers import free_port
from warehouse.errors import SourceError

RDB = b"REDIS0010" + b"0123456789" * 10_000


class Bucket:
    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.name = f"bucket-{uuid4().hex}"
        self.client = boto3.client("s3", endpoint_url=endpoint)
        self.client.create_bucket(Bucket=self.name)

    def put(self, key: str, body: bytes = b"x") -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def source(self, prefix: str = "") -> S3Source:
        return S3Source(f"s3://{self.name}/{prefix}", endpoint_url=self.endpoint)

    def item(self, key: str, size_bytes: int = 1) -> Item:
        return Item(f"s3://{self.name}/{key}", key, "etag", size_bytes)


@pytest.fixture
def bucket(s3_server: str) -> Bucket:
    return Bucket(s3_server)


@pytest.fixture(autouse=True)
def _no_waiting_between_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(botocore.retries.standard.ExponentialBackoff, "delay_amount", lambda self, context: 0)


def reason_of(action: Callable[[], Any]) -> str:
    with pytest.raises(SourceError) as caught:
        action()
    assert "Hint: " in str(caught.value)
    return caught.value.reason


def fetched(source: S3Source, item: Item, staging: Path) -> tuple[Path, bytes]:
    with source.open(item, staging) as content:
        assert isinstance(content, Path)
        return content, content.read_bytes()


def test_a_prefix_lists_its_objects_in_the_order_of_their_keys(bucket: Bucket) -> None:
    for key in ("runs/b/x.jsonl", "runs/a.csv", "runs/", "runs/_SUCCESS", "runs/.x/y", "runs/c.part", "other.csv"):
        bucket.put(key, key.encode())
    items = bucket.source("runs/").items()
    assert [item.key for item in items] == ["a.csv", "b/x.jsonl"]
    assert items[0].uri == f"s3://{bucket.name}/runs/a.csv"
    assert items[0].size_bytes == 10
    assert items[0].etag.endswith("-10")
    assert '"' not in items[0].etag


def test_a_prefix_need_not_end_at_a_folder(bucket: Bucket) -> None:
    for key in ("runs/2024-a.csv", "runs/2024/b.csv", "runs/2025.csv"):
        bucket.put(key)
    assert [item.key for item in bucket.source("runs/2024").items()] == ["2024-a.csv", "2024/b.csv"]


def test_one_object_is_listed_by_its_last_name_whatever_it_is(bucket: Bucket) -> None:
    bucket.put("runs/_odd.md")
    assert [item.key for item in bucket.source("runs/_odd.md").items()] == ["_odd.md"]


def test_a_whole_bucket_needs_no_slash(bucket: Bucket) -> None:
    bucket.put("a.csv")
    source = source_for(f"s3://{bucket.name}", endpoint_url=bucket.endpoint)
    assert source.uri == f"s3://{bucket.name}/"
    assert [item.key for item in source.items()] == ["a.csv"]


def test_more_objects_than_a_page_holds_are_all_listed(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    keys = sorted(f"{number}.csv" for number in range(35))
    for key in keys:
        bucket.put(f"runs/{key}")
    assert len(bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]) == 10
    assert [item.key for item in bucket.source("runs/").items()] == keys


def test_the_etag_changes_with_the_object(bucket: Bucket) -> None:
    etags = []
    for body in (b"1", b"2", b"2"):
        bucket.put("a.csv", body)
        etags.append(bucket.source("a.csv").items()[0].etag)
    assert etags[0] != etags[1] == etags[2]


def test_an_object_is_staged_under_its_own_name_and_removed_afterwards(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("runs/tasks-0 (1).jsonl.gz", b"body")
    (item,) = bucket.source("runs/").items()
    path, data = fetched(bucket.source("runs/"), item, tmp_path / "staging")
    assert data == b"body"
    assert path.name == "tasks-0__1_.jsonl.gz"
    assert list((tmp_path / "staging").iterdir()) == []


def test_a_gzipped_rdb_is_unpacked(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("dump.rdb.gz", gzip.compress(RDB))
    (item,) = bucket.source().items()
    path, data = fetched(bucket.source(), item, tmp_path)
    assert (path.name, data) == ("dump.rdb", RDB)
    assert list(tmp_path.iterdir()) == []


def test_an_object_of_several_parts_arrives_whole(bucket: Bucket, tmp_path: Path) -> None:
    body = bytes(range(256)) * 80_000
    bucket.put("big.bin", body)
    (item,) = bucket.source().items()
    assert fetched(bucket.source(), item, tmp_path)[1] == body


@pytest.mark.parametrize(
    "key",
    ["../../evil.csv", "a/..", "/etc/passwd", "a/../../../b.csv", "..", "a\\..\\b.csv", "x" * 900 + ".csv"],
)
def test_nothing_is_written_outside_staging_whatever_the_key(bucket: Bucket, tmp_path: Path, key: str) -> None:
    staging = tmp_path / "one" / "two" / "staging"
    bucket.put(key, b"body")
    (item,) = bucket.source().items()
    assert item.uri == f"s3://{bucket.name}/{key}"
    with bucket.source().open(item, staging) as path:
        assert isinstance(path, Path)
        assert path.read_bytes() == b"body"
        assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
        assert path.resolve().is_relative_to(staging)
        assert path.suffix == (".csv" if key.endswith(".csv") else "")


def test_a_source_covers_exactly_what_it_would_list(bucket: Bucket) -> None:
    uri = f"s3://{bucket.name}"
    source = bucket.source("runs/")
    assert [source.covers(f"{uri}/{key}") for key in ("runs/gone.csv", "runs/_x", "other.csv", "runs/a/")] == [
        True,
        False,
        False,
        False,
    ]
    assert bucket.source().covers(f"{uri}/x.csv")
    assert not bucket.source().covers(f"{uri}2/x.csv")


def test_a_bucket_or_a_prefix_that_is_not_there_says_so(bucket: Bucket, tmp_path: Path) -> None:
    assert reason_of(S3Source("s3://no-such-bucket/x", endpoint_url=bucket.endpoint).items) == "no_such_path"
    assert reason_of(bucket.source("nothing/").items) == "no_such_path"
    assert reason_of(lambda: fetched(bucket.source(), bucket.item("gone"), tmp_path)) == "no_such_path"


@pytest.mark.parametrize("address", ["s3://", "s3://not a bucket/x"])
def test_an_address_that_is_none_is_unsupported(s3_server: str, address: str) -> None:
    assert reason_of(lambda: S3Source(address, endpoint_url=s3_server).items()) == "unsupported"


def test_an_endpoint_that_is_no_url_is_unsupported(aws_credentials: None) -> None:
    assert reason_of(lambda: S3Source("s3://bucket/", endpoint_url="localhost:9000").items()) == "unsupported"


def test_an_object_that_changed_size_since_it_was_listed_is_truncated(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("a.csv", b"four")
    assert reason_of(lambda: fetched(bucket.source(), bucket.item("a.csv", 5), tmp_path)) == "truncated"
    assert list(tmp_path.iterdir()) == []


def test_a_closed_port_is_unavailable(aws_credentials: None) -> None:
    source = S3Source("s3://bucket/x", endpoint_url=f"http://127.0.0.1:{free_port()}")
    assert reason_of(source.items) == "unavailable"


class FaultyStore(ThreadingHTTPServer):
    """Answers every request with one status, or sends fewer bytes than it announces."""

    daemon_threads = True
    status = 200
    failures_left = 10**9
    requests = 0
    authorized = False


class FaultyHandler(BaseHTTPRequestHandler):
    server: FaultyStore
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(b"")

    def do_GET(self) -> None:
        is_listing = "list-type" in self.path
        self.answer(b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>" if is_listing else b"abc")

    def answer(self, body: bytes) -> None:
        self.server.requests += 1
        self.server.authorized |= "Authorization" in self.headers
        self.server.failures_left -= 1
        fails = self.server.status != 200 and self.server.failures_left >= 0
        self.send_response(self.server.status if fails else 200)
        body = b"" if fails else body
        announced = 10 if self.command == "HEAD" or body == b"abc" else len(body)
        self.send_header("Content-Length", "0" if fails else str(announced))
        self.send_header("ETag", '"etag"')
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def faulty_store(aws_credentials: None) -> Iterator[FaultyStore]:
    with FaultyStore(("127.0.0.1", 0), FaultyHandler) as store:
        threading.Thread(target=store.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield store
        store.shutdown()


def faulty_source(store: FaultyStore) -> S3Source:
    return S3Source("s3://bucket/", endpoint_url=f"http://127.0.0.1:{store.server_port}")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "refused"),
        (403, "refused"),
        (404, "no_such_path"),
        (429, "unavailable"),
        (500, "unavailable"),
        (503, "unavailable"),
    ],
)
def test_each_status_has_its_reason_when_listing_and_when_fetching(
    faulty_store: FaultyStore, tmp_path: Path, status: int, reason: str
) -> None:
    faulty_store.status = status
    source = faulty_source(faulty_store)
    assert reason_of(source.items) == reason
    assert faulty_store.requests == (4 if reason == "unavailable" else 1)
    item = Item("s3://bucket/a.csv", "a.csv", "etag", 10)
    with pytest.raises(SourceError, match=r"s3://bucket/a\.csv") as caught:
        fetched(source, item, tmp_path)
    assert caught.value.reason == reason


def test_a_store_that_recovers_is_asked_again(faulty_store: FaultyStore) -> None:
    faulty_store.status, faulty_store.failures_left = 503, 2
    assert reason_of(faulty_source(faulty_store).items) == "no_such_path"
    assert faulty_store.requests == 3


def test_a_body_shorter_than_announced_is_truncated(faulty_store: FaultyStore, tmp_path: Path) -> None:
    item = Item("s3://bucket/a.csv", "a.csv", "etag", 10)
    assert reason_of(lambda: fetched(faulty_source(faulty_store), item, tmp_path)) == "truncated"
    assert list(tmp_path.iterdir()) == []


def test_without_credentials_nothing_is_signed(faulty_store: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    reason_of(faulty_source(faulty_store).items)
    assert faulty_store.authorized
    faulty_store.authorized = False
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    reason_of(faulty_source(faulty_store).items)
    assert not faulty_store.authorized

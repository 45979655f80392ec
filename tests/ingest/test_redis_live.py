from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from ingest.formats.octoflows import run_of
from ingest.records import Item
from ingest.sources import redis_live, source_for
from ingest.sources.redis_live import RedisSource
from tests.servers import RedisServer, free_port
from warehouse.errors import SourceError

StartRedis = Callable[..., RedisServer]
UUID = "d93b4f8f-2171-46e7-ac07-8bc575fd7b24"
RUN_A = f"1795459715795.contact_sheet.{UUID}.{'a' * 64}"
RUN_B = f"1795459715796.contact_sheet.{UUID}.{'b' * 64}"


def task_key(run: str, task: int) -> str:
    return f"md-storage-tasks+resize+{task:08x}{UUID[8:]}+{run}"


def fill(server: RedisServer) -> dict[str, bytes]:
    """Store two runs and some keys that are no metrics; return the first run."""
    run_a = {f"dag-{RUN_A}": b"dag", f"md-storage-plan+{RUN_A}": b"plan", task_key(RUN_A, 1): b"task"}
    client = server.client()
    client.mset(run_a)
    client.mset({task_key(RUN_B, number): b"b" * number for number in range(1, 451)})
    client.mset({b"dependency-counter-x": b"1", b"result": b"\x00", b"\xff\xfe": b"not UTF-8"})
    client.rpush(f"md-storage-plan+{RUN_B}", "not a string")
    return run_a


def values_of(source: RedisSource, item: Item, tmp_path: Path) -> dict[str, bytes]:
    with source.open(item, tmp_path) as keyspace:
        assert not isinstance(keyspace, Path)
        return dict(keyspace.values([*keyspace.keys(), "not of this run"]))


def reason_of(action: Callable[[], Any]) -> str:
    with pytest.raises(SourceError) as caught:
        action()
    assert "Hint: " in str(caught.value)
    assert "s3cret" not in str(caught.value)
    return caught.value.reason


def test_the_keys_used_here_are_metrics() -> None:
    assert run_of(task_key(RUN_A, 1)) == run_of(f"dag-{RUN_A}") == run_of(f"md-storage-plan+{RUN_A}") == RUN_A


def test_each_run_is_one_object_with_its_own_keys_and_values(redis_server: StartRedis, tmp_path: Path) -> None:
    server = redis_server()
    run_a = fill(server)
    source = source_for(server.url)
    assert isinstance(source, RedisSource)
    a, b = source.items()
    assert (a.uri, a.key, a.size_bytes) == (f"{server.url}#{RUN_A}", RUN_A, 11)
    assert (b.key, b.size_bytes) == (RUN_B, 450 * 451 // 2)
    assert values_of(source, a, tmp_path) == run_a
    assert len(values_of(source, b, tmp_path)) == 450
    assert source.skipped == 3


def test_a_key_that_holds_no_string_is_not_listed(redis_server: StartRedis, tmp_path: Path) -> None:
    server = redis_server()
    fill(server)
    source = RedisSource(server.url)
    _, b = source.items()
    with source.open(b, tmp_path) as keyspace:
        assert not isinstance(keyspace, Path)
        assert f"md-storage-plan+{RUN_B}" not in set(keyspace.keys())


def test_a_run_whose_keys_are_all_gone_is_not_listed(redis_server: StartRedis) -> None:
    server = redis_server()
    fill(server)
    items = RedisSource(server.url).items()
    server.client().delete(*(f"dag-{RUN_A}", f"md-storage-plan+{RUN_A}", task_key(RUN_A, 1)))
    assert [item.key for item in items] == [RUN_B]


def test_the_etag_changes_with_a_value_a_key_and_a_deletion_only(redis_server: StartRedis) -> None:
    server = redis_server()
    fill(server)
    client = server.client()

    def etags() -> tuple[str, str]:
        a, b = RedisSource(server.url).items()
        return a.etag, b.etag

    seen = [etags(), etags()]
    assert seen[0] == seen[1]
    client.set(task_key(RUN_A, 1), b"tusk")
    seen.append(etags())
    client.set(task_key(RUN_A, 2), b"")
    seen.append(etags())
    client.delete(task_key(RUN_A, 1))
    seen.append(etags())
    assert len({a for a, _ in seen}) == 4
    assert len({b for _, b in seen}) == 1


def test_a_database_is_chosen_and_shown(redis_server: StartRedis) -> None:
    server = redis_server()
    server.client(db=2).set(f"dag-{RUN_A}", b"dag")
    for address in (f"redis://127.0.0.1:{server.port}/2", f"redis://127.0.0.1:{server.port}?db=2"):
        (item,) = RedisSource(address).items()
        assert item.uri == f"redis://127.0.0.1:{server.port}/2#{RUN_A}"


def test_an_empty_redis_has_no_runs(redis_server: StartRedis) -> None:
    assert list(RedisSource(redis_server().url).items()) == []


def test_keys_that_scan_repeats_count_once(redis_server: StartRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    server = redis_server()
    fill(server)
    expected = list(RedisSource(server.url).items())
    real_scan_iter = redis.Redis.scan_iter

    def scan_twice(self: redis.Redis, **options: Any) -> Iterator[Any]:
        yield from real_scan_iter(self, **options)
        yield from real_scan_iter(self, **options)

    monkeypatch.setattr(redis.Redis, "scan_iter", scan_twice)
    source = RedisSource(server.url)
    assert list(source.items()) == expected
    assert source.skipped == 3


def test_keys_are_never_asked_for_all_at_once(redis_server: StartRedis) -> None:
    server = redis_server()
    fill(server)
    list(RedisSource(server.url).items())
    statistics = server.client().info("commandstats")
    assert "cmdstat_keys" not in statistics
    assert statistics["cmdstat_mget"]["calls"] == 1 + 3


def test_a_password_is_used_and_never_shown(redis_server: StartRedis) -> None:
    server = redis_server(password="s3cret")
    server.client().set(f"dag-{RUN_A}", b"dag")
    source = RedisSource(f"redis://:s3cret@127.0.0.1:{server.port}")
    (item,) = source.items()
    assert "s3cret" not in f"{source.uri} {source!r} {item!r}"
    assert source.uri == f"redis://127.0.0.1:{server.port}/0"


@pytest.mark.parametrize("credentials", ["", ":wrong-s3cret@", "user:s3cret@"])
def test_a_missing_or_wrong_password_is_refused_with_the_way_to_give_it(
    redis_server: StartRedis, credentials: str
) -> None:
    server = redis_server(password="s3cret")
    with pytest.raises(SourceError, match=r"refused the credentials\. Hint: redis://:PASSWORD@") as caught:
        RedisSource(f"redis://{credentials}127.0.0.1:{server.port}").items()
    assert caught.value.reason == "refused"
    assert "s3cret" not in str(caught.value)


def test_a_user_without_permission_is_refused(redis_server: StartRedis) -> None:
    server = redis_server()
    server.client().acl_setuser("reader", enabled=True, passwords=["+s3cret"], commands=["+ping"], keys=["*"])
    assert reason_of(lambda: RedisSource(f"redis://reader:s3cret@127.0.0.1:{server.port}").items()) == "refused"


def test_a_closed_port_is_refused() -> None:
    port = free_port()
    with pytest.raises(
        SourceError, match=f"Redis at redis://127.0.0.1:{port}/0 refused the connection. Hint:"
    ) as caught:
        RedisSource(f"redis://:s3cret@127.0.0.1:{port}").items()
    assert caught.value.reason == "refused"


def test_a_host_that_does_not_exist_is_unavailable() -> None:
    assert reason_of(lambda: RedisSource("redis://:s3cret@no-such-host.invalid").items()) == "unavailable"


def test_a_database_that_does_not_exist_is_unsupported(redis_server: StartRedis) -> None:
    server = redis_server()
    assert reason_of(lambda: RedisSource(f"redis://127.0.0.1:{server.port}/99").items()) == "unsupported"


@pytest.mark.parametrize(
    "address",
    [
        "redis://:s3/cret@host:1",
        "redis://:s3cret@host:port",
        "redis://:s3cret@host/name",
        "redis://:s3cret@host?db=x",
        "redis://:s3cret@host?no_such_option=1",
        "redis://:s3cret@[::1",
        "redis://:s3cret@host:99999",
    ],
)
def test_an_address_that_is_none_is_unsupported_and_not_repeated(address: str) -> None:
    assert reason_of(lambda: RedisSource(address)) == "unsupported"


@pytest.mark.parametrize(
    ("address", "uri"),
    [
        ("redis://host", "redis://host:6379/0"),
        ("rediss://user:s3cret@host:7000/4?socket_timeout=1", "rediss://host:7000/4"),
        ("redis://[::1]:7000", "redis://[::1]:7000/0"),
    ],
)
def test_what_is_shown_of_an_address(address: str, uri: str) -> None:
    assert RedisSource(address).uri == uri


def test_a_source_covers_the_runs_of_its_own_database() -> None:
    source = RedisSource("redis://host/1")
    uris = [f"redis://host:6379/1#{RUN_A}", f"redis://host:6379/12#{RUN_A}", f"redis://host:6380/1#{RUN_A}"]
    assert [source.covers(uri) for uri in uris] == [True, False, False]


def test_a_run_that_was_not_listed_is_not_there(redis_server: StartRedis, tmp_path: Path) -> None:
    server = redis_server()
    source = RedisSource(server.url)
    assert list(source.items()) == []
    assert reason_of(lambda: values_of(source, Item("uri", RUN_A, "etag", 1), tmp_path)) == "no_such_path"


def test_a_server_that_dies_between_two_batches_is_refused_or_unavailable(
    redis_server: StartRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = redis_server()
    fill(server)
    monkeypatch.setattr(redis_live, "_BATCH_KEYS", 10)
    items = RedisSource(server.url).items()
    assert next(items).key == RUN_A
    server.stop()
    assert reason_of(lambda: next(items)) in {"refused", "unavailable"}


@pytest.fixture
def dropping_server() -> Iterator[int]:
    """Answers the first SCAN with one key and a cursor that promises more, and drops every connection after that."""
    listener = socket.create_server(("127.0.0.1", 0))
    answered = threading.Event()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while request := connection.recv(65536):
                    commands = request.count(b"\r\nCLIENT\r\n")
                    connection.sendall(b"+OK\r\n" * commands)
                    if b"SCAN" in request:
                        if answered.is_set():
                            break
                        answered.set()
                        connection.sendall(b"*2\r\n$1\r\n7\r\n*1\r\n$3\r\nkey\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    assert answered.is_set()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_a_connection_that_breaks_during_the_scan_is_unavailable(dropping_server: int) -> None:
    assert reason_of(lambda: RedisSource(f"redis://127.0.0.1:{dropping_server}").items()) == "unavailable"

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.sources.crc64 import crc64
from ingest.sources.rdb import RdbKeyspace
from tests.servers import OCTOFLOWS_DUMPS, RedisServer
from warehouse.errors import SourceError

StartRedis = Callable[..., RedisServer]


def read(path: Path) -> dict[str, bytes]:
    keyspace = RdbKeyspace(path)
    return dict(keyspace.values(list(keyspace.keys())))


def read_server(server: RedisServer) -> dict[str, bytes]:
    client = server.client()
    strings = [key for key in client.scan_iter(count=1000) if client.type(key) == b"string"]
    return {key.decode("utf-8", "backslashreplace"): client.get(key) for key in strings}  # type: ignore[misc]


def text(value: bytes) -> bytes:
    assert len(value) < 64
    return bytes([len(value)]) + value


def rdb(body: bytes, version: int = 10, checksum: int | None = None) -> bytes:
    data = b"REDIS%04d" % version + body + b"\xff"
    if version < 5:
        return data
    return data + (crc64(data) if checksum is None else checksum).to_bytes(8, "little")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(data: bytes) -> Path:
        path = tmp_path / "dump.rdb"
        path.write_bytes(data)
        return path

    return write


def fill(server: RedisServer, chance: random.Random) -> None:
    client = server.client()
    for number, value in enumerate(
        [0, -1, 127, -128, 128, 32767, -32769, 2**31 - 1, -(2**31), 2**31, -(2**63), 10**30]
    ):
        client.set(f"integer:{number}", value)
    client.set("empty", b"")
    for length in (1, 20, 63, 64, 16383, 16384, 70_000):
        client.set(f"random:{length}", chance.randbytes(length))
        client.set(f"repeated:{length}", b"ab" * length)
        client.set(f"words:{length}", b" ".join(chance.choice([b"task", b"worker", b"run"]) for _ in range(length)))
        client.set("key" * length, b"a key that may be compressed")
    client.set(b"\xff\xfe raw", b"key that is not UTF-8")
    client.set("expires", b"later", px=10_000_000)
    for size in (3, 700):
        members = [f"member {chance.random()}" for _ in range(size)]
        client.rpush(f"list:{size}", *members)
        client.sadd(f"set:{size}", *members)
        client.sadd(f"intset:{size}", *range(size))
        client.hset(f"hash:{size}", mapping=dict.fromkeys(members, b"v" * 90))
        client.zadd(f"zset:{size}", {member: chance.random() for member in members})
    client.zadd("zset:infinite", {"up": float("inf"), "down": float("-inf")})
    client.function_load("#!lua name=library\nredis.register_function('f', function() return 1 end)")
    server.client(db=3).set("in database 3", b"kept")


def test_every_string_reads_as_the_server_that_saved_it_reads_it(redis_server: StartRedis) -> None:
    server = redis_server()
    fill(server, random.Random(1))
    server.client().config_set("maxmemory-policy", "allkeys-lfu")
    server.client().save()
    expected = read_server(server) | {"in database 3": b"kept"}
    keyspace = RdbKeyspace(server.dump)
    keys = list(keyspace.keys())
    assert len(keys) == len(set(keys))
    assert dict(keyspace.values(keys)) == expected
    assert keyspace.skipped_types == 11


def test_old_encodings_and_switched_off_checksums_are_read(redis_server: StartRedis) -> None:
    server = redis_server()
    for setting in ("hash-max-listpack-entries", "zset-max-listpack-entries", "set-max-intset-entries"):
        server.client().config_set(setting, 0)
    server.client().config_set("maxmemory-policy", "allkeys-lru")
    server.client().config_set("rdbcompression", "no")
    fill(server, random.Random(2))
    server.client().save()
    assert read(server.dump) == read_server(server) | {"in database 3": b"kept"}


def test_a_real_dump_reads_as_a_server_reads_it(redis_server: StartRedis, tmp_path: Path) -> None:
    packed = OCTOFLOWS_DUMPS / "series_b_taskdup_limit6.rdb.gz"
    if not packed.exists():
        pytest.skip(f"{packed} is not on this machine")
    path = tmp_path / "dump.rdb"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    values = read(path)
    assert len(values) == 2899
    assert values == read_server(redis_server(dump=path))


def test_asking_for_a_key_that_is_not_there_leaves_it_out(write: Callable[[bytes], Path]) -> None:
    keyspace = RdbKeyspace(write(rdb(b"\x00" + text(b"k") + text(b"v"))))
    assert list(keyspace.values(["gone", "k"])) == [("k", b"v")]


def test_every_opcode_is_stepped_over(write: Callable[[bytes], Path]) -> None:
    body = b"".join(
        [
            b"\xfa" + text(b"redis-ver") + b"\xc0\x07",
            b"\xf7\x81" + bytes(8) + b"\x02\x01" + b"\x02\x05\x01\x05\x03\xff\xff\xff\xff\x04" + bytes(8) + b"\x05" + text(b"x") + b"\x00",
            b"\xf5" + text(b"library"),
            b"\xf6" + text(b"name") + text(b"LUA") + b"\x01" + text(b"description") + text(b"code"),
            b"\xf6" + text(b"name") + text(b"LUA") + b"\x00" + text(b"code"),
            b"\xfe\x00\xfb\x01\x00\xf4\x01\x02\x03",
            b"\xfd" + bytes(4) + b"\xf8\x05" + b"\x00" + text(b"a") + text(b"1"),
            b"\xfc" + bytes(8) + b"\xf9\xff" + b"\x00" + text(b"b") + b"\x80\x00\x00\x00\x012",
            b"\x03" + text(b"old zset") + b"\x03" + text(b"m") + b"\x031.5" + text(b"n") + b"\xff" + text(b"o") + b"\xfd",
            b"\x0e" + text(b"quicklist") + b"\x02" + text(b"ziplist") + text(b"ziplist"),
            b"\x09" + text(b"zipmap") + text(b"blob"),
            b"\x00" + text(b"c") + b"\x81" + bytes(7) + b"\x013",
        ]
    )  # fmt: skip
    keyspace = RdbKeyspace(write(rdb(body, version=12)))
    assert dict(keyspace.values(["a", "b", "c"])) == {"a": b"1", "b": b"2", "c": b"3"}
    assert keyspace.skipped_types == 3


def test_a_key_in_two_databases_has_its_last_value(write: Callable[[bytes], Path]) -> None:
    body = b"\xfe\x00\x00" + text(b"k") + text(b"first") + b"\xfe\x01\x00" + text(b"k") + text(b"last")
    assert read(write(rdb(body))) == {"k": b"last"}


def test_a_file_from_before_checksums_is_read(write: Callable[[bytes], Path]) -> None:
    assert read(write(rdb(b"\x00" + text(b"k") + text(b"v"), version=3))) == {"k": b"v"}


STRING = b"\x00" + text(b"k") + text(b"v")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"RED", "truncated"),
        (b"not an rdb file", "unknown_format"),
        (rdb(STRING, version=14), "unsupported"),
        (b"REDIS00x1\xff", "unsupported"),
        (rdb(STRING, checksum=5), "checksum"),
        (rdb(STRING) + b"*1\r\n", "unsupported"),
        (rdb(b"\x0f" + text(b"stream") + text(b"blob")), "unsupported"),
        (rdb(b"\x07" + text(b"module") + text(b"blob")), "unsupported"),
        (rdb(b"\x63" + text(b"unknown") + text(b"blob")), "unsupported"),
        (rdb(b"\x63" + text(b"unknown") + text(b"blob"), checksum=5), "checksum"),
        (rdb(b"\x00" + text(b"k") + b"\xc4"), "unsupported"),
        (rdb(b"\x00" + text(b"k") + b"\x82"), "unsupported"),
        (rdb(b"\xfe\xc0"), "unsupported"),
        (rdb(b"\xf7\x01\x01\x01\x06"), "unsupported"),
        (rdb(b"\x00" + text(b"k") + b"\x81" + b"\xff" * 8), "truncated"),
        (rdb(b"\x00\xc3\x02\x80\xff\xff\xff\xff\x00a" + text(b"v")), "too_large"),
        (rdb(b"\x00\xc3\x02\x05\x00a" + text(b"v")), "unreadable"),
    ],
)
def test_what_cannot_be_read_says_why(write: Callable[[bytes], Path], data: bytes, reason: str) -> None:
    with pytest.raises(SourceError) as caught:
        RdbKeyspace(write(data))
    assert caught.value.reason == reason
    assert str(caught.value).startswith("dump.rdb ")


@pytest.mark.parametrize(
    ("value", "reason"),
    [(b"\xc3\x02\x80\xff\xff\xff\xff\x00a", "too_large"), (b"\xc3\x02\x05\x20\x00", "unreadable")],
)
def test_a_bad_compressed_value_is_refused_only_when_asked_for(
    write: Callable[[bytes], Path], value: bytes, reason: str
) -> None:
    keyspace = RdbKeyspace(write(rdb(STRING + b"\x00" + text(b"bad") + value)))
    assert list(keyspace.values(["k"])) == [("k", b"v")]
    with pytest.raises(SourceError) as caught:
        list(keyspace.values(["bad"]))
    assert caught.value.reason == reason


@pytest.fixture(scope="module")
def small_dump() -> bytes:
    packed = bytes([2, *b"abc", 5 << 5, 2])
    body = b"\xfa" + text(b"aux") + text(b"v") + b"\xfe\x00\xfb\x09\x00" + STRING
    body += b"\x00" + text(b"lzf") + b"\xc3" + bytes([len(packed), 10]) + packed
    body += b"\x00" + text(b"long") + b"\x40\x46" + b"x" * 70
    body += b"\xfc" + bytes(8) + b"\x00" + text(b"int") + b"\xc1\x01\x02"
    body += b"\x04" + text(b"hash") + b"\x01" + text(b"f") + text(b"v")
    body += b"\x12" + text(b"list") + b"\x01\x02" + text(b"lp")
    return rdb(body)


def test_a_file_that_ends_anywhere_is_truncated(small_dump: bytes, tmp_path: Path) -> None:
    path = tmp_path / "dump.rdb"
    for length in range(1, len(small_dump)):
        path.write_bytes(small_dump[:length])
        with pytest.raises(SourceError) as caught:
            read(path)
        assert caught.value.reason == "truncated", length


def test_a_flipped_bit_anywhere_is_noticed(small_dump: bytes, tmp_path: Path) -> None:
    path = tmp_path / "dump.rdb"
    for at in range(len(small_dump)):
        for bit in range(8):
            path.write_bytes(small_dump[:at] + bytes([small_dump[at] ^ 1 << bit]) + small_dump[at + 1 :])
            with pytest.raises(SourceError):
                read(path)


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=80), version=st.integers(1, 13))
def test_any_bytes_are_read_or_refused_and_nothing_else(
    body: bytes, version: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.rdb"
    path.write_bytes(rdb(body, version, checksum=0))
    with suppress(SourceError):
        read(path)

from __future__ import annotations

import gzip
import os
import re
import socket
from pathlib import Path

import pytest

from ingest.records import Item
from ingest.sources import source_for
from ingest.sources.local import LocalSource
from warehouse.errors import SourceError

RDB = b"REDIS0010" + b"0123456789" * 10_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "dumps"
    for name in ("b.jsonl", "a/tasks.csv", "a/deep/er/x.rdb", "runs.csv"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def keys(address: object) -> list[str]:
    return [item.key for item in LocalSource(str(address)).items()]


def reason_of(address: object) -> str:
    with pytest.raises(SourceError) as caught:
        LocalSource(str(address)).items()
    return caught.value.reason


def test_a_folder_lists_every_file_beneath_it_in_order(folder: Path) -> None:
    items = LocalSource(str(folder)).items()
    assert [item.key for item in items] == ["a/deep/er/x.rdb", "a/tasks.csv", "b.jsonl", "runs.csv"]
    assert [item.uri for item in items] == [str(folder / item.key) for item in items]
    assert {item.size_bytes for item in items} == {1}


def test_hidden_marked_unfinished_and_explaining_files_are_left_out(folder: Path) -> None:
    for name in (".hidden", "_SUCCESS", "b.jsonl.part", "README", "README.txt", "LICENSE", "series_b.md"):
        (folder / name).touch()
    for name in (".git", "_temporary"):
        (folder / name).mkdir()
        (folder / name / "x.jsonl").touch()
    assert keys(folder) == ["a/deep/er/x.rdb", "a/tasks.csv", "b.jsonl", "runs.csv"]


def test_nothing_outside_a_folder_is_reached_through_links(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.jsonl").write_text("{}")
    (folder / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    (folder / "loop").symlink_to(folder)
    (folder / "gone.jsonl").symlink_to(tmp_path / "gone")
    assert keys(folder) == ["a/deep/er/x.rdb", "a/tasks.csv", "b.jsonl", "runs.csv"]
    assert keys(folder / "*.jsonl") == ["b.jsonl"]
    assert keys(folder / "**/*.jsonl") == ["b.jsonl"]


def test_pipes_and_sockets_in_a_folder_are_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert keys(folder) == ["a/deep/er/x.rdb", "a/tasks.csv", "b.jsonl", "runs.csv"]


def test_a_pipe_or_a_device_as_the_address_is_unsupported(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert reason_of(tmp_path / "pipe") == "unsupported"
    assert reason_of("/dev/zero") == "unsupported"


def test_a_file_is_listed_whatever_its_name(folder: Path) -> None:
    (folder / "_odd.md").write_bytes(b"12")
    (item,) = LocalSource(str(folder / "_odd.md")).items()
    assert (item.uri, item.key, item.size_bytes) == (str(folder / "_odd.md"), "_odd.md", 2)


def test_a_link_as_the_address_is_followed_and_keeps_its_own_name(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(folder)
    source = LocalSource(str(tmp_path / "latest"))
    assert source.uri == str(tmp_path / "latest")
    assert len(source.items()) == 4


def test_addresses_are_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "a")
    assert LocalSource("../b.jsonl").uri == str(folder / "b.jsonl")
    assert LocalSource(".").uri == str(folder / "a")
    assert LocalSource("deep/").uri == str(folder / "a/deep")


def test_a_file_address_may_be_a_url(folder: Path) -> None:
    (folder / "with space.csv").touch()
    assert source_for(f"file://{folder}/with%20space.csv").uri == str(folder / "with space.csv")
    with pytest.raises(SourceError, match="another machine"):
        source_for("file://elsewhere/x")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["b.jsonl", "runs.csv"]),
        ("*.csv", ["runs.csv"]),
        ("[a-c].json?", ["b.jsonl"]),
        ("**/*.csv", ["a/tasks.csv", "runs.csv"]),
        ("*/*.csv", ["a/tasks.csv"]),
        ("a/**", ["deep/er/x.rdb", "tasks.csv"]),
        ("a/**/x.*", ["deep/er/x.rdb"]),
    ],
)
def test_a_glob_lists_what_it_matches(folder: Path, pattern: str, expected: list[str]) -> None:
    assert keys(folder / pattern) == expected


def test_a_file_with_glob_signs_in_its_name_is_itself(folder: Path) -> None:
    (folder / "tasks[1].csv").touch()
    assert keys(folder / "tasks[1].csv") == ["tasks[1].csv"]


@pytest.mark.parametrize("name", ["nowhere", "b.jsonl/beneath", "*.parquet", "nowhere/*.csv", "b.jsonl/*"])
def test_what_is_not_there_is_said_with_its_name(folder: Path, name: str) -> None:
    with pytest.raises(SourceError, match=re.escape(f"No such file or folder: {folder / name}. Hint:")) as caught:
        LocalSource(str(folder / name)).items()
    assert caught.value.reason == "no_such_path"


def test_an_empty_folder_holds_nothing_and_is_no_error(tmp_path: Path) -> None:
    assert keys(tmp_path) == []


def test_a_folder_that_may_not_be_read_is_unreadable_not_smaller(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_scandir = os.scandir

    def scandir(path: Path) -> object:
        if path == folder / "a":
            raise PermissionError(13, "Permission denied", str(path))
        return real_scandir(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(SourceError, match=f"Cannot read {folder / 'a'}: Permission denied") as caught:
        LocalSource(str(folder)).items()
    assert caught.value.reason == "unreadable"


def test_the_etag_changes_with_the_file(folder: Path) -> None:
    source = LocalSource(str(folder / "b.jsonl"))
    (before,) = source.items()
    assert source.items() == [before]
    os.utime(folder / "b.jsonl", ns=(1, 1))
    (after,) = source.items()
    assert after.etag == "1-1" != before.etag


def test_a_source_covers_exactly_what_it_would_list(folder: Path) -> None:
    whole, one, glob = (LocalSource(str(folder / part)) for part in ("", "b.jsonl", "*.csv"))
    uris = [
        f"{folder}/b.jsonl",
        f"{folder}/gone.csv",
        f"{folder}/a/gone.csv",
        f"{folder}2/gone.csv",
        f"{folder}/_x.csv",
    ]
    assert [whole.covers(uri) for uri in uris] == [True, True, True, False, False]
    assert [one.covers(uri) for uri in uris] == [True, False, False, False, False]
    assert [glob.covers(uri) for uri in uris] == [False, True, False, False, False]
    assert not LocalSource("/").covers("s3://bucket/key")


def test_a_name_that_is_not_utf8_is_shown_and_refused_alone(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"bad\xff.jsonl")).touch()
    (item,) = LocalSource(str(tmp_path)).items()
    assert item.key == r"bad\xff.jsonl"
    with pytest.raises(SourceError, match="not UTF-8"), LocalSource(str(tmp_path)).open(item, tmp_path):
        pass


def opened(path: Path, staging: Path) -> tuple[Path, bytes]:
    source = LocalSource(str(path))
    (item,) = source.items()
    with source.open(item, staging) as content:
        assert isinstance(content, Path)
        return content, content.read_bytes()


def test_a_plain_file_is_read_where_it_lies(folder: Path, tmp_path: Path) -> None:
    assert opened(folder / "b.jsonl", tmp_path / "staging") == (folder / "b.jsonl", b"x")


def test_a_gzipped_rdb_is_unpacked_into_staging_and_removed_afterwards(folder: Path, tmp_path: Path) -> None:
    (folder / "dump.bin").write_bytes(gzip.compress(RDB))
    staging = tmp_path / "staging"
    path, data = opened(folder / "dump.bin", staging)
    assert path.is_relative_to(staging)
    assert data == RDB
    assert list(staging.iterdir()) == []


def test_an_unpacked_file_is_removed_when_reading_it_fails(folder: Path, tmp_path: Path) -> None:
    (folder / "dump.rdb.gz").write_bytes(gzip.compress(RDB))
    source = LocalSource(str(folder / "dump.rdb.gz"))
    with pytest.raises(ZeroDivisionError), source.open(source.items()[0], tmp_path / "staging"):
        raise ZeroDivisionError
    assert list((tmp_path / "staging").iterdir()) == []


def test_other_gzip_files_are_left_to_their_reader(folder: Path, tmp_path: Path) -> None:
    packed = gzip.compress(b'{"run_id": 1}\n')
    (folder / "b.jsonl").write_bytes(packed)
    assert opened(folder / "b.jsonl", tmp_path) == (folder / "b.jsonl", packed)


@pytest.mark.parametrize("damage", ["cut", "flipped", "cut in the header"])
def test_a_damaged_gzip_file_is_truncated(folder: Path, tmp_path: Path, damage: str) -> None:
    packed = gzip.compress(RDB)
    flipped = packed[:60] + bytes([packed[60] ^ 0xFF]) + packed[61:]
    data = {"cut": packed[:-20], "flipped": flipped, "cut in the header": packed[:5]}[damage]
    (folder / "dump.rdb.gz").write_bytes(data)
    with pytest.raises(SourceError, match=r"dump\.rdb\.gz is a gzip file that breaks off") as caught:
        opened(folder / "dump.rdb.gz", tmp_path / "staging")
    assert caught.value.reason == "truncated"
    assert not (tmp_path / "staging").exists() or list((tmp_path / "staging").iterdir()) == []


def test_a_file_removed_after_it_was_listed_is_not_there(tmp_path: Path) -> None:
    gone = Item(str(tmp_path / "gone"), "gone", "1-1", 1)
    with pytest.raises(SourceError) as caught, LocalSource(str(tmp_path)).open(gone, tmp_path):
        pass
    assert caught.value.reason == "no_such_path"


def test_an_unknown_kind_of_address_lists_the_known_ones() -> None:
    with pytest.raises(SourceError, match=r"http:// addresses\. Hint: give a path.*s3://.*redis://") as caught:
        source_for("http://example.org/dump.rdb")
    assert caught.value.reason == "unsupported"


def test_a_local_ingest_does_not_import_the_clients_of_servers() -> None:
    import subprocess
    import sys

    program = "import sys; from ingest.sources import source_for; source_for('.').items(); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout.split()
    assert not {"boto3", "botocore", "redis", "numpy"} & set(modules)

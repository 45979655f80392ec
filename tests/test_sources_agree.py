"""The same dump through every source gives the same facts, once."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest

from ingest.formats.octoflows import run_of
from tests.dumps import answer, facts, flowdump, flowscope, write_lines
from tests.servers import OCTOFLOWS_DUMPS
from warehouse.home import Home


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded dump, unpacked."""
    packed = OCTOFLOWS_DUMPS / "series_b_taskdup_limit6.rdb.gz"
    if not packed.exists():
        pytest.skip(f"no recorded dumps in {OCTOFLOWS_DUMPS}")
    unpacked = tmp_path_factory.mktemp("rdb") / "dump.rdb"
    with gzip.open(packed) as source, unpacked.open("wb") as goal:
        shutil.copyfileobj(source, goal)
    return unpacked


@pytest.fixture(scope="module")
def expected(dump: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, dict[str, list[Any]]]:
    """The facts of the plain RDB file, and the home they are in."""
    home = Home(tmp_path_factory.mktemp("expected"))
    assert flowscope(home.root, "ingest", dump).returncode == 0
    found = facts(home)
    assert len(found["runs"]) == 48
    return home, found


def bucket_of(endpoint: str, objects: dict[str, bytes]) -> tuple[str, Any]:
    client = boto3.client("s3", endpoint_url=endpoint)
    name = f"dumps-{uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    for key, body in objects.items():
        client.put_object(Bucket=name, Key=key, Body=body)
    return name, client


def test_a_gzipped_file_found_by_a_glob_gives_the_same_facts(
    expected: Any, dump: Path, home: Home, tmp_path: Path
) -> None:
    (tmp_path / "odd name").write_bytes(gzip.compress(dump.read_bytes(), 1))
    assert flowscope(home.root, "ingest", f"{tmp_path}/odd*").returncode == 0
    assert facts(home) == expected[1]
    assert "nothing new (1 objects unchanged)" in flowscope(home.root, "ingest", tmp_path / "odd name").stderr


def test_an_object_store_gives_the_same_facts(expected: Any, dump: Path, home: Home, s3_server: str) -> None:
    bucket, _ = bucket_of(s3_server, {"series/b/dump.rdb.gz": gzip.compress(dump.read_bytes(), 1)})
    done = flowscope(home.root, "ingest", f"s3://{bucket}/series", "--endpoint-url", s3_server)
    assert done.returncode == 0, done.stderr
    assert facts(home) == expected[1]
    assert "nothing new" in flowscope(home.root, "ingest", f"s3://{bucket}/series", "--endpoint-url", s3_server).stderr


def test_its_own_export_gives_the_same_facts(expected: Any, home: Home, tmp_path: Path) -> None:
    assert flowscope(expected[0].root, "export", tmp_path / "out").returncode == 0
    assert flowscope(home.root, "ingest", tmp_path / "out").returncode == 0
    assert facts(home) == expected[1]


def test_a_live_redis_gives_the_same_facts_and_only_a_changed_run_is_read_again(
    expected: Any, dump: Path, home: Home, redis_server: Any
) -> None:
    server = redis_server(dump=dump)
    assert flowscope(home.root, "ingest", server.url).returncode == 0
    assert facts(home) == expected[1]
    assert "nothing new (48 objects unchanged)" in flowscope(home.root, "ingest", server.url).stderr

    with server.client() as client:
        keys = sorted(key for key in client.scan_iter() if run_of(key.decode()) and b"-tasks+" in key)
        run = run_of(keys[0].decode())
        tasks_of_run = [key for key in keys if run_of(key.decode()) == run]
        client.delete(tasks_of_run[0])
    done = flowscope(home.root, "ingest", server.url)
    assert "1 changed, 47 unchanged" in done.stderr
    now = facts(home)
    other = [row for row in expected[1]["tasks"] if row[0] != run]
    assert [row for row in now["tasks"] if row[0] != run] == other
    assert len(now["tasks"]) == len(expected[1]["tasks"]) - 1

    with server.client() as client:
        client.delete(*[key for key in client.scan_iter() if run_of(key.decode("utf-8", "replace")) == run])
    done = flowscope(home.root, "ingest", server.url)
    assert "47 unchanged, 1 missing" in done.stderr
    assert facts(home) == now
    assert answer(home, "select key from files where status = 'missing'") == [(run,)]

    assert flowscope(home.root, "forget", f"{server.url}#{run}").returncode == 0
    assert len(facts(home)["runs"]) == 47


def test_a_redis_and_its_own_rdb_are_the_same_runs_once(
    expected: Any, dump: Path, home: Home, redis_server: Any
) -> None:
    assert flowscope(home.root, "ingest", redis_server(dump=dump).url, dump).returncode == 0
    assert facts(home) == expected[1]
    assert answer(home, "select status, count(*) from files group by all order by 1") == [
        ("duplicate", 48),
        ("loaded", 1),
    ]


# hand-made dumps, so that this is tested also without the recorded ones


def test_every_way_to_a_flowdump_gives_the_same_facts(tmp_path: Path, s3_server: str) -> None:
    dump = flowdump(tmp_path / "dump", ["r1", "r2"], tasks=3)
    files = {f"x/{path.name}": path.read_bytes() for path in dump.iterdir()}
    bucket, _ = bucket_of(s3_server, files)
    ways = [[dump], [f"{dump}/*"], sorted(dump.iterdir()), sorted(dump.iterdir(), reverse=True),
            [f"s3://{bucket}/x/", "--endpoint-url", s3_server], [f"file://{dump}"]]  # fmt: skip
    found = []
    for number, way in enumerate(ways):
        home = Home(tmp_path / f"home{number}")
        done = flowscope(home.root, "ingest", *way)
        assert done.returncode == 0, done.stderr
        found.append(facts(home))
    assert found == [found[0]] * len(ways)
    assert len(found[0]["tasks"]) == 6


def test_ingest_twice_equals_once_and_a_changed_file_replaces_only_its_own_rows(home: Home, tmp_path: Path) -> None:
    dump = flowdump(tmp_path / "dump", ["r1"])
    write_lines(dump / "tasks-2.jsonl", [{"run_id": "r1", "task_id": "extra"}])
    flowscope(home.root, "ingest", dump)
    once = facts(home)
    flowscope(home.root, "ingest", dump)
    assert facts(home) == once
    before = dict(answer(home, "select key, finished_at from files"))

    write_lines(dump / "tasks-2.jsonl", [{"run_id": "r1", "task_id": "other", "function": "longer"}])
    done = flowscope(home.root, "ingest", dump)
    assert "1 changed, 2 unchanged" in done.stderr
    assert answer(home, "select task_id from tasks order by 1") == [("other",), ("t0",), ("t1",)]
    after = dict(answer(home, "select key, finished_at from files"))
    assert {key for key in after if after[key] != before[key]} == {"tasks-2.jsonl"}

    (dump / "tasks-2.jsonl").unlink()
    done = flowscope(home.root, "ingest", dump)
    assert done.returncode == 0
    assert "2 unchanged, 1 missing" in done.stderr
    assert answer(home, "select status, rows from files where key = 'tasks-2.jsonl'") == [("missing", 1)]
    assert len(facts(home)["tasks"]) == 3
    assert "nothing new" in flowscope(home.root, "ingest", dump).stderr


def test_an_object_changed_or_deleted_in_a_bucket_is_changed_or_missing(home: Home, s3_server: str) -> None:
    bucket, client = bucket_of(
        s3_server, {"x/runs.jsonl": b'{"run_id": "r1"}\n', "x/runs-2.jsonl": b'{"run_id": "r2"}\n'}
    )
    arguments = ["ingest", f"s3://{bucket}/x", "--endpoint-url", s3_server]
    flowscope(home.root, *arguments)
    client.put_object(Bucket=bucket, Key="x/runs.jsonl", Body=b'{"run_id": "r3"}\n')
    client.delete_object(Bucket=bucket, Key="x/runs-2.jsonl")
    done = flowscope(home.root, *arguments)
    assert "1 changed, 1 missing" in done.stderr
    assert answer(home, "select run_id from runs order by 1") == [("r2",), ("r3",)]

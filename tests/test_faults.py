"""Two writers, kills, interrupts, a full disk, servers that fail: nothing published is ever lost."""

from __future__ import annotations

import os
import random
import re
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.dumps import FLOWSCOPE, ROOT, answer, facts, flowdump, flowscope, task_row, write_lines
from warehouse.connection import open_current
from warehouse.home import Home
from warehouse.writer import Writer


def started(home: Home, *arguments: object, program: list[str] | None = None, **options: Any) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    command = [*(program or FLOWSCOPE), *map(str, arguments), *([] if program else ["--home", str(home.root)])]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def big_dump(folder: Path, runs: int = 20, tasks: int = 400) -> Path:
    """A flowdump of several files, whose reading takes a moment."""
    for number in range(runs):
        rows = [task_row(f"r{number}", f"t{n}", function="f" * 40) for n in range(tasks)]
        write_lines(folder / f"tasks-{number:02d}.jsonl", rows)
    write_lines(folder / "runs.jsonl", [{"run_id": f"r{number}"} for number in range(runs)])
    return folder


# two writers


def test_a_second_writer_exits_1_and_names_the_holder_and_the_lock_dies_with_the_process(
    home: Home, tmp_path: Path
) -> None:
    hold = "import sys, time; from pathlib import Path; from warehouse.home import Home; from warehouse.writer import Writer\nwith Writer(Home(Path(sys.argv[1]))): print('held', flush=True); time.sleep(60)"
    holder = started(home, home.root, program=[FLOWSCOPE[0], "-c", hold])
    try:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        done = flowscope(home.root, "ingest", flowdump(tmp_path / "dump"))
        assert (done.returncode, done.stdout) == (1, "")
        assert re.search(rf"being written by process {holder.pid} on \S+\. Hint: try again", done.stderr)
    finally:
        holder.kill()
        holder.communicate()
    assert flowscope(home.root, "ingest", tmp_path / "dump").returncode == 0


# kills and interrupts


@contextmanager
def watched(home: Home, allowed: set[int]) -> Iterator[list[str]]:
    """Query `current` all the while; yields what was ever wrong with it."""
    wrong: list[str] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            try:
                with open_current(home) as reader:
                    (row,) = reader.rows("select (select count(*) from runs), (select count(*) from run_summary)")
            except Exception as error:  # noqa: BLE001 - whatever a reader may meet
                wrong.append(repr(error))
            else:
                if row[0] != row[1] or row[0] not in allowed:
                    wrong.append(repr(row))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield wrong
    finally:
        over.set()
        watcher.join()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_ingest_ended_at_any_moment_leaves_a_generation_readable_and_a_rerun_completes(
    home: Home, tmp_path: Path, how: signal.Signals
) -> None:
    moments = random.Random(7)
    first = flowdump(tmp_path / "first", ["first"])
    flowscope(home.root, "ingest", first)
    dump = big_dump(tmp_path / "dump")
    with watched(home, {1, *range(2, 22)}) as wrong:
        for _ in range(6):
            process = started(home, "ingest", dump)
            time.sleep(moments.uniform(0.5, 3.0))
            process.send_signal(how)
            _, errors = process.communicate(timeout=60)
            if how == signal.SIGINT and "Interrupted." in errors:
                assert process.returncode == 1
                assert "Traceback" not in errors
            assert "fault of flowscope" not in errors
        done = flowscope(home.root, "ingest", dump)
    assert done.returncode == 0, done.stderr
    assert wrong == []
    undisturbed = Home(tmp_path / "undisturbed")
    flowscope(undisturbed.root, "ingest", first, dump)
    assert facts(home) == facts(undisturbed)
    assert not list(home.generations.glob("*.part*"))
    assert list(home.staging.iterdir()) == []


def test_ctrl_c_inside_a_long_query_is_one_sentence(home: Home, tmp_path: Path) -> None:
    flowscope(home.root, "ingest", flowdump(tmp_path / "dump"))
    endless = "select count(*) from range(1000000000) a, range(1000) b where hash(a.range + b.range) % 7 = 1"
    process = started(home, "sql", endless)
    try:
        time.sleep(4)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, output) == (1, "")
    assert errors.strip().startswith("Interrupted.")


# a full disk


@pytest.mark.parametrize("limit_mb", [1, 2, 3])
def test_a_full_disk_is_one_sentence_and_the_last_generation_stays(home: Home, tmp_path: Path, limit_mb: int) -> None:
    flowscope(home.root, "ingest", flowdump(tmp_path / "first", ["first"]))
    rows = [task_row(f"r{n}", "t", error_message=os.urandom(300).hex()) for n in range(10_000)]
    write_lines(tmp_path / "dump" / "tasks.jsonl", rows)

    def limit() -> None:
        size = limit_mb * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    process = started(home, "ingest", tmp_path / "dump", preexec_fn=limit)
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, output) == (1, ""), errors
    assert "Traceback" not in errors
    assert "fault of flowscope" not in errors
    assert answer(home, "select run_id from runs") == [("first",)]
    done = flowscope(home.root, "ingest", tmp_path / "dump")
    assert done.returncode == 0, done.stderr
    assert answer(home, "select count(*) from tasks") == [(10_002,)]


# places that cannot be written or read


def test_a_home_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = flowscope(tmp_path / "file" / "home", "ingest", flowdump(tmp_path / "dump"))
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr.strip()
        == f"Error: {tmp_path / 'file' / 'home'} cannot be written: Not a directory. Hint: choose another --home."
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads and writes everything")
def test_a_file_that_may_not_be_read_is_one_sentence(home: Home, tmp_path: Path) -> None:
    dump = flowdump(tmp_path / "dump")
    (dump / "tasks.parquet").chmod(0)
    done = flowscope(home.root, "ingest", dump)
    assert done.returncode == 0
    assert answer(home, "select reason from rejects") == [("unreadable",)]


def test_files_still_being_written_are_left_alone(home: Home, tmp_path: Path) -> None:
    dump = flowdump(tmp_path / "dump")
    (dump / "tasks-2.parquet.part").write_bytes(b"half")
    home.staging.mkdir(parents=True)
    (home.staging / "leftover.part").touch()
    assert flowscope(home.root, "ingest", dump).returncode == 0
    assert answer(home, "select count(*) from files") == [(2,)]
    assert (dump / "tasks-2.parquet.part").exists()
    assert list(home.staging.iterdir()) == []


def test_a_damaged_file_does_not_keep_the_others_out(home: Home, tmp_path: Path) -> None:
    dump = flowdump(tmp_path / "dump", [f"r{n}" for n in range(500)])
    content = bytearray((dump / "tasks.parquet").read_bytes())
    for number, at in enumerate(range(8, len(content) - 8, len(content) // 12)):
        (dump / f"tasks-{number}.parquet").write_bytes(
            bytes(content[:at]) + bytes([content[at] ^ 0x55]) + bytes(content[at + 1 :])
        )
    done = flowscope(home.root, "ingest", dump)
    assert done.returncode == 0, done.stderr
    assert answer(home, "select count(*) from runs") == [(500,)]
    assert answer(home, "select status from files where key = 'runs.jsonl'") == [("loaded",)]


# servers


class Refusing(BaseHTTPRequestHandler):
    """Answers every request with 503."""

    def do_GET(self) -> None:
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_an_object_store_that_answers_503_is_one_sentence_and_a_row_in_rejects(
    home: Home, aws_credentials: None
) -> None:
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        endpoint = f"http://127.0.0.1:{server.server_port}"
        done = flowscope(home.root, "ingest", "s3://bucket/prefix", "--endpoint-url", endpoint)
    finally:
        server.shutdown()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("Failed: ") == 1
    assert answer(home, "select reason, status from rejects join files using (file_id)") == [("unavailable", "failed")]


@pytest.mark.parametrize("password", ["", ":s3cret-wrong@", "user:s3cret-wrong@"])
def test_a_wrong_password_is_one_sentence_a_row_in_rejects_and_kept_nowhere(
    home: Home, redis_server: Any, password: str
) -> None:
    server = redis_server(password="s3cret-right")
    done = flowscope(home.root, "ingest", f"redis://{password}127.0.0.1:{server.port}/0")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("Failed: ") == 1
    assert answer(home, "select reason from rejects") == [("refused",)]
    assert "s3cret" not in done.stderr + str(answer(home, "from files")) + str(answer(home, "from rejects"))
    for path in home.root.rglob("*"):
        assert not path.is_file() or b"s3cret" not in path.read_bytes()


def test_a_redis_that_is_back_clears_its_failure(home: Home, redis_server: Any) -> None:
    server = redis_server()
    address = f"redis://127.0.0.1:{server.port}/0"
    server.stop()
    assert flowscope(home.root, "ingest", address).returncode == 1
    back = redis_server()
    assert flowscope(home.root, "ingest", back.url).returncode == 0
    with Writer(home) as writer:
        assert len(writer.known_files()) == 1

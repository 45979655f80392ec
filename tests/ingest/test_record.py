"""One command, recorded: its streams and exit code are its own, and its row says what it took."""

from __future__ import annotations

import os
import pty
import shlex
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest.commands import take_in
from ingest.labels import Labels
from tests.dumps import FLOWSCOPE, answer
from tests.ingest.recorder import PYTHON, Recorder
from warehouse.home import Home


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path)


# streams


def test_a_command_in_a_pipeline_is_recorded_with_what_came_in_and_went_out(recorder: Recorder) -> None:
    before = datetime.now(UTC)
    done = recorder.run("--", "sort", "-r", text=b"a\nb\n")
    elapsed_ms = (datetime.now(UTC) - before).total_seconds() * 1000
    assert (done.returncode, done.stdout) == (0, "b\na\n")
    assert "Hint: flowscope ingest recorded" in done.stderr
    task = recorder.task()
    assert {name: task[name] for name in ("function", "kind", "status", "exit_code", "attempt", "error_type", "error_message")} == {
        "function": "sort", "kind": "executable", "status": "succeeded", "exit_code": 0, "attempt": 1, "error_type": None, "error_message": None,
    }  # fmt: skip
    assert (task["literal_bytes"], task["output_bytes"]) == (len("-r"), 4)
    assert 0 < task["execution_ms"] < elapsed_ms
    assert before <= datetime.fromisoformat(task["started_at"]) <= datetime.now(UTC)
    assert [(row["object_id"], row["input_bytes"], row["upstream_task_id"]) for row in recorder.rows("task_inputs")] == [("stdin", 4, None)]  # fmt: skip


def test_more_than_a_pipe_holds_passes_through_unchanged(recorder: Recorder) -> None:
    text = b"0123456789abcde\n" * 300_000
    assert recorder.run("--", "cat", text=text).stdout.encode() == text
    assert recorder.task()["output_bytes"] == len(text)
    assert [row["input_bytes"] for row in recorder.rows("task_inputs")] == [len(text)]


def test_a_file_as_standard_input_counts_from_where_it_was_read_to(recorder: Recorder) -> None:
    path = recorder.folder / "text"
    path.write_bytes(b"one\ntwo\nthree\n")
    with path.open("rb") as file:
        os.lseek(file.fileno(), 4, os.SEEK_SET)
        assert recorder.run("--", "head", "-n", "1", stdin=file).stdout == "two\n"
    assert [row["input_bytes"] for row in recorder.rows("task_inputs")] == [10]


def test_without_input_there_is_no_row_of_it(recorder: Recorder) -> None:
    recorder.run("--", "true")
    assert recorder.rows("task_inputs") == []


def test_a_command_that_ends_does_not_wait_for_input_that_never_comes(recorder: Recorder) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as silent:
        assert recorder.run("--", "echo", "done", stdin=silent).stdout == "done\n"
    os.close(writing)


def test_a_reader_that_goes_away_ends_the_command_as_in_any_pipeline(recorder: Recorder) -> None:
    process = recorder.start("--", "yes")
    assert process.stdout is not None
    assert process.stdout.read(2) == b"y\n"
    process.stdout.close()
    assert process.wait() == 128 + signal.SIGPIPE
    assert (recorder.task()["status"], recorder.task()["error_type"]) == ("killed", "SIGPIPE")


def test_output_that_cannot_be_passed_on_is_a_fault(recorder: Recorder) -> None:
    done = recorder.run(
        "--", "sh", "-c", f"exec {' '.join(shlex.quote(word) for word in FLOWSCOPE)} record -- echo lost > /dev/full"
    )
    assert done.returncode == 1
    assert "What the command printed could not be passed on: No space left on device." in done.stderr


def test_files_that_it_is_said_to_read_and_write_are_counted(recorder: Recorder) -> None:
    (recorder.folder / "a").write_bytes(b"12345")
    done = recorder.run(
        "--input", "a", "--output", "b", "--function", "copy", "--workflow", "copies", "--", "cp", "a", "b"
    )
    assert done.returncode == 0, done.stderr
    assert (recorder.task()["task_id"], recorder.task()["function"], recorder.task()["output_bytes"]) == (
        "copy",
        "copy",
        5,
    )
    assert [(row["object_id"], row["input_bytes"]) for row in recorder.rows("task_inputs")] == [("a", 5)]
    assert recorder.rows("runs")[0]["workflow"] == "copies"


# ends


def test_the_exit_code_is_the_commands_and_its_complaint_is_kept(recorder: Recorder) -> None:
    done = recorder.run("--", "sh", "-c", "echo out; echo cannot >&2; exit 3")
    assert (done.returncode, done.stdout) == (3, "out\n")
    assert done.stderr.startswith("cannot\n")
    task = recorder.task()
    assert [task[name] for name in ("status", "exit_code", "error_type", "error_message")] == ["failed", 3, "exit code 3", "cannot"]  # fmt: skip


def test_only_the_end_of_a_long_complaint_is_kept(recorder: Recorder) -> None:
    done = recorder.run("--", PYTHON, "-c", "import sys; sys.stderr.write('x' * 100_000 + 'the end'); sys.exit(1)")
    assert "x" * 100_000 + "the end" in done.stderr
    assert recorder.task()["error_message"] == "x" * 1_993 + "the end"


def test_a_signal_that_ends_it_is_named(recorder: Recorder) -> None:
    assert recorder.run("--", "sh", "-c", "kill -9 $$").returncode == 137
    task = recorder.task()
    assert (task["status"], task["exit_code"], task["error_type"]) == ("killed", 137, "SIGKILL")


@pytest.mark.parametrize("program", ["no-such-program", "./text"])
def test_a_command_that_cannot_be_started_has_failed(recorder: Recorder, program: str) -> None:
    (recorder.folder / "text").write_text("not executable")
    done = recorder.run("--", program)
    code, kind = (127, "FileNotFoundError") if program == "no-such-program" else (126, "PermissionError")
    assert done.returncode == code
    assert f"The command cannot be started: {program}: " in done.stderr
    assert "Traceback" not in done.stderr
    task = recorder.task()
    assert (task["status"], task["exit_code"], task["error_type"]) == ("failed", code, kind)


def test_an_output_that_was_not_written_is_a_failure(recorder: Recorder) -> None:
    done = recorder.run("--output", "nothing", "--", "true")
    assert done.returncode == 0
    assert "The command has failed: nothing not written. Hint: " in done.stderr
    task = recorder.task()
    assert [task[name] for name in ("status", "exit_code", "error_type", "error_message")] == ["failed", 0, "MissingOutput", "nothing not written"]  # fmt: skip


def test_a_signal_to_the_recorder_reaches_the_command_and_both_are_recorded(recorder: Recorder) -> None:
    process = recorder.start("--", "sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done")
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.terminate()
    assert process.wait() == 7
    assert (recorder.task()["status"], recorder.task()["exit_code"]) == ("failed", 7)


def test_an_interrupt_without_a_terminal_is_passed_on(recorder: Recorder) -> None:
    process = recorder.start("--", PYTHON, "-c", "import signal, time; signal.signal(2, signal.SIG_DFL); print('ready', flush=True); time.sleep(1000)")  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert recorder.task()["error_type"] == "SIGINT"


def test_ctrl_c_in_a_terminal_reaches_the_command_once(recorder: Recorder) -> None:
    script = (
        "import signal, sys\nseen = []\nsignal.signal(2, lambda *_: (seen.append(1), print('seen', flush=True)))\n"
        "print('ready', flush=True)\nsys.stdin.readline()\nprint('times', len(seen), flush=True)"
    )
    child, terminal = pty.fork()
    if not child:
        os.chdir(recorder.folder)
        command = recorder._command(("--", PYTHON, "-c", script))
        os.execv(command[0], command)
    shown = b""

    def wait_for(what: bytes) -> None:
        nonlocal shown
        while what not in shown:
            shown += os.read(terminal, 1000)

    wait_for(b"ready")
    os.write(terminal, b"\x03")
    wait_for(b"seen")
    os.write(terminal, b"\n")
    wait_for(b"times 1")
    wait_for(b"flowscope ingest")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(terminal)
    assert recorder.task()["status"] == "succeeded"


# what it took


def test_peak_memory_is_that_of_the_largest_process_and_unknown_below_the_recorders_own(recorder: Recorder) -> None:
    """200 MB are allocated, by a child of the command; an interpreter takes some 10 MB besides."""
    allocate = f"{PYTHON} -c 'x = b\"x\" * (200 << 20)'; true"
    recorder.run("--", "sh", "-c", allocate)
    assert 200 <= recorder.task()["max_memory_mb"] < 240
    other = Recorder(recorder.folder / "other")
    other.run("--", "true")
    assert other.task()["max_memory_mb"] is None


def test_peak_memory_is_known_where_a_larger_program_starts_the_recorder(recorder: Recorder) -> None:
    """One of 300 MB does: Linux hands its peak on to what it starts, so a task of 200 MB looks smaller than the recorder."""
    task = [PYTHON, "-c", "x = b'x' * (200 << 20)"]
    start = f"import subprocess\nx = b'x' * (300 << 20)\nsubprocess.run({[*FLOWSCOPE, 'record', '--', *task]!r}, check=True)"
    subprocess.run([PYTHON, "-c", start], cwd=recorder.folder, check=True, capture_output=True)
    assert 200 <= recorder.task()["max_memory_mb"] < 240


def test_cpu_time_is_that_of_all_its_processes(recorder: Recorder) -> None:
    """Two interpreters each use 0.2 s of processor before they end."""
    burn = f"{PYTHON} -c 'import time\nwhile time.process_time() < 0.2: pass'"
    recorder.run("--", "sh", "-c", f"{burn}; {burn}; true")
    assert recorder.rows("runs")[0]["cpu_seconds"] >= 0.4
    assert recorder.task()["extra"]["cpu_seconds"] == recorder.rows("runs")[0]["cpu_seconds"]


# usage


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ([], 2, "Missing argument"),
        (["--", ""], 2, "The command is empty."),
        (["--jobs", "2", "--", "true"], 2, "--jobs is an option of a workflow"),
        (["--input", "x", "flow.toml"], 2, "--input is an option of one command"),
        (
            ["--into", "file", "--", "true"],
            1,
            "file cannot be made: File exists. Hint: choose another folder with --into.",
        ),
        (["--input", "nowhere", "--", "true"], 1, "No such file: nowhere. Hint: --input names what the command reads."),
        (["nowhere.toml"], 1, "nowhere.toml cannot be read: No such file or directory. Hint: check the path."),
    ],
)
def test_what_cannot_be_recorded_is_said_before_anything_runs(
    recorder: Recorder, arguments: list[str], code: int, sentence: str
) -> None:
    (recorder.folder / "file").touch()
    done = recorder.run(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in done.stderr
    assert recorder.names() == []


def test_options_after_the_dashes_are_the_commands(recorder: Recorder) -> None:
    assert (
        recorder.run("--", "echo", "--debug", "--help", "--", "{other.stdout}").stdout
        == "--debug --help -- {other.stdout}\n"
    )


# into a warehouse


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recorder, Home]:
    """A folder with three commands, one of them failed and one with a name that no file can have."""
    recorder = Recorder(tmp_path_factory.mktemp("commands"))
    recorder.run("--workflow", "one", "--", "sort", text=b"b\na\n")
    recorder.run("--workflow", "two", "--", "sh", "-c", "printf 'no \\0 \\377' >&2; exit 4")
    recorder.run("--workflow", "../a/b 'c' \udcff", "--input", "/etc/hostname", "--", "true")
    home = Home(recorder.folder / "home")
    take_in(home, (str(recorder.into),), Labels())
    return recorder, home


def test_what_was_recorded_is_taken_in_without_a_reject(recorded: tuple[Recorder, Home]) -> None:
    recorder, home = recorded
    assert all(name.endswith(".jsonl") and not name.startswith(".") for name in recorder.names())
    assert answer(home, "select count(*) from rejects") == [(0,)]
    assert answer(home, "select count(*) from files where cardinality(unknown_fields) > 0") == [(0,)]
    assert answer(home, "select workflow from runs order by 1") == [("../a/b 'c' \N{REPLACEMENT CHARACTER}",), ("one",), ("two",)]  # fmt: skip


def test_the_makespan_of_one_command_is_its_time(recorded: tuple[Recorder, Home]) -> None:
    recorder, home = recorded
    ((run, makespan, complete, expected, inputs, outputs, failed, environment),) = answer(
        home,
        "select run_id, makespan_ms, is_complete, tasks_expected, input_bytes, output_bytes, failed_tasks, environment"
        " from run_summary where workflow = 'one'",
    )
    (task,) = [row for row in recorder.rows("tasks") if row["run_id"] == run]
    (row,) = [row for row in recorder.rows("runs") if row["run_id"] == run]
    began = datetime.fromisoformat(task["started_at"]) - datetime.fromisoformat(row["submitted_at"])
    assert makespan == pytest.approx(1000 * began.total_seconds() + task["execution_ms"])
    assert (complete, expected, inputs, outputs, failed, environment) == (True, 1, 4, 4, 0, os.uname().nodename)


def test_a_failed_command_is_a_failure_with_its_exit_code(recorded: tuple[Recorder, Home]) -> None:
    assert answer(
        recorded[1], "select kind, task_id, exit_code, error_type, error_message, tasks_taken_down from failures"
    ) == [("task_failed", "sh", 4, "exit code 4", "no \N{REPLACEMENT CHARACTER} \N{REPLACEMENT CHARACTER}", 0)]
    assert answer(recorded[1], "select makespan_ms, failed_tasks from run_summary where workflow = 'two'") == [
        (None, 1)
    ]

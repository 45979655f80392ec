"""A small DAG of commands, recorded: as parallel as it allows, one row per task that ran, whole files or none."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from ingest.commands import take_in
from ingest.labels import Labels
from ingest.recording import flowdump
from ingest.recording.flowdump import Recorded, Recording
from ingest.recording.processes import Ending
from ingest.recording.workflow import WrongWorkflow, read_workflow
from tests.dumps import ROOT, answer
from tests.ingest.recorder import Recorder, is_running, until
from warehouse.errors import FlowscopeError
from warehouse.home import Home

DIAMOND = """
name = "diamond"
[tasks.a]
command = ["printf", "one\\ntwo\\n"]
[tasks.b]
command = ["tr", "a-z", "A-Z"]
stdin = "{a.stdout}"
[tasks.c]
command = ["sh", "-c", "cat \\"$0\\" - > made", "{a.stdout}"]
stdin = "given"
outputs = ["made"]
[tasks.d]
command = ["cat", "{b.stdout}", "made"]
inputs = ["made"]
"""
"""a prints 8 bytes; b prints the same 8, c adds the 3 of `given` and writes 11 to `made`; d prints all 19."""

BLOCKED = """
name = "blocked"
[tasks.broken]
command = ["sh", "-c", "echo because >&2; exit 3"]
[tasks.waits]
command = ["cat", "{broken.stdout}"]
[tasks.waits_too]
command = ["cat", "{waits.stdout}"]
[tasks.alone]
command = ["echo", "alone"]
[tasks.alone_too]
command = ["cat", "{alone.stdout}"]
[tasks.last]
command = ["cat", "{waits_too.stdout}", "{alone_too.stdout}"]
[tasks.missing]
command = ["./not-there"]
after = ["alone"]
"""


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recorder, Home]:
    """A diamond that was recorded twice, and a workflow of which a task failed and another could not be started."""
    recorder = Recorder(tmp_path_factory.mktemp("workflows"))
    (recorder.folder / "given").write_text("xyz")
    twice = recorder.run(recorder.workflow(DIAMOND), "--repeat", "2")
    assert (twice.returncode, twice.stdout) == (0, "ONE\nTWO\none\ntwo\nxyz" * 2), twice.stderr
    blocked = recorder.run(recorder.workflow(BLOCKED))
    assert blocked.returncode == 1
    assert blocked.stdout == ""
    assert "Task broken failed (exit code 3): because\n" in blocked.stderr
    assert "Task missing failed (FileNotFoundError): ./not-there: No such file or directory\n" in blocked.stderr
    assert "2 of 7 tasks succeeded" in blocked.stderr
    home = Home(recorder.folder / "home")
    take_in(home, (str(recorder.into),), Labels())
    return recorder, home


# what is recorded


def test_a_workflow_is_taken_in_without_a_reject_and_leaves_nothing_else(recorded: tuple[Recorder, Home]) -> None:
    recorder, home = recorded
    assert answer(home, "select count(*) from rejects") == [(0,)]
    assert len(recorder.names()) == 3 * len(["tasks", "task_inputs", "edges", "runs"])
    assert list(home.staging.iterdir()) == []


def test_every_input_names_the_task_that_made_it_and_its_bytes(recorded: tuple[Recorder, Home]) -> None:
    assert set(
        answer(
            recorded[1],
            "select task_id, object_id, upstream_task_id, input_bytes, download_ms"
            " from task_inputs join runs using (run_id) where workflow = 'diamond'",
        )
    ) == {
        ("b", "a.stdout", "a", 8, None),
        ("c", "a.stdout", "a", 8, None),
        ("c", "given", None, 3, None),
        ("d", "b.stdout", "b", 8, None),
        ("d", "made", "c", 11, None),
    }
    assert set(answer(recorded[1], "select task_id, output_bytes from task_times join runs using (run_id) where workflow = 'diamond'")) == {("a", 8), ("b", 8), ("c", 11), ("d", 19)}  # fmt: skip
    assert set(answer(recorded[1], "select upstream_task_id, task_id from edges join runs using (run_id) where workflow = 'diamond'")) == {("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")}  # fmt: skip


def test_a_task_begins_when_what_it_waits_for_has_ended_and_the_makespan_ends_with_the_sink(
    recorded: tuple[Recorder, Home],
) -> None:
    recorder, home = recorded
    runs = [row for row in recorder.rows("runs") if row["workflow"] == "diamond"]
    assert len({row["run_id"] for row in runs}) == 2
    assert len({row["structure_hash"] for row in runs}) == 1
    for run in runs:
        submitted = datetime.fromisoformat(run["submitted_at"])
        began, ended = {}, {}
        for task in recorder.rows("tasks"):
            if task["run_id"] == run["run_id"]:
                offset = (datetime.fromisoformat(task["started_at"]) - submitted).total_seconds() * 1000
                began[task["task_id"]], ended[task["task_id"]] = offset, offset + task["execution_ms"]
        assert began["a"] >= 0
        assert ended["a"] <= min(began["b"], began["c"])
        assert max(ended["b"], ended["c"]) <= began["d"]
        ((makespan, complete, seen),) = answer(
            home, f"select makespan_ms, is_complete, tasks_seen from run_summary where run_id = '{run['run_id']}'"
        )
        assert (makespan, complete, seen) == (pytest.approx(ended["d"]), True, 4)


def test_what_a_failed_task_blocks_is_never_run_and_the_rest_goes_on(recorded: tuple[Recorder, Home]) -> None:
    """broken and missing ran and failed, alone and alone_too succeeded; waits, waits_too and last wait for broken."""
    home = recorded[1]
    assert answer(
        home, "select task_id, status, exit_code, error_type from tasks join runs using (run_id) where workflow = 'blocked' order by 1"
    ) == [
        ("alone", "succeeded", 0, None),
        ("alone_too", "succeeded", 0, None),
        ("broken", "failed", 3, "exit code 3"),
        ("missing", "failed", 127, "FileNotFoundError"),
    ]  # fmt: skip
    assert answer(home, "select makespan_ms, is_complete, tasks_expected, tasks_seen, failed_tasks from run_summary where workflow = 'blocked'") == [(None, False, 7, 4, 2)]  # fmt: skip
    assert answer(
        home, "select kind, task_id, cause_task_id, tasks_taken_down, error_message from failures order by kind, task_id"
    ) == [
        ("run_incomplete", None, None, 3, None),
        ("run_without_sink", "last", "broken", 3, None),
        ("task_failed", "broken", None, 3, "because"),
        ("task_failed", "missing", None, 0, "./not-there: No such file or directory"),
        ("task_not_run", "last", "broken", 0, None),
        ("task_not_run", "waits", "broken", 0, None),
        ("task_not_run", "waits_too", "broken", 0, None),
    ]  # fmt: skip


def test_of_several_ends_the_last_to_end_is_the_sink_unless_one_did_not_succeed(recorder: Recorder) -> None:
    workflow = read_workflow(Path(recorder.workflow("[tasks.x]\ncommand = ['true']\n[tasks.y]\ncommand = ['true']\n")))
    for statuses, sink in [
        (("succeeded", "succeeded"), "x"),
        (("succeeded", "failed"), "y"),
        (("failed", "succeeded"), "x"),
    ]:
        recording = Recording(workflow, submitted=0.0)
        for name, end, status in zip(("y", "x"), (1.0, 2.0), reversed(statuses), strict=True):
            recording.tasks.append(Recorded(workflow.tasks[name], Ending(0.0, end, 0, status), (), None))
        assert recording.sink() == sink
    assert Recording(workflow).sink() == "x"


def test_structures_that_differ_have_different_hashes(recorder: Recorder) -> None:
    for text in (DIAMOND, DIAMOND.replace('inputs = ["made"]', ""), DIAMOND.replace('"tr",', '"cat",')):
        (recorder.folder / "given").write_text("xyz")
        recorder.run(recorder.workflow(text))
    assert len({row["structure_hash"] for row in recorder.rows("runs")}) == 3


def test_the_example_counts_words(recorder: Recorder) -> None:
    done = recorder.run(str(ROOT / "examples" / "words.toml"))
    assert done.returncode == 0, done.stderr
    texts = [(ROOT / "docs" / name).read_text() for name in ("findings.md", "warehouse.md")]
    words = Counter(re.findall(r"[A-Za-z]+", " ".join(texts)))
    counts = [int(line.split()[0]) for line in done.stdout.splitlines()]
    assert counts == [count for _, count in words.most_common(10)]
    assert {row["function"] for row in recorder.rows("tasks")} == {"tr", "sort", "uniq", "most_frequent"}


# how many at once


def test_tasks_that_wait_for_nothing_of_each_other_run_side_by_side(recorder: Recorder) -> None:
    """Either end of a FIFO opens only when the other does: one after the other they would never end."""
    os.mkfifo(recorder.folder / "meeting")
    done = recorder.run(
        recorder.workflow(
            "[tasks.says]\ncommand = ['sh', '-c', 'echo hello > meeting']\n[tasks.hears]\ncommand = ['cat', 'meeting']\n"
        ),
        "--jobs", "2",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr


def test_no_more_run_at_once_than_jobs(recorder: Recorder) -> None:
    """Each task makes a folder that must not be there and takes it away again."""
    alone = "command = ['sh', '-c', 'mkdir alone && sleep 0.02 && rmdir alone']\n"
    done = recorder.run(recorder.workflow("".join(f"[tasks.t{n}]\n{alone}" for n in range(4))), "--jobs", "1")
    assert done.returncode == 0, done.stderr


# ends that come too soon

SLOW = """
[tasks.quick]
command = ["true"]
[tasks.slow]
command = ["sh", "-c", "{trap}sleep 1000 & echo $! > child; echo $$ > self; while :; do wait; sleep 0.01; done"]
after = ["quick"]
[tasks.never]
command = ["cat", "{{slow.stdout}}"]
"""


def test_ctrl_c_ends_every_process_and_keeps_what_was_recorded(recorder: Recorder) -> None:
    process = recorder.start(recorder.workflow(SLOW.format(trap="")))
    slow, child = (int(text) for text in _ids(recorder))
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert b"1 of 3 tasks succeeded" in stderr
    assert b"Traceback" not in stderr
    until(lambda: not is_running(slow) and not is_running(child))
    rows = {row["task_id"]: (row["status"], row["exit_code"], row["error_type"]) for row in recorder.rows("tasks")}
    assert rows == {"quick": ("succeeded", 0, None), "slow": ("killed", 143, "SIGTERM")}
    assert [(row["expected_tasks"], row["sink_task_id"]) for row in recorder.rows("runs")] == [(3, "never")]
    assert list((recorder.folder / "home" / "staging").iterdir()) == []


def test_a_process_that_will_not_end_is_killed(recorder: Recorder) -> None:
    process = recorder.start(recorder.workflow(SLOW.format(trap="trap '' TERM; ")))
    slow, child = (int(text) for text in _ids(recorder))
    process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM
    until(lambda: not is_running(slow) and not is_running(child))
    assert {row["task_id"]: row["error_type"] for row in recorder.rows("tasks")} == {"quick": None, "slow": "SIGKILL"}


def test_a_recorder_that_is_killed_leaves_no_half_a_recording(recorder: Recorder) -> None:
    process = recorder.start(recorder.workflow(SLOW.format(trap="")))
    slow, _ = (int(text) for text in _ids(recorder))
    process.kill()
    process.wait()
    os.killpg(slow, signal.SIGKILL)
    assert recorder.names() == []


def test_a_full_disk_leaves_whole_files_and_says_so(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third file cannot be brought to the disk."""
    workflow = read_workflow(Path(recorder.workflow(DIAMOND.replace('stdin = "given"', ""))))
    recording = Recording(workflow)
    for task in workflow.tasks.values():
        recording.tasks.append(Recorded(task, Ending(0.0, 1.0, 0, "succeeded"), (flowdump.Input("x", None, 1),), None))
    calls = []

    def fails_at_the_third(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(flowdump.os, "fsync", fails_at_the_third)
    recorder.into.mkdir()
    with pytest.raises(FlowscopeError, match="cannot hold the recording: No space left on device"):
        flowdump.write(recorder.into, recording)
    assert [name.partition("-")[0] for name in recorder.names()] == ["task_inputs", "tasks"]
    assert all(len([json.loads(line) for line in path.open()]) == 4 for path in recorder.into.iterdir())


def _ids(recorder: Recorder) -> list[str]:
    path = recorder.folder / "self"
    own = until(lambda: path.exists() and path.read_text().strip())
    return [own, (recorder.folder / "child").read_text()]


# wrong workflows


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it has no tasks. Hint: add [tasks.NAME]"),
        ("[tasks.a", "is not TOML: "),
        ("[tasks.a]\ncommand = ['true']\n[tasks.a]\ncommand = ['true']", "Hint: write each task once"),
        ("[tasks.a]\nstdin = 'x'", "tasks.a.command is missing. Hint: command = [PROGRAM, ARGUMENT, ...]"),
        ("[tasks.a]\ncommand = 'sort x'", "tasks.a.command is not a list of texts. Hint: write command = ["),
        ("[tasks.a]\ncommand = ['true', 1]", "tasks.a.command is not a list of texts"),
        ("[tasks.a]\ncommand = ['no-such-program']", "tasks.a.command: no program 'no-such-program' on PATH. Hint: "),
        ("[tasks.a]\ncommand = ['true']\nretries = 3", "tasks.a has an unknown key 'retries'. Hint: the keys are command, "),
        ("jobs = 3\n[tasks.a]\ncommand = ['true']", "the file has an unknown key 'jobs'. Hint: the keys are name, tasks."),
        ("tasks = {a = 3}", "tasks.a is not a table. Hint: write [tasks.a]"),
        ("[tasks.'a b']\ncommand = ['true']", "'tasks.a b' is no name of a task. Hint: use up to 100 letters"),
        ("[tasks.a]\ncommand = ['true']\nafter = ['b']", "tasks.a waits for 'b', which is no task. Hint: the tasks are a."),
        ("[tasks.a]\ncommand = ['cat', '{b.stdout}']", "tasks.a waits for 'b', which is no task."),
        ("[tasks.a]\ncommand = ['cat']\nstdin = 'x{a.stdout}'", "tasks.a reads 'x{a.stdout}', which is no path."),
        ("[tasks.a]\ncommand = ['cat']\nstdin = 'nowhere'", "tasks.a reads 'nowhere', which is not in "),
        ("[tasks.a]\ncommand = ['cat', '{a.stdout}']", "tasks wait for each other in a circle: a -> a."),
        (
            "[tasks.a]\ncommand = ['true']\nafter = ['b']\n[tasks.b]\ncommand = ['true']\ninputs = ['x']\n"
            "[tasks.c]\ncommand = ['cat', '{a.stdout}']\noutputs = ['x']",
            "tasks wait for each other in a circle: ",
        ),
        (
            "[tasks.a]\ncommand = ['true']\noutputs = ['x']\n[tasks.b]\ncommand = ['true']\noutputs = ['./x']",
            "tasks.b writes 'x', and so does tasks.a. Hint: give each its own file.",
        ),
        ("name = ''\n[tasks.a]\ncommand = ['true']", "name is not a text. Hint: write name ="),
    ],
)  # fmt: skip
def test_a_wrong_workflow_is_refused_with_its_key_and_what_to_do(recorder: Recorder, text: str, sentence: str) -> None:
    path = Path(recorder.workflow(text))
    with pytest.raises(WrongWorkflow) as refused:
        read_workflow(path)
    assert str(refused.value).startswith(str(path))
    assert sentence in str(refused.value)


def test_a_wrong_workflow_runs_nothing_and_exits_1(recorder: Recorder) -> None:
    done = recorder.run(recorder.workflow("[tasks.a]\ncommand = ['touch', 'ran']\nafter = ['b']"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert not (recorder.folder / "ran").exists()
    assert recorder.names() == []

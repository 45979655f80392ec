"""Run the tasks of a workflow as early as they may, or one command in a pipeline, and record what they took."""

from __future__ import annotations

import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from graphlib import TopologicalSorter
from pathlib import Path
from types import FrameType

from ingest.recording.flowdump import Input, Recorded, Recording
from ingest.recording.processes import TAIL_BYTES, Ending, Processes, Pump, not_started
from ingest.recording.workflow import Task, Workflow

GRACE_SECONDS = 5
"""What is told to end and does not within this time is killed."""
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """The signal that asked for the end, if one did."""

    def __init__(self) -> None:
        self.number: int | None = None

    @property
    def exit_code(self) -> int | None:
        """The exit code of what a signal ended: 128 + n."""
        return None if self.number is None else 128 + self.number


@contextmanager
def stopping(tell: Callable[[int, bool], None]) -> Iterator[Stop]:
    """Within, SIGINT, SIGTERM and SIGHUP do not end this process: `tell` gets the signal and whether one came before."""
    stop = Stop()

    def handle(number: int, _frame: FrameType | None) -> None:
        again, stop.number = stop.number is not None, number
        tell(number, again)

    before = {number: signal.signal(number, handle) for number in _STOPPING}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_all(processes: Processes) -> Callable[[int, bool], None]:
    """Return what to do when a signal asks for the end: end all processes; kill them at the second time of asking."""

    def tell(_number: int, again: bool) -> None:
        processes.signal(signal.SIGKILL if again else signal.SIGTERM)
        if not again:
            later = threading.Timer(GRACE_SECONDS, processes.signal, [signal.SIGKILL])
            later.daemon = True
            later.start()

    return tell


def forward(processes: Processes) -> Callable[[int, bool], None]:
    """Return what to do when a signal asks for the end of one command: pass it on, unless the terminal has done so."""

    def tell(number: int, _again: bool) -> None:
        if number != signal.SIGINT or not _in_foreground():
            processes.signal(number)

    return tell


def play(recording: Recording, jobs: int, work: Path, processes: Processes, told: Callable[[Recorded], None]) -> None:
    """Run a workflow's tasks, at most `jobs` at a time, and add each to the recording at its end.

    A task begins when all that it waits for have succeeded. What a failed one blocks is never run; the rest goes on. `work` is an
    empty folder for what tasks print; `told` hears of each task.
    """
    workflow = recording.workflow
    order = TopologicalSorter(workflow.upstream)
    order.prepare()
    running: dict[Future[Recorded | None], str] = {}
    with ThreadPoolExecutor(jobs) as threads:
        while True:
            for name in order.get_ready():
                running[threads.submit(_perform, workflow, workflow.tasks[name], work, processes)] = name
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name, recorded = running.pop(future), future.result()
                if recorded is None:
                    continue
                recording.tasks.append(recorded)
                told(recorded)
                if recorded.ending.status == "succeeded":
                    order.done(name)


def play_command(recording: Recording, task: Task, processes: Processes) -> list[OSError]:
    """Run one command on this process's own streams and add it to the recording. Returns what streams could not do.

    Standard input is the command's own where it is a file or a terminal, so that nothing is read that the command does not read; a
    pipe is passed on, to count its bytes.
    """
    workflow = recording.workflow
    files = _inputs(workflow, task, workflow.folder)
    feed, stdin, stdin_bytes = None, None, None
    with suppress(OSError):  # none at all
        status = os.fstat(0)
        if stat.S_ISREG(status.st_mode):
            stdin_bytes = max(0, status.st_size - os.lseek(0, 0, os.SEEK_CUR))
        elif stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode):
            stdin, handed = os.pipe()
            feed = Pump(0, handed, handed)
    printed, stdout = os.pipe()
    complained, stderr = os.pipe()
    output, complaints = Pump(printed, 1, printed), Pump(complained, 2, complained)
    try:
        for pump in filter(None, (feed, output, complaints)):
            pump.start()
        ending = processes.run(task.command, workflow.folder, stdin, stdout, stderr)
    finally:
        for descriptor in (stdin, stdout, stderr):
            if descriptor is not None:
                os.close(descriptor)
        output.join()
        complaints.join()
    if ending is None:
        return []
    if feed:
        stdin_bytes = feed.bytes
    read = () if stdin_bytes is None else (Input("stdin", None, stdin_bytes),)
    ending = _with_tail(ending, complaints.tail)
    inputs = {found.object_id: found for found in (*files, *read)}
    recording.tasks.append(_recorded(workflow, task, ending, tuple(inputs.values()), output.bytes))
    return [pump.error for pump in (output, complaints) if pump.error]


def _perform(workflow: Workflow, task: Task, work: Path, processes: Processes) -> Recorded | None:
    inputs = _inputs(workflow, task, work)
    stdout, stderr = work / task.printed, work / f"{task.task_id}.stderr"
    started = time.perf_counter()
    try:
        with ExitStack() as files:
            stdin = files.enter_context(
                Path(os.devnull if task.stdin is None else _stdin(workflow, task, work)).open("rb")
            )
            printed = files.enter_context(stdout.open("wb"))
            complained = files.enter_context(stderr.open("wb"))
            command = [workflow.filled(argument, work) for argument in task.command]
            ending = processes.run(command, workflow.folder, stdin.fileno(), printed.fileno(), complained.fileno())
        if ending is None:
            return None
        ending = _with_tail(ending, _tail(stderr))
    except OSError as error:
        ending = not_started(error, started, task.command[0])
    return _recorded(workflow, task, ending, inputs, size_of(stdout))


def _stdin(workflow: Workflow, task: Task, work: Path) -> Path:
    return workflow.folder / workflow.filled(task.stdin or "", work)


def _recorded(
    workflow: Workflow, task: Task, ending: Ending, inputs: tuple[Input, ...], printed_bytes: int | None
) -> Recorded:
    written: dict[str, int | None] = {}
    if ending.status == "succeeded":
        missing = [name for name in task.outputs if not (workflow.folder / name).exists()]
        written = {name: size_of(workflow.folder / name) for name in task.outputs}
        if missing:
            message = f"{', '.join(missing)} not written"
            ending = replace(ending, status="failed", error_type="MissingOutput", error_message=message)
    known = [size for size in (printed_bytes, *written.values()) if size is not None]
    return Recorded(task, ending, inputs, sum(known) if known else None)


def _inputs(workflow: Workflow, task: Task, work: Path) -> tuple[Input, ...]:
    found = {name: Input(name, maker, size_of(path)) for name, maker, path in workflow.reads(task, work)}
    return tuple(found.values())


def size_of(path: Path) -> int | None:
    """Return a file's size in bytes, None where there is no file (a folder, a pipe, nothing)."""
    with suppress(OSError):
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            return status.st_size
    return None


def _with_tail(ending: Ending, tail: bytes) -> Ending:
    if ending.status == "succeeded" or ending.error_message is not None:
        return ending
    text = tail.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}").strip()
    return replace(ending, error_message=text or None)


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return file.read()


def _in_foreground() -> bool:
    """Whether Ctrl-C in the terminal reaches this process, and with it the command it runs."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)

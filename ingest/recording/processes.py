"""Processes: start one, wait for it, and learn what it took; pass its streams on and count their bytes."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 18
TAIL_BYTES = 2_000
"""How much of the end of a failed task's standard error is kept."""
_UNITS_PER_MB = 2**20 if sys.platform == "darwin" else 2**10


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended and what it took. Instants are seconds of `time.perf_counter`.

    `exit_code` is 128 + n where signal n ended it, as in shells. `max_memory_mb` is that of the largest process among it and those
    it waited for, `cpu_seconds` their sum; None where unknown.
    """

    started: float
    ended: float
    exit_code: int
    status: str
    error_type: str | None = None
    error_message: str | None = None
    max_memory_mb: float | None = None
    cpu_seconds: float | None = None


class Processes:
    """The processes that run now, so that signals reach them all and none is started after the first of them.

    With `grouped` each leads a process group of its own, and signals go to the group: also to what it has started.
    """

    def __init__(self, *, grouped: bool) -> None:
        self._grouped = grouped
        self._running: set[int] = set()
        self._sent: int | None = None
        self._lock = threading.RLock()  # a signal may arrive in the thread that is starting a process

    def run(self, command: Sequence[str], folder: Path, stdin: int | None, stdout: int, stderr: int) -> Ending | None:
        """Run a command in a folder and wait for its end; None where a signal came before it began.

        Streams are file descriptors; stdin None is this process's own. A command that cannot be started has failed, with exit
        code 127 (not found) or 126, as in shells.
        """
        with self._lock:
            if self._sent is not None:
                return None
            started = time.perf_counter()
            try:
                process = subprocess.Popen(
                    command,
                    cwd=folder,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    process_group=0 if self._grouped else None,
                )
            except OSError as error:
                return not_started(error, started, command[0])
            self._running.add(process.pid)
            if self._sent is not None:
                self._signal(process.pid, self._sent)
        _, status, usage = os.wait4(process.pid, 0)
        ended = time.perf_counter()
        with self._lock:
            self._running.discard(process.pid)
        process.returncode = os.waitstatus_to_exitcode(status)
        return _ending(started, ended, process.returncode, usage)

    def signal(self, number: int) -> None:
        """Send a signal to every process that runs, and start no more."""
        with self._lock:
            self._sent = number
            for process in self._running:
                self._signal(process, number)

    def _signal(self, process: int, number: int) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            if self._grouped:
                os.killpg(process, number)
            else:
                os.kill(process, number)


def not_started(error: OSError, started: float, program: str) -> Ending:
    """Return the ending of a command that could not be started."""
    message = f"{error.filename or program}: {error.strerror}"
    exit_code = 127 if isinstance(error, FileNotFoundError) else 126
    return Ending(started, time.perf_counter(), exit_code, "failed", type(error).__name__, message)


def _ending(started: float, ended: float, code: int, usage: resource.struct_rusage) -> Ending:
    # Before it runs its program, a new process is a copy of this one and counts as large: less than that says nothing.
    is_known = usage.ru_maxrss > _own_peak()
    return Ending(
        started,
        ended,
        code if code >= 0 else 128 - code,
        "succeeded" if code == 0 else "failed" if code > 0 else "killed",
        None if code == 0 else f"exit code {code}" if code > 0 else _name_of(-code),
        max_memory_mb=usage.ru_maxrss / _UNITS_PER_MB if is_known else None,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
    )


def _own_peak() -> int:
    """Return the peak resident memory of this program, in units of `ru_maxrss`, which on Linux also has that of whoever started it."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Pump(threading.Thread):
    """Passes bytes on from one file descriptor to another and counts them. Closes the one that is its own, `owned`.

    A reader that has gone is no error: what writes to the pump then learns it as it would without.
    """

    def __init__(self, source: int, target: int, owned: int) -> None:
        super().__init__(daemon=True)  # it may wait for ever for input that nobody needs any more
        self.bytes = 0
        self.tail = b""
        self.error: OSError | None = None
        self._source, self._target, self._owned = source, target, owned

    def run(self) -> None:
        """Pass on until either side ends."""
        try:
            while chunk := os.read(self._source, _CHUNK):
                self.tail = (self.tail + chunk)[-TAIL_BYTES:]
                rest = memoryview(chunk)
                while rest:
                    written = os.write(self._target, rest)
                    self.bytes += written
                    rest = rest[written:]
        except BrokenPipeError:
            pass
        except OSError as error:
            self.error = error
        finally:
            os.close(self._owned)

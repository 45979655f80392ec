"""Commands that the app starts in processes of their own: training and evaluating. One at a time, for they take the machine.

The app itself only ever reads a generation. A command that is stopped, or dies, leaves what was published before.
"""

from __future__ import annotations

import atexit
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import streamlit as st

from app.commands import PROJECT
from warehouse.errors import FlowscopeError
from warehouse.home import Home

KEPT_LINES = 400
_STOP_SECONDS = 5


class Busy(FlowscopeError):
    """A command is running already."""


@dataclass
class Job:
    """A command that was started: what it says on stderr, how long it runs, and how it ended."""

    name: str
    process: subprocess.Popen[str]
    begun: float = field(default_factory=monotonic)
    ended: float | None = None
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    is_stopped: bool = False

    @property
    def code(self) -> int | None:
        """The exit code, None while it runs."""
        return self.process.poll() if self.ended is not None else None

    @property
    def seconds(self) -> float:
        """How long it has been running, or ran."""
        return (self.ended or monotonic()) - self.begun

    def stop(self) -> None:
        """Ask it to end, as Ctrl-C would."""
        self.is_stopped = True
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """Make sure that it has ended."""
        self.stop()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def _listen(self) -> None:
        """Keep the lines it says until it ends."""
        assert self.process.stdout is not None  # noqa: S101 - it was asked for
        for line in self.process.stdout:
            if line.strip():
                self.lines.append(line.rstrip())
        self.process.wait()
        self.ended = monotonic()


class Desk:
    """Where commands of one home are started: one at a time. Shared by all who look at the app."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self.job: Job | None = None

    def start(self, name: str, *options: str) -> Job:
        """Start `flowscope NAME` on this home. Raises `Busy` while another command runs."""
        with self._lock:
            if self.job and self.job.code is None:
                raise Busy(f"flowscope {self.job.name} is still running. Hint: wait until it has finished, or stop it.")
            self.job = _started(name, command(self._home, name, *options))
            return self.job


@st.cache_resource(show_spinner=False)
def desk(root: str) -> Desk:
    """Return the desk of the home at `root`, the same for everybody."""
    return Desk(Home(Path(root)))


def command(home: Home, name: str, *options: str) -> Sequence[str]:
    """Return the command line that runs `flowscope NAME` with this Python."""
    return [sys.executable, "-c", "from flowscope import main; main()", name, "--home", str(home.root), *options]


def _started(name: str, arguments: Sequence[str]) -> Job:
    process = subprocess.Popen(
        arguments, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", bufsize=1,
    )  # fmt: skip
    job = Job(name, process)
    threading.Thread(target=job._listen, daemon=True).start()
    with suppress(RuntimeError):  # the app is ending
        atexit.register(job.end)
    return job

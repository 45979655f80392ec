"""The recorder as a process of its own (it starts in a tenth of a second), for tests of signals and streams."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.dumps import FLOWSCOPE, Done

PYTHON = FLOWSCOPE[0]


class Recorder:
    """Runs `flowscope record` in a folder of its own, into `recorded` in it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.into = folder / "recorded"

    def run(self, *arguments: str, stdin: Any = None, text: bytes | None = None) -> Done:
        """Record and wait: `stdin` is an open file, `text` what a pipe brings."""
        given = {"input": text} if text is not None else {"stdin": stdin or subprocess.DEVNULL}
        done = subprocess.run(self._command(arguments), **self._place, **given, capture_output=True)  # type: ignore[call-overload]
        return Done(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Begin to record, apart from any terminal."""
        return subprocess.Popen(
            self._command(arguments),
            **self._place,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )  # type: ignore[call-overload,no-any-return]

    def workflow(self, text: str, name: str = "flow.toml") -> str:
        """Write a workflow and return its path."""
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Every row of a table in the flowdump, in order of the files' names."""
        return [json.loads(line) for path in sorted(self.into.glob(f"{table}-*.jsonl")) for line in path.open()]

    def task(self) -> dict[str, Any]:
        """The one task recorded."""
        (row,) = self.rows("tasks")
        return row

    def names(self) -> list[str]:
        """All names in the flowdump, hidden ones too."""
        return sorted(path.name for path in self.into.iterdir()) if self.into.exists() else []

    @property
    def _place(self) -> dict[str, Any]:
        return {"cwd": self.folder, "env": {**os.environ, "FLOWSCOPE_HOME": str(self.folder / "home")}}

    @staticmethod
    def _command(arguments: tuple[str, ...]) -> list[str]:
        return [*FLOWSCOPE, "record", *arguments]


def until(holds: Callable[[], Any]) -> Any:
    """Wait until something holds, and return it."""
    deadline = time.monotonic() + 60
    while not (found := holds()):
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.01)
    return found


def is_running(process: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False

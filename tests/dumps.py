"""Hand-made flowdumps, and what a warehouse holds, for tests."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq

import flowscope as program
from warehouse.batches import Batch, Rows
from warehouse.connection import open_current
from warehouse.home import Home
from warehouse.tables import FACTS
from warehouse.target import Tally
from warehouse.writer import FileRecord, Writer

ROOT = Path(__file__).parents[1]
FLOWSCOPE = [sys.executable, "-c", "import flowscope; flowscope.main()"]


def run_row(run: str, **columns: Any) -> dict[str, Any]:
    """A row of `runs`."""
    return {"run_id": run, "engine": "hand", "workflow": "w", "submitted_at": "2026-01-01T00:00:00Z", **columns}


def task_row(run: str, task: str, **columns: Any) -> dict[str, Any]:
    """A row of `tasks`."""
    return {"run_id": run, "task_id": task, "attempt": 1, "execution_ms": 10.0, **columns}


def write_lines(path: Path, rows: Iterable[Mapping[str, Any] | str | bytes]) -> Path:
    """Write JSON lines, gzipped where the name ends so; text and bytes are written as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        row if isinstance(row, bytes) else (row if isinstance(row, str) else json.dumps(row)).encode() for row in rows
    ]
    content = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_parquet(path: Path, columns: Mapping[str, Any]) -> Path:
    """Write columns (lists or Arrow arrays) as a Parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), path)
    return path


def flowdump(folder: Path, runs: Iterable[str] = ("r1",), *, tasks: int = 2) -> Path:
    """Write a folder of `runs.jsonl` and `tasks.parquet`, with so many tasks a run."""
    runs = list(runs)
    write_lines(folder / "runs.jsonl", [run_row(run) for run in runs])
    rows = [task_row(run, f"t{number}") for run in runs for number in range(tasks)]
    write_parquet(folder / "tasks.parquet", {name: [row[name] for row in rows] for name in task_row("", "")})
    return folder


def record(file_id: str, *, dump: str | None = None, etag: str = "1") -> FileRecord:
    """What the manifest says of a file."""
    return FileRecord(file_id, "here", file_id, f"/here/{file_id}", dump or file_id, etag, 1, None, "flowdump", 1)


def put(writer: Writer, file_id: str, *batches: Batch, dump: str | None = None) -> Tally:
    """Replace a file's rows."""
    return writer.replace(record(file_id, dump=dump), lambda: batches)


def rows_of_runs(*runs: str, tasks: int = 0, label: str | None = None) -> list[Batch]:
    """Batches of runs with so many tasks each; `label` becomes their workflow, and tells dumps apart."""
    return [
        Rows("runs", [{"run_id": run, "workflow": label} for run in runs]),
        Rows("tasks", [{"run_id": run, "task_id": f"t{n}", "function": label} for run in runs for n in range(tasks)]),
    ]


def facts(home: Home, *, without: Iterable[str] = ("file_id",)) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every fact table of the current generation, sorted."""
    found = {}
    with open_current(home) as reader:
        for name, table in FACTS.items():
            columns = ", ".join(f'"{column}"' for column in table.types if column not in without)
            found[name] = sorted(reader.rows(f"select {columns} from {name}"), key=repr)
    return found


def answer(home: Home, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a query on the current generation."""
    with open_current(home) as reader:
        return reader.rows(sql)


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code and all it wrote."""

    returncode: int
    stdout: str
    stderr: str


def flowscope(
    home: Path | None,
    *arguments: object,
    stdin: str | bytes = b"",
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Done:
    """Run the command line as a process would, within this one: a process of its own takes seconds to import."""
    output, errors = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    given = io.TextIOWrapper(io.BytesIO(stdin if isinstance(stdin, bytes) else stdin.encode()), encoding="utf-8", errors="surrogateescape")  # fmt: skip
    argv = ["flowscope", *map(str, arguments), *(["--home", str(home)] if home else [])]
    code = 0
    with (
        patch.object(sys, "argv", argv),
        patch.object(sys, "stdin", given),
        patch.dict(os.environ, environment or {}),
        chdir(cwd or ROOT),
        redirect_stdout(output),
        redirect_stderr(errors),
    ):
        try:
            program.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        except BaseException:  # noqa: BLE001 - what the interpreter would print
            code = 1
            traceback.print_exc()
    texts = [file.buffer.getvalue().decode("utf-8", "replace") for file in (output, errors)]  # type: ignore[attr-defined]
    return Done(code, *texts)

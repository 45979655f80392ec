"""Logs of hand-made runs, and the records they become. Instants are written as ms since `T0`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ingest.commands import take_in
from ingest.labels import Labels
from tests.dumps import write_lines
from warehouse.home import Home

T0 = datetime(2026, 1, 1)
Rows = dict[str, list[dict[str, Any]]]


def instant(ms: float) -> str:
    return f"{(T0 + timedelta(milliseconds=ms)).isoformat()}Z"


def home_of(folder: Path, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> Home:
    """A home that took in those rows, by table."""
    for table, of_table in rows.items():
        write_lines(folder / "dump" / f"{table}.jsonl", of_table)
    home = Home(folder / "home")
    take_in(home, (str(folder / "dump"),), Labels())
    return home


def together(*logs: Rows) -> Rows:
    """The rows of several logs."""
    return {
        table: [row for log in logs for row in log.get(table, [])] for table in {name for log in logs for name in log}
    }


def run_log(
    run: str,
    submitted_ms: float,
    edges: Sequence[tuple[str, str]],
    tasks: Mapping[str, Mapping[str, Any]],
    workers: Mapping[str, Mapping[str, Any]],
    *,
    planned: Mapping[str, str] | None = None,
    **columns: Any,
) -> Rows:
    """A run; `start_ms`, `requested_ms` and `ready_ms` count from its submission, `inputs` are (bytes, download ms) by upstream task."""
    rows: Rows = {
        "runs": [
            {
                "run_id": run, "engine": "hand", "workflow": "w", "environment": "here", "planner": "p", "sla": "p50",
                "structure_hash": "s", "submitted_at": instant(submitted_ms), "sink_task_id": "d", "expected_tasks": 4, **columns,
            }
        ],
        "edges": [{"run_id": run, "upstream_task_id": up, "task_id": task} for up, task in edges],
        "invocations": [
            {
                "invocation_id": f"{run}/{worker}", "run_id": run, "worker_id": worker, "memory_mb": 1024,
                "requested_at": instant(submitted_ms + said["requested_ms"]), "ready_at": instant(submitted_ms + said["ready_ms"]),
                **{name: value for name, value in said.items() if not name.endswith("y_ms") and name != "requested_ms"},
            }
            for worker, said in workers.items()
        ],
        "tasks": [],
        "task_inputs": [],
        "planned_tasks": [
            {"run_id": run, "task_id": task, "worker_id": worker, "memory_mb": 2048} for task, worker in (planned or {}).items()
        ],
    }  # fmt: skip
    for task, said in tasks.items():
        told = {name: value for name, value in said.items() if name not in ("start_ms", "inputs")}
        rows["tasks"].append({
            "run_id": run, "task_id": task, "attempt": 1, "function": task, "memory_mb": 1024, "status": "succeeded",
            "started_at": instant(submitted_ms + said["start_ms"]), "counters_ms": 2.0, "invocation_ms": 0.0, **told,
        })  # fmt: skip
        for up, (size, took) in said.get("inputs", {}).items():
            rows["task_inputs"].append({
                "run_id": run, "task_id": task, "object_id": up or "file", "upstream_task_id": up, "input_bytes": size,
                "download_ms": took,
            })  # fmt: skip
    return rows


EDGES = (("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"))
PLAN = {"a": "w0", "b": "w0", "c": "w1", "d": "w0"}


def diamond(run: str = "diamond", submitted_ms: float = 0.0, **more: Any) -> Rows:
    """a, then b beside it and c on another worker, then d. Each gap has one value, worked out here.

    w0 is asked for at 5 (submit) and ready at 105; set up for 10, and for 15 more as d awaits c: a begins at 130, executes
    for 50, uploads for 5, tells for 2 (187) and launches for 8 (195). b begins 3 later (local), until 238. w1 is asked for at
    187 + 4 + 1 (request), ready at 292, set up for 10: c begins at 302, downloads for 20 and loses 4, executes for 60, uploads for
    6 and tells for 2 (394). d begins 7 later (told), downloads for 30 and loses 4, executes for 70 and uploads for 5 (510); the
    client is told for 6: 516.
    """
    return run_log(
        run,
        submitted_ms,
        EDGES,
        {
            "a": {"worker_id": "w0", "start_ms": 130, "input_wait_ms": 0.0, "execution_ms": 50.0, "upload_ms": 5.0,
                  "invocation_ms": 8.0, "output_bytes": 1000, "literal_bytes": 10},
            "b": {"worker_id": "w0", "start_ms": 198, "input_wait_ms": 0.0, "execution_ms": 40.0, "output_bytes": 300,
                  "inputs": {"a": (1000, None)}},
            "c": {"worker_id": "w1", "start_ms": 302, "input_wait_ms": 24.0, "execution_ms": 60.0, "upload_ms": 6.0,
                  "output_bytes": 10_000, "inputs": {"a": (1000, 20.0)}},
            "d": {"worker_id": "w0", "start_ms": 401, "input_wait_ms": 34.0, "execution_ms": 70.0, "upload_ms": 5.0,
                  "invocation_ms": 6.0, "counters_ms": 0.0, "output_bytes": 1, "inputs": {"b": (300, None), "c": (10_000, 30.0)}},
        },
        {
            "w0": {"requested_ms": 5, "ready_ms": 105, "initial_task_ids": ["a"], "reported_state": "cold"},
            "w1": {"requested_ms": 192, "ready_ms": 292, "initial_task_ids": ["c"], "reported_state": "cold"},
        },
        **{"planned": PLAN, **more},
    )  # fmt: skip

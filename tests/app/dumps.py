"""Small warehouses for the pages: hand-made flowdumps, taken in the way a person's would be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ingest.pipeline import ingest
from warehouse.home import Home

ROOT = Path(__file__).parent.parent.parent
SAMPLES = ROOT / "ingest" / "samples"
HOSTILE = "<img src=x onerror=alert(1)> **bold** $\\frac{1}{2}$ :red[x] [l](http://e.x) `tick` \u202eabc <script>alert(1)</script>"
LONG = "L" * 10_000


class Silent:
    """A progress bar for nobody."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_arguments: None


def write(folder: Path, tables: Mapping[str, Iterable[Mapping[str, Any]]], name: str = "x") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for table, rows in tables.items():
        (folder / f"{table}-{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def take_in(root: Path, *sources: Path) -> Home:
    home = Home(root)
    ingest(home, [str(source) for source in sources], Silent())
    return home


def one_run(
    number: int, workflow: str = "wf", planner: str = "PlannerA", function: str = "f", planned: bool = True
) -> dict[str, list[dict[str, Any]]]:
    """A run of two tasks on one worker: makespan 1.0 + 0.1 * number s, predicted 2.0 s."""
    run, minute = f"run-{workflow[:20]}-{number}", f"2026-01-01T10:{number:02d}"
    first, last = {"run_id": run, "task_id": f"{function}+a"}, {"run_id": run, "task_id": f"{function}+b"}
    tables: dict[str, list[dict[str, Any]]] = {
        "runs": [
            {"run_id": run, "engine": "hand", "workflow": workflow, "structure_hash": "s", "planner": planner, "environment": "here",
             "submitted_at": f"{minute}:00", "sink_task_id": last["task_id"], "expected_tasks": 2}
        ],
        "tasks": [
            {**first, "attempt": 1, "function": function, "worker_id": "w", "memory_mb": 1024, "started_at": f"{minute}:00.400",
             "input_wait_ms": 0, "execution_ms": 200, "upload_ms": 10, "output_bytes": 100, "status": "succeeded"},
            {**last, "attempt": 1, "function": function, "worker_id": "w", "memory_mb": 1024, "started_at": f"{minute}:00.700",
             "input_wait_ms": 0, "execution_ms": 300 + 100 * number, "upload_ms": 0, "output_bytes": 50, "status": "succeeded"},
        ],
        "invocations": [
            {"invocation_id": f"i-{run}", "run_id": run, "worker_id": "w", "memory_mb": 1024, "requested_at": f"{minute}:00.100",
             "ready_at": f"{minute}:00.400", "reported_state": "cold"}
        ],
        "edges": [{"run_id": run, "upstream_task_id": first["task_id"], "task_id": last["task_id"]}],
    }  # fmt: skip
    if planned:
        tables["plans"] = [
            {"run_id": run, "planner": planner, "sla": "p50", "sla_percentile": 50, "previous_runs": number}
        ]
        tables["planned_tasks"] = [
            {**first, "worker_id": "w", "execution_ms": 100, "download_ms": 0, "upload_ms": 10, "output_bytes": 100,
             "input_bytes": 0, "startup_ms": 300, "startup_state": "cold", "start_offset_ms": 300, "completion_offset_ms": 410, "on_critical_path": True},
            {**last, "worker_id": "w", "execution_ms": 100, "download_ms": 0, "upload_ms": 0, "output_bytes": 50, "input_bytes": 100,
             "start_offset_ms": 410, "completion_offset_ms": 2000, "on_critical_path": True},
        ]  # fmt: skip
    return tables


def merged(*runs: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    tables: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        for table, rows in run.items():
            tables.setdefault(table, []).extend(rows)
    return tables


def tiny(root: Path) -> Home:
    """Six planned runs of one workflow, and one of another without a plan."""
    runs = [one_run(number) for number in range(6)] + [one_run(9, "other", planned=False)]
    return take_in(root, write(root.parent / "dump", merged(*runs)))


def sample(root: Path) -> Home:
    """The recorded runs that come with the project; the tiny warehouse where they are missing."""
    return take_in(root, SAMPLES) if any(SAMPLES.glob("**/*.parquet")) else tiny(root)

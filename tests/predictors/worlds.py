"""Small worlds with a planted truth, as flowdumps and as the histories that predictors learn from.

Each run is a diamond: `split` cuts an input, three `work` tasks take a part each, `merge` joins what they leave. A task takes
`a * (bytes / 1 MB) ** b * (1024 MB / memory) ** c` ms times noise. `split`, the first `work` and `merge` share a worker,
each other `work` has its own, and workers start cold or warm by chance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from ingest.commands import take_in
from ingest.labels import Labels
from predictors.history import History, read_history
from tests.dumps import write_lines
from warehouse.connection import open_current
from warehouse.home import Home

T0 = datetime(2026, 1, 1)
LAWS = MappingProxyType({"split": (40.0, 0.5, 0.3), "work": (200.0, 1.0, 0.8), "merge": (15.0, 0.2, 0.0)})
SHARES = MappingProxyType({"split": 1 / 3, "work": 1 / 5})
"""Of its input's bytes, what a function leaves; `merge` leaves 1000 bytes whatever comes."""
MERGED_BYTES = 1000
BYTES_PER_MS = 50_000
COLD_MS, WARM_MS = 800.0, 200.0
EDGES = (("split", "work-0"), ("split", "work-1"), ("split", "work-2"),
         ("work-0", "merge"), ("work-1", "merge"), ("work-2", "merge"))  # fmt: skip
WORKERS = MappingProxyType({"split": "a", "work-0": "a", "work-1": "b", "work-2": "c", "merge": "a"})


@dataclass(frozen=True, slots=True)
class World:
    """What is planted. Run `n` has the `n`-th planner, environment, ... in turn; `flexible` planners plan no workers."""

    runs: int = 40
    seed: int = 0
    noise: float = 0.1
    gap_s: float = 30.0  # between submissions; shorter than a run takes, runs overlap
    planners: tuple[str | None, ...] = ("first", "second", "flexible")
    environments: tuple[str | None, ...] = ("here",)
    workflows: tuple[str | None, ...] = ("diamond",)
    memories: tuple[int, ...] = (512, 1024, 2048)
    laws: Mapping[str, tuple[float, float, float]] = field(default_factory=lambda: LAWS, hash=False)
    shows: frozenset[str] = frozenset({"tasks", "edges", "task_inputs", "plans", "planned_tasks", "invocations"})


def execution_ms(function: str, size: float, memory_mb: float, world: World | None = None) -> float:
    """What a task takes but for noise."""
    a, b, c = (world or World()).laws[function]
    return float(a * (size / 1e6) ** b * (1024 / memory_mb) ** c)


def rows_of(world: World) -> dict[str, list[dict[str, Any]]]:
    """The rows of every table."""
    random = np.random.default_rng(world.seed)
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for number in range(world.runs):
        run = f"run-{number:03}"
        planner = world.planners[number % len(world.planners)]
        rows["runs"].append({
            "run_id": run, "engine": "world", "workflow": world.workflows[number % len(world.workflows)], "planner": planner,
            "environment": world.environments[number % len(world.environments)], "structure_hash": "diamond",
            "submitted_at": _at(number * world.gap_s), "sink_task_id": "merge", "expected_tasks": 5,
        })  # fmt: skip
        _play(rows, world, random, run, planner, number * world.gap_s)
    return {table: of_table for table, of_table in rows.items() if table == "runs" or table in world.shows}


def _play(
    rows: dict[str, list[dict[str, Any]]],
    world: World,
    random: np.random.Generator,
    run: str,
    planner: str | None,
    submitted_s: float,
) -> None:
    memory = int(random.choice(world.memories))
    literal = int(10 ** random.uniform(5.5, 7))
    is_flexible = planner == "flexible"
    prefix = f"flex-{random.integers(10**6)}-" if is_flexible else ""
    finished: dict[str, float] = {}
    outputs: dict[str, int] = {}
    ready: dict[str, float] = {}
    rows["plans"].append({"run_id": run, "planner": planner, "sla": "p50", "sla_percentile": 50})
    for task, worker in WORKERS.items():
        function = task.partition("-")[0]
        ups = [up for up, down in EDGES if down == task]
        size = sum(outputs[up] for up in ups) if ups else literal
        outputs[task] = MERGED_BYTES if function == "merge" else int(size * SHARES[function])
        arrived = max((finished[up] for up in ups), default=0.0)
        if worker not in ready:
            cold = bool(random.random() < 0.4)
            startup = (COLD_MS if cold else WARM_MS) * random.lognormal(0, world.noise)
            ready[worker] = arrived + startup
            rows["invocations"].append({
                "invocation_id": f"{run}/{worker}", "run_id": run, "worker_id": prefix + worker, "memory_mb": memory,
                "requested_at": _at(submitted_s + arrived / 1000), "ready_at": _at(submitted_s + ready[worker] / 1000),
                "reported_state": "cold" if cold else "warm", "initial_task_ids": [task],
            })  # fmt: skip
        download = 0.0
        for up in ups:
            remote = WORKERS[up] != worker
            took = (2 + outputs[up] / BYTES_PER_MS) * random.lognormal(0, world.noise) if remote else None
            download += took or 0.0
            rows["task_inputs"].append({
                "run_id": run, "task_id": task, "object_id": up, "upstream_task_id": up, "input_bytes": outputs[up],
                "download_ms": took,
            })  # fmt: skip
        is_sent = task == "merge" or any(WORKERS[down] != worker for up, down in EDGES if up == task)
        upload = (1 + outputs[task] / BYTES_PER_MS) * random.lognormal(0, world.noise) if is_sent else None
        took = execution_ms(function, size, memory, world) * random.lognormal(0, world.noise)
        started = max(arrived, ready[worker])
        finished[task] = started + download + took + (upload or 0.0)
        rows["tasks"].append({
            "run_id": run, "task_id": task, "attempt": 1, "function": function, "kind": "function",
            "worker_id": prefix + worker, "memory_mb": memory, "started_at": _at(submitted_s + started / 1000),
            "input_wait_ms": download, "execution_ms": took, "upload_ms": upload, "literal_bytes": 0 if ups else literal,
            "output_bytes": outputs[task], "status": "succeeded", "planner": planner,
        })  # fmt: skip
        rows["planned_tasks"].append({
            "run_id": run, "task_id": task, "worker_id": None if is_flexible else worker, "memory_mb": memory,
            "input_bytes": size, "output_bytes": outputs[task], "execution_ms": took * 1.5,
        })  # fmt: skip
    rows["edges"] += [{"run_id": run, "upstream_task_id": up, "task_id": down} for up, down in EDGES]


def dump(folder: Path, world: World) -> Path:
    """Write a world as a flowdump, a file per table."""
    for table, rows in rows_of(world).items():
        write_lines(folder / f"{table}.jsonl", rows)
    return folder


def home_of(folder: Path, world: World) -> Home:
    """A home that took in a world."""
    home = Home(folder / "home")
    take_in(home, (str(dump(folder / "dump", world)),), Labels())
    return home


def history_of(folder: Path, world: World) -> History:
    """The history of a world."""
    with open_current(home_of(folder, world)) as reader:
        return read_history(reader)


@cache
def remembered(world: World) -> History:
    """The history of a world, made once. Tests only read it."""
    with TemporaryDirectory() as folder:
        return history_of(Path(folder), world)


def changed(frame: pd.DataFrame, where: pd.Series[bool], **columns: Any) -> pd.DataFrame:
    """The frame with other values in some rows."""
    frame = frame.copy()
    for name, values in columns.items():
        frame[name] = frame[name].astype(object).mask(where, values).astype(frame[name].dtype)
    return frame


def poisoned(history: History, first: int) -> History:
    """The history with all that was recorded of what happened in runs from position `first` on turned into something else."""
    runs = history.runs
    late = set(runs["run_id"].iloc[first:])
    of_runs, of_tasks, of_starts, of_inputs = (
        frame["run_id"].isin(late) for frame in (runs, history.tasks, history.starts, history.inputs)
    )
    taken = {
        name: runs[name] * 7 + 1 for name in ("makespan_ms", "startup_ms", "execution_ms", "download_ms", "upload_ms")
    }
    tasks = history.tasks
    flexible = of_tasks & tasks["planned_worker_id"].isna()
    tasks = changed(tasks, flexible, worker_id="somebody else")
    tasks = changed(
        tasks, of_tasks, started_at=pd.Timestamp(T0), status="failed", execution_ms=tasks["execution_ms"] * 9 + 3,
        download_ms=77.0, upload_ms=55.0, input_wait_ms=1.0, invocation_ms=1.0, output_bytes=123, inputs_bytes=456,
        downloaded_bytes=789,
    )  # fmt: skip
    states = history.starts["state"].map({"cold": "warm", "warm": "cold"})
    starts = changed(history.starts, of_starts, startup_ms=12345.0, state=states)
    inputs = changed(
        history.inputs, of_inputs & history.inputs["upstream_task_id"].notna(), input_bytes=5, download_ms=99.0
    )
    return History(
        changed(
            runs, of_runs, known_at=runs["submitted_at"] + pd.Timedelta(days=1), is_complete=False, **taken
        ),
        tasks,
        history.edges,
        inputs,
        starts,
    )  # fmt: skip


def _at(seconds: float) -> str:
    return f"{(T0 + timedelta(seconds=seconds)).isoformat()}Z"

"""Things to measure on: generated task files, pickled metrics, a Redis filled with runs."""

from __future__ import annotations

import hashlib
import pickle
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import types
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import redis

from warehouse.schema import literal

_TASKS = """
select
    'run-' || (i // 20) as run_id, 'function' || (i % 7) || '+' || md5(i::varchar) as task_id, 1::int as attempt,
    'function' || (i % 7) as "function", 'function' as kind, md5((i // 5)::varchar) as worker_id, 2048::int as memory_mb,
    timestamp '2026-01-01' + to_milliseconds(i * 37) as started_at, random() * 100 as input_wait_ms,
    random() * 1000 as execution_ms, case when i % 3 = 0 then random() * 50 end as upload_ms, random() as counters_ms,
    null::double as invocation_ms, (i % 3)::int as launched_workers, 0::bigint as literal_bytes,
    (random() * 1e6)::bigint as output_bytes, null::double as max_memory_mb, ['numpy'] as libraries,
    'UniformPlanner' as planner, 'succeeded' as status, null::int as exit_code, null::varchar as error_type,
    null::varchar as error_message
from range({rows}) as numbers(i)
"""


def write_tasks(root: Path, rows: int) -> None:
    """Write the same task rows as tasks.parquet, tasks.jsonl and tasks.jsonl.gz."""
    with duckdb.connect() as connection:
        connection.execute(f"create table tasks as {_TASKS.format(rows=rows)}")
        for name, options in (
            ("parquet", "format parquet"),
            ("jsonl", "format json"),
            ("jsonl.gz", "format json, compression gzip"),
        ):
            connection.execute(f"copy tasks to {literal(str(root / f'tasks.{name}'))} ({options})")


def _classes() -> dict[str, type]:
    module = types.ModuleType("engine_metrics")
    sys.modules[module.__name__] = module
    names = (
        "TaskMetrics", "TaskWorkerResourceConfiguration", "TaskInputMetrics", "TaskInputDownloadMetrics",
        "TaskOutputMetrics", "WorkerStartupMetrics", "UserDAGSubmissionMetrics",
    )  # fmt: skip
    for name in names:
        setattr(module, name, type(name, (), {"__module__": module.__name__}))
    return {name: getattr(module, name) for name in names}


_CLASSES = _classes()


def _made(kind: str, **fields: Any) -> Any:
    value = _CLASSES[kind]()
    value.__dict__.update(fields)
    return value


def _value(kind: str, run: str, tasks: list[str]) -> Any:
    configuration = _made("TaskWorkerResourceConfiguration", memory_mb=2048, worker_id=uuid.uuid4().hex)
    if kind == "WorkerStartupMetrics":
        return _made(
            kind, master_dag_id=run, resource_configuration=configuration, start_time_ms=1795456242891.29,
            initial_task_ids=tasks[:1], end_time_ms=1795456245063.31, state="cold",
        )  # fmt: skip
    downloads = {task: _made("TaskInputDownloadMetrics", serialized_size_bytes=4096, time_ms=1.5) for task in tasks[:3]}
    return _made(
        "TaskMetrics", worker_resource_configuration=configuration, started_at_timestamp_s=1795456245.1,
        input_metrics=_made("TaskInputMetrics", hardcoded_input_size_bytes=16,
                            tp_total_time_waiting_for_inputs_ms=2.5, input_download_metrics=downloads),
        tp_execution_time_ms=12.5, execution_time_per_input_byte_ms=0.001, update_dependency_counters_time_ms=0.5,
        output_metrics=_made("TaskOutputMetrics", serialized_size_bytes=4096, tp_time_ms=1.0),
        total_invocations_count=0, total_invocation_time_ms=None, planner_used_name="UniformPlanner", optimization_metrics=[],
    )  # fmt: skip


def pickled(kind: str) -> bytes:
    """Return one value of that class as the engine's pickler writes it."""
    return pickle.dumps(_value(kind, "run", [f"work+{uuid.uuid4()}" for _ in range(3)]), protocol=5)


def redis_is_here() -> bool:
    """Whether there is a redis-server to start."""
    return shutil.which("redis-server") is not None


@contextmanager
def redis_with(runs: int, root: Path) -> Iterator[str]:
    """Start a Redis on loopback that holds that many runs of 15 tasks and 4 workers; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(dir=root) as folder:
        server = subprocess.Popen(
            ["redis-server", "--port", str(port), "--save", "", "--dir", folder], stdout=subprocess.DEVNULL
        )
        client = redis.Redis(port=port)
        try:
            for _ in range(100):
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    time.sleep(0.05)
            _fill(client, runs)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            client.close()
            server.terminate()
            server.wait()


def _fill(client: redis.Redis, runs: int) -> None:
    for number in range(runs):
        run = f"{1795454425549 + number}.work.{uuid.uuid4()}.{'0' * 64}"
        tasks = [f"work+{uuid.uuid4()}" for _ in range(15)]
        values = {f"md-storage-tasks+{task}+{run}": _value("TaskMetrics", run, tasks) for task in tasks}
        for task in tasks[:4]:
            worker = hashlib.sha256(task.encode()).hexdigest()
            values[f"md-storage-worker-startup+{run}_{worker}"] = _value("WorkerStartupMetrics", run, [task])
        submission = _made("UserDAGSubmissionMetrics", dag_submission_time_ms=1795454425549.5 + number)
        values[f"md-storage-user-dag-submission+{run}"] = submission
        client.mset({key: pickle.dumps(value, protocol=5) for key, value in values.items()})


class Silent:
    """Progress that nobody watches."""

    def listing(self, uri: str) -> None:
        """Say nothing."""

    def source(self, uri: str, objects: int) -> None:
        """Say nothing."""

    def reading(self, name: str) -> None:
        """Say nothing."""

    def rows(self, count: int) -> None:
        """Say nothing."""

    def done(self) -> None:
        """Say nothing."""

    def publishing(self) -> None:
        """Say nothing."""

"""Measure and print: `make bench`, or `python -m benchmarks [ROWS]`.

Each row is a ratio of two things done in turn, A B A B, in one process on one machine: the median of the pairs' ratios,
with the smallest and the largest. Figures that have no counterpart are given per second and say so.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import dumps, logs, predicting, simulating
from ingest.formats.pickles import read_pickle
from ingest.pipeline import ingest
from warehouse.batches import Batch, JsonLines, ParquetFile
from warehouse.connection import open_writer
from warehouse.home import Home
from warehouse.schema import ddl, literal, quoted
from warehouse.tables import FACTS
from warehouse.writer import FileRecord, Writer

PAIRS = 5


def main() -> None:
    """Run every benchmark and print one line each."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        print(f"{'what':58} {'median':>8} {'low':>8} {'high':>8}")
        _loading(root, rows)
        _logs(root)
        _pickles()
        _redis(root)
        _predictors(root, rows)
        _simulation(root)


def _loading(root: Path, rows: int) -> None:
    dumps.write_tasks(root, rows)
    for path, batch, reader in (
        (root / "tasks.parquet", ParquetFile, "read_parquet({path})"),
        (root / "tasks.jsonl", JsonLines, "read_json({path}, format = 'newline_delimited', columns = {columns})"),
        (root / "tasks.jsonl.gz", JsonLines, "read_json({path}, format = 'newline_delimited', columns = {columns})"),
    ):
        columns = ", ".join(f"{literal(c.name)}: {literal(c.type)}" for c in FACTS["tasks"].columns)
        source = reader.format(path=literal(str(path)), columns=f"{{{columns}}}")
        ratios = _pairs(
            lambda path=path, batch=batch: _ours(root, path, batch("tasks", path)),  # type: ignore[misc]
            lambda source=source: _bare(root, source),  # type: ignore[misc]
        )
        _print(f"speed of ingesting {path.name}, {rows:,} rows / bare DuckDB", [1 / ratio for ratio in ratios])


def _ours(root: Path, path: Path, batch: Batch) -> float:
    """Seconds to replace one file's rows: load, keys checked, run ownership, manifest, commit, close."""
    record = FileRecord("f", str(root), path.name, str(path), str(root), "", None, None, "flowdump", 1)
    with _scratch(root) as home:
        with Writer(home) as writer:
            start = time.perf_counter()
            writer.replace(record, lambda: iter([batch]))
        return time.perf_counter() - start


def _bare(root: Path, source: str) -> float:
    """Seconds for DuckDB alone to insert the same file into the same table."""
    with _scratch(root) as home:
        home.staging.mkdir(parents=True)
        connection = open_writer(home.root / "bare.duckdb", home)
        for statement in ddl():
            connection.execute(statement)
        names = ", ".join(quoted(column.name) for column in FACTS["tasks"].columns)
        start = time.perf_counter()
        connection.execute(f"insert into tasks ({names}) select {names} from {source}")
        connection.close()
        return time.perf_counter() - start


def _logs(root: Path) -> None:
    small, large = root / "small.log", root / "large.log"
    logs.write(small, 20)
    logs.write(large, 200)
    ratios = _pairs(lambda: logs.seconds_to_read(small), lambda: logs.seconds_to_split(small))
    _print("seconds to read 20 MB of a Lambda log / its lines alone", ratios)
    _print("peak memory of reading 200 MB of it / 20 MB", [_peak(large) / _peak(small) for _ in range(3)])
    small.unlink()
    large.unlink()


def _peak(path: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.logs", "--peak", str(path)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _pickles() -> None:
    values = {kind: dumps.pickled(kind) for kind in ("TaskMetrics", "WorkerStartupMetrics")}
    for kind, value in values.items():
        seconds = min(_timed(lambda value=value: [read_pickle(value) for _ in range(2_000)]) for _ in range(PAIRS))  # type: ignore[misc]
        _print(f"{kind} values read per second, no counterpart", [2_000 / seconds])


def _redis(root: Path) -> None:
    """How the time from a live Redis grows with runs: seconds a run at 4n runs / at n runs (1 is linear)."""
    if not dumps.redis_is_here():
        print("redis-server is missing: runs per second from Redis were not measured")
        return
    small, large = 100, 400
    ratios = []
    per_second = []
    for _ in range(3):
        seconds = {}
        for runs in (small, large):
            with _scratch(root) as home, dumps.redis_with(runs, root) as address:
                seconds[runs] = _timed(lambda home=home, address=address: ingest(home, [address], dumps.Silent()))  # type: ignore[misc]
        ratios.append((seconds[large] / large) / (seconds[small] / small))
        per_second.append(large / seconds[large])
    _print(f"seconds a run from Redis, {large} runs / {small} runs", ratios)
    _print("runs per second from Redis (15 tasks each), no counterpart", per_second)


def _predictors(root: Path, rows: int) -> None:
    history = predicting.recorded(root)
    small, fitting = predicting.trained(history)
    ratios = [predicting.speed_of_one_call(history, small, rows) for _ in range(3)]
    _print(f"speed of {rows:,} predictions in one call / the engine's rule one by one", ratios)
    many = predicting.repeated(history, max(1, rows // len(history.tasks)))
    _, seconds = predicting.trained(many)
    _print(f"seconds a task to train on {len(many.tasks):,} tasks / on {len(history.tasks):,}",
           [seconds / len(many.tasks) / (fitting / len(history.tasks))])  # fmt: skip
    _print(f"seconds to train on {len(many.tasks):,} tasks, no counterpart", [seconds])


def _simulation(root: Path) -> None:
    recorded = simulating.Recorded(root)
    ratios = _pairs(recorded.seconds_per_100_tasks, recorded.seconds_per_100_planned_tasks)
    _print("seconds to play a task / for the engine's planner to lay it out", ratios)
    _print(
        "ms to play a run of 100 tasks, no counterpart", [1000 * recorded.seconds_per_100_tasks() for _ in range(PAIRS)]
    )
    one, all_ = (lambda cores=cores: recorded.seconds_to_simulate(cores=cores) for cores in (1, None))
    _print("speed of simulating on all cores / on one", [1 / ratio for ratio in _pairs(all_, one)])


def _pairs(ours: Callable[[], float], theirs: Callable[[], float]) -> list[float]:
    ours(), theirs()  # warm-up
    return [ours() / theirs() for _ in range(PAIRS)]


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@contextmanager
def _scratch(root: Path) -> Iterator[Home]:
    with tempfile.TemporaryDirectory(dir=root) as folder:
        yield Home(Path(folder))


def _print(what: str, figures: list[float]) -> None:
    print(f"{what:58} {statistics.median(figures):8.2f} {min(figures):8.2f} {max(figures):8.2f}", flush=True)


if __name__ == "__main__":
    main()

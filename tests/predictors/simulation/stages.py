"""Shapes and durations of hand-made runs: what is not said takes no time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from predictors.simulation.play import ANY, Durations, Prewarm, Shape

MB = 1024.0
COLD_MS, WARM_MS, EXECUTION_MS = 100.0, 20.0, 50.0


def shape(
    upstream: Sequence[Sequence[int]],
    worker: Sequence[int],
    *,
    memory_mb: Sequence[float] | None = None,
    preloads: Sequence[int] = (),
    duplicable: Sequence[int] = (),
    prewarms: Sequence[Prewarm] = (),
    pool: Sequence[tuple[float, float]] = (),
) -> Shape:
    """A run whose last task is the sink; every worker has 1024 MB, `preloads` and `duplicable` name tasks."""
    tasks = range(len(upstream))
    count = max(worker, default=ANY) + 1 + (len(worker) if ANY in worker else 0)
    return Shape(
        tuple(map(tuple, upstream)),
        tuple(worker),
        tuple(memory_mb or [MB] * count),
        len(upstream) - 1,
        tuple(task in preloads for task in tasks),
        tuple(task in duplicable for task in tasks),
        tuple(prewarms),
        tuple(pool),
    )


def durations(of: Shape, **takes: Any) -> Durations:
    """Executions take 50 ms, cold starts 100, warm ones 20, all else nothing; one number is of every task or worker."""

    def each(name: str, count: int, otherwise: float = 0.0) -> list[float]:
        value = takes.pop(name, otherwise)
        return [float(value)] * count if isinstance(value, int | float) else [float(ms) for ms in value]

    tasks, workers = len(of.upstream), len(of.memory_mb)
    download = takes.pop("download", 0.0)
    if isinstance(download, int | float):
        download = [[float(download)] * len(ups) for ups in of.upstream]
    gaps = {name: float(takes.pop(name, 0.0)) for name in ("local", "next", "told", "request", "submit")}
    found = Durations(
        execution=each("execution", tasks, EXECUTION_MS),
        upload=each("upload", tasks),
        counters=each("counters", tasks),
        invocation=each("invocation", tasks),
        download=download,
        stored=each("stored", tasks),
        overhead=each("overhead", tasks),
        cold=each("cold", workers, COLD_MS),
        warm=each("warm", workers, WARM_MS),
        setup=takes.pop("setup", (0.0, 0.0, 0.0, 0.0)),
        **gaps,
    )
    assert not takes, f"nothing is called {', '.join(takes)}"
    return found

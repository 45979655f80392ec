"""Hand-made runs of a workflow that fans out: `cut` makes the parts, each is `work`ed on and `check`ed, `join` takes them all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from predictors.simulation.records import Prewarming, Record

NAN = math.nan
T0 = pd.Timestamp("2026-01-01")
MB = 1024.0


def fan(width: int, number: int = 0, *, apart: bool = False, **more: Any) -> Record:
    """Run `number` of that width, as planned: cut and join on worker w0, where all members are too unless `apart`, then each
    branch has a worker of its own. Tasks are cut, work and check of each member in turn, join.
    """
    functions = ["cut", *["work", "check"] * width, "join"]
    upstream: list[tuple[int, ...]] = [()]
    for member in range(width):
        upstream += [(0,), (1 + 2 * member,)]
    upstream.append(tuple(2 + 2 * member for member in range(width)))
    workers = ["w0", *[f"w{1 + member}" if apart else "w0" for member in range(width) for _ in "wc"], "w0"]
    return record(f"run-{number:03}", number, functions, upstream, workers, **more)


def record(
    run_id: str, number: int, functions: Sequence[str], upstream: Sequence[tuple[int, ...]], workers: Sequence[str | None], **more: Any
) -> Record:  # fmt: skip
    """A run of which nothing happened yet, submitted `number` minutes after the first; its last task is the sink."""
    count = len(functions)
    unknown, needed = (NAN,) * count, {up for ups in upstream for up in ups}
    unseen = tuple((NAN,) * len(ups) for ups in upstream)
    no, nobody = (False,) * count, (None,) * count
    made = Record(
        run_id=run_id, engine="hand", environment="here", workflow="fan", structure_hash=f"s{count}", planner="p", sla="p50",
        submitted_at=T0 + pd.Timedelta(minutes=number), makespan_ms=NAN, is_complete=False, sink=count - 1,
        task_ids=tuple(f"{function}+{place}" for place, function in enumerate(functions)), functions=tuple(functions),
        upstream=tuple(upstream), planned_worker=tuple(workers), planned_memory_mb=(MB,) * count, planned_start=unknown,
        planned_finish=unknown, planned_state=nobody, worker=nobody, memory_mb=(MB,) * count, start=unknown, wait=unknown,
        execution=unknown, upload=unknown, counters=unknown, invocation=unknown, inputs_bytes=unknown, output_bytes=unknown,
        upstream_ms=unseen, upstream_bytes=unseen, stored_ms=(0.0,) * count, preloads=no, duplicable=no, prewarmings=(),
        planned_prewarmings=(), is_awaited=tuple(task in needed for task in range(count)), launches={}, pool=(),
    )  # fmt: skip
    return replace(made, **more)


def prewarm(task: int) -> Prewarming:
    return Prewarming(task, MB, 10.0)

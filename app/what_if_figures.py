"""One run simulated, replayed and changed: both on one time axis, and its tasks and workers beside what was observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from app.plain import label
from app.timeline import Timeline, timeline
from app.units import duration
from predictors.simulation.rows import Simulated

LANES, BARS = 50, 2_400
"""The most lanes and bars of either timeline."""
LOWER = "′"
"""Marks lanes of the lower of two timelines."""


@dataclass(frozen=True, slots=True)
class Side:
    """One way that a run went: how its head lane is called and what that says, its makespan, and its timeline."""

    lane: str
    text: str
    makespan_ms: float
    drawn: Timeline


def side(one: Simulated, functions: Mapping[str, str]) -> Side:
    """Return a simulation as it is drawn; `functions`: of each task."""
    is_replay = one.summary["scenario"] == "recorded"
    name = "as recorded" if is_replay else f"with {label(one.summary['scenario'], 40)}"
    makespan_ms = float(one.summary["makespan_ms"])
    return Side(
        "replayed" if is_replay else "changed",
        f"{name}: {duration(makespan_ms)}",
        makespan_ms,
        timeline(_workers(one), _tasks(one, functions), most_lanes=LANES, most_bars=BARS),
    )


def observed_side(workers: pd.DataFrame, tasks: pd.DataFrame, makespan_ms: float) -> Side:
    """Return a run as it was observed. `workers` and `tasks`: its rows as the Run page reads them."""
    timed = tasks[tasks["left_metrics"].astype(bool)].assign(task=tasks["function"], critical_step=None)
    alone = workers.assign(keep_warm_ms=None, reused_ms=None)
    return Side(
        "observed",
        f"as observed: {duration(makespan_ms)}",
        makespan_ms,
        timeline(alone, timed, most_lanes=LANES, most_bars=BARS),
    )


def side_by_side(sides: Sequence[Side]) -> tuple[Timeline, pd.DataFrame]:
    """Return two ways that a run went in one timeline, one under the other, and what stands over each: lane, at_s, text.

    A lane without bars is over each. The same worker has the same number in both, marked with `LOWER` in the second.
    """
    numbers: dict[str, str] = {}
    bars: list[pd.DataFrame] = []
    lanes: list[str] = []
    for place, one in enumerate(sides):
        for worker in one.drawn.names:
            numbers.setdefault(worker, f"w{len(numbers) + 1}")
        renamed = {name: numbers[worker] + LOWER * place for worker, name in one.drawn.names.items()}
        lanes += [one.lane, *(_renamed(lane, renamed) for lane in one.drawn.lanes)]
        bars.append(one.drawn.bars.assign(lane=[_renamed(lane, renamed) for lane in one.drawn.bars["lane"]]))
    combined = Timeline(
        bars=pd.concat(bars, ignore_index=True),
        lanes=tuple(lanes),
        names=numbers,
        lost=pd.DataFrame(columns=["lane", "at_s"]),
        ends_s=max(max(one.drawn.ends_s, one.makespan_ms / 1000) for one in sides),
        workers_left_out=sum(one.drawn.workers_left_out for one in sides),
        bars_left_out=sum(one.drawn.bars_left_out for one in sides),
    )
    heads = [(one.lane, one.makespan_ms / 1000, one.text) for one in sides]
    return combined, pd.DataFrame(heads, columns=["lane", "at_s", "text"])


def _renamed(lane: str, names: Mapping[str, str]) -> str:
    worker, space, place = lane.partition(" ")
    return f"{names[worker]}{space}{place}"


def _workers(one: Simulated) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "worker_id": row["worker_id"], "requested_ms": row["requested_offset_ms"], "ready_ms": row["ready_offset_ms"],
            "released_ms": row["released_offset_ms"], "keep_warm_ms": None, "reused_ms": None, "reused_here": None, "reused_by": None,
        }
        for row in one.invocations
    )  # fmt: skip


def _tasks(one: Simulated, functions: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "worker_id": row["worker_id"], "task": functions.get(row["task_id"], row["task_id"]), "start_ms": row["start_offset_ms"],
            "input_wait_ms": row["input_wait_ms"], "longest_download_ms": None, "execution_ms": row["execution_ms"],
            "upload_ms": row["upload_ms"], "counters_ms": row["release_offset_ms"] - row["finish_offset_ms"], "invocation_ms": None,
            "critical_step": None,
        }
        for row in one.tasks
    )  # fmt: skip


_SHOWN = {
    "start_offset_ms": "start (ms)", "finish_offset_ms": "output there (ms)", "requested_offset_ms": "requested (ms)",
    "startup_ms": "start-up (ms)", "active_ms": "active (ms)", "cold_starts": "cold",
}  # fmt: skip


def _launched_once(workers: pd.DataFrame) -> pd.DataFrame:
    """Return the figures of one launch of each worker: the first that became ready, else the first asked for.

    Launches of a worker are in the same order under every metric.
    """
    numbered = workers.assign(launch=workers.groupby(["metric", "thing"]).cumcount())
    observed = numbered.pivot(index=["thing", "launch"], columns="metric", values="observed").reset_index()
    observed = observed.assign(never_ready=observed["startup_ms"].isna())
    first = observed.sort_values(["never_ready", "requested_offset_ms"], kind="stable").drop_duplicates("thing")
    return numbered.merge(first[["thing", "launch"]], on=["thing", "launch"])


def wide(figures: pd.DataFrame, level: str, names: Mapping[str, str], has_change: bool) -> pd.DataFrame:
    """Return the tasks or workers of one run, a row each: every metric observed, replayed and changed.

    `figures` as `beside` gives them; `names` tells what a task or worker is called. Rows are in the order of the first metric.
    Of a worker that was launched twice the launch stands there that simulations start from.
    """
    own = figures[figures["level"] == level]
    if own.duplicated(["metric", "thing"]).any():
        own = _launched_once(own)
    sides = {"observed": "observed", "replayed": "replayed"} | ({"simulated": "changed"} if has_change else {})
    if not has_change:
        own = own.assign(replayed=own["simulated"])
    metrics = [metric for metric in _SHOWN if metric in set(own["metric"])]
    columns: dict[str, Any] = {}
    for metric in metrics:
        of_metric = own[own["metric"] == metric].set_index("thing")
        for side, shown in sides.items():
            columns[f"{_SHOWN[metric]} {shown}"] = of_metric[side].astype(float)
    table = pd.DataFrame(columns)
    if metrics:
        table = table.sort_values(f"{_SHOWN[metrics[0]]} replayed", kind="stable")
    things = [str(thing) for thing in table.index]
    table.insert(0, level, [names.get(thing, "") or label(thing, 40) for thing in things])
    return table.assign(**{f"{level}_id": things}).reset_index(drop=True)

"""What was played, as rows of the tables `simulations`, `simulated_tasks` and `simulated_invocations`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from predictors.simulation.play import UNKNOWN_MB, Played
from predictors.simulation.records import Record


@dataclass(frozen=True)
class Simulated:
    """A run simulated: rows of the tables `simulations`, `simulated_tasks` and `simulated_invocations`."""

    summary: dict[str, Any]
    tasks: list[dict[str, Any]] = field(repr=False)
    invocations: list[dict[str, Any]] = field(repr=False)

    def renamed(self, scenario: str) -> Simulated:
        """Return the same under another name of the scenario."""
        same = {"scenario": scenario}
        return Simulated(
            self.summary | same, [row | same for row in self.tasks], [row | same for row in self.invocations]
        )


def summed(played: Sequence[Played]) -> dict[str, Any]:
    """Return the totals of a run over its draws: medians with 5th and 95th percentiles, means of counts."""
    makespan = np.array([each.makespan_ms for each in played])
    gb_seconds = np.array([each.gb_seconds for each in played])
    low, middle, high = np.quantile(makespan, [0.05, 0.5, 0.95])
    gb_low, gb_middle, gb_high = np.quantile(gb_seconds, [0.05, 0.5, 0.95])
    return {
        "makespan_ms": middle, "makespan_low_ms": low, "makespan_high_ms": high,
        "gb_seconds": gb_middle, "gb_seconds_low": gb_low, "gb_seconds_high": gb_high,
        "cold_starts": float(np.mean([each.starts("cold") for each in played])),
        "warm_starts": float(np.mean([each.starts("warm") for each in played])),
        "startup_ms": float(np.median([each.startup_ms for each in played])),
        "active_ms": float(np.median([each.active_ms for each in played])),
    }  # fmt: skip


def compared(before: Sequence[Played], after: Sequence[Played]) -> dict[str, Any]:
    """Return what the change does, draw by draw."""
    differences = [b.makespan_ms - a.makespan_ms for a, b in zip(before, after, strict=True)]
    low, middle, high = np.quantile(differences, [0.05, 0.5, 0.95])
    return {
        "baseline_makespan_ms": float(np.median([each.makespan_ms for each in before])),
        "baseline_gb_seconds": float(np.median([each.gb_seconds for each in before])),
        "baseline_cold_starts": float(np.mean([each.starts("cold") for each in before])),
        "difference_ms": middle, "difference_low_ms": low, "difference_high_ms": high,
    }  # fmt: skip


def task_rows(record: Record, scenario: str, ids: Sequence[str], played: Played) -> list[dict[str, Any]]:
    """Return the rows of one draw's tasks."""
    return [
        {
            "run_id": record.run_id, "scenario": scenario, "task_id": record.task_ids[task], "worker_id": ids[played.worker[task]],
            "memory_mb": _whole(played.memory_mb[played.worker[task]]), "start_offset_ms": played.start[task],
            "input_wait_ms": played.wait[task], "execution_ms": played.execution[task],
            "upload_ms": played.finish[task] - played.start[task] - played.wait[task] - played.execution[task],
            "finish_offset_ms": played.finish[task], "release_offset_ms": played.release[task],
        }
        for task in range(len(record.task_ids))
    ]  # fmt: skip


def invocation_rows(
    record: Record, scenario: str, ids: Sequence[str], played: Played, cold: Sequence[float]
) -> list[dict[str, Any]]:
    """Return the rows of one draw's workers; `cold`: in what share of draws each started cold."""
    return [
        {
            "run_id": record.run_id, "scenario": scenario, "worker_id": ids[worker], "memory_mb": _whole(played.memory_mb[worker]),
            "requested_offset_ms": played.requested[worker], "ready_offset_ms": played.ready[worker],
            "released_offset_ms": played.released[worker], "state": played.state[worker],
            "startup_ms": played.ready[worker] - played.requested[worker], "cold_probability": cold[worker],
        }
        for worker in played.launched
    ]  # fmt: skip


def _whole(memory_mb: float) -> int | None:
    return None if memory_mb == UNKNOWN_MB else round(memory_mb)

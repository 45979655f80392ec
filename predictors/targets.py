"""What is predicted, and what each prediction may rest on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictors.features import CATEGORIES, START_NUMBERS, TASK_NUMBERS
from predictors.recent import Recent

QUANTILES = (0.5, 0.75, 0.9)


@dataclass(frozen=True, slots=True)
class Target:
    """A duration: its metric and level, what it may rest on, and what its errors are told apart by.

    `size` is the number it grows with; `falls_with_memory` says that more memory cannot make it slower. `may_be_zero`: it
    may not happen at all. `scale_by` is the column by which predictions are unequally sure.
    """

    metric: str
    level: str
    column: str
    numbers: tuple[str, ...]
    recents: tuple[Recent, ...]
    size: str | None = None
    falls_with_memory: bool = False
    may_be_zero: bool = False
    scale_by: str = "function"

    @property
    def base(self) -> str:
        """The statistic that a prediction starts from: what the function, or the environment, lately took."""
        return self.recents[0].name

    def certain_zero(self, rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """Tell the rows for which the plan itself says that nothing will happen."""
        nothing: npt.NDArray[np.bool_] = np.zeros(len(rows), dtype=bool)
        planned = rows["is_flexible"].to_numpy() == 0
        if self.metric == "download":
            nothing = planned & (rows["remote_inputs"].to_numpy() == 0)
        elif self.metric == "upload":
            nothing = planned & (rows["remote_outputs"].to_numpy() == 0) & (rows["is_sink"].to_numpy() == 0)
        return nothing


def _task_recents(size: str) -> tuple[Recent, ...]:
    return (
        Recent("function_took", ("function",), "took", 8),
        Recent("function_rate", ("function",), "rate", 8),
        Recent("function_memory_took", ("function", "memory_mb"), "took", 8),
        Recent("function_planner_took", ("function", "planner"), "took", 5),
        Recent("environment_rate", ("environment",), "rate", 3),
        Recent("function_size", ("function",), size, 8),
    )


EXECUTION = Target(
    "execution", "task", "execution_ms", TASK_NUMBERS, _task_recents("log_inputs"), "log_inputs", falls_with_memory=True
)
DOWNLOAD = Target(
    "download", "task", "download_ms", TASK_NUMBERS, _task_recents("log_remote"), "log_remote", may_be_zero=True
)
UPLOAD = Target(
    "upload", "task", "upload_ms", TASK_NUMBERS, _task_recents("log_output"), "log_output", may_be_zero=True
)
STARTUP = Target(
    "startup",
    "invocation",
    "startup_ms",
    START_NUMBERS,
    (
        Recent("environment_took", ("environment",), "took", 4),
        Recent("environment_cold_took", ("environment",), "cold_took", 4),
        Recent("environment_warm_took", ("environment",), "warm_took", 4),
        Recent("environment_memory_took", ("environment", "memory_mb"), "took", 4),
        Recent("last_took", ("environment",), "took", 1),
        Recent("environment_cold", ("environment",), "is_cold", 4),
        Recent("plan_cold", ("workflow", "planner"), "is_cold", 4),
        Recent("plan_depth_took", ("workflow", "planner", "depth"), "took", 6),
        Recent("environment_depth_took", ("environment", "depth"), "took", 6),
    ),
    scale_by="environment",
)
STARTUP_GIVEN_STATE = replace(STARTUP, metric="startup given state", numbers=(*START_NUMBERS, "is_cold"))
TIMES = (EXECUTION, DOWNLOAD, UPLOAD, STARTUP, STARTUP_GIVEN_STATE)
TASK_CATEGORIES = CATEGORIES
START_CATEGORIES = ("function", "workflow", "environment", "planner")

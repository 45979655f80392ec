"""What memory does to execution: learnt from the same work done at several memory sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from predictors.simulation.behaviour import Measured

_LEAST = 30
"""Executions a function needs beyond its groups for an effect of its own."""


@dataclass(frozen=True, slots=True)
class Effect:
    """Execution goes with memory ** exponent; `error` is the standard error, `low_mb` to `high_mb` where it was seen."""

    exponent: float
    error: float
    low_mb: float
    high_mb: float


@dataclass(frozen=True)
class MemoryEffects:
    """The effect of memory by function; '' is that of all together.

    It stands for functions seen at one size only, and for those whose own effect is not told apart from it.
    """

    by_function: dict[str, Effect]

    @classmethod
    def learn(cls, measured: Measured, contention: float) -> MemoryEffects:
        """Learn from the work of executions of a function on inputs of the same size class at different memory sizes."""
        table = measured.executions[["run", "function", "size", "memory_mb"]].assign(
            work=measured.executions[str(contention)]
        )
        table = table[(table["memory_mb"] != "") & (table["work"] > 0)]
        megabytes = table["memory_mb"].astype(float)
        table = table.assign(memory_mb=megabytes, memory=np.log(megabytes), work=np.log(table["work"]))
        pooled = _fit(table)
        found = {"": pooled or Effect(0.0, 0.0, math.nan, math.nan)}
        for function, part in table.groupby("function"):
            low, high = float(part["memory_mb"].min()), float(part["memory_mb"].max())
            own = _fit(part)
            if own is None or abs(own.exponent - found[""].exponent) < own.error:
                own = Effect(found[""].exponent, found[""].error, low, high)
            found[str(function)] = own
        return cls(found)

    def of(self, function: str) -> Effect:
        """Return the effect on a function."""
        together = self.by_function[""]
        return self.by_function.get(function, Effect(together.exponent, together.error, math.nan, math.nan))


def _fit(table: pd.DataFrame) -> Effect | None:
    """Return the slope of log work on log memory within function and size, with its standard error; None where little was seen.

    Executions of one run share its luck, so the error is clustered by run.
    """
    groups = table.groupby(["function", "size"])
    x = table["memory"] - groups["memory"].transform("mean")
    y = table["work"] - groups["work"].transform("mean")
    spread, free = float((x * x).sum()), len(table) - groups.ngroups - 1
    if free < _LEAST or spread < 1e-9:
        return None
    slope = float((x * y).sum()) / spread
    scores = ((y - slope * x) * x).groupby(table["run"]).sum()
    runs = len(scores)
    error = math.sqrt(float((scores**2).sum()) * runs / max(runs - 1, 1)) / spread
    return Effect(slope, error, float(table["memory_mb"].min()), float(table["memory_mb"].max()))

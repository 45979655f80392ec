"""Executables beside functions: any figure of theirs, over the same work where it was done both ways, with runs resampled."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app.findings.medians import BLOCKS, RESAMPLES, around
from app.findings.statistics import MINIMUM_IN_STRATUM, MINIMUM_RUNS, Interval

KINDS = ("executable", "function")

FLOOR = 1e-4
"""The least value that counts: a deviation or an error below a hundredth of a percent is none worth a ratio."""

_SEED = 20_253

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ByKind:
    """A figure of executables and of functions: the geometric mean over works, so that each counts equally, of medians of runs.

    `is_same_work`: only work done both ways is in it, and `ratio` is executables / functions; else each kind's figure is of
    its own work and there is no ratio. `works` counts those behind it, of either kind; `runs` likewise.
    """

    is_same_work: bool
    figures: dict[str, Interval]
    ratio: Interval | None
    works: dict[str, int]
    runs: dict[str, int]


def by_kind(rows: pd.DataFrame) -> ByKind | None:
    """Set executables beside functions: over strata with `MINIMUM_IN_STRATUM` runs of each kind, else each kind by itself. None without rows.

    `rows`: kind, work, stratum (of like work, at least as fine as work), run_id, value; one per run, stratum and kind. An
    interval is Student's t around the logarithm, its standard error taken from resamples of the runs; where a kind has fewer
    than `MINIMUM_RUNS` runs it has no interval (its ends are 0 and infinity), nor has the ratio.
    """
    rows = rows[rows["value"].notna()]
    runs = rows.groupby(["stratum", "kind"])["run_id"].nunique().unstack("kind").reindex(columns=list(KINDS)).fillna(0)
    enough = runs >= MINIMUM_IN_STRATUM
    shared = enough.index[enough.all(axis=1)]
    if len(shared):
        rows = rows[rows["stratum"].isin(shared)]
    if rows.empty:
        return None
    weights = _weights(rows)
    seen, drawn = _logs(rows, np.ones((1, weights.shape[1]))), _logs(rows, weights)
    counts = {str(kind): int(part["run_id"].nunique()) for kind, part in rows.groupby("kind")}
    ratio = None
    if len(shared) and min(counts.values()) >= MINIMUM_RUNS:
        executable, function = KINDS
        ratio = _around(
            seen[executable][0] - seen[function][0], drawn[executable] - drawn[function], min(counts.values())
        )
    return ByKind(
        bool(len(shared)),
        {kind: _around(float(seen[kind][0]), drawn[kind], counts[kind]) for kind in seen},
        ratio,
        {str(kind): int(part["work"].nunique()) for kind, part in rows.groupby("kind")},
        counts,
    )


def _weights(rows: pd.DataFrame) -> Values:
    """Return how often each run (a column, in order of `run_id`'s sorted values) is drawn in every resample.

    Runs are drawn among those with the same kinds, so that no resample is without one.
    """
    kinds = rows.groupby("run_id")["kind"].agg(lambda of_run: " ".join(sorted(set(of_run))))
    generator = np.random.default_rng(_SEED)
    weights = np.zeros((RESAMPLES, len(kinds)))
    for _, places in sorted(kinds.reset_index(drop=True).groupby(kinds.to_numpy()).groups.items()):
        blocks = np.arange(len(places)) % BLOCKS
        size = int(blocks.max()) + 1
        weights[:, places] = generator.multinomial(size, np.full(size, 1 / size), RESAMPLES)[:, blocks]
    return weights


def _logs(rows: pd.DataFrame, weights: Values) -> dict[str, Values]:
    """Return the logarithm of each kind's figure in every resample: the mean over works of the mean over their strata."""
    place = np.searchsorted(np.unique(rows["run_id"].to_numpy(str)), rows["run_id"].to_numpy(str))
    rows = rows.assign(place=place)
    found = {}
    for kind, of_kind in rows.groupby("kind"):
        works = [
            _mean([_median(part["value"].to_numpy(float), weights[:, part["place"].to_numpy()]) for _, part in work.groupby("stratum")])
            for _, work in of_kind.groupby("work")
        ]  # fmt: skip
        found[str(kind)] = _mean(works)
    return found


def _mean(parts: list[Values]) -> Values:
    """Return the mean over those that a resample holds. Few runs of one work may all be absent from it."""
    stacked = np.stack(parts)
    held = np.isfinite(stacked)
    return np.asarray(np.where(held, stacked, 0).sum(axis=0) / np.where(held.any(axis=0), held.sum(axis=0), np.nan))


def _median(values: Values, weights: Values) -> Values:
    """Return the logarithm of the weighted median in every resample, NaN where all weights are 0.

    Halfway between the two in the middle, as medians are, where the weights meet there.
    """
    order = np.argsort(values, kind="stable")
    ordered = np.maximum(values[order], FLOOR)
    reached = np.cumsum(weights[:, order], axis=1)
    half = reached[:, -1:] / 2
    low, high = np.argmax(reached >= half, axis=1), np.argmax(reached > half, axis=1)
    return np.where(half[:, 0] > 0, np.log((ordered[low] + ordered[high]) / 2), np.nan)


def _around(middle: float, drawn: Values, runs: int) -> Interval:
    if runs < MINIMUM_RUNS:
        return Interval(exp(middle), 0.0, inf, runs)
    return around(exp(middle), drawn, min(runs, BLOCKS), runs)

"""Medians of errors over the same rows, and their ratios, with intervals that resample the runs the rows come from.

Errors of one run hang together, so runs are what is drawn again, all predictors together: the ratio of two medians over the
same rows is far surer than either. Errors are counted in bins a fiftieth of their size wide, per run, so that drawing
costs the same whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from app.findings.statistics import MINIMUM_RUNS, Interval

BIN = 0.02
"""Width of a bin in the logarithm of an error."""

BLOCKS = 400
"""More runs than these are thrown together into so many blocks, which are drawn in their place."""

EXACT = 1e-9
"""An error this small is none: a ratio to it says nothing."""

RESAMPLES = 400
"""Enough for a standard error, which is all that is taken from them."""

_SEED = 20_252
_LARGEST = 700.0

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Medians:
    """The medians of several predictors over the same rows, and the logarithm of each in every resample of the runs."""

    seen: Mapping[str, float]
    drawn: Mapping[str, Values]
    runs: int
    blocks: int

    def interval(self, name: str, level: float = 0.95) -> Interval | None:
        """Return a median with its interval. None with fewer than `MINIMUM_RUNS` runs, and for one that is 0."""
        return self._around(self.seen[name], self.drawn[name], level)

    def ratio(self, name: str, reference: str, level: float = 0.95) -> Interval | None:
        """Return the median of one as a multiple of another's. None where either is 0, or runs are too few."""
        if min(self.seen[name], self.seen[reference]) <= EXACT:
            return None
        return self._around(self.seen[name] / self.seen[reference], self.drawn[name] - self.drawn[reference], level)

    def _around(self, value: float, drawn: Values, level: float) -> Interval | None:
        if self.runs < MINIMUM_RUNS or value <= EXACT or self.blocks < MINIMUM_RUNS:
            return None
        return around(value, drawn, self.blocks, self.runs, level)


def around(value: float, drawn: Values, blocks: int, runs: int, level: float = 0.95) -> Interval:
    """Return the interval of Student's t around the logarithm of a value, its standard error taken from the resamples.

    `drawn`: that logarithm in every resample of so many blocks of runs, NaN where a resample says nothing. With few runs a
    percentile bootstrap is too narrow, and its ends in the far tails are noise; both is not so here (Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993, chapter 12).
    """
    error = float(np.nanstd(drawn)) * (blocks / (blocks - 1)) ** 0.5
    margin = float(stats.t.ppf((1 + level) / 2, blocks - 1)) * error
    middle = log(value)
    return Interval(value, exp(max(-_LARGEST, middle - margin)), exp(min(_LARGEST, middle + margin)), runs)


def medians(counts: pd.DataFrame, seen: Mapping[str, float], runs: int) -> Medians:
    """Return the medians of predictors over the same rows, resampled.

    `counts`: predictor, block (of runs), bin (the logarithm of an error in units of `BIN`, rounded down), n. `seen`: the
    median of each predictor, computed from the rows themselves.
    """
    blocks, places = np.unique(counts["block"].to_numpy(), return_inverse=True)
    weights = np.random.default_rng(_SEED).multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), RESAMPLES)
    drawn = {}
    for name, rows in counts.assign(place=places).groupby("predictor", sort=False):
        if name in seen:
            drawn[str(name)] = _drawn(rows, weights.astype(float))
    return Medians(seen, drawn, runs, len(blocks))


def _drawn(rows: pd.DataFrame, weights: Values) -> Values:
    """Return the logarithm of the median in every resample. A resample is a row of `weights`, which has a column per block."""
    bins, places = np.unique(rows["bin"].to_numpy(), return_inverse=True)
    counts = np.zeros((weights.shape[1], len(bins)))
    np.add.at(counts, (rows["place"].to_numpy(), places), rows["n"].to_numpy(float))
    heights = weights @ counts
    reached = np.cumsum(heights, axis=1)
    half = reached[:, -1:] / 2
    middle = np.argmax(reached >= half, axis=1)
    each = np.arange(len(weights))
    height = np.maximum(heights[each, middle], EXACT)
    inside = (half[:, 0] - (reached[each, middle] - heights[each, middle])) / height
    return np.asarray((bins[middle] + np.clip(inside, 0, 1)) * BIN)

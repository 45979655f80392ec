"""How many pairs or runs would decide a ratio: what was recorded is resampled at the sizes asked about.

An order statistic of n values drawn from a distribution is its quantile at a Beta variate (David and Nagaraja, Order
Statistics, 2003, section 2.1), so that a resample of 10,000 pairs costs no more than one of ten. What was recorded is
smoothed by a normal kernel that keeps its spread (Silverman and Young, Biometrika 74, 1987): the median of large resamples
of few values as they are would hardly ever move.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtr

POWER = 0.8
"""The share of repetitions that should decide."""

MOST_NEEDED = 20_000
"""Pairs, or runs, beyond which nobody looks for how many would decide."""

_REPETITIONS = 2_000
_SEED = 20_253
_FINE = 100
_GRID = 512
_REACH = 20.0
_FEW, _MANY = 12, 200
_IQR_OF_NORMAL = 1.349

Values = NDArray[np.float64]


Repetitions = Callable[[int, float, float], tuple[Values, Values] | None]
"""(n, effect, level) -> both ends of the intervals that repetitions with n in all find, None where n are too few for any.

Effect and ends are logarithms of ratios.
"""


class Recorded(Protocol):
    """What a ratio rests on, as logarithms, to be drawn again at any size."""

    def repetitions(self) -> Repetitions:
        """Return what draws it again."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """The logarithms of pairs' ratios. Their interval is the exact one of a median, from order statistics."""

    ratios: Values

    def repetitions(self) -> Repetitions:
        """Return what draws n pairs."""
        quantile = smoothed(self.ratios)

        def intervals(n: int, effect: float, level: float) -> tuple[Values, Values] | None:
            rank = int(stats.binom.ppf((1 - level) / 2, n, 0.5))
            if rank < 1:
                return None
            generator = np.random.default_rng(_SEED)
            low, inside, high = (generator.gamma(shape, size=_REPETITIONS) for shape in (rank, n - 2 * rank + 1, rank))
            total = low + inside + high
            return effect + quantile(low / total), effect + quantile((low + inside) / total)

        return intervals


@dataclass(frozen=True, slots=True, eq=False)
class Strata:
    """The logarithms of both sides of each stratum, and the strata's weights. More runs fall to the sides as these did."""

    sides: tuple[tuple[Values, Values], ...]
    weights: Values

    def repetitions(self) -> Repetitions:
        """Return what draws n runs of both groups; their interval is the normal one, at the spread of estimates of that size."""
        runs = sum(len(side) for pair in self.sides for side in pair)
        parts = [
            (sign * weight, len(side), smoothed(side))
            for weight, pair in zip(self.weights, self.sides, strict=True)
            for sign, side in zip((-1, 1), pair, strict=True)
        ]

        def intervals(n: int, effect: float, level: float) -> tuple[Values, Values] | None:
            generator = np.random.default_rng(_SEED)
            found = np.full(_REPETITIONS, effect)
            for weight, size, quantile in parts:
                places = 0.5 + generator.normal(size=_REPETITIONS) / (2 * np.sqrt(size * n / runs + 2))
                found += weight * quantile(np.clip(places, 0, 1))
            reach = stats.norm.ppf((1 + level) / 2) * found.std()
            return found - reach, found + reach

        return intervals


def needed(recorded: Recorded, effect: float, bound: float, level: float, least: int) -> int | None:
    """Return how many in all, at least `least`, make `POWER` of the repetitions decide, None above `MOST_NEEDED`.

    `effect`: the logarithm of the ratio assumed. An interval decides that does not hold 0, or that lies within `bound`
    of it. Doubled until they are enough, then halved down to a hundredth.
    """

    intervals = recorded.repetitions()

    def is_enough(n: int) -> bool:
        ends = intervals(n, effect, level)
        if ends is None:
            return False
        low, high = ends
        decides = (low > 0) | (high < 0) | ((low >= -bound) & (high <= bound))
        return bool(decides.mean() >= POWER)

    return smallest(is_enough, least)


def smallest(is_enough: Callable[[int], bool], least: int) -> int | None:
    """Return the smallest number from `least` that is enough, to a hundredth. None above `MOST_NEEDED`."""
    enough, too_few = least, least - 1
    while not is_enough(enough):
        if enough >= MOST_NEEDED:
            return None
        enough, too_few = min(2 * enough, MOST_NEEDED), enough
    while enough - too_few > max(1, enough // _FINE):
        middle = (enough + too_few) // 2
        enough, too_few = (middle, too_few) if is_enough(middle) else (enough, middle)
    return enough


def smoothed(values: Values) -> Callable[[Values], Values]:
    """Return the quantile function of the values around their median, smoothed.

    The kernel's width is Silverman's (.9 of the spread / n^.2; the lesser of standard deviation and interquartile range /
    1.349, which few values do not have); quantiles are drawn together by as much as the kernel spreads them.
    """
    middle = float(np.median(values))
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    if len(values) >= _FEW and (robust := float(stats.iqr(values)) / _IQR_OF_NORMAL) > 0:
        spread = min(spread, robust)
    if spread == 0:
        return np.zeros_like
    shown = values if len(values) <= _MANY else np.quantile(values, (np.arange(_MANY) + 0.5) / _MANY)
    around = np.clip(shown - middle, -_REACH * spread, _REACH * spread)
    width = 0.9 * spread * len(values) ** -0.2
    grid = np.linspace(around.min() - 4 * width, around.max() + 4 * width, _GRID)
    reached = ndtr((grid[:, None] - around) / width).mean(axis=1)
    shrunk = float(np.hypot(spread, width) / spread)
    centre = float(np.interp(0.5, reached, grid))
    return lambda places: (np.interp(places, reached, grid) - centre) / shrunk


def losses_needed(lost: Sequence[tuple[int, int, int, int]], level: float, *, paired: bool) -> int | None:
    """Return how many pairs, or runs, in all would show that as many more are lost on one side as were. None: not so few.

    `lost`: what `matching.lost` returns. Pairs are drawn again as they were; in strata every side loses its share. The test
    is that of Mantel and Haenszel with continuity correction, which for pairs is McNemar's: close to `loss_test`, and quick.
    """
    counts = np.array(lost, float).reshape(-1, 4)
    blocks, times_seen = np.unique(counts, axis=0, return_counts=True)
    lost_reference, reference, lost_other, other = counts.T
    bar = float(stats.norm.ppf((1 + level) / 2))

    def is_enough(n: int) -> bool:
        generator = np.random.default_rng(_SEED)
        if paired:
            drawn = generator.multinomial(n, times_seen / times_seen.sum(), _REPETITIONS)
            more, variance = (drawn @ part for part in _excess(*blocks.T))
        else:
            sizes = [np.round(side * n / (reference + other).sum()) for side in (reference, other)]
            shares = (lost_reference / np.maximum(reference, 1), lost_other / np.maximum(other, 1))
            gone = [
                generator.binomial(size.astype(int), share, (_REPETITIONS, len(counts))).astype(float)
                for size, share in zip(sizes, shares, strict=True)
            ]
            more, variance = (part.sum(axis=1) for part in _excess(gone[0], sizes[0], gone[1], sizes[1]))
        return bool((np.abs(more) - 0.5 >= bar * np.sqrt(np.maximum(variance, 1e-9))).mean() >= POWER)

    return smallest(is_enough, (len(counts) if paired else int((reference + other).sum())) + 1)


def _excess(lost_reference: Values, reference: Values, lost_other: Values, other: Values) -> tuple[Values, Values]:
    """Return by how much the other side lost more than its share of each block's losses, and the variance of that."""
    runs, gone = reference + other, lost_reference + lost_other
    expected = gone * other / np.maximum(runs, 1)
    variance = gone * (runs - gone) * reference * other / np.maximum(runs**2 * (runs - 1), 1)
    return lost_other - expected, variance

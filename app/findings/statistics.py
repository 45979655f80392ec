"""How sure a difference is: ratios and shares with their intervals, and how many runs would decide (`power`).

Ratios are compared as logarithms, so that half and double are equally far from none. Intervals hold 95 % unless `level`
says otherwise; every seed is fixed, so the same data gives the same interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import exp, inf, isfinite, log
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from app.findings import power

MINIMUM_PAIRS = 6
"""With fewer pairs no two-sided test of a median reaches 5 %: 2 / 2^5 > .05 (sign test)."""

MINIMUM_RUNS = 6
"""Runs on each side, over all strata, below which two groups are not compared."""

MINIMUM_IN_STRATUM = 3
"""Runs on each side of a stratum below which it is left out."""

NO_DIFFERENCE = 0.05
"""A ratio surely within 1 / 1.05 to 1.05 is called no difference worth having."""

MOST_ZERO = 0.9
"""Share of pairs or values that must be above zero for a ratio to stand for them."""

MANY_RUNS = 500
"""From here on the interval of a share of runs is computed instead of drawn."""

RESAMPLES = 2_000
_SEED = 20_251
_BATCH = 10_000_000
_LARGEST = 700
_NEVER = 1e6
"""The logarithm of a time that never ended: finite, so that it can be averaged, and beyond every real one."""

Values = NDArray[np.float64]

Decision = Literal["lower", "higher", "no difference", "undecided"]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval. `n` counts what was resampled: pairs, or runs of both groups, which `recorded` holds."""

    value: float
    low: float
    high: float
    n: int
    recorded: power.Recorded | None = field(default=None, repr=False, compare=False)

    @property
    def decision(self) -> Decision:
        """What a ratio's interval allows to say: a difference is real only if 1 lies outside of it, and it may be above 5 %."""
        if self.low >= 1 / (1 + NO_DIFFERENCE) and self.high <= 1 + NO_DIFFERENCE:
            return "no difference"
        if self.high < 1:
            return "lower"
        return "higher" if self.low > 1 else "undecided"

    def needed(self, level: float = 0.95, ratio: float | None = None) -> int | None:
        """Return how many (pairs, runs) in all would decide a ratio, None where this data cannot tell or they are too many.

        Either way of deciding counts: showing a difference, or showing that it is less than 5 %, with 80 % power if the ratio
        is the one seen, or `ratio`. What was recorded is resampled at other sizes (`power.needed`).
        """
        if self.decision != "undecided":
            return self.n
        is_known = self.low > 0 and isfinite(self.high) and self.high > self.low
        if self.recorded is None or not is_known:
            return None
        effect = log(self.value if ratio is None else ratio)
        return power.needed(self.recorded, effect, log(1 + NO_DIFFERENCE), level, self.n + 1)


def paired_ratio(pairs: pd.DataFrame, level: float = 0.95) -> Interval | None:
    """Return the median of the pairs' ratios `other / reference`, resampling pairs within each `stratum`.

    The bootstrap's interval is too narrow for few pairs, so it is widened to at least the exact interval of a median from
    order statistics (the sign test turned around; scipy `quantile_test`).
    `pairs`: stratum, reference, other. A pair in which one side has no value is left out; infinity stands for a run
    that never ended and ranks last. None with fewer than `MINIMUM_PAIRS` pairs, with too few for any exact test to reach the
    level (2 / 2^n > 1 - level), and where more than a tenth of the pairs has a zero, of which no ratio tells.
    """
    known = pairs[(pairs["reference"] > 0) & (pairs["other"] > 0)]
    if (
        len(known) < MINIMUM_PAIRS
        or len(known) < MOST_ZERO * pairs.dropna().shape[0]
        or 2.0 ** (1 - len(known)) > 1 - level
    ):
        return None
    with np.errstate(invalid="ignore"):
        ratios = np.log(known["other"].to_numpy(float)) - np.log(known["reference"].to_numpy(float))
    ratios = np.nan_to_num(ratios, nan=0.0, posinf=_NEVER, neginf=-_NEVER)  # neither ended: no difference
    places = list(known.groupby("stratum", dropna=False).indices.values())
    alone = [place for place in places if len(place) == 1]
    samples = [ratios[place] for place in places if len(place) > 1]
    if alone:
        samples.append(ratios[np.concatenate(alone * (2 if len(alone) == 1 else 1))])
    resampled = _bootstrap(samples, lambda *drawn: np.median(np.concatenate(drawn, axis=-1), axis=-1))
    drawn = _interval(float(np.median(ratios)), resampled, len(known), level)
    exact = stats.quantile_test(ratios, p=0.5).confidence_interval(level)
    low, high = min(drawn.low, exp_or_inf(exact.low)), max(drawn.high, exp_or_inf(exact.high))
    return Interval(drawn.value, low, high, len(known), power.Pairs(ratios))


def stratified_ratio(runs: pd.DataFrame, level: float = 0.95) -> Interval | None:
    """Return the ratio of medians `other / reference`, the strata's ratios averaged, resampling runs within each side.

    `runs`: stratum, is_other, value. Strata weigh by the harmonic mean of their sides; those with fewer than
    `MINIMUM_IN_STRATUM` runs on a side are left out. None with fewer than `MINIMUM_RUNS` runs on a side, and where more
    than a tenth of the values is zero.
    """
    strata = _strata(runs)
    sides = [sum(len(pair[side]) for pair in strata) for side in (0, 1)]
    if (
        min(sides) < MINIMUM_RUNS
        or 2.0 ** (1 - min(sides)) > 1 - level
        or (runs["value"].dropna() > 0).mean() < MOST_ZERO
    ):
        return None
    weights = np.array([len(a) * len(b) / (len(a) + len(b)) for a, b in strata])
    weights /= weights.sum()

    def averaged(*sides: Values) -> Values:
        medians = [np.median(side, axis=-1) for side in sides]
        return sum((w * (b - a) for w, a, b in zip(weights, medians[::2], medians[1::2], strict=True)), np.zeros(()))

    samples = [side for pair in strata for side in pair]
    found = _interval(float(averaged(*samples)), _bootstrap(samples, averaged), sum(sides), level)
    return replace(found, recorded=power.Strata(tuple(strata), weights))


def median_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Return the median with its exact interval from order statistics (scipy `quantile_test`), None below 6 values."""
    known = np.array([value for value in values if value is not None and isfinite(value)])
    if len(known) < MINIMUM_PAIRS:
        return None
    found = stats.quantile_test(known, p=0.5).confidence_interval(level)
    return Interval(float(np.median(known)), float(found.low), float(found.high), len(known))


def share(happened: int, of: int, level: float = 0.95) -> Interval | None:
    """Return a share of independent cases with Wilson's interval, None of nothing."""
    if not of:
        return None
    found = stats.binomtest(int(happened), int(of)).proportion_ci(level, method="wilson")
    return Interval(happened / of, float(found.low), float(found.high), int(of))


def clustered_ratio(parts: Sequence[float], wholes: Sequence[float], level: float = 0.95) -> Interval | None:
    """Return sum(parts) / sum(wholes) with an interval that resamples the clusters (runs) they belong to.

    For a share of things that hang together in a run (cold among a run's starts), or a ratio of totals. None with fewer
    than `MINIMUM_RUNS` clusters or an empty whole.
    """
    part, whole = np.asarray(parts, float), np.asarray(wholes, float)
    if len(part) < MINIMUM_RUNS or whole.sum() <= 0:
        return None

    def ratio(drawn_part: Values, drawn_whole: Values) -> Values:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(drawn_part.sum(axis=-1) / drawn_whole.sum(axis=-1))

    resampled = _bootstrap([part, whole], ratio, paired=True)
    low, high = np.nanquantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(part.sum() / whole.sum()), float(low), float(high), len(part))


def run_share(parts: Iterable[float], wholes: Iterable[float]) -> Interval | None:
    """Return a share of things that hang together in runs. None with fewer than `MINIMUM_RUNS` runs that have any.

    The bootstrap over runs has no width where all runs agree, so its interval is widened to at least Wilson's with every
    run as a single case: as if all things of a run shared one fate. Above `MANY_RUNS` runs the ratio's linearised variance
    takes the bootstrap's place (Cochran, Sampling Techniques, 1977, section 6.4): as good there, and quick.
    """
    both = pd.DataFrame({"part": list(parts), "whole": list(wholes)}, dtype=float)
    both = both[both["whole"] > 0]
    if len(both) < MINIMUM_RUNS:
        return None
    part, whole = both["part"].to_numpy(), both["whole"].to_numpy()
    found = clustered_ratio(list(part), list(whole)) if len(both) <= MANY_RUNS else _linearised(part, whole)
    if found is None:
        return None
    single = share(round(found.value * len(both)), len(both))
    if single is None:
        return found
    return Interval(found.value, min(found.low, single.low), max(found.high, single.high), found.n)


def _linearised(part: Values, whole: Values) -> Interval:
    n, value = len(part), float(part.sum() / whole.sum())
    residuals = part - value * whole
    margin = float(stats.norm.ppf(0.975) * np.sqrt(n / (n - 1) * (residuals**2).sum()) / whole.sum())
    return Interval(value, max(0.0, value - margin), min(1.0, value + margin), n)


def loss_test(lost: Sequence[tuple[int, int, int, int]]) -> float:
    """Return the two-sided p-value of losses in strata: given each stratum's losses, are they more often on one side?

    `lost`: per stratum (lost of the reference, runs of it, lost of the other, runs of it). Exact: the sum of the strata's
    hypergeometric distributions (Mantel and Haenszel's conditional test); for pairs of single runs it is McNemar's.
    """
    distribution, observed, offset = np.ones(1), 0, 0
    for lost_reference, reference, lost_other, other in lost:
        gone, runs = lost_reference + lost_other, reference + other
        least, most = max(0, gone - reference), min(gone, other)
        distribution = np.convolve(distribution, stats.hypergeom.pmf(np.arange(least, most + 1), runs, gone, other))
        observed, offset = observed + lost_other, offset + least
    as_extreme = distribution <= distribution[observed - offset] * (1 + 1e-9)
    return float(min(1.0, distribution[as_extreme].sum()))


def _strata(runs: pd.DataFrame) -> list[tuple[Values, Values]]:
    known = runs[runs["value"] > 0]
    found = []
    for _, group in known.groupby("stratum", dropna=False):
        other = group["is_other"].astype(bool)
        a, b = (np.minimum(np.log(group["value"][side].to_numpy(float)), _NEVER) for side in (~other, other))
        if min(len(a), len(b)) >= MINIMUM_IN_STRATUM:
            found.append((a, b))
    return found


def _bootstrap(samples: Sequence[Values], statistic: Callable[..., Values], *, paired: bool = False) -> Values:
    """Return the statistic of samples drawn again with replacement, `RESAMPLES` times, in bounded memory."""
    size = sum(map(len, samples))
    found = stats.bootstrap(
        samples, lambda *drawn, axis=-1: statistic(*drawn),  # noqa: ARG005
        vectorized=True, paired=paired, method="percentile",
        n_resamples=RESAMPLES, batch=max(1, _BATCH // size), rng=np.random.default_rng(_SEED),
    )  # fmt: skip
    return np.asarray(found.bootstrap_distribution)


def _interval(seen: float, resampled: Values, n: int, level: float) -> Interval:
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2], method="closest_observation")
    return Interval(exp_or_inf(seen), exp_or_inf(float(low)), exp_or_inf(float(high)), n)


def exp_or_inf(value: float) -> float:
    """Return e to that power, infinity where it is beyond every number."""
    return exp(value) if value < _LARGEST else inf

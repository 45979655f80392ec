"""When a series changes level, told from the series alone.

Pettitt's rank test (A. N. Pettitt, "A non-parametric approach to the change-point problem", Applied Statistics 28, 1979),
splitting in two as long as a split is significant.
"""

from __future__ import annotations

from math import exp

import numpy as np
from numpy.typing import NDArray
from scipy import stats

ALPHA = 0.01
LEAST = 16
"""Runs below which no split can reach p = .01 by the test's formula, however clear it is."""

MOST = 4_000
"""Values that are tested one by one."""


Values = NDArray[np.float64]


def pettitt(values: Values) -> tuple[int, float]:
    """Return where a series most probably changes level (the first place after it) and Pettitt's p-value.

    p ~ 2 exp(-6 K^2 / (n^3 + n^2)), K the largest |U| over all splits. It takes values to be independent of each other; where
    those next to each other are alike, once the two levels are taken out, the variance of U is larger by (1 + r) / (1 - r)
    for a correlation r (Bayley and Hammersley 1946, the effective number of observations), and K counts for less.
    """
    n = len(values)
    if n < LEAST:
        return 0, 1.0
    u = np.abs(2 * np.cumsum(stats.rankdata(values))[:-1] - np.arange(1, n) * (n + 1))
    place = int(np.argmax(u)) + 1
    alike = _neighbours_alike(np.concatenate([_centred(values[:place]), _centred(values[place:])]))
    k = u[place - 1] ** 2 * (1 - alike) / (1 + alike)
    return place, min(1.0, 2 * exp(-6 * k / (n**3 + n**2)))


def change_points(values: Values, alpha: float = ALPHA) -> list[tuple[int, float]]:
    """Return the places where a series changes level, each with its p-value: binary segmentation by `pettitt`.

    One split of the whole cannot see a level that changes and comes back, so half of alpha is spent on the parts of it:
    halves, quarters and so on, overlapping by half (seeded binary segmentation, Kovács, Li, Bühlmann and Munk, Biometrika 110,
    2023), each at its share (Bonferroni). Of more than `MOST` values the medians of so many blocks are looked at.
    """
    block = -(-len(values) // MOST)
    if block > 1:
        medians = np.array([np.median(values[begin : begin + block]) for begin in range(0, len(values), block)])
        return [(place * block, p) for place, p in change_points(medians, alpha)]
    found: list[tuple[int, float]] = []
    open_segments = [(0, len(values))]
    while open_segments:
        begin, end = open_segments.pop()
        place, p = _split(values[begin:end], alpha)
        if p < alpha:
            found.append((begin + place, p))
            open_segments += [(begin, begin + place), (begin + place, end)]
    return sorted(found)


def _split(values: Values, alpha: float) -> tuple[int, float]:
    """Return the likeliest change in a segment, and its p-value with the number of parts looked at allowed for."""
    place, p = pettitt(values)
    if 2 * p < alpha:
        return place, 2 * p
    parts = _parts(len(values), alpha)
    tested = [(2 * len(parts) * p, begin + place) for begin, end in parts for place, p in [pettitt(values[begin:end])]]
    p, place = min([*tested, (2 * p, place)])
    return place, min(1.0, p)


def _parts(n: int, alpha: float) -> list[tuple[int, int]]:
    """Return overlapping halves, quarters and so on of a series, as short as could still be significant."""
    parts: list[tuple[int, int]] = []
    length = n // 2
    while length >= LEAST:
        layer = [(begin, begin + length) for begin in range(0, n - length + 1, max(1, length // 2))]
        layer[-1] = (n - length, n)
        clearest = 2 * exp(-6 * (length / 2) ** 4 / (length**3 + length**2))
        if 2 * (len(parts) + len(layer)) * clearest >= alpha:
            break
        parts += layer
        length //= 2
    return parts


def _centred(values: Values) -> Values:
    return values - np.median(values)


def _neighbours_alike(values: Values) -> float:
    """Return the rank correlation of neighbours, 0 where it is negative and at most .95."""
    ranks = stats.rankdata(values) - (len(values) + 1) / 2
    spread = float((ranks**2).sum())
    return min(0.95, max(0.0, float((ranks[1:] * ranks[:-1]).sum()) / spread)) if spread > 0 else 0.0

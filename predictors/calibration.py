"""Conformal calibration: what a prediction was off by lately, in its own group, says how wide the next one must be.

Residuals are of logarithms, out of sample, and divided by a scale (how far this function's predictions are usually off).
A group's quantile is that of its latest residuals, with those of all groups standing in while it has few. Where a
level was kept too often or too seldom, the level asked for moves against it (adaptive conformal inference: Gibbs and
Candes 2021), which holds coverage under drift.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RATE = 0.07
"""How far a level moves for each run that was wholly missed."""
FARTHEST = 0.3
"""How far a level may be moved."""
FIRST_GUESS = 1.0
"""The scale before anything was compared: a factor e either way."""
FAR = 3.0
"""An offset may be as large as this, a factor 20, or as the largest error ever seen. What is scaled by how far one function is
usually off says little of a function that is off a hundred times as far: without a bound, minutes became millennia."""
NEW = "\x00new"
"""Group and key of what has no history of its own. It teaches nobody else."""
ALL = "\x00all"
"""Group and key of everything but what is new."""
ENOUGH = 20
"""Residuals without which a guess stands in: normal ones, whose mean absolute value is the scale."""


_GUESSED = np.sqrt(np.pi / 2) * np.array([NormalDist().inv_cdf((place + 0.5) / ENOUGH) for place in range(ENOUGH)])


class Calibrator:
    """Latest scaled residuals by group, scales by key, and moved levels by mover and level.

    The latest `window` residuals of a group count; those of all groups together weigh in it as much as `stand_in` of its own,
    and while those are few, so does a guess.
    """

    largest = FAR
    """The largest error seen, or FAR."""

    def __init__(self, window: int = 400, stand_in: float = 40.0) -> None:
        self.window, self.stand_in = window, stand_in
        self.residuals: dict[str, Floats] = {}
        self.scales: dict[str, list[float]] = {ALL: [FIRST_GUESS, 1.0]}
        self.moved: dict[str, list[float]] = {}

    def scale(self, keys: npt.NDArray[np.object_]) -> Floats:
        """Return how far predictions of each key are usually off (mean of the logarithm's absolute error)."""
        all_sum, all_weight = self.scales[ALL]
        usual = all_sum / all_weight
        names, codes = np.unique(keys.astype(str), return_inverse=True)
        sums = np.array([self.scales.get(name, [0.0, 0.0]) for name in names]).reshape(-1, 2)
        guess = np.where(names == NEW, max(usual, FIRST_GUESS), usual)
        scales: Floats = (sums[:, 0] + 3 * guess) / (sums[:, 1] + 3)
        return np.maximum(scales, 1e-6)[codes]

    def offsets(
        self,
        groups: npt.NDArray[np.object_],
        movers: npt.NDArray[np.object_],
        scale: Floats,
        levels: Floats,
        nominal: Floats,
    ) -> Floats:
        """Return what to add to each row's predicted logarithm, a column per level.

        Levels are moved by `movers`, which may be coarser than `groups`. `levels` (rows x quantiles) are probabilities after a share of zeros is taken off, `nominal` the quantiles.
        """
        offsets = np.empty(levels.shape)
        asked = levels + self._moved(movers, nominal)
        for group in np.unique(groups.astype(str)):
            own = groups == group
            values, shares = self._distribution(group)
            offsets[own] = np.interp(np.clip(asked[own], 0.001, 0.999), shares, values)
        return np.clip(offsets * scale[:, None], -self.largest, self.largest)

    def learn(
        self, groups: npt.NDArray[np.object_], keys: npt.NDArray[np.object_], scale: Floats, residuals: Floats
    ) -> None:
        """Add what one or several runs' predictions were off by."""
        scaled = residuals / scale
        self.largest = max(self.largest, float(np.abs(residuals).max(initial=0.0)))
        for group in np.unique(groups.astype(str)):
            self._append(group, scaled[groups == group])
        for key in np.unique(keys.astype(str)):
            self._add_scale(key, residuals[keys == key])
        old = keys != NEW
        if old.any():
            self._append(ALL, scaled[old])
            self._add_scale(ALL, residuals[old])

    def move(self, mover: str, level: float, covered: npt.NDArray[np.bool_]) -> None:
        """Move a level of a mover against what a run's rows made of it; a run with many rows moves it more."""
        name = f"{mover}|{level:g}"
        moved, rows, runs = self.moved.get(name, [0.0, 0.0, 0.0])
        rows, runs = rows + len(covered), runs + 1
        step = RATE * float((level - covered).sum()) * runs / rows
        self.moved[name] = [float(np.clip(moved + step, -FARTHEST, FARTHEST)), rows, runs]

    def _moved(self, movers: npt.NDArray[np.object_], nominal: Floats) -> Floats:
        names, codes = np.unique(movers.astype(str), return_inverse=True)
        moved = [[self.moved.get(f"{name}|{level:g}", [0.0])[0] for level in nominal] for name in names]
        return np.array(moved, dtype=np.float64).reshape(len(names), len(nominal))[codes]

    def _append(self, group: str, scaled: Floats) -> None:
        before = self.residuals.get(group, np.empty(0))
        self.residuals[group] = np.concatenate([before, scaled])[-self.window :]

    def _add_scale(self, key: str, residuals: Floats) -> None:
        total, weight = self.scales.get(key, [0.0, 0.0])
        self.scales[key] = [0.93 * total + float(np.abs(residuals).mean()), 0.93 * weight + 1.0]

    def _distribution(self, group: str) -> tuple[Floats, Floats]:
        """Return residuals in order and the share of weight up to the middle of each."""
        own = self.residuals.get(group, np.empty(0))
        everyone = self.residuals.get(ALL, np.empty(0))
        guess = max(ENOUGH - len(everyone), 0) / ENOUGH
        values = np.concatenate([own, everyone, _GUESSED])
        weights = np.concatenate(
            [
                np.ones(len(own)),
                np.full(len(everyone), (1 - guess) * self.stand_in / max(len(everyone), 1)),
                np.full(ENOUGH, guess * self.stand_in / ENOUGH),
            ]
        )
        order = np.argsort(values, kind="stable")
        shares = np.cumsum(weights[order])
        return values[order], (shares - weights[order] / 2) / shares[-1]

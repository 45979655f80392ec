"""Gradient-boosted trees on pooled rows: the median of a duration, the chance that it does not happen, that a start is cold.

Each learns the logarithm of a duration relative to what the function (of a start-up: the environment) lately took, so that
few rows degrade to that, and an unseen function to what is usual. Trees do not grow beyond the sizes they saw: there a
guarded slope carries on.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder
from threadpoolctl import ThreadpoolController

from predictors.recent import keys_of
from predictors.targets import Target

Floats = npt.NDArray[np.float64]

MOST_ROWS = 200_000
"""Rows a model is fitted on at most: the latest."""
FEWEST_ROWS = 40
"""Fewer rows than this teach no tree anything."""
ONE_THREAD_ROWS = 20_000
"""Up to so many rows one thread is enough: with little to do, several mostly wait for each other, ten times as long on a
busy machine."""
MOST_CATEGORIES = 250
SLOPES = (0.0, 1.2)
"""Bounds of how a duration may grow beyond the sizes seen: not at all, to a little more than in proportion."""


class Median:
    """The median of the logarithm of a duration (ms)."""

    def __init__(self, target: Target, seed: int) -> None:
        self.metric = target.metric
        self.base = target.base
        self.size = target.size
        self.categories = [name for name in ("function", "workflow", "environment", "planner", "kind")
                           if target.level == "task" or name != "kind"]  # fmt: skip
        self.numbers = [
            *target.numbers,
            *(name for recent in target.recents for name in (recent.name,)),
            f"{target.base}_runs",
        ]
        self.signs = _signs(target)
        self.knows_state = "is_cold" in target.numbers
        self.seed = seed
        self.usual = 0.0
        self.trees: Pipeline | None = None
        self.seen: dict[str, list[float]] = {}
        self.slope = 0.0

    def fit(self, rows: pd.DataFrame, took: Floats) -> Median:
        """Learn from rows that happened; `took` are the logarithms of what they took."""
        rows, took = rows.iloc[-MOST_ROWS:], took[-MOST_ROWS:]
        self.usual = float(np.median(took)) if len(took) else 0.0
        if len(took) < FEWEST_ROWS:
            return self
        if self.size:
            self._see(rows, took)
        start = self._start(rows)
        self.categories, self.numbers = _recorded(rows, self.categories), _recorded(rows, self.numbers)
        trees = _pipeline(
            HistGradientBoostingRegressor(
                loss="absolute_error", max_iter=120, learning_rate=0.08, max_leaf_nodes=15, min_samples_leaf=20,
                l2_regularization=1.0, early_stopping=False, random_state=self.seed,
                monotonic_cst=[0] * len(self.categories) + [self.signs.get(name, 0) for name in self._columns()],
            ),
            rows,
            self.categories,
            self._columns(),
        )  # fmt: skip
        with _threads(len(rows)):
            self.trees = trees.fit(self._table(rows), took - start)
        return self

    def predict(self, rows: pd.DataFrame) -> Floats:
        """Return the median logarithm of what each row will take."""
        if self.trees is None or rows.empty:
            return self._start(rows)
        beyond = np.zeros(len(rows))
        if self.size:
            size = rows[self.size].to_numpy()
            low, high = self._seen_sizes(rows)
            within = np.clip(size, low, high)
            beyond = np.nan_to_num(size - within) * self.slope
            rows = rows.assign(**{self.size: within})
        with _threads(len(rows)):
            predicted: Floats = self._start(rows) + self.trees.predict(self._table(rows)) + beyond
        return predicted

    def _start(self, rows: pd.DataFrame) -> Floats:
        start = rows[self.base]
        if self.knows_state:
            cold = rows["is_cold"]
            of_state = rows["environment_cold_took"].where(cold == 1, rows["environment_warm_took"].where(cold == 0))
            start = of_state.fillna(start)
        filled: Floats = start.fillna(self.usual).to_numpy(dtype="float64")
        return filled

    def _columns(self) -> list[str]:
        return [*self.numbers, "beyond_usual_size"] if self.size else self.numbers

    def _table(self, rows: pd.DataFrame) -> pd.DataFrame:
        if self.size:
            rows = rows.assign(beyond_usual_size=(rows[self.size] - rows["function_size"]).fillna(0.0))
        return rows[[*self.categories, *self._columns()]]

    def _see(self, rows: pd.DataFrame, took: Floats) -> None:
        """Remember the sizes of each function, and how a duration grows with them within functions."""
        size = rows[self.size].astype("float64")
        by = size.groupby(keys_of(rows, ("function",)).to_numpy())
        spread = by.agg(["min", "max"]).dropna()
        self.seen = {str(name): [float(low), float(high)] for name, low, high in spread.itertuples()}
        self.seen[""] = [float(size.min()), float(size.max())]
        within = (size - by.transform("median").to_numpy()).to_numpy()
        relative = (
            took - pd.Series(took).groupby(keys_of(rows, ("function",)).to_numpy()).transform("median").to_numpy()
        )
        within = np.nan_to_num(within)
        fit = float(np.dot(within, relative) / (np.dot(within, within) + 1.0))
        self.slope = float(np.clip(fit, *SLOPES))

    def _seen_sizes(self, rows: pd.DataFrame) -> tuple[Floats, Floats]:
        codes, names = pd.factorize(keys_of(rows, ("function",)))
        bounds = np.array([self.seen.get(str(name), self.seen[""]) for name in names]).reshape(-1, 2)[codes]
        return bounds[:, 0], bounds[:, 1]


class Chance:
    """The probability of something that happens or not."""

    def __init__(self, categories: list[str], numbers: list[str], seed: int) -> None:
        self.categories, self.numbers, self.seed = categories, numbers, seed
        self.usual = 0.5
        self.trees: Pipeline | None = None

    def fit(self, rows: pd.DataFrame, happened: npt.NDArray[np.bool_]) -> Chance:
        """Learn from rows and whether it happened."""
        rows, happened = rows.iloc[-MOST_ROWS:], happened[-MOST_ROWS:]
        self.usual = (float(happened.sum()) + 1) / (len(happened) + 2)
        fewest = min(int(happened.sum()), int((~happened).sum()))
        if fewest >= FEWEST_ROWS / 2:
            self.categories, self.numbers = _recorded(rows, self.categories), _recorded(rows, self.numbers)
            trees = _pipeline(
                HistGradientBoostingClassifier(
                    max_iter=60, learning_rate=0.08, max_leaf_nodes=15, min_samples_leaf=20, l2_regularization=1.0,
                    early_stopping=False, random_state=self.seed,
                ),
                rows,
                self.categories,
                self.numbers,
            )  # fmt: skip
            with _threads(len(rows)):
                self.trees = trees.fit(rows[[*self.categories, *self.numbers]], happened)
        return self

    def predict(self, rows: pd.DataFrame) -> Floats:
        """Return the probability for each row."""
        if self.trees is None or rows.empty:
            return np.full(len(rows), self.usual)
        with _threads(len(rows)):
            chance: Floats = self.trees.predict_proba(rows[[*self.categories, *self.numbers]])[:, 1]
        return chance


def _threads(rows: int) -> AbstractContextManager[Any]:
    """Return a context in which that many rows are worked on by as many threads as are worth it."""
    limited: AbstractContextManager[Any] = _pools().limit(limits=1 if rows <= ONE_THREAD_ROWS else None)
    return limited


@cache
def _pools() -> ThreadpoolController:
    """Return the thread pools of the libraries that are loaded: looking for them takes longer than a prediction."""
    return ThreadpoolController()


def _recorded(rows: pd.DataFrame, columns: list[str]) -> list[str]:
    """Return the columns that have any value: one that has none teaches nothing, and trees refuse it."""
    return [name for name in columns if rows[name].notna().any()]


def _pipeline(estimator: Any, rows: pd.DataFrame, categories: list[str], numbers: list[str]) -> Pipeline:
    """Return trees on those columns of the rows. The rarest of too many categories are one: only then are they counted."""
    many = any(rows[name].nunique() >= MOST_CATEGORIES for name in categories)
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan,
        max_categories=MOST_CATEGORIES if many else None,
    )  # fmt: skip
    columns = ColumnTransformer([("categories", encoder, categories), ("numbers", "passthrough", numbers)])
    return Pipeline([("columns", columns), ("trees", estimator)])


def _signs(target: Target) -> dict[str, int]:
    """Return how a prediction may move with a number: time grows with bytes, and may fall with memory."""
    signs = {target.size: 1, "beyond_usual_size": 1} if target.size else {}
    if target.falls_with_memory:
        signs["log_memory"] = -1
    return signs

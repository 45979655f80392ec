"""Two simple predictors that are hard to beat: what rows of the same group took, and a guarded line through them.

Whoever claims to predict better than the engine should also predict better than these. Both answer in quantiles: the
`p` of `n` samples is the one at place `(n + 1) p` of them in order (Weibull's), at or below which the next sample of
the same kind falls with probability `p`, up to the largest sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictors.composition import TOTALS
from predictors.features import with_sizes
from predictors.recent import keys_of
from predictors.replay import Predicted, Prepared
from predictors.targets import DOWNLOAD, EXECUTION, QUANTILES, STARTUP, UPLOAD, Target

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ENOUGH = 5
"""Samples a group needs to speak for itself; all rows together speak with fewer."""
FEWEST_OF_A_LINE = 6
"""Samples a group needs for a line of its own."""
FEWEST_SIZES, FEWEST_MEMORIES = 3, 2
"""Different values without which a line does not depend on the size, or on memory."""
RIDGE = 1.0
"""What the slopes of a wider group weigh in a narrower one's: as much as samples of this sum of squares."""
SLOPES = (0.0, 1.2)
"""Bounds of how a value may grow beyond the sizes seen."""
GROUPS = {
    "task": (("function", "memory_mb", "environment"), ("function", "environment"), ("function",)),
    "invocation": (("environment", "memory_mb"), ("environment",)),
    "run": (("workflow", "planner"), ("workflow",)),
}
"""By level, which rows are of a kind: the narrowest group first. The same function is another one where it runs elsewhere."""

OUTPUT_BYTES = Target("output_bytes", "task", "output_bytes", (), (), "log_inputs")
TIMES = (EXECUTION, DOWNLOAD, UPLOAD, STARTUP)
RUN_TOTALS = tuple(Target(metric, "run", column, (), (), "log_bytes") for metric, column in TOTALS.items())
"""Totals of a run. Its size is what comes with its submission (`describe_runs`)."""

_COLUMNS = (
    "run", "function", "workflow", "environment", "planner", "memory_mb", "log_memory", "is_flexible", "is_sink",
    "remote_inputs", "remote_outputs", "log_inputs", "log_remote", "log_output", "log_bytes",
)  # fmt: skip


class Rival(Protocol):
    """What learns from rows, and then predicts quantiles of others.

    `took` are logarithms (NaN where it took nothing, or unknown), `happened` is 1, 0, or NaN where unknown.
    Predictions are in the target's unit, a column per quantile; NaN where there is no sample at all.
    """

    name: str

    def __init__(self, target: Target) -> None: ...

    def fit(self, rows: pd.DataFrame, took: Floats, happened: Floats) -> Self:
        """Learn from rows, forgetting what was learned before."""

    def predict(self, rows: pd.DataFrame, quantiles: tuple[float, ...]) -> Floats:
        """Return the quantiles of each row."""


class Empirical:
    """Quantiles of what earlier rows of the same group took, of the narrowest group with enough of them."""

    name = "empirical"

    def __init__(self, target: Target) -> None:
        self.target = target
        self.groups = (*GROUPS[target.level], ())
        self.samples: list[dict[str, Floats]] = []

    def fit(self, rows: pd.DataFrame, took: Floats, happened: Floats) -> Self:
        """Learn; a row that took nothing is a sample too, unless its plan said so."""
        learned = _samples(self.target, rows, took, happened)
        rows = rows[learned]
        values = np.where(np.isnan(took), 0.0, np.exp(np.nan_to_num(took)))[learned]
        self.samples = [
            {key: np.sort(values[own]) for key, own in _members(_keys(rows, by)).items()} for by in self.groups
        ]
        return self

    def predict(self, rows: pd.DataFrame, quantiles: tuple[float, ...]) -> Floats:
        """Return the quantiles of each row's group; 0 where the plan says that nothing will happen."""
        predicted = np.full((len(rows), len(quantiles)), np.nan)
        for by, samples in reversed(list(zip(self.groups, self.samples, strict=True))):
            for key, own in _members(_keys(rows, by)).items():
                known = samples.get(key, np.empty(0))
                if len(known) >= (ENOUGH if by else 1):
                    predicted[own] = _quantiles(known, np.array(quantiles))
        predicted[_certain_zero(self.target, rows)] = 0.0
        return predicted


class LogLog:
    """A line for the logarithm, over those of size and memory, of the narrowest group with enough rows of it.

    Groups are those of `GROUPS` without the narrowest: memory is in the line, and planners share one. A group's slopes
    are drawn to those of the next wider one, and in the end of all rows, so that sizes which hardly vary do not make
    them steep. Beyond the sizes seen it grows within `SLOPES`, beyond the memories seen not at all. Quantiles are those
    of what the line missed its own samples by, after the group's share of rows that took nothing.
    """

    name = "log_log"

    def __init__(self, target: Target) -> None:
        self.target = target
        self.groups = GROUPS[target.level][1:]
        self.lines: list[dict[str, _Line]] = []
        self.pooled: _Line | None = None

    def fit(self, rows: pd.DataFrame, took: Floats, happened: Floats) -> Self:
        """Learn a line from all rows, then one from those of each group with enough that happened, the widest first."""
        learned = _samples(self.target, rows, took, happened)
        rows, took = rows[learned], took[learned]
        self.lines, self.pooled = [{} for _ in self.groups], None
        if np.isnan(took).all():
            return self
        places = self._places(rows)
        self.pooled = _line(places, took, np.zeros(places.shape[1]))
        towards = np.tile(self.pooled.slopes, (len(rows), 1))  # of each row, as far as wider groups tell
        for by, lines in reversed(list(zip(self.groups, self.lines, strict=True))):
            for key, own in _members(_keys(rows, by)).items():
                if np.isfinite(took[own]).sum() >= FEWEST_OF_A_LINE:
                    lines[key] = _line(places[own], took[own], towards[own[0]])
                    towards[own] = lines[key].slopes
        return self

    def predict(self, rows: pd.DataFrame, quantiles: tuple[float, ...]) -> Floats:
        """Return the quantiles around each group's line; 0 where the plan says that nothing will happen."""
        predicted = np.full((len(rows), len(quantiles)), np.nan)
        places = self._places(rows)
        if self.pooled is not None:
            predicted = self.pooled.predict(places, np.array(quantiles))
        for by, lines in reversed(list(zip(self.groups, self.lines, strict=True))):
            for key, own in _members(_keys(rows, by)).items():
                if key in lines:
                    predicted[own] = lines[key].predict(places[own], np.array(quantiles))
        predicted[_certain_zero(self.target, rows)] = 0.0
        return predicted

    def _places(self, rows: pd.DataFrame) -> Floats:
        """Return the logarithms of size and memory (NaN: unknown) of each row, size first."""
        size = rows[self.target.size].to_numpy(dtype="float64") if self.target.size else np.full(len(rows), np.nan)
        return np.column_stack([size, rows["log_memory"].to_numpy(dtype="float64")])


RIVALS: tuple[type[Rival], ...] = (Empirical, LogLog)


@dataclass(frozen=True, slots=True)
class _Line:
    """A line through `level` at `centre`, over places from `low` to `high`; `zero` is the share that took nothing."""

    level: float
    slopes: Floats
    centre: Floats
    low: Floats
    high: Floats
    missed: Floats
    zero: float

    def predict(self, places: Floats, quantiles: Floats) -> Floats:
        places = np.where(np.isnan(places), self.centre, places)
        within = np.clip(places, self.low, self.high)
        size_beyond = (places - within)[:, 0] * np.clip(self.slopes[0], *SLOPES)
        middle = self.level + (within - self.centre) @ self.slopes + size_beyond
        missed = _quantiles(self.missed, np.clip((quantiles - self.zero) / max(1 - self.zero, 1e-9), 0, 1))
        return np.where(quantiles <= self.zero, 0.0, np.exp(middle[:, None] + missed))


def _line(places: Floats, took: Floats, towards: Floats) -> _Line:
    """Return the line with the least squares plus `RIDGE` times the squared distance of its slopes from `towards`."""
    happened = np.isfinite(took)
    zero = 1 - float(happened.mean())
    places, took = places[happened], took[happened]
    known = np.isfinite(places)
    centre = np.where(known, places, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    places = np.where(known, places, centre)
    varies = np.array([
        len(np.unique(places[:, place])) >= fewest for place, fewest in enumerate((FEWEST_SIZES, FEWEST_MEMORIES))
    ])  # fmt: skip
    level = float(took.mean())
    apart = np.where(varies, places - centre, 0.0)
    towards = np.where(varies, towards, 0.0)
    misses = took - level - apart @ towards
    slopes = towards + np.linalg.solve(apart.T @ apart + RIDGE * np.eye(len(centre)), apart.T @ misses)
    missed = np.sort(took - level - apart @ slopes)
    return _Line(level, slopes, centre, places.min(axis=0), places.max(axis=0), missed, zero)


def replay_rivals(
    prepared: Prepared,
    blocks: list[tuple[int, int]],
    foreseen: Floats,
    rivals: tuple[type[Rival], ...] = RIVALS,
    quantiles: tuple[float, ...] = QUANTILES,
) -> Iterator[tuple[str, Predicted]]:
    """Yield each rival's name and what it predicts, by metric (times, `output_bytes`, totals of runs) and block.

    A block of runs (first, end) is predicted from the runs known when its first run was submitted. `foreseen` are the
    bytes each task of `prepared.dag` was expected to leave when its run was submitted (NaN: unknown): sizes of rows
    to predict follow from them, those of rows to learn from are the recorded ones.
    """
    submitted, known_at = (prepared.runs[column].to_numpy() for column in ("submitted_at", "known_at"))
    tasks = with_sizes(prepared.dag.rows, prepared.dag.sizes(foreseen))
    for target in (*TIMES, OUTPUT_BYTES, *RUN_TOTALS):
        rows, took, happened = learnable(prepared, target)
        asked = tasks if target.level == "task" else rows
        columns = [name for name in _COLUMNS if name in rows]
        rows, asked = rows[columns], asked[columns]
        run = rows["run"].to_numpy()
        models = [rival(target) for rival in rivals]
        for first, end in blocks:
            known = (known_at[run] <= submitted[first]) & (run < first)
            learned = rows[known], took[known], happened[known]
            start, stop = np.searchsorted(run, [first, end])
            for model in models:
                values = model.fit(*learned).predict(asked.iloc[start:stop], quantiles)
                yield model.name, Predicted(target.level, target.metric, np.arange(start, stop), values)


def learnable(prepared: Prepared, target: Target) -> tuple[pd.DataFrame, Floats, Floats]:
    """Return all rows of a target, in order of runs, with what they `took` and whether it `happened` (see `Rival`)."""
    if target.level != "run" and target is not OUTPUT_BYTES:
        metric = target.metric
        return prepared.tables[metric], prepared.took[metric], prepared.happened[metric]
    if target is OUTPUT_BYTES:
        rows, values = prepared.tables["execution"], prepared.output
    else:
        rows = describe_runs(prepared)
        values = rows[target.column].to_numpy(dtype="float64", na_value=np.nan)
        if target.metric != "makespan":
            complete = rows["is_complete"].fillna(False).to_numpy(dtype=bool)
            values = np.where(complete, values, np.nan)
    happened = np.where(np.isnan(values), np.nan, values > 0)
    return rows, np.log(np.where(values > 0, values, np.nan)), happened


def describe_runs(prepared: Prepared) -> pd.DataFrame:
    """Return the runs with `log_bytes` (what comes with the submission: literal and stored) and mean `log_memory`."""
    tasks = prepared.dag.rows
    size = np.nan_to_num(tasks["literals"].to_numpy()) + tasks["stored"].to_numpy()
    memory = tasks.groupby("run")["log_memory"].mean().reindex(prepared.runs["run"])
    total = np.bincount(tasks["run"].to_numpy(), size, len(prepared.runs))
    return prepared.runs.assign(log_bytes=np.log1p(total), log_memory=memory.to_numpy(dtype="float64"))


def _keys(rows: pd.DataFrame, by: tuple[str, ...]) -> npt.NDArray[np.object_]:
    if not by:
        return np.full(len(rows), "", dtype=object)
    return keys_of(rows, by).to_numpy(dtype=object)


def _members(keys: npt.NDArray[np.object_]) -> Mapping[str, Ints]:
    """Return the positions of each key."""
    codes, names = pd.factorize(keys)
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(codes, minlength=len(names)))[:-1]) if len(names) else []
    return {str(name): part for name, part in zip(names, parts, strict=True)}


def _samples(target: Target, rows: pd.DataFrame, took: Floats, happened: Floats) -> npt.NDArray[np.bool_]:
    """Tell the rows to learn from: it is known what they took, and the plan alone did not say so."""
    known: npt.NDArray[np.bool_] = ~np.isnan(took) | (happened == 0)
    return known & ~_certain_zero(target, rows)


def _certain_zero(target: Target, rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    return target.certain_zero(rows) if target.may_be_zero else np.zeros(len(rows), dtype=bool)


def _quantiles(samples: Floats, quantiles: Floats) -> Floats:
    """Return Weibull's quantiles of samples in order."""
    places = (len(samples) + 1) * quantiles - 1
    found: Floats = np.interp(places, np.arange(len(samples)), samples)
    return found

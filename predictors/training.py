"""Train: replay history coarsely to learn how far predictions are off, fit everything on all of it, and write the card."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictors.history import History
from predictors.predictor import Predictor, finished
from predictors.replay import Errors, Models, Predicted, Prepared, actual_values, blocks_of, fit, replay
from predictors.targets import QUANTILES, TIMES, Target

GROWTH, LATER_GROWTH, MANY_RUNS = 1.35, 2.0, 500
"""The coarse replay fits again when history has grown by this factor; by the later one once there are many runs."""
HELD_OUT = 0.15
"""Share of the runs, the latest, on which the importance of features is judged."""
MOST_STEPS = 400
"""Steps in which calibration learns."""
SHUFFLED_ROWS = 2_000

Tell = Callable[[str], None]


def train(
    history: History, prepared: Prepared, tell: Tell, *, targets: Sequence[Target] = TIMES, seed: int = 0
) -> tuple[Predictor, dict[str, Any]]:
    """Return a predictor of the whole history, and what its card says of the data, the targets and how good they are.

    `tell` is given a line whenever something is done.
    """
    runs = len(prepared.runs)
    errors, predicted = Errors(), []
    for end, some, _ in replay(
        prepared, coarse_steps(runs), errors, seed, at_once=max(1, runs // MOST_STEPS), targets=targets
    ):
        predicted += some
        tell(f"calibration: {end:,} of {runs:,} runs")
    started, seconds = time.monotonic(), {}

    def timed(metric: str, rows: int) -> None:
        nonlocal started
        now = time.monotonic()
        seconds[metric] = round(now - started, 2)
        tell(f"{metric}: {rows:,} rows in {now - started:.1f} s")
        started = now

    models = fit(prepared, np.ones(runs, dtype=bool), seed, targets, timed)
    held_out = int(runs * (1 - HELD_OUT))
    earlier = fit(prepared, np.arange(runs) < held_out, seed, targets) if held_out else None
    card = {
        "seed": seed,
        "data": data_of(history, prepared),
        "targets": [
            {
                "metric": target.metric,
                "level": target.level,
                "rows": int((~np.isnan(prepared.took[target.metric])).sum()),
                "seconds": seconds.get(target.metric),
                "features": [*models.medians[target.metric].categories, *models.medians[target.metric].numbers],
                "importance": importance(prepared, earlier, target, held_out, seed) if earlier else [],
            }
            for target in targets
        ],
        "scores": scores_of(prepared, predicted),
    }
    return finished(prepared, models, errors), card


def coarse_steps(runs: int) -> list[tuple[int, int]]:
    """Return the blocks of runs (first, end) that the coarse replay predicts with one fit."""
    return blocks_of(runs, lambda first: max(first + 1, int(first * (GROWTH if first < MANY_RUNS else LATER_GROWTH))))


def data_of(history: History, prepared: Prepared) -> dict[str, Any]:
    """Return what the data is: counts, span, environments, and a fingerprint that changes with any value."""
    digest = hashlib.sha256()
    for frame in (history.runs, history.tasks, history.edges, history.inputs, history.starts):
        digest.update(pd.util.hash_pandas_object(frame.astype("str"), index=False).to_numpy().tobytes())
    submitted = prepared.runs["submitted_at"]
    return {
        "runs": len(prepared.runs),
        "tasks": len(history.tasks),
        "starts": len(history.starts),
        "first_submitted_at": str(submitted.min()) if len(submitted) else None,
        "last_submitted_at": str(submitted.max()) if len(submitted) else None,
        "workflows": sorted(prepared.runs["workflow"].dropna().unique().tolist()),
        "environments": sorted(prepared.runs["environment"].dropna().unique().tolist()),
        "fingerprint": digest.hexdigest(),
    }


def scores_of(prepared: Prepared, predicted: list[Predicted]) -> list[dict[str, Any]]:
    """Return, by level and metric, how good the coarse replay was: its median relative error at P50, and coverage."""
    scores = []
    for level, metric in dict.fromkeys((each.level, each.metric) for each in predicted if each.metric != "state"):
        mine = [each for each in predicted if (each.level, each.metric) == (level, metric)]
        values = np.concatenate([each.values for each in mine])
        actual = np.concatenate([actual_values(prepared, level, metric, each.rows) for each in mine])
        happened = actual > 0
        if not happened.any():
            continue
        judged = ~np.isnan(actual)[:, None] & (values > 0)
        scores.append({
            "level": level,
            "metric": metric,
            "n": int(happened.sum()),
            "median_relative_error": _share(np.median(np.abs(values[happened, 0] / actual[happened] - 1))),
            "coverage": {
                f"{100 * quantile:g}": _share(np.mean(actual[own] <= values[own, place])) if own.any() else None
                for place, quantile in enumerate(QUANTILES)
                for own in [judged[:, place]]
            },
        })  # fmt: skip
    return scores


def importance(prepared: Prepared, models: Models, target: Target, first: int, seed: int) -> list[dict[str, Any]]:
    """Return by how much the median error grows when a feature is shuffled, on runs the models have not seen.

    Permutation importance (Breiman 2001): relative growth of the median absolute error of the logarithm.
    """
    table, took = prepared.tables[target.metric], prepared.took[target.metric]
    rows = np.flatnonzero((table["run"].to_numpy() >= first) & ~np.isnan(took))
    model = models.medians[target.metric]
    if model.trees is None or not len(rows):
        return []
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.choice(rows, min(len(rows), SHUFFLED_ROWS), replace=False))
    table, took = table.iloc[rows], took[rows]
    order = generator.permutation(len(rows))

    def error(table: pd.DataFrame) -> float:
        return float(np.median(np.abs(model.predict(table) - took)))

    usual = max(error(table), 1e-9)
    grown: list[tuple[str, float]] = [
        (name, error(table.assign(**{name: table[name].to_numpy()[order]})) / usual - 1)
        for name in (*model.categories, *model.numbers)
    ]
    return [
        {"feature": name, "increase": round(growth, 4)} for name, growth in sorted(grown, key=lambda pair: -pair[1])
    ]


def _share(value: npt.ArrayLike) -> float:
    return round(float(np.asarray(value)), 4)


def knew(card: Mapping[str, Any], submitted: Iterable[pd.Timestamp]) -> str:
    """Return a sentence where a model, by its card, may have learnt from runs submitted then; '' where it cannot."""
    last = pd.Timestamp(card["data"]["last_submitted_at"])
    if not any(each <= last for each in submitted):
        return ""
    return "The model was trained when these runs were known. Hint: flowscope evaluate predicts each without them."

"""How large an output will be: from the outputs of the same function for inputs of nearly the same size."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictors.recent import keys_of

Floats = npt.NDArray[np.float64]

NEIGHBOURS = 5
MOST_SAMPLES = 2_000
"""Latest samples of a function that count."""


class OutputSize:
    """Nearest neighbours in the size of the input, on a logarithmic scale, by workflow and function."""

    def __init__(self) -> None:
        self.samples: dict[str, Floats] = {}

    def fit(self, rows: pd.DataFrame, log_inputs: Floats, log_output: Floats) -> OutputSize:
        """Learn from rows with both sizes (logarithms of 1 + bytes)."""
        for by in (("workflow", "function"), ("function",), ()):
            keys = keys_of(rows, by).to_numpy() if by else np.full(len(rows), "")
            order = np.argsort(keys.astype(str), kind="stable")
            ends = np.flatnonzero(keys[order][1:] != keys[order][:-1]) + 1 if len(order) else np.empty(0, dtype=int)
            for part in np.split(order, ends):
                if len(part):
                    latest = part[-MOST_SAMPLES:]
                    pairs = np.column_stack([log_inputs[latest], log_output[latest]])
                    self.samples["\x1e".join([str(len(by)), keys[part[0]]])] = pairs[
                        np.argsort(pairs[:, 0], kind="stable")
                    ]
        return self

    def predict(self, rows: pd.DataFrame, log_inputs: Floats) -> Floats:
        """Return the logarithm of 1 + the output's bytes; without any sample the output is as large as the input."""
        predicted = log_inputs.astype("float64").copy()
        full = keys_of(rows, ("workflow", "function")).to_numpy()
        functions = keys_of(rows, ("function",)).to_numpy()
        for name in np.unique(full.astype(str)):
            own = np.flatnonzero(full == name)
            for key in (f"2\x1e{name}", f"1\x1e{functions[own[0]]}", "0\x1e"):
                if key in self.samples:
                    predicted[own] = _neighbours(self.samples[key], log_inputs[own])
                    break
        return predicted


def _neighbours(samples: Floats, asked: Floats) -> Floats:
    """Return the mean output of the nearest samples, moved by their ratio to the size asked for, weighted by nearness.

    Of samples equally near the latest count: those of one size are in order of time.
    """
    count = min(NEIGHBOURS, len(samples))
    place = np.searchsorted(samples[:, 0], asked, side="right")
    offsets = np.arange(-NEIGHBOURS, NEIGHBOURS)
    candidates = np.clip(place[:, None] + offsets, 0, len(samples) - 1)
    distance = np.abs(samples[candidates, 0] - asked[:, None])
    # A clipped position repeats the first or last sample: only one of them counts.
    repeated = np.zeros_like(distance, dtype=bool)
    repeated[:, 1:] = candidates[:, 1:] == candidates[:, :-1]
    distance = np.where(repeated, np.inf, distance)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :count]
    rows = np.arange(len(asked))[:, None]
    chosen = candidates[rows, nearest]
    weights = 1.0 / (distance[rows, nearest] + 1e-6)
    weights = np.where(np.isfinite(distance[rows, nearest]), weights, 0.0)
    grows = 1.0 if _grows(samples) else 0.0
    outputs = samples[chosen, 1] + grows * (asked[:, None] - samples[chosen, 0])
    mean: Floats = (outputs * weights).sum(axis=1) / weights.sum(axis=1)
    return np.maximum(mean, 0.0)


def _grows(samples: Floats) -> bool:
    """Tell whether outputs keep a steadier ratio to their inputs than a steady size."""
    ratio = samples[:, 1] - samples[:, 0]
    return bool(np.std(ratio) <= np.std(samples[:, 1]))

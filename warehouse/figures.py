"""Figures without the digits that threads leave to chance."""

from __future__ import annotations

import numpy as np
import pandas as pd

_DIGITS = 12
_LARGEST = 300


def rounded(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with its figures rounded to 12 digits: a sum's last ones depend on the order threads add up in."""
    figures = frame.select_dtypes("float64")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        size = np.floor(np.log10(np.abs(figures.to_numpy())))
        scale = 10.0 ** np.clip(np.nan_to_num(_DIGITS - 1 - size), -_LARGEST, _LARGEST)
        rounded_figures = np.round(figures.to_numpy() * scale) / scale
    kept = np.where(np.isfinite(rounded_figures), rounded_figures, figures.to_numpy())
    return frame.assign(**dict(zip(figures.columns, kept.T, strict=True)))

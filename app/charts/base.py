"""What all charts share. Colours come from the theme, units are on the axes, colour is never alone."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

MOST_MARKS = 5_000
NEUTRAL = "#7d8a97"
"""Grey that reads on both backgrounds: edges, idle time, rules."""

PHONE = "width < 420"
"""An expression of Vega's: whether the drawing is as narrow as on a phone."""

SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")

Drawn = alt.LayerChart | alt.FacetChart


def thinned(frame: pd.DataFrame, most: int = MOST_MARKS) -> tuple[pd.DataFrame, str | None]:
    """Return every n-th row so that at most `most` are left, and a sentence where that left some out."""
    if len(frame) <= most:
        return frame, None
    step = -(-len(frame) // most)
    return frame.iloc[
        ::step
    ], f"The chart draws every {step}th of {len(frame):,} points; the table and the files hold all."


def round_steps(low: float, high: float, slack: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten from `low` to `high`, and by the factor `slack` beyond either."""
    steps = [digit * 10.0**power for power in range(-9, 9) for digit in (1, 2, 5)]
    return [step for step in steps if low / slack <= step <= high * slack]


def cycled(values: Sequence[str], length: int) -> list[str]:
    """Return the first `length` values, from the start again where there are not so many."""
    return [values[place % len(values)] for place in range(length)]

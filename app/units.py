"""Figures as people read them: three significant digits, thousands separated, the unit that fits."""

from __future__ import annotations

from datetime import timedelta
from math import isfinite

UNKNOWN = "unknown"


def known(value: float | None) -> bool:
    """Return whether there is a figure at all: not None, not NaN, not infinite."""
    return value is not None and isfinite(value)


def duration(milliseconds: float | None) -> str:
    """Return a duration: '0.42 ms', '123 ms', '4.57 s', '12.3 min'."""
    if milliseconds is None or not known(milliseconds):
        return UNKNOWN
    for unit, size, below in (("ms", 1, 1_000), ("s", 1_000, 120_000), ("min", 60_000, 7_200_000)):
        if abs(milliseconds) < below:
            return f"{figure(milliseconds / size)} {unit}"
    return f"{figure(milliseconds / 3_600_000)} h"


def size(count: float | None) -> str:
    """Return bytes: '512 B', '1.37 kB', '20.5 MB'."""
    if count is None or not known(count):
        return UNKNOWN
    for unit, scale in (("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9)):
        if abs(count) < 1000 * scale:
            return f"{figure(count / scale)} {unit}"
    return f"{figure(count / 1e12)} TB"


def percent(share: float | None) -> str:
    """Return a share as a percentage: '7.3 %'."""
    return UNKNOWN if share is None or not known(share) else f"{figure(100 * share)} %"


def ratio(value: float | None) -> str:
    """Return a ratio: '0.93x'."""
    return UNKNOWN if value is None or not known(value) else f"{figure(value)}x"


def figure(value: float) -> str:
    """Return a number with three significant digits, and more where it has more before the point."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def count(number: float, one: str, many: str | None = None) -> str:
    """Return a number and its noun: '1 run', '540 runs'."""
    return f"{number:,.0f} {one if number == 1 else many or one + 's'}"


def age(since: timedelta) -> str:
    """Return how long ago: 'just now', '6 minutes ago', '3 days ago'."""
    minutes = since.total_seconds() / 60
    for noun, length, below in (("minute", 1, 90), ("hour", 60, 60 * 48)):
        if minutes < below:
            return "just now" if minutes < 1 else f"{count(round(minutes / length), noun)} ago"
    return f"{count(round(minutes / 1440), 'day')} ago"

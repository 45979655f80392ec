"""Phrases that findings share: a ratio, an interval, what it decides, what was held equal."""

from __future__ import annotations

from collections.abc import Iterable
from math import isinf

from app.findings.finding import Effect
from app.findings.matching import METRICS, Compared, Matched
from app.findings.statistics import Interval
from app.plain import plain
from app.units import UNKNOWN, count, figure, percent

_NAMES = {"memory_mb": "memory", "sla": "SLA", "structure_hash": "structure"}


def times(found: Interval | None, level: float = 0.95) -> str:
    """Return '0.89 times (95 % interval 0.85 to 0.93)'."""
    if found is None:
        return UNKNOWN
    return f"{_ratio(found.value)} times ({100 * level:.4g} % interval {_ratio(found.low)} to {_ratio(found.high)})"


def times_decided(found: Interval | None, level: float) -> str:
    """Return '0.98 times (95 % interval 0.94 to 1.02, undecided)': the same, and what it does not decide."""
    said = times(found, level)
    ends = found and {"undecided": "undecided", "no difference": "no difference beyond 5 %"}.get(found.decision)
    return f"{said[:-1]}, {ends})" if ends else said


def share(found: Interval | None) -> str:
    """Return '24.0 % (95 % interval 20.6 to 27.7 %)'."""
    return UNKNOWN if found is None else f"{percent(found.value)} ({ends_of_share(found)})"


def ends_of_share(found: Interval) -> str:
    """Return '95 % interval 20.6 to 27.7 %'."""
    return f"95 % interval {figure(100 * found.low)} to {percent(found.high)}"


def effect(name: str, found: Interval | None, unit: str = "ratio") -> Effect | None:
    """Return an interval as the effect of a finding."""
    return None if found is None else Effect(name, found.value, found.low, found.high, unit)


def decided(found: Compared, level: float = 0.95) -> str:
    """Say what one comparison decides: 'makespan is 0.89 times (95 % interval 0.85 to 0.93)', and if it decides nothing."""
    name = METRICS.get(found.metric, found.metric)
    if found.ratio is None:
        return f"of {name} too little can be compared"
    said = f"{name} is {times(found.ratio, level)}"
    if found.ratio.decision == "no difference":
        return f"{said}, no difference beyond 5 %"
    if found.ratio.decision != "undecided":
        return said
    needed = found.ratio.needed(level)
    more = f", about {needed:,} {'pairs' if found.way == 'paired' else 'runs'} in all would decide" if needed else ""
    return f"{said}, undecided{more}"


def rests_on(matched: Matched) -> str:
    """Say how runs were laid beside each other and what was not held equal."""
    held = listed(matched.held_equal)
    how = (
        f"{count(matched.pairs, 'pair')} of runs alike in {held}"
        if matched.way == "paired"
        else f"{count(len(matched.blocks), 'run')} compared within {matched.pairs:,} strata of equal {held}"
    )
    free = f"; not held equal: {listed(matched.free)}" if matched.free else ""
    return f"{how}{free}"


def but(matched: Matched) -> str:
    """Return what else may be the reason for a difference: '; but their planner differs too', nothing where nothing is known."""
    if not matched.confounded:
        return ""
    verb = "differs" if len(matched.confounded) == 1 else "differ"
    return f"; but their {' and '.join(_NAMES.get(name, name) for name in matched.confounded)} {verb} too"


def listed(names: Iterable[str]) -> str:
    """Return column and tag names as a list in Markdown."""
    shown = [
        f"tag {plain(name.removeprefix('tag '), 30)}" if name.startswith("tag ") else _NAMES.get(name, name)
        for name in names
    ]
    return ", ".join(shown) or "nothing"


def _ratio(value: float) -> str:
    """Return a ratio with two decimals, and more where those would say 0 or 1 of what is neither."""
    if isinf(value):
        return "infinitely many"
    if 0 < abs(value - 1) < 0.01:
        return f"{value:.3f}"
    return f"{value:.2g}" if 0 < value < 0.1 else figure(value)

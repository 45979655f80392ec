"""What may be changed in a simulation: `--set KEY=VALUE`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from predictors.simulation.borrowing import FAMILIES
from warehouse.errors import FlowscopeError


class BadChange(FlowscopeError):
    """What is to be changed is not understood."""


@dataclass(frozen=True, slots=True)
class Key:
    """Something that may be changed: how its value is read, what it means, and values to try."""

    read: Callable[[str], Any]
    meaning: str
    examples: tuple[str, ...]


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return value

    return read


def _above_zero(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number < 1e9:
        raise ValueError("a number above 0")
    return number


def _limit(value: str) -> float:
    if value == "none":
        return math.inf
    if not re.fullmatch(r"[1-9][0-9]{0,8}", value):
        raise ValueError("a whole number above 0, or none")
    return float(value)


def _sla(value: str) -> str:
    matched = re.fullmatch(r"p?([1-9][0-9]?|100)", value.lower())
    if value.lower() != "average" and not matched:
        raise ValueError("average, or a percentile such as p90")
    return f"p{matched[1]}" if matched else "average"


def _planner(value: str) -> str:
    if not value:
        raise ValueError("uniform, wukong, non-uniform, or a planner's recorded name")
    return value.lower() if value.lower() in FAMILIES else value


def _word(value: float | str) -> str:
    """Write a value so that it reads back as the same."""
    if isinstance(value, str):
        return value
    if math.isinf(value):
        return "none"
    return f"{value:.0f}" if value.is_integer() else repr(value)


KEYS: Mapping[str, Key] = {
    "optimization.preload": Key(
        _one_of("on", "off"),
        "fetch upstream results as soon as they exist: 'on' where a task on a planned worker has two upstream tasks elsewhere",
        ("off", "on"),
    ),
    "optimization.prewarm": Key(
        _one_of("perfect", "off"),
        "'perfect': every worker but those of root tasks starts warm; 'off': none is warmed on purpose",
        ("perfect", "off"),
    ),
    "optimization.taskdup": Key(
        _one_of("on", "off"), "run an upstream task that nobody has begun instead of waiting for it", ("off", "on")
    ),
    "worker.task_limit": Key(_limit, "tasks that a worker runs at once, or none", ("6", "3", "1", "none")),
    "memory": Key(_above_zero, "memory of every worker in MB", ("1024", "2048", "4096")),
    "keep_alive_s": Key(_above_zero, "for how long a free container stays warm, in seconds", ("60", "600", "1")),
    "max_workers": Key(_limit, "workers that may run at once, or none", ("15", "5", "none")),
    "startup_factor": Key(_above_zero, "start-ups take this many times as long, cold and warm", ("0.33", "0.5", "2")),
    "reuse": Key(
        _one_of("most-recent", "least-recent", "any"), "which free container a worker takes", ("least-recent", "any")
    ),
    "sla": Key(_sla, "the plan that was made of such a run at this SLA: average, or a percentile", ("p90", "p50", "average")),
    "planner": Key(
        _planner, "the plan that this planner made of such a run: uniform, wukong, non-uniform, or a recorded name",
        ("uniform", "non-uniform", "wukong"),
    ),
}  # fmt: skip
"""All that can be changed, by key."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What is changed, by key, in the order of the keys; empty for a plain replay."""

    values: tuple[tuple[str, Any], ...] = ()
    words: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The name of the scenario: 'recorded', or what is changed."""
        return ", ".join(f"{key}={word}" for key, word in self.words) or "recorded"

    def get(self, key: str, otherwise: Any = None) -> Any:
        """Return the value of a key that is changed."""
        return dict(self.values).get(key, otherwise)

    def __bool__(self) -> bool:
        return bool(self.values)


def read_changes(settings: Sequence[str]) -> Changes:
    """Read `KEY=VALUE` settings. Raises `BadChange` for an unknown key, a value that it cannot have, and a key given twice."""
    values, words = {}, {}
    for setting in settings:
        key, equals, value = (part.strip() for part in setting.partition("="))
        if not equals or key not in KEYS:
            near = get_close_matches(key, KEYS, n=1)
            raise BadChange(
                f"{setting!r} changes nothing that is known. Hint: "
                + (
                    f"did you mean {near[0]}={KEYS[near[0]].examples[0]}?"
                    if near
                    else f"--set KEY=VALUE with one of {', '.join(KEYS)}."
                )
            )
        if key in values:
            raise BadChange(f"{key} is set twice. Hint: one value for each scenario.")
        try:
            values[key] = KEYS[key].read(value)
        except ValueError as error:
            raise BadChange(
                f"{key} cannot be {value!r}. Hint: {error}, such as {key}={KEYS[key].examples[0]}."
            ) from error
        words[key] = _word(values[key])
    order = [key for key in KEYS if key in values]
    return Changes(tuple((key, values[key]) for key in order), tuple((key, words[key]) for key in order))


REPORTED = tuple(
    read_changes(settings)
    for settings in (
        (),
        ("optimization.preload=off",),
        ("optimization.preload=on",),
        ("optimization.prewarm=off",),
        ("optimization.prewarm=perfect",),
        ("optimization.taskdup=off",),
        ("optimization.taskdup=on",),
        ("worker.task_limit=6",),
        ("memory=1024",),
        ("startup_factor=0.33",),
        ("startup_factor=0.9",),
    )
)
"""The scenarios that the report's questions read."""

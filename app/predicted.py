"""What is predicted and by whom, and how these are called."""

from __future__ import annotations

from dataclasses import dataclass

from app.plain import label, plain

ENGINE = "engine"
"""The recorded plans."""

RULE = "engine_rule"
"""The engine's rule, replayed: it predicts runs that nobody planned, too."""

SIMPLE = ("empirical", "log_log")
"""The simple rivals: what a model has to beat to be worth its trouble."""

MODEL = "boosted"

_TOLD = "_given_state"
_CALLED = {
    ENGINE: "the engine's plans",
    RULE: "the engine's rule, replayed",
    "empirical": "quantiles of the group",
    "log_log": "log-log regression",
    MODEL: "boosted trees",
    "boosted_given_state": "boosted trees, told the state",
}


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that is predicted: the metric, at which level, and how it is called."""

    level: str
    metric: str
    name: str

    @property
    def is_chance(self) -> bool:
        """Whether it is a probability, which has a Brier score and no relative error."""
        return self.metric == "state"


TARGETS: tuple[Target, ...] = (
    Target("task", "execution", "execution of a task"),
    Target("task", "download", "download of a task"),
    Target("task", "upload", "upload of a task"),
    Target("task", "input_bytes", "input size of a task"),
    Target("task", "output_bytes", "output size of a task"),
    Target("invocation", "startup", "start-up of a worker"),
    Target("invocation", "state", "cold or warm start"),
    Target("run", "makespan", "makespan of a run"),
    Target("run", "execution", "execution of a run"),
    Target("run", "download", "download of a run"),
    Target("run", "upload", "upload of a run"),
    Target("run", "startup", "start-up of a run"),
    Target("run", "input_bytes", "input size of a run"),
    Target("run", "output_bytes", "output size of a run"),
    Target("run", "starts", "workers of a run"),
)
"""Everything that a plan predicts, single tasks and workers first: there errors cannot cancel."""

THINGS = {"task": "tasks", "invocation": "workers", "run": "runs"}
"""What the rows of a level are."""


def target(level: str, metric: str) -> Target | None:
    """Return the target of that level and metric, None where plans predict no such thing."""
    return next((one for one in TARGETS if (one.level, one.metric) == (level, metric)), None)


def knows_more(predictor: str) -> bool:
    """Return whether a predictor is told what nobody knows beforehand: it bounds what can be had, and wins nothing."""
    return predictor.endswith(_TOLD)


def called(predictor: str) -> str:
    """Return how a predictor is called, as Markdown: a name that is not ours is shown as it is."""
    return _CALLED.get(predictor) or plain(predictor, 30)


def shown(predictor: str) -> str:
    """Return how a predictor is called where Markdown is not read: legends, options, cells."""
    return _CALLED.get(predictor) or label(predictor, 30)


def in_order(predictors: set[str]) -> list[str]:
    """Return predictors in the order they are always named in: the engine's, the simple ones, models, others."""
    order = list(_CALLED)
    return sorted(predictors, key=lambda name: (order.index(name) if name in order else len(order), name))

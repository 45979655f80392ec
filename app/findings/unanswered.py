"""Questions that wait for what the warehouse does not hold yet: they say what is missing."""

from __future__ import annotations

from collections.abc import Callable

from app.findings.evidence import Evidence
from app.findings.finding import Answer, Question, not_enough


def _missing(sentence: str, would_change: str) -> Callable[[Evidence], Answer]:
    return lambda _evidence: not_enough(sentence, would_change)


QUESTIONS = (
    Question(
        "F12",
        "How long after the worker is ready do pre-load and task duplication act, and would acting at worker-ready be earlier?",
        "optimisations",
        "",
        _missing(
            "Simulated alternatives are missing: nothing says yet when they would have acted at worker-ready.",
            "Forward simulation of the recorded runs.",
        ),
    ),
    Question(
        "F14",
        "What part of start-up goes to libraries, and what would fetching them on demand save?",
        "cold_starts",
        "",
        _missing(
            "The time start-up spends on libraries is not recorded: starts have no phases.",
            "A source that records the phases of a start, or starts with and without libraries.",
        ),
    ),
    Question(
        "F15",
        "Which predictor is best for each metric, and by how much does it beat the engine's rule?",
        "prediction_accuracy",
        "",
        _missing(
            "The engine's recorded plan is the only predictor in the warehouse: there is nothing to compare it with.",
            "Predictors trained and evaluated on these runs.",
        ),
    ),
    Question(
        "F16",
        "How much history does prediction need: accuracy against metrics kept, in runs and bytes?",
        "prediction_accuracy",
        "",
        _missing(
            "No predictor has been evaluated with a shortened history.",
            "Predictors evaluated with histories of several lengths.",
        ),
    ),
    Question(
        "F17",
        "How well are runs predicted whose fan-out is only known at run time: one dynamic workflow against two static ones?",
        "prediction_accuracy",
        "",
        _missing(
            "No simulation with a fan-out of unknown width is in the warehouse.",
            "Forward simulation with the width as a random variable.",
        ),
    ),
    Question(
        "F19",
        "How do executables as tasks compare with functions, in time and in predictability?",
        "planners_and_cost",
        "",
        _missing("No task is an executable: every recorded task is a function.", "Runs whose tasks are executables."),
    ),
    Question(
        "F22",
        "What do workers on AWS Lambda show: cold starts, init time, billed time, memory headroom?",
        "cold_starts",
        "",
        _missing("No run comes from AWS Lambda.", "Logs of AWS Lambda."),
    ),
    Question(
        "F24",
        "What should be run next: which comparison is undecided, and how many runs would decide it?",
        "experiments",
        "",
        _missing(
            "The power of a comparison is not simulated yet. The Experiments page says of each comparison how many more runs would decide it.",
            "Forward simulation, and resampling of the recorded spread.",
        ),
    ),
)

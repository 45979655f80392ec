"""STUB."""

from __future__ import annotations

from app.findings.evidence import Evidence
from app.findings.finding import Answer, Question, not_enough


def _f13(evidence: Evidence) -> Answer:
    return not_enough("Not computed yet.", "")


def _f18(evidence: Evidence) -> Answer:
    return not_enough("Not computed yet.", "")


QUESTIONS = (
    Question("F13", "Is CPU a function of memory, so that it need not be compared?", "planners_and_cost", "", _f13),
    Question(
        "F18",
        "How does the serialised DAG grow with tasks, what does it cost workers, how small could it be?",
        "planners_and_cost",
        "",
        _f18,
    ),
)

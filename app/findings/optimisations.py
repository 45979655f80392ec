"""STUB."""

from __future__ import annotations

from app.findings.evidence import Evidence
from app.findings.finding import Answer, Question, not_enough


def _f01(evidence: Evidence) -> Answer:
    return not_enough("Not computed yet.", "")


def _f05(evidence: Evidence) -> Answer:
    return not_enough("Not computed yet.", "")


def _f20(evidence: Evidence) -> Answer:
    return not_enough("Not computed yet.", "")


QUESTIONS = (
    Question("F01", "Is pre-load being assigned, and does it run where it is assigned?", "optimisations", "", _f01),
    Question("F05", "Is task duplication being applied at all?", "optimisations", "", _f05),
    Question(
        "F20",
        "Which optimisations override the same hook and return values, where did that happen, what did it do?",
        "optimisations",
        "",
        _f20,
    ),
)

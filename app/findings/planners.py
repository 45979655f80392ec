"""STUB."""

from __future__ import annotations

from app.findings.evidence import Evidence
from app.findings.finding import Answer, Question, not_enough


def _f23(evidence: Evidence) -> Answer:
    return not_enough("Not computed yet.", "")


QUESTIONS = (
    Question(
        "F23",
        "Which planner is fastest, which is cheapest, what is the frontier between them?",
        "planners_and_cost",
        "",
        _f23,
    ),
)

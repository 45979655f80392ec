"""STUB."""

from __future__ import annotations

from app.findings.evidence import Evidence
from app.findings.finding import Answer, Question, not_enough


def _f11(evidence: Evidence) -> Answer:
    return not_enough("Not computed yet.", "")


QUESTIONS = (
    Question(
        "F11",
        "How wrong are active periods that assume no start-up time, and what does that do to the plan?",
        "active_periods",
        "",
        _f11,
    ),
)

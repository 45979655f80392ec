"""STUB."""

from __future__ import annotations

from app.findings.evidence import Evidence
from app.findings.finding import Answer, Question, not_enough


def _f08(evidence: Evidence) -> Answer:
    return not_enough("Not computed yet.", "")


QUESTIONS = (
    Question(
        "F08",
        "What do conservative and optimistic SLAs do to the actual metrics, and is each SLA's promise kept?",
        "slas",
        "",
        _f08,
    ),
)

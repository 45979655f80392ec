"""STUB."""

from __future__ import annotations

from app.findings.evidence import Evidence
from app.findings.finding import Answer, Question, not_enough


def _f10(evidence: Evidence) -> Answer:
    return not_enough("Not computed yet.", "")


QUESTIONS = (
    Question(
        "F10",
        "How often do workers start cold, what does it cost in time and money, what does pre-warming save?",
        "cold_starts",
        "",
        _f10,
    ),
)

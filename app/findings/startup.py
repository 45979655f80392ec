"""STUB."""

from __future__ import annotations

from app.findings.evidence import Evidence
from app.findings.finding import Answer, Question, not_enough


def _f02(evidence: Evidence) -> Answer:
    return not_enough("Not computed yet.", "")


QUESTIONS = (
    Question(
        "F02",
        "Did launching containers faster pay off: what changed in start-up latency, and when?",
        "cold_starts",
        "",
        _f02,
    ),
)

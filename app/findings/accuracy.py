"""STUB."""

from __future__ import annotations

from app.findings.evidence import Evidence
from app.findings.finding import Answer, Question, not_enough


def _f07(evidence: Evidence) -> Answer:
    return not_enough("Not computed yet.", "")


QUESTIONS = (Question("F07", "How does prediction accuracy move over time?", "prediction_accuracy", "", _f07),)

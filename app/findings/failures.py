"""STUB."""

from __future__ import annotations

from app.findings.evidence import Evidence
from app.findings.finding import Answer, Question, not_enough


def _f21(evidence: Evidence) -> Answer:
    return not_enough("Not computed yet.", "")


QUESTIONS = (Question("F21", "What failed, why, and what else did each failure take down?", "failures", "", _f21),)

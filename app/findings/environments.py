"""STUB."""

from __future__ import annotations

from app.findings.evidence import Evidence
from app.findings.finding import Answer, Question, not_enough


def _f09(evidence: Evidence) -> Answer:
    return not_enough("Not computed yet.", "")


QUESTIONS = (Question("F09", "How do local and remote runs differ?", "experiments", "", _f09),)

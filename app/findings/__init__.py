"""The report's questions, F01 to F24, and how each is answered. Every page, the static report and the command line read these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from app.findings import (
    accuracy,
    active_periods,
    cold_starts,
    environments,
    experiments,
    failures,
    less_memory,
    optimisations,
    planners,
    resources,
    slas,
    startup,
    task_limit,
    unanswered,
)
from app.findings.evidence import Evidence
from app.findings.finding import Finding, Question

QUESTIONS: tuple[Question, ...] = tuple(
    sorted(
        (
            question
            for theme in (
                accuracy,
                active_periods,
                cold_starts,
                environments,
                experiments,
                failures,
                less_memory,
                optimisations,
                planners,
                resources,
                slas,
                startup,
                task_limit,
                unanswered,
            )
            for question in theme.QUESTIONS
        ),
        key=lambda question: question.code,
    )
)


def find(question: Question, evidence: Evidence) -> Finding:
    """Answer one question from the evidence."""
    own = Evidence(evidence.read, evidence.selection)
    answer = question.compute(own)
    return Finding(question, answer, tuple(own.statements))


def find_all(
    evidence: Evidence, codes: Iterable[str] | None = None, progress: Callable[[str], None] = lambda _code: None
) -> Iterator[Finding]:
    """Answer the questions with these codes, or all, in order of their codes."""
    wanted = None if codes is None else set(codes)
    for question in QUESTIONS:
        if wanted is None or question.code in wanted:
            progress(question.code)
            yield find(question, evidence)

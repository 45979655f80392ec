"""The report's questions, F01 to F24, and how each is answered. Every page, the static report and the command line read these."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

from app.findings import (
    accuracy,
    acting,
    active_periods,
    cold_starts,
    environments,
    executables,
    experiments,
    failures,
    fan_outs,
    history,
    lambda_workers,
    less_memory,
    libraries,
    next_runs,
    optimisations,
    planners,
    predictors,
    resources,
    slas,
    startup,
    task_limit,
)
from app.findings.evidence import Evidence
from app.findings.finding import Finding, Question, not_enough
from app.plain import plain

_LOG = logging.getLogger(__name__)

QUESTIONS: tuple[Question, ...] = tuple(
    sorted(
        (
            question
            for theme in (
                accuracy,
                acting,
                active_periods,
                cold_starts,
                environments,
                executables,
                experiments,
                failures,
                fan_outs,
                history,
                lambda_workers,
                less_memory,
                libraries,
                next_runs,
                optimisations,
                planners,
                predictors,
                resources,
                slas,
                startup,
                task_limit,
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


def find_or_say(question: Question, evidence: Evidence) -> Finding:
    """Answer one question; where that fails, the answer says so, for the other answers stand. The traceback is logged."""
    try:
        return find(question, evidence)
    except Exception as error:  # a fault of ours, or a query that ran out of memory: one answer of many
        if str(error) == "Query interrupted":  # how DuckDB passes Ctrl-C on
            raise
        _LOG.exception("%s could not be computed", question.code)
        why = plain(f"{type(error).__name__}: {error}", 160)
        answer = not_enough(f"This could not be computed ({why}): a fault of flowscope, not of the data.", "")
        return Finding(question, answer, (), is_fault=True)


def find_all(
    evidence: Evidence, codes: Iterable[str] | None = None, progress: Callable[[str], None] = lambda _code: None
) -> Iterator[Finding]:
    """Answer the questions with these codes, or all, in order of their codes."""
    wanted = None if codes is None else set(codes)
    for question in QUESTIONS:
        if wanted is None or question.code in wanted:
            progress(question.code)
            yield find_or_say(question, evidence)

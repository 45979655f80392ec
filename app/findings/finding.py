"""What a finding is: a question of the report with its computed answer and everything the answer rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from app.charts import Drawn
from app.findings.evidence import Evidence

Status = Literal["holds", "does not hold", "mixed", "answered", "not enough data", "not applicable"]


@dataclass(frozen=True, slots=True)
class Effect:
    """One figure with its 95 % interval, NULL ends where there is none. `unit` is 'ratio', 'share', 'ms', ..."""

    name: str
    value: float
    low: float | None
    high: float | None
    unit: str = "ratio"


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart of a finding with the text that stands for it. `name` is a file name without its ending."""

    drawn: Drawn
    text: str
    name: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What was computed for a question.

    `sentence`, `left_out`, `caveats` and `would_change` are Markdown, with what dumps say in code spans (`app.plain`).
    `n` counts what the answer rests on and `counted` says what that is ('runs', 'pairs of runs', ...). `table` is the
    data behind the answer, small enough to show.
    """

    status: Status
    sentence: str
    n: int = 0
    counted: str = "runs"
    effect: Effect | None = None
    left_out: str = ""
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    figures: tuple[Figure, ...] = ()
    caveats: tuple[str, ...] = ()
    would_change: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A question of the report, the page it stands on, the least it takes to answer it, and how it is computed."""

    code: str
    text: str
    page: str
    minimum: str
    compute: Callable[[Evidence], Answer]


@dataclass(frozen=True, slots=True)
class Finding:
    """A question, its answer, the SQL that was run for it, and whether it could not be computed for a fault of ours."""

    question: Question
    answer: Answer
    statements: tuple[str, ...]
    is_fault: bool = False

    @property
    def code(self) -> str:
        """The question's code, 'F01' to 'F24'."""
        return self.question.code


def not_enough(sentence: str, would_change: str, *, n: int = 0, counted: str = "runs") -> Answer:
    """Return an answer that says what is missing."""
    return Answer("not enough data", sentence, n, counted, would_change=would_change)

"""What the runs of a home answer, and the rows they are."""

from __future__ import annotations

from typing import Any

import pandas as pd

from app.findings import QUESTIONS, find
from app.findings.evidence import Selection, of_reader
from app.findings.finding import Answer
from warehouse.connection import open_current
from warehouse.home import Home


def answer(home: Home, code: str, selection: Selection | None = None) -> Answer:
    """The answer to the question of this code ('F01' to 'F24'), of all runs or those selected."""
    (question,) = [question for question in QUESTIONS if question.code == code]
    with open_current(home) as reader:
        return find(question, of_reader(reader, selection)).answer


def rows(home: Home, sql: str, parameters: dict[str, Any] | None = None) -> pd.DataFrame:
    """The rows of a query."""
    with open_current(home) as reader:
        return reader.frame(sql, parameters or {})

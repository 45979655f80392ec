"""Predictions of others beside the recorded plans: what is said of the plans stays what it is."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

from app.findings import QUESTIONS, find
from app.findings.evidence import of_reader
from app.findings.finding import Answer
from app.sections import SECTIONS
from tests.app.test_pages import said, visit
from tests.dumps import flowscope
from warehouse.connection import open_current
from warehouse.home import Home
from warehouse.writer import Writer

ABOUT_PREDICTORS = {question.code: question.text for question in QUESTIONS if question.code in ("F15", "F16")}
"""Questions whose answers are about other predictors."""

PASSING = re.compile(r"[Gg]eneration \d+, published|-badge\[|^It would take: ")
"""Lines of pages that say how fresh they are, or belong to any answer."""

PREDICTIONS = """
-- For all that the plans predict: twice as much, at two percentiles; and a metric that no plan has.
select name as predictor, level, run_id, task_id, invocation_id, metric, percentile::double as sla_percentile, 2 * predicted as predicted
from prediction_errors
cross join (values ('a rival'), ('another')) as predictors(name)
cross join (values (50), (90)) as percentiles(percentile)
where predictor = 'engine' and predicted is not null
union all
select 'a rival', 'run', run_id, null, null, 'gb_seconds', 50, 1 from run_summary
"""

VIEWS = ("prediction_errors", "prediction_accuracy_over_time", "sla_coverage")


@pytest.fixture(scope="module")
def rivals(sample_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The recorded runs, and predictions of two others."""
    home = Home(tmp_path_factory.mktemp("rivals") / "home")
    shutil.copytree(sample_home.root, home.root, symlinks=True)
    with open_current(home) as reader, reader.query(PREDICTIONS) as batches:
        predictions = batches.read_all()
    with Writer(home) as writer:
        assert writer.put_results({"predictions": predictions})["predictions"] > 100_000
        writer.publish()
    return home


def parts_of(answer: Answer) -> Iterator[Any]:
    """All of an answer that can be compared with ==."""
    yield from (answer.status, answer.sentence, answer.n, answer.counted, answer.effect, answer.left_out)
    yield from (answer.caveats, answer.would_change)
    for figure in answer.figures:
        yield from (figure.name, figure.text, figure.drawn.to_dict())


@pytest.mark.parametrize("question", [question for question in QUESTIONS if question.code not in ABOUT_PREDICTORS], ids=lambda question: question.code)  # fmt: skip
def test_no_answer_about_plans_moves(question: Any, sample_home: Home, rivals: Home) -> None:
    answers = []
    for home in (sample_home, rivals):
        with open_current(home) as reader:
            answers.append(find(question, of_reader(reader)).answer)
    before, after = answers
    assert list(parts_of(after)) == list(parts_of(before))
    pd.testing.assert_frame_equal(after.table, before.table)


@pytest.mark.parametrize("view", VIEWS)
def test_the_plans_rows_of_every_view_stay(view: str, sample_home: Home, rivals: Home) -> None:
    rows = f"select * from {view} where predictor = 'engine' order by all"
    with open_current(sample_home) as before, open_current(rivals) as after:
        pd.testing.assert_frame_equal(after.frame(rows), before.frame(rows))
        assert after.value(f"select count(distinct predictor) from {view}") == 3


def shown(home: Home, page: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a page says and shows in tables, but how fresh it is, and the answers about predictors."""
    at = visit(home, page, monkeypatch)
    assert not at.exception
    lines = said(at).splitlines()
    told = [
        place for place, line in enumerate(lines) if any(question in line for question in ABOUT_PREDICTORS.values())
    ]
    other = {place + more for place in told for more in (0, 1)}
    kept = [line for place, line in enumerate(lines) if place not in other and not PASSING.search(line)]
    tables = [table.value.drop(columns="last_read_at", errors="ignore").to_csv() for table in at.dataframe]
    return [*kept, *(f"{metric.label} {metric.value}" for metric in at.metric), *tables]


@pytest.mark.parametrize("page", [*SECTIONS, "run"])
def test_no_page_moves(page: str, sample_home: Home, rivals: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    before = shown(sample_home, page, monkeypatch)
    assert shown(rivals, page, monkeypatch) == before
    assert len(before) > 10


def test_the_accuracy_page_opens_with_the_plans_and_offers_each_predictors_own_metrics(
    sample_home: Home, rivals: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def options(at: Any) -> dict[str, list[str]]:
        return {box.label: box.options for box in at.selectbox}

    before = options(visit(sample_home, "prediction_accuracy", monkeypatch))
    at = visit(rivals, "prediction_accuracy", monkeypatch)
    assert options(at) == before | {"Predictor": ["engine", "a rival", "another"]}
    at = visit(rivals, "prediction_accuracy", monkeypatch, predictor="a rival", metric="gb_seconds")
    assert not at.exception
    assert options(at)["Metric"] == [*before["Metric"], "gb_seconds"]
    assert "No prediction of gb_seconds in this selection can be compared" in said(at)


def test_what_the_demo_prints_of_planners_stays(
    sample_home: Home, rivals: Home, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    from warehouse.commands import print_summary

    printed = []
    for home in (sample_home, rivals):
        print_summary(home)
        printed.append(capsysbinary.readouterr().out)
    assert printed[0] == printed[1] != b""


def test_what_is_printed_as_findings_stays(sample_home: Home, rivals: Home) -> None:
    codes = ",".join(question.code for question in QUESTIONS if question.page == "slas")
    before, after = (flowscope(home.root, "findings", "--findings", codes) for home in (sample_home, rivals))
    assert (after.returncode, after.stdout) == (before.returncode, before.stdout)

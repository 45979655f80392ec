"""Findings read the runs that were selected, and show SQL that gives the same rows again."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from app.findings import find_all, find_or_say
from app.findings.evidence import Evidence, Selection, of_reader
from app.findings.finding import Answer, Question
from tests.app import dumps
from warehouse.connection import open_current
from warehouse.home import Home

COUNT = "-- How many.\nselect count(*)::bigint as runs from selected_runs"


def counted(home: Home, selection: Selection) -> tuple[int, int]:
    """The runs selected, and those the shown SQL selects when anybody runs it."""
    with open_current(home) as reader:
        evidence = of_reader(reader, selection)
        found = int(evidence.record(COUNT)["runs"])
        (statement,) = evidence.statements
        with reader.query(statement) as batches:
            shown = batches.read_all().to_pylist()
    return found, shown[0]["runs"]


@pytest.mark.parametrize(
    ("selection", "condition"),
    [
        (Selection(), "true"),
        (Selection(values=(("workflow", ("matmul", "tree_sum")),)), "workflow in ('matmul', 'tree_sum')"),
        (Selection(values=(("planner", (None,)),)), "planner is null"),
        (
            Selection(values=(("sla", ("p90", None)), ("environment", ("gateway-1",)))),
            "(sla = 'p90' or sla is null) and environment = 'gateway-1'",
        ),
        (
            Selection(tags=(("taskdup", ("on",)), ("planned_with", ("uniform-opt", "non-uniform-opt")))),
            "tags['taskdup'] = 'on' and tags['planned_with'] in ('uniform-opt', 'non-uniform-opt')",
        ),
        (
            Selection(since=date(2026, 11, 23), until=date(2026, 11, 23)),
            "submitted_at::date = date '2026-11-23'",
        ),
        (Selection(until=date(2020, 1, 1)), "false"),
        (Selection(values=(("workflow", ("no such workflow",)),)), "false"),
    ],
)  # fmt: skip
def test_a_selection_is_the_same_as_its_condition(selection: Selection, condition: str, sample_home: Home) -> None:
    with open_current(sample_home) as reader:
        expected = reader.value(f"select count(*) from run_summary where {condition}")
    assert counted(sample_home, selection) == (expected, expected)


def test_a_condition_of_the_users_own_is_shown_as_he_wrote_it(sample_home: Home) -> None:
    where = "planner like '%-opt' and tags['seed'] is not null -- $runs"
    with open_current(sample_home) as reader:
        runs = tuple(run for (run,) in reader.rows(f"select run_id from run_summary where {where}\n"))
        evidence = of_reader(reader, Selection(runs=runs, where=f"{where}\n"))
        assert evidence.record(COUNT)["runs"] == len(runs) > 0
    assert where in evidence.statements[0]
    assert counted(sample_home, Selection(runs=runs, where=f"{where}\n")) == (len(runs), len(runs))


def test_names_that_are_hostile_select_their_runs_and_stay_values(tmp_path: Path) -> None:
    name = "x') or true --\"; drop table runs; $tag_1 {}"
    tables = dumps.merged(dumps.one_run(1, name), dumps.one_run(2), dumps.one_run(3))
    tables["run_tags"] = [{"run_id": run["run_id"], "tag": name, "value": name} for run in tables["runs"][:2]]
    home = dumps.take_in(tmp_path / "home", dumps.write(tmp_path / "dump", tables))
    assert counted(home, Selection(values=(("workflow", (name,)),))) == (1, 1)
    assert counted(home, Selection(tags=((name, (name,)),))) == (2, 2)
    assert "`" in Selection(tags=((name, (name,)),)).sentence()


def test_only_known_columns_select() -> None:
    with pytest.raises(ValueError, match="run_id"):
        Selection(values=(("run_id", ("x",)),)).sql()


def test_sql_may_begin_with_a_comment_and_its_own_tables(tmp_path: Path) -> None:
    home = dumps.tiny(tmp_path / "home")
    with open_current(home) as reader:
        evidence = of_reader(reader)
        record = evidence.record(
            "-- a\n-- b\nwith mine as (select $number as number) select number from mine", number=7
        )
    assert record == {"number": 7}
    assert evidence.statements[0].startswith("-- a\n-- b\nwith selected_runs as (")


def test_a_selection_says_what_it_selects() -> None:
    assert Selection().sentence() == "all runs"
    said = Selection((("workflow", ("a", None)),), (("t", ("1",)),), date(2026, 1, 2), date(2026, 1, 3)).sentence()
    assert said == "workflow `a` or (none); tag `t` `1`; submitted from 2026-01-02; submitted until 2026-01-03"
    many = Selection((("workflow", tuple("abcdefgh")),)).sentence()
    assert many == "workflow `a` or `b` or `c` or `d` or `e` or 3 more"


def test_an_answer_that_fails_says_so_and_the_others_stand(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fails(evidence: Evidence) -> Answer:
        evidence.frame("select no_such_column from selected_runs")
        raise AssertionError

    with open_current(dumps.tiny(tmp_path / "home")) as reader:
        found = find_or_say(Question("F99", "Why?", "summary", "", fails), of_reader(reader))
    assert found.is_fault
    assert found.answer.status == "not enough data"
    assert (
        "no_such_column" in found.answer.sentence and "a fault of flowscope, not of the data" in found.answer.sentence
    )
    assert "Traceback" in caplog.text


@pytest.mark.slow
def test_no_answer_fails_on_the_recorded_runs_however_they_are_selected(sample_home: Home) -> None:
    with open_current(sample_home) as reader:
        for selection in (
            Selection(),
            Selection(values=(("planner", ("WUKONGPlanner",)),)),
            Selection(values=(("environment", ("gateway-1",)), ("workflow", ("matmul",)))),
            Selection(tags=(("fault", ("raise", "oom", "kill-worker", "kill-client")),)),
            Selection(values=(("workflow", ("gone",)),)),
        ):
            for finding in find_all(of_reader(reader, selection)):
                assert not finding.is_fault, (finding.code, selection.sentence(), finding.answer.sentence)
                assert "nan" not in finding.answer.sentence.lower()

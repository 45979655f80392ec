"""`flowscope findings`: text for a terminal, strict JSON for programs, over the runs somebody chose."""

from __future__ import annotations

import json
import shutil
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from jsonschema import Draft202012Validator

from app.answers import MOST_ROWS, as_object, as_text, effect
from app.findings import QUESTIONS
from app.findings.evidence import of_reader
from app.findings.finding import Answer, Effect
from app.report_commands import selected
from tests.app import dumps
from tests.app.findings_by_hand import finding, full
from tests.dumps import Done, answer, flowdump, flowscope
from warehouse.connection import open_current
from warehouse.home import Home

CODES = [question.code for question in QUESTIONS]
NUMBER = {"type": ["number", "null"]}
TEXT = {"type": "string"}
EFFECT = {
    "type": ["object", "null"], "additionalProperties": False, "required": ["name", "value", "low", "high", "unit"],
    "properties": {"name": TEXT, "value": NUMBER, "low": NUMBER, "high": NUMBER, "unit": TEXT},
}  # fmt: skip
FINDING = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "code": {"pattern": "^F[0-9]{2}$"},
        "question": {"minLength": 1},
        "status": {"enum": ["holds", "does not hold", "mixed", "answered", "not enough data", "not applicable"]},
        "answer": {"type": "string", "minLength": 1},
        "n": {"type": "integer", "minimum": 0},
        "counted": TEXT,
        "effect": EFFECT,
        "left_out": TEXT,
        "caveats": {"type": "array", "items": TEXT},
        "would_change": TEXT,
        "sql": {"type": "array", "items": TEXT},
        "page": TEXT,
        "minimum": TEXT,
        "table": {"type": "array", "maxItems": MOST_ROWS, "items": {"type": "object"}},
        "table_rows": {"type": "integer", "minimum": 0},
    },
}
SCHEMA = Draft202012Validator({"type": "array", "items": {**FINDING, "required": list(FINDING["properties"])}})


def strict(text: str) -> Any:
    """JSON as RFC 8259 has it: NaN and infinities are refused."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@pytest.fixture(scope="module")
def as_json(sample_home: Home) -> Done:
    return flowscope(sample_home.root, "findings", "--format", "json")


def test_json_is_a_list_of_every_finding_and_nothing_else_on_stdout(as_json: Done) -> None:
    objects = strict(as_json.stdout)
    assert as_json.returncode == 0
    assert [one["code"] for one in objects] == CODES
    assert [error.message for error in SCHEMA.iter_errors(objects)] == []
    assert all(len(one["table"]) == min(one["table_rows"], MOST_ROWS) for one in objects)


def test_answers_in_json_are_text_without_marks(as_json: Done) -> None:
    assert [one["code"] for one in strict(as_json.stdout) if "**" in one["answer"] or "`" in one["answer"]] == []


def test_progress_is_a_line_per_finding_on_stderr(as_json: Done) -> None:
    assert [line.split()[0] for line in as_json.stderr.splitlines()] == CODES


def test_the_sql_of_a_finding_can_be_run_again(as_json: Done, sample_home: Home) -> None:
    statements = [sql for one in strict(as_json.stdout) for sql in one["sql"]]
    with open_current(sample_home) as reader:
        for sql in statements:
            with reader.query(sql) as batches:
                assert batches.schema.names


def test_text_has_code_status_question_and_answer_in_lines_that_fit(sample_home: Home, as_json: Done) -> None:
    done = flowscope(sample_home.root, "findings")
    assert done.returncode == 0
    blocks = done.stdout.rstrip("\n").split("\n\n")
    assert [block[:3] for block in blocks] == CODES
    for block, one in zip(blocks, strict(as_json.stdout), strict=True):
        head, *rest = block.split("\n")
        assert head.endswith(one["status"])
        assert "".join(one["question"].split()) in "".join(block.split())
        assert "".join(one["answer"].split()) in "".join(block.split()).replace(">", "")
        assert all(line.startswith("     ") for line in rest)
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_findings_are_chosen_by_code_in_their_order_and_in_any_case(sample_home: Home) -> None:
    done = flowscope(sample_home.root, "findings", "--format", "json", "--findings", "f15, F12,")
    assert [one["code"] for one in strict(done.stdout)] == ["F12", "F15"]
    assert [line[:3] for line in done.stderr.splitlines()] == ["F12", "F15"]


@pytest.mark.parametrize("command", ["findings", "report"])
@pytest.mark.parametrize(("codes", "said"), [("F03,F99", "no finding is called F99. Hint: there are F01, F02"), (",", "names no finding"), ("", "names no finding")])  # fmt: skip
def test_a_code_that_is_none_is_wrong_usage(
    command: str, codes: str, said: str, sample_home: Home, tmp_path: Path
) -> None:
    done = flowscope(sample_home.root, command, "--findings", codes, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_where_chooses_the_runs_as_tag_does(tmp_path: Path) -> None:
    home = dumps.tiny(tmp_path / "home")
    with open_current(home) as reader:
        chosen = selected(reader, "workflow = 'wf' and makespan_ms > 1200 -- the slow ones")
        assert chosen.runs == ("run-wf-3", "run-wf-4", "run-wf-5")  # 1.0 + 0.1 * number s
        evidence = of_reader(reader, chosen)
        assert evidence.record("select count(*) as runs from selected_runs") == {"runs": 3}
        assert reader.rows(evidence.statements[0]) == [(3,)]
        assert selected(reader, None).is_everything


def test_where_reaches_the_findings(tmp_path: Path) -> None:
    home = dumps.tiny(tmp_path / "home")
    done = flowscope(home.root, "findings", "--format", "json", "--findings", "F07", "--where", "run_id = 'run-wf-1'")
    (one,) = strict(done.stdout)
    assert done.stderr.splitlines()[0] == "1 run where run_id = 'run-wf-1'"
    assert one["sql"] == [] or any("run_id = 'run-wf-1'" in sql for sql in one["sql"])


@pytest.mark.parametrize("command", ["findings", "report"])
@pytest.mark.parametrize(("where", "said"), [("workflow = 'nowhere'", "No run matches workflow = 'nowhere'. Hint: flowscope sql"), ("no_column = 1", "no_column"), ("true); drop table runs; select (1", "Hint: give exactly one SELECT"), ("", "The condition is empty"), ("workflow", "not true or false"), ("1=0) union all (select 'ghost'", "syntax error")])  # fmt: skip
def test_a_condition_that_chooses_nothing_is_refused_with_a_sentence(
    command: str, where: str, said: str, sample_home: Home, tmp_path: Path
) -> None:
    done = flowscope(sample_home.root, command, "--where", where, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["findings", "report"])
def test_without_runs_there_is_nothing_to_answer(command: str, tmp_path: Path) -> None:
    nowhere = flowscope(tmp_path / "none", command, cwd=tmp_path)
    assert (nowhere.returncode, nowhere.stdout) == (1, "")
    assert nowhere.stderr.startswith("Error: No warehouse in ")
    home = dumps.take_in(tmp_path / "home", dumps.write(tmp_path / "dump", {"prices": [{"environment": "default"}]}))
    empty = flowscope(home.root, command, cwd=tmp_path)
    assert (empty.returncode, empty.stdout) == (1, "")
    assert empty.stderr == "Error: The warehouse holds no runs. Hint: flowscope ingest PATH, or flowscope demo.\n"
    assert not (tmp_path / "report.html").exists()


@pytest.mark.timeout(900)
def test_the_demo_prints_every_answer_in_brief_after_the_summary(sample_home: Home, tmp_path: Path) -> None:
    shutil.copytree(sample_home.root, tmp_path / "home")  # what is loaded already is not read again
    done = flowscope(tmp_path / "home", "demo", "--no-serve")
    assert done.returncode == 0
    summary, _, rest = done.stdout.partition("\n\n")
    assert summary.startswith("planner")
    assert [line[:3] for line in rest.splitlines() if not line.startswith(" ")] == CODES
    assert "Rests on" not in rest


# how a finding is put


def test_values_that_json_does_not_have_become_null_or_text() -> None:
    table = pd.DataFrame(
        {
            "figure": [np.nan, np.inf, 1.5],
            "whole": pd.array([1, None, 3], dtype="Int64"),
            "at": pd.to_datetime(["2026-01-02T03:04:05", None, None]),
            "mixed": [np.int64(7), Decimal("2.5"), date(2026, 1, 2)],
            "nested": [[1.0, np.nan], np.array(["a"]), {"k": pd.NA}],
        }
    )
    table.columns = pd.Index(["figure", "whole", "at", "mixed", "mixed"])
    one = as_object(finding(answer=Answer("answered", "x", n=np.int64(3), effect=Effect("e", float("nan"), None, float("inf")), table=table)))  # type: ignore[arg-type]  # fmt: skip
    again = strict(json.dumps(one, allow_nan=False))
    assert (again["n"], again["effect"]) == (3, {"name": "e", "value": None, "low": None, "high": None, "unit": "ratio"})  # fmt: skip
    assert again["table"] == [
        {"figure": None, "whole": 1, "at": "2026-01-02T03:04:05", "mixed": 7, "mixed_1": [1.0, None]},
        {"figure": None, "whole": None, "at": None, "mixed": 2.5, "mixed_1": ["a"]},
        {"figure": 1.5, "whole": 3, "at": None, "mixed": "2026-01-02", "mixed_1": {"k": None}},
    ]


def test_an_object_holds_the_first_rows_of_a_long_table_and_says_how_many_there_are() -> None:
    one = as_object(finding(answer=Answer("answered", "x", table=pd.DataFrame({"row": range(1000)}))))
    assert (len(one["table"]), one["table"][-1], one["table_rows"]) == (MOST_ROWS, {"row": 199}, 1000)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Effect("makespan", 0.893, 0.85, 0.934), "makespan: 0.89 times (95 % interval 0.85 to 0.93)"),
        (Effect("applied", 0.5, 0.25, 0.75, "share"), "applied: 50.0 % (95 % interval 25.0 % to 75.0 %)"),
        (Effect("start-up", 1234.0, 900.0, 1500.0, "ms"), "start-up: 1.23 s (95 % interval 900 ms to 1.50 s)"),
        (Effect("cost", 0.00012, None, None, "usd"), "cost: 0.00012 USD (no interval)"),
        (Effect("ratio", 2.0, 1.0, float("inf")), "ratio: 2.00 times (95 % interval 1.00 to no upper end)"),
        (Effect("ratio", float("nan"), float("nan"), None), "ratio: unknown (no interval)"),
        (Effect("width", 3.0, 2.0, 4.0, "tasks"), "width: 3.00 tasks (95 % interval 2.00 tasks to 4.00 tasks)"),
    ],
)
def test_an_effect_is_told_with_its_unit_and_its_interval(found: Effect, words: str) -> None:
    assert effect(found) == words


def test_text_wraps_at_the_width_and_keeps_control_characters_from_the_terminal() -> None:
    text = as_text(full("F01", "w\x1b[31m\u202e" + "long " * 40), 40)
    assert max(map(len, text.splitlines())) <= 40
    assert all(character.isprintable() or character in "\n\u2068\u2069" for character in text)
    for words in ("F01  ± mixed", "What about F01?", "> Runs of", "Effect: makespan of", "Rests on: 60 runs", "Left out: 3 runs"):  # fmt: skip
        assert words in text


# prices


def price(
    folder: Path, usd: float, as_of: str | None, name: str = "prices.jsonl", environment: str = "default"
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    row = {"environment": environment, "gb_second_usd": usd, "request_usd": 0, "source": "a list", "as_of": as_of}
    (folder / name).write_text(json.dumps(row) + "\n")
    return folder / name


def costs(home: Home) -> list[float | None]:
    return [
        None if cost is None else round(cost / seconds, 9)
        for cost, seconds in answer(home, "select cost_usd, gb_seconds_derived from run_summary order by run_id")
    ]


def test_a_price_is_one_file_of_which_the_latest_stands_and_which_can_be_taken_out_again(tmp_path: Path) -> None:
    home = dumps.take_in(tmp_path / "home", dumps.write(tmp_path / "dump", dumps.one_run(1)))
    assert costs(home) == [None]
    newer, older = price(tmp_path / "a", 2.0, "2026-02-01"), price(tmp_path / "b", 1.0, "2026-01-01")
    undated = price(tmp_path / "c", 3.0, None, "prices-undated.jsonl")
    assert flowscope(home.root, "ingest", newer, older, undated).returncode == 0
    assert costs(home) == [2.0]
    own = price(tmp_path / "d", 5.0, "2020-01-01", environment="here")
    assert flowscope(home.root, "ingest", own).returncode == 0
    assert costs(home) == [5.0]
    for path, left in ((own, 2.0), (newer, 1.0), (older, 3.0), (undated, None)):
        assert flowscope(home.root, "forget", path).returncode == 0
        assert costs(home) == [left]


def test_the_price_that_comes_with_the_project_loads_whole_and_is_no_part_of_the_samples(
    tmp_path: Path, sample_home: Home
) -> None:
    done = flowscope(tmp_path / "home", "ingest", dumps.ROOT / "ingest" / "prices" / "prices.jsonl")
    assert (done.returncode, "1 rows in, 0 rejected" in done.stderr) == (0, True)
    (row,) = answer(
        Home(tmp_path / "home"), "select environment, gb_second_usd, request_usd, source, as_of from prices"
    )
    assert row[:3] == ("default", 0.0000166667, 0.0000002)
    assert None not in row
    assert answer(sample_home, "select count(*) from prices") == [(0,)]


def test_a_price_file_of_another_name_is_refused_with_the_names_that_are_read(tmp_path: Path) -> None:
    done = flowscope(
        tmp_path / "home", "ingest", price(tmp_path, 1.0, None, "price.jsonl"), flowdump(tmp_path / "dump")
    )
    assert done.returncode == 1
    assert "price.jsonl names no table. Hint: call it <table>[-anything].parquet, .jsonl" in done.stderr

"""Questions without an answer yet say what the selection holds of it, computed and not assumed."""

from __future__ import annotations

from typing import Any

import pytest

from app.findings.evidence import Selection
from app.markdown import to_text
from tests.app import dumps
from tests.app.findings.homes import answer
from warehouse.home import Home

CODES = ("F19", "F22")


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Four runs on Lambda, with an executable."""
    runs: list[dict[str, list[dict[str, Any]]]] = []
    for number in range(4):
        tables = dumps.one_run(number)
        tables["runs"][0]["engine"] = "aws-lambda"
        tables["tasks"][0]["kind"] = "executable"
        tables["tasks"][1]["kind"] = "function"
        tables["invocations"][0] |= {
            "init_ms": 150,
            "billed_ms": 400,
            "max_memory_mb": 512,
        }
        runs.append(tables)
    root = tmp_path_factory.mktemp("rich")
    return dumps.take_in(root / "home", dumps.write(root / "dump", dumps.merged(*runs)))


@pytest.mark.parametrize(
    ("code", "sentence", "n"),
    [
        ("F19", "4 of 8 tasks are executables, with a median execution of 200 ms", 4),
        ("F22", "4 invocations ran on AWS Lambda, 4 of them cold (median init 150 ms, billed 1.60 s in all, 50.0 % of the memory", 4),
    ],
)  # fmt: skip
def test_what_is_on_record_is_counted(code: str, sentence: str, n: int | None, rich: Home) -> None:
    found = answer(rich, code)
    assert found.status == "not enough data"
    assert sentence in to_text(found.sentence)
    assert n is None or found.n == n


def test_what_is_not_on_record_is_said(sample_home: Home) -> None:
    assert "None of 11,589 tasks is recorded as an executable" in answer(sample_home, "F19").sentence
    assert answer(sample_home, "F22").status == "not applicable"


@pytest.mark.parametrize("code", CODES)
def test_an_empty_selection_is_an_answer(code: str, rich: Home) -> None:
    found = answer(rich, code, Selection(values=(("workflow", ("gone",)),)))
    assert found.status in ("not enough data", "not applicable")
    assert found.n == 0
    assert "nan" not in found.sentence.lower() and "None " not in found.sentence.replace("None of 0", "")

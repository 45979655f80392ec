from __future__ import annotations

import gzip
import re
import types
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from ingest.adapters.adapter import Document, Fact, Line, batches, fitted, json_object
from ingest.records import Refused
from warehouse.batches import Reject, Rows, Skipped, UnknownFields
from warehouse.errors import SourceError
from warehouse.unpacked import MAX_LINE_BYTES

DOCS = Path(__file__).parents[3] / "docs" / "adapters.md"
RUN = {"run_id": "r"}


def document(tmp_path: Path, content: bytes, place: str = "/logs/a/b.log") -> Document:
    path = tmp_path / "content"
    path.write_bytes(content)
    return Document(path, place, tmp_path)


def refusal(table: str, values: dict[str, Any]) -> str:
    with pytest.raises(Refused) as caught:
        fitted(table, values)
    return caught.value.reason


def test_the_template_of_the_documentation_reads_its_own_sample(tmp_path: Path) -> None:
    text = DOCS.read_text()
    sample = re.search(r"```text\n(.*?)```", text, re.DOTALL)
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert sample
    assert code
    adapter = types.ModuleType("call_log")
    exec(compile(code[1], "call_log.py", "exec"), adapter.__dict__)
    assert adapter.recognise(sample[1])
    assert not adapter.recognise("task_id\thash\tname")
    found = list(batches(adapter.read, document(tmp_path, sample[1].encode())))
    rejects = [batch for batch in found if isinstance(batch, Reject)]
    assert [(reject.location, reject.reason) for reject in rejects] == [("line 3", "wrong_type")]
    tasks = next(batch.rows for batch in found if isinstance(batch, Rows) and batch.table == "tasks")
    assert [(task["task_id"], task["execution_ms"], task["status"]) for task in tasks] == [
        ("call-1", 212.5, "succeeded"),
        ("call-2", 198.0, "failed"),
    ]
    # 10:00:00.125 minus 212.5 ms
    assert tasks[0]["started_at"] == datetime(2024, 5, 4, 9, 59, 59, 912_500)


@pytest.mark.parametrize("packed", [False, True])
def test_lines_are_numbered_with_blank_ones_and_whatever_their_ends(tmp_path: Path, packed: bool) -> None:
    content = "\ufeffone\r\n\n  \nfour\nf\xfcnf".encode()
    lines = list(document(tmp_path, gzip.compress(content) if packed else content).lines())
    assert lines == [Line(1, "one"), Line(4, "four"), Line(5, "fünf")]


def test_a_line_without_end_is_one_reject_and_the_next_line_is_read(tmp_path: Path) -> None:
    content = b"first\n" + b"x" * (2 * MAX_LINE_BYTES + 5) + b"\nthird\n"
    first, second, third = document(tmp_path, gzip.compress(content, 1)).lines()
    assert (first, third) == (Line(1, "first"), Line(3, "third"))
    assert isinstance(second, Reject)
    assert (second.location, second.reason, second.excerpt) == ("line 2", "too_large", "x" * 200)


def test_bytes_that_are_no_text_and_gzip_that_breaks_off(tmp_path: Path) -> None:
    assert list(document(tmp_path, b"a\xffb\x00\n").lines()) == [Line(1, "a\N{REPLACEMENT CHARACTER}b\x00")]
    packed = gzip.compress(b"some lines\n" * 1000)
    with pytest.raises(SourceError) as caught:
        list(document(tmp_path, packed[:-20]).lines())
    assert caught.value.reason == "truncated"
    assert "b.log" in str(caught.value)


def test_a_document_knows_where_it_stands(tmp_path: Path) -> None:
    here = document(tmp_path, b"x", "s3://bucket/2024-05-04-[$LATEST]0a/000000.gz")
    assert (here.name, here.folders) == ("000000.gz", ["s3:", "bucket", "2024-05-04-[$LATEST]0a"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "too_deep"),
        ('{"a":' * 100_000, "too_deep"),
        ("[1]", "not_json"),
        ('{"a": NaN}', "not_json"),
        ('{"a": -Infinity}', "not_json"),
        ('{"a": ' + "9" * 5_000 + "}", "not_json"),
        ("{", "not_json"),
        ("null", "not_json"),
    ],
)
def test_json_that_is_no_object_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        json_object(text)
    assert caught.value.reason == reason


def test_values_fit_their_columns() -> None:
    evening = datetime(2024, 5, 4, 20, 0, tzinfo=timezone(timedelta(hours=-10)))
    row = fitted(
        "invocations",
        {
            "invocation_id": "i",
            "run_id": "",
            "requested_at": evening,
            "init_ms": 3,
            "initial_task_ids": ["a", ""],
            "phases": {"restore": 1, "none": None},
            "extra": {"note": "\ud800", "empty": "", "list": [1, {"x": None}]},
            "error_type": None,
        },
    )
    assert row == {
        "invocation_id": "i",
        "requested_at": datetime(2024, 5, 5, 6, 0),  # 20:00 ten hours behind UTC
        "init_ms": 3.0,
        "initial_task_ids": ["a"],
        "phases": {"restore": 1.0},
        "extra": {"note": "\N{REPLACEMENT CHARACTER}", "list": [1, {"x": None}]},
    }


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"execution_ms": "12"}, "wrong_type"),
        ({"execution_ms": True}, "wrong_type"),
        ({"execution_ms": float("nan")}, "wrong_type"),
        ({"execution_ms": float("inf")}, "wrong_type"),
        ({"execution_ms": 10**400}, "out_of_range"),
        ({"execution_ms": -0.5}, "out_of_range"),
        ({"output_bytes": 1.5}, "wrong_type"),
        ({"output_bytes": 2**63}, "out_of_range"),
        ({"output_bytes": -1}, "out_of_range"),
        ({"attempt": 2**31}, "out_of_range"),
        ({"exit_code": -(2**31) - 1}, "out_of_range"),
        ({"started_at": "2024-05-04"}, "wrong_type"),
        ({"started_at": datetime(1999, 12, 31, 23, 59)}, "out_of_range"),
        ({"started_at": datetime.max}, "out_of_range"),
        ({"started_at": datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))}, "out_of_range"),
        ({"function": 7}, "wrong_type"),
        ({"function": "x" * 1_001}, "too_large"),
        ({"libraries": "numpy"}, "wrong_type"),
        ({"libraries": [1]}, "wrong_type"),
        ({"libraries": ["x"] * 10_001}, "too_large"),
        ({"extra": "{}"}, "wrong_type"),
        ({"extra": {"a": float("inf")}}, "wrong_type"),
        ({"task_id": ""}, "missing_key"),
        ({"task_id": None}, "missing_key"),
    ],
)
def test_a_value_that_does_not_fit_refuses_its_row(values: dict[str, Any], reason: str) -> None:
    assert refusal("tasks", {"run_id": "r", "task_id": "t", **values}) == reason


def test_negative_exit_codes_and_long_messages_are_kept() -> None:
    row = fitted("tasks", {"run_id": "r", "task_id": "t", "exit_code": -9, "error_message": "x" * 20_000})
    assert row["exit_code"] == -9
    assert len(row["error_message"]) == 10_000


def test_an_adapter_that_names_no_column_is_wrong_itself() -> None:
    with pytest.raises(KeyError):
        fitted("tasks", {"run_id": "r", "task_id": "t", "duration": 1})


def test_a_row_that_does_not_fit_is_rejected_and_the_others_arrive(tmp_path: Path) -> None:
    def read(_: Document) -> Iterator[Fact | Reject | Skipped]:
        yield Fact("runs", {**RUN, "extra": {"colour": "red"}}, "line 1")
        yield Fact("runs", {"run_id": "bad", "cpu_seconds": "many"}, "line 2")
        yield Skipped(3)
        for number in range(12_000):
            yield Fact("tasks", {**RUN, "task_id": str(number)}, f"line {number + 3}")

    found = list(batches(read, document(tmp_path, b"")))
    assert [batch.location for batch in found if isinstance(batch, Reject)] == ["line 2"]
    assert [(batch.table, len(batch.rows)) for batch in found if isinstance(batch, Rows)] == [
        ("tasks", 5_000),
        ("tasks", 5_000),
        ("runs", 1),
        ("tasks", 2_000),
    ]
    assert Skipped(3) in found
    assert UnknownFields({"colour": 1}) in found


def test_instants_with_an_offset_are_utc() -> None:
    row = fitted("runs", {**RUN, "submitted_at": datetime(2024, 1, 1, tzinfo=UTC)})
    assert row["submitted_at"] == datetime(2024, 1, 1)

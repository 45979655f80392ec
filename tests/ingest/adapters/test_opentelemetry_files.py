"""Files of OTLP/JSON, written by hand from its grammar: layouts, broken ones, and what a warehouse makes of them."""

from __future__ import annotations

import gzip
import json
import math
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingest.adapters import ADAPTERS, opentelemetry, opentelemetry_store
from ingest.adapters.adapter import Document
from ingest.commands import take_in
from ingest.labels import Labels
from tests.ingest.adapters.otlp_traces import (
    CLIENT,
    Json,
    at,
    block,
    function,
    hex_of,
    line,
    span,
    taken,
)
from warehouse.connection import Reader, open_current
from warehouse.errors import SourceError
from warehouse.home import Home
from warehouse.unpacked import MAX_LINE_BYTES

EU = {"cloud.provider": "aws", "cloud.region": "eu-west-1", "faas.max_memory": 1024 * 2**20}
INVOKED = {"faas.invoked_name": "pay"}


def order(trace: int, at_ms: float, *, cold: bool = False) -> list[Json]:
    """Blocks of one trace: `order` (100 ms) calls `pay` (40 ms), which is ready 10 ms after it was called, or 200 if cold."""
    ready = at_ms + 20 + (200 if cold else 10)
    said = {"faas.trigger": "http", "faas.coldstart": cold}
    return [
        block(function("pay", "c-2", **EU), span(3, ready, ready + 40, trace=trace, parent=2, said=said)),
        block(
            function("order", "c-1", **EU),
            span(2, at_ms + 20, ready + 41, trace=trace, parent=1, kind=CLIENT, said=INVOKED),
            span(1, at_ms, ready + 60, trace=trace, said=said, name="POST /orders"),
        ),
    ]


LINES = [line(order(1, 0)[0]), line(*order(2, 1_000)), line(order(1, 0)[1])]
WHOLE = {"resourceSpans": [*order(1, 0), *order(2, 1_000)]}
METRICS = '{"resourceMetrics":[{"resource":{}}]}'


def runs_of(folder: Path, content: str | bytes) -> tuple[int, int, int]:
    """How many runs, tasks and edges are read, and that nothing is rejected."""
    found = taken(folder, content)
    assert found.rejects == []
    return len(found.rows["runs"]), len(found.rows["tasks"]), len(found.rows["edges"])


@pytest.mark.parametrize(
    "head",
    [
        LINES[0],
        "\n" + LINES[0][:40],
        json.dumps(WHOLE, indent=2),
        '{"resourceSpans":[]}',
        f"{METRICS}\n{LINES[0]}",
    ],
)
def test_traces_are_recognised_by_one_reader_alone(head: str) -> None:
    assert [adapter.NAME for adapter in ADAPTERS if adapter.recognise(head)] == ["otlp"]


@pytest.mark.parametrize(
    "head",
    [
        METRICS,
        '{"resourceLogs":[]}\n{"resourceLogs":[]}',
        '{"run_id": "r", "resourceSpans": "x"}',
        'START RequestId: a Version: 1\n{"resourceSpans":[]}',
        '[{"time": "2024-05-04T10:00:00Z", "type": "platform.start", "record": {}}]',
        '{"name": "x", "schemaVersion": "1.5", "workflow": {"specification": {"tasks": []}}}',
        "func,start,end,is_cold,container_id,request_id",
        "{" * 60_000,
        "\n" * 60_000,
        "",
    ],
)
def test_other_documents_are_not(head: str) -> None:
    assert not opentelemetry.recognise(head)


def test_lines_and_documents_hold_the_same(tmp_path: Path) -> None:
    old = [
        {"instrumentationLibrarySpans": each["scopeSpans"], "resource": each["resource"]}
        for each in WHOLE["resourceSpans"]
    ]
    layouts = [
        "\n".join(LINES),
        "\r\n\r\n".join([METRICS, *LINES]) + "\r\n",
        json.dumps(WHOLE),
        json.dumps(WHOLE, indent=2),
        "\ufeff" + json.dumps(WHOLE, indent="\t"),
        json.dumps({"resourceSpans": old}, indent=1),
        line(*old),
        "\n".join(json.dumps(json.loads(each), indent=1) for each in LINES),
    ]
    expected = taken(tmp_path, layouts[0])
    assert (len(expected.rows["runs"]), len(expected.rows["tasks"]), len(expected.rows["edges"])) == (2, 4, 2)
    for layout in layouts:
        for content in (layout.encode(), gzip.compress(layout.encode())):
            found = taken(tmp_path, content)
            assert found.rejects == []
            assert found.rows == expected.rows


def test_a_document_on_one_line_longer_than_any_line_is_read(tmp_path: Path) -> None:
    padded = json.dumps({"resourceSpans": [{"resource": {}, "note": "x" * MAX_LINE_BYTES}, *WHOLE["resourceSpans"]]})
    assert runs_of(tmp_path, padded) == (2, 4, 2)


def test_broken_lines_are_rejected_and_the_others_stand(tmp_path: Path) -> None:
    lines = [
        LINES[0][30:],  # a file that begins within a line
        LINES[1],
        "not json",
        '{"resourceSpans": 7}',
        '{"spans": []}',
        '{"resourceSpans": [7, {"scopeSpans": 1}, {"scopeSpans": [null, {"spans": [1]}], "resource": 5}]}',
        "[" * 5_000,
        METRICS,
        LINES[2][:-50],
    ]
    found = taken(tmp_path, "\n".join(lines))
    assert found.rejects == [
        ("line 1", "not_json"),
        ("line 3", "not_json"),
        ("line 4", "not_the_format"),
        ("line 5", "not_the_format"),
        ("line 6", "wrong_type"),
        ("line 6, span 1", "wrong_type"),
        ("line 7", "too_deep"),
        ("line 9", "not_json"),
    ]
    assert len(found.rows["tasks"]) == 2
    assert found.skipped == 2  # the metrics, and the caller's view


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda text: text[: text.rindex('"traceId"')], "truncated"),
        (lambda text: text.replace('"name": "POST /orders"', '"name": NaN'), "not_json"),
        (lambda text: text.replace('"status": {}', '"status": ' + "[" * 5_000), "too_deep"),
        (lambda text: text.replace('"status": {}', '"status": ' + "9" * 5_000), "not_json"),
        (lambda text: text.replace('"status": {}', '"status": 1e999'), "not_json"),
    ],
)
def test_a_document_that_breaks_off_is_read_up_to_there(tmp_path: Path, broken: Any, reason: str) -> None:
    first = json.dumps({"resourceSpans": order(3, 0)}, indent=1)
    found = taken(tmp_path, first + broken(json.dumps(WHOLE, indent=1)))
    assert [each for _, each in found.rejects] == [reason]
    assert hex_of(0, trace=3)[0] in {run["run_id"] for run in found.rows["runs"]}


def test_bytes_that_are_no_text_end_a_document_there(tmp_path: Path) -> None:
    whole = json.dumps(WHOLE, indent=1).encode()
    head, name, tail = whole.rpartition(b"POST /orders")
    found = taken(tmp_path, head + name + b"\xed\xa0\x80" + tail)  # half a pair of UTF-16: the parser lets it through
    assert [each for _, each in found.rejects] == ["not_json"]
    assert hex_of(0, trace=1)[0] in {run["run_id"] for run in found.rows["runs"]}


def test_a_trace_scattered_over_a_file_is_one_run_whatever_the_order(tmp_path: Path) -> None:
    blocks = [each for trace in range(1, 30) for each in order(trace, 1_000 * trace)]
    expected = taken(tmp_path, line(*blocks))
    assert len(expected.rows["edges"]) == 29
    random.Random(1).shuffle(blocks)
    scattered = taken(tmp_path, "\n".join(line(each) for each in blocks))
    assert scattered.rows == expected.rows


def test_nothing_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "content"
    path.write_text("\n".join(LINES))
    reading = opentelemetry.read(Document(path, "/traces/spans.json", tmp_path))
    next(reading)
    assert len(list(tmp_path.iterdir())) == 2  # the document, and where spans are put aside
    reading.close()
    assert [path.name for path in tmp_path.iterdir()] == ["content"]

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(opentelemetry_store.SpanStore, "flush", full)
    with pytest.raises(SourceError, match=r"disk is full.*Hint"):
        taken(tmp_path, LINES[1])
    assert [path.name for path in tmp_path.iterdir()] == ["content"]


_VALUES = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        2**63,
        1e308,
        "",
        "\ud800\x00",
        "9" * 400,
        "x" * 5_000,
        [],
        {},
        [[[]]],
        {"a": None},
        {"intValue": "1"},
    ]
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_is_changed_in_one_trace_the_other_is_read(tmp_path: Path, data: st.DataObject) -> None:
    """One value anywhere in a trace is replaced or dropped: at most that trace's rows differ."""
    changed: Any = json.loads(line(*order(1, 0)))
    where: list[Any] = [changed]
    while isinstance(where[-1], (dict, list)) and where[-1] and (len(where) < 3 or data.draw(st.integers(0, 5))):
        container = where[-1]
        key = data.draw(st.sampled_from(sorted(container) if isinstance(container, dict) else range(len(container))))
        where.append(container[key])
    where[-2][key] = data.draw(_VALUES)
    indent = data.draw(st.sampled_from([None, 1]))
    others = order(2, 1_000) if indent is None else []
    text = "\n".join([*(line(each) for each in others), json.dumps(changed, indent=indent)])
    found = taken(tmp_path, text)
    of_other = [row for row in found.rows["tasks"] if row["run_id"] == hex_of(0, trace=2)[0]]
    assert len(of_other) == len(others)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**16), st.binary(max_size=8), st.booleans())
@example(0, b"\x00", True)
def test_bytes_changed_anywhere_break_nothing_else(tmp_path: Path, place: int, noise: bytes, packed: bool) -> None:
    content = LINES[0].encode()
    place %= len(content)
    text = b"\n".join([LINES[1].encode(), content[:place] + noise.replace(b"\n", b" ") + content[place + len(noise) :]])
    found = taken(tmp_path, gzip.compress(text) if packed else text)
    assert [run["run_id"] for run in found.rows["runs"]][-1:] == [hex_of(0, trace=2)[0]]
    assert len([task for task in found.rows["tasks"] if task["run_id"] == hex_of(0, trace=2)[0]]) == 2


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Three files: two runs; one run of two files, of which one holds more of it; and a run that left a function out."""
    folder = tmp_path_factory.mktemp("otlp")
    traces = folder / "traces"
    traces.mkdir()
    (traces / "a.jsonl").write_text("\n".join(LINES))
    (traces / "b.json.gz").write_bytes(
        gzip.compress(json.dumps({"resourceSpans": order(3, 5_000, cold=True)}).encode())
    )
    (traces / "c.jsonl").write_text(line(order(3, 5_000)[0]) + "\n" + line(order(4, 9_000)[1]))
    (traces / "d.jsonl").write_text(METRICS + "\n" + line(block({"service.name": "web"}, span(1, 0, 5, trace=5))))
    home = Home(folder / "home")
    take_in(home, (str(traces),), Labels())
    with open_current(home) as opened:
        yield opened


def rows(reader: Reader, sql: str) -> list[dict[str, Any]]:
    return reader.frame(sql).to_dict("records")


def test_runs_in_a_warehouse(reader: Reader) -> None:
    found = rows(reader, "from run_summary order by submitted_at")
    assert [(row["workflow"], row["engine"], row["environment"]) for row in found] == [
        ("POST /orders", "opentelemetry", "eu-west-1")
    ] * 4
    # order: 20 ms until it calls, 10 until pay is ready (cold: 200), and 60 from there.
    assert [row["makespan_ms"] for row in found] == [90, 90, 280, 90]
    assert [row["is_complete"] for row in found] == [True, True, True, False]
    assert [(row["tasks_seen"], row["workers"]) for row in found] == [(2, 2), (2, 2), (2, 2), (1, 1)]
    assert found[3]["tasks_expected"] == 2
    assert [row["startup_ms"] for row in found[:3]] == [10, 10, 200]


def test_starts_and_periods_in_a_warehouse(reader: Reader) -> None:
    states = rows(
        reader, "select function, state, state_source, startup_ms from cold_starts order by requested_at, function"
    )
    assert {row["state_source"] for row in states} == {"reported"}
    assert [row["state"] for row in states].count("cold") == 2
    periods = rows(
        reader,
        """
        select tasks, active_ms_without_startup, startup_ms, active_ms from worker_active_periods
        where run_id = $run order by ready_at
        """.replace("$run", f"'{hex_of(0, trace=3)[0]}'"),
    )
    assert [row["tasks"] for row in periods] == [1, 1]
    assert [row["active_ms_without_startup"] for row in periods] == [280, 40]
    assert (periods[1]["startup_ms"], periods[1]["active_ms"]) == (200, 240)
    assert math.isnan(periods[0]["startup_ms"])  # nothing tells when the first function was asked for


def test_tasks_in_a_warehouse(reader: Reader) -> None:
    sql = "select function, start_offset_ms, finish_offset_ms, memory_mb from task_times order by started_at limit 2"
    assert rows(reader, sql) == [
        {"function": "order", "start_offset_ms": 0, "finish_offset_ms": 90, "memory_mb": 1024},
        {"function": "pay", "start_offset_ms": 30, "finish_offset_ms": 70, "memory_mb": 1024},
    ]


def test_a_run_in_two_files_belongs_to_the_one_with_more_of_it(reader: Reader) -> None:
    files = {row["key"]: row for row in rows(reader, "from files")}
    assert {row["format"] for row in files.values()} == {"otlp"}
    assert [files[name]["duplicate_runs"] for name in sorted(files)] == [0, 0, 1, 0]
    assert files["d.jsonl"]["skipped"] == 2  # metrics, and a span of no function
    run = f"'{hex_of(0, trace=3)[0]}'"
    assert rows(reader, f"select count(*) as n, max(finished_at) as ended from invocations where run_id = {run}") == [
        {"n": 2, "ended": at(5_280)}
    ]

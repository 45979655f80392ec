"""AWS Lambda's logs as documents: recognised, bounded, hostile, and in the warehouse. Fixtures are written by hand from the grammar."""

from __future__ import annotations

import gzip
import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.adapters import ADAPTERS, aws_lambda, aws_lambda_requests
from ingest.adapters.adapter import Document, batches
from ingest.commands import take_in
from ingest.labels import Labels
from tests.dumps import answer, write_lines
from tests.ingest.adapters.lambda_logs import ARN, STREAM, Read, event, json_lines, log, report, reported
from warehouse.batches import Reject, Rows
from warehouse.errors import SourceError
from warehouse.home import Home

TEXT = log(
    (0, f"INIT_START Runtime Version: python:3.12.v11\tRuntime Version ARN: {ARN}"),
    (0.3, "START RequestId: cold Version: 1"),
    (0.8, report("cold", "500.00", "Init Duration: 200.00 ms", billed=500)),
    (10, "START RequestId: warm Version: 1"),
    (10.4, report("warm", "400.00", billed=400)),
    (20, "START RequestId: slow Version: 1"),
    (23, report("slow", "3000.00", "Status: timeout", billed=3000)),
    (30, "START RequestId: lost Version: 1"),
)
EVENTS = [
    event(40, "initStart", initializationType="on-demand", phase="init", functionName="bills", runtimeVersionArn=ARN),
    event(40.2, "start", requestId="bill", version="1"),
    reported(41, "bill", durationMs=800, initDurationMs=150, memorySizeMB=1024),
    event(42, "logsDropped", droppedBytes=1, droppedRecords=1, reason="slow"),
    event(43, "start", requestId="hidden", version="1"),
    reported(44, "hidden"),
]

OURS = {
    "plain text": f"START RequestId: r Version: 1\nEND RequestId: r\n{report('r')}\n",
    "an export": TEXT,
    "prints before the first request": "".join(f"loading {number}\n" for number in range(500)) + TEXT,
    "aws logs tail": f"2024-05-01T10:00:00.000000+00:00 {STREAM} START RequestId: r Version: 1\n",
    "aws logs tail --format short": "2024-05-01T10:00:00 START RequestId: r Version: 1\n",
    "sam logs": f"{STREAM} 2024-05-01T10:00:00.000000 RESTORE_REPORT Restore Duration: 3.00 ms\n",
    "events": json_lines(*EVENTS),
    "an array": json.dumps(EVENTS),
    "an array with indents": json.dumps(EVENTS, indent=4),
    "JSON logs": json_lines({"timestamp": "2024-05-01T10:00:00Z", "level": "INFO", "message": "x"}, EVENTS[1]),
    "an export of JSON logs": f"2024-05-01T10:00:00.000Z {json_lines(EVENTS[1])}",
    "filter-log-events": json.dumps({"events": [{"message": f"{report('r')}\n", "timestamp": 1, "ingestionTime": 1}]}),
}
THEIRS = {
    "a CSV": "func,start,end,rep,request_id\nf,1,2,0,r\n",
    "a trace": "task_id\thash\tnative_id\tname\tstatus\n1\taa/bb\t12\tSTART\tCOMPLETED\n",
    "spans": '{"resourceSpans":[{"resource":{"attributes":[{"key":"type","value":{"stringValue":"platform.report"}}]}}]}\n',
    "an instance": '{"name": "REPORT RequestId: r", "schemaVersion": "1.5", "workflow": {}}',
    "a flowdump": '{"run_id": "r", "error_message": "START RequestId: r Version: 1"}\n{"type": "platform"}\n',
    "prose": "The log begins with START RequestId: r and ends with REPORT RequestId: r\n",
    "another log": "2024-05-01T10:00:00.000Z INFO START RequestId: r\n[ERROR] KeyError: 'x'\n",
    "JSON logs of something else": '{"timestamp":"2024-05-01T10:00:00Z","level":"INFO","requestId":"r","type":"request"}\n',
}


@pytest.mark.parametrize("name", OURS)
def test_logs_of_lambda_are_recognised_and_by_no_other_reader(name: str) -> None:
    assert [adapter.NAME for adapter in ADAPTERS if adapter.recognise(OURS[name])] == ["aws-lambda"]


@pytest.mark.parametrize("name", THEIRS)
def test_what_only_looks_like_a_log_of_lambda_is_left_to_others(name: str) -> None:
    assert not aws_lambda.recognise(THEIRS[name])


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A warehouse of one export, a stream of text and one of JSON, priced."""
    root = tmp_path_factory.mktemp("lambda")
    for stream, content in ((STREAM, TEXT), (STREAM.replace("0123", "4567"), json_lines(*EVENTS))):
        path = root / "logs" / "aws" / "lambda" / "orders" / "7c1e" / stream.replace("/", "-") / "000000.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress(content.encode()))
    price = {"environment": "eu-west-1", "gb_second_usd": 0.00001, "request_usd": 0.001}
    write_lines(root / "logs" / "prices.jsonl", [price])
    (root / "logs" / "aws-logs-write-test").write_text("Permission Check Successful")
    home = Home(root / "home")
    take_in(home, (str(root / "logs"),), Labels())
    return home


def test_an_export_is_recognised_file_by_file(logs: Home) -> None:
    assert answer(logs, "select count(*) from files") == [(3,)]  # what CloudWatch wrote to try the bucket is no log
    rows = answer(logs, "select format, status, rejected from files where key like '%000000.gz' order by key")
    assert rows == [("aws-lambda", "loaded", 0)] * 2


def test_states_times_and_costs_reach_the_views(logs: Home) -> None:
    rows = answer(
        logs,
        "select run_id, workflow, environment, makespan_ms, startup_ms, cold_starts, warm_starts, unknown_starts, tasks_seen,"
        " is_complete, cost_usd from run_summary order by submitted_at",
    )
    # makespan: init and duration, none where the request was killed or has no end; that lost its report, warm by its container;
    # cost: billed seconds times GB times 0.00001 USD and 0.001 USD for the request
    assert [row[:10] for row in rows] == [
        ("cold", "orders", "eu-west-1", 700.0, 200.0, 1, 0, 0, 1, True),
        ("warm", "orders", "eu-west-1", 400.0, 0.0, 0, 1, 0, 1, True),
        ("slow", "orders", "eu-west-1", None, 0.0, 0, 1, 0, 1, True),
        ("lost", "orders", "eu-west-1", None, 0.0, 0, 1, 0, 1, True),
        ("bill", "bills", "eu-west-1", 950.0, 150.0, 1, 0, 0, 1, True),
        ("hidden", "bills", "eu-west-1", 100.0, 0.0, 0, 0, 1, 1, True),
    ]
    assert [row[10] for row in rows[:3]] == pytest.approx([0.0010025, 0.001002, 0.001015])


def test_each_start_has_one_state_and_says_where_it_is_from(logs: Home) -> None:
    rows = answer(logs, "select invocation_id, state, state_source, unknown_because from cold_starts")
    assert sorted(rows) == [
        ("bill", "cold", "reported", None),
        ("cold", "cold", "reported", None),
        ("hidden", "unknown", "container", "logs_dropped"),
        ("lost", "warm", "container", None),
        ("slow", "warm", "reported", None),
        ("warm", "warm", "reported", None),
    ]


def test_workers_are_active_from_the_request_to_the_end_of_the_handler(logs: Home) -> None:
    rows = answer(
        logs,
        "select invocation_id, startup_ms, active_ms, busy_ms, idle_ms from worker_active_periods where run_id in ('cold', 'warm')",
    )
    assert sorted(rows) == [("cold", 200.0, 700.0, 500.0, 0.0), ("warm", 0.0, 400.0, 400.0, 0.0)]
    assert answer(logs, "select task_id, execution_ms, status from task_times where run_id = 'slow'") == [
        ("orders", 3000.0, "killed")
    ]


def test_what_is_kept_is_bounded_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, bound in (("MAX_OPEN", 3), ("MAX_DONE", 2), ("MAX_CONTAINERS", 2)):
        monkeypatch.setattr(aws_lambda_requests, name, bound)
    streams = [STREAM.replace("0123", f"{number:04}") for number in range(9)]
    starts = [f"{stream} START RequestId: open{number} Version: 1" for number, stream in enumerate(streams)]
    reports = [f"{stream} {report(f'done{number}')}" for number, stream in enumerate(streams)]
    found = Read(tmp_path / "content", "\n".join((*starts, *reports)), "/logs/app.log")
    assert len(found.invocations) == 18
    assert [name for name in found.invocations if found.state(name) == "warm"] == [
        f"done{number}" for number in range(9)
    ]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.sampled_from([TEXT, json_lines(*EVENTS), json.dumps(EVENTS), OURS["filter-log-events"]]),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=40)), min_size=1, max_size=4),
)
def test_whatever_is_done_to_a_log_it_is_read(tmp_path: Path, text: str, edits: list[tuple[float, int, bytes]]) -> None:
    content = text.encode()
    for place, length, put in edits:
        begin = int(place * len(content))
        content = content[:begin] + put + content[begin + length :]
    (tmp_path / "content").write_bytes(content)
    with suppress(SourceError):  # edits may make it look gzipped
        for batch in batches(aws_lambda.read, Document(tmp_path / "content", "/logs/app.log", tmp_path)):
            assert not isinstance(batch, Reject) or batch.detail


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(put=st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")), number=st.integers(0, 3))
def test_a_bad_line_takes_no_request_away(tmp_path: Path, put: bytes, number: int) -> None:
    lines = TEXT.encode().splitlines()
    place = (1, 3, 5, 7)[number]  # between requests
    content = b"\n".join((*lines[:place], put.replace(b"\n", b" ").replace(b"\r", b" "), *lines[place:]))
    (tmp_path / "content").write_bytes(content)
    found = batches(aws_lambda.read, Document(tmp_path / "content", "/logs/app.log", tmp_path))
    ids = {row["run_id"] for batch in found if isinstance(batch, Rows) for row in batch.rows}
    assert {"cold", "warm", "slow", "lost"} <= ids

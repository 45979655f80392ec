"""Text logs of AWS Lambda. Every fixture is written by hand from the grammar (FIELD.md 4, Lambda's developer guide); none was recorded."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from tests.ingest.adapters.lambda_logs import ARN, EXPORTED, STREAM, Read, at, log, report

INIT_START = f"INIT_START Runtime Version: python:3.12.v11\tRuntime Version ARN: {ARN}"


@pytest.fixture
def read(tmp_path: Path):  # type: ignore[no-untyped-def]
    def reading(content: str | bytes, place: str = "/logs/app.log") -> Read:
        return Read(tmp_path / "content", content, place)

    return reading


def moment(second: int, microsecond: int = 0) -> datetime:
    return datetime(2024, 5, 1, 10, 0, second, microsecond)


def test_a_cold_request_of_an_export_is_a_run_a_task_and_an_invocation(read) -> None:  # type: ignore[no-untyped-def]
    text = log(
        (0, INIT_START),
        (0.16, "START RequestId: r1 Version: 7"),
        (0.17, "an order arrived"),
        (1.2, "END RequestId: r1"),
        (1.2, report("r1", "1001.25", "Init Duration: 158.50 ms", billed=1160)),
    )
    found = read(text, EXPORTED)
    assert found.is_recognised
    assert (found.rejects, found.skipped) == ([], 1)
    # asked for at the start of the handler less the init: 10:00:00.160 - 158.5 ms; ended 1001.25 ms after that start
    asked, ready, ended = moment(0, 1_500), moment(0, 160_000), moment(1, 161_250)
    assert found.runs["r1"] == {
        "run_id": "r1",
        "engine": "aws-lambda",
        "submitted_at": asked,
        "finished_at": ended,
        "environment": "eu-west-1",
        "sink_task_id": "request",
        "expected_tasks": 1,
        "gb_seconds": 1.160 * 512 / 1024,
    }
    assert found.tasks["r1"] == {
        "run_id": "r1",
        "task_id": "request",
        "attempt": 1,
        "worker_id": "r1",
        "kind": "function",
        "memory_mb": 512,
        "max_memory_mb": 80.0,
        "started_at": ready,
        "execution_ms": 1001.25,
    }
    assert found.invocations["r1"] == {
        "invocation_id": "r1",
        "run_id": "r1",
        "worker_id": "r1",
        "container_id": STREAM,
        "memory_mb": 512,
        "requested_at": asked,
        "ready_at": ready,
        "finished_at": ended,
        "reported_state": "cold",
        "init_ms": 158.5,
        "billed_ms": 1160.0,
        "max_memory_mb": 80.0,
        "initial_task_ids": ["request"],
        "extra": {"version": "7"},
    }


def test_a_complete_report_without_init_is_warm_and_one_that_is_cut_off_is_unknown(read) -> None:  # type: ignore[no-untyped-def]
    cut = report("r2").rpartition("\t")[0]  # ends before Max Memory Used: an Init Duration may have followed
    found = read(log((0, "START RequestId: r1 Version: 1"), (1, report("r1")), (2, cut)))
    assert (found.state("r1"), found.state("r2")) == ("warm", None)
    assert "init_ms" not in found.invocations["r1"]
    assert found.invocations["r1"]["requested_at"] == found.invocations["r1"]["ready_at"] == moment(0)
    # without a START the handler began its duration before the report
    assert found.invocations["r2"]["ready_at"] == moment(1, 900_000)


@pytest.mark.parametrize(
    "line",
    [
        "REPORT RequestId: r1\tDuration: 12.30 ms\tBilled Duration: 13 ms\tMemory Size: 512 MB\tMax Memory Used: 80 MB\tInit Duration: 150.00 ms\t",
        "REPORT RequestId: r1  Duration: 12.30 ms  Billed Duration: 13 ms  Memory Size: 512 MB  Max Memory Used: 80 MB  Init Duration: 150.00 ms",
        "REPORT RequestId: r1 Init Duration: 150.00 ms Max Memory Used: 80 MB Memory Size: 512 MB Billed Duration: 13 ms Duration: 12.30 ms",
        "REPORT RequestId: r1\tDuration: 12.30 ms\tBilled Duration: 13 ms\tMemory Size: 512 MB\tMax Memory Used: 80 MB\tInit Duration: 150.00 ms\tStatus: error\tError Type: Runtime.ExitError",
        "REPORT RequestId: r1\tDuration: 12.30 ms\tBilled Duration: 13 ms\tMemory Size: 512 MB\tMax Memory Used: 80 MB\tInit Duration: 150.00 ms\t\nXRAY TraceId: 1-5e-10\tSegmentId: 07f0\tSampled: true",
    ],
)
def test_the_fields_of_a_report_may_be_apart_by_tabs_or_spaces_and_in_any_order(read, line: str) -> None:  # type: ignore[no-untyped-def]
    found = read(line + "\n")
    invocation = found.invocations["r1"]
    assert (invocation["billed_ms"], invocation["memory_mb"], invocation["max_memory_mb"]) == (13.0, 512, 80.0)
    assert (invocation["init_ms"], invocation["reported_state"], found.tasks["r1"]["execution_ms"]) == (
        150.0,
        "cold",
        12.3,
    )
    if "XRAY" in line:
        assert invocation["extra"] == {"trace_id": "1-5e-10", "segment_id": "07f0", "sampled": "true"}
    assert found.ending("r1")[:2] == (("failed", "Runtime.ExitError") if "Status" in line else (None, None))
    # no timestamps at all: nothing is known of when
    assert not {"requested_at", "ready_at", "finished_at"} & invocation.keys()


def test_a_restored_snapshot_is_a_cold_start_as_long_as_the_restore(read) -> None:  # type: ignore[no-untyped-def]
    found = read(
        log(
            (0, f"RESTORE_START Runtime Version: java:21.v1\tRuntime Version ARN: {ARN}"),
            (0.4, "RESTORE_REPORT Restore Duration: 400.00 ms"),
            (0.5, "START RequestId: r1 Version: 2"),
            (3, report("r1", "2338.66", "Restore Duration: 400.00 ms", "Billed Restore Duration: 182 ms")),
            (4, "START RequestId: r2 Version: 2"),
            (5, report("r2")),
        )
    )
    restored = found.invocations["r1"]
    assert (restored["reported_state"], restored["init_ms"], restored["phases"]) == ("cold", 400.0, {"restore": 400.0})
    assert restored["requested_at"] == moment(0, 100_000)
    assert restored["extra"]["billed_restore_ms"] == 182.0
    assert (found.state("r2"), found.invocations["r2"].get("phases")) == ("warm", None)


def test_an_init_that_failed_is_paid_by_the_next_request_and_a_repeated_one_is_within_it(read) -> None:  # type: ignore[no-untyped-def]
    found = read(
        log(
            (0, INIT_START),
            (10, "INIT_REPORT Init Duration: 9999.10 ms\tPhase: init\tStatus: timeout"),
            (10.1, "START RequestId: r1 Version: 1"),
            (14, report("r1", "3500.00")),
            (15, "INIT_REPORT Init Duration: 50.00 ms\tPhase: invoke\tStatus: error\tError Type: Runtime.ExitError"),
            (15, "START RequestId: r2 Version: 1"),
            (16, report("r2", "60.00", "Status: error", "Error Type: Runtime.ExitError")),
            (17, "START RequestId: r3 Version: 1"),
            (17.1, "INIT_REPORT Init Duration: 70.00 ms\tPhase: invoke"),
            (18, report("r3")),
        ),
        EXPORTED,
    )
    first, second, third = (found.invocations[name] for name in ("r1", "r2", "r3"))
    # the first request of the container waited for the init that timed out: 10:00:10.100 - 9999.1 ms
    assert (first["reported_state"], first["phases"], "init_ms" in first) == ("cold", {"failed_init": 9999.1}, False)
    assert first["requested_at"] == moment(0, 100_900)
    assert found.ending("r1") == (None, None, None)
    assert (second["reported_state"], second["phases"]) == ("warm", {"repeated_init": 50.0})
    assert second["requested_at"] == second["ready_at"]
    assert (third["reported_state"], third["phases"]) == ("warm", {"repeated_init": 70.0})


def test_an_init_long_before_its_request_made_nobody_wait(read) -> None:  # type: ignore[no-untyped-def]
    found = read(
        log(
            (0, INIT_START),
            (40, "START RequestId: r1 Version: 1"),
            (41, report("r1", "100.00", "Init Duration: 300.00 ms")),
        )
    )
    invocation = found.invocations["r1"]
    assert (invocation["reported_state"], invocation["phases"], "init_ms" in invocation) == (
        "warm",
        {"init_ahead": 300.0},
        False,
    )
    assert invocation["requested_at"] == moment(40)


@pytest.mark.parametrize(
    ("line", "late", "ending"),
    [
        ("Status: timeout", "", ("killed", "timeout", None)),
        ("", f"{at(5)} r1 Task timed out after 3.00 seconds", ("killed", "timeout", "Task timed out after 3.00 seconds")),
        ("Status: error\tError Type: Runtime.OutOfMemory", "", ("killed", "Runtime.OutOfMemory", None)),
        (
            "",
            "RequestId: r1 Error: Runtime exited with error: signal: killed\nRuntime.ExitError",
            ("killed", None, "Runtime exited with error: signal: killed"),
        ),
        ("", "RequestId: r1 Process exited before completing request", ("failed", None, "Process exited before completing request")),
        (
            "",
            f'{at(1)}\tr1\tERROR\tInvoke Error \t{{"errorType":"TypeError","errorMessage":"x is not a function"}}',
            ("failed", "TypeError", "x is not a function"),
        ),
        ("", f"{at(1)}\tr1\tERROR\tstock is low", (None, None, "stock is low")),
        ("", f"[ERROR]\t{at(1)}\tr1\tstock is low", (None, None, "stock is low")),
        ("", f'{at(1)} {{"level":"ERROR","requestId":"r1","message":"stock is low"}}', (None, None, "stock is low")),
        ("Status: success", f"[ERROR]\t{at(1)}\tr1\tstock is low", ("succeeded", None, "stock is low")),
        ("", "", (None, None, None)),
    ],
)  # fmt: skip
def test_how_a_request_ended_is_what_its_report_and_its_errors_say(
    read, line: str, late: str, ending: tuple[str | None, ...]
) -> None:  # type: ignore[no-untyped-def]
    text = f"START RequestId: r1 Version: 1\nEND RequestId: r1\n{report('r1', '100.00', line)}\n{late}\nSTART RequestId: r2 Version: 1\n"
    assert read(text).ending("r1") == ending


def test_errors_without_a_request_are_those_of_the_one_that_the_container_is_at(read) -> None:  # type: ignore[no-untyped-def]
    text = log(
        (0, "START RequestId: r1 Version: 1"),
        (1, "[ERROR] KeyError: 'price'\rTraceback (most recent call last):\r  File"),
        (2, report("r1")),
        (3, "START RequestId: r2 Version: 1"),
        (4, "RequestId: r2 Error: Runtime exited with error: exit status 1"),
    )
    text += "Runtime.ExitError\n" + log((5, report("r2")), (6, "[ERROR] KeyError: 'of no request'"))
    found = read(text, EXPORTED)
    assert found.ending("r1") == ("failed", "KeyError", "'price'")
    assert found.ending("r2") == ("failed", "Runtime.ExitError", "Runtime exited with error: exit status 1")


def test_a_request_that_appears_again_is_another_attempt_of_its_run(read) -> None:  # type: ignore[no-untyped-def]
    found = read(
        log(
            (0, "START RequestId: r1 Version: 1"),
            (1, report("r1", "900.00", "Status: error", "Error Type: Runtime.ExitError")),
            (30, "START RequestId: r2 Version: 1"),
            (31, report("r2")),
            (50, "START RequestId: r1 Version: 1"),
            (51, report("r1", "800.00", billed=800)),
        )
    )
    assert sorted(found.invocations) == ["r1", "r1#2", "r2"]
    assert [(found.tasks[name]["attempt"], found.tasks[name].get("status")) for name in ("r1", "r1#2")] == [
        (1, "failed"),
        (2, None),
    ]
    # from the first request until the second attempt's end, 10:00:50 + 800 ms; 100 ms and 800 ms at half a GB
    assert (found.runs["r1"]["submitted_at"], found.runs["r1"]["finished_at"]) == (moment(0), moment(50, 800_000))
    assert found.runs["r1"]["gb_seconds"] == pytest.approx(0.45)
    assert found.rejects == []


def test_lines_written_twice_are_no_second_attempt(read) -> None:  # type: ignore[no-untyped-def]
    text = log((0, "START RequestId: r1 Version: 1"), (1, report("r1")))
    found = read(text + text)
    assert list(found.invocations) == ["r1"]
    assert found.rejects == [("line 4", "duplicate_key")]
    assert list(read(f"{report('r1')}\n{report('r1')}\n").invocations) == ["r1"]


def test_chunks_of_an_export_may_be_out_of_order(read) -> None:  # type: ignore[no-untyped-def]
    found = read(log((1, report("r1", "700.00")), (0.2, "START RequestId: r1 Version: 1")))
    assert list(found.invocations) == ["r1"]
    assert found.invocations["r1"]["ready_at"] == moment(0, 200_000)


def test_a_start_without_a_report_is_a_request_of_which_nothing_more_is_known(read) -> None:  # type: ignore[no-untyped-def]
    found = read(log((0, "START RequestId: r1 Version: 1"), (1, "working")))
    assert found.ending("r1") == (None, None, None)
    assert found.state("r1") is None
    assert "execution_ms" not in found.tasks["r1"]
    assert found.tasks["r1"]["started_at"] == moment(0)
    assert "finished_at" not in found.runs["r1"]


@pytest.mark.parametrize(
    "prefix",
    [
        "{at} {stream} ",
        "{stream} {bare} ",
        "/aws/lambda/orders {stream} ",
        "/aws/lambda/orders {stream} {at} ",
    ],
)
def test_streams_in_one_file_are_told_apart_by_what_stands_before_the_line(read, prefix: str) -> None:  # type: ignore[no-untyped-def]
    other = STREAM.replace("0123", "4567")
    lines = [
        (0, STREAM, "INIT_REPORT Init Duration: 90.00 ms\tPhase: init\tStatus: error\tError Type: Runtime.Unknown"),
        (1, other, "START RequestId: warm Version: 1"),
        (2, STREAM, "START RequestId: cold Version: 1"),
        (3, STREAM, "[ERROR] KeyError: 'a'"),
        (4, other, report("warm")),
        (5, STREAM, report("cold")),
    ]
    text = "".join(
        f"{prefix.format(at=at(s), bare=at(s)[:-1] + '000', stream=stream)}{line}\n" for s, stream, line in lines
    )
    found = read(text)
    assert found.is_recognised
    assert {name: row["container_id"] for name, row in found.invocations.items()} == {"warm": other, "cold": STREAM}
    assert (found.state("warm"), found.state("cold")) == ("warm", "cold")
    assert (found.ending("warm")[0], found.ending("cold")[0]) == (None, "failed")
    assert found.runs["cold"].get("workflow") == ("orders" if "orders" in prefix else None)


def test_lines_without_a_prefix_go_on_with_the_line_before(read) -> None:  # type: ignore[no-untyped-def]
    other = STREAM.replace("0123", "4567")
    text = (
        f"{at(0)} {STREAM} START RequestId: r1 Version: 1\n{at(0)} {other} START RequestId: r2 Version: 1\n"
        f"{at(1)} {STREAM} an ordinary line\nRuntime.ExitError\n"
        f"{at(2)} {other} {report('r2')}\nXRAY TraceId: 1-2\tSegmentId: 3\n{at(2)} {STREAM} {report('r1')}\n"
    )  # fmt: skip
    found = read(text)
    assert (found.ending("r1")[1], found.ending("r2")[1]) == ("Runtime.ExitError", None)
    assert found.invocations["r2"]["extra"]["trace_id"] == "1-2"


@pytest.mark.parametrize(
    ("place", "container", "function"),
    [
        (EXPORTED, STREAM, None),
        (f"/data/aws/lambda/orders/{STREAM}/log.txt", STREAM, "orders"),
        ("s3://logs/aws/lambda/orders/7c1e/2024-05-01-[7]0123abcd/000000.gz", "2024/05/01/[7]0123abcd", "orders"),
        ("/data/2024-05-01-orders[$LATEST][ab12cd34]/000000.gz", "2024/05/01/orders[$LATEST][ab12cd34]", "orders"),
        ("/data/orders.log", None, None),
    ],
)
def test_the_address_tells_container_and_function(
    read, place: str, container: str | None, function: str | None
) -> None:  # type: ignore[no-untyped-def]
    found = read(report("r1"), place)
    assert found.invocations["r1"].get("container_id") == container
    assert (found.runs["r1"].get("workflow"), found.tasks["r1"].get("function")) == (function, function)
    assert found.tasks["r1"]["task_id"] == function or "request"
    assert ("structure_hash" in found.runs["r1"]) is (function is not None)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("REPORT RequestId: r2 Dura", "not_the_format"),
        ("REPORT RequestId: r2\tDuration: many ms", "not_the_format"),
        ("REPORT RequestId: r2\tDuration: 1.5 s\tBilled Duration: 2 ms", "not_the_format"),
        ("REPORT RequestId: r2\tDuration: -1.00 ms", "out_of_range"),
        (f"REPORT RequestId: r2\tDuration: {'9' * 150} ms", "out_of_range"),
        ("REPORT RequestId: \tDuration: 1.00 ms", "missing_key"),
        ("START RequestId: ", "missing_key"),
        (f"START RequestId: {'x' * 201}", "too_large"),
        ("INIT_REPORT Init Duration: soon", "not_the_format"),
        ("INIT_REPORT Phase: init", "not_the_format"),
        ("9999-12-31T23:59:59.000Z START RequestId: r2 Version: 1", "out_of_range"),
        ("0001-01-01T00:00:00.000+14:00 START RequestId: r2 Version: 1", "wrong_type"),
        ("2024-13-45T00:00:00.000Z START RequestId: r2 Version: 1", "wrong_type"),
    ],
)
def test_a_bad_line_is_rejected_and_the_others_are_read(read, line: str, reason: str) -> None:  # type: ignore[no-untyped-def]
    found = read(f"{report('r1')}\r\n{line}\r\n{report('r3')}\r\n")
    assert found.rejects == [("line 2", reason)]
    assert list(found.invocations) == ["r1", "r3"]


def test_what_a_function_prints_is_passed_over_however_it_looks(read) -> None:  # type: ignore[no-untyped-def]
    prints = (
        "",
        "REPORT is ready",
        "STARTED",
        '{"a": 1}',
        '{"cut": ',
        "RequestId",
        "\x00\x00",
        "END",
        "[ERROR]",
        "x" * 100_000,
    )
    found = read("\n".join((report("r1"), *prints, report("r2"))))
    assert (found.rejects, list(found.invocations)) == ([], ["r1", "r2"])
    assert found.skipped == 9  # of ten, the blank one is no line

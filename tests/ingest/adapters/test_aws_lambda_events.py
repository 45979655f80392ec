"""Telemetry events and JSON logs of AWS Lambda. Every fixture is written by hand from the grammar (FIELD.md 4, Lambda's event schema)."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.ingest.adapters.lambda_logs import ARN, EXPORTED, STREAM, Read, at, event, json_lines, report, reported


@pytest.fixture
def read(tmp_path: Path):  # type: ignore[no-untyped-def]
    def reading(content: str | bytes, place: str = "/logs/app.json") -> Read:
        return Read(tmp_path / "content", content, place)

    return reading


def init_start(seconds: float, kind: str = "on-demand", **record: Any) -> dict[str, Any]:
    return event(
        seconds,
        "initStart",
        initializationType=kind,
        phase="init",
        functionName="orders",
        runtimeVersionArn=ARN,
        **record,
    )


def init_report(
    seconds: float, duration: float, kind: str = "on-demand", phase: str = "init", status: str = "success"
) -> dict[str, Any]:
    return event(
        seconds, "initReport", initializationType=kind, phase=phase, status=status, metrics={"durationMs": duration}
    )


def start(seconds: float, request: str) -> dict[str, Any]:
    return event(seconds, "start", requestId=request, version="7")


COLD = (
    init_start(0),
    event(0.2, "initRuntimeDone", initializationType="on-demand", status="success"),
    init_report(0.2, 158.5),
    start(0.2, "r1"),
    event(1.1, "runtimeDone", requestId="r1", status="success", metrics={"durationMs": 900.0, "producedBytes": 12}),
    reported(1.2, "r1", durationMs=1001.25, billedDurationMs=1160, initDurationMs=158.5),
    event(1.3, "telemetrySubscription", name="extension", state="Subscribed", types=["platform"]),
    event(1.3, "extension", name="extension", state="Ready", events=["INVOKE"]),
)


def laid_out(how: str) -> str:
    if how == "lines":
        return json_lines(*COLD)
    if how == "an array":
        return json.dumps(COLD, indent=2)
    if how == "arrays, one a line":
        return f"{json.dumps(COLD[:3])}\n{json.dumps(COLD[3:])}\n"
    if how == "an export":
        return "".join(f"{at(9)} {json.dumps(one)}\n" for one in COLD)
    events = [{"logStreamName": STREAM, "timestamp": 1714557600000, "message": json.dumps(one) + "\n", "ingestionTime": 1, "eventId": "3"} for one in COLD]  # fmt: skip
    return json.dumps({"events": events, "searchedLogStreams": [{"logStreamName": STREAM}]}, indent=4)


@pytest.mark.parametrize("how", ["lines", "an array", "arrays, one a line", "an export", "filter-log-events"])
def test_a_cold_request_is_the_same_however_its_events_are_laid_out(read, how: str) -> None:  # type: ignore[no-untyped-def]
    found = read(laid_out(how), EXPORTED)
    assert found.is_recognised
    assert found.rejects == []
    asked, ready = datetime(2024, 5, 1, 10, 0, 0, 41_500), datetime(2024, 5, 1, 10, 0, 0, 200_000)
    run = found.runs["r1"]
    assert (run["workflow"], run["environment"], run["submitted_at"], run["gb_seconds"]) == (
        "orders",
        "eu-west-1",
        asked,
        0.58,
    )
    task, invocation = found.tasks["r1"], found.invocations["r1"]
    assert (task["function"], task["started_at"], task["execution_ms"]) == ("orders", ready, 1001.25)
    assert found.ending("r1") == ("succeeded", None, None)
    assert (invocation["container_id"], invocation["requested_at"], invocation["ready_at"]) == (STREAM, asked, ready)
    assert (invocation["reported_state"], invocation["init_ms"], invocation["billed_ms"]) == ("cold", 158.5, 1160.0)


def test_messages_of_text_logs_may_be_wrapped_in_events(read) -> None:  # type: ignore[no-untyped-def]
    messages = [(0, "START RequestId: r1 Version: 1\n"), (5, "RequestId: r1 Error: Runtime exited with error: signal: killed\nRuntime.ExitError\n"), (9, f"{report('r1')}\n")]  # fmt: skip
    events = [
        {"timestamp": 1714557600000 + second, "message": message, "ingestionTime": 1} for second, message in messages
    ]
    found = read(json.dumps({"events": events, "nextForwardToken": "f/1"}))
    assert found.is_recognised
    assert found.rejects == []
    # 1714557600 s after 1970 is 2024-05-01 10:00
    assert found.invocations["r1"]["ready_at"] == datetime(2024, 5, 1, 10)
    assert found.ending("r1") == ("killed", "Runtime.ExitError", "Runtime exited with error: signal: killed")


@pytest.mark.parametrize("between", ["\n", ""])
def test_records_of_a_subscription_name_group_and_stream(read, between: str) -> None:  # type: ignore[no-untyped-def]
    def record(*messages: str) -> str:
        events = [{"id": "3", "timestamp": 1714557600000, "message": message} for message in messages]
        return json.dumps({"messageType": "DATA_MESSAGE", "owner": "1", "logGroup": "/aws/lambda/orders", "logStream": STREAM, "logEvents": events})  # fmt: skip

    found = read(between.join((record("START RequestId: r1 Version: 1\n", "hello"), record(report("r1")))))
    assert found.is_recognised
    assert (found.rejects, found.skipped) == ([], 1)
    invocation = found.invocations["r1"]
    assert (invocation["function"], invocation["container_id"], invocation["reported_state"]) == (
        "orders",
        STREAM,
        "warm",
    )
    assert invocation["ready_at"] == datetime(2024, 5, 1, 10)


def test_provisioned_concurrency_initialises_ahead_of_its_requests(read) -> None:  # type: ignore[no-untyped-def]
    provisioned = "provisioned-concurrency"
    found = read(json_lines(init_start(0, provisioned), init_report(1, 900, provisioned), start(2, "r1"), reported(3, "r1", initDurationMs=900), start(4, "r2"), reported(5, "r2")))  # fmt: skip
    first = found.invocations["r1"]
    assert (first["reported_state"], first["phases"], "init_ms" in first) == ("warm", {"init_ahead": 900.0}, False)
    assert first["requested_at"] == first["ready_at"]
    assert (found.state("r2"), "phases" in found.invocations["r2"]) == ("warm", False)


def test_a_restored_snapshot_is_a_cold_start_and_the_init_before_the_snapshot_is_not(read) -> None:  # type: ignore[no-untyped-def]
    events = [init_start(0, "snap-start"), init_report(1, 9_000, "snap-start"), event(2, "restoreStart", functionName="orders"), event(2.4, "restoreReport", status="success", metrics={"durationMs": 400}), start(2.5, "r1")]  # fmt: skip
    for last in (reported(3, "r1", restoreDurationMs=400), reported(3, "r1")):
        invocation = read(json_lines(*events, last)).invocations["r1"]
        assert (invocation["reported_state"], invocation["init_ms"], invocation["phases"]) == (
            "cold",
            400.0,
            {"restore": 400.0},
        )
        assert invocation["requested_at"] == datetime(2024, 5, 1, 10, 0, 2, 100_000)


def test_an_init_repeated_within_a_request_is_no_start_of_a_container(read) -> None:  # type: ignore[no-untyped-def]
    found = read(json_lines(start(0, "r1"), init_report(0.5, 200, phase="invoke"), reported(1, "r1"), init_report(2, 70, status="error"), start(2, "r2"), reported(3, "r2", "error")))  # fmt: skip
    assert (found.state("r1"), found.invocations["r1"]["phases"]) == ("warm", {"repeated_init": 200.0})
    assert (found.state("r2"), found.invocations["r2"]["phases"]) == ("cold", {"failed_init": 70.0})


def test_where_logs_were_dropped_a_missing_init_proves_nothing(read) -> None:  # type: ignore[no-untyped-def]
    dropped = event(10, "logsDropped", droppedBytes=12_000, droppedRecords=40, reason="Consumer fell behind")
    found = read(
        json_lines(
            *(start(0, "before"), reported(1, "before")),
            dropped,
            *(start(11, "after"), reported(12, "after")),
            *(start(13, "later"), reported(14, "later")),
            dropped,
            *(start(15, "init"), reported(16, "init", initDurationMs=80)),
            *(start(17, "within"), dropped, reported(18, "within")),
            *(start(19, "last"), reported(20, "last")),
            *(start(21, "open"), dropped),
        )
    )
    assert {name: (row.get("reported_state"), row.get("logs_dropped")) for name, row in found.invocations.items()} == {
        "before": ("warm", None),
        "after": (None, True),
        "later": ("warm", None),
        "init": ("cold", True),
        "within": (None, True),
        "last": ("warm", None),
        "open": (None, True),
    }


@pytest.mark.parametrize(
    ("status", "error_type", "line", "ending"),
    [
        ("success", None, None, ("succeeded", None, None)),
        ("success", None, {"level": "ERROR", "message": "stock is low"}, ("succeeded", None, "stock is low")),
        ("failure", None, {"level": "ERROR", "errorType": "KeyError", "errorMessage": "price"}, ("failed", "KeyError", "price")),
        ("error", "Runtime.ExitError", None, ("failed", "Runtime.ExitError", None)),
        ("error", None, {"level": "ERROR", "message": {"errorType": "TypeError", "errorMessage": "x"}}, ("failed", "TypeError", "x")),
        ("error", "Runtime.OutOfMemory", None, ("killed", "Runtime.OutOfMemory", None)),
        ("timeout", None, None, ("killed", "timeout", None)),
        ("timeout", "Sandbox.Timedout", None, ("killed", "Sandbox.Timedout", None)),
        (None, None, None, (None, None, None)),
    ],
)  # fmt: skip
def test_how_a_request_ended(
    read, status: str | None, error_type: str | None, line: dict[str, Any] | None, ending: tuple[str | None, ...]
) -> None:  # type: ignore[no-untyped-def]
    last = reported(2, "r1")
    last["record"] |= {"status": status, "errorType": error_type}
    lines = [start(0, "r1"), *([{"timestamp": at(1), "requestId": "r1", **line}] if line else []), last]
    assert read(json_lines(*lines)).ending("r1") == ending


def test_a_report_that_is_missing_leaves_what_the_runtime_said(read) -> None:  # type: ignore[no-untyped-def]
    done = event(
        1, "runtimeDone", requestId="r1", status="timeout", spans=[{"name": "responseLatency", "durationMs": 7.5}]
    )
    found = read(json_lines(start(0, "r1"), done, start(2, "r2"), reported(3, "r2")))
    assert found.ending("r1") == ("killed", "timeout", None)
    assert (found.state("r1"), found.invocations["r1"]["phases"]) == (None, {"responseLatency": 7.5})
    assert "execution_ms" not in found.tasks["r1"]


def test_what_has_no_column_is_kept_in_extra(read) -> None:  # type: ignore[no-untyped-def]
    last = reported(1, "r1", cpuMs=3)
    last["record"]["tracing"] = {"type": "X-Amzn-Trace-Id", "value": "Root=1-62e9;Parent=0efb;Sampled=1"}
    assert read(json_lines(last)).invocations["r1"]["extra"] == {"cpuMs": 3, "trace_id": "1-62e9"}


def test_lines_of_the_function_are_passed_over_in_whatever_form(read) -> None:  # type: ignore[no-untyped-def]
    lines = [
        {"timestamp": at(0), "level": "INFO", "message": "an order", "requestId": "r1"},
        {"time": at(0), "type": "function", "record": "an order\n"},
        {"time": at(0), "type": "function", "record": {"level": "INFO", "message": "an order"}},
    ]
    found = read(f"{json_lines(start(0, 'r1'), *lines)}plain words\n{json_lines(reported(1, 'r1'))}")
    assert (found.rejects, found.skipped, list(found.invocations)) == ([], 4, ["r1"])


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('{"time": "2024-05-01T10:00:00Z", "type": "platf', "not_json"),
        ('{"type": "platform.report", "record": "text"}', "wrong_type"),
        ('{"type": "platform.report", "record": {"metrics": {}}}', "missing_key"),
        ('{"type": "platform.start", "record": {"requestId": 7}}', "wrong_type"),
        ('{"type": "platform.report", "record": {"requestId": "x", "metrics": []}}', "wrong_type"),
        ('{"type": "platform.report", "record": {"requestId": "x", "metrics": {"durationMs": "1"}}}', "wrong_type"),
        ('{"type": "platform.report", "record": {"requestId": "x", "metrics": {"durationMs": -1}}}', "out_of_range"),
        ('{"type": "platform.report", "record": {"requestId": "x", "metrics": {"durationMs": 1e999}}}', "out_of_range"),
        ('{"type": "platform.report", "record": {"requestId": "x", "metrics": {"durationMs": NaN}}}', None),
        ('{"type": "platform.start", "time": 5, "record": {"requestId": "x"}}', "wrong_type"),
        ('{"type": "platform.start", "time": "1970-01-01T00:00:00Z", "record": {"requestId": "x"}}', "out_of_range"),
        ('{"type": "platform.start", "record": ' + "[" * 100_000 + "}", None),
        ('{"type": "platform.start", "record": {"requestId": "x", "n": ' + "9" * 5_000 + "}}", "not_json"),
    ],
)
@pytest.mark.parametrize("is_array", [False, True])
def test_a_bad_event_is_rejected_and_the_others_are_read(read, bad: str, reason: str | None, is_array: bool) -> None:  # type: ignore[no-untyped-def]
    good = [json.dumps(reported(1, name)) for name in ("r1", "r3")]
    lines = [good[0], bad, good[1]]
    found = read(f"[{','.join(lines)}]" if is_array else "\n".join(lines))
    assert [location for location, _ in found.rejects] == ["event 2" if is_array else "line 2"]
    assert reason in (None, found.rejects[0][1])
    # an array that is no JSON any more cannot be read on
    is_broken = is_array and found.rejects[0][1] in ("not_json", "too_deep")
    assert list(found.invocations) == (["r1"] if is_broken else ["r1", "r3"])


@pytest.mark.parametrize("cut", ["]", "}]", '"}}]'])
def test_an_array_that_breaks_off_gives_what_came_before(read, cut: str) -> None:  # type: ignore[no-untyped-def]
    text = json.dumps([reported(1, "r1"), reported(2, "r2") | {"x": {"y": "z"}}])
    assert text.endswith(cut)
    found = read(text[: -len(cut)])
    assert len(found.rejects) == 1
    assert "r1" in found.invocations


def test_an_array_is_read_piece_by_piece(read) -> None:  # type: ignore[no-untyped-def]
    # some 3 MB: three pieces, with objects across their ends
    events = [reported(1, f"r{number}") | {"padding": "é" * 700} for number in range(2_000)]
    found = read(json.dumps(events, ensure_ascii=False))
    assert (found.rejects, len(found.invocations)) == ([], 2_000)


def test_a_long_name_of_a_log_stream_is_cut_before_a_container_is_looked_for_in_it(read) -> None:  # type: ignore[no-untyped-def]
    message = {"timestamp": 1714557600000, "ingestionTime": 1, "message": "START RequestId: r1 Version: 1\n"}
    found = read(json.dumps({"events": [{**message, "logStreamName": "2024-05-01-" * 5_000 + "[1]0123abcd"}]}))
    assert found.rejects == []
    assert len(found.invocations["r1"]["container_id"]) == 1_000

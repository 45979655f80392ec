"""What spans become. There are no recorded traces here: every one is written by hand from the grammar and the semantic conventions."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from ingest.adapters import opentelemetry_calls
from tests.ingest.adapters.otlp_traces import (
    BEGIN_NS,
    CLIENT,
    CONSUMER,
    INTERNAL,
    PRODUCER,
    SERVER,
    Json,
    Taken,
    at,
    attributes,
    block,
    function,
    hex_of,
    line,
    span,
    taken,
)

ORDER = function(
    "order", "c-1", **{"cloud.provider": "aws", "cloud.region": "eu-west-1", "faas.max_memory": 512 * 2**20}
)
PAY = function("pay", "c-2", **{"cloud.provider": "aws", "cloud.region": "eu-west-1"})


def read(tmp_path: Path, *blocks: Json) -> Taken:
    return taken(tmp_path, line(*blocks))


def of_one(tmp_path: Path, said: Json, resource: Json | None = None, **others: Any) -> tuple[Json, Json]:
    """The task and the invocation of one span."""
    found = read(
        tmp_path, block(resource or function("f"), span(1, 0, 5, said={"faas.trigger": "http", **said}, **others))
    )
    return found.one("tasks"), found.one("invocations")


def test_an_invocation_is_a_run_of_one_task(tmp_path: Path) -> None:
    said = {"faas.trigger": "http", "faas.invocation_id": "id-1", "faas.coldstart": True, "http.request.body.size": 70}
    found = read(tmp_path, block(ORDER, span(7, 100, 350.25, name="POST /orders", said=said)))
    run, task, invocation = (found.one(table) for table in ("runs", "tasks", "invocations"))
    trace_id, span_id = hex_of(7)
    assert {name: value for name, value in run.items() if name != "structure_hash"} == {
        "run_id": trace_id,
        "engine": "opentelemetry",
        "workflow": "POST /orders",
        "submitted_at": at(100),
        "finished_at": at(350.25),
        "environment": "eu-west-1",
    }
    assert task == {
        "run_id": trace_id,
        "task_id": span_id,
        "attempt": 1,
        "function": "order",
        "kind": "function",
        "worker_id": span_id,
        "memory_mb": 512,
        "started_at": at(100),
        "execution_ms": 250.25,
        "literal_bytes": 70,
    }
    assert invocation == {
        "invocation_id": f"{trace_id}-{span_id}",
        "run_id": trace_id,
        "worker_id": span_id,
        "function": "order",
        "container_id": "c-1",
        "memory_mb": 512,
        "ready_at": at(100),
        "finished_at": at(350.25),
        "reported_state": "cold",
        "initial_task_ids": [span_id],
        "extra": {
            "service.name": "order",
            "cloud.provider": "aws",
            "faas.trigger": "http",
            "faas.invocation_id": "id-1",
        },
    }
    assert found.rows["edges"] == []


def test_a_call_is_counted_once_and_was_asked_for_when_its_caller_began_it(tmp_path: Path) -> None:
    invoked = {"faas.invoked_name": "pay", "faas.invoked_provider": "aws"}
    found = read(
        tmp_path,
        block(PAY, span(4, 60, 90, parent=3)),
        block(
            ORDER,
            span(3, 20, 95, kind=CLIENT, parent=2, said=invoked),
            span(2, 11, 99, kind=INTERNAL, parent=1),
            span(1, 10, 100, name="POST /orders"),
        ),
    )
    assert found.edges == {(1, 4)}
    asked = {row["function"]: row.get("requested_at") for row in found.rows["invocations"]}
    assert asked == {"order": None, "pay": at(20)}
    assert found.skipped == 2
    run = found.one("runs")
    assert (run["workflow"], run["submitted_at"], run["finished_at"]) == ("POST /orders", at(10), at(100))
    assert "expected_tasks" not in run


@pytest.mark.parametrize(
    ("kind", "said", "is_one"),
    [
        (SERVER, {}, True),
        (CONSUMER, {}, True),
        ("SPAN_KIND_SERVER", {}, True),
        (INTERNAL, {}, False),
        (INTERNAL, {"faas.coldstart": True}, False),  # a container's initialisation
        (INTERNAL, {"faas.invocation_id": "a"}, True),
        (0, {"faas.coldstart": False}, True),
        (0, {}, False),
        ("", {"faas.execution": "a"}, True),
        (CLIENT, {"faas.invoked_name": "f"}, False),
        (PRODUCER, {"faas.trigger": "pubsub"}, False),
    ],
)
def test_which_spans_of_a_function_are_invocations(tmp_path: Path, kind: Any, said: Json, is_one: bool) -> None:
    found = read(tmp_path, block(function("f"), span(1, 0, 5, kind=kind, said=said)))
    assert len(found.rows["invocations"]) == len(found.rows["runs"]) == is_one
    assert found.skipped == (not is_one)


def test_spans_of_other_services_make_no_run_and_lead_from_one_function_to_the_next(tmp_path: Path) -> None:
    gateway = {"service.name": "gateway"}
    found = read(
        tmp_path,
        block(ORDER, span(1, 0, 50)),
        block(gateway, span(2, 5, 40, parent=1), span(3, 6, 39, kind=CLIENT, parent=2)),
        block(PAY, span(4, 10, 30, parent=3)),
        block(gateway, span(9, 0, 5, trace=2)),
    )
    assert set(found.tasks) == {1, 4}
    assert found.edges == {(1, 4)}
    assert len(found.rows["runs"]) == 1
    assert found.skipped == 3


def test_what_a_span_encloses_without_a_call_is_part_of_it(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        block(
            ORDER,
            span(1, 0, 90, said={"faas.invocation_id": "a"}),
            span(2, 1, 80, parent=1, name="GET /"),  # a web framework within the handler
            span(3, 2, 70, parent=2, kind=CONSUMER, name="message"),
            span(4, 3, 60, parent=3, kind=CLIENT),
            span(5, 10, 50, parent=4),  # calls itself: out and in again
            span(6, 3, 60, parent=2, said={"faas.invocation_id": "b"}),  # says that it is another
        ),
        block({"service.name": "host"}, span(7, 2, 60, parent=1, kind=INTERNAL, said={"faas.invocation_id": "a"})),
        block(PAY, span(8, 5, 6, parent=7, kind=CONSUMER)),
    )
    assert set(found.tasks) == {1, 5, 6, 8}
    assert found.edges == {(1, 5), (1, 6), (1, 8)}


def test_one_function_called_again_under_its_id_is_one_task_of_two_attempts(tmp_path: Path) -> None:
    said = {"faas.invocation_id": "a"}
    found = read(
        tmp_path,
        block({}, span(1, 0, 10, kind=CLIENT, said={"faas.invoked_name": "f"})),
        block(function("f"), span(3, 500, 600, parent=1, said=said, status={"code": 1})),
        block(function("f"), span(2, 20, 30, parent=1, said=said, status={"code": 2})),
        block(function("g"), span(4, 510, 520, parent=3)),
    )
    attempts = [(task["task_id"], task["attempt"], task["status"]) for task in found.rows["tasks"][:2]]
    assert sorted(attempts, key=lambda each: each[1]) == [
        (hex_of(2)[1], 1, "failed"),
        (hex_of(2)[1], 2, "succeeded"),
    ]
    assert found.edges == {(2, 4)}
    assert [row.get("requested_at") for row in found.rows["invocations"]] == [at(0), None, None]
    assert found.one("runs")["finished_at"] == at(600)  # the function outlasts the root


def test_links_within_a_trace_are_edges_and_others_are_named(tmp_path: Path) -> None:
    def links(*ids: tuple[str, str]) -> list[Json]:
        return [{"traceId": trace_id, "spanId": span_id} for trace_id, span_id in ids]

    found = read(
        tmp_path,
        block(ORDER, span(1, 0, 10), span(2, 1, 2, kind=PRODUCER, parent=1)),
        block(PAY, span(3, 50, 60, kind=CONSUMER, links=links(hex_of(2), hex_of(5, trace=9), ("x", "y"), hex_of(77)))),
        block(PAY, span(4, 51, 52, kind=INTERNAL, parent=3, links=links(hex_of(1)))),
    )
    assert found.edges == {(1, 3)}
    assert found.one("runs")["extra"] == {"linked_traces": [hex_of(0, trace=9)[0]]}


def test_a_call_that_left_no_span_makes_a_run_incomplete_and_a_failed_one_does_not(tmp_path: Path) -> None:
    invoked = {"faas.invoked_name": "pay"}
    caller = span(1, 0, 50)
    lost = span(2, 5, 6, kind=CLIENT, parent=1, said=invoked)
    throttled = span(3, 7, 8, kind=CLIENT, parent=1, said=invoked, status={"code": "STATUS_CODE_ERROR"})
    run = read(tmp_path, block(ORDER, caller, lost, throttled)).one("runs")
    assert run["expected_tasks"] == 2
    assert run["extra"] == {"calls_without_span": 1}
    assert "expected_tasks" not in read(tmp_path, block(ORDER, caller, throttled)).one("runs")


def test_a_trace_called_from_elsewhere_ends_with_the_one_span_that_was_called(tmp_path: Path) -> None:
    found = read(tmp_path, block(ORDER, span(1, 0, 90, parent=99), span(2, 10, 100, kind=INTERNAL, parent=1)))
    assert found.one("runs")["finished_at"] == at(90)


def test_a_trace_without_its_root_is_a_run_of_what_is_there(tmp_path: Path) -> None:
    found = read(
        tmp_path, block(PAY, span(5, 200, 290, parent=99)), block(ORDER, span(4, 100, 150, parent=98, name="step"))
    )
    run = found.one("runs")
    assert (run["workflow"], run["submitted_at"]) == ("step", at(100))
    assert "finished_at" not in run  # what called the two was lost, and more may be
    assert run["extra"] == {"orphaned_spans": 2}
    assert found.edges == set()
    assert "expected_tasks" not in run


def test_times_that_are_not_known_stay_unknown(tmp_path: Path) -> None:
    unfinished = {"endTimeUnixNano": "0"}
    found = read(
        tmp_path,
        block(
            ORDER,
            span(1, 0, 0, said={"faas.invocation_id": "a"}, **unfinished),
            span(2, 0, 0, parent=1, said={"faas.invocation_id": "b"}, startTimeUnixNano=None, **unfinished),
        ),
    )
    assert "finished_at" not in found.one("runs")
    first, second = found.tasks[1], found.tasks[2]
    assert (first["started_at"], "execution_ms" in first) == (at(0), False)
    assert "started_at" not in second
    assert len(found.rows["invocations"]) == 2


def test_a_caller_whose_clock_is_ahead_does_not_say_when_a_call_was_asked_for(tmp_path: Path) -> None:
    found = read(tmp_path, block({}, span(1, 10, 30, kind=CLIENT)), block(PAY, span(2, 9.999, 20, parent=1)))
    assert "requested_at" not in found.one("invocations")
    assert found.one("runs")["submitted_at"] == at(9.999)


def test_nanoseconds_are_kept(tmp_path: Path) -> None:
    # 10:00:00.001002003 to .004000001: 2,997,998 ns
    times = {"startTimeUnixNano": str(BEGIN_NS + 1_002_003), "endTimeUnixNano": BEGIN_NS + 4_000_001}
    task, invocation = of_one(tmp_path, {}, **times)
    assert task["started_at"] == invocation["ready_at"] == at(1.002)
    assert task["extra"] == {"started_nanoseconds": 3}
    assert task["execution_ms"] == 2.997998


@pytest.mark.parametrize(
    ("resource", "said", "name"),
    [
        ({"faas.name": "a", "service.name": "s"}, {"faas.name": "b"}, "b"),
        ({"service.name": "s"}, {"faas.id": "arn:aws:lambda:eu-west-1:123:function:resize:7"}, "resize"),
        ({"service.name": "s"}, {"cloud.resource_id": "/subscriptions/1/functions/f"}, "s"),
        ({}, {}, "handler"),
    ],
)
def test_names_of_functions(tmp_path: Path, resource: Json, said: Json, name: str) -> None:
    task, invocation = of_one(tmp_path, said, {"host.name": "h", **resource})
    assert task["function"] == invocation["function"] == name


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"faas.max_memory": 128 * 2**20}, {"memory_mb": 128}),
        ({"faas.max_memory": 256}, {"memory_mb": 256}),  # older conventions: MB
        ({"faas.max_memory": "1024"}, {"memory_mb": 1024}),
        ({"faas.max_memory": 0}, {"memory_mb": None}),
        ({"faas.coldstart": False}, {"reported_state": "warm"}),
        ({"faas.coldstart": "True"}, {"reported_state": "cold"}),
        ({"faas.coldstart": 1}, {"reported_state": None}),
        ({"faas.instance": 7}, {"container_id": None}),
    ],
)
def test_attributes_of_invocations(tmp_path: Path, said: Json, expected: Json) -> None:
    _, invocation = of_one(tmp_path, said)
    assert {name: invocation.get(name) for name in expected} == expected


def test_values_of_every_kind_are_kept_and_what_cannot_be_is_not(tmp_path: Path) -> None:
    values = [
        {
            "key": "faas.a",
            "value": {"arrayValue": {"values": [{"stringValue": "x"}, {"intValue": 3}, {"arrayValue": {}}]}},
        },
        {"key": "faas.b", "value": {"doubleValue": 0.5}},
        {"key": "faas.c", "value": {"intValue": "9" * 30}},
        {"key": "faas.d", "value": {"intValue": "many"}},
        {"key": "faas.e", "value": {"kvlistValue": {"values": []}}},
        {"key": "faas.f", "value": None},
        {"key": "faas.g", "value": {"doubleValue": "NaN"}},
        {"key": "faas.h", "value": {"bytesValue": "AAE="}},
        {"key": "faas.execution", "value": {"stringValue": "old"}},
        {"key": "faas.invocation_id", "value": {"stringValue": "new"}},
        {"key": "http.url", "value": {"stringValue": "secret"}},
        {"key": 3},
        "nothing",
    ]
    found = read(tmp_path, block({}, span(1, 0, 5, attributes=values)))
    assert found.one("invocations")["extra"] == {
        "faas.a": ["x", 3],
        "faas.b": 0.5,
        "faas.h": "AAE=",
        "faas.invocation_id": "new",
    }
    assert found.unknown == {"faas.a": 1, "faas.b": 1, "faas.h": 1, "faas.invocation_id": 1}


def test_what_failed_says_why(tmp_path: Path) -> None:
    def exception(kind: str, message: str) -> Json:
        return {"name": "exception", "attributes": attributes({"exception.type": kind, "exception.message": message})}

    events = [exception("KeyError", "handled"), exception("ValueError", "not a size"), {"name": "log"}]
    task, invocation = of_one(tmp_path, {}, status={"code": 2, "message": "m"}, events=events)
    assert (task["status"], task["error_type"], task["error_message"]) == ("failed", "ValueError", "not a size")
    assert (invocation["status"], invocation["error_type"]) == ("failed", "ValueError")
    task, _ = of_one(tmp_path, {"error.type": "500"}, status={"code": 2, "message": "m"})
    assert (task["error_type"], task["error_message"]) == ("500", "m")
    task, _ = of_one(tmp_path, {}, status={"code": "STATUS_CODE_OK"}, events=events)
    assert (task["status"], "error_type" in task) == ("succeeded", False)
    assert "status" not in of_one(tmp_path, {}, events=events)[0]


def test_ids_in_base64_are_those_in_hex(tmp_path: Path) -> None:
    trace_id, span_id = (base64.b64encode(bytes.fromhex(each)).decode() for each in hex_of(2))
    upper = hex_of(0xAB)
    child = span(3, 1, 2, parent=None, kind=CLIENT, traceId=trace_id, parentSpanId=span_id)
    found = read(
        tmp_path,
        block(ORDER, span(2, 0, 5, traceId=trace_id, spanId=span_id), child),
        block(PAY, span(0xAB, 1, 2, parent=3, traceId=upper[0].upper(), spanId=upper[1].upper())),
    )
    assert {run["run_id"] for run in found.rows["runs"]} == {hex_of(2)[0]}
    assert found.edges == {(2, 0xAB)}


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"traceId": "0" * 32}, "missing_key"),
        ({"traceId": None}, "missing_key"),
        ({"spanId": ""}, "missing_key"),
        ({"spanId": "zz"}, "not_the_format"),
        ({"traceId": "ab" * 15}, "not_the_format"),
        ({"spanId": 7}, "wrong_type"),
        ({"startTimeUnixNano": "-5"}, "out_of_range"),
        ({"startTimeUnixNano": "soon"}, "wrong_type"),
        ({"startTimeUnixNano": True}, "wrong_type"),
        ({"startTimeUnixNano": 1.5e18}, "wrong_type"),
        ({"endTimeUnixNano": "9" * 19}, "out_of_range"),
        ({"endTimeUnixNano": str(BEGIN_NS - 1)}, "out_of_range"),  # before it starts
    ],
)
def test_a_span_that_cannot_be_is_rejected_and_the_others_stand(tmp_path: Path, wrong: Json, reason: str) -> None:
    found = read(tmp_path, block(ORDER, span(1, 0, 5, **wrong), span(2, 0, 5)))
    assert found.rejects == [("line 1, span 1", reason)]
    assert set(found.tasks) == {2}


def test_spans_sent_twice_count_once(tmp_path: Path) -> None:
    blocks = block(ORDER, span(1, 0, 5)), block(PAY, span(2, 1, 4, parent=1))
    found = taken(tmp_path, "\n".join([line(*blocks), line(*blocks)]))
    assert set(found.tasks) == {1, 2}
    assert (len(found.rows["tasks"]), found.skipped) == (2, 2)


def test_runs_of_the_same_calls_share_a_structure_whatever_the_order(tmp_path: Path) -> None:
    def structure(*blocks: Json) -> str:
        return str(read(tmp_path, *blocks).one("runs")["structure_hash"])

    one = structure(block(ORDER, span(1, 0, 9)), block(PAY, span(2, 1, 2, parent=1), span(3, 3, 4, parent=1)))
    same = structure(block(PAY, span(7, 9, 10, parent=5), span(6, 1, 2, parent=5)), block(ORDER, span(5, 0, 20)))
    flat = structure(block(ORDER, span(1, 0, 9)), block(PAY, span(2, 1, 2), span(3, 3, 4)))
    fewer = structure(block(ORDER, span(1, 0, 9)), block(PAY, span(2, 1, 2, parent=1)))
    assert one == same
    assert len({one, flat, fewer}) == 3


def test_parents_in_a_circle_end_somewhere(tmp_path: Path) -> None:
    said = {"faas.trigger": "http"}
    found = read(
        tmp_path,
        block(ORDER, span(1, 0, 5, parent=2, said=said), span(2, 0, 5, parent=1, said=said), span(3, 0, 5, parent=3)),
        block(PAY, span(4, 1, 2, parent=1, kind=CONSUMER)),
    )
    assert found.rejects == []
    assert 4 in found.tasks


def test_a_trace_without_end_is_refused_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opentelemetry_calls, "MAX_CALLS", 3)
    many = block(ORDER, *(span(number, 0, 5) for number in range(1, 5)))
    found = read(tmp_path, many, block(ORDER, span(9, 0, 5, trace=2)))
    assert found.rejects == [(f"trace {hex_of(0)[0]}", "too_large")]
    assert [run["run_id"] for run in found.rows["runs"]] == [hex_of(0, trace=2)[0]]

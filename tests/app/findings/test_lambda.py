"""F22: what workers on AWS Lambda show, by hand-made requests whose figures are worked out here."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

from app.findings import QUESTIONS, find
from app.findings.evidence import Selection
from app.findings.finding import Answer
from app.findings.lambda_requests import least_memory
from app.markdown import to_text
from app.plain import plain
from tests.app.dumps import HOSTILE, ROOT, merged, take_in
from tests.app.findings.homes import answer
from tests.app.findings.rows import Rows, evidence
from tests.warehouse.views import at
from warehouse.home import Home

VIEWS = ("run_summary", "task_times", "invocation_tasks", "cold_starts", "worker_times")
DATA = ROOT.parent / "shared" / "data" / "field" / "sebs-flow" / "6200.trip-booking" / "aws" / "2024"
PRICE = {"environment": "default", "gb_second_usd": 0.5, "request_usd": 0.25, "source": "a list", "as_of": "2026-01-01"}


def request(
    number: int, duration_ms: float = 90.5, init_ms: float | None = None, billed_ms: float | None = 91, used_mb: float | None = 100,
    function: str = "f", memory_mb: int | None = 1024, engine: str = "aws-lambda", environment: str | None = None, **invocation: Any,
) -> Rows:  # fmt: skip
    """A request: one run of one task in one invocation, ten seconds after the one before it."""
    run, begin = f"{function}-{number}", 10_000.0 * number
    init = init_ms or 0.0
    return {
        "runs": [
            {"run_id": run, "engine": engine, "environment": environment, "workflow": function, "submitted_at": at(begin),
             "sink_task_id": run, "expected_tasks": 1}
        ],
        "tasks": [
            {"run_id": run, "task_id": run, "attempt": 1, "function": function, "kind": "function", "worker_id": run, "memory_mb": memory_mb,
             "started_at": at(begin), "execution_ms": duration_ms, "status": "succeeded", "max_memory_mb": used_mb}
        ],
        "invocations": [
            {"invocation_id": run, "run_id": run, "worker_id": run, "function": function, "container_id": "log-stream", "memory_mb": memory_mb,
             "requested_at": at(begin - init), "ready_at": at(begin), "finished_at": at(begin + duration_ms),
             "reported_state": "cold" if init_ms else "warm", "init_ms": init_ms, "billed_ms": billed_ms, "max_memory_mb": used_mb,
             "status": "succeeded"} | invocation
        ],
    }  # fmt: skip


def found(*runs: Rows, selection: Selection | None = None) -> Answer:
    (question,) = [question for question in QUESTIONS if question.code == "F22"]
    return find(question, evidence(merged(*runs), *VIEWS, selection=selection)).answer


def test_starts_billed_time_and_cost_are_those_worked_out() -> None:
    # 40 requests of 90.5 ms, 10 cold with 100, 110, ... 190 ms of init; warm ones are billed 91 ms, cold ones 91 + init.
    requests = [
        request(n, init_ms=init, billed_ms=91 + (init or 0))
        for n in range(40)
        for init in [100.0 + 10 * n if n < 10 else None]
    ]
    answered = found(*requests, {"prices": [PRICE]})
    assert answered.status == "answered" and (answered.n, answered.counted) == (40, "requests")
    assert answered.effect and (answered.effect.value, answered.effect.unit) == (0.25, "share")
    assert answered.effect.low is not None and answered.effect.low < 0.25 < (answered.effect.high or 0)
    whole = answered.table.iloc[0]
    assert whole["init_median_ms"] == pytest.approx(145)
    # The 90th percentile of 100 ... 190 by linear interpolation is at place 8.1.
    assert whole["init_p90_ms"] == pytest.approx(181)
    # The median share of a cold request: between 140 / 230.5 and 150 / 240.5.
    assert whole["init_of_cold_request"] == pytest.approx((140 / 230.5 + 150 / 240.5) / 2)
    assert whole["actual_s"] == pytest.approx(40 * 0.0905)
    assert whole["billed_init_s"] == pytest.approx(1.45), "the inits add up to 1,450 ms and all are billed"
    assert whole["rounding_s"] == pytest.approx(40 * 0.0005)
    assert whole["billed_gb_seconds"] == pytest.approx(40 * 0.091 + 1.45), "at 1 GB"
    assert whole["billed_usd"] == pytest.approx(0.5 * (40 * 0.091 + 1.45) + 40 * 0.25)
    assert to_text(answered.sentence).startswith("25.0 % of 40 requests to AWS Lambda started cold (95 % interval ")
    assert "an init took 145 ms in the median (95 % interval " in answered.sentence
    assert "20.0 ms is rounding and 1.45 s is init), 5.09 GB-seconds or 13 USD, requests included" in answered.sentence
    assert any("`a list as of 2026-01-01`" in caveat for caveat in answered.caveats)


def test_a_price_of_gb_seconds_alone_includes_no_requests() -> None:
    answered = found(*(request(n) for n in range(20)), {"prices": [PRICE | {"request_usd": None}]})
    assert answered.table["billed_usd"][0] == pytest.approx(0.5 * 20 * 0.091)
    assert "or 0.91 USD, without requests, whose price is unknown" in answered.sentence


def test_an_init_that_is_not_billed_is_not_counted_as_rounding() -> None:
    answered = found(*(request(n, init_ms=300.0 if n == 0 else None, billed_ms=91) for n in range(20)))
    assert answered.table["billed_init_s"][0] == 0
    assert answered.table["rounding_s"][0] == pytest.approx(20 * 0.0005)
    assert "init is not billed" in answered.sentence and "no price is known" in answered.sentence


def test_restores_of_snapshots_are_told_apart_from_inits() -> None:
    cold = [
        request(n, init_ms=1_000.0 if n % 2 else 200.0, phases=None if n % 2 else {"restore": 200.0}) for n in range(12)
    ]
    answered = found(*cold, *(request(n) for n in range(12, 30)))
    whole = answered.table.iloc[0]
    assert (whole["inits"], whole["init_median_ms"]) == (6, 1_000)
    assert (whole["restores"], whole["restore_median_ms"]) == (6, 200)
    assert "a restore of a snapshot took 200 ms" in answered.sentence
    assert "restore 200 ms" in next(figure.text for figure in answered.figures if figure.name == "lambda-init")


def test_memory_that_is_not_needed_or_nearly_used_up_is_named_by_function() -> None:
    # small: 100 MB of 1,024 throughout, so 1.2 * 100 = 120 -> 128 MB. full: up to 500 of 512, .977 of it. few: too few to say.
    runs = [request(n, function="small") for n in range(25)]
    runs += [request(n, function="full", memory_mb=512, used_mb=500 if n == 3 else 450) for n in range(25)]
    runs += [request(n, function="few") for n in range(5)]
    answered = found(*runs)
    rows = answered.table.set_index("function")
    assert rows["least_memory_mb"].dropna().to_dict() == {"small": 128}
    assert bool(rows.loc["full", "is_near_limit"]) and not rows.loc["small", "is_near_limit"]
    assert "1 function could do with less: `small` (128 MB instead of 1024 MB)" in answered.sentence
    assert "1 function comes within 5 % of the limit: `full` (97.7 % of 512 MB)" in answered.sentence
    assert any("CPU follows memory" in caveat for caveat in answered.caveats)


@pytest.mark.parametrize(
    ("p99", "largest", "memory", "least"),
    [
        (100, 100, 1_024, 128),  # 120 -> 128
        (160, 160, 1_024, 192),  # 192 exactly
        (161, 161, 1_024, 256),  # 193.2 -> 256
        (100, 300, 1_024, 320),  # no less than the largest: 300 -> 320
        (100, 100, 128, None),  # Lambda has no less
        (430, 430, 512, None),  # 516 -> 576
    ],
)
def test_the_least_memory_leaves_room_above_what_was_used(
    p99: float, largest: float, memory: float, least: float | None
) -> None:
    row = {"measured": 20, "memory_mb": memory, "memory_p99_mb": p99, "memory_max_mb": largest}
    assert least_memory(row) == least
    assert least_memory(row | {"measured": 19}) is None


@pytest.mark.parametrize(
    ("error_type", "counted"),
    [
        *((name, "timeouts") for name in ("timeout", "Sandbox.Timedout", "Task timed out after 3.00 seconds", "timed_out")),
        *((name, "out_of_memory") for name in ("Runtime.OutOfMemory", "MemoryError", "OOMKilled", "Exit by OOM")),
        *((name, "other_errors") for name in ("TimeoutError", "botocore.ReadTimeoutError", "RoomUnavailable", "ZoomError")),
    ],
)  # fmt: skip
def test_an_error_is_taken_for_the_platforms_only_where_it_is_named_so(error_type: str, counted: str) -> None:
    whole = found(*(request(n) for n in range(20)), request(20, status="failed", error_type=error_type)).table.iloc[0]
    names = ["timeouts", "out_of_memory", "other_errors"]
    assert [whole[name] for name in names] == [int(name == counted) for name in names]


def test_timeouts_lost_memory_errors_and_repeated_inits_are_counted_apart() -> None:
    runs = [request(n) for n in range(20)]
    runs += [
        request(20, status="killed", error_type="timeout"),
        request(21, status="killed", error_type="Runtime.OutOfMemory"),
        request(22, status="killed", error_type="Runtime.ExitError", used_mb=1_024),  # all its memory
        request(23, status="failed", error_type="KeyError"),
        request(24, status="failed", error_type="KeyError", phases={"repeated_init": 50.0}),
        request(25, phases={"failed_init": 10_000.0}),
        request(26, phases={"init_ahead": 700.0}),
    ]
    answered = found(*runs)
    whole = answered.table.iloc[0]
    names = ["timeouts", "out_of_memory", "other_errors", "repeated_inits", "failed_inits", "inits_ahead"]
    assert whole[names].tolist() == [1, 2, 2, 1, 1, 1]
    assert "; 1 init was done ahead, so that nobody waited" in answered.sentence
    assert (
        "1 request timed out, 2 ran out of memory, 2 ended in another error (0 do not say how they ended); 1 init was repeated"
        in answered.sentence
    )


def test_what_is_unknown_is_counted_and_is_no_zero() -> None:
    silent = request(20, billed_ms=None, used_mb=None, memory_mb=None, reported_state=None, container_id=None, finished_at=None, status=None, logs_dropped=True)  # fmt: skip
    silent["tasks"] = []
    answered = found(*(request(n) for n in range(20)), silent)
    assert answered.table.loc[0, ["requests", "unknown", "without_report", "logs_dropped", "measured"]].tolist() == [
        21,
        1,
        1,
        1,
        20,
    ]
    assert "around 1 request the platform dropped logs" in answered.left_out
    assert "1 request without a report" in answered.left_out
    assert "another error (1 do not say how they ended)" in answered.sentence
    assert "0 % of 20 requests" in to_text(answered.sentence), "the silent one is in no share"
    row = answered.table[answered.table["memory_mb"] == "(none)"].iloc[0]
    assert np.isnan(row["billed_gb_seconds"]) and np.isnan(row["memory_used_median"])


@pytest.mark.parametrize(
    ("engine", "environment", "is_lambda"),
    [
        ("aws-lambda", None, True), ("aws-lambda", "eu-west-1", True), ("sebs-flow", "aws", True), ("opentelemetry", "aws_lambda", True),
        ("sebs-flow", "azure", False), ("hand", "here", False), ("hand", "lawson", False), (None, None, False),
    ],
)  # fmt: skip
def test_lambda_is_told_by_the_name_of_engine_or_environment(
    engine: str, environment: str | None, is_lambda: bool
) -> None:
    answered = found(*(request(n, engine=engine, environment=environment) for n in range(20)))
    assert answered.status == ("answered" if is_lambda else "not applicable")


def test_spans_name_the_cloud_where_the_environment_is_only_a_region() -> None:
    for cloud, status in (("aws", "answered"), ("gcp", "not applicable")):
        extra = json.dumps({"cloud.provider": cloud})
        runs = [request(n, engine="opentelemetry", environment="eu-west-1", extra=extra) for n in range(20)]
        assert found(*runs).status == status


def test_a_log_that_says_nothing_of_ends_is_not_one_without_failures() -> None:
    runs = [request(n, status=None) for n in range(20)]
    for run in runs:
        run["tasks"][0]["status"] = None
    assert "No request says how it ended" in found(*runs).sentence


def test_too_few_requests_are_told_but_not_concluded_from() -> None:
    answered = found(*(request(n, init_ms=100.0 if n < 3 else None) for n in range(19)))
    assert answered.status == "not enough data" and answered.effect is None and not answered.figures
    assert "15.8 % of 19 requests" in to_text(answered.sentence)
    assert len(answered.table) == 2


def test_calls_of_one_run_hang_together() -> None:
    # 8 runs of 10 calls, all cold or all warm: 8 cases, whose interval is that of 4 in 8 and not of 40 in 80 (.39 to .61).
    runs = []
    for n in range(8):
        calls = [
            request(10 * n + call, init_ms=50.0 if n % 2 else None, engine="sebs-flow", environment="aws")
            for call in range(10)
        ]
        for call in calls:
            for table in ("tasks", "invocations"):
                call[table][0]["run_id"] = f"run-{n}"
        calls[0]["runs"][0]["run_id"] = f"run-{n}"
        runs += [calls[0], *({name: rows for name, rows in call.items() if name != "runs"} for call in calls[1:])]
    effect = found(*runs).effect
    assert effect and effect.value == 0.5 and effect.low is not None and effect.low < 0.25


def test_many_functions_and_hostile_names_are_drawn_within_bounds() -> None:
    runs = [
        request(n, function=f"{n % 20} {HOSTILE}", used_mb=1_000, init_ms=10.0 if n < 40 else None) for n in range(60)
    ]
    answered = found(*runs)
    assert f"20 functions come within 5 % of the limit: {plain(f'0 {HOSTILE}', 40)} (" in answered.sentence
    assert len(answered.table) == 21
    for figure in answered.figures:
        assert "4 functions with fewer requests: in the table only" in figure.text
        figure.drawn.to_dict()


def test_a_memory_that_varies_is_in_the_name_of_a_row() -> None:
    answered = found(*(request(n, memory_mb=512 if n % 2 else 1_024) for n in range(40)))
    assert "f, 512 MB" in answered.figures[0].text and "f, 1024 MB" in answered.figures[0].text


def test_calls_measured_on_aws_give_the_figures_of_their_files(tmp_path: Path) -> None:
    files = [DATA / f"{mode}_128_processed.csv" for mode in ("burst", "warm")]
    if not all(file.exists() for file in files):
        pytest.skip(f"not here: {DATA}")
    calls = [row for file in files for row in csv.DictReader(file.open()) if row["func"] != "run_workflow"]
    billed = [call for call in calls if call["billing.duration"]]
    answered = answer(take_in(tmp_path / "home", *files), "F22")
    whole = answered.table.iloc[0]
    assert whole["requests"] == len(calls)
    assert whole["cold"] == sum(call["is_cold"] == "True" for call in calls)
    assert whole["inits"] == sum(float(call["provider.init_duration"] or 0) > 0 for call in calls)
    assert whole["billed_s"] == pytest.approx(sum(float(call["billing.duration"]) for call in billed) / 1e3)
    # Microseconds, as the platform measured them; MB times milliseconds.
    assert whole["actual_s"] == pytest.approx(sum(float(call["provider.execution_duration"]) for call in billed) / 1e6)
    assert whole["billed_gb_seconds"] == pytest.approx(sum(float(call["billing.gbs"]) for call in billed) / 1024 / 1000)
    used = [float(call["max_mem_used"]) / float(call["billing.mem"]) for call in billed]
    assert (whole["memory_used_median"], whole["memory_used_max"]) == (
        pytest.approx(median(used)),
        pytest.approx(max(used)),
    )
    assert whole["rounding_s"] < 0.001 * len(billed), "each is rounded up to a millisecond"


def test_the_recorded_runs_are_not_on_lambda_and_nothing_selected_is_an_answer(sample_home: Home) -> None:
    assert answer(sample_home, "F22").status == "not applicable"
    nothing = found(request(1), selection=Selection(values=(("workflow", ("gone",)),)))
    assert (nothing.status, nothing.n) == ("not applicable", 0)

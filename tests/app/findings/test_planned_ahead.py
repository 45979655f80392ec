"""F11, plans beside simulations: how far both are from what happened, of the same runs, tasks and workers."""

from __future__ import annotations

from typing import Any

import pytest

from app.findings import QUESTIONS, find
from app.findings.evidence import Selection
from app.findings.finding import Answer
from app.findings.planned_ahead import ERRORS, HINT
from tests.app.dumps import merged, one_run
from tests.app.findings.rows import Rows, evidence

VIEWS = ("run_summary", "worker_active_periods", "prediction_errors", "critical_path", "optimization_opportunities")


def ahead(
    number: int = 0, workflow: str = "wf", makespan_ms: float = 1_200, planned: bool = True, **simulation: Any
) -> Rows:
    """A run of `one_run` that was simulated before it happened: planned for 2 s, it takes 1 s.

    Its tasks start at 400 and 700 ms (planned: 300 and 410, simulated: 380 and 650); its worker is active for 900 ms,
    600 of them from its first task on (planned: 300 to 2000, simulated: 90 to 900).
    """
    rows: Rows = one_run(number, workflow, planned=planned)
    key = {"run_id": rows["runs"][0]["run_id"], "scenario": "ahead"}
    first, last = (task["task_id"] for task in rows["tasks"])
    rows["simulations"] = [
        {**key, "predictor": "simulation", "makespan_ms": makespan_ms, "cold_starts": 0.5, **simulation}
    ]
    rows["simulated_tasks"] = [
        {**key, "task_id": first, "worker_id": "w", "start_offset_ms": 380},
        {**key, "task_id": last, "worker_id": "w", "start_offset_ms": 650},
    ]
    rows["simulated_invocations"] = [{**key, "worker_id": "w", "requested_offset_ms": 90, "released_offset_ms": 900}]
    return rows


def found(*runs: Rows, selection: Selection | None = None) -> Answer:
    (question,) = [question for question in QUESTIONS if question.code == "F11"]
    return find(question, evidence(merged(*runs), *VIEWS, selection=selection)).answer


def test_errors_of_plan_and_simulation_are_of_the_same_tasks_and_workers() -> None:
    (row,) = evidence(ahead(), *VIEWS).frame(ERRORS).to_dict("records")
    assert (row["planned_makespan_error"], row["simulated_makespan_error"]) == pytest.approx((1.0, 0.2))
    # |300 - 400| and |410 - 700|; |380 - 400| and |650 - 700|.
    assert (row["planned_task_start_error_ms"], row["simulated_task_start_error_ms"]) == pytest.approx((195, 35))
    assert (row["planned_active_period_error"], row["simulated_active_period_error"]) == pytest.approx(
        (1_700 / 600 - 1, 1 - 520 / 600)
    )
    assert [row[f"{of}_active_period_with_startup_error"] for of in ("planned", "simulated")] == pytest.approx(
        [1_700 / 900 - 1, 0.1]
    )
    assert [row[f"{of}_cold_starts"] for of in ("observed", "planned", "simulated")] == [1, 1, 0.5]
    assert (row["tasks"], row["workers"]) == (2, 1)


def test_tasks_and_workers_that_one_of_the_three_does_not_know_are_in_neither_error() -> None:
    rows = ahead()
    rows["simulated_tasks"].pop()
    rows["planned_tasks"][0]["worker_id"] = rows["planned_tasks"][1]["worker_id"] = "v"
    (row,) = evidence(rows, *VIEWS).frame(ERRORS).to_dict("records")
    assert (row["planned_task_start_error_ms"], row["simulated_task_start_error_ms"]) == pytest.approx((100, 20))
    assert (row["tasks"], row["workers"]) == (1, 0)


def test_each_worker_is_held_against_itself() -> None:
    # The second task runs on a worker of its own, requested at 500 ms and done at 1000: active for 500 ms, 300 of them from its first task on
    # (700), planned for 1590, simulated for 600 and 350 (from 650 on).
    # The first worker is active from 100 to 610 ms: 510, 210 of them from 400 on, planned for 110, simulated for 810 and 520 (from 380 on).
    rows = ahead()
    rows["tasks"][1]["worker_id"] = rows["planned_tasks"][1]["worker_id"] = "v"
    first = rows["invocations"][0]
    more = {
        "invocation_id": "i-v",
        "worker_id": "v",
        "requested_at": "2026-01-01T10:00:00.500",
        "ready_at": "2026-01-01T10:00:00.600",
    }
    rows["invocations"].append(first | more)
    simulated = rows["simulated_invocations"]
    rows["simulated_tasks"][1]["worker_id"] = "v"
    simulated.append(simulated[0] | {"worker_id": "v", "requested_offset_ms": 400, "released_offset_ms": 1_000})
    (row,) = evidence(rows, *VIEWS).frame(ERRORS).to_dict("records")
    assert row["workers"] == 2
    assert row["planned_active_period_error"] == pytest.approx(((1_590 / 300 - 1) + (1 - 110 / 210)) / 2)
    assert row["simulated_active_period_error"] == pytest.approx(((350 / 300 - 1) + (520 / 210 - 1)) / 2)
    assert row["planned_active_period_with_startup_error"] == pytest.approx(((1_590 / 500 - 1) + (1 - 110 / 510)) / 2)
    assert row["simulated_active_period_with_startup_error"] == pytest.approx(((600 / 500 - 1) + (810 / 510 - 1)) / 2)


def test_a_perfect_plan_is_not_blamed_for_the_start_up_it_does_not_count() -> None:
    # Planned to the millisecond: the worker's tasks run from 400 to 1000 ms. Its start-up of 300 ms is a third of its 900 ms.
    rows = ahead()
    rows["planned_tasks"][0] |= {"start_offset_ms": 400, "completion_offset_ms": 610}
    rows["planned_tasks"][1] |= {"start_offset_ms": 700, "completion_offset_ms": 1_000}
    (row,) = evidence(rows, *VIEWS).frame(ERRORS).to_dict("records")
    assert row["planned_active_period_error"] == pytest.approx(0)
    assert row["planned_active_period_with_startup_error"] == pytest.approx(300 / 900)


def test_a_worker_is_planned_cold_by_the_first_of_its_tasks() -> None:
    rows = ahead()
    rows["planned_tasks"][0] |= {"startup_state": "warm"}
    rows["planned_tasks"][1] |= {"startup_state": "cold"}
    assert evidence(rows, *VIEWS).frame(ERRORS)["planned_cold_starts"].tolist() == [0]


def test_runs_without_a_plan_an_end_or_a_simulation_are_not_compared() -> None:
    lost = ahead(1)
    lost["tasks"].pop()
    other = ahead(2, scenario="recorded")
    frame = evidence(merged(ahead(0), lost, other, ahead(3, planned=False)), *VIEWS).frame(ERRORS)
    assert frame["run_id"].tolist() == ["run-wf-0"]


def test_both_stand_side_by_side_in_the_sentence_and_in_the_table() -> None:
    # The runs take 1.0 to 1.6 s, planned for 2.0 s: 25 to 100 % off, 54 % in the median run, simulated for 1.2 s: 7.7 %.
    answered = found(*(ahead(i) for i in range(7)))
    assert answered.status == "answered" and HINT not in answered.would_change
    assert (
        "Simulated before they happened, in the median of the same 7 runs: makespan is off by **" in answered.sentence
    )
    makespans = sorted((abs(2_000 / (1_000 + 100 * i) - 1), abs(1_200 / (1_000 + 100 * i) - 1)) for i in range(7))
    assert answered.table["planned_makespan_error"][0] == pytest.approx(makespans[3][0])
    assert answered.table["simulated_makespan_error"][0] == pytest.approx(sorted(pair[1] for pair in makespans)[3])
    assert "**35.0 ms** (plans: 195 ms, error 0.18 times (95 % interval 0.18 to 0.18) the plan's)" in answered.sentence
    # From the first task on the worker is active for 600 + 100 i ms, 900 in the median run, and for 1200 with start-up: planned for 1700,
    # simulated for 520 and 810. The errors of the plans: 1.83, 1.43, 1.12, .89, .7, .55, .42; of the simulations: .13 to .57, .42 in the median
    # run; their ratios: .07, .18, .31, .47, .69, .96, 1.37.
    assert (
        "active periods from a worker's first task on are off by **42.2 %** (plans: 88.9 %, error 0.47 times"
        in answered.sentence
    )
    assert "with start-up they are off by **32.5 %** (plans, which leave it out: 41.7 %);" in answered.sentence
    assert answered.table["simulated_active_period_with_startup_error"][0] == pytest.approx(1 - 810 / 1_200)
    assert "4 cold starts expected where 7 happened (plans: 7)" in answered.sentence
    assert any("14 tasks and 7 workers are in plan, simulation and record" in caveat for caveat in answered.caveats)
    assert answered.table["simulated_runs"].tolist() == [7, 7]


def test_few_runs_have_errors_and_no_interval() -> None:
    answered = found(ahead())
    assert (
        "Simulated before it happened, of the same run: makespan is off by **20.0 %** (plans: 100 %);"
        in answered.sentence
    )


def test_without_simulations_it_says_how_to_get_them() -> None:
    answered = found(one_run(0))
    assert answered.would_change.endswith(HINT) and "imulated" not in answered.sentence
    assert "simulated_runs" not in answered.table
    gone = Selection(values=(("workflow", ("other",)),))
    assert HINT in found(ahead(0), one_run(0, "other"), selection=gone).would_change

"""F11: what active periods miss that assume no start-up, and what that does to plans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.findings.evidence import Selection
from tests.app.dumps import HOSTILE, LONG, merged, one_run, take_in, write
from tests.app.findings.homes import answer, rows
from warehouse.home import Home


def taken_in(tmp_path: Path, *runs: dict[str, list[dict[str, Any]]]) -> Home:
    return take_in(tmp_path / "home", write(tmp_path / "dump", merged(*runs)))


def test_what_is_missed_is_all_before_the_first_task(tmp_path: Path) -> None:
    # Run i: requested at 0.1 s, first task at 0.4 s, end at 1.0 + 0.1 i s: 300 of 900 + 100 i ms are missed.
    found = answer(taken_in(tmp_path, *(one_run(i) for i in range(6))), "F11")
    assert found.effect is not None
    assert found.effect.value == pytest.approx(6 * 300 / (6 * 900 + 1500))
    assert found.effect.low is not None and found.effect.low < found.effect.value < (found.effect.high or 0)
    assert found.sentence.startswith("Active periods that begin at the first task miss **26.1 %**")
    assert found.table["missed_in_median_worker"][0] == pytest.approx((300 / 1100 + 300 / 1200) / 2)
    # Busy: 210 ms, and 300 + 100 i ms after a pause of 90 ms.
    assert found.table["startup_share"][0] == pytest.approx(1800 / 6900)
    assert found.table["busy_share"][0] == pytest.approx((6 * 510 + 1500) / 6900)
    assert found.table["idle_share"][0] == pytest.approx(6 * 90 / 6900)


def test_planned_states_are_counted_against_what_happened(tmp_path: Path) -> None:
    # Planned cold: 6, of which 2 were warm. Planned warm: 1, which was cold. Cold in all: 5.
    runs = [one_run(i) for i in range(7)]
    for run in runs[:2]:
        run["invocations"][0]["reported_state"] = "warm"
    runs[6]["planned_tasks"][0]["startup_state"] = "warm"
    found = answer(taken_in(tmp_path, *runs), "F11")
    assert (
        "Plans expected 6 cold starts where 5 happened: 2 planned cold were warm, 1 planned warm were cold"
        in found.sentence
    )


def test_a_start_made_warm_by_a_pre_warm_is_told_apart(tmp_path: Path) -> None:
    runs = [one_run(i) for i in range(6)]
    for i, run in enumerate(runs[:2]):
        run["invocations"][0]["reported_state"] = "warm"
        if i == 0:
            event = {
                "run_id": run["runs"][0]["run_id"],
                "task_id": "f+a",
                "optimization": "prewarm",
                "target_worker_id": "w",
            }
            run["optimizations"] = [
                event | {"stage": "assigned"},
                event | {"stage": "applied", "happened_at": "2026-01-01T10:00:00.050"},
            ]
    assert "2 planned cold were warm (1 of them pre-warmed)" in answer(taken_in(tmp_path, *runs), "F11").sentence


def test_start_up_on_critical_paths_is_what_the_plan_waits_for_against_what_was_waited(tmp_path: Path) -> None:
    # The plan predicts 300 ms and its first task starts at 150 ms: its times wait for half. 300 ms were waited.
    runs = [one_run(i) for i in range(6)]
    for run in runs:
        run["planned_tasks"][0]["start_offset_ms"] = 150
    found = answer(taken_in(tmp_path, *runs), "F11")
    assert "on critical paths they wait 900 ms for start-up where 1.80 s was waited, 50.0 %" in found.sentence
    assert any("predict 1.80 s of start-up" in caveat and "900 ms of it (50.0 %)" in caveat for caveat in found.caveats)


def test_runs_without_plans_say_that_nothing_is_known_of_plans(tmp_path: Path) -> None:
    found = answer(taken_in(tmp_path, *(one_run(i, planned=False) for i in range(6))), "F11")
    assert found.status == "answered"
    assert "Plans" not in found.sentence and "Runs with plans" in found.would_change


def test_workers_without_a_known_end_are_left_out_and_counted(tmp_path: Path) -> None:
    runs = [one_run(i) for i in range(6)]
    runs[0]["tasks"] = []
    found = answer(taken_in(tmp_path, *runs), "F11")
    assert found.n == 5
    assert found.left_out.startswith("1 worker without")


def test_where_only_cold_starts_can_be_counted_it_says_so(tmp_path: Path) -> None:
    runs = [one_run(i) for i in range(8)]
    for run in runs[:6]:
        (worker,) = run["invocations"]
        worker.update(
            reported_state="warm", requested_at=None
        )  # as a platform that tells an init, and nothing else of a start
    found = answer(taken_in(tmp_path, *runs), "F11")
    assert found.n == 2
    said = "100 % of the workers counted started cold, and 25.0 % of all: what all miss is less than this."
    assert said in found.caveats
    assert not any(
        "counted started cold" in caveat
        for caveat in answer(taken_in(tmp_path / "all", *(one_run(i) for i in range(8))), "F11").caveats
    )


def test_workers_whose_first_task_starts_before_their_request_are_left_out_and_counted(tmp_path: Path) -> None:
    # The first task starts at 0.4 s, the request is recorded at 0.5 s: without start-up the worker would be active longer.
    runs = [one_run(i) for i in range(7)]
    runs[0]["invocations"][0] |= {"requested_at": "2026-01-01T10:00:00.500", "ready_at": "2026-01-01T10:00:00.550"}
    found = answer(taken_in(tmp_path / "some", *runs), "F11")
    assert found.n == 6
    assert found.left_out.startswith("0 workers without") and "1 whose first task starts before their request" in found.left_out  # fmt: skip
    # Runs 1 to 6: 300 of 900 + 100 i ms; the median is between 300 / 1200 and 300 / 1300.
    assert found.table["missed_in_median_worker"][0] == pytest.approx((300 / 1200 + 300 / 1300) / 2)
    assert answer(taken_in(tmp_path / "all", runs[0]), "F11").status == "not enough data"


def test_runs_that_all_agree_have_no_interval(tmp_path: Path) -> None:
    found = answer(taken_in(tmp_path, *(one_run(0, f"w{i}") for i in range(6))), "F11")
    assert found.effect is not None and (found.effect.value, found.effect.low) == (pytest.approx(300 / 900), None)
    assert "interval" not in found.sentence and "waited, 100 % of it" in found.sentence


def test_the_recorded_runs_give_the_figures_of_sql_written_apart(sample_home: Home) -> None:
    found = answer(sample_home, "F11")
    periods = rows(
        sample_home,
        """
        select sum(active_ms - active_ms_without_startup) / sum(active_ms) as missed, count(*) as n
        from worker_active_periods where active_ms_without_startup is not null and active_ms > 0
        """,
    ).iloc[0]
    assert found.effect is not None and found.effect.value == pytest.approx(periods["missed"])
    assert found.n == periods["n"]
    states = rows(
        sample_home,
        """
        select sum(predicted) as planned, sum(actual) as happened
        from prediction_errors
        where predictor = 'engine' and metric = 'state' and predicted is not null and actual is not null
        """,
    ).iloc[0]
    assert (
        f"Plans expected {states['planned']:,.0f} cold starts where {states['happened']:,.0f} happened"
        in found.sentence
    )
    shares = found.table[["startup_share", "busy_share", "idle_share"]].sum(axis=1)
    assert shares.to_numpy() == pytest.approx(1.0)


def test_every_figure_is_of_the_selected_runs(sample_home: Home) -> None:
    planner = rows(sample_home, "select max(planner) as planner from run_summary")["planner"][0]
    found = answer(sample_home, "F11", Selection((("planner", (planner,)),)))
    assert set(found.table["planner"]) == {"(all)", planner}
    assert found.table["workers"][1:].sum() == found.n < answer(sample_home, "F11").n


def test_nothing_selected_one_run_and_hostile_names_have_an_answer(tmp_path: Path) -> None:
    # Two planners whose names read the same once shortened stay two bars.
    runs = [one_run(1, HOSTILE, HOSTILE), one_run(2, "a", f"{LONG}b{LONG}"), one_run(3, "b", f"{LONG}c{LONG}")]
    home = taken_in(tmp_path, *runs)
    assert answer(home, "F11", Selection((("workflow", ("no such",)),))).status == "not enough data"
    assert answer(home, "F11", Selection((("workflow", ("a",)),))).effect is not None
    found = answer(home, "F11")
    assert found.status == "answered"
    (drawn,) = (figure.drawn.to_dict() for figure in found.figures)
    data = max(drawn["datasets"].values(), key=len)
    assert len({row["shown"] for row in data}) == 3

"""What simulated runs say beside observed ones: the effect of a change, how far it carries, and whether both agree."""

from __future__ import annotations

from statistics import median
from typing import Any

import pandas as pd
import pytest

from app.findings import QUESTIONS, find
from app.findings.evidence import Selection
from app.findings.finding import Answer, Effect
from app.findings.simulated import HINT, PLAYED, TOUCHED_MS, Change, Dose, agreement, beside, simulated
from app.findings.statistics import Interval
from app.markdown import to_text
from tests.app.dumps import HOSTILE, merged, one_run
from tests.app.findings.rows import Rows, evidence

LIMIT = Change("worker.task_limit=6", "with a limit of 6")
DUPLICATION = Change("optimization.taskdup=off", "without it", had_it=True, cost=True)
OBSERVED = Answer(
    "holds", "Observed.", 9, effect=Effect("makespan", 0.8, 0.7, 0.9), would_change="More runs.",
    table=pd.DataFrame([{"label": "makespan", "value": 0.8, "low": 0.7, "high": 0.9}]),
)  # fmt: skip
NOTHING = Answer("not enough data", "Nothing.", would_change="Runs.")
VIEWS = ("run_summary", "task_times", "invocation_tasks", "cold_starts", "worker_times", "worker_active_periods")


def run(
    name: str, scenario: str = LIMIT.scenario, before: float = 1_000, after: float | None = None, **simulation: Any
) -> Rows:
    """A run, and how it goes with a change (`after`; None: it was not simulated) and without it."""
    rows: Rows = {"runs": [{"run_id": name, "workflow": "wf"}]}
    if after is not None:
        rows["simulations"] = [
            {"run_id": name, "scenario": scenario, "replays": True, "makespan_ms": after, "baseline_makespan_ms": before,
             "difference_ms": after - before, "gb_seconds": after, "baseline_gb_seconds": before, "cold_starts": 2, "baseline_cold_starts": 2,
             **simulation}
        ]  # fmt: skip
    return rows


def told(
    *runs: Rows, answer: Answer = OBSERVED, change: Change = LIMIT, selection: Selection | None = None, **more: Any
) -> Answer:
    return beside(evidence(merged(*runs), "run_summary", selection=selection), answer, [change], **more)


def test_the_effect_is_the_median_over_runs_that_the_change_touches() -> None:
    # Seven runs take .62 to .68 times as long, two take as long as before: the median is .65, and over all nine .66.
    runs = [run(f"r{i}", after=620 + 10 * i) for i in range(7)]
    found = told(*runs, run("same", after=1_000), run("hardly", after=1_000 + TOUCHED_MS))
    text = to_text(found.sentence)
    assert text.startswith("Observed. Simulated: with a limit of 6 makespan is 0.65 times (95 % interval 0.62 to 0.68)")
    assert "in the 7 that it touches of 9 runs" in text and "0.66 times" in text
    rows = found.table.set_index("label")
    assert rows.loc["simulated with a limit of 6: makespan", "value"] == pytest.approx(0.65)
    assert rows.loc["simulated with a limit of 6: makespan", "n"] == 7
    of_all = median([0.62, 0.63, 0.64, 0.65, 0.66, 0.67, 0.68, 1.0, 1.001])
    assert rows.loc["simulated with a limit of 6: makespan, touched or not", "value"] == pytest.approx(of_all)


def test_the_status_and_the_effect_stay_those_that_were_observed() -> None:
    found = told(*(run(f"r{i}", after=2_000) for i in range(8)), name="makespan")
    assert (found.status, found.n, found.counted) == ("holds", 9, "runs")
    assert found.effect == OBSERVED.effect
    undecided = Answer("not enough data", "Undecided.", effect=OBSERVED.effect)
    assert told(run("r", after=500), answer=undecided, name="makespan").effect == OBSERVED.effect


def test_a_simulated_effect_stands_in_for_none_and_is_said_to_be_simulated() -> None:
    runs = [run(f"r{i}", after=480 + 10 * i) for i in range(5)] + [run("r5", after=530), run("same", after=1_000)]
    found = told(*runs, answer=NOTHING, name="makespan with a limit")
    assert (found.status, found.n, found.counted) == ("answered", 6, "simulated runs")
    assert found.effect is not None and found.effect.name == "makespan with a limit, simulated"
    # The logarithms of .50 and .51 are in the middle.
    assert found.effect.value == pytest.approx((0.50 * 0.51) ** 0.5)
    assert told(*runs, answer=NOTHING).status == "not enough data", (
        "a change that answers another question stands in for nothing"
    )


def test_runs_that_do_not_replay_and_those_without_a_simulation_are_left_out_and_counted() -> None:
    good = [run(f"r{i}", after=500) for i in range(6)]
    found = told(
        *good, run("astray", after=10, replays=False), run("gone"), run("lost"), run("untried", after=500, replays=None)
    )
    assert "in 7 runs, 1 run left out that does not replay" in found.sentence
    assert "1 run whose replay does not come close to what was recorded, 2 without a simulation" in found.left_out
    assert found.table["value"].min() == pytest.approx(0.5)


def test_many_runs_that_do_not_replay_are_a_caveat() -> None:
    good = [run(f"r{i}", after=500) for i in range(6)]
    few, many = (
        told(*good, *(run(f"a{i}", after=10, replays=False) for i in range(n))) for n in (2, 3)
    )  # fmt: skip
    said = "3 of 9 runs do not replay closely enough"
    assert any(said in caveat for caveat in many.caveats) and not any(
        "closely enough" in caveat for caveat in few.caveats
    )


def test_only_runs_that_had_an_optimisation_say_what_is_lost_without_it() -> None:
    had = [run(f"r{i}", DUPLICATION.scenario, after=900) for i in range(6)]
    for i, rows in enumerate(had):
        stages = {"stage": "assigned", "optimization": "taskdup", "task_id": "t"}
        rows["optimizations"] = [{"run_id": f"r{i}", **stages}, {"run_id": f"r{i}", **stages, "stage": "applied"}]
    others = [run(f"x{i}", DUPLICATION.scenario, after=300) for i in range(6)]
    others[0]["optimizations"] = [{"run_id": "x0", "stage": "assigned", "optimization": "preload", "task_id": "t"}]
    others[1]["optimizations"] = [{"run_id": "x1", "stage": "applied", "optimization": "taskdup", "task_id": "t"}]
    found = told(*had, *others, change=DUPLICATION)
    assert "**0.90 times** in 6 runs that had it assigned, GB-seconds are 0.90 times" in found.sentence
    without = Change(DUPLICATION.scenario, "without it", had_it=False)
    assert "**0.30 times** in 6 runs that had none assigned" in told(*had, *others, change=without).sentence


def test_cold_starts_are_told_where_they_change() -> None:
    runs = [run(f"r{i}", after=900, cold_starts=3) for i in range(6)]
    changed = told(*runs, change=Change(LIMIT.scenario, "limited", cost=True)).sentence
    assert "3.00 cold starts a run instead of 2.00" in changed
    assert "cold starts" not in told(*runs).sentence


def test_a_change_that_touches_nothing_and_one_that_touches_few_have_no_interval() -> None:
    untouched = [run(f"r{i}", after=1_000) for i in range(8)]
    assert "with a limit of 6 the makespan changes in none of 8 runs that replay." in told(*untouched).sentence
    few = told(*untouched, run("a", after=500), run("b", after=600), run("c", after=700))
    assert (
        "makespan is 0.60x in the median of the 3 that it touches of 11 runs, too few for an interval" in few.sentence
    )
    none = told(run("a", after=500, replays=False))
    assert "the makespan changes in no run, for none replays" in none.sentence
    for answered in (
        told(*untouched, answer=NOTHING, name="x"),
        told(run("a", after=500, replays=False), answer=NOTHING, name="x"),
    ):
        assert (answered.status, answered.effect) == ("not enough data", None)


def test_without_simulations_nothing_changes_but_how_to_get_them() -> None:
    other = run("r", "memory=1024", after=500)
    for rows in (
        run("r"),
        other,
        run("r", after=500) | {"simulations": [{"run_id": "r", "scenario": "recorded", "makespan_ms": 1}]},
    ):
        found = told(rows)
        assert found.would_change == f"More runs. {HINT}"
        assert (found.sentence, found.table.equals(OBSERVED.table), found.caveats) == ("Observed.", True, ())


def test_only_selected_runs_are_simulated() -> None:
    runs = [run(f"r{i}", after=500) for i in range(6)]
    gone = Selection(values=(("workflow", ("gone",)),))
    assert HINT in told(*runs, selection=gone).would_change
    fast = merged(*runs, *(run(f"x{i}", after=100) for i in range(6)))
    for row in fast["runs"][6:]:
        row["workflow"] = "other"
    rows = evidence(fast, "run_summary", selection=Selection(values=(("workflow", ("wf",)),))).frame(
        PLAYED, scenarios=[LIMIT.scenario], touched_ms=TOUCHED_MS
    )
    one = simulated(rows, LIMIT)
    assert one is not None and one.makespan is not None and one.makespan.value == pytest.approx(0.5)


def test_warnings_of_simulations_are_told_in_code_spans() -> None:
    found = told(*(run(f"r{i}", after=500, warnings=[HOSTILE, "other"] if i else [HOSTILE]) for i in range(6)))
    (warned,) = (caveat for caveat in found.caveats if caveat.startswith("Simulations warn"))
    assert warned.startswith("Simulations warn: `") and "(6 simulations); `other` (5 simulations)" in warned


def ends(low: float, value: float, high: float) -> Interval:
    return Interval(value, low, high, 10)


@pytest.mark.parametrize(
    ("found", "seen", "verdict"),
    [
        (ends(0.8, 0.85, 0.9), ends(0.85, 0.9, 0.95), "agree (one direction, intervals overlap)"),
        (ends(0.8, 0.85, 0.9), ends(0.7, 0.9, 1.1), "agree (one direction, intervals overlap, but the observed one holds 1)"),
        (ends(0.8, 0.95, 1.1), ends(0.7, 0.9, 1.1), "agree (one direction, intervals overlap, but the simulated and the observed one hold 1)"),
        (ends(0.6, 0.65, 0.7), ends(0.8, 0.9, 0.95), "agree in direction, not in size (their intervals do not overlap)"),
        (ends(1.1, 1.2, 1.3), ends(0.8, 0.9, 0.95), "do not agree in direction (and their intervals do not overlap)"),
        (ends(0.9, 1.1, 1.3), ends(0.8, 0.9, 0.95), "do not agree in direction (but their intervals overlap)"),
        (ends(1, 1, 1), ends(0.8, 0.9, 0.95), "do not agree in direction (and their intervals do not overlap)"),
        (ends(1, 1, 1), ends(0.96, 0.98, 0.99), "agree (neither differs by more than 5 %)"),
    ],
)  # fmt: skip
def test_simulated_and_observed_agree_in_direction_and_by_overlapping_intervals(
    found: Interval, seen: Interval, verdict: str
) -> None:
    assert agreement(found, seen) == verdict


def test_what_was_observed_is_held_against_all_runs_touched_or_not() -> None:
    # Three of nine runs are halved: the median run is not changed, and nothing of the observed .8 times is seen.
    runs = [run(f"r{i}", after=500 if i < 3 else 1_000) for i in range(9)]
    assert (
        "Over all runs, touched or not, simulated and observed makespan do not agree in direction"
        in told(*runs).sentence
    )


def test_an_effect_is_compared_in_proportion_to_what_of_the_change_was_observed() -> None:
    # The change halves the makespan; what was recorded is two fifths of the change: 1 - .4 * .5 = .8, as was observed.
    found = told(*(run(f"r{i}", after=500) for i in range(6)), dose=Dose(0.4, "Two fifths of it were recorded"))
    assert "Two fifths of it were recorded: simulated and observed makespan, 0.80 times" in found.sentence
    assert "then, agree (one direction, intervals overlap)" in found.sentence


ASKED = {
    "F02": ("startup_factor=0.33", "with a third of the start-up"),
    "F03": ("optimization.taskdup=on", "with task duplication"),
    "F04": ("worker.task_limit=6", "with a limit of 6 tasks a worker"),
    "F06": ("memory=1024", "at 1,024 MB"),
    "F12": ("optimization.preload=on", "with pre-load wherever a task has two inputs from elsewhere"),
    "F14": ("startup_factor=0.9", "with start-up a tenth shorter"),
}  # fmt: skip


@pytest.mark.parametrize("code", ASKED)
def test_each_question_reads_its_scenario_and_asks_for_it_where_it_is_not_there(code: str) -> None:
    scenario, words = ASKED[code]
    runs = [one_run(i) for i in range(8)]
    for rows in runs:
        rows["simulations"] = run(rows["runs"][0]["run_id"], scenario, after=1_250)["simulations"]
    (question,) = [question for question in QUESTIONS if question.code == code]
    with_it = find(question, evidence(merged(*runs), *VIEWS)).answer
    assert f"Simulated: {words} makespan is **1.25 times** in 8 runs" in with_it.sentence
    assert HINT not in with_it.would_change
    assert any(str(name).startswith(f"simulated {words}") for name in with_it.table.iloc[:, 0])
    for rows in runs:
        del rows["simulations"]
    without = find(question, evidence(merged(*runs), *VIEWS)).answer
    assert without.would_change.count(HINT) == 1 and "imulated" not in without.sentence

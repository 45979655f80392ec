"""F17: errors before and after a width is known, and of two static runs, worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from app.findings.evidence import Selection
from app.findings.fan_outs import QUESTIONS
from app.findings.finding import Answer
from app.markdown import to_text
from app.plain import plain
from tests.app.dumps import HOSTILE
from tests.app.findings.rows import Rows, evidence
from tests.warehouse.views import at

BEFORE, AFTER = (0.2, -0.3, 0.4, -0.5, 0.6, -0.7, 0.8), (0.1, -0.1, 0.2, -0.25, 0.3, -0.3, 0.4)
"""Relative errors of seven runs; their medians without sign are .5 and .25."""


def dynamic(
    widths: Sequence[int] = (2, 3) * 4, *, workflow: str = "fan", function: str = "work", first: int = 0
) -> Rows:
    """Runs of these widths, a minute apart: cut, as many `function`s, join. Each takes 1000 ms."""
    rows: Rows = {"runs": [], "tasks": [], "edges": []}
    for number, width in enumerate(widths, first):
        run = f"run-{number}"
        members = [f"{function}+{member}" for member in range(width)]
        rows["runs"].append(
            {
                "run_id": run,
                "workflow": workflow,
                "submitted_at": at(60_000 * number),
                "sink_task_id": "join",
                "engine": "hand",
            }
        )
        rows["edges"] += [{"run_id": run, "upstream_task_id": "cut", "task_id": member} for member in members]
        rows["edges"] += [{"run_id": run, "upstream_task_id": member, "task_id": "join"} for member in members]
        rows["tasks"] += [
            {"run_id": run, "task_id": task, "attempt": 1, "function": task.partition("+")[0], "status": "succeeded",
             "started_at": at(60_000 * number + 500), "input_wait_ms": 0, "execution_ms": 500}
            for task in ("cut", *members, "join")
        ]  # fmt: skip
    return rows


def simulated(
    *, astray: int = 0, before: Sequence[float] = BEFORE, two: Sequence[float] = AFTER
) -> list[dict[str, Any]]:
    """What was simulated of runs 1 to 7; replays take 1000 ms, split 1200. The last `astray` do not replay.

    The 5 to 95 % of draws before the width is known reach from 600 ms below the median to 600 above.
    """
    rows = []
    for number in range(1, 8):
        of = {"run_id": f"run-{number}", "seed": 0, "draws": 1}
        median = 1000 * (1 + before[number - 1])
        rows += [
            {**of, "scenario": "ahead; width unknown", "makespan_ms": median, "makespan_low_ms": median - 600, "makespan_high_ms": median + 600},
            {**of, "scenario": "ahead", "makespan_ms": 1000 * (1 + AFTER[number - 1])},
            {**of, "scenario": "ahead; two static runs", "makespan_ms": 1200 * (1 + two[number - 1])},
            {**of, "scenario": "recorded; two static runs", "makespan_ms": 1200, "baseline_makespan_ms": 1000, "replays": number <= 7 - astray},
        ]  # fmt: skip
    return rows


def ask(rows: Rows, simulations: Sequence[dict[str, Any]] = (), selection: Selection | None = None) -> Answer:
    (question,) = QUESTIONS
    return question.compute(evidence({**rows, "simulations": list(simulations)}, "run_summary", selection=selection))


def row(found: Answer, label: str) -> dict[str, Any]:
    return {str(name): value for name, value in found.table[found.table["label"] == label].iloc[0].items()}


def test_the_error_before_the_width_is_known_is_laid_beside_that_after() -> None:
    """Medians .5 and .25: twice. 600 to either side hold the five outcomes that are off by up to .6."""
    found = ask(dynamic(), simulated())
    assert (found.status, found.n, found.counted) == ("answered", 7, "runs")
    assert found.sentence.startswith(
        "Before the width of a run is known its makespan is predicted **50.0 %** off at the median"
    )
    assert found.effect is not None and found.effect.value == pytest.approx(2.0)
    assert found.effect.low is not None and found.effect.low < 2 < (found.effect.high or 0)
    before, after = row(found, "makespan before the width is known"), row(found, "makespan after it is known")
    assert (before["median_relative_error"], before["n"]) == (pytest.approx(0.5), 7)
    assert (before["median_signed_error"], after["median_signed_error"]) == (pytest.approx(0.2), pytest.approx(0.1))
    assert after["median_relative_error"] == pytest.approx(0.25)
    assert any("Of what happened 71.4 %" in caveat for caveat in found.caveats)
    assert len(found.figures) == 1 and "25.0 %" in found.figures[0].text


def test_two_static_runs_are_judged_by_their_replay_and_by_nothing_else() -> None:
    """They are off by half as much as one run, judged by its own replay; split, a run takes 1.2 times as long."""
    found = ask(dynamic(), simulated(two=[error / 2 for error in AFTER]))
    assert "is predicted 12.5 % off, as one run of known width 25.0 %, both judged by replays" in found.sentence
    assert "replayed as two it takes 1.20 times (95 % interval 1.20 to 1.20) as long" in found.sentence
    assert row(found, "makespan as two static runs, judged by their replay")["n"] == 7
    assert any(caveat.startswith("Nobody ran two static runs.") for caveat in found.caveats)


def test_runs_that_do_not_replay_say_nothing_of_two_static_runs() -> None:
    found = ask(dynamic(), simulated(astray=1))
    assert found.n == 7
    assert row(found, "makespan as two static runs, judged by their replay")["n"] == 6
    assert "from what is said of two static runs 1 whose own replay is more than 5 % off" in found.left_out
    few = ask(dynamic(), simulated(astray=2))
    assert few.status == "answered" and "cannot be said: 5 runs replay" in few.sentence


def test_the_widths_that_were_seen_are_named() -> None:
    assert "1 of 1 workflow has runs of different numbers of tasks: fan, 4 to 5 tasks (work 2 to 3 times)." in to_text(
        ask(dynamic(), simulated()).sentence
    )


def test_a_workflow_that_was_changed_once_is_not_dynamic_and_its_errors_decide_nothing() -> None:
    found = ask(dynamic([2] * 4 + [3] * 4), simulated())
    assert found.status == "not enough data"
    assert "the one number after the other, so no width varies from run to run" in found.sentence
    assert "the number of tasks changes 1 time in 8 runs" in found.caveats[0]
    assert found.effect is not None and found.effect.value == pytest.approx(2.0)


def test_without_simulations_it_says_what_varies_and_what_brings_them() -> None:
    found = ask(dynamic())
    assert (found.status, found.n) == ("not enough data", 0)
    assert "1 of 1 workflow has runs of different numbers of tasks" in found.sentence
    assert "0 runs were simulated before the width was known and can be judged, 6 are needed" in found.sentence
    assert "flowscope evaluate" in found.would_change


def test_too_few_runs_are_counted_and_not_judged() -> None:
    found = ask(dynamic(), [one for one in simulated() if one["run_id"] < "run-6"])
    assert (found.status, found.n, found.effect) == ("not enough data", 5, None)


def test_a_workflow_of_one_width_has_nothing_to_ask() -> None:
    found = ask(dynamic([3] * 4))
    assert found.status == "not enough data"
    assert found.sentence.startswith("0 of 1 workflow have runs of different numbers of tasks;")


def test_equal_errors_are_no_difference() -> None:
    found = ask(dynamic(), simulated(before=AFTER))
    assert "no difference beyond 5 %) as far off" in found.sentence


def test_exact_predictions_have_no_ratio() -> None:
    found = ask(dynamic(), simulated(before=[0.0] * 7))
    assert found.effect is None
    assert "predicted **0 %** off at the median, after it is known 25.0 %" in found.sentence
    assert "as far off. As two" not in found.sentence


def test_only_selected_runs_count_and_none_is_an_answer() -> None:
    other = dynamic([4] * 3, workflow="other", first=20)
    rows = {table: [*of, *other[table]] for table, of in dynamic().items()}
    assert "1 of 2 workflows has" in ask(rows, simulated()).sentence
    found = ask(rows, simulated(), Selection(values=(("workflow", ("other",)),)))
    assert (found.status, found.n) == ("not enough data", 0)
    assert "0 of 1 workflow have" in found.sentence
    gone = ask(rows, simulated(), Selection(values=(("workflow", ("gone",)),)))
    assert gone.sentence == "No run of this selection records its number of tasks."


def test_names_from_dumps_stay_text() -> None:
    found = ask(dynamic([2] * 4 + [3] * 4, workflow=HOSTILE, function="<b>*x*</b>"), simulated())
    for said in (found.sentence, found.caveats[0]):
        assert plain(HOSTILE, 40) in said
        rest = said.replace(plain(HOSTILE, 40), "").replace(plain("<b>*x*</b>", 40), "")
        assert "<" not in rest and "`" not in rest

"""F14: what part of start-up goes to libraries, from phases where they are recorded, else from what starts have in common."""

from __future__ import annotations

from typing import Any

import pytest

from app.findings import QUESTIONS, find
from app.findings.evidence import Selection
from app.findings.finding import Answer
from app.findings.libraries import EXECUTIONS, STARTS, beside
from app.markdown import to_text
from tests.app.dumps import HOSTILE, merged
from tests.app.findings.homes import answer, rows
from tests.app.findings.rows import Rows, evidence
from tests.warehouse.views import at
from warehouse.home import Home

VIEWS = ("run_summary", "task_times", "invocation_tasks", "cold_starts", "worker_times")


def start(
    run: str, startup_ms: float, libraries: list[str] | None, phases: dict[str, float] | None = None, at_ms: float = 0, **values: Any
) -> Rows:  # fmt: skip
    """A run of one cold worker whose only task names these libraries."""
    return {
        "runs": [
            {"run_id": run, "engine": "e", "environment": values.get("environment", "here"), "workflow": values.get("workflow", "wf"),
             "submitted_at": at(at_ms)}
        ],
        "invocations": [
            {"invocation_id": f"i-{run}", "run_id": run, "worker_id": "w", "function": values.get("function", "f"), "memory_mb": 1024,
             "requested_at": at(at_ms), "ready_at": at(at_ms + startup_ms), "reported_state": "cold", "phases": phases}
        ],
        "tasks": [
            {"run_id": run, "task_id": "t", "function": "f", "worker_id": "w", "memory_mb": 1024, "libraries": libraries,
             "started_at": at(at_ms + startup_ms + 7), "execution_ms": 50}
        ],
    }  # fmt: skip


def found(*runs: Rows, selection: Selection | None = None) -> Answer:
    (question,) = [question for question in QUESTIONS if question.code == "F14"]
    return find(question, evidence(merged(*runs), *VIEWS, selection=selection)).answer


def minutes(number: int) -> float:
    """The instant of a run that no other's start overlaps."""
    return 60_000.0 * number


def test_phases_say_what_part_of_start_up_goes_to_libraries_and_what_no_task_needed() -> None:
    # Each start takes 1,000 ms, 300 of them libraries. 4 of 8 have a task that names some, so that the other 4 could do without.
    runs = [
        start(f"r{i}", 1_000, ["numpy"] if i < 4 else [], {"libraries": 300.0, "network": 200.0}, minutes(i))
        for i in range(8)
    ]
    answered = found(*runs)
    assert answered.status == "answered" and answered.n == 8
    assert answered.effect and answered.effect.value == pytest.approx(0.3) and answered.effect.unit == "share"
    assert answered.effect.low is not None and answered.effect.low < 0.3
    whole = answered.table.iloc[0]
    assert whole["saved_share"] == pytest.approx(4 * 300 / 8_000)
    assert to_text(answered.sentence).startswith("30.0 % (95 % interval ")
    assert "would save 15.0 %" in answered.sentence and "1.20 s over 8 starts" in answered.sentence


def test_a_phase_of_one_library_is_saved_where_no_task_names_that_one() -> None:
    phases = {"import numpy": 100.0, "import:pandas": 250.0, "NumPy": 50.0, "numpyish": 400.0}
    answered = found(
        start("a", 1_000, ["numpy"], phases),
        start("b", 1_000, ["pandas"], phases, minutes(1)),
    )
    # numpyish is no library that a task names. a: numpy 150 and pandas 250, of which pandas unused; b: numpy unused.
    whole = answered.table.iloc[0]
    assert whole["libraries_share"] == pytest.approx(2 * 400 / 2_000)
    assert whole["saved_share"] == pytest.approx((250 + 150) / 2_000)


def test_starts_that_cannot_be_judged_are_counted() -> None:
    phases = {"libraries": 100.0}
    answered = found(
        start("good", 1_000, [], phases),
        start("unknown", 1_000, None, phases, minutes(1)),
        start("longer", 50, [], phases, minutes(2)),
        start("without", 1_000, [], None, minutes(3)),
    )
    assert answered.n == 2
    assert answered.left_out.startswith("1 start without a phase named for libraries")
    assert "1 start whose phases for libraries are longer than their start-up" in answered.left_out
    assert "1 start in no saving" in answered.left_out
    assert answered.table["saved_share"][0] == pytest.approx(100 / 1_000)
    assert answered.effect and answered.effect.low is None, "two runs have no interval"


def test_without_phases_starts_of_one_workflow_are_compared_by_their_libraries() -> None:
    # Half more start-up with two libraries than with one, whatever the run: the ratio of medians is 1.5.
    runs = [
        start(f"r{more}{i}", (1_000 + 10 * i) * (1.5 if more else 1), ["a", "b"] if more else ["a"], None, minutes(2 * i + more))
        for i in range(8) for more in (False, True)
    ]  # fmt: skip
    answered = found(*runs)
    assert answered.status == "answered"
    assert answered.effect and answered.effect.value == pytest.approx(1.5)
    assert "None of 16 starts records its phases" in answered.sentence
    assert "what fetching on demand would save, cannot be told" in answered.sentence
    assert "more than 1 library is 1.50 times" in answered.sentence and "workflow differs" not in answered.sentence


def test_where_libraries_and_workflows_go_together_a_difference_is_not_put_down_to_libraries() -> None:
    runs = [
        start(f"r{more}{i}", 1_500 + i if more else 1_000 + i, ["a"] if more else [], None, minutes(2 * i + more), workflow=f"wf{more}")
        for i in range(8) for more in (False, True)
    ]  # fmt: skip
    answered = found(*runs)
    assert answered.status == "not enough data"
    assert "whose tasks name a library is 1.50 times" in answered.sentence
    assert "their workflow differs too and it need not be the libraries" in answered.sentence


def test_starts_are_compared_with_those_that_had_as_many_others_before_them() -> None:
    # Three starts requested at once: each has two others pending. One alone has none.
    crowd = [start(f"c{i}", 1_000, ["a"], None, 0) for i in range(3)]
    alone = start("alone", 1_000, [], None, minutes(1))
    starts = evidence(merged(*crowd, alone), *VIEWS).frame(STARTS).set_index("run_id")
    assert starts["pending"].to_dict() == {"c0": 2, "c1": 2, "c2": 2, "alone": 0}
    compared = beside(starts.reset_index())
    assert compared is not None and compared.ratio is None
    assert compared.blocks["stratum"].nunique() == 2


def test_a_first_execution_is_set_beside_later_ones_of_its_function_on_inputs_of_like_size() -> None:
    run = start("r", 1_000, ["a"])

    def execution(name: str, begin: float, ms: float, size: int, libraries: list[str]) -> dict[str, Any]:
        return run["tasks"][0] | {
            "task_id": name, "started_at": at(begin), "execution_ms": ms, "literal_bytes": size, "libraries": libraries,
        }  # fmt: skip

    # First: 90 ms. Later of like size: 40 and 60 ms; beside it runs one (no import can be told from waiting), one is larger.
    run["tasks"] = [
        execution("first", 1_000, 90, 100, ["a"]),
        execution("beside", 1_010, 500, 100, ["a"]),
        execution("later", 2_000, 40, 150, ["a"]),
        execution("last", 3_000, 60, 60, ["a"]),
        execution("larger", 4_000, 900, 500, ["a"]),
    ]
    frame = evidence(run, *VIEWS).frame(EXECUTIONS)
    assert frame[["libraries", "first_ms", "later_ms"]].to_numpy().tolist() == [[1, 90, 50]]
    assert "a first execution takes 40.0 ms longer (1 first execution)" in found(run).sentence
    assert "before the first task 0 ms pass in the median run" in found(run).sentence


def test_other_phases_are_told_apart_from_none() -> None:
    assert "1 of 1 start record phases, and no phase is named for libraries" in found(start("r", 1_000, [], {"network": 5.0})).sentence  # fmt: skip


def test_nothing_selected_tasks_that_say_nothing_and_hostile_names_have_an_answer() -> None:
    gone = Selection(values=(("workflow", ("gone",)),))
    nothing = found(start("r", 1_000, None), selection=gone)
    assert (nothing.status, nothing.n) == ("not enough data", 0)
    assert "No task says which libraries it uses" in found(start("r", 1_000, None)).sentence
    hostile = found(
        start("r", 1_000, [HOSTILE], {HOSTILE: 1.0, f"import {HOSTILE}": 10.0}, function=HOSTILE, environment=HOSTILE)
    )
    assert hostile.status == "answered" and "<img" not in hostile.sentence
    for figure in hostile.figures:
        figure.drawn.to_dict()


def test_the_recorded_runs_give_the_figures_of_sql_written_apart(sample_home: Home) -> None:
    answered = answer(sample_home, "F14")
    apart = rows(
        sample_home,
        """
        select count(*) as starts, count(*) filter (where cardinality(phases) > 0) as with_phases
        from invocations where run_id in (select run_id from run_summary)
        """,
    ).iloc[0]
    if apart["with_phases"]:
        pytest.skip("these runs record phases of their starts")
    assert answered.n == apart["starts"]
    assert f"None of {apart['starts']:,} starts records its phases" in answered.sentence
    assert answered.status == "not enough data", "their libraries go with their workflows"

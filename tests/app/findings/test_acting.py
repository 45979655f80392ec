"""F12: when pre-load and task duplication act after their worker is ready, recorded or bounded."""

from __future__ import annotations

from typing import Any

import pytest

from app.findings import QUESTIONS, find
from app.findings.acting import ACTED, acting
from app.findings.evidence import Selection
from app.findings.finding import Answer
from app.markdown import to_text
from tests.app.dumps import HOSTILE, merged
from tests.app.findings.homes import answer, rows
from tests.app.findings.rows import Rows, evidence
from tests.warehouse.views import at
from warehouse.home import Home

VIEWS = ("run_summary", "task_times", "invocation_tasks")
READY = 1_000


def task(run: str, name: str, worker: str, started: float, finished: float, **more: Any) -> dict[str, Any]:
    return {
        "run_id": run, "task_id": name, "worker_id": worker, "started_at": at(started), "input_wait_ms": 0,
        "execution_ms": finished - started, **more,
    }  # fmt: skip


def preload(
    run: str, upstream_finished: float, started: float, download_ms: float | None = None, wait: float | None = 0, **event: Any
) -> Rows:  # fmt: skip
    """A run whose task t, on a worker that is ready at 1 s, has its input from u pre-loaded."""
    return {
        "runs": [{"run_id": run, "planner": "P-opt", "submitted_at": at(0)}],
        "tasks": [
            task(run, "u", "v", 0, upstream_finished),
            task(run, "t", "w", started, started + 300, input_wait_ms=wait),
        ],
        "task_inputs": [
            {"run_id": run, "task_id": "t", "object_id": "u", "upstream_task_id": "u", "input_bytes": 9,
             "download_ms": download_ms, "preloaded": True}
        ],
        "invocations": [
            {"invocation_id": f"i-{run}", "run_id": run, "worker_id": "w", "requested_at": at(0), "ready_at": at(READY)}
        ],
        "edges": [{"run_id": run, "upstream_task_id": "u", "task_id": "t"}],
        "optimizations": [
            {"run_id": run, "task_id": "t", "optimization": "preload", "stage": "applied", "target_task_id": "u", **event}
        ],
    }  # fmt: skip


def duplication(run: str, needed_finished: float | None, started: float, wait: float = 20) -> Rows:
    """A run whose task t, on a worker that is ready at 1 s, duplicates u; u reads the output of g, or nothing (None)."""
    tables = preload(run, 5_000, started, wait=wait)
    tables["optimizations"][0]["optimization"] = "taskdup"
    tables["task_inputs"] = []
    if needed_finished is not None:
        tables["tasks"].append(task(run, "g", "v", 0, needed_finished))
        tables["edges"].append({"run_id": run, "upstream_task_id": "g", "task_id": "u"})
    return tables


def found(*runs: Rows, selection: Selection | None = None) -> Answer:
    (question,) = [question for question in QUESTIONS if question.code == "F12"]
    return find(question, evidence(merged(*runs), *VIEWS, selection=selection)).answer


def test_a_pre_load_acted_after_its_worker_was_ready_and_its_input_was_there_and_before_its_task_had_it() -> None:
    # 3 runs: input there at 0.6 s, before ready: 0 to 0.5 s after ready. 3 runs: there at 1.8 s, had at 2.0 s + 50 ms: 0.8 to 1.05 s.
    early = [preload(f"a{i}", 600, 1_500) for i in range(3)]
    late = [preload(f"b{i}", 1_800, 2_000, download_ms=10, wait=50) for i in range(3)]
    one = acting("preload", evidence(merged(*early, *late), *VIEWS).frame(ACTED))
    assert (one.judged, one.runs, one.told, one.at_ready, one.timed) == (6, 6, 6, 3, 0)
    assert one.earliest and one.earliest.ms == pytest.approx((0 + 800) / 2)
    assert one.latest and one.latest.ms == pytest.approx((500 + 1_050) / 2)
    assert one.gain and one.gain.ms == pytest.approx(500)
    assert one.after and one.after.ms == pytest.approx(250)
    answered = found(*early, *late)
    assert answered.status == "answered" and answered.n == 6
    assert answered.effect and answered.effect.value == 0.5 and answered.effect.unit == "share"
    said = to_text(answered.sentence)
    assert said.startswith("Pre-load acts between 400 ms and 775 ms after its worker is ready in the median run")
    assert "was there in 3 of 6, 50.0 %" in said and "would have been at most 500 ms earlier" in said
    assert "in the other 3 there was nothing to act on yet, and it acted at most 250 ms after there was" in said


def test_a_pre_loaded_input_that_was_still_downloaded_had_begun_by_the_end_of_the_wait() -> None:
    fetched, there = preload("a", 600, 1_500, download_ms=30, wait=40), preload("b", 600, 1_500, wait=40)
    frame = evidence(merged(fetched, there), *VIEWS).frame(ACTED)
    assert frame["latest_ms"].tolist() == pytest.approx([540, 500])


def test_a_recorded_time_takes_the_place_of_bounds() -> None:
    answered = found(*(preload(f"r{i}", 600, 1_500, happened_at=at(READY + 230 + i)) for i in range(6)))
    said = to_text(answered.sentence)
    assert said.startswith(
        "Pre-load acts 232 ms after its worker is ready (95 % interval 230 ms to 235 ms; 6 cases in 6 runs"
    )
    assert "where acting then would have been 232 ms" in said and "at most" not in said
    assert answered.table["recorded_time"].tolist() == [6, 6]


@pytest.mark.parametrize(
    ("needed_finished", "bounds", "at_ready"),
    [(None, (0, 1_020), 1), (800, (0, 1_020), 1), (1_400, (400, 1_020), 0)],
)
def test_a_duplicate_needs_the_inputs_of_the_task_it_duplicates(
    needed_finished: float | None, bounds: tuple[float, float], at_ready: int
) -> None:
    one = acting("taskdup", evidence(duplication("r", needed_finished, 2_000), *VIEWS).frame(ACTED))
    assert one.earliest and one.latest
    assert (one.earliest.ms, one.latest.ms) == pytest.approx(bounds)
    assert (one.told, one.at_ready) == (1, at_ready)


def test_duplicates_of_a_task_that_had_ended_by_worker_ready_are_told() -> None:
    over = duplication("a", None, 2_000)
    over["tasks"][0]["execution_ms"] = 900
    caveats = " ".join(found(over, duplication("b", None, 2_000)).caveats)
    assert "1 of these 2 had even ended" in caveats


def test_what_cannot_be_judged_is_counted_by_reason() -> None:
    good = preload("good", 600, 1_500)
    no_ready = preload("no_ready", 600, 1_500)
    no_ready["invocations"][0]["ready_at"] = None
    no_upstream = preload("no_upstream", 600, 1_500)
    no_upstream["tasks"] = no_upstream["tasks"][1:]
    no_wait = preload("no_wait", 600, 1_500, download_ms=5, wait=None)
    other_clock = preload("other_clock", 1_600, 1_500)
    half_known = duplication("half_known", 800, 2_000)
    half_known["tasks"][-1]["execution_ms"] = None
    answered = found(good, no_ready, no_upstream, no_wait, other_clock, half_known)
    assert answered.n == 1
    for part in (
        "1 pre-load whose worker's start is not on record",
        "1 pre-load for which it is not known when the upstream result existed",
        "1 pre-load whose task does not say when it had its inputs",
        "1 pre-load recorded as acting before that was possible",
        "1 task duplication for which it is not known when the inputs of the duplicated task existed",
    ):
        assert part in answered.left_out
    assert answered.sentence.endswith("Of 1 applied task duplication none can be judged.")
    assert answered.effect and (answered.effect.value, answered.effect.low) == (1, None), "one run has no interval"


def test_an_event_recorded_twice_counts_once() -> None:
    twice = preload("r", 600, 1_500)
    twice["optimizations"] *= 2
    assert found(twice).n == 1


def test_nothing_applied_and_nothing_that_can_be_judged_have_an_answer() -> None:
    assigned = preload("a", 600, 1_500, stage="assigned")
    assert found(assigned).sentence.startswith("No pre-load and no task duplication was applied in this selection (1 assignment)")  # fmt: skip
    alone = preload("a", 600, 1_500)
    alone["invocations"] = []
    nothing = found(alone)
    assert nothing.status == "not enough data" and nothing.n == 1
    assert "whose worker's start is not on record" in nothing.sentence
    gone = found(preload("a", 600, 1_500), selection=Selection(values=(("workflow", ("gone",)),)))
    assert gone.status == "not enough data" and gone.n == 0


def test_hostile_names_are_shown_as_they_are_in_the_figure() -> None:
    run = preload(HOSTILE, 600, 1_500)
    run["runs"][0]["planner"] = HOSTILE
    answered = found(run, duplication("d", 1_400, 2_000))
    assert "<img" not in answered.sentence
    (figure,) = answered.figures
    figure.drawn.to_dict()
    assert "half of 1 pre-load 0 ms and 500 ms" in figure.text


def test_the_recorded_runs_give_the_figures_of_sql_written_apart(sample_home: Home) -> None:
    apart = rows(
        sample_home,
        """
        select count(*) as n, sum((upstream.finished_at <= invocations.ready_at)::int) as there
        from (select distinct run_id, task_id, target_task_id from optimizations
              where stage = 'applied' and optimization = 'preload') as applied
        join task_times as done using (run_id, task_id)
        join task_times as upstream on upstream.run_id = applied.run_id and upstream.task_id = applied.target_task_id
        join invocations on invocations.run_id = applied.run_id and invocations.worker_id = done.worker_id
        """,
    ).iloc[0]
    if not apart["n"]:
        pytest.skip("no pre-load was applied in these runs")
    answered = answer(sample_home, "F12")
    of_all = answered.table[answered.table["optimization"] == "preload"].iloc[0]
    assert (of_all["applied"], of_all["possible_at_ready"]) == (apart["n"], apart["there"])
    assert answered.effect and answered.effect.value == pytest.approx(apart["there"] / apart["n"])

"""Failures: what failed, what stopped it, what it took down."""

from typing import Any

import pandas as pd
import pytest

from app.charts.counts import stacked
from app.findings import find
from app.findings.evidence import Evidence, Selection, of_reader
from app.findings.failures import CAUSES, KINDS, QUESTIONS
from app.findings.finding import Answer
from tests.app.dumps import HOSTILE, LONG, merged
from tests.app.findings import rows as hand_made
from tests.app.findings.rows import Rows
from tests.warehouse.views import at
from warehouse.connection import open_current
from warehouse.home import Home

(F21,) = QUESTIONS


def evidence(rows: Rows) -> Evidence:
    return hand_made.evidence(rows, "failures", "run_summary")


def run(
    number: int, ran: str = "abc", dead: str = "", fault: str | None = None, workflow: str = "w", **status: str
) -> Rows:
    """A run of the chain a, b, c: `ran` left metrics, workers launched for the tasks in `dead` never became ready."""
    same = {"run_id": f"r{number:02d}"}
    return {
        "runs": [{**same, "workflow": workflow, "planner": "P", "submitted_at": at(number), "sink_task_id": "c", "expected_tasks": 3}],
        "edges": [{**same, "upstream_task_id": "a", "task_id": "b"}, {**same, "upstream_task_id": "b", "task_id": "c"}],
        "tasks": [
            {**same, "task_id": task, "attempt": 1, "worker_id": f"w{task}", "memory_mb": 1024, "started_at": at(1), "execution_ms": 1.0,
             "status": "failed" if task in status else "succeeded", "error_type": status.get(task)}
            for task in ran
        ],
        "invocations": [
            {**same, "invocation_id": f"{number} {task}", "worker_id": f"w{task}", "memory_mb": 1024, "requested_at": at(0),
             "ready_at": None if task in dead else at(1), "initial_task_ids": [task]}
            for task in ran + dead
        ],
        "run_tags": [{**same, "tag": "fault", "value": fault}] if fault else [],
    }  # fmt: skip


def rows(answer: Answer, kind: str) -> list[dict[str, Any]]:
    return answer.table[answer.table["rows"] == kind].to_dict("records")


def test_a_dead_worker_is_told_with_the_tasks_it_took_down():
    """r1 lost b and c to one worker that never became ready; r2 is complete."""
    answer = F21.compute(evidence(merged(run(1, "a", "b"), run(2))))
    assert answer.status == "answered"
    assert "**1 of 2 runs** is incomplete" in answer.sentence
    assert "2 of its 2 missing tasks are put down to a worker that never became ready" in answer.sentence
    assert any("of 3 tasks of incomplete runs" in caveat for caveat in answer.caveats)
    assert answer.effect and answer.effect.value == 0.5
    assert "1 run without a makespan is missing" in answer.left_out
    (worker,) = [row for row in rows(answer, "kind of failure") if row["what"] == KINDS["worker_never_ready"]]
    assert (worker["failures"], worker["tasks taken down"], worker["most by one"]) == (1, 2, 2)
    (worst,) = rows(answer, "run")
    assert (worst["run_id"], worst["tasks taken down"], worst["of tasks"]) == ("r01", 2, 3)
    assert worst["cause"] == CAUSES["worker_never_ready"]
    assert "worker never ready 2 (2 not run)" in answer.figures[0].text


def test_several_dead_workers_are_counted_and_the_worst_of_them_is_named():
    answer = F21.compute(evidence(merged(run(1, "a", "b"), run(2, "", "a"), run(3))))
    assert "5 of their 5 missing tasks are put down to 2 workers that never became ready" in answer.sentence
    assert any("2 workers that never became ready (up to 3 to one)" in caveat for caveat in answer.caveats)


def test_failed_tasks_are_told_with_what_they_kept_from_running_and_their_error():
    answer = F21.compute(evidence(merged(run(1, "ab", b="ValueError"), run(2))))
    assert "1 of its 1 missing task is put down to a task that failed" in answer.sentence
    assert "1 task is recorded as failed (`ValueError`)" in answer.sentence
    (error,) = rows(answer, "error")
    assert (error["cause"], error["failures"]) == ("ValueError", 1)


def test_tasks_and_workers_are_each_told_with_their_own_errors_the_most_frequent_first():
    """9 exit codes of one error, each once, are more than one of another twice."""
    runs = [run(n, a="Rare" if n > 9 else "Frequent") for n in range(1, 12)]
    for number, one in enumerate(runs, 1):
        one["tasks"][0]["exit_code"] = min(number, 10)
        for worker in one["invocations"]:
            worker["error_type"] = "SpotReclaimed"
    answer = F21.compute(evidence(merged(*runs)))
    assert (
        "11 tasks are recorded as failed (9 with `Frequent`, 2 with `Rare`); 33 workers say that they failed (`SpotReclaimed`)"
        in answer.sentence
    )


def test_runs_whose_last_task_failed_are_not_passed_off_as_complete():
    answer = F21.compute(evidence(merged(run(1, c="ValueError"), run(2, c="ValueError"), run(3))))
    assert "No run is incomplete of 3 whose DAG is known, but **2 runs** ended in a failed last task" in answer.sentence
    answer = F21.compute(evidence(merged(run(1, c="ValueError"), run(2, "ab"))))
    assert (
        "**1 of 2 runs** is incomplete" in answer.sentence
        and "**1 run** ended in a failed last task" in answer.sentence
    )


def test_a_sentence_says_three_things_and_the_rest_stands_with_the_caveats():
    one = run(1, b="ValueError")
    one["tasks"].append({**one["tasks"][0], "attempt": 0, "status": "failed"})
    one["invocations"][0]["status"] = "killed"
    answer = F21.compute(evidence(one))
    assert answer.sentence.endswith("1 task is recorded as failed (`ValueError`); 1 worker says that it failed.")
    assert "Also: 1 attempt failed and was tried again." in answer.caveats


def test_an_attempt_that_was_tried_again_is_no_lost_task():
    tables = run(1)
    tables["tasks"].append(
        {**tables["tasks"][1], "attempt": 0, "status": "failed", "error_type": "Timeout", "exit_code": 137}
    )
    answer = F21.compute(evidence(tables))
    assert "**No run is incomplete** of 1 whose DAG is known; 1 attempt failed and was tried again" in answer.sentence
    assert rows(answer, "error")[0]["cause"] == "Timeout, exit code 137"
    assert not any("No task is recorded as failed" in text for text in [answer.sentence])


def test_what_has_no_cause_on_record_stays_unexplained():
    answer = F21.compute(evidence(merged(run(1, "ab"), run(2, "ac"))))
    assert "2 of their 2 missing tasks have no cause on record" in answer.sentence
    assert any("1 incomplete run lost no task that another waited for" in caveat for caveat in answer.caveats)


def test_injected_faults_are_told_from_others_and_those_without_a_trace_are_counted():
    runs = [
        run(1, "a", "b", "raise"),
        run(2, "a", "b", "kill"),
        run(3, fault="kill"),
        run(4, "a", "b"),
        run(5, fault="None"),
    ]
    answer = F21.compute(evidence(merged(*runs)))
    assert "2 incomplete runs had a fault injected" in answer.sentence
    (caveat,) = [text for text in answer.caveats if "Injected faults" in text]
    assert caveat.startswith("Of 3 runs with an injected fault 2 are incomplete, of the other 2 it is 1.")
    assert (
        "`kill` 1 of 2" in caveat
        and "`raise` 1 of 1" in caveat
        and "does not tell one kind of fault from another" in caveat
    )
    assert "worker never ready 3 (2 injected)" in answer.figures[1].text
    all_of_them = F21.compute(evidence(merged(*runs[:2])))
    assert any(text.startswith("Of 2 runs with an injected fault 2 are incomplete. ") for text in all_of_them.caveats)
    without = F21.compute(evidence(merged(run(1, "a", "b"), run(2))))
    assert "injected" not in without.sentence + without.figures[1].text


def test_at_most_twenty_runs_are_listed_those_that_lost_most_and_it_is_said():
    runs = [run(n, "a" if n > 21 else "ab", "b" if n > 21 else "c") for n in range(25)]
    answer = F21.compute(evidence(merged(*runs)))
    listed = rows(answer, "run")
    assert len(listed) == 20
    assert [row["run_id"] for row in listed[:4]] == ["r22", "r23", "r24", "r00"]
    assert "The table lists the 20 runs that lost most of 25." in answer.caveats


def test_nothing_failed_nothing_is_known_and_nothing_at_all_give_an_answer():
    fine = F21.compute(evidence(run(1)))
    assert fine.status == "answered" and fine.sentence == "**No run is incomplete** of 1 whose DAG is known."
    assert fine.figures == ()
    unknown = F21.compute(evidence({"runs": [{"run_id": "r"}]}))
    assert (
        unknown.status == "not enough data"
        and "cannot be told" in unknown.sentence
        and "1 run of unknown DAG" in unknown.left_out
    )
    assert F21.compute(evidence({})).status == "not enough data"


def ended(number: int, **task: str | None) -> Rows:
    """A run of one task whose end is recorded and whose DAG is not: one request of a log."""
    run_id = f"e{number:02d}"
    row = {"run_id": run_id, "task_id": "t", "attempt": 1, "started_at": at(1), "execution_ms": 1.0, **task}
    return {"runs": [{"run_id": run_id, "submitted_at": at(0), "finished_at": at(2)}], "tasks": [row]}


def test_runs_that_ended_and_have_no_dag_on_record_are_not_called_complete():
    """Nobody says which tasks they have: that none is missing cannot be seen, and no share is made of it."""
    silent = F21.compute(evidence(merged(ended(1), ended(2))))
    assert (silent.status, silent.effect) == ("not enough data", None)
    assert silent.sentence == "Whether any of 2 runs lost a task cannot be told: no DAG is recorded, only that 2 ended."
    assert "2 runs of unknown DAG whose end is recorded: they count as complete in other answers" in silent.left_out
    fine = F21.compute(evidence(merged(ended(1, status="succeeded"), ended(2, status="succeeded"))))
    assert fine.status == "answered" and fine.sentence.endswith("; none of 2 tasks with a status failed.")
    beside = F21.compute(evidence(merged(run(1), run(2, "a", "b"), ended(3))))
    assert "**1 of 2 runs** is incomplete" in beside.sentence, "the third has no DAG to be incomplete in"
    assert beside.effect and beside.effect.value == 0.5


def test_requests_that_were_cut_off_are_told_by_what_cut_them_off():
    cut = [ended(n, status="killed", error_type="Sandbox.Timedout") for n in (1, 2)]
    failed = ended(3, status="failed", error_type="Runtime.OutOfMemory")
    answer = F21.compute(evidence(merged(*cut, failed, ended(4, status="succeeded"))))
    assert "3 tasks are recorded as failed (2 with `Sandbox.Timedout`, 1 with `Runtime.OutOfMemory`)" in answer.sentence


def test_hostile_names_are_shown_as_text():
    runs = [
        run(1, "ab", fault=HOSTILE, workflow=HOSTILE, b=HOSTILE),
        run(2, "ab", fault=LONG, b=LONG),
        run(3, "a", "b", LONG),
    ]
    answer = find(F21, evidence(merged(*runs))).answer
    said = [
        answer.sentence,
        answer.left_out,
        answer.would_change,
        *answer.caveats,
        *(figure.text for figure in answer.figures),
    ]
    assert not any("\u202e" in text or "L" * 100 in text for text in said)
    assert "\u202e" not in "".join(str(row["cause"]) + str(row["what"]) for row in answer.table.to_dict("records"))
    assert all(figure.drawn.to_dict() for figure in answer.figures)


def test_names_that_are_cut_to_the_same_text_keep_bars_of_their_own():
    long = [f"{'x' * 40}{middle}{'y' * 40}" for middle in "ab"]
    drawn = stacked(pd.DataFrame({"label": long, "part": "n", "n": [1, 2], "text": ["1", "2"]}), "Tasks", ["n"])
    (totals,) = [rows for rows in drawn.to_dict()["datasets"].values() if "place" not in rows[0]]
    assert [row["n"] for row in totals] == [1, 2]


def test_on_the_recorded_runs_the_figures_are_those_of_the_records(sample_home: Home):
    """Counted again from tasks, edges and invocations, without the views of failures."""
    reader = open_current(sample_home)
    facts = reader.frame(
        """
        with dag as (
            select run_id, task_id from edges union select run_id, upstream_task_id from edges
            union select run_id, sink_task_id from runs where sink_task_id is not null
        ),
        missing as (
            select dag.run_id, count(*) filter (where tasks.task_id is null) as tasks, count(distinct dag.task_id) as of_tasks
            from dag left join (select distinct run_id, task_id from tasks) as tasks using (run_id, task_id)
            group by dag.run_id
        ),
        faults as (select run_id from run_tags where tag = 'fault')
        select
            (select count(*) from runs) as runs,
            (select count(*) from missing where tasks > 0) as incomplete,
            (select sum(tasks) from missing) as lost,
            (select sum(of_tasks) from missing where tasks > 0) as of_tasks,
            (select count(*) from missing where tasks > 0 and run_id in (from faults)) as injected,
            (select count(*) from faults) as faults,
            (select count(*) from invocations where ready_at is null) as dead
        """
    ).iloc[0]
    answer = F21.compute(of_reader(reader))
    assert f"**{facts['incomplete']:.0f} of {facts['runs']:.0f} runs** are incomplete" in answer.sentence
    assert f"of their {facts['lost']:.0f} missing tasks" in answer.sentence
    assert any(f"of {facts['of_tasks']:.0f} tasks of incomplete runs" in caveat for caveat in answer.caveats)
    assert f"{facts['dead']:.0f} workers that never became ready" in answer.sentence
    assert f"{facts['injected']:.0f} incomplete runs had a fault injected" in answer.sentence
    assert any(
        f"Of {facts['faults']:.0f} runs with an injected fault {facts['injected']:.0f} are incomplete" in caveat
        for caveat in answer.caveats
    )
    assert answer.effect and answer.effect.value == pytest.approx(facts["incomplete"] / facts["runs"])
    assert answer.n == facts["runs"]
    assert len(rows(answer, "run")) == min(20, facts["incomplete"])


def test_the_selection_is_followed(sample_home: Home):
    reader = open_current(sample_home)
    wukong = F21.compute(of_reader(reader, Selection((("planner", ("WUKONGPlanner",)),))))
    expected = reader.frame(
        "select count(*) n, count(*) filter (where not is_complete) i from run_summary where planner = 'WUKONGPlanner'"
    )
    assert f"**{expected['i'].iloc[0]} of {expected['n'].iloc[0]} runs**" in wukong.sentence
    assert {row["planner"] for row in rows(wukong, "run")} == {"WUKONGPlanner"}
    assert F21.compute(of_reader(reader, Selection((("planner", ("nobody",)),)))).status == "not enough data"

"""Optimisations: how far they get, where they are applied, which of them conflict."""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from app.findings import conflicts, find, funnels
from app.findings.evidence import Evidence, Selection, of_reader
from app.findings.finding import Answer, Question
from app.findings.funnels import of_runs
from app.findings.optimisations import QUESTIONS
from app.findings.statistics import clustered_ratio, run_share
from tests.app.dumps import HOSTILE, LONG, merged, one_run, take_in, write
from tests.app.findings import rows as hand_made
from tests.app.findings.rows import Rows
from tests.warehouse.views import Row, at, derived
from warehouse.connection import open_current
from warehouse.home import Home

F01, F05, F20 = QUESTIONS


def evidence(rows: Rows) -> Evidence:
    return hand_made.evidence(rows, "optimization_conflicts")


def run(
    number: int, planner: str | None = "P", *, assigned: bool = True, applied: bool = True, used: bool = True,
    recorded: bool = True, planned: bool = True, optimization: str = "preload", tags: Mapping[str, str] | None = None,
) -> Rows:  # fmt: skip
    """A run whose c, on worker 3, waits for a and b on workers 1 and 2: c may be pre-loaded, a and b duplicated.

    The optimisation is that of c for 'preload', of a for 'taskdup' (applied by c).
    """
    name = f"r{number}"
    same = {"run_id": name}
    target = "c" if optimization == "preload" else "a"
    events: list[Row] = []
    if assigned:
        events.append({**same, "task_id": target, "optimization": optimization, "stage": "assigned"})
    if applied:
        events.append({**same, "task_id": "c", "optimization": optimization, "stage": "applied", "target_task_id": "a"})
    tasks = ["a", "b", "c"] if recorded else ["a", "b"]
    worker = {"a": "1", "b": "2", "c": "3"}
    fetched = {"preloaded": applied and optimization == "preload", "download_ms": None if used and applied else 5.0}
    return {
        "runs": [{**same, "engine": "e", "workflow": "w", "planner": planner, "submitted_at": at(number), "sink_task_id": "c"}],
        "edges": [{**same, "upstream_task_id": one, "task_id": "c"} for one in "ab"],
        "planned_tasks": [{**same, "task_id": one, "worker_id": worker[one]} for one in "abc"] if planned else [],
        "tasks": [{**same, "task_id": one, "worker_id": worker[one], "memory_mb": 1024, "started_at": at(1)} for one in tasks],
        "task_inputs": [
            {**same, "task_id": "c", "object_id": "a", "upstream_task_id": "a", "input_bytes": 9, **fetched},
            {**same, "task_id": "c", "object_id": "b", "upstream_task_id": "b", "input_bytes": 9, "download_ms": 5.0},
        ] if recorded else [],
        "optimizations": events,
        "run_tags": [{**same, "tag": tag, "value": value} for tag, value in (tags or {}).items()],
    }  # fmt: skip


def row(answer: Answer, group: str, optimisation: str = "pre-load") -> dict[str, Any]:
    table = answer.table[(answer.table["runs of"] == group) & (answer.table["optimisation"] == optimisation)]
    (found,) = table.to_dict("records")
    return {str(name): None if value is None or value != value else value for name, value in found.items()}


def test_preload_holds_where_it_is_assigned_and_nearly_always_runs():
    """12 runs assign it to their one eligible task; 11 apply it, and 9 of these had the input in time."""
    runs = [run(number, applied=number < 11, used=number < 9) for number in range(12)]
    without = [run(number, "Q", assigned=False, applied=False) for number in range(20, 23)]
    answer = F01.compute(evidence(merged(*runs, *without)))
    assert answer.status == "holds"
    assert "ran in **11 of 12** assigned tasks" in answer.sentence
    assert "assigned to 100 % of 12 eligible tasks" in answer.sentence
    assert any("In 9 of 11 pre-loaded tasks an input was there" in caveat for caveat in answer.caveats)
    assert answer.effect and answer.effect.value == pytest.approx(11 / 12)
    assert answer.effect.low is not None and answer.effect.low > 0.5
    assert "3 eligible tasks of 1 planner that assigns no optimisation" in answer.left_out
    found = row(answer, "Q")
    assert (found["eligible"], found["assigned"], found["applied"]) == (3, 0, 0)


def test_preload_does_not_hold_where_it_is_never_assigned_or_hardly_ever_runs():
    tables = merged(*[run(n, assigned=False, applied=False) for n in range(3)])
    tables["optimizations"].append({"run_id": "r0", "task_id": "a", "optimization": "taskdup", "stage": "assigned"})
    never = F01.compute(evidence(tables))
    assert never.status == "does not hold"
    assert "never assigned, though 3 tasks are eligible in 3 runs" in never.sentence
    assert (never.n, never.counted) == (3, "runs with eligible tasks")
    idle = F01.compute(evidence(merged(*[run(n, applied=n == 0) for n in range(12)])))
    assert idle.status == "does not hold"
    assert "ran in **1 of 12** assigned" in idle.sentence


def test_preload_is_mixed_where_it_runs_under_one_planner_and_never_under_another():
    runs = [run(n, "P" if n < 10 else "R", applied=n < 10) for n in range(20)]
    answer = F01.compute(evidence(merged(*runs)))
    assert answer.status == "mixed"
    assert "under `R`" in answer.sentence


def test_about_half_of_many_runs_is_mixed_and_half_of_few_is_undecided():
    assert F01.compute(evidence(merged(*[run(n, applied=n % 2 == 0) for n in range(60)]))).status == "mixed"
    few = F01.compute(evidence(merged(*[run(n, applied=n % 2 == 0) for n in range(8)])))
    assert few.status == "not enough data" and "undecided" in few.sentence
    five = F01.compute(evidence(merged(*[run(n) for n in range(5)])))
    assert five.status == "not enough data" and "too few runs" in five.sentence


def test_what_nobody_recorded_is_not_known_and_never_counts_as_not_applied():
    lost = [run(n, applied=False, recorded=False) for n in range(7)]
    answer = F01.compute(evidence(merged(*lost)))
    assert answer.status == "not enough data"
    assert row(answer, "P")["applied"] is None and row(answer, "P")["not known if applied"] == 7
    assert "applied 7 not known" in answer.figures[0].text
    some = F01.compute(evidence(merged(*lost, *[run(n) for n in range(10, 20)])))
    assert some.status == "holds" and "**10 of 10**" in some.sentence
    assert "7 assigned tasks of which nothing tells" in some.left_out


@pytest.mark.parametrize("question", [F01, F05], ids=lambda question: question.code)
def test_where_no_optimisation_is_on_record_none_is_denied(question: Question):
    answer = question.compute(evidence(merged(*[run(n, assigned=False, applied=False) for n in range(8)])))
    assert answer.status == "not enough data"
    assert "No optimisation of any kind is on record" in answer.sentence
    assert "eligible tasks of 8 runs cannot be told" in answer.sentence and answer.n == 8


@pytest.mark.parametrize("question", [F01, F05], ids=lambda question: question.code)
def test_plans_of_which_no_task_is_eligible_are_not_called_missing(question: Question):
    runs = [run(n, assigned=False, applied=False) for n in range(8)]
    for one in runs:
        one["planned_tasks"] = [{**task, "worker_id": "1"} for task in one["planned_tasks"]]
    answer = question.compute(evidence(merged(*runs)))
    assert answer.status == "not enough data" and answer.n == 8
    assert "None of 24 planned tasks in 8 runs is eligible" in answer.sentence


def test_eligible_tasks_of_planners_without_optimisations_do_not_deny_preload():
    """P pre-warms and has one worker, so nothing to pre-load; Q assigns nothing at all."""
    first = run(1, assigned=False, applied=False)
    first["planned_tasks"] = [{**task, "worker_id": "1"} for task in first["planned_tasks"]]
    first["optimizations"] = [
        {"run_id": "r1", "task_id": "a", "optimization": "prewarm", "stage": "assigned", "target_worker_id": "1"}
    ]
    answer = F01.compute(evidence(merged(first, run(2, "Q", assigned=False, applied=False))))
    assert answer.status == "not enough data"
    assert "1 of 6 planned tasks is eligible, under planners that assign none" in answer.sentence


def test_what_was_applied_without_a_record_of_assignment_is_said_too():
    for question, name in ((F01, "preload"), (F05, "taskdup")):
        runs = [run(n, optimization=name, assigned=n == 0, applied=n > 0) for n in range(8)]
        answer = question.compute(evidence(merged(*runs)))
        assert "**0 of 1** assigned tasks" in answer.sentence
        assert "7 other tasks had it applied without a record of assignment" in answer.sentence


def test_a_planner_whose_assignments_are_not_recorded_is_not_said_to_assign_none():
    runs = [run(n, "P" if n < 10 else "R", assigned=n < 10) for n in range(20)]
    assert F01.compute(evidence(merged(*runs))).status == "holds"


def test_without_a_plan_eligible_is_not_known_and_not_nought():
    answer = F01.compute(evidence(merged(*[run(n, planned=False) for n in range(8)])))
    assert answer.status == "holds" and "eligible" not in answer.sentence
    assert row(answer, "P")["eligible"] is None
    assert "eligible not known" in answer.figures[0].text


def test_task_duplication_is_applied_if_any_was_and_the_tag_that_tells_where_is_named():
    on = [run(n, optimization="taskdup", applied=n < 4, used=n < 3, tags={"dup": "on"}) for n in range(8)]
    off = [run(n, "P", optimization="taskdup", assigned=False, applied=False, tags={"dup": "off"}) for n in range(8, 18)]  # fmt: skip
    answer = F05.compute(evidence(merged(*on, *off)))
    assert answer.status == "holds"
    assert "assigned in 8 of 18 runs with eligible tasks" in answer.sentence
    assert "applied to **4 of 8** assigned tasks" in answer.sentence
    assert "of 4 the duplicate was used in 3 (75.0 %)" in answer.sentence
    assert "Tag `dup` tells where it is assigned: 8 of 8 runs with `on`, 0 of 10 runs with `off`" in answer.sentence
    assert "10 runs with eligible tasks assign none" in answer.left_out
    tagged = row(answer, "tag dup: off", "task duplication")
    assert (tagged["runs with any eligible"], tagged["runs that assign it"], tagged["eligible"]) == (10, 0, 20)


@pytest.mark.parametrize(
    ("runs", "status"),
    [
        ([run(1, optimization="taskdup", applied=False)], "does not hold"),
        ([run(1, optimization="taskdup", assigned=False, applied=False), run(2)], "does not hold"),
        ([run(1, optimization="taskdup", applied=False, recorded=False)], "not enough data"),
        ([run(1, optimization="taskdup", assigned=False, applied=False, planned=False)], "not enough data"),
        ([run(1, optimization="taskdup", assigned=False)], "holds"),
    ],
    ids=["assigned, not applied", "eligible, not assigned", "not recorded", "no plan", "applied, assignment unknown"],
)
def test_task_duplication_needs_a_record_to_be_denied(runs: list[Rows], status: str):
    assert F05.compute(evidence(merged(*runs))).status == status


def test_task_duplication_is_denied_only_if_every_assigned_task_left_a_record():
    runs = [run(n, optimization="taskdup", applied=False, recorded=n == 0) for n in range(10)]
    answer = F05.compute(evidence(merged(*runs)))
    assert answer.status == "not enough data"
    assert (
        "applied to **0 of 1** assigned tasks that left a record, 0 %; of 9 others it is not known" in answer.sentence
    )


def test_runs_that_assign_task_duplication_without_an_eligible_task_are_not_said_to_have_one():
    runs = [run(n, optimization="taskdup", applied=False) for n in range(8)]
    for one in runs[:5]:
        one["planned_tasks"] = [{**task, "worker_id": "1"} for task in one["planned_tasks"]]
    some, none = (F05.compute(evidence(merged(*which))) for which in (runs, runs[:5]))
    assert "assigned in 3 of 3 runs with eligible tasks and 5 others" in some.sentence and some.n == 3
    assert "assigned in 5 runs, none with eligible tasks," in none.sentence
    assert (none.n, none.counted) == (5, "runs that assign or apply it")
    assert "0 runs with eligible tasks assign none" in some.left_out


def test_an_optimisation_that_never_works_with_one_value_of_a_tag_is_pointed_out():
    broken = [run(n, applied=False, tags={"fixed": "no", "seed": str(n)}) for n in range(7)]
    fixed = [run(n, tags={"fixed": "yes", "seed": str(n)}) for n in range(7, 14)]
    answer = F01.compute(evidence(merged(*broken, *fixed)))
    assert any(
        "tag `fixed`, applied of those assigned: 0 of 7 with `no`, 7 of 7 with `yes`" in c for c in answer.caveats
    )
    for applied, fixed in (
        (lambda n: n % 2 == 0, lambda n: n % 4 < 2),  # as often with one value as with the other
        (lambda n: n >= 7 and n % 2 == 0, lambda n: n >= 7),  # never with one value, half of the time with the other
        (lambda n: n >= 5, lambda n: n >= 5),  # never with one value, but in fewer runs than it takes
    ):
        runs = [run(n, applied=applied(n), tags={"fixed": "yes" if fixed(n) else "no"}) for n in range(19)]
        assert not any("mixes runs" in caveat for caveat in F01.compute(evidence(merged(*runs))).caveats)


def test_the_hooks_named_are_those_the_view_knows():
    assigned = [
        {"run_id": "r", "task_id": f"{one}+{other}", "optimization": name, "stage": "assigned"}
        for one, other in combinations(sorted(conflicts.OVERRIDES), 2)
        for name in (one, other)
    ]
    rows = derived("optimization_conflicts", runs=[{"run_id": "r"}], optimizations=assigned)
    expected = {
        (one, other, hook)
        for one, other in combinations(sorted(conflicts.OVERRIDES), 2)
        for hook in set(conflicts.OVERRIDES[one]) & set(conflicts.OVERRIDES[other])
    }
    assert {(found["optimization"], found["other_optimization"], found["hook"]) for found in rows} == expected
    assert expected


def test_a_conflict_is_told_with_its_hooks_its_place_and_what_became_of_it():
    one = run(1, optimization="taskdup")
    one["optimizations"].append({"run_id": "r1", "task_id": "a", "optimization": "wukong", "stage": "assigned"})
    other = run(2, "Q", optimization="preload")
    answer = F20.compute(evidence(merged(one, other)))
    assert "**1 task** in 1 run has two optimisations" in answer.sentence
    assert "`override_should_upload_output` and `update_dependency_counters`" in answer.sentence
    assert "in `w` under `P`" in answer.sentence
    assert "both were applied in 0 (not known in 1), and the output was uploaded after all in 0 of 1" in answer.sentence
    assert answer.n == 2 and answer.effect and answer.effect.value == 0.5
    assert set(answer.table["what"]) == {"conflict", "assigned together"}


def test_conflicts_in_more_places_than_the_table_holds_are_all_counted():
    """One conflict in each of 60 workflows, of two hooks each, are more than another's 58 tasks in one workflow."""
    runs = [run(n, optimization="taskdup", applied=False) for n in range(60)]
    for number, one in enumerate(runs):
        one["runs"][0]["workflow"] = f"w{number}"
        one["optimizations"].append({**one["optimizations"][0], "optimization": "wukong"})
    twice = [run(n, "Q", applied=False) for n in range(100, 158)]
    for one in twice:
        one["optimizations"] *= 2
    answer = F20.compute(evidence(merged(*runs, *twice)))
    assert "**118 tasks** in 118 runs" in answer.sentence
    assert "task duplication and WUKONG's own" in answer.sentence and "above all" not in answer.sentence
    assert "of 60 such tasks both were applied in 0 (not known in 60)" in answer.sentence
    assert "1 other pair in the table" in answer.sentence
    assert "task duplication + WUKONG's own 60 in 60 runs; pre-load + pre-load 58 in 58 runs" in answer.figures[0].text
    alone = F20.compute(evidence(merged(*twice)))
    assert (
        "pre-load assigned twice, which overrides `override_handle_inputs`, above all in `w` under `Q`"
        in alone.sentence
    )


def test_hooks_that_are_not_known_are_not_called_different():
    tables = run(1)
    tables["optimizations"].append({"run_id": "r1", "task_id": "c", "optimization": "riddle", "stage": "assigned"})
    answer = F20.compute(evidence(tables))
    assert "**No task** is known to have two" in answer.sentence
    assert "not all of whose hooks are known here" in answer.sentence and "different" not in answer.sentence


def test_without_conflicts_the_combinations_are_counted():
    one = run(1)
    one["optimizations"].append({"run_id": "r1", "task_id": "c", "optimization": "prewarm", "stage": "assigned"})
    one["optimizations"].append({"run_id": "r1", "task_id": "b", "optimization": "new kind", "stage": "assigned"})
    answer = F20.compute(evidence(merged(one, run(2), run(3, optimization="taskdup"))))
    assert (
        "of 4 tasks with an assigned optimisation 1 has two or more (pre-load with pre-warm 1), which override different hooks"
        in answer.sentence
    )
    assert any("`new kind`" in caveat for caveat in answer.caveats)
    assert dict(zip(answer.table["optimisations"], answer.table["tasks"], strict=True)) == {
        "new kind": 1, "pre-load": 1, "pre-load + pre-warm": 1, "task duplication": 1
    }  # fmt: skip
    assert answer.effect and (answer.effect.value, answer.effect.low) == (0, 0)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.code)
def test_nothing_and_hostile_names_give_an_answer(question: Any):
    assert question.compute(evidence({})).status == "not enough data"
    assert question.compute(evidence({"runs": [{"run_id": "r"}]})).status == "not enough data"
    runs = [run(n, HOSTILE if n % 2 else LONG, tags={HOSTILE: LONG if n < 9 else "x"}) for n in range(18)]
    tables = merged(*runs, run(90, None), run(91, None, optimization="taskdup"))
    tables["optimizations"] += [
        {"run_id": "r1", "task_id": "c", "optimization": HOSTILE, "stage": "assigned"},
        {"run_id": "r1", "task_id": "c", "optimization": LONG, "stage": "applied"},
    ]
    finding = find(question, evidence(tables))
    answer = finding.answer
    assert answer.sentence and len(answer.sentence) < 1000
    said = [answer.sentence, answer.left_out, answer.would_change, *answer.caveats]
    assert not any(
        part in text for text in said for part in ("\u202e", "LLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLL")
    )
    for figure in answer.figures:
        assert figure.drawn.to_dict()["layer"]
        assert "\u202e" not in figure.text


def test_more_groups_than_a_chart_can_hold_are_in_the_table_and_the_text_says_so():
    answer = F01.compute(evidence(merged(*[run(n, f"P{n:02d}") for n in range(20)])))
    assert len(answer.table[answer.table["optimisation"] == "pre-load"]) == 20
    assert "12 smaller groups are in the table only" in answer.figures[0].text


def test_an_interval_of_runs_that_all_agree_still_has_a_width():
    all_ran = run_share([3] * 6, [3] * 6)
    assert all_ran and all_ran.value == 1 and 0.5 < all_ran.low < 0.7
    assert run_share([1] * 5, [1] * 5) is None
    assert run_share([0, 1] * 6, [0, 1] * 6) == run_share([1] * 6, [1] * 6)


def test_intervals_of_many_runs_are_those_resampling_gives():
    """600 runs, each of one fate: either way of computing ends within a tenth of the interval's width of the other."""
    random = np.random.default_rng(1)
    whole = random.integers(1, 5, 600)
    part = whole * random.binomial(1, 0.7, 600)  # all or nothing in a run
    quick, drawn = run_share(part, whole), clustered_ratio(list(part), list(whole))
    assert quick and drawn and quick.value == drawn.value
    width = drawn.high - drawn.low
    assert abs(quick.low - drawn.low) < 0.1 * width and abs(quick.high - drawn.high) < 0.1 * width


def _verdicts(share: float, runs: int, seeds: int = 200) -> list[str]:
    """Verdicts on planted data: 1 to 4 tasks a run, whose chance varies by run about `share`."""
    found = []
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        told = random.integers(1, 5, runs)
        chance = random.beta(4 * share, 4 * (1 - share), runs)
        rows = pd.DataFrame({name: np.zeros(runs, int) for name in funnels.SUMMED})
        rows["assigned"], rows["told"], rows["applied"] = told, told, random.binomial(told, chance)
        found.append(of_runs(rows.assign(saved_ms=None)).verdict)
    return found


def test_a_share_of_one_half_is_rarely_called_more_or_less():
    """Truly one half: called more or less in at most 5 % of 200 data sets, with 8 runs and with 40."""
    for runs in (8, 40):
        wrong = sum(verdict in ("runs", "does not run") for verdict in _verdicts(0.5, runs))
        assert wrong <= 0.05 * 200


def test_a_planted_share_is_found():
    """Truly 85 % or 15 % of 30 runs: found in at least 95 % of 200 data sets, and never the other way round."""
    high, low = _verdicts(0.85, 30), _verdicts(0.15, 30)
    assert high.count("runs") >= 0.95 * 200 and "does not run" not in high
    assert low.count("does not run") >= 0.95 * 200 and "runs" not in low


def test_on_the_recorded_runs_preload_figures_are_those_of_the_records(sample_home: Home):
    """Counted again from the facts: assignments and applications of planners with `-opt`."""
    reader = open_current(sample_home)
    (assigned, told, applied), *_ = reader.frame(
        """
        select count(*), count(*) filter (where t.task_id is not null or p.task_id is not null),
            count(*) filter (where p.task_id is not null)
        from (select distinct run_id, task_id from optimizations where optimization = 'preload' and stage = 'assigned') a
        left join (select distinct run_id, task_id from optimizations where optimization = 'preload' and stage = 'applied') p
            using (run_id, task_id)
        left join (select distinct run_id, task_id from tasks) t using (run_id, task_id)
        """
    ).itertuples(index=False)
    answer = F01.compute(of_reader(reader))
    assert answer.status == "holds"
    assert f"**{applied:,} of {told:,}**" in answer.sentence
    assert answer.effect and answer.effect.value == pytest.approx(applied / told)
    table = answer.table[answer.table["optimisation"] == "pre-load"]
    assert table["assigned"].sum() == assigned
    assert f"{assigned - told:,} assigned tasks" in answer.left_out


def test_on_the_recorded_runs_broken_prewarms_and_task_duplication_are_told_apart_by_their_tags(sample_home: Home):
    reader = open_current(sample_home)
    f01, f05 = F01.compute(of_reader(reader)), F05.compute(of_reader(reader))
    (broken,) = [caveat for caveat in f01.caveats if caveat.startswith("Pre-warm")]
    applied = reader.frame(
        """
        select count(distinct (run_id, target_worker_id)) as n
        from optimizations join run_tags using (run_id)
        where optimization = 'prewarm' and stage = 'applied' and tag = 'prewarm_fixed' and value = 'True'
        """
    )["n"].iloc[0]
    assert (
        "`prewarm_fixed`" in broken
        and "0 of 132 with `False`" in broken
        and f"{applied} of {applied} with `True`" in broken
    )
    facts = reader.frame(
        """
        select
            count(distinct run_id) filter (where stage = 'assigned') as runs,
            count(distinct (run_id, coalesce(target_task_id, task_id))) filter (where stage = 'applied') as applied
        from optimizations where optimization = 'taskdup'
        """
    ).iloc[0]
    assert f05.status == "holds"
    assert (
        f"assigned in {facts['runs']:.0f} of " in f05.sentence
        and f"applied to **{facts['applied']:.0f} of " in f05.sentence
    )
    assert (
        f"Tag `taskdup` tells where it is assigned: {facts['runs']:.0f} of {facts['runs']:.0f} runs with `on`"
        in f05.sentence
    )


def test_on_the_recorded_runs_no_optimisations_conflict(sample_home: Home):
    reader = open_current(sample_home)
    facts = reader.frame(
        """
        select count(*) as tasks, count(*) filter (where kinds > 1) as several
        from (
            select count(distinct optimization) as kinds from optimizations where stage = 'assigned'
            group by run_id, task_id
        )
        """
    ).iloc[0]
    answer = F20.compute(of_reader(reader))
    assert answer.sentence.startswith("**No task**")
    assert (
        f"of {facts['tasks']:,} tasks with an assigned optimisation {facts['several']} have two or more"
        in answer.sentence
    )
    assert answer.n == facts["tasks"]


def test_the_selection_is_followed(sample_home: Home):
    def where(**values: str) -> Evidence:
        return of_reader(open_current(sample_home), Selection(tuple((k, (v,)) for k, v in values.items())))

    assert "No optimisation of any kind" in F01.compute(where(planner="UniformPlanner")).sentence
    assert set(F01.compute(where(planner="UniformPlanner-opt")).table["runs of"]) == {"UniformPlanner-opt"}
    assert F01.compute(where(planner="no such planner")).status == "not enough data"
    assert (
        F05.compute(of_reader(open_current(sample_home), Selection(tags=(("taskdup", ("off",)),)))).status
        == "does not hold"
    )
    assert F20.compute(where(planner="UniformPlanner")).status == "not enough data"


def test_a_dump_taken_in_is_answered_as_rows_are(tmp_path: Path):
    home = take_in(tmp_path / "home", write(tmp_path / "dump", merged(*[one_run(n) for n in range(3)])))
    for question in QUESTIONS:
        assert find(question, of_reader(open_current(home))).answer.status == "not enough data"

"""optimization_opportunities and optimization_funnel: what could have been optimised, and what became of it."""

import json
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.views import Row, at, derived, one

RUN = {"run_id": "r", "engine": "e", "environment": "here", "workflow": "w", "planner": "P", "submitted_at": at(0)}
Key = tuple[str, str | None, str | None]
Tables = dict[str, list[Row]]


def edges(*pairs: str) -> list[Row]:
    """Edges from texts such as 'ac': c needs the output of a."""
    return [{"run_id": "r", "upstream_task_id": pair[0], "task_id": pair[1]} for pair in pairs]


def plan(**workers: str | None) -> list[Row]:
    """Planned tasks from task=worker; 'w3 cold' also says how the worker is predicted to start."""
    rows = []
    for task, text in workers.items():
        worker, _, state = (text or "").partition(" ")
        rows.append({"run_id": "r", "task_id": task, "worker_id": worker or None, "startup_state": state or None})
    return rows


def tasks(*names: str, **workers: str | None) -> list[Row]:
    """Tasks that left metrics, by name alone or as task=worker."""
    same = {"run_id": "r", "memory_mb": 1024, "started_at": at(0), "execution_ms": 1.0}
    return [
        same | {"task_id": task, "worker_id": worker} for task, worker in {**dict.fromkeys(names), **workers}.items()
    ]


def event(stage: str, optimization: str, task: str, **values: object) -> Row:
    return {"run_id": "r", "task_id": task, "optimization": optimization, "stage": stage} | values


def took(task: str, upstream: str, size: int | None, ms: float | None, preloaded: bool | None = None) -> Row:
    row = {"run_id": "r", "task_id": task, "object_id": upstream, "upstream_task_id": upstream}
    return row | {"input_bytes": size, "download_ms": ms, "preloaded": preloaded}


def launch(worker: str, state: str | None, startup_ms: float = 100, requested: float = 1000, **values: object) -> Row:
    row = {"run_id": "r", "worker_id": worker, "invocation_id": f"{worker} at {requested}", "memory_mb": 1024}
    times = {"requested_at": at(requested), "ready_at": at(requested + startup_ms), "reported_state": state}
    return row | times | values


def apart(*cases: Tables) -> Tables:
    """The cases as runs of one warehouse, named by their number; a case without a run is one of planner P."""
    tables: Tables = {}
    for number, case in enumerate(cases):
        for name, rows in ({"runs": [RUN]} | case).items():
            for row in rows:
                own = {key: f"{row[key]} of {number}" for key in ("invocation_id",) if key in row}
                tables.setdefault(name, []).append(row | own | {"run_id": str(number)})
    return tables


def opportunities(**tables: list[Row]) -> dict[Key, Row]:
    rows = derived("optimization_opportunities", **{"runs": [RUN]} | tables)
    found = {(row["optimization"], row["task_id"], row["target_worker_id"]): row for row in rows}
    assert len(found) == len(rows)
    return found


def funnel(**tables: list[Row]) -> dict[str, Row]:
    rows = derived("optimization_funnel", **{"runs": [RUN]} | tables)
    return {row["optimization"]: row for row in rows}


def eligible(optimization: str, *cases: Tables) -> list[set[str | None]]:
    """The tasks (of 'prewarm' the workers) that an optimisation could act on, in each case."""
    name = "target_worker_id" if optimization == "prewarm" else "task_id"
    found: list[set[str | None]] = [set() for _ in cases]
    for row in derived("optimization_opportunities", **apart(*cases)):
        if row["optimization"] == optimization and row["eligible"]:
            found[int(row["run_id"])].add(row[name])
    return found


def test_a_preload_needs_a_fixed_worker_and_two_upstream_tasks_on_others():
    cases = {
        ("w1", "w2", "w3"): {"c"},
        ("w1", "w1", "w3"): {"c"},  # two tasks, though on one worker
        ("w3", "w2", "w3"): set(),  # one of them is here
        ("w1", "w2", None): set(),  # where it will run is not fixed
        (None, None, "w3"): {"c"},  # flexible ones are elsewhere
        (None, None, None): set(),
    }
    dag = edges("ac", "bc")
    tables = [{"edges": dag, "planned_tasks": plan(a=a, b=b, c=c)} for a, b, c in cases]
    one_upstream = {"edges": edges("ac"), "planned_tasks": plan(a="w1", c="w3")}
    assert eligible("preload", *tables, one_upstream) == [*cases.values(), set()]


def test_a_prewarm_needs_a_worker_predicted_cold_without_a_root_task():
    cases = [
        (plan(a="w1 cold", b="w1", c="w3 cold"), {"w3"}),  # w1 runs the roots
        (plan(a="w1 cold", b="w1", c="w3 warm"), set()),
        (plan(a="w1 cold", b="w1", c="w3"), set()),  # nobody predicted its state
        (plan(a="w1 cold", b="w3", c="w3 cold"), set()),  # b is a root
        (plan(a="w1 cold", b="w1", c=" cold"), set()),  # flexible: there is no worker to launch
    ]
    tables = [{"edges": edges("ac", "bc"), "planned_tasks": planned} for planned, _ in cases]
    assert eligible("prewarm", *tables) == [expected for _, expected in cases]


def test_a_duplication_needs_a_downstream_task_on_another_worker():
    cases = [
        (plan(a="w1", b="w2", c="w3"), {"a", "b"}),
        (plan(a="w3", b="w2", c="w3"), {"b"}),
        (plan(a=None, b="w3", c="w3"), {"a"}),
        (plan(a=None, b=None, c=None), set()),
        (plan(a="w1", b="w2", c=None), {"a", "b"}),
    ]
    tables = [{"edges": edges("ac", "bc"), "planned_tasks": planned} for planned, _ in cases]
    assert eligible("taskdup", *tables) == [expected for _, expected in cases]


def test_wukong_acts_on_fan_outs_and_on_what_feeds_a_fan_in_under_its_own_planners_only():
    dag = edges("ab", "ac", "bd", "cd", "de")  # a fans out, b and c feed the fan-in d, d has one downstream task
    planners = ("WUKONGPlanner-opt", "P", None)
    tables = [{"runs": [RUN | {"planner": planner}], "edges": dag} for planner in planners]
    assert eligible("wukong", *tables) == [{"a", "b", "c"}, set(), set()]


def test_without_a_plan_nobody_knows_what_was_eligible():
    events = [event("assigned", "preload", "c"), event("assigned", "prewarm", "a", target_worker_id="w3")]
    rows = opportunities(edges=edges("ac", "bc"), tasks=tasks("a", "c"), optimizations=events)
    assert [(row["eligible"], row["assigned"], row["applied"]) for row in rows.values()] == [(None, True, False)] * 2
    counts = funnel(edges=edges("ac", "bc"), tasks=tasks("a", "c"), optimizations=events)
    assert [(row["eligible"], row["assigned_not_eligible"]) for row in counts.values()] == [(None, 0)] * 2


def test_what_could_have_been_done_and_was_not_is_a_row_too():
    """Both roots could be duplicated, c could be pre-loaded, w3 pre-warmed."""
    rows = opportunities(edges=edges("ac", "bc"), planned_tasks=plan(a="w1", b="w2", c="w3 cold"))
    assert set(rows) == {
        ("taskdup", "a", None),
        ("taskdup", "b", None),
        ("preload", "c", None),
        ("prewarm", None, "w3"),
    }
    for row in rows.values():
        assert (row["eligible"], row["assigned"], row["applied"], row["effective"]) == (True, False, False, False)
        assert (row["saved_ms"], row["engine"], row["workflow"], row["planner"]) == (None, "e", "w", "P")


def test_assigned_but_not_eligible_is_counted_apart():
    assigned = [event("assigned", "preload", name) for name in "ac"]  # only c is eligible
    row = funnel(edges=edges("ac", "bc"), planned_tasks=plan(a="w1", b="w2", c="w3"), optimizations=assigned)["preload"]
    assert (row["eligible"], row["assigned"], row["assigned_not_eligible"]) == (1, 2, 1)


def test_an_assignment_without_the_metrics_that_would_tell_is_not_known_to_be_applied():
    assigned = [event("assigned", "preload", name) for name in "abc"] + [event("applied", "preload", "c")]
    tables = {"tasks": tasks("b", "c"), "optimizations": assigned}  # a left none
    rows = opportunities(**tables)
    assert [rows["preload", name, None]["applied"] for name in "abc"] == [None, False, True]
    assert [rows["preload", name, None]["effective"] for name in "abc"] == [None, False, None]  # c: no input on record
    counts = funnel(**tables)["preload"]
    assert (counts["assigned"], counts["applied"], counts["not_known"], counts["effective_not_known"]) == (3, 1, 1, 1)


def test_a_duplication_is_recorded_by_the_tasks_downstream_so_their_metrics_are_needed():
    tables = {"edges": edges("ac", "ad"), "optimizations": [event("assigned", "taskdup", "a")]}
    seen_by_all = opportunities(**tables, tasks=tasks("c", "d"))  # a itself left no metrics
    assert seen_by_all["taskdup", "a", None]["applied"] is False
    one_missing = opportunities(**tables, tasks=tasks("a", "c"))
    assert one_missing["taskdup", "a", None]["applied"] is None


def test_a_prewarm_whose_targets_cannot_be_read_has_no_row_and_does_no_harm():
    lists = ([], [1, 2], ["w3"], [None], [[]], [{}], [{"worker_id": None}], [{"worker": "w3"}])
    hostile = [{}, *({"targets": targets} for targets in (None, "w3", 7, {"worker_id": "w3"}, *lists))]
    texts = [None, "[1]", '"x"', "null", "1", *(json.dumps(extra) for extra in hostile)]
    bad = [event("assigned", "prewarm", f"t{number}", extra=text) for number, text in enumerate(texts)]
    good = event("assigned", "prewarm", "b", extra=json.dumps({"targets": [3, {"worker_id": "w3"}]}))
    assert set(opportunities(optimizations=[*bad, good])) == {("prewarm", "b", "w3")}


def test_one_record_may_have_many_targets():
    names = [f"w{number}" for number in range(5000)]
    extra = json.dumps({"targets": [{"worker_id": name, "delay_ms": 1.5, "memory_mb": 2} for name in names]})
    rows = opportunities(optimizations=[event("assigned", "prewarm", "a", extra=extra)])
    assert set(rows) == {("prewarm", "a", name) for name in names}


def test_each_target_of_one_record_has_its_own_fate():
    extra = json.dumps(
        {"targets": [{"worker_id": "w1"}, {"worker_id": None}, {"worker_id": "w2"}, {"worker_id": "w1"}]}
    )
    events = [
        event("assigned", "prewarm", "a", extra=extra),
        event("applied", "prewarm", "a", target_worker_id="w2", happened_at=at(500)),
    ]
    tables = {"tasks": tasks("a"), "optimizations": events, "invocations": [launch("w1", "cold"), launch("w2", "warm")]}
    rows = opportunities(**tables)
    assert {key[2]: (row["assigned"], row["applied"], row["effective"]) for key, row in rows.items()} == {
        "w1": (True, False, False),
        "w2": (True, True, True),
    }
    counts = funnel(**tables)["prewarm"]
    assert (counts["assigned"], counts["applied"], counts["effective"], counts["runs_assigned"]) == (2, 1, 1, 1)


def test_a_prewarm_assigned_to_two_tasks_is_one_container_and_needs_the_metrics_of_both():
    events = [event("assigned", "prewarm", name, target_worker_id="w3") for name in "ba"]
    assert opportunities(optimizations=events, tasks=tasks("a", "b"))["prewarm", "a", "w3"]["applied"] is False
    assert opportunities(optimizations=events, tasks=tasks("a"))["prewarm", "a", "w3"]["applied"] is None


def test_a_prewarm_applied_without_being_assigned_or_twice_counts_as_applied_once():
    again = [event("applied", "prewarm", "a", target_worker_id="w3", happened_at=at(ms)) for ms in (500, 600)]
    row = one(list(opportunities(optimizations=again).values()))
    assert (row["task_id"], row["assigned"], row["applied"]) == ("a", False, True)
    counts = funnel(optimizations=again)["prewarm"]
    assert (counts["assigned"], counts["applied"], counts["assigned_and_applied"]) == (0, 1, 0)
    assert (counts["runs_assigned"], counts["runs_applied"]) == (0, 1)


def test_a_prewarm_is_effective_where_its_worker_was_asked_for_later_and_started_warm():
    cases = [
        ([launch("w3", "warm")], True),
        ([launch("w3", "cold")], False),
        ([launch("w3", None, ready_at=None)], None),  # it never became ready
        ([launch("w3", "warm"), launch("w3", "warm", requested=9000)], True),
        ([launch("w3", "warm"), launch("w3", "cold", requested=9000)], False),
        ([launch("w3", "warm"), launch("w3", None, requested=9000, ready_at=None)], None),
        ([launch("w1", "warm")], False),  # the worker was never launched
        ([], None),  # no worker is on record
        ([launch("w3", "warm", requested=400)], False),  # it was requested before
        ([launch("w3", "warm", requested=500)], True),
    ]
    event_at_500 = {"target_worker_id": "w3", "happened_at": at(500)}
    events = [event(stage, "prewarm", "a", **event_at_500) for stage in ("assigned", "applied")]
    tables = [{"tasks": tasks("a"), "optimizations": events, "invocations": invocations} for invocations, _ in cases]
    rows = derived("optimization_opportunities", **apart(*tables))
    found = {int(row["run_id"]): row["effective"] for row in rows}
    assert found == {number: effective for number, (_, effective) in enumerate(cases)}


def test_a_prewarm_saves_the_difference_to_the_median_cold_start_of_its_memory():
    """Cold starts of 1 GB take 900, 1000 and 1500 ms, one of 2 GB 5000: 1000 less its own 100."""
    invocations = [
        launch("w3", "warm", 100),
        *(launch(f"c{ms}", "cold", ms) for ms in (900, 1000, 1500)),
        launch("big", "cold", 5000, memory_mb=2048),
    ]
    events = [event("applied", "prewarm", "a", target_worker_id="w3", happened_at=at(500))]
    tables = {"optimizations": events, "invocations": invocations}
    assert opportunities(**tables)["prewarm", "a", "w3"]["saved_ms"] == 900
    assert (funnel(**tables)["prewarm"]["saved_ms"], funnel(**tables)["prewarm"]["saved_n"]) == (900, 1)
    alone = {"optimizations": events, "invocations": [launch("w3", "warm")]}  # nothing to compare with
    row = funnel(**alone)["prewarm"]
    assert (row["effective"], row["saved_ms"], row["saved_n"]) == (1, None, 0)


def preload(*inputs: Row, **tables: list[Row]) -> Row:
    """What became of the pre-load applied by task c."""
    events = [event("applied", "preload", "c", target_task_id=name) for name in "ab"]
    tables = {"tasks": tasks("c"), "optimizations": events, "task_inputs": list(inputs)} | tables
    return opportunities(**tables)["preload", "c", None]


def test_a_preload_saves_by_how_much_the_longest_of_the_parallel_downloads_got_shorter():
    """b moved 1000 bytes in 10 ms, 100 bytes/ms: the 5000 bytes of a would have taken 50 ms, 40 more than b."""
    row = preload(took("c", "a", 5000, None, True), took("c", "b", 1000, 10.0))
    assert (row["effective"], row["saved_ms"]) == (True, 40)
    slower = preload(took("c", "a", 5000, None, True), took("c", "b", 5000, 60.0))  # 5000 / 83.3 = 60: b takes as long
    assert (slower["effective"], slower["saved_ms"]) == (True, pytest.approx(0, abs=1e-9))


def test_a_preloaded_input_with_a_time_was_not_there_yet():
    assert preload(took("c", "a", 1000, 10.0, True), took("c", "b", 1000, None))["effective"] is False
    row = preload(took("c", "a", 1000, 10.0, True), took("c", "b", 5000, None, True))  # b was: 50 ms against 10
    assert (row["effective"], row["saved_ms"]) == (True, 40)


def test_a_preload_without_an_input_on_record_is_not_known_to_be_effective():
    assert preload()["effective"] is None
    assert preload(took("c", "a", 1000, None))["effective"] is None  # there, but not by the pre-load


def test_the_speed_of_all_sizes_stands_in_for_a_size_never_timed_and_no_speed_is_no_estimate():
    # 200 bytes in 2 ms and 3000 in 10: 100 and 300 bytes/ms, median of all sizes 200; 60,000 bytes: 300 ms, less 10
    timed = [took("c", "a", 60000, None, True), took("c", "b", 200, 2.0), took("c", "x", 3000, 10.0)]
    assert preload(*timed)["saved_ms"] == 290
    untimed = [took("c", "a", 5000, None, True), took("c", "b", 1000, None, True)]
    row = preload(*untimed)
    assert (row["effective"], row["saved_ms"]) == (True, None)
    events = [event("applied", "preload", "c", target_task_id="a")]
    counts = funnel(tasks=tasks("c"), optimizations=events, task_inputs=untimed)["preload"]
    assert (counts["effective"], counts["saved_ms"], counts["saved_n"]) == (1, None, 0)
    assert preload(took("c", "a", None, None, True), took("c", "b", 1000, 10.0))["saved_ms"] is None  # size unknown


def duplication(*inputs: Row, by: str = "c") -> Row:
    """What became of task a, which the tasks named ran themselves."""
    events = [event("applied", "taskdup", name, target_task_id="a") for name in by]
    tables = {"tasks": tasks(*"acdx"), "optimizations": events, "task_inputs": list(inputs)}
    return opportunities(**tables)["taskdup", "a", None]


def test_a_duplication_is_effective_where_the_output_was_there_without_a_download():
    timed = took("x", "a", 1000, 10.0)  # 100 bytes/ms
    spared = duplication(took("c", "a", 4000, None), timed)
    assert (spared["applied"], spared["effective"], spared["saved_ms"]) == (True, True, 40)
    in_vain = duplication(took("c", "a", 4000, 25.0), timed)
    assert (in_vain["applied"], in_vain["effective"], in_vain["saved_ms"]) == (True, False, None)
    assert duplication(timed)["effective"] is None  # c has no input on record


def test_a_duplication_done_by_two_tasks_is_one_and_effective_where_it_helped_one():
    timed = took("x", "a", 1000, 10.0)
    row = duplication(took("c", "a", 4000, None), took("d", "a", 4000, 25.0), timed, by="cd")
    assert row["effective"] is True
    # speeds of 1000 to 9999 bytes: 100 (x) and 160 (d), in the middle 130
    assert row["saved_ms"] == pytest.approx(4000 / 130)


def test_what_a_preload_fetched_was_not_spared_by_a_duplication():
    timed = took("x", "a", 1000, 10.0)
    assert duplication(took("c", "a", 4000, None, True), timed)["effective"] is False
    row = duplication(took("c", "a", 9000, None, True), took("d", "a", 4000, None), timed, by="cd")
    assert (row["effective"], row["saved_ms"]) == (True, 40)  # by d; the 90 ms of c are not its doing


def test_wukong_is_effective_where_a_fan_out_took_fewer_workers_than_tasks():
    cases: list[tuple[Row, bool | None]] = [
        ({"b": "f1", "c": "f1", "d": "f2"}, True),
        ({"b": "f1", "c": "f2", "d": "f3"}, False),
        ({"b": "f1", "c": "f1"}, True),  # d left no metrics
        ({"b": "f1", "c": "f2"}, None),  # d may have been on either
        ({"b": "f1", "c": "f2", "d": None}, None),
        ({}, None),
    ]
    fan_out = {
        "runs": [RUN | {"planner": "WUKONGPlanner-opt"}],
        "edges": edges("ab", "ac", "ad"),
        "optimizations": [event("assigned", "wukong", "a")],
    }
    tables = apart(*(fan_out | {"tasks": tasks(**done)} for done, _ in cases))
    rows = derived("optimization_opportunities", **tables)
    assert {int(row["run_id"]): row["effective"] for row in rows} == dict(
        enumerate(effective for _, effective in cases)
    )
    assert {(row["eligible"], row["assigned"], row["applied"]) for row in rows} == {(True, True, None)}
    counts = funnel(**tables)["wukong"]
    assert (counts["applied"], counts["assigned_and_applied"], counts["runs_applied"]) == (None, None, None)
    assert (counts["assigned"], counts["effective"], counts["effective_not_known"]) == (6, 2, 3)


def test_wukong_on_what_feeds_a_fan_in_cannot_be_judged():
    tables = {"edges": edges("ac", "bc"), "tasks": tasks(a="f1", b="f2", c="f1")}
    row = opportunities(**tables, optimizations=[event("assigned", "wukong", "a")])["wukong", "a", None]
    assert row["effective"] is None


def test_an_optimisation_of_an_unknown_name_is_followed_as_far_as_it_is_recorded():
    events = [event("assigned", "teleport", name) for name in "abc"] + [event("applied", "teleport", "a")] * 2
    tables = {"tasks": tasks("a", "b"), "optimizations": events, "planned_tasks": plan(a="w1", b="w1", c="w1")}
    rows = opportunities(**tables)
    assert {key: (row["eligible"], row["applied"], row["effective"]) for key, row in rows.items()} == {
        ("teleport", "a", None): (None, True, None),
        ("teleport", "b", None): (None, False, False),
        ("teleport", "c", None): (None, None, None),
    }
    row = funnel(**tables)["teleport"]
    figures = ("runs", "eligible", "assigned", "applied", "not_known", "effective", "effective_not_known")
    assert [row[name] for name in figures] == [1, None, 3, 1, 1, 0, 1]


def test_a_retried_task_is_one_opportunity():
    attempts = [task | {"attempt": number} for task in tasks("c") for number in (1, 2, 3)]
    events = [event("assigned", "preload", "c"), event("assigned", "preload", "c")]
    row = one(list(opportunities(tasks=attempts, optimizations=events).values()))
    assert (row["assigned"], row["applied"]) == (True, False)


def test_runs_and_planners_are_kept_apart_and_a_run_without_a_planner_has_a_funnel_too():
    runs = [RUN, RUN | {"run_id": "s"}, RUN | {"run_id": "t", "planner": "Q"}, RUN | {"run_id": "u", "planner": None}]
    events = [event("assigned", "preload", "c", run_id=name) for name in "rrtu"]
    done = [task | {"run_id": name} for task in tasks("c") for name in "rstu"]
    rows = derived("optimization_funnel", runs=runs, tasks=done, optimizations=events)
    counts = {row["planner"]: (row["runs"], row["runs_assigned"], row["assigned"], row["applied"]) for row in rows}
    assert counts == {"P": (2, 1, 1, 0), "Q": (1, 1, 1, 0), None: (1, 1, 1, 0)}


NAMES = "abcde"


@st.composite
def recorded_runs(draw: st.DrawFn) -> Tables:
    """One run: a DAG, its plan, and any optimisations, sensible or not, some of the metrics lost."""
    pairs = [x + y for x in NAMES for y in NAMES if x < y]
    workers = st.sampled_from([None, "w1", "w2", "w3"])
    some = st.sets(st.sampled_from(NAMES), max_size=5)
    planned = [
        {"run_id": "r", "task_id": name, "worker_id": draw(workers), "startup_state": draw(states)}
        for states in [st.sampled_from([None, "cold", "warm"])]
        for name in sorted(draw(st.one_of(st.just(set(NAMES)), some)))
    ]
    events = [
        event(
            draw(st.sampled_from(["assigned", "applied"])),
            draw(st.sampled_from(["preload", "prewarm", "taskdup", "wukong", "other"])),
            draw(st.sampled_from(NAMES)),
            target_task_id=draw(st.sampled_from([None, *NAMES])),
            target_worker_id=draw(workers),
            extra=draw(st.sampled_from([None, '{"targets": [{"worker_id": "w1"}, {"worker_id": "w9"}]}'])),
        )
        for _ in range(draw(st.integers(0, 12)))
    ]
    dag = edges(*sorted(draw(st.sets(st.sampled_from(pairs)))))
    return {
        "runs": [RUN | {"planner": draw(st.sampled_from([None, "P", "WUKONGPlanner"]))}],
        "edges": dag,
        "planned_tasks": planned,
        "optimizations": events,
        "tasks": tasks(**{name: draw(workers) for name in draw(some)}),
        "invocations": [launch(name, draw(st.sampled_from(["cold", "warm"]))) for name in draw(st.sets(st.sampled_from(["w1", "w2"])))],
        "task_inputs": [
            took(row["task_id"], row["upstream_task_id"], 1000, draw(st.none() | st.just(5.0)), draw(st.booleans()))
            for row in dag
        ],
    }  # fmt: skip


@settings(max_examples=3, deadline=None)
@given(st.lists(recorded_runs(), min_size=6, max_size=6), st.randoms(use_true_random=False))
def test_the_funnel_narrows_and_counts_each_opportunity_once(cases: list[Tables], shuffle: random.Random):
    tables = apart(*cases)
    shuffled = {name: shuffle.sample(rows, len(rows)) for name, rows in tables.items()}
    rows, counts = (derived(view, **tables) for view in ("optimization_opportunities", "optimization_funnel"))
    assert sorted(map(repr, counts)) == sorted(map(repr, derived("optimization_funnel", **shuffled)))
    keys = Counter((row["run_id"], row["optimization"], row["task_id"], row["target_worker_id"]) for row in rows)
    assert set(keys.values()) <= {1}
    for row in rows:
        assert row["eligible"] or row["assigned"] or row["applied"]
        assert (row["target_worker_id"] is not None) == (row["optimization"] == "prewarm")
        if row["effective"]:
            assert row["applied"] or (row["optimization"] == "wukong" and row["assigned"])
        else:
            assert row["saved_ms"] is None
    planners = Counter(run["planner"] for run in tables["runs"])
    grain = ("planner", "optimization")
    assert {tuple(row[name] for name in grain) for row in rows} == {
        tuple(row[name] for name in grain) for row in counts
    }
    assert len({tuple(row[name] for name in grain) for row in counts}) == len(counts)
    for row in counts:
        of = [other for other in rows if all(other[name] == row[name] for name in grain)]
        assert row["runs"] == planners[row["planner"]]
        assert row["assigned"] == sum(other["assigned"] for other in of)
        assert row["effective"] == sum(other["effective"] is True for other in of)
        assert row["not_known"] <= row["assigned"]
        assert row["assigned_not_eligible"] <= row["assigned"]
        assert row["saved_n"] <= row["effective"]
        assert row["runs_assigned"] == len({other["run_id"] for other in of if other["assigned"]})
        if row["applied"] is None:
            assert row["optimization"] == "wukong"
            assert row["effective"] + row["effective_not_known"] <= row["assigned"]
        else:
            assert row["assigned_and_applied"] <= min(row["assigned"], row["applied"])
            if row["optimization"] != "wukong":
                assert row["effective"] + row["effective_not_known"] <= row["applied"]


def engine_rules(tables: Tables) -> set[Key]:
    workers = {row["task_id"]: row["worker_id"] for row in tables["planned_tasks"]}
    states = {row["task_id"]: row["startup_state"] for row in tables["planned_tasks"]}
    upstream = {name: [row["upstream_task_id"] for row in tables["edges"] if row["task_id"] == name] for name in NAMES}
    downstream = {name: [other for other in NAMES if name in upstream[other]] for name in NAMES}
    expected: set[Key] = set()
    for name, worker in workers.items():
        if worker and sum(workers.get(other) != worker for other in upstream[name]) >= 2:
            expected.add(("preload", name, None))
        if any(workers.get(other) != worker for other in downstream[name]):
            expected.add(("taskdup", name, None))
    for worker in {"w1", "w2", "w3"} & set(workers.values()):
        mine = [name for name in workers if workers[name] == worker]
        if any(states[name] == "cold" for name in mine) and all(upstream[name] for name in mine):
            expected.add(("prewarm", None, worker))
    if tables["runs"][0]["planner"] == "WUKONGPlanner":
        for name in NAMES:
            if len(downstream[name]) >= 2 or any(len(upstream[other]) >= 2 for other in downstream[name]):
                expected.add(("wukong", name, None))
    return expected


@settings(max_examples=3, deadline=None)
@given(st.lists(recorded_runs(), min_size=8, max_size=8))
def test_eligible_is_what_the_engine_would_ask_for(cases: list[Tables]):
    """Against the rules put in Python, task by task."""
    found: list[set[Key]] = [set() for _ in cases]
    for row in derived("optimization_opportunities", **apart(*cases)):
        if row["eligible"]:
            task = None if row["optimization"] == "prewarm" else row["task_id"]
            found[int(row["run_id"])].add((row["optimization"], task, row["target_worker_id"]))
    assert found == [engine_rules(case) for case in cases]

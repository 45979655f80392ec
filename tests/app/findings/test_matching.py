"""Groups of runs are compared like with like, or it is said what is not alike."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from app.findings.comparing import compare_groups, grouped
from app.findings.evidence import of_reader
from app.findings.matching import METRICS, RUNS, compare, lost, match, tag_values
from warehouse.connection import open_current
from warehouse.home import Home


def run(number: int, **known: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(METRICS) | {
        "run_id": f"r{number}", "workflow": "wf", "structure_hash": "s", "planner": "P", "sla": "p50", "environment": "e",
        "tags": {}, "submitted_at": pd.Timestamp("2026-01-01") + pd.Timedelta(minutes=number), "is_complete": True,
        "memory_mb": 2048, "makespan_ms": 100.0,
    }  # fmt: skip
    return row | known


def experiment(n: int, ratio: float, **known: Any) -> pd.DataFrame:
    """n seeds, each run once with the switch off and once with it on; the makespan of a seed is its own."""
    rows = []
    for seed in range(n):
        for place, switch in enumerate(("off", "on")):
            makespan = 100.0 * (seed + 1) ** 2 * (ratio if switch == "on" else 1)
            rows.append(
                run(2 * seed + place, tags={"switch": switch, "seed": str(seed), "series": f"s-{switch}"}, makespan_ms=makespan)
                | known
            )  # fmt: skip
    return pd.DataFrame(rows)


def by_switch(runs: pd.DataFrame) -> Any:
    return match(runs, tag_values(runs, "switch"), "off", "on", "switch")


def test_runs_of_one_seed_pair_up_whatever_the_seeds_take() -> None:
    matched = by_switch(experiment(8, 0.5))
    assert (matched.way, matched.pairs, matched.unmatched) == ("paired", 8, 0)
    found = compare(matched, "makespan_ms")
    assert found.ratio is not None
    assert found.n == 8
    assert [round(end, 9) for end in (found.ratio.value, found.ratio.low, found.ratio.high)] == [0.5, 0.5, 0.5]


def test_a_tag_that_only_names_the_group_is_not_held_equal() -> None:
    matched = by_switch(experiment(8, 0.5))
    assert "tag seed" in matched.held_equal
    assert "tag series" not in matched.held_equal
    assert "tag switch" not in matched.held_equal
    assert matched.free == ("tag series",)


def test_another_switch_of_the_experiment_is_held_equal() -> None:
    """The runs with a limit have no counterpart with the switch on: they must not stand beside it."""
    runs = experiment(8, 0.5)
    runs["tags"] = [tags | {"limit": "none"} for tags in runs["tags"]]
    limited = experiment(8, 9.0)
    limited = limited[[tags["switch"] == "off" for tags in limited["tags"]]].assign(makespan_ms=1.0)
    limited["tags"] = [tags | {"limit": "6"} for tags in limited["tags"]]
    found = compare(by_switch(pd.concat([runs, limited], ignore_index=True)), "makespan_ms")
    assert found.ratio is not None
    assert (found.n, round(found.ratio.value, 9)) == (8, 0.5)


def test_a_tag_that_says_how_a_run_turned_out_does_not_keep_pairs_apart() -> None:
    runs = experiment(10, 0.5)
    runs["tags"] = [
        tags | {"finished": "no" if tags["switch"] == "on" and int(tags["seed"]) < 3 else "yes"}
        for tags in runs["tags"]
    ]
    runs["is_complete"] = [tags["finished"] == "yes" for tags in runs["tags"]]
    matched = by_switch(runs)
    assert "tag finished" not in matched.held_equal
    assert sorted(lost(matched)) == [(0, 1, 0, 1)] * 7 + [(0, 1, 1, 1)] * 3
    assert compare(matched, "makespan_ms").n == 7


def test_a_tag_of_how_runs_ended_hides_no_loss_however_many_there_are() -> None:
    runs = experiment(24, 1.0)
    runs["tags"] = [
        tags | {"finished": "no" if tags["switch"] == "on" and int(tags["seed"]) < 16 else "yes"}
        for tags in runs["tags"]
    ]
    runs["is_complete"] = [tags["finished"] == "yes" for tags in runs["tags"]]
    assert sum(row[2] for row in lost(by_switch(runs))) == 16


def test_an_input_scale_is_held_equal_even_where_it_keeps_pairs_apart() -> None:
    """Half of the other runs were given ten times the input: they have no counterpart, and no effect is seen."""
    runs = experiment(24, 1.0)
    large = [tags["switch"] == "on" and int(tags["seed"]) >= 13 for tags in runs["tags"]]
    runs["tags"] = [
        tags | {"scale": "large" if big else "small"} for tags, big in zip(runs["tags"], large, strict=True)
    ]
    runs["makespan_ms"] *= np.where(large, 10, 1)
    found = compare(by_switch(runs), "makespan_ms")
    assert found.ratio is not None
    assert (found.n, round(found.ratio.value, 9)) == (13, 1)


def test_groups_of_other_environments_planners_or_structures_are_called_confounded() -> None:
    for column in ("environment", "planner", "structure_hash", "sla"):
        runs = experiment(30, 0.5)
        runs["tags"] = [{"switch": tags["switch"]} for tags in runs["tags"]]
        runs[column] = [f"of {tags['switch']}" for tags in runs["tags"]]
        assert column in by_switch(runs).confounded, column
    assert by_switch(experiment(30, 0.5)).confounded == ()


def test_memory_is_held_equal_unless_the_groups_choose_it_themselves() -> None:
    runs = pd.DataFrame(
        [
            run(n, planner="AB"[n % 2], memory_mb=1024 if n % 2 and n % 5 else 2048, tags={}, makespan_ms=1.0 + n)
            for n in range(100)
        ]
    )
    assert "memory_mb" not in match(runs, runs["planner"], "A", "B", "planner").held_equal
    assert "memory_mb" not in match(runs, runs["memory_mb"], 2048, 1024, "memory_mb").held_equal


def test_zeros_are_told_instead_of_dropped_from_a_ratio() -> None:
    runs = experiment(40, 1.3)
    runs["download_ms"] = [0.0 if tags["switch"] == "on" and int(tags["seed"]) < 30 else 100.0 for tags in runs["tags"]]
    found = compare(by_switch(runs), "download_ms")
    assert found.ratio is None
    assert (found.reference, found.other) == (100, 0)


def test_a_run_that_lost_its_plan_still_finds_its_counterpart() -> None:
    runs = experiment(8, 0.5)
    runs["tags"] = [tags | {"planned_with": "p"} for tags in runs["tags"]]
    extra = experiment(8, 0.5)
    extra["tags"] = [tags | {"planned_with": "q", "seed": tags["seed"]} for tags in extra["tags"]]
    extra["planner"] = "Q"
    runs = pd.concat([runs, extra], ignore_index=True)
    runs.loc[1, ["planner", "sla"]] = None
    matched = by_switch(runs)
    assert matched.pairs == 16
    assert "planner" not in matched.held_equal


def test_lost_runs_rank_last_where_they_are_not_left_out() -> None:
    """Nine pairs at half the time, of which four lost the other run: with those ranked last the fifth ratio of nine is still .5,
    with five lost it is infinite."""
    runs = experiment(9, 0.5)
    for gone, expected in ((4, 0.5), (5, math.inf)):
        runs["is_complete"] = [not (tags["switch"] == "on" and int(tags["seed"]) < gone) for tags in runs["tags"]]
        found = compare(by_switch(runs), "makespan_ms", lost_rank_last=True)
        assert found.ratio is not None
        assert round(found.ratio.value, 9) == expected
        assert (found.n, found.incomplete) == (9, gone)


def test_without_pairs_runs_are_compared_within_workflow_memory_and_environment() -> None:
    generator = np.random.default_rng(1)
    rows = [
        run(
            place,
            workflow=f"w{place % 2}",
            environment=f"e{place % 3}",
            makespan_ms=10.0 ** (place % 2) * (0.5 if place % 5 == 0 else 1) * math.exp(generator.normal(0, 0.05)),
            tags={"switch": "on" if place % 5 == 0 else "off"},
        )
        for place in range(120)
    ]
    matched = by_switch(pd.DataFrame(rows))
    assert matched.way == "stratified"
    assert {"workflow", "memory_mb", "environment"} <= set(matched.held_equal)
    found = compare(matched, "makespan_ms")
    assert found.ratio is not None and found.ratio.decision == "lower"
    assert abs(found.ratio.value - 0.5) < 0.05


def test_what_differs_and_is_not_held_equal_is_named() -> None:
    runs = experiment(8, 0.5)
    runs["memory_mb"] = [2048 if tags["switch"] == "off" else 1024 for tags in runs["tags"]]
    assert "memory_mb" in by_switch(runs).free


def test_runs_without_anything_in_common_are_not_compared() -> None:
    rows = [run(n, workflow=f"w{n}", tags={"switch": "on" if n % 2 else "off"}) for n in range(40)]
    matched = by_switch(pd.DataFrame(rows))
    assert compare(matched, "makespan_ms").ratio is None
    assert lost(matched) == []


def test_several_groups_are_compared_at_once_with_wider_intervals() -> None:
    runs = pd.concat([experiment(30, 0.97)] * 1, ignore_index=True)
    generator = np.random.default_rng(2)
    runs["makespan_ms"] *= np.exp(generator.normal(0, 0.1, len(runs)))
    third = runs[[tags["switch"] == "on" for tags in runs["tags"]]].copy()
    third["tags"] = [tags | {"switch": "third"} for tags in third["tags"]]
    runs = pd.concat([runs, third], ignore_index=True)
    groups = grouped(runs, "switch", is_tag=True)
    (alone,) = compare_groups(runs, groups, "off", ["on"], "switch", "makespan_ms")
    both = compare_groups(runs, groups, "off", ["on", "third"], "switch", "makespan_ms")
    assert alone.chosen.ratio is not None and both[0].chosen.ratio is not None
    assert both[0].chosen.ratio.low <= alone.chosen.ratio.low
    assert both[0].chosen.ratio.high >= alone.chosen.ratio.high
    assert "95 % interval" in alone.sentence and "97.5 % interval" in both[0].sentence


def test_the_recorded_experiments_pair_by_seed(sample_home: Home) -> None:
    """Series B was recorded with the same 48 seeds under each setting: every one of them finds its counterpart."""
    with open_current(sample_home) as reader:
        runs = of_reader(reader).frame(RUNS)
        paired = reader.rows("""
            select median(ln(b.makespan_ms / a.makespan_ms)), count(*)
            from run_summary as a inner join run_summary as b
                on a.tags['seed'] = b.tags['seed'] and a.tags['scale'] = b.tags['scale'] and a.workflow = b.workflow
            where a.tags['launch'] = 'normal' and b.tags['launch'] = 'fast' and a.tags['taskdup'] = 'off'
                and a.tags['task_limit'] = '6' and a.tags['baseline_memory_mb'] = '2048' and a.is_complete and b.is_complete
        """)
    for tag, reference, other in (
        ("taskdup", "on", "off"),
        ("task_limit", "none", "6"),
        ("baseline_memory_mb", "2048", "1024"),
        ("launch", "normal", "fast"),
    ):
        matched = match(runs, tag_values(runs, tag), reference, other, tag)
        assert (matched.way, matched.pairs) == ("paired", 48), tag
    found = compare(match(runs, tag_values(runs, "launch"), "normal", "fast", "launch"), "makespan_ms")
    assert found.ratio is not None
    assert found.n == paired[0][1]
    assert math.isclose(found.ratio.value, math.exp(paired[0][0]), rel_tol=1e-9)


def test_runs_that_do_not_say_what_they_did_are_laid_beside_nothing() -> None:
    """Requests of a log that names no function: two of them may be of two functions."""
    runs = pd.DataFrame([run(n % 2, memory_mb=size, tags={}) for n in range(20) for size in (512, 1024)])
    groups = runs["memory_mb"]
    assert len(match(runs, groups, 512, 1024, "memory_mb").blocks) == 40
    nameless = match(runs.assign(workflow=None, structure_hash=None), groups, 512, 1024, "memory_mb")
    assert (len(nameless.blocks), nameless.unmatched) == (0, 40)
    half = runs.assign(workflow=runs["workflow"].where(runs.index < 20), structure_hash=None)
    assert match(half, groups, 512, 1024, "memory_mb").unmatched == 20

"""What may be changed: how it is read, what a scenario is called, and where a change leaves the data."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.simulation.behaviour import Behaviour, measure
from predictors.simulation.changes import KEYS, REPORTED, BadChange, Changes, read_changes
from predictors.simulation.knowledge import Knowledge, warnings
from predictors.simulation.memory import Effect, MemoryEffects
from tests.predictors.simulation.fans import fan


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ([], "recorded"),
        (["sla=90"], "sla=p90"),
        (["sla=P90"], "sla=p90"),
        (["sla=p100"], "sla=p100"),
        (["sla=Average"], "sla=average"),
        (["memory=1024.0"], "memory=1024"),
        (["memory=1e3"], "memory=1000"),
        (["memory=1234567"], "memory=1234567"),
        ([" memory = 1024 "], "memory=1024"),
        (["keep_alive_s=0.5"], "keep_alive_s=0.5"),
        (["worker.task_limit=none"], "worker.task_limit=none"),
        (["max_workers=15"], "max_workers=15"),
        (["planner=Uniform"], "planner=uniform"),
        (["planner=UniformPlanner-opt"], "planner=UniformPlanner-opt"),
        (["planner=a=b"], "planner=a=b"),
        (["sla=p50", "memory=512", "optimization.preload=off"], "optimization.preload=off, memory=512, sla=p50"),
    ],
)
def test_a_scenario_has_one_name_however_it_is_written(settings: list[str], name: str) -> None:
    assert read_changes(settings).name == name


def test_the_order_of_settings_makes_no_difference() -> None:
    settings = ["reuse=any", "memory=512", "startup_factor=2"]
    assert read_changes(settings) == read_changes(settings[::-1])


NUMBERS = st.floats(0, 1e9, exclude_min=True, exclude_max=True)
LIMITS = st.integers(1, 999_999_999)


@given(st.fixed_dictionaries({}, optional={
    "memory": NUMBERS, "keep_alive_s": NUMBERS, "startup_factor": NUMBERS, "worker.task_limit": LIMITS, "max_workers": LIMITS,
    "sla": st.integers(1, 100), "optimization.preload": st.sampled_from(["on", "off"]),
}))  # fmt: skip
def test_the_name_of_a_scenario_reads_back_as_the_scenario(values: dict[str, Any]) -> None:
    changes = read_changes([f"{key}={value!r}".replace("'", "") for key, value in values.items()])
    again = read_changes(changes.name.split(", ") if changes else [])
    assert again == changes
    assert all(changes.get(key) == value for key, value in values.items() if isinstance(value, float))


def test_every_example_of_every_key_is_understood() -> None:
    for key, what in KEYS.items():
        for example in what.examples:
            assert read_changes([f"{key}={example}"]).name == f"{key}={example}"


def test_no_limit_is_an_infinite_one_and_what_is_not_changed_is_as_otherwise() -> None:
    changes = read_changes(["worker.task_limit=none"])
    assert changes.get("worker.task_limit") == math.inf
    assert (changes.get("memory"), changes.get("memory", 3)) == (None, 3)
    assert changes
    assert not Changes()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["memroy=512"], "'memroy=512' changes nothing that is known. Hint: did you mean memory=1024?"),
        (["optimisation.preload=on"], "did you mean optimization.preload=off?"),
        (["qqq=1"], "Hint: --set KEY=VALUE with one of optimization.preload, "),
        (["memory"], "'memory' changes nothing that is known"),
        (["=1024"], "changes nothing that is known"),
        ([""], "changes nothing that is known"),
        (["memory=512", "memory=1024"], "memory is set twice. Hint: one value for each scenario."),
        (["memory="], "memory cannot be ''. Hint: a number above 0, such as memory=1024."),
        (["memory=much"], "a number above 0"),
        (["memory=0"], "a number above 0"),
        (["memory=-1"], "a number above 0"),
        (["memory=nan"], "a number above 0"),
        (["memory=inf"], "a number above 0"),
        (["memory=1e9"], "a number above 0"),
        (["worker.task_limit=1.5"], "a whole number above 0, or none"),
        (["worker.task_limit=0"], "a whole number above 0, or none"),
        (["max_workers=1234567890"], "a whole number above 0, or none"),
        (["sla=p0"], "average, or a percentile such as p90"),
        (["sla=p101"], "average, or a percentile such as p90"),
        (["sla=mean"], "average, or a percentile such as p90"),
        (["optimization.preload=perhaps"], "one of on, off"),
        (["optimization.prewarm=on"], "one of perfect, off"),
        (["reuse=most recent"], "one of most-recent, least-recent, any"),
        (["planner= "], "uniform, wukong, non-uniform, or a planner's recorded name"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_one_sentence_that_says_what_would_be(settings: list[str], sentence: str) -> None:
    with pytest.raises(BadChange) as refused:
        read_changes(settings)
    assert sentence in str(refused.value)
    assert "Hint: " in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_scenarios_of_the_report_begin_with_the_replay_and_each_of_the_others_changes_one_thing() -> None:
    assert [len(changes.values) for changes in REPORTED] == [0, *[1] * (len(REPORTED) - 1)]
    assert len({changes.name for changes in REPORTED}) == len(REPORTED)


# where a change leaves the data

KNOWN = Knowledge(
    Behaviour.learn(measure([]), np.zeros(0, dtype=bool)),
    MemoryEffects({
        "": Effect(-0.5, 0.04, 512, 2048), "cut": Effect(-0.9, 0.1, 512, 2048), "work": Effect(-0.5, 0.04, 1024, 1024),
        "check": Effect(-0.5, 0.1, 1024, 2048), "join": Effect(-0.5, 0.1, 512, 4096),
    }),
    {("hand", "here"): (7000.0, 0.0)},
    most_at_once=3,
)  # fmt: skip


def warned(*settings: str, **more: Any) -> list[str]:
    return warnings(fan(2, **more), read_changes(settings), KNOWN)


def test_a_plain_replay_leaves_nothing() -> None:
    assert warned() == []


def test_memory_beyond_what_a_function_was_seen_at_is_told_by_function() -> None:
    assert warned("memory=4096")[:3] == [
        "cut was never seen at 4096 MB, only at 512 to 2048",
        "what memory does to work is not known: it was seen at one size only",
        "check was never seen at 4096 MB, only at 1024 to 2048",
    ]
    assert [each.split()[0] for each in warned("memory=2048")] == ["what", "execution"]


def test_how_surely_the_effect_of_memory_is_known_is_told_and_that_nobody_is_killed() -> None:
    assert any("power -0.50 (standard error 0.04" in each for each in warned("memory=2048"))
    killed = "that less memory may kill a worker is not simulated"
    assert killed in warned("memory=1023")
    assert killed not in warned("memory=1024")


@pytest.mark.parametrize(
    ("setting", "part", "is_warned"),
    [
        ("worker.task_limit=3", "no worker was seen to run more than 3 tasks at once: this limit never binds", True),
        ("worker.task_limit=none", "this limit never binds", True),
        ("worker.task_limit=2", "this limit never binds", False),
        ("optimization.preload=on", "what optimization.preload costs a worker that starts was never seen here", True),
        ("optimization.preload=off", "was never seen here", False),
        ("optimization.taskdup=on", "what optimization.taskdup costs a worker that starts was never seen here", True),
        ("startup_factor=0.2", "start-ups this different were never seen", True),
        ("startup_factor=0.25", "start-ups this different were never seen", False),
        ("startup_factor=4", "start-ups this different were never seen", False),
        ("startup_factor=4.1", "start-ups this different were never seen", True),
    ],
)
def test_a_change_that_leaves_what_was_seen_says_in_what(setting: str, part: str, is_warned: bool) -> None:
    assert any(part in each for each in warned(setting)) == is_warned


def test_what_is_set_up_for_pre_loads_counts_where_it_was_seen() -> None:
    """For an await 15 ms, a pre-load 20 and a duplicate 0, beyond 10 for each worker."""
    seen = replace(KNOWN.behaviour, setup={"": (10.0, 15.0, 20.0, 0.0), "here": (10.0, 15.0, 20.0, 0.0)})
    known = replace(KNOWN, behaviour=seen)
    assert warnings(fan(2), read_changes(["optimization.preload=on"]), known) == []
    assert warnings(fan(2), read_changes(["optimization.taskdup=on"]), known) != []


def test_where_nobody_knows_for_how_long_containers_stay_warm_that_is_told_unless_it_is_set() -> None:
    cold = "for how long containers stay warm is not known here: every start counts as cold, pre-warmed ones too"
    assert warned(environment="there") == [cold]
    assert warned("keep_alive_s=60", environment="there") == []

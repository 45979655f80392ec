"""Boosted trees: they follow physics wherever they are asked, and few or odd rows leave them sane."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors.boosted import SLOPES, Chance, Median
from predictors.model_files import as_bytes
from predictors.targets import DOWNLOAD, EXECUTION, STARTUP, UPLOAD, Target

NAN = np.nan


def rows(count: int, target: Target = EXECUTION, **columns: Any) -> pd.DataFrame:
    """Rows of a target, all alike but for the columns given; what a function lately took is told as e^5 ms."""
    table: dict[str, Any] = dict.fromkeys(("function", "workflow", "environment", "planner", "kind"), "x")
    table |= dict.fromkeys((*target.numbers, "memory_mb"), 1.0)
    for recent in target.recents:
        table |= {recent.name: 5.0, f"{recent.name}_runs": 3.0}
    return pd.DataFrame({**table, **columns}, index=range(count))


@cache
def learned() -> Median:
    """The median of three functions whose times are planted: `a` + 0.9 * log size - 0.6 * log2 memory, and noise."""
    random = np.random.default_rng(0)
    count = 600
    size, memory = random.uniform(8, 14, count), random.choice([9.0, 10.0, 11.0], count)
    function = random.choice(["f", "g", "h"], count)
    took = np.where(function == "f", 2.0, -1.0) + 0.9 * size - 0.6 * memory + random.normal(0, 0.1, count)
    table = rows(count, function=function, log_inputs=size, log_memory=memory, function_size=11.0, function_took=6.0)
    return Median(EXECUTION, 0).fit(table, took)


def asked(**columns: Any) -> Any:
    count = max(np.size(value) for value in columns.values())
    return learned().predict(rows(count, function_size=11.0, function_took=6.0, **columns))


def test_a_planted_law_is_learned() -> None:
    found = asked(function="f", log_inputs=np.array([9.0, 11.0, 13.0]), log_memory=10.0)
    assert found == pytest.approx(2 + 0.9 * np.array([9, 11, 13]) - 6, abs=0.35)


DIP = 0.4
"""How far (logarithm) a prediction may fall short of monotony: scikit-learn chooses splits that keep it, but with this
loss then sets leaves to medians of their rows, which need not."""
odd = st.one_of(st.floats(-5, 60), st.just(NAN))


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["f", "g", "h", "unseen", None, "a\x1fb", "x" * 1000]),
    st.lists(st.floats(0, 60), min_size=2, max_size=12),
    odd,
    odd,
    st.fixed_dictionaries({}, optional=dict.fromkeys(("log_output", "width", "function_rate", "function_took"), odd)),
)
def test_more_bytes_never_take_less_but_for_a_dip(
    function: str | None, sizes: list[float], memory: float, usual: float, others: dict[str, float]
) -> None:
    table = rows(len(sizes), function=function, log_inputs=np.sort(sizes), log_memory=memory, **others)
    found = learned().predict(table.assign(function_size=usual))
    assert np.isfinite(found).all()
    assert (found >= np.maximum.accumulate(found) - DIP).all()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["f", "unseen"]), st.lists(st.floats(0, 20), min_size=2, max_size=12), st.floats(0, 40))
def test_more_memory_never_makes_an_execution_slower_but_for_a_dip(
    function: str, memories: list[float], size: float
) -> None:
    found = asked(function=function, log_memory=np.sort(memories), log_inputs=size)
    assert (found <= np.minimum.accumulate(found) + DIP).all()


def test_beyond_the_largest_size_it_grows_by_a_guarded_slope() -> None:
    largest = 14.0
    far = largest + np.log(1e6)
    for function in ("f", "unseen"):
        at, beyond, further = asked(function=function, log_inputs=np.array([largest, far, far + 1]), log_memory=10.0)
        assert SLOPES[0] <= (beyond - at) / np.log(1e6) <= SLOPES[1]
        assert further - beyond == pytest.approx(0.9, abs=0.1)
        assert np.isfinite(beyond)


@pytest.mark.parametrize("slope", [30.0, -30.0])
def test_a_steep_fit_on_sizes_that_hardly_vary_does_not_explode(slope: float) -> None:
    size = 10 + np.random.default_rng(0).normal(0, 1e-6, 100)
    table = rows(100, log_inputs=size)
    model = Median(EXECUTION, 0).fit(table, 5 + slope * (size - 10) * 1e6)
    found = model.predict(rows(2, log_inputs=np.array([10.0, 24.0])))
    assert np.isfinite(found).all()
    assert found[1] - found[0] <= SLOPES[1] * 14 + 60  # what it learned within, and the slope beyond


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("constant size", {"log_inputs": 7.0}),
        ("no size known", {"log_inputs": NAN}),
        ("some sizes unknown", {"log_inputs": np.where(np.arange(80) % 2, NAN, np.arange(80) / 8)}),
        ("no memory", {"log_memory": NAN, "memory_mb": 0.0}),
        ("nothing known", dict.fromkeys((*EXECUTION.numbers, "function_took", "function_size"), NAN)),
        ("no names", dict.fromkeys(("function", "workflow", "environment", "planner", "kind"))),
        ("some names", {"function": ["f", None] * 40, "planner": [None, ""] * 40}),
        ("many functions", {"function": [f"f{number}" for number in range(80)]}),
    ],
)
@pytest.mark.parametrize("count", [0, 1, 39, 80])
def test_odd_rows_are_learned_and_answered(name: str, columns: dict[str, Any], count: int) -> None:
    table = rows(80, **columns).iloc[:count]
    model = Median(EXECUTION, 0).fit(table, np.full(count, 5.0))
    usual = rows(3, function=["f", "unseen", None], log_inputs=[3.0, NAN, 50.0], function_took=[5.0, NAN, 5.0])
    found = model.predict(usual)
    assert np.isfinite(found).all()
    assert np.isfinite(model.predict(rows(80, **columns))).all()
    if count:
        assert found[0] == pytest.approx(5, abs=0.5)


def test_uploads_without_a_known_output_do_not_spoil_the_others() -> None:
    size = np.where(np.arange(120) % 3 == 0, NAN, np.random.default_rng(0).uniform(5, 15, 120))
    model = Median(UPLOAD, 0).fit(rows(120, UPLOAD, log_output=size), np.nan_to_num(size, nan=9.0))
    found = model.predict(rows(3, UPLOAD, log_output=[6.0, NAN, 14.0]))
    assert np.isfinite(found).all()
    assert found[0] < found[2]
    assert model.slope == pytest.approx(0.85, abs=0.15)


def test_few_rows_answer_with_what_lately_was_and_something_unseen_with_what_is_usual() -> None:
    model = Median(EXECUTION, 0).fit(rows(9), np.arange(9.0))
    assert model.trees is None
    assert model.predict(rows(2, function_took=[7.0, NAN])).tolist() == [7, 4]


@pytest.mark.parametrize("target", [EXECUTION, DOWNLOAD, UPLOAD, STARTUP])
def test_the_same_rows_and_seed_give_the_same_model_to_the_byte(target: Target) -> None:
    random = np.random.default_rng(0)
    table = rows(200, target, function=random.choice(["f", "g"], 200), log_memory=random.uniform(8, 12, 200))
    took = random.normal(5, 1, 200)
    first, second = (as_bytes(Median(target, 7).fit(table.copy(), took.copy())) for _ in range(2))
    assert first == second
    chances = [as_bytes(Chance(["function"], list(target.numbers), 7).fit(table.copy(), took > 5)) for _ in range(2)]
    assert chances[0] == chances[1]


def test_doubled_rows_say_what_they_said_once() -> None:
    random = np.random.default_rng(0)
    size = random.uniform(5, 15, 300)
    once = Median(EXECUTION, 0).fit(rows(300, log_inputs=size), size)
    twice = Median(EXECUTION, 0).fit(rows(600, log_inputs=np.tile(size, 2)), np.tile(size, 2))
    table = rows(5, log_inputs=[5.0, 8.0, 10.0, 12.0, 15.0])
    assert once.predict(table) == pytest.approx(twice.predict(table), abs=0.4)


def test_only_what_is_named_is_looked_at() -> None:
    table = rows(200, log_inputs=np.random.default_rng(0).uniform(5, 15, 200))
    took = np.random.default_rng(1).normal(5, 2, 200)
    plain = Median(EXECUTION, 0).fit(table, took)
    told = Median(EXECUTION, 0).fit(table.assign(execution_ms=np.exp(took), answer=took), took)
    assert as_bytes(plain) == as_bytes(told)


# chances


@pytest.mark.parametrize(("happened", "expected"), [([], 0.5), ([True] * 8, 0.9), ([False] * 200, 1 / 202)])
def test_without_both_outcomes_a_chance_is_what_laplace_said(happened: list[bool], expected: float) -> None:
    chance = Chance(["function"], ["log_memory"], 0).fit(rows(len(happened)), np.array(happened, dtype=bool))
    assert chance.predict(rows(2)) == pytest.approx([expected] * 2)


def test_a_planted_chance_is_learned_and_stays_one() -> None:
    random = np.random.default_rng(0)
    memory = random.uniform(0, 1, 2000)
    chance = Chance(["function"], ["log_memory", "width"], 0).fit(
        rows(2000, log_memory=memory, width=NAN), random.random(2000) < memory
    )
    found = chance.predict(rows(5, log_memory=[0.1, 0.5, 0.9, NAN, 1e9]))
    assert found[:3] == pytest.approx([0.1, 0.5, 0.9], abs=0.15)
    assert ((found >= 0) & (found <= 1)).all()

"""Output sizes: planted ones are found again, by workflow and function, and the latest count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors.sizes import OutputSize


def rows(count: int, function: Any = "f", workflow: Any = "w") -> pd.DataFrame:
    return pd.DataFrame({"workflow": workflow, "function": function}, index=range(count))


def learned(inputs: Any, outputs: Any, **names: Any) -> OutputSize:
    inputs, outputs = np.asarray(inputs, dtype="float64"), np.asarray(outputs, dtype="float64")
    return OutputSize().fit(rows(len(inputs), **names), np.log1p(inputs), np.log1p(outputs))


def foreseen(model: OutputSize, inputs: Any, **names: Any) -> Any:
    inputs = np.atleast_1d(np.asarray(inputs, dtype="float64"))
    return np.expm1(model.predict(rows(len(inputs), **names), np.log1p(inputs)))


def test_a_share_of_the_input_is_found_within_and_beyond_the_sizes_seen() -> None:
    inputs = np.random.default_rng(0).uniform(1e4, 1e7, 60)
    model = learned(inputs, inputs / 5)
    asked = np.array([2e4, 3.3e5, 9e6, 1e9])
    assert foreseen(model, asked) == pytest.approx(asked / 5, rel=0.01)


def test_a_constant_output_is_found_whatever_comes_in() -> None:
    model = learned(np.random.default_rng(0).uniform(1e4, 1e7, 60), np.full(60, 1000))
    assert foreseen(model, [0, 5e4, 1e9]) == pytest.approx(1000, rel=1e-6)


def test_outputs_that_go_with_no_formula_are_those_of_the_nearest_inputs() -> None:
    model = learned([100, 1000, 10_000] * 9, [5, 70, 6] * 9)
    assert foreseen(model, [100, 1000, 10_000]) == pytest.approx([5, 70, 6], rel=0.01)


def test_of_one_input_size_the_latest_outputs_count() -> None:
    model = learned(np.full(40, 1e5), [10] * 30 + [99] * 10)
    assert foreseen(model, 1e5) == pytest.approx(99)


def test_the_workflow_counts_before_the_function_and_the_function_before_all() -> None:
    model = learned([100] * 18, [1] * 6 + [50] * 6 + [7] * 6, function=["f"] * 12 + [None] * 6, workflow=["a"] * 6 + ["b"] * 12)  # fmt: skip
    assert foreseen(model, 100, workflow="a") == pytest.approx(1)
    assert foreseen(model, 100, workflow="b") == pytest.approx(50)
    assert foreseen(model, 100, workflow="c") == pytest.approx(50)  # the latest of that function
    assert foreseen(model, 100, workflow="a", function=None) == pytest.approx(7)
    assert foreseen(model, 100, function="unseen") == pytest.approx(7)  # the latest of all


def test_with_no_sample_at_all_the_output_is_as_large_as_the_input() -> None:
    assert foreseen(learned([], []), [0, 5, 1e6]) == pytest.approx([0, 5, 1e6])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1e12), st.floats(0, 1e12)), min_size=1, max_size=12),
    st.lists(st.floats(0, 1e15), min_size=1, max_size=5),
)
def test_whatever_was_seen_sizes_are_finite_and_not_negative(
    samples: list[tuple[float, float]], asked: list[float]
) -> None:
    found = foreseen(learned(*zip(*samples, strict=True)), asked)
    assert np.isfinite(found).all()
    assert (found >= 0).all()

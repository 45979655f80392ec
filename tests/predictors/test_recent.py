"""Statistics of history: the same as a slow loop gives that looks at one row and all earlier runs at a time."""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors.recent import Recent, as_of_submission, at_the_end, keys_of, looked_up

NAMES = st.sampled_from(["f", "g", "", None, "two\nlines"])


def at(seconds: list[int]) -> Any:
    return np.datetime64("2026-01-01", "us") + np.array(seconds) * np.timedelta64(1, "s")


@st.composite
def histories(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame, Recent]:
    """Runs that may overlap, their rows, and a statistic of them."""
    submitted = sorted(draw(st.lists(st.integers(0, 20), min_size=1, max_size=8)))
    takes = draw(st.lists(st.integers(1, 15), min_size=len(submitted), max_size=len(submitted)))
    known = [start + took for start, took in zip(submitted, takes, strict=True)]
    runs = pd.DataFrame({"submitted_at": at(submitted), "known_at": at(known)})
    of_row = st.tuples(
        st.integers(0, len(submitted) - 1), NAMES, st.sampled_from([512.0, np.nan]), st.sampled_from([np.nan, 1.0, 2.5, -7.0])
    )  # fmt: skip
    rows = sorted(draw(st.lists(of_row, max_size=20)), key=lambda row: row[0])
    table = pd.DataFrame(rows, columns=["run", "function", "memory_mb", "value"]).astype(
        {"run": "int64", "memory_mb": "float64", "value": "float64"}
    )
    by = draw(st.sampled_from([("function",), ("function", "memory_mb")]))
    return table, runs, Recent("r", by, "value", draw(st.sampled_from([1.0, 4.0])))


def by_hand(table: pd.DataFrame, runs: pd.DataFrame, recent: Recent, key: str, now: Any) -> tuple[float, int]:
    """The mean of medians of the runs known by now, each half as heavy as another `half_life` runs later."""
    keys = keys_of(table, recent.by)
    order = sorted(range(len(runs)), key=lambda run: (runs["known_at"].iloc[run], run))
    medians = []
    for run in order:
        own = table[(table["run"] == run) & (keys == key)]["value"].dropna().tolist()
        if own and (now is None or runs["known_at"].iloc[run] <= now):
            medians.append(median(own))
    weights = [0.5 ** ((len(medians) - 1 - place) / recent.half_life) for place in range(len(medians))]
    total = sum(weight * value for weight, value in zip(weights, medians, strict=True))
    return (total / sum(weights) if medians else np.nan), len(medians)


@settings(max_examples=60, deadline=None)
@given(histories())
def test_as_of_submission_is_what_a_loop_over_earlier_runs_gives(
    history: tuple[pd.DataFrame, pd.DataFrame, Recent],
) -> None:
    table, runs, recent = history
    found = as_of_submission(table, table["value"], recent, runs)
    expected = [
        by_hand(table, runs, recent, key, runs["submitted_at"].iloc[run])
        for key, run in zip(keys_of(table, recent.by), table["run"], strict=True)
    ]
    assert found["r"].tolist() == pytest.approx([mean for mean, _ in expected], nan_ok=True)
    assert found["r_runs"].tolist() == [count for _, count in expected]


@settings(max_examples=60, deadline=None)
@given(histories())
def test_at_the_end_is_what_a_run_submitted_after_all_would_see(
    history: tuple[pd.DataFrame, pd.DataFrame, Recent],
) -> None:
    table, runs, recent = history
    found = looked_up(table, recent, at_the_end(table, table["value"], recent, runs))
    later = pd.concat([runs, pd.DataFrame({"submitted_at": at([1000]), "known_at": at([1001])})], ignore_index=True)
    asked = table.assign(run=len(runs))
    pd.testing.assert_frame_equal(found, as_of_submission(table, table["value"], recent, later, asked))


def test_no_rows_say_nothing() -> None:
    runs = pd.DataFrame({"submitted_at": at([0]), "known_at": at([1])})
    none = pd.DataFrame({"run": np.empty(0, dtype="int64"), "function": [], "value": np.empty(0)})
    recent = Recent("r", ("function",), "value", 1)
    asked = pd.DataFrame({"run": [0], "function": ["f"]})
    assert as_of_submission(none, none["value"], recent, runs, asked)["r_runs"].tolist() == [0]
    state = at_the_end(none, none["value"], recent, runs)
    assert looked_up(asked, recent, state)["r"].isna().all()

"""Calibration: planted noise is covered as promised, steady or drifting; first guesses are wide and become sharp."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors.calibration import FARTHEST, NEW, Calibrator

NOMINAL = np.array([0.5, 0.75, 0.9])


def names(*texts: str) -> Any:
    return np.array(texts, dtype=object)


def offsets(calibrator: Calibrator, group: str = "p", key: str = "f") -> Any:
    scale = calibrator.scale(names(key))
    return calibrator.offsets(names(group), names(group), scale, NOMINAL[None], NOMINAL)[0]


def play(calibrator: Calibrator, residuals: Any, group: str = "p", key: str = "f") -> Any:
    """Predict and learn run by run; return which of each run's residuals each quantile covered."""
    covered = []
    for run in residuals:
        rows = len(run)
        groups, keys = np.full(rows, group, dtype=object), np.full(rows, key, dtype=object)
        scale = calibrator.scale(keys)
        said = calibrator.offsets(groups, groups, scale, np.tile(NOMINAL, (rows, 1)), NOMINAL)
        kept = run[:, None] <= said
        covered.append(kept.mean(axis=0))
        calibrator.learn(groups, keys, scale, run)
        for place, level in enumerate(NOMINAL):
            calibrator.move(group, float(level), kept[:, place])
    return np.array(covered)


@pytest.mark.parametrize("noise", [0.05, 0.5])
@pytest.mark.parametrize("seed", [0, 1])
def test_steady_noise_is_covered_as_promised(noise: float, seed: int) -> None:
    residuals = np.random.default_rng(seed).normal(0, noise, (300, 4))
    assert play(Calibrator(), residuals)[30:].mean(axis=0) == pytest.approx(NOMINAL, abs=0.03)


def test_noise_that_doubles_and_a_bias_that_comes_midway_are_followed() -> None:
    random = np.random.default_rng(3)
    wider = np.concatenate([random.normal(0, 0.2, (200, 4)), random.normal(0, 0.4, (200, 4))])
    slower = np.concatenate([random.normal(0, 0.2, (200, 4)), random.normal(0.3, 0.2, (200, 4))])
    for residuals in (wider, slower):
        covered = play(Calibrator(), residuals)
        assert covered[200:].mean(axis=0) == pytest.approx(NOMINAL, abs=0.05)
        assert covered[300:].mean(axis=0) == pytest.approx(NOMINAL, abs=0.04)


def test_runs_whose_rows_err_together_are_covered_too() -> None:
    random = np.random.default_rng(4)
    residuals = random.normal(0, 0.3, (400, 1)) + random.normal(0, 0.05, (400, 5))
    assert play(Calibrator(), residuals)[100:].mean(axis=0) == pytest.approx(NOMINAL, abs=0.05)


def test_first_guesses_are_wide_and_do_not_close_on_the_first_residual() -> None:
    calibrator = Calibrator()
    assert offsets(calibrator)[2] == pytest.approx(1.6, abs=0.1)
    widths = []
    for _ in range(30):
        play(calibrator, np.full((1, 1), 0.01))
        widths.append(offsets(calibrator)[2] - offsets(calibrator)[0])
    assert widths[0] > 0.3
    assert widths[-1] < 0.02


def test_what_is_new_is_answered_wide_while_others_are_sharp_and_teaches_only_itself() -> None:
    calibrator = Calibrator()
    play(calibrator, np.random.default_rng(0).normal(0, 0.05, (100, 3)))
    known, new = offsets(calibrator), offsets(calibrator, NEW, NEW)
    assert (new[2] - new[0]) > 8 * (known[2] - known[0])
    for _ in range(50):
        groups = names(NEW, NEW)
        calibrator.learn(groups, groups, calibrator.scale(groups), np.array([2.0, -2.0]))
    assert offsets(calibrator) == pytest.approx(known)
    assert offsets(calibrator, NEW, NEW)[2] > 1.5


def test_a_group_is_not_told_apart_from_all_by_having_no_name() -> None:
    # A planner that nobody names is a group as any other: its residuals count once.
    named, nameless = Calibrator(), Calibrator()
    residuals = np.random.default_rng(5).normal(0, 0.3, (60, 2))
    play(named, residuals, "p", "f")
    play(nameless, residuals, "", "")
    assert offsets(nameless, "", "") == pytest.approx(offsets(named))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.floats(-50, 50), min_size=1, max_size=3), max_size=12),
    st.sampled_from([("p", "f"), ("q", "g"), (NEW, NEW), ("", "")]),
)
def test_however_few_and_odd_residuals_are_quantiles_are_finite_and_levels_stay_in_bounds(
    runs: list[list[float]], asked: tuple[str, str]
) -> None:
    calibrator = Calibrator(window=40, stand_in=10.0)
    play(calibrator, [np.array(run) for run in runs])
    said = offsets(calibrator, *asked)
    assert np.isfinite(said).all()
    assert all(abs(moved) <= FARTHEST for moved, *_ in calibrator.moved.values())
    # A level that was moved may pass its neighbour: whoever asks puts them in order (test_replay). Unmoved they are.
    calibrator.moved.clear()
    assert (np.diff(offsets(calibrator, *asked)) >= 0).all()


def test_levels_stay_in_bounds_when_everything_or_nothing_is_covered() -> None:
    for residual in (100.0, -100.0):
        calibrator = Calibrator()
        for _ in range(200):
            for level in NOMINAL:
                calibrator.move("p", float(level), np.array([residual < 0]))
        assert {abs(moved) for moved, *_ in calibrator.moved.values()} == {FARTHEST}
        assert np.isfinite(offsets(calibrator)).all()


def test_a_function_far_steadier_than_another_does_not_widen_it_beyond_all_errors_seen() -> None:
    calibrator = Calibrator()
    play(calibrator, np.full((60, 3), 0.001), key="steady")
    play(calibrator, np.full((60, 3), 2.0), key="wild")
    play(calibrator, np.full((3, 3), 4.0), key="steady")  # a thousand times its usual error, and twice the other's
    assert np.abs(offsets(calibrator, key="wild")).max() <= 4.0
    assert np.abs(offsets(calibrator, key="steady")).max() <= 4.0

"""How many pairs or runs would decide is what theory says where theory says it."""

from __future__ import annotations

from math import log, pi

import numpy as np
import pytest
from scipy import stats

from app.findings import power

BOUND = log(1.05)
Z = float(stats.norm.ppf(0.975) + stats.norm.ppf(0.8))


def normal(n: int, spread: float) -> power.Values:
    """Logarithms of ratios at the places where n of a normal distribution are expected."""
    return np.asarray(spread * stats.norm.ppf((np.arange(n) + 0.5) / n))


@pytest.mark.parametrize(("spread", "effect"), [(0.25, -0.1), (0.25, 0.15), (0.5, 0.2)])
def test_pairs_needed_to_show_a_difference_are_those_of_the_closed_form(spread: float, effect: float) -> None:
    """A mean of normal values takes ((z.975 + z.8) spread / effect)^2 pairs; a median, by which is decided, pi / 2 times as many."""
    expected = pi / 2 * (Z * spread / effect) ** 2
    found = power.needed(power.Pairs(normal(60, spread)), effect, BOUND, 0.95, 6)
    assert found == pytest.approx(expected, rel=0.25)


def test_pairs_needed_to_rule_out_5_percent_are_those_of_two_one_sided_tests() -> None:
    """Without a difference both ends must lie within: (z.975 + z.9), for one in ten fails at either."""
    expected = pi / 2 * ((stats.norm.ppf(0.975) + stats.norm.ppf(0.9)) * 0.2 / BOUND) ** 2
    found = power.needed(power.Pairs(normal(60, 0.2)), 0.0, BOUND, 0.95, 6)
    assert found == pytest.approx(expected, rel=0.25)


def test_pairs_recorded_by_chance_tell_it_within_a_factor_of_two() -> None:
    generator = np.random.default_rng(1)
    expected = pi / 2 * (Z * 0.25 / 0.1) ** 2
    found = [
        power.needed(power.Pairs(generator.normal(0, 0.25, 48)), 0.1, BOUND, 0.95, 6) or power.MOST_NEEDED
        for _ in range(40)
    ]
    assert np.median(found) == pytest.approx(expected, rel=0.25)
    assert np.mean([expected / 2 <= one <= 2 * expected for one in found]) >= 0.9


def test_runs_needed_in_strata_are_those_of_the_closed_form() -> None:
    """Two strata of 40 and 40 runs: a difference of two medians of n / 4 has pi / 2 (4 / n + 4 / n) s^2, their mean half of it."""
    expected = pi / 2 * 4 * (Z * 0.3 / 0.15) ** 2
    recorded = power.Strata(tuple((normal(40, 0.3), 5 + normal(40, 0.3)) for _ in range(2)), np.array([0.5, 0.5]))
    assert power.needed(recorded, 0.15, BOUND, 0.95, 12) == pytest.approx(expected, rel=0.25)


def test_few_pairs_of_a_plain_difference_decide_as_soon_as_the_test_can() -> None:
    """Ratios of 2 without spread: six pairs are the fewest that reach 5 %, and eight the fewest that reach 1 %."""
    recorded = power.Pairs(np.full(6, log(2.0)))
    assert power.needed(recorded, log(2.0), BOUND, 0.95, 2) == 6
    assert power.needed(recorded, log(2.0), BOUND, 0.99, 2) == 8


def test_what_takes_more_than_anybody_runs_has_no_number() -> None:
    assert power.needed(power.Pairs(normal(20, 3.0)), 0.02, BOUND, 0.95, 21) is None
    assert power.losses_needed([(1, 1, 0, 1)] * 3 + [(0, 1, 1, 1)] * 3 + [(0, 1, 0, 1)] * 20, 0.95, paired=True) is None


def test_pairs_needed_to_show_losses_are_those_of_mcnemars_test() -> None:
    """One pair in ten loses the other run alone, one in forty the reference alone; with n pairs the share of repetitions that
    McNemar's exact test calls real is counted."""
    recorded = [(0, 1, 1, 1)] * 4 + [(1, 1, 0, 1)] + [(0, 1, 0, 1)] * 35
    found = power.losses_needed(recorded, 0.95, paired=True)
    assert found is not None
    drawn = np.random.default_rng(2).multinomial(found, [0.1, 0.025, 0.875], 2_000)
    p = 2 * stats.binom.cdf(drawn[:, :2].min(axis=1), drawn[:, :2].sum(axis=1), 0.5)
    assert 0.72 <= (p < 0.05).mean() <= 0.88


def test_runs_needed_to_show_losses_in_strata_are_those_of_the_closed_form() -> None:
    """10 % against 20 % in one stratum of equal sides, without the correction: (z.975 + z.8)^2 (.1 x .9 + .2 x .8) / .1^2 a side."""
    expected = 2 * Z**2 * (0.1 * 0.9 + 0.2 * 0.8) / 0.1**2
    found = power.losses_needed([(5, 50, 10, 50)], 0.95, paired=False)
    assert found == pytest.approx(expected, rel=0.25)

"""A difference is called real when it is there, and not when it is not."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from app.findings import power
from app.findings.statistics import (
    Interval,
    clustered_ratio,
    loss_test,
    median_interval,
    paired_ratio,
    share,
    stratified_ratio,
)

SEEDS = 200


def pairs(seed: int, effect: float, n: int = 40, strata: int = 4, spread: float = 0.25) -> pd.DataFrame:
    """Pairs of runs of several workflows: the times of workflows differ by orders of magnitude, the effect does not."""
    generator = np.random.default_rng(seed)
    stratum = generator.integers(0, strata, n)
    reference = np.exp(2 * stratum + generator.normal(0, 0.5, n))
    return pd.DataFrame(
        {
            "stratum": stratum,
            "reference": reference,
            "other": reference * effect * np.exp(spread * generator.standard_t(4, n)),
        }
    )


def groups(seed: int, effect: float, n: int = 120) -> pd.DataFrame:
    """Runs of two groups that do not pair, unevenly spread over three workflows."""
    generator = np.random.default_rng(seed)
    stratum = generator.integers(0, 3, n)
    is_other = generator.random(n) < 0.3 + 0.15 * stratum
    value = np.exp(2 * stratum + generator.normal(0, 0.3, n)) * np.where(is_other, effect, 1)
    return pd.DataFrame({"stratum": stratum, "is_other": is_other, "value": value})


def rate(compare: Callable[[int], Interval | None], decision: str) -> float:
    found = [compare(seed) for seed in range(SEEDS)]
    return sum(interval is not None and interval.decision == decision for interval in found) / SEEDS


@pytest.mark.parametrize("n", [6, 12, 40])
def test_an_absent_effect_of_pairs_is_rarely_called_real(n: int) -> None:
    wrong = [rate(lambda seed: paired_ratio(pairs(seed, 1, n)), decision) for decision in ("lower", "higher")]
    assert sum(wrong) <= 0.07


def test_a_planted_effect_of_pairs_is_found() -> None:
    assert rate(lambda seed: paired_ratio(pairs(seed, 0.8)), "lower") >= 0.9
    assert rate(lambda seed: paired_ratio(pairs(seed, 1.25)), "higher") >= 0.9


def test_an_absent_effect_between_groups_is_rarely_called_real() -> None:
    wrong = [rate(lambda seed: stratified_ratio(groups(seed, 1)), decision) for decision in ("lower", "higher")]
    assert sum(wrong) <= 0.07


def test_a_planted_effect_between_groups_is_found() -> None:
    assert rate(lambda seed: stratified_ratio(groups(seed, 0.75)), "lower") >= 0.8


def test_a_mix_of_workflows_that_differs_is_no_effect() -> None:
    """The other group runs the slow workflows more often: pooled medians would call it slower."""
    runs = groups(1, 1, 600)
    pooled = runs.groupby("is_other")["value"].median()
    assert pooled[True] / pooled[False] > 1.3
    found = stratified_ratio(runs)
    assert found is not None
    assert found.decision in ("undecided", "no difference")


def test_the_interval_of_pairs_holds_the_planted_ratio() -> None:
    held = [paired_ratio(pairs(seed, 0.9)) for seed in range(SEEDS)]
    assert sum(interval is not None and interval.low <= 0.9 <= interval.high for interval in held) / SEEDS >= 0.93


def test_equal_pairs_are_no_difference() -> None:
    same = pd.DataFrame({"stratum": ["a"] * 6, "reference": [1.0, 2, 3, 4, 5, 6], "other": [1.0, 2, 3, 4, 5, 6]})
    found = paired_ratio(same)
    assert found == Interval(1, 1, 1, 6)
    assert found.decision == "no difference"


def test_too_few_pairs_or_runs_are_not_compared() -> None:
    assert paired_ratio(pairs(1, 0.1, 5)) is None
    few = pd.DataFrame({"stratum": 1, "is_other": [False] * 5 + [True] * 20, "value": range(1, 26)})
    assert stratified_ratio(few) is None
    thin = pd.DataFrame({"stratum": [1, 1, 2, 2] * 5, "is_other": [False, True] * 10, "value": range(1, 21)})
    assert stratified_ratio(thin) is not None
    assert stratified_ratio(thin.assign(stratum=range(20))) is None


def test_a_run_that_never_ended_ranks_last() -> None:
    """Of seven pairs two were lost on one side: the median is that of the ordered ratios 1, 1, 1, 1.1, 1.1, inf, inf."""
    lost = pd.DataFrame(
        {
            "stratum": list("aaabbbc"),
            "reference": [1.0, 2, 3, 4, 5, 6, 7],
            "other": [1.1, inf, 3, 4.4, 5, inf, 7],
        }
    )
    found = paired_ratio(lost)
    assert found is not None
    assert (round(found.value, 9), found.high) == (1.1, inf)
    assert found.decision == "undecided"
    assert found.needed() is None


def test_a_ratio_of_which_nothing_was_recorded_does_not_tell_how_many_it_takes() -> None:
    assert Interval(0.9, 0.7, 1.1, 100).needed() is None


def needed(recorded: list[Interval | None], effect: float) -> int:
    """The median of what several recordings say is needed: one alone is off by chance."""
    found = [power.needed(one.recorded, log(effect), log(1.05), 0.95, 12) for one in recorded if one and one.recorded]
    return int(np.median([one for one in found if one]))


def test_with_as_many_pairs_as_needed_some_four_of_five_fresh_repetitions_decide() -> None:
    n = needed([paired_ratio(pairs(seed, 0.9, 100)) for seed in range(9)], 0.9)
    decided = rate(lambda seed: paired_ratio(pairs(1000 + seed, 0.9, n)), "lower")
    assert 0.7 <= decided <= 0.9


def test_with_as_many_runs_as_needed_some_four_of_five_fresh_repetitions_decide() -> None:
    n = needed([stratified_ratio(groups(seed, 0.85)) for seed in range(9)], 0.85)
    decided = rate(lambda seed: stratified_ratio(groups(1000 + seed, 0.85, n)), "lower")
    assert 0.7 <= decided <= 0.9


def test_a_decided_ratio_needs_no_more_runs() -> None:
    assert Interval(0.8, 0.7, 0.9, 50).needed() == 50


def test_shares_and_medians_are_those_of_scipy() -> None:
    found = share(5, 7)
    expected = stats.binomtest(5, 7).proportion_ci(method="wilson")
    assert found is not None
    assert (found.low, found.high) == (expected.low, expected.high)
    assert share(0, 0) is None
    middle = median_interval([3.0, 1, 2, 5, 4, 6, 7, 8])
    assert middle == Interval(4.5, 1, 8, 8)
    assert median_interval([1.0, 2, 3]) is None


def test_a_share_of_things_that_hang_together_is_as_sure_as_its_runs() -> None:
    """20 runs of 50 starts, each all cold or all warm: 1,000 independent starts would give an interval of +- .03."""
    cold = [50, 0] * 10
    found = clustered_ratio(cold, [50] * 20)
    assert found is not None
    assert found.value == 0.5
    assert found.high - found.low > 0.35
    assert clustered_ratio([1] * 5, [2] * 5) is None
    assert clustered_ratio([0] * 9, [0] * 9) is None


def test_losses_of_pairs_are_tested_by_mcnemars_test() -> None:
    """Five pairs lost the other run alone, one the reference alone, four both, ten neither: 2 (1 + 6) / 2^6."""
    pairs_lost = [(0, 1, 1, 1)] * 5 + [(1, 1, 0, 1)] + [(1, 1, 1, 1)] * 4 + [(0, 1, 0, 1)] * 10
    assert loss_test(pairs_lost) == pytest.approx(stats.binomtest(1, 6).pvalue) == pytest.approx(14 / 64)


def test_losses_of_one_stratum_are_tested_by_fishers_test() -> None:
    assert loss_test([(2, 20, 9, 25)]) == pytest.approx(stats.fisher_exact([[2, 18], [9, 16]]).pvalue)
    assert loss_test([]) == 1
    assert loss_test([(0, 5, 0, 5)]) == 1


def test_a_hard_workflow_that_one_group_ran_more_often_is_no_difference_in_losses() -> None:
    generator = np.random.default_rng(4)
    called = 0
    for _ in range(SEEDS):
        hard, easy = generator.binomial([10, 60], 0.5), generator.binomial([60, 10], 0.05)
        called += loss_test([(hard[0], 10, hard[1], 60), (easy[0], 60, easy[1], 10)]) < 0.05
    assert called / SEEDS <= 0.07


def test_more_repetitions_on_one_side_are_no_difference_in_losses() -> None:
    generator = np.random.default_rng(5)
    called = [
        loss_test(
            [(a, 3, b, 1) for a, b in zip(generator.binomial(3, 0.2, 40), generator.binomial(1, 0.2, 40), strict=True)]
        )
        < 0.05
        for _ in range(SEEDS)
    ]
    assert sum(called) / SEEDS <= 0.07


def test_a_stricter_level_takes_more_pairs() -> None:
    six = pairs(1, 0.5, 6)
    assert paired_ratio(six) is not None
    assert paired_ratio(six, 0.975) is None
    seven = paired_ratio(pairs(1, 0.5, 7), 0.975)
    assert seven is not None and np.isfinite([seven.low, seven.high]).all()


def test_a_difference_that_is_surely_small_is_no_difference() -> None:
    assert Interval(0.98, 0.97, 0.99, 90).decision == "no difference"


def test_the_same_data_gives_the_same_interval() -> None:
    assert paired_ratio(pairs(1, 0.9)) == paired_ratio(pairs(1, 0.9))
    assert stratified_ratio(groups(1, 0.9)) == stratified_ratio(groups(1, 0.9))

"""What memory does to execution is learnt from the same work at several memory sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from predictors.simulation.behaviour import CONTENTIONS, measure
from predictors.simulation.memory import Effect, MemoryEffects

NOTHING = measure([])
SIZES_MB = (512, 1024, 2048)


def executions(
    function: str, exponent: float, seed: int, *, count: int = 60, memories: Sequence[int] = SIZES_MB, noise: float = 0.3,
    memory_of_size: Mapping[str, int] | None = None, a_run: int = 1, luck: float = 0.0,
) -> pd.DataFrame:  # fmt: skip
    """Work that goes with memory ** exponent, and with the square of the size class: '1' to '3'.

    `a_run` executions make a run, all on one memory size if several, which share `luck`.
    """
    chance = np.random.default_rng(seed)
    sizes = chance.choice(["1", "2", "3"], count)
    megabytes = chance.choice(memories, count)
    if memory_of_size:
        megabytes = np.array([memory_of_size[size] for size in sizes])
    run = np.arange(count) // a_run
    if a_run > 1:
        megabytes = chance.choice(memories, count)[run]
    shared = luck * chance.normal(size=count)[run]
    work = (
        np.exp(shared)
        * 1000
        * sizes.astype(float) ** 2
        * (megabytes / 1024) ** exponent
        * np.exp(noise * chance.normal(size=count))
    )
    return pd.DataFrame(
        {"run": run, "function": function, "memory_mb": [f"{mb:g}" for mb in megabytes], "size": sizes, "0.0": work}
    )


def learned(*tables: pd.DataFrame, contention: float = 0.0) -> MemoryEffects:
    return MemoryEffects.learn(replace(NOTHING, executions=pd.concat(tables)), contention)


@pytest.mark.parametrize("exponent", [-1.0, -0.4, 0.0, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_a_planted_exponent_is_found_within_three_standard_errors(exponent: float, seed: int) -> None:
    found = learned(executions("f", exponent, seed, count=200)).of("f")
    assert abs(found.exponent - exponent) <= 3 * found.error
    assert found.error < 0.1
    assert (found.low_mb, found.high_mb) == (512, 2048)


def test_the_standard_error_is_how_far_off_it_is() -> None:
    """Of 200 worlds, as many as normal deviates are within one and within two standard errors (68 %, 95 %), but for chance."""
    found = [learned(executions("f", -0.7, seed)).of("f") for seed in range(200)]
    off = np.abs([(each.exponent + 0.7) / each.error for each in found])
    assert 0.58 <= np.mean(off <= 1) <= 0.78
    assert 0.91 <= np.mean(off <= 2) <= 0.99


def test_the_standard_error_knows_that_executions_of_one_run_share_its_luck() -> None:
    """Of 200 worlds of 40 runs of 15 executions 95 % are within two errors; errors as of 600 executions apart would hold half."""
    off = []
    for seed in range(200):
        found = learned(executions("f", -0.7, seed, count=600, a_run=15, luck=0.4)).of("f")
        off.append(abs(found.exponent + 0.7) / found.error)
    assert 0.88 <= np.mean(np.array(off) <= 2) <= 0.99


def test_an_effect_that_is_not_told_apart_from_that_of_all_is_that_of_all() -> None:
    found = learned(executions("many", -0.5, 0, count=600), executions("few", -0.4, 1, count=45, noise=1.0))
    assert found.of("few").exponent == found.of("").exponent
    assert found.of("few") != found.of("never seen")
    assert math.isnan(found.of("never seen").low_mb)


def test_without_noise_the_exponent_is_found_exactly() -> None:
    found = learned(executions("f", -0.7, 0, noise=0.0)).of("f")
    assert found.exponent == pytest.approx(-0.7)
    assert found.error == pytest.approx(0.0, abs=1e-6)


def test_larger_inputs_on_larger_workers_are_no_effect_of_memory() -> None:
    """Each size class but one has a memory of its own, so all that tells memory and size apart is in that one."""
    alone = executions("f", -0.7, 0, noise=0.0, memory_of_size={"1": 512, "2": 1024, "3": 2048})
    beside = executions("f", -0.7, 1, noise=0.0).query("size == '1'")
    assert learned(alone, beside).of("f").exponent == pytest.approx(-0.7)
    assert learned(alone).of("f") == Effect(0.0, 0.0, 512, 2048)


def test_each_function_has_its_own_effect() -> None:
    found = learned(executions("slow", -1.0, 0, noise=0.0), executions("flat", 0.0, 1, noise=0.0))
    assert found.of("slow").exponent == pytest.approx(-1.0)
    assert found.of("flat").exponent == pytest.approx(0.0, abs=1e-9)
    assert -1.0 < found.of("").exponent < 0.0


def test_a_function_seen_at_one_size_takes_the_effect_of_all_together_and_says_where_it_was_seen() -> None:
    found = learned(executions("seen", -0.7, 0), executions("once", -0.7, 1, memories=(1024,)))
    together = found.of("")
    assert found.of("once") == Effect(together.exponent, together.error, 1024, 1024)
    assert together.exponent == pytest.approx(found.of("seen").exponent)


def test_a_function_seen_seldom_takes_the_effect_of_all_together() -> None:
    """Beyond a mean for each of three sizes and the slope, 29 executions are too few, 30 are enough."""
    for count, is_own in ((33, False), (34, True)):
        found = learned(executions("often", -0.2, 0), executions("seldom", -1.0, 1, count=count))
        assert (found.of("seldom").exponent != found.of("").exponent) is is_own


def test_a_function_never_seen_takes_the_effect_of_all_together() -> None:
    """But at no memory size was it ever seen."""
    found = learned(executions("f", -0.7, 0))
    unheard_of = found.of("unheard of")
    assert (unheard_of.exponent, unheard_of.error) == (found.of("").exponent, found.of("").error)
    assert math.isnan(unheard_of.low_mb) and math.isnan(unheard_of.high_mb)


@pytest.mark.parametrize("table", [executions("f", -0.7, 0, count=0), executions("f", -0.7, 0, memories=(1024,))])
def test_where_nothing_tells_what_memory_does_it_does_nothing(table: pd.DataFrame) -> None:
    found = learned(table).of("")
    assert (found.exponent, found.error) == (0, 0)
    assert math.isnan(found.low_mb)


def test_executions_whose_memory_is_not_known_or_that_took_no_time_are_left_out() -> None:
    known = executions("f", -0.7, 0, noise=0.0)
    unknown = known.assign(memory_mb="", **{"0.0": 7.0})
    instant = known.assign(**{"0.0": 0.0})
    assert learned(known, unknown, instant).of("f") == learned(known).of("f")


def test_it_is_learnt_from_the_work_of_the_contention_that_was_found() -> None:
    table = executions("f", -0.7, 0, noise=0.0)
    other = executions("f", -0.1, 0, noise=0.0)
    both = table.assign(**{str(CONTENTIONS[-1]): other["0.0"]})
    assert learned(both).of("f").exponent == pytest.approx(-0.7)
    assert learned(both, contention=CONTENTIONS[-1]).of("f").exponent == pytest.approx(-0.1)

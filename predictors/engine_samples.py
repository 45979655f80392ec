"""How the engine answers from samples: neighbours by size, at one memory or scaled to it (FIELD.md, section 3).

A sample is a size in bytes and what one byte of it took (ms per byte, bytes per ms, or output bytes per input byte).
Samples are kept sorted by size and value. Answers are remembered until the next sample comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from warehouse.errors import FlowscopeError

Floats = npt.NDArray[np.float64]
Sla = Literal["average"] | float
"""Which value of the samples answers: their mean, or a percentile between 0 and 100."""

REFERENCE_MB = 1024.0


class UnknownSla(FlowscopeError):
    """A service level that is neither 'average' nor a percentile."""


@dataclass(frozen=True, slots=True)
class Quirks:
    """What the engine's rule does where another choice is possible. The defaults are the engine.

    `same_memory_minimum` None stands for what the version that made the run asks for: 5 samples in the older one, 6 in the newer.
    """

    related_minimum: int = 5
    """Widen the window until so many samples lie in it; take so many nearest where it never holds them."""
    related_maximum: int = 100
    window_step: float = 0.05
    """Of the reference size; the widest window is the whole reference."""
    same_memory_minimum: int | None = None
    execution_exponent: float = 0.3
    """Time falls with memory to this power, where samples of one memory do not suffice."""
    transfer_exponent: float = 0.3
    startup_exponent: float = 0.3
    """Start-up grows with memory to this power; what was measured elsewhere is -0.74 to +0.60."""
    percentile_of_speed: bool = True
    """A high percentile picks a fast transfer. False: a slow one, as the promise has it."""
    uploads_from_downloads: bool = True
    """Uploads are predicted from the speeds of downloads. False: from those of earlier uploads."""
    untimed_downloads_left_out: bool = True
    """Downloads without a time (often pre-loaded) are no samples. False: they count at the mean speed of their run's others."""
    planner_in_key: bool = True
    """Only runs of the same planner give samples of tasks."""
    functions_apart: bool = True
    """Execution and output sizes come from tasks of the same function."""
    incomplete_runs_count: bool = True
    """Tasks that left metrics are samples, even if their run did not end. False: no task of such a run is."""
    startup_of_all_planners: bool = True
    """Start-ups come from all planners' runs of the structure, whatever `planner_in_key` says."""
    output_rounded_up: bool = True
    zero_without_samples: bool = True
    """Where there is no sample a time is 0. False: NaN."""
    lists_weigh_nothing: bool = True
    """Plans leave out the bytes of lists of upstream references, which the record counts as literal. False: they count."""
    downloads_as_one: bool = True
    """A task's total download is that of one object with all its bytes. False: the sum over its objects."""
    activity_before_startup: bool = True
    """Idle workers are looked for at times that earlier start-ups have not moved. False: at moved times, in
    their order, where start-ups do not overlap."""
    startups_overlap: bool = True
    """A start-up counts from the time before any was added, so that earlier ones hide it. False: from when inputs are there."""
    keep_alive_ms: float = 7000.0


def check_sla(sla: Sla) -> Sla:
    """Return the service level; raise `UnknownSla` if it is none."""
    if isinstance(sla, str):
        if sla == "average":
            return sla
    elif 0 <= sla <= 100:
        return sla
    raise UnknownSla(f"{sla!r} is no service level. Hint: 'average', or a percentile such as 90.")


def aggregate(values: Floats, sla: Sla, *, are_sorted: bool = False) -> float:
    """Return the mean or the percentile of values, interpolated linearly as NumPy does."""
    if isinstance(sla, str):
        return float(np.mean(values))
    ordered = values if are_sorted else np.sort(values)
    position = (len(ordered) - 1) * (sla / 100)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    weight = position - low
    below, above = float(ordered[low]), float(ordered[high])
    step = above - below
    return below + step * weight if weight < 0.5 else above - step * (1 - weight)


@dataclass(slots=True)
class Samples:
    """Sizes and values, sorted by both, with the answers given since the last one came."""

    sizes: Floats = field(default_factory=lambda: np.empty(0))
    values: Floats = field(default_factory=lambda: np.empty(0))
    _new: list[tuple[Floats, Floats]] = field(default_factory=list)
    _answers: dict[tuple[float, Sla, Sla], float] = field(default_factory=dict)
    _count: int = 0

    def __len__(self) -> int:
        return self._count

    def add(self, sizes: Floats, values: Floats) -> None:
        """Take in samples."""
        if len(sizes):
            self._new.append((sizes, values))
            self._count += len(sizes)
            self._answers.clear()

    def near(self, size: float, sla: Sla, pick: Sla, quirks: Quirks) -> float:
        """Return the mean or percentile `pick` of the values related to a size (bytes). There must be samples."""
        answer = self._answers.get((size, sla, pick))
        if answer is None:
            self._sort()
            answer = aggregate(self.values[self._related(size, sla, quirks)], pick)
            self._answers[size, sla, pick] = answer
        return answer

    def overall(self, sla: Sla) -> float:
        """Return the mean or percentile of all values. There must be samples."""
        answer = self._answers.get((-1.0, sla, sla))
        if answer is None:
            self._sort()
            answer = self._answers[-1.0, sla, sla] = aggregate(self.values, sla)
        return answer

    def _sort(self) -> None:
        if self._new:
            sizes = np.concatenate([self.sizes, *(new[0] for new in self._new)])
            values = np.concatenate([self.values, *(new[1] for new in self._new)])
            order = np.lexsort((values, sizes))
            self.sizes, self.values = sizes[order], values[order]
            self._new.clear()

    def _related(self, size: float, sla: Sla, quirks: Quirks) -> npt.NDArray[np.intp]:
        """Return the positions of the related samples.

        Those within the narrowest window that holds enough, or the nearest few (of equally near ones those with the
        smallest values: the engine sorts pairs).
        """
        reference = aggregate(self.sizes, sla, are_sorted=True)
        first, last = 0, 0
        for step in range(1, round(1 / quirks.window_step) + 1):
            reach = reference * (quirks.window_step * step)
            first, last = self._within(size, reach)
            if last - first >= quirks.related_minimum:
                break
        else:
            few = quirks.related_minimum
            nearest = self._around(size, 0, len(self.sizes), few, few, few)
            distance = np.abs(self.sizes[nearest] - size)
            return nearest[np.lexsort((self.values[nearest], distance))][:few]
        if last - first <= quirks.related_maximum:
            return np.arange(first, last)
        low, high = self._exact(size)
        exact = min(high - low, quirks.related_maximum)
        room = quirks.related_maximum - exact
        below, above = low - first, last - high
        take_below = min(below, room // 2)
        take_above = min(above, room - take_below)
        take_below = min(below, room - take_above)
        return self._around(size, first, last, take_below, exact, take_above)

    def _within(self, size: float, reach: float) -> tuple[int, int]:
        first = int(np.searchsorted(self.sizes, size - reach, side="left"))
        return first, int(np.searchsorted(self.sizes, size + reach, side="right"))

    def _exact(self, size: float) -> tuple[int, int]:
        low = int(np.searchsorted(self.sizes, size, side="left"))
        return low, int(np.searchsorted(self.sizes, size, side="right"))

    def _around(self, size: float, first: int, last: int, below: int, exact: int, above: int) -> npt.NDArray[np.intp]:
        """Return positions within first..last: so many of the size, and the nearest on either side of it."""
        low, high = self._exact(size)
        positions = [np.arange(low, min(low + exact, high)), np.arange(high, min(high + above, last))]
        start = max(low - below, first)
        if start < low:  # of the farthest size, the smallest values
            group, after = self._exact(self.sizes[start])
            group = max(group, first)
            needed = after - start
            positions += [np.arange(group, group + needed), np.arange(after, low)]
        return np.concatenate(positions)


class MemorySamples:
    """Samples at each memory size, and all of them as if measured at 1024 MB.

    `power`: a value is assumed to grow with memory to this power.
    """

    def __init__(self, power: float) -> None:
        self.power = power
        self.at_memory: dict[int, Samples] = {}
        self.scaled = Samples()

    def add(self, sizes: Floats, values: Floats, memory_mb: npt.NDArray[np.int64]) -> None:
        """Take in samples; memory 0 stands for unknown, which is not scaled."""
        for memory in np.unique(memory_mb):
            chosen = memory_mb == memory
            self.at_memory.setdefault(int(memory), Samples()).add(sizes[chosen], values[chosen])
        ratio = np.where(memory_mb > 0, REFERENCE_MB / np.maximum(memory_mb, 1), 1.0)
        self.scaled.add(sizes, values * ratio**self.power)

    def choose(self, memory_mb: int, minimum: int) -> tuple[Samples, float]:
        """Return the samples to answer from, and the factor that brings an answer to the memory size."""
        same = self.at_memory.get(memory_mb)
        if same is not None and len(same) >= minimum:
            return same, 1.0
        return self.scaled, (memory_mb / REFERENCE_MB) ** self.power if memory_mb > 0 else 1.0


def timed(sizes: Sequence[float] | Floats, times: Sequence[float] | Floats) -> npt.NDArray[np.bool_]:
    """Tell which pairs have a size and a time to divide by."""
    size, time = np.asarray(sizes, dtype=np.float64), np.asarray(times, dtype=np.float64)
    return (size > 0) & (time > 0)

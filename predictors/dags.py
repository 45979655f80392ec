"""DAGs as lists: of each task, by position, the positions of the tasks it needs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence

Upstream = Sequence[Sequence[int]]


def downstream_of(upstream: Upstream) -> list[list[int]]:
    """Return the tasks that need each task."""
    downstream: list[list[int]] = [[] for _ in upstream]
    for task, ups in enumerate(upstream):
        for up in ups:
            downstream[up].append(task)
    return downstream


def in_order(upstream: Upstream, downstream: Upstream | None = None) -> list[int]:
    """Return the tasks, each after all those it needs. Those on a circle, and those after one, are left out."""
    downstream = downstream_of(upstream) if downstream is None else downstream
    missing = [len(ups) for ups in upstream]
    order = [task for task, count in enumerate(missing) if not count]
    for task in order:
        for down in downstream[task]:
            missing[down] -= 1
            if not missing[down]:
                order.append(down)
    return order


def is_acyclic(upstream: Upstream) -> bool:
    """Tell whether every task can come after those it needs."""
    return len(in_order(upstream)) == len(upstream)


def levels(upstream: Upstream) -> list[int]:
    """Return each task's distance from the roots, along the longest way that comes from one."""
    downstream = downstream_of(upstream)
    level = [0] * len(upstream)
    for task in in_order(upstream, downstream):
        for down in downstream[task]:
            level[down] = max(level[down], level[task] + 1)
    return level


def numbered(values: Iterable[Hashable]) -> list[int]:
    """Return a number for each value, the same for equal ones, in the order of their first appearance."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(value, len(numbers)) for value in values]


def refined(
    labels: list[int], upstream: Upstream, downstream: Upstream, gathered: Callable[[Iterable[int]], Hashable]
) -> list[int]:
    """Tell tasks apart by the labels of what they need and of what needs them, until that tells no more apart.

    `gathered` makes one value of the labels of several tasks: `frozenset` if it does not matter how many there are of each.
    """
    while True:
        finer = numbered(
            (label, gathered(labels[up] for up in ups), gathered(labels[down] for down in downs))
            for label, ups, downs in zip(labels, upstream, downstream, strict=True)
        )
        if len(set(finer)) == len(set(labels)):
            return finer
        labels = finer

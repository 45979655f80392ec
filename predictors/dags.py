"""DAGs as lists: of each task, by position, the positions of the tasks it needs."""

from __future__ import annotations

from collections.abc import Sequence

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

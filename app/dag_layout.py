"""Lay a DAG out in layers, left to right.

A task's layer is the length of the longest path that leads to it, so every edge points to the right. Within a layer
tasks are ordered by the mean place of their neighbours (the barycentre heuristic of Sugiyama, Tagawa and Toda, 1981),
swept forth and back a few times.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

_SWEEPS = 4
_BETWEEN = 0.6


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task is drawn: its layer from 0, and its height, with 0 in the middle of its layer."""

    layer: int
    height: float


def layout(
    tasks: Iterable[str], edges: Iterable[tuple[str, str]], functions: Mapping[str, str] | None = None
) -> dict[str, Place]:
    """Return a place for each task. Edges to and from tasks that are not given are left out, and so are cycles.

    Neighbours in a layer stand 1 apart, and a little more where they run different functions: a name fits in between.
    """
    given = set(tasks)
    names = sorted(given)
    kept = [(start, end) for start, end in edges if start in given and end in given and start != end]
    upstream = _neighbours(kept, 1, 0)
    layers = _layers(names, upstream)
    columns: dict[int, list[str]] = defaultdict(list)
    for name in names:
        columns[layers[name]].append(name)
    _order(columns, upstream, _neighbours(kept, 0, 1))
    places: dict[str, Place] = {}
    for layer, column in columns.items():
        heights = _heights(column, functions or {})
        places |= {name: Place(layer, height) for name, height in zip(column, heights, strict=True)}
    return places


def _heights(column: Sequence[str], functions: Mapping[str, str]) -> list[float]:
    heights = [0.0]
    for above, below in pairwise(column):
        heights.append(heights[-1] + 1 + (_BETWEEN if functions.get(above) != functions.get(below) else 0))
    return [height - heights[-1] / 2 for height in heights]


def _neighbours(edges: Sequence[tuple[str, str]], of: int, to: int) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for edge in edges:
        found[edge[of]].add(edge[to])
    return found


def _layers(names: Sequence[str], upstream: Mapping[str, set[str]]) -> dict[str, int]:
    try:
        order = list(TopologicalSorter({name: upstream.get(name, set()) for name in names}).static_order())
    except CycleError:
        return dict.fromkeys(names, 0)
    layers: dict[str, int] = {}
    for name in order:
        layers[name] = max((layers[above] + 1 for above in upstream.get(name, ())), default=0)
    return layers


def _order(
    columns: Mapping[int, list[str]], upstream: Mapping[str, set[str]], downstream: Mapping[str, set[str]]
) -> None:
    """Sort each column by where its tasks' neighbours are, forth by upstream and back by downstream."""
    for sweep in range(_SWEEPS):
        forth = sweep % 2 == 0
        neighbours = upstream if forth else downstream
        for layer in sorted(columns, reverse=not forth):
            place = {
                name: (position - (len(column) - 1) / 2)
                for column in columns.values()
                for position, name in enumerate(column)
            }

            def barycentre(
                name: str, near_to: Mapping[str, set[str]] = neighbours, place: Mapping[str, float] = place
            ) -> tuple[float, str]:
                near = near_to.get(name, set())
                return (sum(place[other] for other in near) / len(near) if near else place[name], name)

            columns[layer].sort(key=barycentre)

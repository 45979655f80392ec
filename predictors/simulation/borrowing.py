"""A plan borrowed from another run: what another planner, or another SLA, made of the same workflow.

Only plans that were recorded are used. Tasks of two runs of one structure are matched by where they stand in the DAG.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from predictors.dags import downstream_of, numbered, refined
from predictors.simulation.records import Record

FAMILIES = {"uniform": "UniformPlanner", "non-uniform": "NonUniformPlanner", "wukong": "WUKONGPlanner"}
"""Planners by their short names; the recorded name may end in -opt, and the run's own ending is preferred."""


FLEXIBLE = FAMILIES["wukong"]
"""The planner that leaves workers open on purpose; others only where they have no history yet, which is no plan of theirs."""


class Lenders:
    """Recorded runs whose plan others may borrow."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._by_structure: dict[tuple[str | None, str | None], list[Record]] = {}
        for record in records:
            self._by_structure.setdefault((record.workflow, record.structure_hash), []).append(record)

    def plan_for(self, record: Record, planner: str | None, sla: str | None) -> Record | None:
        """Return the run with the plan of the recorded run nearest in time that has this planner and SLA; None if none has.

        What is not asked for stays: the run's own planner, its SLA.
        """
        wanted = _names(planner, record.planner) if planner else (record.planner,)
        asked = sla or record.sla
        for name in wanted:
            lenders = [
                other
                for other in self._by_structure.get((record.workflow, record.structure_hash), ())
                if other.planner == name
                and other.is_flexible == (name or "").startswith(FLEXIBLE)
                and (other.sla == asked or (asked is None and planner) or (planner and not sla and other.is_flexible))
                and (other.is_complete if other.is_flexible else all(other.planned_worker))
            ]
            if lenders:
                nearest = min(lenders, key=lambda other: (abs(other.submitted_at - record.submitted_at), other.run_id))
                return borrow(record, nearest)
        return None


def _names(planner: str, own: str | None) -> tuple[str, ...]:
    family = FAMILIES.get(planner.lower())
    if family is None:
        return (planner,)
    names = (family, f"{family}-opt")
    return names[::-1] if (own or "").endswith("-opt") else names


def borrow(record: Record, lender: Record) -> Record | None:
    """Return the run as planned by another one of the same structure; None if their tasks cannot be matched."""
    matched = match(record, lender)
    if matched is None:
        return None

    def lent(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(values[other] for other in matched)

    back = {other: task for task, other in enumerate(matched)}
    memory = lender.memory_mb if lender.is_flexible else lender.planned_memory_mb
    return replace(
        record,
        planner=lender.planner,
        sla=lender.sla,
        planned_worker=lent(lender.planned_worker),
        planned_memory_mb=lent(memory),
        preloads=lent(lender.preloads),
        duplicable=lent(lender.duplicable),
        prewarmings=tuple(replace(one, task=back[one.task]) for one in lender.prewarmings),
    )


def match(one: Record, other: Record) -> list[int] | None:
    """Return, for each task of one run, the task of the other that stands in its place; None if their DAGs differ.

    Tasks are told apart by function, by what they need and by what needs them, however far away. Where nothing tells tasks
    apart one pair is chosen, and what that tells of the others is worked out before the next is.
    """
    count = len(one.upstream)
    if count != len(other.upstream):
        return None
    upstream = [*one.upstream, *(tuple(count + up for up in ups) for ups in other.upstream)]
    downstream = downstream_of(upstream)
    labels = refined(numbered([*one.functions, *other.functions]), upstream, downstream, _counted)
    while True:
        mine, theirs = labels[:count], labels[count:]
        if sorted(mine) != sorted(theirs):
            return None
        open_ = next((task for task in range(count) if mine.count(mine[task]) > 1), None)
        if open_ is None:
            break
        pair = (open_, count + theirs.index(mine[open_]))
        chosen = [(label, place in pair) for place, label in enumerate(labels)]
        labels = refined(numbered(chosen), upstream, downstream, _counted)
    matched = [theirs.index(label) for label in mine]
    if any({matched[up] for up in ups} != set(other.upstream[matched[task]]) for task, ups in enumerate(one.upstream)):
        return None
    return matched


def _counted(labels: Iterable[int]) -> Hashable:
    return tuple(sorted(labels))

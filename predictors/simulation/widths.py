"""How wide a run fans out: its stages and their branches, the same run with another width, and the fan-outs of earlier runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from predictors.dags import downstream_of, levels, numbered, refined
from predictors.simulation.records import Record
from predictors.simulation.scenarios import CannotSimulate

FanOut = tuple[tuple[str, int], ...]
"""How many tasks of each function a run has, by function in order of their names."""

_OF_TASKS = (
    "functions", "planned_memory_mb", "planned_start", "planned_finish", "planned_state", "memory_mb", "start", "wait", "execution",
    "upload", "counters", "invocation", "inputs_bytes", "output_bytes", "stored_ms", "preloads", "duplicable",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stage:
    """Tasks of one function that stand in the same place of a DAG: there could be more of them, or fewer."""

    function: str
    members: tuple[int, ...]


def fan_out(record: Record) -> FanOut:
    """Return how many tasks of each function the run has."""
    return tuple(sorted(Counter(record.functions).items()))


def learned(fan_outs: Collection[FanOut]) -> dict[FanOut, float]:
    """Return the share of earlier runs that had each fan-out, narrow ones first."""
    counts = Counter(fan_outs)
    narrow_first = sorted(counts, key=lambda one: (sum(count for _, count in one), one))
    return {one: counts[one] / len(fan_outs) for one in narrow_first}


def varying(fan_outs: Collection[FanOut]) -> set[str]:
    """Return the functions of which not all runs have as many tasks."""
    seen = [dict(one) for one in set(fan_outs)]
    return {function for one in seen for function in one if len({other.get(function, 0) for other in seen}) > 1}


def stages(record: Record) -> list[Stage]:
    """Return the stages of a run, roots first; a task that nothing stands beside is a stage of one."""
    downstream = downstream_of(record.upstream)
    depth = levels(record.upstream)
    kinds = refined(numbered(record.functions), record.upstream, downstream, frozenset)
    places: dict[int, list[int]] = {}
    for task, kind in enumerate(kinds):
        places.setdefault(kind, []).append(task)
    in_order = sorted(places.values(), key=lambda tasks: (depth[tasks[0]], tasks[0]))
    return [Stage(record.functions[members[0]], tuple(members)) for members in in_order]


def branches(record: Record, stage: Stage) -> list[list[int]]:
    """Return the branch of each member: the member, and all tasks that descend from it and from no other."""
    downstream = downstream_of(record.upstream)
    reached = [descendants([member], downstream) for member in stage.members]
    times = Counter(task for tasks in reached for task in tasks)
    return [sorted(task for task in tasks if times[task] == 1) for tasks in reached]


def descendants(tasks: Sequence[int], downstream: Sequence[Sequence[int]]) -> set[int]:
    """Return the tasks and all that need them, however far away."""
    found, open_ = set(tasks), list(tasks)
    for task in open_:
        open_ += [down for down in downstream[task] if down not in found]
        found.update(downstream[task])
    return found


def with_width(record: Record, stage: Stage, width: int) -> tuple[Record, list[int]]:
    """Return the run as planned with that many members of the stage, and of each of its tasks, the task it was made from.

    Branches are dropped from the last on, or copied in turn; a worker that holds tasks of one branch only is copied with it,
    others take the copies too. Whatever joined all members still does. It did not happen: it has no makespan and no launches.
    Raises `CannotSimulate` for a stage of one, which does not tell what is its own, and where the run's sink would go.
    """
    now, own_tasks = len(stage.members), branches(record, stage)
    if now < 2 or width < 1 or any(record.sink in branch for branch in own_tasks):
        raise CannotSimulate(
            f"Run {record.run_id} has no other width: nothing tells what belongs to one {stage.function}."
        )
    branch_of = {task: number for number, branch in enumerate(own_tasks) for task in branch}
    kept = [(task, 0) for task in range(len(record.task_ids)) if branch_of.get(task, 0) < width]
    copied = [(task, copy + 1) for copy in range(width - now) for task in own_tasks[copy % now]]
    made = [*kept, *copied]
    place = {one: position for position, one in enumerate(made)}
    instances: dict[int, list[int]] = {}
    for (task, _), position in place.items():
        instances.setdefault(task, []).append(position)

    def inputs(task: int, copy: int) -> list[tuple[int, int]]:
        """Return upstream tasks by their new place, with their place among the inputs of the task it was made from."""
        found: list[tuple[int, int]] = []
        for number, up in enumerate(record.upstream[task]):
            if up not in branch_of:
                found.append((place[up, 0], number))
            elif task in branch_of:
                found.append((place[up, copy], number))
            else:
                found += [(instance, number) for instance in instances.get(up, ())]
        return found

    lent: dict[str, Any] = {name: tuple(getattr(record, name)[task] for task, _ in made) for name in _OF_TASKS}
    own = _own_workers(record.planned_worker, branch_of)
    taken = [inputs(*one) for one in made]
    needed = {up for ups in taken for up, _ in ups}
    return replace(
        record,
        makespan_ms=math.nan,
        is_complete=False,
        launches={},
        sink=place[record.sink, 0],
        task_ids=tuple(record.task_ids[task] + _suffix(copy) for task, copy in made),
        upstream=tuple(tuple(up for up, _ in ups) for ups in taken),
        upstream_ms=tuple(tuple(record.upstream_ms[task][number] for _, number in ups) for (task, _), ups in zip(made, taken, strict=True)),
        upstream_bytes=tuple(tuple(record.upstream_bytes[task][number] for _, number in ups) for (task, _), ups in zip(made, taken, strict=True)),
        planned_worker=tuple(_named(record.planned_worker[task], copy, own) for task, copy in made),
        worker=(None,) * len(made),
        is_awaited=tuple(position in needed for position in range(len(made))),
        prewarmings=(),
        planned_prewarmings=tuple(
            replace(one, task=position) for one in record.planned_prewarmings for position in instances.get(one.task, ())
        ),
        **lent,
    ), [task for task, _ in made]  # fmt: skip


def _own_workers(workers: Sequence[str | None], branch_of: dict[int, int]) -> set[str]:
    """Return the workers all of whose tasks are of one branch."""
    branches: dict[str, set[int | None]] = {}
    for task, worker in enumerate(workers):
        if worker is not None:
            branches.setdefault(worker, set()).add(branch_of.get(task))
    return {worker for worker, of in branches.items() if len(of) == 1 and None not in of}


def _named(worker: str | None, copy: int, own: set[str]) -> str | None:
    return worker + _suffix(copy) if worker is not None and worker in own else worker


def _suffix(copy: int) -> str:
    return f"~{copy}" if copy else ""

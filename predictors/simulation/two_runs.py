"""The same work as two static runs: what comes before a stage as one, then the stage and what descends from it as another.

The second is submitted when the first has ended, and then its width is known. What it needs of the first is stored, so it is
uploaded and downloaded; its workers are new, and may take the containers that the first one left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from predictors.dags import downstream_of
from predictors.simulation.behaviour import Behaviour, size_class, text
from predictors.simulation.play import ANY, Durations, Played, Rules, Shape, play
from predictors.simulation.recorded import usual_download
from predictors.simulation.records import Record
from predictors.simulation.widths import Stage, descendants


def second_part(record: Record, stage: Stage) -> list[bool] | None:
    """Return of each task whether it belongs to the second of two runs; None where there would be only one."""
    found = descendants(stage.members, downstream_of(record.upstream))
    if record.sink not in found or len(found) == len(record.task_ids):
        return None
    return [task in found for task in range(len(record.task_ids))]


def with_transfers(
    takes: Durations,
    shape: Shape,
    is_second: Sequence[bool],
    record: Record,
    output_bytes: Sequence[float],
    behaviour: Behaviour,
) -> Durations:
    """Return durations in which the second run downloads all that it needs of the first, which uploads it.

    What took no time as one run takes what is usual for the size (bytes, by task; NaN: unknown).
    """
    upload, download = list(takes.upload), [list(of) for of in takes.download]
    for task, ups in enumerate(shape.upstream):
        for number, up in enumerate(ups):
            if is_second[task] and not is_second[up]:
                size = output_bytes[up]
                upload[up] = upload[up] or behaviour.uploads.at(0.5, size_class(size), text(record.environment))
                download[task][number] = download[task][number] or usual_download(behaviour, record, size)
    return replace(takes, upload=upload, download=download)


def play_two(shape: Shape, takes: Durations, rules: Rules, is_second: Sequence[bool]) -> Played:
    """Play both runs, and return them as one: from the submission of the first to the end of the second.

    `worker` and what is told of workers count those of the first, then those of the second. Raises `Stuck`.
    """
    parts = [[task for task, second in enumerate(is_second) if second == which] for which in (False, True)]
    first, first_takes = _part(shape, takes, parts[0])
    launched = {shape.worker[task] for task in parts[0]}
    later = tuple(one for one in shape.prewarms if one.worker not in launched)
    second, second_takes = _part(replace(shape, prewarms=later), takes, parts[1])
    one = play(first, first_takes, rules)
    end = max(one.finish) + takes.invocation[shape.sink]
    phase = (rules.sweep_phase - end / rules.sweep_ms) % 1 if rules.sweep_ms else rules.sweep_phase
    two = play(
        replace(second, pool=pool_after(first, one, rules, end)), second_takes, replace(rules, sweep_phase=phase)
    )
    return _joined(one, two, parts, end)


def pool_after(shape: Shape, played: Played, rules: Rules, end: float) -> tuple[tuple[float, float], ...]:
    """Return the containers that a run left in its pool: memory (MB), and since when they are free (ms after its `end`).

    Those whose keep-alive is over are among them, for whoever looks finds that out. Warm starts took the most recent.
    """
    free = [(since, memory) for memory, since in shape.pool]
    free += [(played.released[worker] + rules.exit_ms, played.memory_mb[worker]) for worker in played.launched]
    free += [
        (played.ready[one.worker] + one.delay_ms, one.memory_mb)
        for one in shape.prewarms
        if rules.prewarm == "as assigned" and played.state[one.worker]
    ]
    free.sort()
    for worker in sorted(played.launched, key=played.requested.__getitem__):
        if played.state[worker] == "warm":
            asked, memory = played.requested[worker], played.memory_mb[worker]
            fitting = [place for place, (since, mb) in enumerate(free) if since <= asked and mb == memory]
            if fitting:
                free.pop(fitting[-1])
    return tuple((memory, since - end) for since, memory in free)


def _part(shape: Shape, takes: Durations, tasks: Sequence[int]) -> tuple[Shape, Durations]:
    """Return the run that these tasks are. What they need of others is stored; tasks that others need launch and tell nobody."""
    place = {task: position for position, task in enumerate(tasks)}
    workers = sorted({shape.worker[task] for task in tasks} - {ANY})
    number = {worker: position for position, worker in enumerate(workers)} | {ANY: ANY}
    is_open = len(shape.memory_mb) > shape.workers
    slots = [*workers, *(shape.workers + task for task in tasks if is_open)]
    inside = [[up in place for up in shape.upstream[task]] for task in tasks]
    downloads = [list(zip(inside[place[task]], takes.download[task], strict=True)) for task in tasks]
    last = [task != shape.sink and not any(down in place for down in shape.downstream[task]) for task in tasks]
    part = Shape(
        upstream=tuple(tuple(place[up] for up in shape.upstream[task] if up in place) for task in tasks),
        worker=tuple(number[shape.worker[task]] for task in tasks),
        memory_mb=tuple(shape.memory_mb[slot] for slot in slots),
        sink=place[shape.sink] if shape.sink in place else last.index(True),
        preloads=tuple(shape.preloads[task] for task in tasks),
        duplicable=tuple(shape.duplicable[task] for task in tasks),
        prewarms=tuple(replace(one, worker=number[one.worker]) for one in shape.prewarms if one.worker in number),
        pool=shape.pool,
    )
    stored = [
        max([takes.stored[task], *(ms for is_inside, ms in of if not is_inside)])
        for task, of in zip(tasks, downloads, strict=True)
    ]
    return part, replace(
        takes,
        execution=[takes.execution[task] for task in tasks],
        upload=[takes.upload[task] for task in tasks],
        counters=[0.0 if is_last else takes.counters[task] for task, is_last in zip(tasks, last, strict=True)],
        invocation=[0.0 if is_last else takes.invocation[task] for task, is_last in zip(tasks, last, strict=True)],
        download=[[ms for is_inside, ms in of if is_inside] for of in downloads],
        stored=stored,
        overhead=[takes.overhead[task] for task in tasks],
        cold=[takes.cold[slot] for slot in slots],
        warm=[takes.warm[slot] for slot in slots],
    )


def _joined(one: Played, two: Played, parts: Sequence[Sequence[int]], end: float) -> Played:
    order = sorted(range(sum(map(len, parts))), key=[*parts[0], *parts[1]].__getitem__)
    before = len(one.state)

    def tasks(first: Sequence[float], second: Sequence[float], later: float = 0.0) -> list[float]:
        both = [*first, *(value + later for value in second)]
        return [both[place] for place in order]

    def workers(first: Sequence[float], second: Sequence[float]) -> list[float]:
        return [*first, *(value + end for value in second)]

    on = [*one.worker, *(before + worker for worker in two.worker)]
    return Played(
        end + two.makespan_ms, [on[place] for place in order], tasks(one.start, two.start, end), tasks(one.wait, two.wait),
        tasks(one.execution, two.execution), tasks(one.finish, two.finish, end), tasks(one.release, two.release, end),
        workers(one.requested, two.requested), workers(one.ready, two.ready), workers(one.released, two.released),
        [*one.state, *two.state], one.memory_mb + two.memory_mb,
    )  # fmt: skip

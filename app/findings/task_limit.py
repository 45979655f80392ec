"""F04: a limit of tasks that a worker runs at once."""

from __future__ import annotations

import pandas as pd

from app.findings import phrases, simulated
from app.findings.evidence import Evidence
from app.findings.experiments import MINIMUM, bold, by_tag, every, forest, left_out, row, table, too_few
from app.findings.finding import Answer, Question, Status, not_enough
from app.findings.matching import RUNS, Compared, compare, tag_values
from app.findings.statistics import Interval
from app.units import count

_UNLIMITED = ("none", "off", "no", "unlimited", "0", "inf", "-1", "no limit", "nolimit")
_UNTOLD, _MOST_TASKS = 0.05, 10_000
_SIX = (
    simulated.Change(
        "worker.task_limit=6", "with a limit of 6 tasks a worker",
        assumes="In a simulation a task that finds its worker full waits until another task there ends; tasks at once on one worker slow "
        "each other as much as they were seen to. Runs that were recorded under such a limit are played too: it cannot touch them.",
    ),
)  # fmt: skip


def _task_limit(evidence: Evidence) -> Answer:
    return simulated.beside(evidence, _recorded_limit(evidence), _SIX, name="makespan with a limit of 6 / without")


def _recorded_limit(evidence: Evidence) -> Answer:
    runs = evidence.frame(RUNS)
    names = ("task_limit", "tasks_per_worker", "max_tasks_per_worker", "worker_task_limit", "concurrency_limit")
    limits = [number for name in names for number in map(_limit, tag_values(runs, name)) if number]
    limit = 6 if 6 in limits or not limits else max(sorted(set(limits)), key=limits.count)
    written = {value for name in names for value in tag_values(runs, name) if _limit(value) == limit}
    groups = by_tag(runs, names, _UNLIMITED, [value.strip().lower() for value in written])
    if groups is None:
        return not_enough(
            "No tag tells runs with a limit of tasks per worker from runs without one, and the engine does not record its limit.",
            "Runs of both kinds, tagged: `flowscope tag task_limit=6 --where ...` and `flowscope tag task_limit=none --where ...`.",
            n=len(runs),
        )
    matched = groups.matched()
    found = every(matched)
    makespan = found["makespan_ms"]
    if makespan.ratio is None:
        return too_few(groups, matched, "with and without a limit")
    blocks = matched.blocks
    peaks = evidence.frame(_PEAKS, tag=groups.by, limit=limit).set_index("run_id")
    unlimited = peaks.loc[peaks.index.isin(blocks["run_id"][~blocks["is_other"]])]
    workers, above = int(unlimited["workers"].sum()), int(unlimited["above"].sum())
    untold = int(unlimited["untold"].sum())
    if not workers or untold > _UNTOLD * unlimited["tasks"].sum():
        return not_enough(
            f"How many tasks a worker ran at once is not on record: {count(untold, 'task')} of the unlimited runs left no worker or no "
            f"times. Whatever the limit does, makespan is {phrases.times(makespan.ratio)}.",
            "A source that records the worker and the times of every task.",
            n=makespan.n,
        )
    binding = set(blocks["block"][~blocks["is_other"] & blocks["run_id"].map(peaks["above"]).gt(0)])
    bound = blocks["block"].isin(binding)
    acts, idle = (compare(matched.among(blocks[side]), "makespan_ms") for side in (bound, ~bound))
    where = [("where it could act", acts), ("where it could not", idle)]
    rows = pd.DataFrame(
        [*table(matched, found).to_dict("records"), *(row(f"makespan {name}", one) for name, one in where if one.n)]
    )
    could = f"{above:,} of {count(workers, 'worker')} ever ran more than {limit} tasks at once without it"
    could += "" if above else ", so the limit never acted"
    acting, control = acts.ratio, idle.ratio
    status, advice = _verdict(makespan, acting, control, bool(binding), bool(matched.confounded))
    acted = (
        ""
        if not acting or (acting.decision == "undecided" and status != "not enough data")
        else f", and where one did {phrases.decided(acts)}"
    )
    return Answer(
        status,
        f"With a limit of {limit} tasks a worker {bold(makespan)}; {could}{acted}{phrases.but(matched)}. {advice}.",
        makespan.n, "pairs of runs" if matched.way == "paired" else "runs",
        phrases.effect(f"makespan with a limit of {limit} / without", makespan.ratio),
        left_out(groups, matched), rows,
        forest(rows, f"With a limit of {limit} / without (ratio)", "task-limit"),
        (
            f"Reference: {groups.names[0]}; beside it: {groups.names[1]}. It rests on {phrases.rests_on(matched)}.",
            "The limit can only act where a worker would otherwise run more tasks at once. Pairs without such a worker are a "
            "control: a difference there has another cause, such as drift between the recordings.",
            "The time a task waits for the limit is recorded nowhere; it is in the makespan only.",
        ),
        "Workflows whose fan-outs put more tasks on one worker, or more pairs of those there are.",
    )  # fmt: skip


_PEAKS = """
-- How many tasks each worker of the tagged runs had at once, at most: per run its tasks, those without a worker or times
-- (untold), its workers, and how many of them had more than $limit.
with told as (
    select task_times.run_id, worker_id, started_at, released_at
    from task_times
    inner join selected_runs on task_times.run_id = selected_runs.run_id
    where tags[$tag] is not null
),

events as (
    select run_id, worker_id, started_at as happened_at, 1 as change
    from told where started_at is not null and released_at is not null and worker_id is not null
    union all
    select run_id, worker_id, released_at, -1
    from told where started_at is not null and released_at is not null and worker_id is not null
),

at_once as (
    select
        run_id, worker_id,
        sum(change) over (
            partition by run_id, worker_id order by happened_at, change rows between unbounded preceding and current row
        ) as tasks
    from events
),

peaks as (
    select run_id, worker_id, max(tasks) as peak from at_once group by run_id, worker_id
),

of_runs as (
    select run_id, count(*) as workers, count(*) filter (where peak > $limit) as above from peaks group by run_id
)

select
    told.run_id, count(*) as tasks,
    count(*) filter (where started_at is null or released_at is null or worker_id is null) as untold,
    coalesce(any_value(workers), 0) as workers, coalesce(any_value(above), 0) as above
from told
left join of_runs on told.run_id = of_runs.run_id
group by told.run_id
order by told.run_id
"""


def _limit(value: object) -> int | None:
    """Return a tag's value as a limit of tasks, None where it is none."""
    try:
        number = float(value) if isinstance(value, str) else 0.0
    except ValueError:
        return None
    return int(number) if 0 < number < _MOST_TASKS and number == int(number) else None


def _verdict(
    makespan: Compared, acting: Interval | None, control: Interval | None, binds: bool, confounded: bool
) -> tuple[Status, str]:
    """Judge a limit by the pairs in which it could act; those in which it could not are the control."""
    overall = makespan.ratio.decision if makespan.ratio else "undecided"
    if not binds:
        return "does not hold", "Nothing speaks for the limit: remove it"
    if acting and acting.decision == "lower" and not (control and control.decision == "lower"):
        return ("mixed", "Something else may be the reason") if confounded else ("holds", "The limit helps")
    if control and control.decision == "lower" and (overall == "lower" or (acting and acting.decision == "lower")):
        return "mixed", "Where the limit could not act makespan is lower too, so it need not be the reason"
    if (acting and acting.decision in ("higher", "no difference")) or overall == "no difference":
        return (
            ("mixed", "Something else may be the reason")
            if confounded
            else ("does not hold", "Nothing speaks for the limit: remove it")
        )
    return "not enough data", "Whether the limit helps is undecided"


QUESTIONS = (
    Question(
        "F04", "Does limiting each worker to 6 concurrent tasks help? If not, remove the limit.", "experiments", MINIMUM, _task_limit
    ),
)  # fmt: skip

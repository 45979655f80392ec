"""Whether launching containers faster paid off, and when start-up latency changed."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from typing import Any

import numpy as np
import pandas as pd

from app.charts.startup import latency
from app.findings import phrases, simulated
from app.findings.changes import ALPHA, LEAST, change_points
from app.findings.evidence import Evidence
from app.findings.experiments import Groups, bold, by_tag, forest, losses
from app.findings.experiments import left_out as of_groups
from app.findings.finding import Answer, Effect, Figure, Question, Status, not_enough
from app.findings.matching import METRICS, RUNS, Compared, compare
from app.findings.statistics import MINIMUM_PAIRS, MINIMUM_RUNS, Interval, stratified_ratio
from app.units import count, duration, ratio

MOST_NAMED = 3
"""Changes told in the sentence; the table holds all."""

NAMES = ("launch", "launch_speed", "container_launch", "faster_launch")
SLOW, FAST = ("normal", "slow", "off", "false", "no"), ("fast", "faster", "on", "true", "yes")

_THIRD = 0.33
_A_THIRD = (
    simulated.Change(
        "startup_factor=0.33", "with a third of the start-up", cost=True,
        assumes="In a simulation all of a start is shorter, cold and warm alike, the time it queues included. In proportion means that the effect grows "
        "in a straight line with the start-up saved; how surely that saving is known is not in its interval.",
    ),
)  # fmt: skip
_NAME = "makespan with a third of the start-up / as recorded"

LATENCY = """
-- Start-up of each run's cold and of its warm starts, in order of submission: the median over its starts of how far each
-- lies from the median cold start of its engine, environment and memory (as a logarithm). Those with fewer than $least
-- cold starts have no median worth the name and are left out.
with starts as (
    select
        cold_starts.run_id, cold_starts.engine, cold_starts.environment, cold_starts.memory_mb, cold_starts.state,
        cold_starts.startup_ms, selected_runs.submitted_at
    from cold_starts
    inner join selected_runs on cold_starts.run_id = selected_runs.run_id
    where cold_starts.startup_ms > 0 and cold_starts.state in ('cold', 'warm') and selected_runs.submitted_at is not null
),

levels as (
    select engine, environment, memory_mb, median(startup_ms) as cold_ms
    from starts
    where state = 'cold'
    group by engine, environment, memory_mb
    having count(*) >= $least
)

select
    starts.run_id,
    starts.submitted_at,
    (median(ln(startup_ms) - ln(cold_ms)) filter (where state = 'cold'))::double as cold,
    (median(ln(startup_ms) - ln(cold_ms)) filter (where state = 'warm'))::double as warm,
    count(*) filter (where state = 'cold') as cold_starts,
    count(*) filter (where state = 'warm') as warm_starts
from starts
inner join levels
    on starts.engine is not distinct from levels.engine
    and starts.environment is not distinct from levels.environment
    and starts.memory_mb is not distinct from levels.memory_mb
group by starts.run_id, starts.submitted_at
order by starts.submitted_at, starts.run_id
"""

TYPICAL = """
-- The runs selected, those with a cold start of known duration, and the median cold start of all.
select
    count(distinct selected_runs.run_id) as runs,
    count(distinct cold_starts.run_id) as with_cold,
    count(distinct selected_runs.run_id) filter (where submitted_at is null) as without_submission,
    median(cold_starts.startup_ms) as cold_ms
from selected_runs
left join cold_starts
    on selected_runs.run_id = cold_starts.run_id and cold_starts.state = 'cold' and cold_starts.startup_ms > 0
"""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of level: the first run after it, the p-value, and the level after / before over the segments beside it."""

    place: int
    at: pd.Timestamp
    p: float
    value: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Course:
    """Start-up latency over time: what `LATENCY` returns of runs with a cold start, and its changes in order."""

    runs: pd.DataFrame
    changes: tuple[Change, ...]

    @property
    def bounds(self) -> list[int]:
        """The first place of each segment, and the number of runs."""
        return [0, *(change.place for change in self.changes), len(self.runs)]


def course(rows: pd.DataFrame) -> Course:
    """Return the changes of cold start-up over time. `rows`: what `LATENCY` returns."""
    runs = rows.dropna(subset=["cold"]).reset_index(drop=True)
    values = runs["cold"].to_numpy(float)
    found = change_points(values)
    bounds = [0, *(place for place, _ in found), len(values)]
    changes = []
    for before, (place, p), after in zip(bounds, found, bounds[2:], strict=False):
        sides = values[before:place], values[place:after]
        level = float(np.exp(np.median(sides[1]) - np.median(sides[0])))
        beside = pd.DataFrame(
            {"stratum": 0, "is_other": np.arange(before, after) >= place, "value": np.exp(values[before:after])}
        )
        changes.append(Change(place, runs["submitted_at"][place], p, level, stratified_ratio(beside)))
    return Course(runs, tuple(changes))


def _f02(evidence: Evidence) -> Answer:
    typical = evidence.record(TYPICAL)
    over_time = course(evidence.frame(LATENCY, least=MINIMUM_RUNS))
    runs = evidence.frame(RUNS)
    workers = runs["workers"].astype(float)
    groups = by_tag(runs.assign(startup_per_worker_ms=runs["startup_ms"].astype(float) / workers.where(workers > 0)), NAMES, SLOW, FAST)  # fmt: skip
    changes = _changes(over_time, float(typical["cold_ms"] or 0))
    figures = _course_figure(over_time, float(typical["cold_ms"] or 0))
    caveats = _caveats(over_time)
    left_out = _left_out(typical, over_time)
    if groups is not None:
        return _by_tag(evidence, groups, over_time, changes, figures, caveats, left_out)
    answer = _untagged(typical, over_time, changes, figures, caveats, left_out)
    return simulated.beside(evidence, answer, _A_THIRD, name=_NAME)


def _untagged(
    typical: dict[str, Any], over_time: Course, changes: pd.DataFrame, figures: tuple[Figure, ...], caveats: tuple[str, ...], left_out: str
) -> Answer:  # fmt: skip
    if len(over_time.runs) < LEAST:
        return not_enough(
            f"{count(len(over_time.runs), 'run')} of {count(int(typical['runs']), 'run')} left cold starts to follow over time "
            f"(it takes {LEAST}), and no tag tells faster launching from normal.",
            "More runs; or runs of both kinds, told apart by a tag: `flowscope tag launch=fast --where ...`.",
            n=len(over_time.runs),
        )
    largest = max(over_time.changes, key=lambda change: abs(log(change.value)), default=None)
    return Answer(
        "answered",
        f"No tag tells faster launching from normal; from the data alone, {_told(over_time)}.",
        len(over_time.runs), "runs", _effect(largest), left_out, changes, figures, caveats,
        "Runs of both kinds, told apart by a tag `launch`, with the same workflow, planner, SLA and input.",
    )  # fmt: skip


def _by_tag(
    evidence: Evidence, groups: Groups, over_time: Course, changes: pd.DataFrame, figures: tuple[Figure, ...], caveats: tuple[str, ...], left_out: str
) -> Answer:  # fmt: skip
    matched = groups.matched()
    found = {name: compare(matched, name) for name in ("makespan_ms", "startup_per_worker_ms", "gb_seconds_derived")}
    makespan, each = found["makespan_ms"], found["startup_per_worker_ms"]
    unit = "pairs of runs" if matched.way == "paired" else "runs"
    rows = pd.DataFrame(
        [_row(METRICS.get(name, "start-up per worker"), result) for name, result in found.items() if result.n]
    )
    table = pd.concat([rows, changes], ignore_index=True)
    if makespan.ratio is None:
        verdict = f"Too few runs of {groups.names[0]} and {groups.names[1]} are complete and alike to be compared ({phrases.rests_on(matched)})"
    else:
        verdict = (
            f"With {groups.names[1]} instead of {groups.names[0]}, "
            f"{bold(makespan)}; "
            f"{phrases.decided(each).replace('startup_per_worker_ms', 'start-up per worker')}; "
            f"{phrases.decided(found['gb_seconds_derived']).replace(' is ', ' are ', 1)}"
        )
    drawn = forest(rows, "Faster / normal launch (ratio)", "faster-launch")
    answer = Answer(
        _status(makespan),
        f"{verdict}. Over time, {_told(over_time)}.",
        makespan.n, unit,
        phrases.effect("makespan with faster launch / normal", makespan.ratio),
        f"{of_groups(groups, matched)} {left_out}",
        table, (*drawn, *figures),
        (
            f"Faster launching: {phrases.rests_on(matched)}; {losses(matched).sentence}.",
            "Start-up per worker is a run's summed start-up by its workers, cold and warm, pre-warmed ones and time queued included.",
            *caveats,
        ),
        "More pairs of runs, recorded in turn; starts one at a time, where no queue hides how fast a container is launched.",
    )  # fmt: skip
    return simulated.beside(evidence, answer, _A_THIRD, name=_NAME, dose=_dose(each.ratio))


def _dose(each: Interval | None) -> simulated.Dose | None:
    """Return what part of a third of the start-up the faster launch that was recorded made of it, None where it made none."""
    if each is None or not each.high < 1:
        return None
    return simulated.Dose(
        (1 - each.value) / (1 - _THIRD),
        f"Recorded as faster is {phrases.times(each)} the start-up per worker, not a third; in proportion",
    )


def _status(makespan: Compared) -> Status:
    if makespan.ratio is None:
        return "not enough data"
    decisions: dict[str, Status] = {"lower": "holds", "higher": "does not hold", "no difference": "does not hold"}
    return decisions.get(makespan.ratio.decision, "not enough data")


def _row(name: str, found: Compared) -> dict[str, Any]:
    sides = {"reference_s": found.reference, "other_s": found.other}
    is_time = found.metric.endswith("_ms")
    return {
        **found.row(name),
        "needed": found.ratio.needed() if found.ratio else None,
        **{side: value / 1000 if value is not None and is_time else None for side, value in sides.items()},
    }


def _changes(over_time: Course, cold_ms: float) -> pd.DataFrame:
    """Return a row per change: when, from which level to which, over how many runs."""
    values = over_time.runs["cold"].to_numpy(float)
    rows = []
    for before, change, after in zip(over_time.bounds, over_time.changes, over_time.bounds[2:], strict=False):
        rows.append(
            {
                "label": "cold start-up after / before",
                "value": change.value,
                "low": change.interval.low if change.interval else None,
                "high": change.interval.high if change.interval else None,
                "decision": "",
                "n": after - before,
                "at_utc": change.at,
                "p": change.p,
                "reference_s": exp(np.median(values[before : change.place])) * cold_ms / 1000,
                "other_s": exp(np.median(values[change.place : after])) * cold_ms / 1000,
            }
        )
    return pd.DataFrame(rows)


def _told(over_time: Course) -> str:
    """Say whether and when cold start-up changed."""
    if len(over_time.runs) < LEAST:
        return f"{count(len(over_time.runs), 'run')} with cold starts are too few to tell a change (it takes {LEAST})"
    if not over_time.changes:
        return (
            f"no lasting change of cold start-up latency is seen over {count(len(over_time.runs), 'run')} "
            f"(Pettitt's test at {100 * ALPHA:g} %)"
        )
    largest = sorted(over_time.changes, key=lambda change: -abs(log(change.value)))[:MOST_NAMED]
    told = [
        f"{change.at:%Y-%m-%d %H:%M} UTC ({ratio(change.value)} the level before)"
        for change in sorted(largest, key=lambda change: change.place)
    ]
    most = "most at " if len(over_time.changes) > MOST_NAMED else "at "
    listed = told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"
    times = {1: "once", 2: "twice"}.get(len(over_time.changes), f"{len(over_time.changes):,} times")
    return f"cold start-up latency changed {times} in {count(len(over_time.runs), 'run')}, {most}{listed}"


def _effect(change: Change | None) -> Effect | None:
    if change is None:
        return None
    name = "cold start-up after / before the largest change"
    if change.interval is None:
        return Effect(name, change.value, None, None)
    return phrases.effect(name, change.interval)


def _left_out(typical: dict[str, Any], over_time: Course) -> str:
    without = int(typical["runs"]) - len(over_time.runs)
    return (
        f"Over time: {count(without, 'run')} of {int(typical['runs']):,} without a cold start that can be followed "
        f"({int(typical['runs']) - int(typical['with_cold']):,} had no cold start of known duration, {int(typical['without_submission']):,} "
        f"have no time of submission; groups with fewer than {MINIMUM_RUNS} cold starts are not followed)."
    )


def _caveats(over_time: Course) -> tuple[str, ...]:
    return (
        f"A change is called one at p < {ALPHA} by Pettitt's rank test on run medians of cold starts (starts of one run hang "
        "together), each taken relative to the median of its engine, environment and memory; neighbouring runs that are alike "
        "count for less. The interval of a level does not know that its place was searched for.",
        "Taken relative to its environment, a change is seen within environments only: from one environment to the next, "
        "used one after the other, it cannot be seen. Times say when something changed, not why: load, queueing and the mix of "
        "settings change with time too. A level that lasts for fewer than some 30 runs is mostly missed, however it looks in the figure.",
        "Start-up is measured from the request and includes the time queued for a place, so it is not only how fast a container launches.",
        *(
            (f"The sentence tells the {MOST_NAMED} largest changes; the table has all {len(over_time.changes):,}.",)
            if len(over_time.changes) > MOST_NAMED
            else ()
        ),
    )


def _course_figure(over_time: Course, cold_ms: float) -> tuple[Figure, ...]:
    runs = over_time.runs
    if runs.empty or not cold_ms:
        return ()
    parts = [
        pd.DataFrame(
            {"at": runs["submitted_at"], "state": state, "seconds": np.exp(runs[state].astype(float)) * cold_ms / 1000,
             "n": runs[f"{state}_starts"], "run_id": runs["run_id"]}
        ).dropna(subset=["seconds"])
        for state in ("cold", "warm")
    ]  # fmt: skip
    points = pd.concat(parts).sort_values(["at", "run_id", "state"], kind="stable")
    levels = pd.DataFrame(
        [
            {
                "begin": runs["submitted_at"][begin],
                "end": runs["submitted_at"][end - 1],
                "seconds": exp(float(runs["cold"][begin:end].median())) * cold_ms / 1000,
            }
            for begin, end in zip(over_time.bounds, over_time.bounds[1:], strict=False)
        ]
    )
    drawn, left = latency(points, levels, [change.at for change in over_time.changes])
    said = "; ".join(
        f"{begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC {duration(1000 * seconds)}"
        for begin, end, seconds in zip(levels["begin"], levels["end"], levels["seconds"], strict=True)
    )
    text = (
        "Start-up over time, a point per run for its cold (circles) and its warm starts (triangles), adjusted for engine, environment "
        f"and memory; lines are medians of cold starts between changes (dashed rules): {said}."
    )
    return (Figure(drawn, f"{text} {left}" if left else text, "start-up-over-time"),)


QUESTIONS = (
    Question(
        "F02",
        "Did launching containers faster pay off: what changed in start-up latency, and when?",
        "cold_starts",
        f"With a tag such as launch=fast: {MINIMUM_PAIRS} pairs of runs, else {MINIMUM_RUNS} on each side; it holds if makespan is "
        f"lower (95 % interval below 1), does not hold if it is higher or within 5 %. Without one: {LEAST} runs with cold starts.",
        _f02,
    ),
)

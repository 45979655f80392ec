"""What a change does to runs that are played again with it, set beside what was observed of runs that had it.

Every scenario was played for the same runs with and without its change (table `simulations`), so that each run is its own
reference. A finding says which changes answer its question; what comes of them is said here, always marked as simulated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from app.findings import phrases
from app.findings.evidence import Evidence
from app.findings.finding import Answer
from app.findings.matching import METRICS
from app.findings.statistics import Interval, paired_ratio
from app.plain import plain
from app.units import count, figure, ratio
from predictors.simulation.beside import TOUCHED_MS

NOTICED = 0.05
"""A change of cold starts by a smaller share is in the table `simulations` only."""

MANY_ASTRAY = 0.25
"""From this share of runs on that do not replay, a caveat says that they may be different ones."""

MOST_WARNINGS = 3
"""Warnings of simulations that are told, the most frequent; the table `simulations` has all."""

HINT = 'Simulated runs: `flowscope simulate --runs "true" --report`.'
"""What brings them, said where there are none."""

PLAYED = """
-- The selected runs as they go with one thing changed and without it, both simulated: one row per scenario and run, without
-- figures where the run was not simulated so. replays: whether the plain replay comes close enough to the recorded run;
-- is_touched: whether the change moves its makespan by more than $touched_ms; had_it: whether the recorded run had the
-- optimisation assigned that the scenario switches.
with scenarios as (
    select unnest($scenarios) as scenario
),

assigned as (
    select distinct optimizations.run_id, concat('optimization.', optimizations.optimization) as key
    from optimizations
    semi join selected_runs on optimizations.run_id = selected_runs.run_id
    where stage = 'assigned'
)

select
    scenarios.scenario,
    selected_runs.run_id,
    selected_runs.workflow,
    simulations.baseline_makespan_ms is not null as is_simulated,
    coalesce(simulations.replays, true) as replays,
    coalesce(abs(simulations.difference_ms) > $touched_ms, false) as is_touched,
    assigned.run_id is not null as had_it,
    simulations.makespan_ms,
    simulations.baseline_makespan_ms,
    simulations.gb_seconds,
    simulations.baseline_gb_seconds,
    simulations.cold_starts,
    simulations.baseline_cold_starts,
    simulations.warnings
from scenarios
cross join selected_runs
left join simulations on selected_runs.run_id = simulations.run_id and scenarios.scenario = simulations.scenario
left join assigned on selected_runs.run_id = assigned.run_id and split_part(scenarios.scenario, '=', 1) = assigned.key
order by scenarios.scenario, selected_runs.run_id
"""


@dataclass(frozen=True, slots=True)
class Change:
    """A change that a finding asks for: its scenario, how it is said, and which runs it concerns.

    `had_it`: only runs that had the optimisation assigned (True), or had not (False); None: all. `cost`: whether GB-seconds and
    cold starts are told too. `assumes`: what its simulation takes for granted besides.
    """

    scenario: str
    words: str
    had_it: bool | None = None
    cost: bool = False
    assumes: str = ""


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a change does to runs, simulated. `runs`: rows of `PLAYED` of runs that it concerns and that replay.

    Not in `runs` are those whose replay does not come close (`astray`), and those that were not simulated (`missing`), by id.
    `makespan` and `gb_seconds` say how many times that without the change they are, in the median of the runs it touches,
    `makespan_of_all` and `gb_seconds_of_all` in that of all `runs`; None with too few.
    """

    change: Change
    runs: pd.DataFrame
    astray: frozenset[str]
    missing: frozenset[str]
    makespan: Interval | None
    makespan_of_all: Interval | None
    gb_seconds: Interval | None
    gb_seconds_of_all: Interval | None

    @property
    def touched(self) -> pd.DataFrame:
        """The runs whose makespan it moves."""
        return self.runs[self.runs["is_touched"]]


@dataclass(frozen=True, slots=True)
class Dose:
    """What part of a simulated change the observed runs had (1: all of it), and how that is said."""

    part: float
    said: str


def beside(
    evidence: Evidence, answer: Answer, changes: Sequence[Change], *, name: str = "", labels: str = "label", dose: Dose | None = None
) -> Answer:  # fmt: skip
    """Return an observed answer with what simulations say of its changes, or how to get them where there are none.

    The first change is held against the rows 'makespan' and 'GB-seconds' of the answer's table, where it has them; in proportion
    to the `dose`, if given. `name`: how the effect is called if the first change has to stand in for an answer that has none; ''
    where it answers another question. `labels`: the column of the answer's table that names its rows.
    """
    rows = evidence.frame(PLAYED, scenarios=[change.scenario for change in changes], touched_ms=TOUCHED_MS)
    found = [one for change in changes if (one := simulated(rows, change))]
    if not found:
        return replace(answer, would_change=f"{answer.would_change} {HINT}".strip())
    parts = [f"Simulated: {'; '.join(map(said, found))}"]
    first = found[0]
    if first.change is changes[0] and (agreement := _agreement(first, answer.table, dose)):
        parts.append(agreement)
    table = pd.DataFrame([row for one in found for row in _rows(one, labels)])
    together = replace(
        answer,
        sentence=f"{answer.sentence} {'. '.join(parts)}.",
        left_out=f"{answer.left_out} {_left_out(found)}".strip(),
        table=pd.concat([answer.table, table], ignore_index=True) if len(answer.table) else table,
        caveats=(*answer.caveats, *_caveats(found)),
    )
    stands_in = name and answer.status == "not enough data" and answer.effect is None
    if not stands_in or first.makespan is None:
        return together
    return replace(
        together,
        status="answered", n=first.makespan.n, counted="simulated runs",
        effect=phrases.effect(f"{name}, simulated", first.makespan),
    )  # fmt: skip


def simulated(rows: pd.DataFrame, change: Change) -> Simulated | None:
    """Return what a change does, None where no run it concerns was simulated. `rows`: what `PLAYED` returns, or a part of it."""
    rows = rows[rows["scenario"] == change.scenario]
    if change.had_it is not None:
        rows = rows[rows["had_it"] == change.had_it]
    done = rows[rows["is_simulated"]]
    if done.empty:
        return None
    runs, astray, missing = (
        done[done["replays"]],
        done["run_id"][~done["replays"]],
        rows["run_id"][~rows["is_simulated"]],
    )
    touched = runs[runs["is_touched"]]
    ratios: list[Interval | None] = []
    for column in ("makespan_ms", "gb_seconds"):
        is_asked = column == "makespan_ms" or change.cost
        of_touched = _times(touched, column) if is_asked else None
        ratios += [of_touched, of_touched if len(touched) == len(runs) or not is_asked else _times(runs, column)]
    return Simulated(change, runs, frozenset(astray), frozenset(missing), *ratios)


def _times(runs: pd.DataFrame, column: str) -> Interval | None:
    pairs = {"stratum": runs["workflow"], "reference": runs[f"baseline_{column}"], "other": runs[column]}
    return paired_ratio(pd.DataFrame(pairs).astype({"reference": float, "other": float}))


def said(one: Simulated) -> str:
    """Say what a change does, after 'Simulated: ': the median over the runs it touches, of how many, and over all."""
    words, runs, touched = one.change.words, len(one.runs), len(one.touched)
    whose = {None: "", True: " that had it assigned", False: " that had none assigned"}[one.change.had_it]
    astray = (
        f", {count(len(one.astray), 'run')} left out that {'do' if len(one.astray) > 1 else 'does'} not replay"
        if one.astray
        else ""
    )
    if not touched:
        none = f"none of {count(runs, 'run')}{whose} that replay" if runs else f"no run{whose}, for none replays"
        return f"{words} the makespan changes in {none}{astray if runs else ''}"
    where = (
        f"the {touched:,} that it touches of {count(runs, 'run')}{whose}"
        if touched < runs
        else f"{count(runs, 'run')}{whose}"
    )
    if one.makespan is None:
        middle = (one.touched["makespan_ms"] / one.touched["baseline_makespan_ms"]).median()
        return f"{words} makespan is {ratio(middle)} in the median of {where}, too few for an interval{astray}"
    parts = [f"{words} makespan is **{_told(one.makespan).replace(' times', ' times**', 1)} in {where}{astray}"]
    if one.makespan_of_all and touched < runs:
        parts.append(f"{_told(one.makespan_of_all)} over all {runs:,}")
    if one.change.cost:
        parts += _cost(one)
    return ", ".join(parts)


def _told(found: Interval) -> str:
    """Return a ratio with its interval and what it does not decide; an interval without width needs no words."""
    return phrases.times_decided(found, 0.95) if found.low < found.high else f"{figure(found.value)} times"


def _cost(one: Simulated) -> list[str]:
    """Say what a change does to GB-seconds and cold starts, where it does something."""
    parts = []
    if one.gb_seconds and one.gb_seconds.decision in ("lower", "higher"):
        parts.append(f"GB-seconds are {_told(one.gb_seconds)}")
    before, after = (float(one.touched[name].mean()) for name in ("baseline_cold_starts", "cold_starts"))
    if abs(after - before) > NOTICED * before:
        parts.append(f"{figure(after)} cold starts a run instead of {figure(before)}")
    return parts


def _agreement(one: Simulated, observed: pd.DataFrame, dose: Dose | None) -> str:
    """Say whether simulated and observed agree, '' where nothing was observed. `observed`: the table of the observed answer."""
    told = []
    for metric, found in (("makespan_ms", one.makespan_of_all), ("gb_seconds_derived", one.gb_seconds_of_all)):
        name = METRICS[metric]
        seen = _seen(observed, name)
        if found and seen and dose:
            found = _in_proportion(found, dose.part)
            told.append(f"{name}, {phrases.times(found)} then, {agreement(found, seen)}")
        elif found and seen:
            told.append(f"{name} {agreement(found, seen)}")
    if not told:
        return ""
    begin = (
        f"{dose.said}: simulated"
        if dose
        else "Over all runs, touched or not, simulated"
        if len(one.touched) < len(one.runs)
        else "Simulated"
    )
    return f"{begin} and observed {'; '.join(told)}"


def _seen(table: pd.DataFrame, name: str) -> Interval | None:
    if "label" not in table:
        return None
    rows = table[table["label"] == name].dropna(subset=["value", "low", "high"])
    if rows.empty:
        return None
    value, low, high = (float(rows[end].iloc[0]) for end in ("value", "low", "high"))
    return Interval(value, low, high, 0)


def _in_proportion(found: Interval, part: float) -> Interval:
    low, value, high = (1 - part * (1 - end) for end in (found.low, found.value, found.high))
    return Interval(value, low, high, found.n)


def agreement(found: Interval, seen: Interval) -> str:
    """Say whether a simulated ratio agrees with an observed one: in direction, and by overlapping intervals."""
    overlap = max(found.low, seen.low) <= min(found.high, seen.high)
    if found.decision == seen.decision == "no difference":
        return "agree (neither differs by more than 5 %)"
    if (found.value - 1) * (seen.value - 1) <= 0:
        return f"do not agree in direction ({'but' if overlap else 'and'} their intervals {'overlap' if overlap else 'do not overlap'})"
    if not overlap:
        return "agree in direction, not in size (their intervals do not overlap)"
    open_ends = [name for name, one in (("simulated", found), ("observed", seen)) if one.low <= 1 <= one.high]
    but = (
        f", but the {' and the '.join(open_ends)} one {'holds' if len(open_ends) == 1 else 'hold'} 1"
        if open_ends
        else ""
    )
    return f"agree (one direction, intervals overlap{but})"


def _rows(one: Simulated, labels: str) -> list[dict[str, Any]]:
    """Return rows of a finding's table: the effect on the runs touched, and on all where those are not all."""
    told = [("makespan", one.makespan, len(one.touched)), ("GB-seconds", one.gb_seconds, len(one.touched))]
    if len(one.touched) < len(one.runs):
        told += [
            (f"{name}, touched or not", found, len(one.runs))
            for name, found in (("makespan", one.makespan_of_all), ("GB-seconds", one.gb_seconds_of_all))
        ]
    told = [entry for entry in told if one.change.cost or not entry[0].startswith("GB-seconds")]
    return [
        {
            labels: f"simulated {one.change.words}: {name}",
            "value": found.value if found else None,
            "low": found.low if found else None,
            "high": found.high if found else None,
            "decision": found.decision if found else "too few",
            "n": n,
        }
        for name, found, n in told
    ]


def _left_out(found: Sequence[Simulated]) -> str:
    """Say what simulations do not rest on, once for changes of which that is the same."""
    told: dict[str, list[str]] = {}
    for one in found:
        what = (
            f"{count(len(one.astray), 'run')} whose replay does not come close to what was recorded, {len(one.missing):,} without a "
            "simulation (incomplete ones have none)"
        )
        told.setdefault(what, []).append(one.change.words)
    return " ".join(f"Simulated {', '.join(words)}: {what}." for what, words in told.items())


def _caveats(found: Sequence[Simulated]) -> list[str]:
    warnings = pd.concat([one.runs["warnings"] for one in found]).explode().dropna().value_counts()
    told = [f"{plain(warning, 160)} ({count(n, 'simulation')})" for warning, n in warnings.head(MOST_WARNINGS).items()]
    more = f", and {count(len(warnings) - len(told), 'other warning')}" if len(warnings) > len(told) else ""
    many = [one for one in found if len(one.astray) > MANY_ASTRAY * (len(one.astray) + len(one.runs))]
    return [
        "Simulated means that recorded durations are played again in the order of events, with one thing changed and without it: it assumes "
        "that nothing else answers to the change, and that what the platform adds between phases stays as it was. Ratios are of the same "
        "run, so intervals hold what runs differ in, not what a simulation gets wrong.",
        *(one.change.assumes for one in found if one.change.assumes),
        *(
            f"Simulated {one.change.words}: {len(one.astray):,} of {count(len(one.astray) + len(one.runs), 'run')} do not replay closely enough, "
            "and the change may do something else to those."
            for one in many
        ),
        *([f"Simulations warn: {'; '.join(told)}{more}."] if told else []),
    ]

"""F17: runs whose fan-out is only known at run time, predicted before and after it is known, and as two static runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor, log

import pandas as pd

from app.charts import intervals
from app.findings import phrases
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Figure, Question, not_enough
from app.findings.medians import BIN, EXACT, Medians, medians
from app.findings.statistics import MINIMUM_RUNS, Interval, paired_ratio, share
from app.plain import plain
from app.units import count, percent

HINT = "Runs of a workflow whose width differs from run to run; then `flowscope evaluate`, which simulates each before it is known."
MOST_NAMED = 3
"""Workflows, and stages of each, that are named in a sentence; the others are counted."""

WIDTHS = """
-- Per workflow: its runs in order of submission, how many numbers of tasks they have, and how often a run has another number
-- than the run before it.
with ordered as (
    select
        workflow, tasks_expected,
        tasks_expected <> lag(tasks_expected) over (partition by workflow order by submitted_at, run_id) as is_change
    from selected_runs
    where workflow is not null and tasks_expected is not null
)

select
    workflow, count(*) as runs, count(distinct tasks_expected) as widths, min(tasks_expected) as fewest,
    max(tasks_expected) as most, count(*) filter (where is_change) as changes
from ordered
group by workflow
order by workflow
"""

STAGES = """
-- The functions of which not all complete runs of a workflow have as many tasks: the fewest and the most that a run has.
with counted as (
    select selected_runs.workflow, tasks.run_id, tasks.function, count(distinct tasks.task_id) as width
    from tasks
    inner join selected_runs on tasks.run_id = selected_runs.run_id
    where selected_runs.is_complete and selected_runs.workflow is not null and tasks.function is not null
    group by selected_runs.workflow, tasks.run_id, tasks.function
),

complete as (
    select workflow, count(*) as runs from selected_runs where is_complete group by workflow
),

spans as (
    select
        counted.workflow, counted.function,
        case when count(*) < any_value(complete.runs) then 0 else min(counted.width) end as narrowest,
        max(counted.width) as widest
    from counted
    inner join complete on counted.workflow = complete.workflow
    group by counted.workflow, counted.function
)

select workflow, function, narrowest, widest
from spans
where narrowest < widest
order by workflow, widest desc, function
"""

RUNS = """
-- Every run simulated before its width was known: what happened, and what was said of it before and after the width was known
-- and as two static runs. Nobody ran two: they are replayed with the recorded durations, as is the run (replayed_ms).
with played as (
    select simulations.*
    from simulations
    semi join selected_runs on simulations.run_id = selected_runs.run_id
)

select
    selected_runs.run_id, selected_runs.workflow, selected_runs.planner,
    selected_runs.makespan_ms as observed_ms,
    unseen.makespan_ms as unseen_ms, unseen.makespan_low_ms as low_ms, unseen.makespan_high_ms as high_ms,
    ahead.makespan_ms as ahead_ms,
    two.makespan_ms as two_ms,
    coalesce(replayed.replays, false) as replays,
    replayed.makespan_ms as replayed_two_ms, replayed.baseline_makespan_ms as replayed_ms
from selected_runs
inner join played as unseen on selected_runs.run_id = unseen.run_id and unseen.scenario = 'ahead; width unknown'
left join played as ahead on selected_runs.run_id = ahead.run_id and ahead.scenario = 'ahead'
left join played as two on selected_runs.run_id = two.run_id and two.scenario = 'ahead; two static runs'
left join played as replayed on selected_runs.run_id = replayed.run_id and replayed.scenario = 'recorded; two static runs'
order by selected_runs.run_id
"""

_BEFORE, _AFTER = "before the width is known", "after it is known"
_ONE, _TWO = "as one run, judged by its replay", "as two static runs, judged by their replay"
_DRAWN = {
    _BEFORE: "width unknown",
    _AFTER: "width known",
    _ONE: "known, against replay",
    _TWO: "two runs, against replay",
}
"""How the rows of the table are called beside a chart."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Errors of predictions of the same runs, by how they were predicted: relative, signed, a column each."""

    errors: pd.DataFrame
    medians: Medians

    @staticmethod
    def of(runs: pd.DataFrame, columns: Mapping[str, tuple[str, str]]) -> Judged:
        """Judge the runs of which everything is known. `columns`: by name, what was predicted and what it is judged by."""
        known = runs.dropna(subset=sorted({column for pair in columns.values() for column in pair}))
        known = known[[*{actual for _, actual in columns.values()}]].gt(0).all(axis=1).pipe(lambda above: known[above])
        errors = pd.DataFrame(
            {name: known[predicted] / known[actual] - 1 for name, (predicted, actual) in columns.items()}, dtype=float
        )
        seen = {name: float(errors[name].abs().median()) for name in columns}
        if errors.empty:
            return Judged(errors, Medians(seen, {}, 0, 0))
        counts = pd.DataFrame(
            [
                {"predictor": name, "block": block, "bin": floor(log(max(abs(error), EXACT)) / BIN), "n": 1}
                for name in columns
                for block, error in enumerate(errors[name])
            ]
        )
        return Judged(errors, medians(counts, seen, len(known)))

    def said(self, name: str) -> str:
        """Return '22.2 % (95 % interval 18.0 to 26.1 %)'."""
        return f"{percent(self.medians.seen[name])}{_ends(self.medians.interval(name))}"


def _fan_outs(evidence: Evidence) -> Answer:
    widths, stages, runs = (evidence.frame(sql) for sql in (WIDTHS, STAGES, RUNS))
    dynamic = widths[widths["widths"] > 1]
    has = f"{len(dynamic):,} of {count(len(widths), 'workflow')} {'has' if len(dynamic) == 1 else 'have'} runs of different numbers of tasks"
    told = f"{has}{f': {_named(dynamic, stages)}' if len(dynamic) else ''}"
    judged = Judged.of(runs, {_BEFORE: ("unseen_ms", "observed_ms"), _AFTER: ("ahead_ms", "observed_ms")})
    n = len(judged.errors)
    if n < MINIMUM_RUNS:
        return not_enough(
            f"{told}; {count(n, 'run')} {'was' if n == 1 else 'were'} simulated before the width was known and can be judged, "
            f"{MINIMUM_RUNS} are needed."
            if len(widths)
            else "No run of this selection records its number of tasks.",
            HINT, n=n,
        )  # fmt: skip
    replayed = runs[runs["replays"].astype(bool)]
    split = Judged.of(replayed, {_ONE: ("ahead_ms", "replayed_ms"), _TWO: ("two_ms", "replayed_two_ms")})
    ratio = judged.medians.ratio(_BEFORE, _AFTER)
    again = split.medians.ratio(_TWO, _ONE) if len(split.errors) >= MINIMUM_RUNS else None
    cost = _cost(replayed)
    varies = _varies(dynamic[dynamic["workflow"].isin(runs["workflow"])])
    used = runs.loc[judged.errors.index]
    held = share(int(used["observed_ms"].between(used["low_ms"], used["high_ms"]).sum()), n)
    table = _table(judged, split, cost)
    return Answer(
        "answered" if varies else "not enough data",
        f"{_sentence(judged, ratio)}. {_two(split, again, cost)}. {told}"
        f"{'' if varies else ', the one number after the other, so no width varies from run to run'}.",
        n, "runs",
        phrases.effect("median relative error before the width is known / after", ratio),
        _left_out(runs, n, len(replayed), widths), table, _figures(table),
        _caveats(dynamic, runs, held, judged, again),
        HINT if not varies else "Workflows of other widths, and runs of the same work really split in two.",
    )  # fmt: skip


def _sentence(judged: Judged, ratio: Interval | None) -> str:
    compared = f": before, {_times(ratio)} as far off" if ratio else ""
    return (
        f"Before the width of a run is known its makespan is predicted **{percent(judged.medians.seen[_BEFORE])}** off at the median"
        f"{_ends(judged.medians.interval(_BEFORE))}, {_AFTER} {judged.said(_AFTER)}{compared}"
    )


def _ends(found: Interval | None) -> str:
    return f" ({phrases.ends_of_share(found)})" if found else ""


def _times(found: Interval) -> str:
    """Return a ratio with its interval, and what that does not decide."""
    return phrases.times_decided(found, 0.95)


def _two(split: Judged, again: Interval | None, cost: Interval | None) -> str:
    if len(split.errors) < MINIMUM_RUNS:
        return (
            f"What two static runs of the same work would do cannot be said: {count(len(split.errors), 'run')} replay"
        )
    compared = f": as two, {_times(again)} as far off" if again else ""
    takes = f"; replayed as two it takes {_times(cost)} as long" if cost else ""
    return (
        f"As two static runs the same work is predicted {percent(split.medians.seen[_TWO])} off, as one run of known width "
        f"{percent(split.medians.seen[_ONE])}, both judged by replays{compared}{takes}"
    )


def _cost(replayed: pd.DataFrame) -> Interval | None:
    """Return the makespan of two static runs as a multiple of that of the one, both replayed."""
    return paired_ratio(
        pd.DataFrame(
            {
                "stratum": replayed["workflow"],
                "reference": replayed["replayed_ms"].astype(float),
                "other": replayed["replayed_two_ms"].astype(float),
            }
        )
    )


def _varies(dynamic: pd.DataFrame) -> bool:
    """Tell whether the width of any workflow varies from run to run: it changes more often than to take each value once."""
    return bool((dynamic["changes"] >= dynamic["widths"]).any())


def _named(dynamic: pd.DataFrame, stages: pd.DataFrame) -> str:
    parts = []
    for row in dynamic.head(MOST_NAMED).to_dict("records"):
        own = stages[stages["workflow"] == row["workflow"]]
        named = [
            f"{plain(stage['function'], 40)} {stage['narrowest']:,} to {stage['widest']:,} times"
            for stage in own.head(MOST_NAMED).to_dict("records")
        ]
        if len(own) > MOST_NAMED:
            named.append(f"{len(own) - MOST_NAMED:,} more")
        inside = f" ({', '.join(named)})" if named else ""
        parts.append(f"{plain(row['workflow'], 40)}, {row['fewest']:,} to {row['most']:,} tasks{inside}")
    if len(dynamic) > MOST_NAMED:
        parts.append(f"{len(dynamic) - MOST_NAMED:,} more")
    return "; ".join(parts)


def _table(judged: Judged, split: Judged, cost: Interval | None) -> pd.DataFrame:
    rows = [
        _row(f"makespan {name}", one, name)
        for one, names in ((judged, (_BEFORE, _AFTER)), (split, (_ONE, _TWO)))
        for name in names
        if len(one.errors)
    ]
    if cost:
        rows.append(
            {"label": "replayed makespan, two static runs / one", "n": cost.n, "ratio": cost.value, "low": cost.low, "high": cost.high}
        )  # fmt: skip
    return pd.DataFrame(rows)


def _row(label: str, judged: Judged, name: str) -> dict[str, object]:
    found = judged.medians.interval(name)
    return {
        "label": label,
        "n": len(judged.errors),
        "median_relative_error": judged.medians.seen[name],
        "low": found.low if found else None,
        "high": found.high if found else None,
        "median_signed_error": float(judged.errors[name].median()),
    }


def _left_out(runs: pd.DataFrame, n: int, replayed: int, widths: pd.DataFrame) -> str:
    of_workflows = int(widths[widths["workflow"].isin(runs["workflow"])]["runs"].sum())
    parts = [f"{count(of_workflows - len(runs), 'run')} that could not be simulated so, such as those before which every run had their width"]  # fmt: skip
    if len(runs) > n:
        parts.append(f"{len(runs) - n:,} without a makespan to judge by")
    parts.append(f"from what is said of two static runs {len(runs) - replayed:,} whose own replay is more than 5 % off")
    return f"Of {count(of_workflows, 'run')} of these workflows: {'; '.join(parts)}."


def _caveats(
    dynamic: pd.DataFrame, runs: pd.DataFrame, held: Interval | None, judged: Judged, again: Interval | None
) -> tuple[str, ...]:
    caveats: list[str] = []
    for row in dynamic[dynamic["workflow"].isin(runs["workflow"])].head(MOST_NAMED).to_dict("records"):
        if row["changes"] < row["widths"]:
            caveats.append(
                f"In {plain(row['workflow'], 40)} the number of tasks changes {count(row['changes'], 'time')} in {count(row['runs'], 'run')} in order of "
                "submission: the workflow was changed, its width is not random. What is learned of widths before then is of the "
                "other version, and this says what such a change costs a prediction rather than what a dynamic fan-out does."
            )
    caveats += [
        "Before the width is known each draw takes the fan-out of an earlier run, as often as it was seen, and such a run stands in with its "
        f"plan and what was predicted of its tasks. Of what happened {phrases.share(held)} lies within the 5 to 95 % of the draws. Median "
        f"errors with their sign: {percent(float(judged.errors[_BEFORE].median()))} before, {percent(float(judged.errors[_AFTER].median()))} after.",
        "Nobody ran two static runs. What they are judged by is a replay of the recorded durations, split before the first stage whose "
        "width varies: the second run is submitted when the first has ended, launches its own workers, and downloads what it needs. "
        "Transfers that did not happen take what is usual for their size. A replay leaves out what no simulation knows, so both errors judged "
        "by replays flatter alike; they are compared with each other only.",
        "Errors are those of the simulation as played, before calibration.",
    ]
    if again is None:
        caveats.append("Whether two static runs are predicted better than one cannot be told.")
    return tuple(caveats)


def _figures(table: pd.DataFrame) -> tuple[Figure, ...]:
    shown = table.dropna(subset=["median_relative_error", "low", "high"])
    if shown.empty:
        return ()
    names = shown["label"].str.removeprefix("makespan ")
    frame = shown.assign(label=names.map(_DRAWN)).rename(columns={"median_relative_error": "value"})
    text = "Median relative error of the makespan with its 95 % interval: " + "; ".join(
        f"{name} {percent(row['value'])} ({percent(row['low'])} to {percent(row['high'])}, {count(row['n'], 'run')})"
        for name, row in zip(names, frame.to_dict("records"), strict=True)
    )
    drawn = intervals(frame, "Median relative error of the makespan", none=None, log=False, form=".1%")
    return (Figure(drawn, f"{text}.", "fan-outs"),)


QUESTIONS = (
    Question(
        "F17",
        "How well are runs predicted whose fan-out is only known at run time: one dynamic workflow against two static ones?",
        "prediction_accuracy",
        f"{MINIMUM_RUNS} runs of workflows whose width varies from run to run, simulated before it is known; as many whose replay "
        "comes within 5 % for two static runs",
        _fan_outs,
    ),
)

"""What findings about experiments share, and F03: with and without task duplication."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from app import charts
from app.findings import phrases, simulated
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Figure, Question, not_enough
from app.findings.matching import (
    METRICS,
    RUNS,
    UNITS,
    Compared,
    Matched,
    by_workflow,
    compare,
    lost,
    match,
    tag_names,
    tag_values,
)
from app.findings.statistics import MINIMUM_IN_STRATUM, MINIMUM_PAIRS, MINIMUM_RUNS, loss_test
from app.plain import label, plain
from app.units import count

MINIMUM = (
    f"{MINIMUM_PAIRS} pairs of runs; where runs cannot be paired, {MINIMUM_RUNS} on each side, in strata with at least "
    f"{MINIMUM_IN_STRATUM} on each side. A difference counts as real if the 95 % interval does not hold 1."
)
_DUPLICATION = (
    simulated.Change(
        "optimization.taskdup=off", "without task duplication", had_it=True, cost=True,
        assumes="In a simulation a worker that needs a result whose task nobody has begun runs that task itself, where it was assigned as "
        "duplicable; what watching for that costs a worker that starts is learnt from these runs.",
    ),
    simulated.Change("optimization.taskdup=on", "with task duplication", had_it=False),
)  # fmt: skip
_ON, _OFF = ("on", "true", "yes", "1", "enabled", "with"), ("off", "false", "no", "0", "none", "disabled", "without")


@dataclass(frozen=True, slots=True)
class Groups:
    """Runs in two groups: which group each is in (None: neither), what told them apart, and how they are called."""

    runs: pd.DataFrame
    group: pd.Series[Any]
    reference: Hashable
    other: Hashable
    by: str
    names: tuple[str, str]

    def matched(self) -> Matched:
        """Lay the groups beside each other."""
        return match(self.runs, self.group, self.reference, self.other, self.by)


def by_tag(runs: pd.DataFrame, names: Sequence[str], reference: Sequence[str], other: Sequence[str]) -> Groups | None:
    """Return the groups that a tag tells apart: the first of `names` with values of both lists, None without one."""
    for name in names:
        values = tag_values(runs, name).map(lambda value: value.strip().lower() if isinstance(value, str) else None)
        group = values.where(values.isin([*reference, *other])).map(lambda value: value in other, na_action="ignore")
        if {False, True} <= set(group.dropna()):
            tag = f"tag {plain(name)}"
            found = [sorted(set(values[values.isin(side)]))[0] for side in (list(reference), list(other))]
            return Groups(
                runs, group, False, True, name, (f"{tag} {plain(found[0], 30)}", f"{tag} {plain(found[1], 30)}")
            )
    return None


def every(matched: Matched, level: float = 0.95) -> dict[str, Compared]:
    """Compare every metric."""
    return {metric: compare(matched, metric, level) for metric in METRICS}


def table(matched: Matched, found: dict[str, Compared], level: float = 0.95) -> pd.DataFrame:
    """Return the comparison of every metric, and of the makespan within each workflow: a row each."""
    rows = [row(METRICS[metric], one, level) for metric, one in found.items()]
    rows += [
        row(f"makespan of {label(workflow, 30)}", one, level)
        for workflow, one in by_workflow(matched, "makespan_ms", level).items()
    ]
    return pd.DataFrame([row for row in rows if row["n"]])


def row(name: str, found: Compared, level: float = 0.95) -> dict[str, Any]:
    """Return a comparison as a row of the table: the ratio with its interval, and the medians in their unit."""
    return {
        **found.row(name),
        "needed": found.ratio.needed(level) if found.ratio else None,
        "unit": UNITS.get(found.metric, "ms"),
        "reference_median": found.reference,
        "other_median": found.other,
        "incomplete": found.incomplete,
    }


def forest(rows: pd.DataFrame, axis: str, name: str, how_sure: str = "intervals") -> tuple[Figure, ...]:
    """Return the chart of such a table, none where no ratio is known. `how_sure` says in words what the bars are."""
    known = rows.dropna(subset=["value"]) if "value" in rows else rows
    if known.empty:
        return ()
    text = f"{axis}, with {how_sure}: " + "; ".join(
        f"{row.label} {row.value:.2f} ({row.low:.2f} to {row.high:.2f}), {row.decision}" for row in known.itertuples()
    )
    return (Figure(charts.intervals(known, axis), f"{text}.", name),)


@dataclass(frozen=True, slots=True)
class Losses:
    """Incomplete runs of both groups among those compared, and whether the difference is more than chance."""

    reference: int
    other: int
    p: float
    sentence: str


def losses(matched: Matched, level: float = 0.95) -> Losses:
    """Return what was lost of each group, tested within pairs or strata (`statistics.loss_test`)."""
    counts = lost(matched)
    lost_reference, reference, lost_other, other = (sum(row[place] for row in counts) for place in range(4))
    p = loss_test(counts)
    verdict = "more than chance" if p < 1 - level else "not shown to differ"
    tested = f" (exact test: p = {p:.2g}, {verdict})" if lost_reference or lost_other else ""
    sentence = (
        f"{lost_other:,} of {count(other, 'run')} {'is' if lost_other == 1 else 'are'} incomplete against {lost_reference:,} of "
        f"{reference:,}{tested}"
    )
    return Losses(lost_reference, lost_other, p, sentence)


def cost_of(found: dict[str, Compared]) -> Compared:
    """Return what runs cost beside each other: in dollars where they have a price, else in GB-seconds."""
    return found["cost_usd"] if found["cost_usd"].ratio else found["gb_seconds_derived"]


def left_out(groups: Groups, matched: Matched) -> str:
    """Say which runs of the groups a ratio does not rest on."""
    incomplete = int((~matched.blocks["is_complete"].eq(True)).sum())
    return (
        f"{count(matched.unmatched, 'run')} of the two groups without a counterpart; {count(incomplete, 'incomplete run')} "
        f"in the ratios; {count(int(groups.group.isna().sum()), 'run')} in neither group."
    )


def _without_duplication(evidence: Evidence) -> Answer:
    answer = _recorded_without_duplication(evidence)
    return simulated.beside(evidence, answer, _DUPLICATION, name="makespan without / with task duplication")


def _recorded_without_duplication(evidence: Evidence) -> Answer:
    runs = evidence.frame(RUNS)
    groups = by_tag(runs, ("taskdup", "task_duplication", "duplication", "dup"), _ON, _OFF)
    if groups is None:
        group = runs["run_id"].map(evidence.frame(_ASSIGNING).set_index("run_id")["assigns"])
        groups = Groups(runs, group, True, False, "", ("runs whose plan assigns it", "runs whose plan does not"))
        if group.nunique() < 2:
            planned = int(group.notna().sum())
            kinds = "with" if group.eq(True).any() else "without"
            return not_enough(
                f"All {count(planned, 'planned run')} of this selection are {kinds} task duplication: there is nothing to compare."
                if planned
                else "No run of this selection has a plan or a tag that says whether task duplication was on.",
                "Runs of both kinds, told apart by a tag: `flowscope ingest DUMP --tag taskdup=off`.",
                n=len(runs),
            )
    matched = groups.matched()
    found = every(matched)
    makespan, cost = found["makespan_ms"], cost_of(found)
    if makespan.ratio is None:
        return too_few(groups, matched, "with and without task duplication")
    rows = table(matched, found)
    return Answer(
        "answered",
        f"Without task duplication, compared with runs that have it, {bold(makespan)}; {phrases.decided(cost)}; "
        f"{losses(matched).sentence}{phrases.but(matched)}.",
        makespan.n, "pairs of runs" if matched.way == "paired" else "runs",
        phrases.effect("makespan without / with task duplication", makespan.ratio),
        left_out(groups, matched), rows,
        forest(rows, "Without / with task duplication (ratio)", "without-task-duplication"),
        (
            f"Reference: {groups.names[0]}; beside it: {groups.names[1]}. It rests on {phrases.rests_on(matched)}.",
            "A comparison of runs as they were set up: also those count in which a duplicate was assigned and never ran.",
            "Recorded in series one after the other: whatever drifted on the machine between them is in the difference too."
            if "tag experiment" not in matched.held_equal and "experiment" in tag_names(runs) else
            "Runs of both groups were not necessarily taken in turn: drift between them would be in the difference.",
        ),
        "More pairs; the same pairs recorded in turn; runs with failures of workers, which duplication might hide.",
    )  # fmt: skip


_ASSIGNING = """
-- Whether the plan of each planned run assigns task duplication.
select plans.run_id, bool_or(coalesce(optimization = 'taskdup' and stage = 'assigned', false)) as assigns
from plans
semi join selected_runs on plans.run_id = selected_runs.run_id
left join optimizations on plans.run_id = optimizations.run_id
group by plans.run_id
order by plans.run_id
"""


def too_few(groups: Groups, matched: Matched, what: str) -> Answer:
    """Answer that the groups cannot be compared, and what was lost of each."""
    sides = [int((groups.group == side).sum()) for side in (groups.reference, groups.other)]
    return not_enough(
        f"There are {sides[0]:,} and {count(sides[1], 'run')} {what}, and too few of them are complete and alike to compare their "
        f"makespan ({phrases.rests_on(matched)}); {losses(matched).sentence}.",
        "Runs of both kinds with the same workflow, planner, SLA and input.",
        n=sum(sides),
    )


def bold(found: Compared) -> str:
    """Return what a comparison of makespans decides, its ratio in bold."""
    return phrases.decided(found).replace("makespan is ", "makespan is **", 1).replace(" times", " times**", 1)


QUESTIONS = (
    Question(
        "F03", "What does NOT using task duplication do to makespan, cost and failures?", "experiments", MINIMUM, _without_duplication
    ),
)  # fmt: skip

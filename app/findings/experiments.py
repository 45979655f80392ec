"""Experiments that were run on purpose: with and without task duplication, a limit of tasks a worker, less memory."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from scipy import stats

from app import charts
from app.findings import phrases
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Figure, Question, Status, not_enough
from app.findings.matching import METRICS, RUNS, Compared, Matched, by_workflow, compare, lost, match, tag_values
from app.findings.statistics import MINIMUM_IN_STRATUM, MINIMUM_PAIRS, MINIMUM_RUNS
from app.plain import label, plain
from app.units import count, ratio

MINIMUM = (
    f"{MINIMUM_PAIRS} pairs of runs; where runs cannot be paired, {MINIMUM_RUNS} on each side, in strata with at least "
    f"{MINIMUM_IN_STRATUM} on each side. A difference counts as real if the 95 % interval does not hold 1."
)
_ON, _OFF = ("on", "true", "yes", "1"), ("off", "false", "no", "0", "none")
_GB = 1024


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


def table(matched: Matched, level: float = 0.95) -> pd.DataFrame:
    """Return the comparison of every metric, and of the makespan within each workflow: a row each."""
    rows = [_row(METRICS[metric], compare(matched, metric, level)) for metric in METRICS]
    rows += [
        _row(f"makespan of {label(workflow, 30)}", found)
        for workflow, found in by_workflow(matched, "makespan_ms", level).items()
    ]
    return pd.DataFrame([row for row in rows if row["n"]])


def _row(name: str, found: Compared) -> dict[str, Any]:
    interval = found.ratio
    return {
        "label": name,
        "value": interval.value if interval else None,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "decision": interval.decision if interval else "too few",
        "n": found.n,
        "needed": interval.needed() if interval else None,
        "reference_median": found.reference,
        "other_median": found.other,
        "incomplete": found.incomplete,
    }


def forest(rows: pd.DataFrame, axis: str, name: str) -> tuple[Figure, ...]:
    """Return the chart of such a table, none where no ratio is known."""
    known = rows.dropna(subset=["value"]) if "value" in rows else rows
    if known.empty:
        return ()
    text = f"{axis}, with 95 % intervals: " + "; ".join(
        f"{row.label} {row.value:.2f} ({row.low:.2f} to {row.high:.2f}), {row.decision}" for row in known.itertuples()
    )
    return (Figure(charts.intervals(known, axis), f"{text}.", name),)


def losses(matched: Matched) -> tuple[str, float, int, int]:
    """Say how many runs of each group are incomplete; return the sentence, the p-value and both numbers.

    Pairs are compared by McNemar's exact test, groups by Fisher's.
    """
    (lost_reference, reference), (lost_other, other), only_reference, only_other = lost(matched)
    if matched.way == "paired":
        discordant = only_reference + only_other
        p = float(stats.binomtest(only_other, discordant).pvalue) if discordant else 1.0
        test = "McNemar's exact test"
    else:
        cells = [[lost_reference, reference - lost_reference], [lost_other, other - lost_other]]
        p, test = float(stats.fisher_exact(cells).pvalue), "Fisher's exact test"
    sentence = (
        f"{lost_other:,} of {count(other, 'run')} {'is' if lost_other == 1 else 'are'} incomplete against {lost_reference:,} of "
        f"{reference:,} ({test}: p = {p:.2g}, {'more than chance' if p < 0.05 else 'not shown to differ'})"
    )
    return sentence, p, lost_reference, lost_other


def _cost(matched: Matched) -> Compared:
    priced = compare(matched, "cost_usd")
    return priced if priced.ratio else compare(matched, "gb_seconds_derived")


def _left_out(groups: Groups, matched: Matched) -> str:
    incomplete = int((~matched.blocks["is_complete"].eq(True)).sum())
    return (
        f"{count(matched.unmatched, 'run')} of the two groups without a counterpart; {count(incomplete, 'incomplete run')} "
        f"in the ratios; {count(int(groups.group.isna().sum()), 'run')} in neither group."
    )


def _without_duplication(evidence: Evidence) -> Answer:
    runs = evidence.frame(RUNS)
    groups = by_tag(runs, ("taskdup", "task_duplication", "duplication", "dup"), _ON, _OFF)
    if groups is None:
        with_it = set(evidence.frame(_ASSIGNING)["run_id"])
        group = runs["run_id"].isin(with_it)
        groups = Groups(runs, group, True, False, "", ("runs whose plan assigns it", "runs whose plan does not"))
        if group.nunique() < 2:
            return not_enough(
                f"All {count(len(runs), 'run')} of this selection are {'with' if len(with_it) else 'without'} task duplication: "
                "there is nothing to compare.",
                "Runs of both kinds, told apart by a tag: `flowscope ingest DUMP --tag taskdup=off`.",
                n=len(runs),
            )
    matched = groups.matched()
    makespan, cost = compare(matched, "makespan_ms"), _cost(matched)
    if makespan.ratio is None:
        return _too_few(groups, matched, "with and without task duplication")
    failed, _, _, _ = losses(matched)
    rows = table(matched)
    return Answer(
        "answered",
        f"Without task duplication, compared with runs that have it, {_bold(makespan)}; {phrases.decided(cost)}; {failed}.",
        makespan.n, "pairs of runs" if matched.way == "paired" else "runs",
        phrases.effect("makespan without / with task duplication", makespan.ratio),
        _left_out(groups, matched), rows,
        forest(rows, "Without / with task duplication (ratio)", "without-task-duplication"),
        (
            f"Reference: {groups.names[0]}; beside it: {groups.names[1]}. It rests on {phrases.rests_on(matched)}.",
            "A comparison of runs as they were set up: also those count in which a duplicate was assigned and never ran.",
            "Recorded in series one after the other: whatever drifted on the machine between them is in the difference too."
            if "tag experiment" not in matched.held_equal and "experiment" in _tag_names(runs) else
            "Runs of both groups were not necessarily taken in turn: drift between them would be in the difference.",
        ),
        "More pairs; the same pairs recorded in turn; runs with failures of workers, which duplication might hide.",
    )  # fmt: skip


_ASSIGNING = """
-- The runs whose plan assigns task duplication.
select distinct selected_runs.run_id
from selected_runs
inner join optimizations on selected_runs.run_id = optimizations.run_id
where optimization = 'taskdup' and stage = 'assigned'
order by selected_runs.run_id
"""


def _task_limit(evidence: Evidence) -> Answer:
    runs = evidence.frame(RUNS)
    names = ("task_limit", "tasks_per_worker", "max_tasks_per_worker", "worker_task_limit", "concurrency_limit")
    limits = [
        value for name in names for value in tag_values(runs, name).dropna() if value.isdecimal() and int(value) > 0
    ]
    limit = "6" if "6" in limits or not limits else max(set(limits), key=limits.count)
    groups = by_tag(runs, names, ("none", "off", "no", "unlimited", "0", "inf"), (limit,))
    if groups is None:
        return not_enough(
            "No tag tells runs with a limit of tasks per worker from runs without one, and the engine does not record its limit.",
            "Runs of both kinds, tagged: `flowscope tag task_limit=6 --where ...` and `flowscope tag task_limit=none --where ...`.",
            n=len(runs),
        )
    matched = groups.matched()
    makespan = compare(matched, "makespan_ms")
    if makespan.ratio is None:
        return _too_few(groups, matched, "with and without a limit")
    peaks = evidence.frame(_PEAKS, tag=groups.by, limit=int(limit)).set_index("run_id")
    blocks = matched.blocks
    binding = set(blocks["block"][~blocks["is_other"] & blocks["run_id"].map(peaks["above"]).gt(0)])
    acts = Matched(matched.way, blocks[blocks["block"].isin(binding)], matched.held_equal, matched.free, 0)
    idle = Matched(matched.way, blocks[~blocks["block"].isin(binding)], matched.held_equal, matched.free, 0)
    unlimited = peaks.loc[peaks.index.isin(blocks["run_id"][~blocks["is_other"]])]
    workers, above = int(unlimited["workers"].sum()), int(unlimited["above"].sum())
    where = [("where it could act", compare(acts, "makespan_ms")), ("where it could not", compare(idle, "makespan_ms"))]
    rows = pd.DataFrame(
        [*table(matched).to_dict("records"), *(_row(f"makespan {name}", found) for name, found in where if found.n)]
    )
    status = _verdict(makespan, where[0][1], bool(binding))
    could = f"{above:,} of {count(workers, 'worker')} ever ran more than {limit} tasks at once without it"
    control = where[1][1]
    if status == "mixed" and control.ratio and control.ratio.decision == "lower":
        advice = "Where the limit could not act makespan is lower too, so it is not the reason"
    elif status == "mixed":
        advice = "Whether that is the limit's doing is undecided"
    else:
        advice = {"holds": "The limit helps", "does not hold": "Nothing speaks for the limit: remove it"}.get(
            status, "Undecided"
        )
    return Answer(
        status,
        f"With a limit of {limit} tasks a worker {_bold(makespan)}; {could}"
        + (f", and in the {count(acts.pairs, 'pair' if matched.way == 'paired' else 'stratum', None if matched.way == 'paired' else 'strata')}"
           f" with such a worker {phrases.decided(where[0][1])}" if binding else ", so the limit never acted")
        + f". {advice}.",
        makespan.n, "pairs of runs" if matched.way == "paired" else "runs",
        phrases.effect(f"makespan with a limit of {limit} / without", makespan.ratio),
        _left_out(groups, matched), rows,
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
-- How many tasks each worker of the unlimited runs had at once, at most: per run, how many workers and how many above $limit.
with events as (
    select task_times.run_id, worker_id, started_at as happened_at, 1 as change
    from task_times
    inner join selected_runs on task_times.run_id = selected_runs.run_id
    where started_at is not null and released_at is not null and tags[$tag] is not null
    union all
    select task_times.run_id, worker_id, released_at, -1
    from task_times
    inner join selected_runs on task_times.run_id = selected_runs.run_id
    where started_at is not null and released_at is not null and tags[$tag] is not null
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
)

select run_id, count(*) as workers, count(*) filter (where peak > $limit) as above, max(peak)::bigint as peak
from peaks
group by run_id
order by run_id
"""


def _verdict(makespan: Compared, acting: Compared, binds: bool) -> Status:
    """Judge a limit by all pairs, and by those in which it could act where there are enough of them."""
    if not binds:
        return "does not hold"
    telling = acting.ratio or makespan.ratio
    if telling is None or makespan.ratio is None:
        return "not enough data"
    if telling.decision == "lower":
        return "holds"
    if telling.decision in ("higher", "no difference"):
        return "does not hold"
    return "mixed" if makespan.ratio.decision == "lower" else "not enough data"


def _less_memory(evidence: Evidence) -> Answer:
    runs = evidence.frame(RUNS)
    groups = _by_memory(runs)
    if groups is None:
        return not_enough(
            "All runs of this selection have one baseline memory, or mix several within a run: there is nothing to compare.",
            "Runs at 1 GB and at more, told apart by a tag such as `baseline_memory_mb`.",
            n=len(runs),
        )
    matched = groups.matched()
    makespan, cost = compare(matched, "makespan_ms"), _cost(matched)
    if makespan.ratio is None or cost.ratio is None:
        return _too_few(groups, matched, "at both sizes of memory")
    everyone = compare(matched, "makespan_ms", lost_rank_last=True)
    failed, p, lost_reference, lost_other = losses(matched)
    rows = table(matched)
    rows = pd.concat([pd.DataFrame([_row("makespan, lost runs never end", everyone)]), rows], ignore_index=True)
    more_lost = lost_other > lost_reference
    if cost.ratio.decision == "lower":
        status: Status = "mixed" if more_lost or makespan.ratio.decision == "higher" else "holds"
    elif (
        (more_lost and p < 0.05)
        or makespan.ratio.decision == "higher"
        or cost.ratio.decision in ("higher", "no difference")
    ):
        status = "does not hold"
    else:
        status = "not enough data"
    return Answer(
        status,
        f"At {groups.names[1]} instead of {groups.names[0]}, among runs that survived, {_bold(makespan)} and {phrases.decided(cost)}; "
        f"{failed}; counted as never ending, they make the makespan {phrases.times(everyone.ratio)}.{_who_was_lost(matched)}",
        makespan.n, "pairs of runs" if matched.way == "paired" else "runs",
        phrases.effect("makespan at less memory / at more, survivors only", makespan.ratio),
        _left_out(groups, matched), rows,
        forest(rows, "At less memory / at more (ratio)", "less-memory"),
        (
            f"It rests on {phrases.rests_on(matched)}.",
            "Survivorship: a run killed for its memory leaves no makespan. Medians over survivors flatter the smaller memory, which "
            "loses its hardest runs; the row 'lost runs never end' ranks them last instead of leaving them out.",
            "Whether to accept lost runs for lower cost is a decision; the status is 'mixed' where the smaller memory costs less "
            "and loses more runs or takes longer.",
        ),
        "More pairs, above all with large inputs: they are the ones lost. A retry of killed workers with more memory.",
    )  # fmt: skip


def _by_memory(runs: pd.DataFrame) -> Groups | None:
    for name in ("baseline_memory_mb", "baseline_memory", "memory_mb", "memory", ""):
        sizes = tag_values(runs, name).map(_megabytes, na_action="ignore") if name else runs["memory_mb"]
        known = sizes.dropna().value_counts()
        larger = [size for size in known.index if size > min(known.index, default=0)]
        if not larger:
            continue
        smaller = _GB if _GB in known.index and any(size > _GB for size in larger) else min(known.index)
        reference = max((size for size in larger if size > smaller), key=lambda size: (known[size], -size))
        return Groups(
            runs, sizes, reference, smaller, name or "memory_mb", (f"{reference:,.0f} MB", f"{smaller:,.0f} MB")
        )
    return None


def _megabytes(value: str) -> float | None:
    text = value.strip().lower().removesuffix("b").strip()
    scale = {"m": 1, "g": _GB}.get(text[-1:], 0)
    digits = text.rstrip("mg ")
    if not digits.replace(".", "", 1).isdecimal():
        return None
    number = float(digits)
    return number * (scale or (1 if number >= 64 else _GB))


def _who_was_lost(matched: Matched) -> str:
    """Say how large the inputs of the lost runs' partners were, beside those of the others: lost runs may record none."""
    if matched.way != "paired":
        return ""
    runs = matched.blocks.assign(lost=~matched.blocks["is_complete"].eq(True))
    gone = set(runs["block"][runs["is_other"] & runs["lost"]])
    partners = runs[~runs["is_other"] & ~runs["lost"]].dropna(subset=["input_bytes"])
    of_lost = partners["block"].isin(gone)
    if not of_lost.any() or of_lost.all():
        return ""
    larger = partners["input_bytes"][of_lost].median() / max(partners["input_bytes"][~of_lost].median(), 1)
    return f" The runs lost had {ratio(larger).removesuffix('x')} times the input of the others (medians)."


def _too_few(groups: Groups, matched: Matched, what: str) -> Answer:
    sides = [int((groups.group == side).sum()) for side in (groups.reference, groups.other)]
    return not_enough(
        f"There are {sides[0]:,} and {count(sides[1], 'run')} {what}, and too few of them are complete and alike to be compared "
        f"({phrases.rests_on(matched)}).",
        "Runs of both kinds with the same workflow, planner, SLA and input.",
        n=sum(sides),
    )


def _bold(found: Compared) -> str:
    return phrases.decided(found).replace("makespan is ", "makespan is **", 1).replace(" times", " times**", 1)


def _tag_names(runs: pd.DataFrame) -> set[str]:
    return {name for tags in runs["tags"] if isinstance(tags, dict) for name in tags}


QUESTIONS = (
    Question("F03", "What does NOT using task duplication do to makespan, cost and failures?", "experiments", MINIMUM, _without_duplication),
    Question("F04", "Does limiting each worker to 6 concurrent tasks help? If not, remove the limit.", "experiments", MINIMUM, _task_limit),
    Question(
        "F06",
        "Should the baseline memory go down to 1 GB, and what may be concluded while killed runs are ignored?",
        "experiments", MINIMUM, _less_memory,
    ),
)  # fmt: skip

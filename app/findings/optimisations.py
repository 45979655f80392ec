"""Optimisations: whether they are assigned, and whether they run where they are."""

from __future__ import annotations

import pandas as pd

from app.charts.counts import funnel
from app.findings import conflicts, funnels, phrases
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Figure, Question, Status, not_enough
from app.findings.funnels import NAMES, Funnel
from app.findings.statistics import MINIMUM_RUNS
from app.plain import label, plain
from app.units import count, duration, percent

F01_MINIMUM = (
    f"Holds if the 95 % interval of applied / assigned lies above one half, over planners that assign any optimisation; "
    "does not hold if it lies below, or if pre-load is never assigned though tasks are eligible and some optimisation is on "
    "record; mixed if planners fall on both sides, or the interval lies within 25 and 75 %. "
    f"{MINIMUM_RUNS} runs that assign it, for an interval."
)
F05_MINIMUM = (
    "Holds if it was applied to any task; does not hold if it was assigned and of every assigned task it is known not to have "
    "been applied, or if it was never assigned though tasks are eligible and some optimisation is on record. One run is enough."
)

_ELIGIBLE = {
    "preload": "a task on a fixed worker with at least two upstream tasks on other workers",
    "taskdup": "a task with a downstream task on another worker",
}
_ESTIMATE = (
    "What was saved is an ESTIMATE: downloads that did not happen, or lost their time, at the median speed of their size. It "
    "is download time, not makespan."
)
_RECORD = (
    "Whether an assigned one was applied is not known where the task (of task duplication, one downstream of it) left no "
    "metrics; these are shown as not known and are in no share. WUKONG's own optimisations are recorded nowhere."
)
_CONFIGURED = (
    "A planner that assigns no optimisation at all in this selection counts as one without optimisations: its eligible "
    "tasks are in the table, not in the answer."
)


def _preload(evidence: Evidence) -> Answer:
    per_run = evidence.frame(funnels.PER_RUN)
    rows, found = _pooled(per_run, "preload")
    if missing := _nothing(evidence, found, per_run, "preload"):
        return missing
    if not found.assigned and found.applied_besides:
        return not_enough(
            f"Pre-load was applied to {count(found.applied_besides, 'task')}, but this selection does not record what was assigned.",
            "A source that records what was assigned: the DAG's objects (`dag-...` keys) beside the metrics.",
            n=found.runs_applied,
        )
    planners = {name: one for name, one in funnels.by_planner(rows, "preload").items() if one.eligible or one.assigned}
    status, why = _judge(found, planners)
    if found.told:
        parts = [f"Pre-load ran in {_ran(found)}", why, f"it was {_assigned(found)}" if found.eligible else ""]
    else:
        parts = [f"Pre-load was {_assigned(found)}", why]
    others = found.assigned - found.assigned_eligible if found.decidable else 0
    return Answer(
        status,
        f"{'; '.join(part for part in (*parts, _besides(found)) if part)}.",
        *((found.runs_assigned, "runs that assign it") if found.assigned else (found.runs_eligible, "runs with eligible tasks")),
        phrases.effect("assigned pre-loads that were applied", found.applied_share, "share"),
        _left_out(per_run, found, "preload"),
        _table(per_run, ("preload",)),
        (*_figure(list(funnels.by_planner(per_run, "preload").items()), "pre-load-by-planner"),
         *_figure(_each(per_run), "optimisations")),
        (
            *_split(evidence, per_run),
            f"Eligible is {_ELIGIBLE['preload']}. The rule is ours, read off the engine: versions of it assign by other rules "
            f"too{f' (here {others:,} more)' if others else ''}.",
            *_configured(per_run), _RECORD,
            "An input that was pre-loaded often loses its download time: here that is what shows it was there in time, "
            "elsewhere it makes download times of planners with optimisations look too short.",
            *_helped(found), _ESTIMATE,
        ),
        "Runs of a planner or an engine version that assigns pre-loads and is not in this selection; records of tasks that died.",
    )  # fmt: skip


def _duplication(evidence: Evidence) -> Answer:
    per_run = evidence.frame(funnels.PER_RUN)
    rows, found = _pooled(per_run, "taskdup")
    if missing := _nothing(evidence, found, per_run, "taskdup"):
        return missing
    applied = found.applied + found.applied_besides
    status: Status = "holds" if applied else "not enough data" if found.not_known else "does not hold"
    tags = evidence.frame(funnels.TAGS, values=funnels.MOST_VALUES)
    split = funnels.telling_tag(tags, rows, "eligible", "assigned")
    where, groups = "", []
    if split:
        tag, values = split
        groups = [(_tagged(tag, value), funnels.of_runs(group)) for value, group in values.items()]
        groups.sort(key=lambda item: (-item[1].assigned, -item[1].eligible))
        where = f". {_which_runs(tag, values)}"
    planners = list(funnels.by_planner(per_run, "taskdup").items())
    unused = found.runs_unused
    if found.assigned:
        parts = [
            f"Task duplication was assigned in {_runs(found)}{f' and applied to {_ran(found)}' if found.told else ''}"
        ]
        if not applied and found.not_known:
            parts.append(f"of {count(found.not_known, 'other' if found.told else 'assigned task')} it is not known")
        parts += [_besides(found), _used(found) if applied else ""]
        said = "; ".join(part for part in parts if part)
    elif applied:
        said = f"Task duplication was applied to **{count(applied, 'task')}**; what was assigned is not recorded"
        unused = 0
    else:
        said = f"Task duplication was {_assigned(found)}, hence never applied"
    return Answer(
        status,
        f"{said}{where}.",
        *((found.runs_eligible, "runs with eligible tasks") if found.runs_eligible
          else (found.runs_concerned, "runs that assign or apply it")),
        phrases.effect("assigned task duplications that were applied", found.applied_share, "share"),
        f"{count(unused, 'run')} with eligible tasks {'assigns' if unused == 1 else 'assign'} none and "
        f"{'is' if unused == 1 else 'are'} in no share of applied. " + _left_out(per_run, found, "taskdup"),
        _table(per_run, ("taskdup",), groups),
        _figure([*groups, *planners], "task-duplication"),
        (
            f"Eligible is {_ELIGIBLE['taskdup']}. An engine version without task duplication assigns none, and its tasks count as "
            "eligible all the same: the table says how many runs assign it.",
            "It is recorded as applied when a worker attempts it: some attempts fail or are overtaken. Effective counts the tasks "
            "whose output a duplicating task had whole, without a download.",
            "Assigned means allowed: the worker decides at run time, so a low share of applied is no failure by itself.",
            *_configured(per_run), _RECORD, _ESTIMATE,
        ),
        "Runs of an engine version that has task duplication, under the planners in which it is not seen here.",
    )  # fmt: skip


def _judge(found: Funnel, planners: dict[str, Funnel]) -> tuple[Status, str]:
    """Return the status by the rule of `F01_MINIMUM`, and the clause the sentence has to add for it."""
    good = [name for name, one in planners.items() if one.verdict == "runs"]
    bad = [
        name for name, one in planners.items()
        if one.verdict == "does not run" or (one.verdict == "never assigned" and one.runs_eligible >= MINIMUM_RUNS)
    ]  # fmt: skip
    if good and bad:
        named = ", ".join(plain(name, 30) for name in bad[:3]) + (f" and {len(bad) - 3:,} more" if len(bad) > 3 else "")
        return "mixed", f"under {named} it is never assigned or runs less than half of the time"
    if found.verdict in ("never assigned", "does not run"):
        return "does not hold", ""
    if found.verdict == "runs":
        return "holds", ""
    if found.verdict == "half":
        return "mixed", "that is about half of the time"
    if found.verdict == "not told":
        return "not enough data", "whether it ran is not on record"
    if found.runs_assigned < MINIMUM_RUNS:
        return "not enough data", f"too few runs to judge (it takes {MINIMUM_RUNS} that assign it)"
    return "not enough data", "whether that is more than half of the time is undecided"


def _pooled(per_run: pd.DataFrame, optimization: str) -> tuple[pd.DataFrame, Funnel]:
    """Return the rows of planners that assign any optimisation, of all where no planner does, and their funnel."""
    configured = per_run["is_configured"].astype(bool)
    rows = per_run[(per_run["optimization"] == optimization) & (configured | (not configured.any()))]
    return rows, funnels.of_runs(rows)


def _nothing(evidence: Evidence, found: Funnel, per_run: pd.DataFrame, optimization: str) -> Answer | None:
    """Return the answer where nothing was eligible, assigned or applied, or no optimisation is on record at all."""
    record = {name: int(value) for name, value in evidence.record(funnels.RECORD).items()}
    name = NAMES[optimization]
    if found.runs_concerned and record["records"]:
        return None
    if found.runs_concerned:
        return not_enough(
            f"No optimisation of any kind is on record, so whether {name} is ever assigned to the "
            f"{count(found.eligible, 'eligible task')} of {count(found.runs_eligible, 'run')} cannot be told.",
            "Runs of a planner with optimisations; a source that records what was assigned: the DAG's objects (`dag-...` keys).",
            n=found.runs_eligible,
            counted="runs with eligible tasks",
        )
    planned, runs = count(record["planned_tasks"], "planned task"), record["runs"]
    if elsewhere := int(per_run.loc[per_run["optimization"] == optimization, "eligible"].sum()):
        return not_enough(
            f"No task of a planner that assigns optimisations is eligible for {name}, and none has it assigned: "
            f"{elsewhere:,} of {planned} {'is' if elsewhere == 1 else 'are'} eligible, under planners that assign none.",
            f"Runs of a planner with optimisations, with {_ELIGIBLE[optimization]}.",
            n=runs,
        )
    if record["planned_tasks"]:
        return not_enough(
            f"None of {planned} in {count(record['planned_runs'], 'run')} is eligible for {name}, and no task has it assigned.",
            f"Runs with {_ELIGIBLE[optimization]}.",
            n=runs,
        )
    return not_enough(
        f"No run of this selection has a plan, and none has {name} assigned: what could use it is not known.",
        "Runs with a plan: a planner without history makes none, so the second run of a workflow is the first to have one.",
        n=runs,
    )


def _assigned(found: Funnel) -> str:
    if found.assigned and found.eligible:
        return f"assigned to {percent(found.assigned_eligible / found.eligible)} of {count(found.eligible, 'eligible task')}"
    if found.assigned:
        return f"assigned to {count(found.assigned, 'task')}"
    return f"never assigned, though {count(found.eligible, 'task is', 'tasks are')} eligible in {count(found.runs_eligible, 'run')}"


def _runs(found: Funnel) -> str:
    """Say in how many runs it was assigned, of those with eligible tasks where these are known."""
    if not found.runs_eligible:
        return count(found.runs_assigned, "run") + (", none with eligible tasks," if found.decidable else "")
    mine = found.runs_eligible - found.runs_unused
    others = f" and {count(found.runs_assigned - mine, 'other')}" if found.runs_assigned > mine else ""
    return f"{mine:,} of {count(found.runs_eligible, 'run')} with eligible tasks{others}"


def _ran(found: Funnel) -> str:
    """Say in how many of the assigned ones it was applied, of those that left a record."""
    interval = found.applied_share
    how_sure = phrases.share(interval) if interval else percent(found.applied / found.told)
    return f"**{found.applied:,} of {found.told:,}** assigned tasks that left a record, {how_sure}"


def _besides(found: Funnel) -> str:
    if not (found.assigned and found.applied_besides):
        return ""
    return f"{count(found.applied_besides, 'other task')} had it applied without a record of assignment"


def _configured(per_run: pd.DataFrame) -> tuple[str, ...]:
    return (_CONFIGURED,) if per_run["is_configured"].any() else ()


def _helped(found: Funnel) -> tuple[str, ...]:
    if not found.effective_told:
        return ()
    saved = f", an estimated {duration(found.saved_ms)} of download spared in all" if found.saved_ms else ""
    return (
        f"In {found.effective:,} of {count(found.effective_told, 'pre-loaded task')} an input was there before the task "
        f"looked for it{saved}.",
    )


def _used(found: Funnel) -> str:
    return (
        f"of {found.effective_told:,} the duplicate was used in {found.effective:,} ({percent(found.effective / found.effective_told)})"
        if found.effective_told
        else "whether a duplicate was used is not known"
    )


def _which_runs(tag: str, values: dict[str | None, pd.DataFrame]) -> str:
    """Say which values of a tag go with assigning and which do not."""
    sides: list[str] = []
    for wanted in (True, False):
        groups = {value: rows for value, rows in values.items() if (rows["assigned"] > 0).any() == wanted}
        runs, assigning = sum(map(len, groups.values())), sum(int((g["assigned"] > 0).sum()) for g in groups.values())
        named = " or ".join("none" if value is None else plain(value, 20) for value in list(groups)[:4])
        sides.append(f"{assigning:,} of {count(runs, 'run')} with {named}")
    return f"Tag {plain(tag, 30)} tells where it is assigned: {sides[0]}, {sides[1]}"


def _split(evidence: Evidence, per_run: pd.DataFrame) -> tuple[str, ...]:
    """Say of each optimisation by which tag it is never applied though assigned: a sentence each, none where none does."""
    tags = evidence.frame(funnels.TAGS, values=funnels.MOST_VALUES)
    found = []
    for optimization in sorted(per_run["optimization"].dropna().unique()):
        rows = per_run[per_run["optimization"] == optimization]
        if split := funnels.telling_tag(tags, rows, "told", "applied"):
            tag, values = split
            parts = [
                f"{int(group['applied'].sum()):,} of {int(group['told'].sum()):,} "
                f"{'without it' if value is None else f'with {plain(value, 20)}'}"
                for value, group in values.items()
            ]
            name = NAMES.get(optimization) or plain(optimization, 30)
            found.append(
                f"{name[:1].upper()}{name[1:]}: the applied share of all runs mixes runs in which it never works with others. By "
                f"tag {plain(tag, 30)}, applied of those assigned: {', '.join(parts)}."
            )
    return tuple(found)


def _each(per_run: pd.DataFrame) -> list[tuple[str, Funnel]]:
    """Return the funnel of each optimisation over the planners that assign any."""
    names = sorted(per_run["optimization"].dropna().unique(), key=lambda name: (name not in NAMES, name))
    found = [(name, _pooled(per_run, name)[1]) for name in names]
    return [
        (f"{NAMES.get(name, label(name, 30))} ({'workers' if name == 'prewarm' else 'tasks'})", one)
        for name, one in found if one.eligible or one.assigned or one.applied_besides
    ]  # fmt: skip


def _table(
    per_run: pd.DataFrame, first: tuple[str, ...], groups: list[tuple[str, Funnel]] | None = None
) -> pd.DataFrame:
    names = [*first, *sorted(set(per_run["optimization"].dropna()) - set(first))] if groups is None else list(first)
    rows = [(first[0], name, found) for name, found in groups or []]
    rows += [(name, group, found) for name in names for group, found in funnels.by_planner(per_run, name).items()]
    return funnels.table(rows)


def _figure(groups: list[tuple[str, Funnel]], name: str) -> tuple[Figure, ...]:
    frame = funnels.drawn([item for item in groups if item[1].eligible or item[1].assigned or item[1].applied_besides])
    if frame.empty:
        return ()
    more = len(groups) - funnels.MOST_GROUPS
    text = f"What is left at each step, as bars from eligible to effective. {funnels.described(frame)}"
    return (
        Figure(funnel(frame), text + (f" {more:,} smaller groups are in the table only." if more > 0 else ""), name),
    )


def _left_out(per_run: pd.DataFrame, found: Funnel, optimization: str) -> str:
    rows = per_run[per_run["optimization"] == optimization]
    others = rows[~rows["is_configured"].astype(bool)] if rows["is_configured"].any() else rows.head(0)
    parts = [f"{count(found.not_known, 'assigned task')} of which nothing tells whether it was applied"]
    if len(others):
        planners = others["planner"].nunique(dropna=False)
        parts.append(
            f"{count(int(others['eligible'].sum()), 'eligible task')} of {count(planners, 'planner')} that "
            f"{'assigns' if planners == 1 else 'assign'} no optimisation"
        )
    return f"{'; '.join(parts)}. Incomplete runs count with the tasks that left metrics."


def _tagged(tag: str, value: str | None) -> str:
    return f"tag {label(tag, 20)}: {'(none)' if value is None else label(value, 20)}"


QUESTIONS = (
    Question("F01", "Is pre-load being assigned, and does it run where it is assigned?", "optimisations", F01_MINIMUM, _preload),
    Question("F05", "Is task duplication being applied at all?", "optimisations", F05_MINIMUM, _duplication),
    Question(
        "F20",
        "Which optimisations override the same hook and return values, where did that happen, what did it do?",
        "optimisations",
        conflicts.MINIMUM,
        conflicts.answer,
    ),
)  # fmt: skip

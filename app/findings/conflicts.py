"""Which optimisations of one task get in each other's way."""

from __future__ import annotations

import pandas as pd

from app.charts.counts import stacked
from app.findings import phrases
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Figure, not_enough
from app.findings.funnels import NAMES
from app.findings.statistics import share
from app.plain import label, plain
from app.units import count

MINIMUM = "One task with an assigned optimisation. A count, so no minimum of runs."

OVERRIDES = {
    "preload": ("override_handle_inputs",),
    "prewarm": (),
    "taskdup": ("override_should_upload_output", "update_dependency_counters"),
    "wukong": ("override_should_upload_output", "update_dependency_counters", "override_handle_downstream"),
}
"""The hooks that return a value, by the optimisations that override them, as `optimization_conflicts` knows them."""

CONFLICTS = """
-- Tasks of the selected runs with two optimisations that override the same hook and return values, per hook and planner;
-- the most frequent pair first.
select
    optimization_conflicts.optimization, other_optimization, hook, selected_runs.workflow, selected_runs.planner,
    count(*) as tasks,
    count(distinct selected_runs.run_id) as runs,
    count(*) filter (where applied and other_applied) as both_applied,
    count(*) filter (where applied is null or other_applied is null) as not_known,
    count(*) filter (where output_uploaded) as uploaded,
    count(*) filter (where not output_uploaded) as not_uploaded
from selected_runs
inner join optimization_conflicts on selected_runs.run_id = optimization_conflicts.run_id
group by optimization_conflicts.optimization, other_optimization, hook, selected_runs.workflow, selected_runs.planner
order by
    sum(count(*)) over (partition by optimization_conflicts.optimization, other_optimization, hook) desc,
    optimization, other_optimization, tasks desc, hook, selected_runs.workflow, selected_runs.planner
limit $most
"""

PAIRS = """
-- The same tasks per pair of optimisations, each counted once: its hooks are the same wherever the pair is.
with pairs as (
    select
        optimization_conflicts.run_id, task_id, optimization, other_optimization,
        list_sort(list(hook)) as hooks,
        bool_and(applied and other_applied) as both_applied,
        bool_or(applied is null or other_applied is null) as not_known,
        bool_and(output_uploaded) as uploaded
    from selected_runs
    inner join optimization_conflicts on selected_runs.run_id = optimization_conflicts.run_id
    group by optimization_conflicts.run_id, task_id, optimization, other_optimization
)

select
    optimization, other_optimization,
    max(hooks) as hooks,
    count(*) as tasks,
    count(distinct run_id) as runs,
    count(*) filter (where both_applied) as both_applied,
    count(*) filter (where not_known) as not_known,
    count(*) filter (where uploaded) as uploaded,
    count(uploaded) as recorded
from pairs
group by optimization, other_optimization
order by tasks desc, optimization, other_optimization
"""

CONFLICT_TOTALS = """
-- How many tasks and runs of the selection have an assigned optimisation, several of them, and a conflict.
with assigned as (
    select optimizations.run_id, optimizations.task_id, count(distinct optimization) as kinds
    from selected_runs
    inner join optimizations on selected_runs.run_id = optimizations.run_id
    where stage = 'assigned'
    group by optimizations.run_id, optimizations.task_id
),

conflicting as (
    select distinct optimization_conflicts.run_id, task_id
    from selected_runs
    inner join optimization_conflicts on selected_runs.run_id = optimization_conflicts.run_id
)

select
    (select count(*) from assigned) as tasks,
    (select count(distinct run_id) from assigned) as runs,
    (select count(*) from assigned where kinds > 1) as several,
    (select count(*) from conflicting) as conflicts,
    (select count(distinct run_id) from conflicting) as conflict_runs
"""

TOGETHER = """
-- Which optimisations were assigned to the same task of the selected runs: one row per combination.
with combined as (
    select optimizations.run_id, optimizations.task_id, list_sort(list(distinct optimization)) as optimisations
    from selected_runs
    inner join optimizations on selected_runs.run_id = optimizations.run_id
    where stage = 'assigned' and optimization is not null
    group by optimizations.run_id, optimizations.task_id
)

select optimisations, count(*) as tasks, count(distinct run_id) as runs
from combined
group by optimisations
order by tasks desc, optimisations
limit $most
"""

_MOST = 50


def answer(evidence: Evidence) -> Answer:
    """Say which optimisations of one task override the same hook and return values, where, and what became of it."""
    totals = {name: int(value) for name, value in evidence.record(CONFLICT_TOTALS).items()}
    if not totals["tasks"] and not totals["conflicts"]:
        return not_enough(
            "No task of this selection has an assigned optimisation.",
            "Runs of a planner with optimisations, with a record of what was assigned.",
        )
    together = evidence.frame(TOGETHER, most=_MOST)
    rows = evidence.frame(CONFLICTS, most=_MOST)
    names = [[str(name) for name in found] for found in together["optimisations"]]
    together = together.assign(label=[" + ".join(_named(name) for name in found) for found in names])
    several = [(found, int(n)) for found, n in zip(names, together["tasks"].tolist(), strict=True) if len(found) > 1]
    could = _could_conflict()
    pairs = evidence.frame(PAIRS)
    if rows.empty:
        mixed = ", ".join(f"{' with '.join(_plain(name) for name in found)} {n:,}" for found, n in several[:3])
        all_known = all(name in OVERRIDES for found, _ in several for name in found)
        hooks = "which override different hooks" if all_known else "not all of whose hooks are known here"
        those = f" ({mixed}{' and others' if len(several) > 3 else ''}), {hooks}" if mixed else ""
        sentence = (
            f"**No task** {'has' if all_known else 'is known to have'} two assigned optimisations that override the same hook and return values: of "
            f"{count(totals['tasks'], 'task')} with an assigned optimisation {totals['several']:,} "
            f"{'has' if totals['several'] == 1 else 'have'} two or more{those}."
        )
    else:
        sentence = _where(rows, pairs, totals)
    unknown = sorted({name for found in names for name in found} - OVERRIDES.keys())
    return Answer(
        "answered", sentence, totals["tasks"], "tasks with an assigned optimisation",
        phrases.effect("runs with a conflict", share(totals["conflict_runs"], max(totals["runs"], totals["conflict_runs"])), "share"),
        "Tasks without an assigned optimisation; hooks that return nothing, for they cannot conflict.",
        _conflict_table(rows, together),
        _conflict_figures(pairs, together),
        (
            f"Of the optimisations known, these override the same hook and return a value: {could}.",
            *((f"Which hooks {', '.join(plain(name, 30) for name in unknown[:5])} "
               f"{'overrides' if len(unknown) == 1 else 'override'} is not known here, so conflicts with "
               f"{'it' if len(unknown) == 1 else 'them'} would not be seen.",) if unknown else ()),
            *(("What a conflict did is told by what is recorded: which of the two was applied, and whether the output was "
               "uploaded after all. Makespans of runs with and without conflicts differ for other reasons too and are not compared.",)
              if len(rows) else ()),
        ),
        f"A planner that assigns both of a pair to one task: {could}." if rows.empty else
        "Runs with each of the two alone, alike otherwise: only they would show what the conflict costs.",
    )  # fmt: skip


def _where(rows: pd.DataFrame, pairs: pd.DataFrame, totals: dict[str, int]) -> str:
    """Say which conflict happened most, where, and what became of it."""
    most, place = pairs.iloc[0], rows.iloc[0]
    one, other, tasks = most["optimization"], most["other_optimization"], int(most["tasks"])
    if one == other:
        pair, applied = f"{_plain(one)} assigned twice, which overrides", "it was"
    else:
        pair, applied = f"{_plain(one)} and {_plain(other)}, which both override", "both were"
    where = (
        f", above all in {plain(place['workflow'], 30)} under {plain(place['planner'], 30)}"
        if 2 * place["tasks"] > tasks
        else ""
    )
    more = f"; {count(len(pairs) - 1, 'other pair')} in the table" if len(pairs) > 1 else ""
    return (
        f"**{count(totals['conflicts'], 'task')}** in {count(totals['conflict_runs'], 'run')} {'has' if totals['conflicts'] == 1 else 'have'} "
        f"two optimisations that override the same hook and return values: most often {pair} "
        f"{' and '.join(plain(hook, 40) for hook in most['hooks'])}{where}; of "
        f"{count(tasks, 'such task')} {applied} applied in {int(most['both_applied']):,} (not known in {int(most['not_known']):,}), and the "
        f"output was uploaded after all in {int(most['uploaded']):,} of {int(most['recorded']):,}{more}."
    )


def _could_conflict() -> str:
    pairs = []
    names = sorted(OVERRIDES)
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            if shared := [hook for hook in OVERRIDES[one] if hook in OVERRIDES[other]]:
                pairs.append(f"`{one}` with `{other}` ({', '.join(f'`{hook}`' for hook in shared)})")
    return "; ".join(pairs)


def _conflict_table(rows: pd.DataFrame, together: pd.DataFrame) -> pd.DataFrame:
    combined = pd.DataFrame(
        {"what": "assigned together", "optimisations": together["label"], "tasks": together["tasks"], "runs": together["runs"]}
    )  # fmt: skip
    if rows.empty:
        return combined
    conflicts = pd.DataFrame(
        {
            "what": "conflict",
            "optimisations": [f"{_named(a)} + {_named(b)}" for a, b in zip(rows["optimization"], rows["other_optimization"], strict=True)],
            "tasks": rows["tasks"], "runs": rows["runs"],
            "hook": rows["hook"], "workflow": rows["workflow"], "planner": rows["planner"], "both applied": rows["both_applied"],
            "not known if applied": rows["not_known"], "output uploaded": rows["uploaded"], "output not uploaded": rows["not_uploaded"],
        }
    )  # fmt: skip
    return pd.concat([conflicts, combined], ignore_index=True)


def _conflict_figures(pairs: pd.DataFrame, together: pd.DataFrame) -> tuple[Figure, ...]:
    frames = [("optimisations-assigned-together", "Tasks with these optimisations assigned", together)]
    if len(pairs):
        named = [
            f"{_named(a)} + {_named(b)}"
            for a, b in zip(pairs["optimization"], pairs["other_optimization"], strict=True)
        ]
        frames.insert(0, ("optimisation-conflicts", "Tasks with a conflict", pairs.assign(label=named)))
    figures = []
    for name, axis, frame in frames:
        shown = frame.head(12)
        texts = [
            f"{tasks:,} in {count(runs, 'run')}"
            for tasks, runs in zip(shown["tasks"].tolist(), shown["runs"].tolist(), strict=True)
        ]
        bars = pd.DataFrame({"label": shown["label"], "part": "tasks", "n": shown["tasks"], "text": texts})
        said = "; ".join(f"{label(row.label, 80)} {row.text}" for row in bars.itertuples())
        more = f" {len(frame) - 12:,} more are in the table." if len(frame) > 12 else ""
        if len(bars):
            figures.append(Figure(stacked(bars, axis, ["tasks"]), f"{axis}: {said}.{more}", name))
    return tuple(figures)


def _named(name: object) -> str:
    return NAMES.get(str(name)) or label(name, 30)


def _plain(name: object) -> str:
    return NAMES.get(str(name)) or plain(name, 30)

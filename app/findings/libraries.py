"""What part of start-up goes to libraries, and what fetching them on demand would save."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import Any

import pandas as pd

from app import charts
from app.charts.startup import shares
from app.findings import phrases, simulated
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Effect, Figure, Question, Status, not_enough
from app.findings.statistics import (
    MINIMUM_IN_STRATUM,
    MINIMUM_RUNS,
    Interval,
    median_interval,
    run_share,
    stratified_ratio,
)
from app.plain import label, labels
from app.units import count, duration, known, percent

_FASTER = (
    simulated.Change(
        "startup_factor=0.9", "with start-up a tenth shorter",
        assumes="Simulated is what any start-up that is a tenth shorter would gain, cold and warm alike: what part of it libraries are is not in "
        "a simulation.",
    ),
)  # fmt: skip

MOST_DRAWN = 16
"""Groups that are drawn, those with most starts; the table holds all."""

STARTS = """
-- Each start with what is known of libraries in it. libraries: how many different ones the tasks of its worker name, NULL where
-- one of them does not say or none is known. library_ms: its phases that are named for libraries (a word of the name is a
-- library that some task names, or the name speaks of libraries, imports or dependencies), NULL without any. unused_ms: what
-- of it no task of the worker needed: phases of libraries that none of them names; of phases that name no library, all where
-- the tasks name none. pending: other starts of the environment that had been requested and were not ready. first_task_ms: from
-- ready to its first task.
with used as (
    select
        invocation_tasks.invocation_id,
        case
            when count(tasks.libraries) = count(*)
                then list_distinct(flatten(list(list_transform(tasks.libraries, lambda name: lower(name)))))
        end as names
    from invocation_tasks
    inner join tasks on invocation_tasks.run_id = tasks.run_id and invocation_tasks.task_id = tasks.task_id
    where invocation_tasks.run_id in (select run_id from selected_runs)
    group by invocation_tasks.invocation_id
),

every_name as (
    select coalesce(list_distinct(flatten(list(names))), []) as names from used
),

phase_entries as (
    select invocation_id, lower(entry.key) as phase, entry.value as ms
    from (
        select invocation_id, unnest(map_entries(phases)) as entry
        from invocations
        where run_id in (select run_id from selected_runs)
    ) as listed
    where entry.value >= 0
),

library_phases as (
    select *
    from (
        select
            phase_entries.invocation_id, phase_entries.phase, phase_entries.ms,
            list_intersect(regexp_split_to_array(phase_entries.phase, '[^a-z0-9_-]+'), every_name.names) as named
        from phase_entries
        cross join every_name
    ) as spelled
    where len(named) > 0 or regexp_matches(phase, 'librar|import|depend')
),

in_phases as (
    select
        library_phases.invocation_id,
        sum(ms) as library_ms,
        case
            when any_value(used.names) is not null
                then coalesce(sum(ms) filter (
                    where case when len(named) > 0 then not list_has_any(used.names, named) else len(used.names) = 0 end
                ), 0)
        end as unused_ms
    from library_phases
    left join used on library_phases.invocation_id = used.invocation_id
    group by library_phases.invocation_id
),

requests as (
    select
        invocation_id, environment, requested_at as happened_at, 1 as change
    from cold_starts
    where requested_at is not null and startup_ms is not null
    union all
    select null, environment, requested_at + to_microseconds(try_cast(round(1000 * startup_ms) as bigint)), -1
    from cold_starts
    where requested_at is not null and startup_ms is not null
),

queue as (
    select
        invocation_id,
        sum(change) over (
            partition by environment order by happened_at range between unbounded preceding and current row
        ) - 1 as pending
    from requests
    qualify invocation_id is not null
)

select
    cold_starts.invocation_id, cold_starts.run_id, selected_runs.workflow, cold_starts.engine, cold_starts.environment,
    cold_starts.function, cold_starts.memory_mb, cold_starts.state,
    coalesce(cold_starts.startup_ms, invocations.init_ms) as startup_ms,
    cardinality(invocations.phases) > 0 as has_phases,
    len(used.names) as libraries,
    in_phases.library_ms, in_phases.unused_ms,
    queue.pending::double as pending,
    date_diff('microsecond', worker_times.ready_at, worker_times.first_task_at)::double / 1000 as first_task_ms
from cold_starts
inner join selected_runs on cold_starts.run_id = selected_runs.run_id
inner join invocations on cold_starts.invocation_id = invocations.invocation_id
inner join worker_times on cold_starts.invocation_id = worker_times.invocation_id
left join used on cold_starts.invocation_id = used.invocation_id
left join in_phases on cold_starts.invocation_id = in_phases.invocation_id
left join queue on cold_starts.invocation_id = queue.invocation_id
order by cold_starts.run_id, cold_starts.invocation_id
"""

EXECUTIONS = """
-- First executions beside later ones. First: no task that began before it on its worker names all libraries that it names, so
-- that one of them may have been imported in it. Later: a task that names them all had ended on its worker before it began. One
-- row per first execution, beside the median of the later ones of the same function in the same run, at the same memory,
-- on inputs of half to twice its size; those without any are left out.
with executions as (
    select
        invocation_tasks.invocation_id, task_times.run_id, task_times.task_id, task_times.function, task_times.memory_mb,
        task_times.libraries, task_times.execution_ms, coalesce(task_times.inputs_bytes, 0) as size_bytes,
        task_times.started_at, task_times.finished_at
    from invocation_tasks
    inner join task_times
        on invocation_tasks.run_id = task_times.run_id and invocation_tasks.task_id = task_times.task_id
        and task_times.is_last_attempt
    where invocation_tasks.is_last_attempt and task_times.execution_ms is not null and task_times.libraries is not null
        and task_times.run_id in (select run_id from selected_runs)
),

firsts as (
    select *
    from executions
    where not exists (
        select 1
        from executions as before
        where before.invocation_id = executions.invocation_id and before.started_at < executions.started_at
            and list_has_all(before.libraries, executions.libraries)
    )
),

later as (
    select *
    from executions
    where exists (
        select 1
        from executions as before
        where before.invocation_id = executions.invocation_id and before.finished_at <= executions.started_at
            and list_has_all(before.libraries, executions.libraries)
    )
)

select
    firsts.run_id, len(firsts.libraries) as libraries,
    firsts.execution_ms as first_ms, median(later.execution_ms) as later_ms
from firsts
inner join later
    on firsts.run_id = later.run_id and firsts.function = later.function
    and firsts.memory_mb is not distinct from later.memory_mb and firsts.task_id <> later.task_id
    and later.size_bytes between firsts.size_bytes / 2 and firsts.size_bytes * 2
group by firsts.run_id, firsts.task_id, firsts.libraries, firsts.execution_ms
order by firsts.run_id, firsts.task_id
"""

_ALIKE = ["engine", "environment", "memory_mb", "state", "waiting"]


@dataclass(frozen=True, slots=True)
class Beside:
    """Start-up of workers whose tasks name more libraries than the `fewest`, beside those that name these, like with like.

    `ratio` is more / fewest; `same_workflow`: whether it holds the workflow equal too. `fewer` and `more` count starts.
    `blocks` has a row per run and side: its median start-up in the stratum in which it has most starts, so that every run
    counts once.
    """

    fewest: int
    fewer: int
    more: int
    same_workflow: bool
    ratio: Interval | None
    blocks: pd.DataFrame


def beside(starts: pd.DataFrame) -> Beside | None:
    """Compare starts by how many libraries their tasks name, None where all name as many. `starts`: what `STARTS` returns."""
    rows = starts[starts["libraries"].notna() & (starts["startup_ms"] > 0) & starts["state"].isin(["cold", "warm"])]
    if rows["libraries"].nunique() < 2:
        return None
    fewest = int(rows["libraries"].min())
    waiting = rows["pending"].map(lambda pending: int(log2(1 + max(0.0, pending))), na_action="ignore")
    rows = rows.assign(is_other=rows["libraries"] > fewest, waiting=waiting)
    sides = int((~rows["is_other"]).sum()), int(rows["is_other"].sum())
    for same_workflow in (True, False):
        keys = ["workflow", *_ALIKE] if same_workflow else _ALIKE
        of_runs = rows.groupby([*keys, "is_other", "run_id"], dropna=False)["startup_ms"].agg(["median", "count"])
        of_runs = of_runs.rename(columns={"median": "value", "count": "starts"}).reset_index()
        of_runs["stratum"] = of_runs.groupby(keys, dropna=False).ngroup()
        blocks = of_runs.sort_values("starts", ascending=False, kind="stable").drop_duplicates(["run_id", "is_other"])
        ratio = stratified_ratio(blocks)
        if ratio is not None:
            break
    return Beside(fewest, *sides, same_workflow, ratio, blocks)


def _f14(evidence: Evidence) -> Answer:
    answer = _recorded(evidence)
    return simulated.beside(evidence, answer, _FASTER, labels="function" if "function" in answer.table else "label")


def _recorded(evidence: Evidence) -> Answer:
    starts = evidence.frame(STARTS)
    timed = starts[starts["library_ms"].notna() & (starts["startup_ms"] > 0)]
    inside = timed[timed["library_ms"] <= timed["startup_ms"]]
    if len(inside):
        return _of_phases(starts, timed, inside)
    return _without_phases(evidence, starts, len(timed))


def _of_phases(starts: pd.DataFrame, timed: pd.DataFrame, inside: pd.DataFrame) -> Answer:
    rows = table(inside)
    whole = rows.iloc[0]
    told = inside.dropna(subset=["unused_ms"])
    saved = _part(told, "unused_ms")
    saves = (
        f"fetching them on demand would save {_share(saved, told, 'unused_ms')} of start-up, "
        f"{duration(float(told['unused_ms'].sum()))} over {count(len(told), 'start')}: what starts spent on libraries that none of their "
        "tasks names"
        if len(told)
        else "what fetching them on demand would save cannot be told, for no task of these workers says which libraries it uses"
    )
    part = _part(inside, "library_ms")
    name = "share of start-up that goes to libraries"
    return Answer(
        "answered",
        f"**{_share(part, inside, 'library_ms')}** of start-up goes to libraries, in {count(len(inside), 'start')} that say so; {saves}.",
        len(inside), "starts",
        phrases.effect(name, part, "share") or Effect(name, float(whole["libraries_share"]), None, None, "share"),
        f"{count(len(starts) - len(timed), 'start')} without a phase named for libraries or without a known start-up; "
        f"{count(len(timed) - len(inside), 'start')} whose phases for libraries are longer than their start-up; "
        f"{count(len(inside) - len(told), 'start')} in no saving, for the libraries of their tasks are not known.",
        rows, _phase_figure(rows),
        (
            "A phase counts as one for libraries by its name: a library that some task names, or libraries, imports or dependencies.",
            "Saved counts a phase that names a library where no task of the worker names it, and one that names none where the tasks name no "
            "library at all: a start that uses some of many libraries may save more. On demand, those in use are still fetched, later.",
        ),
        "Phases that say which library they are for, and tasks that name those they use.",
    )  # fmt: skip


def table(inside: pd.DataFrame) -> pd.DataFrame:
    """Return the share of start-up in phases for libraries in all, and by function and environment: a row each."""
    rows = [_row("(all)", "(all)", inside)]
    groups = inside.groupby(["function", "environment"], dropna=False)
    each = [_row(label(function), label(environment), group) for (function, environment), group in groups]
    return pd.DataFrame([*rows, *sorted(each, key=lambda row: -row["starts"])])


def _row(function: str, environment: str, starts: pd.DataFrame) -> dict[str, Any]:
    told = starts.dropna(subset=["unused_ms"])
    total, found, saved = float(told["startup_ms"].sum()), _part(starts, "library_ms"), _part(told, "unused_ms")
    return {
        "function": function,
        "environment": environment,
        "runs": int(starts["run_id"].nunique()),
        "starts": len(starts),
        "startup_s": float(starts["startup_ms"].sum()) / 1000,
        "libraries_s": float(starts["library_ms"].sum()) / 1000,
        "libraries_share": float(starts["library_ms"].sum() / starts["startup_ms"].sum()),
        "low": found.low if found else None,
        "high": found.high if found else None,
        "saved_s": float(told["unused_ms"].sum()) / 1000 if total else None,
        "saved_share": float(told["unused_ms"].sum()) / total if total else None,
        "saved_low": saved.low if saved else None,
        "saved_high": saved.high if saved else None,
    }


def _part(starts: pd.DataFrame, column: str) -> Interval | None:
    """Return a column's share of start-up, with an interval over runs."""
    of_runs = starts.groupby("run_id")[[column, "startup_ms"]].sum()
    return run_share(of_runs[column], of_runs["startup_ms"])


def _share(found: Interval | None, starts: pd.DataFrame, column: str) -> str:
    return phrases.share(found) if found else percent(float(starts[column].sum() / starts["startup_ms"].sum()))


def _phase_figure(rows: pd.DataFrame) -> tuple[Figure, ...]:
    drawn = rows[1:].head(MOST_DRAWN)
    names = list(labels([f"{row['function']}, {row['environment']}" for row in drawn.to_dict("records")], 44))
    drawn = drawn.assign(label=names, value=drawn["libraries_share"], n=drawn["starts"])
    drawn = drawn.astype({"low": float, "high": float})
    text = "Share of start-up that goes to libraries, by function and environment: " + "; ".join(
        f"{row['label']} {percent(row['value'])} of {count(row['n'], 'start')}" for row in drawn.to_dict("records")
    )
    left = f" {count(len(rows) - 1 - len(drawn), 'group')} with fewer starts: in the table only." if len(rows) - 1 > len(drawn) else ""  # fmt: skip
    columns = ["label", "value", "low", "high", "n"]
    return (
        Figure(
            shares(drawn[columns], "Start-up that goes to libraries (%)"), f"{text}.{left}", "libraries-in-start-up"
        ),
    )


def _without_phases(evidence: Evidence, starts: pd.DataFrame, longer: int) -> Answer:
    with_phases = int(starts["has_phases"].eq(True).sum())
    if longer:
        phases = f"{count(longer, 'start')} of {len(starts):,} record phases for libraries that are longer than the start-up itself"
    elif with_phases:
        phases = f"{with_phases:,} of {count(len(starts), 'start')} record phases, and no phase is named for libraries"
    else:
        phases = f"None of {count(len(starts), 'start')} records its phases"
    if starts.empty:
        return not_enough("No start of a worker is on record in this selection.", _WOULD_CHANGE, counted="starts")
    found = beside(starts)
    firsts = evidence.frame(EXECUTIONS)
    later = _later(starts, firsts, found.fewest if found else None)
    decided = bool(found and found.same_workflow and found.ratio and found.ratio.decision != "undecided")
    status: Status = "answered" if decided else "not enough data"
    cannot = (
        "what starts load alike, and so what fetching on demand would save, cannot be told"
        if decided
        else "what part of start-up goes to libraries, and what fetching them on demand would save, cannot be told"
    )
    rows = _compared(found) if found else pd.DataFrame()
    told = int(starts["libraries"].notna().sum())
    return Answer(
        status,
        f"{phases}: {cannot}. {' '.join(part for part in (_said(found, rows, told), later) if part)}",
        len(starts), "starts",
        phrases.effect("start-up with more libraries / with the fewest", found.ratio if found else None),
        _left_out(starts, found, firsts), rows, _ratio_figure(rows), _caveats(found), _WOULD_CHANGE,
    )  # fmt: skip


_WOULD_CHANGE = (
    "A source that records the phases of a start (`invocations.phases`, one per library); or runs of one workflow whose workers start "
    "with and without its libraries."
)


def _said(found: Beside | None, rows: pd.DataFrame, told: int) -> str:
    if found is None:
        return (
            f"All of the {count(told, 'start')} whose tasks say so name as many libraries, so there is nothing to compare."
            if told
            else "No task says which libraries it uses, so starts cannot be compared by them either."
        )
    name = f"more than {count(found.fewest, 'library', 'libraries')}" if found.fewest else "a library"
    if found.ratio is None:
        return (
            f"{count(found.more, 'start')} of workers whose tasks name {name} and {found.fewer:,} others are too few, or too unlike, to be "
            "compared."
        )
    but = (
        ""
        if found.same_workflow
        else "; no workflow has enough workers of both kinds, so their workflow differs too and it need not be the libraries"
    )
    undecided = {"undecided": ", undecided", "no difference": ", no difference beyond 5 %"}.get(
        found.ratio.decision, ""
    )
    return (
        f"Start-up of workers whose tasks name {name} is {phrases.times(found.ratio)} that of the others, like with like"
        f"{undecided}{but}{_disagreeing(rows)}."
    )


def _disagreeing(rows: pd.DataFrame) -> str:
    """Say that environments differ in which workers start more slowly, '' where they do not. `rows`: what `_compared` returns."""
    decisions = rows["decision"][1:]
    lower, higher = int((decisions == "lower").sum()), int((decisions == "higher").sum())
    return f"; it is lower in {lower:,} and higher in {count(higher, 'environment')}" if lower and higher else ""


def _later(starts: pd.DataFrame, firsts: pd.DataFrame, fewest: int | None) -> str:
    """Say what bounds libraries that are loaded after a worker is ready: the time to its first task, and its first executions."""
    waits = starts[starts["first_task_ms"] >= 0].groupby("run_id")["first_task_ms"].median()
    parts = []
    if len(waits):
        parts.append(f"before the first task {_median(waits)} pass in the median run")
    extra = firsts.assign(extra_ms=firsts["first_ms"] - firsts["later_ms"])
    sides = [("", extra)] if fewest is None else [
        (f" where {'more libraries' if more else 'the fewest'} are named", extra[(extra["libraries"] > fewest) == more]) for more in (True, False)
    ]  # fmt: skip
    told = [
        f"{_median(rows.groupby('run_id')['extra_ms'].median())} longer{where} ({count(len(rows), 'first execution')})"
        for where, rows in sides
        if len(rows)
    ]
    if told:
        parts.append(
            f"a first execution takes {' and '.join(told)} than later ones of its function on inputs of like size"
        )
    if not parts:
        return ""
    return f"Libraries loaded once a worker is ready would show in what follows: {', and '.join(parts)}."


def _median(values: pd.Series[float]) -> str:
    found = median_interval(values.tolist())
    interval = f" (95 % interval {duration(found.low)} to {duration(found.high)})" if found else ""
    return f"{duration(float(values.median()))}{interval}"


def _compared(found: Beside) -> pd.DataFrame:
    """Return the comparison in all and within each environment: a row each."""
    blocks = found.blocks
    groups = [
        ("(all)", found.ratio, blocks),
        *(
            (label(name, 40), stratified_ratio(rows), rows)
            for name, rows in blocks.groupby("environment", dropna=False)
        ),
    ]
    return pd.DataFrame(
        {
            "label": name,
            "value": ratio.value if ratio else None,
            "low": ratio.low if ratio else None,
            "high": ratio.high if ratio else None,
            "decision": ratio.decision if ratio else "too few",
            "n": ratio.n if ratio else len(rows),
            "fewest_median_ms": float(rows["value"][~rows["is_other"]].median()),
            "more_median_ms": float(rows["value"][rows["is_other"]].median()),
        }
        for name, ratio, rows in groups
    )


def _ratio_figure(rows: pd.DataFrame) -> tuple[Figure, ...]:
    drawn = rows[[known(value) for value in rows["value"].astype(float)]] if len(rows) else rows
    if drawn.empty:
        return ()
    axis = "Start-up, more libraries / fewest (ratio)"
    text = f"{axis}, with 95 % intervals, by environment: " + "; ".join(
        f"{row.label} {row.value:.2f} ({row.low:.2f} to {row.high:.2f}), {row.decision}" for row in drawn.itertuples()
    )
    return (Figure(charts.intervals(drawn, axis), f"{text}.", "start-up-by-libraries"),)


def _left_out(starts: pd.DataFrame, found: Beside | None, firsts: pd.DataFrame) -> str:
    untold = int(starts["libraries"].isna().sum())
    compared = found.fewer + found.more if found else 0
    runs = (
        f"; of {count(len(found.blocks), 'run median')}, {len(found.blocks) - found.ratio.n:,} in groups with fewer than {MINIMUM_IN_STRATUM} on a side"
        if found and found.ratio
        else ""
    )
    return (
        f"{count(untold, 'start')} whose tasks do not all name their libraries, or left no metrics, and "
        f"{len(starts) - untold - compared:,} more in no comparison (state or start-up unknown, or nothing to compare with){runs}. First executions: {count(len(firsts), 'pair')} of a first execution and later ones."
    )


def _caveats(found: Beside | None) -> tuple[str, ...]:
    caveats = [
        "A worker may load every library at its start, whatever its tasks use: then starts do not differ by what tasks name, and no comparison "
        "of starts shows what libraries cost.",
        "A first execution is slower for more reasons than imports (caches, memory, connections), and no longer than its extra time can an import "
        "in it take; the extra where the fewest libraries are named shows how much of it is something else.",
    ]
    if found and found.ratio:
        held = "workflow, " if found.same_workflow else ""
        caveats.insert(
            0,
            f"Like with like is: medians of runs, each where it has most starts, at equal {held}engine, environment, memory, state, and number of other starts pending at the "
            "request (0, 1 to 2, 3 to 6, 7 to 14, ...), for start-up includes the time queued.",
        )
    return tuple(caveats)


QUESTIONS = (
    Question(
        "F14",
        "What part of start-up goes to libraries, and what would fetching them on demand save?",
        "cold_starts",
        "One start that records a phase for libraries; without phases, starts of one workflow whose tasks name more and fewer libraries, "
        f"{MINIMUM_RUNS} runs of each and a difference that is decided. An interval takes {MINIMUM_RUNS} runs.",
        _f14,
    ),
)

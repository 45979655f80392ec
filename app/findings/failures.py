"""What failed, why, and what it took down with it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from app.charts.counts import stacked
from app.findings import phrases
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Figure, Question, not_enough
from app.findings.statistics import share
from app.plain import label, plain
from app.units import count

MINIMUM = "One run. Failures are counted; the share of incomplete runs has Wilson's 95 % interval."

KINDS = {
    "task_failed": "task failed",
    "attempt_failed": "attempt failed, tried again",
    "worker_failed": "worker failed",
    "worker_never_ready": "worker never ready",
    "worker_without_tasks": "worker left nothing",
    "task_not_run": "task not run",
    "task_not_recorded": "task not recorded",
    "run_incomplete": "run incomplete",
    "run_without_sink": "run without its last task",
}
CAUSES = {
    "task_failed": "a task that failed",
    "worker_failed": "a worker that failed",
    "worker_never_ready": "a worker that never became ready",
    "worker_without_tasks": "a worker that left nothing",
    "unknown": "no cause on record",
}
_LOST = ("not run", "not recorded (a task that needs it ran)")
_INJECTED = ("without an injected fault", "with an injected fault")
_WORST = 20
_MOST_TYPES = 3
_MOST_SAID = 3
"""A sentence says this much of what failed; the rest stands with the caveats."""

TOTALS = """
-- How many of the selected runs are incomplete, and how many of their tasks left metrics. ended: complete as far as can be
-- told, for their end is recorded, but nobody says which tasks they have.
with statuses as (
    select count(tasks.status) as tasks
    from selected_runs
    inner join tasks on selected_runs.run_id = tasks.run_id
),

failed_sinks as (
    select count(*) as runs
    from selected_runs
    inner join runs on selected_runs.run_id = runs.run_id
    inner join failures on runs.run_id = failures.run_id and runs.sink_task_id = failures.task_id
    where kind = 'task_failed'
)

select
    count(*) as runs,
    count(*) filter (where not is_complete) as incomplete,
    count(*) filter (where is_complete is null) as undecided,
    count(*) filter (where is_complete and tasks_expected is null) as ended,
    count(*) filter (where not is_complete and planner is null) as without_planner,
    count(*) filter (where makespan_ms is null) as without_makespan,
    count(*) filter (where tasks_seen <= 1 and coalesce(tasks_expected, 1) <= 1 and workers <= 1) as single,
    coalesce(sum(tasks_expected) filter (where not is_complete), 0)::bigint as tasks_of_incomplete,
    count(*) filter (where not list_contains($no_fault, lower(trim(coalesce(tags['fault'], ''))))) as injected,
    count(*) filter (
        where not is_complete and not list_contains($no_fault, lower(trim(coalesce(tags['fault'], ''))))
    ) as injected_incomplete,
    (select runs from failed_sinks) as failed_sinks,
    (select tasks from statuses) as tasks_with_status
from selected_runs
"""

BY_KIND = """
-- Failures of the selected runs by kind and cause. A run with the tag fault (and a value that is not none) had one
-- injected. tasks_taken_down is of one kind only: rows of different kinds count the same losses.
select
    kind,
    cause_kind,
    count(*) as failures,
    count(distinct failures.run_id) as runs,
    count(*) filter (where not list_contains($no_fault, lower(trim(coalesce(tags['fault'], ''))))) as injected,
    sum(tasks_taken_down)::bigint as tasks_taken_down,
    max(tasks_taken_down) as most
from selected_runs
inner join failures on selected_runs.run_id = failures.run_id
group by kind, cause_kind
order by kind, cause_kind
"""

BY_ERROR = """
-- The errors that tasks and workers left, the most frequent of each kind of failure. of_type: with any exit code.
with counted as (
    select kind, error_type, exit_code, count(*) as failures, count(distinct failures.run_id) as runs
    from selected_runs
    inner join failures on selected_runs.run_id = failures.run_id
    where kind in ('task_failed', 'attempt_failed', 'worker_failed')
    group by kind, error_type, exit_code
),

errors as (
    select *, sum(failures) over (partition by kind, error_type)::bigint as of_type
    from counted
)

select *
from errors
qualify row_number() over (partition by kind order by of_type desc, error_type, failures desc, exit_code) <= 10
order by of_type desc, kind, error_type, failures desc, exit_code
"""

BY_RUN = """
-- The runs with failures that lost most: tasks without metrics, and the failures of tasks and workers behind them.
with lost as (
    select
        failures.run_id,
        max(tasks_taken_down) filter (where kind = 'run_incomplete') as lost,
        count(*) filter (where kind = 'task_not_run') as not_run,
        count(*) filter (where kind in ('task_failed', 'attempt_failed')) as failed_attempts,
        count(*) filter (where kind in ('worker_failed', 'worker_never_ready', 'worker_without_tasks')) as failed_workers,
        mode(cause_kind order by cause_kind) filter (where kind in ('task_not_run', 'task_not_recorded')) as cause_kind
    from selected_runs
    inner join failures on selected_runs.run_id = failures.run_id
    group by failures.run_id
)

select
    lost.run_id, workflow, planner, environment, tags['fault'] as fault, tasks_expected, cause_kind,
    coalesce(lost.lost, 0) as lost, not_run, failed_attempts, failed_workers,
    count(*) over () as runs
from lost
inner join selected_runs on lost.run_id = selected_runs.run_id
order by lost desc, failed_workers desc, failed_attempts desc, lost.run_id
limit $most
"""

BY_FAULT = """
-- What became of the selected runs by the fault that was injected into them (tag fault, NULL: none), and whether what
-- they left shows a failure. record_only: incomplete, though whatever needs a missing task did run.
with shown as (
    select failures.run_id, count(*) filter (where kind = 'task_not_run') as not_run, max(cause_kind) as cause_kind
    from selected_runs
    inner join failures on selected_runs.run_id = failures.run_id
    group by failures.run_id
),

faults as (
    select
        run_id,
        is_complete,
        case when not list_contains($no_fault, lower(trim(coalesce(tags['fault'], '')))) then tags['fault'] end as fault
    from selected_runs
)

select
    fault,
    count(*) as runs,
    count(*) filter (where not is_complete) as incomplete,
    count(shown.run_id) as left_a_trace,
    count(*) filter (where not is_complete and shown.not_run = 0) as record_only,
    min(cause_kind) as first_cause,
    max(cause_kind) as last_cause
from faults
left join shown on faults.run_id = shown.run_id
group by fault
order by runs desc, fault nulls last
limit $most
"""

_NO_FAULT = ["", "none", "no", "false", "off", "0"]
_MOST_FAULTS = 12


def _failures(evidence: Evidence) -> Answer:
    totals = {name: int(value) for name, value in evidence.record(TOTALS, no_fault=_NO_FAULT).items()}
    if not totals["runs"]:
        return not_enough("This selection has no runs.", "Any run: what failed in it is counted.")
    kinds = evidence.frame(BY_KIND, no_fault=_NO_FAULT)
    faults = evidence.frame(BY_FAULT, no_fault=_NO_FAULT, most=_MOST_FAULTS)
    errors = evidence.frame(BY_ERROR)
    worst = evidence.frame(BY_RUN, most=_WORST)
    decided = totals["runs"] - totals["undecided"] - totals["ended"]
    is_single = totals["single"] == totals["runs"]
    said = [_incomplete(totals, kinds, decided, is_single), *_failed(kinds, errors, is_single)]
    if not decided and len(said) == 1 and totals["tasks_with_status"]:
        said.append(f"none of {count(totals['tasks_with_status'], 'task')} with a status failed")
    return Answer(
        "answered" if decided or len(kinds) or totals["tasks_with_status"] else "not enough data",
        "; ".join(said[:_MOST_SAID]) + ".",
        decided or totals["runs"], "runs",
        phrases.effect("incomplete runs", share(totals["incomplete"], decided), "share"),
        _of_unknown_dag(totals)
        + f"No run is left out for its failures; {count(totals['without_makespan'], 'run')} without a makespan "
        f"{'is' if totals['without_makespan'] == 1 else 'are'} missing from every comparison of makespans.",
        _table(kinds, errors, faults, worst),
        (*_by_cause(kinds), *_by_kind(kinds, bool(faults["fault"].notna().any()))),
        (*(f"Also: {one}." for one in said[_MOST_SAID:]), *_caveats(totals, kinds, faults, worst)),
        "Workers that record why they died (status, exit code, error): without them every death looks alike." if _of(kinds, "worker_never_ready")
        else "More runs; records of workers and of the status of tasks.",
    )  # fmt: skip


def _incomplete(totals: dict[str, int], kinds: pd.DataFrame, decided: int, is_single: bool) -> str:
    """Say how many runs are incomplete, to what most of their missing tasks are put down, and if faults were injected.

    Of runs of a single task the last task is the task: how it ended is said of that.
    """
    runs, sinks = totals["incomplete"], 0 if is_single else totals["failed_sinks"]
    ended = f"**{count(sinks, 'run')}** ended in a failed last task"
    if not decided:
        said = f"Whether any of {count(totals['runs'], 'run')} lost a task cannot be told: no DAG is recorded"
        if totals["ended"]:
            said += ", only that the run ended" if totals["runs"] == 1 else f", only that {totals['ended']:,} ended"
        return f"{said}; {ended}" if sinks else said
    if not runs:
        none, of = "No run is incomplete", f"of {decided:,} whose DAG is known"
        return f"{none} {of}, but {ended}" if sinks else f"**{none}** {of}"
    said = f"**{runs:,} of {count(decided, 'run')}** {'is' if runs == 1 else 'are'} incomplete, {phrases.share(share(runs, decided))}"
    lost = _sum(kinds[kinds["kind"] == "run_incomplete"], "tasks_taken_down")
    for cause, number in _causes(kinds)[:1]:
        missing = count(max(lost, number), "missing task")
        said += f": {number:,} of {'its' if runs == 1 else 'their'} {missing} {_put_down(kinds, cause, number)}"
    if totals["injected"]:
        said += f"; {count(totals['injected_incomplete'], 'incomplete run')} had a fault injected"
    return f"{said}; {ended}" if sinks else said


def _of_unknown_dag(totals: dict[str, int]) -> str:
    ended = totals["ended"]
    parts = (
        [f"{count(totals['undecided'], 'run')} of unknown DAG: whether they are complete cannot be told. "]
        if totals["undecided"]
        else []
    )
    if ended:
        parts.append(
            f"{count(ended, 'run')} of unknown DAG whose end is recorded: {'it counts' if ended == 1 else 'they count'} as complete in other "
            "answers, and in no share of incomplete runs here. "
        )
    return "".join(parts)


def _put_down(kinds: pd.DataFrame, cause: str, number: int) -> str:
    """Return 'are put down to 27 workers that never became ready'."""
    if cause == "unknown":
        return f"{'has' if number == 1 else 'have'} {CAUSES[cause]}"
    behind = _of(kinds, cause)
    who = f"{behind:,} {_many(cause)}" if behind > 1 else CAUSES.get(cause, plain(cause, 30))
    return f"{'is' if number == 1 else 'are'} put down to {who}"


def _missing(totals: dict[str, int], kinds: pd.DataFrame) -> str:
    """Say to what all missing tasks are put down."""
    causes = []
    for cause, number in _causes(kinds):
        most = kinds.loc[kinds["kind"] == cause, "most"].max()
        at_most = f" (up to {most:,.0f} to one)" if _of(kinds, cause) > 1 and most > 1 else ""
        causes.append(f"{number:,} {_put_down(kinds, cause, number)}{at_most}")
    return f"Missing tasks, of {count(totals['tasks_of_incomplete'], 'task')} of incomplete runs: {', '.join(causes)}."


def _failed(kinds: pd.DataFrame, errors: pd.DataFrame, is_single: bool) -> list[str]:
    """Say how many tasks, workers and attempts are recorded as failed, each with its own most frequent errors.

    Where a run is one task on one worker, as a request is, the worker's failure is the task's and is not said again.
    """
    said = []
    same = is_single and _of(kinds, "worker_failed") <= _of(kinds, "task_failed")
    for kind, one, many in (
        ("task_failed", "task is recorded as failed", "tasks are recorded as failed"),
        ("worker_failed", "worker says that it failed", "workers say that they failed"),
        ("attempt_failed", "attempt failed and was tried again", "attempts failed and were tried again"),
    ):
        if (failures := _of(kinds, kind)) and not (same and kind == "worker_failed"):
            said.append(count(failures, one, many))
            types = errors[(errors["kind"] == kind) & errors["error_type"].notna()].drop_duplicates("error_type")
            named = list(zip(types["error_type"], types["of_type"], strict=True))[:_MOST_TYPES]
            told = [f"{'' if number == failures else f'{number:,} with '}{plain(name, 40)}" for name, number in named]
            said[-1] += f" ({', '.join(told)})" if told else ""
    return said


def _injected(totals: dict[str, int]) -> str:
    """Say how many runs with an injected fault are incomplete, and how many of the others where there are any."""
    runs, incomplete = totals["injected"], totals["injected_incomplete"]
    others = totals["runs"] - runs
    besides = f", of the other {others:,} it is {totals['incomplete'] - incomplete:,}" if others else ""
    return f"Of {count(runs, 'run')} with an injected fault {incomplete:,} {'is' if incomplete == 1 else 'are'} incomplete{besides}."


def _caveats(totals: dict[str, int], kinds: pd.DataFrame, faults: pd.DataFrame, worst: pd.DataFrame) -> tuple[str, ...]:
    found = [_missing(totals, kinds)] if _causes(kinds) else []
    found += [
        "A failure often leaves no trace of its own: a dead worker's tasks are simply absent. Which failure stopped them is "
        "inferred, going back along the DAG from each missing task to the first that failed or did not run, and from there to "
        "the worker that was to run it. A worker that died after its last task is not seen.",
        "Kinds count the same losses at several grains (a worker, its tasks, its run): never add them up.",
    ]
    injected = faults[faults["fault"].notna()]
    if len(injected):
        parts = [
            f"{plain(row['fault'], 30)} {int(row['left_a_trace']):,} of {int(row['runs']):,}"
            for row in injected.to_dict("records")
        ]
        causes = set(injected["first_cause"].dropna()) | set(injected["last_cause"].dropna())
        alike = len(causes) == 1 and int((injected["left_a_trace"] > 0).sum()) > 1
        found.append(
            f"{_injected(totals)} Injected faults that left a trace, by tag `fault`: {', '.join(parts)}."
            + (" What they left does not tell one kind of fault from another." if alike else "")
        )
    if record_only := _sum(faults, "record_only"):
        found.append(
            f"{count(record_only, 'incomplete run')} lost no task that another waited for: the record is incomplete, the "
            "result may well be complete."
        )
    if totals["without_planner"]:
        found.append(
            f"{count(totals['without_planner'], 'incomplete run')} left no planner's name, so that comparisons of planners "
            "miss them: survivors flatter whatever loses runs."
        )
    if not totals["tasks_with_status"]:
        found.append("No task records a status, so that a failed task cannot be told from one that succeeded.")
    elif not _of(kinds, "task_failed"):
        found.append("No task is recorded as failed: one that raises may take its worker, and its own record, with it.")
    if len(worst) and worst["runs"].iloc[0] > len(worst):
        found.append(f"The table lists the {len(worst):,} runs that lost most of {int(worst['runs'].iloc[0]):,}.")
    return tuple(found)


def _table(kinds: pd.DataFrame, errors: pd.DataFrame, faults: pd.DataFrame, worst: pd.DataFrame) -> pd.DataFrame:
    """Return kinds by cause, errors, injected faults and the worst runs (those with a run_id) below each other."""
    rows: list[dict[str, Any]] = []
    for row in kinds.to_dict("records"):
        rows.append({
            "rows": "kind of failure", "what": KINDS.get(row["kind"], row["kind"]), "cause": _cause(row["cause_kind"]),
            "failures": row["failures"], "runs": row["runs"], "in runs with an injected fault": row["injected"],
            "tasks taken down": row["tasks_taken_down"], "most by one": row["most"],
        })  # fmt: skip
    for row in errors.to_dict("records"):
        code = "" if pd.isna(row["exit_code"]) else f"exit code {row['exit_code']:.0f}"
        rows.append({
            "rows": "error", "what": KINDS.get(row["kind"], row["kind"]),
            "cause": ", ".join(part for part in (label(row["error_type"], 60), code) if part),
            "failures": row["failures"], "runs": row["runs"],
        })  # fmt: skip
    for row in faults.to_dict("records") if faults["fault"].notna().any() else []:
        rows.append({
            "rows": "injected fault", "what": label(row["fault"], 40), "runs": row["runs"], "incomplete runs": row["incomplete"],
            "runs that left a trace": row["left_a_trace"],
        })  # fmt: skip
    for row in worst.to_dict("records"):
        rows.append({
            "rows": "run", "what": "lost most", "cause": _cause(row["cause_kind"]), "tasks taken down": row["lost"],
            "of tasks": row["tasks_expected"], "failed workers": row["failed_workers"], "failed attempts": row["failed_attempts"],
            "workflow": row["workflow"], "planner": row["planner"], "injected fault": row["fault"], "run_id": row["run_id"],
        })  # fmt: skip
    return pd.DataFrame(rows).convert_dtypes()


def _by_cause(kinds: pd.DataFrame) -> tuple[Figure, ...]:
    """Draw the tasks without metrics by what stopped them."""
    rows, said = [], []
    for cause, number in _causes(kinds):
        mine = kinds[kinds["cause_kind"] == cause]
        parts = [_sum(mine[mine["kind"] == kind], "failures") for kind in ("task_not_run", "task_not_recorded")]
        name = KINDS.get(cause, CAUSES.get(cause, label(cause, 40)))
        text = " + ".join(
            f"{part:,} {called}" for part, called in zip(parts, ("not run", "not recorded"), strict=True) if part
        )
        rows += [{"label": name, "part": part, "n": n, "text": text} for part, n in zip(_LOST, parts, strict=True) if n]
        said.append(f"{name} {number:,} ({text})")
    if not rows:
        return ()
    drawn = stacked(pd.DataFrame(rows), "Tasks without metrics", _LOST)
    return (Figure(drawn, f"Tasks without metrics by what stopped them: {'; '.join(said)}.", "tasks-lost-by-cause"),)


def _by_kind(kinds: pd.DataFrame, any_injected: bool) -> tuple[Figure, ...]:
    """Draw the failures of each kind, split by whether a fault had been injected into the run."""
    sums = kinds.groupby("kind")[["failures", "injected"]].sum().to_dict("index")
    rows, said = [], []
    for kind, name in KINDS.items():
        if kind not in sums:
            continue
        failures, injected = int(sums[kind]["failures"]), int(sums[kind]["injected"])
        text = f"{failures:,}" + (f" ({injected:,} injected)" if any_injected else "")
        parts = zip(_INJECTED, (failures - injected, injected), strict=True)
        rows += [{"label": name, "part": part, "n": n, "text": text} for part, n in parts if n]
        said.append(f"{name} {text}")
    if not rows:
        return ()
    drawn = stacked(pd.DataFrame(rows), "Failures of this kind", _INJECTED)
    return (Figure(drawn, f"Failures by kind, each at its own grain: {'; '.join(said)}.", "failures-by-kind"),)


def _causes(kinds: pd.DataFrame) -> list[tuple[str, int]]:
    """Return what stopped the tasks without metrics and how many, the most first."""
    lost = kinds[kinds["kind"].isin(["task_not_run", "task_not_recorded"])]
    found = lost.groupby("cause_kind")["failures"].sum().sort_values(ascending=False, kind="stable")
    return [(str(cause), int(number)) for cause, number in found.items()]


def _many(cause: str) -> str:
    return {
        "task_failed": "tasks that failed", "worker_failed": "workers that failed",
        "worker_never_ready": "workers that never became ready", "worker_without_tasks": "workers that left nothing",
    }.get(cause, CAUSES.get(cause, plain(cause, 30)))  # fmt: skip


def _cause(kind: object) -> str | None:
    return CAUSES.get(kind, kind) if isinstance(kind, str) else None


def _of(kinds: pd.DataFrame, kind: str) -> int:
    return _sum(kinds[kinds["kind"] == kind], "failures")


def _sum(frame: pd.DataFrame, column: str) -> int:
    return int(frame[column].fillna(0).sum())


QUESTIONS = (
    Question("F21", "What failed, why, and what else did each failure take down?", "failures", MINIMUM, _failures),
)

"""How wrong active periods are that assume no start-up time, and what that does to plans."""

from __future__ import annotations

from math import isclose
from typing import Any

import pandas as pd

from app.charts.startup import PARTS, active
from app.findings import phrases, planned_ahead
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Effect, Figure, Question, not_enough
from app.findings.statistics import MINIMUM_RUNS, Interval, clustered_ratio
from app.findings.strays import strays
from app.plain import label, labels
from app.units import count, duration, percent

_MOST_APART = 0.05
"""Shares of cold starts that differ by more make what is missed another figure: a cold start takes longer."""

MOST_DRAWN = 12
"""Planners that are drawn, those with most workers; the table holds all."""

PERIODS = """
-- How long the workers of each run were active, start-up included, and what is left when counting begins at the first
-- task; workers whose end is not known have neither, nor have those whose first task starts before their request
-- (task_before_request). `worker_active_periods` says what the parts are.
select
    selected_runs.run_id,
    selected_runs.planner,
    selected_runs.environment,
    count(*) as launched,
    count(*) filter (where is_known) as workers,
    count(*) filter (where active_ms_without_startup > periods.active_ms) as task_before_request,
    count(*) filter (where is_known and task_before_ready) as task_before_ready,
    count(*) filter (where state = 'cold') as cold,
    count(*) filter (where state = 'warm') as warm,
    count(*) filter (where is_known and state = 'cold') as counted_cold,
    count(*) filter (where is_known and state = 'warm') as counted_warm,
    coalesce(sum(periods.active_ms) filter (where is_known), 0)::double as active_ms,
    coalesce(sum(active_ms_without_startup) filter (where is_known), 0)::double as without_ms,
    coalesce(sum(periods.startup_ms) filter (where is_known), 0)::double as startup_ms,
    coalesce(sum(busy_ms) filter (where is_known), 0)::double as busy_ms,
    coalesce(sum(idle_ms) filter (where is_known), 0)::double as idle_ms
from (
    select
        active.*, cold_starts.state,
        active.active_ms > 0 and active.active_ms_without_startup <= active.active_ms and active.startup_ms is not null as is_known
    from worker_active_periods as active
    inner join cold_starts on active.invocation_id = cold_starts.invocation_id
) as periods
inner join selected_runs on periods.run_id = selected_runs.run_id
group by selected_runs.run_id, selected_runs.planner, selected_runs.environment
order by selected_runs.run_id
"""

MEDIANS = """
-- The share of its active time that the median worker loses when counting begins at its first task: of all workers
-- (is_total) and per planner and environment.
select
    selected_runs.planner,
    selected_runs.environment,
    grouping(selected_runs.planner) = 1 as is_total,
    median(1 - active_ms_without_startup / active_ms) as missed
from worker_active_periods as periods
inner join selected_runs on periods.run_id = selected_runs.run_id
where active_ms > 0 and active_ms_without_startup <= active_ms and periods.startup_ms is not null
group by grouping sets ((), (selected_runs.planner, selected_runs.environment))
order by is_total desc, selected_runs.planner nulls last, selected_runs.environment nulls last
"""

STATES = """
-- Planned against actual start-up states of the workers whose plan and start are both known, and how many of them an
-- applied pre-warm was meant for: it turns a start that was planned cold into a warm one, on purpose.
with prewarmed as (
    select distinct opportunities.run_id, opportunities.target_worker_id as worker_id
    from optimization_opportunities as opportunities
    inner join selected_runs on opportunities.run_id = selected_runs.run_id
    where opportunities.optimization = 'prewarm' and opportunities.effective
)

select
    count(*) as workers,
    count(distinct errors.run_id) as runs,
    count(*) filter (where predicted >= 0.5 and actual = 1) as cold_cold,
    count(*) filter (where predicted >= 0.5 and actual = 0) as cold_warm,
    count(*) filter (where predicted >= 0.5 and actual = 0 and prewarmed.run_id is not null) as cold_prewarmed,
    count(*) filter (where predicted < 0.5 and actual = 1) as warm_cold,
    count(*) filter (where predicted < 0.5 and actual = 0) as warm_warm
from prediction_errors as errors
inner join selected_runs on errors.run_id = selected_runs.run_id
inner join invocations on errors.invocation_id = invocations.invocation_id
left join prewarmed on invocations.run_id = prewarmed.run_id and invocations.worker_id = prewarmed.worker_id
where
    errors.predictor = 'engine' and errors.level = 'invocation' and errors.metric = 'state'
    and errors.predicted is not null and errors.actual is not null
"""

PATHS = """
-- Start-up on critical paths, per run that has both: all that the plan predicts for workers whose first task stands on its path,
-- what of it the plan's own times wait for, and what was really waited for on the path that was observed.
with firsts as (
    select run_id, task_id, startup_ms
    from (
        select
            planned_tasks.run_id, planned_tasks.task_id, planned_tasks.startup_ms,
            row_number() over (
                partition by
                    planned_tasks.run_id, planned_tasks.worker_id,
                    case when planned_tasks.worker_id is null then planned_tasks.task_id end
                order by planned_tasks.start_offset_ms nulls last, planned_tasks.task_id
            ) as place
        from planned_tasks
        inner join selected_runs on planned_tasks.run_id = selected_runs.run_id
        where planned_tasks.startup_ms is not null
    ) as ranked
    where place = 1
),

paths as (
    select
        critical_path.run_id,
        count(*) filter (where path = 'planned') as planned_steps,
        count(*) filter (where path = 'observed') as observed_steps,
        sum(firsts.startup_ms) filter (where path = 'planned') as predicted_ms,
        sum(critical_path.startup_ms) filter (where path = 'planned') as planned_ms,
        sum(critical_path.startup_ms) filter (where path = 'observed') as waited_ms
    from critical_path
    inner join selected_runs on critical_path.run_id = selected_runs.run_id
    left join firsts on critical_path.run_id = firsts.run_id and critical_path.task_id = firsts.task_id
    where critical_path.reaches_sink
    group by critical_path.run_id
)

select run_id, coalesce(predicted_ms, 0)::double as predicted_ms, planned_ms::double as planned_ms, waited_ms::double as waited_ms
from paths
where planned_steps > 0 and observed_steps > 0 and planned_ms is not null and waited_ms is not null
order by run_id
"""


def missed(rows: pd.DataFrame) -> Interval | None:
    """Return the share of active time that is not counted without start-up, resampled by run. `rows`: what `PERIODS` returns."""
    return _of_runs(rows["active_ms"] - rows["without_ms"], rows["active_ms"])


def _of_runs(parts: pd.Series[float], wholes: pd.Series[float]) -> Interval | None:
    """Return a ratio of totals, None where resampling says nothing: of runs that all agree it has no width."""
    found = clustered_ratio(parts.tolist(), wholes.tolist())
    return None if found is None or not found.low < found.high or isclose(found.low, found.high) else found


def table(rows: pd.DataFrame, medians: pd.DataFrame, ahead: pd.DataFrame) -> pd.DataFrame:
    """Return what is missed in all, and per planner and environment: a row each, with the errors of plans and simulations."""
    of_all = medians[medians["is_total"]]["missed"]
    found = [_row("(all)", "(all)", rows, float(of_all.iloc[0]) if len(of_all) else None, ahead)]
    median = {_key(row): row["missed"] for row in medians[~medians["is_total"]].to_dict("records")}
    for (planner, environment), group in rows.groupby(["planner", "environment"], dropna=False):
        if group["active_ms"].sum() > 0:
            key = _key({"planner": planner, "environment": environment})
            found.append(_row(label(planner), label(environment), group, median.get(key), ahead))
    return pd.DataFrame(found)


def _key(row: dict[Any, Any]) -> tuple[Any, Any]:
    """Return planner and environment of a row, None where there is none: NaN is not equal to itself."""
    planner, environment = (None if pd.isna(row[name]) else row[name] for name in ("planner", "environment"))
    return planner, environment


def _row(
    planner: str, environment: str, rows: pd.DataFrame, median: float | None, ahead: pd.DataFrame
) -> dict[str, Any]:
    total = float(rows["active_ms"].sum())
    interval = missed(rows)
    return {
        "planner": planner,
        "environment": environment,
        "runs": int((rows["workers"] > 0).sum()),
        "workers": int(rows["workers"].sum()),
        "active_s": total / 1000,
        "active_s_without_startup": float(rows["without_ms"].sum()) / 1000,
        "missed_share": 1 - float(rows["without_ms"].sum()) / total,
        "missed_low": interval.low if interval else None,
        "missed_high": interval.high if interval else None,
        "missed_in_median_worker": median,
        "startup_share": float(rows["startup_ms"].sum()) / total,
        "busy_share": float(rows["busy_ms"].sum()) / total,
        "idle_share": float(rows["idle_ms"].sum()) / total,
        **(planned_ahead.columns(ahead[ahead["run_id"].isin(rows["run_id"])]) if len(ahead) else {}),
    }


def _f11(evidence: Evidence) -> Answer:
    rows = evidence.frame(PERIODS)
    launched, workers, apart = int(rows["launched"].sum()), int(rows["workers"].sum()), strays(evidence)
    if not workers:
        return not_enough(
            f"Of {count(launched, 'worker')} of this selection none has a request, first task and end that are known and in this order"
            f"{f'; {apart} cannot be counted' if apart else ''}.",
            "Runs whose workers leave start records (`invocations`) and metrics of their tasks.",
            n=launched, counted="workers",
        )  # fmt: skip
    with_any = rows[rows["workers"] > 0]
    ahead = evidence.frame(planned_ahead.ERRORS)
    found = table(with_any, evidence.frame(MEDIANS), ahead)
    states, paths = evidence.record(STATES), evidence.frame(PATHS)
    interval = missed(with_any)
    share = float(found["missed_share"][0])
    text = (
        f"Active periods that begin at the first task miss **{percent(share)}**"
        + (f" ({phrases.ends_of_share(interval)})" if interval else "")
        + f" of the time workers were active, {percent(found['missed_in_median_worker'][0])} in the median worker"
    )
    plan = [part for part in (_states(states), _paths(paths)) if part]
    would_change = (
        "Plans that count start-up, or play the run forward in time; then planned and actual states and paths can be compared again."
        if plan
        else "Runs with plans: those without history make none, so what it does to a plan cannot be told."
    )
    if plan:
        text += f". {'; '.join([plan[0][0].upper() + plan[0][1:], *plan[1:]])}"
    if simulated := planned_ahead.said(ahead):
        text += f". {simulated}"
    return Answer(
        "answered",
        f"{text}.",
        workers, "workers",
        phrases.effect("share of active time missed without start-up", interval, "share")
        or Effect("share of active time missed without start-up", share, None, None, "share"),
        _left_out(rows, states, paths, apart), found, _figure(with_any),
        (*_caveats(rows, states, paths), *([planned_ahead.caveat(ahead)] if simulated else ())),
        would_change if simulated or not plan else f"{would_change} {planned_ahead.HINT}",
    )  # fmt: skip


def _states(states: dict[str, Any]) -> str:
    if not int(states["workers"]):
        return ""
    planned, actual = (int(states["cold_cold"] + states[name]) for name in ("cold_warm", "warm_cold"))
    wrong = f"{int(states['cold_warm']):,} planned cold were warm"
    if states["cold_prewarmed"]:
        wrong += f" ({int(states['cold_prewarmed']):,} of them pre-warmed)"
    if states["warm_cold"]:
        wrong += f", {int(states['warm_cold']):,} planned warm were cold"
    return f"plans expected {count(planned, 'cold start')} where {actual:,} happened: {wrong}"


def _paths(paths: pd.DataFrame) -> str:
    if paths.empty:
        return ""
    planned, waited = float(paths["planned_ms"].sum()), float(paths["waited_ms"].sum())
    found = _of_runs(paths["planned_ms"], paths["waited_ms"])
    share = f", {phrases.share(found) if found else percent(planned / waited)} of it" if waited > 0 else ""
    return f"on critical paths they wait {duration(planned)} for start-up where {duration(waited)} was waited{share}"


def _left_out(rows: pd.DataFrame, states: dict[str, Any], paths: pd.DataFrame, apart: str) -> str:
    early = int(rows["task_before_request"].sum())
    unknown = int(rows["launched"].sum() - rows["workers"].sum()) - early
    return (
        f"{count(unknown, 'worker')} without a known start, first task or end (those that never became ready among them)"
        f"{f'; {early:,} whose first task starts before their request, for clocks of machines differ' if early else ''}"
        f"{f'; {apart}' if apart else ''}. States: "
        f"{count(int(states['workers']), 'worker')} of {count(int(states['runs']), 'run')} have both a planned and a known state. "
        f"Critical paths: {count(len(paths), 'run')} with a planned and an observed path to the sink."
    )


def _caveats(rows: pd.DataFrame, states: dict[str, Any], paths: pd.DataFrame) -> tuple[str, ...]:
    caveats = [
        "Missed is everything before the first task starts: start-up, and any wait between ready and first task. A worker's end is its "
        "recorded end, else when its last task had told others; time after that is in neither figure.",
        "Start-up includes the time a request queues for a place, so a busy machine makes it longer.",
    ]
    told, counted = (rows["cold"].sum() + rows["warm"].sum(), rows["counted_cold"].sum() + rows["counted_warm"].sum())
    if told and counted:
        of_all, of_counted = rows["cold"].sum() / told, rows["counted_cold"].sum() / counted
        if abs(of_counted - of_all) > _MOST_APART:
            caveats.append(
                f"{percent(of_counted)} of the workers counted started cold, and {percent(of_all)} of all: what all miss is "
                f"{'less' if of_counted > of_all else 'more'} than this."
            )
    if int(states["workers"]):
        caveats.append(
            "A plan judges what is warm from activity without start-up and from its own run only: containers that other runs left warm, and "
            "those pre-warmed (which report warm), are planned cold. Not every wrong state is therefore due to missing start-up."
        )
    if len(paths):
        predicted, planned = float(paths["predicted_ms"].sum()), float(paths["planned_ms"].sum())
        part = f" ({percent(planned / predicted)})" if predicted > 0 else ""
        caveats.append(
            f"Plans predict {duration(predicted)} of start-up for workers that begin on their critical path, but their own times wait for only "
            f"{duration(planned)} of it{part}: start-up is added after times were set. Planned and observed path may be different tasks."
        )
    if early := int(rows["task_before_ready"].sum()):
        caveats.append(
            f"{count(early, 'worker')} seem to start a task before being ready: clocks of machines differ; kept as recorded."
        )
    return tuple(caveats)


def _figure(rows: pd.DataFrame) -> tuple[Figure, ...]:
    columns = dict(zip(PARTS, ("startup_ms", "busy_ms", "idle_ms"), strict=True))
    sums = rows.groupby("planner", dropna=False)[["workers", *columns.values()]].sum()
    sums = sums[sums[list(columns.values())].sum(axis=1) > 0].sort_values("workers", ascending=False)
    drawn = sums.head(MOST_DRAWN)
    if drawn.empty:
        return ()
    shares = [
        {"label": name, "part": part, "share": float(row[column]) / float(sum(row[c] for c in columns.values())),
         "seconds": float(row[column]) / 1000}
        for name, (_, row) in zip(labels(drawn.index, 30), drawn.iterrows(), strict=True) for part, column in columns.items()
    ]  # fmt: skip
    frame = pd.DataFrame(shares)
    text = "What workers were active for, shares of their active time per planner: " + "; ".join(
        f"{name} {', '.join(f'{part} {percent(share)}' for part, share in zip(group['part'], group['share'], strict=True))}"
        for name, group in frame.groupby("label", sort=False)
    )
    left = f" The {len(sums) - len(drawn):,} other planners are in the table." if len(sums) > len(drawn) else ""
    return (Figure(active(frame), f"{text}.{left}", "active-time"),)


QUESTIONS = (
    Question(
        "F11",
        "How wrong are active periods that assume no start-up time, and what does that do to the plan?",
        "active_periods",
        f"One worker with a known request, first task and end; an interval takes {MINIMUM_RUNS} runs, what it does to plans takes plans.",
        _f11,
    ),
)

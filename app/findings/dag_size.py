"""How the serialised DAG grows with tasks, what loading it takes workers, and what it must carry."""

from __future__ import annotations

from math import inf, isfinite, log

import numpy as np
import pandas as pd
from scipy import stats

from app.charts.base import thinned
from app.charts.growth import growth
from app.findings import phrases
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Effect, Figure, Question, not_enough
from app.findings.statistics import Interval, clustered_ratio, median_interval
from app.plain import label
from app.units import count, duration, figure, known, percent, size

_FEWEST_SIZES = 4
"""Distinct numbers of tasks below which no slope is fitted."""

_SURE_SIZES = 5
"""Structures below which no order of sizes is rarer than 1 in 20 (Kendall: 2 / 4! > .05), so a slope has no interval."""

_MOST_STRUCTURES = 2_000
_LIMIT_BYTES = 95_000
_LIMITED = "octoflows"
"""The engine that cannot pass more than `_LIMIT_BYTES` with an invocation; of others no limit is known."""

_LEAST_SHARE = 0.0001

_STRUCTURES = """
-- The serialised DAG by structure, as `dag_growth` counts it, of the runs selected: medians over loads; what it must
-- carry (ids and edges; arguments written into the workflow) is known once per run. Where that is more than the whole
-- DAG (contradicted), arguments are not in it as they are recorded, so what they weigh in it is not known.
with loads as (
    select
        engine, workflow, structure_hash, tasks_expected as tasks, dag_loads.run_id, dag_bytes::double as dag_bytes,
        topology_bytes::double as topology_bytes, dag_loads.download_ms,
        dag_contents.argument_bytes + coalesce(topology_bytes, 0) > dag_bytes as contradicted,
        case when not contradicted then dag_contents.argument_bytes end as argument_bytes
    from dag_loads
    inner join selected_runs on dag_loads.run_id = selected_runs.run_id
    inner join dag_contents on dag_loads.run_id = dag_contents.run_id
    where dag_bytes > 0
)

select
    engine, workflow, structure_hash, tasks,
    count(distinct run_id)::bigint as runs,
    count(*)::bigint as loads,
    median(dag_bytes) as dag_bytes,
    min(dag_bytes) as min_dag_bytes,
    max(dag_bytes) as max_dag_bytes,
    median(topology_bytes) as topology_bytes,
    median(argument_bytes) as argument_bytes,
    median(dag_bytes - argument_bytes) as bare_bytes,
    median(dag_bytes - topology_bytes - argument_bytes) as other_bytes,
    median((topology_bytes + argument_bytes) / dag_bytes) as needed_share,
    count(case when contradicted then 1 end)::bigint as contradicted,
    count(case when dag_bytes > $limit then 1 end)::bigint as loads_over_limit,
    count(case when dag_bytes > $limit and download_ms = 0 then 1 end)::bigint as passed_over_limit,
    count(distinct case when dag_bytes > $limit then run_id end)::bigint as runs_over_limit
from loads
group by engine, workflow, structure_hash, tasks
order by runs desc, engine, workflow, structure_hash, tasks
"""

_OF_RUNS = """
-- What loading the DAG took in each run: per worker (median), over all its workers, and how long these took to start.
select
    selected_runs.run_id,
    count(*)::bigint as loads,
    sum(dag_bytes)::double as dag_bytes,
    median(coalesce(dag_loads.download_ms + subdag_ms, dag_loads.download_ms, subdag_ms)) as load_ms_per_worker,
    sum(coalesce(dag_loads.download_ms + subdag_ms, dag_loads.download_ms, subdag_ms)) as load_ms,
    count(case when dag_loads.download_ms > 0 then 1 end)::bigint as downloaded,
    count(case when dag_loads.download_ms = 0 then 1 end)::bigint as passed,
    any_value(selected_runs.startup_ms) as startup_ms,
    any_value(selected_runs.makespan_ms) as makespan_ms
from dag_loads
inner join selected_runs on dag_loads.run_id = selected_runs.run_id
group by selected_runs.run_id
order by selected_runs.run_id
"""


def slope(tasks: pd.Series[float], values: pd.Series[float]) -> Interval | None:
    """Return the Theil-Sen slope with its 95 % interval, whose ends are NaN below 5 structures.

    None with fewer than 4 distinct numbers of tasks. Theil 1950, Sen 1968, as in scipy's `theilslopes`.
    """
    both = pd.DataFrame({"x": pd.to_numeric(tasks), "y": pd.to_numeric(values)}).astype(float)
    both = both[np.isfinite(both["x"]) & np.isfinite(both["y"])]
    if both["x"].nunique() < _FEWEST_SIZES:
        return None
    if len(both) > _MOST_STRUCTURES:
        both = both.sort_values(["x", "y"])[:: -(-len(both) // _MOST_STRUCTURES)]
    found = stats.theilslopes(both["y"], both["x"], alpha=0.95)
    sure = len(both) >= _SURE_SIZES
    low, high = (float(end) if sure else float("nan") for end in (found.low_slope, found.high_slope))
    return Interval(float(found.slope), low, high, len(both))


def _dag(evidence: Evidence) -> Answer:
    structures = evidence.frame(_STRUCTURES, limit=_LIMIT_BYTES)
    runs = evidence.frame(_OF_RUNS)
    total = int(evidence.record("-- The runs selected.\nselect count(*)::bigint as runs from selected_runs")["runs"])
    if structures.empty:
        return not_enough(
            f"None of {count(total, 'run')} of this selection records how large its DAG was when workers loaded it.",
            "Dumps of an engine whose workers record their load of the DAG (`dag_loads`).",
            n=total,
        )
    bare = bool(structures["bare_bytes"].notna().all())
    measured = structures["bare_bytes" if bare else "dag_bytes"].astype(float)
    per_task = slope(structures["tasks"], measured)
    with_arguments = slope(structures["tasks"], structures["dag_bytes"])
    positive = structures["tasks"].gt(0).fillna(False).astype(bool) & measured.gt(0)
    exponent = slope(structures["tasks"][positive].astype(float).map(log), measured[positive].map(log))
    loads = int(structures["loads"].sum())
    per_worker = median_interval(runs["load_ms_per_worker"].astype(float).tolist())
    both = runs[runs["load_ms"].notna() & runs["startup_ms"].gt(0)]
    of_startup = clustered_ratio(both["load_ms"].tolist(), both["startup_ms"].tolist())
    return Answer(
        "answered",
        f"{_grows(structures, per_task, bare)}; {_costs(runs, per_worker, of_startup)}; {_could_be(structures)}{_limit(structures)}.",
        loads, "loads of a DAG by workers",
        _effect(per_task, bare) or (phrases.effect("load of the DAG per worker", per_worker, "ms")),
        _left_out(total, runs, structures), _dag_table(structures), _figures(structures, measured, per_task, bare),
        _caveats(structures, runs, with_arguments, exponent, bare),
        f"Workflows of one kind in {_SURE_SIZES} sizes or more; what the functions' code weighs, which no dump says.",
    )  # fmt: skip


def _grows(structures: pd.DataFrame, per_task: Interval | None, bare: bool) -> str:
    sizes = structures["dag_bytes"].astype(float)
    span = size(float(sizes.min())) if len(sizes) == 1 else f"{size(float(sizes.min()))} to {size(float(sizes.max()))}"
    if per_task is None:
        tasks = structures["tasks"].where(structures["tasks"] > 0).astype(float)
        each = (sizes / tasks).dropna()
        if each.empty:
            return f"The serialised DAG takes **{span}** ({count(len(structures), 'structure')}), for how many tasks is unknown"
        spread = (
            size(float(each.min())) if len(each) == 1 else f"{size(float(each.min()))} to {size(float(each.max()))}"
        )
        return (
            f"The serialised DAG takes {span}, **{spread} a task** ({count(len(each), 'structure')}; to say how it grows takes "
            f"{_FEWEST_SIZES} different numbers of tasks)"
        )
    without = "without the arguments written into it, " if bare else ""
    least, most = structures["tasks"].min(), structures["tasks"].max()
    grows = f"it grows by **{_bytes(per_task.value)} a task**"
    if not isfinite(per_task.low):
        interval = "too few for an interval"
    elif per_task.low <= 0 <= per_task.high:
        interval = f"95 % interval {_bytes(per_task.low)} to {_bytes(per_task.high)}, so it may be chance"
    else:
        interval = f"95 % interval {_bytes(per_task.low)} to {_bytes(per_task.high)}"
    return f"The serialised DAG of {least:,.0f} to {most:,.0f} tasks takes {span}; {without}{grows} over {count(per_task.n, 'structure')} ({interval})"


def _bytes(value: float) -> str:
    return f"-{size(-value)}" if value < 0 else size(value)


def _costs(runs: pd.DataFrame, per_worker: Interval | None, of_startup: Interval | None) -> str:
    each = runs["load_ms_per_worker"].dropna().astype(float)
    if each.empty:
        return "what loading it takes is not recorded"
    said = f"loading it takes a worker {duration(float(per_worker.value if per_worker else each.median()))}"
    if of_startup:
        part = percent(of_startup.value) if of_startup.value >= _LEAST_SHARE else f"under {percent(_LEAST_SHARE)}"
        said += f", {part} of what its start-up takes"
    return said


def _could_be(structures: pd.DataFrame) -> str:
    known_parts = structures.dropna(subset=["needed_share"])
    if known_parts.empty:
        return "how small it could be is not known"
    weights = known_parts["loads"].astype(float)
    share = float((known_parts["needed_share"].astype(float) * weights).sum() / weights.sum())
    return f"{percent(share)} of it are ids, edges and arguments, which it must carry, the rest code and what serialisation repeats"


def _limit(structures: pd.DataFrame) -> str:
    limited = structures[structures["engine"] == _LIMITED]
    runs, passed = int(limited["runs_over_limit"].sum()), int(limited["passed_over_limit"].sum())
    if not runs:
        return ""
    large = (
        f"{count(passed, 'such load')} came with an invocation all the same"
        if passed
        else "too large to pass with an invocation"
    )
    return f"; in {count(runs, 'run')} it was above {size(_LIMIT_BYTES)}, {large}"


def _effect(per_task: Interval | None, bare: bool) -> Effect | None:
    if per_task is None:
        return None
    low, high = (end if isfinite(end) else None for end in (per_task.low, per_task.high))
    return Effect(
        f"bytes of the DAG per task{', without arguments' if bare else ''}", per_task.value, low, high, "bytes"
    )


def _left_out(total: int, runs: pd.DataFrame, structures: pd.DataFrame) -> str:
    parts = []
    if without := total - len(runs):
        parts.append(f"{count(without, 'run')} without a recorded load of the DAG")
    if unsized := int(runs["loads"].sum()) - int(structures["loads"].sum()):
        parts.append(f"{count(unsized, 'load')} of unknown size")
    if untimed := int(runs["load_ms"].isna().sum()):
        parts.append(f"{count(untimed, 'run')} without a time for it")
    if unknown := int(structures["tasks"].isna().sum()):
        parts.append(f"{count(unknown, 'structure')} of an unknown number of tasks")
    if contradicted := int(structures["contradicted"].sum()):
        parts.append(f"what arguments weigh in {count(contradicted, 'load')} whose DAG is smaller than they are")
    return f"{'; '.join(parts)}." if parts else ""


def _dag_table(structures: pd.DataFrame) -> pd.DataFrame:
    kilobytes = {
        "dag_bytes": "DAG (kB, median)", "min_dag_bytes": "smallest (kB)", "max_dag_bytes": "largest (kB)",
        "topology_bytes": "ids and edges (kB)", "argument_bytes": "arguments (kB)", "other_bytes": "the rest (kB)",
    }  # fmt: skip
    tasks = structures["tasks"].where(structures["tasks"] > 0)
    return pd.DataFrame(
        {
            "engine": [label(name, 30) for name in structures["engine"]],
            "workflow": [label(name, 40) for name in structures["workflow"]],
            "structure": [label(name, 12) for name in structures["structure_hash"]],
            "tasks": structures["tasks"],
            "runs": structures["runs"],
            "loads": structures["loads"],
            **{text: structures[name].astype(float) / 1000 for name, text in kilobytes.items()},
            "bytes per task": structures["dag_bytes"].astype(float) / tasks.astype(float),
            "loads above 95 kB": structures["loads_over_limit"],
        }
    ).head(1_000)


def _figures(
    structures: pd.DataFrame, measured: pd.Series[float], per_task: Interval | None, bare: bool
) -> tuple[Figure, ...]:
    points = structures[structures["tasks"].gt(0).fillna(False).astype(bool)]
    if points.empty:
        return ()
    frame = pd.DataFrame(
        {
            "workflow": points["workflow"].fillna(""), "tasks": points["tasks"].astype(float), "bytes": points["dag_bytes"],
            "low": points["min_dag_bytes"], "high": points["max_dag_bytes"], "bare": points["bare_bytes"],
        }
    )  # fmt: skip
    drawn, omitted = thinned(frame, 1_500)
    limited = structures[structures["engine"] == _LIMITED]
    limit = _LIMIT_BYTES if len(limited) and not limited["passed_over_limit"].any() else inf
    line = pd.DataFrame({"tasks": [], "bytes": []})
    if per_task:
        ends = np.array([frame["tasks"].min(), frame["tasks"].max()])
        offset = float((measured[points.index] - per_task.value * frame["tasks"]).median())
        line = pd.DataFrame({"tasks": ends, "bytes": offset + per_task.value * ends})
    said = "; ".join(
        f"{label(row['workflow'], 30)} {row['tasks']:,.0f} tasks {size(row['bytes'])}"
        for row in frame.head(12).to_dict("records")
    )
    fit = (
        f" The dashed line is the fit{' without arguments' if bare else ''}: {_bytes(per_task.value)} a task."
        if per_task
        else ""
    )
    hollow = (
        " Filled: the whole DAG with its range; hollow: without the arguments written into the workflow."
        if frame["bare"].notna().any()
        else ""
    )
    return (
        Figure(
            growth(drawn, line, f"{_bytes(per_task.value)} a task" if per_task else "", limit),
            f"Serialised DAG against its number of tasks, one point per structure: {said}.{hollow}{fit} {omitted or ''}".strip(),
            "dag-growth",
        ),
    )


def _caveats(
    structures: pd.DataFrame, runs: pd.DataFrame, with_arguments: Interval | None, exponent: Interval | None, bare: bool
) -> tuple[str, ...]:
    said = []
    workflows = structures["workflow"].nunique(dropna=False)
    if workflows > 1:
        said.append(
            f"Structures are of {count(workflows, 'workflow')}, whose functions differ too: the slope is not that of one workflow made larger."
        )
    if bare and with_arguments:
        ends = (
            f", 95 % interval {_bytes(with_arguments.low)} to {_bytes(with_arguments.high)}"
            if isfinite(with_arguments.low)
            else ""
        )
        said.append(
            f"With the arguments a DAG grows by {_bytes(with_arguments.value)} a task{ends}: arguments follow the inputs, not the tasks."
        )
    elif not bare:
        said.append("What the arguments weigh is not known of every structure, so they are in the slope.")
    if exponent and known(exponent.value):
        ends = f" (95 % interval {figure(exponent.low)} to {figure(exponent.high)})" if isfinite(exponent.low) else ""
        said.append(
            f"On logarithms, bytes{' without arguments' if bare else ''} grow as the tasks to the power of {figure(exponent.value)}{ends}."
        )
    limited = structures[structures["engine"] == _LIMITED]
    if len(limited) and not int(limited["loads_over_limit"].sum()):
        largest = float(limited["max_dag_bytes"].max())
        said.append(
            f"No DAG was above {size(_LIMIT_BYTES)}, what can be passed with an invocation: the largest took {size(largest)}."
        )
    whole = runs["load_ms"].dropna().astype(float)
    if len(whole):
        said.append(
            f"All workers of a run together take {duration(float(whole.median()))} to load it (median of {count(len(whole), 'run')})."
        )
    passed, downloaded = int(runs["passed"].sum()), int(runs["downloaded"].sum())
    if passed:
        said.append(
            f"{count(passed, 'load')} came with the invocation and took no download of their own, {downloaded:,} were downloaded."
        )
    said.append(
        "Loading comes after a worker's start-up, which does not include it; workers load at the same time, so the sum is no delay."
    )
    said.append(
        "How much of the rest is code no dump says: ids, edges and arguments are what a DAG must carry, not how small it can get."
    )
    return tuple(said)


QUESTION = Question(
    "F18", "How does the serialised DAG grow with tasks, what does it cost workers, how small could it be?", "planners_and_cost",
    f"One recorded load of a DAG; a slope needs {_FEWEST_SIZES} different numbers of tasks, its interval {_SURE_SIZES} structures.",
    _dag,
)  # fmt: skip
"""F18."""

"""How much of the recorded plans the rebuilt rule gives again: `python -m predictors.reproduction [--home HOME] [--quirks]`.

Every plan that had history is predicted from the runs known when it was submitted. A value is reproduced if it differs by at
most the tolerance, relative to the plan's. Each is asked for in three ways:

- stepwise: each rule by itself, with what the plan says of everything before it (sizes, memory, state, durations);
- whole: nothing but the DAG, its workers, and the bytes that come with the submission, as the plan counts them;
- unplanned: the same, with those bytes as the task recorded them, less what lists weighed in earlier runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import click
import numpy as np
import pandas as pd

from predictors.engine_plan import Durations, lay_out
from predictors.engine_rule import EngineRule, Origin, SampleCounts
from predictors.engine_runs import Run, in_turn, runs_of
from predictors.engine_samples import Floats, Quirks, Sla
from predictors.history import read_history
from warehouse.connection import Reader, open_current
from warehouse.errors import FlowscopeError
from warehouse.home import Home
from warehouse.options import home_option

METRICS = (
    "input_bytes", "output_bytes", "download_bytes", "upload_bytes", "execution_ms", "download_ms", "input_wait_ms",
    "upload_ms", "startup_state", "startup_ms", "start_offset_ms", "completion_offset_ms",
)  # fmt: skip
Columns = dict[str, Any]
"""Lists and arrays of a value per task, by name: a frame for each of thousands of plans takes longer than to predict it."""

WAYS = ("stepwise", "whole", "unplanned")
TOLERANCES = (1e-6, 1e-2)

ALTERNATIVES: tuple[Quirks, ...] = (
    Quirks(related_minimum=6),
    Quirks(related_maximum=1_000_000),
    Quirks(window_step=0.1),
    Quirks(same_memory_minimum=6),
    Quirks(execution_exponent=0.0),
    Quirks(transfer_exponent=0.0),
    Quirks(startup_exponent=-0.3),
    Quirks(percentile_of_speed=False),
    Quirks(uploads_from_downloads=False),
    Quirks(untimed_downloads_left_out=False),
    Quirks(planner_in_key=False),
    Quirks(functions_apart=False),
    Quirks(incomplete_runs_count=False),
    Quirks(startup_of_all_planners=False),
    Quirks(output_rounded_up=False),
    Quirks(lists_weigh_nothing=False),
    Quirks(downloads_as_one=False),
    Quirks(activity_before_startup=False),
    Quirks(startups_overlap=False),
    Quirks(keep_alive_ms=1000.0),
    Quirks(zero_without_samples=False),
)
"""What the rule would be without each of its quirks, in the order of `Quirks`' fields."""


def difference(quirks: Quirks) -> str:
    """Name what differs from the engine, such as 'planner_in_key=False'; 'engine' where nothing does."""
    engine = Quirks()
    names = [field.name for field in dataclasses.fields(Quirks)]
    changed = [name for name in names if getattr(quirks, name) != getattr(engine, name)]
    return ", ".join(f"{name}={getattr(quirks, name)}" for name in changed) or "engine"


class NoPlans(FlowscopeError):
    """The warehouse holds no plan that was made from history."""


@dataclasses.dataclass(frozen=True, slots=True)
class Recorded:
    """The recorded plans with history (one row per run), and the runs of all stores.

    `tasks` are what each plan says of its tasks, by run and metric, in the order of the run's tasks.
    """

    runs: list[Run]
    plans: pd.DataFrame
    tasks: dict[str, Columns]


def read_recorded(reader: Reader) -> Recorded:
    """Read plans and history from one generation. Raises `NoPlans`."""
    plans, tasks = reader.frame(_PLANS), reader.frame(_PLANNED)
    if plans.empty:
        raise NoPlans("No plan in the warehouse was made from history. Hint: flowscope ingest ingest/samples.")
    runs = runs_of(read_history(reader))
    tasks_of = {run.run_id: run.task_ids for run in runs}
    return Recorded(
        runs,
        plans.set_index("run_id"),
        {
            str(run): {
                str(name): column.to_numpy()
                for name, column in rows.set_index("task_id").loc[[*tasks_of[str(run)]]].items()
            }
            for run, rows in tasks.drop(columns="run_id").groupby(tasks["run_id"], sort=False)
            if run in tasks_of
        },
    )


def compare(
    recorded: Recorded, quirks: Quirks | None = None, ways: tuple[str, ...] = WAYS
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predict every plan again. Return one row per (way, task) and one per plan.

    Of tasks: way, run_id, task_id, version ('older', 'newer'), sla, and per metric what was predicted and, under
    `planned_<metric>`, the plan's. Of plans: run_id, version and, for each sample count, whether it is the plan's.
    """
    found: dict[str, list[Any]] = {name: [] for name in _COMPARED}
    counted = []
    for run, rule, sla in _with_history(recorded, quirks):
        plan = recorded.tasks[run.run_id]
        counts, stated = rule.counts(run), recorded.plans.loc[run.run_id]
        version = "older" if run.is_older_engine else "newer"
        same = {field.name: getattr(counts, field.name) == stated[field.name] for field in _COUNTS}
        counted.append({"run_id": run.run_id, "version": version, **same})
        for way in ways:
            said = {"way": way, "run_id": run.run_id, "version": version, "sla": stated["sla"]}
            columns = {name: [value] * len(run.task_ids) for name, value in said.items()}
            columns |= _PREDICT[way](rule, run, plan, sla) | {f"planned_{name}": plan[name] for name in METRICS}
            for name, values in found.items():
                values.extend(columns[name])
    return pd.DataFrame(found), pd.DataFrame(counted)


def reproduced(tasks: pd.DataFrame, tolerance: float) -> pd.DataFrame:
    """Tell for each row of `compare`, by metric, whether the plan's value was given again."""
    same = {}
    for name in METRICS:
        ours, plans = tasks[name], tasks[f"planned_{name}"]
        if name == "startup_state":
            same[name] = ours.fillna("") == plans.fillna("")
        else:
            theirs = plans.to_numpy(dtype=np.float64)
            same[name] = pd.Series(
                np.abs(ours.to_numpy(dtype=np.float64) - theirs) <= tolerance * np.abs(theirs) + 1e-9, index=tasks.index
            )
    return pd.DataFrame(same)


def shares(tasks: pd.DataFrame) -> pd.DataFrame:
    """Return the share reproduced: a row per (version, sla, metric), a column per (way, tolerance), and n."""
    keys = [tasks[name] for name in ("version", "sla", "way")]
    columns = {}
    for tolerance in TOLERANCES:
        by_way = reproduced(tasks, tolerance).groupby(keys).mean().stack().unstack("way")
        for way in by_way.columns:
            columns[f"{way} {tolerance:g}"] = by_way[way]
    table = pd.DataFrame(columns).rename_axis(["version", "sla", "metric"]).reset_index()
    counts = tasks[tasks["way"] == tasks["way"].iloc[0]].groupby(["version", "sla"]).size()
    table.insert(
        3, "tasks", [counts[version, sla] for version, sla in zip(table["version"], table["sla"], strict=True)]
    )
    order = {name: number for number, name in enumerate(METRICS)}
    return table.sort_values(["version", "sla", "metric"], key=lambda column: column.map(lambda v: order.get(v, v)))


def without_quirks(recorded: Recorded) -> pd.DataFrame:
    """Return the share reproduced (1e-5, whole) of each metric: the engine, then without each quirk."""
    table = {}
    for quirks in (Quirks(), *ALTERNATIVES):
        tasks, _ = compare(recorded, quirks, ("whole",))
        table[difference(quirks)] = reproduced(tasks, 1e-5).mean()
    return pd.DataFrame(table).T


def _with_history(recorded: Recorded, quirks: Quirks | None) -> Iterator[tuple[Run, EngineRule, Sla]]:
    rule = EngineRule(quirks)
    percentiles = recorded.plans["sla_percentile"].to_numpy(dtype=np.float64)
    slas: dict[str, Sla] = {
        run: "average" if np.isnan(percentile) else float(percentile)
        for run, percentile in zip(recorded.plans.index, percentiles, strict=True)
    }
    for run, known in in_turn(recorded.runs):
        for each in known:
            rule.learn(each)
        if run.run_id in slas:
            yield run, rule, slas[run.run_id]


def _whole(rule: EngineRule, run: Run, _plan: Columns, sla: Sla) -> Columns:
    return rule.columns(run, sla)


def _unplanned(rule: EngineRule, run: Run, _plan: Columns, sla: Sla) -> Columns:
    return rule.columns(_without_literals(run), sla)


def _without_literals(run: Run) -> Run:
    return dataclasses.replace(run, literal_bytes=np.full(len(run.task_ids), np.nan))


def _stepwise(rule: EngineRule, run: Run, plan: Columns, sla: Sla) -> Columns:
    """Ask each rule by itself, with the plan's own inputs."""
    origin = Origin.of(run)
    numbers = {name: np.asarray(plan[name], dtype=np.float64) for name in METRICS if name != "startup_state"}
    tasks = range(len(run.task_ids))
    memory = [int(each) for each in run.memory_mb]
    remote = [run.remote_upstream(task) for task in tasks]
    outputs = numbers["output_bytes"]
    stored = [sum(run.stored[task]) for task in tasks]
    literals = rule.literal_bytes(_without_literals(run))

    def each(answer: list[float]) -> Floats:
        return np.array(answer, dtype=np.float64)

    pieces = [
        [(up, rule.download_ms(origin, float(outputs[up]), memory[task], sla)) for up in remote[task]]
        + [(-1, rule.download_ms(origin, size, memory[task], sla)) for size in run.stored[task]]
        for task in tasks
    ]
    layout = lay_out(
        run,
        Durations(numbers["execution_ms"], numbers["upload_ms"], pieces),
        lambda state, memory_mb: rule.startup_ms(origin, state, memory_mb, sla),
        rule.quirks,
    )
    states = plan["startup_state"].tolist()
    return {
        "task_id": list(run.task_ids),
        "input_bytes": each([literals[t] + stored[t] + sum(outputs[up] for up in run.upstream[t]) for t in tasks]),
        "output_bytes": each([
            rule.output_bytes(origin, run.functions[t], numbers["input_bytes"][t], sla) for t in tasks
        ]),
        "download_bytes": each([stored[t] + sum(outputs[up] for up in remote[t]) for t in tasks]),
        "upload_bytes": np.where(run.uploads(), outputs, 0.0),
        "execution_ms": each([
            rule.execution_ms(origin, run.functions[t], numbers["input_bytes"][t], memory[t], sla) for t in tasks
        ]),
        "download_ms": each([rule.download_ms(origin, numbers["download_bytes"][t], memory[t], sla) for t in tasks]),
        "input_wait_ms": layout.wait,
        "upload_ms": each([rule.upload_ms(origin, numbers["upload_bytes"][t], memory[t], sla) for t in tasks]),
        "startup_state": layout.state,
        "startup_ms": each([
            rule.startup_ms(origin, state, memory[t], sla) if isinstance(state, str) else 0.0
            for t, state in enumerate(states)
        ]),
        "start_offset_ms": layout.start,
        "completion_offset_ms": layout.completion,
    }  # fmt: skip


_COMPARED = ("way", "run_id", "version", "sla", "task_id", *METRICS, *(f"planned_{name}" for name in METRICS))
_PREDICT = {"stepwise": _stepwise, "whole": _whole, "unplanned": _unplanned}
_COUNTS = dataclasses.fields(SampleCounts)

_PLANS = """
select
    run_id, sla, sla_percentile, previous_runs, execution_samples as execution, download_samples as download,
    upload_samples as upload, output_samples as output
from plans
where previous_runs > 0 and run_id in (select run_id from planned_tasks)
order by run_id
"""

_PLANNED = """
select
    run_id, task_id, input_bytes, output_bytes, download_bytes, upload_bytes, execution_ms, download_ms, input_wait_ms,
    upload_ms, startup_state, startup_ms, start_offset_ms, completion_offset_ms
from planned_tasks
order by run_id, task_id
"""


@click.command()
@click.option("--quirks", is_flag=True, help="Show what is lost without each quirk instead.")
@home_option
def main(quirks: bool, home: Home) -> None:
    """Print the share of recorded plans that the rebuilt rule gives again."""
    try:
        with open_current(home) as reader:
            recorded = read_recorded(reader)
    except FlowscopeError as error:
        raise click.ClickException(str(error)) from error
    if quirks:
        click.echo(without_quirks(recorded).round(4).to_string())
        return
    tasks, plans = compare(recorded)
    same = plans.drop(columns="run_id").groupby("version").agg(["mean"]).droplevel(1, axis=1)
    same.insert(0, "plans", plans.groupby("version").size())
    click.echo("Sample counts that are the plan's\n" + same.round(4).to_string())
    click.echo("\nTasks of which the plan's value is given again\n" + shares(tasks).round(4).to_string(index=False))


if __name__ == "__main__":
    main()

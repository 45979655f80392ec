"""What is known before a task runs, a worker starts or a run is submitted: one row each, and no column known only later.

Known at planning are the DAG, the sizes of literal inputs, the planner, and where it planned: each task's worker and memory.
Workers of runs without a plan (or with flexible workers) are unknown, so nothing here rests on who ran a task in the
end. Sizes of inputs are known when a task starts, but not when its run is planned: `Dag.sizes` derives them from outputs,
which are the recorded ones to learn from, and predicted ones to predict a run (`replay`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictors.history import History

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CATEGORIES = ("function", "workflow", "environment", "planner", "kind")
TASK_NUMBERS = (
    "log_inputs", "log_output", "log_remote", "log_largest_remote", "log_literals", "log_memory", "upstream", "downstream",
    "remote_inputs", "remote_outputs", "depth", "width", "width_inputs", "dag_tasks", "same_worker", "parallel_workers",
    "first_on_worker", "is_flexible", "is_sink",
)  # fmt: skip
START_NUMBERS = (
    "log_memory", "depth", "width", "upstream", "downstream", "dag_tasks", "is_flexible", "parallel_workers", "planned_workers",
    "workers_before", "initial_tasks", "log_gap_s",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of each task: what comes in, what of it from other workers, the largest of that, and what goes out."""

    inputs: Floats
    remote: Floats
    largest_remote: Floats
    output: Floats


@dataclass(frozen=True, slots=True)
class Dag:
    """The tasks of all runs (rows of `rows`) and their edges, as positions of tasks.

    `rows` holds run_id, task_id, the categories, the numbers that do not depend on sizes, `run` (position of the run in
    the history), `literals` and `stored` (bytes that come with the run's submission, as a value or to be downloaded). `is_remote` tells the edges that may lead from one worker to another.
    """

    rows: pd.DataFrame
    upstream: Ints
    downstream: Ints
    is_remote: npt.NDArray[np.bool_]

    def sizes(self, output: Floats) -> Sizes:
        """Return the sizes that follow from each task's output (bytes; NaN: unknown, counts as 0)."""
        known = np.nan_to_num(output)
        tasks = len(self.rows)
        stored = self.rows["stored"].to_numpy()
        inputs = np.nan_to_num(self.rows["literals"].to_numpy()) + stored
        inputs = inputs + np.bincount(self.downstream, known[self.upstream], tasks)
        upstream, downstream = self.upstream[self.is_remote], self.downstream[self.is_remote]
        largest = stored.copy()
        np.maximum.at(largest, downstream, known[upstream])
        return Sizes(inputs, stored + np.bincount(downstream, known[upstream], tasks), largest, output)

    def levels(self) -> list[Ints]:
        """Return the positions of tasks by depth, roots first."""
        depth = self.rows["depth"].to_numpy()
        order = np.argsort(depth, kind="stable")
        return [np.asarray(level) for level in np.split(order, np.flatnonzero(np.diff(depth[order])) + 1)]

    def of_runs(self, first: int, end: int) -> Dag:
        """Return the part of the runs from position `first` up to `end`."""
        run = self.rows["run"].to_numpy()
        start, stop = np.searchsorted(run, [first, end])
        edges = (self.upstream >= start) & (self.upstream < stop)
        return Dag(
            self.rows.iloc[start:stop],
            self.upstream[edges] - start,
            self.downstream[edges] - start,
            self.is_remote[edges],
        )


def number_runs(history: History) -> pd.DataFrame:
    """Return the runs with their position, how many of their workflow were known before, and the seconds since anything ran there.

    The latter is a logarithm (log_gap_s), and of the run's environment.
    """
    runs = history.runs.reset_index(drop=True).assign(run=np.arange(len(history.runs)))
    before = runs.groupby("environment", dropna=False)["known_at"].transform(lambda known: known.cummax().shift())
    idle = (runs["submitted_at"] - before).dt.total_seconds().clip(lower=0)
    return runs.assign(log_gap_s=np.log1p(idle), workflow_runs=_known_runs(runs))


def _known_runs(runs: pd.DataFrame) -> Ints:
    """Return how many runs of its workflow were known when each run was submitted."""
    counts = np.zeros(len(runs), dtype=np.int64)
    codes = _codes(runs["workflow"])
    submitted_at, known_at = runs["submitted_at"].to_numpy(), runs["known_at"].to_numpy()
    for code in np.unique(codes):
        own = codes == code
        counts[own] = np.searchsorted(np.sort(known_at[own]), submitted_at[own], side="right")
    return counts


def describe_dags(history: History, runs: pd.DataFrame) -> Dag:
    """Return every task with what its DAG and its plan say of it."""
    named = runs[["run_id", "run", "workflow", "environment", "planner"]]
    tasks = history.tasks.merge(named, on="run_id").sort_values(["run", "task_id"], ignore_index=True)
    count = len(tasks)
    upstream, downstream = _edges(tasks, history.edges)
    is_flexible = tasks["planned_worker_id"].isna().to_numpy()
    worker = _codes(tasks["run"], tasks["planned_worker_id"])
    is_remote = is_flexible[downstream] | is_flexible[upstream] | (worker[upstream] != worker[downstream])
    depth = _depths(count, upstream, downstream, int(np.bincount(tasks["run"]).max(initial=0)))
    level = _codes(tasks["run"], pd.Series(depth))
    at_worker = _codes(pd.Series(level), pd.Series(worker))
    memory = tasks["planned_memory_mb"].fillna(tasks["memory_mb"]).astype("float64")
    literals = tasks["literal_bytes"].astype("float64")
    downstream_tasks = np.bincount(upstream, minlength=count)
    remote_inputs = np.bincount(downstream[is_remote], minlength=count) + _filled(tasks["stored_inputs"])
    first_depth = pd.Series(depth).groupby(worker).transform("min").to_numpy()
    workers_of_level = pd.Series(worker).groupby(level).transform("nunique").to_numpy()
    rows = tasks[["run_id", "task_id", "run", *CATEGORIES]].assign(
        literals=literals,
        stored=_filled(tasks["stored_bytes"]),
        memory_mb=memory,
        worker=np.where(is_flexible, -1, worker),
        log_literals=np.log1p(literals),
        log_memory=np.log2(memory.where(memory > 0)),
        upstream=np.bincount(downstream, minlength=count).astype("float64"),
        downstream=downstream_tasks.astype("float64"),
        remote_inputs=remote_inputs,
        remote_outputs=np.bincount(upstream[is_remote], minlength=count).astype("float64"),
        depth=depth.astype("float64"),
        width=np.bincount(level)[level].astype("float64"),
        width_inputs=np.bincount(level, remote_inputs)[level],
        dag_tasks=np.bincount(tasks["run"])[tasks["run"]].astype("float64"),
        same_worker=np.where(is_flexible, np.nan, np.bincount(at_worker)[at_worker]),
        parallel_workers=np.where(is_flexible, np.nan, workers_of_level),
        first_on_worker=np.where(is_flexible, np.nan, first_depth == depth),
        is_flexible=is_flexible.astype("float64"),
        is_sink=(downstream_tasks == 0).astype("float64"),
    )
    return Dag(rows, upstream, downstream, is_remote)


def with_sizes(rows: pd.DataFrame, sizes: Sizes) -> pd.DataFrame:
    """Return the rows with the numbers that depend on sizes."""
    return rows.assign(
        log_inputs=np.log1p(sizes.inputs),
        log_output=np.log1p(sizes.output),
        log_remote=np.log1p(sizes.remote),
        log_largest_remote=np.log1p(sizes.largest_remote),
    )


def describe_starts(history: History, runs: pd.DataFrame, dag: Dag) -> pd.DataFrame:
    """Return every recorded invocation with what the plan says of the first task it was launched for."""
    starts = history.starts.drop(columns="function").merge(runs[["run_id", "run"]], on="run_id")
    starts["initial_tasks"] = starts["initial_tasks"].astype("float64")
    starts["memory_mb"] = starts["memory_mb"].astype("float64")
    return _planned(starts, runs, dag).sort_values(["run", "depth", "invocation_id"], ignore_index=True)


def expect_starts(runs: pd.DataFrame, dag: Dag) -> pd.DataFrame:
    """Return the starts to expect before a run: one row each, with `task` as the position of its first task.

    A planned worker is launched for its first tasks. Of flexible workers each root has one, and of several tasks that only
    wait for one another task all but the first: the worker of that one goes on with it.
    """
    rows = dag.rows
    position = np.arange(len(rows))
    planned = rows["worker"].to_numpy() >= 0
    first = (
        pd.DataFrame({"task": position, "worker": rows["worker"].to_numpy(), "depth": rows["depth"].to_numpy()})[
            planned
        ]
        .sort_values(["worker", "depth", "task"])
        .groupby("worker")
        .agg(task=("task", "first"), initial_tasks=("depth", lambda depth: float((depth == depth.min()).sum())))
    )
    continued = np.zeros(len(rows), dtype=bool)
    _, firsts = np.unique(dag.upstream, return_index=True)
    continued[dag.downstream[firsts]] = True
    waits_for = rows["upstream"].to_numpy()
    flexible = position[~planned & ((waits_for == 0) | ((waits_for == 1) & ~continued))]
    starts = pd.DataFrame(
        {
            "task": np.concatenate([first["task"].to_numpy(dtype=int), flexible]),
            "initial_tasks": np.concatenate([first["initial_tasks"].to_numpy(), np.ones(len(flexible))]),
        }
    ).sort_values("task", ignore_index=True)
    of = rows.iloc[starts["task"].to_numpy()]
    for column in ("run", "run_id", "task_id", "memory_mb"):
        starts[column] = of[column].to_numpy()
    return _planned(starts, runs, dag)


def _planned(starts: pd.DataFrame, runs: pd.DataFrame, dag: Dag) -> pd.DataFrame:
    """Return starts (run, run_id, task_id, memory_mb, initial_tasks, ...) with the categories and numbers of starts."""
    of_task = ["run_id", "task_id", "function", "depth", "width", "upstream", "downstream", "dag_tasks", "is_flexible"]
    first = dag.rows[[*of_task, "parallel_workers"]]
    workers = dag.rows[dag.rows["worker"] >= 0].groupby(["run", "worker"], as_index=False)["depth"].min()
    before = workers.groupby(["run", "depth"], as_index=False).agg(launched=("worker", "size"))
    before["workers_before"] = before.groupby("run")["launched"].cumsum() - before["launched"]
    planned = workers.groupby("run", as_index=False).agg(planned_workers=("worker", "size"))
    named = runs.iloc[starts["run"].to_numpy()]
    memory = starts["memory_mb"]
    return (
        starts.assign(
            workflow=named["workflow"].to_numpy(),
            environment=named["environment"].to_numpy(),
            planner=named["planner"].to_numpy(),
            log_gap_s=named["log_gap_s"].to_numpy(),
            log_memory=np.log2(memory.where(memory > 0)),
        )
        .merge(first, on=["run_id", "task_id"], how="left")
        .merge(before.drop(columns="launched"), on=["run", "depth"], how="left")
        .merge(planned, on="run", how="left")
    )


def _edges(tasks: pd.DataFrame, edges: pd.DataFrame) -> tuple[Ints, Ints]:
    """Return the edges as positions of tasks; those to tasks that are not there are left out."""
    where = pd.MultiIndex.from_frame(tasks[["run_id", "task_id"]])
    ends = [
        where.get_indexer(pd.MultiIndex.from_arrays([edges["run_id"], edges[end]]))
        for end in ("upstream_task_id", "task_id")
    ]
    both = (ends[0] >= 0) & (ends[1] >= 0)
    return ends[0][both], ends[1][both]


def _filled(column: pd.Series) -> Floats:
    return column.fillna(0).to_numpy(dtype="float64")


def _depths(count: int, upstream: Ints, downstream: Ints, longest: int) -> Ints:
    """Return the length of the longest chain of tasks before each. A cycle ends after `longest` rounds, the tasks of a run."""
    depth = np.zeros(count, dtype=np.int64)
    for _ in range(longest):
        deeper = depth.copy()
        np.maximum.at(deeper, downstream, depth[upstream] + 1)
        if np.array_equal(deeper, depth):
            break
        depth = deeper
    return depth


def _codes(*columns: pd.Series) -> Ints:
    """Return a number for each combination of values, a missing value being one too."""
    codes = pd.DataFrame({str(i): column.to_numpy() for i, column in enumerate(columns)})
    return codes.groupby(list(codes), dropna=False, sort=False).ngroup().to_numpy().astype(np.int64)

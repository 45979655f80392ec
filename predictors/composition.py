"""A run as a whole, from its parts: sums over tasks and starts, and the makespan along the longest path."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from predictors.features import Dag

Floats = npt.NDArray[np.float64]

TOTALS = {
    "makespan": "makespan_ms",
    "execution": "execution_ms",
    "download": "download_ms",
    "upload": "upload_ms",
    "startup": "startup_ms",
}
"""What is predicted of a run, and the column of the runs that holds it."""


def compose(
    dag: Dag, launched: npt.NDArray[np.int64], parts: dict[str, Floats], first: int, end: int
) -> dict[str, Floats]:
    """Return the totals (ms) of the runs from position `first` up to `end`, by metric.

    `dag` holds those runs. `parts` are ms by metric: of each task, and 'startup' of each start, `launched` being the
    positions in `dag` of the tasks that are launched for.
    """
    run = dag.rows["run"].to_numpy() - first
    totals: dict[str, Floats] = {
        metric: np.bincount(run, parts[metric], end - first).astype(np.float64)
        for metric in ("execution", "download", "upload")
    }
    totals["startup"] = np.bincount(run[launched], parts["startup"], end - first).astype(np.float64)
    finished = _finishes(dag, launched, parts)
    totals["makespan"] = np.zeros(end - first)
    np.maximum.at(totals["makespan"], run, finished)
    return totals


def _finishes(dag: Dag, launched: npt.NDArray[np.int64], parts: dict[str, Floats]) -> Floats:
    """Return when each task's output is there, in ms after submission: starts, then what it takes, in order of depth."""
    tasks = len(dag.rows)
    launch = np.zeros(tasks)
    launch[launched] = parts["startup"]
    worker = dag.rows["worker"].to_numpy()
    planned = worker >= 0
    seat = np.where(planned, np.unique(worker, return_inverse=True)[1], 0)
    ready = np.zeros(seat.max(initial=0) + 1)
    takes = parts["download"] + parts["execution"] + parts["upload"]
    arrived, finished = np.zeros(tasks), np.zeros(tasks)
    depth_of_edge = dag.rows["depth"].to_numpy()[dag.downstream]
    order = np.argsort(depth_of_edge, kind="stable")
    upstream, downstream, depths = dag.upstream[order], dag.downstream[order], depth_of_edge[order]
    for level in dag.levels() if tasks else []:
        depth = dag.rows["depth"].iloc[level[0]]
        start, stop = np.searchsorted(depths, [depth, depth + 0.5])
        np.maximum.at(arrived, downstream[start:stop], finished[upstream[start:stop]])
        begins = arrived[level] + launch[level]
        first = level[(launch[level] > 0) & planned[level]]
        ready[seat[first]] = arrived[first] + launch[first]
        begins = np.where(planned[level], np.maximum(arrived[level], ready[seat[level]]), begins)
        finished[level] = begins + takes[level]
    return finished

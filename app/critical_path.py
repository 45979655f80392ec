"""What a run's critical path consisted of: its steps as a table, and in sentences."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from app.plain import label, plain
from app.units import count, duration, known, percent

PARTS = {
    "startup_ms": "start-up of workers",
    "input_wait_ms": "waiting for and downloading inputs",
    "execution_ms": "execution",
    "upload_ms": "upload",
    "handover_ms": "hand-over",
    "gap_ms": "gap",
}
"""The parts of a step; where all are known they add up to it. A gap is what no recorded phase explains."""

_NEGATIVE = ", negative where two clocks disagree or a task begins before the one it follows has ended, as what a call calls does"
_HARDLY = 0.05
"""A part that is smaller, in ms, is rounding and is not worth words."""


def steps(paths: pd.DataFrame, path: str) -> pd.DataFrame:
    """Return the steps of the 'observed' or the 'planned' path."""
    return paths[paths["path"] == path].sort_values("step")


def tasks_on(paths: pd.DataFrame, path: str) -> dict[str, int]:
    """Return at which step each task of the path stands."""
    on = steps(paths, path)
    return {str(task): int(step) for task, step in zip(on["task_id"], on["step"], strict=True)}


def table(paths: pd.DataFrame, functions: Mapping[str, str], names: Mapping[str, str]) -> pd.DataFrame:
    """Return the observed path step by step: durations in ms, a worker by its name in the drawing."""
    on = steps(paths, "observed")
    shown = pd.DataFrame(
        {
            "step": on["step"],
            "function": [label(functions.get(task)) for task in on["task_id"]],
            "worker": [names.get(worker, label(worker, 24)) for worker in on["worker_id"]],
            "whole step (ms)": on["step_ms"],
            "start-up (ms)": on["startup_ms"],
            "hand-over (ms)": on["handover_ms"],
            "input wait (ms)": on["input_wait_ms"],
            "execution (ms)": on["execution_ms"],
            "upload (ms)": on["upload_ms"],
            "gap (ms)": on["gap_ms"],
            "planned path": on["on_other_path"].map({True: "on it", False: "not on it"}),
            "task": [label(task) for task in on["task_id"]],
        }
    )
    return shown.dropna(axis=1, how="all")


def sentences(paths: pd.DataFrame, makespan_ms: float | None, has_plan: bool) -> list[str]:
    """Say what the observed path consisted of, and what the planner thought of it: a paragraph of Markdown each."""
    observed, planned = steps(paths, "observed"), steps(paths, "planned")
    said = ["No critical path was observed: no task of this run left the time at which it ended."]
    if not observed.empty:
        said = [_observed(observed, makespan_ms)]
    if planned.empty:
        return [*said, "The plan names no critical path."] if has_plan else said
    thought = (
        f"The planner expected a path of {count(len(planned), 'task')} that takes {_whole(planned)}: {_parts(planned)}."
    )
    if not observed.empty:
        both = int(observed["on_other_path"].eq(True).sum())
        of_observed = count(len(observed), "task")
        thought += f" {both:,} of the {of_observed} on the observed path {'is' if both == 1 else 'are'} on it."
    return [*said, thought]


def _observed(on: pd.DataFrame, makespan_ms: float | None) -> str:
    tasks, whole = count(len(on), "task"), on["step_ms"].sum(skipna=False)
    if not known(whole):
        said = (
            f"The observed critical path has {tasks}; how long it took is unknown, as the submission or a task's time is. "
            f"Recorded on it: {_parts(on)}."
        )
    elif bool(on["reaches_sink"].iloc[-1]) and known(makespan_ms):
        said = (
            f"The observed critical path has {tasks} and takes the whole makespan, **{duration(whole)}**: {_parts(on)}."
        )
    else:
        last = plain(on["task_id"].iloc[-1], 40)
        said = (
            "The run's last task failed, left no metrics or is not known, so the observed critical path ends at the task that "
            f"ended last, {last}. It has {tasks} and takes **{duration(whole)}**: {_parts(on)}."
        )
    if reads := int((on["input_wait_ms"].isna() & (on["step"] > 1)).sum()):
        said += f" {reads:,} of its {tasks} {'records' if reads == 1 else 'record'} no wait for inputs: their downloads are in the gap."
    if missing := int(on["upstream_missing"].sum()):
        said += (
            f" {count(missing, 'task')} that its tasks waited for left no metrics: the true path may be another, and their time "
            "is in the gap."
        )
    return said


def _whole(on: pd.DataFrame) -> str:
    whole = on["step_ms"].sum(skipna=False)
    return f"**{duration(whole)}**" if known(whole) else "an unknown time"


def _parts(on: pd.DataFrame) -> str:
    """Say the parts, the longest first, with their shares of the whole where all of it is known."""
    whole = on["step_ms"].sum(skipna=False)
    sums = {name: float(on[column].sum()) for column, name in PARTS.items()}
    told = sorted(
        ((name, lasted) for name, lasted in sums.items() if abs(lasted) >= _HARDLY), key=lambda part: -part[1]
    )
    if not told:
        return "nothing that lasted was recorded"
    shares = known(whole) and whole > 0
    said = [
        f"{name} {duration(lasted)}" + (f" ({percent(lasted / whole)})" if shares else "")
        + (_NEGATIVE if lasted < 0 else "")
        for name, lasted in told
    ]  # fmt: skip
    return ", ".join(said)

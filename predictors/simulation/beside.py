"""What was simulated beside what was observed: of one run in every detail, of many by workflow and planner."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictors.simulation.ensembles import Ensemble
from warehouse.connection import Reader

Floats = npt.NDArray[np.float64]

_OF_RUN = ("makespan_ms", "gb_seconds", "cold_starts", "warm_starts", "startup_ms", "active_ms")
_WITH_INTERVAL = ("makespan_ms", "gb_seconds")
_OF_TASK = ("start_offset_ms", "finish_offset_ms")
_OF_WORKER = ("requested_offset_ms", "startup_ms", "active_ms", "cold_starts")
_RESAMPLES = 1000
TOUCHED_MS = 1.0
"""A change that moves a run's makespan by less does not touch it."""

_RUNS = """
with active as (select run_id, sum(active_ms) as active_ms from worker_active_periods group by run_id)
select
    run_summary.run_id, workflow, planner, makespan_ms, gb_seconds_derived as gb_seconds, cold_starts::double as cold_starts,
    warm_starts::double as warm_starts, startup_ms, active.active_ms
from run_summary left join active on run_summary.run_id = active.run_id
where list_contains($runs, run_summary.run_id)
"""

_STATES = """
select run_id, worker_id, state from cold_starts
where worker_id is not null and state in ('cold', 'warm') and list_contains($runs, run_id)
"""

_TASKS = """
select run_id, task_id, start_offset_ms, finish_offset_ms
from task_times where is_last_attempt and list_contains($runs, run_id)
"""

_WORKERS = """
select
    periods.run_id, periods.worker_id,
    date_diff('microsecond', run_summary.submitted_at, periods.requested_at)::double / 1000 as requested_offset_ms,
    periods.startup_ms, periods.active_ms,
    case cold_starts.state when 'cold' then 1.0 when 'warm' then 0.0 end as cold_starts
from worker_active_periods as periods
inner join cold_starts on periods.invocation_id = cold_starts.invocation_id
inner join run_summary on periods.run_id = run_summary.run_id
where list_contains($runs, periods.run_id)
"""


def beside(reader: Reader, ensemble: Ensemble) -> pd.DataFrame:
    """Return every figure of runs, their tasks and workers: observed, replayed (unless predicted), and simulated.

    Columns: run_id, scenario, level ('run', 'task', 'worker'), thing (the task or worker), metric, observed, replayed, simulated, and
    low and high, the 5th and 95th percentile over draws where there are several. Starts of a worker are 1 for cold, 0 for warm;
    simulated, the share of draws it was cold.
    """
    last = ensemble.simulated[-1].summary["scenario"]
    rows = pd.DataFrame([row for one in ensemble.simulated for row in _figures(one)])
    shown = rows[rows["scenario"] == last]
    replayed = rows[rows["scenario"] == "recorded"].rename(columns={"simulated": "replayed"})
    key = ["run_id", "level", "thing", "metric"]
    answer = shown.merge(_observed(reader, sorted(set(shown["run_id"]))), on=key, how="left")
    answer = answer.merge(replayed[[*key, "replayed"]], on=key, how="left")
    columns = ["run_id", "scenario", "level", "thing", "metric", "observed", "replayed", "simulated", "low", "high"]
    return pd.DataFrame(answer[columns]).round(3)


def _figures(one: Any) -> list[dict[str, Any]]:
    summary = one.summary
    same = {"run_id": summary["run_id"], "scenario": summary["scenario"]}
    rows = []
    for metric in _OF_RUN:
        figure = {
            **same,
            "level": "run",
            "thing": "",
            "metric": metric,
            "simulated": summary[metric],
            "low": None,
            "high": None,
        }
        if metric in _WITH_INTERVAL and summary["draws"] > 1:
            stem = metric.removesuffix("_ms")
            unit = metric.removeprefix(stem)
            figure |= {"low": summary[f"{stem}_low{unit}"], "high": summary[f"{stem}_high{unit}"]}
        rows.append(figure)
    for task in one.tasks:
        rows += [
            {**same, "level": "task", "thing": task["task_id"], "metric": metric, "simulated": task[metric]}
            for metric in _OF_TASK
        ]
    for worker in one.invocations:
        figures = {
            **worker, "active_ms": worker["released_offset_ms"] - worker["requested_offset_ms"], "cold_starts": worker["cold_probability"],
        }  # fmt: skip
        rows += [
            {**same, "level": "worker", "thing": worker["worker_id"], "metric": metric, "simulated": figures[metric]}
            for metric in _OF_WORKER
        ]
    return rows


def _observed(reader: Reader, runs: list[str]) -> pd.DataFrame:
    """Return the observed figures in the same form: run_id, level, thing, metric, observed."""
    tables = []
    for level, sql, thing, metrics in (
        ("run", _RUNS, None, _OF_RUN), ("task", _TASKS, "task_id", _OF_TASK), ("worker", _WORKERS, "worker_id", _OF_WORKER)
    ):  # fmt: skip
        frame = reader.frame(sql, {"runs": runs})
        frame = frame.assign(thing=frame[thing] if thing else "", level=level)
        tables.append(frame.melt(["run_id", "level", "thing"], list(metrics), "metric", "observed"))
    return pd.concat(tables, ignore_index=True)


def over_runs(reader: Reader, ensemble: Ensemble) -> pd.DataFrame:
    """Return, per workflow and planner and over all: how close replays come, or what the change does to runs that replay.

    Of a replay: runs, median and 90th percentile of the relative error of the makespan (percent), the share of runs all of whose
    tasks start within 5 % of the makespan, of starts in the state that is recorded, and of runs whose replay stands for them. Of a change: the runs that replay and those
    left out, those it touches (TOUCHED_MS), and how many times the makespan, GB-seconds and cold starts of these are those without it
    (median over runs, with 95 % intervals resampled by run). Of a prediction: as a replay, of predicted runs.
    """
    table = pd.DataFrame([one.summary for one in ensemble.simulated])
    observed = reader.frame(_RUNS, {"runs": table["run_id"].tolist()})[["run_id", "workflow", "planner", "makespan_ms"]]
    table = table.merge(observed.rename(columns={"makespan_ms": "observed_ms"}), on="run_id")
    table = table.merge(_agreed(reader, ensemble), on=["run_id", "scenario"], how="left")
    rows = []
    for scenario, of_scenario in table.groupby("scenario", sort=False):
        groups = [(("(all)", "(all)"), of_scenario), *of_scenario.groupby(["workflow", "planner"], dropna=False)]
        is_change = "difference_ms" in of_scenario and of_scenario["difference_ms"].notna().any()
        for (workflow, planner), part in groups:
            same = {"scenario": scenario, "workflow": workflow, "planner": planner}
            rows.append(same | (_changed(part) if is_change else _replayed(part)))
    counts = dict.fromkeys(("left_out", "touched"), "Int64")
    answer = pd.DataFrame(rows)
    return answer.astype({name: kind for name, kind in counts.items() if name in answer})


def _agreed(reader: Reader, ensemble: Ensemble) -> pd.DataFrame:
    """Return, by run and scenario, how many workers' starts are known and how many of them were simulated in that state."""
    rows = pd.DataFrame([row for one in ensemble.simulated for row in one.invocations])
    observed = reader.frame(_STATES, {"runs": sorted(set(rows["run_id"]))})
    both = rows.merge(observed, on=["run_id", "worker_id"], suffixes=("", "_observed"))
    both = both.assign(agreed=both["state"] == both["state_observed"])
    return both.groupby(["run_id", "scenario"])["agreed"].agg(["sum", "count"]).reset_index()


def _replayed(part: pd.DataFrame) -> dict[str, Any]:
    off = 100 * (part["makespan_ms"] - part["observed_ms"]).abs() / part["observed_ms"]
    figures = {
        "runs": len(part),
        "median_error_percent": round(off.median(), 2),
        "p90_error_percent": round(off.quantile(0.9), 2),
    }
    if "largest_start_error" in part:
        figures["starts_within_5_percent"] = round(100 * float((part["largest_start_error"] <= 0.05).mean()), 1)
        figures["states_agreed_percent"] = round(100 * float(part["sum"].sum() / max(part["count"].sum(), 1)), 1)
        figures["stand_for_the_run_percent"] = round(100 * float(part["replays"].mean()), 1)
    return figures


def _changed(part: pd.DataFrame) -> dict[str, Any]:
    used = part[part["replays"].astype(bool)] if "replays" in part else part
    touched = used[used["difference_ms"].abs() > TOUCHED_MS]
    figures: dict[str, Any] = {"runs": len(used), "left_out": len(part) - len(used), "touched": len(touched)}
    for name, column in (("makespan", "makespan_ms"), ("gb_seconds", "gb_seconds"), ("cold_starts", "cold_starts")):
        before, after = touched[f"baseline_{column}"].to_numpy(), touched[column].to_numpy()
        low, middle, high = median_ratio(after[before > 0] / before[before > 0])
        figures |= {f"{name}_times": middle, f"{name}_low": low, f"{name}_high": high}
    return figures


def median_ratio(ratios: Floats, seed: int = 0) -> tuple[float, float, float]:
    """Return the lower end, the median and the upper end of its 95 % interval, resampled by run; NaN for nothing."""
    if not len(ratios):
        return (float("nan"),) * 3
    drawn = np.random.default_rng(seed).integers(len(ratios), size=(_RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(ratios[drawn], axis=1), [0.025, 0.975])
    return round(float(low), 3), round(float(np.median(ratios)), 3), round(float(high), 3)

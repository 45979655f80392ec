"""The views against the engine's own dashboard, run by run, on recorded series A.

`docs/engine-dashboard.md` tells what is compared and why the rest cannot be. Instants are stored to a microsecond (the engine
records fractions of one) and the dashboard adds to seconds since 1970 as floats, whose steps are a quarter of one. A figure that
rests on the difference of two instants therefore agrees within one and a half microseconds, a sum of n such within n times that.
"""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

import duckdb
import pytest

from tests.warehouse.views import Row, select

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "octoflows"
INSTANTS_MS = 0.0015
"""Two instants, each off by up to half a microsecond, and two steps of the dashboard's floats."""
FLOAT = 1e-9
"""Relative: sums in another order, seconds turned into milliseconds."""


@pytest.fixture(scope="session")
def series_a(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published generation made of series A."""
    dump = DATA / "series_a.rdb.gz"
    if not dump.exists():
        pytest.skip(f"not here: {dump}")
    home = tmp_path_factory.mktemp("series_a")
    command = [sys.executable, "-c", "from flowscope import main; main()", "ingest", "--home", str(home), str(dump)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return home / "warehouse" / "current"


@pytest.fixture(scope="session")
def dashboard() -> dict[str, Row]:
    """The dashboard's figures per run; empty fields are None."""
    path = DATA / "series_a.engine_dashboard_runs.csv"
    if not path.exists():
        pytest.skip(f"not here: {path}")
    with path.open() as file:
        rows = [{name: value or None for name, value in row.items()} for row in csv.DictReader(file)]
    return {row["master_dag_id"]: row for row in rows}


@pytest.fixture(scope="session")
def query(series_a: Path) -> Callable[[str], list[Row]]:
    """A function that asks the generation."""
    connection = duckdb.connect(str(series_a.resolve()), read_only=True)
    return lambda text: select(connection, text)


@pytest.fixture(scope="session")
def summaries(query: Callable[[str], list[Row]]) -> dict[str, Row]:
    return {row["run_id"]: row for row in query("from run_summary")}


@pytest.fixture(scope="session")
def engine_errors(query: Callable[[str], list[Row]]) -> dict[tuple[str, str], Row]:
    rows = query("from prediction_errors where predictor = 'engine' and level = 'run'")
    return {(row["run_id"], row["metric"]): row for row in rows}


def test_the_dashboard_keeps_260_runs_all_of_which_are_complete_here(dashboard, summaries):
    assert len(dashboard) == 260
    assert all(summaries[run]["is_complete"] for run in dashboard)


DIFFERENCES = {"actual_makespan_s": lambda row: 1, "actual_worker_startup_s": lambda row: row["workers"]}


@pytest.mark.parametrize(
    ("theirs", "ours", "unit"),
    [
        ("actual_makespan_s", "makespan_ms", 1000),
        ("actual_worker_startup_s", "startup_ms", 1000),
        ("actual_execution_s", "execution_ms", 1000),
        ("actual_download_s", "download_ms", 1000),
        ("actual_upload_s", "upload_ms", 1000),
        ("actual_waiting_for_inputs_s", "input_wait_ms", 1000),
        ("actual_input_size_bytes", "input_bytes", 1),
        ("actual_output_size_bytes", "output_bytes", 1),
        ("actual_downloaded_bytes", "downloaded_bytes", 1),
        ("actual_uploaded_bytes", "uploaded_bytes", 1),
        ("gb_seconds", "gb_seconds", 1),
        ("cpu_seconds", "cpu_seconds", 1),
        ("cold_starts", "cold_starts", 1),
        ("warm_starts", "warm_starts", 1),
        ("workers_started", "workers", 1),
        ("unique_workers", "workers", 1),
        ("tasks", "tasks_seen", 1),
    ],
)
def test_actual_figures_agree_run_by_run(dashboard, summaries, theirs: str, ours: str, unit: int):
    for run, row in dashboard.items():
        found, expected = summaries[run][ours], float(row[theirs]) * unit
        if theirs in DIFFERENCES:
            assert found == pytest.approx(expected, rel=0, abs=DIFFERENCES[theirs](summaries[run]) * INSTANTS_MS)
        elif unit == 1:
            assert found == expected
        else:
            assert found == pytest.approx(expected, rel=FLOAT, abs=0)


def test_labels_agree_run_by_run(dashboard, summaries):
    for run, row in dashboard.items():
        assert summaries[run]["workflow"] == row["workflow"]
        assert summaries[run]["planner"] == row["planner"]
        assert summaries[run]["sla"] == (row["sla"] if row["sla"] == "average" else f"p{row['sla']}")


def test_submissions_agree(dashboard, query):
    submitted = {
        row["run_id"]: row["ms"] for row in query("select run_id, epoch_us(submitted_at) / 1000 as ms from runs")
    }
    for run, row in dashboard.items():
        assert submitted[run] == pytest.approx(float(row["start_time_ms"]), rel=0, abs=INSTANTS_MS)


def test_sums_over_tasks_and_inputs_agree_with_figures_the_summary_does_not_hold(dashboard, query):
    sums = {
        row["run_id"]: row
        for row in query(
            "select run_id, coalesce(sum(counters_ms), 0) as counters, coalesce(sum(invocation_ms), 0) as invocation,"
            " max(finish_offset_ms + coalesce(invocation_ms, 0)) as makespan from task_times group by run_id"
        )
    }
    plans = {row["run_id"]: row for row in query("from plans")}
    usage = {row["run_id"]: row["monitored_ms"] for row in query("from runs")}
    for run, row in dashboard.items():
        assert sums[run]["counters"] == pytest.approx(float(row["actual_dependency_update_s"]) * 1000, rel=FLOAT)
        assert sums[run]["invocation"] == pytest.approx(float(row["actual_invocation_s"]) * 1000, rel=FLOAT)
        theirs = float(row["actual_makespan_max_over_tasks_s"]) * 1000
        assert sums[run]["makespan"] == pytest.approx(theirs, rel=0, abs=INSTANTS_MS)
        assert usage[run] == pytest.approx(float(row["monitored_run_time_s"]) * 1000, rel=FLOAT)
        if row["has_predictions"] == "True":
            assert plans[run]["previous_runs"] == int(row["samples_previous_instances"])
            assert plans[run]["execution_samples"] == int(row["samples_execution"])


COUNTED = {
    "actual_transferred_bytes": "select run_id, downloaded_bytes + uploaded_bytes as n from run_summary",
    "dag_downloads": "select run_id, count(*) as n from dag_loads group by run_id",
    "preloads_done": "select run_id, count(*) as n from optimizations"
    " where optimization = 'preload' and stage = 'applied' group by run_id",
    "prewarms_done": "select run_id, count(*) as n from optimizations"
    " where optimization = 'prewarm' and stage = 'applied' group by run_id",
}
PLANNED = {
    "predicted_downloadable_bytes": "select run_id, sum(download_bytes) as n from planned_tasks group by run_id",
    "predicted_uploadable_bytes": "select run_id, sum(upload_bytes) as n from planned_tasks group by run_id",
    "critical_path_nodes": "select run_id, count_if(on_critical_path) as n from planned_tasks group by run_id",
    "samples_download": "select run_id, download_samples as n from plans",
    "samples_output": "select run_id, output_samples as n from plans",
}


@pytest.mark.parametrize("name", COUNTED | PLANNED)
def test_counts_and_sizes_of_other_tables_agree_run_by_run(dashboard, query, name: str):
    found = {row["run_id"]: row["n"] for row in query((COUNTED | PLANNED)[name])}
    for run, row in dashboard.items():
        if name in COUNTED or row["has_predictions"] == "True":
            assert found.get(run, 0) == float(row[name])


def test_it_drops_runs_with_a_task_missing_and_runs_without_a_plan(dashboard, summaries, query):
    dropped = summaries.keys() - dashboard.keys()
    planned = {row["run_id"] for row in query("from plans")}
    assert (len(dropped), sum(not summaries[run]["is_complete"] for run in dropped)) == (40, 14)
    assert not {run for run in dropped if summaries[run]["is_complete"]} & planned


def test_dead_workers_stand_in_incomplete_runs_only(summaries):
    """Why `killed_workers` counts workers that never became ready and left no task (series A alone: 19)."""
    assert sum(row["killed_workers"] for row in summaries.values()) == 19
    assert all(row["killed_workers"] == 0 for row in summaries.values() if row["is_complete"])
    assert all(row["killed_workers"] > 0 for row in summaries.values() if not row["is_complete"])


METRICS = {
    "makespan": ("makespan_s", 1000),
    "execution": ("execution_s", 1000),
    "download": ("download_s", 1000),
    "upload": ("upload_s", 1000),
    "startup": ("worker_startup_s", 1000),
    "input_bytes": ("input_size_bytes", 1),
    "output_bytes": ("output_size_bytes", 1),
}


@pytest.mark.parametrize("metric", METRICS)
def test_predicted_figures_and_relative_errors_agree_run_by_run(dashboard, engine_errors, summaries, metric: str):
    name, unit = METRICS[metric]
    planned = {run: row for run, row in dashboard.items() if row["has_predictions"] == "True"}
    assert len(planned) == 176
    assert {run for run in dashboard if (run, metric) in engine_errors} == planned.keys()
    for run, row in planned.items():
        ours = engine_errors[run, metric]
        assert ours["predicted"] == pytest.approx(float(row[f"predicted_{name}"]) * unit, rel=FLOAT, abs=0)
        percent = row["rel_error_pct_" + name.removesuffix("_s").removesuffix("_bytes")]
        # d(error) = d(actual) x predicted / actual^2
        workers = {"makespan": 1, "startup": summaries[run]["workers"]}.get(metric, 0)
        slack = workers * INSTANTS_MS * ours["predicted"] / ours["actual"] ** 2
        assert ours["relative_error"] == pytest.approx(float(percent) / 100, rel=FLOAT, abs=slack + FLOAT)


METRIC_NAMES = {"input_size": "input_bytes", "output_size": "output_bytes", "worker_startup_time": "startup"}


@pytest.mark.parametrize("table", ["each_instance_once_history_per_workflow", "each_instance_once_history_over_all"])
def test_its_medians_by_metric_and_sla_follow_from_prediction_errors(dashboard, engine_errors, table: str):
    """Each run counted once. Its figures are percent with ten decimals; those on instants move by a microsecond."""
    expected = json.loads((DATA / "series_a.engine_dashboard_summary.json").read_text())[table]
    assert len(expected) == 21
    for cell in expected:
        metric = METRIC_NAMES.get(cell["metric"], cell["metric"])
        errors = [
            row["relative_error"]
            for (run, name), row in engine_errors.items()
            if name == metric and row["sla"] == f"p{cell['sla']}" and run in dashboard
        ]
        assert len(errors) == cell["count"]
        bound = 0.001 if metric in ("makespan", "startup") else 1e-8
        assert 100 * median(errors) == pytest.approx(cell["median"], rel=0, abs=bound)

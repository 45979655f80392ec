"""The views against the engine's own dashboard, run by run and table by table, on recorded series A.

`docs/engine-dashboard.md` tells what is compared, which figures are unsound, and why the rest cannot be. An unsound figure is
reproduced with its fault, so that the reason given there is proved. Instants are stored to a microsecond (the engine
records fractions of one) and the dashboard adds to seconds since 1970 as floats, whose steps are a quarter of one. A figure that
rests on the difference of two instants therefore agrees within one and a half microseconds, a sum of n such within n times that.
"""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median

import duckdb
import numpy as np
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
def tables() -> Row:
    """The dashboard's tables, as they are in its summary."""
    path = DATA / "series_a.engine_dashboard_summary.json"
    if not path.exists():
        pytest.skip(f"not here: {path}")
    return json.loads(path.read_text())


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


@pytest.mark.parametrize("metric", ["makespan", "startup"])
def test_its_second_figures_of_a_prediction_are_the_first_ones_again(dashboard, engine_errors, query, metric: str):
    """They differ where another task ends after the sink, or where a task is planned without a worker: nowhere here."""
    assert query("select count(*) as n from planned_tasks where worker_id is null") == [{"n": 0}]
    for run, row in dashboard.items():
        if metric == "startup":
            assert row["predicted_worker_startup_evolution_s"] == row["predicted_worker_startup_s"]
        else:
            assert row["actual_makespan_max_over_tasks_s"] == row["actual_makespan_s"]
            assert row["rel_error_pct_makespan_max_over_tasks"] == row["rel_error_pct_makespan"]
        assert (row["predicted_makespan_s"] is None) == ((run, metric) not in engine_errors)


def test_memory_is_the_sizes_of_a_runs_tasks_in_one_text(dashboard, query):
    found = {
        row["run_id"]: ",".join(map(str, sorted(row["sizes"])))
        for row in query("select run_id, list(distinct memory_mb) as sizes from task_times group by run_id")
    }
    assert {run: found[run] for run in dashboard} == {run: row["memory_mb"] for run, row in dashboard.items()}


PREWARMS = """
select
    applied.run_id,
    count(*) as done,
    count_if(target.reported_state = 'warm') as successful,
    count_if(target.reported_state = 'warm' and target.requested_at < applied.happened_at) as too_late
from optimizations as applied
left join worker_times as target on applied.run_id = target.run_id and applied.target_worker_id = target.worker_id
where applied.optimization = 'prewarm' and applied.stage = 'applied'
group by applied.run_id
"""


def test_a_prewarm_is_successful_where_its_own_worker_reported_warm(dashboard, query):
    """Run by run. When it was triggered is not looked at: one of the 29 came after its worker had been requested."""
    found = {row["run_id"]: row for row in query(PREWARMS)}
    assert found.keys() == {run for run, row in dashboard.items() if row["prewarms_done"] != "0"}
    for run, row in dashboard.items():
        assert (found[run]["successful"] if run in found else 0) == int(row["prewarms_successful"])
    assert sum(row["successful"] for row in found.values()) == 29
    assert sum(row["too_late"] for row in found.values()) == 1


def test_prewarms_it_calls_successful_are_the_effective_ones_here_but_for_one_that_came_too_late(dashboard, query):
    too_late = {row["run_id"]: row["too_late"] for row in query(PREWARMS)}
    found = {
        row["run_id"]: (row["applied"], row["effective"])
        for row in query(
            "select run_id, count_if(applied) as applied, count_if(effective) as effective"
            " from optimization_opportunities where optimization = 'prewarm' group by run_id"
        )
    }
    for run, row in dashboard.items():
        effective = int(row["prewarms_successful"]) - too_late.get(run, 0)
        assert found.get(run, (0, 0)) == (int(row["prewarms_done"]), effective)


SCOPES = ("All", "image_like", "matmul", "text_stats", "tree_sum")
SECONDS, COUNT = 1000, 1
TABLED = """
with of_tasks as (
    select
        task_times.run_id,
        sum(counters_ms) as counters_ms,
        coalesce(sum(invocation_ms), 0) as invocation_ms,
        coalesce(max(case when task_id = sink_task_id then input_wait_ms end), 0) as sink_input_wait_ms
    from task_times
    inner join runs on task_times.run_id = runs.run_id
    group by task_times.run_id
),

of_inputs as (
    select run_id, sum(input_bytes) as inputs_without_literals_bytes from task_inputs group by run_id
),

of_optimizations as (
    select run_id, count_if(optimization = 'preload') as preloads, count_if(optimization = 'prewarm') as prewarms
    from optimizations
    where stage = 'applied'
    group by run_id
),

of_loads as (
    select run_id, sum(download_ms) as dag_download_ms from dag_loads group by run_id
)

select
    run_summary.*,
    downloaded_bytes + uploaded_bytes as transferred_bytes,
    counters_ms, invocation_ms, sink_input_wait_ms, inputs_without_literals_bytes, dag_download_ms,
    coalesce(preloads, 0) as preloads,
    coalesce(prewarms, 0) as prewarms
from run_summary
inner join plans on run_summary.run_id = plans.run_id
inner join of_tasks on run_summary.run_id = of_tasks.run_id
left join of_inputs on run_summary.run_id = of_inputs.run_id
left join of_optimizations on run_summary.run_id = of_optimizations.run_id
left join of_loads on run_summary.run_id = of_loads.run_id
where run_summary.is_complete and (run_summary.sla_percentile is not null or run_summary.planner like 'WUKONG%')
"""
"""The runs that its tables hold. Those of WUKONG at SLA 'average' are among them: they have no plan of tasks to compare with."""


@pytest.fixture(scope="session")
def tabled(query: Callable[[str], list[Row]]) -> dict[tuple[str, str], list[Row]]:
    """The runs of its tables by (scope, planner); a scope is a workflow, or "All"."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in query(TABLED):
        for scope in ("All", row["workflow"]):
            groups.setdefault((scope, row["planner"]), []).append(row)
    return groups


def median_of(rows: list[Row], column: str, unit: int) -> object:
    """The median of a column, to be compared with one of the dashboard's, which is in another unit."""
    instants = {"makespan_ms": 1, "startup_ms": max(row["workers"] for row in rows)}.get(column, 0)
    middle = median(row[column] for row in rows) / unit
    return pytest.approx(middle, rel=FLOAT, abs=instants * INSTANTS_MS / unit)


def test_its_tables_hold_whole_runs_with_a_plan_but_no_prediction_at_sla_average(dashboard, tables, tabled):
    held = {row["run_id"] for (scope, _), rows in tabled.items() if scope == "All" for row in rows}
    assert len(held) == 244
    at_average = {run for run, row in dashboard.items() if row["sla"] == "average" and row["has_predictions"] == "True"}
    assert held == dashboard.keys() - at_average
    for name in SCOPES:
        sizes = {planner: len(rows) for (scope, planner), rows in tabled.items() if scope == name}
        assert tables[name]["planner_instances"] == sizes
        assert tables[name]["instances"] == sum(sizes.values())
        assert tables[name]["error"] is None


def test_it_counts_the_runs_workers_and_keys_that_are_here(dashboard, tables, query):
    assert tables["instances_kept"] == len(dashboard)
    workers = (
        "select count(*) as n from worker_times inner join run_summary using (run_id) inner join plans using (run_id)"
    )
    assert query(f"{workers} where is_complete") == [{"n": tables["worker_startup_metrics"]}]
    keys = query(
        "select count(sink_task_id) + count(monitored_ms) + count_if(extra is null) + (select count(*) from plans)"
        " + (select count(*) from tasks) + (select count(*) from invocations) + (select count(*) from dag_loads)"
        " + (select sum(skipped) from files) as n from runs"
    )
    assert keys == [{"n": tables["keys"]}]


PLANNER_MEDIANS = {
    "makespan": ("makespan_ms", SECONDS),
    "execution": ("execution_ms", SECONDS),
    "download": ("download_ms", SECONDS),
    "upload": ("upload_ms", SECONDS),
    "output_size": ("output_bytes", COUNT),
    "data_transferred": ("transferred_bytes", COUNT),
    "data_size_downloaded": ("downloaded_bytes", COUNT),
    "invocation": ("invocation_ms", SECONDS),
    "dependency_update": ("counters_ms", SECONDS),
    "worker_startup": ("startup_ms", SECONDS),
    "resource_usage": ("gb_seconds", COUNT),
    "warm_starts": ("warm_starts", COUNT),
    "cold_starts": ("cold_starts", COUNT),
    "unique_workers": ("workers", COUNT),
}
FAULTY_MEDIANS = {
    "input_size": ("inputs_without_literals_bytes", "input_bytes", COUNT),
    "data_size_uploaded": ("output_bytes", "uploaded_bytes", COUNT),
    "total_time_waiting_for_inputs": ("sink_input_wait_ms", "input_wait_ms", SECONDS),
}
DRAWN_MEDIANS = {
    "Makespan [s]": ("makespan_ms", SECONDS),
    "Execution Time [s]": ("execution_ms", SECONDS),
    "Total Time Waiting for Inputs [s]": ("input_wait_ms", SECONDS),
    "Download Time [s]": ("download_ms", SECONDS),
    "Upload Time [s]": ("upload_ms", SECONDS),
    "Total Data Transferred": ("transferred_bytes", COUNT),
    "Worker Startup Time [s]": ("startup_ms", SECONDS),
    "Resource Usage": ("gb_seconds", COUNT),
    "Total Prewarms": ("prewarms", COUNT),
    "Total Preloads": ("preloads", COUNT),
}


@pytest.mark.parametrize("name", PLANNER_MEDIANS)
def test_its_medians_per_planner_agree_in_every_workflow(tables, tabled, name: str):
    for (scope, planner), rows in tabled.items():
        assert tables[scope]["planner_medians"][planner][name] == median_of(rows, *PLANNER_MEDIANS[name])


@pytest.mark.parametrize("name", DRAWN_MEDIANS)
def test_the_medians_in_its_box_plots_agree_in_every_workflow(tables, tabled, name: str):
    for (scope, planner), rows in tabled.items():
        theirs = tables[scope]["actual_metric_medians_by_planner"]
        assert theirs.keys() == DRAWN_MEDIANS.keys()
        assert theirs[name][planner] == median_of(rows, *DRAWN_MEDIANS[name])


@pytest.mark.parametrize("name", FAULTY_MEDIANS)
def test_three_of_its_medians_per_planner_are_of_something_else_than_their_name_says(tables, tabled, name: str):
    """Inputs without literals; outputs, uploaded or not; the wait of the sink alone."""
    meant, said, unit = FAULTY_MEDIANS[name]
    theirs = {(scope, planner): tables[scope]["planner_medians"][planner][name] for scope, planner in tabled}
    assert all(theirs[group] == median_of(rows, meant, unit) for group, rows in tabled.items())
    assert any(theirs[group] != median_of(rows, said, unit) for group, rows in tabled.items() if group[0] == "All")


def test_it_leaves_the_download_of_the_dag_empty_though_workers_recorded_it(tables, tabled):
    for (scope, planner), rows in tabled.items():
        theirs = tables[scope]["planner_medians"][planner]
        assert theirs.keys() == PLANNER_MEDIANS.keys() | FAULTY_MEDIANS.keys() | {"dag_download"}
        assert theirs["dag_download"] is None
        assert all(row["dag_download_ms"] is not None for row in rows)


def test_its_medians_of_makespan_and_gb_seconds_agree_in_every_workflow(tables, tabled):
    for name in SCOPES:
        theirs = {row["planner"]: row for row in tables[name]["makespan_and_gb_seconds_medians"]}
        assert theirs.keys() == tables[name]["planner_instances"].keys()
        for planner, row in theirs.items():
            assert row["makespan"] == median_of(tabled[name, planner], "makespan_ms", SECONDS)
            assert row["GB-seconds"] == median_of(tabled[name, planner], "gb_seconds", COUNT)


def test_its_means_of_cold_and_warm_starts_agree_in_every_workflow(tables, tabled):
    """Its percentages are means of the runs' percentages: a run with one worker weighs as much as one with thirty."""
    for name in SCOPES:
        theirs = {row["Planner"]: row for row in tables[name]["warm_cold_mean"]}
        assert theirs.keys() == tables[name]["planner_instances"].keys()
        for planner, row in theirs.items():
            for state, other in (("warm", "cold"), ("cold", "warm")):
                starts = [(run[f"{state}_starts"], run[f"{other}_starts"]) for run in tabled[name, planner]]
                assert row[state.title()] == pytest.approx(mean(here for here, _ in starts), rel=0, abs=FLOAT)
                percent = mean(100 * here / (here + there) for here, there in starts)
                assert row[f"{state.title()} %"] == pytest.approx(percent, rel=0, abs=FLOAT)


def test_its_prewarms_per_planner_agree_in_every_workflow(tables, tabled, query):
    prewarms = {row["run_id"]: row for row in query(PREWARMS)}
    for name in SCOPES:
        expected = {}
        for (scope, planner), rows in tabled.items():
            found = [prewarms[row["run_id"]] for row in rows if row["run_id"] in prewarms]
            if scope == name and found:
                expected[planner.lower()] = sum(row["done"] for row in found), sum(row["successful"] for row in found)
        theirs = {row["planner"]: row for row in tables[name].get("prewarms_by_planner", [])}
        assert theirs.keys() == expected.keys()
        for planner, (done, successful) in expected.items():
            row = theirs[planner]
            assert (row["total_prewarms"], row["successful_prewarms"]) == (done, successful)
            assert row["failed_prewarms"] == done - successful
            assert row["success_rate"] == pytest.approx(100 * successful / done, rel=0, abs=FLOAT)


PREDICTED_AND_ACTUAL = {
    "Makespan (s)": "makespan",
    "Execution Time (s)": "execution",
    "Download Time (s)": "download",
    "Upload Time (s)": "upload",
    "Input Size (bytes)": "input_bytes",
    "Output Size (bytes)": "output_bytes",
    "Worker Startup Time (s)": "startup",
}


@pytest.mark.parametrize("name", PREDICTED_AND_ACTUAL)
def test_its_medians_of_predicted_and_actual_per_planner_and_sla_follow_from_prediction_errors(
    tables, tabled, engine_errors, summaries, name: str
):
    metric = PREDICTED_AND_ACTUAL[name]
    unit = METRICS[metric][1]
    for scope in SCOPES:
        groups: dict[str, list[Row]] = {}
        for (run, measured), row in engine_errors.items():
            inside = scope in ("All", summaries[run]["workflow"]) and row["actual"] is not None
            if inside and measured == metric and row["sla_percentile"] is not None:
                groups.setdefault(f"{summaries[run]['planner']} / {row['sla'].removeprefix('p')}", []).append(row)
        theirs = tables[scope]["median_actual_vs_predicted_by_planner_sla"]
        assert theirs.keys() == groups.keys()
        for group, rows in groups.items():
            assert theirs[group].keys() == PREDICTED_AND_ACTUAL.keys()
            workers = {"makespan": 1, "startup": max(summaries[row["run_id"]]["workers"] for row in rows)}.get(
                metric, 0
            )
            actual, predicted = (median(row[column] for row in rows) / unit for column in ("actual", "predicted"))
            bound = workers * INSTANTS_MS / unit
            assert theirs[group][name]["actual"] == pytest.approx(actual, rel=FLOAT, abs=bound)
            assert theirs[group][name]["predicted"] == pytest.approx(predicted, rel=FLOAT, abs=0)


METRIC_NAMES = {"input_size": "input_bytes", "output_size": "output_bytes", "worker_startup_time": "startup"}
HISTORIES: dict[str, Callable[[Row], object]] = {
    "each_instance_once_history_per_workflow": lambda row: row["workflow"],
    "each_instance_once_history_over_all": lambda row: None,
}
"""Its two clean tables, and which runs share a history."""


def cells(tables: Row, name: str) -> dict[tuple[str, int], Row]:
    """One of its tables of errors and fulfilment (a clean one, or that of a scope), by metric and percentile."""
    rows = tables[name] if name in HISTORIES else tables[name]["median_relative_error_and_sla_fulfilment"]
    found = {(METRIC_NAMES.get(row["metric"], row["metric"]), int(row["sla"])): row for row in rows}
    assert found.keys() == {(metric, sla) for metric in METRICS for sla in (50, 75, 90)}
    assert len(rows) == len(found)
    return found


@pytest.fixture(scope="session")
def judged(engine_errors, summaries) -> list[Row]:
    """Predictions at a percentile that have come true or not, in the order of their runs' submission."""
    rows = [
        row | {name: summaries[run][name] for name in ("workflow", "planner", "submitted_at")}
        for (run, _), row in engine_errors.items()
        if row["sla_percentile"] is not None and row["actual"] is not None
    ]
    return sorted(rows, key=lambda row: row["submitted_at"])


def fulfilled(judged: list[Row], metric: str, sla: int, history: Callable[[Row], object]) -> list[bool]:
    """Whether each run at an SLA took at most that percentile of all earlier runs of its history, at whatever SLA.

    Planners are mixed. The first run of a history has nothing to be compared with and is left out.
    """
    earlier: dict[object, list[float]] = {}
    found = []
    for row in judged:
        if row["metric"] == metric:
            before = earlier.setdefault(history(row), [])
            if before and row["sla_percentile"] == sla:
                found.append(bool(row["actual"] <= np.percentile(before, sla)))
            before.append(row["actual"])
    return found


@pytest.mark.parametrize("table", [*HISTORIES, *SCOPES])
def test_its_medians_by_metric_and_sla_follow_from_prediction_errors(tables, judged, table: str):
    """Its figures are percent with ten decimals; those on instants move by a microsecond.

    The tables of all scopes are one and the same, and count each run twice, which leaves a median where it is.
    """
    for (metric, sla), cell in cells(tables, table).items():
        errors = [row["relative_error"] for row in judged if (row["metric"], row["sla_percentile"]) == (metric, sla)]
        bound = 0.001 if metric in ("makespan", "startup") else FLOAT
        theirs = cell["median" if table in HISTORIES else "relative_error"]
        assert 100 * median(errors) == pytest.approx(theirs, rel=0, abs=bound)
        if table in HISTORIES:
            assert len(errors) == cell["count"]


@pytest.mark.parametrize("table", HISTORIES)
def test_its_fulfilment_is_the_share_of_runs_within_a_percentile_of_earlier_runs(tables, judged, table: str):
    for (metric, sla), cell in cells(tables, table).items():
        rate = 100 * mean(fulfilled(judged, metric, sla, HISTORIES[table]))
        assert rate == pytest.approx(cell["fulfillment_rate"], rel=0, abs=FLOAT)


@pytest.mark.parametrize("scope", SCOPES)
def test_its_fulfilment_in_every_scope_counts_each_run_against_two_histories(tables, judged, scope: str):
    """Once among the runs of its workflow and once among all, whatever the scope: the fault of its published figures."""
    counted = 0
    for (metric, sla), cell in cells(tables, scope).items():
        twice = [hit for history in HISTORIES.values() for hit in fulfilled(judged, metric, sla, history)]
        assert 100 * mean(twice) == pytest.approx(cell["fulfillment_rate"], rel=0, abs=FLOAT)
        counted += len(twice)
    assert counted == tables[scope]["sla_results_count"]


def test_sla_coverage_has_its_fulfilment_per_workflow_and_planner(tables, query):
    found = {
        (row["metric"], row["sla_percentile"]): row
        for row in query(
            "select metric, sla_percentile, sum(history_n) as n,"
            " 100 * sum(history_fulfilment * history_n) / sum(history_n) as rate"
            " from sla_coverage where predictor = 'engine' and level = 'run' group by metric, sla_percentile"
        )
    }
    for cell, row in cells(tables, "each_instance_once_history_per_workflow").items():
        assert found[cell]["rate"] == pytest.approx(row["fulfillment_rate"], rel=0, abs=FLOAT)
        assert found[cell]["n"] < row["count"]


def test_its_fulfilment_is_not_how_often_a_prediction_was_kept(tables, judged):
    """At the 90th percentile 4 of 55 runs kept to the planned download and all to the planned start-up: it says 86.8 % of both."""
    for metric, kept in (("download", 4), ("startup", 55)):
        covered = [row["covered"] for row in judged if (row["metric"], row["sla_percentile"]) == (metric, 90)]
        assert (sum(covered), len(covered)) == (kept, 55)
        theirs = cells(tables, "each_instance_once_history_per_workflow")[metric, 90]
        assert theirs["fulfillment_rate"] == pytest.approx(86.8, rel=0, abs=0.05)


PAGE = ROOT / "docs" / "engine-dashboard.md"


def test_the_page_names_every_figure_of_the_dashboard(dashboard, tables):
    names = set(next(iter(dashboard.values()))) | tables.keys() | tables["All"].keys() | {"dag_download"}
    names |= PLANNER_MEDIANS.keys() | FAULTY_MEDIANS.keys() | DRAWN_MEDIANS.keys() | PREDICTED_AND_ACTUAL.keys()
    lists = [table for part in (tables, tables["All"]) for table in part.values() if isinstance(table, list)]
    names |= {name for table in lists for row in table for name in row}
    page = PAGE.read_text()
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []

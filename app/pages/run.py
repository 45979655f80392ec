"""One run: its DAG, its workers in time, its tasks, and what was predicted beside what happened."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from app import charts, parts, queries, sentences
from app.dag_layout import layout
from app.plain import label, labels, plain
from app.store import Store
from app.timeline import never_ready, timeline
from app.units import count, duration, figure, known, ratio

MOST_RUNS = 1_000
MOST_NODES = 400
ALL = "All workflows"


def choose(store: Store) -> str:
    """Return the id of the run chosen, from the widgets or from ?run= in the address."""
    wanted = st.query_params.get("run")
    workflows = labels(store.frame(queries.WORKFLOWS)["workflow"].tolist(), 40)
    left, right = st.columns([1, 3])
    chosen = left.selectbox("Workflow", [ALL, *workflows], key="run_workflow")
    runs = store.frame(
        queries.RUNS, all=chosen == ALL, workflow=None if chosen == ALL else workflows[chosen], most=MOST_RUNS
    )
    ids = runs["run_id"].tolist()
    if wanted and wanted not in ids and chosen == ALL and not store.frame(queries.RUN, run=wanted).empty:
        ids = [wanted, *ids]
    if wanted and wanted not in ids and chosen == ALL:
        parts.nothing(f"No run {label(wanted, 140)} in this generation. Showing the newest instead.")
    named = _names(store, ids, runs)
    if wanted in ids:
        place = ids.index(wanted)
    else:
        planned = (runs["is_complete"].eq(True) & runs["sla"].notna()).tolist()
        place = planned.index(True) if True in planned else 0
    name = right.selectbox(
        f"Run ({len(ids):,}{' newest' if len(ids) >= MOST_RUNS else ''})", list(named), index=place, key=f"run_{chosen}"
    )
    run = str(named[name])
    if wanted != run:
        st.query_params["run"] = run
    return run


def _names(store: Store, ids: list[str], runs: pd.DataFrame) -> dict[str, str]:
    rows: dict[str, dict[str, Any]] = {
        str(row["run_id"]): {str(name): value for name, value in row.items()} for row in runs.to_dict("records")
    }
    named: dict[str, str] = {}
    for run in ids:
        row = rows[run] if run in rows else store.record(queries.RUN, run=run)
        when = "no submission time" if pd.isna(row["submitted_at"]) else f"{row['submitted_at']:%Y-%m-%d %H:%M:%S}"
        flag = "" if row["is_complete"] is True else " · incomplete"
        base = name = (
            f"{label(row['workflow'], 28)} · {label(row['planner'], 28)} · {label(row['sla'], 12)} · {when}{flag}"
        )
        number = 2
        while name in named:
            name, number = f"{base} ({number})", number + 1
        named[name] = run
    return named


def headline(run: dict[str, Any]) -> None:
    """Show the figures that sum the run up."""
    makespan, predicted = run["makespan_ms"], run["predicted_makespan_ms"]
    starts = [f"{run[name]:,} {what}" for name, what in (("cold_starts", "cold"), ("warm_starts", "warm")) if run[name]]
    if run["unknown_starts"]:
        starts.append(f"{run['unknown_starts']:,} unknown")
    expected = run["tasks_expected"]
    with st.container(horizontal=True, gap="medium"):
        st.metric("Makespan observed", duration(makespan), width="content")
        st.metric(
            "Makespan predicted",
            duration(predicted) if known(predicted) else "no prediction",
            delta=f"{ratio(predicted / makespan)} the observed"
            if known(predicted) and known(makespan) and makespan
            else None,
            delta_color="off",
            delta_arrow="off",
            width="content",
        )
        st.metric("Worker starts", ", ".join(starts) or "none recorded", width="content")
        st.metric(
            "Tasks seen / expected",
            f"{run['tasks_seen']:,} / {f'{int(expected):,}' if known(expected) else '?'}",
            width="content",
        )
        st.metric(
            "GB-seconds recorded / derived",
            " / ".join(figure(run[name]) if known(run[name]) else "?" for name in ("gb_seconds", "gb_seconds_derived")),
            help="Recorded: as the engine's sampler saw it, 0 included. Derived: memory times the time from request to last "
            "release of each worker.",
            width="content",
        )


def missing(run: dict[str, Any], workers: pd.DataFrame, tasks: pd.DataFrame) -> list[str]:
    """Return a sentence for each thing the run should have and has not."""
    found = []
    if run["is_complete"] is not True:
        found.append(
            "This run is incomplete: some of its tasks left no metrics. A killed worker leaves no trace of its own; its "
            "tasks are the ones missing."
        )
    if not run["has_plan"]:
        found.append(
            "This run has no plan, so nothing was predicted: a planner without history makes none, and a client that gives up "
            "leaves none."
        )
    elif not run["planned_tasks"]:
        found.append(
            f"The plan of {plain(run['planner'])} names no tasks: this planner schedules without predictions, so there is nothing to compare."
        )
    if not known(run["makespan_ms"]):
        found.append(
            "The makespan is unknown: the last task of the DAG left no metrics, or the submission time is not known."
        )
    if run["submitted_at_from"] == "run_id":
        found.append("The client left no submission time; the one in the run id is used.")
    if lost := never_ready(workers):
        found.append(f"{count(lost, 'worker')} never became ready.")
    left = tasks[tasks["left_metrics"].astype(bool)]
    if not left.empty and left["input_wait_ms"].isna().all():
        found.append(
            "No task records how long it waited for its inputs (flexible workers never do), so the time axis below shows no input wait."
        )
    return found


def show_dag(store: Store, run: str, tasks: pd.DataFrame, lanes: dict[str, str]) -> None:
    """Draw the DAG."""
    st.header("The DAG")
    edges = store.frame(queries.RUN_EDGES, run=run)
    nodes = tasks.drop_duplicates("task_id", keep="last")
    if nodes.empty:
        parts.nothing("This run left no tasks and no edges: there is no DAG to draw.")
        return
    if edges.empty:
        st.caption("The source recorded no dependencies: tasks are shown in one layer.")
    drawn = nodes.head(MOST_NODES)
    if len(drawn) < len(nodes):
        st.caption(f"Drawn: the first {len(drawn):,} of {len(nodes):,} tasks, by start; the table below lists more.")
    places = layout(drawn["task_id"], edges.itertuples(index=False, name=None))
    drawn = drawn.assign(lane=[lanes.get(worker, "") or label(worker, 24) for worker in drawn["worker_id"]])
    functions = drawn["function"].nunique()
    parts.chart(
        charts.dag(drawn, edges, places),
        f"DAG of the run: {count(len(drawn), 'task')} of {count(functions, 'function')} in "
        f"{1 + max(place.layer for place in places.values())} layers, {count(len(edges), 'dependency', 'dependencies')}, "
        f"{int((~drawn['left_metrics'].astype(bool)).sum())} without metrics.",
        "dag",
    )
    notes = ["Left to right in order of dependency; colour and shape tell functions apart."]
    if drawn["on_critical_path"].eq(True).any():
        notes.append("A ring marks the critical path as planned.")
    if not drawn["left_metrics"].astype(bool).all():
        notes.append("Hollow: left no metrics.")
    st.caption(" ".join(notes))


def show_tasks(run: dict[str, Any], tasks: pd.DataFrame) -> None:
    """List the tasks, and the plan beside them where there is one."""
    st.header("The tasks")
    observed = tasks[
        ["function", "task_id", "attempt", "status", "worker_id", "memory_mb", "start_offset_ms", "input_wait_ms", "download_ms",
         "execution_ms", "upload_ms", "inputs_bytes", "downloaded_bytes", "output_bytes", "error_type", "error_message"]
    ]  # fmt: skip
    shown = observed.dropna(axis=1, how="all").head(5_000)
    parts.table(shown, "Tasks of the run as recorded", _numbers(shown))
    if len(shown) < len(observed):
        st.caption(f"Listed: the first {len(shown):,} of {len(observed):,} tasks; the files hold all.")
    if run["planned_tasks"]:
        st.subheader("Predicted beside observed, per task")
        compared = pd.DataFrame({"function": tasks["function"], "task_id": tasks["task_id"]})
        for name, actual in (
            ("execution_ms", "execution_ms"), ("download_ms", "download_ms"), ("upload_ms", "upload_ms"), ("output_bytes", "output_bytes"),
        ):  # fmt: skip
            compared[f"predicted {name}"] = tasks[f"predicted_{name}"]
            compared[f"observed {name}"] = tasks[actual]
            compared[f"ratio {name}"] = tasks[f"predicted_{name}"] / tasks[actual].where(tasks[actual] > 0)
        shown = compared.head(5_000)
        parts.table(shown, "Predicted and observed values per task", _numbers(shown))
        st.caption(
            "A ratio above 1 was predicted too high; it is empty where nothing was observed. "
            "An empty download: every input was already on the worker, or a pre-load lost its time."
        )
    parts.downloads(tasks, "run-tasks")


def _numbers(frame: pd.DataFrame) -> dict[str, Any]:
    formats = {}
    for name in frame.columns:
        if "ratio" in name:
            formats[name] = st.column_config.NumberColumn(name, format="%.2f")
        elif name.endswith("_ms"):
            formats[name] = st.column_config.NumberColumn(name, format="%.1f")
        elif name.endswith("_bytes"):
            formats[name] = st.column_config.NumberColumn(name, format="localized")
    return formats


def show_predictions(store: Store, run: str) -> None:
    """Show what the plan predicted for the run as a whole."""
    st.header("Predicted and observed, over the run")
    errors = store.frame(queries.RUN_ERRORS, run=run)
    if errors.empty:
        parts.nothing("There is nothing to compare: the plan holds no predictions for this run.")
        return
    order = {name: place for place, name in enumerate(("makespan", "execution", "startup", "download", "upload"))}
    errors = errors.sort_values("metric", key=lambda names: names.map(lambda name: order.get(name, 9)))
    parts.table(
        errors.assign(relative_error=100 * errors["relative_error"]),
        "Predicted and observed per metric",
        {
            "predicted": st.column_config.NumberColumn(format="localized"),
            "actual": st.column_config.NumberColumn("observed", format="localized"),
            "ratio": st.column_config.NumberColumn("predicted / observed", format="%.2f"),
            "relative_error": st.column_config.NumberColumn("relative error (%)", format="%.1f"),
        },
    )
    st.caption(sentences.LEVELS["run"])
    parts.how(queries.RUN_ERRORS, {"run": run})


st.title("Run")
store = parts.open_store_with_runs()
parts.freshness(store)
run_id = choose(store)
run = store.record(queries.RUN, run=run_id)
tasks = store.frame(queries.RUN_TASKS, run=run_id)
workers = store.frame(queries.RUN_WORKERS, run=run_id)

st.markdown(
    f"Workflow {plain(run['workflow'])} under {plain(run['planner'])} at SLA {plain(run['sla'])}, in environment "
    f"{plain(run['environment'])}, on engine {plain(run['engine'])}"
    + ("" if pd.isna(run["submitted_at"]) else f", submitted {run['submitted_at']:%Y-%m-%d %H:%M:%S} UTC")
    + "."
)
st.code(run_id, language=None, wrap_lines=True)
headline(run)
if gaps := missing(run, workers, tasks):
    st.info("\n".join(f"- {sentence}" for sentence in gaps) if len(gaps) > 1 else gaps[0], icon=":material/info:")

zero = workers["requested_ms"].min() if not workers.empty and pd.isna(run["submitted_at"]) else None
timed = tasks[tasks["left_metrics"].astype(bool)].rename(columns={"start_offset_ms": "start_ms"})
if zero is not None or timed["start_ms"].isna().all():
    first = timed["started_at"].min()
    timed = timed.assign(start_ms=(timed["started_at"] - first).dt.total_seconds() * 1000)
drawn = timeline(workers, timed.assign(task=timed["function"]))
lanes = (
    dict(zip(drawn.bars["worker"], drawn.bars["lane"].str.partition(" ")[0], strict=True)) if len(drawn.bars) else {}
)

show_dag(store, run_id, tasks, lanes)

st.header("The workers, in time")
if drawn.bars.empty:
    parts.nothing("No worker of this run left a time: neither starts nor tasks were recorded.")
else:
    parts.chart(
        charts.workers(drawn),
        f"Workers of the run on a time axis: {count(drawn.workers, 'worker')} with start-up, input wait, execution, upload, "
        f"hand-over and time without a task; the last bar ends {drawn.bars['end_s'].max():.2f} s after submission.",
        "workers",
    )
    notes = [
        "One lane per worker in order of request, more where it ran several tasks at once (`+1`). Input wait includes downloads; "
        "hand-over is updating counters and launching downstream workers. Clocks are of several machines: a bar may begin "
        "before its worker was ready."
    ]
    if drawn.workers_left_out:
        notes.append(
            f"Left out: {count(drawn.workers_left_out, 'worker')} of {drawn.workers:,}, the ones requested last."
        )
    st.caption(" ".join(notes))
with st.expander(f"The workers: {count(len(workers), 'start')}"):
    parts.table(workers.head(5_000), "Workers launched for the run", _numbers(workers))
    parts.how(queries.RUN_WORKERS, {"run": run_id})

show_predictions(store, run_id)
show_tasks(run, tasks)
optimizations = store.frame(queries.RUN_OPTIMIZATIONS, run=run_id)
if not optimizations.empty:
    st.header("Optimisations")
    parts.table(optimizations, "Optimisations assigned and applied in the run")
    st.caption("Applied events repeat as recorded, so they may outnumber what was assigned.")
if run["tags"]:
    st.header("Tags")
    parts.table(pd.DataFrame(sorted(run["tags"].items()), columns=["tag", "value"]).astype(str), "Tags of the run")
parts.how(queries.RUN_TASKS, {"run": run_id})

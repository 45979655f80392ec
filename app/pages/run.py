"""One run: its DAG, its workers in time, its tasks, and what was predicted beside what happened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from app import charts, critical_path, parts, queries, sentences, showing
from app.charts.runs import MOST_EDGES
from app.dag_layout import layout
from app.plain import label, plain
from app.run_choice import choose
from app.store import Store
from app.timeline import NO_WORKER, PHASES, Timeline, never_ready, timeline
from app.units import count, duration, figure, known, ratio

MOST_NODES = 400


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
    left = tasks[tasks["left_metrics"].astype(bool)]
    if not known(run["tasks_expected"]):
        found.append("The source does not say which tasks this run has: that one of them is missing would not show.")
    if run["is_complete"] is False:
        found.append(
            "This run is incomplete: some of its tasks left no metrics. A killed worker leaves no trace of its own; its "
            "tasks are the ones missing."
        )
    if not run["has_plan"] and not run["engine_plans"]:
        found.append(
            f"No plans in this source ({plain(run['engine'], 40)}): nobody predicted the run beforehand. Predictions come from "
            "`flowscope evaluate`, and stand on the pages Prediction accuracy and Predictors."
        )
    elif not run["has_plan"]:
        found.append(
            "This run has no plan, so nothing was predicted: a planner without history makes none, and a client that gives up "
            "leaves none."
        )
    elif not run["planned_tasks"]:
        found.append(
            f"The plan of {plain(run['planner'])} names no tasks: this planner schedules without predictions, so there is nothing to compare."
        )
    if not known(run["makespan_ms"]):
        cut = left["is_last_attempt"].eq(True) & left["status"].isin(["failed", "killed"])
        found.append(
            f"The makespan is unknown: {count(cut.sum(), 'task')} failed or {'was' if cut.sum() == 1 else 'were'} killed, so that nothing came of the run."
            if cut.any()
            else "The makespan is unknown: the last task of the DAG left no metrics, or the submission time is not known."
        )
    if run["submitted_at_from"] == "run_id":
        found.append("The client left no submission time; the one in the run id is used.")
    if lost := never_ready(workers):
        found.append(f"{count(lost, 'worker')} never became ready.")
    if workers.empty and not left.empty:
        found.append(
            "The source records no start of a worker: what starting took, and whether it was cold, is unknown."
        )
    if not left.empty and left["started_at"].isna().all():
        found.append("No task records when it started: the tasks cannot be placed in time.")
    elif not left.empty and left["input_wait_ms"].isna().all() and left["longest_download_ms"].notna().any():
        found.append(
            "No task records how long it waited for its inputs (flexible workers never do): the time axis below shows the longest download of each instead, as an estimate."
        )
    return found


def show_dag(
    store: Store, run: dict[str, Any], tasks: pd.DataFrame, paths: pd.DataFrame, names: Mapping[str, str]
) -> None:
    """Draw the DAG with its critical paths, and say what they consisted of."""
    st.header("The DAG and its critical path")
    edges = store.frame(queries.RUN_EDGES, run=run["run_id"])
    nodes = tasks.drop_duplicates("task_id", keep="last")
    if nodes.empty:
        parts.nothing("This run left no tasks and no edges: there is no DAG to draw.")
        return
    if edges.empty and len(nodes) > 1 and not paths["path"].eq("planned").any():
        parts.nothing(
            f"The source recorded no dependencies between the {len(nodes):,} tasks of this run: which waited for which is not known, so "
            "there is no DAG to draw, and no critical path."
        )
        return
    on = {path: critical_path.tasks_on(paths, path) for path in ("observed", "planned")}
    said = critical_path.sentences(paths, run["makespan_ms"], bool(run["has_plan"] and run["planned_tasks"]))
    for sentence in said:
        st.markdown(sentence)
    if edges.empty and len(nodes) > 1:
        st.caption("The source recorded no dependencies: tasks are shown in one layer.")
    first = nodes["task_id"].isin([*on["observed"], *on["planned"]])
    drawn = pd.concat([nodes[first], nodes[~first]]).head(MOST_NODES)
    between = edges[edges["upstream_task_id"].isin(drawn["task_id"]) & edges["task_id"].isin(drawn["task_id"])]
    if len(drawn) < len(nodes) or len(between) > MOST_EDGES:
        st.caption(
            f"Drawn: {len(drawn):,} of {len(nodes):,} tasks, those on a critical path first, then by start, and at most "
            f"{MOST_EDGES:,} of the {len(between):,} dependencies between them; the table below lists more."
        )
    functions = {str(task): str(name) for task, name in zip(nodes["task_id"], nodes["function"], strict=True)}
    places = layout(drawn["task_id"], between.itertuples(index=False, name=None), functions)
    drawn = drawn.assign(lane=[names.get(worker, "") or label(worker, 24) for worker in drawn["worker_id"]])
    hollow = int((~drawn["left_metrics"].astype(bool)).sum())
    parts.chart(
        charts.dag(drawn, between, places, on),
        f"DAG of the run: {count(len(drawn), 'task')} of {count(drawn['function'].nunique(), 'function')} in "
        f"{count(1 + max(place.layer for place in places.values()), 'layer')}, {count(len(edges), 'dependency', 'dependencies')}, "
        f"{hollow:,} without metrics. " + " ".join(said).replace("**", "").replace("`", ""),
        "dag",
    )
    notes = ["Left to right in order of dependency; colour and shape tell functions apart."]
    if on["observed"]:
        notes.append(
            "Thick line and ring: the observed critical path, which from the end goes back to the input that was ready last."
        )
    if on["planned"]:
        notes.append("Dashed line and outer ring: the critical path as planned.")
    if hollow:
        notes.append("Hollow: left no metrics.")
    st.caption(" ".join(notes))
    steps = critical_path.table(paths, functions, names)
    if steps.empty:
        return
    st.subheader("Critical path, step by step")
    parts.table(steps.head(5_000), "The observed critical path, step by step", _numbers(steps))
    st.caption(
        "As observed. A step lasts from the end of the step before it (the first: from the submission) to its own end, and its "
        "parts add up to it. Hand-over: the task before was still telling the tasks that wait for it. Gap: what no recorded phase "
        "explains, such as a place on the worker, an earlier attempt, or clocks of two machines; it is negative where these disagree, or "
        "where a task begins before the one it follows has ended."
    )
    parts.how(queries.RUN_PATHS, {"run": run["run_id"]})


def show_workers(drawn: Timeline, since: str) -> None:
    """Draw the workers in time."""
    st.header("The workers, in time")
    if drawn.bars.empty:
        parts.nothing("There is nothing to draw: no task left a time, and no worker is known to have become ready.")
        return
    lasted = {phase: drawn.lasted_ms(phase) for phase in PHASES if phase != "kept warm"}
    told = ", ".join(f"{phase} {duration(value)}" for phase, value in lasted.items() if value)
    warm = int((drawn.bars["phase"] == "kept warm").sum())
    parts.chart(
        charts.workers(drawn, since),
        f"Workers of the run on a time axis: {count(len(set(drawn.names) - {NO_WORKER}), 'worker')}; summed over what is drawn: {told or 'no time recorded'}; "
        f"{count(warm, 'container')} kept warm afterwards. The last phase drawn ends {duration(1000 * drawn.ends_s)} after {since}.",
        "workers",
    )
    notes = [
        "One lane per worker in order of request, more where it ran several tasks at once (`+1`). The grey line behind the bars "
        "follows the observed critical path: from a task to what the next one waited for. Input wait ends with the download, drawn "
        "as long as the longest one, as inputs are downloaded at once. Hand-over: updating counters and launching downstream "
        "workers. Clocks are of several machines: a bar may begin before its worker was ready."
    ]
    if NO_WORKER in set(drawn.bars["worker"]):
        notes.append("`?`: tasks whose source does not say on which worker they ran, as many lanes as ran at once.")
    if drawn.bars["estimated"].any():
        notes.append(
            "Outlined downloads are estimated: their workers recorded no wait, so what comes after them is drawn that much later than "
            "the recorded finish times have it."
        )
    if warm:
        notes.append(
            "Thin and light: the container is kept warm after its worker's release, until it is taken over or its keep-alive ends "
            "(both inferred); the axis cuts it, the tooltip does not."
        )
    if drawn.workers_left_out:
        notes.append(
            f"Left out: {count(drawn.workers_left_out, 'worker')} of {len(set(drawn.names) - {NO_WORKER}):,}, the ones requested last."
        )
    if drawn.bars_left_out:
        notes.append(f"Left out: {count(drawn.bars_left_out, 'bar')}, the shortest or those of lanes below the last.")
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
        elif name.endswith(("_ms", "(ms)")):
            formats[name] = st.column_config.NumberColumn(name, format="%.1f")
        elif name.endswith("_bytes"):
            formats[name] = st.column_config.NumberColumn(name, format="localized")
    return formats


def show_predictions(store: Store, run: str) -> None:
    """Show what the plan predicted for the run as a whole."""
    st.header("Predicted and observed, over the run")
    errors = store.frame(queries.RUN_ERRORS, run=run)
    if errors.empty:
        parts.nothing("There is nothing to compare: no plan predicted this run.")
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
run_id = choose(store, showing.selected(store))
run = store.record(queries.RUN, run=run_id)
tasks = store.frame(queries.RUN_TASKS, run=run_id)
workers = store.frame(queries.RUN_WORKERS, run=run_id)

st.markdown(
    f"Workflow {plain(run['workflow'])}"
    + "".join(
        f"{before} {plain(run[name])}"
        for before, name in (
            (" under", "planner"),
            (" at SLA", "sla"),
            (", in environment", "environment"),
            (", on engine", "engine"),
        )
        if isinstance(run[name], str)
    )
    + ("" if pd.isna(run["submitted_at"]) else f", submitted {run['submitted_at']:%Y-%m-%d %H:%M:%S} UTC")
    + "."
)
st.code(run_id, language=None, wrap_lines=True)
headline(run)
if gaps := missing(run, workers, tasks):
    st.info("\n".join(f"- {sentence}" for sentence in gaps) if len(gaps) > 1 else gaps[0], icon=":material/info:")

paths = store.frame(queries.RUN_PATHS, run=run_id)
timed = tasks[tasks["left_metrics"].astype(bool)]
attempts = timed["attempt"].fillna(1)
named = [f"{name}, attempt {int(n)}" if n != 1 else name for name, n in zip(timed["function"], attempts, strict=True)]
steps = timed["task_id"].map(critical_path.tasks_on(paths, "observed")).where(timed["is_last_attempt"].eq(True))
drawn = timeline(workers, timed.assign(task=named, critical_step=steps))

show_dag(store, run, tasks, paths, drawn.names)
show_workers(drawn, "the first thing recorded" if pd.isna(run["submitted_at"]) else "submission")
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

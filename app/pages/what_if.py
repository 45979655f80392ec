"""What-if: one run, or all selected ones, played forward again with one thing changed."""

from __future__ import annotations

import shlex
from typing import Any

import pandas as pd
import streamlit as st

from app import charts, parts, queries, showing
from app.findings.evidence import Evidence
from app.plain import label
from app.run_choice import choose
from app.store import Store
from app.units import UNKNOWN, count, duration, figure, known, percent
from app.what_if import (
    AT_ONCE,
    DRAWS,
    DRAWS_OF_MANY,
    MOST_LEARNT,
    MOST_RUNS,
    Grounds,
    by_group,
    command,
    condition,
    delta,
    difference,
    effect_sentence,
    effects,
    learn_newest,
    per_run,
    reasons,
    replay_sentence,
    simulate_runs,
    spread,
    starts,
)
from app.what_if_figures import LOWER, observed_side, side, side_by_side, wide
from app.what_if_queries import REPLAYING, REPLAYS, SELECTED, SIMULATED, STORED
from predictors.simulation.beside import TOUCHED_MS, beside
from predictors.simulation.changes import KEYS, BadChange, Changes, read_changes
from predictors.simulation.ensembles import Ensemble
from predictors.simulation.rows import Simulated

ONE, MANY = "one run", "all selected runs"
FIRST = "startup_factor"
MOST_WARNINGS = 12
_KEPT = 200


@st.cache_resource(max_entries=2, show_spinner="Learning how the platform behaves …")
def grounds(
    key: str,  # noqa: ARG001
    _store: Store,
) -> Grounds:
    """Return what simulations rest on, learnt once per generation."""
    return learn_newest(_store.reader)


@st.cache_resource(max_entries=_KEPT, show_spinner=False)
def simulated(
    key: str,  # noqa: ARG001
    run: str,
    name: str,  # noqa: ARG001
    _store: Store,
    _changes: Changes,
) -> Ensemble:
    """Return a run replayed and changed, simulated at most once per generation and change."""
    return simulate_runs(_store.reader, grounds(_store.key, _store), [run], [Changes(), _changes], DRAWS)


@st.cache_resource(max_entries=_KEPT, show_spinner=False)
def summed(
    key: str,  # noqa: ARG001
    runs: tuple[str, ...],
    name: str,  # noqa: ARG001
    _store: Store,
    _changes: Changes,
) -> Ensemble:
    """Return some runs changed, without their tasks and workers, simulated at most once per generation and change."""
    found = simulate_runs(_store.reader, grounds(_store.key, _store), runs, [_changes], DRAWS_OF_MANY)
    return Ensemble([Simulated(one.summary, [], []) for one in found.simulated], found.refused)


@st.cache_resource(max_entries=_KEPT, show_spinner=False)
def figures(
    key: str,  # noqa: ARG001
    run: str,  # noqa: ARG001
    name: str,  # noqa: ARG001
    _store: Store,
    _ensemble: Ensemble,
) -> pd.DataFrame:
    """Return every figure of a run, observed and simulated, read at most once per generation and change."""
    return beside(_store.reader, _ensemble)


def asked() -> tuple[str, Changes | None]:
    """Let one thing be chosen that is different, for one run or for all selected ones. None where that is no value for it."""
    parts.say_unknown("scope", (ONE, MANY))
    _say_unknown_key()
    row = st.columns([1, 1.3, 1.2])
    what = str(row[0].radio("Simulate", [ONE, MANY], horizontal=True, key="scope", bind="query-params"))
    key = str(
        row[1].selectbox(
            "What is different", list(KEYS), index=list(KEYS).index(FIRST), key="key", bind="query-params", on_change=_first_value
        )
    )  # fmt: skip
    value = row[2].selectbox(
        "Value", list(KEYS[key].examples), key="value", bind="query-params", accept_new_options=True,
        help="One of the list, or any other: type it and press Enter.",
    )  # fmt: skip
    st.caption(f"`{key}`: {KEYS[key].meaning}.")
    try:
        return what, read_changes([f"{key}={value}"])
    except BadChange as error:
        parts.nothing(str(error))
        return what, None


def _say_unknown_key() -> None:
    """Say what is wrong with the key in the address: its widget drops it, and shows another."""
    wanted = st.query_params.get("key")
    if wanted and wanted not in KEYS:
        try:
            read_changes([f"{wanted}=…"])
        except BadChange as error:
            parts.nothing(str(error))


def _first_value() -> None:
    """Start from the first example of what was chosen: a value of another thing says nothing about it."""
    st.session_state["value"] = KEYS[st.session_state["key"]].examples[0]


def one_run(store: Store, evidence: Evidence, changes: Changes) -> None:
    """Simulate one run, replayed and changed, and show both beside what was observed."""
    if "run" not in st.query_params:
        replaying = evidence.frame(REPLAYING)
        if len(replaying):
            st.query_params["run"] = str(replaying["run_id"].iloc[0])
    run_id = choose(store, evidence)
    run = store.record(queries.RUN, run=run_id)
    with st.spinner("Simulating …"):
        ensemble = simulated(store.key, run_id, changes.name, store, changes)
    of = {one.summary["scenario"]: one for one in ensemble.simulated}
    replay, changed = of.get("recorded"), of.get(changes.name)
    if replay is None:
        parts.nothing(unplayable(run) or ensemble.refused["recorded", run_id])
        return
    if not known(run["makespan_ms"]) or not run["makespan_ms"]:
        parts.nothing("The makespan of this run is not known, so nothing tells whether its replay stands for it.")
        return
    if changed is None:
        parts.nothing(ensemble.refused[changes.name, run_id])
    is_told = changed is not None and bool(replay.summary["replays"])
    shown = changed.summary if changed is not None and is_told else None
    if shown is not None:
        st.markdown(difference(shown))
    headline(run, replay.summary, shown)
    st.markdown(replay_sentence(run, replay.summary))
    if changed is not None and is_told:
        warn(list(changed.summary["warnings"]))
    tasks = store.frame(queries.RUN_TASKS, run=run_id)
    functions = dict(zip(tasks["task_id"].astype(str), tasks["function"].astype(str), strict=True))
    sides = [side(replay, functions)]
    if changed is not None and is_told:
        sides.append(side(changed, functions))
    else:
        sides.insert(0, observed_side(store.frame(queries.RUN_WORKERS, run=run_id), tasks, run["makespan_ms"]))
    drawn, heads = side_by_side(sides)
    st.subheader("The workers, in time", anchor="workers")
    parts.chart(
        charts.beside_in_time(drawn, heads),
        f"Workers of the run on one time axis, with the makespan of each, {count(len(drawn.names), 'worker')}: {'; '.join(heads['text'])}.",
        "what-if-workers",
    )
    notes = [
        "One lane per worker in order of request, more where it runs several tasks at once (`+1`); a dashed line stands where the makespan ends. "
        "Input wait is drawn with its download: simulations keep them together."
    ]
    notes.append(f"{LOWER} marks the lower one, where a worker has the same number as above.")
    if is_told:
        notes.append(f"With the change: of {count(DRAWS, 'play')} the one in the middle.")
    if drawn.workers_left_out or drawn.bars_left_out:
        notes.append(f"Left out: {count(drawn.workers_left_out, 'worker')}, {count(drawn.bars_left_out, 'bar')}.")
    st.caption(" ".join(notes))
    told = [replay, changed] if changed is not None and is_told else [replay]
    compared = figures(store.key, run_id, told[-1].summary["scenario"], store, Ensemble(told, {}))
    st.subheader("Observed, replayed and changed" if is_told else "Observed and replayed", anchor="figures")
    for level, names in (("task", functions), ("worker", drawn.names)):
        table = wide(compared, level, names, has_change=is_told)
        parts.table(table.head(5_000), f"{level.capitalize()}s of the run, {'observed, replayed and changed' if is_told else 'observed and replayed'}", _numbers(table))  # fmt: skip
    st.caption(
        "Times count from the submission. `cold` is 1 for a cold start, 0 for a warm one; simulated: the share of plays in which it is cold. "
        "A worker that was launched twice stands here once, with the launch that is replayed; the download holds both."
    )
    parts.downloads(compared, "what-if")
    how(command(changes, shlex.quote(run_id), DRAWS), grounds(store.key, store).runs)


def unplayable(run: dict[str, Any]) -> str:
    """Say what a run lacks to be played forward at all; '' where its source records what it takes."""
    lacks = [
        what
        for what, there in (
            ("when it was submitted", not pd.isna(run["submitted_at"])),
            ("its last task (the sink)", isinstance(run["sink_task_id"], str)),
            ("when its tasks started", bool(run["timed_tasks"])),
        )
        if not there
    ]
    if not lacks:
        return ""
    named = lacks[0] if len(lacks) == 1 else f"{', '.join(lacks[:-1])} and {lacks[-1]}"
    return (
        f"This run cannot be played forward: its source does not record {named}. Hint: choose a run of another engine."
    )


def headline(run: dict[str, Any], replay: dict[str, Any], changed: dict[str, Any] | None) -> None:
    """Show makespan, GB-seconds and cold starts: observed, replayed, changed."""
    one = replay if changed is None else changed
    rows = (
        ("Makespan", run["makespan_ms"], "makespan_ms", duration),
        ("GB-seconds", run["gb_seconds_derived"], "gb_seconds", figure),
        ("Cold starts", run["cold_starts"], "cold_starts", starts),
    )
    for place, (name, observed, column, shown) in zip(st.columns(3), rows, strict=True):
        before, replayed, now = (
            shown(float(value)) if known(value) else UNKNOWN for value in (observed, replay[column], one[column])
        )
        with place:
            st.metric(
                f"{name} {'replayed' if changed is None else 'with the change'}",
                now,
                delta=None if changed is None else delta(changed, column),
                delta_color="off",
                delta_arrow="off",
            )
            st.caption(f"observed {before}" + ("" if changed is None else f", replayed {replayed}"))


def warn(sentences: list[str]) -> None:
    """Say where the change leaves what the data covers: as text, for functions are named by others."""
    if not sentences:
        return
    with st.container(border=True):
        st.markdown(":material/warning: **Beware: here the change leaves what was recorded**")
        st.text("\n".join(f"- {label(sentence, 200)}" for sentence in sentences[:MOST_WARNINGS]))
        if len(sentences) > MOST_WARNINGS:
            st.caption(f"And {len(sentences) - MOST_WARNINGS:,} more like these.")


def many_runs(store: Store, evidence: Evidence, changes: Changes) -> None:
    """Simulate the runs selected and show what the change does to them."""
    runs = evidence.frame(SELECTED)
    name = changes.name
    stored = evidence.frame(STORED, scenario=name)
    complete = [str(run) for run in runs.loc[runs["is_complete"].eq(True), "run_id"]]
    refused = pd.DataFrame(columns=["reason", "runs"])
    learnt, draws = None, DRAWS_OF_MANY
    if len(stored) and len(stored) >= min(MOST_RUNS, len(complete)):
        summaries = stored
        left = len(runs) - len(stored)
        draws = int(stored["draws"].max())
        st.caption(
            f"As `flowscope simulate` left it: {count(len(stored), 'run')}, each played {count(draws, 'time')}"
            + (f". Not simulated: {left:,} of those selected." if left else ".")
        )
    else:
        chosen = spread(complete, MOST_RUNS)
        ensemble = _simulate_with_progress(store, chosen, changes)
        learnt = grounds(store.key, store).runs
        refused = reasons(ensemble.refused)
        summaries = pd.DataFrame([one.summary for one in ensemble.simulated])
        said = f"Simulated: {len(chosen):,} of {count(len(runs), 'run')}, each played {count(DRAWS_OF_MANY, 'time')}."
        if len(runs) > len(complete):
            said += f" {count(len(runs) - len(complete), 'run')} left no metrics of every task, so nothing can be replayed of them."
        if len(chosen) < len(complete):
            said += f" The page simulates at most {MOST_RUNS:,}, evenly spread over their submissions; the command below does all of them."
        st.caption(said)
    if summaries.empty:
        parts.nothing("None of these runs can be simulated with this change.")
    else:
        _effects(per_run(summaries, runs), changes)
        used = summaries[summaries["replays"].ne(other=False)]
        counted = used["warnings"].explode().dropna().value_counts()
        warn([f"{sentence} ({count(number, 'run')})" for sentence, number in counted.items()])
    if len(refused):
        with st.expander(f"{count(refused['runs'].sum(), 'run')} that could not be simulated, and why"):
            parts.table(
                refused, "Why runs could not be simulated", {"reason": st.column_config.TextColumn(width="large")}
            )
    how(command(changes, f"--runs {shlex.quote(condition(evidence.selection))}", draws), learnt)


def _simulate_with_progress(store: Store, runs: list[str], changes: Changes) -> Ensemble:
    grounds(store.key, store)
    whole = Ensemble([], {})
    bar = st.progress(0.0)
    for first in range(0, len(runs), AT_ONCE):
        bar.progress(first / len(runs), f"Simulating: {first:,} of {count(len(runs), 'run')}")
        some = tuple(runs[first : first + AT_ONCE])
        found = summed(store.key, some, changes.name, store, changes)
        whole = Ensemble([*whole.simulated, *found.simulated], {**whole.refused, **found.refused})
    bar.empty()
    return whole


def _effects(table: pd.DataFrame, changes: Changes) -> None:
    """Show what a change does to many runs. `table` as `per_run` returns it."""
    name, errs_together = changes.name, "memory" in dict(changes.values)
    groups = by_group(table, errs_together=errs_together)
    overall = {str(key): value for key, value in groups.iloc[0].items()}
    st.markdown(effect_sentence(overall, name))
    if errs_together:
        st.caption(
            "What memory does to executions is known only so well, and the same for all runs: the intervals hold that too."
        )
    if overall["left_out"]:
        st.caption(f"Left out: {count(overall['left_out'], 'run')} whose replay is too far from what was recorded.")
    told = effects(overall)
    forest = told[told["value"] > 0]
    if len(forest) < len(told):
        st.caption(f"Not drawn, as none is left of them: {', '.join(told.loc[told['value'] <= 0, 'label'])}.")
    if len(forest):
        parts.chart(
            charts.intervals(forest, "With the change / without (ratio)").properties(height=150 + 40 * len(forest)),
            "How many times each figure is what it is without the change: "
            + "; ".join(f"{row['label']} {row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f})" for row in forest.to_dict("records")),
            "what-if-effects",
        )  # fmt: skip
    touched = table[table["replays"] & table["touched"] & table["makespan_times"].gt(0)]
    if len(touched):
        points, note = charts.thinned(touched)
        verdicts = touched["verdict"].value_counts()
        parts.chart(
            charts.run_ratios(points),
            f"Makespan of each run with {label(name)} as a multiple of that without, by workflow: "
            + "; ".join(f"{verdict} {number:,}" for verdict, number in verdicts.items()),
            "what-if-runs",
        )
        st.caption(
            "A point per run; the tick is the median of a workflow. Shorter or longer: so in 90 % of its plays. Plays differ in what is not recorded, "
            f"not in how a real run varies: many runs that agree say more than one.{f' {note}' if note else ''}"
        )
    with st.expander(f"By workflow and planner: {count(len(groups) - 1, 'row')}"):
        parts.table(groups, "What the change does, by workflow and planner", _ratios(groups))
        parts.downloads(groups, "what-if-groups")
    parts.downloads(table, "what-if-runs")


def how(line: str, learnt: int | None) -> None:
    """Show the command that gives the same. `learnt`: from how many runs, where the page learnt."""
    known_from, otherwise = "", ""
    if learnt is not None:
        known_from = f", learnt from {'the newest ' if learnt >= MOST_LEARNT else ''}{count(learnt, 'run')}"
        if learnt >= MOST_LEARNT:
            otherwise = f" The page learns from at most the newest {count(MOST_LEARNT, 'run')}, the command from all: where there are more, their figures differ."
    with st.expander("How this was simulated, and the command that does the same"):
        st.markdown(
            "An event queue plays the DAG forward in time with the durations that were recorded, and with what is usual of the platform where nothing "
            f"was{known_from}.{otherwise} The same without the page; what `--runs` chooses is kept in the "
            "tables `simulations`, `simulated_tasks` and `simulated_invocations`:"
        )
        st.code(line, language="sh", wrap_lines=True)


def closeness(evidence: Evidence) -> None:
    """Show how close plain replays come to what was recorded."""
    st.header("How close replays come", anchor="closeness")
    found = evidence.frame(REPLAYS)
    if found.empty:
        parts.nothing(
            "No plain replay is stored, so nothing tells how close they come. Hint: flowscope simulate --runs true."
        )
        return
    whole = found.iloc[0]
    st.markdown(
        f"Of **{count(whole['runs'], 'run')}** replayed with their recorded durations the makespan is {percent(whole['median_makespan_error'])} off in the middle; "
        f"{percent(whole['starts_within_5_percent'])} have every task start within 5 % of the makespan, {percent(whole['states_agreed'])} of starts are in the state that is "
        f"recorded or told from the log, and {percent(whole['stand_for_the_run'])} of replays stand for their run: only these are asked what a change does."
    )
    shown = found.assign(
        workflow=["(all)", *(label(name, 40) for name in found["workflow"][1:])],
        planner=["(all)", *(label(name, 40) for name in found["planner"][1:])],
    )
    parts.table(
        shown,
        "How close replays come to what was recorded, by workflow and planner",
        {
            "median_makespan_error": st.column_config.NumberColumn("median makespan error", format="percent"),
            "starts_within_5_percent": st.column_config.NumberColumn("runs with every start within 5 %", format="percent"),
            "states_agreed": st.column_config.NumberColumn("starts in the recorded state", format="percent"),
            "stand_for_the_run": st.column_config.NumberColumn("stand for their run", format="percent"),
        },
    )  # fmt: skip
    parts.downloads(shown, "replays")


def already(evidence: Evidence) -> None:
    """Show what was simulated before."""
    st.header("What was simulated before", anchor="before")
    found = evidence.frame(SIMULATED, touched_ms=TOUCHED_MS)
    if found.empty:
        parts.nothing("Nothing is stored yet. Hint: flowscope simulate --runs true --set optimization.prewarm=perfect.")
        return
    parts.table(found, "What was simulated before, by scenario", _ratios(found) | {"median_makespan_error": st.column_config.NumberColumn("median makespan error", format="percent")})  # fmt: skip
    st.caption(
        "`recorded`: plain replays; `ahead`: each run from what was known before it; `ahead; width unknown`: before it was known how many tasks it has; "
        "`ahead; two static runs` and `recorded; two static runs`: the same work as two runs, which nobody ran, so their error holds what the split itself does; "
        "`predicted`: by the trained predictor. Error: how far the makespan is from the observed one. Times: the median, over runs whose makespan "
        "the change touches, of the figure with the change over that without."
    )
    parts.downloads(found, "simulated-before")


def _numbers(frame: pd.DataFrame) -> dict[str, Any]:
    return {
        name: st.column_config.NumberColumn(format="%.2f" if name.startswith("cold") else "%.1f")
        for name in frame.columns
        if pd.api.types.is_float_dtype(frame[name])
    } | {f"{level}_id": st.column_config.TextColumn(width="small") for level in ("task", "worker")}


def _ratios(frame: pd.DataFrame) -> dict[str, Any]:
    return {
        name: st.column_config.NumberColumn(name.replace("_", " "), format="%.3f")
        for name in frame.columns
        if name.endswith(("_times", "_low", "_high"))
    }


store, evidence = showing.report_page(
    "what_if",
    "A run, or many, played forward again with one thing changed: the same DAG and the same durations, other rules. What a change does is "
    "told only of runs whose plain replay comes close to what was recorded.",
)
what, changes = asked()
if changes is not None:
    (one_run if what == ONE else many_runs)(store, evidence, changes)
closeness(evidence)
already(evidence)
parts.how_statements(evidence.statements)

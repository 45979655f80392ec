"""Sentences composed from computed figures. They are Markdown; what dumps say goes through `plain`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from math import exp
from typing import Any

import pandas as pd

from app.charts import Measure
from app.plain import NONE, plain
from app.units import count, known, percent, ratio
from warehouse.tables import REJECT_REASONS

DOWNLOAD_CAVEAT = (
    "Download time of planners with optimisations (`-opt`) is understated: an input that was pre-loaded keeps its size but "
    "often loses its time, so observed sums are too small, and predictions look higher against them than they are."
)
POOLING_CAVEAT = (
    "All workflows are pooled: runs of different workflows follow each other, so a line moves when the mix does, not only "
    "when predictions get better. Filter by one workflow to see the predictions alone."
)
FEW_RUNS = 5
"""Below so many runs a planner at an SLA is not called best or worst."""

LEVELS = {
    "run": "At run level each figure is a sum over the run's tasks, where errors of single tasks can cancel.",
    "task": "At task level every task counts by itself: nothing cancels, and runs with many tasks weigh more.",
    "invocation": "At invocation level every worker launched counts by itself.",
}


def loaded(overview: Mapping[str, Any]) -> str:
    """Say what is loaded."""
    runs, incomplete, undecided, ended = (int(overview[name]) for name in ("runs", "incomplete", "undecided", "ended"))
    groups = [
        f" {before} {count(overview[name], word)}"
        for before, word, name, least in (
            ("of", "workflow", "workflows", 1), ("by", "engine", "engines", 2),
            ("under", "planner", "planners", 1), ("in", "environment", "environments", 1),
        )
        if overview[name] >= least
    ]  # fmt: skip
    parts = [f"**{count(runs, 'run')}**{''.join(groups)}"]
    if not pd.isna(overview["first_submitted_at"]):
        parts.append(f", submitted {span(overview['first_submitted_at'], overview['last_submitted_at'])}")
    parts.append(
        f". {count(int(overview['complete']) - ended, 'run')} left metrics of every task, {incomplete:,} did not"
    )
    if ended:
        parts.append(f", of {ended:,} the end is recorded but not which tasks they have")
    if undecided:
        parts.append(f", and of {undecided:,} the DAG is unknown")
    parts.append(f". {count(overview['tasks'], 'task')} were recorded on {count(overview['workers'], 'worker')}.")
    return "".join(parts)


def span(first: datetime, last: datetime) -> str:
    """Return a period in UTC, its second date only where it is another day."""
    if first.date() == last.date():
        return f"on {first:%Y-%m-%d} from {first:%H:%M} to {last:%H:%M} UTC"
    return f"from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"


def refused(sources: pd.DataFrame, rejects: pd.DataFrame) -> str:
    """Say what was rejected, failed, is missing or came twice."""
    parts = []
    if rejects.empty:
        parts.append("Nothing was rejected.")
    else:
        total = int(rejects["rejects"].sum())
        parts.append(
            f"{count(total, 'line or value', 'lines or values')} of {count(int(rejects['files'].max()), 'file')} or more were rejected."
        )
    for column, sentence in (
        ("failed", "could not be read."),
        ("missing", "gone from the source since; the rows stay."),
    ):
        if number := int(sources[column].sum()):
            parts.append(f"{count(number, 'object')} {sentence}")
    if number := int(sources["duplicate_runs"].sum()):
        parts.append(f"{count(number, 'run')} arrived more than once and count once.")
    if number := int(sources["skipped"].sum()):
        parts.append(
            f"{count(number, 'key, line or span', 'keys, lines or spans')} that {'is' if number == 1 else 'are'} no metrics {'was' if number == 1 else 'were'} skipped."
        )
    return " ".join(parts)


def reject_reasons(rejects: pd.DataFrame) -> pd.DataFrame:
    """Return the rejects by reason with a sentence for each reason."""
    return rejects.assign(meaning=[REJECT_REASONS.get(reason, "") for reason in rejects["reason"]])[
        ["reason", "meaning", "rejects", "files", "example"]
    ]


def left_out(left: pd.DataFrame) -> list[str]:
    """Say which runs conclusions cannot use, and why."""
    incomplete, without, ended = (int(left[name].sum()) for name in ("incomplete", "without_plan", "dag_unknown"))
    sentences = []
    if incomplete:
        per_workflow = (
            left.assign(workflow=left["workflow"].fillna("")).groupby("workflow")[["incomplete", "runs"]].sum()
        )
        worst = per_workflow.sort_values("incomplete", ascending=False).iloc[0]
        sentences.append(
            f"**{count(incomplete, 'run')}** {'is' if incomplete == 1 else 'are'} incomplete: some task left no metrics."
            f" Workflow {plain(worst.name)} has most: {int(worst['incomplete']):,} of its {count(worst['runs'], 'run')}."
        )
    else:
        sentences.append("No run is known to be incomplete." if ended else "No run is incomplete.")
    if ended:
        sentences.append(
            f"Of **{count(ended, 'run')}** the end is recorded but not which tasks {'it has' if ended == 1 else 'they have'}: "
            f"{'it counts' if ended == 1 else 'they count'} as complete, though a lost task would not show."
        )
    if without:
        reasons = [
            f"{int(left[column].sum()):,} {why}"
            for column, why in (
                (
                    "no_plans_in_source",
                    "of engines that record no plans (predictions of these come from `flowscope evaluate`)",
                ),
                (
                    "first_of_its_history",
                    "are the first of their workflow under a planner in their dump, and a planner without history makes no plan",
                ),
                (
                    "submission_lost",
                    "lost their client, which leaves neither submission nor plan (their submission time is the one in the run id)",
                ),
                ("reason_unknown", "give no reason"),
            )
            if int(left[column].sum())
        ]
        sentences.append(
            f"**{count(without, 'run')}** {'has' if without == 1 else 'have'} no plan, hence no prediction: {'; '.join(reasons)}."
        )
    else:
        sentences.append("Every run has a plan.")
    return sentences


def best(frame: pd.DataFrame, measure: Measure, metric: str, level: str) -> str:
    """Say which planner and SLA ends best on the expanding figure, and how far the others are."""
    last = frame.sort_values("run_ordinal").groupby(["planner", "sla"], as_index=False).tail(1)
    last = last[[known(value) for value in last[measure.expanding].astype(float)]]
    runs = f"{count(frame['run_id'].nunique(), 'run')}, {count(len(last), 'combination')} of planner and SLA"
    if last.empty:
        return f"No prediction of {metric} in this selection can be compared ({runs})."
    if measure.name == "coverage":
        return _coverage(last, measure, metric, runs)
    enough = last[last["run_ordinal"] >= FEW_RUNS]
    few = len(last) - len(enough)
    if enough.empty:
        return f"No planner and SLA has {FEW_RUNS} runs with a prediction of **{metric}** yet: too few to name a best one. {runs}."
    last = enough
    how_far = last[measure.expanding].abs()
    winner, loser = last.iloc[int(how_far.argmin())], last.iloc[int(how_far.argmax())]

    def named(row: Any) -> str:
        return plain(row["sla"]) if row["planner"] == NONE else f"{plain(row['planner'])} at {plain(row['sla'])}"

    def figure(row: Any) -> str:
        value = float(row[measure.expanding])
        return f"{percent(value)} off" if measure.name == "relative error" else f"at {ratio(exp(value))} what happened"

    values = "" if level == "run" else f", {count(winner['n'], level)}"
    sentence = (
        f"Over all its runs so far, {named(winner)} predicts **{metric}** best: median {figure(winner)}"
        f" ({count(winner['run_ordinal'], 'run')}{values})"
    )
    if len(last) > 1:
        sentence += f"; {named(loser)} worst: {figure(loser)} ({count(loser['run_ordinal'], 'run')})"
    left_out = f", of which {few:,} with fewer than {FEW_RUNS} runs are left out of this comparison" if few else ""
    return f"{sentence}. {runs}{left_out}. Whether such differences are more than chance is not tested here."


def _coverage(last: pd.DataFrame, measure: Measure, metric: str, runs: str) -> str:
    kept, promised = 0, 0
    for row in last.to_dict("records"):
        name = str(row["sla"])
        if name.startswith("p") and name[1:].replace(".", "", 1).isdigit():
            promised += 1
            kept += float(row[measure.expanding]) >= float(name[1:]) / 100
    low, high = last[measure.expanding].min(), last[measure.expanding].max()
    return (
        f"What happened stayed within the prediction of **{metric}** in {percent(low)} to {percent(high)} of cases; "
        f"{kept:,} of {count(promised, 'combination')} with a percentile covered at least that share. {runs}."
    )


def without_error(counts: Mapping[str, Any]) -> str:
    """Say how many predictions cannot be compared, and why."""
    missing = int(counts["predictions"]) - int(counts["compared"])
    total = count(counts["predictions"], "prediction")
    reasons = [
        f"{int(counts[name]):,} {why}"
        for name, why in (
            ("actual_zero", "where nothing happened (0 observed)"),
            ("run_incomplete", "of incomplete runs"),
            ("actual_unknown", "where the value was not recorded"),
            ("not_predicted", "where nothing was predicted"),
        )
        if int(counts[name])
    ]
    text = (
        f"{total}: all have a relative error."
        if not missing
        else f"{missing:,} of {total} have no relative error: {', '.join(reasons)}."
    )
    if without := int(counts["without_submission"]):
        text += f" {without:,} are of runs without a submission time and cannot be put in order."
    return text

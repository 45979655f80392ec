"""How prediction accuracy moves as runs come in: the first third of each history against the last."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from app.charts import intervals
from app.charts.trends import over_history
from app.findings import phrases
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Figure, Question, not_enough
from app.findings.statistics import (
    MINIMUM_IN_STRATUM,
    MINIMUM_RUNS,
    NO_DIFFERENCE,
    Interval,
    median_interval,
    stratified_ratio,
)
from app.findings.unplanned import EVALUATE, Unplanned, asked, unplanned
from app.predicted import ENGINE, called
from app.units import count, figure, percent

NAMES = {
    "makespan": "makespan",
    "execution": "execution",
    "download": "download",
    "upload": "upload",
    "input_bytes": "input size",
    "output_bytes": "output size",
    "startup": "start-up",
}
"""The metrics that a plan predicts of a whole run, and how they are called."""

SHORTEST = 3
"""Runs of a history below which it has no thirds."""

MOSTLY_EXACT = 0.1
"""From this share of exact predictions on, their share is what is compared: a ratio of errors has no meaning at 0."""

WORTH_NAMING = 0.01
"""An error below this is small enough whichever way it moves: it stands in the table only."""

_STEPS = 36
_SIXTH = 1 / 6

ERRORS = """
-- What the plan predicted of each run, or where there are none a predictor at its median (P50), against what happened: one
-- row per run and metric, with the run's place in its history. A history is what an engine can learn from, at one SLA: the runs of a workflow of one structure under one
-- planner that were recorded in the same store (a dump, or a server that was read key by key).
with judged as (
    select
        errors.metric, errors.run_id, selected_runs.workflow, selected_runs.planner, errors.sla,
        selected_runs.structure_hash, selected_runs.submitted_at,
        coalesce(selected_runs.input_bytes::varchar, 'of ' || errors.run_id) as input,
        case when files.key = runs.run_id then files.source else runs.file_id end as store,
        errors.relative_error,
        errors.predicted / nullif(errors.actual, 0) as predicted_to_actual
    from prediction_errors as errors
    inner join selected_runs on errors.run_id = selected_runs.run_id
    inner join runs on errors.run_id = runs.run_id
    left join files on runs.file_id = files.file_id
    where
        errors.predictor = $predictor and errors.level = 'run'
        and ($predictor = 'engine' or errors.sla_percentile = 50)
        and errors.metric in ('makespan', 'execution', 'download', 'upload', 'input_bytes', 'output_bytes', 'startup')
        and isfinite(errors.relative_error)
),

placed as (
    select
        *,
        row_number() over (history order by submitted_at nulls last, run_id) as place,
        count(submitted_at) over history as length
    from judged
    window history as (partition by metric, store, workflow, structure_hash, planner, sla)
)

select
    metric, run_id, workflow, planner, sla, input, relative_error, predicted_to_actual, place, length,
    dense_rank() over (order by store, workflow, structure_hash, planner, sla) as history,
    submitted_at is not null and place <= length // 3 as is_early,
    submitted_at is not null and place > length - length // 3 as is_late
from placed
order by metric, workflow, planner, submitted_at, run_id
"""

COUNTS = """
-- The runs selected, those that have no predictions, and those whose predictions cannot be compared.
with planned as (
    select distinct run_id from prediction_errors where predictor = $predictor and level = 'run' and predicted is not null
)
select
    count(*) as runs,
    count(*) filter (where planned.run_id is null) as unplanned,
    count(*) filter (where planned.run_id is not null and selected_runs.is_complete is not true) as incomplete,
    count(*) filter (where planned.run_id is not null and submitted_at is null) as without_submission
from selected_runs
left join planned on selected_runs.run_id = planned.run_id
"""


def once(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of one metric with runs that repeat each other as one: the median of their figures.

    An experiment that is replayed with other settings gives parallel histories of the same inputs: these say once, not five
    times, how well such an input is predicted. `rows`: the columns of `ERRORS`.
    """
    placed = rows.assign(position=(rows["place"] - 0.5) / rows["length"])
    sides = ["is_early", "is_late"]
    repeated = placed.groupby(["history", "input", *sides]).cumcount()
    keys = [placed[name] for name in ("workflow", "planner", "sla", "input", *sides)]
    alike = placed.groupby([*keys, repeated], dropna=False, sort=False)
    values = alike[["relative_error", "predicted_to_actual", "position", "length"]].median()
    return values.reset_index()[["workflow", "planner", *sides, *values.columns]]


def ends(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of the first and of the last third of histories, repeated ones as one."""
    return once(rows[rows["is_early"] | rows["is_late"]])


def compared(thirds: pd.DataFrame, level: float) -> Interval | None:
    """Return the late third's median relative error as a multiple of the early third's, within workflow and planner.

    Every history gives as many runs to the early side as to the late one, so both sides hold the same histories and SLAs.
    `thirds`: what `ends` returns. An exact prediction counts as the smallest error seen: its rank is kept, and the median
    does not notice.
    """
    errors = thirds["relative_error"].astype(float)
    if not (errors > 0).any():
        return None
    return stratified_ratio(
        pd.DataFrame(
            {
                "stratum": thirds.groupby(["workflow", "planner"], dropna=False).ngroup(),
                "is_other": thirds["is_late"].astype(bool),
                "value": errors.clip(lower=float(errors[errors > 0].min())),
            }
        ),
        level,
    )


def bias(thirds: pd.DataFrame, level: float) -> tuple[Interval | None, str]:
    """Return predicted / actual at the end of histories, the median with its interval, and what that says."""
    late = thirds[thirds["is_late"].astype(bool)]
    found = median_interval(late["predicted_to_actual"].astype(float).tolist(), level)
    if found is None:
        return None, "too few"
    if found.low >= 1 / (1 + NO_DIFFERENCE) and found.high <= 1 + NO_DIFFERENCE:
        return found, "within 5 %"
    return found, "too high" if found.low > 1 else "too low" if found.high < 1 else "undecided"


def by_metric(errors: pd.DataFrame) -> pd.DataFrame:
    """Return a row per metric: its errors overall, early and late, their ratio and the bias at the end.

    Every interval holds 95 % for all metrics together (Bonferroni): 1 - .05 / metrics each.
    """
    groups = [(name, errors[errors["metric"] == name]) for name in NAMES if (errors["metric"] == name).any()]
    level = 1 - 0.05 / max(1, len(groups))
    return pd.DataFrame([_row(name, rows, level) for name, rows in groups])


def _row(metric: str, rows: pd.DataFrame, level: float) -> dict[str, Any]:
    thirds = ends(rows)
    early, late = (thirds[thirds["is_late"] == side]["relative_error"].astype(float) for side in (False, True))
    exact = [float((some["relative_error"] == 0).mean()) for some in (rows, thirds) if len(some)]
    mostly_exact = max(exact) >= MOSTLY_EXACT
    found = None if mostly_exact else compared(thirds, level)
    end, verdict = bias(thirds, level)
    decision = "mostly exact" if mostly_exact else "too few"
    if found:
        decision = {"lower": "better", "higher": "worse"}.get(found.decision, found.decision)
    return {
        "metric": NAMES[metric],
        "runs": len(rows),
        "runs_early": len(early),
        "runs_late": len(late),
        "median_relative_error": float(rows["relative_error"].median()),
        "early_relative_error": float(early.median()),
        "late_relative_error": float(late.median()),
        "late_to_early": found.value if found else None,
        "low": found.low if found else None,
        "high": found.high if found else None,
        "interval_level": level,
        "accuracy": decision,
        "predicted_to_actual_late": end.value if end else None,
        "bias_low": end.low if end else None,
        "bias_high": end.high if end else None,
        "bias": verdict,
        "share_exact": exact[0],
        "share_exact_early": float((early == 0).mean()) if len(early) else None,
        "share_exact_late": float((late == 0).mean()) if len(late) else None,
    }


def along(errors: pd.DataFrame) -> pd.DataFrame:
    """Return the rolling median and quartiles of each metric along histories of at least `SHORTEST` runs.

    The window is a third of a history wide, and narrower where histories are long: some six runs.
    """
    placed = errors[(errors["length"] >= SHORTEST) & (errors["place"] <= errors["length"])]
    points = []
    for metric in NAMES:
        rows = once(placed[placed["metric"] == metric])
        if rows.empty:
            continue
        position = rows["position"].to_numpy(float)
        values = rows["relative_error"].to_numpy(float)
        half = float(np.clip(3 / np.median(rows["length"]), 1 / 40, _SIXTH))
        for step in range(_STEPS + 1):
            middle = half + (1 - 2 * half) * step / _STEPS
            near = values[np.abs(position - middle) <= half + 1e-9]
            if len(near):
                low, median, high = np.quantile(near, [0.25, 0.5, 0.75])
                points.append((NAMES[metric], middle, median, low, high, len(near)))
    return pd.DataFrame(points, columns=["metric", "position", "median", "low", "high", "n"])


def _f07(evidence: Evidence) -> Answer:
    who, without = asked(evidence), unplanned(evidence)
    counts, errors = evidence.record(COUNTS, predictor=who), evidence.frame(ERRORS, predictor=who)
    if errors.empty and without.is_all:
        return not_enough(f"{without.sentence} Accuracy needs predictions, and none is on record yet.", EVALUATE)
    if errors.empty:
        return not_enough(
            f"Of {count(counts['runs'], 'run')} none has a prediction that can be compared with what happened: no plans in this "
            "selection, or none of a complete run. Runs without history make none.",
            "Runs of a workflow that ran before under the same planner: from the second on they are planned.",
            n=0,
        )
    table = by_metric(errors)
    lead = next(name for name in NAMES if (errors["metric"] == name).any())
    rows = errors[errors["metric"] == lead]
    first = table.iloc[0]
    found = None if first["accuracy"] == "mostly exact" else compared(ends(rows), 0.95)
    histories = int(rows[rows["length"] >= SHORTEST]["history"].nunique())
    n = int(errors["run_id"].nunique())
    return Answer(
        "answered" if len(rows) >= MINIMUM_RUNS else "not enough data",
        _sentence(table, found, who) if len(rows) >= MINIMUM_RUNS else _too_few(table),
        n,
        "runs",
        phrases.effect(f"{NAMES[lead]}: median relative error, last third of each history against the first", found),
        _left_out(counts, rows, histories, who, without),
        table,
        _figures(table, along(errors)),
        _caveats(errors, table, who),
        _would_change(first["accuracy"], found),
    )


def _sentence(table: pd.DataFrame, found: Interval | None, who: str = ENGINE) -> str:
    rows = [{str(column): value for column, value in row.items()} for row in table.to_dict("records")]
    lead = rows[0]
    name = lead["metric"]
    parts = []
    for word in ("better", "worse"):
        named = [
            f"{row['metric']} ({percent(row['early_relative_error'])} to {percent(row['late_relative_error'])})"
            for row in rows
            if row["accuracy"] == word and row["early_relative_error"] >= WORTH_NAMING and row["metric"] != name
        ]
        parts += [f"surely {word}: {', '.join(named)}"] if named else []
    enough = [row for row in rows if row["runs"] >= MINIMUM_RUNS]
    worst = max(enough, key=lambda row: float(row["median_relative_error"]))
    if worst["metric"] != name:
        parts.append(f"furthest off is {worst['metric']} ({percent(worst['median_relative_error'])})")
    elif len(enough) > 1:
        parts.append("no other metric is further off")
    whose = "The engine's plans are off"
    if who != ENGINE:
        whose = f"No run here was planned; the closest of what was evaluated, {called(who)}, is off"
    text = f"{whose} by **{percent(lead['median_relative_error'])}** in {name} at the median; {_moved(lead, found)}."
    last = "; ".join(parts)
    return f"{text} {last[0].upper()}{last[1:]}." if last else text


def _moved(lead: dict[str, Any], found: Interval | None) -> str:
    """Say whether the error of the first metric moves along histories, or why that cannot be told."""
    if found:
        verdict = {"lower": "better", "higher": "worse", "no difference": "no change beyond 5 %"}.get(found.decision)
        return f"the last third of each history is off {phrases.times(found)} as much as the first: {verdict or 'undecided'}"
    if lead["accuracy"] == "mostly exact":
        return "too many predictions are exact for a ratio to tell whether that moves"
    if min(lead["runs_early"], lead["runs_late"]) < MINIMUM_RUNS:
        return (
            f"to tell whether that moves takes {MINIMUM_RUNS} runs in the first thirds of histories and as many in the last "
            f"(here {lead['runs_early']:,} and {lead['runs_late']:,})"
        )
    return (
        f"whether that moves cannot be told: too few workflows and planners have {MINIMUM_IN_STRATUM} runs in the first thirds "
        f"of histories and {MINIMUM_IN_STRATUM} in the last"
    )


def _too_few(table: pd.DataFrame) -> str:
    lead = table.iloc[0]
    return (
        f"Only {count(lead['runs'], 'run')} can be compared with a prediction of {lead['metric']}, off by "
        f"{percent(lead['median_relative_error'])} at the median: {MINIMUM_RUNS} are needed to answer."
    )


def _left_out(counts: dict[str, Any], rows: pd.DataFrame, histories: int, who: str, without: Unplanned) -> str:
    why = "the first of a history, a planner that predicts nothing, or a lost plan"
    if who != ENGINE:
        why = "too little before them to learn from"
    elif without.runs:
        why += f"; {without.runs:,} are of {without.named}, which record{'s' if len(without.engines) == 1 else ''} no plans"
    parts = [
        f"{count(counts['unplanned'], 'run')} without predictions ({why})",
        f"{count(counts['incomplete'], 'planned run' if who == ENGINE else 'predicted run')} incomplete",
    ]
    if counts["without_submission"]:
        parts.append(f"{counts['without_submission']:,} without a submission time, which have no place in a history")
    short = int((rows["length"] < SHORTEST).sum())
    if short:
        parts.append(
            f"from early against late {count(short, 'run')} of histories with fewer than {SHORTEST}; "
            f"{count(histories, 'history', 'histories')} remain"
        )
    return f"Of {count(counts['runs'], 'run')}: {'; '.join(parts)}."


def _caveats(errors: pd.DataFrame, table: pd.DataFrame, who: str) -> tuple[str, ...]:
    lengths = errors[errors["length"] >= SHORTEST]["length"]
    lead, end = table.iloc[0], ""
    if lead["bias"] in ("too high", "too low"):
        end = (
            f"At the end of histories {lead['metric']} is predicted {lead['bias']}, at "
            f"{figure(lead['predicted_to_actual_late'])} times what happens. "
        )
    caveats = [
        "A history is the runs of a workflow, structure, planner and SLA recorded in one store, in order of submission; "
        "early and late hold equally many runs of each history, compared within workflow and planner with at least "
        f"{MINIMUM_IN_STRATUM} on either side; runs of the same input in parallel histories (an experiment replayed) count once."
        + (
            " The engine learns from runs of every SLA, so a history at one SLA starts later than its learning does."
            if who == ENGINE
            else ""
        ),
        f"'Better' and 'worse' allow for {count(len(table), 'metric')} being looked at: each interval of the table holds "
        f"{percent(float(table['interval_level'].iloc[0]))}.",
        "Run level: sums over a run's tasks, in which errors of single tasks cancel.",
    ]
    if who == ENGINE:
        caveats += [
            "Pre-loaded inputs lose their download time, so what planners with optimisations downloaded is understated and their "
            "predictions of it look too high.",
            f"{end}All SLAs are in it: one above the median aims too high on purpose (transfers the other way round), so bias is not a "
            "fault by itself.",
        ]
    else:
        caveats.append(
            f"{end}Predictions are medians (P50), made by `flowscope evaluate` from all earlier runs of the warehouse, those of other "
            "histories too. That this predictor is the closest "
            "was seen on the same runs, which flatters it a little; the Predictors page has all of them."
        )
    if len(lengths):
        caveats.insert(1, f"Half of the runs compared stand in histories of {lengths.median():,.0f} runs or fewer.")
    if (table["accuracy"] == "mostly exact").any():
        caveats.append(
            "Metrics predicted exactly in at least "
            f"{percent(MOSTLY_EXACT)} of runs are told by that share: a ratio of errors has no meaning at 0."
        )
    return tuple(caveats)


def _would_change(accuracy: str, found: Interval | None) -> str:
    if found is None and accuracy != "mostly exact":
        return f"Longer histories: {MINIMUM_RUNS} runs early and late, in workflows and planners with 3 of either."
    needed = found.needed() if found and found.decision == "undecided" else None
    if found and needed:
        return (
            f"More runs: with this spread about {needed:,} early and late ones in all would decide (now {found.n:,})."
        )
    return "Longer histories, other workloads, or a planner that learns differently."


def _figures(table: pd.DataFrame, points: pd.DataFrame) -> tuple[Figure, ...]:
    figures = []
    drawn = points[points["median"] > 0] if len(points) else points
    if len(drawn):
        banded = str(drawn["metric"].iloc[0])
        last = drawn.groupby("metric", sort=False).agg(first=("median", "first"), last=("median", "last"))
        text = "Rolling median of the relative error along histories, from the first runs to the last, one line per metric: "
        text += "; ".join(f"{name} {percent(first)} to {percent(end)}" for name, first, end in last.itertuples())
        figures.append(
            Figure(over_history(drawn, banded), f"{text}. Band: the middle half of {banded}.", "accuracy-over-history")
        )
    ratios = table.dropna(subset=["late_to_early"])
    if len(ratios):
        names = {"better": "lower", "worse": "higher"}
        forest = pd.DataFrame(
            {
                "label": ratios["metric"],
                "value": ratios["late_to_early"].astype(float),
                "low": ratios["low"].astype(float),
                "high": ratios["high"].astype(float),
                "decision": [names.get(decision, decision) for decision in ratios["accuracy"]],
                "n": ratios["runs_early"] + ratios["runs_late"],
            }
        )
        text = "Median relative error in the last third of histories as a multiple of the first third's: " + "; ".join(
            f"{row.metric} {row.late_to_early:.2f} ({row.low:.2f} to {row.high:.2f}, {row.accuracy})"
            for row in ratios.itertuples()
        )
        figures.append(Figure(intervals(forest, "Error late / early (ratio)"), f"{text}.", "accuracy-late-to-early"))
    return tuple(figures)


QUESTIONS = (
    Question(
        "F07",
        "How does prediction accuracy move over time?",
        "prediction_accuracy",
        f"{MINIMUM_RUNS} runs with a prediction; to say that it moved, {MINIMUM_RUNS} early and {MINIMUM_RUNS} late ones, "
        f"{MINIMUM_IN_STRATUM} of each in a workflow and planner",
        _f07,
    ),
)

"""Whether SLAs keep what they promise, and what asking for more caution does to the runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from app.charts import intervals
from app.charts.trends import promises
from app.findings import phrases
from app.findings.accuracy import NAMES
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Effect, Figure, Question, Status
from app.findings.matching import METRICS, RUNS, Compared, Matched, compare, match
from app.findings.statistics import MINIMUM_RUNS, Interval, share
from app.plain import label, plain
from app.units import count, figure, percent, ratio

MOST_DRAWN = 5
"""Percentiles that are drawn; the table holds all."""

MANY = 10
"""A tag with more values than one for so many runs says what a run drew, not how an experiment was set up."""

IMPACTS = {
    **{name: METRICS[name] for name in ("makespan_ms", "gb_seconds_derived", "cost_usd", "startup_ms", "workers")},
    "mean_memory_mb": "memory per task",
    "input_bytes": "input size",
}
"""What runs of two SLAs are compared by. The size of their inputs shows how alike they are."""

PROMISES = """
-- How often a run stayed within what the engine's plan predicted: per metric and percentile, over all planners
-- (is_total) and for each. 'average' promises nothing.
select
    errors.metric,
    errors.sla_percentile,
    selected_runs.planner,
    grouping(selected_runs.planner) = 1 as is_total,
    count(*) as predicted,
    count(errors.covered) as judged,
    count(*) filter (where errors.covered) as within_prediction,
    count(*) filter (where errors.actual = 0) as nothing_happened,
    count(distinct (selected_runs.workflow, selected_runs.input_bytes)) as distinct_inputs
from prediction_errors as errors
inner join selected_runs on errors.run_id = selected_runs.run_id
where
    errors.predictor = 'engine' and errors.level = 'run' and errors.predicted is not null
    and errors.sla_percentile is not null
    and errors.metric in ('makespan', 'execution', 'download', 'upload', 'input_bytes', 'output_bytes', 'startup')
group by grouping sets (
    (errors.metric, errors.sla_percentile), (errors.metric, errors.sla_percentile, selected_runs.planner)
)
order by errors.metric, errors.sla_percentile, is_total desc, selected_runs.planner nulls last
"""

ASKED = """
-- The percentile each run was planned at, whether its planner predicts anything, and the memory of its tasks.
with planners as (
    select distinct selected_runs.planner
    from selected_runs
    inner join planned_tasks on selected_runs.run_id = planned_tasks.run_id
    where planned_tasks.execution_ms is not null
),

sizes as (
    select tasks.run_id, avg(tasks.memory_mb)::double as mean_memory_mb
    from tasks
    inner join selected_runs on tasks.run_id = selected_runs.run_id
    group by tasks.run_id
)

select
    selected_runs.run_id, selected_runs.sla_percentile, sizes.mean_memory_mb,
    selected_runs.planner in (select planner from planners where planner is not null) as planner_predicts
from selected_runs
left join sizes on selected_runs.run_id = sizes.run_id
order by selected_runs.run_id
"""

COUNTS = """
-- The runs selected: those without an SLA on record, and of these the ones whose tags say what was asked for.
select
    count(*) as runs,
    count(*) filter (where sla = 'average') as average,
    count(*) filter (where sla is null) as without_sla,
    count(*) filter (where sla is null and asked is not null) as asked_for,
    min(asked) filter (where sla is null) as asked_by,
    count(*) filter (where is_complete is not true) as incomplete
from (
    select
        sla, is_complete,
        list_filter(map_keys(tags), lambda tag: regexp_matches(lower(tag), '(^|[^a-z])sla([^a-z]|$)'))[1] as asked
    from selected_runs
) as tagged
"""


@dataclass(frozen=True, slots=True)
class Impact:
    """Runs at a high percentile against runs at a low one: how they were laid beside each other, and each metric."""

    low: float
    high: float
    matched: Matched
    found: dict[str, Compared]
    predicting_only: bool


def verdict(found: Interval | None, nominal: float) -> str:
    """Say whether a promise is kept: 'kept' or 'broken' only where the interval lies on one side of what was promised."""
    if found is None or found.n < MINIMUM_RUNS:
        return "too few"
    return "broken" if found.high < nominal else "kept" if found.low >= nominal else "undecided"


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row per promise with its coverage, interval and verdict. `rows`: what `PROMISES` returns."""
    order = {name: place for place, name in enumerate(NAMES)}
    judged_rows: list[dict[str, Any]] = []
    for row in _records(rows):
        nominal = float(row["sla_percentile"]) / 100
        found = share(int(row["within_prediction"]), int(row["judged"]))
        judged_rows.append(
            {
                "metric": NAMES[row["metric"]],
                "sla": percentile(row["sla_percentile"]),
                "planner": "(all)" if row["is_total"] else label(row["planner"], 40),
                "runs": int(row["judged"]),
                "nominal": nominal,
                "coverage": found.value if found else None,
                "low": found.low if found else None,
                "high": found.high if found else None,
                "verdict": verdict(found, nominal),
                "distinct_inputs": int(row["distinct_inputs"]),
                "nothing_happened": int(row["nothing_happened"]),
                "is_total": bool(row["is_total"]),
                "place": (not row["is_total"], order[row["metric"]], nominal),
            }
        )
    judged_rows.sort(key=lambda row: row["place"])
    return pd.DataFrame(judged_rows).drop(columns="place", errors="ignore")


def percentile(value: float) -> str:
    """Return 'p90', 'p99.9'."""
    return f"p{value:g}"


def impact(runs: pd.DataFrame, metrics: Iterable[str] = tuple(IMPACTS)) -> Impact | None:
    """Compare the highest with the lowest percentile that has runs enough, None where there are not two.

    `runs`: the columns of `matching.RUNS` and of `ASKED`. Where some planners predict and others do not, only the former
    can heed an SLA, and only they are compared. Memory is not held equal: choosing it is how a planner heeds its SLA.
    """
    predicting = runs["planner_predicts"].eq(True)
    only = bool(predicting.any())
    chosen = (runs[predicting] if only else runs).assign(memory_mb=None)
    sizes = chosen[chosen["is_complete"].eq(True)].groupby("sla_percentile").size()
    enough = sorted(float(value) for value in sizes.index[sizes >= MINIMUM_RUNS])
    if len(enough) < 2:
        return None
    low, high = enough[0], enough[-1]
    both = chosen[chosen["sla_percentile"].isin([low, high])]
    matched = match(both, both["sla_percentile"], low, high, "sla")
    if matched.way == "stratified":
        coarser = match(_without_own_tags(both), both["sla_percentile"], low, high, "sla")
        matched = coarser if coarser.way == "paired" else matched
    matched = _told(matched, both)
    return Impact(low, high, matched, {name: compare(matched, name) for name in metrics}, only)


def _without_own_tags(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs without tags of many values, such as a scale drawn at random: by those too few pair up."""
    tags = _tags(runs)
    named = {name for found in tags for name in found}
    own = {name for name in named if len({found.get(name) for found in tags}) > max(MINIMUM_RUNS, len(runs) // MANY)}
    kept = [{name: value for name, value in found.items() if name not in own} for found in tags]
    return runs.assign(tags=pd.Series(kept, index=runs.index, dtype=object))


def _tags(runs: pd.DataFrame) -> list[dict[str, str]]:
    return [found if isinstance(found, dict) else {} for found in runs["tags"]]


def _told(matched: Matched, runs: pd.DataFrame) -> Matched:
    """Return what was matched with what is free told of all tags, without those that only repeat the SLA.

    A planner that no block mixes is held equal, whichever column says so.
    """
    blocks = matched.blocks
    columns: dict[str, pd.Series[Any]] = {name: blocks[name] for name in ("planner", "environment")}
    tags = _tags(runs.loc[blocks.index])
    for tag in sorted({name for found in tags for name in found}):
        columns[f"tag {tag}"] = pd.Series([found.get(tag) for found in tags], index=blocks.index, dtype=object)
    free = []
    for name, column in columns.items():
        mixed = column.groupby(blocks["block"]).nunique(dropna=False).max() > 1
        known = pd.DataFrame({"value": column, "side": blocks["is_other"]}).dropna()
        repeats = (
            len(known) > 0 and known.groupby("side")["value"].nunique().max() == 1 and known["value"].nunique() == 2
        )
        if mixed and not repeats and name not in matched.held_equal:
            free.append(name)
    return replace(matched, free=tuple(free))


def _f08(evidence: Evidence) -> Answer:
    counts, table = evidence.record(COUNTS), judged(evidence.frame(PROMISES))
    runs = evidence.frame(RUNS).merge(evidence.frame(ASKED), on="run_id")
    found = impact(runs) if len(runs) else None
    total = table[table["is_total"]] if len(table) else table
    decided = total[total["verdict"].isin(["kept", "broken"])] if len(total) else total
    if total.empty or decided.empty:
        return _undecided(counts, total, found)
    kept = int((total["verdict"] == "kept").sum())
    status: Status = "mixed"
    if kept == len(total):
        status = "holds"
    elif not kept:
        status = "does not hold"
    return Answer(
        status,
        _sentence(total, found),
        int(total["runs"].groupby(total["sla"]).max().sum()),
        "runs",
        _effect(found),
        _left_out(counts, found),
        table.drop(columns="is_total"),
        (*_promise_figure(total), *_impact_figure(found)),
        _caveats(counts, total, found),
        _would_change(total, found),
    )


def _undecided(counts: dict[str, Any], total: pd.DataFrame, found: Impact | None) -> Answer:
    if total.empty:
        why = f"Of {count(counts['runs'], 'run')} none has a plan that predicts it at a percentile"
        if counts["average"]:
            why += f" ({counts['average']:,} were planned at 'average', which promises nothing)"
        text = f"{why}: runs without history make no plan."
    else:
        few = int((total["verdict"] == "too few").sum())
        text = (
            f"None of {count(len(total), 'promise')} can be called kept or broken: {few:,} rest on fewer than {MINIMUM_RUNS} "
            f"runs, and the intervals of the others hold what was promised."
        )
    if found:
        text += f" {_impact(found)}."
    return Answer(
        "not enough data", text, int(total["runs"].max()) if len(total) else 0, "runs", _effect(found),
        table=total.drop(columns="is_total", errors="ignore"), figures=(*_promise_figure(total), *_impact_figure(found)),
        would_change="More runs planned at percentiles such as 50 and 90, after a first run of the same workflow and planner.",
    )  # fmt: skip


def _sentence(total: pd.DataFrame, found: Impact | None) -> str:
    numbers = {name: int((total["verdict"] == name).sum()) for name in ("kept", "broken", "undecided", "too few")}
    told = [f"{numbers[name]:,} {word}" for name, word in (
        ("kept", "kept"), ("undecided", "undecided"), ("too few", "on too few runs"),
    ) if numbers[name]]  # fmt: skip
    lead = _lead(total)
    interval = Interval(lead["coverage"], lead["low"], lead["high"], lead["runs"])
    text = (
        f"**{numbers['broken']:,} of {count(len(total), 'promise')}** (a metric at a percentile) "
        f"{'is' if numbers['broken'] == 1 else 'are'} broken{', ' if told else ''}{', '.join(told)}: planned at {lead['sla']}, "
        f"{phrases.share(interval)} of runs stayed within the predicted {lead['metric']}, where {percent(lead['nominal'])} should"
    )
    return f"{text}. {_impact(found)}." if found else f"{text}."


def _lead(total: pd.DataFrame) -> dict[str, Any]:
    """Return the promise to name: makespan at the highest percentile, else the one that falls shortest."""
    enough = _records(total[total["verdict"] != "too few"])
    makespan = [row for row in enough if row["metric"] == NAMES["makespan"]]
    if makespan:
        return max(makespan, key=lambda row: float(row["nominal"]))
    return max(enough, key=lambda row: float(row["nominal"] - row["coverage"]))


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _impact(found: Impact) -> str:
    names = f"Planned at {percentile(found.high)} instead of {percentile(found.low)}"
    moved = [f"{IMPACTS[name]} {ratio(result.ratio.value)}" for name, result in found.found.items()
             if name not in ("makespan_ms", "input_bytes") and result.ratio and result.ratio.decision in ("lower", "higher")]  # fmt: skip
    also = f"; surely different: {', '.join(moved)}" if moved else ""
    inputs = found.found["input_bytes"].ratio
    unlike = inputs is not None and inputs.decision in ("lower", "higher")
    but = f"; but their inputs were {ratio(inputs.value)} as large" if inputs and unlike else ""
    return f"{names}, {phrases.decided(found.found['makespan_ms'])}{also}{but}"


def _effect(found: Impact | None) -> Effect | None:
    if found is None:
        return None
    name = f"makespan, planned at {percentile(found.high)} against {percentile(found.low)}"
    return phrases.effect(name, found.found["makespan_ms"].ratio)


def _left_out(counts: dict[str, Any], found: Impact | None) -> str:
    parts = [f"{count(counts['without_sla'], 'run')} without an SLA on record"]
    if counts["average"]:
        parts.append(f"{counts['average']:,} at 'average', which promises nothing")
    parts.append(f"incomplete runs ({counts['incomplete']:,}), whose sums are not known")
    text = f"Of {count(counts['runs'], 'run')}: {'; '.join(parts)}."
    if found:
        makespan = found.found["makespan_ms"]
        text += (
            f" The comparison of SLAs leaves out {count(found.matched.unmatched, 'run')} of its two SLAs without a counterpart and "
            f"{makespan.incomplete:,} incomplete."
        )
    return text


def _caveats(counts: dict[str, Any], total: pd.DataFrame, found: Impact | None) -> tuple[str, ...]:
    fewest = min(_records(total), key=lambda row: float(row["distinct_inputs"] / max(row["runs"], 1)))
    caveats = [
        "A promise is kept where the 95 % interval of the share lies at or above the percentile, broken where it lies "
        f"below, with {MINIMUM_RUNS} runs or more; of promises exactly met one in forty would be called broken by chance, and "
        "none can be called kept.",
        "The promise of transfers is upside down: a high percentile of speeds picks a fast transfer, hence too short a time for "
        "download and upload, and makespan inherits it.",
        "This is coverage of what was predicted. 'SLA fulfilment' of the engine's own dashboard is another notion (at or below "
        "that percentile of earlier runs), found as history_fulfilment in `sla_coverage`.",
        "Makespan is one prediction; the other times are sums of each task's percentile, which above the median covers a "
        "sum more often than the percentile says.",
        "Pre-loaded inputs lose their download time: downloads of planners with optimisations look shorter, hence within.",
    ]
    if fewest["distinct_inputs"] < fewest["runs"]:
        caveats.append(
            f"Runs count as independent, but inputs repeat: {count(fewest['runs'], 'run')} at {fewest['sla']} had "
            f"{count(fewest['distinct_inputs'], 'different input')}, so intervals are somewhat too narrow."
        )
    if nothing := int(total["nothing_happened"].sum()):
        caveats.append(f"{count(nothing, 'promise of a run', 'promises of runs')} held because nothing happened (0).")
    if counts["without_sla"]:
        said = f", though the tag {plain(counts['asked_by'], 30)} says what was asked of {counts['asked_for']:,}" if counts["asked_for"] else ""  # fmt: skip
        caveats.append(
            f"{count(counts['without_sla'], 'run')} {'has' if counts['without_sla'] == 1 else 'have'} no SLA on record{said}: "
            "a run without history is not planned, and a client that gave up leaves no plan."
        )
    if found:
        caveats.append(f"The SLAs' runs: {phrases.rests_on(found.matched)}. {_inputs(found)}")
        if found.predicting_only:
            caveats.append("Planners that predict nothing cannot heed an SLA and are not in the comparison of SLAs.")
        caveats.append("Memory is not held equal between SLAs: choosing it is how a planner heeds its SLA.")
    return tuple(caveats)


def _inputs(found: Impact) -> str:
    inputs = found.found["input_bytes"].ratio
    if inputs is None:
        return "How alike their inputs are is not known."
    return (
        f"Inputs at {percentile(found.high)} were {figure(inputs.value)} times as large ({figure(inputs.low)} to "
        f"{figure(inputs.high)}): what they differ by is in every other ratio."
    )


def _would_change(total: pd.DataFrame, found: Impact | None) -> str:
    parts = []
    if open_ := int(total["verdict"].isin(["undecided", "too few"]).sum()):
        parts.append(f"More runs for the {count(open_, 'promise')} not decided")
    makespan = found.found["makespan_ms"] if found else None
    if makespan and makespan.ratio and makespan.ratio.decision == "undecided":
        parts.append("runs with the same input at both SLAs, which pair up")
    parts.append("a planner that calibrates its percentiles and turns them round for transfers")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _promise_figure(total: pd.DataFrame) -> tuple[Figure, ...]:
    known = total.dropna(subset=["coverage"]) if len(total) else total
    if known.empty:
        return ()
    levels = sorted(known["nominal"].unique())
    kept = {levels[round(place)] for place in np.linspace(0, len(levels) - 1, min(MOST_DRAWN, len(levels)))}
    shown = known[known["nominal"].isin(kept)]
    rows = shown.assign(label=shown["metric"] + " " + shown["sla"], n=shown["runs"])
    text = "Share of runs that stayed within the prediction, a row per metric and percentile, with its 95 % interval and a tick at the share promised: "  # fmt: skip
    text += "; ".join(
        f"{row['label']} {percent(row['coverage'])} of runs, {row['verdict']}" for row in rows.to_dict("records")
    )
    left = f" {len(levels) - len(kept):,} percentiles between are in the table only." if len(levels) > len(kept) else ""
    drawn = rows[["label", "coverage", "low", "high", "nominal", "verdict", "n"]]
    return (Figure(promises(drawn), f"{text}.{left}", "sla-promises"),)


def _impact_figure(found: Impact | None) -> tuple[Figure, ...]:
    rows = [
        {"label": IMPACTS[name], "value": result.ratio.value, "low": result.ratio.low, "high": result.ratio.high,
         "decision": result.ratio.decision, "n": result.n}
        for name, result in (found.found if found else {}).items() if result.ratio
    ]  # fmt: skip
    if not rows or found is None:
        return ()
    high, low = percentile(found.high), percentile(found.low)
    text = f"Runs planned at {high} against {low}, ratios with 95 % intervals: " + "; ".join(
        f"{row['label']} {row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f}, {row['decision']})" for row in rows
    )
    return (Figure(intervals(pd.DataFrame(rows), f"{high} / {low} (ratio)"), f"{text}.", "sla-impact"),)


QUESTIONS = (
    Question(
        "F08",
        "What do conservative and optimistic SLAs do to the actual metrics, and is each SLA's promise kept?",
        "slas",
        f"{MINIMUM_RUNS} runs planned at a percentile; holds: every promise is kept; does not hold: every promise that can be "
        "decided is broken; mixed: anything between",
        _f08,
    ),
)

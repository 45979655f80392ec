"""Whether SLAs keep what they promise, and what asking for more caution does to the runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from app.charts import intervals
from app.charts.trends import promises
from app.findings import phrases
from app.findings.accuracy import NAMES
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Effect, Figure, Question, Status, not_enough
from app.findings.matching import METRICS, RUNS, Compared, Matched, compare, match, tag_dicts, tag_names, tag_values
from app.findings.statistics import MINIMUM_RUNS, Interval, share
from app.findings.unplanned import EVALUATE, Unplanned, asked, unplanned
from app.plain import label, plain
from app.predicted import ENGINE, called
from app.units import count, figure, percent

NOTHING = "nothing happened"
"""The verdict on a promise of 0 where 0 happened: it is none."""

MOST_DRAWN = 5
"""Percentiles that are drawn; the table holds all."""

MANY = 10
"""A tag with more values than one for so many runs says what a run drew, not how an experiment was set up."""

MORE = "More runs planned at percentiles such as 50 and 90, after a first run of the same workflow and planner."

IMPACTS = {
    **{name: METRICS[name] for name in ("makespan_ms", "gb_seconds_derived", "cost_usd", "startup_ms", "workers")},
    "mean_memory_mb": "memory per task",
    "input_bytes": "input size",
}
"""What runs of two SLAs are compared by. The size of their inputs shows how alike they are."""

PROMISES = """
-- How often a run stayed within what the plan predicted, or where there are none a predictor: per metric and percentile,
-- over all planners (is_total) and for each. 'average' promises nothing, and 0 predicted where 0 happened is no promise kept.
with predicted as (
    select
        errors.metric, errors.sla_percentile, selected_runs.planner, selected_runs.workflow, selected_runs.input_bytes,
        errors.actual = 0 and errors.predicted = 0 as is_nothing,
        case when errors.actual <> 0 or errors.predicted <> 0 then errors.covered end as covered
    from prediction_errors as errors
    inner join selected_runs on errors.run_id = selected_runs.run_id
    where
        errors.predictor = $predictor and errors.level = 'run' and errors.predicted is not null
        and errors.sla_percentile is not null
        and errors.metric in ('makespan', 'execution', 'download', 'upload', 'input_bytes', 'output_bytes', 'startup')
)

select
    metric,
    sla_percentile,
    planner,
    grouping(planner) = 1 as is_total,
    count(*) as predicted,
    count(covered) as judged,
    count(*) filter (where covered) as within_prediction,
    count(*) filter (where is_nothing) as nothing_happened,
    count(distinct (workflow, input_bytes)) filter (where covered is not null) as distinct_inputs
from predicted
group by grouping sets ((metric, sla_percentile), (metric, sla_percentile, planner))
order by metric, sla_percentile, is_total desc, planner nulls last
"""

ASKED = """
-- The percentile each run asked for, whether it has a plan that predicts, and the memory of its tasks.
with sizes as (
    select tasks.run_id, avg(tasks.memory_mb)::double as mean_memory_mb
    from tasks
    inner join selected_runs on tasks.run_id = selected_runs.run_id
    group by tasks.run_id
)

select
    selected_runs.run_id, selected_runs.sla_percentile, sizes.mean_memory_mb,
    selected_runs.run_id in (select run_id from planned_tasks where execution_ms is not null) as is_planned
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


def verdict(found: Interval | None, nominal: float) -> str:
    """Say whether a promise is kept: 'kept' or 'broken' only where the interval lies on one side of what was promised."""
    if found is None or found.n < MINIMUM_RUNS:
        return "too few"
    return "broken" if found.high < nominal else "kept" if found.low >= nominal else "undecided"


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row per promise, and per planner of it, with its coverage, interval and verdict.

    The intervals of one promise's planners hold 95 % together: exact ones (Clopper and Pearson) at Bonferroni's level, for
    near 100 % Wilson's calls ten runs that are as promised broken once in ten. `rows`: what `PROMISES` returns.
    """
    order = {name: place for place, name in enumerate(NAMES)}
    planners = rows[~rows["is_total"].astype(bool)].groupby(["metric", "sla_percentile"]).size()
    judged_rows: list[dict[str, Any]] = []
    for row in _records(rows):
        nominal = float(row["sla_percentile"]) / 100
        level = 1 - 0.05 / (1 if row["is_total"] else int(planners[row["metric"], row["sla_percentile"]]))
        found = (share if row["is_total"] else _exact)(int(row["within_prediction"]), int(row["judged"]), level)
        nothing = row["nothing_happened"] == row["predicted"]
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
                "interval_level": level,
                "verdict": NOTHING if nothing else verdict(found, nominal),
                "distinct_inputs": int(row["distinct_inputs"]),
                "nothing_happened": int(row["nothing_happened"]),
                "is_total": bool(row["is_total"]),
                "place": (not row["is_total"], order[row["metric"]], nominal),
            }
        )
    judged_rows.sort(key=lambda row: row["place"])
    return pd.DataFrame(judged_rows).drop(columns="place", errors="ignore")


def _exact(happened: int, of: int, level: float) -> Interval | None:
    if not of:
        return None
    found = stats.binomtest(happened, of).proportion_ci(level, method="exact")
    return Interval(happened / of, float(found.low), float(found.high), of)


def deciding(table: pd.DataFrame) -> pd.DataFrame:
    """Return the row that decides each promise: all runs', or of a planner that breaks what all runs together do not.

    Of several such planners it is the one that falls shortest. `table`: what `judged` returns.
    """
    if table.empty:
        return table
    rows = []
    for _, alike in table.groupby(["metric", "sla"], sort=False):
        whole, others = alike[alike["is_total"]], alike[~alike["is_total"] & (alike["verdict"] == "broken")]
        hides = len(others) > 0 and (whole["verdict"] != "broken").all()
        rows.append(others.nsmallest(1, "coverage") if hides else whole)
    found = pd.concat(rows)
    return found[found["verdict"] != NOTHING]


def percentile(value: float) -> str:
    """Return 'p90', 'p99.9'."""
    return f"p{value:g}"


def impact(runs: pd.DataFrame, metrics: Iterable[str] = tuple(IMPACTS)) -> Impact | None:
    """Compare the highest with the lowest percentile that has runs enough, None where there are not two.

    `runs`: the columns of `matching.RUNS` and of `ASKED`. Only a plan that predicts can heed an SLA: other runs are left
    out. Memory is not held equal: choosing it is how a planner heeds its SLA.
    """
    chosen = runs[runs["is_planned"].eq(True)].assign(memory_mb=None)
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
    return Impact(low, high, matched, {name: compare(matched, name) for name in metrics})


def _without_own_tags(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs without tags of many values, such as a scale drawn at random: by those too few pair up."""
    tags = tag_dicts(runs)
    own = {
        name
        for name in tag_names(runs)
        if len({found.get(name) for found in tags}) > max(MINIMUM_RUNS, len(runs) // MANY)
    }
    kept = [{name: value for name, value in found.items() if name not in own} for found in tags]
    return runs.assign(tags=pd.Series(kept, index=runs.index, dtype=object))


def _told(matched: Matched, runs: pd.DataFrame) -> Matched:
    """Return what was matched with what is free told of all tags, without those that only repeat the SLA.

    A planner that no block mixes is held equal, whichever column says so.
    """
    blocks = matched.blocks
    own = runs.loc[blocks.index]
    columns: dict[str, pd.Series[Any]] = {name: blocks[name] for name in ("planner", "environment")}
    columns |= {f"tag {tag}": tag_values(own, tag) for tag in tag_names(own)}
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
    who, without = asked(evidence), unplanned(evidence)
    promised = evidence.frame(PROMISES, predictor=who)
    if without.is_all and promised.empty:
        return not_enough(
            f"{without.sentence} An SLA needs a prediction to promise, and none is on record yet.", EVALUATE
        )
    counts, table = (
        evidence.record(COUNTS),
        judged(promised if who == ENGINE else promised[promised["is_total"].astype(bool)]),
    )
    runs = evidence.frame(RUNS).merge(evidence.frame(ASKED), on="run_id")
    found = impact(runs) if len(runs) else None
    rows = deciding(table)
    total = table[table["is_total"]] if len(table) else table
    verdicts = set(rows["verdict"]) if len(rows) else set()
    status: Status = "mixed"
    if not verdicts & {"kept", "broken"}:
        status = "not enough data"
    elif verdicts == {"kept"}:
        status = "holds"
    elif "kept" not in verdicts:
        status = "does not hold"
    answered = status != "not enough data"
    sentence = (
        _sentence(rows, who) if answered else _undecided(counts, rows, total, int((~runs["is_planned"].eq(True)).sum()))
    )
    return Answer(
        status,
        f"{sentence} {_impact(found)}." if found else sentence,
        _runs(total, who),
        "runs",
        _effect(found),
        _left_out(counts, total, found, who, without) if counts["runs"] else "",
        table.drop(columns="is_total", errors="ignore"),
        (*_promise_figure(rows), *_impact_figure(found)),
        _caveats(counts, total, found, who) if answered else (),
        _would_change(rows, found, who) if answered else MORE,
    )


def _runs(total: pd.DataFrame, who: str) -> int:
    """Count the runs: a plan has one SLA, of other predictors every run has all percentiles."""
    each = total["runs"].groupby(total["sla"]).max() if len(total) else pd.Series(dtype=int)
    return int(each.sum() if who == ENGINE else each.max())


def _undecided(counts: dict[str, Any], rows: pd.DataFrame, total: pd.DataFrame, unplanned: int) -> str:
    parts = []
    if len(rows):
        text = f"None of {count(len(rows), 'promise')} can be called kept or broken"
        few = int((rows["verdict"] == "too few").sum())
        if few:
            parts.append(f"{few:,} {'rests' if few == 1 else 'rest'} on fewer than {MINIMUM_RUNS} runs")
        if few < len(rows):
            parts.append(f"of {len(rows) - few:,} the interval holds what was promised")
    elif len(total):
        text = f"Of {count(counts['runs'], 'run')} none puts a promise to the test: all that plans predict at a percentile is 0, and 0 happened"
    else:
        text = f"Of {count(counts['runs'], 'run')} none has a plan that predicts it at a percentile"
        if counts["average"]:
            parts.append(f"{counts['average']:,} asked for 'average', which promises nothing")
        if unplanned:
            parts.append(f"no prediction is on record for {unplanned:,}, as for any run without history")
    return f"{text}: {'; '.join(parts)}." if parts else f"{text}."


def _sentence(rows: pd.DataFrame, who: str = ENGINE) -> str:
    numbers = {name: int((rows["verdict"] == name).sum()) for name in ("kept", "broken", "undecided", "too few")}
    hidden = rows[(rows["verdict"] == "broken") & ~rows["is_total"]]
    told = [f"{numbers['kept']:,} kept"] if numbers["kept"] else []
    if len(hidden):
        names = [plain(name, 40) for name in hidden["planner"].unique()]
        more = f" or {count(len(names) - 2, 'other')}" if len(names) > 2 else ""
        told.insert(0, f"{len(hidden):,} of them seen only for planner {' or '.join(names[:2])}{more} alone")
    if open_ := numbers["undecided"] + numbers["too few"]:
        told.append(f"{open_:,} undecided")
    lead = _lead(rows)
    of = "" if lead["is_total"] else f" of {plain(lead['planner'], 40)}"
    whose = (
        ""
        if who == ENGINE
        else f"No run here was planned, so no SLA changed any; of what {called(who)} promised of runs, "
    )
    return (
        f"{whose}**{numbers['broken']:,} of {count(len(rows), 'promise')}** (a metric at a percentile) "
        f"{'is' if numbers['broken'] == 1 else 'are'} broken{', ' if told else ''}{', '.join(told)}; "
        f"{percent(lead['coverage'])} of {count(lead['runs'], 'run')}{of} {'planned' if who == ENGINE else 'predicted'} at {lead['sla']} stayed within the predicted "
        f"{lead['metric']} (promised: {percent(lead['nominal'])})."
    )


def _lead(rows: pd.DataFrame) -> dict[str, Any]:
    """Return the promise to name: makespan at the highest percentile, else the one that falls shortest."""
    enough = _records(rows[rows["verdict"] != "too few"])
    makespan = [row for row in enough if row["metric"] == NAMES["makespan"]]
    if makespan:
        return max(makespan, key=lambda row: float(row["nominal"]))
    return max(enough, key=lambda row: float(row["nominal"] - row["coverage"]))


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _impact(found: Impact) -> str:
    makespan, inputs = found.found["makespan_ms"].ratio, found.found["input_bytes"].ratio
    high, low = percentile(found.high), percentile(found.low)
    said = f"Planned at {high} instead of {low}, makespan is {phrases.times(makespan)}"
    if makespan is None:
        said = f"Too few runs at {high} and {low} can be compared to tell what that does to makespan"
    elif makespan.decision == "undecided":
        said = f"Whether planning at {high} instead of {low} changes makespan is undecided"
    elif makespan.decision == "no difference":
        said = f"Planned at {high} instead of {low}, makespan differs by less than 5 %"
    moved = [f"{IMPACTS[name]} {figure(result.ratio.value)} times" for name, result in found.found.items()
             if name not in ("makespan_ms", "input_bytes") and result.ratio and result.ratio.decision in ("lower", "higher")]  # fmt: skip
    also = f"; surely different: {', '.join(moved)}" if moved else ""
    unlike = inputs is not None and inputs.decision in ("lower", "higher")
    but = f"; inputs at {high} were {figure(inputs.value)} times as large" if inputs and unlike else ""
    return f"{said}{also}{but}"


def _effect(found: Impact | None) -> Effect | None:
    if found is None:
        return None
    name = f"makespan, planned at {percentile(found.high)} against {percentile(found.low)}"
    return phrases.effect(name, found.found["makespan_ms"].ratio)


def _left_out(counts: dict[str, Any], total: pd.DataFrame, found: Impact | None, who: str, without: Unplanned) -> str:
    parts = []
    if who == ENGINE:
        theirs = f", {without.runs:,} of them of {without.named}, where nothing is planned" if without.runs else ""
        parts.append(f"{count(counts['without_sla'], 'run')} without an SLA on record{theirs}")
    if counts["average"]:
        parts.append(f"{counts['average']:,} at 'average', which promises nothing")
    parts.append(f"incomplete runs ({counts['incomplete']:,}), whose sums are not known")
    if nothing := int(total["nothing_happened"].sum()) if len(total) else 0:
        parts.append(f"{count(nothing, 'prediction')} of 0 where nothing happened")
    text = f"Of {count(counts['runs'], 'run')}: {'; '.join(parts)}."
    if found:
        makespan = found.found["makespan_ms"]
        text += (
            f" The comparison of SLAs leaves out {count(found.matched.unmatched, 'run')} of its two SLAs without a counterpart and "
            f"{makespan.incomplete:,} incomplete."
        )
    return text


def _caveats(counts: dict[str, Any], total: pd.DataFrame, found: Impact | None, who: str) -> tuple[str, ...]:
    fewest = min(_records(total), key=lambda row: float(row["distinct_inputs"] / max(row["runs"], 1)))
    caveats = [
        "A promise is kept where the 95 % interval of the share lies at or above the percentile and no planner breaks it, "
        f"broken where it or that of a planner lies below, with {MINIMUM_RUNS} runs or more. The intervals of a promise's "
        "planners hold 95 % together (exact, at interval_level): of promises exactly met they call one in forty broken by chance "
        "at most, that of all runs (Wilson's) about as many, and more where few runs are at a percentile near 100.",
        "This is coverage of what was predicted. 'SLA fulfilment' of the engine's own dashboard is another notion (at or below "
        "that percentile of earlier runs), found as history_fulfilment in `sla_coverage`.",
    ]
    if who == ENGINE:
        caveats += [
            "The promise of transfers is upside down: a high percentile of speeds picks a fast transfer, hence too short a time for "
            "download and upload, and makespan inherits it.",
            "Makespan is one prediction; the other times are sums of each task's percentile, which above the median covers a "
            "sum more often than the percentile says.",
            "Pre-loaded inputs lose their download time: downloads of planners with optimisations look shorter, hence within.",
        ]
    else:
        caveats.append(
            "Percentiles were predicted by `flowscope evaluate` from earlier runs alone, after the fact: no run was steered by them. The "
            "Predictors page shows the coverage of every predictor."
        )
    if fewest["distinct_inputs"] < fewest["runs"]:
        caveats.append(
            f"Runs count as independent, but inputs repeat: {count(fewest['runs'], 'run')} at {fewest['sla']} had "
            f"{count(fewest['distinct_inputs'], 'different input')}, so intervals are somewhat too narrow."
        )
    if counts["without_sla"] and who == ENGINE:
        said = f", though the tag {plain(counts['asked_by'], 30)} says what was asked of {counts['asked_for']:,}" if counts["asked_for"] else ""  # fmt: skip
        caveats.append(
            f"{count(counts['without_sla'], 'run')} {'has' if counts['without_sla'] == 1 else 'have'} no SLA on record{said}: "
            "a run without history is not planned, and a client that gave up leaves no plan."
        )
    if found:
        caveats.append(f"The SLAs' runs: {phrases.rests_on(found.matched)}. {_inputs(found)}")
        caveats.append("Runs without a plan that predicts cannot heed an SLA and are not in the comparison of SLAs.")
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


def _would_change(rows: pd.DataFrame, found: Impact | None, who: str) -> str:
    parts = []
    if open_ := int(rows["verdict"].isin(["undecided", "too few"]).sum()):
        parts.append(f"More runs for the {count(open_, 'promise')} not decided")
    makespan = found.found["makespan_ms"] if found else None
    if makespan and makespan.ratio and makespan.ratio.decision == "undecided":
        needed, what = makespan.ratio.needed(), "pairs" if makespan.way == "paired" else "runs"
        about = f" (for makespan about {needed:,} {what} in all would decide)" if needed else ""
        parts.append(f"runs with the same input at both SLAs, which pair up{about}")
    parts.append(
        "a planner that calibrates its percentiles and turns them round for transfers"
        if who == ENGINE
        else "more runs of the same kind to learn from"
    )
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _promise_figure(rows: pd.DataFrame) -> tuple[Figure, ...]:
    known = rows.dropna(subset=["coverage"]) if len(rows) else rows
    if known.empty:
        return ()
    levels = sorted(known["nominal"].unique())
    kept = {levels[round(place)] for place in np.linspace(0, len(levels) - 1, min(MOST_DRAWN, len(levels)))}
    shown = known[known["nominal"].isin(kept)]
    of = shown["planner"].radd(", ").where(~shown["is_total"], "")
    drawn = shown.assign(label=shown["metric"] + " " + shown["sla"] + of, n=shown["runs"])
    text = "Share of runs that stayed within the prediction, a row per metric and percentile, with its 95 % interval and a tick at the share promised: "  # fmt: skip
    text += "; ".join(
        f"{row['label']} {percent(row['coverage'])} of runs, {row['verdict']}" for row in drawn.to_dict("records")
    )
    left = f" {len(levels) - len(kept):,} percentiles between are in the table only." if len(levels) > len(kept) else ""
    columns = ["label", "coverage", "low", "high", "nominal", "verdict", "n"]
    return (Figure(promises(drawn[columns]), f"{text}.{left}", "sla-promises"),)


def _impact_figure(found: Impact | None) -> tuple[Figure, ...]:
    rows = [result.row(IMPACTS[name]) for name, result in (found.found if found else {}).items() if result.ratio]
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
        f"{MINIMUM_RUNS} runs planned at a percentile; holds: every promise is kept, and no planner breaks it; does not hold: "
        "every promise that can be decided is broken; mixed: anything between",
        _f08,
    ),
)

"""Which predictor is best for each thing that is predicted: all of them judged on the same rows as the engine's plans."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from app.charts import intervals
from app.findings import phrases
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Figure, Question, not_enough
from app.findings.medians import BIN, BLOCKS, EXACT, Medians, medians
from app.findings.statistics import MINIMUM_RUNS, Interval, clustered_ratio
from app.findings.unplanned import Unplanned, unplanned
from app.predicted import ENGINE, RULE, SIMPLE, TARGETS, Target, called, in_order, knows_more, shown
from app.units import count, percent

STANDS = 0.5
"""A predictor that predicted fewer of the plans' rows than this share is left out: all are judged on the rows of all."""

MOST_NAMED = 3
HINT = "flowscope evaluate: it predicts every run from earlier ones, by the engine's rule, simple rivals and the model."

WHOSE = {ENGINE: "the engine's plans", RULE: "the engine's rule"}
"""Whom the columns `to_engine` compare with: the plans, where there are none the rule, replayed."""

ERRORS = """
-- How far predictors are off, on the rows that the plans and all of them predicted ($plans: there are plans; without any, on
-- the rows that all of them predicted): one row per thing predicted, predictor, block of runs and bin of errors. Predictors are taken at their median (P50), plans as they are, whatever their SLA (is_p50:
-- those that aimed at the median too). A predictor of fewer than $stands of the plans' rows (of the most) does not stand.
with judged as (
    select
        level, metric, predictor, run_id,
        case level when 'task' then task_id when 'invocation' then invocation_id else '' end as thing,
        sla_percentile, relative_error
    from prediction_errors
    semi join selected_runs on prediction_errors.run_id = selected_runs.run_id
    where isfinite(relative_error) and (predictor = 'engine' or sla_percentile = 50)
),

planned as (
    select
        judged.*,
        engine.run_id is not null and engine.sla_percentile is not distinct from 50 as is_p50
    from judged
    left join judged as engine
        on judged.level = engine.level and judged.metric = engine.metric and judged.run_id = engine.run_id
        and judged.thing = engine.thing and engine.predictor = 'engine'
    where engine.run_id is not null or not $plans
),

counted as (
    select level, metric, predictor, count(*) as n from planned group by level, metric, predictor
),

standing as (
    select level, metric, predictor, count(*) over (partition by level, metric) as beside
    from (select *, max(n) over (partition by level, metric) as plans from counted) as beside_plans
    where n >= $stands * plans
),

met as (
    select
        planned.*, standing.beside,
        count(*) over (partition by planned.level, planned.metric, planned.run_id, planned.thing) as present
    from planned
    inner join standing
        on planned.level = standing.level and planned.metric = standing.metric and planned.predictor = standing.predictor
    where standing.beside > 1
),

common as (
    select * from met where present = beside
),

blocks as (
    select run_id, (row_number() over (order by md5(run_id)) - 1) % $blocks as block
    from (select distinct run_id from common) as runs
),

totals as (
    select
        level, metric, predictor,
        count(*) as rows_judged,
        count(distinct run_id) as runs,
        median(relative_error) as median_relative_error,
        count(*) filter (where is_p50) as rows_p50,
        count(distinct run_id) filter (where is_p50) as runs_p50,
        median(relative_error) filter (where is_p50) as median_relative_error_p50
    from common
    group by level, metric, predictor
)

select
    common.level, common.metric, common.predictor, is_p50, block,
    floor(ln(greatest(relative_error, $exact)) / $width)::bigint as bin,
    count(*) as n,
    any_value(totals.rows_judged) as rows_judged,
    any_value(totals.runs) as runs,
    any_value(totals.median_relative_error) as median_relative_error,
    any_value(totals.rows_p50) as rows_p50,
    any_value(totals.runs_p50) as runs_p50,
    any_value(totals.median_relative_error_p50) as median_relative_error_p50
from common
inner join blocks on common.run_id = blocks.run_id
inner join totals
    on common.level = totals.level and common.metric = totals.metric and common.predictor = totals.predictor
group by common.level, common.metric, common.predictor, is_p50, block, bin
order by common.level, common.metric, common.predictor, is_p50, block, bin
"""

CHANCES = """
-- Cold or warm: the square of how far the chance given to a cold start was from what happened, added up per run, on the
-- starts that the plans and all predictors predicted.
with judged as (
    select predictor, run_id, invocation_id, any_value((predicted - actual) * (predicted - actual)) as squared
    from prediction_errors
    semi join selected_runs on prediction_errors.run_id = selected_runs.run_id
    where level = 'invocation' and metric = 'state' and predicted is not null and actual is not null
    group by predictor, run_id, invocation_id
),

met as (
    select
        *,
        count(*) over (partition by run_id, invocation_id) as present,
        (select count(distinct predictor) from judged) as beside
    from judged
)

select predictor, run_id, count(*) as n, sum(squared) as squared
from met
where present = beside and beside > 1
group by predictor, run_id
order by predictor, run_id
"""

PREDICTORS = """
-- Who predicted what, at the median: the plans, and the others.
select predictor, count(distinct run_id) as runs, count(relative_error) as predictions
from prediction_errors
semi join selected_runs on prediction_errors.run_id = selected_runs.run_id
where predictor = 'engine' or sla_percentile = 50
group by predictor
order by predictor
"""

FLOOR = """
-- How far near-identical executions are apart, over all runs that were evaluated: no predictor gets below it.
select level, metric, max(floor_relative_error) as floor_relative_error
from predictor_scores
where group_by = 'all' and floor_relative_error is not null and exists (select 1 from selected_runs)
group by level, metric
order by level, metric
"""


def leaderboard(errors: pd.DataFrame, chances: pd.DataFrame, reference: str = ENGINE) -> pd.DataFrame:
    """Return a row per thing predicted and predictor: its error, and that as a multiple of the plans' and of the best simple rival's.

    `reference`: who stands in the columns `to_engine`, a name of `WHOSE`.

    `errors` and `chances`: what `ERRORS` and `CHANCES` return. Ratios' intervals hold 95 % for all things together
    (Bonferroni), those of errors 95 % each.
    """
    groups = {
        (str(level), str(metric)): rows for (level, metric), rows in errors.groupby(["level", "metric"], sort=False)
    }
    there = [one for one in TARGETS if (one.level, one.metric) in groups or (one.is_chance and len(chances))]
    level = 1 - 0.05 / max(1, len(there))
    found: list[dict[str, Any]] = []
    for one in there:
        found += (
            _by_chance(one, chances, level, reference)
            if one.is_chance
            else _by_error(one, groups[one.level, one.metric], level, reference)
        )
    return pd.DataFrame(found)


def best_of(rows: pd.DataFrame) -> str:
    """Return the predictor with the smallest error of those that are told nothing beforehand."""
    fair = rows[[not knows_more(name) for name in rows["predictor"]]]
    return str(fair.sort_values("error", kind="stable")["predictor"].iloc[0])


def _by_error(one: Target, rows: pd.DataFrame, level: float, reference: str) -> list[dict[str, Any]]:
    totals = rows.groupby("predictor").first()
    seen = {str(name): float(value) for name, value in totals["median_relative_error"].items()}
    found = medians(rows, seen, int(totals["runs"].max()))
    at_p50 = rows[rows["is_p50"].astype(bool)]
    seen_p50 = {str(name): float(value) for name, value in totals["median_relative_error_p50"].dropna().items()}
    found_p50 = medians(at_p50, seen_p50, int(totals["runs_p50"].max())) if len(at_p50) else None
    simple = _best_simple(seen)
    return [
        {
            **_named(one, name),
            "n": int(totals["rows_judged"].max()),
            "runs": found.runs,
            "error_is": "median relative error",
            "error": seen[name],
            **_ends("error", found.interval(name)),
            **_against("engine", found, name, reference, level),
            **_against("engine_p50", found_p50, name, ENGINE, level),
            "n_p50": int(totals["rows_p50"].max()),
            **_against("simple", found, name, simple if name not in (*SIMPLE, reference) else None, level),
            "interval_level": level,
        }
        for name in in_order(set(seen))
    ]


def _by_chance(one: Target, rows: pd.DataFrame, level: float, reference: str) -> list[dict[str, Any]]:
    squared = rows.pivot_table(index="run_id", columns="predictor", values="squared", observed=True)
    starts = rows.drop_duplicates("run_id").set_index("run_id")["n"]
    seen = {str(name): float(squared[name].sum() / starts.sum()) for name in squared}
    simple = _best_simple(seen)

    def ratio(name: str, beside: str | None) -> Interval | None:
        if beside is None or beside not in squared or name == beside:
            return None
        return clustered_ratio(list(squared[name]), list(squared[beside]), level)

    return [
        {
            **_named(one, name),
            "n": int(starts.sum()),
            "runs": len(starts),
            "error_is": "Brier score",
            "error": seen[name],
            **_ends("error", clustered_ratio(list(squared[name]), list(starts.reindex(squared.index)))),
            **_compared("engine", ratio(name, reference)),
            **_compared("engine_p50", None),
            "n_p50": 0,
            **_compared("simple", ratio(name, simple if name not in (*SIMPLE, reference) else None)),
            "interval_level": level,
        }
        for name in in_order(set(seen))
    ]


def _named(one: Target, predictor: str) -> dict[str, Any]:
    return {"target": one.name, "level": one.level, "metric": one.metric, "predictor": predictor}


def _best_simple(seen: dict[str, float]) -> str | None:
    simple = {name: value for name, value in seen.items() if name in SIMPLE}
    return min(simple, key=simple.__getitem__) if simple else None


def _ends(name: str, found: Interval | None) -> dict[str, Any]:
    return {f"{name}_low": found.low if found else None, f"{name}_high": found.high if found else None}


def _against(name: str, found: Medians | None, predictor: str, reference: str | None, level: float) -> dict[str, Any]:
    there = found is not None and reference in found.seen and predictor in found.seen and predictor != reference
    return _compared(name, found.ratio(predictor, reference, level) if there and found and reference else None)


def _compared(name: str, found: Interval | None) -> dict[str, Any]:
    verdict = {"lower": "closer", "higher": "further off"}.get(found.decision, found.decision) if found else None
    return {f"to_{name}": found.value if found else None, **_ends(f"to_{name}", found), f"against_{name}": verdict}


def _f15(evidence: Evidence) -> Answer:
    seen = evidence.frame(PREDICTORS)
    rivals = [str(name) for name in seen["predictor"] if name != ENGINE]
    without, has_plans = unplanned(evidence), ENGINE in set(seen["predictor"])
    if not rivals:
        said = f"{without.sentence} No predictor has been evaluated either." if without.is_all else _alone(seen)
        return not_enough(said, HINT, n=int(seen["predictions"].sum()), counted="predictions")
    reference = ENGINE if has_plans else RULE
    errors = evidence.frame(ERRORS, stands=STANDS, blocks=BLOCKS, exact=EXACT, width=BIN, plans=has_plans)
    table = leaderboard(errors, evidence.frame(CHANCES), reference)
    judged = table[table["runs"] >= MINIMUM_RUNS] if len(table) else table
    if judged.empty and not has_plans:
        return not_enough(
            f"{_no_plans(without)} {count(len(rivals), 'predictor')} left predictions, but of no thing predicted did two predict "
            f"the same {MINIMUM_RUNS} runs.",
            HINT, n=int(seen["predictions"].sum()), counted="predictions",
        )  # fmt: skip
    if judged.empty:
        named = ", ".join(called(name) for name in in_order(set(rivals))[:MOST_NAMED])
        return not_enough(
            f"{count(len(rivals), 'predictor')} beside the engine's plans left predictions ({named}), but of no thing predicted "
            f"{MINIMUM_RUNS} runs were predicted by the plans too: on other rows nothing is compared.",
            HINT, n=int(seen["predictions"].sum()), counted="predictions",
        )  # fmt: skip
    winners = _winners(judged, reference)
    return Answer(
        "answered",
        _sentence(winners) if has_plans else f"No run here was planned. {_unplanned_sentence(winners)}",
        int(judged.groupby("target")["n"].max().sum()),
        f"predictions{' of the plans' if has_plans else ''}, each judged beside all predictors",
        _effect(winners, errors, reference),
        _left_out(seen, judged, without, reference),
        table,
        _figures(winners, reference),
        _caveats(judged, winners, evidence.frame(FLOOR), reference),
        "Other workloads, a model trained on more, or runs planned at p50: only with those is a median compared with a median."
        if has_plans
        else "Other workloads, longer histories, or a model trained on more.",
    )


def _alone(seen: pd.DataFrame) -> str:
    if seen.empty:
        return "No prediction is in this selection: runs without history make no plan, and no other predictor has been evaluated."
    return "The engine's recorded plan is the only predictor in this selection: there is nothing to compare it with."


def _no_plans(without: Unplanned) -> str:
    return without.sentence if without.is_all else "No run of this selection has a plan with predictions."


def _winners(judged: pd.DataFrame, reference: str) -> list[dict[str, Any]]:
    """Return the row of the best predictor of each thing, with the reference's error and the name of the best simple rival."""
    found = []
    for _, rows in judged.groupby("target", sort=False):
        by_name = rows.set_index("predictor")
        best = best_of(rows)
        simple = _best_simple({str(name): float(value) for name, value in by_name["error"].items()})
        row = {str(name): value for name, value in rows[rows["predictor"] == best].iloc[0].items()}
        found.append({**row, "engine_error": float(by_name["error"].get(reference, np.nan)), "simple": simple})
    return found


def _sentence(winners: list[dict[str, Any]]) -> str:
    closer = [row for row in winners if row["against_engine"] == "closer"]
    parts = []
    if closer:
        named = "; ".join(_beats(row) for row in sorted(closer, key=_order)[:MOST_NAMED])
        more = len(closer) - MOST_NAMED
        parts.append(
            f"On the same rows the best predictor is **surely closer than the engine's plans for {len(closer):,} of "
            f"{count(len(winners), 'thing')} predicted**: {named}{f'; and {more:,} more' if more > 0 else ''}."
        )
    else:
        parts.append(
            f"On the same rows **no predictor is surely closer than the engine's plans** for any of {count(len(winners), 'thing')} predicted."
        )
    fair = [row for row in winners if _is_told(row["against_engine_p50"])]
    if closer and fair:
        sure = sum(row["against_engine_p50"] == "closer" for row in fair)
        parts.append(
            f"Against plans at p50 alone, which aim at the median too, it is so for {sure:,} of {len(fair):,}."
        )
    own = [row["target"] for row in winners if row["predictor"] == ENGINE]
    if own:
        parts.append(f"The plans themselves are closest for {_listed(own)}.")
    open_ = [row["target"] for row in winners if row["against_engine"] in ("undecided", "no difference")]
    if open_:
        parts.append(f"Not surely closer, though closest: {_listed(open_)}.")
    return " ".join([*parts, *_models_and_rivals(winners)])


def _unplanned_sentence(winners: list[dict[str, Any]]) -> str:
    """Say who is closest where nobody planned, and where that surely beats the engine's rule."""
    ordered = sorted(winners, key=_order)
    named = "; ".join(
        f"{row['target']} {_error(row['error'], row)}{'' if row['error_is'] == 'Brier score' else ' off'}, by {called(row['predictor'])}"
        for row in ordered[:MOST_NAMED]
    )
    more = len(ordered) - MOST_NAMED
    parts = [f"Closest of what was evaluated, on the same rows: {named}{f'; and {more:,} more' if more > 0 else ''}."]
    beside = [row for row in winners if row["engine_error"] == row["engine_error"]]
    closer = [row for row in beside if row["against_engine"] == "closer"]
    if beside:
        parts.append(
            f"**Surely closer than the engine's rule, replayed, for {len(closer):,} of {count(len(beside), 'thing')}** that it predicts too"
            f"{f': {_beats(sorted(closer, key=_order)[0])}' if closer else ''}."
        )
    return " ".join([*parts, *_models_and_rivals(winners)])


def _models_and_rivals(winners: list[dict[str, Any]]) -> list[str]:
    """Say where a model is best and surely so, and where a simple rival is."""
    parts = []
    models = [row for row in winners if _is_told(row["against_simple"])]
    if models:
        sure = sum(row["against_simple"] == "closer" for row in models)
        parts.append(f"Where a model is best it surely beats the best simple rival for {sure:,} of {len(models):,}.")
    simple = [row["target"] for row in winners if row["predictor"] in SIMPLE]
    if simple:
        parts.append(f"A simple rival is best for {_listed(simple)}.")
    return parts


def _is_told(verdict: Any) -> bool:
    return isinstance(verdict, str)


def _order(row: dict[str, Any]) -> int:
    """Place what a plan is made of before the sums of runs, single tasks first."""
    first = (
        "execution of a task",
        "start-up of a worker",
        "download of a task",
        "upload of a task",
        "makespan of a run",
    )
    names = [*first, *(one.name for one in TARGETS if one.name not in first)]
    return names.index(row["target"])


def _beats(row: dict[str, Any]) -> str:
    return (
        f"{row['target']} {_error(row['error'], row)} off against {_error(row['engine_error'], row)}, "
        f"{phrases.times(_interval(row, 'engine'), row['interval_level'])}, by {called(row['predictor'])}"
    )


def _error(value: float, row: dict[str, Any]) -> str:
    return f"{value:.3f}" if row["error_is"] == "Brier score" else percent(value)


def _interval(row: dict[str, Any], name: str) -> Interval | None:
    value = row[f"to_{name}"]
    if value is None or value != value:
        return None
    return Interval(float(value), float(row[f"to_{name}_low"]), float(row[f"to_{name}_high"]), int(row["runs"]))


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _effect(winners: list[dict[str, Any]], errors: pd.DataFrame, reference: str) -> Any:
    """Return the ratio of the first thing that has one, with an interval of 95 % of its own."""
    row = next(
        (
            row
            for row in sorted(winners, key=_order)
            if _is_told(row["against_engine"]) and row["error_is"] != "Brier score"
        ),
        None,
    )
    if row is None:
        return None
    rows = errors[(errors["level"] == row["level"]) & (errors["metric"] == row["metric"])]
    seen = {
        str(name): float(value) for name, value in rows.groupby("predictor")["median_relative_error"].first().items()
    }
    found = medians(rows, seen, int(row["runs"])).ratio(row["predictor"], reference)
    return phrases.effect(
        f"{row['target']}: median relative error of {shown(row['predictor'])} against that of {WHOSE[reference]}", found
    )


def _left_out(seen: pd.DataFrame, judged: pd.DataFrame, without: Unplanned, reference: str) -> str:
    predicted = {str(name): int(n) for name, n in zip(seen["predictor"], seen["predictions"], strict=True)}
    missing = [name for name in predicted if name not in set(judged["predictor"])]
    parts = [
        "rows that the plans did not predict, or one of the predictors compared (the first run of a history has no plan), and "
        "those where nothing happened"
    ]
    if reference != ENGINE:
        parts = ["rows that one of the predictors compared did not predict, and those where nothing happened"]
    elif without.runs:
        parts.append(f"{count(without.runs, 'run')} of {without.named}, where nothing is planned")
    if missing:
        named = ", ".join(called(name) for name in in_order(set(missing))[:MOST_NAMED])
        of = "the plans' rows" if reference == ENGINE else "the rows of the one that predicted most"
        parts.append(f"{named}, with fewer than {percent(STANDS)} of {of}")
    return f"{'; '.join(parts)[0].upper()}{'; '.join(parts)[1:]}."


def _caveats(
    judged: pd.DataFrame, winners: list[dict[str, Any]], floor: pd.DataFrame, reference: str
) -> tuple[str, ...]:
    level = float(judged["interval_level"].iloc[0])
    caveats = [
        "Predictors are judged at their median (P50) against the plans as recorded, whatever SLA they were made for. A plan for a "
        "high percentile aims high on purpose, so a median beats it easily: the columns `to_engine_p50` hold plans at p50 alone."
        if reference == ENGINE
        else "Predictors are judged at their median (P50). There are no plans: the columns `to_engine` compare with the engine's rule, "
        "replayed, where it predicts.",
        "Every predictor learns from earlier runs alone, as the engine did, and is judged on exactly the same rows."
        if reference == ENGINE
        else "Every predictor learns from earlier runs alone and is judged on exactly the same rows.",
        f"Intervals resample runs. Those of the ratios hold {percent(level)} each, so that all of a kind hold together with 95 %. "
        "That the best was chosen on the rows it is judged on is not allowed for: of predictors that are nearly as good, one is ahead by luck.",
    ]
    if reference == ENGINE:
        caveats.append("Sizes of inputs and outputs are those foreseen at planning, for predictors as for plans.")
    known = [
        f"{one.name} {percent(value)}"
        for one in TARGETS
        for value in floor[(floor["level"] == one.level) & (floor["metric"] == one.metric)]["floor_relative_error"]
    ]
    if known:
        caveats.append(
            f"Near-identical executions differ by themselves, which no predictor gets below: {', '.join(known)} at the median, over all runs evaluated."
        )
    if any(knows_more(name) for name in judged["predictor"]):
        caveats.append(
            "A predictor that is told the state of a start shows what knowing it would bring; it is never called best."
        )
    if any(row["error"] <= EXACT for row in winners):
        caveats.append("Where half of the predictions are exact a ratio of errors has no meaning, and none is given.")
    return tuple(caveats)


def _figures(winners: list[dict[str, Any]], reference: str) -> tuple[Figure, ...]:
    short = "the plans" if reference == ENGINE else "the rule"
    return (
        *_forest(winners, "engine", WHOSE[reference], f"Error / that of {short} (ratio)", "predictors-against-plans"),
        *_forest(
            winners,
            "simple",
            "the best simple rival",
            "Error / best simple rival's (ratio)",
            "predictors-against-simple",
        ),
    )


def _forest(winners: list[dict[str, Any]], name: str, whose: str, axis: str, file: str) -> Iterable[Figure]:
    rows = [row for row in winners if _interval(row, name)]
    if not rows:
        return
    verdicts = {"closer": "lower", "further off": "higher"}
    frame = pd.DataFrame(
        {
            "label": [row["target"] for row in rows],
            "value": [row[f"to_{name}"] for row in rows],
            "low": [row[f"to_{name}_low"] for row in rows],
            "high": [row[f"to_{name}_high"] for row in rows],
            "decision": [verdicts.get(row[f"against_{name}"], row[f"against_{name}"]) for row in rows],
            "n": [row["n"] for row in rows],
        }
    ).replace({np.nan: None})
    told = "; ".join(
        f"{row['target']} {row[f'to_{name}']:.2f} ({row[f'to_{name}_low']:.2f} to {row[f'to_{name}_high']:.2f}, {row[f'against_{name}']})"
        for row in rows
    )
    yield Figure(intervals(frame, axis), f"Error of the best predictor as a multiple of that of {whose}: {told}.", file)


QUESTIONS = (
    Question(
        "F15",
        "Which predictor is best for each metric, and by how much does it beat the engine's rule?",
        "predictors",
        f"{MINIMUM_RUNS} runs that the engine's plans and another predictor predicted; where nobody planned, that two predictors did",
        _f15,
    ),
)

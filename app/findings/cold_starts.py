"""How often workers start cold, what that costs in time and money, and what pre-warming saves."""

from __future__ import annotations

from typing import Any

import pandas as pd

from app.charts.startup import STATES, cold_and_warm, shares
from app.findings import phrases
from app.findings.cold_start_costs import (
    BY_GROUP,
    GROUP,
    LEAST_STARTS,
    PREWARMS,
    Cost,
    before_and_after,
    cold_share,
    cost,
    prewarmed,
    said,
)
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Effect, Figure, Question, not_enough
from app.findings.statistics import MINIMUM_RUNS
from app.findings.strays import strays
from app.plain import label, labels
from app.units import count, duration, known, percent

MOST_DRAWN = 16
"""Groups that are drawn, those with most starts; the table holds all."""

BY_RUN = """
-- Each run's starts by engine, environment and memory: how many were cold, warm and unknown, and the median start-up of
-- its cold and of its warm ones.
select
    cold_starts.run_id,
    cold_starts.engine,
    cold_starts.environment,
    cold_starts.memory_mb,
    count(*) filter (where state = 'cold') as cold,
    count(*) filter (where state = 'warm') as warm,
    count(*) filter (where state = 'unknown') as unknown,
    median(cold_starts.startup_ms) filter (where state = 'cold') as cold_ms,
    median(cold_starts.startup_ms) filter (where state = 'warm') as warm_ms
from cold_starts
inner join selected_runs on cold_starts.run_id = selected_runs.run_id
group by cold_starts.run_id, cold_starts.engine, cold_starts.environment, cold_starts.memory_mb
order by cold_starts.run_id, cold_starts.engine, cold_starts.environment, cold_starts.memory_mb
"""

SOURCES = """
-- Where the states come from, how many runs record no worker at all, and how long all runs took together.
select
    count(*) filter (where state_source = 'reported') as reported,
    count(*) filter (where state_source = 'init') as init,
    count(*) filter (where state_source = 'container' and state <> 'unknown') as container,
    count(*) filter (where state_source = 'inferred' and state <> 'unknown') as inferred,
    count(*) filter (where state_source = 'never_ready') as never_ready,
    count(distinct selected_runs.run_id) filter (where cold_starts.run_id is null) as runs_without_workers,
    (select sum(makespan_ms) from selected_runs)::double as makespans_ms
from selected_runs
left join cold_starts on selected_runs.run_id = cold_starts.run_id
"""


def table(runs: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """Return all starts and those of each engine, environment and memory: shares, start-up, and what cold ones cost."""
    seconds = {
        "cold_median_s": "cold_ms", "warm_median_s": "warm_ms", "extra_s": "extra_ms", "extra_on_critical_path_s": "extra_on_path_ms",
    }  # fmt: skip
    rows = [_share_row(("(all)", "(all)", "(all)"), runs)]
    costs = {_key(row): row for row in groups.to_dict("records")}
    for _, group in runs.groupby(GROUP, dropna=False):
        first = {name: group[name].iloc[0] for name in GROUP}
        row = _share_row(_shown(first), group)
        found = costs.get(_key(first), {})
        row |= {name: found[column] / 1000 for name, column in seconds.items() if known(found.get(column))}
        row |= {name: found[name] for name in ("extra_gb_seconds", "extra_usd") if known(found.get(name))}
        rows.append(row)
    columns = list(dict.fromkeys([*rows[0], *seconds, "extra_gb_seconds", "extra_usd"]))
    whole = pd.DataFrame(rows, columns=columns)
    whole.loc[1:] = whole.loc[1:].sort_values("starts", ascending=False, kind="stable").to_numpy()
    return whole


def _share_row(names: tuple[str, str, str], runs: pd.DataFrame) -> dict[str, Any]:
    cold, warm, unknown = (int(runs[state].sum()) for state in ("cold", "warm", "unknown"))
    interval = cold_share(runs)
    return {
        **dict(zip(GROUP, names, strict=True)),
        "runs": int(runs["run_id"].nunique()),
        "starts": cold + warm + unknown,
        "cold": cold,
        "warm": warm,
        "unknown": unknown,
        "cold_share": cold / (cold + warm) if cold + warm else None,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
    }


def _key(row: dict[Any, Any]) -> tuple[Any, ...]:
    return tuple(None if pd.isna(row[name]) else row[name] for name in GROUP)


def _f10(evidence: Evidence) -> Answer:
    runs, sources = evidence.frame(BY_RUN), evidence.record(SOURCES)
    cold, warm, unknown = (int(runs[state].sum()) for state in ("cold", "warm", "unknown"))
    apart = strays(evidence)
    if not cold + warm:
        missing = f"Of {count(unknown, 'worker start')} of this selection none is known to be cold or warm" if unknown else "No run of this selection has a worker start on record"  # fmt: skip
        return not_enough(
            f"{missing}{f'; {apart} cannot be counted' if apart else ''}.",
            "Start records of workers with a state, an initialisation time or a container; or logs long enough to tell it from releases.",
            n=unknown, counted="starts",
        )  # fmt: skip
    groups, prewarms = evidence.frame(BY_GROUP, least=LEAST_STARTS), evidence.record(PREWARMS)
    costs, rows, interval = cost(runs, groups), table(runs, groups), cold_share(runs)
    name = "share of starts that are cold"
    shown = f" ({phrases.ends_of_share(interval)})" if interval else ""
    return Answer(
        "answered",
        f"**{percent(cold / (cold + warm))}** of {count(cold + warm, 'worker start was', 'worker starts were')} cold{shown}{said(costs, groups)}."
        f" {prewarmed(prewarms)}.",
        cold + warm, "starts",
        phrases.effect(name, interval, "share") or Effect(name, cold / (cold + warm), None, None, "share"),
        _left_out(sources, unknown, cold, costs, prewarms, apart), rows, _figures(rows, groups),
        _caveats(sources, costs, prewarms, before_and_after(evidence, runs)),
        _would_change(costs),
    )  # fmt: skip


def _left_out(
    sources: dict[str, Any], unknown: int, cold: int, costs: Cost, prewarms: dict[str, Any], apart: str
) -> str:
    parts = [
        f"{count(unknown, 'start')} of unknown state ({int(sources['never_ready']):,} never became ready) are in no share",
        f"{count(cold - costs.compared, 'cold start')} of groups with fewer than {LEAST_STARTS} cold or warm starts of known duration in no cost",
        f"{count(sources['runs_without_workers'], 'run')} without a record of workers",
    ]
    if costs.without_memory:
        parts.append(f"{count(costs.without_memory, 'cold start')} of unknown memory in no GB-seconds")
    if untold := int(prewarms["assigned"] - prewarms["told"]):
        parts.append(f"{count(untold, 'assigned pre-warm')} of which nothing tells whether they ran")
    return f"{'; '.join([*parts, apart] if apart else parts)}."


def _caveats(sources: dict[str, Any], costs: Cost, prewarms: dict[str, Any], compared: str) -> tuple[str, ...]:
    told = {"reported": "reported", "init": "from an initialisation time", "container": "from the container", "inferred": "inferred from releases"}  # fmt: skip
    states = ", ".join(f"{int(sources[name]):,} {words}" for name, words in told.items() if sources[name])
    caveats = [
        f"Where states come from: {states}."
        + (
            " Inferred ones can be wrong (`cold_start_inference_quality` says how often)."
            if sources["inferred"]
            else ""
        ),
        "A pre-warmed container reports warm, and start-up includes the time a request queues for a place: cold and warm starts "
        "come closer together where a machine is busy, and where warm ones took longer the extra is less than nothing.",
    ]
    if costs.compared:
        slower = f" Cold over warm, run medians within groups: {phrases.times(costs.slower)}." if costs.slower else ""
        path = ""
        if costs.adds_up and costs.on_path_ms is not None and costs.on_path_ms >= 0:
            makespans = float(sources["makespans_ms"] or 0)
            part = f", {percent(costs.on_path_ms / makespans)} of all makespans" if makespans > 0 else ""
            path = (
                f"; {duration(costs.on_path_ms)} of it are on critical paths{part}, which bounds what makespans would gain, for another path "
                "may then be the longest"
            )
        caveats.append(
            f"Extra time is what cold starts took beyond the mean warm start of the same engine, environment and memory{path}.{slower}"
        )
        caveats.append(
            f"USD: {'; '.join(costs.prices)}; of environments with a price only."
            if costs.prices
            else "No price is known for these environments; to give one, `flowscope ingest prices.jsonl` (docs/prices.md)."
        )
    if prewarms["applied"] + prewarms["applied_besides"]:
        caveats.append(
            "What pre-warming saved is an ESTIMATE: the median cold start of the same engine, environment and memory less the worker's own "
            "start-up. The worker might have been warm anyway, and what the pre-warmed container itself cost is recorded nowhere."
        )
    return tuple([*caveats, compared] if compared else caveats)


def _would_change(costs: Cost) -> str:
    parts = ["more runs at other loads, which fill and empty the pool of warm containers"]
    if costs.slower is None or costs.slower.decision == "undecided":
        parts.insert(0, "more runs with cold and warm starts of the same engine, environment and memory")
    if costs.usd is None:
        parts.append("a price per GB-second")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _figures(rows: pd.DataFrame, groups: pd.DataFrame) -> tuple[Figure, ...]:
    each = rows[1:].dropna(subset=["cold_share"])
    drawn = each.head(MOST_DRAWN).assign(size=pd.to_numeric(each["memory_mb"], errors="coerce"))
    drawn = drawn.sort_values(["environment", "size", "engine"], kind="stable")
    several = each["engine"].nunique() > 1
    names = [
        f"{row['environment']}, {row['memory_mb']} MB{', ' + row['engine'] if several else ''}"
        for row in drawn.to_dict("records")
    ]
    drawn = drawn.assign(
        label=list(labels(names, 44)), value=drawn["cold_share"].astype(float), n=drawn["cold"] + drawn["warm"]
    )
    left = (
        f" {count(len(each) - len(drawn), 'group')} with fewer starts: in the table only."
        if len(each) > len(drawn)
        else ""
    )
    text = (
        "Share of starts that were cold by environment and memory, with 95 % intervals where there are runs enough: "
        + "; ".join(f"{row['label']} {percent(row['value'])} of {row['n']:,}" for row in drawn.to_dict("records"))
    )
    drawn = drawn.astype({"low": float, "high": float})
    found = [
        Figure(
            shares(drawn[["label", "value", "low", "high", "n"]], "Cold among starts (%)"),
            f"{text}.{left}",
            "cold-share",
        )
    ]
    times = {_shown(row): row for row in groups.to_dict("records")}
    spreads = [
        {"label": row["label"], "state": state, "low_s": at[f"{state}_low_ms"] / 1000, "median_s": at[f"{state}_ms"] / 1000,
         "high_s": at[f"{state}_high_ms"] / 1000, "n": int(at[f"timed_{state}"])}
        for row in drawn.to_dict("records")
        if (at := times.get((row["engine"], row["environment"], row["memory_mb"])))
        for state in STATES if known(at[f"{state}_ms"])
    ]  # fmt: skip
    if spreads:
        said = "; ".join(f"{row['label']} {row['state']} {duration(1000 * row['median_s'])}" for row in spreads)
        text = f"Start-up of cold (circles) and of warm starts (triangles), median and middle half: {said}."
        found.append(Figure(cold_and_warm(pd.DataFrame(spreads)), f"{text}{left}", "cold-and-warm-start-up"))
    return tuple(found)


def _shown(row: dict[Any, Any]) -> tuple[str, str, str]:
    memory = row["memory_mb"]
    return label(row["engine"]), label(row["environment"]), "(none)" if pd.isna(memory) else f"{memory:g}"


QUESTIONS = (
    Question(
        "F10",
        "How often do workers start cold, what does it cost in time and money, what does pre-warming save?",
        "cold_starts",
        f"One start whose state is known; an interval takes {MINIMUM_RUNS} runs, a cost {LEAST_STARTS} cold and {LEAST_STARTS} warm starts of "
        "one engine, environment and memory, and cold starts that surely take longer (95 % interval of the ratio above 1).",
        _f10,
    ),
)

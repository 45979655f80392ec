"""What workers on AWS Lambda show: cold starts, init time, billed time, memory headroom, failures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from app.charts.spreads import spreads
from app.charts.startup import shares as drawn_shares
from app.findings import phrases
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Effect, Figure, Question, not_enough
from app.findings.lambda_requests import (
    ENGINES,
    GROUPS,
    INITS,
    LEAST_REQUESTS,
    MARGIN,
    NEAR,
    SHARES,
    cold_share,
    median_of_runs,
    table,
)
from app.findings.statistics import MINIMUM_RUNS
from app.plain import labels, plain
from app.units import count, duration, figure, known, percent, ratio

MOST_DRAWN = 16
"""Functions that are drawn, those with most requests; the table holds all."""

MOST_NAMED = 3


def _f22(evidence: Evidence) -> Answer:
    groups = evidence.frame(GROUPS)
    if int(groups["requests"].iloc[0]) == 0:
        return Answer(
            "not applicable",
            "No invocation of this selection says that it ran on AWS Lambda: neither its engine nor its environment or cloud is named so.",
            would_change="Logs of AWS Lambda.",
        )
    of_shares, inits, engines = evidence.frame(SHARES), evidence.frame(INITS), evidence.frame(ENGINES)
    rows = table(groups, of_shares, inits)
    whole = rows.iloc[0].to_dict()
    prices = sorted(groups["prices"].iloc[0]) if groups["prices"].notna().iloc[0] else []
    sentence = f"{_starts(whole, of_shares, inits)}. {_billed(whole)}. {_memory(whole, rows[1:])}. {_failures(whole)}."
    known_states = int(whole["cold"] + whole["warm"])
    if known_states < LEAST_REQUESTS:
        few = not_enough(sentence, "More logs of AWS Lambda.", n=int(whole["requests"]), counted="requests")
        return Answer(
            few.status, sentence, few.n, few.counted, None, _left_out(whole), rows, (), _caveats(whole, prices, engines), few.would_change,
        )  # fmt: skip
    interval = cold_share(of_shares)
    name = "share of requests to AWS Lambda that start cold"
    return Answer(
        "answered", sentence, int(whole["requests"]), "requests",
        phrases.effect(name, interval, "share") or Effect(name, float(whole["cold_share"]), None, None, "share"),
        _left_out(whole), rows, _figures(rows[1:]), _caveats(whole, prices, engines),
        "Logs of other loads, for how often a start is cold depends on how often a function is called; of other memory sizes of one "
        "function, which would tell what memory does to its time.",
    )  # fmt: skip


def _starts(whole: dict[Any, Any], of_shares: pd.DataFrame, inits: pd.DataFrame) -> str:
    known_states = int(whole["cold"] + whole["warm"])
    if not known_states:
        return f"Of {count(whole['requests'], 'request')} to AWS Lambda none is known to have started cold or warm"
    interval = cold_share(of_shares)
    shown = f" ({phrases.ends_of_share(interval)})" if interval else ""
    said = f"**{percent(whole['cold_share'])}** of {count(known_states, 'request')} to AWS Lambda started cold{shown}"
    kinds = (("an init", inits[~inits["is_restore"].astype(bool)]), ("a restore of a snapshot", inits[inits["is_restore"].astype(bool)]))  # fmt: skip
    parts = [f"{kind} took {_init(rows)}" for kind, rows in kinds if len(rows)]
    ahead = (
        f"; {count(whole['inits_ahead'], 'init was', 'inits were')} done ahead, so that nobody waited"
        if whole["inits_ahead"]
        else ""
    )
    if not parts:
        return f"{said}{ahead}; how long their init took is not recorded"
    of = f", {percent(whole['init_of_cold_request'])} of the time of such a request in the median" if known(whole["init_of_cold_request"]) else ""  # fmt: skip
    return f"{said}; {' and '.join(parts)}{of}{ahead}"


def _init(rows: pd.DataFrame) -> str:
    found = median_of_runs(rows)
    median = float(rows.groupby("run_id")["init_ms"].median().median())
    interval = f"95 % interval {duration(found.low)} to {duration(found.high)}, " if found else ""
    return f"{duration(median)} in the median ({interval}90th percentile {duration(float(rows['init_ms'].quantile(0.9)))}, n = {len(rows):,})"


def _billed(whole: dict[Any, Any]) -> str:
    if not known(whole["billed_over_actual"]):
        return "Billed and actual time are not both on record"
    inits = (
        f" and {duration(1000 * whole['billed_init_s'])} is init"
        if whole["billed_init_s"] > 0
        else ", and init is not billed"
    )
    said = (
        f"Billed are {duration(1000 * whole['billed_s'])} for {duration(1000 * whole['actual_s'])} of execution ({ratio(whole['billed_over_actual'])}: "
        f"{duration(1000 * whole['rounding_s'])} is rounding{inits})"
    )
    if not known(whole["billed_gb_seconds"]):
        return f"{said}; without their memory that is no GB-seconds"
    said += f", {figure(whole['billed_gb_seconds'])} GB-seconds"
    if not known(whole["billed_usd"]):
        return f"{said}; no price is known"
    of = "" if np.isclose(whole["priced_gb_seconds"], whole["billed_gb_seconds"]) else f", {figure(whole['priced_gb_seconds'])} of which have a price:"  # fmt: skip
    usd = np.format_float_positional(float(f"{whole['billed_usd']:.2g}"), trim="-")
    requests = "without requests, whose price is unknown" if whole["requests_unpriced"] else "requests included"
    return f"{said}{of or ' or'} {usd} USD, {requests}"


def _memory(whole: dict[Any, Any], each: pd.DataFrame) -> str:
    if not whole["measured"]:
        return "How much memory was used is not recorded"
    less = each[each["least_memory_mb"].notna()]
    near = each[each["is_near_limit"].eq(True)]
    named = _named(less, lambda row: f" ({row['least_memory_mb']:g} MB instead of {row['memory_mb']} MB)")
    at = _named(near, lambda row: f" ({percent(row['memory_used_max'])} of {row['memory_mb']} MB)")
    return (
        f"The median request used {percent(whole['memory_used_median'])} of its memory, the largest {percent(whole['memory_used_max'])}: "
        f"{_functions(less, 'could', 'could')} do with less{named}; {_functions(near, 'comes', 'come')} within {100 * (1 - NEAR):.0f} % of the limit{at}"
    )


def _functions(rows: pd.DataFrame, one: str, many: str) -> str:
    return f"{count(len(rows), f'function {one}', f'functions {many}') if len(rows) else f'no function {one}'}"


def _named(rows: pd.DataFrame, said: Any) -> str:
    names = [f"{plain(row['function'], 40)}{said(row)}" for row in rows.head(MOST_NAMED).to_dict("records")]
    more = f", {len(rows) - MOST_NAMED:,} more" if len(rows) > MOST_NAMED else ""
    return f": {', '.join(names)}{more}" if names else ""


def _failures(whole: dict[Any, Any]) -> str:
    failed = (
        f"{count(whole['timeouts'], 'request')} timed out, {whole['out_of_memory']:,} ran out of memory, {whole['other_errors']:,} ended in another "
        f"error ({whole['requests'] - whole['end_known']:,} do not say how they ended)"
        if whole["end_known"]
        else "No request says how it ended"
    )
    inits = [
        f"{count(whole[name], 'init was', 'inits were')} {said}"
        for name, said in (
            ("repeated_inits", "repeated inside a request after an error"),
            ("failed_inits", "begun in vain before one"),
        )
        if whole[name]
    ]
    return "; ".join([failed, *inits])


def _left_out(whole: dict[Any, Any]) -> str:
    parts = [
        f"{count(whole['unknown'], 'request')} of unknown state in no share of cold starts",
        f"{count(whole['without_report'], 'request')} without a report in no time, and what it would have said is unknown",
        f"{whole['requests'] - whole['measured']:,} without their memory in no headroom",
    ]
    if whole["logs_dropped"]:
        parts.append(
            f"around {count(whole['logs_dropped'], 'request')} the platform dropped logs, so that what is missing proves nothing"
        )
    return f"{'; '.join(parts)}."


def _caveats(whole: dict[Any, Any], prices: list[str], engines: pd.DataFrame) -> tuple[str, ...]:
    told = {"reported": "reported", "init": "from an init time", "container": "from the container", "inferred": "inferred", "never_ready": "unknown, never ready"}  # fmt: skip
    by_source = engines.groupby("state_source")["starts"].sum()
    states = ", ".join(f"{int(by_source[name]):,} {words}" for name, words in told.items() if name in by_source)
    by_engine = engines.groupby(["engine", "environment"], dropna=False)["starts"].sum().reset_index()
    by_engine = by_engine.sort_values("starts", ascending=False, kind="stable").head(2 * MOST_NAMED)
    names = ", ".join(
        f"{plain(row['engine'], 40)} in {plain(row['environment'], 40)} {int(row['starts']):,}"
        for row in by_engine.to_dict("records")
    )
    caveats = [
        f"Counted as AWS Lambda, by the name of engine, environment or cloud: {names}. Where their states come from: {states}.",
        "Runs are taken for independent, one request each in Lambda's own logs: cold starts come in bursts, so an interval is at its narrowest.",
        "Init counts as billed where the billed time covers it and the execution: whether it is depends on the day and on how a function is "
        "packaged. A restore starts a container from a snapshot in place of an init.",
    ]
    if whole["measured"]:
        caveats.append(
            f"Could do with less: the 99th percentile of memory used and a fifth more ({MARGIN:g} times), and no less than the largest used, in "
            f"steps of 64 MB, of {LEAST_REQUESTS} requests or more. CPU follows memory: with less a request takes longer and may cost as much."
        )
    if known(whole["billed_gb_seconds"]):
        caveats.append(
            f"USD, billed GB-seconds and requests: {'; '.join(plain(price, 160) for price in prices)}. Free tiers are not in it."
            if prices
            else "No price is known for these environments; to give one, `flowscope ingest prices.jsonl` (docs/prices.md)."
        )
    return tuple(caveats)


def _figures(each: pd.DataFrame) -> tuple[Figure, ...]:
    drawn = each.head(MOST_DRAWN)
    varied = [name for name in ("environment", "memory_mb") if each.groupby("function")[name].nunique().max() > 1]
    names = [
        ", ".join([row["function"], *(f"{row[name]} MB" if name == "memory_mb" else row[name] for name in varied)])
        for row in drawn.to_dict("records")
    ]
    drawn = drawn.assign(label=list(labels(names, 40)))
    left = (
        f" {count(len(each) - len(drawn), 'function')} with fewer requests: in the table only."
        if len(each) > len(drawn)
        else ""
    )
    found = [_cold(drawn, left), _times(drawn, left), _used(drawn, left)]
    return tuple(one for one in found if one)


def _cold(drawn: pd.DataFrame, left: str) -> Figure | None:
    decided = drawn.dropna(subset=["cold_share"])
    if decided.empty:
        return None
    decided = decided.assign(value=decided["cold_share"].astype(float), n=decided["cold"] + decided["warm"])
    decided = decided.astype({"low": float, "high": float})
    text = (
        "Share of requests that started cold by function, with 95 % intervals where there are runs enough: "
        + "; ".join(f"{row['label']} {percent(row['value'])} of {row['n']:,}" for row in decided.to_dict("records"))
    )
    columns = ["label", "value", "low", "high", "n"]
    return Figure(drawn_shares(decided[columns], "Cold among requests (%)"), f"{text}.{left}", "lambda-cold-share")


def _times(drawn: pd.DataFrame, left: str) -> Figure | None:
    rows = pd.DataFrame(
        {"label": row["label"], "kind": kind, "low": row[f"{kind}_p10_ms"] / 1000, "middle": row[f"{kind}_median_ms"] / 1000,
         "high": row[f"{kind}_p90_ms"] / 1000, "n": row[f"{kind}s"], "text": duration(row[f"{kind}_median_ms"])}
        for row in drawn.to_dict("records") for kind in ("init", "restore") if row[f"{kind}s"]
    )  # fmt: skip
    if rows.empty:
        return None
    text = "Init (circles) and restore of a snapshot (squares) by function, median and 10th to 90th percentile: " + "; ".join(
        f"{row['label']} {row['kind']} {row['text']}, to {duration(1000 * row['high'])}, n = {row['n']:,}" for row in rows.to_dict("records")
    )  # fmt: skip
    axis = ["Init or restore (s)", "Median, 10th to 90th percentile"]
    names = ("10th percentile (s)", "median (s)", "90th percentile (s)")
    return Figure(spreads(rows, axis, names, ("init", "restore")), f"{text}.{left}", "lambda-init")


def _used(drawn: pd.DataFrame, left: str) -> Figure | None:
    rows = drawn[drawn["measured"] > 0]
    memory = pd.to_numeric(rows["memory_mb"], errors="coerce")
    rows = rows.assign(
        kind="memory", low=rows["memory_used_median"], middle=rows["memory_p99_mb"] / memory, high=rows["memory_used_max"], n=rows["measured"],
    )  # fmt: skip
    if rows.empty:
        return None
    rows["text"] = [f"{percent(row['middle'])} of {row['memory_mb']} MB" for row in rows.to_dict("records")]
    text = "Memory used of that configured, by function, 99th percentile (median to largest): " + "; ".join(
        f"{row['label']} {row['text']} ({percent(row['low'])} to {percent(row['high'])})"
        for row in rows.to_dict("records")
    )
    axis = ["Memory used of that configured (%)", "99th percentile; bar: median to largest"]
    drawn_rows = rows[["label", "kind", "low", "middle", "high", "n", "text"]]
    chart = spreads(drawn_rows, axis, ("median", "99th percentile", "largest"), ("memory",), is_share=True, up_to=1.0)
    return Figure(chart, f"{text}.{left}", "lambda-memory")


QUESTIONS = (
    Question(
        "F22",
        "What do workers on AWS Lambda show: cold starts, init time, billed time, memory headroom?",
        "cold_starts",
        f"{LEAST_REQUESTS} requests known to have started cold or warm; an interval takes {MINIMUM_RUNS} runs, and a function's memory is judged by "
        f"{LEAST_REQUESTS} requests.",
        _f22,
    ),
)

"""What logs of AWS Lambda say of each function's requests: starts, billed time, memory, failures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from app.findings.statistics import Interval, median_interval, run_share
from app.plain import label
from app.units import known

LEAST_REQUESTS = 20
"""Requests of a function, at one memory, below which its memory is not judged, and in all below which nothing is decided."""

MARGIN = 1.2
"""Memory is judged by the 99th percentile of what was used and a fifth more, and never below the largest."""

NEAR = 0.95
"""From this share of its memory on a function is near its limit."""

KEYS = ["function", "environment", "memory_mb"]

GROUPS = """
-- Requests on AWS Lambda, in all (is_all) and by function, environment and memory: invocations whose engine, environment or cloud
-- (as spans name it) is called aws or lambda. A request's time is what the platform measured, else the execution of its tasks, else from ready to its end. Init is billed
-- (billed_init_ms) where the billed time covers both; what is billed beyond time and init is rounding. A failure is a timeout or
-- out of memory by its status or error (a TimeoutError is the function's own), or out of memory where all the memory was used;
-- other errors are the rest. Largest and 99th percentile of memory are in MB. Prices are the latest of the environment, else of 'default'.
with executions as (
    select
        invocation_tasks.invocation_id,
        sum(tasks.execution_ms) as execution_ms,
        max(tasks.max_memory_mb) as max_memory_mb,
        string_agg(distinct concat_ws(' ', tasks.status, tasks.error_type), ' ') as said,
        count(*) filter (where tasks.status in ('failed', 'killed')) as failed
    from invocation_tasks
    inner join tasks
        on invocation_tasks.run_id = tasks.run_id and invocation_tasks.task_id = tasks.task_id
        and invocation_tasks.attempt is not distinct from tasks.attempt
    where invocation_tasks.run_id in (select run_id from selected_runs)
    group by invocation_tasks.invocation_id
),

latest_prices as (
    select environment, gb_second_usd, request_usd, source, as_of
    from prices
    where gb_second_usd is not null
    qualify row_number() over (partition by environment order by as_of desc nulls last, file_id desc nulls last) = 1
),

requests as (
    select
        invocations.run_id,
        coalesce(invocations.function, selected_runs.workflow) as function,
        selected_runs.environment,
        invocations.memory_mb,
        cold_starts.state,
        coalesce(
            invocations.phases['provider_execution'],
            executions.execution_ms,
            date_diff('microsecond', invocations.ready_at, invocations.finished_at)::double / 1000
        ) as execution_ms,
        nullif(invocations.init_ms, 0) as init_ms,
        invocations.billed_ms,
        coalesce(invocations.max_memory_mb, executions.max_memory_mb) as max_memory_mb,
        invocations.phases['repeated_init'] is not null as is_repeated,
        invocations.phases['failed_init'] is not null or invocations.phases['failed_restore'] is not null as is_init_failed,
        invocations.phases['init_ahead'] is not null as is_ahead,
        coalesce(invocations.logs_dropped, false) as logs_dropped,
        lower(concat_ws(' ', invocations.status, invocations.error_type, executions.said)) as said,
        coalesce(lower(invocations.status) in ('failed', 'killed', 'error', 'timeout'), false)
        or invocations.error_type is not null or coalesce(executions.failed, 0) > 0 as is_failed,
        coalesce(here.gb_second_usd, everywhere.gb_second_usd) as gb_second_usd,
        coalesce(here.request_usd, everywhere.request_usd) as request_usd,
        case
            when here.environment is not null then concat_ws(' as of ', here.source, here.as_of)
            when everywhere.environment is not null then concat_ws(' as of ', everywhere.source, everywhere.as_of)
        end as price
    from invocations
    inner join selected_runs on invocations.run_id = selected_runs.run_id
    inner join cold_starts on invocations.invocation_id = cold_starts.invocation_id
    left join executions on invocations.invocation_id = executions.invocation_id
    left join latest_prices as here on selected_runs.environment = here.environment
    left join latest_prices as everywhere on everywhere.environment = 'default'
    where regexp_matches(
        lower(concat_ws(
            ' ', selected_runs.engine, selected_runs.environment, json_extract_string(invocations.extra, '$."cloud.provider"'),
            json_extract_string(invocations.extra, '$."cloud.platform"')
        )),
        '(^|[^a-z])(aws|lambda)([^a-z]|$)'
    )
),

judged as (
    select
        *,
        billed_ms / 1000 * memory_mb / 1024 as billed_gb_seconds,
        case when billed_ms is not null and execution_ms is not null then billed_ms end as paid_ms,
        case when billed_ms is not null then execution_ms end as worked_ms,
        case
            when billed_ms is not null and execution_ms is not null
                then case when billed_ms >= floor(execution_ms + init_ms) then init_ms else 0 end
        end as billed_init_ms,
        is_failed and regexp_matches(said, '(^|[^a-z])(timeout|timed?[ _-]?out)([^a-z]|$)') as is_timeout,
        is_failed and (regexp_matches(said, 'memory|(^|[^a-z])oom') or coalesce(max_memory_mb >= memory_mb, false)) as is_out_of_memory
    from requests
)

select
    function,
    environment,
    memory_mb,
    grouping(function, environment, memory_mb) > 0 as is_all,
    count(distinct run_id) as runs,
    count(*) as requests,
    count(*) filter (where state = 'cold') as cold,
    count(*) filter (where state = 'warm') as warm,
    count(*) filter (where state = 'unknown') as unknown,
    median(execution_ms) as execution_median_ms,
    quantile_cont(execution_ms, 0.9) as execution_p90_ms,
    median(execution_ms) filter (where state = 'cold') as cold_execution_ms,
    median(execution_ms) filter (where state = 'warm') as warm_execution_ms,
    count(billed_ms) as billed,
    sum(paid_ms) as paid_ms,
    sum(worked_ms) as worked_ms,
    sum(billed_init_ms) as billed_init_ms,
    sum(init_ms) filter (where paid_ms is not null) as init_ms,
    sum(billed_gb_seconds) as billed_gb_seconds,
    sum(billed_gb_seconds) filter (where gb_second_usd is not null) as priced_gb_seconds,
    sum(billed_gb_seconds * gb_second_usd + coalesce(request_usd, 0)) as billed_usd,
    count(*) filter (where billed_gb_seconds * gb_second_usd is not null and request_usd is null) as requests_unpriced,
    list(distinct price) filter (where price is not null and billed_gb_seconds is not null) as prices,
    count(max_memory_mb / nullif(memory_mb, 0)) as measured,
    median(max_memory_mb / nullif(memory_mb, 0)) as memory_used_median,
    max(max_memory_mb / nullif(memory_mb, 0)) as memory_used_max,
    quantile_cont(max_memory_mb, 0.99) as memory_p99_mb,
    max(max_memory_mb) as memory_max_mb,
    count(*) filter (where said <> '') as told,
    count(*) filter (where is_failed) as failed,
    count(*) filter (where is_timeout) as timeouts,
    count(*) filter (where is_out_of_memory and not is_timeout) as out_of_memory,
    count(*) filter (where is_repeated) as repeated_inits,
    count(*) filter (where is_init_failed) as failed_inits,
    count(*) filter (where is_ahead) as inits_ahead,
    count(*) filter (where billed_ms is null and execution_ms is null) as without_report,
    count(*) filter (where logs_dropped) as logs_dropped
from judged
group by grouping sets ((), (function, environment, memory_mb))
order by is_all desc, requests desc, function, environment, memory_mb
"""

SHARES = """
-- How many runs had so many cold ones among so many starts of known state, by function, environment and memory, on AWS Lambda.
with of_runs as (
    select
        cold_starts.run_id,
        coalesce(cold_starts.function, selected_runs.workflow) as function,
        selected_runs.environment,
        cold_starts.memory_mb,
        count(*) filter (where state = 'cold') as cold,
        count(*) as decided
    from cold_starts
    inner join selected_runs on cold_starts.run_id = selected_runs.run_id
    inner join invocations on cold_starts.invocation_id = invocations.invocation_id
    where state in ('cold', 'warm') and regexp_matches(
        lower(concat_ws(
            ' ', selected_runs.engine, selected_runs.environment, json_extract_string(invocations.extra, '$."cloud.provider"'),
            json_extract_string(invocations.extra, '$."cloud.platform"')
        )),
        '(^|[^a-z])(aws|lambda)([^a-z]|$)'
    )
    group by all
)

select function, environment, memory_mb, cold, decided, count(*) as runs
from of_runs
group by function, environment, memory_mb, cold, decided
order by function, environment, memory_mb, cold, decided
"""

INITS = """
-- Each init or restore of a snapshot (is_restore) on AWS Lambda: its time, and its share of the request's (init and execution).
with executions as (
    select invocation_tasks.invocation_id, sum(tasks.execution_ms) as execution_ms
    from invocation_tasks
    inner join tasks
        on invocation_tasks.run_id = tasks.run_id and invocation_tasks.task_id = tasks.task_id
        and invocation_tasks.attempt is not distinct from tasks.attempt
    group by invocation_tasks.invocation_id
)

select
    invocations.run_id,
    coalesce(invocations.function, selected_runs.workflow) as function,
    selected_runs.environment,
    invocations.memory_mb,
    invocations.phases['restore'] is not null as is_restore,
    invocations.init_ms,
    invocations.init_ms / (invocations.init_ms + coalesce(
        invocations.phases['provider_execution'],
        executions.execution_ms,
        date_diff('microsecond', invocations.ready_at, invocations.finished_at)::double / 1000
    )) as share
from invocations
inner join selected_runs on invocations.run_id = selected_runs.run_id
left join executions on invocations.invocation_id = executions.invocation_id
where invocations.init_ms > 0 and regexp_matches(
        lower(concat_ws(
            ' ', selected_runs.engine, selected_runs.environment, json_extract_string(invocations.extra, '$."cloud.provider"'),
            json_extract_string(invocations.extra, '$."cloud.platform"')
        )),
        '(^|[^a-z])(aws|lambda)([^a-z]|$)'
    )
order by invocations.run_id, invocations.invocation_id
"""

ENGINES = """
-- Which engines and environments count as AWS Lambda here, and where states of their starts come from.
select
    cold_starts.engine, cold_starts.environment, cold_starts.state_source, count(*) as starts
from cold_starts
inner join selected_runs on cold_starts.run_id = selected_runs.run_id
inner join invocations on cold_starts.invocation_id = invocations.invocation_id
where regexp_matches(
        lower(concat_ws(
            ' ', selected_runs.engine, selected_runs.environment, json_extract_string(invocations.extra, '$."cloud.provider"'),
            json_extract_string(invocations.extra, '$."cloud.platform"')
        )),
        '(^|[^a-z])(aws|lambda)([^a-z]|$)'
    )
group by cold_starts.engine, cold_starts.environment, cold_starts.state_source
order by cold_starts.engine, cold_starts.environment, cold_starts.state_source
"""


def table(groups: pd.DataFrame, shares: pd.DataFrame, inits: pd.DataFrame) -> pd.DataFrame:
    """Return all requests, then those of each function, environment and memory: what `GROUPS`, `SHARES` and `INITS` return.

    A median's interval is that of the medians of runs.
    """
    by_key = {
        name: dict(iter(frame.groupby(_place(frame), sort=False)))
        for name, frame in (("shares", shares), ("inits", inits))
    }
    rows = []
    for row, key in zip(groups.to_dict("records"), _place(groups), strict=True):
        everything = bool(row["is_all"])
        of_shares, of_inits = (
            frame if everything else by_key[name].get(key, frame[:0])
            for name, frame in (("shares", shares), ("inits", inits))
        )
        names = ("(all)", "(all)", "(all)") if everything else _shown(row)
        rows.append(dict(zip(KEYS, names, strict=True)) | _row(row, of_shares, of_inits, everything))
    return pd.DataFrame(rows)


def _row(row: dict[Any, Any], shares: pd.DataFrame, inits: pd.DataFrame, everything: bool) -> dict[str, Any]:
    cold, warm = int(row["cold"]), int(row["warm"])
    interval = cold_share(shares)
    restores, plain_inits = inits[inits["is_restore"].astype(bool)], inits[~inits["is_restore"].astype(bool)]
    worked, paid = row["worked_ms"], row["paid_ms"]
    least = None if everything else least_memory(row)
    return {
        "runs": int(row["runs"]), "requests": int(row["requests"]), "cold": cold, "warm": warm, "unknown": int(row["unknown"]),
        "cold_share": cold / (cold + warm) if cold + warm else None,
        "low": interval.low if interval else None, "high": interval.high if interval else None,
        **_spread("init", plain_inits), **_spread("restore", restores),
        "init_of_cold_request": _median(inits["share"]),
        **{name: row[name] for name in ("execution_median_ms", "execution_p90_ms", "cold_execution_ms", "warm_execution_ms")},
        "billed_s": paid / 1000, "actual_s": worked / 1000,
        "billed_over_actual": paid / worked if known(worked) and worked > 0 else None,
        "rounding_s": (paid - worked - row["billed_init_ms"]) / 1000, "billed_init_s": row["billed_init_ms"] / 1000,
        **{name: row[name] for name in ("billed_gb_seconds", "priced_gb_seconds", "billed_usd", "measured", "memory_used_median",
                                        "memory_used_max", "memory_p99_mb", "memory_max_mb")},
        "least_memory_mb": least,
        "is_near_limit": None if everything or not row["measured"] else bool(row["memory_used_max"] >= NEAR),
        "end_known": int(row["told"]), "timeouts": int(row["timeouts"]), "out_of_memory": int(row["out_of_memory"]),
        "other_errors": int(row["failed"] - row["timeouts"] - row["out_of_memory"]),
        **{name: int(row[name]) for name in ("requests_unpriced", "repeated_inits", "failed_inits", "inits_ahead", "without_report", "logs_dropped")},
    }  # fmt: skip


def least_memory(row: dict[Any, Any]) -> float | None:
    """Return the memory in MB that a function could do with, None where that is not less or too few requests tell.

    The 99th percentile used and a fifth more, at least the largest, in steps of 64 MB from Lambda's least, 128 MB.
    """
    if row["measured"] < LEAST_REQUESTS or not known(row["memory_mb"]):
        return None
    needed = max(MARGIN * float(row["memory_p99_mb"]), float(row["memory_max_mb"]))
    least = max(128.0, 64 * float(np.ceil(needed / 64)))
    return least if least < row["memory_mb"] else None


def cold_share(shares: pd.DataFrame) -> Interval | None:
    """Return the share of cold among starts of known state, resampled by run. `shares`: cold, decided, runs."""
    times = shares["runs"].to_numpy(int)
    return run_share(np.repeat(shares["cold"].to_numpy(), times), np.repeat(shares["decided"].to_numpy(), times))


def median_of_runs(inits: pd.DataFrame) -> Interval | None:
    """Return the median of the runs' median init with its interval, None of fewer than 6 runs."""
    return median_interval(inits.groupby("run_id")["init_ms"].median().tolist())


def _spread(name: str, inits: pd.DataFrame) -> dict[str, Any]:
    found = median_of_runs(inits)
    return {
        f"{name}s": len(inits),
        f"{name}_median_ms": _median(inits.groupby("run_id")["init_ms"].median()),
        f"{name}_low_ms": found.low if found else None,
        f"{name}_high_ms": found.high if found else None,
        f"{name}_p10_ms": float(inits["init_ms"].quantile(0.1)) if len(inits) else None,
        f"{name}_p90_ms": float(inits["init_ms"].quantile(0.9)) if len(inits) else None,
    }


def _median(values: pd.Series[float]) -> float | None:
    return float(values.median()) if values.notna().any() else None


def _place(frame: pd.DataFrame) -> pd.Series[Any]:
    """Return each row's function, environment and memory as one value."""
    rows = frame[KEYS].itertuples(index=False, name=None)
    places = [tuple(None if pd.isna(value) else value for value in row) for row in rows]
    return pd.Series(places, index=frame.index, dtype=object)


def _shown(row: dict[Any, Any]) -> tuple[str, str, str]:
    memory = row["memory_mb"]
    return label(row["function"]), label(row["environment"]), "(none)" if pd.isna(memory) else f"{memory:g}"

"""What workers are made of and what they must load: CPU beside memory, and the serialised DAG."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from app.findings import dag_size
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Effect, Question, Status, not_enough
from app.findings.statistics import MINIMUM_RUNS
from app.findings.strays import strays
from app.plain import label, plain
from app.units import count, figure

_CPUS = """
-- How many CPUs invocations and tasks of each memory size say they have (`cpus` in `extra`; anything but a positive number
-- is not recorded), per engine and environment.
with configured as (
    select run_id, memory_mb, try_cast(json_extract_string(extra, '$.cpus') as double) as cpus from invocations
    union all
    select run_id, memory_mb, try_cast(json_extract_string(extra, '$.cpus') as double) from tasks
),

known as (
    select
        engine, environment, configured.run_id, memory_mb,
        case when cpus > 0 and cpus < cast('infinity' as double) then cpus end as cpus
    from configured
    inner join selected_runs on configured.run_id = selected_runs.run_id
)

select
    engine, environment, memory_mb,
    count(distinct run_id)::bigint as runs,
    count(distinct case when cpus is not null then run_id end)::bigint as runs_recorded,
    count(*)::bigint as records,
    count(cpus)::bigint as cpus_recorded,
    count(distinct cpus)::bigint as cpus_values,
    min(cpus) as min_cpus,
    max(cpus) as max_cpus,
    case when engine = 'octoflows' and memory_mb > 0 then round(least(memory_mb::double / 1792, 6), 2) end as cpus_expected
from known
group by engine, environment, memory_mb
order by engine, environment, memory_mb
"""

_RULE = "`round(min(memory_mb / 1792, 6), 2)`"


def _cpu(evidence: Evidence) -> Answer:
    sizes, apart = evidence.frame(_CPUS), strays(evidence)
    if sizes.empty:
        return not_enough(
            f"No invocation or task is recorded in this selection{f'; {apart} cannot be counted' if apart else ''}.",
            "Runs that record their workers or tasks.",
        )
    derived = bool(sizes["engine"].eq("octoflows").any())
    total = int(sizes["records"].sum())
    rule = (
        f" The recorded engine derives them from memory, as {_RULE}: by construction they need not be compared, which this data cannot "
        "test" if derived else ""
    )  # fmt: skip
    recorded = sizes[sizes["memory_mb"].notna() & (sizes["cpus_recorded"] > 0)]
    want = (
        "Dumps whose invocations or tasks carry their CPUs (`cpus`, kept in `extra`), at two sizes of memory or more."
    )
    if recorded.empty:
        answer = not_enough(
            f"None of {count(total, 'invocation or task', 'invocations and tasks')} says how many CPUs it had.{rule}.".replace(
                "..", "."
            ),
            want,
            n=total,
            counted="invocations and tasks",
        )
        return replace(answer, table=_cpu_table(sizes), left_out=f"{apart}." if apart else "")
    several = recorded[recorded["cpus_values"] > 1]
    enough = recorded[recorded["runs_recorded"] >= MINIMUM_RUNS]
    n = int(recorded["cpus_recorded"].sum())
    groups = "size of memory", "sizes of memory"
    if len(several):
        worst = several.sort_values(["cpus_values", "cpus_recorded"], ascending=False).iloc[0]
        status: Status = "does not hold"
        where = f" in {plain(worst['environment'], 40)}" if isinstance(worst["environment"], str) else ""
        if sizes["engine"].nunique() > 1 and isinstance(worst["engine"], str):
            where += f" on engine {plain(worst['engine'], 40)}"
        sentence = (
            f"**{len(several):,} of {count(len(recorded), *groups)}** ran with several CPU counts: at {worst['memory_mb']:,.0f} MB"
            f"{where} from {figure(float(worst['min_cpus']))} to {figure(float(worst['max_cpus']))} CPUs, so CPU has to be compared too."
        )
    elif len(enough) < 2 or enough["memory_mb"].nunique() < 2:
        status = "not enough data"
        sentence = (
            f"Each of {count(len(recorded), *groups)} that say their CPUs has one count, but fewer than two sizes have "
            f"{MINIMUM_RUNS} runs that say it: too little to call CPU a function of memory.{rule}."
        ).replace("..", ".")
    else:
        status, n = "holds", int(enough["cpus_recorded"].sum())
        follows = enough["cpus_expected"].notna().all() and (enough["min_cpus"] == enough["cpus_expected"]).all()
        sentence = (
            f"**All {count(len(enough), *groups)}** (per engine and environment) have exactly one CPU count, over "
            f"{count(n, 'invocation and task', 'invocations and tasks')}{', the one that the engine derives' if follows else ''}: comparing memory "
            "compares CPU too."
        )
    left = (
        f"{count(total - n, 'invocation or task', 'invocations and tasks')} that say no CPUs, no memory, or are of sizes with fewer than "
        f"{MINIMUM_RUNS} runs" if total > n else ""
    )  # fmt: skip
    return Answer(
        status, sentence, n, "invocations and tasks",
        Effect("sizes of memory with one CPU count", 1 - len(several) / len(recorded), None, None, "share")
        if status != "not enough data" else None,
        f"{'; '.join(part for part in (left, apart) if part)}." if left or apart else "",
        _cpu_table(sizes), (),
        (
            "Within one engine and environment: platforms give different CPUs for the same memory.",
            "Configured CPUs, not measured ones: a busy machine may give less than it says.",
            *((f"The recorded engine derives CPUs as {_RULE}; newer versions record none.",) if derived else ()),
        ),
        "One size of memory that ran with two CPU counts would refute it." if status == "holds" else want,
    )  # fmt: skip


def _cpu_table(sizes: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "engine": [label(name, 30) for name in sizes["engine"]],
            "environment": [label(name, 40) for name in sizes["environment"]],
            "memory (MB)": sizes["memory_mb"],
            "runs": sizes["runs"],
            "invocations and tasks": sizes["records"],
            "that say their CPUs": sizes["cpus_recorded"],
            "different CPU counts": sizes["cpus_values"],
            "fewest CPUs": sizes["min_cpus"],
            "most CPUs": sizes["max_cpus"],
            "CPUs by the engine's rule": sizes["cpus_expected"],
        }
    )


QUESTIONS = (
    Question(
        "F13", "Is CPU a function of memory, so that it need not be compared?", "planners_and_cost",
        f"'holds': at least two sizes of memory whose CPUs {MINIMUM_RUNS} runs or more record, each with one count within an engine and "
        "environment; 'does not hold': any size with several.",
        _cpu,
    ),
    dag_size.QUESTION,
)  # fmt: skip
"""F13 and F18."""

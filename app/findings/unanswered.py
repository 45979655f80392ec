"""Questions that wait for a method or for data: each looks at what the selection holds and says what is missing."""

from __future__ import annotations

from typing import Any

from app.findings.evidence import Evidence
from app.findings.finding import Answer, Question, not_enough
from app.units import count, duration, percent

KINDS = """
-- Tasks by kind: executables, functions, and those whose source does not say.
select
    count(*) as tasks,
    count(*) filter (where kind = 'executable') as executables,
    count(*) filter (where kind = 'function') as functions,
    median(execution_ms) filter (where kind = 'executable') as executable_ms,
    median(execution_ms) filter (where kind = 'function') as function_ms
from tasks
semi join selected_runs on tasks.run_id = selected_runs.run_id
"""

LAMBDA = """
-- Invocations on AWS Lambda, and what its logs add to a start: init and billed time, the most memory used.
select
    count(*) as invocations,
    count(distinct invocations.run_id) as runs,
    count(*) filter (where reported_state = 'cold' or init_ms is not null) as cold,
    median(init_ms) as init_ms,
    sum(billed_ms)::double as billed_ms,
    median(max_memory_mb / nullif(memory_mb, 0)) as memory_used
from invocations
inner join selected_runs on invocations.run_id = selected_runs.run_id
where regexp_matches(lower(coalesce(engine, '') || ' ' || coalesce(environment, '')), 'lambda')
"""


def _executables(evidence: Evidence) -> Answer:
    seen = evidence.record(KINDS)
    tasks, executables = int(seen["tasks"]), int(seen["executables"])
    if not executables:
        sentence = (
            f"None of {count(tasks, 'task')} is recorded as an executable ({int(seen['functions']):,} as functions)."
        )
    else:
        sentence = (
            f"{executables:,} of {count(tasks, 'task')} {'is an executable' if executables == 1 else 'are executables'}, with a median "
            f"execution of {duration(seen['executable_ms'])} ({duration(seen['function_ms'])} for functions); whether that is the "
            "kind's doing is not computed yet."
        )
    return not_enough(
        sentence, "The same work run as executables and as functions.", n=executables, counted="executables"
    )


def _lambda(evidence: Evidence) -> Answer:
    seen: dict[str, Any] = evidence.record(LAMBDA)
    invocations = int(seen["invocations"])
    if not invocations:
        return Answer(
            "not applicable",
            "No invocation of this selection says that it ran on AWS Lambda: neither its engine nor its environment is named so.",
            would_change="Logs of AWS Lambda.",
        )
    return not_enough(
        f"{count(invocations, 'invocation')} ran on AWS Lambda, {int(seen['cold']):,} of them cold (median init {duration(seen['init_ms'])}, "
        f"billed {duration(seen['billed_ms'])} in all, {percent(seen['memory_used'])} of the memory used in the median); "
        "how sure that is, and by function, is not computed yet.",
        "More logs of AWS Lambda.",
        n=invocations, counted="invocations",
    )  # fmt: skip


_METHOD = "Not computed yet: the answer says what of it is on record."

QUESTIONS = (
    Question("F19", "How do executables as tasks compare with functions, in time and in predictability?", "planners_and_cost", _METHOD, _executables),
    Question("F22", "What do workers on AWS Lambda show: cold starts, init time, billed time, memory headroom?", "cold_starts", _METHOD, _lambda),
)  # fmt: skip

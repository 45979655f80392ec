"""Runs of engines that leave no plans: whose they are, how to say so, and who predicts in the plans' place."""

from __future__ import annotations

from dataclasses import dataclass

from app.findings.evidence import Evidence
from app.plain import plain
from app.predicted import ENGINE, in_order, knows_more
from app.units import count

EVALUATE = "`flowscope evaluate`: it needs no plans, and predicts every run from earlier ones by the engine's rule, simple rivals and the model."
"""What brings predictions where nobody planned."""

STANDS = 0.5
"""A predictor of fewer runs than this share of the most that any predicted is not asked in the plans' place."""

_MOST_NAMED = 6

ENGINES = """
-- The engines of the selected runs none of whose runs, selected or not, has a plan; is_all: there are no others.
with planning as (
    select distinct coalesce(runs.engine, '') as engine
    from plans
    inner join runs on plans.run_id = runs.run_id
)

select
    engine, count(*) as runs, (select count(*) from selected_runs) as of_runs
from selected_runs
where coalesce(engine, '') not in (select engine from planning)
group by engine
order by runs desc, engine nulls last
"""

RIVALS = """
-- Who predicted whole runs: the plans, and the others at their median (P50).
select predictor, metric, count(*) as n, median(relative_error) as median_relative_error
from prediction_errors
semi join selected_runs on prediction_errors.run_id = selected_runs.run_id
where
    level = 'run' and metric in ('makespan', 'execution') and predicted is not null
    and (predictor = 'engine' or (sla_percentile = 50 and isfinite(relative_error)))
group by predictor, metric
order by predictor, metric
"""


@dataclass(frozen=True, slots=True)
class Unplanned:
    """The engines without any plan, how many selected runs are theirs, and whether all are."""

    engines: tuple[str | None, ...]
    runs: int
    is_all: bool

    @property
    def named(self) -> str:
        """The names of the engines, as Markdown; 'engines without a name' where none has one."""
        names = [plain(name, 40) for name in self.engines[:_MOST_NAMED] if name is not None]
        more = len(self.engines) - len(names)
        return ", ".join([*names, *([f"{more:,} more"] if more and names else [])]) or "engines without a name"

    @property
    def sentence(self) -> str:
        """'No plans in this source (`x`): ...', or which of several sources have none; '' where every one has some."""
        if not self.engines:
            return ""
        if self.is_all:
            where = f"No plans in {'this source' if len(self.engines) == 1 else 'these sources'} ({self.named})"
            return f"{where}: nobody predicted {'the run' if self.runs == 1 else f'the {self.runs:,} runs'} beforehand."
        return f"No plans in {count(self.runs, 'run')} of {self.named}: {'this source records' if len(self.engines) == 1 else 'these sources record'} none."


def unplanned(evidence: Evidence) -> Unplanned:
    """Return which of the selected runs are of engines that leave no plans."""
    found = evidence.frame(ENGINES)
    engines = tuple(name if isinstance(name, str) else None for name in found["engine"])
    runs = int(found["runs"].sum())
    return Unplanned(engines, runs, bool(len(found)) and runs == int(found["of_runs"].iloc[0]))


def asked(evidence: Evidence) -> str:
    """Return whose predictions of runs are judged: the plans', where there are none the closest predictor's.

    The closest in makespan, or in execution where nobody predicted a makespan, of those that predicted runs enough and are
    told nothing beforehand. `ENGINE` where nobody predicted.
    """
    seen = evidence.frame(RIVALS)
    if seen.empty or ENGINE in set(seen["predictor"]):
        return ENGINE
    fair = seen[[not knows_more(name) for name in seen["predictor"]]]
    leads = [rows for metric in ("makespan", "execution") if len(rows := fair[fair["metric"] == metric])]
    if not leads:
        return ENGINE
    rows = leads[0][leads[0]["n"] >= STANDS * leads[0]["n"].max()]
    least = rows["median_relative_error"].min()
    return in_order({str(name) for name in rows["predictor"][rows["median_relative_error"] == least]})[0]

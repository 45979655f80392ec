"""How executables as tasks compare with functions: in time, in predictability, in what they cost besides, in failures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from app.findings import phrases
from app.findings.evidence import Evidence
from app.findings.executables_beside import failed, figures, of_functions, table
from app.findings.executions import EXECUTIONS, EXIT_CODES, FAILURES, MOST_RUNS, PREDICTED, STARTS, TASKS
from app.findings.finding import Answer, Question, Status
from app.findings.kinds import KINDS, ByKind, by_kind
from app.findings.matching import RUNS, Compared, Matched, compare, match, tag_values
from app.findings.statistics import MINIMUM_IN_STRATUM, MINIMUM_RUNS, Interval
from app.plain import plain
from app.predicted import called
from app.units import count, duration, known, percent

LEAST_ALIKE = 6
"""Executions of one function on alike inputs below which their spread is not judged."""

WORK_TAG = "work"
"""Runs with the same value of this tag do the same work, whatever their workflow is called."""

RECORD = "`flowscope record -- CMD ARGS` records commands as tasks; give the workflow, or the tag `work`, the name it has as functions."


@dataclass(frozen=True, slots=True)
class Time:
    """How long the same work takes: by function and size, or (`matched`) by whole runs. `differs`: what was not held equal."""

    ratio: Interval | None
    found: ByKind | None
    rows: pd.DataFrame
    differs: tuple[str, ...]
    matched: Matched | None = None

    @property
    def is_same_workflow(self) -> bool:
        """Whether nothing but a function's name says that the work is the same."""
        return "workflow" not in self.differs


def _f19(evidence: Evidence) -> Answer:
    tasks = evidence.record(TASKS)
    executables, functions = int(tasks["executables"]), int(tasks["functions"])
    if not executables:
        return Answer(
            "not applicable",
            f"None of {count(tasks['tasks'], 'task')} is recorded as an executable ({functions:,} as functions).",
            would_change=RECORD,
        )
    executions, predicted = (
        evidence.frame(EXECUTIONS, least=LEAST_ALIKE, most=MOST_RUNS),
        evidence.frame(PREDICTED, most=MOST_RUNS),
    )
    failures, starts = evidence.frame(FAILURES), evidence.frame(STARTS)
    spread = by_kind(of_functions(executions, "deviation"))
    errors = {
        str(name): found
        for name, of_predictor in predicted.groupby("predictor")
        if (found := by_kind(of_functions(of_predictor, "error")))
    }
    time = _time(evidence, executions) if functions else Time(None, None, executions[:0], ())
    rows = table(time.found, time.rows, time.ratio, spread, errors, failures)
    is_compared = any(found is not None and found.ratio is not None for found in (spread, *errors.values()))
    status: Status = "not applicable" if not functions else "answered" if (time.ratio and time.is_same_workflow) or is_compared else "not enough data"  # fmt: skip
    beside = (
        _time_said(time)
        if functions
        else f"All of {count(executables, 'task')} whose kind is known are executables: there is no function to compare them with"
    )
    parts = [
        beside,
        _spread_said(spread),
        _errors_said(errors),
        _failures_said(failures, evidence.frame(EXIT_CODES)),
        _starts_said(starts),
    ]
    ratio = time.ratio if time.is_same_workflow else None
    return Answer(
        status,
        " ".join(f"{part[0].upper()}{part[1:]}." if not part.startswith("*") else f"{part}." for part in parts if part),
        executables + functions, "tasks",
        phrases.effect("execution, executables / functions", ratio)
        or phrases.effect("spread of execution, executables / functions", spread.ratio if spread else None),
        _left_out(tasks, executions), rows, figures(rows, executions), _caveats(time, spread, executions), RECORD,
    )  # fmt: skip


def strata(executions: pd.DataFrame, held: tuple[str, ...]) -> pd.DataFrame:
    """Return a row per run, kind and stratum: one function on inputs of one size, in equal `held`. `executions`: `EXECUTIONS`."""
    keys = ["function", "size_decade", *held]
    rows = executions.assign(stratum=executions.groupby(keys, dropna=False).ngroup())
    found = rows.groupby(["kind", "function", "stratum", "run_id"])["execution_ms"].median().reset_index(name="value")
    return found.rename(columns={"function": "work"})


def _time(evidence: Evidence, executions: pd.DataFrame) -> Time:
    """Compare times of the same work: the same function on inputs of like size, else whole runs that are alike."""
    fallback = None
    for held in (("workflow", "environment"), ("workflow",), ()):
        rows = strata(executions, held)
        found = by_kind(rows)
        if found and found.is_same_work:
            differs = tuple(
                name for name in ("workflow", "environment") if name not in held and _differs(executions, rows, name)
            )
            time = Time(found.ratio, found, rows, differs)
            if found.ratio and time.is_same_workflow:
                return time
            fallback = fallback or time
    runs = evidence.frame(RUNS)
    return _by_runs(runs, executions) or fallback or Time(None, None, executions[:0], ())


def _differs(executions: pd.DataFrame, rows: pd.DataFrame, name: str) -> bool:
    """Return whether the kinds differ in this column, over the functions that both have."""
    both = executions[executions["function"].isin(rows["work"])]
    sides = [set(both[name][both["kind"] == kind].fillna("")) for kind in KINDS]
    return sides[0] != sides[1]


def _by_runs(runs: pd.DataFrame, executions: pd.DataFrame) -> Time | None:
    """Compare whole runs of one kind each, of the same workflow, or the same value of the tag `work`."""
    kinds = executions.groupby("run_id")["kind"].agg(["first", "nunique"])
    groups = runs["run_id"].map(kinds["first"][kinds["nunique"] == 1])
    work = tag_values(runs, WORK_TAG)
    runs = runs.assign(
        workflow=work.where(work.notna(), runs["workflow"]), structure_hash=runs["structure_hash"].where(work.isna())
    )
    executable, function = KINDS
    matched = match(runs, groups, function, executable)
    compared: Compared = compare(matched, "execution_ms")
    if not compared.ratio:
        return None
    return Time(compared.ratio, None, executions[:0], matched.confounded, matched)


def _time_said(time: Time) -> str:
    if time.ratio is None:
        if time.found is None:
            return (
                "no function or workflow was run both as an executable and as a function, often enough and on inputs of like size: times of "
                "different work are not compared"
            )
        return (
            f"{_works(time.found)} ran both ways, but only {time.found.runs['executable']:,} runs of executables and {time.found.runs['function']:,} "
            "of functions are alike: too few to compare times"
        )
    decided = {"lower": "less time", "higher": "more time", "no difference": "as much time, within 5 %"}.get(
        time.ratio.decision
    )
    verdict = f"**{decided}**" if decided else "a time whose difference is **undecided**"
    on = (
        f"{_works(time.found)} on inputs of like size, {time.found.runs['executable']:,} and {time.found.runs['function']:,} runs"
        if time.found
        else phrases.rests_on(time.matched)  # type: ignore[arg-type]  # one of both is there
    )
    but = f"; but their {' and '.join(time.differs).replace('_', ' ')} {'differs' if len(time.differs) == 1 else 'differ'} too" if time.differs else ""  # fmt: skip
    return f"the same work takes {verdict} as executables, {phrases.times(time.ratio)} that of functions ({on}){but}"


def _works(found: ByKind) -> str:
    return count(found.works["executable"], "function")


def _spread_said(spread: ByKind | None) -> str:
    if spread is None:
        return f"no function has {LEAST_ALIKE} executions on alike inputs, so how predictable they are is not known"
    return f"alike executions are off their median by {_both(spread)}"


def _errors_said(errors: dict[str, ByKind]) -> str:
    if not errors:
        return "no execution is predicted yet (`flowscope evaluate`), so how well either is predicted is not known"
    name, best = min(errors.items(), key=lambda item: max(found.value for found in item[1].figures.values()))
    more = f", the closest of {len(errors):,}" if len(errors) > 1 else ""
    return f"predicted by {called(name)}{more}, executions are off by {_both(best)}"


def _both(found: ByKind) -> str:
    """Say a relative figure of each kind, and their ratio where they are of the same work."""
    named = {"executable": "executables", "function": "functions"}
    said = " and ".join(
        f"{percent(found.figures[kind].value)}{_ends(found.figures[kind])} for {named[kind]}"
        for kind in KINDS
        if kind in found.figures
    )
    if found.ratio:
        undecided = {"undecided": ", undecided", "no difference": ", no difference beyond 5 %"}.get(
            found.ratio.decision, ""
        )
        return f"{said}, {phrases.times(found.ratio)}, over the {_works(found)} that ran both ways{undecided}"
    if found.is_same_work:
        return f"{said}, over {_works(found)} that ran both ways in too few runs to compare"
    return f"{said}; these are different work, so the kind need not be why" if len(found.figures) > 1 else said


def _ends(found: Interval) -> str:
    return f" ({phrases.ends_of_share(found) if found.n >= MINIMUM_RUNS else count(found.n, 'run')})"


def _failures_said(failures: pd.DataFrame, codes: pd.DataFrame) -> str:
    parts = []
    for kind in KINDS:
        lost, told, found = failed(failures, kind)
        if told:
            ends = f" ({phrases.ends_of_share(found)})" if found else ""
            parts.append(f"{percent(lost / told)}{ends} of {count(told, 'attempt')} of {kind}s")
    if not parts:
        return "whether tasks failed is not recorded"
    named = ", ".join(
        f"{int(row['exit_code'])} of {count(row['attempts'], 'attempt')}" for row in codes.head(3).to_dict("records")
    )
    return f"{' and '.join(parts)} failed{f' (exit code {named})' if named else ''}"


def _starts_said(starts: pd.DataFrame) -> str:
    there = {row["kind"]: row for row in starts.to_dict("records")}
    said = [
        f"workers of {kind}s take {duration(row['startup_ms'])} to start in the median ({_timed(row)}), {percent(row['share'])} of what they then execute"
        for kind in KINDS
        if (row := there.get(kind)) and known(row["startup_ms"])
    ]
    if "executable" not in there:
        said.append(
            "starting the process of an executable is recorded nowhere apart and counts in its execution, or not at all"
        )
    return "; ".join(said)


def _timed(row: dict[Any, Any]) -> str:
    """Say how many starts a median is of: clouds that record no request time cold ones only, by their init."""
    if row["starts"] == row["workers"]:
        return count(row["starts"], "start")
    return f"{row['starts']:,} of {count(row['workers'], 'start')}: the others are not timed"


def _left_out(tasks: dict[str, Any], executions: pd.DataFrame) -> str:
    untold = int(tasks["tasks"] - tasks["executables"] - tasks["functions"])
    parts = [
        f"{count(untold, 'task')} whose source does not say what kind they are",
        f"{count(tasks['unusable'], 'execution')} that failed or have no time or name",
        f"{int(executions['executions'][executions['deviation'].isna()].sum()):,} with fewer than {LEAST_ALIKE} alike in no spread",
    ]
    if tasks["most_runs"] > MOST_RUNS:
        parts.append(f"of functions with more than {MOST_RUNS:,} runs all others, drawn by chance")
    return f"{'; '.join(parts)}."


def _caveats(time: Time, spread: ByKind | None, executions: pd.DataFrame) -> tuple[str, ...]:
    caveats = [
        f"The same work is a function and an executable of one name, in one workflow, on inputs of one power of ten of bytes, with {MINIMUM_IN_STRATUM} runs "
        f"of each; else whole runs of one workflow, or with the same value of the tag {plain(WORK_TAG)}, alike in what else is on record.",
        "Works count equally; intervals draw runs again, for executions of one run hang together.",
    ]
    if spread:
        caveats.append(
            "Alike are executions of one function, kind, workflow, environment and memory on inputs of one power of ten of bytes. With n alike a deviation is "
            "widened by n / (n - 0.8), as the median of few lies closer to them than that of all (Croux and Rousseeuw, 1992)."
        )
    if unsized := int(executions["executions"][executions["size_decade"].isna()].sum()):
        caveats.append(f"The input size of {count(unsized, 'execution')} is not known: they are set beside each other.")
    if time.found:
        caveats.append("Execution alone is compared: start-up, waiting, downloads and uploads are not in it.")
    return tuple(caveats)


QUESTIONS = (
    Question(
        "F19",
        "How do executables as tasks compare with functions, in time and in predictability?",
        "planners_and_cost",
        f"The same work done both ways, in {MINIMUM_RUNS} runs of each kind; for a spread {LEAST_ALIKE} executions on alike inputs.",
        _f19,
    ),
)

"""How runs of different environments differ: local against remote where names say which is which."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from app.findings import phrases
from app.findings.alike import lay_beside
from app.findings.evidence import Evidence
from app.findings.experiments import forest
from app.findings.finding import Answer, Effect, Figure, Question, not_enough
from app.findings.matching import RUNS, Compared, Matched, compare
from app.findings.statistics import MINIMUM_IN_STRATUM, MINIMUM_PAIRS, MINIMUM_RUNS, Interval
from app.plain import label, plain
from app.units import count

LOCAL = {"local", "localhost", "localstack", "docker"}
REMOTE = {"remote", "aws", "lambda", "gcp", "google", "azure", "cloud"}

METRICS = {
    "makespan_ms": "makespan",
    "startup_per_worker_ms": "start-up per worker",
    "execution_ms": "execution",
    "download_bytes_per_ms": "download speed",
    "input_bytes": "input size",
}
"""What environments are compared by. The size of the inputs is a control: no environment changes it."""

_UNITS = {"download_bytes_per_ms": "bytes/ms", "input_bytes": "bytes"}
_EQUAL = ("workflow", "structure_hash", "planner")
_MOST = 12
"""So many environments are compared with the reference: those with most runs."""

_LABEL = (
    "Runs of one workflow and planner from both, under names that say which is which: "
    "`flowscope ingest DUMP --environment local`, or a column `environment` in a file given with `--tags`."
)

_OF_RUNS = """
-- The engine of each run, its workers' start-ups (median) and how fast it downloaded (median of its measured downloads).
with startups as (
    select run_id, median(startup_ms) as startup_per_worker_ms
    from cold_starts
    where run_id in (select run_id from selected_runs) and startup_ms is not null
    group by run_id
),

speeds as (
    select
        run_id,
        median(bytes_per_ms) as download_bytes_per_ms,
        count(case when kind = 'preloaded_untimed' then 1 end)::bigint as preloaded
    from transfers
    where run_id in (select run_id from selected_runs) and direction = 'download'
    group by run_id
)

select selected_runs.run_id, selected_runs.engine, startup_per_worker_ms, download_bytes_per_ms, coalesce(preloaded, 0) as preloaded
from selected_runs
left join startups on selected_runs.run_id = startups.run_id
left join speeds on selected_runs.run_id = speeds.run_id
order by selected_runs.run_id
"""


@dataclass(frozen=True, slots=True)
class Beside:
    """One group of runs beside its reference, and every metric compared."""

    reference: str
    other: str
    matched: Matched
    found: dict[str, Compared]

    @property
    def makespan(self) -> Interval | None:
        """The ratio of makespans, None where too few runs are alike."""
        return self.found["makespan_ms"].ratio


def kind(name: object) -> str | None:
    """Return what the words of an environment's name say it is: 'local', 'remote', or None where they say neither or both."""
    words = set(re.findall(r"[^\W\d_]+", name.lower())) if isinstance(name, str) else set()
    is_local, is_remote = bool(words & LOCAL), bool(words & REMOTE)
    return None if is_local == is_remote else "local" if is_local else "remote"


def _answer(evidence: Evidence) -> Answer:
    runs = evidence.frame(RUNS).merge(evidence.frame(_OF_RUNS), on="run_id", how="left")
    names = runs["environment"].dropna().unique().tolist()
    unnamed = int(runs["environment"].isna().sum())
    if len(names) < 2:
        only = (
            f"{count(len(runs) - unnamed, 'run')}, all of one environment, {plain(names[0], 40)}" if len(names)
            else f"None of {count(len(runs), 'run')} says its environment" if len(runs) else "No run is selected"
        )  # fmt: skip
        return not_enough(f"{only}: there is nothing to compare.", _LABEL, n=len(runs))
    kinds = runs["environment"].map(kind, na_action="ignore")
    told = {"local", "remote"} <= set(kinds.dropna())
    groups = kinds if told else runs["environment"]
    wanted, alone, dropped = _wanted(runs, groups, told)
    level = 1 - 0.05 / max(1, len(wanted))
    beside = [_beside(runs, groups, engine, reference, other, level) for engine, reference, other in wanted]
    known = [one for one in beside if one.makespan]
    if not known:
        return not_enough(_none(names, told, wanted), _LABEL, n=len(runs))
    rows = _table(beside)
    return Answer(
        "answered",
        _one(known[0], level) if told and len(wanted) == 1 else _several(known, beside, level, told, _not_told(names)),
        _counted(known),
        "pairs of runs" if all(one.matched.way == "paired" for one in known) else "runs compared",
        _effect(known, len(wanted)),
        _left_out(runs, groups, beside, alone, dropped),
        rows,
        _figures(rows, known, level),
        _caveats(runs, known, level, told, len(wanted)),
        "Runs of the same workflows, planners and inputs in every environment, taken in turn; names that say which is local. "
        + _LABEL,
    )  # fmt: skip


def _wanted(
    runs: pd.DataFrame, groups: pd.Series[Any], told: bool
) -> tuple[list[tuple[object, str, str]], list[str], int]:
    """Return (engine, reference, other) to compare, the groups without another of their engine, and how many are too many.

    Runs of different engines are not compared: what they record, and what their planners are, differs.
    """
    found: list[tuple[object, str, str, int]] = []
    alone: list[str] = []
    for engine, rows in runs.groupby("engine", dropna=False):
        sizes = groups[rows.index].dropna().value_counts()
        ordered = sorted(map(str, sizes.index), key=lambda name: (-sizes[name], name))
        if told:
            ordered = [name for name in ("local", "remote") if name in sizes.index]
        if len(ordered) == 1:
            alone.append(ordered[0])
        found += [(engine, ordered[0], other, int(sizes[other])) for other in ordered[1:]]
    found.sort(key=lambda one: -one[3])
    return [one[:3] for one in found[:_MOST]], alone, max(0, len(found) - _MOST)


def _beside(
    runs: pd.DataFrame, groups: pd.Series[Any], engine: object, reference: str, other: str, level: float
) -> Beside:
    of_engine = runs["engine"].isna() if pd.isna(engine) else runs["engine"] == engine  # type: ignore[call-overload]
    own = runs[of_engine]
    matched = lay_beside(own, groups[own.index], reference, other, "environment", always=_EQUAL)
    return Beside(reference, other, matched, {metric: compare(matched, metric, level) for metric in METRICS})


def _one(one: Beside, level: float) -> str:
    others = [
        f"{METRICS[metric]} {_times(one.found[metric].ratio, level)}"
        for metric in ("startup_per_worker_ms", "execution_ms", "download_bytes_per_ms")
        if one.found[metric].ratio
    ]
    more = f"; {'; '.join(others)}" if others else ""
    return f"Makespan of {one.other} runs is **{_times(one.makespan, level, '**')} that of {one.reference} runs{more}."


def _counted(known: Sequence[Beside]) -> int:
    """Count the pairs, or where not all are pairs the complete runs: one that stands in several comparisons once."""
    if all(one.matched.way == "paired" for one in known):
        return sum(one.found["makespan_ms"].n for one in known)
    blocks = pd.concat([one.matched.blocks for one in known])
    return int(blocks["run_id"][blocks["is_complete"].eq(True) & blocks["makespan_ms"].notna()].nunique())


def _not_told(names: Sequence[object]) -> str:
    """Say why local and remote runs are not told apart, which stands before what is compared instead."""
    if all(kind(name) == "remote" for name in names):
        return "All environments here are remote by their names, so nothing local is beside them"
    return "No environment here is called local or remote, so that difference cannot be told"


def _several(known: Sequence[Beside], beside: Sequence[Beside], level: float, told: bool, not_told: str) -> str:
    references = list(dict.fromkeys(one.reference for one in beside))
    against = (
        "local runs" if told
        else f"{plain(references[0], 40)}, which has most runs" if len(references) == 1
        else "the environment of each engine that has most runs"
    )  # fmt: skip
    if len(beside) == 1:
        one = known[0]
        ratio = f"**{_times(one.makespan, level, '**')} that in {plain(one.reference, 40)}"
        return f"{not_told}; makespan in {plain(one.other, 40)} is {ratio}."
    decided = _decided(known)
    said = "" if told else f"{not_told}; "
    start = f"{said}{'compared' if said else 'Compared'} with {against}, makespan is decidedly different in {len(decided):,} of {len(beside):,}"
    if not decided:
        widest = max(known, key=_distance)
        return f"{start}: the furthest, {plain(widest.other, 40)}, is {_times(widest.makespan, level)}."
    furthest = decided[0]
    free = furthest.matched.free
    unlike = phrases.listed(free[:4]) + (f" and {len(free) - 4} more" if len(free) > 4 else "")
    but = f"; its runs are not alike in {unlike}, which may be the reason" if free else ""
    return f"{start}, most in {plain(furthest.other, 40)}: **{_times(furthest.makespan, level, '**')}{but}."


def _times(found: Interval | None, level: float, close: str = "") -> str:
    """Say a ratio with its interval at its level; `close` ends what is bold after the figure."""
    return phrases.times_decided(found, level).replace(" times", f" times{close}", 1)


def _decided(known: Sequence[Beside]) -> list[Beside]:
    """Return those whose makespans surely differ, the furthest from the reference first."""
    return sorted(
        (one for one in known if one.makespan and one.makespan.decision in ("lower", "higher")),
        key=lambda one: -_distance(one),
    )


def _distance(one: Beside) -> float:
    value = one.makespan.value if one.makespan else 1.0
    return max(value, 1 / value) if value > 0 else 1.0


def _effect(known: Sequence[Beside], comparisons: int) -> Effect | None:
    shown = known if comparisons == 1 else _decided(known)
    if not shown:
        return None
    of = f", the furthest of {comparisons}, adjusted for as many" if comparisons > 1 else ""
    return phrases.effect(
        f"makespan {label(shown[0].other, 40)} / {label(shown[0].reference, 40)}{of}", shown[0].makespan
    )


def _none(names: Sequence[object], told: bool, wanted: Sequence[object]) -> str:
    what = "local and remote runs" if told else count(len(names), "environment")
    if not wanted:
        return f"The {what} here are of different engines, which cannot be compared: each records times of its own."
    return (
        f"The {what} here have too few complete runs alike in workflow, structure and planner to be compared "
        f"({MINIMUM_PAIRS} pairs, or {MINIMUM_RUNS} runs on each side)."
    )


def _table(beside: Sequence[Beside]) -> pd.DataFrame:
    return pd.DataFrame([
        {
            "environment": label(one.other, 40), "beside": label(one.reference, 40), "metric": METRICS[metric],
            "ratio": found.ratio.value if found.ratio else None,
            "low": found.ratio.low if found.ratio else None, "high": found.ratio.high if found.ratio else None,
            "decision": found.ratio.decision if found.ratio else "too few",
            "compared": found.n, "as": "pairs" if one.matched.way == "paired" else "runs", "incomplete": found.incomplete,
            "unit": _UNITS.get(metric, "ms"), "median": found.other, "median beside": found.reference,
        }
        for one in beside for metric, found in one.found.items()
    ])  # fmt: skip


def _figures(rows: pd.DataFrame, known: Sequence[Beside], level: float) -> tuple[Figure, ...]:
    single = len(known) == 1
    shown = rows[rows["ratio"].notna() & (single | rows["metric"].eq("makespan"))]
    labels = shown["metric"] if single else shown["environment"]
    frame = shown.assign(label=labels, value=shown["ratio"].astype(float), n=shown["compared"])
    beside = shown["beside"].unique()
    name = label(beside[0] if len(beside) == 1 else "the environment with most runs", 24)
    what = f"{label(known[0].other, 24)} / {name} (ratio)" if single else f"Makespan / that of {name} (ratio)"
    return forest(frame, what, "environments", f"{100 * level:.3g} % intervals")


def _left_out(
    runs: pd.DataFrame, groups: pd.Series[Any], beside: Sequence[Beside], alone: Sequence[str], dropped: int
) -> str:
    used = {run for one in beside for run in one.matched.blocks["run_id"]}
    unused = int((~runs["run_id"].isin(used) & groups.notna()).sum())
    incomplete = int((runs["run_id"].isin(used) & ~runs["is_complete"].eq(True)).sum())
    parts = [
        f"{count(unused, 'run')} without a counterpart of equal workflow, structure and planner",
        f"{count(incomplete, 'incomplete run')} in the ratios",
    ]
    if neither := int(groups.isna().sum()):
        parts.append(f"{count(neither, 'run')} of no environment that can be told")
    if alone:
        parts.append(f"{', '.join(plain(name, 40) for name in alone[:5])}: no other environment of that engine")
    if dropped:
        parts.append(f"{count(dropped, 'environment')} with fewer runs than the {_MOST} compared")
    return f"{'; '.join(parts)}."


def _caveats(
    runs: pd.DataFrame, known: Sequence[Beside], level: float, told: bool, comparisons: int
) -> tuple[str, ...]:
    said = [
        f"{plain(one.other, 40)} beside {plain(one.reference, 40)}: {phrases.rests_on(one.matched)}."
        for one in known[:6]
    ]
    if comparisons > 1:
        said.append(
            f"{comparisons} comparisons: intervals hold {100 * level:.3g} % each, so that all of one metric hold at once with at "
            "least 95 % (Bonferroni)."
        )
    if told:
        named = [
            f"{side}: {', '.join(plain(name, 30) for name in names[:6])}"
            for side in ("local", "remote")
            if (names := sorted({str(name) for name in runs["environment"].dropna() if kind(name) == side}))
        ]
        said.append(f"Which is which was read off the names ({'; '.join(named)}), not measured.")
    elif not all(kind(name) == "remote" for name in runs["environment"].dropna().unique()):
        said.append("A name says nothing about where an environment is: all of these may be on one machine.")
    unequal = [
        plain(one.other, 40) for one in known
        if (size := one.found["input_bytes"].ratio) and size.decision in ("lower", "higher")
    ]  # fmt: skip
    if unequal:
        said.append(
            f"Inputs differ in size too ({', '.join(unequal)}): the makespan's ratio is not the environment's alone."
        )
    if preloaded := int(runs["preloaded"].sum()):
        said.append(
            f"{count(preloaded, 'pre-loaded input')} lost their download time and are in no speed; downloads of one task run in "
            f"parallel and share the line."
        )
    said.append("Start-up, where a cap on containers makes requests queue, has the queue in it.")
    return tuple(said)


QUESTIONS = (
    Question(
        "F09", "How do local and remote runs differ?", "experiments",
        f"Two environments of one engine with common workflows, structures and planners: {MINIMUM_PAIRS} pairs of runs, or "
        f"{MINIMUM_RUNS} complete runs on each side in strata with at least {MINIMUM_IN_STRATUM} on each side. A difference counts as "
        "real if the interval, adjusted for the number of comparisons, does not hold 1.",
        _answer,
    ),
)  # fmt: skip
"""F09."""

"""F06: less memory, and the runs that it kills."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from app.findings import phrases, simulated
from app.findings.evidence import Evidence
from app.findings.experiments import (
    MINIMUM,
    Groups,
    Losses,
    bold,
    cost_of,
    every,
    forest,
    left_out,
    losses,
    row,
    table,
    too_few,
)
from app.findings.finding import Answer, Question, Status, not_enough
from app.findings.matching import RUNS, Compared, Matched, compare, tag_values
from app.units import count, ratio

_GB = 1024
_CHANCE = 0.05
_ONE_GB = (
    simulated.Change(
        "memory=1024", "at 1,024 MB", cost=True,
        assumes="In a simulation no worker is killed for its memory, however little it has: what less memory loses is not in it. Execution "
        "changes with memory as each function was seen to; where it was seen at one size only, not at all.",
    ),
)  # fmt: skip


def _less_memory(evidence: Evidence) -> Answer:
    return simulated.beside(evidence, _recorded_memory(evidence), _ONE_GB, name="makespan at 1,024 MB / as recorded")


def _recorded_memory(evidence: Evidence) -> Answer:
    runs = evidence.frame(RUNS)
    groups = _by_memory(runs)
    unknown = (
        int((groups.group.isna() & ~runs["is_complete"].eq(True)).sum()) if groups and groups.by == "memory_mb" else 0
    )
    if groups is None:
        return not_enough(
            "All runs of this selection have one baseline memory, or mix several within a run: there is nothing to compare.",
            "Runs at 1 GB and at more, told apart by a tag such as `baseline_memory_mb`.",
            n=len(runs),
        )
    matched = groups.matched()
    found = every(matched)
    makespan, cost = found["makespan_ms"], cost_of(found)
    gone = losses(matched)
    more_lost = gone.other > gone.reference
    if makespan.ratio is None or cost.ratio is None:
        few = too_few(groups, matched, "at the two sizes of memory")
        return replace(few, status="does not hold") if more_lost and gone.p < _CHANCE else few
    everyone = compare(matched, "makespan_ms", lost_rank_last=True)
    rows = table(matched, found)
    if everyone.ratio:
        rows = pd.concat([pd.DataFrame([row("makespan, lost runs never end", everyone)]), rows], ignore_index=True)
    status = _worth_it(makespan, cost, gone, bool(matched.confounded) or unknown > 0)
    never = (
        f"; counted as never ending, they make the makespan {phrases.times(everyone.ratio)}"
        if gone.other and everyone.ratio
        else ""
    )
    return Answer(
        status,
        f"At {groups.names[1]} instead of {groups.names[0]}, among runs that survived, {bold(makespan)} and {phrases.decided(cost)}; "
        f"{gone.sentence}{never}{phrases.but(matched)}.{_who_was_lost(matched)}"
        + (f" {count(unknown, 'incomplete run')} left no memory on record and may belong to either." if unknown else ""),
        makespan.n, "pairs of runs" if matched.way == "paired" else "runs",
        phrases.effect("makespan at less memory / at more, survivors only", makespan.ratio),
        left_out(groups, matched), rows,
        forest(rows, "At less memory / at more (ratio)", "less-memory"),
        (
            f"It rests on {phrases.rests_on(matched)}.",
            "Survivorship: a run killed for its memory leaves no makespan. Medians over survivors flatter the smaller memory, which "
            "loses its hardest runs; the row 'lost runs never end' ranks them last instead of leaving them out.",
            "Whether to accept lost runs for lower cost is a decision; the status is 'mixed' where the smaller memory costs less "
            "and loses more runs or takes longer.",
        ),
        "More pairs, above all with large inputs: they are the ones lost. A retry of killed workers with more memory.",
    )  # fmt: skip


def _worth_it(makespan: Compared, cost: Compared, gone: Losses, in_doubt: bool) -> Status:
    """Judge less memory: worth it where it costs less, takes no longer and loses no more."""
    slower = makespan.ratio is not None and makespan.ratio.decision == "higher"
    more_lost = gone.other > gone.reference
    price = cost.ratio.decision if cost.ratio else "undecided"
    if price == "lower":
        return "mixed" if more_lost or slower or in_doubt else "holds"
    if (more_lost and gone.p < _CHANCE) or slower or price in ("higher", "no difference"):
        return "mixed" if in_doubt else "does not hold"
    return "not enough data"


def _by_memory(runs: pd.DataFrame) -> Groups | None:
    for name in ("baseline_memory_mb", "baseline_memory", "memory_mb", "memory", ""):
        sizes = tag_values(runs, name).map(_megabytes, na_action="ignore") if name else runs["memory_mb"]
        known = sizes.dropna().value_counts()
        larger = [size for size in known.index if size > min(known.index, default=0)]
        if not larger:
            continue
        smaller = _GB if _GB in known.index and any(size > _GB for size in larger) else min(known.index)
        reference = max((size for size in larger if size > smaller), key=lambda size: (known[size], -size))
        return Groups(
            runs, sizes, reference, smaller, name or "memory_mb", (f"{reference:,.0f} MB", f"{smaller:,.0f} MB")
        )
    return None


def _megabytes(value: str) -> float | None:
    text = value.strip().lower().removesuffix("b").strip()
    scale = {"m": 1, "g": _GB}.get(text[-1:], 0)
    digits = text.rstrip("mg ")
    if not digits.replace(".", "", 1).isdecimal():
        return None
    number = float(digits)
    return number * (scale or (1 if number >= 64 else _GB))


def _who_was_lost(matched: Matched) -> str:
    """Say how large the inputs of the lost runs' partners were, beside those of the others: lost runs may record none."""
    if matched.way != "paired":
        return ""
    runs = matched.blocks.assign(lost=~matched.blocks["is_complete"].eq(True))
    gone = set(runs["block"][runs["is_other"] & runs["lost"]])
    partners = runs[~runs["is_other"] & ~runs["lost"]].dropna(subset=["input_bytes"])
    of_lost = partners["block"].isin(gone)
    if not of_lost.any() or of_lost.all():
        return ""
    usual = partners["input_bytes"][~of_lost].median()
    if not usual > 0:
        return ""
    larger = partners["input_bytes"][of_lost].median() / usual
    return f" The runs lost had {ratio(larger).removesuffix('x')} times the input of the others (medians)."


QUESTIONS = (
    Question(
        "F06", "Should the baseline memory go down to 1 GB, and what may be concluded while killed runs are ignored?",
        "experiments", MINIMUM, _less_memory,
    ),
)  # fmt: skip

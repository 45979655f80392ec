"""F24: which comparison is undecided, what effect is plausible, how many runs would decide it, and which to make first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from app.charts.next_runs import further_runs
from app.findings import phrases, power
from app.findings.candidates import MOST_LEVELS, OF_RUNS, Candidate, candidates
from app.findings.evidence import Evidence
from app.findings.experiments import forest, losses
from app.findings.finding import Answer, Figure, Question, not_enough
from app.findings.half_pairs import HalfPairs, by, described, half_pairs
from app.findings.matching import METRICS, RUNS, Compared, compare, lost, unnamed
from app.findings.slas import ASKED
from app.findings.statistics import MINIMUM_IN_STRATUM, MINIMUM_PAIRS, MINIMUM_RUNS, NO_DIFFERENCE
from app.plain import label, plain
from app.units import count

LOSSES = "runs lost"
_MOST_SAID, _MOST_RUNS, _MOST_DRAWN, _MOST_NAMED = 3, 2, 12, 4
_POWER = f"{100 * power.POWER:.0f} %"
_MANY = f"more than {power.MOST_NEEDED:,}"


@dataclass(frozen=True, slots=True)
class Open:
    """One metric of two groups of runs: what it decides, and how many pairs or runs in all would.

    `needed`: at the effect seen; `needed_small`: at the smallest that matters, 5 %; both None where there is nothing to need
    or it is beyond `power.MOST_NEEDED`. `compared` is None for runs lost.
    """

    candidate: Candidate
    metric: str
    compared: Compared | None
    decision: str
    n: int
    needed: int | None = None
    needed_small: int | None = None
    half: HalfPairs | None = None

    @property
    def is_paired(self) -> bool:
        """Whether runs are compared in pairs."""
        return self.candidate.matched.way == "paired"

    @property
    def more(self) -> int | None:
        """How many further pairs or runs decide at the effect seen."""
        return None if self.needed is None else self.needed - self.n

    def runs(self, needed: int | None) -> int | None:
        """Return how many further runs that takes: two for a pair, one where half of it is there."""
        if needed is None:
            return None
        more = needed - self.n
        return 2 * more - min(more, len(self.half) if self.half else 0) if self.is_paired else more


def _next(evidence: Evidence) -> Answer:
    runs = evidence.frame(RUNS).merge(evidence.frame(ASKED), on="run_id").merge(evidence.frame(OF_RUNS), on="run_id")
    every = candidates(runs)
    confounded = [one for one in every if one.matched.confounded]
    alike = [one for one in every if not one.matched.confounded and len(one.matched.blocks)]
    judged = [found for one in alike for found in _judged(one)]
    known = [one for one in judged if one.decision != "too few"]
    left_out = _left_out(every, confounded, alike, judged, int(unnamed(runs).sum()))
    if not known:
        return not_enough(
            f"Of {count(len(runs), 'run')} no two groups can be compared whose difference more runs would decide. {left_out}",
            "Runs of two groups, told apart by a tag, a planner, an SLA or an environment, and alike in all else: at least "
            f"{MINIMUM_PAIRS} pairs, which a common tag such as `seed` makes.",
            n=len(runs),
        )
    undecided = sorted((one for one in known if one.decision == "undecided"), key=_order)
    first = undecided[0] if undecided and undecided[0].needed is not None else None
    rows = _table(undecided, [one for one in judged if one.decision != "undecided"])
    return Answer(
        "answered",
        _sentence(known, undecided),
        len(known),
        "comparisons of a metric",
        phrases.effect(f"{_named(first, label)}, the first to decide", first.compared.ratio) if first and first.compared else None,
        left_out,
        rows,
        _figures(undecided),
        _caveats(undecided),
        "The runs named. How many it takes rests on the effect and the spread seen so far, and both will move with them.",
    )  # fmt: skip


def _judged(candidate: Candidate) -> list[Open]:
    """Return makespan, cost and runs lost of two groups: cost in dollars where runs have a price, else in GB-seconds."""
    found = {metric: compare(candidate.matched, metric, candidate.level) for metric in ("makespan_ms", "cost_usd")}
    if found["cost_usd"].ratio is None:
        found["gb_seconds_derived"] = compare(candidate.matched, "gb_seconds_derived", candidate.level)
        del found["cost_usd"]
    half = half_pairs(candidate) if candidate.matched.way == "paired" else None
    judged = [_of_ratio(candidate, one, half) for one in found.values()]
    gone = losses(candidate.matched, candidate.level)
    return [*judged, _of_losses(candidate, gone.p, half)] if gone.reference or gone.other else judged


def _of_ratio(candidate: Candidate, found: Compared, half: HalfPairs | None) -> Open:
    ratio, name = found.ratio, METRICS[found.metric]
    if ratio is None:
        return Open(candidate, name, found, "too few", found.n, half=half)
    if ratio.decision != "undecided":
        return Open(candidate, name, found, ratio.decision, found.n)
    small = 1 + NO_DIFFERENCE if ratio.value >= 1 else 1 / (1 + NO_DIFFERENCE)
    needed, needed_small = ratio.needed(candidate.level), ratio.needed(candidate.level, small)
    return Open(candidate, name, found, "undecided", found.n, needed, needed_small, half)


def _of_losses(candidate: Candidate, p: float, half: HalfPairs | None) -> Open:
    rows = lost(candidate.matched)
    paired = candidate.matched.way == "paired"
    n = len(rows) if paired else len(candidate.matched.blocks)
    if p < 1 - candidate.level:
        return Open(candidate, LOSSES, None, "more than chance", n)
    needed = power.losses_needed(rows, candidate.level, paired=paired)
    return Open(candidate, LOSSES, None, "undecided", n, needed, None, half)


def _order(one: Open) -> tuple[bool, int, str, str, str]:
    """Order by how many further runs decide; those beyond all bounds last."""
    runs = one.runs(one.needed)
    return runs is None, runs or 0, one.candidate.by, one.candidate.other, one.metric


def _sentence(known: Sequence[Open], undecided: Sequence[Open]) -> str:
    of = f"Of {count(len(known), 'comparison')} of a metric"
    if not undecided:
        return f"{of} all are decided: none of them needs more runs."
    start = f"{of} **{len(undecided):,} {'is' if len(undecided) == 1 else 'are'} undecided**"
    reachable = [one for one in undecided if one.needed is not None]
    if not reachable:
        return f"{start}, and each of them would take {_MANY} runs."
    first = reachable[0]
    seen = (
        f", now {phrases.times(first.compared.ratio, first.candidate.level)}"
        if first.compared
        else f": {losses(first.candidate.matched, first.candidate.level).sentence}"
    )
    return (
        f"{start}. Fewest runs decide {_named(first)}{seen}: {_how_many(first)}. {_which(first)}{_after(reachable[1:])}"
    )


def _named(one: Open, shown: Any = plain) -> str:
    """Return 'GB-seconds with task_limit none instead of 6'; `shown` writes what dumps say."""
    told = by(one.candidate) if shown is plain else one.candidate.by.removeprefix("tag ")
    return f"{one.metric} with {told} {shown(one.candidate.other, 30)} instead of {shown(one.candidate.reference, 30)}"


def _how_many(one: Open) -> str:
    """Say how many further pairs or runs decide, at the effect seen and at the smallest that matters."""
    runs = one.runs(one.needed) or 0
    more = (
        f"**{count(one.more or 0, 'more pair')}** ({count(runs, 'run')})"
        if one.is_paired
        else f"**{count(runs, 'more run')}**"
    )
    if one.compared is None:
        return f"{more} would show it with {_POWER} power if losses go on as they were"
    small = one.runs(one.needed_small)
    least = f"{small:,}" if small is not None else _MANY
    return f"{more} would decide it with {_POWER} power if the ratio is the one seen, {least} {'run' if small == 1 else 'runs'} if it is 5 % off 1"


def _which(one: Open) -> str:
    """Say which runs to make: those that complete half a pair first, then new ones, spread over workflows as so far."""
    if not one.is_paired:
        shares = one.candidate.matched.blocks.groupby(["workflow", "is_other"], dropna=False).size()
        wanted = _spread(shares, one.more or 0)
        each = [
            f"{number:,} of {plain(workflow, 30)} with {by(one.candidate)} {plain(one.candidate.other if side else one.candidate.reference, 30)}"
            for (workflow, side), number in wanted
        ]
        return f"In the proportions so far: {_some(each)}."
    half, more = one.half, one.more or 0
    completing = min(more, len(half) if half else 0)
    parts = []
    if half and completing:
        each = [
            described(half.runs.iloc[[place]], one.candidate, half.missing.iloc[place])
            for place in range(min(completing, _MOST_RUNS))
        ]
        parts.append(f"Half done are {count(len(half), 'pair')}: run first {_some(each, completing, '; ')}")
    if more > completing:
        wanted = _spread(
            one.candidate.matched.blocks.groupby("workflow", dropna=False)["block"].nunique(), more - completing
        )
        each = [f"{number:,} of {plain(workflow, 30)}" for workflow, number in wanted]
        both = f"{plain(one.candidate.reference, 30)} and {plain(one.candidate.other, 30)}"
        parts.append(f"{'Then n' if parts else 'N'}ew pairs, each once with {by(one.candidate)} {both}: {_some(each)}")
    return f"{'. '.join(parts)}."


def _after(others: Sequence[Open]) -> str:
    """Name the comparisons that follow."""
    if not others:
        return ""
    named = [f"{_named(one)} ({count(one.runs(one.needed) or 0, 'run')})" for one in others[:_MOST_SAID]]
    return f" After it: {_some(named, len(others), '; ')}."


def _spread(sizes: pd.Series[Any], total: int) -> list[tuple[Any, int]]:
    """Return `total` shared out in proportion to sizes, the largest first; what does not divide goes to the largest rests."""
    exact = sizes / sizes.sum() * total
    whole = exact.astype(int)
    rests = (whole - exact).sort_values(kind="stable").index[: total - int(whole.sum())]
    whole[rests] += 1
    ordered = whole[whole > 0].sort_values(ascending=False, kind="stable")
    return [(key, int(number)) for key, number in ordered.items()]


def _some(parts: Sequence[str], of: int | None = None, between: str = ", ") -> str:
    shown = parts[:_MOST_NAMED]
    more = (len(parts) if of is None else of) - len(shown)
    return between.join(shown) + (f" and {more:,} more" if more > 0 else "")


def _table(undecided: Sequence[Open], others: Sequence[Open]) -> pd.DataFrame:
    rows = []
    for one in (*undecided, *others):
        found, is_open = one.compared, one.decision == "undecided"
        rows.append(
            {
                "compared": label(one.candidate.by.removeprefix("tag "), 40), "reference": label(one.candidate.reference, 40),
                "other": label(one.candidate.other, 40), "metric": one.metric,
                "ratio": found.ratio.value if found and found.ratio else None,
                "low": found.ratio.low if found and found.ratio else None,
                "high": found.ratio.high if found and found.ratio else None,
                "interval_level": one.candidate.level, "decision": one.decision,
                "n": one.n, "as": "pairs" if one.is_paired else "runs",
                "needed": one.needed, "further_runs": one.runs(one.needed),
                "needed_at_5_percent": one.needed_small, "further_runs_at_5_percent": one.runs(one.needed_small),
                "half_done_pairs": len(one.half) if one.half is not None and is_open else None,
            }
        )  # fmt: skip
    return pd.DataFrame(rows).astype(
        dict.fromkeys(("needed", "further_runs", "needed_at_5_percent", "further_runs_at_5_percent", "half_done_pairs"), "Int64")
    )  # fmt: skip


def _left_out(
    every: Sequence[Candidate],
    confounded: Sequence[Candidate],
    alike: Sequence[Candidate],
    judged: Sequence[Open],
    nameless: int,
) -> str:
    named = [
        f"{by(one)} {plain(one.other, 20)} / {plain(one.reference, 20)} ({phrases.listed(one.matched.confounded)})"
        for one in confounded
    ]
    parts = [
        f"Of {count(len(every), 'pair of groups')}".replace("pair of groupss", "pairs of groups"),
        f"{len(confounded):,} whose runs differ in more than what is compared, which more runs of the same kind would not mend"
        + (f": {_some(named)}" if named else ""),
        f"{len(every) - len(confounded) - len(alike):,} of which no runs are alike",
        f"{sum(one.decision == 'too few' for one in judged):,} comparisons of a metric with too few runs to know the spread",
    ]
    if nameless:
        parts.append(
            f"{count(nameless, 'run')} without the name of a workflow, of which nothing says that they did the same"
        )
    return f"{parts[0]}: {'; '.join(parts[1:])}."


def _figures(undecided: Sequence[Open]) -> tuple[Figure, ...]:
    reachable = [one for one in undecided if one.needed is not None][:_MOST_DRAWN]
    named = [
        (one, f"{one.metric}: {label(one.candidate.by.removeprefix('tag '), 16)} {label(one.candidate.other, 16)} / "
              f"{label(one.candidate.reference, 16)}")
        for one in reachable
    ]  # fmt: skip
    if not named:
        return ()
    points = [
        {"label": name, "assumed": assumed, "runs": runs}
        for one, name in named
        for assumed, runs in (("as seen", one.runs(one.needed)), ("5 % off 1", one.runs(one.needed_small)))
        if runs is not None
    ]
    text = f"Further runs that would decide each undecided comparison with {_POWER} power, fewest first: " + "; ".join(
        f"{name} {count(one.runs(one.needed) or 0, 'run')}" for one, name in named
    )
    ratios = pd.DataFrame([one.compared.row(name) for one, name in named if one.compared])
    return (
        Figure(further_runs(pd.DataFrame(points)), f"{text}.", "next-runs"),
        *(forest(ratios, "Undecided: other / reference (ratio)", "undecided") if len(ratios) else ()),
    )


def _caveats(undecided: Sequence[Open]) -> tuple[str, ...]:
    first = [
        f"{_named(one)}: {phrases.rests_on(one.candidate.matched)}." for one in undecided[:1] if one.needed is not None
    ]
    return (
        *first,
        "How many would decide: what was recorded is resampled at larger sizes, moved to the effect assumed, until "
        f"{_POWER} of the repetitions show a difference or rule out one above 5 %. It is as good as the spread and the mix of workflows "
        "recorded; runs lost are shown or not shown to differ, never shown to be equal.",
        "The effect assumed is the one seen, anywhere in its interval: the comparisons that seem nearest to a decision are those whose effect "
        "looks large, also by luck. The number at 5 % does not rest on it.",
        "Fix the number of runs beforehand: to look after every run and stop at the first difference finds one where there is none.",
        "Half-done pairs come first, also those of other settings than the pairs so far: they widen what the ratio is a median of.",
        "A counterpart of a run that was lost may be lost again: then the losses, not the ratio, are what it shows.",
        f"Tags of up to {MOST_LEVELS} values, each beside the most frequent; the fastest planner beside the next; SLAs and environments as in "
        "F08 and F09. Intervals of several comparisons by one tag or column hold together (Bonferroni), not those of all.",
    )


QUESTIONS = (
    Question(
        "F24", "What should be run next: which comparison is undecided, and how many runs would decide it?", "experiments",
        f"One comparison of two groups alike in all else: {MINIMUM_PAIRS} pairs of runs, or {MINIMUM_RUNS} runs on each side in strata "
        f"with at least {MINIMUM_IN_STRATUM} on each side.",
        _next,
    ),
)  # fmt: skip
"""F24."""

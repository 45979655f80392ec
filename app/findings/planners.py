"""Which planner is fastest, which is cheapest, and which are beaten on both counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from app.charts.planners import spreads, trade_off
from app.findings import phrases
from app.findings.alike import lay_beside
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Figure, Question, not_enough
from app.findings.matching import RUNS, Matched, compare
from app.findings.standings import CASE, Standings, common, fitted, workflow_ids
from app.findings.statistics import MINIMUM_PAIRS, MINIMUM_RUNS, Interval
from app.findings.unplanned import unplanned
from app.plain import label, plain
from app.units import count, percent, ratio

_RESOURCES = {"cost_usd": "USD", "gb_seconds_derived": "GB-seconds"}
_MOST_DRAWN = 12
_MOST_PAIRED = 12
_MOST_WORKFLOWS = 6
_BEYOND_DRAWING = 1e100

_ENGINES = """
-- The engine of each run: planners of different engines are not compared.
select run_id, coalesce(engine, '') as engine
from selected_runs
order by run_id
"""

_MORE = (
    "More runs of every planner on the same inputs, seeds and SLA (then they pair up); retries of the runs that died."
)
_WORDS = {
    "higher": "decidedly {} than", "no difference": "within 5 % of", "undecided": "not told apart from",
    "too few": "without enough runs to be set beside",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rival:
    """A planner beside the best one: the ratio of their metrics, None with too few runs, and what it rests on.

    `paired`: whether the ratio is of pairs of runs, else it is the fit's; `matched`: how the runs of both lie beside each
    other, None where that was not looked at.
    """

    name: str
    ratio: Interval | None
    paired: bool = False
    matched: Matched | None = None

    @property
    def decision(self) -> str:
        """What can be said of the ratio."""
        return self.ratio.decision if self.ratio else "too few"


@dataclass(frozen=True, slots=True)
class Contest:
    """The best planner by one metric, its rivals, the next one first, the level of each interval, and the runs compared."""

    winner: str
    overall: dict[str, float]
    rivals: tuple[Rival, ...]
    level: float
    n: int

    @property
    def is_clear(self) -> bool:
        """Whether every rival is surely behind the best."""
        return all(rival.decision == "higher" for rival in self.rivals)


def contest(runs: pd.DataFrame, standings: Standings, metric: str) -> Contest | None:
    """Rank the planners that ran in the same workflows, and set each beside the best one.

    The data that chose the best one judge it too, so intervals are adjusted for all pairs of planners (Bonferroni). Runs
    that pair up by seed or input are compared in pairs, which is sharper; the others by the fit. Pairs whose median puts the
    rival ahead are not used: they ask another question (who wins most often) than the one that ranks (the mean ratio).
    """
    planners, workflows = common(standings)
    overall = standings.overall(planners, workflows)
    if len(overall) < 2:
        return None
    order = sorted(overall, key=lambda name: (overall[name], name))
    level = 1 - 0.05 / (len(order) * (len(order) - 1) // 2)
    own = runs[runs["planner"].isin(planners) & workflow_ids(runs).isin(workflows)]
    rivals = []
    for place, name in enumerate(order[1:]):
        fit, paired, matched = standings.beside(order[0], name, workflows, level), None, None
        if place < _MOST_PAIRED:
            matched = lay_beside(own, own["planner"], order[0], name, "planner", always=CASE)
            paired = compare(matched, metric, level).ratio if _pairs_up(matched) else None
        agrees = paired is not None and paired.value >= 1
        rivals.append(Rival(name, paired if agrees else fit, agrees, matched))
    return Contest(order[0], overall, tuple(rivals), level, standings.runs(planners, workflows))


def _pairs_up(matched: Matched) -> bool:
    """Return whether blocks are pairs of single runs, as seeds or inputs make them, and most runs of one side are in one."""
    runs = len(matched.blocks)
    return matched.way == "paired" and runs <= 2.2 * matched.pairs and runs >= matched.unmatched


def frontier(points: pd.DataFrame) -> list[bool]:
    """Return for each (time, resource) whether no other is as good on both and better on one."""
    values = points.to_numpy(float)
    return [not ((values <= point).all(axis=1) & (values < point).any(axis=1)).any() for point in values]


def _answer(evidence: Evidence) -> Answer:
    everything = evidence.frame(RUNS).merge(evidence.frame(_ENGINES), on="run_id", how="left")
    named = everything.dropna(subset=["planner"])
    known = _complete(named)
    if known["planner"].nunique() < 2:
        only = known["planner"].unique()
        who = (
            f"{count(len(known), 'complete run')}, all by {plain(only[0], 40)}" if len(only)
            else f"{without.sentence} None names a planner either" if (without := unplanned(evidence)).is_all
            else "No complete run of this selection says its planner"
        )  # fmt: skip
        more = "Runs of the same workflows under another planner."
        return not_enough(f"{who}: there is nothing to compare.", more, n=len(known))
    engines = known["engine"].value_counts()
    engine = min(engines.index, key=lambda name: (-engines[name], name))
    runs = named[named["engine"] == engine].reset_index(drop=True)
    complete = _complete(runs).reset_index(drop=True)
    spent = complete[complete["gb_seconds_derived"].notna()]
    resource = "cost_usd" if len(spent) and spent["cost_usd"].notna().all() else "gb_seconds_derived"
    fits = {metric: fitted(complete, metric) for metric in ("makespan_ms", resource)}
    fast, cheap = (contest(complete, fit, metric) if fit else None for metric, fit in fits.items())
    if not fast:
        who = f"{count(known['planner'].nunique(), 'planner')} ran, but no two have complete runs of one structure in one environment"
        more = "Runs of the same workflow, in the same environment, under several planners."
        return not_enough(f"{who}: there is nothing to compare.", more, n=len(known))
    if all(rival.ratio is None for rival in fast.rivals):
        who = (
            f"{count(len(fast.overall), 'planner')} can be compared, but with fewer than {MINIMUM_RUNS} complete runs of the best one, "
            f"{plain(fast.winner, 40)}, or of each other one"
        )
        return not_enough(f"{who}: too few to say by how much they differ.", _MORE, n=len(known))
    ranked = _ranked(fast, cheap)
    places, rival = _places(complete, fits, resource), fast.rivals[0].name
    return Answer(
        "answered",
        _sentence(ranked, fast, cheap, resource),
        fast.n,
        "complete runs",
        phrases.effect(f"makespan {label(rival, 40)} / {label(fast.winner, 40)} (next / fastest), adjusted for all pairs of planners",
                       fast.rivals[0].ratio),
        _left_out(runs, everything, fast),
        pd.concat([_overall_rows(ranked, runs, places, fast, cheap, resource), _rows(places, runs, resource)], ignore_index=True),
        _figures(ranked, complete, resource),
        _caveats(runs, complete, places, fast, cheap, resource),
        _MORE,
    )  # fmt: skip


def _complete(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["is_complete"].eq(True) & runs["makespan_ms"].gt(0)]


def _ranked(fast: Contest, cheap: Contest | None) -> pd.DataFrame:
    """Return planner, time and resource (ratios to the best, overall) and whether it is on the frontier, fastest first."""
    known = pd.DataFrame({"planner": list(fast.overall), "time": list(fast.overall.values())})
    known["resource"] = known["planner"].map(cheap.overall if cheap else {}).astype(float)
    both = known.dropna(subset=["resource"])
    on = pd.Series(frontier(both[["time", "resource"]]), index=both.index, dtype=object)
    return known.assign(is_on_frontier=on.reindex(known.index)).sort_values(["time", "planner"], ignore_index=True)


def _places(complete: pd.DataFrame, fits: dict[str, Standings | None], resource: str) -> pd.DataFrame:
    """Return a row per workflow and planner: plain medians, and the fitted ratios to the workflow's best."""
    rows = complete.assign(number=workflow_ids(complete)).groupby(["number", "planner"]).agg(
        workflow=("workflow", "first"), n=("run_id", "size"),
        makespan_ms=("makespan_ms", "median"), resource=(resource, "median"),
    ).reset_index()  # fmt: skip
    keys = pd.MultiIndex.from_frame(rows[["number", "planner"]])
    for name, fit in zip(("time_ratio", "resource_ratio"), fits.values(), strict=True):
        ratios = fit.effects.assign(ratio=fit.ratios()).set_index(["workflow", "planner"])["ratio"] if fit else None
        rows[name] = np.nan if ratios is None else ratios.reindex(keys).to_numpy(float)
    return rows


def _sentence(ranked: pd.DataFrame, fast: Contest, cheap: Contest | None, resource: str) -> str:
    quickest = _best(fast, plain(fast.winner, 40), ("fastest", "faster", "the shortest makespan"), "long", "**")
    if cheap is None:
        return f"{quickest}; what planners cost cannot be compared, since too few runs record their workers."
    named = "cost" if resource == "cost_usd" else "GB-seconds"
    who = "it" if fast.winner == cheap.winner else plain(cheap.winner, 40)
    words = (f"cheapest in {named}", f"cheaper in {named}", f"the {'lowest' if named == 'cost' else 'fewest'} {named}")
    on = ranked.loc[ranked["is_on_frontier"].eq(True), "planner"].tolist()
    is_sure = fast.is_clear and cheap.is_clear and (who == "it" or len(ranked) == 2)
    return (
        f"{quickest}; {_best(cheap, who, words, 'much', '')}. The {'' if is_sure else 'estimated '}frontier is {_names(on, 4)}"
        f"{' alone' if len(on) == 1 else ''}."
    )


def _best(found: Contest, who: str, words: tuple[str, str, str], more: str, bold: str) -> str:
    """Say which planner is best, and by how much over the next; it is only called so where it surely is of all of them."""
    superlative, comparative, most = words
    rival = found.rivals[0]
    following = f"the next, {plain(rival.name, 40)},"
    if rival.ratio is None:
        return f"{who} has {most}, but {following} has too few runs to say by how much"
    times = phrases.times_decided(rival.ratio, found.level).replace(" times", f" times{bold} as {more}", 1)
    if found.is_clear:
        return f"{who} is {superlative}: {following} takes {bold}{times}"
    if rival.decision == "higher":
        return f"{who} is {comparative} than {following} which takes {bold}{times}"
    return f"{who} has {most}, but {following} takes {bold}{times}"


def _losses(runs: pd.DataFrame) -> pd.DataFrame:
    lost = ~runs["is_complete"].eq(True)
    return pd.DataFrame({"runs": runs.groupby("planner").size(), "incomplete": lost.groupby(runs["planner"]).sum()})


def _overall_rows(
    ranked: pd.DataFrame, runs: pd.DataFrame, places: pd.DataFrame, fast: Contest, cheap: Contest | None, resource: str
) -> pd.DataFrame:
    lost, named = _losses(runs), _RESOURCES[resource]
    rows = []
    for row in ranked.to_dict("records"):
        name, own = row["planner"], places[places["planner"] == row["planner"]]
        shown = {
            "workflow": "all together", "planner": label(name, 40),
            "complete runs": int(lost["runs"][name] - lost["incomplete"][name]), "incomplete runs": int(lost["incomplete"][name]),
            "makespan / best": row["time"], f"{named} / best": row["resource"], "on frontier": row["is_on_frontier"],
            "workflows fastest": int(own["time_ratio"].eq(1).sum()), "workflows cheapest": int(own["resource_ratio"].eq(1).sum()),
        }  # fmt: skip
        for found, word in ((fast, "makespan"), (cheap, named)):
            rival = next((rival for rival in found.rivals if rival.name == name), None) if found else None
            compared = rival.ratio if rival else None
            shown[f"{word}: low"], shown[f"{word}: high"] = (compared.low, compared.high) if compared else (None, None)
            shown[f"{word}: from"] = None if not rival or not compared else "pairs" if rival.paired else "fit"
            shown[f"{word}: beside the best"] = (
                None if not found else "best" if name == found.winner else rival.decision if rival else "too few"
            )
        rows.append(shown)
    return pd.DataFrame(rows)


def _rows(places: pd.DataFrame, runs: pd.DataFrame, resource: str) -> pd.DataFrame:
    lost = runs[~runs["is_complete"].eq(True)].groupby(["workflow", "planner"], dropna=False).size()
    return pd.DataFrame({
        "workflow": [label(name, 40) for name in places["workflow"]],
        "planner": [label(name, 40) for name in places["planner"]],
        "complete runs": places["n"],
        "incomplete runs": [int(lost.get(key, 0)) for key in zip(places["workflow"], places["planner"], strict=True)],
        "median makespan (s)": places["makespan_ms"] / 1000,
        f"median {_RESOURCES[resource]}": places["resource"].astype(float),
        "makespan / best": places["time_ratio"],
        f"{_RESOURCES[resource]} / best": places["resource_ratio"],
    })  # fmt: skip


def _left_out(runs: pd.DataFrame, everything: pd.DataFrame, fast: Contest) -> str:
    lost = _losses(runs)
    worst = lost[lost["incomplete"] > 0].sort_values("incomplete", ascending=False, kind="stable").head(6)
    who = ", ".join(f"{row.incomplete:,} of {row.runs:,} of {plain(row.Index, 40)}" for row in worst.itertuples())
    parts = [f"{count(int(lost['incomplete'].sum()), 'incomplete run')}{f' ({who})' if who else ''}"]
    if alone := int((lost["runs"] - lost["incomplete"]).reindex(list(fast.overall)).sum()) - fast.n:
        parts.append(f"{count(alone, 'complete run')} of cases in which nothing can be compared")
    if unknown := int(everything["planner"].isna().sum()):
        parts.append(f"{count(unknown, 'run')} whose planner is not recorded")
    if missing := sorted(set(runs["planner"]) - set(fast.overall)):
        parts.append(f"not ranked, since they did not run where most runs can be compared: {_names(missing, 6)}")
    if others := int((everything["planner"].notna() & (everything["engine"] != runs["engine"].iloc[0])).sum()):
        most = plain(runs["engine"].iloc[0] or None, 40)
        parts.append(f"{count(others, 'run')} of other engines than {most}, which has most runs")
    return f"{'; '.join(parts)}."


def _names(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(plain(name, 40) for name in names[:most]) + more


def _figures(ranked: pd.DataFrame, complete: pd.DataFrame, resource: str) -> tuple[Figure, ...]:
    named = _RESOURCES[resource]
    points = ranked[ranked[["time", "resource"]].lt(_BEYOND_DRAWING).all(axis=1)].head(_MOST_DRAWN)
    runs = complete.assign(workflow=complete["workflow"].fillna(""), s=complete["makespan_ms"] / 1000)
    runs = runs[runs["planner"].isin(ranked["planner"].head(_MOST_DRAWN))]
    most = runs["workflow"].value_counts()
    drawn = sorted(most.index, key=lambda name: (-most[name], name))[:_MOST_WORKFLOWS]
    groups = runs[runs["workflow"].isin(drawn)].groupby(["workflow", "planner"])["s"]
    marks = {"p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}
    spread = groups.quantile(np.array(list(marks.values()))).unstack().set_axis(list(marks), axis=1)
    spread = spread.assign(n=groups.size()).reset_index().sort_values(["workflow", "p50"], ignore_index=True)
    medians = "; ".join(
        f"{label(workflow, 30)}: {', '.join(f'{label(row.planner, 30)} {row.p50:.2f} s' for row in rows.itertuples())}"
        for workflow, rows in spread.groupby("workflow", sort=True)
    )
    fewer = f" {count(len(most) - len(drawn), 'workflow')} with fewer runs not drawn." if len(most) > len(drawn) else ""
    text = (
        "Makespan of complete runs by workflow and planner, not adjusted: median, middle half, 5th to 95th percentile."
    )
    makespans = Figure(spreads(spread), f"{text} Medians: {medians}.{fewer}", "planners-makespan")
    if points.empty:
        return (makespans,)
    said = "; ".join(
        f"{label(name, 40)} {ratio(time)} and {ratio(spent)}"
        for name, time, spent in zip(points["planner"], points["time"], points["resource"], strict=True)
    )
    on = ", ".join(label(name, 40) for name in points.loc[points["is_on_frontier"].eq(True), "planner"])
    text = f"Makespan and {named} per planner, as ratios to the best one's over all workflows: {said}. On the frontier: {on}."
    drawn_points = trade_off(points, f"{named} / the cheapest planner's", "Makespan / the fastest planner's")
    return (Figure(drawn_points, text, "planners-trade-off"), makespans)


def _caveats(
    runs: pd.DataFrame,
    complete: pd.DataFrame,
    places: pd.DataFrame,
    fast: Contest,
    cheap: Contest | None,
    resource: str,
) -> tuple[str, ...]:
    said = []
    for found, word, ratios in ((fast, "faster", "time_ratio"), (cheap, "cheaper", "resource_ratio")):
        if found is None:
            continue
        parts = [
            f"{words.format(word)} {_names(names, 8)}" for decision, words in _WORDS.items()
            if (names := [rival.name for rival in found.rivals if rival.decision == decision])
        ]  # fmt: skip
        own = places.loc[places["planner"] == found.winner, ratios].dropna()
        ahead = f"ahead in {int(own.eq(1).sum()):,} of {count(len(own), 'workflow')}"
        said.append(f"{plain(found.winner, 40)} is {'; '.join(parts)}; {ahead}.")
    following = fast.rivals[0]
    free = following.matched.free if following.matched else ()
    rests = (
        f"; the next one's makespan is set beside the fastest one's by the median of {phrases.rests_on(following.matched)}"
        if following.matched and following.paired
        else f"; not held equal beside the next one: {phrases.listed(free)}" if free else ""
    )  # fmt: skip
    said += [
        "Ratios are geometric means over workflows, each workflow counting once, from a fit of logarithms within equal workflow, "
        f"structure and environment{rests}. Intervals hold {100 * fast.level:.4g} % each, so that those of all pairs of planners "
        "hold at once with at least 95 %.",
        "Memory is a planner's own choice and not held equal. The medians in the table and in the chart of makespans are not adjusted.",
    ]
    lost = _losses(runs)
    shares = (lost["incomplete"] / lost["runs"])[lost["incomplete"] > 0]
    if len(shares):
        worst = str(shares.idxmax())
        said.append(
            f"Figures are of survivors: {percent(float(shares[worst]))} of the runs of {plain(worst, 40)} are incomplete, the highest share, "
            "and what these would have taken is in no figure."
        )
    if resource == "gb_seconds_derived":
        without = int(complete["gb_seconds_derived"].isna().sum())
        said.append(
            "GB-seconds are memory times the active periods of workers, start-up included, not what the engine sampled"
            + (f"; {count(without, 'complete run')} recorded no workers" if without else "")
            + ". With a price for every environment costs would stand here."
        )
    return tuple(said)


QUESTIONS = (
    Question(
        "F23", "Which planner is fastest, which is cheapest, what is the frontier between them?", "planners_and_cost",
        f"Two planners with complete runs of one structure in one environment. By how much: {MINIMUM_RUNS} runs of each, or "
        f"{MINIMUM_PAIRS} pairs; a difference counts as real if the interval, adjusted for all pairs of planners, does not hold 1.",
        _answer,
    ),
)  # fmt: skip
"""F23."""

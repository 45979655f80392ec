"""Which planner is fastest, which is cheapest, and which are beaten on both counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from app.charts.planners import spreads, trade_off
from app.findings import phrases
from app.findings.alike import lay_beside
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Effect, Figure, Question, not_enough
from app.findings.matching import RUNS, Matched, compare
from app.findings.standings import CASE, Standings, common, fitted, workflow_ids
from app.findings.statistics import MINIMUM_PAIRS, MINIMUM_RUNS, Interval
from app.plain import label, plain
from app.units import count, percent, ratio

_RESOURCES = {"cost_usd": "USD", "gb_seconds_derived": "GB-seconds"}
_MOST_DRAWN = 12
_MOST_PAIRED = 12
_MOST_WORKFLOWS = 6

_OF_RUNS = """
-- The engine of each run, and how many of its inputs were pre-loaded and lost their download time.
with preloaded as (
    select run_id, count(*) as inputs
    from task_inputs
    where preloaded and download_ms is null and run_id in (select run_id from selected_runs)
    group by run_id
)

select selected_runs.run_id, selected_runs.engine, coalesce(preloaded.inputs, 0)::bigint as preloaded
from selected_runs
left join preloaded on selected_runs.run_id = preloaded.run_id
order by selected_runs.run_id
"""

_MORE = (
    "More runs of every planner on the same inputs, seeds and SLA (then they pair up); retries of the runs that died."
)
_WORDS = {
    "higher": "decidedly {} than", "lower": "decidedly not {} than", "no difference": "within 5 % of",
    "undecided": "not told apart from", "too few": "without enough runs to be set beside",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rival:
    """A planner beside the best one: the ratio of their metrics, from pairs of runs or from the fit, None with too few runs."""

    name: str
    ratio: Interval | None
    matched: Matched

    @property
    def decision(self) -> str:
        """What can be said of the ratio."""
        return self.ratio.decision if self.ratio else "too few"


@dataclass(frozen=True, slots=True)
class Contest:
    """The best planner by one metric, its rivals, the next one first, and the level of each interval."""

    metric: str
    winner: str
    overall: dict[str, float]
    rivals: tuple[Rival, ...]
    level: float


Beside = Callable[[pd.DataFrame, str, str], Matched]


def contest(runs: pd.DataFrame, standings: Standings, metric: str, beside: Beside | None = None) -> Contest | None:
    """Rank the planners that ran in the same workflows, and set each beside the best one.

    The data that chose the best one judge it too, so intervals are adjusted for all pairs of planners (Bonferroni). Runs
    that pair up by seed or input are compared in pairs, which is sharper; the others by the fit.
    """
    beside = beside or _beside
    planners, workflows = common(standings)
    overall = standings.overall(planners, workflows)
    if len(overall) < 2:
        return None
    order = sorted(overall, key=lambda name: (overall[name], name))
    level = 1 - 0.05 / (len(order) * (len(order) - 1) // 2)
    own = runs[runs["planner"].isin(planners) & workflow_ids(runs).isin(workflows)]
    rivals = []
    for place, name in enumerate(order[1:]):
        found = Rival(
            name, standings.beside(order[0], name, workflows, level), Matched("stratified", own.head(0), (), (), 0)
        )
        if place < _MOST_PAIRED:
            matched = beside(own, order[0], name)
            paired = compare(matched, metric, level).ratio if _pairs_up(matched) else None
            found = replace(found, ratio=paired or found.ratio, matched=matched)
        rivals.append(found)
    return Contest(metric, order[0], overall, tuple(rivals), level)


def _beside(runs: pd.DataFrame, winner: str, rival: str) -> Matched:
    return lay_beside(runs, runs["planner"], winner, rival, "planner", always=CASE, never=("memory_mb",))


def _pairs_up(matched: Matched) -> bool:
    """Return whether blocks are pairs of single runs, as seeds or inputs make them, and most runs of one side are in one."""
    runs = len(matched.blocks)
    return matched.way == "paired" and runs <= 2.2 * matched.pairs and runs >= matched.unmatched


def frontier(points: pd.DataFrame) -> list[bool]:
    """Return for each (time, resource) whether no other is as good on both and better on one."""
    values = points.to_numpy(float)
    return [not ((values <= point).all(axis=1) & (values < point).any(axis=1)).any() for point in values]


def _answer(evidence: Evidence) -> Answer:
    everything = evidence.frame(RUNS).merge(evidence.frame(_OF_RUNS), on="run_id", how="left")
    everything["engine"] = everything["engine"].fillna("")
    named = everything.dropna(subset=["planner"])
    known = named[named["is_complete"].eq(True) & named["makespan_ms"].gt(0)]
    if known["planner"].nunique() < 2:
        only = known["planner"].unique()
        who = (
            f"{count(len(known), 'complete run')}, all by {plain(only[0], 40)}" if len(only)
            else "No complete run of this selection says its planner"
        )  # fmt: skip
        return not_enough(
            f"{who}: there is nothing to compare.", "Runs of the same workflows under another planner.", n=len(known)
        )
    engines = known["engine"].value_counts()
    engine = sorted(engines.index, key=lambda name: (-engines[name], name))[0]
    runs = named[named["engine"] == engine].reset_index(drop=True)
    complete = runs[runs["is_complete"].eq(True) & runs["makespan_ms"].gt(0)].reset_index(drop=True)
    spent = complete[complete["gb_seconds_derived"].notna()]
    resource = "cost_usd" if len(spent) and spent["cost_usd"].notna().all() else "gb_seconds_derived"
    fits = {metric: fitted(complete, metric) for metric in ("makespan_ms", resource)}
    laid: dict[tuple[int, str, str], Matched] = {}

    def beside(own: pd.DataFrame, winner: str, rival: str) -> Matched:
        key = (len(own), winner, rival)
        return laid[key] if key in laid else laid.setdefault(key, _beside(own, winner, rival))

    contests = {metric: contest(complete, fit, metric, beside) for metric, fit in fits.items() if fit}
    fast, cheap = contests.get("makespan_ms"), contests.get(resource)
    if not fast:
        return not_enough(
            f"{count(known['planner'].nunique(), 'planner')} ran, but no two have complete runs of one structure in one environment: "
            "there is nothing to compare.",
            "Runs of the same workflow, in the same environment, under several planners.",
            n=len(known),
        )
    if all(rival.ratio is None for rival in fast.rivals):
        return not_enough(
            f"{count(len(fast.overall), 'planner')} can be compared, but with fewer than {MINIMUM_RUNS} complete runs of the best one, "
            f"{plain(fast.winner, 40)}, or of each other one: too few to say by how much they differ.",
            _MORE,
            n=len(known),
        )
    ranked = _ranked(fast, cheap)
    places = _places(complete, fits, resource)
    return Answer(
        "answered",
        _sentence(ranked, places, fast, cheap, resource),
        int(complete["planner"].isin(fast.overall).sum()),
        "complete runs",
        _effect(fast),
        _left_out(runs, everything, fast),
        pd.concat([_overall_rows(ranked, runs, places, fast, cheap, resource), _rows(places, runs, resource)], ignore_index=True),
        _figures(ranked, complete, resource),
        _caveats(runs, complete, fast, cheap, resource, len(engines)),
        _MORE,
    )  # fmt: skip


def _ranked(fast: Contest, cheap: Contest | None) -> pd.DataFrame:
    """Return planner, time and resource (ratios to the best, overall) and whether it is on the frontier, fastest first."""
    known = pd.DataFrame({"planner": list(fast.overall), "time": list(fast.overall.values())})
    known["resource"] = known["planner"].map(cheap.overall if cheap else {}).astype(float)
    both = known.dropna(subset=["resource"])
    on = pd.Series(frontier(both[["time", "resource"]]), index=both.index, dtype=object)
    return known.assign(is_on_frontier=on.reindex(known.index)).sort_values(["time", "planner"], ignore_index=True)


def _places(complete: pd.DataFrame, fits: dict[str, Standings | None], resource: str) -> pd.DataFrame:
    """Return a row per workflow and planner: plain medians, and the fitted ratios to the workflow's best."""
    numbered = complete.assign(number=workflow_ids(complete))
    rows = numbered.groupby(["number", "planner"]).agg(
        workflow=("workflow", "first"), n=("run_id", "size"),
        makespan_ms=("makespan_ms", "median"), resource=(resource, "median"),
    ).reset_index()  # fmt: skip
    for name, metric in (("time_ratio", "makespan_ms"), ("resource_ratio", resource)):
        fit = fits[metric]
        found = (
            fit.effects.assign(**{name: fit.ratios()})
            if fit
            else pd.DataFrame({"workflow": [], "planner": [], name: []})
        )
        rows = rows.merge(
            found[["workflow", "planner", name]].rename(columns={"workflow": "number"}),
            on=["number", "planner"],
            how="left",
        )
    on = pd.Series(None, index=rows.index, dtype=object)
    for _, both in rows.dropna(subset=["time_ratio", "resource_ratio"]).groupby("number"):
        on.loc[both.index] = frontier(both[["time_ratio", "resource_ratio"]])
    return rows.assign(is_on_frontier=on)


def _sentence(ranked: pd.DataFrame, places: pd.DataFrame, fast: Contest, cheap: Contest | None, resource: str) -> str:
    quickest = _best(fast, places, "time_ratio", "fastest", "the shortest makespan", "takes", " as long", "**")
    if cheap is None:
        return f"{quickest}; what planners cost cannot be compared, since too few runs record their workers."
    named = "cost" if resource == "cost_usd" else "GB-seconds"
    least = _best(
        cheap, places, "resource_ratio", f"cheapest in {named}", f"the least {named}", "takes", " as much", ""
    )
    if fast.winner == cheap.winner:
        others = len(fast.rivals)
        beaten = len({rival.name for rival in fast.rivals if rival.decision == "higher"}
                     & {rival.name for rival in cheap.rivals if rival.decision == "higher"})  # fmt: skip
        sure = "decidedly beaten on both counts" if beaten == others else "behind it on both counts"
        rest = f"all {others:,} others are {sure}" if others > 1 else f"the other is {sure}"
        return f"{quickest}; {least}. It is the whole frontier: {rest}{'' if beaten == others else f', {beaten:,} of them decidedly' if others > 1 else ', not decidedly'}."
    on = ranked.loc[ranked["is_on_frontier"].eq(True), "planner"].tolist()
    names = ", ".join(plain(name, 40) for name in on[:6]) + (f" and {len(on) - 6} more" if len(on) > 6 else "")
    behind = len(ranked) - len(on)
    rest = (
        f"; {count(behind, 'planner')} {'is' if behind == 1 else 'are'} behind one of these on both counts"
        if behind
        else ""
    )
    return f"{quickest}; {least}. The frontier is {names}{rest}."


def _best(
    found: Contest, places: pd.DataFrame, ratios: str, is_best: str, has_best: str, verb: str, more: str, bold: str
) -> str:
    """Say which planner is best, in how many workflows, and by how much over the next; it is only called so where that is sure."""
    winner, rival = plain(found.winner, 40), found.rivals[0]
    own = places.loc[places["planner"] == found.winner, ratios].dropna()
    where = f"(in {int((own == 1).sum()):,} of {count(len(own), 'workflow')})"
    following = f"the next, {plain(rival.name, 40)},"
    if rival.ratio is None:
        return f"{winner} has {has_best} {where}, but {following} has too few runs to say by how much"
    times = _times(rival.ratio, found.level).replace(" times", f" times{bold}{more}", 1)
    if rival.decision == "higher":
        return f"{winner} is {is_best} {where}: {following} {verb} {bold}{times}"
    return f"{winner} has {has_best} {where}, but {following} {verb} {bold}{times}"


def _times(found: Interval, level: float) -> str:
    said = phrases.times(found).replace("95 %", f"{100 * level:.3g} %")
    ends = {"undecided": "undecided", "no difference": "no difference beyond 5 %"}.get(found.decision)
    return f"{said[:-1]}, {ends})" if ends else said


def _effect(fast: Contest) -> Effect | None:
    rival = fast.rivals[0]
    name = f"makespan {label(rival.name, 40)} / {label(fast.winner, 40)} (next / fastest), adjusted for all pairs of planners"
    return phrases.effect(name, rival.ratio)


def _losses(runs: pd.DataFrame) -> pd.DataFrame:
    lost = ~runs["is_complete"].eq(True)
    return pd.DataFrame({"runs": runs.groupby("planner").size(), "incomplete": lost.groupby(runs["planner"]).sum()})


def _overall_rows(
    ranked: pd.DataFrame, runs: pd.DataFrame, places: pd.DataFrame, fast: Contest, cheap: Contest | None, resource: str
) -> pd.DataFrame:
    lost, named = _losses(runs), _RESOURCES[resource]
    best = {name: places.loc[places[name].eq(1), "planner"].value_counts() for name in ("time_ratio", "resource_ratio")}
    on = places.loc[places["is_on_frontier"].eq(True), "planner"].value_counts()
    rows = []
    for row in ranked.to_dict("records"):
        name = row["planner"]
        shown = {
            "workflow": "all together", "planner": label(name, 40),
            "complete runs": int(lost["runs"][name] - lost["incomplete"][name]), "incomplete runs": int(lost["incomplete"][name]),
            "makespan / best": row["time"], f"{named} / best": row["resource"], "on frontier": row["is_on_frontier"],
            "workflows fastest": int(best["time_ratio"].get(name, 0)),
            "workflows cheapest": int(best["resource_ratio"].get(name, 0)),
            "workflows on frontier": int(on.get(name, 0)),
        }  # fmt: skip
        for found, word in ((fast, "makespan"), (cheap, named)):
            rival = next((rival for rival in found.rivals if rival.name == name), None) if found else None
            shown[f"{word}: low"] = rival.ratio.low if rival and rival.ratio else None
            shown[f"{word}: high"] = rival.ratio.high if rival and rival.ratio else None
            shown[f"{word}: beside the best"] = (
                None if not found else "best" if name == found.winner else rival.decision if rival else "too few"
            )
        rows.append(shown)
    return pd.DataFrame(rows)


def _rows(places: pd.DataFrame, runs: pd.DataFrame, resource: str) -> pd.DataFrame:
    lost = runs[~runs["is_complete"].eq(True)].groupby(["workflow", "planner"], dropna=False).size()
    return pd.DataFrame(
        {
            "workflow": [label(name, 40) for name in places["workflow"]],
            "planner": [label(name, 40) for name in places["planner"]],
            "complete runs": places["n"],
            "incomplete runs": [
                int(lost.get((row.workflow, row.planner), 0)) for row in places[["workflow", "planner"]].itertuples()
            ],
            "median makespan (s)": places["makespan_ms"] / 1000,
            f"median {_RESOURCES[resource]}": places["resource"].astype(float),
            "makespan / best": places["time_ratio"],
            f"{_RESOURCES[resource]} / best": places["resource_ratio"],
            "on frontier": places["is_on_frontier"],
        }
    )


def _left_out(runs: pd.DataFrame, everything: pd.DataFrame, fast: Contest) -> str:
    lost = _losses(runs)
    worst = lost[lost["incomplete"] > 0].sort_values("incomplete", ascending=False, kind="stable").head(6)
    who = ", ".join(f"{row.incomplete:,} of {row.runs:,} of {plain(row.Index, 40)}" for row in worst.itertuples())
    parts = [f"{count(int(lost['incomplete'].sum()), 'incomplete run')}{f' ({who})' if who else ''}"]
    if unknown := int(everything["planner"].isna().sum()):
        parts.append(f"{count(unknown, 'run')} whose planner is not recorded")
    if missing := sorted(set(runs["planner"]) - set(fast.overall)):
        more = f" and {len(missing) - 6} more" if len(missing) > 6 else ""
        names = ", ".join(plain(name, 40) for name in missing[:6])
        parts.append(f"not ranked, since they did not run where most runs can be compared: {names}{more}")
    if others := int((everything["planner"].notna() & (everything["engine"] != runs["engine"].iloc[0])).sum()):
        parts.append(
            f"{count(others, 'run')} of other engines than {plain(runs['engine'].iloc[0] or None, 40)}, which has most runs"
        )
    return f"{'; '.join(parts)}."


def _figures(ranked: pd.DataFrame, complete: pd.DataFrame, resource: str) -> tuple[Figure, ...]:
    named = _RESOURCES[resource]
    points = ranked.dropna(subset=["resource"]).head(_MOST_DRAWN)
    runs = complete.assign(workflow=complete["workflow"].fillna(""), s=complete["makespan_ms"] / 1000)
    runs = runs[runs["planner"].isin(ranked["planner"].head(_MOST_DRAWN))]
    most = runs["workflow"].value_counts()
    drawn = sorted(most.index, key=lambda name: (-most[name], name))[:_MOST_WORKFLOWS]
    groups = runs[runs["workflow"].isin(drawn)].groupby(["workflow", "planner"])["s"]
    spread = (
        groups.quantile(np.array([0.05, 0.25, 0.5, 0.75, 0.95]))
        .unstack()
        .set_axis(["p5", "p25", "p50", "p75", "p95"], axis=1)
    )
    spread = spread.assign(n=groups.size()).reset_index().sort_values(["workflow", "p50"], ignore_index=True)
    medians = "; ".join(
        f"{label(workflow, 30)}: {', '.join(f'{label(row.planner, 30)} {row.p50:.2f} s' for row in rows.itertuples())}"
        for workflow, rows in spread.groupby("workflow", sort=True)
    )
    fewer = f" {count(len(most) - len(drawn), 'workflow')} with fewer runs not drawn." if len(most) > len(drawn) else ""
    spreads_figure = Figure(
        spreads(spread),
        "Makespan of complete runs by workflow and planner, not adjusted: median, middle half, 5th to 95th percentile. "
        f"Medians: {medians}.{fewer}",
        "planners-makespan",
    )
    if points.empty:
        return (spreads_figure,)
    said = "; ".join(
        f"{label(row['planner'], 40)} {ratio(row['time'])} and {ratio(row['resource'])}"
        for row in points.to_dict("records")
    )
    on = ", ".join(label(name, 40) for name in points.loc[points["is_on_frontier"].eq(True), "planner"])
    return (
        Figure(
            trade_off(points, f"{named} / the cheapest planner's", "Makespan / the fastest planner's"),
            f"Makespan and {named} per planner, as ratios to the best one's over all workflows: {said}. On the frontier: {on}.",
            "planners-trade-off",
        ),
        spreads_figure,
    )


def _caveats(
    runs: pd.DataFrame, complete: pd.DataFrame, fast: Contest, cheap: Contest | None, resource: str, engines: int
) -> tuple[str, ...]:
    said = []
    for found, word in ((fast, "faster"), (cheap, "cheaper")):
        if found is None:
            continue
        parts = [
            f"{words.format(word)} {', '.join(plain(name, 40) for name in names[:8])}{f' and {len(names) - 8} more' if len(names) > 8 else ''}"
            for decision, words in _WORDS.items()
            if (names := [rival.name for rival in found.rivals if rival.decision == decision])
        ]
        said.append(f"{plain(found.winner, 40)} is {'; '.join(parts)}.")
    next_one = fast.rivals[0].matched
    rests = (
        f"pairs ({phrases.rests_on(next_one)})" if next_one.way == "paired"
        else "a fit of logarithms within equal workflow, structure and environment"
        + (f"; not held equal beside the next one: {phrases.listed(next_one.free)}" if next_one.free else "")
    )  # fmt: skip
    said.append(
        f"Ratios are geometric means over workflows, each workflow counting once, from {rests}. Intervals hold {100 * fast.level:.3g} % each, so "
        "that those of all pairs of planners hold at once with at least 95 %."
    )
    said.append(
        "The frontier is one of estimates: a planner is on it, or not, by chance where it is not told apart from its neighbours."
    )
    said.append(
        "Memory is a planner's own choice and not held equal. The medians in the table and in the chart of makespans are not adjusted."
    )
    lost = _losses(runs)
    shares = (lost["incomplete"] / lost["runs"])[lost["incomplete"] > 0]
    if len(shares):
        worst = str(shares.idxmax())
        said.append(
            f"Figures are of survivors: {percent(float(shares[worst]))} of the runs of {plain(worst, 40)} are incomplete, the highest share, "
            "and what these would have taken is in no figure."
        )
    if preloaded := int(runs["preloaded"].sum()):
        said.append(f"{count(preloaded, 'pre-loaded input')} lost their download time; makespans have it all the same.")
    if runs["planner"].str.contains("wukong", case=False).any():
        said.append("WUKONG's workers record no waits for inputs; makespans have them all the same.")
    if resource == "gb_seconds_derived":
        without = int(complete["gb_seconds_derived"].isna().sum())
        said.append(
            "GB-seconds are memory times the active periods of workers, start-up included, not what the engine sampled"
            + (f"; {count(without, 'complete run')} recorded no workers" if without else "")
            + ". With a price for every environment costs would stand here."
        )
    if engines > 1:
        said.append("Planners of different engines are not compared: the one with most runs is.")
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

"""What would have happened if one thing had been different: runs simulated for the page, and what it says of them."""

from __future__ import annotations

import math
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from app.charts.what_if import VERDICTS
from app.findings.evidence import Selection
from app.findings.statistics import MINIMUM_RUNS, NO_DIFFERENCE
from app.plain import plain
from app.units import UNKNOWN, count, duration, figure, known, percent, ratio
from app.what_if_queries import NEWEST
from predictors.simulation.beside import TOUCHED_MS, median_ratio
from predictors.simulation.borrowing import Lenders
from predictors.simulation.changes import Changes
from predictors.simulation.ensembles import Ensemble, simulate_all
from predictors.simulation.knowledge import Knowledge, learn, pool_ms
from predictors.simulation.records import read_records, why_not_read
from predictors.simulation.scenarios import REPLAYS_WITHIN
from warehouse.connection import Reader
from warehouse.schema import literal

AT_ONCE = 8
"""Runs that are simulated between two looks at the progress bar."""
DRAWS, DRAWS_OF_MANY = 20, 10
"""How often one run, and each of many, is played."""
MOST_RUNS = 200
"""Runs that are simulated while somebody waits."""
MOST_LEARNT = 2_000
"""The newest runs, from which the behaviour of the platform is learnt."""

FIGURES = {"makespan": "makespan", "gb_seconds": "GB-seconds", "cold_starts": "cold starts"}

_PARAMETER = re.compile(r"\$([a-z_0-9]+)")


@dataclass(frozen=True)
class Grounds:
    """What simulations rest on: how the platform behaves, whose plans can be borrowed, from how many runs that is known."""

    knowledge: Knowledge
    lenders: Lenders
    runs: int


def learn_newest(reader: Reader) -> Grounds:
    """Learn from the newest runs of a generation."""
    records = read_records(reader, [run for (run,) in reader.rows(NEWEST, {"most": MOST_LEARNT})])
    return Grounds(learn(reader, records), Lenders(records), len(records))


def simulate_runs(
    reader: Reader, grounds: Grounds, runs: Sequence[str], scenarios: Sequence[Changes], draws: int
) -> Ensemble:
    """Simulate a few runs in each scenario, in this process; what cannot be simulated is refused with a sentence."""
    records = read_records(reader, runs, pool_ms=pool_ms(reader, scenarios))
    ensemble = simulate_all(records, grounds.lenders, scenarios, grounds.knowledge, draws=draws, seed=0)
    for run in sorted(set(runs) - {record.run_id for record in records}):
        ensemble.refused.update({(changes.name, run): why_not_read(run) for changes in scenarios})
    return ensemble


def spread(runs: Sequence[str], most: int) -> list[str]:
    """Return at most `most` of the runs, evenly spread over their order."""
    if len(runs) <= most:
        return list(runs)
    return [runs[place * len(runs) // most] for place in range(most)]


def reasons(refused: Mapping[tuple[str, str], str]) -> pd.DataFrame:
    """Return why runs could not be simulated, and how many could not for each reason: reason, runs."""
    told = Counter(why.replace(run, "…").partition(" Hint:")[0] for (_, run), why in refused.items())
    return pd.DataFrame(told.most_common(), columns=["reason", "runs"])


def command(changes: Changes, runs: str, draws: int) -> str:
    """Return the command that simulates it as often; `runs` is the shell's words that choose them."""
    settings = "".join(f" --set {shlex.quote(f'{key}={word}')}" for key, word in changes.words)
    return f"flowscope simulate {runs}{settings} --draws {draws}"


def condition(selection: Selection) -> str:
    """Return the runs that filters select as a condition over `run_summary`."""
    sql, values = selection.sql()
    where = sql.partition("\n    where ")[2].replace("\n        and ", " and ") or "true"
    return _PARAMETER.sub(lambda found: _literal(values[found[1]]), where)


def _literal(value: list[str] | str | date) -> str:
    return f"[{', '.join(map(literal, value))}]" if isinstance(value, list) else literal(str(value))


def replay_sentence(observed: Mapping[str, Any], replay: Mapping[str, Any]) -> str:
    """Say how close the replay comes to the run, and whether it stands for it. `observed`, `replay`: makespan_ms and more."""
    off = abs(replay["makespan_ms"] - observed["makespan_ms"]) / observed["makespan_ms"]
    said = (
        f"Replayed with its recorded durations it takes {duration(replay['makespan_ms'])}, {percent(off)} off the observed {duration(observed['makespan_ms'])}; "
        f"the start of no task is off by more than {percent(replay['largest_start_error'])} of the makespan."
    )
    if replay["replays"]:
        return f"**This run replays.** {said}"
    return (
        f"**This run does not replay**, so nothing is said of it with a change. {said} A replay stands for its run within {100 * REPLAYS_WITHIN:g} %. "
        "What made it different was not recorded, or works in a way that is not simulated."
    )


def difference(changed: Mapping[str, Any]) -> str:
    """Say what the change does to the makespan of one run."""
    low, middle, high = (float(changed[f"difference_{name}ms"]) for name in ("low_", "", "high_"))
    name, draws = plain(changed["scenario"]), count(changed["draws"], "play")
    between = f"{signed(low)} to {signed(high)} in 90 % of {draws}"
    if signed(low) == signed(high):
        between = f"so in {draws}"
    if max(abs(low), abs(high)) <= TOUCHED_MS:
        return f"With {name} this run takes as long as without: the change does not touch its makespan."
    if low <= TOUCHED_MS and high >= -TOUCHED_MS:
        return f"With {name} this run may take shorter or longer: {between}. That is not told apart from no difference."
    before, after = duration(changed["baseline_makespan_ms"]), duration(changed["makespan_ms"])
    instead = f": {after} instead of {before}" if after != before else ""
    return f"With {name} this run takes {duration(abs(middle))} {'longer' if middle > 0 else 'shorter'} ({between}){instead}."


def signed(milliseconds: float) -> str:
    """Return a difference with its sign: '+1.20 s', '−340 ms'."""
    return f"{'−' if milliseconds < 0 else '+'}{duration(abs(milliseconds))}"


def per_run(summaries: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return what a change does to each run: its makespan as a multiple, whether that is told apart, and the figures behind it.

    `summaries`: rows of `simulations` of one change; `runs`: run_id, workflow, planner. Verdicts are `VERDICTS`.
    """
    table = summaries.merge(runs[["run_id", "workflow", "planner"]], on="run_id")
    touched = table["difference_ms"].abs() > TOUCHED_MS
    low, high = table["difference_low_ms"], table["difference_high_ms"]
    shorter, longer, untold = VERDICTS
    verdict = [shorter if b < -TOUCHED_MS else longer if a > TOUCHED_MS else untold for a, b in zip(low, high, strict=True)]  # fmt: skip
    columns = [
        "run_id", "workflow", "planner", "replays", "draws", "baseline_makespan_ms", "makespan_ms", "difference_ms", "difference_low_ms",
        "difference_high_ms", "baseline_gb_seconds", "gb_seconds", "gb_seconds_low", "gb_seconds_high", "baseline_cold_starts", "cold_starts",
    ]  # fmt: skip
    times = table["makespan_ms"] / table["baseline_makespan_ms"].where(table["baseline_makespan_ms"] > 0)
    told = table[columns].assign(touched=touched, makespan_times=times, verdict=verdict)
    return told.assign(replays=told["replays"].fillna(value=True).astype(bool))


def by_group(table: pd.DataFrame, *, errs_together: bool) -> pd.DataFrame:
    """Return what a change does over all runs, then by workflow and planner. `table` as `per_run` returns it.

    workflow, planner, runs (that replay), left_out (that do not), touched (whose makespan it touches), and of these how many
    times each of `FIGURES` is what it is without the change: `_times` (median), `_low` and `_high` (95 %, resampled by run),
    over `_runs` of them: those where it is known, and not zero without the change.
    `errs_together`: what is not known of the change is the same for all runs, so intervals hold the medians of their ends too.
    """
    groups = [(("(all)", "(all)"), table), *table.groupby(["workflow", "planner"], dropna=False)]
    return pd.DataFrame(
        [
            {"workflow": workflow, "planner": planner} | _over(part, errs_together)
            for (workflow, planner), part in groups
        ]
    )


def _over(part: pd.DataFrame, errs_together: bool) -> dict[str, Any]:
    used = part[part["replays"]]
    touched = used[used["touched"]].assign(
        makespan_low_ms=lambda runs: runs["baseline_makespan_ms"] + runs["difference_low_ms"],
        makespan_high_ms=lambda runs: runs["baseline_makespan_ms"] + runs["difference_high_ms"],
    )
    figures: dict[str, Any] = {"runs": len(used), "left_out": len(part) - len(used), "touched": len(touched)}
    for name, unit in (("makespan", "_ms"), ("gb_seconds", ""), ("cold_starts", "")):
        own = touched[(touched[f"baseline_{name}{unit}"] > 0) & touched[f"{name}{unit}"].notna()]
        before = own[f"baseline_{name}{unit}"].astype(float)
        low, middle, high = median_ratio((own[f"{name}{unit}"] / before).to_numpy(float))
        if errs_together and len(own) and f"{name}_low{unit}" in own:
            low = min(low, float((own[f"{name}_low{unit}"] / before).median()))
            high = max(high, float((own[f"{name}_high{unit}"] / before).median()))
        figures |= {f"{name}_times": middle, f"{name}_low": low, f"{name}_high": high, f"{name}_runs": len(own)}
    return figures


def effects(overall: Mapping[str, Any]) -> pd.DataFrame:
    """Return how many times each figure is what it is without the change: label, value, low, high, n, decision.

    `overall` as the first row of `by_group`. With fewer than `MINIMUM_RUNS` runs, n, nothing is decided of a figure.
    """
    rows = [
        {
            "label": shown, "value": overall[f"{name}_times"], "low": overall[f"{name}_low"], "high": overall[f"{name}_high"],
            "n": overall[f"{name}_runs"], "decision": _decided(overall[f"{name}_low"], overall[f"{name}_high"], overall[f"{name}_runs"]),
        }
        for name, shown in FIGURES.items()
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    return table[table["value"].notna()].reset_index(drop=True)


def _decided(low: float, high: float, runs: int) -> str:
    if runs < MINIMUM_RUNS:
        return "undecided"
    if high < 1 or low > 1:
        return "lower" if high < 1 else "higher"
    return "no difference" if low >= 1 / (1 + NO_DIFFERENCE) and high <= 1 + NO_DIFFERENCE else "undecided"


def effect_sentence(overall: Mapping[str, Any], name: str) -> str:
    """Say what a change does over many runs. `overall` as the first row of `by_group`."""
    touched, runs = int(overall["touched"]), int(overall["runs"])
    if not runs:
        return f"Of none of these runs can be said what {plain(name)} does: no replay stands for its run."
    if not touched:
        return f"{plain(name)} touches the makespan of none of the {count(runs, 'run')} that replay."
    told = effects(overall)
    said = [
        f"{row['label']} {ratio(row['value'])} ({figure(row['low'])} to {figure(row['high'])}), {_WORDS[row['decision']]}"
        + (f" (known of {row['n']:,})" if row["n"] < touched else "")
        for row in told.to_dict("records")
    ]
    said += [f"{shown} {UNKNOWN}" for shown in FIGURES.values() if shown not in set(told["label"])]
    few = f" With fewer than {MINIMUM_RUNS} runs nothing is decided." if (told["n"] < MINIMUM_RUNS).any() else ""
    return (
        f"With {plain(name)}, in the median of the **{count(touched, 'run')}** whose makespan it touches (of {runs:,} that replay): {'; '.join(said)}. "
        f"In brackets the 95 % interval, resampled by run.{few}"
    )


_WORDS = {
    "lower": "lower", "higher": "higher", "no difference": f"no difference beyond {100 * NO_DIFFERENCE:g} %", "undecided": "undecided",
}  # fmt: skip


def delta(changed: Mapping[str, Any], column: str) -> str:
    """Return by how much a figure of one run is another with the change, and how sure that is over its plays."""
    if column == "makespan_ms":
        low, middle, high = (float(changed[f"difference_{end}ms"]) for end in ("low_", "", "high_"))
        if max(abs(low), abs(high)) <= TOUCHED_MS:
            return "not touched"
        return f"{signed(middle)} ({signed(low)} to {signed(high)})" if high - low > TOUCHED_MS else signed(middle)
    more = float(changed[column]) - float(changed[f"baseline_{column}"])
    if not known(more):
        return f"difference {UNKNOWN}"
    said = f"{'−' if more < 0 else '+'}{starts(abs(more)) if column == 'cold_starts' else figure(abs(more))}"
    low, high = (float(changed.get(f"{column}_{end}", math.nan)) for end in ("low", "high"))
    return said if not known(low) or figure(low) == figure(high) else f"{said} ({figure(low)} to {figure(high)} in all)"


def starts(number: float) -> str:
    """Return how many starts, a number: '3', and in the mean over plays '2.85'."""
    return f"{number:,.0f}" if number == round(number) else figure(number)

"""How much history predictions need: every run predicted again from only a part of the runs known at its submission.

What is kept are whole runs: sizes of a task's inputs follow from the outputs of other tasks, and what a run took in all
from each of its tasks, so that a sample of rows would teach something else. Fits, statistics of history and calibration
rest on the runs kept and no other. Models are fitted in few steps (`FITS`), with all history too, so that amounts of it
are compared alike; their errors are therefore a little above those of `evaluate`.
"""

from __future__ import annotations

import itertools
from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictors.history import History
from predictors.recent import Recent, keys_of, texts
from predictors.replay import (
    Errors,
    Outcome,
    Prepared,
    fit,
    foresee,
    recent_values,
    teach,
    with_recents,
)
from predictors.targets import DOWNLOAD, EXECUTION, QUANTILES, STARTUP, STARTUP_GIVEN_STATE, UPLOAD, Target

LAST_RUNS = (5, 10, 20, 40, 80, 160, 320)
RESERVOIR = (5, 10, 25, 50, 100)
FITS = 10
"""Steps in which models are fitted again."""
CLOSE = 1.05
"""An error of at most so much of that with all history is as good."""
AT_ONCE = 10
"""Runs after which calibration learns."""
TARGETS = (EXECUTION, DOWNLOAD, UPLOAD, STARTUP)
JUDGED = (*((target.level, target.metric) for target in TARGETS), ("run", "makespan"))
"""What decides how much history is enough. Sizes are predicted with an error near 0 whose ratios say little, and other
totals of runs are sums of these."""
TABLES = ("runs", "tasks", "task_inputs", "invocations", "edges", "planned_tasks")
"""The tables of a flowdump that predictions are learned from."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Instants = npt.NDArray[np.datetime64]

_FOREVER = np.datetime64("9999-12-31", "us")

Progress = Callable[[str, int, int], None]
"""Told the policy at work, and how many of how many runs are predicted with it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What of the past is kept: 'all', the `kept` 'last_runs', or a 'reservoir' of `kept` samples per function.

    The reservoir keeps runs at random: of each function, those that together hold so many of its tasks (the last of them may
    bring more), and of each environment those that hold as many starts. The same runs serve several functions.
    """

    name: str
    kept: int | None = None

    def __str__(self) -> str:
        return self.name if self.kept is None else f"{self.name} {self.kept:,}"


ALL = Policy("all")


# which runs are kept


def kept_until(history: History, policy: Policy, seed: int = 0) -> Instants:
    """Return, for each of the runs in their order, the instant from which on it is no longer kept.

    It is kept from its known_at on; one that never is has that very instant. Only what was known by an instant decides
    what is kept then.
    """
    runs = history.runs.reset_index(drop=True)
    known_at = runs["known_at"].to_numpy().astype("datetime64[us]")
    until = np.full(len(runs), _FOREVER)
    order = _in_order_known(known_at)
    if policy.name == "last_runs" and policy.kept is not None:
        until[order[: -policy.kept]] = known_at[order[policy.kept :]]
    elif policy.name == "reservoir" and policy.kept is not None:
        _sample(_samples_of(history, runs), order, known_at, policy.kept, seed, until)
    return until


def kept_at_the_end(history: History, policy: Policy, seed: int = 0) -> list[str]:
    """Return the runs that are kept once all are known."""
    runs: list[str] = history.runs["run_id"][kept_until(history, policy, seed) == _FOREVER].tolist()
    return runs


def _sample(
    samples: list[dict[str, int]], order: Ints, known_at: Instants, kept: int, seed: int, until: Instants
) -> None:
    """Keep, of each group, the runs with the smallest random numbers that together hold `kept` samples of it.

    Reservoir sampling with random numbers as keys (Vitter 1985, section 2, after Fan, Muller and Rezucha 1962): a run's
    number is drawn once, so that groups keep the same runs where they can.
    """
    numbers = np.random.default_rng(seed).random(len(order))
    held: dict[str, list[tuple[float, int, int]]] = defaultdict(list)
    totals: dict[str, int] = defaultdict(int)
    needed = np.zeros(len(order), dtype=int)
    for number, run in zip(numbers.tolist(), order.tolist(), strict=True):
        for group, count in samples[run].items():
            insort(held[group], (number, run, count))
            totals[group] += count
            needed[run] += 1
            while totals[group] - held[group][-1][2] >= kept:
                _, dropped, fewer = held[group].pop()
                totals[group] -= fewer
                needed[dropped] -= 1
                if not needed[dropped] and dropped != run:
                    until[dropped] = known_at[run]
        if not needed[run]:
            until[run] = known_at[run]


def _samples_of(history: History, runs: pd.DataFrame) -> list[dict[str, int]]:
    """Return, of each run, how many tasks of each function and how many starts in its environment left metrics."""
    place = pd.Series(np.arange(len(runs)), index=runs["run_id"])
    tasks = history.tasks[history.tasks["left_metrics"].to_numpy(dtype=bool)]
    starts = history.starts[history.starts["startup_ms"].notna()]
    samples: list[dict[str, int]] = [{} for _ in range(len(runs))]
    functions = "function " + keys_of(tasks, ("function",))
    environments = "environment " + keys_of(runs, ("environment",)).iloc[place.loc[starts["run_id"]].to_numpy()]
    for run_ids, groups in ((tasks["run_id"], functions), (starts["run_id"], environments)):
        counted = pd.DataFrame({"run": place.loc[run_ids].to_numpy(), "group": groups.to_numpy()})
        counts = counted.groupby(["run", "group"], as_index=False).size()
        for run, group, count in zip(counts["run"], counts["group"], counts["size"], strict=True):
            samples[int(run)][str(group)] = int(count)
    return samples


def _in_order_known(known_at: Instants) -> Ints:
    return np.argsort(known_at, kind="stable").astype(np.int64)


def smallest(budgets: pd.DataFrame) -> Policy | None:
    """Return the policy that keeps the fewest bytes of those as good as all history, None where there is none.

    It, and every larger amount tried of its kind, predicts each of `JUDGED` with an error of at most `CLOSE` times that with
    all history. `budgets` has columns of table `history_budgets`, of one predictor.
    """
    judged = pd.MultiIndex.from_frame(budgets[["level", "metric"]]).isin(JUDGED)
    tried = budgets[judged & (budgets["policy"] != ALL.name).to_numpy()]
    found: list[tuple[float, Policy]] = []
    for name, own in tried.groupby("policy"):
        amounts = own.groupby("kept").agg({"relative_to_all": "max", "bytes_kept": "mean"}).sort_index(ascending=False)
        for kept, worst, size in amounts[["relative_to_all", "bytes_kept"]].itertuples():
            if not worst <= CLOSE:
                break
            found.append((float(size), Policy(str(name), int(kept))))
    return min(found, key=lambda each: each[0])[1] if found else None


# predictions with what is kept


def measure(
    history: History, prepared: Prepared, row_bytes: dict[str, float], told: Progress, *, predictor: str, seed: int = 0,
    last_runs: Sequence[int] = LAST_RUNS, reservoir: Sequence[int] = RESERVOIR,
) -> pd.DataFrame:  # fmt: skip
    """Return the rows of table `history_budgets`: how good predictions of a history's runs are with less of it kept.

    `row_bytes` is what a row of each of `TABLES` takes in a Parquet flowdump. Amounts that drop nothing are left out.
    """
    statistics = _Statistics(prepared)
    blocks = coarse_steps(len(prepared.runs))
    sizes = _sizes(history, prepared, row_bytes)
    tables: list[pd.DataFrame] = []
    tried = [
        ALL,
        *(Policy("last_runs", kept) for kept in last_runs),
        *(Policy("reservoir", kept) for kept in reservoir),
    ]
    for policy in tried:
        until = kept_until(history, policy, seed)
        if policy is not ALL and (until == _FOREVER).all():
            continue
        judged: list[_Judged] = []
        for end, some in replay_kept(prepared, statistics, until, blocks, seed):
            judged += some
            told(f"history: {policy}", end, len(prepared.runs))
        if judged:
            table = _scores(judged, _kept_sizes(prepared, until, sizes))
            tables.append(table.assign(predictor=predictor, policy=policy.name, kept=policy.kept))
    if not tables:
        return pd.DataFrame(columns=COLUMNS)
    budgets = pd.concat([table.astype({"kept": "Int64"}) for table in tables], ignore_index=True)
    whole = budgets[budgets["policy"] == ALL.name][["level", "metric", "median_relative_error"]]
    budgets = budgets.merge(whole.rename(columns={"median_relative_error": "with_all"}), on=["level", "metric"])
    budgets["relative_to_all"] = budgets["median_relative_error"] / budgets["with_all"].where(budgets["with_all"] > 0)
    return budgets[COLUMNS]


COLUMNS = [
    "predictor", "policy", "kept", "level", "metric", "runs_kept", "rows_kept", "bytes_kept", "n", "median_relative_error",
    "pinball_loss", "coverage_90", "relative_to_all",
]  # fmt: skip


def coarse_steps(runs: int) -> list[tuple[int, int]]:
    """Return the blocks of runs (first, end) that are predicted with one fit: at most `FITS`, the first ones short."""
    bounds = {1, *(min(runs, first) for first in (5, 15)), *np.linspace(1, runs, max(FITS - 1, 2), dtype=int).tolist()}
    return list(itertools.pairwise(sorted(bound for bound in bounds if bound <= runs)))


@dataclass(frozen=True, slots=True)
class _Judged:
    """Quantiles predicted of things of the runs `run` (positions), and what happened (NaN: unknown)."""

    level: str
    metric: str
    run: Ints
    values: Floats
    actual: Floats


def replay_kept(
    prepared: Prepared, statistics: _Statistics, until: Instants, blocks: list[tuple[int, int]], seed: int
) -> Iterator[tuple[int, list[_Judged]]]:
    """Yield, block by block, the position after its last run and what was predicted from the runs kept (`replay`)."""
    submitted = prepared.runs["submitted_at"].to_numpy()
    known_at = prepared.runs["known_at"].to_numpy()

    def kept(run: int) -> Mask:
        at = submitted[run]
        mask: Mask = (known_at <= at) & (until > at)
        return mask

    errors, taught = Errors(), np.zeros(len(submitted), dtype=bool)
    past: list[Outcome] = []
    for first, end in blocks:
        models = fit(_learned(prepared, known_at <= submitted[first], kept(first)), kept(first), seed, TARGETS)
        # A start whose state is told is not asked for here; totals of runs only want it to be there.
        models.medians[STARTUP_GIVEN_STATE.metric] = models.medians[STARTUP.metric]
        asked = _asked(prepared, statistics, first, end, [kept(run) for run in range(first, end)], until)
        outlook = [each for each in foresee(asked, models, first, end)[0] if each.metric != STARTUP_GIVEN_STATE.metric]
        judged: list[_Judged] = []
        for start in range(first, end, AT_ONCE):
            stop = min(start + AT_ONCE, end)
            now = kept(start)
            if (taught & ~now).any():
                errors, taught = Errors(), np.zeros(len(submitted), dtype=bool)
            _learn(errors, past, now & ~taught)
            taught = now
            outcomes = [forecast.judge(asked, errors, start, stop, QUANTILES) for forecast in outlook]
            past += outcomes
            judged += [
                _Judged(one.forecast.level, one.forecast.metric, one.forecast.run, one.predicted.values, one.actual)
                for one in outcomes
            ]
        yield end, judged


def _learn(errors: Errors, past: list[Outcome], runs: Mask) -> None:
    """Let calibration learn from what predictions of these runs were off by."""
    for outcome in past:
        own = runs[outcome.forecast.run]
        if own.any():
            teach([outcome if own.all() else outcome.only(own)], errors)


def _learned(prepared: Prepared, known: Mask, kept: Mask) -> Prepared:
    """Return the rows of kept runs, described as if there had been no others."""
    if (kept == known).all():
        return prepared
    gaps = _gaps(prepared.runs, [(run, kept) for run in np.flatnonzero(kept).tolist()])
    tables, took, happened = {}, {}, {}
    for target in TARGETS:
        table = prepared.tables[target.metric]
        own = kept[table["run"].to_numpy()]
        rows = table[own].reset_index(drop=True)
        took[target.metric], happened[target.metric] = (
            prepared.took[target.metric][own],
            prepared.happened[target.metric][own],
        )
        if len(rows):
            rows = _with_gaps(rows, gaps).drop(columns=_statistics_of(target))
            rows = with_recents(rows, took[target.metric], target, prepared.runs)
        tables[target.metric] = rows
    tasks = kept[prepared.dag.rows["run"].to_numpy()]
    return replace(prepared, tables=tables, took=took, happened=happened, output=prepared.output[tasks])


def _asked(
    prepared: Prepared, statistics: _Statistics, first: int, end: int, kept: list[Mask], until: Instants
) -> Prepared:
    """Return the rows of the runs from position `first` up to `end`, each described by the runs `kept` at its submission."""

    def part(table: pd.DataFrame) -> slice:
        return slice(*np.searchsorted(table["run"].to_numpy(), [first, end]))

    dag = prepared.dag.of_runs(first, end)
    places = {target.metric: part(prepared.tables[target.metric]) for target in TARGETS}
    tables = {metric: prepared.tables[metric].iloc[place] for metric, place in places.items()}
    expected = prepared.expected.iloc[part(prepared.expected)]
    expected = expected.assign(task=expected["task"] - part(prepared.dag.rows).start)
    runs = prepared.runs
    submitted = runs["submitted_at"].to_numpy()
    if (until[:end] <= submitted[end - 1]).any():
        for target in TARGETS:
            tables[target.metric] = statistics.described(target.metric, tables[target.metric], first, kept)
        expected = statistics.described("expected", expected, first, kept)
        # A run still going is no history yet, but it is seen to be running.
        before = [(run, until > submitted[run]) for run in range(first, end)]
        gaps = _gaps(runs, before)
        tables["startup"], expected = _with_gaps(tables["startup"], gaps), _with_gaps(expected, gaps)
        same = texts(runs["workflow"])
        known = runs["workflow_runs"].to_numpy().copy()
        known[first:end] = [(mask & (same == same[run])).sum() for run, mask in enumerate(kept, start=first)]
        runs = runs.assign(workflow_runs=known)
    tables[STARTUP_GIVEN_STATE.metric] = tables[STARTUP.metric]
    took = {metric: prepared.took[metric][place] for metric, place in places.items()}
    happened = {metric: prepared.happened[metric][place] for metric, place in places.items()}
    took[STARTUP_GIVEN_STATE.metric], happened[STARTUP_GIVEN_STATE.metric] = took["startup"], happened["startup"]
    return Prepared(runs, dag, expected, tables, took, happened, prepared.output[part(prepared.dag.rows)])


def _statistics_of(target: Target) -> list[str]:
    return [name for recent in target.recents for name in (recent.name, f"{recent.name}_runs")]


def _with_gaps(rows: pd.DataFrame, gaps: Floats) -> pd.DataFrame:
    return rows.assign(log_gap_s=gaps[rows["run"].to_numpy()]) if "log_gap_s" in rows else rows


def _gaps(runs: pd.DataFrame, among: list[tuple[int, Mask]]) -> Floats:
    """Return log_gap_s (see `number_runs`) of some runs, where only other runs of a mask are told of; else NaN."""
    where = pd.factorize(runs["environment"], use_na_sentinel=False)[0]
    submitted, known_at = runs["submitted_at"].to_numpy(), runs["known_at"].to_numpy()
    gaps = np.full(len(runs), np.nan)
    for run, mask in among:
        before = known_at[:run][mask[:run] & (where[:run] == where[run])]
        if len(before):
            gaps[run] = np.log1p(max((submitted[run] - before.max()) / np.timedelta64(1, "s"), 0.0))
    return gaps


class _Statistics:
    """The statistics of history, laid out so that they can be had for any set of runs kept."""

    def __init__(self, prepared: Prepared) -> None:
        rank = np.argsort(_in_order_known(prepared.runs["known_at"].to_numpy()))
        self._of: dict[str, list[_Statistic]] = {}
        for target in TARGETS:
            rows = prepared.tables[target.metric]
            values = recent_values(rows, prepared.took[target.metric], target)
            asked = {target.metric: rows} | ({"expected": prepared.expected} if target is STARTUP else {})
            for name, table in asked.items():
                self._of[name] = [
                    _Statistic(recent, rows, values[recent.value].to_numpy(dtype="float64"), table, rank)
                    for recent in target.recents
                ]

    def described(self, name: str, rows: pd.DataFrame, first: int, kept: list[Mask]) -> pd.DataFrame:
        """Return rows of the table of that name, of the runs from position `first` on, with statistics of the runs kept."""
        bounds = np.searchsorted(rows["run"].to_numpy(), np.arange(first, first + len(kept) + 1))
        columns: dict[str, Floats] = {}
        for statistic in self._of[name]:
            mean, count = np.full(len(rows), np.nan), np.zeros(len(rows))
            for mask, start, stop in zip(kept, bounds[:-1], bounds[1:], strict=True):
                own = slice(start, stop)
                mean[own], count[own] = statistic.of(mask, rows.index[own].to_numpy())
            columns |= {statistic.name: mean, f"{statistic.name}_runs": count}
        return rows.assign(**columns)


class _Statistic:
    """One statistic (`as_of_submission`): by key, run and value in order, so that no set of runs needs sorting again."""

    def __init__(self, recent: Recent, rows: pd.DataFrame, values: Floats, asked: pd.DataFrame, rank: Ints) -> None:
        self.name, self._half_life = recent.name, recent.half_life
        keys = pd.concat([keys_of(rows, recent.by), keys_of(asked, recent.by)], ignore_index=True)
        codes, names = pd.factorize(keys)
        run = rows["run"].to_numpy()
        order = np.lexsort((values, rank[run], codes[: len(rows)]))
        order = order[~np.isnan(values[order])]
        self._keys = len(names)
        self._code, self._run, self._value = codes[order], run[order], values[order]
        self._asked = codes[len(rows) :]

    def of(self, kept: Mask, rows: Ints) -> tuple[Floats, Floats]:
        """Return the mean and the number of runs that the runs kept give for these of the rows asked."""
        own = kept[self._run]
        code, run, value = self._code[own], self._run[own], self._value[own]
        if not len(code):
            return np.full(len(rows), np.nan), np.zeros(len(rows))
        starts = np.flatnonzero(np.r_[True, (code[1:] != code[:-1]) | (run[1:] != run[:-1])])
        ends = np.r_[starts[1:], len(code)]
        median = (value[(starts + ends - 1) // 2] + value[(starts + ends) // 2]) / 2
        key = code[starts]
        count = np.bincount(key, minlength=self._keys)
        age = (np.cumsum(count) - 1)[key] - np.arange(len(key))
        weight = 0.5 ** (age / self._half_life)
        total = np.bincount(key, weight, self._keys)
        mean = np.bincount(key, weight * median, self._keys) / np.where(count > 0, total, np.nan)
        asked = self._asked[rows]
        return mean[asked], count[asked].astype(np.float64)


# scores


def _scores(judged: list[_Judged], kept: pd.DataFrame) -> pd.DataFrame:
    """Return a row per level and metric; `kept` are runs_kept, rows_kept and bytes_kept by position of the run."""
    found = []
    for level, metric in dict.fromkeys((each.level, each.metric) for each in judged):
        own = [each for each in judged if (each.level, each.metric) == (level, metric)]
        run, actual = (np.concatenate([getattr(each, name) for each in own]) for name in ("run", "actual"))
        values = np.concatenate([each.values for each in own])
        known = ~np.isnan(actual)
        run, actual, values = run[known], actual[known], values[known]
        happened, said = actual > 0, values[:, -1] > 0
        miss = actual[:, None] - values
        loss = np.maximum(np.array(QUANTILES) * miss, (np.array(QUANTILES) - 1) * miss)
        found.append({
            "level": level, "metric": metric, **kept.iloc[run].mean().to_dict(), "n": len(actual),
            "median_relative_error": _mean(np.abs(values[happened, 0] / actual[happened] - 1), median=True),
            "pinball_loss": _mean(loss),
            "coverage_90": _mean(actual[said] <= values[said, -1]),
        })  # fmt: skip
    return pd.DataFrame(found)


def _mean(values: Floats | Mask, *, median: bool = False) -> float:
    if not values.size:
        return np.nan
    return float(np.median(values) if median else np.mean(values))


def _sizes(history: History, prepared: Prepared, row_bytes: dict[str, float]) -> tuple[Floats, Floats]:
    """Return the rows and bytes of each run, as a Parquet flowdump."""
    tasks = history.tasks
    rows_of = {
        "runs": history.runs["run_id"],
        "tasks": tasks.loc[tasks["left_metrics"].to_numpy(dtype=bool), "run_id"],
        "task_inputs": history.inputs["run_id"],
        "invocations": history.starts["run_id"],
        "edges": history.edges["run_id"],
        "planned_tasks": tasks.loc[tasks["planned_memory_mb"].notna(), "run_id"],
    }
    rows, size = np.zeros(len(prepared.runs)), np.zeros(len(prepared.runs))
    for name, run_ids in rows_of.items():
        count = run_ids.value_counts().reindex(prepared.runs["run_id"]).fillna(0).to_numpy(dtype="float64")
        rows += count
        size += row_bytes.get(name, 0.0) * count
    return rows, size


def _kept_sizes(prepared: Prepared, until: Instants, sizes: tuple[Floats, Floats]) -> pd.DataFrame:
    """Return how many runs, rows and bytes are kept at each run's submission."""
    known_at = prepared.runs["known_at"].to_numpy()
    kept = [(known_at <= at) & (until > at) for at in prepared.runs["submitted_at"].to_numpy()]
    rows, size = sizes
    return pd.DataFrame({
        "runs_kept": [float(mask.sum()) for mask in kept],
        "rows_kept": [float(rows[mask].sum()) for mask in kept],
        "bytes_kept": [float(size[mask].sum()) for mask in kept],
    })  # fmt: skip

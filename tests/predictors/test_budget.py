"""Less history: what is kept is decided from the past alone, nothing else is used, and a flowdump can be cut down to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from predictors.budget import (
    ALL,
    TABLES,
    TARGETS,
    Policy,
    _Statistics,
    _statistics_of,
    coarse_steps,
    kept_at_the_end,
    kept_until,
    measure,
    replay_kept,
    smallest,
)
from predictors.history import History
from predictors.replay import Errors, Outcome, prepare, teach
from tests.dumps import answer, flowscope
from tests.predictors.worlds import World, dump, remembered
from warehouse.connection import open_current
from warehouse.export import bytes_per_row
from warehouse.home import Home
from warehouse.writer import Writer

WORLD = World(runs=40, environments=("here", "there"))
FLAT = dict.fromkeys(TABLES, 10.0)


def kept_at(history: History, policy: Policy, run: int) -> list[int]:
    """The runs kept when a run is submitted."""
    at = history.runs["submitted_at"].to_numpy()[run]
    known = history.runs["known_at"].to_numpy() <= at
    return np.flatnonzero(known & (kept_until(history, policy) > at)).tolist()


# what is kept


def test_the_last_runs_are_those_known_last_at_a_submission() -> None:
    history = remembered(WORLD)
    assert kept_at(history, Policy("last_runs", 3), 10) == [7, 8, 9]
    assert kept_at(history, Policy("last_runs", 3), 2) == [0, 1]
    assert kept_at(history, ALL, 10) == list(range(10))
    assert kept_at_the_end(history, Policy("last_runs", 2)) == ["run-038", "run-039"]


def test_of_overlapping_runs_those_count_as_last_that_ended_last() -> None:
    history = remembered(WORLD)
    known_at = history.runs["known_at"].copy()
    known_at[3] = known_at[8] + pd.Timedelta(1, "ms")  # the fourth run ends after the ninth
    history = replace(history, runs=history.runs.assign(known_at=known_at))
    assert kept_at(history, Policy("last_runs", 3), 9) == [3, 7, 8]


@pytest.mark.parametrize("kept", [1, 7, 20])
def test_a_reservoir_holds_as_many_samples_of_each_function_and_not_many_more(kept: int) -> None:
    history = remembered(WORLD)
    runs = kept_at_the_end(history, Policy("reservoir", kept))
    tasks = history.only(runs).tasks["function"].value_counts()
    # A run has one `split`, one `merge` and three `work`; of 20 runs in each of two places every one has three starts.
    assert tasks["split"] == tasks["merge"] >= kept
    assert kept <= len(runs) <= 2 * max(kept, 1)
    places = history.runs[history.runs["run_id"].isin(runs)]["environment"].value_counts()
    assert (places * 3 >= kept).all()


def test_a_reservoir_is_a_fair_sample_of_the_runs() -> None:
    history = remembered(WORLD)
    chosen = np.zeros(40)
    for seed in range(150):
        chosen += history.runs["run_id"].isin(kept_at_the_end(history, Policy("reservoir", 8), seed)).to_numpy()
    share = chosen / 150
    # Each run is as likely as any other: about a fifth, give or take four standard errors of 0.033.
    assert np.abs(share - share.mean()).max() < 0.13


@pytest.mark.parametrize("policy", [Policy("last_runs", 5), Policy("reservoir", 4)], ids=str)
def test_what_is_kept_is_decided_by_the_past_alone(policy: Policy) -> None:
    history = remembered(WORLD)
    first = history.only(history.runs["run_id"][:25].tolist())
    for run in range(25):
        assert kept_at(first, policy, run) == kept_at(history, policy, run)


def test_a_run_without_metrics_is_never_in_a_reservoir() -> None:
    history = remembered(WORLD)
    bare = history.tasks["run_id"] == "run-005"
    without = replace(
        history,
        tasks=history.tasks.assign(left_metrics=history.tasks["left_metrics"] & ~bare),
        starts=history.starts[history.starts["run_id"] != "run-005"],
    )
    assert "run-005" in kept_at_the_end(history, Policy("reservoir", 100))
    assert "run-005" not in kept_at_the_end(without, Policy("reservoir", 100))


# predictions with it


def test_statistics_of_all_runs_are_those_that_evaluation_uses() -> None:
    history = remembered(replace(WORLD, gap_s=0.3))  # runs overlap
    prepared = prepare(history)
    submitted, known_at = (prepared.runs[name].to_numpy() for name in ("submitted_at", "known_at"))
    statistics = _Statistics(prepared)
    kept = [known_at <= at for at in submitted]
    for target in TARGETS:
        rows = prepared.tables[target.metric]
        names = _statistics_of(target)
        found = statistics.described(target.metric, rows.drop(columns=names), 0, kept)
        pd.testing.assert_frame_equal(found[names], rows[names])


@pytest.mark.parametrize("policy", [Policy("last_runs", 12), Policy("reservoir", 12)], ids=str)
def test_runs_that_are_not_kept_touch_no_prediction(policy: Policy) -> None:
    history = remembered(WORLD)
    until = kept_until(history, policy)
    # Twelve runs have 60 tasks: enough for trees to learn from. What was dropped before the block is not to be seen.
    blocks = [(30, 40)]
    submitted = history.runs["submitted_at"].to_numpy()[30:]
    dropped = (until <= submitted[0]) & (np.arange(40) < 30)
    assert 10 <= dropped.sum() < 30
    of_dropped = history.tasks["run_id"].isin(history.runs["run_id"][dropped])
    starts_dropped = history.starts["run_id"].isin(history.runs["run_id"][dropped])
    otherwise = replace(
        history,
        tasks=history.tasks.assign(
            execution_ms=history.tasks["execution_ms"].mask(of_dropped, 1e7),
            download_ms=history.tasks["download_ms"].mask(of_dropped, 1e7),
            output_bytes=history.tasks["output_bytes"].mask(of_dropped, 10**9),
        ),
        starts=history.starts.assign(startup_ms=history.starts["startup_ms"].mask(starts_dropped, 1e7)),
    )
    answers = []
    for each in (history, otherwise):
        prepared = prepare(each)
        ((_, judged),) = replay_kept(prepared, _Statistics(prepared), until, blocks, 0)
        answers.append(judged)
    for before, after in zip(*answers, strict=True):
        assert np.array_equal(before.values, after.values), before.metric
    assert {(each.level, each.metric) for each in answers[0]} >= {("task", "execution"), ("run", "makespan")}


def test_calibration_learns_from_the_runs_kept_and_forgets_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    history = remembered(WORLD)
    learned: dict[int, tuple[Errors, set[int]]] = {}

    def noted(outcomes: list[Outcome], errors: Errors) -> None:
        of = learned.setdefault(id(errors), (errors, set()))[1]
        for outcome in outcomes:
            of.update(outcome.forecast.run.tolist())
        teach(outcomes, errors)

    monkeypatch.setattr("predictors.budget.teach", noted)
    prepared = prepare(history)
    until = kept_until(history, Policy("last_runs", 4))
    list(replay_kept(prepared, _Statistics(prepared), until, [(1, 21), (21, 40)], 0))
    # At runs 11, 21 and 31, whose last four are these; run 1 comes with nothing learned.
    assert [sorted(runs) for _, runs in learned.values()] == [[7, 8, 9, 10], [17, 18, 19, 20], [27, 28, 29, 30]]


def test_budgets_have_a_row_for_each_amount_and_thing_predicted() -> None:
    history = remembered(WORLD)
    told: list[str] = []
    budgets = measure(
        history, prepare(history), FLAT, lambda name, done, total: told.append(name), predictor="boosted",
        last_runs=(4, 40), reservoir=(3, 50),
    )  # fmt: skip
    # 40 runs, and 50 samples of a function that has 40, drop nothing: they are all of it.
    amounts = budgets[["policy", "kept"]].drop_duplicates()
    assert amounts.fillna(0).values.tolist() == [["all", 0], ["last_runs", 4], ["reservoir", 3]]
    assert (budgets.groupby("policy").size() == 10).all()
    assert (budgets[budgets["policy"] == "all"]["relative_to_all"] == 1).all()
    assert set(told) == {"history: all", "history: last_runs 4", "history: reservoir 3"}
    counts = budgets[budgets["metric"] == "makespan"].set_index("policy")
    assert (counts["n"] == 39).all()
    # Runs 1 to 39 know 1, 2, ..., 39 earlier ones: 20 on average; of the last 4 at most: (1 + 2 + 3 + 36 * 4) / 39.
    assert counts.loc["all", "runs_kept"] == 20
    assert counts.loc["last_runs", "runs_kept"] == pytest.approx(150 / 39)
    # A run has 1 row of its own, 5 tasks, 6 inputs, 3 invocations, 6 edges and 5 planned tasks, of 10 bytes each.
    assert counts.loc["all", "rows_kept"] == 20 * 26
    assert counts.loc["all", "bytes_kept"] == 20 * 260


def test_blocks_are_few_and_leave_out_no_run() -> None:
    for runs in (0, 1, 2, 3, 7, 40, 540, 10_000):
        blocks = coarse_steps(runs)
        assert [run for first, end in blocks for run in range(first, end)] == list(range(1, runs))
        assert len(blocks) <= 12


def budget(policy: str, kept: int | None, ratio: float, size: float, metric: str = "execution") -> dict[str, object]:
    fixed = {"level": "task", "relative_to_all": ratio, "bytes_kept": size}
    return {"policy": policy, "kept": kept, "metric": metric, **fixed}


def test_the_smallest_history_is_one_from_which_on_nothing_is_worse_than_with_all() -> None:
    rows = [
        budget("all", None, 1, 900), budget("last_runs", 5, 1.04, 10), budget("last_runs", 10, 1.2, 20),
        budget("last_runs", 20, 1.04, 40), budget("last_runs", 40, 0.9, 80), budget("reservoir", 10, 1.05, 60),
        budget("reservoir", 20, 1.0, 120),
    ]  # fmt: skip
    # Five runs do well by chance, for ten do not.
    assert smallest(pd.DataFrame(rows)) == Policy("last_runs", 20)
    assert smallest(pd.DataFrame([*rows, budget("last_runs", 20, 1.3, 40, "upload")])) == Policy("reservoir", 10)
    # A size predicted almost without error decides nothing.
    sizes = [*rows, budget("last_runs", 20, 1.3, 40, "output_bytes")]
    assert smallest(pd.DataFrame(sizes)) == Policy("last_runs", 20)
    assert smallest(pd.DataFrame(rows[:1])) is None
    assert smallest(pd.DataFrame([rows[0], budget("last_runs", 5, np.nan, 10)])) is None


# the commands


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dump(tmp_path_factory.mktemp("source") / "dump", WORLD)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(("policy", "keep"), [("last_runs", 15), ("reservoir", 12)])
def test_a_compacted_flowdump_is_taken_in_and_trained_on(policy: str, keep: int, source: Path, tmp_path: Path) -> None:
    before, out, home = contents(source), tmp_path / "out", tmp_path / "home"
    done = flowscope(home, "compact", source, out, "--policy", policy, "--keep", keep)
    assert done.returncode == 0, done.stderr
    expected = kept_at_the_end(remembered(WORLD), Policy(policy, keep))
    assert f"kept {len(expected)} of 40 runs" in done.stderr
    assert contents(source) == before
    assert not any(home.glob("staging/*"))
    assert flowscope(home, "ingest", out).returncode == 0
    assert answer(Home(home), "select run_id from runs order by 1") == [(run,) for run in expected]
    whole = Home(tmp_path / "whole")
    assert flowscope(whole.root, "ingest", source).returncode == 0
    chosen = f"where run_id in ({', '.join(repr(run) for run in expected)})"
    for table in ("tasks", "task_inputs", "invocations", "edges", "plans", "planned_tasks"):
        query = f"select * exclude (file_id) from {table} {chosen} order by all"
        assert answer(Home(home), query.replace(chosen, "")) == answer(whole, query) != []
    assert flowscope(home, "train").returncode == 0


def test_compact_refuses_what_might_overwrite_and_half_a_policy(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    policy = ("--policy", "last_runs", "--keep", 3)
    assert "not empty" in flowscope(tmp_path, "compact", source, out, *policy).stderr
    assert contents(out) == {"mine.txt": b"mine"}
    within = flowscope(tmp_path, "compact", source, source / "part", *policy)
    assert (within.returncode, (source / "part").exists()) == (1, False)
    for half in (policy[:2], policy[2:]):
        assert flowscope(tmp_path, "compact", source, tmp_path / "new", *half).returncode == 2
    assert not (tmp_path / "new").exists()


def test_without_a_policy_compact_keeps_the_smallest_history_that_evaluation_found_enough(
    source: Path, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    unknown = flowscope(home.root, "compact", source, tmp_path / "out")
    assert (unknown.returncode, "evaluate --history" in unknown.stderr) == (2, True)
    rows = [budget("all", None, 1, 900), budget("last_runs", 4, 2, 40), budget("last_runs", 8, 1, 80)]
    with Writer(home) as writer:
        table = pa.Table.from_pylist([{**row, "predictor": "boosted"} for row in rows])
        writer.put_results({"history_budgets": table})
        writer.publish()
    assert "kept 8 of 40 runs" in flowscope(home.root, "compact", source, tmp_path / "out").stderr
    with Writer(home) as writer:
        writer.put_results({"history_budgets": table.slice(0, 2)})
        writer.publish()
    none = flowscope(home.root, "compact", source, tmp_path / "other")
    assert (none.returncode, "within 5 %" in none.stderr) == (2, True)


def test_evaluate_history_writes_budgets_beside_predictions(source: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    small = dump(tmp_path / "dump", replace(WORLD, runs=8))
    assert flowscope(home.root, "ingest", small).returncode == 0
    assert flowscope(home.root, "evaluate", "--history").returncode == 0
    amounts = answer(home, "select distinct policy, kept from history_budgets where predictor = 'boosted' order by all")
    assert amounts == [("all", None), ("last_runs", 5), ("reservoir", 5)]
    assert answer(home, "select count(*) > 0 from predictions where predictor = 'boosted'") == [(True,)]
    with open_current(home) as reader:
        sizes = bytes_per_row(reader, [*TABLES, "optimizations"])
    assert sizes.pop("optimizations") == 0
    assert all(1 < size < 1000 for size in sizes.values())
    assert flowscope(home.root, "evaluate").returncode == 0
    assert answer(home, "select count(*) > 0 from history_budgets") == [(True,)]


def test_extra_columns_come_along(tmp_path: Path) -> None:
    source = dump(tmp_path / "dump", replace(WORLD, runs=3))
    lines = (source / "runs.jsonl").read_text().replace('"engine": "world"', '"engine": "world", "colour": "red"')
    (source / "runs.jsonl").write_text(lines)
    out = tmp_path / "out"
    assert flowscope(tmp_path / "home", "compact", source, out, "--policy", "last_runs", "--keep", 2).returncode == 0
    assert [str(row["extra"]) for row in pq.read_table(out / "runs.parquet").to_pylist()] == ['{"colour":"red"}'] * 2

"""`flowscope simulate`: what it answers and keeps, and that nothing it is given brings a traceback or half an answer."""

from __future__ import annotations

import csv
import io
import json
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from predictors.simulation.changes import Changes
from predictors.simulation.commands import simulate_runs
from tests.dumps import FLOWSCOPE, ROOT, Done, answer, flowscope
from tests.predictors.simulation.logs import EDGES, diamond, home_of, run_log, together
from tests.predictors.worlds import World
from tests.predictors.worlds import home_of as home_of_world
from warehouse.connection import open_current
from warehouse.errors import FlowscopeError
from warehouse.home import Home
from warehouse.writer import Writer

HOSTILE_RUN = "r\"1'; drop table runs; --\n\u202e,"
HOSTILE = "f'\"; drop table tasks;\n--, NA"
COLUMNS = ["run_id", "scenario", "level", "thing", "metric", "observed", "replayed", "simulated", "low", "high"]
PARTS = ("simulations", "simulated_tasks", "simulated_invocations")
TASKS: dict[str, dict[str, Any]] = {
    task: {"worker_id": "w0", "start_ms": 100.0 * place, "input_wait_ms": 0.0, "execution_ms": 50.0}
    for place, task in enumerate("abd")
}
ON_ONE: dict[str, dict[str, Any]] = {"w0": {"requested_ms": 0, "ready_ms": 0, "initial_task_ids": ["a"]}}


def hostile() -> dict[str, list[dict[str, Any]]]:
    """A run of one task: asked for at 5, ready at 105, set up for 10, begun at 115, done at 165."""
    return run_log(
        HOSTILE_RUN, 300_000, [], {HOSTILE: {"worker_id": HOSTILE, "start_ms": 115, "input_wait_ms": 0.0, "execution_ms": 50.0}},
        {HOSTILE: {"requested_ms": 5, "ready_ms": 105, "initial_task_ids": [HOSTILE], "reported_state": "cold"}},
        planned={HOSTILE: HOSTILE}, sink_task_id=HOSTILE, expected_tasks=1, workflow=HOSTILE, planner=HOSTILE, environment=HOSTILE,
        structure_hash="h",
    )  # fmt: skip


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with five runs that can be simulated and three that cannot. Tests only read it."""
    log = together(
        diamond("one", 0),
        diamond("two", 60_000),
        diamond("on one worker", 120_000, planner="q", planned=dict.fromkeys("abcd", "alone")),
        diamond("other structure", 180_000, structure_hash="t"),
        run_log("partial", 200_000, EDGES, TASKS, ON_ONE, environment="partial"),
        run_log("cyclic", 220_000, [*EDGES, ("d", "a")], TASKS, ON_ONE, environment="cyclic"),
        diamond("unsubmitted", 240_000, submitted_at=None, environment="unsubmitted"),
        hostile(),
    )
    return home_of(tmp_path_factory.mktemp("simulate"), log)


@pytest.fixture
def mine(known: Home, tmp_path: Path) -> Home:
    """The same home, to be written to."""
    shutil.copytree(known.root, tmp_path / "mine", symlinks=True)
    return Home(tmp_path / "mine")


DIAMONDS = "run_id in ('one', 'two')"
PLAYED = "workflow = 'w' and is_complete and submitted_at is not null"
"""Four diamonds, one of them by the planner q."""


def simulate(home: Home, *arguments: object) -> Done:
    return flowscope(home.root, "simulate", *arguments)


def rows(done: Done) -> list[dict[str, str]]:
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout, newline="")))


def figures(found: list[dict[str, str]], column: str = "simulated") -> dict[tuple[str, str], float]:
    """A column by thing ('' for the run) and metric."""
    return {(row["thing"], row["metric"]): float(row[column] or "nan") for row in found}


def refused(done: Done, code: int = 1) -> str:
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert "Traceback" not in done.stderr
    assert "fault of flowscope" not in done.stderr
    return done.stderr


def files(home: Home) -> dict[str, int]:
    """When each file of the warehouse was last written."""
    return {str(path): path.lstat().st_mtime_ns for path in home.warehouse.rglob("*")}


def kept(home: Home, condition: str = "true") -> dict[str, list[tuple[Any, ...]]]:
    return {
        part: sorted(answer(home, f"select * exclude (file_id) from {part} where {condition}"), key=repr)
        for part in PARTS
    }


# runs


def test_a_run_is_replayed_beside_what_was_observed_in_tidy_rows(known: Home) -> None:
    """The diamond, whose gaps are the usual ones, is replayed to the millisecond."""
    found = rows(simulate(known, "one"))
    assert list(found[0]) == COLUMNS
    assert {row["run_id"] for row in found} == {"one"}
    assert {row["scenario"] for row in found} == {"recorded"}
    things = {level: {row["thing"] for row in found if row["level"] == level} for level in ("run", "task", "worker")}
    assert things == {"run": {""}, "task": set("abcd"), "worker": {"w0", "w1"}}
    assert len(found) == len({(row["level"], row["thing"], row["metric"]) for row in found}) == 6 + 4 * 2 + 2 * 4
    observed = figures(found, "observed")
    expected = {
        ("", "makespan_ms"): 516, ("", "cold_starts"): 2, ("", "warm_starts"): 0, ("", "startup_ms"): 200,
        ("", "gb_seconds"): 0.713, ("", "active_ms"): 511 + 202, ("a", "start_offset_ms"): 130, ("d", "finish_offset_ms"): 510,
        ("w0", "active_ms"): 511, ("w1", "requested_offset_ms"): 192, ("w1", "startup_ms"): 100, ("w1", "cold_starts"): 1,
    }  # fmt: skip
    assert {key: observed[key] for key in expected} == pytest.approx(expected)
    assert figures(found, "replayed") == pytest.approx(observed)
    assert figures(found, "simulated") == pytest.approx(observed)
    assert {row["low"] + row["high"] for row in found} == {""}


def test_a_change_is_set_beside_the_replay_with_the_interval_over_draws(known: Home) -> None:
    """Start-ups of 100 that take twice as long come twice on the longest path, 200 ms, and take 200 MB-seconds more."""
    found = rows(simulate(known, "one", "--set", "startup_factor=2"))
    assert list(found[0]) == COLUMNS
    assert {row["scenario"] for row in found} == {"startup_factor=2"}
    observed, replayed, changed = (figures(found, column) for column in ("observed", "replayed", "simulated"))
    assert replayed == pytest.approx(observed)
    assert changed["", "makespan_ms"] == pytest.approx(716)
    assert changed["", "startup_ms"] == pytest.approx(400)
    assert changed["w1", "requested_offset_ms"] == pytest.approx(292)
    assert changed["d", "start_offset_ms"] == pytest.approx(601)
    assert changed["", "gb_seconds"] == pytest.approx(replayed["", "gb_seconds"] + 0.3)
    low, high = figures(found, "low"), figures(found, "high")
    assert (low["", "makespan_ms"], high["", "makespan_ms"]) == pytest.approx((716, 716))
    assert {row["metric"] for row in found if row["low"]} == {"makespan_ms", "gb_seconds"}


def test_several_runs_are_answered_once_each_whatever_is_asked_twice(known: Home) -> None:
    found = rows(simulate(known, "two", "one", "two"))
    assert len(found) == 2 * 22
    assert {row["run_id"] for row in found} == {"one", "two"}


def test_a_plan_that_is_borrowed_moves_tasks_to_its_workers(known: Home) -> None:
    found = rows(simulate(known, "one", "--set", "planner=q"))
    assert {row["thing"] for row in found if row["level"] == "worker"} == {"alone"}
    changed, replayed = figures(found), figures(found, "replayed")
    assert changed["", "cold_starts"] == 1
    assert changed["", "makespan_ms"] < replayed["", "makespan_ms"]
    assert {row["observed"] for row in found if row["level"] == "worker"} == {""}


def test_without_a_change_or_condition_nothing_is_kept(known: Home) -> None:
    before = files(known)
    for more in ((), ("--set", "memory=2048")):
        assert simulate(known, "one", *more).returncode == 0
    assert files(known) == before


def test_stdout_is_data_and_everything_else_goes_to_stderr(mine: Home) -> None:
    done = simulate(mine, "--runs", DIAMONDS, "--format", "json")
    assert [row["runs"] for row in json.loads(done.stdout)] == [2, 2]
    for said in (
        "Beware: for how long containers stay warm",
        "Deriving views",
        "simulations: 2 rows",
        "simulated_tasks: 8 rows",
    ):
        assert said in done.stderr


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_an_output_file_is_written_by_its_ending(known: Home, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"out{suffix}"
    done = simulate(known, "one", "-o", target)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    readers: dict[str, Any] = {".csv": pd.read_csv, ".json": pd.read_json, ".parquet": pd.read_parquet}
    found = readers[suffix](target)
    assert (list(found.columns), len(found)) == (COLUMNS, 22)
    assert found.loc[found["metric"] == "makespan_ms", "simulated"].tolist() == pytest.approx([516])


# what is refused


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["memroy=512"], "Hint: did you mean memory=1024?"),
        (["colour=red"], "Hint: --set KEY=VALUE with one of "),
        (["memory=much"], "memory cannot be 'much'. Hint: a number above 0, such as memory=1024."),
        (["memory"], "changes nothing that is known"),
        (["memory=512", "memory=1024"], "memory is set twice. Hint: "),
        (["sla=p0\n'; drop table runs"], "Hint: average, or a percentile"),
    ],
)  # fmt: skip
def test_a_change_that_is_not_understood_is_one_sentence_and_nothing_is_written(
    known: Home, settings: list[str], sentence: str
) -> None:
    before = files(known)
    for what in (["one"], ["--runs", "true"]):
        said = refused(simulate(known, *what, *(part for each in settings for part in ("--set", each))))
        assert sentence in said
        assert said.startswith("Error: ")
        assert said.count("\n") == 1
    assert files(known) == before


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        ("nobody", "No run nobody in the warehouse. Hint: flowscope sql"),
        ("'; drop table runs; --", "No run '; drop table runs; -- in the warehouse"),
        ("partial", "Run partial is not complete, so it cannot be replayed. Hint: --predict needs its DAG only."),
        ("cyclic", "Run cyclic has no submission time, no sink, or a DAG that bites its own tail."),
        ("unsubmitted", "Run unsubmitted has no submission time, no sink"),
    ],
)
def test_a_run_that_cannot_be_simulated_is_one_sentence_even_beside_one_that_can(
    known: Home, run: str, sentence: str
) -> None:
    before = files(known)
    for asked in ([run], ["one", run]):
        assert sentence in refused(simulate(known, *asked))
    assert files(known) == before


def test_a_run_id_that_is_no_text_is_one_sentence(known: Home) -> None:
    with open_current(known) as reader, pytest.raises(FlowscopeError, match=r"^No run . in the warehouse"):
        simulate_runs(known, reader, ["one", "\udcff"], [Changes()])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--set", "memory=512"],
        ["one", "--runs", "true"],
        ["one", "--report"],
        ["--report"],
        ["--runs", "true", "--report", "--set", "memory=512"],
        ["--runs", "true", "--report", "--predict"],
        ["one", "--draws", "0"],
        ["one", "--draws", "1001"],
        ["one", "--seed", "-1"],
        ["one", "--format", "xml"],
    ],
)
def test_wrong_usage_exits_2_whether_there_is_a_warehouse_or_not(
    known: Home, tmp_path: Path, arguments: list[str]
) -> None:
    before = files(known)
    for home in (known, Home(tmp_path / "none")):
        refused(simulate(home, *arguments), 2)
    assert files(known) == before


def test_without_a_warehouse_it_exits_1_with_a_sentence(tmp_path: Path) -> None:
    assert "No warehouse in " in refused(simulate(Home(tmp_path / "none"), "one"))


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        ("run_id = 'nobody'", "No run matches run_id = 'nobody'."),
        ("true); drop table runs; --", "Error: "),
        ("makespan", "Error: "),
        ("", "The condition is empty."),
        ("run_id in ('partial', 'cyclic')", "None of these runs can be simulated."),
    ],
)  # fmt: skip
def test_a_condition_that_chooses_nothing_to_simulate_is_refused_and_nothing_is_written(
    known: Home, condition: str, sentence: str
) -> None:
    before = files(known)
    assert sentence in refused(simulate(known, "--runs", condition))
    assert files(known) == before


def test_a_planner_that_nobody_used_is_refused_with_how_many_it_is_missing_for(known: Home) -> None:
    said = refused(simulate(known, "--runs", PLAYED, "--set", "planner=nobody"))
    assert "Left out 4 of 4, such as: No plan by nobody for the structure of run " in said
    assert said.endswith("Error: None of these runs can be simulated.\n")
    assert "No plan by nobody for" in refused(simulate(known, "one", "--set", "planner=nobody"))


def test_runs_without_such_a_plan_are_left_out_and_counted(mine: Home) -> None:
    """`other structure` was never planned by q; `on one worker` did not run as planned, so its plan played does not replay it."""
    done = simulate(mine, "--runs", PLAYED, "--set", "planner=q")
    assert "Left out 1 of 4, such as: No plan by q for the structure of run other structure is recorded." in done.stderr
    assert (rows(done)[0]["runs"], rows(done)[0]["left_out"]) == ("2", "1")
    assert len(kept(mine)["simulations"]) == 3


# many runs


def test_of_many_runs_how_close_replays_come_is_told_by_workflow_and_planner(mine: Home) -> None:
    found = rows(simulate(mine, "--runs", PLAYED))
    assert [(row["workflow"], row["planner"], row["runs"]) for row in found] == [
        ("(all)", "(all)", "4"),
        ("w", "p", "3"),
        ("w", "q", "1"),
    ]
    for row in found:
        assert float(row["median_error_percent"]) == float(row["p90_error_percent"]) == 0
        assert {row[share] for share in ("starts_within_5_percent", "states_agreed_percent", "stand_for_the_run_percent")} == {"100.0"}  # fmt: skip


def test_of_many_runs_a_change_is_told_as_times_what_runs_took_without_it(mine: Home) -> None:
    """716 ms for 516, and 1.013 GB-seconds for 0.713, in every run: the interval is the number itself."""
    (every, group) = rows(simulate(mine, "--runs", DIAMONDS, "--set", "startup_factor=2"))
    assert (every["runs"], every["left_out"], every["touched"]) == ("2", "0", "2")
    for name, times in (("makespan", 716 / 516), ("gb_seconds", 1.013 / 0.713), ("cold_starts", 1.0)):
        for row in (every, group):
            assert [float(row[f"{name}_{end}"]) for end in ("low", "times", "high")] == pytest.approx([times] * 3, abs=1e-3)  # fmt: skip


def test_a_change_that_touches_no_run_says_nothing_of_what_it_does(mine: Home) -> None:
    (every, _) = rows(simulate(mine, "--runs", DIAMONDS, "--set", "optimization.preload=off"))
    assert (every["runs"], every["touched"], every["makespan_times"]) == ("2", "0", "")


def test_the_same_seed_keeps_the_same_rows_and_other_scenarios_and_runs_stay(mine: Home) -> None:
    change = ("--set", "startup_factor=2", "--draws", 5)
    assert simulate(mine, "--runs", DIAMONDS).returncode == 0
    assert simulate(mine, "--runs", DIAMONDS, *change).returncode == 0
    first = kept(mine)
    assert {part: len(of) for part, of in first.items()} == dict(zip(PARTS, (4, 16, 8), strict=True))
    assert simulate(mine, "--runs", "run_id = 'two'", *change).returncode == 0
    assert kept(mine) == first
    assert simulate(mine, "--runs", "run_id = 'two'", *change, "--seed", 9).returncode == 0
    seeds = "select run_id, scenario, seed, draws from simulations order by all"
    assert answer(mine, seeds) == [
        ("one", "recorded", 0, 1), ("one", "startup_factor=2", 0, 5), ("two", "recorded", 0, 1), ("two", "startup_factor=2", 9, 5),
    ]  # fmt: skip
    assert kept(mine, "run_id = 'one' or scenario = 'recorded'") == {
        part: [row for row in of if row[0] == "one" or row[1] == "recorded"] for part, of in first.items()
    }


def test_what_is_kept_is_what_is_answered(mine: Home) -> None:
    assert simulate(mine, "--runs", DIAMONDS, "--set", "startup_factor=2").returncode == 0
    said = figures(rows(simulate(mine, "one", "--set", "startup_factor=2")))
    for part, thing, columns in (
        ("simulations", "''", ("makespan_ms", "gb_seconds", "cold_starts", "warm_starts", "startup_ms", "active_ms")),
        ("simulated_tasks", "task_id", ("start_offset_ms", "finish_offset_ms")),
        ("simulated_invocations", "worker_id", ("requested_offset_ms", "startup_ms")),
    ):
        for row in answer(mine, f"select {thing}, {', '.join(columns)} from {part} where run_id = 'one'"):
            assert dict(zip(columns, row[1:], strict=True)) == pytest.approx({name: said[row[0], name] for name in columns}, abs=1e-3)  # fmt: skip
    assert answer(
        mine, "select baseline_makespan_ms, difference_ms, replays from simulations where run_id = 'one'"
    ) == [(pytest.approx(516), pytest.approx(200), True)]


def test_for_the_report_every_scenario_is_kept_and_a_run_left_out_counts_once(mine: Home) -> None:
    done = simulate(mine, "--runs", "run_id in ('one', 'partial')", "--report", "--draws", 2)
    assert {row["scenario"] for row in rows(done)} == {
        name for (name,) in answer(mine, "select scenario from simulations")
    }
    assert answer(mine, "select distinct run_id from simulations") == [("one",)]
    assert "Left out 1 of 2, such as: Run partial is not complete" in done.stderr


def test_where_a_change_leaves_the_data_is_told_on_stderr_and_kept(mine: Home) -> None:
    done = simulate(mine, "--runs", DIAMONDS, "--set", "memory=2048", "--set", "startup_factor=9")
    assert "Beware: what memory does to a is not known: it was seen at one size only (2 runs).\n" in done.stderr
    assert "Beware: start-ups this different were never seen (2 runs).\n" in done.stderr
    (warnings,) = answer(mine, "select distinct warnings from simulations")[0]
    assert "start-ups this different were never seen" in warnings
    of_one = simulate(mine, "one", "--set", "startup_factor=9")
    assert "Beware: start-ups this different were never seen.\n" in of_one.stderr


# hostile names


def test_hostile_names_pass_through(mine: Home) -> None:
    found = rows(simulate(mine, HOSTILE_RUN, "--set", f"planner={HOSTILE}"))
    assert {row["run_id"] for row in found} == {HOSTILE_RUN}
    assert {row["scenario"] for row in found} == {f"planner={HOSTILE}"}
    assert {row["thing"] for row in found} == {"", HOSTILE}
    (_, group) = rows(simulate(mine, "--runs", f"""workflow = '{HOSTILE.replace("'", "''")}'"""))
    assert (group["workflow"], group["planner"], group["runs"]) == (HOSTILE, HOSTILE, "1")
    assert answer(mine, "select run_id, task_id, worker_id from simulated_tasks") == [(HOSTILE_RUN, HOSTILE, HOSTILE)]
    assert answer(mine, "select run_id, worker_id from simulated_invocations") == [(HOSTILE_RUN, HOSTILE)]
    assert answer(mine, "select count(*) from runs") == [(8,)]


# predicted durations


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a small world and a model of its executions."""
    home = home_of_world(tmp_path_factory.mktemp("trained"), World(runs=6))
    done = flowscope(home.root, "train", "--target", "execution")
    assert done.returncode == 0, done.stderr
    return home


def test_without_a_model_nothing_is_predicted(known: Home) -> None:
    before = files(known)
    for what in (["one"], ["--runs", "true"]):
        assert "No model in " in refused(simulate(known, *what, "--predict"))
    assert files(known) == before


def test_a_predicted_run_has_no_replay_and_an_interval(trained: Home) -> None:
    done = simulate(trained, "run-003", "--predict")
    found = rows(done)
    assert list(found[0]) == COLUMNS
    assert {row["scenario"] for row in found} == {"predicted"}
    assert {row["replayed"] for row in found} == {""}
    makespan = next(row for row in found if row["metric"] == "makespan_ms")
    assert 0 < float(makespan["low"]) < float(makespan["simulated"]) < float(makespan["high"])
    assert "The model was trained when these runs were known." in done.stderr
    assert "Intervals are not calibrated, and too narrow." in done.stderr


def test_many_predicted_runs_are_kept_under_names_of_their_own(trained: Home, tmp_path: Path) -> None:
    home = Home(tmp_path / "mine")
    shutil.copytree(trained.root, home.root, symlinks=True)
    found = rows(simulate(home, "--runs", "true", "--predict", "--draws", 3))
    assert (found[0]["scenario"], found[0]["planner"], found[0]["runs"]) == ("predicted", "(all)", "6")
    assert float(found[0]["median_error_percent"]) > 0
    changed = rows(simulate(home, "--runs", "true", "--predict", "--draws", 3, "--set", "startup_factor=2"))
    assert changed[0]["scenario"] == "predicted; startup_factor=2"
    assert float(changed[0]["makespan_times"]) > 1
    assert answer(home, "select scenario, count(*) from simulations group by all order by all") == [
        ("predicted", 6), ("predicted; startup_factor=2", 6),
    ]  # fmt: skip


# interrupts


def test_interrupted_before_it_publishes_the_last_generation_stands_and_a_rerun_completes(
    mine: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert simulate(mine, "--runs", "run_id = 'one'").returncode == 0
    before, generation = kept(mine), mine.current.resolve()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    for step in ("put_results", "publish"):
        monkeypatch.setattr(Writer, step, interrupted)
        assert refused(simulate(mine, "--runs", DIAMONDS)).endswith(
            "Interrupted. What was published before is untouched.\n"
        )
        monkeypatch.undo()
        assert (kept(mine), mine.current.resolve()) == (before, generation)
    assert simulate(mine, "--runs", DIAMONDS).returncode == 0
    assert len(kept(mine)["simulations"]) == 2


def test_interrupted_while_it_plays_on_all_cores_it_says_so_and_the_last_generation_stands(mine: Home) -> None:
    """Long before 1000 draws of five runs are played. A process that is just being started may say on stdout that it was not."""
    assert simulate(mine, "--runs", "run_id = 'one'").returncode == 0
    before, generation = kept(mine), mine.current.resolve()
    arguments = [
        "simulate",
        "--runs",
        "is_complete",
        "--set",
        "startup_factor=2",
        "--draws",
        "1000",
        "--home",
        str(mine.root),
    ]
    process = subprocess.Popen(
        [*FLOWSCOPE, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        while process.poll() is None and not children.read_text():
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1, errors
    assert "makespan" not in output
    assert errors.strip() == "Interrupted. What was published before is untouched."
    assert (kept(mine), mine.current.resolve()) == (before, generation)
    assert simulate(mine, "--runs", DIAMONDS).returncode == 0
    assert len(kept(mine)["simulations"]) == 2

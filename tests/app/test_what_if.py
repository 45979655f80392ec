"""What the page What-if says and draws, on simulations made by hand whose answers are worked out here."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from app.charts import beside_in_time, run_ratios
from app.findings.evidence import Selection, of_reader
from app.what_if import (
    by_group,
    command,
    condition,
    delta,
    difference,
    effect_sentence,
    effects,
    learn_newest,
    per_run,
    reasons,
    replay_sentence,
    simulate_runs,
    spread,
    starts,
)
from app.what_if_figures import observed_side, side, side_by_side, wide
from app.what_if_queries import REPLAYING, REPLAYS, SIMULATED, STORED
from predictors.simulation import commands
from predictors.simulation.changes import Changes, read_changes
from predictors.simulation.fan_outs import AHEAD_AS_TWO, RECORDED_AS_TWO, UNSEEN
from predictors.simulation.rows import Simulated
from tests.app import dumps
from tests.predictors.simulation.logs import diamond, home_of, together
from warehouse.connection import Reader, open_current
from warehouse.writer import Writer


def summary(run: str, scenario: str = "memory=1024", **columns: Any) -> dict[str, Any]:
    """A row of `simulations`: the change makes 1,000 ms 800, surely, and nothing else."""
    base = {
        "run_id": run, "scenario": scenario, "predictor": "recorded", "draws": 10, "seed": 0, "replays": True, "warnings": [],
        "makespan_ms": 800.0, "gb_seconds": 4.0, "gb_seconds_low": 4.0, "gb_seconds_high": 4.0, "cold_starts": 2.0,
    }  # fmt: skip
    if scenario not in ("recorded", "ahead"):
        base |= {
            "baseline_makespan_ms": 1000.0, "baseline_gb_seconds": 4.0, "baseline_cold_starts": 2.0, "difference_ms": -200.0,
            "difference_low_ms": -210.0, "difference_high_ms": -190.0,
        }  # fmt: skip
    return base | columns


def group(summaries: list[dict[str, Any]], *, errs_together: bool = False) -> dict[str, Any]:
    """The first row of what they come to together."""
    runs = pd.DataFrame({"run_id": [one["run_id"] for one in summaries], "workflow": "w", "planner": "p"})
    table = by_group(per_run(pd.DataFrame(summaries), runs), errs_together=errs_together)
    return {str(name): value for name, value in table.iloc[0].items()}


def simulated(scenario: str, ends_ms: float, workers: list[str]) -> Simulated:
    """A run of a task on each of the workers, one after the other: each starts up for 10, executes for 30, and the last ends it."""
    tasks, invocations = [], []
    for place, worker in enumerate(workers):
        asked = 20.0 * place
        finish = ends_ms if place == len(workers) - 1 else asked + 40
        tasks.append({
            "task_id": f"t{place}", "worker_id": worker, "start_offset_ms": asked + 10, "input_wait_ms": 0.0,
            "execution_ms": finish - asked - 10, "upload_ms": 0.0, "finish_offset_ms": finish, "release_offset_ms": finish + 2,
        })  # fmt: skip
        invocations.append({
            "worker_id": worker, "requested_offset_ms": asked, "ready_offset_ms": asked + 10, "released_offset_ms": finish + 2,
            "state": "cold", "cold_probability": 1.0, "startup_ms": 10.0,
        })  # fmt: skip
    return Simulated({"run_id": "r", "scenario": scenario, "makespan_ms": ends_ms}, tasks, invocations)


def test_beyond_the_most_runs_are_spread_evenly() -> None:
    ids = [str(number) for number in range(10)]
    assert spread(ids, 4) == ["0", "2", "5", "7"]
    assert spread(ids, 10) == ids


def test_the_command_that_is_shown_survives_the_shell() -> None:
    changes = read_changes(["planner=it's; rm -rf /"])
    assert shlex.split(command(changes, shlex.quote("run 1"), 7)) == [
        "flowscope",
        "simulate",
        "run 1",
        "--set",
        "planner=it's; rm -rf /",
        "--draws",
        "7",
    ]


def test_the_condition_that_is_shown_chooses_the_runs_that_the_filters_select(tmp_path: Path) -> None:
    hostile = "it's $planner_in\n        and ('"
    runs = [dumps.one_run(1, hostile), dumps.one_run(2, hostile, "PlannerB"), dumps.one_run(3)]
    home = dumps.take_in(tmp_path / "home", dumps.write(tmp_path / "dump", dumps.merged(*runs)))
    chosen = Selection(
        (("workflow", (hostile, None)), ("planner", ("PlannerB",))), since=date(2026, 1, 1), until=date(2026, 1, 1)
    )
    with open_current(home) as reader:
        for selection, number in ((chosen, 1), (Selection(), 3), (Selection(until=date(2025, 1, 1)), 0)):
            selected = of_reader(reader, selection).frame("select run_id from selected_runs order by run_id")
            assert len(selected) == number
            if number:
                assert reader.runs_where(condition(selection)) == selected["run_id"].tolist()


def test_reasons_are_counted_whatever_run_they_name() -> None:
    refused = {
        ("sla=p90", run): f"No plan at p90 for the structure of run {run} is recorded. Hint: look."
        for run in ("r1", "r2")
    }
    refused["sla=p90", "r3"] = "Run r3 is not complete, so it cannot be replayed. Hint: --predict."
    assert reasons(refused).to_numpy().tolist() == [
        ["No plan at p90 for the structure of run … is recorded.", 2],
        ["Run … is not complete, so it cannot be replayed.", 1],
    ]
    assert reasons({}).empty


@pytest.mark.parametrize(
    ("low", "middle", "high", "sentence", "short"),
    [
        (-210.0, -200.0, -190.0, "takes 200 ms shorter (−210 ms to −190 ms in 90 % of 10 plays): 800 ms instead of 1.00 s.", "−200 ms (−210 ms to −190 ms)"),
        (190.0, 200.0, 210.0, "takes 200 ms longer (+190 ms to +210 ms in 90 % of 10 plays)", "+200 ms (+190 ms to +210 ms)"),
        (50.0, 50.0, 50.0, "takes 50.0 ms longer (so in 10 plays)", "+50.0 ms"),
        (-50.0, 20.0, 80.0, "may take shorter or longer: −50.0 ms to +80.0 ms in 90 % of 10 plays.", "+20.0 ms (−50.0 ms to +80.0 ms)"),
        (-0.5, 0.0, 0.9, "the change does not touch its makespan", "not touched"),
    ],
)  # fmt: skip
def test_a_difference_is_called_one_only_where_its_interval_does_not_hold_none(
    low: float, middle: float, high: float, sentence: str, short: str
) -> None:
    changed = summary("r", difference_low_ms=low, difference_ms=middle, difference_high_ms=high)
    assert sentence in difference(changed)
    assert delta(changed, "makespan_ms") == short


def test_gb_seconds_and_cold_starts_say_by_how_much_they_differ() -> None:
    changed = summary("r", gb_seconds=3.0, gb_seconds_low=2.5, gb_seconds_high=3.5, cold_starts=4.5)
    assert delta(changed, "gb_seconds") == "−1.00 (2.50 to 3.50 in all)"
    assert delta(changed, "cold_starts") == "+2.50"
    assert delta(summary("r", cold_starts=0.0), "cold_starts") == "−2"
    assert (starts(3.0), starts(2.85)) == ("3", "2.85")


def test_a_figure_that_is_not_known_differs_by_what_is_unknown() -> None:
    for changed in (
        summary("r", gb_seconds=math.nan),
        summary("r", baseline_gb_seconds=math.nan),
        summary(
            "r", gb_seconds=math.nan, baseline_gb_seconds=math.nan, gb_seconds_low=math.nan, gb_seconds_high=math.nan
        ),
    ):
        assert delta(changed, "gb_seconds") == "difference unknown"


def test_a_replay_that_is_too_far_off_ends_in_no_answer() -> None:
    observed = {"makespan_ms": 1000.0}
    close = {"makespan_ms": 960.0, "largest_start_error": 0.02, "replays": True}
    assert replay_sentence(observed, close) == (
        "**This run replays.** Replayed with its recorded durations it takes 960 ms, 4.00 % off the observed 1.00 s; the start of no task is "
        "off by more than 2.00 % of the makespan."
    )
    far = {"makespan_ms": 1100.0, "largest_start_error": 0.2, "replays": False}
    assert replay_sentence(observed, far).startswith("**This run does not replay**, so nothing is said of it")


def test_many_runs_count_where_they_replay_and_the_change_touches_them() -> None:
    touched = [summary(f"r{number}") for number in range(6)]
    untouched = summary("same", makespan_ms=1000.0, difference_ms=0.5, difference_low_ms=0.0, difference_high_ms=0.9)
    strange = summary("far", makespan_ms=9000.0, difference_ms=8000.0, replays=False)
    overall = group([*touched, untouched, strange])
    assert (overall["runs"], overall["left_out"], overall["touched"]) == (7, 1, 6)
    assert [overall[f"makespan_{end}"] for end in ("low", "times", "high")] == [0.8, 0.8, 0.8]
    decided = effects(overall).set_index("label")["decision"].to_dict()
    assert decided == {"makespan": "lower", "GB-seconds": "no difference", "cold starts": "no difference"}
    said = effect_sentence(overall, "memory=1024")
    assert "the **6 runs** whose makespan it touches (of 7 that replay): makespan 0.80x (0.80 to 0.80), lower" in said


def test_with_few_runs_nothing_is_decided() -> None:
    overall = group([summary(f"r{number}") for number in range(5)])
    assert set(effects(overall)["decision"]) == {"undecided"}
    assert "With fewer than 6 runs nothing is decided." in effect_sentence(overall, "memory=1024")


def test_gb_seconds_count_where_they_are_known_and_are_unknown_where_of_no_run() -> None:
    """Of seven runs that are touched two are known to cost half: two are too few to decide."""
    lost = [summary(f"l{number}", gb_seconds=math.nan, baseline_gb_seconds=math.nan) for number in range(4)]
    after = summary("after", gb_seconds=math.nan)
    some = group([*lost, after, *(summary(f"r{number}", gb_seconds=2.0) for number in range(2))])
    told = effects(some).set_index("label")
    assert told["n"].to_dict() == {"makespan": 7, "GB-seconds": 2, "cold starts": 7}
    assert (told.loc["GB-seconds", "value"], told.loc["GB-seconds", "decision"]) == (0.5, "undecided")
    said = effect_sentence(some, "memory=1024")
    assert "GB-seconds 0.50x (0.50 to 0.50), undecided (known of 2)" in said
    assert "makespan 0.80x (0.80 to 0.80), lower;" in said
    assert said.endswith("With fewer than 6 runs nothing is decided.")
    none = effect_sentence(group([*lost, after]), "memory=1024")
    assert "GB-seconds unknown. In brackets" in none
    assert "nan" not in none


def test_what_errs_the_same_way_in_all_runs_is_not_averaged_away() -> None:
    """Every run is 0.8 times as long, but might as well be 1.1 times: resampling runs that agree cannot tell."""
    wide = [summary(f"r{number}", difference_low_ms=-400.0, difference_high_ms=100.0) for number in range(20)]
    assert effects(group(wide))["decision"][0] == "lower"
    together = group(wide, errs_together=True)
    assert (together["makespan_low"], together["makespan_high"]) == (0.6, 1.1)
    assert effects(together)["decision"][0] == "undecided"


def test_without_a_run_that_replays_or_is_touched_it_says_so() -> None:
    assert "no replay stands for its run" in effect_sentence(group([summary("r", replays=False)]), "memory=1024")
    same = summary("r", difference_ms=0.0, difference_low_ms=0.0, difference_high_ms=0.0)
    assert effect_sentence(group([same]), "memory=1024") == (
        "`memory=1024` touches the makespan of none of the 1 run that replay."
    )
    assert effects(group([same])).empty


def test_a_run_replayed_and_changed_shares_one_axis_and_the_numbers_of_its_workers() -> None:
    before, after = simulated("recorded", 100.0, ["a", "b"]), simulated("memory=1024", 70.0, ["b", "c"])
    drawn, heads = side_by_side([side(before, {"t0": "load"}), side(after, {"t0": "load"})])
    assert drawn.lanes == ("replayed", "w1", "w2", "changed", "w2′", "w3′")
    assert heads.to_numpy().tolist() == [
        ["replayed", 0.1, "as recorded: 100 ms"],
        ["changed", 0.07, "with memory=1024: 70.0 ms"],
    ]
    startups = drawn.bars[drawn.bars["phase"] == "start-up"]
    assert startups[["lane", "start_s", "end_s"]].to_numpy().tolist() == [
        ["w1", 0.0, 0.01], ["w2", 0.02, 0.03], ["w2′", 0.0, 0.01], ["w3′", 0.02, 0.03],
    ]  # fmt: skip
    assert set(drawn.bars["task"]) >= {"load", "t1"}
    spec = beside_in_time(drawn, heads).to_dict()
    domains = {tuple(layer["encoding"]["x"]["scale"]["domain"]) for layer in spec["layer"] if "x2" in layer["encoding"]}
    assert domains == {(0.0, drawn.ends_s)}
    assert drawn.ends_s == pytest.approx(0.102)


def test_a_run_that_does_not_replay_is_drawn_under_what_was_observed() -> None:
    workers = pd.DataFrame(
        [{"worker_id": "a", "requested_ms": 0.0, "ready_ms": 12.0, "released_ms": 60.0, "keep_warm_ms": 900.0, "reused_ms": None,
          "reused_here": False, "reused_by": None}]
    )  # fmt: skip
    tasks = pd.DataFrame(
        [{"worker_id": "a", "function": "load", "left_metrics": True, "start_ms": 12.0, "input_wait_ms": 0.0, "longest_download_ms": None,
          "execution_ms": 40.0, "upload_ms": 0.0, "counters_ms": 0.0, "invocation_ms": 0.0},
         {"worker_id": None, "function": "lost", "left_metrics": False, "start_ms": None}]
    )  # fmt: skip
    drawn, heads = side_by_side([observed_side(workers, tasks, 52.0), side(simulated("recorded", 100.0, ["a"]), {})])
    assert drawn.lanes == ("observed", "w1", "replayed", "w1′")
    assert heads["text"].tolist() == ["as observed: 52.0 ms", "as recorded: 100 ms"]
    assert "kept warm" not in set(drawn.bars["phase"])


def test_tasks_stand_in_a_row_each_observed_replayed_and_changed() -> None:
    figures = pd.DataFrame(
        [
            {"level": "task", "thing": task, "metric": metric, "observed": at, "replayed": at + 1, "simulated": at / 2}
            for task, begun in (("late", 50.0), ("early", 10.0))
            for metric, at in (("start_offset_ms", begun), ("finish_offset_ms", begun + 20))
        ]
    )
    table = wide(figures, "task", {"late": "save"}, has_change=True)
    assert table.columns.tolist() == [
        "task", "start (ms) observed", "start (ms) replayed", "start (ms) changed", "output there (ms) observed",
        "output there (ms) replayed", "output there (ms) changed", "task_id",
    ]  # fmt: skip
    assert table.to_numpy().tolist() == [
        ["early", 10, 11, 5, 30, 31, 15, "early"], ["save", 50, 51, 25, 70, 71, 35, "late"],
    ]  # fmt: skip
    alone = wide(figures.assign(replayed=None), "task", {}, has_change=False)
    assert alone["start (ms) replayed"].tolist() == [5, 25]


def test_a_worker_that_was_launched_twice_stands_in_one_row_with_the_launch_that_is_replayed() -> None:
    """Of w0 the launch at 5 never became ready, so that at 40 is replayed, not that at 90; of w1 both did, so that at 10 is."""
    launches = [
        ("w0", 90.0, 9.0),
        ("w0", 5.0, None),
        ("w0", 40.0, 4.0),
        ("w1", 30.0, 3.0),
        ("w1", 10.0, 1.0),
        ("w2", 20.0, 2.0),
    ]
    figures = pd.DataFrame(
        [
            {"level": "worker", "thing": worker, "metric": metric, "observed": at, "replayed": 0.0, "simulated": 0.0}
            for worker, requested, startup in launches
            for metric, at in (("requested_offset_ms", requested), ("startup_ms", startup))
        ]
    )
    table = wide(figures, "worker", {}, has_change=True)
    found = table[["worker_id", "requested (ms) observed", "start-up (ms) observed"]].to_numpy().tolist()
    assert sorted(found) == [["w0", 40.0, 4.0], ["w1", 10.0, 1.0], ["w2", 20.0, 2.0]]


def test_each_run_is_a_point_in_the_row_of_its_workflow() -> None:
    runs = pd.DataFrame({"run_id": ["a", "b", "c"], "workflow": ["x", None, "x"], "planner": ["p", None, "p"]})
    table = per_run(pd.DataFrame([summary(run) for run in runs["run_id"]]), runs)
    spec = run_ratios(table).to_dict()
    points = next(layer for layer in spec["layer"] if layer["mark"]["type"] == "point")
    assert points["encoding"]["y"]["scale"]["domain"] == ["x, n = 2", "(none), n = 1"]
    rows = spec["datasets"][points["data"]["name"]]
    assert [(row["shown"], row["makespan_times"], row["verdict"]) for row in rows] == [
        ("x, n = 2", 0.8, "shorter"), ("(none), n = 1", 0.8, "shorter"), ("x, n = 2", 0.8, "shorter"),
    ]  # fmt: skip
    assert points["encoding"]["x"]["axis"]["values"] == [0.8, 0.85, 0.9, 0.95, 1.0]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Two runs of 516 ms that were simulated before: one replayed at 520 ms with both starts right, one at 774 with one."""
    home = home_of(tmp_path_factory.mktemp("simulated"), together(diamond("d1"), diamond("d2", 60_000)))
    rows = [
        summary("d1", "recorded", makespan_ms=520.0, largest_start_error=0.01),
        summary("d2", "recorded", makespan_ms=774.0, largest_start_error=0.5, replays=False),
        summary("d1", "ahead", makespan_ms=258.0, replays=None),
        summary("d1", "memory=1024"),
        summary("d2", "memory=1024", replays=False, makespan_ms=9000.0, difference_ms=8000.0),
        summary("d1", UNSEEN, predictor="simulation", replays=None, makespan_ms=774.0, difference_ms=None),
        summary("d1", AHEAD_AS_TWO, predictor="simulation", replays=None, makespan_ms=645.0),
        summary("d1", RECORDED_AS_TWO, makespan_ms=1032.0),
        summary("d1", "predicted", predictor="p", replays=None, makespan_ms=619.2, difference_ms=None),
        summary("d1", "predicted; memory=1024", predictor="p", replays=None),
        summary("d1", "sla=p90", gb_seconds=2.0),
        summary("d2", "sla=p90", gb_seconds=math.nan, baseline_gb_seconds=math.nan),
        summary("d1", "sla=p95", gb_seconds=math.nan, baseline_gb_seconds=math.nan),
    ]
    invocations = [
        {"run_id": run, "scenario": "recorded", "worker_id": worker, "state": state}
        for run, states in (("d1", ("cold", "cold")), ("d2", ("cold", "warm")))
        for worker, state in zip(("w0", "w1"), states, strict=True)
    ]
    names = sorted({name for row in rows for name in row})
    whole = pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows])
    tables = {"simulations": whole, "simulated_invocations": pa.Table.from_pylist(invocations)}
    with Writer(home) as writer:
        writer.put_results(tables)
        writer.publish()
    with open_current(home) as found:
        yield found


def test_how_close_replays_come_is_told_from_what_is_stored(reader: Reader) -> None:
    """Errors 4 / 516 and 258 / 516; three of four starts in the recorded state."""
    table = of_reader(reader).frame(REPLAYS)
    expected = [2, (4 / 516 + 258 / 516) / 2, 0.5, 0.75, 0.5]
    for row in table.to_dict("records"):
        assert list(row.values())[2:] == pytest.approx(expected)
    assert table["workflow"].fillna("").tolist() == ["", "w"]
    assert of_reader(reader).frame(REPLAYING)["run_id"].tolist() == ["d1"]


def test_what_was_simulated_before_leaves_out_of_changes_what_does_not_replay(reader: Reader) -> None:
    table = of_reader(reader).frame(SIMULATED, touched_ms=1.0).set_index("scenario")
    table = table.loc[["recorded", "ahead", "memory=1024"]]
    assert table["runs"].to_dict() == {"recorded": 2, "ahead": 1, "memory=1024": 1}
    changed = table.loc["memory=1024"]
    assert (changed["touched"], changed["makespan_times"], changed["gb_seconds_times"]) == (1, 0.8, 1.0)
    assert table["median_makespan_error"].fillna(-1).to_dict() == pytest.approx(
        {"recorded": (4 + 258) / 2 / 516, "ahead": 0.5, "memory=1024": -1}
    )


def test_what_was_simulated_ahead_or_as_two_static_runs_is_no_change_and_has_an_error(reader: Reader) -> None:
    """Against the observed 516 ms: 774 is 50 % off, 645 a quarter, 1,032 all of it, 619.2 a fifth."""
    table = of_reader(reader).frame(SIMULATED, touched_ms=1.0).set_index("scenario")
    off = {UNSEEN: 0.5, AHEAD_AS_TWO: 0.25, RECORDED_AS_TWO: 1.0, "predicted": 0.2}
    alike = table.loc[list(off)]
    assert alike["median_makespan_error"].to_dict() == pytest.approx(off)
    assert alike[["touched", "makespan_times", "gb_seconds_times", "cold_starts_times"]].isna().all(axis=None)
    changed = table.loc[["predicted; memory=1024"], ["touched", "makespan_times", "median_makespan_error"]]
    assert changed.fillna(-1).to_numpy().tolist() == [[1, 0.8, -1]]


def test_gb_seconds_that_are_not_known_do_not_count_as_large(reader: Reader) -> None:
    table = of_reader(reader).frame(SIMULATED, touched_ms=1.0).set_index("scenario")
    told = table.loc[["sla=p90", "sla=p95"], ["runs", "touched", "gb_seconds_times"]]
    assert told.fillna(-1).to_numpy().tolist() == [[2, 2, 0.5], [1, 1, -1]]


def test_of_the_runs_selected_the_stored_ones_are_read(reader: Reader) -> None:
    assert of_reader(reader).frame(STORED, scenario="memory=1024")["run_id"].tolist() == ["d1", "d2"]
    nothing = Selection((("workflow", ("other",)),))
    assert of_reader(reader, nothing).frame(STORED, scenario="memory=1024").empty


def test_a_run_is_simulated_in_this_process_and_one_that_is_not_there_is_refused(reader: Reader) -> None:
    """Half the start-up: w0 is ready 50 earlier, and w1, asked for when its task's input is there, 100 earlier: so is the end."""
    grounds = learn_newest(reader)
    assert grounds.runs == 2
    half = read_changes(["startup_factor=0.5"])
    ensemble = simulate_runs(reader, grounds, ["d1", "gone"], [Changes(), half], draws=2)
    replay, changed = (one.summary for one in ensemble.simulated)
    assert replay["makespan_ms"] == pytest.approx(516)
    assert (changed["makespan_ms"], changed["difference_ms"]) == (pytest.approx(416), pytest.approx(-100))
    assert set(ensemble.refused) == {("recorded", "gone"), ("startup_factor=0.5", "gone")}


def test_the_page_and_the_command_simulate_the_same(tmp_path: Path) -> None:
    """As far as this log tells, containers may be warm still after 59 s: both have to look back as far."""
    home = home_of(tmp_path, together(*(diamond(f"d{number}", 60_000.0 * number) for number in range(7))))
    half = read_changes(["startup_factor=0.5"])
    with open_current(home) as found:
        on_page = simulate_runs(found, learn_newest(found), ["d2"], [half], draws=3)
        by_command = commands.simulate_runs(home, found, ["d2"], [half], draws=3)
    ((page,), (command,)) = on_page.simulated, by_command.simulated
    assert page.summary["draws"] == 3
    assert page == command

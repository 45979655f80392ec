"""What the writer promises of predictors' and simulations' results: replaced together, kept apart from files, gone with their runs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ingest.commands import take_in
from ingest.labels import Labels
from tests.dumps import answer, flowscope, put, rows_of_runs
from warehouse.batches import Rows
from warehouse.home import Home
from warehouse.results import RESULTS, ResultsRefused
from warehouse.writer import Writer

SIMULATED = ("simulations", "simulated_tasks", "simulated_invocations")


def prediction(predictor: str, run: str, predicted: float, **columns: Any) -> dict[str, Any]:
    """A prediction of the median makespan of a run."""
    return {
        "predictor": predictor, "level": "run", "run_id": run, "metric": "makespan", "sla_percentile": 50.0,
        "predicted": predicted, **columns,
    }  # fmt: skip


def score(predictor: str, n: int, **columns: Any) -> dict[str, Any]:
    return {
        "predictor": predictor, "level": "run", "metric": "makespan", "sla_percentile": 50.0, "rows_of": "all",
        "group_by": "all", "group_value": "", "n": n, **columns,
    }  # fmt: skip


def budget(predictor: str, n: int, kept: int | None = None) -> dict[str, Any]:
    policy = "all" if kept is None else "last_runs"
    return {"predictor": predictor, "policy": policy, "kept": kept, "level": "run", "metric": "makespan", "n": n}


def simulation(run: str, scenario: str, makespan_ms: float | None, **tasks: float) -> dict[str, list[dict[str, Any]]]:
    """A simulation of a run: its tasks, by name, and when each finishes after submission, all on one worker."""
    key = {"run_id": run, "scenario": scenario}
    return {
        "simulations": [{**key, "predictor": "recorded", "makespan_ms": makespan_ms, "warnings": ["few runs"]}],
        "simulated_tasks": [{**key, "task_id": task, "finish_offset_ms": finish} for task, finish in tasks.items()],
        "simulated_invocations": [{**key, "worker_id": "w1", "state": "cold", "cold_probability": 0.5}]
        if tasks
        else [],
    }


def together(*simulations: dict[str, list[dict[str, Any]]]) -> dict[str, pa.Table]:
    """Several simulations as one set of results."""
    rows = {name: [row for each in simulations for row in each[name]] for name in SIMULATED}
    return results(**{name: of_table for name, of_table in rows.items() if of_table})


def simulated(writer: Writer) -> dict[tuple[str, str], tuple[float | None, dict[str, float], list[str]]]:
    """Of each simulation in the warehouse: its makespan, when its tasks finish, and its workers."""
    tables = [
        writer._rows(f"select run_id, scenario, {columns} from {name} order by all")
        for name, columns in zip(SIMULATED, ("makespan_ms", "task_id, finish_offset_ms", "worker_id"), strict=True)
    ]
    found: dict[tuple[str, str], tuple[float | None, dict[str, float], list[str]]] = {
        (run, scenario): (makespan, {}, []) for run, scenario, makespan in tables[0]
    }
    for run, scenario, task, finish in tables[1]:
        found[run, scenario][1][task] = finish
    for run, scenario, worker in tables[2]:
        found[run, scenario][2].append(worker)
    assert [len(tables[0]), len(tables[1])] == [len(found), sum(len(tasks) for _, tasks, _ in found.values())]
    return found


def results(**tables: Iterable[dict[str, Any]]) -> dict[str, pa.Table]:
    return {name: pa.Table.from_pylist(list(rows)) for name, rows in tables.items()}


def predicted(writer: Writer) -> list[tuple[Any, ...]]:
    return writer._rows("select predictor, run_id, predicted, file_id from predictions order by all")


# replacing


def test_a_predictors_results_are_replaced_whole_and_anothers_stay(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1", "r2"))
        for name in ("mine", "other"):
            first = [prediction(name, "r1", 1), prediction(name, "r2", 2)]
            counts = writer.put_results(
                results(predictions=first, predictor_scores=[score(name, 2)], history_budgets=[budget(name, 2)])
            )
            assert counts == {"predictions": 2, "predictor_scores": 1, "history_budgets": 1}
        writer.put_results(results(predictions=[prediction("mine", "r2", 3)], predictor_scores=[score("mine", 1)]))
        assert predicted(writer) == [("mine", "r2", 3, None), ("other", "r1", 1, None), ("other", "r2", 2, None)]
        assert writer._rows("select predictor, n from predictor_scores order by all") == [("mine", 1), ("other", 2)]
        assert writer._rows("select distinct extra from predictions") == [(None,)]


def test_budgets_are_replaced_when_found_anew_and_neither_touch_predictions_nor_leave_with_them(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1"))
        for name in ("mine", "other"):
            writer.put_results(
                results(predictions=[prediction(name, "r1", 1)], predictor_scores=[score(name, 1)])
                | results(history_budgets=[budget(name, 1), budget(name, 1, kept=5)])
            )
        writer.put_results(results(history_budgets=[budget("mine", 9)]))
        kept = [("mine", None, 9), ("other", 5, 1), ("other", None, 1)]
        assert writer._rows("select predictor, kept, n from history_budgets order by all") == kept
        assert predicted(writer) == [("mine", "r1", 1, None), ("other", "r1", 1, None)]
        writer.put_results(results(predictor_scores=[score("mine", 2)]))
        assert writer._rows("select predictor, kept, n from history_budgets order by all") == kept
        assert predicted(writer) == [("other", "r1", 1, None)]


def test_a_simulation_is_replaced_whole_and_other_runs_and_scenarios_stay(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1", "r2"))
        first = [
            simulation(run, scenario, 9, t1=4, t2=9) for run in ("r1", "r2") for scenario in ("recorded", "memory=1024")
        ]
        counts = writer.put_results(together(*first))
        assert counts == {"simulations": 4, "simulated_tasks": 8, "simulated_invocations": 4}
        writer.put_results(together(simulation("r1", "memory=1024", 7, t1=3)))
        as_before = (9, {"t1": 4, "t2": 9}, ["w1"])
        assert simulated(writer) == {
            ("r1", "recorded"): as_before,
            ("r1", "memory=1024"): (7, {"t1": 3}, ["w1"]),
            ("r2", "recorded"): as_before,
            ("r2", "memory=1024"): as_before,
        }


def test_a_simulation_that_is_put_without_its_tasks_leaves_none_of_its_earlier_ones(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1"))
        writer.put_results(together(simulation("r1", "recorded", 9, t1=4), simulation("r1", "predicted", 8, t1=4)))
        writer.put_results({"simulations": together(simulation("r1", "recorded", 5))["simulations"]})
        assert simulated(writer) == {("r1", "recorded"): (5, {}, []), ("r1", "predicted"): (8, {"t1": 4}, ["w1"])}


def test_simulations_and_predictions_do_not_touch_each_other(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1"))
        writer.put_results(
            together(simulation("r1", "recorded", 9, t1=9)) | results(predictions=[prediction("recorded", "r1", 1)])
        )
        writer.put_results(results(predictions=[prediction("recorded", "r1", 2)]))
        writer.put_results(together(simulation("r1", "recorded", 8)))
        assert predicted(writer) == [("recorded", "r1", 2, None)]
        assert simulated(writer) == {("r1", "recorded"): (8, {}, [])}


def test_simulations_of_runs_that_are_not_there_are_left_out_with_their_tasks(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1"))
        counts = writer.put_results(together(*(simulation(run, "recorded", 9, t1=9) for run in ("r1", "nobody"))))
        assert counts == dict.fromkeys(SIMULATED, 1)
        assert simulated(writer) == {("r1", "recorded"): (9, {"t1": 9}, ["w1"])}


def test_simulations_are_published(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1"))
        writer.publish()
        writer.put_results(together(simulation("r1", "recorded", float("nan"), t1=4)))
        assert writer.publish()
    assert answer(home, "select scenario, makespan_ms, replays, warnings from simulations") == [
        ("recorded", None, None, ["few runs"])
    ]
    assert answer(home, "select finish_offset_ms, start_offset_ms from simulated_tasks") == [(4, None)]
    assert answer(home, "select state, cold_probability, memory_mb from simulated_invocations") == [("cold", 0.5, None)]


def test_results_are_published(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1"))
        writer.publish()
        writer.put_results(
            results(predictions=[prediction("mine", "r1", 1)], predictor_scores=[score("mine", 1)])
            | results(history_budgets=[budget("mine", 1), budget("mine", 1, kept=5)])
        )
        assert writer.publish()
    for table, count in {"predictions": 1, "predictor_scores": 1, "history_budgets": 2}.items():
        assert answer(home, f"select count(*) from {table}") == [(count,)]
    assert answer(home, "select predicted, sla from prediction_errors where predictor = 'mine'") == [(1, "p50")]


def test_columns_left_out_and_what_is_no_number_are_unknown(home: Home) -> None:
    rows = results(predictions=[prediction("mine", "r1", float("nan"))], predictor_scores=[score("mine", 1)])
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1"))
        writer.put_results(rows)
        assert writer._rows("select task_id, invocation_id, predicted, predicted_at from predictions") == [
            (None, None, None, None)
        ]
        assert writer._rows("select coverage, error_ratio from predictor_scores") == [(None, None)]


def test_instants_of_another_zone_are_stored_in_utc(home: Home) -> None:
    at = pa.array([datetime(2026, 1, 1, 12, tzinfo=UTC)], pa.timestamp("us", "Asia/Tokyo"))
    rows = pa.Table.from_pylist([prediction("mine", "r1", 1)]).append_column("predicted_at", at)
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1"))
        writer.put_results({"predictions": rows})
        assert writer._rows("select predicted_at from predictions") == [(datetime(2026, 1, 1, 12),)]


def test_predictions_of_runs_that_are_not_there_are_left_out(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1"))
        rows = [prediction("mine", "r1", 1), prediction("mine", "nobody", 1)]
        assert writer.put_results(results(predictions=rows)) == {"predictions": 1}
        assert predicted(writer) == [("mine", "r1", 1, None)]


# what is refused


REFUSED = {
    "a key twice": ("predictions", [prediction("mine", "r1", 1), prediction("mine", "r1", 2)], "two rows of"),
    "a key twice without a percentile": (
        "predictions",
        [prediction("mine", "r1", value, sla_percentile=None) for value in (1, 2)],
        "two rows of",
    ),
    "a score twice": ("predictor_scores", [score("mine", 1), score("mine", 2)], "two rows of"),
    "a budget twice": ("history_budgets", [budget("mine", 1), budget("mine", 2)], "two rows of"),
    "an unknown column": ("predictions", [prediction("mine", "r1", 1, colour="red")], "no column colour"),
    "a missing column": ("predictor_scores", [{"predictor": "mine"}], "needs the column group_by"),
    "a missing key": ("predictions", [prediction("mine", None, 1)], "row without run_id"),  # type: ignore[arg-type]
    "another type": ("predictor_scores", [score("mine", "many")], "predictor_scores.n"),  # type: ignore[arg-type]
    "the recorded plan": ("predictions", [prediction("engine", "r1", 1)], "recorded plan"),
    "a simulation twice": ("simulations", [{"run_id": "r1", "scenario": "recorded"}] * 2, "two rows of"),
    "a simulation without a scenario": ("simulations", [{"run_id": "r1", "scenario": None}], "row without scenario"),
    "tasks without their simulation": (
        "simulated_tasks",
        [{"run_id": "r1", "scenario": "recorded", "task_id": "t1"}],
        "without its row of simulations",
    ),
    "another table": ("tasks", [{"run_id": "r1"}], "holds no results"),
}


@pytest.mark.parametrize(("table", "rows", "sentence"), REFUSED.values(), ids=REFUSED)
def test_results_that_are_not_as_described_are_refused_and_change_nothing(
    home: Home, table: str, rows: list[dict[str, Any]], sentence: str
) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1"))
        writer.put_results(results(predictions=[prediction("mine", "r1", 7)], predictor_scores=[score("mine", 7)]))
        writer.publish()
        with pytest.raises(ResultsRefused, match=sentence):
            writer.put_results(results(**{table: rows}))
        assert predicted(writer) == [("mine", "r1", 7, None)]
        assert writer._rows("select n from predictor_scores") == [(7,)]
        assert writer.publish() is None


@pytest.mark.parametrize(("name", "part"), [("simulated_tasks", "task_id"), ("simulated_invocations", "worker_id")])
def test_a_part_of_a_simulation_that_is_not_put_in_with_it_is_refused_and_nothing_changes(
    home: Home, name: str, part: str
) -> None:
    rows = together(simulation("r1", "recorded", 8, t1=8))
    rows[name] = pa.Table.from_pylist([{"run_id": "r1", "scenario": "predicted", part: "x"}])
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1"))
        writer.put_results(together(simulation("r1", "recorded", 9, t1=9), simulation("r1", "predicted", 7, t1=7)))
        with pytest.raises(ResultsRefused, match=f"{name} has a row of run_id 'r1', scenario 'predicted' without"):
            writer.put_results(rows)
        assert simulated(writer) == {
            ("r1", "recorded"): (9, {"t1": 9}, ["w1"]),
            ("r1", "predicted"): (7, {"t1": 7}, ["w1"]),
        }


def test_interrupted_between_two_tables_nothing_has_changed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1"))
        writer.put_results(results(predictions=[prediction("mine", "r1", 7)], predictor_scores=[score("mine", 7)]))
        monkeypatch.setattr("warehouse.results.let_results_stand", interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.put_results(results(predictions=[prediction("mine", "r1", 8)]))
        monkeypatch.undo()
        assert predicted(writer) == [("mine", "r1", 7, None)]
        assert writer._rows("select n from predictor_scores") == [(7,)]


# beside files


FROM_FILE = Rows("predictions", [prediction("mine", "r1", 10), prediction("mine", "r2", 20)])


def test_a_commands_row_stands_over_a_files_with_its_key_and_survives_its_return(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1", "r2"), FROM_FILE)
        writer.put_results(results(predictions=[prediction("mine", "r1", 1)]))
        for _ in range(2):
            assert predicted(writer) == [("mine", "r1", 1, None), ("mine", "r2", 20, "a")]
            put(writer, "a", *rows_of_runs("r1", "r2"), FROM_FILE)


def from_file(*simulations: dict[str, list[dict[str, Any]]]) -> list[Rows]:
    return [Rows(name, [row for each in simulations for row in each[name]]) for name in SIMULATED]


def test_a_commands_simulation_stands_over_the_whole_of_a_files_and_survives_its_return(home: Home) -> None:
    rows = from_file(simulation("r1", "recorded", 9, t1=4, t2=9), simulation("r2", "recorded", 9, t1=4, t2=9))
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1", "r2"), *rows)
        writer.put_results({"simulations": together(simulation("r1", "recorded", 5))["simulations"]})
        for _ in range(2):
            assert simulated(writer) == {
                ("r1", "recorded"): (5, {}, []),
                ("r2", "recorded"): (9, {"t1": 4, "t2": 9}, ["w1"]),
            }
            put(writer, "a", *rows_of_runs("r1", "r2"), *rows)


def test_simulations_survive_a_later_ingest_and_a_change_of_owner(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1"))
        writer.put_results(together(simulation("r1", "recorded", 9, t1=9)))
        for file, tasks in {"a": 0, "b": 2, "c": 4}.items():
            put(writer, file, *rows_of_runs("r1", tasks=tasks))
            assert simulated(writer) == {("r1", "recorded"): (9, {"t1": 9}, ["w1"])}


def test_simulations_leave_with_the_last_file_of_their_run(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1"))
        put(writer, "b", *rows_of_runs("r1", "r2"))
        writer.put_results(together(*(simulation(run, "recorded", 9, t1=9) for run in ("r1", "r2"))))
        writer.forget(["b"])
        assert simulated(writer) == {("r1", "recorded"): (9, {"t1": 9}, ["w1"])}
        writer.forget(["a"])
        assert [writer._rows(f"select count(*) from {name}") for name in SIMULATED] == [[(0,)]] * 3


def test_results_survive_a_later_ingest_and_a_change_of_owner(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1"))
        writer.put_results(results(predictions=[prediction("mine", "r1", 1)], predictor_scores=[score("mine", 1)]))
        for file, tasks in {"a": 0, "b": 2, "c": 4}.items():
            put(writer, file, *rows_of_runs("r1", tasks=tasks))
            assert predicted(writer) == [("mine", "r1", 1, None)]
            assert writer._rows("select predictor, n from predictor_scores") == [("mine", 1)]


def test_predictions_leave_with_the_last_file_of_their_run(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1"))
        put(writer, "b", *rows_of_runs("r1", "r2"))
        writer.put_results(results(predictions=[prediction("mine", "r1", 1), prediction("mine", "r2", 2)]))
        writer.forget(["b"])
        assert predicted(writer) == [("mine", "r1", 1, None)]
        writer.forget(["a"])
        assert predicted(writer) == []


def test_exported_results_are_taken_in_again(home: Home, tmp_path: Path) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1"))
        writer.put_results(
            results(
                predictions=[prediction("mine", "r1", 1)],
                predictor_scores=[score("mine", 1, error_ratio=0.5)],
                history_budgets=[budget("mine", 1), budget("mine", 1, kept=5)],
            )
            | together(simulation("r1", "recorded", 9, t1=4, t2=9), simulation("r1", "memory=1024", 8, t1=8))
        )
        writer.publish()
    assert flowscope(home.root, "export", tmp_path / "dump").returncode == 0
    again = Home(tmp_path / "again")
    take_in(again, (str(tmp_path / "dump"),), Labels())
    for table in RESULTS:
        query = f"select * exclude (file_id) from {table} order by all"
        assert answer(again, query) == answer(home, query) != []
        assert answer(again, f"select count(file_id) = count(*) from {table}") == [(True,)]


# size


def test_a_million_predictions_are_put_in_seconds(home: Home) -> None:
    runs, tasks = 500, 2000
    index = np.arange(runs * tasks)
    rows = pa.table(
        {
            "predictor": pa.DictionaryArray.from_arrays(np.zeros(len(index), np.int8), ["mine"]),
            "level": pa.DictionaryArray.from_arrays(np.zeros(len(index), np.int8), ["task"]),
            "run_id": pa.DictionaryArray.from_arrays(index // tasks, [f"r{n}" for n in range(runs)]),
            "task_id": pa.DictionaryArray.from_arrays(index % tasks, [f"t{n}" for n in range(tasks)]),
            "metric": pa.DictionaryArray.from_arrays(np.zeros(len(index), np.int8), ["execution"]),
            "sla_percentile": np.full(len(index), 50.0),
            "predicted": index.astype(float),
        }
    )
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs(*(f"r{n}" for n in range(runs))))
        for _ in range(2):
            started = perf_counter()
            assert writer.put_results({"predictions": rows}) == {"predictions": runs * tasks}
            assert perf_counter() - started < 30
        assert writer._rows("select count(*) from predictions") == [(runs * tasks,)]


def test_simulations_of_hundreds_of_runs_are_put_in_seconds(home: Home) -> None:
    runs, scenarios, tasks = 540, 12, 30
    index = np.arange(runs * scenarios * tasks)
    key = {
        "run_id": pa.DictionaryArray.from_arrays(index // (scenarios * tasks), [f"r{n}" for n in range(runs)]),
        "scenario": pa.DictionaryArray.from_arrays(
            index // tasks % scenarios, [f"memory={n}" for n in range(scenarios)]
        ),
    }
    names = pa.DictionaryArray.from_arrays(index % tasks, [f"n{n}" for n in range(tasks)])
    rows = {
        "simulations": pa.table(key).take(np.flatnonzero(index % tasks == 0)),
        "simulated_tasks": pa.table({**key, "task_id": names, "finish_offset_ms": index.astype(float)}),
        "simulated_invocations": pa.table({**key, "worker_id": names, "startup_ms": index.astype(float)}),
    }
    counts = {name: len(table) for name, table in rows.items()}
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs(*(f"r{n}" for n in range(runs))))
        for _ in range(2):
            started = perf_counter()
            assert writer.put_results(rows) == counts
            assert perf_counter() - started < 10
        assert {name: writer._rows(f"select count(*) from {name}")[0][0] for name in SIMULATED} == counts


# older warehouses


def test_a_warehouse_of_before_simulations_gets_their_tables_and_publishes_them(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1"))
        for name in SIMULATED:
            writer._rows(f"drop table {name}")
            writer._rows(f"drop table set_aside.{name}")
        writer.publish()
    with Writer(home) as writer:
        assert writer.publish()
        assert [answer(home, f"select count(*) from {name}") for name in SIMULATED] == [[(0,)]] * 3
        writer.put_results(together(simulation("r1", "recorded", 9, t1=9)))
        assert simulated(writer) == {("r1", "recorded"): (9, {"t1": 9}, ["w1"])}
    with Writer(home) as writer:
        assert writer.publish()
        assert writer.publish() is None

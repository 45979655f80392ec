"""`flowscope predict` and `evaluate`: what they answer, and that nothing they are given brings a traceback."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from predictors import registry
from tests.dumps import Done, answer, flowscope, run_row, task_row, write_lines
from tests.predictors.worlds import World, dump, home_of
from warehouse.home import Home

WORLD = World(runs=12)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a small world and a model of it. Tests only read it."""
    home = home_of(tmp_path_factory.mktemp("predicting"), WORLD)
    done = flowscope(home.root, "train")
    assert done.returncode == 0, done.stderr
    return home.root


def rows(done: Done) -> list[dict[str, str]]:
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def refused(done: Done, code: int = 1) -> str:
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert "Traceback" not in done.stderr
    assert "fault of flowscope" not in done.stderr
    assert len(done.stderr) < 2000
    return done.stderr


# one task


def test_one_task_is_answered_by_metric(trained: Path) -> None:
    options = ["--function", "work", "--input-bytes", 1e6, "--memory", 1024, "--quantiles", "50,99"]
    found = rows(flowscope(trained, "predict", *options))
    assert [row["metric"] for row in found] == ["execution", "download", "upload", "output_bytes", "startup", "state"]
    assert {row["unit"] for row in found} == {"ms", "bytes", "probability"}
    assert all(0 <= float(row["p50"]) <= float(row["p99"]) for row in found)
    assert found[0]["known_runs"] == "12"
    (only,) = rows(flowscope(trained, "predict", *options, "--metric", "startup", "--state", "cold"))
    assert float(only["p50"]) > 400


def test_something_never_seen_is_said_to_be(trained: Path) -> None:
    done = flowscope(trained, "predict", "--function", "new\x1f\nthing", "--metric", "execution")
    assert rows(done)[0]["known_runs"] == "0"
    assert "1 of 1 answers are for something never seen" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--memory", "512"],
        ["--function", "f", "--run", "run-001"],
        ["--function", "f", "--metric", "speed"],
        ["--function", "f", "--quantiles", "fifty"],
        ["--function", "f", "--quantiles", "0,50"],
        ["--function", "f", "--quantiles", "nan"],
        ["--function", "f", "--quantiles", ""],
        ["--function", "f", "--input-bytes", "-1"],
        ["--function", "f", "--memory", "0"],
        ["--function", "f", "--state", "tepid"],
        ["nowhere.csv"],
    ],
)
def test_wrong_usage_exits_2_whether_there_is_a_model_or_not(
    trained: Path, tmp_path: Path, arguments: list[str]
) -> None:
    for home in (trained, tmp_path / "none"):
        refused(flowscope(home, "predict", *arguments), 2)


def test_infinite_bytes_are_refused(trained: Path) -> None:
    assert "input_bytes of task 1 is inf" in refused(
        flowscope(trained, "predict", "--function", "f", "--input-bytes", "inf")
    )


# files


TASKS = [
    {"function": "work", "input_bytes": 1e6, "memory_mb": 1024, "note": "a"},
    {"function": "unseen", "input_bytes": None, "memory_mb": 512, "note": "b"},
]


def written(path: Path, tasks: list[dict[str, Any]]) -> Path:
    frame = pd.DataFrame(tasks)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".json":
        path.write_text(json.dumps(tasks))
    else:
        frame.to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_files_of_tasks_are_answered_alike_with_their_other_columns(trained: Path, tmp_path: Path, suffix: str) -> None:
    found = rows(flowscope(trained, "predict", written(tmp_path / f"tasks{suffix}", TASKS), "--metric", "execution"))
    assert [(row["function"], row["note"], row["known_runs"]) for row in found] == [
        ("work", "a", "12"),
        ("unseen", "b", "0"),
    ]
    alone = rows(flowscope(trained, "predict", "--function", "work", "--input-bytes", 1e6, "--memory", 1024, "--metric", "execution"))  # fmt: skip
    assert found[0]["p90"] == alone[0]["p90"]


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_an_output_file_is_written_by_its_ending(trained: Path, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"out{suffix}"
    done = flowscope(trained, "predict", "--function", "work", "-o", target)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    readers: dict[str, Any] = {".csv": pd.read_csv, ".json": pd.read_json, ".parquet": pd.read_parquet}
    assert len(readers[suffix](target)) == 6


def test_names_stay_as_they_are_written(trained: Path, tmp_path: Path) -> None:
    names = ["007", "1e5", "None", "NA", "true", "two\nlines", "a\x1fb", "x" * 100_000]
    for suffix in (".csv", ".json"):
        path = written(tmp_path / f"tasks{suffix}", [{"function": name} for name in names])
        out = tmp_path / "out.json"
        done = flowscope(trained, "predict", path, "--metric", "execution", "-o", out)
        assert done.returncode == 0, done.stderr
        assert [row["function"] for row in json.loads(out.read_text())] == names


def test_other_columns_may_hold_anything_and_be_called_as_answers_are(trained: Path, tmp_path: Path) -> None:
    tasks = [{"function": "work", "p9": "x", "p50": 1, "row": 7, "metric": "m", "mixed": 1, "deep": [1]}, {"function": 5, "mixed": "a", "deep": {"a": 2}}]  # fmt: skip
    done = flowscope(trained, "predict", written(tmp_path / "tasks.json", tasks), "--metric", "execution")
    found = rows(done)
    assert [row["p9"] for row in found] == ["x", ""]
    assert [row["metric"] for row in found] == ["execution", "execution"]
    assert [row["mixed"] for row in found] == ["1", "a"]


CONTENTS: dict[str, tuple[str, bytes]] = {
    "an empty file": ("t.csv", b""),
    "a header alone": ("t.csv", b"function,input_bytes\n"),
    "no function": ("t.csv", b"name,input_bytes\nf,1\n"),
    "text for a number": ("t.csv", b"function,input_bytes\nf,many\n"),
    "a negative size": ("t.csv", b"function,input_bytes\nf,-1\n"),
    "an infinite size": ("t.csv", b"function,input_bytes\nf,1e999\n"),
    "no UTF-8": ("t.csv", b"function\n\xff\xfe\n"),
    "ragged lines": ("t.csv", b"function,input_bytes\nf,1\nf,1,2,3\n"),
    "an open quote": ("t.csv", b'function\n"f\n'),
    "an unknown state": ("t.csv", b"function,state\nf,tepid\n"),
    "no memory": ("t.csv", b"function,memory_mb\nf,0\n"),
    "an empty JSON": ("t.json", b""),
    "no JSON": ("t.json", b"{"),
    "a number": ("t.json", b"7"),
    "numbers": ("t.json", b"[1, 2]"),
    "one object": ("t.json", b'{"function": "f"}'),
    "no objects": ("t.json", b"[]"),
    "empty objects": ("t.json", b"[{}, {}]"),
    "a deep nest": ("t.json", b"[" * 100_000),
    "a huge integer": ("t.json", b'[{"function": "f", "input_bytes": 1' + b"0" * 500 + b"}]"),
    "an integer of too many digits": ("t.json", b'[{"function": "f", "input_bytes": 1' + b"0" * 5000 + b"}]"),
    "a list for a number": ("t.json", b'[{"function": "f", "input_bytes": [1]}]'),
    "an object for a state": ("t.json", b'[{"function": "f", "state": {"a": 1}}]'),
    "JSON that is not UTF-8": ("t.json", b'[{"function": "\xff"}]'),
    "a half surrogate": ("t.json", b'[{"function": "f", "state": "\\ud800"}]'),
    "no Parquet": ("t.parquet", b"PAR1 and no more"),
    "an empty Parquet": ("t.parquet", b""),
    "another ending": ("t.xlsx", b"function\nf\n"),
}


@pytest.mark.parametrize("what", CONTENTS)
def test_a_file_that_makes_no_sense_exits_1_with_a_sentence(trained: Path, tmp_path: Path, what: str) -> None:
    name, content = CONTENTS[what]
    path = tmp_path / name
    path.write_bytes(content)
    assert refused(flowscope(trained, "predict", path)).startswith("Error: ")


def test_a_parquet_file_with_odd_columns_exits_1_with_a_sentence(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    text = pa.array(["f"])
    for table in (
        pa.Table.from_arrays([text, text], names=["function", "function"]),
        pa.table({"function": text, "input_bytes": pa.array([[1]])}),
        pa.table({"function": text, "memory_mb": pa.array([b"\xff"])}),
        pa.table({"a": []}),
    ):
        pq.write_table(table, path)
        refused(flowscope(trained, "predict", path))


# runs and folders


def unrun(folder: Path, **of_run: Any) -> Path:
    """A DAG with a plan, before anything of it ran."""
    sizes = {"split": 900_000, "work-0": 0, "work-1": 0, "merge": 0}
    write_lines(folder / "runs.jsonl", [run_row("next", workflow="diamond", planner="first", environment="here", sink_task_id="merge", **of_run)])  # fmt: skip
    write_lines(
        folder / "tasks.jsonl",
        [task_row("next", task, function=task.partition("-")[0], execution_ms=None, literal_bytes=size) for task, size in sizes.items()],
    )  # fmt: skip
    edges = [("split", "work-0"), ("split", "work-1"), ("work-0", "merge"), ("work-1", "merge")]
    write_lines(
        folder / "edges.jsonl", [{"run_id": "next", "upstream_task_id": up, "task_id": down} for up, down in edges]
    )
    workers = {"split": "a", "work-0": "a", "work-1": "b", "merge": "a"}
    write_lines(folder / "planned_tasks.jsonl", [{"run_id": "next", "task_id": task, "worker_id": worker, "memory_mb": 1024} for task, worker in workers.items()])  # fmt: skip
    return folder


def test_a_dag_is_predicted_from_a_folder_before_anything_ran(trained: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in trained.rglob("*"))
    done = flowscope(trained, "predict", unrun(tmp_path / "dag"))
    found = rows(done)
    assert sorted(path.name for path in trained.rglob("*")) == before
    assert {(row["level"], row["metric"]) for row in found} >= {("run", "makespan"), ("task", "execution"), ("invocation", "startup")}  # fmt: skip
    values = {(row["task_id"], row["metric"]): float(row["p50"]) for row in found}
    assert values["work-0", "output_bytes"] == pytest.approx(900_000 / 15, rel=0.1)
    assert values["work-0", "execution"] == pytest.approx(60, rel=0.6)
    assert values["", "makespan"] > values["", "execution"] / 2 > 0
    assert all(float(row["p50"]) <= float(row["p75"]) <= float(row["p90"]) for row in found)
    only = rows(flowscope(trained, "predict", tmp_path / "dag", "--metric", "execution"))
    assert {row["metric"] for row in only} == {"execution"}


def test_a_folder_that_holds_no_run_to_predict_exits_1_with_a_sentence(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_lines(tmp_path / "nonsense" / "runs.jsonl", ["{", "[]"])
    unrun(tmp_path / "no time", submitted_at=None)
    for folder in ("empty", "nonsense", "no time"):
        said = refused(flowscope(trained, "predict", tmp_path / folder))
        assert "Error: " in said
    assert "submitted_at" in said


def test_a_run_of_the_warehouse_is_predicted_and_an_unknown_one_refused(trained: Path) -> None:
    found = rows(flowscope(trained, "predict", "--run", "run-003", "--run", "run-005"))
    assert {row["run_id"] for row in found} == {"run-003", "run-005"}
    assert "No run nobody" in refused(flowscope(trained, "predict", "--run", "nobody"))


# models


def test_without_a_model_or_with_a_damaged_one_it_exits_1_with_a_sentence(tmp_path: Path) -> None:
    home = home_of(tmp_path, World(runs=2))
    ask = ["predict", "--function", "work"]
    assert "No model in " in refused(flowscope(home.root, *ask))
    assert flowscope(home.root, "train", "--target", "execution").returncode == 0
    assert [row["metric"] for row in rows(flowscope(home.root, *ask))] == ["execution", "output_bytes"]
    assert "not trained for startup" in refused(flowscope(home.root, *ask, "--metric", "startup"))
    assert "No model 9 in " in refused(flowscope(home.root, *ask, "--version", "9"))
    model = home.models / "000001" / "model.skops"
    model.chmod(0o644)
    model.write_bytes(model.read_bytes()[:-1])
    assert "is not the file its card was written for" in refused(flowscope(home.root, *ask))
    assert "is not the file its card was written for" in refused(flowscope(home.root, "train", "--rollback", 1))


def test_versions_answer_for_themselves(trained: Path, tmp_path: Path) -> None:
    home = home_of(tmp_path, World(runs=3))
    assert flowscope(home.root, "train").returncode == 0
    first = rows(flowscope(home.root, "predict", "--function", "work"))
    dump(tmp_path / "more", World(runs=9, seed=4))
    assert flowscope(home.root, "ingest", tmp_path / "more").returncode == 0
    assert flowscope(home.root, "train").returncode == 0
    assert registry.current(home) == 2
    assert rows(flowscope(home.root, "predict", "--function", "work")) != first
    assert rows(flowscope(home.root, "predict", "--function", "work", "--version", 1)) == first


# evaluate


@pytest.mark.parametrize("world", [World(runs=1), World(runs=2), World(runs=5, shows=frozenset({"tasks"})), World(runs=5, shows=frozenset({"invocations"})), World(runs=5, shows=frozenset())], ids=["one run", "two runs", "only tasks", "only invocations", "only runs"])  # fmt: skip
def test_evaluate_and_train_survive_whatever_little_there_is(tmp_path: Path, world: World) -> None:
    home = home_of(tmp_path, world)
    for command in ("evaluate", "train"):
        done = flowscope(home.root, command)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    found = answer(home, "select count(*), count(distinct run_id), min(predicted) >= 0 from predictions")
    assert found[0][1] == (world.runs - 1)
    done = flowscope(home.root, "predict", "--function", "work")
    assert done.returncode == 0, done.stderr


def test_evaluate_twice_keeps_one_set_of_predictions(tmp_path: Path) -> None:
    home = home_of(tmp_path, World(runs=4))
    counts = []
    for _ in range(2):
        done = flowscope(home.root, "evaluate")
        assert done.returncode == 0, done.stderr
        counts.append(answer(home, "from predictions order by all"))
    assert counts[0] == counts[1]
    names = {"boosted", "boosted_given_state", "empirical", "engine_rule", "log_log", "simulation"}
    assert names == {row[0] for row in counts[0]}
    printed = {(row["level"], row["metric"], row["predictor"], row["rows_of"]) for row in rows(done)}
    # Beside what plans predicted too stands all that was predicted, which is all there is where nobody planned.
    assert printed == set(
        answer(
            home,
            "select level, metric, predictor, rows_of from predictor_scores"
            " where group_by = 'all' and sla_percentile = 50 and median_relative_error is not null",
        )
    )
    assert {("task", "execution", name, "all") for name in ("boosted", "empirical", "log_log")} <= printed


def test_evaluating_nothing_exits_1_and_says_what_to_do(tmp_path: Path) -> None:
    assert "No warehouse in " in refused(flowscope(tmp_path / "none", "evaluate"))
    home = Home(tmp_path / "home")
    write_lines(tmp_path / "dump" / "runs.jsonl", [run_row("r", submitted_at=None)])
    flowscope(home.root, "ingest", tmp_path / "dump")
    for command in ("evaluate", "train"):
        assert "has a submission time" in refused(flowscope(home.root, command))

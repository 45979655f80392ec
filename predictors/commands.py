"""The commands `train`, `evaluate` and `predict`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from predictors import registry
from predictors.budget import TABLES, measure
from predictors.compacting import Opened
from predictors.evaluation import evaluate as evaluate_history
from predictors.history import History, read_history
from predictors.names import MODEL
from predictors.predictor import ASKED, METRICS, BadQuestion, Predictor
from predictors.replay import prepare
from predictors.scores import score_history
from predictors.simulation.ahead import Ahead
from predictors.simulation.ensembles import Ensemble
from predictors.simulation.knowledge import keep_alives, pool_ms
from predictors.simulation.records import read_records
from predictors.targets import DOWNLOAD, EXECUTION, STARTUP, STARTUP_GIVEN_STATE, TIMES, UPLOAD, Target
from predictors.training import knew
from predictors.training import train as train_on
from warehouse.connection import open_current
from warehouse.errors import FlowscopeError
from warehouse.export import bytes_per_row
from warehouse.home import Home
from warehouse.options import home_option
from warehouse.output import Format, deliver, write
from warehouse.progress import progress_bar
from warehouse.writer import Writer

TARGETS = {
    "execution": (EXECUTION,),
    "download": (DOWNLOAD,),
    "upload": (UPLOAD,),
    "startup": (STARTUP, STARTUP_GIVEN_STATE),
}
FORMATS = click.Choice(["csv", "json", "table", "parquet"])


@click.command()
@click.option(
    "--target", "targets", type=click.Choice(list(TARGETS)), multiple=True,
    help="Fit only this (repeatable). The model then answers for nothing else. [default: all]",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Same data and seed, same model."
)
@click.option("--rollback", type=int, metavar="VERSION", help="Fit nothing: make this earlier version the one in use.")
@home_option
def train(targets: tuple[str, ...], seed: int, rollback: int | None, home: Home) -> None:
    """Fit the predictors on everything in the warehouse, and save them as a new version with its card."""
    if rollback is not None:
        registry.rollback(home, rollback)
        click.echo(f"Version {rollback} is in use.", err=True)
        return
    train_models(home, [each for name in targets for each in TARGETS[name]] or list(TIMES), seed)


def train_models(home: Home, targets: Sequence[Target] = TIMES, seed: int = 0) -> None:
    """Fit models of the targets, save them with their card, and say how good they are."""
    with open_current(home) as reader:
        generation = int(reader.value("select generation from generation_info"))
        history = _history(read_history(reader))
    click.echo(
        f"Training on {len(history.runs):,} runs, {len(history.tasks):,} tasks and {len(history.starts):,} starts"
        f" (generation {generation}).",
        err=True,
    )
    predictor, card = train_on(
        history, prepare(history), lambda line: click.echo(line, err=True), targets=targets, seed=seed
    )
    version = registry.save(home, predictor, {"generation": generation, **card})
    for score in card["scores"]:
        if score["metric"] != STARTUP_GIVEN_STATE.metric:
            click.echo(
                f"{score['level']} {score['metric']}: median relative error {score['median_relative_error']:.1%} of {score['n']:,},"
                f" 90 % intervals held {_percent(score['coverage']['90'])}",
                err=True,
            )
    click.echo(f"Saved version {version} in {home.models}. Next: flowscope predict, flowscope evaluate.", err=True)


@click.command()
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Same data and seed, same scores."
)
@click.option(
    "--history", "with_less", is_flag=True,
    help="Also predict every run with less and less history, to learn how much is needed (minutes more).",
)  # fmt: skip
@home_option
def evaluate(seed: int, with_less: bool, home: Home) -> None:
    """Predict every run from the runs before it, with every predictor, and keep the predictions and their scores."""
    evaluate_runs(home, seed, with_less=with_less)
    _print_leaderboard(home)


def evaluate_runs(home: Home, seed: int = 0, *, with_less: bool = False) -> None:
    """Replay history with every predictor, and publish what they said and how good it was."""
    with open_current(home) as reader:
        history = _history(read_history(reader))
        with _progress() as told:
            prepared = prepare(history)
            ahead = Ahead(read_records(reader, pool_ms=pool_ms(reader)), prepared, keep_alives(reader), seed)
            predictions = evaluate_history(history, prepared, told, seed=seed, ahead=ahead)
            told("scores", 0, 1)
            scores = score_history(reader, prepared, predictions)
            simulated = Ensemble(ahead.simulated, {}).tables()
            results = {"predictions": _table(predictions), "predictor_scores": _table(scores), **simulated}
            if with_less:
                row_bytes = bytes_per_row(reader, TABLES)
                results["history_budgets"] = _table(
                    measure(history, prepared, row_bytes, told, predictor=MODEL, seed=seed)
                )
    with Writer(home) as writer:
        counts = writer.put_results(results)
        click.echo("Deriving views and publishing.", err=True)
        writer.publish()
    for table, count in counts.items():
        click.echo(f"{table}: {count:,} rows", err=True)


@click.command()
@click.argument("tasks", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--function", help="The task's function.")
@click.option("--input-bytes", type=click.FloatRange(min=0), help="Size of all its inputs.")
@click.option("--memory", "memory_mb", type=click.FloatRange(min=0, min_open=True), help="Memory of its worker in MB.")
@click.option("--workflow", help="Its workflow.")
@click.option("--environment", help="Where it will run.")
@click.option("--planner", help="Who plans it.")
@click.option("--state", type=click.Choice(["cold", "warm"]), help="How its worker starts, if that is known.")
@click.option(
    "--run", "runs", multiple=True, metavar="RUN_ID", help="Predict this run of the warehouse from its DAG and plan."
)
@click.option(
    "--metric", "metrics", type=click.Choice(METRICS), multiple=True, help="Only this (repeatable). [default: all]"
)
@click.option("--quantiles", default="50,75,90", show_default=True, help="Percentiles to answer with.")
@click.option("--version", type=int, help="Version of the model. [default: the one in use]")
@click.option(
    "--format",
    "how",
    type=FORMATS,
    help="How to write it. [default: by the ending of -o, else table on a terminal, else csv]",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write instead of stdout."
)
@home_option
@click.pass_obj
def predict(
    opened: Opened | None,
    /,
    tasks: Path | None,
    runs: tuple[str, ...],
    metrics: tuple[str, ...],
    quantiles: str,
    version: int | None,
    how: Format | None,
    output: Path | None,
    home: Home,
    **told: Any,
) -> None:
    """Say what a task will take: one described by options, those in a file, or the whole DAG of a flowdump folder.

    TASKS is a CSV, JSON or Parquet file with a column function and any of workflow, environment, planner, input_bytes,
    download_bytes, output_bytes, memory_mb and state (other columns are passed through), or a folder that holds a flowdump.
    """
    levels = _levels(quantiles)
    told = {name: value for name, value in told.items() if value is not None}
    if sum((tasks is not None, bool(runs), "function" in told)) != 1 or (told and "function" not in told):
        raise click.UsageError("Say what to predict: --function (with what else is known), a file of TASKS, or --run.")
    predictor: Predictor
    predictor, card = registry.load(home, version)
    if runs or (tasks and tasks.is_dir()):
        history = _of_runs(home, runs) if runs else _of_folder(opened, tasks, home)
        if runs and (told_of := knew(card, history.runs["submitted_at"])):
            click.echo(told_of, err=True)
        answer = _rounded(predictor.predict_runs(history, levels))
        if metrics:
            answer = answer[answer["metric"].isin(metrics)]
    else:
        frame = _read(tasks) if tasks else pd.DataFrame([told])
        found = _rounded(predictor.predict(frame, metrics or predictor.answers, levels))
        shown = frame.drop(columns=[name for name in found if name in frame.columns])
        answer = pd.concat([shown.iloc[found["row"]].reset_index(drop=True), found.drop(columns="row")], axis=1)
        unseen = int((found.loc[found["metric"] != "state", "known_runs"] == 0).sum())
        if unseen:
            click.echo(
                f"{unseen:,} of {len(found):,} answers are for something never seen (known_runs 0): they rest on all"
                " functions, and are as wide as first predictions were wrong.",
                err=True,
            )
    otherwise: Format = "table" if sys.stdout.isatty() else "csv"
    deliver(_as_table(answer).to_reader(), how, output, 240, otherwise)


def _levels(text: str) -> list[float]:
    try:
        levels = [float(part) / 100 for part in text.split(",")]
    except ValueError as error:
        raise click.UsageError(f"{text!r} are no percentiles. Hint: --quantiles 50,75,90.") from error
    if any(not 0 < level < 1 for level in levels):
        raise click.UsageError(f"{text!r} are no percentiles. Hint: each is above 0 and below 100.")
    return sorted(set(levels))


def _history(history: History) -> History:
    if history.runs.empty:
        raise FlowscopeError("No run in the warehouse has a submission time. Hint: flowscope ingest PATH.")
    return history


def _of_runs(home: Home, runs: tuple[str, ...]) -> History:
    with open_current(home) as reader:
        history = read_history(reader)
    missing = set(runs) - set(history.runs["run_id"])
    if missing:
        raise FlowscopeError(
            f'No run {min(missing)} in the warehouse. Hint: flowscope sql "select run_id from run_summary".'
        )
    return history.only(runs)


def _of_folder(opened: Opened | None, folder: Path | None, home: Home) -> History:
    if opened is None or folder is None:
        raise FlowscopeError("A flowdump is read by the command line only. Hint: flowscope predict FOLDER.")
    with opened(folder, home) as reader:
        history = read_history(reader)
    if history.runs.empty:
        raise FlowscopeError(
            f"{folder} holds no run with a time of submission. Hint: give its row of runs a submitted_at, say that of now."
        )
    return history


def _read(path: Path) -> pd.DataFrame:
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".csv": _read_csv, ".json": _read_json, ".parquet": lambda path: pd.read_parquet(path)
    }  # fmt: skip
    if path.suffix not in readers:
        raise FlowscopeError(f"{path} is no .csv, .json or .parquet file. Hint: name it by what it is.")
    try:
        frame = readers[path.suffix](path)
    except (ValueError, TypeError, AttributeError, RecursionError, pa.ArrowException) as error:
        sentence = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FlowscopeError(
            f"{path} cannot be read ({sentence}). Hint: one row per task, columns {', '.join(ASKED)}."
        ) from error
    frame.columns = frame.columns.map(str)
    if not frame.columns.is_unique:
        raise BadQuestion(f"{path} has two columns {frame.columns[frame.columns.duplicated()][0]!r}. Hint: keep one.")
    if frame.empty:
        raise BadQuestion(f"{path} holds no task. Hint: one row per task, columns {', '.join(ASKED)}.")
    return frame


def _read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV. Names stay as they are written: a function may be called 007, 1e5 or None."""
    names = {name: "str" for name in ASKED if not name.endswith(("_bytes", "_mb"))}
    return pd.read_csv(path, dtype=names, keep_default_na=False, na_values=[""])


def _read_json(path: Path) -> pd.DataFrame:
    """Read a list of JSON objects, their values as they are."""
    rows = json.loads(path.read_bytes())
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it is no list of objects")
    return pd.DataFrame(rows)


def _as_table(answer: pd.DataFrame) -> pa.Table:
    """Return the answer as a table. A column that was passed through and holds values of several kinds becomes text."""
    columns = {}
    for name, column in answer.items():
        try:
            columns[str(name)] = pa.array(column, from_pandas=True)
        except (pa.ArrowException, TypeError, OverflowError):
            columns[str(name)] = pa.array(column.astype("str"), from_pandas=True)
    return pa.table(columns)


def _rounded(answers: pd.DataFrame) -> pd.DataFrame:
    """Return the answers with quantiles to five significant digits: no prediction has more."""
    quantiles = answers.select_dtypes("float64")
    return answers.assign(**{str(name): _significant(quantiles[name].to_numpy()) for name in quantiles})


def _significant(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    decimals = 4 - np.floor(np.log10(np.maximum(np.abs(values), 1e-12))).astype(int)
    rounded = values.copy()
    for places in np.unique(decimals):
        rounded[decimals == places] = np.round(values[decimals == places], int(places))
    return rounded


def _table(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show on stderr which predictor is at work, and how many runs it has predicted."""
    with progress_bar() as progress:
        task = progress.add_task("Describing the runs", total=None)

        def told(name: str, done: int, total: int) -> None:
            progress.update(task, description=name, completed=done, total=total)

        yield told


_LEADERBOARD = """
select
    level, metric, rows_of, predictor, n, round(100 * median_relative_error, 1) as median_error_percent,
    round(error_ratio, 3) as of_the_engines, round(error_ratio_low, 3) as low, round(error_ratio_high, 3) as high,
    round(100 * coverage, 1) as covered_percent
from predictor_scores
where group_by = 'all' and sla_percentile = 50 and median_relative_error is not null
order by level, metric, rows_of desc, median_relative_error
"""


def _print_leaderboard(home: Home) -> None:
    """Write the medians of every predictor: over what recorded plans predicted too ('paired'), and over all it predicted."""
    with open_current(home) as reader, reader.query(_LEADERBOARD) as batches:
        write(batches, sys.stdout.buffer, "table" if sys.stdout.isatty() else "csv", 160)

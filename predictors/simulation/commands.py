"""The command `simulate`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click
import pyarrow as pa

from predictors.simulation.beside import beside, over_runs
from predictors.simulation.borrowing import Lenders
from predictors.simulation.changes import KEYS, REPORTED, Changes, read_changes
from predictors.simulation.ensembles import Ensemble, simulate_all
from predictors.simulation.knowledge import learn, pool_ms
from predictors.simulation.predicted import Quantiles, past_spread, predict_tasks
from predictors.simulation.records import Record, read_records, why_not_read
from warehouse.connection import Reader, open_current
from warehouse.errors import FlowscopeError
from warehouse.home import Home
from warehouse.options import home_option
from warehouse.output import Format, deliver
from warehouse.progress import progress_bar
from warehouse.writer import Writer

_KEYS = "\n".join(f"  {key}={what.examples[0]}".ljust(32) + what.meaning for key, what in KEYS.items())


@click.command(epilog=f"\b\nKEY=VALUE, repeatable, is one of\n{_KEYS}")
@click.argument("runs", nargs=-1, metavar="[RUN_ID]...")
@click.option(
    "--runs",
    "condition",
    metavar="CONDITION",
    help="SQL over run_summary: simulate all such runs, and keep what comes of it.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change this (repeatable). Without it, runs are replayed as recorded.",
)
@click.option(
    "--report", "is_for_report", is_flag=True, help="With --runs: simulate everything that the report's questions ask."
)
@click.option(
    "--predict",
    "is_predicted",
    is_flag=True,
    help="Use durations that the trained predictor gives for the DAG, not recorded ones.",
)
@click.option(
    "--draws",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="How often each run is played, with other draws of what is not recorded.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Same data and seed, same answer."
)
@click.option(
    "--format",
    "how",
    type=click.Choice(["csv", "json", "table", "parquet"]),
    help="How to write it. [default: by the ending of -o, else table on a terminal, else csv]",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write instead of stdout."
)
@home_option
def simulate(
    runs: tuple[str, ...], condition: str | None, settings: tuple[str, ...], is_for_report: bool, is_predicted: bool, draws: int, seed: int,
    how: Format | None, output: Path | None, home: Home,
) -> None:  # fmt: skip
    """Play runs forward in time: as recorded, or with something changed, and set that beside what was observed.

    For RUN_IDs: one row for each figure of the run, its tasks and its workers. With --runs: one row per workflow and
    planner, and every simulated run, task and worker goes into the tables simulations, simulated_tasks and
    simulated_invocations.
    """
    if bool(runs) == (condition is not None):
        raise click.UsageError("Say what to simulate: RUN_IDs, or --runs \"workflow = 'x'\".")
    if is_for_report and (runs or settings or is_predicted):
        raise click.UsageError("--report goes with --runs alone: it brings its own scenarios.")
    changes = read_changes(settings)
    with open_current(home) as reader:
        chosen = list(dict.fromkeys(runs)) if runs else reader.runs_where(condition or "")
        scenarios = [changes]
        if is_for_report:
            scenarios = list(REPORTED)
        elif runs and changes and not is_predicted:
            scenarios = [Changes(), changes]
        ensemble = simulate_runs(home, reader, chosen, scenarios, is_predicted=is_predicted, draws=draws, seed=seed)
        if runs and ensemble.refused:
            raise FlowscopeError(next(iter(ensemble.refused.values())))
        tell_refused(ensemble, len(chosen))
        if not ensemble.simulated:
            raise FlowscopeError("None of these runs can be simulated.")
        answer = beside(reader, ensemble) if runs else over_runs(reader, ensemble)
    told = {(sentence, one.summary["run_id"]) for one in ensemble.simulated for sentence in one.summary["warnings"]}
    for sentence, count in sorted(
        Counter(sentence for sentence, _ in told).items(), key=lambda each: (-each[1], each[0])
    ):
        click.echo(f"Beware: {sentence}{'' if runs else f' ({count:,} runs)'}.", err=True)
    if condition is not None:
        keep(home, ensemble)
    otherwise: Format = "table" if sys.stdout.isatty() else "csv"
    deliver(pa.Table.from_pandas(answer, preserve_index=False).to_reader(), how, output, 240, otherwise)


def simulate_for_report(home: Home, draws: int = 10) -> None:
    """Simulate all runs in every scenario that the report's questions read, and publish that."""
    with open_current(home) as reader:
        ensemble = simulate_runs(home, reader, reader.runs_where("true"), REPORTED, draws=draws)
    keep(home, ensemble)


def simulate_runs(
    home: Home, reader: Reader, runs: Sequence[str], scenarios: Sequence[Changes], *, is_predicted: bool = False,
    draws: int = 20, seed: int = 0,
) -> Ensemble:  # fmt: skip
    """Simulate runs of a generation in each scenario, with a progress bar. Raises `FlowscopeError` for a run that is not there."""
    with progress_bar() as progress:
        task = progress.add_task("Reading runs", total=None)
        records = read_records(reader, pool_ms=pool_ms(reader, scenarios))
        asked = set(runs)
        chosen = [record for record in records if record.run_id in asked]
        refused = _unreadable(reader, asked - {record.run_id for record in chosen})
        progress.update(task, description="Learning how the platform behaves")
        knowledge = learn(reader, records)
        predicted: Mapping[str, Quantiles] | None = None
        predictor = "recorded"
        if is_predicted:
            progress.update(task, description="Predicting")
            predicted, predictor = predict_tasks(home, reader, chosen, lambda line: click.echo(line, err=True))
        progress.update(task, description="Simulating", total=len(chosen) * len(scenarios), completed=0)
        ensemble = simulate_all(
            chosen, Lenders(records), scenarios, knowledge, draws=draws, seed=seed, predicted=predicted, predictor=predictor,
            progress=lambda more: progress.advance(task, more),
        )  # fmt: skip
    if is_predicted:
        ensemble = _widened(reader, chosen, ensemble)
    ensemble.refused.update({(changes.name, run): why for changes in scenarios for run, why in refused.items()})
    return ensemble


def _widened(reader: Reader, records: Sequence[Record], ensemble: Ensemble) -> Ensemble:
    """Let intervals of makespan and GB-seconds be as wide as earlier runs simulated ahead were off."""
    spread = past_spread(reader)
    if not spread:
        click.echo(
            "Intervals are not calibrated, and too narrow. Hint: flowscope evaluate simulates earlier runs.", err=True
        )
        return ensemble
    workflows = {record.run_id: record.workflow for record in records}
    widened = []
    for one in ensemble.simulated:
        summary = dict(one.summary)
        for figure, unit in (("makespan", "_ms"), ("gb_seconds", "")):
            of_all = spread.get((figure, None), (1.0, 1.0))
            low, high = spread.get((figure, workflows[summary["run_id"]]), of_all)
            middle = summary[f"{figure}{unit}"]
            summary |= {f"{figure}_low{unit}": low * middle, f"{figure}_high{unit}": high * middle}
        widened.append(replace(one, summary=summary))
    return Ensemble(widened, ensemble.refused)


def _unreadable(reader: Reader, runs: set[str]) -> dict[str, str]:
    """Say why runs cannot be simulated. Raises `FlowscopeError` for one that the warehouse does not hold."""
    if not runs:
        return {}
    missing = runs - {run for (run,) in reader.rows("select run_id from runs")}
    if missing:
        raise FlowscopeError(
            f'No run {min(missing)} in the warehouse. Hint: flowscope sql "select run_id from run_summary".'
        )
    return {run: why_not_read(run) for run in runs}


def tell_refused(ensemble: Ensemble, asked: int) -> None:
    """Say how many runs were left out, and why."""
    if not ensemble.refused:
        return
    example = min(ensemble.refused.values())
    left_out = {run for _, run in ensemble.refused}
    click.echo(f"Left out {len(left_out):,} of {asked:,}, such as: {example}", err=True)


def keep(home: Home, ensemble: Ensemble) -> None:
    """Publish what was simulated."""
    with Writer(home) as writer:
        counts = writer.put_results(ensemble.tables())
        click.echo("Deriving views and publishing.", err=True)
        writer.publish()
    for table, count in counts.items():
        click.echo(f"{table}: {count:,} rows", err=True)

"""The command `compact`: a flowdump with only the runs that predictions need."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import click
import pandas as pd

from predictors.budget import Policy, kept_at_the_end, smallest
from predictors.history import read_history
from predictors.names import MODEL
from warehouse.connection import Reader, open_current
from warehouse.errors import FlowscopeError, NoWarehouse
from warehouse.export import export_flowdump
from warehouse.home import Home
from warehouse.options import home_option
from warehouse.tables import FACTS

Opened = Callable[[Path, Home], AbstractContextManager[Reader]]
"""Opens a flowdump folder as a warehouse; the command line brings it along."""


@click.command()
@click.argument("flowdump", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--policy", "name", type=click.Choice(["last_runs", "reservoir"]),
    help="Keep the runs known last, or runs at random that hold enough samples of each function. [default: the smallest"
    " history that the last evaluate --history found within 5 % of all]",
)  # fmt: skip
@click.option("--keep", type=click.IntRange(min=1), metavar="K", help="So many runs, or samples per function.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Same data and seed, same runs."
)
@home_option
@click.pass_obj
def compact(
    opened: Opened | None, flowdump: Path, out: Path, name: str | None, keep: int | None, seed: int, home: Home
) -> None:
    """Copy the flowdump in folder FLOWDUMP to the new folder OUT with only the runs that predictions need, each whole.

    The source stays as it is. Runs without a submission time teach nothing and are left out.
    """
    if (name is None) != (keep is None):
        raise click.UsageError("--policy and --keep belong together. Hint: --policy last_runs --keep 100.")
    if out.resolve().is_relative_to(flowdump.resolve()):
        raise FlowscopeError(f"{out} is in {flowdump}, which stays as it is. Hint: choose a folder beside it.")
    if out.exists() and any(out.iterdir()):
        raise FlowscopeError(f"{out} is not empty. Hint: choose a new folder.")
    if opened is None:
        raise FlowscopeError("A flowdump is read by the command line only. Hint: flowscope compact FLOWDUMP OUT.")
    policy = Policy(name, keep) if name else _best(home)
    with opened(flowdump, home) as reader:
        history = read_history(reader)
        if history.runs.empty:
            raise FlowscopeError(f"No run of {flowdump} has a submission time, so none can be learned from.")
        runs = kept_at_the_end(history, policy, seed)
        all_runs, rows = reader.value("select count(*) from runs"), _rows(reader)
        kept = sum(count for _, count in export_flowdump(reader, out, runs))
    click.echo(
        f"{policy}: kept {len(runs):,} of {all_runs:,} runs, {kept:,} of {rows:,} rows; files of {_bytes(flowdump):,} bytes"
        f" became {_bytes(out):,} bytes in {out}.",
        err=True,
    )


def _best(home: Home) -> Policy:
    """Return the smallest history that is as good as all of it, as last evaluated."""
    try:
        with open_current(home) as reader:
            budgets: pd.DataFrame = reader.frame(_BUDGETS, {"predictor": MODEL})
    except NoWarehouse:
        budgets = pd.DataFrame()
    if budgets.empty:
        raise click.UsageError(
            "How much history is enough has not been evaluated. Hint: flowscope evaluate --history, or --policy and --keep."
        )
    policy = smallest(budgets)
    if policy is None:
        raise click.UsageError("No smaller history tried was within 5 % of all. Hint: --policy and --keep.")
    return policy


_BUDGETS = (
    "select policy, kept, level, metric, relative_to_all, bytes_kept from history_budgets where predictor = $predictor"
)


def _rows(reader: Reader) -> int:
    return sum(int(reader.value(f"select count(*) from {table}")) for table in FACTS)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

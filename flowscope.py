"""The command line: one program, its commands owned by the packages.

Data goes to stdout, messages and progress to stderr. Exit code 0: done; 1: something was refused or failed; 2: wrong
usage.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NoReturn

import click

from warehouse.errors import FlowscopeError
from warehouse.home import Home
from warehouse.options import home_option

if TYPE_CHECKING:
    from warehouse.connection import Reader

COMMANDS = {
    "app": "app.commands:app",
    "simulate": "predictors.simulation.commands:simulate",
    "compact": "predictors.compacting:compact",
    "demo": "flowscope:demo",
    "evaluate": "predictors.commands:evaluate",
    "export": "warehouse.commands:export",
    "findings": "app.report_commands:findings",
    "forget": "ingest.commands:forget",
    "ingest": "ingest.commands:ingest",
    "predict": "predictors.commands:predict",
    "record": "ingest.recording.commands:record",
    "report": "app.report_commands:report",
    "sql": "warehouse.commands:sql",
    "status": "warehouse.commands:status",
    "tag": "warehouse.commands:tag",
    "train": "predictors.commands:train",
}
"""Where each command lives; imported only when it is asked for."""


class Commands(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flowscope")
def cli() -> None:
    """A research report on serverless workflow runs that computes itself."""


@click.command()
@click.option("--serve/--no-serve", default=True, help="Open the app at the end.")
@home_option
def demo(serve: bool, home: Home) -> None:
    """Take in the recorded runs that come with the project, train predictors, simulate, print what it all shows, open the app."""
    from app.commands import serve as serve_app
    from app.report_commands import print_brief
    from ingest.commands import take_in
    from ingest.labels import Labels
    from predictors import registry
    from predictors.commands import evaluate_runs, train_models
    from predictors.simulation.commands import simulate_for_report
    from warehouse.commands import print_summary
    from warehouse.connection import open_current

    samples = Path(__file__).parent / "ingest" / "samples"
    outcome = take_in(home, (str(samples),), Labels())
    if any(source.failures for source in outcome.sources):
        sys.exit(1)
    print_summary(home)
    if registry.current(home) is None:
        train_models(home)
    with open_current(home) as reader:
        is_evaluated = bool(reader.value("select count(*) from predictor_scores"))
        is_simulated = bool(reader.value("select count(*) from simulations where scenario = 'recorded'"))
    if not is_evaluated:
        evaluate_runs(home)
    if not is_simulated:
        simulate_for_report(home)
    click.echo()
    print_brief(home)
    if serve:
        sys.exit(serve_app(home, None))


@contextmanager
def _opened(folder: Path, home: Home) -> Iterator[Reader]:
    """Open a flowdump as a warehouse of its own, which is gone afterwards."""
    from ingest.commands import take_in
    from ingest.labels import Labels
    from warehouse.connection import open_current

    home.staging.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=home.staging, prefix=f"spill-{os.getpid()}-dag-") as place:
        aside = Home(Path(place))
        outcome = take_in(aside, (str(folder),), Labels())
        failures = [failure for source in outcome.sources for failure in source.failures]
        if failures:
            raise FlowscopeError(f"{folder} cannot be read as a flowdump: {failures[0]}")
        with open_current(aside) as reader:
            yield reader


def _say_interrupted() -> NoReturn:
    click.echo("Interrupted. What was published before is untouched.", err=True)
    sys.exit(1)


def main() -> None:
    """Run the command line and exit."""
    arguments = sys.argv[1:]
    own = arguments.index("--") if "--" in arguments else len(arguments)  # what follows is another command's
    debug = "--debug" in arguments[:own]
    try:
        cli.main(
            args=[argument for argument in arguments[:own] if argument != "--debug"] + arguments[own:],
            prog_name="flowscope",
            obj=_opened,
            standalone_mode=False,
        )
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (FlowscopeError, OSError) as error:
        if debug:
            raise
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        _say_interrupted()
    except Exception as error:
        if isinstance(error, RuntimeError) and str(error) == "Query interrupted":  # how DuckDB passes Ctrl-C on
            _say_interrupted()
        if debug:
            raise
        click.echo(
            f"Error: {type(error).__name__}: {error}\nHint: this is a fault of flowscope; --debug shows where.",
            err=True,
        )
        sys.exit(1)

"""The commands `findings` and `report`: the questions with their answers, as text, as JSON, as one HTML file."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from app.answers import as_object, as_text
from app.findings import QUESTIONS, find_all
from app.findings.evidence import Selection, of_reader
from app.findings.finding import Finding
from app.units import count, size
from warehouse.connection import Reader, open_current
from warehouse.errors import FlowscopeError
from warehouse.home import Home
from warehouse.options import home_option
from warehouse.output import replacing
from warehouse.progress import progress_bar

_TEXTS = {question.code: question.text for question in QUESTIONS}
_WIDTH, _WIDEST = 100, 120


def _codes(_context: click.Context, _parameter: click.Parameter, given: str | None) -> tuple[str, ...]:
    """Return the codes in their order, all where none is given."""
    if given is None:
        return tuple(_TEXTS)
    wanted = {code.strip().upper() for code in given.split(",") if code.strip()}
    if unknown := sorted(wanted - set(_TEXTS)):
        raise click.BadParameter(f"no finding is called {', '.join(unknown)}. Hint: there are {', '.join(_TEXTS)}.")
    if not wanted:
        raise click.BadParameter("names no finding. Hint: write it as F01,F03.")
    return tuple(code for code in _TEXTS if code in wanted)


def _chosen(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose findings and runs."""
    which = click.option(
        "--findings",
        "codes",
        metavar="F01,F03",
        callback=_codes,
        help="Only the findings of these codes. [default: all]",
    )
    where = click.option("--where", help="SQL condition over run_summary that chooses the runs. [default: all runs]")
    return which(where(command))


@click.command()
@click.option(
    "--format", "how", type=click.Choice(["text", "json"]), default="text", show_default=True, help="As what."
)
@_chosen
@home_option
def findings(how: str, codes: tuple[str, ...], where: str | None, home: Home) -> None:
    """Answer the report's questions from the runs that are loaded."""
    with open_current(home) as reader:
        selection = selected(reader, where)
        with progress(len(codes)) as told:
            found = list(find_all(of_reader(reader, selection), codes, told))
    if how == "json":
        objects = ",\n".join(json.dumps(as_object(one), ensure_ascii=False, allow_nan=False) for one in found)
        click.echo(f"[\n{objects}\n]".encode())
    else:
        _print(found)
    _end(found)


@click.command()
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True,
    help="File to write.",
)  # fmt: skip
@_chosen
@home_option
def report(output: Path, codes: tuple[str, ...], where: str | None, home: Home) -> None:
    """Write the report as one HTML file: no network needed, figures and data inside."""
    from app.report import build

    with replacing(output) as file, open_current(home) as reader:
        selection = selected(reader, where)
        with progress(len(codes)) as told:
            found = list(find_all(of_reader(reader, selection), codes, told))
            html = build(reader, found, selection, datetime.now(UTC).replace(microsecond=0)).encode()
        file.write(html)
    click.echo(f"Wrote {output}: {count(len(codes), 'finding')}, {size(len(html))}.", err=True)
    _end(found)


def _end(found: list[Finding]) -> None:
    """Exit with 1 where a finding could not be computed."""
    if faults := [finding.code for finding in found if finding.is_fault]:
        click.echo(
            f"Error: {', '.join(faults)} could not be computed: a fault of flowscope. The traceback is above.", err=True
        )
        sys.exit(1)


def print_brief(home: Home) -> None:
    """Print every finding's code, status and answer."""
    with open_current(home) as reader, progress(len(_TEXTS)) as told:
        found = list(find_all(of_reader(reader), None, told))
    _print(found, brief=True)


def selected(reader: Reader, where: str | None) -> Selection:
    """Return the runs a condition over `run_summary` chooses, all without one. Raises `FlowscopeError` where there are none."""
    if not reader.value("select count(*) from runs"):
        raise FlowscopeError("The warehouse holds no runs. Hint: flowscope ingest PATH, or flowscope demo.")
    if where is None:
        return Selection()
    runs = reader.runs_where(where)
    click.echo(f"{count(len(runs), 'run')} where {where}", err=True)
    return Selection(runs=tuple(runs), where=where)


@contextmanager
def progress(findings: int) -> Iterator[Callable[[str], None]]:
    """Show on stderr which finding is being computed: a bar on a terminal, else a line each."""
    if not sys.stderr.isatty():
        yield lambda code: click.echo(f"{code} {_TEXTS[code]}", err=True)
        return
    with progress_bar() as bar:
        task = bar.add_task("", total=findings)
        begun: list[str] = []

        def tell(code: str) -> None:
            begun.append(code)
            bar.update(task, completed=len(begun) - 1, description=f"{code} {_TEXTS[code][:60]}")

        yield tell


def _print(found: list[Finding], *, brief: bool = False) -> None:
    columns = shutil.get_terminal_size((_WIDTH, 24)).columns if sys.stdout.isatty() else _WIDTH
    between = "\n" if brief else "\n\n"
    click.echo(between.join(as_text(one, min(columns, _WIDEST), brief=brief) for one in found).encode())

"""What every command takes."""

from __future__ import annotations

from pathlib import Path

import click

from warehouse.home import Home


def _home(_context: click.Context, _parameter: click.Parameter, value: Path) -> Home:
    return Home(value.resolve())


home_option = click.option(
    "--home",
    envvar="FLOWSCOPE_HOME",
    default=Path("data"),
    show_default="./data",
    type=click.Path(path_type=Path, file_okay=False),
    callback=_home,
    help="Folder that holds the warehouse. [env: FLOWSCOPE_HOME]",
)

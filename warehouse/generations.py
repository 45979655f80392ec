"""Publish what the writer holds, as an immutable file that readers open.

A generation is a copy of the writer's database with the derived views in it. It is built under a temporary name,
made durable, renamed, and only then does the link `current` change. Whoever holds an older one keeps it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from warehouse.connection import open_writer
from warehouse.durable import make_durable, point_link_at
from warehouse.home import Home
from warehouse.views import create_views, views_digest

KEPT = 3


def publish(home: Home, changes: int, version: str) -> Path:
    """Copy the writer's checkpointed database into a new generation, and flip `current` to it.

    The caller holds the writer's lock and has no open transaction. Interrupted at any moment, `current` is either
    the generation before or the one after.
    """
    home.generations.mkdir(parents=True, exist_ok=True)
    for leftover in home.generations.glob("*.part*"):
        leftover.unlink()
    number = max((int(path.stem) for path in published(home)), default=0) + 1
    path = home.generations / f"{number:06d}.duckdb"
    part = path.with_suffix(".part")
    shutil.copyfile(home.writer, part)
    _derive(part, home, number, changes, version)
    part.chmod(0o444)
    make_durable(part)
    part.rename(path)
    make_durable(home.generations)
    point_link_at(home.current, path.relative_to(home.warehouse))
    for old in published(home)[:-KEPT]:
        old.unlink()
    return path


def published(home: Home) -> list[Path]:
    """Return the generations that exist, oldest first."""
    return sorted(path for path in home.generations.glob("*.duckdb") if path.stem.isdigit())


def _derive(part: Path, home: Home, number: int, changes: int, version: str) -> None:
    connection = open_writer(part, home)
    try:
        create_views(connection)
        connection.execute(
            "create table generation_info as select ?::bigint as generation, ?::bigint as changes, ? as views_digest,"
            " ? as flowscope_version, cast(current_timestamp as timestamp) as published_at",
            [number, changes, views_digest(), version],
        )
        connection.execute(
            "comment on table generation_info is 'one row: which generation this is and when it was published'"
        )
        connection.execute("checkpoint")
    finally:
        connection.close()

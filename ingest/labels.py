"""Tags and environments given on the command line or in a tags file."""

from __future__ import annotations

import csv
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from warehouse.errors import FlowscopeError
from warehouse.writer import Writer


@dataclass(frozen=True, slots=True)
class Labels:
    """What to say of runs: for all of an ingest, and run by run from tags files."""

    environment: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    by_run: dict[str, dict[str, str]] = field(default_factory=dict)
    environment_by_run: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.environment or self.tags or self.by_run or self.environment_by_run)

    def apply(self, writer: Writer, runs: Collection[str]) -> tuple[int, list[str]]:
        """Label `runs` with what holds for all, and the runs of the tags files. Return how many, and the unknown ones."""
        tags = {run: dict(self.tags) for run in runs if self.tags}
        for run, of_run in self.by_run.items():
            tags.setdefault(run, {}).update(of_run)
        environments = dict.fromkeys(runs, self.environment) if self.environment else {}
        merged = {run: name for run, name in {**environments, **self.environment_by_run}.items() if name}
        labelled, unknown = writer.label(tags, merged)
        return labelled, [run for run in unknown if run in self.by_run or run in self.environment_by_run]


def read_tags_file(path: Path) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Return the tags and the environments that a CSV file gives to runs, by `run_id`. Empty fields say nothing.

    Raises `FlowscopeError` for a file that cannot be read or has no `run_id` column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if "run_id" not in (reader.fieldnames or []):
                raise FlowscopeError(
                    f"{path} has no column run_id. Hint: a tags file is a CSV with a run_id column and one column a tag."
                )
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FlowscopeError(
            f"{path} cannot be read as a tags file: {error}. Hint: a tags file is a CSV with a run_id column."
        ) from error
    tags: dict[str, dict[str, str]] = {}
    environments: dict[str, str] = {}
    for row in rows:
        run = row.pop("run_id")
        if not run:
            continue
        environment = row.pop("environment", None)
        if environment:
            environments[run] = environment
        tags[run] = {name: value for name, value in row.items() if name and isinstance(value, str) and value}
    return tags, environments

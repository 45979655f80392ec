"""The commands `ingest` and `forget`."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType

import click

from ingest import pipeline
from ingest.formats import FORMATS
from ingest.labels import Labels, read_tags_file
from ingest.pipeline import Outcome, SourceOutcome
from ingest.sources import source_for, without_secrets
from warehouse.commands import parse_tags
from warehouse.errors import FlowscopeError, SourceError
from warehouse.home import Home
from warehouse.options import home_option
from warehouse.progress import progress_bar
from warehouse.writer import Writer


@click.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option(
    "--format", "wanted", type=click.Choice(list(FORMATS)), help="Read as this format instead of recognising it."
)
@click.option("--environment", metavar="NAME", help="Environment of the runs.")
@click.option("--tag", "tag_pairs", metavar="K=V", multiple=True, help="Tag the runs. Repeatable.")
@click.option(
    "--tags",
    "tags_files",
    metavar="FILE.csv",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Tags by run_id. Repeatable.",
)
@click.option("--endpoint-url", metavar="URL", help="Address of an S3-compatible server.")
@home_option
def ingest(
    sources: tuple[str, ...],
    wanted: str | None,
    environment: str | None,
    tag_pairs: tuple[str, ...],
    tags_files: tuple[Path, ...],
    endpoint_url: str | None,
    home: Home,
) -> None:
    """Take in metric dumps: files, folders, globs, s3://bucket/prefix, redis://host/db. Only what is new or changed is read."""
    labels = Labels(environment, parse_tags(tag_pairs))
    for path in tags_files:
        by_run, environments = read_tags_file(path)
        for run, tags in by_run.items():
            labels.by_run.setdefault(run, {}).update(tags)
        labels.environment_by_run.update(environments)
    outcome = take_in(home, sources, labels, wanted=wanted, endpoint_url=endpoint_url)
    if any(source.failed for source in outcome.sources):
        sys.exit(1)


def take_in(
    home: Home, sources: tuple[str, ...], labels: Labels, *, wanted: str | None = None, endpoint_url: str | None = None
) -> Outcome:
    """Ingest with a progress bar and a summary on stderr."""
    with ProgressBar() as progress:
        outcome = pipeline.ingest(home, sources, progress, wanted=wanted, endpoint_url=endpoint_url, labels=labels)
    for source in outcome.sources:
        for sentence in source.failures:
            click.echo(f"Failed: {sentence}", err=True)
        click.echo(_sentence(source), err=True)
    if outcome.labelled:
        click.echo(f"Labelled {outcome.labelled:,} runs.", err=True)
    if outcome.unknown_runs:
        click.echo(
            f"{len(outcome.unknown_runs):,} runs of the tags file are not in the warehouse, e.g. {outcome.unknown_runs[0]}.",
            err=True,
        )
    if outcome.generation:
        click.echo(f"Published generation {int(outcome.generation.stem)}.", err=True)
    return outcome


def _sentence(source: SourceOutcome) -> str:
    if source.failed:
        return f"{source.uri}: nothing could be read."
    if not (source.new or source.changed or source.missing or source.failures):
        return f"{source.uri}: nothing new ({source.unchanged:,} objects unchanged)."
    counts = {
        "new": source.new,
        "changed": source.changed,
        "unchanged": source.unchanged,
        "missing": source.missing,
        "failed": len(source.failures),
    }
    objects = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    return (
        f"{source.uri}: {objects}; {source.rows:,} rows in, {source.rejected:,} rejected, {source.skipped:,} skipped."
    )


@click.command()
@click.argument("address", metavar="SOURCE")
@home_option
def forget(address: str, home: Home) -> None:
    """Take a source's rows out again. Nothing outside the warehouse is touched."""
    with Writer(home) as writer:
        known = writer.known_files()
        shown = without_secrets(address)
        if "#" in shown and shown in known:  # one run of a Redis
            chosen = [known[shown].file_id]
        else:
            try:
                source = source_for(address)
                shown = source.uri
                chosen = [file.file_id for uri, file in known.items() if uri == source.uri or source.covers(uri)]
            except SourceError:
                chosen = [file.file_id for uri, file in known.items() if uri == shown]
        if not chosen:
            raise FlowscopeError(f"Nothing was taken in from {shown}. Hint: flowscope status lists the sources.")
        rows = writer.forget(chosen)
        writer.publish()
    click.echo(f"Forgot {len(chosen):,} objects and {rows:,} rows of {shown}.", err=True)


class ProgressBar:
    """Shows on stderr which object is being read, and how many are done."""

    def __init__(self) -> None:
        self._progress = progress_bar()
        self._task = self._progress.add_task("Starting", total=None)
        self._name = ""
        self._rows = 0

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def listing(self, uri: str) -> None:
        """Show that a source is being listed."""
        self._progress.reset(self._task, total=None, description=f"Listing {_short(uri)}")

    def source(self, uri: str, objects: int) -> None:
        """Show how many objects a source holds."""
        self._progress.reset(self._task, total=objects, description=_short(uri))

    def reading(self, name: str) -> None:
        """Show the object being read."""
        self._name, self._rows = _short(name), 0
        self._progress.update(self._task, description=f"Reading {self._name}")

    def rows(self, count: int) -> None:
        """Show how many rows of it were read."""
        self._rows += count
        self._progress.update(self._task, description=f"Reading {self._name}: {self._rows:,} rows")

    def done(self) -> None:
        """Count an object."""
        self._progress.advance(self._task)

    def publishing(self) -> None:
        """Show that a generation is being made."""
        self._progress.update(self._task, description="Deriving views and publishing")


def _short(name: str) -> str:
    return name if len(name) <= 60 else f"...{name[-57:]}"

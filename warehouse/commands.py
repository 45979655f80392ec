"""The commands `sql`, `status`, `export` and `tag`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from warehouse.connection import Reader, open_current
from warehouse.export import export_flowdump
from warehouse.home import Home
from warehouse.options import home_option
from warehouse.output import Format, deliver, write
from warehouse.schema import literal
from warehouse.views import core_views
from warehouse.writer import Writer

FORMATS = click.Choice(["csv", "json", "table", "parquet"])


@click.command()
@click.argument("query", required=False)
@click.option("--format", "how", type=FORMATS, help="How to write the result. [default: by the ending of -o, else csv]")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write instead of stdout."
)
@home_option
def sql(query: str | None, how: Format | None, output: Path | None, home: Home) -> None:
    """Run one SELECT (or EXPLAIN) on the warehouse, read-only. Without QUERY it is read from stdin."""
    if query is None:
        if sys.stdin.isatty():
            click.echo("Type one SELECT, then Ctrl-D.", err=True)
        query = sys.stdin.read()
    with open_current(home) as reader, reader.query(query) as batches:
        deliver(batches, how, output, _width())


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 240


@click.command()
@click.option("--views", is_flag=True, help="List the derived views and what they mean instead.")
@click.option("--format", "how", type=FORMATS, help="How to write it. [default: table on a terminal, else csv]")
@home_option
def status(views: bool, how: Format | None, home: Home) -> None:
    """Show what is loaded, from where, how fresh, and what was rejected and why."""
    how = how or ("table" if sys.stdout.isatty() else "csv")
    with open_current(home) as reader:
        if not views:
            _summarise(reader)
        with reader.query(_view_list() if views else _SOURCES) as batches:
            write(batches, sys.stdout.buffer, how, _width())


_SOURCES = """
select
    source, string_agg(distinct format, ', ' order by format) as format, count(*) as objects,
    count(*) filter (where status = 'failed') as failed, count(*) filter (where status = 'missing') as missing,
    sum(rows)::bigint as rows, sum(rejected)::bigint as rejected, sum(skipped)::bigint as skipped,
    sum(duplicate_runs)::bigint as duplicate_runs, max(finished_at) as last_read_at,
    (select list(distinct reason order by reason) from rejects semi join files as f on rejects.file_id = f.file_id
     and f.source = files.source) as reject_reasons
from files group by source order by source
"""


def _view_list() -> str:
    rows = ", ".join(f"({literal(view.name)}, {literal(view.meaning)})" for view in core_views())
    return f"select * from (values {rows}) as views(name, meaning)"


def _summarise(reader: Reader) -> None:
    generation, published_at, version = reader.rows(
        "select generation, published_at, flowscope_version from generation_info"
    )[0]
    runs, incomplete, first, last = reader.rows(
        "select count(*), count(*) filter (where is_complete is not true), min(submitted_at), max(submitted_at) from run_summary"
    )[0]
    click.echo(
        f"Generation {generation}, published {published_at:%Y-%m-%d %H:%M:%S} UTC by flowscope {version}.", err=True
    )
    if not runs:
        click.echo("No runs are loaded. Hint: flowscope ingest PATH.", err=True)
    else:
        click.echo(
            f"{runs:,} runs, {incomplete:,} of them incomplete, submitted {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC.",
            err=True,
        )
    for message, source in reader.rows(
        "select message, source from files where status = 'failed' order by source, key"
    ):
        click.echo(f"Failed: {message} ({source})", err=True)


def print_summary(home: Home) -> None:
    """Print what is loaded, and per planner what its runs took and how far its plans were off."""
    with open_current(home) as reader:
        _summarise(reader)
        with reader.query(_PLANNERS) as batches:
            write(batches, sys.stdout.buffer, "table", _width())


_PLANNERS = """
with makespan_errors as (
    select run_id, relative_error, covered from prediction_errors
    where predictor = 'engine' and level = 'run' and metric = 'makespan'
)
select
    coalesce(planner, '(none recorded)') as planner, count(*) as runs, count(*) filter (where not is_complete) as incomplete,
    round(median(makespan_ms) / 1000, 2) as median_makespan_s, round(median(gb_seconds_derived), 1) as median_gb_seconds,
    sum(cold_starts)::bigint as cold, sum(warm_starts)::bigint as warm, count(relative_error) as predicted_runs,
    round(100 * median(relative_error), 1) as median_makespan_error_percent
from run_summary left join makespan_errors using (run_id) group by all order by all
"""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@home_option
def export(folder: Path, home: Home) -> None:
    """Write the whole warehouse as a flowdump: one Parquet file a table, in FOLDER."""
    with open_current(home) as reader:
        for table, rows in export_flowdump(reader, folder):
            click.echo(f"{table}: {rows:,} rows", err=True)


@click.command()
@click.argument("pairs", metavar="K=V...", nargs=-1, required=True)
@click.option("--where", required=True, help="SQL condition over run_summary that chooses the runs.")
@home_option
def tag(pairs: tuple[str, ...], where: str, home: Home) -> None:
    """Tag runs after the fact, to compare them as experiments."""
    tags = parse_tags(pairs)
    with Writer(home) as writer:
        writer.publish()
        with open_current(home) as reader:
            runs = reader.runs_where(where)
        writer.label(dict.fromkeys(runs, tags), {})
        writer.publish()
    click.echo(f"Tagged {len(runs):,} runs with {', '.join(pairs)}.", err=True)


def parse_tags(pairs: tuple[str, ...]) -> dict[str, str]:
    """Return K=V pairs as a dict. Raises `click.UsageError` for one without a name or a value."""
    tags = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise click.UsageError(f"{pair!r} is not a tag. Hint: write it as NAME=VALUE.")
        tags[name.strip()] = value.strip()
    return tags

"""Try other figures for the four that `container_reuse` assumes: `python -m tests.warehouse.cold_start_trials`.

They are chosen on half of the runs of series A (its samples) and judged on the other half and on series B. All start with the
labels hidden, from the estimate of the keep-alive too. docs/cold-starts.md tells what came out.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import click
import duckdb

from warehouse.schema import literal
from warehouse.tables import TABLES
from warehouse.views import core_views, create_views

SAMPLES = Path(__file__).parents[2] / "ingest" / "samples"
NEEDED = ("runs", "tasks", "task_inputs", "invocations", "optimizations")
PREPARED = ("task_times", "invocation_tasks", "worker_times", "slow_starts")
RELEASE_LAG_MS = (0, 100, 200, 300, 400, 500, 600)
REQUEST_SHARE = (0, 1, 3, 5, 7)
JUST_FREED_MS = (0, 100, 200)
FREED_NEXT_MS = (0, 100, 200, 300)
CHOSEN = (400, 1, 100, 300)
SCORES = """
with told as (
    select
        reported_state as label, inference.state,
        case
            when environment like 'b-%' then 'series B'
            when md5(run_id) < '8' then 'series A, chosen on'
            else 'series A, judged on'
        end as part
    from cold_start_inference as inference inner join worker_times using (invocation_id)
    where basis = 'start-up times' and reported_state in ('cold', 'warm')
)

select
    part, count(*) as n,
    count_if(state = label and label = 'cold') / count_if(state <> 'unknown' and label = 'cold') as cold,
    count_if(state = label and label = 'warm') / count_if(state <> 'unknown' and label = 'warm') as warm,
    count_if(state = 'unknown') / count(*) as share_unknown
from told group by part order by part
"""


def samples() -> duckdb.DuckDBPyConnection:
    """The samples in a warehouse in memory, without views."""
    connection = duckdb.connect()
    for table in TABLES:
        if table.name in NEEDED or table.name == "files":
            columns = ", ".join(f'"{name}" {kind}' for name, kind in table.types.items())
            connection.execute(f"create table {table.name} ({columns})")
    for name in NEEDED:
        files = literal(str(SAMPLES / "*" / f"{name}*.parquet"))
        connection.execute(f"insert into {name} by name from read_parquet({files}, union_by_name = true)")
    return connection


def trial(
    connection: duckdb.DuckDBPyConnection, assumed: tuple[int, ...]
) -> list[tuple[str, int, float, float, float]]:
    """Score the inference under other figures: part, n, recall of cold and of warm among the decided, share unknown."""
    lag, share, just_freed, freed_next = assumed
    swaps = {
        "to_microseconds(400000)": f"to_microseconds({1000 * lag})",
        "round(10 * startup_ms)": f"round({10 * share} * startup_ms)",
        "< 100000 as is_just_freed": f"< {1000 * just_freed} as is_just_freed",
        "< 300000 as is_freed_next": f"< {1000 * freed_next} as is_freed_next",
    }
    for name in ("cold_start_inference", "keep_alive", "container_reuse"):
        connection.execute(f"drop {'view' if name == 'cold_start_inference' else 'table'} if exists {name}")
    sql = next(view.sql for view in core_views() if view.name == "container_reuse")
    for old, new in swaps.items():
        assert sql.count(old) == 1, f"container_reuse.sql no longer says {old}"
        sql = sql.replace(old, new)
    connection.execute(f"create table container_reuse as {sql}")
    create_views(connection, [view for view in core_views() if view.name in ("keep_alive", "cold_start_inference")])
    return connection.execute(SCORES).fetchall()


def main() -> None:
    with samples() as connection:
        first = [view for view in core_views() if view.name in PREPARED]
        create_views(connection, first)
        grid = list(itertools.product(RELEASE_LAG_MS, REQUEST_SHARE, JUST_FREED_MS, FREED_NEXT_MS))
        scores = {}
        with click.progressbar(grid, label="trials", file=sys.stderr) as bar:
            for assumed in bar:
                scores[assumed] = trial(connection, assumed)
    allowed = [assumed for assumed in grid if scores[assumed][0][4] <= 0.1]
    ranked = sorted(allowed, key=lambda assumed: -(scores[assumed][0][2] + scores[assumed][0][3]))
    for place, assumed in enumerate(ranked, 1):
        if place <= 5 or assumed in (CHOSEN, (0, 0, 0, 0)):
            lag, share, just_freed, freed_next = assumed
            click.echo(f"{place}. release +{lag} ms, request +{share} %, contested -{just_freed} and +{freed_next} ms")
            for part, n, cold, warm, unknown in scores[assumed]:
                click.echo(
                    f"   {part}: {n:,} labelled, balanced accuracy {(cold + warm) / 2:.3f}, unknown {unknown:.3f}"
                )


if __name__ == "__main__":
    main()

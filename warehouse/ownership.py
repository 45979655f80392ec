"""Which rows stand when dumps overlap.

A dump is what was written together: a folder of a flowdump, an RDB file, a run of a live Redis. Within a dump a key
occurs once. A run that occurs in two dumps belongs to the one with more rows for it (ties: the later); the rows of the
other wait in the schema `set_aside` and come back when the first leaves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import duckdb
import pyarrow as pa

from warehouse.batches import Reject
from warehouse.schema import quoted
from warehouse.tables import FACTS, RUN_FACTS, Table
from warehouse.target import Tally, registered


def runs_claimed(connection: duckdb.DuckDBPyConnection, file_ids: Sequence[str]) -> set[str]:
    """Return the runs that those files have rows of."""
    rows = connection.execute(
        "select distinct run_id from internal.claims where list_contains(?, file_id)", [list(file_ids)]
    ).fetchall()
    return {run for (run,) in rows}


def claim(connection: duckdb.DuckDBPyConnection, dumps: Mapping[str, str], tables: Collection[str]) -> None:
    """Note how many rows freshly loaded files have of each run.

    `dumps` maps the files to their dumps; `tables` are those that got rows.
    """
    rows = [f"select run_id, file_id from {name} where run_id is not null" for name in RUN_FACTS if name in tables]
    if not rows:
        return
    with registered(connection, "loaded", _as_files(dumps)):
        connection.execute(
            "insert into internal.claims"
            " select run_id, dump, file_id, count(*), cast(current_timestamp as timestamp) + to_microseconds(any_value(place))"
            f" from ({' union all '.join(rows)}) join loaded using (file_id) group by run_id, dump, file_id"
        )


def is_contested(connection: duckdb.DuckDBPyConnection, file_ids: Collection[str]) -> bool:
    """Whether those files speak of a run that another dump speaks of too, or any file has lost a run before."""
    return bool(
        connection.execute(
            "select 1 from files where duplicate_runs > 0 union all"
            " select 1 from internal.claims as mine join internal.claims as other using (run_id)"
            " where list_contains(?, mine.file_id) and mine.dump <> other.dump limit 1",
            [list(file_ids)],
        ).fetchall()
    )


def refuse_repeated_keys(
    connection: duckdb.DuckDBPyConnection, dumps: Mapping[str, str], tallies: Mapping[str, Tally]
) -> None:
    """Keep the first row of each key within a dump; reject the others of freshly loaded files, which `dumps` maps to dumps."""
    tables = {name for tally in tallies.values() for name in tally.tables}
    with registered(connection, "loaded", _as_files(dumps)):
        connection.execute(
            "create or replace temp table mates as select file_id, dump, true as fresh from loaded union all"
            " select distinct file_id, dump, false from internal.claims semi join loaded using (dump) anti join loaded using (file_id)"
        )
    for table in FACTS.values():
        if table.name in tables and not table.repeats:
            _refuse_repeated_keys(connection, table, tallies)
    connection.execute("drop table mates")


def _refuse_repeated_keys(connection: duckdb.DuckDBPyConnection, table: Table, tallies: Mapping[str, Tally]) -> None:
    key = ", ".join(quoted(name) for name in table.key)
    places = [table.name, f"set_aside.{table.name}"] if "run_id" in table.types else [table.name]
    rows = " union all ".join(
        f"select {key}, file_id, dump, fresh, {place}.rowid as row from {place} join mates using (file_id)"
        for place in places
    )
    if not connection.execute(
        f"select 1 from ({rows}) group by dump, hash({key}) having count(*) > 1 limit 1"
    ).fetchall():
        return
    connection.execute(
        f"create or replace temp table repeated as select row, file_id, to_json(struct_pack({key})) as key from ({rows})"
        f" qualify row_number() over (partition by dump, {key} order by fresh, row) > 1 and fresh"
    )
    for file_id, text in connection.execute("select file_id, key from repeated order by row").fetchall():
        tallies[file_id].rows -= 1
        tallies[file_id].reject(Reject(table.name, "duplicate_key", "another row of the same dump has this key", text))
    connection.execute(f"delete from {table.name} where rowid in (select row from repeated)")
    connection.execute("drop table repeated")


def settle(connection: duckdb.DuckDBPyConnection, runs: Iterable[str]) -> None:
    """Let the owner of each of those runs stand, and set the rows of the other dumps aside."""
    with registered(connection, "touched", _as_table(runs)):
        connection.execute(
            "create or replace temp table standing as"
            f" with claims as (from internal.claims semi join touched using (run_id)), ranked as ({_RANKED})"
            " select run_id, file_id, place = 1 as stands from ranked join claims using (run_id, dump)"
        )
    for name in RUN_FACTS:
        _move(connection, name, f"set_aside.{name}", "not stands")
        _move(connection, f"set_aside.{name}", name, "stands")
    connection.execute("drop table standing")


def _move(connection: duckdb.DuckDBPyConnection, origin: str, goal: str, condition: str) -> None:
    rows = f"{origin} where (run_id, file_id) in (select (run_id, file_id) from standing where {condition})"
    if connection.execute(f"select 1 from {rows} limit 1").fetchall():
        connection.execute(f"insert into {goal} by name select * from {rows}")
        connection.execute(f"delete from {rows}")


def note_duplicates(connection: duckdb.DuckDBPyConnection, runs: Iterable[str]) -> None:
    """Say in the manifest how many runs each file that speaks of those runs lost to another dump."""
    with registered(connection, "touched", _as_table(runs)):
        connection.execute(
            f"""
            with affected as (select distinct file_id from internal.claims semi join touched using (run_id)),
            theirs as (select distinct run_id from internal.claims semi join affected using (file_id)),
            claims as (from internal.claims semi join theirs using (run_id)),
            ranked as ({_RANKED}),
            counts as (
                select file_id, count(*) as runs, count(*) filter (where place > 1) as lost
                from ranked join claims using (run_id, dump) semi join affected using (file_id) group by file_id
            )
            update files set
                duplicate_runs = lost,
                status = case when status not in ('loaded', 'duplicate') then status
                              when lost = runs then 'duplicate' else 'loaded' end
            from counts where files.file_id = counts.file_id
            """
        )


def _as_files(dumps: Mapping[str, str]) -> pa.Table:
    """Return the files, their dumps, and the order in which they were loaded."""
    return pa.table(
        {
            "file_id": pa.array(dumps.keys(), pa.string()),
            "dump": pa.array(dumps.values(), pa.string()),
            "place": pa.array(range(len(dumps)), pa.int64()),
        }
    )


def _as_table(runs: Iterable[str]) -> pa.Table:
    return pa.table({"run_id": pa.array(sorted(runs), pa.string())})


_RANKED = """
    select run_id, dump,
        row_number() over (partition by run_id order by sum(rows) desc, max(loaded_at) desc, dump) as place
    from claims group by run_id, dump
"""

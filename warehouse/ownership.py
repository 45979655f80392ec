"""Which rows stand when dumps overlap.

A dump is what was written together: a folder of a flowdump, an RDB file, a run of a live Redis. Within a dump a key
occurs once. A run that occurs in two dumps belongs to the one with more rows for it (ties: the later); the rows of the
other wait in the schema `set_aside` and come back when the first leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import duckdb
import pyarrow as pa

from warehouse.batches import Reject
from warehouse.schema import quoted
from warehouse.tables import FACTS, RUN_FACTS, Table
from warehouse.target import Tally


def runs_claimed(connection: duckdb.DuckDBPyConnection, file_ids: Sequence[str]) -> set[str]:
    """Return the runs that those files have rows of."""
    rows = connection.execute(
        "select distinct run_id from internal.claims where list_contains(?, file_id)", [list(file_ids)]
    ).fetchall()
    return {run for (run,) in rows}


def claim(connection: duckdb.DuckDBPyConnection, file_id: str, dump: str) -> set[str]:
    """Note how many rows a freshly loaded file has of each run. Return the runs."""
    rows = " union all ".join(
        f"select run_id from {name} where file_id = $file and run_id is not null" for name in RUN_FACTS
    )
    connection.execute(
        "insert into internal.claims"
        f" select run_id, $dump, $file, count(*), cast(current_timestamp as timestamp) from ({rows}) group by run_id",
        {"dump": dump, "file": file_id},
    )
    return runs_claimed(connection, [file_id])


def refuse_repeated_keys(connection: duckdb.DuckDBPyConnection, file_id: str, dump: str, tally: Tally) -> None:
    """Keep the first row of each key within the dump; reject the file's others."""
    files = connection.execute(
        "select $file union select file_id from internal.claims where dump = $dump", {"file": file_id, "dump": dump}
    ).fetchall()
    within = [file for (file,) in files]
    for table in FACTS.values():
        if not table.repeats:
            _refuse_repeated_keys(connection, table, file_id, within, tally)


def _refuse_repeated_keys(
    connection: duckdb.DuckDBPyConnection, table: Table, file_id: str, within: list[str], tally: Tally
) -> None:
    key = ", ".join(quoted(name) for name in table.key)
    rows = (
        f"{table.name} where file_id = $files[1]"
        if len(within) == 1
        else f"{table.name} where list_contains($files, file_id)"
    )
    repeated = f"select 1 from {rows} group by hash({key}) having count(*) > 1 limit 1"
    if not connection.execute(repeated, {"files": within}).fetchall():
        return
    connection.execute(
        f"create or replace temp table repeated as select rowid as row, to_json(struct_pack({key})) as key from {rows}"
        f" qualify row_number() over (partition by {key} order by file_id = $file, rowid) > 1 and file_id = $file",
        {"files": within, "file": file_id},
    )
    for (text,) in connection.execute("select key from repeated order by row").fetchall():
        tally.rows -= 1
        tally.reject(Reject(table.name, "duplicate_key", "another row of the same dump has this key", text))
    connection.execute(f"delete from {table.name} where rowid in (select row from repeated)")
    connection.execute("drop table repeated")


def settle(connection: duckdb.DuckDBPyConnection, runs: Iterable[str]) -> None:
    """Let the owner of each of those runs stand, and set the rows of the other dumps aside."""
    connection.register("touched", pa.table({"run_id": pa.array(sorted(runs), pa.string())}))
    connection.execute(
        f"create or replace temp table standing as with ranked as ({_RANKED})"
        " select claims.run_id, claims.file_id, place = 1 as stands"
        " from ranked join internal.claims using (run_id, dump) join touched using (run_id)"
    )
    connection.unregister("touched")
    for name in RUN_FACTS:
        _move(connection, name, f"set_aside.{name}", "not stands")
        _move(connection, f"set_aside.{name}", name, "stands")
    connection.execute("drop table standing")


def _move(connection: duckdb.DuckDBPyConnection, origin: str, goal: str, condition: str) -> None:
    rows = f"{origin} where (run_id, file_id) in (select (run_id, file_id) from standing where {condition})"
    if connection.execute(f"select 1 from {rows} limit 1").fetchall():
        connection.execute(f"insert into {goal} by name select * from {rows}")
        connection.execute(f"delete from {rows}")


def note_duplicates(connection: duckdb.DuckDBPyConnection) -> None:
    """Say in the manifest how many runs each file lost to another dump."""
    connection.execute(
        f"""
        with ranked as ({_RANKED}),
        counts as (
            select claims.file_id, count(*) as runs, count(*) filter (where place > 1) as lost
            from ranked join internal.claims using (run_id, dump) group by claims.file_id
        )
        update files set
            duplicate_runs = lost,
            status = case when status not in ('loaded', 'duplicate') then status
                          when lost = runs then 'duplicate' else 'loaded' end
        from counts where files.file_id = counts.file_id
        """
    )


_RANKED = """
    select run_id, dump,
        row_number() over (partition by run_id order by sum(rows) desc, max(loaded_at) desc, dump) as place
    from internal.claims group by run_id, dump
"""

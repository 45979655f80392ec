"""What predictors and simulations found: rows that commands write into the fact tables, beside what sources bring there.

A predictor's predictions and scores are replaced together, so that no score outlives the predictions it is of. What was
found of less history (`history_budgets`) rests on predictions of its own, and is replaced when it is found anew. A
simulation of a run is replaced with its tasks and invocations, and other runs of its scenario stay. A row that a command
wrote stands over the row with the same key from a file, as a tag does; a simulation stands over the whole of a file's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from warehouse.errors import FlowscopeError
from warehouse.schema import arrow_schema, quoted
from warehouse.tables import FACTS, Table
from warehouse.target import registered

TOGETHER: dict[tuple[str, ...], tuple[str, ...]] = {
    ("predictions", "predictor_scores"): ("predictor",),
    ("history_budgets",): ("predictor",),
    ("simulations", "simulated_tasks", "simulated_invocations"): ("run_id", "scenario"),
}
"""The tables whose rows are replaced together: all that have the same values in these columns."""

RESULTS: tuple[str, ...] = tuple(name for tables in TOGETHER for name in tables)
"""The fact tables that hold results of commands."""

WHOLES: dict[str, str] = {"simulated_tasks": "simulations", "simulated_invocations": "simulations"}
"""The tables whose rows are parts of a row of another table: put in with it, and standing or leaving with it."""

ENGINE = "engine"
"""The name the recorded plans have among predictors; their predictions are in `planned_tasks`."""


class ResultsRefused(FlowscopeError):
    """The results of a command are not as their tables are described."""


def replace_results(connection: duckdb.DuckDBPyConnection, results: Mapping[str, pa.Table]) -> dict[str, int]:
    """Replace what commands wrote of what `results` names, within the caller's transaction.

    Of tables that go `TOGETHER`, a predictor, or a run's scenario, that is named in any loses its earlier rows in all.
    `results` maps tables of `RESULTS` to rows. Columns left out are NULL, and so is a number that is not one (NaN); rows of
    runs that the warehouse does not hold are left out. Returns how many rows each table got. Raises `ResultsRefused`
    for another table or column, a value of another type, a key that is missing or there twice, predictions under the
    name 'engine', and tasks or invocations of a simulation that is not among the rows.
    """
    stored = {name: _as_stored(name, rows) for name, rows in results.items()}
    with ExitStack() as stack:
        for name, rows in stored.items():
            stack.enter_context(registered(connection, f"new_{name}", rows))
            _refuse_repeated_keys(connection, FACTS[name])
        for name in [name for name in stored if name in WHOLES]:
            _refuse_parts_alone(connection, name, stored)
        for tables, columns in TOGETHER.items():
            _delete_named(connection, tables, columns, stored)
        counts = {name: _insert(connection, FACTS[name]) for name in stored}
        let_results_stand(connection)
    return counts


def let_results_stand(connection: duckdb.DuckDBPyConnection) -> None:
    """Delete the rows of files that have the key of a row a command wrote, or are part of one that has."""
    for name in RESULTS:
        whole = WHOLES.get(name, name)
        from_files = connection.execute(f"select count(file_id) from {name}").fetchall()
        from_commands = connection.execute(f"select count(*) - count(file_id) from {whole}").fetchall()
        if [(0,)] in (from_files, from_commands):
            continue
        same = " and ".join(f"old.{quoted(key)} is not distinct from new.{quoted(key)}" for key in FACTS[whole].key)
        connection.execute(
            f"delete from {name} as old using {whole} as new"
            f" where old.file_id is not null and new.file_id is null and {same}"
        )


def remove_results_of_gone_runs(connection: duckdb.DuckDBPyConnection) -> None:
    """Delete what commands predicted and simulated of runs that the warehouse no longer holds."""
    for name in RESULTS:
        if "run_id" in FACTS[name].types:
            connection.execute(f"delete from {name} where file_id is null and run_id not in (select run_id from runs)")


def _as_stored(name: str, rows: pa.Table) -> pa.Table:
    """Return the rows with the types of their table's columns."""
    if name not in RESULTS:
        raise ResultsRefused(f"{name} holds no results of commands. Hint: it is one of {', '.join(RESULTS)}.")
    table = FACTS[name]
    types = arrow_schema(table.columns)
    unknown = sorted(set(rows.column_names) - set(types.names))
    missing = sorted(set(table.required) - set(rows.column_names))
    if unknown or missing:
        fault = f"has no column {unknown[0]}" if unknown else f"needs the column {missing[0]}"
        raise ResultsRefused(f"{name} {fault}. Hint: docs/tables.md describes it.")
    stored = {}
    for column in rows.column_names:
        try:
            values = _without_nan(rows[column]).cast(types.field(column).type)
        except pa.ArrowException as error:
            raise ResultsRefused(f"{name}.{column} has a value of another type: {error}.") from error
        if column in table.required and values.null_count:
            raise ResultsRefused(f"{name} has a row without {column}. Hint: it is part of the key.")
        stored[column] = values
    if name == "predictions" and pc.any(pc.equal(stored["predictor"], ENGINE)).as_py():
        raise ResultsRefused(f"The predictor '{ENGINE}' is the recorded plan. Hint: choose another name.")
    return pa.table(stored)


def _without_nan(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_floating(values.type):
        return values
    return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)


def _refuse_repeated_keys(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    names = connection.sql(f"from new_{table.name}").columns
    key = [name for name in table.key if name in names]
    columns = ", ".join(map(quoted, key))
    repeated = connection.execute(
        f"select {columns} from new_{table.name} group by {columns} having count(*) > 1 limit 1"
    ).fetchall()
    if repeated:
        row = ", ".join(f"{name} {value!r}" for name, value in zip(key, repeated[0], strict=True) if value is not None)
        raise ResultsRefused(f"{table.name} has two rows of {row}. Hint: these columns identify a row.")


def _refuse_parts_alone(connection: duckdb.DuckDBPyConnection, name: str, stored: Collection[str]) -> None:
    whole = FACTS[WHOLES[name]]
    key = ", ".join(map(quoted, whole.key))
    without = f"anti join new_{whole.name} using ({key})" if whole.name in stored else ""
    alone = connection.execute(f"select {key} from new_{name} {without} limit 1").fetchall()
    if alone:
        row = ", ".join(f"{column} {value!r}" for column, value in zip(whole.key, alone[0], strict=True))
        raise ResultsRefused(f"{name} has a row of {row} without its row of {whole.name}. Hint: put them in together.")


def _delete_named(
    connection: duckdb.DuckDBPyConnection, tables: Iterable[str], columns: Sequence[str], stored: Collection[str]
) -> None:
    names = ", ".join(map(quoted, columns))
    named = " union all ".join(f"select {names} from new_{name}" for name in tables if name in stored)
    if not named:
        return
    for name in tables:
        connection.execute(f"delete from {name} where file_id is null and ({names}) in ({named})")


def _insert(connection: duckdb.DuckDBPyConnection, table: Table) -> int:
    known = "where run_id in (select run_id from runs)" if "run_id" in table.types else ""
    sql = f"insert into {table.name} by name select * from new_{table.name} {known}"
    ((count,),) = connection.execute(sql).fetchall()
    return int(count)

"""Load a Parquet file into a fact table, or say which of its rows cannot be loaded."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

from warehouse.batches import Reject
from warehouse.errors import SourceError
from warehouse.schema import literal, quoted
from warehouse.tables import EXTRA, Column
from warehouse.target import Target, extra_of, unknown_names

_EXCERPT = 200
_NOT_THE_FILE = re.compile(
    "no space left|file too large|could not write|failed to write|out of memory|failed to offload", re.IGNORECASE
)
_EXACT = {
    "BIGINT": {"INTEGER", "SMALLINT", "TINYINT", "UINTEGER", "USMALLINT", "UTINYINT"},
    "INTEGER": {"SMALLINT", "TINYINT", "USMALLINT", "UTINYINT"},
    "DOUBLE": {"FLOAT", "INTEGER", "SMALLINT", "TINYINT"},
    "TIMESTAMP": {"TIMESTAMP_MS", "TIMESTAMP_S", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"},
    "JSON": {"VARCHAR"},
}


def load_parquet(target: Target, path: Path) -> None:
    """Load the rows that fit; reject each of the others by its number.

    Columns are matched by name; a missing one is NULL, an unknown one goes to `extra`. NaN and infinities
    count as unknown.
    Raises `SourceError` for a file that is not whole or lacks a key column.
    """
    try:
        _load(target, path)
    except duckdb.Error as error:
        if isinstance(error, duckdb.OperationalError) and _NOT_THE_FILE.search(str(error)):
            raise
        sentence = str(error).strip().splitlines()[0]
        raise SourceError(
            "truncated", f"{path.name} is not a whole Parquet file ({sentence}). Hint: copy it again."
        ) from error


def _load(target: Target, path: Path) -> None:
    table = target.table
    types = {name: kind for name, kind, *_ in target.rows("describe select * from read_parquet(?)", [str(path)])}
    for name in table.required:
        if name not in types:
            raise SourceError(
                "missing_key", f"{path.name} has no column {name}, which every row of {table.name} needs."
            )
    present = [column for column in table.columns if column.name in types]
    unknown = unknown_names(table, types)
    values = {column.name: _value(column, types[column.name]) for column in present}
    if unknown or EXTRA.name in types:
        values[EXTRA.name] = extra_of({name: quoted(name) for name in unknown}, has_extra=EXTRA.name in types)
    checks = [("missing_key", name, f"{quoted(name)} is not null") for name in table.required]
    checks += [
        ("wrong_type", column.name, _fits(column)) for column in present if _may_not_fit(column, types[column.name])
    ]
    if types.get(EXTRA.name) == "VARCHAR":
        checks.append(("wrong_type", EXTRA.name, f"{quoted(EXTRA.name)} is null or json_valid({quoted(EXTRA.name)})"))
    good = " and ".join(f"({check})" for _, _, check in checks) or "true"
    source = f"read_parquet({literal(str(path))}, file_row_number = true)"
    if target.rows(f"select exists (from {source} where ({good}) is not true)")[0][0]:
        _reject(target, source, checks)
        target.insert(values, f"{source} where {good}")
    else:
        target.insert(values, f"read_parquet({literal(str(path))})")
    for name in unknown:
        target.tally.unknown[name] += target.rows(f"select count({quoted(name)}) from {source}")[0][0]


def _value(column: Column, found: str) -> str:
    name = quoted(column.name)
    if found == "TIMESTAMPTZ_NS":
        name = f"cast({name} as timestamptz)"
    value = name if found == column.type else f"try_cast({name} as {column.type})"
    # A comparison with NaN would be folded away: the statistics of a Parquet file leave NaN out.
    return f"case when isfinite({value}) then {value} end" if column.type == "DOUBLE" else value


def _may_not_fit(column: Column, found: str) -> bool:
    return found != column.type and found not in _EXACT.get(column.type, set())


def _fits(column: Column) -> str:
    name = quoted(column.name)
    return f"{name} is null or try_cast({name} as {column.type}) is not null"


def _reject(target: Target, source: str, checks: list[tuple[str, str, str]]) -> None:
    """Reject each row by the first check it fails."""
    passed = "true"
    for reason, name, check in checks:
        bad = target.rows(
            f"select file_row_number + 1, left(cast({quoted(name)} as varchar), {_EXCERPT})"
            f" from {source} where {passed} and ({check}) is not true order by 1"
        )
        detail = f"{name} is missing" if reason == "missing_key" else f"{name} is not a {target.table.types[name]}"
        for number, excerpt in bad:
            target.tally.reject(Reject(f"row {number}", reason, detail, excerpt or ""))
        passed += f" and ({check})"

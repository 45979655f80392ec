"""Load a file of one JSON object a line into a fact table, or say which of its lines cannot be loaded.

Two passes that convert values by the same functions of DuckDB. `load_clean` reads the whole file at once and raises
`NotClean` at the first thing amiss. `load_by_line` reads it again, names every bad line and loads the others.
An instant may carry an offset; without one it is UTC.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import duckdb
import pyarrow as pa

from warehouse.batches import Reject
from warehouse.schema import literal, quoted
from warehouse.tables import EXTRA, Column, Table
from warehouse.target import NotClean, Target, extra_of, registered, unknown_names
from warehouse.unpacked import MAX_LINE_BYTES, is_gzip, numbered, unpacked

_LINES_AT_A_TIME = 20_000
_EXCERPT = 200


def load_clean(target: Target, path: Path) -> None:
    """Load every line, or raise `NotClean` (the transaction is then to be rolled back)."""
    table = target.table
    compression = "gzip" if is_gzip(path) else "none"
    options = f"format = 'newline_delimited', compression = '{compression}', maximum_object_size = {MAX_LINE_BYTES}"
    try:
        counts = dict(
            target.rows(
                "select key, count(*) from (select unnest(json_keys(json)) as key"
                f" from read_json_objects({literal(str(path))}, {options})) group by key order by key"
            )
        )
        unknown = unknown_names(table, counts)
        if not _are_columns([*table.types, *unknown]):
            raise NotClean
        types = {column.name: _read_as(column) for column in table.columns} | dict.fromkeys(
            [*unknown, EXTRA.name], "JSON"
        )
        declared = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in types.items())
        values = {column.name: f"cast({quoted(column.name)} as {column.type})" for column in table.columns}
        values[EXTRA.name] = extra_of({name: quoted(name) for name in unknown}, has_extra=True)
        doubles = [quoted(column.name) for column in table.columns if column.type == "DOUBLE"]
        broken = [f"{quoted(name)} is null" for name in table.required] + [f"not isfinite({name})" for name in doubles]
        guard = f"if(coalesce({' or '.join(f'({check})' for check in broken)}, false), error('not clean'), true)"
        target.insert(values, f"read_json({literal(str(path))}, {options}, columns = {{{declared}}}) where {guard}")
    except duckdb.Error as error:
        raise NotClean from error
    target.tally.unknown.update({name: counts[name] for name in unknown})


def load_by_line(target: Target, path: Path) -> None:
    """Load every line that can be, and reject each of the others by its number. Raises `SourceError` on a broken gzip."""
    lines = _lines(path)
    while batch := list(islice(lines, _LINES_AT_A_TIME)):
        _load_lines(target, batch)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with unpacked(path, path.name) as file:
        for number, line in numbered(file):
            yield number, line.removeprefix(BOM_UTF8) if number == 1 else line


def _load_lines(target: Target, lines: list[tuple[int, bytes]]) -> None:
    table, good, unknown_counts = target.table, list[tuple[int, str]](), Counter[str]()
    for number, line in lines:
        if not line.strip():
            continue
        parsed = _parse(line)
        if isinstance(parsed, str):
            reason = "too_large" if len(line) > MAX_LINE_BYTES else "not_json"
            target.tally.reject(Reject(f"line {number}", reason, parsed, _excerpt(line)))
            continue
        good.append((number, line.decode()))
        unknown_counts.update(parsed.keys() - table.types.keys())
    if not good:
        return
    unknown = unknown_names(table, sorted(unknown_counts))
    target.tally.unknown.update({name: unknown_counts[name] for name in unknown})
    types = {column.name: _read_as(column) for column in table.columns} | {EXTRA.name: "JSON"}
    structure, as_found = json.dumps(types), json.dumps(dict.fromkeys(types, "JSON"))
    failures = ", ".join(f"case when {check} then {literal(failure)} end" for failure, check in _checks(table))
    batch = pa.table({"line": [n for n, _ in good], "json": [text for _, text in good]})
    with registered(target.connection, "json_lines", batch):
        target.connection.execute(
            f"create or replace temp table typed as select line, json, unnest(value), coalesce({failures}) as failure from"
            " (select line, json, json_transform(json, ?) as value, json_transform(json, ?) as found from json_lines)",
            [structure, as_found],
        )
    for number, text, failure in target.rows(
        "select line, json, failure from typed where failure is not null order by line"
    ):
        reason, _, name = failure.partition(":")
        detail = f"{name} is missing" if reason == "missing_key" else f"{name} is not a {target.table.types[name]}"
        target.tally.reject(Reject(f"line {number}", reason, detail, text[:_EXCERPT]))
    values = {column.name: f"cast({quoted(column.name)} as {column.type})" for column in table.columns}
    values[EXTRA.name] = extra_of({name: f"json -> {literal(_pointer(name))}" for name in unknown}, has_extra=True)
    target.insert(values, "typed where failure is null")
    target.rows("drop table typed")


def _parse(line: bytes) -> dict[str, object] | str:
    """Return the object on the line, or what is wrong with it."""
    if len(line) > MAX_LINE_BYTES:
        return f"longer than {MAX_LINE_BYTES} bytes"
    try:
        text = line.decode()
        value = json.loads(text, parse_constant=_refuse)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no character
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    return value if isinstance(value, dict) else f"a JSON {type(value).__name__}, not an object"


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value")


def _are_columns(names: Iterable[str]) -> bool:
    """Whether names can stand side by side as columns, which differ not by case alone and are not empty."""
    folded = [name.casefold() for name in names]
    return len(set(folded)) == len(folded) and all(folded)


def _pointer(name: str) -> str:
    """Return the JSON pointer to a field of an object."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _read_as(column: Column) -> str:
    """The type a JSON value is read as: an instant with its offset, which a TIMESTAMP would drop."""
    return "TIMESTAMP WITH TIME ZONE" if column.type == "TIMESTAMP" else column.type


def _checks(table: Table) -> Iterator[tuple[str, str]]:
    """Yield what may be wrong with a line's values and the SQL that tells, in order of the columns."""
    for column in table.columns:
        name = quoted(column.name)
        if column.name in table.required:
            yield f"missing_key:{column.name}", f"coalesce(found.{name}::varchar, 'null') = 'null'"
        yield f"wrong_type:{column.name}", f"value.{name} is null and coalesce(found.{name}::varchar, 'null') <> 'null'"
        if column.type == "DOUBLE":
            yield f"wrong_type:{column.name}", f"not isfinite(value.{name})"


def _excerpt(line: bytes) -> str:
    return line[:_EXCERPT].decode("utf-8", "replace").strip()

"""The derived views: one file each in `sql/core`, a bare SELECT whose file name is the view's name.

They keep to the SQL that DuckDB and Spark share: no ASOF, QUALIFY, EXCLUDE or list comprehensions, casts and the place of
NULLs spelled out. What needs a rule of its own on Spark: `median(x) over` a frame is `percentile(x, 0.5) over` it (Spark
refuses its median there, its percentile interpolates alike); `ts + to_microseconds(n)` is `timestampadd(microsecond, n, ts)`;
`ids[1]` is `get(ids, 0)`; `struct_pack(k := x)` is `struct(x as k)`; `json_extract(extra, '$.x')` and `json_extract_string`
are `get_json_object(extra, '$.x')`; `unnest(from_json(x, '[{"k": "VARCHAR"}]'))` is `explode(from_json(x,
'array<struct<k string>>'))`. `with recursive` (critical_path, failures) needs Spark 4.1 and its limits of recursion raised to the longest
chain of a DAG.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import duckdb

from warehouse.errors import FlowscopeError
from warehouse.schema import literal, quoted

CORE = Path(__file__).parent / "sql" / "core"
MATERIALISED = frozenset(
    {
        "task_times",
        "worker_times",
        "container_reuse",
        "keep_alive",
        "cold_starts",
        "worker_active_periods",
        "run_summary",
        "prediction_errors",
        "prediction_accuracy_over_time",
        "sla_coverage",
        "optimization_opportunities",
        "critical_path",
        "failures",
    }
)
"""Views that pages need fast: computed once, when a generation is built."""


class BrokenView(FlowscopeError):
    """A view's SQL does not run."""


@dataclass(frozen=True, slots=True)
class View:
    """A view: its name, its SQL, and its first comment, which says its meaning and grain."""

    name: str
    sql: str
    path: Path

    @property
    def meaning(self) -> str:
        """The first comment of the file, as one text."""
        lines = []
        for line in self.sql.splitlines():
            if not line.startswith("--"):
                break
            lines.append(line.removeprefix("--").strip())
        return " ".join(lines)


@cache
def core_views() -> tuple[View, ...]:
    """Return the core views, each after those it reads."""
    return views_in(CORE)


def views_in(folder: Path) -> tuple[View, ...]:
    """Return the views of a folder, each after those it reads. Raises `BrokenView` with file and line."""
    views = {path.stem: View(path.stem, path.read_text(), path) for path in sorted(folder.glob("*.sql"))}
    with duckdb.connect() as connection:
        graph = {name: tables_read(connection, view) & views.keys() for name, view in views.items()}
    try:
        return tuple(views[name] for name in TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise BrokenView(f"These views read each other: {' -> '.join(error.args[1])}.") from error


@cache
def views_digest() -> str:
    """Return a hash that changes when a view does."""
    text = "\0".join(f"{view.name}\0{view.sql}\0{view.name in MATERIALISED}" for view in core_views())
    return hashlib.sha256(text.encode()).hexdigest()


def tables_read(connection: duckdb.DuckDBPyConnection, view: View) -> set[str]:
    """Return the names of the tables and views that a view's SQL reads, from DuckDB's own parse of it."""
    ((text,),) = connection.execute("select json_serialize_sql(?)", [view.sql]).fetchall()
    tree = json.loads(text)
    if tree["error"]:
        raise BrokenView(f"{_place(view, tree.get('position'))}: {tree['error_message']}")
    names: set[str] = set()
    pending: list[Any] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if node.get("type") == "BASE_TABLE":
                names.add(node["table_name"].lower())
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
    return names


def create_views(connection: duckdb.DuckDBPyConnection, views: Iterable[View] | None = None) -> None:
    """Create the views (every core view), as tables where materialised. Raises `BrokenView` with file and line."""
    for view in core_views() if views is None else views:
        kind = "table" if view.name in MATERIALISED else "view"
        try:
            connection.execute(f"create {kind} {quoted(view.name)} as\n{view.sql}")
        except duckdb.Error as error:
            line = re.search(r"LINE (\d+):", str(error))
            place = f"{view.path.name}, line {int(line[1]) - 1}" if line else view.path.name
            raise BrokenView(f"{place}: {str(error).splitlines()[0]}") from error
        connection.execute(f"comment on {kind} {quoted(view.name)} is {literal(view.meaning)}")


def _place(view: View, position: str | None) -> str:
    if position is None:
        return view.path.name
    before = view.sql.encode()[: int(position)]
    return f"{view.path.name}, line {before.count(10) + 1}"

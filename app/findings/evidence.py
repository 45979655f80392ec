"""What findings read: the runs selected, and SQL over them.

A finding's SQL reads the selected runs as `selected_runs`, which has the columns of `run_summary`. Which runs those are is
said once, here, by conditions whose values are parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pandas as pd

from app.plain import plain
from app.units import count
from warehouse.connection import Reader
from warehouse.figures import rounded
from warehouse.schema import literal

COLUMNS = ("workflow", "planner", "sla", "environment")
"""The columns of `run_summary` that runs can be selected by."""


_BEGINNING = re.compile(r"((?:--[^\n]*\n)*)(.*)", re.DOTALL)
_PARAMETER = re.compile(r"\$([a-z_0-9]+)")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which runs count. Values of one column or tag are alternatives; columns, tags and dates must all be met.

    `values`: column -> allowed values, None for runs without one; `tags`: tag -> allowed values; `since` and `until`:
    first and last day of submission (UTC); `runs`: ids, where a condition of the user's own chose them, which `where` says.
    """

    values: tuple[tuple[str, tuple[str | None, ...]], ...] = ()
    tags: tuple[tuple[str, tuple[str, ...]], ...] = ()
    since: date | None = None
    until: date | None = None
    runs: tuple[str, ...] | None = None
    where: str = ""

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return self == Selection()

    def sql(self) -> tuple[str, dict[str, Any]]:
        """Return the SELECT of the runs selected, and its parameters."""
        conditions: list[str] = []
        parameters: dict[str, Any] = {}
        for column, allowed in self.values:
            if column not in COLUMNS:
                raise ValueError(column)
            parameters[f"{column}_in"] = [value for value in allowed if value is not None]
            unknown = f" or {column} is null" if None in allowed else ""
            conditions.append(f"(list_contains(${column}_in, {column}){unknown})")
        for place, (tag, values) in enumerate(self.tags, 1):
            parameters |= {f"tag_{place}": tag, f"tag_{place}_in": list(values)}
            conditions.append(f"list_contains($tag_{place}_in, tags[$tag_{place}])")
        if self.since:
            parameters["since"] = self.since
            conditions.append("submitted_at >= $since")
        if self.until:
            parameters["before"] = self.until + timedelta(days=1)
            conditions.append("submitted_at < $before")
        if self.runs is not None:
            parameters["runs"] = list(self.runs)
            conditions.append("run_id in (select unnest($runs))")
        where = "\n    where " + "\n        and ".join(conditions) if conditions else ""
        return f"select * from run_summary{where}", parameters

    def sentence(self) -> str:
        """Say in Markdown which runs are selected."""
        parts = [
            f"{column} {' or '.join(plain(value, 40) for value in allowed[:5])}{_more(len(allowed) - 5)}"
            for column, allowed in self.values
        ]
        parts += [
            f"tag {plain(tag, 40)} {' or '.join(plain(value, 40) for value in values[:5])}{_more(len(values) - 5)}"
            for tag, values in self.tags
        ]
        if self.since:
            parts.append(f"submitted from {self.since}")
        if self.until:
            parts.append(f"submitted until {self.until}")
        if self.runs is not None:
            parts.append(f"{count(len(self.runs), 'run')} where {plain(self.where, 200)}")
        return "; ".join(parts) or "all runs"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The selected runs of a generation, which `key` names. It keeps the SQL it ran, as text that anybody can run again."""

    read: Callable[[str, Mapping[str, Any]], pd.DataFrame]
    selection: Selection = Selection()
    key: str = ""
    statements: list[str] = field(default_factory=list)

    def frame(self, sql: str, **parameters: Any) -> pd.DataFrame:
        """Return the result of SQL over `selected_runs` and every table and view."""
        selected, values = self.selection.sql()
        comment, rest = _BEGINNING.fullmatch(sql.strip()).groups()  # type: ignore[union-attr]  # it always matches
        more = rest.removeprefix("with ")
        statement = f"{comment}with selected_runs as (\n    {selected}\n){',' if more != rest else ''}\n\n{more}"
        given = {**values, **parameters}
        self.statements.append(_readable(statement, given, self.selection))
        return rounded(self.read(statement, given))

    def record(self, sql: str, **parameters: Any) -> dict[str, Any]:
        """Return the first row by column name. Raises `IndexError` where there is none."""
        return {str(name): value for name, value in self.frame(sql, **parameters).iloc[0].to_dict().items()}


def of_reader(reader: Reader, selection: Selection | None = None) -> Evidence:
    """Return evidence that is read from a generation."""
    return Evidence(lambda sql, parameters: reader.frame(sql, dict(parameters)), selection or Selection())


def _readable(statement: str, parameters: Mapping[str, Any], selection: Selection) -> str:
    """Return the statement with its values written into it: what was run, as one SELECT that runs anywhere."""
    values = {name: value for name, value in parameters.items() if name != "runs"}
    written = _PARAMETER.sub(lambda found: _literal(values[found[1]]) if found[1] in values else found[0], statement)
    return written.replace("run_id in (select unnest($runs))", f"({selection.where}\n)")


def _literal(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int | float):
        return repr(value)
    return literal(str(value))


def _more(number: int) -> str:
    return f" or {number:,} more" if number > 0 else ""

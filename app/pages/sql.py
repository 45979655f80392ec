"""Anybody's SQL on the current generation: one SELECT or EXPLAIN, read-only, bounded in time, memory and rows."""

from __future__ import annotations

import json
from functools import partial
from typing import Literal

import pandas as pd
import pyarrow as pa
import streamlit as st

from app import parts, queries
from app.store import EXPORTED_ROWS, QUERY_SECONDS, SHOWN_ROWS, Preview, Store
from app.units import count, duration
from warehouse.errors import QueryRefused

LONGEST = 20_000
CELL = 2_000
_FILES: tuple[tuple[Literal["csv", "parquet"], str], ...] = (
    ("csv", "text/csv"),
    ("parquet", "application/vnd.apache.parquet"),
)


def example_chosen() -> None:
    """Put the chosen example into the text area."""
    if name := st.session_state.get("example"):
        st.session_state["q"] = queries.EXAMPLES[name]


def display(table: pa.Table) -> pd.DataFrame:
    """Return a result as a frame that can be shown: nested values as JSON, long texts cut, names made unique."""
    columns: dict[str, object] = {}
    for name, column in zip(table.schema.names, table.columns, strict=True):
        unique, number = name, 2
        while unique in columns:
            unique, number = f"{name} ({number})", number + 1
        columns[unique] = _cells(column)
    return pd.DataFrame(columns)


def _cells(column: pa.ChunkedArray) -> object:
    kind = column.type
    if pa.types.is_nested(kind):
        return [
            None if value is None else _cut(json.dumps(value, default=str, ensure_ascii=False))
            for value in column.to_pylist()
        ]
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return [None if value is None else _cut(value) for value in column.to_pylist()]
    if pa.types.is_decimal(kind) and kind.scale == 0:
        whole = [None if value is None else int(value) for value in column.to_pylist()]
        return whole if all(value is None or abs(value) < 2**63 for value in whole) else [*map(_digits, whole)]
    if (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_interval(kind)
        or pa.types.is_time(kind)
    ):
        return [None if value is None else _cut(str(value)) for value in column.to_pylist()]
    return column.to_pandas()


def _digits(value: int | None) -> str | None:
    return None if value is None else str(value)


def _cut(text: str) -> str:
    return text if len(text) <= CELL else f"{text[:CELL]}…"


def run(store: Store, sql: str) -> None:
    """Run a query and keep what came of it for this session."""
    st.session_state["sql_result"] = (sql, store.key, _answer(store, sql))


def _answer(store: Store, sql: str) -> Preview | str:
    if not sql.strip():
        return "There is no query. Hint: write one SELECT, or choose an example."
    try:
        with st.spinner("Running …"):
            return store.preview(sql)
    except QueryRefused as error:
        return str(error)


def show(store: Store, sql: str, answer: Preview | str) -> None:
    """Show a result, or the sentence that came instead."""
    if isinstance(answer, str):
        with st.container(border=True):
            st.markdown("**The query did not run.**")
            st.code(answer, language=None, wrap_lines=True)
        return
    rows = answer.table.num_rows
    if answer.table.schema.names == ["explain_key", "explain_value"]:
        st.code("\n".join(answer.table.column("explain_value").to_pylist()), language=None)
        return
    beginning = (
        f"The first {count(rows, 'row')} are shown; there are more." if answer.truncated else f"{count(rows, 'row')}."
    )
    st.markdown(f"{beginning} {duration(answer.seconds * 1000)}, generation {store.reader.generation}.")
    parts.table(display(answer.table), "Result of the query")
    with st.container(horizontal=True):
        for how, mime in _FILES:
            st.download_button(
                "CSV" if how == "csv" else "Parquet",
                partial(store.export, sql, how),
                f"result.{how}",
                mime,
                on_click="ignore",
                icon=":material/download:",
                key=f"result-{how}",
            )
    st.caption(
        f"Files hold at most {EXPORTED_ROWS:,} rows, the table {SHOWN_ROWS:,}, a cell {CELL:,} characters. "
        "For all of a larger result: `flowscope sql QUERY -o FILE.parquet`."
    )


def catalogue(store: Store) -> None:
    """List tables and views with their columns."""
    st.subheader("Tables and views")
    columns = store.frame(queries.COLUMNS)
    meanings = queries.meanings()
    for name in columns["table_name"].unique():
        group = columns[columns["table_name"] == name]
        with st.expander(str(name), type="compact"):
            if name in meanings:
                st.caption(f"{meanings[name][:300]}")
            st.code("\n".join(f"{row.column_name}  {row.data_type}" for row in group.itertuples()), language=None)


st.title("SQL")
store = parts.open_store()
parts.freshness(store)
st.markdown(
    f"One `SELECT` or `EXPLAIN` in DuckDB's SQL, on an immutable copy of the warehouse: nothing can be changed. A query is stopped "
    f"after {QUERY_SECONDS:g} s. The address of this page holds the query, so a link to it is a link to the question."
)
asked_too_long = len(st.query_params.get("q", "")) > LONGEST  # before the text area cuts it
main, side = st.columns([2.6, 1], gap="large")
with main:
    st.selectbox(
        "Examples",
        list(queries.EXAMPLES),
        index=None,
        key="example",
        on_change=example_chosen,
        placeholder="Start from an example",
    )
    sql = (
        st.text_area(
            "Query",
            value="select workflow, count(*) as runs\nfrom run_summary\ngroup by workflow\norder by runs desc",
            height=190,
            max_chars=LONGEST,
            key="q",
            bind="query-params",
        )
        or ""
    )
    pressed = st.button("Run", type="primary", icon=":material/play_arrow:")
    if asked_too_long:
        parts.nothing(
            f"The address holds a query of more than {LONGEST:,} characters: it was cut, and not run. Hint: flowscope sql."
        )
    elif pressed or "sql_result" not in st.session_state:
        run(store, sql)
    if "sql_result" in st.session_state:
        ran, key, answer = st.session_state["sql_result"]
        if ran != sql or key != store.key:
            st.caption("The query or the warehouse has changed since; press Run for a new answer.")
        show(store, ran, answer)
with side:
    catalogue(store)

"""What pages share: opening the store, charts with their text, downloads, the SQL they ran, empty states."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import streamlit as st

from app import queries
from app.cells import as_file
from app.charts import Drawn
from app.plain import label
from app.save import save_buttons
from app.store import Store, current
from app.units import age
from warehouse.errors import FlowscopeError


def open_store() -> Store:
    """Return the current generation; where there is none, say so and end the page."""
    try:
        return current()
    except FlowscopeError as error:
        nothing(str(error))
        st.stop()


def open_store_with_runs() -> Store:
    """Return the current generation; where it holds no runs, say so and end the page."""
    store = open_store()
    if not store.value("select count(*) from runs"):
        nothing("The warehouse holds no runs. Hint: flowscope ingest PATH, or flowscope demo.")
        st.stop()
    return store


def nothing(sentence: str) -> None:
    """Say what is missing, as text: a path or an error in it is never read as Markdown."""
    with st.container(border=True):
        st.text(sentence)


def freshness(store: Store) -> None:
    """Say in the sidebar which generation is shown and how old it is."""
    info = store.record(queries.GENERATION)
    published = info["published_at"].to_pydatetime().replace(tzinfo=UTC)
    st.sidebar.caption(
        f"Generation {info['generation']}, published {published:%Y-%m-%d %H:%M} UTC ({age(datetime.now(UTC) - published)}). "
        "A newer one is picked up with the next click."
    )


def say_unknown(name: str, options: Iterable[str]) -> None:
    """Say which values of the address cannot be chosen: the widget of that name drops them, and shows something else."""
    there = set(options)
    for asked in st.query_params.get_all(name):
        if asked and asked not in there:
            st.warning(
                f"The address asks for a {name.replace('_', ' ')} that is not among these runs, so it is left out:"
            )
            st.text(label(asked))


def chart(drawn: Drawn, alt_text: str, name: str, *, save: bool = True) -> None:
    """Show a chart at the width there is, with a text alternative, and buttons that save it as SVG and PNG."""
    with st.container(key=f"chart-{name}"):
        st.altair_chart(drawn.properties(usermeta={"embedOptions": {"renderer": "svg"}}), width="stretch", alt=alt_text)
    if save:
        save_buttons(f"chart-{name}", name)


def table(
    frame: pd.DataFrame, alt_text: str, columns: Mapping[str, Any] | None = None, height: int | None = None
) -> None:
    """Show a frame as it is: cells are text, never markup."""
    st.dataframe(
        frame, hide_index=True, column_config=dict(columns or {}), alt=alt_text, height=height if height else "auto"
    )


def downloads(frame: pd.DataFrame, name: str) -> None:
    """Offer a frame as CSV and as Parquet."""
    with st.container(horizontal=True):
        st.download_button(
            "CSV",
            lambda: as_file(frame, "csv"),
            f"{name}.csv",
            "text/csv",
            on_click="ignore",
            icon=":material/download:",
            key=f"{name}-csv",
        )
        st.download_button(
            "Parquet",
            lambda: as_file(frame, "parquet"),
            f"{name}.parquet",
            "application/vnd.apache.parquet",
            on_click="ignore",
            icon=":material/download:",
            key=f"{name}-parquet",
        )


def how(sql: str, parameters: Mapping[str, Any] | None = None) -> None:
    """Show the SQL that was run, and with which values."""
    with st.expander("How this was computed"):
        values = "\n".join(f"-- ${name} = {label(value, 200)!r}" for name, value in (parameters or {}).items())
        st.code(f"{values}\n{sql.strip()}" if values else sql.strip(), language="sql", wrap_lines=True)


def how_statements(statements: Sequence[str]) -> None:
    """Show the SQL that a finding ran, ready to be run again."""
    with st.expander("How this was computed"):
        st.markdown("The SQL as it was run, with the filters in it: paste it into the SQL page or `flowscope sql`.")
        for statement in statements:
            st.code(statement, language="sql", wrap_lines=True)

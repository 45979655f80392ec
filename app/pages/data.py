"""Files, rejects, tables and views: what there is, what it means, and how to take it away."""

from __future__ import annotations

import streamlit as st

from app import parts, queries
from app.plain import labels
from app.store import EXPORTED_ROWS
from app.units import count
from warehouse.tables import REJECT_REASONS

MOST_ROWS = 5_000
SAMPLE_ROWS = 100

st.title("Data")
store = parts.open_store()
parts.freshness(store)
columns = store.frame(queries.COLUMNS)
meanings, column_meanings = queries.meanings(), queries.column_meanings()
names = list(dict.fromkeys(columns["table_name"]))
rows = store.frame(queries.count_rows(names)).set_index("table_name")["rows"]

st.header("Tables and views")
st.markdown(
    "Durations end in `_ms` and are milliseconds, sizes end in `_bytes`, instants end in `_at` and are UTC. Unknown is empty, never 0."
)
overview = columns.groupby("table_name").size().rename("columns").reset_index()
overview["rows"] = [int(rows[name]) for name in overview["table_name"]]
overview["what a row is"] = [meanings.get(name, "which generation this is") for name in overview["table_name"]]
parts.table(
    overview[["table_name", "rows", "columns", "what a row is"]],
    "Tables and views with their rows",
    {
        "rows": st.column_config.NumberColumn(format="localized"),
        "what a row is": st.column_config.TextColumn(width="large"),
    },
)
st.caption("The whole warehouse as Parquet files, one a table: `flowscope export DIR`.")

chosen = str(st.selectbox("Table or view", names, index=names.index("run_summary"), key="table", bind="query-params"))
st.markdown(f"`{chosen}`: {count(int(rows[chosen]), 'row')}. {meanings.get(chosen, '')}")
described = columns[columns["table_name"] == chosen].copy()
described["meaning"] = [column_meanings.get((chosen, name), "") for name in described["column_name"]]
if not described["meaning"].any():
    by_name: dict[str, str] = {}
    for (_, name), meaning in column_meanings.items():
        by_name.setdefault(name, meaning)
    described["meaning"] = [by_name.get(name, "") for name in described["column_name"]]
parts.table(
    described[["column_name", "data_type", "meaning"]],
    f"Columns of {chosen}",
    {"meaning": st.column_config.TextColumn(width="large")},
)
with st.expander(f"The first {SAMPLE_ROWS} rows"):
    parts.table(store.frame(f'select * from "{chosen}" limit {SAMPLE_ROWS}'), f"First rows of {chosen}")
statement = f'select * from "{chosen}"'
with st.container(horizontal=True):
    st.download_button(
        "CSV",
        lambda: store.export(statement, "csv"),
        f"{chosen}.csv",
        "text/csv",
        on_click="ignore",
        icon=":material/download:",
    )
    st.download_button(
        "Parquet", lambda: store.export(statement, "parquet"), f"{chosen}.parquet", "application/vnd.apache.parquet",
        on_click="ignore", icon=":material/download:",
    )  # fmt: skip
if int(rows[chosen]) > EXPORTED_ROWS:
    st.caption(f"Files hold the first {EXPORTED_ROWS:,} rows. For all of them: `flowscope export DIR`.")

st.header("Files")
files = store.frame(queries.FILES, most=MOST_ROWS)
total = int(rows["files"])
if files.empty:
    parts.nothing("No file was ever read. Hint: flowscope ingest PATH.")
else:
    parts.table(
        files,
        "Files in the manifest",
        {
            "size_bytes": st.column_config.NumberColumn(format="localized"),
            "rows": st.column_config.NumberColumn(format="localized"),
            "finished_at": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss"),
        },
    )
    if total > len(files):
        st.caption(f"Listed: {len(files):,} of {total:,} files. The table `files` holds all.")

st.header("Rejects")
by_reason = store.frame(queries.REJECTS_BY_REASON)
if by_reason.empty:
    st.markdown("Nothing was rejected.")
else:
    reasons = labels(by_reason["reason"].tolist())
    every = "Every reason"
    picked = str(st.selectbox("Reason", [every, *reasons], key="reason", bind="query-params"))
    reason = "" if picked == every else str(reasons[picked])
    if reason:
        st.caption(f"{reason}: {REJECT_REASONS.get(reason, 'not in the list of reasons')}.")
    rejects = store.frame(queries.REJECTS, reason=reason, most=MOST_ROWS)
    parts.table(rejects, "Lines and values that were refused")
    if len(rejects) == MOST_ROWS:
        st.caption(f"Listed: the first {MOST_ROWS:,}. The table `rejects` holds all.")
    parts.downloads(rejects, "rejects")

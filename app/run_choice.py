"""Which run a page shows: chosen from the newest, or by ?run= in the address."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from app import parts, queries
from app.findings.evidence import Evidence
from app.plain import label
from app.store import Store

MOST_RUNS = 1_000


def choose(store: Store, evidence: Evidence) -> str:
    """Return the id of the run chosen among those the filters select, from the widget or from ?run= in the address."""
    wanted = st.query_params.get("run")
    runs = evidence.frame(queries.RUNS, most=MOST_RUNS)
    ids = runs["run_id"].tolist()
    is_everything = evidence.selection.is_everything
    if wanted and wanted not in ids:
        if evidence.frame("select run_id from selected_runs where run_id = $run", run=wanted).empty:
            where = "in this generation" if is_everything else "among those the filters select"
            parts.nothing(f"No run {label(wanted, 140)} {where}. Showing the newest instead.")
        else:
            ids = [wanted, *ids]
    named = _names(store, ids, runs)
    if wanted in ids:
        place = ids.index(wanted)
    else:
        planned = (runs["is_complete"].eq(True) & runs["sla"].notna()).tolist()
        place = planned.index(True) if True in planned else 0
    name = st.selectbox(
        f"Run ({len(ids):,}{' newest' if len(ids) >= MOST_RUNS else ''}{'' if is_everything else ' that the filters select'})",
        list(named), index=place, key=f"run_of_{evidence.selection!r}",
    )  # fmt: skip
    run = str(named[name])
    if wanted != run:
        st.query_params["run"] = run
    return run


def _names(store: Store, ids: list[str], runs: pd.DataFrame) -> dict[str, str]:
    rows: dict[str, dict[str, Any]] = {
        str(row["run_id"]): {str(name): value for name, value in row.items()} for row in runs.to_dict("records")
    }
    named: dict[str, str] = {}
    for run in ids:
        row = rows[run] if run in rows else store.record(queries.RUN, run=run)
        when = "no submission time" if pd.isna(row["submitted_at"]) else f"{row['submitted_at']:%Y-%m-%d %H:%M:%S}"
        flag = {True: "", False: " · incomplete"}.get(row["is_complete"], " · DAG unknown")
        head = label(row["workflow"] if isinstance(row["workflow"], str) else row["engine"], 28)
        settings = [
            label(row[key], limit) for key, limit in (("planner", 28), ("sla", 12)) if isinstance(row[key], str)
        ]
        base = name = f"{' · '.join([head, *settings, when])}{flag}"
        number = 2
        while name in named:
            name, number = f"{base} ({number})", number + 1
        named[name] = run
    return named

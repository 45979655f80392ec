"""Which run a page shows: chosen from the newest, or by ?run= in the address."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from app import parts, queries
from app.plain import label, labels
from app.store import Store

MOST_RUNS = 1_000
ALL = "All workflows"


def choose(store: Store) -> str:
    """Return the id of the run chosen, from the widgets or from ?run= in the address."""
    wanted = st.query_params.get("run")
    workflows = labels(store.frame(queries.WORKFLOWS)["workflow"].tolist(), 40)
    left, right = st.columns([1, 3])
    chosen = left.selectbox("Workflow", [ALL, *workflows], key="run_workflow")
    runs = store.frame(
        queries.RUNS, all=chosen == ALL, workflow=None if chosen == ALL else workflows[chosen], most=MOST_RUNS
    )
    ids = runs["run_id"].tolist()
    if wanted and wanted not in ids and chosen == ALL and not store.frame(queries.RUN, run=wanted).empty:
        ids = [wanted, *ids]
    if wanted and wanted not in ids and chosen == ALL:
        parts.nothing(f"No run {label(wanted, 140)} in this generation. Showing the newest instead.")
    named = _names(store, ids, runs)
    if wanted in ids:
        place = ids.index(wanted)
    else:
        planned = (runs["is_complete"].eq(True) & runs["sla"].notna()).tolist()
        place = planned.index(True) if True in planned else 0
    name = right.selectbox(
        f"Run ({len(ids):,}{' newest' if len(ids) >= MOST_RUNS else ''})", list(named), index=place, key=f"run_{chosen}"
    )
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
        flag = "" if row["is_complete"] is True else " · incomplete"
        base = name = (
            f"{label(row['workflow'], 28)} · {label(row['planner'], 28)} · {label(row['sla'], 12)} · {when}{flag}"
        )
        number = 2
        while name in named:
            name, number = f"{base} ({number})", number + 1
        named[name] = run
    return named

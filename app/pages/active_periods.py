"""How long workers are active, and what a planner misses that does not count their start-up."""

from __future__ import annotations

import streamlit as st

from app import parts, showing

st.title("Active periods")
store = parts.open_store_with_runs()
parts.freshness(store)
st.markdown("How long workers are active, and what a planner misses that does not count their start-up.")
evidence = showing.which_runs(store)
showing.show(evidence, "active_periods")

"""Which planner is fast, which is cheap, and what else sets the price: memory, CPU, the size of the DAG."""

from __future__ import annotations

import streamlit as st

from app import parts, showing

st.title("Planners & cost")
store = parts.open_store_with_runs()
parts.freshness(store)
st.markdown("Which planner is fast, which is cheap, and what else sets the price: memory, CPU, the size of the DAG.")
evidence = showing.which_runs(store)
showing.show(evidence, "planners_and_cost", first="F23")

"""How often a worker has to wait for a new container, what that costs, and what changes it."""

from __future__ import annotations

import streamlit as st

from app import parts, showing

st.title("Cold starts")
store = parts.open_store_with_runs()
parts.freshness(store)
st.markdown("How often a worker has to wait for a new container, what that costs, and what changes it.")
evidence = showing.which_runs(store)
showing.show(evidence, "cold_starts", first="F10")

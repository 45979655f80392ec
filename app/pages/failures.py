"""What failed, what it was put down to, and what else it took down."""

from __future__ import annotations

import streamlit as st

from app import parts, showing

st.title("Failures")
store = parts.open_store_with_runs()
parts.freshness(store)
st.markdown("What failed, what it was put down to, and what else it took down.")
evidence = showing.which_runs(store)
showing.show(evidence, "failures")

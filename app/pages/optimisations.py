"""Whether each optimisation is applied where it could be, whether it acts, and which get into each other's way."""

from __future__ import annotations

import streamlit as st

from app import parts, showing

st.title("Optimisations")
store = parts.open_store_with_runs()
parts.freshness(store)
st.markdown(
    "Whether each optimisation is applied where it could be, whether it acts, and which get into each other's way."
)
evidence = showing.which_runs(store)
showing.show(evidence, "optimisations")

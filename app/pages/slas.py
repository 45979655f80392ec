"""What an optimistic or a conservative SLA does to a run, and whether a prediction at a percentile keeps what the percentile promises."""

from __future__ import annotations

import streamlit as st

from app import parts, showing

st.title("SLAs")
store = parts.open_store_with_runs()
parts.freshness(store)
st.markdown(
    "What an optimistic or a conservative SLA does to a run, and whether a prediction at a percentile keeps what the percentile promises."
)
evidence = showing.which_runs(store)
showing.show(evidence, "slas")

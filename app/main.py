"""The router: which pages there are. Started by `flowscope app`; the home comes from FLOWSCOPE_HOME."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from app.filters import offer

PAGES = Path(__file__).parent / "pages"

st.set_page_config(page_title="Flowscope", page_icon=str(Path(__file__).parent / "icon.png"), layout="wide")


def home() -> None:
    """Go on to the summary: the default page has no address of its own, and /summary should be one."""
    asked = {name: st.query_params.get_all(name) for name in st.query_params}
    st.switch_page(PAGES / "summary.py", query_params=asked)


def report(stem: str, title: str, icon: str) -> StreamlitPage:
    """Return a page of the report, its address named like its file."""
    return st.Page(PAGES / f"{stem}.py", title=title, url_path=stem, icon=f":material/{icon}:")


page = st.navigation(
    {
        "": [st.Page(home, title="Flowscope", url_path="home", default=True, visibility="hidden")],
        "Report": [
            report("summary", "Summary", "article"),
            report("cold_starts", "Cold starts", "ac_unit"),
            report("active_periods", "Active periods", "hourglass_top"),
            report("prediction_accuracy", "Prediction accuracy", "target"),
            report("slas", "SLAs", "handshake"),
            report("optimisations", "Optimisations", "bolt"),
            report("experiments", "Experiments", "science"),
            report("planners_and_cost", "Planners & cost", "payments"),
            report("failures", "Failures", "error"),
        ],
        "Explore": [
            report("run", "Run", "account_tree"),
            report("sql", "SQL", "terminal"),
            report("data", "Data", "table"),
        ],
    }
)
if page.title != "Flowscope":
    offer(apply=page.url_path not in ("sql", "data"))
page.run()

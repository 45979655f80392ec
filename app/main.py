"""The router: which pages there are. Started by `flowscope app`; the home comes from FLOWSCOPE_HOME."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

PAGES = Path(__file__).parent / "pages"

st.set_page_config(page_title="Flowscope", page_icon=str(Path(__file__).parent / "icon.png"), layout="wide")


def home() -> None:
    """Go on to the summary: the default page has no address of its own, and /summary should be one."""
    st.switch_page(PAGES / "summary.py")


page = st.navigation(
    {
        "": [st.Page(home, title="Flowscope", url_path="home", default=True, visibility="hidden")],
        "Report": [
            st.Page(PAGES / "summary.py", title="Summary", url_path="summary", icon=":material/article:"),
            st.Page(
                PAGES / "prediction_accuracy.py",
                title="Prediction accuracy",
                url_path="prediction_accuracy",
                icon=":material/target:",
            ),
        ],
        "Explore": [
            st.Page(PAGES / "run.py", title="Run", url_path="run", icon=":material/account_tree:"),
            st.Page(PAGES / "sql.py", title="SQL", url_path="sql", icon=":material/terminal:"),
            st.Page(PAGES / "data.py", title="Data", url_path="data", icon=":material/table:"),
        ],
    }
)
page.run()

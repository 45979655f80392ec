"""The router: which pages there are. Started by `flowscope app`; the home comes from FLOWSCOPE_HOME."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from app.filters import offer
from app.sections import PREDICT, SECTIONS

PAGES = Path(__file__).parent / "pages"

ICONS = {
    "summary": "article", "cold_starts": "ac_unit", "active_periods": "hourglass_top", "prediction_accuracy": "target",
    "slas": "handshake", "optimisations": "bolt", "experiments": "science", "planners_and_cost": "payments", "failures": "error",
    "predictors": "model_training", "what_if": "alt_route",
}  # fmt: skip

st.set_page_config(page_title="Flowscope", page_icon=str(Path(__file__).parent / "icon.png"), layout="wide")


def home() -> None:
    """Go on to the summary: the default page has no address of its own, and /summary should be one."""
    asked = {name: st.query_params.get_all(name) for name in st.query_params}
    st.switch_page(PAGES / "summary.py", query_params=asked)


def at(stem: str, title: str, icon: str) -> StreamlitPage:
    """Return a page whose address is named like its file."""
    return st.Page(PAGES / f"{stem}.py", title=title, url_path=stem, icon=f":material/{icon}:")


page = st.navigation(
    {
        "": [st.Page(home, title="Flowscope", url_path="home", default=True, visibility="hidden")],
        "Report": [at(stem, title, ICONS[stem]) for stem, title in SECTIONS.items()],
        "Predict": [at(stem, title, ICONS[stem]) for stem, title in PREDICT.items()],
        "Explore": [
            at("run", "Run", "account_tree"),
            at("sql", "SQL", "terminal"),
            at("data", "Data", "table"),
        ],
    },
    expanded=True,
)
if page.title != "Flowscope":
    offer(apply=page.url_path not in ("sql", "data"))
page.run()

"""Streamlit as `flowscope app` runs it: every address goes through the router, the very first one too.

Until `st.navigation` has run once, Streamlit takes a folder called `pages` for its older way of finding pages: a deep link
opened first would then miss `app/main.py`.
"""

from __future__ import annotations

import sys

from streamlit.runtime.pages_manager import PagesManager
from streamlit.web.cli import main

if __name__ == "__main__":
    PagesManager.uses_pages_directory = False
    sys.exit(main(prog_name="streamlit"))

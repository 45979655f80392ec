"""The filters of the sidebar: which runs the report is about. They are kept in the address, so a link shows the same runs."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from typing import Any

import streamlit as st

from app.findings.evidence import COLUMNS, Selection
from app.plain import label, labels
from app.store import Store, current
from warehouse.errors import FlowscopeError

MOST_TAGS = 500
_NAMES = {"workflow": "Workflow", "planner": "Planner", "sla": "SLA", "environment": "Environment"}

VALUES = """
select 'workflow' as name, workflow as value, count(*) as runs from run_summary group by workflow
union all
select 'planner', planner, count(*) from run_summary group by planner
union all
select 'sla', sla, count(*) from run_summary group by sla
union all
select 'environment', environment, count(*) from run_summary group by environment
order by name, runs desc, value nulls last
"""

TAGS = """
-- Tag values that more than one run has, and not all.
select tag, value, count(*) as runs from run_tags
group by tag, value
having count(*) > 1 and count(*) < (select count(*) from runs)
order by count(*) over (partition by tag), tag, runs desc, value
limit $most
"""

DAYS = "select min(submitted_at)::date as first_day, max(submitted_at)::date as last_day from run_summary"


_OFFERED = "selection"


def offer() -> None:
    """Show the filters on every page, where there is anything to filter. `taken` hands over what they select."""
    with suppress(FlowscopeError):  # the page itself says what is wrong with the warehouse
        st.session_state[_OFFERED] = sidebar(current())


def taken(store: Store) -> Selection:
    """Return the runs that the filters of this run of the script select; a page that runs by itself shows them itself."""
    offered = st.session_state.pop(_OFFERED, None)
    return offered if isinstance(offered, Selection) else sidebar(store)


def sidebar(store: Store) -> Selection:
    """Show the filters and return the runs they select."""
    values = store.frame(VALUES)
    chosen: list[tuple[str, tuple[str | None, ...]]] = []
    with st.sidebar.expander("Filter runs", icon=":material/filter_alt:", expanded=_any_in_address()):
        _say_unknown(store)
        for column in COLUMNS:
            named = labels(values["value"][values["name"] == column].tolist(), 40)
            picked = st.multiselect(
                _NAMES[column], list(named), key=column, bind="query-params", placeholder="all of them"
            )
            if picked:
                chosen.append((column, tuple(_text(named[name]) for name in picked)))
        tags = _tags(store)
        days = _days(store)
    return Selection(tuple(chosen), tags, *days)


def _tags(store: Store) -> tuple[tuple[str, tuple[str, ...]], ...]:
    options = tag_options(store)
    if not options:
        return ()
    picked = st.multiselect("Tag", list(options), key="tag", bind="query-params", placeholder="any")
    found: dict[str, tuple[str, ...]] = {}
    for name in picked:
        tag, value = options[name]
        found[tag] = (*found.get(tag, ()), value)
    return tuple(found.items())


def tag_options(store: Store) -> dict[str, tuple[str, str]]:
    """Return the tag values that can be chosen, under names that can be read: 'taskdup = on'."""
    frame = store.frame(TAGS, most=MOST_TAGS)
    pairs = list(zip(frame["tag"].tolist(), frame["value"].tolist(), strict=True))
    named = labels([f"{label(tag, 30)} = {label(value, 30)}" for tag, value in pairs], 64)
    return dict(zip(named, pairs, strict=True))


def _days(store: Store) -> tuple[date | None, date | None]:
    known: dict[str, Any] = store.record(DAYS)
    if str(known["first_day"]) == "NaT":
        return None, None
    since = st.date_input("Submitted from (UTC)", value=None, key="since", bind="query-params", format="YYYY-MM-DD")
    until = st.date_input("Submitted until (UTC)", value=None, key="until", bind="query-params", format="YYYY-MM-DD")
    return since, until


def _any_in_address() -> bool:
    return any(name in st.query_params for name in (*COLUMNS, "tag", "since", "until"))


def _say_unknown(store: Store) -> None:
    """Say which values of the address this generation does not have: they are dropped, and the link shows other runs."""
    values = store.frame(VALUES)
    known = {column: set(labels(values["value"][values["name"] == column].tolist(), 40)) for column in COLUMNS}
    known["tag"] = set(tag_options(store))
    for name, there in known.items():
        for asked in st.query_params.get_all(name):
            if asked and asked not in there:
                st.warning(f"No run has this {name}, so it is not filtered by:")
                st.text(label(asked))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None

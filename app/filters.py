"""The filters of the sidebar: which runs the report is about. They are kept in the address, so a link shows the same runs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import date

import streamlit as st

from app import parts
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

TIMED = "select count(submitted_at) from run_summary"

_OFFERED = "selection"
_FIRST, _LAST = date(1970, 1, 1), date(2200, 1, 1)


def offer(*, apply: bool) -> None:
    """Show the filters on every page, where there is anything to filter. `taken` hands over what they select.

    They are shown where they do not apply too, and say so: what is not shown is lost from the address.
    """
    st.session_state.pop(_OFFERED, None)
    with suppress(FlowscopeError):  # the page itself says what is wrong with the warehouse
        st.session_state[_OFFERED] = sidebar(current())
        if not apply:
            st.sidebar.caption("Filters do not apply to this page: it shows the whole warehouse.")


def taken(store: Store) -> Selection:
    """Return the runs that the filters of this run of the script select; a page that runs by itself shows them itself."""
    offered = st.session_state.pop(_OFFERED, None)
    return offered if isinstance(offered, Selection) else sidebar(store)


def sidebar(store: Store) -> Selection:
    """Show the filters and return the runs they select. What they need is read before any of them is shown."""
    values, timed = store.frame(VALUES), bool(store.value(TIMED))
    named = {column: labels(values["value"][values["name"] == column].tolist(), 40) for column in COLUMNS}
    tags = tag_options(store)
    chosen: list[tuple[str, tuple[str | None, ...]]] = []
    with st.sidebar.expander("Filter runs", icon=":material/filter_alt:", expanded=_any_in_address()):
        for column in COLUMNS:
            parts.say_unknown(column, named[column])
            picked = st.multiselect(
                _NAMES[column], list(named[column]), key=column, bind="query-params", placeholder="all of them"
            )
            if picked:
                chosen.append((column, tuple(_text(named[column][name]) for name in picked)))
        found = _tags(tags)
        since, until = (_day("since"), _day("until")) if timed else (None, None)
    return Selection(tuple(chosen), found, since, until)


def _tags(options: Mapping[str, tuple[str, str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    parts.say_unknown("tag", options)
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


def _day(name: str) -> date | None:
    asked = st.query_params.get(name)
    picked = st.date_input(
        f"Submitted {'from' if name == 'since' else 'until'} (UTC)", value=None, min_value=_FIRST, max_value=_LAST, key=name,
        bind="query-params", format="YYYY-MM-DD",
    )  # fmt: skip
    if asked and picked is None:
        st.warning(f"The address asks for a day that is none ({name}), so it is left out:")
        st.text(label(asked))
    return picked


def _any_in_address() -> bool:
    return any(name in st.query_params for name in (*COLUMNS, "tag", "since", "until"))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None

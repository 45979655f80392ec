"""Findings on pages: computed once per generation and selection, shown the same everywhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import pandas as pd
import streamlit as st

from app import answers, parts
from app.filters import taken
from app.findings import QUESTIONS, find_or_say
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Finding, Question, Status
from app.findings.unplanned import EVALUATE, unplanned
from app.sections import TITLES
from app.store import Store
from app.units import count

Colour = Literal["green", "red", "orange", "blue", "gray"]

MARKS: dict[Status, tuple[str, Colour]] = {
    "holds": (":material/check_circle:", "green"),
    "does not hold": (":material/cancel:", "red"),
    "mixed": (":material/balance:", "orange"),
    "answered": (":material/lightbulb:", "blue"),
    "not enough data": (":material/hourglass_empty:", "gray"),
    "not applicable": (":material/do_not_disturb_on:", "gray"),
}
"""How a status looks: a mark and a colour, never one without the other."""

_ABOUT_PLANS = ("prediction_accuracy", "slas", "planners_and_cost", "predictors")
SHOWN_ROWS = 500
_UNTOLD = ("not enough data", "not applicable")
_KEPT = 400


def report_page(stem: str, intro: str, first: str = "") -> tuple[Store, Evidence]:
    """Show a page of the report: its title, which runs it is about, and its findings, `first` before the others."""
    st.title(TITLES[stem])
    store = parts.open_store_with_runs()
    parts.freshness(store)
    st.markdown(intro)
    own = which_runs(store)
    if stem in _ABOUT_PLANS:
        say_unplanned(own, stem)
    show(own, stem, first)
    return store, own


def say_unplanned(own: Evidence, page: str) -> None:
    """Say once which sources record no plans, and where predictions come from without them."""
    without = unplanned(Evidence(own.read, own.selection))
    if without.engines:
        hint = f" Predictions come from {EVALUATE}" if page != "planners_and_cost" else ""
        st.info(f"{without.sentence}{hint}", icon=":material/info:")


def selected(store: Store) -> Evidence:
    """Return the runs that the filters select, as findings read them. Without any, say so and end the page."""
    own = Evidence(lambda sql, parameters: store.frame(sql, **parameters), taken(store), key=store.key)
    if not _runs(own):
        parts.nothing("No run meets all filters. Hint: clear one of the filters in the sidebar.")
        st.caption(f"Filters: {own.selection.sentence()}.")
        st.stop()
    return own


def which_runs(store: Store) -> Evidence:
    """Return the runs that the filters select, and say in words which they are."""
    own = selected(store)
    runs = _runs(own)
    if own.selection.is_everything:
        st.caption(
            f"About {'the one run there is' if runs == 1 else f'all {runs:,} runs'}. Filters are in the sidebar, and in the address of this page."
        )
    else:
        everything = int(store.value("select count(*) from run_summary"))
        st.caption(f"About {runs:,} of {count(everything, 'run')}: {own.selection.sentence()}.")
    return own


def _runs(own: Evidence) -> int:
    """Count the runs, beside what the page says it computed."""
    return int(Evidence(own.read, own.selection).record("select count(*) as runs from selected_runs")["runs"])


def found(own: Evidence, question: Question) -> Finding:
    """Return the answer for the runs selected, computed at most once per generation and selection."""
    answer = _found(own.key, repr(own.selection), question.code, own, question)
    if answer.is_fault:  # perhaps for want of memory: the next one who asks tries again
        _found.clear(own.key, repr(own.selection), question.code, own, question)
    return answer


@st.cache_resource(max_entries=_KEPT, show_spinner=False)
def _found(
    key: str,  # noqa: ARG001
    selection: str,  # noqa: ARG001
    code: str,  # noqa: ARG001
    _evidence: Evidence,
    _question: Question,
) -> Finding:
    return find_or_say(_question, _evidence)


def show(own: Evidence, page: str, first: str = "") -> None:
    """Show the findings of a page: the answers first, each with its chart, how it was computed, and its data."""
    wanted = sorted(
        (question for question in QUESTIONS if question.page == page), key=lambda question: question.code != first
    )
    with st.spinner(f"Computing {count(len(wanted), 'answer')} …"):
        every = [found(own, question) for question in wanted]
    told = [finding for finding in every if finding.is_fault or finding.answer.status not in _UNTOLD]
    for place, finding in enumerate(told):
        if place:
            st.divider()
        show_one(finding)
    _untold(finding for finding in every if finding.answer.status in _UNTOLD and not finding.is_fault)


def overview(own: Evidence) -> None:
    """Show every answer of the report under the page it stands on; what cannot be answered yet comes last, folded."""
    bar = st.progress(0.0)
    every: list[Finding] = []
    for place, question in enumerate(QUESTIONS):
        bar.progress(place / len(QUESTIONS), f"Computing answers: {place} of {len(QUESTIONS)}")
        every.append(found(own, question))
    bar.empty()
    for finding in every:
        if finding.is_fault or finding.answer.status not in _UNTOLD:
            _line(finding)
    _untold(finding for finding in every if finding.answer.status in _UNTOLD and not finding.is_fault)


def _untold(findings: Iterable[Finding]) -> None:
    waiting = list(findings)
    if waiting:
        with st.expander(f"{count(len(waiting), 'question')} that this selection cannot answer, and why"):
            for finding in waiting:
                _line(finding)
                if finding.answer.would_change:
                    st.caption(f"It would take: {finding.answer.would_change}")


def _line(finding: Finding) -> None:
    question = finding.question
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            badge(finding.answer.status)
            st.page_link(
                f"pages/{question.page}.py", label=f"{question.code}, with its chart and data", width="content"
            )
        st.markdown(f"**{question.text}**")
        st.markdown(finding.answer.sentence)


def badge(status: Status) -> None:
    """Show a status with its mark and its colour."""
    icon, color = MARKS[status]
    st.badge(status, icon=icon, color=color)


def show_one(finding: Finding) -> None:
    """Show one finding."""
    answer, code = finding.answer, finding.code
    st.subheader(finding.question.text, anchor=code.lower())
    with st.container(horizontal=True, vertical_alignment="center"):
        badge(answer.status)
        st.caption(f"{code} · rests on {answers.rests_on(answer)}" if answer.n else code)
    if finding.is_fault:
        st.error(answer.sentence, icon=":material/error:")
        return
    st.markdown(answer.sentence)
    if answer.effect:
        st.caption(answers.effect(answer.effect))
    for figure in answer.figures:
        parts.chart(figure.drawn, figure.text, figure.name)
    if answer.left_out:
        st.caption(f"Left out: {answer.left_out}")
    with st.expander("What it rests on, and what would change it"):
        for line in _fine_print(answer, finding.question.minimum):
            st.markdown(line)
    if not answer.table.empty:
        with st.expander(f"The data: {count(len(answer.table), 'row')}"):
            parts.table(answer.table.head(SHOWN_ROWS), f"The data behind {code}", _formats(answer.table))
            if len(answer.table) > SHOWN_ROWS:
                st.caption(f"Shown: the first {SHOWN_ROWS:,} of {len(answer.table):,} rows. The files hold all.")
        parts.downloads(answer.table, code)
    if finding.statements:
        parts.how_statements(finding.statements)


def _fine_print(answer: Answer, minimum: str) -> list[str]:
    lines = [f"- {caveat}" for caveat in answer.caveats]
    if minimum:
        lines.append(f"- **The least it takes**: {minimum}")
    if answer.would_change:
        lines.append(f"- **What would change it**: {answer.would_change}")
    return lines


def _formats(frame: pd.DataFrame) -> dict[str, Any]:
    return {
        str(name): st.column_config.NumberColumn(format="%.3f")
        for name in frame.columns
        if pd.api.types.is_float_dtype(frame[name])
    }

"""Experiments: what was tried on purpose, and any two groups of runs compared like with like."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app import parts, showing
from app.findings.comparing import COLUMNS, Comparison, compare_groups, grouped
from app.findings.experiments import MINIMUM, forest
from app.findings.matching import METRICS, RUNS, tag_names
from app.findings.phrases import rests_on
from app.plain import label, labels
from app.units import count

MOST_GROUPS = 12
_NAMES = {"sla": "SLA", "memory_mb": "memory (MB)"}


def choices(runs: pd.DataFrame) -> dict[str, tuple[str, bool]]:
    """Return what runs can be grouped by: tags first, of those that two runs or more share."""
    useful = [
        tag for tag in tag_names(runs) if 2 <= grouped(runs, tag, is_tag=True).nunique() <= max(2, len(runs) // 3)
    ]
    columns = [name for name in COLUMNS if runs[name].nunique() >= 2]
    named = labels(useful, 40)
    return {f"tag {name}": (str(tag), True) for name, tag in named.items()} | {
        _NAMES.get(name, name): (name, False) for name in columns
    }


def compare(runs: pd.DataFrame) -> None:
    """Let two or more groups be chosen and show how they compare."""
    options = choices(runs)
    if not options:
        parts.nothing(
            "Nothing tells these runs apart: one planner, one SLA, one environment, no tags. "
            'Hint: flowscope tag experiment=one --where "SQL over run_summary".'
        )
        return
    metrics = {name: metric for metric, name in METRICS.items() if runs[metric].notna().any()}
    if not metrics:
        parts.nothing("None of these runs left a makespan, a cost or a duration to compare them by.")
        return
    parts.say_unknown("compare_by", options)
    row = st.columns([1.2, 1.2, 1.6, 1.2])
    by, is_tag = options[str(row[0].selectbox("Compare runs by", list(options), key="compare_by", bind="query-params"))]
    groups = grouped(runs, by, is_tag=is_tag)
    sizes = groups.value_counts()
    named = labels(sizes.index.tolist()[:MOST_GROUPS], 40)
    for name, offered in (("reference", named), ("others", named), ("by", metrics)):
        parts.say_unknown(name, offered)
    reference = named[str(row[1].selectbox("Reference", list(named), key="reference", bind="query-params"))]
    rest = {name: value for name, value in named.items() if value != reference}
    picked = row[2].multiselect(
        "Compared with it", list(rest), key="others", bind="query-params", placeholder="all others"
    )
    metric = metrics[str(row[3].selectbox("By", list(metrics), key="by", bind="query-params"))]
    if len(sizes) > MOST_GROUPS:
        st.caption(f"Offered: the {MOST_GROUPS} largest of {len(sizes):,} groups.")
    with st.spinner("Comparing …"):
        found = compare_groups(runs, groups, reference, [rest[name] for name in picked or rest], by, metric)
    for comparison in found:
        st.markdown(comparison.sentence)
    show(found, label(reference, 30), METRICS[metric])


def show(found: list[Comparison], reference: str, metric: str) -> None:
    """Show the chart of the metric chosen, every metric as a table, and what was held equal."""
    rows = pd.DataFrame([comparison.chosen.row(comparison.name) for comparison in found if comparison.chosen.ratio])
    for figure in forest(rows, f"{metric} / that of {reference} (ratio)", "experiment"):
        parts.chart(figure.drawn, figure.text, figure.name)
    for comparison in found:
        st.caption(
            f"{rests_on(comparison.matched)}; {count(comparison.matched.unmatched, 'run')} without a counterpart."
        )
    st.caption(
        f"It takes {MINIMUM} With several groups each interval is wider, so that all hold at once (Bonferroni). 'Would decide' "
        "means with 80 % power, at the spread seen here."
    )
    whole = pd.concat([comparison.rows.assign(group=comparison.name) for comparison in found], ignore_index=True)
    if len(whole):
        with st.expander(f"Every metric: {count(len(whole), 'row')}"):
            parts.table(whole, "Ratio of every metric to the reference, with its interval")
            parts.downloads(whole, "experiment")


_, evidence = showing.report_page(
    "experiments",
    "What was tried on purpose, and what came of it. Runs are compared like with like: in pairs where everything on record of their "
    "design is the same, else within workflow, structure, memory and environment.",
)
st.divider()
st.header("Compare any groups of runs", anchor="compare")
compare(evidence.frame(RUNS))
parts.how_statements(evidence.statements)

"""Every answer in one place; what is loaded, how fresh, from where, what was rejected and what is left out."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from app import charts, parts, queries, sentences, showing
from app.plain import label, plain
from app.units import age, count, figure

MOST_WORKFLOWS = 6

st.title("Summary")
store = parts.open_store_with_runs()
parts.freshness(store)

overview = store.record(queries.OVERVIEW)
info = store.record(queries.GENERATION)
sources = store.frame(queries.SOURCES)
published = info["published_at"].to_pydatetime().replace(tzinfo=UTC)

st.markdown(sentences.loaded(overview))
st.markdown(
    f"This is generation {info['generation']}, published {published:%Y-%m-%d %H:%M:%S} UTC "
    f"({age(datetime.now(UTC) - published)}) from {count(int(sources['objects'].sum()), 'object')} in "
    f"{count(len(sources), 'source')}, by flowscope {plain(info['flowscope_version'])}."
)
with st.container(horizontal=True, gap="medium"):
    for name, value in (
        ("Runs", overview["runs"]),
        ("Complete", overview["complete"]),
        ("With a plan", overview["plans"]),
        ("Tasks", overview["tasks"]),
        ("Workers", overview["workers"]),
        ("Workflows", overview["workflows"]),
        ("Planners", overview["planners"]),
        ("Environments", overview["environments"]),
    ):
        st.metric(name, f"{value:,}", width="content")

parts.table(
    store.frame(queries.BY_ENGINE),
    "What is loaded, by engine",
    {
        **{name: st.column_config.NumberColumn(format="localized") for name in ("runs", "tasks", "invocations")},
        **{
            name: st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm")
            for name in ("first_submitted_at", "last_submitted_at")
        },
    },
)

st.header("The answers")
evidence = showing.which_runs(store)
showing.overview(evidence)

st.header("What the runs took")
makespans = evidence.frame(queries.MAKESPAN_BY_PLANNER)
planners = store.frame(queries.PLANNERS)["planner"].tolist()
workflows = sorted(
    makespans.groupby("workflow", dropna=False, sort=False), key=lambda group: int(group[1]["n"].sum()), reverse=True
)
shown = workflows[:MOST_WORKFLOWS]
if not shown:
    parts.nothing(
        "No complete run has a makespan: the last task of each left no metrics, or no submission time is known."
    )
else:
    st.markdown(
        "Makespan per workflow and planner: the point is the median, the bar holds the middle half of its complete runs. "
        "Each bar mixes SLAs, environments and input sizes, so it shows what is there, not which planner is better."
    )
    for place in range(0, len(shown), 2):
        for column, number in zip(st.columns(2, gap="large"), range(place, min(place + 2, len(shown))), strict=False):
            workflow, rows = shown[number]
            fastest = rows.sort_values("median_s").iloc[0]
            with column:
                st.markdown(f"**Workflow** {plain(workflow, 40)}")
                parts.chart(
                    charts.makespans(rows, planners),
                    f"Makespan of workflow {label(workflow)} by planner, {int(rows['n'].sum())} complete runs. The lowest "
                    f"median is {label(fastest['planner'])} with {figure(fastest['median_s'])} s.",
                    f"makespan-{number + 1}",
                )
    if len(workflows) > len(shown):
        st.caption(
            f"Drawn: the {len(shown)} workflows with most complete runs, of {len(workflows):,}. The files hold all."
        )
    parts.downloads(makespans, "makespan-by-planner")
    parts.how_statements(evidence.statements)

st.header("Where it comes from")
rejects = store.frame(queries.REJECTS_BY_REASON)
st.markdown(sentences.refused(sources, rejects))
parts.table(
    sources,
    "Sources with their objects, rows and rejects",
    {
        "source": st.column_config.TextColumn(width="medium"),
        "rows": st.column_config.NumberColumn(format="localized"),
        "skipped": st.column_config.NumberColumn(format="localized", help="keys, lines or spans that are no metrics"),
        "rejected": st.column_config.NumberColumn(format="localized"),
        "last_read_at": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss"),
    },
)
if not rejects.empty:
    st.subheader("What was rejected, and why")
    parts.table(sentences.reject_reasons(rejects), "Rejects by reason")
    st.page_link("pages/data.py", label="Every reject, on the Data page", icon=":material/arrow_forward:")
failed = store.frame(queries.FAILED_FILES)
if not failed.empty:
    st.subheader("What could not be read")
    parts.table(failed, "Objects that failed, with the reason")

st.header("What is left out")
left = store.frame(queries.LEFT_OUT)
for sentence in sentences.left_out(left):
    st.markdown(sentence)
if overview["submitted_at_from_run_id"]:
    st.markdown(
        f"Of {count(overview['submitted_at_from_run_id'], 'run')} the submission time is the one in the run id, "
        "because the client left none: their makespan includes whatever lay between the two."
    )
with_gaps = left[(left["incomplete"] > 0) | (left["without_plan"] > 0) | (left["dag_unknown"] > 0)]
if not with_gaps.empty:
    parts.table(with_gaps, "Runs left out, per workflow and planner")
parts.how(queries.LEFT_OUT)

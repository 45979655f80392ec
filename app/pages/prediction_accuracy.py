"""How prediction accuracy moves as runs come in: the last 20 runs, per planner and SLA."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import charts, parts, queries, sentences, showing
from app.findings.evidence import Evidence
from app.findings.unplanned import asked, unplanned
from app.plain import labels

METRICS = ("makespan", "execution", "download", "upload", "input_bytes", "output_bytes", "startup", "starts")

store, evidence = showing.report_page(
    "prediction_accuracy",
    "How far predictions were from what happened, and whether they get better as history grows.",
)
st.divider()
st.header("Every metric, over time", anchor="over-time")
predicted = evidence.frame(queries.PREDICTED)
if predicted.empty:
    parts.nothing(
        "No run of this selection has a prediction that can be compared: "
        + (
            "its source records no plans, and nothing has been evaluated. Hint: flowscope evaluate."
            if unplanned(Evidence(evidence.read, evidence.selection)).is_all
            else "none has a plan with predictions, or none a submission time. A planner without history makes no plan."
        )
    )
    st.stop()

st.markdown(
    "A point is the median over the last 20 runs of a planner (of all, where none is named) at one SLA or percentile. Workflow, planner, SLA and the rest are chosen in the sidebar."
)
first = asked(Evidence(evidence.read, evidence.selection))
predictors = labels(sorted(dict.fromkeys(predicted["predictor"]), key=lambda name: name != first))
predictor = next(iter(predictors.values()))
if len(predictors) > 1:
    parts.say_unknown("predictor", predictors)
    predictor = predictors[st.selectbox("Predictor", list(predictors), key="predictor", bind="query-params")]
predicted = predicted[predicted["predictor"] == predictor]
metrics = [name for name in METRICS if name in set(predicted["metric"])]
metrics += sorted(set(predicted["metric"]) - set(metrics))
for name, offered in (("metric", metrics), ("measure", charts.MEASURES)):
    parts.say_unknown(name, offered)
row = st.columns([1.1, 0.8, 1.1, 1.1])
metric = row[0].selectbox("Metric", metrics, key="metric", bind="query-params")
levels = [
    name for name in ("run", "task", "invocation") if name in set(predicted[predicted["metric"] == metric]["level"])
]
level = row[1].selectbox("Level", levels, key="level", bind="query-params")
measure = charts.MEASURES[row[2].selectbox("Measure", list(charts.MEASURES), key="measure", bind="query-params")]
window = row[3].selectbox("Over", ["last 20 runs", "all runs so far"], key="over", bind="query-params")

parameters: dict[str, Any] = {"predictor": str(predictor), "level": level, "metric": metric}
frame = evidence.frame(queries.ACCURACY, **parameters)
if frame.empty:
    parts.nothing(f"No prediction of {metric} at {level} level in this selection. Hint: choose another metric.")
    st.stop()

pooled = evidence.record("select count(distinct workflow) as workflows from selected_runs")["workflows"] > 1
without = evidence.record(queries.NO_ERROR, **parameters)
planners = store.frame(queries.PLANNERS)["planner"].tolist()
slas = sorted(set(frame["sla"]), key=lambda name: (name != "average", len(name), name))
st.markdown(sentences.best(frame, measure, metric, level))
st.markdown(sentences.without_error(without))
if metric == "download":
    st.warning(sentences.DOWNLOAD_CAVEAT, icon=":material/info:")

column = measure.rolling if window.startswith("last") else measure.expanding
drawn, thinning = charts.thinned(frame)
parts.chart(
    charts.accuracy(drawn, measure, column, planners, slas),
    f"Lines of the {measure.name} of predicted {metric} over the {window}: one line per planner and SLA, "
    f"{frame.groupby(['planner', 'sla']).ngroups} in all, against the number of the run. The table below holds the values.",
    f"accuracy-{metric}-{level}",
)
for note in (thinning, charts.beyond(frame, column) if measure.name == "relative error" else None):
    if note:
        st.caption(note)
st.caption(
    f"{measure.name.capitalize()}: {measure.meaning}. {sentences.LEVELS[level]}"
    f"{' ' + sentences.POOLING_CAVEAT if pooled else ''} A click on a planner in the legend lifts its lines out."
)

st.caption(
    "Runs are numbered per planner and SLA in order of submission. Rolling figures rest on the last 20 runs, expanding ones on all "
    "runs so far. The first lines of a chart rest on few runs: `rolling_n` counts the values behind each point."
)
parts.how_statements(evidence.statements)
with st.expander(f"The data: {len(frame):,} rows"):
    parts.table(
        frame,
        "Prediction accuracy per run",
        {
            name: st.column_config.NumberColumn(format="%.3f")
            for name in frame.columns
            if "error" in name or "ratio" in name or "coverage" in name
        },
    )
parts.downloads(frame, f"accuracy-{metric}-{level}")

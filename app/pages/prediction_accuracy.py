"""How prediction accuracy moves as runs come in: the last 20 runs, per planner and SLA."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import charts, parts, queries, sentences
from app.plain import label, labels

ALL = "All workflows"
METRICS = ("makespan", "execution", "download", "upload", "input_bytes", "output_bytes", "startup", "starts")

st.title("Prediction accuracy")
store = parts.open_store_with_runs()
parts.freshness(store)
predicted = store.frame(queries.PREDICTED)
if predicted.empty:
    parts.nothing(
        "No run has a prediction that can be compared: none has a plan with predictions, or none a submission time. "
        "A planner without history makes no plan."
    )
    st.stop()

st.markdown(
    "How far the plans were from what happened. A point is the median over a planner's last 20 runs at one SLA; "
    "the line shows whether predictions get better as history grows."
)
metrics = [name for name in METRICS if name in set(predicted["metric"])]
metrics += sorted(set(predicted["metric"]) - set(metrics))
predictors = list(dict.fromkeys(predicted["predictor"]))
row = st.columns([1.1, 1.1, 0.8, 1.1, 1.1])
metric = row[0].selectbox("Metric", metrics, key="metric", bind="query-params")
named_workflows = labels(store.frame(queries.WORKFLOWS)["workflow"].tolist(), 40)
chosen = row[1].selectbox("Workflow", [ALL, *named_workflows], key="workflow", bind="query-params")
levels = [
    name for name in ("run", "task", "invocation") if name in set(predicted[predicted["metric"] == metric]["level"])
]
level = row[2].selectbox("Level", levels, key="level", bind="query-params")
measure = charts.MEASURES[row[3].selectbox("Measure", list(charts.MEASURES), key="measure", bind="query-params")]
window = row[4].selectbox("Over", ["last 20 runs", "all runs so far"], key="over", bind="query-params")
predictor = predictors[0]
if len(predictors) > 1:
    predictor = str(
        labels(predictors)[st.selectbox("Predictor", list(labels(predictors)), key="predictor", bind="query-params")]
    )

pooled = chosen == ALL
parameters: dict[str, Any] = {"predictor": predictor, "level": level, "metric": metric}
workflow = None if pooled else named_workflows[chosen]
sql = queries.ACCURACY_OF_ALL if pooled else queries.ACCURACY_OF_ONE
selection = parameters if pooled else {**parameters, "workflow": workflow}
everything = store.frame(sql, **selection)
if everything.empty:
    parts.nothing(
        f"No prediction of {metric} at {level} level for {label(chosen)}. Hint: choose another metric or workflow."
    )
    st.stop()

planners = store.frame(queries.PLANNERS)["planner"].tolist()
present = sorted(set(everything["planner"]))
slas = sorted(set(everything["sla"]), key=lambda name: (name != "average", len(name), name))
named_planners, named_slas = labels(present, 40), labels(slas, 20)
filters = st.columns([2, 1])
chosen_planners = filters[0].multiselect(
    "Planners", list(named_planners), default=None, key="planners", bind="query-params", placeholder="all of them"
)
chosen_slas = filters[1].multiselect(
    "SLAs", list(named_slas), default=None, key="slas", bind="query-params", placeholder="all of them"
)
frame = everything
if chosen_planners:
    frame = frame[frame["planner"].isin([named_planners[name] for name in chosen_planners])]
if chosen_slas:
    frame = frame[frame["sla"].isin([named_slas[name] for name in chosen_slas])]
if frame.empty:
    parts.nothing("No run has this planner together with this SLA. Hint: clear one of the two filters.")
    st.stop()

st.markdown(sentences.best(frame, measure, metric, level))
st.markdown(sentences.without_error(store.record(queries.NO_ERROR, **parameters, pooled=pooled, workflow=workflow)))
if metric == "download":
    st.warning(sentences.DOWNLOAD_CAVEAT, icon=":material/info:")

column = measure.rolling if window.startswith("last") else measure.expanding
drawn, thinning = charts.thinned(frame)
parts.chart(
    charts.accuracy(drawn, measure, column, planners, slas),
    f"Lines of the {measure.name} of predicted {metric} over the {window}, for {label(chosen)}: one line per planner and SLA, "
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

parts.how(
    sql,
    selection,
    "Runs are numbered per planner and SLA in order of submission. Rolling figures rest on the last 20 runs, expanding ones on all "
    "runs so far: medians of the relative error and of ln(predicted / observed), and the share covered. The first lines of a "
    "chart rest on few runs: `rolling_n` counts the values behind each point.",
)
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

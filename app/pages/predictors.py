"""Predictors beside the engine's plans: which is best, where it fails, what it learnt; train and evaluate again."""

from __future__ import annotations

import streamlit as st

from app import model_cards, parts, predicting, showing
from app.charts.predictors import importances
from app.findings import QUESTIONS
from app.findings.evidence import Evidence
from app.plain import label
from app.predictor_queries import EVALUATED, PREDICTED
from app.retraining import retrain
from app.store import Store, home
from predictors.registry import Version, versions

MOST_FEATURES = 15
_ROW = 35

_SHOWN = (
    "which predictor is best for each thing that is predicted, how errors move as history grows, how often percentiles are kept, errors by "
    "size and memory, and where the best predictor still fails"
)


def evaluation(store: Store, evidence: Evidence) -> None:
    """Show what was predicted of the runs selected, or what to do where nothing was."""
    stored = store.record(EVALUATED)
    if not stored["predictions"] and not stored["scores"]:
        parts.nothing(f"Nothing evaluated yet. Hint: flowscope evaluate. Then this page shows {_SHOWN}.")
        return
    predicted = evidence.frame(PREDICTED)
    if predicted.empty:
        parts.nothing(
            "Nothing was predicted of these runs but what the engine planned. Hint: choose other runs, or evaluate again."
        )
        return
    question = next(question for question in QUESTIONS if question.code == "F15")
    board = showing.found(evidence, question).answer.table
    chosen = predicting.choose(predicted, board)
    predicting.leaderboard(store, chosen, board)
    if not chosen.target.is_chance:
        predicting.over_time(evidence, chosen)
        predicting.coverage(evidence, chosen)
        predicting.by_size_and_memory(evidence, chosen)
    predicting.failures(evidence, chosen)
    parts.how_statements(evidence.statements)


def models(saved: list[Version]) -> None:
    """Show what a saved model learnt, and its card."""
    st.header("What the models learnt", anchor="learnt")
    if not saved:
        parts.nothing(
            "No model has been trained yet. Hint: flowscope train. Then this shows what each model rests on, and what it was trained with."
        )
        return
    named = {_name(version): version for version in reversed(saved)}
    parts.say_unknown("version", named)
    first = next((place for place, version in enumerate(named.values()) if version.is_current), 0)
    row = st.columns([1, 1, 1])
    version = named[str(row[0].selectbox("Model", list(named), index=first, key="version", bind="query-params"))]
    if version.card is None:
        parts.nothing(f"The card of model {version.number} cannot be read. Hint: flowscope train makes another.")
        return
    learnt = model_cards.importances(version.card)
    if learnt:
        parts.say_unknown("learnt", learnt)
        name = str(row[1].selectbox("Learnt for", list(learnt), key="learnt", bind="query-params"))
        frame = learnt[name]
        st.markdown(model_cards.learned(name, frame, MOST_FEATURES))
        parts.chart(
            importances(frame.head(MOST_FEATURES)),
            f"By how much the error of {name} rises when a feature is shuffled: "
            + "; ".join(
                f"{label(feature, 40)} {100 * float(increase):.1f} %"
                for feature, increase in frame.head(MOST_FEATURES).to_numpy().tolist()
            ),
            "importance",
        )  # fmt: skip
        st.caption(
            "Features that say the same share what they bring: shuffling one alone leaves the other, so both look small."
        )
        parts.downloads(frame, "importance")
    else:
        st.caption("This card does not say what its models rest on.")
    st.subheader("Its card", anchor="card")
    card(version)


def card(version: Version) -> None:
    """Show a model's card: what it is, its targets, and all of it as JSON."""
    facts = model_cards.facts(version.card or {})
    parts.table(
        facts,
        f"What the card of model {version.number} says",
        {"what": st.column_config.TextColumn(width="medium"), "value": st.column_config.TextColumn(width="large")},
        height=_ROW * (len(facts) + 1) + 2,
    )
    found = model_cards.targets(version.card or {})
    if not found.empty:
        parts.table(
            found,
            f"What model {version.number} predicts",
            {
                name: st.column_config.NumberColumn(format="percent")
                for name in found.columns
                if name.startswith(("median", "coverage"))
            }
            | {"rows": st.column_config.NumberColumn(format="localized")},
        )
        st.caption(
            "Errors and coverage are those of the coarse replay that a model is calibrated with; the leaderboard has the careful ones."
        )


def _name(version: Version) -> str:
    made = "" if version.card is None else f", made {label(str(version.card.get('created_at'))[:16].replace('T', ' '))}"
    return f"{version.number}{' (in use)' if version.is_current else ''}{made}"


store, evidence = showing.report_page(
    "predictors",
    "Predictors beside the engine's own plans, each judged on runs it had not seen: every run is predicted from earlier ones alone.",
)
st.divider()
st.header("Leaderboard", anchor="leaderboard")
evaluation(store, evidence)
saved = versions(home())
models(saved)
st.header("Train and evaluate", anchor="train")
retrain(home(), has_model=bool(saved))

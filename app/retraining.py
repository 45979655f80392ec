"""The buttons of the Predictors page that train and evaluate, and what the command says while it runs."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from app.training import Busy, Desk, Job, desk
from app.units import duration
from warehouse.home import Home

_SHOWN_LINES = 12
_EVERY_SECONDS = 1.0
_WHAT = {"train": "Train", "evaluate": "Evaluate"}


def retrain(home: Home, *, has_model: bool) -> None:
    """Offer to train and to evaluate; while a command runs, show what it says instead."""
    st.markdown(
        "Training fits every model on all runs of the warehouse and saves a new version with its card. Evaluating predicts every run from earlier "
        "ones by every predictor, and publishes a generation with the predictions and their scores: it takes minutes. Both run in a "
        "process of their own; what is published stays as it is until they are done."
    )
    at = desk(str(home.root))
    running = at.job is not None and at.job.code is None
    with st.container(horizontal=True):
        for name, what in _WHAT.items():
            st.button(
                what, key=f"start-{name}", disabled=running, on_click=_starter(at, name), icon=":material/play_arrow:",
                type="primary" if name == _next(at.job, has_model=has_model) else "secondary", help=f"flowscope {name}",
            )  # fmt: skip
    if refused := st.session_state.pop("refused", None):
        st.warning(refused)
    if at.job:
        st.fragment(_said, run_every=_EVERY_SECONDS if running else None)(at.job, was_running=running)


def _next(job: Job | None, *, has_model: bool) -> str:
    """Return what to do next: train, and after that evaluate."""
    trained = job is not None and job.name == "train" and job.code == 0
    return "evaluate" if trained else "train" if not has_model else ""


def _starter(at: Desk, name: str) -> Callable[[], None]:
    def start() -> None:
        try:
            at.start(name)
        except Busy as error:
            st.session_state["refused"] = str(error)

    return start


def _said(job: Job, *, was_running: bool) -> None:
    """Show the last lines that a command said, and how it ended. The whole page is drawn anew when it has."""
    code = job.code
    if was_running and code is not None:
        st.rerun()
    took = duration(1000 * job.seconds)
    if code is None:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f":material/progress_activity: `flowscope {job.name}` has been running for {took}.")
            st.button("Stop", key="stop", on_click=job.stop, icon=":material/stop:")
    elif code == 0:
        hint = " Hint: evaluate, to know how good it is." if job.name == "train" else ""
        st.success(f"flowscope {job.name} finished after {took}.{hint}")
    elif job.is_stopped:
        st.info(f"flowscope {job.name} was stopped after {took}. What was there before is untouched.")
    else:
        st.error(f"flowscope {job.name} ended with an error (exit code {code}) after {took}. What was there before is untouched.")  # fmt: skip
    if job.lines:
        st.code("\n".join(list(job.lines)[-_SHOWN_LINES:]), language=None, wrap_lines=True)


__all__ = ["retrain"]

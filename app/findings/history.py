"""How much history predictions need: the smallest that is within 5 % of all of it, in runs, rows and bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from app.charts.predictors import history_kept
from app.findings.evidence import Evidence
from app.findings.finding import Answer, Effect, Figure, Question, not_enough
from app.plain import label, plain
from app.predicted import called, knows_more, target
from app.units import count, percent, size

CLOSE = 1.05
"""An error of at most so much of that with all history is as good."""

HINT = (
    "flowscope evaluate --history: it predicts again with the last runs alone, and with a few samples of each function."
)

_POLICIES = {"last_runs": "the last runs", "reservoir": "a reservoir of samples per function"}
_MOST_NAMED = 3

BUDGETS = """
-- How good predictions were with less history, for every predictor, thing predicted and policy, from the smallest to all of it.
-- Evaluated over all runs, whatever is selected.
select
    predictor, policy, kept, level, metric, runs_kept, rows_kept, bytes_kept, n, median_relative_error, coverage_90,
    coalesce(
        relative_to_all,
        median_relative_error
        / nullif(max(median_relative_error) filter (where policy = 'all') over (partition by predictor, level, metric), 0)
    ) as relative_to_all
from history_budgets
where exists (select 1 from selected_runs)
order by predictor, level, metric, policy, kept nulls last
"""


def smallest(budgets: pd.DataFrame) -> pd.DataFrame:
    """Return a row per thing predicted and policy: the smallest history from which on more of it gains less than 5 %.

    Of the predictors that were tried, the one that is best with all history. A history that happens to do well while
    a larger one does not is not enough. `budgets`: what `BUDGETS` returns.
    """
    found: list[dict[str, Any]] = []
    for (level, metric), rows in budgets.groupby(["level", "metric"], sort=False):
        whole = _whole_of_best(rows)
        if whole is None:
            continue
        own = rows[(rows["predictor"] == whole["predictor"]) & (rows["policy"] != "all")]
        one = target(str(level), str(metric))
        for policy, tried in own.groupby("policy", sort=True):
            found.append(
                {
                    "target": one.name if one else f"{label(metric, 30)} ({label(level, 12)})",
                    "level": level, "metric": metric, "predictor": whole["predictor"], "policy": policy,
                    **_enough(tried.sort_values("kept"), whole),
                    "error_with_all": float(whole["median_relative_error"]), "n": int(whole["n"]),
                }
            )  # fmt: skip
    return pd.DataFrame(found)


def _whole_of_best(rows: pd.DataFrame) -> dict[str, Any] | None:
    """Return the row with all history of the predictor that is best with it, None where nobody was tried with all."""
    whole = rows[(rows["policy"] == "all") & rows["median_relative_error"].notna()]
    whole = whole[[not knows_more(name) for name in whole["predictor"]]]
    if whole.empty:
        return None
    return {str(name): value for name, value in whole.sort_values("median_relative_error").iloc[0].items()}


def _enough(tried: pd.DataFrame, whole: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept by the smallest history that, like all larger ones tried, is within 5 % of all; NULL where none is."""
    near = (tried["relative_to_all"].astype(float) <= CLOSE).tolist()
    first = len(near)
    while first and near[first - 1]:
        first -= 1
    row = tried.iloc[first] if first < len(near) else None
    kept = {name: None if row is None or pd.isna(row[name]) else float(row[name]) for name in ("kept", "runs_kept", "rows_kept", "bytes_kept", "relative_to_all")}  # fmt: skip
    of = {f"of_{name}": _share(kept[f"{name}_kept"], whole[f"{name}_kept"]) for name in ("runs", "rows", "bytes")}
    return {**kept, **of, "most_tried": float(tried["kept"].max())}


def _share(part: float | None, whole: Any) -> float | None:
    return None if part is None or pd.isna(whole) or not whole else part / float(whole)


def _f16(evidence: Evidence) -> Answer:
    budgets = evidence.frame(BUDGETS)
    table = smallest(budgets) if len(budgets) else pd.DataFrame()
    if table.empty:
        return not_enough(
            "How accuracy falls with less history is not known: predictors have not been evaluated with histories of several lengths.",
            HINT, n=int(budgets["n"].max()) if len(budgets) else 0, counted="predictions",
        )  # fmt: skip
    n = int(table.drop_duplicates("target")["n"].sum())
    return Answer(
        "answered" if table["kept"].notna().any() else "not enough data",
        _sentence(table),
        n,
        "predictions with all history",
        _effect(table),
        "",
        table,
        tuple(_figures(budgets, table)),
        (
            "Evaluated over all runs: filters do not change it.",
            f"Enough is the smallest history tried whose median error, and that of every larger one tried, is at most {CLOSE:.2f} times that "
            "with all history. Amounts between those tried may do too.",
            "Runs, rows and bytes are what the history held on average when a run was predicted; bytes are those of Parquet files.",
            "It is one history of runs: one whose workload changes needs less of the past, and one with more workflows more of it.",
        ),
        "Longer histories, more workflows at once, or a workload that changes: then old runs are worth less.",
    )


def _sentence(table: pd.DataFrame) -> str:
    parts = [
        said for policy in table["policy"].unique() for said in _policy(str(policy), table[table["policy"] == policy])
    ]
    return " ".join(parts)


def _policy(policy: str, rows: pd.DataFrame) -> Iterable[str]:
    """Say what one policy has to keep for all that is predicted, what needs most and what least."""
    known = rows[rows["kept"].notna()]
    open_ = rows[rows["kept"].isna()]
    if len(known):
        ordered = known.sort_values("kept", kind="stable")
        least, most = ({str(name): value for name, value in ordered.iloc[place].items()} for place in (0, -1))
        whose = "every error" if open_.empty else f"{len(known):,} of {len(rows):,} errors"
        text = (
            f"Keeping **{_kept(policy, most)}** leaves {whose} within 5 % of what all history gives ({_amount(most)})"
        )
        if least["kept"] != most["kept"]:
            text += f"; {most['target']} needs that much, {least['target']} only {_kept(policy, least)}"
        yield f"{text}."
    if len(open_):
        named = ", ".join(open_["target"].head(_MOST_NAMED))
        more = f" and {len(open_) - _MOST_NAMED:,} more" if len(open_) > _MOST_NAMED else ""
        yield f"For {named}{more} none that was tried is enough ({_called(policy)}, up to {open_['most_tried'].max():,.0f})."


def _called(policy: str) -> str:
    return _POLICIES.get(policy) or plain(policy, 30)


def _kept(policy: str, row: dict[str, Any]) -> str:
    kept = float(row["kept"])
    if policy == "last_runs":
        return f"the last {count(kept, 'run')}"
    if policy == "reservoir":
        return f"{count(kept, 'sample')} of each function"
    return f"{kept:,.0f} by {plain(policy, 30)}"


def _amount(row: dict[str, Any]) -> str:
    parts = [f"by {called(str(row['predictor']))}"]
    if pd.notna(row["rows_kept"]):
        parts.append(count(float(row["rows_kept"]), "row"))
    if pd.notna(row["bytes_kept"]):
        parts.append(size(float(row["bytes_kept"])))
    if pd.notna(row["of_rows"]):
        parts.append(f"{percent(float(row['of_rows']))} of all rows")
    return ", ".join(parts)


def _effect(table: pd.DataFrame) -> Effect | None:
    """Return the smallest share of the bytes that a policy has to keep for everything that is predicted."""
    column = "of_bytes" if table["of_bytes"].notna().any() else "of_rows"
    shares = {
        str(policy): float(rows[column].astype(float).max())
        for policy, rows in table.groupby("policy")
        if rows["kept"].notna().all() and rows[column].notna().all()
    }
    if not shares:
        return None
    policy = min(shares, key=shares.__getitem__)
    name = f"share of the history's {column.removeprefix('of_')} that is enough for all, keeping {_POLICIES.get(policy, label(policy, 30))}"
    return Effect(name, shares[policy], None, None, "share")


def _figures(budgets: pd.DataFrame, table: pd.DataFrame) -> Iterable[Figure]:
    column = "bytes_kept" if budgets["bytes_kept"].notna().any() else "rows_kept"
    axis = "History kept (bytes)" if column == "bytes_kept" else "History kept (rows)"
    best = table.drop_duplicates("target")[["target", "level", "metric", "predictor"]]
    drawn = budgets.merge(best, on=["level", "metric", "predictor"])
    drawn = drawn.assign(kept=drawn[column].astype(float)).dropna(subset=["kept", "relative_to_all"])
    for policy in table["policy"].unique():
        rows = drawn[drawn["policy"].isin([policy, "all"])].sort_values(["target", "kept"])
        if (rows["policy"] == policy).sum() < 2:
            continue
        enough = table[table["policy"] == policy]
        told = "; ".join(
            f"{row.target} {_kept(str(policy), row._asdict()) if pd.notna(row.kept) else 'more than was tried'}"
            for row in enough.itertuples()
        )
        name = str(policy) if policy in _POLICIES else "other"
        yield Figure(
            history_kept(rows, f"{axis}: {_POLICIES.get(str(policy), label(policy, 30))}", CLOSE),
            f"Error with less history as a multiple of that with all, keeping {_POLICIES.get(str(policy), label(policy, 30))}. Enough: {told}.",
            f"history-{name.replace('_', '-')}",
        )


QUESTIONS = (
    Question(
        "F16",
        "How much history does prediction need: accuracy against metrics kept, in runs and bytes?",
        "predictors",
        "an evaluation with all history and with several amounts of it",
        _f16,
    ),
)

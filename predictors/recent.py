"""What earlier runs of the same kind took: statistics of history as features, each as it stood when a run was submitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

_SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True)
class Recent:
    """An exponentially weighted mean, over earlier runs, of the run's median of a value among rows of one key.

    `by` are the columns of the key; after `half_life` runs of the key a run counts half.
    """

    name: str
    by: tuple[str, ...]
    value: str
    half_life: float


State = dict[str, list[float]]
"""By key: the mean after the last run, and how many runs of the key there were."""


def texts(column: pd.Series) -> npt.NDArray[np.object_]:
    """Return a column as texts, '' where it is missing."""
    return column.astype("str").fillna("").to_numpy(dtype=object)


def keys_of(rows: pd.DataFrame, by: Sequence[str]) -> pd.Series:
    """Return each row's key as one text."""
    texts = [rows[column].astype("str").fillna("") for column in by]
    key = texts[0]
    for text in texts[1:]:
        key = key + _SEPARATOR + text
    return key


def as_of_submission(
    rows: pd.DataFrame, values: pd.Series, recent: Recent, runs: pd.DataFrame, asked: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return, for each row `asked` (else of `rows`), the mean (NaN: none) and the number of runs known at its submission.

    Rows have the position of their run in `run`; `runs` is in that order, with submitted_at and known_at. A run counts from
    its known_at on, so no row sees its own run, nor one that was still going.
    """
    asked = rows if asked is None else asked
    codes, _ = pd.factorize(pd.concat([keys_of(rows, recent.by), keys_of(asked, recent.by)], ignore_index=True))
    learned = pd.DataFrame({"key": codes[: len(rows)], "run": rows["run"].to_numpy(), "value": values.to_numpy()})
    at = runs["submitted_at"].to_numpy()[asked["run"].to_numpy()]
    questions = pd.DataFrame({"key": codes[len(rows) :], "at": at, "row": np.arange(len(asked))})
    found = pd.merge_asof(
        questions.sort_values("at", kind="stable"), _means(learned, recent, runs), on="at", by="key"
    ).sort_values("row")
    return pd.DataFrame(
        {recent.name: found["mean"].to_numpy(), f"{recent.name}_runs": found["count"].fillna(0).to_numpy()}
    )


def at_the_end(rows: pd.DataFrame, values: pd.Series, recent: Recent, runs: pd.DataFrame) -> State:
    """Return, by key, the mean and the number of runs when all of them are known."""
    codes, names = pd.factorize(keys_of(rows, recent.by))
    after = _means(pd.DataFrame({"key": codes, "run": rows["run"], "value": values.to_numpy()}), recent, runs)
    last = after.drop_duplicates("key", keep="last")
    return {
        str(names[key]): [float(mean), float(count)]
        for key, mean, count in zip(last["key"], last["mean"], last["count"], strict=True)
    }


def looked_up(rows: pd.DataFrame, recent: Recent, state: State) -> pd.DataFrame:
    """Return, for each row, what `state` says of its key."""
    keys = keys_of(rows, recent.by)
    codes, names = pd.factorize(keys)
    known = np.array([state.get(str(name), [np.nan, 0.0]) for name in names]).reshape(-1, 2)[codes]
    return pd.DataFrame({recent.name: known[:, 0], f"{recent.name}_runs": known[:, 1]})


def _means(rows: pd.DataFrame, recent: Recent, runs: pd.DataFrame) -> pd.DataFrame:
    """Return key, at, mean and count after each run of a key, in order of time."""
    of_run: pd.DataFrame = rows.dropna().groupby(["key", "run"])[["value"]].median().reset_index()
    of_run["at"] = runs["known_at"].to_numpy()[of_run["run"].to_numpy(dtype=int)]
    of_run = of_run.sort_values(["at", "run"], kind="stable", ignore_index=True)
    weighted = of_run.groupby("key")["value"].ewm(halflife=recent.half_life).mean()
    of_run["mean"] = weighted.droplevel(0).sort_index()
    of_run["count"] = of_run.groupby("key").cumcount() + 1.0
    return of_run.loc[:, ["key", "at", "mean", "count"]]

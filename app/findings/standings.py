"""How planners stand beside each other over many workflows: ratios fitted within equal structure and environment."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from app.findings.statistics import MINIMUM_RUNS, Interval, Values, exp_or_inf

CASE = ["workflow", "structure_hash", "environment"]
"""What a case is: planners are only ever compared within one."""

_DETERMINED = 0.999


@dataclass(frozen=True, slots=True)
class Standings:
    """The effects of planners on the logarithm of a metric in each workflow, with their covariance.

    `effects`: planner, workflow (a number, as `workflow_ids` has it), effect, n; one row per planner that can be compared
    there. `free`: degrees of freedom left.
    """

    effects: pd.DataFrame
    covariance: Values
    free: int

    def ratios(self) -> pd.Series[float]:
        """Return each effect as a ratio to the best planner's in its workflow, on the index of `effects`."""
        best = self.effects.groupby("workflow")["effect"].transform("min")
        return (self.effects["effect"] - best).map(exp_or_inf).round(12)

    def overall(self, planners: list[str], workflows: list[int]) -> dict[str, float]:
        """Return each planner's geometric mean over these workflows, as a ratio to the best."""
        means = self._of(planners, workflows).groupby("planner")["effect"].mean()
        return {str(name): round(exp_or_inf(value - means.min()), 12) for name, value in means.items()}

    def runs(self, planners: list[str], workflows: list[int]) -> int:
        """Return how many runs of these planners are compared in these workflows."""
        return int(self._of(planners, workflows)["n"].sum())

    def beside(self, reference: str, other: str, workflows: list[int], level: float) -> Interval | None:
        """Return the geometric mean over workflows of the ratio other / reference, None with too few runs of either."""
        mine = self.effects["workflow"].isin(workflows)
        sides = [(mine & self.effects["planner"].eq(name)).to_numpy(bool) for name in (reference, other)]
        runs = [int(self.effects.loc[side, "n"].sum()) for side in sides]
        if min(runs) < MINIMUM_RUNS or self.free < MINIMUM_RUNS:
            return None
        contrast = sides[1] / sides[1].sum() - sides[0] / sides[0].sum()
        value = float(contrast @ self.effects["effect"].to_numpy(float))
        error = sqrt(max(0.0, float(contrast @ self.covariance @ contrast)))
        reach = float(stats.t.ppf((1 + level) / 2, self.free)) * error
        return Interval(exp_or_inf(value), exp_or_inf(value - reach), exp_or_inf(value + reach), sum(runs))

    def _of(self, planners: list[str], workflows: list[int]) -> pd.DataFrame:
        return self.effects[self.effects["planner"].isin(planners) & self.effects["workflow"].isin(workflows)]


def workflow_ids(runs: pd.DataFrame) -> pd.Series[int]:
    """Return a number for each run's workflow, a workflow without a name being one as well."""
    return runs.groupby("workflow", dropna=False).ngroup()


def fitted(runs: pd.DataFrame, metric: str) -> Standings | None:
    """Fit log(metric) = case + planner within workflow over complete runs of one engine, by least squares.

    What a case takes, and what a planner does to it, multiply. Where every planner ran equally often in every case this gives the
    ratios of geometric means; where not, a planner that only ran in small cases gains nothing by it (the two-way layout
    without interaction: Searle, Linear Models, 1971, ch. 7). Planners that no chain of common cases connects to those
    with most runs of a workflow have no effect there. Errors allow for planners that scatter differently (HC3:
    MacKinnon and White, J. Econometrics 29, 1985, doi.org/10.1016/0304-4076(85)90158-7).
    None where nothing can be compared.
    """
    cells = _cells(runs, metric)
    if cells.empty:
        return None
    effects = cells.groupby(["workflow", "planner"])["n"].sum().reset_index()
    effects = effects[effects.groupby("workflow")["planner"].transform("size") > 1].reset_index(drop=True)
    if effects.empty:
        return None
    cells = cells[cells["workflow"].isin(effects["workflow"])]
    _, case = np.unique(cells["case"].to_numpy(), return_inverse=True)
    place = {key: number for number, key in enumerate(zip(effects["workflow"], effects["planner"], strict=True))}
    column = [place[key] for key in zip(cells["workflow"], cells["planner"], strict=True)]
    design = np.zeros((len(cells), len(effects) + int(case.max()) + 1))
    design[np.arange(len(cells)), column] = 1
    design[np.arange(len(cells)), len(effects) + case] = 1
    n, mean, squares = (cells[name].to_numpy(float) for name in ("n", "mean", "squares"))
    inverse = np.linalg.pinv(design.T @ (design * n[:, None]), hermitian=True)
    coefficients = inverse @ design.T @ (n * mean)
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
    free = round(float(n.sum() - (n * leverage).sum()))
    residual = squares + n * (mean - design @ coefficients) ** 2
    pooled = float(residual.sum()) / max(1, free)
    determined = leverage > _DETERMINED
    spread = np.where(determined, n * pooled, residual / np.where(determined, 1, 1 - leverage) ** 2)
    covariance = inverse @ (design.T @ (design * spread[:, None])) @ inverse
    own = slice(0, len(effects))
    return Standings(effects.assign(effect=coefficients[own]), covariance[own, own], free)


def common(standings: Standings) -> tuple[list[str], list[int]]:
    """Return planners and the workflows in which all of them ran: the choice that has most runs in it."""
    runs = standings.effects
    ran = {
        number: frozenset(runs.loc[runs["workflow"] == number, "planner"])
        for number in runs["workflow"].unique().tolist()
    }
    best: tuple[int, list[str], list[int]] = (0, [], [])
    for planners in sorted(set(ran.values()), key=lambda names: (-len(names), sorted(names))):
        workflows = [workflow for workflow, names in ran.items() if planners <= names]
        size = standings.runs(sorted(planners), workflows)
        if size > best[0]:
            best = (size, sorted(planners), workflows)
    return best[1], best[2]


def _cells(runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return n, mean and sum of squares of the logarithm per case and planner, of connected planners alone.

    A case of one planner compares nothing and is left out.
    """
    value = pd.to_numeric(runs[metric]).astype(float)
    known = runs.assign(workflow=workflow_ids(runs), value=value)[(value > 0) & np.isfinite(value)]
    if known.empty:
        return pd.DataFrame(columns=["workflow", "case", "planner", "n", "mean", "squares"])
    known = known.assign(case=known.groupby(CASE, dropna=False).ngroup(), value=np.log(known["value"]))
    grouped = known.groupby(["workflow", "case", "planner"])["value"]
    cells = grouped.agg(n="size", mean="mean", spread="var").reset_index()
    cells["squares"] = cells["spread"].fillna(0) * (cells["n"] - 1)
    cells = cells[cells.groupby("case")["planner"].transform("size") > 1]
    if cells.empty:
        return cells
    return pd.concat([_connected(rows) for _, rows in cells.groupby("workflow")], ignore_index=True)


def _connected(cells: pd.DataFrame) -> pd.DataFrame:
    planner, case = (np.unique(cells[name].to_numpy(object), return_inverse=True)[1] for name in ("planner", "case"))
    size = int(planner.max() + case.max()) + 2
    links = coo_array((np.ones(len(cells)), (planner, planner.max() + 1 + case)), shape=(size, size))
    part = pd.Series(connected_components(links, directed=False)[1][planner], index=cells.index)
    runs: pd.Series[Any] = cells["n"].groupby(part).sum()
    return cells[part == runs.idxmax()]

"""Runs that lack their counterpart: the cheapest runs to make, for one run completes a pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from app.findings.candidates import Candidate
from app.findings.matching import tag_values
from app.plain import plain

_NAMES = {"sla": "SLA", "memory_mb": "memory (MB)"}
_MOST_SAID = 6


@dataclass(frozen=True, slots=True)
class HalfPairs:
    """Complete runs without a complete counterpart, one of each design, in order of submission.

    `runs`: of the candidate; `missing`: the group ('reference' or 'other', as it is called) that each lacks.
    """

    runs: pd.DataFrame
    missing: pd.Series[str]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.runs)


def half_pairs(candidate: Candidate) -> HalfPairs:
    """Return the complete runs of paired groups whose counterpart was not run, or was lost."""
    runs, blocks = candidate.runs, candidate.matched.blocks
    complete = runs["is_complete"].eq(True)
    of_block = blocks["block"].reindex(runs.index)
    side = candidate.is_other
    sides = side[complete].groupby(of_block[complete]).nunique()
    is_done = of_block.map(sides).eq(2)
    half = runs[complete & ~is_done].sort_values(["submitted_at", "run_id"])
    design = pd.DataFrame(
        {name: _column(half, name) for name in candidate.matched.held_equal} | {"side": side[half.index]}
    )
    half = half[~design.astype(object).where(design.notna(), "").astype(str).duplicated()]
    missing = side[half.index].map({True: candidate.reference, False: candidate.other})
    return HalfPairs(half, missing)


def described(run: pd.DataFrame, candidate: Candidate, missing: str) -> str:
    """Return in Markdown which run to make: the design that it shares with its counterpart, and the group it lacks.

    The workflow, then what has most values, a seed or a scale; what all complete runs have in common is not said.
    `run`: a row of `HalfPairs.runs`, as a frame.
    """
    complete = candidate.runs[candidate.runs["is_complete"].eq(True)]
    several = {
        name: _column(complete, name).nunique() for name in candidate.matched.held_equal if name != "structure_hash"
    }
    names = sorted(several, key=lambda name: (name != "workflow", -several[name], name))
    values = [(name, _column(run, name).iloc[0]) for name in names if several[name] > 1 or name == "workflow"]
    said = [
        f"{plain(name.removeprefix('tag '), 30) if name.startswith('tag ') else _NAMES.get(name, name)} {plain(value, 30)}"
        for name, value in values
        if not pd.isna(value)
    ]
    return f"{', '.join(said[:_MOST_SAID])}, with {by(candidate)} {plain(missing, 30)}"


def by(candidate: Candidate) -> str:
    """Return in Markdown what tells the groups apart."""
    if candidate.by.startswith("tag "):
        return plain(candidate.by.removeprefix("tag "), 30)
    return _NAMES.get(candidate.by, candidate.by)


def _column(runs: pd.DataFrame, name: str) -> pd.Series[Any]:
    return tag_values(runs, name.removeprefix("tag ")) if name.startswith("tag ") else runs[name]

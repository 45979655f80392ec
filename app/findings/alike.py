"""Lay two groups of runs beside each other where some of their design must be equal, come what may."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from app.findings.matching import Matched, match, unnamed

_BETWEEN = "\x1f"


def lay_beside(
    runs: pd.DataFrame,
    groups: pd.Series[Any],
    reference: Hashable,
    other: Hashable,
    by: str,
    *,
    always: Sequence[str],
) -> Matched:
    """Match runs as `match` does, but never across different values of `always`.

    `match` holds a planner or an environment equal where few runs are lost by it. A question about environments must not
    set one planner against another however many runs that costs, nor one structure of a workflow against another.
    `always` begins with 'workflow'.
    """
    design = runs[list(always)].astype(object).where(runs[list(always)].notna(), None)
    keys = [_BETWEEN.join(map(repr, row)) for row in design.itertuples(index=False, name=None)]
    joined = pd.Series(keys, index=runs.index, dtype=object).mask(unnamed(runs))
    found = match(runs.assign(workflow=joined), groups, reference, other, by)
    shown = found.blocks.assign(workflow=runs.loc[found.blocks.index, "workflow"])
    held = (*always, *(name for name in found.held_equal if name not in always))
    free, confounded = (tuple(name for name in names if name not in held) for names in (found.free, found.confounded))
    return replace(found, blocks=shown, held_equal=held, free=free, confounded=confounded)

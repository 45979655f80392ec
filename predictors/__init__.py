"""Predictors of what a run will take.

`load()` gives a planner the trained predictor: `load().predict(tasks)`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from predictors.predictor import Predictor


def load(home: str | os.PathLike[str] | None = None, version: int | None = None) -> Predictor:
    """Return the predictor in use, or that version of it, of a home (else FLOWSCOPE_HOME, else ./data).

    Raises `NoModel` where nothing was trained and `ModelRefused` for a file that is not what was saved.
    """
    from predictors import registry
    from warehouse.home import Home

    folder = Path(home if home is not None else os.environ.get("FLOWSCOPE_HOME", "data"))
    predictor: Predictor = registry.load(Home(folder.resolve()), version)[0]
    return predictor

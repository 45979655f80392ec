"""The charts, as Altair specifications. Every function takes a frame that is small enough to draw: `thinned` makes it so."""

from app.charts.accuracy import MEASURES, Measure, accuracy, beyond
from app.charts.base import MOST_MARKS, NEUTRAL, Drawn, thinned
from app.charts.comparisons import DECISIONS, intervals, makespans
from app.charts.runs import dag, workers

__all__ = [
    "DECISIONS", "MEASURES", "MOST_MARKS", "NEUTRAL", "Drawn", "Measure", "accuracy", "beyond", "dag", "intervals", "makespans", "thinned", "workers",
]  # fmt: skip

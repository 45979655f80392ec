"""The charts, as Altair specifications. Every function takes a frame that is small enough to draw: `thinned` makes it so."""

from app.charts.accuracy import MEASURES, Measure, accuracy, beyond
from app.charts.base import MOST_MARKS, NEUTRAL, Drawn, thinned
from app.charts.comparisons import DECISIONS, intervals, makespans
from app.charts.runs import dag, workers
from app.charts.what_if import beside_in_time, run_ratios

__all__ = [
    "DECISIONS", "MEASURES", "MOST_MARKS", "NEUTRAL", "Drawn", "Measure", "accuracy", "beside_in_time", "beyond", "dag", "intervals", "makespans", "run_ratios", "thinned", "workers",
]  # fmt: skip

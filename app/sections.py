"""The report's sections in their order: the file and the address of each page, and its title."""

from __future__ import annotations

SECTIONS = {
    "summary": "Summary",
    "cold_starts": "Cold starts",
    "active_periods": "Active periods",
    "prediction_accuracy": "Prediction accuracy",
    "slas": "SLAs",
    "optimisations": "Optimisations",
    "experiments": "Experiments",
    "planners_and_cost": "Planners & cost",
    "failures": "Failures",
}

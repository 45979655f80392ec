"""The pages that questions stand on, in their order: the file and the address of each, and its title."""

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
"""What was recorded."""

PREDICT = {"predictors": "Predictors", "what_if": "What-if"}
"""What will be."""

TITLES = SECTIONS | PREDICT

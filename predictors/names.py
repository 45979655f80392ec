"""The names of the predictors, as they stand in `predictions.predictor`; 'engine' is the recorded plan."""

MODEL = "boosted"
MODEL_GIVEN_STATE = "boosted_given_state"
"""Start-up by the model when it is told whether the start is cold."""
ENGINE_RULE = "engine_rule"
SIMULATION = "simulation"
"""Whole runs played forward with what the model says of their tasks."""

"""Predictors of what a run will take."""

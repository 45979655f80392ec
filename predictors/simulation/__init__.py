"""Whole runs played forward in time: replayed from what was recorded, predicted, or with one thing changed."""

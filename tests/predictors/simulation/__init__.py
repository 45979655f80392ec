"""Tests of whole runs played forward in time."""

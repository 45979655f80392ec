"""How long workers are active, and what a planner misses that does not count their start-up."""

from __future__ import annotations

from app import showing

showing.report_page(
    "active_periods",
    "How long workers are active, and what a planner misses that does not count their start-up.",
)

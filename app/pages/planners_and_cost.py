"""Which planner is fast, which is cheap, and what else sets the price: memory, CPU, the size of the DAG."""

from __future__ import annotations

from app import showing

showing.report_page(
    "planners_and_cost",
    "Which planner is fast, which is cheap, and what else sets the price: memory, CPU, the size of the DAG.",
    first="F23",
)

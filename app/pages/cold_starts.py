"""How often a worker has to wait for a new container, what that costs, and what changes it."""

from __future__ import annotations

from app import showing

showing.report_page(
    "cold_starts",
    "How often a worker has to wait for a new container, what that costs, and what changes it.",
    first="F10",
)

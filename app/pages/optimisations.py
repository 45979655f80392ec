"""Whether each optimisation is applied where it could be, whether it acts, and which get into each other's way."""

from __future__ import annotations

from app import showing

showing.report_page(
    "optimisations",
    "Whether each optimisation is applied where it could be, whether it acts, and which get into each other's way.",
)

"""What failed, what it was put down to, and what else it took down."""

from __future__ import annotations

from app import showing

showing.report_page(
    "failures",
    "What failed, what it was put down to, and what else it took down.",
)

"""What an optimistic or a conservative SLA does to a run, and whether a prediction at a percentile keeps what the percentile promises."""

from __future__ import annotations

from app import showing

showing.report_page(
    "slas",
    "What an optimistic or a conservative SLA does to a run, and whether a prediction at a percentile keeps what the percentile promises.",
)

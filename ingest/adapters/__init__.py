"""Formats of other engines and platforms, one module each. A module listed here is recognised and read like any other."""

from __future__ import annotations

from ingest.adapters import aws_lambda, nextflow, opentelemetry, sebs_flow, wfcommons
from ingest.adapters.adapter import Adapter

ADAPTERS: tuple[Adapter, ...] = (sebs_flow, nextflow, wfcommons, opentelemetry, aws_lambda)
"""The adapters, asked in this order."""

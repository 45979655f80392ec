"""Workers that belong to no run: no choice of runs can have them, so what is computed over runs leaves them out."""

from __future__ import annotations

from app.findings.evidence import Evidence
from app.units import count

_STRAYS = """
-- Invocations that name no run, or one that no dump describes.
select count(*) as invocations
from invocations
where not exists (select 1 from selected_runs where selected_runs.run_id = invocations.run_id)
"""


def strays(evidence: Evidence) -> str:
    """Return '3 invocations without a run'; '' without any, and where some runs are chosen, which they are none of."""
    found = int(evidence.record(_STRAYS)["invocations"]) if evidence.selection.is_everything else 0
    return f"{count(found, 'invocation')} without a run" if found else ""

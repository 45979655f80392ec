"""Read the metrics octoflows leaves in Redis (FIELD.md, sections 1 and 2).

Keys are grouped by run first, without their values; then each run's values are fetched, read with the inert pickle
reader and turned into rows. A value that cannot be read is a `Reject`; the rest of its run is still loaded. The
form of a key says what its value is; `octoflows_rows.py` has one function for each class of value.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice
from typing import Any

from ingest.formats.octoflows_fields import describe, instant_of
from ingest.formats.octoflows_rows import (
    NAME,
    TASK_ID,
    UUID,
    Facts,
    Row,
    dag_load_rows,
    dag_rows,
    invocation_rows,
    plan_rows,
    submission_rows,
    task_rows,
    usage_rows,
)
from ingest.formats.pickles import PickleRefused, Record, read_pickle
from ingest.records import Keyspace, Refused, clean
from warehouse.batches import Batch, Reject, Rows, Skipped, UnknownFields

PARSER_VERSION = 2
ROWS_PER_BATCH = 5_000
MAX_ROWS_PER_VALUE = 50_000

_RUN = rf"(?P<run>[0-9]{{10,16}}\.{NAME}\.{UUID}\.[0-9a-f]{{64}})"
_TASK = TASK_ID.pattern
_FORMS = {
    "TaskMetrics": re.compile(rf"md-storage-tasks\+(?P<task>{_TASK})\+{_RUN}"),
    "WorkerStartupMetrics": re.compile(rf"md-storage-worker-startup\+(?P<invocation>{_RUN}_[0-9a-f]{{64}})"),
    "FullDAGPrepareTime": re.compile(rf"md-storage-dag\+{_RUN}[0-9a-f]{{32}}"),
    "FullDAG": re.compile(rf"dag-{_RUN}"),
    "UserDAGSubmissionMetrics": re.compile(rf"md-storage-user-dag-submission\+{_RUN}"),
    "PlanOutput": re.compile(rf"md-storage-plan\+{_RUN}"),
    "DAGResourceUsageMetrics": re.compile(rf"md-storage-dag-resource-usage\+{_RUN}"),
}
"""The class a metric's value must be of, and the form of its key."""


def run_of(key: str) -> str | None:
    """Return the run id a metric key belongs to, None for keys that are not metrics."""
    found = _parse_key(key)
    return found[1]["run"] if found else None


def read(keyspace: Keyspace) -> Iterator[Batch]:
    """Yield the rows of every run in the keyspace, what was refused, and how many keys are no metrics.

    Memory is bounded by the keys, one run's values and `ROWS_PER_BATCH` rows of each table.
    """
    runs: dict[str, list[str]] = defaultdict(list)
    skipped = 0
    for key in keyspace.keys():  # noqa: SIM118  # a Keyspace is no mapping
        if run_id := run_of(key):
            runs[run_id].append(key)
        elif key.startswith("md-storage-"):
            yield Reject(clean(key), "unsupported", "not a key of a known form")
        else:
            skipped += 1
    unknown: Counter[str] = Counter()
    pending: dict[str, list[Row]] = defaultdict(list)
    for run_id, keys in runs.items():
        run = _Run(run_id)
        for key, value in keyspace.values(keys):
            if reject := run.add(key, value, unknown):
                yield reject
        for table, row in run.finish():
            pending[table].append(row)
        for table in [table for table, rows in pending.items() if len(rows) >= ROWS_PER_BATCH]:
            yield Rows(table, pending.pop(table))
    for table, rows in pending.items():
        yield Rows(table, rows)
    if skipped:
        yield Skipped(skipped)
    if unknown:
        yield UnknownFields(dict(unknown))


def _parse_key(key: str) -> tuple[str, re.Match[str]] | None:
    """Return the class its value must be of and the parts of a metric key, None for other keys."""
    for class_name, form in _FORMS.items():
        if match := form.fullmatch(key):
            return class_name, match
    return None


def _record(class_name: str, value: bytes) -> Record:
    record = read_pickle(value)
    if not isinstance(record, Record) or record.class_name != class_name:
        raise Refused("wrong_class", f"{describe(record)}, not a {class_name}")
    return record


def _rows_of(class_name: str, key: re.Match[str], record: Record, unknown: Counter[str]) -> Facts:
    run_id = key["run"]
    match class_name:
        case "TaskMetrics":
            return task_rows(run_id, key["task"], record, unknown)
        case "WorkerStartupMetrics":
            return invocation_rows(run_id, key["invocation"], record, unknown)
        case "FullDAGPrepareTime":
            return dag_load_rows(run_id, record, unknown)
        case "FullDAG":
            return dag_rows(run_id, record)
        case "PlanOutput":
            return plan_rows(run_id, record, unknown)
        case "UserDAGSubmissionMetrics":
            return submission_rows(record, unknown)
        case _:
            return usage_rows(record, unknown)


class _Run:
    """One run: its values are added in any order, and `finish` joins what only all of them together tell."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.facts: dict[str, list[Row]] = defaultdict(list)

    def add(self, key: str, value: bytes, unknown: Counter[str]) -> Reject | None:
        """Take the rows of one value, or say why it is refused. A refused value adds nothing."""
        found = _parse_key(key)
        if found is None:
            return None
        class_name, match = found
        counts: Counter[str] = Counter()
        try:
            rows = _rows_of(class_name, match, _record(class_name, value), counts)
            facts = list(islice(rows, MAX_ROWS_PER_VALUE))
            if next(rows, None):
                return Reject(key, "too_large", f"more than {MAX_ROWS_PER_VALUE} rows", _excerpt(value))
        except (PickleRefused, Refused) as error:
            return Reject(key, error.reason, clean(error.detail), _excerpt(value))
        unknown.update(counts)
        for table, row in facts:
            self.facts[table].append(row)
        return None

    def finish(self) -> Facts:
        """Yield the run's rows, with its one row of `runs` first."""
        said = self.facts.pop("runs", [])
        columns: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for part in said:
            extra |= part.pop("extra", {})
            columns |= {name: value for name, value in part.items() if value is not None}
        libraries = columns.pop("libraries", {})
        epoch_ms, _, rest = self.run_id.partition(".")
        rest, _, structure_hash = rest.rpartition(".")
        submitted_at = instant_of(int(epoch_ms))
        if "submitted_at" not in columns and submitted_at is not None:
            extra["submitted_at_from"] = "run_id"
        tasks = self.facts["tasks"]
        yield (
            "runs",
            {
                "run_id": self.run_id,
                "engine": "octoflows",
                "workflow": rest.rpartition(".")[0],
                "structure_hash": structure_hash,
                "planner": _most_common(task["planner"] for task in tasks),
                "submitted_at": submitted_at,
                **columns,
                "extra": extra,
            },
        )
        for task in tasks:
            task["libraries"] = libraries.get(task["task_id"])
        for task_input in self.facts["task_inputs"]:
            if task_input["object_id"] in libraries:
                task_input["upstream_task_id"] = task_input["object_id"]
        workers = {task["task_id"]: task["worker_id"] for task in tasks if task["worker_id"] is not None}
        for invocation in self.facts["invocations"]:
            if invocation["worker_id"] is None:
                initial_task_ids = invocation["initial_task_ids"] or ()
                invocation["worker_id"] = next((workers[task] for task in initial_task_ids if task in workers), None)
        for table, rows in self.facts.items():
            for row in rows:
                yield table, row


def _most_common(names: Iterator[str | None]) -> str | None:
    """The name that comes most often, the first in the alphabet of several."""
    counts = Counter(name for name in names if name is not None)
    return min(counts, key=lambda name: (-counts[name], name), default=None)


def _excerpt(value: bytes) -> str:
    return value[:120].decode("ascii", "backslashreplace")

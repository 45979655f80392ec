"""Nextflow trace files: one line is one attempt of a task, written when it ended; one file is one run, or several in a row.

The columns are those the user chose, in any order, separated by tabs (by commas where a trace was converted). Values are raw
(milliseconds, bytes) or humanised ('1m 3s', '1.2 GB'), told apart one by one, and '-' is none. A trace names neither its run
nor its workflow: the run's id is made of its first task that ran, the workflow's name of the file's or its folder's.
Memory is bounded by the tasks of one run: a number for each, and by `MAX_FAILED` failed ones of a name that wait to be tried again. https://www.nextflow.io/docs/latest/reports.html
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ingest.adapters import parsing
from ingest.adapters.adapter import MAX_NAME, Document, Fact, Line, fitted
from ingest.adapters.nextflow_columns import columns, integer, read_value
from ingest.records import Refused
from warehouse.batches import Reject, Skipped
from warehouse.errors import SourceError

NAME = "nextflow"
PARSER_VERSION = 1
MAX_FAILED = 100

_TYPICAL = frozenset(("hash", "native_id", "exit", "realtime", "%cpu", "peak_rss", "peak_vmem", "rchar", "wchar"))
"""Columns of which every trace has one, and other lists of tasks have none."""
_NONE = frozenset(("", "-", "null", "nan", "N/A"))
_UNFINISHED = frozenset(("NEW", "PENDING", "SUBMITTED", "RUNNING"))
_WORDS_OF_NO_NAME = re.compile(
    r"(?<![^\W_])(trace|execution|pipeline|report|nextflow|run|[vr]?[0-9]+)(?![^\W_])[\W_]*", re.IGNORECASE
)
_FOLDERS_OF_NO_NAME = frozenset(("pipeline_info", "pipeline-info", "results", "reports", "trace", "traces", "logs"))


def recognise(head: str) -> bool:
    """Whether the first line names the columns of a trace."""
    first = next((line for line in head.splitlines() if line.strip()), "")
    try:
        names = set(_fields(first, _delimiter(first)))
    except Refused:
        return False
    is_trace = "task_id" in names and not names.isdisjoint(_TYPICAL)
    return is_trace and len(names & {"hash", "native_id", "name", "status", "process"}) >= 2


def read(document: Document) -> Iterator[Fact | Reject | Skipped]:
    """Yield the tasks that ran and the runs they belong to. A task taken from an earlier run's cache did not run here."""
    run: _Run | None = None
    for item in _rows(document):
        if not isinstance(item, _Row):
            yield item
            continue
        if run is None or run.number != item.run:
            if run:
                yield run.row(document)
            run = _Run(item.run, _run_id(item), item.line.location)
        if item.values.get("status") == "CACHED":
            run.cached += 1
            yield Skipped(1)
            continue
        if not run.has_begun:
            run.run_id, run.has_begun = _run_id(item), True
        try:
            yield run.task(item)
        except Refused as refused:
            yield item.line.rejected(refused)
    if run:
        yield run.row(document)


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a run, the runs of the file numbered from 0; values that say nothing are left out."""

    line: Line
    run: int
    values: Mapping[str, str]


def _rows(document: Document) -> Iterator[_Row | Reject | Skipped]:
    """Yield the lines with their values. A run ends where a header or the id of another task comes again."""
    names: list[str] = []
    delimiter = "\t"
    run = 0
    seen: dict[str, int] = {}
    for line in document.lines():
        if isinstance(line, Reject):
            yield line
            continue
        try:
            if not names:
                delimiter = _delimiter(line.text)
                names = _header(line, delimiter, document.name)
                continue
            fields = _fields(line.text, delimiter)
        except Refused as refused:
            yield line.rejected(refused)
            continue
        if fields == names:
            run, seen = run + bool(seen), {}
            yield Skipped(1)
            continue
        if len(fields) != len(names):
            detail = f"{len(fields)} fields where the header has {len(names)}"
            yield line.rejected(Refused("not_the_format", detail))
            continue
        values = {name: field for name, field in zip(names, fields, strict=True) if field not in _NONE}
        identity = hash(_identity(values))
        if seen.setdefault(task_id := values.get("task_id", ""), identity) != identity:
            run, seen = run + 1, {task_id: identity}
        yield _Row(line, run, values)


def _header(line: Line, delimiter: str, file: str) -> list[str]:
    try:
        names = _fields(line.text, delimiter)
    except Refused as refused:
        raise SourceError("not_the_format", f"{file} begins with no header: {refused.detail}.") from refused
    if "task_id" not in names:
        raise SourceError("not_the_format", f"{file} has no column task_id. Hint: keep task_id among trace.fields.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SourceError("not_the_format", f"{file} has two columns {twice[:MAX_NAME]!r}. Hint: keep one of them.")
    return names


def _delimiter(header: str) -> str:
    return max("\t,;", key=header.count)


def _fields(text: str, delimiter: str) -> list[str]:
    """Split a line; Nextflow does not quote, whoever wrote commas may have."""
    reader = (
        csv.reader([text], delimiter=delimiter, quoting=csv.QUOTE_NONE)
        if delimiter == "\t"
        else csv.reader([text], delimiter=delimiter)
    )
    try:
        return [field.strip() for field in next(reader, [])]
    except csv.Error as error:
        raise Refused("not_the_format", f"not a line of fields: {error}") from error


def _run_id(row: _Row) -> str:
    """Return the id of the run whose first task is on that line."""
    digest = hashlib.sha256("\x00".join(_identity(row.values)).encode("utf-8", "replace"))
    return f"nextflow-{digest.hexdigest()[:32]}"


def _identity(values: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(values.get(name, "") for name in ("task_id", "hash", "native_id", "name", "submit"))


@dataclass(slots=True)
class _Run:
    """What is known of one run so far, and of its failed attempts that wait for the next one.

    Its id is made of the first task that ran (`has_begun`), so that a trace still growing keeps it; without any, of the first
    one taken from the cache.
    """

    number: int
    run_id: str
    location: str
    has_begun: bool = False
    submitted_at: datetime | None = None
    finished_at: datetime | None = None
    cached: int = 0
    is_unfinished: bool = False
    has_local_times: bool = False
    hosts: set[str] = field(default_factory=set)
    failed: dict[str, deque[tuple[str, int]]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=MAX_FAILED))
    )

    def task(self, row: _Row) -> Fact:
        """Return the row of a task. Raises `Refused`, with nothing noted."""
        values = row.values
        submitted_at = read_value(values, "submit", parsing.instant)
        finished_at = read_value(values, "complete", parsing.instant)
        if (
            not finished_at
            and submitted_at
            and (duration := read_value(values, "duration", parsing.duration_ms)) is not None
        ):
            finished_at = parsing.later(submitted_at, duration)
        task = columns(values, submitted_at, finished_at)
        name = values.get("name", "")
        task_id, attempt = self._attempt(name, values)
        task |= {"run_id": self.run_id, "task_id": task_id, "attempt": attempt}
        fitted("tasks", {**task, "extra": None})
        if task_id != values["task_id"]:  # it follows a failed one
            self.failed[name].remove((task_id, attempt - 1))
        if values.get("status") == "FAILED" and name:
            self.failed[name].append((task_id, attempt))
        if submitted_at:
            self.submitted_at = min(self.submitted_at or submitted_at, submitted_at)
        if finished_at:
            self.finished_at = max(self.finished_at or finished_at, finished_at)
        self.is_unfinished |= values.get("status") in _UNFINISHED
        self.has_local_times |= ":" in values.get("submit", "")
        if len(self.hosts) < 2 and "hostname" in values:
            self.hosts.add(values["hostname"])
        return Fact("tasks", task, row.line.location)

    def row(self, document: Document) -> Fact:
        """Return the row of the run."""
        values = {
            "run_id": self.run_id,
            "engine": "nextflow",
            "workflow": _workflow(document),
            "submitted_at": self.submitted_at,
            "finished_at": None if self.is_unfinished else self.finished_at,
            "environment": next(iter(self.hosts)) if len(self.hosts) == 1 else None,
            "extra": {
                "cached_tasks": self.cached or None,
                "time_zone": "not recorded, taken as UTC" if self.has_local_times else None,
            },
        }
        return Fact("runs", values, self.location)

    def _attempt(self, name: str, values: Mapping[str, str]) -> tuple[str, int]:
        """Return the id that all attempts of the task share, which is that of the first one, and the attempt's number.

        The next attempt has an id of its own and the name of one that failed before.
        """
        own_id = values.get("task_id", "")
        told = read_value(values, "attempt", integer)
        for task_id, attempt in self.failed.get(name, ()):
            if told in (None, attempt + 1) and task_id != own_id:
                return task_id, attempt + 1
        return own_id, told or 1


def _workflow(document: Document) -> str | None:
    """Return the workflow that the file's name tells ('trace_rnaseq_2.txt'), else the folder where results lie."""
    stem = document.name.removesuffix(".gz").partition(".")[0]
    if name := _WORDS_OF_NO_NAME.sub("", stem).strip("_- "):
        return name[:MAX_NAME]
    return next((name for name in reversed(document.folders) if name.lower() not in _FOLDERS_OF_NO_NAME), None)

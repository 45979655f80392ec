"""Read SeBS-Flow measurements: CSV files with one row per function call of a serverless workflow on a cloud.

Columns and their order vary: func, start, end (seconds since 1970, stamped around the function's own code), is_cold, container_id,
request_id (the run), provider.request_id (the call), blob.upload and blob.download (bytes moved through object storage), and in
files named `_processed` what the provider says: provider.execution_duration and provider.init_duration (microseconds), max_mem_used
and billing.mem (MB), billing.duration (ms) and billing.gbs, in MB times ms, which is kept in `extra`. The provider writes 0 for
what it does not know, so 0 is unknown. Rows `run_workflow` are no call: their start is that of the orchestrator's last step, their
end adds what all its steps took.

The address tells the rest: `<workflow>/<cloud>[_variant]/.../<mode>_<memory>[_first_iteration][_processed].csv`. AWS and Google keep
containers per function, Azure one pool for the whole workflow. No DAG and no submission are recorded: a run lasts from its
first start to its last end, as the benchmark's authors count it, and runs with the same calls share a structure. When the
call was asked for and when its container was free again are not recorded either. Rows of a run may be scattered: memory is
bounded by the number of runs, of each its times and how often each function was called (of 1,000 functions at most), and by
the counts that runs share, of which `MAX_SHARED` are kept.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from ingest.adapters.adapter import MAX_NAME, Document, Fact, Line
from ingest.records import EARLIEST, LATEST, Refused
from warehouse.batches import Reject, Skipped
from warehouse.errors import SourceError

NAME = "sebs-flow"
PARSER_VERSION = 1
MAX_FUNCTIONS = 1_000
MAX_SHARED = 10_000
_MAX_SHARED_FUNCTIONS = 30
_REQUIRED = frozenset({"func", "start", "end", "request_id"})
_KNOWN = _REQUIRED | {
    *("is_cold", "container_id", "provider.request_id", "blob.upload", "blob.download", "provider.execution_duration"),
    *("provider.init_duration", "max_mem_used", "billing.duration", "billing.mem", "billing.gbs"),
}
_TYPICAL = frozenset({"is_cold", "container_id", "provider.request_id"})
_WHOLE_RUN = "run_workflow"
_STATES = {"true": "cold", "false": "warm", "nan": None, "": None}
_CLOUD = re.compile(r"(?P<cloud>aws|azure|gcp)(?:_(?P<variant>.+))?")
_FILE = re.compile(
    r"(?P<mode>burst|warm|cold|sequential)(?:_(?P<memory>\d+))?(?P<warm_up>_first_iteration)?(?:_processed)?\.csv(?:\.gz)?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST_S, _LATEST_S = (int(moment.replace(tzinfo=UTC).timestamp()) for moment in (EARLIEST, LATEST))
_LARGEST = Decimal(10) ** 15
"""No duration and no size of a call is as large, in whatever unit it comes."""


def recognise(head: str) -> bool:
    """Whether the first line names the columns of a call."""
    try:
        columns = set(_cells(head.partition("\n")[0].rstrip("\r")))
    except Refused:
        return False
    return columns >= _REQUIRED and not columns.isdisjoint(_TYPICAL)


def read(document: Document) -> Iterator[Fact | Reject | Skipped]:
    """Yield a task and an invocation per call, and at the end the runs with their tags.

    Raises `SourceError` 'unknown_format' where the first line names no columns of a call.
    """
    where = _Place.of(document)
    columns: list[str] = []
    runs: dict[str, _Run] = {}
    known: dict[_Calls, _Calls] = {}
    for line in document.lines():
        if isinstance(line, Reject):
            yield line
            continue
        try:
            if not columns:
                columns = _header(line, document)
            elif (cells := _cells(line.text)) == columns:
                yield Skipped(1)
            else:
                yield from _call(cells, columns, line, where, runs, known)
        except Refused as refused:
            yield line.rejected(refused)
    for run_id, run in runs.items():
        yield from run.facts(run_id, where, has_provider_data="provider.execution_duration" in columns)


@dataclass(frozen=True, slots=True)
class _Place:
    """What the address of a file says; None and no tags where it is not laid out so."""

    workflow: str | None = None
    cloud: str | None = None
    tags: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Document) -> _Place:
        folders = document.folders
        found = _FILE.fullmatch(document.name)
        tags = {"mode": found["mode"], "memory_setting": found["memory"]} if found else {}
        if found and found["warm_up"]:
            tags["warm_up"] = "yes"
        for position in range(len(folders) - 1, 0, -1):
            if cloud := _CLOUD.fullmatch(folders[position]):
                tags |= {"variant": cloud["variant"], "recording": "/".join(folders[position + 1 :])}
                return cls(
                    folders[position - 1], cloud["cloud"], {name: value for name, value in tags.items() if value}
                )
        return cls(tags={name: value for name, value in tags.items() if value})

    def pool(self, function: str) -> str | None:
        """The deployed function, whose containers no other one uses."""
        if self.cloud == "azure":
            return self.workflow
        return f"{self.workflow}/{function}" if self.workflow else function


_Calls = tuple[tuple[str, int], ...]


@dataclass(slots=True)
class _Run:
    """What is kept of a run until the end of the file: its times in microseconds, and how often which function was called."""

    location: str
    begins_us: int
    ends_us: int
    calls: _Calls = ()

    def called(self, function: str, known: dict[_Calls, _Calls]) -> int:
        """Note a call and return its number among those of the function. Runs with the same calls share what is `known` of them."""
        calls = dict(self.calls)
        if function not in calls and len(calls) >= MAX_FUNCTIONS:
            raise Refused("too_large", f"a run of more than {MAX_FUNCTIONS:,} functions")
        number = calls[function] = calls.get(function, 0) + 1
        counted = tuple(sorted(calls.items()))
        is_kept = len(known) < MAX_SHARED and len(counted) <= _MAX_SHARED_FUNCTIONS
        self.calls = known.setdefault(counted, counted) if is_kept else known.get(counted, counted)
        return number

    def facts(self, run_id: str, where: _Place, *, has_provider_data: bool) -> Iterator[Fact]:
        """Yield the run and its tags. Provider data is a tag, so that of two files with a run the richer one has more rows."""
        structure = json.dumps([where.workflow, self.calls])
        run = {
            "run_id": run_id,
            "engine": NAME,
            "workflow": where.workflow,
            "environment": where.cloud,
            "submitted_at": _instant(self.begins_us),
            "finished_at": _instant(self.ends_us),
            "structure_hash": hashlib.sha256(structure.encode("utf-8", "replace")).hexdigest(),
        }
        yield Fact("runs", run, self.location)
        for tag, value in (where.tags | ({"provider_data": "yes"} if has_provider_data else {})).items():
            yield Fact("run_tags", {"run_id": run_id, "tag": tag, "value": value}, self.location)


def _header(line: Line, document: Document) -> list[str]:
    if not recognise(line.text):
        sentence = (
            f"{document.name} has no line that names func, start, end and request_id. Hint: it is another format."
        )
        raise SourceError("unknown_format", sentence)
    return _cells(line.text)


def _cells(text: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([text], strict=True), [])]
    except csv.Error as error:
        raise Refused("not_the_format", f"not a line of CSV: {error}") from error


def _call(
    cells: list[str],
    columns: list[str],
    line: Line,
    where: _Place,
    runs: dict[str, _Run],
    known: dict[_Calls, _Calls],
) -> Iterator[Fact]:
    if len(cells) != len(columns):
        raise Refused("not_the_format", f"{len(cells)} cells, not {len(columns)} as in the header")
    row = dict(reversed(list(zip(columns, cells, strict=True))))  # of columns named alike, the first counts
    for name in sorted(_REQUIRED):
        if not row[name]:
            raise Refused("missing_key", f"{name} is missing")
        if len(row[name]) > MAX_NAME:
            raise Refused("too_large", f"{name} is longer than {MAX_NAME:,} characters")
    function, run_id = row["func"], row["request_id"]
    begins_us, ends_us = _instant_us(row, "start"), _instant_us(row, "end")
    if ends_us < begins_us:
        raise Refused("out_of_range", "end is before start")
    call = {} if function == _WHOLE_RUN else _checked(row)
    run = runs.setdefault(run_id, _Run(line.location, begins_us, ends_us))
    run.begins_us, run.ends_us = min(run.begins_us, begins_us), max(run.ends_us, ends_us)
    if function == _WHOLE_RUN:
        return
    number = run.called(function, known)
    task_id = row.get("provider.request_id") or f"{function}-{number}"
    worker = {"run_id": run_id, "worker_id": task_id, "memory_mb": call["memory_mb"]}
    task = {
        "task_id": task_id,
        "attempt": 1,
        "function": function,
        "kind": "function",
        "started_at": _instant(begins_us),
        "execution_ms": (ends_us - begins_us) / 1000,
        "output_bytes": call["uploaded_bytes"],
        "max_memory_mb": call["max_memory_mb"],
    }
    yield Fact("tasks", worker | task, line.location)
    if call["downloaded_bytes"]:
        fetched = {"run_id": run_id, "task_id": task_id, "object_id": "object storage"}
        yield Fact("task_inputs", fetched | {"input_bytes": call["downloaded_bytes"]}, line.location)
    init_ms = call["init_ms"]
    invocation = {
        "invocation_id": row.get("provider.request_id") or f"{run_id}/{task_id}",
        "function": where.pool(function),
        "container_id": row.get("container_id"),
        "requested_at": None if init_ms is None else _instant(begins_us - round(1000 * init_ms)),
        "ready_at": _instant(begins_us),
        "reported_state": call["state"],
        "init_ms": init_ms,
        "billed_ms": call["billed_ms"],
        "max_memory_mb": call["max_memory_mb"],
        "initial_task_ids": [task_id],
        "phases": {"provider_execution": call["provider_execution_ms"]},
        "extra": call["extra"],
    }
    yield Fact("invocations", worker | invocation, line.location)


def _checked(row: dict[str, str]) -> dict[str, Any]:
    """What else a row says of its call, None where it does not. Raises `Refused`: wrong_type, out_of_range."""
    state = row.get("is_cold", "").lower()
    if state not in _STATES:
        raise Refused("wrong_type", "is_cold is neither True nor False")
    extra = {name: value[:MAX_NAME] for name, value in row.items() if name not in _KNOWN and value}
    gbs = _positive(row, "billing.gbs")
    memory_mb = _positive(row, "billing.mem")
    return {
        "state": _STATES[state],
        "uploaded_bytes": _whole(_positive(row, "blob.upload")),
        "downloaded_bytes": _whole(_positive(row, "blob.download")),
        "provider_execution_ms": _ms(_positive(row, "provider.execution_duration")),
        "init_ms": _ms(_positive(row, "provider.init_duration")),
        "billed_ms": _float(_positive(row, "billing.duration")),
        "memory_mb": _whole(memory_mb),
        "max_memory_mb": _float(_positive(row, "max_mem_used")),
        "extra": extra | ({"billing.gbs": float(gbs)} if gbs else {}),
    }


def _number(row: dict[str, str], name: str) -> Decimal | None:
    text = row.get(name, "")
    if not text:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise Refused("wrong_type", f"{name} is not a number") from error
    if number.is_nan():
        return None
    if not 0 <= number < _LARGEST:
        raise Refused("out_of_range", f"{name} is below 0 or too large")
    return number


def _positive(row: dict[str, str], name: str) -> Decimal | None:
    return _number(row, name) or None


def _instant_us(row: dict[str, str], name: str) -> int:
    seconds = _number(row, name)
    if seconds is None:
        raise Refused("wrong_type", f"{name} is not a number")
    if not _EARLIEST_S <= seconds < _LATEST_S:
        raise Refused("out_of_range", f"{name} is outside 2000 to 2199")
    return round(seconds * 1_000_000)


def _instant(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _ms(microseconds: Decimal | None) -> float | None:
    return None if microseconds is None else float(microseconds / 1000)


def _float(number: Decimal | None) -> float | None:
    return None if number is None else float(number)


def _whole(number: Decimal | None) -> int | None:
    return None if number is None else round(number)

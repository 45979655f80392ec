"""AWS Lambda logs for tests: written by hand from the grammar that FIELD.md 4 and Lambda's developer guide state. None was recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ingest.adapters import aws_lambda
from ingest.adapters.adapter import Document
from tests.ingest.adapters.taking import taken

STREAM = "2024/05/01/[$LATEST]0123456789abcdef0123456789abcdef"
EXPORTED = f"s3://logs/exportedlogs/7c1e/{STREAM.replace('/', '-')}/000000.gz"
ARN = "arn:aws:lambda:eu-west-1::runtime:0eb6fb00a97c"


class Read:
    """What the adapter makes of a document: rows by table and key, rejects, lines passed over."""

    def __init__(self, path: Path, content: str | bytes, place: str) -> None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        document = Document(path, place, path.parent)
        self.is_recognised = aws_lambda.recognise(document.head())
        rows = taken(aws_lambda.read, document)
        self.rejects = [(reject.location, reject.reason) for reject in rows["rejects"]]
        self.skipped = sum(rows["skipped"])
        self.runs = {row["run_id"]: row for row in rows["runs"]}
        self.tasks = {row["worker_id"]: row for row in rows["tasks"]}
        self.invocations = {row["invocation_id"]: row for row in rows["invocations"]}
        assert len(self.runs) == len(rows["runs"])
        assert len(self.tasks) == len(rows["tasks"]) == len(self.invocations) == len(rows["invocations"])

    def state(self, invocation_id: str) -> str | None:
        state: str | None = self.invocations[invocation_id].get("reported_state")
        return state

    def ending(self, invocation_id: str) -> tuple[Any, Any, Any]:
        """Status, type and message of the error; the invocation and its task agree."""
        task, invocation = self.tasks[invocation_id], self.invocations[invocation_id]
        assert (task.get("status"), task.get("error_type")) == (invocation.get("status"), invocation.get("error_type"))
        return task.get("status"), task.get("error_type"), task.get("error_message")


def at(seconds: float) -> str:
    """A timestamp so many seconds after 10:00, as exports write it."""
    minutes, rest = divmod(seconds, 60)
    return f"2024-05-01T10:{int(minutes):02}:{rest:06.3f}Z"


def report(request: str, duration: str = "100.00", *more: str, billed: int = 100) -> str:
    """A report of a function with 512 MB."""
    fields = (
        f"Duration: {duration} ms",
        f"Billed Duration: {billed} ms",
        "Memory Size: 512 MB",
        "Max Memory Used: 80 MB",
        *more,
    )
    return "\t".join((f"REPORT RequestId: {request}", *fields))


def log(*lines: tuple[float, str]) -> str:
    """An export: each line behind its timestamp."""
    return "".join(f"{at(seconds)} {line}\n" for seconds, line in lines)


def event(seconds: float, kind: str, **record: Any) -> dict[str, Any]:
    """An event of the Telemetry API."""
    return {"time": at(seconds), "type": f"platform.{kind}", "record": record}


def reported(seconds: float, request: str, status: str = "success", **metrics: Any) -> dict[str, Any]:
    """The event of a report of a function with 512 MB."""
    usual = {"durationMs": 100.0, "billedDurationMs": 100, "memorySizeMB": 512, "maxMemoryUsedMB": 80}
    return event(seconds, "report", requestId=request, status=status, metrics={**usual, **metrics})


def json_lines(*events: dict[str, Any]) -> str:
    """Events, one a line."""
    return "".join(json.dumps(one) + "\n" for one in events)

"""All formats side by side: found in a folder, by a glob and in a bucket, told apart by content, in one warehouse."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest

from ingest import pipeline
from ingest.adapters import ADAPTERS
from ingest.commands import ProgressBar
from tests.dumps import answer, facts, flowscope
from tests.ingest.adapters.otlp_traces import block, line, span
from tests.ingest.adapters.test_aws_lambda import TEXT
from tests.ingest.adapters.test_nextflow import GOOD as NEXTFLOW
from tests.ingest.adapters.test_opentelemetry import ORDER
from tests.ingest.adapters.test_sebs_flow import COLD, PLAIN, WARM
from tests.ingest.adapters.test_wfcommons import WFFORMAT_15
from warehouse.home import Home

SEBS_FLOW = "\n".join([PLAIN, COLD, WARM, "save,what,1,True,c3,call-3,0,0,run-1"])
DOCUMENTS = {
    "aws-lambda": TEXT,
    "nextflow": NEXTFLOW,
    "otlp": line(block(ORDER, span(7, 100, 350, said={"faas.trigger": "http", "faas.coldstart": True}))),
    "sebs-flow": SEBS_FLOW,
    "wfcommons": json.dumps(WFFORMAT_15),
}
PLACES = {
    "aws-lambda": "export/2024-05-01-[$LATEST]0123abcd/000000.gz",
    "nextflow": "deep/er/notes.jsonl",
    "otlp": "trace.csv",
    "sebs-flow": "burst.log",
    "wfcommons": "instance",
}
"""Names that mislead."""


def contents() -> dict[str, bytes]:
    return {
        PLACES[name]: gzip.compress(text.encode()) if name in ("aws-lambda", "sebs-flow") else text.encode()
        for name, text in DOCUMENTS.items()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("neighbours")
    for name, content in contents().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def taken(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("home"))
    with ProgressBar() as progress:
        pipeline.ingest(home, [str(folder)], progress)
    return home


def test_every_adapter_has_its_document_here_and_claims_no_other() -> None:
    assert sorted(adapter.NAME for adapter in ADAPTERS) == sorted(DOCUMENTS)
    for name, text in DOCUMENTS.items():
        assert [adapter.NAME for adapter in ADAPTERS if adapter.recognise(text[:65536])] == [name]


def test_each_is_read_as_what_it_is_whatever_it_is_called(taken: Home) -> None:
    found = answer(taken, "select key, format, status from files order by format")
    assert found == [(PLACES[name], name, "loaded") for name in sorted(DOCUMENTS)]
    assert answer(taken, "select location, reason from rejects") == [("line 4", "wrong_type")]
    engines = answer(taken, "select distinct engine from run_summary where tasks_seen > 0 order by 1")
    assert engines == [("aws-lambda",), ("nextflow",), ("opentelemetry",), ("pegasus",), ("sebs-flow",)]


def test_every_view_answers_and_every_invocation_is_in_one_state(taken: Home) -> None:
    (count,), *_ = answer(taken, "select count(*) from invocations")
    states = answer(taken, "select state, count(*) from cold_starts group by state order by state")
    assert sum(number for _, number in states) == count == 7  # four requests, one span, two calls
    # Reported cold: the first request, the span, the first call. The request without a report found its container running.
    assert states == [("cold", 3), ("warm", 4)]


def test_a_glob_a_bucket_and_a_second_time_give_the_same_facts(
    folder: Path, taken: Home, home: Home, s3_server: str
) -> None:
    client: Any = boto3.client("s3", endpoint_url=s3_server)
    bucket = f"logs-{uuid4().hex[:12]}"
    client.create_bucket(Bucket=bucket)
    for name, content in contents().items():
        client.put_object(Bucket=bucket, Key=f"some/{name}", Body=content)
    done = flowscope(home.root, "ingest", f"s3://{bucket}/some", "--endpoint-url", s3_server)
    assert done.returncode == 0, done.stderr
    assert "5 new" in done.stderr
    stored = facts(home)
    assert stored == facts(taken)
    again = flowscope(home.root, "ingest", f"{folder}/**/*")
    assert "5 new" in again.stderr
    assert facts(home) == stored  # the same runs from elsewhere are the same runs


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("page.html", b"<!doctype html><p>REPORT</p>"),
        ("code.py", b"import os\n\nprint(os.name)\n"),
        ("tags.csv", b"run_id,tag,value\nrun-1,mode,cold\n"),
        ("todo.csv", b"task_id,name,status,owner\n1,buy milk,open,me\n"),
        ("app.log", b'{"level": "info", "msg": "ready"}\n{"level": "info", "msg": "done"}\n'),
        ("binary", bytes(range(256)) * 300),
        ("utf-16.log", TEXT.encode("utf-16")),
        ("zeros.gz", gzip.compress(bytes(10_000_000))),
    ],
)
def test_what_is_of_no_format_is_left_out_with_a_hint(tmp_path: Path, home: Home, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with ProgressBar() as progress:
        outcome = pipeline.ingest(home, [str(tmp_path / name)], progress)
    (failure,) = outcome.sources[0].failures
    assert name in failure
    assert "docs/adapters.md" in failure
    assert answer(home, "select status, count(*) from files group by status") == [("failed", 1)]


def test_a_format_that_is_named_is_read_as_that(folder: Path, home: Home) -> None:
    done = flowscope(home.root, "ingest", folder / "burst.log", "--format", "nextflow")
    assert done.returncode == 1
    assert "burst.log" in done.stderr
    assert "Hint:" in done.stderr

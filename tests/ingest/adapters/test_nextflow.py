"""Nextflow traces: the real one, and lines written by hand from Nextflow's documentation of its columns and units."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.adapters import nextflow, parsing
from ingest.adapters.adapter import Document
from ingest.commands import take_in
from ingest.labels import Labels
from ingest.records import Refused
from tests.ingest.adapters.taking import taken
from warehouse.connection import Reader, open_current
from warehouse.errors import SourceError
from warehouse.home import Home

TRACE = Path(__file__).parents[3].parent / "shared/data/field/nextflow/trace_iwd.csv"
needs_trace = pytest.mark.skipif(not TRACE.exists(), reason=f"no recorded trace at {TRACE}")

# The columns Nextflow writes when none are chosen, and some more; times with a humanised trace's precision.
DEFAULT = (
    "task_id\thash\tnative_id\tname\tstatus\texit\tsubmit\tduration\trealtime\t%cpu\tpeak_rss\tpeak_vmem\trchar\twchar"
)
CHOSEN = (
    "task_id\thash\tname\tprocess\tstatus\texit\tattempt\thostname\tmemory\tsubmit\tstart\tcomplete\trealtime\tpeak_rss"
)
FIRST = "1\tab/000001\tNFCORE:QC:FASTQC (a)\tNFCORE:QC:FASTQC\tCOMPLETED\t0\t1\tnode1\t2 GB\t2024-05-26 19:54:50.296\t2024-05-26 19:54:51\t2024-05-26 19:55:55\t1m 3s\t1.5 GB"


def line(task: int, name: str, status: str, exit_code: str, attempt: str, second: int) -> str:
    """A line of CHOSEN: submitted at 20:00 and so many seconds, started 1 s and ended 3 s later."""
    times = "\t".join(f"2024-05-26 20:00:{second + later:02}" for later in (0, 1, 3))
    return f"{task}\tab/{task:06}\t{name}\tALIGN\t{status}\t{exit_code}\t{attempt}\tnode1\t1 GB\t{times}\t2s\t-"


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., dict[str, list[Any]]]:
    def read_(*lines: str, place: str = "/runs/trace-rnaseq.txt") -> dict[str, list[Any]]:
        path = tmp_path / "content"
        path.write_text("\n".join(lines) + "\n")
        return taken(nextflow.read, Document(path, place, tmp_path))

    return read_


def test_a_header_of_a_trace_is_recognised_and_others_are_not() -> None:
    assert nextflow.recognise(DEFAULT + "\n1\t")
    assert nextflow.recognise("\n" + CHOSEN.replace("\t", ","))
    for other in (
        "task_id,run_id,execution_ms\n1,2,3",
        "func,start,end,is_cold,container_id,request_id",
        "REPORT RequestId: a\tDuration: 1.23 ms\tBilled Duration: 2 ms",
        '{"name": "x", "schemaVersion": "1.5", "workflow": {"specification": {"tasks": []}}}',
        '{"resourceSpans": []}',
        "task_id,name,status,owner\n1,buy milk,open,me",
        "",
    ):
        assert not nextflow.recognise(other)


def test_a_humanised_line_becomes_a_task_and_its_run(read: Callable[..., dict[str, list[Any]]]) -> None:
    found = read(CHOSEN, FIRST)
    (task,), (run,) = found["tasks"], found["runs"]
    extra = task.pop("extra")
    assert task == {
        "run_id": run["run_id"],
        "task_id": "1",
        "attempt": 1,
        "function": "NFCORE:QC:FASTQC",
        "kind": "executable",
        "worker_id": "node1",
        "memory_mb": 2048,
        "started_at": datetime(2024, 5, 26, 19, 54, 51),
        "execution_ms": 63_000.0,
        "max_memory_mb": 1536.0,
        "status": "succeeded",
        "exit_code": 0,
    }
    assert extra == {
        "hash": "ab/000001",
        "name": "NFCORE:QC:FASTQC (a)",
        "submitted_at": "2024-05-26T19:54:50.296000",
        "completed_at": "2024-05-26T19:55:55",
        "queue_ms": 704.0,
    }
    assert run == {
        "run_id": run["run_id"],
        "engine": "nextflow",
        "workflow": "rnaseq",
        "submitted_at": datetime(2024, 5, 26, 19, 54, 50, 296_000),
        "finished_at": datetime(2024, 5, 26, 19, 55, 55),
        "environment": "node1",
        "extra": {"time_zone": "not recorded, taken as UTC"},
    }


def test_without_start_and_end_they_follow_from_duration_and_realtime(
    read: Callable[..., dict[str, list[Any]]],
) -> None:
    found = read(DEFAULT, "7\tab/1\t99\tfoo\tCOMPLETED\t0\t2024-05-26 10:00:00.000\t1m 5s\t1m 3s\t99%\t-\t-\t1 KB\t-")
    (task,), (run,) = found["tasks"], found["runs"]
    # submitted at 10:00:00, done 65 s later, having run for 63 s
    assert task["started_at"] == datetime(2024, 5, 26, 10, 0, 2)
    assert task["extra"]["started_at_from"] == "the end minus realtime"
    assert run["finished_at"] == datetime(2024, 5, 26, 10, 1, 5)
    assert (task["function"], task["extra"]["rchar_bytes"], task["extra"]["cpu_percent"]) == ("foo", 1024, 99.0)
    assert "output_bytes" not in task


@pytest.mark.parametrize(
    ("status", "exit_code", "expected"),
    [
        ("COMPLETED", "0", ("succeeded", 0, None)),
        ("FAILED", "1", ("failed", 1, None)),
        ("FAILED", "137", ("killed", 137, "SIGKILL")),
        ("FAILED", "143", ("killed", 143, "SIGTERM")),
        ("FAILED", "255", ("failed", 255, None)),
        ("FAILED", "2147483647", ("failed", None, None)),
        ("FAILED", "-", ("failed", None, None)),
        ("ABORTED", "-", ("killed", None, None)),
        ("RUNNING", "-", (None, None, None)),
        ("-", "0", ("succeeded", 0, None)),
    ],
)
def test_how_a_task_ended(
    read: Callable[..., dict[str, list[Any]]], status: str, exit_code: str, expected: tuple[Any, ...]
) -> None:
    found = read(CHOSEN, line(1, "ALIGN (a)", status, exit_code, "1", 0))
    (task,) = found["tasks"]
    assert (task.get("status"), task.get("exit_code"), task.get("error_type")) == expected
    assert ("finished_at" in found["runs"][0]) is (status != "RUNNING")


@pytest.mark.parametrize("told", [True, False])
def test_attempts_of_a_task_share_the_id_of_the_first(read: Callable[..., dict[str, list[Any]]], told: bool) -> None:
    number = str if told else lambda _: "-"
    found = read(
        CHOSEN,
        line(1, "ALIGN (a)", "FAILED", "137", number(1), 0),
        line(2, "ALIGN (b)", "COMPLETED", "0", number(1), 1),
        line(3, "ALIGN (a)", "FAILED", "1", number(2), 5),
        line(4, "ALIGN (a)", "COMPLETED", "0", number(3), 10),
        line(5, "ALIGN (b)", "COMPLETED", "0", number(1), 11),  # another task with the same tag: b has not failed
    )
    attempts = [(task["task_id"], task["attempt"], task["status"]) for task in found["tasks"]]
    assert attempts == [
        ("1", 1, "killed"),
        ("2", 1, "succeeded"),
        ("1", 2, "failed"),
        ("1", 3, "succeeded"),
        ("5", 1, "succeeded"),
    ]


def test_more_failed_tasks_of_one_name_than_are_kept_wait_no_longer(read: Callable[..., dict[str, list[Any]]]) -> None:
    failed = [line(task, "same", "FAILED", "1", "1", 0) for task in range(1, nextflow.MAX_FAILED + 2)]
    found = read(CHOSEN, *failed, line(900, "same", "COMPLETED", "0", "2", 10))
    assert found["rejects"] == []
    last = found["tasks"][-1]
    assert (last["task_id"], last["attempt"]) == ("2", 2)  # the first is forgotten, so looking for it ends


def test_a_failed_line_written_twice_is_no_second_attempt(read: Callable[..., dict[str, list[Any]]]) -> None:
    failed = line(1, "ALIGN (a)", "FAILED", "1", "-", 0)
    assert [(task["task_id"], task["attempt"]) for task in read(CHOSEN, failed, failed)["tasks"]] == [("1", 1)] * 2


def test_a_task_from_the_cache_did_not_run_here(read: Callable[..., dict[str, list[Any]]]) -> None:
    resumed = read(CHOSEN, FIRST.replace("COMPLETED", "CACHED"), line(2, "ALIGN (a)", "COMPLETED", "0", "1", 0))
    assert [task["task_id"] for task in resumed["tasks"]] == ["2"]
    (run,) = resumed["runs"]
    assert (run["submitted_at"], run["extra"]["cached_tasks"]) == (datetime(2024, 5, 26, 20), 1)
    assert resumed["skipped"] == [1]
    first = read(CHOSEN, FIRST)
    assert first["runs"][0]["run_id"] != run["run_id"]
    (all_cached,) = read(CHOSEN, FIRST.replace("COMPLETED", "CACHED"))["runs"]
    assert "submitted_at" not in all_cached


def test_a_run_keeps_its_id_while_its_trace_grows_and_wherever_it_lies(
    read: Callable[..., dict[str, list[Any]]],
) -> None:
    (young,) = read(CHOSEN, FIRST)["runs"]
    (older,) = read(CHOSEN, FIRST, line(2, "ALIGN (a)", "COMPLETED", "0", "1", 0), place="s3://b/other.txt")["runs"]
    (another,) = read(CHOSEN, FIRST.replace("50.296", "50.297"))["runs"]
    assert young["run_id"] == older["run_id"] != another["run_id"]


def test_traces_one_after_the_other_in_a_file_are_runs_of_their_own(
    read: Callable[..., dict[str, list[Any]]],
) -> None:
    one = [line(1, "ALIGN (a)", "COMPLETED", "0", "1", 0), line(2, "ALIGN (b)", "COMPLETED", "0", "1", 1)]
    two = [text.replace("ab/", "cd/").replace("20:00", "21:00") for text in one]
    for lines in ([CHOSEN, *one, CHOSEN, *two], [CHOSEN, *one, *two]):
        found = read(*lines)
        first, second = found["runs"]
        assert [first["submitted_at"].hour, second["submitted_at"].hour] == [20, 21]
        assert [task["run_id"] for task in found["tasks"]] == [first["run_id"]] * 2 + [second["run_id"]] * 2
    # the same line again is no other run: the writer refuses it as a duplicate
    (only,) = read(CHOSEN, *one, one[0])["runs"]
    assert only["run_id"] == first["run_id"]


@pytest.mark.parametrize(
    ("place", "workflow"),
    [
        ("/r/trace_iwd.csv", "iwd"),
        ("/r/trace-rna-seq-3.txt.gz", "rna-seq"),
        ("/r/rnaseq.trace.txt", "rnaseq"),
        ("/out/sarek/pipeline_info/execution_trace_2024-05-26_19-54-50.txt", "sarek"),
        ("/out/sarek/trace-20240526-12345678.txt", "sarek"),
        ("trace.txt", None),
    ],
)
def test_the_address_names_the_workflow(
    read: Callable[..., dict[str, list[Any]]], place: str, workflow: str | None
) -> None:
    assert read(CHOSEN, FIRST, place=place)["runs"][0].get("workflow") == workflow


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("1m 3s", "soon", "wrong_type"),
        ("1m 3s", "-3s", "wrong_type"),
        ("2 GB", "2 XB", "wrong_type"),
        ("2024-05-26 19:54:51", "0001-01-01 00:00:00", "out_of_range"),
        ("2024-05-26 19:54:51", "9999-12-31T23:59:59-10:00", "out_of_range"),
        ("2024-05-26 19:54:51", "99999999999999999999", "out_of_range"),
        ("\tnode1\t", "\t", "not_the_format"),
        ("node1", "n" * 1001, "too_large"),
        ("1\tab/000001", "-\tab/000001", "missing_key"),
    ],
)
def test_a_bad_line_is_rejected_alone_and_leaves_the_run_alone(
    read: Callable[..., dict[str, list[Any]]], old: str, new: str, reason: str
) -> None:
    found = read(CHOSEN, FIRST.replace(old, new, 1), line(2, "ALIGN (a)", "COMPLETED", "0", "1", 0))
    assert [(reject.location, reject.reason) for reject in found["rejects"]] == [("line 2", reason)]
    assert [task["task_id"] for task in found["tasks"]] == ["2"]
    (run,) = found["runs"]
    assert (run["submitted_at"], run["finished_at"]) == (
        datetime(2024, 5, 26, 20),
        datetime(2024, 5, 26, 20, 0, 3),
    )


def test_what_cannot_be_read_of_further_columns_stays_and_programs_do_not(
    read: Callable[..., dict[str, list[Any]]],
) -> None:
    found = read("task_id\tname\tstatus\trchar\tcpus\tscript\tenv\tmine", "1\tfoo\tCOMPLETED\tmuch\t2\techo\tKEY=1\tx")
    assert found["tasks"][0]["extra"] == {"name": "foo", "rchar": "much", "cpus": 2, "mine": "x"}


@pytest.mark.parametrize("header", ["hash\tname\tstatus", "task_id\thash\tname\thash", '"task_id,' + "x" * 200_000])
def test_a_header_that_is_none_is_a_sentence(read: Callable[..., dict[str, list[Any]]], header: str) -> None:
    with pytest.raises(SourceError, match="trace-rnaseq") as caught:
        read(header, "1\t2\t3\t4")
    assert caught.value.reason == "not_the_format"


def test_a_header_alone_holds_no_run(read: Callable[..., dict[str, list[Any]]]) -> None:
    assert read(CHOSEN)["runs"] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("350ms", 350.0),
        ("6.1s", 6100.0),
        ("1m 3s", 63_000.0),
        ("2h 5m 1s", 7_501_000.0),
        ("1d 2h", 93_600_000.0),
        ("6094", 6094.0),
        ("6094.5", 6094.5),
        ("0", 0.0),
    ],
)
def test_durations(text: str, expected: float) -> None:
    assert parsing.duration_ms(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1.5 GB", 3 * 2**29), ("512 MB", 2**29), ("1 KB", 1024), ("5 B", 5), ("290197504", 290197504)],
)
def test_sizes_are_binary(text: str, expected: int) -> None:
    assert parsing.size_bytes(text) == expected


def test_instants_keep_their_milliseconds_and_turn_to_utc() -> None:
    assert parsing.instant("1716753290296") == datetime(2024, 5, 26, 19, 54, 50, 296_000)
    assert parsing.instant("2024-05-26T19:54:50.296+02:00") == datetime(2024, 5, 26, 17, 54, 50, 296_000)
    assert parsing.instant("05-04-23T10:46:27Z") == datetime(2023, 5, 4, 10, 46, 27)


@given(st.one_of(st.text(), st.from_regex(r"[-0-9.:dhms TZe+%KMGB]{1,120}", fullmatch=True)))
def test_no_text_breaks_the_readers_of_values(text: str) -> None:
    for read_it in (parsing.duration_ms, parsing.size_bytes, parsing.instant, parsing.percent):
        try:
            read_it(text)
        except Refused as refused:
            assert refused.reason in {"wrong_type", "out_of_range"}


GOOD = "\n".join([CHOSEN, FIRST, *(line(n, f"ALIGN ({n})", "COMPLETED", "0", "1", n) for n in range(2, 6))]) + "\n"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(st.data())
def test_damage_never_breaks_more_than_its_line(tmp_path: Path, data: st.DataObject) -> None:
    lines = GOOD.encode().split(b"\n")
    number = data.draw(st.integers(1, 5))
    text = lines[number]
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    damage = data.draw(
        st.one_of(st.binary(max_size=20), st.sampled_from([b"\x00", b"1e999", b"NaN", b"-1", b"9" * 400, b'"']))
    )
    lines[number] = (text[:start] + damage + text[end:]).replace(b"\n", b"").replace(b"\r", b"")
    path = tmp_path / "content"
    path.write_bytes(b"\r\n".join(lines))
    found = taken(nextflow.read, Document(path, "/runs/trace-x.txt", tmp_path))
    kept = {task["extra"]["hash"] for task in found["tasks"]}
    assert {f"ab/{n:06}" for n in range(1, 6) if n != number} <= kept


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A warehouse with the real trace, packed, and a humanised one."""
    root = tmp_path_factory.mktemp("nextflow")
    dumps = root / "dumps"
    dumps.mkdir()
    if TRACE.exists():
        (dumps / "trace_iwd.csv.gz").write_bytes(gzip.compress(TRACE.read_bytes()))
    (dumps / "trace-small.txt").write_text(GOOD)
    home = Home(root / "home")
    take_in(home, (str(dumps),), Labels())
    with open_current(home) as opened:
        yield opened


@needs_trace
def test_the_real_trace_says_in_the_warehouse_what_it_says_on_its_own(reader: Reader) -> None:
    with TRACE.open() as file:
        lines = list(csv.DictReader(file))
    (run,) = reader.frame("select * from run_summary where workflow = 'iwd'").to_dict("records")
    first, last = min(int(line["submit"]) for line in lines), max(int(line["complete"]) for line in lines)
    assert run["tasks_seen"] == len(lines) == 1661
    assert run["execution_ms"] == sum(int(line["realtime"]) for line in lines)
    assert run["makespan_ms"] == last - first
    assert run["failed_tasks"] == 0
    times = reader.frame(
        "select function, count(*) as tasks, max(memory_mb) as mb from task_times where run_id = ? group by all",
        [run["run_id"]],
    )
    wanted = {line["process"]: int(line["memory"]) // 1024**2 for line in lines}
    assert dict(zip(times["function"], times["mb"], strict=True)) == wanted
    assert times["tasks"].sum() == 1661
    (offset,) = reader.frame(
        "select start_offset_ms from task_times where run_id = ? and task_id = '26'", [run["run_id"]]
    )["start_offset_ms"]
    assert offset == 1716753291000 - first


def test_a_trace_records_no_invocations_so_starts_are_unknown(reader: Reader) -> None:
    (run,) = reader.frame("select * from run_summary where workflow = 'small'").to_dict("records")
    assert (run["workers"], run["tasks_seen"], run["unknown_starts"]) == (1, 5, 1)
    # from FIRST's submission until line 5's end at 20:00:08
    assert run["makespan_ms"] == (5 * 60 + 17) * 1000 + 704
    for view in ("cold_starts", "worker_active_periods"):
        assert reader.frame(f"select * from {view} where run_id = '{run['run_id']}'").empty

"""SeBS-Flow measurements: hand-written files of the benchmark's columns, the recorded ones, and what the views say of them."""

from __future__ import annotations

import csv
import gzip
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.adapters import sebs_flow
from ingest.adapters.adapter import Document, batches
from ingest.adapters.sebs_flow import MAX_FUNCTIONS
from ingest.commands import take_in
from ingest.labels import Labels
from tests.warehouse.views import one
from warehouse.batches import Reject, Rows, Skipped, UnknownFields
from warehouse.connection import open_current
from warehouse.errors import SourceError
from warehouse.home import Home
from warehouse.tables import REJECT_REASONS

FIELD = Path(__file__).parents[3].parent / "shared" / "data" / "field"
RECORDED = FIELD / "sebs-flow"
needs_recordings = pytest.mark.skipif(not RECORDED.is_dir(), reason=f"no recordings in {RECORDED}")

PLAIN = "func,start,end,is_cold,container_id,provider.request_id,blob.upload,blob.download,request_id"
PROVIDER = "provider.execution_duration,provider.init_duration,max_mem_used,billing.duration,billing.mem,billing.gbs"
COLD = "load,1722673441.5,1722673443.25,True,c1,call-1,2048,1024.0,run-1"
WARM = "save,1722673444,1722673444.000001,False,c2,call-2,0,0,run-1"
AWS = "/data/6200.trip-booking/aws_2e10/2024/burst_128_processed.csv"
AZURE = "/data/6200.trip-booking/azure/2024/warm_128.csv"


class Read:
    """What an adapter made of a text."""

    def __init__(self, tmp_path: Path, lines: Iterable[str], place: str = AWS, *, packed: bool = False) -> None:
        path = tmp_path / "content"
        content = "\n".join(lines).encode("utf-8", "surrogatepass")
        path.write_bytes(gzip.compress(content) if packed else content)
        self.rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.rejects: list[tuple[str, str]] = []
        self.skipped = 0
        self.unknown: dict[str, int] = {}
        for batch in batches(sebs_flow.read, Document(path, place, tmp_path)):
            match batch:
                case Rows(table, rows):
                    self.rows[table] += rows
                case Reject():
                    assert batch.reason in REJECT_REASONS
                    self.rejects.append((batch.location, batch.reason))
                case Skipped(count):
                    self.skipped += count
                case UnknownFields(counts):
                    self.unknown |= counts

    def tags(self) -> dict[str, str]:
        return {row["tag"]: row["value"] for row in self.rows["run_tags"]}


# Recognition ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        PLAIN + "\n" + COLD,
        f"\ufeff{PLAIN},{PROVIDER}\r\n".removeprefix("\ufeff"),
        "request_id,is_cold,end,start,func\n",
        '"func","start","end","request_id","container_id"',
    ],
)
def test_a_header_of_calls_is_recognised_in_any_order(head: str) -> None:
    assert sebs_flow.recognise(head)


@pytest.mark.parametrize(
    "head",
    [
        "",
        "\n" + PLAIN,
        "func,start,end,request_id",  # nothing typical of it
        "func,start,is_cold,request_id",
        "task_id,hash,native_id,name,status,exit,submit,start,complete,duration,realtime",
        "task_id\thash\tnative_id\tname\tstatus",
        '{"run_id": "r", "func": 1, "start": 2, "end": 3, "request_id": 4, "is_cold": true}',
        "START RequestId: 8f5, func,start,end,request_id\n",
        '{"resourceSpans": []}',
        '"func,start\x00',
    ],
)
def test_other_formats_are_not(head: str) -> None:
    assert not sebs_flow.recognise(head)


@needs_recordings
def test_recorded_files_are_told_apart() -> None:
    heads = {path: path.read_text()[:65_536] for path in FIELD.rglob("*.*") if path.is_file()}
    assert {path for path, head in heads.items() if sebs_flow.recognise(head)} == set(RECORDED.rglob("*.csv"))


# What a row becomes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
def test_a_call_is_a_task_and_an_invocation(tmp_path: Path, packed: bool) -> None:
    """1722673441.5 s are 2024-08-03 08:24:01.5; 1901750 us are 1901.75 ms; the request lies the init, 221.98 ms, before the start."""
    line = COLD + ",1901750.0,221980.0,78.0,1902.0,256.0,486912.0"
    read = Read(tmp_path, [f"{PLAIN},{PROVIDER}", line], packed=packed)
    assert not read.rejects
    worker = {"run_id": "run-1", "worker_id": "call-1", "memory_mb": 256, "max_memory_mb": 78.0}
    assert one(read.rows["tasks"]) == worker | {
        "task_id": "call-1",
        "attempt": 1,
        "function": "load",
        "kind": "function",
        "started_at": datetime(2024, 8, 3, 8, 24, 1, 500_000),
        "execution_ms": 1750.0,
        "output_bytes": 2048,
    }
    assert one(read.rows["task_inputs"]) == {
        "run_id": "run-1",
        "task_id": "call-1",
        "object_id": "object storage",
        "input_bytes": 1024,
    }
    assert one(read.rows["invocations"]) == worker | {
        "invocation_id": "call-1",
        "function": "6200.trip-booking/load",
        "container_id": "c1",
        "requested_at": datetime(2024, 8, 3, 8, 24, 1, 278_020),
        "ready_at": datetime(2024, 8, 3, 8, 24, 1, 500_000),
        "reported_state": "cold",
        "init_ms": 221.98,
        "billed_ms": 1902.0,
        "initial_task_ids": ["call-1"],
        "phases": {"provider_execution": 1901.75},
        "extra": {"billing.gbs": 486912.0},
    }


def test_the_zeros_of_a_provider_that_knows_nothing_are_unknown(tmp_path: Path) -> None:
    read = Read(tmp_path, [f"{PLAIN},{PROVIDER}", WARM + ",0.0,0.0,,,,0.0"])
    assert set(one(read.rows["invocations"])) == {
        *("invocation_id", "run_id", "worker_id", "function", "container_id", "ready_at", "reported_state"),
        "initial_task_ids",
    }
    task = one(read.rows["tasks"])
    assert task["execution_ms"] == 0.001
    assert not task.keys() & {"memory_mb", "output_bytes", "max_memory_mb"}
    assert not read.rows["task_inputs"]


def test_a_run_lasts_from_its_first_start_to_its_last_end_however_its_rows_lie(tmp_path: Path) -> None:
    """run-1: 441.5 to 444.000001; the orchestrator's row of run-2 begins after its call and counts to its end, as no task."""
    other = "load,1722673445,1722673446,,,,,,run-2"
    whole = "run_workflow,1722673446.5,1722673446.75,,,,,,run-2"
    read = Read(tmp_path, [PLAIN, WARM, whole, COLD, other])
    runs = {row["run_id"]: row for row in read.rows["runs"]}
    begin = datetime(2024, 8, 3, 8, 24)
    assert {run: (row["submitted_at"], row["finished_at"]) for run, row in runs.items()} == {
        "run-1": (begin.replace(second=1, microsecond=500_000), begin.replace(second=4, microsecond=1)),
        "run-2": (begin.replace(second=5), begin.replace(second=6, microsecond=750_000)),
    }
    assert {row["task_id"] for row in read.rows["tasks"]} == {"call-1", "call-2", "load-1"}
    unnamed = one([row for row in read.rows["invocations"] if row["run_id"] == "run-2"])
    assert unnamed["invocation_id"] == "run-2/load-1"
    assert "reported_state" not in unnamed


def test_runs_with_the_same_calls_share_a_structure(tmp_path: Path) -> None:
    lines = [
        f"{function},1722673445,1722673446,,,,,,{run}"
        for run, calls in {"a": "fgg", "b": "gfg", "c": "fg", "d": "fggh"}.items()
        for function in calls
    ]
    hashes = {row["run_id"]: row["structure_hash"] for row in Read(tmp_path, [PLAIN, *lines]).rows["runs"]}
    assert hashes["a"] == hashes["b"]
    assert len(set(hashes.values())) == 3
    elsewhere = Read(tmp_path, [PLAIN, *lines], "/data/6300.other/aws/burst_128.csv").rows["runs"]
    assert not {row["structure_hash"] for row in elsewhere} & set(hashes.values())


@pytest.mark.parametrize(
    ("place", "workflow", "cloud", "tags", "pool"),
    [
        (
            *(AWS, "6200.trip-booking", "aws"),
            {"mode": "burst", "memory_setting": "128", "variant": "2e10", "recording": "2024"},
            "6200.trip-booking/load",
        ),
        (
            *(AZURE + ".gz", "6200.trip-booking", "azure"),
            {"mode": "warm", "memory_setting": "128", "recording": "2024"},
            "6200.trip-booking",
        ),
        (
            *("s3://b/w/gcp/burst_256_first_iteration.csv", "w", "gcp"),
            {"mode": "burst", "memory_setting": "256", "warm_up": "yes"},
            "w/load",
        ),
        ("/aws/sequential.csv", None, None, {"mode": "sequential"}, "load"),
        ("/somewhere/calls.csv", None, None, {}, "load"),
    ],
)
def test_the_address_tells_workflow_cloud_and_mode(
    tmp_path: Path, place: str, workflow: str | None, cloud: str | None, tags: dict[str, str], pool: str
) -> None:
    read = Read(tmp_path, [PLAIN, COLD], place)
    run = one(read.rows["runs"])
    assert (run["engine"], run.get("workflow"), run.get("environment")) == ("sebs-flow", workflow, cloud)
    assert read.tags() == tags
    assert one(read.rows["invocations"])["function"] == pool


def test_columns_may_come_in_any_order_be_missing_or_unknown(tmp_path: Path) -> None:
    read = Read(tmp_path, ["request_id,retries,end,func,is_cold,start", "run-1,3,1722673446,load,FALSE,1722673445"])
    call = one(read.rows["invocations"])
    assert (call["reported_state"], call["extra"]) == ("warm", {"retries": "3"})
    assert read.unknown == {"retries": 1}


# What cannot be ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (COLD.replace("1722673441.5", "soon"), "wrong_type"),
        (COLD.replace("1722673441.5", "nan"), "wrong_type"),
        (COLD.replace("1722673441.5", ""), "missing_key"),
        (COLD.replace("1722673441.5", "1722673441500"), "out_of_range"),  # milliseconds
        (COLD.replace("1722673441.5", "1e999999999"), "out_of_range"),
        (COLD.replace("1722673441.5", "-Infinity"), "out_of_range"),
        (COLD.replace("1722673441.5", "-62135596800"), "out_of_range"),  # the year 1
        (COLD.replace("1722673441.5", "253370764800"), "out_of_range"),  # the year 9999
        (COLD.replace("1722673443.25", "1722673441.25"), "out_of_range"),
        (COLD.replace("run-1", ""), "missing_key"),
        (COLD.replace("load", "x" * 1_001), "too_large"),
        (COLD.replace("True", "maybe"), "wrong_type"),
        (COLD.replace("2048", "-1"), "out_of_range"),
        (COLD.replace("2048", "9" * 400), "out_of_range"),
        (COLD.replace("2048", "sNaN") + ",surplus", "not_the_format"),
        (COLD.rpartition(",")[0], "not_the_format"),
        ('"' + COLD, "not_the_format"),
        ("x" * 200_000 + COLD, "not_the_format"),
    ],
)
def test_a_bad_line_is_rejected_with_its_number_and_the_others_stand(tmp_path: Path, line: str, reason: str) -> None:
    read = Read(tmp_path, [PLAIN, "", line, WARM])
    assert read.rejects == [("line 3", reason)]
    assert [row["task_id"] for row in read.rows["tasks"]] == ["call-2"]
    assert one(read.rows["runs"])["submitted_at"] == datetime(2024, 8, 3, 8, 24, 4)


def test_a_run_of_more_functions_than_anybody_writes_ends_there(tmp_path: Path) -> None:
    lines = [f"f{number},1722673445,1722673446,,,,,,run-1" for number in range(MAX_FUNCTIONS + 2)]
    read = Read(tmp_path, [PLAIN, *lines])
    assert read.rejects == [("line 1002", "too_large"), ("line 1003", "too_large")]
    assert len(read.rows["tasks"]) == MAX_FUNCTIONS


def test_counts_that_runs_share_are_no_more_than_what_is_kept_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sebs_flow, "MAX_SHARED", 2)
    known: dict[Any, Any] = {}
    runs = [sebs_flow._Run("line 2", 0, 0) for _ in range(3)]
    for run in runs:
        assert [run.called(function, known) for function in ("f", "f", "g", "f")] == [1, 2, 1, 3]
    assert {run.calls for run in runs} == {(("f", 3), ("g", 1))}
    assert len(known) == 2  # each call of each run would be one


def test_a_header_that_comes_again_is_passed_over_and_one_alone_is_no_run(tmp_path: Path) -> None:
    read = Read(tmp_path, ["\ufeff" + PLAIN + "\r", COLD + "\r", PLAIN + "\r", WARM + "\r"])
    assert (read.skipped, read.rejects, len(read.rows["tasks"])) == (1, [], 2)
    assert not Read(tmp_path, [PLAIN]).rows


def test_of_columns_named_alike_the_first_counts(tmp_path: Path) -> None:
    read = Read(tmp_path, ["func,start,end,is_cold,request_id,func", "load,1722673445,1722673446,,run-1,save"])
    assert one(read.rows["tasks"])["function"] == "load"


def test_without_a_header_there_is_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        Read(tmp_path, [COLD, WARM])
    assert caught.value.reason == "unknown_format"


GOOD = [
    f"{PLAIN},{PROVIDER}",
    *(f"f{n},172267344{n},172267345{n}.5,True,c,call-{n},1,2,run,1.0,2.0,3,4,5,6" for n in range(6)),
]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_a_line_holds_the_others_come(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    number = data.draw(st.integers(1, 6), label="line")
    cells = GOOD[number].split(",")
    place = data.draw(st.integers(0, len(cells) - 1), label="cell")
    odd = st.text(st.characters(exclude_characters="\r\n"), max_size=30)
    numbers = st.sampled_from(
        ["-0", "1e308", "1e-400", "9" * 5_000, "-1", "0x10", "1_0", "٣", "inf", "nan", "-sNaN", "\x00"]
    )
    cells[place] = data.draw(odd | numbers | st.floats().map(repr), label="value")
    lines = [*GOOD[:number], ",".join(cells), *GOOD[number + 1 :]]
    read = Read(tmp_path_factory.mktemp("odd"), lines)
    others = {f"call-{other - 1}" for other in range(1, 7) if other != number}
    assert others <= {row["task_id"] for row in read.rows["tasks"]}
    assert others <= {row["invocation_id"] for row in read.rows["invocations"]}
    assert {location for location, _ in read.rejects} <= {f"line {number + 1}"}


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 400), st.binary(max_size=20), st.integers(0, 20), st.integers(0, 600))
def test_a_file_that_was_damaged_or_cut_is_read_as_far_as_it_goes(
    tmp_path_factory: pytest.TempPathFactory, place: int, odd: bytes, lost: int, cut: int
) -> None:
    content = "\n".join(GOOD).encode()
    damaged = content[:place] + odd + content[place + lost :]
    path = tmp_path_factory.mktemp("damaged") / "content"
    path.write_bytes(damaged[: len(damaged) - cut])
    try:
        found = list(batches(sebs_flow.read, Document(path, AWS, path.parent)))
    except SourceError:
        assert place < len(GOOD[0]) or cut
        return
    assert all(isinstance(batch, Rows | Reject | Skipped | UnknownFields) for batch in found)


# The recorded files --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """All twelve recorded files: six recordings, each with and without what the provider says."""
    home = Home(tmp_path_factory.mktemp("sebs"))
    take_in(home, (str(RECORDED),), Labels())
    return home


def query(home: Home, sql: str) -> list[dict[str, Any]]:
    with open_current(home) as reader:
        return reader.frame(sql).to_dict("records")


def recorded(name: str) -> list[dict[str, str]]:
    with (RECORDED / "6200.trip-booking" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@needs_recordings
def test_every_recorded_run_and_call_is_there_once_from_the_richer_file(home: Home) -> None:
    (counts,) = query(home, "select count(*) as runs, count(distinct run_id) as names from runs")
    assert (counts["runs"], counts["names"]) == (639, 639)  # 180 + 77 + 180 + 82 + 60 + 60
    files = query(
        home,
        "select key like '%processed.csv' as richer, status, count(*) as n, sum(rejected) as rejected from files group by all",
    )
    assert {(row["richer"], row["status"]): (row["n"], row["rejected"]) for row in files} == {
        (True, "loaded"): (6, 0),
        (False, "duplicate"): (6, 0),
    }


@needs_recordings
@pytest.mark.parametrize("name", ["aws/2024/burst_128", "gcp/2024/warm_128", "azure/2024/burst_128"])
def test_runs_and_starts_are_those_of_the_file(home: Home, name: str) -> None:
    """Worked out from the CSV itself: last end minus first start, and the labels, per run."""
    rows = defaultdict(list)
    for row in recorded(f"{name}.csv"):
        rows[row["request_id"]].append(row)
    cloud, _, mode = name.partition("/2024/")
    found = query(
        home,
        f"select * from run_summary where environment = '{cloud}' and tags['mode'] = '{mode.partition('_')[0]}'",
    )
    assert {row["run_id"] for row in found} == rows.keys()
    for row in found:
        mine = rows[row["run_id"]]
        calls = [call for call in mine if call["func"] != "run_workflow"]
        makespan = max(float(call["end"]) for call in mine) - min(float(call["start"]) for call in mine)
        execution = sum(float(call["end"]) - float(call["start"]) for call in calls)
        states = Counter(call["is_cold"] for call in calls)
        assert row["makespan_ms"] == pytest.approx(1000 * makespan, abs=0.01)
        assert row["execution_ms"] == pytest.approx(1000 * execution, abs=0.01)
        assert (row["cold_starts"], row["warm_starts"], row["unknown_starts"]) == (states["True"], states["False"], 0)
        assert (row["workers"], row["tasks_seen"], row["is_complete"]) == (6, 6, True)


@needs_recordings
def test_views_say_what_the_source_knows(home: Home) -> None:
    (periods,) = query(
        home,
        "select count(*) as n, count(*) filter (active_ms is null and startup_ms is null) as without_request,"
        " count(*) filter (startup_ms = init_ms) as startups from worker_active_periods"
        " inner join invocations using (invocation_id)",
    )
    # 1,080 + 16 calls of AWS have an init; of no other call is known when it was asked for
    assert (periods["n"], periods["startups"], periods["without_request"]) == (3834, 1096, 3834 - 1096)
    (tasks,) = query(
        home, "select count(*) as n, count(finished_at) as ended, count(inputs_bytes) as sized from task_times"
    )
    assert (tasks["n"], tasks["ended"], tasks["sized"]) == (3834, 3834, 0)
    sources = query(home, "select distinct state_source from cold_starts")
    assert [row["state_source"] for row in sources] == ["reported"]
    quality = query(home, "from cold_start_inference_quality")
    assert sum(row["n"] for row in quality) == 3834
    assert sum(row["warm_as_cold"] for row in quality) <= 1
    assert sum(row["cold_as_warm"] for row in quality) == 0


@needs_recordings
@pytest.mark.parametrize("first", ["warm_128.csv", "warm_128_processed.csv"])
def test_the_richer_file_stands_whichever_came_first_and_alone_and_packed(tmp_path: Path, first: str) -> None:
    folder = tmp_path / "6200.trip-booking" / "aws" / "2024"
    folder.mkdir(parents=True)
    home = Home(tmp_path / "home")
    names = sorted(["warm_128.csv", "warm_128_processed.csv"], key=lambda name: name != first)
    for name in names:
        packed = folder / f"{name}.gz"
        with (
            packed.open("wb") as file,
            (RECORDED / "6200.trip-booking/aws/2024" / name).open("rb") as plain,
            gzip.open(file, "wb") as out,
        ):
            shutil.copyfileobj(plain, out)
        take_in(home, (str(packed),), Labels())
    (found,) = query(home, "select count(*) as n, count(billed_ms) as billed from invocations")
    assert (found["n"], found["billed"]) == (462, 380)
    (runs,) = query(
        home, "select count(*) as n, any_value(workflow) as workflow, any_value(environment) as cloud from runs"
    )
    assert (runs["n"], runs["workflow"], runs["cloud"]) == (77, "6200.trip-booking", "aws")

"""WfCommons instances: three real ones counted independently, and documents written by hand from the WfFormat schemas."""

from __future__ import annotations

import copy
import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.adapters import json_stream, wfcommons
from ingest.adapters.adapter import HEAD_BYTES, Document
from ingest.commands import take_in
from ingest.labels import Labels
from tests.ingest.adapters.taking import taken
from warehouse.connection import Reader, open_current
from warehouse.errors import SourceError
from warehouse.home import Home

INSTANCES = Path(__file__).parents[3].parent / "shared/data/field/wfcommons"
FILES = sorted(INSTANCES.glob("*.json"))
needs_instances = pytest.mark.skipif(not FILES, reason=f"no recorded instances in {INSTANCES}")


def specified(name: str, parents: str = "", children: str = "", inputs: str = "", outputs: str = "") -> dict[str, Any]:
    return {
        "name": name,
        "id": name,
        "parents": parents.split(),
        "children": children.split(),
        "inputFiles": inputs.split(),
        "outputFiles": outputs.split(),
    }


# split_1 -> work_2, work_3 -> join_4. The edge to work_3 stands with its parent alone, that to join_4 from work_2 with its child.
WFFORMAT_15: dict[str, Any] = {
    "name": "diamond-1683197671.json",
    "schemaVersion": "1.5",
    "createdAt": "2024-01-02T00:00:00",
    "runtimeSystem": {"name": "Pegasus", "version": "5.0"},
    "workflow": {
        "specification": {
            "tasks": [
                specified("split_1", "", "work_2 work_3", "in.txt", "a b"),
                specified("work_2", "split_1", "", "a", "c"),
                specified("work_3", "", "join_4", "b b", "d"),
                specified("join_4", "work_2 work_3", "", "c d in.txt", "out"),
            ],
            "files": [
                {"id": name, "sizeInBytes": size} for name, size in [("in.txt", 100), ("a", 10), ("b", 20), ("c", 7)]
            ],
        },
        "execution": {
            "makespanInSeconds": 12.5,
            "executedAt": "01-02-24T10:00:00Z",
            "machines": [{"nodeName": "m1", "memoryInBytes": 8 * 2**30}],
            "tasks": [
                {"id": "split_1", "runtimeInSeconds": 1.001, "memoryInBytes": 3 * 2**20, "machines": ["m1"]},
                {"id": "work_2", "runtimeInSeconds": 2, "readBytes": 5, "writtenBytes": 6, "avgCPU": 99.5},
                {"id": "work_3", "runtimeInSeconds": 3, "command": {"program": "work", "arguments": ["secret"]}},
                {"id": "join_4", "runtimeInSeconds": 4, "executedAt": "2024-01-02T10:00:08.5+00:00"},
            ],
        },
    },
}


def old_file(name: str, size: int, link: str) -> dict[str, Any]:
    return {"name": name, "sizeInBytes": size, "link": link}


# WfFormat 1.4: one list; tasks named by name, ids apart; the second kind of name holds its id.
WFFORMAT_14: dict[str, Any] = {
    "name": "old",
    "schemaVersion": "1.4",
    "wms": {"name": "Makeflow", "version": "1"},
    "workflow": {
        "executedAt": "2024-01-02T10:00:00+0100",
        "makespanInSeconds": 5,
        "machines": [{"nodeName": "m1"}, {"nodeName": "m2"}],
        "tasks": [
            {
                "name": "split",
                "id": "ID1",
                "parents": [],
                "files": [old_file("in", 3, "input"), old_file("mid", 4, "output")],
                "runtimeInSeconds": 1.5,
                "machine": "m2",
                "memoryInBytes": 2**20,
                "category": "splitter",
            },
            {
                "name": "join_ID2",
                "id": "ID2",
                "parents": ["split"],
                "files": [old_file("mid", 4, "input"), old_file("out", 5, "output")],
                "runtimeInSeconds": 2,
            },
        ],
    },
}


def in_12(document: dict[str, Any]) -> dict[str, Any]:
    """The same in WfFormat 1.2: jobs, sizes and durations without units in their names, memory in kB."""
    text = (
        json.dumps(document).replace("InSeconds", "").replace("sizeInBytes", "size").replace("memoryInBytes", "memory")
    )
    old: dict[str, Any] = json.loads(text)
    old["workflow"]["jobs"] = old["workflow"].pop("tasks")
    old["workflow"]["jobs"][0]["memory"] = 1000
    return old


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., dict[str, list[Any]]]:
    def read_(document: dict[str, Any] | bytes) -> dict[str, list[Any]]:
        path = tmp_path / "content"
        path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
        return taken(wfcommons.read, Document(path, "/instances/some.json", tmp_path))

    return read_


def edges_of(found: dict[str, list[Any]]) -> set[tuple[str, str]]:
    edges = [(row["upstream_task_id"], row["task_id"]) for row in found["edges"]]
    assert len(set(edges)) == len(edges)
    return set(edges)


def changed(**changes: Any) -> dict[str, Any]:
    """WFFORMAT_15 with a task of the specification changed: `task=0, parents=[...]`."""
    document = copy.deepcopy(WFFORMAT_15)
    document["workflow"]["specification"]["tasks"][changes.pop("task")] |= changes
    return document


def test_instances_of_any_layout_are_recognised_and_other_json_is_not() -> None:
    for document in (WFFORMAT_15, WFFORMAT_14, in_12(WFFORMAT_14)):
        for indent in (None, 4):
            assert wfcommons.recognise(json.dumps(document, indent=indent)[:HEAD_BYTES])
    assert wfcommons.recognise(json.dumps(WFFORMAT_15)[:300])
    for other in (
        '{"resourceSpans": [{"resource": {"workflow": {"specification": {"tasks": []}}}}]}',
        '{"time": "2024-01-01T00:00:00Z", "type": "platform.report", "record": {}}',
        '{"workflow": {"tasks": []}}',
        '{"schemaVersion": "1.5", "jobs": []}',
        '{"a": "\\"schemaVersion\\": 1, workflow: {specification: {tasks: []}}"}',
        "task_id\thash\tname",
        "[" * 60_000,
        '{"a":' + "9" * 10_000,
        "",
    ):
        assert not wfcommons.recognise(other)


@needs_instances
def test_real_instances_are_recognised() -> None:
    assert all(wfcommons.recognise(path.read_text()[:HEAD_BYTES]) for path in FILES)


def test_a_document_becomes_a_run_its_tasks_edges_and_inputs(read: Callable[..., dict[str, list[Any]]]) -> None:
    found = read(WFFORMAT_15)
    assert found["rejects"] == []
    (run,) = found["runs"]
    run_id = run["run_id"]
    assert run == {
        "run_id": run_id,
        "engine": "pegasus",
        "engine_version": "5.0",
        "workflow": "diamond",
        "structure_hash": run["structure_hash"],
        "submitted_at": datetime(2024, 1, 2, 10),
        "finished_at": datetime(2024, 1, 2, 10, 0, 12, 500_000),
        "environment": "m1",
        "sink_task_id": "join_4",
        "expected_tasks": 4,
        "extra": {
            "instance": "diamond-1683197671.json",
            "created_at": "2024-01-02T00:00:00",
            "schema_version": "1.5",
            "machines": 1,
        },
    }
    known = {"run_id": run_id, "attempt": 1, "kind": "executable"}
    assert found["tasks"] == [
        known
        | {
            "task_id": "split_1",
            "function": "split",
            "worker_id": "m1",
            "execution_ms": 1001.0,
            "max_memory_mb": 3.0,
            "output_bytes": 30,
        },
        known
        | {
            "task_id": "work_2",
            "function": "work",
            "execution_ms": 2000.0,
            "output_bytes": 7,
            "extra": {"cpu_percent": 99.5, "read_bytes": 5, "written_bytes": 6},
        },
        # the size of d is unknown
        known | {"task_id": "work_3", "function": "work", "execution_ms": 3000.0, "extra": {"program": "work"}},
        known
        | {
            "task_id": "join_4",
            "function": "join",
            "execution_ms": 4000.0,
            "started_at": datetime(2024, 1, 2, 10, 0, 8, 500_000),
        },
    ]
    assert edges_of(found) == {
        ("split_1", "work_2"),
        ("split_1", "work_3"),
        ("work_2", "join_4"),
        ("work_3", "join_4"),
    }
    inputs = [
        (row["task_id"], row["object_id"], row.get("upstream_task_id"), row.get("input_bytes"))
        for row in found["task_inputs"]
    ]
    assert inputs == [
        ("split_1", "in.txt", None, 100),
        ("work_2", "a", "split_1", 10),
        ("work_3", "b", "split_1", 20),
        ("join_4", "c", "work_2", 7),
        ("join_4", "d", "work_3", None),
        ("join_4", "in.txt", None, 100),
    ]


def test_older_layouts_say_the_same(read: Callable[..., dict[str, list[Any]]]) -> None:
    for document, memory_mb in ((WFFORMAT_14, 1.0), (in_12(WFFORMAT_14), 1_000_000 / 2**20)):
        found = read(document)
        assert found["rejects"] == []
        (run,) = found["runs"]
        assert (run["engine"], run["submitted_at"]) == ("makeflow", datetime(2024, 1, 2, 9))
        assert run["finished_at"] == datetime(2024, 1, 2, 9, 0, 5)
        assert "environment" not in run  # two machines
        first, second = found["tasks"]
        assert (first["task_id"], first["function"], first["worker_id"]) == ("split_ID1", "splitter", "m2")
        assert (first["execution_ms"], first["output_bytes"], first["max_memory_mb"]) == (1500.0, 4, memory_mb)
        assert (second["task_id"], second["function"], second["execution_ms"]) == ("join_ID2", "join", 2000.0)
        assert edges_of(found) == {("split_ID1", "join_ID2")}
        assert [row.get("upstream_task_id") for row in found["task_inputs"]] == [None, "split_ID1"]


def test_the_structure_is_that_of_functions_whatever_their_numbers(read: Callable[..., dict[str, list[Any]]]) -> None:
    text = json.dumps(WFFORMAT_15)
    renumbered = json.loads(text.replace("work_2", "work_9"))
    renumbered["workflow"]["specification"]["tasks"].reverse()
    longer = json.loads(text.replace("work_2", "other_2"))
    hashes = [read(document)["runs"][0]["structure_hash"] for document in (WFFORMAT_15, renumbered, longer)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_same_document_is_the_same_run_packed_or_not(
    tmp_path: Path, read: Callable[..., dict[str, list[Any]]]
) -> None:
    content = json.dumps(WFFORMAT_15).encode()
    path = tmp_path / "packed"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + content))
    packed = taken(wfcommons.read, Document(path, "s3://b/x.json.gz", tmp_path))
    assert packed["tasks"] == [row | {"run_id": packed["runs"][0]["run_id"]} for row in read(content)["tasks"]]
    path.write_bytes(gzip.compress(content))
    assert taken(wfcommons.read, Document(path, "s3://b/x.json.gz", tmp_path)) == read(content)


@pytest.mark.parametrize(
    ("change", "location", "reason", "lost"),
    [
        ({"task": 1, "parents": ["split_1", "gone"]}, "task 2", "missing_key", set()),
        ({"task": 1, "children": ["gone"]}, "task 2", "missing_key", set()),
        ({"task": 1, "parents": ["work_2", "split_1"]}, "task 2", "not_the_format", set()),
        # split_1 needs join_4, which needs it: walking up from split_1, the edge out of split_1 is the last on the way
        ({"task": 0, "parents": ["join_4"]}, "task 2", "not_the_format", {("split_1", "work_2")}),
    ],
)
def test_edges_that_lead_nowhere_or_round_are_rejected_and_tasks_stay(
    read: Callable[..., dict[str, list[Any]]],
    change: dict[str, Any],
    location: str,
    reason: str,
    lost: set[tuple[str, str]],
) -> None:
    found = read(changed(**change))
    assert (location, reason) in [(reject.location, reject.reason) for reject in found["rejects"]]
    assert len(found["tasks"]) == 4
    assert lost.isdisjoint(edges_of(found))
    needs: dict[str, set[str]] = {row["task_id"]: set() for row in found["tasks"]}
    for upstream, task in edges_of(found):
        needs[task].add(upstream)
    while ready := [task for task, upstream in needs.items() if not upstream]:
        needs = {task: upstream - set(ready) for task, upstream in needs.items() if task not in ready}
    assert not needs  # what is left is without cycles


def test_bad_tasks_are_rejected_alone(read: Callable[..., dict[str, list[Any]]]) -> None:
    document = copy.deepcopy(WFFORMAT_15)
    executed = document["workflow"]["execution"]["tasks"]
    executed[1]["runtimeInSeconds"] = -2
    executed[2]["runtimeInSeconds"] = "3"
    executed += [{"id": "gone", "runtimeInSeconds": 1}, "work_2", {"id": ["x"]}]
    document["workflow"]["specification"]["tasks"] += [specified("split_1"), 7, {"parents": []}]
    found = read(document)
    assert [(reject.location, reject.reason) for reject in found["rejects"]] == [
        ("task 5", "duplicate_key"),
        ("task 6", "wrong_type"),
        ("task 7", "missing_key"),
        ("task 2", "out_of_range"),
        ("task 3", "wrong_type"),
        ("task 5", "missing_key"),
        ("task 6", "missing_key"),
        ("task 7", "missing_key"),
    ]
    assert [task["task_id"] for task in found["tasks"]] == ["split_1", "join_4"]
    assert found["runs"][0]["expected_tasks"] == 4


@pytest.mark.parametrize("executed_at", ["soon", "9999-12-31T23:59:59Z", 7])
def test_a_run_stays_where_its_time_is_none(read: Callable[..., dict[str, list[Any]]], executed_at: object) -> None:
    document = copy.deepcopy(WFFORMAT_15)
    document["workflow"]["execution"]["executedAt"] = executed_at
    found = read(document)
    assert "submitted_at" not in found["runs"][0]
    assert [reject.location for reject in found["rejects"]] == ["executedAt or makespan of the run"]
    assert len(found["tasks"]) == 4


def test_a_file_two_tasks_write_comes_from_the_one_that_is_waited_for(
    read: Callable[..., dict[str, list[Any]]],
) -> None:
    document = changed(task=0, outputFiles=["a", "b", "c"])
    inputs = {(row["task_id"], row["object_id"]): row.get("upstream_task_id") for row in read(document)["task_inputs"]}
    assert inputs["join_4", "c"] == "work_2"
    in_place = changed(task=1, outputFiles=["a"])
    inputs = {(row["task_id"], row["object_id"]): row.get("upstream_task_id") for row in read(in_place)["task_inputs"]}
    assert inputs["work_2", "a"] == "split_1"


def test_a_workflow_that_was_not_executed_is_skipped(read: Callable[..., dict[str, list[Any]]]) -> None:
    document = copy.deepcopy(WFFORMAT_15)
    del document["workflow"]["execution"]
    found = read(document)
    assert found.pop("skipped") == [4]
    assert not any(found.values())


def test_memory_is_read_as_kilobytes_where_no_machine_could_be_that_small(
    read: Callable[..., dict[str, list[Any]]],
) -> None:
    document = copy.deepcopy(WFFORMAT_15)
    for bytes_of_machine, as_kilobytes in ((196_483_612, True), (8 * 2**30, False)):
        document["workflow"]["execution"]["machines"][0]["memoryInBytes"] = bytes_of_machine
        found = read(document)
        expected = 3 * 2**20 * (1000 if as_kilobytes else 1) / 2**20
        assert found["tasks"][0]["max_memory_mb"] == expected
        assert ("memory_in_bytes_read_as" in found["runs"][0]["extra"]) is as_kilobytes


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (json.dumps(WFFORMAT_15).encode()[:-40], "truncated"),
        (json.dumps(WFFORMAT_15).encode() + b"{}", "not_json"),
        (json.dumps(WFFORMAT_15).encode().replace(b"1.001", b"NaN"), "not_json"),
        (json.dumps(WFFORMAT_15).encode().replace(b"1.001", b"9" * 5000), "out_of_range"),
        (json.dumps(WFFORMAT_15).encode().replace(b"1.001", b"1e" + b"9" * 100), "out_of_range"),
        (json.dumps(WFFORMAT_15).encode().replace(b"1.001", b"[" * 100_000), "too_deep"),
        (json.dumps(WFFORMAT_15).encode().replace(b"work_3", b"work\xff"), "not_json"),
        (json.dumps(WFFORMAT_15).encode().replace(b"work_3", b"work\xed\xa0\x80"), "not_json"),
        (b'{"schemaVersion": "1.5", "workflow": {}}', "not_the_format"),
        (b"[]", "not_the_format"),
        (b"", "truncated"),
    ],
)
def test_a_document_that_cannot_be_read_is_a_sentence(
    read: Callable[..., dict[str, list[Any]]], content: bytes, reason: str
) -> None:
    with pytest.raises(SourceError, match=r"some\.json .*\.") as caught:
        read(content)
    assert caught.value.reason == reason


def test_long_numbers_are_found_across_pieces(tmp_path: Path) -> None:
    path = tmp_path / "content"
    for before in range(0, 70_000, 6_500):
        path.write_bytes(b'{"a": "' + b"x" * before + b'", "b": ' + b"1" * 4500 + b"}")
        with pytest.raises(SourceError) as caught:
            list(json_stream.walk(Document(path, "a.json", tmp_path)))
        assert caught.value.reason == "out_of_range"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.data())
def test_damage_is_rejects_or_a_sentence(tmp_path: Path, data: st.DataObject) -> None:
    content = json.dumps(data.draw(st.sampled_from([WFFORMAT_15, WFFORMAT_14, in_12(WFFORMAT_14)])))
    values = st.sampled_from(
        [
            "null",
            "-1",
            "1e400",
            "1e-400",
            "9" * 30,
            "true",
            "[]",
            "{}",
            '"\\ud800"',
            '"\\u0000"',
            "[[[[]]]]",
            '{"id": {}}',
        ]
    )
    # a value, wherever it stands, is another one: what follows a colon or stands in a list
    places = [place for place, sign in enumerate(content) if sign in ":[,"]
    place = data.draw(st.sampled_from(places))
    end = next(at for at in range(place + 1, len(content)) if content[at] in ",]}")
    damaged = content[: place + 1] + data.draw(values) + content[end:]
    if data.draw(st.booleans()):
        cut = data.draw(st.integers(0, len(content)))
        damaged = content[:cut] + data.draw(st.text(max_size=5)) + content[cut + data.draw(st.integers(0, 5)) :]
    path = tmp_path / "content"
    path.write_bytes(damaged.encode("utf-8", "replace"))
    document = Document(path, "/instances/some.json", tmp_path)
    wfcommons.recognise(document.head())
    try:
        taken(wfcommons.read, document)
    except SourceError as error:
        assert "some.json" in str(error)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A warehouse with the real instances, packed, and one by hand."""
    root = tmp_path_factory.mktemp("wfcommons")
    dumps = root / "dumps"
    dumps.mkdir()
    for path in FILES:
        (dumps / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    (dumps / "diamond.json").write_text(json.dumps(WFFORMAT_15))
    home = Home(root / "home")
    take_in(home, (str(dumps),), Labels())
    with open_current(home) as opened:
        yield opened


@needs_instances
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_real_instances_add_up_in_the_warehouse(reader: Reader, path: Path) -> None:
    document = json.loads(path.read_text())
    specification, execution = document["workflow"]["specification"], document["workflow"]["execution"]
    (run,) = reader.frame(
        "select summary.* from run_summary as summary join runs using (run_id) where runs.extra ->> 'created_at' = ?",
        [document["createdAt"]],
    ).to_dict("records")
    tasks, sizes = specification["tasks"], {file["id"]: file["sizeInBytes"] for file in specification["files"]}
    assert run["tasks_seen"] == run["tasks_expected"] == len(tasks)
    assert run["is_complete"]
    assert run["makespan_ms"] == 1000 * execution["makespanInSeconds"]
    assert run["execution_ms"] == pytest.approx(1000 * sum(task["runtimeInSeconds"] for task in execution["tasks"]))
    assert run["input_bytes"] == sum(sizes[name] for task in tasks for name in set(task["inputFiles"]))
    assert run["output_bytes"] == sum(sizes[name] for task in tasks for name in set(task["outputFiles"]))
    edges = {(parent, task["id"]) for task in tasks for parent in task["parents"]}
    edges |= {(task["id"], child) for task in tasks for child in task["children"]}
    rows = reader.rows("select upstream_task_id, task_id from edges where run_id = ?", [run["run_id"]])
    assert Counter(rows) == Counter(edges)
    written = {name for task in tasks for name in task["outputFiles"]}
    (made,) = reader.rows("select count(upstream_task_id) from task_inputs where run_id = ?", [run["run_id"]])
    assert made == (sum(name in written for task in tasks for name in set(task["inputFiles"])),)
    assert run["engine"] == document["runtimeSystem"]["name"].lower()
    # forkjoin's machine has 64 cores and, it says, 196,483,612 bytes: this document writes kB
    unit = 1000 if "forkjoin" in path.name else 1
    (largest,) = reader.rows("select max(max_memory_mb) from tasks where run_id = ?", [run["run_id"]])
    assert largest == (max(task["memoryInBytes"] for task in execution["tasks"]) * unit / 2**20,)


def test_a_run_with_its_sinks_time_takes_its_makespan_from_it(reader: Reader) -> None:
    (run,) = reader.frame("select * from run_summary where workflow = 'diamond'").to_dict("records")
    assert run["makespan_ms"] == 8_500 + 4_000
    assert (run["workers"], run["is_complete"]) == (1, True)
    for view in ("cold_starts", "worker_active_periods"):
        assert reader.frame(f"select * from {view} where run_id = '{run['run_id']}'").empty
    times = reader.rows(
        "select inputs_bytes, downloaded_bytes, start_offset_ms from task_times where run_id = ? and task_id = 'join_4'",
        [run["run_id"]],
    )
    assert times == [(107, 0, 8500.0)]

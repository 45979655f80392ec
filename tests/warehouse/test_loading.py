"""Flowdump files into tables: what is kept, what is rejected, and that both passes agree."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.dumps import flowdump, put, run_row, task_row, write_lines, write_parquet
from warehouse.batches import JsonLines, ParquetFile, Rows
from warehouse.errors import SourceError
from warehouse.home import Home
from warehouse.loading import load
from warehouse.schema import ddl
from warehouse.target import NotClean, Tally
from warehouse.unpacked import MAX_LINE_BYTES
from warehouse.writer import Writer

MIDNIGHT = datetime(2026, 1, 1)


@pytest.fixture
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        for statement in ddl():
            connection.execute(statement)
        yield connection


@pytest.fixture
def loaded(database: duckdb.DuckDBPyConnection, tmp_path: Path) -> Callable[..., Tally]:
    """Load rows as lines of a table, by the pass asked for."""

    def load_rows(table: str, rows: list[Any], *, strict: bool = False, name: str = "x.jsonl") -> Tally:
        path = write_lines(tmp_path / name, rows)
        return load(database, {"f": [JsonLines(table, path)]}, strict=strict)["f"]

    return load_rows


def fetch(database: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    return database.execute(sql).fetchall()


def reasons(tally: Tally) -> list[tuple[str, str]]:
    return [(reject.location, reject.reason) for reject in tally.rejects]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_missing_columns_are_null_and_unknown_ones_kept_and_counted(
    database: duckdb.DuckDBPyConnection, loaded: Callable[..., Tally], strict: bool, name: str
) -> None:
    rows = [{"run_id": "a", "colour": "red", "extra": {"own": 1}}, {"run_id": "b", "deep": {"x": [1]}}, {"run_id": "c"}]
    tally = loaded("runs", rows, strict=strict, name=name)
    assert (tally.rows, tally.rejected, dict(tally.unknown)) == (3, 0, {"colour": 1, "deep": 1})
    found = fetch(database, "select run_id, engine, submitted_at, extra from runs order by run_id")
    assert [(run, engine, at, extra and json.loads(extra)) for run, engine, at, extra in found] == [
        ("a", None, None, {"own": 1, "colour": "red"}),
        ("b", None, None, {"deep": {"x": [1]}}),
        ("c", None, None, None),
    ]


@pytest.mark.parametrize("strict", [True, False])
def test_instants_with_an_offset_are_converted_to_utc_and_without_one_are_utc(
    database: duckdb.DuckDBPyConnection, loaded: Callable[..., Tally], strict: bool
) -> None:
    instants = ["2026-01-01T02:00:00+02:00", "2025-12-31T19:00:00-05:00", "2026-01-01T00:00:00Z", "2026-01-01 00:00:00"]
    loaded("runs", [run_row(f"r{n}", submitted_at=text) for n, text in enumerate(instants)], strict=strict)
    assert fetch(database, "select distinct submitted_at from runs") == [(MIDNIGHT,)]


def test_each_kind_of_bad_line_is_rejected_with_its_number_and_the_others_load(
    database: duckdb.DuckDBPyConnection, loaded: Callable[..., Tally]
) -> None:
    lines: list[Any] = [
        task_row("r", "good1"),
        "{not json",
        "[1, 2]",
        "",
        task_row("r", "t", execution_ms="slow"),
        {"run_id": "r"},
        '{"run_id": "r", "task_id": "nan", "execution_ms": NaN}',
        '{"run_id": "r", "task_id": "inf", "execution_ms": -Infinity}',
        '{"run_id": "r", "task_id": "big", "execution_ms": 1e999}',
        b'{"run_id": "r", "task_id": "\xff"}',
        '{"run_id": "r", "task_id": "half", "function": "\\ud800"}',
        b"   ",
        task_row("r", "null", run_id=None),
        task_row("r", "float", memory_mb=10**12),
        task_row("r", "list", libraries="numpy"),
        task_row("r", "when", started_at="yesterday"),
        '{"run_id": "r", "task_id": "cut',
        task_row("r", "good2", colour="red"),
    ]
    tally = loaded("tasks", lines)
    assert reasons(tally) == [
        ("line 2", "not_json"),
        ("line 3", "not_json"),
        ("line 7", "not_json"),
        ("line 8", "not_json"),
        ("line 10", "not_json"),
        ("line 11", "not_json"),
        ("line 17", "not_json"),
        ("line 5", "wrong_type"),
        ("line 6", "missing_key"),
        ("line 9", "wrong_type"),
        ("line 13", "missing_key"),
        ("line 14", "wrong_type"),
        ("line 15", "wrong_type"),
        ("line 16", "wrong_type"),
    ]
    by_line = {reject.location: reject for reject in tally.rejects}
    assert by_line["line 5"].detail == "execution_ms is not a DOUBLE"
    assert by_line["line 6"].detail == "task_id is missing"
    assert '"slow"' in by_line["line 5"].excerpt
    assert fetch(database, "select task_id from tasks order by task_id") == [("good1",), ("good2",)]


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_a_line_too_long_is_rejected_without_being_held_and_the_next_one_loads(
    database: duckdb.DuckDBPyConnection, loaded: Callable[..., Tally], name: str
) -> None:
    lines = [run_row("a"), b'{"run_id": "' + b"x" * (2 * MAX_LINE_BYTES + 5) + b'"}', run_row("b")]
    tally = loaded("runs", lines, name=name)
    assert reasons(tally) == [("line 2", "too_large")]
    assert len(tally.rejects[0].excerpt) <= 200
    assert fetch(database, "select run_id from runs order by all") == [("a",), ("b",)]


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "[]",
        '{"engine": "x"}',
        '{"run_id": null}',
        '{"run_id": "r", "cpu_seconds": NaN}',
        '{"run_id": "r", "sla_percentile": "p"}',
    ],
)
def test_the_clean_pass_takes_no_bad_line(loaded: Callable[..., Tally], bad: str) -> None:
    with pytest.raises(NotClean):
        loaded("runs", [run_row("good"), bad], strict=True)


@pytest.mark.parametrize("strict", [True, False])
def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(
    database: duckdb.DuckDBPyConnection, tmp_path: Path, strict: bool
) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"run_id": "a"}\r\n\r\n{"run_id": "b"}')
    try:
        tally = load(database, {"f": [JsonLines("runs", path)]}, strict=strict)["f"]
    except NotClean:
        assert strict  # the careful pass then reads it
        return
    assert (tally.rows, tally.rejected) == (2, 0)
    assert fetch(database, "select run_id from runs order by all") == [("a",), ("b",)]


HOSTILE = ['a"b', "a'b", "a;drop table runs", "file_id", "RUN_ID", "Engine", "", "line", "json", "failure", "value", "found", "a/b~c",
           "$.x", "*", " ", "x" * 300, "é", "\u0000", "select", "typed"]  # fmt: skip


def test_hostile_field_names_of_json_lines_end_in_extra(home: Home, tmp_path: Path) -> None:
    with Writer(home) as writer:
        for name in HOSTILE:
            path = write_lines(tmp_path / "runs.jsonl", [{"run_id": "r", name: {"v": 1}}, {"run_id": "s"}])
            tally = put(writer, "f", JsonLines("runs", path))
            ((extra, file_id),) = writer._rows("select extra, file_id from runs where run_id = 'r'")
            assert (tally.rows, tally.rejected, file_id) == (2, 0, "f"), name
            assert name == "file_id" or json.loads(extra) == {name: {"v": 1}}


def test_hostile_column_names_of_parquet_end_in_extra(home: Home, tmp_path: Path) -> None:
    with Writer(home) as writer:
        for name in set(HOSTILE) - {"RUN_ID", "Engine", "", "\0"}:
            path = write_parquet(tmp_path / "runs.parquet", {"run_id": ["r", "s"], name: [7, None]})
            tally = put(writer, "f", ParquetFile("runs", path))
            found = writer._rows("select extra, file_id from runs order by run_id")
            assert (tally.rows, tally.rejected) == (2, 0), name
            assert [file_id for _, file_id in found] == ["f", "f"]
            assert name == "file_id" or [extra and json.loads(extra) for extra, _ in found] == [{name: 7}, None]


def test_columns_that_differ_by_case_or_have_no_name_never_break_the_load(home: Home, tmp_path: Path) -> None:
    with Writer(home) as writer:
        for name in ("RUN_ID", "Engine", "", "\0"):
            path = write_parquet(
                tmp_path / "runs.parquet", {"run_id": ["r", "s"], "engine": ["x", "y"], name: [7, None]}
            )
            put(writer, "f", ParquetFile("runs", path))
            assert writer._rows("select run_id, engine from runs order by 1") == [("r", "x"), ("s", "y")]


def test_the_extra_of_a_parquet_file_is_json_or_the_row_is_rejected(home: Home, tmp_path: Path) -> None:
    texts = ['{"own": 1}', '"text"', "[1]", "not json", None, "null"]
    columns = {"run_id": [f"r{n}" for n in range(len(texts))], "extra": pa.array(texts, pa.string())}
    with Writer(home) as writer:
        tally = put(writer, "f", ParquetFile("runs", write_parquet(tmp_path / "runs.parquet", columns)))
    assert reasons(tally) == [("row 4", "wrong_type")]
    assert tally.rows == len(texts) - 1


TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8)
NUMBER = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.integers(-(2**40), 2**40)
INSTANT = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1)).flatmap(
    lambda at: st.sampled_from([None, UTC, timezone(timedelta(hours=5, minutes=30))]).map(
        lambda zone: at.replace(tzinfo=zone).isoformat()
    )
)
JSON_VALUE = st.recursive(TEXT | st.integers(-(2**40), 2**40) | st.booleans(), lambda part: st.lists(part, max_size=2) | st.dictionaries(TEXT, part, max_size=2), max_leaves=4)  # fmt: skip
KINDS = {
    "VARCHAR": TEXT, "DOUBLE": NUMBER, "BIGINT": st.integers(-(2**63), 2**63 - 1), "INTEGER": st.integers(-(2**31), 2**31 - 1),
    "BOOLEAN": st.booleans(), "TIMESTAMP": INSTANT, "DATE": st.dates().map(str), "VARCHAR[]": st.lists(TEXT | st.none(), max_size=3),
    "MAP(VARCHAR, DOUBLE)": st.dictionaries(TEXT, NUMBER, max_size=3),
}  # fmt: skip


def rows_of(table: str) -> st.SearchStrategy[tuple[str, list[dict[str, Any]]]]:
    from warehouse.tables import FACTS

    described = FACTS[table]
    needed = {name: KINDS[described.types[name]] for name in described.required}
    optional = {
        column.name: st.none() | KINDS[column.type] for column in described.columns if column.name not in needed
    }
    optional["extra"] = st.none() | st.dictionaries(TEXT, JSON_VALUE, max_size=2)
    optional["unknown"] = JSON_VALUE
    row = st.fixed_dictionaries(needed, optional=optional)
    return st.tuples(st.just(table), st.lists(row, min_size=1, max_size=5))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["runs", "tasks", "invocations", "planned_tasks", "prices"]).flatmap(rows_of))
def test_the_clean_and_the_careful_pass_give_the_same_rows(
    database: duckdb.DuckDBPyConnection, tmp_path: Path, case: tuple[str, list[dict[str, Any]]]
) -> None:
    table, rows = case
    path = write_lines(tmp_path / "same.jsonl", rows)
    results = []
    for strict in (True, False):
        database.execute("begin")
        try:
            tally = load(database, {"f": [JsonLines(table, path)]}, strict=strict)["f"]
            results.append((tally.rows, dict(tally.unknown), sorted(fetch(database, f"from {table}"), key=repr)))
            assert tally.rejects == []
        finally:
            database.execute("rollback")
    assert results[0] == results[1]
    assert results[0][0] == len(rows)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([b'{"run_id": "a"}', b'{"run_id": "b", "x": 1}', b"{}", b"", b"[]", b"{", b'{"run_id": "c"} {"run_id": "d"}', b'{"run_id": 5}',
                                 b'{"run_id": "e", "expected_tasks": 1.5}', b'{"run_id": "e", "expected_tasks": "7"}', b'{"run_id": {"a": 1}}', b"nul", b"7", b'{"run_id": true}',
                                 b'{"run_id": "f", "submitted_at": 5}', b'{"run_id": "g", "engine": ["x"]}']), max_size=4))  # fmt: skip
def test_the_clean_pass_accepts_exactly_what_the_careful_pass_rejects_nothing_of(
    database: duckdb.DuckDBPyConnection, tmp_path: Path, lines: list[bytes]
) -> None:
    path = write_lines(tmp_path / "runs.jsonl", lines)
    results = []
    for strict in (False, True):
        database.execute("begin")
        try:
            tally = load(database, {"f": [JsonLines("runs", path)]}, strict=strict)["f"]
            results.append((tally.rejected, tally.rows, sorted(fetch(database, "from runs"), key=repr)))
        except NotClean:
            results.append((-1, 0, []))
        finally:
            database.execute("rollback")
    careful, clean = results
    assert clean == careful if careful[0] == 0 else clean[0] == -1


def test_a_truncated_gzip_is_one_sentence_and_leaves_no_rows(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(json.dumps(run_row(f"r{n}")).encode() + b"\n" for n in range(5000)))[:-40])
    with Writer(home) as writer:
        with pytest.raises(SourceError, match="ends before") as caught:
            put(writer, "f", JsonLines("runs", path))
        assert caught.value.reason == "truncated"
        assert writer._rows("select count(*) from runs") == [(0,)]


def test_a_truncated_parquet_file_is_one_sentence_and_leaves_no_rows(home: Home, tmp_path: Path) -> None:
    path = flowdump(tmp_path, [f"r{n}" for n in range(500)]) / "tasks.parquet"
    content = path.read_bytes()
    with Writer(home) as writer:
        for share in (0.1, 0.5, 0.9, 0.999):
            path.write_bytes(content[: int(len(content) * share)])
            with pytest.raises(SourceError, match="not a whole Parquet file") as caught:
                put(writer, "f", ParquetFile("tasks", path))
            assert caught.value.reason == "truncated"
            assert writer._rows("select count(*) from tasks") == [(0,)]
            assert put(writer, "g", *[Rows("runs", [{"run_id": "r"}])]).rows == 1


def test_a_parquet_file_with_a_damaged_page_is_refused_or_loaded_but_never_crashes(home: Home, tmp_path: Path) -> None:
    path = flowdump(tmp_path, [f"r{n}" for n in range(500)]) / "tasks.parquet"
    content = bytearray(path.read_bytes())
    with Writer(home) as writer:
        for at in range(8, len(content) - 8, max(1, len(content) // 20)):
            path.write_bytes(bytes(content[:at]) + bytes([content[at] ^ 0x55]) + bytes(content[at + 1 :]))
            try:
                put(writer, f"f{at}", ParquetFile("tasks", path))
            except SourceError as error:
                assert error.reason in ("truncated", "missing_key", "unsupported")


def test_strings_that_can_be_cast_are_and_the_others_are_rejected_by_row(home: Home, tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "tasks.parquet",
        {
            "run_id": [1, 2, 3, None],
            "task_id": ["a", "b", "c", "d"],
            "execution_ms": ["1.5", "fast", None, "2"],
            "memory_mb": pa.array([512, 1024, 2**40, 1], pa.int64()),
        },
    )
    with Writer(home) as writer:
        tally = put(writer, "f", ParquetFile("tasks", path))
        assert writer._rows("select run_id, execution_ms, memory_mb from tasks") == [("1", 1.5, 512)]
    assert [(r.location, r.reason, r.detail) for r in tally.rejects] == [
        ("row 4", "missing_key", "run_id is missing"),
        ("row 3", "wrong_type", "memory_mb is not a INTEGER"),
        ("row 2", "wrong_type", "execution_ms is not a DOUBLE"),
    ]


def test_a_parquet_file_without_a_key_column_is_refused(home: Home, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "tasks.parquet", {"run_id": ["r"]})
    with Writer(home) as writer, pytest.raises(SourceError, match="no column task_id"):
        put(writer, "f", ParquetFile("tasks", path))


def test_parquet_instants_of_any_unit_and_zone_become_utc(home: Home, tmp_path: Path) -> None:
    kinds = [pa.timestamp(unit, tz) for unit in ("s", "ms", "us", "ns") for tz in (None, "UTC", "Asia/Tokyo", "+02:00")]
    with Writer(home) as writer:
        for number, kind in enumerate(kinds):
            instants = pa.array([MIDNIGHT.replace(tzinfo=UTC) if kind.tz else MIDNIGHT], kind)
            path = write_parquet(tmp_path / f"{number}.parquet", {"run_id": [f"r{number}"], "submitted_at": instants})
            put(writer, f"f{number}", ParquetFile("runs", path))
        assert writer._rows("select submitted_at, count(*) from runs group by all") == [(MIDNIGHT, len(kinds))]


def test_dictionary_large_and_view_strings_lists_and_maps_load(home: Home, tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "invocations.parquet",
        {
            "invocation_id": pa.array(["i", "j"]).dictionary_encode(),
            "run_id": pa.array(["r", "r"], pa.large_string()),
            "initial_task_ids": pa.array([["a", None], []], pa.large_list(pa.large_string())),
            "phases": pa.array([[("boot", 1.5)], None], pa.map_(pa.string(), pa.float32())),
            "init_ms": pa.array([float("nan"), 2.0]),
            "memory_mb": pa.array([128, 256], pa.uint16()),
        },
    )
    with Writer(home) as writer:
        tally = put(writer, "f", ParquetFile("invocations", path))
        found = writer._rows(
            "select invocation_id, run_id, initial_task_ids, phases, init_ms, memory_mb from invocations order by 1"
        )
    assert tally.rejects == []
    assert found == [("i", "r", ["a", None], {"boot": 1.5}, None, 128), ("j", "r", [], None, 2.0, 256)]


def test_a_key_twice_in_a_file_keeps_the_first_and_rejects_the_other(home: Home) -> None:
    rows = [{"run_id": "r", "task_id": "t", "attempt": None, "function": name} for name in ("first", "second")]
    with Writer(home) as writer:
        tally = put(writer, "f", Rows("tasks", [*rows, {"run_id": "r", "task_id": "t", "attempt": 1}]))
        assert writer._rows("select function from tasks order by attempt nulls first") == [("first",), (None,)]
    assert [(r.reason, json.loads(r.excerpt)) for r in tally.rejects] == [
        ("duplicate_key", {"run_id": "r", "task_id": "t", "attempt": None})
    ]
    assert (tally.rows, tally.rejected) == (2, 1)


def test_a_key_twice_across_the_files_of_a_dump_keeps_the_earlier_files(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "f", Rows("tasks", [{"run_id": "r", "task_id": "t", "function": "f"}]), dump="d")
        tally = put(
            writer, "g", Rows("tasks", [{"run_id": "r", "task_id": "t"}, {"run_id": "r", "task_id": "u"}]), dump="d"
        )
        assert (tally.rows, tally.rejected) == (1, 1)
        assert writer._rows("select task_id, file_id from tasks order by 1") == [("t", "f"), ("u", "g")]


def test_a_key_twice_in_a_dump_is_seen_also_while_another_dump_owns_the_run(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "winner", Rows("tasks", [{"run_id": "r", "task_id": f"t{n}"} for n in range(9)]))
        put(writer, "f", Rows("tasks", [{"run_id": "r", "task_id": "t", "function": "f"}]), dump="d")
        tally = put(writer, "g", Rows("tasks", [{"run_id": "r", "task_id": "t", "function": "g"}]), dump="d")
        assert tally.rejected == 1
        writer.forget(["winner"])
        assert writer._rows("select function from tasks") == [("f",)]


def test_rows_that_may_repeat_do(home: Home) -> None:
    row = {"run_id": "r", "task_id": "t", "optimization": "preload", "stage": "applied"}
    with Writer(home) as writer:
        assert put(writer, "f", Rows("optimizations", [row, row])).rows == 2

"""What the one writer promises: whole replacement, owners of runs, labels that last, generations that stand."""

from __future__ import annotations

import os
import stat
from functools import cache, partial
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dumps import answer, facts, put, record, rows_of_runs
from warehouse import generations
from warehouse.batches import Batch, JsonLines, Reject, Rows, Skipped, UnknownFields
from warehouse.connection import open_current
from warehouse.errors import FlowscopeError, SourceError, WarehouseBusy
from warehouse.home import Home
from warehouse.target import registered
from warehouse.writer import Writer


def workflows(writer: Writer) -> dict[str, str]:
    """Which dump's rows stand, by run."""
    return dict(writer._rows("select run_id, workflow from runs order by 1"))


def statuses(writer: Writer) -> dict[str, tuple[str, int]]:
    return {file: rest for file, *rest in writer._rows("select file_id, status, duplicate_runs from files order by 1")}


def owners(writer: Writer) -> list[tuple[object, ...]]:
    return writer._rows("select run_id, workflow from runs union all select run_id, function from tasks order by all")


# replace, forget, fail, missing


def test_a_replaced_file_leaves_only_its_new_rows(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1", "r2", tasks=2), Reject("k", "too_deep", "d"))
        put(writer, "b", *rows_of_runs("r3"))
        put(writer, "a", *rows_of_runs("r2", tasks=1), Skipped(3), UnknownFields({"x": 2}))
        assert list(workflows(writer)) == ["r2", "r3"]
        assert writer._rows("select count(*) from tasks") == [(1,)]
        assert writer._rows("select rows, rejected, skipped, unknown_fields from files where file_id = 'a'") == [
            (2, 0, 3, {"x": 2})
        ]
        assert writer._rows("select count(*) from rejects") == [(0,)]


def test_forgetting_takes_rows_rejects_and_the_manifest_entry(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1", tasks=2), Reject("k", "too_deep", "d"))
        assert writer.forget(["a"]) == 3
        assert writer.forget(["a"]) == 0
        for table in ("runs", "tasks", "files", "rejects", "internal.claims", "set_aside.runs"):
            assert writer._rows(f"select count(*) from {table}") == [(0,)]


def test_a_failing_file_keeps_its_rows_and_a_later_success_clears_the_failure(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1"))
        writer.fail(record("a", etag="2"), "truncated", "It ends early.")
        assert writer._rows("select status, message, rows, rejected from files") == [("failed", "It ends early.", 1, 1)]
        assert writer._rows("select reason, detail from rejects") == [("truncated", "It ends early.")]
        assert list(workflows(writer)) == ["r1"]
        put(writer, "a", *rows_of_runs("r2"))
        assert writer._rows("select status, message, rows, rejected from files") == [("loaded", None, 1, 0)]
        assert writer._rows("select count(*) from rejects") == [(0,)]
        assert list(workflows(writer)) == ["r2"]


def test_the_same_failure_again_changes_nothing_and_publishes_nothing(home: Home) -> None:
    with Writer(home) as writer:
        writer.fail(record("a"), "empty", "a is empty.")
        assert writer.publish()
        writer.fail(record("a"), "empty", "a is empty.")
        assert writer.publish() is None
        writer.fail(record("a"), "truncated", "a ends early.")
        assert writer.publish()
    assert answer(home, "select message from files") == [("a ends early.",)]
    assert answer(home, "select reason from rejects") == [("truncated",)]


def test_a_missing_file_keeps_its_rows_and_is_marked_once(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1"))
        writer.mark_missing(["a"])
        assert writer.publish()
        writer.mark_missing(["a"])
        writer.mark_missing([])
        assert writer.publish() is None
    assert answer(home, "select status, rows from files") == [("missing", 1)]
    assert answer(home, "select count(*) from runs") == [(1,)]


def test_a_reader_that_fails_midway_changes_nothing_and_the_writer_goes_on(home: Home) -> None:
    def breaking() -> list[Batch]:
        raise SourceError("unavailable", "Gone.")

    def midway():  # type: ignore[no-untyped-def]
        yield from rows_of_runs("r9", tasks=4)
        breaking()

    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1"))
        with pytest.raises(SourceError):
            writer.replace(record("a"), midway)
        assert list(workflows(writer)) == ["r1"]
        put(writer, "b", *rows_of_runs("r2"))
        assert list(workflows(writer)) == ["r1", "r2"]


def test_rows_that_cannot_be_stored_are_the_files_fault_and_the_writer_goes_on(home: Home) -> None:
    with Writer(home) as writer:
        with pytest.raises((SourceError, pa.ArrowException)):
            put(writer, "a", Rows("runs", [{"run_id": "r", "extra": {}, "cpu_seconds": "much"}]))
        put(writer, "b", *rows_of_runs("r2"))
        assert list(workflows(writer)) == ["r2"]


def test_no_name_of_ours_is_left_behind_by_an_error_inside_a_transaction(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text('{"run_id": "r"}\n{\n')
    with Writer(home) as writer:
        put(writer, "a", JsonLines("runs", path))
        writer._rows("begin")
        with pytest.raises(Exception, match="no"), registered(writer._connection, "names", pa.table({"a": [1]})):
            writer._rows("select error('no')")
        writer._rows("rollback")
        assert writer._rows("select table_name from duckdb_tables() where temporary") == []
        assert writer._rows("select view_name from duckdb_views() where temporary and not internal") == []


# the owner of a run


def test_a_run_of_two_dumps_belongs_to_the_one_with_more_rows(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "small", *rows_of_runs("r", tasks=1, label="small"))
        put(writer, "big", *rows_of_runs("r", tasks=3, label="big"))
        assert {label for _, label in owners(writer)} == {"big"}
        assert statuses(writer) == {"big": ["loaded", 0], "small": ["duplicate", 1]}
        put(writer, "small", *rows_of_runs("r", tasks=9, label="small"))
        assert {label for _, label in owners(writer)} == {"small"}
        assert statuses(writer) == {"big": ["duplicate", 1], "small": ["loaded", 0]}


def test_on_a_tie_the_later_dump_stands(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "first", *rows_of_runs("r", tasks=1, label="first"))
        put(writer, "later", *rows_of_runs("r", tasks=1, label="later"))
        assert workflows(writer) == {"r": "later"}


@pytest.mark.parametrize("files", [("first", "later"), ("z", "a")])
def test_of_two_dumps_read_in_one_transaction_the_later_stands_on_a_tie(home: Home, files: tuple[str, str]) -> None:
    with Writer(home) as writer:
        writer.replace_all([(record(name), partial(rows_of_runs, "r", tasks=1, label=name)) for name in files])
        assert workflows(writer) == {"r": files[1]}


def test_a_file_that_lost_only_some_of_its_runs_stays_loaded_and_counts_them(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1", "r2", tasks=1, label="a"))
        put(writer, "b", *rows_of_runs("r2", tasks=5, label="b"))
        assert workflows(writer) == {"r1": "a", "r2": "b"}
        assert statuses(writer) == {"a": ["loaded", 1], "b": ["loaded", 0]}


def test_forgetting_the_winner_brings_the_losers_rows_back(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "small", *rows_of_runs("r", tasks=1, label="small"))
        alone = owners(writer)
        put(writer, "big", *rows_of_runs("r", tasks=3, label="big"))
        writer.forget(["big"])
        assert owners(writer) == alone
        assert statuses(writer) == {"small": ["loaded", 0]}
        assert writer._rows("select count(*) from set_aside.tasks") == [(0,)]


def test_a_failed_or_missing_file_stays_so_while_owners_change(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r", label="a"))
        put(writer, "b", *rows_of_runs("r", tasks=1, label="b"))
        writer.fail(record("a", etag="2"), "empty", "a is empty.")
        assert statuses(writer)["a"] == ["failed", 1]
        writer.mark_missing(["a"])
        writer.forget(["b"])
        assert statuses(writer) == {"a": ["missing", 0]}
        assert workflows(writer) == {"r": "a"}


def test_a_file_without_runs_is_loaded_and_loses_nothing(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", Rows("prices", [{"environment": "e"}]))
        put(writer, "b")
        assert statuses(writer) == {"a": ["loaded", 0], "b": ["loaded", 0]}


def test_the_files_of_one_dump_win_or_lose_a_run_together(home: Home) -> None:
    runs, tasks = rows_of_runs("r", tasks=2, label="d")
    with Writer(home) as writer:
        put(writer, "d/runs", runs, dump="d")
        put(writer, "other", *rows_of_runs("r", tasks=1, label="other"))
        assert workflows(writer) == {"r": "other"}
        put(writer, "d/tasks", tasks, dump="d")
        assert {label for _, label in owners(writer)} == {"d"}


DUMPS = {"a": {"r1": 1, "r2": 4}, "b": {"r1": 2, "r3": 1}, "c": {"r2": 3, "r1": 5}, "d": {"r3": 2, "r2": 1}}


@cache
def filled(order: tuple[str, ...], forgotten: str | None = None) -> list[tuple[object, ...]]:
    with TemporaryDirectory() as folder, Writer(Home(Path(folder))) as writer:
        for name in order:
            batches = [
                batch for run, count in DUMPS[name].items() for batch in rows_of_runs(run, tasks=count, label=name)
            ]
            put(writer, name, *batches)
        if forgotten:
            writer.forget([forgotten])
        aside = writer._rows("select run_id, workflow from set_aside.runs order by all")
        manifest = writer._rows("select file_id, status, duplicate_runs, rows from files order by all")
        return [*owners(writer), *aside, *manifest]


@settings(max_examples=6, deadline=None)
@given(st.sampled_from(list(permutations(DUMPS))), st.sampled_from([None, *DUMPS]))
def test_the_order_of_dumps_does_not_matter(order: tuple[str, ...], forgotten: str | None) -> None:
    assert filled(order, forgotten) == filled(tuple(DUMPS), forgotten)


# labels


def test_a_tag_from_a_command_stands_over_a_files_and_survives_its_return(home: Home) -> None:
    tags = Rows(
        "run_tags", [{"run_id": "r", "tag": "seed", "value": "1"}, {"run_id": "r", "tag": "kept", "value": "x"}]
    )
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r"), tags)
        assert writer.label({"r": {"seed": "2", "new": "n"}, "nobody": {"x": "y"}}, {}) == (1, ["nobody"])
        expected = [("kept", "x", "a"), ("new", "n", None), ("seed", "2", None)]
        for _ in range(2):
            assert writer._rows("select tag, value, file_id from run_tags order by all") == expected
            put(writer, "a", *rows_of_runs("r"), tags)


def test_environments_survive_a_new_reading_and_a_change_of_owner(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r", label="a"))
        writer.label({}, {"r": "lab"})
        put(writer, "a", *rows_of_runs("r", label="a"))
        assert writer._rows("select environment from runs") == [("lab",)]
        put(writer, "b", *rows_of_runs("r", tasks=2, label="b"))
        assert writer._rows("select environment, workflow from runs") == [("lab", "b")]
        writer.forget(["b"])
        assert writer._rows("select environment, workflow from runs") == [("lab", "a")]


def test_labels_leave_with_the_last_file_of_their_run(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r"))
        writer.label({"r": {"x": "y"}}, {"r": "lab"})
        writer.forget(["a"])
        put(writer, "a", *rows_of_runs("r"))
        assert writer._rows("select environment from runs") == [(None,)]
        assert writer._rows("select count(*) from run_tags") == [(0,)]


def test_the_same_labels_again_publish_nothing(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r"))
        writer.label({"r": {"x": "y"}}, {"r": "lab"})
        assert writer.publish()
        writer.label({"r": {"x": "y"}}, {"r": "lab"})
        assert writer.publish() is None
        writer.label({"r": {"x": "z"}}, {})
        assert writer.publish()


# generations


def test_generations_are_numbered_and_the_last_three_kept(home: Home) -> None:
    with Writer(home) as writer:
        for number in range(1, 6):
            put(writer, "a", *rows_of_runs(f"r{number}"))
            path = writer.publish()
            assert path and path.name == f"{number:06d}.duckdb"
            assert answer(home, "select run_id from runs") == [(f"r{number}",)]
    assert [path.name for path in generations.published(home)] == ["000003.duckdb", "000004.duckdb", "000005.duckdb"]


def test_current_is_a_relative_link_so_that_a_home_can_be_moved(home: Home, tmp_path: Path) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r"))
        writer.publish()
    assert home.current.is_symlink()
    assert str(home.current.readlink()) == "generations/000001.duckdb"
    home.root.rename(tmp_path / "moved")
    assert answer(Home(tmp_path / "moved"), "select run_id from runs") == [("r",)]


def test_a_generation_is_read_only_and_has_no_log_beside_it(home: Home) -> None:
    with Writer(home) as writer:
        path = writer.publish()
    assert path
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert [entry.name for entry in home.generations.iterdir()] == ["000001.duckdb"]


def test_a_reader_keeps_its_generation_while_newer_ones_are_published_and_it_is_deleted(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r0"))
        writer.publish()
        with open_current(home) as reader:
            for number in range(1, 5):
                put(writer, "a", *rows_of_runs(f"r{number}"))
                writer.publish()
            assert not reader.path.exists()
            assert reader.rows("select run_id from runs") == [("r0",)]


def test_nothing_new_publishes_nothing(home: Home) -> None:
    with Writer(home) as writer:
        assert writer.publish()
        assert writer.publish() is None
    with Writer(home) as writer:
        assert writer.publish() is None


@pytest.mark.parametrize("lost", ["generation", "link", "dangling link"])
def test_a_lost_generation_is_published_again(home: Home, lost: str) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r"))
        path = writer.publish()
        assert path
        if lost != "link":
            path.unlink()
        if lost != "generation":
            home.current.unlink()
        if lost == "dangling link":
            home.current.symlink_to("generations/999999.duckdb")
        assert writer.publish()
    assert answer(home, "select run_id from runs") == [("r",)]


STEPS = ["copyfile", "_derive", "make_durable", "point_link_at"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_interrupted_at_any_step_of_publishing_the_last_or_the_next_generation_stands(
    home: Home, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("old"))
        writer.publish()
        put(writer, "a", *rows_of_runs("new"))
        place = generations.shutil if step == "copyfile" else generations
        original = getattr(place, step)

        def interrupted(*arguments: object) -> None:
            if after:
                original(*arguments)
            raise KeyboardInterrupt

        monkeypatch.setattr(place, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.publish()
        monkeypatch.undo()
    assert answer(home, "select run_id from runs") in ([("old",)], [("new",)])
    with Writer(home) as writer:
        assert writer.publish()
    assert answer(home, "select run_id from runs") == [("new",)]
    assert not list(home.generations.glob("*.part*"))
    assert len(generations.published(home)) <= 3


def test_what_a_crash_left_half_built_is_removed_and_never_read(home: Home) -> None:
    home.generations.mkdir(parents=True)
    for name in ("000009.part", "000009.part.wal", "000001.part.tmp"):
        (home.generations / name).write_bytes(b"half")
    home.current.with_name("current.part").symlink_to("nowhere")
    with Writer(home) as writer:
        writer.publish()
    assert sorted(entry.name for entry in home.generations.iterdir()) == ["000001.duckdb"]
    assert sorted(entry.name for entry in home.warehouse.iterdir()) == [
        "current",
        "generations",
        "lock",
        "writer.duckdb",
    ]


def test_an_older_database_is_brought_up_to_todays_tables(home: Home) -> None:
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r", tasks=1))
        writer._rows("alter table tasks drop column kind")
        writer._rows("alter table set_aside.runs drop column engine")
        writer._rows("drop table prices")
        writer._rows("comment on column runs.run_id is 'old words'")
        writer._rows("alter table files drop column duplicate_runs")
    with Writer(home) as writer:
        put(writer, "b", *rows_of_runs("r", tasks=2), Rows("prices", [{"environment": "e"}]))
        assert writer._rows("select distinct kind from tasks") == [(None,)]
        assert writer._rows("select engine from set_aside.runs") == [(None,)]
        assert writer._rows("select comment from duckdb_columns() where table_name = 'runs' and column_name = 'run_id' and schema_name = 'main'") != [("old words",)]  # fmt: skip
        assert writer.publish()
    assert facts(home)["prices"] == [("e", None, None, None, None, None)]


# one writer


def test_a_second_writer_is_told_who_holds_the_first(home: Home) -> None:
    with Writer(home), pytest.raises(WarehouseBusy, match=f"process {os.getpid()} on "), Writer(home):
        pass
    with Writer(home):
        pass


def test_a_database_that_cannot_be_opened_is_one_sentence_and_frees_the_lock(home: Home) -> None:
    home.warehouse.mkdir(parents=True)
    home.writer.write_bytes(b"no database at all" * 1000)
    for _ in range(2):
        with pytest.raises(FlowscopeError, match="cannot be opened"), Writer(home):
            pass


def test_what_ended_processes_left_in_staging_is_removed_and_a_living_ones_spill_is_not(home: Home) -> None:
    mine, dead = home.spill(), home.staging / "spill-999999999-x"
    for folder in (mine, dead, home.staging / "0123abc"):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    (home.staging / "x.part").touch()
    (home.staging / "link").symlink_to(home.root)
    with Writer(home):
        assert list(home.staging.iterdir()) == [mine]
    assert (mine / "file").exists()

"""The command line: exit codes, what goes to stdout, and errors of one sentence."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from pathlib import Path

import pytest

from tests.dumps import FLOWSCOPE, answer, facts, flowdump, flowscope, write_lines
from tests.servers import OCTOFLOWS_DUMPS
from warehouse.home import Home


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two runs, which tests only read."""
    folder = tmp_path_factory.mktemp("loaded")
    dump = flowdump(folder / "dump", ["r1", "r2"], tasks=3)
    done = flowscope(folder / "home", "ingest", dump)
    assert done.returncode == 0, done.stderr
    return folder / "home"


def sentence(done: object) -> str:
    """The one message of a failed command, which holds no traceback."""
    stderr = done.stderr  # type: ignore[attr-defined]
    assert "Traceback" not in stderr
    assert "fault of flowscope" not in stderr
    return str(stderr).strip()


# usage


def test_help_names_every_command_and_each_has_its_own() -> None:
    import flowscope as program

    done = flowscope(None, "--help")
    assert done.returncode == 0
    for name in program.COMMANDS:
        assert f"\n  {name}" in done.stdout


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["ingest"], ["sql", "--format", "xml", "select 1"], ["tag", "a=b"], ["forget"], ["ingest", "x", "--tag", "no-equals"], ["tag", "no-equals", "--where", "true"], []])  # fmt: skip
def test_wrong_usage_exits_2_and_prints_nothing_to_stdout(tmp_path: Path, arguments: list[str]) -> None:
    done = flowscope(None, *arguments, environment={"FLOWSCOPE_HOME": str(tmp_path / "home")})
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("arguments", [["status"], ["sql", "select 1"], ["export", "out"]])
def test_reading_an_empty_home_exits_1_and_says_what_to_do(tmp_path: Path, arguments: list[str]) -> None:
    done = flowscope(tmp_path / "none", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        sentence(done) == f"Error: No warehouse in {tmp_path / 'none'}. Hint: flowscope ingest PATH, or flowscope demo."
    )
    assert not (tmp_path / "none").exists()


def test_the_home_is_the_option_else_the_variable_else_data(tmp_path: Path) -> None:
    dump = flowdump(tmp_path / "dump")
    flowscope(tmp_path / "a", "ingest", dump, environment={"FLOWSCOPE_HOME": str(tmp_path / "b")})
    flowscope(None, "ingest", dump, environment={"FLOWSCOPE_HOME": str(tmp_path / "c")})
    assert [(tmp_path / name / "warehouse/current").exists() for name in "abc"] == [True, False, True]
    assert f"No warehouse in {tmp_path / 'data'}" in flowscope(None, "status", cwd=tmp_path).stderr


# sql


def test_sql_prints_csv_alone_on_stdout(loaded: Path) -> None:
    done = flowscope(loaded, "sql", "select run_id, planner from runs order by 1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "run_id,planner\nr1,\nr2,\n", "")


def test_sql_reads_its_query_from_stdin(loaded: Path) -> None:
    done = flowscope(loaded, "sql", "--format", "json", stdin="select count(*) as n\nfrom tasks;\n")
    assert (done.returncode, json.loads(done.stdout)) == (0, [{"n": 6}])


def test_sql_writes_a_file_whole_or_not_at_all(loaded: Path, tmp_path: Path) -> None:
    assert flowscope(loaded, "sql", "select 1 as one", "-o", tmp_path / "x.json").returncode == 0
    assert json.loads((tmp_path / "x.json").read_text()) == [{"one": 1}]
    late = "select case when range = 500000 then error('late') end from range(600000)"
    done = flowscope(loaded, "sql", late, "-o", tmp_path / "x.json")
    assert done.returncode == 1
    assert json.loads((tmp_path / "x.json").read_text()) == [{"one": 1}]
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("query", ["drop table runs", "select * from nothing", "select 1; select 2", "copy runs to 'x'", "", b"\xff\xfe"])  # fmt: skip
def test_refused_sql_exits_1_with_a_sentence(loaded: Path, query: str | bytes) -> None:
    done = flowscope(loaded, "sql", stdin=query)
    assert (done.returncode, done.stdout) == (1, "")
    assert sentence(done).startswith("Error: ")


def test_debug_gives_the_traceback(loaded: Path) -> None:
    done = flowscope(loaded, "--debug", "sql", "drop table runs")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_closed_pipe_ends_quietly(loaded: Path) -> None:
    command = [*FLOWSCOPE, "sql", "from range(1000000)", "--home", str(loaded)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[1]
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) in (0, 1)
        assert process.stderr.read() == b""


# ingest


def test_ingest_says_what_came_in_and_the_second_time_that_nothing_is_new(tmp_path: Path) -> None:
    dump = flowdump(tmp_path / "dump", ["r1", "r2"])
    first = flowscope(tmp_path / "home", "ingest", dump)
    assert (first.returncode, first.stdout) == (0, "")
    assert f"{dump}: 2 new; 6 rows in, 0 rejected, 0 skipped.\nPublished generation 1." in first.stderr
    second = flowscope(tmp_path / "home", "ingest", dump)
    assert (second.returncode, second.stdout) == (0, "")
    assert f"{dump}: nothing new (2 objects unchanged)." in second.stderr
    assert "Published" not in second.stderr


def test_a_folder_with_good_and_bad_files_loads_the_good_and_exits_0(tmp_path: Path) -> None:
    dump = flowdump(tmp_path / "dump", ["r1"])
    bad = {
        "edges.parquet": (b"PAR1 and no more", "truncated"),
        "plans.jsonl": (b"", "empty"),
        "notes.txt": (b"hello", "unknown_format"),
        "nonsense.jsonl": (b'{"a": 1}\n', "unknown_format"),
        "x.rdb": (b"REDIS0011\xfa", "truncated"),
        "tasks-2.jsonl.gz": (b"\x1f\x8b\x08\x00cut", "truncated"),
    }
    for name, (content, _) in bad.items():
        (dump / name).write_bytes(content)
    write_lines(dump / "tasks-3.jsonl", ["{", {"run_id": "r1", "task_id": "good"}])
    done = flowscope(tmp_path / "home", "ingest", dump)
    assert (done.returncode, done.stdout) == (0, "")
    assert sentence(done).count("Failed: ") == len(bad)
    found = dict(answer(Home(tmp_path / "home"), "select key, reason from rejects join files using (file_id)"))
    assert found == {name: reason for name, (_, reason) in bad.items()} | {"tasks-3.jsonl": "not_json"}
    assert answer(Home(tmp_path / "home"), "select count(*) from tasks") == [(3,)]
    again = flowscope(tmp_path / "home", "ingest", dump)
    assert again.returncode == 0
    assert "Published" not in again.stderr
    (dump / "plans.jsonl").write_text('{"run_id": "r1"}\n')
    flowscope(tmp_path / "home", "ingest", dump)
    assert answer(Home(tmp_path / "home"), "select status, rejected from files where key = 'plans.jsonl'") == [
        ("loaded", 0)
    ]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("nowhere", "no_such_path"),
        ("http://user:s3cret@host/x", "unsupported"),
        ("redis://:s3cret@127.0.0.1:1/0", "refused"),
        ("redis://:s3cret@127.0.0.1:1/zero", "unsupported"),
        ("redis://:s3/cr#et@127.0.0.1:1/0", "unsupported"),
        ("redis://:s3cret@127.0.0.1:port/0", "unsupported"),
        ("redis:/:s3cret@127.0.0.1/0", "unsupported"),
        (" redis://:s3cret@127.0.0.1/0", "unsupported"),
        ("s3://key:s3cret@bucket/prefix", "unsupported"),
    ],
)
def test_a_source_that_fails_whole_exits_1_with_one_sentence_a_row_in_rejects_and_no_secret(
    tmp_path: Path, address: str, reason: str
) -> None:
    home = tmp_path / "home"
    done = flowscope(home, "ingest", address, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert sentence(done).count("Failed: ") == 1
    assert answer(Home(home), "select reason from rejects") == [(reason,)]
    stored = answer(Home(home), "from files") + answer(Home(home), "from rejects")
    forgotten = flowscope(home, "forget", address, cwd=tmp_path)
    status = flowscope(home, "status")
    for text in (done.stderr, str(stored), forgotten.stderr, status.stdout + status.stderr):
        assert "s3cret" not in text
        assert "cr#et" not in text
    assert forgotten.returncode == 0
    assert answer(Home(home), "select count(*) from files") == [(0,)]


def test_one_source_that_fails_does_not_keep_another_out_but_the_exit_code_tells(tmp_path: Path) -> None:
    dump = flowdump(tmp_path / "dump", ["r1"])
    done = flowscope(tmp_path / "home", "ingest", tmp_path / "nowhere", dump)
    assert done.returncode == 1
    assert answer(Home(tmp_path / "home"), "select run_id from runs") == [("r1",)]


def test_a_failure_is_forgotten_once_the_source_can_be_listed(tmp_path: Path) -> None:
    home, dump = tmp_path / "home", tmp_path / "dump"
    flowscope(home, "ingest", dump)
    flowdump(dump)
    done = flowscope(home, "ingest", dump)
    assert done.returncode == 0
    assert "missing" not in done.stderr
    assert answer(Home(home), "select key, status from files order by 1") == [
        ("runs.jsonl", "loaded"),
        ("tasks.parquet", "loaded"),
    ]
    assert answer(Home(home), "select count(*) from rejects") == [(0,)]


def test_a_folder_that_is_gone_is_a_failure_and_its_rows_stay(tmp_path: Path) -> None:
    home, dump = tmp_path / "home", flowdump(tmp_path / "dump")
    flowscope(home, "ingest", dump)
    dump.rename(tmp_path / "elsewhere")
    assert flowscope(home, "ingest", dump).returncode == 1
    assert answer(Home(home), "select key, status from files order by 1") == [("dump", "failed"), ("runs.jsonl", "missing"), ("tasks.parquet", "missing")]  # fmt: skip
    assert answer(Home(home), "select count(*) from tasks") == [(2,)]
    assert "Published" not in flowscope(home, "ingest", dump).stderr
    (tmp_path / "elsewhere").rename(dump)
    assert flowscope(home, "ingest", dump).returncode == 0
    assert answer(Home(home), "select distinct status from files") == [("loaded",)]


def test_an_object_listed_by_two_sources_of_one_command_is_read_once(tmp_path: Path) -> None:
    dump = flowdump(tmp_path / "dump")
    done = flowscope(tmp_path / "home", "ingest", dump / "runs.jsonl", dump, f"{dump}/*.jsonl")
    assert done.returncode == 0
    assert "1 new, 1 unchanged" in done.stderr
    assert answer(Home(tmp_path / "home"), "select count(*) from files") == [(2,)]


@pytest.mark.parametrize("wanted", ["octoflows", "flowdump"])
def test_a_format_that_does_not_fit_is_one_sentence(tmp_path: Path, wanted: str) -> None:
    file = write_lines(tmp_path / "runs.jsonl", [{"run_id": "r"}])
    if wanted == "flowdump":
        file = file.rename(tmp_path / "tasks.parquet")
    done = flowscope(tmp_path / "home", "ingest", file, "--format", wanted)
    assert done.returncode == (1 if wanted == "octoflows" else 0)
    sentence(done)


# labels


def test_tags_and_environments_from_a_file_and_from_options_are_applied_to_unchanged_objects_too(
    tmp_path: Path,
) -> None:
    home, dump = tmp_path / "home", flowdump(tmp_path / "dump", ["r1", "r2"])
    flowscope(home, "ingest", dump)
    tags = tmp_path / "tags.csv"
    tags.write_text("run_id,environment,seed,empty\nr1,lab,7,\nnobody,lab,8,\n")
    done = flowscope(home, "ingest", dump, "--tags", tags, "--tag", "series=a", "--environment", "cloud")
    assert done.returncode == 0
    assert "nothing new" in done.stderr
    assert "Labelled 2 runs." in done.stderr
    assert "1 runs of the tags file are not in the warehouse, e.g. nobody." in done.stderr
    assert answer(Home(home), "select run_id, environment from runs order by 1") == [("r1", "lab"), ("r2", "cloud")]
    assert answer(Home(home), "select run_id, tag, value from run_tags order by all") == [("r1", "seed", "7"), ("r1", "series", "a"), ("r2", "series", "a")]  # fmt: skip


def test_lines_of_a_tags_file_without_a_run_or_with_too_many_fields_say_nothing(tmp_path: Path) -> None:
    home, tags = tmp_path / "home", tmp_path / "tags.csv"
    tags.write_text("seed,run_id\n1\n2,\n\n3,r1,too,many\n")
    done = flowscope(home, "ingest", flowdump(tmp_path / "dump"), "--tags", tags)
    assert done.returncode == 0, done.stderr
    assert "not in the warehouse" not in done.stderr
    assert answer(Home(home), "select run_id, tag, value from run_tags") == [("r1", "seed", "3")]


@pytest.mark.parametrize("content", [None, b"", b"id,x\n1,2\n", b"run_id,x\n\xff,1\n", b"run_id,x\n\x00,1\n"])
def test_a_tags_file_that_cannot_be_used_exits_1_before_anything_is_read(tmp_path: Path, content: bytes | None) -> None:
    tags = tmp_path / "tags.csv"
    if content is not None:
        tags.write_bytes(content)
    done = flowscope(tmp_path / "home", "ingest", flowdump(tmp_path / "dump"), "--tags", tags)
    if content == b"run_id,x\n\x00,1\n" and done.returncode == 0:
        return  # a NUL is a sign like any other from Python 3.11 on
    assert done.returncode == 1
    assert "run_id" in sentence(done)
    assert not (tmp_path / "home").exists()


def test_tag_labels_the_runs_a_condition_chooses(tmp_path: Path) -> None:
    home = tmp_path / "home"
    flowscope(home, "ingest", flowdump(tmp_path / "dump", ["r1", "r2"]))
    done = flowscope(home, "tag", "series=a", "seed=1", "--where", "run_id = 'r2' -- only this")
    assert (done.returncode, done.stdout) == (0, "")
    assert "Tagged 1 runs" in done.stderr
    assert answer(Home(home), "select run_id, tag, value from run_tags order by all") == [
        ("r2", "seed", "1"),
        ("r2", "series", "a"),
    ]
    for where in ("nonsense =", "no_such_column = 1", "true); drop table runs; --", "run_id = 'nobody'"):
        done = flowscope(home, "tag", "x=y", "--where", where)
        assert done.returncode == 1, where
        assert sentence(done).startswith("Error: ")
    assert answer(Home(home), "select count(*) from run_tags") == [(2,)]


# forget, status


def test_forget_takes_a_source_out_and_refuses_an_unknown_one(tmp_path: Path) -> None:
    home, dump = tmp_path / "home", flowdump(tmp_path / "dump")
    flowscope(home, "ingest", dump)
    done = flowscope(home, "forget", tmp_path / "other")
    assert done.returncode == 1
    assert "Nothing was taken in from" in sentence(done)
    done = flowscope(home, "forget", dump)
    assert (done.returncode, done.stdout) == (0, "")
    assert "Forgot 2 objects and 3 rows" in done.stderr
    assert not any(facts(Home(home)).values())
    assert flowscope(home, "status").returncode == 0
    assert (dump / "runs.jsonl").exists()


def test_status_lists_sources_as_csv_and_says_the_rest_on_stderr(loaded: Path) -> None:
    done = flowscope(loaded, "status")
    assert done.returncode == 0
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert (row["format"], row["objects"], row["rows"], row["rejected"]) == ("flowdump", "2", "8", "0")
    assert "Generation 1, published " in done.stderr
    assert "2 runs" in done.stderr


def test_status_lists_the_views_and_their_meaning(loaded: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(flowscope(loaded, "status", "--views").stdout)))
    assert {"run_summary", "task_times"} <= {row["name"] for row in rows}
    assert all(row["meaning"] for row in rows)


# export


def dumps() -> list[Path]:
    return sorted(OCTOFLOWS_DUMPS.glob("series_b_*.rdb.gz"))[:1]


@pytest.mark.parametrize("kind", ["hand-made", "recorded"])
def test_an_export_taken_in_again_gives_equal_tables(tmp_path: Path, kind: str) -> None:
    if kind == "recorded" and not dumps():
        pytest.skip(f"no recorded dumps in {OCTOFLOWS_DUMPS}")
    source = dumps()[0] if kind == "recorded" else flowdump(tmp_path / "dump", ["r1", "r2"])
    if kind == "hand-made":
        write_lines(source / "runs-2.jsonl", [{"run_id": "r3", "odd": {"x": [1, None]}}])
        write_lines(
            source / "invocations.jsonl", [{"invocation_id": "i", "phases": {"boot": 1.5}, "initial_task_ids": ["a"]}]
        )
    one, two = Home(tmp_path / "one"), Home(tmp_path / "two")
    assert flowscope(one.root, "ingest", source, "--tag", "a=b").returncode == 0
    exported = flowscope(one.root, "export", tmp_path / "out")
    assert (exported.returncode, exported.stdout) == (0, "")
    assert flowscope(two.root, "ingest", tmp_path / "out").returncode == 0
    assert facts(one) == facts(two)
    assert facts(one)["run_tags"]
    assert flowscope(one.root, "export", tmp_path / "out").returncode == 0
    assert not list((tmp_path / "out").glob("*.part"))

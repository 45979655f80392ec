"""What a reader may do, and what hostile SQL may not."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dumps import put, rows_of_runs
from warehouse.connection import Reader, open_current
from warehouse.errors import FlowscopeError, NoWarehouse, QueryRefused
from warehouse.home import Home
from warehouse.writer import Writer


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    home = Home(tmp_path_factory.mktemp("reader"))
    with Writer(home) as writer:
        put(writer, "a", *rows_of_runs("r1", "r2", tasks=2))
        writer.publish()
    with open_current(home) as opened:
        yield opened


def ask(reader: Reader, sql: str, **options: Any) -> list[dict[str, Any]]:
    with reader.query(sql, **options) as batches:
        return batches.read_all().to_pylist()  # type: ignore[no-any-return]


HOSTILE = """
copy runs to '/tmp/flowscope-hostile'
copy (select 1) to '/tmp/flowscope-hostile'
copy runs from '/etc/passwd'
export database '/tmp/flowscope-hostile'
import database '/tmp/flowscope-hostile'
attach '/tmp/flowscope-hostile' as x
attach ':memory:' as x
detach memory
install httpfs
load httpfs
set memory_limit = '100GB'
set enable_external_access = true
set lock_configuration = false
reset memory_limit
pragma memory_limit = '100GB'
pragma database_list
call pragma_version()
use memory
checkpoint
force checkpoint
vacuum
analyze
begin
commit
rollback
create table x as select 1
create temp table x as select 1
create or replace temp view x as select 1
create macro f() as 1
create secret s (type s3)
create schema s
create sequence s
insert into runs (run_id) values ('x')
update runs set run_id = 'x'
delete from runs
truncate runs
merge into runs using runs as r on false when not matched then insert (run_id) values ('x')
drop table runs
alter table runs add column x int
comment on table runs is 'x'
prepare p as select 1
execute p
deallocate p
with x as (delete from runs returning *) select * from x
with x as (insert into runs (run_id) values ('x') returning *) select * from x
select 1; select 2
select 1; drop table runs
explain analyze delete from runs
explain analyze create temp table x as select 1
explain analyze copy (select 1) to '/tmp/flowscope-hostile'
explain analyze set threads = 1
/* c */ explain /* c */ analyze copy (select 1) to '/tmp/flowscope-hostile'
explain (analyze, format json) create temp table x as select 1
explain (format json) insert into runs (run_id) values ('x')
select * from '/etc/passwd'
select * from 'file:///etc/passwd'
select * from "/etc/passwd"
select * from read_text('/etc/passwd')
select * from read_blob('/proc/self/environ')
select * from read_csv('/etc/passwd')
select * from read_csv_auto('/etc/passwd')
select * from sniff_csv('/etc/passwd')
select * from read_json('/etc/passwd')
select * from read_json_objects('/proc/self/environ')
select * from read_ndjson('/etc/passwd')
select * from read_parquet('/tmp/x.parquet')
select * from parquet_metadata('/tmp/x.parquet')
select * from glob('/*')
select * from 'https://example.com/x.csv'
select * from read_csv('https://example.com/x.csv')
select * from query('drop table runs')
select * from query_table('/etc/passwd')
select * from sqlite_scan('/tmp/x', 't')
select getenv('HOME')
select * from duckdb_secrets()
select set_config('threads', '1')
select * from os
select ?
select $name
select from where
select 'open
select nothing_such from runs
""".strip().splitlines()


@pytest.mark.parametrize(
    "sql", [*HOSTILE, "", "   ", "-- nothing", ";", "\0", "select '\ud800'", "explain", "explain explain select 1"]
)
def test_hostile_or_broken_sql_is_refused_with_a_sentence(reader: Reader, sql: str) -> None:
    with pytest.raises(QueryRefused) as refusal:
        ask(reader, sql)
    assert str(refusal.value).strip()
    assert not Path("/tmp/flowscope-hostile").exists()
    assert reader.rows("select count(*) from runs") == [(2,)]


@pytest.mark.parametrize(
    "sql",
    [
        "select 1",
        "SELECT 1;",
        "from runs",
        "with x as (select 1) select * from x",
        "values (1)",
        "describe runs",
        "summarize runs",
        "show tables",
        "explain select 1",
        "explain analyze select * from runs",
        "-- why\nexplain select 1",
        "explain (format json) select 1",
        "explain from runs",
        "explain (select 1)",
    ],
)
def test_reading_is_allowed_in_every_form(reader: Reader, sql: str) -> None:
    assert ask(reader, sql)


def test_secrets_of_the_process_stay_out_of_reach(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSCOPE_TEST_SECRET", "s3cret-value")
    for sql in ("from duckdb_settings()", "from duckdb_variables()", "from duckdb_logs()"):
        assert "s3cret-value" not in str(ask(reader, sql))
    assert os.environ["FLOWSCOPE_TEST_SECRET"]


ENDLESS = "select count(*) from range(1000000000) a, range(1000) b where hash(a.range + b.range) % 7 = 1"


def test_a_query_that_takes_too_long_is_stopped(reader: Reader) -> None:
    began = time.monotonic()
    with pytest.raises(QueryRefused, match=r"Stopped after 0\.3 s"):
        ask(reader, ENDLESS, seconds=0.3)
    assert time.monotonic() - began < 10
    assert ask(reader, "select 1 as one", seconds=5) == [{"one": 1}]


def test_a_query_that_is_stopped_while_it_is_read_says_so(reader: Reader) -> None:
    sql = "select a.range from range(1000000000) a where hash(a.range) % 2 = 0"
    with pytest.raises(QueryRefused, match="Stopped"), reader.query(sql, seconds=0.2) as batches:
        for _ in batches:
            time.sleep(0.01)


def test_an_error_in_the_middle_of_a_result_is_refused_with_its_sentence(reader: Reader) -> None:
    with pytest.raises(QueryRefused, match="Could not convert"):
        ask(reader, "select cast(case when range = 500000 then 'x' else '1' end as int) from range(600000)")


def test_memory_is_bounded(home: Home) -> None:
    with Writer(home) as writer:
        writer.publish()
    with open_current(home, memory_limit="100MB") as small, pytest.raises(QueryRefused, match=r"(?i)memory|offload"):
        ask(small, "select list(range) from range(100000000)")


def test_a_reader_may_be_shared_by_threads(reader: Reader) -> None:
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(ask(reader, "select count(*) as n from tasks"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[{"n": 4}]] * 8


def test_a_home_without_a_warehouse_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for root in (tmp_path / "none", file, file / "below"):
        with pytest.raises(NoWarehouse, match=r"No warehouse in .* Hint: flowscope ingest PATH"):
            open_current(Home(root))


def test_a_generation_that_is_no_database_says_what_to_do(home: Home) -> None:
    home.generations.mkdir(parents=True)
    (home.generations / "000001.duckdb").write_bytes(b"x" * 5000)
    home.current.symlink_to("generations/000001.duckdb")
    with pytest.raises(FlowscopeError, match=r"cannot be opened.* Hint"):
        open_current(home)


def test_each_file_spills_into_a_folder_of_its_own_and_opens_twice_in_a_process(home: Home) -> None:
    asked = "select current_setting('temp_directory')"
    with Writer(home) as writer:
        writer.publish()
        folders = {writer._rows(asked)[0][0]}
        with open_current(home) as opened, open_current(home) as again:
            assert opened.value(asked) == again.value(asked)
            folders.add(opened.value(asked))
    assert len(folders) == 2

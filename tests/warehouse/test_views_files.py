"""The views as files: their order, their errors, their comments."""

from pathlib import Path

import duckdb
import pytest

from tests.warehouse.views import derived
from warehouse.views import CORE, MATERIALISED, BrokenView, core_views, create_views, tables_read, views_in


def folder(tmp_path: Path, **views: str) -> Path:
    for name, sql in views.items():
        (tmp_path / f"{name}.sql").write_text(sql)
    return tmp_path


def test_a_view_comes_after_those_it_reads(tmp_path: Path):
    views = views_in(
        folder(
            tmp_path,
            a="with c as (select * from Middle) select * from c",
            middle="select (select max(x) from z) as x",
            z="select 1 as x",
        )
    )
    assert [view.name for view in views] == ["z", "middle", "a"]
    connection = duckdb.connect()
    create_views(connection, views)
    assert connection.execute("from a").fetchall() == [(1,)]


def test_views_that_read_each_other_are_refused(tmp_path: Path):
    with pytest.raises(BrokenView, match=r"read each other: .*(ping -> pong|pong -> ping)"):
        views_in(folder(tmp_path, ping="from pong", pong="from ping"))


@pytest.mark.parametrize("name", ["plain", "run_summary"])
@pytest.mark.parametrize(
    ("sql", "line", "words"),
    [
        ("-- Wrong.\nselect\n    1,\n    nonesuch\nfrom range(3)", 4, "nonesuch"),
        ("-- Wrong.\nselect 1\nfrom nonesuch", 3, "nonesuch"),
        ("select nofunction(1)", 1, "nofunction"),
        ("-- Ü ä ö ü ß ä ö ü ß\nselect\n    'äöüäöüäöüäöü',\n\n    1 +\n    nonesuch", 6, "nonesuch"),
    ],
)
def test_a_view_that_does_not_bind_names_its_file_and_line(tmp_path: Path, name: str, sql: str, line: int, words: str):
    """As a view and as a table (run_summary is materialised)."""
    assert "run_summary" in MATERIALISED
    with pytest.raises(BrokenView, match=rf"^{name}\.sql, line {line}: .*{words}"):
        create_views(duckdb.connect(), views_in(folder(tmp_path, **{name: sql})))


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        ("-- Wrong.\nselect 1,\n    foo bar baz\nfrom range(3)", 3),
        ("select 1 from from x", 1),
        ("-- Ü ä ö ü ß ä ö ü ß\nselect 'äöüäöüäöüäöüäöüäöü',\n    foo bar\n    baz\nfrom x", 4),
    ],
)
def test_a_view_that_does_not_parse_names_its_file_and_line(tmp_path: Path, sql: str, line: int):
    with pytest.raises(BrokenView, match=rf"^broken\.sql, line {line}: .*syntax error"):
        views_in(folder(tmp_path, broken=sql))


def test_a_view_that_fails_on_the_data_names_its_file(tmp_path: Path):
    views = views_in(folder(tmp_path, run_summary="select cast(x as int) as x\nfrom (values ('a')) as t(x)"))
    with pytest.raises(BrokenView, match=r"^run_summary\.sql.*Conversion Error"):
        create_views(duckdb.connect(), views)


def test_a_view_file_holds_a_select_and_nothing_else(tmp_path: Path):
    with pytest.raises(BrokenView, match=r"^bad\.sql"):
        views_in(folder(tmp_path, bad="drop table runs"))


@pytest.mark.parametrize("view", core_views(), ids=lambda view: view.name)
def test_every_view_says_its_grain_first(view):
    assert view.sql.startswith("-- ")
    assert "One row per" in view.meaning


@pytest.mark.parametrize("view", core_views(), ids=lambda view: view.name)
def test_every_view_is_one_bare_select_whose_helpers_hide_no_view(view):
    connection = duckdb.connect()
    assert len(connection.extract_statements(view.sql)) == 1
    assert ";" not in "".join(line for line in view.sql.splitlines() if not line.lstrip().startswith("--"))
    for other in core_views():
        assert f"{other.name} as (" not in view.sql


def test_every_file_is_a_view_and_every_view_exists_when_empty():
    names = {path.stem for path in CORE.glob("*.sql")}
    assert {view.name for view in core_views()} == names
    assert names >= MATERIALISED
    for name in names:
        assert derived(name) == []


def test_a_view_carries_its_meaning_as_its_comment(tmp_path: Path):
    connection = duckdb.connect()
    create_views(connection, views_in(folder(tmp_path, it="-- It's one.\n-- One row per x.\nselect 1 as x\n-- no")))
    assert connection.execute("select comment from duckdb_views() where view_name = 'it'").fetchall() == [
        ("It's one. One row per x.",)
    ]


def test_only_views_and_tables_are_read_from(tmp_path: Path):
    (view,) = views_in(folder(tmp_path, it="select * from Tasks join (select 1 from edges) using (x), range(3)"))
    assert tables_read(duckdb.connect(), view) == {"tasks", "edges"}

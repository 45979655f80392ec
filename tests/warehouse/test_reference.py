"""The generated files say what the table descriptions say."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from jsonschema import Draft202012Validator

from warehouse.reference import generated, json_schema
from warehouse.schema import arrow_schema, ddl
from warehouse.tables import EXTRA, FACTS, TABLES


@pytest.mark.parametrize("path", generated(), ids=lambda path: path.name)
def test_generated_files_are_up_to_date(path: Path):
    assert path.read_text() == generated()[path], "run: make generate"


def test_the_ddl_makes_exactly_the_described_columns():
    connection = duckdb.connect()
    for statement in ddl():
        connection.execute(statement)
    for table in TABLES:
        found = connection.execute(
            "select column_name, data_type from information_schema.columns"
            " where table_schema = 'main' and table_name = ? order by ordinal_position",
            [table.name],
        ).fetchall()
        assert found == [(column.name, column.type) for column in table.stored_columns]


def test_the_ddl_run_again_changes_nothing():
    connection = duckdb.connect()
    for statement in [*ddl(), *ddl()]:
        connection.execute(statement)
    assert connection.execute(
        "select count(*) from information_schema.tables where table_name = 'runs'"
    ).fetchone() == (2,)


def test_arrow_and_duckdb_agree_on_every_type():
    connection = duckdb.connect()
    for statement in ddl():
        connection.execute(statement)
    for table in FACTS.values():
        columns = (*table.columns, EXTRA)
        empty = arrow_schema(columns).empty_table()
        assert isinstance(empty, pa.Table)
        connection.execute(f"insert into {table.name} by name select * from empty")


def test_the_flowdump_schema_is_a_valid_json_schema_and_wants_the_keys():
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    tasks = Draft202012Validator(schema["$defs"]["tasks"])
    assert tasks.is_valid({"run_id": "r", "task_id": "t", "execution_ms": 1.5, "something_else": [1]})
    assert not tasks.is_valid({"run_id": "r"})
    assert not tasks.is_valid({"run_id": "r", "task_id": None})
    assert not tasks.is_valid({"run_id": "r", "task_id": "t", "execution_ms": "fast"})

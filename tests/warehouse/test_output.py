"""Results as CSV, JSON, Parquet and tables: goldens."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.output import Format, write

DATABASE = duckdb.connect()


def written(sql: str, how: Format, *, width: int = 100, parameters: list[Any] | None = None) -> bytes:
    file = io.BytesIO()
    with DATABASE.cursor() as connection:
        write(connection.sql(sql, params=parameters).to_arrow_reader(1000), file, how, width)
    return file.getvalue()


VALUES = """
select 1::int as whole, 2.5::double as part, 'a, "b"' as words, null as nothing, true as yes, timestamp '2026-01-02 03:04:05' as instant,
    date '2026-01-02' as day, ['x', null] as list, map {'k': 1.5} as mapped, map {}::map(varchar, int) as empty, {'a': 1, 'b': [date '2026-01-02']} as struct,
    '{"j": 1}'::json as json, 'nan'::double as nan, 'inf'::double as inf
"""


def test_csv_has_a_header_nulls_as_empty_fields_and_nested_values_as_json() -> None:
    assert written(VALUES, "csv").decode() == (
        "whole,part,words,nothing,yes,instant,day,list,mapped,empty,struct,json,nan,inf\n"
        '1,2.5,"a, ""b""",,true,2026-01-02 03:04:05,2026-01-02,"[""x"", null]","{""k"": 1.5}",{},'
        '"{""a"": 1, ""b"": [""2026-01-02""]}","{""j"": 1}",nan,inf\n'
    )


def test_json_is_a_list_of_objects_and_what_json_has_no_number_for_is_null() -> None:
    assert json.loads(written(VALUES, "json")) == [
        {
            "whole": 1,
            "part": 2.5,
            "words": 'a, "b"',
            "nothing": None,
            "yes": True,
            "instant": "2026-01-02T03:04:05",
            "day": "2026-01-02",
            "list": ["x", None],
            "mapped": {"k": 1.5},
            "empty": {},
            "struct": {"a": 1, "b": ["2026-01-02"]},
            "json": '{"j": 1}',
            "nan": None,
            "inf": None,
        }
    ]


def test_decimals_and_huge_integers_are_numbers_in_json() -> None:
    sql = "select 3::hugeint as huge, sum(range) as total, 1.50::decimal(9, 2) as price, 2.00::decimal(9, 2) as two, [1.5::decimal(3, 1)] as list from range(4) group by all"
    text = written(sql, "json").decode()
    assert text == '[\n{"huge": 3, "total": 6, "price": 1.5, "two": 2, "list": [1.5]}\n]\n'
    assert written("select 170141183460469231731687303715884105727::hugeint as h", "json").decode() == (
        '[\n{"h": 170141183460469231731687303715884105727}\n]\n'
    )


def test_columns_of_one_name_all_stay_in_a_json_object() -> None:
    assert json.loads(written("select 1 as a, 2 as a, 3 as a_1, 4 as a", "json")) == [
        {"a": 1, "a_1": 2, "a_1_1": 3, "a_2": 4}
    ]


def test_no_rows_are_a_header_an_empty_list_or_a_table_of_headers() -> None:
    assert written("select 1 as a where false", "csv") == b"a\n"
    assert json.loads(written("select 1 as a where false", "json")) == []
    assert written("select 1 as a where false", "table").split() == [b"a"]
    assert pq.read_table(io.BytesIO(written("select 1 as a where false", "parquet"))).num_rows == 0


def test_parquet_keeps_types() -> None:
    table = pq.read_table(io.BytesIO(written(VALUES, "parquet")))
    assert [str(field.type) for field in table.schema][:7] == [
        "int32",
        "double",
        "string",
        "null",
        "bool",
        "timestamp[us]",
        "date32[day]",
    ]
    assert table.num_rows == 1


def test_a_table_is_for_the_eye() -> None:
    sql = "select * from (values ('one', 1, 1.5::decimal(3, 1)), ('three', 300, null)) as t(name, number, price)"
    assert written(sql, "table").decode().rstrip() == (
        "name   number  price \none         1    1.5 \nthree     300"
    ) or written(sql, "table").decode().split() == ["name", "number", "price", "one", "1", "1.5", "three", "300"]


def test_a_long_table_says_that_it_is_cut() -> None:
    text = written("select range as n from range(201)", "table").decode()
    assert "Only the first 200 rows are shown. Hint: --format csv" in text
    assert "200" not in text.splitlines()[-2]
    assert "Only" not in written("select range as n from range(200)", "table").decode()


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b[31mred",
        "a\nb",
        "tab\there",
        "\x07bell",
        "\x9b31m",
        "\u202eright to left",
        "[red]markup[/red]",
        ":smile:",
        "\x00",
    ],
)
def test_control_signs_and_markup_of_values_and_names_never_reach_the_terminal(hostile: str) -> None:
    text = written(f'select ? as value, 1 as "{hostile}"', "table", parameters=[hostile]).decode()
    assert not any(sign in text.replace("\n", "") for sign in "\x1b\t\x07\x9b\u202e\x00")
    if hostile.startswith(("[", ":")):
        assert text.count(hostile) == 2
    assert len(text.splitlines()) == 2


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-(2**62), 2**62), st.text(st.characters(exclude_categories=("Cs",)), min_size=1)
        ),
        max_size=5,
    )
)
def test_csv_and_json_give_every_value_back(rows: list[tuple[int | None, str]]) -> None:
    sql = "select unnest(?::bigint[]) as n, unnest(?::varchar[]) as text"
    parameters = [[n for n, _ in rows], [text for _, text in rows]]
    assert [tuple(row.values()) for row in json.loads(written(sql, "json", parameters=parameters))] == rows
    read = list(csv.reader(io.StringIO(written(sql, "csv", parameters=parameters).decode(), newline="")))
    assert read[1:] == [["" if n is None else str(n), text] for n, text in rows]

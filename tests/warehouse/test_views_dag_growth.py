"""dag_growth: how the serialised DAG grows with its tasks, and what it costs the workers. dag_contents: what it must carry."""

import pytest

from tests.warehouse.views import Row, derived, one, select, warehouse

RUN = {"run_id": "r", "engine": "e", "workflow": "w", "structure_hash": "h", "expected_tasks": 3}
EDGES = [
    {"run_id": "r", "upstream_task_id": "aa", "task_id": "bbb"},
    {"run_id": "r", "upstream_task_id": "aa", "task_id": "c"},
]
TASKS = [{"run_id": "r", "task_id": t, "literal_bytes": n} for t, n in (("aa", 10), ("bbb", 20), ("c", 0))]


def load(dag_bytes: int | None, download_ms: float | None = 0.0, subdag_ms: float | None = None, run: str = "r") -> Row:
    return {"run_id": run, "dag_bytes": dag_bytes, "download_ms": download_ms, "subdag_ms": subdag_ms}


def growth(*loads: Row, **tables: list[Row]) -> Row:
    return one(
        derived("dag_growth", **{"runs": [RUN], "edges": EDGES, "tasks": TASKS, "dag_loads": list(loads), **tables})
    )


def test_sizes_are_medians_over_loads_and_per_task() -> None:
    row = growth(load(300), load(360), load(900))
    assert (row["dag_bytes"], row["min_dag_bytes"], row["max_dag_bytes"]) == (360, 300, 900)
    assert row["bytes_per_task"] == 120  # 360 / 3
    assert (row["tasks"], row["edges"], row["runs"], row["runs_with_loads"], row["loads"]) == (3, 2, 1, 1, 3)


def test_what_the_dag_must_carry_is_told_apart_from_the_rest() -> None:
    row = growth(load(300), load(400))
    assert row["topology_bytes"] == 10  # "aa" + "bbb" + "c" are 6, and 2 edges of 2 numbers 4
    assert row["argument_bytes"] == 30
    assert row["other_bytes"] == 310  # the median of 300 - 40 and 400 - 40


def test_a_larger_dag_needs_larger_numbers_for_its_edges() -> None:
    """A chain of 257 tasks named by 4 characters: 257 x 4 + 256 edges of 2 numbers of 2 bytes."""
    chain = [{"run_id": "r", "upstream_task_id": f"{n:04}", "task_id": f"{n + 1:04}"} for n in range(256)]
    assert growth(load(1), edges=chain)["topology_bytes"] == 1028 + 1024


@pytest.mark.parametrize(
    "tables",
    [{"tasks": TASKS[:2]}, {"tasks": [*TASKS[:2], {"run_id": "r", "task_id": "c"}]}, {"tasks": []}],
)
def test_arguments_are_unknown_unless_every_task_tells_its_own(tables: dict[str, list[Row]]) -> None:
    row = growth(load(300), **tables)
    assert (row["argument_bytes"], row["other_bytes"], row["topology_bytes"]) == (None, None, 10)


def test_without_edges_the_topology_is_unknown() -> None:
    row = growth(load(300), edges=[])
    assert (row["edges"], row["topology_bytes"], row["other_bytes"], row["argument_bytes"]) == (None, None, None, 30)


def test_arguments_are_those_of_last_attempts() -> None:
    again = [{"run_id": "r", "task_id": "c", "attempt": 2, "literal_bytes": 7}]
    assert growth(load(300), tasks=TASKS + again)["argument_bytes"] == 37


def test_a_dag_that_came_with_the_invocation_was_not_downloaded() -> None:
    row = growth(load(96_000, 8.0), load(99_000, 4.0), load(90_000, 0.0), load(80_000, None), load(None, -1.0))
    counts = ("loads_downloaded", "loads_passed", "loads_unmeasured", "loads_over_95_kb")
    assert [row[name] for name in counts] == [2, 1, 2, 2]
    assert (row["largest_passed_bytes"], row["smallest_downloaded_bytes"]) == (90_000, 96_000)
    assert row["download_ms"] == 6  # the median of those downloaded


def test_a_runs_loads_add_up_and_medians_over_runs_count_each_run_once() -> None:
    runs = [RUN, RUN | {"run_id": "s"}, RUN | {"run_id": "t"}, RUN | {"run_id": "u"}]
    loads = [load(100, 1.0, 0.5), load(100, 2.0, 0.5), load(100, None, None), load(50, None, 3.0, "s")]
    row = growth(*loads, load(70, 0.0, 0.0, "t"), runs=runs)
    assert row["bytes_per_run"] == 70  # of 300, 50 and 70
    assert row["load_ms_per_run"] == 3  # of 4, 3 and 0
    assert (row["runs"], row["runs_with_loads"], row["loads"]) == (4, 3, 5)


def test_a_run_that_loaded_nothing_is_counted_and_measures_nothing() -> None:
    row = growth()
    assert (row["runs"], row["runs_with_loads"], row["loads"], row["loads_unmeasured"]) == (1, 0, 0, 0)
    names = ("dag_bytes", "bytes_per_task", "download_ms", "subdag_ms", "bytes_per_run", "load_ms_per_run")
    assert [row[name] for name in names] == [None] * len(names)


def test_one_structure_of_two_workflows_or_sizes_is_two_rows() -> None:
    runs = [RUN, RUN | {"run_id": "s", "workflow": "v"}, RUN | {"run_id": "t", "expected_tasks": 4}]
    runs += [{"run_id": "u"}, {"run_id": "v"}]
    rows = derived("dag_growth", runs=runs, dag_loads=[load(10, run=run) for run in "rstuv"])
    assert sorted((row["workflow"] or "", row["tasks"] or 0, row["loads"]) for row in rows) == [
        ("", 0, 2), ("v", 3, 1), ("w", 3, 1), ("w", 4, 1),
    ]  # fmt: skip


def test_huge_sizes_and_cycles_fail_nothing() -> None:
    huge = 2**63 - 1
    cycle = [*EDGES, {"run_id": "r", "upstream_task_id": "c", "task_id": "aa"}]
    tasks = [task | {"literal_bytes": huge} for task in TASKS]
    row = growth(load(huge), load(huge), load(0), load(5, run="no such run"), edges=cycle, tasks=tasks)
    assert (row["loads"], row["edges"], row["topology_bytes"]) == (3, 3, 12)  # 6 + 3 x 2
    assert (row["bytes_per_run"], row["argument_bytes"]) == (2.0**64, 3 * 2.0**63)
    assert row["other_bytes"] == -(2.0**64)  # the median of 2^63 - 3 x 2^63, twice, and 0 - 3 x 2^63
    assert row["min_dag_bytes"] == 0


def test_edges_without_an_end_and_a_dag_of_no_tasks_fail_nothing() -> None:
    row = growth(load(1), runs=[RUN | {"expected_tasks": 0}], edges=[{"run_id": "r", "task_id": "c"}])
    assert (row["bytes_per_task"], row["edges"], row["argument_bytes"]) == (None, 1, None)


def test_what_a_runs_dag_holds_is_unknown_only_where_its_own_records_are_missing() -> None:
    """r: all is known. s: no edges. t: a task left no metrics. u: a task does not say what it was given. v: nothing."""
    names = {"r": ("aa", "bbb", "c"), "s": ("aa", "bbb", "c"), "t": ("aa", "bbb"), "u": ("aa", "bbb", "c"), "v": ()}
    tasks: list[Row] = [
        {"run_id": run, "task_id": task, "literal_bytes": None if (run, task) == ("u", "c") else 5}
        for run, known in names.items()
        for task in known
    ]
    found = derived(
        "dag_contents",
        runs=[RUN | {"run_id": run} for run in names],
        edges=[edge | {"run_id": run} for run in "rtu" for edge in EDGES],
        tasks=[*tasks, {"run_id": "r", "task_id": "c", "attempt": 2, "literal_bytes": 1}],
    )
    assert {row["run_id"]: (row["edges"], row["topology_bytes"], row["argument_bytes"]) for row in found} == {
        "r": (2, 10, 11),  # ids of 2 + 3 + 1 and 2 edges of 2 numbers of 1 byte; 5 + 5 and the 1 of the last attempt
        "s": (None, None, 15),
        "t": (2, 10, None),
        "u": (2, 10, None),
        "v": (None, None, None),
    }
    assert len(found) == 5


@pytest.mark.parametrize(("tasks", "number_bytes"), [(256, 1), (257, 2), (65_536, 2), (65_537, 4)])
def test_edges_number_tasks_in_one_two_or_four_bytes(tasks: int, number_bytes: int) -> None:
    with warehouse(runs=[RUN]) as connection:
        connection.execute(
            """
            insert into edges (run_id, upstream_task_id, task_id)
            select 'r', printf('%05d', n), printf('%05d', n + 1) from range(?) as numbers(n)
            """,
            [tasks - 1],
        )
        (row,) = select(connection, "from dag_contents")
    assert (row["edges"], row["topology_bytes"]) == (tasks - 1, 5 * tasks + (tasks - 1) * 2 * number_bytes)

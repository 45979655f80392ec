"""concurrency: how many runs, workers and containers were alive at once. Hand-made active periods stand in for the view."""

from datetime import datetime
from typing import Any

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.views import Row, at, select
from warehouse.views import core_views, create_views

COUNTS = ("workers", "workers_starting", "workers_active", "containers_kept_warm", "containers")


def period(
    invocation: str,
    requested: float | None,
    ready: float | None = None,
    released: float | None = None,
    warm: float | None = None,
    **more: Any,
) -> Row:
    """An active period of run r, by ms."""
    instants = (("requested_at", requested), ("ready_at", ready), ("released_at", released), ("keep_warm_until", warm))
    row = {name: None if ms is None else at(ms) for name, ms in instants}
    return {"invocation_id": invocation, "run_id": "r", "reused_invocation_id": None, **row, **more}


def concurrency(*periods: Row, environments: dict[str, str | None] | None = None) -> list[Row]:
    """The view's rows in order of time, `changed_at` as ms."""
    with duckdb.connect() as connection:
        connection.execute("create table runs (run_id varchar, environment varchar)")
        for run in (environments or {"r": "here"}).items():
            connection.execute("insert into runs values (?, ?)", list(run))
        connection.execute(
            "create table worker_active_periods (invocation_id varchar, run_id varchar, reused_invocation_id varchar,"
            " requested_at timestamp, ready_at timestamp, released_at timestamp, keep_warm_until timestamp)"
        )
        for row in periods:
            marks = ", ".join("?" for _ in row)
            connection.execute(
                f"insert into worker_active_periods ({', '.join(row)}) values ({marks})", list(row.values())
            )
        create_views(connection, [view for view in core_views() if view.name == "concurrency"])
        rows = select(connection, "from concurrency order by environment nulls first, changed_at, run_id nulls first")
    return [row | {"changed_at": ms(row["changed_at"])} for row in rows]


def ms(instant: datetime) -> float:
    return (instant - at(0)).total_seconds() * 1000


def seen(rows: list[Row], *names: str) -> dict[float, tuple[Any, ...]]:
    return {row["changed_at"]: tuple(row[name] for name in names) for row in rows}


def test_a_worker_starts_is_active_and_leaves_a_warm_container() -> None:
    assert seen(concurrency(period("a", 0, 10, 50, 80)), *COUNTS) == {
        0: (1, 1, 0, 0, 1),
        10: (1, 0, 1, 0, 1),
        50: (0, 0, 0, 1, 1),
        80: (0, 0, 0, 0, 0),
    }


def test_a_container_taken_over_is_counted_once() -> None:
    rows = concurrency(period("a", 0, 10, 50, 80), period("b", 60, 65, 70, reused_invocation_id="a"))
    assert {when: row[-1] for when, row in seen(rows, "containers").items()} == {
        0: 1,
        10: 1,
        50: 1,
        60: 1,
        65: 1,
        70: 0,
    }
    assert rows[-1]["peak_containers"] == 1


def test_a_container_lived_until_it_was_taken_whatever_the_estimate() -> None:
    late = concurrency(period("a", 0, 1, 10, 20), period("b", 30, 31, 40, reused_invocation_id="a"))
    assert seen(late, "containers")[10] == (1,)
    assert 20 not in seen(late, "containers")
    unknown = concurrency(period("a", 0, 1, 10), period("b", 30, 31, 40, reused_invocation_id="a"))
    assert seen(unknown, "containers") == seen(late, "containers")


def test_a_container_named_twice_is_taken_by_the_first() -> None:
    takers = [period(name, start, None, 90, reused_invocation_id="a") for name, start in (("c", 60), ("b", 40))]
    assert seen(concurrency(period("a", 0, 1, 10, 99), *takers), "containers_kept_warm")[40] == (0,)


def test_one_taken_before_its_release_was_never_idle() -> None:
    """The two machines' clocks differ."""
    rows = concurrency(period("a", 0, 1, 50, 80), period("b", 45, 46, 60, reused_invocation_id="a"))
    assert {row["containers_kept_warm"] for row in rows} == {0}


def test_what_ends_and_what_begins_at_one_instant_never_overlap() -> None:
    rows = concurrency(period("a", 0, 1, 50), period("b", 50, 51, 60), environments={"r": "here"})
    assert max(row["workers"] for row in rows) == 1
    two_runs = [period("a", 0, 1, 50), period("b", 50, 51, 60, run_id="s")]
    rows = concurrency(*two_runs, environments={"r": "here", "s": "here"})
    assert [(row["changed_at"], row["run_id"], row["workers"], row["runs"]) for row in rows] == [
        (0, "r", 1, 1),
        (1, "r", 1, 1),
        (50, "r", 1, 1),  # both rows of the instant say what holds after it
        (50, "s", 1, 1),
        (51, "s", 1, 1),
        (60, "s", 0, 0),
    ]
    assert rows[-1]["peak_workers"] == 1


def test_a_worker_without_a_known_end_does_not_live_for_ever() -> None:
    rows = concurrency(period("a", 0, 10), period("never ready", 20), period("c", 30, 40, 50))
    assert seen(rows, "workers", "workers_without_end") == {
        0: (1, 1),
        10: (0, 1),
        20: (0, 2),
        30: (1, 2),
        40: (1, 2),
        50: (0, 2),
    }


def test_a_worker_that_seems_ready_before_its_request_is_not_starting() -> None:
    assert seen(concurrency(period("a", 10, 5, 30)), "workers", "workers_starting") == {10: (1, 0), 30: (0, 0)}
    assert seen(concurrency(period("a", 10, 5)), "workers", "workers_without_end") == {10: (0, 1)}


def test_a_worker_released_before_it_was_ready_stops_starting_then() -> None:
    assert seen(concurrency(period("a", 0, 90, 30)), "workers", "workers_starting") == {0: (1, 1), 30: (0, 0)}


def test_a_worker_without_a_request_time_is_in_no_count_but_is_counted() -> None:
    rows = concurrency(period("a", None, 5), period("b", 10, 11, 30))
    assert seen(rows, "workers", "workers_unplaced") == {10: (1, 1), 11: (1, 1), 30: (0, 1)}


def test_environments_are_apart_and_peaks_are_by_environment_and_by_run() -> None:
    environments = {"r": "here", "s": "here", "t": "there", "u": None}
    periods = [period(f"{run}{n}", 10 * n, None, 100, run_id=run) for run in environments for n in range(2)]
    periods.append(period("later", 200, None, 210))
    rows = concurrency(*periods, environments=environments)
    assert {env: max(r["workers"] for r in rows if r["environment"] == env) for env in environments.values()} == {
        "here": 4, "there": 2, None: 2,
    }  # fmt: skip
    assert {run: max(r["run_workers"] for r in rows if r["run_id"] == run) for run in environments} == dict.fromkeys(
        "rstu", 2
    )
    assert max(row["runs"] for row in rows) == 2
    last = [row for row in rows if row["environment"] == "here"][-1]
    assert (last["workers"], last["peak_workers"]) == (0, 4)


instants = st.integers(0, 12)
lives = st.tuples(
    st.sampled_from("rst"), st.none() | instants, st.none() | instants, st.none() | instants, st.none() | instants
)


@settings(max_examples=60, deadline=None)
@given(st.lists(lives, max_size=8), st.lists(st.none() | st.integers(0, 7), min_size=8, max_size=8))
def test_counts_are_those_of_looking_at_every_instant(drawn: list[tuple[Any, ...]], takes: list[int | None]) -> None:
    """An end before the request is unknown, as in worker_active_periods; intervals hold from their start to before their end."""
    drawn = [
        (run, request, ready, end if request is not None and end is not None and end >= request else None, warm)
        for run, request, ready, end, warm in drawn
    ]
    rows = concurrency(
        *(
            period(str(n), *life, run_id=run, reused_invocation_id=None if take is None else str(take))
            for n, ((run, *life), take) in enumerate(zip(drawn, takes, strict=False))
        ),
        environments=dict.fromkeys("rst", "here"),
    )
    alive, starting, warm = [], [], []
    for number, (run, request, ready, end, until) in enumerate(drawn):
        if request is None:
            continue
        last = end if end is not None else ready
        if last is not None:
            alive.append((run, request, last))
            if ready is not None:
                starting.append((run, request, min(ready, last)))
        taken = [life[1] for life, take in zip(drawn, takes, strict=False) if take == number and life[1] is not None]
        until = min(taken, default=until)
        if end is not None and until is not None:
            warm.append((run, end, until))

    def count(intervals: list[tuple[Any, ...]], when: float) -> int:
        return sum(begin <= when < end for _, begin, end in intervals)

    peak = 0
    for row in rows:
        when = row["changed_at"]
        of_run = [life for life in alive if life[0] == row["run_id"]]
        expected = [count(alive, when), count(starting, when), count(warm, when), count(of_run, when)]
        assert [row[n] for n in ("workers", "workers_starting", "containers_kept_warm", "run_workers")] == expected
        assert row["runs"] == len({run for run, begin, end in alive if begin <= when < end})
        assert row["containers"] == row["workers"] + row["containers_kept_warm"]
        peak = max(peak, row["workers"])
        assert row["peak_workers"] == peak
    assert all(count(alive, when) <= peak for when in range(13))
    if rows:
        assert [rows[-1][name] for name in ("workers", "containers", "runs")] == [0, 0, 0]

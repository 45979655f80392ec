"""cold_starts and what it rests on: container_reuse, keep_alive, cold_start_inference and its quality."""

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.views import Row, at, derived, one, select, warehouse

RUN = {"run_id": "r", "environment": "here", "engine": "e", "submitted_at": at(0)}


def worker(
    name: str, requested: float, released: float | None = None, startup: float | None = 100, **more: object
) -> Row:
    """An invocation whose end is recorded: times in ms. Without an end it is given none."""
    return {
        "invocation_id": name,
        "run_id": "r",
        "worker_id": name,
        "memory_mb": 1024,
        "requested_at": at(requested),
        "ready_at": None if startup is None else at(requested + startup),
        "finished_at": None if released is None else at(released),
    } | more


def by_name(view: str, invocations: list[Row], **tables: list[Row]) -> dict[str, Row]:
    rows = derived(view, **({"runs": [RUN], "invocations": invocations} | tables))
    return {row["invocation_id"]: row for row in rows}


def states(invocations: list[Row], **tables: list[Row]) -> dict[str, tuple[str, str, str | None]]:
    rows = by_name("cold_starts", invocations, **tables)
    return {name: (row["state"], row["state_source"], row["unknown_because"]) for name, row in rows.items()}


# Which container -----------------------------------------------------------------------------------------------------


def test_a_request_takes_the_container_released_most_recently():
    rows = by_name(
        "container_reuse",
        [
            worker("a", 0, 1000),
            worker("b", 10, 2000),
            worker("c", 5000, 6000),
            worker("d", 5500, 7000),
            worker("e", 5800),
        ],
    )
    found = {name: (row["matched_invocation_id"], row["idle_ms"]) for name, row in rows.items()}
    # c takes b's (idle 2000 to 5000), d the one left, a's (1000 to 5500); none is left for e
    assert found == {"a": (None, None), "b": (None, None), "c": ("b", 3000), "d": ("a", 4500), "e": (None, None)}


@pytest.mark.parametrize(
    "other",
    [
        {"memory_mb": 2048},
        {"run_id": "elsewhere"},
        {"run_id": "other engine"},
        {"function": "f"},
    ],
)
def test_pools_do_not_mix(other: Row):
    runs = [
        RUN,
        RUN | {"run_id": "elsewhere", "environment": "there"},
        RUN | {"run_id": "other engine", "engine": "e2"},
    ]
    invocations = [worker("a", 0, 1000), worker("b", 2000, 3000, **other)]
    assert by_name("container_reuse", invocations, runs=runs)["b"]["matched_by"] is None
    assert by_name("container_reuse", [worker("a", 0, 1000), worker("b", 2000)])["b"]["matched_by"] == "release"


def test_containers_are_shared_by_the_runs_of_an_environment():
    runs = [RUN, RUN | {"run_id": "r2"}]
    rows = by_name("container_reuse", [worker("a", 0, 1000), worker("b", 2000, run_id="r2")], runs=runs)
    assert rows["b"]["matched_invocation_id"] == "a"


def test_a_prewarm_adds_a_container_to_its_targets_pool_at_its_trigger_and_once():
    applied = {"run_id": "r", "task_id": "t", "optimization": "prewarm", "stage": "applied", "target_worker_id": "a"}
    twice = [applied | {"happened_at": at(500)}, applied | {"happened_at": at(500)}]
    assigned = applied | {"stage": "assigned", "happened_at": at(600)}
    rows = by_name(
        "container_reuse", [worker("a", 2000, 2900), worker("b", 2100, 2800)], optimizations=[*twice, assigned]
    )
    assert (rows["a"]["matched_by"], rows["a"]["matched_invocation_id"], rows["a"]["idle_ms"]) == (
        "prewarm",
        None,
        1500,
    )
    assert rows["b"]["matched_by"] is None


def test_where_only_tasks_tell_the_end_a_release_takes_400_ms_more_and_a_request_1_percent_of_its_start_up():
    task = {"run_id": "r", "task_id": "t", "attempt": 1, "worker_id": "a", "started_at": at(200), "execution_ms": 800.0}
    rows = by_name("container_reuse", [worker("a", 0), worker("b", 2000, startup=1000)], tasks=[task])
    assert rows["b"]["idle_ms"] == 610  # free at 200 + 800 + 400, asked for at 2000 + 10


@pytest.mark.parametrize(
    ("requested", "just_freed", "freed_next"),
    [(1450, True, False), (1501, False, False), (1150, False, True), (1099, False, False)],
)
def test_an_order_too_close_to_call_is_said_to_be(requested: float, just_freed: bool, freed_next: bool):
    """The container is free at 1400, give or take."""
    task = {"run_id": "r", "task_id": "t", "attempt": 1, "worker_id": "a", "started_at": at(200), "execution_ms": 800.0}
    rows = by_name("container_reuse", [worker("a", 0), worker("b", requested, startup=0)], tasks=[task])
    assert (rows["b"]["is_just_freed"], rows["b"]["is_freed_next"]) == (just_freed, freed_next)


def test_a_recorded_end_is_never_too_close_to_call():
    rows = by_name("container_reuse", [worker("a", 0, 1000), worker("b", 1001), worker("c", 900)])
    assert not any(row["is_just_freed"] or row["is_freed_next"] for row in rows.values())


def test_a_named_container_is_followed_by_its_name():
    rows = by_name(
        "container_reuse",
        [
            worker("a", 0, 1000, container_id="c1"),
            worker("b", 10, 2000, container_id="c2"),
            worker("c", 5000, 6000, container_id="c1"),
        ],
    )
    assert (rows["c"]["matched_by"], rows["c"]["matched_invocation_id"], rows["c"]["idle_ms"]) == (
        "container",
        "a",
        4000,
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12) | st.none()), min_size=1, max_size=25), st.randoms())
def test_bracket_matching_is_a_stack(times: list[tuple[int, int | None]], rng: random.Random):
    """Against a stack played event by event; on ties releases come before requests, then by name."""
    invocations = [
        worker(f"i{number:02}", 10 * start, None if lasts is None else 10 * (start + lasts), startup=None)
        for number, (start, lasts) in enumerate(times)
    ]
    events = [(10 * start, 1, f"i{number:02}") for number, (start, _) in enumerate(times)]
    events += [
        (10 * (start + lasts), 0, f"i{number:02}") for number, (start, lasts) in enumerate(times) if lasts is not None
    ]
    stack: list[tuple[int, str]] = []
    expected = {}
    for moment, is_request, name in sorted(events):
        if not is_request:
            stack.append((moment, name))
        elif stack:
            since, other = stack.pop()
            expected[name] = (other, moment - since)
        else:
            expected[name] = (None, None)
    rng.shuffle(invocations)
    rows = by_name("container_reuse", invocations)
    assert {name: (row["matched_invocation_id"], row["idle_ms"]) for name, row in rows.items()} == expected


# How long it stays warm ----------------------------------------------------------------------------------------------


def sequence(gaps: list[float], first: float = 0, **more: object) -> list[Row]:
    """Workers that follow each other in one container: each asked for so long (ms) after the one before ended (after 500 ms)."""
    moment, rows = first, []
    for number, gap in enumerate([0.0, *gaps]):
        moment += gap
        rows.append(worker(f"{number:03}", moment, moment + 500, **more))
        moment += 500
    return rows


def labelled(gaps: list[float], keep_alive: float) -> list[Row]:
    rows = sequence(gaps)
    for row, gap in zip(rows, [math.inf, *gaps], strict=True):
        row["reported_state"] = "warm" if gap <= keep_alive else "cold"
    return rows


def bounds(invocations: list[Row], basis: str = "labels", **tables: list[Row]) -> tuple[float | None, float | None]:
    rows = derived("keep_alive", **({"runs": [RUN], "invocations": invocations} | tables))
    row = one([row for row in rows if row["basis"] == basis])
    return row["lower_ms"], row["upper_ms"]


def test_labels_bound_the_keep_alive_by_the_longest_reuse_and_the_shortest_gap_that_went_cold():
    assert bounds(labelled([1000, 9000, 6500, 30000, 2000, 9500, 6000], keep_alive=7000)) == (6500, 9000)


def test_labels_of_one_kind_bound_it_on_one_side():
    assert bounds(labelled([1000, 6500, 2000], keep_alive=7000)) == (6500, None)
    assert bounds(labelled([30000, 9000], keep_alive=7000)) == (None, 9000)


def test_a_few_labels_that_contradict_do_not_move_the_bounds():
    """A container nobody recorded, warm after a long time, and a start that went cold beside an idle container."""
    rows = labelled([100 * number for number in range(1, 141)], keep_alive=7000)
    rows[-1]["reported_state"] = "warm"
    rows[5]["reported_state"] = "cold"
    lower, upper = bounds(rows)
    assert lower is not None and upper is not None
    assert lower <= 7000 <= upper and upper - lower <= 200


def test_labels_that_say_nothing_leave_it_unbounded():
    """Cold after a short time, warm after a long one: no keep-alive explains that."""
    rows = labelled([1000, 9000], keep_alive=0)
    rows[2]["reported_state"] = "warm"
    assert bounds(rows) == (None, None)


def unlabelled(
    seed: int, keep_alive: float, cold: float, warm: float = 300, environment: str = "here", n: int = 60
) -> list[Row]:
    """Workers one after the other; start-up times vary by a fifth."""
    rng = random.Random(seed)
    gaps = [rng.uniform(100, 20000) for _ in range(n)]
    rows = sequence(gaps, startup=1)
    for row, gap in zip(rows, [math.inf, *gaps], strict=True):
        startup = (warm if gap <= keep_alive else cold) * rng.lognormvariate(0, 0.2)
        row["ready_at"] = row["requested_at"] + (at(startup) - at(0))
        row["run_id"] = environment
        row["invocation_id"] = f"{environment}{row['invocation_id']}"
        row["worker_id"] = row["invocation_id"]
    return rows


@pytest.mark.parametrize("seed", range(5))
def test_start_up_times_alone_bound_the_keep_alive(seed: int):
    """Some 20 s of gaps, 60 starts: the bounds hold the truth and are at most 3 s apart."""
    lower, upper = bounds(
        unlabelled(seed, keep_alive=7000, cold=900), "start-up times", runs=[RUN | {"run_id": "here"}]
    )
    assert lower is not None and upper is not None
    assert lower <= 7000 <= upper and upper - lower <= 3000


def test_start_up_times_that_do_not_differ_bound_nothing():
    rows = [unlabelled(seed, keep_alive=7000, cold=300) for seed in range(20)]
    runs = [RUN | {"run_id": "here"}]
    found = [bounds(invocations, "start-up times", runs=runs) for invocations in rows]
    assert found.count((None, None)) >= 19


def test_environments_that_agree_share_their_bounds_and_those_that_do_not_keep_their_own():
    runs = [RUN | {"run_id": name, "environment": name} for name in ("here", "there", "elsewhere")]
    here, there = unlabelled(1, 7000, 900), unlabelled(2, 7000, 900, environment="there", n=90)
    same = derived("keep_alive", runs=runs, invocations=here + there)
    assert {(row["lower_ms"], row["upper_ms"], row["is_shared"]) for row in same} == {
        (same[0]["lower_ms"], same[0]["upper_ms"], True)
    }
    elsewhere = unlabelled(3, 15000, 900, environment="elsewhere")
    rows = derived("keep_alive", runs=runs, invocations=here + elsewhere)
    estimates = {row["environment"]: row for row in rows}
    assert not any(row["is_shared"] for row in rows)
    assert estimates["here"]["upper_ms"] < estimates["elsewhere"]["lower_ms"]


# The state -----------------------------------------------------------------------------------------------------------


def test_a_label_is_trusted_before_an_init_duration_before_a_container():
    rows = [
        worker("a", 0, 1000, container_id="c", reported_state="warm", init_ms=50.0),
        worker("b", 2000, 3000, container_id="c", init_ms=50.0),
        worker("c", 4000, 5000, container_id="c"),
        worker("d", 5100, 5500, container_id="c", reported_state="odd", init_ms=0.0),
    ]
    assert states(rows) == {
        "a": ("warm", "reported", None),
        "b": ("cold", "init", None),
        "c": ("warm", "container", None),
        "d": ("warm", "container", None),
    }


def test_where_log_lines_were_lost_a_missing_label_proves_nothing():
    seen = [
        worker("a", 0, 1000, container_id="c1"),
        worker("b", 2000, 2500, container_id="c1", logs_dropped=True),
        worker("c", 4000, 5000, container_id="c1", logs_dropped=True, init_ms=50.0),
        worker("d", 6000, 7000, container_id="c1", logs_dropped=False),
    ]
    found = states(seen)
    assert found["b"] == ("unknown", "container", "logs_dropped")
    assert found["c"] == ("cold", "init", None)  # what the platform did say stands
    assert found["d"] == ("warm", "container", None)


def test_starts_whose_request_is_not_recorded_are_ordered_by_when_they_were_ready():
    seen = [worker("a", 0, 1000), worker("b", 3000, 3500)]
    for row in seen:
        row["requested_at"] = None
    rows = by_name("container_reuse", seen)
    found = {name: (row["requested_at"], row["matched_invocation_id"], row["idle_ms"]) for name, row in rows.items()}
    assert found == {"a": (at(100), None, None), "b": (at(3100), "a", 2100)}  # free since 1000


def test_containers_that_serve_several_requests_at_once_bound_no_burn_in():
    """c1 is asked again 500 ms before it is free, and never after: nothing tells how long a container stays warm."""
    told = states(
        [
            worker("a", 0, 1000, container_id="c1"),
            worker("b", 500, 1500, container_id="c1"),
            worker("c", 600, 1500, container_id="c2"),
        ]
    )
    unknown = ("unknown", "container", "keep_alive_unknown")
    assert told == {"a": unknown, "b": ("warm", "container", None), "c": unknown}


def test_a_container_first_seen_is_cold_only_after_the_burn_in():
    """Reused after 3 s at most: what is first seen in the first 6 s of the log, twice that, may have been warm before it."""
    rows = [
        worker("a", 0, 1000, container_id="c1"),
        worker("b", 2000, 2500, container_id="c2"),
        worker("c", 4000, 5000, container_id="c1"),
        worker("d", 5900, 6500, container_id="c3"),
        worker("e", 6100, 6500, container_id="c4"),
    ]
    assert states(rows) == {
        "a": ("unknown", "container", "burn_in"),
        "b": ("unknown", "container", "burn_in"),
        "c": ("warm", "container", None),
        "d": ("unknown", "container", "burn_in"),
        "e": ("cold", "container", None),
    }


def test_without_a_label_the_keep_alive_decides_and_between_its_bounds_nothing_does():
    known = labelled([1000, 9000, 6000], keep_alive=7000)  # bounds 6000 and 9000; the last ends at 18000
    unknown = [
        worker("after 6 s", 24000, 24500),
        worker("after 8 s", 32500, 33000),
        worker("after 9 s", 42000, 42500),
        worker("beside it", 42100, 42600),
        worker("never ready", 42200, startup=None),
    ]
    found = states([*known, *unknown])
    assert {row["invocation_id"]: found[row["invocation_id"]] for row in unknown} == {
        "after 6 s": ("warm", "inferred", None),
        "after 8 s": ("unknown", "inferred", "near_keep_alive"),
        "after 9 s": ("cold", "inferred", None),
        "beside it": ("cold", "inferred", None),
        "never ready": ("unknown", "never_ready", "never_ready"),
    }


def test_nothing_found_in_the_first_keep_alive_of_a_log_may_be_warm_from_before_it():
    known = labelled([1000, 9000], keep_alive=7000)
    assert states([*known, worker("early", 100, 600)])["early"] == ("unknown", "inferred", "burn_in")


def test_each_log_of_an_environment_has_its_burn_in_unless_they_overlap():
    files = [{"file_id": f"f{number}", "source": f"dump {number}"} for number in (1, 2)]
    known = [row | {"file_id": "f1"} for row in labelled([1000, 9000], keep_alive=7000)]  # ends at 12000
    after = worker("after", 100000, 100500, file_id="f2")
    assert states([*known, after])["after"] == ("cold", "inferred", None)
    assert states([*known, after], files=files)["after"] == ("unknown", "inferred", "burn_in")
    overlapping = worker("overlapping", 5000, 5500, file_id="f2", reported_state="cold")
    assert states([*known, overlapping, after], files=files)["after"] == ("cold", "inferred", None)


def test_a_keep_alive_nobody_can_tell_leaves_a_start_unknown():
    """No labels, and start-ups that take the same cold or warm."""
    found = states([worker("a", 0, 1000), worker("b", 3000, 4000), worker("c", 90000, 91000)])
    assert set(found.values()) == {("unknown", "inferred", "keep_alive_unknown")}


def test_an_order_too_close_to_call_leaves_a_start_unknown():
    task = {"run_id": "r", "attempt": 1, "started_at": at(100200), "execution_ms": 800.0}
    tasks = [task | {"task_id": name, "worker_id": name} for name in ("a", "z")]
    rows = [
        *labelled([1000, 9000], keep_alive=7000),
        worker("a", 100000),  # free at 100200 + 800 + 400
        worker("just after", 101450, startup=0),
        worker("just before", 101200, startup=0),
        worker("long before", 100900, startup=0),
    ]
    found = states(rows, tasks=tasks)
    assert found["just after"] == ("unknown", "inferred", "contested")
    assert found["just before"] == ("unknown", "inferred", "contested")
    assert found["long before"] == ("cold", "inferred", None)


# How good it is ------------------------------------------------------------------------------------------------------


def test_the_quality_hides_the_labels_from_the_estimate_too():
    """The labels say warm up to 12 s, the start-up times change at 7 s: what is inferred follows the times."""
    rows = unlabelled(1, keep_alive=7000, cold=900, n=80)
    gaps = [
        math.inf,
        *[
            (later["requested_at"] - earlier["finished_at"]).total_seconds() * 1000
            for earlier, later in itertools.pairwise(rows)
        ],
    ]
    for row, gap in zip(rows, gaps, strict=True):
        row["reported_state"] = "warm" if gap <= 12000 else "cold"
    with warehouse(runs=[RUN | {"run_id": "here"}], invocations=rows) as connection:
        quality = one(select(connection, "from cold_start_inference_quality"))
        upper = one(select(connection, "from keep_alive where basis = 'start-up times'"))["upper_ms"]
    between = sum(upper <= gap <= 12000 for gap in gaps)
    assert between >= 5
    assert (quality["n"], quality["warm_as_cold"], quality["cold_as_warm"]) == (81, between, 0)


def test_the_quality_counts_by_hand():
    rows = unlabelled(1, keep_alive=7000, cold=900)
    runs = [RUN | {"run_id": "here"}]
    inferred = {name: row["state"] for name, row in by_name("cold_starts", rows, runs=runs).items()}
    warm, cold = ([name for name, state in inferred.items() if state == kind] for kind in ("warm", "cold"))
    (first,) = (name for name in inferred if name.endswith("000"))
    assert inferred[first] == "unknown" and len(warm) >= 10 and len(cold) >= 10
    labels = dict.fromkeys(warm[2:] + cold[:3], "warm") | dict.fromkeys(warm[:2] + cold[3:] + [first], "cold")
    for row in rows:
        row["reported_state"] = labels.get(row["invocation_id"])
    quality = one(derived("cold_start_inference_quality", runs=runs, invocations=rows))
    recall = (len(cold) - 3) / (len(cold) - 1)  # of the labelled cold and decided, 2 were called warm
    assert quality["n"] == len(labels)
    assert quality["recall"] == pytest.approx(recall)
    assert quality["precision"] == pytest.approx((len(cold) - 3) / len(cold))
    assert quality["balanced_accuracy"] == pytest.approx((recall + (len(warm) - 2) / (len(warm) + 1)) / 2)
    assert quality["share_unknown"] == pytest.approx(1 / len(labels))


def test_the_quality_of_labels_of_one_kind_is_no_accuracy():
    rows = [row | {"reported_state": "cold"} for row in unlabelled(1, keep_alive=7000, cold=900)]
    quality = one(derived("cold_start_inference_quality", runs=[RUN | {"run_id": "here"}], invocations=rows))
    assert quality["balanced_accuracy"] is None
    assert quality["recall"] is not None


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 50),
            st.integers(-3, 20) | st.none(),
            st.integers(-5, 9) | st.none(),
            st.sampled_from(["cold", "warm", "odd", None]),
            st.sampled_from([None, "c1", "c2"]),
            st.sampled_from([None, 512, 1024]),
            st.none() | st.sampled_from([-1.0, 0.0, 5.0, math.nan, math.inf]),
        ),
        max_size=20,
    )
)
def test_every_invocation_is_in_exactly_one_state(drawn):
    rows = [
        worker(
            f"i{number}",
            100 * start,
            None if lasts is None else 100 * (start + lasts),
            startup,
            reported_state=label,
            container_id=container,
            memory_mb=memory,
            init_ms=init,
        )
        for number, (start, lasts, startup, label, container, memory, init) in enumerate(drawn)
    ]
    found = derived("cold_starts", runs=[RUN], invocations=rows)
    assert sorted(row["invocation_id"] for row in found) == sorted(row["invocation_id"] for row in rows)
    for row in found:
        assert row["state"] in ("cold", "warm", "unknown")
        assert row["state_source"] in ("reported", "init", "container", "inferred", "never_ready")
        assert (row["unknown_because"] is not None) == (row["state"] == "unknown")

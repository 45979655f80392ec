"""slow_starts, and what it decides in cold_starts, on hand-made rows: calls of one function, in ms, some with labels."""

import math

import pytest

from tests.warehouse.views import Row, at, derived

RUN = {"run_id": "r", "environment": "here", "engine": "e", "submitted_at": at(0)}
FAST = [10.0 + number % 5 for number in range(40)]
SLOW = [100.0 + number % 5 for number in range(20)]


def rows(
    durations: list[float], labels: dict[int, str] | None = None, gap: float = 60_000.0, **more: object
) -> dict[str, list[Row]]:
    """One call after the other, that long, the next asked for so long after its end; no start-up and no end is recorded."""
    tables: dict[str, list[Row]] = {"runs": [RUN], "invocations": [], "tasks": []}
    moment = 0.0
    for number, duration in enumerate(durations):
        name = f"{number:03}"
        ids = {"run_id": "r", "worker_id": name}
        call = {
            "invocation_id": name,
            "function": "f",
            "ready_at": at(moment),
            "reported_state": (labels or {}).get(number),
        }
        task = {"task_id": name, "attempt": 1, "started_at": at(moment), "execution_ms": duration}
        tables["invocations"].append(ids | call | more)
        tables["tasks"].append(ids | task)
        moment += duration + gap
    return tables


def labelled(wrong: int = 0) -> dict[int, str]:
    """Labels of the last 20 fast and the last 10 slow calls of `FAST + SLOW`; of the fast so many say cold."""
    return {
        number: "cold" if number < 20 + wrong or number >= 50 else "warm" for number in [*range(20, 40), *range(50, 60)]
    }


def found(tables: dict[str, list[Row]]) -> dict[str, bool]:
    return {row["invocation_id"]: row["is_slow"] for row in derived("slow_starts", **tables)}


def test_calls_of_two_kinds_are_split_where_labels_bear_it_out():
    """Ten times as long, labels agree: every call of the function has its kind, labelled or not."""
    assert found(rows(FAST + SLOW, labelled())) == {f"{number:03}": number >= 40 for number in range(60)}


def test_one_label_in_twenty_may_disagree_and_not_two():
    assert len(found(rows(FAST + SLOW, labelled(wrong=0)))) == 60
    # Of 11 cold ones 10 are slow: .91. Of 12, 10: .83. Both below .95.
    assert found(rows(FAST + SLOW, labelled(wrong=1))) == {}
    # Of 20 known to be warm 19 are fast: .95.
    odd = labelled() | {59: "warm", 20: "warm"}
    del odd[21]
    assert len(found(rows(FAST + SLOW, odd))) == 60
    assert found(rows(FAST + SLOW, odd | {58: "warm"})) == {}


def test_labels_of_one_kind_are_enough_and_fewer_than_ten_are_not():
    only_warm = dict.fromkeys(range(10), "warm")
    assert len(found(rows(FAST + SLOW, only_warm))) == 60
    del only_warm[0]
    assert found(rows(FAST + SLOW, only_warm)) == {}
    assert found(rows(FAST + SLOW)) == {}


@pytest.mark.parametrize(("fast", "labels", "told"), [(1, 10, False), (10, 10, True), (10, 14, True), (10, 13, False)])
def test_labels_prove_nothing_where_nearly_all_calls_are_of_their_kind(fast: int, labels: int, told: bool):
    """The first are labelled cold and are slow, all of them. By chance: (99/100)^10 = .90.

    Of 20, 10 are slow: (1/2)^10 = .001. Of 50, 40: (4/5)^14 = .044 and (4/5)^13 = .055, on both sides of .05.
    """
    slow = {(1, 10): 99, (10, 10): 10}.get((fast, labels), 40)
    tables = rows([100.0 + number % 5 for number in range(slow)] + [10.0] * fast, dict.fromkeys(range(labels), "cold"))
    assert bool(found(tables)) == told


def test_an_initialisation_is_a_label():
    """As on a platform whose log says how long it took: there the time of the work says nothing."""
    tables = rows(FAST + SLOW)
    for call in tables["invocations"][:10]:
        call["init_ms"] = 50.0
    assert found(tables) == {}
    for call in tables["invocations"][:10]:
        call["init_ms"] = None
    for call in tables["invocations"][40:50]:
        call["init_ms"] = 50.0
    assert len(found(tables)) == 60


@pytest.mark.parametrize(("times", "told"), [(4.0, False), (6.0, True)])
def test_the_slow_take_five_times_as_long(times: float, told: bool):
    assert bool(found(rows([10.0] * 40 + [10.0 * times] * 20, labelled()))) == told


def test_times_spread_evenly_are_not_of_two_kinds_whatever_the_labels():
    """Logarithms from 0 to ln 1000: the halves lie ln(1000) / 2 apart, each deviates by that over the root of 12, and 3.46 < 3.5."""
    spread = [math.exp(math.log(1000) * number / 59) for number in range(60)]
    assert found(rows(spread, {number: "cold" if number >= 30 else "warm" for number in range(60)})) == {}


def test_functions_and_environments_are_told_apart():
    """The same times under two functions, one kind each: nothing to split."""
    tables = rows(FAST + SLOW, labelled())
    for call in tables["invocations"][40:]:
        call["function"] = "g"
    assert found(tables) == {}
    shared = rows(FAST + SLOW, labelled(), function=None)
    assert found(shared) == {}


def states(tables: dict[str, list[Row]]) -> dict[str, tuple[str, str | None]]:
    return {row["invocation_id"]: (row["state"], row["unknown_because"]) for row in derived("cold_starts", **tables)}


def test_what_the_containers_leave_open_the_kind_decides():
    """Every call found its container idle for 59.6 s, some cold, some warm: no keep-alive explains that."""
    told = states(rows(FAST + SLOW, labelled()))
    assert {told[f"{number:03}"] for number in range(20)} == {("warm", None)}
    assert {told[f"{number:03}"] for number in range(40, 50)} == {("cold", None)}
    assert {states(rows(FAST + SLOW))[f"{number:03}"] for number in range(60)} == {("unknown", "keep_alive_unknown")}


def test_a_slow_call_that_found_a_warm_container_is_contradicted():
    """All labels say warm, after 59.6 s: so long containers stay warm, and what is slow nevertheless cannot be told."""
    told = states(rows(FAST + SLOW, dict.fromkeys(range(10, 20), "warm")))
    assert {told[f"{number:03}"] for number in range(40)} == {("warm", None)}
    assert {told[f"{number:03}"] for number in range(40, 60)} == {("unknown", "contradicted")}


def test_where_requests_are_recorded_or_containers_have_names_the_kind_decides_nothing():
    tables = rows(FAST + SLOW, dict.fromkeys(range(10, 20), "warm"))
    for call in tables["invocations"]:
        call["requested_at"] = call["ready_at"]
    assert states(tables)["050"] == ("warm", None)
    assert states(rows(FAST + SLOW, labelled(), container_id="c"))["045"] == ("warm", None)

"""Cold starts of the recorded SeBS-Flow experiments, told with their labels hidden: docs/cold-starts.md, held to what it says."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from tests.warehouse import hidden_labels
from tests.warehouse.hidden_labels import DATA, MODES, Score, first_seen, fixed_keep_alive, inferred
from warehouse.home import Home

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no recordings in {DATA}")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with hidden_labels.recordings(Home(tmp_path_factory.mktemp("recordings"))) as connection:
        yield connection


@pytest.fixture(scope="module")
def from_the_other_mode(recordings: duckdb.DuckDBPyConnection) -> dict[tuple[bool, str, str], Score]:
    """By whether containers are named, cloud and mode: judged on one mode, chosen on the other."""
    return {
        (named, score.cloud, score.mode): score
        for named in (True, False)
        for chosen_on in MODES
        for score in inferred(recordings, chosen_on=chosen_on, named=named)
    }


def by_recording(scores: list[Score]) -> dict[tuple[str, str], Score]:
    return {(score.cloud, score.mode): score for score in scores}


def test_the_recordings_are_labelled_as_they_were_counted_outside(recordings: duckdb.DuckDBPyConnection) -> None:
    """`grep -c ,True,` and `grep -c ,False,` of the six files."""
    counted = {(score.cloud, score.mode): (score.cold, score.n - score.cold) for score in first_seen(recordings)}
    assert counted == {
        ("aws", "burst"): (1080, 0),
        ("aws", "warm"): (17, 445),
        ("azure", "burst"): (2, 358),
        ("azure", "warm"): (1, 359),
        ("gcp", "burst"): (413, 667),
        ("gcp", "warm"): (6, 486),
    }


@pytest.mark.parametrize("recording", [("aws", "warm"), ("gcp", "burst"), ("gcp", "warm")])
def test_without_names_both_kinds_are_told_and_little_is_left_open(
    from_the_other_mode: dict[tuple[bool, str, str], Score], recording: tuple[str, str]
) -> None:
    score = from_the_other_mode[False, *recording]
    assert score.balanced_accuracy is not None and score.precision is not None
    assert score.balanced_accuracy >= 0.98
    assert score.precision >= 0.95
    assert score.share_unknown <= 0.12
    assert score.decided_cold >= 0.7 * score.cold


def test_where_all_starts_were_cold_all_are_told_so(from_the_other_mode: dict[tuple[bool, str, str], Score]) -> None:
    score = from_the_other_mode[False, "aws", "burst"]
    assert (score.recall, score.share_unknown) == (1.0, 0.0)


def test_names_call_no_warm_start_cold_where_the_simple_rule_does(
    recordings: duckdb.DuckDBPyConnection, from_the_other_mode: dict[tuple[bool, str, str], Score]
) -> None:
    """Logs that begin with warm containers: 'first seen = cold' is wrong there more often than right, the views say nothing."""
    simple = by_recording(first_seen(recordings))
    for recording in (("aws", "warm"), ("gcp", "warm"), ("azure", "warm")):
        precision = simple[recording].precision
        assert precision is not None and precision < 0.5
        score = from_the_other_mode[True, *recording]
        assert score.warm_as_cold == 0
        assert score.share_unknown <= 0.08
    burst = from_the_other_mode[True, "gcp", "burst"]
    assert (burst.balanced_accuracy, burst.precision) == (1.0, 1.0)


def test_names_suffice_without_any_label(recordings: duckdb.DuckDBPyConnection) -> None:
    for score in inferred(recordings, chosen_on=None, named=True):
        assert score.accuracy is not None and score.accuracy >= 0.99
        assert score.warm_as_cold <= (score.cloud == "azure")


def test_without_names_and_labels_nothing_is_said(recordings: duckdb.DuckDBPyConnection) -> None:
    """No request is recorded, so no start-up shows the keep-alive."""
    assert {score.share_unknown for score in inferred(recordings, chosen_on=None, named=False)} == {1.0}


def test_a_fixed_keep_alive_of_7_s_is_worse_wherever_both_kinds_occur(
    recordings: duckdb.DuckDBPyConnection, from_the_other_mode: dict[tuple[bool, str, str], Score]
) -> None:
    fixed = by_recording(fixed_keep_alive(recordings))
    for recording, score in fixed.items():
        ours = from_the_other_mode[False, *recording]
        assert ours.accuracy is not None and score.accuracy is not None
        assert ours.accuracy >= score.accuracy
        if ours.balanced_accuracy is not None:
            assert score.balanced_accuracy is not None
            assert ours.balanced_accuracy > score.balanced_accuracy + 0.3


def test_the_fixed_keep_alive_is_that_of_a_stack_played_call_by_call(recordings: duckdb.DuckDBPyConnection) -> None:
    """An independent count on the facts: free containers of a function on a stack, the last freed first, warm within 7 s."""
    calls = recordings.execute(
        "select truth.function, cloud, mode, started_at, started_at + to_microseconds(cast(round(1000 * execution_ms) as bigint)),"
        " label from truth inner join invocations using (invocation_id)"
        " inner join tasks on tasks.run_id = invocations.run_id and tasks.worker_id = invocations.worker_id"
        " where cloud = 'gcp'"
    ).fetchall()
    right = dict.fromkeys(MODES, 0)
    for function in {call[0] for call in calls}:
        events = []
        for _, _, mode, start, end, label in (call for call in calls if call[0] == function):
            events += [(end, 0, mode, ""), (start, 1, mode, label)]
        free = []
        for moment, is_start, mode, label in sorted(events):
            if not is_start:
                free.append(moment)
                continue
            warm = bool(free) and (moment - free.pop()).total_seconds() <= 7
            right[mode] += label == ("warm" if warm else "cold")
    fixed = by_recording(fixed_keep_alive(recordings))
    for mode in MODES:
        score = fixed["gcp", mode]
        assert right[mode] / score.n == pytest.approx(score.accuracy)

"""F03, F04 and F06: experiments that were run on purpose, answered from runs that pair."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from app.findings.evidence import Selection
from app.markdown import to_text
from tests.app import dumps
from tests.app.findings.homes import answer
from warehouse.connection import open_current
from warehouse.home import Home

Change = Callable[[int, dict[str, list[dict[str, Any]]]], dict[str, str]]


def world(root: Path, n: int, changes: dict[str, Change]) -> Home:
    """n seeds; for each of the settings named, a run that the setting's function changes and tags."""
    runs = []
    for place, change in enumerate(changes.values()):
        for seed in range(n):
            tables = dumps.one_run(seed % 50)
            run = f"run-{place}-{seed}"
            tags = {"seed": str(seed)} | change(seed, tables)
            for rows in tables.values():
                for row in rows:
                    row["run_id"] = run
                    if "invocation_id" in row:
                        row["invocation_id"] = f"i-{run}"
            tables["run_tags"] = [{"run_id": run, "tag": tag, "value": value} for tag, value in tags.items()]
            runs.append(tables)
    return dumps.take_in(root / "home", dumps.write(root / "dump", dumps.merged(*runs)))


def took(tables: dict[str, list[dict[str, Any]]], execution_ms: float) -> None:
    tables["tasks"][1]["execution_ms"] = execution_ms


def makespan(execution_ms: float) -> float:
    """The second task of a run starts 700 ms after its submission and ends the run."""
    return 700 + execution_ms


def test_without_task_duplication_is_the_median_of_the_pairs(tmp_path: Path) -> None:
    def with_it(seed: int, tables: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
        took(tables, 1000 + 100 * seed)
        return {"taskdup": "on"}

    def without(seed: int, tables: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
        took(tables, 500 + 50 * seed)
        return {"taskdup": "off"}

    found = answer(world(tmp_path, 9, {"on": with_it, "off": without}), "F03")
    expected = median(makespan(500 + 50 * seed) / makespan(1000 + 100 * seed) for seed in range(9))
    assert found.status == "answered"
    assert found.effect is not None and math.isclose(found.effect.value, expected, rel_tol=1e-9)
    assert found.effect.high is not None and found.effect.high < 1
    assert (found.n, found.counted) == (9, "pairs of runs")
    assert f"makespan is {expected:.2f} times" in to_text(found.sentence)


def _limited(bound: bool, faster: float) -> dict[str, Change]:
    """Runs whose worker has eight tasks at once (bound) or one after the other, without a limit and with one."""

    def tasks(seed: int, tables: dict[str, list[dict[str, Any]]], scale: float) -> None:
        for number in range(8):
            tables["tasks"].append(
                {**tables["tasks"][0], "task_id": f"f+x{number}", "started_at": f"2026-01-01T10:{seed % 50:02d}:00.{410 + (0 if bound else 30 * number)}",
                 "execution_ms": 20, "upload_ms": 0}
            )  # fmt: skip
        tables["runs"][0]["expected_tasks"] = 10
        took(tables, (1000 + 10 * seed) * scale)

    def without(seed: int, tables: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
        tasks(seed, tables, 1)
        return {"task_limit": "none"}

    def limited(seed: int, tables: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
        tasks(seed, tables, faster)
        return {"task_limit": "6"}

    return {"none": without, "6": limited}


@pytest.mark.parametrize(
    ("bound", "faster", "status", "sentence"),
    [
        (True, 0.5, "holds", "The limit helps"),
        (True, 2.0, "does not hold", "Nothing speaks for the limit: remove it"),
        (True, 1.0, "does not hold", "no difference beyond 5 %"),
        (False, 0.5, "does not hold", "at once without it, so the limit never acted"),
    ],
)
def test_a_limit_helps_only_where_it_acts(
    bound: bool, faster: float, status: str, sentence: str, tmp_path: Path
) -> None:
    found = answer(world(tmp_path, 8, _limited(bound, faster)), "F04")
    assert found.status == status
    assert sentence in to_text(found.sentence)
    assert f"{8 if bound else 0} of 8 workers ever ran more than 6 tasks at once" in to_text(found.sentence)


def _memory(lost: int, slower: float) -> dict[str, Change]:
    def more(seed: int, tables: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
        took(tables, 1000 + 10 * seed)
        for table in ("tasks", "invocations"):
            for row in tables[table]:
                row["memory_mb"] = 2048
        tables["tasks"][0]["literal_bytes"] = 1000 * (100 if seed < lost else 1)
        return {"baseline_memory_mb": "2048"}

    def less(seed: int, tables: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
        took(tables, (1000 + 10 * seed) * slower)
        if seed < lost:
            del tables["tasks"][1]
            del tables["plans"], tables["planned_tasks"]
        return {"baseline_memory_mb": "1024"}

    return {"2048": more, "1024": less}


def test_less_memory_that_costs_less_and_loses_nothing_is_worth_it(tmp_path: Path) -> None:
    found = answer(world(tmp_path, 12, _memory(0, 1.0)), "F06")
    assert found.status == "holds"
    assert "GB-seconds is 0.50 times" in to_text(found.sentence)


def test_survivors_alone_do_not_decide_for_less_memory(tmp_path: Path) -> None:
    """Of 16 pairs the smaller memory lost 9, those with a hundred times the input: survivors are as fast, all together never end."""
    found = answer(world(tmp_path, 16, _memory(9, 1.0)), "F06")
    text = to_text(found.sentence)
    assert found.status == "mixed"
    assert "9 of 16 runs are incomplete against 0 of 16" in text
    assert "they make the makespan infinitely many times" in text
    assert "The runs lost had 100 times the input of the others" in text


def test_less_memory_that_nobody_survives_is_not_worth_it(tmp_path: Path) -> None:
    found = answer(world(tmp_path, 12, _memory(12, 1.0)), "F06")
    assert found.status == "does not hold"
    assert "12 of 12 runs are incomplete against 0 of 12 (exact test: p = 0.00049, more than chance)" in to_text(
        found.sentence
    )


def test_a_run_whose_last_task_failed_is_lost(tmp_path: Path) -> None:
    changes = _memory(0, 1.0)

    def failing(seed: int, tables: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
        tags = changes["1024"](seed, tables)
        if seed < 6:
            tables["tasks"][1] |= {"status": "failed"}
        return tags

    found = answer(world(tmp_path, 16, {"2048": changes["2048"], "1024": failing}), "F06")
    assert found.status == "mixed"
    assert "6 of 16 runs are incomplete against 0 of 16" in to_text(found.sentence)


def test_runs_that_died_before_their_first_task_belong_to_the_memory_of_their_workers(tmp_path: Path) -> None:
    changes = _memory(0, 1.0)

    def dying(seed: int, tables: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
        changes["1024"](seed, tables)
        if seed < 8:
            del tables["tasks"], tables["plans"], tables["planned_tasks"]
        return {}

    def more(seed: int, tables: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
        changes["2048"](seed, tables)
        return {}

    found = answer(world(tmp_path, 20, {"2048": more, "1024": dying}), "F06")
    assert found.status == "mixed"
    assert "8 of 20 runs are incomplete against 0 of 20" in to_text(found.sentence)


def test_a_limit_is_not_judged_where_nobody_knows_who_ran_what(tmp_path: Path) -> None:
    changes = _limited(True, 0.5)

    def nameless(seed: int, tables: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
        tags = changes["none"](seed, tables)
        for task in tables["tasks"]:
            del task["worker_id"]
        return tags

    found = answer(world(tmp_path, 8, {"none": nameless, "6": changes["6"]}), "F04")
    assert found.status == "not enough data"
    assert "How many tasks a worker ran at once is not on record" in found.sentence


def test_drift_between_the_recordings_does_not_speak_for_a_limit(tmp_path: Path) -> None:
    """Everything got faster between the two, also where no worker had more tasks at once than the limit allows."""
    acting, idle = _limited(True, 0.8), _limited(False, 0.8)

    def half(kind: str) -> Change:
        return lambda seed, tables: (acting if seed % 2 else idle)[kind](seed, tables)

    found = answer(world(tmp_path, 24, {"none": half("none"), "6": half("6")}), "F04")
    assert found.status == "mixed"
    assert "Where the limit could not act makespan is lower too" in found.sentence


@pytest.mark.parametrize("code", ["F03", "F04", "F06"])
def test_without_the_experiment_it_says_what_is_missing(code: str, tmp_path: Path) -> None:
    found = answer(dumps.tiny(tmp_path / "home"), code)
    assert found.status == "not enough data"
    assert found.sentence and found.would_change
    assert found.figures == ()


@pytest.mark.parametrize("code", ["F03", "F04", "F06"])
def test_an_empty_selection_is_an_answer(code: str, sample_home: Home) -> None:
    assert answer(sample_home, code, Selection(values=(("workflow", ("gone",)),))).status == "not enough data"


def _pairs(home: Home, tag: str, reference: str, other: str, held: str) -> list[tuple[Any, ...]]:
    with open_current(home) as reader:
        return reader.rows(f"""
            select b.makespan_ms / a.makespan_ms, b.gb_seconds_derived / a.gb_seconds_derived, a.is_complete, b.is_complete
            from run_summary as a inner join run_summary as b
                on a.tags['seed'] = b.tags['seed'] and a.tags['scale'] = b.tags['scale'] and a.workflow = b.workflow
            where a.tags['{tag}'] = '{reference}' and b.tags['{tag}'] = '{other}' and {held.format("a")} and {held.format("b")}
        """)


@pytest.mark.parametrize(
    ("code", "tag", "reference", "other", "held"),
    [
        ("F03", "taskdup", "on", "off", "{0}.tags['task_limit'] = '6' and {0}.tags['baseline_memory_mb'] = '2048' and {0}.tags['launch'] = 'normal'"),
        ("F04", "task_limit", "none", "6", "{0}.tags['taskdup'] = 'off' and {0}.tags['baseline_memory_mb'] = '2048' and {0}.tags['launch'] = 'normal'"),
        ("F06", "baseline_memory_mb", "2048", "1024", "{0}.tags['taskdup'] = 'off' and {0}.tags['task_limit'] = '6' and {0}.tags['launch'] = 'normal'"),
    ],
)  # fmt: skip
def test_on_the_recorded_experiments_the_effect_is_that_of_a_join_by_seed(
    code: str, tag: str, reference: str, other: str, held: str, sample_home: Home
) -> None:
    pairs = _pairs(sample_home, tag, reference, other, held)
    complete = [pair for pair in pairs if pair[2] and pair[3]]
    found = answer(sample_home, code)
    assert len(pairs) == 48
    assert found.n == len(complete)
    assert found.effect is not None
    assert math.isclose(found.effect.value, math.exp(median(math.log(pair[0]) for pair in complete)), rel_tol=1e-9)
    row = found.table[found.table["label"] == "GB-seconds"].iloc[0]
    assert math.isclose(row["value"], math.exp(median(math.log(pair[1]) for pair in complete)), rel_tol=1e-9)
    lost = [sum(not pair[side] for pair in pairs) for side in (2, 3)]
    assert (
        f"{lost[1]} of 48 runs {'is' if lost[1] == 1 else 'are'} incomplete against {lost[0]} of 48"
        in to_text(found.sentence)
        or code == "F04"
    )

"""F02: whether launching containers faster paid off, and when start-up latency changed."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.findings.changes import LEAST, MOST, change_points, pettitt
from app.findings.evidence import Selection
from tests.app.dumps import HOSTILE, merged, one_run, take_in, write
from tests.app.findings.homes import answer, rows
from warehouse.home import Home

SEEDS = range(200)


def taken_in(tmp_path: Path, *runs: dict[str, list[dict[str, Any]]]) -> Home:
    return take_in(tmp_path / "home", write(tmp_path / "dump", merged(*runs)))


def run_at(
    number: int, startup_ms: float, tags: dict[str, str] | None = None, **run: Any
) -> dict[str, list[dict[str, Any]]]:
    """A run of one cold worker whose tasks take 300 ms after it is ready, submitted so many minutes after the first."""
    tables = one_run(0, planned=False, **run)
    run_id = f"run-{number:04d}"
    submitted = datetime(2026, 1, 1) + timedelta(minutes=number)
    ready = submitted + timedelta(milliseconds=startup_ms)
    for table in tables.values():
        for row in table:
            row["run_id"] = run_id
    tables["runs"][0]["submitted_at"] = submitted.isoformat()
    tables["invocations"][0] |= {
        "invocation_id": run_id,
        "requested_at": submitted.isoformat(),
        "ready_at": ready.isoformat(),
    }
    for task, offset in zip(tables["tasks"], (0, 150), strict=True):
        task |= {
            "started_at": (ready + timedelta(milliseconds=offset)).isoformat(),
            "execution_ms": 150,
            "upload_ms": 0,
        }
    tables["run_tags"] = [{"run_id": run_id, "tag": tag, "value": value} for tag, value in (tags or {}).items()]
    return tables


def pairs(ratios: list[float], tag: str = "launch") -> list[dict[str, list[dict[str, Any]]]]:
    runs = []
    for seed, ratio in enumerate(ratios):
        normal = 1000 + 100 * seed
        runs += [
            run_at(2 * seed, normal, {tag: "normal", "seed": str(seed)}),
            run_at(2 * seed + 1, normal * ratio, {tag: "fast", "seed": str(seed)}),
        ]
    return runs


@pytest.mark.parametrize(
    ("ratios", "status"),
    [
        ([0.5] * 8, "holds"),
        ([1.0] * 8, "does not hold"),
        ([2.0] * 8, "does not hold"),
        ([0.5, 2.0] * 4, "not enough data"),
        ([0.5] * 3, "not enough data"),
    ],
)
def test_the_status_is_what_faster_launching_does_to_the_makespan(
    tmp_path: Path, ratios: list[float], status: str
) -> None:
    assert answer(taken_in(tmp_path, *pairs(ratios)), "F02").status == status


def test_pairs_are_compared_as_worked_out_by_hand(tmp_path: Path) -> None:
    # Start-up halves; the makespan is start-up and 300 ms of tasks: the median of (500 + 50 i + 300) / (1000 + 100 i + 300).
    found = answer(taken_in(tmp_path, *pairs([0.5] * 8)), "F02")
    assert found.effect is not None and found.n == 8
    assert found.effect.value == pytest.approx(
        np.median([(800 + 50 * i) / (1300 + 100 * i) for i in range(8)]), abs=1e-3
    )
    table = found.table.set_index("label")
    assert table.loc["start-up per worker", "value"] == pytest.approx(0.5)
    assert found.sentence.startswith(
        "With tag `launch` `fast` instead of tag `launch` `normal`, makespan is **0.59 times**"
    )


def test_an_undecided_comparison_says_how_many_pairs_would_decide(tmp_path: Path) -> None:
    found = answer(taken_in(tmp_path, *pairs([0.6, 1.5, 0.7, 1.3, 0.8, 1.2, 0.9, 1.1, 0.95, 0.85])), "F02")
    assert found.status == "not enough data"
    assert "undecided, about" in found.sentence and "pairs in all would decide" in found.sentence


def test_without_a_tag_the_data_alone_say_when_start_up_changed(tmp_path: Path) -> None:
    # 20 runs at about 1 s, then 20 at about 0.5 s: the change is at the 21st, submitted at 00:20.
    wobble = [1, 1.04, 0.96, 1.02, 0.98]
    runs = [run_at(i, (1000 if i < 20 else 500) * wobble[i % 5]) for i in range(40)]
    found = answer(taken_in(tmp_path, *runs), "F02")
    assert found.status == "answered"
    assert found.sentence.startswith("No tag tells faster launching from normal; from the data alone, ")
    assert "changed once in 40 runs, at 2026-01-01 00:20 UTC (0.50x the level before)" in found.sentence
    assert found.effect is not None and found.effect.value == pytest.approx(0.5)
    row = found.table.iloc[0]
    assert (row["reference_s"], row["other_s"]) == (pytest.approx(1.0), pytest.approx(0.5))


def test_without_a_change_none_is_told(tmp_path: Path) -> None:
    found = answer(taken_in(tmp_path, *(run_at(i, 1000 + (37 * i) % 100) for i in range(40))), "F02")
    assert found.status == "answered"
    assert "no lasting change of cold start-up latency is seen over 40 runs (Pettitt's test at 1 %)" in found.sentence
    assert found.effect is None


def test_levels_of_environments_are_no_change(tmp_path: Path) -> None:
    # Twenty runs in one environment, then twenty in one that is four times as fast: a mix of environments, not a change.
    runs = [run_at(i, (1000 if i < 20 else 250) * (1 + (37 * i) % 100 / 1000)) for i in range(40)]
    for i, run in enumerate(runs):
        run["runs"][0]["environment"] = "slow" if i < 20 else "fast"
    assert "no lasting change" in answer(taken_in(tmp_path, *runs), "F02").sentence


def test_pettitts_statistic_is_that_of_its_definition() -> None:
    # U_t = sum of sign(x_j - x_i) over i <= t < j. Values go up and down in turn, so that neighbours are not alike.
    values = np.tile([0.0, 10.0], 15) + np.random.default_rng(0).permutation(30) / 30
    values[13:] += 4
    u = [abs(np.sign(values[t:, None] - values[None, :t]).sum()) for t in range(1, 30)]
    place, p = pettitt(values)
    assert place == 1 + int(np.argmax(u))
    assert p == pytest.approx(2 * np.exp(-6 * max(u) ** 2 / (30**3 + 30**2)))


def test_neighbours_that_are_alike_count_for_less() -> None:
    values = np.sin(np.arange(60) / 4) + np.arange(60) / 30
    u = [abs(np.sign(values[t:, None] - values[None, :t]).sum()) for t in range(1, 60)]
    assert pettitt(values)[1] > 10 * 2 * np.exp(-6 * max(u) ** 2 / (60**3 + 60**2))


def test_the_shortest_series_is_where_the_formula_can_first_be_sure() -> None:
    def clearest(n: int) -> float:
        return float(2 * np.exp(-6 * (n // 2 * (n - n // 2)) ** 2 / (n**3 + n**2)))

    assert clearest(LEAST) < 0.01 < clearest(LEAST - 1)


def noise(generator: np.random.Generator, n: int, alike: float = 0.0) -> np.ndarray[Any, Any]:
    """Run medians as logarithms, spread by .3; neighbours correlate by `alike`."""
    shocks, values = generator.normal(size=n), np.empty(n)
    values[0] = shocks[0]
    for i in range(1, n):
        values[i] = alike * values[i - 1] + np.sqrt(1 - alike**2) * shocks[i]
    return 0.3 * values


def rate(planted: Any, n: int, alike: float = 0.0, least: int = 1) -> float:
    """The share of seeds in which at least so many changes are found."""
    return float(
        np.mean([len(change_points(planted(noise(np.random.default_rng(s), n, alike)))) >= least for s in SEEDS])
    )


def test_changes_are_seldom_seen_where_there_are_none() -> None:
    assert rate(lambda values: values, 120) <= 0.02
    assert rate(lambda values: values, 120, alike=0.3) <= 0.03, "neighbours that are alike look like levels"
    assert rate(lambda values: values, 120, alike=0.5) <= 0.05


def test_a_step_of_half_as_much_again_is_found_where_it_is() -> None:
    def step(values: Any) -> Any:
        values[60:] += np.log(1.5)
        return values

    assert rate(step, 120) >= 0.97
    places = [change_points(step(noise(np.random.default_rng(s), 120)))[0][0] for s in range(50)]
    assert np.median(np.abs(np.array(places) - 60)) <= 3


def test_a_level_that_changes_and_comes_back_is_found() -> None:
    def dip(values: Any) -> Any:
        values[120:180] -= np.log(1.5)
        return values

    assert rate(dip, 300, least=2) >= 0.9


def test_a_long_series_is_looked_at_in_blocks() -> None:
    values = noise(np.random.default_rng(1), 10 * MOST)
    values[6 * MOST :] += np.log(1.2)
    ((place, p),) = change_points(values)
    assert place == pytest.approx(6 * MOST, abs=50) and p < 0.01


def test_the_recorded_pairs_give_the_ratio_of_sql_written_apart(sample_home: Home) -> None:
    if rows(sample_home, "select count(*) as n from run_tags where tag = 'launch' and value = 'fast'")["n"][0] < 6:
        pytest.skip("no runs tagged with how fast containers were launched")
    found = answer(sample_home, "F02")
    apart = rows(
        sample_home,
        """
        select median(fast.makespan_ms / normal.makespan_ms) as ratio, count(*) as n
        from run_summary as fast
        inner join run_summary as normal on fast.workflow = normal.workflow
            and fast.tags['planned_with'] = normal.tags['planned_with'] and fast.tags['sla_asked'] = normal.tags['sla_asked']
            and fast.tags['seed'] = normal.tags['seed'] and fast.tags['scale'] = normal.tags['scale']
            and fast.tags['taskdup'] = normal.tags['taskdup'] and fast.tags['task_limit'] = normal.tags['task_limit']
            and fast.tags['baseline_memory_mb'] = normal.tags['baseline_memory_mb']
        where fast.tags['launch'] = 'fast' and normal.tags['launch'] = 'normal' and fast.is_complete and normal.is_complete
        """,
    ).iloc[0]
    assert found.n == apart["n"]
    assert found.effect is not None and found.effect.value == pytest.approx(apart["ratio"], rel=0.01)


def test_nothing_selected_one_run_and_hostile_names_have_an_answer(tmp_path: Path) -> None:
    runs = [
        run_at(i, 1000 + i, {HOSTILE: HOSTILE, "launch": HOSTILE}, workflow=HOSTILE, planner=HOSTILE) for i in range(20)
    ]
    home = taken_in(tmp_path, *runs)
    assert answer(home, "F02", Selection((("workflow", ("no such",)),))).status == "not enough data"
    assert answer(home, "F02", Selection(runs=("run-0001",), where="run_id = 'run-0001'")).status == "not enough data"
    found = answer(home, "F02")
    assert found.status == "answered", "a tag whose values say nothing about speed tells nothing"
    for figure in found.figures:
        figure.drawn.to_dict()

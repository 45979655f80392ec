"""F10: how often workers start cold, what that costs, and what pre-warming saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from app.findings.cold_start_costs import GROUP, cold_share, cost
from app.findings.evidence import Selection
from tests.app.dumps import HOSTILE, merged, one_run, take_in, write
from tests.app.findings.homes import answer, rows
from warehouse.home import Home


def run_with(number: int, cold_ms: int = 1000, warm_ms: int = 400, **run: Any) -> dict[str, list[dict[str, Any]]]:
    """A run whose tasks run on a worker that starts cold; beside it a worker that starts warm and runs nothing."""
    tables = one_run(number, **run)
    run_id, minute = tables["runs"][0]["run_id"], f"2026-01-01T10:{number:02d}"
    ready = 100 + cold_ms
    for task, offset in zip(tables["tasks"], (0, 300), strict=True):
        task["started_at"] = f"{minute}:{(ready + offset) // 1000:02d}.{(ready + offset) % 1000:03d}"
    tables["invocations"] = [
        {"invocation_id": f"{state}-{run_id}", "run_id": run_id, "worker_id": worker, "memory_mb": 1024,
         "requested_at": f"{minute}:00.100", "ready_at": f"{minute}:{(100 + ms) // 1000:02d}.{(100 + ms) % 1000:03d}",
         "reported_state": state}
        for worker, state, ms in (("w", "cold", cold_ms), ("w2", "warm", warm_ms))
    ]  # fmt: skip
    return tables


def taken_in(tmp_path: Path, *runs: dict[str, list[dict[str, Any]]], **more: list[dict[str, Any]]) -> Home:
    return take_in(tmp_path / "home", write(tmp_path / "dump", merged(*runs, more)))


def test_what_cold_starts_cost_is_what_they_take_beyond_warm_ones(tmp_path: Path) -> None:
    # Six cold starts of 1000 ms beside warm ones of 400 ms: 6 * 0.6 s, all waited for on the path, at 1 GB.
    price = [{"environment": "here", "gb_second_usd": 0.5, "request_usd": 0, "source": "a list", "as_of": "2026-01-01"}]
    found = answer(taken_in(tmp_path, *(run_with(i) for i in range(6)), prices=price), "F10")
    assert found.status == "answered"
    assert "a cold one took 600 ms longer than a warm one in the median, 3.60 s of worker time in all (3.60 GB-seconds or 1.8 USD)" in found.sentence  # fmt: skip
    assert any("3.60 s of it are on critical paths" in caveat for caveat in found.caveats)
    assert any("`a list` as of 2026-01-01" in caveat for caveat in found.caveats)
    assert found.effect is not None and (found.effect.value, found.effect.unit) == (0.5, "share")
    row = found.table.iloc[1]
    assert (row["cold"], row["warm"], row["unknown"], row["extra_s"]) == (6, 6, 0, pytest.approx(3.6))


def test_where_warm_starts_take_nothing_cold_ones_cost_all_they_take(tmp_path: Path) -> None:
    # A platform that records nothing of a start but its init: 6 x 1 s at 1 GB.
    found = answer(taken_in(tmp_path, *(run_with(i, warm_ms=0) for i in range(6))), "F10")
    said = "a cold one took 1.00 s in the median and a warm one nothing that is recorded, 6.00 s of worker time in all (6.00 GB-seconds)"
    assert said in found.sentence


def test_a_start_that_nobody_waits_for_is_not_on_the_critical_path(tmp_path: Path) -> None:
    # The worker is ready at 1.1 s, its tasks start at 0.4 s and 0.7 s (another machine's clock): 0.3 s from the request at 0.1 s
    # were waited for the first, 0.09 s from its end at 0.61 s for the second.
    runs = [run_with(i) for i in range(6)]
    for i, run in enumerate(runs):
        run["tasks"][0]["started_at"] = f"2026-01-01T10:{i:02d}:00.400"
        run["tasks"][1]["started_at"] = f"2026-01-01T10:{i:02d}:00.700"
    found = answer(taken_in(tmp_path, *runs), "F10")
    assert "3.60 s of worker time in all" in found.sentence
    assert any("2.34 s of it are on critical paths" in caveat for caveat in found.caveats)


def test_no_total_is_told_that_contradicts_the_median(tmp_path: Path) -> None:
    # Cold 1000 ms each; warm 400 ms five times and once 20 s: in the median 600 ms longer, on average 2.7 s shorter.
    found = answer(
        taken_in(tmp_path, *(run_with(i, warm_ms=400 if i else 20_000) for i in range(6)), *six_more()), "F10"
    )
    assert "600 ms longer than a warm one in the median but less long on average, so no total is told" in found.sentence
    assert not any("on critical paths" in caveat for caveat in found.caveats)


def six_more() -> list[dict[str, list[dict[str, Any]]]]:
    """Runs of another environment that settle that cold starts take longer, too few in each state to add to the cost."""
    runs = [run_with(10 + i, cold_ms=4000, warm_ms=400) for i in range(5)]
    for run in runs:
        run["runs"][0]["environment"] = "elsewhere"
    return runs


def test_what_cold_starts_of_unknown_memory_cost_is_no_number_of_gb_seconds(tmp_path: Path) -> None:
    runs = [run_with(i) for i in range(6)]
    for run in runs:
        for row in (*run["tasks"], *run["invocations"]):
            row["memory_mb"] = None
    found = answer(taken_in(tmp_path, *runs), "F10")
    assert "3.60 s of worker time in all. " in found.sentence
    assert "6 cold starts of unknown memory in no GB-seconds" in found.left_out


def test_a_price_of_one_environment_is_told_of_its_gb_seconds_alone(tmp_path: Path) -> None:
    runs = [run_with(i) for i in range(12)]
    for run in runs[6:]:
        run["runs"][0]["environment"] = "elsewhere"
    price = [{"environment": "here", "gb_second_usd": 0.00001, "request_usd": 0, "source": "a list"}]
    told = answer(taken_in(tmp_path, *runs, prices=price), "F10").sentence
    assert "(7.20 GB-seconds, of which 3.60 have a price: 0.000036 USD)" in told


def test_without_a_price_it_says_so_and_how_to_give_one(tmp_path: Path) -> None:
    found = answer(taken_in(tmp_path, *(run_with(i) for i in range(6))), "F10")
    assert "USD" not in found.sentence
    assert any("No price is known" in caveat and "flowscope ingest prices.jsonl" in caveat for caveat in found.caveats)


def test_cold_starts_that_take_no_longer_cost_nothing(tmp_path: Path) -> None:
    found = answer(taken_in(tmp_path, *(run_with(i, cold_ms=400, warm_ms=1000) for i in range(6))), "F10")
    assert "they were faster than warm ones" in found.sentence
    assert "critical paths" not in found.sentence


def test_starts_whose_duration_is_not_recorded_cost_what_cannot_be_told(tmp_path: Path) -> None:
    runs = [run_with(i) for i in range(6)]
    for run in runs:
        run["invocations"][1] |= {"requested_at": None}
    found = answer(taken_in(tmp_path / "warm", *runs), "F10")
    assert "what they cost cannot be told, for how long a warm start took is not recorded." in found.sentence
    few = answer(taken_in(tmp_path / "few", *(run_with(i) for i in range(3))), "F10")
    assert "what they cost cannot be told, for too few warm starts are beside them." in few.sentence


def test_unknown_starts_are_counted_apart(tmp_path: Path) -> None:
    runs = [run_with(i) for i in range(6)]
    for run in runs[:2]:
        run["invocations"][1] |= {"reported_state": None, "ready_at": None}
    found = answer(taken_in(tmp_path, *runs), "F10")
    assert found.n == 10, "6 cold and 4 warm"
    assert found.sentence.startswith("**60.0 %**")
    assert found.left_out.startswith("2 starts of unknown state (2 never became ready)")


def test_pre_warms_are_counted_and_their_saving_is_an_estimate(tmp_path: Path) -> None:
    # Three of four assigned ran before their worker was requested; it then started warm in 400 ms, cold ones take 1000 ms.
    runs = [run_with(i) for i in range(6)]
    for i, run in enumerate(runs[:4]):
        event = {
            "run_id": run["runs"][0]["run_id"],
            "task_id": "f+a",
            "optimization": "prewarm",
            "target_worker_id": "w2",
        }
        run["optimizations"] = [event | {"stage": "assigned"}]
        if i < 3:
            run["optimizations"].append(event | {"stage": "applied", "happened_at": f"2026-01-01T10:{i:02d}:00.050"})
    found = answer(taken_in(tmp_path, *runs), "F10")
    assert found.sentence.endswith(
        "Of 4 pre-warms assigned that left a record, 3 ran; 3 of these met a warm start, saving an estimated 1.80 s of start-up."
    )
    assert any("ESTIMATE" in caveat and "might have been warm anyway" in caveat for caveat in found.caveats)


def test_pre_warms_of_unknown_fate_are_left_out_of_those_that_ran(tmp_path: Path) -> None:
    # Of six assigned one ran; of one nothing tells, for the task that was to launch it left no metrics.
    runs = [run_with(i) for i in range(6)]
    for run in runs:
        event = {"run_id": run["runs"][0]["run_id"], "task_id": "f+a", "optimization": "prewarm", "target_worker_id": "w2"}  # fmt: skip
        run["optimizations"] = [event | {"stage": "assigned"}]
    runs[0]["optimizations"].append(event | {"run_id": "run-wf-0", "stage": "applied", "happened_at": "2026-01-01T10:00:00.050"})  # fmt: skip
    del runs[1]["tasks"][0]
    found = answer(taken_in(tmp_path, *runs), "F10")
    assert "Of 5 pre-warms assigned that left a record, 1 ran; 1 of these met a warm start" in found.sentence
    assert "1 assigned pre-warm of which nothing tells" in found.left_out


def test_pre_warms_that_ran_without_being_assigned_are_told_apart(tmp_path: Path) -> None:
    runs = [run_with(i) for i in range(2)]
    for i, run in enumerate(runs):
        event = {"run_id": run["runs"][0]["run_id"], "task_id": "f+a", "optimization": "prewarm", "target_worker_id": "w2"}  # fmt: skip
        run["optimizations"] = [event | {"stage": "applied", "happened_at": f"2026-01-01T10:{i:02d}:00.050"}]
    assert "2 pre-warms ran without being assigned; 2 of these met a warm start" in answer(taken_in(tmp_path, *runs), "F10").sentence  # fmt: skip


def test_workers_without_a_run_are_named_where_everything_is_selected(tmp_path: Path) -> None:
    stray = [{"invocation_id": f"free{i}", "requested_at": "2026-01-02T10:00:00", "ready_at": "2026-01-02T10:00:01", "reported_state": "cold"} for i in range(3)]  # fmt: skip
    home = taken_in(tmp_path / "some", run_with(1), invocations=stray)
    assert answer(home, "F10").left_out.endswith("; 3 invocations without a run.")
    assert "without a run." not in answer(home, "F10", Selection((("workflow", ("wf",)),))).left_out
    alone = answer(take_in(tmp_path / "home", write(tmp_path / "dump", {"invocations": stray})), "F10")
    assert alone.sentence == "No run of this selection has a worker start on record; 3 invocations without a run cannot be counted."  # fmt: skip


def test_a_tag_for_pre_warming_is_told_before_and_after(tmp_path: Path) -> None:
    runs = []
    for i in range(12):
        run = run_with(i)
        if i >= 6:
            run["invocations"][0]["reported_state"] = "warm"
        run["run_tags"] = [{"run_id": run["runs"][0]["run_id"], "tag": "prewarm", "value": "on" if i >= 6 else "off"}]
        runs.append(run)
    told = answer(taken_in(tmp_path, *runs), "F10").caveats[-1]
    # Wilson's intervals of 3 and of 0 of 6: runs that all agree are six cases.
    assert "with tag `prewarm` `off` 50.0 % (95 % interval 18.8 to 81.2 %) of starts were cold (6 runs)" in told
    assert "with tag `prewarm` `on` 0 % (95 % interval 0 to 39.0 %) of starts were cold (6 runs)" in told


def test_the_recorded_runs_are_counted_and_costed_as_in_sql_written_apart(sample_home: Home) -> None:
    found = answer(sample_home, "F10")
    counts = rows(sample_home, "select sum(cold_starts) as cold, sum(warm_starts) as warm, sum(unknown_starts) as unknown from run_summary").iloc[0]  # fmt: skip
    assert found.effect is not None
    assert found.effect.value == pytest.approx(counts["cold"] / (counts["cold"] + counts["warm"]))
    assert found.table.loc[0, ["cold", "warm", "unknown"]].tolist() == counts.tolist()
    extra = rows(
        sample_home,
        """
        select sum(n * (cold - warm)) / 1000 as extra_s, sum(n * (cold - warm) * memory_mb) / 1000 / 1024 as gb_s
        from (
            select memory_mb, count(*) filter (state = 'cold') as n, avg(startup_ms) filter (state = 'cold') as cold,
                avg(startup_ms) filter (state = 'warm') as warm, count(*) filter (state = 'warm') as n_warm
            from cold_starts where startup_ms is not null group by engine, environment, memory_mb
        ) where n >= 6 and n_warm >= 6
        """,
    ).iloc[0]
    assert found.table["extra_s"].sum() == pytest.approx(extra["extra_s"])
    assert found.table["extra_gb_seconds"].sum() == pytest.approx(extra["gb_s"])
    assert found.table["extra_on_critical_path_s"].sum() < found.table["extra_s"].sum()


def test_every_figure_is_of_the_selected_runs(sample_home: Home) -> None:
    workflow = rows(sample_home, "select min(workflow) as workflow from run_summary")["workflow"][0]
    found = answer(sample_home, "F10", Selection((("workflow", (workflow,)),)))
    counts = rows(sample_home, "select sum(cold_starts) as cold, sum(warm_starts) as warm from run_summary where workflow = $w", {"w": workflow}).iloc[0]  # fmt: skip
    assert found.n == counts["cold"] + counts["warm"]
    assert found.table["starts"][1:].sum() == found.table["starts"][0] < answer(sample_home, "F10").table["starts"][0]


def test_nothing_selected_and_one_run_and_hostile_names_have_an_answer(tmp_path: Path) -> None:
    run = run_with(1, workflow=HOSTILE, planner=HOSTILE)
    run["runs"][0] |= {"environment": HOSTILE, "engine": HOSTILE}
    home = taken_in(tmp_path, run)
    assert answer(home, "F10", Selection((("workflow", ("no such",)),))).status == "not enough data"
    one = answer(home, "F10")
    assert one.status == "answered"
    assert one.effect is not None and (one.effect.value, one.effect.low) == (0.5, None), "one run has no interval"
    assert answer(taken_in(tmp_path / "one", one_run(1)), "F10").sentence.startswith(
        "**100 %** of 1 worker start was cold;"
    )
    for figure in one.figures:
        figure.drawn.to_dict()


def test_runs_without_a_record_of_workers_say_what_is_missing(tmp_path: Path) -> None:
    run = one_run(1)
    del run["invocations"]
    found = answer(taken_in(tmp_path, run), "F10")
    assert found.status == "not enough data"
    assert "Start records" in found.would_change


def run_medians(generator: np.random.Generator, factor: float, runs: int = 24) -> pd.DataFrame:
    place = np.arange(runs) % 3
    noise = generator.lognormal(0, 0.4, (2, runs)) * generator.lognormal(0, 0.3, runs)
    return pd.DataFrame(
        {"run_id": np.arange(runs), "engine": "e", "environment": place, "memory_mb": 1024, "cold": 1, "warm": 1,
         "cold_ms": 500 * factor * (1 + place) * noise[0], "warm_ms": 500 * (1 + place) * noise[1]}
    )  # fmt: skip


def test_cold_starts_are_called_slower_when_they_are_and_seldom_when_they_are_not() -> None:
    empty = pd.DataFrame(columns=[*GROUP, "timed_cold", "cold_ms", "warm_ms", "extra_ms", "extra_on_path_ms", "extra_gb_seconds", "extra_usd"])  # fmt: skip
    called = {
        factor: np.mean(
            [
                (slower := cost(run_medians(np.random.default_rng(seed), factor), empty).slower) is not None
                and slower.decision == "higher"
                for seed in range(seeds)
            ]
        )
        for factor, seeds in ((1.0, 200), (2.0, 40))
    }
    assert called[1.0] <= 0.05, f"one side of a 95 % interval errs in 2.5 %; {called}"
    assert called[2.0] >= 0.95, called


def test_the_interval_of_the_share_knows_that_starts_of_one_run_hang_together() -> None:
    # 20 runs of 10 starts, all cold or all warm: 20 cases, not 200.
    runs = pd.DataFrame({"run_id": range(20), "cold": [10, 0] * 10, "warm": [0, 10] * 10})
    found = cold_share(runs)
    assert found is not None and found.n == 20
    assert found.high - found.low > 0.35, "independent starts would give .14"

"""F08: whether each SLA keeps its promise, and what runs at a high percentile do differently."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from app.findings import slas
from app.findings.evidence import Selection
from app.findings.matching import compare
from app.findings.statistics import share
from tests.app.dumps import HOSTILE, merged, one_run, take_in, write
from tests.app.findings.homes import answer
from warehouse.connection import open_current
from warehouse.home import Home


def run_at(
    number: int, percent: float, *, within: bool, makespan_factor: float = 1.0, **run: Any
) -> dict[str, list[dict[str, Any]]]:
    """A run planned at a percentile whose makespan stayed within the prediction or did not; other predictions are dropped."""
    tables = one_run(number, **run)
    tables["plans"][0] |= {"sla": f"p{percent:g}", "sla_percentile": percent}
    tables["tasks"][1]["execution_ms"] *= makespan_factor
    actual = 700 + tables["tasks"][1]["execution_ms"]
    first, last = tables["planned_tasks"]
    for task in (first, last):
        for name in ("download_ms", "upload_ms", "input_bytes", "output_bytes", "startup_ms"):
            task.pop(name, None)
    last["completion_offset_ms"] = actual + (1 if within else -1)
    last["execution_ms"] = 100_000 if within else 1
    return tables


def taken_in(tmp_path: Path, *runs: dict[str, list[dict[str, Any]]]) -> Home:
    return take_in(tmp_path / "home", write(tmp_path / "dump", merged(*runs)))


def test_a_promise_is_kept_broken_or_undecided_by_its_interval() -> None:
    assert slas.verdict(share(100, 100), 0.9) == "kept"
    assert slas.verdict(share(50, 100), 0.9) == "broken"
    assert slas.verdict(share(90, 100), 0.9) == "undecided"
    assert slas.verdict(share(0, 5), 0.9) == "too few"
    assert slas.verdict(None, 0.9) == "too few"


def test_coverage_of_hand_made_runs_is_that_worked_out_by_hand(tmp_path: Path) -> None:
    # p50: 20 of 20 within, kept (Wilson's low end .84). p90: 5 of 20, broken (high end .47).
    runs = [run_at(i, 50, within=True) for i in range(20)] + [run_at(20 + i, 90, within=i < 5) for i in range(20)]
    found = answer(taken_in(tmp_path, *runs), "F08")
    rows = found.table[found.table["planner"] == "(all)"].set_index(["metric", "sla"])
    assert rows.loc[("makespan", "p50"), "coverage"] == 1.0
    assert rows.loc[("makespan", "p50"), "verdict"] == "kept"
    assert rows.loc[("makespan", "p90"), "coverage"] == 0.25
    assert rows.loc[("makespan", "p90"), "verdict"] == "broken"
    assert found.status == "mixed"
    assert found.sentence.startswith("**2 of 4 promises**"), "makespan and execution at p90"
    assert "25.0 % of 20 runs planned at p90 stayed within the predicted makespan (promised: 90.0 %)" in found.sentence


@pytest.mark.parametrize(("within", "status"), [(True, "holds"), (False, "does not hold")])
def test_the_status_is_the_promise(tmp_path: Path, within: bool, status: str) -> None:
    found = answer(taken_in(tmp_path, *(run_at(i, 50, within=within) for i in range(20))), "F08")
    assert found.status == status
    assert found.effect is None, "one percentile has nothing to be compared with"


def test_average_promises_nothing(tmp_path: Path) -> None:
    runs = [run_at(i, 50, within=True) for i in range(8)]
    for run in runs:
        run["plans"][0] |= {"sla": "average", "sla_percentile": None}
    found = answer(taken_in(tmp_path, *runs), "F08")
    assert found.status == "not enough data"
    assert found.sentence.endswith(": 8 asked for 'average', which promises nothing."), (
        "all have plans: nothing else is missing"
    )


def counted(metric: str, planner: str | None, within: int, of: int, nothing: int = 0, at: float = 50) -> dict[str, Any]:
    """A row of `PROMISES`: of `of` runs judged at a percentile `within` stayed within; None: over all planners."""
    return {"metric": metric, "sla_percentile": at, "planner": planner, "is_total": planner is None, "predicted": of + nothing,
            "judged": of, "within_prediction": within, "nothing_happened": nothing, "distinct_inputs": of}  # fmt: skip


def test_nothing_predicted_where_nothing_happened_is_no_promise_kept(tmp_path: Path) -> None:
    runs = [run_at(i, 50, within=True) for i in range(20)]
    for run in runs:
        run["tasks"][0]["upload_ms"] = 0
        for task in run["planned_tasks"]:
            task["upload_ms"] = 0
    found = answer(taken_in(tmp_path / "a", *runs), "F08")
    upload = found.table[found.table["metric"] == "upload"].iloc[0]
    assert (upload["runs"], upload["nothing_happened"], upload["verdict"]) == (0, 20, "nothing happened")
    assert (found.status, found.sentence[:17]) == ("holds", "**0 of 2 promises"), "makespan and execution"
    assert "20 predictions of 0 where nothing happened" in found.left_out
    for run in runs:
        for task in run["planned_tasks"]:
            del task["execution_ms"]
            task.pop("completion_offset_ms")
    found = answer(taken_in(tmp_path / "b", *runs), "F08")
    assert (found.status, found.n) == ("not enough data", 0)
    assert "none puts a promise to the test" in found.sentence


def test_a_promise_that_one_planner_breaks_is_not_kept_though_all_runs_together_keep_it() -> None:
    rows = pd.DataFrame(
        [counted("makespan", None, 40, 50), counted("makespan", "A", 40, 40), counted("makespan", HOSTILE, 0, 10)]
    )
    table = slas.judged(rows)
    assert table["verdict"].tolist() == ["kept", "kept", "broken"]
    decided = slas.deciding(table)
    assert decided[["runs", "coverage", "verdict"]].to_numpy().tolist() == [[10, 0.0, "broken"]]
    sentence = slas._sentence(decided)
    assert sentence.startswith(
        "**1 of 1 promise** (a metric at a percentile) is broken, 1 of them seen only for planner `<img"
    )


def test_planners_of_a_promise_exactly_met_are_rarely_called_broken_however_many_they_are() -> None:
    rng = np.random.default_rng(5)

    def breaks(within: int, runs: int, at: float) -> bool:
        rows = pd.DataFrame([counted("makespan", f"P{i}", within, runs, at=at) for i in range(8)])
        return bool((slas.judged(rows)["verdict"] == "broken").all())

    for at, runs in ((50, 20), (90, 14), (99, 10)):
        broken = np.array([breaks(within, runs, at) for within in range(runs + 1)])
        assert broken[0], "a promise never met is broken"
        assert broken[rng.binomial(runs, at / 100, (200, 8))].any(axis=1).sum() <= 0.05 * 200, f"p{at}"


def test_runs_that_asked_for_an_sla_and_have_no_plan_are_not_compared_by_it(tmp_path: Path) -> None:
    runs = [one_run(i, planned=False) for i in range(24)]
    for i, run in enumerate(runs):
        run["runs"][0] |= {"sla": "p50", "sla_percentile": 50} if i % 2 else {"sla": "p90", "sla_percentile": 90}
    found = answer(taken_in(tmp_path, *runs), "F08")
    assert found.effect is None
    assert found.sentence == (
        "No plans in this source (`hand`): nobody predicted the 24 runs beforehand. An SLA needs a prediction to promise, and none "
        "is on record yet."
    )
    planned = run_at(30, 50, within=True)
    planned["runs"][0]["submitted_at"] = "2026-01-02T10:00:00"
    selection = Selection(until=date(2026, 1, 1))
    beside = answer(take_in(tmp_path / "b", write(tmp_path / "c", merged(*runs, planned))), "F08", selection)
    assert beside.sentence == (
        "Of 24 runs none has a plan that predicts it at a percentile: no prediction is on record for 24, as for any run "
        "without history."
    ), "the engine does plan, just none of these"


def test_what_is_undecided_is_put_down_to_few_runs_or_wide_intervals_only_where_it_is() -> None:
    def said(*rows: dict[str, Any]) -> str:
        table = slas.judged(pd.DataFrame(rows))
        return slas._undecided({"runs": 9, "average": 0}, table, table, 0)

    few, wide = counted("makespan", None, 2, 4), counted("execution", None, 5, 9)
    assert said(few).endswith(": 1 rests on fewer than 6 runs.")
    assert said(wide).endswith(": of 1 the interval holds what was promised.")
    assert said(few, wide).endswith(": 1 rests on fewer than 6 runs; of 1 the interval holds what was promised.")


def test_runs_that_take_twice_as_long_at_a_high_percentile_are_found(tmp_path: Path) -> None:
    runs = [run_at(i, 50, within=True) for i in range(12)] + [run_at(12 + i, 90, within=True) for i in range(12)]
    for i, run in enumerate(
        runs
    ):  # both sides take the same times, p90 runs twice as long: 1.0 to 1.11 and 2.0 to 2.22 s
        run["tasks"][1]["execution_ms"] = (1000 + 10 * (i % 12)) * (2 if i >= 12 else 1) - 700
    found = answer(taken_in(tmp_path, *runs), "F08")
    assert found.effect is not None
    assert found.effect.value == pytest.approx(2.0)
    assert found.effect.low is not None and found.effect.low > 1
    assert "Planned at p90 instead of p50, makespan is 2.00 times" in found.sentence


def test_a_tag_that_repeats_the_sla_and_a_random_scale_do_not_stop_runs_from_pairing() -> None:
    runs = matchable(np.random.default_rng(1), 1.0, each=2)
    found = slas.impact(runs)
    assert found is not None
    assert found.matched.way == "paired"
    assert found.matched.pairs == 12
    assert "tag sla_asked" not in found.matched.free
    assert "tag scale" in found.matched.free


def matchable(rng: np.random.Generator, factor: float, each: int = 5) -> pd.DataFrame:
    """Twelve workflows with `each` runs at p50 and at p90, the latter `factor` times as long; every run has its own scale."""
    rows = []
    for workflow in range(12):
        for is_high in (False, True):
            for number in range(each):
                asked = "90" if is_high else "50"
                rows.append(
                    {"run_id": f"{workflow}-{asked}-{number}", "workflow": f"w{workflow}", "structure_hash": "s", "planner": "p",
                     "sla": f"p{asked}", "environment": "e", "tags": {"sla_asked": asked, "scale": str(rng.integers(1000))},
                     "is_complete": True, "memory_mb": 1024, "sla_percentile": float(asked), "is_planned": True,
                     "input_bytes": 1.0, "makespan_ms": float(np.exp(rng.normal(8 + workflow / 4, 0.3))) * (factor if is_high else 1)}
                )  # fmt: skip
    frame = pd.DataFrame(rows)
    return frame.assign(**{name: 1.0 for name in slas.IMPACTS if name != "makespan_ms"})


def test_a_planted_impact_is_found_and_an_absent_one_is_not_called_real() -> None:
    found = slas.impact(matchable(np.random.default_rng(0), 1.0), ["makespan_ms"])
    assert found
    blocks = found.matched.blocks

    def decision(seed: int, factor: float) -> str:
        drawn = np.exp(np.random.default_rng(seed).normal(8, 0.3, len(blocks))) * np.where(
            blocks["is_other"], factor, 1
        )
        ratio = compare(replace(found.matched, blocks=blocks.assign(makespan_ms=drawn)), "makespan_ms").ratio
        assert ratio
        return ratio.decision

    assert sum(decision(seed, 1.5) == "higher" for seed in range(200)) >= 0.95 * 200
    assert sum(decision(seed, 1.0) in ("lower", "higher") for seed in range(200)) <= 0.07 * 200


def test_calibrated_predictions_are_not_called_broken_and_bad_ones_are() -> None:
    rng = np.random.default_rng(3)
    honest = [slas.verdict(share(int(n), 150), 0.9) for n in rng.binomial(150, 0.9, 200)]
    short = [slas.verdict(share(int(n), 150), 0.9) for n in rng.binomial(150, 0.75, 200)]
    assert honest.count("broken") <= 0.05 * 200
    assert honest.count("kept") <= 0.05 * 200
    assert short.count("broken") >= 0.95 * 200


def test_recorded_runs_have_the_coverage_that_sql_finds(sample_home: Home) -> None:
    sql = """
        select e.metric, e.sla_percentile as p, count(*) as n, avg((e.actual <= e.predicted)::int) as coverage
        from prediction_errors as e
        where e.predictor = 'engine' and e.level = 'run' and e.sla_percentile is not null and e.actual is not null
            and e.predicted is not null
        group by 1, 2
    """
    with open_current(sample_home) as reader:
        expected = reader.frame(sql, {})
    found = answer(sample_home, "F08")
    rows = found.table[found.table["planner"] == "(all)"].set_index(["metric", "sla"])
    checked = 0
    for row in expected.to_dict("records"):
        if row["metric"] in slas.NAMES:
            seen = rows.loc[(slas.NAMES[row["metric"]], f"p{row['p']:g}")]
            assert (seen["runs"], seen["coverage"]) == (row["n"], pytest.approx(row["coverage"]))
            checked += 1
    assert checked == len(rows) > 0
    assert found.status == "mixed"


def test_transfers_promise_the_wrong_way_round_and_the_answer_says_so(sample_home: Home) -> None:
    rows = answer(sample_home, "F08").table
    download = rows[(rows["planner"] == "(all)") & (rows["metric"] == "download")].set_index("sla")["coverage"]
    assert download["p90"] < download["p50"]
    assert any("upside down" in caveat for caveat in answer(sample_home, "F08").caveats)


def test_runs_without_an_sla_on_record_are_counted_with_the_tag_that_says_what_was_asked(sample_home: Home) -> None:
    with open_current(sample_home) as reader:
        counted = reader.frame("select count(*) as n from run_summary where sla is null", {})["n"][0]
    caveats = answer(sample_home, "F08").caveats
    assert any(f"{counted:,} runs have no SLA on record, though the tag `sla_asked`" in caveat for caveat in caveats)


def test_a_selection_is_respected(sample_home: Home) -> None:
    part = answer(sample_home, "F08", Selection(values=(("workflow", ("matmul",)),)))
    assert 0 < part.n < answer(sample_home, "F08").n


@pytest.mark.parametrize("column", ["planner", "workflow", "sla"])
def test_an_empty_selection_gives_an_answer(sample_home: Home, column: str) -> None:
    found = answer(sample_home, "F08", Selection(values=((column, ("nobody",)),)))
    assert (found.status, found.n) == ("not enough data", 0)


def test_a_single_run_hostile_names_and_no_plan_give_an_answer(tmp_path: Path) -> None:
    one = answer(taken_in(tmp_path / "a", one_run(1)), "F08")
    assert one.status == "not enough data"
    runs = [run_at(i, 50, within=True, workflow=HOSTILE, planner=HOSTILE) for i in range(20)]
    for run in runs:
        run["run_tags"] = [{"run_id": run["runs"][0]["run_id"], "tag": f"sla {HOSTILE}", "value": HOSTILE}]
    hostile = answer(taken_in(tmp_path / "b", *runs, one_run(30, planned=False)), "F08")
    assert hostile.status == "holds"
    assert "<img" not in hostile.sentence + hostile.left_out
    assert answer(taken_in(tmp_path / "c", one_run(1, planned=False)), "F08").status == "not enough data"

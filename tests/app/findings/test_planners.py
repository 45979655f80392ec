"""Planners are ranked like with like, and one is only called faster or cheaper where that is sure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from app.findings import find
from app.findings.evidence import Evidence, Selection, of_reader
from app.findings.finding import Answer
from app.findings.planners import QUESTIONS, contest, frontier
from app.findings.standings import common, fitted
from tests.app.dumps import HOSTILE, LONG, merged, one_run, take_in, write
from tests.app.findings.homes import answer
from warehouse.connection import open_current
from warehouse.home import Home


def run(
    number: int, workflow: str, planner: str, makespan: float, memory: int = 1024, **known: Any
) -> dict[str, list[dict[str, Any]]]:
    """A run whose only worker is requested 100 ms after submission and active until the end."""
    tables = one_run(number, workflow, planner, planned=False)
    name = f"{workflow[:20]}-{planner[:20]}-{number}"
    for rows in tables.values():
        for row in rows:
            row["run_id"] = name
    tables["runs"][0] |= {"structure_hash": f"s-{workflow[:9]}"} | known
    tables["tasks"][1]["execution_ms"] = makespan - 700
    tables["invocations"][0] |= {"invocation_id": f"i-{name}"}
    for row in (*tables["tasks"], *tables["invocations"]):
        row["memory_mb"] = memory
    return tables


def died(number: int, workflow: str, planner: str) -> dict[str, list[dict[str, Any]]]:
    tables = run(number, workflow, planner, 5000)
    return tables | {"tasks": tables["tasks"][:1]}


def answered(tmp_path: Path, *runs: dict[str, list[dict[str, Any]]], prices: bool = False) -> Answer:
    tables = merged(*runs)
    if prices:
        tables["prices"] = [
            {"environment": "here", "gb_second_usd": 1e-5, "request_usd": 0, "source": "x", "as_of": "2026-01-01"}
        ]
    return answer(take_in(tmp_path / "home", write(tmp_path / "dump", tables)), "F23")


def of_rows(*rows: dict[str, Any]) -> Answer:
    """The answer over runs as rows of `RUNS`, which a dump of as many runs would take long to give."""
    base = {
        "workflow": "w", "structure_hash": "s", "environment": "e", "is_complete": True, "gb_seconds_derived": 1.0,
        "cost_usd": np.nan, "memory_mb": 1.0, "sla": None, "tags": None,
    }  # fmt: skip
    runs = pd.DataFrame([base | {"run_id": str(number)} | row for number, row in enumerate(rows)])
    engines = runs[["run_id"]].assign(engine="x")
    return QUESTIONS[0].compute(Evidence(lambda sql, _: runs if "makespan_ms" in sql else engines))


def two_planners() -> list[dict[str, list[dict[str, Any]]]]:
    """Quick takes 2/3 of Frugal's makespan in both workflows, with four times its memory."""
    return [
        run(number, workflow, planner, factor * size * (1 + 0.05 * number), memory)
        for number in range(8)
        for workflow, size in (("small", 1000), ("large", 9000))
        for planner, factor, memory in (("Quick", 1, 4096), ("Frugal", 1.5, 1024))
    ]


def test_the_faster_and_the_cheaper_planner_are_named_with_the_ratio_to_the_next(tmp_path: Path) -> None:
    found = answered(tmp_path, *two_planners())
    assert (found.status, found.n) == ("answered", 32)
    assert found.effect is not None
    assert found.effect.value == pytest.approx(1.5)
    # A worker is active from 100 ms to the end: GB-seconds are (makespan - 100) times its memory.
    logs = [
        np.log(4 * (size * (1 + 0.05 * n) - 100)) - np.log(1.5 * size * (1 + 0.05 * n) - 100)
        for n in range(8) for size in (1000, 9000)
    ]  # fmt: skip
    quick = found.table[(found.table["workflow"] == "all together") & (found.table["planner"] == "Quick")].iloc[0]
    assert quick["GB-seconds / best"] == pytest.approx(np.exp(np.mean(logs)))
    assert "`Quick` is fastest: the next, `Frugal`, takes **1.50 times** as long" in found.sentence
    assert "`Frugal` is cheapest in GB-seconds: the next, `Quick`," in found.sentence
    assert "The frontier is `Quick`, `Frugal`." in found.sentence
    small = found.table[(found.table["workflow"] == "small") & (found.table["planner"] == "Frugal")].iloc[0]
    assert small["median makespan (s)"] == pytest.approx(1.5 * 1.175)


def test_where_every_run_has_a_price_planners_are_compared_by_cost(tmp_path: Path) -> None:
    found = answered(tmp_path, *two_planners(), prices=True)
    assert "cheapest in cost" in found.sentence
    assert "median USD" in found.table


def test_a_planner_that_only_ran_the_small_workflow_is_not_called_fast_for_it(tmp_path: Path) -> None:
    """Its median over all runs would be the lowest, though it takes twice as long as either other one."""
    tiny = [run(number, "small", "Tiny", 3000 * (1 + 0.05 * number)) for number in range(8)]
    found = answered(tmp_path, *two_planners(), *tiny)
    assert "`Quick` is fastest" in found.sentence
    assert "`Tiny`" in found.left_out


def test_larger_structures_in_one_environment_do_not_make_their_planner_slow() -> None:
    """B ran the large structure eight times and the small one twice, A the reverse; both take the same on each."""
    rng = np.random.default_rng(1)
    rows = [
        {"workflow": "w", "structure_hash": structure, "environment": "e", "planner": planner, "makespan_ms": size * np.exp(rng.normal(0, 0.01))}
        for planner, counts in (("A", (8, 2)), ("B", (2, 8)))
        for (structure, size), n in zip((("s", 100), ("l", 1000)), counts, strict=True)
        for _ in range(n)
    ]  # fmt: skip
    runs = pd.DataFrame(rows)
    assert (
        runs.groupby("planner")["makespan_ms"].median()["B"] > 5 * runs.groupby("planner")["makespan_ms"].median()["A"]
    )
    standings = fitted(runs, "makespan_ms")
    assert standings is not None
    found = standings.beside("A", "B", [0], 0.95)
    assert found is not None
    assert found.value == pytest.approx(1, abs=0.02)
    assert found.decision == "no difference"


def test_planners_without_a_common_case_cannot_be_compared(tmp_path: Path) -> None:
    runs = [run(number, "w", "A", 1000, environment="x") for number in range(8)]
    runs += [run(number, "w", "B", 2000, environment="y") for number in range(8)]
    found = answered(tmp_path, *runs)
    assert found.status == "not enough data"
    assert "no two have complete runs of one structure in one environment" in found.sentence


def test_a_planner_whose_runs_die_is_said_to_have_only_its_survivors(tmp_path: Path) -> None:
    found = answered(tmp_path, *two_planners(), *(died(20 + number, "small", "Quick") for number in range(4)))
    assert "4 of 20 of `Quick`" in found.left_out
    assert any("survivors: 20.0 % of the runs of `Quick`" in caveat for caveat in found.caveats)


def test_seeds_that_ran_under_both_planners_are_compared_in_pairs(tmp_path: Path) -> None:
    runs = []
    for number in range(8):
        for planner, factor in (("A", 1), ("B", 1.02)):
            tables = run(number, "w", planner, factor * 1000 * 3**number)
            tag = {"run_id": tables["runs"][0]["run_id"], "tag": "seed", "value": str(number)}
            runs.append(merged(tables, {"run_tags": [tag]}))
    found = answered(tmp_path, *runs)
    assert found.effect is not None
    assert [round(end or 0, 6) for end in (found.effect.value, found.effect.low, found.effect.high)] == [
        1.02,
        1.02,
        1.02,
    ]


def test_the_fastest_planner_is_never_said_to_take_longer_than_the_next() -> None:
    """B wins three seeds of four, and takes so long on the fourth that its mean ratio is higher: only the fit is said."""
    rng = np.random.default_rng(3)
    found = of_rows(*(
        {"planner": planner, "makespan_ms": size * np.exp(rng.normal(0, 0.02)), "tags": {"seed": str(seed)}}
        for seed in range(40) for planner, size in (("A", 1000), ("B", 800 if seed % 4 else 6000))
    ))  # fmt: skip
    assert "`A` has the shortest makespan, but the next, `B`, takes **1.32 times** as long" in found.sentence
    assert "undecided" in found.sentence
    assert "estimated frontier is `A` alone" in found.sentence
    assert found.effect is not None
    assert found.effect.value == pytest.approx(np.exp(np.mean(np.log([0.8, 0.8, 0.8, 6]))), rel=0.02)


def test_a_planner_is_only_called_fastest_if_it_was_tested_against_every_other_and_n_counts_what_was_compared() -> None:
    """C has too few runs; nobody else ran in the other workflow, nor in the other environment."""
    rng = np.random.default_rng(3)
    rows = [
        {"planner": planner, "makespan_ms": size * np.exp(rng.normal(0, 0.1))}
        for planner, size, runs in (("A", 1000, 30), ("B", 1300, 30), ("C", 2000, 4)) for _ in range(runs)
    ]  # fmt: skip
    alone = [
        {"planner": "A", "makespan_ms": 1.0, "workflow": "x"},
        {"planner": "A", "makespan_ms": 1.0, "environment": "f"},
    ]
    found = of_rows(*rows, *alone * 5)
    assert "`A` is faster than the next, `B`, which takes **1.28 times**" in found.sentence
    assert "fastest" not in found.sentence
    assert found.n == 64
    assert "10 complete runs of cases in which nothing can be compared" in found.left_out
    assert "`A` is fastest: the next, `B`," in of_rows(*rows[:60]).sentence


def test_planners_that_are_powers_of_hundreds_apart_are_still_answered() -> None:
    rows = [
        {"planner": planner, "makespan_ms": size} for planner, size in (("A", 1e-300), ("B", 1e300)) for _ in range(8)
    ]
    found = of_rows(*rows)
    assert found.status == "answered"
    assert "`A` is fastest: the next, `B`, takes **infinitely many times**" in found.sentence


def test_one_planner_is_not_enough(tmp_path: Path) -> None:
    found = answered(tmp_path, *(run(number, "w", "A", 1000) for number in range(3)))
    assert (found.status, found.n) == ("not enough data", 3)


def test_names_of_planners_and_workflows_are_shown_as_text(tmp_path: Path) -> None:
    runs = [
        run(number, HOSTILE, planner, 1000 + 10 * number)
        for number in range(7)
        for planner in (f"A{HOSTILE}", f"B{LONG}")
    ]
    found = answered(tmp_path, *runs)
    assert found.status == "answered"
    shown = " ".join([found.sentence, found.left_out, *found.caveats])
    assert "script" not in re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", shown)
    assert "\u202e" not in shown
    assert len(found.figures) == 2


def test_selections_of_no_run_or_of_incomplete_ones_give_an_answer(sample_home: Home) -> None:
    with open_current(sample_home) as reader:
        lost = tuple(reader.frame("select run_id from run_summary where not is_complete")["run_id"])
    for runs in ((), lost):
        found = answer(sample_home, "F23", Selection(runs=runs, where="not is_complete"))
        assert found.status == "not enough data"


def test_a_planner_is_on_the_frontier_unless_another_is_as_good_on_both_and_better_on_one() -> None:
    points = pd.DataFrame({"time": [1.0, 2.0, 2.0, 3.0, 1.0], "resource": [3.0, 2.0, 2.0, 1.0, 4.0]})
    assert frontier(points) == [True, True, True, True, False]


def test_recorded_planners_stand_as_a_regression_on_single_runs_says(sample_home: Home) -> None:
    with open_current(sample_home) as reader:
        found = find(QUESTIONS[0], of_reader(reader)).answer
        runs = reader.frame(
            "select workflow, planner, ln(makespan_ms) as y, "
            "dense_rank() over (order by workflow, structure_hash, environment) as place "
            "from run_summary where is_complete and planner is not null and makespan_ms > 0"
        )
        medians = reader.frame(
            "select workflow, planner, median(makespan_ms) / 1000 as s, count(*) as n from run_summary where is_complete group by all"
        )
        lost = reader.frame("select planner, count(*) as n from run_summary where not is_complete group by all")
    cells = runs["workflow"] + "|" + runs["planner"]
    design = np.hstack([pd.get_dummies(cells).to_numpy(float), pd.get_dummies(runs["place"]).to_numpy(float)])
    names = pd.get_dummies(cells).columns
    beta = pd.Series(np.linalg.lstsq(design, runs["y"].to_numpy(float), rcond=None)[0][: len(names)], index=names)
    overall = beta.groupby([name.split("|")[1] for name in names]).mean()
    expected = np.exp(overall - overall.min())
    shown = found.table[found.table["workflow"] == "all together"].set_index("planner")
    assert len(shown) == runs["planner"].nunique() > 2
    assert shown["makespan / best"].to_dict() == pytest.approx(expected.to_dict())
    assert f"`{expected.idxmin()}`" in found.sentence
    rows = found.table[found.table["workflow"] != "all together"].set_index(["workflow", "planner"])
    for row in medians.itertuples():
        assert rows.loc[(row.workflow, row.planner), "median makespan (s)"] == pytest.approx(row.s)
        assert rows.loc[(row.workflow, row.planner), "complete runs"] == row.n
    assert shown["incomplete runs"].sum() == lost.loc[lost["planner"].notna(), "n"].sum()


def planned(rng: np.random.Generator, effects: dict[str, float]) -> pd.DataFrame:
    """Unequal numbers of runs of each planner in four cases; the first planner's runs scatter twice as much."""
    cases = pd.DataFrame([(case, planner) for case in range(4) for planner in effects], columns=["case", "planner"])
    runs = cases.loc[np.repeat(cases.index, rng.integers(3, 8, len(cases)))].reset_index(drop=True)
    scatter = np.where(runs["planner"] == "A", 0.4, 0.2)
    value = 1000.0 * 3.0 ** runs["case"] * runs["planner"].map(effects) * np.exp(rng.normal(0, scatter))
    return runs.assign(
        workflow=(runs["case"] % 2).map("w{}".format), environment=(runs["case"] // 2).map("e{}".format), structure_hash="s",
        makespan_ms=value,
    )  # fmt: skip


def test_equal_planners_are_not_told_apart_and_one_of_half_the_makespan_is_found() -> None:
    """The best planner is chosen by the data that judge it: of 200 experiments at most 5 % (and chance) may be misled."""
    wrong = right = covered = 0
    for seed in range(200):
        equal, half = (
            fitted(planned(np.random.default_rng(seed), {"A": a, "B": 1, "C": 1, "D": 1}), "makespan_ms")
            for a in (1, 0.5)
        )
        assert equal
        assert half
        planners, workflows = common(equal)
        for standings, is_equal in ((equal, True), (half, False)):
            overall = standings.overall(planners, workflows)
            best = min(overall, key=lambda name: overall[name])
            decisions = {
                found.decision for name in planners if name != best
                if (found := standings.beside(best, name, workflows, 1 - 0.05 / 6))
            }  # fmt: skip
            wrong += is_equal and "higher" in decisions
            right += not is_equal and best == "A" and decisions == {"higher"}
        interval = half.beside("B", "A", workflows, 0.95)
        assert interval
        covered += interval.low <= 0.5 <= interval.high
    assert wrong <= 16
    assert right >= 190
    assert 180 <= covered <= 199


def test_the_winner_is_set_beside_every_rival_at_a_level_for_all_pairs() -> None:
    runs = planned(np.random.default_rng(3), {"A": 0.3, "B": 1, "C": 1.1, "D": 1.2})
    runs = runs.assign(run_id=runs.index.astype(str), tags=None, memory_mb=1.0, sla=None, is_complete=True)
    standings = fitted(runs, "makespan_ms")
    assert standings is not None
    found = contest(runs, standings, "makespan_ms")
    assert found is not None
    assert found.winner == "A"
    assert found.level == 1 - 0.05 / 6
    assert {rival.name for rival in found.rivals} == {"B", "C", "D"}

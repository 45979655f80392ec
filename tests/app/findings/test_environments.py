"""Local and remote runs are compared like with like, or it is said that nothing tells them apart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from app.findings import find
from app.findings.alike import lay_beside
from app.findings.environments import QUESTIONS, kind
from app.findings.evidence import Evidence, Selection, of_reader
from app.findings.finding import Answer
from app.findings.matching import RUNS, compare
from tests.app.dumps import HOSTILE, LONG, merged, one_run, take_in, write
from tests.app.findings.homes import answer
from warehouse.connection import Reader, open_current
from warehouse.home import Home


def run(number: int, environment: str, factor: float = 1, **known: Any) -> dict[str, list[dict[str, Any]]]:
    """A run of seed `number`: makespan and start-up are `factor` times 1000 + 100 * number ms and 300 ms."""
    tables = one_run(number, planned=False)
    name = f"{environment[:20]}-{number}-{known.get('planner', '')}"
    for rows in tables.values():
        for row in rows:
            row["run_id"] = name
    tables["runs"][0] |= {"environment": environment} | known
    tables["tasks"][1]["execution_ms"] = factor * (1000 + 100 * number) - 700
    tables["invocations"][0] |= {
        "invocation_id": f"i-{name}", "ready_at": f"2026-01-01T10:{number:02d}:00.{round(100 + 300 * factor):03d}"
    }  # fmt: skip
    return tables


def seeded(tables: dict[str, list[dict[str, Any]]], number: int) -> dict[str, list[dict[str, Any]]]:
    return merged(tables, {"run_tags": [{"run_id": tables["runs"][0]["run_id"], "tag": "seed", "value": str(number)}]})


def answered(tmp_path: Path, *runs: dict[str, list[dict[str, Any]]]) -> Answer:
    return answer(take_in(tmp_path / "home", write(tmp_path / "dump", merged(*runs))), "F09")


def row(found: Answer, metric: str) -> dict[str, Any]:
    rows = found.table[found.table["metric"] == metric]
    assert len(rows) == 1
    return {str(name): value for name, value in rows.iloc[0].items()}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("docker-on-a-laptop", "local"), ("LOCALHOST", "local"), ("aws-eu-west-1", "remote"), ("Azure", "remote"),
        ("localstack-aws", None), ("laws-lab", None), ("drawserver", None), ("nonlocal", None), ("glocal", None),
        ("docker2", "local"), ("gateway-1", None), ("docker on google", None), ("", None), (None, None), (3, None),
    ],
)  # fmt: skip
def test_only_a_name_that_says_one_thing_says_where_an_environment_is(name: object, said: str | None) -> None:
    assert kind(name) == said


def test_runs_of_one_seed_that_take_twice_as_long_remotely_say_so(tmp_path: Path) -> None:
    runs = [
        seeded(run(number, environment, factor), number)
        for number in range(8)
        for environment, factor in (("my-docker", 1), ("aws-lambda", 2))
    ]
    found = answered(tmp_path, *runs)
    assert (found.status, found.n, found.counted) == ("answered", 8, "pairs of runs")
    assert found.effect is not None
    assert [round(end or 0, 6) for end in (found.effect.value, found.effect.low, found.effect.high)] == [2, 2, 2]
    assert "Makespan of remote runs is **2.00 times** (95 % interval 2.00 to 2.00) that of local runs" in found.sentence
    assert (row(found, "start-up per worker")["median"], row(found, "start-up per worker")["median beside"]) == (
        600,
        300,
    )
    assert row(found, "makespan")["median beside"] == 1350
    assert any("read off the names" in caveat for caveat in found.caveats)


def test_environments_without_such_names_are_compared_with_the_one_that_has_most_runs(tmp_path: Path) -> None:
    runs = [run(number, "middle") for number in range(9)]
    runs += [run(number, "slow", 3) for number in range(8)] + [run(number, "same") for number in range(8)]
    found = answered(tmp_path, *runs)
    assert found.sentence.startswith("No environment here is called local or remote")
    assert (
        "compared with `middle`, which has most runs, makespan is decidedly different in 1 of 2, most in `slow`"
        in found.sentence
    )
    assert found.effect is not None
    assert "slow / middle" in found.effect.name
    assert any(caveat.startswith("2 comparisons: intervals hold 97.5 % each") for caveat in found.caveats)


def test_clouds_are_compared_with_each_other_and_no_run_counts_twice(tmp_path: Path) -> None:
    """Ten runs in each of three clouds, and one more in the first: it stands in both comparisons, and in the count once."""
    factors = {"gcp": 1, "aws": 2, "azure": 1}
    runs = [run(number, cloud, factor, planner="P") for cloud, factor in factors.items() for number in range(10)]
    found = answered(tmp_path, *runs, run(10, "gcp", planner="P"))
    assert found.sentence.startswith(
        "All environments here are remote by their names, so nothing local is beside them; compared"
    )
    assert (found.n, found.counted) == (31, "runs compared")
    assert not any("may be on one machine" in caveat for caveat in found.caveats)


def test_runs_of_different_planners_are_never_set_beside_each_other(tmp_path: Path) -> None:
    runs = [run(number, "local", planner="A") for number in range(8)]
    runs += [run(number, "remote", 5, planner="B") for number in range(8)]
    found = answered(tmp_path, *runs)
    assert found.status == "not enough data"
    assert "alike in workflow, structure and planner" in found.sentence


def test_runs_of_different_structures_are_never_set_beside_each_other(tmp_path: Path) -> None:
    runs = [run(number, "local") for number in range(8)]
    runs += [run(number, "remote", 5, structure_hash="other") for number in range(8)]
    assert answered(tmp_path, *runs).status == "not enough data"


def test_environments_of_different_engines_cannot_be_compared(tmp_path: Path) -> None:
    runs = [run(number, "local", engine="one") for number in range(8)]
    runs += [run(number, "remote", engine="two") for number in range(8)]
    found = answered(tmp_path, *runs)
    assert found.status == "not enough data"
    assert "different engines" in found.sentence


def test_one_environment_is_not_enough_and_it_is_said_how_to_label_runs(tmp_path: Path) -> None:
    found = answered(tmp_path, *(run(number, "here") for number in range(3)))
    assert found.status == "not enough data"
    assert "3 runs, all of one environment, `here`" in found.sentence
    assert "--environment" in found.would_change
    assert "--tags" in found.would_change


def test_names_of_environments_are_shown_as_text(tmp_path: Path) -> None:
    runs = [run(number, name) for number in range(7) for name in (HOSTILE, LONG)]
    found = answered(tmp_path, *runs)
    shown = " ".join([found.sentence, found.left_out, found.would_change, *found.caveats])
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", shown)
    assert "script" not in outside
    assert "\u202e" not in shown
    assert max(map(len, found.table["environment"])) <= 40


def test_a_selection_of_no_run_or_one_gives_an_answer(sample_home: Home) -> None:
    for runs in ((), ("no such run",)):
        found = answer(sample_home, "F09", Selection(runs=runs, where="false"))
        assert (found.status, found.n, found.figures) == ("not enough data", 0, ())


def sample(reader: Reader) -> pd.DataFrame:
    return Evidence(lambda sql, parameters: reader.frame(sql, dict(parameters))).frame(RUNS)


def test_recorded_gateways_are_compared_within_equal_design(sample_home: Home) -> None:
    selection = Selection(values=(("environment", ("gateway-1", "gateway-2")),))
    with open_current(sample_home) as reader:
        found = find(QUESTIONS[0], of_reader(reader, selection)).answer
        runs = sample(reader)
        makespans = reader.frame(
            "select run_id, workflow, structure_hash, planner, makespan_ms from run_summary"
        ).set_index("run_id")
    runs = runs[runs["environment"].isin(["gateway-1", "gateway-2"])]
    matched = lay_beside(
        runs, runs["environment"], "gateway-1", "gateway-2", "environment", always=("workflow", "structure_hash", "planner")
    )  # fmt: skip
    blocks = matched.blocks.set_index("run_id")
    design = makespans.loc[blocks.index, ["workflow", "structure_hash", "planner"]]
    assert design.groupby(blocks["block"]).nunique().eq(1).all(axis=None)

    weighted, weights = 0.0, 0.0
    for _, block in blocks[blocks["is_complete"].eq(True)].groupby("block"):
        sides = [
            makespans.loc[block.index[block["is_other"] == side], "makespan_ms"].dropna() for side in (False, True)
        ]
        if min(map(len, sides)) >= 3:
            weight = 1 / (1 / len(sides[0]) + 1 / len(sides[1]))
            weighted += weight * float(
                np.log(sides[1].astype(float)).median() - np.log(sides[0].astype(float)).median()
            )
            weights += weight
    assert matched.way == "stratified"
    assert row(found, "makespan")["ratio"] == pytest.approx(np.exp(weighted / weights))


def test_no_difference_is_found_where_there_is_none_and_a_large_one_where_it_is() -> None:
    """Of 200 experiments without a difference at most 5 % (and chance) may find one; a doubling is found nearly always."""
    wrong = right = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        rows = []
        for workflow in ("a", "b"):
            for place in range(16):
                rows.append(
                    {"run_id": str(len(rows)), "workflow": workflow, "structure_hash": "s", "planner": "p", "sla": "p50",
                     "environment": "xy"[place % 2], "tags": {}, "memory_mb": 2048, "is_complete": True,
                     "makespan_ms": {"a": 1e3, "b": 1e4}[workflow] * np.exp(rng.normal(0, 0.3))}
                )  # fmt: skip
        runs = pd.DataFrame(rows)
        doubled = runs.assign(makespan_ms=runs["makespan_ms"] * np.where(runs["environment"] == "y", 2, 1))
        matched = lay_beside(
            runs, runs["environment"], "x", "y", "environment", always=("workflow", "structure_hash", "planner")
        )
        found = compare(matched, "makespan_ms").ratio
        matched_doubled = type(matched)(
            matched.way, matched.blocks.assign(makespan_ms=doubled.loc[matched.blocks.index, "makespan_ms"]), (), (), 0
        )
        other = compare(matched_doubled, "makespan_ms").ratio
        assert found
        assert other
        wrong += found.decision in ("lower", "higher")
        right += other.decision == "higher"
    assert wrong <= 16
    assert right >= 195

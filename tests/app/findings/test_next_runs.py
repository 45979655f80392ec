"""F24 names what is undecided, how many runs would decide it, and which runs to make."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from app.findings.candidates import Candidate, candidates
from app.findings.evidence import Evidence, Selection
from app.findings.finding import Answer
from app.findings.half_pairs import half_pairs
from app.findings.next_runs import _next, _spread
from app.markdown import to_text
from tests.app import dumps
from tests.app.findings.homes import answer
from tests.app.findings.test_matching import run
from warehouse.home import Home


def switched(n: int, ratio: float, spread: float, tag: str = "switch") -> pd.DataFrame:
    """n seeds, each run with the switch off and on; the logarithms of their ratios are where n normal ones are expected."""
    noise = spread * stats.norm.ppf((np.arange(n) + 0.5) / n)
    rows = [
        run(0, tags={tag: switch, "seed": str(seed)}, makespan_ms=100.0 * times, gb_seconds_derived=5.0)
        for seed in range(n)
        for switch, times in (("off", 1.0), ("on", ratio * np.exp(noise[seed])))
    ]
    return known(pd.DataFrame(rows))


def known(runs: pd.DataFrame) -> pd.DataFrame:
    runs = runs.assign(engine="hand", sla_percentile=50.0, is_planned=True, run_id=[f"r{n}" for n in range(len(runs))])
    return runs.reset_index(drop=True)


def ask(runs: pd.DataFrame) -> Answer:
    """What F24 answers of these runs: each of its queries is answered by the columns it asks for."""

    def read(sql: str, _parameters: object) -> pd.DataFrame:
        if "select run_id, engine" in sql:
            return runs[["run_id", "engine"]]
        asked = ["sla_percentile", "is_planned"]
        return runs[["run_id", *asked]] if "is_planned" in sql else runs.drop(columns=["engine", *asked])

    return _next(Evidence(read))


def with_tags(runs: pd.DataFrame, change: Callable[[dict[str, str]], dict[str, str]]) -> pd.DataFrame:
    return runs.assign(tags=pd.Series([change(tags) for tags in runs["tags"]], dtype=object))


def the_one(runs: pd.DataFrame) -> Candidate:
    (found,) = [one for one in candidates(runs) if one.by == "tag switch"]
    return found


def test_the_pairs_needed_are_those_of_the_closed_form() -> None:
    """A spread of .3 around a ratio of 1.06: pi / 2 ((1.96 + .842) .3 / log 1.06)^2 = 327 pairs, for a median takes pi / 2
    times as many as a mean; and (log 1.06 / log 1.05)^2 times as many at 1.05."""
    found = ask(switched(60, 1.06, 0.3))
    row = found.table.iloc[0]
    assert (row["metric"], row["decision"], row["n"]) == ("makespan", "undecided", 60)
    assert row["needed"] == pytest.approx(327, rel=0.25)
    assert row["further_runs"] == 2 * (row["needed"] - 60)
    assert row["needed_at_5_percent"] == pytest.approx(466, rel=0.25)
    assert found.effect is not None and found.effect.value == pytest.approx(1.06)


def test_half_done_pairs_are_completed_first_and_named() -> None:
    """Of 20 seeds two were never run with the switch on, and one run was lost: three pairs take one run each."""
    runs = switched(20, 1.05, 0.2)
    runs.loc[9, ["is_complete", "makespan_ms"]] = [False, None]
    runs = known(runs.drop(index=[3, 5]))
    half = half_pairs(the_one(runs))
    assert sorted(tags["seed"] for tags in half.runs["tags"]) == ["1", "2", "4"]
    assert set(half.missing) == {"on"}
    found = ask(runs)
    row = found.table.iloc[0]
    more = row["needed"] - row["n"]
    assert (row["n"], row["half_done_pairs"]) == (17, 3)
    assert row["further_runs"] == 2 * more - 3
    text = to_text(found.sentence)
    assert "Half done are 3 pairs" in text
    assert "workflow wf, seed 1, with switch on" in text
    assert f"new pairs, each once with switch off and on: {more - 3:,} of wf" in text


def test_a_decided_comparison_needs_no_more_runs() -> None:
    found = ask(switched(20, 0.5, 0.01))
    assert found.status == "answered"
    assert "all are decided" in found.sentence
    assert set(found.table["decision"]) == {"lower", "no difference"}
    assert found.table["further_runs"].isna().all()


def test_a_comparison_that_something_else_explains_is_left_out_and_named() -> None:
    runs = switched(20, 1.05, 0.2)
    runs["structure_hash"] = [f"of {tags['switch']}" for tags in runs["tags"]]
    found = ask(runs)
    assert found.status == "not enough data"
    assert "1 whose runs differ in more than what is compared" in found.sentence
    assert "switch on / off (structure)" in to_text(found.sentence)


def test_two_tags_of_the_same_runs_are_one_comparison() -> None:
    runs = with_tags(
        switched(20, 1.05, 0.2), lambda tags: tags | {"series": {"on": "second", "off": "first"}[tags["switch"]]}
    )
    assert [one.by for one in candidates(runs)] == ["tag series"]


def test_a_tag_that_repeats_the_planner_is_left_to_the_planner() -> None:
    runs = switched(20, 1.05, 0.2)
    runs["planner"] = [f"planner {tags['switch']}" for tags in runs["tags"]]
    assert [one.by for one in candidates(runs)] == ["planner"]


def test_the_comparison_that_fewest_runs_decide_stands_first() -> None:
    """The same ratio with little spread and with much: the spread makes the difference."""
    tight, wide = switched(20, 1.06, 0.15, "tight"), switched(20, 1.06, 0.4, "wide")
    found = ask(known(pd.concat([tight, wide], ignore_index=True)))
    undecided = found.table[found.table["decision"] == "undecided"]
    assert undecided["compared"].tolist() == ["tight", "wide"]
    assert undecided["needed"].is_monotonic_increasing
    assert to_text(found.sentence).index("tight on") < to_text(found.sentence).index("After it: makespan with wide on")


def test_new_runs_are_shared_out_as_the_recorded_ones_and_add_up() -> None:
    assert _spread(pd.Series({"a": 5, "b": 3, "c": 2}), 12) == [("a", 6), ("b", 4), ("c", 2)]
    assert sum(number for _, number in _spread(pd.Series({"a": 7, "b": 7, "c": 7}), 11)) == 11


def test_what_dumps_say_stays_in_code_spans() -> None:
    runs = with_tags(
        switched(20, 1.05, 0.2).assign(workflow=dumps.HOSTILE),
        lambda tags: {dumps.HOSTILE: tags["switch"], "seed": tags["seed"]},
    )
    found = ask(known(runs.drop(index=[3])))
    said = " ".join((found.sentence, found.left_out, *found.caveats))
    outside = re.sub(r"(`+).*?\1", "", said)
    assert "<img" in said
    assert not set("<$:[") & set(outside.replace(": ", " "))


def test_of_the_recorded_runs_every_figure_adds_up(sample_home: Home) -> None:
    found = answer(sample_home, "F24")
    table = found.table
    undecided = table[table["decision"] == "undecided"]
    assert found.status == "answered"
    assert found.n == (table["decision"] != "too few").sum()
    assert f"{len(undecided)} are undecided" in to_text(found.sentence)
    assert undecided["further_runs"].dropna().is_monotonic_increasing
    first: dict[str, Any] = {str(name): value for name, value in undecided.iloc[0].items()}
    assert f"{first['needed'] - first['n']:,} more pair" in to_text(found.sentence)
    assert found.figures and found.caveats and found.would_change


def test_the_same_runs_give_the_same_answer(sample_home: Home) -> None:
    assert answer(sample_home, "F24").sentence == answer(sample_home, "F24").sentence


def test_without_anything_to_compare_it_says_what_is_missing(tmp_path: Path, sample_home: Home) -> None:
    alone = answer(dumps.tiny(tmp_path / "home"), "F24")
    nothing = answer(sample_home, "F24", Selection(values=(("workflow", ("gone",)),)))
    assert (alone.status, nothing.status, nothing.n) == ("not enough data", "not enough data", 0)
    assert "seed" in alone.would_change
    assert alone.figures == ()


def test_runs_without_the_name_of_a_workflow_are_set_beside_nothing() -> None:
    """Requests of a log that names no function: at two sizes of memory they may be two functions."""
    rows = [run(0, memory_mb=size, makespan_ms=100.0 + n, tags={}) for n in range(20) for size in (512, 1024)]
    named = known(pd.DataFrame(rows))
    assert [one.by for one in candidates(named)] == ["memory_mb"]
    nameless = named.assign(workflow=None, structure_hash=None)
    assert candidates(nameless) == []
    assert "40 runs without the name of a workflow" in ask(nameless).sentence

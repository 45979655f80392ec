"""Whether CPU follows memory, and what the serialised DAG takes, as far as the runs selected say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from app.findings.dag_size import slope
from app.findings.evidence import Selection
from app.findings.resources import QUESTIONS
from tests.app.dumps import HOSTILE, merged, one_run, take_in, write
from tests.app.findings.homes import answer
from warehouse.connection import open_current
from warehouse.home import Home

CPU, DAG = (question.code for question in QUESTIONS)


def taken_in(tmp_path: Path, *runs: dict[str, list[dict[str, Any]]]) -> Home:
    return take_in(tmp_path / "home", write(tmp_path / "dump", merged(*runs)))


def sized(number: int, memory: int, cpus: object, **known: Any) -> dict[str, list[dict[str, Any]]]:
    """A run whose worker says its CPUs; its two tasks do not."""
    tables = one_run(number, f"w{memory}", planned=False)
    tables["runs"][0] |= known
    tables["invocations"][0] |= {"memory_mb": memory, "cpus": cpus}
    for task in tables["tasks"]:
        task["memory_mb"] = memory
    return tables


def test_cpu_is_a_function_of_memory_where_every_size_has_one_count(tmp_path: Path) -> None:
    runs = [sized(number, memory, cpus) for number in range(6) for memory, cpus in ((1024, 0.57), (2048, 1.14))]
    found = answer(taken_in(tmp_path, *runs), CPU)
    assert (found.status, found.n) == ("holds", 12)
    assert "All 2 sizes of memory" in found.sentence
    assert found.left_out.startswith("24 ")


def test_sizes_of_too_few_runs_are_not_counted_as_what_it_rests_on(tmp_path: Path) -> None:
    runs = [sized(number, memory, cpus) for number in range(6) for memory, cpus in ((1024, 0.57), (2048, 1.14))]
    found = answer(taken_in(tmp_path, *runs, sized(7, 4096, 2)), CPU)
    assert (found.status, found.n) == ("holds", 12)
    assert "over 12 invocations and tasks" in found.sentence
    assert found.left_out.startswith("27 "), "26 tasks say no CPUs, one size has one run"


def test_one_size_with_two_counts_refutes_it(tmp_path: Path) -> None:
    runs = [sized(number, memory, cpus) for number in range(6) for memory, cpus in ((1024, 0.57), (2048, 1.14))]
    found = answer(taken_in(tmp_path, *runs, sized(7, 2048, 3)), CPU)
    assert (found.status, found.n) == ("does not hold", 13)
    assert "1 of 2 sizes of memory" in found.sentence
    assert "from 1.14 to 3.00 CPUs" in found.sentence


def test_counts_that_differ_between_environments_do_not_refute_it(tmp_path: Path) -> None:
    runs = [sized(number, memory, cpus) for number in range(6) for memory, cpus in ((1024, 0.57), (2048, 1.14))]
    runs += [sized(10 + number, 2048, 2, environment="elsewhere") for number in range(6)]
    assert answer(taken_in(tmp_path, *runs), CPU).status == "holds"


def test_five_runs_of_a_size_are_too_few_to_call_it_a_function(tmp_path: Path) -> None:
    runs = [sized(number, memory, cpus) for number in range(5) for memory, cpus in ((1024, 0.57), (2048, 1.14))]
    assert answer(taken_in(tmp_path, *runs), CPU).status == "not enough data"


def test_what_is_no_positive_number_is_not_a_count(tmp_path: Path) -> None:
    values = ("NaN", -1, "many", None, 0, float("1e400"))
    runs = [sized(number, 1024, cpus) for number, cpus in enumerate(str(v) if v == float("inf") else v for v in values)]
    found = answer(taken_in(tmp_path, *runs), CPU)
    assert found.status == "not enough data"
    assert found.sentence.startswith("None of 18 invocations and tasks says")


def test_recorded_sizes_are_those_of_the_view_and_the_engines_rule_is_said(sample_home: Home) -> None:
    found = answer(sample_home, CPU)
    with open_current(sample_home) as reader:
        view = reader.frame("select * from resource_configurations order by engine, environment, memory_mb")
    assert found.status == "not enough data"
    assert "round(min(memory_mb / 1792, 6), 2)" in found.sentence
    assert found.table["invocations and tasks"].tolist() == (view["invocations"] + view["tasks"]).tolist()
    assert found.table["CPUs by the engine's rule"].tolist() == pytest.approx(view["cpus_expected"].tolist())


def loaded(
    number: int, tasks: int | None, dag_bytes: int | None, literal: int | None = None, **known: Any
) -> dict[str, list[dict[str, Any]]]:
    """A complete run of two tasks, each with `literal` bytes of arguments, whose worker loaded the DAG in 2 + 1 ms."""
    tables = one_run(number, str(known.pop("workflow", f"w{number}")), planned=False)
    tables["runs"][0] |= {"structure_hash": f"s{number}", "expected_tasks": tasks} | known
    for task in tables["tasks"]:
        task["literal_bytes"] = literal
    load = {"run_id": tables["runs"][0]["run_id"], "dag_bytes": dag_bytes, "download_ms": 2, "subdag_ms": 1}
    return merged(tables, {"dag_loads": [load]})


def test_a_dag_of_300_bytes_a_task_is_found_to_grow_by_300(tmp_path: Path) -> None:
    runs = [loaded(tasks, tasks, 1000 + 300 * tasks) for tasks in (2, 4, 8, 16, 32, 48)]
    found = answer(taken_in(tmp_path, *runs), DAG)
    assert found.effect is not None
    assert (found.effect.value, found.effect.low, found.effect.high) == pytest.approx((300, 300, 300))
    assert "it grows by **300 B a task** over 6 structures (95 % interval 300 B to 300 B)" in found.sentence
    assert "loading it takes a worker 3.00 ms, 1.00 % of what its start-up takes" in found.sentence
    assert found.n == 6


def test_four_sizes_have_a_slope_without_an_interval_and_three_have_none(tmp_path: Path) -> None:
    runs = [loaded(tasks, tasks, 1000 + 300 * tasks) for tasks in (2, 4, 8, 16)]
    four = answer(taken_in(tmp_path / "four", *runs), DAG)
    three = answer(taken_in(tmp_path / "three", *runs[:3]), DAG)
    assert four.effect is not None
    assert (four.effect.value, four.effect.low, four.effect.high) == (300, None, None)
    assert "too few for an interval" in four.sentence
    assert "to say how it grows takes 4 different numbers of tasks" in three.sentence
    assert "425 B to 800 B a task" in three.sentence  # 3400 / 8 to 1600 / 2


def test_what_a_dag_must_carry_is_its_ids_edges_and_arguments(tmp_path: Path) -> None:
    """Ids 'f+a' and 'f+b' are 6 bytes, the edge is 2, arguments 2 * 46: 100 of 400 bytes; the DAG without them has 308."""
    found = answer(taken_in(tmp_path, loaded(1, 2, 400, 46)), DAG)
    assert "25.0 % of it are ids, edges and arguments" in found.sentence
    assert found.table.iloc[0]["the rest (kB)"] == pytest.approx(0.3)


def test_dags_too_large_to_pass_are_counted(tmp_path: Path) -> None:
    runs = [loaded(number, 2, size, engine="octoflows") for number, size in ((1, 95_000), (2, 95_001))]
    assert "in 1 run it was above 95.0 kB, too large to pass" in answer(taken_in(tmp_path, *runs), DAG).sentence


def test_a_dag_that_was_passed_with_an_invocation_is_not_called_too_large_to_pass(tmp_path: Path) -> None:
    passed = loaded(1, 2, 95_001, engine="octoflows")
    passed["dag_loads"][0]["download_ms"] = 0
    found = answer(taken_in(tmp_path, passed, loaded(2, 2, 95_002, engine="octoflows")), DAG)
    assert "in 2 runs it was above 95.0 kB, 1 such load came with an invocation all the same" in found.sentence


def test_an_engine_without_a_known_limit_has_none(tmp_path: Path) -> None:
    large, small = (answer(taken_in(tmp_path / str(size), loaded(1, 2, size)), DAG) for size in (95_001, 9_000))
    assert "above 95.0 kB" not in " ".join([large.sentence, *large.caveats, *small.caveats])


def test_arguments_that_weigh_more_than_the_dag_say_nothing_of_how_small_it_could_be(tmp_path: Path) -> None:
    """Two tasks with 200 bytes of arguments each, in a DAG of 400 with ids and edges: they cannot all be in it."""
    found = answer(taken_in(tmp_path, loaded(1, 2, 400, 200)), DAG)
    assert "how small it could be is not known" in found.sentence
    assert "what arguments weigh in 1 load whose DAG is smaller than they are" in found.left_out


def test_loads_without_a_size_or_a_number_of_tasks_are_said_and_break_nothing(tmp_path: Path) -> None:
    unknown = loaded(2, None, 500)
    unknown.pop("edges")
    found = answer(taken_in(tmp_path, loaded(1, 2, None), unknown), DAG)
    assert found.status == "answered"
    assert "1 load of unknown size" in found.left_out
    assert "1 structure of an unknown number of tasks" in found.left_out
    assert found.figures == ()


def test_nothing_loaded_is_not_enough_data(tmp_path: Path) -> None:
    found = answer(taken_in(tmp_path, one_run(1)), DAG)
    assert found.status == "not enough data"
    assert "None of 1 run" in found.sentence


def test_empty_selections_and_single_runs_give_answers(sample_home: Home) -> None:
    with open_current(sample_home) as reader:
        one = str(reader.frame("select run_id from run_summary order by run_id limit 1")["run_id"][0])
    for runs in ((), (one,)):
        for code in (CPU, DAG):
            found = answer(sample_home, code, Selection(runs=runs, where="x"))
            assert found.sentence.endswith(".")


def test_names_of_workflows_are_shown_as_text(tmp_path: Path) -> None:
    home = taken_in(
        tmp_path, *(loaded(tasks, tasks, 300 * tasks, workflow=f"{tasks}{HOSTILE}") for tasks in (2, 4, 6, 8, 10))
    )
    for code in (CPU, DAG):
        found = answer(home, code)
        shown = " ".join([found.sentence, found.left_out, *found.caveats])
        assert "script" not in re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", shown)
    assert len(found.figures) == 1


def test_recorded_dags_are_those_of_the_view_and_a_selection_is_respected(sample_home: Home) -> None:
    found = answer(sample_home, DAG)
    with open_current(sample_home) as reader:
        view = reader.frame("select * from dag_growth where loads > 0").set_index("structure_hash")
        bytes_of_one = reader.frame(
            "select median(dag_bytes) as b, count(*) as n from dag_loads inner join runs using (run_id) where environment = 'gateway-1'"
        )
    assert found.n == view["loads"].sum()
    assert sorted(found.table["DAG (kB, median)"]) == pytest.approx(sorted(view["dag_bytes"] / 1000))
    assert sorted(found.table["the rest (kB)"]) == pytest.approx(sorted(view["other_bytes"] / 1000))
    assert sorted(found.table["loads"]) == sorted(view["loads"])
    part = answer(sample_home, DAG, Selection(values=(("environment", ("gateway-1",)),)))
    assert part.n == bytes_of_one["n"][0] < found.n


def test_a_slope_of_none_is_not_called_growth_and_one_of_500_bytes_is() -> None:
    """Of 200 sets of DAGs that do not grow, at most 5 % (and chance) may show growth; 500 bytes a task show nearly always."""
    tasks = pd.Series([5.0, 9, 14, 15, 22, 24, 31, 40, 64, 90])
    rng = np.random.default_rng(5)
    wrong = right = 0
    for _ in range(200):
        noise = pd.Series(rng.normal(20_000, 4_000, len(tasks)))
        flat, grown = slope(tasks, noise), slope(tasks, noise + 500 * tasks)
        assert flat
        assert grown
        wrong += not flat.low <= 0 <= flat.high
        right += grown.low > 0
    assert wrong <= 16
    assert right >= 195

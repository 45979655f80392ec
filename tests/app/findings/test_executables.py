"""F19: executables beside functions, by hand-made rows whose figures are worked out here, and by planted ratios."""

from __future__ import annotations

from math import exp, log
from typing import Any

import numpy as np
import pandas as pd
import pytest

from app.findings import QUESTIONS, find
from app.findings.evidence import Selection
from app.findings.executions import EXECUTIONS
from app.findings.finding import Answer
from app.findings.kinds import by_kind
from app.markdown import to_text
from tests.app.dumps import HOSTILE, merged
from tests.app.findings.homes import answer
from tests.app.findings.rows import Rows, evidence
from tests.warehouse.views import at
from warehouse.home import Home

VIEWS = ("run_summary", "task_times", "invocation_tasks", "cold_starts", "worker_times", "prediction_errors")


def task(
    number: int, kind: str | None, execution_ms: float | None, function: str = "sort", workflow: str = "wf", environment: str = "here",
    size: int | None = 1_000, run: str | None = None, tags: dict[str, str] | None = None, **values: Any,
) -> Rows:  # fmt: skip
    """A run of one task, a minute after the one before it."""
    run_id = run or f"{kind}-{workflow}-{number}"
    return {
        "runs": [
            {"run_id": run_id, "engine": "e", "environment": environment, "workflow": workflow, "submitted_at": at(60_000.0 * number),
             "sink_task_id": function, "expected_tasks": 1}
        ],
        "run_tags": [{"run_id": run_id, "tag": tag, "value": value} for tag, value in (tags or {}).items()],
        "tasks": [
            {"run_id": run_id, "task_id": function, "attempt": 1, "function": function, "kind": kind, "literal_bytes": size,
             "started_at": at(60_000.0 * number), "execution_ms": execution_ms, "status": "succeeded", **values}
        ],
    }  # fmt: skip


def both(n: int = 8, factor: float = 0.5, **of_functions: Any) -> list[Rows]:
    """Executables of 100, 101, ... ms, and functions that take 1 / factor times as long."""
    return [
        one
        for i in range(n)
        for one in (task(i, "executable", 100.0 + i), task(i, "function", (100.0 + i) / factor, **of_functions))
    ]


def found(*runs: Rows, selection: Selection | None = None) -> Answer:
    (question,) = [question for question in QUESTIONS if question.code == "F19"]
    return find(question, evidence(merged(*runs), *VIEWS, selection=selection)).answer


def test_the_same_work_done_both_ways_is_compared() -> None:
    # Medians of 100 ... 107: 103.5, and of twice that: 207.
    answered = found(*both())
    assert answered.status == "answered" and (answered.n, answered.counted) == (16, "tasks")
    assert answered.effect and answered.effect.value == pytest.approx(0.5)
    assert answered.effect.low is not None and 0.45 < answered.effect.low < 0.5
    row = answered.table.iloc[0]
    assert (row["executable"], row["function"]) == (pytest.approx(103.5), pytest.approx(207))
    assert (row["executable_runs"], row["function_runs"], row["decision"]) == (8, 8, "lower")
    assert to_text(answered.sentence).startswith(
        "The same work takes less time as executables, 0.50 times (95 % interval"
    )
    assert "(1 function on inputs of like size, 8 and 8 runs)." in answered.sentence


def test_functions_count_equally_however_often_they_run() -> None:
    # sort: half the time, 24 runs. cut: twice the time, 6 runs. The geometric mean of .5 and 2 is 1.
    runs = both(24) + [
        one
        for i in range(6)
        for one in (task(100 + i, "executable", 80.0, "cut"), task(100 + i, "function", 40.0, "cut"))
    ]
    rows = found(*runs).table
    times = rows[rows["what"] == "execution time (ms)"].set_index("work")["ratio"]
    assert times.to_dict() == {
        "(all the same work)": pytest.approx(1),
        "sort": pytest.approx(0.5),
        "cut": pytest.approx(2),
    }


def test_times_of_inputs_of_different_size_are_not_laid_beside_each_other() -> None:
    # Executables have 1 kB, functions 1 MB: nothing is alike, though the workflow is the same and whole runs are compared.
    answered = found(*both(size=1_000_000))
    assert answered.table[answered.table["what"] == "execution time (ms)"].empty
    # With sizes mixed the other way round: small both ways .5, large both ways .5, more large executables than functions.
    small = both(8)
    large = [task(50 + i, "executable", 10_000.0 + i, size=1_000_000) for i in range(30)] + [
        task(90 + i, "function", 20_029.0 + i, size=1_000_000) for i in range(3)
    ]
    effect = found(*small, *large).effect
    # Medians of large: 10,014.5 and 20,030; a mean of ln(.5) and ln(10,014.5 / 20,030).
    assert effect and effect.value == pytest.approx(exp((log(0.5) + log(10_014.5 / 20_030)) / 2))


def test_different_work_is_not_compared() -> None:
    runs = both(function="other", workflow="elsewhere")
    answered = found(*runs)
    assert answered.status == "not enough data" and answered.effect is None
    assert "times of different work are not compared" in answered.sentence
    assert "these are different work, so the kind need not be why" in answered.sentence
    assert "flowscope record" in answered.would_change


def test_an_environment_that_goes_with_the_kind_is_named() -> None:
    answered = found(*both(environment="cloud"))
    assert answered.status == "answered"
    assert "; but their environment differs too." in answered.sentence


def test_a_name_alone_does_not_make_different_workflows_the_same_work() -> None:
    answered = found(*both(workflow="elsewhere"))
    assert "; but their workflow differs too." in answered.sentence
    assert answered.effect is None or not answered.effect.name.startswith("execution")


def test_a_tag_says_that_runs_do_the_same_work_whatever_they_are_called() -> None:
    # Names and workflows differ; runs with equal `work` and `seed` are pairs, each with the ratio .5.
    runs = [
        one
        for i in range(8)
        for one in (
            task(i, "executable", 100.0 + 9 * i, "sort.sh", "shell", tags={"work": "sorting", "seed": str(i)}),
            task(i, "function", 200.0 + 18 * i, "sort_lines", "python", tags={"work": "sorting", "seed": str(i)}),
        )
    ]
    answered = found(*runs)
    assert answered.status == "answered"
    assert answered.effect and answered.effect.value == pytest.approx(0.5)
    assert "8 pairs of runs alike in workflow" in answered.sentence and "tag `seed`" in answered.sentence


def test_a_spread_is_the_median_deviation_from_the_median_of_those_alike() -> None:
    # Executables: 98, 99, 100, 100, 101, 102: off their median, 100, by .02 .01 0 0 .01 .02, in the median .01, times 6 / 5.2.
    # Functions: ten times as far: 80 90 100 100 110 120.
    times = {"executable": [98, 99, 100, 100, 101, 102], "function": [80, 90, 100, 100, 110, 120]}
    answered = found(*(task(i, kind, ms) for kind, each in times.items() for i, ms in enumerate(each)))
    row = answered.table[answered.table["what"].str.startswith("deviation")].iloc[0]
    assert row["executable"] == pytest.approx(0.01 * 6 / 5.2)
    assert row["function"] == pytest.approx(0.1 * 6 / 5.2)
    assert row["ratio"] == pytest.approx(0.1) and row["low"] < 0.1 < row["high"]
    assert "1.15 %" in answered.sentence and "11.5 %" in answered.sentence


def test_alike_is_of_one_function_workflow_environment_memory_and_power_of_ten() -> None:
    # Two memories whose times differ hundredfold: within each all are equal, so nothing deviates.
    runs = [task(i, "executable", 100.0 if i % 2 else 10_000.0, memory_mb=512 if i % 2 else 1_024) for i in range(12)]
    frame = evidence(merged(*runs), *VIEWS).frame(EXECUTIONS, least=6, most=100)
    assert frame["deviation"].tolist() == [0.0] * 12
    sizes = [task(i, "executable", 1.0, size=size) for i, size in enumerate([None, 0, 1, 9, 10, 999, 1_000])]
    frame = evidence(merged(*sizes), *VIEWS).frame(EXECUTIONS, least=6, most=100)
    assert frame["size_decade"].fillna(-9).tolist() == [-9, -1, 0, 0, 1, 2, 3]
    assert frame["deviation"].isna().all(), "fewer than six are alike"


def test_more_runs_than_are_read_are_drawn_by_chance_and_said() -> None:
    frame = evidence(merged(*(task(i, "executable", 1.0) for i in range(30))), *VIEWS).frame(
        EXECUTIONS, least=6, most=10
    )
    assert len(frame) == 10 and frame["run_id"].nunique() == 10


def test_predictions_of_both_kinds_are_judged_on_the_same_work() -> None:
    # The model says 110 of 100 ms for executables (off by .1) and 150 of 100 ms for functions (off by .5); a rival is worse.
    runs = [task(i, kind, 100.0) for i in range(8) for kind in ("executable", "function")]
    predictions = [
        {"predictor": name, "level": "task", "run_id": f"{kind}-wf-{i}", "task_id": "sort", "metric": "execution", "sla_percentile": 50.0, "predicted": ms}
        for i in range(8)
        for name, kind, ms in (("boosted", "executable", 110.0), ("boosted", "function", 150.0), ("empirical", "executable", 500.0), ("empirical", "function", 500.0))
    ]  # fmt: skip
    answered = found(*runs, {"predictions": predictions})
    rows = answered.table[answered.table["what"].str.startswith("error of")].set_index("what")
    ours = rows[rows["ratio"].round(3) == 0.2].iloc[0]
    assert (ours["executable"], ours["function"]) == (pytest.approx(0.1), pytest.approx(0.5))
    assert "boosted trees, the closest of 2, executions are off by 10.0 %" in answered.sentence
    assert len(rows) == 2 and rows["ratio"].max() == pytest.approx(1)


def test_failures_are_counted_by_status_and_exit_code() -> None:
    # Executables: 3 of 12 attempts end with a code other than 0; functions: 1 of 6 fails; one executable does not say.
    runs = [task(i, "executable", 10.0, exit_code=[2, 2, 1][i] if i < 3 else 0, status=None) for i in range(12)]
    runs += [task(i, "function", 10.0, status="failed" if i == 0 else "succeeded") for i in range(6)]
    runs += [task(40, "executable", 10.0, status=None)]
    answered = found(*runs)
    row = answered.table.iloc[-1]
    assert (row["executable"], row["function"]) == (pytest.approx(3 / 12), pytest.approx(1 / 6))
    # Wilson's interval of 3 in 12 (each attempt a run of its own) is 8.9 to 53.2 %.
    assert row["executable_low"] <= 0.0890 and row["executable_high"] >= 0.5323
    assert "of 12 attempts of executables and 16.7 %" in to_text(answered.sentence)
    assert "(exit code 2 of 2 attempts, 1 of 1 attempt)" in answered.sentence


def test_failed_executions_are_in_no_time_and_no_spread() -> None:
    runs = both() + [task(100 + i, "executable", 1.0, exit_code=1) for i in range(20)]
    runs += [task(200 + i, "executable", 1.0, status="killed") for i in range(20)]
    answered = found(*runs)
    assert answered.effect and answered.effect.value == pytest.approx(0.5)
    assert "40 executions that failed or have no time or name" in answered.left_out


def test_sizes_that_are_not_known_are_said() -> None:
    unsized = [task(i, kind, 100.0 + i, size=None) for i in range(8) for kind in ("executable", "function")]
    assert any("The input size of 16 executions is not known" in caveat for caveat in found(*unsized).caveats)
    assert not any("is not known" in caveat for caveat in found(*both()).caveats)


def test_what_starting_costs_is_said_where_it_is_known() -> None:
    runs = both()
    for i in range(8):
        run = f"function-wf-{i}"
        runs[2 * i + 1]["tasks"][0]["worker_id"] = "w"
        runs.append(
            {"invocations": [{"invocation_id": f"i{i}", "run_id": run, "worker_id": "w", "reported_state": "cold",
                              "requested_at": at(60_000.0 * i - 300), "ready_at": at(60_000.0 * i)}]}
        )  # fmt: skip
    # 8 starts of 300 ms beside executions of 200, 202, ... 214 ms: 2,400 of 1,656 ms.
    sentence = found(*runs).sentence
    assert (
        "Workers of functions take 300 ms to start in the median (8 starts), 145 % of what they then execute"
        in sentence
    )
    assert "starting the process of an executable is recorded nowhere" in sentence
    # Of two workers no start is recorded: 1,800 of 200 + 202 + ... 210 = 1,230 ms.
    for i in (6, 7):
        runs[16 + i]["invocations"][0]["requested_at"] = None
    said = "300 ms to start in the median (6 of 8 starts: the others are not timed), 146 % of what they then execute"
    assert said in found(*runs).sentence


def test_executables_alone_are_described_and_compared_with_nothing() -> None:
    answered = found(*(task(i, "executable", 100.0 + i) for i in range(12)))
    assert answered.status == "not applicable" and answered.effect is None
    assert "All of 12 tasks whose kind is known are executables" in answered.sentence
    assert "for executables" in answered.sentence and "for functions" not in answered.sentence
    assert [figure.name for figure in answered.figures] == ["spread-of-executions"]


def test_no_executable_nothing_selected_and_too_few_runs_have_an_answer(sample_home: Home) -> None:
    recorded = answer(sample_home, "F19")
    assert recorded.status == "not applicable"
    assert "None of 11,589 tasks is recorded as an executable" in recorded.sentence
    nothing = found(*both(), selection=Selection(values=(("workflow", ("gone",)),)))
    assert (nothing.status, nothing.n) == ("not applicable", 0)
    few = found(*both(4))
    assert few.status == "not enough data" and few.effect is None
    assert "too few to compare times" in few.sentence
    for one in (nothing, few):
        assert "nan" not in one.sentence.lower()


def test_hostile_names_are_drawn() -> None:
    runs = [
        task(i, kind, 100.0 + i, function=f"{i % 20} {HOSTILE}", workflow=HOSTILE, environment=HOSTILE, run=f"{kind}{i}", exit_code=None)
        for i in range(130)
        for kind in ("executable", "function")
    ]  # fmt: skip
    answered = found(*runs)
    assert {figure.name for figure in answered.figures} == {"executables-beside-functions", "spread-of-executions"}
    for figure in answered.figures:
        figure.drawn.to_dict()
    assert "4 functions more: not drawn" in answered.figures[1].text


def planted(seed: int, ratio: float, runs: int = 12, works: int = 4) -> pd.DataFrame:
    """Runs of either kind, each with its own luck that all its works share, and heavy-tailed noise."""
    generator = np.random.default_rng(seed)
    rows = []
    for kind, factor in (("executable", ratio), ("function", 1.0)):
        for run in range(runs):
            luck = generator.lognormal(0, 0.15)
            rows += [
                {"kind": kind, "work": f"w{work}", "stratum": f"w{work}", "run_id": f"{kind}{run}",
                 "value": 10.0**work * factor * luck * exp(0.15 * generator.standard_t(3))}
                for work in range(works)
            ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_planted_ratio_is_covered_and_equal_kinds_are_seldom_told_apart() -> None:
    truths = {1.0: 80, 0.6: 40}
    covered = dict.fromkeys(truths, 0)
    decided = dict.fromkeys(truths, 0)
    for truth, seeds in truths.items():
        for seed in range(seeds):
            compared = by_kind(planted(seed, truth))
            assert compared is not None and compared.ratio is not None
            covered[truth] += compared.ratio.low <= truth <= compared.ratio.high
            decided[truth] += compared.ratio.decision in ("lower", "higher")
    shares = {truth: covered[truth] / seeds for truth, seeds in truths.items()}
    assert all(share >= 0.9 for share in shares.values()), shares
    assert decided[1.0] / truths[1.0] <= 0.1 and decided[0.6] / truths[0.6] >= 0.9, decided


def test_runs_and_not_their_tasks_are_what_is_drawn_again() -> None:
    # Luck of runs alone, no noise: with 30 works a run each interval is as wide as with one.
    generator = np.random.default_rng(1)
    luck = {f"{kind}{run}": generator.lognormal(0, 0.3) for kind in ("executable", "function") for run in range(12)}
    frames = [
        pd.DataFrame(
            {"kind": run.rstrip("0123456789"), "work": f"w{work}", "stratum": f"w{work}", "run_id": run, "value": value}
            for run, value in luck.items()
            for work in range(works)
        )
        for works in (1, 30)
    ]
    one, many = (by_kind(frame) for frame in frames)
    assert one and many and one.ratio and many.ratio
    assert one.ratio.low == pytest.approx(many.ratio.low) and one.ratio.high == pytest.approx(many.ratio.high)

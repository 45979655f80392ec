"""The pages on warehouses that are missing, empty, tiny, hostile, broken, and replaced while somebody looks."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app import queries, store
from app.findings import QUESTIONS
from app.findings.evidence import Evidence, Selection
from app.units import age, count, duration, percent, size
from tests.app import dumps
from warehouse.home import Home

REPORT = (
    "summary", "cold_starts", "active_periods", "prediction_accuracy", "slas", "optimisations", "experiments",
    "planners_and_cost", "failures", "predictors",
)  # fmt: skip
PAGES = (*REPORT, "what_if", "run", "sql", "data")


def visit(home: Home, page: str, monkeypatch: pytest.MonkeyPatch, **query: str | list[str]) -> AppTest:
    monkeypatch.setenv("FLOWSCOPE_HOME", str(home.root))
    at = AppTest.from_file(str(dumps.ROOT / "app" / "main.py"), default_timeout=200)
    for name, value in query.items():
        at.query_params[name] = value
    return at.switch_page(f"pages/{page}.py").run()


def said(at: AppTest) -> str:
    """Everything the page says in prose, codes and boxes."""
    kinds = (
        at.markdown,
        at.text,
        at.caption,
        at.title,
        at.header,
        at.subheader,
        at.code,
        at.info,
        at.warning,
        at.error,
    )
    return "\n".join(str(element.value) for kind in kinds for element in kind)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return dumps.tiny(tmp_path_factory.mktemp("tiny") / "home")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home into which nothing was taken."""
    folder = tmp_path_factory.mktemp("empty")
    return dumps.take_in(folder / "home", folder / "nothing-here")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home of runs whose names are markup, or long."""
    folder = tmp_path_factory.mktemp("hostile")
    runs = [dumps.one_run(number, dumps.HOSTILE, dumps.LONG, dumps.HOSTILE) for number in range(6)]
    runs.append(dumps.one_run(7, dumps.LONG, dumps.HOSTILE, dumps.LONG))
    return dumps.take_in(folder / "home", dumps.write(folder / "dump", dumps.merged(*runs)))


@pytest.fixture
def reading(tiny: Home, monkeypatch: pytest.MonkeyPatch) -> store.Store:
    monkeypatch.setenv("FLOWSCOPE_HOME", str(tiny.root))
    return store.current()


@pytest.mark.parametrize("page", PAGES)
def test_without_a_warehouse_each_page_says_what_to_do(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = visit(Home(tmp_path), page, monkeypatch)
    assert not at.exception
    assert f"No warehouse in {tmp_path}. Hint: flowscope ingest PATH, or flowscope demo." in said(at)


@pytest.mark.parametrize("page", PAGES)
def test_without_runs_each_page_says_so(page: str, empty: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(empty, page, monkeypatch)
    assert not at.exception
    assert ("The warehouse holds no runs." in said(at)) == (page not in ("sql", "data"))


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("how", ["garbage", "dangling", "stranger"])
def test_a_broken_generation_is_a_sentence(
    page: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    home.generations.mkdir(parents=True)
    generation = home.generations / "000001.duckdb"
    if how == "garbage":
        generation.write_bytes(b"this is no database" * 1000)
    if how == "stranger":
        from warehouse.connection import open_writer

        open_writer(generation, home).close()
    home.current.symlink_to(Path("generations/000001.duckdb"))
    at = visit(home, page, monkeypatch)
    assert not at.exception
    assert ("No warehouse in" if how == "dangling" else "flowscope ingest publishes it anew") in said(at)


@pytest.mark.parametrize("page", PAGES)
def test_each_page_shows_a_tiny_warehouse(page: str, tiny: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(tiny, page, monkeypatch)
    assert not at.exception
    assert at.title[0].value.lower().replace("&", "and").replace(" ", "_").replace("-", "_") == page
    assert not at.error


@pytest.mark.parametrize("page", PAGES)
def test_each_page_shows_the_recorded_runs(page: str, sample_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(sample_home, page, monkeypatch)
    assert not at.exception
    assert not at.error
    assert "a fault of flowscope" not in said(at)
    assert len(at.subheader) >= 1 or page not in REPORT[1:] or page == "predictors"  # nothing is evaluated there


def test_the_summary_has_every_question(sample_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    text = said(visit(sample_home, "summary", monkeypatch))
    for question in QUESTIONS:
        assert f"**{question.text}**" in text, question.code


def test_every_question_stands_on_a_page_of_the_report() -> None:
    assert {question.page for question in QUESTIONS} == set(REPORT[1:])
    assert [question.code for question in QUESTIONS] == [f"F{number:02d}" for number in range(1, 25)]


def test_the_summary_counts_what_is_there(tiny: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(tiny, "summary", monkeypatch)
    text = said(at)
    assert (
        "**7 runs** of 2 workflows under 1 planner in 1 environment, submitted on 2026-01-01 from 10:00 to 10:09 UTC"
        in text
    )
    assert "Nothing was rejected." in text
    assert (
        "**1 run** has no plan, hence no prediction: 1 are the first" not in text
        or "a planner without history makes no plan" in text
    )
    assert {metric.label: metric.value for metric in at.metric}["Tasks"] == "14"


def test_the_summary_says_what_was_rejected_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = dumps.write(tmp_path / "dump", dumps.one_run(1))
    with (folder / "tasks-x.jsonl").open("a") as file:
        file.write("this is not json\n")
    at = visit(dumps.take_in(tmp_path / "home", folder), "summary", monkeypatch)
    assert not at.exception
    reasons = next(frame.value for frame in at.dataframe if "meaning" in frame.value.columns)
    assert reasons[["reason", "meaning", "rejects"]].values.tolist() == [
        ["not_json", "the line is not a JSON object", 1]
    ]


def test_accuracy_follows_the_address_and_computes_its_sentence(tiny: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(tiny, "prediction_accuracy", monkeypatch, metric="execution", level="task", workflow="wf")
    assert not at.exception
    assert at.selectbox(key="metric").value == "execution"
    assert at.selectbox(key="level").value == "task"
    text = said(at)
    assert "`PlannerA` at `p50` predicts **execution** best" in text
    assert "At task level every task counts by itself" in text
    assert "12 predictions: all have a relative error." in text


def test_accuracy_of_a_selection_of_one_workflow_is_that_of_the_view(reading: store.Store) -> None:
    evidence = Evidence(lambda sql, parameters: reading.frame(sql, **parameters), Selection((("workflow", ("wf",)),)))
    found = evidence.frame(queries.ACCURACY, predictor="engine", level="task", metric="execution")
    view = reading.frame(
        f"select {', '.join(found.columns)} from prediction_accuracy_over_time "
        "where predictor = 'engine' and level = 'task' and metric = 'execution' and workflow = 'wf' order by planner, sla, run_ordinal"
    )
    assert len(found) == 6
    assert found.round(12).equals(view.round(12))


@pytest.mark.parametrize("page", REPORT)
def test_a_filter_in_the_address_selects_the_runs(page: str, tiny: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(tiny, page, monkeypatch, workflow="wf", environment="here")
    assert not at.exception
    assert "About 6 of 7 runs: workflow `wf`; environment `here`." in said(at)
    assert at.multiselect(key="workflow").value == ["wf"]


@pytest.mark.parametrize("page", REPORT)
def test_a_filter_that_leaves_no_run_says_so(page: str, tiny: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(tiny, page, monkeypatch, workflow="other", sla="p50")
    assert not at.exception
    assert "No run meets all filters. Hint: clear one of the filters in the sidebar." in said(at)


def test_filters_by_tag_and_day_select_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = dumps.merged(*(dumps.one_run(number) for number in range(6)))
    tables["run_tags"] = [
        {"run_id": run["run_id"], "tag": "switch", "value": "on" if number < 2 else "off"}
        for number, run in enumerate(tables["runs"])
    ]
    home = dumps.take_in(tmp_path / "home", dumps.write(tmp_path / "dump", tables))
    at = visit(home, "failures", monkeypatch, tag="switch = on")
    assert "About 2 of 6 runs: tag `switch` `on`." in said(at)
    at = visit(
        home, "failures", monkeypatch, tag=["switch = on", "switch = off"], since="2026-01-01", until="2026-01-01"
    )
    assert (
        "About 6 of 6 runs: tag `switch` `off` or `on`; submitted from 2026-01-01; submitted until 2026-01-01."
        in said(at)
        or ("tag `switch` `on` or `off`" in said(at))
    )
    at = visit(home, "failures", monkeypatch, since="2026-01-02")
    assert "No run meets all filters." in said(at)


def test_an_address_that_filters_by_what_is_not_there_says_so(tiny: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(tiny, "failures", monkeypatch, workflow="gone")
    assert not at.exception
    assert "The address asks for a workflow that is not among these runs, so it is left out:" in said(at)
    assert "About all 7 runs." in said(at)


def test_choosing_a_filter_changes_the_answers(tiny: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(tiny, "prediction_accuracy", monkeypatch)
    before = said(at)
    at.multiselect(key="workflow").select("other").run()
    assert not at.exception
    assert "About 1 of 7 runs" in said(at)
    assert "No run of this selection has a prediction that can be compared" in said(at)
    at.multiselect(key="workflow").unselect("other").run()
    assert said(at) == before


def test_groups_are_compared_by_what_the_address_says(sample_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(sample_home, "experiments", monkeypatch, compare_by="tag launch", reference="normal", by="makespan")
    assert not at.exception
    text = said(at)
    assert (
        "Makespan of `fast` is 0.82 times (95 % interval 0.76 to 0.88) that of `normal`: **makespan is lower** with `fast`."
        in text
    )
    assert "48 pairs of runs alike in" in text


def test_download_carries_its_caveat(tiny: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(tiny, "prediction_accuracy", monkeypatch, metric="download")
    assert "is understated" in at.warning[0].value
    assert "where nothing happened (0 observed)" in said(at)


def test_without_plans_accuracy_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = dumps.take_in(tmp_path / "home", dumps.write(tmp_path / "dump", dumps.one_run(1, planned=False)))
    at = visit(home, "prediction_accuracy", monkeypatch)
    assert not at.exception
    assert "No run of this selection has a prediction that can be compared" in said(at)
    at = visit(home, "run", monkeypatch)
    assert "No plans in this source (`hand`): nobody predicted the run beforehand." in said(at)
    home = dumps.take_in(
        tmp_path / "both", dumps.write(tmp_path / "d", dumps.merged(dumps.one_run(1, planned=False), dumps.one_run(2)))
    )
    assert "This run has no plan" in said(visit(home, "run", monkeypatch, run="run-wf-1")), "the engine plans others"


@pytest.mark.parametrize("page", ["prediction_accuracy", "slas", "planners_and_cost", "predictors"])
def test_pages_about_plans_say_once_which_source_has_none(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = dumps.one_run(1, "log", planned=False)
    other["runs"][0]["engine"] = "other"
    home = dumps.take_in(tmp_path / "home", dumps.write(tmp_path / "d", dumps.merged(other, dumps.one_run(2))))
    (info,) = visit(home, page, monkeypatch).info
    assert info.value.startswith("No plans in 1 run of `other`: this source records none.")
    assert not visit(home, page, monkeypatch, workflow="wf").info, "none of its runs is selected"


def test_a_run_is_reached_by_its_address(tiny: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(tiny, "run", monkeypatch, run="run-wf-2")
    assert not at.exception
    assert at.code[0].value == "run-wf-2"
    figures = {metric.label: metric.value for metric in at.metric}
    assert figures["Makespan observed"] == "1.20 s"
    assert figures["Makespan predicted"] == "2.00 s"
    assert figures["Tasks seen / expected"] == "2 / 2"
    assert figures["Worker starts"] == "1 cold"


def test_an_address_of_no_run_says_so(tiny: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(tiny, "run", monkeypatch, run="run-gone")
    assert not at.exception
    assert "No run run-gone in this generation." in said(at)


def test_choosing_a_run_shows_it(tiny: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(tiny, "run", monkeypatch)
    other = next(option for option in at.selectbox[0].options if option.startswith("other"))
    at.selectbox[0].select(other).run()
    assert not at.exception
    assert at.code[0].value == "run-other-9"
    at.multiselect(key="workflow").select("wf").run()
    assert not at.exception
    assert at.code[0].value.startswith("run-wf-")
    assert not any(option.startswith("other") for option in at.selectbox[0].options)


def test_a_query_in_the_address_is_run(tiny: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(tiny, "sql", monkeypatch, q="select 41 + 1 as answer")
    assert not at.exception
    assert any("answer" in frame.value.columns and frame.value.iloc[0, 0] == 42 for frame in at.dataframe)


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("drop table runs", "DROP is not allowed"),
        ("select 1; select 2", "2 statements"),
        ("select nothing from runs", "nothing"),
        ("select * from read_csv('/etc/passwd')", "disabled"),
        ("", "There is no query"),
    ],
)
def test_a_query_that_is_refused_is_a_sentence(
    sql: str, sentence: str, tiny: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = visit(tiny, "sql", monkeypatch)
    at.text_area(key="q").set_value(sql).run()
    at.button[0].click().run()
    assert not at.exception
    assert sentence in said(at)


def test_values_of_every_kind_can_be_shown(tiny: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(
        tiny, "sql", monkeypatch,
        q="select 1 as a, 2 as a, [1, 2] as l, {'x': 1} as s, map {'k': 2} as m, 170141183460469231731687303715884105727::hugeint as h,"
        " 1.5::decimal(4, 1) as d, interval 3 days as i, date '2026-01-01' as dt, time '10:00' as t, 'x'::blob as b, null as n,"
        " now() as tz, uuid() as u, true as bo, 'nan'::double as f",
    )  # fmt: skip
    assert not at.exception
    assert not at.error
    assert any("a (2)" in frame.value.columns for frame in at.dataframe), said(at)


def test_a_result_is_cut_and_says_so(reading: store.Store) -> None:
    cut = reading.preview("select * from range(25000)")
    assert (cut.table.num_rows, cut.truncated) == (store.SHOWN_ROWS, True)
    whole = reading.preview("select * from range(10000)")
    assert (whole.table.num_rows, whole.truncated) == (10_000, False)
    wide = reading.preview("select repeat('x', 100000) as x from range(2000)")
    assert wide.truncated
    assert wide.table.nbytes <= 2 * store.SHOWN_BYTES


def test_an_export_holds_the_rows_and_no_more_than_its_bound(
    reading: store.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "EXPORTED_ROWS", 7)
    assert reading.export("select 1 as a, null as b", "csv") == b"a,b\n1,\n"
    assert len(reading.export("select * from range(100)", "csv").splitlines()) == 8
    assert reading.export("select 1 as a", "parquet").startswith(b"PAR1")


@pytest.mark.parametrize("page", PAGES)
def test_hostile_names_stay_text(page: str, hostile: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(hostile, page, monkeypatch)
    assert not at.exception
    read_as_markdown = [
        str(element.value)
        for kind in (
            at.markdown,
            at.caption,
            at.info,
            at.warning,
            at.error,
            at.title,
            at.header,
            at.subheader,
            at.metric,
        )
        for element in kind
    ]
    for text in read_as_markdown:
        outside = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", text)
        assert "<img" not in outside and "<script" not in outside and "\\frac" not in outside
        assert "\u202e" not in text
        assert len(text) < 2_500
    assert all(len(option) < 200 for box in at.selectbox for option in box.options)


def test_a_generation_published_meanwhile_is_picked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = dumps.take_in(tmp_path / "home", dumps.write(tmp_path / "dump", dumps.one_run(1)))
    pages = {page: visit(home, page, monkeypatch) for page in PAGES}
    assert [page for page, at in pages.items() if "Generation 1," not in said(at)] == []
    before = store.current()
    for number in range(2, 5):
        dumps.take_in(tmp_path / "home", dumps.write(tmp_path / f"more{number}", dumps.one_run(number)))
        for page, at in pages.items():
            at.run()
            assert not at.exception, page
            assert f"Generation {number}," in said(at), page
            if page in REPORT:
                assert f"About all {number} runs." in said(at), page
    assert before.reader.value("select count(*) from runs") == 1


def test_a_home_made_anew_is_not_mistaken_for_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dump = dumps.write(tmp_path / "dump", dumps.one_run(1))
    at = visit(dumps.take_in(tmp_path / "home", dump), "summary", monkeypatch)
    shutil.rmtree(tmp_path / "home")
    dumps.take_in(tmp_path / "home", dumps.write(dump, dumps.merged(dumps.one_run(1), dumps.one_run(2))))
    at.run()
    assert "**2 runs**" in said(at)


def test_figures_read_as_people_write_them() -> None:
    from datetime import timedelta

    assert [duration(value) for value in (0.123, 12.3, 999, 1234, 119_000, 600_000, 1e8, None)] == [
        "0.12 ms", "12.3 ms", "999 ms", "1.23 s", "119 s", "10.0 min", "27.8 h", "unknown",
    ]  # fmt: skip
    assert [size(value) for value in (0, 999, 1500, 2.5e9)] == ["0 B", "999 B", "1.50 kB", "2.50 GB"]
    assert (percent(0.1234), count(1, "run"), count(1234, "run")) == ("12.3 %", "1 run", "1,234 runs")
    assert [age(timedelta(minutes=m)) for m in (0, 1, 89, 91, 3000)] == [
        "just now",
        "1 minute ago",
        "89 minutes ago",
        "2 hours ago",
        "2 days ago",
    ]


def _show(tables: dict[str, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    home = dumps.take_in(tmp_path / "home", dumps.write(tmp_path / "dump", tables))
    at = visit(home, "run", monkeypatch, run=tables["runs"][0]["run_id"])
    assert not at.exception
    return at


def test_a_run_says_what_its_critical_path_consisted_of(tiny: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(tiny, "run", monkeypatch, run="run-wf-2")
    text = said(at)
    # Submitted at 0; the worker is asked for at 100 ms and ready at 400; f+a executes 200 and uploads 10, until 610; f+b
    # executes from 700 until 1200, so 100 ms before the request and 90 ms before f+b are explained by nothing.
    assert (
        "The observed critical path has 2 tasks and takes the whole makespan, **1.20 s**: execution 700 ms (58.3 %), "
        "start-up of workers 300 ms (25.0 %), gap 190 ms (15.8 %), upload 10.0 ms (0.83 %)."
    ) in text
    assert "2 of the 2 tasks on the observed path are on it." in text
    steps = next(frame.value for frame in at.dataframe if "whole step (ms)" in frame.value.columns)
    assert steps[["step", "worker", "whole step (ms)", "planned path"]].values.tolist() == [
        [1, "w1", 610.0, "on it"],
        [2, "w1", 590.0, "on it"],
    ]


def test_a_run_without_a_sink_or_a_plan_still_has_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = dumps.one_run(2, planned=False)
    del tables["runs"][0]["sink_task_id"]
    at = _show(tables, tmp_path, monkeypatch)
    assert "the observed critical path ends at the task that ended last, `f+b`. It has 2 tasks" in said(at)
    assert "The planner expected" not in said(at)


def test_a_run_of_unknown_dag_workers_and_times_says_what_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = dumps.one_run(2, planned=False)
    (row,) = tables["runs"]
    for name in ("planner", "sink_task_id", "expected_tasks", "environment"):
        del row[name]
    row["finished_at"] = "2026-01-01T10:02:03"
    for task in tables["tasks"]:
        del task["worker_id"], task["input_wait_ms"], task["upload_ms"]
    tables["edges"], tables["invocations"] = [], []
    at = _show(tables, tmp_path / "a", monkeypatch)
    text = said(at)
    assert "Workflow `wf`, on engine `hand`, submitted" in text
    assert "The source does not say which tasks this run has" in text
    assert "The source records no start of a worker" in text
    assert "no dependencies between the 2 tasks of this run" in text and "observed critical path has" not in text
    assert "`?`: tasks whose source does not say on which worker they ran" in text
    assert "flexible workers never do" not in text, "there is no download to estimate a wait by"
    assert at.selectbox[0].value == "wf · 2026-01-01 10:02:00", "no planner and no SLA: none is named"
    for task in tables["tasks"]:
        del task["started_at"]
    text = said(_show(tables, tmp_path / "b", monkeypatch))
    assert "No task records when it started" in text and "There is nothing to draw" in text


def test_a_request_that_was_killed_says_why_its_makespan_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = dumps.one_run(2, planned=False)
    tables["tasks"], tables["edges"] = tables["tasks"][1:], []
    tables["runs"][0]["expected_tasks"] = 1
    tables["tasks"][0] |= {"status": "killed", "error_type": "timeout"}
    text = said(_show(tables, tmp_path, monkeypatch))
    assert "The makespan is unknown: 1 task failed or was killed, so that nothing came of the run." in text
    assert "tasks are shown in one layer" not in text, "one task needs no dependencies"


def test_what_if_says_what_a_run_lacks_to_be_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = dumps.one_run(2, planned=False)
    del tables["runs"][0]["sink_task_id"]
    home = dumps.take_in(tmp_path / "home", dumps.write(tmp_path / "dump", tables))
    text = said(visit(home, "what_if", monkeypatch))
    assert "This run cannot be played forward: its source does not record its last task (the sink). Hint:" in text


def test_the_summary_tells_runs_of_unknown_dag_and_engines_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = dumps.one_run(3, "log", planned=False)
    (row,) = other["runs"]
    for name in ("planner", "sink_task_id", "expected_tasks"):
        del row[name]
    row |= {"engine": "other", "finished_at": "2026-01-01T10:03:03"}
    other["edges"] = []
    home = dumps.take_in(tmp_path / "home", dumps.write(tmp_path / "dump", dumps.merged(dumps.one_run(2), other)))
    at = visit(home, "summary", monkeypatch)
    text = said(at)
    assert "**2 runs** of 2 workflows by 2 engines under 1 planner in 1 environment" in text
    assert "1 run left metrics of every task, 0 did not, of 1 the end is recorded but not which tasks they have" in text
    assert "No run is known to be incomplete." in text and "a lost task would not show" in text
    assert "1 of engines that record no plans" in text and "give no reason" not in text
    table = next(frame.value for frame in at.dataframe if "planned_runs" in frame.value.columns).set_index("engine")
    assert table[["runs", "planned_runs", "runs_of_known_dag", "tasks", "invocations"]].to_dict("index") == {
        "hand": {"runs": 1, "planned_runs": 1, "runs_of_known_dag": 1, "tasks": 2, "invocations": 1},
        "other": {"runs": 1, "planned_runs": 0, "runs_of_known_dag": 0, "tasks": 2, "invocations": 1},
    }


def test_a_run_without_edges_submission_or_workers_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = dumps.one_run(2)
    del tables["runs"][0]["submitted_at"]
    tables["edges"], tables["invocations"] = [], []
    at = _show(tables, tmp_path, monkeypatch)
    assert "The source recorded no dependencies" in said(at)
    assert "how long it took is unknown" in said(at)


def test_each_attempt_is_drawn_and_the_path_counts_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = dumps.one_run(2)
    again = {**tables["tasks"][1], "attempt": 2, "started_at": "2026-01-01T10:02:02.000"}
    tables["tasks"][1]["status"] = "failed"
    tables["tasks"].append(again)
    tables["task_inputs"] = [
        {"run_id": again["run_id"], "task_id": again["task_id"], "object_id": name, "input_bytes": 1, "download_ms": ms}
        for name, ms in (("a", 5.0), ("b", 7.0))
    ]
    at = _show(tables, tmp_path, monkeypatch)
    assert "takes the whole makespan, **2.50 s**" in said(at)
    tasks = store.current().frame(queries.RUN_TASKS, run=again["run_id"])
    assert tasks["start_ms"].tolist() == [400.0, 700.0, 2000.0]
    assert tasks["longest_download_ms"].fillna(0).tolist() == [0.0, 0.0, 7.0]
    assert tasks["download_ms"].fillna(0).tolist() == [0.0, 0.0, 12.0]


def test_a_worker_of_a_run_knows_who_took_over_its_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = dumps.merged(dumps.one_run(1), dumps.one_run(2))
    first, second = tables["invocations"]
    first["container_id"] = second["container_id"] = "c"
    second["reported_state"] = "warm"
    _show(tables, tmp_path, monkeypatch)
    reading = store.current()
    taken = reading.frame(queries.RUN_WORKERS, run=first["run_id"]).iloc[0]
    assert (taken["reused_ms"], taken["reused_by"], taken["reused_here"]) == (60_100.0, "w", False)
    assert reading.frame(queries.RUN_WORKERS, run=second["run_id"])["reused_ms"].isna().all()


def test_recorded_runs_of_every_kind_are_shown(sample_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSCOPE_HOME", str(sample_home.root))
    kinds = store.current().frame(
        "select planner, is_complete, arg_max(run_id, workers) as run_id from run_summary group by all order by all"
    )
    assert len(kinds) > 6
    for run in kinds["run_id"]:
        at = visit(sample_home, "run", monkeypatch, run=run)
        assert not at.exception
        assert "critical path" in said(at) or "no DAG to draw" in said(at)


def test_runs_without_the_name_of_their_workflow_have_a_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = dumps.merged(dumps.one_run(1), dumps.one_run(2))
    del tables["runs"][0]["workflow"]
    home = dumps.take_in(tmp_path / "home", dumps.write(tmp_path / "dump", tables))
    at = visit(home, "summary", monkeypatch)
    assert not at.exception
    assert "**Workflow** (none)" in said(at)


def test_runs_that_left_nothing_to_compare_are_told_on_experiments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"run_id": f"r{n}", "workflow": "wf", "planner": "AB"[n % 2]} for n in range(8)]
    home = dumps.take_in(tmp_path / "home", dumps.write(tmp_path / "dump", {"runs": rows}))
    at = visit(home, "experiments", monkeypatch)
    assert not at.exception
    assert "None of these runs left a makespan, a cost or a duration to compare them by." in said(at)


def test_a_query_too_long_for_the_page_is_not_run_in_part(tiny: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(tiny, "sql", monkeypatch, q=f"select count(*) as runs from runs where true {' ' * 20_000} and false")
    assert not at.exception
    assert "it was cut, and not run" in said(at)
    assert not any("runs" in frame.value.columns for frame in at.dataframe)


def test_an_answer_that_failed_is_tried_again(tiny: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_question: object, _evidence: object) -> None:
        raise MemoryError("none left")

    with monkeypatch.context() as broken:
        broken.setattr("app.findings.find", fails)
        at = visit(tiny, "failures", monkeypatch, environment="here")
        assert "could not be computed" in at.error[0].value
    at.run()
    assert not at.error
    assert "could not be computed" not in said(at)


def test_a_run_is_linked_through_filters(tiny: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.run_choice.MOST_RUNS", 2)
    at = visit(tiny, "run", monkeypatch, run="run-wf-0", workflow="wf")
    assert at.code[0].value == "run-wf-0"
    at = visit(tiny, "run", monkeypatch, run="run-wf-0", workflow="other")
    assert at.code[0].value == "run-other-9"
    assert "No run run-wf-0 among those the filters select. Showing the newest instead." in said(at)

"""The What-if page: one run replayed and changed, many of them, what cannot be simulated, and its address."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from playwright.sync_api import expect
from streamlit.testing.v1 import AppTest

from tests.app import dumps
from tests.app.browsing import CHROMIUM, choose, chromium, opened, served, settled
from tests.app.test_pages import said, visit
from tests.app.test_what_if import summary
from tests.predictors.simulation.logs import Rows, diamond, home_of, together
from warehouse.home import Home
from warehouse.writer import Writer

HALF = {"key": "startup_factor", "value": "0.5"}
"""A run of `diamond` takes 516 ms: half the start-up of its two workers, one after the other, takes 100 off."""


def lost(run: str, at_ms: float) -> Rows:
    """A run whose last task left no metrics."""
    log = diamond(run, at_ms, engine="octoflows")
    return log | {"tasks": [row for row in log["tasks"] if row["task_id"] != "d"]}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Seven runs that replay, of two workflows, and one that is not complete."""
    runs = [
        diamond(f"d{number}", 60_000.0 * number, engine="octoflows", workflow="v" if number == 6 else "w")
        for number in range(7)
    ]
    return home_of(tmp_path_factory.mktemp("what-if"), together(*runs, lost("lost", 600_000.0)))


def metrics(at: AppTest) -> dict[str, tuple[Any, Any]]:
    return {metric.label: (metric.value, metric.delta) for metric in at.metric}


def test_a_run_is_shown_observed_replayed_and_changed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(home, "what_if", monkeypatch, run="d3", **HALF)
    assert not at.exception
    text = said(at)
    assert "With `startup_factor=0.5` this run takes 100 ms shorter (so in 20 plays): 416 ms instead of 516 ms." in text
    assert "**This run replays.**" in text
    assert "observed 516 ms, replayed 516 ms" in text
    assert metrics(at)["Makespan with the change"] == ("416 ms", "−100 ms")
    assert metrics(at)["Cold starts with the change"] == ("2", "+0")
    assert "flowscope simulate d3 --set startup_factor=0.5 --draws 20" in text
    assert "The page learns from at most" not in text
    tasks, workers = (frame.value for frame in at.dataframe[:2])
    last = tasks.iloc[-1]
    sides = ("observed", "replayed", "changed")
    assert [last[f"output there (ms) {side}"] for side in sides] == pytest.approx([510, 510, 410])
    for worker in workers[[f"start-up (ms) {side}" for side in sides]].to_numpy().tolist():
        assert worker == pytest.approx([100, 100, 50])


def test_where_the_change_leaves_the_data_it_says_so(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    text = said(visit(home, "what_if", monkeypatch, run="d1", key="memory", value="512"))
    assert "Beware: here the change leaves what was recorded" in text
    assert "- what memory does to a is not known: it was seen at one size only" in text
    assert "- that less memory may kill a worker is not simulated" in text


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"key": "memory", "value": "lots"}, "memory cannot be 'lots'. Hint: a number above 0, such as memory=1024."),
        ({"key": "memroy"}, "'memroy=…' changes nothing that is known. Hint: did you mean memory=1024?"),
        ({"run": "lost"}, "Run lost is not complete, so it cannot be replayed."),
        ({"run": "d1", "key": "sla", "value": "p37"}, "No plan by p37 for the structure of run d1 is recorded."),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_a_sentence(
    query: dict[str, str], sentence: str, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = visit(home, "what_if", monkeypatch, **query)
    assert not at.exception
    assert sentence in said(at)
    assert "How close replays come" in said(at)


def test_many_runs_are_simulated_and_the_others_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """416 / 516 = 0.806."""
    at = visit(home, "what_if", monkeypatch, scope="all selected runs", **HALF)
    assert not at.exception
    text = said(at)
    assert "Simulated: 7 of 8 runs, each played 10 times. 1 run left no metrics of every task" in text
    assert "the **7 runs** whose makespan it touches (of 7 that replay): makespan 0.81x (0.81 to 0.81), lower" in text
    assert "flowscope simulate --runs true --set startup_factor=0.5 --draws 10" in text
    groups = next(frame.value for frame in at.dataframe if "touched" in frame.value.columns)
    assert groups[["workflow", "runs", "makespan_times"]].to_numpy().tolist() == [
        ["(all)", 7, 0.806], ["v", 1, 0.806], ["w", 6, 0.806],
    ]  # fmt: skip
    at = visit(home, "what_if", monkeypatch, scope="all selected runs", workflow="v", **HALF)
    assert "With fewer than 6 runs nothing is decided." in said(at)
    line = next(shlex.split(code.value) for code in at.code if code.value.startswith("flowscope simulate"))
    assert line[2:] == ["--runs", "(list_contains(['v'], workflow))", "--set", "startup_factor=0.5", "--draws", "10"]


def test_what_a_command_simulated_of_as_many_runs_is_shown_instead(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stored ones say 0.8, where the page would say 1: two gigabytes or one is all the same to these runs."""
    kept = Home(Path(shutil.copytree(home.root, tmp_path / "home", symlinks=True)))
    rows = [summary(f"d{number}", "memory=2048", draws=7) for number in range(7)]
    for stored in (rows[:6], rows):
        with Writer(kept) as writer:
            writer.put_results({"simulations": pa.Table.from_pylist(stored)})
            writer.publish()
        text = said(visit(kept, "what_if", monkeypatch, scope="all selected runs", key="memory", value="2048"))
        if len(stored) < 7:
            assert "`memory=2048` touches the makespan of none of the 7 runs that replay." in text
    assert "As `flowscope simulate` left it: 7 runs, each played 7 times. Not simulated: 1 of those selected." in text
    assert "makespan 0.80x (0.79 to 0.81), lower" in text
    assert "flowscope simulate --runs true --set memory=2048 --draws 7" in text


@pytest.fixture
def sizeless(tmp_path: Path) -> Home:
    """A run that replays, of which no memory was recorded."""
    log = diamond("sizeless")
    for table in ("tasks", "invocations"):
        log[table] = [row | {"memory_mb": None} for row in log[table]]
    return home_of(tmp_path, log)


def test_gb_seconds_of_unknown_memory_are_unknown(sizeless: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(sizeless, "what_if", monkeypatch, run="sizeless", **HALF)
    assert not at.exception
    assert metrics(at)["GB-seconds with the change"] == ("unknown", "difference unknown")
    assert metrics(at)["Makespan with the change"] == ("416 ms", "−100 ms")
    assert "observed unknown, replayed unknown" in said(at)
    many = said(visit(sizeless, "what_if", monkeypatch, scope="all selected runs", **HALF))
    assert "GB-seconds unknown. In brackets" in many


def test_where_other_memory_tells_nothing_the_page_says_so_and_shows_the_replay(
    sizeless: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"key": "memory", "value": "512"}
    at = visit(sizeless, "what_if", monkeypatch, run="sizeless", **asked)
    assert not at.exception
    sentence = "is not recorded, so what other memory does cannot be told."
    assert f"The memory of a worker of run sizeless {sentence}" in said(at)
    assert metrics(at)["Makespan replayed"] == ("516 ms", "")
    assert metrics(at)["GB-seconds replayed"] == ("unknown", "")
    at = visit(sizeless, "what_if", monkeypatch, scope="all selected runs", **asked)
    assert "None of these runs can be simulated with this change." in said(at)
    (reasons,) = (frame.value for frame in at.dataframe if "reason" in frame.value.columns)
    assert reasons[["reason", "runs"]].to_numpy().tolist() == [[f"The memory of a worker of run … {sentence}", 1]]


def test_where_the_page_learns_from_fewer_runs_than_the_command_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.what_if.MOST_LEARNT", 2)
    home = home_of(
        tmp_path, together(*(diamond(f"n{number}", 60_000.0 * number, engine="octoflows") for number in range(3)))
    )
    text = said(visit(home, "what_if", monkeypatch, run="n1", **HALF))
    assert "learnt from the newest 2 runs. The page learns from at most the newest 2 runs, the command from all" in text


def test_without_anything_stored_it_says_how_to_get_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    text = said(visit(home, "what_if", monkeypatch, run="d1"))
    assert (
        "No plain replay is stored, so nothing tells how close they come. Hint: flowscope simulate --runs true." in text
    )
    assert "Nothing is stored yet. Hint: flowscope simulate --runs true --set" in text


def test_names_that_would_be_markup_are_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = together(
        *(
            diamond(f"d{number}", 60_000.0 * number, engine="octoflows", workflow=dumps.HOSTILE, planner=dumps.LONG)
            for number in range(7)
        )
    )
    log["tasks"] = [row | {"function": dumps.HOSTILE} for row in log["tasks"]]
    home = home_of(tmp_path, log)
    for scope in ("one run", "all selected runs"):
        at = visit(home, "what_if", monkeypatch, scope=scope, key="memory", value="512")
        assert not at.exception
        markdown = [str(element.value) for kind in (at.markdown, at.caption) for element in kind]
        assert not any("<img" in text for text in markdown)
        assert "- what memory does to <img src=x onerror=alert(1)> **bold**" in "".join(text.value for text in at.text)


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine: `make system` installs it")
def test_another_thing_starts_from_its_own_values_and_the_address_keeps_them(home: Home, tmp_path: Path) -> None:
    with served(home) as address, chromium() as browser:
        with opened(browser, f"{address}/what_if?run=d1&key=memory&value=1536") as visit:
            page = visit.page
            expect(page.get_by_text("With memory=1536 this run takes as long")).to_be_visible(timeout=30_000)
            choose(page, "What is different", "startup_factor")
            expect(page.get_by_text("With startup_factor=0.33 this run takes 134 ms shorter")).to_be_visible(
                timeout=30_000
            )
            value = page.get_by_role("combobox", name="Value")
            value.fill("0.5")
            value.press("Enter")
            expect(page.get_by_text("With startup_factor=0.5 this run takes 100 ms shorter")).to_be_visible(
                timeout=30_000
            )
            page.wait_for_url("**value=0.5**")
            settled(page)
            with page.expect_download() as download:
                page.get_by_role("button", name="CSV", exact=True).first.click()
            download.value.save_as(tmp_path / "what-if.csv")
            assert (
                (tmp_path / "what-if.csv")
                .read_text()
                .startswith("run_id,scenario,level,thing,metric,observed,replayed,simulated")
            )
            with page.expect_download() as download:
                page.get_by_role("button", name="Save the chart as SVG").first.click()
            download.value.save_as(tmp_path / "chart.svg")
            assert (tmp_path / "chart.svg").read_bytes().startswith(b"<svg")
            link = page.url
            assert visit.complaints == []
        with opened(browser, link) as colleague:
            expect(colleague.page.get_by_text("With startup_factor=0.5 this run takes 100 ms shorter")).to_be_visible(
                timeout=30_000
            )
            assert colleague.complaints == []

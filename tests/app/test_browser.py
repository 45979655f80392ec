"""The app in a real browser: every page, wide and narrow, light and dark, without a complaint in the console."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, expect

from tests.app import dumps
from tests.app.browsing import CHROMIUM, choose, chromium, opened, served, settled, whole

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine: `make system` installs it"),
]
ARTIFACTS = dumps.ROOT / "test-artifacts"
REPORT = (
    "summary", "cold_starts", "active_periods", "prediction_accuracy", "slas", "optimisations", "experiments",
    "planners_and_cost", "failures", "predictors",
)  # fmt: skip
PAGES = (*REPORT, "what_if", "run", "sql", "data")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(dumps.sample(tmp_path_factory.mktemp("sample") / "home")) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_draws_itself(
    width: int, height: int, scheme: Literal["light", "dark"], address: str, browser: Browser
) -> None:
    ARTIFACTS.mkdir(exist_ok=True)
    with opened(browser, f"{address}/{PAGES[0]}", width, height, scheme) as visit:
        for page in PAGES:
            if page != PAGES[0]:
                visit.page.set_viewport_size({"width": width, "height": height})
                visit.page.goto(f"{address}/{page}")
                settled(visit.page)
            whole(visit.page, width)
            visit.page.screenshot(path=ARTIFACTS / f"{page}-{width}-{scheme}.png")
            assert (
                visit.page.locator("h1").inner_text().lower().replace("&", "and").replace(" ", "_").replace("-", "_")
                == page
            )
            for chart in visit.page.locator("[data-testid=stVegaLiteChart]").all():
                assert len(chart.get_attribute("aria-label") or "") > 20, f"{page} has a chart without words"
            assert visit.page.locator("[data-testid=stException]").count() == 0
            assert visit.page.locator("[role=dialog]").count() == 0
            main = visit.page.locator("[data-testid=stMain]")
            assert main.evaluate("main => main.scrollWidth - main.clientWidth") <= 0, f"{page} scrolls sideways"
            assert visit.complaints == [], page


def test_the_root_is_the_summary(address: str, browser: Browser) -> None:
    with opened(browser, address) as visit:
        assert visit.page.locator("h1").inner_text() == "Summary"
        links = visit.page.locator("[data-testid=stSidebarNav] a").all_inner_texts()
        assert [text.split("\n")[-1] for text in links] == [
            "Summary", "Cold starts", "Active periods", "Prediction accuracy", "SLAs", "Optimisations", "Experiments",
            "Planners & cost", "Failures", "Predictors", "What-if", "Run", "SQL", "Data",
        ]  # fmt: skip


def test_a_filter_goes_through_every_page_and_its_address_is_a_link(address: str, browser: Browser) -> None:
    with opened(browser, f"{address}/failures") as visit:
        page = visit.page
        page.get_by_text("Filter runs").click()
        page.get_by_role("combobox", name="Workflow").click()
        page.get_by_role("option", name="matmul").click()
        page.wait_for_url("**workflow=matmul**")
        page.get_by_text(re.compile(r"About \d+ of 540 runs: workflow matmul")).wait_for()
        settled(page)
        for name in ("Optimisations", "Data", "SLAs"):
            page.locator("[data-testid=stSidebarNav] a").get_by_text(name).click()
            page.wait_for_function(f"document.querySelector('h1')?.innerText === '{name}'")
            settled(page)
            assert "workflow=matmul" in page.url
        said = page.get_by_text(re.compile("About .* runs: workflow matmul")).inner_text()
        assert visit.complaints == []
    with opened(browser, page.url) as colleague:
        assert colleague.page.get_by_text(re.compile("About .* runs: workflow matmul")).inner_text() == said
    with opened(browser, f"{address}/?workflow=matmul") as root:
        assert root.page.url.endswith("/summary?workflow=matmul")
        assert root.complaints == []


def test_the_figure_and_the_data_of_a_finding_are_two_clicks_away(
    address: str, browser: Browser, tmp_path: Path
) -> None:
    with opened(browser, f"{address}/failures") as visit:
        for name, start in (("CSV", b""), ("Parquet", b"PAR1")):
            with visit.page.expect_download() as download:
                visit.page.get_by_role("button", name=name, exact=True).first.click()
            download.value.save_as(tmp_path / name)
            assert download.value.suggested_filename == f"F21.{name.lower()}"
            assert (tmp_path / name).read_bytes().startswith(start)
        with visit.page.expect_download() as download:
            visit.page.get_by_role("button", name="Save the chart as SVG").first.click()
        download.value.save_as(tmp_path / "chart.svg")
        assert (tmp_path / "chart.svg").read_bytes().startswith(b"<svg")
        assert visit.complaints == []


def test_groups_are_compared_by_choosing_them(address: str, browser: Browser) -> None:
    with opened(browser, f"{address}/experiments?compare_by=tag+launch&reference=normal") as visit:
        page = visit.page
        page.get_by_text("that of normal: makespan is lower with fast").wait_for()
        choose(page, "By", "GB-seconds")
        page.get_by_text("GB-seconds is lower").wait_for()
        assert "by=GB-seconds" in page.url
        assert visit.complaints == []


def test_an_address_chooses_the_metric_and_a_choice_changes_the_address(address: str, browser: Browser) -> None:
    with opened(browser, f"{address}/prediction_accuracy?metric=execution&level=task&measure=coverage") as visit:
        page = visit.page
        expect(page.locator("text=Share with observed ≤ predicted").first).to_be_visible(timeout=30_000)
        chart = page.locator(
            ".st-key-chart-accuracy-execution-task [data-testid=stVegaLiteChart], .st-key-chart-accuracy-upload-task [data-testid=stVegaLiteChart]"
        )
        expect(chart).to_have_attribute("aria-label", re.compile("coverage of predicted execution"), timeout=30_000)
        choose(page, "Metric", "upload")
        page.wait_for_url("**metric=upload**")
        expect(chart).to_have_attribute("aria-label", re.compile("predicted upload"), timeout=30_000)
        assert visit.complaints == []


@pytest.mark.parametrize(("button", "start"), [("SVG", b"<svg"), ("PNG", b"\x89PNG")])
def test_a_chart_is_saved(button: str, start: bytes, address: str, browser: Browser, tmp_path: Path) -> None:
    with opened(browser, f"{address}/prediction_accuracy") as visit:
        with visit.page.expect_download() as download:
            visit.page.locator(".st-key-chart-accuracy-makespan-run").wait_for()
            visit.page.get_by_role("button", name=f"Save the chart as {button}").last.click()
        download.value.save_as(tmp_path / "chart")
        assert download.value.suggested_filename == f"accuracy-makespan-run.{button.lower()}"
        assert (tmp_path / "chart").read_bytes().startswith(start)


def test_the_data_is_downloaded(address: str, browser: Browser, tmp_path: Path) -> None:
    with opened(browser, f"{address}/prediction_accuracy") as visit:
        with visit.page.expect_download() as download:
            visit.page.get_by_role("button", name="CSV").last.click()
        download.value.save_as(tmp_path / "data.csv")
        assert (
            (tmp_path / "data.csv").read_text().startswith("planner,sla,run_ordinal,submitted_at,run_id,relative_error")
        )


def test_a_query_runs_and_its_address_repeats_it(address: str, browser: Browser) -> None:
    with opened(browser, f"{address}/sql?q={quote('select 6 * 7 as answer')}") as visit:
        page = visit.page
        expect(page.get_by_text("1 row.")).to_have_count(1, timeout=30_000)
        page.get_by_label("Query", exact=True).fill("select * from no_such_table")
        page.get_by_role("button", name="Run").click()
        page.get_by_text("no_such_table does not exist").wait_for()
        page.wait_for_url("**no_such_table**")
        assert visit.complaints == []


def test_hostile_names_run_nothing(tmp_path: Path, browser: Browser) -> None:
    runs = [dumps.one_run(number, dumps.HOSTILE, dumps.LONG, dumps.HOSTILE) for number in range(3)]
    home = dumps.take_in(tmp_path / "home", dumps.write(tmp_path / "dump", dumps.merged(*runs)))
    with served(home) as address:
        asked: list[str] = []
        with opened(browser, address) as visit:
            visit.page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
            for page in PAGES:
                visit.page.goto(f"{address}/{page}")
                settled(visit.page)
                visit.page.screenshot(path=ARTIFACTS / f"{page}-hostile.png")
                assert visit.page.locator("img[onerror], a[href*='e.x'], .katex").count() == 0
                assert visit.page.locator("[data-testid=stException]").count() == 0
                assert (asked, visit.complaints) == ([], []), page


def test_a_port_in_use_is_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-c", "from flowscope import main; main()", "app", "--home", str(tmp_path), "--port", str(port)],
            capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
        )  # fmt: skip
    assert done.returncode == 1
    assert f"Error: Port {port} is in use. Hint: leave --port out, or give another." in done.stderr

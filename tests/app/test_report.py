"""The report: one file that needs nothing else, holds every finding, and shows what dumps say as text."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import altair as alt
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page

from app.findings import QUESTIONS
from app.findings.evidence import Selection
from app.report import MOST_FILES, MOST_TABLE_ROWS, TITLES, build
from app.svg import NARROW, WIDE, sanitised, to_svg
from tests.app import dumps
from tests.app.browsing import CHROMIUM, chromium
from tests.app.findings_by_hand import MADE, clipped, finding, full
from tests.dumps import flowscope
from warehouse.connection import open_current
from warehouse.home import Home

ARTIFACTS = dumps.ROOT / "test-artifacts"
CODES = [question.code for question in QUESTIONS]
in_a_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine: `make system` installs it"),
]
ALLOWED = {
    "html", "head", "meta", "link", "title", "style", "body", "header", "main", "section", "h1", "h2", "h3", "h4", "p", "div", "span",
    "a", "time", "strong", "em", "code", "pre", "ul", "li", "dl", "dt", "dd", "details", "summary", "figure", "table", "thead",
    "tbody", "tr", "th", "td", "svg", "g", "path", "rect", "line", "circle", "text", "tspan", "defs", "clippath", "lineargradient", "stop",
}  # fmt: skip


class Parsed(HTMLParser):
    """What a browser would see: tags with their attributes, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.pieces: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def all(self, name: str) -> list[str]:
        """The values of an attribute, wherever it stands."""
        return [attributes[name] for _, attributes in self.tags if name in attributes]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pieces).split())

    def saved(self, ending: str) -> dict[str, bytes]:
        """What the links that save files hold, by file name."""
        return {
            attributes["download"]: base64.b64decode(attributes["href"].partition("base64,")[2])
            for tag, attributes in self.tags
            if tag == "a" and attributes.get("download", "").endswith(ending)
        }


def is_self_contained(html: str) -> None:
    parsed = Parsed(html)
    assert {tag for tag, _ in parsed.tags} <= ALLOWED
    names = {name for _, attributes in parsed.tags for name in attributes}
    assert [name for name in names if name.startswith("on") or name in ("style", "srcset", "action")] == []
    references = [value for name in ("href", "src", "xlink:href", "data", "poster") for value in parsed.all(name)]
    assert [value[:80] for value in references if not value.startswith(("#", "data:"))] == []
    elsewhere = [
        value
        for _, attributes in parsed.tags
        for name, value in attributes.items()
        if "url(" in value and not re.fullmatch(r"url\(#[\w-]+\)", value)
    ]
    assert elsewhere == []
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style and "url(" not in style[1] and "@import" not in style[1]
    ids = parsed.all("id")
    assert len(ids) == len(set(ids))
    pointed = [value[1:] for value in references if value.startswith("#")]
    pointed += [found for value in parsed.all("clip-path") + parsed.all("fill") for found in re.findall(r"#([\w-]+)\)", value)]  # fmt: skip
    pointed += [found for value in parsed.all("aria-labelledby") for found in value.split()]
    assert [name for name in pointed if name not in ids] == []
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert any(value.startswith(policy) for value in parsed.all("content"))


@pytest.fixture(scope="module")
def file(sample_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the recorded runs, written by the command."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    done = flowscope(sample_home.root, "report", "-o", path)
    assert (done.returncode, done.stdout) == (0, "")
    assert [line.split()[0] for line in done.stderr.splitlines()] == [*CODES, "Wrote"]
    assert [one.name for one in path.parent.iterdir()] == ["report.html"]
    return path


@pytest.fixture
def tiny(tmp_path: Path) -> Home:
    return dumps.tiny(tmp_path / "home")


def html_of(home: Home, *findings: object, selection: Selection | None = None) -> str:
    with open_current(home) as reader:
        return build(reader, findings, selection or Selection(), MADE)  # type: ignore[arg-type]


# what is in it


def test_the_report_needs_nothing_outside_itself(file: Path) -> None:
    is_self_contained(file.read_text())


def test_the_report_holds_every_finding_and_leads_to_each_from_its_beginning(file: Path) -> None:
    parsed = Parsed(file.read_text())
    assert [name for name in parsed.all("id") if name in CODES and f"{name}-title" in parsed.all("id")] == [
        question.code for page in TITLES for question in QUESTIONS if question.page == page
    ]
    assert [value[1:] for value in parsed.all("href") if value[1:] in CODES] == CODES
    assert [question.code for question in QUESTIONS if " ".join(question.text.split()) not in parsed.text] == []


def test_the_report_names_the_data_it_rests_on(file: Path, sample_home: Home) -> None:
    text = Parsed(file.read_text()).text
    samples = dumps.ROOT / "ingest" / "samples"
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in samples.glob("**/*.parquet")]
    assert len(hashes) > 0
    assert [digest for digest in hashes if digest not in text] == []
    with open_current(sample_home) as reader:
        ((generation, published, version),) = reader.rows(
            "select generation, published_at, flowscope_version from generation_info"
        )
    assert f"generation {generation}, published {published:%Y-%m-%d %H:%M:%S} UTC by flowscope {version}" in text
    assert re.search(r"Made \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", text)
    for name in ("Python 3.", "duckdb 2.", "scikit-learn ", "scipy ", "540 runs", "519 complete, 21 incomplete", str(samples)):  # fmt: skip
        assert name in text


def test_files_are_listed_up_to_a_number_that_is_declared(tmp_path: Path) -> None:
    dump = dumps.write(tmp_path / "dump", dumps.one_run(1))
    for number in range(MOST_FILES + 5):
        (dump / f"prices-{number:03d}.jsonl").write_text(f'{{"environment": "e{number}"}}\n')
    home = dumps.take_in(tmp_path / "home", dump)
    with open_current(home) as reader:
        hashes = [digest for (digest,) in reader.rows("select sha256 from files order by source, key")]
    text = Parsed(html_of(home)).text
    assert f"(the first 200 of {len(hashes)})" in text
    assert [digest in text for digest in hashes] == [place < MOST_FILES for place in range(len(hashes))]


def test_a_table_is_cut_and_says_so_and_its_csv_is_whole(tiny: Home) -> None:
    parsed = Parsed(html_of(tiny, full("F08", "w")))
    assert "the first 50 of 60 rows; the CSV holds all" in parsed.text
    (content,) = parsed.saved(".csv").values()
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    assert rows[0] == ["workflow", "w", "share"]
    assert rows[1:4] == [["w", "0", "0.5"], ["w", "1", ""], ["w", "2", ""]]
    assert len(rows) == 1 + 60
    assert f'<td>w</td><td class="figure">{MOST_TABLE_ROWS - 1}</td>' in html_of(tiny, full("F08", "w"))


def test_charts_can_be_saved_and_say_what_they_show(tiny: Home) -> None:
    parsed = Parsed(html_of(tiny, full("F08", "w"), full("F09", "w")))
    assert list(parsed.saved(".svg")) == ["F08-bars.svg", "F08-bar.svg", "F09-bars.svg", "F09-bar.svg"]
    for content in parsed.saved(".svg").values():
        assert content.startswith(b"<svg")
        assert sanitised(content.decode(), "x")
    figures = [attributes for tag, attributes in parsed.tags if tag == "figure"]
    assert [(one["role"], one["aria-label"]) for one in figures] == [("img", "Bars of w."), ("img", "One bar.")] * 2
    assert sum(tag == "svg" for tag, _ in parsed.tags) == 2 * len(figures), "one for paper, one for a phone"


def test_every_part_of_a_finding_is_shown(tiny: Home) -> None:
    text = Parsed(html_of(tiny, full("F08", "w"))).text
    for part in (
        "mixed", "What about F08?", "makespan of w: 0.50 times (95 % interval 0.25 to no upper end)", "60 runs", "3 runs of w", "3 runs",
        "are few", "More runs of", "How this was computed: 2 queries", "select 2",
    ):  # fmt: skip
        assert part in text


def test_findings_stand_in_the_order_of_the_pages_and_a_page_nobody_knows_comes_last(tiny: Home) -> None:
    html = html_of(tiny, *(finding(code, page=page) for code, page in (("F01", "new_page"), ("F02", "failures"), ("F03", "cold_starts"))))  # fmt: skip
    titles = re.findall(r'<h2 id="section-\d+">(.*?)</h2>', html)
    assert titles == ["Cold starts", "Failures", "New page"]


def test_the_selection_is_named_and_its_runs_are_counted(tiny: Home, tmp_path: Path) -> None:
    done = flowscope(tiny.root, "report", "--where", "workflow = 'other'", "--findings", "F12", cwd=tmp_path)
    assert done.returncode == 0
    text = Parsed((tmp_path / "report.html").read_text()).text
    assert "This report answers from 1 of 7 runs: 1 run where workflow = 'other' ." in text
    assert "No selected run is incomplete." in text
    assert "1 selected run has no plan" in text
    assert "all that is loaded; the runs selected are part of it" in text
    assert "F13" not in text


def test_prices_are_named_with_their_source(tmp_path: Path) -> None:
    row = {"environment": "default", "gb_second_usd": 0.25, "request_usd": 0.5, "source": "a list of 2026", "as_of": "2026-01-02"}  # fmt: skip
    run = dumps.write(tmp_path / "dump", dumps.one_run(1))
    home = dumps.take_in(tmp_path / "home", run)
    assert "No prices are loaded" in Parsed(html_of(home)).text
    dumps.take_in(tmp_path / "home", dumps.write(tmp_path / "prices", {"prices": [row]}))
    text = Parsed(html_of(home)).text
    assert "default 0.25 0.5 a list of 2026 2026-01-02" in text
    assert "No prices are loaded" not in text


# what dumps say stays text


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    runs = [dumps.one_run(number, dumps.HOSTILE, dumps.HOSTILE + str(number), dumps.HOSTILE) for number in range(3)]
    tags = {"run_tags": [{"run_id": f"run-{dumps.HOSTILE[:20]}-{n}", "tag": dumps.HOSTILE, "value": dumps.HOSTILE} for n in range(3)]}  # fmt: skip
    home = dumps.take_in(tmp_path / "home", dumps.write(tmp_path / "dump", dumps.merged(*runs, tags), "<b>"))
    where = f"workflow <> '{dumps.LONG}<script>alert(1)</script>'"
    done = flowscope(home.root, "report", "--where", where, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    is_self_contained((tmp_path / "report.html").read_text())
    by_hand = html_of(home, full("F08", dumps.HOSTILE), full("F09", "\x00\x1b<b>'\"&amp;"), full("F10", "`</code><b>`"))
    is_self_contained(by_hand)
    assert "<img src=x onerror=alert(1)> **bold**" in Parsed(by_hand).text
    assert "<script>alert(1)</script>" in Parsed(by_hand).text


def test_a_drawing_keeps_shapes_and_text_alone() -> None:
    svg = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" onload="x()" width="1">
    <script>x()</script><style>@import url(http://e.x)</style><foreignObject><b/></foreignObject><image href="http://e.x/a.png"/>
    <a xlink:href="http://e.x"><text>lost with its link</text></a><use href="http://e.x#y"/><animate attributeName="href"/>
    <defs><clipPath id="clip0"><rect width="1.23456"/></clipPath></defs>
    <g clip-path="url(#clip0)"><path d="M0.333333,1" style="fill:url(http://e.x)" onclick="x()" fill="url(http://e.x)"/>
    <rect clip-path="url(#elsewhere)" fill="URL( 'http://e.x' )" href="javascript:x()"/></g><text>kept &lt;b&gt;</text></svg>"""
    clean = sanitised(svg, "f")
    parsed = Parsed(clean)
    assert {tag for tag, _ in parsed.tags} == {"svg", "defs", "clippath", "rect", "g", "path", "text"}
    assert not any(word in clean for word in ("e.x", "script", "onload", "onclick", "style", "href", "lost"))
    assert (parsed.all("id"), parsed.all("clip-path"), parsed.all("fill")) == (["f-1"], ["url(#f-1)"], [])
    assert ('d="M0.33,1"' in clean, parsed.text) == (True, "kept <b>")


def test_two_drawings_of_one_chart_share_no_id() -> None:
    one, two = (Parsed(to_svg(clipped(), prefix)) for prefix in ("a", "b"))
    assert one.all("id")
    assert not set(one.all("id")) & set(two.all("id"))


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_a_drawing_is_as_wide_as_asked_for(width: int) -> None:
    svg = Parsed(to_svg(clipped(("a" * 60, "b")), "x", width)).tags[0][1]
    assert svg["width"] == str(width)
    faceted = alt.layer(alt.Chart().mark_bar().encode(alt.X("x:Q"), alt.Y("y:N")), data=pd.DataFrame({"x": [1, 2, 3], "y": ["a", "b", "a"], "z": ["c", "d", "e"]})).facet("z:N", columns=2)  # fmt: skip
    svg = Parsed(to_svg(faceted, "x", width)).tags[0][1]
    assert width - 90 <= float(svg["width"]) <= width


def test_a_drawing_has_the_colours_of_the_pages() -> None:
    svg = to_svg(clipped(), "x")
    assert {"#0072b2", "#d55e00", "#1c2530"} <= set(re.findall(r"#[0-9a-f]{6}", svg))


# the same again, whole or not at all


def test_the_report_is_the_same_for_the_same_data_but_for_when_it_was_made(tiny: Home) -> None:
    with open_current(tiny) as reader:
        one, again = (build(reader, [full("F08", "w")], Selection(), MADE) for _ in range(2))
        later = build(reader, [full("F08", "w")], Selection(), MADE + timedelta(days=1))
    assert one == again
    assert one != later
    assert one == later.replace("2026-01-03T03:04:05", "2026-01-02T03:04:05").replace("2026-01-03 03:04:05", "2026-01-02 03:04:05")  # fmt: skip


@pytest.mark.slow
def test_two_processes_write_the_same_report_but_for_when_it_was_made(sample_home: Home, tmp_path: Path) -> None:
    reports = []
    for seed in ("1", "2"):
        path = tmp_path / f"{seed}.html"
        subprocess.run(
            [sys.executable, "-c", "import flowscope; flowscope.main()", "report", "--home", str(sample_home.root), "-o", str(path)],
            check=True, capture_output=True, cwd=dumps.ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, timeout=240,
        )  # fmt: skip
        reports.append(re.sub(r"<time .*?</time>", "", path.read_text(), count=1).splitlines())
    differing = [(one[:200], two[:200]) for one, two in zip(*reports, strict=True) if one != two]
    assert differing == []


def test_an_interrupted_write_leaves_the_report_that_was_there(
    tiny: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "report.html").write_text("the former one")

    def full(_path: Path, _target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    done = flowscope(tiny.root, "report", "--findings", "F12", cwd=tmp_path)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert (tmp_path / "report.html").read_text() == "the former one"
    assert [path.name for path in tmp_path.iterdir() if "report" in path.name] == ["report.html"]


def test_the_report_goes_where_it_is_sent(tiny: Home, tmp_path: Path) -> None:
    """A link is followed, '-' is stdout, a device stays what it is, a folder is refused."""
    (tmp_path / "link.html").symlink_to(tmp_path / "real.html")
    assert flowscope(tiny.root, "report", "--findings", "F12", "-o", tmp_path / "link.html").returncode == 0
    assert (tmp_path / "link.html").is_symlink() and (tmp_path / "real.html").read_text().startswith("<!doctype html>")
    assert flowscope(tiny.root, "report", "--findings", "F12", "-o", "/dev/null").returncode == 0
    assert Path("/dev/null").is_char_device()
    refused = flowscope(tiny.root, "report", "-o", tmp_path)
    assert (refused.returncode, "is a folder. Hint: give a file." in refused.stderr) == (1, True)


def test_a_folder_that_is_not_there_is_a_sentence_before_anything_is_computed(tiny: Home, tmp_path: Path) -> None:
    done = flowscope(tiny.root, "report", "-o", tmp_path / "none" / "report.html")
    assert done.returncode == 1
    assert done.stderr == f"Error: No folder {tmp_path / 'none'}. Hint: make it first, or give another -o.\n"


def test_a_wheel_carries_the_template_and_the_views(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    left_out = shutil.ignore_patterns("__pycache__", "samples", "*.egg-info", ".*")
    for name in ("app", "ingest", "predictors", "warehouse"):
        shutil.copytree(dumps.ROOT / name, copy / name, ignore=left_out)
    for name in ("flowscope.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(dumps.ROOT / name, copy / name)
    build_it = f"from setuptools import build_meta; print(build_meta.build_wheel({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", build_it], check=True, cwd=copy, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    assert "app/report.html.j2" in held
    assert {f"warehouse/sql/core/{path.name}" for path in (dumps.ROOT / "warehouse/sql/core").glob("*.sql")} <= held


# in a browser without a network


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page without a network, whose complaints fail the test."""
    context = browser.new_context(offline=True, viewport={"width": 1440, "height": 900}, color_scheme="light")
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    page.on("requestfailed", lambda request: complaints.append(request.url[:200]))
    yield page
    assert complaints == []
    context.close()


class TestInABrowser:
    pytestmark = in_a_browser

    @pytest.mark.parametrize("width", [1440, 390])
    def test_it_opens_offline_and_does_not_scroll_sideways(self, width: int, file: Path, page: Page) -> None:
        ARTIFACTS.mkdir(exist_ok=True)
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(file.as_uri())
        page.screenshot(path=ARTIFACTS / f"report-{width}-light.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        assert page.locator("h1").inner_text() == "Flowscope report"
        for svg in page.locator("figure svg").all():
            box = svg.bounding_box()
            assert box is None or box["x"] + box["width"] <= width

    def test_the_data_and_the_chart_are_saved_with_a_click(self, tiny: Home, tmp_path: Path, page: Page) -> None:
        (tmp_path / "report.html").write_text(html_of(tiny, full("F08", "w")))
        page.goto((tmp_path / "report.html").as_uri())
        for link, name, start in (
            ("Save this data", "F08.csv", b"workflow,w,share\nw,0,0.5\n"),
            ("Save this chart", "F08-bars.svg", b"<svg"),
        ):
            with page.expect_download() as download:
                page.get_by_role("link", name=link).first.click()
            download.value.save_as(tmp_path / name)
            assert download.value.suggested_filename == name
            assert (tmp_path / name).read_bytes().startswith(start)

    def test_a_link_leads_from_the_overview_to_the_finding(self, file: Path, page: Page) -> None:
        page.goto(file.as_uri())
        page.get_by_role("link", name="F21").click()
        assert page.evaluate("location.hash") == "#F21"
        assert page.locator("#F21 h3").bounding_box()["y"] < 900  # type: ignore[index]

    def test_it_prints_with_the_sql_open_and_without_links(self, tiny: Home, tmp_path: Path, page: Page) -> None:
        (tmp_path / "report.html").write_text(html_of(tiny, full("F08", "w")))
        page.goto((tmp_path / "report.html").as_uri())
        sql, link = page.locator("#F08 pre").first, page.locator("#F08 .take").first
        assert (sql.bounding_box() or {"height": 0})["height"] == 0
        assert link.is_visible()
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light only"
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(28, 37, 48)"  # theme.light
        assert (sql.bounding_box() or {"height": 0})["height"] > 0
        assert not link.is_visible()
        assert page.locator("#F08 .wide svg").first.is_visible()
        assert page.pdf(format="A4").startswith(b"%PDF")

    def test_hostile_names_run_nothing(self, tmp_path: Path, page: Page) -> None:
        runs = [dumps.one_run(number, dumps.HOSTILE, dumps.LONG, dumps.HOSTILE) for number in range(3)]
        home = dumps.take_in(tmp_path / "home", dumps.write(tmp_path / "dump", dumps.merged(*runs)))
        (tmp_path / "report.html").write_text(html_of(home, full("F08", dumps.HOSTILE), full("F09", dumps.LONG)))
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto((tmp_path / "report.html").as_uri())
        page.screenshot(path=ARTIFACTS / "report-hostile.png", full_page=True)
        assert page.locator("img, script, iframe").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0

    def test_dark_is_readable(self, file: Path, page: Page) -> None:
        page.emulate_media(color_scheme="dark")
        page.goto(file.as_uri())
        page.screenshot(path=ARTIFACTS / "report-1440-dark.png")
        colours = page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        )
        assert colours == ["rgb(230, 234, 239)", "rgb(18, 23, 29)"]  # .streamlit/config.toml, theme.dark

"""A headless Chromium and a served app, for tests and for the screenshots of the README."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

from tests.app.dumps import ROOT
from warehouse.home import Home

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
_NOT_OURS = ("_stcore/",)
"""Addresses that Streamlit itself probes below a page's path; they answer 404 by design."""


@dataclass
class Visit:
    """A page that was opened, and what its console complained about."""

    page: Page
    complaints: list[str] = field(default_factory=list)


@contextmanager
def served(home: Home) -> Iterator[str]:
    """Serve the app on a free port until the block ends. Yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-c",
        "from flowscope import main; main()",
        "app",
        "--home",
        str(home.root),
        "--port",
        str(port),
    ]
    environment = {name: value for name, value in os.environ.items() if name != "FLOWSCOPE_HOME"}
    process = subprocess.Popen(command, cwd=home.root, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        address = f"http://localhost:{port}"
        _wait_for(f"{address}/_stcore/health", process)
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    assert process.returncode == 0, "Ctrl-C is a way to stop, not a failure"


def _wait_for(address: str, process: subprocess.Popen[str], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise AssertionError(f"The app ended: {process.communicate()[1]}")
        try:
            with urllib.request.urlopen(address, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"The app did not answer within {seconds} s")


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser, address: str, width: int = 1440, height: int = 900, scheme: Literal["light", "dark"] = "light"
) -> Iterator[Visit]:
    """Open an address and wait until the page has drawn itself."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True
    )
    context.set_default_timeout(30_000)
    visit = Visit(context.new_page())
    visit.page.on("pageerror", lambda error: visit.complaints.append(f"exception: {error}"))
    visit.page.on("console", lambda message: _note(visit, message.type, message.text, message.location.get("url", "")))
    visit.page.goto(address)
    settled(visit.page)
    yield visit
    context.close()


def _note(visit: Visit, kind: str, text: str, url: str) -> None:
    if kind == "error" and not any(part in url for part in _NOT_OURS):
        visit.complaints.append(f"console: {text} ({url})")


def settled(page: Page) -> None:
    """Wait until the script has run and nothing on the page is a placeholder any more."""
    page.wait_for_selector("h1")
    page.wait_for_function(
        """() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState !== 'running'
            && !document.querySelector('[data-testid=stSkeleton]')
            && !document.querySelector('[data-stale=true]')
            && [...document.querySelectorAll('[data-testid=stVegaLiteChart]')].every((chart) => chart.querySelector('svg.marks'))"""
    )
    page.wait_for_timeout(300)


def choose(page: Page, box: str, option: str) -> None:
    """Choose an option of a select box: brought into view first, for a list closes when the page moves under it."""
    combobox = page.get_by_role("combobox", name=box, exact=True)
    combobox.scroll_into_view_if_needed()
    settled(page)
    combobox.click()
    page.get_by_role("option", name=option, exact=True).click()


def whole(page: Page, width: int, at_most: int = 8_000) -> None:
    """Make the window as high as the page, so that a screenshot holds all of it."""
    for _ in range(2):
        height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        page.set_viewport_size({"width": width, "height": min(height, at_most)})
        settled(page)


__all__ = ["CHROMIUM", "ROOT", "Visit", "choose", "chromium", "opened", "served", "settled", "whole"]

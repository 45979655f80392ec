"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.commands import take_in
from ingest.labels import Labels
from tests import servers
from warehouse.home import Home

TESTS = Path(__file__).parent
IN_MEMORY = Path("/dev/shm")
ROOM_BYTES = 6 * 2**30
LONGEST = (
    "app/test_findings_command.py", "app/test_browser.py", "app/test_pages.py", "predictors/test_engine_rule.py",
    "predictors/test_predict_command.py", "predictors/test_budget.py", "test_faults.py", "app/test_other_predictors.py",
    "app/test_report.py", "test_planted_truth.py", "test_sources_agree.py", "predictors/test_training.py",
    "predictors/test_replay.py", "warehouse/test_views_run_summary.py", "predictors/test_predictor.py",
    "warehouse/test_writer.py", "warehouse/test_results.py", "predictors/simulation/test_simulate_command.py", "test_cli.py",
)  # fmt: skip
"""The files that take longest, in that order. They go first: a long one that starts late leaves other processes idle."""


def pytest_configure() -> None:
    """Let an interrupt reach what tests start, and keep in memory what they write, where there is room for it.

    A shell has what it runs in the background ignore interrupts, and so do all processes started from there. A warehouse
    waits for the disk dozens of times, and tests make hundreds.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if IN_MEMORY.is_dir() and os.access(IN_MEMORY, os.W_OK) and _has_room(os.statvfs(IN_MEMORY)):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))


def _has_room(place: os.statvfs_result) -> bool:
    """Tell whether tests can write all they write there, and run it: in a container there is often not."""
    return place.f_bavail * place.f_frsize > ROOM_BYTES and not place.f_flag & os.ST_NOEXEC


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the longest files first; others stay in their order."""
    place = {TESTS / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., servers.RedisServer]]:
    """A function that starts a Redis: `password=` asks for one, `dump=` is an RDB file it loads."""
    if not servers.REDIS_BINARY:
        pytest.skip("no redis-server on this machine: `make system` installs it")
    started: list[servers.RedisServer] = []

    def start(*, password: str | None = None, dump: Path | None = None) -> servers.RedisServer:
        started.append(servers.start_redis(tmp_path_factory.mktemp("redis"), password=password, dump=dump))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def _moto_endpoint() -> Iterator[str]:
    with servers.moto_s3() as endpoint:
        yield endpoint


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that open nothing but the test store, and no other way to find any."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def s3_server(_moto_endpoint: str, aws_credentials: None) -> str:
    """The endpoint of a store that speaks S3, shared by the session: make a bucket of your own."""
    return _moto_endpoint


@pytest.fixture(scope="session")
def sample_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with the recorded runs that come with the project. Tests only read it."""
    home = Home(tmp_path_factory.mktemp("samples"))
    take_in(home, (str(Path(__file__).parent.parent / "ingest" / "samples"),), Labels())
    return home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home."""
    return Home(tmp_path / "home")

"""Fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.commands import take_in
from ingest.labels import Labels
from tests import servers
from warehouse.home import Home


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

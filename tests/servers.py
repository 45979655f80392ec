"""Real servers for tests, on free ports of the loopback interface."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

REDIS_BINARY = shutil.which("redis-server")
OCTOFLOWS_DUMPS = Path(__file__).parents[1].parent / "shared/data/octoflows"


@dataclass(frozen=True)
class RedisServer:
    port: int
    folder: Path
    password: str | None
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def dump(self) -> Path:
        return self.folder / "dump.rdb"

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(port=self.port, password=self.password, protocol=2, **options)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_redis(folder: Path, *, password: str | None = None, dump: Path | None = None) -> RedisServer:
    """Start a redis-server that saves nothing by itself; `dump` is an RDB file to begin with."""
    assert REDIS_BINARY
    if dump:
        shutil.copyfile(dump, folder / "dump.rdb")
    port = free_port()
    command = [REDIS_BINARY, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    command += ["--appendonly", "no", "--requirepass", password] if password else ["--appendonly", "no"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = RedisServer(port, folder, password, process)
    deadline = time.monotonic() + 20
    while True:
        try:
            server.client().ping()
        except redis.RedisError:
            if time.monotonic() > deadline or process.poll() is not None:
                server.stop()
                raise
            time.sleep(0.02)
        else:
            return server


@contextmanager
def moto_s3() -> Iterator[str]:
    """Serve S3 over HTTP; yields its endpoint."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()

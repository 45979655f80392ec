"""The command `app`: start Streamlit on this machine only, say where, stop with Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click

from warehouse.errors import FlowscopeError
from warehouse.home import Home
from warehouse.options import home_option

PROJECT = Path(__file__).parent.parent
FIRST_PORT = 8501
_TRIED_PORTS = 100
_STOP_SECONDS = 10


@click.command()
@click.option(
    "--port", type=click.IntRange(1, 65_535), help=f"Port to listen on. [default: the first free one from {FIRST_PORT}]"
)
@home_option
def app(port: int | None, home: Home) -> None:
    """Open the report in the browser: the pages, served on this machine only, until Ctrl-C."""
    sys.exit(serve(home, port))


def serve(home: Home, port: int | None) -> int:
    """Serve the app until it is interrupted. Returns 0 when it was stopped, else Streamlit's exit code.

    Raises `FlowscopeError` where the port asked for is taken.
    """
    if not home.current.exists():
        click.echo(
            f"No warehouse in {home.root}. Hint: flowscope ingest PATH, or flowscope demo. The pages will say so too.",
            err=True,
        )
    chosen = _free(port)
    environment = {**os.environ, "FLOWSCOPE_HOME": str(home.root)}
    command = [
        sys.executable, "-m", "app.server", "run", str(PROJECT / "app" / "main.py"),
        "--server.port", str(chosen), "--logger.level", "warning", "--server.headless", "true",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    click.echo(f"Flowscope is at http://localhost:{chosen} (Ctrl-C stops it).", err=True)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)
        _stop(process)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free(port: int | None) -> int:
    if port is not None:
        if not _is_free(port):
            raise FlowscopeError(f"Port {port} is in use. Hint: leave --port out, or give another.")
        return port
    for candidate in range(FIRST_PORT, FIRST_PORT + _TRIED_PORTS):
        if _is_free(candidate):
            return candidate
    raise FlowscopeError(
        f"Ports {FIRST_PORT} to {FIRST_PORT + _TRIED_PORTS - 1} are in use. Hint: give one with --port."
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

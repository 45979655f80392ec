"""A log of AWS Lambda of any size: `python -m benchmarks.logs MEGABYTES FILE` writes one, to ingest it and watch the memory.

Requests in nine containers take turns; between their platform lines the function prints six of its own. One start in a hundred
is cold, one request in 500 times out, one in 1,000 never reports.
"""

from __future__ import annotations

import random
import resource
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ingest.adapters import aws_lambda
from ingest.adapters.adapter import Document, batches
from warehouse.batches import Rows

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def write(path: Path, megabytes: int, seed: int = 0) -> None:
    """Write whole requests until the file has that many megabytes (10^6 bytes)."""
    chosen = random.Random(seed)
    written = 0
    with path.open("w", encoding="ascii") as file:
        for number in range(sys.maxsize):
            if written >= megabytes * 1_000_000:
                break
            written += file.write("".join(_request(number, chosen)))


def _request(number: int, chosen: random.Random) -> Iterator[str]:
    begin = _BEGIN + timedelta(milliseconds=40 * number)
    request = uuid.UUID(int=chosen.getrandbits(128), version=4)
    duration = 3_000.0 if number % 500 == 499 else round(chosen.lognormvariate(4, 0.5), 2)
    yield f"{_stamp(begin)} START RequestId: {request} Version: $LATEST\n"
    for step in range(6):
        yield f"{_stamp(begin)} step {step}: {chosen.getrandbits(256):x}\n"
    if number % 1_000 == 999:
        return
    init = "\tInit Duration: 210.55 ms" if number % 100 == 0 else ""
    status = "\tStatus: timeout" if number % 500 == 499 else ""
    end = _stamp(begin + timedelta(milliseconds=duration))
    yield f"{end} END RequestId: {request}\n"
    yield (
        f"{end} REPORT RequestId: {request}\tDuration: {duration:.2f} ms\tBilled Duration: {int(duration) + 1} ms\t"
        f"Memory Size: 512 MB\tMax Memory Used: {80 + number % 40} MB{init}{status}\t\n"
    )


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def seconds_to_read(path: Path) -> float:
    """Seconds to make checked rows of the log, without a warehouse."""
    start = time.perf_counter()
    rows(path)
    return time.perf_counter() - start


def seconds_to_split(path: Path) -> float:
    """Seconds to read the same lines and make nothing of them."""
    start = time.perf_counter()
    for _ in Document(path, str(path), path.parent).lines():
        pass
    return time.perf_counter() - start


def rows(path: Path) -> int:
    """Return how many rows the log holds."""
    read = batches(aws_lambda.read, Document(path, str(path), path.parent))
    return sum(len(batch.rows) for batch in read if isinstance(batch, Rows))


def main() -> None:
    """Write a log, or with `--peak FILE` read one and print the peak memory of that in MB."""
    if sys.argv[1] == "--peak":
        rows(Path(sys.argv[2]))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    else:
        write(Path(sys.argv[2]), int(sys.argv[1]))


if __name__ == "__main__":
    main()

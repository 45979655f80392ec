"""Unpack the compressed files that cannot be read as they are: RDB files need random access."""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from warehouse.errors import SourceError
from warehouse.unpacked import is_gzip

_RDB_MAGIC = b"REDIS"


@contextmanager
def rdb_unpacked(path: Path, staging: Path, uri: str) -> Iterator[Path]:
    """Yield the file itself, or a temporary unpacked copy below `staging` if it is a gzipped RDB file.

    Magic bytes decide, never names; `uri` is what messages call the file. Raises `SourceError`: no_such_path,
    unreadable, truncated.
    """
    folder = staging / uuid4().hex
    try:
        yield _unpack_rdb(path, folder, uri) or path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack_rdb(path: Path, folder: Path, uri: str) -> Path | None:
    try:
        if not is_gzip(path):
            return None
        with gzip.open(path) as packed:
            if packed.read(len(_RDB_MAGIC)) != _RDB_MAGIC:
                return None
            packed.seek(0)
            folder.mkdir(parents=True)
            unpacked = folder / path.name.removesuffix(".gz")
            with unpacked.open("xb") as copy:
                shutil.copyfileobj(packed, copy, 1 << 20)
            return unpacked
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceError(
            "truncated", f"{uri} is a gzip file that breaks off or is damaged. Hint: copy it again, whole."
        ) from error
    except FileNotFoundError as error:
        raise SourceError(
            "no_such_path", f"No such file: {uri}. Hint: it was removed after it was listed, or its name is not UTF-8."
        ) from error
    except OSError as error:
        raise SourceError("unreadable", f"Cannot read {uri}: {error.strerror}.") from error

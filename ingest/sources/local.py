"""Objects that are files: one file, a folder with everything beneath it, or a glob."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from urllib.parse import unquote, urlsplit

from ingest.records import Content, Item
from ingest.sources.gzipped import rdb_unpacked
from ingest.sources.names import is_hidden, is_listed
from warehouse.errors import SourceError

_GLOB_SIGNS = frozenset("*?[")


class LocalSource:
    """A file, a folder or a glob: `*`, `?` and `[...]` within a name, `**` for folders at any depth.

    A link given as the address itself is followed. Links, devices, pipes and sockets beneath it are left out, so
    nothing outside a folder is ever read.
    """

    uri: str
    """The absolute path, or the absolute glob."""

    def __init__(self, address: str) -> None:
        path = Path(os.path.abspath(_path_of(address)))  # noqa: PTH100 - resolve() would follow links
        self.uri = _shown(path)
        fixed = next((at for at, part in enumerate(path.parts) if _GLOB_SIGNS.intersection(part)), None)
        self._is_glob = fixed is not None and not os.path.lexists(path)
        self._root = Path(*path.parts[:fixed]) if self._is_glob else path
        self._pattern = path.parts[fixed:] if self._is_glob else ("**",)

    def items(self) -> list[Item]:
        """Return the files, sorted by path. Raises `SourceError`: no_such_path, unreadable, unsupported."""
        try:
            status = self._root.stat()
            if stat.S_ISDIR(status.st_mode):
                items = self._items_beneath()
                if items or not self._is_glob:
                    return items
            elif not self._is_glob:
                if stat.S_ISREG(status.st_mode):
                    return [_item(self._root, self._root.name, status)]
                raise SourceError("unsupported", f"{self.uri} is neither a file nor a folder. Hint: copy it to a file.")
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise SourceError(
                "unreadable",
                f"Cannot read {error.filename or self.uri}: {error.strerror}. Hint: check its permissions.",
            ) from error
        raise SourceError("no_such_path", f"No such file or folder: {self.uri}. Hint: check the spelling.")

    def covers(self, uri: str) -> bool:
        """Whether a file of that path would be listed here if it existed."""
        path = PurePath(uri)
        root = PurePath(_shown(self._root))
        if not path.is_relative_to(root):
            return False
        parts = path.relative_to(root).parts
        return self._selects(parts) if parts else not self._is_glob

    @contextmanager
    def open(self, item: Item, staging: Path) -> Iterator[Content]:
        """Yield the file itself, or an unpacked copy of a gzipped RDB file."""
        with rdb_unpacked(Path(item.uri), staging, item.uri) as path:
            yield path

    def _selects(self, parts: Sequence[str]) -> bool:
        return is_listed(parts) and _matches(parts, self._pattern)

    def _items_beneath(self) -> list[Item]:
        deepest = None if "**" in self._pattern else len(self._pattern)
        items = []
        folders = [self._root]
        while folders:
            for entry in _entries(folders.pop()):
                path = Path(entry.path)
                parts = path.relative_to(self._root).parts
                if entry.is_dir(follow_symlinks=False):
                    if not is_hidden(entry.name) and (deepest is None or len(parts) < deepest):
                        folders.append(path)
                elif entry.is_file(follow_symlinks=False) and self._selects(parts):
                    with suppress(FileNotFoundError):
                        items.append(_item(path, "/".join(parts), entry.stat(follow_symlinks=False)))
        return sorted(items, key=lambda item: item.uri)


def _path_of(address: str) -> str:
    if not address.startswith("file://"):
        return address
    url = urlsplit(address)
    if url.netloc not in ("", "localhost"):
        raise SourceError("unsupported", f"{address} names another machine. Hint: file:///absolute/path")
    return unquote(url.path)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _item(path: Path, key: str, status: os.stat_result) -> Item:
    return Item(_shown(path), _shown(key), f"{status.st_mtime_ns}-{status.st_size}", status.st_size)


def _shown(path: Path | str) -> str:
    """Return a path as text that can be stored, whatever bytes its names are made of."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[start:], pattern[1:]) for start in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])

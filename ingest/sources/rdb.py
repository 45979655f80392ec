"""Read the strings of a Redis RDB file, versions 1 to 13.

The file is walked once through a memory map to learn where each value lies; a value is decoded only when it is asked
for. Lists, sets, hashes and sorted sets are stepped over and counted, streams and modules are refused. Expired keys are
kept: a metric stays a fact. Layout: Redis's src/rdb.h and src/rdb.c.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from ingest.sources.crc64 import crc64
from ingest.sources.lzf import decompress
from warehouse.errors import SourceError

MAX_KEY_BYTES = 1024 * 1024
MAX_UNPACKED_BYTES = 64 * 1024 * 1024
NEWEST_VERSION = 13

_STRING = 0
_PLAIN_BLOB_TYPES = frozenset({9, 10, 11, 12, 13, 16, 17, 20})
_SLOT_INFO, _FUNCTION2, _FUNCTION_PRE_GA, _MODULE_AUX, _IDLE, _FREQ = 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9
_AUX, _RESIZEDB, _EXPIRETIME_MS, _EXPIRETIME, _SELECTDB, _EOF = 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF
_INTEGERS = {0: struct.Struct("<b"), 1: struct.Struct("<h"), 2: struct.Struct("<i")}
_LZF = 3


class RdbKeyspace:
    """A `Keyspace` over an RDB file; of a key in several databases, the last one counts.

    Raises `SourceError`: empty, unreadable, unknown_format, unsupported, truncated, checksum, too_large. Past the
    header, the checksum is compared before anything but truncation is reported: a damaged file is called damaged.
    """

    skipped_types: int
    """How many keys hold something other than a string."""

    def __init__(self, path: Path) -> None:
        self._strings = _Strings(path)
        self._offsets: dict[str, int] = {}
        self.skipped_types = 0
        version = self._header()
        try:
            self._walk()
        except SourceError as error:
            if version >= 5 and error.reason != "truncated" and not self._strings.ends_in_its_checksum():
                raise self._strings.damaged() from error
            raise
        if version >= 5:
            self._check_the_end()

    def keys(self) -> Iterator[str]:
        """Every key that holds a string, each once."""
        yield from self._offsets

    def values(self, keys: list[str]) -> Iterator[tuple[str, bytes]]:
        """The values of those keys; a key that is not there is left out. Raises `SourceError` for a damaged value."""
        for key in keys:
            if key in self._offsets:
                self._strings.at = self._offsets[key]
                yield key, self._strings.read(MAX_UNPACKED_BYTES)

    def _header(self) -> int:
        magic = self._strings.take(5)
        if magic != b"REDIS":
            raise self._strings.error("unknown_format", "is not an RDB file: it does not begin with REDIS")
        digits = self._strings.take(4)
        if not digits.isdigit() or not 1 <= int(digits) <= NEWEST_VERSION:
            shown = digits.decode("ascii", "backslashreplace")
            raise self._strings.error("unsupported", f"has RDB version {shown}. Hint: 1 to {NEWEST_VERSION} are read")
        return int(digits)

    def _walk(self) -> None:
        strings = self._strings
        while (kind := strings.byte()) != _EOF:
            if kind in _STEP_OVER:
                _STEP_OVER[kind](strings)
                continue
            key = strings.read(MAX_KEY_BYTES).decode("utf-8", "backslashreplace")
            if kind == _STRING:
                self._offsets[key] = strings.at
                strings.skip()
            elif kind in _SKIP_VALUE:
                self.skipped_types += 1
                _SKIP_VALUE[kind](strings)
            else:
                raise strings.error(
                    "unsupported",
                    f"holds a value of type {kind} under {key[:200]!r}. Hint: streams, modules and newer types are "
                    "not read; delete such keys, or save the metrics from a Redis of their own",
                )

    def _check_the_end(self) -> None:
        strings = self._strings
        body_bytes = strings.at
        expected = int.from_bytes(strings.take(8), "little")
        if expected and expected != crc64(strings.data, body_bytes):
            raise strings.damaged()
        if strings.at < len(strings.data):
            raise strings.error("unsupported", "goes on after its end. Hint: an append-only file is not read")


class _Strings:
    """A position in a memory-mapped RDB file, and the lengths and strings read from there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.at = 0
        try:
            with path.open("rb") as file:
                self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise self.error("empty", "has no bytes") from None
        except OSError as error:
            raise self.error("unreadable", f"cannot be read: {error.strerror}") from error

    def error(self, reason: str, what_happened: str) -> SourceError:
        return SourceError(reason, f"{self.path.name} {what_happened}.")

    def damaged(self) -> SourceError:
        return self.error("checksum", "does not match its checksum. Hint: copy it again, it was damaged on the way")

    def ends_in_its_checksum(self) -> bool:
        """Whether the last eight bytes are the checksum of those before, or zero because checksums are off."""
        expected = int.from_bytes(self.data[-8:], "little")
        return not expected or expected == crc64(self.data, len(self.data) - 8)

    def pass_by(self, count: int) -> int:
        """Return where the next `count` bytes begin, and go to their end."""
        start = self.at
        if count > len(self.data) - start:
            raise self.error(
                "truncated",
                f"ends at byte {len(self.data):,}, inside what begins at byte {start:,}. Hint: copy it again, whole",
            )
        self.at = start + count
        return start

    def take(self, count: int) -> bytes:
        start = self.pass_by(count)
        return self.data[start : self.at]

    def byte(self) -> int:
        return self.data[self.pass_by(1)]

    def length_or_encoding(self) -> tuple[int, bool]:
        """Return a length and False, or the number of a string encoding and True."""
        first = self.byte()
        if first < 0x40:
            return first, False
        if first < 0x80:
            return (first & 0x3F) << 8 | self.byte(), False
        if first == 0x80:
            return int.from_bytes(self.take(4), "big"), False
        if first == 0x81:
            return int.from_bytes(self.take(8), "big"), False
        if first >= 0xC0 and first & 0x3F <= _LZF:
            return first & 0x3F, True
        raise self.error("unsupported", f"has a length that begins with {first:#04x} at byte {self.at - 1:,}")

    def length(self) -> int:
        length, is_encoding = self.length_or_encoding()
        if is_encoding:
            raise self.error("unsupported", f"has an encoded string where a length belongs, at byte {self.at - 1:,}")
        return length

    def skip(self) -> None:
        """Go past one string."""
        length, is_encoding = self.length_or_encoding()
        if not is_encoding:
            self.pass_by(length)
        elif length == _LZF:
            packed_bytes = self.length()
            self.length()
            self.pass_by(packed_bytes)
        else:
            self.pass_by(_INTEGERS[length].size)

    def read(self, most_bytes: int) -> bytes:
        """Decode one string of at most that many bytes."""
        start = self.at
        length, is_encoding = self.length_or_encoding()
        if is_encoding and length != _LZF:
            layout = _INTEGERS[length]
            return str(layout.unpack(self.take(layout.size))[0]).encode()
        packed_bytes, unpacked_bytes = (self.length(), self.length()) if is_encoding else (length, length)
        # A length past the end is truncation, whatever its size.
        self.at = self.pass_by(packed_bytes)
        if unpacked_bytes > most_bytes:
            raise self.error("too_large", f"has a string of {unpacked_bytes:,} bytes at byte {start:,}")
        packed = self.take(packed_bytes)
        if not is_encoding:
            return packed
        try:
            return decompress(packed, unpacked_bytes)
        except ValueError as error:
            raise self.error("unreadable", f"has a damaged compressed string at byte {start:,}: {error}") from error


def _skip_strings(per_element: int) -> Callable[[_Strings], None]:
    def skip(strings: _Strings) -> None:
        for _ in range(strings.length() * per_element):
            strings.skip()

    return skip


def _skip_zset(strings: _Strings) -> None:
    for _ in range(strings.length()):
        strings.skip()
        score_bytes = strings.byte()
        # 253, 254 and 255 stand for not a number and the infinities.
        strings.pass_by(score_bytes if score_bytes < 253 else 0)


def _skip_zset2(strings: _Strings) -> None:
    for _ in range(strings.length()):
        strings.skip()
        strings.pass_by(8)


def _skip_quicklist2(strings: _Strings) -> None:
    for _ in range(strings.length()):
        strings.length()
        strings.skip()


def _skip_lengths(count: int) -> Callable[[_Strings], None]:
    def skip(strings: _Strings) -> None:
        for _ in range(count):
            strings.length()

    return skip


def _skip_bytes(count: int) -> Callable[[_Strings], None]:
    def skip(strings: _Strings) -> None:
        strings.pass_by(count)

    return skip


def _skip_aux(strings: _Strings) -> None:
    strings.skip()
    strings.skip()


def _skip_function_before_release(strings: _Strings) -> None:
    strings.skip()
    strings.skip()
    if strings.length():
        strings.skip()
    strings.skip()


def _skip_module_aux(strings: _Strings) -> None:
    for _ in ("module id", "opcode of when", "when"):
        strings.length()
    while part := strings.length():
        if part not in _SKIP_MODULE_PART:
            raise strings.error("unsupported", f"has module data of kind {part} at byte {strings.at - 1:,}")
        _SKIP_MODULE_PART[part](strings)


_SKIP_MODULE_PART: dict[int, Callable[[_Strings], None]] = {
    1: _skip_lengths(1),
    2: _skip_lengths(1),
    3: _skip_bytes(4),
    4: _skip_bytes(8),
    5: _Strings.skip,
}
_STEP_OVER: dict[int, Callable[[_Strings], None]] = {
    _SLOT_INFO: _skip_lengths(3),
    _FUNCTION2: _Strings.skip,
    _FUNCTION_PRE_GA: _skip_function_before_release,
    _MODULE_AUX: _skip_module_aux,
    _IDLE: _skip_lengths(1),
    _FREQ: _skip_bytes(1),
    _AUX: _skip_aux,
    _RESIZEDB: _skip_lengths(2),
    _EXPIRETIME_MS: _skip_bytes(8),
    _EXPIRETIME: _skip_bytes(4),
    _SELECTDB: _skip_lengths(1),
}
_SKIP_VALUE: dict[int, Callable[[_Strings], None]] = {
    **dict.fromkeys(_PLAIN_BLOB_TYPES, _Strings.skip),
    1: _skip_strings(1),
    2: _skip_strings(1),
    3: _skip_zset,
    4: _skip_strings(2),
    5: _skip_zset2,
    14: _skip_strings(1),
    18: _skip_quicklist2,
}

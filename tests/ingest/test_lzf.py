from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.sources.lzf import decompress


def compress(data: bytes) -> bytes:
    """A slow LZF that uses both kinds of run: the longest earlier match, or one literal."""
    packed = bytearray()
    at = 0
    while at < len(data):
        length, distance = max(
            (
                (next((n for n in range(min(264, len(data) - at)) if data[at + n] != data[at - d + n]), 264), d)
                for d in range(1, min(at, 200) + 1)
            ),
            default=(0, 0),
        )
        length = min(length, len(data) - at)
        if length < 3:
            packed += bytes([0, data[at]])
            at += 1
            continue
        encoded = length - 2
        packed.append(min(encoded, 7) << 5 | (distance - 1) >> 8)
        packed += bytes([encoded - 7] if encoded >= 7 else [])
        packed.append((distance - 1) & 0xFF)
        at += length
    return bytes(packed)


@given(st.text(alphabet="ab", max_size=400).map(str.encode))
def test_what_was_compressed_comes_back(data: bytes) -> None:
    assert decompress(compress(data), len(data)) == data


def test_a_literal_and_an_overlapping_repetition_by_hand() -> None:
    # "abc" as it is, then 7 bytes from distance 3: abcabca.
    assert decompress(bytes([2, *b"abc", 5 << 5, 2]), 10) == b"abcabcabca"


@given(st.binary(max_size=100), st.integers(0, 400))
def test_hostile_bytes_give_the_declared_size_or_a_value_error(data: bytes, size: int) -> None:
    with suppress(ValueError):
        assert len(decompress(data, size)) == size


@pytest.mark.parametrize(
    "packed",
    [
        b"\x05ab",
        b"\x20\x00",
        b"\x00a\x20\x01",
        b"\x00a\xe0",
        b"\x00a\xe0\x01",
        b"\x00a\x20",
        b"\x00a" + b"\xe0\xff\x00" * 9,
    ],
    ids=["short literal", "before the start", "one too far", "no length", "no distance", "no offset", "bomb"],
)
def test_a_damaged_run_is_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match=r"ends early|before the first|stands for"):
        decompress(packed, 20)

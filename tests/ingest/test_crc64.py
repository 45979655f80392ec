from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from ingest.sources.crc64 import crc64


def bitwise_crc64(data: bytes) -> int:
    """The definition, from the unreflected polynomial: bits enter low end first, the register is read reversed."""
    register = 0
    for byte in data:
        for bit in range(8):
            top = register >> 63 ^ byte >> bit & 1
            register = register << 1 & 0xFFFFFFFFFFFFFFFF
            register ^= 0xAD93D23594C935A9 if top else 0
    return int(f"{register:064b}"[::-1], 2)


def test_the_check_value_of_redis_comes_out() -> None:
    assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA
    assert bitwise_crc64(b"123456789") == 0xE9C6D914C4B8D9CA


@given(st.binary(max_size=300))
def test_small_inputs_agree_with_the_definition(data: bytes) -> None:
    assert crc64(data) == bitwise_crc64(data)


def test_lanes_agree_with_the_definition_at_every_kind_of_length() -> None:
    data = random.Random(7).randbytes(150_000)
    for length in (65_535, 65_536, 65_537, 81_919, 131_072, 131_073, 150_000):
        assert crc64(data, length) == bitwise_crc64(data[:length]), length


def test_nothing_has_the_checksum_zero() -> None:
    assert crc64(b"") == 0

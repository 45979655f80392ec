"""Decompress LZF, the way Redis stores long strings in an RDB file.

Format: Redis's src/lzf_d.c. A control byte below 32 announces that many bytes plus one as they are; any other one
repeats earlier output: three bits of length, thirteen of distance. Written for hostile input: nothing is read before
the start of the output, and the output never outgrows the declared size by more than one run.
"""

from __future__ import annotations


def decompress(data: bytes, size: int) -> bytes:
    """Return the `size` bytes that `data` stands for. Raises ValueError when it stands for anything else."""
    out = bytearray()
    at, end = 0, len(data)
    while at < end:
        control = data[at]
        at += 1
        if control < 32:
            out += data[at : at + control + 1]
            at += control + 1
        else:
            length = control >> 5
            if length == 7 and at < end:
                length += data[at]
                at += 1
            if at == end:
                raise ValueError("a repetition ends early")
            distance = ((control & 31) << 8 | data[at]) + 1
            at += 1
            start = len(out) - distance
            if start < 0:
                raise ValueError("a repetition starts before the first byte")
            length += 2
            if length <= distance:
                out += out[start : start + length]
            else:
                out += (out[start:] * (length // distance + 1))[:length]
        if len(out) > size:
            raise ValueError(f"it stands for more than {size} bytes")
    if at > end:
        raise ValueError("a literal run ends early")
    if len(out) != size:
        raise ValueError(f"it stands for {len(out)} bytes, not {size}")
    return bytes(out)

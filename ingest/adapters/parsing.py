"""Read durations, sizes, instants and numbers as people and programs write them. Every function raises `Refused`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import humanfriendly
from dateutil import parser as dates

from ingest.records import EARLIEST, LATEST, Refused

KILOBYTE = 1000
MEBIBYTE = 1024 * 1024
_MAX_TEXT = 100
_PLAIN = re.compile(r"[0-9]+(\.[0-9]+)?")
_MONTH_FIRST = re.compile(r"[0-9]{1,2}[-/][0-9]{1,2}[-/][0-9]{2,4}(?=T|\s|$)")
_EPOCH = datetime(1970, 1, 1)
_LARGEST = Decimal(2**63)


def duration_ms(text: str) -> float:
    """Return milliseconds: of a plain number, which is milliseconds, or of parts with units ('2h 5m 1s', '350ms')."""
    if _PLAIN.fullmatch(text[:_MAX_TEXT]):
        return float(number(Decimal(text[:_MAX_TEXT])))
    try:
        seconds: float = sum(humanfriendly.parse_timespan(part) for part in _parts(text))
        return round(1000 * seconds, 6)
    except (humanfriendly.InvalidTimespan, ValueError, OverflowError) as error:
        raise Refused("wrong_type", f"{text[:_MAX_TEXT]!r} is no duration") from error


def size_bytes(text: str) -> int:
    """Return bytes: of a plain number, or of one with a unit, which is binary ('1.2 GB' is 1.2 times 1024 to the third)."""
    if _PLAIN.fullmatch(text[:_MAX_TEXT]):
        return whole(Decimal(text[:_MAX_TEXT]))
    try:
        return int(humanfriendly.parse_size(text[:_MAX_TEXT], binary=True))
    except (humanfriendly.InvalidSize, ValueError, OverflowError) as error:
        raise Refused("wrong_type", f"{text[:_MAX_TEXT]!r} is no size") from error


def percent(text: str) -> float:
    """Return a percentage, written with or without its sign: '183.8%' is 183.8."""
    plain = text[:_MAX_TEXT].removesuffix("%").strip()
    if not _PLAIN.fullmatch(plain):
        raise Refused("wrong_type", f"{text[:_MAX_TEXT]!r} is no percentage")
    return float(Decimal(plain))


def instant(text: str) -> datetime:
    """Return a naive instant in UTC: of a plain number, which is milliseconds since 1970, or of a date and a time.

    Dates are ISO, or month first ('05-04-23T10:46:27Z' is the fourth of May). One without a zone is taken as UTC.
    """
    shown = text[:_MAX_TEXT]
    try:
        if _PLAIN.fullmatch(shown):
            return within(_EPOCH + timedelta(microseconds=int(number(1000 * Decimal(shown)))))
        moment = dates.parse(shown) if _MONTH_FIRST.match(shown) else datetime.fromisoformat(shown)
        return within(moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment)
    except OverflowError as error:
        raise Refused("out_of_range", f"{shown} is outside 2000 to 2199") from error
    except ValueError as error:
        raise Refused("wrong_type", f"{shown!r} is no date and time") from error


def later(moment: datetime, milliseconds: float | Decimal) -> datetime:
    """Return the instant so much later, to the microsecond."""
    try:
        return within(moment + timedelta(microseconds=round(1000 * milliseconds)))
    except OverflowError as error:
        raise Refused("out_of_range", f"{milliseconds:g} ms after {moment} is outside 2000 to 2199") from error


def within(moment: datetime) -> datetime:
    """Return a naive instant in UTC that lies within 2000 to 2199."""
    if not EARLIEST <= moment < LATEST:
        raise Refused("out_of_range", f"{moment} is outside 2000 to 2199")
    return moment


def number(value: object) -> Decimal:
    """Return a number of a JSON document, exact; one that a column could not hold is refused."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise Refused("wrong_type", f"a {type(value).__name__}, not a number")
    exact = Decimal(value)
    if not 0 <= exact < _LARGEST:
        raise Refused("out_of_range", "a number below 0 or too large")
    return exact


def whole(value: object) -> int:
    """Return a number rounded to a whole one."""
    return round(number(value))


def _parts(text: str) -> list[str]:
    """'2h 5m' in parts, and '-' in none, which is no duration: the library reads one part at a time."""
    parts = text[: _MAX_TEXT + 1].split()
    if not parts or len(text) > _MAX_TEXT:
        raise ValueError("no parts, or too many")
    return parts

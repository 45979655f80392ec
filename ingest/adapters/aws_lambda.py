"""Read logs of AWS Lambda: text logs, JSON logs, and events of the Telemetry API.

Lines may be plain or preceded by a timestamp and the log stream (`aws_lambda_text`), JSON objects one a line, or a JSON array of
them, as `filter-log-events`, `get-log-events` and subscriptions wrap them too. The log stream is the container: it is taken from before the line, from the event, or
from the address (`2024/01/02/[$LATEST]0123abcd`, with `-` for `/` in an export to S3). Function and region are taken from where
they are named; where a document names only one, they are those of all its requests. How requests are joined, and what bounds
the memory that takes, is in `aws_lambda_requests`; an array is read event by event.
"""

from __future__ import annotations

import io
import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, BinaryIO

from ingest.adapters.adapter import Document, Fact, Line, excerpt
from ingest.adapters.aws_lambda_events import application_error, in_range, instant, platform_event, region_of
from ingest.adapters.aws_lambda_requests import Requests
from ingest.adapters.aws_lambda_text import PLATFORM_LINE, PREFIX, event_of, may_matter, placed
from ingest.records import Refused, clean
from warehouse.batches import Reject, Skipped
from warehouse.unpacked import MAX_LINE_BYTES

NAME = "aws-lambda"
PARSER_VERSION = 1
_EVENT = re.compile(rf'^(?:{PREFIX}|[ \t\[]*)\{{[^\n]*?"type"\s*:\s*"platform\.\w+"', re.MULTILINE)
_EVENT_KEY = re.compile(r'"type"\s*:\s*"platform\.\w+"')
_WRAPPED = re.compile(r'"message"\s*:\s*"(?:(?:START|END|REPORT) RequestId: |INIT_START |\{\\"time\\")')
_ARRAY = re.compile(r"\s*\[\s*\{")
_LIST_OF_EVENTS = re.compile(r'\s*\{\s*"events"\s*:\s*\[')
_SUBSCRIBED = re.compile(r'\s*\{\s*"(?:messageType|owner|logGroup|logStream)"\s*:')
_STREAM = re.compile(r"(\d{4})[/-](\d\d)[/-](\d\d)[/-]([^\s/\[\]]*)(\[[^\s/\[\]]+\]\[?[0-9A-Za-z-]{4,64}\]?)")
_GROUP = re.compile(r"(?:^|/)aws/lambda/([^/\s:]{1,140})")
_BETWEEN = re.compile(r"[\s,\[\]]*")
_PIECE = 1024 * 1024
_MAX_STREAM = 1_000
"""No log stream has a longer name, and looking for one takes the square of the length."""
_EPOCH = datetime(1970, 1, 1)


def recognise(head: str) -> bool:
    """Whether a line is the platform's own, or an event of type `platform.*`."""
    if PLATFORM_LINE.search(head) or _EVENT.search(head):
        return True
    beginning = head.lstrip()[:1]
    if beginning not in ("{", "["):
        return False
    return bool(_WRAPPED.search(head)) or ('"record"' in head and bool(_EVENT_KEY.search(head)))


def read(document: Document) -> Iterator[Fact | Reject | Skipped]:
    """Yield the run, task and invocation of every request."""
    reading = _Reading(document)
    head = document.head()
    if _ARRAY.match(head) or _LIST_OF_EVENTS.match(head) or (_SUBSCRIBED.match(head) and '"logEvents"' in head):
        yield from reading.objects()
    else:
        yield from reading.lines(is_json=head.lstrip()[:1] == "{")
    yield from reading.requests.rest()
    if reading.skipped:
        yield Skipped(reading.skipped)


class _Reading:
    """One pass over a document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._container = _container_of(document.place)
        group = _GROUP.search(document.place)
        function = group[1] if group and not group[1].isdigit() else None
        self.requests = Requests(function or _function_in(self._container), region_of(document.place))
        self._streams: dict[str, str] = {}
        self._last = self._container
        self._passed: Line | None = None
        self.skipped = 0

    def lines(self, *, is_json: bool) -> Iterator[Fact | Reject]:
        """Yield what the lines say."""
        for line in self._document.lines():
            if isinstance(line, Reject):
                yield line
                continue
            if not is_json and not may_matter(line.text):
                self._passed = line
                self.skipped += 1
                continue
            try:
                yield from self._line(line, is_json)
            except Refused as refused:
                yield line.rejected(refused)

    def objects(self) -> Iterator[Fact | Reject]:
        """Yield what the objects of a JSON array say; a document that breaks off ends there, with a reject."""
        number = 0
        with self._document.open() as file:
            objects = _objects(file)
            while True:
                number += 1
                location = f"event {number}"
                try:
                    beginning, event = next(objects, ("", None))
                except Refused as refused:
                    yield Reject(location, refused.reason, clean(refused.detail))
                    return
                if event is None:
                    return
                try:
                    yield from self._object(event, None, self._container, location)
                except Refused as refused:
                    yield Reject(location, refused.reason, clean(refused.detail), excerpt(beginning))

    def _line(self, line: Line, is_json: bool) -> Iterator[Fact]:
        group, stream, time, message = placed(line.text)
        if not time and not stream and self._passed:  # goes on with the line before it, and stands where that does
            self._stand(*placed(self._passed.text)[1:3])
        self._passed = None
        self._stand(stream, time)
        if group:
            self.requests.learn(self._last, _function_of(group), None)
        if message.startswith("{") and (is_json or '"platform.' in message):
            yield from self._object(Line(line.number, message).json_object(), time, self._last, line.location)
        else:
            yield from self._message(message, time, self._last, line.location)

    def _stand(self, stream: str | None, time: str | None) -> None:
        """Note the container of a line, by what stands before it; where nothing does, it is that of the line before."""
        if stream:
            self._last = self._canonical(stream)
        elif time:
            self._last = self._container if self._container or not self._streams else None

    def _message(
        self, message: str, time: str | datetime | None, container_id: str | None, location: str
    ) -> Iterator[Fact]:
        event = event_of(message)
        if event is False:
            self.skipped += 1
        elif event is not True:
            if message.startswith(("INIT_START", "RESTORE_START")) and (region := region_of(message)):
                self.requests.learn(container_id, None, region)
            at = time if isinstance(time, datetime) else instant(time)
            yield from self.requests.take(event, at, container_id, location)

    def _object(
        self, event: Mapping[str, Any], time: str | datetime | None, container_id: str | None, location: str
    ) -> Iterator[Fact]:
        """Yield what a JSON object says: an event of the platform, a message in its wrapping, or the function's own line."""
        kind, record = event.get("type"), event.get("record")
        at = event.get("time") or time
        if isinstance(kind, str) and kind.startswith("platform."):
            if isinstance(record, dict):
                self._learn(container_id, record)
            happened = platform_event(kind.removeprefix("platform."), record)
            if happened is not None:
                moment = at if isinstance(at, datetime) else instant(at)
                yield from self.requests.take(happened, moment, container_id, location)
            return
        if isinstance(messages := event.get("logEvents"), list):
            yield from self._subscribed(event, messages, location)
        elif kind == "function" and isinstance(record, str):
            yield from self._messages(record, at, container_id, location)
        elif isinstance(event.get("message"), str) and ("ingestionTime" in event or "logStreamName" in event):
            stream = event.get("logStreamName")
            container_id = self._canonical(stream) if isinstance(stream, str) else container_id
            yield from self._messages(event["message"], _epoch(event.get("timestamp")), container_id, location)
        else:
            line = record if kind == "function" and isinstance(record, dict) else event
            error = application_error(line)
            if error:
                yield from self.requests.take(error, None, container_id, location)
            else:
                self.skipped += 1

    def _subscribed(self, event: Mapping[str, Any], messages: list[object], location: str) -> Iterator[Fact]:
        """Yield what a record of a subscription says: messages of one log stream."""
        stream, group = event.get("logStream"), event.get("logGroup")
        container_id = self._canonical(stream) if isinstance(stream, str) else self._container
        if isinstance(group, str):
            self.requests.learn(container_id, _function_of(group), None)
        for message in messages:
            if isinstance(message, dict) and isinstance(message.get("message"), str):
                at = _epoch(message.get("timestamp"))
                yield from self._messages(message["message"], at, container_id, location)

    def _messages(
        self, text: str, at: str | datetime | None, container_id: str | None, location: str
    ) -> Iterator[Fact]:
        for message in text.split("\n"):
            if message.startswith("{") and '"platform.' in message:
                yield from self._object(Line(0, message).json_object(), at, container_id, location)
            elif may_matter(message):
                yield from self._message(message, at, container_id, location)
            elif message.strip():
                self.skipped += 1

    def _learn(self, container_id: str | None, record: Mapping[str, Any]) -> None:
        function = record.get("functionName")
        region = None
        for name in ("runtimeVersionArn", "invokedFunctionArn", "functionArn"):
            if isinstance(arn := record.get(name), str):
                region = region or region_of(arn)
        if region or isinstance(function, str):
            is_name = isinstance(function, str) and 0 < len(function) <= 140
            self.requests.learn(container_id, function if is_name else None, region)

    def _canonical(self, stream: str) -> str:
        """Return the container's id of a log stream, and note the function that it may name."""
        stream = stream[:_MAX_STREAM]
        known = self._streams.get(stream)
        if known is None:
            if len(self._streams) >= 100_000:
                self._streams.clear()
            known = self._streams[stream] = _container_of(stream) or stream
            self.requests.learn(known, _function_in(known), None)
        return known


def _objects(file: BinaryIO) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of a JSON array, of several in a row, or of the list `events`, as they come, each with its beginning.

    Raises `Refused` where it goes on with anything else: not_json, too_deep, too_large, truncated.
    """
    text = io.TextIOWrapper(file, "utf-8-sig", "replace")
    buffer = text.read(_PIECE)
    wrapped = _LIST_OF_EVENTS.match(buffer)
    at = wrapped.end() if wrapped else 0
    is_array = bool(wrapped or _ARRAY.match(buffer))
    is_closed = False
    decoder = json.JSONDecoder()
    while True:
        between = _BETWEEN.match(buffer, at)
        at = between.end() if between else at
        is_closed = "]" in between[0] if between and between[0] else is_closed
        if wrapped and is_closed:
            return
        piece = ""
        try:
            if at < len(buffer):
                beginning = buffer[at : at + 1000]
                value, at = decoder.raw_decode(buffer, at)
                if not isinstance(value, dict):
                    raise Refused("not_json", f"a JSON {type(value).__name__}, not an object")
                is_closed = False
                yield beginning, value
                continue
        except RecursionError as error:
            raise Refused("too_deep", "nests deeper than what is read") from error
        except ValueError as error:
            if len(buffer) - at > MAX_LINE_BYTES:
                raise Refused("too_large", f"an object longer than {MAX_LINE_BYTES:,} characters") from error
            piece = text.read(_PIECE)
            if not piece:
                raise Refused("not_json", f"not JSON: {error}"[:200]) from error
        piece = piece or text.read(_PIECE)
        if not piece and is_array and not is_closed:
            raise Refused("truncated", "the array has no end")
        if not piece:
            return
        buffer, at = buffer[at:] + piece, 0


def _container_of(text: str) -> str | None:
    """Return the last log stream in a text as it is called in CloudWatch, with slashes."""
    found = deque(_STREAM.finditer(text), 1)
    return f"{found[0][1]}/{found[0][2]}/{found[0][3]}/{found[0][4]}{found[0][5]}" if found else None


def _function_in(container_id: str | None) -> str | None:
    """Return the function that a log stream of a shared log group names: `2024/01/02/NAME[$LATEST][...]`."""
    found = _STREAM.search(container_id) if container_id else None
    return found[4] or None if found else None


def _function_of(group: str) -> str | None:
    found = _GROUP.search(group)
    return found[1] if found else None


def _epoch(value: object) -> datetime | None:
    """Return the instant of milliseconds since 1970. Raises `Refused`: wrong_type, out_of_range."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused("wrong_type", f"timestamp is a {type(value).__name__}, not an integer")
    try:
        return in_range(_EPOCH + timedelta(milliseconds=value))
    except OverflowError as error:
        raise Refused("out_of_range", "timestamp is out of range") from error

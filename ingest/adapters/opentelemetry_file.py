"""Take a file of OTLP/JSON apart into resources and spans.

Two layouts hold the same: one `{"resourceSpans": [...]}` a line, as the collector's file exporter writes, and one JSON document of any
size, spread over lines or not. A line that is broken is rejected; a document that breaks off is read up to there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

import ijson

from ingest.adapters import json_stream
from ingest.adapters.adapter import Document, Line
from ingest.adapters.opentelemetry_spans import listed
from ingest.records import Refused
from warehouse.batches import Reject, Skipped

_SIGNAL = re.compile(r'\s*\{\s*"resource(?:Spans|Logs|Metrics)"\s*:\s*\[')
_TRACES = re.compile(r'^[ \t]*\{\s*"resourceSpans"\s*:\s*\[', re.MULTILINE)
_SCOPES = ("scopeSpans", "instrumentationLibrarySpans")
_LINES_TRIED = 100
_MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a file, in its order: a 'block' begins, its 'resource', or one of its 'span's."""

    what: str
    value: Any
    location: str


def begins_with_traces(head: str) -> bool:
    """Whether a text begins like OTLP/JSON, and traces are in it."""
    return _SIGNAL.match(head) is not None and _TRACES.search(head) is not None


def parts(document: Document) -> Iterator[Part | Reject | Skipped]:
    """Yield the blocks of a file, their resources and spans.

    Memory: one line, or of a document of many lines one span at a time.
    """
    if any(_is_whole(line) for line in islice(document.lines(), _LINES_TRIED)):
        for line in document.lines():
            yield from [line] if isinstance(line, Reject) else _of_line(line)
    else:
        with document.open() as file:
            yield from _of_document(file)


def _is_whole(line: Line | Reject) -> bool:
    return isinstance(line, Line) and _SIGNAL.match(line.text) is not None and line.text.rstrip().endswith("}")


def _of_line(line: Line) -> Iterator[Part | Reject | Skipped]:
    try:
        signals = line.json_object()
    except Refused as refused:
        yield line.rejected(refused)
        return
    blocks = signals.get("resourceSpans")
    if not isinstance(blocks, list):
        of_others = blocks is None and ("resourceLogs" in signals or "resourceMetrics" in signals)
        yield Skipped(1) if of_others else line.rejected(Refused("not_the_format", "no list of resourceSpans"))
        return
    number = 0
    for block in blocks:
        if not isinstance(block, dict):
            yield line.rejected(Refused("wrong_type", f"a resourceSpans is a {type(block).__name__}, not an object"))
            continue
        yield Part("block", None, line.location)
        yield Part("resource", block.get("resource"), line.location)
        for name in _SCOPES:
            for scope in listed(block.get(name)):
                for span in listed(scope.get("spans") if isinstance(scope, dict) else None):
                    number += 1
                    yield Part("span", span, f"{line.location}, span {number}")


def _of_document(file: BinaryIO) -> Iterator[Part | Reject]:
    """Yield the parts of one JSON document, or of several one after the other, up to where it breaks off."""
    json_stream.skip_byte_order_mark(file)
    number = 0
    keys: list[str] = []
    builder = None
    what, depth = "", 0
    try:
        for event, value in ijson.basic_parse(
            file, multiple_values=True, use_float=True, buf_size=json_stream.READ_BYTES
        ):
            opens, closes = event in ("start_map", "start_array"), event in ("end_map", "end_array")
            if closes:
                keys.pop()
            if builder:
                builder.event(event, value)
                if closes and len(keys) == depth:
                    number += what == "span"
                    yield Part(what, builder.value, f"span {number}")
                    builder = None
            elif event == "map_key":
                keys[-1] = value
            elif event == "start_map" and (what := _part(keys)):
                if what == "block":
                    yield Part(what, None, f"span {number + 1}")
                else:
                    builder, depth = ijson.ObjectBuilder(), len(keys)
                    builder.event(event, value)
            if opens:
                keys.append("" if event == "start_map" else "item")
                if len(keys) > _MAX_DEPTH:
                    yield Reject(f"after span {number}", "too_deep", "nests deeper than what is read; the rest is not")
                    return
    except UnicodeDecodeError:
        yield Reject(f"after span {number}", "not_json", "no JSON from here on: bytes that are no UTF-8")
    except ijson.JSONError as error:
        reason, sentence = json_stream.explained(error)
        yield Reject(f"after span {number}", reason, f"no JSON from here on: {sentence}")


def _part(keys: list[str]) -> str:
    match keys:
        case ["resourceSpans", "item"]:
            return "block"
        case ["resourceSpans", "item", "resource"]:
            return "resource"
        case ["resourceSpans", "item", "scopeSpans" | "instrumentationLibrarySpans", "item", "spans", "item"]:
            return "span"
    return ""

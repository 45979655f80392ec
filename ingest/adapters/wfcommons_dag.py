"""The DAG of a WfCommons instance, held as small as it goes: tasks are positions in lists, from 0 as the document has them."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from bisect import bisect_left
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ingest.adapters import json_stream, parsing
from ingest.adapters.adapter import MAX_NAME, Document, Fact, excerpt
from ingest.records import Refused, clean
from warehouse.batches import Reject

_FILES = "workflow.specification.files"
_NUMBER = re.compile(r"[_-](ID)?[0-9]+$")


@dataclass(slots=True)
class Dag:
    """Tasks by position: their ids, functions, and upstream tasks; files by id: their sizes and the tasks that write them.

    `entries` leads from an entry of the document's list to its task, `places` back. `has_ids` tells WfFormat 1.5, whose tasks
    are named by id, from older layouts.
    """

    has_ids: bool
    ids: list[str] = field(default_factory=list)
    functions: list[str | None] = field(default_factory=list)
    upstream: list[list[int]] = field(default_factory=list)
    outputs: list[int | None] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    writers: dict[str, list[int]] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    entries: dict[int, int] = field(default_factory=dict)
    places: list[int] = field(default_factory=list)

    def executed(self, entry: int, raw: dict[str, Any]) -> int | None:
        """Return the task that an entry of the list of executed tasks is about."""
        return self.positions.get(str(raw.get("id"))) if self.has_ids else self.entries.get(entry)

    def location(self, task: int) -> str:
        """Return where the document has the task, as rejects name it."""
        return f"task {self.places[task] + 1}"

    def output_bytes(self, task: int) -> int | None:
        """Return the size of all outputs together; None where one is unknown or none is listed."""
        return self.outputs[task]

    def edges(self) -> Iterator[tuple[int, int]]:
        """Yield (upstream, downstream), each once."""
        for task, upstream in enumerate(self.upstream):
            for other in upstream:
                yield other, task

    def sinks(self) -> list[int]:
        """Return the tasks that no other needs."""
        needed = {upstream for upstream, _ in self.edges()}
        return [task for task in range(len(self.ids)) if task not in needed]

    def structure_hash(self) -> str:
        """Return a hash of which functions need which: ids are numbered anew in every run of some engines."""
        names = [function or "" for function in self.functions]
        lines = sorted(
            json.dumps([names[task], sorted(names[other] for other in upstream)])
            for task, upstream in enumerate(self.upstream)
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def inputs(self, document: Document, path: str, run_id: str) -> Iterator[Fact]:
        """Yield the inputs of every task, each file once."""
        for position, location, raw in tasks_of(document, path):
            task = self.entries.get(position)
            if task is None:
                continue
            for name in dict.fromkeys(_files(raw, "input")):
                values = {
                    "run_id": run_id,
                    "task_id": self.ids[task],
                    "object_id": name,
                    "upstream_task_id": self._writer_of(name, task),
                    "input_bytes": self.sizes.get(name),
                }
                yield Fact("task_inputs", values, location)

    def _writer_of(self, name: str, task: int) -> str | None:
        """The task that wrote a file another reads: of several, one that the reader waits for."""
        writers = self.writers.get(name, [])
        writer = next((writer for writer in writers if writer != task), None)
        if len(writers) > 1:
            writer = next((other for other in self.upstream[task] if _holds(writers, other)), writer)
        return None if writer is None else self.ids[writer]


def tasks_of(document: Document, path: str) -> Iterator[tuple[int, str, Any]]:
    """Yield (position, 'task N', entry) of a list of tasks; an entry may be anything."""
    for position, raw in enumerate(json_stream.items(document, path)):
        yield position, f"task {position + 1}", raw


def read_dag(document: Document, path: str, *, has_ids: bool) -> Generator[Reject, None, Dag]:
    """Return the DAG in the list of tasks at a path; yield what of it was refused."""
    dag = Dag(has_ids)
    for raw in json_stream.items(document, _FILES):
        if isinstance(raw, dict):
            _measure(dag, raw.get("id"), raw.get("sizeInBytes"))
    names: dict[str, int] = {}
    for position, location, raw in tasks_of(document, path):
        try:
            _add(dag, position, raw)
        except Refused as refused:
            yield Reject(location, refused.reason, clean(refused.detail), excerpt(str(raw)[:MAX_NAME]))
            continue
        for name in (raw.get("name"), raw.get("id")):
            if isinstance(name, str):
                names.setdefault(name, dag.entries[position])
    names.update(dag.positions)
    yield from _connect(dag, document, path, names)
    yield from _without_cycles(dag)
    return dag


def _add(dag: Dag, position: int, raw: object) -> None:
    if not isinstance(raw, dict):
        raise Refused("wrong_type", f"a {type(raw).__name__}, not an object")
    name = _task_id(raw, dag.has_ids)
    if not name:
        raise Refused("missing_key", "the task has neither id nor name")
    if len(name) > MAX_NAME:
        raise Refused("too_large", f"the task's id is longer than {MAX_NAME:,} characters")
    if name in dag.positions:
        raise Refused("duplicate_key", f"another task has the id {name[:MAX_NAME]}")
    task = dag.positions[name] = dag.entries[position] = len(dag.ids)
    dag.ids.append(name)
    dag.places.append(position)
    dag.functions.append(_function(raw))
    dag.upstream.append([])
    for file in _described(raw):
        _measure(dag, _file_id(file), file.get("sizeInBytes", file.get("size")))
    outputs = list(dict.fromkeys(_files(raw, "output")))
    for output in outputs:
        dag.writers.setdefault(output, []).append(task)
    sizes = [dag.sizes.get(output) for output in outputs]
    known = [size for size in sizes if size is not None]
    dag.outputs.append(sum(known) if outputs and len(known) == len(sizes) else None)


def _connect(dag: Dag, document: Document, path: str, names: dict[str, int]) -> Iterator[Reject]:
    """Fill the upstream tasks, from what tasks say of their parents and of their children."""
    for position, location, raw in tasks_of(document, path):
        task = dag.entries.get(position)
        if task is None:
            continue
        for relation in ("parents", "children"):
            for name in _texts(raw.get(relation)):
                other = names.get(name)
                if other is None:
                    detail = f"{dag.ids[task]} has {name[:MAX_NAME]} among its {relation}, which is no task"
                    yield Reject(location, "missing_key", clean(detail))
                elif relation == "parents":
                    dag.upstream[task].append(other)
                else:
                    dag.upstream[other].append(task)
    for task, upstream in enumerate(dag.upstream):
        dag.upstream[task] = sorted(set(upstream))


def _without_cycles(dag: Dag) -> Iterator[Reject]:
    """Take out each edge that closes a cycle, found by walking upstream from every task in turn."""
    new, open_, done = 0, 1, 2
    states = [new] * len(dag.ids)
    for root in range(len(dag.ids)):
        if states[root] != new:
            continue
        states[root] = open_
        path = [(root, iter(list(dag.upstream[root])))]
        while path:
            task, rest = path[-1]
            other = next(rest, None)
            if other is None:
                states[task] = done
                path.pop()
            elif states[other] == open_:
                dag.upstream[task].remove(other)
                detail = f"the edge from {dag.ids[other]} to {dag.ids[task]} closes a cycle"
                yield Reject(dag.location(task), "not_the_format", clean(detail))
            elif states[other] == new:
                states[other] = open_
                path.append((other, iter(list(dag.upstream[other]))))


def _holds(ascending: list[int], number: int) -> bool:
    place = bisect_left(ascending, number)
    return place < len(ascending) and ascending[place] == number


def _task_id(raw: dict[str, Any], has_ids: bool) -> str | None:
    """The id as WfFormat 1.5 has it; in older layouts, where tasks are named by name, name and id together."""
    name, number = (text if isinstance(text := raw.get(key), str) else "" for key in ("name", "id"))
    if has_ids or not name:
        return number
    return name if number in name else f"{name}_{number}"


def _function(raw: dict[str, Any]) -> str | None:
    """The category where one is given, else the name, without its number where the name is the task's own."""
    category, name, number = raw.get("category"), raw.get("name"), raw.get("id")
    if isinstance(category, str) and category:
        return sys.intern(category[:MAX_NAME])
    if not isinstance(name, str):
        return None
    is_own = not isinstance(number, str) or name.endswith(number)
    return sys.intern((_NUMBER.sub("", name) or name if is_own else name)[:MAX_NAME])


def _measure(dag: Dag, name: object, size: object) -> None:
    """Note a file's size where both are what they should be."""
    if isinstance(name, str) and size is not None:
        with suppress(Refused):
            dag.sizes.setdefault(name, parsing.whole(size))


def _described(raw: dict[str, Any]) -> list[dict[str, Any]]:
    files = raw.get("files")
    return [file for file in files if isinstance(file, dict)] if isinstance(files, list) else []


def _file_id(file: dict[str, Any]) -> str | None:
    name, path = file.get("name"), file.get("path")
    if not isinstance(name, str):
        return None
    return path + name if isinstance(path, str) else name


def _files(raw: dict[str, Any], link: str) -> list[str]:
    """The files a task reads ('input') or writes ('output')."""
    listed = _texts(raw.get(f"{link}Files"))
    described = (_file_id(file) for file in _described(raw) if str(file.get("link", "")).lower() == link)
    return [*listed, *(name for name in described if name)]


def _texts(value: object) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []

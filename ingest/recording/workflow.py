"""Workflows of commands: what a task runs, what it reads, and what it waits for.

`read_workflow` reads them from TOML; docs/recording.md describes the keys. Everything is checked before anything runs.
"""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePath
from typing import Any

from warehouse.errors import FlowscopeError

_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_STDOUT_OF = re.compile(r"\{([A-Za-z0-9_-]+)\.stdout\}")
_WORKFLOW_KEYS = ("name", "tasks")
_TASK_KEYS = ("command", "stdin", "inputs", "outputs", "after", "function")


class WrongWorkflow(FlowscopeError):
    """A workflow file cannot be played; the sentence names its key."""


@dataclass(frozen=True, slots=True)
class Task:
    """One command. Paths are relative to the workflow's folder.

    `function` is the name under which tasks that do the same work are pooled, `files` are those it says it reads, `outputs` those
    it says it writes, `read_from` the tasks whose standard output its texts name, `after` those it waits for besides.
    """

    task_id: str
    command: tuple[str, ...]
    function: str
    stdin: str | None = None
    files: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    read_from: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    @property
    def printed(self) -> str:
        """Its standard output, as rows name it."""
        return f"{self.task_id}.stdout"


@dataclass(frozen=True)
class Workflow:
    """Tasks by name, in the folder in which they run."""

    name: str
    folder: Path
    tasks: Mapping[str, Task]

    @cached_property
    def makers(self) -> dict[str, str]:
        """The task that writes each file that a task says it writes."""
        return {name: task.task_id for task in self.tasks.values() for name in task.outputs}

    def reads(self, task: Task, work: Path) -> Iterator[tuple[str, str | None, Path]]:
        """Yield what a task reads: its name, the task that makes it (None: it is there before), its path.

        `work` is the folder that holds what tasks print.
        """
        for name in task.read_from:
            yield self.tasks[name].printed, name, work / self.tasks[name].printed
        for name in task.files:
            yield name, self.makers.get(name), self.folder / name

    @cached_property
    def upstream(self) -> dict[str, frozenset[str]]:
        """The tasks that each task waits for."""
        return {
            task.task_id: frozenset(
                [*task.after, *task.read_from, *(self.makers[name] for name in task.files if name in self.makers)]
            )
            for task in self.tasks.values()
        }

    @cached_property
    def ends(self) -> list[str]:
        """The tasks that nothing waits for."""
        awaited = frozenset[str]().union(*self.upstream.values())
        return [name for name in self.tasks if name not in awaited]

    def filled(self, text: str, work: Path) -> str:
        """Return a text of the workflow with the paths of what tasks printed in it."""
        return _STDOUT_OF.sub(lambda found: str(work / self.tasks[found[1]].printed), text)


def read_workflow(path: Path, name: str | None = None) -> Workflow:
    """Read a workflow of commands from TOML, under another name if given. Raises `WrongWorkflow`."""
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise WrongWorkflow(f"{path} cannot be read: {error.strerror}. Hint: check the path.") from error
    except UnicodeDecodeError as error:
        raise WrongWorkflow(f"{path} is not UTF-8. Hint: save it as UTF-8, as TOML asks.") from error
    except tomllib.TOMLDecodeError as error:  # a task that is there twice is one, too
        raise WrongWorkflow(f"{path} is not TOML: {error}. Hint: write each task once, as [tasks.NAME].") from error
    try:
        return _workflow(content, path, name)
    except WrongWorkflow as error:
        raise WrongWorkflow(f"{path}: {error}") from None


def _workflow(content: dict[str, Any], path: Path, name: str | None) -> Workflow:
    _refuse_unknown(content, _WORKFLOW_KEYS, "the file")
    named = _text(content, "name", "name")
    tables = content.get("tasks")
    if not isinstance(tables, dict) or not tables:
        raise WrongWorkflow("it has no tasks. Hint: add [tasks.NAME] with command = [PROGRAM, ARGUMENT, ...].")
    tasks = {task: _task(task, table) for task, table in tables.items()}
    workflow = Workflow(name or named or path.stem, path.parent.resolve(), tasks)
    _check_names(workflow)
    _check_files(workflow)
    try:
        TopologicalSorter(workflow.upstream).prepare()
    except CycleError as error:
        way = " -> ".join(error.args[1])
        raise WrongWorkflow(f"tasks wait for each other in a circle: {way}. Hint: take one dependency out.") from None
    return workflow


def _task(name: str, table: object) -> Task:
    where = f"tasks.{name}"
    if not _NAME.fullmatch(name):
        raise WrongWorkflow(f"{where!r} is no name of a task. Hint: use up to 100 letters, digits, - and _.")
    if not isinstance(table, dict):
        raise WrongWorkflow(f"{where} is not a table. Hint: write [{where}], then command = [PROGRAM, ARGUMENT, ...].")
    _refuse_unknown(table, _TASK_KEYS, where)
    command = _texts(table, "command", where)
    if not command or not command[0]:
        raise WrongWorkflow(f"{where}.command is missing. Hint: command = [PROGRAM, ARGUMENT, ...], no shell reads it.")
    program = command[0]
    if "/" not in program and shutil.which(program) is None:
        raise WrongWorkflow(f"{where}.command: no program {program!r} on PATH. Hint: install it, or write its path.")
    stdin = _text(table, "stdin", where)
    reads = [text for text in (stdin, *_texts(table, "inputs", where)) if text]
    for text in reads:
        if _STDOUT_OF.search(text) and not _STDOUT_OF.fullmatch(text):
            raise WrongWorkflow(
                f"{where} reads {text!r}, which is no path. Hint: give a path, or {{TASK.stdout}} alone."
            )
    read_from = [found for text in (*command, *reads) for found in _STDOUT_OF.findall(text)]
    return Task(
        name,
        command,
        _text(table, "function", where) or PurePath(program).name,
        stdin=stdin,
        files=tuple(dict.fromkeys(_path(text) for text in reads if not _STDOUT_OF.search(text))),
        outputs=tuple(dict.fromkeys(_path(text) for text in _texts(table, "outputs", where))),
        read_from=tuple(dict.fromkeys(read_from)),
        after=_texts(table, "after", where),
    )


def _check_names(workflow: Workflow) -> None:
    for task in workflow.tasks.values():
        for name in (*task.after, *task.read_from):
            if name not in workflow.tasks:
                raise WrongWorkflow(
                    f"tasks.{task.task_id} waits for {name!r}, which is no task. Hint: the tasks are {', '.join(workflow.tasks)}."
                )


def _check_files(workflow: Workflow) -> None:
    seen: dict[str, str] = {}
    for task in workflow.tasks.values():
        for name in task.outputs:
            if name in seen:
                raise WrongWorkflow(
                    f"tasks.{task.task_id} writes {name!r}, and so does tasks.{seen[name]}. Hint: give each its own file."
                )
            seen[name] = task.task_id
    for task in workflow.tasks.values():
        for name in task.files:
            if name not in seen and not (workflow.folder / name).exists():
                raise WrongWorkflow(
                    f"tasks.{task.task_id} reads {name!r}, which is not in {workflow.folder} and which no task writes."
                    " Hint: check the path, or name it in the outputs of the task that makes it."
                )


def _refuse_unknown(table: Mapping[str, object], known: Iterable[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise WrongWorkflow(f"{where} has an unknown key {key!r}. Hint: the keys are {', '.join(known)}.")


def _text(table: Mapping[str, object], key: str, where: str) -> str | None:
    value = table.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value or "\0" in value:
        raise WrongWorkflow(f'{where}.{key} is not a text. Hint: write {key} = "...".')
    return value


def _texts(table: Mapping[str, object], key: str, where: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(text, str) and "\0" not in text for text in value):
        raise WrongWorkflow(f'{where}.{key} is not a list of texts. Hint: write {key} = ["...", "..."].')
    return tuple(value)


def _path(text: str) -> str:
    return str(PurePath(text))

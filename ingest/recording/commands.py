"""The command `record`."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

import click

from ingest.recording.flowdump import Recorded, Recording, write
from ingest.recording.playing import end_all, forward, play, play_command, stopping
from ingest.recording.processes import Processes
from ingest.recording.workflow import Task, Workflow, WrongWorkflow, read_workflow
from warehouse.errors import FlowscopeError
from warehouse.home import Home
from warehouse.options import home_option


@click.command()
@click.argument(
    "words", metavar="WORKFLOW.toml | -- COMMAND [ARGUMENT]...", nargs=-1, required=True, type=click.UNPROCESSED
)
@click.option(
    "--into",
    metavar="DIR",
    default=Path("recorded"),
    show_default="./recorded",
    type=click.Path(path_type=Path),
    help="Flowdump to add to.",
)
@click.option(
    "--workflow", "name", metavar="NAME", help="Name of the workflow. [default: the file's, or the command's]"
)
@click.option("--jobs", type=click.IntRange(min=1), help="Tasks to run at once. [default: cores]")
@click.option("--repeat", type=click.IntRange(min=1), help="Record the workflow so many times.")
@click.option("--function", metavar="NAME", help="What the command does, under one name. [default: its program's name]")
@click.option("--input", "inputs", metavar="FILE", multiple=True, help="File the command reads. Repeatable.")
@click.option("--output", "outputs", metavar="FILE", multiple=True, help="File the command writes. Repeatable.")
@home_option
def record(
    words: tuple[str, ...],
    into: Path,
    name: str | None,
    jobs: int | None,
    repeat: int | None,
    function: str | None,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    home: Home,
) -> None:
    """Run one command, or a small DAG of commands, and record what each took as a flowdump that `ingest` takes in."""
    is_workflow = len(words) == 1 and words[0].endswith(".toml")
    only: dict[str, object] = {"--jobs": jobs, "--repeat": repeat}
    if is_workflow:
        only = {"--function": function, "--input": inputs or None, "--output": outputs or None}
    for option, value in only.items():
        if value is not None:
            kind = "one command, not of a workflow" if is_workflow else "a workflow, not of one command"
            raise click.UsageError(f"{option} is an option of {kind}.")
    if is_workflow:
        workflow = read_workflow(Path(words[0]), name)
        sys.exit(record_workflow(home, workflow, _folder(into), jobs or os.cpu_count() or 1, repeat or 1))
    if not words[0]:
        raise click.UsageError("The command is empty.")
    program = PurePath(words[0]).name or words[0]
    task = Task(function or program, words, function or program, files=inputs, outputs=outputs)
    for file in inputs:
        if not Path(file).exists():
            raise WrongWorkflow(f"No such file: {file}. Hint: --input names what the command reads.")
    workflow = Workflow(name or task.function, Path.cwd(), {task.task_id: task})
    sys.exit(record_command(workflow, task, _folder(into)))


def record_workflow(home: Home, workflow: Workflow, into: Path, jobs: int, repeat: int) -> int:
    """Run and record a workflow so many times, and pass on what its ends print.

    Return the exit code: 0, 1 where a task did not succeed, 128 + n after signal n.
    """
    code = 0
    home.staging.mkdir(parents=True, exist_ok=True)
    for _ in range(repeat):
        with TemporaryDirectory(dir=home.staging, prefix=f"spill-{os.getpid()}-record-") as place:
            work, processes = Path(place), Processes(grouped=True)
            with stopping(end_all(processes)) as stop:
                recording = Recording(workflow)
                play(recording, jobs, work, processes, _say_failed)
                write(into, recording)
            _say(recording, into)
            if stop.exit_code is not None:
                return stop.exit_code
            for name in workflow.ends:
                _pass_on(work / workflow.tasks[name].printed)
        if not recording.is_complete:
            code = 1
    return code


def record_command(workflow: Workflow, task: Task, into: Path) -> int:
    """Run and record one command on this process's own streams; return its exit code, 1 where its output was lost."""
    processes = Processes(grouped=False)
    with stopping(forward(processes)) as stop:
        recording = Recording(workflow)
        errors = play_command(recording, task, processes)
        write(into, recording)
    for error in errors:
        click.echo(f"What the command printed could not be passed on: {error.strerror}.", err=True)
    if not recording.tasks:
        return stop.exit_code or 1
    ending = recording.tasks[0].ending
    if ending.cpu_seconds is None:
        click.echo(f"The command cannot be started: {ending.error_message}. Hint: check its name and PATH.", err=True)
    elif ending.error_type == "MissingOutput":
        click.echo(f"The command has failed: {ending.error_message}. Hint: --output names what it writes.", err=True)
    _say(recording, into)
    return 1 if errors else ending.exit_code


def _folder(into: Path) -> Path:
    try:
        into.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FlowscopeError(
            f"{into} cannot be made: {error.strerror}. Hint: choose another folder with --into."
        ) from error
    if not os.access(into, os.W_OK | os.X_OK):
        raise FlowscopeError(f"{into} cannot be written. Hint: choose another folder with --into.")
    return into


def _pass_on(printed: Path) -> None:
    if printed.exists():
        with printed.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.flush()


def _say_failed(recorded: Recorded) -> None:
    ending = recorded.ending
    if ending.status != "succeeded":
        last = (ending.error_message or "").splitlines()[-1:]
        click.echo(": ".join([f"Task {recorded.task.task_id} {ending.status} ({ending.error_type})", *last]), err=True)


def _say(recording: Recording, into: Path) -> None:
    statuses = [recorded.ending.status for recorded in recording.tasks]
    tasks = len(recording.workflow.tasks)
    what = f"{statuses.count('succeeded'):,} of {tasks:,} tasks succeeded" if tasks > 1 else "".join(statuses)
    click.echo(
        f"Recorded {recording.run_id}: {what}, {recording.seconds:.3f} s. Hint: flowscope ingest {into}", err=True
    )

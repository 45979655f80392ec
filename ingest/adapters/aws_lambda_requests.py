"""Join what AWS Lambda's logs say of each request, event by event.

A request that appears again is tried again: another attempt of the same run. What is kept is bounded: at most `MAX_OPEN`
requests without a report (then the oldest goes without), `MAX_DONE` with one (for errors printed after the report, and for
requests tried again), and what is known of `MAX_CONTAINERS` containers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from ingest.adapters.adapter import Fact
from ingest.adapters.aws_lambda_events import (
    ErrorLogged,
    Event,
    Figures,
    InitReported,
    InitStarted,
    LogsDropped,
    Reported,
    ReportGoesOn,
    RuntimeDone,
    Started,
)
from ingest.adapters.aws_lambda_rows import Attempt, Init, rows
from ingest.records import Refused

MAX_OPEN = 100_000
MAX_DONE = 20_000
MAX_CONTAINERS = 100_000


@dataclass(slots=True)
class _Container:
    function: str | None = None
    region: str | None = None
    open: set[str] = field(default_factory=set)
    last_report: str | None = None
    init: Init | None = None
    logs_dropped: bool = False

    def begun_init(self) -> Init:
        self.init = self.init or Init()
        return self.init


class Requests:
    """The requests of one document, joined event by event."""

    def __init__(self, function: str | None, region: str | None) -> None:
        self._functions = {function} if function else set()
        self._regions = {region} if region else set()
        self._containers: OrderedDict[str | None, _Container] = OrderedDict()
        self._open: OrderedDict[str, list[Attempt]] = OrderedDict()
        self._done: OrderedDict[str, list[Attempt]] = OrderedDict()

    def learn(self, container_id: str | None, function: str | None, region: str | None) -> None:
        """Note a container's function and region. Without a container they are the document's, where it names no other."""
        container = self._container(container_id)
        for name, names in ((function, self._functions), (region, self._regions)):
            if name and len(names) < 2:
                names.add(name)
        if container_id is not None:
            container.function, container.region = function or container.function, region or container.region

    def take(self, event: Event, at: datetime | None, container_id: str | None, location: str) -> Iterator[Fact]:
        """Take an event and yield the rows of requests that nothing more is expected of.

        Raises `Refused` 'duplicate_key' for a report that was taken before.
        """
        match event:
            case Started():
                self._start(event, at, container_id, location)
            case Reported(request_id, figures):
                self._report(request_id, figures, at, container_id, location)
            case ReportGoesOn(figures):
                self._go_on(figures, self._container(container_id))
            case RuntimeDone(request_id, figures):
                if attempts := self._open.get(request_id) or self._done.get(request_id):
                    attempts[-1].runtime = figures
            case InitStarted():
                init = self._container(container_id).begun_init()
                init.started_at, init.kind = at, event.kind or init.kind
            case InitReported():
                self._init(event, container_id)
            case ErrorLogged():
                self._fail(event, container_id)
            case LogsDropped():
                container = self._container(container_id)
                container.logs_dropped = True
                for request_id in container.open & self._open.keys():
                    self._open[request_id][-1].logs_dropped = True
        while len(self._open) > MAX_OPEN:
            yield from self._rows(*self._open.popitem(last=False))
        while len(self._done) > MAX_DONE:
            yield from self._rows(*self._done.popitem(last=False))

    def rest(self) -> Iterator[Fact]:
        """Yield the rows of all requests that are left, those without a report last."""
        for requests in (self._done, self._open):
            while requests:
                yield from self._rows(*requests.popitem(last=False))

    def _container(self, container_id: str | None) -> _Container:
        container = self._containers.get(container_id)
        if container is None:
            container = self._containers[container_id] = _Container()
            if len(self._containers) > MAX_CONTAINERS:
                self._containers.popitem(last=False)
        return container

    def _start(self, event: Started, at: datetime | None, container_id: str | None, location: str) -> None:
        container = self._container(container_id)
        attempts = self._open.get(event.request_id) or self._done.get(event.request_id)
        last = attempts[-1] if attempts else None
        if last and last.container_id == container_id and _is_start_of(last, at):
            last.has_start, last.version, last.started_at = True, event.version, at or last.started_at
            return
        attempt = Attempt(location, container_id, at, True, event.version, container.init)
        container.init = None
        attempts = self._done.pop(event.request_id, None) or attempts or []
        attempts.append(attempt)
        self._open[event.request_id] = attempts
        if container_id is not None:
            container.open.clear()
        container.open.add(event.request_id)

    def _report(
        self, request_id: str, figures: Figures, at: datetime | None, container_id: str | None, location: str
    ) -> None:
        container = self._container(container_id)
        attempts = self._open.pop(request_id, None) or self._done.pop(request_id, None) or []
        self._done[request_id] = attempts
        container.open.discard(request_id)
        container.last_report = request_id
        if not attempts or attempts[-1].report is not None:
            if any(_is_report_of(attempt, figures, at) for attempt in attempts):
                raise Refused("duplicate_key", "this report was read before")
            attempts.append(Attempt(location, container_id, init=container.init))
            container.init = None
        elif any(_is_report_of(attempt, figures, at) for attempt in attempts[:-1]):
            attempts.pop()
            raise Refused("duplicate_key", "this report was read before")
        last = attempts[-1]
        last.report, last.reported_at = figures, at
        last.logs_dropped |= container.logs_dropped
        if figures.is_complete:
            container.logs_dropped = False

    def _go_on(self, figures: Figures, container: _Container) -> None:
        attempts = self._done.get(container.last_report) if container.last_report else None
        if attempts and (report := attempts[-1].report):
            attempts[-1].report = report._replace(
                extra={**report.extra, **figures.extra},
                status=report.status or figures.status,
                error_type=report.error_type or figures.error_type,
            )

    def _init(self, event: InitReported, container_id: str | None) -> None:
        container = self._container(container_id)
        running = self._current(container) if event.phase == "invoke" else None
        if running:
            init = running.init = running.init or Init()
        else:
            init = container.begun_init()
        init.kind = event.kind or init.kind
        is_failed = event.status not in (None, "success")
        if is_failed and event.error_type and not init.error:
            init.error = ErrorLogged(None, event.error_type, None, "failed")
        if event.duration_ms is None:
            return
        if event.phase == "invoke" or is_failed:
            name = (
                "repeated_init" if event.phase == "invoke" else "failed_restore" if event.is_restore else "failed_init"
            )
            init.phases[name] = init.phases.get(name, 0) + event.duration_ms
        elif event.is_restore:
            init.restore_ms = event.duration_ms
        else:
            init.init_ms = event.duration_ms

    def _fail(self, event: ErrorLogged, container_id: str | None) -> None:
        container = self._container(container_id)
        if event.request_id:
            attempts = self._open.get(event.request_id) or self._done.get(event.request_id)
            attempt = attempts[-1] if attempts else None
        else:
            attempt = self._current(container)
        if attempt:
            attempt.error = _worse(attempt.error, event)
        elif not event.request_id and container.init:
            container.init.error = _worse(container.init.error, event)

    def _current(self, container: _Container) -> Attempt | None:
        """Return what the container is at, None where that is not clear."""
        if len(container.open) != 1:
            return None
        attempts = self._open.get(next(iter(container.open)))
        return attempts[-1] if attempts else None

    def _rows(self, request_id: str, attempts: list[Attempt]) -> Iterator[Fact]:
        container = self._containers.get(attempts[0].container_id) or _Container()
        for attempt in attempts:
            if known := self._containers.get(attempt.container_id):
                known.open.discard(request_id)
        function = container.function or _only(self._functions)
        yield from rows(request_id, attempts, function, container.region or _only(self._regions))


def _is_start_of(attempt: Attempt, at: datetime | None) -> bool:
    """Whether a start at that instant is that of an attempt: written twice, or after its report, for chunks of an export are in no order."""
    if attempt.has_start:
        return at is not None and attempt.started_at == at
    return not (at and attempt.reported_at and at > attempt.reported_at)


def _is_report_of(attempt: Attempt, figures: Figures, at: datetime | None) -> bool:
    """Whether a report is that of an attempt, written twice."""
    return attempt.report is not None and attempt.reported_at == at and _measured(attempt.report) == _measured(figures)


def _measured(figures: Figures) -> tuple[float | None, ...]:
    return figures.duration_ms, figures.billed_ms, figures.max_memory_mb, figures.init_ms


def _worse(before: ErrorLogged | None, event: ErrorLogged) -> ErrorLogged:
    """Return what two errors of one request say together: what ended it counts more than what was only logged."""
    if before is None or (event.ends and not before.ends):
        return event
    if before.ends and not event.ends:
        return before
    ends = "killed" if "killed" in (before.ends, event.ends) else before.ends
    first, second = (event, before) if event.error_type == "timeout" else (before, event)
    return ErrorLogged(before.request_id, first.error_type or second.error_type, first.message or second.message, ends)


def _only(names: set[str]) -> str | None:
    return next(iter(names)) if len(names) == 1 else None

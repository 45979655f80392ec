"""The one writer: every change to the warehouse is a transaction here, and then a new generation.

Rows of a run that arrives from two dumps belong to the dump with more rows for it (ties: the later). The other dump's
rows wait in the schema `set_aside` and come back when the first leaves. What commands wrote (tags, environments, results
of predictors and simulations) is kept apart from what sources say and applied over it.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import duckdb
import pyarrow as pa

from warehouse.batches import Batch
from warehouse.connection import open_writer
from warehouse.errors import FlowscopeError, SourceError, WarehouseBusy
from warehouse.generations import publish
from warehouse.home import Home
from warehouse.loading import load
from warehouse.ownership import claim, is_contested, note_duplicates, refuse_repeated_keys, runs_claimed, settle
from warehouse.results import let_results_stand, remove_results_of_gone_runs, replace_results
from warehouse.schema import FOUND, arrow_schema, ddl, described
from warehouse.tables import FACTS, RUN_FACTS, TABLES
from warehouse.target import NotClean, Tally, registered
from warehouse.views import views_digest

_INTERNAL = """
create schema if not exists internal;
create table if not exists internal.claims (run_id varchar, dump varchar, file_id varchar, rows bigint, loaded_at timestamp);
create table if not exists internal.environments (run_id varchar, environment varchar);
create table if not exists internal.state (changes bigint, published_changes bigint, views_digest varchar);
insert into internal.state select 0, -1, '' where not exists (from internal.state);
"""


Read = Callable[[], Iterable[Batch]]
"""Reads an object from its beginning."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """An object in the manifest: where it is, what it was when it was read, and how it is read."""

    file_id: str
    source: str
    key: str
    uri: str
    dump: str
    etag: str
    size_bytes: int | None
    sha256: str | None
    format: str | None
    parser_version: int | None


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What the manifest says of an object."""

    file_id: str
    etag: str | None
    parser_version: int | None
    format: str | None
    status: str


class Writer:
    """Holds the writer's lock and its connection. Raises `WarehouseBusy` when somebody else holds them."""

    _connection: duckdb.DuckDBPyConnection

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock: TextIO | None = None

    def __enter__(self) -> Writer:
        try:
            self._home.warehouse.mkdir(parents=True, exist_ok=True)
            self._home.staging.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self._home.lock)
            self._home.clear_staging()
        except OSError as error:
            raise FlowscopeError(
                f"{self._home.root} cannot be written: {error.strerror}. Hint: choose another --home."
            ) from error
        try:
            self._connection = open_writer(self._home.writer, self._home)
            self._bring_up_to_date()
        except duckdb.Error as error:
            self._close()
            raise FlowscopeError(
                f"{self._home.writer} cannot be opened: {str(error).splitlines()[0]}. "
                "Hint: move it away and ingest again; the published generations stay readable."
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        if isinstance(error, duckdb.Error):
            sentence = str(error).strip().splitlines()[0]
            raise FlowscopeError(
                f"The warehouse in {self._home.root} could not be written: {sentence}. "
                "Hint: check the free space; what was published before is untouched."
            ) from error

    def _close(self) -> None:
        with suppress(duckdb.Error, AttributeError):  # not opened, or broken: what was committed is in the file
            self._connection.close()
        if self._lock:
            self._lock.close()

    def _bring_up_to_date(self) -> None:
        self._connection.execute(_INTERNAL)
        if not described() <= set(self._rows(FOUND)):
            with _Transaction(self._connection):
                for statement in ddl():
                    self._connection.execute(statement)
                self._changed()

    @contextmanager
    def _fault_of(self, key: str) -> Iterator[None]:
        """Turn what DuckDB says of an object's values into a `SourceError`; other errors of DuckDB end the writing."""
        try:
            yield
        except SourceError:
            self._reopen_if_broken()
            raise
        except (duckdb.DataError, duckdb.ProgrammingError, duckdb.InternalError) as error:
            self._reopen_if_broken()
            sentence = str(error).strip().splitlines()[0]
            raise SourceError("unsupported", f"{key} cannot be loaded ({sentence}). Hint: check its values.") from error

    def _reopen_if_broken(self) -> None:
        """Open the database again where a damaged file broke DuckDB itself. What was committed is in it."""
        try:
            with _Transaction(self._connection):
                self._rows("from internal.state")
        except duckdb.FatalException:
            self._connection.close()
            self._connection = open_writer(self._home.writer, self._home)

    # the manifest

    def known_files(self) -> dict[str, KnownFile]:
        """Return what the manifest holds, by address."""
        rows = self._rows("select uri, file_id, etag, parser_version, format, status from files")
        return {uri: KnownFile(*rest) for uri, *rest in rows}

    def replace(self, record: FileRecord, read: Read) -> Tally:
        """Replace an object's rows by what `read` yields, in one transaction. `read` may be called twice.

        Raises `SourceError` where the object is at fault; then its earlier rows still stand.
        """
        with self._fault_of(record.key):
            try:
                return self._replace([(record, read)], strict=True)[0]
            except NotClean:
                return self._replace([(record, read)], strict=False)[0]

    def replace_all(self, objects: Sequence[tuple[FileRecord, Read]]) -> list[Tally]:
        """Replace several small objects' rows in one transaction, which costs less than one each.

        Raises `SourceError` where any of them is at fault; then nothing has changed, and `replace` tells which it is.
        """
        with self._fault_of(objects[0][0].key):
            try:
                return self._replace(objects, strict=True)
            except NotClean as error:
                raise SourceError("unsupported", "Some lines are not as they should be.") from error

    def _replace(self, objects: Sequence[tuple[FileRecord, Read]], *, strict: bool) -> list[Tally]:
        started_at = _now()
        dumps = {record.file_id: record.dump for record, _ in objects}
        with _Transaction(self._connection):
            contested = is_contested(self._connection, dumps)
            runs = set[str]().union(*(self._remove(file_id) for file_id in dumps))
            tallies = load(self._connection, {record.file_id: read() for record, read in objects}, strict=strict)
            refuse_repeated_keys(self._connection, dumps, tallies)
            claim(self._connection, dumps, set[str]().union(*(tally.tables for tally in tallies.values())))
            contested = contested or is_contested(self._connection, dumps)
            if contested:
                runs |= runs_claimed(self._connection, list(dumps))
                settle(self._connection, runs)
            self._apply_assigned()
            for record, _ in objects:
                self._record(record, tallies[record.file_id], "loaded", None, started_at)
            if contested:
                note_duplicates(self._connection, runs)
            self._changed()
        return [tallies[record.file_id] for record, _ in objects]

    def fail(self, record: FileRecord, reason: str, message: str) -> None:
        """Record that an object could not be read. Rows it had stay. The same failure again changes nothing."""
        before = self._rows("select status, message, etag from files where file_id = ?", [record.file_id])
        if before == [("failed", message, record.etag)]:
            return
        with _Transaction(self._connection):
            self._rows("delete from rejects where file_id = ?", [record.file_id])
            self._rows("insert into rejects values (?, ?, ?, ?, '')", [record.file_id, record.key, reason, message])
            kept = self._rows("select rows from files where file_id = ?", [record.file_id])
            tally = Tally(rows=kept[0][0] if kept else 0, rejected=1)
            self._record(record, tally, "failed", message, _now())
            note_duplicates(self._connection, self.runs_of([record.file_id]))
            self._changed()

    def mark_missing(self, file_ids: Iterable[str]) -> None:
        """Record that objects are gone from their source. Their rows stay."""
        with _Transaction(self._connection):
            marked = self._rows(
                "update files set status = 'missing' where list_contains(?, file_id) and status <> 'missing'",
                [list(file_ids)],
            )
            if marked != [(0,)]:
                self._changed()

    def forget(self, file_ids: Sequence[str]) -> int:
        """Take the rows of objects out again, and the objects out of the manifest. Return how many rows left."""
        with _Transaction(self._connection):
            ids = list(file_ids)
            (count,) = self._rows(
                "select coalesce(sum(rows), 0)::bigint from files where list_contains(?, file_id)", [ids]
            )[0]
            runs: set[str] = set()
            for file_id in ids:
                runs |= self._remove(file_id)
                self._rows("delete from files where file_id = ?", [file_id])
            settle(self._connection, runs)
            self._rows("delete from run_tags where file_id is null and run_id not in (select run_id from runs)")
            self._rows("delete from internal.environments where run_id not in (select run_id from internal.claims)")
            remove_results_of_gone_runs(self._connection)
            self._apply_assigned()
            note_duplicates(self._connection, runs)
            self._changed()
        return int(count)

    # labels

    def runs_of(self, file_ids: Sequence[str]) -> set[str]:
        """Return the runs that those objects speak of."""
        return runs_claimed(self._connection, file_ids)

    def label(self, tags: Mapping[str, Mapping[str, str]], environments: Mapping[str, str]) -> tuple[int, list[str]]:
        """Set tags (by run, then by name) and environments (by run). Return how many runs were labelled, and which do not exist.

        A tag set here stands over the same tag from a file, and over an earlier one.
        """
        wanted = tags.keys() | environments.keys()
        with _Transaction(self._connection):
            known = {run for (run,) in self._rows("select run_id from runs")}
            before = self._labels()
            self._put(
                "run_tags",
                ("run_id", "tag"),
                ("run_id", "tag", "value"),
                [(run, tag, value) for run in tags.keys() & known for tag, value in tags[run].items()],
            )
            self._put(
                "internal.environments",
                ("run_id",),
                ("run_id", "environment"),
                [(run, environments[run]) for run in environments.keys() & known],
            )
            self._apply_assigned()
            if self._labels() != before:
                self._changed()
        return len(wanted & known), sorted(wanted - known)

    def _labels(self) -> list[tuple[Any, ...]]:
        return self._rows(
            "select 'tag', run_id, tag, value from run_tags union all select 'environment', run_id, '', environment from runs"
            " order by all"
        )

    def _put(self, table: str, key: Sequence[str], columns: Sequence[str], rows: list[tuple[Any, ...]]) -> None:
        """Insert rows, each in place of the one with its key."""
        batch = pa.table({name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(columns)})
        same = " and ".join(f"old.{name} = new.{name}" for name in key)
        with registered(self._connection, "put_rows", batch):
            self._rows(f"delete from {table} as old using put_rows as new where {same}")
            self._rows(f"insert into {table} ({', '.join(columns)}) select {', '.join(columns)} from put_rows")

    def _apply_assigned(self) -> None:
        """Let what commands assigned stand over what files say."""
        self._rows(
            "update runs set environment = assigned.environment from internal.environments as assigned"
            " where runs.run_id = assigned.run_id and runs.environment is distinct from assigned.environment"
        )
        self._rows(
            "delete from run_tags as old using run_tags as assigned where assigned.file_id is null"
            " and old.file_id is not null and old.run_id = assigned.run_id and old.tag = assigned.tag"
        )
        let_results_stand(self._connection)

    # results

    def put_results(self, results: Mapping[str, pa.Table]) -> dict[str, int]:
        """Replace what commands wrote of the predictors, and of the runs' scenarios, named in `results`, in one transaction.

        `results` maps 'predictions', 'predictor_scores', 'history_budgets', 'simulations', 'simulated_tasks' and
        'simulated_invocations' to rows. A predictor named in one of the first two loses its earlier rows in both, one named
        in the third its earlier rows there, and a (run_id, scenario) its earlier rows in the last three; other runs of the
        scenario stay. Columns left out are NULL; rows of runs that the warehouse does not hold are left out. Returns how
        many rows each table got. Raises `ResultsRefused` for rows that are not as the tables are described; then nothing
        has changed.

        A row put here stands over the row with the same key from a file, and over an earlier one.
        """
        with _Transaction(self._connection):
            counts = replace_results(self._connection, results)
            self._changed()
        return counts

    # publishing

    def publish(self) -> Path | None:
        """Publish a generation if anything changed since the last one (or it is gone). Return its path."""
        changes, published_changes, digest = self._rows("select * from internal.state")[0]
        if changes == published_changes and digest == views_digest() and self._home.current.exists():
            return None
        self._rows("checkpoint")
        path = publish(self._home, changes, version("flowscope"))
        self._rows("update internal.state set published_changes = ?, views_digest = ?", [changes, views_digest()])
        return path

    def _changed(self) -> None:
        self._rows("update internal.state set changes = changes + 1")

    # rows of objects

    def _remove(self, file_id: str) -> set[str]:
        """Delete everything an object brought. Return the runs it spoke of."""
        if not self._rows("select 1 from files where file_id = ?", [file_id]):
            return set()
        runs = runs_claimed(self._connection, [file_id])
        for table in (*FACTS, *(f"set_aside.{name}" for name in RUN_FACTS), "rejects", "internal.claims"):
            self._rows(f"delete from {table} where file_id = ?", [file_id])
        return runs

    def _record(self, record: FileRecord, tally: Tally, status: str, message: str | None, started_at: datetime) -> None:
        files = next(table for table in TABLES if table.name == "files")
        row = {
            "file_id": record.file_id, "source": record.source, "key": record.key, "uri": record.uri, "etag": record.etag,
            "size_bytes": record.size_bytes, "sha256": record.sha256, "format": record.format,
            "parser_version": record.parser_version, "status": status, "message": message, "rows": tally.rows,
            "rejected": tally.rejected, "skipped": tally.skipped, "duplicate_runs": 0,
            "unknown_fields": sorted(tally.unknown.items()), "started_at": started_at, "finished_at": _now(),
        }  # fmt: skip
        self._rows("delete from files where file_id = ?", [record.file_id])
        self._append("files", pa.Table.from_pylist([row], schema=arrow_schema(files.columns)))
        if not tally.rejects:
            return
        rejects = next(table for table in TABLES if table.name == "rejects")
        self._append(
            "rejects",
            pa.Table.from_pylist(
                [
                    {
                        "file_id": record.file_id,
                        "location": r.location,
                        "reason": r.reason,
                        "detail": r.detail,
                        "excerpt": r.excerpt,
                    }
                    for r in tally.rejects
                ],
                schema=arrow_schema(rejects.columns),
            ),
        )

    def _append(self, table: str, batch: pa.Table) -> None:
        with registered(self._connection, "appended", batch):
            self._rows(f"insert into {table} by name select * from appended")

    def _rows(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, parameters).fetchall()


class _Transaction:
    """Commit at the end, roll back on any exception, Ctrl-C included."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("begin")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._connection.execute("commit")
            return
        with suppress(duckdb.Error):  # the error that ended the transaction is the one to hear of
            self._connection.execute("rollback")


def _locked(path: Path) -> TextIO:
    """Return the lock file, locked; the kernel unlocks it when the process ends, however it ends."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise WarehouseBusy(
            f"The warehouse is being written by {holder}. Hint: try again when it has finished."
        ) from error
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)

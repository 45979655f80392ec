"""How well cold starts of SeBS-Flow recordings are told with their labels hidden: `python -m tests.warehouse.hidden_labels`.

The six recordings are two modes (burst, warm) of one workflow on three clouds. The labels of one mode are hidden, its init durations
and what follows from them too; the keep-alive, and what a slow call is, come from the labels of the other mode on the same cloud, or
from nothing where those are hidden as well. Containers are named, or their names are hidden everywhere. Beside it stand two simple
rules that use all they can: a fixed keep-alive of 7 s without names, and 'first seen = cold' with them. docs/cold-starts.md
tells what came out.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from ingest.commands import take_in
from ingest.labels import Labels
from warehouse.home import Home
from warehouse.schema import literal
from warehouse.tables import FACTS
from warehouse.views import View, core_views, create_views

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "field" / "sebs-flow"
MODES = ("burst", "warm")
VIEWS = (
    *("task_times", "invocation_tasks", "worker_times", "slow_starts", "container_reuse", "keep_alive"),
    *("cold_start_inference", "cold_starts"),
)
OTHER_CUTS = [(ratio, spreads) for ratio in ("4", "5", "10") for spreads in ("3", "3.5", "3.9")]
TRUTH = """
create table truth as
select invocation_id, runs.environment as cloud, value as mode, reported_state as label, ready_at, function, container_id
from invocations inner join runs using (run_id) inner join run_tags on runs.run_id = run_tags.run_id and tag = 'mode'
"""
HIDE = """
update invocations set
    reported_state = case when mode = $chosen_on then reported_state end,
    init_ms = case when mode = $chosen_on then init_ms end,
    requested_at = case when mode = $chosen_on then requested_at end,
    container_id = case when $named then invocations.container_id end
from truth where truth.invocation_id = invocations.invocation_id
"""
SCORES = """
select
    cloud, mode, count(*), count_if(label = 'cold'), count_if(state <> 'unknown' and label = 'cold'),
    count_if(state <> 'unknown' and label = 'warm'), count_if(state = 'cold' and label = 'cold'),
    count_if(state = 'cold' and label = 'warm')
from truth inner join told using (invocation_id) group by cloud, mode order by cloud, mode
"""
FIXED_KEEP_ALIVE = """
create table told as
select invocation_id, case when idle_ms <= 7000 then 'warm' else 'cold' end as state from container_reuse
"""
FIRST_SEEN = """
create table told as
select
    invocation_id,
    case when row_number() over (partition by cloud, mode, container_id order by ready_at, invocation_id) = 1
        then 'cold' else 'warm' end as state
from truth
"""


FACTS_OF_CONTAINERS = """
select
    cloud, mode, min(idle_ms) filter (matched_by = 'container'), max(idle_ms) filter (matched_by = 'container'),
    count_if(matched_by = 'container' and idle_ms < 0),
    round(exp(avg(ln(execution_ms)) filter (label = 'cold')), 1), round(exp(avg(ln(execution_ms)) filter (label = 'warm')), 1)
from truth
inner join container_reuse using (invocation_id)
inner join tasks on container_reuse.run_id = tasks.run_id and truth.invocation_id = tasks.worker_id
group by grouping sets ((cloud, mode), (cloud)) order by all
"""
CONTRADICTED = """
select cloud, mode, label, count(*) from truth inner join cold_starts using (invocation_id)
where unknown_because = 'contradicted' and mode <> $chosen_on group by all order by all
"""


@dataclass(frozen=True, slots=True)
class Score:
    """What was told of the starts of one recording: counts of starts by label and by what was said."""

    cloud: str
    mode: str
    n: int
    cold: int
    decided_cold: int
    decided_warm: int
    cold_as_cold: int
    warm_as_cold: int

    @property
    def recall(self) -> float | None:
        """Of the cold that were decided, the share called cold."""
        return _share(self.cold_as_cold, self.decided_cold)

    @property
    def precision(self) -> float | None:
        """Of those called cold, the share that was."""
        return _share(self.cold_as_cold, self.cold_as_cold + self.warm_as_cold)

    @property
    def balanced_accuracy(self) -> float | None:
        """The mean of both recalls among the decided; None unless both kinds were decided."""
        warm = _share(self.decided_warm - self.warm_as_cold, self.decided_warm)
        return None if self.recall is None or warm is None else (self.recall + warm) / 2

    @property
    def accuracy(self) -> float | None:
        """The share of the decided that is right."""
        right = self.cold_as_cold + self.decided_warm - self.warm_as_cold
        return _share(right, self.decided_cold + self.decided_warm)

    @property
    def share_unknown(self) -> float:
        """The share of all starts on which nothing was said."""
        return 1 - (self.decided_cold + self.decided_warm) / self.n


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def recordings(home: Home) -> duckdb.DuckDBPyConnection:
    """Ingest the six recordings, and return their facts and labels in a database in memory, without views."""
    take_in(home, (str(DATA),), Labels())
    connection = duckdb.connect()
    connection.execute(f"attach {literal(str(home.current.resolve()))} as whole (read_only)")
    for name in (*FACTS, "files"):
        connection.execute(f"create table {name} as from whole.{name}")
    connection.execute("detach whole")
    connection.execute(TRUTH)
    return connection


def inferred(
    connection: duckdb.DuckDBPyConnection, *, chosen_on: str | None, named: bool, views: list[View] | None = None
) -> list[Score]:
    """Judge the views on each recording whose labels are hidden: all but those of the mode `chosen_on`."""
    with _changed(connection) as changed:
        changed.execute(HIDE, {"chosen_on": chosen_on, "named": named})
        create_views(changed, views or needed())
        changed.execute("create table told as select invocation_id, state from cold_starts")
        return [score for score in _scores(changed) if score.mode != chosen_on]


def fixed_keep_alive(connection: duckdb.DuckDBPyConnection) -> list[Score]:
    """Judge a keep-alive of 7 s without names: the free container of the same function that ended last, if it did 7 s ago at most."""
    with _changed(connection) as changed:
        changed.execute(HIDE, {"chosen_on": None, "named": False})
        # The end of a call is taken for its container's release.
        changed.execute(
            "update invocations set finished_at = ready_at + to_microseconds(cast(round(1000 * execution_ms) as bigint))"
            " from tasks where tasks.run_id = invocations.run_id and tasks.worker_id = invocations.worker_id"
        )
        create_views(changed, needed())
        changed.execute(FIXED_KEEP_ALIVE)
        return _scores(changed)


def first_seen(connection: duckdb.DuckDBPyConnection) -> list[Score]:
    """Judge 'a container first seen is cold'."""
    with _changed(connection) as changed:
        changed.execute(FIRST_SEEN)
        return _scores(changed)


def facts(connection: duckdb.DuckDBPyConnection) -> list[tuple[object, ...]]:
    """Return what names and labels say of containers and calls, as `main` heads it."""
    with _changed(connection) as changed:
        create_views(changed, needed())
        return changed.execute(FACTS_OF_CONTAINERS).fetchall()


def contradicted(connection: duckdb.DuckDBPyConnection, *, chosen_on: str) -> list[tuple[object, ...]]:
    """Return the starts that containers and lengths of calls contradict each other on: cloud, mode, label, how many."""
    with _changed(connection) as changed:
        changed.execute(HIDE, {"chosen_on": chosen_on, "named": False})
        create_views(changed, needed())
        return changed.execute(CONTRADICTED, {"chosen_on": chosen_on}).fetchall()


def needed() -> list[View]:
    """The views that tell cold from warm, in their order."""
    return [view for view in core_views() if view.name in VIEWS]


def with_other_cut(ratio: str, spreads: str) -> list[View]:
    """Those views with other figures for what makes two kinds of calls in `slow_starts`."""
    views = needed()
    (place,) = (place for place, view in enumerate(views) if view.name == "slow_starts")
    sql = views[place].sql
    for old, new in {">= ln(5)": f">= ln({ratio})", ">= 3.5 *": f">= {spreads} *"}.items():
        assert sql.count(old) == 1, f"slow_starts.sql no longer says {old}"
        sql = sql.replace(old, new)
    views[place] = replace(views[place], sql=sql)
    return views


@contextmanager
def _changed(connection: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """Whatever is changed or made in it is undone at its end."""
    connection.execute("begin")
    try:
        yield connection
    finally:
        connection.execute("rollback")


def _scores(connection: duckdb.DuckDBPyConnection) -> list[Score]:
    return [Score(*row) for row in connection.execute(SCORES).fetchall()]


def _shown(score: Score, chosen_on: str) -> str:
    figures = (score.balanced_accuracy, score.precision, score.recall, score.accuracy, score.share_unknown)
    shown = " | ".join("" if figure is None else f"{figure:.3f}" for figure in figures)
    return f"| {score.cloud} {score.mode} | {chosen_on} | {score.n:,} | {score.cold:,} | {shown} |\n"


def main() -> None:
    """Print a table for each way of telling cold from warm."""
    write = sys.stdout.write
    head = "| recording | chosen on | starts | cold | balanced accuracy | precision | recall | accuracy | unknown |\n"
    with tempfile.TemporaryDirectory() as folder, recordings(Home(Path(folder))) as connection:
        for named in (True, False):
            write(f"\nViews, containers {'named' if named else 'without names'}\n\n{head}")
            for judged, chosen_on in (*zip(MODES, reversed(MODES), strict=True), ("both", None)):
                for score in inferred(connection, chosen_on=chosen_on, named=named):
                    write(_shown(score, "nothing" if judged == "both" else f"{score.cloud} {chosen_on}"))
        for name, baseline in (("7 s, without names", fixed_keep_alive), ("First seen = cold", first_seen)):
            write(f"\n{name}\n\n{head}")
            for score in baseline(connection):
                write(_shown(score, ""))
        write(
            "\nContainers: shortest and longest ms from a call to the next in the same one, calls that overlap; ms of a call\n\n"
        )
        write("| recording | shortest | longest | overlap | cold calls | warm calls |\n")
        for cloud, mode, *figures in facts(connection):
            write(f"| {cloud} {mode or 'both'} | {' | '.join(map(str, figures))} |\n")
        write("\nContradicted, containers without names\n\n")
        for mode in MODES:
            for row in contradicted(connection, chosen_on=mode):
                write(f"| {' | '.join(map(str, row))} |\n")
        expected = {mode: inferred(connection, chosen_on=mode, named=False) for mode in MODES}
        write("\nOther figures in slow_starts, containers without names\n\n")
        for ratio, spreads in OTHER_CUTS:
            views = with_other_cut(ratio, spreads)
            same = all(
                inferred(connection, chosen_on=mode, named=False, views=views) == expected[mode] for mode in MODES
            )
            write(f"{ratio} times as long, {spreads} spreads apart: {'the same' if same else 'not the same'}\n")


if __name__ == "__main__":
    main()

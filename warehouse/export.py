"""Write a generation as a flowdump."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouse.connection import Reader
from warehouse.errors import FlowscopeError
from warehouse.schema import quoted
from warehouse.tables import EXTRA, FACTS

SAMPLED_ROWS = 20_000
"""Rows of a table that are written to learn how large its rows are."""
COMPRESSION = "zstd"


def export_flowdump(reader: Reader, folder: Path, runs: Collection[str] | None = None) -> Iterator[tuple[str, int]]:
    """Write every fact table that has rows to `folder/<table>.parquet`; yield its name and number of rows.

    Given `runs`, of what belongs to a run only the rows of these are written.
    Each file appears whole or not at all. `file_id` stays behind: it names files of this warehouse. Raises
    `FlowscopeError` for a folder that already holds a flowdump table this one has no rows for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts = {name: int(reader.value(f"select count(*) from {quoted(name)}")) for name in FACTS}
    stale = [name for name, count in counts.items() if not count and (folder / f"{name}.parquet").exists()]
    if stale:
        raise FlowscopeError(
            f"{folder} holds an older {stale[0]}.parquet that this export would not replace. Hint: choose an empty folder."
        )
    chosen = None if runs is None else pa.array(sorted(runs), pa.string())
    for name, count in counts.items():
        if not count:
            continue
        written = 0
        part = folder / f"{name}.parquet.part"
        try:
            with (
                reader.query(f"select {_columns(name)} from {quoted(name)} order by all") as batches,
                pq.ParquetWriter(part, batches.schema, compression=COMPRESSION) as writer,
            ):
                for batch in batches:
                    if chosen is not None and "run_id" in batch.schema.names:
                        batch = batch.filter(pc.is_in(batch.column("run_id"), chosen))
                    written += len(batch)
                    writer.write_batch(batch)
            if written:
                part.replace(folder / f"{name}.parquet")
        finally:
            part.unlink(missing_ok=True)
        if written:
            yield name, written


def bytes_per_row(reader: Reader, tables: Iterable[str]) -> dict[str, float]:
    """Return how many bytes a row of each table takes in an exported file, by writing some of them; 0 where there is none.

    What every file has once (schema, statistics) is left out, so that it does not count for each row of a small table.
    """
    found = {}
    for name in tables:
        with reader.query(f"select {_columns(name)} from {quoted(name)} order by all limit {SAMPLED_ROWS}") as batches:
            rows = batches.read_all()
        file = BytesIO()
        pq.write_table(rows, file, compression=COMPRESSION)
        footer = pq.read_metadata(file)
        groups = [footer.row_group(group) for group in range(footer.num_row_groups)]
        written = sum(
            group.column(place).total_compressed_size for group in groups for place in range(group.num_columns)
        )
        found[name] = written / len(rows) if len(rows) else 0.0
    return found


def _columns(name: str) -> str:
    return ", ".join(quoted(column.name) for column in (*FACTS[name].columns, EXTRA))

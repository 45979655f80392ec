"""Write a generation as a flowdump."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from warehouse.connection import Reader
from warehouse.errors import FlowscopeError
from warehouse.schema import quoted
from warehouse.tables import EXTRA, FACTS


def export_flowdump(reader: Reader, folder: Path) -> Iterator[tuple[str, int]]:
    """Write every fact table that has rows to `folder/<table>.parquet`; yield its name and number of rows.

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
    for name, count in counts.items():
        if not count:
            continue
        columns = ", ".join(quoted(column.name) for column in (*FACTS[name].columns, EXTRA))
        part = folder / f"{name}.parquet.part"
        try:
            with (
                reader.query(f"select {columns} from {quoted(name)} order by all") as batches,
                pq.ParquetWriter(part, batches.schema, compression="zstd") as writer,
            ):
                for batch in batches:
                    writer.write_batch(batch)
            part.replace(folder / f"{name}.parquet")
        finally:
            part.unlink(missing_ok=True)
        yield name, count

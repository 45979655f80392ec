"""Write the files that are made from the table descriptions: `python -m warehouse.reference [--check]`.

`docs/tables.md` is for people, `docs/flowdump.schema.json` for programs that write or check a flowdump.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from warehouse.tables import EXTRA, FACTS, FILE_ID, REJECT_REASONS, TABLES, Table
from warehouse.views import MATERIALISED, core_views

DOCS = Path(__file__).parent.parent / "docs"

_JSON_TYPES: dict[str, dict[str, Any]] = {
    "VARCHAR": {"type": ["string", "null"]},
    "VARCHAR[]": {"type": ["array", "null"], "items": {"type": "string"}},
    "JSON": {"type": ["object", "null"]},
    "DOUBLE": {"type": ["number", "null"]},
    "BIGINT": {"type": ["integer", "null"]},
    "INTEGER": {"type": ["integer", "null"]},
    "BOOLEAN": {"type": ["boolean", "null"]},
    "TIMESTAMP": {"type": ["string", "null"], "format": "date-time"},
    "DATE": {"type": ["string", "null"], "format": "date"},
    "MAP(VARCHAR, DOUBLE)": {"type": ["object", "null"], "additionalProperties": {"type": "number"}},
}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of flowdump: under `$defs`, one schema per table for one line of its file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "flowdump",
        "description": "One line of <table>[-anything].jsonl; pick the table under $defs. Parquet has the same columns.",
        "$defs": {name: _object(table) for name, table in FACTS.items()},
    }


def _object(table: Table) -> dict[str, Any]:
    properties = {
        column.name: {**_JSON_TYPES[column.type], "description": column.meaning} for column in (*table.columns, EXTRA)
    }
    for name in table.required:
        properties[name] = {**properties[name], "type": properties[name]["type"][0]}
    return {
        "type": "object",
        "description": table.grain,
        "properties": properties,
        "required": list(table.required),
        "additionalProperties": True,
    }


def tables_page() -> str:
    """Return the reference page in Markdown."""
    lines = [
        "# Tables and views",
        "",
        "<!-- Made by `make generate` from warehouse/tables.py and warehouse/sql. Do not edit. -->",
        "",
        "Durations end in `_ms` (milliseconds), sizes in `_bytes`, instants in `_at` (UTC). Unknown is NULL.",
        f"Every row of a fact table also carries `{FILE_ID.name}` ({FILE_ID.meaning}) and `{EXTRA.name}` ({EXTRA.meaning}).",
        "",
        "## Views",
        "",
    ]
    for view in core_views():
        stored = " Stored in each generation." if view.name in MATERIALISED else ""
        lines += [f"- **`{view.name}`** ([SQL](../warehouse/sql/core/{view.path.name})): {view.meaning}{stored}"]
    for table in TABLES:
        lines += ["", f"## `{table.name}`", "", f"{table.grain[0].upper()}{table.grain[1:]}.", ""]
        if table.key and not table.repeats:
            lines += [f"Identified by {', '.join(f'`{name}`' for name in table.key)}.", ""]
        lines += ["| column | type | meaning |", "|---|---|---|"]
        lines += [f"| `{column.name}` | {column.type} | {column.meaning} |" for column in table.columns]
    lines += ["", "## Why something is rejected", "", "| reason | meaning |", "|---|---|"]
    lines += [f"| `{reason}` | {meaning} |" for reason, meaning in REJECT_REASONS.items()]
    return "\n".join(lines) + "\n"


def generated() -> dict[Path, str]:
    """Return every generated file and its content."""
    return {
        DOCS / "tables.md": tables_page(),
        DOCS / "flowdump.schema.json": json.dumps(json_schema(), indent=2) + "\n",
    }


def main() -> int:
    """Write the files, or with `--check` say which ones are out of date."""
    stale = [path for path, text in generated().items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        for path in stale:
            sys.stderr.write(f"{path} is out of date. Hint: make generate.\n")
        return bool(stale)
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(generated()[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())

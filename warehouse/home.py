"""Where state lives: one folder, nothing outside it."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

_SPILL = "spill-"


@dataclass(frozen=True, slots=True)
class Home:
    """The folder given by `--home` or FLOWSCOPE_HOME, and the places in it."""

    root: Path

    @property
    def warehouse(self) -> Path:
        """The writer's database, its lock and the published generations."""
        return self.root / "warehouse"

    @property
    def models(self) -> Path:
        """The models that were trained, by version."""
        return self.root / "models"

    @property
    def staging(self) -> Path:
        """Files brought near while they are read, and what queries spill."""
        return self.root / "staging"

    def spill(self, name: str = "") -> Path:
        """Return a folder for what the connections of this process to one database spill, of its own without a `name`.

        DuckDB makes it when it is needed, and removes it. It opens a file twice in a process only with one configuration.
        """
        return self.staging / f"{_SPILL}{os.getpid()}-{name or uuid4().hex}"

    def clear_staging(self) -> None:
        """Remove what ended processes left in `staging`. The caller holds the writer's lock."""
        for path in self.staging.iterdir():
            process = path.name.removeprefix(_SPILL).partition("-")[0]
            if path.name.startswith(_SPILL) and process.isdigit() and _is_alive(int(process)):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()

    @property
    def writer(self) -> Path:
        """The database that every change goes into first."""
        return self.warehouse / "writer.duckdb"

    @property
    def lock(self) -> Path:
        """Locked by the one process that writes."""
        return self.warehouse / "lock"

    @property
    def generations(self) -> Path:
        """Immutable copies that readers open."""
        return self.warehouse / "generations"

    @property
    def current(self) -> Path:
        """A link to the newest generation."""
        return self.warehouse / "current"


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

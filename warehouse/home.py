"""Where state lives: one folder, nothing outside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Home:
    """The folder given by `--home` or FLOWSCOPE_HOME, and the places in it."""

    root: Path

    @property
    def warehouse(self) -> Path:
        """The writer's database, its lock and the published generations."""
        return self.root / "warehouse"

    @property
    def staging(self) -> Path:
        """Files brought near while they are read, and what queries spill."""
        return self.root / "staging"

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

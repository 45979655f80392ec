"""Changes on disk that stand once they are made, also after a crash."""

from __future__ import annotations

import os
from pathlib import Path


def make_durable(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def point_link_at(link: Path, target: Path) -> None:
    """Let a link lead to `target`, given relative to its folder, in one step: it never leads nowhere in between."""
    part = link.with_name(f"{link.name}.part")
    part.unlink(missing_ok=True)
    part.symlink_to(target)
    part.replace(link)
    make_durable(link.parent)

"""Which files of a folder or a prefix are dumps, judged by name."""

from __future__ import annotations

from collections.abc import Sequence


def is_hidden(name: str) -> bool:
    """Whether a file or folder is left out with all beneath it: `.git`, `_SUCCESS`. '.' and '..' hide nothing."""
    return name.startswith((".", "_")) and name not in (".", "..")


def is_listed(parts: Sequence[str]) -> bool:
    """Whether an object of that path, relative to its source, is listed.

    Left out are hidden files and folders, files still being written (`.part`), the documents people keep next to their
    dumps, and the file with which CloudWatch tries out whether it may export to a bucket.
    """
    name = parts[-1]
    if name == "aws-logs-write-test":
        return False
    is_document = name.endswith(".md") or name.startswith(("README", "LICENSE"))
    return not is_document and not name.endswith(".part") and not any(is_hidden(part) for part in parts)

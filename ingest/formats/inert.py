"""What a pickle is read as, apart from plain values: names that are never resolved and objects that do nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MAX_FIELDS = 200

Value = Any


class PickleRefused(Exception):
    """The value is not a pickle that may be read. `reason` is one of the reject reasons."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Global:
    """The name of a class or function. It is never resolved."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Record:
    """An inert object: what it says it is, what it would be built from, and the state it carries."""

    __slots__ = ("args", "items", "kind", "state")

    def __init__(self, kind: Value, args: Value) -> None:
        self.kind = kind
        self.args = args
        self.state: Value = None
        self.items: list[Value] = []

    @property
    def class_name(self) -> str:
        """The last part of the class's name, '' when the record is not built from a named class."""
        return self.kind.name.rpartition(".")[2] if isinstance(self.kind, Global) else ""

    @property
    def fields(self) -> dict[str, Value]:
        """Attributes by name: the state dict, or both halves of a (dict, slots) state.

        Raises `PickleRefused`, reason 'too_large', when there are more than MAX_FIELDS: records may share a state.
        """
        halves = self.state if isinstance(self.state, tuple) and len(self.state) == 2 else (self.state,)
        dicts = [half for half in halves if isinstance(half, dict)]
        if sum(map(len, dicts)) > MAX_FIELDS:
            raise PickleRefused("too_large", f"an object of more than {MAX_FIELDS} fields")
        return {key: value for half in dicts for key, value in half.items() if isinstance(key, str)}

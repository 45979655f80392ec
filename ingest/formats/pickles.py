"""Read pickled values without running them.

A pickle is a program: loading one can import and call anything. This module reads pickles as data. It interprets the
opcodes of protocols 0 to 5 itself and builds only plain values (numbers, text, bytes, lists, tuples, dicts) and inert
`Record`s. Nothing is imported, called or looked up; a global is only a pair of names. Sets become lists. What the
machine will not do (persistent ids, the extension registry, out-of-band buffers) ends in `PickleRefused`, and so does
a value past the bounds on size, steps and depth. The bounds also hold time and memory to a small multiple of the
input: no step may copy, hash or compare more than a little of what earlier steps built.

Opcode semantics: CPython's Lib/pickletools.py, which documents every opcode.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable

from ingest.formats.inert import Global, PickleRefused, Record, Value

__all__ = ["Global", "PickleRefused", "Record", "Value", "read_pickle"]

MAX_BYTES = 32 * 1024 * 1024
MAX_STEPS = 2_000_000
MAX_DEPTH = 5_000
MAX_NAME = 1_000
MAX_KEY = 10_000
MAX_NUMBER_KEYS = 10_000
MAX_COPIED = 2_000_000

Opcode = Callable[["_Machine"], object]

_MARK = object()
_UNSIGNED = struct.Struct("<I")
_NESTING = frozenset({list, tuple, dict, Record})
_KINDS = {"list": list, "tuple": tuple, "set": list, "frozenset": list, "dict": dict}
_CONTAINERS = {
    **{(module, name): kind for module in ("builtins", "__builtin__") for name, kind in _KINDS.items()},
    ("collections", "OrderedDict"): dict,
    ("collections", "deque"): list,
}


def read_pickle(data: bytes) -> Value:
    """Return what a pickle describes, as plain values and `Record`s.

    Raises `PickleRefused` with reason 'too_large', 'too_deep', 'not_a_pickle', 'unsupported' or
    'forbidden_pickle'.
    """
    if len(data) > MAX_BYTES:
        raise PickleRefused("too_large", f"{len(data)} bytes, more than the {MAX_BYTES} that are read")
    try:
        value = _Machine(data).run()
    except PickleRefused:
        raise
    except (IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError, struct.error) as error:
        raise PickleRefused("not_a_pickle", f"{type(error).__name__}: {error}") from error
    if len(data) > MAX_DEPTH:  # each level takes a byte at least
        _check_depth(value)
    return value


def _check_depth(root: Value) -> None:
    """Refuse a value whose parts lie more than MAX_DEPTH levels below it (cycles are visited once)."""
    seen: set[int] = set()
    level = [root]
    for _ in range(MAX_DEPTH):
        below: list[Value] = []
        for value in level:
            if type(value) not in _NESTING or id(value) in seen:
                continue
            seen.add(id(value))
            if isinstance(value, Record):
                below += (value.args, value.state, value.items)
            elif isinstance(value, dict):
                below.extend(value)
                below.extend(value.values())
            else:
                below.extend(value)
        if not below:
            return
        level = below
    raise PickleRefused("too_deep", f"nests deeper than {MAX_DEPTH} levels")


class _Machine:
    """The pickle stack machine: `data` read from `at` onwards, a stack, marks on it, and a memo."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.stack: list[Value] = []
        self.memo: list[Value] = []
        self.number_keys = 0
        self.copied = 0

    def run(self) -> Value:
        """Follow the opcodes to STOP. The commonest are done here, on local variables; the others by `_OPCODES`."""
        data, size, stack, memo = self.data, len(self.data), self.stack, self.memo
        push = stack.append
        at = 0
        for _ in range(MAX_STEPS):
            if at >= size:
                raise PickleRefused("not_a_pickle", "ends before its STOP opcode")
            code = data[at]
            at += 1
            if code == 0x94:  # MEMOIZE
                value = stack[-1]
                if value is _MARK:
                    raise PickleRefused("not_a_pickle", "a mark where a value should be")
                memo.append(value)
            elif code == 0x8C:  # SHORT_BINUNICODE
                end = at + 1 + data[at]
                if end > size:
                    raise PickleRefused("not_a_pickle", "ends in the middle of an opcode")
                push(data[at + 1 : end].decode("utf-8", "surrogatepass"))
                at = end
            elif code == 0x4D:  # BININT2
                push(data[at] | data[at + 1] << 8)
                at += 2
            elif code == 0x68:  # BINGET
                push(memo[data[at]])
                at += 1
            elif code == 0x6A:  # LONG_BINGET
                push(memo[_UNSIGNED.unpack_from(data, at)[0]])
                at += 4
            elif code == 0x7D:  # EMPTY_DICT
                push({})
            elif code == 0x28:  # MARK
                push(_MARK)
            elif code == 0x29:  # EMPTY_TUPLE
                push(())
            elif code == 0x4E:  # NONE
                push(None)
            elif code == 0x4B:  # BININT1
                push(data[at])
                at += 1
            elif code == 0x2E:  # STOP
                if at != size:
                    raise PickleRefused("not_a_pickle", f"{size - at} bytes after its STOP opcode")
                return self.pop()
            else:
                opcode = _OPCODES.get(code)
                if opcode is None:
                    raise PickleRefused(*_refusal(code, at - 1))
                self.at = at
                opcode(self)
                at = self.at
        raise PickleRefused("too_large", f"takes more than {MAX_STEPS} steps to read")

    def protocol(self) -> None:
        version = self.take_int(1)
        if version > 5:
            raise PickleRefused("unsupported", f"pickle protocol {version}, newer than 5")

    def take(self, count: int) -> bytes:
        chunk = self.data[self.at : self.at + count]
        if len(chunk) != count:
            raise PickleRefused("not_a_pickle", "ends in the middle of an opcode")
        self.at += count
        return chunk

    def take_int(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def take_line(self) -> str:
        return self.take_line_bytes().decode("utf-8")

    def take_line_bytes(self) -> bytes:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise PickleRefused("not_a_pickle", "ends in the middle of a line")
        line = self.data[self.at : end]
        self.at = end + 1
        return line

    def push(self, value: Value) -> None:
        self.stack.append(value)

    def pop(self) -> Value:
        value = self.stack.pop()
        if value is _MARK:
            raise PickleRefused("not_a_pickle", "a mark where a value should be")
        return value

    def pop_to_mark(self) -> list[Value]:
        stack = self.stack
        for position in range(len(stack) - 1, -1, -1):
            if stack[position] is _MARK:
                values = stack[position + 1 :]
                del stack[position:]
                return values
        raise PickleRefused("not_a_pickle", "no mark on the stack")

    @property
    def top(self) -> Value:
        if self.stack[-1] is _MARK:
            raise PickleRefused("not_a_pickle", "a mark where a value should be")
        return self.stack[-1]

    def extend(self, values: list[Value]) -> None:
        target = self.top
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, Record):
            target.items.extend(values)
        else:
            raise PickleRefused("not_a_pickle", f"items added to a {type(target).__name__}")

    def set_items(self, values: list[Value]) -> None:
        target = self.top
        pairs = zip(values[::2], values[1::2], strict=True)
        if isinstance(target, dict):
            for key, value in pairs:
                target[key if isinstance(key, str) and len(key) <= MAX_KEY else self.hashable(key)] = value
        elif isinstance(target, Record):
            target.items.extend(pairs)
        else:
            raise PickleRefused("not_a_pickle", f"keys set on a {type(target).__name__}")

    def hashable(self, key: Value) -> Value:
        """Return a key that takes constant time to hash and compare; else a Record of it, hashed by identity.

        Numbers hash to themselves, so that many can be made to collide: only the first ones are kept as they are.
        """
        if isinstance(key, (list, dict)):
            raise PickleRefused("not_a_pickle", f"a {type(key).__name__} as a dictionary key")
        if key is None or isinstance(key, Record):
            return key
        if isinstance(key, (str, bytes)) and len(key) <= MAX_KEY:
            return key
        if isinstance(key, float) or (isinstance(key, int) and key.bit_length() <= 64):
            self.number_keys += 1
            if self.number_keys <= MAX_NUMBER_KEYS:
                return key
        return Record(Global("builtins", type(key).__name__), key)

    def build(self) -> None:
        state = self.pop()
        target = self.top
        if not isinstance(target, Record):
            raise PickleRefused("forbidden_pickle", f"sets the state of a {type(target).__name__}")
        target.state = state

    def construct(self, kind: Value, args: Value) -> None:
        container = _CONTAINERS.get((kind.module, kind.name)) if isinstance(kind, Global) else None
        if container is not None and isinstance(args, tuple):
            if not args:
                self.push(container())
                return
            if container is not dict and isinstance(args[0], (list, tuple)):
                self.copied += len(args[0])
                if self.copied > MAX_COPIED:
                    raise PickleRefused("too_large", f"copies more than {MAX_COPIED} values")
                self.push(container(args[0]))
                return
        self.push(Record(kind, args))

    def construct_with(self, args: Value) -> None:
        self.construct(self.pop(), args)

    def construct_with_keywords(self) -> None:
        keywords, args = self.pop(), self.pop()
        self.push(Record(self.pop(), (args, keywords)))

    def construct_from_mark(self) -> None:
        kind, *args = self.pop_to_mark()
        self.construct(kind, tuple(args))

    def push_global(self, module: Value, name: Value) -> None:
        self.push(_global(module, name))

    def push_stack_global(self) -> None:
        name = self.pop()
        self.push_global(self.pop(), name)

    def push_instance(self) -> None:
        kind = _global(self.take_line(), self.take_line())
        self.construct(kind, tuple(self.pop_to_mark()))

    def push_tuple(self, count: int) -> None:
        self.push(tuple(reversed([self.pop() for _ in range(count)])))

    def push_dict(self) -> None:
        values = self.pop_to_mark()
        self.push({})
        self.set_items(values)

    def set_item(self) -> None:
        value = self.pop()
        self.set_items([self.pop(), value])

    def push_text_int(self) -> None:
        text = self.take_line()
        self.push({"00": False, "01": True}[text] if text in ("00", "01") else int(text))

    def push_text_string(self) -> None:
        text = self.take_line()
        if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"":
            raise PickleRefused("not_a_pickle", "a string without quotes")
        self.push(text[1:-1])

    def put(self, index: int) -> None:
        """Memoize under an index. Picklers count upwards, so the memo is a list."""
        if not 0 <= index <= len(self.memo):
            raise PickleRefused("not_a_pickle", f"a memo index out of order at byte {self.at}")
        self.memo[index : index + 1] = [self.top]

    def get(self, index: int) -> None:
        if index < 0:
            raise PickleRefused("not_a_pickle", f"a negative memo index at byte {self.at}")
        self.push(self.memo[index])


def _global(module: Value, name: Value) -> Global:
    if not isinstance(module, str) or not isinstance(name, str):
        raise PickleRefused("not_a_pickle", "a global whose name is not text")
    if len(module) > MAX_NAME or len(name) > MAX_NAME:
        raise PickleRefused("too_large", f"a global whose name is longer than {MAX_NAME}")
    return Global(module, name)


def _refusal(code: int, position: int) -> tuple[str, str]:
    forbidden = {
        0x50: "a persistent id",
        0x51: "a persistent id",
        0x82: "the extension registry",
        0x83: "the extension registry",
        0x84: "the extension registry",
        0x97: "an out-of-band buffer",
        0x98: "an out-of-band buffer",
    }
    if code in forbidden:
        return "forbidden_pickle", f"asks for {forbidden[code]} at byte {position}"
    return "not_a_pickle", f"byte {position} is 0x{code:02x}, which is no opcode"


_OPCODES: dict[int, Opcode] = {
    # protocol, frames, stack
    0x80: _Machine.protocol,
    0x95: lambda m: m.take(8),
    0x30: lambda m: m.stack.pop(),
    0x31: lambda m: m.pop_to_mark(),
    0x32: lambda m: m.push(m.top),
    # memo
    0x71: lambda m: m.put(m.take_int(1)),
    0x72: lambda m: m.put(m.take_int(4)),
    0x70: lambda m: m.put(int(m.take_line())),
    0x67: lambda m: m.get(int(m.take_line())),
    # numbers
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    0x4A: lambda m: m.push(int.from_bytes(m.take(4), "little", signed=True)),
    0x8A: lambda m: m.push(int.from_bytes(m.take(m.take_int(1)), "little", signed=True)),
    0x8B: lambda m: m.push(int.from_bytes(m.take(m.take_int(4)), "little", signed=True)),
    0x47: lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    0x46: lambda m: m.push(float(m.take_line())),
    0x49: _Machine.push_text_int,
    0x4C: lambda m: m.push(int(m.take_line().removesuffix("L"))),
    # text and bytes
    0x58: lambda m: m.push(m.take(m.take_int(4)).decode("utf-8", "surrogatepass")),
    0x8D: lambda m: m.push(m.take(m.take_int(8)).decode("utf-8", "surrogatepass")),
    0x56: lambda m: m.push(codecs.raw_unicode_escape_decode(m.take_line_bytes())[0]),
    0x53: _Machine.push_text_string,
    0x55: lambda m: m.push(m.take(m.take_int(1)).decode("latin-1")),
    0x54: lambda m: m.push(m.take(m.take_int(4)).decode("latin-1")),
    0x43: lambda m: m.push(m.take(m.take_int(1))),
    0x42: lambda m: m.push(m.take(m.take_int(4))),
    0x8E: lambda m: m.push(m.take(m.take_int(8))),
    0x96: lambda m: m.push(m.take(m.take_int(8))),
    # containers
    0x5D: lambda m: m.push([]),
    0x6C: lambda m: m.push(m.pop_to_mark()),
    0x61: lambda m: m.extend([m.pop()]),
    0x65: lambda m: m.extend(m.pop_to_mark()),
    0x74: lambda m: m.push(tuple(m.pop_to_mark())),
    0x85: lambda m: m.push_tuple(1),
    0x86: lambda m: m.push_tuple(2),
    0x87: lambda m: m.push_tuple(3),
    0x64: _Machine.push_dict,
    0x73: _Machine.set_item,
    0x75: lambda m: m.set_items(m.pop_to_mark()),
    0x8F: lambda m: m.push([]),
    0x90: lambda m: m.extend(m.pop_to_mark()),
    0x91: lambda m: m.push(m.pop_to_mark()),
    # objects, all inert
    0x63: lambda m: m.push_global(m.take_line(), m.take_line()),
    0x93: _Machine.push_stack_global,
    0x52: lambda m: m.construct_with(m.pop()),
    0x81: lambda m: m.construct_with(m.pop()),
    0x92: _Machine.construct_with_keywords,
    0x69: _Machine.push_instance,
    0x6F: _Machine.construct_from_mark,
    0x62: _Machine.build,
}

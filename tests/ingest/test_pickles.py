"""The pickle reader: what it reads, what it refuses, and that it never does what a pickle asks for."""

from __future__ import annotations

import enum
import pickle
import struct
import subprocess
import sys
import textwrap
import time
import tracemalloc
from collections import OrderedDict, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.formats import pickles
from ingest.formats.pickles import Global, PickleRefused, Record, read_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
REPOSITORY = Path(__file__).parents[2]

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=()))
)
keys = st.none() | st.integers(-(2**60), 2**60) | st.text() | st.binary()
plain = st.recursive(
    scalars | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(keys, inner) | st.lists(inner).map(tuple),
    max_leaves=20,
)
text_plain = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@dataclass
class Point:
    x: int
    label: str = "a"


@dataclass(slots=True)
class Slotted:
    x: int


class Color(enum.Enum):
    RED = "red"


def refusal(data: bytes) -> str:
    with pytest.raises(PickleRefused) as refused:
        read_pickle(data)
    assert refused.value.detail
    return refused.value.reason


@pytest.mark.parametrize("protocol", range(3, 6))
@given(value=plain)
def test_plain_values_come_back_as_they_were(protocol: int, value: Any) -> None:
    assert read_pickle(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", range(3))
@given(value=text_plain)
def test_old_protocols_give_the_same_plain_values(protocol: int, value: Any) -> None:
    """All but bytes, which protocols 0 to 2 write as the call of an encoder."""
    assert read_pickle(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_containers_become_lists_and_dicts(protocol: int) -> None:
    value = [{1}, frozenset({2}), deque([3]), OrderedDict(a=4), (5,), (6, 7), (8, 9, 10), (1, 2, 3, 4)]
    assert read_pickle(pickle.dumps(value[:1], protocol)) == [[1]]
    assert read_pickle(pickle.dumps(value[1:2], protocol)) == [[2]]
    assert read_pickle(pickle.dumps(value[4:], protocol)) == value[4:]
    assert read_pickle(pickle.dumps(OrderedDict(), protocol)) in ({}, [])
    assert isinstance(read_pickle(pickle.dumps(value[2], protocol)), (list, Record))


@pytest.mark.parametrize("protocol", range(2, 6))
def test_instances_become_records_with_their_fields(protocol: int) -> None:
    record = read_pickle(pickle.dumps(Point(3, "b"), protocol))
    assert record.kind == Global(__name__, "Point")
    assert record.class_name == "Point"
    assert record.fields == {"x": 3, "label": "b"}


def test_an_enum_member_keeps_its_value_and_a_numpy_number_its_bytes() -> None:
    assert read_pickle(pickle.dumps(Color.RED)).args == ("red",)
    scalar = read_pickle(pickle.dumps(np.float64(1.5)))
    assert scalar.class_name == "scalar"
    assert scalar.args[0].args[0] == "f8"
    assert scalar.args[1] == struct.pack("<d", 1.5)


def test_shared_and_cyclic_values_stay_so() -> None:
    cycle: list[Any] = [[]]
    cycle.append(cycle)
    value = read_pickle(pickle.dumps(cycle))
    assert value[1] is value


CALLS = {
    "GLOBAL": b"cos\nsystem\n(S'exit 3'\ntR.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x06exit 3\x85R.",
    "INST": b"(S'exit 3'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'exit 3'\no.",
    "NEWOBJ": b"\x80\x02cos\nsystem\nU\x06exit 3\x85\x81.",
    "NEWOBJ_EX": b"\x80\x04cos\nsystem\n\x8c\x06exit 3\x85}\x92.",
    "eval": b"cbuiltins\neval\n(S'__import__(\"os\").abort()'\ntR.",
    "BUILD": b"cbuiltins\nobject\n)R}S'__setstate__'\ncos\nsystem\nsb.",
    "import": b"cantigravity\nfly\n)R.",
    "getattr": b"cbuiltins\ngetattr\n(cos\nsystem\nS'__call__'\ntR.",
}


@pytest.mark.parametrize("data", CALLS.values(), ids=CALLS.keys())
def test_a_call_is_only_described(data: bytes) -> None:
    value = read_pickle(data)
    assert isinstance(value, Record)
    assert isinstance(value.kind, Global)


def test_reading_hostile_pickles_imports_opens_and_runs_nothing() -> None:
    """The interpreter's audit events are the witness: after one warm-up there is none but those of the loop itself."""
    hostile = [*CALLS.values(), b"Pid\n.", bytes([0x82, 1, 46]), b"junk", b"(l."]
    script = f"""
        import sys
        sys.path.insert(0, {str(REPOSITORY)!r})
        from ingest.formats.pickles import PickleRefused, read_pickle
        hostile = {hostile!r}
        seen = []
        def watch():
            for data in hostile:
                try:
                    read_pickle(data)
                except PickleRefused:
                    pass
        watch()
        modules = set(sys.modules)
        recording = True
        sys.addaudithook(lambda event, args: recording and seen.append(event))
        watch()
        recording = False
        assert set(sys.modules) == modules
        print(seen)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stdout


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"Pid\n.", "forbidden_pickle"),
        (b"S'id'\nQ.", "forbidden_pickle"),
        (b"\x82\x01.", "forbidden_pickle"),
        (b"\x83\x01\x00.", "forbidden_pickle"),
        (b"\x84\x01\x00\x00\x00.", "forbidden_pickle"),
        (b"\x97.", "forbidden_pickle"),
        (b"]}b.", "forbidden_pickle"),
        (b"\x80\x06N.", "unsupported"),
        (b"", "not_a_pickle"),
        (b"N", "not_a_pickle"),
        (b"NN", "not_a_pickle"),
        (b"N.N", "not_a_pickle"),
        (b".", "not_a_pickle"),
        (b"(.", "not_a_pickle"),
        (b"(\x94.", "not_a_pickle"),
        (b"\xff.", "not_a_pickle"),
        (b"taskdup started", "not_a_pickle"),
        (b"Nr\x00\x00\x00\x80.", "not_a_pickle"),
        (b"Np-1\n.", "not_a_pickle"),
        (b"N\x94g-1\n.", "not_a_pickle"),
        (b"N\x94j\xff\xff\xff\x7f.", "not_a_pickle"),
        (b"h\x00.", "not_a_pickle"),
        (b"\x8b\xff\xff\xff\x7f1.", "not_a_pickle"),
        (b"\x8c\x05abc.", "not_a_pickle"),
        (b"\x8d" + b"\xff" * 8 + b"abc.", "not_a_pickle"),
        (b"B\xff\xff\xff\xffabc.", "not_a_pickle"),
        (b"M\x01", "not_a_pickle"),
        (b"I1", "not_a_pickle"),
        (b"I" + b"9" * 5000 + b"\n.", "not_a_pickle"),
        (b"}(Nu.", "not_a_pickle"),
        (b"}(]Nu.", "not_a_pickle"),
        (b"N(Ne.", "not_a_pickle"),
        (b"NN\x93.", "not_a_pickle"),
        (b"S'unclosed\n.", "not_a_pickle"),
        (b"c" + b"m" * 2000 + b"\nx\n.", "too_large"),
        (b"N" + b"2" * pickles.MAX_STEPS, "too_large"),
    ],
)
def test_what_is_refused(data: bytes, reason: str) -> None:
    assert refusal(data) == reason


def test_a_value_past_the_size_limit_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MAX_BYTES", 10)
    assert refusal(b"N" * 11) == "too_large"


@pytest.mark.parametrize(
    "data",
    [
        b"(" * 10_000 + b"l" + b"l" * 9_999 + b".",
        b"]" * 10_000 + b"a" * 9_999 + b".",
        b"N" + b"\x85" * 10_000 + b".",
        b"}N" * 10_000 + b"N" + b"s" * 10_000 + b".",
        b"cm\nC\n\x94" + b"0" + b"N" + b"h\x00N\x85R" * 1 + b"0" + b"h\x00" * 10_000 + b"N" + b"\x85R" * 10_000 + b".",
        b"}N" + b"\x85" * 10_000 + b"Ns.",
    ],
    ids=["marked lists", "lists", "tuples", "dicts", "objects", "a tuple as a key"],
)
def test_a_value_nested_ten_thousand_deep_is_refused(data: bytes) -> None:
    assert refusal(data) == "too_deep"


def test_a_million_levels_are_refused_without_a_crash() -> None:
    assert refusal(b"N" + b"\x85" * 1_000_000 + b".") == "too_deep"


def test_a_billion_laughs_stay_small() -> None:
    laughs = b"]\x94N" + b"a" + b"".join(b"](h" + bytes([n]) + b"h" + bytes([n]) + b"e\x94" for n in range(40)) + b"."
    value = read_pickle(laughs)
    assert value[0] is value[1]


def test_copying_a_list_again_and_again_is_refused() -> None:
    copies = b"(" + b"N" * 10_000 + b"l\x940cbuiltins\nlist\n\x940" + b"h\x01h\x00\x85R" * 1_000 + b"."
    tracemalloc.start()
    assert refusal(copies) == "too_large"
    assert tracemalloc.get_traced_memory()[1] < 100 * 1024 * 1024
    tracemalloc.stop()


def test_arguments_shared_by_many_objects_are_not_copied() -> None:
    shared = b"(" + b"N" * 10_000 + b"t\x940cm\nC\n\x940" + b"h\x01h\x00}\x92" * 10_000 + b"."
    tracemalloc.start()
    read_pickle(shared)
    assert tracemalloc.get_traced_memory()[1] < 100 * 1024 * 1024
    tracemalloc.stop()


def test_keys_made_to_collide_cost_no_more_than_others() -> None:
    def long1(number: int) -> bytes:
        return b"\x8a\x0a" + number.to_bytes(10, "little")

    colliding = b"}(" + b"".join(long1(n * (2**61 - 1)) + b"N" for n in range(50_000)) + b"u."
    begun = time.perf_counter()
    read_pickle(colliding)
    assert time.perf_counter() - begun < 5


def test_keys_beyond_the_first_numbers_and_long_texts_are_kept_by_identity() -> None:
    count = pickles.MAX_NUMBER_KEYS + 5
    value = read_pickle(pickle.dumps(dict.fromkeys(range(count))))
    assert len(value) == count
    assert sum(isinstance(key, Record) for key in value) == 5
    (key,) = read_pickle(pickle.dumps({"x" * (pickles.MAX_KEY + 1): 1}))
    assert isinstance(key, Record)


def test_too_many_fields_of_an_object_are_refused_when_they_are_looked_at() -> None:
    point = Point(1)
    point.__dict__.update({f"f{n}": n for n in range(500)})
    record = read_pickle(pickle.dumps(point))
    with pytest.raises(PickleRefused):
        _ = record.fields


@settings(max_examples=500)
@given(st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read_pickle(data)
    except PickleRefused as refused:
        assert refused.reason in {"not_a_pickle", "forbidden_pickle", "too_deep", "too_large", "unsupported"}


OPCODES = [bytes([code]) for code in pickles._OPCODES] + [b"\x94", b"h\x00", b"(", b")", b"}", b"N", b"K\x01", b"."]


@settings(max_examples=1000)
@given(st.lists(st.sampled_from([*OPCODES, b"cm\nC\n", b"\x8c\x01a", b"0\n"])).map(b"".join))
def test_any_opcodes_are_read_or_refused(data: bytes) -> None:
    try:
        read_pickle(data + b".")
    except PickleRefused as refused:
        assert refused.reason in {"not_a_pickle", "forbidden_pickle", "too_deep", "too_large", "unsupported"}


def test_slots_of_an_instance_are_its_fields() -> None:
    reduced = Slotted(4)
    record = read_pickle(pickle.dumps(reduced))
    assert record.class_name == "Slotted"

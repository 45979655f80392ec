"""One model as a file that is audited before anything in it is made: skops without its own idea of what is safe.

A skops file is a zip of arrays and `schema.json`, which names the types to make. skops trusts some hundred types by
itself, and a file chooses who audits it. Here a file may hold plain data and the types it is allowed, exactly: all names in
the schema are compared before skops sees it, arrays are plain numbers or text of the size they say, and the nodes of trees,
which scikit-learn follows without looking, lead somewhere. Nothing is unpickled, and no size is believed.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from io import BytesIO
from typing import Any

import numpy as np
import skops.io
from numpy.lib import format as npy
from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

from warehouse.errors import FlowscopeError

MAX_BYTES = 512 * 2**20
"""A model's members together, unpacked; an array counts each time the schema refers to it."""
MAX_SCHEMA_BYTES = 64 * 2**20
MAX_MEMBERS = 100_000

_SCHEMA = "schema.json"
_ARRAY = re.compile(r"[0-9]{1,20}\.npy", re.ASCII)
_NUMBERS = frozenset(
    f"numpy.{name}"
    for name in (
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64", "str_",
        "datetime64", "timedelta64",
    )
)  # fmt: skip
_DATA: dict[str, frozenset[str]] = {
    "DictNode": frozenset({"builtins.dict"}),
    "ListNode": frozenset({"builtins.list"}),
    "TupleNode": frozenset({"builtins.tuple"}),
    "SliceNode": frozenset({"builtins.slice"}),
    "JsonNode": frozenset({"builtins.str"}),
    "NdArrayNode": frozenset({"numpy.ndarray"}) | _NUMBERS,
    "DTypeNode": frozenset({"numpy.dtype"}),
    "TypeNode": frozenset({"builtins.str", "builtins.int", "builtins.float", "builtins.bool"}) | _NUMBERS,
    "RandomGeneratorNode": frozenset({"numpy.random._generator.Generator"}),
}
"""How skops reads plain data, and the types it may make so."""
_OBJECTS = frozenset({"ObjectNode", "LossNode"})
"""How skops reads an object: made without a call, or a loss of scikit-learn's."""
_TREE = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"


class ModelRefused(FlowscopeError):
    """A model's file or card is not what was saved, or holds what is not allowed."""


class _Fault(Exception):
    """What is wrong with a file: the end of the sentence 'Model 3 in ./data/models ...'."""


@dataclass(frozen=True, slots=True)
class _Node:
    """What the schema says of one object: how it is read, its type, and where its numbers are."""

    loader: str
    type: str
    id: int
    file: str | None


def as_bytes(model: object) -> bytes:
    """Return the model as a skops file. The same model gives the same bytes.

    Raises `ModelRefused` for what skops cannot save.
    """
    try:
        packed = skops.io.dumps(model)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelRefused(f"The model cannot be saved: {_first_line(error)}") from error
    with zipfile.ZipFile(BytesIO(packed)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(members.pop(_SCHEMA))
    ids: dict[int, int] = {}
    files: dict[str, str] = {}
    for part in _dicts(schema):  # names from addresses in memory become numbers in order
        if "__id__" in part:
            part["__id__"] = ids.setdefault(part["__id__"], len(ids) + 1)
        if "file" in part and "__loader__" in part:
            part["file"] = files.setdefault(part["file"], f"{len(files) + 1}.npy")
    text = json.dumps(schema, separators=(",", ":")).encode()
    return _packed({_SCHEMA: text} | {new: members[old] for old, new in files.items()}, zipfile.ZIP_DEFLATED)


def from_bytes(packed: bytes, trusted: Collection[str], name: str, hint: str) -> Any:
    """Return the model in a skops file; `name` is what an error calls it, `hint` what it ends with.

    Only plain data and the types whose full names are in `trusted` are made. Raises `ModelRefused` for anything else.
    """
    try:
        members = _members(packed)
        nodes = _audited(members, trusted)
        trees = {node.id for node in nodes if node.type == _TREE}
        model = _constructed(members, trusted)
        _check_trees(model, len(trees))
    except _Fault as fault:
        raise ModelRefused(f"{name} {fault}. {hint}") from fault
    return model


def _members(packed: bytes) -> dict[str, bytes]:
    """Return the unpacked members."""
    try:
        members = dict(_unpacked(packed))
    except _Fault:
        raise
    except Exception as error:  # zipfile raises what it likes for a file made to break it
        raise _Fault(f"is not a model file ({_first_line(error)})") from error
    if _SCHEMA not in members:
        raise _Fault("is not a model file (it has no schema)")
    return members


def _unpacked(packed: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents. No more is unpacked than is allowed, whatever the file says of itself."""
    if packed.count(b"PK\x01\x02") > MAX_MEMBERS:  # before zipfile lists them all
        raise _Fault(f"has more than {MAX_MEMBERS:,} members")
    left, names = MAX_BYTES, set[str]()
    with zipfile.ZipFile(BytesIO(packed)) as archive:
        for entry in archive.infolist():
            name = entry.filename
            if name in names or (name != _SCHEMA and not _ARRAY.fullmatch(name)):
                raise _Fault(f"holds {name[:80]!r} twice, or it is neither a schema nor an array")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _Fault("is compressed in a way that cannot be bounded")
            limit = min(left, MAX_SCHEMA_BYTES) if name == _SCHEMA else left
            if entry.file_size > limit:
                raise _Fault("is larger than a model may be")
            with archive.open(entry) as member:
                content = member.read(limit + 1)
            left -= len(content)
            names.add(name)
            yield name, content


def _audited(members: dict[str, bytes], trusted: Collection[str]) -> list[_Node]:
    """Return what the schema asks for, once all of it is found to be allowed."""
    try:
        schema = json.loads(members[_SCHEMA])
        nodes = list(_nodes(schema))
    except (ValueError, RecursionError) as error:
        raise _Fault(f"has a schema that cannot be read ({_first_line(error)})") from error
    if (
        not isinstance(schema, dict) or schema.get("protocol") != _protocol()
    ):  # an older one would be read by older, less strict rules
        raise _Fault(f"was saved in another form of skops than that of {version('skops')}")
    left = MAX_BYTES
    for node in nodes:
        allowed = trusted if node.loader in _OBJECTS else _DATA.get(node.loader, ())
        if node.type not in allowed:
            raise _Fault(f"holds a {node.type} (as {node.loader}), which is not among the types that are loaded")
        if node.file is not None:
            if node.file not in members or node.file == _SCHEMA:
                raise _Fault(f"lacks its member {node.file[:80]!r}")
            left -= len(members[node.file])
    if left < 0:
        raise _Fault("is larger than a model may be")
    for name, content in members.items():
        if name != _SCHEMA:
            _check_array(name, content)
    return nodes


def _nodes(schema: Any) -> Iterator[_Node]:
    for part in _dicts(schema):
        if part.keys().isdisjoint(("__loader__", "__class__", "__module__", "__id__")):
            continue
        loader, module, kind, number = (part.get(f"__{key}__") for key in ("loader", "module", "class", "id"))
        file = part.get("file")
        texts = [text for text in (loader, module, kind, file or "") if isinstance(text, str)]
        if len(texts) < 4 or "." in str(kind) or type(number) is not int or number < 1:
            raise _Fault("has a schema that skops does not write")
        yield _Node(str(loader), f"{module}.{kind}", number, file)
        if loader == "ObjectNode" and (made_by := _made_by(part)) != version("scikit-learn") and made_by is not None:
            raise _Fault(f"was trained with scikit-learn {made_by[:40]}, and this is {version('scikit-learn')}")


def _made_by(part: dict[str, Any]) -> str | None:
    """Return the version of scikit-learn that an estimator says it is of."""
    content = part.get("content")
    attributes = content.get("content") if isinstance(content, dict) else None
    stated = attributes.get("_sklearn_version") if isinstance(attributes, dict) else None
    return str(json.loads(str(stated.get("content")))) if isinstance(stated, dict) else None


def _dicts(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every dict in a tree of JSON, parents first, in order. Deep trees are as welcome as wide ones."""
    pending = [tree]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            yield part
            pending.extend(reversed(list(part.values())))
        elif isinstance(part, list):
            pending.extend(reversed(part))


def _check_array(name: str, content: bytes) -> None:
    """Refuse an array that numpy would have to unpickle, or whose header promises other than what follows it."""
    stream = BytesIO(content)
    try:
        major = npy.read_magic(stream)
        read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[major]
        shape, _, dtype = read_header(stream)
    except Exception as error:  # numpy parses the header as Python, in several ways
        raise _Fault(f"has an array {name} that cannot be read ({_first_line(error)})") from error
    if dtype.hasobject:
        raise _Fault(f"has an array {name} of pickled objects, which are never loaded")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise _Fault(f"has an array {name} that is not of the size it says")


def _constructed(members: dict[str, bytes], trusted: Collection[str]) -> Any:
    """Let skops make what was audited, from members packed again as they were read."""
    try:
        return skops.io.loads(_packed(members, zipfile.ZIP_STORED), trusted=sorted(trusted))
    except Exception as error:  # whatever a forged state breaks in skops, numpy or scikit-learn
        raise _Fault(f"cannot be loaded ({_first_line(error)})") from error


def _check_trees(model: Any, expected: int) -> None:
    """Refuse trees whose nodes lead outside them, in circles, or to a column that is not there: scikit-learn never looks."""
    checked: set[int] = set()
    for part in _objects(model):
        forest = getattr(part, "__dict__", {})
        if "_predictors" not in forest:
            continue
        groups, columns = forest["_predictors"], forest.get("n_features_in_")
        if forest.get("_preprocessor") is not None or type(columns) is not int:
            raise _Fault("holds trees that encode categories themselves, which cannot be checked")
        if type(groups) is not list or any(type(group) is not list for group in groups):
            raise _Fault("holds trees that are no lists of trees")
        for tree in (tree for group in groups for tree in group):
            if type(tree) is not TreePredictor or not _is_sound(vars(tree).get("nodes"), columns):
                raise _Fault("holds a tree that leads nowhere")
            checked.add(id(tree))
    if len(checked) != expected:
        raise _Fault("holds trees outside a forest")


def _is_sound(nodes: Any, columns: int) -> bool:
    if not isinstance(nodes, np.ndarray) or nodes.dtype != PREDICTOR_RECORD_DTYPE or nodes.ndim != 1 or not len(nodes):
        return False
    inner = nodes["is_leaf"] == 0
    places = np.flatnonzero(inner)
    forward = all(
        ((nodes[side][inner] > places) & (nodes[side][inner] < len(nodes))).all() for side in ("left", "right")
    )
    known = ((nodes["feature_idx"][inner] >= 0) & (nodes["feature_idx"][inner] < columns)).all()
    return bool(forward and known and not nodes["is_categorical"].any())


def _objects(model: Any) -> Iterator[Any]:
    """Yield everything a model holds that has attributes, once each."""
    pending, seen = [model], set[int]()
    while pending:
        part = pending.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            pending.extend(part.values())
        elif isinstance(part, list | tuple):
            pending.extend(part)
        elif isinstance(part, np.ndarray):
            pending.extend(part.ravel() if part.dtype.hasobject else [])
        elif not isinstance(part, str | int | float | type | None):
            yield part
            slots = [name for kind in type(part).__mro__ for name in getattr(kind, "__slots__", ())]
            pending.extend(getattr(part, name, None) for name in slots if name != "__dict__")
            pending.extend(getattr(part, "__dict__", {}).values())


def _packed(members: dict[str, bytes], compression: int) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=compression)
    return buffer.getvalue()


@cache
def _protocol() -> int:
    """Return the form that this skops writes."""
    with zipfile.ZipFile(BytesIO(skops.io.dumps(None))) as archive:
        return int(json.loads(archive.read(_SCHEMA))["protocol"])


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

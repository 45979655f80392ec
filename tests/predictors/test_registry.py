"""What the registry promises: versions that stand whatever happens, and files that are audited before anything is made."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from functools import cache, partial
from operator import methodcaller
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from predictors import model_files, registry
from predictors.model_files import ModelRefused, as_bytes
from predictors.registry import NoModel, current, load, rollback, save, versions
from warehouse.home import Home

ROWS = pd.DataFrame({"bytes": np.arange(80.0), "function": ["f", "g"] * 40, "memory": [1.0, 2.0, 3.0, np.nan] * 20})


def pipeline(estimator: Any) -> Pipeline:
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan)
    columns = ColumnTransformer(
        [("categories", encoder, ["function"]), ("numbers", "passthrough", ["bytes", "memory"])]
    )
    return Pipeline([("columns", columns), ("trees", estimator)])


@cache
def trained() -> dict[str, Any]:
    """A model as predictors keep it: pipelines by metric, numbers and names beside them."""
    took = ROWS["bytes"] * 2 + (ROWS["function"] == "f")
    regressor = HistGradientBoostingRegressor(loss="absolute_error", max_iter=4, random_state=0)
    classifier = HistGradientBoostingClassifier(max_iter=4, random_state=0)
    return {
        "execution": pipeline(regressor).fit(ROWS, took),
        "state": pipeline(classifier).fit(ROWS, took > 60),
        "residuals": {"f": np.array([0.5, 0.25])},
        "names": ["f", "g"],
        "usual": 1.5,
    }


def save_small(home: Home, value: float = 0.0) -> int:
    return save(home, {"value": value}, {"seed": 0})


# versions


def test_a_saved_model_predicts_as_before(home: Home) -> None:
    assert save(home, trained(), {"seed": 7}) == 1
    model, card = load(home)
    assert (model["execution"].predict(ROWS) == trained()["execution"].predict(ROWS)).all()
    assert (model["state"].predict_proba(ROWS) == trained()["state"].predict_proba(ROWS)).all()
    assert (model["names"], model["usual"], list(model["residuals"]["f"])) == (["f", "g"], 1.5, [0.5, 0.25])
    assert card["seed"] == 7


def test_the_card_says_what_made_the_model_whatever_its_author_wrote(home: Home) -> None:
    save(home, {"value": 1}, {"version": 9, "sha256": "x", "scores": {"execution": 0.5}})
    _, card = load(home)
    file = home.models / "000001" / "model.skops"
    assert (card["version"], card["scores"]) == (1, {"execution": 0.5})
    assert card["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert set(card["versions"]) == {"flowscope", "scikit-learn", "skops", "numpy", "python"}
    assert card["created_at"].endswith("+00:00")


def test_versions_count_up_and_the_newest_is_current(home: Home) -> None:
    assert [save_small(home, value) for value in (10.0, 20.0, 30.0)] == [1, 2, 3]
    assert load(home)[0] == {"value": 30.0}
    assert load(home, 1)[0] == {"value": 10.0}
    assert [(version.number, version.is_current) for version in versions(home)] == [(1, False), (2, False), (3, True)]
    assert [version.card["seed"] for version in versions(home) if version.card] == [0, 0, 0]


def test_rolling_back_keeps_every_version_and_numbers_go_on(home: Home) -> None:
    for value in (10.0, 20.0):
        save_small(home, value)
    rollback(home, 1)
    assert (load(home)[0], current(home)) == ({"value": 10.0}, 1)
    assert save_small(home, 30.0) == 3
    rollback(home, 2)
    assert [version.number for version in versions(home)] == [1, 2, 3]
    assert load(home)[0] == {"value": 20.0}


def test_rolling_back_to_what_cannot_be_loaded_changes_nothing(home: Home) -> None:
    for value in (10.0, 20.0):
        save_small(home, value)
    replace_model(home, 1, b"damaged")
    with pytest.raises(ModelRefused):
        rollback(home, 1)
    with pytest.raises(NoModel, match="it holds 1, 2"):
        rollback(home, 3)
    assert current(home) == 2


def test_a_home_without_models_says_how_to_get_one(home: Home) -> None:
    with pytest.raises(NoModel, match="Hint: flowscope train"):
        load(home)
    assert (versions(home), current(home)) == ([], None)
    assert not home.models.exists()


def test_a_home_can_be_moved(home: Home, tmp_path: Path) -> None:
    save_small(home, 5.0)
    home.root.rename(tmp_path / "moved")
    assert load(Home(tmp_path / "moved"))[0] == {"value": 5.0}


def test_a_card_that_is_not_json_is_refused_before_anything_is_written(home: Home) -> None:
    save_small(home)
    for card in ({"score": float("nan")}, {"score": np.float64}):
        with pytest.raises((TypeError, ValueError)):
            save(home, {}, card)
    assert [version.number for version in versions(home)] == [1]


SAME = """
import hashlib, sys
from predictors.model_files import as_bytes
from tests.predictors.test_registry import trained
print(hashlib.sha256(as_bytes(trained())).hexdigest())
"""


def test_the_same_data_and_seed_give_the_same_file_in_any_process() -> None:
    environments = [os.environ | {"PYTHONHASHSEED": seed} for seed in ("1", "2")]
    root = Path(__file__).parents[2]
    printed = [
        subprocess.run(
            [sys.executable, "-c", SAME], cwd=root, env=env, capture_output=True, text=True, check=True
        ).stdout
        for env in environments
    ]
    assert printed[0] == printed[1] == hashlib.sha256(as_bytes(trained())).hexdigest() + "\n"


# whatever happens


@pytest.mark.parametrize("step", ["as_bytes", "_write", "make_durable", "_make_current", "point_link_at"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_interrupted_at_any_step_of_saving_the_last_or_the_next_version_stands(
    home: Home, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    save_small(home, 1.0)
    original = getattr(registry, step)

    def interrupted(*arguments: object) -> None:
        if after:
            original(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_small(home, 2.0)
    monkeypatch.undo()
    assert load(home)[0] in ({"value": 1.0}, {"value": 2.0})
    save_small(home, 3.0)
    assert load(home)[0] == {"value": 3.0}
    assert not list(home.models.glob("*.part*"))


def in_a_child(work: Callable[[], object]) -> int:
    """Start a process that works and ends. Return its number."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    finally:
        os._exit(0)


def test_killed_at_any_moment_the_last_state_can_be_loaded(home: Home) -> None:
    def save_for_ever() -> None:
        while True:
            save_small(home, 1.0)

    save_small(home)
    for moment in random.Random(0).choices(range(1, 60), k=12):
        child = in_a_child(save_for_ever)
        time.sleep(moment / 1000)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        model, card = load(home)
        assert model["value"] in (0.0, 1.0)
        assert card["version"] == current(home)
    numbers = [version.number for version in versions(home)]
    assert save_small(home, 2.0) == numbers[-1] + 1
    assert all(version.card for version in versions(home))


def test_two_trainings_at_once_take_two_versions(home: Home) -> None:
    def save_five() -> None:
        for value in range(5):
            save(home, {"value": value}, {"process": os.getpid()})

    children = [in_a_child(save_five) for _ in range(3)]
    for child in children:
        os.waitpid(child, 0)
    saved = versions(home)
    assert [version.number for version in saved] == list(range(1, 16))
    assert sorted(version.card["process"] for version in saved if version.card) == sorted(children * 5)
    assert current(home) == 15


# files that are not what was saved


def replace_model(home: Home, number: int, packed: bytes, **card: Any) -> None:
    """Put another file in the place of a saved model, as somebody would who can also write its card."""
    folder = home.models / f"{number:06d}"
    changed = json.loads((folder / "card.json").read_text()) | {"sha256": hashlib.sha256(packed).hexdigest()} | card
    for name in ("model.skops", "card.json"):
        (folder / name).unlink()
    (folder / "model.skops").write_bytes(packed)
    (folder / "card.json").write_text(json.dumps(changed))


def refuse(home: Home, packed: bytes, sentence: str, **card: Any) -> None:
    """Put a file in place of a model and see it refused with that sentence, and a hint."""
    number = save_small(home)
    replace_model(home, number, packed, **card)
    with pytest.raises(ModelRefused, match=sentence) as refusal:
        load(home)
    assert f"odel {number} in {home.models}" in str(refusal.value)
    assert str(refusal.value).endswith("Hint: flowscope train.")


def members_of(packed: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def with_content(content: object, **schema: Any) -> bytes:
    """A file that holds {"value": 0.5} with the node of the value replaced."""
    members = members_of(as_bytes({"value": 0.5}))
    whole = json.loads(members["schema.json"]) | schema
    whole["content"]["value"] = content
    return pack(members | {"schema.json": json.dumps(whole).encode()})


def node(loader: str, kind: str, number: int = 900, **more: Any) -> dict[str, Any]:
    module, _, name = kind.rpartition(".")
    return {"__loader__": loader, "__module__": module, "__class__": name, "__id__": number, **more}


EMPTY = node("TupleNode", "builtins.tuple", 901, content=[])
FORBIDDEN = {
    "a function": (node("FunctionNode", "os.system"), "holds a os.system"),
    "a class": (node("TypeNode", "subprocess.Popen"), "holds a subprocess.Popen"),
    "an object": (node("ObjectNode", "antigravity.fly"), "holds a antigravity.fly"),
    "a call": (node("ConstructorFromReduceNode", "subprocess.Popen", content=EMPTY), "holds a subprocess.Popen"),
    "a call of a type that is loaded": (
        node("ConstructorFromReduceNode", "sklearn.pipeline.Pipeline", content=EMPTY),
        "as ConstructorFromReduceNode",
    ),
    "an operator": (node("OperatorFuncNode", "operator.methodcaller", attrs=EMPTY), "holds a operator.methodcaller"),
    "a method": (
        node("MethodNode", "sklearn.pipeline.Pipeline", content={"func": "fit", "obj": EMPTY}),
        "as MethodNode",
    ),
    "a cached node": (node("CachedNode", "builtins.list"), "as CachedNode"),
    "a dict of another type": (node("DictNode", "os._Environ", content={}, key_types=EMPTY), "holds a os._Environ"),
    "a list of another type": (node("ListNode", "subprocess.Popen", content=[]), "holds a subprocess.Popen"),
    "an array of another type": (node("NdArrayNode", "os.system", type="numpy", file="1.npy"), "holds a os.system"),
    "a name with a path": (
        {**node("ObjectNode", "sklearn.x"), "__class__": "pipeline.Pipeline"},
        "skops does not write",
    ),
    "a node without a number": ({**node("ListNode", "builtins.list", content=[]), "__id__": None}, "does not write"),
    "a bit generator that is none": (
        node("RandomGeneratorNode", "numpy.random._generator.Generator", content={
            "bit_generator": {"__loader__": "DictNode", "__module__": "builtins", "__class__": "dict", "__id__": 905,
                              "key_types": EMPTY, "content": {"bit_generator": node("JsonNode", "builtins.str", 906, content='"seed"')}},
            "seed_seq": EMPTY,
        }),
        "cannot be loaded",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "sentence"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_against_code_in_a_file_a_type_that_is_not_listed_is_refused_by_name(
    home: Home, content: dict[str, Any], sentence: str
) -> None:
    before = set(sys.modules)
    refuse(home, with_content(content), sentence)
    assert "antigravity" not in set(sys.modules) - before


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (LinearRegression(), "holds a sklearn.linear_model._base.LinearRegression"),
        (np.log1p, "numpy.log1p"),
        (partial(print), "holds a functools.partial"),
        (methodcaller("x"), "operator.methodcaller"),
        (b"bytes", "holds a builtins.bytes"),
        (np.ma.masked_array([1.0]), "holds a numpy.ma.MaskedArray"),
    ],
    ids=["an estimator", "a ufunc", "a partial", "a method call", "bytes", "a masked array"],
)
def test_what_skops_would_trust_by_itself_is_refused_too_and_not_even_saved(
    home: Home, value: object, sentence: str
) -> None:
    with pytest.raises(ModelRefused, match=sentence):
        save(home, {"value": value}, {})
    assert versions(home) == []
    refuse(home, as_bytes({"value": value}), "(holds a|neither a schema nor an array)")


def test_against_a_choice_of_older_rules_the_form_must_be_todays(home: Home) -> None:
    for protocol in (0, 1, 99, True, None, "2"):
        refuse(home, with_content(EMPTY, protocol=protocol), "another form of skops")


class Pickled:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_against_pickles_in_arrays_objects_are_never_unpickled(home: Home, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Pickled(tmp_path / "touched")], dtype=object), allow_pickle=True)
    members = members_of(as_bytes({"value": np.array([1.0])}))
    refuse(home, pack(members | {"1.npy": buffer.getvalue()}), "pickled objects")
    structured = np.array([(Pickled(tmp_path / "touched"), 1.0)], dtype=[("object", "O"), ("number", "f8")])
    np.save(buffer := io.BytesIO(), structured, allow_pickle=True)
    refuse(home, pack(members | {"1.npy": buffer.getvalue()}), "pickled objects")
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("shape", [(2**40,), (2**32, 2**32), (-1,), (3,), (1, 1)], ids=str)
def test_against_arrays_that_promise_more_memory_than_they_hold(home: Home, shape: tuple[int, ...]) -> None:
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer := io.BytesIO(), header)
    array = buffer.getvalue() + bytes(16)
    refuse(home, pack(members_of(as_bytes({"value": np.array([1.0])})) | {"1.npy": array}), "not of the size it says")


def test_against_zip_bombs_no_more_is_unpacked_than_allowed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    members = members_of(as_bytes({"value": np.array([1.0])}))
    bomb = pack(members | {"1.npy": bytes(50_000_000)})
    assert len(bomb) < 100_000
    monkeypatch.setattr(model_files, "MAX_BYTES", 10_000_000)
    refuse(home, bomb, "larger than a model may be")
    monkeypatch.setattr(model_files, "MAX_SCHEMA_BYTES", 1_000)
    refuse(home, pack(members | {"schema.json": b" " * 2_000 + members["schema.json"]}), "larger than a model may be")


def test_against_zip_bombs_that_understate_their_size(home: Home) -> None:
    members = members_of(as_bytes({"value": np.array([1.0])}))
    bomb = pack(members | {"1.npy": bytes(5_000_000)})
    lying = bomb.replace((5_000_000).to_bytes(4, "little"), (136).to_bytes(4, "little"))
    assert lying != bomb
    refuse(home, lying, "(is not a model file|cannot be read)")


def test_against_bombs_of_other_compressions(home: Home) -> None:
    for compression in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        refuse(home, pack(members_of(as_bytes({"value": 1.0})), compression), "cannot be bounded")


def test_against_many_members(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "MAX_MEMBERS", 10)
    members = members_of(as_bytes({"value": 1.0})) | {f"{number}.npy": b"" for number in range(20)}
    refuse(home, pack(members), "more than 10 members")


def test_against_one_large_array_read_many_times(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    members = members_of(as_bytes({"value": [np.zeros(1000)]}))
    schema = json.loads(members["schema.json"])
    (one,) = schema["content"]["value"]["content"]
    schema["content"]["value"]["content"] = [{**one, "__id__": 1000 + number} for number in range(200)]
    packed = pack(members | {"schema.json": json.dumps(schema).encode()})
    monkeypatch.setattr(model_files, "MAX_BYTES", 1_000_000)
    refuse(home, packed, "larger than a model may be")


@pytest.mark.parametrize("name", ["../1.npy", "/1.npy", "1.bin", "1.npz", "1.npy\n", "x/1.npy", "SCHEMA.JSON"])
def test_against_members_of_other_names(home: Home, name: str) -> None:
    refuse(home, pack(members_of(as_bytes({"value": 1.0})) | {name: b"x"}), "neither a schema nor an array")


def test_against_a_member_that_is_there_twice(home: Home) -> None:
    members = members_of(as_bytes({"value": 1.0}))
    buffer = io.BytesIO(pack(members))
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("schema.json", members["schema.json"])
    refuse(home, buffer.getvalue(), "twice")


@pytest.mark.parametrize(
    "schema",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"protocol": 2}',
        b'{"protocol": 1e999}',
    ],
    ids=lambda text: text[:12],
)
def test_against_schemas_that_are_none(home: Home, schema: bytes) -> None:
    refuse(home, pack({"schema.json": schema}), "schema")


def test_against_foreign_and_shortened_files(home: Home) -> None:
    whole = as_bytes(trained())
    for packed in (
        b"",
        b"PK",
        b"\x80\x04N.",
        b"PK\x05\x06" + bytes(18),
        *(whole[: len(whole) * n // 9] for n in range(9)),
    ):
        refuse(home, packed, "is not a model file")


def test_against_damage_a_file_is_loaded_or_refused_and_nothing_else(home: Home) -> None:
    members = members_of(as_bytes(trained()))
    chance = random.Random(1)
    save_small(home)
    for _ in range(60):
        name = chance.choice(["schema.json", *members])
        damaged = bytearray(members[name])
        for _ in range(3):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        replace_model(home, 1, pack(members | {name: bytes(damaged)}, zipfile.ZIP_STORED))
        try:
            load(home)
        except ModelRefused as refusal:
            assert str(refusal).startswith("Model 1 in ")


# trees


def forest(change: Callable[[np.ndarray[Any, Any]], None]) -> bytes:
    """A model whose trees were changed."""
    model = HistGradientBoostingRegressor(loss="absolute_error", max_iter=2).fit(
        ROWS[["bytes", "memory"]].to_numpy(), ROWS["bytes"]
    )
    for (tree,) in model._predictors:
        change(tree.nodes)
    return as_bytes({"model": model})


def leads_to(side: str, place: int) -> Callable[[np.ndarray[Any, Any]], None]:
    def change(nodes: np.ndarray[Any, Any]) -> None:
        nodes[side][0] = place

    return change


@pytest.mark.parametrize(
    ("side", "place"),
    [("left", 10**6), ("right", 2**32 - 1), ("left", 0), ("feature_idx", 10**9), ("feature_idx", 2), ("feature_idx", -1),
     ("is_categorical", 1)],
)  # fmt: skip
def test_against_trees_that_lead_out_of_memory_or_in_circles(home: Home, side: str, place: int) -> None:
    refuse(home, forest(leads_to(side, place)), "a tree that leads nowhere")


def test_against_trees_that_are_not_looked_at(home: Home) -> None:
    model = HistGradientBoostingRegressor(loss="absolute_error", max_iter=2).fit(ROWS[["bytes"]], ROWS["bytes"])
    refuse(home, as_bytes({"tree": model._predictors[0][0]}), "trees outside a forest")
    hidden = np.empty(1, dtype=object)
    hidden[0] = model._predictors
    refuse(home, as_bytes({"trees": hidden, "value": 1}), "trees outside a forest")
    model._predictors = tuple(model._predictors)
    refuse(home, as_bytes(model), "no lists of trees")
    model._predictors = []
    del model.n_features_in_
    refuse(home, as_bytes(model), "cannot be checked")


def test_trees_that_encode_categories_themselves_are_refused_when_saved(home: Home) -> None:
    rows = ROWS.assign(function=(ROWS["function"] == "f").astype(float))
    model = HistGradientBoostingRegressor(max_iter=2, categorical_features=["function"]).fit(rows, ROWS["bytes"])
    with pytest.raises(ModelRefused, match=r"functools\.partial"):
        save(home, model, {})


# cards


def test_a_model_of_another_scikit_learn_says_to_train_again(home: Home) -> None:
    save_small(home)
    packed = (home.models / "000001" / "model.skops").read_bytes()
    refuse(home, packed, "trained with scikit-learn 1.0.2, and this is", versions={"scikit-learn": "1.0.2"})
    for stated in (None, {}, [], "1.0"):
        refuse(home, packed, "trained with scikit-learn None", versions=stated)


def test_a_model_of_another_scikit_learn_is_known_by_its_file_too(home: Home) -> None:
    members = members_of(as_bytes(trained()))
    schema = members["schema.json"].replace(
        b'"_sklearn_version":{"__class__"', b'"_sklearn_version":{"_":0,"__class__"'
    )
    start = schema.index(b'"_sklearn_version":{"_":0')
    at = schema.index(b'"content":"\\"', start) + len(b'"content":"\\"')
    end = schema.index(b'\\"', at)
    members["schema.json"] = schema[:at] + b"1.0.2" + schema[end:]
    refuse(home, pack(members), "trained with scikit-learn 1.0.2, and this is")


def test_a_file_its_card_was_not_written_for_is_refused(home: Home) -> None:
    save_small(home)
    packed = (home.models / "000001" / "model.skops").read_bytes()
    for digest in ("0" * 64, None, 1):
        refuse(home, packed, "not the file its card was written for", sha256=digest)


@pytest.mark.parametrize(
    ("card", "sentence"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "another's"),
        (b'{"version": 2}', "another's"),
        (b"{}" + b" " * 17 * 2**20, "larger than"),
        (None, "has no card.json"),
    ],
)
def test_a_card_that_is_none_is_refused(home: Home, card: bytes | None, sentence: str) -> None:
    save_small(home)
    path = home.models / "000001" / "card.json"
    path.unlink()
    if card is not None:
        path.write_bytes(card)
    with pytest.raises(ModelRefused, match=f"{sentence}.*Hint: flowscope train"):
        load(home)
    assert [version.card for version in versions(home)] == [None]
    assert save_small(home) == 2


def test_a_model_that_is_no_plain_file_is_refused_and_not_waited_for(home: Home) -> None:
    save_small(home)
    path = home.models / "000001" / "model.skops"
    path.unlink()
    for make in (os.mkfifo, Path.mkdir, lambda place: place.symlink_to("nowhere")):
        make(path)
        with pytest.raises(ModelRefused, match=r"has no model\.skops"):
            load(home)
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("target", ["../../elsewhere", "000009", "nowhere", "1", "000001/..", "\u0661"])
def test_a_link_that_leads_to_no_version_is_no_model(home: Home, target: str) -> None:
    save_small(home)
    link = home.models / "current"
    link.unlink()
    link.symlink_to(target)
    with pytest.raises(NoModel, match="is the current one"):
        load(home)
    assert load(home, 1)[0] == {"value": 0.0}
    save_small(home, 2.0)
    assert load(home)[0] == {"value": 2.0}


def test_what_a_crash_left_half_built_is_removed_and_never_loaded(home: Home) -> None:
    (home.models / "000009.part").mkdir(parents=True)
    (home.models / "000009.part" / "model.skops").write_bytes(b"half")
    (home.models / "current.part").symlink_to("000009.part")
    assert versions(home) == []
    assert save_small(home) == 1
    assert sorted(path.name for path in home.models.iterdir()) == ["000001", "current", "lock"]

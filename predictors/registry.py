"""Versioned models: `models/000001/model.skops` with its `card.json`, and a link `current` to the one in use.

A version is built under a temporary name, made durable, renamed, and only then does `current` change, as generations of
the warehouse do; it is never written again. A card says what the model learnt from and how well, and the hash of its file.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from predictors.model_files import MAX_BYTES, ModelRefused, as_bytes, from_bytes
from warehouse.durable import make_durable, point_link_at
from warehouse.errors import FlowscopeError
from warehouse.home import Home

__all__ = ["TRUSTED", "ModelRefused", "NoModel", "Version", "current", "load", "rollback", "save", "versions"]

_HGB = "sklearn.ensemble._hist_gradient_boosting"
TRUSTED: tuple[str, ...] = (
    "predictors.boosted.Chance",
    "predictors.boosted.Median",
    "predictors.calibration.Calibrator",
    "predictors.predictor.Predictor",
    "predictors.replay.Errors",
    "predictors.replay.Models",
    "predictors.sizes.OutputSize",
    "sklearn._loss._loss.CyAbsoluteError",
    "sklearn._loss._loss.CyHalfBinomialLoss",
    "sklearn._loss.link.IdentityLink",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.loss.AbsoluteError",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn.compose._column_transformer.ColumnTransformer",
    f"{_HGB}.binning._BinMapper",
    f"{_HGB}.gradient_boosting.HistGradientBoostingClassifier",
    f"{_HGB}.gradient_boosting.HistGradientBoostingRegressor",
    f"{_HGB}.predictor.TreePredictor",
    "sklearn.pipeline.Pipeline",
    "sklearn.preprocessing._encoders.OrdinalEncoder",
    "sklearn.preprocessing._function_transformer.FunctionTransformer",
    "sklearn.preprocessing._label.LabelEncoder",
)
"""The types a model may be made of, besides plain values and numpy's arrays of numbers and text. No other is loaded."""

MAX_CARD_BYTES = 16 * 2**20

_MODEL, _CARD = "model.skops", "card.json"
_HINT = "Hint: flowscope train."


class NoModel(FlowscopeError):
    """There is no model, or none of that version, in this home."""


@dataclass(frozen=True, slots=True)
class Version:
    """One saved model: its number, its card (None: unreadable), and whether it is the one in use."""

    number: int
    card: dict[str, Any] | None
    is_current: bool


def save(home: Home, model: object, card: Mapping[str, Any]) -> int:
    """Save a model with its card, make it the current one, and return its version.

    To the card are added version, created_at (UTC), sha256 of the file, and versions of what made it. The model is read
    back first, so that what is saved can be loaded. Raises `ModelRefused` for a type that `TRUSTED` does not name, and
    `TypeError` or `ValueError` for a card that is not plain JSON. Killed at any moment, `current` is either the version
    before or the new one.
    """
    packed = as_bytes(model)
    from_bytes(packed, TRUSTED, "The model to save", "Hint: predictors/registry.py names what a model may be made of.")
    with _locked(home):
        number = max(_numbers(home), default=0) + 1
        full_card = {
            **card,
            "version": number,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "sha256": hashlib.sha256(packed).hexdigest(),
            "versions": _versions_in_use(),
        }
        text = json.dumps(full_card, indent=2, allow_nan=False)
        for leftover in home.models.glob("*.part*"):
            shutil.rmtree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink()
        folder = _folder(home, number)
        part = folder.with_suffix(".part")
        part.mkdir()
        _write(part / _MODEL, packed)
        _write(part / _CARD, text.encode())
        make_durable(part)
        part.rename(folder)
        make_durable(home.models)
        _make_current(home, number)
    return number


def load(home: Home, version: int | None = None) -> tuple[Any, dict[str, Any]]:
    """Return the current model, or that version, and its card.

    Raises `NoModel` where there is none, and `ModelRefused` for one that is damaged, was made by another version of
    scikit-learn, or holds anything that `TRUSTED` does not name: its file is audited before anything in it is made.
    """
    number = _chosen(home, version)
    name = f"Model {number} in {home.models}"
    card = _card(home, number)
    packed = _bytes(_folder(home, number) / _MODEL, MAX_BYTES, name)
    if hashlib.sha256(packed).hexdigest() != card.get("sha256"):
        raise ModelRefused(f"{name} is not the file its card was written for. {_HINT}")
    made_with = card.get("versions")
    trained = made_with.get("scikit-learn") if isinstance(made_with, dict) else None
    if trained != installed("scikit-learn"):
        raise ModelRefused(
            f"{name} was trained with scikit-learn {trained}, and this is {installed('scikit-learn')}. {_HINT}"
        )
    return from_bytes(packed, TRUSTED, name, _HINT), card


def versions(home: Home) -> list[Version]:
    """Return the saved models, oldest first."""
    in_use = current(home)
    found = []
    for number in _numbers(home):
        try:
            card = _card(home, number)
        except ModelRefused:
            card = None
        found.append(Version(number, card, number == in_use))
    return found


def current(home: Home) -> int | None:
    """Return the version in use, None where there is none."""
    try:
        name = home.models.joinpath("current").readlink().name
    except OSError:
        return None
    return next((number for number in _numbers(home) if _folder(home, number).name == name), None)


def rollback(home: Home, version: int) -> None:
    """Make an earlier (or later) version the current one, once it is found to load. No version is removed.

    Raises what `load` raises; then `current` stays.
    """
    load(home, version)
    with _locked(home):
        _make_current(home, version)


def _chosen(home: Home, version: int | None) -> int:
    known = _numbers(home)
    if not known:
        raise NoModel(f"No model in {home.models}. {_HINT}")
    number = current(home) if version is None else version
    if number is None:
        raise NoModel(f"No model in {home.models} is the current one. {_HINT}")
    if number not in known:
        raise NoModel(f"No model {number} in {home.models}. Hint: it holds {', '.join(map(str, known))}.")
    return number


def _numbers(home: Home) -> list[int]:
    names = (path.name for path in home.models.glob("[0-9]*") if path.is_dir())
    return sorted(int(name) for name in names if name.isascii() and name.isdigit() and f"{int(name):06d}" == name)


def _folder(home: Home, number: int) -> Path:
    return home.models / f"{number:06d}"


def _card(home: Home, number: int) -> dict[str, Any]:
    name = f"The card of model {number} in {home.models}"
    try:
        card = json.loads(_bytes(_folder(home, number) / _CARD, MAX_CARD_BYTES, name))
    except (ValueError, RecursionError) as error:
        raise ModelRefused(f"{name} is not JSON. {_HINT}") from error
    if not isinstance(card, dict) or card.get("version") != number:
        raise ModelRefused(f"{name} is another's. {_HINT}")
    return card


def _bytes(path: Path, most: int, name: str) -> bytes:
    """Return a file's bytes. A file that is no plain one (a pipe would block for ever) or too large is refused."""
    try:
        if not path.is_file():
            raise ModelRefused(f"{name} has no {path.name}. {_HINT}")
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise ModelRefused(f"{name} cannot be read: {error.strerror}. {_HINT}") from error
    if len(content) > most:
        raise ModelRefused(f"{name} is larger than {most:,} bytes. {_HINT}")
    return content


def _versions_in_use() -> dict[str, str]:
    packages = ("flowscope", "scikit-learn", "skops", "numpy")
    return {name: installed(name) for name in packages} | {"python": platform.python_version()}


@contextmanager
def _locked(home: Home) -> Iterator[None]:
    """Wait for the one place at `models`; the kernel gives it free when a process ends, however it ends."""
    home.models.mkdir(parents=True, exist_ok=True)
    with (home.models / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o444)
    make_durable(path)


def _make_current(home: Home, number: int) -> None:
    point_link_at(home.models / "current", Path(_folder(home, number).name))

"""What the cards of saved models say, as frames. A card is read as it is found: what is missing or odd is left out."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from app.plain import label
from app.predicted import target
from app.units import count, percent

Card = dict[str, Any]

_LEVELS = {"task": "of a task", "invocation": "of a worker", "run": "of a run"}


def entries(card: Card, name: str) -> list[dict[str, Any]]:
    """Return the objects listed under a name."""
    found = card.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def called(entry: dict[str, Any]) -> str:
    """Return how a model's target is called: 'execution of a task'."""
    level, metric = str(entry.get("level", "")), str(entry.get("metric", ""))
    known = target(level, metric)
    return known.name if known else label(f"{metric} {_LEVELS.get(level, level)}".strip(), 40)


def facts(card: Card) -> pd.DataFrame:
    """Return what a card says of the model as a whole: what it learnt from, when, with what. Columns: what, value."""
    data = card.get("data")
    data = data if isinstance(data, dict) else {}
    versions = card.get("versions")
    rows: list[tuple[str, Any]] = [
        ("version", card.get("version")),
        ("made at (UTC)", card.get("created_at")),
        ("generation of the warehouse", card.get("generation")),
        ("runs it learnt from", data.get("runs")),
        ("tasks", data.get("tasks")),
        ("worker starts", data.get("starts")),
        ("first run submitted at (UTC)", data.get("first_submitted_at")),
        ("last run submitted at (UTC)", data.get("last_submitted_at")),
        ("sources", data.get("sources")),
        ("workflows", data.get("workflows")),
        ("environments", data.get("environments")),
        ("fingerprint of the data", data.get("fingerprint")),
        ("seed", card.get("seed")),
        ("versions", versions),
        ("SHA-256 of the model's file", card.get("sha256")),
    ]
    return pd.DataFrame(
        [(what, _said(value)) for what, value in rows if value not in (None, [], {})], columns=["what", "value"]
    )


def targets(card: Card) -> pd.DataFrame:
    """Return a row per target: rows it learnt from, seconds it took, how many features, and how good it was when it was calibrated."""
    scores = {(one.get("level"), one.get("metric")): one for one in entries(card, "scores")}
    rows = []
    for one in entries(card, "targets"):
        score = scores.get((one.get("level"), one.get("metric")), {})
        coverage = score.get("coverage")
        rows.append(
            {
                "target": called(one),
                "rows": _number(one.get("rows")),
                "seconds": _number(one.get("seconds")),
                "features": len(one["features"]) if isinstance(one.get("features"), list) else None,
                "median relative error": _number(score.get("median_relative_error")),
                **{
                    f"coverage at p{label(name, 5)}": _number(value)
                    for name, value in (coverage.items() if isinstance(coverage, dict) else ())
                },
            }
        )
    return pd.DataFrame(rows)


def importances(card: Card) -> dict[str, pd.DataFrame]:
    """Return by target's name what it learnt from: feature, increase (the share by which the error rises when it is shuffled)."""
    found = {}
    for one in entries(card, "targets"):
        rows = [
            (str(each.get("feature")), _number(each.get("increase")))
            for each in entries(one, "importance")
            if _number(each.get("increase")) is not None
        ]
        if rows:
            frame = pd.DataFrame(rows, columns=["feature", "increase"])
            found[called(one)] = frame.sort_values("increase", ascending=False, ignore_index=True)
    return found


def learned(name: str, frame: pd.DataFrame, shown: int) -> str:
    """Say what a model of one target rests on most."""
    first = frame.iloc[0]
    text = (
        f"Shuffling one feature at a time on runs it had not seen, the error of **{name}** rises most with "
        f"`{label(first['feature'], 40).replace('`', '')}`: by {percent(float(first['increase']))}."
    )
    nothing = int((frame["increase"] < 0.01).sum())
    if nothing:
        text += (
            f" {nothing:,} of {count(len(frame), 'feature')} {'moves' if nothing == 1 else 'move'} it by less than 1 %."
        )
    return text + (f" Drawn: the first {shown:,}." if len(frame) > shown else "")


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _said(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list):
        more = f" and {len(value) - 8:,} more" if len(value) > 8 else ""
        return ", ".join(label(one, 40) for one in value[:8]) + more
    if isinstance(value, dict):
        return ", ".join(f"{label(name, 30)} {label(one, 30)}" for name, one in list(value.items())[:12])
    return label(value if isinstance(value, str | float) else json.dumps(value), 140)

"""Spreads of times and shares, a row per group: what most values are between, and one figure that stands for them."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from app.charts.base import NEUTRAL, PHONE, SHAPES, Drawn
from app.plain import label

_ROW, _FURTHER_KIND = 38, 34


def spreads(
    frame: pd.DataFrame, axis: str | Sequence[str], names: tuple[str, str, str], kinds: Sequence[str], *, is_share: bool = False, up_to: float = 0.0
) -> Drawn:  # fmt: skip
    """Draw spreads, a row per label and within it one per kind: a bar from low to high, the middle as a point with its text.

    `frame`: label, kind (one of `kinds`: colour and shape), low, middle, high, n, text. `names`: what low, middle and high are
    called. `kinds` are words of ours. Labels stand in the order they come. The axis begins at 0 and reaches `up_to`, and beyond
    where a value does.
    """
    shown = frame.assign(shown=[label(name, 40) for name in frame["label"]])
    rows = list(dict.fromkeys(shown["shown"]))
    there = [kind for kind in kinds if kind in set(shown["kind"])]
    largest = float(shown["high"].max())
    end = up_to if up_to >= largest else 1.12 * largest
    scale = alt.Scale(domain=[0, end or 1.0], nice=False)
    form = ".1%" if is_share else ",.4~g"
    x_axis = alt.Axis(grid=True, tickCount=alt.ExprRef(f"{PHONE} ? 3 : 5"), format="%" if is_share else "~g")
    y = alt.Y("shown:N", sort=rows, title=None, axis=alt.Axis(labelLimit=alt.ExprRef(f"{PHONE} ? 130 : 260"), ticks=False, domain=False))  # fmt: skip
    offset = alt.YOffset("kind:N", sort=list(there), scale=alt.Scale(paddingOuter=0.25))
    several = len(there) > 1
    legend = (
        alt.Legend(title=None, orient="top", symbolOpacity=1, columns=alt.ExprRef(f"{PHONE} ? 1 : 2"))
        if several
        else None
    )
    color = alt.Color("kind:N", scale=alt.Scale(domain=list(kinds)), legend=legend)
    shape = alt.Shape("kind:N", scale=alt.Scale(domain=list(kinds), range=list(SHAPES[: len(kinds)])), legend=legend)
    tooltip = [
        alt.Tooltip("shown:N", title="where"),
        alt.Tooltip("kind:N"),
        *(alt.Tooltip(f"{column}:Q", title=name, format=form) for column, name in zip(("low", "middle", "high"), names, strict=True)),
        alt.Tooltip("n:Q", title="rests on", format=","),
    ]  # fmt: skip
    base = alt.Chart(shown)
    bars = base.mark_bar(height=5, opacity=0.45, cornerRadius=2).encode(
        x=alt.X("low:Q", title=axis, axis=x_axis, scale=scale), x2="high:Q", y=y, yOffset=offset, color=color, tooltip=tooltip,
    )  # fmt: skip
    points = base.mark_point(filled=True, size=60, opacity=1).encode(
        x=alt.X("middle:Q", scale=scale), y=y, yOffset=offset, color=color, shape=shape, tooltip=tooltip
    )
    place = f"datum.middle > {0.8 * end} ? {{}} : datum.middle < {0.15 * end} ? {{}} : {{}}"
    texts = base.mark_text(
        dy=alt.ExprRef(f"datum.kind === '{there[0]}' ? -10 : 15"), fontSize=11, color=NEUTRAL,
        align=alt.ExprRef(place.format("'right'", "'left'", "'center'")),
        dx=alt.ExprRef(place.format("8", "-4", "0")),
    ).encode(x=alt.X("middle:Q", scale=scale), y=y, yOffset=offset, text="text:N")  # fmt: skip
    height = 80 + (_ROW + _FURTHER_KIND * (len(there) - 1)) * max(1, len(rows))
    return alt.layer(bars, points, texts).properties(height=height)

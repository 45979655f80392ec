"""Charts as SVG that can stand in any document: drawn without a browser, in the report's light colours, nothing in them that acts.

What a chart shows comes from dumps, so what is drawn is let through by name: shapes, text and what they refer to inside the
same drawing. Scripts, links, images, foreign markup and addresses do not get through.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import altair as alt
import vl_convert as vlc

from app.charts import Drawn

WIDE, NARROW = 760, 340
"""Widths in pixels: for a page or paper, and for a phone."""

_THEME = Path(__file__).parent.parent / ".streamlit" / "config.toml"
_SVG = "http://www.w3.org/2000/svg"
_HREF = "{http://www.w3.org/1999/xlink}href"
_SHAPES = frozenset(
    f"{{{_SVG}}}{name}"
    for name in (
        "svg", "g", "path", "rect", "line", "circle", "ellipse", "polygon", "polyline", "text", "tspan", "defs", "clipPath",
        "linearGradient", "radialGradient", "stop", "pattern", "marker",
    )
)  # fmt: skip
_UNSAID = re.compile(r"(on.*|aria-.*|role|class|tabindex|pointer-events|style|cursor)", re.IGNORECASE)
"""Attributes that are left out: what acts, and what speaks for single marks (the figure's text speaks for the whole)."""
_INSIDE = re.compile(r"url\(#([^)\s]+)\)")
_FRACTION = re.compile(r"-?\d*\.\d{3,}")
_GAP = 20

ElementTree.register_namespace("", _SVG)


def to_svg(drawn: Drawn, prefix: str, width: int = WIDE) -> str:
    """Return a chart as SVG of that width in pixels. Its ids begin with `prefix`, which no other drawing on the page may have."""
    with alt.data_transformers.enable("default", max_rows=None):
        specification = drawn.to_dict()
    svg: str = vlc.vegalite_to_svg(_sized(specification, width), config=_config(width), allowed_base_urls=[])
    return sanitised(svg, prefix)


def sanitised(svg: str, prefix: str) -> str:
    """Return the SVG with shapes and text alone, its ids numbered behind `prefix`. Raises `ParseError` where it is no XML."""
    root = ElementTree.fromstring(svg)  # noqa: S314 - drawn here, not read from anywhere
    if root.tag != f"{{{_SVG}}}svg":
        raise ValueError(root.tag)
    _keep_shapes(root)
    found = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    names = {name: f"{prefix}-{number}" for number, name in enumerate(dict.fromkeys(found), 1)}
    for element in root.iter():
        element.attrib = dict(_attributes(element.attrib, names))
    return ElementTree.tostring(root, encoding="unicode")


@cache
def colours(scheme: str) -> dict[str, Any]:
    """Return the theme's colours for 'light' or 'dark', by Streamlit's names; nothing where there is no theme."""
    return dict(_theme().get(scheme, {}))


@cache
def _theme() -> dict[str, Any]:
    try:
        return dict(tomllib.loads(_THEME.read_text(encoding="utf-8"))["theme"])
    except FileNotFoundError:  # installed without the project around it: Vega's own colours will do
        return {}


def _config(width: int) -> dict[str, Any]:
    """Return the theme as Vega-Lite's configuration, laid out as the pages do it (Streamlit's own theme for Vega-Lite)."""
    theme = colours("light")
    quiet = {"labelFontWeight": "normal", "titleFontWeight": "normal", "labelFontSize": 12, "titleFontSize": 13}
    if theme:
        quiet |= {"labelColor": theme["textColor"], "titleColor": theme["textColor"]}
    line = {"gridColor": theme["borderColor"], "domainColor": theme["borderColor"]} if theme else {}
    category = theme.get("chartCategoricalColors")
    ranges = {
        "category": category,
        "ordinal": theme.get("chartSequentialColors"),
        "ramp": theme.get("chartSequentialColors"),
        "heatmap": theme.get("chartSequentialColors"),
        "diverging": theme.get("chartDivergingColors"),
    }
    return {
        "font": _theme().get("font", "sans-serif"),
        "background": theme.get("backgroundColor", "white"),
        "axis": {
            **quiet, **line, "ticks": False, "domain": False, "labelFlush": True, "labelFlushOffset": 1, "labelLimit": 100,
            "labelOverlap": True, "labelPadding": 10, "titlePadding": 10, "labelSeparation": 4,
        },
        # On a phone a title is wider than its axis: it may reach to the left, over the labels' side.
        "axisX": {"titleAnchor": "end"} if width <= NARROW else {},
        "axisDiscrete": {"grid": False},
        "axisXPoint": {"grid": False},
        "axisXBand": {"grid": False},
        "axisTemporal": {"grid": False},
        "legend": {**quiet, "titlePadding": 8, "labelPadding": 6, "columnPadding": 12, "rowPadding": 3, "padding": 8},
        "header": {**quiet, "titleFontSize": 14},
        "title": {"anchor": "start", "fontSize": 14, **({"color": theme["textColor"]} if theme else {})},
        "text": {"color": theme["textColor"]} if theme else {},
        "range": {name: value for name, value in ranges.items() if value},
        "view": {"stroke": "transparent"},
        "mark": {"color": category[0]} if category else {},
    }  # fmt: skip


def _sized(specification: dict[str, Any], width: int) -> dict[str, Any]:
    """Return the specification at that width, labels included; a facet shares it between its columns."""
    if "facet" not in specification:
        return {"width": width, **specification, "autosize": {"type": "fit", "contains": "padding"}}
    beside = specification.get("columns", 1) if width > NARROW else 1
    inner = {"width": max(120, (width - 90) // beside - _GAP), **specification["spec"]}
    return {**specification, "columns": beside, "spec": inner}


def _keep_shapes(element: ElementTree.Element) -> None:
    for child in list(element):
        if child.tag in _SHAPES:
            _keep_shapes(child)
        else:
            element.remove(child)


def _attributes(attributes: dict[str, str], names: dict[str, str]) -> list[tuple[str, str]]:
    """Return the attributes that may stay; what refers to something refers to it inside this drawing."""
    kept = []
    for name, value in attributes.items():
        if name == "id":
            kept.append((name, names[value]))
        elif name in ("href", _HREF):
            if value.removeprefix("#") in names and value.startswith("#"):
                kept.append((name, f"#{names[value.removeprefix('#')]}"))
        elif "url" in value.lower() and name != "font-family":
            inside = _INSIDE.fullmatch(value.strip())
            if inside and inside[1] in names:
                kept.append((name, f"url(#{names[inside[1]]})"))
        elif not _UNSAID.fullmatch(name):
            kept.append((name, _FRACTION.sub(_rounded, value) if name in ("d", "transform") else value))
    return kept


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")

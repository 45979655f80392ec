"""The report as one HTML file that needs nothing else: no script, no address outside itself, figures and data inside.

It is the same for the same generation and selection, but for when it was made.
"""

from __future__ import annotations

import base64
import platform
from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from app import answers, cells, queries, sentences
from app.findings.evidence import Selection, of_reader
from app.findings.finding import Figure, Finding
from app.markdown import to_html
from app.plain import label
from app.sections import TITLES
from app.svg import NARROW, colours, to_svg
from app.units import count
from warehouse.connection import Reader

MOST_FILES = 200
MOST_TABLE_ROWS = 50

_LIBRARIES = ("flowscope", "duckdb", "scikit-learn", "scipy", "pandas", "altair", "vl-convert-python")

_FILES = """
select source, key, status, rows, rejected, sha256 from files order by source, key, file_id limit $most
"""

_PRICES = """
select environment, gb_second_usd, request_usd, source, as_of from prices
order by environment, as_of desc nulls last, file_id desc nulls last
"""

_SELECTED = """
-- The runs selected, and those of them that conclusions about complete runs, or about predictions, cannot use.
select
    count(*) as runs,
    count(*) filter (where is_complete) as complete,
    count(*) filter (where is_complete is false) as incomplete,
    count(*) filter (where is_complete is null) as undecided,
    count(*) filter (where run_id not in (select run_id from plans where run_id is not null)) as without_plan
from selected_runs
"""


def build(reader: Reader, findings: Iterable[Finding], selection: Selection, made_at: datetime) -> str:
    """Return the report as HTML. The findings are drawn as they come, so their iterator may tell how far it is."""
    shown = [_finding(finding) for finding in findings]
    order = {page: place for place, page in enumerate(TITLES)}
    by_section = sorted(shown, key=lambda finding: (order.get(finding["page"], len(order)), finding["page"]))
    sections = [
        (page, TITLES.get(page, page.replace("_", " ").capitalize()), list(group))
        for page, group in groupby(by_section, key=lambda finding: finding["page"])
    ]
    return _template().render(
        basis=_basis(reader, selection),
        findings=shown,
        sections=sections,
        made_at=made_at,
        versions=[("Python", platform.python_version()), *((name, version(name)) for name in _LIBRARIES)],
        light=colours("light"),
        dark=colours("dark"),
        narrow=NARROW,
    )


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "markdown": lambda text: Markup(to_html(text)),  # noqa: S704 - it escapes what it is given
        "shown": cells.shown,
        "label": label,
        "count": count,
    }
    return environment.get_template("report.html.j2")


def _basis(reader: Reader, selection: Selection) -> dict[str, Any]:
    """Return what the report rests on: the generation, its sources, runs and prices, and what was left out."""
    evidence = of_reader(reader, selection)
    overview = _record(reader.frame(queries.OVERVIEW))
    sources = reader.frame(queries.SOURCES)
    selected = _record(evidence.frame(_SELECTED))
    files = reader.frame(_FILES, {"most": MOST_FILES})
    left = sentences.left_out(reader.frame(queries.LEFT_OUT)) if selection.is_everything else _left_out_of(selected)
    return {
        "generation": _record(reader.frame(queries.GENERATION)),
        "loaded": sentences.loaded(overview),
        "refused": sentences.refused(sources, reader.frame(queries.REJECTS_BY_REASON)),
        "left_out": left,
        "selection": selection.sentence(),
        "is_everything": selection.is_everything,
        "selected": selected,
        "runs": int(overview["runs"]),
        "sources": _table(sources[["source", "format", "objects", "failed", "missing", "rows", "rejected", "skipped"]]),
        "files": _table(files),
        "files_in_all": int(sources["objects"].sum()),
        "prices": _table(reader.frame(_PRICES)),
    }


def _record(frame: pd.DataFrame) -> dict[str, Any]:
    return {str(name): value for name, value in frame.iloc[0].to_dict().items()}


def _left_out_of(selected: Mapping[str, Any]) -> list[str]:
    """Say which of the selected runs conclusions cannot use."""
    incomplete, without = int(selected["incomplete"]), int(selected["without_plan"])
    said = [
        f"Of {count(selected['runs'], 'selected run')} {incomplete:,} {'is' if incomplete == 1 else 'are'} incomplete: some task left no metrics."
        if incomplete
        else "No selected run is incomplete."
    ]
    if selected["undecided"]:
        said.append(
            f"Of {int(selected['undecided']):,} the DAG is unknown, so nothing tells whether they are complete."
        )
    if without:
        said.append(
            f"{count(without, 'selected run')} {'has' if without == 1 else 'have'} no plan, hence no prediction."
        )
    return said


def _finding(finding: Finding) -> dict[str, Any]:
    answer, question = finding.answer, finding.question
    return {
        "code": question.code,
        "question": question.text,
        "page": question.page,
        "minimum": question.minimum,
        "answer": answer,
        "symbol": answers.SYMBOLS[answer.status],
        "effect": answers.effect(answer.effect) if answer.effect else "",
        "rests_on": answers.rests_on(answer),
        "figures": [_figure(question.code, place, figure) for place, figure in enumerate(answer.figures, 1)],
        "table": _table(answer.table, MOST_TABLE_ROWS),
        "csv": _data_address(
            "text/csv;charset=utf-8", cells.as_file(answer.table.replace([np.inf, -np.inf], None), "csv")
        )
        if len(answer.table)
        else "",
        "statements": finding.statements,
    }


def _figure(code: str, place: int, figure: Figure) -> dict[str, Any]:
    prefix = f"{code}-{place}"
    wide, narrow = to_svg(figure.drawn, f"{prefix}-w"), to_svg(figure.drawn, f"{prefix}-n", NARROW)
    return {
        "text": figure.text,
        "name": figure.name,
        "wide": Markup(wide),  # noqa: S704 - sanitised
        "narrow": Markup(narrow),  # noqa: S704 - sanitised
        "address": _data_address("image/svg+xml", wide.encode()),
    }


def _table(frame: pd.DataFrame, most: int | None = None) -> dict[str, Any]:
    """Return a frame as the template shows it: names, which columns are figures, the first rows, and how many there are."""
    return {
        "names": [label(name, 60).replace("_", " ") for name in cells.columns(frame)],
        "figures": cells.is_figure(frame),
        "rows": list(cells.rows(frame, most)),
        "in_all": len(frame),
    }


def _data_address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"

"""Evidence over hand-made rows of tables."""

from __future__ import annotations

from collections.abc import Mapping

from app.findings.evidence import Evidence, Selection
from tests.warehouse.views import Row, _needed, _tables
from warehouse.views import core_views, create_views

Rows = dict[str, list[Row]]


def evidence(rows: Mapping[str, list[Row]], *views: str, selection: Selection | None = None) -> Evidence:
    """Evidence of these rows (by table name), with these views and all they read."""
    connection = _tables(dict(rows))
    wanted = {view.name for name in views for view in _needed(name)}
    create_views(connection, [view for view in core_views() if view.name in wanted])
    return Evidence(lambda sql, parameters: connection.execute(sql, dict(parameters)).df(), selection or Selection())

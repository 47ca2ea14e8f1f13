"""The dashboard asks for nothing that a run does not report."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema

from actors.telemetry.metric_names import SERIES

DASHBOARD = Path(__file__).parents[2] / "cluster" / "grafana-dashboard.json"
EXPORTED = {name for series in SERIES for name in series.exported()}
PANEL = {
    "type": "object",
    "required": ["id", "title", "type", "datasource", "gridPos", "targets", "fieldConfig", "options"],
    "properties": {
        "type": {"enum": ["stat", "timeseries", "heatmap"]},
        "gridPos": {
            "type": "object",
            "required": ["x", "y", "w", "h"],
            "properties": {"x": {"minimum": 0}, "w": {"type": "integer", "minimum": 1, "maximum": 24}},
        },
        "targets": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["expr", "refId", "legendFormat"]}},
    },
}
SCHEMA = {
    "type": "object",
    "required": ["uid", "title", "schemaVersion", "panels", "templating", "time"],
    "properties": {"schemaVersion": {"type": "integer", "minimum": 36}, "panels": {"type": "array", "items": PANEL}},
}


def dashboard() -> Any:
    return json.loads(DASHBOARD.read_text())


def queried() -> set[str]:
    """Names of all series in the dashboard's queries."""
    expressions = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    expressions += [variable["query"] for variable in dashboard()["templating"]["list"]]
    return {name for text in expressions for name in re.findall(r"\bray_\w+", text)}


def test_the_dashboard_has_the_shape_that_grafana_loads():
    jsonschema.validate(dashboard(), SCHEMA)


def test_panels_have_ids_of_their_own_and_do_not_overlap():
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [(x, y) for panel in panels for x, y in _cells(panel["gridPos"])]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)


def test_every_series_that_the_dashboard_queries_is_one_that_a_run_reports():
    assert queried() <= EXPORTED, queried() - EXPORTED


def test_every_series_that_a_run_reports_is_on_the_dashboard():
    silent = {series.name for series in SERIES if not queried() & set(series.exported())}
    assert silent == set()


def _cells(position: dict[str, int]) -> list[tuple[int, int]]:
    columns = range(position["x"], position["x"] + position["w"])
    return [(x, y) for x in columns for y in range(position["y"], position["y"] + position["h"])]

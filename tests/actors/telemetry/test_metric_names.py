"""The names that the dashboard relies on, as Ray's own exporter gives them out."""

from prometheus_client import REGISTRY, generate_latest
from ray._private.telemetry.open_telemetry_metric_recorder import OpenTelemetryMetricRecorder

from actors.telemetry.metric_names import PREFIX, SERIES


def test_every_series_is_exported_under_the_names_we_say():
    recorder = OpenTelemetryMetricRecorder()
    for series in SERIES:
        name = f"{PREFIX}{series.name}"
        if series.kind == "gauge":
            recorder.register_gauge_metric(name, series.help)
        elif series.kind == "counter":
            recorder.register_counter_metric(name, series.help)
        else:
            recorder.register_histogram_metric(name, series.help, list(series.boundaries))
        recorder.set_metric_value(name, {"run": "demo"}, 1.0)
    lines = generate_latest(REGISTRY).decode().splitlines()
    shown = {line.partition("{")[0].split(" ")[0] for line in lines if not line.startswith("#")}
    assert {name for series in SERIES for name in series.exported()} <= shown

"""The snapshot of a run as metrics for Prometheus, with the package prometheus_client ('condi[metrics]')."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from server_app.watch.snapshot import TASKS, take_snapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATUSES = ("running", "completed", "failed", "stopped", "silent")


def run_metrics(run: Path) -> bytes:
    """Return the metrics of a run in the text format of Prometheus.

    Parameters
    ----------
    run : Path
        The run directory.

    Raises
    ------
    ImportError
        The package prometheus_client is not installed.
    RunFileError
        This is no run directory, or one of its files is damaged.
    """
    from prometheus_client import CollectorRegistry, generate_latest

    class Collector:
        def collect(self) -> Iterator[Any]:
            return _collect(take_snapshot(run))

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())  # any object with this method
    return generate_latest(registry)


def _collect(snapshot: dict[str, Any]) -> Iterator[Any]:
    """Yield the metrics of a snapshot; texts of sites are values of labels, which are escaped."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    def gauge(
        name: str, about: str, labels: list[str], values: Sequence[tuple[list[str], float | None]]
    ) -> Any:
        family = GaugeMetricFamily(f"condi_{name}", about, labels=labels)
        for label_values, value in values:
            if value is not None:
                family.add_metric(label_values, value)
        return family

    status = [([name], float(name == snapshot["status"])) for name in STATUSES]
    yield gauge("run_status", "1 for the status of the run.", ["status"], status)
    yield gauge("run_seconds", "Age of the run.", [], [([], snapshot["seconds"])])
    left = snapshot["seconds-left"]
    yield gauge("run_seconds_left", "Estimated time until the last round.", [], [([], left)])
    phases, sites = snapshot["phases"], snapshot["sites"]
    yield gauge("rounds_done", "Rounds done.", ["phase"], [([p["name"]], p["done"]) for p in phases])
    yield gauge("rounds_planned", "Rounds planned.", ["phase"], [([p["name"]], p["rounds"]) for p in phases])
    last = {line["phase"]: line for line in snapshot["history"]}
    losses = [([p], e["loss"]) for p, e in last.items()]
    yield gauge("loss", "Training loss of the last round.", ["phase"], losses)
    scored = {line["phase"]: line for line in snapshot["history"] if line["metrics"]}
    metrics = [([p, name], value) for p, e in scored.items() for name, value in e["metrics"].items()]
    yield gauge("metric", "Metrics on validation windows.", ["phase", "metric"], metrics)
    yield gauge("round_seconds", "Last round.", ["phase"], [([p], e["seconds"]) for p, e in last.items()])
    traffic = CounterMetricFamily("condi_bytes", "Bytes of weights.", labels=["direction"])
    for direction, number in (
        ("to-sites", snapshot["bytes"]["down"]),
        ("from-sites", snapshot["bytes"]["up"]),
    ):
        traffic.add_metric([direction], number)
    yield traffic
    working = [([s["name"]], float(s["state"] in TASKS.values())) for s in sites]
    yield gauge("site_working", "1 while the site works on a message.", ["site"], working)
    connected = [([s["name"]], float(s["state"] != "not connected")) for s in sites if s["state"]]
    yield gauge("site_connected", "0 for a site that is not connected.", ["site"], connected)
    seconds = [([s["name"]], s["last-round-seconds"]) for s in sites]
    yield gauge("site_round_seconds", "Work of the site in its last round.", ["site"], seconds)
    failures = CounterMetricFamily("condi_site_failures", "Rounds without a valid reply.", labels=["site"])
    for site in sites:
        failures.add_metric([site["name"]], site["failures"])
    yield failures

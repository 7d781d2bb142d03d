"""Metrics for Prometheus of a run and of a site, and the dashboard that shows them."""

import http.client
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from client_app.join.site_metrics import SiteMetrics, serve_site_metrics
from client_app.node.audit_log import append_entry
from server_app.operations.flower_processes import free_port
from server_app.watch import metrics as metrics_module
from server_app.watch.metrics import run_metrics
from server_app.watch.snapshot import take_snapshot
from tests.helpers.watched_run import HOSTILE, NOW, line, write_watched_run

parser = pytest.importorskip("prometheus_client.parser")
DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana" / "condi.json"


def samples(text: str) -> dict[tuple, float]:
    """Return values by name and labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def of_run(tmp_path, small_settings, monkeypatch):
    monkeypatch.setattr(metrics_module, "take_snapshot", lambda run: take_snapshot(run, NOW))
    history = [line("imputer", 1), line("imputer", 2, failures={"south": "late"})]
    run = write_watched_run(tmp_path / "run", small_settings({"imputer.rounds": 5}), history)
    return samples(run_metrics(run).decode())


def write_log(path: Path) -> Path:
    append_entry(path, "start", superlink="fl")
    append_entry(path, "run", run=1)
    append_entry(path, "reply", run=1, message="train.imputer", bytes=700)
    append_entry(path, "reply", run=1, message="train.task", bytes=50, error=2)
    append_entry(path, "refusal", run=1, message="odd.kind\n", reason="no")
    return path


def test_a_run_has_rounds_metrics_bytes_and_sites(of_run):
    assert of_run["condi_run_status", ("status", "running")] == 1
    assert of_run["condi_run_status", ("status", "failed")] == 0
    assert of_run["condi_rounds_done", ("phase", "imputer")] == 2
    assert of_run["condi_rounds_planned", ("phase", "imputer")] == 5
    assert of_run["condi_metric", ("metric", "rmse"), ("phase", "imputer")] == 0.25
    assert of_run["condi_bytes_total", ("direction", "to-sites")] == 4_000_000
    assert of_run["condi_site_working", ("site", "north")] == 1
    assert of_run["condi_site_working", ("site", HOSTILE)] == 0  # its name is escaped, and read back
    assert of_run["condi_site_connected", ("site", "south")] == 0
    assert of_run["condi_site_failures_total", ("site", "south")] == 1


def test_a_site_counts_new_entries_of_its_audit_log(tmp_path):
    pytest.importorskip("prometheus_client")
    log, port = write_log(tmp_path / "audit.jsonl"), free_port()
    serve_site_metrics(log, "127.0.0.1", port)

    def read() -> dict[tuple, float]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/metrics")
        return samples(connection.getresponse().read().decode())

    first = read()
    assert first["condi_site_messages_total", ("kind", "train"), ("outcome", "answered")] == 1
    assert first["condi_site_messages_total", ("kind", "train"), ("outcome", "failed")] == 1
    assert first["condi_site_messages_total", ("kind", "other"), ("outcome", "refused")] == 1
    assert (first[("condi_site_runs_total",)], first[("condi_site_reply_bytes_total",)]) == (1, 750)
    append_entry(log, "reply", run=1, message="train.task", bytes=50)
    with log.open("ab") as file:
        file.write(b'{"kind": "reply", "mess')
    assert read()["condi_site_messages_total", ("kind", "train"), ("outcome", "answered")] == 2


def test_two_requests_at_the_same_time_count_an_entry_once(tmp_path, monkeypatch):
    count = SiteMetrics._count

    def count_slowly(site, entry):
        time.sleep(0.01)
        count(site, entry)

    monkeypatch.setattr(SiteMetrics, "_count", count_slowly)
    site = SiteMetrics(write_log(tmp_path / "audit.jsonl"))
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(lambda: list(site.collect())) for _ in range(2)]
    for answer in answers:
        assert {f.name: f.samples[0].value for f in answer.result()}["condi_site_runs"] == 1


def test_the_dashboard_asks_only_for_metrics_that_there_are(of_run, tmp_path):
    site = SiteMetrics(write_log(tmp_path / "audit.jsonl"))
    exported = {name for name, *_ in of_run}
    for family in site.collect():
        exported |= {sample.name for sample in family.samples}
    expressions = [
        t["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for t in panel["targets"]
    ]
    asked = {name for text in expressions for name in re.findall(r"condi_\w+", text)}
    assert asked <= exported | {"condi_run_seconds_left"}  # which is not known in this run
    assert len(asked) > 10

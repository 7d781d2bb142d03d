"""What a site has answered and refused, as metrics for Prometheus, from its audit log.

Needs the package prometheus_client ('condi[metrics]').
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

KINDS = ("train", "evaluate", "query")  # of messages; a coordinator could invent others without end


class SiteMetrics:
    """Counts the entries of an audit log that were added since the last call.

    No value tells of patients: only kinds and sizes of replies are counted.

    Parameters
    ----------
    log : Path
        The audit log, to which lines are only ever appended.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._lock = Lock()  # each request is answered in a thread of its own
        self._position = 0
        self._messages: Counter[tuple[str, str]] = Counter()
        self._runs, self._bytes = 0, 0

    def update(self) -> None:
        """Count new entries; a line that is not complete yet is counted the next time."""
        with self._log.open("rb") as file:
            file.seek(self._position)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._position += len(line)
                try:
                    self._count(json.loads(line))
                except (ValueError, KeyError, TypeError):  # a line that a crash left incomplete
                    continue

    def _count(self, entry: dict[str, Any]) -> None:
        self._runs += entry["kind"] == "run"
        if entry["kind"] in ("reply", "refusal"):
            kind = entry["message"].partition(".")[0]
            outcome = (
                "refused" if entry["kind"] == "refusal" else "failed" if "error" in entry else "answered"
            )
            self._messages[kind if kind in KINDS else "other", outcome] += 1
            self._bytes += entry.get("bytes", 0)

    def collect(self) -> Iterator[Any]:
        """Yield the metrics, as prometheus_client asks for them."""
        from prometheus_client.core import CounterMetricFamily

        with self._lock:
            self.update()
            numbers = sorted(self._messages.items())
        messages = CounterMetricFamily(
            "condi_site_messages", "Messages of coordinators, by outcome.", labels=["kind", "outcome"]
        )
        for labels, number in numbers:
            messages.add_metric(list(labels), number)
        yield messages
        yield CounterMetricFamily("condi_site_runs", "Runs that asked this site.", value=self._runs)
        yield CounterMetricFamily("condi_site_reply_bytes", "Bytes of replies.", value=self._bytes)


def serve_site_metrics(log: Path, host: str, port: int) -> None:
    """Serve the metrics of a site at a port, in a thread.

    Raises
    ------
    ImportError
        The package prometheus_client is not installed.
    OSError
        The port is in use.
    """
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry(auto_describe=False)
    registry.register(SiteMetrics(log))  # any object with `collect`
    start_http_server(port, host, registry)

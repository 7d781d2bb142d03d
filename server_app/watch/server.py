"""A read-only web page of a run: one file of HTML, and the snapshot of the run as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path

from condi_core.run_files import RunFileError
from server_app.watch.metrics import CONTENT_TYPE, run_metrics
from server_app.watch.snapshot import take_snapshot

PAGE_FILE = "page.html"
LOOPBACK_NAMES = ("localhost", "127.0.0.1")
HEADERS = {
    # The page loads nothing but the snapshot, and no other page can show it in a frame.
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
NO_METRICS = "metrics need prometheus_client: pip install 'condi[metrics]'"
Answer = tuple[str, bytes]  # content type and content


def make_server(run: Path, host: str, port: int) -> ThreadingHTTPServer:
    """Make a server of the page of a run, which answers once `serve_forever` is called.

    Parameters
    ----------
    run : Path
        The run directory.
    host : str
        Address to listen at. At loopback, requests under another name are refused: a web site could have
        pointed its own name here, to read the page with a visitor's browser.
    port : int
        Port to listen at; 0 for a free one.
    """
    page = files("server_app.watch").joinpath(PAGE_FILE).read_bytes()
    answers: dict[str, Callable[[], Answer]] = {
        "/": lambda: ("text/html; charset=utf-8", page),
        "/metrics": lambda: (CONTENT_TYPE, run_metrics(run)),
        "/snapshot.json": lambda: ("application/json", json.dumps(take_snapshot(run)).encode()),
    }

    class Handler(BaseHTTPRequestHandler):
        server_version = sys_version = ""

        def do_GET(self) -> None:
            name = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
            if host in LOOPBACK_NAMES and name not in LOOPBACK_NAMES:
                self._reply(HTTPStatus.MISDIRECTED_REQUEST, "text/plain", b"unknown host")
            elif answer := answers.get(self.path.partition("?")[0]):
                try:
                    self._reply(HTTPStatus.OK, *answer())
                except RunFileError as error:
                    self._reply(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", str(error).encode())
                except ImportError:
                    self._reply(HTTPStatus.NOT_IMPLEMENTED, "text/plain", NO_METRICS.encode())
            else:
                self._reply(HTTPStatus.NOT_FOUND, "text/plain", b"not found")

        def _reply(self, status: HTTPStatus, kind: str, content: bytes) -> None:
            self.send_response(status)
            for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            """Print nothing for each request."""

    return ThreadingHTTPServer((host, port), Handler)

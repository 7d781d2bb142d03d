"""A site that trusts a reviewer runs what the reviewer has signed, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
import tomllib
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.cli.build import build_fab_from_disk
from flwr.supercore.primitives.asymmetric_ed25519 import create_message_to_sign, sign_message

from tests.helpers.hospitals import PROJECT, coordinator, wait_for

pytestmark = pytest.mark.deployment


class Hub(BaseHTTPRequestHandler):
    """The part of Flower's hub that a SuperLink asks for an app and its signatures."""

    app, signatures, address = b"", [], ""

    def do_POST(self) -> None:
        assert self.path == "/hub/fetch-fab"
        self._answer(
            json.dumps({"fab_url": f"{self.address}/app", "verifications": self.signatures}).encode()
        )

    def do_GET(self) -> None:
        self._answer(self.app)

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_) -> None:
        pass


@contextmanager
def hub():
    with HTTPServer(("127.0.0.1", 0), Hub) as server:
        Hub.address = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Hub
        server.shutdown()


def sign_app(key: Ed25519PrivateKey, app: bytes) -> dict:
    """Return a signature of an app, as `flwr app review` makes one."""
    now = int(time.time())
    signature = sign_message(key, create_message_to_sign(hashlib.sha256(app).digest(), now))
    text = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
    return {"public_key_id": "fpk_reviewer", "signature": text, "signed_at": now}


def test_a_site_runs_only_apps_that_a_trusted_reviewer_signed(federation, tmp_path):
    reviewer, app = Ed25519PrivateKey.generate(), build_fab_from_disk(PROJECT)
    public = reviewer.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    condi_version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    (tmp_path / "trusted.yaml").write_text(f"fpk_reviewer: {public}\n")

    with hub() as hub_, coordinator(tmp_path / "keys", FLWR_SUPERGRID_API_URL=Hub.address) as started:
        started.register("site-0")
        trusted = ("--trusted-entities", str(tmp_path / "trusted.yaml"))
        log = started.start("site-0", federation / "site-0", *trusted).log_path
        wait_for(lambda: "SuperNode ID" in log.read_text(), log)

        def run(app_source: str) -> str:
            """Return why the run, for which a second site is missing, has ended."""
            settings = "min-sites=2 sites-timeout=1.0"
            run_id = started.flower.flwr("run", app_source, "condi", "--run-config", settings)["run-id"]
            wait_for(lambda: started.flower.status(run_id)[0].startswith("finished"), log)
            return started.flower.status(run_id)[1]

        refused = "The FAB could not be verified."
        assert refused in run(str(PROJECT)) and "not supported by the connected SuperLink" in log.read_text()
        hub_.app, hub_.signatures = app + b"\n", [sign_app(reviewer, app)]
        assert (
            refused in run(f"@condi/condi=={condi_version}") and "FAB verification failed" in log.read_text()
        )
        hub_.app = app
        accepted = run(f"@condi/condi=={condi_version}")
        assert "expected at least 2 sites within 1 s, but 1 connected" in accepted

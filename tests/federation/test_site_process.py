"""`condi site` against a real SuperLink with TLS and registered sites."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from server_app.credentials import Credentials
from server_app.superlink import Sandbox, free_port

pytestmark = pytest.mark.deployment
SECONDS = 60


@dataclass
class Coordinator:
    """A SuperLink with the credentials of a site "alpha", which is not registered yet."""

    sandbox: Sandbox
    credentials: Path
    fleet: str

    def register(self, site: str) -> None:
        self.sandbox.flwr(
            "supernode", "register", f"{self.credentials}/sites/{site}/site.pub", "--name", site
        )

    def start(self, site: str, data: Path, *options: str) -> tuple[subprocess.Popen, Path]:
        """`condi site` as that site, and its log."""
        given, log = (
            self.credentials / "sites" / site,
            self.sandbox.folder / f"{site}-{time.monotonic_ns()}.log",
        )
        files = ("--root-certificates", given / "ca.crt", "--key", given / "site.key", "--data", data)
        with log.open("wb") as sink:
            process = self.sandbox.start(
                "condi", "site", "--superlink", self.fleet, *map(str, files),
                "--device", "cpu", "--cache", str(self.sandbox.folder / "cache"), "--port", str(free_port()),
                *options,
                stdout=sink, stderr=subprocess.STDOUT,
            )  # fmt: skip
        return process, log


@pytest.fixture
def coordinator(tmp_path) -> Iterator[Coordinator]:
    folder, api, fleet = tmp_path / "credentials", free_port(), f"localhost:{free_port()}"
    Credentials(folder).issue(["localhost"], ["alpha"], days=90)
    with Sandbox() as sandbox:
        Path(sandbox.env["FLWR_HOME"], "config.toml").write_text(
            f'[superlink]\ndefault = "condi"\n[superlink.condi]\naddress = "localhost:{api}"\n'
            f'root-certificates = "{folder}/ca.crt"\n'
        )
        log = sandbox.folder / "superlink.log"
        with log.open("wb") as sink:
            sandbox.start(
                "flower-superlink", "--host", "127.0.0.1", "--port", str(api), "--fleet-api-address", fleet,
                "--enable-supernode-auth", "--ssl-ca-certfile", f"{folder}/ca.crt",
                "--ssl-certfile", f"{folder}/superlink.crt", "--ssl-keyfile", f"{folder}/superlink.key",
                stdout=sink, stderr=subprocess.STDOUT,
            )  # fmt: skip
        trust = ssl.create_default_context(cafile=f"{folder}/ca.crt")
        wait_for(lambda: answers(f"https://localhost:{api}/health", trust), log)
        yield Coordinator(sandbox, folder, fleet)


def answers(url: str, trust: ssl.SSLContext) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=2, context=trust).status == 200
    except OSError:
        return False


def wait_for(condition, log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def test_a_site_is_refused_until_it_is_registered_and_then_is_the_node(coordinator, federation):
    data = federation / "site-0"
    process, log = coordinator.start("alpha", data)
    assert process.wait(SECONDS) == 1
    *_, last = [line for line in log.read_text().splitlines() if "ERROR" in line]
    assert "The SuperLink does not accept this site's key. Either it is not registered there" in last
    assert "Exit Code" not in log.read_text() and "Traceback" not in log.read_text()

    coordinator.register("alpha")
    process, log = coordinator.start("alpha", data)
    wait_for(lambda: "SuperNode ID" in log.read_text(), log)
    command = Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")
    assert command[2:4] == ["-m", "client_app.supernode"]  # of the process that was started as `condi site`
    (node,) = coordinator.sandbox.flwr("supernode", "list")["nodes"]
    assert node["status"] == "online"

    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 0
    assert "SuperNode terminated gracefully." in log.read_text()
    (node,) = coordinator.sandbox.flwr("supernode", "list")["nodes"]
    assert node["status"] == "offline", json.dumps(node)


def test_a_clock_that_the_superlink_does_not_accept(coordinator, federation):
    coordinator.register("alpha")
    late = coordinator.sandbox.folder / "late"
    late.mkdir()
    (late / "sitecustomize.py").write_text(
        "import datetime, sys\n"
        "if 'client_app.supernode' in sys.orig_argv:\n"
        "    import flwr.client.grpc_rere_client.node_auth_client_interceptor as signing\n"
        "    real = signing.now\n"
        "    signing.now = lambda: real() + datetime.timedelta(seconds=7)\n"
    )
    coordinator.sandbox.env["PYTHONPATH"] = str(late)
    process, log = coordinator.start("alpha", federation / "site-0")
    assert process.wait(SECONDS) == 1, log.read_text()
    assert (
        "The SuperLink has turned this node away. At the start this is because of the clock"
        in log.read_text()
    )

"""A SuperLink with TLS that knows registered sites only, and `condi site` beside it, on this machine."""

from __future__ import annotations

import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from server_app.credentials import Credentials
from server_app.superlink import Sandbox, free_port

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


@contextmanager
def coordinator(folder: Path, **environment: str) -> Iterator[Coordinator]:
    """Start it with new credentials in `folder`, and end it and its sites with the `with` block."""
    api, fleet = free_port(), f"localhost:{free_port()}"
    Credentials(folder).issue(["localhost"], ["alpha"], days=90)
    with Sandbox() as sandbox:
        sandbox.env |= environment
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


def wait_for(condition: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)

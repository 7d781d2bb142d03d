"""A federation of processes: a SuperLink with TLS, registered sites, and `condi site` for each."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from server_app.operations.credentials import Credentials
from server_app.operations.flower_processes import ENVIRONMENT_MARK, FlowerProcesses, free_port

PROJECT = Path(__file__).parent.parent.parent
TIMEOUT_SECONDS = 150  # generous, for a busy machine


@dataclass
class Site:
    """A process of `condi site`, with the log of it and its ClientApps."""

    process: subprocess.Popen
    log_path: Path

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def kill(self) -> None:
        """End the node without notice, like a power failure."""
        self.process.kill()
        self.process.wait()


@dataclass
class Coordinator:
    """A SuperLink, and the credentials of sites that are not registered yet."""

    flower: FlowerProcesses
    credentials: Path
    api: int
    fleet: str
    superlink: subprocess.Popen | None = None
    superexec: subprocess.Popen | None = None
    started: list[Site] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)  # of registered sites, by node id
    policy: str = "smallest-count = 0\n"  # of all sites, which have few patients

    def start_superlink(self) -> None:
        """Start the SuperLink, or restart it with its database; start its SuperExec once."""
        folder, log = self.credentials, self.flower.folder / "superlink.log"
        secret = ("--superexec-auth-secret-file", f"{folder}/superexec.secret")
        with log.open("ab") as sink:
            self.superlink = self.flower.start(
                "condi", "superlink", "--host", "127.0.0.1", "--port", str(self.api),
                "--fleet-api-address", self.fleet, "--enable-supernode-auth",
                "--database", str(self.flower.folder / "state.db"),
                "--ssl-ca-certfile", f"{folder}/ca.crt",
                "--ssl-certfile", f"{folder}/superlink.crt", "--ssl-keyfile", f"{folder}/superlink.key",
                "--isolation", "process", *secret, stdout=sink, stderr=subprocess.STDOUT,
            )  # fmt: skip
        trust = ssl.create_default_context(cafile=f"{folder}/ca.crt")
        wait_for(lambda: answers(f"https://localhost:{self.api}/health", trust), log)
        if self.superexec is None:
            with log.open("ab") as sink:
                self.superexec = self.flower.start(
                    "condi", "superexec", "--runtime-api-address", f"localhost:{self.api}",
                    "--root-certificates", f"{folder}/ca.crt", *secret, stdout=sink, stderr=subprocess.STDOUT,
                )  # fmt: skip

    def register(self, site: str) -> None:
        key = f"{self.credentials}/sites/{site}/site.pub"
        answer = self.flower.flwr("supernode", "register", key, "--name", site)
        self.names[str(answer["node-id"])] = site

    def start(self, site: str, data: Path, *options: str, **environment: str) -> Site:
        """Start `condi site` with the credentials and the policy of a site."""
        folder = self.credentials / "sites" / site
        policy = self.flower.folder / "policy.toml"
        policy.write_text(self.policy)
        log = self.flower.folder / f"{site}-{time.monotonic_ns()}.log"
        files = ("--root-certificates", folder / "ca.crt", "--key", folder / "site.key", "--data", data)
        with log.open("wb") as sink:
            process = self.flower.start(
                "condi", "site", "--superlink", self.fleet, *map(str, files), "--device", "cpu",
                "--cache", str(self.flower.folder / "cache" / site), "--port", str(free_port()),
                "--audit", str(self.audit_log(site)), "--policy", str(policy), *options,
                stdout=sink, stderr=subprocess.STDOUT,
                env=self.flower.env | {"FLWR_HOME": str(self.flower.folder / f"home-{site}")} | environment,
            )  # fmt: skip
        self.started.append(Site(process, log))
        return self.started[-1]

    def audit_log(self, site: str) -> Path:
        """Return the path of the audit log of a site."""
        return self.flower.folder / "audit" / f"{site}.jsonl"

    def online(self) -> set[str]:
        """Return the names of the sites that the SuperLink reports as online."""
        return {
            self.names[n["node-id"]]
            for n in self.flower.flwr("supernode", "list")["nodes"]
            if n["status"] == "online"
        }

    def run(self, run_config: str) -> str:
        """Start a run and return its id."""
        return self.flower.submit(PROJECT, run_config)

    def wait(self, run_id: str, seconds: float) -> str:
        """Wait for the end of a run and return its status, such as `finished:completed`."""
        deadline = time.monotonic() + seconds
        while not (status := self.flower.status(run_id)[0]).startswith("finished"):
            assert time.monotonic() < deadline, f"{status} after {seconds} s:\n{self.log(run_id)}"
            time.sleep(1)
        return status

    def log(self, run_id: str) -> str:
        """Return the log of a run so far."""
        command = ["flwr", "log", run_id, "condi", "--show"]
        where = {"cwd": self.flower.empty, "env": self.flower.env}
        return subprocess.run(command, **where, capture_output=True, text=True, check=True).stdout

    def kill_server_app(self) -> None:
        """Kill the process of the ServerApp."""
        mark = f"{ENVIRONMENT_MARK}={self.flower.folder}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command, environment = ((process / n).read_bytes() for n in ("cmdline", "environ"))
            except OSError:
                continue
            if b"flwr-serverapp" in command and mark in environment:
                os.kill(int(process.name), signal.SIGKILL)


@contextmanager
def coordinator(
    folder: Path,
    sites: Sequence[str] = ("site-0",),
    hosts: Sequence[str] = ("localhost",),
    **environment: str,
) -> Iterator[Coordinator]:
    """Start a coordinator with new credentials in `folder`; it and its sites end with the `with` block."""
    Credentials(folder).issue(list(hosts), list(sites), days=90)
    with FlowerProcesses() as flower:
        flower.env |= environment
        made = Coordinator(flower, folder, free_port(), f"localhost:{free_port()}")
        flower.connect(f"localhost:{made.api}", folder / "ca.crt")
        made.start_superlink()
        yield made


@contextmanager
def hospitals(
    folder: Path, federation: Path, sites: Sequence[str], policy: str = ""
) -> Iterator[Coordinator]:
    """Start a coordinator and these sites of a federation, and wait until they are online."""
    with coordinator(folder, sites) as made:
        made.policy += policy
        for site in sites:
            made.register(site)
            made.start(site, federation / site)
        wait_for(lambda: made.online() == set(sites), *(site.log_path for site in made.started))
        yield made


def answers(url: str, trust: ssl.SSLContext) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=2, context=trust).status == 200
    except OSError:
        return False


def wait_for(condition: Callable[[], bool], *logs: Path, seconds: float = TIMEOUT_SECONDS) -> None:
    """Wait until a condition is true; AssertionError with the logs after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "\n".join(log.read_text(errors="replace") for log in logs)
        time.sleep(0.2)


def history(run: Path) -> list[dict]:
    """Return the rounds of a run so far."""
    file = run / "history.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

"""A federation over gRPC on this machine: one SuperLink and one SuperNode per site, each a process."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from server_app.superlink import Sandbox, free_port

ONLINE_SECONDS = 60


@dataclass
class Node:
    """The SuperNode of one site."""

    process: subprocess.Popen
    log_path: Path

    @property
    def log(self) -> str:
        """What the node and its ClientApps have printed so far."""
        return self.log_path.read_text(errors="replace")

    def kill(self) -> None:
        """End the node without notice, as a power cut would; its ClientApp follows by itself."""
        self.process.kill()
        self.process.wait()


@dataclass
class Deployment:
    """A running federation."""

    project_dir: Path
    sandbox: Sandbox
    nodes: list[Node]

    def run(self, run_config: str, timeout: float) -> tuple[str, str]:
        """Run the app to its end; gives the status, such as `finished:completed`, and the ServerApp's log."""
        run_id = self.start(run_config)
        return self.wait(run_id, timeout), self.log(run_id)

    def start(self, run_config: str) -> str:
        """Start the app and return; gives the run's id, for `wait` and `log`."""
        return self.sandbox.submit(self.project_dir, run_config)

    def wait(self, run_id: str, timeout: float) -> str:
        """Wait for the end of a run; gives its status."""
        deadline = time.monotonic() + timeout
        while not (status := self.sandbox.status(run_id)[0]).startswith("finished"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the run is {status} after {timeout} s; its log:\n{self.log(run_id)}")
            time.sleep(1)
        return status

    def log(self, run_id: str) -> str:
        """The log of a run so far."""
        command = ["flwr", "log", run_id, "condi", "--show"]
        where = {"cwd": self.sandbox.empty, "env": self.sandbox.env}
        return subprocess.run(command, **where, capture_output=True, text=True, check=True).stdout


@contextmanager
def deployment(project_dir: Path, sites: list[dict]) -> Iterator[Deployment]:
    """Start a federation with one node per dict of node-config, and end it with the `with` block."""
    with Sandbox() as sandbox:
        fleet = f"127.0.0.1:{free_port()}"
        sandbox.start_superlink("--fleet-api-address", fleet)
        nodes = [_start_node(sandbox, fleet, number, config) for number, config in enumerate(sites)]
        federation = Deployment(Path(project_dir), sandbox, nodes)
        _wait_until_online(federation)
        yield federation


def _start_node(sandbox: Sandbox, fleet: str, number: int, config: dict) -> Node:
    log = sandbox.folder / f"site-{number}.log"
    with log.open("wb") as sink:
        process = sandbox.start(
            "flower-supernode", "--insecure", "--grpc-rere", "--superlink", fleet,
            "--host", "127.0.0.1", "--port", str(free_port()),
            "--node-config", " ".join(f"{key}={json.dumps(value)}" for key, value in config.items()),
            env=sandbox.env | {"FLWR_HOME": str(sandbox.home(f"site-{number}"))},
            stdout=sink,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    return Node(process, log)


def _wait_until_online(federation: Deployment) -> None:
    deadline = time.monotonic() + ONLINE_SECONDS
    while True:
        known = federation.sandbox.flwr("supernode", "list", "condi")["nodes"]
        if sum(node["status"] == "online" for node in known) == len(federation.nodes):
            return
        for node in federation.nodes:
            if node.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"a SuperNode did not come online; its log:\n{node.log}")
        time.sleep(0.5)

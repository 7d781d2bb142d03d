"""Run the federation of docker-compose.yml in a folder for the length of a `with` block."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).parent.parent.parent


def engine() -> str:
    """Return why there is no Docker Engine with Compose; empty when there is one."""
    if not shutil.which("docker"):
        return "there is no `docker` here"
    if not compose_command():
        return "there is neither `docker-compose` nor `docker compose` here"
    info = subprocess.run(["docker", "info"], capture_output=True, text=True)
    return "" if info.returncode == 0 else "no Docker Engine answers here: start dockerd"


def compose_command() -> list[str]:
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    plugin = ["docker", "compose"]
    version = shutil.which("docker") and subprocess.run([*plugin, "version"], capture_output=True)
    return plugin if version and version.returncode == 0 else []


def output(*command: str, **options) -> str:
    """Return what a command prints; AssertionError with it when the command fails."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    assert result.returncode == 0, f"{' '.join(command)} exited with {result.returncode}:\n{result.stdout}"
    return result.stdout


def wait_for(condition: Callable[[], bool], seconds: float, description: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {description}"
        time.sleep(2)


class Composed:
    """A running federation; its folder on the host is `home`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.name = f"condi-test-{os.getpid()}"
        self.env = os.environ | {
            "COMPOSE_PROJECT_NAME": self.name,
            "COMPOSE_FILE": str(PROJECT / "docker-compose.yml"),
            "COMPOSE_PROFILES": "cpu",
            "CONDI_HOME": str(home),
            "CONDI_USER": f"{os.getuid() or 1000}:{os.getgid() or 1000}",
        }

    def compose(self, *arguments: str, **options) -> str:
        return output(*compose_command(), *arguments, cwd=PROJECT, env=self.env, **options)

    def operator(self, *command: str) -> str:
        """Return what a command on the coordinator's network prints."""
        return self.compose("run", "--rm", "-T", "operator", *command)

    def submit(self, settings: str) -> subprocess.Popen:
        """Start a run; the process follows it, and exits with 0 when it has completed."""
        command = [*compose_command(), "run", "--rm", "-T", "submit", "-c", settings]
        sinks = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, **sinks, cwd=PROJECT, env=self.env, text=True)

    def containers(self) -> dict[str, dict]:
        """Return what the engine reports about each container, by service."""
        label = "label=com.docker.compose.project=" + self.name
        ids = output("docker", "ps", "--all", "--quiet", "--filter", label).split()
        containers = json.loads(output("docker", "inspect", *ids))
        return {c["Config"]["Labels"]["com.docker.compose.service"]: c for c in containers}

    def execute(self, service: str, *command: str, stdin: str = "") -> subprocess.CompletedProcess:
        """Run a command in a running container."""
        container = self.containers()[service]["Id"]
        command = ("docker", "exec", "--interactive", container, *command)
        return subprocess.run(command, input=stdin, capture_output=True, text=True)

    def stranger(self, network: str, *command: str, ca: str = "credentials/ca.crt") -> tuple[int, str]:
        """Run a command in a container on a network, with a public certificate and nothing else."""
        done = subprocess.run(
            [
                *("docker", "run", "--rm", "--network", f"{self.name}_{network}", "--volume"),
                *(f"{self.home / ca}:/ca.crt:ro", "condi", *command),
            ],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        return done.returncode, done.stdout

    def nodes(self) -> list[str]:
        """Return the status of each site's node at the SuperLink."""
        text = self.operator("flwr", "supernode", "list", "--format", "json")
        return [node["status"] for node in json.loads(text[text.index("{") : text.rindex("}") + 1])["nodes"]]


@contextmanager
def composed(home: Path) -> Iterator[Composed]:
    """Build, start and wait for the sites; remove everything but the image at the end."""
    federation = Composed(home)
    try:
        federation.compose("up", "--build", "--detach")
        wait_for(lambda: federation.nodes() == ["online"] * 3, 300, "three sites online")
        yield federation
    finally:
        federation.compose("down", "--volumes", "--timeout", "5")

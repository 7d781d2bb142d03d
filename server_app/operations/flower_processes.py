"""Flower processes of one's own: started in a temporary folder, ended and removed with the `with` block."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 60
GRACE_SECONDS = 3


class FlowerError(Exception):
    """Flower refused a request or a process of it did not start, in one sentence for the user."""


class FlowerProcesses:
    """A temporary folder with a Flower home in it, and every process started from here.

    Leaving the `with` block ends them all, also those that left their parent, and removes the folder.
    """

    def __init__(self) -> None:
        # Ray puts Unix sockets in here, and the path of a socket is limited to about 100 characters.
        root = tempfile.gettempdir()
        self.folder = Path(tempfile.mkdtemp(prefix="condi-", dir=root if len(root) < 30 else "/tmp"))
        # Ray imports from the working directory before anything else, so there must be nothing in it.
        self.empty = self.folder / "empty"
        self.empty.mkdir()
        # Flower's HTTP clients would ask a configured proxy for the way to this very machine.
        direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
        direct = f"{direct},127.0.0.1" if direct else "127.0.0.1"
        self.env = os.environ | {
            "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)]),
            "PYTHONPATH": os.pathsep.join(_without_checkouts(os.environ.get("PYTHONPATH", ""))),
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": direct,
            "no_proxy": direct,
            "FLWR_HOME": str(self.home("flwr")),
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_TELEMETRY_ENABLED": "0",
            "RAY_TMPDIR": str(self.folder),
            "RAY_DEDUP_LOGS": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            # Ray's "Tip: In future versions of Ray ...", in every run.
            "PYTHONWARNINGS": f"{os.environ.get('PYTHONWARNINGS', '')},ignore:Tip:FutureWarning".lstrip(","),
            # Every descendant inherits this and is found again by it.
            "CONDI_SANDBOX": str(self.folder),
        }
        self.env.pop("RAY_ADDRESS", None)
        self._children: list[subprocess.Popen] = []

    def __enter__(self) -> "FlowerProcesses":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def home(self, name: str) -> Path:
        """A Flower home of its own for one process."""
        home = self.folder / name
        home.mkdir()
        return home

    def start(self, *command: str, **options) -> subprocess.Popen:
        """Start a command in its own session, with the sandbox's environment and an empty directory."""
        options = {"cwd": self.empty, "env": self.env, "stdin": subprocess.DEVNULL} | options
        child = subprocess.Popen(command, start_new_session=True, **options)
        self._children.append(child)
        return child

    def connect(self, address: str, root_certificates: Path | None = None) -> None:
        """Call a SuperLink `condi` in the `flwr` commands; without certificates it is an insecure one."""
        security = "insecure = true"
        if root_certificates is not None:
            security = f"root-certificates = {json.dumps(str(root_certificates.absolute()))}"
        Path(self.env["FLWR_HOME"], "config.toml").write_text(
            f'[superlink]\ndefault = "condi"\n\n[superlink.condi]\naddress = "{address}"\n{security}\n'
        )

    def start_superlink(self, *arguments: str) -> subprocess.Popen:
        """Start an insecure SuperLink on a free loopback port; `flwr` knows it as the connection `condi`."""
        port = free_port()
        self.connect(f"127.0.0.1:{port}")
        log = self.folder / "superlink.log"
        with log.open("wb") as sink:
            superlink = self.start(
                "flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(port), *arguments,
                stdout=sink, stderr=subprocess.STDOUT,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not _answers(port):
            if superlink.poll() is not None or time.monotonic() > deadline:
                last = (log.read_text(errors="replace").strip() or "it printed nothing").splitlines()[-1]
                raise FlowerError(f"Flower's SuperLink did not start: {last}")
            time.sleep(0.1)
        return superlink

    def flwr(self, *arguments: str) -> dict:
        """Run a `flwr` command that answers in JSON; what it complains about becomes a FlowerError."""
        command = ["flwr", *arguments, "--format", "json"]
        done = subprocess.run(command, cwd=self.empty, env=self.env, capture_output=True, text=True)
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            raise FlowerError(_one_line(done.stderr or done.stdout)) from None
        if not answer.get("success"):
            # Before the reason stand remarks, the last of them which connection is used.
            reason = re.sub(r"(?s).*Using SuperLink: [^\n]*\n", "", answer.get("error-message", ""))
            raise FlowerError(_one_line(reason))
        return answer

    def submit(self, project: Path, run_config: str, federation: Mapping[str, object] | None = None) -> str:
        """Start a run of the app in a project folder, with Flower's settings; gives the run's id."""
        options = ["--run-config", run_config]
        if federation:
            pairs = " ".join(f"{key}={value}" for key, value in federation.items())
            options += ["--federation-config", pairs]
        return self.flwr("run", str(project), "condi", *options)["run-id"]

    def status(self, run_id: str) -> tuple[str, str]:
        """Status of a run, such as `finished:failed`, and its details."""
        run = self.flwr("ls", "condi", "--run-id", run_id)["runs"][0]
        return run["status"], run["status-details"]

    def close(self) -> None:
        """End all processes of the sandbox and remove its folder."""
        with _signals_ignored():
            for number in (signal.SIGTERM, signal.SIGKILL):
                told: set[int] = set()
                deadline = time.monotonic() + GRACE_SECONDS
                while (alive := self._alive()) and time.monotonic() < deadline:
                    # Once each: on a second SIGTERM Flower's processes die without tidying up.
                    for pid in alive - told:
                        _signal(pid, number)
                    told |= alive
                    time.sleep(0.05)
            shutil.rmtree(self.folder, ignore_errors=True)

    def _alive(self) -> set[int]:
        children = {child.pid for child in self._children if child.poll() is None}
        return children | _pids_with(f"CONDI_SANDBOX={self.folder}")


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _without_checkouts(search_path: str) -> list[str]:
    """Entries of a search path, less those that have an app to import instead of the one in the bundle."""
    entries = filter(None, search_path.split(os.pathsep))
    return [entry for entry in entries if not Path(entry, "server_app").exists()]


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _pids_with(variable: str) -> set[int]:
    """Processes that were started with this environment variable (Linux; elsewhere none are found)."""
    found = set()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if variable.encode() in environment.read_bytes().split(b"\0"):
                found.add(int(environment.parent.name))
        except OSError:
            continue  # ended meanwhile, or of another user
    return found


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """Hold off signals that would interrupt; only the main thread gets any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = [(number, signal.signal(number, signal.SIG_IGN)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _one_line(text: str) -> str:
    return " ".join(text.split())

"""Start Flower processes in a temporary folder, and end them and remove it with the `with` block."""

import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condi_core.flower_environment import make_flower_environment
from server_app.errors import line_with_error
from server_app.operations import guarded_flower
from server_app.operations.guarded_flower import write_operator_token
from server_app.operations.processes import (
    end_processes,
    pids_with_environment,
    pids_with_working_directory,
    signals_ignored,
)

CERTIFICATE_DAYS = 365  # longer than any run
SUPERLINK_START_SECONDS = 60
ENVIRONMENT_MARK = "CONDI_PROCESSES"  # an environment variable that all descendants inherit
EMPTY_FOLDER = "empty"  # in the folder, the working directory of all processes
OWNER_FILE = "owner.pid"  # in the folder, with the id of the process that made it


class FlowerError(Exception):
    """Flower refused a request, or one of its processes did not start; the message is one sentence."""


class FlowerProcesses:
    """A temporary folder with a Flower home, and every process that is started with it.

    Leaving the `with` block ends all of these processes, including those that have left their parent, and
    removes the folder.

    Attributes
    ----------
    folder : the temporary folder
    empty : an empty folder, the working directory of all processes
    env : the environment of all processes; callers may change it before they start one
    address : HOST:PORT of the SuperLink that was started; empty before
    """

    def __init__(self) -> None:
        # Ray creates Unix sockets in this folder, whose paths may have about 100 characters, and has the
        # folder in its own command lines.
        root = tempfile.gettempdir()
        usable = len(root) < 30 and root.isascii() and " " not in root
        self.folder = Path(tempfile.mkdtemp(prefix="condi-", dir=root if usable else "/tmp"))
        # Ray imports from the working directory before anything else, so the directory must be empty.
        self.empty = self.folder / EMPTY_FOLDER
        self.empty.mkdir()
        (self.folder / OWNER_FILE).write_text(str(os.getpid()))
        self.env = make_flower_environment() | {
            "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)]),
            "PYTHONPATH": os.pathsep.join(_without_checkouts(os.environ.get("PYTHONPATH", ""))),
            "PYTHONUNBUFFERED": "1",
            "FLWR_HOME": str(self.home("flwr")),
            "RAY_TMPDIR": str(self.folder),
            "RAY_DEDUP_LOGS": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            # Hides Ray's "Tip: In future versions of Ray ...", which every run would print.
            "PYTHONWARNINGS": f"{os.environ.get('PYTHONWARNINGS', '')},ignore:Tip:FutureWarning".lstrip(","),
            # Every descendant inherits this variable, by which `close` finds it.
            ENVIRONMENT_MARK: str(self.folder),
        }
        self.env.pop("RAY_ADDRESS", None)
        self.address = ""
        self._children: list[subprocess.Popen] = []
        self._superexec: subprocess.Popen | None = None
        self.superexec_log = self.folder / "superexec.log"
        self._closing = threading.Event()

    def __enter__(self) -> "FlowerProcesses":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def home(self, name: str) -> Path:
        """Create a folder in which one process keeps its Flower home, and return it."""
        home = self.folder / name
        home.mkdir()
        return home

    def write_token(self, name: str) -> Path:
        """Write a new token into the folder, and return its path."""
        path = self.folder / name
        path.touch(0o600)
        path.write_text(secrets.token_hex(32))
        return path

    def start(self, *command: str, **options: Any) -> subprocess.Popen:
        """Start a command in a session of its own, in the empty folder and with the environment `env`.

        Parameters
        ----------
        *command : the program and its arguments
        **options : options of `subprocess.Popen` that replace these defaults
        """
        defaults: dict[str, Any] = {"cwd": self.empty, "env": self.env, "stdin": subprocess.DEVNULL}
        child = subprocess.Popen(command, start_new_session=True, **(defaults | options))
        self._children.append(child)
        return child

    def connect(self, address: str, root_certificates: Path | None = None) -> None:
        """Configure the connection `condi` of the `flwr` commands.

        Parameters
        ----------
        address : HOST:PORT of the SuperLink's Control API
        root_certificates : certificate file of the CA that signed the SuperLink's; None for a SuperLink
            without TLS
        """
        security = "insecure = true"
        if root_certificates is not None:
            security = f"root-certificates = {json.dumps(str(root_certificates.absolute()))}"
        Path(self.env["FLWR_HOME"], "config.toml").write_text(
            f'[superlink]\ndefault = "condi"\n\n[superlink.condi]\naddress = "{address}"\n{security}\n'
        )

    def start_superlink(self, *arguments: str) -> subprocess.Popen:
        """Start a SuperLink and its SuperExec on a free loopback port, and configure the connection `condi`.

        Other users of the machine reach the port, but have neither the connection's token nor the SuperExec's
        secret. By the certificate, both would notice another user's program at the port.

        Raises
        ------
        FlowerError
            When it does not answer within `SUPERLINK_START_SECONDS`.
        """
        from server_app.operations.credentials import Credentials  # takes half a second

        port = free_port()
        self.address = address = f"127.0.0.1:{port}"
        keys, token = self.folder / "keys", self.write_token("operator.token")
        Credentials(keys).issue(["127.0.0.1"], [], days=CERTIFICATE_DAYS)
        self.connect(address, keys / "ca.crt")
        write_operator_token(token.read_text(), address, Path(self.env["FLWR_HOME"]))
        secret = ("--superexec-auth-secret-file", f"{keys}/superexec.secret")
        log = self.folder / "superlink.log"
        # Two logs, because a SuperExec fails as well when another user's program has the port.
        with log.open("wb") as sink, self.superexec_log.open("wb") as superexec_sink:
            superlink = self.start(
                sys.executable, "-P", guarded_flower.__file__, "superlink", str(token),
                "--host", "127.0.0.1", "--port", str(port), "--isolation", "process", *secret,
                "--ssl-ca-certfile", f"{keys}/ca.crt", "--ssl-certfile", f"{keys}/superlink.crt",
                "--ssl-keyfile", f"{keys}/superlink.key", *arguments,
                stdout=sink, stderr=subprocess.STDOUT,
            )  # fmt: skip
            self._superexec = self.start(
                sys.executable, "-P", guarded_flower.__file__, "superexec", str(self.folder),
                "--runtime-api-address", address, "--root-certificates", f"{keys}/ca.crt", *secret,
                "--parent-pid", str(superlink.pid),
                stdout=superexec_sink, stderr=subprocess.STDOUT,
            )  # fmt: skip
        trust = ssl.create_default_context(cafile=keys / "ca.crt")
        deadline = time.monotonic() + SUPERLINK_START_SECONDS
        while not _is_healthy(port, trust):
            if superlink.poll() is not None or time.monotonic() > deadline:
                reason = line_with_error(log.read_text(errors="replace"))
                raise FlowerError(f"Flower's SuperLink did not start: {reason}")
            time.sleep(0.1)
        threading.Thread(target=self._end_without_superexec, args=[superlink], daemon=True).start()
        return superlink

    def _end_without_superexec(self, superlink: subprocess.Popen) -> None:
        """End the SuperLink once its SuperExec has ended; it would keep runs that nothing carries out."""
        assert self._superexec is not None
        self._superexec.wait()
        if not self._closing.is_set():  # `close` sends a SIGTERM to each, and a second one is abrupt
            superlink.terminate()

    def superexec_failure(self) -> str:
        """Return why the SuperExec has ended; empty while it runs, or where none was started."""
        if self._superexec is None or self._superexec.poll() is None:
            return ""
        if self._superexec.returncode < 0:
            return f"it was ended by {signal.Signals(-self._superexec.returncode).name}"
        return line_with_error(self.superexec_log.read_text(errors="replace"))

    def flwr(self, *arguments: str) -> dict:
        """Run a `flwr` command and return its answer, which is JSON.

        Raises
        ------
        FlowerError
            With Flower's reason, when the command fails.
        """
        command = ["flwr", *arguments, "--format", "json"]
        result = subprocess.run(command, cwd=self.empty, env=self.env, capture_output=True, text=True)
        try:
            answer = json.loads(result.stdout)
        except ValueError:
            raise FlowerError(_one_line(result.stderr or result.stdout)) from None
        if not answer.get("success"):
            # Flower puts remarks before the reason; the last of them names the connection in use.
            reason = re.sub(r"(?s).*Using SuperLink: [^\n]*\n", "", answer.get("error-message", ""))
            raise FlowerError(_one_line(reason))
        return answer

    def submit(self, project: Path, run_config: str, federation: Mapping[str, object] | None = None) -> str:
        """Start a run of the Flower app in a project folder.

        Parameters
        ----------
        project : folder of the app
        run_config : value of Flower's `--run-config`: pairs, or the path of a TOML file
        federation : settings of the simulation, as in Flower's `--federation-config`

        Returns
        -------
        The run's id.
        """
        options = ["--run-config", run_config]
        if federation:
            pairs = " ".join(f"{key}={value}" for key, value in federation.items())
            options += ["--federation-config", pairs]
        return self.flwr("run", str(project), "condi", *options)["run-id"]

    def status(self, run_id: str) -> tuple[str, str]:
        """Return a run's status, such as `finished:failed`, and the details of it."""
        run = self.flwr("ls", "condi", "--run-id", run_id)["runs"][0]
        return run["status"], run["status-details"]

    def close(self) -> None:
        """End all processes and remove the folder."""
        self._closing.set()
        with signals_ignored():
            end_processes(self._alive)
            shutil.rmtree(self.folder, ignore_errors=True)

    def _alive(self) -> set[int]:
        """Return the process ids of all descendants that have not ended."""
        children = {child.pid for child in self._children if child.poll() is None}
        return children | pids_of_folder(self.folder)


def pids_of_folder(folder: Path) -> set[int]:
    """Return the ids of the processes that descend from those started in a temporary folder.

    Ray's processes overwrite the start of their environment with a title, and so some lose the mark.
    """
    marked = pids_with_environment(f"{ENVIRONMENT_MARK}={folder}")
    return marked | pids_with_working_directory(folder / EMPTY_FOLDER)


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _without_checkouts(search_path: str) -> list[str]:
    """Return the entries of a search path, except for checkouts of the app.

    Such a checkout would be imported in place of the code in the bundle.
    """
    entries = filter(None, search_path.split(os.pathsep))
    return [entry for entry in entries if not Path(entry, "server_app").exists()]


def _is_healthy(port: int, trust: ssl.SSLContext) -> bool:
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=2, context=trust)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _one_line(text: str) -> str:
    return " ".join(text.split())

"""`condi run`: a whole federation on this machine, for scripts and CI.

It is `flwr run` with a SuperLink of its own, so that the code that runs is the bundle just built, the exit
status tells how the run ended, and nothing keeps running afterwards.
"""

import difflib
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from server_app.superlink import FlowerError, Sandbox

PROJECT = Path(__file__).resolve().parent.parent

Value = str | int | float | bool


class RunRejected(Exception):
    """What was asked for cannot be run."""


class RunFailed(Exception):
    """The run started and did not complete. `log` has its lines."""

    def __init__(self, reason: str, log: list[str]) -> None:
        super().__init__(reason)
        self.log = log


def simulate(
    project: Path,
    run_config: dict[str, Value],
    *,
    nodes: int = 4,
    cpus_per_node: int = 1,
    gpus_per_node: float = 0.0,
    show: Callable[[str], None] = print,
) -> None:
    """Run the Flower app in a project folder on virtual nodes and wait until it completes.

    `show` is called with each line of the run's log, unfiltered, as it appears.
    """
    _check_keys(project, run_config)
    federation = {
        "num-supernodes": nodes,
        "client-resources-num-cpus": cpus_per_node,
        "client-resources-num-gpus": float(gpus_per_node),
        # Otherwise Ray starts a process for each CPU of the machine, however few nodes there are.
        "init-args-num-cpus": min(nodes * cpus_per_node, os.cpu_count() or 1),
    }
    log: list[str] = []
    with Sandbox() as sandbox:
        settings = sandbox.folder / "run-config.toml"
        settings.write_text("".join(f"{key} = {_toml(value)}\n" for key, value in run_config.items()))
        sandbox.env.setdefault("OMP_NUM_THREADS", str(cpus_per_node))
        sandbox.start_superlink("--simulation")
        try:
            run_id = sandbox.submit(project, str(settings), federation)
        except FlowerError as error:
            raise RunRejected(f"Flower refused the run: {error}") from None
        try:
            for line in _follow(sandbox, run_id):
                log.append(line)
                show(line)
            status, details = sandbox.status(run_id)
        except FlowerError:
            raise RunFailed("Flower's SuperLink ended before the run did.", log) from None
    if status != "finished:completed":
        raise RunFailed(_reason(details), log)


def _check_keys(project: Path, run_config: Iterable[str]) -> None:
    """Refuse settings that the app does not have; Flower would refuse them too, but not say which."""
    try:
        app = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
    except (OSError, KeyError, ValueError):
        raise RunRejected(
            f"Expected the pyproject.toml of a Flower app in {project}: install CondI from its checkout with "
            "`pip install -e .`."
        ) from None
    known = _flat(app.get("config", {}))
    complaints = []
    for key in run_config:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
            complaints.append(f"unknown setting {key!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
    if complaints:
        raise RunRejected("; ".join(complaints) + ".")


def _follow(sandbox: Sandbox, run_id: str) -> Iterator[str]:
    """Lines of the run's log until the run has ended; a stream that breaks off is taken up again."""
    seen = 0
    while True:
        stream = sandbox.start(
            "flwr", "log", run_id, "condi", "--stream",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        with stream.stdout:
            for number, line in enumerate(stream.stdout, start=1):
                if number > seen:
                    seen = number
                    yield line.rstrip("\n")
        if sandbox.status(run_id)[0].startswith("finished"):
            return
        time.sleep(1)


def _reason(details: str) -> str:
    if details.startswith("No heartbeat"):
        return "The run's process was killed, most often because memory ran out."
    return " ".join(details.removeprefix("Simulation failed with exception: ").split())


def _toml(value: Value) -> str:
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def read_run_config(entries: Iterable[str]) -> dict[str, Value]:
    """Settings from Flower's `--run-config`: `key=value key2='some text'` or the path of a TOML file.

    Unlike Flower this refuses what it cannot read instead of passing over it, and takes files and pairs.
    """
    pair = re.compile(r"(\S+?)=('[^']*'|\"[^\"]*\"|\S+)")
    settings: dict[str, Value] = {}
    for entry in entries:
        try:
            if entry.endswith(".toml"):
                table = tomllib.loads(Path(entry).expanduser().read_text())
            elif rest := pair.sub("", entry).strip():
                raise ValueError(f"{rest!r} is not of the form key=value")
            else:
                table = tomllib.loads("\n".join(f"{key} = {value}" for key, value in pair.findall(entry)))
        except OSError as error:
            raise RunRejected(f"Cannot read the run config {entry}: {error.strerror}.") from None
        except ValueError as error:
            raise RunRejected(
                f"Cannot read the run config {entry!r}: {error}; write pairs with text in quotes, such as "
                "\"rounds=3 device='cpu'\", or name a TOML file."
            ) from None
        settings |= _flat(table)
    return settings


def _flat(table: dict, prefix: str = "") -> dict[str, Value]:
    flat = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


class Readable:
    """Prints the app's own lines and the warnings that matter, without Flower's and Ray's routine remarks.

    Tracebacks go as well: the server says in its own words what happened at a site, and the reason why a run
    failed is said at the end.
    """

    COLOUR = re.compile(r"\x1b\[[0-9;]*m")
    PREFIX = re.compile(r"(?P<site>\(\S* ?pid=\d+.*?\) )?((?P<level>DEBUG|INFO|WARNING|ERROR) *: +)?")
    TRACEBACK = ("Traceback (most recent call last):", "ray::", "ray.exceptions.", "The actor died")
    ROUTINE = (
        "Using SuperLink: ",
        "Since flwr 1.32, ",
        "Successfully installed ",
        "Manually terminating ",
        "An exception was raised when processing a message",
        "Exception ClientAppException occurred.",
        "The above exception was the direct cause",
        "During handling of the above exception",
        "The actor is dead",
    )

    def __init__(self) -> None:
        self.last = ""
        self._traceback = ""  # or "inside", or "after" its last line, which has the exception's message
        self._hiding = self._over = False

    def __call__(self, line: str) -> None:
        """Print the line if it is worth it."""
        line = self.COLOUR.sub("", line)
        prefix = self.PREFIX.match(line)
        text = line[prefix.end() :]
        self._over |= text.startswith("Simulation raised an exception")
        if text.startswith(self.TRACEBACK):
            self._traceback, self._hiding = "inside", True
        elif not prefix["level"] and (not text or (self._traceback and text[0].isspace())):
            pass  # goes with the line before it
        elif self._traceback == "inside" and not prefix["level"]:
            self._traceback = "after"
        else:
            self._traceback = ""
            self._hiding = prefix["level"] in ("DEBUG", "INFO") or text.startswith(self.ROUTINE)
        if not (self._hiding or self._over):
            self.last = text
            level = prefix["level"]
            start = (prefix["site"] or "") + (f"{level.capitalize()}: " if level else "")
            print(start + text, file=sys.stderr if level == "ERROR" else sys.stdout, flush=True)


def run(
    federation: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder that `condi prepare` wrote.")
    ] = None,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for run folders.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run folder.")] = None,
    resume: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Run folder to go on from.")
    ] = None,
    run_config: Annotated[
        list[str] | None,
        typer.Option("--run-config", "-c", help="\"key=value key2='some text'\" or a TOML file; repeatable."),
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Virtual nodes.")] = 4,
    cpus_per_node: Annotated[int, typer.Option(min=1, help="CPUs of one node while it computes.")] = 1,
    gpus_per_node: Annotated[float, typer.Option(min=0, help="GPUs of one node, such as 0.5.")] = 0.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only why a run failed.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the whole log.")] = False,
) -> None:
    """Run a whole federation on this machine: every site a virtual node."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    out = out.expanduser().absolute()
    readable = Readable()
    try:
        settings = read_run_config(run_config or [])
        if resume is not None:
            # A run goes on with its own settings, unless others are given, which it will then refuse.
            settings = _settings_of(resume) | settings | {"resume": str(resume)}
        if federation is not None:
            settings["federation"] = str(federation)
        settings.setdefault("output", str(out))
        for key in ("federation", "output", "resume"):
            if settings.get(key):  # the app works in another directory
                settings[key] = str(Path(str(settings[key])).expanduser().absolute())
        if name is not None:
            settings["name"] = name
        if cpus_per_node > (available := os.cpu_count() or 1):
            raise RunRejected(f"--cpus-per-node is {cpus_per_node}, but this machine has {available} CPUs.")
        simulate(
            PROJECT,
            settings,
            nodes=nodes,
            cpus_per_node=cpus_per_node,
            gpus_per_node=gpus_per_node,
            show=(lambda line: None) if quiet else partial(print, flush=True) if verbose else readable,
        )
    except RunRejected as error:
        _leave(2, str(error))
    except FlowerError as error:
        _leave(1, str(error))
    except RunFailed as error:
        kept = _keep_log(error.log, out)
        _leave(1, f"{error} (log: {kept})" if kept else "" if str(error) == readable.last else str(error))
    except KeyboardInterrupt:
        _leave(130, "stopped.")


def _settings_of(run: Path) -> dict[str, Value]:
    """Settings that a run was started with, less those that say where it is."""
    try:
        saved = json.loads((run / "config.json").read_text())
    except (OSError, ValueError):
        raise RunRejected(
            f"There is no run to go on with at {run}: it has no readable config.json."
        ) from None
    return {key: value for key, value in saved.items() if key not in ("name", "output", "resume")}


def _keep_log(log: list[str], out: Path) -> Path | None:
    """Keep the log of an unforeseen failure: one that has a traceback of the server."""
    if "Traceback (most recent call last):" not in log:
        return None
    out.mkdir(parents=True, exist_ok=True)
    path = out / time.strftime("failed-%Y%m%d-%H%M%S.log")
    path.write_text("\n".join(log) + "\n")
    return path


def _leave(status: int, sentence: str) -> None:
    if sentence:
        typer.echo(f"Error: {sentence}", err=True)
    raise typer.Exit(status)

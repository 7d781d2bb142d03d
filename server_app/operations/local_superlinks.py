"""Find the SuperLinks that run simulations of this user, and end them with all that they started.

`flwr run` leaves such a SuperLink running, and a killed `condi run` could not end its own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from server_app.operations.flower_processes import (
    OWNER_FILE,
    FlowerError,
    FlowerProcesses,
    pids_of_folder,
)
from server_app.operations.processes import Process, descendants, end_processes, list_processes

FLOWER_PORT = "8000"  # of a SuperLink that is started without --port


@dataclass(frozen=True)
class LocalSuperLink:
    """A SuperLink for simulations on this machine.

    Attributes
    ----------
    process : of the SuperLink
    port : of its Control API, on loopback
    folder : temporary folder of `condi run`; None for a SuperLink that `flwr run` or the user started
    code : folder from which workers of `flwr run` import code before all else; empty where it is not known
    """

    process: Process
    port: int
    folder: Path | None
    code: str

    @property
    def is_left_over(self) -> bool:
        """Whether the command that would end this SuperLink is gone, or none would."""
        if self.folder is None:
            return True
        with suppress(OSError):
            return (self.folder / OWNER_FILE).read_text() != str(self.process.parent)
        return True

    @property
    def starter(self) -> str:
        """Return how the SuperLink was started."""
        if self.folder is None:
            return "flwr run"
        return "condi run, which was killed" if self.is_left_over else "condi run"

    def runs(self) -> list[dict[str, str]]:
        """Return the runs that have not ended, as `flwr ls` describes them; FlowerError without an answer."""
        runs = self._flwr("ls")["runs"]
        return [run for run in runs if not run["status"].startswith("finished")]

    def stop_run(self, run_id: str) -> None:
        """Stop a run; FlowerError when the SuperLink refuses."""
        self._flwr("stop", run_id)

    def _flwr(self, command: str, *arguments: str) -> dict:
        with FlowerProcesses() as processes:
            if self.folder is None:
                processes.connect(f"127.0.0.1:{self.port}")
            else:  # the folder has the token and the certificate of this SuperLink
                processes.env["FLWR_HOME"] = str(self.folder / "flwr")
            return processes.flwr(command, *arguments, "condi")

    def end(self) -> None:
        """End the SuperLink and everything that it started."""
        # Some have no other parent than the system once the SuperLink has ended.
        family = descendants(self.process.pid, list_processes())

        def find_alive() -> set[int]:
            nonlocal family
            processes = list_processes()
            started = pids_of_folder(self.folder) if self.folder else set()
            family |= descendants(self.process.pid, processes) | started
            return {pid for pid in family if pid in processes}

        end_processes(find_alive)
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def find_local_superlinks() -> Iterator[LocalSuperLink]:
    """Yield the SuperLinks of this user that run simulations; FlowerError when processes cannot be listed."""
    try:
        processes = list_processes()
    except FileNotFoundError:
        raise FlowerError("The program ps, which lists processes, is not installed.") from None
    for process in processes.values():
        names = [Path(word).name for word in process.command]
        is_guarded = names[2:4] == ["guarded_flower.py", "superlink"]
        if "--simulation" not in names or not (is_guarded or "flower-superlink" in names[:2]):
            continue
        port = dict(zip(names, names[1:], strict=False)).get("--port", FLOWER_PORT)
        folder = Path(process.command[4]).parent if is_guarded else None
        code = ""
        with suppress(OSError):
            code = os.readlink(f"/proc/{process.pid}/cwd")
        yield LocalSuperLink(process, int(port), folder, "" if folder else code)

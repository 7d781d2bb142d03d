"""Write what a coordinator is doing into progress.json, which `condi watch` reads while the run lasts."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from condi_core.run_files import PROGRESS_FILE
from data_partitions.storage import atomic_write

MIN_WRITE_SECONDS = 0.5  # between two versions of the file
NEWS_SECONDS = 5.0  # after which the file is written again, to say that the coordinator is alive


class RunProgress:
    """What the coordinator is doing, in a file that a thread writes until `end`.

    Nothing is written before `write_to` names the run directory. No error in this class ends a run.
    """

    def __init__(self) -> None:
        self._content: dict[str, Any] = {
            "status": "running",
            "reason": "",
            "started": time.time(),
            "request": {},  # the last exchange: kind, phase, round, split, seconds since the epoch
            "online": None,  # names of the sites that are connected; unknown in a simulation
            "excluded": {},
            "sites": {},  # name → what it was last asked, when, and when it answered
        }
        self._path: Path | None = None
        self._changed, self._ended = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._write_repeatedly, daemon=True)

    @property
    def directory(self) -> str:
        """The run directory; empty before the run has one."""
        return str(self._path.parent) if self._path else ""

    def write_to(self, run: Path) -> None:
        """Start to write into a run directory."""
        self._path = run / PROGRESS_FILE
        self._thread.start()

    def note_excluded(self, reasons: dict[str, str]) -> None:
        """Note which sites take no part, and why."""
        with self._lock:
            self._content["excluded"] = reasons
        self._changed.set()

    def note_requests(self, kinds: Mapping[str, str], request: dict[str, Any]) -> None:
        """Note that sites were asked something.

        Parameters
        ----------
        kinds : mapping of str to str
            Site → kind of the message to it.
        request : dict
            Kind, phase, round and split of the exchange.
        """
        with self._lock:
            now = time.time()
            self._content["request"] = request | {"asked": now}
            for site, kind in kinds.items():
                self._content["sites"][site] = {"kind": kind, "asked": now, "answered": None}
        self._changed.set()

    def note_reply(self, site: str) -> None:
        """Note that a site has answered, be it with an error."""
        with self._lock:
            if site in self._content["sites"]:
                self._content["sites"][site]["answered"] = time.time()
        self._changed.set()

    def note_online(self, sites: Iterable[str]) -> None:
        """Note which sites are connected."""
        names = sorted(sites)
        if names != self._content["online"]:
            with self._lock:
                self._content["online"] = names
            self._changed.set()

    def end(self, status: str, reason: str = "") -> None:
        """Write the status of the run for the last time."""
        with self._lock:
            self._content |= {"status": status, "reason": reason}
        self._ended.set()
        self._changed.set()
        if self._path is not None:
            self._thread.join()
            self._write()

    def _write_repeatedly(self) -> None:
        while not self._ended.is_set():
            self._changed.clear()
            self._write()
            if not self._ended.wait(MIN_WRITE_SECONDS):
                self._changed.wait(NEWS_SECONDS)

    def _write(self) -> None:
        assert self._path is not None  # the thread starts when there is a path
        with self._lock:
            text = json.dumps(self._content | {"written": time.time()})
        with suppress(OSError), atomic_write(self._path) as file:
            file.write(text.encode())

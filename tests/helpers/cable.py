"""A cable between two TCP ports that counts what passes, and can be pulled: then nothing passes, and nobody
is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Cable:
    """Listens on `port` and passes everything on to another port of this machine."""

    def __init__(self, to: int) -> None:
        self.to, self.plugged = to, threading.Event()
        self.up = self.down = 0  # bytes that have passed to the other port, and back
        self.plugged.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def pull(self) -> None:
        """From now on what is sent is held back, as packets that are sent again and again are."""
        self.plugged.clear()

    def plug(self) -> None:
        self.plugged.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.to))
                self.ends += [near, far]
                for one, other, way in ((near, far, "up"), (far, near, "down")):
                    threading.Thread(target=self._pass, args=(one, other, way), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, way: str) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 16):
                self.plugged.wait()
                setattr(self, way, getattr(self, way) + len(data))
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)


@contextmanager
def cable(to: int) -> Iterator[Cable]:
    made = Cable(to)
    try:
        yield made
    finally:
        made.plug()
        for end in (made.listener, *made.ends):
            with suppress(OSError):
                end.close()

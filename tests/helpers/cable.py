"""A proxy between two TCP ports that counts bytes and can be unplugged.

While it is unplugged nothing passes, and neither end notices, as with a pulled network cable.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Cable:
    """Listens on `port` and forwards everything to another port of this machine."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.plugged = threading.Event()
        self.up = self.down = 0  # bytes to the other port, and back
        self.plugged.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def pull(self) -> None:
        """Hold back everything that is sent from now on, in both directions."""
        self.plugged.clear()

    def plug(self) -> None:
        self.plugged.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.to))
                self.ends += [near, far]
                for source, sink, direction in ((near, far, "up"), (far, near, "down")):
                    threading.Thread(target=self._pass, args=(source, sink, direction), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, direction: str) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self.plugged.wait()
                setattr(self, direction, getattr(self, direction) + len(data))
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def cable(to: int) -> Iterator[Cable]:
    proxy = Cable(to)
    try:
        yield proxy
    finally:
        proxy.plug()
        for end in (proxy.listener, *proxy.ends):
            with suppress(OSError):
                end.close()

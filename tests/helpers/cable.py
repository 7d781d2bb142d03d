"""A proxy between two TCP ports that counts bytes, can be slow, and can be unplugged.

While it is unplugged nothing passes, and neither end notices, as with a pulled network cable.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

BUFFER_BYTES = 1 << 16  # small buffers, so that senders notice how slow it is


class Cable:
    """Listens on `port` and forwards everything to another port of this machine.

    Parameters
    ----------
    to : int
        The other port.
    bytes_per_second : float, optional
        In each direction, of all connections together.
    """

    def __init__(self, to: int, bytes_per_second: float | None = None) -> None:
        self.to = to
        self.bytes_per_second = bytes_per_second
        self.turns = {"up": threading.Lock(), "down": threading.Lock()}
        self.plugged = threading.Event()
        self.up = self.down = 0  # bytes to the other port, and back
        self.plugged.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self._limit_buffers(self.listener)
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
                self._limit_buffers(far)
                self.ends += [near, far]
                for source, sink, direction in ((near, far, "up"), (far, near, "down")):
                    threading.Thread(target=self._pass, args=(source, sink, direction), daemon=True).start()

    def _limit_buffers(self, end: socket.socket) -> None:
        if self.bytes_per_second:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)

    def _pass(self, source: socket.socket, sink: socket.socket, direction: str) -> None:
        with suppress(OSError):
            while data := source.recv(BUFFER_BYTES // 4):
                self.plugged.wait()
                if self.bytes_per_second:
                    with self.turns[direction]:
                        time.sleep(len(data) / self.bytes_per_second)
                setattr(self, direction, getattr(self, direction) + len(data))
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def cable(to: int, bytes_per_second: float | None = None) -> Iterator[Cable]:
    proxy = Cable(to, bytes_per_second)
    try:
        yield proxy
    finally:
        proxy.plug()
        for end in (proxy.listener, *proxy.ends):
            with suppress(OSError):
                end.close()

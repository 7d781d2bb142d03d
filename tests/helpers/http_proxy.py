"""An HTTP proxy for CONNECT that alone knows some names, as the only way out of a hospital's network."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

OUTSIDE = "fl.example.org"  # stands for 127.0.0.1 at the proxy, and is unknown elsewhere


class HttpProxy:
    """Listens on `port`; `requests` has first lines that it was sent, `refusal` what it answers instead."""

    def __init__(self, refusal: str = "") -> None:
        self.refusal, self.requests = refusal, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.uri = f"http://user:a%20word@127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                threading.Thread(target=self._answer, args=(near,), daemon=True).start()

    def _answer(self, near: socket.socket) -> None:
        with near, suppress(OSError):
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                request += near.recv(1)
            line = request.decode().partition("\r\n")[0]
            self.requests.append(line)
            method, target, _ = line.split(" ")
            if self.refusal or method != "CONNECT" or b"Basic dXNlcjphIHdvcmQ=" not in request:
                near.sendall(f"HTTP/1.1 {self.refusal or '502 Bad Gateway'}\r\n\r\n".encode())
                return
            host, _, port = target.rpartition(":")
            with socket.create_connection((host.replace(OUTSIDE, "127.0.0.1"), int(port))) as far:
                near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_pass, args=(far, near), daemon=True)
                back.start()
                _pass(near, far)
                back.join()


def _pass(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def http_proxy(refusal: str = "") -> Iterator[HttpProxy]:
    proxy = HttpProxy(refusal)
    try:
        yield proxy
    finally:
        with suppress(OSError):
            proxy.listener.shutdown(socket.SHUT_RDWR)
        proxy.listener.close()

"""The way to the SuperLink: through the HTTP proxy that gRPC will take, or directly."""

from __future__ import annotations

import base64
import socket
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit

from client_app.join.address import Address
from client_app.join.checks import CheckError
from condi_core.flower_environment import make_flower_environment

DEFAULT_PORT = 443  # gRPC's, of a proxy whose port is not stated
MAX_ANSWER_BYTES = 65536


def find_proxy(address: Address) -> str:
    """Return the URI of the proxy that gRPC takes to an address; empty if it takes none.

    gRPC takes the first of these variables that has a value, and a proxy only by `http`. See its
    doc/core/default_http_proxy_mapper.md. CheckError when its value is not a URI.
    """
    variables = make_flower_environment()
    name = next(filter(variables.get, ("grpc_proxy", "https_proxy", "http_proxy")), "")
    proxy = variables.get(name, "")
    try:
        parts = urlsplit(proxy)
        _ = parts.port  # which is parsed here
    except ValueError:  # its text may have a part of a password
        raise CheckError(
            f"the value of the variable {name} is not a URI of a proxy: expected one such as "
            "http://proxy.example.org:3128"
        ) from None
    if parts.scheme != "http" or not parts.hostname:
        return ""
    exempt = next(filter(None, map(variables.get, ("no_grpc_proxy", "no_proxy"))), "")
    return "" if any(_matches(address.host, entry.strip()) for entry in exempt.split(",")) else proxy


def describe_proxy(proxy: str) -> str:
    """Return host and port of a proxy, without its password."""
    parts = urlsplit(proxy)
    return str(Address(parts.hostname or "", parts.port or DEFAULT_PORT))


def connect(address: Address, timeout: float) -> socket.socket:
    """Open a connection to an address as gRPC will, if need be by CONNECT through a proxy.

    Raises
    ------
    CheckError
        The proxy cannot be reached or refuses.
    OSError
        The address cannot be reached directly.
    """
    if not (proxy := find_proxy(address)):
        return socket.create_connection(address, timeout)
    parts, name = urlsplit(proxy), describe_proxy(proxy)
    remedy = (
        f"ask the administrator of the proxy to allow it, or exempt {address.host} by the variable no_proxy, "
        "if this machine reaches it directly"
    )
    try:
        connection = socket.create_connection((parts.hostname or "", parts.port or DEFAULT_PORT), timeout)
    except OSError as error:
        raise CheckError(
            f"the proxy {name} of this machine's environment cannot be reached ({error.strerror or error}): "
            f"check the variables https_proxy and http_proxy, or exempt {address.host} by no_proxy"
        ) from None
    try:
        status = _request_tunnel(connection, address, parts.username, parts.password)
    except OSError as error:
        connection.close()
        reason = error.strerror or error
        raise CheckError(f"the proxy {name} does not connect to {address} ({reason}): {remedy}") from None
    if status.split(" ")[1:2] != ["200"]:
        connection.close()
        reason = status.partition(" ")[2] or "no answer"
        raise CheckError(f"the proxy {name} does not connect to {address} ({reason}): {remedy}")
    return connection


def _request_tunnel(
    connection: socket.socket, address: Address, user: str | None, password: str | None
) -> str:
    """Ask a proxy for a connection to an address, and return the first line of its answer."""
    lines = [f"CONNECT {address} HTTP/1.1", f"Host: {address}"]
    if user:
        credentials = f"{unquote(user)}:{unquote(password or '')}".encode()
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(credentials).decode()}")
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    answer = b""
    # Byte by byte: what follows the answer belongs to the connection.
    while not answer.endswith(b"\r\n\r\n") and len(answer) < MAX_ANSWER_BYTES:
        if not (byte := connection.recv(1)):
            break
        answer += byte
    return answer.decode("latin-1").partition("\r\n")[0]


def _matches(host: str, entry: str) -> bool:
    """Return whether an entry of no_proxy has a host: as the end of its name, or as a network's block."""
    if not entry:
        return False
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        return host.lower().endswith(entry.lower())

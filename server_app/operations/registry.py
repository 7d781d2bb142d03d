"""`condi registry`: register sites at a SuperLink, and list them by name; Flower's own list has no names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from condi_core.flower_environment import make_flower_environment
from data_partitions.errors import DataError
from data_partitions.site_names import require_site_name
from data_partitions.table import Table
from server_app.operations.command_line import exit_with

if TYPE_CHECKING:
    from flwr.proto.node_pb2 import NodeInfo
    from flwr.supercore.control import ControlHttpClient

KEY_IN_USE = (
    "the SuperLink has had this key before, and registers no key twice: make a new one "
    "(ssh-keygen -t ecdsa -b 384), also to register a site under another name"
)


def registry(
    superlink: Annotated[str, typer.Option(help="HOST:PORT of the SuperLink's Control API.")],
    root_certificates: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="File ca.crt; omit it only for a SuperLink without TLS."
        ),
    ] = None,
    register: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Register a site under the name of its partition, with its public key; repeatable.",
        ),
    ] = None,
    unregister: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Let a site no longer connect; it needs a new key afterwards."),
    ] = None,
) -> None:
    """List the sites of a SuperLink, after registering or unregistering some.

    Example: condi registry --superlink localhost:8000 --root-certificates credentials/ca.crt --register
    north=credentials/sites/north/site.pub
    """
    os.environ.update(make_flower_environment())
    import httpx
    from flwr.supercore.error import FlowerError

    keys = [_read_key(entry) for entry in register or ()]
    client = _connect(superlink, root_certificates)
    try:
        nodes = _list_nodes(client)
        for name in unregister or ():
            _unregister(client, name, nodes)
        for name, key in keys:
            _register(client, name, key, nodes)
        nodes = _list_nodes(client)
    except httpx.HTTPStatusError as error:
        reason = FlowerError.from_json(error.response.text)
        text = reason.public_details or reason.message if reason else str(error)
        exit_with(1, f"{superlink} refused the request: {text.strip()}")
    except httpx.HTTPError as error:
        exit_with(
            1, f"{superlink} does not answer ({error}): check that the SuperLink runs, and its certificate"
        )
    finally:
        client.close()
    rows = [[node.name, node.status, _since(node)] for node in _registered(nodes)]
    typer.echo(Table("", ["site", "status", "since"], rows).to_text() if rows else "No site is registered.")


def registered_names(superlink: str, root_certificates: Path | None) -> list[str]:
    """Return the names of the sites that are registered; none where the SuperLink does not say."""
    os.environ.update(make_flower_environment())
    import httpx

    client = _connect(superlink, root_certificates)
    try:
        return [node.name for node in _registered(_list_nodes(client)) if node.name]
    except httpx.HTTPError:
        return []
    finally:
        client.close()


def _connect(superlink: str, root_certificates: Path | None) -> ControlHttpClient:
    """Prepare a connection, or exit where the address or the certificate cannot be used."""
    import ssl

    import httpx
    from flwr.supercore.control import ControlHttpClient
    from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

    try:
        httpx.URL(f"http://{superlink}")  # is read in the first request otherwise
        return ControlHttpClient.from_server_address(
            superlink,
            insecure=root_certificates is None,
            root_certificates=root_certificates.read_bytes() if root_certificates else None,
            interceptors=[RuntimeVersionHttpInterceptor(component_name="condi registry")],
        )
    except ssl.SSLError:
        exit_with(2, f"{root_certificates} holds no certificate: give the ca.crt of the coordinator.")
    except (httpx.InvalidURL, ValueError) as error:
        exit_with(2, f"expected HOST:PORT as --superlink, got '{superlink}' ({error}).")


def _list_nodes(client: ControlHttpClient) -> list[NodeInfo]:
    from flwr.proto.control_pb2 import ListNodesRequest

    return list(client.ListNodes(ListNodesRequest()).nodes_info)


def _registered(nodes: list[NodeInfo]) -> list[NodeInfo]:
    return sorted((node for node in nodes if node.status != "unregistered"), key=lambda node: node.name)


def _since(node: NodeInfo) -> str:
    """Return since when a site has its status, in this machine's time."""
    from datetime import datetime

    times = {"online": node.last_activated_at, "offline": node.last_deactivated_at}
    time = times.get(node.status) or node.registered_at
    return datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _read_key(entry: str) -> tuple[str, bytes]:
    """Return the name and the public key of NAME=FILE."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key
    from flwr.supercore.primitives.asymmetric import public_key_to_bytes

    name, equals, file = entry.partition("=")
    if not (name and equals and file):
        raise typer.BadParameter(f"expected NAME=FILE, such as north=site.pub, got '{entry}'")
    try:
        require_site_name(name)
    except DataError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        key = load_ssh_public_key(Path(file).read_bytes())
    except OSError as error:
        exit_with(1, f"{file} cannot be read ({error.strerror}): give the public key of {name}, site.pub")
    except Exception:
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        exit_with(1, f"{file} is not the public half of an elliptic-curve key: give the site.pub of {name}")
    return name, public_key_to_bytes(key)


def _register(client: ControlHttpClient, name: str, key: bytes, nodes: list[NodeInfo]) -> None:
    """Register a site, unless the same key has this name already."""
    from flwr.proto.control_pb2 import RegisterNodeRequest

    known = {node.public_key: node for node in nodes}.get(key)
    if known is not None and known.status != "unregistered" and known.name == name:
        typer.echo(f"{name} is registered already.")
        return
    if known is not None:
        exit_with(1, f"{name} cannot be registered: {KEY_IN_USE}")
    client.RegisterNode(RegisterNodeRequest(public_key=key, name=name))
    typer.echo(f"Registered: {name}.")


def _unregister(client: ControlHttpClient, name: str, nodes: list[NodeInfo]) -> None:
    from flwr.proto.control_pb2 import UnregisterNodeRequest

    ids = [node.node_id for node in _registered(nodes) if node.name == name]
    if not ids:
        known = ", ".join(node.name for node in _registered(nodes)) or "none"
        exit_with(1, f"no site {name} is registered; the SuperLink has {known}")
    for node in ids:
        client.UnregisterNode(UnregisterNodeRequest(node_id=node))
    typer.echo(f"Unregistered: {name}. To join again it needs a new key.")

"""Who is not a registered site gets nothing at the port that sites use."""

from __future__ import annotations

import datetime

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.common.constant import PUBLIC_KEY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    PullMessagesRequest,
    RegisterNodeFleetRequest,
    UnregisterNodeFleetRequest,
)
from flwr.proto.fleet_pb2_grpc import FleetStub
from flwr.proto.node_pb2 import Node
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message

from tests.helpers.hospitals import coordinator

pytestmark = pytest.mark.deployment


@pytest.fixture(scope="module")
def superlink(tmp_path_factory):
    """A SuperLink that knows site-0 and site-1, and its Fleet API as a stranger with the ca.crt sees it."""
    folder = tmp_path_factory.mktemp("keys")
    with coordinator(folder, ["site-0", "site-1"]) as made:
        made.register("site-0")
        made.register("site-1")
        trust = grpc.ssl_channel_credentials((folder / "ca.crt").read_bytes())
        with grpc.secure_channel(made.fleet, trust) as channel:
            yield made, FleetStub(channel)


def signed(key, ago: float = 0.0, forged: bool = False):
    """Metadata as a node signs them, so many seconds ago."""
    when = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=ago)).isoformat()
    signer = ec.generate_private_key(ec.SECP384R1()) if forged else key
    return [
        (PUBLIC_KEY_HEADER, public_key_to_bytes(key.public_key())),
        (TIMESTAMP_HEADER, when),
        (SIGNATURE_HEADER, sign_message(signer, when.encode())),
    ]


def key_of(made, site):
    return load_ssh_private_key((made.credentials / "sites" / site / "site.key").read_bytes(), None)


def refusal(call, request, metadata) -> str:
    with pytest.raises(grpc.RpcError) as refused:
        call(request, metadata=metadata, timeout=20)
    return f"{refused.value.code().name}: {refused.value.details()}"


def activation(key):
    return ActivateNodeRequest(public_key=public_key_to_bytes(key.public_key()), heartbeat_interval=30)


def test_without_a_signature_or_with_a_forged_one(superlink):
    made, fleet = superlink
    key = key_of(made, "site-0")
    assert refusal(fleet.ActivateNode, activation(key), []) == (
        "UNAUTHENTICATED: Missing authentication metadata"
    )
    assert refusal(fleet.ActivateNode, activation(key), signed(key, forged=True)) == (
        "UNAUTHENTICATED: Invalid signature"
    )


@pytest.mark.parametrize("ago", [600, -60])
def test_a_signature_that_is_replayed_later_or_made_ahead_of_time(superlink, ago):
    made, fleet = superlink
    key = key_of(made, "site-0")
    told = refusal(fleet.ActivateNode, activation(key), signed(key, ago))
    assert told == "UNAUTHENTICATED: Invalid timestamp"


def test_a_key_that_nobody_has_registered_neither_joins_nor_registers_itself(superlink):
    _, fleet = superlink
    stranger = ec.generate_private_key(ec.SECP384R1())
    assert "FAILED_PRECONDITION" in refusal(fleet.ActivateNode, activation(stranger), signed(stranger))
    request = RegisterNodeFleetRequest(public_key=public_key_to_bytes(stranger.public_key()))
    assert refusal(fleet.RegisterNode, request, signed(stranger))
    assert "FAILED_PRECONDITION" in refusal(fleet.ActivateNode, activation(stranger), signed(stranger))


def test_a_site_has_no_access_to_what_is_meant_for_another(superlink):
    made, fleet = superlink
    mine = key_of(made, "site-0")
    fleet.ActivateNode(activation(mine), metadata=signed(mine), timeout=20)
    other = next(int(node) for node, name in made.names.items() if name == "site-1")
    for call, request in (
        (fleet.PullMessages, PullMessagesRequest(node=Node(node_id=other))),
        (fleet.UnregisterNode, UnregisterNodeFleetRequest(node_id=other)),
    ):
        assert refusal(call, request, signed(mine)) == "UNAUTHENTICATED: Invalid node ID"

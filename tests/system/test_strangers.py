"""The port that sites use refuses everyone but registered sites."""

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
    """A SuperLink with site-0 and site-1 registered, and its Fleet API for anyone who has the ca.crt."""
    folder = tmp_path_factory.mktemp("keys")
    with coordinator(folder, ["site-0", "site-1"]) as running:
        running.register("site-0")
        running.register("site-1")
        trust = grpc.ssl_channel_credentials((folder / "ca.crt").read_bytes())
        with grpc.secure_channel(running.fleet, trust) as channel:
            yield running, FleetStub(channel)


def signed_metadata(key, seconds_ago: float = 0.0, forged: bool = False):
    """Return metadata as a node signs them, from some seconds ago."""
    timestamp = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds_ago)).isoformat()
    signer = ec.generate_private_key(ec.SECP384R1()) if forged else key
    return [
        (PUBLIC_KEY_HEADER, public_key_to_bytes(key.public_key())),
        (TIMESTAMP_HEADER, timestamp),
        (SIGNATURE_HEADER, sign_message(signer, timestamp.encode())),
    ]


def read_key(running, site):
    return load_ssh_private_key((running.credentials / "sites" / site / "site.key").read_bytes(), None)


def refusal(call, request, metadata) -> str:
    with pytest.raises(grpc.RpcError) as refused:
        call(request, metadata=metadata, timeout=20)
    return f"{refused.value.code().name}: {refused.value.details()}"


def activation(key):
    return ActivateNodeRequest(public_key=public_key_to_bytes(key.public_key()), heartbeat_interval=30)


def test_requests_without_a_valid_signature(superlink):
    running, fleet = superlink
    key = read_key(running, "site-0")
    assert refusal(fleet.ActivateNode, activation(key), []) == (
        "UNAUTHENTICATED: Missing authentication metadata"
    )
    assert refusal(fleet.ActivateNode, activation(key), signed_metadata(key, forged=True)) == (
        "UNAUTHENTICATED: Invalid signature"
    )


@pytest.mark.parametrize("seconds_ago", [600, -60])
def test_a_signature_that_is_replayed_later_or_made_ahead_of_time(superlink, seconds_ago):
    running, fleet = superlink
    key = read_key(running, "site-0")
    reason = refusal(fleet.ActivateNode, activation(key), signed_metadata(key, seconds_ago))
    assert reason == "UNAUTHENTICATED: Invalid timestamp"


def test_an_unregistered_key_can_neither_join_nor_register_itself(superlink):
    _, fleet = superlink
    stranger = ec.generate_private_key(ec.SECP384R1())
    assert "FAILED_PRECONDITION" in refusal(
        fleet.ActivateNode, activation(stranger), signed_metadata(stranger)
    )
    request = RegisterNodeFleetRequest(public_key=public_key_to_bytes(stranger.public_key()))
    assert refusal(fleet.RegisterNode, request, signed_metadata(stranger))
    assert "FAILED_PRECONDITION" in refusal(
        fleet.ActivateNode, activation(stranger), signed_metadata(stranger)
    )


def test_a_site_cannot_pull_the_messages_of_another(superlink):
    running, fleet = superlink
    key = read_key(running, "site-0")
    fleet.ActivateNode(activation(key), metadata=signed_metadata(key), timeout=20)
    other = next(int(node) for node, name in running.names.items() if name == "site-1")
    for call, request in (
        (fleet.PullMessages, PullMessagesRequest(node=Node(node_id=other))),
        (fleet.UnregisterNode, UnregisterNodeFleetRequest(node_id=other)),
    ):
        assert refusal(call, request, signed_metadata(key)) == "UNAUTHENTICATED: Invalid node ID"

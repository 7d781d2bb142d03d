"""The connection of a site whose environment names a proxy is checked the way that gRPC will take."""

from __future__ import annotations

import pytest

from client_app.join.address import Address
from client_app.join.checks import CheckError
from client_app.join.proxy import find_proxy
from condi_core.flower_environment import make_flower_environment
from tests.helpers.http_proxy import OUTSIDE, http_proxy
from tests.helpers.tls import listening

VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy", "no_grpc_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in (*VARIABLES, *map(str.upper, VARIABLES)):
        monkeypatch.delenv(name, raising=False)


def test_a_superlink_that_only_the_proxy_reaches(site, authority, monkeypatch):
    with http_proxy() as proxy, listening(authority.server(OUTSIDE)) as port:
        monkeypatch.setenv("HTTPS_PROXY", proxy.uri)
        status, results = site(port, host=OUTSIDE)
    assert status == 0 and results["connection"][1].endswith(f"; through the proxy 127.0.0.1:{proxy.port}")
    assert set(proxy.requests) == {f"CONNECT {OUTSIDE}:{port} HTTP/1.1"}


def test_a_proxy_that_refuses_or_is_gone(site, authority, monkeypatch):
    with http_proxy(refusal="403 Forbidden") as proxy, listening(authority.server(OUTSIDE)) as port:
        monkeypatch.setenv("https_proxy", proxy.uri)
        status, results = site(port, host=OUTSIDE)
        sentence = f"the proxy 127.0.0.1:{proxy.port} does not connect to {OUTSIDE}:{port} (403 Forbidden): "
        assert status == 1 and results["connection"][1].startswith(sentence)
    status, results = site(port, host=OUTSIDE)
    assert (
        status == 1
        and "environment cannot be reached (Connection refused): check" in results["connection"][1]
    )


def test_a_superlink_on_this_machine_needs_no_proxy(site, authority, monkeypatch):
    with http_proxy() as proxy, listening(authority.server("localhost")) as port:
        monkeypatch.setenv("http_proxy", proxy.uri)
        status, results = site(port)
    assert status == 0 and "proxy" not in results["connection"][1] and not proxy.requests


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({}, ""),
        ({"http_proxy": "http://a:1"}, "http://a:1"),
        ({"http_proxy": "http://a:1", "https_proxy": "http://b:1"}, "http://b:1"),
        ({"https_proxy": "http://b:1", "grpc_proxy": "http://c:1"}, "http://c:1"),
        ({"https_proxy": "https://b:1"}, ""),
        ({"https_proxy": "http://b:1", "no_proxy": "other.org, .example.org"}, ""),
        ({"https_proxy": "http://b:1", "no_proxy": "example.com"}, "http://b:1"),
        ({"https_proxy": "http://b:1", "no_proxy": "fl.example.org", "no_grpc_proxy": "x"}, "http://b:1"),
        ({"all_proxy": "http://b:1"}, ""),
    ],
)
def test_the_proxy_is_that_of_grpc(variables, proxy, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find_proxy(Address(OUTSIDE, 9092)) == proxy


@pytest.mark.parametrize("value", ["http://proxy.example.org:31z8", "http://a:70000", "http://[::1"])
def test_a_variable_that_is_not_a_uri_is_named(value, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(CheckError, match="^the value of the variable https_proxy is not a URI of a proxy: "):
        find_proxy(Address(OUTSIDE, 9092))


@pytest.mark.parametrize(("block", "proxy"), [("10.0.0.0/8", ""), ("192.168.0.0/16", "http://b:1")])
def test_no_proxy_may_name_a_network(block, proxy, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://b:1")
    monkeypatch.setenv("no_proxy", block)
    assert find_proxy(Address("10.1.2.3", 9092)) == proxy


def test_flower_reaches_this_machine_and_those_that_are_named_without_a_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "a.org,127.0.0.1")
    monkeypatch.setenv("ALL_PROXY", "socks5h://b:1080")
    monkeypatch.setenv("HTTP_PROXY", "http://b:1")
    environment = make_flower_environment("node.example.org", "0.0.0.0")
    assert environment["no_proxy"] == "a.org,127.0.0.1,localhost,::1,node.example.org"
    assert environment["no_proxy"] == environment["NO_PROXY"]
    assert environment["http_proxy"] == "http://b:1"
    assert not {"all_proxy", "ALL_PROXY"} & environment.keys()

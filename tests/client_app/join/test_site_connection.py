"""`condi site --check`: what is wrong with the SuperLink or its certificate is reported in one sentence."""

from __future__ import annotations

import re
import socket

import pytest
from typer.testing import CliRunner

from client_app.join import connection
from client_app.join.address import Address
from server_app.cli import app
from tests.helpers.tls import Authority, listening


@pytest.mark.parametrize(
    ("hosts", "dates", "sentence"),
    [
        (["localhost"], (-9, -2), "expired on 20.*: its administrator renews it"),
        (["a.example.org", "10.0.0.1"], (-1, 9), "not for localhost but for a.example.org, 10.0.0.1: "),
    ],
)  # fmt: skip
def test_an_expired_certificate_or_one_of_another_host(site, authority, hosts, dates, sentence):
    with listening(authority.server(*hosts, first=dates[0], last=dates[1])) as port:
        status, results = site(port)
    assert status == 1 and {name for name, (mark, _) in results.items() if mark == "✗"} == {"connection"}
    assert re.search(sentence, results["connection"][1])


def test_a_superlink_of_another_authority(site, tmp_path):
    with listening(Authority(tmp_path / "other").server("localhost")) as port:
        _, results = site(port)
    assert results["connection"][0] == "✗" and "signed by another authority than" in results["connection"][1]


def test_a_certificate_that_expires_soon(site, authority):
    with listening(authority.server("localhost", last=10)) as port:
        status, results = site(port)
    assert status == 0 and results["connection"][0] == "!"
    assert "expires in 10 days: its administrator renews it" in results["connection"][1]


def test_a_clock_that_is_behind(site, authority):
    with listening(authority.server("localhost", first=2)) as port:
        status, results = site(port)
    assert status == 1 and results["clock"][0] == "✗"
    assert re.match(
        r"the clock of this machine shows .*, but a certificate is valid only from .*: set the clock",
        results["clock"][1],
    )


@pytest.mark.parametrize("say", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_server_without_tls(site, say):
    with listening(None, say=say) as port:
        status, results = site(port)
    assert status == 1 and results["connection"] == (
        "✗",
        f"localhost:{port} does not speak TLS: check the address; a SuperLink that was started with "
        "--insecure must be given certificates (condi credentials)",
    )


def test_the_port_of_another_api(site, authority):
    with listening(authority.server("localhost"), protocol="http/1.1") as port:
        _, results = site(port)
    assert results["connection"][0] == "✗" and "speaks TLS, but not gRPC" in results["connection"][1]


def test_a_port_without_a_server(site):
    with listening(None) as port:
        pass
    assert site(port)[1]["connection"][1].startswith(
        f"no server listens at localhost:{port}: check that the SuperLink runs"
    )


def test_a_server_that_does_not_answer(site, monkeypatch):
    monkeypatch.setattr(connection, "TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        _, results = site(silent.getsockname()[1])
    assert "does not answer within 0.2 s: check the firewalls" in results["connection"][1]


def test_an_unknown_host_name(site, monkeypatch):
    def unknown(*_):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    assert site(9092, "fl.example.org")[1]["connection"][1].startswith(
        "the host name fl.example.org cannot be resolved"
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            None,
            "cannot be read (No such file or directory): give the certificate of the federation's authority",
        ),
        (lambda pem: b"hello", "is not a certificate in PEM format: give the ca.crt of the federation"),
        (lambda pem: pem, "contains a private key, which no site should have: ask for ca.crt alone"),
        (lambda pem: pem[pem.index(b"-----BEGIN CERT") :], "cannot sign others (CN=server): give the ca.crt"),
    ],
)
def test_a_file_without_a_certificate_of_an_authority(site, authority, tmp_path, content, sentence):
    server, file = authority.server("localhost"), tmp_path / "other.crt"
    if content:
        file.write_bytes(content(server.read_bytes()))
    with listening(server) as port:
        status, results = site(port, root_certificates=file)
    assert status == 1 and results["certificate"][0] == "✗" and sentence in results["certificate"][1]
    assert results["connection"] == (
        "-",
        f"localhost:{port} speaks gRPC over TLS; its identity cannot be verified",
    )


@pytest.mark.parametrize(
    ("last", "mark", "sentence"), [(-2, "✗", "expired on 20"), (20, "!", "expires in 20 days")]
)
def test_an_authority_whose_certificate_expires(site, tmp_path, last, mark, sentence):
    authority = Authority(tmp_path / "old", first=-9, last=last)
    with listening(authority.server("localhost")) as port:
        status, results = site(port, root_certificates=authority.file)
    assert (
        status == (mark == "✗")
        and results["certificate"][0] == mark
        and sentence in results["certificate"][1]
    )
    assert results["certificate"][1].endswith(": ask the coordinator for the new ca.crt")


@pytest.mark.parametrize(
    "superlink", ["localhost", "localhost:x", ":9092", "https://a:1", "::1:9092", "a:70000"]
)
def test_invalid_addresses(superlink):
    options = ["--data=a", f"--superlink={superlink}", "--root-certificates=b", "--key=c"]
    result = CliRunner().invoke(app, ["site", *options])
    assert result.exit_code == 2 and "expected HOST:PORT" in result.output


def test_valid_addresses():
    assert Address.parse("[::1]:9092") == ("::1", 9092) and str(Address.parse("[::1]:9092")) == "[::1]:9092"
    assert Address.parse("fl.example.org:1") == ("fl.example.org", 1)

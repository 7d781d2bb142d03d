"""`condi site --check`: each thing that goes wrong is told in a sentence, and all of them at once."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from flwr.common.config import parse_config_args
from tls import Authority, listening
from typer.testing import CliRunner

from client_app import connection
from client_app.connection import Address
from server_app.cli import app


def write_key(path: Path, key, form=PrivateFormat.OpenSSH, mode: int = 0o600) -> Path:
    path.write_bytes(key.private_bytes(Encoding.PEM, form, NoEncryption()))
    path.chmod(mode)
    return path


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "federation-ca")


@pytest.fixture
def site(tmp_path, federation, authority):
    """`site(server, host, **options)`: status, and what is printed by the name of each check."""
    key = write_key(tmp_path / "site.key", ec.generate_private_key(ec.SECP384R1()))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]

    def call(
        at: int, host: str = "localhost", check: bool = True, **options
    ) -> tuple[int, dict[str, tuple[str, str]]]:
        given = {
            "data": federation / "site-0",
            "superlink": f"{host}:{at}",
            "root-certificates": authority.file,
            "key": key,
            "cache": tmp_path / "cache",
            "port": free,
            "device": "cpu",
        } | {name.replace("_", "-"): value for name, value in options.items()}
        arguments = [f"--{name}={value}" for name, value in given.items()]
        done = CliRunner().invoke(app, ["site", *["--check"] * check, *arguments])
        assert not isinstance(done.exception, Exception), done.exception
        lines = [re.fullmatch(r"([✓✗!-]) (\S+) +(.*)", line) for line in done.output.splitlines()]
        return done.exit_code, {m[2]: (m[1], m[3]) for m in lines if m}

    return call


@pytest.fixture
def check(site, authority):
    """What one check of a site says whose SuperLink is well, if it is the only one that is not well."""

    def call(name: str, mark: str = "✗", **options) -> str:
        with listening(authority.server("localhost")) as port:
            status, told = site(port, **options)
        assert status == (1 if mark == "✗" else 0)
        assert {n: m for n, (m, _) in told.items() if m != "✓"} == ({name: mark} if mark != "✓" else {})
        return told[name][1]

    return call


def test_says_what_it_found_where_all_is_well(site, authority, tmp_path):
    with listening(authority.server("localhost")) as port:
        status, told = site(port)
    assert status == 0 and {mark for mark, _ in told.values()} == {"✓"}
    assert list(told) == ["data", "cache", "certificate", "key", "device", "port", "clock", "connection"]
    windows = "site-0 of waves: 8 train, 3 val, 3 test windows, 3 of 4 modalities, all values read"
    assert told["data"][1] == windows
    assert told["connection"][1].startswith(
        f"the SuperLink's certificate at localhost:{port} is good until 2"
    )
    listed = subprocess.run(["ssh-keygen", "-lf", tmp_path / "site.key"], capture_output=True, text=True)
    assert told["key"][1].split(", ")[1] in listed.stdout.split()


@pytest.mark.parametrize(
    ("hosts", "dates", "sentence"),
    [
        (["localhost"], (-9, -2), "ended on 20.*: its administrator renews it"),
        (["a.example.org", "10.0.0.1"], (-1, 9), "not for localhost but for a.example.org, 10.0.0.1: "),
    ],
)  # fmt: skip
def test_a_certificate_that_is_not_the_superlinks(site, authority, hosts, dates, sentence):
    with listening(authority.server(*hosts, first=dates[0], last=dates[1])) as port:
        status, told = site(port)
    assert status == 1 and {name for name, (mark, _) in told.items() if mark == "✗"} == {"connection"}
    assert re.search(sentence, told["connection"][1])


def test_a_superlink_of_another_authority(site, tmp_path):
    with listening(Authority(tmp_path / "other").server("localhost")) as port:
        _, told = site(port)
    assert told["connection"][0] == "✗" and "signed by another authority than" in told["connection"][1]


def test_a_superlink_whose_certificate_ends_soon(site, authority):
    with listening(authority.server("localhost", last=10)) as port:
        status, told = site(port)
    assert status == 0 and told["connection"][0] == "!"
    assert "ends in 10 days: its administrator renews it" in told["connection"][1]


def test_a_clock_that_is_behind(site, authority):
    with listening(authority.server("localhost", first=2)) as port:
        status, told = site(port)
    assert status == 1 and told["clock"][0] == "✗"
    assert re.match(
        r"it is .* by this machine, and a certificate is good only from .*: set the", told["clock"][1]
    )


@pytest.mark.parametrize("say", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_something_that_does_not_speak_tls(site, say):
    with listening(None, say=say) as port:
        status, told = site(port)
    assert status == 1 and told["connection"] == (
        "✗",
        f"localhost:{port} does not speak TLS: check the address; a SuperLink that was started with "
        "--insecure must be given certificates (condi credentials)",
    )


def test_the_port_of_another_api(site, authority):
    with listening(authority.server("localhost"), protocol="http/1.1") as port:
        _, told = site(port)
    assert told["connection"][0] == "✗" and "speaks TLS, but not gRPC" in told["connection"][1]


def test_nobody_listens(site):
    with listening(None) as port:
        pass
    assert site(port)[1]["connection"][1].startswith(f"nobody listens at localhost:{port}: is the SuperLink")


def test_nobody_answers(site, monkeypatch):
    monkeypatch.setattr(connection, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        _, told = site(silent.getsockname()[1])
    assert "does not answer within 0.2 s: does a firewall" in told["connection"][1]


def test_nobody_has_that_name(site, monkeypatch):
    def unknown(*_):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    assert site(9092, "fl.example.org")[1]["connection"][1].startswith(
        "no machine is known as fl.example.org"
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            None,
            "cannot be read (No such file or directory): give the certificate of the federation's authority",
        ),
        (lambda pem: b"hello", "is not a certificate in PEM: give the ca.crt of the federation"),
        (lambda pem: pem, "has a private key in it: a site is given ca.crt alone"),
        (lambda pem: pem[pem.index(b"-----BEGIN CERT") :], "can sign no other (CN=server): give the ca.crt"),
    ],
)
def test_a_file_that_is_no_authoritys_certificate(site, authority, tmp_path, content, sentence):
    server, file = authority.server("localhost"), tmp_path / "given.crt"
    if content:
        file.write_bytes(content(server.read_bytes()))
    with listening(server) as port:
        status, told = site(port, root_certificates=file)
    assert status == 1 and told["certificate"][0] == "✗" and sentence in told["certificate"][1]
    assert told["connection"] == ("-", f"localhost:{port} speaks gRPC over TLS; who it is cannot be verified")


@pytest.mark.parametrize(
    ("last", "mark", "sentence"), [(-2, "✗", "ended on 20"), (20, "!", "ends in 20 days")]
)
def test_an_authority_that_ends(site, tmp_path, last, mark, sentence):
    authority = Authority(tmp_path / "old", first=-9, last=last)
    with listening(authority.server("localhost")) as port:
        status, told = site(port, root_certificates=authority.file)
    assert status == (mark == "✗") and told["certificate"][0] == mark and sentence in told["certificate"][1]
    assert told["certificate"][1].endswith(": ask the coordinator for the new ca.crt")


RSA, P256 = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()


@pytest.mark.parametrize(
    ("key", "options", "sentence"),
    [
        (P256, {"mode": 0o604}, "can be read by everybody on this machine: chmod 600 "),
        (RSA, {}, "is an RSA key, and the SuperLink knows sites by elliptic-curve keys: "),
        (ED25519, {}, "is an Ed25519 key, and the SuperLink knows"),
        (P256, {"form": PrivateFormat.PKCS8}, "is not a private key in OpenSSH's format: make one by"),
        (None, {}, "is the public half of a key: give the private one, site.key"),
    ],
)  # fmt: skip
def test_a_key_that_cannot_be_used(check, tmp_path, key, options, sentence):
    file = tmp_path / "other.key"
    if key:
        write_key(file, key, **options)
    else:
        file.write_bytes(P256.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
        file.chmod(0o600)
    assert f"{file} {sentence}" in check("key", key=file)


def test_a_key_with_a_passphrase(check, tmp_path):
    file = tmp_path / "locked"
    made = ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "secret", "-f", file]
    subprocess.run(made, check=True)
    assert f"{file} has a passphrase, which nobody is asked for" in check("key", key=file)


def test_a_key_that_is_not_there(check, tmp_path):
    wanted = (
        f"{tmp_path}/x cannot be read (No such file or directory): give the site's private key (site.key)"
    )
    assert check("key", key=tmp_path / "x") == wanted


def test_a_secret_that_is_none(check, tmp_path):
    file = tmp_path / "superexec.secret"
    file.write_text("secret")
    file.chmod(0o644)
    assert "can be read by everybody" in check("secret", superexec_secret=file)
    file.chmod(0o600)
    assert "apps run in a SuperExec of their own" in check("secret", "✓", superexec_secret=file)
    file.write_text("")
    assert "is empty: give the superexec.secret" in check("secret", superexec_secret=file)


def test_whose_apps_are_run(check, tmp_path):
    file = tmp_path / "trusted.yaml"
    ed25519_line, ec_line = (
        key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        for key in (ED25519, P256)
    )
    file.write_text(f"fpk_reviewer: {ed25519_line}")
    assert check("signatures", "✓", trusted_entities=file) == "only apps signed by fpk_reviewer run here"
    for wrong in ("", "{}", "[]", "a: 3", f"a: {ec_line}", "a: [", "a: ssh-ed25519 AAAA"):
        file.write_text(wrong)  # for an empty one Flower would run everybody's
        assert "must map at least one key id to an Ed25519 public key" in check(
            "signatures", trusted_entities=file
        )


def test_a_partition_that_is_damaged(check, federation, tmp_path):
    assert "is a federation, not one site" in check("data", data=federation)
    assert "there is no partition at" in check("data", data=tmp_path / "absent")
    values = federation / "site-0" / "values" / "a.npy"
    array = np.load(values)
    array[3, 0, 0] = np.inf
    np.save(values, array)
    assert f"{values}: row 3 (record site-0-3) has an infinite value" in check(
        "data", data=federation / "site-0"
    )
    values.write_bytes(values.read_bytes()[:-4])
    assert f"{values} is damaged" in check("data", data=federation / "site-0")


def test_a_cache_that_cannot_be_written(check, tmp_path):
    (tmp_path / "file").write_text("")
    told = check("cache", cache=tmp_path / "file" / "cache")
    assert told.startswith("completed windows cannot be kept in ") and told.endswith(
        ": choose another --cache"
    )


@pytest.fixture
def cards(monkeypatch):
    """`cards(n)`: a machine with n cards of 80 GiB, of which 60 are free."""

    def have(number: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (60 * 2**30, 80 * 2**30))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
        monkeypatch.setattr(torch.version, "cuda", None)

    return have


def test_the_device_that_auto_chooses(check, cards):
    cards(0)
    threads = f"{torch.get_num_threads()} threads"
    why = f"as PyTorch {torch.__version__} is built without CUDA"
    assert check("device", "✓", device="auto") == f"auto chose cpu: {threads}, {why}"
    cards(2)
    assert (
        check("device", "✓", device="auto")
        == "auto chose cuda: a card, 60.0 of 80.0 GiB free, one of 2 cards"
    )


def test_a_device_that_is_not_there(check, cards):
    cards(0)
    wanted = "the site's device is 'cuda:0', but this machine has 0 CUDA device(s) (PyTorch "
    assert check("device", device="cuda:0").startswith(wanted)
    cards(1)
    assert check("device", "✓", device="cuda:0") == "cuda:0: a card, 60.0 of 80.0 GiB free, one of 1 card"
    assert "this machine has 1 CUDA device(s): choose by --device" in check("device", device="cuda:1")
    assert "expected auto, cpu, cuda or cuda:NUMBER" in check("device", device="gpu")


def test_a_port_that_is_taken(check):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"at 127.0.0.1:{port} (Address already in use): choose another --port" in check(
            "port", port=port
        )


def test_all_problems_at_once(site, tmp_path):
    with listening(None) as port:
        pass
    status, told = site(
        port, data=tmp_path / "a", key=tmp_path / "b", root_certificates=tmp_path / "c", device="x"
    )
    wrong = {name for name, (mark, _) in told.items() if mark == "✗"}
    assert status == 1 and wrong == {"data", "certificate", "key", "device", "connection"}


def test_becomes_a_supernode_with_absolute_paths_and_nothing_secret(site, authority, tmp_path, monkeypatch):
    became = []
    monkeypatch.setattr(os, "execve", lambda *given: became.extend(given))
    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "superexec.secret"
    secret.write_text("not for everybody")
    secret.chmod(0o600)
    with listening(authority.server("localhost")) as port:
        status, _ = site(port, check=False, cache="its = cache", superexec_secret=secret.name)
    program, command, environment = became
    assert status == 0 and program == sys.executable
    assert command[:4] == [sys.executable, "-P", "-m", "client_app.supernode"]
    node = parse_config_args([command[command.index("--node-config") + 1]])
    assert node["device"] == "cpu" and node["cache"] == str(tmp_path / "its = cache")
    assert Path(node["data"]).is_absolute()
    for flag in ("--superexec-auth-secret-file", "--auth-supernode-private-key", "--root-certificates"):
        assert Path(command[command.index(flag) + 1]).is_absolute()
    assert command[command.index("--isolation") + 1] == "process"
    told = "\n".join([*command, *environment.values()])
    assert "not for everybody" not in told and "PRIVATE KEY" not in told
    assert environment["FLWR_TELEMETRY_ENABLED"] == "0" and environment["FLWR_DISABLE_UPDATE_CHECK"] == "1"
    assert environment["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"


def test_refuses_a_path_that_the_node_config_cannot_hold(site):
    status, _ = site(9092, cache='a"b')
    assert status == 2


@pytest.mark.parametrize(
    "superlink", ["localhost", "localhost:x", ":9092", "https://a:1", "::1:9092", "a:70000"]
)
def test_an_address_that_is_none(superlink):
    given = ["--data=a", f"--superlink={superlink}", "--root-certificates=b", "--key=c"]
    done = CliRunner().invoke(app, ["site", *given])
    assert done.exit_code == 2 and "expected HOST:PORT" in done.output


def test_addresses_that_are_some():
    assert Address.parse("[::1]:9092") == ("::1", 9092) and str(Address.parse("[::1]:9092")) == "[::1]:9092"
    assert Address.parse("fl.example.org:1") == ("fl.example.org", 1)

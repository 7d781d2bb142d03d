"""`condi site` and what it checks on its machine: every problem is reported, all of them at once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, PublicFormat
from flwr.common.config import parse_config_args
from typer.testing import CliRunner

from client_app.node.audit_log import append_entry
from server_app.cli import app
from tests.helpers.tls import listening, write_key


@pytest.fixture
def check(site, authority):
    """`check(name, mark)`: the text of the only check with that mark, with a SuperLink that works."""

    def call(name: str, mark: str = "✗", **options) -> str:
        with listening(authority.server("localhost")) as port:
            status, results = site(port, **options)
        assert status == (1 if mark == "✗" else 0)
        assert {n: m for n, (m, _) in results.items() if m != "✓"} == ({name: mark} if mark != "✓" else {})
        return results[name][1]

    return call


def test_reports_results_when_all_checks_pass(site, authority, tmp_path):
    with listening(authority.server("localhost")) as port:
        status, results = site(port)
    assert status == 0 and {mark for mark, _ in results.values()} == {"✓"}
    names = "data cache policy audit certificate key device port clock connection"
    assert list(results) == names.split()
    windows = "site-0 of waves: 8 train, 3 val, 3 test windows, 3 of 4 modalities; all values were read"
    assert results["data"][1] == windows
    assert results["connection"][1].startswith(
        f"the SuperLink's certificate at localhost:{port} is valid until 2"
    )
    listed = subprocess.run(["ssh-keygen", "-lf", tmp_path / "site.key"], capture_output=True, text=True)
    assert results["key"][1].split(", ")[1] in listed.stdout.split()


RSA, P256 = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()


@pytest.mark.parametrize(
    ("key", "options", "sentence"),
    [
        (P256, {"mode": 0o604}, "can be read by all users of this machine: run chmod 600 "),
        (RSA, {}, "is an RSA key, but the SuperLink knows sites by elliptic-curve keys: "),
        (ED25519, {}, "is an Ed25519 key, but the SuperLink knows"),
        (P256, {"form": PrivateFormat.PKCS8}, "is not a private key in OpenSSH's format: make one by"),
        (None, {}, "is the public half of a key: give the private half, site.key"),
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
    command = ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "secret", "-f", file]
    subprocess.run(command, check=True)
    assert f"{file} has a passphrase, which the node cannot ask for" in check("key", key=file)


def test_a_missing_key(check, tmp_path):
    expected = (
        f"{tmp_path}/x cannot be read (No such file or directory): give the site's private key (site.key)"
    )
    assert check("key", key=tmp_path / "x") == expected


def test_an_unusable_secret(check, tmp_path):
    file = tmp_path / "superexec.secret"
    file.write_text("secret")
    file.chmod(0o644)
    assert "can be read by all users" in check("secret", superexec_secret=file)
    file.chmod(0o600)
    assert "apps run in a separate SuperExec" in check("secret", "✓", superexec_secret=file)
    file.write_text("")
    assert "is empty: give the superexec.secret" in check("secret", superexec_secret=file)


def test_trusted_keys(check, tmp_path):
    file = tmp_path / "trusted.yaml"
    ed25519_line, ec_line = (
        key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        for key in (ED25519, P256)
    )
    file.write_text(f"fpk_reviewer: {ed25519_line}")
    assert check("signatures", "✓", trusted_entities=file) == "only apps signed by fpk_reviewer run here"
    for wrong in ("", "{}", "[]", "a: 3", f"a: {ec_line}", "a: [", "a: ssh-ed25519 AAAA"):
        file.write_text(wrong)  # with an empty file Flower would run any app
        assert "must map at least one key id to an Ed25519 public key" in check(
            "signatures", trusted_entities=file
        )


def test_a_damaged_partition(check, federation, tmp_path):
    assert "is a federation, not one site" in check("data", data=federation)
    assert "there is no partition at" in check("data", data=tmp_path / "missing")
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
    text = check("cache", cache=tmp_path / "file" / "cache")
    assert text.startswith("completed windows cannot be written to ") and text.endswith(
        ": choose another --cache"
    )


def test_the_policy_of_the_site(check, tmp_path):
    assert check("policy", "✓").startswith(
        "the default policy: counts of fewer than 10 patients are withheld;"
    )
    file = tmp_path / "policy.toml"
    result = CliRunner().invoke(app, ["site", "--write-policy", str(file)])
    assert result.exit_code == 0 and result.output == (
        f"Written: {file}. Edit it, and give it to condi site by --policy.\n"
    )
    assert check("policy", "✓", policy=file).startswith(f"{file}: counts of fewer than 10 patients")
    file.write_text('accepted-apps = "any"')
    assert "a coordinator's code can do anything that this process can" in check("policy", "!", policy=file)
    noise = "update-clip-norm = 0.5\nupdate-noise-multiplier = 1.0\nrounds-per-run = 8"
    file.write_text(noise)
    assert check("policy", "✓", policy=file).endswith(
        "updates have a norm of at most 0.5 and noise 1: epsilon of all data of this site is 10 for one "
        "update and 39.4 for 8, at delta 1e-05"
    )
    file.write_text('hours = "x"')
    assert check("policy", policy=file).startswith(f"{file}, line 1: `hours`: expected hours such as")
    assert CliRunner().invoke(app, ["site", "--write-policy", str(file)]).exit_code == 1
    assert file.read_text() == 'hours = "x"'


def test_an_audit_log_that_was_changed_or_cannot_be_written(check, tmp_path):
    log = tmp_path / "logs" / "north.jsonl"
    assert check("audit", "✓", audit=log) == f"{log} begins with the first run"
    last = append_entry(log, "start")
    assert check("audit", "✓", audit=log) == f"{log}: 1 entries, last hash {last}"
    log.write_text(log.read_text() + log.read_text())
    assert check("audit", audit=log).startswith(f"{log}, line 2: the line before it is not the one")
    assert "choose another --audit" in check("audit", audit=tmp_path / "site.key" / "log")


@pytest.fixture
def gpus(monkeypatch):
    """`gpus(n)`: a machine with n GPUs of 80 GiB, of which 60 are free."""

    def install(number: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (60 * 2**30, 80 * 2**30))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
        monkeypatch.setattr(torch.version, "cuda", None)

    return install


def test_the_device_that_auto_chooses(check, gpus):
    gpus(0)
    threads = f"{torch.get_num_threads()} threads"
    reason = f"as PyTorch {torch.__version__} is built without CUDA"
    assert check("device", "✓", device="auto") == f"auto chose cpu: {threads}, {reason}"
    gpus(2)
    assert (
        check("device", "✓", device="auto") == "auto chose cuda: a GPU, 60.0 of 80.0 GiB free, one of 2 GPUs"
    )


def test_an_unavailable_device_is_reported(check, gpus):
    gpus(0)
    expected = "the site's device is 'cuda:0', but this machine has 0 CUDA device(s) (PyTorch "
    assert check("device", device="cuda:0").startswith(expected)
    gpus(1)
    assert check("device", "✓", device="cuda:0") == "cuda:0: a GPU, 60.0 of 80.0 GiB free, one of 1 GPU"
    assert "this machine has 1 CUDA device(s): choose another --device" in check("device", device="cuda:1")
    assert "expected auto, cpu, cuda or cuda:NUMBER" in check("device", device="gpu")


def test_a_port_that_is_taken(check):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"at 127.0.0.1:{port} (Address already in use): choose another --port" in check(
            "port", port=port
        )


def test_all_problems_are_reported_at_once(site, tmp_path):
    with listening(None) as port:
        pass
    status, results = site(
        port, data=tmp_path / "a", key=tmp_path / "b", root_certificates=tmp_path / "c", device="x"
    )
    failed = {name for name, (mark, _) in results.items() if mark == "✗"}
    assert status == 1 and failed == {"data", "certificate", "key", "device", "connection"}


def test_becomes_a_supernode_with_absolute_paths_and_without_secrets(site, authority, tmp_path, monkeypatch):
    execve_arguments = []
    monkeypatch.setattr(os, "execve", lambda *arguments: execve_arguments.extend(arguments))
    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "superexec.secret"
    secret.write_text("a secret")
    secret.chmod(0o600)
    with listening(authority.server("localhost")) as port:
        options = {"superexec_secret": secret.name, "audit": "log.jsonl"}
        status, _ = site(port, check=False, cache="its = cache", **options)
    program, command, environment = execve_arguments
    assert status == 0 and program == sys.executable
    assert command[:4] == [sys.executable, "-P", "-m", "client_app.join.supernode"]
    node = parse_config_args([command[command.index("--node-config") + 1]])
    assert node["device"] == "cpu" and node["cache"] == str(tmp_path / "its = cache")
    assert Path(node["data"]).is_absolute()
    for flag in (
        "--superexec-auth-secret-file",
        "--auth-supernode-private-key",
        "--root-certificates",
        "--audit",
    ):
        assert Path(command[command.index(flag) + 1]).is_absolute()
    assert command[command.index("--isolation") + 1] == "process"
    text = "\n".join([*command, *environment.values()])
    assert "a secret" not in text and "PRIVATE KEY" not in text
    assert environment["FLWR_TELEMETRY_ENABLED"] == "0" and environment["FLWR_DISABLE_UPDATE_CHECK"] == "1"
    assert environment["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"


def test_refuses_a_path_that_the_node_config_cannot_hold(site):
    status, _ = site(9092, cache='a"b')
    assert status == 2

"""`condi site --check` of a small site, and the authority that signs certificates."""

from __future__ import annotations

import re
import socket

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from server_app.cli import app
from tests.helpers.tls import Authority, write_key


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "federation-ca")


@pytest.fixture
def site(tmp_path, federation, authority):
    """`site(port, host, **options)`: exit status, and mark and text of each check by name."""
    key = write_key(tmp_path / "site.key", ec.generate_private_key(ec.SECP384R1()))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free_port = probe.getsockname()[1]

    def call(
        superlink_port: int, host: str = "localhost", check: bool = True, **options
    ) -> tuple[int, dict[str, tuple[str, str]]]:
        defaults = {
            "data": federation / "site-0",
            "superlink": f"{host}:{superlink_port}",
            "root-certificates": authority.file,
            "key": key,
            "cache": tmp_path / "cache",
            "audit": tmp_path / "audit" / "log.jsonl",
            "port": free_port,
            "device": "cpu",
        }
        settings = defaults | {name.replace("_", "-"): value for name, value in options.items()}
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        result = CliRunner().invoke(app, ["site", *["--check"] * check, *arguments])
        assert not isinstance(result.exception, Exception), result.exception
        lines = [re.fullmatch(r"([✓✗!-]) (\S+) +(.*)", line) for line in result.output.splitlines()]
        return result.exit_code, {m[2]: (m[1], m[3]) for m in lines if m}

    return call

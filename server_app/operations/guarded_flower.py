"""Flower's SuperLink and SuperExec on loopback, for the one user who has their secrets.

`FlowerProcesses` starts this file by its path, so that it needs no search path:

    python -P guarded_flower.py superlink|superexec SECRET OPTIONS

All users of a machine reach its loopback device. In Flower 1.39, accounts of a SuperLink need a service that
is not part of it, and tokens of tasks are on command lines, which all users can read. Here, SECRET is a file
whose content each request to the Control API has to bring (superlink), or a private folder in which tokens
are handed over (superexec).
"""

from __future__ import annotations

import hmac
import importlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def write_operator_token(token: str, address: str, flower_home: Path) -> None:
    """Store a token with which the `flwr` commands of this Flower home talk to the SuperLink at `address`."""
    from flwr.cli.constant import ACCESS_TOKEN_STORE_KEY, AUTHN_TYPE_STORE_KEY, REFRESH_TOKEN_STORE_KEY
    from flwr.common.constant import AuthnType
    from flwr.supercore.credential_store.file_credential_store import FileCredentialStore

    store = FileCredentialStore(flower_home / "credentials.yaml")
    store.set(AUTHN_TYPE_STORE_KEY % address, AuthnType.OIDC.encode())
    for key in (ACCESS_TOKEN_STORE_KEY, REFRESH_TOKEN_STORE_KEY):
        store.set(key % address, token.encode())


def require_token(token: str) -> None:
    """Make the SuperLink of this process refuse requests to its Control API that do not bring the token."""
    from flwr.common.constant import ACCESS_TOKEN_KEY
    from flwr.supercore.auth.typing import AccountInfo
    from flwr.supercore.utils import get_metadata_str
    from flwr.superlink.auth_plugin import NoOpControlAuthnPlugin

    Metadata = Sequence[tuple[str, str | bytes]]

    class TokenAuthentication(NoOpControlAuthnPlugin):
        def validate_tokens_in_metadata(self, metadata: Metadata) -> tuple[bool, AccountInfo | None]:
            given = get_metadata_str(metadata, ACCESS_TOKEN_KEY) or ""
            if not hmac.compare_digest(given.encode(), token.encode()):
                return False, None
            return super().validate_tokens_in_metadata(metadata)

        def refresh_tokens(self, metadata: Metadata) -> tuple[Metadata | None, AccountInfo | None]:
            return None, None

    _replace("flwr.superlink.cli.flower_superlink", "load_control_authn_plugin", TokenAuthentication)


def hand_tokens_over_in(folder: Path) -> None:
    """Make the SuperExec of this process give tokens to the processes of tasks in files of a folder."""

    def start(arguments: list[str], **options: Any) -> subprocess.Popen:
        position = arguments.index("--token")
        # Only its owner can read such a file.
        with tempfile.NamedTemporaryFile("w", prefix="token-", dir=folder, delete=False) as file:
            file.write(arguments[position + 1])
        arguments[position : position + 2] = ["--token-file", file.name]
        return subprocess.Popen(arguments, **options)

    module = "flwr.supercore.superexec.executor.subprocess_executor"
    _replace(module, "subprocess", SimpleNamespace(Popen=start, DEVNULL=subprocess.DEVNULL))


def _replace(module: str, name: str, value: object) -> None:
    """Replace what a module of Flower uses, which has to be there: otherwise there would be no guard."""
    loaded = importlib.import_module(module)
    getattr(loaded, name)
    setattr(loaded, name, value)


if __name__ == "__main__":
    program, secret, *options = sys.argv[1:]
    if program == "superlink":
        require_token(Path(secret).read_text())
    else:
        hand_tokens_over_in(Path(secret))
    sys.argv = [f"flower-{program}", *options]
    (command,) = entry_points(group="console_scripts", name=f"flower-{program}")
    command.load()()

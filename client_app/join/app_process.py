"""The process of an app: how it starts, and what is reported when it ends without doing so itself."""

from __future__ import annotations

import argparse
import hashlib
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

# Flower's apps ask 20 s apart whether they are still wanted. A node answers no other message before that.
HEARTBEAT_SECONDS = 3.0


def run_client_app(command: Sequence[str]) -> None:
    """Run `flwr-clientapp` in this process, which ends within seconds when its node gives up.

    Parameters
    ----------
    command : the command line; its first element is `flwr-clientapp`
    """
    from flwr.supercore import heartbeat
    from flwr.supernode.runtime import run_clientapp

    interval = heartbeat.HEARTBEAT_CALL_TIMEOUT + HEARTBEAT_SECONDS / heartbeat.HEARTBEAT_BASE_MULTIPLIER
    heartbeat.HEARTBEAT_DEFAULT_INTERVAL = interval  # type: ignore[assignment]  # of seconds
    run_clientapp.install_from_fab = install_once  # type: ignore[assignment]  # which is called so
    # The app brings its own client_app, which would not be loaded beside the installed one.
    for module in [name for name in sys.modules if name.partition(".")[0] == "client_app"]:
        del sys.modules[module]
    import_module("numpy").random.seed()  # Otherwise all forks would have the same state.
    sys.argv = list(command)
    (entry_point,) = entry_points(group="console_scripts", name=command[0])
    entry_point.load()()


def install_once(fab: bytes, skip_prompt: bool = True) -> Path:
    """Install an app, unless its folder exists.

    For each message, Flower unpacks and hashes all files of the app, and then uses such a folder as it is.

    Parameters
    ----------
    fab : content of the file of the app
    skip_prompt : as Flower's function has it

    Returns
    -------
    Path, the folder of the app
    """
    from flwr.cli.install import install_from_fab
    from flwr.common.constant import APP_DIR, FAB_HASH_TRUNCATION
    from flwr.supercore.utils import get_flwr_home

    digest = hashlib.sha256(fab).hexdigest()[:FAB_HASH_TRUNCATION]
    present = sorted((get_flwr_home() / APP_DIR).glob(f"*.{digest}"))
    return present[0] if present else install_from_fab(fab, skip_prompt=skip_prompt)


def describe_end(status: int) -> str:
    """Return how a process has ended, as the end of a sentence.

    Parameters
    ----------
    status : as of `subprocess.Popen.returncode`: negative for a signal
    """
    if status == -signal.SIGKILL:
        return "was killed, most often because memory ran out"
    if status < 0:
        names = {number.value: number.name for number in signal.Signals}
        return f"was ended by signal {-status} ({names.get(-status, 'unknown')})"
    return f"ended with status {status}"


def report_end(command: Sequence[str], status: int) -> None:
    """Tell the node or SuperLink of an app how its process has ended; otherwise they would wait for it.

    An app that ends by itself has reported that before. This report is refused then, which does not matter.

    Parameters
    ----------
    command : the command line of the app
    status : as of `subprocess.Popen.returncode`; nothing is reported for 0
    """
    if not status:
        return
    from flwr.common.constant import SubStatus
    from flwr.proto.runtime_pb2 import PushTaskOutputRequest
    from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, RuntimeVersionHttpInterceptor
    from flwr.supercore.runtime import RuntimeHttpClient

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("--runtime-api-address", "--token"):
        parser.add_argument(option, required=True)
    parser.add_argument("--insecure", action="store_true")
    parser.add_argument("--root-certificates", type=Path)
    options = parser.parse_known_args(command[1:])[0]
    with suppress(Exception):  # The node or SuperLink may have ended as well.
        certificates = options.root_certificates and options.root_certificates.read_bytes()
        client = RuntimeHttpClient.from_server_address(
            options.runtime_api_address,
            options.insecure,
            certificates,
            [
                RuntimeVersionHttpInterceptor(component_name=command[0]),
                RuntimeTokenHttpInterceptor(options.token),
            ],
        )
        details = f"the app's process {describe_end(status)}"
        client.PushTaskOutput(PushTaskOutputRequest(sub_status=SubStatus.FAILED, details=details))


if __name__ == "__main__":
    run_client_app(sys.argv[1:])

"""`condi site` against a real SuperLink with TLS and registered sites."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.helpers import hospitals
from tests.helpers.hospitals import TIMEOUT_SECONDS, wait_for

pytestmark = pytest.mark.deployment


@pytest.fixture
def coordinator(tmp_path):
    with hospitals.coordinator(tmp_path / "credentials") as started:
        yield started


def superexec_of(node: int) -> int | None:
    """Return the process that a node has started to start apps."""
    children = Path(f"/proc/{node}/task").glob("*/children")
    for child in " ".join(file.read_text() for file in children).split():
        if b"client_app.join.superexec" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    return None


def registry(coordinator: hospitals.Coordinator, *options: str, status: int = 0) -> str:
    """Return what `condi registry` prints."""
    command = ["condi", "registry", "--superlink", f"localhost:{coordinator.api}"]
    command += ["--root-certificates", str(coordinator.credentials / "ca.crt"), *options]
    ended = subprocess.run(command, env=coordinator.flower.env, capture_output=True, text=True)
    assert ended.returncode == status, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def test_a_site_is_refused_until_it_is_registered_and_then_becomes_the_node(coordinator, federation):
    data = federation / "site-0"
    refused = coordinator.start("site-0", data)
    process, log = refused.process, refused.log_path
    assert process.wait(TIMEOUT_SECONDS) == 1
    *_, last = [line for line in log.read_text().splitlines() if "ERROR" in line]
    assert "The SuperLink does not accept this site's key. Either it is not registered there" in last
    assert "Exit Code" not in log.read_text() and "Traceback" not in log.read_text()

    assert "no SuperLink registers a key twice, so make a new one" in last

    key = coordinator.credentials / "sites" / "site-0" / "site.pub"
    assert "Registered: site-0." in registry(coordinator, "--register", f"site-0={key}")
    joined = coordinator.start("site-0", data)
    process, log = joined.process, joined.log_path
    wait_for(lambda: "SuperNode ID" in log.read_text(), log)
    command = Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")
    # The process that was started as `condi site` has this command now.
    assert command[2:4] == ["-m", "client_app.join.supernode"]
    assert re.search(r"^site-0 +online ", registry(coordinator), re.M)

    killed = superexec_of(process.pid)
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: superexec_of(process.pid) not in {killed, None}, log)
    cause = "was killed, most often because memory ran out"
    assert f"The process that starts apps {cause}; it is started again." in log.read_text()

    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_SECONDS) == 0
    assert "SuperNode terminated gracefully." in log.read_text()
    assert re.search(r"^site-0 +offline ", registry(coordinator, "--unregister", "site-0"), re.M) is None
    refused = registry(coordinator, "--register", f"site-0={key}", status=1)
    assert (
        "Error: site-0 cannot be registered: the SuperLink has had this key before, and registers no"
        in refused
    )


def test_a_clock_that_the_superlink_does_not_accept(coordinator, federation):
    coordinator.register("site-0")
    patches = coordinator.flower.folder / "patches"
    patches.mkdir()
    (patches / "sitecustomize.py").write_text(
        "import datetime, sys\n"
        "if 'client_app.join.supernode' in sys.orig_argv:\n"
        "    import flwr.client.grpc_rere_client.node_auth_client_interceptor as signing\n"
        "    real = signing.now\n"
        "    signing.now = lambda: real() + datetime.timedelta(seconds=7)\n"
    )
    coordinator.flower.env["PYTHONPATH"] = str(patches)
    refused = coordinator.start("site-0", federation / "site-0")
    assert refused.process.wait(TIMEOUT_SECONDS) == 1, refused.log
    assert "The SuperLink refuses this node. At the start the reason is the clock" in refused.log

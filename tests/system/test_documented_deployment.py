"""The commands of docs/deployment.md that try a federation on one machine, as they stand there."""

import os
import re
import subprocess
import sysconfig

import pytest

from server_app.operations.flower_processes import free_port
from tests.helpers.run_settings import PROJECT

pytestmark = pytest.mark.deployment

PORTS = ("8000", "9092", "9094", "9095")


@pytest.mark.timeout(1200)
def test_the_commands_to_try_a_federation_run_in_order_in_an_empty_folder(tmp_path):
    section = (PROJECT / "docs" / "deployment.md").read_text().partition("### To try it on one machine")[2]
    commands = re.search(r"```bash\n(.*?)```", section, re.S)[1]
    for port in PORTS:  # another user of this machine may have these
        commands = commands.replace(port, str(free_port()))
    environment = os.environ | {
        "HOME": str(tmp_path),
        "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]),
        "PYTHONPATH": "",
        "OMP_NUM_THREADS": "1",
    }
    folder = tmp_path / "empty"
    folder.mkdir()
    script = f"trap 'kill $(jobs -p); wait' EXIT\nset -e\n{commands}"
    ended = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=1000
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"^hospital-0 +registered ", ended.stdout, re.M), ended.stdout
    assert (folder / "runs" / "trial" / "result.json").exists()
    assert re.search(r"^ *mask: zeros and the mask +0\.\d{3} ", ended.stdout, re.M), (
        ended.stdout
    )  # not withheld
    assert "flower.ai" not in "".join(file.read_text() for file in folder.glob("*.log"))

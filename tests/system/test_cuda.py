"""Sites with a CUDA card: the numbers of a processor, and room for all who share the card.

Skipped where there is none.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from client_app.device import describe_device
from tests.helpers.hospitals import coordinator, wait_for

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

SITES = ["site-0", "site-1", "site-2"]
MODELS = ("imputer", "task-condi", "task-mask")


def apart(one: Path, two: Path) -> dict[str, float]:
    """How far the models of two runs are apart, as a share of how long their weights are."""
    found = {}
    for model in MODELS:
        a, b = (load_file(run / f"{model}.safetensors") for run in (one, two))
        a, b = (np.concatenate([w[name].ravel() for name in sorted(a)]) for w in (a, b))
        found[model] = float(np.linalg.norm(a - b) / np.linalg.norm(a))
    print(found)
    return found


def scores(run: Path) -> np.ndarray:
    """All numbers of a run's test scores."""

    def numbers(of):
        if isinstance(of, dict):
            return [x for key in sorted(of) for x in numbers(of[key])]
        return [x for part in of for x in numbers(part)] if isinstance(of, list) else [of]

    told = numbers(json.loads((run / "result.json").read_text()))
    return np.array([x for x in told if isinstance(x, float)])


@pytest.fixture
def on_processors(run_local, federation):
    directory, _ = run_local(federation, {"compare-with": "mask", "name": "processors"})
    return directory.path


def test_a_card_and_a_processor_come_to_the_same_run(run_local, federation, on_processors):
    directory, _ = run_local(federation, {"compare-with": "mask", "name": "card"}, device="cuda")
    assert max(apart(directory.path, on_processors).values()) < 1e-4
    np.testing.assert_allclose(scores(directory.path), scores(on_processors), atol=2e-3)


@pytest.mark.engine
def test_a_simulation_shares_out_the_card(federation, on_processors, small_settings, tmp_path):
    places = ("federation", "output", "name", "resume")
    pairs = {k: v for k, v in small_settings({"compare-with": "mask"}).items() if k not in places}
    command = [
        Path(sys.executable).with_name("condi"), "run", "--federation", federation, "--out", tmp_path,
        "--name", "shared", "--nodes", "2", "--gpus-per-node", "0.5",
        "-c", " ".join(f"{key}={json.dumps(value)}" for key, value in pairs.items()),
    ]  # fmt: skip
    done = subprocess.run([*map(str, command)], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr + done.stdout
    assert max(apart(tmp_path / "shared", on_processors).values()) < 1e-4


@pytest.mark.deployment
def test_hospitals_with_and_without_a_card_are_one_federation(federation, on_processors, settings, tmp_path):
    devices = ["cuda:0", "auto", "cpu"]  # two on one card
    with coordinator(tmp_path / "keys", SITES) as made:
        for site, device in zip(SITES, devices, strict=True):
            made.register(site)
            made.start(site, federation / site, "--device", device)
        wait_for(lambda: made.online() == set(SITES), *(site.log_path for site in made.started))
        run = made.run(settings(compare_with="mask", min_sites=3, name="mixed"))
        assert made.wait(run, 400) == "finished:completed", made.log(run)
        logs = [site.log for site in made.started]
    assert all(torch.cuda.get_device_name() in log for log in logs[:2]), logs
    assert max(apart(tmp_path / "runs" / "mixed", on_processors).values()) < 1e-4


def test_two_sites_that_each_need_most_of_a_card_both_get_it():
    """Each goes on for a while after its turn, as a client process does that sends its reply."""
    work = """if True:
        import time, torch
        from client_app.device import exclusive_use
        with exclusive_use(torch.device("cuda:0")):
            total = torch.cuda.mem_get_info()[1]
            held = torch.zeros(int(0.6 * total) // 4, device="cuda:0")
            assert held[-1] == 0
            time.sleep(1)
            del held
        time.sleep(10)
    """
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    both = [subprocess.Popen([sys.executable, "-c", work], env=env) for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]


def test_what_auto_chose_and_how_much_is_free_is_told():
    said = describe_device("auto")
    assert said.startswith(f"auto chose cuda: {torch.cuda.get_device_name()}") and "GiB free" in said

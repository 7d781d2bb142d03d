"""Sites with a GPU: they give the numbers of a CPU, and several sites can share the GPU.

Skipped on machines without a CUDA device.
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


def weight_distances(first: Path, second: Path) -> dict[str, float]:
    """Return the distance of the models of two runs, relative to the norm of their weights."""
    distances = {}
    for model in MODELS:
        a, b = (load_file(run / f"{model}.safetensors") for run in (first, second))
        a, b = (np.concatenate([w[name].ravel() for name in sorted(a)]) for w in (a, b))
        distances[model] = float(np.linalg.norm(a - b) / np.linalg.norm(a))
    print(distances)
    return distances


def scores(run: Path) -> np.ndarray:
    """Return all numbers of a run's test scores."""

    def collect_numbers(content):
        if isinstance(content, dict):
            return [x for key in sorted(content) for x in collect_numbers(content[key])]
        if isinstance(content, list):
            return [x for part in content for x in collect_numbers(part)]
        return [content]

    numbers = collect_numbers(json.loads((run / "result.json").read_text()))
    return np.array([x for x in numbers if isinstance(x, float)])


@pytest.fixture
def cpu_run(run_local, federation):
    directory, _ = run_local(federation, {"compare-with": "mask", "name": "cpu"})
    return directory.path


def test_a_gpu_and_a_cpu_give_the_same_run(run_local, federation, cpu_run):
    directory, _ = run_local(federation, {"compare-with": "mask", "name": "gpu"}, device="cuda")
    assert max(weight_distances(directory.path, cpu_run).values()) < 1e-4
    np.testing.assert_allclose(scores(directory.path), scores(cpu_run), atol=2e-3)


@pytest.mark.engine
def test_the_nodes_of_a_simulation_share_a_gpu(federation, cpu_run, small_settings, tmp_path):
    path_settings = ("federation", "output", "name", "resume")
    pairs = {k: v for k, v in small_settings({"compare-with": "mask"}).items() if k not in path_settings}
    command = [
        Path(sys.executable).with_name("condi"), "run", "--federation", federation, "--out", tmp_path,
        "--name", "shared", "--nodes", "2", "--gpus-per-node", "0.5",
        "-c", " ".join(f"{key}={json.dumps(value)}" for key, value in pairs.items()),
    ]  # fmt: skip
    done = subprocess.run([*map(str, command)], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr + done.stdout
    assert max(weight_distances(tmp_path / "shared", cpu_run).values()) < 1e-4


@pytest.mark.deployment
def test_hospitals_with_and_without_a_gpu_form_one_federation(federation, cpu_run, settings, tmp_path):
    devices = ["cuda:0", "auto", "cpu"]  # two sites on one GPU
    with coordinator(tmp_path / "keys", SITES) as running:
        for site, device in zip(SITES, devices, strict=True):
            running.register(site)
            running.start(site, federation / site, "--device", device)
        wait_for(lambda: running.online() == set(SITES), *(site.log_path for site in running.started))
        run = running.run(settings(compare_with="mask", min_sites=3, name="mixed"))
        assert running.wait(run, 400) == "finished:completed", running.log(run)
        logs = [site.log for site in running.started]
    assert all(torch.cuda.get_device_name() in log for log in logs[:2]), logs
    assert max(weight_distances(tmp_path / "runs" / "mixed", cpu_run).values()) < 1e-4


def test_two_sites_that_each_need_most_of_a_gpu_use_it_in_turn():
    """Each process runs on for a while after its turn, like a client process that sends its reply."""
    work = """if True:
        import time, torch
        from client_app.device import exclusive_use
        with exclusive_use(torch.device("cuda:0")):
            total = torch.cuda.mem_get_info()[1]
            memory = torch.zeros(int(0.6 * total) // 4, device="cuda:0")
            assert memory[-1] == 0
            time.sleep(1)
            del memory
        time.sleep(10)
    """
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    both = [subprocess.Popen([sys.executable, "-c", work], env=env) for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]


def test_the_device_that_auto_chose_and_its_free_memory_are_described():
    text = describe_device("auto")
    assert text.startswith(f"auto chose cuda: {torch.cuda.get_device_name()}") and "GiB free" in text

"""Sites that share a GPU."""

import threading
import time

import pytest
import torch

from client_app import device


@pytest.fixture
def max_simultaneous(monkeypatch, tmp_path):
    """`max_simultaneous(gpus)`: most sites that computed at the same time, one on each GPU of the list."""
    monkeypatch.setattr(device.os, "access", lambda *_: False)
    monkeypatch.setattr(device.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(device, "_gpu_uuid", lambda gpu: gpu)

    def run_sites(gpus):
        inside, counts = set(), []

        def work(number, gpu):
            with device.exclusive_use(gpu):
                inside.add(number)
                counts.append(len(inside))
                time.sleep(0.05)
                inside.discard(number)

        threads = [threading.Thread(target=work, args=each) for each in enumerate(gpus)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return max(counts)

    return run_sites


def test_sites_on_one_gpu_take_turns(max_simultaneous):
    assert max_simultaneous(["a"] * 4) == 1


def test_sites_on_different_gpus_or_on_cpus_do_not_wait(max_simultaneous):
    assert max_simultaneous(["a", "b"]) == 2
    assert max_simultaneous([None] * 3) == 3


def test_a_cpu_has_no_uuid():
    assert device._gpu_uuid(torch.device("cpu")) is None

"""Sites that share a GPU."""

import threading
import time

import pytest
import torch

from client_app import device


@pytest.fixture
def together(monkeypatch, tmp_path):
    """`together(gpus)`: how many sites computed at the same time at most, each on the GPU named."""
    monkeypatch.setattr(device.os, "access", lambda *_: False)
    monkeypatch.setattr(device.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(device, "_gpu_uuid", lambda gpu: gpu)

    def max_simultaneous(gpus):
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

    return max_simultaneous


def test_sites_on_one_gpu_take_turns(together):
    assert together(["a"] * 4) == 1


def test_sites_on_different_gpus_or_on_cpus_do_not_wait(together):
    assert together(["a", "b"]) == 2
    assert together([None] * 3) == 3


def test_a_cpu_has_no_uuid():
    assert device._gpu_uuid(torch.device("cpu")) is None

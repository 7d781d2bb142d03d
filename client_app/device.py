"""The device that a site computes on."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from condi_core.config import ConfigError


def find_device(name: str) -> torch.device:
    """Find the device of a name.

    Parameters
    ----------
    name : str
        "auto", "cpu", "cuda" or "cuda:NUMBER"; "auto" is the GPU if this machine has one.

    Raises
    ------
    ConfigError
        When the name is none of these, or this machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or not (number or "0").isdigit() or (kind == "cpu" and number):
        raise ConfigError(f"the site's device is '{name}': expected auto, cpu, cuda or cuda:NUMBER")
    if kind == "cuda" and int(number or 0) >= (num_gpus := torch.cuda.device_count()):
        reason = "" if num_gpus else f" ({explain_missing_cuda()})"
        raise ConfigError(
            f"the site's device is '{name}', but this machine has {num_gpus} CUDA device(s){reason}"
        )
    return torch.device(name)


def explain_missing_cuda() -> str:
    """Explain briefly why PyTorch finds no CUDA device."""
    if torch.version.cuda is None:
        return f"PyTorch {torch.__version__} is built without CUDA"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error).split(". ")[0]
    return "none is visible"


@contextmanager
def exclusive_use(device: torch.device) -> Iterator[None]:
    """Let sites that share a GPU of this machine use it one after the other, so that its memory suffices."""
    if (uuid := _gpu_uuid(device)) is None:
        yield
        return
    # A systemd service with PrivateTmp has a temporary folder that no other process sees.
    shared = "/run/lock" if os.access("/run/lock", os.W_OK) else tempfile.gettempdir()
    path = Path(shared) / f"condi-{uuid}.lock"
    try:
        file = os.open(path, os.O_RDONLY)  # The file may belong to another user.
    except FileNotFoundError:
        file = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        torch.cuda.empty_cache()  # The next site needs the memory; this process may take a while to end.
        os.close(file)


def _gpu_uuid(device: torch.device) -> str | None:
    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else None


def describe_device(name: str) -> str:
    """Describe the device of a name, with the free memory of a GPU; raises the errors of `find_device`."""
    device = find_device(name)
    prefix = f"auto chose {device}: " if name == "auto" else f"{device}: "
    if device.type == "cpu":
        reason = f", as {explain_missing_cuda()}" if name == "auto" else ""
        return f"{prefix}{torch.get_num_threads()} threads{reason}"
    free, total = torch.cuda.mem_get_info(device)
    num_gpus = torch.cuda.device_count()
    return (
        f"{prefix}{torch.cuda.get_device_name(device)}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free, "
        f"one of {num_gpus} GPU{'s' * (num_gpus > 1)}"
    )

"""The device a site computes on."""

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
    """The device of that name: auto, cpu, cuda or cuda:0; ConfigError when there is none such."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or not (number or "0").isdigit() or (kind == "cpu" and number):
        raise ConfigError(f"the site's device is '{name}': expected auto, cpu, cuda or cuda:NUMBER")
    if kind == "cuda" and int(number or 0) >= (cards := torch.cuda.device_count()):
        why = "" if cards else f" ({why_no_cuda()})"
        raise ConfigError(f"the site's device is '{name}', but this machine has {cards} CUDA device(s){why}")
    return torch.device(name)


def why_no_cuda() -> str:
    """Why PyTorch finds no CUDA device, in a few words."""
    if torch.version.cuda is None:
        return f"PyTorch {torch.__version__} is built without CUDA"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error).split(". ")[0]
    return "none is visible"


@contextmanager
def exclusive_use(device: torch.device) -> Iterator[None]:
    """Sites that share a card of a machine take turns, so that together they do not run it out of memory."""
    if (card := _card(device)) is None:
        yield
        return
    # A service may have a temporary folder of its own, which nobody else sees.
    shared = "/run/lock" if os.access("/run/lock", os.W_OK) else tempfile.gettempdir()
    path = Path(shared) / f"condi-{card}.lock"
    try:
        file = os.open(path, os.O_RDONLY)  # of whichever user came first
    except FileNotFoundError:
        file = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        torch.cuda.empty_cache()  # for the next; this process may be a while in ending
        os.close(file)


def _card(device: torch.device) -> str | None:
    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else None


def describe_device(name: str) -> str:
    """What `name` stands for here, with the memory that is free on a card; ConfigError as `find_device`."""
    device = find_device(name)
    chosen = f"auto chose {device}: " if name == "auto" else f"{device}: "
    if device.type == "cpu":
        why = f", as {why_no_cuda()}" if name == "auto" else ""
        return f"{chosen}{torch.get_num_threads()} threads{why}"
    free, total = torch.cuda.mem_get_info(device)
    cards = torch.cuda.device_count()
    return (
        f"{chosen}{torch.cuda.get_device_name(device)}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free, "
        f"one of {cards} card{'s' * (cards > 1)}"
    )

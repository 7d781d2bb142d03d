"""Measure the cost of a deployment: bytes on the wire, overhead, start-up, and sites per SuperLink.

    python benchmarks/deployment.py [--sites 2 4 8] [--rounds 3]

For each number of sites this starts a SuperLink with TLS and registered sites, and `condi site` for each, all
as processes on this machine, and runs phase 2 on small windows with a task model of 15 MB. The connection of
one site passes through a port that counts its bytes. They are divided by the size of the weights, which a
round sends down twice (to train and to evaluate) and up once. The overhead is the seconds of a training
exchange beyond those that the slowest site trained. Each ClientApp is a process, by `condi superexec` a fork.

Prints one line of JSON for each number of sites.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from condi_core.run_files import CONFIG_FILE, read_history
from tests.helpers.cable import cable
from tests.helpers.hospitals import coordinator, wait_for
from tests.helpers.tiny_federation import write_tiny

TIMEOUT_SECONDS = 1800


def measure(folder: Path, count: int, rounds: int) -> dict:
    """Run a federation of `count` sites and return what it cost."""
    federation = write_tiny(folder / "federation", sites=count)
    names = [f"site-{i}" for i in range(count)]
    with (
        coordinator(folder / "keys", names) as hospitals,
        cable(int(hospitals.fleet.split(":")[1])) as counter,
    ):
        direct, start = hospitals.fleet, time.monotonic()
        for i, name in enumerate(names):
            hospitals.register(name)
            hospitals.fleet = direct if i else f"localhost:{counter.port}"
            hospitals.start(name, federation / name)
        wait_for(
            lambda: hospitals.online() == set(names),
            *(s.log_path for s in hospitals.started),
            seconds=TIMEOUT_SECONDS,
        )
        online, up, down = time.monotonic() - start, counter.up, counter.down
        submitted = time.time()
        run = hospitals.run(
            f"method='mask' compare-with='' min-sites={count} task.rounds={rounds} task.steps=2 task.batch=4 "
            "task.width=384 "
            f"output='{folder}/runs' name='run'"
        )
        status = hospitals.wait(run, TIMEOUT_SECONDS)
        assert status == "finished:completed", hospitals.log(run)
        up, down = counter.up - up, counter.down - down
    history = read_history(folder / "runs/run")
    weights = (folder / "runs/run/task-mask.safetensors").stat().st_size
    created = (folder / "runs/run" / CONFIG_FILE).stat().st_mtime
    trained = [line["train-seconds"] - max(line["site-seconds"].values()) for line in history]
    return {
        "sites": count,
        "MB of weights": round(weights / 1e6, 2),
        # The test is one more evaluation.
        "down over weights": round(down / (weights * (2 * rounds + 1)), 3),
        "up over weights": round(up / (weights * rounds), 3),
        "s until all are online": round(online, 1),
        "s from submission to the roster": round(created - submitted, 1),
        "s of overhead a training exchange": round(float(np.median(trained)), 1),
        "s a round, with evaluation": round(float(np.median([line["seconds"] for line in history])), 1),
        "failures": sum(len(line["failures"]) for line in history),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for count in options.sites:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(Path(folder), count, options.rounds)), flush=True)


if __name__ == "__main__":
    main()

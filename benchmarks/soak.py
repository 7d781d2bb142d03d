"""Run many rounds with hospitals that disappear and return at random, and watch memory.

    python benchmarks/soak.py [--rounds 50] [--sites 4] [--seed 0]

A SuperLink with TLS and registered sites run on this machine, each as a process. In each round a site, chosen
by the seed, is killed without notice or started again; at least two stay online. No round is lost if the
history has every round once, each with the sites that answered or the reason why not, and the weights are
finite. Memory is the proportional set size of the SuperLink, of the ServerApp and of the site that is never
killed, each as the median over the second and over the last quarter of the run.

Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

sys.path.insert(0, str(Path(__file__).parents[1]))

from server_app.operations.flower_processes import ENVIRONMENT_MARK
from tests.helpers.hospitals import Coordinator, coordinator, history, wait_for
from tests.helpers.tiny_federation import write_tiny

TIMEOUT_SECONDS = 7200
PROCESS_KINDS = {
    "superlink\0--host": "superlink",
    "flwr-serverapp": "server app",
    "client_app.join.supernode": "site",
}


def used_memory(hospitals: Coordinator) -> dict[str, float]:
    """Return the megabytes of each kind of process; of the sites, only the one that is never killed."""
    megabytes = {}
    mark = f"{ENVIRONMENT_MARK}={hospitals.flower.folder}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = ((process / n).read_bytes() for n in ("cmdline", "environ"))
            kind = next((kind for text, kind in PROCESS_KINDS.items() if text.encode() in command), None)
            if kind is None or mark not in environment:
                continue
            if kind == "site" and int(process.name) != hospitals.started[0].process.pid:
                continue
            lines = (process / "smaps_rollup").read_text().splitlines()
            megabytes[kind] = int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024
        except (OSError, StopIteration):
            continue
    return megabytes


def soak(folder: Path, rounds: int, count: int, seed: int) -> dict:
    """Run rounds while sites disappear and return; check that no round is lost and return the numbers."""
    rng, names = random.Random(seed), [f"site-{i}" for i in range(count)]
    federation = write_tiny(folder / "federation", sites=count)
    directory, samples, killed = folder / "runs" / "run", defaultdict(list), 0
    with coordinator(folder / "keys", names) as hospitals:
        alive = {}
        for name in names:
            hospitals.register(name)
            alive[name] = hospitals.start(name, federation / name)
        wait_for(
            lambda: hospitals.online() == set(names), *(s.log_path for s in hospitals.started), seconds=300
        )
        run = hospitals.run(
            f"method='mask' compare-with='' min-sites=2 sites='{','.join(names)}' round-timeout=120.0 "
            f"task.rounds={rounds} task.steps=2 task.batch=4 task.width=8 task.heads=2 task.blocks=1 "
            f"task.pair-width=4 output='{folder}/runs' name='run'"
        )
        num_rounds, deadline, running = 0, time.monotonic() + TIMEOUT_SECONDS, set(names)
        while hospitals.flower.status(run)[0] in ("pending", "starting", "running"):
            assert time.monotonic() < deadline, hospitals.log(run)
            done = len(history(directory))
            if done > num_rounds:
                num_rounds, name = done, rng.choice(names[1:])
                if name in running and len(running) > 2:
                    running.discard(name)
                    alive[name].kill()
                    killed += 1
                else:
                    running.add(name)
            for name in running:  # a node with its key is refused until it is known to be offline
                if alive[name].process.poll() is not None:
                    alive[name] = hospitals.start(name, federation / name)
            for kind, megabytes in used_memory(hospitals).items():
                samples[kind].append(megabytes)
            time.sleep(3)
        status, log = hospitals.flower.status(run)[0], hospitals.log(run)
    assert status == "finished:completed", log
    lines = history(directory)
    assert [line["round"] for line in lines] == list(range(1, rounds + 1)), "a round is lost"
    for line in lines:
        assert line["site-seconds"].keys() | line["failures"].keys() >= set(names), line
    weights = load_file(directory / "task-mask.safetensors").values()
    assert all(np.isfinite(array).all() for array in weights)
    return {
        "rounds": rounds,
        "killed": killed,
        "replies missed": sum(len(names) - len(line["site-seconds"]) for line in lines),
        "s a round, median": round(float(np.median([line["seconds"] for line in lines])), 1),
        "MB in the second quarter, and in the last": {
            kind: [round(float(np.median(part))) for part in (values[n : 2 * n], values[-n:])]
            for kind, values in samples.items()
            if (n := max(1, len(values) // 4))
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--sites", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(soak(Path(folder), options.rounds, options.sites, options.seed)))


if __name__ == "__main__":
    main()

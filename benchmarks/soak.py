"""Does it last: many rounds with hospitals that come and go at random, and what becomes of memory.

    python benchmarks/soak.py [--rounds 50] [--sites 4] [--seed 0]

A SuperLink with TLS and registered sites, each a process on this machine. From round to round a site, chosen
by the seed, is killed without notice or started again; at least two stay. Nothing is lost when the history
has every round once, each with who answered or why not, and the weights are finite. Memory is the
proportional set size of the SuperLink, of the ServerApp and of the site that is never killed, each as the
median over the second and over the last quarter of the run.

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

WITHIN = 7200  # seconds
KINDS = {
    "superlink\0--host": "superlink",
    "flwr-serverapp": "server app",
    "client_app.join.supernode": "site",
}


def memory(made: Coordinator) -> dict[str, float]:
    """Megabytes of each kind of process; of sites the one that stays."""
    found = {}
    mark = f"{ENVIRONMENT_MARK}={made.flower.folder}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = ((process / n).read_bytes() for n in ("cmdline", "environ"))
            kind = next((kind for text, kind in KINDS.items() if text.encode() in command), None)
            if kind is None or mark not in environment:
                continue
            if kind == "site" and int(process.name) != made.started[0].process.pid:
                continue
            told = (process / "smaps_rollup").read_text().splitlines()
            found[kind] = int(next(line for line in told if line.startswith("Pss:")).split()[1]) / 1024
        except (OSError, StopIteration):
            continue
    return found


def soak(folder: Path, rounds: int, count: int, seed: int) -> dict:
    rng, names = random.Random(seed), [f"site-{i}" for i in range(count)]
    federation = write_tiny(folder / "federation", sites=count)
    directory, samples, killed = folder / "runs" / "run", defaultdict(list), 0
    with coordinator(folder / "keys", names) as made:
        alive = {}
        for name in names:
            made.register(name)
            alive[name] = made.start(name, federation / name)
        wait_for(lambda: made.online() == set(names), *(s.log_path for s in made.started), seconds=300)
        run = made.run(
            f"method='mask' compare-with='' min-sites=2 sites='{','.join(names)}' round-timeout=120.0 "
            f"task.rounds={rounds} task.steps=2 task.batch=4 task.width=8 task.heads=2 task.blocks=1 "
            f"task.pair-width=4 output='{folder}/runs' name='run'"
        )
        seen, deadline, wanted = 0, time.monotonic() + WITHIN, set(names)
        while made.flower.status(run)[0] in ("pending", "starting", "running"):
            assert time.monotonic() < deadline, made.log(run)
            done = len(history(directory))
            if done > seen:
                seen, name = done, rng.choice(names[1:])
                if name in wanted and len(wanted) > 2:
                    wanted.discard(name)
                    alive[name].kill()
                    killed += 1
                else:
                    wanted.add(name)
            for name in wanted:  # a node with its key is refused until it is known to be offline
                if alive[name].process.poll() is not None:
                    alive[name] = made.start(name, federation / name)
            for kind, megabytes in memory(made).items():
                samples[kind].append(megabytes)
            time.sleep(3)
        status, log = made.flower.status(run)[0], made.log(run)
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

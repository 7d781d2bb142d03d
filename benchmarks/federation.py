"""Measure the cost of federation itself: time on top of local training, memory, and bytes.

    python benchmarks/federation.py

Runs generated ECGs at 8 sites and again at 64 small ones with `condi run`, one actor per core. The training
share is the seconds that sites trained divided by the seconds that the actors had: while the coordinator
waited for training, in whole rounds (with evaluation), and in the whole run (with start-up, completion and
the test). Bytes down are per site and round, including evaluation; before phase 2 each site receives the
imputer once more. Memory is the sum of the proportional set sizes of all processes of the run, sampled each
second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from condi_core.run_files import CONFIG_FILE, read_history
from data_partitions.prepare import prepare_federation
from data_partitions.sources import demo, ptb_xl

ENVIRONMENT_MARK = f"CONDI_BENCHMARK={os.getpid()}"  # all processes of the run inherit it


def used_memory() -> int:
    """Return the bytes in use by all processes with the environment mark."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if ENVIRONMENT_MARK.encode() in (process / "environ").read_bytes().split(b"\0"):
                pss = next(
                    x for x in (process / "smaps_rollup").read_text().splitlines() if x.startswith("Pss:")
                )
                total += 1024 * int(pss.split()[1])
        except (OSError, StopIteration):
            continue
    return total


def measure(federation: Path, out: Path, sites: int, settings: str) -> dict:
    """Run a federation and return its times, bytes and memory."""
    samples: list[tuple[float, int]] = []
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(1):
            samples.append((time.time(), used_memory()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.time()
    condi = Path(sys.executable).with_name("condi")
    subprocess.run(
        [condi, "run", "--federation", federation, "--out", out, "--name", str(sites),
         "-c", settings, "--nodes", str(sites)],
        check=True, env=os.environ | dict([ENVIRONMENT_MARK.split("=")]),
    )  # fmt: skip
    wall = time.time() - start
    finished.set()
    watcher.join()
    history = read_history(out / str(sites))
    created = (out / str(sites) / CONFIG_FILE).stat().st_mtime
    actors = min(sites, os.cpu_count() or 1)
    trained_seconds = sum(sum(line["site-seconds"].values()) for line in history)
    report: dict = {"sites": sites, "wall_s": round(wall), "until_roster_s": round(created - start, 1)}
    report["training_share_of_whole_run"] = round(trained_seconds / (actors * wall), 3)
    for phase in dict.fromkeys(line["phase"] for line in history):
        lines = [line for line in history if line["phase"] == phase]
        worked = sum(sum(line["site-seconds"].values()) for line in lines)
        waited = sum(line["train-seconds"] for line in lines)
        report[phase] = {
            "training_share_of_training_exchange": round(worked / (actors * waited), 3),
            "training_share_of_round": round(worked / (actors * sum(x["seconds"] for x in lines)), 3),
            "seconds_per_site_round": round(worked / len(lines) / sites, 2),
            "kB_down": round(lines[0]["bytes-down"] / sites / 1000),
            "kB_up": round(lines[0]["bytes-up"] / sites / 1000),
        }
    memory = [used for _, used in samples]
    middle = len(memory) // 2
    report["peak_MB"] = round(max(memory) / 1e6)
    halves = (memory[:middle], memory[middle:])
    report["peak_MB_first_and_second_half"] = [round(max(half) / 1e6) for half in halves]
    return report


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        demo.write_source(folder / "records", patients=900)
        for sites, settings in (
            (
                8,
                "imputer.rounds=3 imputer.steps=30 task.rounds=3 task.steps=50 task.batch=32 compare-with=''",
            ),
            (64, "imputer.rounds=3 imputer.steps=4 task.rounds=3 task.steps=8 compare-with=''"),
        ):
            federation = folder / f"federation-{sites}"
            prepare_federation(ptb_xl, folder / "records", federation, sites=sites, split="iid")
            print(json.dumps(measure(federation, folder, sites, settings)), flush=True)


if __name__ == "__main__":
    main()

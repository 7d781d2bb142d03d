"""What the federation itself costs: time beside local training, memory, bytes.

    python benchmarks/federation.py

Runs generated ECGs at 8 sites and again at 64 small ones through `condi run`, two actors of one core.
Share of training: seconds that sites worked over what the actors had while the coordinator waited for
training. Memory: the sum of the proportional set sizes of all processes of the run, sampled each second.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from data_partitions.prepare import prepare_federation
from data_partitions.sources import demo, ptb_xl

ACTORS = 2


def memory() -> int:
    """Bytes of all processes of a run (they carry the name of its sandbox in their environment)."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"CONDI_SANDBOX=" in (process / "environ").read_bytes():
                pss = next(
                    x for x in (process / "smaps_rollup").read_text().splitlines() if x.startswith("Pss:")
                )
                total += 1024 * int(pss.split()[1])
        except (OSError, StopIteration):
            continue
    return total


def measure(federation: Path, out: Path, sites: int, settings: str) -> dict:
    samples: list[tuple[float, int]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1):
            samples.append((time.time(), memory()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.time()
    condi = Path(sys.executable).with_name("condi")
    subprocess.run(
        [condi, "run", "--federation", federation, "--out", out, "--name", str(sites),
         "-c", settings, "--nodes", str(sites)],
        check=True,
    )  # fmt: skip
    wall = time.time() - start
    over.set()
    watcher.join()
    history = [json.loads(line) for line in open(out / str(sites) / "history.jsonl")]
    created = (out / str(sites) / "config.json").stat().st_mtime
    report: dict = {"sites": sites, "wall_s": round(wall), "until_roster_s": round(created - start, 1)}
    for phase in dict.fromkeys(line["phase"] for line in history):
        lines = [line for line in history if line["phase"] == phase]
        worked = sum(sum(line["site-seconds"].values()) for line in lines)
        waited = sum(line["train-seconds"] for line in lines)
        report[phase] = {
            "training_share": round(worked / (ACTORS * waited), 3),
            "seconds_per_site_round": round(worked / len(lines) / sites, 2),
            "kB_down": round(lines[0]["bytes-down"] / sites / 1000),
            "kB_up": round(lines[0]["bytes-up"] / sites / 1000),
        }
    peak = [m for _, m in samples]
    middle = len(peak) // 2
    report["peak_MB"] = round(max(peak) / 1e6)
    report["peak_MB_first_and_second_half"] = [round(max(p) / 1e6) for p in (peak[:middle], peak[middle:])]
    return report


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        demo.make(folder / "records", patients=900)
        for sites, settings in (
            (8, "imputer.rounds=3 imputer.steps=30 task.rounds=3 task.steps=50 task.batch=32 beside=''"),
            (64, "imputer.rounds=3 imputer.steps=4 task.rounds=3 task.steps=8 beside=''"),
        ):
            federation = folder / f"federation-{sites}"
            prepare_federation(ptb_xl, folder / "records", federation, sites=sites, split="iid")
            print(json.dumps(measure(federation, folder, sites, settings)), flush=True)


if __name__ == "__main__":
    main()

"""Measure preparation at scale: PTB-XL against wfdb, MIMIC-IV against pandas, and 10,000 windows and files.

    python benchmarks/prepare.py [--records 4000] [--rows 20] [--files 10000] [--repeats 3]

- PTB-XL: all of `prepare_federation` on generated records of 10 s, compared with a loop of
  `wfdb.rdrecord` over the same records in as many processes as there are cores.
- A federation of 10,000 windows: the seconds to open it and all of its sites, and the anonymous memory that
  reading a site's windows in blocks adds to the process, for a site of 1,000 windows and one of 8,000.
- MIMIC-IV: see `prepare_mimic.py`.
- Files that are read by a description: see `prepare_described.py`.

Each candidate runs in a separate process, in turns, and its best time counts. Prints a table for each part,
and one JSON line for the first two.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from data_partitions.federation import open_federation, write_federation
from data_partitions.manifest import SPLITS, Manifest
from data_partitions.prepare import prepare_federation
from data_partitions.sources import demo, ptb_xl

WINDOWS_PER_BLOCK = 64


def read_with_wfdb(folder: Path) -> None:
    paths = [str(path.with_suffix("")) for path in sorted(folder.rglob("*.hea"))]
    cores = os.cpu_count() or 1
    with get_context("spawn").Pool(cores) as pool:
        pool.map(_read_all, [paths[i::cores] for i in range(cores)])


def _read_all(paths: list[str]) -> None:
    import wfdb

    for path in paths:
        wfdb.rdrecord(path)


def prepare_with_condi(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as temp:
        prepare_federation(ptb_xl, folder, Path(temp) / "all", split="iid", sites=4)


CANDIDATES = {"wfdb.rdrecord": read_with_wfdb, "condi prepare": prepare_with_condi}


def time_ptb_xl(folder: Path, records: int, repeats: int) -> dict:
    demo.write_source(folder, patients=round(records * 14 / 15))
    seconds = {candidate: [] for candidate in CANDIDATES}
    for _ in range(repeats):
        for candidate in CANDIDATES:
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, __file__, "--candidate", candidate, "--folder", folder], check=True
            )
            seconds[candidate].append(time.perf_counter() - start)
    best = {candidate: round(min(times), 2) for candidate, times in seconds.items()}
    print(f"PTB-XL, {len(list(folder.rglob('*.hea')))} records of 10 s at 100 Hz, best of {repeats}")
    for candidate, time_taken in best.items():
        print(f"  {candidate:<14} {time_taken:6.1f} s")
    ratio = round(best["condi prepare"] / best["wfdb.rdrecord"], 3)
    print(f"  condi takes {ratio:.2f} times as long as the loop")
    return {**best, "ratio": ratio}


def write_large_federation(path: Path) -> None:
    """Write 10,000 windows of noise in 12 leads, at sites of 8,000, 1,000 and 1,000."""
    rng, sites = np.random.default_rng(0), []
    for name, count in (("large", 8000), ("middle", 1000), ("small", 1000)):
        ids = [f"{name}-{i}" for i in range(count)]
        index = pd.DataFrame({"record_id": ids, "patient_id": ids, "split": "train"})
        index.loc[::10, "split"], index.loc[1::10, "split"] = "val", "test"
        for label in ptb_xl.SUPERCLASSES:
            index[label] = rng.integers(0, 2, count)
        counts = {split: int((index["split"] == split).sum()) for split in SPLITS}
        manifest = Manifest(site=name, windows=counts, made_by="a benchmark", **ptb_xl.schema(path))
        windows = (rng.normal(size=manifest.shape).astype(np.float32) for _ in ids)
        sites.append((manifest, index, windows))
    write_federation(path, sites, dataset="ptb-xl", split="iid", seed=0, made_by="a benchmark")


def anonymous_memory_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def open_and_read(path: Path) -> None:
    """Print one JSON line. It needs a fresh process, because memory freed earlier would hide new memory."""
    start = time.perf_counter()
    federation = open_federation(path)
    sites = {name: federation.open_site(name, check=False) for name in federation.sites}
    out = {"open_s": round(time.perf_counter() - start, 3)}
    start = time.perf_counter()
    for name in federation.sites:
        federation.open_site(name)
    out["open_and_check_s"] = round(time.perf_counter() - start, 3)
    for name in ("small", "large"):
        before, peak = anonymous_memory_mb(), 0.0
        for row in range(0, len(sites[name]), WINDOWS_PER_BLOCK):
            _windows = sites[name].read(np.arange(row, min(row + WINDOWS_PER_BLOCK, len(sites[name]))))
            peak = max(peak, anonymous_memory_mb() - before)
        out[f"{name}_mb"] = round(peak, 1)
    print(json.dumps(out))


def measure_opening(path: Path) -> dict:
    command = [sys.executable, __file__, "--candidate", "opening", "--folder", path]
    out = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"A federation of 10,000 windows opens in {out['open_s']} s ({out['open_and_check_s']} s checked)")
    growth = f"{out['small_mb']} MB more for 1,000 windows, {out['large_mb']} MB for 8,000"
    print(f"  read in blocks of {WINDOWS_PER_BLOCK}: {growth}")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=4000, help="number of records of PTB-XL")
    parser.add_argument("--rows", type=float, default=20, help="million rows of chartevents; 0: without")
    parser.add_argument("--files", type=int, default=10_000, help="files of a description; 0: without")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--candidate", choices=[*CANDIDATES, "opening"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.candidate:
        return {**CANDIDATES, "opening": open_and_read}[options.candidate](options.folder)
    with tempfile.TemporaryDirectory() as temp:
        result = {"ptb_xl": time_ptb_xl(Path(temp) / "records", options.records, options.repeats)}
        write_large_federation(Path(temp) / "federation")
        result["federation"] = measure_opening(Path(temp) / "federation")
    print(json.dumps(result), flush=True)
    if options.rows:
        script = Path(__file__).with_name("prepare_mimic.py")
        arguments = ["--rows", str(options.rows), "--repeats", str(options.repeats)]
        subprocess.run([sys.executable, script, *arguments], check=True)
    if options.files:
        script = Path(__file__).with_name("prepare_described.py")
        arguments = ["--files", str(options.files), "--repeats", str(options.repeats)]
        subprocess.run([sys.executable, script, *arguments], check=True)


if __name__ == "__main__":
    main()

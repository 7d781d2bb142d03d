"""Preparing and opening at scale: PTB-XL beside wfdb, MIMIC-IV beside pandas, a federation of 10,000 windows.

    python benchmarks/prepare.py [--records 4000] [--rows 20] [--repeats 3]

- PTB-XL: generated records of 10 s; `prepare_federation`, all of it, beside a loop of `wfdb.rdrecord` over
  the same records in as many processes as there are cores.
- A federation of 10,000 windows: seconds to open it and all of its sites; and what reading a site's windows
  in blocks adds to the anonymous memory of the process, for a site of 1,000 windows and one of 8,000.
- MIMIC-IV: see `prepare_mimic.py`.

What is compared runs in processes of its own, in turns; the best of each counts. Prints a table each, and
one JSON line for the first two.
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

BLOCK = 64


def by_wfdb(folder: Path) -> None:
    paths = [str(path.with_suffix("")) for path in sorted(folder.rglob("*.hea"))]
    cores = os.cpu_count() or 1
    with get_context("spawn").Pool(cores) as pool:
        pool.map(_read_all, [paths[i::cores] for i in range(cores)])


def _read_all(paths: list[str]) -> None:
    import wfdb

    for path in paths:
        wfdb.rdrecord(path)


def by_condi(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as temp:
        prepare_federation(ptb_xl, folder, Path(temp) / "all", split="iid", sites=4)


WAYS = {"wfdb.rdrecord": by_wfdb, "condi prepare": by_condi}


def ptb_xl_times(folder: Path, records: int, repeats: int) -> dict:
    demo.make(folder, patients=round(records * 14 / 15))
    seconds = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            start = time.perf_counter()
            subprocess.run([sys.executable, __file__, "--way", way, "--folder", folder], check=True)
            seconds[way].append(time.perf_counter() - start)
    best = {way: round(min(found), 2) for way, found in seconds.items()}
    print(f"PTB-XL, {len(list(folder.rglob('*.hea')))} records of 10 s at 100 Hz, best of {repeats}")
    for way, found in best.items():
        print(f"  {way:<14} {found:6.1f} s")
    ratio = round(best["condi prepare"] / best["wfdb.rdrecord"], 3)
    print(f"  condi takes {ratio:.2f} of the time of the loop")
    return {**best, "ratio": ratio}


def large_federation(path: Path) -> None:
    """10,000 windows at sites of 8,000, 1,000 and 1,000: 12 leads, noise."""
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


def anonymous_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def open_and_read(path: Path) -> None:
    """Print one JSON line; in a process of its own, as memory that was freed before would hide new."""
    start = time.perf_counter()
    federation = open_federation(path)
    sites = {name: federation.open_site(name, check=False) for name in federation.sites}
    out = {"open_s": round(time.perf_counter() - start, 3)}
    start = time.perf_counter()
    for name in federation.sites:
        federation.open_site(name)
    out["open_and_check_s"] = round(time.perf_counter() - start, 3)
    for name in ("small", "large"):
        before, most = anonymous_mb(), 0.0
        for row in range(0, len(sites[name]), BLOCK):
            _held = sites[name].read(np.arange(row, min(row + BLOCK, len(sites[name]))))
            most = max(most, anonymous_mb() - before)
        out[f"{name}_mb"] = round(most, 1)
    print(json.dumps(out))


def opening(path: Path) -> dict:
    command = [sys.executable, __file__, "--way", "opening", "--folder", path]
    out = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"A federation of 10,000 windows opens in {out['open_s']} s ({out['open_and_check_s']} s checked)")
    grown = f"{out['small_mb']} MB more for 1,000 windows, {out['large_mb']} MB for 8,000"
    print(f"  read in blocks of {BLOCK}: {grown}")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=4000, help="of PTB-XL")
    parser.add_argument("--rows", type=float, default=20, help="of chartevents, in millions; 0: without")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--way", choices=[*WAYS, "opening"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        return {**WAYS, "opening": open_and_read}[options.way](options.folder)
    with tempfile.TemporaryDirectory() as temp:
        result = {"ptb_xl": ptb_xl_times(Path(temp) / "records", options.records, options.repeats)}
        large_federation(Path(temp) / "federation")
        result["federation"] = opening(Path(temp) / "federation")
    print(json.dumps(result), flush=True)
    if options.rows:
        script = Path(__file__).with_name("prepare_mimic.py")
        arguments = ["--rows", str(options.rows), "--repeats", str(options.repeats)]
        subprocess.run([sys.executable, script, *arguments], check=True)


if __name__ == "__main__":
    main()

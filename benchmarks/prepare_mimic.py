"""Measure time and memory of MIMIC-IV's preparation, and of a pandas pass over its largest table.

    python benchmarks/prepare_mimic.py [--rows 20] [--repeats 3] [--folder FOLDER]

Generates tables with the columns of MIMIC-IV 3.1, in which chartevents.csv.gz has that many million rows; a
fifth of them have items that are read. Each candidate runs in a separate process, in turns:

- pandas: `for chunk in pd.read_csv(chartevents, usecols=..., chunksize=...)` with the needed columns;
- condi: schema, index and all windows of the data set, as `condi prepare` reads them.

Prints a table with the best of each, and one JSON line. With --folder the tables are stored there and reused.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from data_partitions.preparation_log import PreparationLog
from data_partitions.sources import mimic_iv

ROOT = Path(__file__).parents[1]
STAYS_AT_ONCE = 250
NEEDED_COLUMNS = ["stay_id", "charttime", "itemid", "value", "valuenum"]


def generate(folder: Path, rows: int) -> dict:
    """Write tables with about `rows` rows of chartevents, 5000 for each stay."""
    sys.path.insert(0, str(ROOT))
    from tests.helpers.generated_mimic_iv import COLUMNS, make_tables, table_path

    with contextlib.ExitStack() as files:
        opened = {}
        for name in COLUMNS:
            path = table_path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            opened[name] = files.enter_context(gzip.open(path, "wt", compresslevel=3, newline=""))
        written = first = 0
        while written < rows:
            tables = make_tables(STAYS_AT_ONCE, hours=140, unused=4000, first=first)
            for name, table in tables.items():
                table.to_csv(opened[name], index=False, header=first == 0)
            written += len(tables["chartevents"])
            first += STAYS_AT_ONCE
    return {"rows": written}


def read_with_pandas(folder: Path, rows: int) -> dict:
    file = folder / "icu" / "chartevents.csv.gz"
    return {
        "rows": sum(len(chunk) for chunk in pd.read_csv(file, usecols=NEEDED_COLUMNS, chunksize=1_000_000))
    }


def read_with_condi(folder: Path, rows: int) -> dict:
    log = PreparationLog()
    mimic_iv.schema(folder)
    index = mimic_iv.index(folder, log)
    windows = observed = 0
    for window in mimic_iv.read(folder, index, log):
        windows += window is not None
        observed += 0 if window is None else int(np.isfinite(window).sum())
    return {"windows": windows, "observed": observed}


CANDIDATES = {"pandas": read_with_pandas, "condi": read_with_condi}


def measure_in_process(candidate: str, folder: Path, rows: int) -> dict:
    """Run a candidate in a process, and add seconds (without Python's start), CPU seconds and peak GB.

    The tables are generated in a process of their own too, because Linux counts the memory of the parent as
    the child's peak.
    """
    command = [
        sys.executable,
        __file__,
        "--candidate",
        candidate,
        "--folder",
        str(folder),
        "--rows",
        str(rows / 1e6),
    ]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, default=20, help="million rows of chartevents")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="folder of the tables; default: a temporary one")
    parser.add_argument("--candidate", choices=[*CANDIDATES, "generate"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    rows = round(options.rows * 1e6)
    if options.candidate:
        start, cpu = time.perf_counter(), time.process_time()
        out = {**CANDIDATES, "generate": generate}[options.candidate](options.folder, rows)
        out |= {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
            2**20 if sys.platform == "linux" else 2**30
        )
        print(json.dumps({**out, "peak_gb": peak}))
        return
    with tempfile.TemporaryDirectory() as temp:
        folder = options.folder or Path(temp)
        if not (folder / "icu" / "chartevents.csv.gz").exists():
            measure_in_process("generate", folder, rows)
        runs = {candidate: [] for candidate in CANDIDATES}
        for _ in range(options.repeats):
            for candidate in CANDIDATES:
                runs[candidate].append(measure_in_process(candidate, folder, rows))
        size = (folder / "icu" / "chartevents.csv.gz").stat().st_size
    best = {candidate: min(done, key=lambda run: run["seconds"]) for candidate, done in runs.items()}
    rows, windows = best["pandas"]["rows"], best["condi"]["windows"]
    print(f"chartevents.csv.gz: {rows:,} rows, {size / 1e6:.0f} MB; {windows:,} windows")
    print(f"best of {options.repeats}    seconds    CPU s    peak GB")
    for candidate, run in best.items():
        print(f"{candidate:<12} {run['seconds']:8.1f} {run['cpu']:8.1f} {run['peak_gb']:10.2f}")
    ratio = best["condi"]["seconds"] / best["pandas"]["seconds"]
    print(f"condi takes {ratio:.2f} times as long as the pandas pass")
    print(json.dumps({"rows": rows, "windows": windows, "ratio": round(ratio, 3), **best}))


if __name__ == "__main__":
    main()

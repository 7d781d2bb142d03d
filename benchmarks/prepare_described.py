"""Measure how files are read by a description: beside plain wfdb, mne and pandas, and for 10,000 files.

    python benchmarks/prepare_described.py [--records 2000] [--nights 4] [--stays 1000] [--files 10000]

- Samples or rows a second of schema, index and all windows of described ECGs, nights and ICU stays; of loops
  over the same files with wfdb, mne and pandas; and of the module for PTB-XL, which has no description. Each
  candidate runs in a separate process, in turns, and its best time counts.
- Seconds and peak memory of `condi prepare` for a tenth of the files and for all of them, and of
  `condi dataset check`.

Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from data_partitions.description.reading import read_description
from data_partitions.descriptions import FOLDER
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources import demo, ptb_xl
from data_partitions.sources.described.reader import DescribedDataset

ROOT = Path(__file__).parents[1]
SECONDS = 10  # of a record
# A process in between, because a new process begins with the peak memory of the one that started it.
PEAK_MEMORY = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
CONDI = (sys.executable, "-c", "from server_app.cli import app; app()")
ECG_DESCRIPTION = """
dataset.name = "ecg"
files = { format = "wfdb", path = "{filename_lr}.hea" }
table = { path = "ptbxl_database.csv", record = "ecg_id", patient = "patient_id" }
window.length = "10 s"
split = { by = "column", column = "strat_fold", val = ["9"], test = ["10"] }
signals.I = { unit = "mV", rate = 100 }
"""
STRIP_DESCRIPTION = """
dataset.name = "strips"
files = { format = "wfdb", path = "{record}.hea" }
table = { path = "labels.csv", record = "record", patient = "record" }
window.length = "10 s"
signals.I = { unit = "mV", rate = 100, range = [-10, 10] }
signals.II = { like = "I" }
task = { kind = "binary", column = "event", name = "event", event = ["1"] }
"""


def write_ecgs(folder: Path, count: int) -> int:
    demo.write_source(folder, patients=round(count * 14 / 15))
    leads = "".join(f'signals.{lead} = {{ like = "I" }}\n' for lead in ptb_xl.LEADS if lead != "I")
    (folder / "dataset.toml").write_text(ECG_DESCRIPTION + leads)
    return len(list(folder.rglob("*.hea"))) * 12 * 100 * SECONDS


def write_nights(folder: Path, count: int) -> int:
    from tests.helpers.generated_sleep_edf import write_nights

    write_nights(folder, subjects=count, nights=1, epochs=960)
    return count * 960 * 30 * 302


def write_stays(folder: Path, count: int) -> int:
    from tests.helpers.generated_physionet_2012 import write_set

    write_set(folder, count)
    return sum(file.read_bytes().count(b"\n") - 1 for file in folder.rglob("set-a/*.txt"))


def read_with_wfdb(folder: Path) -> None:
    import wfdb

    for file in folder.rglob("*.hea"):
        wfdb.rdrecord(str(file.with_suffix(""))).p_signal.T.astype(np.float32)


def read_with_mne(folder: Path) -> None:
    """Cut the five channels at the annotations; mne has all of them at the highest rate."""
    import mne

    channels = ["EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal", "Resp oro-nasal", "EMG submental"]
    for psg in folder.rglob("*-PSG.edf"):
        signals = mne.io.read_raw_edf(psg, include=channels, verbose="ERROR").get_data()
        scored = mne.read_annotations(psg.with_name(f"{psg.name[:6]}EC-Hypnogram.edf"))
        for onset, duration in zip(scored.onset, scored.duration, strict=True):
            for start in range(int(onset), int(onset + duration), 30):
                signals[:, 100 * start : 100 * (start + 30)].astype(np.float32)


def read_with_pandas(folder: Path) -> None:
    """Reduce each stay to the last value of each hour."""
    import pandas as pd

    for file in folder.rglob("set-a/*.txt"):
        stay = pd.read_csv(file)
        stay["Hour"] = stay["Time"].str[:2].astype(int)
        stay.groupby(["Parameter", "Hour"])["Value"].last().unstack().to_numpy(np.float32)


def read_described(description: Path, folder: Path) -> None:
    dataset = DescribedDataset(read_description(description))
    read_all(dataset, folder)


def read_all(reader, folder: Path) -> None:
    log = PreparationLog()
    reader.schema(folder)
    rows = reader.index(folder, log)
    for _ in reader.read(folder, rows, log):
        pass
    if log.rejected:
        raise SystemExit(log.rejected[0])


CANDIDATES: dict[str, dict[str, Callable[[Path], None]]] = {
    "ecgs": {
        "described": lambda folder: read_described(folder / "dataset.toml", folder),
        "ptb_xl": lambda folder: read_all(ptb_xl, folder),
        "wfdb": read_with_wfdb,
    },
    "nights": {
        "described": lambda folder: read_described(FOLDER / "sleep-edf.toml", folder),
        "mne": read_with_mne,
    },
    "stays": {
        "described": lambda folder: read_described(FOLDER / "physionet-2012.toml", folder),
        "pandas": read_with_pandas,
    },
}
WRITERS = {"ecgs": write_ecgs, "nights": write_nights, "stays": write_stays}


def compare(kind: str, folder: Path, count: int, repeats: int) -> dict[str, float]:
    """Return samples or rows a second of each candidate."""
    amount = WRITERS[kind](folder, count)
    seconds: dict[str, list[float]] = {candidate: [] for candidate in CANDIDATES[kind]}
    for _ in range(repeats):
        for candidate, times in seconds.items():
            command = [sys.executable, __file__, "--candidate", kind, candidate, "--folder", folder]
            times.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    speeds = {candidate: amount / min(times) for candidate, times in seconds.items()}
    print(f"{kind}: {amount:,} {'rows' if kind == 'stays' else 'samples'}, best of {repeats}")
    for candidate, speed in speeds.items():
        print(f"  {candidate:<10} {speed:14,.0f} a second, {speed / speeds['described']:5.2f} × described")
    return {candidate: round(speed) for candidate, speed in speeds.items()}


def write_strips(folder: Path, count: int) -> None:
    """Write WFDB records of two leads of noise, and their table."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        rng.integers(-999, 999, (100 * SECONDS, 2), np.int16).tofile(folder / f"r{i}.dat")
        signals = "".join(f"r{i}.dat 16 1000(0)/mV 16 0 0 0 0 {lead}\n" for lead in ("I", "II"))
        (folder / f"r{i}.hea").write_text(f"r{i} 2 100 {100 * SECONDS}\n{signals}")
    rows = "".join(f"r{i},{int(i % 5 == 0)}\n" for i in range(count))
    (folder / "labels.csv").write_text(f"record,event\n{rows}")
    (folder / "dataset.toml").write_text(STRIP_DESCRIPTION)


def run_condi(*arguments: object) -> dict[str, float]:
    """Return the seconds and the peak memory (MB) of a command."""
    start = time.perf_counter()
    command = [sys.executable, "-c", PEAK_MEMORY, *CONDI, *map(str, arguments)]
    kilobytes = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {"s": round(time.perf_counter() - start, 1), "MB": round(int(kilobytes) / 1024)}


def measure_scale(folder: Path, files: int) -> dict[str, dict[str, float]]:
    """Measure `condi prepare` with a tenth of the files and with all, and `condi dataset check` with all."""
    out = {}
    for count in (files // 10, files):
        source = folder / f"strips-{count}"
        write_strips(source, count)
        arguments = [source / "dataset.toml", "--source", source]
        out[f"prepare {count} files"] = run_condi(
            "prepare", *arguments, "--site", "north", "--out", folder / f"out-{count}"
        )
    out[f"check {files} files"] = run_condi("dataset", "check", *arguments)
    for name, measured in out.items():
        print(f"{name:<22} {measured['s']:7.1f} s, at most {measured['MB']:.0f} MB")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=2000, help="ECGs of 10 s")
    parser.add_argument("--nights", type=int, default=4)
    parser.add_argument("--stays", type=int, default=1000)
    parser.add_argument("--files", type=int, default=10_000, help="0: without")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--candidate", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.candidate:
        kind, candidate = options.candidate
        start = time.perf_counter()
        CANDIDATES[kind][candidate](options.folder)
        return print(time.perf_counter() - start)
    sys.path.insert(0, str(ROOT))  # for the generators of the tests
    result: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as temp:
        for kind, count in (("ecgs", options.records), ("nights", options.nights), ("stays", options.stays)):
            if count:
                result[kind] = compare(kind, Path(temp) / kind, count, options.repeats)
        if options.files:
            result["files"] = measure_scale(Path(temp), options.files)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

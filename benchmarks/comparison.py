"""Compare all methods with CondI on real data; the documented result tables come from here.

    python benchmarks/comparison.py --ptb-xl FOLDER [--signals NPZ] [--physionet-2012 FOLDER] --out DIR
    python benchmarks/comparison.py ... --study benchmarks/matched.toml

Runs `comparison.toml`, or another study without a data set, with `condi study` on up to three data sets: the
raw records of PTB-XL, z-scored ones from an npz file with PTB-XL's tables (`zscored.py`), and PhysioNet 2012
by ICU type. Each has a folder in DIR, with the tables in DIR/NAME/table.txt. After an interruption the same
command resumes the studies.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from runs import run_condi
from zscored import write_source

from data_partitions.storage import atomic_directory

STUDY = Path(__file__).with_name("comparison.toml")
PARTITIONS = {"ptb-xl": 'split = "iid"\nsites = 4', "physionet-2012": 'split = "natural"'}


def run_study(study: Path, name: str, dataset: str, source: Path, out: Path) -> None:
    """Run the study on the data set in `source`, and print its tables."""
    study_file = out / f"{name}.toml"
    data = f'[data.{name}]\ndataset = "{dataset}"\n\n[[partition]]\n{PARTITIONS[dataset]}\n'
    study_file.write_text(f"{study.read_text()}\n{data}")
    run_condi(
        "study", study_file, "--out", out / name, "--source", f"{name}={source.resolve()}", "--nodes", 2
    )
    print((out / name / "table.txt").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ptb-xl", type=Path, required=True, help="folder of the unpacked data set")
    parser.add_argument("--signals", type=Path, help="npz of z-scored records")
    parser.add_argument("--physionet-2012", type=Path)
    parser.add_argument("--study", type=Path, default=STUDY, help="methods, missingness, seeds and settings")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.signals:
        zscored = options.out / "zscored-source"
        if not zscored.exists():
            with atomic_directory(zscored) as folder:
                write_source(options.signals, options.ptb_xl, folder)
        run_study(options.study, "z-scored", "ptb-xl", zscored, options.out)
    run_study(options.study, "raw", "ptb-xl", options.ptb_xl, options.out)
    if options.physionet_2012:
        run_study(options.study, "icu", "physionet-2012", options.physionet_2012, options.out)


if __name__ == "__main__":
    main()

"""The methods beside CondI on real data: what the README's tables come from.

    python benchmarks/comparison.py --ptb-xl FOLDER [--signals NPZ] [--physionet-2012 FOLDER] --out DIR
    python benchmarks/comparison.py ... --study benchmarks/matched.toml

Carries out `comparison.toml`, or another study that leaves the data open, by `condi study` on the raw records
of a folder of PTB-XL, on z-scored ones of an npz file with the same tables (`zscored.py`), and on PhysioNet
2012 by ICU type: each by itself, in a folder of DIR. Interrupted, the same command goes on. The tables are in
DIR/NAME/table.txt.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from runs import call
from zscored import write_source

from data_partitions.storage import atomic_directory

STUDY = Path(__file__).with_name("comparison.toml")
PARTITIONS = {"ptb-xl": 'split = "iid"\nsites = 4', "physionet-2012": 'split = "natural"'}


def carry_out(study: Path, name: str, dataset: str, source: Path, out: Path) -> None:
    """The study on the data set in `source`."""
    whole = out / f"{name}.toml"
    data = f'[data.{name}]\ndataset = "{dataset}"\n\n[[partition]]\n{PARTITIONS[dataset]}\n'
    whole.write_text(f"{study.read_text()}\n{data}")
    call("study", whole, "--out", out / name, "--source", f"{name}={source.resolve()}", "--nodes", 2)
    print((out / name / "table.txt").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ptb-xl", type=Path, required=True, help="folder of the unpacked data set")
    parser.add_argument("--signals", type=Path, help="npz of z-scored records")
    parser.add_argument("--physionet-2012", type=Path)
    parser.add_argument("--study", type=Path, default=STUDY, help="its methods, holes, seeds and settings")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.signals:
        zscored = given.out / "zscored-source"
        if not zscored.exists():
            with atomic_directory(zscored) as folder:
                write_source(given.signals, given.ptb_xl, folder)
        carry_out(given.study, "z-scored", "ptb-xl", zscored, given.out)
    carry_out(given.study, "raw", "ptb-xl", given.ptb_xl, given.out)
    if given.physionet_2012:
        carry_out(given.study, "icu", "physionet-2012", given.physionet_2012, given.out)


if __name__ == "__main__":
    main()

"""Score CondI on protocols on which others have published results.

    python benchmarks/protocols.py P1 --source PHYSIONET_2012 [--hidden 0.1 0.5] [--folds 0 1 2 3 4]
    python benchmarks/protocols.py P2 --source PHYSIONET_2012 [--splits 0 1] [--peers saits helix]
    python benchmarks/protocols.py P3 --source PTB_XL [--outside LUDB]
    python benchmarks/protocols.py P4 --source PTB_XL
    python benchmarks/protocols.py P5 --source PTB_XL --outside LUDB

Each protocol is a module in `published`, which says what its authors define. The hidden cells of each case
are written to the folder --cells, with the SHA-256 of the file, so that others can score the same ones.
Prints a table and a line of JSON for each case. A protocol whose data are not there is skipped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from published import csdi, ecg_leads, mutebench, outside_hospital, tsi_bench
from published.outcome import DataMissingError, report

PROTOCOLS = {"P1": csdi, "P2": tsi_bench, "P3": ecg_leads, "P4": mutebench, "P5": outside_hospital}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    subparsers = parser.add_subparsers(dest="protocol", required=True)
    for name, module in PROTOCOLS.items():
        subparser = subparsers.add_parser(name, help=module.__doc__.splitlines()[0])
        subparser.add_argument("--cells", type=Path, default=Path("runs/hidden-cells"))
        module.add_options(subparser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        for outcome in PROTOCOLS[options.protocol].outcomes(options):
            report(options.protocol, outcome, options.cells)
    except DataMissingError as error:
        print(f"{options.protocol} is skipped: {error}")


if __name__ == "__main__":
    main()

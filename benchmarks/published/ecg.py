"""A run on PTB-XL, the records of its test fold, and those of LUDB, an outside hospital.

Records are arrays (record, lead, sample) in mV at 100 Hz, 10 s long, with the leads in the order of PTB-XL.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
import wfdb
from published.outcome import require_files
from runs import run_condi
from scipy.signal import resample_poly

from condi_core.imputer.imputer import DiffusionImputer
from condi_core.model import TrainedRun
from condi_core.run_files import read_config
from condi_core.windows import WINDOWS_PER_BLOCK
from data_partitions.federation import open_federation
from data_partitions.sources.ptb_xl import LEADS

RATE = 100  # Hz
LUDB_RATE = 500
MICROVOLTS_PER_MILLIVOLT = 1000
NO_MISSINGNESS = "missingness.points=0.0 missingness.gaps=0.0 missingness.modality-by-window=0.0"
Complete = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(values, observed), both (record, lead, sample), to completed values."""


class Records(NamedTuple):
    """`values` (record, lead, sample) in mV, `labels` (record, superclass), and `ids` of records."""

    values: np.ndarray
    labels: np.ndarray
    ids: np.ndarray


def add_run_options(parser: ArgumentParser, settings: str) -> None:
    """Add the options of a protocol that say which run on PTB-XL is scored."""
    parser.add_argument("--source", type=Path, required=True, help="folder of PTB-XL")
    parser.add_argument("--run", type=Path, help="a run on PTB-XL, instead of training one")
    parser.add_argument("--run-config", default=settings, help="settings of the run that is trained")
    parser.add_argument("--seed", type=int, default=0, help="of partition, training and hidden cells")


@contextmanager
def trained_run(options: Namespace) -> Iterator[Path]:
    """Give the folder of the run of the options, which is trained if it does not name one."""
    if options.run:
        require_files(options.run, "config.json")
        yield options.run
        return
    require_files(options.source, "ptbxl_database.csv", "scp_statements.csv")
    with TemporaryDirectory() as folder:
        federation = Path(folder) / "federation"
        run_condi("prepare", "ptb-xl", "--source", options.source, "--out", federation, "--sites", 4,
             "--split", "iid", "--seed", options.seed)  # fmt: skip
        run_condi("run", "--federation", federation, "--out", folder, "--name", "run", "--nodes", 2,
             "-c", f"{options.run_config} seed={options.seed}")  # fmt: skip
        yield Path(folder) / "run"


def read_test_records(run: Path) -> Records:
    """Read the test records of all sites of a run, of patients that it was not trained on."""
    federation, parts = open_federation(Path(read_config(run).federation)), []
    for name in federation.sites:
        site = federation.open_site(name)
        rows = site.rows("test")
        values, _ = site.read(rows)
        parts.append((values.reshape(*values.shape[:2], -1), site.labels[rows] > 0.5, site.record_ids[rows]))
    return Records(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def read_ludb(folder: Path, gains_of_headers: bool = False) -> Records:
    """Read LUDB, brought to 100 Hz.

    The digital samples are microvolts; the gains of the headers are wrong lead by lead, as the identities of
    the limb leads show.
    """
    headers = sorted(folder.glob("*.hea"), key=lambda path: int(path.stem))
    if not headers:
        require_files(folder, "1.hea")
    values = []
    for header in headers:
        record = wfdb.rdrecord(str(header.with_suffix("")), physical=gains_of_headers)
        order = [[name.lower() for name in record.sig_name].index(lead.lower()) for lead in LEADS]
        signals = record.p_signal if gains_of_headers else record.d_signal / MICROVOLTS_PER_MILLIVOLT
        values.append(resample_poly(signals[:, order], 1, LUDB_RATE // RATE).T)
    ids = np.array([header.stem for header in headers])
    return Records(np.stack(values).astype(np.float32), np.zeros((len(ids), 0), bool), ids)


def completions_of(model: TrainedRun) -> dict[str, Complete]:
    """Return simple methods, the closed-form estimate and CondI, which complete records."""
    imputer, shape = model.imputer, model.schema.shape

    def by_imputer(
        estimate: Callable[[DiffusionImputer, torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> Complete:
        @torch.no_grad()
        def complete(values: np.ndarray, observed: np.ndarray) -> np.ndarray:
            parts = []
            for start in range(0, len(values), WINDOWS_PER_BLOCK):
                block = slice(start, start + WINDOWS_PER_BLOCK)
                x = torch.from_numpy(values[block]).reshape(-1, *shape)
                mask = torch.from_numpy(observed[block]).reshape(-1, *shape)
                completed = imputer.standardiser.inverse(estimate(imputer, x, mask))
                parts.append(torch.where(mask, x, completed).flatten(2).numpy())
            return np.concatenate(parts)

        return complete

    def condi(values: np.ndarray, observed: np.ndarray) -> np.ndarray:
        windows = (array.reshape(-1, *shape) for array in (values, observed))
        return model.impute(*windows).point.reshape(values.shape)

    return {
        "mean of the lead": by_imputer(lambda imputer, x, mask: torch.zeros_like(x)),
        "linear interpolation": by_imputer(
            lambda imputer, x, mask: imputer.prepare(x, mask).references.interpolation
        ),
        "closed-form estimate": by_imputer(
            lambda imputer, x, mask: imputer.prepare(x, mask).references.conditional_mean
        ),
        "CondI": condi,
    }

"""Write the z-scored ECGs of an npz file as a folder of PTB-XL, from which `condi prepare` reads them.

The file holds `ecg_id` (record,), `x_milli` int16 (record, 1000 samples at 100 Hz, 12 leads) and `lead`; the
tables are those of PTB-XL.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import wfdb

from data_partitions.sources.ptb_xl import LEADS


def write_source(signals: Path, tables: Path, out: Path) -> None:
    """Write the records of `signals` with the tables of PTB-XL to a folder."""
    with np.load(signals, allow_pickle=False) as file:
        ids, x = file["ecg_id"], file["x_milli"]
        names = [str(name) for name in file["lead"]]
    columns = [[name.lower() for name in names].index(lead.lower()) for lead in LEADS]
    table = pd.read_csv(tables / "ptbxl_database.csv").set_index("ecg_id", drop=False)
    table = table.loc[[i for i in ids if i in table.index]]
    table.to_csv(out / "ptbxl_database.csv", index=False)
    (out / "scp_statements.csv").write_bytes((tables / "scp_statements.csv").read_bytes())
    for ecg_id, record in zip(ids, x, strict=True):
        if ecg_id in table.index:
            path = out / table.loc[ecg_id, "filename_lr"]
            path.parent.mkdir(parents=True, exist_ok=True)
            wfdb.wrsamp(
                path.name, fs=100, units=["mV"] * 12, sig_name=list(LEADS), d_signal=record[:, columns],
                fmt=["16"] * 12, adc_gain=[1000] * 12, baseline=[0] * 12, write_dir=str(path.parent),
            )  # fmt: skip

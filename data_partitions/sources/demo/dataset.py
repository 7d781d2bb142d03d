"""Generated 12-lead ECGs in the format of PTB-XL, for trials and tests.

`write_source` writes a folder that the PTB-XL reader reads, so `index` and `read` are those of that reader.
`prepare_demo` makes a federation of four hospitals. The signals come from `heart`.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from data_partitions.errors import DataError
from data_partitions.federation import Federation, open_federation
from data_partitions.preparation_log import PreparationLog
from data_partitions.prepare import prepare_federation
from data_partitions.sources import ptb_xl
from data_partitions.sources.demo.heart import draw_ecg, draw_heart
from data_partitions.sources.ptb_xl import LEADS, index, read
from data_partitions.storage import atomic_directory, reserve_output
from data_partitions.temporary import scratch_path, temporary_directory, temporary_path
from data_partitions.user_cache import user_cache

__all__ = ["cached_demo", "index", "write_source", "prepare_demo", "read", "schema"]

DATASET = "demo"
GENERATOR_VERSION = 2  # raise it when records or format change, so that older demos are not used again
PATIENTS = 560
LEADS_PER_HOSPITAL = 9
RATE_HZ = 100

# SCP statements of each superclass, as in PTB-XL.
_STATEMENTS = {
    "NORM": {"NORM": "normal ECG"},
    "MI": {"IMI": "inferior myocardial infarction", "ASMI": "anteroseptal myocardial infarction"},
    "STTC": {"NDT": "non-diagnostic T abnormalities", "ISC_": "non-specific ischemic"},
    "CD": {"CLBBB": "complete left bundle branch block", "CRBBB": "complete right bundle branch block"},
    "HYP": {"LVH": "left ventricular hypertrophy", "RVH": "right ventricular hypertrophy"},
}
_RHYTHMS = {"SR": "sinus rhythm", "AFIB": "atrial fibrillation"}

# Hospital: share of the patients, share of NORM MI STTC CD HYP among them.
_HOSPITALS = (
    (0.38, (0.48, 0.11, 0.17, 0.15, 0.09)),  # a general hospital
    (0.28, (0.20, 0.36, 0.18, 0.17, 0.09)),  # a coronary care unit
    (0.20, (0.28, 0.10, 0.36, 0.08, 0.18)),  # a hypertension clinic
    (0.14, (0.30, 0.10, 0.12, 0.40, 0.08)),  # a pacemaker clinic
)


def cached_demo() -> Path:
    """Return the folder of the demo federation in the user's cache."""
    return user_cache() / f"demo-{GENERATOR_VERSION}"


def schema(source: str | Path, **options) -> dict:
    """Describe the data set like PTB-XL, but under its own name and licence, because it is generated."""
    license = "CC0; generated, no patient's data"
    return {**ptb_xl.schema(source, **options), "dataset": DATASET, "version": "1", "license": license}


def write_source(path: str | Path, patients: int = PATIENTS, seed: int = 0) -> None:
    """Write a folder in the format of PTB-XL: two csv files and 16-bit WFDB records of 10 s at 100 Hz.

    One patient in fourteen has a second record. Raises DataError when `path` exists.
    """
    rng = np.random.default_rng(seed)
    shares = np.array([share for share, _ in _HOSPITALS])
    folds = rng.permutation(np.arange(patients) % 10) + 1
    rows: list[dict] = []
    with atomic_directory(path, durable=False) as temp:
        for patient in range(patients):
            site = int(rng.choice(len(_HOSPITALS), p=shares))
            classes = _draw_classes(rng, np.array(_HOSPITALS[site][1]))
            heart = draw_heart(rng, [name for name in classes if name != "NORM"])
            for _ in range(2 if patient % 14 == 13 else 1):
                number = len(rows) + 1
                folder, name = f"records100/{number // 1000 * 1000:05d}", f"{number:05d}_lr"
                _write_record(temp / folder, name, draw_ecg(rng, heart, RATE_HZ))
                rows.append(
                    {
                        "ecg_id": number,
                        "patient_id": float(1000 + patient),
                        "site": float(site),
                        "scp_codes": str(_draw_statements(rng, classes, heart.fibrillation)),
                        "strat_fold": folds[patient],
                        "filename_lr": f"{folder}/{name}",
                        "filename_hr": f"{folder}/{name}".replace("100/", "500/").replace("_lr", "_hr"),
                    }
                )
        pd.DataFrame(rows).to_csv(temp / "ptbxl_database.csv", index=False)
        _statements_table().to_csv(temp / "scp_statements.csv")


def prepare_demo(path: str | Path, log: PreparationLog | None = None) -> Federation:
    """Make the demo federation at `path`, unless it exists: four hospitals with 9 of 12 leads each.

    Raises DataError when something else is at `path`.
    """
    path = Path(path)
    if path.exists():
        return _open_demo(path, log)
    # Under a name of its own, as the preparation locks the path itself.
    with (
        reserve_output(path.with_name(f"{path.name}.demo"), wait=True),
        temporary_directory(temporary_path(scratch_path("condi-demo"))) as temp,
    ):
        if path.exists():  # another process has made it in the meantime
            return _open_demo(path, log)
        source = temp / "ptbxl"
        write_source(source, PATIENTS)
        reader = sys.modules[__name__]
        return prepare_federation(reader, source, path, modalities=LEADS_PER_HOSPITAL, log=log)


def _open_demo(path: Path, log: PreparationLog | None) -> Federation:
    federation = open_federation(path)
    if federation.info.dataset != DATASET:
        raise DataError(f"{path} holds {federation.info.dataset}, not the demo: choose another path")
    if log is not None:
        log.note("The demo exists already: nothing was made.")
    return federation


def _draw_classes(rng: np.random.Generator, shares: np.ndarray) -> tuple[str, ...]:
    """Draw the superclasses of a patient: mostly one, sometimes two, rarely none."""
    if rng.random() < 0.012:
        return ()
    first = str(rng.choice(list(_STATEMENTS), p=shares))
    if first == "NORM" or rng.random() > 0.22:
        return (first,)
    return first, str(rng.choice([name for name in _STATEMENTS if name not in ("NORM", first)]))


def _draw_statements(rng: np.random.Generator, classes: tuple[str, ...], fibrillation: bool) -> dict:
    """Draw the SCP statements of a record; in 3 % of records they are those of a random superclass."""
    if rng.random() < 0.03:
        classes = (str(rng.choice(list(_STATEMENTS))),)
    codes = {
        str(rng.choice(list(_STATEMENTS[name]))): float(
            rng.choice([100, 80, 50, 15], p=[0.7, 0.15, 0.1, 0.05])
        )
        for name in classes
    }
    return {**codes, "AFIB" if fibrillation else "SR": 0.0}


def _statements_table() -> pd.DataFrame:
    rows = [
        {"code": code, "description": text, "diagnostic": 1.0, "rhythm": None, "diagnostic_class": name}
        for name, statements in _STATEMENTS.items()
        for code, text in statements.items()
    ]
    rows += [
        {"code": code, "description": text, "diagnostic": None, "rhythm": 1.0, "diagnostic_class": None}
        for code, text in _RHYTHMS.items()
    ]
    return pd.DataFrame(rows).set_index("code").rename_axis(None)


def _write_record(folder: Path, name: str, ecg: np.ndarray) -> None:
    """Write a 16-bit WFDB record at 1000 units per mV, as in PTB-XL; `ecg` is (lead, sample) in mV.

    wfdb.wrsamp takes 30 ms for a header of twelve signals, so it is not used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    units = np.clip(np.rint(ecg * 1000), -32767, 32767).astype("<i2")
    lines = [f"{name} {len(LEADS)} {RATE_HZ} {ecg.shape[1]}"]
    for lead, samples in zip(LEADS, units, strict=True):
        checksum = int(samples.sum(dtype=np.int64)) % 2**16
        lines.append(f"{name}.dat 16 1000.0(0)/mV 16 0 {samples[0]} {checksum} 0 {lead.upper()}")
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / f"{name}.dat").write_bytes(units.T.tobytes())

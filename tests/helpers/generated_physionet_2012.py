"""Generated stays in the format of the PhysioNet Challenge 2012, as a folder or an archive."""

import io
import tarfile
from pathlib import Path

import numpy as np

USUAL = {  # variable: usual value, spread, share of hours with a measurement
    "HR": (86, 15, 0.9),
    "NISysABP": (118, 20, 0.6),
    "NIDiasABP": (58, 12, 0.6),
    "NIMAP": (78, 13, 0.6),
    "RespRate": (19, 5, 0.4),
    "Temp": (37, 0.7, 0.35),
    "GCS": (12, 2, 0.3),
    "Urine": (110, 60, 0.6),
    "Creatinine": (1.3, 0.6, 0.08),
    "BUN": (26, 15, 0.08),
    "K": (4.1, 0.5, 0.08),
    "Na": (139, 4, 0.08),
    "Lactate": (2.2, 1.2, 0.05),
    "WBC": (12, 5, 0.07),
}

RARE = {  # the other variables, with at most two values in a stay
    "Albumin": 3, "ALP": 90, "ALT": 45, "AST": 60, "Bilirubin": 0.9, "Cholesterol": 150, "DiasABP": 58,
    "FiO2": 0.5, "Glucose": 127, "HCO3": 23, "HCT": 31, "MAP": 77, "MechVent": 1, "Mg": 2, "PaCO2": 39,
    "PaO2": 120, "pH": 7.38, "Platelets": 180, "SaO2": 97, "SysABP": 116, "TroponinI": 2.5,
    "TroponinT": 0.2, "Weight": 80,
}  # fmt: skip


def format_stay(record: int, icu: int, lines: list[tuple[str, str, float]]) -> str:
    """Return the file of a stay: general descriptors, then lines of (time, parameter, value)."""
    general = {"RecordID": record, "Age": 64, "Gender": 1, "Height": -1, "ICUType": icu, "Weight": -1}
    rows = [("00:00", name, value) for name, value in general.items()] + lines
    return "Time,Parameter,Value\n" + "".join(f"{t},{name},{value:g}\n" for t, name, value in rows)


def draw_stay(rng: np.random.Generator, died: bool) -> list[tuple[str, str, float]]:
    """Draw slow drifts around the level of a patient; patients who die deteriorate."""
    lines = []
    deterioration = (1.0 if died else 0.0) * np.linspace(0.3, 1.2, 48) + 0.3 * rng.normal()
    sign = {"NISysABP": -1, "NIDiasABP": -1, "NIMAP": -1, "GCS": -1, "Urine": -1, "Temp": -0.3}
    common = 0.6 * rng.normal(size=48).cumsum() / 5
    for name, (usual, spread, share) in USUAL.items():
        drift = rng.normal() * 0.6 + common + 0.2 * rng.normal(size=48) + sign.get(name, 1) * deterioration
        for hour in np.flatnonzero(rng.random(48) < share):
            minute = rng.integers(0, 60)
            value = max(usual + spread * drift[hour], usual / 20)
            if name == "GCS":
                value = np.clip(round(value), 3, 15)
            lines.append((f"{hour:02d}:{minute:02d}", name, round(float(value), 2)))
    for name, usual in RARE.items():
        for hour in rng.integers(0, 48, rng.integers(0, 3)):
            lines.append((f"{hour:02d}:30", name, float(f"{usual * (1 - 0.03 * abs(rng.normal())):.4g}")))
    return sorted(lines)


def write_set(path: Path, stays: int = 80, seed: int = 0, archive: bool = False) -> None:
    """Write `set-a` (a folder, or an archive) and `Outcomes-a.txt`; a third of the patients dies."""
    rng = np.random.default_rng(seed)
    path.mkdir(parents=True, exist_ok=True)
    outcomes = ["RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death"]
    files = {}
    for i in range(stays):
        record, died = 132539 + i, bool(rng.random() < 1 / 3)
        outcomes.append(f"{record},10,5,8,-1,{int(died)}")
        files[f"{record}.txt"] = format_stay(record, 1 + i % 4, draw_stay(rng, died))
    (path / "Outcomes-a.txt").write_text("\n".join(outcomes) + "\n")
    if archive:
        with tarfile.open(path / "set-a.tar.gz", "w:gz") as tar:
            for name, text in files.items():
                info = tarfile.TarInfo(f"set-a/{name}")
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text.encode()))
        return
    (path / "set-a").mkdir()
    for name, text in files.items():
        (path / "set-a" / name).write_text(text)

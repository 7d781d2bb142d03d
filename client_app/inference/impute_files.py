"""Native files completed one by one: each appears whole, with a file that says what in it is imputed."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from condi_core.model import TrainedRun
from condi_core.windows import WINDOWS_PER_BLOCK
from data_partitions import DataError
from data_partitions.preparation_log import ProgressCallback
from data_partitions.recordings import Recording, WindowGrid, find_recordings, format_of
from data_partitions.storage import atomic_write

QUANTILE_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def impute_files(
    model: TrainedRun,
    data: Path,
    out: Path,
    samples: int,
    seed: int,
    grid: WindowGrid,
    progress: ProgressCallback,
) -> dict:
    """Complete the file, or all files of the folder `data`, into `out`; says what was done and skipped."""
    files = find_recordings(data)
    root = data if data.is_dir() else files[0].parent
    if out.resolve() == root.resolve() or (data.is_dir() and out.resolve().is_relative_to(root.resolve())):
        raise DataError(f"--out is in the folder of the data, {root}: choose one that is not in it")
    told = {"what": "files", "done": 0, "before": 0, "skipped": []}
    for number, file in enumerate(files):

        def shown(share: float, number: int = number) -> None:
            progress("files", number + share, len(files))

        try:
            folder = out / file.parent.relative_to(root)
            new = _File(model, grid, samples, seed, file, folder, out).complete(shown)
            told["done" if new else "before"] += 1
        except (DataError, OSError) as error:
            told["skipped"].append(str(error))
    return told


class _File:
    """One file on its way: read, completed, written beside its provenance."""

    def __init__(
        self,
        model: TrainedRun,
        grid: WindowGrid,
        samples: int,
        seed: int,
        file: Path,
        folder: Path,
        out: Path,
    ) -> None:
        self.model, self.grid, self.samples, self.seed = model, grid, samples, seed
        self.out, self.folder, self.format = out, folder, format_of(file)
        self.recording: Recording = self.format.read(file)
        self.provenance = folder / f"{file.name}.provenance.json"
        self.made_from = {
            "input sha256": _hash(self.format.files(self.recording)),
            "imputer sha256": model.hash,
            "samples": samples,
            "seed": seed,
            "resampled": grid.resample,
        }

    def complete(self, shown: Callable[[float], None]) -> bool:
        """False when that was done before. Raises DataError when something else is in the way."""
        names = [file.name for file in self.format.files(self.recording)]
        levels = QUANTILE_LEVELS if self.samples else ()
        folders = [self.folder, *(self._beside(level) for level in levels)]
        targets = [folder / name for folder in folders for name in names]
        if self._ours() and all(target.exists() for target in targets):
            return False
        windows = self.grid.windows(self.recording)
        if not self._ours() and (taken := [target for target in targets if target.exists()]):
            raise DataError(f"{taken[0]} exists, and is not of this command: choose another --out")
        found = self._signals(windows, levels, shown)
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.out, prefix=".partial-") as temp:
            for i, signals in enumerate(found):
                (Path(temp) / str(i)).mkdir()
                # Read anew, as writing a record changes what was read of it.
                self.format.write(self.format.read(self.recording.file), signals, Path(temp) / str(i))
                for name in names:
                    _to_disk(Path(temp) / str(i) / name)
            self._write_provenance(found[0])
            for i, folder in enumerate(folders):
                folder.mkdir(parents=True, exist_ok=True)
                for name in names:
                    os.replace(Path(temp) / str(i) / name, folder / name)
        return True

    def _signals(
        self, windows: np.ndarray, levels: tuple[float, ...], shown: Callable[[float], None]
    ) -> list[list[np.ndarray]]:
        """The channels of the completed file, and of those of its quantiles."""
        found = np.repeat(windows[None], 1 + len(levels), 0)
        lacking = np.flatnonzero((np.isnan(windows) & self.grid.samples_there).any((1, 2, 3)))
        for start in range(0, len(lacking), WINDOWS_PER_BLOCK):
            rows = lacking[start : start + WINDOWS_PER_BLOCK]
            imputed = self.model.impute(windows[rows], samples=self.samples, seed=self.seed)
            found[0, rows] = imputed.point
            if levels:
                found[1:, rows] = imputed.quantiles(levels)
            shown((start + len(rows)) / len(lacking))
        return [self.grid.signals(self.recording, completed) for completed in found]

    def _beside(self, level: float) -> Path:
        return self.out / "quantiles" / f"q{round(100 * level):02d}" / self.folder.relative_to(self.out)

    def _ours(self) -> bool:
        """Whether what is there was made of this input by this imputer; DataError when of or by another."""
        try:
            told = json.loads(self.provenance.read_text(encoding="utf-8"))
            before = {key: told[key] for key in self.made_from}
        except FileNotFoundError:
            return False
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{self.provenance} is damaged: remove it with the file beside it") from None
        if different := [key for key in self.made_from if before[key] != self.made_from[key]]:
            raise DataError(
                f"{self.provenance.parent / self.recording.file.name} is there already, made with another "
                f"{', '.join(different)}: choose another --out"
            )
        return True

    def _write_provenance(self, signals: list[np.ndarray]) -> None:
        imputed = {
            signal.name: _runs(np.isnan(signal.samples) & ~np.isnan(samples))
            for signal, samples in zip(self.recording.signals, signals, strict=True)
        }
        told = {
            "input": str(self.recording.file),
            **self.made_from,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "condi": version("condi"),
            "modalities without any observed sample": self.grid.absent(self.recording),
            "imputed samples, from and before": {name: runs for name, runs in imputed.items() if runs},
        }
        with atomic_write(self.provenance, mode=0o644) as file:
            file.write(f"{json.dumps(told, indent=1)}\n".encode())


def _to_disk(path: Path) -> None:
    """What takes a place must be whole there, also after a power cut."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _runs(where: np.ndarray) -> list[list[int]]:
    """Stretches of True as [first, first after]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], where.astype(np.int8), [0]])))
    return edges.reshape(-1, 2).tolist()


def _hash(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()

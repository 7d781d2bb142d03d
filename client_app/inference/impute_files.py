"""Completion of native files, one by one; each output is written atomically, with a provenance file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from client_app.inference.completed_output import (
    QUANTILE_LEVELS,
    ImputeSummary,
    provenance_json,
    quantile_folder,
)
from client_app.inference.completed_signals import CompletedSignals
from client_app.inference.journal import Journal
from client_app.inference.linked_tables import link_tables
from client_app.inference.notes import Notes
from client_app.inference.recording_reader import OpenedRecording, RecordingReader, explain_failure
from client_app.inference.site_files import find_site_files
from condi_core.model import TrainedRun
from data_partitions import DataError
from data_partitions.preparation_log import ProgressCallback
from data_partitions.storage import (
    atomic_write,
    make_private_directory,
    make_private_file,
    reserve_folder,
    sync_directory,
)
from data_partitions.temporary import remove_abandoned, temporary_directory, temporary_path


def impute_files(
    model: TrainedRun,
    data: Path,
    out: Path,
    samples: int,
    seed: int,
    reader: RecordingReader,
    progress: ProgressCallback,
) -> ImputeSummary:
    """Complete a file, or all files of a folder, into files of the same names in `out`.

    With `samples` above 0, quantiles of that many draws are written as well. Tables and annotations of the
    site's description are linked, so that it also describes the completed files. Files that cannot be used
    are skipped, with the reason. DataError when there is no file, when `out` is in the folder of the data, or
    when another process writes to it.
    """
    site_files = find_site_files(data, reader.pattern)
    root = site_files.root
    if out.resolve() == root.resolve() or (data.is_dir() and out.resolve().is_relative_to(root.resolve())):
        raise DataError(f"--out is in the folder of the data, {root}: choose one outside of it")
    summary, notes = ImputeSummary("files"), Notes()
    folders = {file: out / file.parent.relative_to(root) for file in site_files.files}
    with reserve_folder(out):
        for folder in set(folders.values()):
            remove_abandoned(folder)
        for number, (file, folder) in enumerate(folders.items()):

            def file_progress(fraction: float, number: int = number) -> None:
                progress("files", number + fraction, len(folders))

            file_progress(0.0)
            try:
                site_files.require_unshared(file)
                if reader.list_records(file) != [""]:
                    raise DataError(
                        f"{file} has several recordings, which can be predicted but not completed: save each "
                        "as a file of its own"
                    )
                completion = _FileCompletion(model, reader.open(file), reader, samples, seed, folder, out)
                if completion.complete(file_progress):
                    summary.completed += 1
                    summary.without_gaps += not completion.num_imputed
                else:
                    summary.completed_before += 1
                notes.add(file, [*completion.opened.notes, *completion.opened.copy_notes])
            except Exception as error:  # whatever one file does, the others are completed
                summary.skipped.append(explain_failure(file, error))
        tables = [table for table in reader.find_tables() if table not in folders]
        unlinked = link_tables(tables, root, out)
        for level in QUANTILE_LEVELS if samples else ():
            unlinked += link_tables(tables, root, quantile_folder(out, level))
    summary.notes = [*notes.lines(), *unlinked[:1]]
    return summary


class _FileCompletion:
    """Completes one recording, and writes it with its provenance."""

    def __init__(
        self,
        model: TrainedRun,
        opened: OpenedRecording,
        reader: RecordingReader,
        samples: int,
        seed: int,
        folder: Path,
        out: Path,
    ) -> None:
        self.model = model
        self.opened = opened
        self.recording = opened.recording
        self.levels = QUANTILE_LEVELS if samples else ()
        self.samples = samples
        self.seed = seed
        self.folder = folder
        self.out = out
        self.num_imputed = 0  # samples that this call imputed
        self.provenance = folder / f"{self.recording.file.name}.provenance.json"
        self.made_from: dict[str, Any] = {
            "input sha256": _hash_files(self.recording.files),
            "imputer sha256": model.imputer_hash,
            "samples": samples,
            "seed": seed,
            "settings sha256": reader.settings_hash,
        }

    def complete(self, progress: Callable[[float], None]) -> bool:
        """Complete the file; False if that was done before, DataError when another file has its name."""
        names = [file.name for file in self.recording.files]
        folders = [self.folder, *(self._quantile_folder(level) for level in self.levels)]
        targets = [folder / name for folder in folders for name in names]
        is_up_to_date = self._is_up_to_date()
        if is_up_to_date and all(target.exists() for target in targets):
            return False
        if not is_up_to_date and (existing := [target for target in targets if target.exists()]):
            raise DataError(f"{existing[0]} exists and was not written by this command: choose another --out")
        make_private_directory(self.folder)
        signals = CompletedSignals(self.model, self.opened, self.levels, self.samples, self.seed)
        journal = Journal(self.folder / f".{self.recording.file.name}.partial", self.made_from)
        with journal, temporary_directory(temporary_path(self.out / "copies")) as temporary:
            copies = [temporary / str(i) for i in range(len(folders))]
            imputed = signals.write(copies, journal, progress)
            self.num_imputed = sum(imputed["imputed samples"].values())
            for copy in copies:
                for name in names:
                    make_private_file(copy / name)
            self._write_provenance(imputed)
            for copy, folder in zip(copies, folders, strict=True):
                make_private_directory(folder)
                for name in names:
                    os.replace(copy / name, folder / name)
                sync_directory(folder)
        return True

    def _quantile_folder(self, level: float) -> Path:
        return quantile_folder(self.out, level) / self.folder.relative_to(self.out)

    def _is_up_to_date(self) -> bool:
        """Whether the output was made from this input and imputer; DataError when it was made from others."""
        try:
            provenance = json.loads(self.provenance.read_text(encoding="utf-8"))
            before = {key: provenance[key] for key in self.made_from}
        except FileNotFoundError:
            return False
        except (ValueError, KeyError, TypeError):
            raise DataError(
                f"{self.provenance} is damaged: remove it together with the file that it describes"
            ) from None
        if different := [key for key in self.made_from if before[key] != self.made_from[key]]:
            raise DataError(
                f"{self.provenance.parent / self.recording.file.name} exists and was made with other "
                f"{', '.join(key.removesuffix(' sha256') for key in different)}: choose another --out"
            )
        return True

    def _write_provenance(self, imputed: dict[str, Any]) -> None:
        details = {"notes": [*self.opened.notes, *self.opened.copy_notes], **imputed}
        with atomic_write(self.provenance) as file:
            file.write(provenance_json(self.recording.file, self.made_from, details).encode())


def _hash_files(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with open(file, "rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()

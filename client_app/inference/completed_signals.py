"""The missing samples of a recording, completed a block of windows at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from client_app.inference.filled_output import FilledOutput
from client_app.inference.journal import Journal
from client_app.inference.overlap import WindowBlend, blend_weights
from client_app.inference.recording_reader import OpenedRecording
from client_app.inference.recording_windows import OverlappingWindows, WindowBlock
from condi_core.model import TrainedRun
from condi_core.windows import WINDOWS_PER_BLOCK, Schema
from data_partitions.recordings import create_output


class CompletedSignals:
    """Completes a recording by windows that overlap by half and are blended.

    `levels` are the quantiles of the draws that are written besides the point estimate.
    """

    def __init__(
        self, model: TrainedRun, opened: OpenedRecording, levels: Sequence[float], samples: int, seed: int
    ) -> None:
        self.model = model
        self.opened = opened
        self.levels = levels
        self.samples = samples
        self.seed = seed
        self.windows = OverlappingWindows(opened.match, model.schema)
        self.num_empty = 0  # windows without any observed sample

    def write(
        self, folders: Sequence[Path], journal: Journal, progress: Callable[[float], None]
    ) -> dict[str, Any]:
        """Write the completed recording to the first folder, and each quantile to one of the others.

        All folders are new. `progress` takes the fraction that is done. Returns what was imputed, for the
        provenance file.
        """
        schema, starts = self.model.schema, self.windows.starts
        blend = WindowBlend(_modality_weights(schema), 1 + len(self.levels))
        with ExitStack() as stack:
            outputs = []
            for folder in folders:
                folder.mkdir(parents=True)
                outputs.append(stack.enter_context(closing(create_output(self.opened.recording, folder))))
            filled = FilledOutput(self.opened, outputs, schema)
            number = 0
            for block in self.windows.blocks(WINDOWS_PER_BLOCK):
                incomplete = np.flatnonzero(self._is_incomplete(block))
                if len(incomplete):
                    values = block.values[incomplete]
                    self.num_empty += int(np.isnan(values).all((1, 2, 3)).sum())
                    if len(starts) <= WINDOWS_PER_BLOCK:
                        completed = self._impute(values)
                    else:
                        completed = journal.load_or_compute(number, partial(self._impute, values))
                    for row, window in enumerate(incomplete):
                        blend.add(int(block.starts[window]), completed[:, row])
                number += len(block.starts)
                end = int(starts[number]) if number < len(starts) else int(starts[-1]) + schema.patches
                first, completed = blend.release(end)
                filled.append(self.windows.take(first, end), completed, is_last=number == len(starts))
                progress(number / len(starts))
        self.opened.require_plausible_values(self.windows.reader.observed)
        if self.num_empty:
            self.opened.notes.append(
                f"{self.num_empty} of {len(starts)} windows have no observed sample: what was imputed there "
                "is typical of the training data, and not of this recording"
            )
        return {
            "modalities without any observed sample": [
                name for name, number in self.windows.reader.observed.items() if not number
            ],
            **filled.describe(),
        }

    def _impute(self, values: np.ndarray) -> np.ndarray:
        """Return completed windows `(level, window, modality, patch, sample)`: points, and then quantiles."""
        imputed = self.model.impute(values, samples=self.samples, seed=self.seed)
        if not self.levels:
            return imputed.point[None]
        return np.concatenate([imputed.point[None], imputed.quantiles(self.levels)])

    def _is_incomplete(self, block: WindowBlock) -> np.ndarray:
        """Return which windows lack a sample in a modality that the recording has: bool `(window,)`."""
        schema, match = self.model.schema, self.opened.match
        incomplete = np.zeros(len(block.starts), bool)
        for m, modality in enumerate(schema.modalities):
            if modality.name not in match.modalities or modality.name in match.differences:
                continue
            per_patch = modality.samples_per_patch
            length = match.seconds / schema.patch_seconds * per_patch  # in samples
            position = block.starts[:, None] * per_patch + np.arange(schema.patches * per_patch)
            missing = np.isnan(block.values[:, m, :, :per_patch]).reshape(len(block.starts), -1)
            incomplete |= (missing & (position < length - 1e-6)).any(1)
        return incomplete


def _modality_weights(schema: Schema) -> np.ndarray:
    """Return the weight of each sample of a window `(modality, patch, sample)` in the blend; 1 in padding."""
    weights = np.ones(schema.shape)
    for m, modality in enumerate(schema.modalities):
        per_patch = modality.samples_per_patch
        weights[m, :, :per_patch] = blend_weights(schema.patches, per_patch)
    return weights

"""Write the history of a run as event files for TensorBoard, if it is installed ('condi[tensorboard]')."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from condi_core.run_files import TENSORBOARD_FOLDER

OWN_SCORES, OTHER_SCORES = "test/", "compared/"  # what the names of test scores begin with
SCALARS = (
    "loss",
    "selection-score",
    "windows",
    "sites-asked",
    "bytes-down",
    "bytes-up",
    "train-seconds",
    "seconds",
)


class TensorBoardWriter:
    """Write lines of history.jsonl into `RUN/tensorboard`, each number of a round once.

    At the end of a run, its settings and test scores are written as a row of the tab HPARAMS.

    Events that earlier processes of the run wrote are read first, so that a resumed run adds only new ones.
    Without TensorBoard nothing is written. No error in this class ends a run.
    """

    def __init__(self, run: Path) -> None:
        self.folder = run / TENSORBOARD_FOLDER
        self._writer: Any = None
        self._written: set[tuple[str, int]] = set()
        self._usable = True

    def write(self, history: list[dict]) -> None:
        """Add the numbers of all lines but the last, whose round has no scores before the next one ends."""
        self._add(history[:-1])

    def _add(self, history: list[dict]) -> None:
        """Add the numbers of these lines that have not been written yet."""
        if not self._usable:
            return
        try:
            if self._writer is None:
                self._open()
            for line in history:
                for tag, value in scalars(line).items():
                    if (tag, line["round"]) not in self._written:
                        self._writer.add_scalar(tag, value, line["round"])
                        self._written.add((tag, line["round"]))
            self._writer.flush()
        except ImportError:
            self._usable = False
        except Exception as error:
            self._usable = False
            print(f"note: no more events are written for TensorBoard ({error})", flush=True)

    def _open(self) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._written = {(tag, step) for tag, steps in read_events(self.folder).items() for step in steps}
        self._writer = SummaryWriter(str(self.folder))

    def close(self, history: list[dict], settings: dict[str, Any], scores: dict[str, float]) -> None:
        """Add what has not been written yet, with settings and test scores, and close the file."""
        self._add(history)
        if self._writer is None or not self._usable:
            return
        try:
            self._add_hyperparameters(settings, scores)
            self._writer.close()
        except Exception as error:
            print(f"note: settings and test scores were not written for TensorBoard ({error})", flush=True)

    def _add_hyperparameters(self, settings: dict[str, Any], scores: dict[str, float]) -> None:
        from torch.utils.tensorboard.summary import hparams

        for tag, value in scores.items():
            if (tag, 0) not in self._written:
                self._writer.add_scalar(tag, value, 0)
        # TensorBoard takes a bool for a number.
        shown = {k: str(v).lower() if isinstance(v, bool) else v for k, v in settings.items()}
        # TensorBoard takes the columns of all runs from one of them: only the names that all have.
        columns = {tag: value for tag, value in scores.items() if tag.startswith(OWN_SCORES)}
        for summary in hparams(shown, columns):
            self._writer.file_writer.add_summary(summary)


def scalars(line: dict) -> dict[str, float]:
    """Return the numbers of a line of history.jsonl by tag, such as `imputer/rmse`."""
    named = {key: line[key] for key in SCALARS if key in line} | line["metrics"]
    named |= {f"site-seconds/{site}": value for site, value in line["site-seconds"].items()}
    return {f"{line['phase']}/{key}": float(value) for key, value in named.items() if value is not None}


def read_events(folder: Path) -> dict[str, dict[int, float]]:
    """Return `{tag: {round: value}}` of all event files in a folder; ImportError without TensorBoard."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    if not folder.is_dir():
        return {}
    events.Reload()
    return {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}

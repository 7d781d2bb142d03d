"""Readers of data sets: one module per data set, each a `DatasetReader`."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import pandas as pd


class DatasetReader(Protocol):
    """The functions that the module of a data set has.

    All functions take the options of the data set by keyword, such as `rate=500`. They raise DataError for
    faults that make the whole data set unusable (a missing table or column), and pass faults of single
    records to `log.reject`. The reader of an open data set also has `download`; see `DownloadableReader`.

    Attributes
    ----------
    schema
        `(source, **options) -> dict`: keyword arguments of `Manifest`, all but `site`, `windows` and
        `made_by`, with all modalities present.
    index
        `(source, log, **options) -> DataFrame`: one row per window with `record_id`, `patient_id`, `split`,
        `site` (the name of the hospital or unit, "" where none is recorded), one 0/1 column per label, and
        what `read` needs to find the signal.
    read
        `(source, rows, log, **options) -> Iterator`: for each of `rows`, which are rows of the index in any
        order, its values as float32 `(modality, patch, sample)` in the source's units, NaN where nothing was
        measured; None for a record that cannot be used, after a call of `log.reject`. It is called once for
        all rows, so that it can read a large file once.

    A reader with one of the following functions can go on after an interruption; equal keys stand for equal
    results, and "" means that it cannot.

    - `resumption_key(source, rows) -> str`: windows are stored by recording. See `Resumption.read` for what
      the reader must observe. Rows whose windows are stored together have one `recording_id` in the index;
      without that column, each row is stored by itself.
    - `pass_key(source, rows, **options) -> str`: all files are read before the first window; `read` has an
      argument `checkpoint` and reads by its `read_parts`.
    - `index_key(source) -> str`: the index, which takes long, is stored.
    """

    # Properties, so that both functions of a module and methods of an object fit.
    @property
    def schema(self) -> Callable[..., dict[str, Any]]: ...
    @property
    def index(self) -> Callable[..., pd.DataFrame]: ...
    @property
    def read(self) -> Callable[..., Iterator[np.ndarray | None]]: ...


class DownloadableReader(DatasetReader, Protocol):
    """A reader that can also fetch its data set: `download(out, log, **options)`."""

    @property
    def download(self) -> Callable[..., None]: ...

"""The covariates of native files, by the table of the site's description."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from condi_core.windows import Schema
from data_partitions.description.sections import Description
from data_partitions.sources.described.covariates import CovariateReader
from data_partitions.sources.described.files import match_files
from data_partitions.sources.described.listing import list_recordings


def read_file_covariates(
    schema: Schema, description: Description, data: Path
) -> Mapping[tuple[Path, str], np.ndarray]:
    """Read the covariates of a model, if its description has a table and this is in the folder of the files.

    Parameters
    ----------
    schema : Schema
    description : Description
        Of the site, whose covariates are those of the model.
    data : Path
        A file or a folder.

    Returns
    -------
    mapping of (Path, str) to np.ndarray
        float32 `(covariate,)` by the file and the name of the recording in it: a number, or the position of a
        category; NaN where it is not recorded.

    Raises
    ------
    DataError
        The table does not fit the files.
    """
    table = description.table.path
    if not (schema.covariates and table and data.is_dir() and match_files(data, table)):
        return {}
    listing = list_recordings(description, data)
    reader = CovariateReader(description)
    reader.check_columns(listing.columns)
    numbers = {}
    for listed in listing.recordings:
        cells = reader.read(listed.row)
        texts = [cells.get(f"covariate {covariate.name}", "") for covariate in schema.covariates]
        numbers[listed.file, listed.part] = np.array(
            [
                np.nan if not text else c.categories.index(text) if c.categories else float(text)
                for text, c in zip(texts, schema.covariates, strict=True)
            ],
            np.float32,
        )
    return numbers

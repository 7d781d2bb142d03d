"""Read parquet files as rows, one row group at a time."""

from collections.abc import Iterator, Sequence

import numpy as np

from data_partitions.errors import DataError
from data_partitions.events.files import EventFile
from data_partitions.events.rows import ColumnChoice, FaultHandler, Rows

BATCH_ROWS = 250_000


def read_parquet_rows(
    files: Sequence[EventFile], choose: ColumnChoice, reject: FaultHandler
) -> Iterator[Rows]:
    """Yield the chosen columns of parquet files in their own types, in at most 250,000 rows at a time."""
    from pyarrow import parquet

    for file in files:
        try:
            if file.member:
                raise DataError(f"{file} is in an archive: unpack it, parquet files are read where they are")
            opened = parquet.ParquetFile(file.path)
            names = choose(str(file), opened.schema_arrow.names)
            before = 0
            for batch in opened.iter_batches(BATCH_ROWS, columns=names, use_threads=False):
                columns = {name: batch.column(name) for name in names}
                yield Rows(columns, (file,), np.array([batch.num_rows]), before)
                before += batch.num_rows
        except DataError as error:
            reject(file, error)
        except (OSError, ValueError) as error:  # Arrow's errors
            words = " ".join(str(error).split())
            reject(file, DataError(f"{file} is not a readable parquet file ({words}): fetch it again"))

"""Read parquet files as rows, one row group at a time."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from data_partitions.errors import DataError
from data_partitions.events.files import EventFile
from data_partitions.events.rows import ColumnChoice, FaultHandler, Rows
from data_partitions.expansion import text_bytes

BATCH_ROWS = 250_000
MAX_TEXT_BYTES = 2**29  # of a column in so many rows


def read_parquet_rows(
    files: Sequence[EventFile], choose: ColumnChoice, reject: FaultHandler
) -> Iterator[Rows]:
    """Yield the chosen columns of parquet files in their own types, in at most 250,000 rows at a time."""
    import pyarrow as pa
    from pyarrow import parquet

    for file in files:
        try:
            if file.member:
                raise DataError(f"{file} is in an archive: unpack it, parquet files are read where they are")
            schema = parquet.read_schema(file.path)
            names = choose(str(file), schema.names)
            # Repeated texts are stored once, so that a small file can have gigantic columns of them.
            texts = [name for name in names if schema.field(name).type in (pa.string(), pa.large_string())]
            opened = parquet.ParquetFile(file.path, read_dictionary=texts)
            before = 0
            for batch in opened.iter_batches(BATCH_ROWS, columns=names, use_threads=False):
                columns = {name: batch.column(name) for name in names}
                columns |= {name: _decode_texts(file, name, columns[name]) for name in texts}
                yield Rows(columns, (file,), np.array([batch.num_rows]), before)
                before += batch.num_rows
        except DataError as error:
            reject(file, error)
        except (OSError, ValueError) as error:  # Arrow's errors
            words = " ".join(str(error).split())
            reject(file, DataError(f"{file} is not a readable parquet file ({words}): fetch it again"))


def _decode_texts(file: EventFile, name: str, column: Any) -> Any:
    """Return a column of texts that are stored once as an array of texts; DataError if that is gigantic."""
    if (size := text_bytes(column)) > MAX_TEXT_BYTES:
        raise DataError(
            f"{file} has {size} bytes of text for {name} in {len(column)} rows, expected at most "
            f"{MAX_TEXT_BYTES}: give a column of shorter texts"
        )
    return column.dictionary_decode()

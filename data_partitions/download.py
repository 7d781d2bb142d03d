"""Fetching open data sets from PhysioNet, by wfdb's own function."""

import contextlib
import io
import posixpath
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog

CONNECTIONS = 2  # what PhysioNet asks for


def fetch_physionet(database: str, files: Sequence[str], out: str | Path, report: PreparationLog) -> None:
    """Fetch `files` of `database` ("ptb-xl/1.0.3") to the same paths below `out`.

    A file that is there whole is left alone and one that is there in part goes on where it stopped, so a
    call that was interrupted is simply made again. Raises DataError when the server cannot be reached or
    does not have a file.
    """
    from wfdb.io.download import config, dl_pn_file

    out = Path(out)
    for folder in {(out / name).parent for name in files}:
        folder.mkdir(parents=True, exist_ok=True)

    def fetch(name: str) -> None:
        folder, base = posixpath.split(name)
        dl_pn_file([base, folder, database, str(out), True, False])

    pool = ThreadPoolExecutor(CONNECTIONS)
    # wfdb prints a line for each file that it goes on with.
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            waiting = {pool.submit(fetch, name): name for name in files}
            for done, finished in enumerate(as_completed(waiting), start=1):
                finished.result()
                report.progress(f"fetching {database}", done, len(files))
        except (OSError, ValueError) as error:  # wfdb's network errors are OSErrors
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"cannot fetch {waiting[finished]} from {config.db_index_url}{database} ({reason}): call it "
                "again, what is there is kept"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)

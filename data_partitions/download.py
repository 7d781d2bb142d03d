"""Download of open data sets from PhysioNet, with wfdb's own function."""

import contextlib
import io
import posixpath
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog

MAX_CONNECTIONS = 2  # PhysioNet asks for no more


def fetch_physionet(database: str, files: Sequence[str], out: str | Path, log: PreparationLog) -> None:
    """Fetch files of a database.

    A complete file is not fetched again and an incomplete one resumes where it stopped, so an interrupted
    call can simply be repeated.

    Parameters
    ----------
    database
        Name and version, such as "ptb-xl/1.0.3".
    files
        Paths in the database.
    out
        Folder in which the files get the same paths.
    log
        Log that receives the progress.

    Raises
    ------
    DataError
        The server cannot be reached or does not have a file.
    """
    from wfdb.io.download import config, dl_pn_file

    out = Path(out)
    for folder in {(out / name).parent for name in files}:
        folder.mkdir(parents=True, exist_ok=True)

    def fetch(name: str) -> None:
        folder, base = posixpath.split(name)
        dl_pn_file([base, folder, database, str(out), True, False])

    pool = ThreadPoolExecutor(MAX_CONNECTIONS)
    # wfdb prints a line for each file that it resumes.
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            waiting = {pool.submit(fetch, name): name for name in files}
            for done, finished in enumerate(as_completed(waiting), start=1):
                finished.result()
                log.progress(f"fetching {database}", done, len(files))
        except (OSError, ValueError) as error:  # wfdb's network errors are OSErrors
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"cannot fetch {waiting[finished]} from {config.db_index_url}{database} ({reason}): try "
                "again, complete files are kept"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)

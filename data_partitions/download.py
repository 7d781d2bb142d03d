"""Download of open data sets from PhysioNet, with wfdb's own function, and check by PhysioNet's checksums."""

import contextlib
import hashlib
import io
import posixpath
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog

MAX_CONNECTIONS = 2  # PhysioNet asks for no more
CHECKSUMS_FILE = "SHA256SUMS.txt"  # of every database, with a line "SHA-256 path" for each file
_PATH = re.compile(r"[\w+-][\w.+-]*(/[\w+-][\w.+-]*)*", re.ASCII)


def fetch_physionet(database: str, files: Sequence[str], out: str | Path, log: PreparationLog) -> None:
    """Fetch files of a database, such as "ptb-xl/1.0.3", and check them by its checksums.

    A complete file is not fetched again and an incomplete one resumes where it stopped, so an interrupted
    call can simply be repeated. DataError when the server cannot be reached, does not have a file, or sends
    another one than its checksums say; such a file is removed. Or when a path leads out of the folder;
    nothing is fetched then.
    """
    from wfdb.io.download import config, dl_pn_file

    out = Path(out)
    url = f"{config.db_index_url}{database}"
    for name in files:
        require_path_inside(name, database)
    for folder in {(out / name).parent for name in [CHECKSUMS_FILE, *files]}:
        folder.mkdir(parents=True, exist_ok=True)

    def download(name: str, overwrite: bool = False) -> None:
        folder, base = posixpath.split(name)
        dl_pn_file([base, folder, database, str(out), True, overwrite])

    def fetch(name: str) -> None:
        file = out / name
        is_new = not file.exists()
        if not is_new and _sha256(file) == checksums[name]:
            return
        download(name)
        if not is_new and _sha256(file) != checksums[name]:  # it was of another version, or damaged
            download(name, overwrite=True)
        if _sha256(file) == checksums[name]:
            return
        file.unlink()
        raise DataError(
            f"{name} from {url} differs from its checksum in {CHECKSUMS_FILE} there, and was removed: try "
            "again, and do not use this source if it differs again"
        )

    pool = ThreadPoolExecutor(MAX_CONNECTIONS)
    current = CHECKSUMS_FILE
    # wfdb prints a line for each file that it resumes.
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            download(CHECKSUMS_FILE, overwrite=True)
            checksums = _read_checksums(out / CHECKSUMS_FILE)
            for name in files:
                if name not in checksums:
                    raise DataError(f"{CHECKSUMS_FILE} of {url} has no checksum of {name}: it is not fetched")
            waiting = {pool.submit(fetch, name): name for name in files}
            for done, finished in enumerate(as_completed(waiting), start=1):
                current = waiting[finished]
                finished.result()
                log.progress(f"fetching {database}", done, len(files))
        except DataError:
            raise
        except (OSError, ValueError) as error:  # wfdb's network errors are OSErrors
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"cannot fetch {current} from {url} ({reason}): try again, complete files are kept"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def require_path_inside(path: str, source: str) -> None:
    """Raise DataError unless a path that a data set names stays in its folder, on every system."""
    if not _PATH.fullmatch(path):
        raise DataError(
            f"{source} names the file {path[:60]!r}: expected a path inside of it, of letters, digits, "
            "and the signs . _ + - /"
        )


def _read_checksums(file: Path) -> dict[str, str]:
    lines = (line.partition(" ") for line in file.read_text(encoding="utf-8").splitlines())
    return {path.lstrip(" *"): checksum for checksum, _, path in lines}


def _sha256(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()

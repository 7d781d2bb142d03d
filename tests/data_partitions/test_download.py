"""Downloads from PhysioNet, tested with a server on loopback."""

import hashlib
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest
import wfdb
from wfdb.io import download

from data_partitions import DataError
from data_partitions.download import fetch_physionet
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources import demo, physionet_2012, ptb_xl
from tests.helpers.generated_physionet_2012 import write_set


class Handler(SimpleHTTPRequestHandler):
    """Static files with byte ranges, which wfdb requests when it resumes a file."""

    requests: list = []

    def do_GET(self):
        self.requests.append((self.path, self.headers.get("Range")))
        file = self.directory + self.path
        try:
            content = open(file, "rb").read()
        except OSError:
            return self.send_error(404)
        byte_range = self.headers.get("Range")
        if byte_range:
            first, _, last = byte_range.removeprefix("bytes=").partition("-")
            first, last = int(first), min(int(last or len(content)), len(content) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            content = content[first : last + 1]
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextmanager
def serve_physionet(folder):
    """Serve a folder in place of PhysioNet; yield the list of (path, byte range) of all requests."""
    requests = []
    handler = partial(type("Recording", (Handler,), {"requests": requests}), directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    before = download.config.db_index_url
    wfdb.set_db_index_url(f"http://127.0.0.1:{server.server_port}/")
    try:
        yield requests
    finally:
        wfdb.set_db_index_url(before)
        server.shutdown()
        server.server_close()


def write_checksums(folder):
    """Write the list that PhysioNet has in the folder of each database."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    lines = [
        f"{hashlib.sha256(f.read_bytes()).hexdigest()} {f.relative_to(folder).as_posix()}\n" for f in files
    ]
    (folder / "SHA256SUMS.txt").write_text("".join(lines))


def test_ptb_xl_is_downloaded_completely(tmp_path):
    demo.write_source(tmp_path / "server" / ptb_xl.PUBLISHED, patients=6)
    (tmp_path / "server" / ptb_xl.PUBLISHED / "LICENSE.txt").write_text("CC BY 4.0")
    write_checksums(tmp_path / "server" / ptb_xl.PUBLISHED)
    calls = []
    with serve_physionet(tmp_path / "server"):
        ptb_xl.download(tmp_path / "here", PreparationLog(progress=lambda *call: calls.append(call)))
    published = {p.relative_to(tmp_path / "server" / ptb_xl.PUBLISHED): p.read_bytes()
                 for p in (tmp_path / "server").rglob("*") if p.is_file()}  # fmt: skip
    fetched = {p.relative_to(tmp_path / "here"): p.read_bytes()
               for p in (tmp_path / "here").rglob("*") if p.is_file()}  # fmt: skip
    assert fetched == published and len(fetched) == 4 + 2 * 6
    assert calls[-1] == (f"fetching {ptb_xl.PUBLISHED}", 12, 12)
    assert len(ptb_xl.index(tmp_path / "here", PreparationLog(strict=True))) == 6


def test_an_interrupted_download_of_physionet_2012_resumes(tmp_path):
    folder = tmp_path / "server" / "challenge-2012/1.0.0"
    write_set(folder, stays=30, archive=True)
    for letter in "bc":
        for name in ("set-a.tar.gz", "Outcomes-a.txt"):
            (folder / name.replace("-a", f"-{letter}")).write_bytes((folder / name).read_bytes())
    write_checksums(folder)
    here, content = tmp_path / "here", (folder / "set-a.tar.gz").read_bytes()
    here.mkdir()
    (here / "set-a.tar.gz").write_bytes(content[:1000])  # as an interrupted call leaves it
    (here / "Outcomes-a.txt").write_bytes((folder / "Outcomes-a.txt").read_bytes())
    with serve_physionet(tmp_path / "server") as requests:
        physionet_2012.download(here, PreparationLog())
    assert (here / "set-a.tar.gz").read_bytes() == content
    assert {p.name for p in here.iterdir()} == {p.name for p in folder.iterdir()}
    ranges = [r for path, r in requests if path.endswith("set-a.tar.gz") and r]
    assert ranges and all(int(r.removeprefix("bytes=").split("-")[0]) >= 1000 for r in ranges)


def test_a_missing_file_and_an_unreachable_server_are_reported(tmp_path):
    (tmp_path / "server" / "db").mkdir(parents=True)
    (tmp_path / "server" / "db" / "a.txt").write_text("a")
    (tmp_path / "server" / "db" / "b.txt").write_text("b")
    write_checksums(tmp_path / "server" / "db")
    (tmp_path / "server" / "db" / "b.txt").unlink()
    with (
        serve_physionet(tmp_path / "server"),
        pytest.raises(DataError, match="cannot fetch b.txt from .*/db"),
    ):
        fetch_physionet("db", ["a.txt", "b.txt"], tmp_path / "here", PreparationLog())
    assert (tmp_path / "here" / "a.txt").read_text() == "a", "complete files remain"
    with pytest.raises(DataError, match="try again, complete files are kept") as error:
        wfdb.set_db_index_url("http://127.0.0.1:9/")  # nothing listens there
        try:
            fetch_physionet("db", ["a.txt"], tmp_path / "nowhere", PreparationLog())
        finally:
            wfdb.set_db_index_url()
    assert "\n" not in str(error.value)


def serve_database(tmp_path, **contents):
    """Write the files of a database and their checksums for `serve_physionet`."""
    folder = tmp_path / "server" / "db"
    folder.mkdir(parents=True)
    for stem, content in contents.items():
        (folder / f"{stem}.txt").write_text(content)
    write_checksums(folder)
    return folder


def test_a_file_that_differs_from_its_checksum_is_removed(tmp_path):
    folder, here = serve_database(tmp_path, a="right", b="right"), tmp_path / "here"
    (folder / "b.txt").write_text("wrong")
    with (
        serve_physionet(tmp_path / "server"),
        pytest.raises(
            DataError, match="b.txt from .*/db differs from its checksum .* was removed: try again"
        ),
    ):
        fetch_physionet("db", ["a.txt", "b.txt"], here, PreparationLog())
    assert {path.name for path in here.iterdir()} == {"SHA256SUMS.txt", "a.txt"}


@pytest.mark.parametrize("before", ["other", "wrong", "longer than it", "w"])
def test_a_damaged_file_is_fetched_again(tmp_path, before):
    serve_database(tmp_path, a="right")
    here = tmp_path / "here"
    here.mkdir()
    (here / "a.txt").write_text(before)
    with serve_physionet(tmp_path / "server"):
        fetch_physionet("db", ["a.txt"], here, PreparationLog())
    assert (here / "a.txt").read_text() == "right"


def test_a_complete_file_is_not_requested_again(tmp_path):
    serve_database(tmp_path, a="right")
    with serve_physionet(tmp_path / "server") as requests:
        for _ in range(2):
            fetch_physionet("db", ["a.txt"], tmp_path / "here", PreparationLog())
    assert [path for path, _ in requests].count("/db/a.txt") == 1


def test_a_file_without_a_checksum_is_not_fetched(tmp_path):
    folder = serve_database(tmp_path, a="right")
    (folder / "new.txt").write_text("new")
    with (
        serve_physionet(tmp_path / "server"),
        pytest.raises(DataError, match="has no checksum of new.txt: it is not fetched"),
    ):
        fetch_physionet("db", ["a.txt", "new.txt"], tmp_path / "here", PreparationLog())
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["SHA256SUMS.txt"]


def test_no_path_of_a_fetched_table_leads_out_of_the_folder(tmp_path):
    folder = tmp_path / "server" / ptb_xl.PUBLISHED
    demo.write_source(folder, patients=6)
    (folder / "LICENSE.txt").write_text("CC BY 4.0")
    table = pd.read_csv(folder / "ptbxl_database.csv")
    table.loc[2, "filename_lr"] = "../../outside/of/it/x"
    table.to_csv(folder / "ptbxl_database.csv", index=False)
    write_checksums(folder)
    with serve_physionet(tmp_path / "server") as requests, pytest.raises(DataError, match="names the file"):
        ptb_xl.download(tmp_path / "here", PreparationLog())
    assert {path.name for path in tmp_path.iterdir()} == {"server", "here"}
    assert len({path for path, _ in requests}) == 4  # the tables, their licence and checksums
    with pytest.raises(DataError, match="names the file '../../outside/of/it/x': expected a path inside"):
        ptb_xl.index(tmp_path / "here", PreparationLog())


@pytest.mark.parametrize(
    "path", ["../x", "/x", "a/../../x", "..", "a\\..\\x", "c:x", "a//x", "", "a\n", ".ssh/x"]
)
def test_nothing_is_fetched_to_a_path_outside(tmp_path, path):
    with pytest.raises(DataError, match="db names the file .*: expected a path inside of it"):
        fetch_physionet("db", ["a.txt", path], tmp_path / "here", PreparationLog())
    assert not list(tmp_path.iterdir())
